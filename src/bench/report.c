#include "bench/report.h"

#include "base/encode.h"
#include "base/json.h"
#include "bench/chart.h"
#include "bench/output.h"
#include "bench/progress.h"
#include "bench/text.h"
#include "grade/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CATEGORIES_MAX 64u

static const char style[] =
	":root{color-scheme:light dark;--ink:#1a1c20;--soft:#5b6270;--line:#d9dde5;--paper:#fff;"
	"--card:#f5f6f9;--blue:#2459c7;--red:#b3261e;--amber:#8a5a00;--amber-paper:#fff3d6}"
	"@media(prefers-color-scheme:dark){:root{--ink:#e8eaf0;--soft:#a3abba;--line:#363b46;"
	"--paper:#14161b;--card:#1d2027;--blue:#8ab0ff;--red:#ff8a80;--amber:#ffd37a;"
	"--amber-paper:#3a2d0c}}"
	"*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:60rem;color:var(--ink);"
	"background:var(--paper);font:16px/1.5 system-ui,sans-serif}"
	"h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}"
	"p{margin:.4rem 0}.note{background:var(--amber-paper);color:var(--amber);padding:.6rem .8rem;"
	"border-radius:.4rem;font-weight:600}.soft{color:var(--soft)}.bad{color:var(--red)}"
	".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}"
	"caption{text-align:left;color:var(--soft);padding:.2rem 0}"
	"th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;"
	"vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;"
	"white-space:nowrap}svg{width:100%;height:auto;min-width:34rem;background:var(--card);"
	"border-radius:.4rem;padding:.3rem}svg text{fill:var(--ink);font:13px system-ui,sans-serif}"
	".label{text-anchor:end}.tick{text-anchor:middle;fill:var(--soft)}.cell{text-anchor:middle}"
	".grid{stroke:var(--line)}.whisker{stroke:var(--blue);stroke-width:1.6}"
	".mark{fill:var(--blue)}.bar{fill:var(--blue);opacity:.35}.faint{opacity:.55}"
	".never{fill:var(--line);opacity:.4}.cell.on{fill:var(--paper)}"
	".shade0,.shade1,.shade2,.shade3,.shade4,.shade5,.shade6,.shade7,.shade8,.shade9"
	"{fill:var(--blue)}.shade0{opacity:.08}.shade1{opacity:.16}.shade2{opacity:.24}"
	".shade3{opacity:.32}.shade4{opacity:.4}.shade5{opacity:.5}.shade6{opacity:.6}"
	".shade7{opacity:.75}.shade8{opacity:.87}"
	"pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--card);padding:.6rem;"
	"border-radius:.4rem;max-height:24rem;overflow:auto;margin:.3rem 0}"
	"summary{cursor:pointer}@media print{pre{max-height:none}}";

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

static void html(struct report *report, const char *text)
{
	text_append_html(report->out, bytes_from(text), 4096);
}

static void html_line(struct report *report, const char *text, size_t limit)
{
	struct buf line = BUF_INIT(65536);
	text_append_line(&line, bytes_from(text), limit);
	text_append_html(report->out, buf_bytes(&line), line.size);
	buf_release(&line);
}

static void chart_id(struct report *report, char out[static 16])
{
	snprintf(out, 16, "c%u", ++report->charts);
}

/* ---- head ---- */

/* The style is allowed by its hash, nothing else may load or run. */
static void append_head(struct report *report)
{
	uint8_t digest[SHA256_SIZE];
	sha256_of(style, sizeof(style) - 1, digest);
	buf_append_cstr(report->out,
			"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
			"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
			"style-src 'sha256-");
	base64_append(report->out, digest, sizeof(digest));
	buf_append_cstr(report->out,
			"'; base-uri 'none'; form-action 'none'\">\n"
			"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
			"<meta name=\"referrer\" content=\"no-referrer\">\n"
			"<title>Evaluation report</title>\n<style>");
	buf_append_cstr(report->out, style);
	buf_append_cstr(report->out, "</style></head><body>\n<main>\n");
}

