/* Samples of lm-eval (EleutherAI): samples_TASK_DATE.jsonl with a row for each document and filter
 * (--log_samples) of tasks that generate text. The items are the prompts as they were sent, the
 * transcript is what came back. Tasks that compare log-probabilities of given continuations
 * (`loglikelihood`) cannot be asked of a chat API: their rows are left out. */
#include "suite/import_internal.h"

#include "base/json.h"

#include <stdio.h>

static bool detect(struct bytes content, const json_t *first)
{
	static const char *const members[] = {"doc_id",    "doc",   "target",
					      "arguments", "resps", NULL};
	(void)content;
	return import_has(first, members);
}

/* The first argument of the first request: {gen_args_0: {arg_0, arg_1}}, [[context, settings]] in
 * older files. NULL where it does not ask for text. */
static const json_t *prompt_of(const json_t *row)
{
	const json_t *arguments = json_object_get(row, "arguments");
	const json_t *request = json_is_array(arguments) ? json_array_get(arguments, 0)
							 : json_object_get(arguments, "gen_args_0");
	bool list = json_is_array(request);
	const json_t *prompt =
		list ? json_array_get(request, 0) : json_object_get(request, "arg_0");
	const json_t *settings =
		list ? json_array_get(request, 1) : json_object_get(request, "arg_1");
	return json_is_object(settings) ? prompt : NULL;
}

/* A prompt that is a chat stands as JSON in the text. A new reference. */
static json_t *words_of(const json_t *prompt)
{
	const char *text = json_string_value(prompt);
	if (!text)
		return NULL;
	json_error_t error;
	json_t *chat = *text == '[' ? json_loads(text, 0, &error) : NULL;
	json_t *words = chat ? import_chat(chat, json_array_size(chat)) : NULL;
	json_decref(chat);
	return words ? words : json_incref((json_t *)prompt);
}

static json_t *answers_of(const json_t *row)
{
	const json_t *responses = json_array_get(json_object_get(row, "resps"), 0);
	json_t *answers = json_array();
	for (size_t i = 0; i < json_array_size(responses); i++)
		if (json_is_string(json_array_get(responses, i)))
			json_array_append(answers, json_array_get(responses, i));
	return answers;
}

/* The answers of a document count once, however many filters it has rows of. */
static enum err_code add_row(struct import *import, const json_t *row, struct err *err)
{
	const json_t *target = json_object_get(row, "target");
	char id[257], number[32];
	ERR_TRY(import_id(row, "doc_id", id, err));
	if (json_object_get(import->ids, id))
		return ERR_OK;
	json_t *prompt = words_of(prompt_of(row)), *answers = answers_of(row), *text = NULL;
	if (json_is_integer(target)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(target));
		target = text = json_string(number);
	}
	struct import_example example = {
		.id = id, .prompt = prompt, .target = target, .answers = answers};
	enum err_code code = ERR_OK;
	if (prompt && (json_is_string(target) || json_is_array(target)))
		code = import_add_example(import, &example, err);
	else if (prompt)
		import_leave_out(import, "the target of document %.60s is no text", id);
	else
		import_leave_out(import, "document %.60s compares log-probabilities", id);
	json_decref(prompt);
	json_decref(answers);
	json_decref(text);
	return code;
}

/* samples_TASK_2026-01-01T….jsonl: TASK. */
static void task_name(const char *path, char out[static 65])
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	bool samples = strncmp(name, "samples_", 8) == 0;
	const char *end = samples ? strstr(name, "_20") : NULL;
	if (samples)
		name += 8;
	size_t size = end && end > name ? (size_t)(end - name) : strcspn(name, ".");
	snprintf(out, 65, "%.*s", (int)(size < 64 ? size : 64), name);
}

static enum err_code run(struct import *import, struct err *err)
{
	char name[65];
	task_name(import->input, name);
	import_examples_yaml(
		import, name, NULL,
		"{ kind: contains, target: \"{{target}}\" } # the task's filters and metric "
		"are not in its samples");
	ERR_TRY(import_note(import, "lm-eval samples (recorded answers)", err));
	return import_rows(import, add_row, err);
}

const struct import_format import_lm_eval = {"lm_eval", detect, run};
