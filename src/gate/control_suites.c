#include "gate/control_internal.h"

#include "base/encode.h"
#include "suite/leaf.h"
#include "suite/words.h"

#include <stdio.h>
#include <stdlib.h>

#define GRADING_MAX ((size_t)4 << 20)
#define DETAIL_MAX 1024
#define WEEK_MS (7 * WORLD_DAY_MS)
#define VERSION_SIZE 64

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory to register a suite");
}

/* ---- what is registered ---- */

struct registration {
	struct control_operation *operation;
	const struct world_key *key;
	const json_t *body;
	const char *name;
	char version[VERSION_SIZE];
	enum purpose purpose;
	uint8_t root[SHA256_SIZE];
	uint8_t seed[LEAF_SEED_SIZE];
	json_t *settings; /* borrowed */
	int64_t samples;
	json_t *judge;    /* borrowed; NULL: none of the items is a judge */
	json_t *items;    /* borrowed; NULL: sealed */
	json_t *gradings; /* borrowed; of a sealed suite whose answers are judged here, else NULL */
	int64_t leaves;
	int64_t units; /* leaves, and further steps of conversations */
	struct shape_builder shape;
	struct buf digests; /* of the units; what is stored of the shape follows them */
	char id[CONTROL_ID_SIZE];
	struct err *err;
};

static enum err_code refuse(struct control_operation *operation, enum rule rule, struct err *err,
			    const char *detail)
{
	operation->rule = rule;
	return ERR_SET(err, ERR_DENIED, "%s: %s", rule_text(rule), detail);
}

static enum err_code read_purpose(struct registration *registration)
{
	const char *text;
	ERR_TRY(json_get_string(registration->body, "purpose", "suite", &text, registration->err));
	if (!purpose_find(bytes_from(text), &registration->purpose) ||
	    !purpose_binds(registration->purpose))
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: purpose: %s is no purpose that binds to suites", text);
	unsigned granted = registration->key->grant->purposes, serving = 0;
	for (enum purpose purpose = 0; purpose < PURPOSE_COUNT; purpose++)
		serving |= (granted >> purpose & 1) && purpose_binds(purpose);
	if (!serving)
		return refuse(registration->operation, RULE_PURPOSE_NONE, registration->err,
			      "suites serve capability_benchmark and safety_evaluation");
	if (!(granted & 1u << registration->purpose))
		return refuse(registration->operation, RULE_PURPOSE_NOT_GRANTED, registration->err,
			      text);
	return ERR_OK;
}

static enum err_code read_hex(struct registration *registration, const char *key, bool optional,
			      uint8_t out[static SHA256_SIZE])
{
	const char *text;
	ERR_TRY(json_get_string_or(registration->body, key, "suite", NULL, &text,
				   registration->err));
	if (!text && optional) {
		memset(out, 0, SHA256_SIZE);
		return ERR_OK;
	}
	if (!text || !hex_decode(bytes_from(text), out, SHA256_SIZE))
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: %s: must have 64 hexadecimal digits", key);
	return ERR_OK;
}

static enum err_code read_settings(struct registration *registration)
{
	struct binding_settings settings;
	ERR_TRY(json_get_container(registration->body, "settings", "suite", JSON_OBJECT, false,
				   &registration->settings, registration->err));
	ERR_TRY(binding_settings_from_json(registration->settings, &settings, registration->err));
	if (settings.max_output < 1)
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: settings.max_output: must say how many tokens an answer may "
			       "have");
	return ERR_OK;
}

/* A version may be written as a number, as in suite.yaml. */
static enum err_code read_version(struct registration *registration)
{
	const json_t *version = json_object_get(registration->body, "version");
	int size = -1;
	if (json_is_integer(version))
		size = snprintf(registration->version, VERSION_SIZE, "%lld",
				(long long)json_integer_value(version));
	else if (json_is_string(version))
		size = snprintf(registration->version, VERSION_SIZE, "%s",
				json_string_value(version));
	if (size < 1 || size >= VERSION_SIZE)
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: version: must be a text of 1 to %d bytes or a number",
			       VERSION_SIZE - 1);
	return ERR_OK;
}

