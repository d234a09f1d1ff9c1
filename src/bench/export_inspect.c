/* An Inspect log: a ZIP of header.json, _journal/, summaries.json, reductions.json and one
 * samples/ID_epoch_N.json for each sample (log version 2). Failed samples score 0 and count, as in
 * Parley's own figures; Inspect would leave them out. */
#include "bench/export_internal.h"

#include "base/encode.h"
#include "base/json.h"
#include "suite/words.h"
#include "suite/zip_writer.h"

#include <stdio.h>
#include <stdlib.h>

#define LOG_VERSION 2
#define TEXT_MAX ((size_t)256 << 20)
#define NAME_MAX_SIZE 2048u

struct log {
	struct export *export;
	const char *suite, *model;
	const char *scorer;
	struct zip_writer zip;
	struct export_values values;
	struct buf step;       /* summaries on their way into the archive */
	json_t *ids;           /* owned */
	int64_t input, output; /* tokens */
	size_t samples, failed, told;
};

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the export");
}

static enum err_code add_entry(struct log *log, const char *name, const json_t *value,
			       struct err *err)
{
	char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	if (!text)
		return no_memory(err);
	zip_writer_add(&log->zip, bytes_from(name), bytes_from(text));
	free(text);
	return ERR_OK;
}

/* ---- a sample ---- */

static json_t *text_of(const json_t *parts)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	const json_t *part;
	size_t i;
	json_array_foreach((json_t *)parts, i, part)
		buf_append_cstr(&text, json_text(part, "text"));
	json_t *string = text.failed ? NULL : json_stringn(text.data ? text.data : "", text.size);
	buf_release(&text);
	return string;
}

static json_t *message(const char *role, json_t *content)
{
	return content ? json_pack("{s:s, s:o}", "role", role, "content", content) : NULL;
}

/* The words as chat messages. */
static json_t *messages_of(const json_t *words)
{
	json_t *list = json_array();
	const json_t *system = json_object_get(words, "system"), *entry;
	size_t i;
	if (json_array_size(system) > 0)
		json_array_append_new(list, message("system", text_of(system)));
	json_array_foreach(json_object_get(words, "messages"), i, entry) json_array_append_new(
		list, message(json_text(entry, "role"), text_of(json_object_get(entry, "parts"))));
	return list;
}

static json_t *usage_of(const struct run_usage *usage)
{
	json_t *object = json_object();
	int64_t input = usage->input > 0 ? usage->input : 0;
	int64_t output = usage->output > 0 ? usage->output : 0;
	if (usage->input < 0 && usage->output < 0)
		return object;
	json_set(object, "input_tokens", json_integer(input));
	json_set(object, "output_tokens", json_integer(output));
	json_set(object, "total_tokens", json_integer(input + output));
	if (usage->cache_read >= 0)
		json_set(object, "input_tokens_cache_read", json_integer(usage->cache_read));
	if (usage->cache_write >= 0)
		json_set(object, "input_tokens_cache_write", json_integer(usage->cache_write));
	return object;
}

static const char *stop_reason(const char *finish)
{
	static const struct {
		const char *own, *inspects;
	} reasons[] = {
		{"stop",   "stop"          },
		{"length", "max_tokens"    },
		{"tools",  "tool_calls"    },
		{"filter", "content_filter"}
        };
	for (size_t i = 0; finish && i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (strncmp(finish, reasons[i].own, strlen(reasons[i].own)) == 0)
			return reasons[i].inspects;
	return finish ? "unknown" : "stop";
}

static json_t *output_of(const struct export_row *row)
{
	const struct run_transcript *attempt = &row->attempt;
	const char *answer = attempt->answer ? attempt->answer : "";
	const char *served = attempt->served ? attempt->served : row->score.model;
	json_t *choices = attempt->answer
				  ? json_pack("[{s:{s:s, s:s, s:s}, s:s}]", "message", "role",
					      "assistant", "content", answer, "source", "generate",
					      "stop_reason", stop_reason(attempt->finish))
				  : json_array();
	json_t *object =
		json_pack("{s:s, s:o, s:s, s:o, s:f}", "model", served, "choices", choices,
			  "completion", answer, "usage", usage_of(&attempt->usage), "time",
			  attempt->elapsed_ms > 0 ? (double)attempt->elapsed_ms / 1000 : 0.0);
	if (*export_failure(row) && object)
		json_set_text(object, "error", export_failure(row));
	return object;
}

/* What Inspect has no member for. */
static json_t *metadata_of(const struct export_row *row)
{
	json_t *object = json_object();
	json_set_text(object, "cluster", row->score.cluster);
	json_set_text(object, "words_sha256", row->attempt.words);
	json_set_text(object, "parley_record", row->attempt.record);
	json_set_text(object, "parley_failure", export_failure(row));
	if (row->attempt.verdict)
		json_set(object, "sealed", json_true());
	if (row->attempt.cached)
		json_set(object, "cached", json_true());
	return object;
}

static json_t *target_of(const struct suite_item *item)
{
	const json_t *target = json_object_get(item->scorer, "target");
	char *text = target ? json_dumps(target, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	json_t *string = json_is_string(target) ? json_incref((json_t *)target)
			 : text                 ? json_string(text)
						: json_string("");
	free(text);
	return string;
}

static json_t *encode_sample(const struct log *log, const struct export_row *row,
			     const struct suite_item *item)
{
	json_t *messages = messages_of(item->words);
	json_t *score = json_pack(
		"{s:f, s:o, s:s, s:[]}", "value", row->score.score, "answer",
		row->attempt.answer ? json_string(row->attempt.answer) : json_null(), "explanation",
		*export_failure(row)     ? export_failure(row)
		: row->score.explanation ? row->score.explanation
					 : "",
		"history");
	json_t *all = json_copy(messages);
	if (row->attempt.answer)
		json_array_append_new(all, message("assistant", json_string(row->attempt.answer)));
	return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:{s:o}, s:o, s:{}, s:[], s:{s:o}, s:{}}",
			 "id", row->score.item, "epoch", (int)row->score.sample + 1, "input",
			 messages, "target", target_of(item), "messages", all, "output",
			 output_of(row), "scores", log->scorer, score, "metadata", metadata_of(row),
			 "store", "events", "model_usage", log->model,
			 usage_of(&row->attempt.usage), "attachments");
}

