/* A load generator for model APIs over HTTP/1.1, plain and streamed, on one loop.
 *
 * Closed loop: a fixed number of requests is always under way, each followed by the next. Open
 * loop: requests start by a schedule that is fixed beforehand, whatever the target does; latency
 * counts from the intended start.
 *
 *     ramp (connections are opened bit by bit) -> warm-up -> measurement -> drain (open loop only)
 *
 * What counts: in a closed loop the requests that end within the measurement, in an open loop those
 * meant to start within it (they may end in the drain); events that arrive within it. */
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include "base/histogram.h"
#include "dialect/dialect.h"
#include "env/env.h"

/* Why a request did not end well. */
/* clang-format off */
#define LOAD_ERROR_TABLE(X) \
	X(CONNECT,   "connect",   "could not connect") \
	X(TIMEOUT,   "timeout",   "no answer, or no further piece of it, in time") \
	X(RESET,     "reset",     "cut off before the end of the answer") \
	X(PROTOCOL,  "protocol",  "the answer was not HTTP") \
	X(STATUS,    "status",    "answered with another status than 200") \
	X(EVENT,     "event",     "an error event in the stream") \
	X(UNENDED,   "unended",   "the stream ended without its last event") \
	X(UNSTARTED, "unstarted", "every connection was busy until the end of the drain") \
	X(LATE,      "late",      "still under way at the end of the drain") \
	X(OTHER,     "other",     "failed otherwise")
/* clang-format on */

enum load_error {
#define X(name, key, text) LOAD_ERROR_##name,
	LOAD_ERROR_TABLE(X)
#undef X
		LOAD_ERROR_COUNT
};

const char *load_error_key(enum load_error error);
const char *load_error_text(enum load_error error);

#define LOAD_STATUS_MAX 600

struct load_options {
	const char *url; /* of the target, without the endpoint's path */
	enum dialect_id dialect;
	const char *path; /* instead of the dialect's; NULL */
	const char *model;
	const char *key;            /* NULL: none is sent */
	const char *const *headers; /* more fields, "name: value" */
	size_t header_count;
	struct bytes bodies; /* lines, sent in turn, instead of a made body; empty */
	struct bytes ca_pem; /* certificates to trust instead of the system's; empty */
	size_t prompt_bytes;
	int64_t max_tokens;
	bool stream;
	unsigned connections; /* most requests under way; in a closed loop all of them always */
	double rate;          /* per second; 0: closed loop */
	bool poisson;
	uint64_t seed;
	uint64_t ramp_ns, warmup_ns, measure_ns;
	uint64_t requests;   /* ends the measurement after so many; 0: by time alone */
	uint64_t timeout_ns; /* for the head of an answer, and between two pieces */
	uint64_t drain_ns;
};

struct load_result {
	uint64_t measured_ns;
	uint64_t ended;  /* requests that ended well */
	uint64_t failed; /* the others */
	uint64_t errors[LOAD_ERROR_COUNT];
	uint64_t statuses[LOAD_STATUS_MAX];
	uint64_t bytes;           /* of bodies */
	uint64_t events;          /* with data */
	uint64_t stamped;         /* of these, with a stamp */
	unsigned open;            /* requests under way at the end of the measurement */
	char sample[600];         /* what the first failure said; "" */
	struct histogram latency; /* to the end of the answer, nanoseconds */
	struct histogram head;    /* to its head */
	struct histogram delay;   /* of stamped events, from their stamp to their arrival */
	struct histogram late;    /* open loop: from the intended start to the real one */
};

enum load_phase { LOAD_RAMP, LOAD_WARMUP, LOAD_MEASURE, LOAD_DRAIN, LOAD_DONE };

struct load;

/* The options are copied, what they point to is not. ERR_INVALID where they make no sense. */
enum err_code load_new(struct env_loop *loop, const struct load_options *options, struct load **out,
		       struct err *err);
/* `phase` is called when a phase begins; LOAD_DONE is the last. */
void load_start(struct load *load, void (*phase)(void *argument, enum load_phase phase),
		void *argument);
/* Ends the measurement now, without a drain. */
void load_stop(struct load *load);
const struct load_result *load_result(const struct load *load);
/* Requests under way are cancelled. */
void load_free(struct load *load);

/* The result as a JSON object, times in nanoseconds. NULL when memory is out. */
json_t *load_report(const struct load_result *result);

#endif
