/* Results of lm-eval: results_DATE.json and samples_SUITE_DATE.jsonl, with its hashes (SHA-256 of
 * the document as Python's json.dumps(indent=2, ensure_ascii=False) writes it, of the prompt and of
 * the target; the task's over all of them). */
#include "bench/export_internal.h"

#include "base/encode.h"
#include "base/json.h"
#include "base/sha256.h"
#include "bench/output.h"
#include "suite/words.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX ((size_t)64 << 20)

struct task {
	struct export *export;
	const char *suite;
	struct output samples;
	struct sha256 hash;
	struct export_values values;
	json_t *results; /* the whole of results_DATE.json; borrowed */
};

/* "2026-11-26T22-30-00.123". */
static void date_of(const struct export *export, char out[static 40])
{
	export_time(export->ended_ms, out);
	out[23] = '\0';
	for (char *at = out; *at; at++)
		if (*at == ':')
			*at = '-';
}

static json_t *hash_of(struct task *task, const char *text)
{
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	sha256_of(text, strlen(text), digest);
	hex_encode(digest, sizeof(digest), hex);
	sha256_add(&task->hash, hex, strlen(hex));
	return json_string(hex);
}

static json_t *encode_row(struct task *task, const struct export_row *row,
			  const struct suite_item *item, const char *prompt)
{
	const json_t *target = json_object_get(item->scorer, "target");
	char *written = target && !json_is_string(target)
				? json_dumps(target, JSON_ENCODE_ANY | JSON_COMPACT)
				: NULL;
	const char *expected = written ? written : target ? json_string_value(target) : "";
	const char *answer = row->attempt.answer ? row->attempt.answer : "";
	char *document = json_dumps(item->fields, JSON_INDENT(2));
	json_t *object = json_object();
	bool set = document && json_set(object, "doc_id", json_integer((json_int_t)row->index)) &&
		   json_set(object, "doc", json_incref(item->fields)) &&
		   json_set(object, "target", json_string(expected)) &&
		   json_set(object, "arguments",
			    json_pack("{s:{s:s, s:o}}", "gen_args_0", "arg_0", prompt, "arg_1",
				      json_incref((json_t *)suite_settings(row->suite)))) &&
		   json_set(object, "resps", json_pack("[[s]]", answer)) &&
		   json_set(object, "filtered_resps", json_pack("[s]", answer)) &&
		   json_set(object, "filter", json_string("none")) &&
		   json_set(object, "metrics", json_pack("[s]", "acc")) &&
		   json_set(object, "doc_hash", hash_of(task, document)) &&
		   json_set(object, "prompt_hash", hash_of(task, prompt)) &&
		   json_set(object, "target_hash", hash_of(task, expected)) &&
		   json_set(object, "acc", json_real(row->score.score)) &&
		   json_set_text(object, "parley_cluster", row->score.cluster) &&
		   json_set_text(object, "parley_failure", export_failure(row));
	free(document);
	free(written);
	if (set)
		return object;
	json_decref(object);
	return NULL;
}

static enum err_code write_row(void *argument, const struct export_row *row, struct err *err)
{
	struct task *task = argument;
	struct suite_item item;
	struct buf prompt = BUF_INIT(TEXT_MAX);
	ERR_TRY(suite_item_render(row->suite, row->index, &item, err));
	words_question(item.words, &prompt);
	enum err_code code = export_values_add(&task->values, row, err);
	buf_append_char(&prompt, '\0');
	json_t *object = prompt.failed ? NULL : encode_row(task, row, &item, prompt.data);
	char *line = object ? json_dumps(object, JSON_COMPACT) : NULL;
	if (code == ERR_OK && !line)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for the export");
	buf_append_cstr(&task->samples.buf, line ? line : "");
	buf_append_char(&task->samples.buf, '\n');
	output_step(&task->samples);
	free(line);
	json_decref(object);
	buf_release(&prompt);
	suite_item_release(&item);
	return code;
}

static bool put(json_t *results, const char *table, const char *task, json_t *value)
{
	return json_set(json_object_get(results, table), task, value);
}

