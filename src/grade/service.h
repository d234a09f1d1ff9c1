/* The grading service: `parley grade` behind a Unix socket or a TCP port, with the harness's own
 * scorers. A gateway that releases verdicts only (V0) asks it, so that no program under test ever
 * runs beside a gateway's keys.
 *
 *     GET  /ready   200 while there is room for one more, else 503
 *     POST /grade   {"answer": TEXT, "scorer": {kind, …}} -> {"refused", "score", "time_limited"}
 *
 * An answer that cannot be graded is 422 with {"error"}; a full queue is 503. What is sent is
 * graded and forgotten: nothing is written anywhere. */
#ifndef GRADE_SERVICE_H
#define GRADE_SERVICE_H

#include "base/err.h"
#include "env/env.h"

#define GRADE_SERVICE_BODY_MAX ((size_t)72 << 20)

struct grade_service;
struct tls_context;

struct grade_service_options {
	struct env_loop *loop;
	/* Gradings that run or wait at once; further ones are refused. */
	unsigned queue_max;
	unsigned connections_max;
};

/* NULL when memory is out. The options are copied. */
struct grade_service *grade_service_new(const struct grade_service_options *options);
enum err_code grade_service_listen(struct grade_service *service, const struct env_address *address,
				   struct env_address *bound, struct err *err);
/* What is being graded is finished; then `done` is called on the loop. */
void grade_service_stop(struct grade_service *service, void (*done)(void *argument),
			void *argument);
/* Before it listens: TLS by this context. */
void grade_service_set_tls(struct grade_service *service, struct tls_context *context);
void grade_service_free(struct grade_service *service);

struct grade_service_counts {
	uint64_t graded, failed, turned_away;
};
struct grade_service_counts grade_service_counts(const struct grade_service *service);

/* What the service answered, read by its client: ERR_INVALID where it is no score. */
struct score;
enum err_code grade_reply_read(struct bytes body, struct score *score, struct err *err);
/* The body of a request, appended. `scorer` is RFC 8785 text. */
void grade_ask_write(struct bytes scorer, struct bytes answer, struct buf *out);

#endif
