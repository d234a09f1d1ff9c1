/* MT-bench and Vicuna-bench questions (Zheng et al. 2023): JSONL of question_id, category and
 * turns, each asked after the model's answers to those before it. */
#include "suite/import_internal.h"

#include "base/json.h"

#define TURNS_MAX 32u

static const char suite_yaml[] = "name: mt-bench\n"
				 "version: 1\n"
				 "licence: Apache-2.0\n"
				 "source: \"https://github.com/lm-sys/FastChat\"\n"
				 "kind: writing\n"
				 "words: conversation\n"
				 "settings: { max_tokens: 1024, temperature: 0.7 }\n"
				 "samples: 1\n"
				 "scorer: { kind: pairwise }\n";

static bool detect(struct bytes content, const json_t *first)
{
	static const char *const members[] = {"question_id", "category", "turns", NULL};
	(void)content;
	return import_has(first, members);
}

static bool add_turn(json_t *messages, const json_t *turn, bool first)
{
	if (!first && json_array_append_new(messages, json_pack("{s:s, s:b}", "role", "assistant",
								"answer", true)) != 0)
		return false;
	return json_array_append_new(messages,
				     json_pack("{s:s, s:O}", "role", "user", "text", turn)) == 0;
}

static enum err_code add_row(struct import *import, const json_t *row, struct err *err)
{
	json_t *turns, *messages = json_array();
	const char *category;
	char id[257];
	enum err_code code = import_id(row, "question_id", id, err);
	if (code == ERR_OK)
		code = json_get_string(row, "category", "the question", &category, err);
	if (code == ERR_OK)
		code = json_get_container(row, "turns", "the question", JSON_ARRAY, false, &turns,
					  err);
	if (code == ERR_OK && (json_array_size(turns) == 0 || json_array_size(turns) > TURNS_MAX))
		code = ERR_SET(err, ERR_INVALID, "\"turns\" must hold 1 to %u texts", TURNS_MAX);
	for (size_t i = 0; code == ERR_OK && i < json_array_size(turns); i++)
		if (!json_is_string(json_array_get(turns, i)))
			code = ERR_SET(err, ERR_INVALID,
				       "\"turns\" holds something else than texts");
		else if (!add_turn(messages, json_array_get(turns, i), i == 0))
			code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (code == ERR_OK)
		code = import_add_item(import,
				       json_pack("{s:s, s:s, s:{s:O}}", "id", id, "category",
						 category, "conversation", "messages", messages),
				       err);
	json_decref(messages);
	return code;
}

static enum err_code run(struct import *import, struct err *err)
{
	buf_append_cstr(&import->yaml, suite_yaml);
	return import_rows(import, add_row, err);
}

const struct import_format import_mt_bench = {"mt_bench", detect, run};
