#include "gate/access.h"

#include "base/encode.h"
#include "base/yaml.h"
#include "gate/access_grant.h"
#include "gate/notify.h"
#include "ledger/paper.h"
#include "policy/world_builder.h"

#include <stdlib.h>

#define ID_MAX 64
#define TEXT_MAX 4096
#define CLAUSE_ID_MAX 64

enum err_code access_no_memory(struct access_reading *reading)
{
	return ERR_SET(reading->err, ERR_NO_MEMORY, "no memory to read the access file");
}

/* ---- helpers shared with access_grant.c ---- */

enum err_code access_set(struct access_reading *reading, json_t *document, const char *key,
			 json_t *value)
{
	if (!value || json_object_set_new(document, key, value))
		return access_no_memory(reading);
	return ERR_OK;
}

static bool is_id(const char *text)
{
	size_t size = strlen(text);
	if (size == 0 || size > ID_MAX)
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = text[i];
		bool word =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!word && (i == 0 || !strchr("._-", c)))
			return false;
	}
	return true;
}

enum err_code access_get_id(struct access_reading *reading, const json_t *row, const char *key,
			    const char **out)
{
	ERR_TRY(yaml_get_string(reading->tree, row, key, out, reading->err));
	if (!is_id(*out))
		return yaml_fail(reading->tree, row, key, reading->err, ERR_INVALID,
				 "must be 1 to %d letters, digits, dots, hyphens or underscores, "
				 "beginning with a letter or digit",
				 ID_MAX);
	return ERR_OK;
}

enum err_code access_copy_text(struct access_reading *reading, const json_t *row, const char *key,
			       bool required, json_t *document)
{
	const char *text;
	if (required)
		ERR_TRY(yaml_get_string(reading->tree, row, key, &text, reading->err));
	else
		ERR_TRY(yaml_get_string_or(reading->tree, row, key, NULL, &text, reading->err));
	if (!text)
		return ERR_OK;
	if (strlen(text) > TEXT_MAX || (required && !*text))
		return yaml_fail(reading->tree, row, key, reading->err, ERR_INVALID,
				 "must have 1 to %d bytes", TEXT_MAX);
	return access_set(reading, document, key, json_string(text));
}

