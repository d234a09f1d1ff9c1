/* Pairwise judging: when two answers to one item are there, each judge is asked in both orders, and
 * the two verdicts together make the comparison's score. */
#include "bench/run.h"

#include "base/encode.h"
#include "base/json.h"
#include "suite/conversation.h"
#include "suite/words.h"

#define QUESTION_MAX ((size_t)16 << 20)
#define PROMPT_MAX ((size_t)24 << 20)

/* ---- opening ---- */

static void give_up(struct run *run, struct cell *cell, size_t first)
{
	cell_set(cell, first, TASK_FAILED);
	cell_set(cell, first + 1, TASK_FAILED);
	judging_settle(run, cell, first);
	cells_done(run, cell, first);
	cells_done(run, cell, first + 1);
}

/* A gateway binds judges to answers that it has served: a control's are none. */
static bool is_unbound(const struct run *run, const struct cell *cell)
{
	return suite_is_judged(run->suites[cell->suite].suite) &&
	       run->models[cell->judge].gateway_state == GATEWAY_READY &&
	       (run->models[cell->model].plan->roles & PLAN_CONTROL);
}

static void open_pair(struct run *run, struct cell *cell, size_t sample_index)
{
	struct cell *own = cells_answering(run, cell->suite, cell->model);
	struct cell *other = cells_answering(run, cell->suite, cell->opponent);
	enum task_state a = (enum task_state)own->tasks[sample_index].state;
	enum task_state b = (enum task_state)other->tasks[sample_index].state;
	size_t first;
	if (!cell_comparison(run, cell, sample_index, &first))
		return;
	if (a < TASK_ANSWERED || b < TASK_ANSWERED || cell->tasks[first].scored)
		return;
	if (a == TASK_FAILED || b == TASK_FAILED || is_unbound(run, cell)) {
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

/* The two answers, in the order that the judge is shown them: the model's first in order 0, second
 * in order 1. An array, or NULL. */
static json_t *load_pair(struct run *run, const struct request *request, struct err *err)
{
	const struct cell *cell = request->cell;
	size_t sample_index = cell_answer(run, cell, request->index);
	bool swapped = request->index & 1;
	const char *own, *other;
	/* One of the two is durable, the other may wait to be written still. */
	if (!journal_write(&run->journal)) {
		*err = run->journal.err;
		return NULL;
	}
	json_t *own_line = load_answer(run, cell, cell->model, sample_index, &own, err);
	json_t *other_line =
		own_line ? load_answer(run, cell, cell->opponent, sample_index, &other, err) : NULL;
	json_t *pair =
		other_line ? json_pack("[ss]", swapped ? other : own, swapped ? own : other) : NULL;
	if (other_line && !pair)
		ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	json_decref(own_line);
	json_decref(other_line);
	return pair;
}

/* What judges of suites are asked that say nothing of it. */
static enum err_code free_words(const struct suite_item *item, const json_t *pair, json_t **out,
				struct err *err)
{
	struct buf question = BUF_INIT(QUESTION_MAX), prompt = BUF_INIT(PROMPT_MAX);
	words_question(item->words, &question);
	judge_prompt(&prompt, buf_bytes(&question),
		     bytes_from(json_string_value(json_array_get(pair, 0))),
		     bytes_from(json_string_value(json_array_get(pair, 1))));
	prompt.failed |= question.failed;
	buf_release(&question);
	return judge_prompt_words(&prompt, out, err);
}

static enum err_code build_words(struct run *run, const struct request *request, json_t **out,
				 struct err *err)
{
	if (request->cell->rating)
		return rating_ask(run, request, out, err);
	const struct cell *cell = request->cell;
	const struct suite *suite = run->suites[cell->suite].suite;
	size_t number = cell_item(run, cell, request->index);
	struct suite_item item;
	json_t *pair = load_pair(run, request, err);
	if (!pair)
		return err->code;
	enum err_code code = suite_is_judged(suite) ? suite_judge_render(suite, number, &item, err)
						    : suite_item_render(suite, number, &item, err);
	if (code == ERR_OK) {
		if (suite_is_judged(suite)) {
			code = conversation_judged(item.words, pair, out, err);
		} else {
			cells_note_item(run, cell->suite, &item);
			code = free_words(&item, pair, out, err);
		}
		suite_item_release(&item);
	}
	json_decref(pair);
	return code;
}

static enum err_code build_body(struct run *run, struct request *request, struct err *err)
{
	const struct plan_model *plan = request->model->plan;
	const struct suite *suite = run->suites[request->cell->suite].suite;
	json_t *settings = suite_is_judged(suite)
				   ? json_incref((json_t *)suite_judge_settings(suite))
				   : json_pack("{s:i, s:i}", "max_output", RUN_JUDGE_OUTPUT_MAX,
					       "temperature", 0);
	enum err_code code = dialect_build_request(plan->dialect, request->item.words, settings,
						   plan->name, false, &request->body, err);
	json_decref(settings);
	return code;
}

enum err_code judging_request(struct run *run, struct request *request, struct err *err)
{
	struct buf canonical = BUF_INIT(PROMPT_MAX * 2);
	json_t *words = NULL;
	uint8_t digest[SHA256_SIZE];
	enum err_code code = build_words(run, request, &words, err);
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
	if (code != ERR_OK || request->model->plan->replay)
		return code;
	return build_body(run, request, err);
}

/* ---- settling ---- */

static const char *explain(const struct run *run, struct cell *cell, size_t first)
{
	size_t sample_index = cell_answer(run, cell, first);
	struct run *mutable = (struct run *)run;
	struct cell *own = cells_answering(mutable, cell->suite, cell->model);
	struct cell *other = cells_answering(mutable, cell->suite, cell->opponent);
	if (own->tasks[sample_index].state == TASK_FAILED)
		return "the model gave no answer";
	if (other->tasks[sample_index].state == TASK_FAILED)
		return "the opponent gave no answer";
	return is_unbound(run, cell) ? "its gateway lets the judge see answers that it served only"
				     : "the judge gave no verdict";
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
