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
/* Who won against whom. */
void report_pairs(struct report *report, unsigned suite);
/* Comparisons, ranks, and how the judges measured (report_findings.c). */
void report_findings(struct report *report);
/* Bars by category, where the items have one. */
void report_categories(struct report *report, const struct cell *cell);

/* Bars by hazard, where judges rated them (report_rated.c). */
void report_hazards(struct report *report, unsigned suite, unsigned model);
/* Each judging cell that has rated the answer of a contestant's task, from number *from (0 first).
 */
bool report_rating_next(const struct report *report, const struct cell *answers, size_t index,
			unsigned *from, const struct cell **judging);
/* What its judges gave it on average; false where none did. */
bool report_rating_mean(const struct report *report, const struct cell *answers, size_t index,
			double *mean);

/* What answers cost against how good they were; how long they took and were; how attempts failed
 * (report_use.c). */
void report_cost(struct report *report, unsigned suite);
void report_distributions(struct report *report, unsigned suite);
void report_errors(struct report *report);

/* A chart's id, unique in the page. */
void report_chart_id(struct report *report, char out[static 16]);
/* Opens and closes what is wider than a phone: it scrolls by itself, by keyboard too. */
void report_wide_begin(struct report *report, const char *name);
void report_wide_end(struct report *report);

/* Filters the tables of items; the only script of the page (report_filter.c). */
extern const char report_filter_script[];

#endif
