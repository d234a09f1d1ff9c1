#include "bench/journal.h"

#include "base/encode.h"
#include "base/json.h"

#include <assert.h>
#include <stdio.h>

#define PENDING_MAX (JOURNAL_LINE_MAX * 4)
#define READ_STEP ((size_t)256 << 10)

/* ---- writing ---- */

static void fail(struct journal *journal, const struct err *err)
{
	if (journal->err.code == ERR_OK)
		journal->err = *err;
}

void journal_end(struct journal *journal)
{
	buf_append_char(&journal->pending, '\n');
	journal->gathered++;
}

bool journal_write(struct journal *journal)
{
	struct err err = ERR_INIT;
	if (journal->err.code != ERR_OK)
		return false;
	if (journal->pending.failed) {
		ERR_SET(&err, ERR_NO_MEMORY, "out of memory writing %s", journal->path);
		fail(journal, &err);
		return false;
	}
	if (journal->pending.size == 0)
		return true;
	if (env_file_write(journal->file, journal->written, journal->pending.data,
			   journal->pending.size, &err) != ERR_OK) {
		fail(journal, &err);
		return false;
	}
	journal->written += journal->pending.size;
	if (journal->pending.capacity > READ_STEP)
		buf_release(&journal->pending);
	else
		buf_clear(&journal->pending);
	return true;
}

static void start_timer(struct journal *journal);

static void sync_run(struct env_job *job)
{
	struct journal *journal = (struct journal *)((char *)job - offsetof(struct journal, job));
	env_file_sync(journal->file, &journal->job_err);
}

static void sync_done(struct env_job *job)
{
	struct journal *journal = (struct journal *)((char *)job - offsetof(struct journal, job));
	journal->sync_running = false;
	if (journal->job_err.code != ERR_OK)
		fail(journal, &journal->job_err);
	else
		journal->synced = journal->syncing;
	if (journal->closing)
		return;
	journal->durable(journal->argument);
	if (!journal->closing && journal->err.code == ERR_OK &&
	    journal_offset(journal) > journal->synced)
		start_timer(journal);
}

static void start_sync(struct journal *journal)
{
	if (journal->sync_running || journal->closing)
		return;
	if (!journal_write(journal)) {
		journal->durable(journal->argument);
		return;
	}
	if (journal->written == journal->synced)
		return;
	journal->sync_running = true;
	journal->syncing = journal->written;
	journal->gathered = 0;
	journal->job_err = (struct err)ERR_INIT;
	journal->job.run = sync_run;
	journal->job.done = sync_done;
	env_job_start(journal->loop, &journal->job);
}

static void timer_fired(struct env_timer *timer)
{
	struct journal *journal =
		(struct journal *)((char *)timer - offsetof(struct journal, timer));
	journal->timer_armed = false;
	start_sync(journal);
}

static void start_timer(struct journal *journal)
{
	if (journal->sync_running || journal->closing)
		return;
	if (journal->gathered >= JOURNAL_GROUP) {
		start_sync(journal);
		return;
	}
	if (journal->timer_armed)
		return;
	journal->timer.fire = timer_fired;
	journal->timer_armed = env_timer_arm(journal->loop, &journal->timer,
					     journal->loop->now_ns + JOURNAL_DELAY_NS);
	if (!journal->timer_armed)
		start_sync(journal);
}

void journal_commit(struct journal *journal)
{
	if (journal_offset(journal) == journal->synced || journal->closing)
		return;
	start_timer(journal);
}

void journal_attach(struct journal *journal, struct env_loop *loop, void (*durable)(void *argument),
		    void *argument)
{
	journal->loop = loop;
	journal->durable = durable;
	journal->argument = argument;
}

void journal_detach(struct journal *journal)
{
	journal->closing = true;
	if (journal->loop && journal->timer_armed)
		env_timer_disarm(journal->loop, &journal->timer);
	journal->timer_armed = false;
}

bool journal_is_busy(const struct journal *journal)
{
	return journal->sync_running;
}

