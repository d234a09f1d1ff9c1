/* Dates of grants: UTC days, real ones only. */
#include "policy/day.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

static void parses_known_days(void **state)
{
	(void)state;
	int64_t ms;
	assert_true(world_parse_day(BYTES("1970-01-01"), &ms));
	assert_int_equal(ms, 0);
	assert_true(world_parse_day(BYTES("2026-11-01"), &ms));
	assert_int_equal(ms, (int64_t)1793491200 * 1000);
	assert_true(world_parse_day(BYTES("2000-02-29"), &ms));
	assert_int_equal(ms, (int64_t)951782400 * 1000);
	assert_true(world_parse_day(BYTES("9999-12-31"), &ms));
}

static void refuses_what_is_no_day(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"",           "2026-11",    "2026-11-1",  "2026-11-31",
		"2026-02-29", "1900-02-28", "2026-00-10", "2026-13-01",
		"2026-01-00", "2026/01/01", "2026-1-001", "2026-01-01T0",
		"+026-01-01", "2100-02-29", "1969-12-31", "20a6-01-01",
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		int64_t ms = 42;
		assert_false(world_parse_day(bytes_from(wrong[i]), &ms));
		assert_int_equal(ms, 42);
	}
}

/* Every day of four centuries and more, against the C library. */
static void agrees_with_the_library(void **state)
{
	(void)state;
	for (int64_t day = 0; day < 160000; day++) {
		char ours[11], theirs[11];
		time_t seconds = (time_t)(day * 86400 + 86399);
		struct tm parts;
		assert_non_null(gmtime_r(&seconds, &parts));
		assert_int_equal(strftime(theirs, sizeof(theirs), "%Y-%m-%d", &parts), 10);
		world_format_day(day * WORLD_DAY_MS + WORLD_DAY_MS - 1, ours);
		assert_string_equal(ours, theirs);
		int64_t ms;
		assert_true(world_parse_day(bytes_from(ours), &ms));
		assert_int_equal(ms, day * WORLD_DAY_MS);
	}
}

static void bounds_what_it_formats(void **state)
{
	(void)state;
	char text[11];
	world_format_day(-1, text);
	assert_string_equal(text, "1970-01-01");
	world_format_day(INT64_MAX, text);
	assert_string_equal(text, "9999-12-31");
}

static void months(void **state)
{
	(void)state;
	assert_int_equal(day_month(0), 0);
	assert_int_equal(day_month(30), 0);
	assert_int_equal(day_month(31), 1);
	for (int64_t month = 0; month < 1200; month++) {
		int64_t start = day_of_month_start(month), next = day_of_month_start(month + 1);
		assert_in_range(next - start, 28, 31);
		assert_int_equal(day_month(start), month);
		assert_int_equal(day_month(next - 1), month);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_known_days),
		cmocka_unit_test(refuses_what_is_no_day),
		cmocka_unit_test(agrees_with_the_library),
		cmocka_unit_test(bounds_what_it_formats),
		cmocka_unit_test(months),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
