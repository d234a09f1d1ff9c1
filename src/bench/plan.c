#include "bench/plan.h"

#include "base/encode.h"
#include "base/json.h"
#include "base/yaml.h"
#include "grade/run_records.h"
#include "proto/url.h"

#include <stdio.h>
#include <stdlib.h>

#define PLAN_TEXT_MAX ((size_t)1 << 20)
#define NAME_MAX_BYTES 128

void plan_init(struct plan *plan)
{
	*plan = (struct plan){.concurrency = PLAN_CONCURRENCY_DEFAULT,
			      .control_items = PLAN_CONTROL_ITEMS_DEFAULT,
			      .timeout_seconds = PLAN_TIMEOUT_DEFAULT};
	arena_init(&plan->arena, 4096, (size_t)4 << 20);
}

void plan_release(struct plan *plan)
{
	arena_release(&plan->arena);
}

static const char *keep(struct plan *plan, struct bytes text)
{
	return arena_copy(&plan->arena, text);
}

static enum err_code kept_all(const struct plan *plan, struct err *err)
{
	return plan->arena.failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory reading the plan")
				  : ERR_OK;
}

/* ---- models ---- */

static const char plan_control_file[] = "(built in)";

static struct plan_model *find_model(struct plan *plan, struct bytes name)
{
	for (unsigned i = 0; i < plan->model_count; i++)
		if (bytes_is(name, plan->models[i].name))
			return &plan->models[i];
	return NULL;
}

/* Names stand in files, tables and request bodies. */
static bool is_model_name(struct bytes name)
{
	if (name.size == 0 || name.size > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < name.size; i++) {
		char c = name.data[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!letter && !(c >= '0' && c <= '9') && (c == '\0' || !strchr("._:/@-", c)))
			return false;
	}
	return true;
}

static enum err_code check_model(const struct plan *plan, const struct plan_model *model,
				 struct err *err)
{
	struct url url;
	if (plan->model_count >= PLAN_MODELS_MAX)
		return ERR_SET(err, ERR_USAGE, "more than %u models", PLAN_MODELS_MAX);
	if (!is_model_name(bytes_from(model->name)))
		return ERR_SET(
			err, ERR_USAGE,
			"model name \"%s\": letters, digits and . _ : / @ - only, at most %d",
			model->name, NAME_MAX_BYTES);
	if (run_is_control(model->name) && model->replay != plan_control_file)
		return ERR_SET(err, ERR_USAGE,
			       "model name \"%s\": " RUN_CONTROL_PREFIX
			       " begins the names of controls, which a run has of itself",
			       model->name);
	for (unsigned i = 0; i < plan->model_count; i++)
		if (strcmp(plan->models[i].name, model->name) == 0)
			return ERR_SET(err, ERR_USAGE, "two models are named \"%s\"", model->name);
	if (model->replay)
		return ERR_OK;
	ERR_TRY(url_parse(bytes_from(model->url), &url, err));
	if (url.query.size > 0)
		return ERR_SET(err, ERR_USAGE, "%s: a base URL has no query", model->url);
	return ERR_OK;
}

static enum err_code insert_model(struct plan *plan, const struct plan_model *model,
				  struct err *err)
{
	ERR_TRY(kept_all(plan, err));
	ERR_TRY(check_model(plan, model, err));
	plan->models[plan->model_count++] = *model;
	return ERR_OK;
}

const char plan_control_answer[] = "I have read the request with care and this is my answer to it.";

enum err_code plan_add_control(struct plan *plan, struct err *err)
{
	const struct plan_model model = {.name = PLAN_CONTROL_NAME,
					 .replay = plan_control_file,
					 .roles = PLAN_CONTROL,
					 .items = plan->control_items};
	return insert_model(plan, &model, err);
}

