/* How providers behaved, as far as a client can see (docs/formats/bundle.md): whether a model does
 * better on published items than on their twins or on decoys, or when the run is named, whether
 * times and lengths of answers differ where they should not, whether tokens are counted as bytes
 * suggest. Signs, not proofs. One implementation for harness and verifier, pure. */
#ifndef GRADE_CONDUCT_H
#define GRADE_CONDUCT_H

#include "grade/run_records.h"
#include "suite/suite.h"

#define CONDUCT_SUITES_MAX 64u
#define CONDUCT_MODELS_MAX 64u
#define CONDUCT_SAME_MAX 64u
#define CONDUCT_TIMES_MAX ((size_t)4 << 20) /* answers whose times are kept */

/* In the order of `conduct_measure_name`; NaN where the answer does not tell. */
enum conduct_measure {
	CONDUCT_FIRST_TOKEN, /* milliseconds to the first byte of a streamed answer */
	CONDUCT_ELAPSED,     /* milliseconds to the last */
	CONDUCT_OUTPUT,      /* output tokens, as the provider counts */
	CONDUCT_SPEED,       /* output tokens a second, after the first byte where that is known */
	CONDUCT_MEASURES,
};

struct conduct_suite {
	const char *name;
	const struct suite *suite; /* NULL: it is withheld */
	bool pairwise;
	bool decoys; /* its items count in no result */
	unsigned samples;
	/* Of each sample: it is drawn for the blind arm; owned. NULL: there is none. */
	bool *blind;
	size_t blind_count;
};

struct conduct_model {
	const char *name;
	bool stored; /* answers come from a transcript: nobody was asked */
};

/* Two models that are said to be one. */
struct conduct_same {
	unsigned a, b;
};

/* Tokens as counted, and the bytes that they are of. */
struct conduct_tokens {
	uint64_t answers, outputs; /* answers whose input and whose output was counted */
	uint64_t input, asked;     /* tokens; bytes of the prompts */
	uint64_t output, answered; /* tokens; bytes of the answers */
};

struct conduct_time {
	uint32_t suite, model, item;
	bool blind;
	float values[CONDUCT_MEASURES];
};

/* What is gathered while a run goes on or its transcripts are read. Names and suites are borrowed.
 */
struct conduct {
	struct conduct_suite suites[CONDUCT_SUITES_MAX];
	struct conduct_model models[CONDUCT_MODELS_MAX];
	struct conduct_same same[CONDUCT_SAME_MAX];
	unsigned suite_count, model_count, same_count;
	bool left_out[CONDUCT_MODELS_MAX]; /* models that were not asked the decoys */
	double blind_share;                /* of samples; 0: no blind arm is wanted */
	bool blind[CONDUCT_MODELS_MAX];    /* models that were asked blind */
	struct conduct_tokens tokens[CONDUCT_MODELS_MAX];
	struct conduct_time *times; /* owned */
	size_t time_count, time_capacity;
	bool short_of_times; /* memory or CONDUCT_TIMES_MAX ran out: times are not compared */
};

void conduct_release(struct conduct *conduct);

/* Draws the samples of the blind arm, once suites and `blind_share` are set: the same for the same
 * text. False when memory is out. */
bool conduct_draw_blind(struct conduct *conduct, const char *id);
bool conduct_is_blind(const struct conduct *conduct, unsigned suite, size_t item, unsigned sample);

/* Whether there is anything that times would be compared between. Until then none are kept. */
bool conduct_wants_times(const struct conduct *conduct);

/* An attempt of a model to answer an item (not a judge's). What came out of a cache or a
 * transcript, failed, or is a step of a conversation tells nothing. `asked`: bytes of the prompt's
 * texts. */
void conduct_take(struct conduct *conduct, unsigned suite, unsigned model, size_t item,
		  uint64_t asked, const struct run_transcript *attempt);

/* Whether the suite's answers are compared with those to decoys: both asked with the same settings.
 */
bool conduct_beside_decoys(const struct conduct *conduct, unsigned suite, unsigned *decoys);

/* {scores, gaps, left_out, not_blind, not_compared, times, tokens}, members without entries left
 * out; NULL in *out where nothing was looked at. The caller owns it. */
enum err_code conduct_make(const struct conduct *conduct, const struct run_score *scores,
			   size_t count, json_t **out, struct err *err);

const char *conduct_measure_name(enum conduct_measure measure);

/* Whether it is worth telling: more than token counts was looked at, or one is off. */
bool conduct_is_told(const json_t *made);

/* In plain words {done: [...], found: [...], not_shown: [...]}, from what conduct_make made: a new
 * reference, NULL when memory is out. */
json_t *conduct_words(const json_t *made);

#endif
