/* plan.json: the plan as it is committed to and as `resume` reads it. */
#include "bench/plan.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/run_records.h"

#include <stdio.h>

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text)
		json_object_set_new(object, key, json_string(text));
}

static json_t *encode_model(const struct plan_model *model)
{
	static const char *const names[] = {"contestant", "judge", "baseline", "control"};
	const struct plan_price *price = &model->price;
	json_t *object = json_object(), *roles = json_array();
	for (unsigned i = 0; i < 4; i++)
		if (model->roles & (1u << i))
			json_array_append_new(roles, json_string(names[i]));
	set_text(object, "name", model->name);
	set_text(object, "url", model->url);
	set_text(object, "key_env", model->key_env);
	set_text(object, "signing_key", model->signing_key);
	set_text(object, "replay", model->replay);
	if (!model->replay)
		set_text(object, "dialect", dialect_name(model->dialect));
	if (price->input > 0 || price->output > 0)
		json_object_set_new(object, "price",
				    json_pack("{s:f, s:f, s:f, s:f}", "input", price->input,
					      "output", price->output, "cache_read",
					      price->cache_read, "cache_write",
					      price->cache_write));
	json_object_set_new(object, "roles", roles);
	if (model->roles & PLAN_CONTROL)
		json_object_set_new(object, "items", json_integer(model->items));
	return object;
}

static json_t *encode_suite(const struct plan_suite *suite)
{
	char hex[2 * SHA256_SIZE + 1];
	hex_encode(suite->root, SHA256_SIZE, hex);
	json_t *object = json_pack("{s:s, s:s, s:s}", "name", suite->name, "version",
				   suite->version, "root", hex);
	if (suite->has_program) {
		hex_encode(suite->program, SHA256_SIZE, hex);
		set_text(object, "program", hex);
	}
	if (suite->decoys)
		json_object_set_new(object, "decoys", json_true());
	if (suite->whole_items > 0) {
		hex_encode(suite->whole, SHA256_SIZE, hex);
		json_object_set_new(object, "part_of",
				    json_pack("{s:I, s:s}", "items", (json_int_t)suite->whole_items,
					      "root", hex));
	}
	return object;
}

static json_t *encode_suites(const struct plan *plan)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < plan->suite_count; i++)
		json_array_append_new(list, encode_suite(&plan->suites[i]));
	return list;
}

static json_t *encode_tags(const struct plan *plan)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < plan->tag_count; i++)
		json_array_append_new(list, json_string(plan->tags[i]));
	return list;
}

static json_t *encode_same(const struct plan *plan)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < plan->same_count; i++)
		json_array_append_new(list, json_pack("[s, s]", plan->models[plan->same[i].a].name,
						      plan->models[plan->same[i].b].name));
	return list;
}

enum err_code plan_encode(const struct plan *plan, struct buf *out, struct err *err)
{
	json_t *models = json_array();
	for (unsigned i = 0; i < plan->model_count; i++)
		json_array_append_new(models, encode_model(&plan->models[i]));
	json_t *root = json_pack(
		"{s:s, s:s, s:o, s:o, s:i, s:i, s:i, s:b, s:b, s:{s:I, s:f}}", "format",
		PLAN_FORMAT, "id", plan->id, "suites", encode_suites(plan), "models", models,
		"concurrency", (int)plan->concurrency, "samples", (int)plan->samples,
		"timeout_seconds", (int)plan->timeout_seconds, "self_judging",
		(int)plan->self_judging, "sealed", (int)plan->sealed, "budget", "tokens",
		(json_int_t)plan->budget_tokens, "usd", plan->budget_usd);
	if (!root)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory writing the plan");
	if (plan->proxy)
		json_object_set_new(root, "proxy", json_true());
	if (plan->blind > 0)
		json_object_set_new(root, "blind", json_real(plan->blind));
	if (plan->same_count)
		json_object_set_new(root, "same", encode_same(plan));
	if (plan->tag_count > 0)
		json_object_set_new(root, "tags", encode_tags(plan));
	if (*plan->anchors_digest)
		json_object_set_new(root, "anchors", json_string(plan->anchors_digest));
	enum err_code code = json_canonical(root, out, err);
	json_decref(root);
	return code;
}

/* ---- reading ---- */

static const char *keep(struct plan *plan, const char *text)
{
	return text ? arena_copy(&plan->arena, bytes_from(text)) : NULL;
}

static enum err_code decode_part(struct plan_suite *suite, const json_t *object, const char *what,
				 struct err *err)
{
	json_t *part;
	int64_t items;
	const char *root;
	ERR_TRY(json_get_container(object, "part_of", what, JSON_OBJECT, true, &part, err));
	if (!part)
		return ERR_OK;
	ERR_TRY(json_get_integer(part, "items", what, 1, INT32_MAX, &items, err));
	ERR_TRY(json_get_string(part, "root", what, &root, err));
	suite->whole_items = (size_t)items;
	return hex_decode(bytes_from(root), suite->whole, SHA256_SIZE)
		       ? ERR_OK
		       : ERR_SET(err, ERR_INVALID, "%s: a suite's root is malformed", what);
}