enum err_code plan_read_controls(const char *text, unsigned *items, struct err *err)
{
	uint64_t number;
	bool all = strcmp(text, "all") == 0, none = strcmp(text, "none") == 0;
	bool counted = bytes_to_u64(bytes_from(text), PLAN_CONTROL_ITEMS_ALL - 1, &number);
	if (!all && !none && (!counted || number == 0))
		return ERR_SET(err, ERR_USAGE,
			       "controls \"%.60s\": write none, all, or on how many items of a "
			       "suite judges see the null model (%u)",
			       text, PLAN_CONTROL_ITEMS_DEFAULT);
	*items = all ? PLAN_CONTROL_ITEMS_ALL : none ? 0 : (unsigned)number;
	return ERR_OK;
}

static enum err_code read_dialect(struct bytes name, enum dialect_id *out, struct err *err)
{
	*out = dialect_from_name(name);
	if (*out != DIALECT_NONE)
		return ERR_OK;
	return ERR_SET(err, ERR_USAGE,
		       "unknown dialect \"%.*s\"; there are anthropic, openai, responses, gemini, "
		       "mistral and "
		       "xai, or replay@FILE",
		       BYTES_ARG(name));
}

enum err_code plan_add_model(struct plan *plan, const char *text, enum plan_role role,
			     struct err *err)
{
	struct bytes rest, url, name = bytes_split(bytes_from(text), '=', &rest);
	struct plan_model model = {.roles = role};
	struct plan_model *known = find_model(plan, name);
	if (!rest.data && known && role != PLAN_CONTESTANT) {
		known->roles |= role;
		return ERR_OK;
	}
	struct bytes dialect = bytes_split(rest, '@', &url);
	if (!rest.data || !url.data || url.size == 0)
		return ERR_SET(
			err, ERR_USAGE,
			"model \"%s\": write NAME=DIALECT@URL#VARIABLE or NAME=replay@FILE%s", text,
			role == PLAN_CONTESTANT ? "" : ", or the name of a --model");
	model.name = keep(plan, name);
	if (bytes_is(dialect, "replay")) {
		model.replay = keep(plan, url);
		return insert_model(plan, &model, err);
	}
	ERR_TRY(read_dialect(dialect, &model.dialect, err));
	struct bytes variable, address = bytes_split(url, '#', &variable);
	model.url = keep(plan, address);
	struct bytes file;
	variable = bytes_split(variable, '#', &file);
	if (variable.size > 0)
		model.key_env = keep(plan, variable);
	if (file.size > 0)
		model.signing_key = keep(plan, file);
	return insert_model(plan, &model, err);
}

enum err_code plan_key(const struct plan_model *model, const char **key, struct err *err)
{
	*key = NULL;
	if (!model->key_env)
		return ERR_OK;
	*key = getenv(model->key_env);
	if (!*key || !**key)
		return ERR_SET(
			err, ERR_INVALID,
			"the environment variable %s is not set; it must hold the key for model "
			"%s",
			model->key_env, model->name);
	for (const char *c = *key; *c; c++)
		if (*c <= ' ' || *c > '~')
			return ERR_SET(
				err, ERR_INVALID,
				"the environment variable %s holds a space or a control character; "
				"a key has none",
				model->key_env);
	return ERR_OK;
}

/* ---- suites ---- */

static bool has_suite(struct plan *plan, struct env *env, const char *directory)
{
	const char *path = arena_printf(&plan->arena, "%s/suite.yaml", directory);
	return path && env_file_exists(env, path);
}

static enum err_code add_suite(struct plan *plan, struct env *env, const char *text,
			       const char *const *suite_paths, struct err *err)
{
	static const char *const usual[] = {"suites", NULL};
	const char *directory = has_suite(plan, env, text) ? text : NULL;
	if (plan->suite_count >= PLAN_SUITES_MAX)
		return ERR_SET(err, ERR_USAGE, "more than %u suites", PLAN_SUITES_MAX);
	if (!strchr(text, '/'))
		for (const char *const *path = suite_paths ? suite_paths : usual;
		     *path && !directory; path++) {
			const char *candidate = arena_printf(&plan->arena, "%s/%s", *path, text);
			if (candidate && has_suite(plan, env, candidate))
				directory = candidate;
		}
	if (!directory)
		return ERR_SET(
			err, ERR_USAGE,
			"there is no suite \"%s\": neither a folder with suite.yaml nor the name "
			"of one",
			text);
	plan->suites[plan->suite_count++].directory = keep(plan, bytes_from(directory));
	return kept_all(plan, err);
}

