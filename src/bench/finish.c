/* What a run leaves behind: transcripts and scores cut out of the journal, the results computed
 * from the scores, the summary, the sealed bundle, the report, the table. All of it can be written
 * again at any time from plan and journal. */
#include "bench/run.h"

#include "base/encode.h"
#include "base/json.h"
#include "bench/comparison_table.h"
#include "bench/judging_table.h"
#include "bench/output.h"
#include "bench/progress.h"
#include "bench/proxy.h"
#include "bench/report.h"
#include "bench/text.h"
#include "env/key_file.h"
#include "grade/aggregate.h"
#include "grade/bundle.h"
#include "grade/findings.h"
#include "ledger/trust_policy.h"

#include <stdio.h>
#include <stdlib.h>

#define SUMMARY_FORMAT "parley-summary-1"
#define TABLE_MAX ((size_t)1 << 20)
#define PAIRS_SHOWN 12

/* ---- scores ---- */

static bool makes_scores(const struct run *run, const struct cell *cell)
{
	return cell->judging || !run->suites[cell->suite].judged;
}

/* Decoys stand behind all others and in no result: *decoys of them. */
static struct run_score *collect_scores(struct run *run, size_t *count, size_t *decoys)
{
	size_t total = 0;
	for (unsigned i = 0; i < run->cell_count; i++)
		if (makes_scores(run, &run->cells[i]))
			total += run->cells[i].count / cell_orders(&run->cells[i]);
	struct run_score *scores = calloc(total ? total : 1, sizeof(*scores));
	*count = *decoys = 0;
	for (unsigned i = 0; scores && i < run->cell_count; i++) {
		struct cell *cell = &run->cells[i];
		for (size_t k = 0; makes_scores(run, cell) && k < cell->count;
		     k += cell_orders(cell))
			scoring_record(run, cell, k, &scores[(*count + (*decoys)++)]);
		if (!run->plan.suites[cell->suite].decoys) {
			*count += *decoys;
			*decoys = 0;
		}
	}
	return scores;
}

/* ---- lines from the journal ---- */

static enum err_code cut_attempt(void *argument, uint64_t offset, struct bytes text,
				 struct err *err)
{
	struct output *output = argument;
	struct bytes line;
	(void)offset;
	(void)err;
	if (!lines_embedded(text, "answer", &line) && !lines_embedded(text, "failure", &line))
		return ERR_OK;
	buf_append_bytes(&output->buf, line);
	buf_append_char(&output->buf, '\n');
	output_step(output);
	return ERR_OK;
}

/* A sample without an outcome stands in the scores as failed, so that nobody can leave it out. */
static enum err_code add_missing(struct run *run, struct cell *cell, size_t index,
				 struct output *scores, struct err *err)
{
	struct run_score record;
	scoring_record(run, cell, index, &record);
	record.explanation = "no outcome: the run ended before it";
	return run_line_append(&scores->buf, run_score_encode(&record), err);
}

static enum err_code add_score(struct run *run, struct cell *cell, size_t index,
			       struct output *scores, struct err *err)
{
	struct bytes line;
	if (!cell->tasks[index].scored)
		return add_missing(run, cell, index, scores, err);
	ERR_TRY(journal_read(&run->journal, cell->tasks[index].score_offset, &run->scratch, err));
	if (!lines_embedded(buf_bytes(&run->scratch), "score", &line))
		return ERR_SET(err, ERR_CORRUPT, "%s: no score at offset %llu", run->journal.path,
			       (unsigned long long)cell->tasks[index].score_offset);
	buf_append_bytes(&scores->buf, line);
	buf_append_char(&scores->buf, '\n');
	return ERR_OK;
}

/* In the order of the cells: whoever aggregates the file finds suites and models in the order in
 * which they were aggregated here. */
static enum err_code add_scores(struct run *run, struct output *scores, struct err *err)
{
	for (unsigned i = 0; i < run->cell_count; i++) {
		struct cell *cell = &run->cells[i];
		for (size_t k = 0; makes_scores(run, cell) && k < cell->count;
		     k += cell_orders(cell)) {
			ERR_TRY(add_score(run, cell, k, scores, err));
			output_step(scores);
		}
	}
	return ERR_OK;
}

static const char *in_bundle(struct run *run, const char *name)
{
	return arena_printf(&run->arena, "%s/bundle/%s", run->directory, name);
}

