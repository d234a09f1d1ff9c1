/* What is left of limits, without taking any. */
#include "policy/limits_internal.h"

#define MICRO 1000000

static struct limits_state peek_budget(const struct limits_scope *scope,
				       const struct limits_clock *clock, enum limits_period period)
{
	struct limits_moment moment = limits_moment_of(clock->wall_ms);
	int64_t max = limits_budget_max(period, scope->values);
	struct limits_state state = {.max = scope->values->max[limits_budget_limit(period)]};
	state.used = limits_budget_used(scope->cells, period, &moment);
	if (max == LIMIT_NONE)
		return state;
	state.remaining = limits_budget_units(period, limits_most(max - state.used, 0));
	state.reset_ms = state.used ? limits_budget_reset_ms(period, &moment) : 0;
	return state;
}

struct limits_state limits_peek(const struct limits_scope *scope, const struct limits_clock *clock,
				enum limit limit)
{
	struct limits_cells *cells = scope->cells;
	enum limits_kind kind = limits_kind_of(limit);
	struct limits_state state = {.max = scope->values->max[limit]};
	if (kind >= LIMITS_KIND_DAY)
		return peek_budget(scope, clock, (enum limits_period)(kind - LIMITS_KIND_DAY));
	if (state.max == LIMIT_NONE)
		return state;
	if (kind == LIMITS_KIND_SLOTS) {
		state.used = atomic_load(&cells->in_flight);
		state.remaining = limits_most(state.max - state.used, 0);
	} else {
		int64_t left = limits_burst_left(
			atomic_load(&limits_rate_of(cells, limit)->empty_at_ns), clock->now_ns);
		state.remaining = limits_tokens_left(state.max, left);
		state.used = state.max - state.remaining;
		state.reset_ms = limits_ceil_ms(LIMITS_MINUTE_NS - left);
	}
	return state;
}

struct limits_state limits_tightest(const struct limits_scope *scopes, unsigned count,
				    const struct limits_clock *clock, enum limit limit)
{
	struct limits_state tightest = {.max = LIMIT_NONE};
	for (unsigned i = 0; i < count; i++) {
		if (scopes[i].values->max[limit] == LIMIT_NONE)
			continue;
		struct limits_state state = limits_peek(&scopes[i], clock, limit);
		if (tightest.max == LIMIT_NONE || state.remaining < tightest.remaining ||
		    (state.remaining == tightest.remaining && state.reset_ms > tightest.reset_ms))
			tightest = state;
	}
	return tightest;
}

/* ---- looking ahead ---- */

/* When `wanted` can be had of a limit that has less left; -1: never. */
static int64_t wait_ms(enum limit limit, const struct limits_state *state, int64_t wanted)
{
	if (wanted > state->max || wanted < 0)
		return -1;
	if (limits_kind_of(limit) == LIMITS_KIND_SLOTS)
		return 1000;
	if (limits_kind_of(limit) != LIMITS_KIND_RATE)
		return state->reset_ms;
	/* Full again in reset_ms; the last of it is what need not be waited for. */
	int64_t spare_ms = limits_ceil_ms(LIMITS_MINUTE_NS) -
			   limits_ceil_ms(limits_cost_ns(state->max, wanted));
	return limits_most(state->reset_ms - spare_ms, 1);
}

/* Money is compared in millionths, and wanted in whole dollars, rounded up, only to be told. */
static bool is_left(enum limit limit, const struct limits_state *state, int64_t *wanted)
{
	if (limit != LIMIT_USD_PER_MONTH)
		return state->remaining >= *wanted;
	int64_t millionths = (*wanted + 999) / 1000;
	bool left = *wanted >= 0 && state->max * MICRO - state->used >= millionths;
	*wanted = *wanted < 0 ? -1 : limits_budget_wanted(LIMITS_MONTH, millionths);
	return left;
}

bool limits_may_reserve(const struct limits_scope *scopes, unsigned count,
			const struct limits_clock *clock, struct limits_wants wants,
			struct limits_refusal *refusal)
{
	const int64_t wanted[LIMIT_COUNT] = {
		[LIMIT_RPM] = 1,
		[LIMIT_INPUT_TPM] = wants.input,
		[LIMIT_OUTPUT_TPM] = wants.output,
		[LIMIT_CONCURRENCY] = 1,
		[LIMIT_TOKENS_PER_DAY] = wants.input + wants.output,
		[LIMIT_TOKENS_PER_WEEK] = wants.input + wants.output,
		[LIMIT_USD_PER_MONTH] = wants.cost,
	};
	static const enum limit order[LIMIT_COUNT] = {LIMIT_CONCURRENCY,    LIMIT_RPM,
						      LIMIT_INPUT_TPM,      LIMIT_OUTPUT_TPM,
						      LIMIT_TOKENS_PER_DAY, LIMIT_TOKENS_PER_WEEK,
						      LIMIT_USD_PER_MONTH};
	for (unsigned i = 0; i < count * LIMIT_COUNT; i++) {
		const struct limits_scope *scope = &scopes[i / LIMIT_COUNT];
		enum limit limit = order[i % LIMIT_COUNT];
		int64_t amount = wanted[limit];
		if (scope->values->max[limit] == LIMIT_NONE)
			continue;
		struct limits_state state = limits_peek(scope, clock, limit);
		if (is_left(limit, &state, &amount))
			continue;
		*refusal =
			(struct limits_refusal){.limit = limit,
						.what = scope->what,
						.max = state.max,
						.wanted = amount,
						.remaining = state.remaining,
						.retry_after_ms = wait_ms(limit, &state, amount)};
		return false;
	}
	return true;
}