static enum err_code write_row(void *argument, const struct export_row *row, struct err *err)
{
	struct log *log = argument;
	struct suite_item item;
	char name[NAME_MAX_SIZE];
	ERR_TRY(suite_item_render(row->suite, row->index, &item, err));
	json_t *sample = encode_sample(log, row, &item);
	suite_item_release(&item);
	snprintf(name, sizeof(name), "samples/%.1900s_epoch_%u.json", row->score.item,
		 row->score.sample + 1);
	enum err_code code = add_entry(log, name, sample, err);
	if (code == ERR_OK)
		code = export_values_add(&log->values, row, err);
	if (code == ERR_OK && row->score.sample == 0 &&
	    json_array_append_new(log->ids, json_string(row->score.item)) != 0)
		code = no_memory(err);
	json_decref(sample);
	log->samples++;
	log->failed += row->score.failed;
	log->input += row->attempt.usage.input > 0 ? row->attempt.usage.input : 0;
	log->output += row->attempt.usage.output > 0 ? row->attempt.usage.output : 0;
	return code;
}

/* The short form of a sample in summaries.json. The run may be larger than memory: each goes into
 * the archive at once, in a pass of its own. */
static enum err_code write_summary(void *argument, const struct export_row *row, struct err *err)
{
	struct log *log = argument;
	struct suite_item item;
	ERR_TRY(suite_item_render(row->suite, row->index, &item, err));
	json_t *summary = json_pack("{s:s, s:i, s:o, s:o, s:{s:{s:f}}, s:b}", "id", row->score.item,
				    "epoch", (int)row->score.sample + 1, "input",
				    messages_of(item.words), "target", target_of(&item), "scores",
				    log->scorer, "value", row->score.score, "completed", 1);
	char *text = summary ? json_dumps(summary, JSON_COMPACT) : NULL;
	suite_item_release(&item);
	json_decref(summary);
	if (!text)
		return no_memory(err);
	buf_append_char(&log->step, log->told++ ? ',' : '[');
	buf_append_cstr(&log->step, text);
	free(text);
	if (log->step.failed)
		return no_memory(err);
	zip_writer_piece(&log->zip, buf_bytes(&log->step));
	buf_clear(&log->step);
	return ERR_OK;
}

/* Both lists of summaries. */
static enum err_code write_summaries(struct log *log, struct err *err)
{
	zip_writer_begin(&log->zip, BYTES("_journal/summaries/1.json"));
	ERR_TRY(export_each(log->export, log->suite, log->model, false, write_summary, log, err));
	zip_writer_piece(&log->zip, log->told ? BYTES("]") : BYTES("[]"));
	zip_writer_end(&log->zip);
	zip_writer_repeat(&log->zip, BYTES("summaries.json"));
	log->export->outcome->samples = log->samples; /* not twice */
	return ERR_OK;
}

/* ---- the header ---- */

