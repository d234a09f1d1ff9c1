/* Names of the machine against a name server of the test's own, over UDP. */
#include "env/env_os_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { TYPE_A = 1, TYPE_AAAA = 28 };

/* What the server says of a name: IPv4 addresses only, each with its time to live. */
struct zone {
	const char *name;
	unsigned count;
	uint32_t ttl[3];
	uint8_t last[3]; /* of 192.0.2.x */
	bool silent, missing;
};

static const struct zone zones[] = {
	{.name = "api.example", .count = 2, .ttl = {120, 60}, .last = {1, 2}},
	{.name = "none.example"      },
	{.name = "missing.example",               .missing = true                },
	{.name = "silent.example",                     .silent = true},
};

struct server {
	int fd;
	pthread_t thread;
	char address[32];
	unsigned asked;
};

/* The name of a question as text, and where it ends. */
static size_t read_name(const uint8_t *packet, size_t size, size_t at, char *out, size_t out_size)
{
	size_t used = 0;
	while (at < size && packet[at]) {
		size_t length = packet[at++];
		if (length > 63 || at + length > size || used + length + 2 > out_size)
			return 0;
		if (used)
			out[used++] = '.';
		memcpy(out + used, packet + at, length);
		used += length;
		at += length;
	}
	out[used] = '\0';
	return at + 1;
}

static const struct zone *find_zone(const char *name)
{
	for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++)
		if (strcasecmp(zones[i].name, name) == 0)
			return &zones[i];
	return NULL;
}

/* RFC 1035, section 4. The question is repeated, the answers point back at its name. */
static size_t make_answer(const struct zone *zone, int type, uint8_t *packet, size_t question_end)
{
	unsigned count = zone && type == TYPE_A ? zone->count : 0;
	size_t at = question_end;
	packet[2] = 0x84;
	packet[3] = (uint8_t)(zone && !zone->missing ? 0 : 3);
	memset(packet + 6, 0, 6);
	packet[7] = (uint8_t)count;
	for (unsigned i = 0; i < count; i++) {
		uint32_t ttl = htonl(zone->ttl[i]);
		const uint8_t head[] = {0xc0, 12, 0, TYPE_A, 0, 1};
		const uint8_t rest[] = {0, 4, 192, 0, 2, zone->last[i]};
		memcpy(packet + at, head, 6);
		memcpy(packet + at + 6, &ttl, 4);
		memcpy(packet + at + 10, rest, 6);
		at += 16;
	}
	return at;
}

static void *serve(void *argument)
{
	struct server *server = argument;
	for (;;) {
		uint8_t packet[1024];
		char name[256];
		struct sockaddr_in from;
		socklen_t from_size = sizeof(from);
		ssize_t got =
			recvfrom(server->fd, packet, 512, 0, (struct sockaddr *)&from, &from_size);
		if (got < 13)
			return NULL; /* the empty datagram at the end */
		size_t end = read_name(packet, (size_t)got, 12, name, sizeof(name));
		if (end == 0 || end + 4 > (size_t)got)
			continue;
		const struct zone *zone = find_zone(name);
		int type = packet[end] << 8 | packet[end + 1];
		__atomic_add_fetch(&server->asked, 1, __ATOMIC_RELAXED);
		if (zone && zone->silent)
			continue;
		size_t size = make_answer(zone, type, packet, end + 4);
		sendto(server->fd, packet, size, 0, (struct sockaddr *)&from, from_size);
	}
}

static int start(void **state)
{
	static struct server server;
	struct sockaddr_in own = {.sin_family = AF_INET};
	socklen_t size = sizeof(own);
	own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server.fd, (struct sockaddr *)&own, sizeof(own)), 0);
	assert_int_equal(getsockname(server.fd, (struct sockaddr *)&own, &size), 0);
	snprintf(server.address, sizeof(server.address), "127.0.0.1:%u", ntohs(own.sin_port));
	assert_int_equal(pthread_create(&server.thread, NULL, serve, &server), 0);
	*state = &server;
	return 0;
}

static int stop(void **state)
{
	struct server *server = *state;
	struct sockaddr_in own;
	socklen_t size = sizeof(own);
	getsockname(server->fd, (struct sockaddr *)&own, &size);
	sendto(server->fd, "", 0, 0, (struct sockaddr *)&own, size);
	pthread_join(server->thread, NULL);
	close(server->fd);
	return 0;
}

static void find(struct server *server, struct env_lookup *lookup, const char *host)
{
	*lookup = (struct env_lookup){.port = 443};
	snprintf(lookup->host, sizeof(lookup->host), "%s", host);
	os_find_name(lookup, server->address);
}

static void addresses_come_with_the_shortest_time_to_live(void **state)
{
	struct env_lookup lookup;
	char first[64], second[64];
	find(*state, &lookup, "api.example");
	assert_int_equal(lookup.err.code, ERR_OK);
	assert_int_equal(lookup.count, 2);
	assert_int_equal(lookup.ttl_s, 60);
	env_address_format(&lookup.addresses[0], first, sizeof(first));
	env_address_format(&lookup.addresses[1], second, sizeof(second));
	assert_true(strcmp(first, "192.0.2.1:443") == 0 || strcmp(first, "192.0.2.2:443") == 0);
	assert_true(strcmp(second, "192.0.2.1:443") == 0 || strcmp(second, "192.0.2.2:443") == 0);
	assert_string_not_equal(first, second);
}

static void a_name_without_addresses_is_an_error_that_names_it(void **state)
{
	static const char *const names[] = {"none.example", "missing.example"};
	struct env_lookup lookup;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		find(*state, &lookup, names[i]);
		assert_int_equal(lookup.count, 0);
		assert_int_equal(lookup.err.code, ERR_NETWORK);
		assert_non_null(strstr(lookup.err.message, names[i]));
	}
}

static void a_silent_server_is_asked_again_and_given_up(void **state)
{
	struct server *server = *state;
	struct env_lookup lookup;
	unsigned before = __atomic_load_n(&server->asked, __ATOMIC_RELAXED);
	find(server, &lookup, "silent.example");
	assert_int_equal(lookup.count, 0);
	assert_int_equal(lookup.err.code, ERR_NETWORK);
	assert_true(__atomic_load_n(&server->asked, __ATOMIC_RELAXED) - before >= 2);
}

/* Known without the server: /etc/hosts and RFC 6761. */
static void the_local_host_needs_no_server(void **state)
{
	struct server *server = *state;
	struct env_lookup lookup;
	unsigned before = __atomic_load_n(&server->asked, __ATOMIC_RELAXED);
	find(server, &lookup, "localhost");
	assert_true(lookup.count >= 1);
	for (unsigned i = 0; i < lookup.count; i++)
		assert_true(env_address_is_loopback(&lookup.addresses[i]));
	assert_int_equal(__atomic_load_n(&server->asked, __ATOMIC_RELAXED), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_come_with_the_shortest_time_to_live),
		cmocka_unit_test(a_name_without_addresses_is_an_error_that_names_it),
		cmocka_unit_test(a_silent_server_is_asked_again_and_given_up),
		cmocka_unit_test(the_local_host_needs_no_server),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
