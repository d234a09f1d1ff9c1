/* What the parts of env_sim share: the world's events and generators, nodes, loops. */
#ifndef ENV_ENV_SIM_INTERNAL_H
#define ENV_ENV_SIM_INTERNAL_H

#include "env/env_sim.h"

#include <sys/queue.h>

#define SIM_NODES_MAX 200
#define SIM_NAMES_MAX 64

/* What an event was, for the trace. */
enum sim_kind {
	SIM_KIND_CONTROL = 1,
	SIM_KIND_TURN,
	SIM_KIND_ALARM,
	SIM_KIND_JOB,
	SIM_KIND_ARRIVAL,
	SIM_KIND_CREDIT,
	SIM_KIND_CONNECT,
	SIM_KIND_CALL,
	SIM_KIND_SEND,
	SIM_KIND_RECEIVE,
	SIM_KIND_DISK,
	SIM_KIND_CRASH,
	SIM_KIND_RESTART,
	SIM_KIND_NOTE,
};

/* Something that happens at a virtual time; embedded in what it happens to. */
struct sim_event {
	struct heap_node node;
	void (*run)(struct sim_event *event);
	enum sim_kind kind;
	uint64_t id; /* of the loop, connection or job: the same in every run of the seed */
};

struct sim_control;
struct sim_connection;
struct sim_node;

struct sim_name {
	char host[256];
	struct env_address addresses[8];
	unsigned count;
};

struct sim_world {
	struct heap events;
	uint64_t now_ns;
	uint64_t spent_ns; /* by the callback that is running, in disk calls */
	uint64_t limit_ns;
	bool gave_up;
	uint64_t trace, event_count, next_id;
	uint64_t seed;
	struct prng network, disk, chance, schedule, workload;
	struct sim_faults faults;
	struct sim_node *nodes[SIM_NODES_MAX];
	unsigned node_count;
	struct sim_name names[SIM_NAMES_MAX];
	unsigned name_count;
	TAILQ_HEAD(, sim_control) controls;
	TAILQ_HEAD(, sim_connection) connections;
};

/* A job on its way through a thread of the pool. */
struct sim_task {
	struct sim_event event;
	struct sim_node *node;
	struct env_job *job;
	bool has_run;
	TAILQ_ENTRY(sim_task) link;
};

struct sim_signal_handler {
	int signal_number;
	bool pending;
	void (*handler)(void *argument, int signal_number);
	void *argument;
	TAILQ_ENTRY(sim_signal_handler) link;
};

/* Something a loop calls back when its state has changed: a stream or a listener. */
struct sim_source {
	void (*dispatch)(struct sim_source *source);
	bool queued;
	TAILQ_ENTRY(sim_source) link;
};

struct sim_loop {
	struct env_loop base;
	struct sim_node *node;
	uint64_t id;
	struct sim_event turn;  /* the next one */
	struct sim_event alarm; /* when the first timer is due */
	uint64_t busy_until_ns;
	struct heap timers;
	struct env_message *first, *last;
	struct env_job *job_first, *job_last; /* where it may block */
	TAILQ_HEAD(, sim_source) sources;
	unsigned source_count;
	TAILQ_HEAD(, sim_signal_handler) signals;
	bool may_block, started, stopping, finished, running;
	bool dead; /* its node has crashed */
	TAILQ_ENTRY(sim_loop) link;
};

struct sim_inode;
struct sim_change;
struct sim_file;
struct sim_stream;

struct sim_disk {
	struct sim_inode *root;
	TAILQ_HEAD(, sim_inode) inodes;
	TAILQ_HEAD(sim_change_list, sim_change)
	changes; /* of names, not yet durable; oldest first */
	TAILQ_HEAD(, sim_file) files;
	uint64_t used, limit, operations, next_id;
	size_t inode_count, collect_at;
	uint64_t crash_countdown; /* 0: off */
	enum sim_crash_kind crash_kind;
};

struct sim_node {
	struct env base;
	struct sim_world *world;
	char name[64];
	unsigned number; /* from 1 */
	struct prng entropy;
	int64_t wall_offset_ms;
	bool down, paused;
	bool frozen; /* it is dying within the callback that is running */
	void (*crashed)(void *argument);
	void *crashed_argument;
	bool cut_off[SIM_NODES_MAX + 1]; /* by number */
	uint16_t next_port;
	TAILQ_HEAD(, sim_loop) loops;
	TAILQ_HEAD(, sim_task) tasks;
	TAILQ_HEAD(, env_listener) listeners;
	TAILQ_HEAD(, sim_stream) streams;
	struct sim_disk disk;
};

static inline struct sim_node *sim_node_of(struct env *env)
{
	return (struct sim_node *)env;
}

static inline struct sim_loop *sim_loop_of(struct env_loop *loop)
{
	return (struct sim_loop *)loop;
}

/* Nothing the node does has an effect any more. */
static inline bool sim_is_gone(const struct sim_node *node)
{
	return node->down || node->frozen;
}

