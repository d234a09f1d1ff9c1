/* Inside of a running log; for the log*.c files alone.
 *
 * Who touches what: producers touch the atomics; the log loop everything else, except that a job's
 * `run` (on the log loop too if that may block, else on a thread of its own) has `commit`, the
 * files and the spares while `busy`. What readers in other threads see is behind `lock`. */
#ifndef LEDGER_LOG_INTERNAL_H
#define LEDGER_LOG_INTERNAL_H

#include "base/sha256.h"
#include "ledger/checkpoint.h"
#include "ledger/log.h"
#include "ledger/log_tree.h"
#include "ledger/mark.h"
#include "ledger/segment.h"

#include <pthread.h>

#define LOG_PATH_SIZE 1024
#define LOG_DIRECTORY_MAX 900
/* A commit takes at most so much; the rest waits for the next one. */
#define LOG_COMMIT_RECORDS 4096
#define LOG_COMMIT_BYTES (1u << 20)
/* Every so many records of a segment the offset is remembered. */
#define LOG_SPARSE 64
#define LOG_SPARES_MAX 16
#define LOG_SEGMENTS_MAX (1u << 24)

/* ---- where records are: log_index.c ---- */

struct log_segment {
	uint64_t first, end; /* indices of its durable records: first to end - 1 */
	uint32_t *sparse;    /* the first offsets, as far as was read; none where it is sealed */
	size_t sparse_count, sparse_capacity;
	bool open, sealed; /* which files there are of it: both for a moment, and after a crash */
};

/* For each record from `base` on: 0 nothing, LINK_OPEN an admit record without outcome, else how
 * many records later its outcome stands. In chunks, so that growing copies nothing. */
#define LINK_OPEN UINT32_MAX
#define LINK_CHUNK 65536u
#define LINK_CHUNKS_MAX 65536u
struct log_links {
	uint64_t base, count;
	uint64_t oldest_open; /* no record before it is LINK_OPEN */
	uint32_t **chunks;
	size_t chunk_count, chunk_capacity;
};

/* Makes room for `more` records. False when memory is out. */
bool log_links_reserve(struct log_links *links, uint64_t more);
/* The next record; there is room. */
void log_links_append(struct log_links *links, enum record_kind kind, uint64_t admit_index);
/* 0 also for records before `base`. */
uint32_t log_links_get(const struct log_links *links, uint64_t index);
void log_links_release(struct log_links *links);

/* ---- commits: log_commit.c ---- */

struct log_committed {
	const struct log_entry *entry; /* the producer's, until it is told */
	struct merkle_hash leaf;
	uint64_t admit_index;
	uint32_t offset; /* in the segment */
	enum record_kind kind;
};

struct log_commit {
	uint8_t *bytes; /* LOG_COMMIT_BYTES */
	size_t size;
	struct log_committed *records; /* LOG_COMMIT_RECORDS */
	size_t count;
	uint64_t units;                 /* of reserved room that these records had */
	struct log_producer *producers; /* concerned, linked by batch_next */
};

struct log_spare {
	struct env_file *file;
	unsigned number; /* in its name */
};

/* The message that wakes the log loop. It may outlive the log in the loop's mailbox. */
struct log_waker {
	struct env_message message;
	struct log *log; /* NULL: closed; freed when the message runs */
	atomic_bool posted;
};

enum log_work {
	LOG_WORK_NONE,
	LOG_WORK_COMMIT,
	LOG_WORK_TILES,
	LOG_WORK_UPPER_TILES,
	LOG_WORK_CHECKPOINT,
	LOG_WORK_STORE,
	LOG_WORK_PREPARE
};

struct log {
	struct env *env;
	struct env_loop *loop;
	struct log_options options;
	char directory[LOG_DIRECTORY_MAX + 1];
	struct note_key key;
	char *vkey;
	struct hmac_key secret;
	uint8_t origin[32]; /* its SHA-256 */
	uint64_t segment_size;
	struct env_file *lock_file;
	struct mark *mark; /* NULL: none is kept */
	struct checkpoint mark_head;

	/* Shared with producers. */
	_Atomic(uint64_t) next_index;
	_Atomic(uint64_t) durable; /* records to acknowledge: all below it */
	_Atomic(struct log_entry *) incoming;
	_Atomic(int64_t) room;
	_Atomic(uint64_t) progress; /* commits, and pieces of segments prepared */
	atomic_bool checkpoint_wanted, failed, no_space;
	atomic_bool holding; /* commits wait for hold_timer */
	struct log_waker *waker;

	/* The log loop's. */
	struct log_entry *pending; /* by index */
	uint64_t next_commit;      /* the index the next record must have */
	bool woken, busy, job_ran, checkpoint_due, checkpoint_armed;
	enum log_work work, last_work, last_rest;
	struct env_job job;
	struct env_timer checkpoint_timer, space_timer, hold_timer;
	bool space_waiting;
	bool unstored;      /* the last checkpoint is not in its file yet */
	uint64_t stored_ns; /* when the file was last written, or tried */
	uint64_t commit_ns; /* when the last commit was done */
	uint64_t began_ns;  /* when the last work was begun */
	uint64_t batch;
	struct err err; /* of the job at work */
	enum err_code code;