static enum err_code tell_task(struct task *task, struct err *err)
{
	double mean, error;
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	const char *name = task->suite;
	json_int_t count = (json_int_t)task->values.count;
	json_t *results = task->results;
	task->values.clustered = false; /* lm-eval's is of independent documents */
	export_values_estimate(&task->values, &mean, &error);
	sha256_finish(&task->hash, digest);
	hex_encode(digest, sizeof(digest), hex);
	bool set = put(results, "results", name,
		       json_pack("{s:s, s:I, s:f, s:f}", "alias", name, "sample_len", count,
				 "acc,none", mean, "acc_stderr,none", error)) &&
		   put(results, "configs", name,
		       json_pack("{s:s, s:s, s:i, s:[{s:s, s:s, s:b}]}", "task", name,
				 "output_type", "generate_until", "num_fewshot", 0, "metric_list",
				 "metric", "acc", "aggregation", "mean", "higher_is_better", 1)) &&
		   put(results, "versions", name,
		       json_string(suite_version(export_suite(task->export, name)))) &&
		   put(results, "n-shot", name, json_integer(0)) &&
		   put(results, "higher_is_better", name, json_pack("{s:b}", "acc", 1)) &&
		   put(results, "n-samples", name,
		       json_pack("{s:I, s:I}", "original", count, "effective", count)) &&
		   put(results, "group_subtasks", name, json_array()) &&
		   put(results, "task_hashes", name, json_string(hex));
	return set ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory for the export");
}

static enum err_code write_task(struct export *export, const char *suite, const char *model,
				json_t *results, struct err *err)
{
	struct task task = {.export = export, .suite = suite, .results = results};
	struct err closing = ERR_INIT;
	char path[EXPORT_PATH_MAX], date[40];
	ERR_TRY(env_make_directories(export->env, export->options->output, err));
	date_of(export, date);
	snprintf(path, sizeof(path), "%.4000s/samples_%.512s_%s.jsonl", export->options->output,
		 suite, date);
	ERR_TRY(export_check_free(export, path, err));
	sha256_start(&task.hash);
	output_open(&task.samples, export->env, path);
	enum err_code code = export_each(export, suite, model, false, write_row, &task, err);
	if (output_close(&task.samples, &closing) != ERR_OK && code == ERR_OK) {
		*err = closing;
		code = closing.code;
	}
	if (code == ERR_OK)
		code = tell_task(&task, err);
	export_values_release(&task.values);
	return code;
}

static json_t *frame(const struct export *export, const char *model)
{
	char seconds[40];
	snprintf(seconds, sizeof(seconds), "%.3f",
		 (double)(export->ended_ms - export->started_ms) / 1000);
	return json_pack("{s:{}, s:{}, s:{}, s:{}, s:{}, s:{}, s:{}, s:{}, "
			 "s:{s:s, s:s, s:n, s:n}, s:n, s:f, s:s, s:s, s:s, s:s}",
			 "results", "group_subtasks", "configs", "versions", "n-shot",
			 "higher_is_better", "n-samples", "task_hashes", "config", "model",
			 "parley", "model_args", model, "limit", "bootstrap_iters", "git_hash",
			 "date", (double)export->started_ms / 1000, "model_name", model,
			 "model_source", "parley", "total_evaluation_time_seconds", seconds,
			 "lm_eval_version", "written by parley " PARLEY_VERSION);
}

static enum err_code write_tasks(struct export *export, const char *model, json_t *results,
				 struct err *err)
{
	const char *asked = export->options->suite;
	if (asked || export->plan.suite_count == 1)
		ERR_TRY(export_choose_suite(export, &asked, err));
	for (unsigned i = 0; i < export->plan.suite_count; i++) {
		const char *name = export->plan.suites[i].name;
		bool decoys = export->plan.suites[i].decoys && !asked;
		if ((asked && strcmp(asked, name) != 0) || decoys ||
		    export_is_judged(export->suites[i]))
			continue;
		ERR_TRY(write_task(export, name, model, results, err));
	}
	return json_object_size(json_object_get(results, "results")) > 0
		       ? ERR_OK
		       : ERR_SET(err, ERR_USAGE,
				 "every suite of the run is scored by judges, and lm-eval has no "
				 "place for them: use --format csv");
}

enum err_code export_lm_eval(struct export *export, struct err *err)
{
	const char *model;
	char path[EXPORT_PATH_MAX], date[40];
	struct buf text = BUF_INIT(TEXT_MAX);
	ERR_TRY(export_choose_model(export, &model, err));
	date_of(export, date);
	snprintf(path, sizeof(path), "%.4000s/results_%s.json", export->options->output, date);
	ERR_TRY(export_check_free(export, path, err));
	json_t *results = frame(export, model);
	enum err_code code = results ? write_tasks(export, model, results, err)
				     : ERR_SET(err, ERR_NO_MEMORY, "out of memory for the export");
	char *dump = code == ERR_OK ? json_dumps(results, JSON_INDENT(2)) : NULL;
	buf_append_cstr(&text, dump ? dump : "");
	if (code == ERR_OK && (!dump || text.failed))
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for the export");
	if (code == ERR_OK)
		code = env_write_file(export->env, path, buf_bytes(&text), 0644, err);
	free(dump);
	json_decref(results);
	buf_release(&text);
	return code;
}
