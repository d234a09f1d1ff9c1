#include "verify/comparing.h"

#include "base/encode.h"
#include "base/json.h"
#include "bench/plan.h"
#include "grade/bundle.h"
#include "grade/compare.h"
#include "suite/leaf.h"
#include "verify/harness.h"
#include "grade/jsonl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PLAN_MAX ((size_t)64 << 20)
#define TEXTS_MAX ((size_t)2 << 30)

struct loaded {
	const char *path, *directory; /* directory: of the bundle; NULL: another harness's log */
	const char *kind;
	json_t *models; /* names, each once; owned */
	size_t first, count;
	struct plan *plan; /* of a bundle; owned */
};

struct comparing {
	struct env *env;
	struct arena texts;
	struct run_score *scores; /* owned; texts in the arena */
	size_t count, capacity;
	struct loaded runs[COMPARING_RUNS_MAX];
	size_t run_count;
	json_t *notes;      /* owned */
	struct err failure; /* of what came through verify_path */
};

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory comparing runs");
}

static void note(struct comparing *all, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void note(struct comparing *all, const char *format, ...)
{
	char text[1000];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	json_array_append_new(all->notes, json_string(text));
}

/* ---- rows ---- */

static const char *keep(struct comparing *all, const char *text)
{
	return text ? arena_copy(&all->texts, bytes_from(text)) : NULL;
}

/* What one score says as the one before it did is kept once. */
static const char *keep_again(struct comparing *all, const char *before, const char *text)
{
	return before && text && strcmp(before, text) == 0 ? before : keep(all, text);
}

static bool know_model(struct loaded *run, const char *model)
{
	const json_t *name;
	size_t i;
	json_array_foreach(run->models, i, name)
	{
		if (strcmp(json_string_value(name), model) == 0)
			return true;
	}
	return json_array_append_new(run->models, json_string(model)) == 0;
}

static enum err_code add_score(struct comparing *all, const struct run_score *score,
			       struct err *err)
{
	struct loaded *run = &all->runs[all->run_count - 1];
	if (all->count == COMPARING_SCORES_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "more than %zu scores", COMPARING_SCORES_MAX);
	if (all->count == all->capacity) {
		size_t capacity = all->capacity ? 2 * all->capacity : 1024;
		struct run_score *grown = reallocarray(all->scores, capacity, sizeof(*grown));
		if (!grown)
			return no_memory(err);
		all->scores = grown;
		all->capacity = capacity;
	}
	static const struct run_score none = {0};
	const struct run_score *before = all->count ? &all->scores[all->count - 1] : &none;
	all->scores[all->count++] = (struct run_score){
		.suite = keep_again(all, before->suite, score->suite),
		.item = keep(all, score->item),
		.model = keep_again(all, before->model, score->model),
		.cluster = keep_again(all, before->cluster, score->cluster),
		.opponent = keep_again(all, before->opponent, score->opponent),
		.judge = keep_again(all, before->judge, score->judge),
		.scorer = keep_again(all, before->scorer, score->scorer),
		.sample = score->sample,
		.failed = score->failed,
		.score = score->score,
	};
	run->count++;
	bool known = know_model(run, score->model) &&
		     (!score->opponent || know_model(run, score->opponent));
	return all->texts.failed || !known ? no_memory(err) : ERR_OK;
}

/* ---- bundles ---- */

static const struct plan_suite *find_suite(const struct loaded *run, const char *name)
{
	for (unsigned i = 0; run->plan && i < run->plan->suite_count; i++)
		if (strcmp(run->plan->suites[i].name, name) == 0)
			return &run->plan->suites[i];
	return NULL;
}

/* Decoys count in no comparison. */
static bool is_decoy(const struct loaded *run, const char *suite)
{
	const struct plan_suite *planned = find_suite(run, suite);
	return planned && planned->decoys;
}

static enum err_code read_scores(struct comparing *all, const char *path, struct err *err)
{
	struct jsonl lines;
	struct jsonl_line line = {0};
	bool more = true;
	enum err_code code = jsonl_open(&lines, all->env, path, path, RUN_LINE_MAX, err);
	while (code == ERR_OK && more) {
		struct run_score score;
		code = jsonl_next(&lines, &line, &more, err);
		if (code == ERR_OK && more)
			code = run_score_decode(line.tree, line.where, &score, err);
		if (code == ERR_OK && more &&
		    !is_decoy(&all->runs[all->run_count - 1], score.suite))
			code = add_score(all, &score, err);
		json_decref(line.tree);
		line.tree = NULL;
	}
	jsonl_close(&lines);
	return code;
}

static enum err_code read_plan(struct comparing *all, struct loaded *run, struct err *err)
{
	const char *path = arena_printf(&all->texts, "%s/" BUNDLE_PLAN, run->directory);
	const char *suites = arena_printf(&all->texts, "%s/" BUNDLE_SUITES, run->directory);
	struct buf text = BUF_INIT(PLAN_MAX);
	run->plan = calloc(1, sizeof(*run->plan));
	if (!run->plan || !path || !suites)
		return no_memory(err);
	plan_init(run->plan);
	enum err_code code = env_read_file(all->env, path, &text, err);
	if (code == ERR_OK)
		code = plan_decode(run->plan, buf_bytes(&text), path, suites, err);
	buf_release(&text);
	return code;
}

static enum err_code load_bundle(struct comparing *all, struct loaded *run, struct err *err)
{
	const char *path = arena_printf(&all->texts, "%s/" BUNDLE_SCORES, run->directory);
	run->kind = "bundle";
	ERR_TRY(read_plan(all, run, err));
	return path ? read_scores(all, path, err) : no_memory(err);
}

static bool holds_scores(struct comparing *all, const char *directory)
{
	const char *path = arena_printf(&all->texts, "%s/" BUNDLE_SCORES, directory);
	struct env_file *file;
	if (!path || env_file_open(all->env, path, ENV_OPEN_READ, &file, NULL) != ERR_OK)
		return false;
	env_file_close(file);
	return true;
}

/* ---- other harnesses ---- */

static void take_figure(void *argument, const struct harness_figure *figure,
			const struct harness_scores *scores)
{
	struct comparing *all = argument;
	char suite[600];
	snprintf(suite, sizeof(suite), "%.300s%s%.200s", figure->suite, *figure->suite ? " " : "",
		 figure->metric);
	for (size_t i = 0; i < scores->count && all->failure.code == ERR_OK; i++) {
		const struct harness_score *row = &scores->rows[i];
		struct run_score score = {.suite = suite,
					  .item = row->item,
					  .model = figure->model && *figure->model ? figure->model
										   : "model",
					  .cluster = row->cluster,
					  .scorer = "other",
					  .sample = (unsigned)i,
					  .score = row->value};
		add_score(all, &score, &all->failure);
	}
}

static enum err_code load_other(struct comparing *all, struct loaded *run, struct err *err)
{
	struct verify_options options = {.take = take_figure, .taker = all};
	struct verify_report report;
	enum err_code code = verify_path(all->env, run->path, &options, &report, err);
	run->kind = "log";
	if (code == ERR_OK && all->failure.code != ERR_OK) {
		*err = all->failure;
		code = err->code;
	}
	if (code == ERR_OK && run->count == 0)
		code = ERR_SET(err, ERR_USAGE,
			       "%s holds no scores: give the directories of runs, bundles, or logs "
			       "of Inspect, lm-eval, promptfoo or AlpacaEval",
			       run->path);
	if (code == ERR_OK && report.verdict == VERIFY_FALSE)
		note(all, "%s: %.600s", run->path, report.headline);
	verify_report_release(&report);
	return code;
}

static enum err_code load(struct comparing *all, const char *path, struct err *err)
{
	const char *inner = arena_printf(&all->texts, "%s/bundle", path);
	struct loaded *run = &all->runs[all->run_count++];
	*run = (struct loaded){.path = path, .models = json_array(), .first = all->count};
	if (!run->models || !inner)
		return no_memory(err);
	if (holds_scores(all, inner))
		run->directory = inner;
	else if (holds_scores(all, path))
		run->directory = path;
	return run->directory ? load_bundle(all, run, err) : load_other(all, run, err);
}

/* ---- which items are the same ---- */

/* Whether two runs have another suite of this name. */
static bool differs(const struct comparing *all, const char *name)
{
	const struct plan_suite *first = NULL;
	for (size_t i = 0; i < all->run_count; i++) {
		const struct plan_suite *suite = find_suite(&all->runs[i], name);
		if (suite && first && memcmp(suite->root, first->root, SHA256_SIZE) != 0)
			return true;
		first = first ? first : suite;
	}
	return false;
}

/* Items are called by the digest of their words from here on. */
static enum err_code rename_items(struct comparing *all, struct loaded *run,
				  const struct plan_suite *planned, struct err *err)
{
	struct suite *suite;
	ERR_TRY(suite_load(all->env, planned->directory, &suite, err));
	enum err_code code = ERR_OK;
	const char **names = calloc(suite_count(suite) + 1, sizeof(*names));
	for (size_t i = 0; names && code == ERR_OK && i < suite_count(suite); i++) {
		struct suite_item item;
		uint8_t digest[SHA256_SIZE];
		char hex[2 * SHA256_SIZE + 1];
		code = suite_item_render(suite, i, &item, err);
		if (code != ERR_OK)
			break;
		leaf_words_digest(buf_bytes(&item.text), digest);
		hex_encode(digest, SHA256_SIZE, hex);
		names[i] = keep(all, hex);
		suite_item_release(&item);
	}
	for (size_t i = 0; names && code == ERR_OK && i < run->count; i++) {
		struct run_score *score = &all->scores[run->first + i];
		size_t place;
		if (strcmp(score->suite, planned->name) == 0 &&
		    suite_find(suite, bytes_from(score->item), &place) && names[place])
			score->item = names[place];
	}
	if (!names)
		code = no_memory(err);
	free(names);
	suite_free(suite);
	return code;
}

static enum err_code match_items(struct comparing *all, struct err *err)
{
	for (size_t i = 0; i < all->run_count; i++) {
		struct loaded *run = &all->runs[i];
		for (unsigned k = 0; run->plan && k < run->plan->suite_count; k++) {
			const struct plan_suite *suite = &run->plan->suites[k];
			struct err inner = ERR_INIT;
			if (!differs(all, suite->name))
				continue;
			enum err_code code = rename_items(all, run, suite, &inner);
			if (code == ERR_NO_MEMORY)
				return no_memory(err);
			note(all,
			     code == ERR_OK
				     ? "suite %s of %s is another version than elsewhere: items "
				       "are the same where their words are"
				     : "suite %s of %s is another version than elsewhere and not "
				       "in the bundle: its items are matched with no others",
			     suite->name, run->path);
		}
	}
	return ERR_OK;
}

/* ---- which models are the same ---- */

static bool stands_elsewhere(const struct comparing *all, size_t own, const char *model)
{
	for (size_t i = 0; i < all->run_count; i++) {
		const json_t *name;
		size_t k;
		if (i == own)
			continue;
		json_array_foreach(all->runs[i].models, k, name)
		{
			if (strcmp(json_string_value(name), model) == 0)
				return true;
		}
	}
	return false;
}

static enum err_code rename_models(struct comparing *all, struct err *err)
{
	for (size_t i = 0; i < all->run_count; i++) {
		const struct loaded *run = &all->runs[i];
		const json_t *name;
		size_t k;
		json_array_foreach(run->models, k, name)
		{
			const char *model = json_string_value(name), *label;
			if (!stands_elsewhere(all, i, model))
				continue;
			label = arena_printf(&all->texts, "%s @ %s", model, run->path);
			if (!label)
				return no_memory(err);
			for (size_t row = 0; row < run->count; row++) {
				struct run_score *score = &all->scores[run->first + row];
				if (strcmp(score->model, model) == 0)
					score->model = label;
				if (score->opponent && strcmp(score->opponent, model) == 0)
					score->opponent = label;
			}
		}
	}
	return ERR_OK;
}

/* ---- what comes of it ---- */

static json_t *contestants(const struct loaded *run)
{
	json_t *names = json_array();
	const json_t *name;
	size_t i;
	json_array_foreach(run->models, i, name)
	{
		if (!run_is_control(json_string_value(name)))
			json_array_append_new(names, json_string(json_string_value(name)));
	}
	return names;
}

static json_t *describe_runs(const struct comparing *all)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i < all->run_count; i++) {
		const struct loaded *run = &all->runs[i];
		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:I}", "path", run->path,
						      "kind", run->kind, "models", contestants(run),
						      "scores", (json_int_t)run->count));
	}
	return list;
}

