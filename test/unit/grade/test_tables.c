/* Statistics against what R makes of them: r_tables.h, made by tables.R. */
#include "grade/agreement.h"
#include "grade/bradley_terry.h"
#include "grade/length_control.h"
#include "grade/rank_tests.h"
#include "grade/statistics.h"
#include "r_tables.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static void near(double got, double expected, double within)
{
	if (!(fabs(got - expected) <= within * fmax(1, fabs(expected))))
		fail_msg("got %.15g, R has %.15g", got, expected);
}

/* The generator of tables.R. */
static double uniform(uint64_t *state)
{
	*state = *state * 16807 % 2147483647;
	return (double)*state / 2147483647;
}

static void distributions(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(r_quantiles); i++)
		near(statistics_t_quantile(r_quantiles[i][1], r_quantiles[i][0]), r_quantiles[i][2],
		     1e-11);
	for (size_t i = 0; i < ROWS(r_normal); i++)
		near(statistics_normal_quantile(r_normal[i][0]), r_normal[i][1], 1e-11);
	for (size_t i = 0; i < ROWS(r_beta); i++)
		near(statistics_beta(r_beta[i][0], r_beta[i][1], r_beta[i][2]), r_beta[i][3],
		     1e-12);
}

static void paired_differences(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(r_tango); i++) {
		const double *row = r_tango[i];
		uint64_t a = (uint64_t)row[0], b = (uint64_t)row[1], n = (uint64_t)row[2];
		struct interval interval = statistics_tango(a, b, n, 0.95);
		struct interval other = statistics_tango(b, a, n, 0.95);

		near(interval.low, row[3], 1e-9);
		near(interval.high, row[4], 1e-9);
		near(other.low, -interval.high, 0);
		near(other.high, -interval.low, 0);
		assert_true(interval.low >= -1 && interval.high <= 1);
	}
}

static void proportions(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(r_proportions); i++) {
		const double *row = r_proportions[i];
		struct interval exact =
			statistics_clopper_pearson((uint64_t)row[0], (uint64_t)row[1], 0.95);
		struct interval wilson = statistics_wilson(row[0], row[1], 0.95);

		near(exact.low, row[2], 1e-12);
		near(exact.high, row[3], 1e-12);
		near(wilson.low, row[4], 1e-12);
		near(wilson.high, row[5], 1e-12);
	}
	for (size_t i = 0; i < ROWS(r_pass); i++) {
		const double *row = r_pass[i];
		uint64_t n = (uint64_t)row[0], c = (uint64_t)row[1], k = (uint64_t)row[2];

		near(statistics_pass_at_k(n, c, k), row[3], 1e-12);
		near(statistics_pass_hat_k(n, c, k), row[4], 1e-12);
	}
}

static void tests_of_differences(void **state)
{
	double p[ROWS(r_holm)];

	(void)state;
	for (size_t i = 0; i < ROWS(r_mcnemar); i++)
		near(statistics_mcnemar((uint64_t)r_mcnemar[i][0], (uint64_t)r_mcnemar[i][1]),
		     r_mcnemar[i][2], 1e-12);
	for (size_t i = 0; i < ROWS(r_holm); i++)
		p[i] = r_holm[i][0];
	assert_true(statistics_holm(p, ROWS(r_holm)));
	for (size_t i = 0; i < ROWS(r_holm); i++)
		near(p[i], r_holm[i][1], 1e-14);
	for (size_t i = 0; i < ROWS(r_power); i++) {
		struct power power = {.alpha = 0.05,
				      .power = r_power[i][1],
				      .omega2 = 1,
				      .samples_a = 1,
				      .samples_b = 1};

		near(statistics_items_needed(&power, r_power[i][0]), r_power[i][2], 1e-12);
		near(statistics_detectable_difference(&power, r_power[i][2]), r_power[i][0], 1e-12);
	}
}