/* ---- plan.yaml ---- */

static enum err_code at_element(const struct yaml_tree *tree, const json_t *list, size_t index,
				struct err *err)
{
	struct err inner = *err;
	return yaml_fail_at(tree, list, index, err, inner.code, "%s", inner.message);
}

static enum err_code parse_suites(struct plan *plan, struct env *env, const struct yaml_tree *tree,
				  const char *const *suite_paths, struct err *err)
{
	json_t *list;
	ERR_TRY(yaml_get_strings(tree, yaml_root(tree), "suites", false, &list, err));
	for (size_t i = 0; i < json_array_size(list); i++)
		if (add_suite(plan, env, json_string_value(json_array_get(list, i)), suite_paths,
			      err) != ERR_OK)
			return at_element(tree, list, i, err);
	return ERR_OK;
}

static enum err_code parse_price(const struct yaml_tree *tree, const json_t *model,
				 struct plan_price *price, struct err *err)
{
	static const char *const keys[] = {"input", "output", "cache_read", "cache_write", NULL};
	double *const fields[] = {&price->input, &price->output, &price->cache_read,
				  &price->cache_write};
	json_t *object;
	ERR_TRY(yaml_get_container(tree, model, "price", JSON_OBJECT, true, &object, err));
	if (!object)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(tree, object, keys, err));
	for (unsigned i = 0; keys[i]; i++)
		ERR_TRY(yaml_get_number_or(tree, object, keys[i], 0, 1e6, 0, fields[i], err));
	return ERR_OK;
}

/* A model written as an object {name, dialect, url, key_env, replay, price}. */
static enum err_code parse_model_object(struct plan *plan, const struct yaml_tree *tree,
					json_t *object, enum plan_role role, struct err *err)
{
	static const char *const keys[] = {"name",        "dialect", "url",   "key_env",
					   "signing_key", "replay",  "price", NULL};
	const char *name, *dialect, *url, *key_env, *signing_key, *replay;
	struct plan_model model = {.roles = role};
	ERR_TRY(yaml_only_keys(tree, object, keys, err));
	ERR_TRY(yaml_get_string(tree, object, "name", &name, err));
	ERR_TRY(yaml_get_string_or(tree, object, "replay", NULL, &replay, err));
	ERR_TRY(yaml_get_string_or(tree, object, "key_env", NULL, &key_env, err));
	ERR_TRY(yaml_get_string_or(tree, object, "signing_key", NULL, &signing_key, err));
	ERR_TRY(parse_price(tree, object, &model.price, err));
	if (!replay) {
		ERR_TRY(yaml_get_string(tree, object, "dialect", &dialect, err));
		ERR_TRY(yaml_get_string(tree, object, "url", &url, err));
		if (read_dialect(bytes_from(dialect), &model.dialect, err) != ERR_OK) {
			struct err inner = *err;
			return yaml_fail(tree, object, "dialect", err, ERR_INVALID, "%s",
					 inner.message);
		}
		model.url = keep(plan, bytes_from(url));
	}
	model.name = keep(plan, bytes_from(name));
	model.replay = replay ? keep(plan, bytes_from(replay)) : NULL;
	model.key_env = key_env ? keep(plan, bytes_from(key_env)) : NULL;
	model.signing_key = signing_key ? keep(plan, bytes_from(signing_key)) : NULL;
	if (insert_model(plan, &model, err) != ERR_OK) {
		struct err inner = *err;
		return yaml_fail(tree, object, NULL, err, ERR_INVALID, "%s", inner.message);
	}
	return ERR_OK;
}

