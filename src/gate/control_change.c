#include "gate/control_internal.h"

#include "base/encode.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define DOCUMENT_MAX ((size_t)4 << 20)
#define SALT_SIZE 16
#define RANDOM_ID_SIZE 10
/* Members of a record besides the strings counted in record_capacity. */
#define RECORD_FIXED 1536

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory to prepare an act");
}

/* ---- documents ---- */

/* A text that was kept becomes a tree, and is one from then on. */
static const json_t *read_kept(const struct control *control, enum store_kind kind, const char *id,
			       const json_t *text)
{
	json_t *tree;
	struct bytes bytes = bytes_of(json_string_value(text), json_string_length(text));
	if (json_parse(bytes, id, &tree, NULL) != ERR_OK ||
	    json_object_set_new(control->documents[kind], id, tree))
		return NULL;
	return tree;
}

const json_t *control_document(const struct control *control, enum store_kind kind, const char *id)
{
	assert(kind < STORE_KINDS);
	const json_t *found = json_object_get(control->documents[kind], id);
	return json_is_string(found) ? read_kept(control, kind, id, found) : found;
}

const json_t *control_spec_of(const json_t *document)
{
	return json_object_get(document, "spec");
}

const json_t *control_spec(const struct control *control, enum store_kind kind, const char *id)
{
	return control_spec_of(control_document(control, kind, id));
}

const char *control_state_of(const json_t *document)
{
	return json_text(document, "state");
}

int64_t control_integer(const json_t *object, const char *key, int64_t fallback)
{
	const json_t *value = json_object_get(object, key);
	return json_is_integer(value) ? json_integer_value(value) : fallback;
}

void control_random_id(struct control *control, const char *prefix,
		       char out[static CONTROL_ID_SIZE])
{
	uint8_t random[RANDOM_ID_SIZE];
	char hex[2 * RANDOM_ID_SIZE + 1];
	env_random(control->env, random, sizeof(random));
	hex_encode(random, sizeof(random), hex);
	snprintf(out, CONTROL_ID_SIZE, "%s%s", prefix, hex);
}

const char *control_pseudonym(struct control *control, const char *org)
{
	json_t *pseudonyms = control->documents[STORE_PSEUDONYM];
	const json_t *known = json_object_get(pseudonyms, org);
	if (known)
		return json_text(known, "pseudonym");
	char id[CONTROL_ID_SIZE];
	control_random_id(control, "org_", id);
	json_t *document = json_pack("{s:s}", "pseudonym", id);
	bool good = document && json_array_append_new(control->fresh, json_string(org)) == 0 &&
		    json_object_set(pseudonyms, org, document) == 0;
	json_decref(document);
	return good ? json_text(json_object_get(pseudonyms, org), "pseudonym") : "";
}

/* {"pseudonym":"…"}: no character of an id needs escaping. */
static char *pseudonym_text(const struct control *control, const char *org)
{
	char *text = NULL;
	const json_t *document = json_object_get(control->documents[STORE_PSEUDONYM], org);
	if (asprintf(&text, "{\"pseudonym\":\"%s\"}", json_text(document, "pseudonym")) < 0)
		return NULL;
	return text;
}

enum err_code control_keep_pseudonyms(struct control *control, struct err *err)
{
	size_t count = json_array_size(control->fresh);
	if (count == 0)
		return ERR_OK;
	struct store_document *rows = calloc(count, sizeof(*rows));
	enum err_code code = rows ? ERR_OK : no_memory(err);
	for (size_t i = 0; code == ERR_OK && i < count; i++) {
		const char *org = json_string_value(json_array_get(control->fresh, i));
		char *text = pseudonym_text(control, org);
		rows[i] = (struct store_document){
			.kind = STORE_PSEUDONYM, .id = org, .document = bytes_from(text)};
		if (!text)
			code = no_memory(err);
	}
	if (code == ERR_OK)
		code = store_put(control->store, rows, count, err);
	for (size_t i = 0; rows && i < count; i++)
		free((char *)rows[i].document.data);
	free(rows);
	if (code == ERR_OK)
		json_array_clear(control->fresh);
	return code;
}

