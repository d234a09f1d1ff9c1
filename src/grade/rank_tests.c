#include "grade/rank_tests.h"

#include "grade/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_SIDE 50       /* below it ranks are counted out */
#define EXACT_PATHS 10000.0 /* the same of m * n for distances */
#define LIMIT_TERMS 200

struct value {
	double value, rank;
	bool of_a;
};

static int compare_values(const void *left, const void *right)
{
	const struct value *a = left, *b = right;

	return (a->value > b->value) - (a->value < b->value);
}

/* Sorts and ranks, equal values sharing the mean rank; the sum of t^3 - t over ties. */
static double rank_values(struct value *values, size_t count)
{
	double ties = 0;

	qsort(values, count, sizeof(*values), compare_values);
	for (size_t start = 0, end; start < count; start = end) {
		for (end = start + 1; end < count && values[end].value == values[start].value;
		     end++)
			;
		double t = (double)(end - start);
		for (size_t i = start; i < end; i++)
			values[i].rank = ((double)start + (double)end + 1) / 2;
		ties += t * t * t - t;
	}
	return ties;
}

static struct value *join(const double *a, size_t m, const double *b, size_t n)
{
	struct value *values = calloc(m + n + 1, sizeof(*values));

	for (size_t i = 0; values && i < m; i++)
		values[i] = (struct value){.value = a[i], .of_a = true};
	for (size_t i = 0; values && i < n; i++)
		values[m + i] = (struct value){.value = b[i]};
	return values;
}

/* Two-sided, with a continuity correction of one half. */
static double normal_p(double distance, double variance)
{
	double shift = distance > 0 ? 0.5 : distance < 0 ? -0.5 : 0;

	if (!(variance > 0))
		return 1;
	return fmin(1, 2 * statistics_normal_cdf(-fabs((distance - shift) / sqrt(variance))));
}

/* Twice the smaller tail of a distribution given by counts, symmetric about most / 2. */
static double tail_p(const double *counts, size_t most, double statistic)
{
	size_t at = (size_t)(statistic + 0.5), low = at < most - at ? at : most - at;
	double below = 0, all = 0;

	for (size_t i = 0; i <= most; i++) {
		all += counts[i];
		below += i <= low ? counts[i] : 0;
	}
	return fmin(1, 2 * below / all);
}

/* ---- two samples ---- */

/* counts[i * (most + 1) + u]: the ways to pick i of the first j ranks with u pairs above; j goes
 * up. */
static bool exact_unpaired(size_t m, size_t n, double statistic, double *p)
{
	size_t most = m * n, width = most + 1;
	double *counts = calloc((m + 1) * width, sizeof(*counts));

	if (!counts)
		return false;
	counts[0] = 1;
	for (size_t j = 1; j <= m + n; j++)
		for (size_t i = j < m ? j : m; i > 0; i--)
			for (size_t u = most + 1; u-- > j - i;)
				counts[i * width + u] += counts[(i - 1) * width + u - (j - i)];
	*p = tail_p(&counts[m * width], most, statistic);
	free(counts);
	return true;
}

bool rank_test_unpaired(const double *a, size_t m, const double *b, size_t n, struct rank_test *out)
{
	struct value *values = join(a, m, b, n);
	double sum = 0, x = (double)m, y = (double)n, all = x + y;

	*out = (struct rank_test){.p = 1};
	if (!values)
		return false;
	double ties = rank_values(values, m + n);
	for (size_t i = 0; i < m + n; i++)
		sum += values[i].of_a ? values[i].rank : 0;
	free(values);
	if (m == 0 || n == 0)
		return true;
	out->statistic = sum - x * (x + 1) / 2;
	out->exact = m < EXACT_SIDE && n < EXACT_SIDE && ties == 0;
	if (out->exact)
		return exact_unpaired(m, n, out->statistic, &out->p);
	out->p = normal_p(out->statistic - x * y / 2,
			  x * y / 12 * (all + 1 - ties / (all * (all - 1))));
	return true;
}

/* ---- pairs ---- */

static bool exact_paired(size_t count, double statistic, double *p)
{
	size_t most = count * (count + 1) / 2;
	double *counts = calloc(most + 1, sizeof(*counts));

	if (!counts)
		return false;
	counts[0] = 1;
	for (size_t rank = 1; rank <= count; rank++)
		for (size_t sum = most + 1; sum-- > rank;)
			counts[sum] += counts[sum - rank];
	*p = tail_p(counts, most, statistic);
	free(counts);
	return true;
}

