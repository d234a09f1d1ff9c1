/* Limits: counted in cells of 64-bit atomics that all workers share without a lock, reserved before
 * a request goes upstream and settled once on every ending.
 *
 * Budgets (of a UTC day, a week from Monday, a calendar month) count what was used in the period,
 * and in the same word the period, so that a new one starts at nothing. Whatever a scope limits,
 * its cells count all three, so that a limit set later finds what was used before.
 *
 * Rates follow the generic cell rate algorithm (ATM Forum TM 4.0, "virtual scheduling"): a cell
 * holds the time at which it is empty again, a token costs 60 s / limit, and the burst equals the
 * limit, so that what was admitted in any t seconds is at most limit * (1 + t / 60). What a
 * reservation did not use comes back only as far as the cell has not drained it meanwhile, so that
 * the bound holds for every interleaving. What was used beyond a reservation is debt, which later
 * requests wait off.
 *
 * Nothing here reads a clock: the caller gives `struct limits_clock`. */
#ifndef POLICY_LIMITS_H
#define POLICY_LIMITS_H

#include "policy/limits_use.h"
#include "table/limits.h"
#include "table/rules.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The two clocks of env at one moment. Reservations may be made and settled on different threads:
 * their monotonic clocks may be a little apart. */
struct limits_clock {
	uint64_t now_ns; /* monotonic */
	int64_t wall_ms; /* UTC since 1970 */
};

struct limits_values {
	int64_t max[LIMIT_COUNT]; /* 0 to LIMIT_MAX, or LIMIT_NONE */
};

/* No limit at all. */
extern const struct limits_values limits_unlimited;
_Static_assert(LIMIT_NONE == -1, "has every bit, and no limit does");
static inline bool limits_any(const struct limits_values *values)
{
	int64_t all = LIMIT_NONE;
	for (unsigned i = 0; i < LIMIT_COUNT; i++)
		all &= values->max[i];
	return all != LIMIT_NONE;
}

/* "rpm"; RULE_LIMIT_RPM; "requests a minute". By name: LIMIT_COUNT if there is none. */
const char *limits_name(enum limit limit);
const char *limits_unit(enum limit limit);
enum rule limits_rule(enum limit limit);
enum limit limits_find(struct bytes name);
/* Whether it is the rule of a limit. */
bool limits_rule_is(enum rule rule);

/* ---- cells ---- */

/* The counters of one grant, org, model, key or purpose of a grant. All zero: full. Threads use
 * them at once; nobody but this module touches the members. */
struct limits_rate {
	_Atomic uint64_t empty_at_ns; /* GCRA's theoretical arrival time */
	/* Sums of all that unused reservations gave back: counted before empty_at_ns goes down,
	 * and counted after. */
	_Atomic uint64_t returning_ns, returned_ns;
};

#define LIMITS_OUTPUT_BUCKETS 96

struct limits_cells {
	_Alignas(64) struct limits_rate requests, input, output;
	/* Each a period (12 bits) and what was used in it (52 bits): tokens, or millionths of USD.
	 */
	_Atomic uint64_t budgets[LIMITS_PERIODS];
	_Atomic uint64_t cost_rest; /* nanodollars that were not counted as whole millionths yet */
	_Atomic int64_t in_flight;  /* slots taken */
	/* Output tokens of finished answers, for limits_expected_output. */
	_Atomic int64_t output_p99; /* upper edge of its bucket; 0: nothing observed yet */
	_Atomic uint32_t outputs;   /* answers in the buckets */
	_Atomic uint32_t output_buckets[LIMITS_OUTPUT_BUCKETS];
	/* What came through since the start, for people to look at; limits nothing. */
	struct limits_traffic {
		_Atomic int64_t admitted, refused, observed, live;
	} traffic;
	struct limits_use use;
};

/* Adds to one of the members of traffic; any thread. */
static inline void limits_count(_Atomic int64_t *cell, int64_t amount)
{
	atomic_fetch_add_explicit(cell, amount, memory_order_relaxed);
}

/* All cells of a gateway by kind and id. They live as long as the table: snapshots of the world
 * that follow one another share it, and so share the counters. Only the thread that builds worlds
 * calls these. */
struct limits_table;

struct limits_table *limits_table_new(void); /* NULL when memory is out; one reference */
struct limits_table *limits_table_hold(struct limits_table *table);
void limits_table_drop(struct limits_table *table);
/* The cells of this kind ("grant") and id, made at the first call; NULL when memory is out. */
struct limits_cells *limits_table_cells(struct limits_table *table, const char *kind,
					const char *id);
/* All of them in the order of their making, with their names ("grant/south-eval-1"). */
size_t limits_table_count(const struct limits_table *table);
struct limits_cells *limits_table_at(const struct limits_table *table, size_t index,
				     const char **name);
/* By name; NULL: there are none. */
struct limits_cells *limits_table_find(const struct limits_table *table, struct bytes name);

/* ---- reserve, slice, settle ---- */

/* Key, purpose, grant, org, the org that controls it, model. */
#define LIMITS_SCOPES_MAX 6

/* One of the sets of limits that a request has to pass. `values` is read during calls only. */
struct limits_scope {
	struct limits_cells *cells;
	const struct limits_values *values;
	const char *what; /* "grant", "org", … for messages; static */
};

/* The model has no price: no scope that limits money admits it. */
#define LIMITS_COST_UNKNOWN ((int64_t)-1)

struct limits_wants {
	int64_t input;  /* tokens, >= 0: limits_estimate_input, or exact */
	int64_t output; /* tokens, >= 0: the first slice, or limits_expected_output */
	int64_t cost;   /* nanodollars of both, or LIMITS_COST_UNKNOWN */
};

