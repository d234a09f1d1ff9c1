/* Items that are prompts as they were asked, from other harnesses' logs and data sets: what these
 * importers share. */
#include "suite/import_internal.h"

#include "base/json.h"
#include "suite/transcript.h"
#include "suite/words.h"

#include <ctype.h>

#define NAME_MAX_SIZE 64
#define SUITE_TEXT_MAX ((size_t)4 << 20)

void import_append_name(struct buf *out, const char *name)
{
	const char *slash = strrchr(name, '/');
	size_t begin = out->size;
	for (name = slash && slash[1] ? slash + 1 : name; *name; name++) {
		bool plain = isalnum((unsigned char)*name);
		bool inner = strchr("._-", *name) && out->size > begin;
		if (out->size - begin < NAME_MAX_SIZE && (plain || out->size > begin))
			buf_append_char(out, plain || inner ? *name : '-');
	}
	if (out->size == begin)
		buf_append_cstr(out, "imported");
}

/* ---- chats ---- */

/* The text of a message; a new reference, NULL where there is anything but text in it. */
static json_t *content_text(const json_t *content)
{
	struct buf text = BUF_INIT(SUITE_TEXT_MAX);
	bool plain = json_is_array(content);
	if (json_is_string(content))
		return json_incref((json_t *)content);
	for (size_t i = 0; plain && i < json_array_size(content); i++) {
		const json_t *part = json_array_get(content, i);
		plain = strcmp(json_text(part, "type"), "text") == 0;
		buf_append_cstr(&text, json_text(part, "text"));
	}
	json_t *out =
		plain && !text.failed ? json_stringn(text.data ? text.data : "", text.size) : NULL;
	buf_release(&text);
	return out;
}

static bool add_chat_message(json_t *words, const json_t *message)
{
	const char *role = json_text(message, "role");
	const json_t *calls = json_object_get(message, "tool_calls");
	json_t *text = content_text(json_object_get(message, "content"));
	bool system = strcmp(role, "system") == 0 || strcmp(role, "developer") == 0;
	bool talk = strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0;
	json_t *system_text = json_object_get(words, "system");
	json_t *messages = json_object_get(words, "messages");
	if (!text || json_array_size(calls) || !(talk || system) ||
	    (system && (system_text || json_array_size(messages)))) {
		json_decref(text);
		return false;
	}
	return system ? json_set(words, "system", text)
		      : json_array_append_new(
				messages, json_pack("{s:s, s:o}", "role", role, "text", text)) == 0;
}

json_t *import_chat(const json_t *messages, size_t count)
{
	json_t *words = json_pack("{s:[]}", "messages");
	bool plain = words && json_is_array(messages);
	for (size_t i = 0; plain && i < count && i < json_array_size(messages); i++)
		plain = add_chat_message(words, json_array_get(messages, i));
	if (plain && json_array_size(json_object_get(words, "messages")))
		return words;
	json_decref(words);
	return NULL;
}

/* ---- the folder's files ---- */

void import_examples_yaml(struct import *import, const char *name, const char *source,
			  const char *scorer)
{
	struct buf *yaml = &import->yaml;
	buf_append_cstr(yaml, "name: \"");
	import_append_name(yaml, name);
	buf_append_cstr(yaml, "\"\nversion: 1\n# licence: say what the items may be used for\n");
	if (source)
		buf_printf(yaml, "source: \"%s\"\n", source);
	buf_printf(yaml,
		   "kind: qa\n"
		   "words: prompt\n"
		   "settings: { max_tokens: 1024, temperature: 0 }\n"
		   "samples: 1\n"
		   "scorer: %s\n",
		   scorer);
}

enum err_code import_note(struct import *import, const char *note, struct err *err)
{
	if (import->transcript.size)
		return ERR_OK;
	json_t *line = json_pack("{s:s}", "note", note);
	enum err_code code = line ? json_canonical(line, &import->transcript, err)
				  : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	json_decref(line);
	buf_append_char(&import->transcript, '\n');
	return code;
}

static enum err_code add_item(struct import *import, const struct import_example *example,
			      struct err *err)
{
	json_t *item = json_pack("{s:s, s:O}", "id", example->id, "prompt", example->prompt);
	if (item && example->target)
		json_object_set(item, "target", (json_t *)example->target);
	if (item && example->extra &&
	    json_object_update_missing(item, (json_t *)example->extra) != 0) {
		json_decref(item);
		item = NULL;
	}
	ERR_TRY(import_add_item(import, item, err));
	return json_object_set_new(import->ids, example->id, json_true()) == 0
		       ? ERR_OK
		       : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
}

enum err_code import_add_example(struct import *import, const struct import_example *example,
				 struct err *err)
{
	struct err why = ERR_INIT;
	json_t *words;
	enum err_code code = words_normalise(example->prompt, &words, &why);
	if (code == ERR_NO_MEMORY)
		return ERR_SET(err, code, "%s", why.message);
	if (code != ERR_OK) {
		import_leave_out(import, "the prompt of %.60s: %.100s", example->id, why.message);
		return ERR_OK;
	}
	json_decref(words);
	if (!json_object_get(import->ids, example->id))
		ERR_TRY(add_item(import, example, err));
	return json_array_size(example->answers)
		       ? transcript_append_line(&import->transcript, example->prompt,
						example->answers, err)
		       : ERR_OK;
}
