/* Runs that models share: a judge may be shown answers of its own run only
 * (docs/formats/leaves.md), so that those who answer a suite with judges and those who judge it
 * have one run together, where they are asked through one gateway with one key. The first of them
 * in the plan registers, opens and closes it.
 */
#include "bench/voucher_internal.h"

#include <string.h>

static bool takes_part(const struct run *run, unsigned suite, unsigned model)
{
	for (unsigned i = 0; i < run->cell_count; i++) {
		const struct cell *cell = &run->cells[i];
		if (cell->suite == suite && cell_asks(cell) == model)
			return true;
	}
	return false;
}

static bool same_door(const struct run_model *a, const struct run_model *b)
{
	struct bytes left, right;
	if (a->plan->replay || b->plan->replay || !a->key || !b->key || strcmp(a->key, b->key) != 0)
		return false;
	left = http_origin_authority(a->origin);
	right = http_origin_authority(b->origin);
	return bytes_equal(left, right);
}

struct run_model *voucher_leader(const struct run_model *model, unsigned suite)
{
	struct run *run = model->run;
	if (!suite_is_judged(run->suites[suite].suite))
		return &run->models[model->number];
	for (unsigned i = 0; i < run->model_count; i++)
		if (takes_part(run, suite, i) && same_door(&run->models[i], model))
			return &run->models[i];
	return &run->models[model->number];
}

bool voucher_is_alone(const struct run_model *model, unsigned suite)
{
	struct run *run = model->run;
	for (unsigned i = 0; i < run->model_count; i++)
		if (i != model->number && cells_answering(run, suite, i) &&
		    same_door(&run->models[i], model))
			return false;
	return true;
}

bool voucher_needs_run(const struct run_model *model, unsigned suite)
{
	struct run *run = model->run;
	bool judged = suite_is_judged(run->suites[suite].suite);
	bool wanted = judged ? takes_part(run, suite, model->number)
			     : cells_answering(run, suite, model->number) != NULL;
	return wanted && !model->gateway_runs[suite].open;
}

bool voucher_follow(struct run_model *model, unsigned suite)
{
	const struct run_model *leader = voucher_leader(model, suite);
	if (!leader->gateway_runs[suite].open)
		return false;
	model->gateway_runs[suite] = leader->gateway_runs[suite];
	lines_gateway(model->run, model, suite);
	return true;
}

bool voucher_names_run(const struct run *run, const struct cell *cell)
{
	const struct run_model *model = &run->models[cell_asks(cell)];
	const struct gateway_run *own = &model->gateway_runs[cell->suite];
	if (model->gateway_state != GATEWAY_READY || !own->open)
		return false;
	if (!cell->judging)
		return true;
	/* A judge that shares its run with those it judges. */
	const struct gateway_run *theirs = &run->models[cell->model].gateway_runs[cell->suite];
	return suite_is_judged(run->suites[cell->suite].suite) &&
	       strcmp(own->run, theirs->run) == 0;
}

bool voucher_suite_is_over(struct run *run, unsigned suite)
{
	for (unsigned i = 0; i < run->cell_count; i++)
		if (run->cells[i].suite == suite && run->cells[i].done < run->cells[i].count)
			return false;
	return true;
}