static void means(void **unused)
{
	uint64_t state = 20261126;
	double a[60], b[60];
	size_t cluster[60];
	struct estimate estimate;
	struct paired paired;

	(void)unused;
	for (int i = 0; i < 60; i++) {
		double u = uniform(&state);
		cluster[i] = (size_t)floor(u * u * 12);
	}
	for (int i = 0; i < 60; i++)
		a[i] = uniform(&state);
	for (int i = 0; i < 60; i++)
		b[i] = 0.6 * a[i] + 0.4 * uniform(&state);
	estimate = statistics_estimate(a, 60);
	struct interval interval = statistics_interval(&estimate, 0.95);
	near(estimate.mean, r_means[0][0], 1e-13);
	near(estimate.standard_error, r_means[0][1], 1e-13);
	near(interval.low, r_means[0][2], 1e-12);
	near(interval.high, r_means[0][3], 1e-12);
	assert_true(statistics_clustered(a, cluster, 60, &estimate));
	interval = statistics_interval(&estimate, 0.95);
	near(estimate.standard_error, r_means[0][4], 1e-13);
	near(interval.low, r_means[0][5], 1e-12);
	near(interval.high, r_means[0][6], 1e-12);
	assert_true((double)estimate.clusters == r_means[0][7]);
	assert_true(statistics_paired(a, b, NULL, 60, &paired));
	near(paired.difference.mean, r_paired[0][0], 1e-13);
	near(paired.interval.low, r_paired[0][1], 1e-12);
	near(paired.interval.high, r_paired[0][2], 1e-12);
	near(paired.p_value, r_paired[0][3], 1e-11);
	near(paired.correlation, r_paired[0][4], 1e-12);
	assert_true(statistics_paired(a, b, cluster, 60, &paired));
	near(paired.difference.standard_error, r_paired[0][5], 1e-13);
	near(paired.p_value, r_paired[0][6], 1e-11);
}

static void agreement(void **unused)
{
	static const double errors[] = {0.2, 0.4, 0.5};
	uint64_t state = 77;
	int truth[40], columns[3][40], rows[120];
	double wrong[40];

	(void)unused;
	for (int i = 0; i < 40; i++)
		truth[i] = (int)(uniform(&state) * 3);
	for (int r = 0; r < 3; r++) {
		for (int i = 0; i < 40; i++)
			wrong[i] = uniform(&state);
		for (int i = 0; i < 40; i++) {
			int other = (int)(uniform(&state) * 3);
			columns[r][i] = wrong[i] < errors[r] ? other : truth[i];
			rows[3 * i + r] = columns[r][i];
		}
	}
	near(agreement_cohen(columns[0], columns[1], 40, 3), r_agreement[0][0], 1e-12);
	near(agreement_cohen(columns[0], columns[2], 40, 3), r_agreement[0][1], 1e-12);
	near(agreement_fleiss(rows, 40, 3, 3), r_agreement[0][2], 1e-12);
	near(agreement_alpha(rows, 40, 3, 3, AGREEMENT_NOMINAL), r_agreement[0][3], 1e-12);
	for (int i = 4; i < 40; i += 5)
		rows[3 * i + 2] = AGREEMENT_NONE;
	near(agreement_alpha(rows, 40, 3, 3, AGREEMENT_NOMINAL), r_agreement[0][4], 1e-12);
	near(agreement_alpha(rows, 40, 3, 3, AGREEMENT_INTERVAL), r_agreement[0][5], 1e-12);
}

/* Raters of whom nothing can be said. */
static void agreement_of_nothing(void **state)
{
	static const int same[] = {1, 1, 1}, none[] = {-1, -1, -1}, other[] = {0, 1, 0};

	(void)state;
	assert_true(isnan(agreement_cohen(same, same, 3, 2)));
	assert_true(isnan(agreement_cohen(same, none, 3, 2)));
	assert_true(isnan(agreement_observed(same, none, 3)));
	assert_true(isnan(agreement_fleiss(none, 1, 3, 2)));
	assert_true(isnan(agreement_alpha(same, 1, 3, 2, AGREEMENT_NOMINAL)));
	near(agreement_observed(same, other, 3), 1.0 / 3, 1e-15);
}

#define COMPARISONS 300

struct games {
	struct comparison rows[COMPARISONS];
	double first[COMPARISONS], score[COMPARISONS], covariate[COMPARISONS];
	size_t prompt[COMPARISONS];
};

static void play(struct games *games)
{
	static const double strength[] = {0, 0.4, 0.9, -0.3};
	uint64_t state = 4242;

	for (int i = 0; i < COMPARISONS; i++)
		games->rows[i].a = (unsigned)(uniform(&state) * 4);
	for (int i = 0; i < COMPARISONS; i++)
		games->rows[i].b = (games->rows[i].a + 1 + (unsigned)(uniform(&state) * 3)) % 4;
	for (int i = 0; i < COMPARISONS; i++) {
		struct comparison *row = &games->rows[i];
		double p = 1 / (1 + exp(strength[row->b] - strength[row->a])), u = uniform(&state);

		games->prompt[i] = row->cluster = (size_t)(i / 5);
		games->score[i] = row->score = u < p - 0.1 ? 1 : u < p + 0.1 ? 0.5 : 0;
	}
	for (int i = 0; i < COMPARISONS; i++)
		games->covariate[i] = tanh(2 * uniform(&state) - 1 + 0.8 * (games->score[i] - 0.5));
}