/* env_sim.c */
void *sim_allocate(size_t size); /* zeroed; ends the process when memory is out */
void sim_event_init(struct sim_world *world, struct sim_event *event, enum sim_kind kind,
		    void (*run)(struct sim_event *event));
/* Moves it if it is scheduled already. A time that has passed means now. */
void sim_schedule(struct sim_world *world, struct sim_event *event, uint64_t at_ns);
void sim_cancel(struct sim_world *world, struct sim_event *event);
static inline bool sim_is_scheduled(const struct sim_event *event)
{
	return event->node.index != 0;
}
/* One event; false if there is none until then. */
bool sim_step(struct sim_world *world, uint64_t until_ns);
void sim_trace_add(struct sim_world *world, enum sim_kind kind, uint64_t a, uint64_t b, uint64_t c);
/* The time as the running callback sees it. */
static inline uint64_t sim_local_now(const struct sim_world *world)
{
	return world->now_ns + world->spent_ns;
}
/* Both ends included. */
uint64_t sim_between(struct prng *prng, uint64_t min, uint64_t max);
bool sim_chance(struct sim_world *world, uint32_t rate);
int64_t sim_wall_ms(struct env *env);

/* env_sim_loop.c */
struct env_loop *sim_loop_new(struct env *, const char *, bool);
void sim_loop_free(struct env_loop *);
enum err_code sim_loop_start(struct env_loop *, int, struct err *);
void sim_loop_run(struct env_loop *);
void sim_loop_stop(struct env_loop *);
void sim_loop_join(struct env_loop *);
void sim_post(struct env_loop *, struct env_message *);
void sim_job_start(struct env_loop *, struct env_job *);
enum err_code sim_on_signal(struct env_loop *, int, void (*)(void *, int), void *, struct err *);
bool sim_timer_arm(struct env_loop *, struct env_timer *, uint64_t);
void sim_timer_disarm(struct env_loop *, struct env_timer *);
/* The loop gets a turn soon. */
void sim_wake(struct sim_loop *loop);
void sim_source_queue(struct sim_loop *loop, struct sim_source *source);
void sim_source_remove(struct sim_loop *loop, struct sim_source *source);
void sim_loops_resume(struct sim_node *node);
/* Stops everything at a crash; sim_loops_release frees it. */
void sim_loops_kill(struct sim_node *node);
void sim_loops_release(struct sim_node *node);

/* env_sim_network.c */
enum err_code sim_listen(struct env_loop *, const struct env_address *,
			 void (*)(struct env_listener *, void *), void *, struct env_listener **,
			 struct err *);
void sim_listener_address(struct env_listener *, struct env_address *);
void sim_listener_pause(struct env_listener *, bool);
void sim_listener_close(struct env_listener *);
struct env_stream *sim_accept(struct env_listener *, struct env_address *);
struct env_stream *sim_connect(struct env_loop *, const struct env_address *, struct err *);
ssize_t sim_receive(struct env_stream *, void *, size_t);
ssize_t sim_send(struct env_stream *, const struct iovec *, int);
void sim_shutdown(struct env_stream *);
void sim_close(struct env_stream *, bool);
void sim_lookup(struct env_loop *, struct env_lookup *);
void sim_network_kill(struct sim_node *node, enum sim_crash_kind kind);
void sim_network_release(struct sim_node *node);
void sim_connections_release(struct sim_world *world);
void sim_network_usage(struct sim_node *node, struct sim_usage *usage);

/* env_sim_disk.c */
enum err_code sim_file_open(struct env *, const char *, unsigned, struct env_file **, struct err *);
enum err_code sim_file_read(struct env_file *, uint64_t, void *, size_t, size_t *, struct err *);
enum err_code sim_file_append(struct env_file *, const void *, size_t, struct err *);
enum err_code sim_file_write(struct env_file *, uint64_t, const void *, size_t, struct err *);
enum err_code sim_file_sync(struct env_file *, struct err *);
enum err_code sim_file_size(struct env_file *, uint64_t *, struct err *);
enum err_code sim_file_truncate(struct env_file *, uint64_t, struct err *);
enum err_code sim_file_lock(struct env_file *, struct err *);
void sim_file_close(struct env_file *);
void sim_disk_init(struct sim_node *node);
void sim_disk_kill(struct sim_node *node, enum sim_crash_kind kind);
void sim_disk_release_handles(struct sim_node *node);
void sim_disk_release(struct sim_node *node);
void sim_disk_usage(struct sim_node *node, struct sim_usage *usage);

/* env_sim_names.c */
enum err_code sim_rename(struct env *, const char *, const char *, struct err *);
enum err_code sim_unlink(struct env *, const char *, struct err *);
enum err_code sim_make_directory(struct env *, const char *, struct err *);
enum err_code sim_sync_directory(struct env *, const char *, struct err *);
enum err_code sim_list_directory(struct env *, const char *,
				 void (*)(void *, const struct env_directory_entry *), void *,
				 struct err *);
enum err_code sim_chmod(struct env *, const char *, unsigned, struct err *);

#endif
