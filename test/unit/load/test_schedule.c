#include "load/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void even_starts_do_not_drift(void **state)
{
	struct schedule schedule;
	(void)state;
	schedule_init(&schedule, 3, false, 1);
	for (uint64_t i = 0; i < 300000; i++) {
		uint64_t at = schedule_next(&schedule);
		double exact = (double)i * 1e9 / 3;
		assert_true(fabs((double)at - exact) <= 1);
	}
}

/* Gaps of a Poisson process are exponential: mean 1/R, and as large a deviation. */
static void poisson_gaps_are_exponential(void **state)
{
	enum { COUNT = 200000 };
	struct schedule schedule;
	double sum = 0, squares = 0;
	uint64_t before = 0;
	(void)state;
	schedule_init(&schedule, 1000, true, 7);
	for (int i = 0; i < COUNT; i++) {
		uint64_t at = schedule_next(&schedule);
		assert_true(at >= before);
		double gap = (double)(at - before) / 1e6; /* ms */
		sum += gap;
		squares += gap * gap;
		before = at;
	}
	double mean = sum / COUNT;
	double deviation = sqrt(squares / COUNT - mean * mean);
	assert_true(mean > 0.99 && mean < 1.01);
	assert_true(deviation > 0.98 && deviation < 1.02);
}

static void a_seed_gives_one_schedule(void **state)
{
	struct schedule one, again, other;
	int same = 0;
	(void)state;
	schedule_init(&one, 50, true, 1);
	schedule_init(&again, 50, true, 1);
	schedule_init(&other, 50, true, 2);
	for (int i = 0; i < 100; i++) {
		uint64_t at = schedule_next(&one);
		assert_int_equal(at, schedule_next(&again));
		same += at == schedule_next(&other);
	}
	assert_true(same < 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(even_starts_do_not_drift),
		cmocka_unit_test(poisson_gaps_are_exponential),
		cmocka_unit_test(a_seed_gives_one_schedule),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
