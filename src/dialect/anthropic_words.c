/* Canonical words of Anthropic Messages requests, and requests from words. */
#include "dialect/ops.h"

#include <stdio.h>

enum err_code anthropic_bind_system(struct words *words, const char *name, const json_t *value)
{
	return words_text_parts(words, value, name, words->system);
}

/* ---- blocks of a message ---- */

static enum err_code bind_text(struct words *words, const json_t *block, const char *where,
			       json_t *parts)
{
	static const char *const allowed[] = {"type", "text", "cache_control", NULL};
	ERR_TRY(words_only(words, block, where, allowed));
	return words_text(words, block, where, parts);
}

static enum err_code bind_tool_use(struct words *words, const json_t *block, const char *where,
				   json_t *parts)
{
	static const char *const allowed[] = {"type", "id", "name", "input", "cache_control", NULL};
	const char *id, *name;
	json_t *number, *input = json_object_get(block, "input");
	ERR_TRY(words_only(words, block, where, allowed));
	ERR_TRY(words_string(words, block, "id", where, &id));
	ERR_TRY(words_string(words, block, "name", where, &name));
	if (!json_is_object(input))
		return ERR_SET(words->err, ERR_INVALID, "%s.input must be an object", where);
	ERR_TRY(words_new_call(words, id, where, &number));
	return words_append(words, parts,
			    json_pack("{s:s, s:o, s:s, s:O}", "type", "tool_call", "call", number,
				      "name", name, "arguments", input));
}

static enum err_code bind_tool_result(struct words *words, const json_t *block, const char *where,
				      json_t *parts)
{
	static const char *const allowed[] = {"type",     "tool_use_id",   "content",
					      "is_error", "cache_control", NULL};
	const char *id;
	json_t *number;
	char here[WORDS_WHERE_MAX];
	ERR_TRY(words_only(words, block, where, allowed));
	ERR_TRY(words_string(words, block, "tool_use_id", where, &id));
	ERR_TRY(words_old_call(words, id, where, &number));
	json_t *part =
		json_pack("{s:s, s:o, s:[]}", "type", "tool_result", "call", number, "parts");
	ERR_TRY(words_append(words, parts, part));
	if (json_is_true(json_object_get(block, "is_error")))
		ERR_TRY(words_set(words, part, "error", json_true()));
	snprintf(here, sizeof(here), "%.80s.content", where);
	return words_text_parts(words, json_object_get(block, "content"), here,
				json_object_get(part, "parts"));
}

static const struct {
	const char *type;
	const char *role; /* who may say it; NULL: both */
	enum err_code (*bind)(struct words *, const json_t *, const char *, json_t *);
} blocks[] = {
	{"text",        NULL,        bind_text       },
	{"tool_use",    "assistant", bind_tool_use   },
	{"tool_result", "user",      bind_tool_result},
};

static enum err_code bind_block(struct words *words, const json_t *block, const char *role,
				const char *where, json_t *parts)
{
	const char *type;
	if (!json_is_object(block))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an object", where);
	ERR_TRY(words_string(words, block, "type", where, &type));
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		if (strcmp(blocks[i].type, type) == 0 &&
		    (!blocks[i].role || strcmp(blocks[i].role, role) == 0))
			return blocks[i].bind(words, block, where, parts);
	return ERR_SET(words->err, ERR_INVALID,
		       "%s is of type \"%.32s\"; from %s only text and tools can be bound", where,
		       type, role);
}

static enum err_code bind_content(struct words *words, const json_t *content, const char *role,
				  const char *where, json_t *parts)
{
	size_t i;
	json_t *block;
	if (!json_is_array(content))
		return words_text_parts(words, content, where, parts);
	json_array_foreach(content, i, block)
	{
		char here[WORDS_WHERE_MAX];
		snprintf(here, sizeof(here), "%.64s[%zu]", where, i);
		ERR_TRY(bind_block(words, block, role, here, parts));
	}
	return ERR_OK;
}

static enum err_code bind_message(struct words *words, const json_t *message, const char *where)
{
	static const char *const allowed[] = {"role", "content", NULL};
	const char *role;
	char here[WORDS_WHERE_MAX];
	ERR_TRY(words_only(words, message, where, allowed));
	ERR_TRY(words_string(words, message, "role", where, &role));
	if (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0)
		return ERR_SET(words->err, ERR_INVALID, "%s.role must be user or assistant", where);
	json_t *out = json_pack("{s:s, s:[]}", "role", role, "parts");
	ERR_TRY(words_append(words, words->messages, out));
	snprintf(here, sizeof(here), "%.64s.content", where);
	return bind_content(words, json_object_get(message, "content"), role, here,
			    json_object_get(out, "parts"));
}

enum err_code anthropic_bind_messages(struct words *words, const char *name, const json_t *value)
{
	return words_each_message(words, name, value, bind_message);
}

/* ---- tools and formats ---- */

