/* The network of the simulation: connections of two one-way pipes. What is sent travels in pieces,
 * each with a delay of its own but in order; what has arrived waits to be received. A sender may be
 * at most `window` bytes ahead of its receiver and learns of progress a delay later. */
#include "env/env_sim_internal.h"

#include "base/crc32c.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define BACKLOG 128
/* A piece, or a request to connect, that meets nobody is sent again after so long, then twice as long
 * and so on (RFC 6298, 5.5), and after so many times the sender gives up. */
#define RETRY_NS ((uint64_t)200000000)
#define RETRIES 12
#define CONNECT_RETRY_NS ((uint64_t)1000000000)
#define CONNECT_RETRIES 6

enum piece_kind { PIECE_DATA, PIECE_ESTABLISHED, PIECE_END, PIECE_RESET };

struct piece {
	enum piece_kind kind;
	uint64_t arrives_ns;
	TAILQ_ENTRY(piece) link;
	size_t size;
	char data[];
};

/* One direction, named by the side it leads to. */
struct pipe {
	struct sim_event arrival; /* of the first piece */
	struct sim_event credit;  /* the sender hears what was received */
	TAILQ_HEAD(, piece) pieces;
	uint64_t last_arrival_ns;
	size_t ahead;	 /* bytes sent and, as far as the sender knows, not received */
	size_t credited; /* bytes received and not yet told */
	char *waiting;	 /* arrived bytes from `from` to `to`, not yet received */
	size_t from, to, capacity;
	bool end_sent, end_arrived, reset_sent;
	unsigned retries; /* of the first piece */
};

/* Side 0 has connected, side 1 accepts. */
struct sim_connection {
	struct sim_world *world;
	uint64_t id;
	struct sim_node *nodes[2];
	struct sim_stream *streams[2]; /* NULL before accept and after close */
	struct pipe to[2];
	bool closed[2]; /* the program or its node will never look again */
	bool broken[2]; /* that side was told of a reset */
	bool silent;	/* half open: nothing arrives any more */
	struct sim_event attempt;
	unsigned attempts;
	struct env_address target, peer;
	struct env_listener *listener; /* while it waits to be accepted */
	TAILQ_ENTRY(sim_connection) link, queue;
};

struct sim_stream {
	struct env_stream base;
	struct sim_source source;
	struct sim_connection *connection;
	unsigned side;
	bool established; /* or refused: the connect has finished */
	bool read_news, write_news;
	TAILQ_ENTRY(sim_stream) link;
};

struct env_listener {
	struct sim_source source;
	struct sim_loop *loop;
	struct env_address address;
	void (*ready)(struct env_listener *listener, void *argument);
	void *argument;
	bool paused;
	TAILQ_HEAD(, sim_connection) backlog;
	unsigned backlog_count;
	TAILQ_ENTRY(env_listener) link;
};

static struct sim_stream *stream_of(struct env_stream *base)
{
	return (struct sim_stream *)base;
}

static bool is_dead(const struct sim_stream *stream)
{
	return sim_is_gone(sim_loop_of(stream->base.loop)->node) ||
	       sim_loop_of(stream->base.loop)->dead;
}

static struct sim_connection *owner_of(struct pipe *pipe, unsigned side)
{
	return (struct sim_connection *)((char *)(pipe - side) -
					 offsetof(struct sim_connection, to));
}

/* ---- telling the program ---- */

static void dispatch_stream(struct sim_source *source)
{
	struct sim_stream *stream =
		(struct sim_stream *)((char *)source - offsetof(struct sim_stream, source));
	struct sim_connection *connection = stream->connection;
	unsigned side = stream->side;
	bool broken = connection->broken[side];
	if (!stream->established)
		return;
	if (!stream->base.connected && !broken)
		stream->base.connected = true;
	if (stream->read_news)
		stream->base.readable = true;
	if (stream->write_news)
		stream->base.writable = true;
	if (broken || connection->to[side].end_arrived)
		stream->base.hangup = true;
	stream->read_news = stream->write_news = false;
	stream->base.ready(&stream->base);
}