static void append_time(struct report *report, int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm parts;
	char text[64] = "";
	if (gmtime_r(&seconds, &parts))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &parts);
	buf_append_cstr(report->out, text);
}

static void append_labels(struct report *report)
{
	const struct run *run = report->run;
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_model *model = &run->models[i];
		if (!*model->simulated)
			continue;
		buf_append_cstr(report->out, "<p class=\"note\" role=\"note\">Not a real model: <b>");
		html_line(report, model->plan->name, 128);
		buf_append_cstr(report->out, "</b> (");
		html_line(report, model->simulated, 300);
		buf_append_cstr(report->out, ")</p>\n");
	}
	if (run->plan.self_judging)
		buf_append_cstr(report->out, "<p class=\"note\" role=\"note\">A model that was tested "
					     "was allowed to judge its own answers.</p>\n");
}

static void append_vouching(struct report *report)
{
	const struct run *run = report->run;
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_model *model = &run->models[i];
		size_t got, lost;
		if (!(model->plan->roles & (PLAN_CONTESTANT | PLAN_BASELINE)))
			continue;
		buf_append_cstr(report->out, "<p><b>");
		html_line(report, model->plan->name, 128);
		buf_append_cstr(report->out, "</b>: ");
		if (model->gateway_state == GATEWAY_READY && *model->vkey) {
			voucher_receipts(model, &got, &lost);
			buf_append_cstr(report->out, "its answers are in the log of ");
			html_line(report, model->gateway_name, 256);
			if (lost > 0)
				buf_printf(report->out, "; <span class=\"bad\">%zu receipts could not "
							"be had</span>",
					   lost);
			buf_append_cstr(report->out, ".</p>\n");
		} else {
			buf_append_cstr(report->out, "nothing vouches for its answers but this "
						     "report's author.</p>\n");
		}
	}
}

static void append_introduction(struct report *report)
{
	const struct run *run = report->run;
	const struct bench_outcome *outcome = report->outcome;
	buf_append_cstr(report->out, "<h1>Evaluation report</h1>\n");
	append_labels(report);
	buf_append_cstr(report->out, "<p class=\"soft\">");
	append_time(report, run->started_ms);
	buf_printf(report->out, " · %zu samples, %zu answered, %zu failed, %zu without an outcome · ",
		   outcome->samples, outcome->answered, outcome->failed, outcome->missing);
	html_line(report, outcome->ending, 500);
	buf_append_cstr(report->out, "</p>\n");
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_ending *ending = &run->models[i].ending;
		if (!ending->ended)
			continue;
		buf_append_cstr(report->out, "<p class=\"bad\">Ended at ");
		append_time(report, ending->time_ms);
		buf_append_cstr(report->out, ": ");
		html_line(report, ending->reason, 500);
		buf_append_cstr(report->out, "</p>\n");
	}
	append_vouching(report);
	buf_append_cstr(report->out, "<p class=\"soft\">Check it: <code>parley verify bundle</code>, in "
				     "the folder of this report, needs no network.</p>\n");
}

/* ---- results ---- */

static void append_result_row(struct report *report, const struct result *result)
{
	char value[24], low[24], high[24];
	progress_value(result, result->value, value);
	progress_value(result, result->low, low);
	progress_value(result, result->high, high);
	buf_append_cstr(report->out, "<tr><td>");
	html_line(report, result->suite, 128);
	buf_append_cstr(report->out, "</td><th scope=\"row\">");
	html_line(report, result->model, 128);
	buf_append_cstr(report->out, "</th><td>");
	html(report, result->metric);
	buf_printf(report->out,
		   "</td><td class=\"n\">%s</td><td class=\"n\">%s to %s</td><td class=\"n\">%zu</td>"
		   "<td class=\"n%s\">%zu</td>",
		   value, low, high, result->n, result->failed ? " bad" : "", result->failed);
	if (result->failed > 0 && strcmp(result->metric, "bt_strength") != 0) {
		char passed[24];
		progress_value(result, result_if_failed_had_passed(result), passed);
		buf_printf(report->out, "<td class=\"n\">%s to %s</td></tr>\n", value, passed);
	} else {
		buf_append_cstr(report->out, "<td class=\"n\"></td></tr>\n");
	}
}

