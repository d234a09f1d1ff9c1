/* Listening on some addresses and taking connections there, as long as there is a place for them.
 * For http_server.c. */
#ifndef NET_ACCEPTING_H
#define NET_ACCEPTING_H

#include "env/env.h"
#include "net/budget.h"

#define ACCEPTING_ADDRESSES_MAX 8

struct accepting {
	/* Set by the caller. */
	struct env_loop *loop;
	struct net_budget *budget; /* NULL: none */
	void *argument;
	/* Whether one more may come, but for what the budget says. */
	bool (*has_room)(void *argument);
	/* A place of the budget is taken for it: who lets the stream go leaves that. */
	void (*take)(void *argument, struct env_stream *stream, const struct env_address *peer);
	/* Private. */
	struct env_listener *listeners[ACCEPTING_ADDRESSES_MAX];
	unsigned count;
	bool paused;
	struct env_timer place_timer; /* while it is paused */
};

/* At one more address; *bound, if not NULL, is the address with its real port. */
enum err_code accepting_listen(struct accepting *accepting, const struct env_address *address,
			       struct env_address *bound, struct err *err);
/* Takes connections again, since a place was given back. What waits is taken at once. */
void accepting_resume(struct accepting *accepting);
void accepting_close(struct accepting *accepting);

#endif