static void release(struct comparing *all)
{
	for (size_t i = 0; i < all->run_count; i++) {
		json_decref(all->runs[i].models);
		if (all->runs[i].plan)
			plan_release(all->runs[i].plan);
		free(all->runs[i].plan);
	}
	free(all->scores);
	json_decref(all->notes);
	arena_release(&all->texts);
	free(all);
}

static enum err_code load_all(struct env *env, const char *const *paths, size_t count,
			      struct comparing **out, struct err *err)
{
	struct comparing *all = calloc(1, sizeof(*all));
	*out = all;
	if (!all || !(all->notes = json_array()))
		return no_memory(err);
	all->env = env;
	arena_init(&all->texts, 64 * 1024, TEXTS_MAX);
	if (count > COMPARING_RUNS_MAX)
		return ERR_SET(err, ERR_USAGE, "more than %u runs", COMPARING_RUNS_MAX);
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < i; k++)
			if (strcmp(paths[i], paths[k]) == 0)
				return ERR_SET(err, ERR_USAGE, "%s is named twice", paths[i]);
		ERR_TRY(load(all, paths[i], err));
	}
	ERR_TRY(match_items(all, err));
	return rename_models(all, err);
}

static bool is_compared(const struct comparing *all, const struct loaded *run,
			const struct comparisons *found)
{
	for (size_t i = 0; i < run->count; i++) {
		const struct run_score *score = &all->scores[run->first + i];
		for (size_t k = 0; k < found->count; k++) {
			const struct compared *pair = &found->items[k];
			if (strcmp(pair->suite, score->suite) == 0 &&
			    (strcmp(pair->a, score->model) == 0 ||
			     strcmp(pair->b, score->model) == 0))
				return true;
		}
	}
	return false;
}

