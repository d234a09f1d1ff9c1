/* How long answers are: the percentile from which one that is not streamed is reserved. */
#include "policy/limits.h"

/* Four buckets an octave; exact up to 7. */
static unsigned bucket_of(int64_t output)
{
	uint64_t value = output < 0 ? 0 : (uint64_t)output;
	if (value < 4)
		return (unsigned)value;
	unsigned octave = 63u - (unsigned)__builtin_clzll(value);
	unsigned bucket = 4 * (octave - 1) + (unsigned)(value >> (octave - 2) & 3);
	return bucket < LIMITS_OUTPUT_BUCKETS ? bucket : LIMITS_OUTPUT_BUCKETS - 1;
}

static int64_t bucket_edge(unsigned bucket)
{
	if (bucket < 4)
		return bucket;
	unsigned octave = bucket / 4 + 1;
	return ((int64_t)(5 + bucket % 4) << (octave - 2)) - 1;
}

static void update_percentile(struct limits_cells *cells)
{
	uint32_t counts[LIMITS_OUTPUT_BUCKETS];
	uint64_t total = 0, above = 0;
	for (unsigned i = 0; i < LIMITS_OUTPUT_BUCKETS; i++) {
		counts[i] = atomic_load_explicit(&cells->output_buckets[i], memory_order_relaxed);
		total += counts[i];
	}
	unsigned bucket = LIMITS_OUTPUT_BUCKETS;
	/* The lowest bucket with at most one answer in a hundred above it. */
	while (bucket > 0 && (above + counts[bucket - 1]) * 100 <= total)
		above += counts[--bucket];
	int64_t edge = bucket ? bucket_edge(bucket - 1) : 0;
	atomic_store_explicit(&cells->output_p99, edge > 1 ? edge : 1, memory_order_relaxed);
}

#define OUTPUTS_MAX 65536u

/* Old answers fade: when there are enough, every bucket is halved, by the one thread that counted
 * the last. */
static void fade(struct limits_cells *cells)
{
	for (unsigned i = 0; i < LIMITS_OUTPUT_BUCKETS; i++) {
		uint32_t count =
			atomic_load_explicit(&cells->output_buckets[i], memory_order_relaxed);
		atomic_fetch_sub_explicit(&cells->output_buckets[i], count / 2,
					  memory_order_relaxed);
	}
	atomic_fetch_sub_explicit(&cells->outputs, OUTPUTS_MAX / 2, memory_order_relaxed);
}

void limits_observe_output(struct limits_cells *cells, int64_t output)
{
	atomic_fetch_add_explicit(&cells->output_buckets[bucket_of(output)], 1,
				  memory_order_relaxed);
	uint32_t count = atomic_fetch_add_explicit(&cells->outputs, 1, memory_order_relaxed) + 1;
	if (count == OUTPUTS_MAX)
		fade(cells);
	if (count < 64 || count % 16 == 0)
		update_percentile(cells);
}

int64_t limits_expected_output(const struct limits_cells *cells, int64_t most)
{
	int64_t p99 = atomic_load_explicit(&cells->output_p99, memory_order_relaxed);
	return p99 > 0 && 2 * p99 < most ? 2 * p99 : most;
}

uint32_t limits_outputs_in(const struct limits_cells *cells, unsigned bucket)
{
	return atomic_load_explicit(&cells->output_buckets[bucket], memory_order_relaxed);
}

void limits_restore_outputs(struct limits_cells *cells, unsigned bucket, uint32_t count)
{
	uint32_t room = OUTPUTS_MAX - 1 - atomic_load(&cells->outputs);
	if (bucket >= LIMITS_OUTPUT_BUCKETS)
		return;
	count = count < room ? count : room;
	atomic_fetch_add(&cells->output_buckets[bucket], count);
	atomic_fetch_add(&cells->outputs, count);
	update_percentile(cells);
}
