/* The most that the provider of one request can have counted. What it tells beyond that is no
 * count: believed, it would lock its grant out for years and stand in the record. The bounds are
 * wide, so that nothing that was made and will be billed falls outside of them. Pure. */
#ifndef POLICY_TOLD_H
#define POLICY_TOLD_H

#include <stdint.h>

/* The window of a model whose configuration states none: the largest on offer. */
#define TOLD_CONTEXT ((int64_t)1 << 21)
/* Tools that the provider runs by itself make it read the conversation again and again. */
#define TOLD_READINGS 8
/* Reasoning, and predictions that were thrown away, are counted beyond what was asked for by some.
 */
#define TOLD_OUTPUTS 2

struct told_bounds {
	int64_t context;    /* tokens, of the model; 0: not stated */
	int64_t max_output; /* tokens, of the model; above 0 */
	int64_t asked;      /* tokens an answer, by the client; 0: nothing was said */
	int64_t answers;    /* 1 to 128 */
};

/* Tokens of input: uncached, read from a cache and written to one together. */
int64_t told_input_max(const struct told_bounds *bounds);
/* Tokens of output, of all answers together. */
int64_t told_output_max(const struct told_bounds *bounds);

#endif
