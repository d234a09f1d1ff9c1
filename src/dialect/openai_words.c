/* Canonical words of OpenAI Chat Completions requests, and requests from words. */
#include "dialect/ops.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- messages ---- */

/* A member that some clients send empty: null or an empty array say nothing. */
static bool says_something(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return value && !json_is_null(value) &&
	       !(json_is_array(value) && json_array_size(value) == 0);
}

static enum err_code bind_tool_call(struct words *words, const json_t *call, const char *where,
				    json_t *parts)
{
	static const char *const allowed[] = {"id", "type", "function", "index", NULL};
	static const char *const allowed_function[] = {"name", "arguments", NULL};
	const char *id, *type, *name, *arguments;
	json_t *number, *function = json_object_get(call, "function");
	ERR_TRY(words_only(words, call, where, allowed));
	ERR_TRY(words_string(words, call, "id", where, &id));
	ERR_TRY(words_string(words, call, "type", where, &type));
	if (strcmp(type, "function") != 0)
		return ERR_SET(words->err, ERR_INVALID, "%s.type must be \"function\"", where);
	ERR_TRY(words_only(words, function, where, allowed_function));
	ERR_TRY(words_string(words, function, "name", where, &name));
	ERR_TRY(words_string(words, function, "arguments", where, &arguments));
	ERR_TRY(words_new_call(words, id, where, &number));
	return words_append(words, parts,
			    json_pack("{s:s, s:o, s:s, s:o}", "type", "tool_call", "call", number,
				      "name", name, "arguments",
				      words_arguments(arguments, strlen(arguments))));
}

static enum err_code bind_plain(struct words *words, const json_t *message, const char *role,
				const char *where, json_t **parts)
{
	char here[WORDS_WHERE_MAX];
	json_t *out = json_pack("{s:s, s:[]}", "role", role, "parts");
	ERR_TRY(words_append(words, words->messages, out));
	*parts = json_object_get(out, "parts");
	snprintf(here, sizeof(here), "%.64s.content", where);
	return words_text_parts(words, json_object_get(message, "content"), here, *parts);
}

/* Instructions in front of everything else are the system prompt; later ones keep their place. */
static enum err_code bind_system(struct words *words, const json_t *message, const char *where)
{
	static const char *const allowed[] = {"role", "content", NULL};
	char here[WORDS_WHERE_MAX];
	json_t *parts;
	ERR_TRY(words_only(words, message, where, allowed));
	if (json_array_size(words->messages))
		return bind_plain(words, message, "system", where, &parts);
	snprintf(here, sizeof(here), "%.64s.content", where);
	return words_text_parts(words, json_object_get(message, "content"), here, words->system);
}

static enum err_code bind_user(struct words *words, const json_t *message, const char *where)
{
	static const char *const allowed[] = {"role", "content", NULL};
	json_t *parts;
	ERR_TRY(words_only(words, message, where, allowed));
	return bind_plain(words, message, "user", where, &parts);
}

static enum err_code bind_assistant(struct words *words, const json_t *message, const char *where)
{
	static const char *const allowed[] = {"role",  "content",     "tool_calls",    "refusal",
					      "audio", "annotations", "function_call", NULL};
	static const char *const empty[] = {"refusal", "audio", "annotations", "function_call"};
	json_t *parts, *call;
	size_t i;
	ERR_TRY(words_only(words, message, where, allowed));
	for (size_t k = 0; k < sizeof(empty) / sizeof(empty[0]); k++)
		if (says_something(message, empty[k]))
			return ERR_SET(words->err, ERR_INVALID, "%s.%s cannot be bound", where,
				       empty[k]);
	ERR_TRY(bind_plain(words, message, "assistant", where, &parts));
	json_array_foreach(json_object_get(message, "tool_calls"), i, call)
	{
		char here[WORDS_WHERE_MAX];
		snprintf(here, sizeof(here), "%.48s.tool_calls[%zu]", where, i);
		ERR_TRY(bind_tool_call(words, call, here, parts));
	}
	return ERR_OK;
}