static enum err_code write_lines(struct run *run, struct err *err)
{
	struct output output;
	struct err closing = ERR_INIT;
	output_open(&output, run->env, in_bundle(run, BUNDLE_TRANSCRIPTS));
	enum err_code code = journal_scan(&run->journal, cut_attempt, &output, err);
	if (output_close(&output, &closing) != ERR_OK && code == ERR_OK) {
		*err = closing;
		code = closing.code;
	}
	ERR_TRY(code);
	output_open(&output, run->env, in_bundle(run, BUNDLE_SCORES));
	code = add_scores(run, &output, err);
	if (output_close(&output, &closing) != ERR_OK && code == ERR_OK) {
		*err = closing;
		code = closing.code;
	}
	return code;
}

/* ---- how it ended ---- */

static void count_outcome(const struct run *run, struct bench_outcome *outcome)
{
	for (unsigned i = 0; i < run->cell_count; i++) {
		const struct cell *cell = &run->cells[i];
		bool counts =
			!cell->judging && !(run->plan.models[cell->model].roles & PLAN_CONTROL);
		for (size_t k = 0; k < cell->count && counts; k++) {
			enum task_state state = (enum task_state)cell->tasks[k].state;
			outcome->samples++;
			/* An answer that its scorer could not score is a failure as well. */
			bool failed = state == TASK_FAILED ||
				      (state == TASK_ANSWERED && cell->tasks[k].failed_score);
			outcome->answered += state == TASK_ANSWERED && !failed;
			outcome->failed += failed;
			outcome->missing += state < TASK_ANSWERED;
		}
	}
	outcome->complete = cells_complete(run);
}

static const struct run_model *first_ended(const struct run *run)
{
	const struct run_model *found = NULL;
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_model *model = &run->models[i];
		if (model->ending.ended &&
		    (!found || model->ending.time_ms < found->ending.time_ms))
			found = model;
	}
	return found;
}

static void describe_ending(const struct run *run, struct bench_outcome *outcome)
{
	const struct run_model *ended = first_ended(run);
	if (outcome->complete)
		snprintf(outcome->ending, sizeof(outcome->ending), "complete");
	else if (run->interrupted)
		snprintf(outcome->ending, sizeof(outcome->ending), "ended by the evaluator");
	else if (run->over_budget)
		snprintf(outcome->ending, sizeof(outcome->ending),
			 "ended by the plan's budget: %llu tokens are used%s, and the next request "
			 "might pass it",
			 (unsigned long long)run->tokens,
			 run->charged_tokens > 0
				 ? " (attempts whose cost nobody told at their most)"
				 : "");
	else if (ended)
		snprintf(outcome->ending, sizeof(outcome->ending), "ended by %s of %s: %.300s",
			 ended->ending.by_gateway ? "the gateway" : "the provider",
			 ended->plan->name, ended->ending.reason);
	else if (run->proxy && outcome->missing > 0)
		snprintf(outcome->ending, sizeof(outcome->ending),
			 "the command ended before every sample was asked for");
	else
		snprintf(outcome->ending, sizeof(outcome->ending), "not everything was judged");
}

/* ---- the summary ---- */

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text && *text)
		json_object_set_new(object, key, json_string(text));
}

static json_t *encode_ending(const struct run_model *model)
{
	const struct run_ending *ending = &model->ending;
	json_t *object = json_object();
	json_object_set_new(object, "time_ms", json_integer(ending->time_ms));
	set_text(object, "by", ending->by_gateway ? "gateway" : "provider");
	set_text(object, "reason", ending->reason);
	set_text(object, "rule", ending->rule);
	set_text(object, "clause", ending->clause);
	set_text(object, "appeal", ending->appeal);
	return object;
}

static json_t *encode_gateway(const struct run *run, const struct run_model *model)
{
	size_t got, lost;
	json_t *object = json_object(), *runs = json_array();
	for (unsigned i = 0; i < run->suite_count; i++) {
		const struct gateway_run *registered = &model->gateway_runs[i];
		json_t *entry = registered->open ? json_object() : NULL;
		if (!entry)
			continue;
		set_text(entry, "suite", run->suites[i].name);
		set_text(entry, "id", registered->suite);
		set_text(entry, "run", registered->run);
		set_text(entry, "record", registered->record);
		set_text(entry, "suite_record", registered->suite_record);
		if (registered->place > 0)
			json_object_set_new(entry, "register",
					    json_pack("{s:I, s:I, s:I, s:I}", "run",
						      (json_int_t)registered->place, "of",
						      (json_int_t)registered->of, "first",
						      (json_int_t)registered->first, "re_exposed",
						      (json_int_t)registered->re_exposed));
		if (registered->registered_bytes > 0)
			json_object_set_new(
				entry, "words",
				json_pack("{s:I, s:I}", "free", (json_int_t)registered->free_bytes,
					  "registered", (json_int_t)registered->registered_bytes));
		json_array_append_new(runs, entry);
	}
	voucher_receipts(model, &got, &lost);
	set_text(object, "name", model->gateway_name);
	set_text(object, "vkey", model->vkey);
	if (model->sealed)
		json_object_set_new(object, "sealed", json_true());
	json_object_set_new(object, "runs", runs);
	json_object_set_new(object, "receipts_missing", json_integer((json_int_t)lost));
	return object;
}

