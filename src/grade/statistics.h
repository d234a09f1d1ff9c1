/* Statistics of evaluation: means with clustered errors, proportions, pass@k, paired comparisons.
 * Pure; see Miller, "Adding Error Bars to Evals" (2024), for the choice of methods. */
#ifndef GRADE_STATISTICS_H
#define GRADE_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct interval {
	double low, high;
};

/* Regularised incomplete beta function I_x(a, b); a, b > 0, x in [0, 1]. */
double statistics_beta(double a, double b, double x);
/* The x with I_x(a, b) = p. */
double statistics_beta_quantile(double a, double b, double p);
/* Cumulative distributions and their inverses; p in (0, 1). */
double statistics_normal_cdf(double x);
double statistics_normal_quantile(double p);
double statistics_t_cdf(double x, double freedom);
double statistics_t_quantile(double p, double freedom);

/* 0 for none. Summed without loss (Neumaier), so that the order doesn't show. */
double statistics_mean(const double *values, size_t count);

struct estimate {
	size_t n, clusters;
	double mean, standard_error; /* standard_error is NaN where it can't be known (n < 2) */
	double freedom;              /* degrees of freedom: clusters - 1 */
};

/* Central limit theorem: sqrt(sum (s - mean)^2 / (n - 1) / n). */
struct estimate statistics_estimate(const double *values, size_t count);
/* Clustered: sqrt(sum over clusters (sum (s - mean))^2) / n * sqrt(C / (C - 1)). cluster[i] is any
 * number below `count`; NULL: every value is its own cluster, which is statistics_estimate. False
 * when memory is out. */
bool statistics_clustered(const double *values, const size_t *cluster, size_t count,
			  struct estimate *out);
/* mean +- t(freedom) * standard_error at `confidence` (0.95). NaN where the error is. */
struct interval statistics_interval(const struct estimate *estimate, double confidence);

/* For the mean of values in [0, 1] (values[0] to values[estimate->n - 1]): Wilson's where each
 * value is 0 or 1 and a cluster of its own, and where the standard error is zero or unknown (then
 * of as many as there are clusters); else statistics_interval, cut at 0 and 1. n > 0. */
struct interval statistics_fraction_interval(const struct estimate *estimate, const double *values,
					     double confidence);

/* Of k successes (a fraction is allowed in Wilson's) in n > 0. */
struct interval statistics_wilson(double k, double n, double confidence);
struct interval statistics_clopper_pearson(uint64_t k, uint64_t n, double confidence);

/* 1 - C(n-c, k) / C(n, k) (Chen et al., 2021) and C(c, k) / C(n, k). NaN if n < k or k = 0. */
double statistics_pass_at_k(uint64_t n, uint64_t c, uint64_t k);
double statistics_pass_hat_k(uint64_t n, uint64_t c, uint64_t k);

struct paired {
	struct estimate difference; /* of a - b */
	struct interval interval;   /* 95 % */
	double correlation;         /* NaN where one side is constant */
	double p_value;             /* two-sided t test; NaN where it can't be known */
};
/* a[i] and b[i] belong to the same item (average samples first); cluster as above. */
bool statistics_paired(const double *a, const double *b, const size_t *cluster, size_t count,
		       struct paired *out);

/* Exact two-sided McNemar test from the two discordant counts. */
double statistics_mcnemar(uint64_t only_a, uint64_t only_b);

/* Score interval of the difference of two fractions over the same n items, of which a alone passed
 * only_a and b alone only_b (Tango, Statistics in Medicine 17:891, 1998). Within -1…1; without
 * discordant items Wilson's bound of 0 on both sides, where all are discordant twice Wilson's
 * interval of only_a in n, less one. */
struct interval statistics_tango(uint64_t only_a, uint64_t only_b, uint64_t n, double confidence);

/* Holm's step-down adjustment in place: p[i] becomes its adjusted value. False when memory is out.
 */
bool statistics_holm(double *p, size_t count);

/* Power (Miller, equation 9): items needed to see a true difference `delta` with significance
 * `alpha` (two-sided) and power 1 - beta, and the smallest difference seen with n items. omega2:
 * variance of true per-item differences; sigma2_a, sigma2_b: variance within an item; samples of
 * each. */
struct power {
	double alpha, power, omega2, sigma2_a, sigma2_b, samples_a, samples_b;
};
double statistics_items_needed(const struct power *power, double delta);
double statistics_detectable_difference(const struct power *power, double items);

#endif
