/* What a summary says beside its results: comparisons, ranks, and how the judges measured. One
 * implementation for harness and verifier. Pure. */
#ifndef GRADE_FINDINGS_H
#define GRADE_FINDINGS_H

#include "base/sha256.h"
#include "grade/run_records.h"

/* An object {comparisons, ranks, judging?, hazards?} whose members go into summary.json
 * (docs/formats/bundle.md); the caller owns it. */
enum err_code findings_make(const struct run_score *scores, size_t count, json_t **out,
			    struct err *err);

/* Says of a suite that names what judges are asked that its root (which its judges' words are in)
 * stands for them, and not the words of Parley. */
void findings_own_prompt(json_t *found, const char *suite, const uint8_t root[static SHA256_SIZE]);

/* ERR_MISMATCH naming the first thing in which `summary` differs from what was found. A member that
 * is not published is no lie. */
enum err_code findings_compare(const json_t *found, const json_t *summary, struct err *err);

#endif
