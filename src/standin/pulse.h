/* Streams at an exact rate, for load: each stream sends one event every period, the next one due a
 * period after the last was due (not after it was sent), so that a late event delays no other. All
 * streams of a stand-in share the rate, so one timer and a list in order of time serve them. */
#ifndef STANDIN_PULSE_H
#define STANDIN_PULSE_H

#include "base/buf.h"
#include "dialect/dialect.h"
#include "env/env.h"

/* What stands before the 20 digits of CLOCK_MONOTONIC, in nanoseconds, inside a stamped event. */
#define PULSE_STAMP "stamp:"
#define PULSE_STAMP_DIGITS 20

struct pulse_options {
	double per_second;   /* of each stream; 0: no pulses */
	uint64_t events;     /* of each stream */
	unsigned text_bytes; /* of each event's text */
	bool stamp;
};

struct pulse {
	struct pulses *pulses;
	struct pulse *next, *previous;
	uint64_t due_ns, left;
	bool listed;
	struct buf event; /* rendered once; only the stamp changes */
	size_t stamp_at;
};

struct pulses {
	struct env_loop *loop;
	struct env_timer timer;
	struct pulse_options options;
	uint64_t period_ns;
	/* An event is due. May stop its pulse. */
	void (*beat)(struct pulse *pulse);
	struct pulse *first, *last;
};

void pulses_init(struct pulses *pulses, struct env_loop *loop, const struct pulse_options *options,
		 void (*beat)(struct pulse *pulse));
void pulses_stop(struct pulses *pulses);

/* Renders the event that `pulse` repeats and makes its first one due now. False when memory is out.
 * pulse_stop must follow. */
bool pulse_start(struct pulses *pulses, struct pulse *pulse, enum dialect_id dialect,
		 const struct dialect_rendering *rendering);
/* The event with the present time in it; valid until the next call. One is counted off. */
struct bytes pulse_take(struct pulse *pulse);
/* Frees what it holds; a second call does nothing. */
void pulse_stop(struct pulse *pulse);

#endif
