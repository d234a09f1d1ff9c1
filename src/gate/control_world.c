#include "gate/control_links.h"

#include "base/encode.h"
#include "base/json_scan.h"

#include <stdlib.h>

#define HOUR_MS INT64_C(3600000)

/* What every step of building needs. */
struct building {
	struct control *control;
	const struct control_operation *operation;
	struct world_builder *builder;
	struct json_scan *scan; /* scratch */
	struct err *err;
};

/* ---- configuration ---- */

static enum err_code add_providers(struct building *building)
{
	const struct config *config = building->control->config;
	for (size_t i = 0; i < config->provider_count; i++)
		ERR_TRY(world_builder_add_provider(
			building->builder, config->providers[i].name, config->providers[i].dialect,
			dialect_served_by(config->providers[i].dialect), building->err));
	return ERR_OK;
}

static enum err_code add_models(struct building *building)
{
	const struct config *config = building->control->config;
	for (size_t i = 0; i < config->model_count; i++) {
		const struct config_model *model = &config->models[i];
		struct world_model_options options = {
			.name = model->name,
			.provider = config->providers[model->provider].name,
			.upstream = model->upstream,
			.max_output = model->max_output,
			.context = model->context,
			.price = {model->price.input, model->price.output, model->price.cache_read,
				  model->price.cache_write, model->has_price},
			.limits = &model->limits,
		};
		ERR_TRY(world_builder_add_model(building->builder, &options, building->err));
	}
	return ERR_OK;
}

/* ---- documents ---- */

struct limits_values control_limits_of(const json_t *spec)
{
	const json_t *limits = json_object_get(spec, "limits");
	struct limits_values values;
	for (int limit = 0; limit < LIMIT_COUNT; limit++)
		values.max[limit] =
			control_integer(limits, limits_name((enum limit)limit), LIMIT_NONE);
	return values;
}

static enum err_code add_org(struct building *building, const char *id, const json_t *document)
{
	const json_t *spec = control_spec_of(document);
	const char *name = json_text(spec, "name");
	struct limits_values limits = control_limits_of(spec);
	struct world_org_options options = {
		.limits = &limits,
		.id = id,
		.name = *name ? name : id,
		.pseudonym = control_pseudonym(building->control, id),
		.blocked = strcmp(control_state_of(document), "blocked") == 0,
		.rival = json_is_true(json_object_get(spec, "rival")),
		.block_reason = json_text(document, "reason"),
	};
	if (!*options.pseudonym)
		return ERR_SET(building->err, ERR_ENVIRONMENT,
			       "the pseudonym of org %s cannot be stored", id);
	struct world_block_options block;
	if (options.blocked && control_block_options(document, &block))
		options.affiliates = &block;
	if (options.affiliates && !block.grants)
		return ERR_SET(building->err, ERR_NO_MEMORY, "no memory to read org %s", id);
	enum err_code code = world_builder_add_org(building->builder, &options, building->err);
	if (options.affiliates)
		free((void *)block.grants);
	return code;
}

static enum err_code add_link(struct building *building, const char *id, const json_t *document)
{
	(void)id;
	return control_add_link(building->builder, document, building->err);
}

static uint64_t rules_of(const json_t *clause)
{
	uint64_t rules = 0;
	size_t index;
	json_t *name;
	json_array_foreach(json_object_get(clause, "enforced_by"), index, name)
	{
		enum rule rule;
		if (rule_find(bytes_from(json_string_value(name)), &rule))
			rules |= UINT64_C(1) << rule;
	}
	return rules;
}

static enum err_code add_terms(struct building *building, const char *id, const json_t *document)
{
	const json_t *spec = control_spec_of(document);
	size_t index;
	json_t *clause;
	if (strcmp(id, CONTROL_TERMS_ID) != 0)
		return ERR_OK; /* kept for the grants that were made under them */
	ERR_TRY(world_builder_set_terms(building->builder, json_text(spec, "version"),
					building->err));
	json_array_foreach(json_object_get(spec, "clauses"), index, clause)
		ERR_TRY(world_builder_add_clause(
			building->builder, json_text(clause, "id"), json_text(clause, "kind"),
			json_text(clause, "text"), rules_of(clause), building->err));
	return ERR_OK;
}

