/* How many requests may be under way at once. */
#include "bench/pace.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define SECOND 1000000000ull

static void answers(struct pace *pace, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		pace_answered(pace);
}

static void it_doubles_each_round_up_to_the_most(void **state)
{
	struct pace pace;
	(void)state;
	pace_init(&pace, 40);
	assert_int_equal(pace_allows(&pace), 8);
	answers(&pace, 8);
	assert_int_equal(pace_allows(&pace), 16);
	answers(&pace, 16);
	assert_int_equal(pace_allows(&pace), 32);
	answers(&pace, 32);
	assert_int_equal(pace_allows(&pace), 40);
	pace_init(&pace, 3);
	assert_int_equal(pace_allows(&pace), 3);
}

static void told_once_it_grows_by_one_a_round(void **state)
{
	struct pace pace;
	(void)state;
	pace_init(&pace, 100);
	answers(&pace, 22);
	assert_int_equal(pace_allows(&pace), 30);
	pace_pushed_back(&pace, 10 * SECOND, 0);
	assert_int_equal(pace_allows(&pace), 20);
	answers(&pace, 21);
	assert_int_equal(pace_allows(&pace), 21);
	assert_int_equal(pace.hold_until_ns, 0);
}

static void what_is_told_together_counts_once(void **state)
{
	struct pace pace;
	(void)state;
	pace_init(&pace, 100);
	answers(&pace, 22);
	for (unsigned i = 0; i < 20; i++)
		pace_pushed_back(&pace, 10 * SECOND + i, SECOND);
	assert_int_equal(pace_allows(&pace), 20);
	assert_int_equal(pace.hold_until_ns, 11 * SECOND + 19);
	pace_pushed_back(&pace, 13 * SECOND, 0);
	assert_int_equal(pace_allows(&pace), 13);
	assert_int_equal(pace.hold_until_ns, 11 * SECOND + 19);
	for (unsigned i = 0; i < 50; i++)
		pace_pushed_back(&pace, (20 + 3 * i) * SECOND, 0);
	assert_int_equal(pace_allows(&pace), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_doubles_each_round_up_to_the_most),
		cmocka_unit_test(told_once_it_grows_by_one_a_round),
		cmocka_unit_test(what_is_told_together_counts_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
