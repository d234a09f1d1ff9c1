/* Limits: bounds of a rate for any interleaving, all or nothing, exactly-once settling, debt, days,
 * slots, what headers show, and that nothing is left over after quiet. */
#include "policy/limits.h"

#include "base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define SECOND ((uint64_t)1000000000)
#define START ((uint64_t)5000 * SECOND)
#define DAY_MS ((int64_t)86400000)

struct fixture {
	struct limits_table *table;
	struct limits_values values;
	struct limits_scope scope;
	struct limits_clock clock;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->table = limits_table_new();
	f->values = limits_unlimited;
	f->scope = (struct limits_scope){limits_table_cells(f->table, "grant", "g"), &f->values,
					 "grant"};
	f->clock = (struct limits_clock){START, 20000 * DAY_MS + DAY_MS / 2};
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	limits_table_drop(f->table);
	free(f);
	return 0;
}

static bool reserve(struct fixture *f, int64_t input, int64_t output,
		    struct limits_reservation *reservation, struct limits_refusal *refusal)
{
	return limits_reserve(&f->scope, 1, &f->clock,
			      (struct limits_wants){.input = input, .output = output}, reservation,
			      refusal);
}

static void advance(struct fixture *f, uint64_t ns)
{
	f->clock.now_ns += ns;
	f->clock.wall_ms += (int64_t)(ns / 1000000);
}

static void cells_are_found_again(void **state)
{
	struct fixture *f = *state;
	assert_ptr_equal(limits_table_cells(f->table, "grant", "g"), f->scope.cells);
	assert_ptr_not_equal(limits_table_cells(f->table, "org", "g"), f->scope.cells);
	assert_ptr_not_equal(limits_table_cells(f->table, "grant", "gg"), f->scope.cells);
	assert_int_equal((uintptr_t)f->scope.cells % 64, 0);
}

static void names_are_found(void **state)
{
	(void)state;
	assert_int_equal(limits_find(BYTES("output_tpm")), LIMIT_OUTPUT_TPM);
	assert_int_equal(limits_find(BYTES("tokens_per_day")), LIMIT_TOKENS_PER_DAY);
	assert_int_equal(limits_find(BYTES("rp")), LIMIT_COUNT);
	assert_int_equal(limits_find(BYTES("")), LIMIT_COUNT);
	assert_string_equal(limits_name(LIMIT_RPM), "rpm");
	assert_int_equal(limits_rule(LIMIT_CONCURRENCY), RULE_LIMIT_CONCURRENCY);
}

/* The burst is exactly the limit, for limits that do not divide a minute too. */
static void burst_equals_the_limit(void **state)
{
	struct fixture *f = *state;
	static const int64_t limits[] = {1, 2, 3, 7, 59, 600, 7001};
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		advance(f, 3600 * SECOND);
		f->values.max[LIMIT_RPM] = limits[i];
		struct limits_refusal refusal;
		for (int64_t k = 0; k < limits[i]; k++) {
			struct limits_reservation r = {0};
			assert_true(reserve(f, 0, 0, &r, &refusal));
			assert_true(
				limits_settle(&r, &f->scope, &f->clock, (struct limits_usage){0}));
		}
		struct limits_reservation r = {0};
		assert_false(reserve(f, 0, 0, &r, &refusal));
		assert_int_equal(refusal.limit, LIMIT_RPM);
		assert_int_equal(refusal.max, limits[i]);
		assert_int_equal(refusal.remaining, 0);
		assert_string_equal(refusal.what, "grant");
		/* Waiting as told helps, and a little less does not. */
		assert_in_range(refusal.retry_after_ms, 1, 60000);
		uint64_t wait = (uint64_t)refusal.retry_after_ms * 1000000;
		advance(f, wait - 2000000);
		assert_false(reserve(f, 0, 0, &r, &refusal));
		advance(f, 2000000);
		assert_true(reserve(f, 0, 0, &r, &refusal));
	}
}

static void a_limit_of_zero_admits_nothing(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0};
	struct limits_refusal refusal;
	f->values.max[LIMIT_RPM] = 0;
	assert_false(reserve(f, 0, 0, &r, &refusal));
	assert_int_equal(refusal.retry_after_ms, -1);
	f->values = limits_unlimited;
	f->values.max[LIMIT_CONCURRENCY] = 0;
	assert_false(reserve(f, 0, 0, &r, &refusal));
	assert_int_equal(refusal.retry_after_ms, -1);
}

