/* How far raters agree beyond chance: judges with each other, and with people. Pure.
 *
 * Ratings are categories 0 to `categories` - 1, AGREEMENT_NONE where a rater gave none. All are NaN
 * where nothing can be said: no item with two ratings, or all ratings the same (chance is 1). */
#ifndef GRADE_AGREEMENT_H
#define GRADE_AGREEMENT_H

#include <stddef.h>

#define AGREEMENT_NONE (-1)
#define AGREEMENT_CATEGORIES_MAX 16u

/* Share of the items that both rated in which they said the same. */
double agreement_observed(const int *a, const int *b, size_t items);
/* Cohen (1960), over the items that both rated. */
double agreement_cohen(const int *a, const int *b, size_t items, unsigned categories);
/* Fleiss (1971), over the items that all rated; ratings[item * raters + rater]. */
double agreement_fleiss(const int *ratings, size_t items, size_t raters, unsigned categories);

enum agreement_distance { AGREEMENT_NOMINAL, AGREEMENT_INTERVAL };
/* Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", from coincidences; items with
 * one rating say nothing. */
double agreement_alpha(const int *ratings, size_t items, size_t raters, unsigned categories,
		       enum agreement_distance distance);

#endif
