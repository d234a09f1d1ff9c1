/* Canonical words of Gemini requests, and requests from words. */
#include "dialect/ops.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- parts ---- */

static enum err_code bind_text(struct words *words, const json_t *part, const char *where,
			       json_t *parts)
{
	static const char *const allowed[] = {"text", NULL};
	ERR_TRY(words_only(words, part, where, allowed));
	return words_text(words, part, where, parts);
}

/* The text parts of {parts: [{text}]}. */
static enum err_code bind_texts(struct words *words, const json_t *content, const char *where,
				json_t *parts)
{
	size_t i;
	json_t *part;
	json_t *list = json_object_get(content, "parts");
	if (list && !json_is_array(list))
		return ERR_SET(words->err, ERR_INVALID, "%s.parts must be an array", where);
	json_array_foreach(list, i, part)
	{
		char here[WORDS_WHERE_MAX];
		snprintf(here, sizeof(here), "%.64s.parts[%zu]", where, i);
		ERR_TRY(bind_text(words, part, here, parts));
	}
	return ERR_OK;
}

enum err_code gemini_bind_system(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"role", "parts", NULL};
	ERR_TRY(words_only(words, value, name, allowed));
	return bind_texts(words, value, name, words->system);
}

/* Calls have an id where somebody made one; a result without one answers the first call of its name
 * that has none yet. They stand in call_ids as {id, name}, an answered one as null. */
static enum err_code call_key(struct words *words, const json_t *value, const char *where,
			      json_t **out)
{
	const char *name, *id = NULL;
	const json_t *given = json_object_get(value, "id");
	ERR_TRY(words_string(words, value, "name", where, &name));
	if (given && !json_is_null(given))
		ERR_TRY(words_string(words, value, "id", where, &id));
	*out = json_pack("{s:s, s:s*}", "name", name, "id", id);
	return *out ? ERR_OK : ERR_SET(words->err, ERR_NO_MEMORY, "no memory for a tool call");
}

/* The number of the call that a result with this key answers, or how many there are. */
static size_t find_call(const struct words *words, const json_t *key)
{
	const char *by = json_object_get(key, "id") ? "id" : "name";
	size_t i;
	json_t *known;
	json_array_foreach(words->call_ids, i, known)
	{
		if (json_equal(json_object_get(known, by), json_object_get(key, by)))
			break;
	}
	return i;
}

static enum err_code bind_call(struct words *words, const json_t *part, const char *where,
			       json_t *parts)
{
	static const char *const allowed[] = {"functionCall", NULL};
	static const char *const allowed_call[] = {"id", "name", "args", NULL};
	const json_t *call = json_object_get(part, "functionCall");
	const char *name;
	json_t *key;
	ERR_TRY(words_only(words, part, where, allowed));
	ERR_TRY(words_only(words, call, where, allowed_call));
	ERR_TRY(words_string(words, call, "name", where, &name));
	if (json_array_size(words->call_ids) >= WORDS_CALLS_MAX)
		return ERR_SET(words->err, ERR_INVALID, "more than %d tool calls", WORDS_CALLS_MAX);
	json_t *arguments = json_object_get(call, "args");
	if (arguments && !json_is_null(arguments) && !json_is_object(arguments))
		return ERR_SET(words->err, ERR_INVALID, "%s.args must be an object", where);
	ERR_TRY(call_key(words, call, where, &key));
	json_int_t number = (json_int_t)json_array_size(words->call_ids);
	ERR_TRY(words_append(words, words->call_ids, key));
	json_t *out = json_is_object(arguments) ? json_incref(arguments) : json_object();
	return words_append(words, parts,
			    json_pack("{s:s, s:I, s:s, s:o}", "type", "tool_call", "call", number,
				      "name", name, "arguments", out));
}

/* A result's value as text: {"output": text} and {"result": text} are the text, {"error": text} a
 * failed one, everything else its RFC 8785 form. */
