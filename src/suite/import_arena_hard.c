/* Arena-Hard questions (Li et al. 2024): JSONL of uid, category and prompt (v2.0), with a cluster
 * in v0.1, which in older files has turns: [{content}]. */
#include "suite/import_internal.h"

#include "base/json.h"

static const char suite_yaml[] = "name: arena-hard\n"
				 "version: 1\n"
				 "licence: Apache-2.0\n"
				 "source: \"https://github.com/lmarena/arena-hard-auto\"\n"
				 "kind: writing\n"
				 "template: \"{{prompt}}\"\n"
				 "settings: { max_tokens: 4096, temperature: 0 }\n"
				 "samples: 1\n"
				 "scorer: { kind: pairwise }\n"
				 "cluster: cluster\n";

static bool detect(struct bytes content, const json_t *first)
{
	(void)content;
	return json_object_get(first, "uid") && json_object_get(first, "category") &&
	       (json_object_get(first, "prompt") || json_object_get(first, "turns"));
}

static enum err_code add_row(struct import *import, const json_t *row, struct err *err)
{
	const char *prompt = json_text(row, "prompt"), *cluster = json_text(row, "cluster");
	const json_t *turns = json_object_get(row, "turns");
	char id[257];
	ERR_TRY(import_id(row, "uid", id, err));
	if (json_is_null(json_object_get(row, "prompt"))) {
		import_leave_out(import, "the prompt of %.60s is withheld", id);
		return ERR_OK;
	}
	if (json_array_size(turns) == 1)
		prompt = json_text(json_array_get(turns, 0), "content");
	if (!*prompt)
		return ERR_SET(err, ERR_INVALID, "the question has no \"prompt\" and not one turn");
	return import_add_item(import,
			       json_pack("{s:s, s:s, s:s, s:s}", "id", id, "prompt", prompt,
					 "cluster", *cluster ? cluster : id, "category",
					 json_text(row, "category")),
			       err);
}

static enum err_code run(struct import *import, struct err *err)
{
	buf_append_cstr(&import->yaml, suite_yaml);
	return import_rows(import, add_row, err);
}

const struct import_format import_arena_hard = {"arena_hard", detect, run};