static void tell(struct sim_connection *connection, unsigned side, bool read_news, bool write_news)
{
	struct sim_stream *stream = connection->streams[side];
	if (!stream)
		return;
	stream->read_news |= read_news;
	stream->write_news |= write_news;
	sim_source_queue(sim_loop_of(stream->base.loop), &stream->source);
}

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

/* ---- pieces on their way ---- */

static void drop_pieces(struct sim_connection *connection, unsigned to, size_t keep)
{
	struct pipe *pipe = &connection->to[to];
	struct piece *piece = TAILQ_FIRST(&pipe->pieces);
	while (piece) {
		struct piece *next = TAILQ_NEXT(piece, link);
		if (keep > 0) {
			keep--;
		} else {
			TAILQ_REMOVE(&pipe->pieces, piece, link);
			free(piece);
		}
		piece = next;
	}
	if (TAILQ_EMPTY(&pipe->pieces))
		sim_cancel(connection->world, &pipe->arrival);
}

static void connection_free(struct sim_connection *connection)
{
	struct sim_world *world = connection->world;
	for (unsigned side = 0; side < 2; side++) {
		drop_pieces(connection, side, 0);
		sim_cancel(world, &connection->to[side].credit);
		free(connection->to[side].waiting);
	}
	sim_cancel(world, &connection->attempt);
	TAILQ_REMOVE(&world->connections, connection, link);
	free(connection);
}

static void free_if_over(struct sim_connection *connection)
{
	if (connection->closed[0] && connection->closed[1])
		connection_free(connection);
}

static uint64_t draw_delay(struct sim_world *world)
{
	const struct sim_faults *faults = &world->faults;
	uint64_t delay = sim_between(&world->network, faults->delay_min_ns, faults->delay_max_ns);
	if (sim_chance(world, faults->stall))
		delay += sim_between(&world->network, 0, faults->stall_max_ns);
	return delay;
}

static void send_piece(struct sim_connection *connection, unsigned to, struct piece *piece)
{
	struct sim_world *world = connection->world;
	struct pipe *pipe = &connection->to[to];
	piece->arrives_ns = sim_local_now(world) + draw_delay(world);
	if (piece->arrives_ns < pipe->last_arrival_ns)
		piece->arrives_ns = pipe->last_arrival_ns;
	pipe->last_arrival_ns = piece->arrives_ns;
	TAILQ_INSERT_TAIL(&pipe->pieces, piece, link);
	if (!sim_is_scheduled(&pipe->arrival))
		sim_schedule(world, &pipe->arrival, TAILQ_FIRST(&pipe->pieces)->arrives_ns);
}

static void send_signal_piece(struct sim_connection *connection, unsigned to, enum piece_kind kind)
{
	struct piece *piece = sim_allocate(sizeof(*piece));
	piece->kind = kind;
	send_piece(connection, to, piece);
}

/* Nothing more goes to that side but a reset, which overtakes a drawn part of what is on its way. */
static void send_reset(struct sim_connection *connection, unsigned to)
{
	struct pipe *pipe = &connection->to[to];
	struct piece *piece;
	size_t count = 0;
	if (connection->closed[to] || pipe->reset_sent)
		return;
	pipe->reset_sent = true;
	TAILQ_FOREACH(piece, &pipe->pieces, link)
	{
		count++;
	}
	drop_pieces(connection, to, prng_below(&connection->world->network, count + 1));
	pipe->end_sent = true;
	send_signal_piece(connection, to, PIECE_RESET);
}

/* ---- arrivals ---- */

static void store(struct pipe *pipe, const struct piece *piece)
{
	if (pipe->from == pipe->to)
		pipe->from = pipe->to = 0;
	if (piece->size > pipe->capacity - pipe->to) {
		size_t wanted = 2 * (pipe->to + piece->size);
		char *grown = realloc(pipe->waiting, wanted);
		if (!grown)
			abort();
		pipe->waiting = grown;
		pipe->capacity = wanted;
	}
	memcpy(pipe->waiting + pipe->to, piece->data, piece->size);
	pipe->to += piece->size;
}

