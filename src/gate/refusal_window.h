/* Refusals before authentication make at most one record a second for each rule and source network
 * (DESIGN.md section 6): a stranger can cause any number of them. A fixed table; networks that
 * share a place share the count. One worker uses it. */
#ifndef GATE_REFUSAL_WINDOW_H
#define GATE_REFUSAL_WINDOW_H

#include "env/address.h"
#include "policy/world.h"

#define REFUSAL_WINDOW_PLACES 1024

struct refusal_window {
	struct {
		uint64_t second_ns; /* when the last record was made */
		uint64_t count;     /* refusals since that no record stands for */
	} places[REFUSAL_WINDOW_PLACES];
	uint64_t seed; /* so that a stranger cannot choose the place */
};

/* One more refusal. 0: no record now. Else the number of refusals that the record to be made now
 * stands for, this one included. */
uint64_t refusal_window_take(struct refusal_window *window, enum rule rule,
			     const struct env_peer *peer, uint64_t now_ns);

#endif