bool rank_test_paired(const double *a, const double *b, size_t count, struct rank_test *out)
{
	struct value *values = calloc(count + 1, sizeof(*values));
	size_t kept = 0;

	*out = (struct rank_test){.p = 1};
	if (!values)
		return false;
	for (size_t i = 0; i < count; i++)
		if (a[i] != b[i])
			values[kept++] =
				(struct value){.value = fabs(a[i] - b[i]), .of_a = a[i] > b[i]};
	double ties = rank_values(values, kept), n = (double)kept;
	for (size_t i = 0; i < kept; i++)
		out->statistic += values[i].of_a ? values[i].rank : 0;
	free(values);
	if (kept == 0)
		return true;
	out->exact = kept < EXACT_SIDE && ties == 0 && kept == count;
	if (out->exact)
		return exact_paired(kept, out->statistic, &out->p);
	out->p = normal_p(out->statistic - n * (n + 1) / 4,
			  n * (n + 1) * (2 * n + 1) / 24 - ties / 48);
	return true;
}

/* ---- distance of distributions ---- */

/* The chance that a path of m steps of one side and n of the other comes `distance` apart where a
 * value ends (last[k]: no tie with the next), all orders being as likely. */
static bool exact_distance(const bool *last, size_t m, size_t n, double distance, double *p)
{
	double *reached = calloc(n + 1, sizeof(*reached)), x = (double)m, y = (double)n;
	double bound = (0.5 + floor(distance * x * y - 1e-7)) / (x * y);

	if (!reached)
		return false;
	for (size_t i = 0; i <= m; i++) {
		for (size_t j = 0; j <= n; j++) {
			double all = (double)(i + j);
			if (all == 0)
				continue;
			bool far = fabs((double)i / x - (double)j / y) >= bound && last[i + j - 1];
			double before = i ? (double)i / all * reached[j] : 0;
			reached[j] = far ? 1 : before + (j ? (double)j / all * reached[j - 1] : 0);
		}
	}
	*p = fmin(1, reached[n]);
	free(reached);
	return true;
}

/* P(K >= x) of Kolmogorov's limit. */
static double limit_p(double x)
{
	double sum = 0;

	if (x <= 0)
		return 1;
	if (x < 1) {
		for (int k = 1; k < LIMIT_TERMS; k += 2)
			sum += exp(-k * k * M_PI * M_PI / (8 * x * x));
		return 1 - sqrt(2 * M_PI) / x * sum;
	}
	for (int k = 1; k < LIMIT_TERMS; k++)
		sum += (k % 2 ? 2 : -2) * exp(-2.0 * k * k * x * x);
	return fmin(1, fmax(0, sum));
}

static double find_distance(const struct value *values, size_t m, size_t n, bool *last)
{
	double above_a = 0, above_b = 0, most = 0;

	for (size_t i = 0; i < m + n; i++) {
		above_a += values[i].of_a ? 1 / (double)m : 0;
		above_b += values[i].of_a ? 0 : 1 / (double)n;
		last[i] = i + 1 == m + n || values[i].value != values[i + 1].value;
		if (last[i])
			most = fmax(most, fabs(above_a - above_b));
	}
	return most;
}

bool rank_test_distance(const double *a, size_t m, const double *b, size_t n, struct rank_test *out)
{
	struct value *values = join(a, m, b, n);
	bool *last = calloc(m + n + 1, sizeof(*last));
	bool done = values && last;
	double x = (double)m, y = (double)n;

	*out = (struct rank_test){.p = 1};
	if (done && m > 0 && n > 0) {
		qsort(values, m + n, sizeof(*values), compare_values);
		out->statistic = find_distance(values, m, n, last);
		out->exact = x * y < EXACT_PATHS;
		if (out->exact)
			done = exact_distance(last, m, n, out->statistic, &out->p);
		else
			out->p = limit_p(sqrt(x * y / (x + y)) * out->statistic);
	}
	free(values);
	free(last);
	return done;
}

/* ---- medians ---- */

static int compare_doubles(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

double rank_median(double *values, size_t count)
{
	if (count == 0)
		return NAN;
	qsort(values, count, sizeof(*values), compare_doubles);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}
