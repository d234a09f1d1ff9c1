/* When a loop calls its `idle`, on the machine and in the simulated world alike. */
#ifndef ENV_ENV_IDLE_H
#define ENV_ENV_IDLE_H

#include "env/env.h"

/* Nothing is ready: whoever wants it hears of it. */
static inline void env_idle_call(struct env_loop *loop)
{
	loop->idle_late_ns = 0;
	if (!loop->idle_wanted)
		return;
	loop->idle_wanted = false;
	loop->idle(loop->idle_argument);
}

/* Something may be ready in every turn, of those who do not care for what waits: bodies that
 * arrive, handshakes. */
static inline void env_idle_call_if_late(struct env_loop *loop)
{
	if (!loop->idle_wanted)
		loop->idle_late_ns = 0;
	else if (loop->idle_late_ns == 0)
		loop->idle_late_ns = loop->now_ns + ENV_IDLE_LATE_NS;
	else if (loop->now_ns >= loop->idle_late_ns)
		env_idle_call(loop);
}

#endif