static enum err_code parse_models(struct plan *plan, const struct yaml_tree *tree, const char *key,
				  enum plan_role role, struct err *err)
{
	json_t *list;
	bool optional = role != PLAN_CONTESTANT;
	ERR_TRY(yaml_get_container(tree, yaml_root(tree), key, JSON_ARRAY, optional, &list, err));
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *element = json_array_get(list, i);
		if (json_is_object(element))
			ERR_TRY(parse_model_object(plan, tree, element, role, err));
		else if (!json_is_string(element))
			return yaml_fail_at(tree, list, i, err, ERR_INVALID,
					    "must be a model {name, dialect, url, key_env}");
		else if (plan_add_model(plan, json_string_value(element), role, err) != ERR_OK)
			return at_element(tree, list, i, err);
	}
	return ERR_OK;
}

static enum err_code parse_baseline(struct plan *plan, const struct yaml_tree *tree,
				    struct err *err)
{
	json_t *baseline = json_object_get(yaml_root(tree), "baseline");
	const char *text;
	if (json_is_object(baseline))
		return parse_model_object(plan, tree, baseline, PLAN_BASELINE, err);
	ERR_TRY(yaml_get_string_or(tree, yaml_root(tree), "baseline", NULL, &text, err));
	if (!text || plan_add_model(plan, text, PLAN_BASELINE, err) == ERR_OK)
		return ERR_OK;
	struct err inner = *err;
	return yaml_fail(tree, yaml_root(tree), "baseline", err, ERR_INVALID, "%s", inner.message);
}

static enum err_code parse_same(struct plan *plan, const struct yaml_tree *tree, struct err *err)
{
	json_t *list;
	ERR_TRY(yaml_get_strings(tree, yaml_root(tree), "same", true, &list, err));
	for (size_t i = 0; i < json_array_size(list); i++)
		if (plan_add_same(plan, json_string_value(json_array_get(list, i)), err) != ERR_OK)
			return at_element(tree, list, i, err);
	return ERR_OK;
}

static enum err_code add_decoys(struct plan *plan, struct env *env, const char *suite,
				unsigned take, const char *const *suite_paths, struct err *err)
{
	ERR_TRY(add_suite(plan, env, suite, suite_paths, err));
	plan->suites[plan->suite_count - 1].decoys = true;
	plan->suites[plan->suite_count - 1].take = take;
	return ERR_OK;
}

static enum err_code parse_decoys(struct plan *plan, struct env *env, const struct yaml_tree *tree,
				  const char *const *suite_paths, struct err *err)
{
	static const char *const keys[] = {"suite", "count", NULL};
	json_t *decoys;
	const char *suite;
	int64_t count;
	ERR_TRY(yaml_get_container(tree, yaml_root(tree), "decoys", JSON_OBJECT, true, &decoys,
				   err));
	if (!decoys)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(tree, decoys, keys, err));
	ERR_TRY(yaml_get_string(tree, decoys, "suite", &suite, err));
	ERR_TRY(yaml_get_integer_or(tree, decoys, "count", 1, LEAF_COUNT_MAX, 0, &count, err));
	if (add_decoys(plan, env, suite, (unsigned)count, suite_paths, err) == ERR_OK)
		return ERR_OK;
	struct err inner = *err;
	return yaml_fail(tree, decoys, "suite", err, inner.code, "%s", inner.message);
}

static enum err_code parse_budget(struct plan *plan, const struct yaml_tree *tree, struct err *err)
{
	static const char *const keys[] = {"usd", "tokens", NULL};
	json_t *budget;
	int64_t tokens;
	ERR_TRY(yaml_get_container(tree, yaml_root(tree), "budget", JSON_OBJECT, true, &budget,
				   err));
	if (!budget)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(tree, budget, keys, err));
	ERR_TRY(yaml_get_integer_or(tree, budget, "tokens", 1, 1000000000000000, 0, &tokens, err));
	plan->budget_tokens = (uint64_t)tokens;
	return yaml_get_number_or(tree, budget, "usd", 0, 1e9, 0, &plan->budget_usd, err);
}

