/* Words that may hold more than words: what is kept at the provider is refused, because one
 * credential stands for every client there; and parts that are not text. */
#include "dialect/ops.h"

#define DEPTH_MAX 16
#define ESCAPED_SIZE 6 /* of a character: \u005f */

static bool is_one_of(struct bytes name, const char *const *names)
{
	for (; *names; names++)
		if (bytes_is(name, *names))
			return true;
	return false;
}

/* Letters can hide behind \u escapes only. */
static bool has_escapes(struct bytes inside)
{
	return bytes_find(inside, BYTES("\\u")) != NULL;
}

/* Whether the inside of a string says `word`, or has escapes that could hide it. */
static bool may_be(struct bytes inside, const char *word)
{
	return bytes_is(inside, word) ||
	       (inside.size <= ESCAPED_SIZE * strlen(word) && has_escapes(inside));
}

/* Whether a member at any depth has one of the names, or a name with escapes, behind which one
 * could hide, or a string may be `word` (NULL: none): a text without is not walked over. One pass
 * from string to string. */
static bool may_name(struct bytes text, const char *const *names, const char *word)
{
	const char *end = text.data + text.size, *p = text.data;
	while (p < end && (p = memchr(p, '"', (size_t)(end - p)))) {
		struct bytes string = json_value_at(bytes_of(p, (size_t)(end - p))).text;
		p += string.size;
		while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
			p++;
		if (string.size < 2)
			continue;
		struct bytes inside = bytes_of(string.data + 1, string.size - 2);
		bool name = p < end && *p == ':';
		if (name && (has_escapes(inside) || is_one_of(inside, names)))
			return true;
		if (!name && word && may_be(inside, word))
			return true;
	}
	return false;
}

/* What the scan of the body has seen tells at once that most have none. */
static bool may_nest(const struct json_scan *scan, const char *const *names)
{
	for (; *names; names++)
		if (json_scan_may_nest(scan, bytes_from(*names)))
			return true;
	return false;
}

struct hunt {
	const char *const *names;  /* of members that refer to something kept */
	const char *const *opaque; /* of members whose insides are the caller's own */
};

/* The first such member at any depth, or one whose name has escapes; empty if there is none. */
static struct bytes find_reference(struct json_value value, const struct hunt *hunt)
{
	struct json_walk walks[DEPTH_MAX];
	unsigned depth = 0;
	walks[depth++] = json_walk_start(value);
	while (depth) {
		struct json_walk *walk = &walks[depth - 1];
		if (!json_walk_next(walk)) {
			depth--;
			continue;
		}
		bool named = walk->object && walk->key.size;
		if (named &&
		    (memchr(walk->key.data, '\\', walk->key.size) ||
		     (is_one_of(walk->key, hunt->names) && walk->value.type != JSON_SCAN_NULL)))
			return walk->key;
		if (named && is_one_of(walk->key, hunt->opaque))
			continue;
		if (walk->value.type != JSON_SCAN_ARRAY && walk->value.type != JSON_SCAN_OBJECT)
			continue;
		if (depth == DEPTH_MAX)
			return BYTES("nested too deeply");
		walks[depth++] = json_walk_start(walk->value);
	}
	return bytes_of("", 0);
}

static enum err_code refuse_reference(struct reading *in, struct bytes name)
{
	return ERR_SET(in->err, ERR_INVALID,
		       "%s has \"%.*s\": what is kept at the provider (files, stores, earlier "
		       "items) is not taken through this gateway; send the content itself",
		       in->name, name.size > 64 ? 64 : (int)name.size, name.data);
}

static enum err_code hunt_in(struct reading *in, const struct hunt *hunt)
{
	struct bytes found = bytes_of("", 0);
	if (may_nest(in->scan, hunt->names) && may_name(in->value.text, hunt->names, NULL))
		found = find_reference(in->value, hunt);
	return found.size ? refuse_reference(in, found) : ERR_OK;
}

/* ---- Anthropic, Chat Completions ---- */

/* Files by their id, wherever a part names one; and in Chat Completions the sound of an earlier
 * answer. What a tool is given is the caller's own. */
enum err_code read_messages(struct reading *in)
{
	static const char *const names[] = {"file_id", "audio", NULL};
	static const char *const opaque[] = {"input", "arguments", NULL};
	static const struct hunt hunt = {names, opaque};
	if (in->value.type != JSON_SCAN_ARRAY)
		return reading_wrong(in, "an array");
	in->has_messages = true;
	in->out->prompt_bytes += in->value.text.size;
	return hunt_in(in, &hunt);
}