static json_t *encode_model(const struct run *run, const struct run_model *model)
{
	json_t *object = json_object();
	set_text(object, "name", model->plan->name);
	set_text(object, "served", model->served);
	set_text(object, "simulated", model->simulated);
	json_object_set_new(object, "input_tokens", json_integer(model->tokens_input));
	json_object_set_new(object, "output_tokens", json_integer(model->tokens_output));
	if (model->usd > 0)
		json_object_set_new(object, "usd", json_real(model->usd));
	if (model->gateway_state == GATEWAY_READY)
		json_object_set_new(object, "gateway", encode_gateway(run, model));
	if (model->ending.ended)
		json_object_set_new(object, "ended", encode_ending(model));
	return object;
}

/* What the results would be had everything that failed or is missing passed; they count it as not.
 */
static json_t *encode_bounds(const struct results *results)
{
	json_t *bounds = json_array();
	for (size_t i = 0; i < results->count; i++) {
		const struct result *result = &results->items[i];
		if (result->failed == 0 || !result_counts_failed(result))
			continue;
		json_array_append_new(bounds,
				      json_pack("{s:s, s:s, s:s, s:f, s:f}", "suite", result->suite,
						"model", result->model, "metric", result->metric,
						"if_failed", result->value, "if_passed",
						result_if_failed_had_passed(result)));
	}
	return bounds;
}

static const char *vouching(const struct run *run)
{
	bool vouched = true, any = false;
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_model *model = &run->models[i];
		if (!(model->plan->roles & (PLAN_CONTESTANT | PLAN_BASELINE)))
			continue;
		vouched &= model->gateway_state == GATEWAY_READY && *model->vkey;
		any |= model->gateway_state == GATEWAY_READY && *model->vkey;
	}
	return vouched ? "gateways" : any ? "gateways, in part" : "nobody";
}

static json_t *encode_summary(const struct run *run, const struct results *results,
			      const struct bench_outcome *outcome)
{
	char digest[2 * SHA256_SIZE + 1];
	json_t *models = json_array();
	for (unsigned i = 0; i < run->model_count; i++)
		json_array_append_new(models, encode_model(run, &run->models[i]));
	hex_encode(run->plan_digest, SHA256_SIZE, digest);
	return json_pack(
		"{s:s, s:o, s:o, s:o, s:s, s:b, s:s, s:s, s:{s:I, s:I, s:I, s:I}, s:I, s:I, "
		"s:b, s:o*}",
		"format", SUMMARY_FORMAT, "results", results_encode(results), "bounds",
		encode_bounds(results), "models", models, "plan", digest, "complete",
		(int)outcome->complete, "ending", outcome->ending, "vouched_by", vouching(run),
		"samples", "total", (json_int_t)outcome->samples, "answered",
		(json_int_t)outcome->answered, "failed", (json_int_t)outcome->failed, "missing",
		(json_int_t)outcome->missing, "started_ms", (json_int_t)run->started_ms, "ended_ms",
		(json_int_t)run->ended_ms, "self_judging", (int)run->plan.self_judging, "proxy",
		proxy_encode(run));
}