static enum err_code bind_tool(struct words *words, const json_t *message, const char *where)
{
	static const char *const allowed[] = {"role", "content", "tool_call_id", NULL};
	const char *id;
	json_t *number;
	char here[WORDS_WHERE_MAX];
	ERR_TRY(words_only(words, message, where, allowed));
	ERR_TRY(words_string(words, message, "tool_call_id", where, &id));
	ERR_TRY(words_old_call(words, id, where, &number));
	json_t *part =
		json_pack("{s:s, s:o, s:[]}", "type", "tool_result", "call", number, "parts");
	ERR_TRY(words_append(words, words_results_message(words), part));
	snprintf(here, sizeof(here), "%.64s.content", where);
	return words_text_parts(words, json_object_get(message, "content"), here,
				json_object_get(part, "parts"));
}

static const struct {
	const char *role;
	enum err_code (*bind)(struct words *, const json_t *, const char *);
} roles[] = {
	{"user",      bind_user     },
        {"assistant", bind_assistant},
        {"system",    bind_system   },
	{"developer", bind_system   },
        {"tool",      bind_tool     },
};

static enum err_code bind_message(struct words *words, const json_t *message, const char *where)
{
	const char *role;
	if (!json_is_object(message))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an object", where);
	ERR_TRY(words_string(words, message, "role", where, &role));
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(roles[i].role, role) == 0)
			return roles[i].bind(words, message, where);
	return ERR_SET(words->err, ERR_INVALID, "%s.role \"%.32s\" cannot be bound", where, role);
}

enum err_code openai_bind_messages(struct words *words, const char *name, const json_t *value)
{
	return words_each_message(words, name, value, bind_message);
}

/* ---- tools, format, settings ---- */

enum err_code openai_bind_tools(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"type", "function", NULL};
	static const char *const allowed_function[] = {"name", "description", "parameters",
						       "strict", NULL};
	size_t i;
	json_t *tool;
	if (!json_is_array(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an array", name);
	json_array_foreach(value, i, tool)
	{
		char where[WORDS_WHERE_MAX];
		const char *type;
		snprintf(where, sizeof(where), "tools[%zu]", i);
		ERR_TRY(words_only(words, tool, where, allowed));
		ERR_TRY(words_string(words, tool, "type", where, &type));
		if (strcmp(type, "function") != 0)
			return ERR_SET(words->err, ERR_INVALID,
				       "%s is the provider's own \"%.32s\" and cannot be bound",
				       where, type);
		const json_t *function = json_object_get(tool, "function");
		ERR_TRY(words_only(words, function, where, allowed_function));
		ERR_TRY(words_add_tool(words, function, "parameters", where));
	}
	return ERR_OK;
}

enum err_code openai_bind_tool_choice(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"type", "function", NULL};
	static const char *const allowed_function[] = {"name", NULL};
	const char *word = json_string_value(value), *tool;
	if (word && strcmp(word, "auto") == 0)
		return ERR_OK;
	if (word && (strcmp(word, "none") == 0 || strcmp(word, "required") == 0))
		return words_set(words, words->settings, "tool_choice", json_string(word));
	ERR_TRY(words_only(words, value, name, allowed));
	const json_t *function = json_object_get(value, "function");
	ERR_TRY(words_only(words, function, "tool_choice.function", allowed_function));
	ERR_TRY(words_string(words, function, "name", "tool_choice.function", &tool));
	return words_set(words, words->settings, "tool_choice", json_pack("{s:s}", "name", tool));
}

enum err_code openai_bind_schema(struct words *words, const char *name, const json_t *schema)
{
	const char *schema_name;
	ERR_TRY(words_string(words, schema, "name", name, &schema_name));
	return words_set_schema(words, json_object_get(schema, "schema"), schema_name,
				json_string_value(json_object_get(schema, "description")),
				json_is_true(json_object_get(schema, "strict")));
}

enum err_code openai_bind_format(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"type", "json_schema", NULL};
	static const char *const allowed_schema[] = {"name", "description", "schema", "strict",
						     NULL};
	const char *type;
	ERR_TRY(words_only(words, value, name, allowed));
	ERR_TRY(words_string(words, value, "type", name, &type));
	if (strcmp(type, "text") == 0)
		return ERR_OK;
	if (strcmp(type, "json_object") == 0)
		return words_set_json_object(words);
	const json_t *schema = json_object_get(value, "json_schema");
	if (strcmp(type, "json_schema") != 0 || !schema)
		return ERR_SET(words->err, ERR_INVALID, "%s of type \"%.32s\" cannot be bound",
			       name, type);
	ERR_TRY(words_only(words, schema, name, allowed_schema));
	return openai_bind_schema(words, name, schema);
}