enum err_code journal_sync_now(struct journal *journal, struct err *err)
{
	assert(!journal->sync_running);
	if (journal_write(journal) && journal->written > journal->synced) {
		struct err inner = ERR_INIT;
		if (env_file_sync(journal->file, &inner) != ERR_OK)
			fail(journal, &inner);
		else
			journal->synced = journal->written;
	}
	if (journal->err.code == ERR_OK)
		return ERR_OK;
	*err = journal->err;
	return err->code;
}

/* ---- opening ---- */

static enum err_code open_file(struct journal *journal, struct env *env, const char *path,
			       unsigned flags, struct err *err)
{
	*journal = (struct journal){.env = env};
	buf_init(&journal->pending, PENDING_MAX);
	snprintf(journal->path, sizeof(journal->path), "%s", path);
	ERR_TRY(env_file_open(env, path, flags, &journal->file, err));
	enum err_code code = env_file_lock(journal->file, err);
	if (code == ERR_LOCKED)
		ERR_SET(err, ERR_LOCKED, "%s is in use: another parley bench is running on it",
			path);
	if (code != ERR_OK)
		journal_close(journal);
	return code;
}

enum err_code journal_create(struct journal *journal, struct env *env, const char *path,
			     const uint8_t plan[static SHA256_SIZE], int64_t wall_ms,
			     struct err *err)
{
	char digest[2 * SHA256_SIZE + 1];
	ERR_TRY(open_file(journal, env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE,
			  err));
	hex_encode(plan, SHA256_SIZE, digest);
	buf_printf(journal_begin(journal),
		   "{\"event\":\"start\",\"format\":\"%s\",\"plan\":\"%s\",\"time\":%lld}",
		   JOURNAL_FORMAT, digest, (long long)wall_ms);
	journal_end(journal);
	enum err_code code = journal_sync_now(journal, err);
	if (code != ERR_OK)
		journal_close(journal);
	return code;
}

/* ---- reading ---- */

struct reading {
	struct journal *journal;
	uint64_t limit; /* bytes to read */
	struct buf text;
	uint64_t base; /* file offset of text.data */
	enum err_code (*each)(void *argument, uint64_t offset, struct bytes text, struct err *err);
	void *argument;
};

/* The complete lines in the buffer; what follows the last newline stays. */
static enum err_code take_lines(struct reading *reading, struct err *err)
{
	size_t used = 0;
	for (;;) {
		const char *line = reading->text.data + used;
		const char *end = used < reading->text.size
					  ? memchr(line, '\n', reading->text.size - used)
					  : NULL;
		if (!end)
			break;
		ERR_TRY(reading->each(reading->argument, reading->base + used,
				      bytes_of(line, (size_t)(end - line)), err));
		used += (size_t)(end - line) + 1;
	}
	buf_consume(&reading->text, used);
	reading->base += used;
	return ERR_OK;
}

static enum err_code read_all(struct reading *reading, struct err *err)
{
	uint64_t at = 0;
	enum err_code code = ERR_OK;
	buf_init(&reading->text, JOURNAL_LINE_MAX + READ_STEP);
	while (code == ERR_OK && at < reading->limit) {
		size_t want = READ_STEP, got = 0;
		if (want > reading->limit - at)
			want = (size_t)(reading->limit - at);
		if (!buf_reserve(&reading->text, want)) {
			code = ERR_SET(err, ERR_CORRUPT, "%s: the line at offset %llu is too long",
				       reading->journal->path, (unsigned long long)reading->base);
			break;
		}
		code = env_file_read(reading->journal->file, at,
				     reading->text.data + reading->text.size, want, &got, err);
		if (code != ERR_OK || got == 0)
			break;
		reading->text.size += got;
		at += got;
		code = take_lines(reading, err);
	}
	buf_release(&reading->text);
	return code;
}

enum err_code journal_scan(const struct journal *journal,
			   enum err_code (*each)(void *argument, uint64_t offset, struct bytes text,
						 struct err *err),
			   void *argument, struct err *err)
{
	struct reading reading = {.journal = (struct journal *)journal,
				  .limit = journal->written,
				  .each = each,
				  .argument = argument};
	return read_all(&reading, err);
}

