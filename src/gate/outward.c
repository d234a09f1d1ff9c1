#include "gate/outward.h"

#include "proto/tls.h"

#define SECOND_NS UINT64_C(1000000000)
#define CONNECT_NS (15 * SECOND_NS)
#define CALLS_MAX 512
#define CONNECTIONS_MAX 8

static struct http_pool *new_pool(struct control *control)
{
	struct buf authorities = BUF_INIT((size_t)16 << 20);
	struct err ignored = ERR_INIT;
	/* Without authorities no certificate is good: the call that needs one will say so. */
	env_read_file(control->env, TLS_SYSTEM_AUTHORITIES, &authorities, &ignored);
	struct http_pool_options options = {.connections_max = CONNECTIONS_MAX,
					    .idle_max = 1,
					    .idle_timeout_ns = SECOND_NS,
					    .connect_timeout_ns = CONNECT_NS,
					    .ca_pem = buf_bytes(&authorities),
					    .https_proxy = control->config->https_proxy,
					    .no_proxy = control->config->no_proxy};
	struct http_pool *pool = http_pool_new(control->loop, &options);
	buf_release(&authorities);
	return pool;
}

enum err_code outward_origin(struct outward *outward, struct control *control, struct bytes url,
			     struct bytes authorities, struct http_origin **out, struct err *err)
{
	struct http_origin_options own = {.ca_pem = authorities};
	if (!outward->pool)
		outward->pool = new_pool(control);
	if (!outward->pool)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory for a call");
	outward->calls++;
	return http_pool_origin_with(outward->pool, url, &own, out, err);
}

bool outward_ready(struct outward *outward, unsigned active)
{
	if (outward->calls < CALLS_MAX)
		return true;
	if (active > 0)
		return false;
	outward_release(outward);
	return true;
}

void outward_release(struct outward *outward)
{
	http_pool_free(outward->pool);
	*outward = (struct outward){0};
}

uint64_t outward_backoff(uint64_t first_ns, unsigned failures, uint64_t most_ns)
{
	uint64_t pause = first_ns;
	for (unsigned i = 0; i < failures && pause < most_ns; i++)
		pause *= 2;
	return failures && pause > most_ns ? most_ns : pause;
}

uint64_t outward_spread(struct env *env, uint64_t pause_ns)
{
	uint32_t chance;
	env_random(env, &chance, sizeof(chance));
	return pause_ns / 4 * 3 + pause_ns / 2 / 1024 * (chance % 1024);
}
