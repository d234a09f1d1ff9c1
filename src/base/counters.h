/* Counters, and tallies of values in a few wide buckets, that one thread writes and any thread
 * reads: plain relaxed loads and stores, no lock, no allocation. Pure. */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* By the owning thread only. */
static inline void counter_add(_Atomic int64_t *cell, int64_t amount)
{
	atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + amount,
			      memory_order_relaxed);
}

static inline int64_t counter_read(const _Atomic int64_t *cell)
{
	return atomic_load_explicit(cell, memory_order_relaxed);
}

#define TALLY_BUCKETS_MAX 24

/* Upper bounds of the buckets: first, first << shift, first << 2 * shift, … `count` of them (up to
 * TALLY_BUCKETS_MAX); above the last one stands one bucket more. Values are integers; one of
 * them is `unit` of what is shown (1e-6: microseconds, shown as seconds). */
struct tally_scale {
	int64_t first;
	unsigned shift, count;
	double unit;
};

struct tally {
	_Atomic int64_t buckets[TALLY_BUCKETS_MAX + 1];
	_Atomic int64_t sum;
};

/* The bucket of a value: the first whose upper bound is not below it; `count` above all. */
static inline unsigned tally_place(const struct tally_scale *scale, int64_t value)
{
	if (value <= scale->first)
		return 0;
	unsigned bits =
		64u - (unsigned)__builtin_clzll((uint64_t)(value - 1) / (uint64_t)scale->first);
	unsigned place = (bits + scale->shift - 1) / scale->shift;
	return place < scale->count ? place : scale->count;
}

/* By the owning thread only. */
static inline void tally_add(struct tally *tally, const struct tally_scale *scale, int64_t value)
{
	counter_add(&tally->buckets[tally_place(scale, value)], 1);
	counter_add(&tally->sum, value);
}

/* Several tallies of one scale, added up by a reader. */
struct tally_total {
	int64_t buckets[TALLY_BUCKETS_MAX + 1];
	int64_t sum, count;
};

static inline void tally_total_add(struct tally_total *total, const struct tally *tally)
{
	for (unsigned i = 0; i <= TALLY_BUCKETS_MAX; i++) {
		int64_t bucket = counter_read(&tally->buckets[i]);
		total->buckets[i] += bucket;
		total->count += bucket;
	}
	total->sum += counter_read(&tally->sum);
}

#endif
