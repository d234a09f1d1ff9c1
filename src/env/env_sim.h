/* A simulated world behind env.h: several nodes on one network, each with a disk and clocks of its
 * own, run on one thread over virtual time. Everything that happens is an event in one heap, and
 * every choice (delays, cuts, faults, which loop runs next) is drawn from generators of the seed:
 * the same seed and program give the same trace, byte for byte.
 *
 * What a program may not rely on is drawn against it: streams are cut at any byte, a write that was
 * not synced may be kept, dropped or torn when the power goes, a new or renamed file whose
 * directory was not synced may be gone, loops run in any order. What it may rely on (env.h) always
 * holds.
 *
 * Every node is a `struct env` for the program that runs on it. Loops given to env_loop_start are
 * actors that run whenever the world does; env_loop_run and env_loop_join run the world themselves
 * until that loop has stopped. A callback takes no virtual time beyond what its disk calls take.
 * Memory that runs out in the simulator itself ends the process: it is a test tool. */
#ifndef ENV_ENV_SIM_H
#define ENV_ENV_SIM_H

#include "env/env.h"

#include "base/prng.h"

struct sim_world;

#define SIM_NEVER UINT64_MAX
/* A chance is a number of cases out of this many. */
#define SIM_CERTAIN 1000000u

struct sim_faults {
	/* Network. A delay is drawn for every piece that travels; pieces of one stream keep their
	 * order. */
	uint64_t delay_min_ns, delay_max_ns;
	uint64_t stall_max_ns;   /* the longest extra delay of `stall` */
	uint32_t window;         /* most bytes of a stream sent and not yet received by its owner */
	uint32_t stall;          /* per piece: it comes later by up to stall_max_ns */
	uint32_t cut;            /* per receive and send: it handles only a part */
	uint32_t one_byte;       /* per receive and send: it handles a single byte */
	uint32_t refuse;         /* per connect */
	uint32_t reset;          /* per piece: the connection breaks, both ends are told */
	uint32_t half_open;      /* per piece: the connection goes dead, nobody is told */
	uint32_t lookup_failure; /* per lookup of a name */
	/* Disk */
	uint64_t disk_min_ns, disk_max_ns;                        /* time of one call */
	uint32_t read_error, write_error, sync_error, open_error; /* per call */
	uint32_t full; /* per write: ERR_NO_SPACE after a part */
	/* Loops and clocks */
	uint64_t turn_max_ns; /* a loop that is ready runs within this time; at least 1 */
	uint64_t pause_max_ns;
	uint32_t pause;     /* per turn: the loop then does nothing for up to pause_max_ns */
	uint32_t wall_jump; /* per turn: the wall clock of the node jumps */
	int64_t wall_jump_max_ms;
};

/* Delays and an order of loops drawn from the seed, but nothing fails. */
struct sim_faults sim_faults_none(void);
/* A draw of rates from `seed`: some kinds of fault off, others rare, some frequent, so that a
 * series of seeds visits very different worlds. Disk faults that a correct program answers by
 * stopping (read_error, write_error, sync_error, open_error, full) are drawn only
 * `with_disk_errors`. */
struct sim_faults sim_faults_draw(uint64_t seed, bool with_disk_errors);

/* ---- the world ---- */

/* Virtual time starts at 1 s, the wall clock of every node at 2026-11-05T12:00:00Z. */
struct sim_world *sim_world_new(uint64_t seed, const struct sim_faults *faults);
/* Frees all nodes with their disks, loops, streams and files. */
void sim_world_free(struct sim_world *world);

/* From the next event on. */
void sim_set_faults(struct sim_world *world, const struct sim_faults *faults);
uint64_t sim_now(struct sim_world *world);
/* The generator for what the test itself draws. */
struct prng *sim_workload(struct sim_world *world);

/* Calls `run` at the virtual time, between callbacks of the program. */
void sim_at(struct sim_world *world, uint64_t at_ns, void (*run)(void *argument), void *argument);

