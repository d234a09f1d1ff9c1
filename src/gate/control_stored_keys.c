/* Keys as the store has them. There may be a hundred thousand, and hardly one is ever looked at: a
 * key is kept as the text of its document, from which the world is built with the scanner, and
 * becomes a tree when somebody asks for it (control_document). */
#include "gate/control_internal.h"

#include "base/encode.h"
#include "base/json_scan.h"
#include "watch/watch.h"

#include <stdlib.h>

#define NAME_MAX_SIZE 256 /* of an id or a team, with NUL; longer ones are read from the tree */

/* What the world needs of a key, whether its document is a text or a tree. */
struct key_fields {
	const char *state, *grant, *team, *counters, *digest;
	int64_t expires_ms;
	const json_t *rest; /* has the key's `limits`, `networks` and `binding`, where it has any */
	json_t *made;       /* the same, where it is to be freed */
	char memory[5][NAME_MAX_SIZE];
};

static void read_tree(const json_t *document, struct key_fields *out)
{
	const json_t *spec = control_spec_of(document);
	*out = (struct key_fields){
		.state = control_state_of(document),
		.grant = json_text(spec, "grant"),
		.team = json_text(spec, "team"),
		.counters = json_text(spec, "counters"),
		.digest = json_text(spec, "digest"),
		.expires_ms = control_integer(spec, "expires_ms", WORLD_ALWAYS),
		.rest = spec,
	};
}

/* "" where there is none. False where it is not as simple as they mostly are. */
static bool copy_name(struct json_value value, char out[static NAME_MAX_SIZE])
{
	struct bytes text = bytes_of("", 0);
	if (value.type != JSON_SCAN_NOTHING &&
	    (!json_value_plain_string(value, &text) || text.size >= NAME_MAX_SIZE))
		return false;
	memcpy(out, text.data, text.size);
	out[text.size] = '\0';
	return true;
}

static bool keep_rest(struct key_fields *fields, const char *name, struct json_value value)
{
	json_t *tree;
	if (value.type == JSON_SCAN_NOTHING)
		return true;
	if (!fields->made)
		fields->rest = fields->made = json_object();
	return fields->made && json_parse(value.text, name, &tree, NULL) == ERR_OK &&
	       json_object_set_new(fields->made, name, tree) == 0;
}

/* False where the text is to be read as a tree. */
static bool read_text(struct json_scan *scan, struct bytes text, struct key_fields *out)
{
	enum { GRANT, TEAM, COUNTERS, DIGEST, EXPIRES, LIMITS, NETWORKS, BINDING, MEMBERS };
	static const struct bytes outer[] = {BYTES_INIT("state"), BYTES_INIT("spec")};
	static const struct bytes names[MEMBERS] = {
		BYTES_INIT("grant"),    BYTES_INIT("team"),       BYTES_INIT("counters"),
		BYTES_INIT("digest"),   BYTES_INIT("expires_ms"), BYTES_INIT("limits"),
		BYTES_INIT("networks"), BYTES_INIT("binding")};
	struct json_value document[2], spec[MEMBERS];
	out->rest = out->made = NULL;
	out->expires_ms = WORLD_ALWAYS;
	if (json_scan_text(scan, text, "key", NULL) != ERR_OK)
		return false;
	json_value_members(json_value_at(text), outer, document, 2);
	json_value_members(document[1], names, spec, MEMBERS);
	out->state = out->memory[0];
	out->grant = out->memory[1];
	out->team = out->memory[2];
	out->counters = out->memory[3];
	out->digest = out->memory[4];
	if (!copy_name(document[0], out->memory[0]))
		return false;
	for (int i = GRANT; i <= DIGEST; i++)
		if (!copy_name(spec[i], out->memory[1 + i]))
			return false;
	if (spec[EXPIRES].type != JSON_SCAN_NOTHING &&
	    !json_value_integer(spec[EXPIRES], INT64_MIN, INT64_MAX, &out->expires_ms))
		return false;
	for (int i = LIMITS; i < MEMBERS; i++)
		if (!keep_rest(out, names[i].data, spec[i]))
			return false;
	return true;
}

/* Whether the grant's `staff` names the key (or the first of those it follows) or its team. */
static bool is_staff(const struct control *control, const struct key_fields *fields, const char *id)
{
	const json_t *grant = control_spec(control, STORE_GRANT, fields->grant);
	size_t index;
	json_t *name;
	json_array_foreach(json_object_get(grant, "staff"), index, name)
	{
		const char *text = json_string_value(name);
		if (text && (strcmp(text, id) == 0 || strcmp(text, fields->counters) == 0 ||
			     (*fields->team && strcmp(text, fields->team) == 0)))
			return true;
	}
	return false;
}

static enum err_code add(const struct control *control, struct world_builder *builder,
			 const char *id, const struct key_fields *fields, struct err *err)
{
	struct sender_network networks[SENDER_NETWORKS_MAX];
	struct limits_values limits = control_limits_of(fields->rest);
	struct world_key_options options = {
		.id = id,
		.grant = fields->grant,
		.state =
			strcmp(fields->state, "active") == 0 ? WORLD_KEY_ACTIVE : WORLD_KEY_REVOKED,
		.expires_ms = fields->expires_ms,
		.staff = is_staff(control, fields, id),
		.limits = &limits,
		.counters = *fields->counters ? fields->counters : NULL,
		.watch = watch_key_of(control->watch, id),
	};
	ERR_TRY(control_key_sender(id, fields->rest, networks, &options.sender, err));
	if (!hex_decode(bytes_from(fields->digest), options.digest, SHA256_SIZE))
		return ERR_SET(err, ERR_CORRUPT, "the stored key %s is damaged", id);
	return world_builder_add_key(builder, &options, err);
}

enum err_code control_add_key(const struct control *control, struct world_builder *builder,
			      struct json_scan *scan, const char *id, const json_t *document,
			      struct err *err)
{
	struct key_fields fields;
	struct bytes text = bytes_of(json_string_value(document), json_string_length(document));
	bool read = json_is_string(document) && read_text(scan, text, &fields);
	if (!read) {
		if (json_is_string(document)) {
			json_decref(fields.made);
			document = control_document(control, STORE_KEY, id);
		}
		if (!document)
			return ERR_SET(err, ERR_CORRUPT,
				       "the stored key %s is damaged; restore the database from a "
				       "backup",
				       id);
		read_tree(document, &fields);
	}
	enum err_code code = add(control, builder, id, &fields, err);
	json_decref(fields.made);
	return code;
}
