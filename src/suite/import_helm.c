/* A run of HELM (Stanford CRFM): its scenario_state.json. The items are the prompts as they were
 * sent, the references tagged correct are the targets, the completions are the transcript. */
#include "suite/import_internal.h"

#include "base/json.h"
#include "suite/python_json.h"

static bool detect(struct bytes content, const json_t *first)
{
	static const char *const members[] = {"adapter_spec", "request_states", NULL};
	(void)content;
	return import_has(first, members);
}

/* Of a multiple-choice question, the letter that stands for the right reference. */
static const char *letter_for(const json_t *state, const char *text)
{
	const json_t *mapping = json_object_get(state, "output_mapping");
	const char *letter;
	json_t *option;
	json_object_foreach((json_t *)mapping, letter,
			    option) if (json_is_string(option) &&
					strcmp(json_string_value(option), text) == 0) return letter;
	return text;
}

static bool is_correct(const json_t *reference)
{
	const json_t *tags = json_object_get(reference, "tags");
	for (size_t i = 0; i < json_array_size(tags); i++)
		if (json_is_string(json_array_get(tags, i)) &&
		    strcmp(json_string_value(json_array_get(tags, i)), "correct") == 0)
			return true;
	return false;
}

static json_t *targets_of(const json_t *state)
{
	const json_t *references =
		json_object_get(json_object_get(state, "instance"), "references");
	json_t *targets = json_array();
	for (size_t i = 0; i < json_array_size(references); i++) {
		const json_t *reference = json_array_get(references, i);
		const char *text = json_text(json_object_get(reference, "output"), "text");
		if (is_correct(reference) && *text)
			json_array_append_new(targets, json_string(letter_for(state, text)));
	}
	return targets;
}

static json_t *answers_of(const json_t *state)
{
	const json_t *completions =
		json_object_get(json_object_get(state, "result"), "completions");
	json_t *answers = json_array();
	for (size_t i = 0; i < json_array_size(completions); i++)
		json_array_append_new(
			answers, json_string(json_text(json_array_get(completions, i), "text")));
	return answers;
}

static enum err_code add_state(struct import *import, const json_t *state, struct err *err)
{
	const json_t *instance = json_object_get(state, "instance");
	const json_t *request = json_object_get(state, "request");
	const json_t *chat = json_object_get(request, "messages");
	char id[257];
	ERR_TRY(import_id(instance, "id", id, err));
	json_t *prompt = json_array_size(chat) ? import_chat(chat, json_array_size(chat))
					       : json_incref(json_object_get(request, "prompt"));
	json_t *targets = targets_of(state), *answers = answers_of(state);
	struct import_example example = {
		.id = id, .prompt = prompt, .target = targets, .answers = answers};
	enum err_code code = ERR_OK;
	if (!json_is_string(prompt) && !json_is_object(prompt))
		import_leave_out(import, "the prompt of instance %.60s is not only text", id);
	else if (json_array_size(targets) == 0)
		import_leave_out(import, "instance %.60s has no correct reference", id);
	else
		code = import_add_example(import, &example, err);
	json_decref(prompt);
	json_decref(targets);
	json_decref(answers);
	return code;
}

static enum err_code run_states(struct import *import, const json_t *state, struct err *err)
{
	const json_t *states = json_object_get(state, "request_states");
	const json_t *adapter = json_object_get(state, "adapter_spec");
	const char *method = json_text(adapter, "method");
	bool choice = strstr(method, "multiple_choice") != NULL;
	import_examples_yaml(
		import, "helm", "https://github.com/stanford-crfm/helm",
		choice ? "{ kind: exact, target: \"{{target}}\", ignore_case: true }"
		       : "{ kind: contains, target: \"{{target}}\", ignore_case: true }");
	ERR_TRY(import_note(import, "HELM run (recorded answers)", err));
	for (size_t i = 0; i < json_array_size(states); i++)
		if (add_state(import, json_array_get(states, i), err) != ERR_OK)
			return err_prefix(err, "%s: request_states[%zu]", import->input, i);
	return ERR_OK;
}

static enum err_code run(struct import *import, struct err *err)
{
	json_t *state;
	ERR_TRY(python_json(import->content, import->input, &state, err));
	enum err_code code = run_states(import, state, err);
	json_decref(state);
	return code;
}

const struct import_format import_helm = {"helm", detect, run};
