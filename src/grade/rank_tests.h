/* Tests of whether two samples come from one distribution, whatever its shape: Wilcoxon's of ranks
 * and Kolmogorov and Smirnov's of distributions, two-sided. p-values are those of R 4.2
 * (wilcox.test, ks.test): exact for small samples, else by the limit with correction for ties and
 * continuity. Pure. */
#ifndef GRADE_RANK_TESTS_H
#define GRADE_RANK_TESTS_H

#include <stdbool.h>
#include <stddef.h>

struct rank_test {
	double statistic, p; /* p is 1 where nothing differs or there is nothing to compare */
	bool exact;
};

/* Mann and Whitney's: how often a value of `a` is above one of `b`, ties half. Exact below 50
 * values on each side without ties. False when memory is out. */
bool rank_test_unpaired(const double *a, size_t m, const double *b, size_t n,
			struct rank_test *out);

/* Wilcoxon's signed ranks of a[i] - b[i], differences of zero left out; the statistic is the sum of
 * ranks of positive ones. Exact below 50 pairs without ties and zeros. */
bool rank_test_paired(const double *a, const double *b, size_t count, struct rank_test *out);

/* The largest distance of the two empirical distributions. Exact (ties and all) where m * n is
 * below 10,000. */
bool rank_test_distance(const double *a, size_t m, const double *b, size_t n,
			struct rank_test *out);

/* The median, of an even number the mean of the two in the middle; NaN of none. Sorts `values`. */
double rank_median(double *values, size_t count);

#endif