/* `controls: none | all | N`. */
static enum err_code parse_controls(struct plan *plan, const struct yaml_tree *tree,
				    struct err *err)
{
	const json_t *root = yaml_root(tree), *value = json_object_get(root, "controls");
	const char *text = json_string_value(value);
	char number[32];
	struct err inner = ERR_INIT;
	if (!value)
		return ERR_OK;
	if (json_is_integer(value)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		text = number;
	}
	return plan_read_controls(text ? text : "", &plan->control_items, &inner) == ERR_OK
		       ? ERR_OK
		       : yaml_fail(tree, root, "controls", err, ERR_INVALID, "%s", inner.message);
}

static enum err_code add_tag(struct plan *plan, const char *tag, struct err *err)
{
	if (plan->tag_count == PLAN_TAGS_MAX)
		return ERR_SET(err, ERR_USAGE, "more than %u tags", PLAN_TAGS_MAX);
	plan->tags[plan->tag_count++] = keep(plan, bytes_from(tag));
	return kept_all(plan, err);
}

static enum err_code parse_tags(struct plan *plan, const struct yaml_tree *tree, struct err *err)
{
	json_t *list;
	ERR_TRY(yaml_get_strings(tree, yaml_root(tree), "tags", true, &list, err));
	for (size_t i = 0; i < json_array_size(list); i++)
		if (add_tag(plan, json_string_value(json_array_get(list, i)), err) != ERR_OK)
			return at_element(tree, list, i, err);
	return ERR_OK;
}

static enum err_code parse_numbers(struct plan *plan, const struct yaml_tree *tree, struct err *err)
{
	const json_t *root = yaml_root(tree);
	int64_t concurrency, samples, timeout;
	const char *anchors;
	ERR_TRY(yaml_get_integer_or(tree, root, "concurrency", 1, PLAN_CONCURRENCY_MAX,
				    PLAN_CONCURRENCY_DEFAULT, &concurrency, err));
	ERR_TRY(yaml_get_integer_or(tree, root, "samples", 1, SUITE_SAMPLES_MAX, 0, &samples, err));
	ERR_TRY(yaml_get_integer_or(tree, root, "timeout_seconds", 1, PLAN_TIMEOUT_MAX,
				    PLAN_TIMEOUT_DEFAULT, &timeout, err));
	ERR_TRY(yaml_get_bool_or(tree, root, "self_judging", false, &plan->self_judging, err));
	ERR_TRY(yaml_get_bool_or(tree, root, "sealed", false, &plan->sealed, err));
	ERR_TRY(yaml_get_number_or(tree, root, "blind", 0, 1, 0, &plan->blind, err));
	plan->concurrency = (unsigned)concurrency;
	plan->samples = (unsigned)samples;
	plan->timeout_seconds = (unsigned)timeout;
	ERR_TRY(yaml_get_string_or(tree, root, "anchors", NULL, &anchors, err));
	plan->anchors = anchors ? keep(plan, bytes_from(anchors)) : NULL;
	return parse_controls(plan, tree, err);
}

static enum err_code parse_tree(struct plan *plan, struct env *env, const struct yaml_tree *tree,
				const char *const *suite_paths, struct err *err)
{
	static const char *const keys[] = {
		"suites",  "models",          "judges",       "baseline", "budget",   "concurrency",
		"samples", "timeout_seconds", "self_judging", "sealed",   "controls", "same",
		"decoys",  "anchors",         "tags",         "blind",    NULL};
	ERR_TRY(yaml_only_keys(tree, yaml_root(tree), keys, err));
	ERR_TRY(parse_suites(plan, env, tree, suite_paths, err));
	ERR_TRY(parse_decoys(plan, env, tree, suite_paths, err));
	ERR_TRY(parse_models(plan, tree, "models", PLAN_CONTESTANT, err));
	ERR_TRY(parse_models(plan, tree, "judges", PLAN_JUDGE, err));
	ERR_TRY(parse_baseline(plan, tree, err));
	ERR_TRY(parse_same(plan, tree, err));
	ERR_TRY(parse_budget(plan, tree, err));
	ERR_TRY(parse_tags(plan, tree, err));
	return parse_numbers(plan, tree, err);
}