/* What happened, from the provider's last usage or from an estimate. */
struct limits_usage {
	int64_t input;  /* uncached input and cache writes */
	int64_t output; /* with reasoning */
	int64_t cost;   /* nanodollars, of cached input too; >= 0 */
};

struct limits_refusal {
	enum limit limit;
	const char *what;       /* the scope's */
	int64_t max;            /* the limit's value */
	int64_t wanted;         /* tokens, requests or whole USD; -1: the cost is not known */
	int64_t remaining;      /* of the limit at this moment, >= 0; whole USD, rounded down */
	int64_t retry_after_ms; /* when it can be had, if nobody else comes; -1: never (wanted >
				   max) */
};

/* Lives in the caller's request from limits_reserve to limits_settle, and is small, for there is
 * one for every stream: what a scope was charged follows from the scope, which the caller gives
 * again. Zeroed: nothing reserved. The cells must outlive it (some world of the same line does). */
struct limits_reservation {
	bool open;
	uint8_t count;
	uint8_t slots;                   /* bit i: scope i gave a slot */
	int32_t day;                     /* UTC day of the last charge */
	uint64_t at_ns;                  /* when it was made */
	int64_t input, output;           /* tokens reserved so far */
	int64_t last;                    /* of the output by the last slice */
	int64_t cost;                    /* millionths of USD reserved so far */
	int64_t charged[LIMITS_PERIODS]; /* to the budgets of `day`: tokens, millionths of USD */
	/* From here on need not be zeroed. For each scope: the cell's empty_at_ns after the last
	 * charge and its returned_ns before, added up. */
	uint64_t input_mark[LIMITS_SCOPES_MAX], output_mark[LIMITS_SCOPES_MAX];
};
_Static_assert(sizeof(struct limits_reservation) <= 200, "one for every stream");

/* ceil(bytes / 3): tokens to reserve for a prompt of so many bytes. */
int64_t limits_estimate_input(uint64_t prompt_bytes);

/* Tokens to reserve for an answer that is not streamed: `most` (what may come at most: the least of
 * what the client asked, the leaf's and the model's cap), or twice the 99th percentile of the
 * cells' finished answers if that is less. The percentile is rounded up by at most a quarter. */
int64_t limits_expected_output(const struct limits_cells *cells, int64_t most);
#define LIMITS_OUTPUT_SLICE 1024 /* tokens reserved at a time while a stream runs */

/* One request, one slot, the wanted tokens, in every scope or in none. True: `reservation` (closed
 * before) is open and must be settled. False: `refusal` tells the first limit that stood in the
 * way; nothing was taken. A want above a limit's value can never be had. */
bool limits_reserve(const struct limits_scope *scopes, unsigned count,
		    const struct limits_clock *clock, struct limits_wants wants,
		    struct limits_reservation *reservation, struct limits_refusal *refusal);

/* Whether limits_reserve would succeed at this moment; takes nothing. For a request that is not all
 * here yet, with the least that it can want. */
bool limits_may_reserve(const struct limits_scope *scopes, unsigned count,
			const struct limits_clock *clock, struct limits_wants wants,
			struct limits_refusal *refusal);

/* In all that follows, `scopes` are those it was reserved in, with the values they had then. */

/* `wants.output` more for an open reservation, at `wants.cost`, in every scope or in none. */
bool limits_take_output_slice(struct limits_reservation *reservation,
			      const struct limits_scope *scopes, const struct limits_clock *clock,
			      struct limits_wants wants, struct limits_refusal *refusal);
/* Output tokens reserved so far, whether or not a scope counts them. */
int64_t limits_reserved_output(const struct limits_reservation *reservation);

/* Ends an open reservation: slots are freed, what was not used comes back, what was used beyond is
 * debt. Returns false, changing nothing, if it is settled already: the first ending counts.
 * `usage` 0/0/0 for a request that never reached the upstream (its request stays counted). */
bool limits_settle(struct limits_reservation *reservation, const struct limits_scope *scopes,
		   const struct limits_clock *clock, struct limits_usage usage);
/* As if it had never been made: for a request refused between reserving and forwarding. The request
 * is given back too, as far as the rate has not refilled since. Same result as limits_settle. */
bool limits_cancel(struct limits_reservation *reservation, const struct limits_scope *scopes,
		   const struct limits_clock *clock);

/* Tells the percentile estimate the output of an answer that finished. And the estimate's counts,
 * to be kept and put back: bucket i of LIMITS_OUTPUT_BUCKETS. */
void limits_observe_output(struct limits_cells *cells, int64_t output);
uint32_t limits_outputs_in(const struct limits_cells *cells, unsigned bucket);
void limits_restore_outputs(struct limits_cells *cells, unsigned bucket, uint32_t count);

/* At start: the budgets of the day of `wall_ms` and its week and month count what `use` has for
 * them. Nothing may be reserved yet. */
void limits_restore_budgets(struct limits_cells *cells, int64_t wall_ms);

/* ---- headers, --usage and /parley/v1/self ---- */

struct limits_state {
	int64_t max;       /* LIMIT_NONE: not limited, and the rest is 0 */
	int64_t remaining; /* 0 to max */
	int64_t used;      /* of a budget, with what is reserved: tokens, or millionths of USD */
	int64_t reset_ms;  /* until it is full again; slots: 0 */
};
struct limits_state limits_peek(const struct limits_scope *scope, const struct limits_clock *clock,
				enum limit limit);
/* The same of the scope with the fewest remaining; max is LIMIT_NONE if none has the limit. */
struct limits_state limits_tightest(const struct limits_scope *scopes, unsigned count,
				    const struct limits_clock *clock, enum limit limit);

#endif
