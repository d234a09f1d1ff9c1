/* Who is to be reached where in the simulated network: listeners, requests to connect, names. */
#include "env/env_sim_network_internal.h"
#include "env/lookup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#define BACKLOG 128
/* A request to connect that meets nobody is repeated like a lost piece. */
#define CONNECT_RETRY_NS ((uint64_t)1000000000)
#define CONNECT_RETRIES 6

/* ---- listeners ---- */

static void dispatch_listener(struct sim_source *source)
{
	struct env_listener *listener =
		(struct env_listener *)((char *)source - offsetof(struct env_listener, source));
	if (listener->paused || listener->backlog_count == 0)
		return;
	/* It is called again until the backlog is empty, as a level-triggered listener is. */
	sim_source_queue(listener->loop, &listener->source);
	listener->ready(listener, listener->argument);
}

static bool same_place(const struct env_address *a, const struct env_address *b)
{
	if (a->family != b->family)
		return false;
	if (a->family == ENV_UNIX)
		return strcmp(a->path, b->path) == 0;
	return a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

static struct env_address address6_of(const struct sim_node *node)
{
	struct env_address address = {.family = ENV_IPV6, .ip = {0xfd}};
	address.ip[15] = (uint8_t)node->number;
	return address;
}

/* Whether the address is one of the node's own, apart from loopback. */
static bool is_own(struct sim_node *node, const struct env_address *address)
{
	struct env_address own =
		address->family == ENV_IPV4 ? sim_node_address(&node->base, 0) : address6_of(node);
	own.port = address->port;
	return same_place(&own, address);
}

static struct sim_node *node_at(struct sim_node *from, const struct env_address *address)
{
	struct sim_world *world = from->world;
	if (env_address_is_loopback(address))
		return from;
	for (unsigned i = 0; i < world->node_count; i++)
		if (is_own(world->nodes[i], address))
			return world->nodes[i];
	return NULL;
}

static bool listens_at(const struct env_listener *listener, const struct env_address *address)
{
	const struct env_address *own = &listener->address;
	return same_place(own, address) ||
	       (own->family == address->family && env_address_is_wildcard(own) &&
		own->port == address->port);
}

/* One of those that listen there, at a draw. */
static struct env_listener *find_listener(struct sim_node *node, const struct env_address *address)
{
	struct env_listener *listener, *found = NULL;
	uint64_t seen = 0;
	TAILQ_FOREACH(listener, &node->listeners, link)
	{
		if (listens_at(listener, address) &&
		    prng_below(&node->world->schedule, ++seen) == 0)
			found = listener;
	}
	return found;
}

static uint16_t free_port(struct sim_node *node)
{
	uint16_t port = node->next_port++;
	if (node->next_port == 0)
		node->next_port = 32768;
	return port;
}

enum err_code sim_listen(struct env_loop *base, const struct env_address *address,
			 void (*ready)(struct env_listener *, void *), void *argument,
			 struct env_listener **out, struct err *err)
{
	struct sim_loop *loop = sim_loop_of(base);
	struct sim_node *node = loop->node;
	char text[sizeof(address->path)];
	env_address_format(address, text, sizeof(text));
	*out = NULL;
	if (sim_is_gone(node) || loop->dead ||
	    !(env_address_is_loopback(address) || env_address_is_wildcard(address) ||
	      is_own(node, address)))
		return err_set(err, ERR_ENVIRONMENT, EADDRNOTAVAIL, __FILE__, __LINE__,
			       "cannot listen on %s", text);
	struct env_listener *listener = sim_allocate(sizeof(*listener));
	listener->source.dispatch = dispatch_listener;
	listener->loop = loop;
	listener->address = *address;
	if (address->family != ENV_UNIX && address->port == 0)
		listener->address.port = free_port(node);
	listener->ready = ready;
	listener->argument = argument;
	TAILQ_INIT(&listener->backlog);
	TAILQ_INSERT_TAIL(&node->listeners, listener, link);
	*out = listener;
	return ERR_OK;
}

void sim_listener_address(struct env_listener *listener, struct env_address *out)
{
	*out = listener->address;
}

void sim_listener_pause(struct env_listener *listener, bool paused)
{
	listener->paused = paused;
	if (!paused && listener->backlog_count > 0)
		sim_source_queue(listener->loop, &listener->source);
}

/* Connections that nobody has accepted are refused after all. */
void sim_listener_release(struct env_listener *listener)
{
	struct sim_connection *connection;
	while ((connection = TAILQ_FIRST(&listener->backlog))) {
		sim_leave_backlog(connection);
		connection->closed[1] = true;
		sim_send_reset(connection, 0);
		sim_connection_free_if_over(connection);
	}
	sim_source_remove(listener->loop, &listener->source);
	TAILQ_REMOVE(&listener->loop->node->listeners, listener, link);
	free(listener);
}

void sim_listener_close(struct env_listener *listener)
{
	if (listener && !listener->loop->dead && !listener->loop->node->frozen)
		sim_listener_release(listener);
}

void sim_leave_backlog(struct sim_connection *connection)
{
	struct env_listener *listener = connection->listener;
	TAILQ_REMOVE(&listener->backlog, connection, queue);
	listener->backlog_count--;
	connection->listener = NULL;
}

/* ---- connecting ---- */

static void attempt_again(struct sim_connection *connection)
{
	struct sim_world *world = connection->world;
	connection->nodes[1] = NULL;
	if (connection->attempts == CONNECT_RETRIES)
		sim_break_side(connection, 0);
	else
		sim_schedule(world, &connection->attempt,
			     world->now_ns + (CONNECT_RETRY_NS << connection->attempts++));
}

/* The request to connect has come to where the address leads. */
static void attempt(struct sim_event *event)
{
	struct sim_connection *connection =
		(struct sim_connection *)((char *)event - offsetof(struct sim_connection, attempt));
	struct sim_world *world = connection->world;
	struct sim_node *node = node_at(connection->nodes[0], &connection->target);
	connection->nodes[1] = node;
	if (!node || node->down || sim_is_cut_off(connection)) {
		attempt_again(connection);
		return;
	}
	struct env_listener *listener = find_listener(node, &connection->target);
	if (listener && listener->backlog_count == BACKLOG) {
		attempt_again(connection);
		return;
	}
	if (!listener || sim_chance(world, world->faults.refuse)) {
		connection->closed[1] = true;
		sim_send_reset(connection, 0);
		return;
	}
	connection->listener = listener;
	TAILQ_INSERT_TAIL(&listener->backlog, connection, queue);
	listener->backlog_count++;
	sim_send_mark(connection, 0, PIECE_ESTABLISHED);
	sim_source_queue(listener->loop, &listener->source);
}

static struct env_address client_address(struct sim_node *node, const struct env_address *target)
{
	struct env_address address = {.family = target->family};
	if (target->family == ENV_UNIX)
		return address;
	if (env_address_is_loopback(target))
		address = *target;
	else if (target->family == ENV_IPV4)
		address = sim_node_address(&node->base, 0);
	else
		address = address6_of(node);
	address.port = free_port(node);
	return address;
}

/* A refusal by this very machine may be known at once. */
static bool fails_at_once(struct sim_node *node, const struct env_address *address)
{
	if (!env_address_is_loopback(address) || find_listener(node, address))
		return false;
	return address->family == ENV_UNIX || prng_below(&node->world->network, 2) == 0;
}

struct env_stream *sim_connect(struct env_loop *base, const struct env_address *address,
			       struct err *err)
{
	struct sim_loop *loop = sim_loop_of(base);
	struct sim_node *node = loop->node;
	if (sim_is_gone(node) || loop->dead || fails_at_once(node, address)) {
		char text[sizeof(address->path)];
		env_address_format(address, text, sizeof(text));
		err_set(err, ERR_NETWORK, ECONNREFUSED, __FILE__, __LINE__, "cannot connect to %s",
			text);
		return NULL;
	}
	struct sim_world *world = node->world;
	struct sim_connection *connection = sim_connection_new(world, attempt);
	connection->target = *address;
	connection->peer = client_address(node, address);
	struct sim_stream *stream = sim_stream_new(loop, connection, 0);
	sim_schedule(world, &connection->attempt, sim_local_now(world) + sim_draw_delay(world));
	return &stream->base;
}

struct env_stream *sim_accept(struct env_listener *listener, struct env_address *peer)
{
	struct sim_connection *connection = TAILQ_FIRST(&listener->backlog);
	if (!connection || listener->loop->dead || listener->loop->node->frozen)
		return NULL;
	sim_leave_backlog(connection);
	struct sim_stream *stream = sim_stream_new(listener->loop, connection, 1);
	stream->established = true;
	stream->base.connected = stream->base.readable = stream->base.writable = true;
	if (peer)
		*peer = connection->peer;
	struct pipe *pipe = &connection->to[1];
	if (pipe->from < pipe->to || pipe->end_arrived || connection->broken[1])
		sim_tell(connection, 1, true, false);
	return &stream->base;
}

/* ---- names ---- */

#define SIM_NAME_TTL_S 60

static void add_found(struct env_lookup *lookup, const struct env_address *address)
{
	if (lookup->count == sizeof(lookup->addresses) / sizeof(lookup->addresses[0]))
		return;
	lookup->addresses[lookup->count] = *address;
	lookup->addresses[lookup->count++].port = lookup->port;
}

static void find_name(struct sim_node *node, struct env_lookup *lookup)
{
	const struct env_address loopback = {
		.family = ENV_IPV4, .ip = {127, 0, 0, 1}
        };
	struct sim_world *world = node->world;
	if (strcmp(lookup->host, "localhost") == 0) {
		add_found(lookup, &loopback);
		return;
	}
	for (unsigned i = 0; i < world->name_count; i++) {
		const struct sim_name *name = &world->names[i];
		for (unsigned k = 0; strcmp(name->host, lookup->host) == 0 && k < name->count; k++)
			add_found(lookup, &name->addresses[k]);
	}
	for (unsigned i = 0; i < world->node_count; i++) {
		struct env_address address = sim_node_address(&world->nodes[i]->base, 0);
		if (strcmp(world->nodes[i]->name, lookup->host) == 0)
			add_found(lookup, &address);
	}
}

static void lookup_run(struct env_job *job)
{
	struct env_lookup *lookup = (struct env_lookup *)job;
	struct sim_node *node = sim_loop_of(job->loop)->node;
	struct sim_world *world = node->world;
	world->spent_ns += sim_draw_delay(world);
	if (!sim_chance(world, world->faults.lookup_failure))
		find_name(node, lookup);
	lookup->ttl_s = SIM_NAME_TTL_S;
	if (lookup->count == 0)
		ERR_SET(&lookup->err, ERR_NETWORK,
			"cannot find the address of %s: Name or service not known", lookup->host);
}

void sim_lookup(struct env_loop *loop, struct env_lookup *lookup)
{
	env_lookup_begin(loop, lookup, lookup_run);
}
