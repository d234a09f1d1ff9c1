#include "policy/limits_use.h"

#include "policy/day.h"

__extension__ typedef __int128 wide;

/* 1970-01-01 was a Thursday: three days of its week lie before. */
#define DAYS_BEFORE 3

int64_t limits_period_of(enum limits_period period, int64_t day)
{
	if (period == LIMITS_WEEK)
		return (day + DAYS_BEFORE) / 7;
	return period == LIMITS_MONTH ? day_month(day) : day;
}

int64_t limits_period_start(enum limits_period period, int64_t number)
{
	if (period == LIMITS_WEEK)
		return number * 7 - DAYS_BEFORE;
	return period == LIMITS_MONTH ? day_of_month_start(number) : number;
}

/* No price and no number of tokens makes the sum overflow. */
static wide part(int64_t tokens, int64_t price)
{
	wide cost = (wide)tokens * price, most = (wide)LIMITS_COST_MAX * 1000;
	return cost < most ? cost : most;
}

int64_t limits_cost(const struct limits_price *price, const struct limits_tokens *tokens)
{
	/* Tokens times millionths of a dollar a million tokens: 10^-12 dollars. */
	wide cost =
		part(tokens->input, price->input) + part(tokens->cache_read, price->cache_read) +
		part(tokens->cache_write, price->cache_write) + part(tokens->output, price->output);
	cost = (cost + 999) / 1000;
	return cost > LIMITS_COST_MAX ? LIMITS_COST_MAX : (int64_t)cost;
}

const char *limits_amount_name(enum limits_amount amount)
{
	static const char *const names[LIMITS_AMOUNTS] = {
		[LIMITS_REQUESTS] = "requests",     [LIMITS_INPUT] = "input",
		[LIMITS_CACHE_READ] = "cache_read", [LIMITS_CACHE_WRITE] = "cache_write",
		[LIMITS_OUTPUT] = "output",         [LIMITS_COST] = "cost",
	};
	return names[amount];
}

void limits_use_count(struct limits_use *use, unsigned live, const struct limits_amounts *amounts)
{
	for (unsigned i = 0; i < LIMITS_AMOUNTS; i++)
		if (amounts->of[i])
			atomic_fetch_add_explicit(&use->live[live][i], amounts->of[i],
						  memory_order_relaxed);
}

/* Sums of a period that is over start anew. */
static void roll(struct limits_use *use, int64_t day)
{
	if (day <= use->day)
		return;
	for (unsigned period = 0; period < LIMITS_PERIODS; period++)
		if (limits_period_of(period, day) != limits_period_of(period, use->day))
			use->sums[period] = (struct limits_amounts){0};
	use->day = day;
}

void limits_use_add(struct limits_use *use, int64_t day, const struct limits_amounts *amounts)
{
	roll(use, day);
	for (unsigned period = 0; period < LIMITS_PERIODS; period++) {
		if (limits_period_of(period, day) != limits_period_of(period, use->day))
			continue;
		for (unsigned i = 0; i < LIMITS_AMOUNTS; i++)
			use->sums[period].of[i] += amounts->of[i];
	}
	use->changed = true;
}

void limits_use_take(struct limits_use *use, unsigned live, int64_t day)
{
	struct limits_amounts fresh;
	int64_t any = 0;
	for (unsigned i = 0; i < LIMITS_AMOUNTS; i++) {
		int64_t now = atomic_load_explicit(&use->live[live][i], memory_order_relaxed);
		fresh.of[i] = now - use->taken[live].of[i];
		use->taken[live].of[i] = now;
		any |= fresh.of[i];
	}
	if (any)
		limits_use_add(use, day, &fresh);
	else
		roll(use, day);
}

int64_t limits_use_tokens(const struct limits_amounts *amounts)
{
	return amounts->of[LIMITS_INPUT] + amounts->of[LIMITS_CACHE_WRITE] +
	       amounts->of[LIMITS_OUTPUT];
}

int64_t limits_use_total(const struct limits_use *use, enum limits_amount amount)
{
	int64_t total = 0;
	for (unsigned live = 0; live < LIMITS_LIVE; live++)
		total += atomic_load_explicit(&use->live[live][amount], memory_order_relaxed);
	return total;
}
