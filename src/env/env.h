/* The only door to the world: clock, randomness, network, disk, threads. Everything above sees this
 * table; env_os.c is the machine, env_sim.c a simulated world that replays from a seed.
 *
 * Loops. A loop is one thread with its own timers and sockets (os) or one actor (simulation). What
 * belongs to a loop (streams, listeners, timers) is touched only from that loop's callbacks; other
 * loops reach it with env_post. Callbacks are never called from inside the call that caused them.
 *
 * Sockets are by readiness, so that an idle stream holds no buffer. Files block: they are used at
 * start-up, by commands, and inside jobs (env_job_start), never on a loop that serves requests. */
#ifndef ENV_ENV_H
#define ENV_ENV_H

#include "base/buf.h"
#include "base/err.h"
#include "base/heap.h"
#include "env/address.h"

#include <stdatomic.h>
#include <sys/types.h>
#include <sys/uio.h>

struct env;
struct env_loop;
struct env_stream;
struct env_listener;
struct env_file;
struct env_ops;

/* Results of env_receive and env_send besides a byte count. */
enum env_io {
	ENV_EOF = 0,    /* receive only: the peer has finished sending */
	ENV_AGAIN = -1, /* nothing now; `ready` will be called */
	ENV_RESET = -2, /* the stream is broken: close it */
};

struct env_timer {
	struct heap_node node; /* private */
	void (*fire)(struct env_timer *timer);
};

struct env_message {
	struct env_message *_Atomic next; /* private */
	void (*run)(struct env_message *message);
};

/* Blocking work. `run` is called on a thread that may block (on the loop itself where it was made
 * with may_block), then `done` on the loop that started it. */
struct env_job {
	struct env_message message; /* private */
	struct env_loop *loop;      /* private */
	struct env_job *next;       /* private */
	void (*run)(struct env_job *job);
	void (*done)(struct env_job *job);
};

/* A name being looked up. On success count >= 1 addresses, with the port given. */
struct env_lookup {
	struct env_job job; /* private */
	char host[256];
	uint16_t port;
	struct env_address addresses[8];
	unsigned count; /* 0: failed, and `err` says why */
	uint32_t ttl_s; /* for how many seconds they are good; 0: not told */
	struct err err;
	void (*done)(struct env_lookup *lookup);
};

/* A program that is run apart, with an environment of its own (a PATH and nothing of ours). What it
 * writes is kept as far as there is room, for a message. One that is `attached` is the user's own:
 * standard streams and working directory are those of this process. */
#define ENV_PROCESS_OUTPUT 256
struct env_process {
	const char *const *argv; /* the program's path first (absolute unless it is attached);
				    borrowed until `done` */
	struct bytes input;      /* its standard input; borrowed for env_process_start */
	uint64_t deadline_ns;    /* it and what it started in its process group is killed then; 0
				    (attached only): never */
	bool attached;
	/* Attached: its whole environment, NULL-ended; borrowed for env_process_start. */
	const char *const *environment;
	bool same_group;      /* attached: it stays in our process group, so that a terminal's
				 signals reach both; else it has one of its own */
	bool output_to_error; /* attached: what it prints goes to our standard error */
	/* On the loop, never from inside env_process_start; not after env_process_cancel. */
	void (*done)(struct env_process *process);
	int status; /* as it exited; -1: it was killed */
	int signal; /* that killed it; 0: none did */
	char output[ENV_PROCESS_OUTPUT];
	void *handle; /* private */
};

/* A loop that always finds something ready keeps what waits for `idle` so long at most. */
#define ENV_IDLE_LATE_NS 1000000u

struct env_loop {
	const struct env_ops *ops;
	struct env *env;
	const char *name;
	uint64_t now_ns; /* monotonic, fixed within a turn */
	int64_t wall_ms; /* Unix time, fixed within a turn; may jump either way */
	/* Called where `idle_wanted` is set, nothing is ready and the loop is about to sleep, or
	 * where that has not come to pass for ENV_IDLE_LATE_NS; may do work and post. */
	void (*idle)(void *argument);
	void *idle_argument;
	bool idle_wanted;      /* something is left for `idle`; false again before it is called */
	uint64_t idle_late_ns; /* private: when it is called all the same; 0: nobody wanted it */
	atomic_bool sleeping;  /* about to sleep or asleep: another loop may read it */
	bool precise;          /* timers to the microsecond rather than the next millisecond; set
				* before the loop runs */
};

