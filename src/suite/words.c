#include "suite/words.h"

#include "base/json.h"

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory making canonical words");
}

static bool is_empty(const json_t *value)
{
	if (!value || json_is_null(value))
		return true;
	if (json_is_string(value))
		return json_string_length(value) == 0;
	return json_is_array(value) && json_array_size(value) == 0;
}

static enum err_code check_part(const json_t *part, struct err *err)
{
	static const char *const text_keys[] = {"type", "text", NULL};
	const char *type, *text;
	if (!json_is_object(part))
		return ERR_SET(err, ERR_INVALID, "a part of a message is not an object");
	ERR_TRY(json_get_string(part, "type", "a part of a message", &type, err));
	if (strcmp(type, "text") != 0)
		return ERR_OK;
	ERR_TRY(json_only_keys(part, text_keys, "a text part", err));
	return json_get_string(part, "text", "a text part", &text, err);
}

/* One text part, or none for an empty text: a new reference. */
static enum err_code text_parts(const json_t *text, json_t **out, struct err *err)
{
	size_t size = json_string_length(text);
	if (memchr(json_string_value(text), '\0', size))
		return ERR_SET(err, ERR_INVALID, "a text has a NUL character");
	*out = size ? json_pack("[{s:s, s:O}]", "type", "text", "text", text) : json_array();
	return *out ? ERR_OK : out_of_memory(err);
}

/* A text or a list of parts as a list of parts: a new reference. */
static enum err_code normal_parts(const json_t *value, json_t **out, struct err *err)
{
	*out = NULL;
	if (json_is_string(value))
		return text_parts(value, out, err);
	if (!json_is_array(value))
		return ERR_SET(err, ERR_INVALID, "a text or a list of parts is needed");
	for (size_t i = 0; i < json_array_size(value); i++)
		ERR_TRY(check_part(json_array_get(value, i), err));
	*out = json_deep_copy(value);
	return *out ? ERR_OK : out_of_memory(err);
}

static enum err_code normal_message(const json_t *message, json_t *messages, struct err *err)
{
	static const char *const allowed[] = {"role", "parts", "text", "answer", NULL};
	const char *role;
	json_t *parts = NULL;
	if (!json_is_object(message))
		return ERR_SET(err, ERR_INVALID, "a message is not an object");
	ERR_TRY(json_only_keys(message, allowed, "a message", err));
	ERR_TRY(json_get_string(message, "role", "a message", &role, err));
	const json_t *body = json_object_get(message, "parts");
	const json_t *text = json_object_get(message, "text");
	bool answer = json_is_true(json_object_get(message, "answer"));
	if (!!body + !!text + answer != 1)
		return ERR_SET(err, ERR_INVALID,
			       "a message has either \"parts\" or \"text\", or \"answer\": true");
	if (answer)
		parts = json_pack("[{s:s}]", "type", "answer");
	else
		ERR_TRY(normal_parts(body ? body : text, &parts, err));
	if (json_array_append_new(messages,
				  json_pack("{s:s, s:o}", "role", role, "parts", parts)) != 0)
		return out_of_memory(err);
	return ERR_OK;
}

static enum err_code normal_messages(const json_t *list, json_t *words, struct err *err)
{
	if (!json_is_array(list) || json_array_size(list) == 0)
		return ERR_SET(err, ERR_INVALID, "\"messages\" is not a list with a message in it");
	json_t *messages = json_array();
	if (json_object_set_new(words, "messages", messages) != 0)
		return out_of_memory(err);
	for (size_t i = 0; i < json_array_size(list); i++)
		ERR_TRY(normal_message(json_array_get(list, i), messages, err));
	return ERR_OK;
}

static enum err_code normal_system(const json_t *value, json_t *words, struct err *err)
{
	json_t *parts = NULL;
	if (is_empty(value))
		return ERR_OK;
	ERR_TRY(normal_parts(value, &parts, err));
	return json_object_set_new(words, "system", parts) == 0 ? ERR_OK : out_of_memory(err);
}

/* `tools` and `format` are taken as they stand. */
static enum err_code copy_member(const json_t *prompt, const char *key, json_type type,
				 json_t *words, struct err *err)
{
	const json_t *value = json_object_get(prompt, key);
	if (is_empty(value))
		return ERR_OK;
	if (json_typeof(value) != type)
		return ERR_SET(err, ERR_INVALID, "\"%s\" is not %s", key,
			       type == JSON_ARRAY ? "a list" : "an object");
	return json_object_set_new(words, key, json_deep_copy(value)) == 0 ? ERR_OK
									   : out_of_memory(err);
}

