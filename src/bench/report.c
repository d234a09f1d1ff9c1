#include "bench/report_internal.h"

#include "base/json.h"
#include "bench/page.h"
#include "bench/progress.h"
#include "bench/proxy.h"
#include "bench/text.h"

#include <stdio.h>
#include <time.h>

static void html(struct report *report, const char *text)
{
	text_append_html(report->out, bytes_from(text), 4096);
}

void report_line(struct report *report, const char *text, size_t limit)
{
	struct buf line = BUF_INIT(65536);
	text_append_line(&line, bytes_from(text), limit);
	text_append_html(report->out, buf_bytes(&line), line.size);
	buf_release(&line);
}

/* ---- head ---- */

static void append_time(struct report *report, int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm parts;
	char text[64] = "";
	if (gmtime_r(&seconds, &parts))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &parts);
	buf_append_cstr(report->out, text);
}

/* Models with one label in one line, by the first of them. */
static void append_label(struct report *report, unsigned first)
{
	const struct run *run = report->run;
	const char *label = run->models[first].simulated;
	bool said = !*label, several = false;
	for (unsigned i = 0; i < run->model_count; i++) {
		bool same = strcmp(run->models[i].simulated, label) == 0;
		said |= same && i < first;
		several |= same && i > first;
	}
	if (said)
		return;
	buf_printf(report->out, "<p class=\"note\" role=\"note\">%s: ",
		   several ? "Not real models" : "Not a real model");
	for (unsigned i = first; i < run->model_count; i++) {
		if (strcmp(run->models[i].simulated, label) != 0)
			continue;
		buf_append_cstr(report->out, i == first ? "<b>" : ", <b>");
		report_line(report, run->models[i].plan->name, 128);
		buf_append_cstr(report->out, "</b>");
	}
	buf_append_cstr(report->out, " (");
	report_line(report, label, 300);
	buf_append_cstr(report->out, ")</p>\n");
}

static void append_labels(struct report *report)
{
	const struct run *run = report->run;
	for (unsigned i = 0; i < run->model_count; i++)
		append_label(report, i);
	if (run->plan.self_judging)
		buf_append_cstr(report->out,
				"<p class=\"note\" role=\"note\">A model that was tested "
				"was allowed to judge its own answers.</p>\n");
}

/* By the gateway's register: which run it was, and what the provider had met before. */
static void append_register(struct report *report, const struct run_model *model)
{
	for (unsigned i = 0; i < report->run->suite_count; i++) {
		const struct gateway_run *run = &model->gateway_runs[i];
		if (run->place == 0)
			continue;
		buf_printf(report->out, " Run %lld of %lld of ", (long long)run->place,
			   (long long)run->of);
		report_line(report, report->run->suites[i].name, 128);
		buf_printf(report->out,
			   " on this model; of its items the provider met %lld for the "
			   "first time, %lld were re-exposed.",
			   (long long)run->first, (long long)run->re_exposed);
		if (run->registered_bytes > 0)
			buf_printf(
				report->out,
				" Of the words of the run %.1f %% were answers it had been given; "
				"the rest was registered.",
				100.0 * (double)run->free_bytes /
					(double)(run->free_bytes + run->registered_bytes));
	}
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
		report_line(report, model->plan->name, 128);
		buf_append_cstr(report->out, "</b>: ");
		if (model->gateway_state == GATEWAY_READY && *model->vkey) {
			voucher_receipts(model, &got, &lost);
			buf_append_cstr(report->out, "its answers are in the log of ");
			report_line(report, model->gateway_name, 256);
			if (lost > 0)
				buf_printf(report->out,
					   "; <span class=\"bad\">%zu receipts could not "
					   "be had</span>",
					   lost);
			buf_append_cstr(report->out, ".");
			append_register(report, model);
			buf_append_cstr(report->out, "</p>\n");
		} else {
			buf_append_cstr(report->out, "nothing vouches for its answers but this "
						     "report's author.</p>\n");
		}
	}
}

/* Where another harness asked: what became of its requests, line by line. */
static void append_proxy(struct report *report)
{
	struct buf text = BUF_INIT(65536);
	proxy_table(report->run, &text);
	struct bytes rest = buf_bytes(&text);
	while (rest.size > 0 && !text.failed) {
		char copy[1024];
		struct bytes line = bytes_split(rest, '\n', &rest);
		snprintf(copy, sizeof(copy), "%.*s", BYTES_ARG(bytes_trim(line)));
		buf_append_cstr(report->out, "<p class=\"soft\">");
		report_line(report, copy, sizeof(copy));
		buf_append_cstr(report->out, "</p>\n");
	}
	buf_release(&text);
}