enum control_log control_log_of_grant(const struct control *control, const char *grant)
{
	const json_t *purposes =
		json_object_get(control_spec(control, STORE_GRANT, grant), "purposes");
	const char *first = json_string_value(json_array_get(purposes, 0));
	bool product = first && strcmp(first, purpose_id(PURPOSE_PRODUCT)) == 0;
	return product ? CONTROL_USAGE : CONTROL_EVALUATION;
}

/* ---- the outer form ---- */

/* Person and reason of the act that the state comes from. */
static bool set_because(json_t *document, const struct control_telling *telling, const char *key,
			const char *text)
{
	json_t *kept = json_object_get(telling->before, key);
	if (!telling->before)
		return !text || json_object_set_new(document, key, json_string(text)) == 0;
	return !kept || json_object_set(document, key, kept) == 0;
}

static bool set_text(json_t *document, const char *key, const char *text)
{
	return !text || json_object_set_new(document, key, json_string(text)) == 0;
}

/* Members beyond those that every document has. */
static bool set_outer(const struct control *control, const struct control_change *change,
		      json_t *document, const struct control_telling *telling)
{
	/* These outlive every act that does not speak of them. */
	static const char *const kept_always[] = {"paper", "offer", "told", NULL};
	const json_t *present = control_document(control, change->kind, change->id);
	static const char *const common[] = {"spec",   "state",  "salt",
					     "person", "reason", "changed"};
	const char *key;
	json_t *value;
	bool good = true;
	for (const char *const *name = kept_always; *name; name++) {
		value = json_object_get(present, *name);
		good = good && (!value || json_object_set(document, *name, value) == 0);
	}
	json_object_foreach((json_t *)telling->before, key, value)
	{
		bool kept = true;
		for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
			kept = kept && strcmp(key, common[i]) != 0;
		good = good && (!kept || json_object_set(document, key, value) == 0);
	}
	json_object_foreach((json_t *)telling->outer, key, value)
	{
		if (json_is_null(value))
			json_object_del(document, key);
		else
			good = good && json_object_set(document, key, value) == 0;
	}
	return good;
}

static enum err_code wrap(struct control_operation *operation, struct control_change *change,
			  json_t *spec, const char *state, const struct control_telling *telling,
			  struct err *err)
{
	struct control *control = operation->control;
	uint8_t random[SALT_SIZE];
	char salt[2 * SALT_SIZE + 1];
	env_random(control->env, random, sizeof(random));
	hex_encode(random, sizeof(random), salt);
	json_t *document = json_object();
	change->document = document;
	json_t *changed = json_integer(control->loop->wall_ms);
	if (!document || json_object_set(document, "spec", spec) ||
	    !set_text(document, "state", state) || !set_text(document, "salt", salt) ||
	    !set_because(document, telling, "person", telling->person) ||
	    !set_because(document, telling, "reason", telling->reason) ||
	    !set_outer(control, change, document, telling) ||
	    json_object_set_new(document, "changed", changed))
		return ERR_SET(err, ERR_INVALID,
			       "the act cannot be noted: the person or the reason is no UTF-8, or "
			       "memory is out");
	return ERR_OK;
}

static enum err_code digest(struct control_change *change, struct err *err)
{
	buf_init(&change->text, DOCUMENT_MAX);
	ERR_TRY(json_canonical(change->document, &change->text, err));
	if (change->text.failed)
		return ERR_SET(err, ERR_TOO_LARGE, "%s %s is larger than %zu bytes",
			       store_kind_name(change->kind), change->id, DOCUMENT_MAX);
	sha256_of(change->text.data, change->text.size, change->digest);
	hex_encode(change->digest, sizeof(change->digest), change->commit);
	return ERR_OK;
}

/* ---- the record ---- */

