/* What is seen of a run: a live view on a terminal, plain lines elsewhere, and the table at the
 * end. */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

#include "bench/run.h"
#include "grade/aggregate.h"

/* NULL when memory is out or nothing is to be shown. */
struct progress *progress_new(struct run *run);
void progress_free(struct progress *progress); /* no timer after it; NULL is nothing */

/* Draws now, and from now on by timer. */
void progress_start(struct progress *progress);
/* A line that stays (who ended a model's part, a resumed run). */
void progress_say(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Takes the live view away for good. */
void progress_stop(struct progress *progress);

/* The final table, appended: one line for each result with its interval, failures, and what the run
 * cost. */
void progress_table(struct run *run, const struct results *results, struct buf *out);

/* The result's value and bounds as people read them: "85.4 %" or "+0.53" for strengths. */
void progress_value(const struct result *result, double value, char out[static 24]);

#endif
