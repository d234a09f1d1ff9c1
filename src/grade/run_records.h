/* The lines of a run: what `bench` writes and `verify` reads (docs/formats/bundle.md).
 *
 * transcripts.jsonl has one line per attempt, scores.jsonl one per sample. Decoding is strict:
 * wrong types and unknown members are ERR_INVALID naming line and member. */
#ifndef GRADE_RUN_RECORDS_H
#define GRADE_RUN_RECORDS_H

#include "base/buf.h"
#include "base/err.h"
#include "grade/scorer.h"

#include <jansson.h>
#include <string.h>

#define RUN_LINE_MAX ((size_t)16 << 20)

/* Tokens; -1 where the provider told nothing. */
struct run_usage {
	int64_t input, cache_read, cache_write, output;
	bool estimated;
};

/* All strings are borrowed: on encoding from the caller, on decoding from the tree. NULL: absent.
 */
struct run_transcript {
	const char *suite, *item, *model; /* model: the name in the plan */
	unsigned sample, attempt;         /* from 0 */
	int step;                         /* of a conversation, from 0; -1: the item is none */
	const char *words;                /* hex SHA-256 of the canonical words that were asked */
	const char *answer;  /* the final text; NULL if there is none or it is sealed */
	const char *verdict; /* the gateway's verdict on a sealed answer, as it came; else NULL */
	const char *finish;  /* the dialect's finish reason in common terms */
	const char *served;  /* the model id the provider named */
	struct run_usage usage;
	int status;             /* HTTP status, 0: no answer came */
	const char *error;      /* why the attempt failed; NULL if it didn't */
	int64_t started_ms;     /* Unix time */
	int64_t first_token_ms; /* after the start; -1 unknown */
	int64_t elapsed_ms;
	const char
		*record; /* the gateway's admit record id; its receipt is receipts/ID.tlog-proof */
	const char *nonce;           /* hex, 16 bytes: what the record's digests are salted with */
	const char *request_body;    /* exact bytes as text, where they are kept */
	const char *response_body;   /* same; only if it is valid UTF-8 */
	const char *response_digest; /* hex SHA-256(nonce || exact body) as the harness saw it */
	bool stream;                 /* response_body is a stream of events */
	bool cached;                 /* the response is an earlier one, out of a cache */
	bool blind;                  /* asked without naming the gateway's run */
	/* Pairwise judging: this is the judge's answer about a pair. NULL for contestants. */
	const char *judge_model, *judge_opponent;
	int judge_order; /* 0: model's answer stood first; 1: second; -1: no judgement */
};

enum expect { EXPECT_NONE, EXPECT_ANSWER, EXPECT_REFUSE };

/* One sample's score. Pairwise: one comparison of `model` with `opponent`. */
struct run_score {
	const char *suite, *item, *model;
	const char *cluster;  /* NULL: the item is its own cluster */
	const char *opponent; /* pairwise, else NULL */
	const char *judge;    /* who compared or rated; NULL: no judge did */
	const char *scorer;   /* kind */
	unsigned sample;
	bool failed;  /* no answer (or no verdict): score is 0 and counts */
	double score; /* 0 to 1 */
	enum refused refused;
	enum expect expect;
	bool time_limited;
	/* By judges: judge_verdict_name of both orders, or one rating_verdict_name; else NULL. */
	const char *verdicts[2];
	enum refused rule;  /* refusal_judge: what the string rules say of the answer */
	const char *hazard; /* hazard: of the item; else NULL */
	double reference;   /* hazard: safe answers of the reference; below 0: not told */
	bool flipped;
	int64_t lengths[2];      /* pairwise: of both answers, in characters; 0, 0: not told */
	int64_t cpu_ms;          /* of graded code, else 0 */
	const char *explanation; /* NULL: none */
};

/* Names of models that are none: controls of judges, left out of every result but their own. */
#define RUN_CONTROL_PREFIX "control:"
static inline bool run_is_control(const char *model)
{
	return strncmp(model, RUN_CONTROL_PREFIX, sizeof(RUN_CONTROL_PREFIX) - 1) == 0;
}

/* An answer rated by a judge, by itself. */
static inline bool run_is_rating(const struct run_score *score)
{
	return score->judge && !score->opponent;
}

static inline bool run_has_lengths(const struct run_score *score)
{
	return score->lengths[0] > 0 || score->lengths[1] > 0;
}

/* A new reference, NULL when memory is out or a string isn't UTF-8. */
json_t *run_transcript_encode(const struct run_transcript *transcript);
json_t *run_score_encode(const struct run_score *score);
/* The strings in *out live as long as `line`. `what` names the line in errors. */
enum err_code run_transcript_decode(const json_t *line, const char *what,
				    struct run_transcript *out, struct err *err);
enum err_code run_score_decode(const json_t *line, const char *what, struct run_score *out,
			       struct err *err);

/* Appends the RFC 8785 text of `line` and a newline, and drops the reference (NULL is
 * ERR_NO_MEMORY). */
enum err_code run_line_append(struct buf *out, json_t *line, struct err *err);

/* Calls `each` for every line of a file's text, with the parsed line (borrowed). Stops at the first
 * error; errors name `what` and the line number. A last line without newline is an error: it was
 * cut. Blank lines are errors. */
enum err_code run_lines_read(struct bytes text, const char *what,
			     enum err_code (*each)(void *argument, const json_t *line,
						   const char *where, struct err *err),
			     void *argument, struct err *err);

#endif