static enum err_code bind_response(struct words *words, const json_t *response, const char *where,
				   json_t *part)
{
	static const char *const names[] = {"output", "result", "error"};
	char here[WORDS_WHERE_MAX];
	json_t *parts = json_object_get(part, "parts");
	snprintf(here, sizeof(here), "%.64s.response", where);
	if (!json_is_object(response))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an object", here);
	for (size_t i = 0; i < 3; i++) {
		const json_t *text = json_object_get(response, names[i]);
		if (!json_is_string(text) || json_object_size(response) != 1)
			continue;
		if (i == 2)
			ERR_TRY(words_set(words, part, "error", json_true()));
		return words_text_parts(words, text, here, parts);
	}
	struct buf text = BUF_INIT((size_t)64 << 20);
	enum err_code code = json_canonical(response, &text, words->err);
	if (code == ERR_OK && json_object_size(response))
		code = words_append(words, parts, words_text_part(json_string(text.data)));
	buf_release(&text);
	return code;
}

static enum err_code bind_result(struct words *words, const json_t *value, const char *where,
				 json_t *parts)
{
	static const char *const allowed[] = {"functionResponse", NULL};
	static const char *const allowed_result[] = {"id", "name", "response", NULL};
	const json_t *result = json_object_get(value, "functionResponse");
	json_t *key;
	ERR_TRY(words_only(words, value, where, allowed));
	ERR_TRY(words_only(words, result, where, allowed_result));
	ERR_TRY(call_key(words, result, where, &key));
	size_t i = find_call(words, key);
	json_decref(key);
	if (i == json_array_size(words->call_ids))
		return ERR_SET(words->err, ERR_INVALID, "%s answers no earlier tool call", where);
	json_array_set_new(words->call_ids, i, json_null());
	json_t *part = json_pack("{s:s, s:I, s:[]}", "type", "tool_result", "call", (json_int_t)i,
				 "parts");
	ERR_TRY(words_append(words, parts, part));
	return bind_response(words, json_object_get(result, "response"), where, part);
}

/* ---- contents ---- */

static const struct {
	const char *member;
	const char *role; /* who may say it; NULL: both */
	enum err_code (*bind)(struct words *, const json_t *, const char *, json_t *);
} kinds[] = {
	{"text",             NULL,        bind_text  },
	{"functionCall",     "assistant", bind_call  },
	{"functionResponse", "user",      bind_result},
};

static enum err_code bind_part(struct words *words, const json_t *part, const char *role,
			       const char *where, json_t *parts)
{
	if (!json_is_object(part))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an object", where);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (json_object_get(part, kinds[i].member) &&
		    (!kinds[i].role || strcmp(kinds[i].role, role) == 0))
			return kinds[i].bind(words, part, where, parts);
	return ERR_SET(words->err, ERR_INVALID,
		       "%s is neither text nor a function's call or response", where);
}

static enum err_code bind_content(struct words *words, const json_t *content, const char *where)
{
	static const char *const allowed[] = {"role", "parts", NULL};
	const char *role = "user";
	size_t i;
	json_t *part;
	ERR_TRY(words_only(words, content, where, allowed));
	const json_t *given = json_object_get(content, "role");
	if (given && !json_is_null(given))
		ERR_TRY(words_string(words, content, "role", where, &role));
	/* "function" is the older name for who brings results. */
	if (strcmp(role, "function") == 0)
		role = "user";
	else if (strcmp(role, "model") == 0)
		role = "assistant";
	else if (strcmp(role, "user") != 0)
		return ERR_SET(words->err, ERR_INVALID, "%s.role must be user or model", where);
	const json_t *list = json_object_get(content, "parts");
	if (list && !json_is_null(list) && !json_is_array(list))
		return ERR_SET(words->err, ERR_INVALID, "%s.parts must be an array", where);
	json_t *out = json_pack("{s:s, s:[]}", "role", role, "parts");
	ERR_TRY(words_append(words, words->messages, out));
	json_array_foreach(list, i, part)
	{
		char here[WORDS_WHERE_MAX];
		snprintf(here, sizeof(here), "%.64s.parts[%zu]", where, i);
		ERR_TRY(bind_part(words, part, role, here, json_object_get(out, "parts")));
	}
	return ERR_OK;
}

enum err_code gemini_bind_contents(struct words *words, const char *name, const json_t *value)
{
	return words_each_message(words, name, value, bind_content);
}

/* ---- tools, format, settings ---- */