/* What a sealed suite is graded by, where its answers are judged here. */
static enum err_code read_gradings(struct registration *registration)
{
	const struct world_grant *grant = registration->key->grant;
	ERR_TRY(json_get_container(registration->body, "gradings", "suite", JSON_ARRAY, true,
				   &registration->gradings, registration->err));
	size_t count = json_array_size(registration->gradings);
	if (registration->gradings && grant->release != RELEASE_V0)
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: gradings: grant %s releases %s and nothing is graded here; "
			       "leave them out",
			       grant->id, release_id(grant->release));
	if (registration->gradings && count != (size_t)registration->leaves)
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: gradings: %zu for %lld leaves; each leaf has one, in their "
			       "order",
			       count, (long long)registration->leaves);
	return ERR_OK;
}

/* A proof is checked against root and number of leaves, and needs nothing else. */
static enum err_code read_sealed(struct registration *registration)
{
	if (json_object_get(registration->body, "seed"))
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: seed: a sealed suite keeps it to itself; leave it out");
	if (!json_object_get(registration->body, "leaves"))
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: upload the items, or say with leaves how many a sealed "
			       "suite has");
	ERR_TRY(json_get_integer(registration->body, "leaves", "suite", 1, BINDING_LEAVES_MAX,
				 &registration->leaves, registration->err));
	return read_gradings(registration);
}

static enum err_code read_items(struct registration *registration)
{
	ERR_TRY(json_get_container(registration->body, "items", "suite", JSON_ARRAY, true,
				   &registration->items, registration->err));
	if (!registration->items)
		return read_sealed(registration);
	size_t count = json_array_size(registration->items);
	if (count < 1 || count > BINDING_LEAVES_MAX)
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: items: there must be 1 to %u", BINDING_LEAVES_MAX);
	if (json_object_get(registration->body, "leaves") ||
	    json_object_get(registration->body, "gradings"))
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: leaves, gradings: are told where there are no items; leave "
			       "them out");
	registration->leaves = (int64_t)count;
	return ERR_OK;
}

/* What the items that are judges are asked with. */
static enum err_code read_judge(struct registration *registration)
{
	static const char *const keys[] = {"settings", "verdicts", NULL};
	struct binding_settings settings;
	struct err *err = registration->err;
	json_t *object;
	int64_t verdicts;
	ERR_TRY(json_get_container(registration->body, "judge", "suite", JSON_OBJECT, true,
				   &registration->judge, err));
	if (!registration->judge)
		return ERR_OK;
	ERR_TRY(json_only_keys(registration->judge, keys, "suite: judge", err));
	ERR_TRY(json_get_integer_or(registration->judge, "verdicts", "suite: judge", 1,
				    ANSWERS_VERDICTS_MAX, ANSWERS_VERDICTS_DEFAULT, &verdicts,
				    err));
	ERR_TRY(json_get_container(registration->judge, "settings", "suite: judge", JSON_OBJECT,
				   false, &object, err));
	ERR_TRY(binding_settings_from_json(object, &settings, err));
	if (settings.max_output < 1 || settings.max_output > BINDING_VERDICT_OUTPUT_MAX)
		return ERR_SET(err, ERR_INVALID,
			       "suite: judge.settings.max_output: must be 1 to %d: a judge answers "
			       "with a verdict and nothing else",
			       BINDING_VERDICT_OUTPUT_MAX);
	return ERR_OK;
}

