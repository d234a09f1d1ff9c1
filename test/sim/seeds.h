/* Searches over seeds of a simulated world. */
#ifndef TEST_SIM_SEEDS_H
#define TEST_SIM_SEEDS_H

#include <stdint.h>
#include <stdlib.h>

/* A number from the environment, for a longer search: PARLEY_SIM_SEEDS how many seeds,
 * PARLEY_SIM_FIRST the first of them, PARLEY_SIM_REPLAY of how many one runs a second time. */
static inline uint64_t seeds_knob(const char *name, uint64_t usual)
{
	const char *text = getenv(name);
	uint64_t number = text ? strtoull(text, NULL, 10) : 0;
	return number ? number : usual;
}

/* What a node that has died would have freed is lost with it: no leak is looked for in between. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static inline void seeds_lose(void)
{
	if (__lsan_disable)
		__lsan_disable();
}

static inline void seeds_lost(void)
{
	if (__lsan_enable)
		__lsan_enable();
}

#endif