/* Runs until the virtual time has come; everything due until then has happened. */
void sim_run(struct sim_world *world, uint64_t until_ns);
/* Runs until nothing is left to happen (true) or the virtual time has come (false). */
bool sim_run_until_idle(struct sim_world *world, uint64_t until_ns);
/* Runs until `done(argument)` holds (true), or the virtual time has come or nothing is left. */
bool sim_run_until(struct sim_world *world, uint64_t until_ns, bool (*done)(void *argument),
		   void *argument);
/* env_loop_run and env_loop_join give up at this virtual time (SIM_NEVER at first), or when nothing
 * is left that could ever stop the loop; sim_gave_up tells. */
void sim_limit(struct sim_world *world, uint64_t until_ns);
bool sim_gave_up(const struct sim_world *world);

/* A digest of everything that has happened. Two runs of one seed are equal or something in the
 * program depends on more than its seed (addresses, uninitialised memory, the real clock). */
uint64_t sim_trace(const struct sim_world *world);
/* Adds the test's own observation to the trace. */
void sim_note(struct sim_world *world, const void *data, size_t size);
uint64_t sim_event_count(const struct sim_world *world);

/* ---- nodes ---- */

/* `name` is copied and can be looked up by all. The node has the addresses 10.0.0.N and fd00::N (N
 * counts from 1); loopback addresses and Unix sockets are its own. At most 200 nodes. */
struct env *sim_node_new(struct sim_world *world, const char *name);
struct sim_world *sim_world_of(struct env *node);
/* The node's IPv4 address, with this port. */
struct env_address sim_node_address(struct env *node, uint16_t port);
/* Makes `host` resolve to the address (up to 8 per name). */
void sim_name_add(struct sim_world *world, const char *host, const struct env_address *address);
/* From now on a name that was added resolves to this address alone. */
void sim_name_move(struct sim_world *world, const char *host, const struct env_address *address);
/* Between the two nodes nothing arrives while cut; afterwards what was sent arrives late. */
void sim_partition(struct sim_world *world, struct env *a, struct env *b, bool cut);
/* A stopped process: its loops do not run, its connections stay. */
void sim_pause(struct env *node, bool paused);
/* The handlers of the node for this signal are called. */
void sim_signal(struct env *node, int signal_number);
void sim_wall_jump(struct env *node, int64_t by_ms);
/* What the node has open. After quiet all of it must be back to where it was. */
struct sim_usage {
	unsigned loops, streams, listeners, files, timers, jobs;
};
struct sim_usage sim_node_usage(struct env *node);

enum sim_crash_kind {
	SIM_KILLED,     /* kill -9: its streams are closed, everything written is kept */
	SIM_POWER_LOST, /* peers hear nothing until they send; what was not synced is at a draw */
};

/* The node stops at once. None of its callbacks is called again. What the program had open stays
 * valid memory and every call on it does nothing, so that the program's own teardown functions can
 * release its memory; sim_restart or sim_world_free frees it. */
void sim_crash(struct env *node, enum sim_crash_kind kind);
/* The same, by itself, in the middle of the node's `operations`th disk call from now (1: the next).
 * That call and everything the node does after it within the callback fails and has no effect. 0
 * calls it off. */
void sim_crash_after(struct env *node, uint64_t operations, enum sim_crash_kind kind);
/* `run` is called after every crash; it may release the program and plan the restart. */
void sim_on_crash(struct env *node, void (*run)(void *argument), void *argument);
/* The node can be used again: empty memory, what the disk has kept. */
void sim_restart(struct env *node);
bool sim_is_down(struct env *node);

/* ---- disk ---- */

/* Most bytes that all files of the node may hold together; SIM_NEVER at first. */
void sim_disk_limit(struct env *node, uint64_t bytes);
/* Disk calls of the node so far: for crashing at each one in turn. */
uint64_t sim_disk_operations(struct env *node);
/* Flips bits of one stored byte (a rotten sector), seen and durable; false where there is none. */
bool sim_disk_rot(struct env *node, const char *path, uint64_t offset, uint8_t mask);
/* Mode bits of a file or directory, 0 where there is none. */
unsigned sim_disk_mode(struct env *node, const char *path);

#endif
