/* Streams of the simulated network: a sender may be at most `window` bytes ahead of its receiver
 * and learns of progress a delay later. */
#include "env/env_sim_network_internal.h"

#include <assert.h>
#include <stdlib.h>

static struct sim_stream *stream_of(struct env_stream *base)
{
	return (struct sim_stream *)base;
}

static bool is_dead(const struct sim_stream *stream)
{
	return sim_is_gone(sim_loop_of(stream->base.loop)->node) ||
	       sim_loop_of(stream->base.loop)->dead;
}

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

struct sim_stream *sim_stream_new(struct sim_loop *loop, struct sim_connection *connection,
				  unsigned side)
{
	struct sim_stream *stream = sim_allocate(sizeof(*stream));
	stream->base.loop = &loop->base;
	stream->source.dispatch = dispatch_stream;
	stream->connection = connection;
	stream->side = side;
	connection->streams[side] = stream;
	connection->nodes[side] = loop->node;
	TAILQ_INSERT_TAIL(&loop->node->streams, stream, link);
	return stream;
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
	sim_plan_credit(connection, stream->side);
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
		sim_send_reset(connection, 0);
		sim_send_reset(connection, 1);
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
		sim_send_piece(connection, to, piece);
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
		sim_plan_credit(connection, to);
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
	sim_send_mark(stream->connection, 1 - stream->side, PIECE_END);
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
		sim_send_reset(connection, 1 - side);
	else if (!other->end_sent) {
		other->end_sent = true;
		sim_send_mark(connection, 1 - side, PIECE_END);
	}
	sim_connection_free_if_over(connection);
}

void sim_close(struct env_stream *base, bool reset)
{
	struct sim_stream *stream = stream_of(base);
	if (is_dead(stream))
		return;
	close_side(stream->connection, stream->side, reset);
	stream_release(stream);
}

/* ---- crashes ---- */

static void kill_side(struct sim_connection *connection, unsigned side, enum sim_crash_kind kind)
{
	if (connection->closed[side])
		return;
	if (connection->listener && side == 1)
		sim_leave_backlog(connection);
	if (kind == SIM_KILLED) {
		close_side(connection, side, false);
		return;
	}
	connection->streams[side] = NULL;
	connection->closed[side] = true;
	if (!connection->nodes[1])
		connection->closed[1] = true;
	sim_connection_free_if_over(connection);
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
				sim_leave_backlog(connection);
			connection->closed[0] = connection->closed[1] = true;
			sim_connection_free_if_over(connection);
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
		sim_listener_release(listener);
}

void sim_connections_release(struct sim_world *world)
{
	struct sim_connection *connection;
	while ((connection = TAILQ_FIRST(&world->connections))) {
		if (connection->listener)
			sim_leave_backlog(connection);
		sim_connection_free(connection);
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
