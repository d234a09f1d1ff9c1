/* Whether the grader is there: asked once a second on the admin loop, told by /metrics and /readyz.
 * Requests do not rely on it: each sealed one asks for itself before anything goes upstream. */
#ifndef GATE_GRADER_WATCH_H
#define GATE_GRADER_WATCH_H

#include "gate/gateway.h"
#include "net/http_client.h"

struct grader_watch;

enum grader_state {
	GRADER_NOT_ASKED, /* no answer yet since the start */
	GRADER_READY,
	GRADER_BUSY, /* it answers, and its queue is full */
	GRADER_DOWN, /* it does not answer */
};

/* Begins to ask. ERR_NO_MEMORY, or ERR_INVALID for a certificate. Without `grade` in the
 * configuration *out is NULL and nobody is asked. */
enum err_code grader_watch_new(struct gateway *gateway, struct grader_watch **out, struct err *err);
void grader_watch_free(struct grader_watch *watch); /* NULL is fine */

enum grader_state grader_watch_state(const struct grader_watch *watch);
/* How often it was there and then was not. */
int64_t grader_watch_losses(const struct grader_watch *watch);

/* The origin of the grader that `config` names, in a pool of the caller's. */
enum err_code grader_origin(const struct config *config, struct http_pool *pool,
			    struct http_origin **out, struct err *err);

#endif
