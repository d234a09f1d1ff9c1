/* The table of work: which model answers what, which judge compares what, and what is done. */
#include "bench/run.h"

#include "grade/rating.h"
#include "suite/words.h"

#include <assert.h>
#include <stdlib.h>

/* ---- building ---- */

static bool has_role(const struct run *run, unsigned model, unsigned roles)
{
	return (run->plan.models[model].roles & roles) != 0;
}

static bool answers(const struct run *run, unsigned suite, unsigned model)
{
	unsigned roles = PLAN_CONTESTANT;
	if (run->suites[suite].pairwise)
		roles |= PLAN_BASELINE | PLAN_CONTROL;
	return has_role(run, model, roles);
}

/* The null model meets this one, where there is no baseline. */
static unsigned first_contestant(const struct run *run)
{
	unsigned i = 0;
	while (!has_role(run, i, PLAN_CONTESTANT))
		i++;
	return i;
}

/* With a baseline every contestant and control meets it; without one every pair of contestants
 * meets, and a control the first of them. */
static bool meets(const struct run *run, unsigned model, unsigned opponent)
{
	bool baseline = false;
	for (unsigned i = 0; i < run->model_count; i++)
		baseline |= has_role(run, i, PLAN_BASELINE);
	if (model == opponent || !has_role(run, model, PLAN_CONTESTANT | PLAN_CONTROL))
		return false;
	if (baseline)
		return has_role(run, opponent, PLAN_BASELINE) &&
		       !has_role(run, model, PLAN_BASELINE);
	if (has_role(run, model, PLAN_CONTROL))
		return opponent == first_contestant(run);
	return has_role(run, opponent, PLAN_CONTESTANT) && model < opponent;
}

static enum err_code add_cell(struct run *run, const struct cell *template, struct err *err)
{
	const struct run_suite *suite = &run->suites[template->suite];
	size_t answers = template->spread ? template->spread : suite->items * suite->samples;
	size_t count = answers * cell_orders(template);
	if (count > RUN_TASKS_MAX - run->cell_tasks)
		return ERR_SET(err, ERR_TOO_LARGE,
			       "the plan has more than %zu requests; split it into several runs",
			       RUN_TASKS_MAX);
	struct cell *grown = reallocarray(run->cells, run->cell_count + 1, sizeof(*grown));
	if (!grown)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	run->cells = grown;
	struct cell *cell = &run->cells[run->cell_count];
	*cell = *template;
	cell->number = run->cell_count;
	cell->count = count;
	cell->tasks = calloc(count, sizeof(*cell->tasks));
	cell->turn_count = template->judging ? 0 : suite_steps(suite->suite) - 1;
	if (cell->turn_count)
		cell->turns = calloc(count, cell->turn_count * sizeof(*cell->turns));
	if (!cell->tasks || (cell->turn_count && !cell->turns))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	run->cell_count++;
	run->cell_tasks += count;
	for (size_t i = 0; i < count; i++) {
		cell->tasks[i].verdict = TASK_NO_VERDICT;
		cell->tasks[i].refused = REFUSED_UNKNOWN;
		cell->tasks[i].state = template->judging ? TASK_BLOCKED : TASK_READY;
	}
	cell->ready = template->judging ? 0 : count;
	cell->cursor = 0;
	return ERR_OK;
}

static enum err_code add_judges(struct run *run, unsigned suite, unsigned model, unsigned opponent,
				struct err *err)
{
	const struct plan_model *planned = &run->plan.models[model];
	size_t spread = planned->roles & PLAN_CONTROL
				? plan_spread_count(planned, run->suites[suite].items)
				: 0;
	for (unsigned judge = 0; judge < run->model_count; judge++) {
		struct cell cell = {.suite = suite,
				    .model = model,
				    .opponent = opponent,
				    .judge = judge,
				    .spread = spread,
				    .judging = true};
		if (has_role(run, judge, PLAN_JUDGE))
			ERR_TRY(add_cell(run, &cell, err));
	}
	return ERR_OK;
}

static enum err_code add_raters(struct run *run, unsigned suite, unsigned model, struct err *err)
{
	for (unsigned judge = 0; judge < run->model_count; judge++) {
		struct cell cell = {.suite = suite,
				    .model = model,
				    .opponent = model,
				    .judge = judge,
				    .judging = true,
				    .rating = true};
		if (has_role(run, judge, PLAN_JUDGE))
			ERR_TRY(add_cell(run, &cell, err));
	}
	return ERR_OK;
}

