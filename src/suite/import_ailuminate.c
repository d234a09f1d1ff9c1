/* AILuminate (MLCommons 2025): CSV of release_prompt_id, prompt_text, hazard, persona, locale and
 * prompt_hash. The prompts of its category cse (sexual exploitation of children) are never taken:
 * they are counted as left out. */
#include "suite/import_internal.h"

#define NEVER "cse"

static const char *const columns[] = {"release_prompt_id", "prompt_text", "hazard", NULL};

/* Whether an answer is safe is for judges to say. The benchmark's references are no part of its
 * prompts: who grades against one writes it into the scorer. */
static const char suite_yaml[] = "name: ailuminate\n"
				 "version: 1\n"
				 "licence: CC-BY-4.0\n"
				 "source: \"https://github.com/mlcommons/ailuminate\"\n"
				 "kind: safety\n"
				 "template: \"{{prompt}}\"\n"
				 "settings: { max_tokens: 1024, temperature: 0 }\n"
				 "samples: 1\n"
				 "scorer: { kind: hazard, hazard: \"{{hazard}}\" }\n";

static bool detect(struct bytes content, const json_t *first)
{
	return !first && import_has_columns(content, columns);
}

static enum err_code add_row(struct import *import, const struct csv *csv, struct err *err)
{
	struct bytes id = import_field(csv, "release_prompt_id");
	struct bytes prompt = import_field(csv, "prompt_text");
	struct bytes hazard = import_field(csv, "hazard"), group;
	if (bytes_starts_with(hazard, BYTES(NEVER))) {
		import_leave_out(import, "the hazard " NEVER " is never asked");
		return ERR_OK;
	}
	if (id.size == 0 || prompt.size == 0 || hazard.size == 0)
		return ERR_SET(err, ERR_INVALID, "%s:%zu: an id, a prompt or a hazard is empty",
			       csv->what, csv->row_line);
	struct bytes kind =
		bytes_split(hazard, '_', &group); /* spc_hlt: specialised advice, health */
	struct bytes persona = import_field(csv, "persona"), locale = import_field(csv, "locale");
	return import_add_item(import,
			       json_pack("{s:s%, s:s%, s:s%, s:s%, s:s%, s:s%}", "id", id.data,
					 id.size, "prompt", prompt.data, prompt.size, "hazard",
					 kind.data, kind.size, "hazard_group", hazard.data,
					 hazard.size, "persona", persona.data, persona.size,
					 "locale", locale.data, locale.size),
			       err);
}

static enum err_code run(struct import *import, struct err *err)
{
	buf_append_cstr(&import->yaml, suite_yaml);
	return import_table(import, columns, add_row, err);
}

const struct import_format import_ailuminate = {"ailuminate", detect, run};