static enum err_code decode_tags(struct plan *plan, const json_t *root, const char *what,
				 struct err *err)
{
	json_t *list, *tag;
	size_t i;
	ERR_TRY(json_get_container(root, "tags", what, JSON_ARRAY, true, &list, err));
	json_array_foreach(list, i, tag)
	{
		if (!json_is_string(tag) || plan->tag_count == PLAN_TAGS_MAX)
			return ERR_SET(err, ERR_INVALID, "%s: tags are at most %u texts", what,
				       PLAN_TAGS_MAX);
		plan->tags[plan->tag_count++] = keep(plan, json_string_value(tag));
	}
	return ERR_OK;
}

static enum err_code decode_suite(struct plan *plan, const json_t *object, const char *what,
				  const char *suite_root, struct err *err)
{
	const char *name, *version, *root, *program;
	struct plan_suite *suite = &plan->suites[plan->suite_count];
	if (plan->suite_count >= PLAN_SUITES_MAX)
		return ERR_SET(err, ERR_INVALID, "%s: too many suites", what);
	ERR_TRY(json_get_string(object, "name", what, &name, err));
	ERR_TRY(json_get_string(object, "version", what, &version, err));
	ERR_TRY(json_get_string(object, "root", what, &root, err));
	ERR_TRY(json_get_string_or(object, "program", what, NULL, &program, err));
	suite->has_program = program != NULL;
	if (program && !hex_decode(bytes_from(program), suite->program, SHA256_SIZE))
		return ERR_SET(err, ERR_INVALID, "%s: program must have 64 hexadecimal digits",
			       what);
	ERR_TRY(json_get_bool_or(object, "decoys", what, false, &suite->decoys, err));
	ERR_TRY(decode_part(suite, object, what, err));
	/* Their scores stand behind all others. */
	if (plan->suite_count > 0 && suite[-1].decoys)
		return ERR_SET(err, ERR_INVALID, "%s: decoys are not the last suite", what);
	if (!hex_decode(bytes_from(root), suite->root, SHA256_SIZE) || strchr(name, '/') ||
	    name[0] == '.')
		return ERR_SET(err, ERR_INVALID, "%s: a suite's root or name is malformed", what);
	suite->name = keep(plan, name);
	suite->version = keep(plan, version);
	suite->directory = arena_printf(&plan->arena, "%s/%s", suite_root, name);
	suite->loaded = true;
	plan->suite_count++;
	return ERR_OK;
}

static unsigned decode_roles(const json_t *roles)
{
	unsigned bits = 0;
	for (size_t i = 0; i < json_array_size(roles); i++) {
		const char *role = json_string_value(json_array_get(roles, i));
		struct bytes name = bytes_from(role);
		bits |= bytes_is(name, "contestant") ? PLAN_CONTESTANT : 0u;
		bits |= bytes_is(name, "judge") ? PLAN_JUDGE : 0u;
		bits |= bytes_is(name, "baseline") ? PLAN_BASELINE : 0u;
		bits |= bytes_is(name, "control") ? PLAN_CONTROL : 0u;
	}
	return bits;
}

/* A control has the name and the role of one, and no other role. */
static enum err_code decode_control(struct plan_model *model, const json_t *object,
				    const char *what, struct err *err)
{
	int64_t items = 0;
	bool control = model->roles == PLAN_CONTROL;
	if (control != run_is_control(model->name) || (!control && (model->roles & PLAN_CONTROL)))
		return ERR_SET(err, ERR_INVALID, "%s: model %s: its name and its roles disagree",
			       what, model->name);
	if (control)
		ERR_TRY(json_get_integer(object, "items", what, 1, PLAN_CONTROL_ITEMS_ALL, &items,
					 err));
	model->items = (unsigned)items;
	return ERR_OK;
}

static enum err_code decode_model(struct plan *plan, const json_t *object, const char *what,
				  struct err *err)
{
	const char *name, *dialect, *url, *key_env, *signing_key, *replay;
	if (plan->model_count >= PLAN_MODELS_MAX)
		return ERR_SET(err, ERR_INVALID, "%s: too many models", what);
	struct plan_model *model = &plan->models[plan->model_count];
	ERR_TRY(json_get_string(object, "name", what, &name, err));
	ERR_TRY(json_get_string_or(object, "dialect", what, "", &dialect, err));
	ERR_TRY(json_get_string_or(object, "url", what, NULL, &url, err));
	ERR_TRY(json_get_string_or(object, "key_env", what, NULL, &key_env, err));
	ERR_TRY(json_get_string_or(object, "signing_key", what, NULL, &signing_key, err));
	ERR_TRY(json_get_string_or(object, "replay", what, NULL, &replay, err));
	const json_t *price = json_object_get(object, "price");
	*model = (struct plan_model){
		.name = keep(plan, name),
		.dialect = dialect_from_name(bytes_from(dialect)),
		.url = keep(plan, url),
		.key_env = keep(plan, key_env),
		.signing_key = keep(plan, signing_key),
		.replay = keep(plan, replay),
		.roles = decode_roles(json_object_get(object, "roles")),
		.price = {json_number(price, "input"), json_number(price, "output"),
			  json_number(price, "cache_read"), json_number(price, "cache_write")},
	};
	if (model->roles == 0 || (!replay && (!url || model->dialect == DIALECT_NONE)))
		return ERR_SET(err, ERR_INVALID, "%s: model %s is incomplete", what, name);
	ERR_TRY(decode_control(model, object, what, err));
	plan->model_count++;
	return ERR_OK;
}

