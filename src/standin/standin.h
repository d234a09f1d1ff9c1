/* A stand-in for a model API: Anthropic Messages and count_tokens, OpenAI Chat Completions (or
 * Mistral's or xAI's variant) and Responses, Gemini generateContent, streamGenerateContent and
 * countTokens, model lists. It answers from a transcript, as a judge by fixed rules, or
 * from a seeded generator, with exact usage. For demonstrations, tests and load; every answer
 * carries `x-parley-simulated`.
 *
 * Where it is told to, or its transcript has `reasoning`, it shows what it says to itself before it
 * answers, as each provider does: thinking blocks, reasoning items and content, thoughts, and
 * log-probabilities beside them.
 *
 * A token is 4 bytes, rounded up: of the members that hold words for input, of the text for output.
 * Where a request marks its system prompt with cache_control, the system prompt counts as written
 * to the cache the first time it is seen and as read from it afterwards. */
#ifndef STANDIN_STANDIN_H
#define STANDIN_STANDIN_H

#include "base/prng.h"
#include "dialect/dialect.h"
#include "net/http_server.h"
#include "standin/pulse.h"
#include "suite/transcript.h"

enum standin_mode { STANDIN_GENERATOR, STANDIN_PERSONA, STANDIN_JUDGE };

struct standin_options {
	enum standin_mode mode;
	struct transcript *persona; /* borrowed; with STANDIN_PERSONA */
	const char *const *models;  /* names to list; may be empty */
	size_t model_count;
	uint64_t seed;
	unsigned output_tokens;     /* of a generated answer */
	unsigned reasoning_tokens;  /* of what stands before each answer, where the persona has none
				     */
	uint64_t first_token_ns;    /* delay before the answer begins */
	unsigned tokens_per_second; /* of a stream; 0: all at once */
	struct pulse_options pulse; /* streams at an exact rate instead of generated text */
	double error_rate;          /* share of requests answered 529 or 503 */
	double cut_rate;            /* share of answers cut off in the middle */
	const char *key;            /* the credential it wants; NULL: any or none */
	enum dialect_id chat;       /* Chat Completions as Mistral or xAI has them; else OpenAI's */
};

struct standin;

/* One for each loop. NULL when memory is out. The options are copied, what they point to is not. */
struct standin *standin_new(struct env_loop *loop, const struct standin_options *options);
enum err_code standin_listen(struct standin *standin, const struct env_address *address,
			     struct env_address *bound, struct err *err);
void standin_stop(struct standin *standin, void (*done)(void *argument), void *argument);
void standin_free(struct standin *standin);

/* How many requests for an answer came, were answered in full, with an error, or cut. */
struct standin_counts {
	uint64_t requests, answered, errors, cut;
};
struct standin_counts standin_counts(const struct standin *standin);

/* The stand-in judge (judge.c): a verdict by fixed rules on what `parley bench` asks judges, pairs
 * and single answers. False if the prompt is no such one. The reply is appended. */
bool standin_judge(struct bytes prompt, struct buf *reply);

#endif
