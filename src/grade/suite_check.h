/* The checks of a suite that need its scorers: whether they are valid, and whether the answers that
 * items bring with them (`reference`: a good one, `wrong`: a list of bad ones) are scored so. */
#ifndef GRADE_SUITE_CHECK_H
#define GRADE_SUITE_CHECK_H

#include "suite/check.h"

struct suite_trial {
	size_t every;      /* try the answers of each such item, from the first; 0: none */
	size_t tried;      /* items whose answers were tried: out */
	size_t references; /* items that bring a reference: out */
};

/* Findings of the checks `scorer`, `reference` and `wrong`. Programs are run in the sandbox.
 * Blocks. Errors: an item that cannot be rendered, memory, no sandbox (ERR_ENVIRONMENT). */
enum err_code suite_check_answers(const struct suite *suite, struct suite_trial *trial,
				  struct suite_findings *findings, struct err *err);

#endif
