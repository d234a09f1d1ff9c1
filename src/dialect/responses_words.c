/* Canonical words of OpenAI Responses requests, and requests from words. */
#include "dialect/ops.h"

#include <stdio.h>
#include <stdlib.h>

enum err_code responses_bind_instructions(struct words *words, const char *name,
					  const json_t *value)
{
	if (!json_is_string(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be a string", name);
	return words_text_parts(words, value, name, words->system);
}

enum err_code responses_bind_false(struct words *words, const char *name, const json_t *value)
{
	return json_is_false(value) ? ERR_OK : bind_refused(words, name, value);
}

/* ---- items of the input ---- */

static bool is_text_type(const char *type)
{
	return strcmp(type, "input_text") == 0 || strcmp(type, "output_text") == 0;
}

static enum err_code bind_part(struct words *words, const json_t *part, const char *where,
			       json_t *parts)
{
	static const char *const allowed[] = {"type", "text", "annotations", "logprobs", NULL};
	const char *type;
	if (!json_is_object(part))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an object", where);
	ERR_TRY(words_string(words, part, "type", where, &type));
	if (!is_text_type(type))
		return ERR_SET(words->err, ERR_INVALID,
			       "%s is of type \"%.32s\"; only text can be bound", where, type);
	ERR_TRY(words_only(words, part, where, allowed));
	if (json_array_size(json_object_get(part, "annotations")) ||
	    json_array_size(json_object_get(part, "logprobs")))
		return ERR_SET(words->err, ERR_INVALID, "%s has annotations or logprobs", where);
	return words_text(words, part, where, parts);
}

static enum err_code bind_content(struct words *words, const json_t *content, const char *where,
				  json_t *parts)
{
	size_t i;
	json_t *part;
	if (!json_is_array(content))
		return words_text_parts(words, content, where, parts);
	json_array_foreach(content, i, part)
	{
		char here[WORDS_WHERE_MAX];
		snprintf(here, sizeof(here), "%.72s[%zu]", where, i);
		ERR_TRY(bind_part(words, part, here, parts));
	}
	return ERR_OK;
}

/* Instructions in front of everything else are the system prompt; later ones keep their place. */
static enum err_code bind_message(struct words *words, const json_t *item, const char *where)
{
	static const char *const allowed[] = {"type", "role", "content", "id", "status", NULL};
	static const char *const roles[][2] = {
		{"user",      "user"     },
		{"assistant", "assistant"},
		{"system",    "system"   },
		{"developer", "system"   },
	};
	const char *role;
	char here[WORDS_WHERE_MAX];
	size_t i = 0;
	ERR_TRY(words_only(words, item, where, allowed));
	ERR_TRY(words_string(words, item, "role", where, &role));
	while (i < 4 && strcmp(roles[i][0], role) != 0)
		i++;
	if (i == 4)
		return ERR_SET(words->err, ERR_INVALID, "%s.role \"%.32s\" cannot be bound", where,
			       role);
	snprintf(here, sizeof(here), "%.64s.content", where);
	const json_t *content = json_object_get(item, "content");
	if (strcmp(roles[i][1], "system") == 0 && json_array_size(words->messages) == 0)
		return bind_content(words, content, here, words->system);
	json_t *out = json_pack("{s:s, s:[]}", "role", roles[i][1], "parts");
	ERR_TRY(words_append(words, words->messages, out));
	return bind_content(words, content, here, json_object_get(out, "parts"));
}

/* Where a call stands: the assistant's message just before it, or a new one. */
static json_t *calls_message(struct words *words)
{
	json_t *last = json_array_get(words->messages, json_array_size(words->messages) - 1);
	const char *role = json_string_value(json_object_get(last, "role"));
	if (role && strcmp(role, "assistant") == 0)
		return json_object_get(last, "parts");
	last = json_pack("{s:s, s:[]}", "role", "assistant", "parts");
	if (words_append(words, words->messages, last) != ERR_OK)
		return NULL;
	return json_object_get(last, "parts");
}

static enum err_code bind_call(struct words *words, const json_t *item, const char *where)
{
	static const char *const allowed[] = {"type", "call_id", "name", "arguments",
					      "id",   "status",  NULL};
	const char *id, *name, *arguments;
	json_t *number;
	ERR_TRY(words_only(words, item, where, allowed));
	ERR_TRY(words_string(words, item, "call_id", where, &id));
	ERR_TRY(words_string(words, item, "name", where, &name));
	ERR_TRY(words_string(words, item, "arguments", where, &arguments));
	ERR_TRY(words_new_call(words, id, where, &number));
	json_t *part =
		json_pack("{s:s, s:o, s:s, s:o}", "type", "tool_call", "call", number, "name", name,
			  "arguments", words_arguments(arguments, strlen(arguments)));
	return words_append(words, calls_message(words), part);
}

static enum err_code bind_output(struct words *words, const json_t *item, const char *where)
{
	static const char *const allowed[] = {"type", "call_id", "output", "id", "status", NULL};
	const char *id;
	json_t *number;
	char here[WORDS_WHERE_MAX];
	ERR_TRY(words_only(words, item, where, allowed));
	ERR_TRY(words_string(words, item, "call_id", where, &id));
	ERR_TRY(words_old_call(words, id, where, &number));
	json_t *part =
		json_pack("{s:s, s:o, s:[]}", "type", "tool_result", "call", number, "parts");
	ERR_TRY(words_append(words, words_results_message(words), part));
	snprintf(here, sizeof(here), "%.64s.output", where);
	return bind_content(words, json_object_get(item, "output"), here,
			    json_object_get(part, "parts"));
}

static const struct {
	const char *type;
	enum err_code (*bind)(struct words *, const json_t *, const char *);
} items[] = {
	{"message",              bind_message},
	{"function_call",        bind_call   },
	{"function_call_output", bind_output },
};

static enum err_code bind_item(struct words *words, const json_t *item, const char *where)
{
	const char *type = "message";
	if (!json_is_object(item))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an object", where);
	if (json_object_get(item, "type"))
		ERR_TRY(words_string(words, item, "type", where, &type));
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		if (strcmp(items[i].type, type) == 0)
			return items[i].bind(words, item, where);
	return ERR_SET(words->err, ERR_INVALID, "%s of type \"%.32s\" cannot be bound", where,
		       type);
}

enum err_code responses_bind_input(struct words *words, const char *name, const json_t *value)
{
	if (!json_is_string(value))
		return words_each_message(words, name, value, bind_item);
	json_t *out = json_pack("{s:s, s:[]}", "role", "user", "parts");
	ERR_TRY(words_append(words, words->messages, out));
	return words_text_parts(words, value, name, json_object_get(out, "parts"));
}

/* ---- tools, format, settings ---- */

enum err_code responses_bind_tools(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"type",       "name",   "description",
					      "parameters", "strict", NULL};
	size_t i;
	json_t *tool;
	if (!json_is_array(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an array", name);
	json_array_foreach(value, i, tool)
	{
		char where[WORDS_WHERE_MAX];
		const char *type;
		snprintf(where, sizeof(where), "tools[%zu]", i);
		ERR_TRY(words_string(words, tool, "type", where, &type));
		if (strcmp(type, "function") != 0)
			return ERR_SET(words->err, ERR_INVALID,
				       "%s is the provider's own \"%.32s\" and cannot be bound",
				       where, type);
		ERR_TRY(words_only(words, tool, where, allowed));
		ERR_TRY(words_add_tool(words, tool, "parameters", where));
	}
	return ERR_OK;
}

enum err_code responses_bind_tool_choice(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"type", "name", NULL};
	const char *type, *tool;
	if (json_is_string(value))
		return openai_bind_tool_choice(words, name, value);
	ERR_TRY(words_only(words, value, name, allowed));
	ERR_TRY(words_string(words, value, "type", name, &type));
	if (strcmp(type, "function") != 0)
		return ERR_SET(words->err, ERR_INVALID, "%s.type \"%.32s\" cannot be bound", name,
			       type);
	ERR_TRY(words_string(words, value, "name", name, &tool));
	return words_set(words, words->settings, "tool_choice", json_pack("{s:s}", "name", tool));
}

static enum err_code bind_format(struct words *words, const json_t *value)
{
	static const char *const allowed[] = {"type",   "name",   "description",
					      "schema", "strict", NULL};
	const char *type;
	ERR_TRY(words_only(words, value, "text.format", allowed));
	ERR_TRY(words_string(words, value, "type", "text.format", &type));
	if (strcmp(type, "text") == 0)
		return ERR_OK;
	if (strcmp(type, "json_object") == 0)
		return words_set_json_object(words);
	if (strcmp(type, "json_schema") != 0)
		return ERR_SET(words->err, ERR_INVALID,
			       "text.format of type \"%.32s\" cannot be bound", type);
	return openai_bind_schema(words, "text.format", value);
}

enum err_code responses_bind_text(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"format", "verbosity", NULL};
	ERR_TRY(words_only(words, value, name, allowed));
	const json_t *format = json_object_get(value, "format");
	const json_t *verbosity = json_object_get(value, "verbosity");
	if (format && !json_is_null(format))
		ERR_TRY(bind_format(words, format));
	if (!verbosity || json_is_null(verbosity))
		return ERR_OK;
	return openai_bind_verbosity(words, "verbosity", verbosity);
}

enum err_code responses_bind_reasoning(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"effort", NULL};
	ERR_TRY(words_only(words, value, name, allowed));
	const json_t *effort = json_object_get(value, "effort");
	return effort && !json_is_null(effort) ? openai_bind_effort(words, name, effort) : ERR_OK;
}

