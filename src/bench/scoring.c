/* From answers to scores. Pure scorers run at once; programs under test run in jobs, so many at a
 * time as there are graders, and read their answer back from the journal, so that what waits for a
 * grader takes no memory. */
#include "bench/run.h"

#include "bench/progress.h"
#include "bench/text.h"
#include "grade/rating.h"
#include "grade/scorer_program.h"
#include "grade/sealed.h"

#include <stdlib.h>

struct grading_job {
	struct env_job job; /* first */
	struct run *run;
	struct cell *cell;
	size_t index;
	struct suite_item item;
	json_t *line; /* holds `answer` */
	const char *answer;
	struct score score;
	struct err err;
};

/* What a rating has beside its score. */
static void record_rating(struct run *run, const struct cell *cell, size_t index,
			  struct run_score *out)
{
	const struct task *task = &cell->tasks[index];
	out->judge = run->models[cell->judge].plan->name;
	out->rule =
		(enum refused)cells_answering(run, cell->suite, cell->model)->tasks[index].refused;
	if (task->verdict != TASK_NO_VERDICT)
		out->verdicts[0] = rating_verdict_name((enum rating_verdict)task->verdict);
}

void scoring_record(struct run *run, struct cell *cell, size_t index, struct run_score *out)
{
	const struct task *task = &cell->tasks[index];
	const struct run_suite *suite = &run->suites[cell->suite];
	size_t item = cell_item(run, cell, index);
	const struct run_item *facts = cells_item(run, cell->suite, item);
	*out = (struct run_score){
		.suite = suite->name,
		.item = suite_id(suite->suite, item),
		.model = run->models[cell->model].plan->name,
		.cluster = facts->cluster,
		.scorer = suite->scorer->kind,
		.sample = cell_sample(run, cell, index),
		.failed = !task->scored || task->failed_score,
		.score = task->scored && !task->failed_score ? task->score : 0,
		.refused = task->scored ? (enum refused)task->refused : REFUSED_UNKNOWN,
		.expect = facts->expect,
		.time_limited = task->time_limited,
		.rule = REFUSED_UNKNOWN,
	};
	out->hazard = facts->hazard;
	out->reference = facts->reference;
	if (!cell->judging)
		return;
	if (cell->rating) {
		record_rating(run, cell, index, out);
		return;
	}
	const struct task *second = task + 1;
	out->opponent = run->models[cell->opponent].plan->name;
	out->judge = run->models[cell->judge].plan->name;
	const struct cell *own = cells_answering(run, cell->suite, cell->model);
	const struct cell *other = cells_answering(run, cell->suite, cell->opponent);
	size_t place = cell_answer(run, cell, index);
	const struct task *answers[2] = {&own->tasks[place], &other->tasks[place]};
	if (answers[0]->state == TASK_ANSWERED && answers[1]->state == TASK_ANSWERED)
		for (int i = 0; i < 2; i++)
			out->lengths[i] = (int64_t)answers[i]->score;
	if (task->verdict == TASK_NO_VERDICT || second->verdict == TASK_NO_VERDICT)
		return;
	enum judge_verdict verdicts[2] = {(enum judge_verdict)task->verdict,
					  (enum judge_verdict)second->verdict};
	out->verdicts[0] = judge_verdict_name(verdicts[0]);
	out->verdicts[1] = judge_verdict_name(verdicts[1]);
	out->flipped = judge_combine(verdicts[0], verdicts[1]).flipped;
}

static void record_score(struct run *run, struct cell *cell, size_t index,
			 const struct score *score)
{
	struct task *task = &cell->tasks[index];
	struct run_score record;
	char explanation[512];
	task->scored = true;
	task->failed_score = score->failed;
	task->score = score->value;
	task->refused = (int8_t)score->refused;
	task->time_limited = score->time_limited;
	scoring_record(run, cell, index, &record);
	text_line(explanation, sizeof(explanation), bytes_from(score->explanation));
	record.explanation = *explanation ? explanation : NULL;
	record.cpu_ms = (int64_t)score->cpu_ms;
	lines_score(run, cell, index, &record);
	cell_set(cell, index, TASK_ANSWERED);
	cells_done(run, cell, index);
}

void scoring_failed(struct run *run, struct cell *cell, size_t index, const char *why)
{
	struct task *task = &cell->tasks[index];
	struct run_score record;
	if (run->suites[cell->suite].judged)
		return; /* what judges score has no other score */
	task->scored = true;
	task->failed_score = true;
	task->score = 0;
	scoring_record(run, cell, index, &record);
	record.explanation = why;
	lines_score(run, cell, index, &record);
}

/* A scorer that cannot work (no sandbox, a broken specification) stops the run: scores that nobody
 * could find must not become failures of a model. */
static void cannot_score(struct run *run, const struct cell *cell, size_t index,
			 const struct err *cause)
{
	const struct suite *suite = run->suites[cell->suite].suite;
	struct err err = *cause;
	err_prefix(&err, "cannot grade item %s of %s", suite_id(suite, cell_item(run, cell, index)),
		   suite_name(suite));
	run_fail(run, &err);
}