static enum err_code add_root(struct building *building, const char *id, const json_t *document)
{
	(void)document;
	uint8_t root[SHA256_SIZE];
	if (!hex_decode(bytes_from(id), root, sizeof(root)))
		return ERR_SET(building->err, ERR_CORRUPT, "public suite %s: its root is damaged",
			       id);
	return world_builder_add_public_root(building->builder, root, building->err);
}

/* ---- grants ---- */

/* The strings of an array, borrowed; the caller frees the table. */
static const char **strings_of(const json_t *array)
{
	size_t count = json_array_size(array);
	const char **texts = calloc(count + 1, sizeof(*texts));
	for (size_t i = 0; texts && i < count; i++)
		texts[i] = json_string_value(json_array_get(array, i));
	return texts;
}

static unsigned purposes_of(const json_t *spec)
{
	unsigned set = 0;
	size_t index;
	json_t *name;
	json_array_foreach(json_object_get(spec, "purposes"), index, name)
	{
		enum purpose purpose;
		if (purpose_find(bytes_from(json_string_value(name)), &purpose))
			set |= 1u << purpose;
	}
	return set;
}

static unsigned classes_of(const json_t *spec)
{
	unsigned set = 0;
	size_t index;
	json_t *name;
	json_array_foreach(json_object_get(json_object_get(spec, "suites"), "classes"), index, name)
	{
		enum suite_class class;
		if (suite_class_find(bytes_from(json_string_value(name)), &class))
			set |= 1u << class;
	}
	return set;
}

static enum err_code grant_options(struct building *building, const char *id,
				   const json_t *document, struct world_grant_options *out)
{
	const json_t *spec = control_spec_of(document);
	const json_t *valid = json_object_get(spec, "valid");
	const json_t *suites = json_object_get(spec, "suites");
	*out = (struct world_grant_options){
		.id = id,
		.org = json_text(spec, "org"),
		.team = json_text(spec, "team"),
		.purposes = purposes_of(spec),
		.classes = classes_of(spec),
		.max_leaves = control_integer(suites, "max_leaves", LIMIT_NONE),
		.samples_per_leaf = (unsigned)control_integer(suites, "samples_per_leaf", 0),
		.limits = control_limits_of(spec),
		.appeal = json_text(spec, "appeal"),
		.notice_ms = control_integer(spec, "notice_hours", CONTROL_NOTICE_HOURS) * HOUR_MS,
		.model_count = json_array_size(json_object_get(spec, "models")),
		.override_count = json_array_size(json_object_get(spec, "overrides")),
	};
	if (!grant_state_find(bytes_from(control_state_of(document)), &out->state) ||
	    !release_find(bytes_from(json_text(spec, "release")), &out->release) ||
	    !world_parse_day(bytes_from(json_text(valid, "from")), &out->from_ms) ||
	    !world_parse_day(bytes_from(json_text(valid, "to")), &out->until_ms))
		return ERR_SET(building->err, ERR_CORRUPT, "the stored grant %s is damaged", id);
	out->until_ms += WORLD_DAY_MS;
	return ERR_OK;
}

static enum err_code add_grant(struct building *building, const char *id, const json_t *document)
{
	const json_t *spec = control_spec_of(document);
	struct world_grant_options options;
	ERR_TRY(grant_options(building, id, document, &options));
	const char **models = strings_of(json_object_get(spec, "models"));
	const char **overrides = strings_of(json_object_get(spec, "overrides"));
	uint8_t thumbprints[SENDER_CONFIRMATIONS_MAX][SHA256_SIZE];
	enum err_code code =
		control_grant_demand(id, spec, thumbprints, &options.key_binding, building->err);
	if (!models || !overrides)
		code = ERR_SET(building->err, ERR_NO_MEMORY, "no memory to read grant %s", id);
	options.models = models;
	options.overrides = overrides;
	if (code == ERR_OK)
		code = world_builder_add_grant(building->builder, &options, building->err);
	free(models);
	free(overrides);
	return code;
}