enum err_code responses_bind_include(struct words *words, const char *name, const json_t *value)
{
	size_t i;
	json_t *item;
	json_array_foreach(value, i, item)
	{
		const char *word = json_string_value(item);
		if (!word || strcmp(word, "message.output_text.logprobs") != 0)
			return bind_refused(words, name, value);
		ERR_TRY(words_set(words, words->settings, "logprobs", json_true()));
	}
	return json_is_array(value) ? ERR_OK : bind_refused(words, name, value);
}

enum err_code responses_bind_truncation(struct words *words, const char *name, const json_t *value)
{
	const char *word = json_string_value(value);
	return word && strcmp(word, "disabled") == 0 ? ERR_OK : bind_refused(words, name, value);
}

/* ---- requests from words ---- */

/* A content of text parts: a string for one, else an array of `type`. */
static json_t *build_content(const json_t *texts, const char *type)
{
	size_t i;
	json_t *part, *content = build_text_content(texts);
	json_array_foreach(content, i, part)
	{
		if (json_object_set_new(part, "type", json_string(type)) != 0) {
			json_decref(content);
			return NULL;
		}
	}
	return content;
}

static enum err_code build_call(const json_t *part, json_t *input, struct err *err)
{
	char *text = build_arguments_text(part);
	json_t *item = json_pack("{s:s, s:o, s:O, s:s}", "type", "function_call", "call_id",
				 build_call_id(part), "name", json_object_get(part, "name"),
				 "arguments", text);
	free(text);
	return build_append(input, item, err);
}