/* One end of a connection. The owner of the stream sets `ready` and `argument` at any time on the
 * loop. `ready` is called after the state below changed for the better: more can be read or
 * written, a connect finished, or the peer is gone. It is edge-triggered: act on the state until it
 * is exhausted, or remember that something is left. */
struct env_stream {
	struct env_loop *loop;
	void (*ready)(struct env_stream *stream);
	void *argument;
	bool readable; /* a receive may give something; cleared when one found nothing more */
	bool writable; /* a send may take something; cleared when one did not take all */
	bool hangup; /* the peer has closed its side (readable stays set until EOF was received) */
	bool connected; /* false while a connect is under way */
};

struct env_directory_entry {
	const char *name;
	bool is_directory;
};

enum env_open {
	ENV_OPEN_READ = 1,
	ENV_OPEN_WRITE = 2,     /* read and write */
	ENV_OPEN_CREATE = 4,    /* make it (0600) if it is missing */
	ENV_OPEN_EXCLUSIVE = 8, /* with CREATE: fail (ERR_EXISTS) if it is there */
	/* For env_file_append alone; "-" is the standard output (of the machine). */
	ENV_OPEN_APPEND = 16,
	/* What memory holds of the file and is on the medium already is dropped: the next reads are
	 * of the medium. */
	ENV_OPEN_FRESH = 32,
};

struct env_ops {
	/* Worlds and loops */
	struct env_loop *(*loop_new)(struct env *env, const char *name, bool may_block);
	void (*loop_free)(struct env_loop *loop);
	enum err_code (*loop_start)(struct env_loop *loop, int cpu, struct err *err);
	void (*loop_run)(struct env_loop *loop);
	void (*loop_stop)(struct env_loop *loop);
	void (*loop_join)(struct env_loop *loop);
	void (*post)(struct env_loop *to, struct env_message *message);
	void (*job_start)(struct env_loop *loop, struct env_job *job);
	enum err_code (*on_signal)(struct env_loop *loop, int signal_number,
				   void (*handler)(void *argument, int signal_number),
				   void *argument, struct err *err);
	/* Time and chance */
	uint64_t (*clock_ns)(struct env *env);
	int64_t (*wall_ms)(struct env *env);
	void (*random)(struct env *env, void *out, size_t size);
	bool (*timer_arm)(struct env_loop *loop, struct env_timer *timer, uint64_t at_ns);
	void (*timer_disarm)(struct env_loop *loop, struct env_timer *timer);
	/* Network */
	enum err_code (*listen)(struct env_loop *loop, const struct env_address *address,
				void (*ready)(struct env_listener *listener, void *argument),
				void *argument, struct env_listener **out, struct err *err);
	void (*listener_address)(struct env_listener *listener, struct env_address *out);
	void (*listener_pause)(struct env_listener *listener, bool paused);
	void (*listener_close)(struct env_listener *listener);
	struct env_stream *(*accept)(struct env_listener *listener, struct env_address *peer);
	struct env_stream *(*connect)(struct env_loop *loop, const struct env_address *address,
				      struct err *err);
	ssize_t (*receive)(struct env_stream *stream, void *data, size_t size);
	ssize_t (*send)(struct env_stream *stream, const struct iovec *parts, int count);
	void (*shutdown)(struct env_stream *stream);
	void (*close)(struct env_stream *stream, bool reset);
	void (*lookup)(struct env_loop *loop, struct env_lookup *lookup);
	/* Programs */
	enum err_code (*process_start)(struct env_loop *loop, struct env_process *process,
				       struct err *err);
	void (*process_cancel)(struct env_process *process);
	void (*process_signal)(struct env_process *process, int signal_number);
	/* Disk */
	enum err_code (*file_open)(struct env *env, const char *path, unsigned flags,
				   struct env_file **out, struct err *err);
	enum err_code (*file_read)(struct env_file *file, uint64_t offset, void *out, size_t size,
				   size_t *got, struct err *err);
	enum err_code (*file_write)(struct env_file *file, uint64_t offset, const void *data,
				    size_t size, struct err *err);
	enum err_code (*file_append)(struct env_file *file, const void *data, size_t size,
				     struct err *err);
	enum err_code (*file_sync)(struct env_file *file, struct err *err);
	enum err_code (*file_size)(struct env_file *file, uint64_t *out, struct err *err);
	enum err_code (*file_truncate)(struct env_file *file, uint64_t size, struct err *err);
	enum err_code (*file_lock)(struct env_file *file, struct err *err);
	void (*file_close)(struct env_file *file);
	enum err_code (*rename)(struct env *env, const char *from, const char *to, struct err *err);
	enum err_code (*unlink)(struct env *env, const char *path, struct err *err);
	enum err_code (*make_directory)(struct env *env, const char *path, struct err *err);
	enum err_code (*sync_directory)(struct env *env, const char *path, struct err *err);
	enum err_code (*list_directory)(struct env *env, const char *path,
					void (*each)(void *argument,
						     const struct env_directory_entry *entry),
					void *argument, struct err *err);
	enum err_code (*chmod)(struct env *env, const char *path, unsigned mode, struct err *err);
};

