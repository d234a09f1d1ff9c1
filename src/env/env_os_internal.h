/* What the parts of env_os share: the loop on epoll and the pool of job threads. */
#ifndef ENV_ENV_OS_INTERNAL_H
#define ENV_ENV_OS_INTERNAL_H

#include "env/env.h"

#include <pthread.h>
#include <sys/epoll.h>

/* What an epoll event points to; the first member of what calloc gave. Objects closed within a turn
 * are freed after it, so that an event already fetched never meets freed memory. */
struct os_source {
	void (*event)(struct os_source *source, uint32_t events);
	struct os_source *next_dead;
	int fd;
	bool dead;
	bool refused; /* a stream's connect failed; asking for the reason cleared it in the kernel
		       */
};

struct os_signal {
	struct os_source source;
	void (*handler)(void *argument, int signal_number);
	void *argument;
	struct os_signal *next;
};

struct os_loop {
	struct env_loop base;
	int epoll;
	struct os_source wake; /* an eventfd */
	struct heap timers;
	struct env_message *_Atomic mailbox; /* newest first */
	struct env_job *inline_first, *inline_last;
	unsigned jobs; /* on threads of the pool; guarded by the env's lock */
	struct os_source *dead;
	struct os_signal *signals;
	atomic_bool stopping;
	bool may_block;
	pthread_t thread;
	bool started;
	int cpu;
};

#define OS_JOB_THREADS_MAX 64
#define OS_ADDRESSES_MAX 64

struct os_env {
	struct env base;
	pthread_mutex_t lock; /* guards everything below; never taken on a request path */
	pthread_cond_t work, finished;
	struct env_job *first, *last;
	pthread_t threads[OS_JOB_THREADS_MAX];
	unsigned threads_wanted, threads_running;
	bool stopping;
	/* TCP addresses this process listens on: further loops may join, another process may not.
	 */
	struct env_address listening[OS_ADDRESSES_MAX];
	unsigned listening_count;
};

static inline struct os_loop *os_loop_of(struct env_loop *loop)
{
	return (struct os_loop *)loop;
}

/* Registers, and schedules for freeing after this turn. */
bool os_source_add(struct os_loop *loop, struct os_source *source, uint32_t events);
void os_source_close(struct os_loop *loop, struct os_source *source);
void os_source_sweep(struct os_loop *loop);

/* env_os_network.c */
enum err_code os_listen(struct env_loop *, const struct env_address *,
			void (*)(struct env_listener *, void *), void *, struct env_listener **,
			struct err *);
void os_listener_address(struct env_listener *, struct env_address *);
void os_listener_pause(struct env_listener *, bool);
void os_listener_close(struct env_listener *);
struct env_stream *os_accept(struct env_listener *, struct env_address *);
struct env_stream *os_connect(struct env_loop *, const struct env_address *, struct err *);
ssize_t os_receive(struct env_stream *, void *, size_t);
ssize_t os_send(struct env_stream *, const struct iovec *, int);
void os_shutdown(struct env_stream *);
void os_close(struct env_stream *, bool);

/* env_os_names.c */
void os_lookup(struct env_loop *, struct env_lookup *);
/* Fills in the addresses and the time to live, or the error; blocks for 3 s at most. `servers`
 * ("127.0.0.1:5353,…") are asked instead of those of resolv.conf; NULL: those. */
void os_find_name(struct env_lookup *lookup, const char *servers);

/* env_os_process.c */
enum err_code os_process_start(struct env_loop *, struct env_process *, struct err *);
void os_process_cancel(struct env_process *);
void os_process_signal(struct env_process *, int signal_number);

/* env_os_disk.c */
enum err_code os_file_open(struct env *, const char *, unsigned, struct env_file **, struct err *);
enum err_code os_file_read(struct env_file *, uint64_t, void *, size_t, size_t *, struct err *);
enum err_code os_file_write(struct env_file *, uint64_t, const void *, size_t, struct err *);
enum err_code os_file_append(struct env_file *, const void *, size_t, struct err *);
enum err_code os_file_sync(struct env_file *, struct err *);
enum err_code os_file_size(struct env_file *, uint64_t *, struct err *);
enum err_code os_file_truncate(struct env_file *, uint64_t, struct err *);
enum err_code os_file_lock(struct env_file *, struct err *);
void os_file_close(struct env_file *);
enum err_code os_rename(struct env *, const char *, const char *, struct err *);
enum err_code os_unlink(struct env *, const char *, struct err *);
enum err_code os_make_directory(struct env *, const char *, struct err *);
enum err_code os_sync_directory(struct env *, const char *, struct err *);
enum err_code os_list_directory(struct env *, const char *,
				void (*)(void *, const struct env_directory_entry *), void *,
				struct err *);
enum err_code os_chmod(struct env *, const char *, unsigned, struct err *);

/* The table that makes an env the machine. */
extern const struct env_ops env_os_ops;

#endif
