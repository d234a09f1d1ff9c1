#include "grade/statistics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void near(double got, double expected, double within)
{
	if (!(fabs(got - expected) <= within))
		fail_msg("got %.12g, expected %.12g", got, expected);
}

/* Published values: binomial intervals as scipy and R give them. */
static void intervals_of_proportions(void **state)
{
	(void)state;
	struct interval w = statistics_wilson(16, 250, 0.95);
	near(w.low, .03977, 5e-6);
	near(w.high, .10142, 5e-6);
	struct interval c = statistics_clopper_pearson(16, 250, 0.95);
	near(c.low, .03702, 5e-6);
	near(c.high, .10185, 5e-6);
	w = statistics_wilson(95, 250, 0.95);
	near(w.low, .32208, 5e-6);
	near(w.high, .44155, 5e-6);
	c = statistics_clopper_pearson(95, 250, 0.95);
	near(c.low, .31958, 5e-6);
	near(c.high, .44331, 5e-6);
	w = statistics_wilson(0, 200, 0.95);
	assert_true(w.low == 0);
	near(w.high, .01885, 5e-6);
	c = statistics_clopper_pearson(0, 200, 0.95);
	assert_true(c.low == 0);
	near(c.high, .01828, 5e-6);
	c = statistics_clopper_pearson(200, 200, 0.95);
	near(c.low, 1 - .01828, 5e-6);
	assert_true(c.high == 1);
}

/* Tables of the normal and t distributions. */
static void quantiles(void **state)
{
	(void)state;
	near(statistics_normal_quantile(0.975), 1.959963984540054, 1e-12);
	near(statistics_normal_quantile(0.5), 0, 1e-12);
	near(statistics_normal_quantile(1e-10), -6.361340902404056, 1e-9);
	near(statistics_t_quantile(0.975, 1), 12.706204736432095, 1e-9);
	near(statistics_t_quantile(0.975, 2), 0.95 * sqrt(2 / 0.0975), 1e-12);
	near(statistics_t_quantile(0.975, 10), 2.228138851986274748, 1e-12);
	near(statistics_t_quantile(0.995, 30), 2.749995653567225332, 1e-12);
	near(statistics_t_quantile(0.975, 1e6), 1.9599663, 1e-6);
	near(statistics_t_quantile(0.05, 5), -2.015048373333, 1e-11);
	near(statistics_t_cdf(2.228138851986274748, 10), 0.975, 1e-12);
	near(statistics_t_cdf(0, 3), 0.5, 1e-15);
	near(statistics_beta(2, 3, 0.5), 0.6875, 1e-14);
	near(statistics_beta(0.5, 0.5, 0.25), 1.0 / 3, 1e-13);
}

static void plain_and_clustered_errors(void **state)
{
	(void)state;
	const double s[] = {1, 0, 1, 1, 0, 1};
	struct estimate e = statistics_estimate(s, 6);
	near(e.mean, 4.0 / 6, 1e-15);
	near(e.standard_error, sqrt((4.0 * 2 / 6) / 5 / 6), 1e-15);
	near(e.freedom, 5, 0);

	/* Three clusters {1,0}, {1,1}, {0,1}: residual sums -1/3, 2/3, -1/3. */
	const size_t cluster[] = {0, 0, 1, 1, 2, 2};
	assert_true(statistics_clustered(s, cluster, 6, &e));
	assert_int_equal(e.clusters, 3);
	near(e.standard_error, sqrt(6.0 / 9) / 6 * sqrt(1.5), 1e-15);
	near(e.freedom, 2, 0);
	struct interval i = statistics_interval(&e, 0.95);
	near(i.high - e.mean, 0.95 * sqrt(2 / 0.0975) * e.standard_error, 1e-12);

	/* One value per cluster is the plain error. */
	const size_t own[] = {5, 4, 3, 2, 1, 0};
	assert_true(statistics_clustered(s, own, 6, &e));
	near(e.standard_error, statistics_estimate(s, 6).standard_error, 1e-15);
}