static enum err_code decode_same(struct plan *plan, const json_t *list, const char *what,
				 struct err *err)
{
	char text[512];
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *pair = json_array_get(list, i);
		const char *a = json_string_value(json_array_get(pair, 0));
		const char *b = json_string_value(json_array_get(pair, 1));
		snprintf(text, sizeof(text), "%.200s=%.200s", a ? a : "", b ? b : "");
		if (plan_add_same(plan, text, err) != ERR_OK) {
			err->code = ERR_INVALID;
			return err_prefix(err, "%s: same[%zu]", what, i);
		}
	}
	return ERR_OK;
}

static enum err_code decode_numbers(struct plan *plan, const json_t *root, const char *what,
				    struct err *err)
{
	int64_t concurrency, samples, timeout, tokens;
	const char *id, *anchors;
	json_t *budget;
	ERR_TRY(json_get_string(root, "id", what, &id, err));
	ERR_TRY(json_get_integer(root, "concurrency", what, 1, PLAN_CONCURRENCY_MAX, &concurrency,
				 err));
	ERR_TRY(json_get_integer(root, "samples", what, 0, SUITE_SAMPLES_MAX, &samples, err));
	ERR_TRY(json_get_integer(root, "timeout_seconds", what, 1, PLAN_TIMEOUT_MAX, &timeout,
				 err));
	ERR_TRY(json_get_bool_or(root, "self_judging", what, false, &plan->self_judging, err));
	ERR_TRY(json_get_bool_or(root, "sealed", what, false, &plan->sealed, err));
	ERR_TRY(json_get_bool_or(root, "proxy", what, false, &plan->proxy, err));
	ERR_TRY(json_get_container(root, "budget", what, JSON_OBJECT, false, &budget, err));
	ERR_TRY(json_get_integer(budget, "tokens", what, 0, INT64_MAX, &tokens, err));
	ERR_TRY(json_get_string_or(root, "anchors", what, "", &anchors, err));
	if (*anchors && strlen(anchors) != 2 * SHA256_SIZE)
		return ERR_SET(err, ERR_INVALID, "%s: anchors is not 64 hex digits", what);
	snprintf(plan->anchors_digest, sizeof(plan->anchors_digest), "%s", anchors);
	if (strlen(id) != sizeof(plan->id) - 1)
		return ERR_SET(err, ERR_INVALID, "%s: id is not 32 hex digits", what);
	memcpy(plan->id, id, sizeof(plan->id));
	plan->concurrency = (unsigned)concurrency;
	plan->samples = (unsigned)samples;
	plan->timeout_seconds = (unsigned)timeout;
	plan->budget_tokens = (uint64_t)tokens;
	plan->budget_usd = json_number(budget, "usd");
	return ERR_OK;
}

static enum err_code decode_root(struct plan *plan, const json_t *root, const char *what,
				 const char *suite_root, struct err *err)
{
	const char *format;
	json_t *suites, *models, *same;
	ERR_TRY(json_get_string(root, "format", what, &format, err));
	if (strcmp(format, PLAN_FORMAT) != 0)
		return ERR_SET(err, ERR_UNSUPPORTED, "%s: format \"%s\" is not %s", what, format,
			       PLAN_FORMAT);
	ERR_TRY(json_get_container(root, "suites", what, JSON_ARRAY, false, &suites, err));
	ERR_TRY(decode_tags(plan, root, what, err));
	ERR_TRY(json_get_container(root, "models", what, JSON_ARRAY, false, &models, err));
	for (size_t i = 0; i < json_array_size(suites); i++)
		ERR_TRY(decode_suite(plan, json_array_get(suites, i), what, suite_root, err));
	for (size_t i = 0; i < json_array_size(models); i++)
		ERR_TRY(decode_model(plan, json_array_get(models, i), what, err));
	ERR_TRY(json_get_container(root, "same", what, JSON_ARRAY, true, &same, err));
	ERR_TRY(decode_same(plan, same, what, err));
	plan->blind = json_number(root, "blind");
	if (!(plan->blind >= 0 && plan->blind <= 1))
		return ERR_SET(err, ERR_INVALID, "%s: blind is no share", what);
	return decode_numbers(plan, root, what, err);
}

enum err_code plan_decode(struct plan *plan, struct bytes text, const char *what,
			  const char *suite_root, struct err *err)
{
	json_t *root;
	ERR_TRY(json_parse(text, what, &root, err));
	enum err_code code = decode_root(plan, root, what, suite_root, err);
	json_decref(root);
	if (code == ERR_OK && plan->arena.failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory reading %s", what);
	return code;
}
