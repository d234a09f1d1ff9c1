/* journal.jsonl: everything that happened in a run, one JSON line per event, append-only. The first
 * line names the format and the plan:
 *
 *     {"event":"start","format":"parley-journal-1","plan":"<hex digest of plan.json>","time":ms}
 *
 * Writing. A line is in the kernel's hands after journal_write, so that kill -9 of the harness
 * loses nothing that was written; it is durable after a sync. Syncs are grouped and run as jobs
 * beside the loop: one starts when JOURNAL_GROUP lines or JOURNAL_DELAY_NS have gathered and none
 * is under way. A sync that fails has failed for ever (`failed`).
 *
 * Reading. Whatever follows the last newline is a torn line and is cut off; any other line that is
 * not JSON is an error that names it. */
#ifndef BENCH_JOURNAL_H
#define BENCH_JOURNAL_H

#include "base/sha256.h"
#include "env/env.h"

#include <jansson.h>

#define JOURNAL_FORMAT "parley-journal-1"
#define JOURNAL_LINE_MAX ((size_t)64 << 20)
#define JOURNAL_DELAY_NS 20000000u
#define JOURNAL_GROUP 256u

struct journal {
	struct env *env;
	struct env_file *file; /* owned; locked against other processes */
	char path[4096];
	struct buf pending; /* lines that were not written yet */
	uint64_t written;   /* bytes handed to the kernel */
	uint64_t synced;    /* bytes known to be durable */
	/* On a loop, from journal_attach on. */
	struct env_loop *loop;
	void (*durable)(void *argument); /* `synced` moved, or `err` is set */
	void *argument;
	struct err err; /* the first write or sync that failed */
	/* private */
	struct env_job job;
	struct err job_err;
	struct env_timer timer;
	uint64_t syncing;  /* bytes that the running sync covers */
	unsigned gathered; /* lines since the last sync was started */
	bool sync_running, timer_armed, closing;
};

/* ERR_EXISTS if the file is there, ERR_LOCKED if another process has it. */
enum err_code journal_create(struct journal *journal, struct env *env, const char *path,
			     const uint8_t plan[static SHA256_SIZE], int64_t wall_ms,
			     struct err *err);

/* Opens a journal, cuts a torn line off and calls `each` for every line after the first, with its
 * offset and text (without newline) and the parsed line (borrowed). ERR_NOT_FOUND, ERR_LOCKED,
 * ERR_MISMATCH if it belongs to another plan, ERR_CORRUPT naming a line. *torn: bytes cut off. */
enum err_code journal_open(struct journal *journal, struct env *env, const char *path,
			   const uint8_t plan[static SHA256_SIZE],
			   enum err_code (*each)(void *argument, const json_t *line,
						 uint64_t offset, struct bytes text,
						 struct err *err),
			   void *argument, uint64_t *torn, struct err *err);

/* Grouped syncs from now on, on this loop. */
void journal_attach(struct journal *journal, struct env_loop *loop, void (*durable)(void *argument),
		    void *argument);
/* No timer or callback after it; a sync that is under way still has to end (journal_is_busy). */
void journal_detach(struct journal *journal);
bool journal_is_busy(const struct journal *journal);

/* The line being built: append to it, then journal_end puts the newline. */
static inline struct buf *journal_begin(struct journal *journal)
{
	return &journal->pending;
}
/* Where the next line will start. */
static inline uint64_t journal_offset(const struct journal *journal)
{
	return journal->written + journal->pending.size;
}
void journal_end(struct journal *journal);
/* Hands all lines to the kernel. False after a failure. */
bool journal_write(struct journal *journal);
/* Has what was appended synced with the next group. */
void journal_commit(struct journal *journal);
/* Writes and syncs on this thread; only where no sync is under way. */
enum err_code journal_sync_now(struct journal *journal, struct err *err);

/* The line at `offset`, without its newline, into `out` (cleared first). It must have been written.
 */
enum err_code journal_read(const struct journal *journal, uint64_t offset, struct buf *out,
			   struct err *err);

/* Calls `each` with every complete line's text in order, without parsing it. */
enum err_code journal_scan(const struct journal *journal,
			   enum err_code (*each)(void *argument, uint64_t offset, struct bytes text,
						 struct err *err),
			   void *argument, struct err *err);

void journal_close(struct journal *journal);

#endif
