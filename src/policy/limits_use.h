/* What was used of a scope, for people and for the next start: tokens by class and money of the
 * present UTC day, week (from Monday) and calendar month.
 *
 * Workers add to one of two sets of sums that only grow (`live`): which one follows from the place
 * of the request's settle record in its log, so that the thread of the control plane can tell what
 * is used by all records before a place, while requests go on (gate/use.h). That thread alone
 * touches the rest. Nothing here reads a clock. */
#ifndef POLICY_LIMITS_USE_H
#define POLICY_LIMITS_USE_H

#include "base/bytes.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum limits_period { LIMITS_DAY, LIMITS_WEEK, LIMITS_MONTH, LIMITS_PERIODS };

/* The period that a UTC day (since 1970) lies in, counted from the first; and the first day of
 * one. */
int64_t limits_period_of(enum limits_period period, int64_t day);
int64_t limits_period_start(enum limits_period period, int64_t number);

/* USD per million tokens, in millionths of a dollar. */
struct limits_price {
	int64_t input, output, cache_read, cache_write;
	bool known; /* false: the configuration names none, and the rest is 0 */
};

struct limits_tokens {
	int64_t input, cache_read, cache_write, output; /* >= 0 */
};

/* Nanodollars, rounded up, at most LIMITS_COST_MAX; 0 where the price is not known. */
#define LIMITS_COST_MAX ((int64_t)1 << 60)
int64_t limits_cost(const struct limits_price *price, const struct limits_tokens *tokens);

enum limits_amount {
	LIMITS_REQUESTS, /* that were settled */
	LIMITS_INPUT,    /* uncached */
	LIMITS_CACHE_READ,
	LIMITS_CACHE_WRITE,
	LIMITS_OUTPUT,
	LIMITS_COST, /* nanodollars */
	LIMITS_AMOUNTS
};
struct limits_amounts {
	int64_t of[LIMITS_AMOUNTS];
};

/* "requests", "input", "cache_read", "cache_write", "output", "cost". */
const char *limits_amount_name(enum limits_amount amount);

#define LIMITS_LIVE 2

struct limits_use {
	_Atomic int64_t live[LIMITS_LIVE][LIMITS_AMOUNTS];
	/* The control plane's: */
	struct limits_amounts taken[LIMITS_LIVE]; /* how much of `live` is in `sums` */
	struct limits_amounts sums[LIMITS_PERIODS];
	int64_t day;  /* that the sums end in */
	bool changed; /* since it was last kept: the caller's to clear */
};

/* Any thread: one request was settled. `live`: 0 or 1. */
void limits_use_count(struct limits_use *use, unsigned live, const struct limits_amounts *amounts);

/* The control plane's thread. Adds amounts of a day; what lies before the sums' periods is left
 * out. */
void limits_use_add(struct limits_use *use, int64_t day, const struct limits_amounts *amounts);
/* Takes what has come to `live` since the last time as used on `day`. */
void limits_use_take(struct limits_use *use, unsigned live, int64_t day);
/* Any thread: what came to `live` since the start. */
int64_t limits_use_total(const struct limits_use *use, enum limits_amount amount);
/* Tokens that budgets count: uncached input, cache writes and output. */
int64_t limits_use_tokens(const struct limits_amounts *amounts);

#endif
