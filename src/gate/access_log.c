#include "gate/access_log.h"

#include <assert.h>
#include <stdlib.h>

#define BATCH_SIZE ((size_t)128 << 10)
#define WRITERS_MAX 256
#define HOLD_NS 100000000u

/* Two for each worker. While it is on its way it is the access log loop's, else the worker's. */
struct access_log_batch {
	struct env_message message;
	struct access_log_writer *writer;
	size_t size, lines;
	char data[BATCH_SIZE];
};

struct access_log {
	struct access_log_options options;
	struct env_loop *loop;
	struct env_file *file;
	bool torn; /* a write has failed: perhaps in the middle of a line */
	bool failing;
	_Atomic int64_t errors, lost; /* writes, lines */
	struct access_log_batch *batches[2 * WRITERS_MAX];
	struct access_log_writer *writers[WRITERS_MAX];
	unsigned writer_count;
	struct env_message reopen_message;
	atomic_bool reopening;
	bool started, finished;
};

/* ---- on the access log's loop ---- */

/* Of its own memory: it may outlive the log in its receiver's mailbox. */
struct access_warning {
	struct env_message message;
	void (*warn)(void *argument, const struct err *err);
	void *argument;
	struct err err;
};

static void warn_now(struct env_message *message)
{
	struct access_warning *warning = (struct access_warning *)message;
	warning->warn(warning->argument, &warning->err);
	free(warning);
}

static void failed(struct access_log *log, const struct err *err)
{
	counter_add(&log->errors, 1);
	if (log->failing)
		return;
	log->failing = true;
	struct access_warning *warning = log->options.warn ? calloc(1, sizeof(*warning)) : NULL;
	if (!warning)
		return; /* the counter tells */
	*warning = (struct access_warning){
		.warn = log->options.warn, .argument = log->options.argument, .err = *err};
	warning->message.run = warn_now;
	env_post(log->options.loop, &warning->message);
}

static void write_out(struct access_log *log, struct access_log_batch *batch)
{
	struct err err = ERR_INIT;
	enum err_code code = ERR_OK;
	if (batch->size == 0)
		return;
	if (log->torn) /* what a failed write has left of a line is ended first */
		code = env_file_append(log->file, "\n", 1, &err);
	if (code == ERR_OK)
		code = env_file_append(log->file, batch->data, batch->size, &err);
	log->torn = code != ERR_OK;
	if (code == ERR_OK) {
		log->failing = false;
	} else {
		counter_add(&log->lost, (int64_t)batch->lines);
		failed(log, &err);
	}
	batch->size = batch->lines = 0;
}

static void returned(struct env_message *message);

static void write_batch(struct env_message *message)
{
	struct access_log_batch *batch = (struct access_log_batch *)message;
	write_out(batch->writer->log, batch);
	batch->message.run = returned;
	env_post(batch->writer->loop, &batch->message);
}

static enum err_code open_file(struct access_log *log, struct env_file **out, struct err *err)
{
	return env_file_open(log->options.env, log->options.path, ENV_OPEN_APPEND | ENV_OPEN_CREATE,
			     out, err);
}

static void reopen_now(struct env_message *message)
{
	struct access_log *log = (struct access_log *)((char *)message -
						       offsetof(struct access_log, reopen_message));
	struct env_file *file;
	struct err err = ERR_INIT;
	atomic_store(&log->reopening, false);
	if (open_file(log, &file, &err) != ERR_OK) {
		failed(log, &err);
		return;
	}
	env_file_close(log->file);
	log->file = file;
	log->torn = log->failing = false;
}

void access_log_reopen(struct access_log *log)
{
	if (!log || log->finished || atomic_exchange(&log->reopening, true))
		return;
	env_post(log->loop, &log->reopen_message);
}

/* ---- on a worker's loop ---- */

static void hand_over(struct access_log_writer *writer)
{
	struct access_log_batch *batch = writer->filling;
	assert(writer->spare);
	writer->filling = writer->spare;
	writer->spare = NULL;
	batch->message.run = write_batch;
	env_post(writer->log->loop, &batch->message);
}

static void hold(struct access_log_writer *writer)
{
	if (!writer->armed)
		writer->armed =
			env_timer_arm(writer->loop, &writer->timer, writer->loop->now_ns + HOLD_NS);
}

