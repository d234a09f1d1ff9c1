/* Counters of the data path: one set for each worker, written by that worker alone and read by the
 * admin loop. */
#ifndef GATE_METRICS_H
#define GATE_METRICS_H

#include "base/buf.h"
#include "ledger/record.h"
#include "table/metrics.h"
#include "table/rules.h"

#include <stdatomic.h>

#define METRICS_ENDINGS 16

struct metrics {
#define X(member, name, labels, kind, help) _Atomic int64_t member;
	METRIC_TABLE(X)
#undef X
	_Atomic int64_t refused_by[RULE_COUNT];
	_Atomic int64_t ended_by[METRICS_ENDINGS]; /* enum record_ending */
};

/* By the owning worker only: no other thread writes, so a plain load and store suffice. */
static inline void metrics_add(_Atomic int64_t *cell, int64_t amount)
{
	atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + amount,
			      memory_order_relaxed);
}

/* Adds up the workers' sets and appends them in Prometheus' text format (version 0.0.4). */
void metrics_write(const struct metrics *const *sets, size_t count, struct buf *out);

/* One series that is computed when asked for. */
void metrics_write_value(struct buf *out, const char *name, const char *labels, const char *kind,
			 const char *help, int64_t value);

#endif
