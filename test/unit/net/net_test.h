/* What the tests of this layer share. Every test runs on the machine and in simulated worlds.
 *
 * The test and the loop are two threads that take turns: the loop runs while the test waits
 * (net_until, net_sleep) and stands still while the test acts, so that a test reads from top to
 * bottom and may touch what belongs to the loop. Asserts belong into the test, not into callbacks.
 */
#ifndef TEST_UNIT_NET_NET_TEST_H
#define TEST_UNIT_NET_NET_TEST_H

#include "env/env.h"
#include "env/env_sim.h"
#include "net/http_client.h"
#include "net/http_server.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MILLISECOND ((uint64_t)1000000)
#define SECOND ((uint64_t)1000000000)

struct net_world {
	const char *name;
	bool machine;
	uint64_t seed;
	struct sim_faults faults;
};

struct net {
	const struct net_world *world;
	struct sim_world *sim; /* NULL on the machine */
	struct env *env;
	struct env_loop *loop;
	pthread_t thread;
	sem_t to_test, to_loop;
	struct env_timer tick;
	bool over;
};

int net_set_up(void **state);
int net_tear_down(void **state);
/* Lets the loop run for so long. */
void net_sleep(struct net *net, uint64_t ns);
/* Lets the loop run until it is so; fails the test where it never is. */
void net_until(struct net *net, bool (*is_so)(void *argument), void *argument);
/* Runs the tests in every world; returns what main returns. */
int net_main(const struct CMUnitTest *tests, size_t count);
/* A free address on which nobody listens. */
struct env_address net_nobody(struct net *net);
/* "http://127.0.0.1:PORT" in a static buffer. */
const char *net_url(const char *scheme, const struct env_address *address);

/* ---- a bare connection, from either side ---- */

struct raw {
	struct net *net;
	struct env_stream *stream; /* NULL once closed */
	struct buf out, in;
	bool holds_back; /* does not receive */
	bool connected, eof, reset;
};

void raw_init(struct raw *raw, struct net *net, struct env_stream *stream);
void raw_connect(struct raw *raw, struct net *net, const struct env_address *address);
void raw_send(struct raw *raw, struct bytes data);
void raw_send_text(struct raw *raw, const char *text);
/* Receives again. */
void raw_go_on(struct raw *raw);
/* Waits until so many bytes have come. */
void raw_wait(struct raw *raw, size_t size);
/* Waits until the text has come (anywhere). */
void raw_wait_text(struct raw *raw, const char *text);
/* Waits until the peer has ended or reset the connection. */
void raw_wait_end(struct raw *raw);
bool raw_has(const struct raw *raw, const char *text);
void raw_close(struct raw *raw, bool reset);

/* ---- a bare server ---- */

#define PEER_CONNECTIONS 8

struct peer {
	struct net *net;
	struct env_listener *listener;
	struct env_address address;
	struct raw connections[PEER_CONNECTIONS];
	unsigned accepted;
	bool holds_back; /* new connections do not receive */
};

void peer_start(struct peer *peer, struct net *net);
/* Waits for the connection with this number. */
struct raw *peer_accept(struct peer *peer, unsigned number);
void peer_stop(struct peer *peer);

#endif