static void more_than_the_limit_is_never_to_be_had(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0};
	struct limits_refusal refusal;
	f->values.max[LIMIT_INPUT_TPM] = 1000;
	assert_false(reserve(f, 1001, 0, &r, &refusal));
	assert_int_equal(refusal.limit, LIMIT_INPUT_TPM);
	assert_int_equal(refusal.retry_after_ms, -1);
	assert_int_equal(refusal.remaining, 1000);
	assert_true(reserve(f, 1000, 0, &r, &refusal));
	struct limits_reservation huge = {0};
	assert_false(reserve(f, INT64_MAX, INT64_MAX, &huge, &refusal));
}

static void the_largest_limit_works(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0};
	struct limits_refusal refusal;
	f->values.max[LIMIT_OUTPUT_TPM] = LIMIT_MAX;
	f->values.max[LIMIT_TOKENS_PER_DAY] = LIMIT_MAX;
	assert_true(reserve(f, 0, LIMIT_MAX, &r, &refusal));
	struct limits_reservation other = {0};
	assert_false(reserve(f, 0, 1000, &other, &refusal));
	assert_true(limits_settle(&r, &f->scope, &f->clock, (struct limits_usage){0}));
	assert_true(reserve(f, 0, LIMIT_MAX, &other, &refusal));
}

/* The second scope refuses: the first is as it was. */
static void all_scopes_or_none(void **state)
{
	struct fixture *f = *state;
	struct limits_values org_values = limits_unlimited;
	for (enum limit limit = 0; limit < LIMIT_COUNT; limit++)
		f->values.max[limit] = 100;
	org_values.max[LIMIT_OUTPUT_TPM] = 50;
	struct limits_scope scopes[] = {
		f->scope, {limits_table_cells(f->table, "org", "o"), &org_values, "org"}
        };
	struct limits_reservation r = {0};
	struct limits_refusal refusal;
	assert_false(limits_reserve(scopes, 2, &f->clock,
				    (struct limits_wants){.input = 20, .output = 60}, &r,
				    &refusal));
	assert_string_equal(refusal.what, "org");
	assert_int_equal(refusal.limit, LIMIT_OUTPUT_TPM);
	assert_false(r.open);
	for (enum limit limit = 0; limit < LIMIT_COUNT; limit++)
		assert_int_equal(limits_peek(&scopes[0], &f->clock, limit).remaining, 100);
	assert_int_equal(limits_peek(&scopes[1], &f->clock, LIMIT_OUTPUT_TPM).remaining, 50);
	/* A slice that only the second scope refuses leaves both as they were. */
	assert_true(limits_reserve(scopes, 2, &f->clock,
				   (struct limits_wants){.input = 20, .output = 40}, &r, &refusal));
	assert_false(limits_take_output_slice(&r, scopes, &f->clock,
					      (struct limits_wants){.output = 20}, &refusal));
	assert_string_equal(refusal.what, "org");
	assert_int_equal(limits_peek(&scopes[0], &f->clock, LIMIT_OUTPUT_TPM).remaining, 60);
	assert_int_equal(limits_peek(&scopes[0], &f->clock, LIMIT_TOKENS_PER_DAY).remaining, 40);
	assert_int_equal(limits_reserved_output(&r), 40);
	assert_true(limits_take_output_slice(&r, scopes, &f->clock,
					     (struct limits_wants){.output = 10}, &refusal));
	assert_int_equal(limits_reserved_output(&r), 50);
}

static void unused_tokens_come_back_once(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0};
	struct limits_refusal refusal;
	f->values.max[LIMIT_INPUT_TPM] = 6000;
	f->values.max[LIMIT_OUTPUT_TPM] = 6000;
	f->values.max[LIMIT_CONCURRENCY] = 2;
	f->values.max[LIMIT_TOKENS_PER_DAY] = 10000;
	assert_true(reserve(f, 3000, 2000, &r, &refusal));
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_INPUT_TPM).remaining, 3000);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_CONCURRENCY).remaining, 1);
	assert_true(limits_settle(&r, &f->scope, &f->clock,
				  (struct limits_usage){.input = 1000, .output = 500}));
	assert_false(limits_settle(&r, &f->scope, &f->clock, (struct limits_usage){0}));
	assert_false(limits_cancel(&r, &f->scope, &f->clock));
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_INPUT_TPM).remaining, 5000);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_OUTPUT_TPM).remaining, 5500);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_CONCURRENCY).remaining, 2);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_DAY).remaining, 8500);
}

