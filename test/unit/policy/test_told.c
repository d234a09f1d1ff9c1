#include "policy/told.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void test_input(void **state)
{
	struct told_bounds bounds = {.max_output = 8192, .asked = 0, .answers = 1};
	(void)state;
	assert_int_equal(told_input_max(&bounds), TOLD_READINGS * TOLD_CONTEXT);
	bounds.context = 200000;
	assert_int_equal(told_input_max(&bounds), 1600000);
	bounds.context = 1000000000;
	assert_int_equal(told_input_max(&bounds), 8000000000);
}

static void test_output(void **state)
{
	static const struct {
		struct told_bounds bounds;
		int64_t most;
	} rows[] = {
		{{0, 8192, 0, 1},                  16384                 },
		{{0, 8192, 64, 1},                 16384                 }, /* reasoning is not in what was asked */
		{{0, 8192, 64000, 1},              128000                }, /* asked for more than is configured */
		{{0, 8192, 64, 3},                 3 * 16384             },
		{{200000, 8192, 0, 1},             16384                 },
		{{10000, 8192, 0, 2},              20000                 }, /* an answer stands in the window */
		{{4096, 8192, 0, 1},               16384                 }, /* a window that cannot be */
		{{0, 1000000000, 2147483648, 128}, 2 * 2147483648LL * 128},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(told_output_max(&rows[i].bounds), rows[i].most);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_output),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
