/* Logs of Inspect (UK AI Security Institute), version 2: `.eval` archives sample by sample, or one
 * `.json`. results.scores is computed again: the epochs of a sample are reduced first (mean unless
 * a reducer is named), then the metric is taken over the samples. */
#include "verify/harness.h"

#include "base/encode.h"
#include "base/json.h"
#include "bench/text.h"
#include "grade/statistics.h"
#include "suite/python_json.h"
#include "suite/zip.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SUBJECT "Inspect"
#define LOG_VERSION 2
#define SAMPLES_PREFIX "samples/"
#define SAMPLE_MAX ((size_t)256 << 20)

/* What one sample says that matters here. */
struct sample {
	const char *id; /* in the arena */
	int64_t epoch;
	json_t *scores;   /* owned: {scorer: {value}} */
	json_t *metadata; /* owned; NULL unless a metric asks for clusters */
	bool failed;
};

struct log {
	struct harness harness;
	const json_t *header;
	const char *task, *model;
	bool keep_metadata;
	struct sample *samples; /* owned */
	size_t count, capacity;
};

/* ---- reading ---- */

/* Ids are texts or whole numbers. */
static const char *id_text(struct log *log, const json_t *id)
{
	if (json_is_integer(id))
		return arena_printf(&log->harness.texts, "%lld", (long long)json_integer_value(id));
	return arena_copy(&log->harness.texts,
			  bytes_from(json_is_string(id) ? json_string_value(id) : ""));
}

static enum err_code make_room(struct log *log, struct err *err)
{
	if (log->count < log->capacity)
		return ERR_OK;
	size_t capacity = log->capacity ? 2 * log->capacity : 64;
	struct sample *samples = log->count < HARNESS_SCORES_MAX
					 ? reallocarray(log->samples, capacity, sizeof(*samples))
					 : NULL;
	if (!samples)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for samples");
	log->samples = samples;
	log->capacity = capacity;
	return ERR_OK;
}

/* Only the values of scores: explanations can be long. */
static json_t *copy_scores(const json_t *sample)
{
	json_t *copy = json_object(), *score;
	const char *name;
	json_object_foreach(json_object_get(sample, "scores"), name, score)
	{
		json_t *value = json_object_get(score, "value");
		if (value)
			json_object_set(copy, name, value);
	}
	return copy;
}

static bool is_set(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return value && !json_is_null(value);
}

static enum err_code add_sample(struct log *log, const json_t *tree, const char *where,
				struct err *err)
{
	if (!json_is_object(tree) || !is_set(tree, "id"))
		return ERR_SET(err, ERR_INVALID, "%s: a sample has no id", where);
	ERR_TRY(make_room(log, err));
	struct sample *sample = &log->samples[log->count];
	*sample = (struct sample){.id = id_text(log, json_object_get(tree, "id")),
				  .epoch = json_integer_value(json_object_get(tree, "epoch")),
				  .scores = copy_scores(tree),
				  .failed = is_set(tree, "error")};
	if (log->keep_metadata)
		sample->metadata = json_incref(json_object_get(tree, "metadata"));
	if (!sample->id || !sample->scores)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for samples");
	log->count++;
	return ERR_OK;
}

/* What items share is a parameter of one of an entry's metrics (its stderr); the entry's others are
 * over the same items, so that their intervals are clustered by it, too. */
static const char *cluster_key(const json_t *metric)
{
	const json_t *params = json_object_get(metric, "params");
	return json_string_value(json_object_get(params, "cluster"));
}

static const char *cluster_key_of(const json_t *entry)
{
	json_t *metric;
	const char *name;
	json_object_foreach(json_object_get(entry, "metrics"), name, metric)
	{
		if (cluster_key(metric))
			return cluster_key(metric);
	}
	return NULL;
}