static void a_cancelled_request_is_not_counted(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0};
	struct limits_refusal refusal;
	for (enum limit limit = 0; limit < LIMIT_COUNT; limit++)
		f->values.max[limit] = 100;
	assert_true(reserve(f, 50, 40, &r, &refusal));
	assert_true(limits_cancel(&r, &f->scope, &f->clock));
	for (enum limit limit = 0; limit < LIMIT_COUNT; limit++) {
		struct limits_state seen = limits_peek(&f->scope, &f->clock, limit);
		assert_int_equal(seen.remaining, 100);
		assert_int_equal(seen.reset_ms, 0);
	}
}

/* What has drained already does not come back: otherwise a full burst could be had twice. */
static void drained_tokens_do_not_come_back(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation first = {0}, second = {0}, third = {0};
	struct limits_refusal refusal;
	f->values.max[LIMIT_OUTPUT_TPM] = 6000;
	assert_true(reserve(f, 0, 6000, &first, &refusal));
	advance(f, 60 * SECOND);
	assert_true(reserve(f, 0, 6000, &second, &refusal));
	assert_true(limits_settle(&first, &f->scope, &f->clock, (struct limits_usage){0}));
	assert_false(reserve(f, 0, 1, &third, &refusal));
	assert_true(limits_settle(&second, &f->scope, &f->clock,
				  (struct limits_usage){.input = 0, .output = 6000}));
}

/* What others gave back meanwhile counts as drained. */
static void returns_of_others_are_taken_into_account(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation first = {0}, second = {0}, third = {0}, fourth = {0};
	struct limits_refusal refusal;
	f->values.max[LIMIT_OUTPUT_TPM] = 6000; /* 100 a second */
	assert_true(reserve(f, 0, 3000, &first, &refusal));
	assert_true(reserve(f, 0, 3000, &second, &refusal));
	advance(f, SECOND);
	assert_true(limits_settle(&first, &f->scope, &f->clock, (struct limits_usage){0}));
	advance(f, 39 * SECOND);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_OUTPUT_TPM).remaining, 6000);
	assert_true(reserve(f, 0, 6000, &third, &refusal));
	advance(f, 5 * SECOND);
	assert_true(limits_settle(&second, &f->scope, &f->clock, (struct limits_usage){0}));
	assert_false(reserve(f, 0, 501, &fourth, &refusal));
	assert_true(reserve(f, 0, 500, &fourth, &refusal));
}

/* The first slice has drained: only the last one comes back, not the tokens of others. */
static void only_the_last_slice_comes_back(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation sliced = {0}, other = {0};
	struct limits_refusal refusal;
	f->values.max[LIMIT_OUTPUT_TPM] = 6000;
	assert_true(reserve(f, 0, 1000, &sliced, &refusal));
	advance(f, 20 * SECOND);
	assert_true(reserve(f, 0, 5000, &other, &refusal));
	assert_true(limits_take_output_slice(&sliced, &f->scope, &f->clock,
					     (struct limits_wants){.output = 100}, &refusal));
	assert_true(limits_settle(&sliced, &f->scope, &f->clock, (struct limits_usage){0}));
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_OUTPUT_TPM).remaining, 1000);
}

static void excess_is_debt(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0};
	struct limits_refusal refusal;
	f->values.max[LIMIT_OUTPUT_TPM] = 6000; /* 100 a second */
	f->values.max[LIMIT_TOKENS_PER_DAY] = 20000;
	assert_true(reserve(f, 0, 1000, &r, &refusal));
	assert_true(limits_settle(&r, &f->scope, &f->clock,
				  (struct limits_usage){.input = 0, .output = 12000}));
	assert_false(reserve(f, 0, 100, &r, &refusal));
	assert_int_equal(refusal.remaining, 0);
	/* 6,000 beyond the burst and 100 more: 61 s. */
	assert_in_range(refusal.retry_after_ms, 60999, 61001);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_DAY).remaining, 8000);
	advance(f, 61 * SECOND + 1000000);
	assert_true(reserve(f, 0, 100, &r, &refusal));
}