static enum err_code bind_function(struct words *words, const json_t *function, const char *where)
{
	static const char *const allowed[] = {"name", "description", "parameters",
					      "parametersJsonSchema", NULL};
	const json_t *plain = json_object_get(function, "parameters");
	const json_t *schema = json_object_get(function, "parametersJsonSchema");
	ERR_TRY(words_only(words, function, where, allowed));
	if (plain && schema)
		return ERR_SET(words->err, ERR_INVALID, "%s has parameters twice", where);
	return words_add_tool(words, function, schema ? "parametersJsonSchema" : "parameters",
			      where);
}

enum err_code gemini_bind_tools(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"functionDeclarations", NULL};
	size_t i, k;
	json_t *tool, *function;
	if (!json_is_array(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an array", name);
	json_array_foreach(value, i, tool)
	{
		char where[WORDS_WHERE_MAX];
		snprintf(where, sizeof(where), "tools[%zu]", i);
		ERR_TRY(words_only(words, tool, where, allowed));
		json_t *list = json_object_get(tool, "functionDeclarations");
		if (list && !json_is_array(list))
			return ERR_SET(words->err, ERR_INVALID,
				       "%s.functionDeclarations must be an array", where);
		json_array_foreach(list, k, function)
		{
			char here[WORDS_WHERE_MAX];
			snprintf(here, sizeof(here), "%.40s.functionDeclarations[%zu]", where, k);
			ERR_TRY(bind_function(words, function, here));
		}
	}
	return ERR_OK;
}

enum err_code gemini_bind_tool_config(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"functionCallingConfig", NULL};
	static const char *const allowed_inner[] = {"mode", "allowedFunctionNames", NULL};
	static const char *const where = "toolConfig.functionCallingConfig";
	const char *mode;
	ERR_TRY(words_only(words, value, name, allowed));
	const json_t *config = json_object_get(value, "functionCallingConfig");
	if (!config || json_is_null(config))
		return ERR_OK;
	ERR_TRY(words_only(words, config, where, allowed_inner));
	ERR_TRY(words_string(words, config, "mode", where, &mode));
	const json_t *names = json_object_get(config, "allowedFunctionNames");
	const json_t *only = json_array_get(names, 0);
	bool any = strcmp(mode, "ANY") == 0;
	if (json_array_size(names) && !(any && json_array_size(names) == 1 && json_is_string(only)))
		return ERR_SET(words->err, ERR_INVALID,
			       "%s.allowedFunctionNames can be bound with mode ANY and one name",
			       where);
	if (strcmp(mode, "AUTO") == 0)
		return ERR_OK;
	if (only)
		return words_set(words, words->settings, "tool_choice",
				 json_pack("{s:O}", "name", only));
	if (!any && strcmp(mode, "NONE") != 0)
		return ERR_SET(words->err, ERR_INVALID, "%s.mode \"%.32s\" cannot be bound", where,
			       mode);
	return words_set(words, words->settings, "tool_choice",
			 json_string(any ? "required" : "none"));
}

enum err_code gemini_bind_thinking(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"thinkingBudget", "thinkingLevel", "includeThoughts",
					      NULL};
	const char *level;
	char lower[32];
	size_t i = 0;
	ERR_TRY(words_only(words, value, name, allowed));
	if (json_is_true(json_object_get(value, "includeThoughts")))
		return ERR_SET(words->err, ERR_INVALID, "%s.includeThoughts cannot be bound", name);
	json_t *budget = json_object_get(value, "thinkingBudget");
	if (budget && !json_is_null(budget)) {
		if (!json_is_integer(budget))
			return ERR_SET(words->err, ERR_INVALID,
				       "%s.thinkingBudget must be a whole number", name);
		ERR_TRY(words_set_reasoning(words, "budget", json_incref(budget)));
	}
	const json_t *given = json_object_get(value, "thinkingLevel");
	if (!given || json_is_null(given))
		return ERR_OK;
	ERR_TRY(words_string(words, value, "thinkingLevel", name, &level));
	for (; level[i] && i < sizeof(lower) - 1; i++)
		lower[i] = (char)tolower((unsigned char)level[i]);
	lower[i] = '\0';
	return words_set_reasoning(words, "effort", json_string(lower));
}