/* ---- keys ---- */

static enum err_code add_key(struct building *building, const char *id, const json_t *document)
{
	return control_add_key(building->control, building->builder, building->scan, id, document,
			       building->err);
}

/* ---- suites and runs ---- */

static enum err_code suite_options(const char *id, const json_t *spec,
				   struct binding_suite_options *out, struct err *err)
{
	*out = (struct binding_suite_options){
		.id = id,
		.name = json_text(spec, "name"),
		.version = json_text(spec, "version"),
		.samples = (unsigned)control_integer(spec, "samples", 1),
		.leaf_count = (uint32_t)control_integer(spec, "leaves", 0),
		.registered_ms = control_integer(spec, "registered_ms", 0),
	};
	const json_t *judge = json_object_get(spec, "judge");
	out->verdicts = (unsigned)control_integer(judge, "verdicts", 0);
	ERR_TRY(binding_settings_from_json(json_object_get(judge, "settings"), &out->judge_settings,
					   err));
	ERR_TRY(binding_settings_from_json(json_object_get(spec, "settings"), &out->settings, err));
	if (!purpose_find(bytes_from(json_text(spec, "purpose")), &out->purpose) ||
	    !hex_decode(bytes_from(json_text(spec, "root")), out->root, SHA256_SIZE))
		return ERR_SET(err, ERR_CORRUPT, "the stored suite %s is damaged", id);
	return ERR_OK;
}

static enum err_code load_suite(struct building *building, const char *id, const json_t *spec,
				struct binding_suite **out)
{
	struct binding_suite_options options;
	struct buf memory = BUF_INIT(0);
	struct bytes leaves = bytes_of(NULL, 0);
	ERR_TRY(suite_options(id, spec, &options, building->err));
	enum err_code code = ERR_OK;
	if (!json_is_true(json_object_get(spec, "sealed")))
		code = control_leaves_read(building->control, id, spec, &memory, &leaves,
					   building->err);
	options.digests = (const uint8_t *)leaves.data;
	size_t size = control_leaves_units(spec) * BINDING_DIGEST_SIZE;
	if (code == ERR_OK && leaves.size > size)
		options.shape = bytes_of(leaves.data + size, leaves.size - size);
	if (code == ERR_OK)
		code = binding_suite_new(&options, out, building->err);
	if (code == ERR_OK && (*out)->unit_count != control_leaves_units(spec)) {
		binding_suite_drop(*out);
		code = ERR_SET(building->err, ERR_CORRUPT, "the stored suite %s is damaged", id);
	}
	buf_release(&memory);
	return code;
}

/* The suite with one reference: from the operation, the world before, or the store. */
static enum err_code take_suite(struct building *building, const char *id, const json_t *spec,
				struct binding_suite **out)
{
	const struct control_operation *operation = building->operation;
	if (operation && operation->suite && strcmp(operation->suite->id, id) == 0) {
		*out = binding_suite_hold(operation->suite);
		return ERR_OK;
	}
	struct world *world = building->control->world;
	const struct world_suite *known = world ? world_find_suite(world, bytes_from(id)) : NULL;
	if (!known) /* of a run, at start: its suite was added before */
		known = world_builder_find_suite(building->builder, bytes_from(id));
	if (known) {
		*out = binding_suite_hold(known->suite);
		return ERR_OK;
	}
	return load_suite(building, id, spec, out);
}

static enum err_code add_suite(struct building *building, const char *id, const json_t *document)
{
	const json_t *spec = control_spec_of(document);
	enum suite_class class = SUITE_CLASS_PRIVATE;
	suite_class_find(bytes_from(control_state_of(document)), &class);
	struct binding_suite *suite;
	ERR_TRY(take_suite(building, id, spec, &suite));
	enum err_code code = world_builder_add_suite(building->builder, json_text(spec, "grant"),
						     suite, class, building->err);
	struct grading_book *book = control_grading_find(building->control, id);
	if (code == ERR_OK && book)
		code = world_builder_set_book(building->builder, id, book, building->err);
	binding_suite_drop(suite);
	return code;
}

