#include "policy/limits_internal.h"

#include <assert.h>

#define COST_MAX_NS ((int64_t)1 << 60)
/* So many tokens cost no more than that whatever the limit, and the sum has no more bits. */
#define COST_NARROW_TOKENS ((int64_t)10000000)
/* A debt is waited off for at most so long: a bound against absurd figures from upstream. */
#define DEBT_MAX_NS ((uint64_t)(7 * 86400) * 1000000000u)

__extension__ typedef __int128 wide;

struct limit_row {
	const char *id, *unit;
	enum rule rule;
	enum limits_kind kind;
};

static const struct limit_row rows[LIMIT_COUNT] = {
#define X(name, id, kind, unit) [LIMIT_##name] = {id, unit, RULE_LIMIT_##name, LIMITS_KIND_##kind},
	LIMIT_TABLE(X)
#undef X
};

enum limits_kind limits_kind_of(enum limit limit)
{
	return rows[limit].kind;
}

const struct limits_values limits_unlimited = {{
#define X(name, id, kind, unit) [LIMIT_##name] = LIMIT_NONE,
	LIMIT_TABLE(X)
#undef X
}};

const char *limits_name(enum limit limit)
{
	return rows[limit].id;
}

const char *limits_unit(enum limit limit)
{
	return rows[limit].unit;
}

enum rule limits_rule(enum limit limit)
{
	return rows[limit].rule;
}

bool limits_rule_is(enum rule rule)
{
	for (unsigned i = 0; i < LIMIT_COUNT; i++)
		if (rows[i].rule == rule)
			return true;
	return false;
}

enum limit limits_find(struct bytes name)
{
	enum limit limit = 0;
	while (limit < LIMIT_COUNT && !bytes_is(name, rows[limit].id))
		limit++;
	return limit;
}

/* ---- rates ---- */

int64_t limits_cost_ns(int64_t max, int64_t tokens)
{
	if (max <= 0 || tokens <= 0)
		return 0;
	if (tokens <= COST_NARROW_TOKENS)
		return (tokens * LIMITS_MINUTE_NS + max - 1) / max;
	wide cost = ((wide)tokens * LIMITS_MINUTE_NS + max - 1) / max;
	return cost > COST_MAX_NS ? COST_MAX_NS : (int64_t)cost;
}

/* Costs are rounded up to whole nanoseconds, and a burst of `max` single tokens must still fit: so
 * much is forgiven, in nanoseconds times `max`, and never more than a part in 1,024 of a token. */
static int64_t tolerance(int64_t max)
{
	return max < 7000 ? max * max : LIMITS_MINUTE_NS / 1024;
}

int64_t limits_burst_left(uint64_t empty_at_ns, uint64_t now_ns)
{
	return empty_at_ns > now_ns ? LIMITS_MINUTE_NS - (int64_t)(empty_at_ns - now_ns)
				    : LIMITS_MINUTE_NS;
}

int64_t limits_tokens_left(int64_t max, int64_t left_ns)
{
	const int64_t million = 1000000, minute = LIMITS_MINUTE_NS / million;
	if (left_ns <= 0)
		return 0;
	/* (left_ns * max + tolerance) / LIMITS_MINUTE_NS, of which the product has 128 bits: what
	 * the millions of `max` make is divided first, and its rest goes with the others. */
	int64_t millions = left_ns * (max / million);
	int64_t rest = millions % minute * million + left_ns * (max % million) + tolerance(max);
	return limits_least(max, millions / minute + rest / LIMITS_MINUTE_NS);
}

/* What a rate gave: the cell's empty_at_ns after it, and its returned_ns before, added up. */
static bool rate_take(struct limits_rate *rate, int64_t max, struct limits_clock clock,
		      int64_t before, int64_t tokens, uint64_t *mark,
		      struct limits_refusal *refusal)
{
	int64_t cost = limits_cost_ns(max, before + tokens) - limits_cost_ns(max, before);
	uint64_t now_ns = clock.now_ns, returned = atomic_load(&rate->returned_ns);
	uint64_t old = atomic_load(&rate->empty_at_ns), end;
	do {
		int64_t left = limits_burst_left(old, now_ns);
		if (tokens > 0 &&
		    (wide)left * max + tolerance(max) < (wide)tokens * LIMITS_MINUTE_NS) {
			*refusal = (struct limits_refusal){
				.max = max,
				.wanted = tokens,
				.remaining = limits_tokens_left(max, left),
				.retry_after_ms = tokens > max ? -1 : limits_ceil_ms(cost - left)};
			return false;
		}
		end = (old > now_ns ? old : now_ns) + (uint64_t)cost;
	} while (!atomic_compare_exchange_weak(&rate->empty_at_ns, &old, end));
	*mark = end + returned;
	return true;
}

