/* What judging.c shares with its parts: the comparisons of one suite, and rates over them. */
#ifndef GRADE_JUDGING_INTERNAL_H
#define GRADE_JUDGING_INTERNAL_H

#include "grade/judging.h"

/* The comparisons of one suite, sorted by what was compared: the judges' verdicts on the same two
 * answers stand together, and so do those on the same item. */
struct bench {
	const struct run_score **rows; /* owned */
	size_t count;
	const char *judges[JUDGING_JUDGES_MAX];
	size_t judge_count;
	double *values; /* scratch, `count` + 1 each */
	size_t *clusters;
	int *ratings; /* count x judges */
};

static inline bool judging_is_control(const struct run_score *score)
{
	return run_is_control(score->model) || run_is_control(score->opponent);
}

/* {n, value, low, high} of the first n of bench->values, clustered as bench->clusters says. NULL
 * where memory is out. */
json_t *judging_rate(const struct bench *bench, size_t n);

/* judging_controls.c: {longest, null, rows} with the share of `longest` given, which is taken
 * over. NULL where memory is out. */
json_t *judging_controls(struct bench *bench, json_t *longest);

#endif