enum err_code gemini_bind_format(struct words *words, const json_t *config)
{
	const json_t *given = json_object_get(config, "responseMimeType");
	const json_t *schema = json_object_get(config, "responseJsonSchema");
	const char *type = "text/plain";
	if (!schema || json_is_null(schema))
		schema = json_object_get(config, "responseSchema");
	if (given && !json_is_null(given))
		ERR_TRY(words_string(words, config, "responseMimeType", "generationConfig", &type));
	bool has_schema = schema && !json_is_null(schema);
	if (strcmp(type, "application/json") == 0)
		return has_schema ? words_set_schema(words, schema, NULL, NULL, true)
				  : words_set_json_object(words);
	if (strcmp(type, "text/plain") != 0 || has_schema)
		return ERR_SET(words->err, ERR_INVALID,
			       "generationConfig.responseMimeType \"%.48s\" cannot be bound%s",
			       type, has_schema ? " with a schema" : "");
	return ERR_OK;
}

/* ---- requests from words ---- */

static enum err_code build_result(const json_t *part, const json_t *words, json_t *content,
				  struct err *err)
{
	const json_t *texts = json_object_get(part, "parts");
	const char *name =
		build_call_name(words, json_integer_value(json_object_get(part, "call")));
	json_t *text = build_text_content(texts);
	bool failed = json_is_true(json_object_get(part, "error"));
	if (!name || !json_is_string(text)) {
		json_decref(text);
		return ERR_SET(err, ERR_INVALID,
			       "this dialect needs a tool result to answer a call with one text");
	}
	return build_append(content,
			    json_pack("{s:{s:o, s:s, s:{s:o}}}", "functionResponse", "id",
				      build_call_id(part), "name", name, "response",
				      failed ? "error" : "output", text),
			    err);
}

static enum err_code build_call(const json_t *part, json_t *content, struct err *err)
{
	json_t *arguments = json_object_get(part, "arguments");
	if (!json_is_object(arguments))
		return ERR_SET(err, ERR_INVALID,
			       "a tool call's arguments are not an object, which "
			       "this dialect needs");
	return build_append(content,
			    json_pack("{s:{s:o, s:O, s:O}}", "functionCall", "id",
				      build_call_id(part), "name", json_object_get(part, "name"),
				      "args", arguments),
			    err);
}

static enum err_code build_part(const json_t *part, const json_t *words, json_t *content,
				struct err *err)
{
	const char *type = json_string_value(json_object_get(part, "type"));
	if (type && strcmp(type, "text") == 0)
		return build_append(content,
				    json_pack("{s:O}", "text", json_object_get(part, "text")), err);
	if (type && strcmp(type, "tool_call") == 0)
		return build_call(part, content, err);
	if (type && strcmp(type, "tool_result") == 0)
		return build_result(part, words, content, err);
	return ERR_SET(err, ERR_INVALID, "a part of the words has no known type");
}

static enum err_code build_content(const json_t *message, const json_t *words, json_t *contents,
				   struct err *err)
{
	const char *role = json_string_value(json_object_get(message, "role"));
	const json_t *parts = json_object_get(message, "parts");
	size_t i;
	json_t *part;
	if (!role || !json_is_array(parts))
		return ERR_SET(err, ERR_INVALID, "a message of the words has no role or no parts");
	if (strcmp(role, "system") == 0)
		return ERR_SET(err, ERR_INVALID,
			       "this dialect has no system message between the others");
	json_t *list = json_array();
	json_t *out = json_pack("{s:s, s:o}", "role",
				strcmp(role, "assistant") == 0 ? "model" : role, "parts", list);
	ERR_TRY(build_append(contents, out, err));
	json_array_foreach(parts, i, part)
	{
		ERR_TRY(build_part(part, words, list, err));
	}
	return ERR_OK;
}

static enum err_code build_words(const json_t *words, json_t *body, struct err *err)
{
	size_t i;
	json_t *message, *part, *contents = json_array();
	ERR_TRY(build_set(body, "contents", contents, err));
	json_array_foreach(json_object_get(words, "messages"), i, message)
	{
		ERR_TRY(build_content(message, words, contents, err));
	}
	if (!json_array_size(json_object_get(words, "system")))
		return ERR_OK;
	json_t *parts = json_array();
	ERR_TRY(build_set(body, "systemInstruction", json_pack("{s:o}", "parts", parts), err));
	json_array_foreach(json_object_get(words, "system"), i, part)
	{
		ERR_TRY(build_part(part, words, parts, err));
	}
	return ERR_OK;
}

