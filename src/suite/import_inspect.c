/* Logs of Inspect (UK AI Security Institute), version 2: `.eval` archives or one `.json`. The items
 * are what was sent to the model, the transcript is what came back: a run of the suite against it
 * repeats the run. Samples with tools are left out: the harness carries no tool calls. */
#include "suite/import_internal.h"

#include "base/json.h"
#include "suite/python_json.h"
#include "suite/zip.h"

#define SAMPLES_PREFIX "samples/"
#define ENTRY_MAX ((size_t)256 << 20)

static bool is_archive(struct bytes content)
{
	return bytes_starts_with(content, BYTES("PK\003\004"));
}

static bool detect(struct bytes content, const json_t *first)
{
	const json_t *eval = json_object_get(first, "eval");
	return is_archive(content) ||
	       (json_object_get(eval, "task") && json_object_get(eval, "model"));
}

/* ---- the scorer ---- */

/* Inspect's scorers by ours. The names of packages may stand in front. */
static const char *scorer_yaml(const char *name)
{
	static const struct {
		const char *name, *yaml;
	} scorers[] = {
		{"exact",    "{ kind: exact, target: \"{{target}}\", normalise: true }"     },
		{"includes", "{ kind: contains, target: \"{{target}}\", ignore_case: true }"},
		{"match",    "{ kind: contains, target: \"{{target}}\", ignore_case: true }"},
		{"choice",   "{ kind: choice, target: \"{{target}}\" }"                     },
	};
	const char *slash = strrchr(name, '/');
	for (size_t i = 0; i < sizeof(scorers) / sizeof(scorers[0]); i++)
		if (strcmp(slash ? slash + 1 : name, scorers[i].name) == 0)
			return scorers[i].yaml;
	return "{ kind: contains, target: \"{{target}}\", ignore_case: true } # not the log's "
	       "scorer";
}

static const char *scorer_name(const json_t *header)
{
	const json_t *scores = json_object_get(json_object_get(header, "results"), "scores");
	const json_t *score = json_array_get(scores, 0);
	const char *scorer = json_text(score, "scorer");
	return *scorer ? scorer : json_text(score, "name");
}

static enum err_code begin(struct import *import, const json_t *header, struct err *err)
{
	const json_t *eval = json_object_get(header, "eval");
	struct buf note = BUF_INIT(1024);
	if (!json_is_object(eval))
		return ERR_SET(err, ERR_INVALID, "%s: no Inspect log: \"eval\" is missing",
			       import->input);
	import_examples_yaml(import, json_text(eval, "task"), NULL,
			     scorer_yaml(scorer_name(header)));
	buf_printf(&note, "Inspect log of %.200s by %.200s (recorded answers)",
		   json_text(eval, "task"), json_text(eval, "model"));
	buf_append_char(&note, '\0');
	enum err_code code = note.failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory")
					 : import_note(import, note.data, err);
	buf_release(&note);
	return code;
}

/* ---- samples ---- */

/* Where the last answer stands among the messages; their number where there is none. */
static size_t last_answer(const json_t *messages)
{
	size_t count = json_array_size(messages);
	for (size_t i = count; i > 0; i--)
		if (strcmp(json_text(json_array_get(messages, i - 1), "role"), "assistant") == 0)
			return i - 1;
	return count;
}

/* What was asked: the messages in front of the last answer, or the input. A new reference. */
static json_t *prompt_of(const json_t *sample)
{
	const json_t *messages = json_object_get(sample, "messages");
	const json_t *input = json_object_get(sample, "input");
	if (json_array_size(messages))
		return import_chat(messages, last_answer(messages));
	if (json_is_string(input))
		return json_incref((json_t *)input);
	return import_chat(input, json_array_size(input));
}

