#include "bench/export_internal.h"

#include "base/json.h"
#include "env/key_file.h"
#include "grade/bundle.h"
#include "grade/statistics.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define JSON_MAX ((size_t)64 << 20)

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the export");
}

/* ---- the run ---- */

static void path_in(const struct export *export, const char *name, char *out)
{
	snprintf(out, EXPORT_PATH_MAX, "%s/%.512s", export->bundle, name);
}

static enum err_code read_text(struct export *export, const char *name, struct buf *out,
			       struct err *err)
{
	char path[EXPORT_PATH_MAX];
	path_in(export, name, path);
	return env_read_file(export->env, path, out, err);
}

static enum err_code find_bundle(struct export *export, struct err *err)
{
	const char *run = export->options->run;
	struct bundle bundle;
	enum err_code code =
		bundle_find(export->env, run, export->bundle, sizeof(export->bundle), &bundle, err);
	if (code == ERR_OK && bundle.published)
		code = ERR_SET(err, ERR_USAGE,
			       "%s is a published bundle, with items withheld: export from the "
			       "run's own",
			       run);
	bundle_release(&bundle);
	return code;
}

static enum err_code load_plan(struct export *export, struct err *err)
{
	char suites[EXPORT_PATH_MAX];
	struct buf text = BUF_INIT(JSON_MAX);
	path_in(export, BUNDLE_SUITES, suites);
	enum err_code code = read_text(export, BUNDLE_PLAN, &text, err);
	if (code == ERR_OK)
		code = plan_decode(&export->plan, buf_bytes(&text), BUNDLE_PLAN, suites, err);
	buf_release(&text);
	for (unsigned i = 0; code == ERR_OK && i < export->plan.suite_count; i++)
		code = suite_load(export->env, export->plan.suites[i].directory, &export->suites[i],
				  err);
	return code;
}

static enum err_code load_summary(struct export *export, struct err *err)
{
	struct buf text = BUF_INIT(JSON_MAX);
	enum err_code code = read_text(export, BUNDLE_SUMMARY, &text, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&text), BUNDLE_SUMMARY, &export->summary, err);
	buf_release(&text);
	if (code != ERR_OK)
		return code;
	export->started_ms = json_integer_value(json_object_get(export->summary, "started_ms"));
	export->ended_ms = json_integer_value(json_object_get(export->summary, "ended_ms"));
	return ERR_OK;
}

/* How many samples the plan asks of each item. */
static unsigned samples_of(const struct export *export, unsigned suite)
{
	return export->plan.samples ? export->plan.samples
				    : (unsigned)suite_samples(export->suites[suite]);
}

/* Where the offset of a sample's attempt is kept; NULL where the plan has no such sample, or
 * (*full) memory is out. */
static uint64_t *place_of(struct export *export, const char *suite_name, const char *item,
			  const char *model_name, unsigned sample, bool *full)
{
	unsigned suite = 0, model = 0;
	size_t index;
	while (suite < export->plan.suite_count &&
	       strcmp(export->plan.suites[suite].name, suite_name) != 0)
		suite++;
	while (model < export->plan.model_count &&
	       strcmp(export->plan.models[model].name, model_name) != 0)
		model++;
	if (suite == export->plan.suite_count || model == export->plan.model_count ||
	    sample >= samples_of(export, suite) ||
	    !suite_find(export->suites[suite], bytes_from(item), &index))
		return NULL;
	uint64_t **table = &export->attempts[suite][model];
	size_t samples = samples_of(export, suite);
	if (!*table)
		*table = calloc(suite_count(export->suites[suite]), samples * sizeof(**table));
	*full |= !*table;
	return *table ? *table + index * samples + sample : NULL;
}

static enum err_code index_attempts(struct export *export, struct err *err)
{
	char path[EXPORT_PATH_MAX];
	bool more = true, full = false;
	path_in(export, BUNDLE_TRANSCRIPTS, path);
	ERR_TRY(jsonl_open(&export->transcripts, export->env, path, BUNDLE_TRANSCRIPTS,
			   RUN_LINE_MAX, err));
	for (;;) {
		struct jsonl_line line;
		struct run_transcript attempt;
		ERR_TRY(jsonl_next(&export->transcripts, &line, &more, err));
		if (!more)
			return ERR_OK;
		enum err_code code = run_transcript_decode(line.tree, line.where, &attempt, err);
		if (code == ERR_OK && !attempt.judge_model) {
			uint64_t *place = place_of(export, attempt.suite, attempt.item,
						   attempt.model, attempt.sample, &full);
			if (place)
				*place = line.offset + 1;
		}
		json_decref(line.tree);
		ERR_TRY(code);
		if (full)
			return no_memory(err);
	}
}

