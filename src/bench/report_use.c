/* What of report.html is about the use of models: cost against score, how long answers took, how
 * attempts failed. */
#include "bench/report_internal.h"

#include "bench/chart.h"
#include "bench/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SCORE_BINS 10u
#define ROWS_MAX (CELL_USE_BINS > PLAN_MODELS_MAX ? CELL_USE_BINS : PLAN_MODELS_MAX)

static void append_title(struct report *report, const char *title)
{
	buf_append_cstr(report->out, "<h2>");
	report_line(report, title, 300);
	buf_append_cstr(report->out, "</h2>\n");
	report_wide_begin(report, title);
}

/* Controls cost nothing and are nobody's answers. */
static bool is_answering(const struct run *run, const struct cell *cell, unsigned suite)
{
	return !cell->judging && cell->suite == suite &&
	       !(run->plan.models[cell->model].roles & PLAN_CONTROL);
}

/* ---- cost against score ---- */

/* A suite's first figure of a model is its headline: accuracy, pass@1 or win_rate. */
static const struct result *headline_of(const struct report *report, const struct cell *cell)
{
	const struct run *run = report->run;
	for (size_t i = 0; i < report->results->count; i++) {
		const struct result *result = &report->results->items[i];
		if (strcmp(result->suite, run->suites[cell->suite].name) == 0 &&
		    strcmp(result->model, run->models[cell->model].plan->name) == 0 &&
		    strcmp(result->metric, "bt_strength") != 0)
			return result;
	}
	return NULL;
}

static bool has_prices(const struct run *run, unsigned suite)
{
	for (unsigned i = 0; i < run->cell_count; i++)
		if (is_answering(run, &run->cells[i], suite) && run->cells[i].use.answers > 0 &&
		    !(run->cells[i].use.usd > 0))
			return false;
	return true;
}

static size_t collect_points(const struct report *report, unsigned suite, bool priced,
			     struct chart_row *rows)
{
	const struct run *run = report->run;
	size_t count = 0;
	for (unsigned i = 0; i < run->cell_count; i++) {
		const struct cell *cell = &run->cells[i];
		const struct cell_use *use = &cell->use;
		const struct result *result =
			is_answering(run, cell, suite) ? headline_of(report, cell) : NULL;
		double used = priced ? 1000 * use->usd : (double)use->output;
		if (!result || use->answers == 0 || !(used > 0) || count == PLAN_MODELS_MAX)
			continue;
		struct chart_row *row = &rows[count++];
		*row = (struct chart_row){.at = result->value,
					  .low = result->low,
					  .high = result->high,
					  .x = used / use->answers};
		snprintf(row->label, sizeof(row->label), "%.100s", result->model);
		snprintf(row->value, sizeof(row->value), "%.1f %% at %.4g", 100 * row->at, row->x);
	}
	return count;
}

/* The least of 1, 2 and 5 times a power of ten that is not below. */
static double round_up(double value)
{
	double power = pow(10, floor(log10(value))), steps[] = {1, 2, 5, 10};
	for (size_t i = 0; i < 4; i++)
		if (steps[i] * power >= value)
			return steps[i] * power;
	return 10 * power;
}

static struct chart_axis axis_of(const struct chart_row *rows, size_t count, bool priced)
{
	double most = 0;
	for (size_t i = 0; i < count; i++)
		most = fmax(most, rows[i].x);
	double max = round_up(most);
	double digits = ceil(-log10(max / 5));
	return (struct chart_axis){.name = priced ? "USD for 1,000 answers"
						  : "output tokens for an answer (no prices known)",
				   .max = max,
				   .decimals = digits > 0 ? (unsigned)fmin(6, digits) : 0};
}

void report_cost(struct report *report, unsigned suite)
{
	char id[16], title[256];
	struct chart_row rows[PLAN_MODELS_MAX];
	bool priced = has_prices(report->run, suite);
	size_t count = collect_points(report, suite, priced, rows);
	if (count < 2)
		return;
	struct chart_axis axis = axis_of(rows, count, priced);
	report_chart_id(report, id);
	snprintf(title, sizeof(title), "%s against score: %.150s", priced ? "Cost" : "Length",
		 report->run->suites[suite].name);
	append_title(report, title);
	chart_scatter(report->out, id, title,
		      "One point for each model: what an answer cost across, the score with its 95 "
		      "% interval upwards. Up and left is better.",
		      rows, count, &axis);
	report_wide_end(report);
}

/* ---- distributions ---- */

static void append_shares(struct report *report, const char *title, const char *description,
			  const struct chart_row *rows, size_t count)
{
	char id[16];
	report_chart_id(report, id);
	buf_append_cstr(report->out, "<h3>");
	report_line(report, title, 300);
	buf_append_cstr(report->out, "</h3>\n");
	report_wide_begin(report, title);
	chart_bars(report->out, id, title, description, rows, count);
	report_wide_end(report);
}

static void fill_share(struct chart_row *row, uint32_t count, uint32_t all)
{
	row->at = row->low = row->high = (double)count / all;
	snprintf(row->value, sizeof(row->value), "%u", count);
}