/* ---- Responses ---- */

/* Whether an object has a member of that name and value, as it is written or with escapes in the
 * value, which could hide it. A name may stand twice: readers differ in which one they take. */
static bool may_say(struct json_value object, const char *name, const char *text)
{
	struct json_walk walk = json_walk_start(object);
	while (json_walk_next(&walk)) {
		struct bytes plain;
		if (bytes_is(walk.key, name) && walk.value.type == JSON_SCAN_STRING &&
		    (!json_value_plain_string(walk.value, &plain) || bytes_is(plain, text)))
			return true;
	}
	return false;
}

/* An item says what it is: without type and role it refers to an earlier one. */
static enum err_code check_items(struct reading *in)
{
	static const struct bytes names[] = {NAME("type"), NAME("role")};
	struct json_walk walk = json_walk_start(in->value);
	for (size_t i = 0; json_walk_next(&walk); i++) {
		struct json_value members[2];
		json_value_members(walk.value, names, members, 2);
		if (members[0].type != JSON_SCAN_STRING && members[1].type != JSON_SCAN_STRING)
			return ERR_SET(in->err, ERR_INVALID, "input[%zu] has neither type nor role",
				       i);
		if (may_say(walk.value, "type", "item_reference"))
			return refuse_reference(in, BYTES("item_reference"));
	}
	return ERR_OK;
}

enum err_code read_responses_input(struct reading *in)
{
	/* What refers to an earlier item does so by its id. */
	static const char *const signs[] = {"id",           "file_id",          "file_ids",
					    "container_id", "vector_store_ids", NULL};
	static const char *const opaque[] = {NULL};
	static const struct hunt hunt = {signs + 1, opaque};
	if (in->value.type != JSON_SCAN_STRING && in->value.type != JSON_SCAN_ARRAY)
		return reading_wrong(in, "a string or an array");
	in->has_messages = true;
	in->out->prompt_bytes += in->value.text.size;
	if (in->value.type == JSON_SCAN_STRING ||
	    !may_name(in->value.text, signs, "item_reference"))
		return ERR_OK;
	ERR_TRY(check_items(in));
	struct bytes found = find_reference(in->value, &hunt);
	return found.size ? refuse_reference(in, found) : ERR_OK;
}

/* A container by its name, whichever of several members of that name counts. */
static bool names_container(struct json_value tool)
{
	struct json_walk walk = json_walk_start(tool);
	while (json_walk_next(&walk))
		if (bytes_is(walk.key, "container") && walk.value.type == JSON_SCAN_STRING)
			return true;
	return false;
}

/* Tools of the caller's own; or the provider's, as long as they read nothing that is kept there. */
enum err_code read_responses_tools(struct reading *in)
{
	static const char *const names[] = {"file_id",          "file_ids", "container_id",
					    "vector_store_ids", "skill_id", NULL};
	static const char *const opaque[] = {"parameters", "headers", NULL};
	static const struct hunt hunt = {names, opaque};
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (in->value.type != JSON_SCAN_ARRAY)
		return reading_wrong(in, "an array");
	in->out->prompt_bytes += in->value.text.size;
	struct json_walk walk = json_walk_start(in->value);
	while (json_walk_next(&walk)) {
		struct bytes type;
		in->out->flags |= DIALECT_TOOLS;
		if (!json_value_plain_string(json_scan_find(walk.value, "type"), &type))
			return reading_wrong(in, "an array of tools with a type");
		if (may_say(walk.value, "type", "file_search"))
			return refuse_reference(in, BYTES("file_search"));
		if (names_container(walk.value))
			return refuse_reference(in, BYTES("container"));
	}
	return hunt_in(in, &hunt);
}

enum err_code read_responses_include(struct reading *in)
{
	struct json_walk walk = json_walk_start(in->value);
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (in->value.type != JSON_SCAN_ARRAY)
		return reading_wrong(in, "an array");
	while (json_walk_next(&walk)) {
		struct bytes name;
		if (!json_value_plain_string(walk.value, &name))
			return reading_wrong(in, "an array of strings without escapes");
		if (bytes_ends_with(name, BYTES("logprobs")))
			in->out->flags |= DIALECT_LOGPROBS;
	}
	return ERR_OK;
}

/* ---- Gemini ---- */

static enum err_code check_gemini_parts(struct reading *in)
{
	static const char *const names[] = {"fileData", "file_data", NULL};
	static const char *const opaque[] = {"functionCall", "functionResponse", "function_call",
					     "function_response", NULL};
	static const struct hunt hunt = {names, opaque};
	in->out->prompt_bytes += in->value.text.size;
	return hunt_in(in, &hunt);
}

