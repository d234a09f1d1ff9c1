/* A histogram of times with a bounded relative error, after the idea of HdrHistogram (log-linear
 * buckets): 128 steps in each power of two, so that a value read back is at most 0.8 % above the
 * one recorded, and recording costs one increment. About 42 KB, whatever is recorded. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 7
#define HISTOGRAM_VALUE_BITS 48 /* larger values count as the largest of these */
#define HISTOGRAM_BUCKETS ((HISTOGRAM_VALUE_BITS - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS)

/* All zero is an empty one. */
struct histogram {
	uint64_t buckets[HISTOGRAM_BUCKETS];
	uint64_t count;
	uint64_t sum;      /* of the values as given */
	uint64_t min, max; /* exact; 0 in an empty one */
};

void histogram_record(struct histogram *histogram, uint64_t value);
void histogram_add(struct histogram *to, const struct histogram *from);
/* The smallest bucket's upper end below or at which a share of at least `quantile` (0 to 1) of the
 * values lies, never above the exact maximum; 0 for an empty one. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);
/* 0 for an empty one. */
double histogram_mean(const struct histogram *histogram);

#endif