static void score_now(struct run *run, struct cell *cell, size_t index, const json_t *spec,
		      struct bytes answer)
{
	struct score score = {0};
	struct err err = ERR_INIT;
	if (scorer_grade(spec, answer, &score, &err) == ERR_OK) {
		record_score(run, cell, index, &score);
		return;
	}
	cell_set(cell, index, TASK_UNGRADED);
	cannot_score(run, cell, index, &err);
}

void scoring_answer(struct run *run, struct cell *cell, size_t index, const struct suite_item *item,
		    struct bytes answer)
{
	if (!run->suites[cell->suite].scorer->blocks) {
		score_now(run, cell, index, item->scorer, answer);
		return;
	}
	cell_set(cell, index, TASK_UNGRADED);
	scoring_pump(run);
}

/* The answer stays at the gateway, which has judged it. */
void scoring_verdict(struct run *run, struct cell *cell, size_t index, const char *text)
{
	const struct run_item *facts = cells_item(run, cell->suite, cell_item(run, cell, index));
	struct sealed_verdict verdict;
	struct score score;
	struct err err = ERR_INIT;
	enum err_code code =
		sealed_verdict_read(bytes_from(text), "the gateway's verdict", &verdict, &err);
	if (code == ERR_OK)
		sealed_verdict_score(&verdict, facts->expect, &score);
	sealed_verdict_release(&verdict);
	if (code == ERR_OK)
		record_score(run, cell, index, &score);
	else
		cannot_score(run, cell, index, &err);
}

/* ---- jobs ---- */

static void release(struct grading_job *grading)
{
	suite_item_release(&grading->item);
	json_decref(grading->line);
	free(grading);
}

static void grade_run(struct env_job *job)
{
	struct grading_job *grading = (struct grading_job *)job;
	struct run *run = grading->run;
	unsigned suite = grading->cell->suite;
	if (run->suites[suite].scorer->own_program)
		scorer_program_grade(run->suites[suite].program.path, grading->item.scorer,
				     bytes_from(grading->answer), &grading->score, &grading->err);
	else
		scorer_grade_warm(run->warm, grading->item.scorer, bytes_from(grading->answer),
				  &grading->score, &grading->err);
}

/* How programs are run here, each once. */
static void say_how(struct run *run)
{
	char why[SANDBOX_WARM_NOTE_SIZE];
	if (run->grouped && !run->grouped_said) {
		run->grouped_said = true;
		progress_say(run, "Programs run in control groups of their own (%s).", run->groups);
	}
	if (run->warm_off_said || !sandbox_warm_is_off(run->warm, why))
		return;
	run->warm_off_said = true;
	progress_say(run, "Programs start slowly here, each with an interpreter of its own: %s",
		     why);
}

static void grade_done(struct env_job *job)
{
	struct grading_job *grading = (struct grading_job *)job;
	struct run *run = grading->run;
	run->grading--;
	if (grading->err.code == ERR_OK) {
		record_score(run, grading->cell, grading->index, &grading->score);
	} else {
		cell_set(grading->cell, grading->index, TASK_UNGRADED);
		cannot_score(run, grading->cell, grading->index, &grading->err);
	}
	release(grading);
	say_how(run);
	scoring_pump(run);
	run_wake(run);
}

static struct grading_job *take_job(struct run *run, struct cell *cell, size_t index,
				    struct err *err)
{
	const struct suite *suite = run->suites[cell->suite].suite;
	struct grading_job *grading = calloc(1, sizeof(*grading));
	if (!grading) {
		ERR_SET(err, ERR_NO_MEMORY, "out of memory");
		return NULL;
	}
	*grading = (struct grading_job){.run = run, .cell = cell, .index = index};
	grading->line = lines_answer(run, cell->tasks[index].offset, &grading->answer, err);
	if (!grading->line ||
	    suite_item_render(suite, cell_item(run, cell, index), &grading->item, err) != ERR_OK) {
		json_decref(grading->line);
		free(grading);
		return NULL;
	}
	cells_note_item(run, cell->suite, &grading->item);
	return grading;
}

static bool grade_next(struct run *run, struct cell *cell)
{
	size_t index;
	struct err err = ERR_INIT;
	if (!cell_next(cell, TASK_UNGRADED, &index))
		return false;
	if (!journal_write(&run->journal)) {
		run_fail(run, &run->journal.err);
		return false;
	}
	struct grading_job *grading = take_job(run, cell, index, &err);
	if (!grading) {
		cannot_score(run, cell, index, &err);
		return false;
	}
	const char *verdict = json_string_value(json_object_get(grading->line, "verdict"));
	if (verdict) { /* the harness was cut off between the verdict and its score */
		scoring_verdict(run, cell, index, verdict);
		release(grading);
		return true;
	}
	cell_set(cell, index, TASK_GRADING);
	grading->job.run = grade_run;
	grading->job.done = grade_done;
	run->grading++;
	env_job_start(run->loop, &grading->job);
	return true;
}

void scoring_pump(struct run *run)
{
	for (unsigned i = 0; i < run->cell_count; i++)
		while (run->fatal.code == ERR_OK && !run->interrupted &&
		       run->grading < run->graders && grade_next(run, &run->cells[i]))
			;
}
