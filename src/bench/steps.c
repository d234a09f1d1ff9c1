/* Conversations: a task whose item has several steps is asked one after the other, each going on
 * from the answers to those before, which stand in the journal. Its outcome is the last one. */
#include "bench/run.h"

#include "base/encode.h"
#include "base/json.h"
#include "suite/conversation.h"

#define WORDS_TEXT_MAX ((size_t)48 << 20)

static uint64_t *turns_of(const struct cell *cell, size_t index)
{
	return cell->turns ? &cell->turns[index * cell->turn_count] : NULL;
}

unsigned steps_done(const struct cell *cell, size_t index)
{
	const uint64_t *turns = turns_of(cell, index);
	unsigned done = 0;
	/* No answer stands at offset 0, where the journal's first line is. */
	while (turns && done < cell->turn_count && turns[done])
		done++;
	return done;
}

bool steps_take(struct run *run, struct cell *cell, size_t index, uint64_t offset)
{
	const struct run_item *facts = cells_item(run, cell->suite, cell_item(run, cell, index));
	unsigned done = steps_done(cell, index);
	struct task *task = &cell->tasks[index];
	if (!cell->turns || done + 1 >= facts->steps)
		return false;
	turns_of(cell, index)[done] = offset;
	task->failures = task->throttles = 0; /* each step is tried as often as any sample */
	return true;
}

uint64_t steps_offset(const struct cell *cell, size_t index, unsigned step)
{
	const uint64_t *turns = turns_of(cell, index);
	return turns && step < steps_done(cell, index) ? turns[step] : cell->tasks[index].offset;
}

static enum err_code read_answers(struct run *run, const struct cell *cell, size_t index,
				  unsigned done, json_t *out, struct err *err)
{
	const uint64_t *turns = turns_of(cell, index);
	for (unsigned step = 0; step < done; step++) {
		const char *text;
		json_t *line = lines_answer(run, turns[step], &text, err);
		if (!line)
			return err->code;
		int failed = json_array_append_new(out, json_string(text));
		json_decref(line);
		if (failed)
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	return ERR_OK;
}

/* The words of a step, after the answers to those before it; the caller owns *out. */
static enum err_code words_of(struct run *run, const struct cell *cell, size_t index, unsigned step,
			      const struct suite_item *item, uint8_t digest[static SHA256_SIZE],
			      json_t **out, struct err *err)
{
	struct buf text = BUF_INIT(WORDS_TEXT_MAX);
	json_t *answers = json_array();
	enum err_code code = answers ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	*out = NULL;
	if (code == ERR_OK && !journal_write(&run->journal))
		code = ERR_SET(err, ERR_ENVIRONMENT, "%s", run->journal.err.message);
	if (code == ERR_OK)
		code = read_answers(run, cell, index, step, answers, err);
	if (code == ERR_OK)
		code = conversation_step(item->words, answers, out, err);
	if (code == ERR_OK)
		code = json_canonical(*out, &text, err);
	if (code == ERR_OK)
		leaf_words_digest(buf_bytes(&text), digest);
	json_decref(answers);
	buf_release(&text);
	return code;
}

/* The item's words become those of the step that is due. */
enum err_code steps_words(struct run *run, struct request *request, struct err *err)
{
	const struct cell *cell = request->cell;
	uint8_t digest[SHA256_SIZE];
	json_t *words;
	enum err_code code = words_of(run, cell, request->index, steps_done(cell, request->index),
				      &request->item, digest, &words, err);
	if (code == ERR_OK) {
		hex_encode(digest, sizeof(digest), request->words);
		json_decref(request->item.words);
		request->item.words = json_incref(words);
	}
	json_decref(words);
	return code;
}

enum err_code steps_digest(struct run *run, const struct cell *cell, size_t index, unsigned step,
			   uint8_t digest[static SHA256_SIZE], struct err *err)
{
	struct suite_item item;
	json_t *words;
	ERR_TRY(suite_item_render(run->suites[cell->suite].suite, cell_item(run, cell, index),
				  &item, err));
	enum err_code code = words_of(run, cell, index, step, &item, digest, &words, err);
	suite_item_release(&item);
	json_decref(words);
	return code;
}
