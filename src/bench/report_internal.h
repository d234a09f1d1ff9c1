/* What report.c (the page) and report_charts.c (its charts) share. */
#ifndef BENCH_REPORT_INTERNAL_H
#define BENCH_REPORT_INTERNAL_H

#include "bench/output.h"
#include "bench/report.h"

#define REPORT_PAIRS_MAX 200u

struct report {
	struct run *run;
	const struct run_score *scores;
	size_t score_count;
	const struct results *results;
	const struct bench_outcome *outcome;
	struct output output;
	struct buf *out;
	unsigned charts; /* numbered, for ids */
	size_t rows;
};

/* Text on one line, escaped; at most `limit` bytes of it. */
void report_line(struct report *report, const char *text, size_t limit);

/* Forest plots of a suite's scores and strengths. */
void report_scores(struct report *report, unsigned suite);
/* Who won against whom, and how often the judges changed their mind with the order. */
void report_pairs(struct report *report, unsigned suite);
/* Bars by category, where the items have one. */
void report_categories(struct report *report, const struct cell *cell);

#endif
