/* What conduct.c (scores, tokens) and conduct_times.c share. */
#ifndef GRADE_CONDUCT_INTERNAL_H
#define GRADE_CONDUCT_INTERNAL_H

#include "grade/conduct.h"

/* Sets `adjusted` of every object in `rows` from its member `p`, by Holm's correction over all.
 * False when memory is out. */
bool conduct_adjust(json_t *rows);

/* Models for whom a blind arm was wanted and is none. False when memory is out. */
bool conduct_name_not_blind(const struct conduct *conduct, json_t *names);

/* Pairs of models said to be one of which `times` (conduct_times) has no row. False when memory is
 * out. */
bool conduct_name_not_compared(const struct conduct *conduct, const json_t *times, json_t *pairs);

/* Appends every comparison of times to `rows`. */
enum err_code conduct_times(const struct conduct *conduct, json_t *rows, struct err *err);

#endif