static enum err_code write_summary(struct run *run, const json_t *summary, struct err *err)
{
	struct buf text = BUF_INIT((size_t)64 << 20);
	enum err_code code = json_canonical(summary, &text, err);
	buf_append_char(&text, '\n');
	const char *path = arena_printf(&run->arena, "%s/summary.json", run->directory);
	if (code == ERR_OK && text.failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory writing the summary");
	if (code == ERR_OK)
		code = env_write_file(run->env, path, buf_bytes(&text), 0644, err);
	if (code == ERR_OK)
		code = env_write_file(run->env, in_bundle(run, BUNDLE_SUMMARY), buf_bytes(&text),
				      0644, err);
	buf_release(&text);
	return code;
}

/* ---- the bundle ---- */

/* What the one gateway asked tells of itself; NULL where there are several, or none tells. */
static const char *only_policy(const struct run *run)
{
	const char *only = NULL;
	for (unsigned i = 0; i < run->model_count; i++) {
		const char *policy = run->models[i].policy;
		if (!*run->models[i].vkey)
			continue;
		if (!policy || (only && strcmp(only, policy) != 0))
			return NULL;
		only = policy;
	}
	return only;
}

/* The logs' keys, each once, and no witnesses: of several gateways each has its own. */
static void list_keys(const struct run *run, struct buf *out)
{
	size_t start = out->size;
	for (unsigned i = 0; i < run->model_count; i++) {
		bool known = !*run->models[i].vkey;
		for (unsigned k = 0; k < i; k++)
			known |= strcmp(run->models[k].vkey, run->models[i].vkey) == 0;
		if (!known)
			buf_printf(out, "log %s\n", run->models[i].vkey);
	}
	if (out->size > start)
		buf_append_cstr(out, "quorum none\n");
}

/* Whom to trust for the logs, by their own word (C2SP tlog-policy). */
static enum err_code write_policy(struct run *run, struct err *err)
{
	struct buf text = BUF_INIT(TRUST_TEXT_MAX);
	const char *only = only_policy(run);
	if (only)
		buf_append_cstr(&text, only);
	else
		list_keys(run, &text);
	enum err_code code = ERR_OK;
	if (text.failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for the policy");
	else if (text.size > 0)
		code = env_write_file(run->env, in_bundle(run, BUNDLE_POLICY), buf_bytes(&text),
				      0644, err);
	buf_release(&text);
	return code;
}

/* The keys that signed verdicts, each once. */
static enum err_code write_verdict_keys(struct run *run, struct err *err)
{
	struct buf text = BUF_INIT(PLAN_MODELS_MAX * sizeof(run->models[0].verdict_note));
	for (unsigned i = 0; i < run->model_count; i++) {
		bool known = !*run->models[i].verdict_note;
		for (unsigned k = 0; k < i; k++)
			known |= strcmp(run->models[k].verdict_note, run->models[i].verdict_note) ==
				 0;
		if (!known)
			buf_append_cstr(&text, run->models[i].verdict_note);
	}
	enum err_code code = ERR_OK;
	if (text.size > 0)
		code = env_write_file(run->env, in_bundle(run, BUNDLE_VERDICT_KEYS),
				      buf_bytes(&text), 0644, err);
	buf_release(&text);
	return code;
}

/* *alike: how many other grants of this name there were before. */
static bool is_known_grant(const struct run *run, unsigned number, unsigned *alike)
{
	const struct run_model *model = &run->models[number];
	for (unsigned i = 0; i < number; i++) {
		const struct run_model *other = &run->models[i];
		if (!other->grant_id || !other->grant ||
		    strcmp(other->grant_id, model->grant_id) != 0)
			continue;
		if (strcmp(other->grant, model->grant) == 0)
			return true;
		++*alike;
	}
	return false;
}

/* The grants of the gateways that were asked, each once. */
static enum err_code write_grants(struct run *run, struct err *err)
{
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_model *model = &run->models[i];
		if (!model->grant_id || !model->grant)
			continue;
		ERR_TRY(env_make_directories(run->env, in_bundle(run, BUNDLE_GRANTS), err));
		unsigned alike = 0;
		if (is_known_grant(run, i, &alike))
			continue;
		/* Two gateways may call their grants alike. */
		const char *name = alike ? arena_printf(&run->arena, BUNDLE_GRANTS "/%s~%u.json",
							model->grant_id, alike + 1)
					 : arena_printf(&run->arena, BUNDLE_GRANTS "/%s.json",
							model->grant_id);
		if (!name)
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the grants");
		ERR_TRY(env_write_file(run->env, in_bundle(run, name), bytes_from(model->grant),
				       0644, err));
	}
	return ERR_OK;
}

static enum err_code seal(struct run *run, const struct bench_outcome *outcome, struct err *err)
{
	struct ed25519_private *key = NULL;
	bool passed = outcome->complete && outcome->failed == 0;
	struct bundle_statement statement = {
		.result = passed              ? "PASSED"
			  : outcome->complete ? "WARNED"
					      : "FAILED",
		.summary = outcome->summary,
	};
	const char *directory = arena_printf(&run->arena, "%s/bundle", run->directory);
	if (run->options->key)
		ERR_TRY(key_file_read(run->env, run->options->key, &key, err));
	enum err_code code = bundle_seal(run->env, directory, &statement, key, err);
	ed25519_free(key);
	return code;
}

/* ---- all of it ---- */

static void print_table(struct run *run, const struct results *results,
			const struct bench_outcome *outcome)
{
	const struct bench_screen *screen = &run->options->screen;
	struct buf table = BUF_INIT(TABLE_MAX);
	if (!screen->write)
		return;
	progress_table(run, results, &table);
	comparison_table(json_object_get(outcome->summary, "comparisons"),
			 json_object_get(outcome->summary, "ranks"), PAIRS_SHOWN, &table);
	judging_table(json_object_get(outcome->summary, "judging"), &table);
	anchors_table(json_object_get(outcome->summary, "anchors"), &table);
	conduct_table(outcome->summary, true, &table);
	hazards_table(json_object_get(outcome->summary, "hazards"), &table);
	proxy_table(run, &table);
	if (!outcome->complete) {
		text_append_line(&table, bytes_from(outcome->ending), 1000);
		buf_append_char(&table, '\n');
	}
	for (unsigned i = 0; i < run->suite_count; i++)
		if (run->plan.suites[i].whole_items > 0) {
			text_append_line(&table, bytes_from(run->suites[i].name), 100);
			buf_printf(&table, ": a part, %zu of its %zu items, chosen by tags\n",
				   run->suites[i].items, run->plan.suites[i].whole_items);
		}
	buf_append_cstr(&table, "Report: ");
	text_append_line(&table, bytes_from(run->directory), 4000);
	buf_append_cstr(&table, "/report.html\n");
	if (!table.failed)
		screen->write(screen->argument, buf_bytes(&table));
	buf_release(&table);
}

static const char *baseline_name(const struct run *run)
{
	for (unsigned i = 0; i < run->model_count; i++)
		if (run->plan.models[i].roles & PLAN_BASELINE)
			return run->plan.models[i].name;
	return NULL;
}

static enum err_code add_anchors(const struct run *run, const struct run_score *scores,
				 size_t count, json_t *summary, struct err *err)
{
	json_t *made;
	if (run->anchors.count == 0)
		return ERR_OK;
	ERR_TRY(anchors_encode(&run->anchors, scores, count, *run->plan.anchors_digest, &made,
			       err));
	return json_set(summary, "anchors", made) ? ERR_OK
						  : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
}

/* Comparisons and ranks, and what else the scores tell beside the results. */
static enum err_code add_findings(const struct run *run, const struct run_score *scores,
				  size_t count, json_t *summary, struct err *err)
{
	json_t *found;
	ERR_TRY(findings_make(scores, count, &found, err));
	for (unsigned i = 0; i < run->suite_count; i++)
		if (run->suites[i].pairwise && suite_is_judged(run->suites[i].suite))
			findings_own_prompt(found, run->suites[i].name, run->plan.suites[i].root);
	int status = json_object_update(summary, found);
	json_decref(found);
	return status == 0 ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
}

/* How the providers behaved, in figures and in words. */
static enum err_code add_conduct(const struct run *run, const struct run_score *scores,
				 size_t count, json_t *summary, struct err *err)
{
	json_t *made;
	ERR_TRY(conduct_make(&run->conduct, scores, count, &made, err));
	if (!made)
		return ERR_OK;
	bool kept = json_set(summary, "conduct_words", conduct_words(made));
	return json_set(summary, "conduct", made) && kept
		       ? ERR_OK
		       : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
}

static enum err_code write_all(struct run *run, const struct run_score *scores, size_t count,
			       size_t decoys, const struct results *results,
			       struct bench_outcome *outcome, struct err *err)
{
	outcome->summary = encode_summary(run, results, outcome);
	if (!outcome->summary)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory writing the summary");
	ERR_TRY(add_findings(run, scores, count, outcome->summary, err));
	ERR_TRY(add_anchors(run, scores, count, outcome->summary, err));
	ERR_TRY(add_conduct(run, scores, count + decoys, outcome->summary, err));
	ERR_TRY(write_lines(run, err));
	ERR_TRY(write_policy(run, err));
	ERR_TRY(write_verdict_keys(run, err));
	ERR_TRY(write_grants(run, err));
	ERR_TRY(write_summary(run, outcome->summary, err));
	ERR_TRY(seal(run, outcome, err));
	ERR_TRY(report_write(run, scores, count, results, outcome, err));
	print_table(run, results, outcome);
	return ERR_OK;
}

enum err_code finish_write(struct run *run, struct bench_outcome *outcome, struct err *err)
{
	size_t count, decoys;
	struct results results = {0};
	struct aggregate_options options = {.reference = baseline_name(run)};
	struct run_score *scores = collect_scores(run, &count, &decoys);
	if (!scores)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory writing the results");
	count_outcome(run, outcome);
	describe_ending(run, outcome);
	enum err_code code = aggregate(scores, count, &options, &results, err);
	if (code == ERR_OK)
		code = write_all(run, scores, count, decoys, &results, outcome, err);
	results_release(&results);
	free(scores);
	return code;
}