struct env {
	const struct env_ops *ops;
};

/* The machine. `job_threads` (1 to 64) threads run jobs of loops that may not block; they start
 * with the first such job. NULL when memory is out. */
struct env *env_os_new(unsigned job_threads);
void env_os_free(struct env *env);

/* ---- loops ---- */

/* A loop that has not started. may_block: its jobs run on its own thread and its callbacks may use
 * files. NULL when memory or descriptors are out. */
static inline struct env_loop *env_loop_new(struct env *env, const char *name, bool may_block)
{
	return env->ops->loop_new(env, name, may_block);
}
/* Only after it was joined or has never run; its streams, listeners and timers are gone already. */
static inline void env_loop_free(struct env_loop *loop)
{
	if (loop)
		loop->ops->loop_free(loop);
}
/* Runs the loop on a thread of its own, pinned to processor `cpu` unless it is negative. */
static inline enum err_code env_loop_start(struct env_loop *loop, int cpu, struct err *err)
{
	return loop->ops->loop_start(loop, cpu, err);
}
/* Runs the loop on this thread until env_loop_stop. */
static inline void env_loop_run(struct env_loop *loop)
{
	loop->ops->loop_run(loop);
}
/* From any thread: the loop ends after its present turn. */
static inline void env_loop_stop(struct env_loop *loop)
{
	loop->ops->loop_stop(loop);
}
static inline void env_loop_join(struct env_loop *loop)
{
	loop->ops->loop_join(loop);
}
/* From any thread: `message->run` is called on `to`, messages of one sender in order. The message
 * belongs to the loop until then. Never fails; wakes the loop only if it sleeps. */
static inline void env_post(struct env_loop *to, struct env_message *message)
{
	to->ops->post(to, message);
}
static inline void env_job_start(struct env_loop *loop, struct env_job *job)
{
	loop->ops->job_start(loop, job);
}
/* `handler` is called on the loop. The signal must be blocked in every thread: call this before any
 * loop starts. */
static inline enum err_code env_on_signal(struct env_loop *loop, int signal_number,
					  void (*handler)(void *argument, int signal_number),
					  void *argument, struct err *err)
{
	return loop->ops->on_signal(loop, signal_number, handler, argument, err);
}

/* ---- time and chance ---- */

/* The clocks outside of any loop; on a loop use loop->now_ns and loop->wall_ms. */
static inline uint64_t env_clock_ns(struct env *env)
{
	return env->ops->clock_ns(env);
}
static inline int64_t env_wall_ms(struct env *env)
{
	return env->ops->wall_ms(env);
}
/* Cryptographically strong on the machine, from the seed in a simulation. Cannot fail. */
static inline void env_random(struct env *env, void *out, size_t size)
{
	env->ops->random(env, out, size);
}
/* Arms or re-arms. False when memory is out. */
static inline bool env_timer_arm(struct env_loop *loop, struct env_timer *timer, uint64_t at_ns)
{
	return loop->ops->timer_arm(loop, timer, at_ns);
}
static inline void env_timer_disarm(struct env_loop *loop, struct env_timer *timer)
{
	loop->ops->timer_disarm(loop, timer);
}
/* When it fires; UINT64_MAX where it is not armed. */
static inline uint64_t env_timer_due(const struct env_timer *timer)
{
	return timer->node.index ? timer->node.key : UINT64_MAX;
}