static void a_day_starts_full(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0}, over = {0};
	struct limits_refusal refusal;
	f->values.max[LIMIT_TOKENS_PER_DAY] = 1000;
	assert_true(reserve(f, 400, 400, &r, &refusal));
	assert_false(reserve(f, 0, 300, &over, &refusal));
	assert_int_equal(refusal.limit, LIMIT_TOKENS_PER_DAY);
	assert_int_equal(refusal.remaining, 200);
	assert_int_equal(refusal.retry_after_ms, DAY_MS / 2);
	advance(f, (uint64_t)(DAY_MS / 2) * 1000000);
	/* Yesterday's reservation gives nothing back to today and owes today only its excess. */
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_DAY).remaining, 1000);
	assert_true(limits_take_output_slice(&r, &f->scope, &f->clock,
					     (struct limits_wants){.output = 100}, &refusal));
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_DAY).remaining, 900);
	assert_true(limits_settle(&r, &f->scope, &f->clock, (struct limits_usage){0}));
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_DAY).remaining, 1000);
}

static void a_day_is_restored_from_the_log(void **state)
{
	struct fixture *f = *state;
	f->values.max[LIMIT_TOKENS_PER_DAY] = 1000;
	struct limits_use *use = &f->scope.cells->use;
	struct limits_amounts amounts = {
		{[LIMITS_INPUT] = 100, [LIMITS_CACHE_READ] = 7000, [LIMITS_OUTPUT] = 200}
        };
	int64_t today = f->clock.wall_ms / DAY_MS;
	limits_use_add(use, today - 1, &amounts);
	limits_use_add(use, today, &amounts);
	limits_use_add(use, today, &amounts);
	limits_restore_budgets(f->scope.cells, f->clock.wall_ms);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_DAY).remaining, 400);
}

/* Wednesday 2026-11-25, 18:00 UTC. */
#define WEDNESDAY_MS (20782 * DAY_MS + DAY_MS * 3 / 4)

static void a_week_starts_on_monday(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0}, over = {0};
	struct limits_refusal refusal;
	f->clock.wall_ms = WEDNESDAY_MS;
	f->values.max[LIMIT_TOKENS_PER_WEEK] = 1000;
	assert_true(reserve(f, 400, 500, &r, &refusal));
	assert_false(reserve(f, 100, 1, &over, &refusal));
	assert_int_equal(refusal.limit, LIMIT_TOKENS_PER_WEEK);
	assert_int_equal(refusal.remaining, 100);
	assert_int_equal(refusal.retry_after_ms, 4 * DAY_MS + DAY_MS / 4);
	assert_false(reserve(f, 1001, 0, &over, &refusal));
	assert_int_equal(refusal.retry_after_ms, -1);
	assert_true(limits_settle(&r, &f->scope, &f->clock,
				  (struct limits_usage){.input = 100, .output = 200}));
	/* Sunday's last millisecond still counts it; Monday does not. */
	advance(f, (uint64_t)(4 * DAY_MS + DAY_MS / 4 - 1) * 1000000);
	struct limits_state seen = limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_WEEK);
	assert_int_equal(seen.remaining, 700);
	assert_int_equal(seen.used, 300);
	assert_int_equal(seen.reset_ms, 1);
	advance(f, 1000000);
	seen = limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_WEEK);
	assert_int_equal(seen.remaining, 1000);
	assert_int_equal(seen.reset_ms, 0);
}

static bool spend(struct fixture *f, int64_t cost, struct limits_reservation *r,
		  struct limits_refusal *refusal)
{
	return limits_reserve(&f->scope, 1, &f->clock, (struct limits_wants){.cost = cost}, r,
			      refusal);
}

