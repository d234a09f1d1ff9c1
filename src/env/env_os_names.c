/* Names of the machine, by c-ares: /etc/hosts and the name servers of /etc/resolv.conf, in the
 * order of /etc/nsswitch.conf, with the time to live that getaddrinfo would not tell.
 *
 * Each lookup is a job with a channel of its own, which waits with poll: nothing is shared between
 * threads, a change of resolv.conf is seen by the next lookup, and the loops know nothing of it. */
#include "env/env_os_internal.h"
#include "env/lookup.h"

#include <ares.h>
#include <netinet/in.h>
#include <poll.h>
#include <time.h>

/* For one server's answer; the second try waits twice as long. */
#define TRY_MS 1000
#define TRIES 2
/* For the whole, with however many servers. */
#define WHOLE_MS 3000

struct search {
	struct env_lookup *lookup;
	ares_channel channel;
	bool over;
};

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void add_found(struct env_lookup *lookup, const struct ares_addrinfo_node *node)
{
	struct env_address *out = &lookup->addresses[lookup->count];
	if (lookup->count == sizeof(lookup->addresses) / sizeof(lookup->addresses[0]))
		return;
	memset(out, 0, sizeof(*out));
	out->port = lookup->port;
	if (node->ai_family == AF_INET) {
		out->family = ENV_IPV4;
		memcpy(out->ip, &((const struct sockaddr_in *)(void *)node->ai_addr)->sin_addr, 4);
	} else if (node->ai_family == AF_INET6) {
		out->family = ENV_IPV6;
		memcpy(out->ip, &((const struct sockaddr_in6 *)(void *)node->ai_addr)->sin6_addr,
		       16);
	} else {
		return;
	}
	uint32_t ttl = node->ai_ttl > 0 ? (uint32_t)node->ai_ttl : 0;
	if (lookup->count == 0 || ttl < lookup->ttl_s)
		lookup->ttl_s = ttl;
	lookup->count++;
}

static void answered(void *argument, int status, int timeouts, struct ares_addrinfo *result)
{
	struct search *search = argument;
	struct env_lookup *lookup = search->lookup;
	(void)timeouts;
	search->over = true;
	if (status == ARES_SUCCESS)
		for (struct ares_addrinfo_node *node = result->nodes; node; node = node->ai_next)
			add_found(lookup, node);
	if (lookup->count == 0)
		ERR_SET(&lookup->err, ERR_NETWORK, "cannot find the address of %s: %s",
			lookup->host,
			status == ARES_SUCCESS      ? "it has none"
			: status == ARES_ECANCELLED ? "the name servers do not answer"
						    : ares_strerror(status));
	ares_freeaddrinfo(result);
}

/* Waits until something came, or the next deadline of c-ares, or ours. */
static void wait_and_process(struct search *search, int64_t left_ms)
{
	ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
	struct pollfd polled[ARES_GETSOCK_MAXNUM];
	nfds_t count = 0;
	/* Bit i: read from socket i; bit 16 + i: write to it. The macros of c-ares shift a signed 1
	 * by 31 for the last. */
	unsigned wanted = (unsigned)ares_getsock(search->channel, sockets, ARES_GETSOCK_MAXNUM);
	for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
		short events = (short)((wanted >> i & 1 ? POLLIN : 0) |
				       (wanted >> (ARES_GETSOCK_MAXNUM + i) & 1 ? POLLOUT : 0));
		if (events)
			polled[count++] = (struct pollfd){sockets[i], events, 0};
	}
	struct timeval most = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
	struct timeval store, *next = ares_timeout(search->channel, &most, &store);
	poll(polled, count, (int)(next->tv_sec * 1000 + next->tv_usec / 1000 + 1));
	for (nfds_t i = 0; i < count; i++) {
		bool broken = polled[i].revents & (POLLERR | POLLHUP);
		ares_process_fd(search->channel,
				broken || polled[i].revents & POLLIN ? polled[i].fd
								     : ARES_SOCKET_BAD,
				polled[i].revents & POLLOUT ? polled[i].fd : ARES_SOCKET_BAD);
	}
	ares_process_fd(search->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* deadlines */
}

void os_find_name(struct env_lookup *lookup, const char *servers)
{
	struct search search = {.lookup = lookup};
	struct ares_options options = {.timeout = TRY_MS, .tries = TRIES};
	struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	int status =
		ares_init_options(&search.channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
	if (status == ARES_SUCCESS && servers)
		status = ares_set_servers_ports_csv(search.channel, servers);
	if (status != ARES_SUCCESS) {
		ERR_SET(&lookup->err, ERR_NETWORK, "cannot look up names: %s",
			ares_strerror(status));
		return;
	}
	int64_t end = now_ms() + WHOLE_MS;
	ares_getaddrinfo(search.channel, lookup->host, NULL, &hints, answered, &search);
	while (!search.over) {
		int64_t left = end - now_ms();
		if (left <= 0)
			ares_cancel(search.channel); /* which calls `answered` */
		else
			wait_and_process(&search, left);
	}
	ares_destroy(search.channel);
}

static void lookup_run(struct env_job *job)
{
	os_find_name((struct env_lookup *)job, NULL);
}

void os_lookup(struct env_loop *loop, struct env_lookup *lookup)
{
	env_lookup_begin(loop, lookup, lookup_run);
}