static void append_parts(struct report *report)
{
	const struct plan *plan = &report->run->plan;
	for (unsigned i = 0; i < plan->suite_count; i++) {
		if (plan->suites[i].whole_items == 0)
			continue;
		buf_append_cstr(report->out, "<p class=\"note\" role=\"note\">Part of a suite: ");
		report_line(report, plan->suites[i].name, 128);
		buf_printf(report->out, ", %zu of its %zu items, tagged ",
			   report->run->suites[i].items, plan->suites[i].whole_items);
		for (unsigned k = 0; k < plan->tag_count; k++) {
			buf_append_cstr(report->out, k ? ", " : "");
			report_line(report, plan->tags[k], 64);
		}
		buf_append_cstr(report->out, "</p>\n");
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
	buf_printf(report->out,
		   " · %zu samples, %zu answered, %zu failed, %zu without an outcome · ",
		   outcome->samples, outcome->answered, outcome->failed, outcome->missing);
	report_line(report, outcome->ending, 500);
	buf_append_cstr(report->out, "</p>\n");
	append_parts(report);
	append_proxy(report);
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_ending *ending = &run->models[i].ending;
		if (!ending->ended)
			continue;
		buf_append_cstr(report->out, "<p class=\"bad\">Ended at ");
		append_time(report, ending->time_ms);
		buf_append_cstr(report->out, ": ");
		report_line(report, ending->reason, 500);
		buf_append_cstr(report->out, "</p>\n");
	}
	append_vouching(report);
	buf_append_cstr(report->out,
			"<p class=\"soft\">Check it: <code>parley verify bundle</code>, in "
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
	report_line(report, result->suite, 128);
	buf_append_cstr(report->out, "</td><th scope=\"row\">");
	report_line(report, result->model, 128);
	buf_append_cstr(report->out, "</th><td>");
	html(report, result->metric);
	buf_printf(
		report->out,
		"</td><td class=\"n\">%s</td><td class=\"n\">%s to %s</td><td class=\"n\">%zu</td>"
		"<td class=\"n%s\">%zu</td>",
		value, low, high, result->n, result->failed ? " bad" : "", result->failed);
	if (result->failed > 0 && result_counts_failed(result)) {
		char passed[24];
		progress_value(result, result_if_failed_had_passed(result), passed);
		buf_printf(report->out, "<td class=\"n\">%s to %s</td></tr>\n", value, passed);
	} else {
		buf_append_cstr(report->out, "<td class=\"n\"></td></tr>\n");
	}
}

static void append_results(struct report *report)
{
	buf_append_cstr(
		report->out,
		"<h2>Results</h2>\n<div class=\"wide\" role=\"region\" tabindex=\"0\" "
		"aria-label=\"Results\"><table><caption>Values with 95 % intervals. "
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

/* ---- providers ---- */

static void append_sentences(struct report *report, const json_t *words, const char *key,
			     const char *title)
{
	const json_t *sentence;
	size_t i;
	if (json_array_size(json_object_get(words, key)) == 0)
		return;
	buf_printf(report->out, "<h3>%s</h3>\n<ul>\n", title);
	json_array_foreach(json_object_get(words, key), i, sentence)
	{
		buf_append_cstr(report->out, "<li>");
		report_line(report, json_string_value(sentence), 1000);
		buf_append_cstr(report->out, "</li>\n");
	}
	buf_append_cstr(report->out, "</ul>\n");
}

static void append_conduct(struct report *report)
{
	const json_t *words = json_object_get(report->outcome->summary, "conduct_words");
	if (!words)
		return;
	buf_append_cstr(report->out, "<h2>How the providers behaved</h2>\n<p class=\"soft\">As far "
				     "as a client can see.</p>\n");
	append_sentences(report, words, "done", "What was done");
	append_sentences(report, words, "found", "What was found");
	append_sentences(report, words, "not_shown", "What this cannot show");
}

/* ---- use ---- */

static void append_use(struct report *report)
{
	const struct run *run = report->run;
	buf_append_cstr(
		report->out,
		"<h2>Tokens and cost</h2>\n<div class=\"wide\" role=\"region\" tabindex=\"0\" "
		"aria-label=\"Tokens and cost\"><table><caption>Of all attempts, failed ones "
		"too.</caption><thead><tr>"
		"<th scope=\"col\">Model</th><th scope=\"col\">Named by the provider</th>"
		"<th scope=\"col\" class=\"n\">Input tokens</th><th scope=\"col\" class=\"n\">"
		"Output tokens</th><th scope=\"col\" class=\"n\">Cost</th></tr></thead><tbody>\n");
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_model *model = &run->models[i];
		if (model->plan->roles & PLAN_CONTROL)
			continue;
		buf_append_cstr(report->out, "<tr><th scope=\"row\">");
		report_line(report, model->plan->name, 128);
		buf_append_cstr(report->out, "</th><td>");
		report_line(report, model->served, 128);
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
	if (cell->judging || run->suites[cell->suite].judged)
		return "answered";
	if (task->failed_score)
		return "not graded";
	return task->refused == REFUSED_YES ? "refused" : "answered";
}

/* The line of a transcript or score at `offset`; a new reference, NULL if there is none. */
static json_t *read_line(struct run *run, uint64_t offset)
{
	static const char *const events[] = {"answer", "failure", "score"};
	struct bytes line;
	json_t *tree = NULL;
	if (journal_read(&run->journal, offset, &run->scratch, NULL) != ERR_OK)
		return NULL;
	for (unsigned i = 0; i < 3; i++)
		if (lines_embedded(buf_bytes(&run->scratch), events[i], &line)) {
			json_parse(line, "a line of the journal", &tree, NULL);
			return tree;
		}
	return NULL;
}

static void append_part(struct report *report, const char *label, const char *text)
{
	if (!text)
		return;
	buf_printf(report->out, "<div class=\"soft\">%s</div><pre>", label);
	text_append_html(report->out, bytes_from(text), REPORT_EXCERPT_MAX);
	buf_append_cstr(report->out, "</pre>");
}

static void append_question(struct report *report, const struct cell *cell, size_t item_index)
{
	struct suite_item item;
	const json_t *message, *part;
	size_t i, k;
	if (suite_item_render(report->run->suites[cell->suite].suite, item_index, &item, NULL) !=
	    ERR_OK)
		return;
	json_array_foreach(json_object_get(item.words, "messages"), i, message)
	{
		json_array_foreach(json_object_get(message, "parts"), k, part)
		{
			append_part(report, "asked",
				    json_string_value(json_object_get(part, "text")));
		}
	}
	suite_item_release(&item);
}

/* Of an answer that judges rate: who gave it what, and the judge's own words. */
static void append_ratings(struct report *report, const struct cell *cell, size_t index)
{
	const struct cell *judging;
	unsigned from = 0;
	char label[256], name[200];
	while (report_rating_next(report, cell, index, &from, &judging)) {
		const struct task *task = &judging->tasks[index];
		json_t *reply =
			task->state == TASK_ANSWERED ? read_line(report->run, task->offset) : NULL;
		json_t *score = read_line(report->run, task->score_offset);
		struct buf escaped = BUF_INIT(2048);
		text_line(name, sizeof(name),
			  bytes_from(report->run->models[judging->judge].plan->name));
		text_append_html(&escaped, bytes_from(name), 1024);
		snprintf(label, sizeof(label), "rated by %.200s",
			 escaped.data && !escaped.failed ? escaped.data : "a judge");
		append_part(report, label,
			    json_string_value(json_object_get(score, "explanation")));
		append_part(report, "its reply",
			    json_string_value(json_object_get(reply, "answer")));
		buf_release(&escaped);
		json_decref(reply);
		json_decref(score);
	}
}

/* What was asked, what came back and how it was scored. */
static void append_excerpt(struct report *report, const struct cell *cell, size_t index)
{
	struct run *run = report->run;
	const struct task *task = &cell->tasks[index];
	if (task->state != TASK_ANSWERED && task->state != TASK_FAILED)
		return;
	json_t *attempt = read_line(run, task->offset);
	json_t *score = task->scored ? read_line(run, task->score_offset) : NULL;
	buf_append_cstr(report->out, "<details><summary>show<span class=\"only-said\"> item ");
	report_line(report, suite_id(run->suites[cell->suite].suite, cell_item(run, cell, index)),
		    100);
	buf_append_cstr(report->out, "</span></summary>");
	append_question(report, cell, cell_item(run, cell, index));
	append_part(report, "answered", json_string_value(json_object_get(attempt, "answer")));
	append_part(report, "failed", json_string_value(json_object_get(attempt, "error")));
	if (task->state == TASK_ANSWERED)
		append_part(report, "scored",
			    json_string_value(json_object_get(score, "explanation")));
	append_ratings(report, cell, index);
	buf_append_cstr(report->out, "</details>");
	json_decref(attempt);
	json_decref(score);
}

static void append_item(struct report *report, const struct cell *cell, size_t index)
{
	struct run *run = report->run;
	const struct run_suite *suite = &run->suites[cell->suite];
	const struct task *task = &cell->tasks[index];
	const struct run_item *item = cells_item(run, cell->suite, cell_item(run, cell, index));
	buf_append_cstr(report->out, "<tr><th scope=\"row\">");
	report_line(report, suite_id(suite->suite, cell_item(run, cell, index)), 100);
	if (suite->samples > 1)
		buf_printf(report->out, " #%u", cell_sample(run, cell, index) + 1);
	buf_append_cstr(report->out, "</th><td>");
	report_line(report,
		    item->category  ? item->category
		    : item->cluster ? item->cluster
				    : "",
		    60);
	buf_append_cstr(report->out, "</td><td>");
	report_line(report, run->models[cell->model].plan->name, 100);
	buf_printf(report->out, "</td><td>%s</td><td class=\"n\">", state_text(run, cell, index));
	double score = task->score;
	if (task->scored || report_rating_mean(report, cell, index, &score))
		buf_printf(report->out, "%.3g", score);
	buf_append_cstr(report->out, "</td><td>");
	append_excerpt(report, cell, index);
	buf_append_cstr(report->out, "</td></tr>\n");
	output_step(&report->output);
}

static void append_suite_items(struct report *report, unsigned suite)
{
	const struct run *run = report->run;
	size_t left_out = 0;
	char name[160];
	buf_append_cstr(report->out, "<h2>Items of ");
	report_line(report, run->suites[suite].name, 128);
	snprintf(name, sizeof(name), "Items of %.128s", run->suites[suite].name);
	buf_append_cstr(report->out, "</h2>\n<div class=\"filter\" hidden></div>\n");
	report_wide_begin(report, name);
	buf_append_cstr(
		report->out,
		"<table class=\"items\"><caption>Each sample, with what was asked, answered and "
		"found behind \"show\".</caption><thead><tr><th scope=\"col\">Item</th>"
		"<th scope=\"col\">Group</th><th scope=\"col\">Model</th><th scope=\"col\">"
		"Outcome</th><th scope=\"col\" class=\"n\">Score</th><th scope=\"col\">Transcript"
		"</th></tr></thead><tbody>\n");
	for (unsigned i = 0; i < run->cell_count; i++) {
		const struct cell *cell = &run->cells[i];
		bool shown = !cell->judging && cell->suite == suite &&
			     !(run->plan.models[cell->model].roles & PLAN_CONTROL);
		for (size_t k = 0; shown && k < cell->count; k++) {
			if (report->rows++ < REPORT_ROWS_MAX)
				append_item(report, cell, k);
			else
				left_out++;
		}
	}
	buf_append_cstr(report->out, "</tbody></table></div>\n");
	if (left_out > 0)
		buf_printf(report->out,
			   "<p class=\"soft\">%zu more samples stand in "
			   "bundle/transcripts.jsonl and bundle/scores.jsonl.</p>\n",
			   left_out);
}

/* ---- all of it ---- */

static void append_all(struct report *report)
{
	const struct run *run = report->run;
	page_begin_scripted(report->out, "Evaluation report", page_style, report_filter_script);
	append_introduction(report);
	for (unsigned i = 0; i < run->suite_count; i++)
		report_scores(report, i);
	append_results(report);
	report_findings(report);
	for (unsigned i = 0; i < run->suite_count; i++)
		if (run->suites[i].pairwise)
			report_pairs(report, i);
	for (unsigned i = 0; i < run->cell_count; i++)
		if (!run->cells[i].judging && !run->suites[run->cells[i].suite].judged)
			report_categories(report, &run->cells[i]);
	for (unsigned i = 0; i < run->suite_count; i++)
		for (unsigned k = 0; run->suites[i].scorer->rated && k < run->model_count; k++)
			report_hazards(report, i, k);
	for (unsigned i = 0; i < run->suite_count; i++)
		report_cost(report, i);
	for (unsigned i = 0; i < run->suite_count; i++)
		report_distributions(report, i);
	append_use(report);
	append_conduct(report);
	report_errors(report);
	for (unsigned i = 0; i < run->suite_count; i++)
		append_suite_items(report, i);
	page_script(report->out, report_filter_script);
	page_end(report->out);
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