/* ---- rows ---- */

const struct suite *export_suite(const struct export *export, const char *name)
{
	for (unsigned i = 0; i < export->plan.suite_count; i++)
		if (strcmp(export->plan.suites[i].name, name) == 0)
			return export->suites[i];
	return NULL;
}

bool export_is_judged(const struct suite *suite)
{
	const struct scorer *scorer = scorer_find(suite_scorer_kind(suite));
	return scorer && scorer_by_judge(scorer);
}

static enum err_code find_attempt(struct export *export, struct export_row *row, struct err *err)
{
	const struct run_score *score = &row->score;
	bool full = false;
	row->attempt = (struct run_transcript){
		.usage = {-1, -1, -1, -1, false},
		.first_token_ms = -1,
		.elapsed_ms = -1,
		.step = -1,
		.judge_order = -1
        };
	const uint64_t *offset =
		place_of(export, score->suite, score->item, score->model, score->sample, &full);
	if (full)
		return no_memory(err);
	if (!offset || *offset == 0)
		return ERR_OK;
	ERR_TRY(jsonl_at(&export->transcripts, *offset - 1, &row->attempt_tree, err));
	return run_transcript_decode(row->attempt_tree, BUNDLE_TRANSCRIPTS, &row->attempt, err);
}

struct selection {
	struct export *export;
	const char *suite, *model;
	bool pairs;
	enum err_code (*each)(void *argument, const struct export_row *row, struct err *err);
	void *argument;
};

static enum err_code take_row(const struct selection *selection, json_t *tree, const char *where,
			      struct err *err)
{
	struct export *export = selection->export;
	struct export_row row = {.score_tree = tree};
	ERR_TRY(run_score_decode(tree, where, &row.score, err));
	if ((selection->suite && strcmp(selection->suite, row.score.suite) != 0) ||
	    (selection->model && strcmp(selection->model, row.score.model) != 0) ||
	    (row.score.opponent && !selection->pairs))
		return ERR_OK;
	row.suite = export_suite(export, row.score.suite);
	if (!row.suite || !suite_find(row.suite, bytes_from(row.score.item), &row.index))
		return ERR_SET(err, ERR_MISMATCH, "%s: the suite has no such item", where);
	enum err_code code = find_attempt(export, &row, err);
	if (code == ERR_OK)
		code = selection->each(selection->argument, &row, err);
	json_decref(row.attempt_tree);
	export->outcome->samples++;
	return code;
}

enum err_code export_each(struct export *export, const char *suite, const char *model, bool pairs,
			  enum err_code (*each)(void *argument, const struct export_row *row,
						struct err *err),
			  void *argument, struct err *err)
{
	char path[EXPORT_PATH_MAX];
	struct jsonl scores;
	struct selection selection = {export, suite, model, pairs, each, argument};
	bool more = true;
	path_in(export, BUNDLE_SCORES, path);
	enum err_code code =
		jsonl_open(&scores, export->env, path, BUNDLE_SCORES, RUN_LINE_MAX, err);
	while (code == ERR_OK) {
		struct jsonl_line line;
		code = jsonl_next(&scores, &line, &more, err);
		if (code != ERR_OK || !more)
			break;
		code = take_row(&selection, line.tree, line.where, err);
		json_decref(line.tree);
	}
	jsonl_close(&scores);
	return code;
}

const char *export_failure(const struct export_row *row)
{
	if (!row->score.failed)
		return "";
	if (row->attempt.error)
		return row->attempt.error;
	return row->score.explanation ? row->score.explanation : "no answer";
}

void export_time(int64_t unix_ms, char out[static 40])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm parts;
	char date[32];
	gmtime_r(&seconds, &parts);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(out, 40, "%.20s.%03u+00:00", date, (unsigned)(unix_ms % 1000) % 1000u);
}