static enum err_code add_suite(struct run *run, unsigned suite, struct err *err)
{
	for (unsigned model = 0; model < run->model_count; model++) {
		struct cell cell = {.suite = suite, .model = model};
		if (answers(run, suite, model))
			ERR_TRY(add_cell(run, &cell, err));
	}
	for (unsigned model = 0; run->suites[suite].scorer->rated && model < run->model_count;
	     model++)
		if (answers(run, suite, model))
			ERR_TRY(add_raters(run, suite, model, err));
	if (!run->suites[suite].pairwise)
		return ERR_OK;
	for (unsigned model = 0; model < run->model_count; model++)
		for (unsigned opponent = 0; opponent < run->model_count; opponent++)
			if (meets(run, model, opponent))
				ERR_TRY(add_judges(run, suite, model, opponent, err));
	return ERR_OK;
}

bool cells_is_blind(const struct run *run, const struct cell *cell, size_t index)
{
	const struct run_model *model = &run->models[cell->model];
	return !cell->judging && model->gateway_runs && model->gateway_runs[cell->suite].blind &&
	       conduct_is_blind(&run->conduct, cell->suite, cell_item(run, cell, index),
				cell_sample(run, cell, index));
}

static void open_conduct(struct run *run)
{
	plan_conduct(&run->plan, &run->conduct);
	run->conduct.suite_count = run->suite_count;
	for (unsigned i = 0; i < run->suite_count; i++)
		run->conduct.suites[i] =
			(struct conduct_suite){.name = run->suites[i].name,
					       .suite = run->suites[i].suite,
					       .pairwise = run->suites[i].pairwise,
					       .decoys = run->plan.suites[i].decoys,
					       .samples = run->suites[i].samples};
}

void cells_observe(struct run *run, const struct cell *cell, size_t index,
		   const struct run_transcript *attempt)
{
	size_t item = cell_item(run, cell, index);
	if (!cell->judging)
		conduct_take(&run->conduct, cell->suite, cell->model, item,
			     cells_item(run, cell->suite, item)->asked, attempt);
}

enum err_code cells_build(struct run *run, struct err *err)
{
	open_conduct(run);
	if (!conduct_draw_blind(&run->conduct, run->plan.id))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	for (unsigned suite = 0; suite < run->suite_count; suite++)
		ERR_TRY(add_suite(run, suite, err));
	return ERR_OK;
}

void cells_release(struct run *run)
{
	for (unsigned i = 0; i < run->cell_count; i++) {
		free(run->cells[i].tasks);
		free(run->cells[i].turns);
	}
	free(run->cells);
	free(run->undurable);
	conduct_release(&run->conduct);
	run->cells = NULL;
	run->undurable = NULL;
	run->cell_count = 0;
}

struct cell *cells_answering(struct run *run, unsigned suite, unsigned model)
{
	for (unsigned i = 0; i < run->cell_count; i++) {
		struct cell *cell = &run->cells[i];
		if (!cell->judging && cell->suite == suite && cell->model == model)
			return cell;
	}
	return NULL;
}

/* ---- states ---- */

void cell_set(struct cell *cell, size_t index, enum task_state state)
{
	struct task *task = &cell->tasks[index];
	assert(index < cell->count);
	cell->ready -= task->state == TASK_READY;
	cell->ungraded -= task->state == TASK_UNGRADED;
	task->state = (uint8_t)state;
	if (state == TASK_READY) {
		cell->ready++;
		if (index < cell->cursor)
			cell->cursor = index;
	}
	if (state == TASK_UNGRADED) {
		cell->ungraded++;
		if (index < cell->grade_cursor)
			cell->grade_cursor = index;
	}
}

bool cell_next(struct cell *cell, enum task_state state, size_t *index)
{
	bool ready = state == TASK_READY;
	size_t *cursor = ready ? &cell->cursor : &cell->grade_cursor;
	if ((ready ? cell->ready : cell->ungraded) == 0)
		return false;
	while (*cursor < cell->count && cell->tasks[*cursor].state != state)
		++*cursor;
	assert(*cursor < cell->count);
	*index = *cursor;
	return true;
}

/* ---- items ---- */