static void arrive_data(struct sim_connection *connection, unsigned side, const struct piece *piece)
{
	if (connection->closed[side]) {
		if (!connection->broken[1 - side])
			send_reset(connection, 1 - side);
		return;
	}
	if (connection->broken[side])
		return;
	store(&connection->to[side], piece);
	tell(connection, side, true, false);
}

static void arrive_established(struct sim_connection *connection, unsigned side,
			       const struct piece *piece)
{
	(void)piece;
	if (!connection->streams[side])
		return;
	connection->streams[side]->established = true;
	tell(connection, side, true, true);
}

static void arrive_end(struct sim_connection *connection, unsigned side, const struct piece *piece)
{
	(void)piece;
	connection->to[side].end_arrived = true;
	tell(connection, side, true, false);
}

/* What has arrived before a reset may or may not still be received. */
static void break_side(struct sim_connection *connection, unsigned side)
{
	struct pipe *pipe = &connection->to[side];
	if (connection->broken[side] || connection->closed[side])
		return;
	connection->broken[side] = true;
	if (prng_below(&connection->world->network, 2))
		pipe->from = pipe->to;
	drop_pieces(connection, side, 0);
	if (connection->streams[side])
		connection->streams[side]->established = true;
	tell(connection, side, true, true);
}

static void arrive_reset(struct sim_connection *connection, unsigned side, const struct piece *piece)
{
	(void)piece;
	break_side(connection, side);
}

static void (*const arrivals[])(struct sim_connection *, unsigned, const struct piece *) = {
	[PIECE_DATA] = arrive_data,
	[PIECE_ESTABLISHED] = arrive_established,
	[PIECE_END] = arrive_end,
	[PIECE_RESET] = arrive_reset,
};

static bool is_cut_off(const struct sim_connection *connection)
{
	const struct sim_node *a = connection->nodes[0], *b = connection->nodes[1];
	return b && a->cut_off[b->number];
}

/* True if the piece met nobody: it is sent again later, or the sender has given up. */
static bool comes_later(struct sim_connection *connection, unsigned side)
{
	struct sim_world *world = connection->world;
	struct pipe *pipe = &connection->to[side];
	bool down = connection->nodes[side] && connection->nodes[side]->down;
	if (!down && !is_cut_off(connection)) {
		pipe->retries = 0;
		return false;
	}
	if (pipe->retries == RETRIES) {
		drop_pieces(connection, side, 0);
		break_side(connection, 1 - side);
		return true;
	}
	sim_schedule(world, &pipe->arrival,
		     world->now_ns + (RETRY_NS << pipe->retries++) + draw_delay(world));
	return true;
}

static void arrive(struct pipe *pipe, unsigned side)
{
	struct sim_connection *connection = owner_of(pipe, side);
	struct sim_world *world = connection->world;
	struct piece *piece = TAILQ_FIRST(&pipe->pieces);
	if (comes_later(connection, side))
		return;
	TAILQ_REMOVE(&pipe->pieces, piece, link);
	if (!TAILQ_EMPTY(&pipe->pieces))
		sim_schedule(world, &pipe->arrival, TAILQ_FIRST(&pipe->pieces)->arrives_ns);
	sim_trace_add(world, SIM_KIND_ARRIVAL, connection->id, (uint64_t)piece->kind << 1 | side,
		      crc32c(0, piece->data, piece->size));
	if (!connection->silent)
		arrivals[piece->kind](connection, side, piece);
	free(piece);
}

static void arrival_at_client(struct sim_event *event)
{
	arrive((struct pipe *)((char *)event - offsetof(struct pipe, arrival)), 0);
}

static void arrival_at_server(struct sim_event *event)
{
	arrive((struct pipe *)((char *)event - offsetof(struct pipe, arrival)), 1);
}

