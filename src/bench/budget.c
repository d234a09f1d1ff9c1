#include "bench/budget.h"

#include <math.h>

/* Money is summed in steps that no decimal number hits: a billionth of a dollar is let go. */
#define USD_SLACK 1e-9

bool budget_is_set(const struct run *run)
{
	return run->plan.budget_tokens > 0 || run->plan.budget_usd > 0;
}

int64_t budget_output(const struct run *run, const struct cell *cell)
{
	const struct suite *suite = run->suites[cell->suite].suite;
	const json_t *settings = suite_settings(suite);
	if (cell->judging && !suite_is_judged(suite))
		return RUN_JUDGE_OUTPUT_MAX;
	if (cell->judging)
		settings = suite_judge_settings(suite);
	return json_integer_value(json_object_get(settings, "max_output"));
}

static double usd_of(const struct plan_price *price, struct budget_most most)
{
	double dearest = fmax(price->input, fmax(price->cache_read, price->cache_write));
	return ((double)most.input * dearest + (double)most.output * price->output) / 1e6;
}

bool budget_take(struct run *run, struct request *request)
{
	const struct plan *plan = &run->plan;
	struct budget_most most = {.input = request->body.size,
				   .output = (uint64_t)budget_output(run, request->cell)};
	uint64_t tokens = most.input + most.output;
	double usd = usd_of(&request->model->plan->price, most);
	if (!budget_is_set(run)) {
		request->most = most;
		return true;
	}
	if (plan->budget_tokens > 0 &&
	    run->tokens + run->reserved_tokens + tokens > plan->budget_tokens)
		return false;
	if (plan->budget_usd > 0 &&
	    run->usd + run->reserved_usd + usd > plan->budget_usd + USD_SLACK)
		return false;
	request->most = most;
	run->reserved_tokens += tokens;
	run->reserved_usd += usd;
	run->reservations++;
	return true;
}

void budget_give_back(struct run *run, struct request *request)
{
	struct budget_most most = request->most;
	if (most.input + most.output == 0)
		return;
	request->most = (struct budget_most){0};
	if (!budget_is_set(run))
		return;
	run->reserved_tokens -= most.input + most.output;
	run->reserved_usd -= usd_of(&request->model->plan->price, most);
	if (--run->reservations == 0)
		run->reserved_usd = 0; /* what rounding left */
}

void budget_charge(struct run *run, const struct run_model *model, struct budget_most most)
{
	if (!budget_is_set(run))
		return;
	run->tokens += most.input + most.output;
	run->usd += usd_of(&model->plan->price, most);
	run->charged_tokens += most.input + most.output;
	run->charged_usd += usd_of(&model->plan->price, most);
}
