/* Pipes of the simulated network. What is sent travels in pieces, each with a delay of its own but
 * in order; what has arrived waits to be received. */
#include "env/env_sim_network_internal.h"

#include "base/crc32c.h"

#include <stdlib.h>

/* A piece that meets nobody is sent again after so long, then twice as long and so on (RFC 6298,
 * 5.5), and after so many times the sender gives up. */
#define RETRY_NS ((uint64_t)200000000)
#define RETRIES 12

static struct sim_connection *owner_of(struct pipe *pipe, unsigned side)
{
	return (struct sim_connection *)((char *)(pipe - side) -
					 offsetof(struct sim_connection, to));
}

/* ---- telling the program ---- */

void sim_tell(struct sim_connection *connection, unsigned side, bool read_news, bool write_news)
{
	struct sim_stream *stream = connection->streams[side];
	if (!stream)
		return;
	stream->read_news |= read_news;
	stream->write_news |= write_news;
	sim_source_queue(sim_loop_of(stream->base.loop), &stream->source);
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

uint64_t sim_draw_delay(struct sim_world *world)
{
	const struct sim_faults *faults = &world->faults;
	uint64_t delay = sim_between(&world->network, faults->delay_min_ns, faults->delay_max_ns);
	if (sim_chance(world, faults->stall))
		delay += sim_between(&world->network, 0, faults->stall_max_ns);
	return delay;
}

void sim_send_piece(struct sim_connection *connection, unsigned to, struct piece *piece)
{
	struct sim_world *world = connection->world;
	struct pipe *pipe = &connection->to[to];
	piece->arrives_ns = sim_local_now(world) + sim_draw_delay(world);
	if (piece->arrives_ns < pipe->last_arrival_ns)
		piece->arrives_ns = pipe->last_arrival_ns;
	pipe->last_arrival_ns = piece->arrives_ns;
	TAILQ_INSERT_TAIL(&pipe->pieces, piece, link);
	if (!sim_is_scheduled(&pipe->arrival))
		sim_schedule(world, &pipe->arrival, TAILQ_FIRST(&pipe->pieces)->arrives_ns);
}

void sim_send_mark(struct sim_connection *connection, unsigned to, enum piece_kind kind)
{
	struct piece *piece = sim_allocate(sizeof(*piece));
	piece->kind = kind;
	sim_send_piece(connection, to, piece);
}

void sim_send_reset(struct sim_connection *connection, unsigned to)
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
	sim_send_mark(connection, to, PIECE_RESET);
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
			sim_send_reset(connection, 1 - side);
		return;
	}
	if (connection->broken[side])
		return;
	store(&connection->to[side], piece);
	sim_tell(connection, side, true, false);
}

static void arrive_established(struct sim_connection *connection, unsigned side,
			       const struct piece *piece)
{
	(void)piece;
	if (!connection->streams[side])
		return;
	connection->streams[side]->established = true;
	sim_tell(connection, side, true, true);
}

static void arrive_end(struct sim_connection *connection, unsigned side, const struct piece *piece)
{
	(void)piece;
	connection->to[side].end_arrived = true;
	sim_tell(connection, side, true, false);
}

/* What has arrived before a reset may or may not still be received. */
void sim_break_side(struct sim_connection *connection, unsigned side)
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
	sim_tell(connection, side, true, true);
}

static void arrive_reset(struct sim_connection *connection, unsigned side,
			 const struct piece *piece)
{
	(void)piece;
	sim_break_side(connection, side);
}

static void (*const arrivals[])(struct sim_connection *, unsigned, const struct piece *) = {
	[PIECE_DATA] = arrive_data,
	[PIECE_ESTABLISHED] = arrive_established,
	[PIECE_END] = arrive_end,
	[PIECE_RESET] = arrive_reset,
};

bool sim_is_cut_off(const struct sim_connection *connection)
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
	if (!down && !sim_is_cut_off(connection)) {
		pipe->retries = 0;
		return false;
	}
	if (pipe->retries == RETRIES) {
		drop_pieces(connection, side, 0);
		sim_break_side(connection, 1 - side);
		return true;
	}
	sim_schedule(world, &pipe->arrival,
		     world->now_ns + (RETRY_NS << pipe->retries++) + sim_draw_delay(world));
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
		sim_tell(connection, 1 - side, false, true);
}

static void credit_to_client(struct sim_event *event)
{
	give_credit((struct pipe *)((char *)event - offsetof(struct pipe, credit)), 0);
}

static void credit_to_server(struct sim_event *event)
{
	give_credit((struct pipe *)((char *)event - offsetof(struct pipe, credit)), 1);
}

void sim_plan_credit(struct sim_connection *connection, unsigned side)
{
	struct sim_world *world = connection->world;
	struct pipe *pipe = &connection->to[side];
	if (!sim_is_scheduled(&pipe->credit))
		sim_schedule(world, &pipe->credit, sim_local_now(world) + sim_draw_delay(world));
}

/* ---- life of a connection ---- */

static void pipe_init(struct sim_world *world, struct pipe *pipe,
		      void (*arrival)(struct sim_event *), void (*credit)(struct sim_event *))
{
	sim_event_init(world, &pipe->arrival, SIM_KIND_ARRIVAL, arrival);
	sim_event_init(world, &pipe->credit, SIM_KIND_CREDIT, credit);
	TAILQ_INIT(&pipe->pieces);
}

struct sim_connection *sim_connection_new(struct sim_world *world,
					  void (*attempt)(struct sim_event *event))
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

void sim_connection_free(struct sim_connection *connection)
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

void sim_connection_free_if_over(struct sim_connection *connection)
{
	if (connection->closed[0] && connection->closed[1])
		sim_connection_free(connection);
}
