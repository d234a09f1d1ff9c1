/* Conversations in a bundle: every step was asked with the answers that the transcripts show for
 * those before it. */
#include "verify/audit.h"

#include "base/json.h"
#include "suite/conversation.h"

#define WORDS_TEXT_MAX ((size_t)64 << 20)

static uint64_t *turns_of(const struct audit_cell *cell, size_t slot)
{
	return cell->turns ? &cell->turns[slot * cell->turn_count] : NULL;
}

/* Offsets are one more than the line's, so that 0 is none. */
unsigned audit_step_of(const struct audit_cell *cell, size_t slot)
{
	const uint64_t *turns = turns_of(cell, slot);
	unsigned step = 0;
	while (turns && step < cell->turn_count && turns[step])
		step++;
	return step;
}

bool audit_step_take(const struct attempt *attempt, unsigned steps, uint64_t offset)
{
	unsigned step = audit_step_of(attempt->cell, attempt->slot);
	if (!attempt->cell->turns || step + 1 >= steps)
		return false;
	turns_of(attempt->cell, attempt->slot)[step] = offset + 1;
	return true;
}

static enum err_code read_answers(struct audit *audit, const struct attempt *attempt, json_t *out,
				  struct err *err)
{
	const uint64_t *turns = turns_of(attempt->cell, attempt->slot);
	unsigned count = audit_step_of(attempt->cell, attempt->slot);
	for (unsigned step = 0; step < count; step++) {
		json_t *line;
		ERR_TRY(withheld_line(audit, turns[step] - 1, &line, err));
		int failed = json_array_append(out, json_object_get(line, "answer"));
		json_decref(line);
		if (failed)
			return ERR_SET(err, ERR_INVALID, "%s: an answer before it is missing",
				       attempt->where);
	}
	return ERR_OK;
}

enum err_code audit_step_bytes(struct audit *audit, const struct attempt *attempt, int64_t *out,
			       struct err *err)
{
	json_t *answers = json_array(), *answer;
	size_t index;
	*out = 0;
	enum err_code code =
		answers ? read_answers(audit, attempt, answers, err)
			: ERR_SET(err, ERR_NO_MEMORY, "out of memory for a conversation");
	json_array_foreach(answers, index, answer) *out += (int64_t)json_string_length(answer);
	json_decref(answers);
	return code;
}

enum err_code audit_step_words(struct audit *audit, const struct attempt *attempt,
			       uint8_t digest[static SHA256_SIZE], struct err *err)
{
	struct suite_item item;
	struct buf text = BUF_INIT(WORDS_TEXT_MAX);
	json_t *answers = json_array(), *words = NULL;
	enum err_code code =
		answers ? audit_render(audit, attempt->cell->suite,
				       audit_item_of(audit, attempt->cell, attempt->slot), false,
				       &item, err)
			: ERR_SET(err, ERR_NO_MEMORY, "out of memory for a conversation");
	if (code == ERR_OK) {
		code = read_answers(audit, attempt, answers, err);
		if (code == ERR_OK)
			code = conversation_step(item.words, answers, &words, err);
		suite_item_release(&item);
	}
	if (code == ERR_OK)
		code = json_canonical(words, &text, err);
	if (code == ERR_OK)
		leaf_words_digest(buf_bytes(&text), digest);
	json_decref(answers);
	json_decref(words);
	buf_release(&text);
	return code;
}
