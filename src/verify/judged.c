/* What a judge must have been asked: the item's question and the two answers as they stand in the
 * transcripts, in the order that the line says. */
#include "verify/audit.h"

#include "base/json.h"
#include "suite/conversation.h"
#include "suite/words.h"

#define PROMPT_MAX ((size_t)64 << 20)

static enum err_code read_question(struct audit *audit, const struct attempt *attempt,
				   struct buf *out, struct err *err)
{
	struct suite_item item;
	ERR_TRY(audit_render(audit, attempt->cell->suite,
			     audit_item_of(audit, attempt->cell, attempt->slot), false, &item,
			     err));
	words_question(item.words, out);
	suite_item_release(&item);
	return ERR_OK;
}

/* The answer of one of the two models: *line holds the text. */
static enum err_code read_answer(struct audit *audit, const struct attempt *attempt, unsigned model,
				 json_t **line, const char **text, struct err *err)
{
	const struct audit_cell *cell = audit_answering(audit, attempt->cell->suite, model);
	const struct audit_slot *slot =
		cell ? &cell->slots[audit_answer_of(audit, attempt->cell, attempt->slot)] : NULL;
	if (!slot || !slot->answered)
		return ERR_SET(err, ERR_MISMATCH, "%s: it was judged before %.64s had answered",
			       attempt->where, audit->plan.models[model].name);
	ERR_TRY(withheld_line(audit, slot->offset, line, err));
	*text = json_string_value(json_object_get(*line, "answer"));
	return *text ? ERR_OK
		     : ERR_SET(err, ERR_INVALID, "%s: the answer is missing", attempt->where);
}

static enum err_code digest_words(const json_t *words, uint8_t digest[static SHA256_SIZE],
				  struct err *err)
{
	struct buf canonical = BUF_INIT(2 * PROMPT_MAX);
	enum err_code code = json_canonical(words, &canonical, err);
	if (code == ERR_OK && canonical.failed)
		code = ERR_SET(err, ERR_TOO_LARGE, "the judge's prompt is too long");
	if (code == ERR_OK)
		leaf_words_digest(buf_bytes(&canonical), digest);
	buf_release(&canonical);
	return code;
}

/* What judges of suites are asked that say nothing of it. */
static enum err_code free_words(struct audit *audit, const struct attempt *attempt, const char *a,
				const char *b, json_t **out, struct err *err)
{
	struct buf question = BUF_INIT(PROMPT_MAX), prompt = BUF_INIT(PROMPT_MAX);
	enum err_code code = read_question(audit, attempt, &question, err);
	if (code == ERR_OK) {
		judge_prompt(&prompt, buf_bytes(&question), bytes_from(a), bytes_from(b));
		prompt.failed |= question.failed;
		code = judge_prompt_words(&prompt, out, err);
		if (code != ERR_OK)
			err_prefix(err, "%s", attempt->where);
	}
	buf_release(&question);
	return code;
}

static enum err_code bound_words(struct audit *audit, const struct attempt *attempt, const char *a,
				 const char *b, json_t **out, struct err *err)
{
	const struct audit_cell *cell = attempt->cell;
	struct suite_item item;
	json_t *pair = json_pack("[ss]", a, b);
	enum err_code code =
		pair ? audit_render(audit, cell->suite, audit_item_of(audit, cell, attempt->slot),
				    true, &item, err)
		     : ERR_SET(err, ERR_NO_MEMORY, "out of memory for a prompt");
	if (code == ERR_OK) {
		code = conversation_judged(item.words, pair, out, err);
		suite_item_release(&item);
	}
	json_decref(pair);
	return code;
}

enum err_code audit_judge_words(struct audit *audit, const struct attempt *attempt,
				uint8_t digest[static SHA256_SIZE], struct err *err)
{
	json_t *own_line = NULL, *other_line = NULL, *words = NULL;
	const char *own, *other;
	bool bound = audit->suites[attempt->cell->suite].judged;
	enum err_code code =
		read_answer(audit, attempt, attempt->cell->model, &own_line, &own, err);
	bool rating = attempt->cell->rating;
	if (code == ERR_OK && rating)
		code = audit_rating_words(audit, attempt, own, &words, err);
	else if (code == ERR_OK)
		code = read_answer(audit, attempt, attempt->cell->opponent, &other_line, &other,
				   err);
	if (code == ERR_OK && !rating) {
		bool swapped = attempt->line.judge_order == 1;
		const char *a = swapped ? other : own, *b = swapped ? own : other;
		code = bound ? bound_words(audit, attempt, a, b, &words, err)
			     : free_words(audit, attempt, a, b, &words, err);
	}
	if (code == ERR_OK)
		code = digest_words(words, digest, err);
	json_decref(words);
	json_decref(own_line);
	json_decref(other_line);
	return code;
}