/* ---- which ---- */

/* The models that answered; judges are none. */
static const char *next_model(const struct export *export, unsigned *at)
{
	while (*at < export->plan.model_count) {
		const struct plan_model *plan = &export->plan.models[(*at)++];
		if (plan->roles & (PLAN_CONTESTANT | PLAN_BASELINE))
			return plan->name;
	}
	return NULL;
}

enum err_code export_check_names(const struct export *export, struct err *err)
{
	const char *suite = export->options->suite, *model = export->options->model;
	unsigned at = 0;
	const char *first = next_model(export, &at), *name = first;
	if (suite && !export_suite(export, suite))
		return ERR_SET(err, ERR_USAGE, "the run has no suite \"%s\"; its first is %s",
			       suite, export->plan.suites[0].name);
	while (model && name && strcmp(name, model) != 0)
		name = next_model(export, &at);
	return name || !model
		       ? ERR_OK
		       : ERR_SET(err, ERR_USAGE, "the run has no model \"%s\"; its first is %s",
				 model, first ? first : "missing");
}

enum err_code export_choose_suite(const struct export *export, const char **suite, struct err *err)
{
	const char *asked = export->options->suite;
	if (!asked && export->plan.suite_count != 1)
		return ERR_SET(err, ERR_USAGE,
			       "the run has %u suites, and %s holds one: choose it with --suite "
			       "(the first is %s)",
			       export->plan.suite_count, export->options->format,
			       export->plan.suites[0].name);
	*suite = asked ? asked : export->plan.suites[0].name;
	ERR_TRY(export_check_names(export, err));
	if (export_is_judged(export_suite(export, *suite)))
		return ERR_SET(err, ERR_USAGE,
			       "suite %s is scored by judges, and %s has no place for them: "
			       "use --format csv",
			       *suite, export->options->format);
	return ERR_OK;
}

enum err_code export_choose_model(const struct export *export, const char **model, struct err *err)
{
	const char *asked = export->options->model;
	unsigned at = 0, count = 0;
	const char *first = next_model(export, &at);
	ERR_TRY(export_check_names(export, err));
	for (const char *name = first; name; name = next_model(export, &at))
		count++;
	if (!asked && count != 1)
		return ERR_SET(err, ERR_USAGE,
			       "the run has %u models, and %s holds one: choose it with --model "
			       "(the first is %s)",
			       count, export->options->format, first ? first : "missing");
	*model = asked ? asked : first;
	return ERR_OK;
}

/* ---- figures ---- */

static bool grow(struct export_values *values)
{
	if (values->count < values->capacity)
		return true;
	size_t capacity = values->capacity ? 2 * values->capacity : 256;
	double *numbers = reallocarray(values->values, capacity, sizeof(*numbers));
	if (numbers)
		values->values = numbers;
	size_t *clusters = reallocarray(values->clusters, capacity, sizeof(*clusters));
	if (clusters)
		values->clusters = clusters;
	if (!numbers || !clusters)
		return false;
	values->capacity = capacity;
	return true;
}

enum err_code export_values_add(struct export_values *values, const struct export_row *row,
				struct err *err)
{
	const struct run_score *score = &row->score;
	size_t last = values->count - 1;
	if (values->by_item && values->count > 0 && values->item == row->index) {
		values->samples++;
		values->values[last] +=
			(score->score - values->values[last]) / (double)values->samples;
		return ERR_OK;
	}
	values->names = values->names ? values->names : json_object();
	if (!grow(values))
		return no_memory(err);
	const json_t *known = json_object_get(values->names, score->cluster ? score->cluster : "");
	values->clusters[values->count] =
		score->cluster && known ? (size_t)json_integer_value(known) : values->count;
	if (score->cluster && !known &&
	    !json_set(values->names, score->cluster, json_integer((json_int_t)values->count)))
		return no_memory(err);
	values->clustered |= score->cluster != NULL;
	values->values[values->count++] = score->score;
	values->item = row->index;
	values->samples = 1;
	return ERR_OK;
}

void export_values_estimate(const struct export_values *values, double *mean, double *error)
{
	struct estimate estimate = statistics_estimate(values->values, values->count);
	if (values->clustered)
		statistics_clustered(values->values, values->clusters, values->count, &estimate);
	*mean = estimate.mean;
	*error = estimate.standard_error == estimate.standard_error ? estimate.standard_error : 0;
}

