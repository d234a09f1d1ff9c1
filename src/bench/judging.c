/* Pairwise judging: when two answers to one item are there, each judge is asked in both orders, and
 * the two verdicts together make the comparison's score. */
#include "bench/run.h"

#include "base/encode.h"
#include "base/json.h"
#include "suite/words.h"

#define QUESTION_MAX ((size_t)16 << 20)
#define PROMPT_MAX ((size_t)24 << 20)
#define JUDGE_OUTPUT_MAX 1024

/* ---- opening ---- */

static void give_up(struct run *run, struct cell *cell, size_t first)
{
	cell_set(cell, first, TASK_FAILED);
	cell_set(cell, first + 1, TASK_FAILED);
	judging_settle(run, cell, first);
	cells_done(run, cell, first);
	cells_done(run, cell, first + 1);
}

static void open_pair(struct run *run, struct cell *cell, size_t sample_index)
{
	struct cell *own = cells_answering(run, cell->suite, cell->model);
	struct cell *other = cells_answering(run, cell->suite, cell->opponent);
	enum task_state a = (enum task_state)own->tasks[sample_index].state;
	enum task_state b = (enum task_state)other->tasks[sample_index].state;
	size_t first = 2 * sample_index;
	if (a < TASK_ANSWERED || b < TASK_ANSWERED || cell->tasks[first].scored)
		return;
	if (a == TASK_FAILED || b == TASK_FAILED) {
		if (cell->tasks[first].state == TASK_BLOCKED)
			give_up(run, cell, first);
		return;
	}
	for (size_t i = first; i < first + 2; i++)
		if (cell->tasks[i].state == TASK_BLOCKED)
			cell_set(cell, i, TASK_READY);
	run_wake(run);
}

void judging_open(struct run *run, unsigned suite, unsigned model, size_t sample_index)
{
	for (unsigned i = 0; i < run->cell_count; i++) {
		struct cell *cell = &run->cells[i];
		if (cell->judging && cell->suite == suite &&
		    (cell->model == model || cell->opponent == model))
			open_pair(run, cell, sample_index);
	}
}

/* ---- asking ---- */

static json_t *load_answer(struct run *run, const struct cell *cell, unsigned model,
			   size_t sample_index, const char **text, struct err *err)
{
	struct cell *from = cells_answering(run, cell->suite, model);
	return lines_answer(run, from->tasks[sample_index].offset, text, err);
}

/* The prompt in which the model's answer stands first in order 0, second in order 1. */
static enum err_code build_prompt(struct run *run, const struct request *request, struct buf *out,
				  struct err *err)
{
	const struct cell *cell = request->cell;
	struct suite_item item;
	const char *own, *other;
	struct buf question = BUF_INIT(QUESTION_MAX);
	size_t sample_index = request->index / 2;
	ERR_TRY(suite_item_render(run->suites[cell->suite].suite,
				  cell_item(run, cell, request->index), &item, err));
	cells_note_item(run, cell->suite, &item);
	words_question(item.words, &question);
	suite_item_release(&item);
	json_t *own_line = load_answer(run, cell, cell->model, sample_index, &own, err);
	json_t *other_line =
		own_line ? load_answer(run, cell, cell->opponent, sample_index, &other, err) : NULL;
	enum err_code code = other_line ? ERR_OK : err->code;
	if (code == ERR_OK) {
		bool swapped = request->index & 1;
		judge_prompt(out, buf_bytes(&question), bytes_from(swapped ? other : own),
			     bytes_from(swapped ? own : other));
	}
	json_decref(own_line);
	json_decref(other_line);
	if (code == ERR_OK && (question.failed || out->failed))
		code = ERR_SET(err, ERR_TOO_LARGE, "the answers are too long for a judge");
	buf_release(&question);
	return code;
}

static enum err_code ask(struct request *request, struct bytes prompt, struct err *err)
{
	const struct plan_model *plan = request->model->plan;
	json_t *text = json_stringn(prompt.data, prompt.size), *words = NULL;
	struct buf canonical = BUF_INIT(PROMPT_MAX * 2);
	uint8_t digest[SHA256_SIZE];
	enum err_code code = text ? words_normalise(text, &words, err)
				  : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	json_decref(text);
	if (code == ERR_OK)
		code = json_canonical(words, &canonical, err);
	if (code == ERR_OK) {
		leaf_words_digest(buf_bytes(&canonical), digest);
		hex_encode(digest, sizeof(digest), request->words);
		request->item = (struct suite_item){.words = words};
		request->item_held = true;
		words = NULL;
	}
	buf_release(&canonical);
	json_decref(words);
	if (code != ERR_OK || plan->replay)
		return code;
	json_t *settings =
		json_pack("{s:i, s:i}", "max_output", JUDGE_OUTPUT_MAX, "temperature", 0);
	code = dialect_build_request(plan->dialect, request->item.words, settings, plan->name,
				     false, &request->body, err);
	json_decref(settings);
	return code;
}

enum err_code judging_request(struct run *run, struct request *request, struct err *err)
{
	struct buf prompt = BUF_INIT(PROMPT_MAX);
	enum err_code code = build_prompt(run, request, &prompt, err);
	if (code == ERR_OK)
		code = ask(request, buf_bytes(&prompt), err);
	buf_release(&prompt);
	return code;
}

/* ---- settling ---- */

static const char *explain(const struct run *run, struct cell *cell, size_t first)
{
	size_t sample_index = first / 2;
	struct run *mutable = (struct run *)run;
	struct cell *own = cells_answering(mutable, cell->suite, cell->model);
	struct cell *other = cells_answering(mutable, cell->suite, cell->opponent);
	if (own->tasks[sample_index].state == TASK_FAILED)
		return "the model gave no answer";
	if (other->tasks[sample_index].state == TASK_FAILED)
		return "the opponent gave no answer";
	return "the judge gave no verdict";
}

void judging_settle(struct run *run, struct cell *cell, size_t index)
{
	size_t first = index & ~(size_t)1;
	struct task *task = &cell->tasks[first];
	struct run_score record;
	struct judge_outcome outcome = {0};
	if (task[0].state < TASK_ANSWERED || task[1].state < TASK_ANSWERED || task[0].scored)
		return;
	if (task[0].verdict != TASK_NO_VERDICT && task[1].verdict != TASK_NO_VERDICT)
		outcome = judge_combine((enum judge_verdict)task[0].verdict,
					(enum judge_verdict)task[1].verdict);
	task->scored = true;
	task->failed_score = !outcome.judged;
	task->score = outcome.judged ? outcome.score : 0;
	scoring_record(run, cell, first, &record);
	if (!outcome.judged)
		record.explanation = explain(run, cell, first);
	lines_score(run, cell, first, &record);
}