/* Gives back what the cell still holds of the last charge. At every moment since, the cell held at
 * least end_ns - (all that came back since) - now; giving back no more than that is the same as
 * having charged less at the time, so that the bound of the rate holds whatever came between. The
 * two sums make that an underestimate when others give back at the same time. */
static void rate_return(struct limits_rate *rate, uint64_t now_ns, uint64_t mark, int64_t wanted)
{
	uint64_t returning = atomic_load(&rate->returning_ns);
	int64_t credit;
	do {
		credit = limits_least(wanted, (int64_t)(mark - returning - now_ns));
		if (credit <= 0)
			return;
	} while (!atomic_compare_exchange_weak(&rate->returning_ns, &returning,
					       returning + (uint64_t)credit));
	atomic_fetch_sub(&rate->empty_at_ns, (uint64_t)credit);
	atomic_fetch_add(&rate->returned_ns, (uint64_t)credit);
}

/* A request that is given back: what it cost less what has drained since, which is never more than
 * the cell still holds of it. */
static void request_return(struct limits_rate *rate, uint64_t now_ns, uint64_t at_ns, int64_t max)
{
	int64_t credit = limits_cost_ns(max, 1) - (now_ns > at_ns ? (int64_t)(now_ns - at_ns) : 0);
	if (max != LIMIT_NONE && credit > 0)
		atomic_fetch_sub(&rate->empty_at_ns, (uint64_t)credit);
}

static void rate_owe(struct limits_rate *rate, uint64_t now_ns, int64_t max, int64_t tokens)
{
	uint64_t cost = (uint64_t)limits_cost_ns(max, tokens);
	uint64_t old = atomic_load(&rate->empty_at_ns), end;
	if (max == LIMIT_NONE || cost == 0)
		return;
	do {
		end = (old > now_ns ? old : now_ns) + cost;
		if (end > now_ns + DEBT_MAX_NS)
			end = now_ns + DEBT_MAX_NS;
		if (end < old)
			end = old;
	} while (!atomic_compare_exchange_weak(&rate->empty_at_ns, &old, end));
}

/* ---- slots ---- */

static bool slot_take(struct limits_cells *cells, int64_t max, struct limits_refusal *refusal)
{
	int64_t old = atomic_load(&cells->in_flight);
	do {
		if (old >= max) {
			*refusal = (struct limits_refusal){
				.max = max, .wanted = 1, .retry_after_ms = max > 0 ? 1000 : -1};
			return false;
		}
	} while (!atomic_compare_exchange_weak(&cells->in_flight, &old, old + 1));
	return true;
}

/* ---- one scope of a reservation ---- */

int64_t limits_estimate_input(uint64_t prompt_bytes)
{
	return (int64_t)((prompt_bytes + 2) / 3);
}

/* What is charged to a budget for so many tokens at such a cost. */
static int64_t budget_amount(enum limits_period period, int64_t tokens, int64_t cost)
{
	if (period != LIMITS_MONTH)
		return tokens;
	return cost < 0 ? cost : (cost + 999) / 1000;
}

/* One more charge, and what it was taken at. */
struct charge {
	struct limits_reservation *reservation;
	const struct limits_scope *scope;
	unsigned place; /* of the scope */
	struct limits_clock clock;
	const struct limits_moment *moment;
	struct limits_wants wants;
	bool first; /* with the request, its slot and its input; else a slice */
};

static int64_t max_of(const struct charge *charge, enum limit limit)
{
	return charge->scope->values->max[limit];
}