	/* The job's. */
	struct log_commit commit;
	struct env_file *file;
	uint64_t offset;  /* of the end in the current segment */
	unsigned version; /* of the current segment */
	uint64_t synced;  /* records known to be on the disk */
	uint8_t link[LINK_SIZE];
	struct log_timings timings;
	struct log_spare spares[LOG_SPARES_MAX];
	unsigned spare_count, spare_number;
	struct env_file *preparing;
	uint64_t prepared;  /* bytes of it */
	uint64_t signed_ns; /* when the last checkpoint was signed */
	struct buf checkpoint_next;
	struct checkpoint checkpoint_next_head;

	/* Behind the lock, for reading in other threads. */
	pthread_mutex_t lock;
	struct log_tree tree;
	struct log_links links;
	struct log_segment *segments;
	size_t segment_count, segment_capacity;
	struct buf checkpoint;
	struct checkpoint checkpoint_head;
	struct note_key checkpoint_key; /* that signed it, and what is cosigned */
	struct buf cosigned;            /* empty: none */
	struct checkpoint cosigned_head;
	uint64_t outdated_ns; /* since when something larger than it is signed; 0: nothing is */
	bool cosigning;
	struct log_next_key *next_key; /* for the next checkpoint; NULL: the same */
	bool signed_before;            /* at open: the stored checkpoint is of an earlier key */
	uint64_t commits, checkpoints, bytes;
	size_t seal_from; /* all segments before it are sealed */
	uint64_t sealed, seal_failures, scrubbed, scrubs;
	int64_t scrub_ms;
	struct log_rot rot[LOG_ROT_MAX];
	size_t rot_count;

	struct log_care *care; /* NULL where full segments stay as they are */
};

/* "<directory>/<name>" in the format given. */
void log_path(const struct log *log, char out[static LOG_PATH_SIZE], const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void log_folder(const struct log *log, char out[static LOG_PATH_SIZE]); /* of the segments */
void log_segment_path(const struct log *log, uint64_t first, char out[static LOG_PATH_SIZE]);

/* Sets the callbacks of job, message and timers. False when memory is out. */
bool log_work_init(struct log *log);
void log_work_release(struct log *log);
/* Starts the next piece of work, if there is one and none is under way. */
void log_work(struct log *log);
void log_wake(struct log *log);

/* Frames the pending records that are next, up to a commit's limits, writes them and (unless
 * relaxed) syncs. */
enum err_code log_commit_write(struct log *log, struct err *err);
/* Puts what was written into tree, links and segments. */
void log_commit_integrate(struct log *log);
/* Takes in what producers have submitted, in the order of indices. */
void log_gather(struct log *log);

/* Bytes for records in a segment of the log, less what its end may waste. */
int64_t log_segment_room(const struct log *log);
/* Writes and syncs up to `limit` bytes of the next spare segment; true in *ready when it became
 * one. */
enum err_code log_prepare(struct log *log, uint64_t limit, bool *ready, struct err *err);
void log_prepare_abandon(struct log *log);
/* Goes over to a new segment: from the spares, or made now. */
enum err_code log_rotate(struct log *log, struct err *err);

/* Syncs what is not yet, signs the tree as it is and stores that in checkpoint_next and in the
 * mark; log_checkpoint_publish lets readers see it. Its file is written by log_checkpoint_store
 * where there is a mark (`unstored` then), else before anybody can see it. */
enum err_code log_checkpoint_make(struct log *log, struct err *err);
void log_checkpoint_publish(struct log *log);
enum err_code log_checkpoint_store(struct log *log, struct err *err);

/* log_cosigned.c; under the lock: whether readers should have the cosigned checkpoint rather than
 * the last one; whether one that covers the record may still come; that a larger one was signed. */
bool log_prefers_cosigned(const struct log *log);
bool log_awaits_cosigned(const struct log *log, uint64_t index);
void log_outdate_cosigned(struct log *log);
/* At open, once the tree is there. */
void log_load_cosigned(struct log *log);
/* In a job: what the directory has cosigned is of a key that signs no more. */
void log_forget_cosigned(struct log *log);

/* log_rotation.c. In the job that makes a checkpoint: goes over to the next key, if there is one.
 */
void log_take_next_key(struct log *log);
bool log_has_next_key(struct log *log);
void log_next_key_free(struct log_next_key *next);
/* For other threads than the job's. */
void log_copy_key(struct log *log, struct note_key *out);
/* checkpoint_open with the log's key, or one that was handed on to it. At open. */
enum err_code log_open_checkpoint(struct log *log, struct bytes note, struct checkpoint *head,
				  struct err *err);
/* Before anything else is read: that the stored checkpoint, if there is one, is of this log and of
 * a key that leads to ours. ERR_MISMATCH says whose it is and what to do. */
enum err_code log_check_signer(struct log *log, struct err *err);

/* Adds a segment at the end of the list. False when memory is out. */
bool log_segments_add(struct log *log, uint64_t first);
/* Remembers the offset of a record that was added at the end of the last segment. */
bool log_segment_note(struct log_segment *segment, uint64_t index, uint64_t offset);

/* Calls `each` for the durable records begin to end - 1, every one checked. ERR_CORRUPT names
 * segment and offset. Does not take the lock for long. */
struct log_walk {
	enum err_code (*each)(void *argument, const struct frame *frame, struct err *err);
	void *argument;
};
enum err_code log_walk_records(struct log *log, uint64_t begin, uint64_t end,
			       const struct log_walk *walk, struct err *err);

#endif