static enum err_code make_run(struct building *building, const char *id, const json_t *spec,
			      struct binding_run **out)
{
	const char *suite_id = json_text(spec, "suite");
	const json_t *suite_spec = control_spec(building->control, STORE_SUITE, suite_id);
	struct binding_run_options options = {
		.id = id,
		.grant_id = json_text(spec, "grant"),
		.samples = (unsigned)control_integer(spec, "samples", 1),
		.opened_ms = control_integer(spec, "opened_ms", 0),
		.named = json_object_get(spec, "blind") != NULL,
		.blind_max = control_integer(spec, "blind", 0),
	};
	if (!suite_spec || !hex_decode(bytes_from(json_text(spec, "plan_digest")),
				       options.plan_digest, SHA256_SIZE))
		return ERR_SET(building->err, ERR_CORRUPT, "the stored run %s is damaged", id);
	ERR_TRY(take_suite(building, suite_id, suite_spec, &options.suite));
	uint8_t key[SHA256_SIZE];
	options.opening_key = key;
	control_grading_openings(building->control, spec, key, &options.openings);
	enum err_code code = binding_run_new(&options, out, building->err);
	explicit_bzero(key, sizeof(key));
	binding_suite_drop(options.suite);
	return code;
}

static enum err_code take_run(struct building *building, const char *id, const json_t *spec,
			      struct binding_run **out)
{
	const struct control_operation *operation = building->operation;
	if (operation && operation->run && strcmp(operation->run->id, id) == 0) {
		*out = binding_run_hold(operation->run);
		return ERR_OK;
	}
	struct world *world = building->control->world;
	const struct world_run *known = world ? world_find_run(world, bytes_from(id)) : NULL;
	if (known) {
		*out = binding_run_hold(known->run);
		return ERR_OK;
	}
	return make_run(building, id, spec, out);
}

static enum err_code add_run(struct building *building, const char *id, const json_t *document)
{
	if (strcmp(control_state_of(document), "open") != 0)
		return ERR_OK;
	struct binding_run *run;
	ERR_TRY(take_run(building, id, control_spec_of(document), &run));
	enum err_code code = world_builder_add_run(building->builder, run, building->err);
	if (code == ERR_OK)
		code = control_expose_run(building->control, run, building->err);
	binding_run_drop(run);
	return code;
}

/* ---- all documents ---- */

static const struct {
	enum store_kind kind;
	enum err_code (*add)(struct building *building, const char *id, const json_t *document);
} steps[] = {
	{STORE_ORG,          add_org  },
        {STORE_LINK,         add_link },
        {STORE_TERMS,        add_terms},
	{STORE_PUBLIC_SUITE, add_root },
        {STORE_GRANT,        add_grant},
        {STORE_KEY,          add_key  },
	{STORE_SUITE,        add_suite},
        {STORE_RUN,          add_run  },
};

static enum err_code add_all(struct building *building)
{
	ERR_TRY(add_providers(building));
	ERR_TRY(add_models(building));
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		const char *id;
		json_t *document;
		json_object_foreach(building->control->documents[steps[i].kind], id, document)
			ERR_TRY(steps[i].add(building, id, document));
	}
	return ERR_OK;
}

/* ---- what has changed ---- */

/* Kinds of which an amendment takes what has changed; of the others decisions rest on what is
 * marked `whole`. */
static const struct {
	bool amends, whole;
} kinds[STORE_KINDS] = {
	[STORE_ORG] = {.amends = true},  [STORE_GRANT] = {.amends = true},
	[STORE_KEY] = {.amends = true},  [STORE_SUITE] = {.amends = true},
	[STORE_RUN] = {.amends = true},  [STORE_LINK] = {.whole = true},
	[STORE_TERMS] = {.whole = true}, [STORE_PUBLIC_SUITE] = {.whole = true},
};

#define CHANGES_MAX 1000 /* with more of them a world is built whole */