static char *copy(const char *text)
{
	return text ? bytes_to_cstr(bytes_from(text)) : NULL;
}

static enum err_code copy_strings(struct control_change *change,
				  const struct control_telling *telling, struct err *err)
{
	change->person = copy(telling->person);
	change->reason = copy(telling->reason);
	change->name = copy(telling->name);
	if ((telling->person && !change->person) || (telling->reason && !change->reason) ||
	    (telling->name && !change->name))
		return no_memory(err);
	if (!telling->detail)
		return ERR_OK;
	struct buf text = BUF_INIT(RECORD_SIZE_MAX / 2);
	enum err_code code = json_canonical(telling->detail, &text, err);
	if (code == ERR_OK && text.failed)
		code = ERR_SET(err, ERR_TOO_LARGE, "the act is too long for a record");
	change->detail = text.data;
	return code;
}

static size_t length(const char *text)
{
	return text ? strlen(text) : 0;
}

/* Every byte of a string may take six in JSON. */
static size_t record_capacity(const struct control_change *change)
{
	return RECORD_FIXED +
	       6 * (length(change->person) + length(change->reason) + length(change->name)) +
	       length(change->detail) + 6 * length(change->id);
}

static struct bytes spec_bytes(const json_t *spec, const char *key)
{
	return bytes_from(json_text(spec, key));
}

/* Members that hold an id under the same name in every kind of document. */
static void fill_ids(struct record *record, enum store_kind kind, const json_t *spec)
{
	struct bytes id = spec_bytes(spec, "id");
	record->grant = kind == STORE_GRANT ? id : spec_bytes(spec, "grant");
	record->key = kind == STORE_KEY ? id : spec_bytes(spec, "key");
	record->suite = kind == STORE_SUITE ? id : spec_bytes(spec, "suite");
	record->run = kind == STORE_RUN ? id : spec_bytes(spec, "run");
	record->team = spec_bytes(spec, "team");
	record->purpose = spec_bytes(spec, "purpose");
	record->samples = (uint64_t)control_integer(spec, "samples", 0);
	record->count = (uint64_t)control_integer(spec, "leaves", 0);
}

static void fill_record(struct control *control, struct control_change *change,
			const struct control_telling *telling)
{
	const json_t *spec = control_spec_of(change->document);
	struct record *record = &change->record->record;
	*record = (struct record)RECORD_INIT;
	record->kind = telling->kind;
	record->act = bytes_from(telling->act);
	record->document = change->digest;
	record->person = bytes_from(change->person);
	record->reason = bytes_from(change->reason);
	record->name = bytes_from(change->name);
	record->detail = bytes_from(change->detail);
	fill_ids(record, change->kind, spec);
	if (hex_decode(spec_bytes(spec, "root"), change->root, SHA256_SIZE))
		record->root = change->root;
	if (hex_decode(spec_bytes(spec, "plan_digest"), change->plan, SHA256_SIZE))
		record->plan = change->plan;
	const char *org = change->kind == STORE_ORG    ? json_text(spec, "id")
			  : change->kind == STORE_LINK ? json_text(spec, "to")
						       : json_text(spec, "org");
	if (*org)
		record->org = bytes_from(control_pseudonym(control, org));
}

static enum err_code make_record(struct control_operation *operation, struct control_change *change,
				 const struct control_telling *telling, struct err *err)
{
	ERR_TRY(copy_strings(change, telling, err));
	size_t capacity = record_capacity(change);
	if (capacity > RECORD_SIZE_MAX)
		return ERR_SET(err, ERR_TOO_LARGE,
			       "the reason is too long for a record of %d bytes; shorten it",
			       RECORD_SIZE_MAX);
	change->record = calloc(1, sizeof(*change->record));
	if (!change->record)
		return no_memory(err);
	change->record->text = malloc(capacity);
	if (!change->record->text)
		return no_memory(err);
	change->record->capacity = capacity;
	change->record->log = operation->log;
	change->record->argument = change;
	fill_record(operation->control, change, telling);
	return ERR_OK;
}