static enum err_code read_body(struct registration *registration)
{
	static const char *const keys[] = {"name",     "version",  "purpose", "root",
					   "settings", "samples",  "seed",    "items",
					   "leaves",   "gradings", "judge",   NULL};
	struct err *err = registration->err;
	ERR_TRY(json_only_keys(registration->body, keys, "suite", err));
	ERR_TRY(json_get_string(registration->body, "name", "suite", &registration->name, err));
	size_t size = strlen(registration->name);
	if (size < 1 || size >= BINDING_NAME_SIZE)
		return ERR_SET(err, ERR_INVALID, "suite: name: must have 1 to %d bytes",
			       BINDING_NAME_SIZE - 1);
	ERR_TRY(read_version(registration));
	ERR_TRY(read_purpose(registration));
	ERR_TRY(read_hex(registration, "root", false, registration->root));
	ERR_TRY(read_hex(registration, "seed", true, registration->seed));
	ERR_TRY(read_settings(registration));
	ERR_TRY(json_get_integer_or(registration->body, "samples", "suite", 1, BINDING_SAMPLES_MAX,
				    1, &registration->samples, err));
	ERR_TRY(read_judge(registration));
	return read_items(registration);
}

/* ---- leaves ---- */

static enum err_code check_item(const struct registration *registration,
				const struct script_item *item)
{
	if (item->kind == SCRIPT_JUDGE && !registration->judge)
		return ERR_SET(registration->err, ERR_INVALID,
			       "it is a judge's template, and the suite has no member judge");
	return ERR_OK;
}

/* Takes one unit's digest after another, and what kind of leaf it is. */
static enum err_code add_units(struct registration *registration, const struct script_item *item)
{
	const struct hmac_key *secret = &registration->operation->control->binding_secret;
	uint8_t keyed[BINDING_DIGEST_SIZE];
	for (unsigned step = 0; step < item->steps; step++) {
		binding_digest(secret, item->digests[step], keyed);
		buf_append(&registration->digests, keyed, sizeof(keyed));
	}
	if (!shape_builder_add(&registration->shape, secret, item))
		return ERR_SET(registration->err, ERR_TOO_LARGE,
			       "out of memory, or more than %u judges", SHAPE_JUDGES_MAX);
	registration->units += item->steps;
	return registration->units <= BINDING_LEAVES_MAX
		       ? ERR_OK
		       : ERR_SET(registration->err, ERR_TOO_LARGE,
				 "there are more than %u answers to ask for", BINDING_LEAVES_MAX);
}

static enum err_code item_texts(struct registration *registration, size_t index, struct buf *words,
				struct buf *grading)
{
	static const char *const keys[] = {"prompt", "grading", NULL};
	const json_t *item = json_array_get(registration->items, index);
	const json_t *prompt = json_object_get(item, "prompt");
	const json_t *graded = json_object_get(item, "grading");
	struct script_item script;
	json_t *tree = NULL;
	if (!prompt || !json_is_object(graded))
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: items[%zu]: must be {prompt, grading}", index);
	enum err_code code = json_only_keys(item, keys, "item", registration->err);
	if (code == ERR_OK)
		code = words_normalise(prompt, &tree, registration->err);
	if (code == ERR_OK)
		code = json_canonical(tree, words, registration->err);
	if (code == ERR_OK)
		code = script_item_read(tree, &script, registration->err);
	if (code == ERR_OK)
		code = check_item(registration, &script);
	if (code == ERR_OK)
		code = add_units(registration, &script);
	if (code == ERR_OK)
		code = json_canonical(graded, grading, registration->err);
	if (code == ERR_OK && (words->failed || grading->failed))
		code = ERR_SET(registration->err, ERR_TOO_LARGE, "the item is too large");
	if (code != ERR_OK)
		err_prefix(registration->err, "suite: items[%zu]", index);
	json_decref(tree);
	return code;
}