enum err_code anthropic_bind_tools(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {
		"type", "name", "description", "input_schema", "cache_control", "strict", NULL};
	size_t i;
	json_t *tool;
	if (!json_is_array(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an array", name);
	json_array_foreach(value, i, tool)
	{
		char where[WORDS_WHERE_MAX];
		snprintf(where, sizeof(where), "tools[%zu]", i);
		const char *type = json_string_value(json_object_get(tool, "type"));
		if (type && strcmp(type, "custom") != 0)
			return ERR_SET(words->err, ERR_INVALID,
				       "%s is the provider's own \"%.32s\" and cannot be bound",
				       where, type);
		ERR_TRY(words_only(words, tool, where, allowed));
		ERR_TRY(words_add_tool(words, tool, "input_schema", where));
	}
	return ERR_OK;
}

enum err_code anthropic_bind_tool_choice(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"type", "name", "disable_parallel_tool_use", NULL};
	const char *type, *tool;
	ERR_TRY(words_only(words, value, name, allowed));
	ERR_TRY(words_string(words, value, "type", name, &type));
	if (json_is_true(json_object_get(value, "disable_parallel_tool_use")))
		ERR_TRY(words_set(words, words->settings, "parallel_tool_calls", json_false()));
	if (strcmp(type, "auto") == 0)
		return ERR_OK;
	if (strcmp(type, "tool") == 0) {
		ERR_TRY(words_string(words, value, "name", name, &tool));
		return words_set(words, words->settings, "tool_choice",
				 json_pack("{s:s}", "name", tool));
	}
	if (strcmp(type, "any") != 0 && strcmp(type, "none") != 0)
		return ERR_SET(words->err, ERR_INVALID, "tool_choice.type \"%.32s\" is not known",
			       type);
	return words_set(words, words->settings, "tool_choice",
			 json_string(strcmp(type, "any") == 0 ? "required" : "none"));
}

enum err_code anthropic_bind_thinking(struct words *words, const char *name, const json_t *value)
{
	static const char *const allowed[] = {"type", "budget_tokens", NULL};
	const char *type;
	ERR_TRY(words_only(words, value, name, allowed));
	ERR_TRY(words_string(words, value, "type", name, &type));
	if (strcmp(type, "disabled") == 0)
		return ERR_OK;
	json_t *budget = json_object_get(value, "budget_tokens");
	if (budget && !json_is_integer(budget))
		return ERR_SET(words->err, ERR_INVALID,
			       "thinking.budget_tokens must be a whole number");
	if (budget)
		return words_set_reasoning(words, "budget", json_incref(budget));
	return words_set_reasoning(words, "mode", json_string(type));
}

enum err_code anthropic_bind_output_format(struct words *words, const char *name,
					   const json_t *value)
{
	static const char *const allowed[] = {"type", "schema", NULL};
	const char *type;
	ERR_TRY(words_only(words, value, name, allowed));
	ERR_TRY(words_string(words, value, "type", name, &type));
	if (strcmp(type, "json_schema") != 0)
		return ERR_SET(words->err, ERR_INVALID, "%s.type \"%.32s\" cannot be bound", name,
			       type);
	if (words->format)
		return ERR_SET(words->err, ERR_INVALID, "the format is given twice (%s)", name);
	return words_set_schema(words, json_object_get(value, "schema"), NULL, NULL, true);
}

enum err_code anthropic_bind_output_config(struct words *words, const char *name,
					   const json_t *value)
{
	static const char *const allowed[] = {"format", "effort", NULL};
	const char *effort;
	ERR_TRY(words_only(words, value, name, allowed));
	const json_t *format = json_object_get(value, "format");
	if (format && !json_is_null(format))
		ERR_TRY(anthropic_bind_output_format(words, "output_config.format", format));
	const json_t *given = json_object_get(value, "effort");
	if (!given || json_is_null(given))
		return ERR_OK;
	ERR_TRY(words_string(words, value, "effort", name, &effort));
	return words_set_reasoning(words, "effort", json_string(effort));
}

/* ---- requests from words ---- */

static enum err_code build_part(const json_t *part, json_t *content, struct err *err)
{
	const char *type = json_string_value(json_object_get(part, "type"));
	json_t *block = NULL;
	if (type && strcmp(type, "text") == 0) {
		block = json_deep_copy(part);
	} else if (type && strcmp(type, "tool_call") == 0) {
		block = json_pack("{s:s, s:o, s:O, s:O}", "type", "tool_use", "id",
				  build_call_id(part), "name", json_object_get(part, "name"),
				  "input", json_object_get(part, "arguments"));
		if (block && !json_is_object(json_object_get(block, "input"))) {
			json_decref(block);
			return ERR_SET(err, ERR_INVALID,
				       "a tool call's arguments are not an object, which this "
				       "dialect needs");
		}
	} else if (type && strcmp(type, "tool_result") == 0) {
		block = json_pack("{s:s, s:o, s:o}", "type", "tool_result", "tool_use_id",
				  build_call_id(part), "content",
				  build_text_content(json_object_get(part, "parts")));
		if (block && json_is_true(json_object_get(part, "error")))
			ERR_TRY(build_set(block, "is_error", json_true(), err));
	} else {
		return ERR_SET(err, ERR_INVALID, "a part of the words has no known type");
	}
	return build_append(content, block, err);
}

static enum err_code build_message(const json_t *message, json_t *messages, struct err *err)
{
	const json_t *parts = json_object_get(message, "parts");
	const char *role = json_string_value(json_object_get(message, "role"));
	if (!role || !json_is_array(parts))
		return ERR_SET(err, ERR_INVALID, "a message of the words has no role or no parts");
	if (strcmp(role, "system") == 0)
		return ERR_SET(err, ERR_INVALID,
			       "this dialect has no system message between the others");
	json_t *out = json_pack("{s:s}", "role", role);
	ERR_TRY(build_append(messages, out, err));
	json_t *plain = build_text_content(parts);
	if (plain)
		return build_set(out, "content", plain, err);
	json_t *content = json_array(), *part;
	ERR_TRY(build_set(out, "content", content, err));
	size_t i;
	json_array_foreach(parts, i, part)
	{
		ERR_TRY(build_part(part, content, err));
	}
	return ERR_OK;
}

static enum err_code build_tools(const json_t *tools, json_t *body, struct err *err)
{
	size_t i;
	json_t *tool, *out;
	if (!json_array_size(tools))
		return ERR_OK;
	json_t *list = json_array();
	ERR_TRY(build_set(body, "tools", list, err));
	json_array_foreach(tools, i, tool)
	{
		ERR_TRY(build_append(list, out = json_object(), err));
		ERR_TRY(build_copy(tool, "name", out, "name", err));
		ERR_TRY(build_copy(tool, "description", out, "description", err));
		ERR_TRY(build_copy(tool, "strict", out, "strict", err));
		ERR_TRY(build_copy(tool, "parameters", out, "input_schema", err));
	}
	return ERR_OK;
}

static enum err_code build_format(const json_t *format, json_t *body, struct err *err)
{
	json_t *schema = json_object_get(format, "schema");
	if (!format)
		return ERR_OK;
	if (!schema || json_object_get(format, "name") || json_object_get(format, "description") ||
	    json_object_get(format, "strict"))
		return ERR_SET(
			err, ERR_INVALID,
			"this dialect has formats by strict JSON schema alone, without name");
	return build_set(
		body, "output_config",
		json_pack("{s:{s:s, s:O}}", "format", "type", "json_schema", "schema", schema),
		err);
}

static enum err_code build_tool_choice(const json_t *settings, json_t *body, struct err *err)
{
	json_t *choice = json_object_get(settings, "tool_choice"), *out;
	bool serial = json_is_false(json_object_get(settings, "parallel_tool_calls"));
	const char *word = json_string_value(choice);
	if (!choice && !serial)
		return ERR_OK;
	if (json_is_object(choice))
		out = json_pack("{s:s, s:O}", "type", "tool", "name",
				json_object_get(choice, "name"));
	else
		out = json_pack("{s:s}", "type",
				!word                           ? "auto"
				: strcmp(word, "required") == 0 ? "any"
								: word);
	ERR_TRY(build_set(body, "tool_choice", out, err));
	return serial ? build_set(out, "disable_parallel_tool_use", json_true(), err) : ERR_OK;
}

static enum err_code build_reasoning(const json_t *settings, json_t *body, struct err *err)
{
	const json_t *reasoning = json_object_get(settings, "reasoning");
	json_t *budget = json_object_get(reasoning, "budget");
	json_t *mode = json_object_get(reasoning, "mode");
	json_t *effort = json_object_get(reasoning, "effort");
	if (budget)
		ERR_TRY(build_set(
			body, "thinking",
			json_pack("{s:s, s:O}", "type", "enabled", "budget_tokens", budget), err));
	else if (mode)
		ERR_TRY(build_set(body, "thinking", json_pack("{s:O}", "type", mode), err));
	if (!effort)
		return ERR_OK;
	json_t *config = json_object_get(body, "output_config");
	if (!config)
		ERR_TRY(build_set(body, "output_config", config = json_object(), err));
	return build_set(config, "effort", json_incref(effort), err);
}

enum err_code anthropic_build(const json_t *words, const json_t *settings, json_t *body,
			      bool stream, struct err *err)
{
	static const char *const plain[] = {"temperature", "top_p", "top_k"};
	size_t i;
	json_t *message, *messages = json_array();
	(void)stream;
	ERR_TRY(build_set(body, "messages", messages, err));
	json_array_foreach(json_object_get(words, "messages"), i, message)
	{
		ERR_TRY(build_message(message, messages, err));
	}
	if (json_array_size(json_object_get(words, "system")))
		ERR_TRY(build_set(body, "system",
				  build_text_content(json_object_get(words, "system")), err));
	ERR_TRY(build_tools(json_object_get(words, "tools"), body, err));
	ERR_TRY(build_format(json_object_get(words, "format"), body, err));
	ERR_TRY(build_set(body, "max_tokens", json_integer(1024), err));
	ERR_TRY(build_copy(settings, "max_output", body, "max_tokens", err));
	for (size_t k = 0; k < sizeof(plain) / sizeof(plain[0]); k++)
		ERR_TRY(build_copy(settings, plain[k], body, plain[k], err));
	ERR_TRY(build_tool_choice(settings, body, err));
	return build_reasoning(settings, body, err);
}
