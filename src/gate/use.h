/* Where the use of requests is divided, so that what is kept of it belongs to a place in each log.
 *
 * Every settled request counts its use in one of two sets of sums (policy/limits_use.h): those
 * whose settle record stands before the place in one, the others in the other. When all records
 * before the place are durable, nobody adds to the first set any more, and the control plane keeps
 * it with the place: after a crash the log is read from there on, however long it is. */
#ifndef GATE_USE_H
#define GATE_USE_H

#include "gate/control.h"

#include <stdatomic.h>

/* The place (63 bits) and the number of the set that counts what lies before it. */
#define GATE_USE_NOWHERE (UINT64_MAX >> 1)

struct gate_use_cut {
	_Atomic uint64_t at[CONTROL_LOGS];
};

static inline void gate_use_cut_at(struct gate_use_cut *cut, enum control_log log, uint64_t place,
				   unsigned live)
{
	atomic_store(&cut->at[log], place << 1 | live);
}

/* The set for the request whose settle record has this index; any thread, after log_take_index and
 * before the record is submitted. */
static inline unsigned gate_use_live(const struct gate_use_cut *cut, enum control_log log,
				     uint64_t index)
{
	uint64_t at = atomic_load(&cut->at[log]);
	unsigned before = (unsigned)(at & 1);
	return index < at >> 1 ? before : !before;
}

#endif
