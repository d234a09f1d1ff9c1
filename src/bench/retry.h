/* When asking again can help, and how long to wait before it. Pure. */
#ifndef BENCH_RETRY_H
#define BENCH_RETRY_H

#include "base/bytes.h"
#include "base/err.h"

#define RETRY_ATTEMPTS_MAX 6u   /* requests that failed, for one sample */
#define RETRY_THROTTLES_MAX 60u /* requests answered 429, which do not count as failed */
#define RETRY_BASE_MS 500u
#define RETRY_CEILING_MS 30000u
#define RETRY_WAIT_MAX_MS \
	600000u /* a provider that asks for more ends the model's part of the run */

/* What is known of an attempt that gave no answer. */
struct retry_facts {
	int status;              /* HTTP status, 0: none came */
	enum err_code transport; /* with status 0 */
	int should_retry;        /* x-should-retry: 1 true, 0 false, -1 absent */
	int64_t retry_after_ms;  /* -1: absent */
	struct bytes rule;       /* of a gateway's refusal, else empty */
	struct bytes code;       /* the provider's error code or type, else empty */
};

enum retry_verdict {
	RETRY_NEVER,     /* this sample has failed; others may do better */
	RETRY_LATER,     /* this sample again, after a while */
	RETRY_THROTTLED, /* everything for this model waits, then this sample again */
	RETRY_END, /* nothing more for this model can succeed now: key, grant, money, model name */
};

/* The provider has too much to do (503, 529): fewer at once may help. */
bool retry_is_overload(int status);

enum retry_verdict retry_decide(const struct retry_facts *facts);

/* Milliseconds before attempt number `failures` + 1 (failures >= 1): what the provider asked for,
 * else exponential from RETRY_BASE_MS up to RETRY_CEILING_MS, less up to a quarter by `jitter` in
 * [0, 1). */
uint64_t retry_delay_ms(unsigned failures, int64_t retry_after_ms, double jitter);

/* `retry-after-ms` (milliseconds), else `retry-after` (seconds or an HTTP date, RFC 9110 section
 * 10.2.3), in milliseconds from now; -1 when neither is there or can be read. */
int64_t retry_after_read(struct bytes milliseconds, struct bytes seconds, int64_t wall_ms);

/* "(rule R; clause C; appeal A)" at the end of a gateway's refusal. Parts that are absent are
 * empty; false if there is no rule. They point into `message`. */
struct refusal_parts {
	struct bytes rule, clause, appeal;
};
bool refusal_parts_read(struct bytes message, struct refusal_parts *out);

#endif