/* Ours holds the origin by a prior of 1e-4 comparisons, which shows in the seventh digit. */
static void bradley_terry(void **state)
{
	static struct games games;
	struct strength out[4];

	(void)state;
	play(&games);
	assert_int_equal(bradley_terry_fit(games.rows, COMPARISONS, 4, 0, out, NULL), ERR_OK);
	for (int i = 0; i < 3; i++) {
		near(out[i + 1].value, r_bradley_terry[i][0], 1e-5);
		near(out[i + 1].standard_error, r_bradley_terry[i][1], 1e-5);
	}
}

static void length_controlled(void **state)
{
	static struct games games;
	struct length_controlled out;

	(void)state;
	play(&games);
	assert_true(length_control_fit(games.covariate, games.score, games.prompt, COMPARISONS, 0,
				       &out));
	assert_true(out.known);
	near(out.intercept, r_length_controlled[0][0], 1e-9);
	near(out.standard_error, r_length_controlled[0][1], 1e-9);
	near(out.slope, r_length_controlled[0][2], 1e-9);
	near(out.rate, r_length_controlled[0][3], 1e-9);
	/* All won: no rate can be told. Length tells the winner: the ridge keeps it finite. */
	double won[] = {1, 1, 1}, length[] = {10, 20, 30};
	assert_true(length_control(length, won, NULL, 3, LENGTH_CONTROL_RIDGE, &out));
	assert_false(out.known);
	double by_length[] = {0, 1, 0, 1}, difference[] = {-500, 500, -300, 400};
	assert_true(length_control(difference, by_length, NULL, 4, LENGTH_CONTROL_RIDGE, &out));
	assert_true(out.known && fabs(out.rate - 0.5) < 0.1 && out.slope > 0.5);
}

static void quarters(double *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		values[i] = nearbyint(values[i] * 4) / 4;
}

/* Rows: kind (0 Mann-Whitney, 1 Kolmogorov-Smirnov, 2 signed ranks), m, n, ties, statistic, p. */
static void ranks(void **state)
{
	double a[200], b[200];
	(void)state;
	for (size_t i = 0; i < ROWS(r_ranks); i++) {
		const double *row = r_ranks[i];
		size_t m = (size_t)row[1], n = (size_t)row[2];
		uint64_t seed = 4711;
		struct rank_test test;

		for (size_t k = 0; k < m; k++)
			a[k] = uniform(&seed);
		for (size_t k = 0; k < n; k++)
			b[k] = uniform(&seed) + 0.2;
		if (row[3] > 0) {
			quarters(a, m);
			quarters(b, n);
		}
		if (row[0] == 0)
			assert_true(rank_test_unpaired(a, m, b, n, &test));
		else if (row[0] == 1)
			assert_true(rank_test_distance(a, m, b, n, &test));
		else
			assert_true(rank_test_paired(a, b, m, &test));
		near(test.statistic, row[4], 1e-12);
		near(test.p, row[5], test.exact || row[0] != 1 ? 1e-11 : 2e-6);
	}
}

static void ranks_of_nothing(void **state)
{
	double one[] = {1, 1, 1}, other[] = {1, 1, 1};
	struct rank_test test;
	(void)state;
	assert_true(rank_test_unpaired(one, 3, other, 3, &test));
	near(test.p, 1, 0);
	assert_true(rank_test_paired(one, other, 3, &test));
	near(test.p, 1, 0);
	assert_true(rank_test_distance(one, 3, other, 3, &test));
	near(test.p, 1, 0);
	assert_true(rank_test_distance(one, 0, other, 3, &test));
	near(test.p, 1, 0);
	assert_true(isnan(rank_median(one, 0)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(distributions),
		cmocka_unit_test(proportions),
		cmocka_unit_test(paired_differences),
		cmocka_unit_test(tests_of_differences),
		cmocka_unit_test(means),
		cmocka_unit_test(agreement),
		cmocka_unit_test(agreement_of_nothing),
		cmocka_unit_test(bradley_terry),
		cmocka_unit_test(length_controlled),
		cmocka_unit_test(ranks),
		cmocka_unit_test(ranks_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
