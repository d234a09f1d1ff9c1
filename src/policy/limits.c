#include "policy/limits.h"

#include <assert.h>

#define MINUTE_NS ((int64_t)60000000000)
#define DAY_MS ((int64_t)86400000)
#define COST_MAX_NS ((int64_t)1 << 60)
/* A debt is waited off for at most so long: a bound against absurd figures from upstream. */
#define DEBT_MAX_NS ((uint64_t)(7 * 86400) * 1000000000u)
#define DAY_USED_BITS 48
#define DAY_USED_MAX (((uint64_t)1 << DAY_USED_BITS) - 1)

__extension__ typedef __int128 wide;

enum limit_kind { KIND_RATE, KIND_SLOTS, KIND_DAY };

struct limit_row {
	const char *id, *unit;
	enum rule rule;
	enum limit_kind kind;
};

static const struct limit_row rows[LIMIT_COUNT] = {
#define X(name, id, kind, unit) [LIMIT_##name] = {id, unit, RULE_LIMIT_##name, KIND_##kind},
	LIMIT_TABLE(X)
#undef X
};

const struct limits_values limits_unlimited = {{
#define X(name, id, kind, unit) [LIMIT_##name] = LIMIT_NONE,
	LIMIT_TABLE(X)
#undef X
}};

bool limits_any(const struct limits_values *values)
{
	for (unsigned i = 0; i < LIMIT_COUNT; i++)
		if (values->max[i] != LIMIT_NONE)
			return true;
	return false;
}

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

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t most_of(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* ---- rates ---- */

static int64_t cost_ns(int64_t max, int64_t tokens)
{
	if (max <= 0 || tokens <= 0)
		return 0;
	wide cost = ((wide)tokens * MINUTE_NS + max - 1) / max;
	return cost > COST_MAX_NS ? COST_MAX_NS : (int64_t)cost;
}

/* Costs are rounded up to whole nanoseconds, and a burst of `max` single tokens must still fit: so
 * much is forgiven, in nanoseconds times `max`, and never more than a part in 1,024 of a token. */
static int64_t tolerance(int64_t max)
{
	return max < 7000 ? max * max : MINUTE_NS / 1024;
}

/* Nanoseconds of the burst that are free, negative under debt. */
static int64_t burst_left(uint64_t empty_at_ns, uint64_t now_ns)
{
	return empty_at_ns > now_ns ? MINUTE_NS - (int64_t)(empty_at_ns - now_ns) : MINUTE_NS;
}

static int64_t tokens_left(int64_t max, int64_t left_ns)
{
	if (left_ns <= 0)
		return 0;
	return least(max, (int64_t)(((wide)left_ns * max + tolerance(max)) / MINUTE_NS));
}

static int64_t ceil_ms(int64_t ns)
{
	return ns <= 0 ? 0 : (ns + 999999) / 1000000;
}

static bool rate_take(struct limits_rate *rate, enum limit limit, uint64_t now_ns, int64_t tokens,
		      struct limits_charge *charge, struct limits_refusal *refusal)
{
	int64_t max = charge->max;
	if (max == LIMIT_NONE)
		return true;
	int64_t cost = cost_ns(max, charge->amount + tokens) - cost_ns(max, charge->amount);
	uint64_t returned = atomic_load(&rate->returned_ns);
	uint64_t old = atomic_load(&rate->empty_at_ns), end;
	do {
		int64_t left = burst_left(old, now_ns);
		if (tokens > 0 && (wide)left * max + tolerance(max) < (wide)tokens * MINUTE_NS) {
			*refusal = (struct limits_refusal){
				.limit = limit,
				.max = max,
				.wanted = tokens,
				.remaining = tokens_left(max, left),
				.retry_after_ms = tokens > max ? -1 : ceil_ms(cost - left)};
			return false;
		}
		end = (old > now_ns ? old : now_ns) + (uint64_t)cost;
	} while (!atomic_compare_exchange_weak(&rate->empty_at_ns, &old, end));
	charge->amount += tokens;
	charge->last = tokens;
	charge->end_ns = end;
	charge->returned_ns = returned;
	return true;
}

/* Gives back what the cell still holds of the last charge. At every moment since, the cell held at
 * least end_ns - (all that came back since) - now; giving back no more than that is the same as
 * having charged less at the time, so that the bound of the rate holds whatever came between. The
 * two sums make that an underestimate when others give back at the same time. */
static void rate_return(struct limits_rate *rate, uint64_t now_ns,
			const struct limits_charge *charge, int64_t unused)
{
	if (charge->max == LIMIT_NONE || unused <= 0)
		return;
	unused = least(unused, charge->last);
	int64_t wanted = cost_ns(charge->max, charge->amount) -
			 cost_ns(charge->max, charge->amount - unused);
	uint64_t returning = atomic_load(&rate->returning_ns);
	int64_t credit;
	do {
		uint64_t since = returning - charge->returned_ns;
		int64_t held = (int64_t)(charge->end_ns - since - now_ns);
		credit = least(wanted, held);
		if (credit <= 0)
			return;
	} while (!atomic_compare_exchange_weak(&rate->returning_ns, &returning,
					       returning + (uint64_t)credit));
	atomic_fetch_sub(&rate->empty_at_ns, (uint64_t)credit);
	atomic_fetch_add(&rate->returned_ns, (uint64_t)credit);
}

static void rate_owe(struct limits_rate *rate, uint64_t now_ns, int64_t max, int64_t tokens)
{
	uint64_t cost = (uint64_t)cost_ns(max, tokens);
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

static void rate_settle(struct limits_rate *rate, uint64_t now_ns,
			const struct limits_charge *charge, int64_t reserved, int64_t used)
{
	if (used <= reserved)
		rate_return(rate, now_ns, charge, reserved - used);
	else
		rate_owe(rate, now_ns, charge->max, used - reserved);
}

/* ---- days ---- */

static uint64_t day_of(int64_t wall_ms)
{
	return wall_ms > 0 ? (uint64_t)(wall_ms / DAY_MS) & 0xffff : 0;
}

/* Tokens used on `day` as the cell has them: none if it counts another day. */
static uint64_t day_used(uint64_t cell, uint64_t day)
{
	return cell >> DAY_USED_BITS == day ? cell & DAY_USED_MAX : 0;
}

static bool day_take(struct limits_hold *hold, const struct limits_clock *clock, int64_t tokens,
		     struct limits_refusal *refusal)
{
	int64_t max = hold->day_max;
	if (max == LIMIT_NONE)
		return true;
	uint64_t day = day_of(clock->wall_ms), old = atomic_load(&hold->cells->day), used;
	do {
		used = day_used(old, day);
		if (tokens > 0 && (int64_t)used + tokens > max) {
			*refusal = (struct limits_refusal){
				.limit = LIMIT_TOKENS_PER_DAY,
				.max = max,
				.wanted = tokens,
				.remaining = most_of(max - (int64_t)used, 0),
				.retry_after_ms =
					tokens > max ? -1 : DAY_MS - clock->wall_ms % DAY_MS};
			return false;
		}
		used += (uint64_t)tokens;
	} while (!atomic_compare_exchange_weak(&hold->cells->day, &old,
					       day << DAY_USED_BITS | used));
	hold->day_amount = hold->day == day ? hold->day_amount + tokens : tokens;
	hold->day = day;
	return true;
}

static void day_return(struct limits_hold *hold, int64_t tokens)
{
	uint64_t old = atomic_load(&hold->cells->day), used, back;
	tokens = least(tokens, hold->day_amount);
	do {
		if (tokens <= 0 || old >> DAY_USED_BITS != hold->day)
			return;
		used = old & DAY_USED_MAX;
		back = (uint64_t)tokens < used ? (uint64_t)tokens : used;
	} while (!atomic_compare_exchange_weak(&hold->cells->day, &old, old - back));
}

static void day_owe(struct limits_cells *cells, int64_t wall_ms, int64_t tokens)
{
	uint64_t day = day_of(wall_ms), old = atomic_load(&cells->day), used;
	do {
		used = day_used(old, day);
		used = used + (uint64_t)tokens < DAY_USED_MAX ? used + (uint64_t)tokens
							      : DAY_USED_MAX;
	} while (!atomic_compare_exchange_weak(&cells->day, &old, day << DAY_USED_BITS | used));
}

static void day_settle(struct limits_hold *hold, const struct limits_clock *clock, int64_t reserved,
		       int64_t used)
{
	if (hold->day_max == LIMIT_NONE)
		return;
	if (used <= reserved)
		day_return(hold, reserved - used);
	else
		day_owe(hold->cells, clock->wall_ms, used - reserved);
}

void limits_restore_day(struct limits_cells *cells, int64_t wall_ms, int64_t tokens)
{
	if (tokens > 0)
		day_owe(cells, wall_ms, tokens);
}

/* ---- slots ---- */

static bool slot_take(struct limits_hold *hold, int64_t max, struct limits_refusal *refusal)
{
	if (max == LIMIT_NONE)
		return true;
	int64_t old = atomic_load(&hold->cells->in_flight);
	do {
		if (old >= max) {
			*refusal = (struct limits_refusal){.limit = LIMIT_CONCURRENCY,
							   .max = max,
							   .wanted = 1,
							   .retry_after_ms = max > 0 ? 1000 : -1};
			return false;
		}
	} while (!atomic_compare_exchange_weak(&hold->cells->in_flight, &old, old + 1));
	hold->slot = true;
	return true;
}

static void slot_free(struct limits_hold *hold)
{
	if (hold->slot)
		atomic_fetch_sub(&hold->cells->in_flight, 1);
	hold->slot = false;
}

/* ---- reservations ---- */

int64_t limits_estimate_input(uint64_t prompt_bytes)
{
	return (int64_t)((prompt_bytes + 2) / 3);
}

static void hold_start(struct limits_hold *hold, const struct limits_scope *scope)
{
	*hold = (struct limits_hold){
		.cells = scope->cells,
		.what = scope->what,
		.requests.max = scope->values->max[LIMIT_RPM],
		.input.max = scope->values->max[LIMIT_INPUT_TPM],
		.output.max = scope->values->max[LIMIT_OUTPUT_TPM],
		.day_max = scope->values->max[LIMIT_TOKENS_PER_DAY],
	};
}

/* Gives back everything that the hold has; what it could not take is zero. */
static void hold_cancel(struct limits_hold *hold, uint64_t now_ns)
{
	struct limits_cells *cells = hold->cells;
	slot_free(hold);
	rate_return(&cells->requests, now_ns, &hold->requests, hold->requests.amount);
	rate_return(&cells->input, now_ns, &hold->input, hold->input.amount);
	rate_return(&cells->output, now_ns, &hold->output, hold->output.amount);
	day_return(hold, hold->day_amount);
}

static bool hold_take(struct limits_hold *hold, const struct limits_scope *scope,
		      const struct limits_clock *clock, struct limits_wants wants,
		      struct limits_refusal *refusal)
{
	struct limits_cells *cells = hold->cells;
	uint64_t now = clock->now_ns;
	bool taken = slot_take(hold, scope->values->max[LIMIT_CONCURRENCY], refusal) &&
		     rate_take(&cells->requests, LIMIT_RPM, now, 1, &hold->requests, refusal) &&
		     rate_take(&cells->input, LIMIT_INPUT_TPM, now, wants.input, &hold->input,
			       refusal) &&
		     rate_take(&cells->output, LIMIT_OUTPUT_TPM, now, wants.output, &hold->output,
			       refusal) &&
		     day_take(hold, clock, wants.input + wants.output, refusal);
	if (!taken)
		refusal->what = hold->what;
	return taken;
}

bool limits_reserve(const struct limits_scope *scopes, unsigned count,
		    const struct limits_clock *clock, struct limits_wants wants,
		    struct limits_reservation *reservation, struct limits_refusal *refusal)
{
	assert(!reservation->open && count <= LIMITS_SCOPES_MAX);
	assert(wants.input >= 0 && wants.output >= 0);
	/* More than any limit could give: keeps the sums below from overflowing. */
	wants.input = least(wants.input, LIMIT_MAX + 1);
	wants.output = least(wants.output, LIMIT_MAX + 1);
	for (unsigned i = 0; i < count; i++) {
		struct limits_hold *hold = &reservation->holds[i];
		hold_start(hold, &scopes[i]);
		if (hold_take(hold, &scopes[i], clock, wants, refusal))
			continue;
		for (unsigned k = 0; k <= i; k++)
			hold_cancel(&reservation->holds[k], clock->now_ns);
		return false;
	}
	reservation->count = count;
	reservation->input = wants.input;
	reservation->output = wants.output;
	reservation->open = true;
	return true;
}

/* One more slice of one hold; on failure the hold is as it was. */
static bool hold_slice(struct limits_hold *hold, const struct limits_clock *clock, int64_t tokens,
		       struct limits_refusal *refusal)
{
	struct limits_charge before = hold->output;
	if (!rate_take(&hold->cells->output, LIMIT_OUTPUT_TPM, clock->now_ns, tokens, &hold->output,
		       refusal))
		return false;
	if (day_take(hold, clock, tokens, refusal))
		return true;
	rate_return(&hold->cells->output, clock->now_ns, &hold->output, tokens);
	hold->output = before;
	return false;
}

static void hold_slice_undo(struct limits_hold *hold, const struct limits_hold *before,
			    const struct limits_clock *clock, int64_t tokens)
{
	rate_return(&hold->cells->output, clock->now_ns, &hold->output, tokens);
	day_return(hold, tokens);
	*hold = *before;
}

bool limits_take_output_slice(struct limits_reservation *reservation,
			      const struct limits_clock *clock, int64_t tokens,
			      struct limits_refusal *refusal)
{
	assert(reservation->open && tokens >= 0 && tokens <= LIMIT_MAX);
	struct limits_hold before[LIMITS_SCOPES_MAX];
	for (unsigned i = 0; i < reservation->count; i++) {
		struct limits_hold *hold = &reservation->holds[i];
		before[i] = *hold;
		if (hold_slice(hold, clock, tokens, refusal))
			continue;
		refusal->what = hold->what;
		for (unsigned k = 0; k < i; k++)
			hold_slice_undo(&reservation->holds[k], &before[k], clock, tokens);
		return false;
	}
	reservation->output += tokens;
	return true;
}

int64_t limits_reserved_output(const struct limits_reservation *reservation)
{
	return reservation->output;
}

bool limits_settle(struct limits_reservation *reservation, const struct limits_clock *clock,
		   struct limits_usage usage)
{
	if (!reservation->open)
		return false;
	reservation->open = false;
	usage.input = least(most_of(usage.input, 0), LIMIT_MAX);
	usage.output = least(most_of(usage.output, 0), LIMIT_MAX);
	for (unsigned i = 0; i < reservation->count; i++) {
		struct limits_hold *hold = &reservation->holds[i];
		slot_free(hold);
		rate_settle(&hold->cells->input, clock->now_ns, &hold->input, reservation->input,
			    usage.input);
		rate_settle(&hold->cells->output, clock->now_ns, &hold->output, reservation->output,
			    usage.output);
		day_settle(hold, clock, reservation->input + reservation->output,
			   usage.input + usage.output);
	}
	return true;
}

bool limits_cancel(struct limits_reservation *reservation, const struct limits_clock *clock)
{
	if (!reservation->open)
		return false;
	reservation->open = false;
	for (unsigned i = 0; i < reservation->count; i++)
		hold_cancel(&reservation->holds[i], clock->now_ns);
	return true;
}

struct limits_state limits_peek(const struct limits_scope *scope, const struct limits_clock *clock,
				enum limit limit)
{
	struct limits_cells *cells = scope->cells;
	struct limits_rate *rates[LIMIT_COUNT] = {[LIMIT_RPM] = &cells->requests,
						  [LIMIT_INPUT_TPM] = &cells->input,
						  [LIMIT_OUTPUT_TPM] = &cells->output};
	struct limits_state state = {.max = scope->values->max[limit]};
	if (state.max == LIMIT_NONE)
		return state;
	if (rows[limit].kind == KIND_SLOTS) {
		state.remaining = most_of(state.max - atomic_load(&cells->in_flight), 0);
	} else if (rows[limit].kind == KIND_DAY) {
		uint64_t used = day_used(atomic_load(&cells->day), day_of(clock->wall_ms));
		state.remaining = most_of(state.max - (int64_t)used, 0);
		state.reset_ms = used ? DAY_MS - clock->wall_ms % DAY_MS : 0;
	} else {
		int64_t left = burst_left(atomic_load(&rates[limit]->empty_at_ns), clock->now_ns);
		state.remaining = tokens_left(state.max, left);
		state.reset_ms = ceil_ms(MINUTE_NS - left);
	}
	return state;
}

/* ---- looking ahead ---- */

/* When `wanted` can be had of a limit that has less left; -1: never. */
static int64_t wait_ms(enum limit limit, const struct limits_state *state, int64_t wanted)
{
	if (wanted > state->max)
		return -1;
	if (rows[limit].kind == KIND_SLOTS)
		return 1000;
	if (rows[limit].kind == KIND_DAY)
		return state->reset_ms;
	/* Full again in reset_ms; the last of it is what need not be waited for. */
	int64_t spare_ms = ceil_ms(MINUTE_NS) - ceil_ms(cost_ns(state->max, wanted));
	return most_of(state->reset_ms - spare_ms, 1);
}

bool limits_may_reserve(const struct limits_scope *scopes, unsigned count,
			const struct limits_clock *clock, struct limits_wants wants,
			struct limits_refusal *refusal)
{
	const struct {
		enum limit limit;
		int64_t amount;
	} wanted[] = {
		{LIMIT_CONCURRENCY,    1                         },
		{LIMIT_RPM,            1                         },
		{LIMIT_INPUT_TPM,      wants.input               },
		{LIMIT_OUTPUT_TPM,     wants.output              },
		{LIMIT_TOKENS_PER_DAY, wants.input + wants.output},
	};
	const unsigned rows_count = sizeof(wanted) / sizeof(wanted[0]);
	for (unsigned i = 0; i < count * rows_count; i++) {
		const struct limits_scope *scope = &scopes[i / rows_count];
		enum limit limit = wanted[i % rows_count].limit;
		int64_t amount = wanted[i % rows_count].amount;
		struct limits_state state = limits_peek(scope, clock, limit);
		if (state.max == LIMIT_NONE || state.remaining >= amount)
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

/* ---- the percentile of finished answers ---- */

/* Four buckets an octave; exact up to 7. */
static unsigned bucket_of(int64_t output)
{
	uint64_t value = output < 0 ? 0 : (uint64_t)output;
	if (value < 4)
		return (unsigned)value;
	unsigned octave = 63u - (unsigned)__builtin_clzll(value);
	unsigned bucket = 4 * (octave - 1) + (unsigned)(value >> (octave - 2) & 3);
	return bucket < LIMITS_OUTPUT_BUCKETS ? bucket : LIMITS_OUTPUT_BUCKETS - 1;
}

static int64_t bucket_edge(unsigned bucket)
{
	if (bucket < 4)
		return bucket;
	unsigned octave = bucket / 4 + 1;
	return ((int64_t)(5 + bucket % 4) << (octave - 2)) - 1;
}

static void update_percentile(struct limits_cells *cells)
{
	uint32_t counts[LIMITS_OUTPUT_BUCKETS];
	uint64_t total = 0, above = 0;
	for (unsigned i = 0; i < LIMITS_OUTPUT_BUCKETS; i++) {
		counts[i] = atomic_load_explicit(&cells->output_buckets[i], memory_order_relaxed);
		total += counts[i];
	}
	unsigned bucket = LIMITS_OUTPUT_BUCKETS;
	/* The lowest bucket with at most one answer in a hundred above it. */
	while (bucket > 0 && (above + counts[bucket - 1]) * 100 <= total)
		above += counts[--bucket];
	int64_t edge = bucket ? bucket_edge(bucket - 1) : 0;
	atomic_store_explicit(&cells->output_p99, most_of(edge, 1), memory_order_relaxed);
}

#define OUTPUTS_MAX 65536u

/* Old answers fade: when there are enough, every bucket is halved, by the one thread that counted
 * the last. */
static void fade(struct limits_cells *cells)
{
	for (unsigned i = 0; i < LIMITS_OUTPUT_BUCKETS; i++) {
		uint32_t count =
			atomic_load_explicit(&cells->output_buckets[i], memory_order_relaxed);
		atomic_fetch_sub_explicit(&cells->output_buckets[i], count / 2,
					  memory_order_relaxed);
	}
	atomic_fetch_sub_explicit(&cells->outputs, OUTPUTS_MAX / 2, memory_order_relaxed);
}

void limits_observe_output(struct limits_cells *cells, int64_t output)
{
	atomic_fetch_add_explicit(&cells->output_buckets[bucket_of(output)], 1,
				  memory_order_relaxed);
	uint32_t count = atomic_fetch_add_explicit(&cells->outputs, 1, memory_order_relaxed) + 1;
	if (count == OUTPUTS_MAX)
		fade(cells);
	if (count < 64 || count % 16 == 0)
		update_percentile(cells);
}

int64_t limits_expected_output(const struct limits_cells *cells, int64_t most)
{
	int64_t p99 = atomic_load_explicit(&cells->output_p99, memory_order_relaxed);
	return p99 > 0 ? least(most, 2 * p99) : most;
}
