/* Results of lm-eval (EleutherAI): results_DATE.json and, beside it, samples_TASK_DATE.jsonl with a
 * row for each document and filter (--log_samples). Figures are named METRIC,FILTER; those that are
 * means over documents are computed again, and the task's hash over all rows' hashes. */
#include "verify/harness.h"

#include "base/encode.h"
#include "base/json.h"
#include "base/sha256.h"
#include "suite/input.h"
#include "suite/python_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SUBJECT "lm-eval"
#define LINE_MAX_SIZE ((size_t)64 << 20)
#define PATH_SIZE 4200
#define FIGURES_MAX 256u
#define ERROR_SUFFIX "_stderr"
#define CLUSTER "parley_cluster" /* lm-eval has no word for it; of `parley bench export` */

/* One METRIC,FILTER of a task. */
struct series {
	char metric[100], filter[100];
	double published;
	struct harness_scores scores;
	bool odd; /* a row's value is no number */
};

struct task {
	const char *name;
	struct series series[FIGURES_MAX];
	size_t count;
	struct sha256 hash;
	bool hashed; /* every row had its hashes */
	size_t rows;
};

/* ---- what is published of a task ---- */

static bool ends_with_error(struct bytes metric)
{
	return bytes_ends_with(metric, BYTES(ERROR_SUFFIX));
}

static void find_series(struct task *task, const json_t *published)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)published, key, value)
	{
		const char *comma = strrchr(key, ',');
		struct bytes metric = bytes_of(key, comma ? (size_t)(comma - key) : 0);
		struct series *series = &task->series[task->count];
		if (!comma || !json_is_number(value) || ends_with_error(metric) ||
		    metric.size >= sizeof(series->metric) ||
		    strlen(comma + 1) >= sizeof(series->filter) || task->count == FIGURES_MAX)
			continue;
		*series = (struct series){.published = json_number_value(value)};
		snprintf(series->metric, sizeof(series->metric), "%.*s", BYTES_ARG(metric));
		snprintf(series->filter, sizeof(series->filter), "%s", comma + 1);
		task->count++;
	}
}

static void task_release(struct task *task)
{
	for (size_t i = 0; i < task->count; i++)
		harness_scores_release(&task->series[i].scores);
}

/* ---- rows ---- */

static bool number_of(const json_t *value, double *out)
{
	*out = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
	return json_is_boolean(value) || json_is_number(value);
}

static void hash_row(struct task *task, const json_t *row)
{
	static const char *const keys[] = {"doc_hash", "prompt_hash", "target_hash"};
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *hash = json_string_value(json_object_get(row, keys[i]));
		task->hashed &= hash != NULL;
		if (hash)
			sha256_add(&task->hash, hash, strlen(hash));
	}
}

static enum err_code add_row(struct harness *harness, struct task *task, const json_t *row,
			     struct err *err)
{
	const char *filter = json_text(row, "filter");
	char item[40];
	const json_t *document = json_object_get(row, "doc_id");
	snprintf(item, sizeof(item), "%lld", (long long)json_integer_value(document));
	const char *kept = arena_copy(&harness->texts, bytes_from(item));
	const char *shared = json_string_value(json_object_get(row, CLUSTER));
	const char *cluster = shared ? arena_copy(&harness->texts, bytes_from(shared)) : NULL;
	if (!kept || (shared && !cluster))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for documents");
	hash_row(task, row);
	task->rows++;
	for (size_t i = 0; i < task->count; i++) {
		struct series *series = &task->series[i];
		const json_t *value = json_object_get(row, series->metric);
		struct harness_score score = {
			.item = kept, .cluster = cluster, .order = (int64_t)task->rows};
		if (!value || strcmp(*filter ? filter : "none", series->filter) != 0)
			continue;
		if (number_of(value, &score.value))
			ERR_TRY(harness_add(&series->scores, &score, err));
		else
			series->odd = true;
	}
	return ERR_OK;
}

