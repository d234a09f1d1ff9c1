/* The access log: one JSON line for each request that is over, without prompt, answer or key.
 *
 * Each worker writes lines into a buffer of its own and hands it, full or a tenth of a second old,
 * to the access log's own loop, which alone touches the file. No worker ever waits for it: while
 * both its buffers are under way lines are dropped, and counted. */
#ifndef GATE_ACCESS_LOG_H
#define GATE_ACCESS_LOG_H

#include "base/counters.h"
#include "env/env.h"

#define ACCESS_LINE_MAX 4096

struct access_log;
struct access_log_batch;

/* One for each worker, touched on its loop only; zeroed: off. */
struct access_log_writer {
	struct access_log *log; /* NULL: off */
	struct env_loop *loop;
	struct access_log_batch *filling, *spare; /* spare NULL: it is being written */
	struct env_timer timer;
	bool armed;
	_Atomic int64_t lines, dropped;
};

struct access_log_options {
	struct env *env;
	const char *path; /* "-": the standard output; borrowed until access_log_free */
	/* On `loop`, when writing has begun to fail; not again before it has gone well. NULL: only
	 * counted. */
	struct env_loop *loop;
	void (*warn)(void *argument, const struct err *err);
	void *argument;
};

/* Opens (makes, 0600) the file; its loop runs from access_log_start on. */
enum err_code access_log_open(const struct access_log_options *options, struct access_log **out,
			      struct err *err);
enum err_code access_log_start(struct access_log *log, struct err *err);
/* Before the worker's loop runs. */
enum err_code access_log_attach(struct access_log *log, struct access_log_writer *writer,
				struct env_loop *loop, struct err *err);
/* From the thread that opened it: closes the file and opens the path anew, as after a rotation.
 * Without success the old one is written on, and `warn` tells. */
void access_log_reopen(struct access_log *log);
/* After the workers' loops were joined: writes what is left. NULL is fine. */
void access_log_finish(struct access_log *log);
/* After the workers' loops were freed. NULL is fine. */
void access_log_free(struct access_log *log);

/* Where the next line goes (ACCESS_LINE_MAX bytes), or NULL: it is dropped and counted. */
char *access_log_line(struct access_log_writer *writer);
/* The line has `size` bytes, its newline included; 0: it did not fit and is dropped. */
void access_log_added(struct access_log_writer *writer, size_t size);

/* Write errors since the start, and the lines lost by them. From any thread. */
int64_t access_log_lost(const struct access_log *log);
int64_t access_log_errors(const struct access_log *log);

#endif
