/* How judges measured, as people read it in a terminal. */
#ifndef BENCH_JUDGING_TABLE_H
#define BENCH_JUDGING_TABLE_H

#include "base/buf.h"

#include <jansson.h>

/* `judging` as judging_encode made it; nothing for none. */
void judging_table(const json_t *judging, struct buf *out);

/* Of one suite whose answers were rated one by one, and what they tell by hazard (rating_table.c).
 */
void rating_table(const json_t *suite, struct buf *out);
void hazards_table(const json_t *hazards, struct buf *out);

/* How judges agree with people, as anchors_encode made it; nothing for none. */
void anchors_table(const json_t *anchors, struct buf *out);
/* "3 people rated 40 pairs of answers (committed to before the run); in 2 of them …", for both. */
void anchors_text(const json_t *suite, struct buf *out);

/* What tables for terminals and pages share: "12.5 % [4.1, 20.9]", "" where nothing was asked of
 * anything; and what a control is. */
#define JUDGING_RATE_MAX 64
void judging_rate_text(const json_t *rate, char out[static JUDGING_RATE_MAX]);
const char *judging_control_text(const char *control);
/* Why nothing is known of the null model; NULL where it is. */
const char *judging_null_lack(const json_t *controls);
/* A coefficient that may be unknown: "0.61", "unknown". */
void judging_number_text(const json_t *object, const char *key, char out[static JUDGING_RATE_MAX]);

#endif
