/* How many requests may be under way at one model, found out by asking. Pure.
 *
 * The window starts small and grows by one with every answer (it doubles each round: slow start)
 * until the model says for the first time that it has too much; from then on it grows by one for
 * each window's worth of answers and shrinks by a third whenever the model says so again, at most
 * once in PACE_PAUSE_NS: what was under way together says it together. It never exceeds `most`. */
#ifndef BENCH_PACE_H
#define BENCH_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_START 8.0
#define PACE_PAUSE_NS 2000000000u

struct pace {
	double window;
	unsigned most;
	bool careful;           /* it was told once that it was too much */
	uint64_t shrunk_ns;     /* when the window was last made smaller; 0: never */
	uint64_t hold_until_ns; /* nobody is asked before */
};

void pace_init(struct pace *pace, unsigned most);
void pace_answered(struct pace *pace);
/* The model has too much: 429, 503, 529. Nothing is asked for `hold_ns`; 0 where it did not say how
 * long to wait. */
void pace_pushed_back(struct pace *pace, uint64_t now_ns, uint64_t hold_ns);
/* How many may be under way; at least 1. */
unsigned pace_allows(const struct pace *pace);

#endif
