/* Judges as instruments: what the verdicts of a run tell of those who gave them. Pure.
 *
 * For every pairwise suite: each judge's flips (the orders named different winners), ties, verdicts
 * that could not be read or were refusals, and how often it named the answer that stood first or
 * the longer one; how far several judges agree beyond chance; what the controls
 * scored (judging_controls.c). */
#ifndef GRADE_JUDGING_H
#define GRADE_JUDGING_H

#include "grade/run_records.h"

#define JUDGING_JUDGES_MAX 32u

/* A list with one object for each pairwise suite (docs/formats/bundle.md), a new reference. */
enum err_code judging_encode(const struct run_score *scores, size_t count, json_t **out,
			     struct err *err);

#endif