/* Does any metric ask for clusters? */
static bool wants_metadata(const json_t *header)
{
	const json_t *scores = json_object_get(json_object_get(header, "results"), "scores");
	for (size_t i = 0; i < json_array_size(scores); i++)
		if (cluster_key_of(json_array_get(scores, i)))
			return true;
	return false;
}

static void log_init(struct log *log, const json_t *header, struct verify_report *report)
{
	const json_t *eval = json_object_get(header, "eval");
	*log = (struct log){.header = header,
			    .task = json_text(eval, "task"),
			    .model = json_text(eval, "model"),
			    .keep_metadata = wants_metadata(header)};
	harness_init(&log->harness, report, SUBJECT);
}

static void log_release(struct log *log)
{
	for (size_t i = 0; i < log->count; i++) {
		json_decref(log->samples[i].scores);
		json_decref(log->samples[i].metadata);
	}
	free(log->samples);
	harness_release(&log->harness);
}

/* ---- values ---- */

/* Inspect's value_to_float: letters of grades, yes and no, numbers. False: a value that has no
 * number (null, which stands for NaN, is a sample without a score). */
static bool number_of(const json_t *value, double *out)
{
	static const struct {
		const char *text;
		double value;
	} words[] = {
		{"C",     1  },
                {"I",     0  },
                {"P",     0.5},
                {"N",     0  },
		{"yes",   1  },
                {"true",  1  },
                {"no",    0  },
                {"false", 0  }
        };
	const char *text = json_string_value(value);
	if (json_is_number(value) || json_is_boolean(value)) {
		*out = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
		return true;
	}
	for (size_t i = 0; text && i < sizeof(words) / sizeof(words[0]); i++) {
		bool grade = words[i].text[1] == '\0';
		if (grade ? strcmp(text, words[i].text) == 0
			  : bytes_equal_fold(bytes_from(text), bytes_from(words[i].text))) {
			*out = words[i].value;
			return true;
		}
	}
	char *end;
	*out = text ? strtod(text, &end) : 0;
	return text && *text && *end == '\0' && isfinite(*out);
}

/* The value of one sample for an entry of results.scores: the scorer's, or, where the entry is
 * named otherwise, the member of that name in it. NULL: none. */
static const json_t *value_for(const struct sample *sample, const json_t *entry)
{
	const char *scorer = json_text(entry, "scorer"), *name = json_text(entry, "name");
	const json_t *value = json_object_get(sample->scores, *scorer ? scorer : name);
	if (json_is_object(value))
		return json_object_get(value, name);
	return value;
}

/* ---- epochs ---- */

struct epochs {
	const struct harness_score *rows;
	size_t count;
};

typedef double (*reduce_function)(const struct epochs *epochs, double k);

static double reduce_mean(const struct epochs *epochs, double k)
{
	double sum = 0;
	(void)k;
	for (size_t i = 0; i < epochs->count; i++)
		sum += epochs->rows[i].value;
	return sum / (double)epochs->count;
}

static double reduce_max(const struct epochs *epochs, double k)
{
	double most = epochs->rows[0].value;
	(void)k;
	for (size_t i = 1; i < epochs->count; i++)
		most = fmax(most, epochs->rows[i].value);
	return most;
}

static int compare_values(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return (a > b) - (a < b);
}

static double reduce_median(const struct epochs *epochs, double k)
{
	double *values = calloc(epochs->count, sizeof(*values));
	size_t half = epochs->count / 2;
	(void)k;
	if (!values)
		return NAN;
	for (size_t i = 0; i < epochs->count; i++)
		values[i] = epochs->rows[i].value;
	qsort(values, epochs->count, sizeof(*values), compare_values);
	double median = epochs->count % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
	free(values);
	return median;
}

/* The commonest; of several, that which came first. */
static double reduce_mode(const struct epochs *epochs, double k)
{
	size_t most = 0;
	double mode = 0;
	(void)k;
	for (size_t i = 0; i < epochs->count; i++) {
		size_t same = 0;
		for (size_t j = 0; j < epochs->count; j++)
			same += epochs->rows[i].value == epochs->rows[j].value;
		if (same > most) {
			most = same;
			mode = epochs->rows[i].value;
		}
	}
	return mode;
}

