/* Budgets of a day, a week and a month. A cell holds the period's number (its last 12 bits) and
 * what was used in it, so that both change at once. */
#include "policy/limits_internal.h"

#define DAY_MS ((int64_t)86400000)
#define USED_BITS 52
#define USED_MAX (((uint64_t)1 << USED_BITS) - 1)
#define PERIOD_MASK ((uint64_t)0xfff)
#define MICRO 1000000

static const enum limit budgets[LIMITS_PERIODS] = {
	[LIMITS_DAY] = LIMIT_TOKENS_PER_DAY,
	[LIMITS_WEEK] = LIMIT_TOKENS_PER_WEEK,
	[LIMITS_MONTH] = LIMIT_USD_PER_MONTH,
};

struct limits_moment limits_moment_of(int64_t wall_ms)
{
	struct limits_moment moment = {.wall_ms = wall_ms > 0 ? wall_ms : 0};
	moment.day = moment.wall_ms / DAY_MS;
	for (unsigned period = 0; period < LIMITS_PERIODS; period++)
		moment.period[period] = limits_period_of(period, moment.day);
	return moment;
}

enum limit limits_budget_limit(enum limits_period period)
{
	return budgets[period];
}

int64_t limits_budget_max(enum limits_period period, const struct limits_values *values)
{
	int64_t max = values->max[budgets[period]];
	return period == LIMITS_MONTH && max != LIMIT_NONE ? max * MICRO : max;
}

int64_t limits_budget_units(enum limits_period period, int64_t used)
{
	return period == LIMITS_MONTH ? used / MICRO : used;
}

int64_t limits_budget_wanted(enum limits_period period, int64_t wanted)
{
	return period == LIMITS_MONTH ? (wanted + MICRO - 1) / MICRO : wanted;
}

/* What the cell has for the period: nothing if it counts another. Threads' clocks are a little
 * apart: where one is in the next period already, all are. */
static uint64_t used_in(uint64_t cell, uint64_t *period)
{
	uint64_t counted = cell >> USED_BITS;
	if (counted == ((*period + 1) & PERIOD_MASK) && (cell & USED_MAX))
		*period = counted;
	return counted == *period ? cell & USED_MAX : 0;
}

static uint64_t period_bits(const struct limits_moment *moment, enum limits_period period)
{
	return (uint64_t)moment->period[period] & PERIOD_MASK;
}

int64_t limits_budget_used(const struct limits_cells *cells, enum limits_period period,
			   const struct limits_moment *moment)
{
	uint64_t number = period_bits(moment, period);
	return (int64_t)used_in(atomic_load(&cells->budgets[period]), &number);
}

int64_t limits_budget_reset_ms(enum limits_period period, const struct limits_moment *moment)
{
	return limits_period_start(period, moment->period[period] + 1) * DAY_MS - moment->wall_ms;
}

bool limits_budget_take(struct limits_cells *cells, enum limits_period period,
			const struct limits_moment *moment, int64_t max, int64_t amount,
			int64_t *remaining)
{
	uint64_t old = atomic_load(&cells->budgets[period]), used, number;
	if (amount <= 0)
		return true;
	/* More than a cell can count is never to be had. */
	max = max < (int64_t)USED_MAX ? max : (int64_t)USED_MAX - 1;
	do {
		number = period_bits(moment, period);
		used = used_in(old, &number);
		if ((int64_t)used + amount > max) {
			*remaining = max > (int64_t)used ? max - (int64_t)used : 0;
			return false;
		}
		used += (uint64_t)amount;
	} while (!atomic_compare_exchange_weak(&cells->budgets[period], &old,
					       number << USED_BITS | used));
	return true;
}

void limits_budget_return(struct limits_cells *cells, enum limits_period period, int64_t day,
			  int64_t amount)
{
	uint64_t old = atomic_load(&cells->budgets[period]), used, back;
	if (amount <= 0)
		return;
	uint64_t number = (uint64_t)limits_period_of(period, day) & PERIOD_MASK;
	do {
		if (old >> USED_BITS != number)
			return;
		used = old & USED_MAX;
		back = (uint64_t)amount < used ? (uint64_t)amount : used;
	} while (!atomic_compare_exchange_weak(&cells->budgets[period], &old, old - back));
}

void limits_budget_owe(struct limits_cells *cells, enum limits_period period,
		       const struct limits_moment *moment, int64_t amount)
{
	uint64_t old = atomic_load(&cells->budgets[period]), used, number;
	if (amount <= 0)
		return;
	do {
		number = period_bits(moment, period);
		used = used_in(old, &number);
		used = (uint64_t)amount < USED_MAX - used ? used + (uint64_t)amount : USED_MAX;
	} while (!atomic_compare_exchange_weak(&cells->budgets[period], &old,
					       number << USED_BITS | used));
}

int64_t limits_whole_cost(struct limits_cells *cells, int64_t nanodollars)
{
	uint64_t rest = (uint64_t)(nanodollars % 1000);
	int64_t whole = nanodollars / 1000;
	if (rest == 0)
		return whole;
	uint64_t before = atomic_fetch_add(&cells->cost_rest, rest);
	return whole + (before % 1000 + rest >= 1000);
}

void limits_restore_budgets(struct limits_cells *cells, int64_t wall_ms)
{
	struct limits_moment moment = limits_moment_of(wall_ms);
	for (unsigned period = 0; period < LIMITS_PERIODS; period++) {
		const struct limits_amounts *sums = &cells->use.sums[period];
		if (limits_period_of(period, cells->use.day) != moment.period[period])
			continue;
		limits_budget_owe(cells, period, &moment,
				  period == LIMITS_MONTH
					  ? limits_whole_cost(cells, sums->of[LIMITS_COST])
					  : limits_use_tokens(sums));
	}
}