static void append_results(struct report *report)
{
	buf_append_cstr(report->out,
			"<h2>Results</h2>\n<div class=\"wide\"><table><caption>Values with 95 % intervals. "
			"Failed samples count as not passed; the last column shows the value if "
			"none or all of them had passed.</caption><thead><tr><th scope=\"col\">Suite</th>"
			"<th scope=\"col\">Model</th><th scope=\"col\">Metric</th>"
			"<th scope=\"col\" class=\"n\">Value</th><th scope=\"col\" class=\"n\">95 % "
			"interval</th><th scope=\"col\" class=\"n\">n</th><th scope=\"col\" class=\"n\">"
			"Failed</th><th scope=\"col\" class=\"n\">Bounds</th></tr></thead><tbody>\n");
	for (size_t i = 0; i < report->results->count; i++) {
		append_result_row(report, &report->results->items[i]);
		output_step(&report->output);
	}
	buf_append_cstr(report->out, "</tbody></table></div>\n");
}

static void fill_row(struct chart_row *row, const struct result *result)
{
	*row = (struct chart_row){.at = result->value,
				  .low = result->low,
				  .high = result->high,
				  .faint = result->failed * 10 > result->n};
	snprintf(row->label, sizeof(row->label), "%.80s · %.60s · %s", result->suite,
		 result->model, result->metric);
	progress_value(result, result->value, row->value);
}