/* From the first bin that holds something to the last. */
static size_t fill_bins(const uint32_t bins[CELL_USE_BINS], uint32_t all, const char *unit,
			struct chart_row *rows)
{
	unsigned first = 0, end = CELL_USE_BINS;
	while (first < CELL_USE_BINS && bins[first] == 0)
		first++;
	while (end > first && bins[end - 1] == 0)
		end--;
	for (unsigned i = first; i < end; i++) {
		struct chart_row *row = &rows[i - first];
		unsigned long long from = cell_use_bin_start(i), to = cell_use_bin_start(i + 1) - 1;
		*row = (struct chart_row){0};
		if (from == to || i == 0)
			snprintf(row->label, sizeof(row->label), "%llu %s", from, unit);
		else if (i + 1 == CELL_USE_BINS)
			snprintf(row->label, sizeof(row->label), "%llu %s and more", from, unit);
		else
			snprintf(row->label, sizeof(row->label), "%llu to %llu %s", from, to, unit);
		fill_share(row, bins[i], all);
	}
	return end - first;
}

/* Where scores are more than 0 and 1: tenths. */
static size_t fill_scores(const struct cell *cell, struct chart_row *rows)
{
	uint32_t bins[SCORE_BINS] = {0}, all = 0;
	bool graded = false;
	for (size_t k = 0; k < cell->count; k++) {
		const struct task *task = &cell->tasks[k];
		if (!task->scored || task->failed_score)
			continue;
		graded |= task->score > 0 && task->score < 1;
		bins[(unsigned)fmin(SCORE_BINS - 1, fmax(0, task->score * SCORE_BINS))]++;
		all++;
	}
	for (unsigned i = 0; graded && i < SCORE_BINS; i++) {
		rows[i] = (struct chart_row){0};
		snprintf(rows[i].label, sizeof(rows[i].label), "%.1f to %.1f", i / 10.0,
			 (i + 1) / 10.0);
		fill_share(&rows[i], bins[i], all);
	}
	return graded ? SCORE_BINS : 0;
}

static void append_distributions(struct report *report, const struct cell *cell)
{
	const struct cell_use *use = &cell->use;
	const char *model = report->run->models[cell->model].plan->name;
	const char *suite = report->run->suites[cell->suite].name;
	struct chart_row rows[ROWS_MAX];
	char title[256];
	size_t count = fill_scores(cell, rows);
	snprintf(title, sizeof(title), "%.64s, %.100s: scores", suite, model);
	if (count > 0)
		append_shares(report, title, "How many samples had a score in each tenth.", rows,
			      count);
	snprintf(title, sizeof(title), "%.64s, %.100s: time for an answer", suite, model);
	count = fill_bins(use->elapsed_ms, use->answers, "ms", rows);
	append_shares(report, title,
		      "How many answers took how long, from the request to the end of the answer.",
		      rows, count);
	snprintf(title, sizeof(title), "%.64s, %.100s: length of answers", suite, model);
	count = fill_bins(use->output_tokens, use->answers, "output tokens", rows);
	append_shares(report, title, "How many answers had how many output tokens.", rows, count);
}

void report_distributions(struct report *report, unsigned suite)
{
	const struct run *run = report->run;
	bool titled = false;
	for (unsigned i = 0; i < run->cell_count; i++) {
		const struct cell *cell = &run->cells[i];
		if (!is_answering(run, cell, suite) || cell->use.answers == 0)
			continue;
		if (!titled) {
			buf_append_cstr(report->out, "<h2>Distributions: ");
			report_line(report, run->suites[suite].name, 150);
			buf_append_cstr(report->out,
					"</h2>\n<details><summary>show scores, times and "
					"lengths of answers by model</summary>\n");
		}
		titled = true;
		append_distributions(report, cell);
	}
	if (titled)
		buf_append_cstr(report->out, "</details>\n");
}

/* ---- errors ---- */

static uint32_t errors_of(const struct cell *cell)
{
	uint32_t all = 0;
	for (unsigned i = 0; i < CELL_ERRORS; i++)
		all += cell->use.errors[i];
	return all;
}

static void append_error_row(struct report *report, const struct cell *cell)
{
	const struct run *run = report->run;
	buf_append_cstr(report->out, "<tr><td>");
	report_line(report, run->suites[cell->suite].name, 128);
	buf_append_cstr(report->out, "</td><th scope=\"row\">");
	report_line(report, run->models[cell_asks(cell)].plan->name, 128);
	buf_append_cstr(report->out, cell->judging ? " (judge)</th>" : "</th>");
	for (unsigned i = 0; i < CELL_ERRORS; i++)
		buf_printf(report->out, "<td class=\"n\">%u</td>", cell->use.errors[i]);
	buf_append_cstr(report->out, "</tr>\n");
}

void report_errors(struct report *report)
{
	const struct run *run = report->run;
	uint32_t all = 0;
	for (unsigned i = 0; i < run->cell_count; i++)
		all += errors_of(&run->cells[i]);
	if (all == 0)
		return;
	buf_append_cstr(report->out, "<h2>Failed attempts</h2>\n");
	report_wide_begin(report, "Failed attempts");
	buf_append_cstr(report->out,
			"<table><caption>By kind; most were asked again. What was left in the end "
			"counts as failed.</caption><thead><tr><th scope=\"col\">Suite</th>"
			"<th scope=\"col\">Model</th>");
	for (unsigned i = 0; i < CELL_ERRORS; i++)
		buf_printf(report->out, "<th scope=\"col\" class=\"n\">%s</th>",
			   cell_error_name((enum cell_error)i));
	buf_append_cstr(report->out, "</tr></thead><tbody>\n");
	for (unsigned i = 0; i < run->cell_count; i++)
		if (errors_of(&run->cells[i]) > 0)
			append_error_row(report, &run->cells[i]);
	buf_append_cstr(report->out, "</tbody></table>");
	report_wide_end(report);
}