enum err_code access_copy_integer(struct access_reading *reading, const json_t *row,
				  const char *key, int64_t min, int64_t max, json_t *document)
{
	const json_t *value = json_object_get(row, key);
	int64_t number;
	if (!value || json_is_null(value))
		return ERR_OK;
	ERR_TRY(yaml_get_integer(reading->tree, row, key, min, max, &number, reading->err));
	return access_set(reading, document, key, json_integer(number));
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum err_code sorted_set(struct access_reading *reading, const json_t *row, const char *key,
				const json_t *values, json_t **out)
{
	size_t count = json_array_size(values);
	const char **texts = calloc(count + 1, sizeof(*texts));
	*out = json_array();
	enum err_code code = texts && *out ? ERR_OK : access_no_memory(reading);
	for (size_t i = 0; code == ERR_OK && i < count; i++)
		texts[i] = json_string_value(json_array_get(values, i));
	if (code == ERR_OK)
		qsort(texts, count, sizeof(*texts), compare_texts);
	for (size_t i = 0; code == ERR_OK && i < count; i++) {
		if (i > 0 && strcmp(texts[i - 1], texts[i]) == 0)
			code = yaml_fail(reading->tree, row, key, reading->err, ERR_INVALID,
					 "names %s twice", texts[i]);
		else if (json_array_append_new(*out, json_string(texts[i])))
			code = access_no_memory(reading);
	}
	free(texts);
	if (code != ERR_OK) {
		json_decref(*out);
		*out = NULL;
	}
	return code;
}

enum err_code access_get_set(struct access_reading *reading, const json_t *row, const char *key,
			     bool optional, json_t **out)
{
	json_t *values;
	*out = NULL;
	ERR_TRY(yaml_get_strings(reading->tree, row, key, optional, &values, reading->err));
	return values ? sorted_set(reading, row, key, values, out) : ERR_OK;
}

enum err_code access_copy_date(struct access_reading *reading, const json_t *row, const char *key,
			       bool required, json_t *document, int64_t *start_ms)
{
	const char *text;
	if (!required && !json_object_get(row, key))
		return ERR_OK;
	ERR_TRY(yaml_get_string(reading->tree, row, key, &text, reading->err));
	if (!world_parse_day(bytes_from(text), start_ms))
		return yaml_fail(reading->tree, row, key, reading->err, ERR_INVALID,
				 "must be a day like 2026-11-01 (UTC)");
	return access_set(reading, document, key, json_string(text));
}

/* ---- organisations ---- */

/* One form for equal keys: base64 of the 32 bytes. */
static enum err_code read_org_key(struct access_reading *reading, const json_t *row,
				  json_t *document)
{
	const char *text;
	uint8_t key[ED25519_KEY_SIZE];
	ERR_TRY(yaml_get_string_or(reading->tree, row, "key", NULL, &text, reading->err));
	if (!text)
		return ERR_OK;
	if (!paper_read_key(text, key))
		return yaml_fail(reading->tree, row, "key", reading->err, ERR_INVALID,
				 "must be a public Ed25519 key, as `parley keygen` prints it");
	struct buf normal = BUF_INIT(64);
	base64_append(&normal, key, sizeof(key));
	json_t *value = json_stringn(normal.data, normal.size);
	buf_release(&normal);
	return access_set(reading, document, "key", value);
}

static enum err_code read_notify(struct access_reading *reading, const json_t *row,
				 json_t *document)
{
	ERR_TRY(access_copy_text(reading, row, "notify", false, document));
	const char *address = json_string_value(json_object_get(document, "notify"));
	struct err why = ERR_INIT;
	if (address && notify_address_check(address, &why) != ERR_OK)
		return yaml_fail(reading->tree, row, "notify", reading->err, ERR_INVALID, "%s",
				 why.message);
	return ERR_OK;
}

static enum err_code read_org(struct access_reading *reading, const json_t *row, json_t *document,
			      const char **id)
{
	static const char *const keys[] = {"id",     "name", "rival",  "contact",
					   "notify", "key",  "limits", NULL};
	bool rival;
	ERR_TRY(yaml_only_keys(reading->tree, row, keys, reading->err));
	ERR_TRY(access_get_id(reading, row, "id", id));
	ERR_TRY(access_set(reading, document, "id", json_string(*id)));
	ERR_TRY(access_copy_text(reading, row, "name", false, document));
	ERR_TRY(access_copy_text(reading, row, "contact", false, document));
	ERR_TRY(read_notify(reading, row, document));
	ERR_TRY(read_org_key(reading, row, document));
	ERR_TRY(access_read_limits(reading, row, document));
	ERR_TRY(yaml_get_bool_or(reading->tree, row, "rival", false, &rival, reading->err));
	return rival ? access_set(reading, document, "rival", json_true()) : ERR_OK;
}

/* ---- links ---- */

bool access_org_known(const struct access_reading *reading, const char *id)
{
	return json_object_get(reading->out->orgs, id) ||
	       json_object_get(reading->context->orgs, id);
}

static enum err_code read_link_org(struct access_reading *reading, const json_t *row,
				   const char *key, json_t *document)
{
	const char *id;
	ERR_TRY(access_get_id(reading, row, key, &id));
	if (!access_org_known(reading, id))
		return yaml_fail(reading->tree, row, key, reading->err, ERR_INVALID,
				 "there is no org %s; add it under orgs", id);
	return access_set(reading, document, key, json_string(id));
}

static enum err_code read_link_share(struct access_reading *reading, const json_t *row, bool owns,
				     json_t *document)
{
	double share;
	if (!json_object_get(row, "share"))
		return owns ? yaml_fail(reading->tree, row, "share", reading->err, ERR_INVALID,
					"is needed: how many per cent does it own?")
			    : ERR_OK;
	if (!owns)
		return yaml_fail(reading->tree, row, "share", reading->err, ERR_INVALID,
				 "only owns has a share; leave it out");
	ERR_TRY(yaml_get_number_or(reading->tree, row, "share", 0, 100, 0, &share, reading->err));
	return access_set(reading, document, "share", json_real(share));
}

static enum err_code read_link(struct access_reading *reading, const json_t *row, json_t *document,
			       const char **id)
{
	static const char *const keys[] = {"from",   "kind",  "to",    "share",  "evidence",
					   "status", "since", "until", "public", NULL};
	static const char *const kinds[] = {"owns", "controls", "acquiring", "reseller_of", NULL};
	static const char *const statuses[] = {"confirmed", "asserted", "rumoured", NULL};
	unsigned kind, status;
	bool open;
	int64_t start_ms;
	ERR_TRY(yaml_only_keys(reading->tree, row, keys, reading->err));
	ERR_TRY(read_link_org(reading, row, "from", document));
	ERR_TRY(read_link_org(reading, row, "to", document));
	ERR_TRY(yaml_get_choice(reading->tree, row, "kind", kinds, &kind, reading->err));
	ERR_TRY(yaml_get_choice(reading->tree, row, "status", statuses, &status, reading->err));
	ERR_TRY(access_set(reading, document, "kind", json_string(kinds[kind])));
	ERR_TRY(access_set(reading, document, "status", json_string(statuses[status])));
	if (json_equal(json_object_get(document, "from"), json_object_get(document, "to")))
		return yaml_fail(reading->tree, row, "to", reading->err, ERR_INVALID,
				 "an org has no link to itself");
	ERR_TRY(read_link_share(reading, row, kind == 0, document));
	ERR_TRY(access_copy_text(reading, row, "evidence", false, document));
	ERR_TRY(access_copy_date(reading, row, "since", false, document, &start_ms));
	ERR_TRY(access_copy_date(reading, row, "until", false, document, &start_ms));
	ERR_TRY(yaml_get_bool_or(reading->tree, row, "public", false, &open, reading->err));
	ERR_TRY(access_set(reading, document, "public", json_boolean(open)));
	json_t *name =
		json_sprintf("%s %s %s", json_string_value(json_object_get(document, "from")),
			     kinds[kind], json_string_value(json_object_get(document, "to")));
	ERR_TRY(access_set(reading, document, "id", name));
	*id = json_string_value(name);
	return ERR_OK;
}

/* ---- terms ---- */

static enum err_code read_enforced_by(struct access_reading *reading, const json_t *row,
				      json_t *document)
{
	json_t *rules;
	ERR_TRY(access_get_set(reading, row, "enforced_by", true, &rules));
	if (!rules)
		return ERR_OK;
	ERR_TRY(access_set(reading, document, "enforced_by", rules));
	size_t index;
	json_t *rule;
	json_array_foreach(rules, index, rule)
	{
		enum rule found;
		if (!rule_find(bytes_from(json_string_value(rule)), &found))
			return yaml_fail(reading->tree, row, "enforced_by", reading->err,
					 ERR_INVALID, "there is no rule %s",
					 json_string_value(rule));
	}
	return ERR_OK;
}

static enum err_code read_clause(struct access_reading *reading, const json_t *row,
				 json_t *document, const char **id)
{
	static const char *const keys[] = {"id", "kind", "text", "enforced_by", NULL};
	static const char *const kinds[] = {"permission", "prohibition", "duty", NULL};
	unsigned kind;
	ERR_TRY(yaml_only_keys(reading->tree, row, keys, reading->err));
	ERR_TRY(access_get_id(reading, row, "id", id));
	ERR_TRY(yaml_get_choice(reading->tree, row, "kind", kinds, &kind, reading->err));
	ERR_TRY(access_set(reading, document, "id", json_string(*id)));
	ERR_TRY(access_set(reading, document, "kind", json_string(kinds[kind])));
	ERR_TRY(access_copy_text(reading, row, "text", true, document));
	return read_enforced_by(reading, row, document);
}

/* ---- published suites ---- */

static enum err_code read_public_suite(struct access_reading *reading, const json_t *row,
				       json_t *document, const char **id)
{
	static const char *const keys[] = {"name", "root", NULL};
	const char *text;
	uint8_t root[32];
	char hex[65];
	ERR_TRY(yaml_only_keys(reading->tree, row, keys, reading->err));
	ERR_TRY(access_copy_text(reading, row, "name", true, document));
	ERR_TRY(yaml_get_string(reading->tree, row, "root", &text, reading->err));
	if (!hex_decode(bytes_from(text), root, sizeof(root)))
		return yaml_fail(
			reading->tree, row, "root", reading->err, ERR_INVALID,
			"must be a suite's root in 64 hexadecimal digits, as `parley suite "
			"digest DIR` prints it");
	hex_encode(root, sizeof(root), hex);
	ERR_TRY(access_set(reading, document, "root", json_string(hex)));
	*id = json_string_value(json_object_get(document, "root"));
	return ERR_OK;
}

/* ---- lists ---- */

typedef enum err_code read_row_function(struct access_reading *reading, const json_t *row,
					json_t *document, const char **id);

static enum err_code read_row(struct access_reading *reading, const json_t *rows, size_t index,
			      read_row_function *read, json_t *into, json_t *sequence)
{
	const json_t *row = json_array_get(rows, index);
	if (!json_is_object(row))
		return yaml_fail_at(reading->tree, rows, index, reading->err, ERR_INVALID,
				    "must be a mapping");
	json_t *document = json_object();
	if (!document)
		return access_no_memory(reading);
	const char *id = NULL;
	enum err_code code = read(reading, row, document, &id);
	if (code == ERR_OK && json_object_get(into, id))
		code = yaml_fail_at(reading->tree, rows, index, reading->err, ERR_INVALID,
				    "%s is there twice", id);
	if (code == ERR_OK && sequence && json_array_append(sequence, document))
		code = access_no_memory(reading);
	if (code == ERR_OK && json_object_set(into, id, document))
		code = access_no_memory(reading);
	json_decref(document);
	return code;
}

/* Reads the list `key` of `object` into `into`, by id, and in order into `sequence` (or NULL). */
static enum err_code read_list(struct access_reading *reading, const json_t *object,
			       const char *key, read_row_function *read, json_t *into,
			       json_t *sequence)
{
	json_t *rows;
	ERR_TRY(yaml_get_container(reading->tree, object, key, JSON_ARRAY, true, &rows,
				   reading->err));
	for (size_t i = 0; i < json_array_size(rows); i++)
		ERR_TRY(read_row(reading, rows, i, read, into, sequence));
	return ERR_OK;
}

static enum err_code read_terms(struct access_reading *reading, const json_t *root)
{
	static const char *const keys[] = {"version", "clauses", NULL};
	json_t *terms;
	ERR_TRY(yaml_get_container(reading->tree, root, "terms", JSON_OBJECT, true, &terms,
				   reading->err));
	if (!terms)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(reading->tree, terms, keys, reading->err));
	json_t *document = reading->out->terms = json_object();
	if (!document)
		return access_no_memory(reading);
	ERR_TRY(access_copy_text(reading, terms, "version", true, document));
	json_t *clauses = json_array();
	ERR_TRY(access_set(reading, document, "clauses", clauses));
	json_t *seen = json_object();
	if (!seen)
		return access_no_memory(reading);
	enum err_code code = read_list(reading, terms, "clauses", read_clause, seen, clauses);
	json_decref(seen);
	return code;
}