static void append_forest(struct report *report, bool strengths)
{
	size_t count = 0;
	double from = 0, to = 1;
	char id[16];
	struct chart_row *rows = calloc(report->results->count + 1, sizeof(*rows));
	for (size_t i = 0; rows && i < report->results->count; i++) {
		const struct result *result = &report->results->items[i];
		if ((strcmp(result->metric, "bt_strength") == 0) != strengths)
			continue;
		fill_row(&rows[count++], result);
		from = strengths ? fmin(from, fmax(result->low, -8)) : from;
		to = strengths ? fmax(to, fmin(result->high, 8)) : to;
	}
	if (count > 0) {
		chart_id(report, id);
		buf_append_cstr(report->out, strengths ? "<h2>Strengths</h2>\n<div class=\"wide\">"
						       : "<h2>Scores</h2>\n<div class=\"wide\">");
		chart_forest(report->out, id,
			     strengths ? "Bradley-Terry strengths with 95 % intervals"
				       : "Scores with 95 % intervals",
			     "One row for each suite, model and metric; the same numbers stand in the "
			     "table of results.",
			     rows, count, from, to, !strengths);
		buf_append_cstr(report->out, "</div>\n");
	}
	free(rows);
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

static void append_flips(struct report *report, unsigned suite)
{
	const struct run *run = report->run;
	size_t judged = 0, flipped = 0, unread = 0;
	for (size_t i = 0; i < report->score_count; i++) {
		const struct run_score *score = &report->scores[i];
		if (!score->judge || strcmp(score->suite, run->suites[suite].name) != 0)
			continue;
		judged += !score->failed;
		flipped += score->flipped;
		unread += score->failed && score->verdicts[0];
	}
	buf_printf(report->out,
		   "<p class=\"soft\">%zu comparisons judged in both orders; in %zu the judge named "
		   "another winner when the order was changed (a tie), in %zu a verdict could not be "
		   "read.</p>\n",
		   judged, flipped, unread);
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
	chart_id(report, id);
	snprintf(title, sizeof(title), "Win rates in %.150s", run->suites[suite].name);
	buf_append_cstr(report->out, "<h2>");
	html_line(report, title, 256);
	buf_append_cstr(report->out, "</h2>\n<div class=\"wide\">");
	chart_matrix(report->out, id, title,
		     "Each cell is the share of comparisons that the model of the row won against the "
		     "model of the column; ties count half.",
		     pairs->names, pairs->size, pairs->shares);
	buf_append_cstr(report->out, "</div>\n");
	append_flips(report, suite);
}

static void append_pairs(struct report *report, unsigned suite)
{
	const struct run *run = report->run;
	const size_t size = (size_t)PLAN_MODELS_MAX * PLAN_MODELS_MAX;
	struct pairs pairs = {.sum = calloc(size, sizeof(double)),
			      .shares = calloc(size, sizeof(double)),
			      .count = calloc(size, sizeof(size_t))};
	if (pairs.sum && pairs.shares && pairs.count) {
		for (unsigned i = 0; i < run->cell_count; i++)
			if (run->cells[i].judging && run->cells[i].suite == suite)
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

static void append_categories(struct report *report, const struct cell *cell)
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
		snprintf(rows[i].value, sizeof(rows[i].value), "%.0f %% of %zu",
			 100 * rows[i].at, list[i].count);
	}
	if (count == 0)
		return;
	chart_id(report, id);
	snprintf(title, sizeof(title), "%.120s by category: %.120s", run->suites[cell->suite].name,
		 run->models[cell->model].plan->name);
	buf_append_cstr(report->out, "<h2>");
	html_line(report, title, sizeof(title));
	buf_append_cstr(report->out, "</h2>\n<div class=\"wide\">");
	chart_bars(report->out, id, title,
		   "The share of samples in each category that were scored as expected, with Wilson's "
		   "95 % interval.",
		   rows, count);
	buf_append_cstr(report->out, "</div>\n");
}

/* ---- use ---- */

static void append_use(struct report *report)
{
	const struct run *run = report->run;
	buf_append_cstr(report->out,
			"<h2>Tokens and cost</h2>\n<div class=\"wide\"><table><thead><tr>"
			"<th scope=\"col\">Model</th><th scope=\"col\">Named by the provider</th>"
			"<th scope=\"col\" class=\"n\">Input tokens</th><th scope=\"col\" class=\"n\">"
			"Output tokens</th><th scope=\"col\" class=\"n\">Cost</th></tr></thead><tbody>\n");
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_model *model = &run->models[i];
		buf_append_cstr(report->out, "<tr><th scope=\"row\">");
		html_line(report, model->plan->name, 128);
		buf_append_cstr(report->out, "</th><td>");
		html_line(report, model->served, 128);
		buf_append_cstr(report->out, "</td><td class=\"n\">");
		text_append_count(report->out, (uint64_t)model->tokens_input);
		buf_append_cstr(report->out, "</td><td class=\"n\">");
		text_append_count(report->out, (uint64_t)model->tokens_output);
		buf_append_cstr(report->out, "</td><td class=\"n\">");
		if (model->usd > 0)
			text_append_usd(report->out, model->usd);
		buf_append_cstr(report->out, "</td></tr>\n");
	}
	buf_append_cstr(report->out, "</tbody></table></div>\n");
}

/* ---- items ---- */

static const char *state_text(const struct run *run, const struct cell *cell, size_t index)
{
	const struct task *task = &cell->tasks[index];
	if (task->state == TASK_FAILED)
		return "failed";
	if (task->state != TASK_ANSWERED)
		return "no outcome";
	if (cell->judging || run->suites[cell->suite].pairwise)
		return "answered";
	return task->refused == REFUSED_YES ? "refused" : "answered";
}

static void append_excerpt(struct report *report, const struct cell *cell, size_t index)
{
	struct run *run = report->run;
	const struct task *task = &cell->tasks[index];
	struct bytes line;
	struct err err = ERR_INIT;
	json_t *tree = NULL;
	if (task->state != TASK_ANSWERED && task->state != TASK_FAILED)
		return;
	if (journal_read(&run->journal, task->offset, &run->scratch, &err) != ERR_OK ||
	    (!lines_embedded(buf_bytes(&run->scratch), "answer", &line) &&
	     !lines_embedded(buf_bytes(&run->scratch), "failure", &line)) ||
	    json_parse(line, "a line of the journal", &tree, &err) != ERR_OK)
		return;
	const char *text = json_string_value(json_object_get(tree, "answer"));
	const char *error = json_string_value(json_object_get(tree, "error"));
	buf_append_cstr(report->out, error ? "<details><summary class=\"bad\">why</summary><pre>"
					   : "<details><summary>answer</summary><pre>");
	text_append_html(report->out, bytes_from(error ? error : text ? text : ""),
			 REPORT_EXCERPT_MAX);
	buf_append_cstr(report->out, "</pre></details>");
	json_decref(tree);
}

