#include "base/civil.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

static void expect(int64_t unix_ms, const char *text)
{
	char out[CIVIL_TEXT_SIZE];
	civil_text(unix_ms, out);
	assert_string_equal(out, text);
}

static void known_moments(void **state)
{
	(void)state;
	expect(0, "1970-01-01T00:00:00.000Z");
	expect(951782400000, "2000-02-29T00:00:00.000Z");
	expect(4107542399999, "2100-02-28T23:59:59.999Z");
	expect(4107542400000, "2100-03-01T00:00:00.000Z");
	expect(-1, "1970-01-01T00:00:00.000Z");
	expect(INT64_MAX, "9999-12-31T23:59:59.999Z");
}

/* Every 13th hour and some to the year 2500, as the C library has it. */
static void as_the_library(void **state)
{
	(void)state;
	for (int64_t second = 0; second < INT64_C(16725225600); second += 46801) {
		char expected[CIVIL_TEXT_SIZE];
		struct tm parts;
		time_t time = (time_t)second;
		gmtime_r(&time, &parts);
		strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.007Z", &parts);
		expect(second * 1000 + 7, expected);
	}
}

/* Every day of every year that can be told. */
static void every_day(void **state)
{
	static const unsigned lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t day = 0;
	(void)state;
	for (unsigned year = 1970; year < 10000; year++) {
		bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
		for (unsigned month = 0; month < 12; month++) {
			char expected[CIVIL_TEXT_SIZE], text[CIVIL_TEXT_SIZE];
			unsigned length = lengths[month] + (leap && month == 1);
			snprintf(expected, sizeof(expected), "%04u-%02u-00T00:00:00.000Z",
				 year % 10000, (month + 1) % 100);
			for (unsigned of_month = 1; of_month <= length; of_month++) {
				expected[8] = (char)('0' + of_month / 10);
				expected[9] = (char)('0' + of_month % 10);
				civil_text(86400000 * day++, text);
				assert_memory_equal(text, expected, sizeof(text));
			}
		}
	}
	assert_int_equal(day, 2932897);
}

/* Moments of a day, with all their seconds and milliseconds. */
static void every_time(void **state)
{
	(void)state;
	for (unsigned ms = 0; ms < 86400000; ms += 997) {
		char expected[64];
		snprintf(expected, sizeof(expected), "2026-11-01T%02u:%02u:%02u.%03uZ",
			 ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
		expect(INT64_C(1793491200000) + ms, expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_moments),
		cmocka_unit_test(as_the_library),
		cmocka_unit_test(every_day),
		cmocka_unit_test(every_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
