/* What the parts of publishing share. Internal to publish*.c. */
#ifndef BENCH_PUBLISH_INTERNAL_H
#define BENCH_PUBLISH_INTERNAL_H

#include "base/arena.h"
#include "bench/output.h"
#include "bench/plan.h"
#include "bench/publish.h"
#include "grade/bundle.h"
#include "grade/published.h"

#define PUBLISH_PATH_MAX 4600u

struct publish_suite {
	struct suite *suite; /* owned */
	const char *name;    /* of the plan */
	bool withheld;
};

struct publish {
	struct env *env;
	const struct publish_options *options;
	struct publish_outcome *outcome;
	char source[PUBLISH_PATH_MAX]; /* the run's bundle */
	struct bundle bundle;
	struct plan plan;
	struct publish_suite suites[PLAN_SUITES_MAX];
	unsigned suite_count;
	json_t *withheld; /* owned: withheld.json */
	json_t *summary;  /* owned: as it is published */
	struct output salts;
};

enum err_code publish_no_memory(struct err *err);
struct publish_suite *publish_find(struct publish *publish, const char *name);

/* Draws a salt, writes the line that opens the commitment, and gives it in hexadecimal. `extra`:
 * further members of the line, taken over; may be NULL. */
enum err_code publish_commit(struct publish *publish, const char *label, struct bytes value,
			     json_t *extra, char out[static 2 * SHA256_SIZE + 1], struct err *err);

/* publish_suite.c: a withheld suite's entry in withheld.json. */
enum err_code publish_withhold(struct publish *publish, const struct publish_suite *suite,
			       struct err *err);
/* publish_lines.c: transcripts.jsonl and scores.jsonl. */
enum err_code publish_lines(struct publish *publish, struct err *err);

#endif