static enum err_code add_leaf(struct registration *registration, size_t index,
			      const struct leaf_salter *salter, struct leaf_tree *tree,
			      struct buf *words, struct buf *grading)
{
	uint8_t salt[LEAF_SALT_SIZE], data[LEAF_DATA_SIZE];
	buf_clear(words);
	buf_clear(grading);
	ERR_TRY(item_texts(registration, index, words, grading));
	leaf_salt(salter, index, salt);
	leaf_data(salt, buf_bytes(words), buf_bytes(grading), data);
	if (!leaf_tree_add(tree, data) || registration->digests.failed)
		return no_memory(registration->err);
	return ERR_OK;
}

/* Conversations and judges go on from answers, which nobody has whose answers are sealed. */
static enum err_code check_shape(const struct registration *registration)
{
	uint32_t judge, leaf;
	if (shape_builder_wrong_slot(&registration->shape, &judge, &leaf))
		return ERR_SET(registration->err, ERR_INVALID,
			       "suite: items[%u]: a slot names leaf %u, which is not there or is a "
			       "judge itself",
			       judge, leaf);
	if (registration->shape.needed && registration->key->grant->release == RELEASE_V0)
		return refuse(registration->operation, RULE_RELEASE_LEVEL, registration->err,
			      "conversations and judges go on from answers, and the grant releases "
			      "verdicts (V0) only");
	return ERR_OK;
}