static enum expect read_expect(const char *text)
{
	if (text && strcmp(text, "refuse") == 0)
		return EXPECT_REFUSE;
	return text && strcmp(text, "answer") == 0 ? EXPECT_ANSWER : EXPECT_NONE;
}

void cells_note_item(struct run *run, unsigned suite, const struct suite_item *item)
{
	struct run_item *facts = &run->suites[suite].facts[item->index];
	if (facts->known)
		return;
	const char *category = json_string_value(json_object_get(item->fields, "category"));
	if (!category)
		category = json_string_value(json_object_get(item->fields, "hazard"));
	facts->expect = read_expect(json_string_value(json_object_get(item->scorer, "expect")));
	facts->reference = -1;
	if (run->suites[suite].scorer && strcmp(run->suites[suite].scorer->kind, "hazard") == 0) {
		facts->hazard = arena_copy(&run->arena, bytes_from(rating_hazard(item->scorer)));
		facts->reference = rating_reference(item->scorer);
	}
	if (item->cluster)
		facts->cluster = arena_copy(&run->arena, bytes_from(item->cluster));
	if (category)
		facts->category = arena_copy(&run->arena, bytes_from(category));
	facts->steps = item->steps;
	facts->asked = (uint32_t)words_text_size(item->words);
	facts->known = true;
}

const struct run_item *cells_item(struct run *run, unsigned suite, size_t item)
{
	struct run_item *facts = &run->suites[suite].facts[item];
	struct suite_item rendered;
	if (!facts->known &&
	    suite_item_render(run->suites[suite].suite, item, &rendered, NULL) == ERR_OK) {
		cells_note_item(run, suite, &rendered);
		suite_item_release(&rendered);
	}
	return facts;
}

/* ---- outcomes ---- */

static bool reserve_undurable(struct run *run)
{
	if (run->undurable_first > run->undurable_count / 2) {
		run->undurable_count -= run->undurable_first;
		memmove(run->undurable, run->undurable + run->undurable_first,
			run->undurable_count * sizeof(*run->undurable));
		run->undurable_first = 0;
	}
	if (run->undurable_count < run->undurable_capacity)
		return true;
	size_t capacity = run->undurable_capacity ? 2 * run->undurable_capacity : 256;
	struct undurable *grown = reallocarray(run->undurable, capacity, sizeof(*grown));
	if (!grown)
		return false;
	run->undurable = grown;
	run->undurable_capacity = capacity;
	return true;
}

void cells_done(struct run *run, struct cell *cell, size_t index)
{
	if (!reserve_undurable(run)) {
		struct err err = ERR_INIT;
		ERR_SET(&err, ERR_NO_MEMORY, "out of memory");
		run_fail(run, &err);
		return;
	}
	run->undurable[run->undurable_count++] =
		(struct undurable){journal_offset(&run->journal), cell, index};
}

/* Counts a task that is durable now and tells the judges. */
static void settle(struct run *run, struct cell *cell, size_t index)
{
	const struct task *task = &cell->tasks[index];
	cell->done++;
	run->outcomes++;
	if (task->state == TASK_FAILED)
		cell->failed++;
	if (cell->rating) {
		cell->scored += task->scored && !task->failed_score;
		cell->score_sum += task->score;
		return;
	}
	if (cell->judging) {
		/* Two orders make one comparison: its score stands in the first task, and `scored`
		 * of the second tells that it was counted. */
		struct task *first = &cell->tasks[index & ~(size_t)1], *second = first + 1;
		if (first->state >= TASK_ANSWERED && second->state >= TASK_ANSWERED &&
		    first->scored && !second->scored) {
			second->scored = true;
			cell->scored += !first->failed_score;
			cell->score_sum += first->score;
		}
		return;
	}
	if (task->scored && task->state == TASK_ANSWERED) {
		cell->scored++;
		cell->score_sum += task->score;
	}
	if (run->suites[cell->suite].pairwise)
		judging_open(run, cell->suite, cell->model, index);
	else if (run->suites[cell->suite].judged)
		rating_open(run, cell->suite, cell->model, index);
}

void cells_durable(struct run *run)
{
	while (run->undurable_first < run->undurable_count &&
	       run->undurable[run->undurable_first].end <= run->journal.synced) {
		struct undurable entry = run->undurable[run->undurable_first++];
		settle(run, entry.cell, entry.index);
	}
}

bool cells_complete(const struct run *run)
{
	return run->outcomes == run->cell_tasks;
}