/* Whose keys are `staff` follows from their grant. */
static bool changes_staff(const struct control *control, const struct control_change *change)
{
	const json_t *before = json_object_get(control_spec_of(change->previous), "staff");
	const json_t *after =
		json_object_get(control_spec(control, change->kind, change->id), "staff");
	return change->kind == STORE_GRANT && (before || after) && !json_equal(before, after);
}

static bool can_amend(const struct building *building)
{
	const struct control_operation *operation = building->operation;
	if (!building->control->world || !operation || operation->fresh_counters ||
	    operation->republish || operation->change_count > CHANGES_MAX)
		return false;
	for (size_t i = 0; i < operation->change_count; i++)
		if (kinds[operation->changes[i]->kind].whole ||
		    changes_staff(building->control, operation->changes[i]))
			return false;
	return true;
}

/* A grant may have models now that its open runs have not been asked with. */
static enum err_code expose_runs(struct building *building, const char *id)
{
	const struct world_grant *grant =
		world_builder_find_grant(building->builder, bytes_from(id));
	for (const struct world_suite *suite = grant ? grant->suites : NULL; suite;
	     suite = suite->next)
		for (const struct world_run *run = suite->runs; run; run = run->next)
			ERR_TRY(control_expose_run(building->control, run->run, building->err));
	return ERR_OK;
}

/* With the last run over a suite its scorers go. */
static enum err_code end_run(struct building *building, const char *id, const json_t *document)
{
	const char *suite = json_text(control_spec_of(document), "suite");
	ERR_TRY(world_builder_end_run(building->builder, id, building->err));
	if (control_grading_find(building->control, suite) ||
	    !world_builder_find_suite(building->builder, bytes_from(suite)))
		return ERR_OK;
	return world_builder_set_book(building->builder, suite, NULL, building->err);
}

static enum err_code amend_with(struct building *building, size_t step,
				const struct control_change *change)
{
	const json_t *document = control_document(building->control, change->kind, change->id);
	if (!document) /* taken back: it could not be recorded */
		return ERR_OK;
	if (change->kind == STORE_RUN && strcmp(control_state_of(document), "open") != 0)
		return end_run(building, change->id, document);
	ERR_TRY(steps[step].add(building, change->id, document));
	return change->kind == STORE_GRANT ? expose_runs(building, change->id) : ERR_OK;
}

static enum err_code add_changed(struct building *building)
{
	const struct control_operation *operation = building->operation;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		for (size_t k = 0; kinds[steps[i].kind].amends && k < operation->change_count; k++)
			if (operation->changes[k]->kind == steps[i].kind)
				ERR_TRY(amend_with(building, i, operation->changes[k]));
	return ERR_OK;
}

/* ---- the whole ---- */

static enum err_code build(struct building *building, enum err_code (*add)(struct building *),
			   struct world **out)
{
	if (!building->builder)
		return ERR_SET(building->err, ERR_NO_MEMORY, "no memory to build the policy");
	world_builder_set_threshold(building->builder,
				    building->control->config->control_threshold);
	enum err_code code = add(building);
	if (code == ERR_OK && world_builder_fits(building->builder))
		code = world_build(building->builder, out, building->err);
	world_builder_free(building->builder);
	return code;
}

enum err_code control_build_world(struct control *control,
				  const struct control_operation *operation, struct world **out,
				  struct err *err)
{
	struct world *previous = operation && operation->fresh_counters ? NULL : control->world;
	struct building building = {.control = control,
				    .operation = operation,
				    .scan = malloc(sizeof(*building.scan)),
				    .err = err};
	enum err_code code = ERR_OK;
	*out = NULL;
	if (!building.scan)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to build the policy");
	if (can_amend(&building))
		building.builder = world_builder_amend(control->world, control->secret);
	if (building.builder)
		code = build(&building, add_changed, out);
	if (code == ERR_OK && !*out) {
		building.builder = world_builder_new(previous, control->secret);
		code = build(&building, add_all, out);
	}
	free(building.scan);
	return code;
}