static void note_left_out(struct comparing *all, const struct comparisons *found)
{
	for (size_t i = 0; i < all->run_count; i++) {
		const struct loaded *run = &all->runs[i];
		if (run->count > 0 && !is_compared(all, run, found))
			note(all,
			     "%s was compared with nothing: no other has its \"%.200s\" (a run and "
			     "another harness's log name their items differently)",
			     run->path, all->scores[run->first].suite);
	}
}

static enum err_code none_to_compare(const struct comparing *all, struct err *err)
{
	const char *first = all->count ? all->scores[0].suite : "none";
	const char *other = first;
	for (size_t i = 0; i < all->count; i++)
		if (strcmp(all->scores[i].suite, first) != 0)
			other = all->scores[i].suite;
	return ERR_SET(
		err, ERR_USAGE,
		"there is nothing to compare: no suite has two models (suites: %.80s%s%.80s)",
		first, other != first ? ", " : "", other != first ? other : "");
}

enum err_code comparing_run(struct env *env, const char *const *paths, size_t count, json_t **out,
			    struct err *err)
{
	struct comparing *all;
	struct comparisons found = {0};
	*out = NULL;
	enum err_code code = load_all(env, paths, count, &all, err);
	if (code == ERR_OK)
		code = compare_scores(all->scores, all->count, &found, err);
	if (code == ERR_OK && found.count == 0)
		code = none_to_compare(all, err);
	if (code == ERR_OK) {
		note_left_out(all, &found);
		*out = json_pack("{s:o, s:O, s:o, s:o}", "runs", describe_runs(all), "notes",
				 all->notes, "comparisons", comparisons_encode(&found), "ranks",
				 comparisons_ranks(&found));
		code = *out ? ERR_OK : no_memory(err);
	}
	comparisons_release(&found);
	if (all)
		release(all);
	return code;
}

enum err_code comparing_variances(struct env *env, const char *path, json_t **out, struct err *err)
{
	struct comparing *all;
	struct comparisons found = {0};
	*out = NULL;
	enum err_code code = load_all(env, &path, 1, &all, err);
	if (code == ERR_OK)
		code = compare_scores(all->scores, all->count, &found, err);
	if (code == ERR_OK && found.count == 0)
		code = none_to_compare(all, err);
	json_t *list = code == ERR_OK ? json_array() : NULL;
	for (size_t i = 0; list && i < found.count; i++) {
		const struct compared *pair = &found.items[i];
		size_t items = pair->items ? pair->items : pair->items_a;
		double samples = items ? (double)pair->samples_a / (double)items : 1;
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s, s:b, s:I, s:f, s:f, s:f, s:f}",
						"suite", pair->suite, "a", pair->a, "b", pair->b,
						"paired", (int)(pair->way != COMPARE_UNPAIRED),
						"items", (json_int_t)pair->items_a, "variance",
						pair->variance, "within_a", pair->within_a,
						"within_b", pair->within_b, "samples", samples));
	}
	*out = list;
	if (code == ERR_OK && !list)
		code = no_memory(err);
	comparisons_release(&found);
	if (all)
		release(all);
	return code;
}
