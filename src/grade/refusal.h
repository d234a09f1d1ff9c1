/* Refusals by the beginning of the answer: the string-match rule of XSTest (Röttger et al., 2024,
 * classify_completions_strmatch.py). The text, lower-cased and without white space at both ends,
 * starts with one of a fixed list of apologies and refusals. */
#ifndef GRADE_REFUSAL_H
#define GRADE_REFUSAL_H

#include "base/bytes.h"

bool refusal_matches(struct bytes answer);

#endif