/* ---- network ---- */

/* Several loops may listen on one TCP address; the kernel spreads connections over them. `ready` is
 * called when env_accept may give a stream. Port 0 takes a free one (env_listener_address tells).
 */
static inline enum err_code env_listen(struct env_loop *loop, const struct env_address *address,
				       void (*ready)(struct env_listener *listener, void *argument),
				       void *argument, struct env_listener **out, struct err *err)
{
	return loop->ops->listen(loop, address, ready, argument, out, err);
}
/* The listener must belong to `loop`. */
static inline void env_listener_address(struct env_loop *loop, struct env_listener *listener,
					struct env_address *out)
{
	loop->ops->listener_address(listener, out);
}
/* Stops and restarts taking connections; they wait in the backlog. */
static inline void env_listener_pause(struct env_loop *loop, struct env_listener *listener,
				      bool paused)
{
	loop->ops->listener_pause(listener, paused);
}
static inline void env_listener_close(struct env_loop *loop, struct env_listener *listener)
{
	loop->ops->listener_close(listener);
}
/* NULL when there is none now. The caller sets ready and argument, and looks at the stream's state
 * at once: bytes may be there already. */
static inline struct env_stream *env_accept(struct env_loop *loop, struct env_listener *listener,
					    struct env_address *peer)
{
	return loop->ops->accept(listener, peer);
}
/* Starts a connect; `ready` is called when it has finished: `connected` is set, or the first
 * receive or send gives ENV_RESET. NULL (err says why) when it fails at once. */
static inline struct env_stream *env_connect(struct env_loop *loop,
					     const struct env_address *address, struct err *err)
{
	return loop->ops->connect(loop, address, err);
}
static inline ssize_t env_receive(struct env_stream *stream, void *data, size_t size)
{
	return stream->loop->ops->receive(stream, data, size);
}
/* Bytes taken (all, or fewer and `writable` is cleared), ENV_AGAIN or ENV_RESET. */
static inline ssize_t env_send(struct env_stream *stream, const struct iovec *parts, int count)
{
	return stream->loop->ops->send(stream, parts, count);
}
/* No more will be sent; receiving goes on. */
static inline void env_shutdown(struct env_stream *stream)
{
	stream->loop->ops->shutdown(stream);
}
/* No callback comes after it. `reset`: unsent bytes are thrown away and the peer sees a reset. */
static inline void env_close(struct env_stream *stream, bool reset)
{
	if (stream)
		stream->loop->ops->close(stream, reset);
}
/* `lookup->done` is called on the loop. Numeric addresses are answered without asking anyone. */
static inline void env_lookup_start(struct env_loop *loop, struct env_lookup *lookup)
{
	loop->ops->lookup(loop, lookup);
}

/* ---- programs ---- */

/* ERR_ENVIRONMENT if it cannot be started; ERR_UNSUPPORTED in a simulation. */
static inline enum err_code env_process_start(struct env_loop *loop, struct env_process *process,
					      struct err *err)
{
	return loop->ops->process_start(loop, process, err);
}
/* Kills it; `done` is not called. One that has ended, or never began (all zero), is left alone. */
static inline void env_process_cancel(struct env_loop *loop, struct env_process *process)
{
	loop->ops->process_cancel(process);
}
/* Sends it a signal, with what it started where it has a process group of its own. One that has
 * ended is left alone. */
static inline void env_process_signal(struct env_loop *loop, struct env_process *process,
				      int signal_number)
{
	loop->ops->process_signal(process, signal_number);
}

/* ---- disk ---- */