static enum err_code build_result(const json_t *part, json_t *input, struct err *err)
{
	if (json_object_get(part, "error"))
		return ERR_SET(err, ERR_INVALID,
			       "this dialect cannot mark a tool result as failed");
	return build_append(input,
			    json_pack("{s:s, s:o, s:o}", "type", "function_call_output", "call_id",
				      build_call_id(part), "output",
				      build_content(json_object_get(part, "parts"), "input_text")),
			    err);
}

/* How many parts of a message have the type. */
static size_t count_parts(const json_t *parts, const char *type)
{
	size_t i, count = 0;
	json_t *part;
	json_array_foreach(parts, i, part)
	{
		const char *is = json_string_value(json_object_get(part, "type"));
		count += is && strcmp(is, type) == 0;
	}
	return count;
}

static enum err_code build_texts(const char *role, const json_t *parts, json_t *input,
				 struct err *err)
{
	size_t i;
	json_t *part, *texts = json_array();
	bool assistant = strcmp(role, "assistant") == 0;
	json_array_foreach(parts, i, part)
	{
		const char *type = json_string_value(json_object_get(part, "type"));
		if (type && strcmp(type, "text") == 0)
			json_array_append(texts, part);
	}
	json_t *content = build_content(texts, assistant ? "output_text" : "input_text");
	json_decref(texts);
	return build_append(input, json_pack("{s:s, s:o}", "role", role, "content", content), err);
}

/* An item for the texts, then one for each call or result. */
static enum err_code build_message(const json_t *message, bool after_assistant, json_t *input,
				   struct err *err)
{
	const char *role = json_string_value(json_object_get(message, "role"));
	const json_t *parts = json_object_get(message, "parts");
	size_t i;
	json_t *part;
	if (!role || !json_is_array(parts))
		return ERR_SET(err, ERR_INVALID, "a message of the words has no role or no parts");
	size_t texts = count_parts(parts, "text"), results = count_parts(parts, "tool_result");
	size_t calls = count_parts(parts, "tool_call");
	if (texts + results + calls != json_array_size(parts))
		return ERR_SET(err, ERR_INVALID, "a part of the words has no known type");
	if (results && texts)
		return ERR_SET(err, ERR_INVALID,
			       "this dialect has no message with both tool results and text");
	if (calls && !texts && after_assistant)
		return ERR_SET(err, ERR_INVALID,
			       "this dialect cannot tell tool calls from the message before them");
	if (texts || !(calls + results))
		ERR_TRY(build_texts(role, parts, input, err));
	json_array_foreach(parts, i, part)
	{
		const char *type = json_string_value(json_object_get(part, "type"));
		if (strcmp(type, "tool_call") == 0)
			ERR_TRY(build_call(part, input, err));
		if (strcmp(type, "tool_result") == 0)
			ERR_TRY(build_result(part, input, err));
	}
	return ERR_OK;
}

