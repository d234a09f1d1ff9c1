#include "net/accepting.h"

#define PER_TURN 64
/* Who has no place looks again after this time: another server may have given some back. */
#define PLACE_RETRY_NS 50000000u

static void look_for_place(struct env_timer *timer)
{
	struct accepting *accepting =
		(struct accepting *)((char *)timer - offsetof(struct accepting, place_timer));
	if (accepting->paused && accepting->has_room(accepting->argument))
		accepting_resume(accepting);
}

static void pause_all(struct accepting *accepting, bool paused)
{
	accepting->paused = paused;
	for (unsigned i = 0; i < accepting->count; i++)
		env_listener_pause(accepting->loop, accepting->listeners[i], paused);
}

static void pause_accepting(struct accepting *accepting)
{
	struct env_loop *loop = accepting->loop;
	accepting->place_timer.fire = look_for_place;
	env_timer_arm(loop, &accepting->place_timer, loop->now_ns + PLACE_RETRY_NS);
	if (accepting->paused)
		return;
	if (accepting->budget)
		atomic_fetch_add_explicit(&accepting->budget->pauses, 1, memory_order_relaxed);
	pause_all(accepting, true);
}

void accepting_resume(struct accepting *accepting)
{
	if (accepting->paused)
		pause_all(accepting, false);
}

static void accept_ready(struct env_listener *listener, void *argument)
{
	struct accepting *accepting = argument;
	for (int i = 0; i < PER_TURN; i++) {
		struct env_address peer;
		if (!accepting->has_room(accepting->argument) ||
		    !net_budget_enter(accepting->budget)) {
			pause_accepting(accepting);
			return;
		}
		struct env_stream *stream = env_accept(accepting->loop, listener, &peer);
		if (!stream) {
			net_budget_leave(accepting->budget);
			return;
		}
		accepting->take(accepting->argument, stream, &peer);
	}
}

enum err_code accepting_listen(struct accepting *accepting, const struct env_address *address,
			       struct env_address *bound, struct err *err)
{
	if (accepting->count == ACCEPTING_ADDRESSES_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "more than %d addresses to listen on",
			       ACCEPTING_ADDRESSES_MAX);
	struct env_listener **slot = &accepting->listeners[accepting->count];
	ERR_TRY(env_listen(accepting->loop, address, accept_ready, accepting, slot, err));
	if (bound)
		env_listener_address(accepting->loop, *slot, bound);
	accepting->count++;
	return ERR_OK;
}

void accepting_close(struct accepting *accepting)
{
	env_timer_disarm(accepting->loop, &accepting->place_timer);
	for (unsigned i = 0; i < accepting->count; i++)
		env_listener_close(accepting->loop, accepting->listeners[i]);
	accepting->count = 0;
}
