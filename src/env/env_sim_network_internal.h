/* Connections of the simulated network: two one-way pipes between two nodes. */
#ifndef ENV_ENV_SIM_NETWORK_INTERNAL_H
#define ENV_ENV_SIM_NETWORK_INTERNAL_H

#include "env/env_sim_internal.h"

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
	size_t ahead;    /* bytes sent and, as far as the sender knows, not received */
	size_t credited; /* bytes received and not yet told */
	char *waiting;   /* arrived bytes from `from` to `to`, not yet received */
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
	bool silent;    /* half open: nothing arrives any more */
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

/* env_sim_pipe.c */
/* `attempt` is called when its event, which the caller plans, has come. */
struct sim_connection *sim_connection_new(struct sim_world *world,
					  void (*attempt)(struct sim_event *event));
void sim_connection_free(struct sim_connection *connection);
/* When neither side will ever look again. */
void sim_connection_free_if_over(struct sim_connection *connection);
uint64_t sim_draw_delay(struct sim_world *world);
/* The stream of that side, if there is one, is called `ready` with what is new. */
void sim_tell(struct sim_connection *connection, unsigned side, bool read_news, bool write_news);
void sim_send_piece(struct sim_connection *connection, unsigned to, struct piece *piece);
void sim_send_mark(struct sim_connection *connection, unsigned to, enum piece_kind kind);
/* Nothing more goes to that side but a reset; it overtakes a drawn part of what is on its way. */
void sim_send_reset(struct sim_connection *connection, unsigned to);
/* The side is told of a reset, now. */
void sim_break_side(struct sim_connection *connection, unsigned side);
/* The sender to that side hears a delay later what was received. */
void sim_plan_credit(struct sim_connection *connection, unsigned side);
bool sim_is_cut_off(const struct sim_connection *connection);

/* env_sim_network.c */
struct sim_stream *sim_stream_new(struct sim_loop *loop, struct sim_connection *connection,
				  unsigned side);

/* env_sim_listen.c */
void sim_leave_backlog(struct sim_connection *connection);
/* Refuses those that wait and frees the listener. */
void sim_listener_release(struct env_listener *listener);

#endif
