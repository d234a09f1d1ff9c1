#include "base/civil.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_moments),
		cmocka_unit_test(as_the_library),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