static enum err_code check_root(const struct registration *registration,
				const struct leaf_tree *tree)
{
	uint8_t root[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	leaf_tree_root(tree, root);
	if (memcmp(root, registration->root, sizeof(root)) == 0)
		return ERR_OK;
	hex_encode(root, sizeof(root), hex);
	return ERR_SET(registration->err, ERR_MISMATCH,
		       "suite: root: the items give %s; nothing was registered", hex);
}

static enum err_code make_leaves(struct registration *registration)
{
	struct leaf_salter salter;
	struct leaf_tree *tree = leaf_tree_new();
	struct buf words = BUF_INIT(WORDS_MAX);
	struct buf grading = BUF_INIT(GRADING_MAX);
	buf_init(&registration->digests,
		 (size_t)(BINDING_LEAVES_MAX + SCRIPT_STEPS_MAX) * BINDING_DIGEST_SIZE +
			 SHAPE_BYTES_MAX);
	leaf_salter_init(&salter, registration->seed);
	enum err_code code = tree ? ERR_OK : no_memory(registration->err);
	size_t count = json_array_size(registration->items);
	for (size_t i = 0; code == ERR_OK && i < count; i++)
		code = add_leaf(registration, i, &salter, tree, &words, &grading);
	if (code == ERR_OK)
		code = check_root(registration, tree);
	if (code == ERR_OK)
		code = check_shape(registration);
	shape_builder_encode(&registration->shape, &registration->digests);
	if (code == ERR_OK && registration->digests.failed)
		code = no_memory(registration->err);
	buf_release(&words);
	buf_release(&grading);
	leaf_tree_free(tree);
	return code;
}

static enum err_code make_suite(struct registration *registration)
{
	struct control *control = registration->operation->control;
	struct binding_suite_options options = {
		.id = registration->id,
		.name = registration->name,
		.version = registration->version,
		.purpose = registration->purpose,
		.samples = (unsigned)registration->samples,
		.leaf_count = (uint32_t)registration->leaves,
		.digests = registration->items ? (const uint8_t *)registration->digests.data : NULL,
		.registered_ms = control->loop->wall_ms,
	};
	memcpy(options.root, registration->root, SHA256_SIZE);
	size_t size = (size_t)registration->units * BINDING_DIGEST_SIZE;
	ERR_TRY(binding_settings_from_json(registration->settings, &options.settings,
					   registration->err));
	ERR_TRY(binding_settings_from_json(json_object_get(registration->judge, "settings"),
					   &options.judge_settings, registration->err));
	options.verdicts = (unsigned)control_integer(registration->judge, "verdicts", 0);
	if (registration->shape.needed)
		options.shape = bytes_of(registration->digests.data + size,
					 registration->digests.size - size);
	return binding_suite_new(&options, &registration->operation->suite, registration->err);
}

/* ---- budgets ---- */

/* Budgets are counted over all grants of an organisation and of those that control ties it to:
 * what is split is added up again. */
static bool adds_up(const struct world_grant *grant, const struct world_grant *other)
{
	return other && grant->org->group == other->org->group;
}

/* Whether a suite that is registered already has the words, so that they are not new. */
static bool is_known_leaf(const struct registration *registration, const uint8_t *digest)
{
	const struct world *world = registration->operation->control->world;
	uint32_t leaf;
	for (size_t i = 0; i < world_grant_count(world); i++) {
		const struct world_grant *grant = world_grant_at(world, i);
		if (!adds_up(registration->key->grant, grant))
			continue;
		for (const struct world_suite *suite = grant->suites; suite; suite = suite->next)
			if (binding_suite_find(suite->suite, digest, &leaf))
				return true;
	}
	return false;
}

/* Another registration of the same tree, sealed or not, by which its leaves are counted. */
static bool is_known_root(const struct registration *registration)
{
	const struct world *world = registration->operation->control->world;
	for (size_t i = 0; i < world_grant_count(world); i++) {
		const struct world_grant *grant = world_grant_at(world, i);
		if (!adds_up(registration->key->grant, grant))
			continue;
		for (const struct world_suite *suite = grant->suites; suite; suite = suite->next)
			if (suite->suite->leaf_count == registration->leaves &&
			    memcmp(suite->suite->root, registration->root, SHA256_SIZE) == 0)
				return true;
	}
	return false;
}

/* Each words once. Nobody can tell whether a sealed suite's are new: they count as new. */
static int64_t count_new_leaves(const struct registration *registration)
{
	const struct binding_suite *suite = registration->operation->suite;
	const uint8_t *digests = (const uint8_t *)registration->digests.data;
	int64_t count = 0;
	uint32_t first;
	if (is_known_root(registration))
		return 0;
	if (suite->sealed)
		return registration->leaves;
	for (uint32_t i = 0; i < suite->unit_count; i++) {
		const uint8_t *digest = digests + (size_t)i * BINDING_DIGEST_SIZE;
		count += binding_suite_find(suite, digest, &first) && first == i &&
			 !is_known_leaf(registration, digest);
	}
	return count;
}

/* A leaf's words count once, whatever its suite, its scorer and the grant it stands under. */
static enum err_code check_budget(struct registration *registration, int64_t new_leaves)
{
	struct control *control = registration->operation->control;
	const struct world_grant *grant = registration->key->grant;
	int64_t all = new_leaves, week = new_leaves;
	const char *id;
	json_t *document;
	json_object_foreach(control->documents[STORE_SUITE], id, document)
	{
		const json_t *spec = control_spec_of(document);
		const char *other = json_text(spec, "grant");
		if (!adds_up(grant, world_find_grant(control->world, bytes_from(other))))
			continue;
		int64_t counted = control_integer(spec, "new_leaves", 0);
		all += counted;
		if (control->loop->wall_ms - control_integer(spec, "registered_ms", 0) < WEEK_MS)
			week += counted;
	}
	char detail[DETAIL_MAX];
	if (grant->max_leaves != LIMIT_NONE && all > grant->max_leaves) {
		snprintf(detail, sizeof(detail), "%lld leaves with those registered, of %lld",
			 (long long)all, (long long)grant->max_leaves);
		return refuse(registration->operation, RULE_SUITE_BUDGET, registration->err,
			      detail);
	}
	const json_t *suites =
		json_object_get(control_spec(control, STORE_GRANT, grant->id), "suites");
	int64_t most = control_integer(suites, "new_leaves_per_week", INT64_MAX);
	if (week > most) {
		snprintf(detail, sizeof(detail), "%lld new leaves in seven days, of %lld",
			 (long long)week, (long long)most);
		return refuse(registration->operation, RULE_SUITE_BUDGET, registration->err,
			      detail);
	}
	return ERR_OK;
}

/* ---- the suite's document ---- */

static json_t *suite_spec(const struct registration *registration, int64_t new_leaves)
{
	char root[2 * SHA256_SIZE + 1];
	const struct world_grant *grant = registration->key->grant;
	hex_encode(registration->root, SHA256_SIZE, root);
	json_t *spec = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:O, s:I, s:I, s:I, s:I, s:b, s:O*}",
		"id", registration->id, "grant", grant->id, "org", grant->org->id, "key",
		registration->key->id, "name", registration->name, "version", registration->version,
		"purpose", purpose_id(registration->purpose), "root", root, "settings",
		registration->settings, "samples", (json_int_t)registration->samples, "leaves",
		(json_int_t)registration->leaves, "new_leaves", (json_int_t)new_leaves,
		"registered_ms", (json_int_t)registration->operation->control->loop->wall_ms,
		"sealed", !registration->items, "judge", registration->judge);
	if (spec && registration->shape.needed &&
	    (!json_set(spec, "units", json_integer(registration->units)) ||
	     !json_set(spec, "shape",
		       json_integer((json_int_t)registration->digests.size -
				    (json_int_t)registration->units * BINDING_DIGEST_SIZE)))) {
		json_decref(spec);
		return NULL;
	}
	return spec;
}

