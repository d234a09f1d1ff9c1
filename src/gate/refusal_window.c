#include "gate/refusal_window.h"

#include "base/prng.h"

#define SECOND_NS 1000000000u

/* /24 of IPv4, /48 of IPv6; everything on Unix sockets is one network. */
static uint64_t network_of(const struct env_peer *peer)
{
	uint64_t network = 0;
	size_t size = peer->family == ENV_IPV4 ? 3 : peer->family == ENV_IPV6 ? 6 : 0;
	for (size_t i = 0; i < size; i++)
		network = network << 8 | peer->ip[i];
	return network << 8 | (uint64_t)peer->family;
}

uint64_t refusal_window_take(struct refusal_window *window, enum rule rule,
			     const struct env_peer *peer, uint64_t now_ns)
{
	struct prng hash = {window->seed ^ network_of(peer) * 64 ^ (uint64_t)rule};
	size_t place = prng_below(&hash, REFUSAL_WINDOW_PLACES);
	uint64_t *last = &window->places[place].second_ns;
	uint64_t *count = &window->places[place].count;
	(*count)++;
	if (*last && now_ns - *last < SECOND_NS)
		return 0;
	uint64_t stands_for = *count;
	*count = 0;
	*last = now_ns;
	return stands_for;
}