static void append_item(struct report *report, const struct cell *cell, size_t index)
{
	struct run *run = report->run;
	const struct run_suite *suite = &run->suites[cell->suite];
	const struct task *task = &cell->tasks[index];
	const struct run_item *item = cells_item(run, cell->suite, cell_item(run, cell, index));
	buf_append_cstr(report->out, "<tr><th scope=\"row\">");
	html_line(report, suite_id(suite->suite, cell_item(run, cell, index)), 100);
	if (suite->samples > 1)
		buf_printf(report->out, " #%u", cell_sample(run, cell, index) + 1);
	buf_append_cstr(report->out, "</th><td>");
	html_line(report, item->category ? item->category : item->cluster ? item->cluster : "", 60);
	buf_append_cstr(report->out, "</td><td>");
	html_line(report, run->models[cell->model].plan->name, 100);
	buf_printf(report->out, "</td><td>%s</td><td class=\"n\">",
		   state_text(run, cell, index));
	if (task->scored)
		buf_printf(report->out, "%.3g", task->score);
	buf_append_cstr(report->out, "</td><td>");
	append_excerpt(report, cell, index);
	buf_append_cstr(report->out, "</td></tr>\n");
	output_step(&report->output);
}

static void append_suite_items(struct report *report, unsigned suite)
{
	const struct run *run = report->run;
	size_t left_out = 0;
	buf_append_cstr(report->out, "<h2>Items of ");
	html_line(report, run->suites[suite].name, 128);
	buf_append_cstr(report->out,
			"</h2>\n<div class=\"wide\"><table><thead><tr><th scope=\"col\">Item</th>"
			"<th scope=\"col\">Group</th><th scope=\"col\">Model</th><th scope=\"col\">"
			"Outcome</th><th scope=\"col\" class=\"n\">Score</th><th scope=\"col\">Transcript"
			"</th></tr></thead><tbody>\n");
	for (unsigned i = 0; i < run->cell_count; i++) {
		const struct cell *cell = &run->cells[i];
		for (size_t k = 0; !cell->judging && cell->suite == suite && k < cell->count; k++) {
			if (report->rows++ < REPORT_ROWS_MAX)
				append_item(report, cell, k);
			else
				left_out++;
		}
	}
	buf_append_cstr(report->out, "</tbody></table></div>\n");
	if (left_out > 0)
		buf_printf(report->out, "<p class=\"soft\">%zu more samples stand in "
					"bundle/transcripts.jsonl and bundle/scores.jsonl.</p>\n",
			   left_out);
}

/* ---- all of it ---- */

static void append_all(struct report *report)
{
	const struct run *run = report->run;
	append_head(report);
	append_introduction(report);
	append_forest(report, false);
	append_forest(report, true);
	append_results(report);
	for (unsigned i = 0; i < run->suite_count; i++)
		if (run->suites[i].pairwise)
			append_pairs(report, i);
	for (unsigned i = 0; i < run->cell_count; i++)
		if (!run->cells[i].judging && !run->suites[run->cells[i].suite].pairwise)
			append_categories(report, &run->cells[i]);
	append_use(report);
	for (unsigned i = 0; i < run->suite_count; i++)
		append_suite_items(report, i);
	buf_append_cstr(report->out, "</main></body></html>\n");
}

enum err_code report_write(struct run *run, const struct run_score *scores, size_t count,
			   const struct results *results, const struct bench_outcome *outcome,
			   struct err *err)
{
	struct report report = {.run = run,
				.scores = scores,
				.score_count = count,
				.results = results,
				.outcome = outcome};
	const char *path = arena_printf(&run->arena, "%s/report.html", run->directory);
	if (!path)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory writing the report");
	output_open(&report.output, run->env, path);
	report.out = &report.output.buf;
	append_all(&report);
	return output_close(&report.output, err);
}