static enum err_code build_input(const json_t *words, json_t *body, struct err *err)
{
	json_t *system = json_object_get(words, "system"), *message, *input = json_array();
	bool after_assistant = false;
	size_t i;
	ERR_TRY(build_set(body, "input", input, err));
	json_t *plain = json_array_size(system) ? build_text_content(system) : NULL;
	if (json_is_string(plain)) {
		ERR_TRY(build_set(body, "instructions", plain, err));
	} else if (plain) {
		json_decref(plain);
		ERR_TRY(build_texts("system", system, input, err));
	}
	json_array_foreach(json_object_get(words, "messages"), i, message)
	{
		const char *role = json_string_value(json_object_get(message, "role"));
		ERR_TRY(build_message(message, after_assistant, input, err));
		after_assistant = role && strcmp(role, "assistant") == 0;
	}
	return ERR_OK;
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
		json_t *out = json_copy(tool);
		ERR_TRY(build_append(list, out, err));
		ERR_TRY(build_set(out, "type", json_string("function"), err));
		/* What is left out means strict here. */
		if (!json_object_get(out, "strict"))
			ERR_TRY(build_set(out, "strict", json_false(), err));
	}
	return ERR_OK;
}

static enum err_code build_text(const json_t *words, const json_t *settings, json_t *body,
				struct err *err)
{
	json_t *format = json_object_get(words, "format"), *text, *out;
	json_t *verbosity = json_object_get(settings, "verbosity");
	if (!format && !verbosity)
		return ERR_OK;
	ERR_TRY(build_set(body, "text", text = json_object(), err));
	if (verbosity)
		ERR_TRY(build_set(text, "verbosity", json_incref(verbosity), err));
	if (!format)
		return ERR_OK;
	ERR_TRY(build_set(text, "format", out = json_copy(format), err));
	if (!json_object_get(format, "schema"))
		return ERR_OK;
	if (!json_object_get(format, "name"))
		ERR_TRY(build_set(out, "name", json_string(WORDS_DEFAULT_FORMAT_NAME), err));
	if (!json_object_get(format, "strict"))
		ERR_TRY(build_set(out, "strict", json_true(), err));
	return ERR_OK;
}

static enum err_code build_choices(const json_t *settings, json_t *body, struct err *err)
{
	json_t *choice = json_object_get(settings, "tool_choice");
	json_t *effort = json_object_get(json_object_get(settings, "reasoning"), "effort");
	if (json_is_object(choice))
		ERR_TRY(build_set(body, "tool_choice",
				  json_pack("{s:s, s:O}", "type", "function", "name",
					    json_object_get(choice, "name")),
				  err));
	else
		ERR_TRY(build_copy(settings, "tool_choice", body, "tool_choice", err));
	if (json_object_get(settings, "logprobs"))
		ERR_TRY(build_set(body, "include", json_pack("[s]", "message.output_text.logprobs"),
				  err));
	return effort ? build_set(body, "reasoning", json_pack("{s:O}", "effort", effort), err)
		      : ERR_OK;
}

enum err_code responses_build(const json_t *words, const json_t *settings, json_t *body,
			      bool stream, struct err *err)
{
	static const char *const plain[] = {"temperature", "top_p", "top_logprobs",
					    "parallel_tool_calls"};
	(void)stream;
	ERR_TRY(build_input(words, body, err));
	ERR_TRY(build_tools(json_object_get(words, "tools"), body, err));
	ERR_TRY(build_text(words, settings, body, err));
	ERR_TRY(build_set(body, "store", json_false(), err));
	ERR_TRY(build_copy(settings, "max_output", body, "max_output_tokens", err));
	for (size_t k = 0; k < sizeof(plain) / sizeof(plain[0]); k++)
		ERR_TRY(build_copy(settings, plain[k], body, plain[k], err));
	return build_choices(settings, body, err);
}