static json_t *eval_of(const struct log *log)
{
	const struct suite *suite = export_suite(log->export, log->suite);
	char created[40], root[2 * SHA256_SIZE + 1] = "";
	unsigned samples = 1;
	for (unsigned i = 0; i < log->export->plan.suite_count; i++)
		if (export_suite(log->export, log->export->plan.suites[i].name) == suite)
			hex_encode(log->export->plan.suites[i].root, SHA256_SIZE, root);
	if (json_array_size(log->ids) > 0)
		samples = (unsigned)(log->samples / json_array_size(log->ids));
	export_time(log->export->started_ms, created);
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:{}, s:{s:s, s:s, s:I, s:O, s:b}, s:s, s:O, s:{}, "
		"s:{s:i}, s:{s:s}, s:{s:s, s:s}}",
		"eval_id", log->export->plan.id, "run_id", log->export->plan.id, "created", created,
		"task", log->suite, "task_id", log->suite, "task_version", suite_version(suite),
		"task_args", "dataset", "name", log->suite, "location", "bundle/suite", "samples",
		(json_int_t)json_array_size(log->ids), "sample_ids", log->ids, "shuffled", 0,
		"model", log->model, "model_generate_config", (json_t *)suite_settings(suite),
		"model_args", "config", "epochs", (int)samples, "packages", "parley",
		PARLEY_VERSION, "metadata", "parley_suite_root", root, "parley_vouched_by",
		json_text(log->export->summary, "vouched_by"));
}

static json_t *results_of(struct log *log)
{
	double mean, error;
	export_values_estimate(&log->values, &mean, &error);
	json_t *params =
		log->values.clustered ? json_pack("{s:s}", "cluster", "cluster") : json_object();
	json_t *metrics = json_pack("{s:{s:s, s:f, s:{}}, s:{s:s, s:f, s:o}}", "accuracy", "name",
				    "accuracy", "value", mean, "params", "stderr", "name", "stderr",
				    "value", error, "params", params);
	return json_pack("{s:I, s:I, s:[{s:s, s:s, s:s, s:I, s:i, s:{}, s:o}]}", "total_samples",
			 (json_int_t)log->samples, "completed_samples", (json_int_t)log->samples,
			 "scores", "name", log->scorer, "scorer", log->scorer, "reducer", "mean",
			 "scored_samples", (json_int_t)log->values.count, "unscored_samples", 0,
			 "params", "metrics", metrics);
}

static json_t *stats_of(const struct log *log)
{
	char started[40], ended[40];
	struct run_usage usage = {log->input, -1, -1, log->output, false};
	export_time(log->export->started_ms, started);
	export_time(log->export->ended_ms, ended);
	return json_pack("{s:s, s:s, s:{s:o}}", "started_at", started, "completed_at", ended,
			 "model_usage", log->model, usage_of(&usage));
}

static enum err_code write_head(struct log *log, struct err *err)
{
	bool complete = json_is_true(json_object_get(log->export->summary, "complete"));
	json_t *eval = eval_of(log);
	json_t *plan = json_pack("{s:s, s:[], s:{}}", "name", "plan", "steps", "config");
	json_t *start =
		json_pack("{s:i, s:O, s:O}", "version", LOG_VERSION, "eval", eval, "plan", plan);
	json_t *header =
		json_pack("{s:i, s:s, s:O, s:O, s:o, s:o}", "version", LOG_VERSION, "status",
			  complete ? "success" : "cancelled", "eval", eval, "plan", plan, "results",
			  results_of(log), "stats", stats_of(log));
	json_t *reductions = json_array();
	enum err_code code = add_entry(log, "_journal/start.json", start, err);
	if (code == ERR_OK)
		code = write_summaries(log, err);
	if (code == ERR_OK)
		code = add_entry(log, "reductions.json", reductions, err);
	if (code == ERR_OK)
		code = add_entry(log, "header.json", header, err);
	json_decref(reductions);
	json_decref(header);
	json_decref(start);
	json_decref(plan);
	json_decref(eval);
	return code;
}

enum err_code export_inspect(struct export *export, struct err *err)
{
	struct log log = {.export = export, .values = {.by_item = true}};
	struct err closing = ERR_INIT;
	ERR_TRY(export_choose_suite(export, &log.suite, err));
	ERR_TRY(export_choose_model(export, &log.model, err));
	log.scorer = suite_scorer_kind(export_suite(export, log.suite));
	buf_init(&log.step, TEXT_MAX);
	log.ids = json_array();
	zip_writer_open(&log.zip, export->env, export->options->output);
	enum err_code code = export_each(export, log.suite, log.model, false, write_row, &log, err);
	if (code == ERR_OK)
		code = write_head(&log, err);
	if (zip_writer_close(&log.zip, &closing) != ERR_OK && code == ERR_OK) {
		*err = closing;
		code = closing.code;
	}
	export_values_release(&log.values);
	buf_release(&log.step);
	json_decref(log.ids);
	return code;
}
