#include "grade/statistics.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#define FRACTION_STEPS 400
#define BISECTION_STEPS 200

/* lgamma writes the global signgam, which threads may not share. */
static double log_gamma(double x)
{
	int sign;

	return lgamma_r(x, &sign);
}

/* ---- distributions ---- */

static double away_from_zero(double x)
{
	return fabs(x) < DBL_MIN / DBL_EPSILON ? DBL_MIN / DBL_EPSILON : x;
}

/* Continued fraction of the incomplete beta function (DLMF 8.17.22) by Lentz's method; converges
 * fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
	double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1)), h = d;

	for (int m = 1; m <= FRACTION_STEPS; m++) {
		double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
		double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));

		d = 1 / away_from_zero(1 + even * d);
		c = away_from_zero(1 + even / c);
		h *= c * d;
		d = 1 / away_from_zero(1 + odd * d);
		c = away_from_zero(1 + odd / c);
		h *= c * d;
		if (fabs(c * d - 1) < 4 * DBL_EPSILON)
			break;
	}
	return h;
}

double statistics_beta(double a, double b, double x)
{
	if (x <= 0)
		return 0;
	if (x >= 1)
		return 1;
	double front =
		exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
	if (x < (a + 1) / (a + b + 2))
		return front * beta_fraction(a, b, x) / a;
	return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/* Bisection until the two ends are neighbours: exact to the last digit or two, and always ends. */
double statistics_beta_quantile(double a, double b, double p)
{
	double low = 0, high = 1;

	for (int i = 0; i < BISECTION_STEPS; i++) {
		double middle = low + (high - low) / 2;

		if (middle <= low || middle >= high)
			break;
		if (statistics_beta(a, b, middle) < p)
			low = middle;
		else
			high = middle;
	}
	return low + (high - low) / 2;
}

double statistics_normal_cdf(double x)
{
	return erfc(-x / M_SQRT2) / 2;
}

double statistics_normal_quantile(double p)
{
	double low = -40, high = 40;

	assert(p > 0 && p < 1);
	for (int i = 0; i < BISECTION_STEPS; i++) {
		double middle = low + (high - low) / 2;

		if (middle <= low || middle >= high)
			break;
		if (statistics_normal_cdf(middle) < p)
			low = middle;
		else
			high = middle;
	}
	return low + (high - low) / 2;
}

double statistics_t_cdf(double x, double freedom)
{
	/* By the tail that is small, so that nothing cancels. */
	double tail = statistics_beta(freedom / 2, 0.5, freedom / (freedom + x * x)) / 2;

	return x > 0 ? 1 - tail : tail;
}

double statistics_t_quantile(double p, double freedom)
{
	assert(p > 0 && p < 1 && freedom > 0);
	if (p > 0.5)
		return -statistics_t_quantile(1 - p, freedom);
	if (p == 0.5)
		return 0;
	double x = statistics_beta_quantile(freedom / 2, 0.5, 2 * p);
	return -sqrt(freedom * (1 - x) / x);
}

/* ---- means ---- */

/* Neumaier's compensated sum. */
struct sum {
	double total, lost;
};

static void sum_add(struct sum *sum, double value)
{
	double total = sum->total + value;

	if (fabs(sum->total) >= fabs(value))
		sum->lost += sum->total - total + value;
	else
		sum->lost += value - total + sum->total;
	sum->total = total;
}

static double sum_value(const struct sum *sum)
{
	return sum->total + sum->lost;
}

double statistics_mean(const double *values, size_t count)
{
	struct sum sum = {0};

	for (size_t i = 0; i < count; i++)
		sum_add(&sum, values[i]);
	return count ? sum_value(&sum) / (double)count : 0;
}

static struct estimate estimate_unknown(double mean, size_t count)
{
	return (struct estimate){.n = count,
				 .clusters = count,
				 .mean = mean,
				 .standard_error = NAN,
				 .freedom = count ? (double)count - 1 : 0};
}

struct estimate statistics_estimate(const double *values, size_t count)
{
	struct estimate estimate = estimate_unknown(statistics_mean(values, count), count);
	struct sum squares = {0};

	if (count < 2)
		return estimate;
	for (size_t i = 0; i < count; i++)
		sum_add(&squares, (values[i] - estimate.mean) * (values[i] - estimate.mean));
	estimate.standard_error = sqrt(sum_value(&squares) / ((double)count - 1) / (double)count);
	return estimate;
}

