#include "base/histogram.h"
#include "base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct histogram *fresh(void)
{
	struct histogram *histogram = calloc(1, sizeof(*histogram));
	assert_non_null(histogram);
	return histogram;
}

static void test_empty(void **state)
{
	struct histogram *histogram = fresh();
	(void)state;
	assert_int_equal(histogram_quantile(histogram, 0.99), 0);
	assert_true(histogram_mean(histogram) == 0);
	free(histogram);
}

static void test_small_values_are_exact(void **state)
{
	struct histogram *histogram = fresh();
	(void)state;
	for (uint64_t value = 1; value <= 200; value++)
		histogram_record(histogram, value);
	assert_int_equal(histogram_quantile(histogram, 0), 1);
	assert_int_equal(histogram_quantile(histogram, 0.5), 100);
	assert_int_equal(histogram_quantile(histogram, 0.99), 198);
	assert_int_equal(histogram_quantile(histogram, 1), 200);
	assert_true(histogram_mean(histogram) == 100.5);
	free(histogram);
}

/* Every value comes back at most 1/128 too high and never too low. */
static void test_relative_error(void **state)
{
	struct prng prng = {7};
	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct histogram *histogram = fresh();
		uint64_t value = prng_next(&prng) >> (16 + prng_below(&prng, 48));
		histogram_record(histogram, value);
		histogram_record(histogram, UINT64_MAX); /* so that the maximum does not help */
		uint64_t got = histogram_quantile(histogram, 0.5);
		assert_true(got >= value);
		assert_true(got - value <= value / 128);
		free(histogram);
	}
}

static int ascending(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return left < right ? -1 : left > right;
}

static void test_quantiles_agree_with_sorting(void **state)
{
	enum { COUNT = 10000 };
	static const double quantiles[] = {0.01, 0.5, 0.9, 0.99, 0.999, 1};
	struct histogram *histogram = fresh(), *half[2] = {fresh(), fresh()};
	uint64_t *values = calloc(COUNT, sizeof(*values));
	struct prng prng = {3};
	(void)state;
	for (int i = 0; i < COUNT; i++) {
		values[i] = prng_below(&prng, 1000) * prng_below(&prng, 100000);
		histogram_record(half[i % 2], values[i]);
	}
	histogram_add(histogram, half[0]);
	histogram_add(histogram, half[1]);
	qsort(values, COUNT, sizeof(*values), ascending);
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
		uint64_t exact = values[(size_t)(quantiles[i] * COUNT) - 1];
		uint64_t got = histogram_quantile(histogram, quantiles[i]);
		assert_true(got >= exact && got <= exact + exact / 128);
	}
	assert_int_equal(histogram->count, COUNT);
	assert_int_equal(histogram->min, values[0]);
	assert_int_equal(histogram->max, values[COUNT - 1]);
	free(values);
	free(histogram);
	free(half[0]);
	free(half[1]);
}

static void test_values_beyond_the_range(void **state)
{
	struct histogram *histogram = fresh();
	(void)state;
	histogram_record(histogram, UINT64_MAX);
	assert_int_equal(histogram->max, UINT64_MAX);
	assert_int_equal(histogram_quantile(histogram, 1),
			 ((uint64_t)1 << HISTOGRAM_VALUE_BITS) - 1);
	free(histogram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_small_values_are_exact),
		cmocka_unit_test(test_relative_error),
		cmocka_unit_test(test_quantiles_agree_with_sorting),
		cmocka_unit_test(test_values_beyond_the_range),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