/* The sender of the pipe that leads to `side` may send again. */
static void give_credit(struct pipe *pipe, unsigned side)
{
	struct sim_connection *connection = owner_of(pipe, side);
	if (connection->silent)
		return;
	pipe->ahead -= pipe->credited;
	pipe->credited = 0;
	struct sim_stream *sender = connection->streams[1 - side];
	if (sender && !sender->base.writable && pipe->ahead < connection->world->faults.window)
		tell(connection, 1 - side, false, true);
}

static void credit_to_client(struct sim_event *event)
{
	give_credit((struct pipe *)((char *)event - offsetof(struct pipe, credit)), 0);
}

static void credit_to_server(struct sim_event *event)
{
	give_credit((struct pipe *)((char *)event - offsetof(struct pipe, credit)), 1);
}

static void plan_credit(struct sim_connection *connection, unsigned side)
{
	struct sim_world *world = connection->world;
	struct pipe *pipe = &connection->to[side];
	if (!sim_is_scheduled(&pipe->credit))
		sim_schedule(world, &pipe->credit, sim_local_now(world) + draw_delay(world));
}

/* ---- listeners ---- */

static bool is_wildcard(const struct env_address *address)
{
	static const uint8_t nothing[16];
	return address->family != ENV_UNIX && memcmp(address->ip, nothing, sizeof(nothing)) == 0;
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
	return (struct env_address){.family = ENV_IPV6,
				    .ip = {0xfd, [15] = (uint8_t)node->number}};
}

