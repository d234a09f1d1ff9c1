/* Comparisons as people read them, in a terminal. */
#ifndef BENCH_COMPARISON_TABLE_H
#define BENCH_COMPARISON_TABLE_H

#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>

/* `rows` and `ranks` as comparisons_encode and comparisons_ranks made them; at most `limit` rows,
 * those with the smallest p first where some are left out. Nothing for none. */
void comparison_table(const json_t *rows, const json_t *ranks, size_t limit, struct buf *out);

/* How the providers behaved: the members `conduct` and `conduct_words` of a summary. With `brief`
 * nothing where only tokens were counted and none are off. */
void conduct_table(const json_t *summary, bool brief, struct buf *out);

#endif
