#include "suite/conversation.h"

#include <string.h>

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a conversation");
}

static bool is_marker(const json_t *message)
{
	const json_t *part = json_array_get(json_object_get(message, "parts"), 0);
	const char *type = json_string_value(json_object_get(part, "type"));
	return type && strcmp(type, "answer") == 0;
}

/* A turn of the assistant; an empty one has no parts, as everywhere. */
static json_t *turn_of(json_t *answer)
{
	json_t *parts = json_array();
	if (json_string_length(answer) > 0 &&
	    json_array_append_new(parts, json_pack("{s:s, s:O}", "type", "text", "text", answer)) !=
		    0) {
		json_decref(parts);
		return NULL;
	}
	return json_pack("{s:s, s:o}", "role", "assistant", "parts", parts);
}

static enum err_code add_messages(const json_t *messages, const json_t *answers, json_t *out,
				  struct err *err)
{
	size_t given = 0;
	for (size_t i = 0; i < json_array_size(messages); i++) {
		json_t *message = json_array_get(messages, i);
		bool marker = is_marker(message);
		if (marker && given == json_array_size(answers))
			return ERR_OK;
		json_t *turn =
			marker ? turn_of(json_array_get(answers, given++)) : json_incref(message);
		if (json_array_append_new(out, turn) != 0)
			return out_of_memory(err);
	}
	return given == json_array_size(answers)
		       ? ERR_OK
		       : ERR_SET(err, ERR_INVALID, "the conversation has no step %zu",
				 json_array_size(answers));
}

enum err_code conversation_step(const json_t *words, const json_t *answers, json_t **out,
				struct err *err)
{
	json_t *messages = json_array();
	*out = json_copy((json_t *)words);
	enum err_code code = *out && messages ? ERR_OK : out_of_memory(err);
	if (code == ERR_OK)
		code = add_messages(json_object_get(words, "messages"), answers, messages, err);
	if (code == ERR_OK && json_object_set(*out, "messages", messages) != 0)
		code = out_of_memory(err);
	json_decref(messages);
	if (code == ERR_OK)
		return ERR_OK;
	json_decref(*out);
	*out = NULL;
	return code;
}