static bool take_rate(const struct charge *charge, enum limit limit, int64_t before, int64_t tokens,
		      uint64_t *mark, struct limits_refusal *refusal)
{
	int64_t max = max_of(charge, limit);
	if (max == LIMIT_NONE || rate_take(limits_rate_of(charge->scope->cells, limit), max,
					   charge->clock, before, tokens, mark, refusal))
		return true;
	refusal->limit = limit;
	return false;
}

static bool take_slot(const struct charge *charge, struct limits_refusal *refusal)
{
	int64_t max = max_of(charge, LIMIT_CONCURRENCY);
	if (max == LIMIT_NONE)
		return true;
	if (!slot_take(charge->scope->cells, max, refusal)) {
		refusal->limit = LIMIT_CONCURRENCY;
		return false;
	}
	charge->reservation->slots |= (uint8_t)(1u << charge->place);
	return true;
}

static bool take_budget(const struct charge *charge, enum limits_period period,
			struct limits_refusal *refusal)
{
	int64_t max = limits_budget_max(period, charge->scope->values), remaining;
	int64_t amount = budget_amount(period, charge->wants.input + charge->wants.output,
				       charge->wants.cost);
	if (max == LIMIT_NONE)
		return true;
	bool priced = amount >= 0;
	if (priced && limits_budget_take(charge->scope->cells, period, charge->moment, max, amount,
					 &remaining))
		return true;
	*refusal = (struct limits_refusal){
		.limit = limits_budget_limit(period),
		.max = charge->scope->values->max[limits_budget_limit(period)],
		.wanted = priced ? limits_budget_wanted(period, amount) : -1,
		.remaining = priced ? limits_budget_units(period, remaining) : 0,
		.retry_after_ms = priced && amount <= max
					  ? limits_budget_reset_ms(period, charge->moment)
					  : -1};
	return false;
}

static void return_budget(const struct charge *charge, enum limits_period period)
{
	int64_t amount = budget_amount(period, charge->wants.input + charge->wants.output,
				       charge->wants.cost);
	if (limits_budget_max(period, charge->scope->values) != LIMIT_NONE)
		limits_budget_return(charge->scope->cells, period, charge->moment->day, amount);
}

static void free_slot(struct limits_reservation *reservation, const struct limits_scope *scope,
		      unsigned place)
{
	if (reservation->slots >> place & 1)
		atomic_fetch_sub(&scope->cells->in_flight, 1);
	reservation->slots &= (uint8_t) ~(1u << place);
}

static void return_rate(const struct charge *charge, enum limit limit, int64_t total,
			int64_t unused, uint64_t mark)
{
	int64_t max = max_of(charge, limit);
	if (max != LIMIT_NONE && unused > 0)
		rate_return(limits_rate_of(charge->scope->cells, limit), charge->clock.now_ns, mark,
			    limits_cost_ns(max, total) - limits_cost_ns(max, total - unused));
}

/* How far a charge came, in the order in which it is made. */
enum stage { AT_SLOT, AT_REQUEST, AT_INPUT, AT_OUTPUT, AT_BUDGETS };

/* Gives back what was charged before `stage`, and of the budgets the first `budgets`. */
static void uncharge(const struct charge *charge, unsigned stage, unsigned budgets)
{
	struct limits_reservation *reservation = charge->reservation;
	struct limits_cells *cells = charge->scope->cells;
	int64_t input = charge->wants.input, output = charge->wants.output;
	for (unsigned period = 0; period < budgets; period++)
		return_budget(charge, period);
	if (stage > AT_OUTPUT)
		return_rate(charge, LIMIT_OUTPUT_TPM, reservation->output + output, output,
			    reservation->output_mark[charge->place]);
	if (!charge->first)
		return;
	if (stage > AT_INPUT)
		return_rate(charge, LIMIT_INPUT_TPM, input, input,
			    reservation->input_mark[charge->place]);
	if (stage > AT_REQUEST)
		request_return(&cells->requests, charge->clock.now_ns, charge->clock.now_ns,
			       max_of(charge, LIMIT_RPM));
	free_slot(reservation, charge->scope, charge->place);
}

