#include "grade/agreement.h"

#include <assert.h>
#include <math.h>

static double over_chance(double observed, double chance)
{
	return chance < 1 ? (observed - chance) / (1 - chance) : NAN;
}

double agreement_observed(const int *a, const int *b, size_t items)
{
	size_t rated = 0, same = 0;

	for (size_t i = 0; i < items; i++) {
		rated += a[i] >= 0 && b[i] >= 0;
		same += a[i] >= 0 && a[i] == b[i];
	}
	return rated ? (double)same / (double)rated : NAN;
}

double agreement_cohen(const int *a, const int *b, size_t items, unsigned categories)
{
	double by_a[AGREEMENT_CATEGORIES_MAX] = {0}, by_b[AGREEMENT_CATEGORIES_MAX] = {0};
	double rated = 0, same = 0, chance = 0;

	assert(categories <= AGREEMENT_CATEGORIES_MAX);
	for (size_t i = 0; i < items; i++) {
		if (a[i] < 0 || b[i] < 0)
			continue;
		assert((unsigned)a[i] < categories && (unsigned)b[i] < categories);
		by_a[a[i]]++;
		by_b[b[i]]++;
		rated++;
		same += a[i] == b[i];
	}
	for (unsigned c = 0; rated > 0 && c < categories; c++)
		chance += by_a[c] / rated * (by_b[c] / rated);
	return rated > 0 ? over_chance(same / rated, chance) : NAN;
}

/* How often an item was put into each category; returns how often it was rated. */
static size_t count_item(const int *ratings, size_t raters, unsigned categories,
			 double counts[static AGREEMENT_CATEGORIES_MAX])
{
	size_t rated = 0;

	for (unsigned c = 0; c < categories; c++)
		counts[c] = 0;
	for (size_t r = 0; r < raters; r++) {
		if (ratings[r] < 0)
			continue;
		assert((unsigned)ratings[r] < categories);
		counts[ratings[r]]++;
		rated++;
	}
	return rated;
}

double agreement_fleiss(const int *ratings, size_t items, size_t raters, unsigned categories)
{
	double totals[AGREEMENT_CATEGORIES_MAX] = {0}, counts[AGREEMENT_CATEGORIES_MAX];
	double n = (double)raters, agreeing = 0, chance = 0;
	size_t used = 0;

	assert(categories <= AGREEMENT_CATEGORIES_MAX);
	for (size_t i = 0; i < items; i++) {
		if (count_item(&ratings[i * raters], raters, categories, counts) < raters)
			continue;
		for (unsigned c = 0; c < categories; c++) {
			agreeing += counts[c] * (counts[c] - 1);
			totals[c] += counts[c];
		}
		used++;
	}
	if (used == 0 || raters < 2)
		return NAN;
	for (unsigned c = 0; c < categories; c++)
		chance += pow(totals[c] / ((double)used * n), 2);
	return over_chance(agreeing / ((double)used * n * (n - 1)), chance);
}

static double squared_distance(unsigned a, unsigned b, enum agreement_distance distance)
{
	double difference = (double)a - (double)b;

	return distance == AGREEMENT_NOMINAL ? a != b : difference * difference;
}

double agreement_alpha(const int *ratings, size_t items, size_t raters, unsigned categories,
		       enum agreement_distance distance)
{
	double totals[AGREEMENT_CATEGORIES_MAX] = {0}, counts[AGREEMENT_CATEGORIES_MAX];
	double observed = 0, expected = 0, values = 0;

	assert(categories <= AGREEMENT_CATEGORIES_MAX);
	for (size_t i = 0; i < items; i++) {
		size_t rated = count_item(&ratings[i * raters], raters, categories, counts);

		if (rated < 2)
			continue;
		for (unsigned a = 0; a < categories; a++)
			for (unsigned b = 0; b < categories; b++)
				observed += counts[a] * counts[b] *
					    squared_distance(a, b, distance) / ((double)rated - 1);
		for (unsigned c = 0; c < categories; c++)
			totals[c] += counts[c];
		values += (double)rated;
	}
	for (unsigned a = 0; a < categories; a++)
		for (unsigned b = 0; b < categories; b++)
			expected += totals[a] * totals[b] * squared_distance(a, b, distance);
	return expected > 0 ? 1 - (values - 1) * observed / expected : NAN;
}
