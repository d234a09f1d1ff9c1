/* The use of a grant or a key: of the UTC day, week and month by class of token and in money, and
 * of each limit what is used, reserved and left. */
#include "gate/admin_view.h"

#include <stdio.h>

#define MONEY_SIZE 32

/* Dollars with six digits behind the point. */
static json_t *money(int64_t millionths)
{
	char text[MONEY_SIZE];
	snprintf(text, sizeof(text), "%lld.%06lld", (long long)(millionths / 1000000),
		 (long long)(millionths % 1000000));
	return json_string(text);
}

static json_t *view_period(enum limits_period period, int64_t day,
			   const struct limits_amounts *amounts)
{
	static const char *const names[LIMITS_PERIODS] = {"today", "week", "month"};
	char from[11];
	world_format_day(limits_period_start(period, limits_period_of(period, day)) * WORLD_DAY_MS,
			 from);
	json_t *view = json_pack("{s:s, s:s}", "period", names[period], "from", from);
	bool good = view != NULL;
	for (unsigned i = 0; good && i < LIMITS_COST; i++)
		good = json_set(view, limits_amount_name(i), json_integer(amounts->of[i]));
	good = good && json_set(view, "tokens", json_integer(limits_use_tokens(amounts))) &&
	       json_set(view, "usd", money((amounts->of[LIMITS_COST] + 500) / 1000));
	if (good)
		return view;
	json_decref(view);
	return NULL;
}

json_t *admin_view_use(struct control *control, const struct limits_cells *cells)
{
	struct limits_amounts sums[LIMITS_PERIODS];
	json_t *list = json_array();
	control_use_sums(control, cells, sums);
	for (unsigned period = 0; list && period < LIMITS_PERIODS; period++) {
		if (json_array_append_new(list,
					  view_period(period, control->loop->wall_ms / WORLD_DAY_MS,
						      &sums[period])) == 0)
			continue;
		json_decref(list);
		return NULL;
	}
	return list;
}

/* ---- limits ---- */

/* The period whose budget it is; LIMITS_PERIODS: a rate or slots. */
static unsigned period_of(enum limit limit)
{
	static const enum limit budgets[LIMITS_PERIODS] = {
		LIMIT_TOKENS_PER_DAY, LIMIT_TOKENS_PER_WEEK, LIMIT_USD_PER_MONTH};
	unsigned period = 0;
	while (period < LIMITS_PERIODS && budgets[period] != limit)
		period++;
	return period;
}

static json_t *quantity(enum limit limit, int64_t value)
{
	return limit == LIMIT_USD_PER_MONTH ? money(value) : json_integer(value);
}

static json_t *view_limit(struct control *control, const struct limits_scope *scope,
			  enum limit limit)
{
	struct limits_clock clock = {control->loop->now_ns, control->loop->wall_ms};
	struct limits_state state = limits_peek(scope, &clock, limit);
	struct limits_amounts sums[LIMITS_PERIODS];
	unsigned period = period_of(limit);
	int64_t reserved = 0, max = state.max, settled;
	char resets[RECORD_TIME_SIZE] = "";
	control_use_sums(control, scope->cells, sums);
	if (limit == LIMIT_USD_PER_MONTH)
		max *= 1000000;
	if (period < LIMITS_PERIODS) {
		settled = limit == LIMIT_USD_PER_MONTH ? sums[period].of[LIMITS_COST] / 1000
						       : limits_use_tokens(&sums[period]);
		reserved = state.used > settled ? state.used - settled : 0;
	} else if (limit == LIMIT_CONCURRENCY) {
		reserved = state.used;
	}
	if (state.reset_ms > 0)
		record_time(clock.wall_ms + state.reset_ms, resets);
	int64_t left = max > state.used ? max - state.used : 0;
	json_t *view = json_pack("{s:s, s:s, s:s, s:I, s:s}", "limit", limits_name(limit), "of",
				 scope->what, "unit", limits_unit(limit), "max",
				 (json_int_t)state.max, "full_again", resets);
	if (view && json_set(view, "used", quantity(limit, state.used - reserved)) &&
	    json_set(view, "reserved", quantity(limit, reserved)) &&
	    json_set(view, "left", quantity(limit, left)))
		return view;
	json_decref(view);
	return NULL;
}

static bool append_scope(struct control *control, json_t *list, const char *what,
			 struct limits_cells *cells, const struct limits_values *values)
{
	struct limits_scope scope = {.cells = cells, .values = values, .what = what};
	for (int limit = 0; cells && limit < LIMIT_COUNT; limit++) {
		if (values->max[limit] != LIMIT_NONE &&
		    json_array_append_new(list, view_limit(control, &scope, (enum limit)limit)))
			return false;
	}
	return true;
}

/* Of the words that the grant's open runs have asked, where conversations or judges are among them:
 * what was registered, and what answers brought in. */
static bool add_words(json_t *view, const struct world_grant *grant)
{
	uint64_t free_bytes = 0, registered = 0;
	bool shaped = false;
	for (const struct world_suite *suite = grant->suites; suite; suite = suite->next) {
		for (const struct world_run *run = suite->runs; run; run = run->next) {
			shaped |= suite->suite->shape != NULL;
			free_bytes += atomic_load(&run->run->free_bytes);
			registered += atomic_load(&run->run->registered_bytes);
		}
	}
	return !shaped || json_set(view, "words",
				   json_pack("{s:I, s:I}", "free", (json_int_t)free_bytes,
					     "registered", (json_int_t)registered));
}

json_t *admin_view_usage(struct control *control, const struct world_grant *grant,
			 const struct world_key *key)
{
	const struct limits_cells *cells = key ? key->cells : grant->cells;
	const struct world_org *top = grant->org->top;
	json_t *view = json_pack("{s:s, s:s}", "grant", grant->id, "of", key ? "key" : "grant");
	json_t *limits = json_array();
	bool good = view && limits;
	if (good && key)
		good = json_set(view, "key", json_string(key->id)) &&
		       append_scope(control, limits, "key", key->cells, &key->limits);
	good = good && append_scope(control, limits, "grant", grant->cells, &grant->limits) &&
	       append_scope(control, limits, "interop_test",
			    grant->purposes >> PURPOSE_INTEROP_TEST & 1 ? grant->interop_cells
									: NULL,
			    &grant->interop_limits) &&
	       append_scope(control, limits, "org", grant->org->cells, &grant->org->limits) &&
	       (!top || append_scope(control, limits, "group", top->cells, &top->limits));
	for (unsigned i = 0; good && i < grant->model_count; i++)
		good = append_scope(control, limits, grant->models[i]->id, grant->models[i]->cells,
				    &grant->models[i]->limits);
	if (good && cells)
		good = json_set(view, "use", admin_view_use(control, cells));
	good = good && json_object_set(view, "limits", limits) == 0;
	if (!key)
		good = good && add_words(view, grant);
	json_decref(limits);
	if (good)
		return view;
	json_decref(view);
	return NULL;
}
