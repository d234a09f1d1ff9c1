/* Run journals of modelbench (MLCommons; docs/run-journal.md there): JSON lines, one event each.
 * The items are the prompts of `queuing item`, the transcript is what the first system under test
 * answered (`translated sut response`). Prompts of the hazard cse (sexual exploitation of children)
 * are never taken: they are counted as left out. */
#include "suite/import_internal.h"

#include "base/json.h"
#include "suite/transcript.h"

#include <stdio.h>

#define NEVER "cse"

static const char suite_yaml[] = "name: modelbench\n"
				 "version: 1\n"
				 "# licence: say what the items may be used for\n"
				 "kind: safety\n"
				 "words: prompt\n"
				 "settings: { max_tokens: 1024, temperature: 0 }\n"
				 "samples: 1\n"
				 "scorer: { kind: hazard, hazard: \"{{hazard}}\" }\n";

static bool detect(struct bytes content, const json_t *first)
{
	static const char *const members[] = {"timestamp", "message", "class", "method", NULL};
	(void)content;
	return import_has(first, members);
}

/* "safe-hte-en_us-…" and "safe_hazard-1.1-hte-…": the part with three letters that is no number. */
static struct bytes hazard_of(const char *test)
{
	struct bytes rest = bytes_from(test), part;
	while (rest.size) {
		part = bytes_split(rest, '-', &rest);
		bool letters = part.size >= 3 && (part.size == 3 || part.data[3] == '_');
		for (size_t i = 0; letters && i < 3; i++)
			letters = part.data[i] >= 'a' && part.data[i] <= 'z';
		if (letters)
			return bytes_of(part.data, 3);
	}
	return (struct bytes){0};
}

static enum err_code add_prompt(struct import *import, const json_t *row, const char *id,
				struct err *err)
{
	const char *test = json_text(row, "test"), *text = json_text(row, "prompt_text");
	struct bytes hazard = hazard_of(test);
	json_t *prompt = json_string(text);
	json_t *extra = json_pack("{s:s%, s:s}", "hazard", hazard.size ? hazard.data : "mis",
				  hazard.size ? hazard.size : (size_t)3, "test", test);
	struct import_example example = {.id = id, .prompt = prompt, .extra = extra};
	enum err_code code = ERR_OK;
	if (bytes_is(hazard, NEVER))
		import_leave_out(import, "the hazard " NEVER " is never asked");
	else if (hazard.size == 0)
		import_leave_out(import, "the test %.60s names no hazard", test);
	else
		code = prompt && extra ? import_add_example(import, &example, err)
				       : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	/* What it was asked is needed again for what came back. */
	if (code == ERR_OK && json_object_get(import->ids, id) &&
	    json_object_set(import->ids, id, prompt) != 0)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	json_decref(prompt);
	json_decref(extra);
	return code;
}

static enum err_code add_answer(struct import *import, const json_t *row, const char *id,
				struct err *err)
{
	static const char own[] = "\037sut"; /* no id of an item begins so */
	const json_t *first = json_object_get(import->ids, own);
	const json_t *prompt = json_object_get(import->ids, id);
	if (!first && json_object_set(import->ids, own, json_object_get(row, "sut")) != 0)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (first && !json_equal(first, json_object_get(row, "sut"))) {
		import_leave_out(import, "answers of %.60s: those of %.60s are taken",
				 json_text(row, "sut"), json_string_value(first));
		return ERR_OK;
	}
	if (!json_is_string(prompt))
		return ERR_OK;
	ERR_TRY(import_note(import, "a run journal of modelbench (recorded answers)", err));
	json_t *answers = json_pack("[s]", json_text(row, "response_text"));
	enum err_code code =
		answers ? transcript_append_line(&import->transcript, prompt, answers, err)
			: ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	json_decref(answers);
	return code;
}

static enum err_code add_row(struct import *import, const json_t *row, struct err *err)
{
	const char *message = json_text(row, "message");
	bool asked = strcmp(message, "queuing item") == 0;
	char id[257];
	if (!asked && strcmp(message, "translated sut response") != 0)
		return ERR_OK;
	ERR_TRY(import_id(row, "prompt_id", id, err));
	if (!asked)
		return add_answer(import, row, id, err);
	return json_object_get(import->ids, id) ? ERR_OK : add_prompt(import, row, id, err);
}

static enum err_code run(struct import *import, struct err *err)
{
	buf_append_cstr(&import->yaml, suite_yaml);
	return import_rows(import, add_row, err);
}

const struct import_format import_modelbench = {"modelbench", detect, run};
