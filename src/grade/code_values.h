/* The text in which values travel between the grader and the driver in the sandbox
 * (python/driver.py). Internal to code.c. */
#ifndef GRADE_CODE_VALUES_H
#define GRADE_CODE_VALUES_H

#include "base/buf.h"

#include <jansson.h>

#define CODE_VALUES_DEPTH 200u

void code_value_append(struct buf *out, const json_t *value);

/* Takes one value from the beginning of `text`, a new reference: tuples become arrays, integers
 * past 64 bits reals, keys text as Python's json has them. NULL on anything malformed, on what JSON
 * can't say (sets, bytes, complex numbers, numbers that aren't finite) and beyond the depth. */
json_t *code_value_take(struct bytes *text);

#endif
