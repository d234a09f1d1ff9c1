/* What the files of the limits share: rates and budgets. Private to limits*.c. */
#ifndef POLICY_LIMITS_INTERNAL_H
#define POLICY_LIMITS_INTERNAL_H

#include "policy/limits.h"

#define LIMITS_MINUTE_NS ((int64_t)60000000000)

/* Budgets in the order of their periods. */
enum limits_kind {
	LIMITS_KIND_RATE,
	LIMITS_KIND_SLOTS,
	LIMITS_KIND_DAY,
	LIMITS_KIND_WEEK,
	LIMITS_KIND_MONTH
};
enum limits_kind limits_kind_of(enum limit limit);

static inline int64_t limits_least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t limits_most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static inline int64_t limits_ceil_ms(int64_t ns)
{
	return ns <= 0 ? 0 : (ns + 999999) / 1000000;
}

/* ---- rates ---- */

/* The cell of a rate; no other limit has one. */
static inline struct limits_rate *limits_rate_of(struct limits_cells *cells, enum limit limit)
{
	return limit == LIMIT_RPM         ? &cells->requests
	       : limit == LIMIT_INPUT_TPM ? &cells->input
					  : &cells->output;
}
/* What tokens cost of the burst's minute. */
int64_t limits_cost_ns(int64_t max, int64_t tokens);
/* Nanoseconds of the burst that are free, negative under debt; and the whole tokens in them. */
int64_t limits_burst_left(uint64_t empty_at_ns, uint64_t now_ns);
int64_t limits_tokens_left(int64_t max, int64_t left_ns);

/* ---- budgets ---- */

/* The periods of one moment. */
struct limits_moment {
	int64_t wall_ms, day;
	int64_t period[LIMITS_PERIODS];
};
struct limits_moment limits_moment_of(int64_t wall_ms);

/* The limit that a period's budget is of, what it allows in the units of the cell (LIMIT_NONE:
 * anything), and the other way round. */
enum limit limits_budget_limit(enum limits_period period);
int64_t limits_budget_max(enum limits_period period, const struct limits_values *values);
int64_t limits_budget_units(enum limits_period period, int64_t used);
int64_t limits_budget_wanted(enum limits_period period, int64_t wanted); /* rounded up */

/* What is used of the period, with what is reserved. */
int64_t limits_budget_used(const struct limits_cells *cells, enum limits_period period,
			   const struct limits_moment *moment);
/* Milliseconds until the next one starts. */
int64_t limits_budget_reset_ms(enum limits_period period, const struct limits_moment *moment);

/* Counts `amount` if it fits below `max`, else tells what remains. */
bool limits_budget_take(struct limits_cells *cells, enum limits_period period,
			const struct limits_moment *moment, int64_t max, int64_t amount,
			int64_t *remaining);
/* Takes back what was counted in the period of `day`, if the cell still counts that one. */
void limits_budget_return(struct limits_cells *cells, enum limits_period period, int64_t day,
			  int64_t amount);
/* Counts what was used already. */
void limits_budget_owe(struct limits_cells *cells, enum limits_period period,
		       const struct limits_moment *moment, int64_t amount);
/* Millionths of USD, with what less than one was left over before. */
int64_t limits_whole_cost(struct limits_cells *cells, int64_t nanodollars);

#endif