static uint64_t successes(const struct epochs *epochs)
{
	uint64_t count = 0;
	for (size_t i = 0; i < epochs->count; i++)
		count += epochs->rows[i].value >= 1;
	return count;
}

static double reduce_at_least(const struct epochs *epochs, double k)
{
	return (double)successes(epochs) >= k;
}

static double reduce_pass_at(const struct epochs *epochs, double k)
{
	return statistics_pass_at_k(epochs->count, successes(epochs), (uint64_t)k);
}

static double reduce_pass_k(const struct epochs *epochs, double k)
{
	return statistics_pass_hat_k(epochs->count, successes(epochs), (uint64_t)k);
}

static const struct reducer {
	const char *name; /* `k` may follow, as in pass_at_5 */
	reduce_function reduce;
	bool counts;
} reducers[] = {
	{"mean",      reduce_mean,     false},
        {"max",       reduce_max,      false},
	{"median",    reduce_median,   false},
        {"mode",      reduce_mode,     false},
	{"at_least_", reduce_at_least, true },
        {"pass_at_",  reduce_pass_at,  true },
	{"pass_k_",   reduce_pass_k,   true },
};

static const struct reducer *find_reducer(const char *name, double *k)
{
	for (size_t i = 0; i < sizeof(reducers) / sizeof(reducers[0]); i++) {
		const struct reducer *reducer = &reducers[i];
		size_t size = strlen(reducer->name);
		char *end;
		if (!reducer->counts && strcmp(name, reducer->name) == 0)
			return reducer;
		if (!reducer->counts || strncmp(name, reducer->name, size) != 0)
			continue;
		*k = (double)strtoul(name + size, &end, 10);
		if (*k >= 1 && *end == '\0')
			return reducer;
	}
	return NULL;
}

/* One row for each sample instead of one for each epoch. */
static enum err_code reduce(struct harness_scores *scores, const struct reducer *reducer, double k,
			    struct err *err)
{
	size_t kept = 0;
	harness_sort(scores);
	for (size_t i = 0; i < scores->count;) {
		size_t end = i + 1;
		while (end < scores->count &&
		       strcmp(scores->rows[end].item, scores->rows[i].item) == 0) {
			if (scores->rows[end].order == scores->rows[end - 1].order)
				return ERR_SET(err, ERR_MISMATCH,
					       "sample %.64s stands twice for epoch %lld",
					       scores->rows[i].item,
					       (long long)scores->rows[end].order);
			end++;
		}
		struct epochs epochs = {&scores->rows[i], end - i};
		double value = reducer->reduce(&epochs, k);
		if (isfinite(value)) {
			scores->rows[kept] = scores->rows[i];
			scores->rows[kept++].value = value;
		}
		i = end;
	}
	scores->count = kept;
	return ERR_OK;
}

/* ---- one entry of results.scores ---- */

static const char *cluster_of(struct log *log, const struct sample *sample, const char *key)
{
	struct buf text = BUF_INIT(65536);
	struct err unused = ERR_INIT;
	const json_t *value = key ? json_object_get(sample->metadata, key) : NULL;
	const char *cluster = NULL;
	if (value && json_canonical(value, &text, &unused) == ERR_OK)
		cluster = arena_copy(&log->harness.texts, buf_bytes(&text));
	buf_release(&text);
	return cluster;
}

static enum err_code collect(struct log *log, const json_t *entry, const char *key,
			     struct harness_scores *scores, const char **odd, struct err *err)
{
	for (size_t i = 0; i < log->count; i++) {
		const struct sample *sample = &log->samples[i];
		const json_t *value = value_for(sample, entry);
		struct harness_score row = {.item = sample->id,
					    .order = sample->epoch,
					    .cluster = cluster_of(log, sample, key)};
		if (!value || json_is_null(value))
			continue;
		if (!number_of(value, &row.value)) {
			*odd = sample->id;
			continue;
		}
		ERR_TRY(harness_add(scores, &row, err));
	}
	return ERR_OK;
}

