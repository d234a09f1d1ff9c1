/* What attempts used and how they failed. */
#include "bench/cell_use.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

static const struct plan_price price = {
	.input = 3, .output = 15, .cache_read = 0.3, .cache_write = 3.75};

static void take(struct cell_use *use, int status, const char *error, int64_t output,
		 int64_t elapsed_ms)
{
	struct run_transcript attempt = {
		.status = status,
		.error = error,
		.answer = error ? NULL : "x",
		.usage = {.input = 1000, .cache_read = -1, .cache_write = -1, .output = output},
		.elapsed_ms = elapsed_ms
        };
	cell_use_take(use, &price, &attempt);
}

static void bins_are_powers_of_two(void **state)
{
	(void)state;
	struct cell_use use = {0};
	const int64_t values[] = {0, 1, 2, 3, 4, 1023, 1024, INT64_MAX};
	const unsigned bins[] = {0, 1, 2, 2, 3, 10, 11, CELL_USE_BINS - 1};
	for (size_t i = 0; i < 8; i++) {
		uint32_t before = use.elapsed_ms[bins[i]];
		take(&use, 200, NULL, 1, values[i]);
		assert_int_equal(use.elapsed_ms[bins[i]], before + 1);
		assert_true((uint64_t)values[i] >= cell_use_bin_start(bins[i]));
	}
	assert_int_equal(use.answers, 8);
	assert_int_equal(use.output_tokens[1], 8);
}

static void failures_count_by_kind_and_cost_what_they_used(void **state)
{
	(void)state;
	struct cell_use use = {0};
	const int statuses[] = {0, 429, 400, 499, 500, 529, 200};
	for (size_t i = 0; i < 7; i++)
		take(&use, statuses[i], "why", 100, 5);
	assert_int_equal(use.errors[CELL_ERROR_CONNECTION], 1);
	assert_int_equal(use.errors[CELL_ERROR_THROTTLED], 1);
	assert_int_equal(use.errors[CELL_ERROR_REFUSED], 2);
	assert_int_equal(use.errors[CELL_ERROR_SERVER], 2);
	assert_int_equal(use.errors[CELL_ERROR_UNREADABLE], 1);
	assert_int_equal(use.answers, 0);
	assert_int_equal(use.input, 7000);
	assert_int_equal(use.output, 700);
	assert_true(fabs(use.usd - (7000 * 3 + 700 * 15) / 1e6) < 1e-12);
	for (unsigned i = 0; i < CELL_ERRORS; i++)
		assert_non_null(cell_error_name((enum cell_error)i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bins_are_powers_of_two),
		cmocka_unit_test(failures_count_by_kind_and_cost_what_they_used),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