bool statistics_clustered(const double *values, const size_t *cluster, size_t count,
			  struct estimate *out)
{
	if (!cluster) {
		*out = statistics_estimate(values, count);
		return true;
	}
	struct sum *sums = calloc(count ? count : 1, sizeof(*sums));
	bool *seen = calloc(count ? count : 1, sizeof(*seen));
	struct sum squares = {0};

	if (!sums || !seen) {
		free(sums);
		free(seen);
		return false;
	}
	*out = estimate_unknown(statistics_mean(values, count), count);
	out->clusters = 0;
	for (size_t i = 0; i < count; i++) {
		assert(cluster[i] < count);
		out->clusters += !seen[cluster[i]];
		seen[cluster[i]] = true;
		sum_add(&sums[cluster[i]], values[i] - out->mean);
	}
	for (size_t c = 0; c < count; c++)
		sum_add(&squares, sum_value(&sums[c]) * sum_value(&sums[c]));
	double clusters = (double)out->clusters;
	out->freedom = clusters > 0 ? clusters - 1 : 0;
	if (out->clusters > 1)
		out->standard_error =
			sqrt(sum_value(&squares)) / (double)count * sqrt(clusters / (clusters - 1));
	free(sums);
	free(seen);
	return true;
}

struct interval statistics_interval(const struct estimate *estimate, double confidence)
{
	if (isnan(estimate->standard_error) || estimate->freedom <= 0)
		return (struct interval){NAN, NAN};
	double half = statistics_t_quantile((1 + confidence) / 2, estimate->freedom) *
		      estimate->standard_error;
	return (struct interval){estimate->mean - half, estimate->mean + half};
}

/* ---- proportions ---- */

struct interval statistics_wilson(double k, double n, double confidence)
{
	double z = statistics_normal_quantile((1 + confidence) / 2), p = k / n;
	double centre = p + z * z / (2 * n);
	double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
	double scale = 1 + z * z / n;

	return (struct interval){k <= 0 ? 0 : fmax(0, (centre - half) / scale),
				 k >= n ? 1 : fmin(1, (centre + half) / scale)};
}

static bool all_zero_or_one(const double *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (values[i] != 0 && values[i] != 1)
			return false;
	return true;
}

struct interval statistics_fraction_interval(const struct estimate *estimate, const double *values,
					     double confidence)
{
	double clusters = (double)estimate->clusters;
	bool single = estimate->clusters == estimate->n && all_zero_or_one(values, estimate->n);

	if (single || !(estimate->standard_error > 1e-12))
		return statistics_wilson(estimate->mean * clusters, clusters, confidence);
	struct interval interval = statistics_interval(estimate, confidence);
	return (struct interval){fmax(0, interval.low), fmin(1, interval.high)};
}

struct interval statistics_clopper_pearson(uint64_t k, uint64_t n, double confidence)
{
	double tail = (1 - confidence) / 2, successes = (double)k, failures = (double)(n - k);

	assert(k <= n && n > 0);
	return (struct interval){
		k == 0 ? 0 : statistics_beta_quantile(successes, failures + 1, tail),
		k == n ? 1 : statistics_beta_quantile(successes + 1, failures, 1 - tail)};
}

double statistics_pass_at_k(uint64_t n, uint64_t c, uint64_t k)
{
	double all_fail = 1;

	assert(c <= n);
	if (k == 0 || n < k)
		return NAN;
	if (n - c < k)
		return 1;
	for (uint64_t i = n - c + 1; i <= n; i++)
		all_fail *= 1 - (double)k / (double)i;
	return 1 - all_fail;
}

double statistics_pass_hat_k(uint64_t n, uint64_t c, uint64_t k)
{
	double all_pass = 1;

	assert(c <= n);
	if (k == 0 || n < k)
		return NAN;
	for (uint64_t i = 0; i < k; i++)
		all_pass *= c < i ? 0 : (double)(c - i) / (double)(n - i);
	return all_pass;
}

/* ---- comparisons ---- */

static double correlation(const double *a, const double *b, size_t count)
{
	double mean_a = statistics_mean(a, count), mean_b = statistics_mean(b, count);
	struct sum ab = {0}, aa = {0}, bb = {0};

	for (size_t i = 0; i < count; i++) {
		sum_add(&ab, (a[i] - mean_a) * (b[i] - mean_b));
		sum_add(&aa, (a[i] - mean_a) * (a[i] - mean_a));
		sum_add(&bb, (b[i] - mean_b) * (b[i] - mean_b));
	}
	double scale = sqrt(sum_value(&aa)) * sqrt(sum_value(&bb));
	return scale > 0 ? sum_value(&ab) / scale : NAN;
}