enum quantity {
	QUANTITY_MEAN,
	QUANTITY_ERROR,
	QUANTITY_DEVIATION,
	QUANTITY_VARIANCE,
};

/* Metrics of Inspect itself; one of another package has that package's name in front. */
static const struct {
	const char *name;
	enum quantity quantity;
} metrics[] = {
	{"accuracy", QUANTITY_MEAN     },
        {"mean",     QUANTITY_MEAN     },
        {"stderr",   QUANTITY_ERROR    },
	{"std",      QUANTITY_DEVIATION},
        {"var",      QUANTITY_VARIANCE },
};

static bool find_metric(const json_t *metric, enum quantity *out)
{
	const char *name = json_text(metric, "name");
	if (strncmp(name, "inspect_ai/", 11) == 0)
		name += 11;
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		if (strcmp(name, metrics[i].name) == 0) {
			*out = metrics[i].quantity;
			return true;
		}
	}
	return false;
}

/* Parameters other than the cluster's key change what a metric is. */
static bool has_other_parameters(const json_t *metric)
{
	const char *name;
	json_t *value;
	json_object_foreach(json_object_get(metric, "params"), name, value)
	{
		if (strcmp(name, "cluster") != 0 && !json_is_null(value))
			return true;
	}
	return false;
}

/* Inspect gives 0 for a deviation of less than two samples. */
static double spread(enum quantity quantity, double error, size_t count)
{
	double deviation = error * sqrt((double)count);
	if (count < 2 || isnan(error))
		return 0;
	if (quantity == QUANTITY_ERROR)
		return error;
	return quantity == QUANTITY_DEVIATION ? deviation : deviation * deviation;
}

static enum err_code check_metric(struct log *log, const json_t *entry, const json_t *metric,
				  const struct harness_figure *figure, struct err *err)
{
	const char *reducer_name = json_text(entry, "reducer"), *key = cluster_key(metric);
	const char *odd = NULL;
	double k = 0, error;
	struct harness_scores scores = {0};
	enum quantity quantity;
	const struct reducer *reducer = find_reducer(*reducer_name ? reducer_name : "mean", &k);
	if (!reducer || !find_metric(metric, &quantity) || has_other_parameters(metric)) {
		harness_unchecked(&log->harness, figure,
				  reducer ? "what it is computed by is not known here"
					  : "how epochs are reduced for it is not known here");
		return ERR_OK;
	}
	if (!key && quantity == QUANTITY_MEAN)
		key = cluster_key_of(entry);
	enum err_code code = collect(log, entry, key, &scores, &odd, err);
	if (code == ERR_OK)
		code = reduce(&scores, reducer, k, err);
	if (code == ERR_OK && odd)
		harness_unchecked(&log->harness, figure, "a sample's score is no number");
	else if (code == ERR_OK && quantity == QUANTITY_MEAN)
		code = harness_mean(&log->harness, figure, &scores, err);
	else if (code == ERR_OK &&
		 (code = harness_standard_error(&scores, key != NULL, &error, err)) == ERR_OK)
		harness_number(&log->harness, figure, spread(quantity, error, scores.count));
	harness_scores_release(&scores);
	return code;
}

static enum err_code check_entry(struct log *log, const json_t *entry, size_t failed,
				 struct err *err)
{
	char scorer[104], reducer[64], measure[104];
	const char *name;
	json_t *metric;
	text_line(scorer, sizeof(scorer), bytes_from(json_text(entry, "name")));
	text_line(reducer, sizeof(reducer), bytes_from(json_text(entry, "reducer")));
	json_object_foreach(json_object_get(entry, "metrics"), name, metric)
	{
		char title[300];
		const json_t *value = json_object_get(metric, "value");
		text_line(measure, sizeof(measure), bytes_from(name));
		snprintf(title, sizeof(title), "%s%s%s/%s", scorer, *reducer ? "/" : "", reducer,
			 measure);
		struct harness_figure figure = {
			log->task, log->model,
			title,     json_is_number(value) ? json_number_value(value) : NAN,
			0,         failed};
		if (!json_is_number(value)) {
			harness_unchecked(&log->harness, &figure, "no number is published");
			continue;
		}
		ERR_TRY(check_metric(log, entry, metric, &figure, err));
	}
	return ERR_OK;
}