static enum err_code build_tools(const json_t *tools, json_t *body, struct err *err)
{
	size_t i;
	json_t *tool, *list, *out;
	if (!json_array_size(tools))
		return ERR_OK;
	ERR_TRY(build_set(body, "tools",
			  json_pack("[{s:o}]", "functionDeclarations", list = json_array()), err));
	json_array_foreach(tools, i, tool)
	{
		if (json_object_get(tool, "strict"))
			return ERR_SET(err, ERR_INVALID, "this dialect has no strict tools");
		ERR_TRY(build_append(list, out = json_object(), err));
		ERR_TRY(build_copy(tool, "name", out, "name", err));
		ERR_TRY(build_copy(tool, "description", out, "description", err));
		ERR_TRY(build_copy(tool, "parameters", out, "parametersJsonSchema", err));
	}
	return ERR_OK;
}

static enum err_code build_format(const json_t *format, json_t *config, struct err *err)
{
	if (!format)
		return ERR_OK;
	if (json_object_get(format, "name") || json_object_get(format, "description") ||
	    json_object_get(format, "strict"))
		return ERR_SET(
			err, ERR_INVALID,
			"this dialect has formats by strict JSON schema alone, without name");
	ERR_TRY(build_set(config, "responseMimeType", json_string("application/json"), err));
	return build_copy(format, "schema", config, "responseJsonSchema", err);
}

static enum err_code build_tool_choice(const json_t *settings, json_t *body, struct err *err)
{
	json_t *choice = json_object_get(settings, "tool_choice"), *config;
	const char *word = json_string_value(choice);
	if (!choice)
		return ERR_OK;
	if (word)
		config = json_pack("{s:s}", "mode", strcmp(word, "required") == 0 ? "ANY" : "NONE");
	else
		config = json_pack("{s:s, s:[O]}", "mode", "ANY", "allowedFunctionNames",
				   json_object_get(choice, "name"));
	return build_set(body, "toolConfig", json_pack("{s:o}", "functionCallingConfig", config),
			 err);
}

static enum err_code build_thinking(const json_t *reasoning, json_t *config, struct err *err)
{
	json_t *out;
	if (!reasoning)
		return ERR_OK;
	if (json_object_get(reasoning, "mode"))
		return ERR_SET(err, ERR_INVALID, "this dialect has no mode of reasoning");
	ERR_TRY(build_set(config, "thinkingConfig", out = json_object(), err));
	ERR_TRY(build_copy(reasoning, "budget", out, "thinkingBudget", err));
	return build_copy(reasoning, "effort", out, "thinkingLevel", err);
}

enum err_code gemini_build(const json_t *words, const json_t *settings, json_t *body, bool stream,
			   struct err *err)
{
	static const char *const names[][2] = {
		{"max_output",        "maxOutputTokens" },
		{"temperature",       "temperature"     },
		{"top_p",             "topP"            },
		{"top_k",             "topK"            },
		{"frequency_penalty", "frequencyPenalty"},
		{"presence_penalty",  "presencePenalty" },
		{"logprobs",          "responseLogprobs"},
		{"top_logprobs",      "logprobs"        },
	};
	json_t *config = json_object();
	(void)stream;
	/* The path names the model and asks for a stream. */
	json_object_del(body, "model");
	json_object_del(body, "stream");
	ERR_TRY(build_set(body, "generationConfig", config, err));
	ERR_TRY(build_words(words, body, err));
	ERR_TRY(build_tools(json_object_get(words, "tools"), body, err));
	ERR_TRY(build_format(json_object_get(words, "format"), config, err));
	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		ERR_TRY(build_copy(settings, names[k][0], config, names[k][1], err));
	ERR_TRY(build_thinking(json_object_get(settings, "reasoning"), config, err));
	ERR_TRY(build_tool_choice(settings, body, err));
	if (json_object_size(config) == 0)
		json_object_del(body, "generationConfig");
	return ERR_OK;
}