static void money_is_counted_by_the_calendar_month(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0}, over = {0};
	struct limits_refusal refusal;
	f->clock.wall_ms = WEDNESDAY_MS;
	f->values.max[LIMIT_USD_PER_MONTH] = 2;
	assert_true(spend(f, 1500000000, &r, &refusal));
	assert_false(spend(f, 500001000, &over, &refusal));
	assert_int_equal(refusal.limit, LIMIT_USD_PER_MONTH);
	assert_int_equal(refusal.max, 2);
	assert_int_equal(refusal.remaining, 0); /* half a dollar */
	assert_int_equal(refusal.retry_after_ms, 5 * DAY_MS + DAY_MS / 4);
	assert_false(spend(f, 2000001000, &over, &refusal));
	assert_int_equal(refusal.retry_after_ms, -1);
	assert_false(spend(f, LIMITS_COST_UNKNOWN, &over, &refusal));
	assert_int_equal(refusal.wanted, -1);
	assert_int_equal(refusal.retry_after_ms, -1);
	assert_true(
		limits_settle(&r, &f->scope, &f->clock, (struct limits_usage){.cost = 250000000}));
	struct limits_state seen = limits_peek(&f->scope, &f->clock, LIMIT_USD_PER_MONTH);
	assert_int_equal(seen.used, 250000);
	assert_int_equal(seen.remaining, 1);
	advance(f, (uint64_t)(5 * DAY_MS + DAY_MS / 4) * 1000000);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_USD_PER_MONTH).remaining, 2);
	/* December has 31 days. */
	assert_true(spend(f, 1000, &r, &refusal));
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_USD_PER_MONTH).reset_ms,
			 31 * DAY_MS);
}

/* A thousand answers of 300 nanodollars cost 300 millionths, not a thousand and not none. */
static void parts_of_a_millionth_add_up(void **state)
{
	struct fixture *f = *state;
	struct limits_refusal refusal;
	f->values.max[LIMIT_USD_PER_MONTH] = 5;
	for (int i = 0; i < 1000; i++) {
		struct limits_reservation r = {0};
		assert_true(spend(f, 4000, &r, &refusal));
		assert_true(limits_settle(&r, &f->scope, &f->clock,
					  (struct limits_usage){.cost = 300}));
	}
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_USD_PER_MONTH).used, 300);
}

static void a_budget_counts_before_it_is_limited(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0};
	struct limits_refusal refusal;
	assert_true(reserve(f, 100, 100, &r, &refusal));
	assert_true(
		limits_settle(&r, &f->scope, &f->clock, (struct limits_usage){30, 20, 3000000}));
	f->values.max[LIMIT_TOKENS_PER_DAY] = 1000;
	f->values.max[LIMIT_TOKENS_PER_WEEK] = 2000;
	f->values.max[LIMIT_USD_PER_MONTH] = 1;
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_DAY).remaining, 950);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_WEEK).remaining, 1950);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_USD_PER_MONTH).used, 3000);
}

/* What was charged before midnight stays there, in tokens and in money. */
static void a_stream_may_pass_the_end_of_a_month(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0};
	struct limits_refusal refusal;
	struct limits_wants wants = {.output = 1000, .cost = 1000000}, none = {0};
	f->clock.wall_ms = WEDNESDAY_MS + 5 * DAY_MS;
	for (enum limit limit = LIMIT_TOKENS_PER_DAY; limit < LIMIT_COUNT; limit++)
		f->values.max[limit] = 10000;
	assert_true(limits_reserve(&f->scope, 1, &f->clock, wants, &r, &refusal));
	advance(f, (uint64_t)DAY_MS * 1000000);
	assert_true(limits_take_output_slice(&r, &f->scope, &f->clock, wants, &refusal));
	assert_true(limits_take_output_slice(&r, &f->scope, &f->clock, none, &refusal));
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_WEEK).used, 2000);
	assert_true(
		limits_settle(&r, &f->scope, &f->clock, (struct limits_usage){0, 1300, 1300000}));
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_DAY).used, 300);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_TOKENS_PER_WEEK).used, 1300);
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_USD_PER_MONTH).used, 300);
}