static enum err_code read_rows(struct harness *harness, struct env *env, const char *path,
			       struct task *task, struct err *err)
{
	struct input *input;
	struct bytes line;
	bool end = false;
	ERR_TRY(input_open(env, path, LINE_MAX_SIZE, &input, err));
	enum err_code code = ERR_OK;
	while (code == ERR_OK && (code = input_line(input, &line, &end, err)) == ERR_OK && !end) {
		json_t *row = NULL;
		code = python_json(line, path, &row, err);
		if (code == ERR_OK)
			code = add_row(harness, task, row, err);
		if (code != ERR_OK)
			err_prefix(err, "row %zu", input_line_number(input));
		json_decref(row);
	}
	input_close(input);
	harness->samples += task->rows;
	return code;
}

/* ---- the comparison ---- */

/* How lm-eval made one number of the rows; NULL: not said, which for its own metrics is the mean.
 */
static const char *aggregation_of(const json_t *results, const struct task *task,
				  const char *metric)
{
	const json_t *config = json_object_get(json_object_get(results, "configs"), task->name);
	const json_t *list = json_object_get(config, "metric_list");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i);
		if (strcmp(json_text(entry, "metric"), metric) == 0)
			return json_string_value(json_object_get(entry, "aggregation"));
	}
	return NULL;
}

static bool is_mean(const json_t *results, const struct task *task, const char *metric)
{
	static const char *const means[] = {"acc", "acc_norm", "acc_mutual_info", "exact_match",
					    "acc_bytes"};
	const char *aggregation = aggregation_of(results, task, metric);
	if (aggregation)
		return strcmp(aggregation, "mean") == 0;
	for (size_t i = 0; i < sizeof(means) / sizeof(means[0]); i++)
		if (strcmp(metric, means[i]) == 0)
			return true;
	return false;
}

/* Published beside the mean; a bootstrap's differs by chance and is not compared. */
static enum err_code check_error(struct harness *harness, const json_t *published,
				 const struct task *task, struct series *series, struct err *err)
{
	char key[240];
	double error;
	snprintf(key, sizeof(key), "%s" ERROR_SUFFIX ",%s", series->metric, series->filter);
	const json_t *value = json_object_get(published, key);
	struct harness_figure figure = {task->name, "", key, json_number_value(value), 0, 0};
	if (!json_is_number(value) || series->scores.count < 2)
		return ERR_OK;
	ERR_TRY(harness_standard_error(&series->scores, false, &error, err));
	harness_number(harness, &figure, error);
	return ERR_OK;
}

static enum err_code check_series(struct harness *harness, const json_t *results, struct task *task,
				  struct series *series, const char *model, struct err *err)
{
	const json_t *published = json_object_get(json_object_get(results, "results"), task->name);
	char key[240];
	snprintf(key, sizeof(key), "%s,%s", series->metric, series->filter);
	struct harness_figure figure = {task->name, model, key, series->published, 0, 0};
	if (series->odd || !is_mean(results, task, series->metric)) {
		harness_unchecked(harness, &figure,
				  "it is no mean of one number for each document");
		return ERR_OK;
	}
	ERR_TRY(harness_mean(harness, &figure, &series->scores, err));
	return check_error(harness, published, task, series, err);
}

static void check_hash(struct harness *harness, const json_t *results, struct task *task)
{
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	const char *published = json_text(json_object_get(results, "task_hashes"), task->name);
	if (!*published || !task->hashed)
		return;
	sha256_finish(&task->hash, digest);
	hex_encode(digest, sizeof(digest), hex);
	if (strcmp(published, hex) != 0)
		harness_contradiction(harness,
				      "%s: its hash in task_hashes is %.16s…, its rows give %.16s…",
				      task->name, published, hex);
	else
		report_note(harness->report, VERIFY_CHECKED, "%s: task hash %.16s… over %zu rows",
			    task->name, hex, task->rows);
}

/* Rows of each filter are one for each document that was asked. */
static void check_sizes(struct harness *harness, const json_t *results, const struct task *task)
{
	const json_t *sizes = json_object_get(json_object_get(results, "n-samples"), task->name);
	const json_t *effective = json_object_get(sizes, "effective");
	for (size_t i = 0; i < task->count; i++) {
		const struct series *series = &task->series[i];
		json_int_t expected = json_integer_value(effective);
		if (!json_is_integer(effective) || series->odd || series->scores.count == 0 ||
		    (json_int_t)series->scores.count == expected)
			continue;
		harness_contradiction(
			harness, "%s, %s,%s: %lld documents are said to be asked, %zu rows have it",
			task->name, series->metric, series->filter, (long long)expected,
			series->scores.count);
	}
}