/* A text alone is one message of the user. */
static enum err_code normal_text(const json_t *text, json_t *words, struct err *err)
{
	json_t *parts;
	ERR_TRY(text_parts(text, &parts, err));
	json_t *messages = json_pack("[{s:s, s:o}]", "role", "user", "parts", parts);
	return messages && json_object_set_new(words, "messages", messages) == 0
		       ? ERR_OK
		       : out_of_memory(err);
}

static enum err_code normal_words(const json_t *prompt, json_t *words, struct err *err)
{
	static const char *const allowed[] = {"system", "messages", "tools", "format", NULL};
	if (json_is_string(prompt))
		return normal_text(prompt, words, err);
	if (!json_is_object(prompt))
		return ERR_SET(err, ERR_INVALID,
			       "a prompt is a text or an object with \"messages\"");
	ERR_TRY(json_only_keys(prompt, allowed, "a prompt", err));
	ERR_TRY(normal_system(json_object_get(prompt, "system"), words, err));
	ERR_TRY(normal_messages(json_object_get(prompt, "messages"), words, err));
	ERR_TRY(copy_member(prompt, "tools", JSON_ARRAY, words, err));
	return copy_member(prompt, "format", JSON_OBJECT, words, err);
}

enum err_code words_normalise(const json_t *prompt, json_t **out, struct err *err)
{
	*out = NULL;
	json_t *words = json_object();
	if (!words)
		return out_of_memory(err);
	enum err_code code = normal_words(prompt, words, err);
	if (code == ERR_OK)
		*out = words;
	else
		json_decref(words);
	return code;
}

enum err_code words_canonical(const json_t *prompt, struct buf *out, struct err *err)
{
	json_t *words;
	ERR_TRY(words_normalise(prompt, &words, err));
	enum err_code code = json_canonical(words, out, err);
	json_decref(words);
	return code;
}

enum err_code words_match_digest(const json_t *words, uint8_t digest[static SHA256_SIZE],
				 struct err *err)
{
	json_t *part = json_pack("{s:O*, s:O*}", "messages", json_object_get(words, "messages"),
				 "system", json_object_get(words, "system"));
	if (!part)
		return out_of_memory(err);
	enum err_code code = json_canonical_digest(part, digest, err);
	json_decref(part);
	return code;
}

enum err_code words_text_match_digest(struct bytes words, uint8_t digest[static SHA256_SIZE],
				      struct err *err)
{
	json_t *tree;
	ERR_TRY(json_parse(words, "the words", &tree, err));
	enum err_code code = words_match_digest(tree, digest, err);
	json_decref(tree);
	return code;
}

static void append_question_part(struct buf *out, const json_t *part)
{
	const char *text = json_string_value(json_object_get(part, "text"));
	if (!text)
		return;
	if (out->size > 0)
		buf_append_cstr(out, "\n\n");
	buf_append_cstr(out, text);
}

void words_question(const json_t *words, struct buf *out)
{
	const json_t *messages = json_object_get(words, "messages");
	for (size_t i = 0; i < json_array_size(messages); i++) {
		const json_t *parts = json_object_get(json_array_get(messages, i), "parts");
		for (size_t k = 0; k < json_array_size(parts); k++)
			append_question_part(out, json_array_get(parts, k));
	}
}

static size_t size_of_parts(const json_t *parts)
{
	const json_t *part;
	size_t i, size = 0;
	json_array_foreach((json_t *)parts, i, part) size +=
		json_string_length(json_object_get(part, "text"));
	return size;
}

size_t words_text_size(const json_t *words)
{
	const json_t *message;
	size_t i, size = size_of_parts(json_object_get(words, "system"));
	json_array_foreach(json_object_get(words, "messages"), i, message) size +=
		size_of_parts(json_object_get(message, "parts"));
	return size;
}

size_t words_characters(struct bytes text)
{
	size_t count = 0;
	for (size_t i = 0; i < text.size; i++)
		count += ((uint8_t)text.data[i] & 0xC0) != 0x80;
	return count;
}