static void hold_is_over(struct env_timer *timer)
{
	struct access_log_writer *writer =
		(struct access_log_writer *)((char *)timer -
					     offsetof(struct access_log_writer, timer));
	writer->armed = false;
	if (writer->filling->size == 0)
		return;
	if (writer->spare)
		hand_over(writer);
	else
		hold(writer); /* the other is being written still */
}

static void returned(struct env_message *message)
{
	struct access_log_batch *batch = (struct access_log_batch *)message;
	batch->writer->spare = batch;
}

char *access_log_line(struct access_log_writer *writer)
{
	if (BATCH_SIZE - writer->filling->size < ACCESS_LINE_MAX && writer->spare)
		hand_over(writer);
	if (BATCH_SIZE - writer->filling->size < ACCESS_LINE_MAX) {
		counter_add(&writer->dropped, 1);
		return NULL;
	}
	return writer->filling->data + writer->filling->size;
}

void access_log_added(struct access_log_writer *writer, size_t size)
{
	assert(size <= ACCESS_LINE_MAX);
	counter_add(size ? &writer->lines : &writer->dropped, 1);
	writer->filling->size += size;
	writer->filling->lines += size > 0;
	if (writer->filling->size > BATCH_SIZE / 2 && writer->spare)
		hand_over(writer);
	else if (size)
		hold(writer);
}

/* ---- opening and closing ---- */

enum err_code access_log_open(const struct access_log_options *options, struct access_log **out,
			      struct err *err)
{
	struct access_log *log = calloc(1, sizeof(*log));
	*out = NULL;
	if (!log)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	log->options = *options;
	log->reopen_message.run = reopen_now;
	log->loop = env_loop_new(options->env, "access log", true);
	enum err_code code =
		log->loop ? open_file(log, &log->file, err)
			  : ERR_SET(err, ERR_NO_MEMORY, "no memory or descriptors for a loop");
	if (code != ERR_OK) {
		err_prefix(err, "access_log");
		access_log_free(log);
		return code;
	}
	*out = log;
	return ERR_OK;
}

enum err_code access_log_start(struct access_log *log, struct err *err)
{
	ERR_TRY(env_loop_start(log->loop, -1, err));
	log->started = true;
	return ERR_OK;
}

static struct access_log_batch *new_batch(struct access_log_writer *writer)
{
	struct access_log_batch *batch = malloc(sizeof(*batch));
	if (!batch)
		return NULL;
	batch->writer = writer;
	batch->size = batch->lines = 0;
	return batch;
}

enum err_code access_log_attach(struct access_log *log, struct access_log_writer *writer,
				struct env_loop *loop, struct err *err)
{
	if (log->writer_count == WRITERS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "more than %d workers", WRITERS_MAX);
	unsigned number = log->writer_count++;
	log->writers[number] = writer;
	writer->loop = loop;
	writer->timer.fire = hold_is_over;
	writer->filling = log->batches[2 * number] = new_batch(writer);
	writer->spare = log->batches[2 * number + 1] = new_batch(writer);
	if (!writer->filling || !writer->spare)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	writer->log = log;
	return ERR_OK;
}

void access_log_finish(struct access_log *log)
{
	if (!log || log->finished)
		return;
	log->finished = true;
	if (log->started) {
		env_loop_stop(log->loop);
		env_loop_join(log->loop);
	}
	/* Writes what was handed over and not reached. */
	env_loop_free(log->loop);
	log->loop = NULL;
	for (unsigned i = 0; i < log->writer_count; i++) {
		struct access_log_writer *writer = log->writers[i];
		env_timer_disarm(writer->loop, &writer->timer);
		if (writer->filling)
			write_out(log, writer->filling);
		writer->log = NULL;
	}
}

void access_log_free(struct access_log *log)
{
	if (!log)
		return;
	env_loop_free(log->loop);
	for (unsigned i = 0; i < 2 * WRITERS_MAX; i++)
		free(log->batches[i]);
	env_file_close(log->file);
	free(log);
}

int64_t access_log_lost(const struct access_log *log)
{
	return log ? counter_read(&log->lost) : 0;
}

int64_t access_log_errors(const struct access_log *log)
{
	return log ? counter_read(&log->errors) : 0;
}
