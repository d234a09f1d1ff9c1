/* Every pair of models in every suite, compared by default: what the summary publishes, `verify`
 * computes again and `bench compare` shows. Pure.
 *
 * The unit is the item: its samples are averaged first, a failed one counts 0. Three ways:
 *   direct    the two answered against each other (pairwise suites): each comparison of theirs
 *   paired    the items that both have, where those are at least half of the items of the side that
 *             has fewer; of pairwise suites against the opponents that both met
 *   unpaired  otherwise: the two means, errors added, freedom after Welch and Satterthwaite
 * Standard errors are clustered by `cluster`, else by item, with t(C - 1). Where an error is zero
 * (the two never differed) the interval is what Wilson's upper bound of a share of 0 in C leaves.
 *
 * The test is McNemar's exact one where every item is 0 or 1 for both and no two share a cluster,
 * else t. Holm's correction is over all comparisons together. `detectable`: the smallest true
 * difference that so many items show with 80 % power at 5 %, from the error found here. */
#ifndef GRADE_COMPARE_H
#define GRADE_COMPARE_H

#include "grade/run_records.h"
#include "grade/statistics.h"

#define COMPARE_MAX 100000u
#define COMPARE_MODELS_MAX 1024u

enum compare_way { COMPARE_DIRECT, COMPARE_PAIRED, COMPARE_UNPAIRED };

struct compared {
	const char *suite, *a, *b; /* borrowed from the scores */
	const char *metric;        /* "accuracy", "pass@1" or "win_rate" */
	enum compare_way way;
	size_t items;            /* that both have (direct: were compared); 0 if unpaired */
	size_t items_a, items_b; /* that each has */
	size_t failed_a, failed_b, samples_a, samples_b; /* of what was compared */
	size_t clusters;
	double value_a, value_b;
	double difference;        /* a - b */
	struct interval interval; /* 95 % */
	struct interval bounds;   /* of the difference, had b's or a's failures alone passed */
	double p, adjusted;       /* before and after Holm's correction */
	double detectable;
	double correlation;    /* of the paired values; NaN where there is none */
	bool mcnemar;          /* the test is McNemar's */
	size_t only_a, only_b; /* items where only one passed, if `mcnemar` */
	/* The variances of items, for questions of power: of differences (paired) and of each side
	 * within an item (0 where it had one sample). */
	double variance, within_a, within_b;
};

struct ranked_model {
	const char *suite, *model;
	double value;
	size_t rank;      /* by value, from 1; equal values have equal ranks */
	size_t low, high; /* 1 + the models significantly better, and all but those worse */
};

struct comparisons {
	struct compared *items; /* owned; by suite and model, in order of first appearance */
	size_t count;
	struct ranked_model *ranks; /* owned; of suites with three models and more */
	size_t rank_count;
};

/* Models with the reserved prefix of controls (judging.h) are left out. ERR_NO_MEMORY,
 * ERR_TOO_LARGE. `out` is overwritten. */
enum err_code compare_scores(const struct run_score *scores, size_t count, struct comparisons *out,
			     struct err *err);
void comparisons_release(struct comparisons *comparisons);

const char *compare_way_name(enum compare_way way);
/* New references; NULL: memory is out. Numbers are rounded to 12 significant digits, and null where
 * they cannot be known. */
json_t *comparisons_encode(const struct comparisons *comparisons);
json_t *comparisons_ranks(const struct comparisons *comparisons);

/* Whether a published document says the same as one computed here: numbers within 1e-9. *where gets
 * the path of the first difference ("[3].low"). Bounded in depth. */
bool published_agrees(const json_t *computed, const json_t *published, char *where, size_t size);

#endif
