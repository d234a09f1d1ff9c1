/* Decoys: items of another suite, mixed into the run in a seeded order so that nobody can tell them
 * from its own. They are answered and scored like any others and stand in no result; what they tell
 * is told beside (grade/conduct.h). */
#include "bench/run.h"

#include "base/json.h"
#include "bench/progress.h"

#include <stdlib.h>

/* Of the plan's random id, so that nothing of it was known beforehand. */
static void seed(const struct run *run, const char *purpose, struct prng *out)
{
	struct sha256 hash;
	uint8_t digest[SHA256_SIZE];
	sha256_start(&hash);
	sha256_add_bytes(&hash, bytes_from(purpose));
	sha256_add_bytes(&hash, bytes_from(run->plan.id));
	sha256_finish(&hash, digest);
	memcpy(&out->state, digest, sizeof(out->state));
}

/* ---- which ---- */

/* Marks `wanted` of `count` places, each choice as likely. */
static void choose(struct prng *prng, size_t count, size_t wanted, bool *chosen)
{
	for (size_t i = 0; i < count && wanted > 0; i++) {
		chosen[i] = prng_below(prng, count - i) < wanted;
		wanted -= chosen[i];
	}
}

enum err_code decoys_choose(struct run *run, unsigned number, struct suite **suite, struct err *err)
{
	const struct plan_suite *planned = &run->plan.suites[number];
	size_t count = suite_count(*suite);
	struct suite *kept;
	struct prng prng;
	if (suite_twin_count(*suite) > 0)
		return ERR_SET(err, ERR_INVALID,
			       "%s: decoys are single items: give a suite without twins",
			       planned->directory);
	if (planned->take > count)
		return ERR_SET(err, ERR_INVALID, "%s: %u decoys are wanted, it has %zu items",
			       planned->directory, planned->take, count);
	if (planned->take == 0 || planned->take == count)
		return ERR_OK;
	bool *chosen = calloc(count, sizeof(*chosen));
	if (!chosen)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	seed(run, "parley-decoys-1/items", &prng);
	choose(&prng, count, planned->take, chosen);
	enum err_code code = part_keep(*suite, chosen, planned->directory, &kept, err);
	free(chosen);
	if (code != ERR_OK)
		return code;
	suite_free(*suite);
	*suite = kept;
	return ERR_OK;
}

/* ---- whether they pass for the run's own ---- */

static bool is_decoys(const struct run *run, unsigned suite)
{
	return run->plan.suites[suite].decoys;
}

/* Somebody who looks at settings must not be able to tell. */
static enum err_code check_settings(const struct run *run, unsigned number, struct err *err)
{
	const struct run_suite *decoys = &run->suites[number];
	char *text;
	for (unsigned i = 0; i < run->suite_count; i++)
		if (!is_decoys(run, i) && !run->suites[i].judged &&
		    json_equal(suite_settings(run->suites[i].suite), suite_settings(decoys->suite)))
			return ERR_OK;
	text = json_dumps(suite_settings(decoys->suite), JSON_COMPACT | JSON_SORT_KEYS);
	ERR_SET(err, ERR_INVALID,
		"%s/suite.yaml: its settings %.300s are those of no suite of the run (whose "
		"answers "
		"are scored singly): a provider could tell decoys by them; give it the settings of "
		"the suite that they are to be mixed into",
		run->plan.suites[number].directory, text ? text : "");
	free(text);
	return err->code;
}

enum err_code decoys_check(struct run *run, struct err *err)
{
	seed(run, "parley-decoys-1/order", &run->mixing);
	for (unsigned i = 0; i < run->suite_count; i++) {
		if (!is_decoys(run, i))
			continue;
		if (run->plan.proxy)
			return ERR_SET(err, ERR_USAGE,
				       "bench proxy asks what its command asks: no decoys");
		if (run->suites[i].judged)
			return ERR_SET(err, ERR_INVALID,
				       "%s/suite.yaml: decoys need a scorer of single answers",
				       run->plan.suites[i].directory);
		if (!run->resumed)
			ERR_TRY(check_settings(run, i, err));
	}
	return ERR_OK;
}

/* ---- in which order ---- */

/* Of what the model is still to be asked by itself. */
static void count_ready(const struct run *run, const struct run_model *model, size_t *decoys,
			size_t *own)
{
	*decoys = *own = 0;
	for (unsigned i = 0; i < run->cell_count; i++) {
		const struct cell *cell = &run->cells[i];
		if (cell->judging || cell->model != model->number)
			continue;
		*(is_decoys(run, cell->suite) ? decoys : own) += cell->ready;
	}
}

struct cell *decoys_next(struct run *run, const struct run_model *model, size_t *index)
{
	size_t decoys, own;
	count_ready(run, model, &decoys, &own);
	if (decoys == 0 || (own > 0 && prng_below(&run->mixing, decoys + own) >= decoys))
		return NULL;
	for (unsigned i = 0; i < run->cell_count; i++) {
		struct cell *cell = &run->cells[i];
		if (!cell->judging && cell->model == model->number && is_decoys(run, cell->suite) &&
		    cell->ungraded < RUN_UNGRADED_MAX && cell_next(cell, TASK_READY, index))
			return cell;
	}
	return NULL;
}

/* ---- where a gateway does not admit them ---- */

void decoys_leave_out(struct run_model *model, const char *why)
{
	struct run *run = model->run;
	for (unsigned i = 0; i < run->suite_count; i++) {
		struct cell *cell =
			is_decoys(run, i) ? cells_answering(run, i, model->number) : NULL;
		if (!cell || cell->count == 0 || cell->done > 0 || model->gateway_runs[i].open)
			continue;
		run->cell_tasks -= cell->count;
		cell->count = cell->ready = 0;
		run->conduct.left_out[model->number] = true;
		progress_say(run,
			     "%s: decoys are left out: %s. Under an evaluation grant they have "
			     "to be a suite that it admits, all of its items",
			     model->plan->name, why);
		lines_note(run, "decoys", why);
	}
}