enum err_code read_gemini_contents(struct reading *in)
{
	if (in->value.type != JSON_SCAN_ARRAY)
		return reading_wrong(in, "an array");
	in->has_messages = true;
	return check_gemini_parts(in);
}

enum err_code read_gemini_system(struct reading *in)
{
	return check_gemini_parts(in);
}

/* Tools that read stores of files: of the provider's, as it keeps them for all clients here. */
enum err_code read_gemini_tools(struct reading *in)
{
	static const char *const names[] = {"fileSearch", "file_search", "retrieval", NULL};
	static const char *const opaque[] = {
		"parameters", "parametersJsonSchema", "parameters_json_schema",
		"response",   "responseJsonSchema",   "response_json_schema",
		NULL};
	static const struct hunt hunt = {names, opaque};
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (in->value.type != JSON_SCAN_ARRAY)
		return reading_wrong(in, "an array");
	struct json_walk walk = json_walk_start(in->value);
	if (json_walk_next(&walk))
		in->out->flags |= DIALECT_TOOLS;
	in->out->prompt_bytes += in->value.text.size;
	return hunt_in(in, &hunt);
}

/* ---- parts that are not text ---- */

static struct json_value top_member(const struct json_scan *scan, struct bytes body,
				    struct bytes name)
{
	const struct json_scan_member *member = json_scan_member(scan, body, name);
	if (!member)
		return (struct json_value){.type = JSON_SCAN_NOTHING};
	return json_scan_value(body, member);
}

static bool content_non_text(struct json_value content, const char *const *texts,
			     struct bytes *type, unsigned depth)
{
	struct json_walk walk = json_walk_start(content);
	if (content.type != JSON_SCAN_ARRAY)
		return false;
	while (json_walk_next(&walk)) {
		static const struct bytes names[] = {NAME("type"), NAME("content")};
		struct json_value members[2];
		json_value_members(walk.value, names, members, 2);
		*type = bytes_of("", 0);
		if (!json_value_plain_string(members[0], type) || !is_one_of(*type, texts))
			return true;
		if (depth > 0 && content_non_text(members[1], texts, type, depth - 1))
			return true;
	}
	return false;
}

bool chat_non_text(const struct json_scan *scan, struct bytes body, struct bytes *type)
{
	static const char *const texts[] = {"text", "tool_use", "tool_result", "refusal", NULL};
	if (content_non_text(top_member(scan, body, BYTES("system")), texts, type, 0))
		return true;
	struct json_walk walk = json_walk_start(top_member(scan, body, BYTES("messages")));
	while (json_walk_next(&walk))
		if (content_non_text(json_scan_find(walk.value, "content"), texts, type, 1))
			return true;
	return false;
}

bool responses_non_text(const struct json_scan *scan, struct bytes body, struct bytes *type)
{
	static const char *const texts[] = {"input_text", "output_text", "refusal", NULL};
	static const char *const items[] = {"message", "function_call", "function_call_output",
					    NULL};
	static const struct bytes names[] = {NAME("type"), NAME("content"), NAME("output")};
	struct json_walk walk = json_walk_start(top_member(scan, body, BYTES("input")));
	while (json_walk_next(&walk)) {
		struct json_value members[3];
		json_value_members(walk.value, names, members, 3);
		*type = BYTES("message");
		if (members[0].type != JSON_SCAN_NOTHING &&
		    (!json_value_plain_string(members[0], type) || !is_one_of(*type, items)))
			return true;
		if (content_non_text(members[1], texts, type, 0) ||
		    content_non_text(members[2], texts, type, 0))
			return true;
	}
	return false;
}

static bool parts_non_text(struct json_value content, struct bytes *type)
{
	static const char *const texts[] = {"text", "functionCall", "functionResponse", NULL};
	struct json_walk parts = json_walk_start(json_scan_find(content, "parts"));
	while (json_walk_next(&parts)) {
		struct json_walk walk = json_walk_start(parts.value);
		while (json_walk_next(&walk)) {
			*type = walk.key;
			if (!is_one_of(walk.key, texts))
				return true;
		}
	}
	return false;
}

bool gemini_non_text(const struct json_scan *scan, struct bytes body, struct bytes *type)
{
	struct json_walk walk = json_walk_start(top_member(scan, body, BYTES("contents")));
	while (json_walk_next(&walk))
		if (parts_non_text(walk.value, type))
			return true;
	return parts_non_text(top_member(scan, body, BYTES("systemInstruction")), type);
}
