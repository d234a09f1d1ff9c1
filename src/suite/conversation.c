#include "suite/conversation.h"

#include "suite/words.h"

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

/* ---- judges ---- */

static enum err_code fill(const json_t *pieces, const json_t *answers, struct buf *out,
			  struct err *err)
{
	size_t slot = 0;
	for (size_t i = 0; i < json_array_size(pieces); i++) {
		const json_t *piece = json_array_get(pieces, i);
		if (!json_is_string(piece))
			piece = json_array_get(answers, slot++);
		buf_append(out, json_string_value(piece), json_string_length(piece));
	}
	if (out->failed)
		return ERR_SET(err, ERR_TOO_LARGE, "the answers are too long for a judge");
	return slot == json_array_size(answers)
		       ? ERR_OK
		       : ERR_SET(err, ERR_INVALID, "the template has %zu slots for %zu answers",
				 slot, json_array_size(answers));
}

enum err_code conversation_judged(const json_t *words, const json_t *answers, json_t **out,
				  struct err *err)
{
	struct buf text = BUF_INIT(WORDS_MAX);
	json_t *list = json_deep_copy(json_object_get(words, "messages"));
	json_t *last = json_array_get(list, json_array_size(list) - 1);
	const json_t *template = json_array_get(json_object_get(last, "parts"), 0);
	*out = json_copy((json_t *)words);
	enum err_code code = *out && last ? ERR_OK : out_of_memory(err);
	if (code == ERR_OK)
		code = fill(json_object_get(template, "pieces"), answers, &text, err);
	if (code == ERR_OK &&
	    (json_object_set_new(last, "parts",
				 json_pack("[{s:s, s:s%}]", "type", "text", "text",
					   text.data ? text.data : "", text.size)) != 0 ||
	     json_object_set(*out, "messages", list) != 0))
		code = out_of_memory(err);
	json_decref(list);
	buf_release(&text);
	if (code == ERR_OK)
		return ERR_OK;
	json_decref(*out);
	*out = NULL;
	return code;
}