static void costs(void **state)
{
	(void)state;
	struct limits_price price = {3000000, 15000000, 300000, 3750000, true};
	struct limits_tokens tokens = {1000, 20000, 400, 500};
	/* 3 + 6 + 1.5 + 7.5 thousandths of a dollar */
	assert_int_equal(limits_cost(&price, &tokens), 18000000);
	tokens = (struct limits_tokens){.input = 1};
	price.input = 1; /* 10^-12 dollars */
	assert_int_equal(limits_cost(&price, &tokens), 1);
	tokens = (struct limits_tokens){INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
	price = (struct limits_price){INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, true};
	assert_int_equal(limits_cost(&price, &tokens), LIMITS_COST_MAX);
}

static void use_is_summed_by_day_week_and_month(void **state)
{
	struct fixture *f = *state;
	struct limits_use *use = &f->scope.cells->use;
	struct limits_amounts amounts = {
		{1, 10, 20, 30, 40, 50}
        };
	int64_t saturday = 20785; /* 2026-11-28 */
	limits_use_count(use, 0, &amounts);
	limits_use_take(use, 0, saturday);
	limits_use_take(use, 0, saturday); /* nothing new */
	limits_use_count(use, 1, &amounts);
	limits_use_take(use, 1, saturday + 1);
	assert_int_equal(use->sums[LIMITS_DAY].of[LIMITS_OUTPUT], 40);
	assert_int_equal(use->sums[LIMITS_WEEK].of[LIMITS_OUTPUT], 80);
	assert_int_equal(use->sums[LIMITS_MONTH].of[LIMITS_COST], 100);
	assert_int_equal(limits_use_tokens(&use->sums[LIMITS_DAY]), 80);
	limits_use_take(use, 0, saturday + 2); /* Monday */
	assert_int_equal(use->sums[LIMITS_DAY].of[LIMITS_OUTPUT], 0);
	assert_int_equal(use->sums[LIMITS_WEEK].of[LIMITS_OUTPUT], 0);
	assert_int_equal(use->sums[LIMITS_MONTH].of[LIMITS_REQUESTS], 2);
	/* What comes late counts where it belongs. */
	limits_use_add(use, saturday, &amounts);
	assert_int_equal(use->sums[LIMITS_WEEK].of[LIMITS_OUTPUT], 0);
	assert_int_equal(use->sums[LIMITS_MONTH].of[LIMITS_REQUESTS], 3);
	limits_use_take(use, 0, saturday + 3); /* 1 December */
	assert_int_equal(use->sums[LIMITS_MONTH].of[LIMITS_REQUESTS], 0);
	assert_int_equal(limits_use_total(use, LIMITS_OUTPUT), 80);
}

static void estimates(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(limits_estimate_input(0), 0);
	assert_int_equal(limits_estimate_input(1), 1);
	assert_int_equal(limits_estimate_input(3), 1);
	assert_int_equal(limits_estimate_input(4), 2);
	struct limits_cells *cells = f->scope.cells;
	assert_int_equal(limits_expected_output(cells, 8192), 8192);
	for (int i = 0; i < 10000; i++)
		limits_observe_output(cells, i % 1000);
	int64_t expected = limits_expected_output(cells, INT64_MAX);
	assert_in_range(expected, 2 * 989, 2 * 989 * 5 / 4);
	assert_int_equal(limits_expected_output(cells, 64), 64);
	/* Old answers fade. */
	for (int i = 0; i < 300000; i++)
		limits_observe_output(cells, 10);
	assert_in_range(limits_expected_output(cells, INT64_MAX), 20, 25);
	limits_observe_output(cells, INT64_MAX);
	limits_observe_output(cells, -1);
}

/* What is kept of the lengths of answers and put back gives the same reservation. */
static void lengths_of_answers_are_restored(void **state)
{
	struct fixture *f = *state;
	struct limits_cells *before = f->scope.cells;
	struct limits_cells *after = limits_table_cells(f->table, "grant", "again");
	for (int i = 0; i < 5000; i++)
		limits_observe_output(before, i % 700);
	for (unsigned bucket = 0; bucket < LIMITS_OUTPUT_BUCKETS; bucket++)
		limits_restore_outputs(after, bucket, limits_outputs_in(before, bucket));
	assert_int_equal(limits_expected_output(after, INT64_MAX),
			 limits_expected_output(before, INT64_MAX));
	assert_true(limits_expected_output(after, INT64_MAX) < 2000);
	limits_restore_outputs(after, LIMITS_OUTPUT_BUCKETS, 1);
	limits_restore_outputs(after, 3, UINT32_MAX); /* no more than there may be */
	limits_observe_output(after, 3);
}

/* A reservation as the oracle sees it: what it used is taken to happen when it was reserved. */
struct event {
	uint64_t at_ns;
	int64_t tokens;
};

#define EVENTS 400

/* In every window [i, k] of reservations, what they used in the end is at most
 * limit * (1 + t / 60). */
static void check_bound(const struct event *events, size_t count, int64_t limit)
{
	for (size_t i = 0; i < count; i++) {
		double sum = 0;
		for (size_t k = i; k < count; k++) {
			double t = (double)(events[k].at_ns - events[i].at_ns) / 1e9;
			sum += (double)events[k].tokens;
			assert_true(sum <= (double)limit * (1 + t / 60) + 0.01);
		}
	}
}

static void rates_hold_for_any_interleaving(void **state)
{
	struct fixture *f = *state;
	struct prng prng = {.state = 7};
	for (int round = 0; round < 60; round++) {
		int64_t limit = (int64_t)(1 + prng_below(&prng, 5000));
		f->values.max[LIMIT_OUTPUT_TPM] = limit;
		advance(f, 7200 * SECOND);
		static struct event events[EVENTS];
		static struct limits_reservation open[EVENTS];
		memset(open, 0, sizeof(open));
		size_t count = 0;
		for (int step = 0; step < 3 * EVENTS && count < EVENTS; step++) {
			advance(f, prng_below(&prng, 6 * SECOND));
			struct limits_refusal refusal;
			int64_t wanted = (int64_t)prng_below(&prng, (uint64_t)limit + 1);
			if (reserve(f, 0, wanted, &open[count], &refusal))
				events[count++] = (struct event){f->clock.now_ns, wanted};
			size_t victim = (size_t)prng_below(&prng, count + 1);
			if (victim == count || !open[victim].open)
				continue;
			int64_t used = prng_below(&prng, 3)
					       ? (int64_t)prng_below(
							 &prng, (uint64_t)events[victim].tokens + 1)
					       : events[victim].tokens;
			events[victim].tokens = used;
			assert_true(
				limits_settle(&open[victim], &f->scope, &f->clock,
					      (struct limits_usage){.input = 0, .output = used}));
		}
		assert_true(count > 20);
		check_bound(events, count, limit);
	}
}

static void random_ending(struct prng *prng, struct fixture *f, struct limits_reservation *r)
{
	struct limits_usage usage = {(int64_t)prng_below(prng, 900),
				     (int64_t)prng_below(prng, 3000),
				     (int64_t)prng_below(prng, 9000000)};
	if (prng_below(prng, 4) == 0)
		limits_cancel(r, &f->scope, &f->clock);
	else
		limits_settle(r, &f->scope, &f->clock, usage);
}

/* 10^5 requests with every kind of ending, slices and debts; afterwards, in quiet, all is full. */
static void after_quiet_everything_is_full(void **state)
{
	struct fixture *f = *state;
	struct prng prng = {.state = 11};
	static struct limits_reservation open[64];
	memset(open, 0, sizeof(open));
	f->values = (struct limits_values){
		{500, 40000, 90000, 40, 3000000, 9000000, 700}
        };
	unsigned admitted = 0;
	for (int i = 0; i < 100000; i++) {
		struct limits_reservation *r = &open[prng_below(&prng, 64)];
		struct limits_refusal refusal;
		advance(f, prng_below(&prng, SECOND));
		if (!r->open)
			admitted += reserve(f, (int64_t)prng_below(&prng, 1000),
					    (int64_t)prng_below(&prng, 1024), r, &refusal);
		else if (prng_below(&prng, 2))
			limits_take_output_slice(
				r, &f->scope, &f->clock,
				(struct limits_wants){.output = LIMITS_OUTPUT_SLICE}, &refusal);
		else
			random_ending(&prng, f, r);
		assert_true(atomic_load(&f->scope.cells->in_flight) <= 40);
	}
	assert_true(admitted > 1000);
	for (size_t i = 0; i < 64; i++)
		limits_settle(&open[i], &f->scope, &f->clock, (struct limits_usage){0});
	advance(f, 32 * 86400 * SECOND);
	for (enum limit limit = 0; limit < LIMIT_COUNT; limit++) {
		struct limits_state seen = limits_peek(&f->scope, &f->clock, limit);
		assert_int_equal(seen.remaining, seen.max);
		assert_int_equal(seen.reset_ms, 0);
	}
	assert_int_equal(atomic_load(&f->scope.cells->in_flight), 0);
}

static void an_unlimited_scope_is_never_in_the_way(void **state)
{
	struct fixture *f = *state;
	struct limits_reservation r = {0};
	struct limits_refusal refusal;
	assert_false(limits_any(&limits_unlimited));
	assert_true(reserve(f, LIMIT_MAX, LIMIT_MAX, &r, &refusal));
	assert_true(limits_take_output_slice(&r, &f->scope, &f->clock,
					     (struct limits_wants){.output = LIMIT_MAX}, &refusal));
	assert_int_equal(limits_peek(&f->scope, &f->clock, LIMIT_RPM).max, LIMIT_NONE);
	assert_true(limits_settle(&r, &f->scope, &f->clock,
				  (struct limits_usage){.input = INT64_MAX, .output = INT64_MAX}));
	assert_true(limits_reserve(NULL, 0, &f->clock,
				   (struct limits_wants){.input = 1, .output = 1}, &r, &refusal));
}

/* Looking ahead says what reserving says, of the same limit and for the same time, and takes
 * nothing. */
static void check_ahead(struct fixture *f, struct limits_wants wants)
{
	struct limits_reservation r = {0};
	struct limits_refusal ahead, refusal;
	bool may = limits_may_reserve(&f->scope, 1, &f->clock, wants, &ahead);
	bool again = limits_may_reserve(&f->scope, 1, &f->clock, wants, &ahead);
	bool taken = limits_reserve(&f->scope, 1, &f->clock, wants, &r, &refusal);
	assert_int_equal(may, taken);
	assert_int_equal(may, again);
	if (taken) {
		limits_cancel(&r, &f->scope, &f->clock);
		return;
	}
	assert_int_equal(ahead.limit, refusal.limit);
	assert_int_equal(ahead.max, refusal.max);
	assert_int_equal(ahead.wanted, refusal.wanted);
	assert_int_equal(ahead.remaining, refusal.remaining);
	assert_string_equal(ahead.what, refusal.what);
	int64_t off = ahead.retry_after_ms - refusal.retry_after_ms;
	assert_true(off >= -1 && off <= 1); /* rounded in whole milliseconds */
}

static void looking_ahead_says_what_reserving_says(void **state)
{
	struct fixture *f = *state;
	struct prng prng = {11};
	unsigned refused = 0;
	for (unsigned round = 0; round < 20000; round++) {
		struct limits_reservation r = {0};
		struct limits_refusal refusal;
		struct limits_wants wants = {(int64_t)prng_below(&prng, 40),
					     (int64_t)prng_below(&prng, 40),
					     (int64_t)prng_below(&prng, 3000000000) - 1};
		if (round % 50 == 0)
			for (unsigned limit = 0; limit < LIMIT_COUNT; limit++)
				f->values.max[limit] = (int64_t)prng_below(&prng, 200) - 1;
		check_ahead(f, wants);
		if (!limits_reserve(&f->scope, 1, &f->clock, wants, &r, &refusal)) {
			refused++;
			static const uint64_t seconds[] = {1, 700, 9 * 86400, 9 * 86400};
			advance(f, seconds[prng_below(&prng, 4)] * SECOND);
			continue;
		}
		if (prng_below(&prng, 3))
			limits_settle(&r, &f->scope, &f->clock,
				      (struct limits_usage){wants.input, wants.output / 2,
							    wants.cost > 0 ? wants.cost : 0});
		else
			limits_cancel(&r, &f->scope, &f->clock);
	}
	assert_in_range(refused, 1000, 19000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(cells_are_found_again),
		TEST(names_are_found),
		TEST(burst_equals_the_limit),
		TEST(a_limit_of_zero_admits_nothing),
		TEST(more_than_the_limit_is_never_to_be_had),
		TEST(the_largest_limit_works),
		TEST(all_scopes_or_none),
		TEST(unused_tokens_come_back_once),
		TEST(a_cancelled_request_is_not_counted),
		TEST(drained_tokens_do_not_come_back),
		TEST(returns_of_others_are_taken_into_account),
		TEST(only_the_last_slice_comes_back),
		TEST(excess_is_debt),
		TEST(a_day_starts_full),
		TEST(a_day_is_restored_from_the_log),
		TEST(a_week_starts_on_monday),
		TEST(money_is_counted_by_the_calendar_month),
		TEST(parts_of_a_millionth_add_up),
		TEST(a_budget_counts_before_it_is_limited),
		TEST(a_stream_may_pass_the_end_of_a_month),
		TEST(costs),
		TEST(use_is_summed_by_day_week_and_month),
		TEST(estimates),
		TEST(lengths_of_answers_are_restored),
		TEST(rates_hold_for_any_interleaving),
		TEST(after_quiet_everything_is_full),
		TEST(an_unlimited_scope_is_never_in_the_way),
		TEST(looking_ahead_says_what_reserving_says),
#undef TEST
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
