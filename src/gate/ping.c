/* Comments that keep quiet streams open through what lies between (`ping_seconds`, off by default:
 * what is forwarded is what the provider sent). One timer a worker looks over its requests, so that
 * a stream costs no timer of its own. */
#include "gate/gateway.h"
#include "gate/request.h"

/* Looks so many times while a stream may be quiet: a ping is late by a quarter at most. */
#define LOOKS 4

static uint64_t ping_ns(const struct gate_worker *worker)
{
	return gateway_config(worker->gateway)->ping_ns;
}

/* Where memory is out streams go without: nothing else depends on it. */
static void look_later(struct gate_worker *worker)
{
	env_timer_arm(worker->loop, &worker->ping, worker->loop->now_ns + ping_ns(worker) / LOOKS);
}

static void look(struct env_timer *timer)
{
	struct gate_worker *worker =
		(struct gate_worker *)((char *)timer - offsetof(struct gate_worker, ping));
	uint64_t now_ns = worker->loop->now_ns, quiet_ns = ping_ns(worker);
	for (struct gate_request *request = worker->first, *next; request; request = next) {
		next = request->next;
		if (request->answer == ANSWER_STREAM && now_ns - request->passed_ns >= quiet_ns)
			gate_send_ping(request);
	}
	look_later(worker);
}

void gate_pings_start(struct gate_worker *worker)
{
	worker->ping.fire = look;
	if (ping_ns(worker) > 0)
		look_later(worker);
}