/* ---- changes ---- */

static bool append(struct control_operation *operation, struct control_change *change)
{
	if (operation->change_count == operation->change_capacity) {
		size_t capacity = operation->change_capacity ? 2 * operation->change_capacity : 4;
		struct control_change **changes =
			realloc(operation->changes, capacity * sizeof(struct control_change *));
		if (!changes)
			return false;
		operation->changes = changes;
		operation->change_capacity = capacity;
	}
	operation->changes[operation->change_count++] = change;
	return true;
}

static enum err_code new_change(struct control_operation *operation, enum store_kind kind,
				const char *id, struct control_change **out, struct err *err)
{
	struct control_change *change = calloc(1, sizeof(*change));
	if (!change)
		return no_memory(err);
	if (!append(operation, change)) {
		free(change);
		return no_memory(err);
	}
	change->operation = operation;
	change->kind = kind;
	change->id = copy(id);
	*out = change;
	return change->id ? ERR_OK : no_memory(err);
}

enum err_code control_change_add(struct control_operation *operation, enum store_kind kind,
				 const char *id, json_t *spec, const char *state,
				 const struct control_telling *telling, struct buf *blob,
				 struct err *err)
{
	struct control_change *change = NULL;
	ERR_TRY(new_change(operation, kind, id, &change, err));
	if (blob) {
		change->blob = *blob;
		*blob = (struct buf){.max = blob->max};
	}
	ERR_TRY(wrap(operation, change, spec, state, telling, err));
	ERR_TRY(digest(change, err));
	return make_record(operation, change, telling, err);
}

enum err_code control_change_ride(struct control_operation *operation, enum store_kind kind,
				  const char *id, json_t *spec, const char *state, struct err *err)
{
	static const struct control_telling nothing;
	assert(operation->change_count > 0);
	struct control_change *last = operation->changes[operation->change_count - 1];
	struct control_change *change = NULL;
	ERR_TRY(new_change(operation, kind, id, &change, err));
	change->leader = last->leader ? last->leader : last;
	ERR_TRY(wrap(operation, change, spec, state, &nothing, err));
	ERR_TRY(digest(change, err));
	memcpy(change->commit, change->leader->commit, sizeof(change->commit));
	return ERR_OK;
}

void control_change_free(struct control_change *change)
{
	if (!change)
		return;
	if (change->record)
		free(change->record->text);
	free(change->record);
	free(change->person);
	free(change->reason);
	free(change->name);
	free(change->detail);
	buf_release(&change->text);
	buf_release(&change->blob);
	json_decref(change->document);
	json_decref(change->previous);
	free(change->id);
	free(change);
}

enum err_code control_cut_add(struct control_operation *operation, enum control_cut_kind kind,
			      const struct control_change *change, struct err *err)
{
	struct control_cut *cuts =
		realloc(operation->cuts, (operation->cut_count + 1) * sizeof(*cuts));
	if (!cuts)
		return no_memory(err);
	operation->cuts = cuts;
	cuts[operation->cut_count++] = (struct control_cut){
		.kind = kind, .id = change->id, .reason = change->reason ? change->reason : ""};
	return ERR_OK;
}

enum err_code control_change_install(struct control *control, struct control_change *change,
				     struct err *err)
{
	json_t *documents = control->documents[change->kind];
	change->previous = json_incref(json_object_get(documents, change->id));
	if (json_object_set(documents, change->id, change->document))
		return no_memory(err);
	return ERR_OK;
}

void control_change_undo(struct control *control, struct control_change *change)
{
	json_t *documents = control->documents[change->kind];
	/* Replacing a member that is there takes no memory. */
	if (change->previous)
		json_object_set(documents, change->id, change->previous);
	else
		json_object_del(documents, change->id);
	json_decref(change->previous); /* it may be put in place once more */
	change->previous = NULL;
}
