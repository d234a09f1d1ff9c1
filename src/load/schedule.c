#include "load/schedule.h"

#include <math.h>

void schedule_init(struct schedule *schedule, double rate, bool poisson, uint64_t seed)
{
	*schedule = (struct schedule){.rate = rate, .poisson = poisson, .prng = {seed}};
}

uint64_t schedule_next(struct schedule *schedule)
{
	uint64_t number = schedule->count++;
	if (!schedule->poisson)
		return (uint64_t)((double)number * 1e9 / schedule->rate);
	schedule->at_ns -= log(1.0 - prng_unit(&schedule->prng)) * 1e9 / schedule->rate;
	return (uint64_t)schedule->at_ns;
}
