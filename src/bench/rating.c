/* Ratings: when an answer is there, each judge is asked about it once, and what it replies is the
 * answer's score (grade/rating.h). Replies are read with the item's own specification, so that they
 * are read again from the journal where a run goes on. */
#include "bench/run.h"

#include "bench/text.h"
#include "grade/rating.h"

/* ---- opening ---- */

static void open_answer(struct run *run, struct cell *cell, size_t index)
{
	const struct cell *from = cells_answering(run, cell->suite, cell->model);
	enum task_state state = (enum task_state)from->tasks[index].state;
	if (cell->tasks[index].state != TASK_BLOCKED || state < TASK_ANSWERED)
		return;
	if (state == TASK_FAILED) {
		cell_set(cell, index, TASK_FAILED);
		rating_settle(run, cell, index, NULL, "the model gave no answer");
		cells_done(run, cell, index);
		return;
	}
	cell_set(cell, index, TASK_READY);
	run_wake(run);
}

void rating_open(struct run *run, unsigned suite, unsigned model, size_t index)
{
	for (unsigned i = 0; i < run->cell_count; i++) {
		struct cell *cell = &run->cells[i];
		if (cell->rating && cell->suite == suite && cell->model == model)
			open_answer(run, cell, index);
	}
}

/* ---- asking ---- */

enum err_code rating_ask(struct run *run, const struct request *request, json_t **out,
			 struct err *err)
{
	const struct cell *cell = request->cell;
	const struct cell *from = cells_answering(run, cell->suite, cell->model);
	struct suite_item item;
	const char *answer;
	/* The answer is durable already, or waits to be written. */
	if (!journal_write(&run->journal)) {
		*err = run->journal.err;
		return err->code;
	}
	json_t *line = lines_answer(run, from->tasks[request->index].offset, &answer, err);
	if (!line)
		return err->code;
	enum err_code code = suite_item_render(run->suites[cell->suite].suite,
					       cell_item(run, cell, request->index), &item, err);
	if (code == ERR_OK) {
		cells_note_item(run, cell->suite, &item);
		code = rating_words(item.scorer, item.words, bytes_from(answer), out, err);
		suite_item_release(&item);
	}
	json_decref(line);
	return code;
}

/* ---- settling ---- */

void rating_settle(struct run *run, struct cell *cell, size_t index, const struct rating *rating,
		   const char *why)
{
	struct task *task = &cell->tasks[index];
	struct run_score record;
	char explanation[512];
	if (task->scored)
		return;
	bool judged = rating && rating_is_judged(rating->verdict);
	task->scored = true;
	task->failed_score = !judged;
	task->score = judged ? rating->score : 0;
	task->refused = (int8_t)(judged ? rating->refused : REFUSED_UNKNOWN);
	if (rating)
		task->verdict = (uint8_t)rating->verdict;
	scoring_record(run, cell, index, &record);
	text_line(explanation, sizeof(explanation), bytes_from(rating ? rating->explanation : why));
	record.explanation = *explanation ? explanation : NULL;
	lines_score(run, cell, index, &record);
}

enum err_code rating_take(struct run *run, struct cell *cell, size_t index, struct bytes reply,
			  struct err *err)
{
	struct suite_item item;
	struct rating rating;
	ERR_TRY(suite_item_render(run->suites[cell->suite].suite, cell_item(run, cell, index),
				  &item, err));
	cells_note_item(run, cell->suite, &item);
	rating_read(item.scorer, reply, &rating);
	suite_item_release(&item);
	rating_settle(run, cell, index, &rating, NULL);
	return ERR_OK;
}

void rating_resume(struct run *run, struct cell *cell, size_t index)
{
	const struct task *task = &cell->tasks[index];
	struct err err = ERR_INIT;
	const char *reply;
	if (task->scored || task->state < TASK_ANSWERED)
		return;
	if (task->state == TASK_FAILED) {
		rating_settle(run, cell, index, NULL, "the judge gave no verdict");
		return;
	}
	json_t *line = lines_answer(run, task->offset, &reply, &err);
	if (!line || rating_take(run, cell, index, bytes_from(reply), &err) != ERR_OK)
		run_fail(run, &err);
	json_decref(line);
}