/* ---- files ---- */

/* samples_TASK_DATE.jsonl beside PREFIX_DATE.json. */
static bool samples_path(const char *path, const char *task, char *out, size_t size)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	const char *date = strrchr(name, '_'), *dot = strrchr(name, '.');
	if (!date || !dot || dot < date)
		return false;
	int written = snprintf(out, size, "%.*ssamples_%s%.*s.jsonl", (int)(name - path), path,
			       task, (int)(dot - date), date);
	return written > 0 && (size_t)written < size;
}

static void tell_missing(struct harness *harness, const struct task *task, const char *path)
{
	for (size_t i = 0; i < task->count; i++) {
		char key[240], why[600];
		snprintf(key, sizeof(key), "%s,%s", task->series[i].metric, task->series[i].filter);
		snprintf(why, sizeof(why), "its samples are not beside the results (%.400s)", path);
		struct harness_figure figure = {task->name, "", key, 0, 0, 0};
		harness_unchecked(harness, &figure, why);
	}
}

static enum err_code check_task(struct harness *harness, struct env *env, const char *path,
				const json_t *results, struct task *task, const char *model,
				struct err *err)
{
	char samples[PATH_SIZE] = "samples_TASK_DATE.jsonl";
	const char *slash;
	if (!samples_path(path, task->name, samples, sizeof(samples)) ||
	    !env_file_exists(env, samples)) {
		slash = strrchr(samples, '/');
		tell_missing(harness, task, slash ? slash + 1 : samples);
		return ERR_OK;
	}
	ERR_TRY(read_rows(harness, env, samples, task, err));
	check_sizes(harness, results, task);
	check_hash(harness, results, task);
	for (size_t i = 0; i < task->count; i++)
		ERR_TRY(check_series(harness, results, task, &task->series[i], model, err));
	return ERR_OK;
}

static const char *model_of(const json_t *results)
{
	const char *name = json_text(results, "model_name");
	const char *kind = json_text(json_object_get(results, "config"), "model");
	return *name ? name : kind;
}

static enum err_code check_results(struct harness *harness, struct env *env, const char *path,
				   const json_t *results, struct err *err)
{
	const char *name;
	json_t *published;
	const json_t *groups = json_object_get(results, "groups");
	struct task *task = malloc(sizeof(*task));
	enum err_code code = task ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory for tasks");
	report_note(harness->report, VERIFY_CHECKED, "model %.100s, git hash %.40s",
		    model_of(results), json_text(results, "git_hash"));
	json_object_foreach(json_object_get(results, "results"), name, published)
	{
		if (code != ERR_OK)
			break;
		*task = (struct task){.name = name, .hashed = true};
		sha256_start(&task->hash);
		find_series(task, published);
		if (json_object_get(groups, name)) {
			report_note(harness->report, VERIFY_UNCHECKED,
				    "%.100s is a group: what it makes of its tasks' figures", name);
			continue;
		}
		code = check_task(harness, env, path, results, task, model_of(results), err);
		task_release(task);
	}
	free(task);
	if (code == ERR_OK)
		harness_conclude(harness);
	return code;
}

enum err_code harness_lm_eval(struct env *env, const char *path, const json_t *results,
			      struct verify_report *report, bool *known, struct err *err)
{
	struct harness harness;
	*known = json_is_object(json_object_get(results, "results")) &&
		 json_is_object(json_object_get(results, "configs")) &&
		 json_is_object(json_object_get(results, "versions"));
	if (!*known)
		return ERR_OK;
	harness_init(&harness, report, SUBJECT);
	enum err_code code = check_results(&harness, env, path, results, err);
	harness_release(&harness);
	return code == ERR_OK ? ERR_OK : report_failure(report, err);
}