bool statistics_paired(const double *a, const double *b, const size_t *cluster, size_t count,
		       struct paired *out)
{
	double *difference = calloc(count ? count : 1, sizeof(*difference));

	if (!difference)
		return false;
	for (size_t i = 0; i < count; i++)
		difference[i] = a[i] - b[i];
	bool done = statistics_clustered(difference, cluster, count, &out->difference);
	free(difference);
	if (!done)
		return false;
	const struct estimate *estimate = &out->difference;
	out->interval = statistics_interval(estimate, 0.95);
	out->correlation = correlation(a, b, count);
	out->p_value = NAN;
	if (estimate->standard_error > 0 && estimate->freedom > 0)
		out->p_value =
			2 * statistics_t_cdf(-fabs(estimate->mean / estimate->standard_error),
					     estimate->freedom);
	return true;
}

/* P(X <= k) for X binomial(n, 1/2), by the beta function. */
static double binomial_half_cdf(uint64_t k, uint64_t n)
{
	return k >= n ? 1 : statistics_beta((double)(n - k), (double)k + 1, 0.5);
}

double statistics_mcnemar(uint64_t only_a, uint64_t only_b)
{
	uint64_t smaller = only_a < only_b ? only_a : only_b;

	return fmin(1, 2 * binomial_half_cdf(smaller, only_a + only_b));
}

/* How many standard errors lie between what was seen and a difference of `delta`, the error being
 * the one of the likeliest table with that difference. Falls as `delta` grows. */
static double tango_score(double b, double c, double n, double delta)
{
	double linear = -b - c + (2 * n - b + c) * delta;
	double square = linear * linear + 8 * n * c * delta * (1 - delta);
	double only_b = (sqrt(fmax(0, square)) - linear) / (4 * n);
	double variance = n * (2 * only_b + delta * (1 - delta));
	double distance = b - c - n * delta;

	return variance > 0 ? distance / sqrt(variance) : copysign(INFINITY, distance);
}

/* The upper end. Bisection to the last bit: everybody who computes it again finds the same. */
static double tango_high(double b, double c, double n, double z)
{
	double low = (b - c) / n, high = 1;

	if (b >= n)
		return 1;
	for (int i = 0; i < 100; i++) {
		double middle = low + (high - low) / 2;

		if (tango_score(b, c, n, middle) > -z)
			low = middle;
		else
			high = middle;
	}
	return high;
}

struct interval statistics_tango(uint64_t only_a, uint64_t only_b, uint64_t n, double confidence)
{
	double z = statistics_normal_quantile((1 + confidence) / 2);
	double a = (double)only_a, b = (double)only_b;

	assert(n > 0 && only_a + only_b <= n);
	return (struct interval){-tango_high(b, a, (double)n, z), tango_high(a, b, (double)n, z)};
}

struct ranked {
	double p;
	size_t index;
};

static int ranked_compare(const void *a, const void *b)
{
	const struct ranked *left = a, *right = b;

	return (left->p > right->p) - (left->p < right->p);
}

bool statistics_holm(double *p, size_t count)
{
	struct ranked *ranked = malloc((count ? count : 1) * sizeof(*ranked));
	double largest = 0;

	if (!ranked)
		return false;
	for (size_t i = 0; i < count; i++)
		ranked[i] = (struct ranked){p[i], i};
	qsort(ranked, count, sizeof(*ranked), ranked_compare);
	for (size_t i = 0; i < count; i++) {
		largest = fmax(largest, fmin(1, ranked[i].p * (double)(count - i)));
		p[ranked[i].index] = largest;
	}
	free(ranked);
	return true;
}

/* ---- power ---- */

static double power_constant(const struct power *power)
{
	double z = statistics_normal_quantile(1 - power->alpha / 2) +
		   statistics_normal_quantile(power->power);
	double variance = power->omega2 + power->sigma2_a / power->samples_a +
			  power->sigma2_b / power->samples_b;

	return z * z * variance;
}

double statistics_items_needed(const struct power *power, double delta)
{
	return power_constant(power) / (delta * delta);
}

double statistics_detectable_difference(const struct power *power, double items)
{
	return sqrt(power_constant(power) / items);
}
