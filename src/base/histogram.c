#include "base/histogram.h"

#include <math.h>

#define STEPS (1u << HISTOGRAM_STEP_BITS)
#define VALUE_MAX (((uint64_t)1 << HISTOGRAM_VALUE_BITS) - 1)

/* Values below 2 * STEPS have a bucket each; above, the highest bit chooses the power of two and
 * the STEP_BITS after it the bucket. */
static unsigned bucket_of(uint64_t value)
{
	if (value < STEPS)
		return (unsigned)value;
	unsigned high = 63 - (unsigned)__builtin_clzll(value);
	unsigned shift = high - HISTOGRAM_STEP_BITS;
	return ((shift + 1) << HISTOGRAM_STEP_BITS) + (unsigned)(value >> shift) - STEPS;
}

/* The largest value that falls into the bucket. */
static uint64_t upper_end(unsigned bucket)
{
	if (bucket < STEPS)
		return bucket;
	unsigned shift = (bucket >> HISTOGRAM_STEP_BITS) - 1;
	uint64_t first = (uint64_t)(STEPS + (bucket & (STEPS - 1))) << shift;
	return first + (((uint64_t)1 << shift) - 1);
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
	histogram->buckets[bucket_of(value < VALUE_MAX ? value : VALUE_MAX)]++;
	histogram->sum += value;
	if (histogram->count == 0 || value < histogram->min)
		histogram->min = value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->count++;
}

void histogram_add(struct histogram *to, const struct histogram *from)
{
	if (from->count == 0)
		return;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
	if (to->count == 0 || from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	to->count += from->count;
	to->sum += from->sum;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
	if (histogram->count == 0)
		return 0;
	uint64_t wanted = (uint64_t)ceil(quantile * (double)histogram->count);
	uint64_t seen = 0;
	if (wanted == 0)
		wanted = 1;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen >= wanted)
			return upper_end(i) < histogram->max ? upper_end(i) : histogram->max;
	}
	return histogram->max;
}

double histogram_mean(const struct histogram *histogram)
{
	return histogram->count ? (double)histogram->sum / (double)histogram->count : 0;
}
