#include "dialect/ops.h"

#include <stdlib.h>

json_t *build_text_content(const json_t *parts)
{
	size_t i;
	json_t *part;
	if (json_array_size(parts) == 0)
		return json_string("");
	json_array_foreach(parts, i, part)
	{
		const char *type = json_string_value(json_object_get(part, "type"));
		if (!type || strcmp(type, "text") != 0)
			return NULL;
	}
	json_t *text = json_object_get(json_array_get(parts, 0), "text");
	/* One part that is empty differs from no part, which is what an empty string means. */
	if (json_array_size(parts) == 1 && json_string_length(text) > 0)
		return json_incref(text);
	return json_deep_copy(parts);
}

json_t *build_call_id(const json_t *part)
{
	return json_sprintf("call_%lld",
			    (long long)json_integer_value(json_object_get(part, "call")));
}

char *build_arguments_text(const json_t *part)
{
	const json_t *arguments = json_object_get(part, "arguments");
	if (json_is_string(arguments))
		return strdup(json_string_value(arguments));
	return json_dumps(arguments, JSON_COMPACT | JSON_ENCODE_ANY);
}

const char *build_call_name(const json_t *words, json_int_t number)
{
	size_t i, k;
	json_t *message, *part;
	json_array_foreach(json_object_get(words, "messages"), i, message)
	{
		json_array_foreach(json_object_get(message, "parts"), k, part)
		{
			const char *type = json_string_value(json_object_get(part, "type"));
			if (type && strcmp(type, "tool_call") == 0 &&
			    json_integer_value(json_object_get(part, "call")) == number)
				return json_string_value(json_object_get(part, "name"));
		}
	}
	return NULL;
}

enum err_code build_set(json_t *object, const char *key, json_t *value, struct err *err)
{
	if (!value || json_object_set_new(object, key, value) != 0)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory for a request (or malformed words)");
	return ERR_OK;
}

enum err_code build_append(json_t *array, json_t *value, struct err *err)
{
	if (!value || json_array_append_new(array, value) != 0)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory for a request (or malformed words)");
	return ERR_OK;
}

enum err_code build_copy(const json_t *settings, const char *from, json_t *body, const char *to,
			 struct err *err)
{
	json_t *value = json_object_get(settings, from);
	return value ? build_set(body, to, json_incref(value), err) : ERR_OK;
}

static enum err_code check_settings(const struct dialect_ops *ops, const json_t *settings,
				    struct err *err)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)settings, key, value)
	{
		const char *const *known = ops->settings;
		while (*known && strcmp(*known, key) != 0)
			known++;
		if (!*known)
			return ERR_SET(err, ERR_INVALID,
				       "the setting \"%.64s\" does not exist in the dialect %s",
				       key, ops->name);
	}
	return ERR_OK;
}

enum err_code dialect_build_request(enum dialect_id dialect, const json_t *words,
				    const json_t *settings, const char *model, bool stream,
				    struct buf *out, struct err *err)
{
	const struct dialect_ops *ops = dialect_ops_of(dialect);
	ERR_TRY(check_settings(ops, settings, err));
	json_t *body = json_pack("{s:s}", "model", model);
	if (!body)
		return ERR_SET(err, ERR_NO_MEMORY,
			       "no memory for a request (or a malformed model)");
	enum err_code code = ERR_OK;
	if (stream)
		code = build_set(body, "stream", json_true(), err);
	if (code == ERR_OK)
		code = ops->build(words, settings, body, stream, err);
	if (code == ERR_OK)
		code = json_canonical(body, out, err);
	json_decref(body);
	return code;
}

enum err_code dialect_build_request_text(enum dialect_id dialect, struct bytes words,
					 struct bytes settings, const char *model, bool stream,
					 struct buf *out, struct err *err)
{
	json_t *words_tree = NULL, *settings_tree = NULL;
	ERR_TRY(json_parse(words, "the words", &words_tree, err));
	enum err_code code = ERR_OK;
	if (settings.size)
		code = json_parse(settings, "the settings", &settings_tree, err);
	if (code == ERR_OK)
		code = dialect_build_request(dialect, words_tree, settings_tree, model, stream, out,
					     err);
	json_decref(words_tree);
	json_decref(settings_tree);
	return code;
}
