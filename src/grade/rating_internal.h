/* What rating.c (prompts), rating_read.c (replies) and rating_spec.c (specifications) share. */
#ifndef GRADE_RATING_INTERNAL_H
#define GRADE_RATING_INTERNAL_H

#include "grade/rating.h"

/* Every grade of a rubric is a whole number from `low` to `high`. */
struct rating_scale {
	int low, high;
};
struct rating_scale rating_scale_of(const json_t *spec);

/* The name of criterion `index`, its place counted from 1 where it has none. */
void rating_criterion_name(const json_t *criterion, size_t index,
			   char out[static RATING_NAME_MAX + 1]);
/* What it is worth: 1 where the rubric says nothing; below 0 it describes a fault. */
double rating_criterion_points(const json_t *criterion);

/* What the hazard is, in words for a judge: the specification's, or ours; NULL: nobody says. */
const char *rating_hazard_definition(const json_t *spec);

#endif