static bool charge_scope(const struct charge *charge, struct limits_refusal *refusal)
{
	struct limits_reservation *reservation = charge->reservation;
	uint64_t request_mark, *input_mark = &reservation->input_mark[charge->place],
			       *output_mark = &reservation->output_mark[charge->place];
	unsigned stage = charge->first ? AT_SLOT : AT_OUTPUT, period = 0;
	bool good = true;
	if (charge->first) {
		good = take_slot(charge, refusal);
		stage += good;
		good = good && take_rate(charge, LIMIT_RPM, 0, 1, &request_mark, refusal);
		stage += good;
		good = good && take_rate(charge, LIMIT_INPUT_TPM, 0, charge->wants.input,
					 input_mark, refusal);
		stage += good;
	}
	good = good && take_rate(charge, LIMIT_OUTPUT_TPM, reservation->output,
				 charge->wants.output, output_mark, refusal);
	stage += good;
	while (good && period < LIMITS_PERIODS) {
		good = take_budget(charge, period, refusal);
		period += good;
	}
	if (good)
		return true;
	refusal->what = charge->scope->what;
	uncharge(charge, stage, period);
	return false;
}

/* ---- reservations ---- */

/* In every scope or in none. */
static bool charge_all(struct charge *charge, const struct limits_scope *scopes, unsigned count,
		       struct limits_refusal *refusal)
{
	uint64_t before[LIMITS_SCOPES_MAX];
	memcpy(before, charge->reservation->output_mark, sizeof(before));
	for (unsigned i = 0; i < count; i++) {
		charge->scope = &scopes[charge->place = i];
		if (charge_scope(charge, refusal))
			continue;
		while (i-- > 0) {
			charge->scope = &scopes[charge->place = i];
			uncharge(charge, AT_BUDGETS, LIMITS_PERIODS);
		}
		memcpy(charge->reservation->output_mark, before, sizeof(before));
		return false;
	}
	return true;
}

/* What was charged to the budgets of the day of the last charge, and to the week and month that
 * it lies in. */
static void note_charged(struct limits_reservation *reservation, const struct charge *charge)
{
	const struct limits_moment *moment = charge->moment;
	for (unsigned period = 0; period < LIMITS_PERIODS; period++) {
		int64_t amount = budget_amount(period, charge->wants.input + charge->wants.output,
					       charge->wants.cost);
		if (reservation->day != moment->day &&
		    limits_period_of(period, reservation->day) != moment->period[period])
			reservation->charged[period] = 0;
		reservation->charged[period] += limits_most(amount, 0);
		if (period == LIMITS_MONTH)
			reservation->cost += limits_most(amount, 0);
	}
	reservation->day = (int32_t)moment->day;
}

bool limits_reserve(const struct limits_scope *scopes, unsigned count,
		    const struct limits_clock *clock, struct limits_wants wants,
		    struct limits_reservation *reservation, struct limits_refusal *refusal)
{
	struct limits_moment moment = limits_moment_of(clock->wall_ms);
	assert(!reservation->open && count <= LIMITS_SCOPES_MAX);
	assert(wants.input >= 0 && wants.output >= 0);
	/* More than any limit could give: keeps the sums below from overflowing. */
	wants.input = limits_least(wants.input, LIMIT_MAX + 1);
	wants.output = limits_least(wants.output, LIMIT_MAX + 1);
	*reservation =
		(struct limits_reservation){.day = (int32_t)moment.day, .at_ns = clock->now_ns};
	struct charge charge = {.reservation = reservation,
				.clock = *clock,
				.moment = &moment,
				.wants = wants,
				.first = true};
	if (!charge_all(&charge, scopes, count, refusal))
		return false;
	note_charged(reservation, &charge);
	reservation->count = (uint8_t)count;
	reservation->input = wants.input;
	reservation->output = reservation->last = wants.output;
	reservation->open = true;
	return true;
}

bool limits_take_output_slice(struct limits_reservation *reservation,
			      const struct limits_scope *scopes, const struct limits_clock *clock,
			      struct limits_wants wants, struct limits_refusal *refusal)
{
	struct limits_moment moment = limits_moment_of(clock->wall_ms);
	assert(reservation->open && wants.input == 0);
	assert(wants.output >= 0 && wants.output <= LIMIT_MAX);
	struct charge charge = {
		.reservation = reservation, .clock = *clock, .moment = &moment, .wants = wants};
	if (!charge_all(&charge, scopes, reservation->count, refusal))
		return false;
	note_charged(reservation, &charge);
	reservation->output += wants.output;
	reservation->last = wants.output;
	return true;
}