/* ---- the log ---- */

static size_t count_failed(const struct log *log)
{
	size_t failed = 0;
	for (size_t i = 0; i < log->count; i++)
		failed += log->samples[i].failed;
	return failed;
}

/* Of as many as were completed, none may be missing. */
static void check_counts(struct log *log, const json_t *results)
{
	json_int_t completed = json_integer_value(json_object_get(results, "completed_samples"));
	json_int_t total = json_integer_value(json_object_get(results, "total_samples"));
	if ((json_int_t)log->count < completed)
		harness_contradiction(
			&log->harness,
			"%s: %lld samples are said to be completed, the log holds %zu", log->task,
			(long long)completed, log->count);
	if (completed < total)
		report_note(log->harness.report, VERIFY_CHECKED,
			    "%lld of %lld samples of the run were completed", (long long)completed,
			    (long long)total);
}

static void tell_origin(const struct log *log)
{
	const json_t *eval = json_object_get(log->header, "eval");
	const json_t *revision = json_object_get(eval, "revision");
	report_note(log->harness.report, VERIFY_CHECKED,
		    "task %.100s, model %.100s, made %.40s, status %.20s%s%.40s", log->task,
		    log->model, json_text(eval, "created"), json_text(log->header, "status"),
		    revision ? ", commit " : "", json_text(revision, "commit"));
}

static enum err_code check_log(struct log *log, struct err *err)
{
	const json_t *results = json_object_get(log->header, "results");
	const json_t *scores = json_object_get(results, "scores");
	size_t failed = count_failed(log);
	log->harness.samples = log->count;
	tell_origin(log);
	if (failed)
		report_note(log->harness.report, VERIFY_CHECKED,
			    "%zu of %zu samples ended in an error; Inspect leaves them out of its "
			    "figures",
			    failed, log->count);
	if (!json_is_object(results))
		report_note(log->harness.report, VERIFY_UNCHECKED,
			    "the log publishes no results: the run was not finished");
	else
		check_counts(log, results);
	for (size_t i = 0; i < json_array_size(scores); i++)
		ERR_TRY(check_entry(log, json_array_get(scores, i), failed, err));
	harness_conclude(&log->harness);
	return ERR_OK;
}

/* What the check made of it: contradictions become the verdict. */
static enum err_code finish(struct log *log, enum err_code code, struct err *err)
{
	if (code == ERR_OK)
		code = check_log(log, err);
	if (code != ERR_OK)
		code = report_failure(log->harness.report, err);
	log_release(log);
	return code;
}

static enum err_code check_version(const json_t *header, struct err *err)
{
	json_int_t version = json_integer_value(json_object_get(header, "version"));
	return version == LOG_VERSION
		       ? ERR_OK
		       : ERR_SET(err, ERR_UNSUPPORTED,
				 "an Inspect log of version %lld; only %d is read here",
				 (long long)version, LOG_VERSION);
}

enum err_code harness_inspect(const json_t *tree, struct verify_report *report, bool *known,
			      struct err *err)
{
	struct log log;
	char where[40];
	const json_t *samples = json_object_get(tree, "samples");
	*known = json_is_object(json_object_get(tree, "eval")) && is_set(tree, "version") &&
		 is_set(tree, "status");
	if (!*known)
		return ERR_OK;
	ERR_TRY(check_version(tree, err));
	log_init(&log, tree, report);
	enum err_code code = ERR_OK;
	for (size_t i = 0; code == ERR_OK && i < json_array_size(samples); i++) {
		snprintf(where, sizeof(where), "samples[%zu]", i);
		code = add_sample(&log, json_array_get(samples, i), where, err);
	}
	return finish(&log, code, err);
}