/* Whether the address is one of the node's own, apart from loopback. */
static bool is_own(struct sim_node *node, const struct env_address *address)
{
	struct env_address own = address->family == ENV_IPV4 ? sim_node_address(&node->base, 0)
							      : address6_of(node);
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
	return same_place(own, address) || (own->family == address->family && is_wildcard(own) &&
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
	    !(env_address_is_loopback(address) || is_wildcard(address) || is_own(node, address)))
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

static void leave_backlog(struct sim_connection *connection)
{
	struct env_listener *listener = connection->listener;
	TAILQ_REMOVE(&listener->backlog, connection, queue);
	listener->backlog_count--;
	connection->listener = NULL;
}

/* Connections that nobody has accepted are refused after all. */
static void listener_release(struct env_listener *listener)
{
	struct sim_connection *connection;
	while ((connection = TAILQ_FIRST(&listener->backlog))) {
		leave_backlog(connection);
		connection->closed[1] = true;
		send_reset(connection, 0);
		free_if_over(connection);
	}
	sim_source_remove(listener->loop, &listener->source);
	TAILQ_REMOVE(&listener->loop->node->listeners, listener, link);
	free(listener);
}

void sim_listener_close(struct env_listener *listener)
{
	if (listener && !listener->loop->dead && !listener->loop->node->frozen)
		listener_release(listener);
}

/* ---- connecting ---- */

static struct sim_stream *stream_new(struct sim_loop *loop, struct sim_connection *connection,
				     unsigned side)
{
	struct sim_stream *stream = sim_allocate(sizeof(*stream));
	stream->base.ops = loop->base.ops;
	stream->base.loop = &loop->base;
	stream->source.dispatch = dispatch_stream;
	stream->connection = connection;
	stream->side = side;
	connection->streams[side] = stream;
	connection->nodes[side] = loop->node;
	TAILQ_INSERT_TAIL(&loop->node->streams, stream, link);
	return stream;
}

static void attempt_again(struct sim_connection *connection)
{
	struct sim_world *world = connection->world;
	connection->nodes[1] = NULL;
	if (connection->attempts == CONNECT_RETRIES)
		break_side(connection, 0);
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
	if (!node || node->down || is_cut_off(connection)) {
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
		send_reset(connection, 0);
		return;
	}
	connection->listener = listener;
	TAILQ_INSERT_TAIL(&listener->backlog, connection, queue);
	listener->backlog_count++;
	send_signal_piece(connection, 0, PIECE_ESTABLISHED);
	sim_source_queue(listener->loop, &listener->source);
}

static void pipe_init(struct sim_world *world, struct pipe *pipe,
		      void (*arrival)(struct sim_event *), void (*credit)(struct sim_event *))
{
	sim_event_init(world, &pipe->arrival, SIM_KIND_ARRIVAL, arrival);
	sim_event_init(world, &pipe->credit, SIM_KIND_CREDIT, credit);
	TAILQ_INIT(&pipe->pieces);
}

static struct sim_connection *connection_new(struct sim_world *world)
{
	struct sim_connection *connection = sim_allocate(sizeof(*connection));
	connection->world = world;
	connection->id = world->next_id++;
	pipe_init(world, &connection->to[0], arrival_at_client, credit_to_client);
	pipe_init(world, &connection->to[1], arrival_at_server, credit_to_server);
	sim_event_init(world, &connection->attempt, SIM_KIND_CONNECT, attempt);
	TAILQ_INSERT_TAIL(&world->connections, connection, link);
	return connection;
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
	struct sim_connection *connection = connection_new(world);
	connection->target = *address;
	connection->peer = client_address(node, address);
	struct sim_stream *stream = stream_new(loop, connection, 0);
	sim_schedule(world, &connection->attempt, sim_local_now(world) + draw_delay(world));
	return &stream->base;
}

struct env_stream *sim_accept(struct env_listener *listener, struct env_address *peer)
{
	struct sim_connection *connection = TAILQ_FIRST(&listener->backlog);
	if (!connection || listener->loop->dead || listener->loop->node->frozen)
		return NULL;
	leave_backlog(connection);
	struct sim_stream *stream = stream_new(listener->loop, connection, 1);
	stream->established = true;
	stream->base.connected = stream->base.readable = stream->base.writable = true;
	if (peer)
		*peer = connection->peer;
	struct pipe *pipe = &connection->to[1];
	if (pipe->from < pipe->to || pipe->end_arrived || connection->broken[1])
		tell(connection, 1, true, false);
	return &stream->base;
}

/* ---- receiving and sending ---- */

/* How many of `size` bytes this call handles. */
static size_t draw_size(struct sim_world *world, size_t size)
{
	if (size > 1 && sim_chance(world, world->faults.one_byte))
		return 1;
	if (size > 1 && sim_chance(world, world->faults.cut))
		return (size_t)sim_between(&world->network, 1, size);
	return size;
}

ssize_t sim_receive(struct env_stream *base, void *data, size_t size)
{
	struct sim_stream *stream = stream_of(base);
	assert(size > 0);
	if (is_dead(stream))
		return ENV_RESET;
	struct sim_connection *connection = stream->connection;
	struct pipe *pipe = &connection->to[stream->side];
	size_t there = pipe->to - pipe->from;
	if (there == 0) {
		base->readable = false;
		if (connection->broken[stream->side])
			return ENV_RESET;
		return pipe->end_arrived ? ENV_EOF : ENV_AGAIN;
	}
	size_t count = draw_size(connection->world, there < size ? there : size);
	memcpy(data, pipe->waiting + pipe->from, count);
	pipe->from += count;
	if (count == there && count < size && !base->hangup)
		base->readable = false;
	pipe->credited += count;
	plan_credit(connection, stream->side);
	sim_trace_add(connection->world, SIM_KIND_RECEIVE, connection->id, count, 0);
	return (ssize_t)count;
}

static size_t total_of(const struct iovec *parts, int count)
{
	size_t total = 0;
	for (int i = 0; i < count; i++)
		total += parts[i].iov_len;
	return total;
}

/* Copies `size` bytes from `offset` of the parts taken together. */
static void gather(const struct iovec *parts, size_t offset, size_t size, char *out)
{
	for (; size > 0; parts++) {
		if (offset >= parts->iov_len) {
			offset -= parts->iov_len;
			continue;
		}
		size_t part = parts->iov_len - offset;
		if (part > size)
			part = size;
		memcpy(out, (const char *)parts->iov_base + offset, part);
		out += part;
		size -= part;
		offset = 0;
	}
}

/* The connection may die of any piece. */
static void draw_breakage(struct sim_connection *connection)
{
	struct sim_world *world = connection->world;
	if (sim_chance(world, world->faults.half_open))
		connection->silent = true;
	if (sim_chance(world, world->faults.reset)) {
		send_reset(connection, 0);
		send_reset(connection, 1);
	}
}

static void send_bytes(struct sim_connection *connection, unsigned to, const struct iovec *parts,
		       size_t size)
{
	struct sim_world *world = connection->world;
	size_t done = 0;
	while (done < size) {
		size_t part = size - done;
		if (part > 1 && sim_chance(world, world->faults.cut))
			part = (size_t)sim_between(&world->network, 1, part);
		struct piece *piece = sim_allocate(sizeof(*piece) + part);
		piece->kind = PIECE_DATA;
		piece->size = part;
		gather(parts, done, part, piece->data);
		send_piece(connection, to, piece);
		done += part;
	}
}

ssize_t sim_send(struct env_stream *base, const struct iovec *parts, int count)
{
	struct sim_stream *stream = stream_of(base);
	if (is_dead(stream))
		return ENV_RESET;
	struct sim_connection *connection = stream->connection;
	struct sim_world *world = connection->world;
	unsigned to = 1 - stream->side;
	struct pipe *pipe = &connection->to[to];
	if (connection->broken[stream->side] || pipe->end_sent) {
		/* It was reset, has shut down, or a reset is on its way to both sides. */
		base->writable = false;
		return ENV_RESET;
	}
	size_t total = total_of(parts, count);
	size_t room = pipe->ahead < world->faults.window ? world->faults.window - pipe->ahead : 0;
	if (total == 0)
		return 0;
	if (!base->connected || room == 0) {
		base->writable = false;
		return ENV_AGAIN;
	}
	size_t size = draw_size(world, total < room ? total : room);
	sim_trace_add(world, SIM_KIND_SEND, connection->id, size, stream->side);
	pipe->ahead += size;
	send_bytes(connection, to, parts, size);
	if (size < total) {
		base->writable = false;
		plan_credit(connection, to);
	}
	draw_breakage(connection);
	return (ssize_t)size;
}

void sim_shutdown(struct env_stream *base)
{
	struct sim_stream *stream = stream_of(base);
	if (is_dead(stream) || !base->connected)
		return;
	struct pipe *pipe = &stream->connection->to[1 - stream->side];
	if (pipe->end_sent)
		return;
	pipe->end_sent = true;
	send_signal_piece(stream->connection, 1 - stream->side, PIECE_END);
}

/* ---- closing ---- */

static void stream_release(struct sim_stream *stream)
{
	struct sim_loop *loop = sim_loop_of(stream->base.loop);
	sim_source_remove(loop, &stream->source);
	TAILQ_REMOVE(&loop->node->streams, stream, link);
	free(stream);
}

/* What TCP does: a close with bytes not received, or before the connection stood, is a reset. */
static void close_side(struct sim_connection *connection, unsigned side, bool reset)
{
	struct pipe *pipe = &connection->to[side];
	struct pipe *other = &connection->to[1 - side];
	bool established = connection->streams[side] && connection->streams[side]->base.connected;
	connection->streams[side] = NULL;
	connection->closed[side] = true;
	if (!connection->nodes[1])
		connection->closed[1] = true; /* the request to connect is withdrawn */
	else if (reset || !established || pipe->from < pipe->to)
		send_reset(connection, 1 - side);
	else if (!other->end_sent) {
		other->end_sent = true;
		send_signal_piece(connection, 1 - side, PIECE_END);
	}
	free_if_over(connection);
}

void sim_close(struct env_stream *base, bool reset)
{
	struct sim_stream *stream = stream_of(base);
	if (is_dead(stream))
		return;
	close_side(stream->connection, stream->side, reset);
	stream_release(stream);
}

/* ---- names ---- */

static bool add_found(struct env_lookup *lookup, const struct env_address *address)
{
	if (lookup->count == sizeof(lookup->addresses) / sizeof(lookup->addresses[0]))
		return false;
	lookup->addresses[lookup->count] = *address;
	lookup->addresses[lookup->count++].port = lookup->port;
	return true;
}

static void find_name(struct sim_node *node, struct env_lookup *lookup)
{
	struct sim_world *world = node->world;
	if (strcmp(lookup->host, "localhost") == 0) {
		add_found(lookup, &(struct env_address){.family = ENV_IPV4, .ip = {127, 0, 0, 1}});
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
	world->spent_ns += draw_delay(world);
	if (!sim_chance(world, world->faults.lookup_failure))
		find_name(node, lookup);
	if (lookup->count == 0)
		ERR_SET(&lookup->err, ERR_NETWORK,
			"cannot find the address of %s: Name or service not known", lookup->host);
}

static void lookup_done(struct env_job *job)
{
	struct env_lookup *lookup = (struct env_lookup *)job;
	lookup->done(lookup);
}

static void numeric_done(struct env_message *message)
{
	struct env_lookup *lookup = (struct env_lookup *)message;
	lookup->done(lookup);
}

void sim_lookup(struct env_loop *loop, struct env_lookup *lookup)
{
	struct env_address *first = &lookup->addresses[0];
	lookup->count = 0;
	lookup->err = (struct err)ERR_INIT;
	memset(first, 0, sizeof(*first));
	first->port = lookup->port;
	if (inet_pton(AF_INET, lookup->host, first->ip) == 1)
		first->family = ENV_IPV4;
	else if (inet_pton(AF_INET6, lookup->host, first->ip) == 1)
		first->family = ENV_IPV6;
	if (first->family) {
		lookup->count = 1;
		lookup->job.message.run = numeric_done;
		env_post(loop, &lookup->job.message);
		return;
	}
	lookup->job.run = lookup_run;
	lookup->job.done = lookup_done;
	env_job_start(loop, &lookup->job);
}

/* ---- crashes ---- */

static void kill_side(struct sim_connection *connection, unsigned side, enum sim_crash_kind kind)
{
	if (connection->closed[side])
		return;
	if (connection->listener && side == 1)
		leave_backlog(connection);
	if (kind == SIM_KILLED) {
		close_side(connection, side, false);
		return;
	}
	connection->streams[side] = NULL;
	connection->closed[side] = true;
	if (!connection->nodes[1])
		connection->closed[1] = true;
	free_if_over(connection);
}

/* Streams stay as empty shells for the program's teardown. */
void sim_network_kill(struct sim_node *node, enum sim_crash_kind kind)
{
	struct sim_connection *connection = TAILQ_FIRST(&node->world->connections);
	while (connection) {
		struct sim_connection *next = TAILQ_NEXT(connection, link);
		bool mine[2] = {connection->nodes[0] == node, connection->nodes[1] == node};
		bool both = mine[0] && mine[1];
		if (both) {
			if (connection->listener)
				leave_backlog(connection);
			connection->closed[0] = connection->closed[1] = true;
			free_if_over(connection);
		} else if (mine[0] || mine[1]) {
			kill_side(connection, mine[1], kind);
		}
		connection = next;
	}
}

void sim_network_release(struct sim_node *node)
{
	struct sim_stream *stream;
	struct env_listener *listener;
	while ((stream = TAILQ_FIRST(&node->streams)))
		stream_release(stream);
	while ((listener = TAILQ_FIRST(&node->listeners)))
		listener_release(listener);
}

void sim_connections_release(struct sim_world *world)
{
	struct sim_connection *connection;
	while ((connection = TAILQ_FIRST(&world->connections))) {
		if (connection->listener)
			leave_backlog(connection);
		connection_free(connection);
	}
}

void sim_network_usage(struct sim_node *node, struct sim_usage *usage)
{
	struct sim_stream *stream;
	struct env_listener *listener;
	TAILQ_FOREACH(stream, &node->streams, link)
	{
		usage->streams++;
	}
	TAILQ_FOREACH(listener, &node->listeners, link)
	{
		usage->listeners++;
	}
}