void export_values_release(struct export_values *values)
{
	free(values->values);
	free(values->clusters);
	json_decref(values->names);
}

/* ---- the statement ---- */

static enum err_code write_envelope(struct export *export, struct dsse *envelope, struct err *err)
{
	struct buf out = BUF_INIT(JSON_MAX);
	struct ed25519_private *key = NULL;
	enum err_code code = ERR_OK;
	if (export->options->key) {
		code = key_file_read(export->env, export->options->key, &key, err);
		if (code == ERR_OK)
			code = dsse_add_signature(envelope, key, err);
	}
	if (code == ERR_OK)
		code = dsse_write(envelope, &out, err);
	if (code == ERR_OK)
		code = env_write_file(export->env, export->options->output, buf_bytes(&out), 0644,
				      err);
	ed25519_free(key);
	buf_release(&out);
	return code;
}

static enum err_code export_in_toto(struct export *export, struct err *err)
{
	struct buf text = BUF_INIT(JSON_MAX);
	struct dsse envelope;
	enum err_code code = read_text(export, BUNDLE_STATEMENT, &text, err);
	if (code == ERR_OK) {
		code = dsse_open(buf_bytes(&text), BUNDLE_STATEMENT, &envelope, err);
		if (code == ERR_OK)
			code = write_envelope(export, &envelope, err);
		dsse_release(&envelope);
	}
	buf_release(&text);
	return code;
}

/* ---- all of them ---- */

static void saw_entry(void *argument, const struct env_directory_entry *entry)
{
	(void)argument;
	(void)entry;
}

enum err_code export_check_free(const struct export *export, const char *path, struct err *err)
{
	struct env_file *file;
	uint64_t size = 0;
	if (env_list_directory(export->env, path, saw_entry, NULL, NULL) == ERR_OK ||
	    env_file_open(export->env, path, ENV_OPEN_READ, &file, NULL) != ERR_OK)
		return ERR_OK;
	enum err_code code = env_file_size(file, &size, NULL);
	env_file_close(file);
	return code == ERR_OK && size > 0
		       ? ERR_SET(err, ERR_EXISTS, "%s is there and not empty: choose another -o",
				 path)
		       : ERR_OK;
}

static const struct {
	const char *name;
	enum err_code (*write)(struct export *export, struct err *err);
	bool samples;
} formats[] = {
	{"inspect", export_inspect, true },
	{"lm-eval", export_lm_eval, true },
	{"csv",     export_csv,     true },
	{"in-toto", export_in_toto, false},
};
#define FORMATS (sizeof(formats) / sizeof(formats[0]))

static enum err_code write_format(struct export *export, size_t format, struct err *err)
{
	ERR_TRY(find_bundle(export, err));
	ERR_TRY(load_plan(export, err));
	ERR_TRY(load_summary(export, err));
	ERR_TRY(export_check_free(export, export->options->output, err));
	if (formats[format].samples)
		ERR_TRY(index_attempts(export, err));
	return formats[format].write(export, err);
}

enum err_code bench_export(struct env *env, const struct export_options *options,
			   struct export_outcome *outcome, struct err *err)
{
	struct export *export = calloc(1, sizeof(*export));
	size_t format = 0;
	*outcome = (struct export_outcome){0};
	if (!export)
		return no_memory(err);
	export->env = env;
	export->options = options;
	export->outcome = outcome;
	plan_init(&export->plan);
	while (format < FORMATS && strcmp(formats[format].name, options->format) != 0)
		format++;
	enum err_code code =
		format < FORMATS ? write_format(export, format, err)
				 : ERR_SET(err, ERR_USAGE,
					   "--format %s: it is inspect, lm-eval, csv or in-toto",
					   options->format);
	jsonl_close(&export->transcripts);
	for (unsigned i = 0; i < PLAN_SUITES_MAX; i++)
		suite_free(export->suites[i]);
	for (unsigned i = 0; i < PLAN_SUITES_MAX; i++)
		for (unsigned k = 0; k < PLAN_MODELS_MAX; k++)
			free(export->attempts[i][k]);
	json_decref(export->summary);
	plan_release(&export->plan);
	free(export);
	return code;
}