enum err_code plan_parse(struct plan *plan, struct env *env, struct bytes text, const char *file,
			 const char *const *suite_paths, struct err *err)
{
	struct yaml_tree *tree;
	ERR_TRY(yaml_parse(text, file, &tree, err));
	enum err_code code = parse_tree(plan, env, tree, suite_paths, err);
	yaml_tree_free(tree);
	return code;
}

/* ---- the command line ---- */

static enum err_code read_lists(struct plan *plan, struct env *env,
				const struct bench_options *options, struct err *err)
{
	for (const char *const *at = options->suites; at && *at; at++)
		ERR_TRY(add_suite(plan, env, *at, options->suite_paths, err));
	for (const char *const *at = options->models; at && *at; at++)
		ERR_TRY(plan_add_model(plan, *at, PLAN_CONTESTANT, err));
	for (const char *const *at = options->judges; at && *at; at++)
		ERR_TRY(plan_add_model(plan, *at, PLAN_JUDGE, err));
	if (options->baseline)
		ERR_TRY(plan_add_model(plan, options->baseline, PLAN_BASELINE, err));
	return options->decoys ? add_decoys(plan, env, options->decoys, options->decoy_count,
					    options->suite_paths, err)
			       : ERR_OK;
}

static enum err_code read_file(struct plan *plan, struct env *env,
			       const struct bench_options *options, struct err *err)
{
	struct buf text = BUF_INIT(PLAN_TEXT_MAX);
	enum err_code code = env_read_file(env, options->plan, &text, err);
	if (code == ERR_OK)
		code = plan_parse(plan, env, buf_bytes(&text), options->plan, options->suite_paths,
				  err);
	buf_release(&text);
	return code;
}

/* Requests of a sealed suite show their leaf, and another harness writes its own. */
static enum err_code check_blind(const struct plan *plan, struct err *err)
{
	if (!(plan->blind > 0))
		return ERR_OK;
	if (plan->sealed)
		return ERR_SET(
			err, ERR_USAGE,
			"a sealed suite's requests have to show their leaf: leave --sealed or "
			"--blind out");
	if (plan->proxy)
		return ERR_SET(err, ERR_USAGE,
			       "bench proxy asks what its command asks: no --blind");
	return plan->blind <= 1
		       ? ERR_OK
		       : ERR_SET(err, ERR_USAGE, "--blind is a share, above 0 and at most 1");
}

static enum err_code override(struct plan *plan, const struct bench_options *options,
			      struct err *err)
{
	if (options->concurrency > PLAN_CONCURRENCY_MAX)
		return ERR_SET(err, ERR_USAGE, "concurrency is at most %u", PLAN_CONCURRENCY_MAX);
	if (options->samples > SUITE_SAMPLES_MAX)
		return ERR_SET(err, ERR_USAGE, "samples is at most %d", SUITE_SAMPLES_MAX);
	if (options->timeout_seconds > PLAN_TIMEOUT_MAX)
		return ERR_SET(err, ERR_USAGE, "timeout is at most %u s", PLAN_TIMEOUT_MAX);
	if (options->concurrency)
		plan->concurrency = options->concurrency;
	plan->proxy = options->proxy != NULL;
	if (plan->proxy && !options->concurrency)
		plan->concurrency = PLAN_CONCURRENCY_PROXY;
	if (options->samples)
		plan->samples = options->samples;
	if (options->timeout_seconds)
		plan->timeout_seconds = options->timeout_seconds;
	if (options->budget_tokens)
		plan->budget_tokens = options->budget_tokens;
	if (options->budget_usd > 0)
		plan->budget_usd = options->budget_usd;
	for (const char *const *at = options->same; at && *at; at++)
		ERR_TRY(plan_add_same(plan, *at, err));
	ERR_TRY(plan_check_same(plan, err));
	if (options->tags && *options->tags)
		plan->tag_count = 0;
	for (const char *const *at = options->tags; at && *at; at++)
		ERR_TRY(add_tag(plan, *at, err));
	if (options->anchors)
		plan->anchors = options->anchors;
	if (options->controls)
		ERR_TRY(plan_read_controls(options->controls, &plan->control_items, err));
	if (options->decoy_count && !options->decoys)
		return ERR_SET(err, ERR_USAGE,
			       "--decoy-count says how many of --decoys SUITE are taken");
	plan->self_judging |= options->self_judging;
	plan->sealed |= options->sealed;
	if (options->blind > 0)
		plan->blind = options->blind;
	return check_blind(plan, err);
}

