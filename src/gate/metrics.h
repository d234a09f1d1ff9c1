/* Counters of the data path: one set for each worker, written by that worker alone and read by the
 * admin loop. */
#ifndef GATE_METRICS_H
#define GATE_METRICS_H

#include "base/buf.h"
#include "base/counters.h"
#include "dialect/dialect.h"
#include "ledger/record.h"
#include "table/metrics.h"
#include "table/rules.h"

#define METRICS_ENDINGS 16
/* Providers, and models, that have series of their own; what comes later is counted as "_other". */
#define METRICS_NAMES_MAX 128

enum upstream_error {
#define X(name, text) UPSTREAM_ERROR_##name,
	UPSTREAM_ERROR_TABLE(X)
#undef X
		UPSTREAM_ERROR_COUNT
};

enum metric_scale {
#define X(name, first, shift, count, unit) METRIC_SCALE_##name,
	METRIC_SCALE_TABLE(X)
#undef X
		METRIC_SCALE_COUNT
};
extern const struct tally_scale metric_scales[METRIC_SCALE_COUNT];

struct metrics_model {
	struct tally duration, input, output;
};

struct metrics {
#define X(member, name, labels, kind, help) _Atomic int64_t member;
	METRIC_TABLE(X)
#undef X
#define X(member, name, scale, help) struct tally member;
	METRIC_HISTOGRAM_TABLE(X)
#undef X
	_Atomic int64_t refused_by[RULE_COUNT];
	_Atomic int64_t observed_by[RULE_COUNT];   /* would have been refused, in mode observe */
	_Atomic int64_t ended_by[METRICS_ENDINGS]; /* enum record_ending */
	/* By place in metrics_names; the last is for all that have none. */
	_Atomic int64_t upstream_errors[METRICS_NAMES_MAX + 1][UPSTREAM_ERROR_COUNT];
	struct metrics_model models[METRICS_NAMES_MAX + 1];
};

/* By the owning worker only: no other thread writes, so a plain load and store suffice. */
static inline void metrics_add(_Atomic int64_t *cell, int64_t amount)
{
	counter_add(cell, amount);
}

/* ---- label values from the configuration ---- */

/* Names never go away, so that a series keeps its place. Added to by one thread, looked up by any.
 */
struct metrics_names {
	_Atomic unsigned count;
	struct metrics_name {
		uint32_t hash;
		_Atomic int dialect; /* enum dialect_id, of a model's provider */
		char text[132];
	} rows[METRICS_NAMES_MAX];
};

/* Adds it, or only notes its dialect where it is there. Without room nothing happens. */
void metrics_names_add(struct metrics_names *names, const char *name, enum dialect_id dialect);
/* METRICS_NAMES_MAX where there is none. */
unsigned metrics_names_find(const struct metrics_names *names, const char *name);

/* "openai", "gcp.gemini": gen_ai.provider.name of OpenTelemetry's conventions. */
const char *metrics_otel_provider(enum dialect_id dialect);

/* ---- /metrics ---- */

struct metrics_view {
	const struct metrics *const *sets; /* of the workers */
	size_t count;
	const struct metrics_names *providers, *models;
};

/* Adds up the workers' sets and appends them in Prometheus' text format (version 0.0.4). */
void metrics_write(const struct metrics_view *view, struct buf *out);

/* HELP and TYPE of a name whose samples follow. */
void metrics_write_header(struct buf *out, const char *name, const char *kind, const char *help);
void metrics_write_sample(struct buf *out, const char *name, const char *labels, int64_t value);
/* The same for a value with decimals. */
void metrics_write_number(struct buf *out, const char *name, const char *labels, double value);
/* Buckets, sum and count of one histogram. `labels` may be "". */
void metrics_write_histogram(struct buf *out, const char *name, const char *labels,
			     const struct tally_total *total, const struct tally_scale *scale);

#endif