int64_t limits_reserved_output(const struct limits_reservation *reservation)
{
	return reservation->output;
}

/* ---- the end of one ---- */

/* `last`: of the reserved, what can come back. */
static void settle_rate(const struct charge *charge, enum limit limit, int64_t reserved,
			int64_t last, int64_t used, uint64_t mark)
{
	int64_t max = max_of(charge, limit);
	if (used <= reserved)
		return_rate(charge, limit, reserved, limits_least(reserved - used, last), mark);
	else if (max != LIMIT_NONE)
		rate_owe(limits_rate_of(charge->scope->cells, limit), charge->clock.now_ns, max,
			 used - reserved);
}

/* A budget without a limit is not reserved from: what was used is counted now. */
static void settle_budget(const struct charge *charge, enum limits_period period,
			  const struct limits_usage *usage)
{
	const struct limits_reservation *reservation = charge->reservation;
	struct limits_cells *cells = charge->scope->cells;
	bool limited = limits_budget_max(period, charge->scope->values) != LIMIT_NONE;
	bool money = period == LIMITS_MONTH;
	int64_t reserved = limited ? reservation->charged[period] : 0;
	int64_t total = money ? reservation->cost : reservation->input + reservation->output;
	int64_t used = money ? limits_whole_cost(cells, usage->cost) : usage->input + usage->output;
	/* What earlier periods were charged stays used there. */
	if (limited)
		used = limits_most(used - (total - reserved), 0);
	if (used <= reserved)
		limits_budget_return(cells, period, reservation->day, reserved - used);
	else
		limits_budget_owe(cells, period, charge->moment, used - reserved);
}

bool limits_settle(struct limits_reservation *reservation, const struct limits_scope *scopes,
		   const struct limits_clock *clock, struct limits_usage usage)
{
	struct limits_moment moment = limits_moment_of(clock->wall_ms);
	struct charge charge = {.reservation = reservation, .clock = *clock, .moment = &moment};
	if (!reservation->open)
		return false;
	reservation->open = false;
	usage.input = limits_least(limits_most(usage.input, 0), LIMIT_MAX);
	usage.output = limits_least(limits_most(usage.output, 0), LIMIT_MAX);
	usage.cost = limits_most(usage.cost, 0);
	for (unsigned i = 0; i < reservation->count; i++) {
		charge.scope = &scopes[charge.place = i];
		free_slot(reservation, charge.scope, i);
		settle_rate(&charge, LIMIT_INPUT_TPM, reservation->input, reservation->input,
			    usage.input, reservation->input_mark[i]);
		settle_rate(&charge, LIMIT_OUTPUT_TPM, reservation->output, reservation->last,
			    usage.output, reservation->output_mark[i]);
		for (unsigned period = 0; period < LIMITS_PERIODS; period++)
			settle_budget(&charge, period, &usage);
	}
	return true;
}

bool limits_cancel(struct limits_reservation *reservation, const struct limits_scope *scopes,
		   const struct limits_clock *clock)
{
	struct charge charge = {.reservation = reservation, .clock = *clock};
	if (!reservation->open)
		return false;
	reservation->open = false;
	for (unsigned i = 0; i < reservation->count; i++) {
		struct limits_cells *cells = scopes[i].cells;
		charge.scope = &scopes[charge.place = i];
		free_slot(reservation, charge.scope, i);
		request_return(&cells->requests, clock->now_ns, reservation->at_ns,
			       max_of(&charge, LIMIT_RPM));
		settle_rate(&charge, LIMIT_INPUT_TPM, reservation->input, reservation->input, 0,
			    reservation->input_mark[i]);
		settle_rate(&charge, LIMIT_OUTPUT_TPM, reservation->output, reservation->last, 0,
			    reservation->output_mark[i]);
		for (unsigned period = 0; period < LIMITS_PERIODS; period++)
			if (limits_budget_max(period, scopes[i].values) != LIMIT_NONE)
				limits_budget_return(cells, period, reservation->day,
						     reservation->charged[period]);
	}
	return true;
}