enum err_code plan_read(struct plan *plan, struct env *env, const struct bench_options *options,
			struct err *err)
{
	bool lists = (options->suites && *options->suites) || (options->models && *options->models);
	uint8_t id[16];
	if (options->plan && lists)
		return ERR_SET(err, ERR_USAGE, "give a plan file or --suite and --model, not both");
	ERR_TRY(options->plan ? read_file(plan, env, options, err)
			      : read_lists(plan, env, options, err));
	bool records = options->proxy && options->proxy->record;
	if (options->plan && options->decoys)
		return ERR_SET(
			err, ERR_USAGE,
			"with a plan file, decoys stand in it: decoys: { suite: …, count: … }");
	if (plan->suite_count == 0 && !records)
		return ERR_SET(err, ERR_USAGE, "no suite: add --suite NAME_OR_DIR");
	if (plan->model_count == 0 && !records)
		return ERR_SET(
			err, ERR_USAGE,
			"no model: add --model NAME=DIALECT@URL#VARIABLE or NAME=replay@FILE");
	ERR_TRY(override(plan, options, err));
	env_random(env, id, sizeof(id));
	hex_encode(id, sizeof(id), plan->id);
	return ERR_OK;
}

/* ---- what the suites ask for ---- */

static unsigned count_role(const struct plan *plan, enum plan_role role)
{
	unsigned count = 0;
	for (unsigned i = 0; i < plan->model_count; i++)
		count += (plan->models[i].roles & role) != 0;
	return count;
}

static bool has_price(const struct plan_price *price)
{
	return price->input > 0 || price->output > 0;
}

static enum err_code check_budget(const struct plan *plan, struct err *err)
{
	for (unsigned i = 0; plan->budget_usd > 0 && i < plan->model_count; i++)
		if (!plan->models[i].replay && !has_price(&plan->models[i].price))
			return ERR_SET(
				err, ERR_INVALID,
				"a budget in USD needs the price of every model; give model %s a "
				"price {input, output} in the plan",
				plan->models[i].name);
	return ERR_OK;
}

enum err_code plan_check(const struct plan *plan, bool judged, bool pairwise, struct err *err)
{
	unsigned contestants = count_role(plan, PLAN_CONTESTANT);
	ERR_TRY(check_budget(plan, err));
	if (contestants == 0)
		return ERR_SET(err, ERR_INVALID, "no model to test: add --model");
	if (!judged)
		return ERR_OK;
	if (count_role(plan, PLAN_JUDGE) == 0)
		return ERR_SET(err, ERR_INVALID,
			       "answers of a %s by a judge: add --judge "
			       "NAME=DIALECT@URL#VARIABLE",
			       pairwise ? "writing suite are compared"
					: "suite with such a scorer are rated");
	for (unsigned i = 0; i < plan->model_count; i++)
		if ((plan->models[i].roles & PLAN_JUDGE) && plan->models[i].roles != PLAN_JUDGE &&
		    !plan->self_judging)
			return ERR_SET(
				err, ERR_INVALID,
				"model %s would judge its own answers: name another --judge, or "
				"allow it with --allow-self-judging (the report then says so)",
				plan->models[i].name);
	if (!pairwise)
		return ERR_OK;
	bool opponent = contestants > 1;
	for (unsigned i = 0; i < plan->model_count; i++)
		opponent |= (plan->models[i].roles & (PLAN_BASELINE | PLAN_CONTESTANT)) ==
			    PLAN_BASELINE;
	if (!opponent)
		return ERR_SET(
			err, ERR_INVALID,
			"a writing suite compares two models: add a second --model, or --baseline "
			"NAME=replay@FILE with stored answers");
	return ERR_OK;
}
