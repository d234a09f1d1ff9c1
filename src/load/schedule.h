/* When the requests of an open loop are meant to start: fixed beforehand by rate, kind and seed, so
 * that nothing the target does can put a request off. Latency is measured from these times, which
 * leaves no room for coordinated omission (G. Tene, "How NOT to measure latency"). */
#ifndef LOAD_SCHEDULE_H
#define LOAD_SCHEDULE_H

#include "base/prng.h"

#include <stdbool.h>

struct schedule {
	double rate;  /* per second, above 0 */
	bool poisson; /* independent arrivals; else evenly spaced */
	struct prng prng;
	uint64_t count; /* given so far */
	double at_ns;   /* of the last one of a Poisson schedule */
};

void schedule_init(struct schedule *schedule, double rate, bool poisson, uint64_t seed);
/* The next start, in nanoseconds from the beginning; never before the one before it. */
uint64_t schedule_next(struct schedule *schedule);

#endif