/* A file handle is a struct env_file that starts with its ops. Nothing is durable before a sync
 * that was started after the write has returned; a sync that failed once has failed for ever: the
 * file must not be trusted or synced again. Errors name the path. ERR_NOT_FOUND, ERR_EXISTS,
 * ERR_NO_SPACE and ERR_LOCKED are told apart; all else is ERR_ENVIRONMENT. */
struct env_file {
	const struct env_ops *ops;
};

static inline enum err_code env_file_open(struct env *env, const char *path, unsigned flags,
					  struct env_file **out, struct err *err)
{
	return env->ops->file_open(env, path, flags, out, err);
}
/* Reads up to `size` bytes; *got is less only at the end of the file. */
static inline enum err_code env_file_read(struct env_file *file, uint64_t offset, void *out,
					  size_t size, size_t *got, struct err *err)
{
	return file->ops->file_read(file, offset, out, size, got, err);
}
/* Writes all of it or fails (part may have been written). */
static inline enum err_code env_file_write(struct env_file *file, uint64_t offset, const void *data,
					   size_t size, struct err *err)
{
	return file->ops->file_write(file, offset, data, size, err);
}
/* Adds all of it at the end, wherever that is by now, or fails (part may have been added).
 * ERR_TIMEOUT where it is a pipe or a terminal and nobody has read from it for a second. */
static inline enum err_code env_file_append(struct env_file *file, const void *data, size_t size,
					    struct err *err)
{
	return file->ops->file_append(file, data, size, err);
}
/* fdatasync. */
static inline enum err_code env_file_sync(struct env_file *file, struct err *err)
{
	return file->ops->file_sync(file, err);
}
static inline enum err_code env_file_size(struct env_file *file, uint64_t *out, struct err *err)
{
	return file->ops->file_size(file, out, err);
}
static inline enum err_code env_file_truncate(struct env_file *file, uint64_t size, struct err *err)
{
	return file->ops->file_truncate(file, size, err);
}
/* An exclusive lock until the file is closed; ERR_LOCKED at once if another process has it. */
static inline enum err_code env_file_lock(struct env_file *file, struct err *err)
{
	return file->ops->file_lock(file, err);
}
static inline void env_file_close(struct env_file *file)
{
	if (file)
		file->ops->file_close(file);
}
static inline enum err_code env_rename(struct env *env, const char *from, const char *to,
				       struct err *err)
{
	return env->ops->rename(env, from, to, err);
}
/* A missing file is no error. */
static inline enum err_code env_unlink(struct env *env, const char *path, struct err *err)
{
	return env->ops->unlink(env, path, err);
}
/* Mode 0700; one that is there is no error. */
static inline enum err_code env_make_directory(struct env *env, const char *path, struct err *err)
{
	return env->ops->make_directory(env, path, err);
}
static inline enum err_code env_sync_directory(struct env *env, const char *path, struct err *err)
{
	return env->ops->sync_directory(env, path, err);
}
/* Every entry but "." and "..", in the order of their names. */
static inline enum err_code
env_list_directory(struct env *env, const char *path,
		   void (*each)(void *argument, const struct env_directory_entry *entry),
		   void *argument, struct err *err)
{
	return env->ops->list_directory(env, path, each, argument, err);
}

/* Whole files, over the calls above (files.c). */

/* Appends the whole file to `out`; ERR_TOO_LARGE if it would pass out->max. */
enum err_code env_read_file(struct env *env, const char *path, struct buf *out, struct err *err);
/* Replaces the file atomically and durably: temporary file beside it, sync, rename, sync of the
 * directory. `mode` as for chmod (0600 for secrets). */
enum err_code env_write_file(struct env *env, const char *path, struct bytes content, unsigned mode,
			     struct err *err);
/* Makes the name of the file durable: a sync of the directory that it stands in. */
enum err_code env_sync_parent(struct env *env, const char *path, struct err *err);
/* All of `from` into `to`, from the start of both, and its sync. */
enum err_code env_file_copy(struct env_file *from, struct env_file *to, struct err *err);
/* Makes the directory and its missing parents, durably. */
enum err_code env_make_directories(struct env *env, const char *path, struct err *err);
bool env_file_exists(struct env *env, const char *path);

#endif