static enum err_code answer_suite(struct control_operation *operation, const char *id,
				  const json_t *spec, const char *class, bool created,
				  struct err *err)
{
	const struct world_grant *grant =
		world_find_grant(operation->control->world, bytes_from(json_text(spec, "grant")));
	enum suite_class found = SUITE_CLASS_PRIVATE;
	suite_class_find(bytes_from(class), &found);
	bool allowed = grant && (grant->classes & 1u << found);
	operation->answer = json_pack("{s:s, s:s, s:I, s:b, s:b}", "suite", id, "class", class,
				      "leaves", (json_int_t)control_integer(spec, "leaves", 0),
				      "created", created, "usable", allowed);
	if (operation->answer && !allowed)
		json_object_set_new(
			operation->answer, "note",
			json_string("the grant does not allow suites of this class: the "
				    "operator has to publish the root under "
				    "public_suites or approve the suite"));
	json_t *promise =
		operation->answer ? control_grading_commitment(operation->control, id) : NULL;
	if (promise)
		json_object_set_new(operation->answer, "opening_commitment", promise);
	return operation->answer ? ERR_OK : no_memory(err);
}

static const char *const same_keys[] = {"grant",  "name",    "version",  "purpose",
					"root",   "samples", "settings", "leaves",
					"sealed", "judge",   NULL};

static bool same_member(const json_t *a, const json_t *b)
{
	/* `sealed` is younger than stored suites. */
	return json_is_true(a) == json_is_true(b) &&
	       ((!a && !b) || json_is_boolean(a) || json_equal(a, b));
}

/* A suite that was registered with the same words before, so that registering is idempotent. */
static const json_t *find_same(const struct control *control, const json_t *spec, const char **id)
{
	json_t *document;
	json_object_foreach(control->documents[STORE_SUITE], *id, document)
	{
		const json_t *other = control_spec_of(document);
		const char *const *key = same_keys;
		while (*key &&
		       same_member(json_object_get(spec, *key), json_object_get(other, *key)))
			key++;
		if (!*key)
			return document;
	}
	return NULL;
}

/* The document with its record. `digests` is NULL where the store has them already. */
static enum err_code record_suite(struct registration *registration, const char *id, json_t *spec,
				  const char *state, struct buf *digests)
{
	char name[BINDING_NAME_SIZE + VERSION_SIZE];
	snprintf(name, sizeof(name), "%s %s", registration->name, registration->version);
	struct control_telling telling = {.kind = RECORD_SUITE,
					  .act = "suite.register",
					  .name = name,
					  .detail = registration->settings};
	return control_change_add(registration->operation, STORE_SUITE, id, spec, state, &telling,
				  digests, registration->err);
}