enum err_code journal_read(const struct journal *journal, uint64_t offset, struct buf *out,
			   struct err *err)
{
	size_t step = 4096, got;
	buf_clear(out);
	for (;;) {
		if (!buf_reserve(out, step))
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory reading %s",
				       journal->path);
		ERR_TRY(env_file_read(journal->file, offset + out->size, out->data + out->size,
				      step, &got, err));
		const char *end = got ? memchr(out->data + out->size, '\n', got) : NULL;
		if (end) {
			out->size = (size_t)(end - out->data);
			out->data[out->size] = '\0';
			return ERR_OK;
		}
		if (got < step)
			return ERR_SET(err, ERR_CORRUPT, "%s: no line at offset %llu",
				       journal->path, (unsigned long long)offset);
		out->size += got;
		step *= 2;
	}
}

/* ---- opening again ---- */

struct opening {
	struct journal *journal;
	const uint8_t *plan;
	uint64_t lines, end; /* complete lines so far, and where they end */
	enum err_code (*each)(void *argument, const json_t *line, uint64_t offset,
			      struct bytes text, struct err *err);
	void *argument;
};

static enum err_code check_start(const struct opening *opening, const json_t *line, struct err *err)
{
	const char *path = opening->journal->path, *format, *plan;
	char digest[2 * SHA256_SIZE + 1];
	ERR_TRY(json_get_string(line, "format", path, &format, err));
	ERR_TRY(json_get_string(line, "plan", path, &plan, err));
	hex_encode(opening->plan, SHA256_SIZE, digest);
	if (strcmp(format, JOURNAL_FORMAT) != 0)
		return ERR_SET(err, ERR_UNSUPPORTED, "%s: format \"%s\" is not %s", path, format,
			       JOURNAL_FORMAT);
	if (strcmp(plan, digest) != 0)
		return ERR_SET(
			err, ERR_MISMATCH,
			"%s belongs to another plan: plan.json was changed since it was written",
			path);
	return ERR_OK;
}

static enum err_code open_line(void *argument, uint64_t offset, struct bytes text, struct err *err)
{
	struct opening *opening = argument;
	char what[64];
	json_t *line = NULL;
	struct err inner = ERR_INIT;
	opening->lines++;
	snprintf(what, sizeof(what), "line %llu", (unsigned long long)opening->lines);
	if (json_parse(text, what, &line, &inner) != ERR_OK)
		return ERR_SET(err, ERR_CORRUPT, "%s: %s", opening->journal->path, inner.message);
	enum err_code code = opening->lines == 1
				     ? check_start(opening, line, err)
				     : opening->each(opening->argument, line, offset, text, err);
	json_decref(line);
	opening->end = offset + text.size + 1;
	return code;
}

static enum err_code read_lines(struct journal *journal, struct opening *opening, uint64_t *torn,
				struct err *err)
{
	struct reading reading = {.journal = journal, .each = open_line, .argument = opening};
	ERR_TRY(env_file_size(journal->file, &reading.limit, err));
	ERR_TRY(read_all(&reading, err));
	if (opening->lines == 0)
		return ERR_SET(
			err, ERR_CORRUPT,
			"%s: the run was cut off before it began; remove the folder and start "
			"again",
			journal->path);
	*torn = reading.limit - opening->end;
	if (*torn > 0)
		ERR_TRY(env_file_truncate(journal->file, opening->end, err));
	journal->written = opening->end;
	return env_file_sync(journal->file, err);
}

enum err_code journal_open(struct journal *journal, struct env *env, const char *path,
			   const uint8_t plan[static SHA256_SIZE],
			   enum err_code (*each)(void *argument, const json_t *line,
						 uint64_t offset, struct bytes text,
						 struct err *err),
			   void *argument, uint64_t *torn, struct err *err)
{
	struct opening opening = {
		.journal = journal, .plan = plan, .each = each, .argument = argument};
	*torn = 0;
	ERR_TRY(open_file(journal, env, path, ENV_OPEN_WRITE, err));
	enum err_code code = read_lines(journal, &opening, torn, err);
	if (code != ERR_OK)
		journal_close(journal);
	else
		journal->synced = journal->written;
	return code;
}

void journal_close(struct journal *journal)
{
	assert(!journal->sync_running);
	buf_release(&journal->pending);
	env_file_close(journal->file);
	journal->file = NULL;
}
