/* report.html: one file that opens offline, under a strict content security policy: results with
 * intervals, charts as SVG, and the transcript behind each score. Its one script filters items. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/run.h"
#include "grade/aggregate.h"

#define REPORT_ROWS_MAX 2000u             /* items listed one by one; the rest are in the bundle */
#define REPORT_EXCERPT_MAX ((size_t)2000) /* bytes of a prompt or answer that are shown */

enum err_code report_write(struct run *run, const struct run_score *scores, size_t count,
			   const struct results *results, const struct bench_outcome *outcome,
			   struct err *err);

#endif