/* ---- archives ---- */

static enum err_code read_json(struct zip *zip, const struct zip_entry *entry, json_t **out,
			       struct err *err)
{
	struct buf text = BUF_INIT(SAMPLE_MAX);
	char name[300];
	snprintf(name, sizeof(name), "%.*s", (int)(entry->name.size < 250 ? entry->name.size : 250),
		 entry->name.data);
	enum err_code code = zip_read(zip, entry, &text, err);
	if (code == ERR_TOO_LARGE)
		code = ERR_SET(err, ERR_UNSUPPORTED, "%s is larger than %zu MiB", name,
			       SAMPLE_MAX >> 20);
	if (code == ERR_OK)
		code = python_json(buf_bytes(&text), name, out, err);
	buf_release(&text);
	return code;
}

/* "…_epoch_N.json" */
static bool names_epoch(struct bytes name)
{
	size_t end = name.size - strlen(".json"), at = end;
	while (at > 0 && name.data[at - 1] >= '0' && name.data[at - 1] <= '9')
		at--;
	return at < end && bytes_ends_with(bytes_of(name.data, at), BYTES("_epoch_"));
}

/* samples/ID_epoch_N.json (an ID may have slashes), or samples/ID_epoch_N/sample.json beside its
 * other parts. */
static bool is_sample(struct bytes name)
{
	if (!bytes_starts_with(name, BYTES(SAMPLES_PREFIX)) ||
	    !bytes_ends_with(name, BYTES(".json")))
		return false;
	struct bytes rest =
		bytes_of(name.data + strlen(SAMPLES_PREFIX), name.size - strlen(SAMPLES_PREFIX));
	return !memchr(rest.data, '/', rest.size) || names_epoch(rest) ||
	       bytes_ends_with(rest, BYTES("/sample.json"));
}

static enum err_code read_samples(struct zip *zip, struct log *log, struct err *err)
{
	for (size_t i = 0; i < zip_count(zip); i++) {
		const struct zip_entry *entry = zip_at(zip, i);
		json_t *sample = NULL;
		char where[300];
		if (!is_sample(entry->name))
			continue;
		snprintf(where, sizeof(where), "%.*s",
			 (int)(entry->name.size < 250 ? entry->name.size : 250), entry->name.data);
		enum err_code code = read_json(zip, entry, &sample, err);
		if (code == ERR_OK)
			code = add_sample(log, sample, where, err);
		json_decref(sample);
		ERR_TRY(code);
	}
	return ERR_OK;
}

static enum err_code read_header(struct zip *zip, const char *path, json_t **header,
				 struct err *err)
{
	const struct zip_entry *entry = zip_find(zip, BYTES("header.json"));
	if (!entry)
		entry = zip_find(zip, BYTES("_journal/start.json"));
	if (!entry)
		return ERR_SET(err, ERR_USAGE,
			       "%s is a ZIP archive, and no log of Inspect (no header.json)", path);
	ERR_TRY(read_json(zip, entry, header, err));
	return check_version(*header, err);
}

enum err_code harness_inspect_archive(struct env *env, const char *path,
				      struct verify_report *report, struct err *err)
{
	struct zip *zip;
	json_t *header = NULL;
	struct log log;
	report->subject = SUBJECT;
	enum err_code code = zip_open(env, path, &zip, err);
	if (code != ERR_OK)
		return report_failure(report, err);
	code = read_header(zip, path, &header, err);
	if (code == ERR_OK) {
		log_init(&log, header, report);
		code = finish(&log, read_samples(zip, &log, err), err);
	} else {
		code = report_failure(report, err);
	}
	json_decref(header);
	zip_close(zip);
	return code;
}