static enum err_code read_all(struct access_reading *reading)
{
	static const char *const keys[] = {"orgs",          "links",  "terms",
					   "public_suites", "grants", NULL};
	const json_t *root = yaml_root(reading->tree);
	struct access *out = reading->out;
	ERR_TRY(yaml_only_keys(reading->tree, root, keys, reading->err));
	ERR_TRY(read_list(reading, root, "orgs", read_org, out->orgs, NULL));
	ERR_TRY(read_list(reading, root, "links", read_link, out->links, NULL));
	ERR_TRY(read_terms(reading, root));
	ERR_TRY(read_list(reading, root, "public_suites", read_public_suite, out->public_suites,
			  NULL));
	return read_list(reading, root, "grants", access_read_grant, out->grants, NULL);
}

enum err_code access_parse(struct bytes text, const char *file,
			   const struct access_context *context, struct access *out,
			   struct err *err)
{
	struct yaml_tree *tree;
	*out = (struct access){0};
	ERR_TRY(yaml_parse(text, file, &tree, err));
	*out = (struct access){.orgs = json_object(),
			       .links = json_object(),
			       .public_suites = json_object(),
			       .grants = json_object()};
	struct access_reading reading = {.tree = tree, .context = context, .out = out, .err = err};
	enum err_code code = ERR_OK;
	if (!out->orgs || !out->links || !out->public_suites || !out->grants)
		code = access_no_memory(&reading);
	if (code == ERR_OK)
		code = read_all(&reading);
	yaml_tree_free(tree);
	if (code != ERR_OK)
		access_release(out);
	return code;
}

void access_release(struct access *access)
{
	json_decref(access->orgs);
	json_decref(access->links);
	json_decref(access->terms);
	json_decref(access->public_suites);
	json_decref(access->grants);
	*access = (struct access){0};
}