enum err_code openai_bind_n(struct words *words, const char *name, const json_t *value)
{
	if (json_is_integer(value) && json_integer_value(value) == 1)
		return ERR_OK;
	return ERR_SET(words->err, ERR_INVALID, "%s must be 1: a sample is one answer", name);
}

enum err_code openai_bind_modalities(struct words *words, const char *name, const json_t *value)
{
	const char *only = json_string_value(json_array_get(value, 0));
	if (json_array_size(value) == 1 && only && strcmp(only, "text") == 0)
		return ERR_OK;
	return ERR_SET(words->err, ERR_INVALID, "%s must be [\"text\"]", name);
}

enum err_code openai_bind_effort(struct words *words, const char *name, const json_t *value)
{
	if (!json_is_string(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be a string", name);
	return words_set_reasoning(words, "effort", json_incref((json_t *)value));
}

enum err_code openai_bind_verbosity(struct words *words, const char *name, const json_t *value)
{
	if (!json_is_string(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be a string", name);
	return words_set(words, words->settings, name, json_incref((json_t *)value));
}

/* What is not the default is a setting: logprobs true, parallel_tool_calls false. */
enum err_code openai_bind_flag(struct words *words, const char *name, const json_t *value)
{
	bool usual = strcmp(name, "parallel_tool_calls") == 0;
	if (!json_is_boolean(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be true or false", name);
	if (json_is_true(value) == usual)
		return ERR_OK;
	return words_set(words, words->settings, name, json_incref((json_t *)value));
}

enum err_code openai_bind_bias(struct words *words, const char *name, const json_t *value)
{
	if (!json_is_object(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an object", name);
	if (json_object_size(value) == 0)
		return ERR_OK;
	return words_set(words, words->settings, name, json_incref((json_t *)value));
}

/* ---- requests from words ---- */

static json_t *build_call(const json_t *part)
{
	char *text = build_arguments_text(part);
	json_t *call =
		json_pack("{s:o, s:s, s:{s:O, s:s}}", "id", build_call_id(part), "type", "function",
			  "function", "name", json_object_get(part, "name"), "arguments", text);
	free(text);
	return call;
}

static enum err_code build_result(const json_t *part, json_t *messages, struct err *err)
{
	if (json_object_get(part, "error"))
		return ERR_SET(err, ERR_INVALID,
			       "this dialect cannot mark a tool result as failed");
	return build_append(messages,
			    json_pack("{s:s, s:o, s:o}", "role", "tool", "tool_call_id",
				      build_call_id(part), "content",
				      build_text_content(json_object_get(part, "parts"))),
			    err);
}

/* Splits a message's parts: texts and calls make one message, each result one of its own. */
struct split {
	json_t *texts, *calls, *messages;
	bool has_results;
};

static enum err_code split_part(const json_t *part, struct split *split, struct err *err)
{
	const char *type = json_string_value(json_object_get(part, "type"));
	if (type && strcmp(type, "text") == 0)
		return build_append(split->texts, json_incref((json_t *)part), err);
	if (type && strcmp(type, "tool_call") == 0)
		return build_append(split->calls, build_call(part), err);
	if (!type || strcmp(type, "tool_result") != 0)
		return ERR_SET(err, ERR_INVALID, "a part of the words has no known type");
	split->has_results = true;
	return build_result(part, split->messages, err);
}

static enum err_code build_split(const char *role, struct split *split, struct err *err)
{
	if (split->has_results && json_array_size(split->texts))
		return ERR_SET(err, ERR_INVALID,
			       "this dialect has no message with both tool results and text");
	if (split->has_results)
		return ERR_OK;
	json_t *out = json_pack("{s:s}", "role", role);
	ERR_TRY(build_append(split->messages, out, err));
	if (json_array_size(split->calls)) {
		ERR_TRY(build_set(out, "tool_calls", json_incref(split->calls), err));
		if (json_array_size(split->texts) == 0)
			return build_set(out, "content", json_null(), err);
	}
	return build_set(out, "content", build_text_content(split->texts), err);
}

static enum err_code build_message(const json_t *message, json_t *messages, struct err *err)
{
	const char *role = json_string_value(json_object_get(message, "role"));
	const json_t *parts = json_object_get(message, "parts");
	struct split split = {json_array(), json_array(), messages, false};
	enum err_code code = ERR_OK;
	size_t i;
	json_t *part;
	if (!role || !json_is_array(parts))
		code = ERR_SET(err, ERR_INVALID, "a message of the words has no role or no parts");
	for (i = 0; code == ERR_OK && (part = json_array_get(parts, i)); i++)
		code = split_part(part, &split, err);
	if (code == ERR_OK)
		code = build_split(role, &split, err);
	json_decref(split.texts);
	json_decref(split.calls);
	return code;
}

static enum err_code build_tools(const json_t *tools, json_t *body, struct err *err)
{
	size_t i;
	json_t *tool;
	if (!json_array_size(tools))
		return ERR_OK;
	json_t *list = json_array();
	ERR_TRY(build_set(body, "tools", list, err));
	json_array_foreach(tools, i, tool)
	{
		ERR_TRY(build_append(
			list, json_pack("{s:s, s:O}", "type", "function", "function", tool), err));
	}
	return ERR_OK;
}

static enum err_code build_format(const json_t *format, json_t *body, struct err *err)
{
	json_t *schema = json_object_get(format, "schema");
	if (!format)
		return ERR_OK;
	if (!schema)
		return build_set(body, "response_format", json_incref((json_t *)format), err);
	bool strict = json_object_get(format, "strict") == NULL;
	json_t *inner = json_pack("{s:s, s:b, s:O}", "name", WORDS_DEFAULT_FORMAT_NAME, "strict",
				  strict, "schema", schema);
	ERR_TRY(build_set(body, "response_format",
			  json_pack("{s:s, s:o}", "type", "json_schema", "json_schema", inner),
			  err));
	ERR_TRY(build_copy(format, "name", inner, "name", err));
	return build_copy(format, "description", inner, "description", err);
}

static enum err_code build_tool_choice(const json_t *settings, json_t *body, struct err *err)
{
	json_t *choice = json_object_get(settings, "tool_choice");
	if (!json_is_object(choice))
		return build_copy(settings, "tool_choice", body, "tool_choice", err);
	return build_set(body, "tool_choice",
			 json_pack("{s:s, s:O}", "type", "function", "function", choice), err);
}

static enum err_code build_messages(const json_t *words, json_t *messages, struct err *err)
{
	size_t i;
	json_t *message, *system = json_object_get(words, "system");
	if (json_array_size(system))
		ERR_TRY(build_append(messages,
				     json_pack("{s:s, s:o}", "role", "system", "content",
					       build_text_content(system)),
				     err));
	json_array_foreach(json_object_get(words, "messages"), i, message)
	{
		ERR_TRY(build_message(message, messages, err));
	}
	return ERR_OK;
}

enum err_code openai_build(const json_t *words, const json_t *settings, json_t *body, bool stream,
			   struct err *err)
{
	static const char *const plain[] = {
		"temperature",      "top_p",      "frequency_penalty",
		"presence_penalty", "logit_bias", "logprobs",
		"top_logprobs",     "verbosity",  "parallel_tool_calls"};
	json_t *messages = json_array();
	ERR_TRY(build_set(body, "messages", messages, err));
	ERR_TRY(build_messages(words, messages, err));
	ERR_TRY(build_tools(json_object_get(words, "tools"), body, err));
	ERR_TRY(build_format(json_object_get(words, "format"), body, err));
	ERR_TRY(build_copy(settings, "max_output", body, "max_completion_tokens", err));
	for (size_t k = 0; k < sizeof(plain) / sizeof(plain[0]); k++)
		ERR_TRY(build_copy(settings, plain[k], body, plain[k], err));
	ERR_TRY(build_copy(json_object_get(settings, "reasoning"), "effort", body,
			   "reasoning_effort", err));
	ERR_TRY(build_tool_choice(settings, body, err));
	if (!stream)
		return ERR_OK;
	return build_set(body, "stream_options", json_pack("{s:b}", "include_usage", 1), err);
}