static enum err_code add_suite(struct registration *registration, json_t *spec)
{
	struct control_operation *operation = registration->operation;
	bool public_root = world_is_public_root(operation->control->world, registration->root);
	const char *class = suite_class_id(public_root ? SUITE_CLASS_PUBLIC : SUITE_CLASS_PRIVATE);
	ERR_TRY(record_suite(registration, registration->id, spec, class, &registration->digests));
	return answer_suite(operation, registration->id, spec, class, true, registration->err);
}

/* A suite that is there already changes nothing, but the registration goes on record again: each
 * run rests on a record of the suite that its holder can have a receipt of. */
static enum err_code confirm_suite(struct registration *registration, const char *id,
				   const json_t *document)
{
	struct control_operation *operation = registration->operation;
	json_t *spec = (json_t *)control_spec_of(document);
	ERR_TRY(record_suite(registration, id, spec, control_state_of(document), NULL));
	return answer_suite(operation, id, spec, control_class_of(operation->control, document),
			    false, registration->err);
}

/* Under a grant that releases verdicts the gateway grades by itself. */
static enum err_code keep_scorers(struct registration *registration, const char *id)
{
	struct control *control = registration->operation->control;
	struct grading_book *book;
	if (registration->key->grant->release != RELEASE_V0)
		return ERR_OK;
	if (!registration->items && !registration->gradings)
		return refuse(
			registration->operation, RULE_SUITE_SCORERS, registration->err,
			"a sealed suite keeps its prompts to itself; upload gradings, one for "
			"each leaf, or the items");
	bool sealed = !registration->items;
	enum err_code code =
		control_grading_make(control, sealed ? registration->gradings : registration->items,
				     sealed, &book, registration->err);
	if (code == ERR_INVALID)
		registration->operation->rule = RULE_SUITE_SCORERS;
	return code == ERR_OK ? control_grading_keep(control, id, book, registration->err) : code;
}

static enum err_code register_leaves(struct registration *registration)
{
	struct control *control = registration->operation->control;
	const char *id;
	if (registration->items)
		ERR_TRY(make_leaves(registration));
	ERR_TRY(make_suite(registration));
	int64_t new_leaves = count_new_leaves(registration);
	json_t *spec = suite_spec(registration, new_leaves);
	if (!spec)
		return no_memory(registration->err);
	const json_t *same = find_same(control, spec, &id);
	enum err_code code = same ? ERR_OK : check_budget(registration, new_leaves);
	if (code == ERR_OK)
		code = keep_scorers(registration, same ? id : registration->id);
	if (code == ERR_OK)
		code = same ? confirm_suite(registration, id, same) : add_suite(registration, spec);
	json_decref(spec);
	return code;
}

enum err_code control_prepare_suite(struct control_operation *operation,
				    const struct world_key *key, const json_t *body,
				    struct err *err)
{
	struct registration registration = {
		.operation = operation, .key = key, .body = body, .err = err};
	operation->log = control_log_of_grant(operation->control, key->grant->id);
	control_random_id(operation->control, "suite_", registration.id);
	shape_builder_init(&registration.shape);
	ERR_TRY(read_body(&registration));
	enum err_code code = register_leaves(&registration);
	buf_release(&registration.digests);
	shape_builder_release(&registration.shape);
	return code;
}

const char *control_class_of(const struct control *control, const json_t *document)
{
	const json_t *spec = control_spec_of(document);
	if (control_document(control, STORE_PUBLIC_SUITE, json_text(spec, "root")))
		return suite_class_id(SUITE_CLASS_PUBLIC);
	const char *state = control_state_of(document);
	enum suite_class class;
	/* What was rejected is as private as what nobody looked at, but waits no more. */
	return suite_class_find(bytes_from(state), &class) ? state
							   : suite_class_id(SUITE_CLASS_PRIVATE);
}
