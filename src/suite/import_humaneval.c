/* HumanEval (Chen et al. 2021): JSONL of task_id, prompt, entry_point, canonical_solution, test. */
#include "suite/import_internal.h"

#include "base/json.h"

static const char suite_yaml[] = "name: humaneval\n"
				 "version: 1\n"
				 "licence: MIT\n"
				 "source: \"https://github.com/openai/human-eval\"\n"
				 "kind: coding\n"
				 "template: |-\n"
				 "  Complete the following Python function. Reply with the whole "
				 "function, with the imports it\n"
				 "  needs, in one ```python block and nothing else.\n"
				 "\n"
				 "  ```python\n"
				 "  {{prompt}}\n"
				 "  ```\n"
				 "settings: { max_tokens: 1024, temperature: 0 }\n"
				 "samples: 1\n"
				 "scorer:\n"
				 "  kind: code\n"
				 "  language: python\n"
				 "  program: \"{{test_program}}\"\n"
				 "  entry_point: \"{{entry_point}}\"\n"
				 "  prompt: \"{{prompt}}\"\n"
				 "  timeout_seconds: 5\n";

static const char *const members[] = {"task_id", "prompt", "entry_point", "test", NULL};

static bool detect(struct bytes content, const json_t *first)
{
	(void)content;
	return import_has(first, members);
}

static enum err_code add_row(struct import *import, const json_t *row, struct err *err)
{
	const char *prompt, *entry_point, *test, *solution;
	char id[257];
	ERR_TRY(import_id(row, "task_id", id, err));
	ERR_TRY(json_get_string(row, "prompt", "the task", &prompt, err));
	ERR_TRY(json_get_string(row, "entry_point", "the task", &entry_point, err));
	ERR_TRY(json_get_string(row, "test", "the task", &test, err));
	ERR_TRY(json_get_string_or(row, "canonical_solution", "the task", NULL, &solution, err));
	return import_add_item(import,
			       json_pack("{s:s, s:s, s:s, s:s+++, s:s*}", "id", id, "prompt",
					 prompt, "entry_point", entry_point, "test_program", test,
					 "\n\ncheck(", entry_point, ")\n", "canonical_solution",
					 solution),
			       err);
}

static enum err_code run(struct import *import, struct err *err)
{
	buf_append_cstr(&import->yaml, suite_yaml);
	return import_rows(import, add_row, err);
}

const struct import_format import_humaneval = {"humaneval", detect, run};
