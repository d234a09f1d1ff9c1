#include "dialect/ops.h"

#include <stdio.h>

/* ---- building blocks ---- */

enum err_code words_append(struct words *words, json_t *array, json_t *value)
{
	if (!array || !value || json_array_append_new(array, value) != 0)
		return ERR_SET(words->err, ERR_NO_MEMORY, "no memory for the canonical words");
	return ERR_OK;
}

enum err_code words_set(struct words *words, json_t *object, const char *key, json_t *value)
{
	if (!object || !value || json_object_set_new(object, key, value) != 0)
		return ERR_SET(words->err, ERR_NO_MEMORY, "no memory for the canonical words");
	return ERR_OK;
}

json_t *words_text_part(json_t *text)
{
	json_t *part = json_object();
	if (!part) {
		json_decref(text);
		return NULL;
	}
	if (json_object_set_new_nocheck(part, "text", text) == 0 &&
	    json_object_set_new_nocheck(part, "type", json_string_nocheck("text")) == 0)
		return part;
	json_decref(part);
	return NULL;
}

enum err_code words_each_message(struct words *words, const char *name, const json_t *value,
				 enum err_code (*bind)(struct words *words, const json_t *message,
						       const char *where))
{
	size_t i;
	json_t *message;
	if (!json_is_array(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an array", name);
	json_array_foreach(value, i, message)
	{
		char where[WORDS_WHERE_MAX];
		snprintf(where, sizeof(where), "messages[%zu]", i);
		ERR_TRY(bind(words, message, where));
	}
	return ERR_OK;
}

enum err_code words_string(struct words *words, const json_t *object, const char *key,
			   const char *where, const char **out)
{
	const json_t *value = json_object_get(object, key);
	*out = json_string_value(value);
	if (!*out || strlen(*out) != json_string_length(value))
		return ERR_SET(words->err, ERR_INVALID, "%s.%s must be a string without NUL", where,
			       key);
	return ERR_OK;
}

enum err_code words_text(struct words *words, const json_t *part, const char *where, json_t *parts)
{
	const char *text;
	ERR_TRY(words_string(words, part, "text", where, &text));
	return words_append(words, parts,
			    words_text_part(json_incref(json_object_get(part, "text"))));
}

static bool is_allowed(const char *key, const char *const *allowed)
{
	for (; *allowed; allowed++)
		if (strcmp(key, *allowed) == 0)
			return true;
	return false;
}

enum err_code words_only(struct words *words, const json_t *object, const char *where,
			 const char *const *allowed)
{
	const char *key;
	json_t *value;
	if (!json_is_object(object))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an object", where);
	json_object_foreach((json_t *)object, key, value)
	{
		if (!json_is_null(value) && !is_allowed(key, allowed))
			return ERR_SET(words->err, ERR_INVALID,
				       "%s.%.64s is not known and cannot be bound", where, key);
	}
	return ERR_OK;
}

static enum err_code add_text(struct words *words, const json_t *text, const char *where,
			      json_t *parts)
{
	if (strlen(json_string_value(text)) != json_string_length(text))
		return ERR_SET(words->err, ERR_INVALID, "%s has a NUL character", where);
	return words_append(words, parts, words_text_part(json_incref((json_t *)text)));
}

static enum err_code text_part(struct words *words, const json_t *part, const char *where,
			       json_t *parts)
{
	static const char *const allowed[] = {"type", "text", "cache_control", NULL};
	const char *type;
	if (!json_is_object(part))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an object", where);
	ERR_TRY(words_string(words, part, "type", where, &type));
	if (strcmp(type, "text") != 0)
		return ERR_SET(words->err, ERR_INVALID,
			       "%s is of type \"%.32s\"; only text can be bound", where, type);
	ERR_TRY(words_only(words, part, where, allowed));
	return words_text(words, part, where, parts);
}

enum err_code words_text_parts(struct words *words, const json_t *content, const char *where,
			       json_t *parts)
{
	size_t i;
	json_t *part;
	if (!content || json_is_null(content))
		return ERR_OK;
	if (json_is_string(content))
		return json_string_length(content) ? add_text(words, content, where, parts)
						   : ERR_OK;
	if (!json_is_array(content))
		return ERR_SET(words->err, ERR_INVALID,
			       "%s must be a string or an array of text parts", where);
	json_array_foreach(content, i, part)
	{
		char here[WORDS_WHERE_MAX];
		snprintf(here, sizeof(here), "%s[%zu]", where, i);
		ERR_TRY(text_part(words, part, here, parts));
	}
	return ERR_OK;
}

/* ---- tool calls ---- */

static size_t find_call(const struct words *words, const char *id)
{
	size_t i;
	json_t *known;
	json_array_foreach(words->call_ids, i, known)
	{
		if (strcmp(json_string_value(known), id) == 0)
			break;
	}
	return i;
}

enum err_code words_new_call(struct words *words, const char *id, const char *where,
			     json_t **number)
{
	size_t count = json_array_size(words->call_ids);
	if (find_call(words, id) < count)
		return ERR_SET(words->err, ERR_INVALID, "%s has the id of an earlier tool call",
			       where);
	if (count == WORDS_CALLS_MAX)
		return ERR_SET(words->err, ERR_INVALID, "more than %d tool calls", WORDS_CALLS_MAX);
	ERR_TRY(words_append(words, words->call_ids, json_string(id)));
	*number = json_integer((json_int_t)count);
	return ERR_OK;
}

enum err_code words_old_call(struct words *words, const char *id, const char *where,
			     json_t **number)
{
	size_t index = find_call(words, id);
	if (index == json_array_size(words->call_ids))
		return ERR_SET(words->err, ERR_INVALID, "%s answers no earlier tool call", where);
	*number = json_integer((json_int_t)index);
	return ERR_OK;
}

json_t *words_arguments(const char *text, size_t size)
{
	json_t *value = NULL;
	if (size == 0)
		return json_object();
	/* Deep or numerically unreadable arguments stay text, like those that are no JSON. */
	if (json_parse(bytes_of(text, size), "arguments", &value, NULL) == ERR_OK)
		return value;
	return json_stringn(text, size);
}

/* ---- tools, format, settings ---- */

enum err_code words_add_tool(struct words *words, const json_t *tool, const char *parameters_key,
			     const char *where)
{
	const char *name, *description;
	json_t *parameters = json_object_get(tool, parameters_key);
	ERR_TRY(words_string(words, tool, "name", where, &name));
	if (!words->tools)
		words->tools = json_array();
	json_t *out = json_object();
	ERR_TRY(words_append(words, words->tools, out));
	ERR_TRY(words_set(words, out, "name", json_string(name)));
	if (parameters && !json_is_null(parameters))
		ERR_TRY(words_set(words, out, "parameters", json_incref(parameters)));
	if (json_is_true(json_object_get(tool, "strict")))
		ERR_TRY(words_set(words, out, "strict", json_true()));
	const json_t *given = json_object_get(tool, "description");
	if (!given || json_is_null(given))
		return ERR_OK;
	ERR_TRY(words_string(words, tool, "description", where, &description));
	return words_set(words, out, "description", json_string(description));
}

enum err_code words_set_schema(struct words *words, const json_t *schema, const char *name,
			       const char *description, bool strict)
{
	if (!json_is_object(schema))
		return ERR_SET(words->err, ERR_INVALID,
			       "the schema of the format must be an object");
	json_decref(words->format);
	words->format = json_object();
	json_t *format = words->format;
	ERR_TRY(words_set(words, format, "type", json_string("json_schema")));
	ERR_TRY(words_set(words, format, "schema", json_incref((json_t *)schema)));
	if (name && strcmp(name, WORDS_DEFAULT_FORMAT_NAME) != 0)
		ERR_TRY(words_set(words, format, "name", json_string(name)));
	if (description)
		ERR_TRY(words_set(words, format, "description", json_string(description)));
	return strict ? ERR_OK : words_set(words, format, "strict", json_false());
}

enum err_code bind_number(struct words *words, const char *name, const json_t *value)
{
	if (!json_is_number(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be a number", name);
	return words_set(words, words->settings, name, json_incref((json_t *)value));
}

enum err_code bind_max_output(struct words *words, const char *name, const json_t *value)
{
	if (!json_is_integer(value) || json_integer_value(value) < 1)
		return ERR_SET(words->err, ERR_INVALID, "%s must be a whole number above 0", name);
	if (json_object_get(words->settings, "max_output"))
		return ERR_SET(words->err, ERR_INVALID, "the most output is given twice (%s)",
			       name);
	return words_set(words, words->settings, "max_output", json_incref((json_t *)value));
}

enum err_code bind_refused(struct words *words, const char *name, const json_t *value)
{
	(void)value;
	return ERR_SET(words->err, ERR_INVALID, "%s cannot be bound to a suite; leave it out",
		       name);
}

enum err_code bind_nothing(struct words *words, const char *name, const json_t *value)
{
	(void)words;
	(void)name;
	(void)value;
	return ERR_OK;
}

enum err_code words_set_reasoning(struct words *words, const char *key, json_t *value)
{
	json_t *reasoning = json_object_get(words->settings, "reasoning");
	if (!reasoning) {
		reasoning = json_object();
		enum err_code code = words_set(words, words->settings, "reasoning", reasoning);
		if (code != ERR_OK) {
			json_decref(value);
			return code;
		}
	}
	return words_set(words, reasoning, key, value);
}

enum err_code words_set_json_object(struct words *words)
{
	json_decref(words->format);
	words->format = json_pack("{s:s}", "type", "json_object");
	return words->format ? ERR_OK
			     : ERR_SET(words->err, ERR_NO_MEMORY, "no memory for a format");
}

json_t *words_results_message(struct words *words)
{
	json_t *last = json_array_get(words->messages, json_array_size(words->messages) - 1);
	json_t *parts = json_object_get(last, "parts");
	json_t *part = json_array_get(parts, json_array_size(parts) - 1);
	const char *type = json_string_value(json_object_get(part, "type"));
	if (type && strcmp(type, "tool_result") == 0)
		return parts;
	last = json_pack("{s:s, s:[]}", "role", "user", "parts");
	if (words_append(words, words->messages, last) != ERR_OK)
		return NULL;
	return json_object_get(last, "parts");
}

/* ---- the whole ---- */

static bool has_row(const struct member_row *rows, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (bytes_is(rows[i].name, key))
			return true;
	return false;
}

enum err_code words_bind_members(struct words *words, const struct member_row *rows, size_t count,
				 const json_t *object, const char *where)
{
	const char *key;
	json_t *value;
	/* In the order of the table, so that errors and tool call numbers do not hang on the
	 * body's. */
	for (size_t i = 0; i < count; i++) {
		const char *name = rows[i].name.data;
		if (i > 0 && has_row(rows, i, name))
			continue;
		value = json_object_get(object, name);
		if (value && !json_is_null(value) && rows[i].bind)
			ERR_TRY(rows[i].bind(words, name, value));
	}
	json_object_foreach((json_t *)object, key, value)
	{
		if (!json_is_null(value) && !has_row(rows, count, key))
			return ERR_SET(words->err, ERR_INVALID,
				       "%s%.64s is not known and cannot be bound", where, key);
	}
	return ERR_OK;
}

static enum err_code bind_members(struct words *words, const struct dialect_ops *ops,
				  const json_t *body)
{
	if (!json_is_object(body))
		return ERR_SET(words->err, ERR_INVALID, "the request body is not a JSON object");
	return words_bind_members(words, ops->members, ops->member_count, body, "");
}

static enum err_code write_words(struct words *words, struct buf *out)
{
	if (json_array_size(words->messages) == 0)
		return ERR_SET(words->err, ERR_INVALID, "there are no messages");
	json_t *whole = json_object();
	enum err_code code = words_set(words, whole, "messages", json_incref(words->messages));
	if (code == ERR_OK && json_array_size(words->system))
		code = words_set(words, whole, "system", json_incref(words->system));
	if (code == ERR_OK && words->tools)
		code = words_set(words, whole, "tools", json_incref(words->tools));
	if (code == ERR_OK && words->format)
		code = words_set(words, whole, "format", json_incref(words->format));
	if (code == ERR_OK)
		code = json_canonical(whole, out, words->err);
	json_decref(whole);
	return code;
}

static void release(struct words *words)
{
	json_decref(words->system);
	json_decref(words->messages);
	json_decref(words->tools);
	json_decref(words->format);
	json_decref(words->settings);
	json_decref(words->call_ids);
}

enum err_code dialect_words(enum dialect_id dialect, struct bytes body, struct buf *words_out,
			    struct buf *settings_out, struct err *err)
{
	json_t *root = json_tree(body);
	if (!root)
		ERR_TRY(json_parse(body, "the request body", &root, err));
	struct words words = {.system = json_array(),
			      .messages = json_array(),
			      .settings = json_object(),
			      .call_ids = json_array(),
			      .err = err};
	enum err_code code = bind_members(&words, dialect_ops_of(dialect), root);
	if (code == ERR_OK)
		code = write_words(&words, words_out);
	if (code == ERR_OK && settings_out)
		code = json_canonical(words.settings, settings_out, err);
	release(&words);
	json_decref(root);
	return code;
}
