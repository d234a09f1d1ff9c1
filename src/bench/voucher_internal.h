/* What voucher.c (suite and run) and voucher_receipts.c (receipts) share. */
#ifndef BENCH_VOUCHER_INTERNAL_H
#define BENCH_VOUCHER_INTERNAL_H

#include "bench/registration.h"
#include "bench/rest.h"
#include "bench/run.h"

#define FETCHERS 4u

struct receipt {
	char record[RUN_RECORD_ID_MAX + 1];
	uint64_t due_ns, give_up_ns;
	bool optional; /* of the run's registration: not every gateway gives one */
};

struct fetcher {
	struct rest rest; /* first */
	struct run_model *model;
	struct receipt receipt;
};

struct gateway {
	struct rest rest; /* first; preparation and closing, one call at a time */
	struct run_model *model;
	unsigned probes, suite; /* the suite being registered or closed */
	struct registration_purposes purposes;
	bool closing, closed;
	bool following;         /* waits for the model that opens its run */
	struct env_timer timer; /* probe again, or the next receipt is due */
	/* Receipts */
	struct receipt *wanted; /* in the order in which they are due, from `first` */
	size_t first, count, capacity;
	struct fetcher fetchers[FETCHERS];
	size_t got, lost;
	bool refused; /* the key may not ask any more */
};

static inline struct bytes voucher_credential(const struct run_model *model)
{
	return buf_bytes(&model->credential);
}

/* NULL when memory is out. */
struct gateway *voucher_new(struct run_model *model);
/* Ids stand in paths: letters, digits, '-', '_' and '.' only, and not a leading dot. */
bool voucher_is_plain_id(const char *text);

/* No other model of the run is asked the suite at the same gateway with the same key: a request
 * that names no run is this one's. */
bool voucher_is_alone(const struct run_model *model, unsigned suite);
/* voucher_shared.c: who registers the suite and opens and closes the run for this model: itself,
 * but for suites that name judges. */
struct run_model *voucher_leader(const struct run_model *model, unsigned suite);
bool voucher_needs_run(const struct run_model *model, unsigned suite);
/* Takes the leader's run. False: it has none (yet). */
bool voucher_follow(struct run_model *model, unsigned suite);
/* Everything that is asked of the suite has its outcome. */
bool voucher_suite_is_over(struct run *run, unsigned suite);

/* Starts what is due and can be fetched now. */
void voucher_fetch(struct gateway *gateway);
bool voucher_receipts_done(const struct gateway *gateway);

#endif
