/* The charts of report.html. */
#include "bench/report_internal.h"

#include "bench/chart.h"
#include "bench/progress.h"
#include "bench/text.h"
#include "grade/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CATEGORIES_MAX 64u

void report_chart_id(struct report *report, char out[static 16])
{
	snprintf(out, 16, "c%u", ++report->charts);
}

void report_wide_begin(struct report *report, const char *name)
{
	buf_append_cstr(report->out,
			"<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"");
	report_line(report, name, 256);
	buf_append_cstr(report->out, "\">");
}

void report_wide_end(struct report *report)
{
	buf_append_cstr(report->out, "</div>\n");
}

/* ---- scores ---- */

static void fill_row(struct chart_row *row, const struct result *result)
{
	*row = (struct chart_row){.at = result->value,
				  .low = result->low,
				  .high = result->high,
				  .faint = result->failed * 10 > result->n};
	snprintf(row->label, sizeof(row->label), "%.100s · %s", result->model, result->metric);
	progress_value(result, result->value, row->value);
}

static size_t collect_rows(const struct report *report, unsigned suite, bool strengths,
			   struct chart_row *rows, double *from, double *to)
{
	size_t count = 0;
	for (size_t i = 0; i < report->results->count; i++) {
		const struct result *result = &report->results->items[i];
		bool strength = strcmp(result->metric, "bt_strength") == 0;
		if (strength != strengths ||
		    strcmp(result->suite, report->run->suites[suite].name) != 0)
			continue;
		fill_row(&rows[count++], result);
		*from = strengths ? fmin(*from, fmax(result->low, -8)) : 0;
		*to = strengths ? fmax(*to, fmin(result->high, 8)) : 1;
	}
	return count;
}

static void append_forest(struct report *report, unsigned suite, bool strengths)
{
	double from = 0, to = 1;
	char id[16], title[256];
	struct chart_row *rows = calloc(report->results->count + 1, sizeof(*rows));
	size_t count = rows ? collect_rows(report, suite, strengths, rows, &from, &to) : 0;
	if (count > 0) {
		report_chart_id(report, id);
		snprintf(title, sizeof(title), "%s: %.150s",
			 strengths ? "Bradley-Terry strengths" : "Scores",
			 report->run->suites[suite].name);
		buf_append_cstr(report->out, "<h2>");
		report_line(report, title, sizeof(title));
		buf_append_cstr(report->out, "</h2>\n");
		report_wide_begin(report, title);
		chart_forest(report->out, id, title,
			     "One row for each model and metric, with its 95 % interval; the same "
			     "numbers stand in the table of results.",
			     rows, count, from, to, !strengths);
		report_wide_end(report);
	}
	free(rows);
}

void report_scores(struct report *report, unsigned suite)
{
	append_forest(report, suite, false);
	append_forest(report, suite, true);
}

/* ---- pairs ---- */

struct pairs {
	double *sum, *shares;
	size_t *count;
	const char *names[PLAN_MODELS_MAX];
	unsigned models[PLAN_MODELS_MAX], size;
};

static size_t pair_index(struct pairs *pairs, const struct run *run, unsigned model)
{
	for (unsigned i = 0; i < pairs->size; i++)
		if (pairs->models[i] == model)
			return i;
	pairs->models[pairs->size] = model;
	pairs->names[pairs->size] = run->models[model].plan->name;
	return pairs->size++;
}

static void count_pair(struct pairs *pairs, const struct run *run, const struct cell *cell)
{
	size_t i = pair_index(pairs, run, cell->model);
	size_t j = pair_index(pairs, run, cell->opponent);
	for (size_t k = 0; k < cell->count; k += 2) {
		const struct task *task = &cell->tasks[k];
		if (!task->scored || task->failed_score)
			continue;
		pairs->sum[i * PLAN_MODELS_MAX + j] += task->score;
		pairs->sum[j * PLAN_MODELS_MAX + i] += 1 - task->score;
		pairs->count[i * PLAN_MODELS_MAX + j]++;
		pairs->count[j * PLAN_MODELS_MAX + i]++;
	}
}

static void append_matrix(struct report *report, unsigned suite, struct pairs *pairs)
{
	char id[16], title[256];
	const struct run *run = report->run;
	for (size_t i = 0; i < pairs->size; i++)
		for (size_t j = 0; j < pairs->size; j++) {
			size_t at = i * PLAN_MODELS_MAX + j;
			pairs->shares[i * pairs->size + j] =
				pairs->count[at] ? pairs->sum[at] / (double)pairs->count[at] : NAN;
		}
	report_chart_id(report, id);
	snprintf(title, sizeof(title), "Win rates in %.150s", run->suites[suite].name);
	buf_append_cstr(report->out, "<h2>");
	report_line(report, title, 256);
	buf_append_cstr(report->out, "</h2>\n");
	report_wide_begin(report, title);
	chart_matrix(
		report->out, id, title,
		"Each cell is the share of comparisons that the model of the row won against the "
		"model of the column; ties count half.",
		pairs->names, pairs->size, pairs->shares);
	report_wide_end(report);
}

void report_pairs(struct report *report, unsigned suite)
{
	const struct run *run = report->run;
	const size_t size = (size_t)PLAN_MODELS_MAX * PLAN_MODELS_MAX;
	struct pairs pairs = {.sum = calloc(size, sizeof(double)),
			      .shares = calloc(size, sizeof(double)),
			      .count = calloc(size, sizeof(size_t))};
	if (pairs.sum && pairs.shares && pairs.count) {
		for (unsigned i = 0; i < run->cell_count; i++)
			if (run->cells[i].judging && run->cells[i].suite == suite &&
			    !(run->plan.models[run->cells[i].model].roles & PLAN_CONTROL))
				count_pair(&pairs, run, &run->cells[i]);
		append_matrix(report, suite, &pairs);
	}
	free(pairs.sum);
	free(pairs.shares);
	free(pairs.count);
}

/* ---- categories ---- */

struct category {
	const char *name;
	size_t count;
	double sum;
};

static struct category *find_category(struct category *list, unsigned *count, const char *name)
{
	for (unsigned i = 0; i < *count; i++)
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	if (*count == CATEGORIES_MAX)
		return NULL;
	list[*count] = (struct category){.name = name};
	return &list[(*count)++];
}

static unsigned count_categories(struct run *run, const struct cell *cell, struct category *list)
{
	unsigned count = 0;
	for (size_t k = 0; k < cell->count; k++) {
		const struct run_item *item = cells_item(run, cell->suite, cell_item(run, cell, k));
		struct category *category =
			item->category ? find_category(list, &count, item->category) : NULL;
		if (!category)
			continue;
		category->count++;
		category->sum += cell->tasks[k].scored ? cell->tasks[k].score : 0;
	}
	return count;
}

void report_categories(struct report *report, const struct cell *cell)
{
	struct category list[CATEGORIES_MAX];
	struct chart_row rows[CATEGORIES_MAX];
	struct run *run = report->run;
	char id[16], title[300];
	unsigned count = count_categories(run, cell, list);
	for (unsigned i = 0; i < count; i++) {
		double n = (double)list[i].count;
		struct interval interval = statistics_wilson(list[i].sum, n, 0.95);
		rows[i] = (struct chart_row){
			.at = list[i].sum / n, .low = interval.low, .high = interval.high};
		text_line(rows[i].label, sizeof(rows[i].label), bytes_from(list[i].name));
		snprintf(rows[i].value, sizeof(rows[i].value), "%.0f %% of %zu", 100 * rows[i].at,
			 list[i].count);
	}
	if (count == 0)
		return;
	report_chart_id(report, id);
	snprintf(title, sizeof(title), "%.120s by category: %.120s", run->suites[cell->suite].name,
		 run->models[cell->model].plan->name);
	buf_append_cstr(report->out, "<h2>");
	report_line(report, title, sizeof(title));
	buf_append_cstr(report->out, "</h2>\n");
	report_wide_begin(report, title);
	chart_bars(
		report->out, id, title,
		"The share of samples in each category that were scored as expected, with Wilson's "
		"95 % interval.",
		rows, count);
	report_wide_end(report);
}
