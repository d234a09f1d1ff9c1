/* A witness (C2SP tlog-witness): POST /add-checkpoint, cosigned after it was checked against what
 * was cosigned before and that was made durable. All on one loop, so that checking and keeping are
 * one step. */
#ifndef WITNESS_WITNESS_H
#define WITNESS_WITNESS_H

#include "witness/config.h"

struct witness;

/* What became of a request; texts are valid during the call. */
struct witness_event {
	int status;
	const char *origin; /* "" where the request is malformed; of a stranger's choosing */
	uint64_t old_size, size;
	const char *reason; /* of a refusal; "" */
};

struct witness_options {
	struct env *env;
	struct env_loop *loop;               /* made with may_block */
	const struct witness_config *config; /* borrowed */
	void (*told)(void *argument, const struct witness_event *event);
	void *argument;
};

/* Opens the state and listens. *bound is where. */
enum err_code witness_open(const struct witness_options *options, struct witness **out,
			   struct env_address *bound, struct err *err);
/* No new requests; `done` on the loop when none is left. */
void witness_stop(struct witness *witness, void (*done)(void *argument), void *argument);
void witness_close(struct witness *witness);

/* The answer to one request body: the status and, appended, the body; *type is its media type. Also
 * for tests. */
int witness_answer(struct witness *witness, struct bytes body, struct buf *out, const char **type);

#endif