static void errors_that_cannot_be_known(void **state)
{
	(void)state;
	const double one[] = {1};
	const double two[] = {0, 1};
	const size_t same[] = {0, 0};
	struct estimate e = statistics_estimate(one, 1);

	assert_true(isnan(e.standard_error));
	assert_true(isnan(statistics_interval(&e, 0.95).low));
	assert_true(isnan(statistics_estimate(NULL, 0).standard_error));
	assert_true(statistics_clustered(two, same, 2, &e));
	assert_true(isnan(e.standard_error));
}

static void pass_at_k(void **state)
{
	(void)state;
	near(statistics_pass_at_k(5, 2, 1), 0.4, 1e-15);
	near(statistics_pass_at_k(5, 2, 2), 0.7, 1e-15); /* 1 - C(3,2)/C(5,2) */
	near(statistics_pass_at_k(5, 2, 4), 1, 0);
	near(statistics_pass_at_k(10, 0, 5), 0, 0);
	double all_fail = 1; /* C(193, 100) / C(200, 100) the other way round */
	for (int i = 0; i < 7; i++)
		all_fail *= (100.0 - i) / (200.0 - i);
	near(statistics_pass_at_k(200, 7, 100), 1 - all_fail, 1e-13);
	assert_true(isnan(statistics_pass_at_k(3, 1, 4)));
	near(statistics_pass_hat_k(5, 3, 2), 0.3, 1e-15);
	near(statistics_pass_hat_k(5, 1, 2), 0, 0);
}

static void paired_comparison(void **state)
{
	(void)state;
	const double a[] = {1, 1, 0, 1, 1, 0, 1, 1};
	const double b[] = {1, 0, 0, 1, 0, 0, 1, 0};
	struct paired p;

	assert_true(statistics_paired(a, b, NULL, 8, &p));
	near(p.difference.mean, 0.375, 1e-15);
	/* Var = (sum d^2 - n mean^2) / (n - 1) = (3 - 1.125) / 7 */
	near(p.difference.standard_error, sqrt(1.875 / 7 / 8), 1e-15);
	double sa = statistics_estimate(a, 8).standard_error;
	double sb = statistics_estimate(b, 8).standard_error;
	near(p.difference.standard_error, sqrt(sa * sa + sb * sb - 2 * p.correlation * sa * sb),
	     1e-14);
	near(p.p_value, 0.0796, 1e-4);
	assert_true(statistics_paired(a, a, NULL, 8, &p));
	assert_true(isnan(p.p_value));
}

static void mcnemar_and_holm(void **state)
{
	(void)state;
	near(statistics_mcnemar(10, 2), 0.03857421875, 1e-12); /* 2 * 79 / 4096 */
	near(statistics_mcnemar(3, 3), 1, 0);
	near(statistics_mcnemar(0, 0), 1, 0);
	near(statistics_mcnemar(0, 6), 0.03125, 1e-14);

	double p[] = {0.01, 0.04, 0.03, 0.005};
	assert_true(statistics_holm(p, 4));
	near(p[0], 0.03, 1e-15);
	near(p[1], 0.06, 1e-15);
	near(p[2], 0.06, 1e-15);
	near(p[3], 0.02, 1e-15);
	double large[] = {0.9, 0.8};
	assert_true(statistics_holm(large, 2));
	near(large[0], 1, 0);
	near(large[1], 1, 0);
}

/* Miller (2024), section 5: omega2 = 1/9, sigma2 = 1/6, one sample each, 3 points, 80 %. */
static void power(void **state)
{
	(void)state;
	struct power setting = {.alpha = 0.05,
				.power = 0.8,
				.omega2 = 1.0 / 9,
				.sigma2_a = 1.0 / 6,
				.sigma2_b = 1.0 / 6,
				.samples_a = 1,
				.samples_b = 1};
	double n = statistics_items_needed(&setting, 0.03);
	near(n, 7.848879734 * (4.0 / 9) / 0.0009, 1e-3);
	near(statistics_detectable_difference(&setting, n), 0.03, 1e-12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intervals_of_proportions),
		cmocka_unit_test(quantiles),
		cmocka_unit_test(plain_and_clustered_errors),
		cmocka_unit_test(errors_that_cannot_be_known),
		cmocka_unit_test(pass_at_k),
		cmocka_unit_test(paired_comparison),
		cmocka_unit_test(mcnemar_and_holm),
		cmocka_unit_test(power),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