static json_t *answers_of(const json_t *sample)
{
	const json_t *output = json_object_get(sample, "output");
	const json_t *choice = json_array_get(json_object_get(output, "choices"), 0);
	const json_t *content = json_object_get(json_object_get(choice, "message"), "content");
	const json_t *completion = json_object_get(output, "completion");
	const json_t *text = json_is_string(completion) ? completion : content;
	return json_is_string(text) ? json_pack("[O]", text) : NULL;
}

static enum err_code add_sample(struct import *import, const json_t *sample, struct err *err)
{
	char id[257];
	ERR_TRY(import_id(sample, "id", id, err));
	json_t *prompt = prompt_of(sample), *answers = answers_of(sample);
	struct import_example example = {.id = id,
					 .prompt = prompt,
					 .target = json_object_get(sample, "target"),
					 .answers = answers};
	enum err_code code = ERR_OK;
	if (!prompt)
		import_leave_out(import, "the messages of sample %.60s are not only text", id);
	else if (!example.target)
		import_leave_out(import, "sample %.60s has no target", id);
	else
		code = import_add_example(import, &example, err);
	json_decref(prompt);
	json_decref(answers);
	return code;
}

/* ---- both forms ---- */

static enum err_code read_entry(struct import *import, struct zip *zip,
				const struct zip_entry *entry, json_t **out, struct err *err)
{
	struct buf text = BUF_INIT(ENTRY_MAX);
	enum err_code code = zip_read(zip, entry, &text, err);
	if (code == ERR_OK)
		code = python_json(buf_bytes(&text), import->input, out, err);
	if (code != ERR_OK)
		err_prefix(err, "%.*s", BYTES_ARG(entry->name));
	buf_release(&text);
	return code;
}

static enum err_code
run_entry(struct import *import, struct zip *zip, const struct zip_entry *entry,
	  enum err_code (*each)(struct import *import, const json_t *tree, struct err *err),
	  struct err *err)
{
	json_t *tree = NULL;
	ERR_TRY(read_entry(import, zip, entry, &tree, err));
	enum err_code code = each(import, tree, err);
	json_decref(tree);
	return code;
}

/* A file of samples/, but none of the newer folders in it, which hold a sample in pieces. */
static bool is_sample(const struct zip_entry *entry)
{
	size_t prefix = sizeof(SAMPLES_PREFIX) - 1;
	return bytes_starts_with(entry->name, BYTES(SAMPLES_PREFIX)) &&
	       bytes_ends_with(entry->name, BYTES(".json")) &&
	       !memchr(entry->name.data + prefix, '/', entry->name.size - prefix);
}

static enum err_code run_entries(struct import *import, struct zip *zip, struct err *err)
{
	const struct zip_entry *header = zip_find(zip, BYTES("header.json"));
	if (!header)
		header = zip_find(zip, BYTES("_journal/start.json")); /* of a run that was cut */
	if (!header)
		return ERR_SET(err, ERR_INVALID, "%s: no Inspect log: header.json is missing",
			       import->input);
	ERR_TRY(run_entry(import, zip, header, begin, err));
	for (size_t i = 0; i < zip_count(zip); i++)
		if (is_sample(zip_at(zip, i)))
			ERR_TRY(run_entry(import, zip, zip_at(zip, i), add_sample, err));
	return ERR_OK;
}

static enum err_code run(struct import *import, struct err *err)
{
	if (is_archive(import->content)) {
		struct zip *zip;
		ERR_TRY(zip_open(import->env, import->input, &zip, err));
		enum err_code code = run_entries(import, zip, err);
		zip_close(zip);
		return code;
	}
	json_t *log;
	ERR_TRY(python_json(import->content, import->input, &log, err));
	const json_t *samples = json_object_get(log, "samples");
	enum err_code code = begin(import, log, err);
	for (size_t i = 0; code == ERR_OK && i < json_array_size(samples); i++)
		code = add_sample(import, json_array_get(samples, i), err);
	json_decref(log);
	return code;
}

const struct import_format import_inspect = {"inspect", detect, run};
