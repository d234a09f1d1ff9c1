/* A running log: numbered records, durable before they are acknowledged, in a Merkle tree with
 * signed checkpoints. One struct log for a directory; all its disk work happens on one loop (the
 * log loop), producers are the loops of the gateway. No lock is taken on the way in.
 *
 * The life of a record: log_reserve (room on the disk) -> log_take_index -> write the text (its id
 * comes from the index) -> log_submit -> entry->durable on the producer's loop. */
#ifndef LEDGER_LOG_H
#define LEDGER_LOG_H

#include "base/counters.h"
#include "base/ed25519.h"
#include "env/env.h"
#include "ledger/checkpoint.h"
#include "ledger/record.h"

struct log;
struct log_producer;

#define LOG_NO_INDEX UINT64_MAX
#define LOG_SECRET_SIZE 32
#define LOG_NONCE_SIZE 16
#define LOG_SEGMENT_SIZE_DEFAULT (16u << 20)
#define LOG_SEGMENT_SIZE_MIN (64u << 10)
/* Bytes of one unit of reserved room. */
#define LOG_UNIT 2048u

struct log_options {
	const char *directory;             /* made if missing */
	const char *origin;                /* also the name of the signing key */
	const struct ed25519_private *key; /* borrowed until log_close */
	uint8_t secret[LOG_SECRET_SIZE];   /* of ids and nonces: keep it for the log's life */
	uint64_t segment_size;             /* bytes; 0: LOG_SEGMENT_SIZE_DEFAULT */
	bool relaxed;                      /* acknowledge after the write, sync within a second */
	bool check_all;                    /* read every segment at open, not only the tail */
	/* A checkpoint (signed note) of this log kept elsewhere, or NULL: a log that is shorter
	 * than it or contradicts it is an old or forked copy and is refused. */
	const char *known_checkpoint;
	/* A file that keeps the last signed checkpoint a second time (mark.h), better apart from
	 * the log, or NULL. A log that is shorter than it or contradicts it is refused. */
	const char *mark;
	/* On the log loop, once, when a write or sync has failed: nothing will be acknowledged any
	 * more and the process should end. */
	void (*fatal)(void *argument, const struct err *err);
	/* Where full segments are sealed and sealed ones read again (made with may_block, joined
	 * before log_close); NULL: they stay as they are. */
	struct env_loop *care_loop;
	uint64_t scrub_rate; /* bytes a second that are read again; 0: 4 MiB */
	/* From any thread: a segment does not read as it should; `err` names it and the offset. */
	void (*rot)(void *argument, const struct err *err);
	void *argument;
};

/* Opens or makes the log, before `log_loop` (made with may_block) runs; blocks. Locks the directory
 * (ERR_LOCKED), checks and recovers: a torn tail that was never acknowledged is cut off; anything
 * else that is not as it should be is ERR_CORRUPT, naming segment and offset, and no byte is
 * changed. A stored checkpoint that another key signed is ERR_MISMATCH. Every admit record without
 * an outcome gets an `unknown` record. */
enum err_code log_open(struct env *env, struct env_loop *log_loop,
		       const struct log_options *options, struct log **out, struct err *err);
/* After the loops have been joined and the producers closed: commits what was submitted (without
 * calling `durable`), signs a last checkpoint and frees the log. An error is what kept it from
 * that; the log is freed anyway. */
enum err_code log_close(struct log *log, struct err *err);

/* ---- producing; from the producer's loop ---- */

struct log_entry {
	struct log_entry *next;        /* private: the queue into the log loop */
	struct log_entry *next_own;    /* private: the producer's own order */
	struct log_producer *producer; /* private */
	uint64_t index;                /* from log_take_index */
	uint64_t admit_index; /* settle and unknown: of their admit record; else LOG_NO_INDEX */
	enum record_kind kind;
	unsigned units; /* of reserved room this entry uses up: >= log_units(size) */
	const char *text;
	size_t size; /* 1 to RECORD_SIZE_MAX */
	/* On the producer's loop, in the order of submission. The entry is the caller's again; it
	 * may be freed or submitted anew. */
	void (*durable)(struct log_entry *entry);
};

/* One for each producer loop and log, embedded in its owner; touched on that loop only. */
struct log_producer {
	struct log *log;
	struct env_loop *loop;
	struct log_entry *first, *last;  /* submitted and not yet acknowledged */
	uint64_t unflushed_since_ns;     /* 0: nothing the log loop was not told of */
	uint64_t batch;                  /* private to the log loop */
	struct log_producer *batch_next; /* private to the log loop */
	struct env_message message;
	atomic_bool message_posted;
};
void log_producer_init(struct log_producer *producer, struct log *log, struct env_loop *loop);
/* Nothing will be acknowledged to it any more. Before log_close, once its loop has been joined. */
void log_producer_close(struct log_producer *producer);

/* From any thread. The record with this index must be submitted without delay: later ones wait. */
uint64_t log_take_index(struct log *log);
/* The index that the next record will have; any thread. */
uint64_t log_next_index(const struct log *log);
/* RECORD_ID_SIZE hex digits and NUL: the index, and an HMAC of it. From any thread. */
void log_record_id(const struct log *log, uint64_t index, char out[static RECORD_ID_SIZE + 1]);
/* HMAC of an admit record's id. From any thread. */
void log_nonce(const struct log *log, const char *id, uint8_t out[static LOG_NONCE_SIZE]);

/* Never fails, takes no lock. The entry and its text stay borrowed until `durable`. */
void log_submit(struct log_producer *producer, struct log_entry *entry);
/* At the end of each turn of the producer's loop, and (idle) before it sleeps. Wakes the log loop
 * when something was submitted and the producer is idle or has held it back for 1 ms. */
void log_producer_turn(struct log_producer *producer, bool idle);

/* Room on the disk, from any thread. An admitted request needs room for its admit and its settle
 * record before it costs anything. */
static inline unsigned log_units(size_t record_size)
{
	return (unsigned)((record_size + 64 + LOG_UNIT - 1) / LOG_UNIT);
}
/* False when the room is not there (the disk is full; it comes back by itself). */
bool log_reserve(struct log *log, unsigned units);
/* The same with the room that is kept back for refusals. */
bool log_reserve_refusal(struct log *log, unsigned units);
void log_unreserve(struct log *log, unsigned units);
/* Whether room that is not there may come without anybody's help: neither has a write or sync
 * failed, nor did the disk refuse the last segment. Any thread, as the next. */
bool log_is_working(const struct log *log);
/* Grows with every commit and every piece of a segment that is prepared. */
uint64_t log_work_done(const struct log *log);

/* Asks for a checkpoint over everything durable as soon as may be (at most one every 2 ms). From
 * any thread. */
void log_checkpoint_now(struct log *log);

struct log_stats {
	uint64_t records;                     /* durable, since the log began */
	uint64_t checkpoint;                  /* the size the last checkpoint covers */
	uint64_t commits, checkpoints, bytes; /* since open */
	uint64_t segments;
	int64_t room;              /* bytes not reserved */
	uint64_t waiting;          /* records that have an index and are not durable yet */
	bool failed;               /* a write or sync has failed */
	bool no_space;             /* the last attempt to prepare a segment failed */
	uint64_t seal_failures;    /* times that sealing was given up, to be tried again */
	uint64_t sealed;           /* segments, of the above */
	uint64_t rotten;           /* segments that do not read as they should */
	uint64_t scrubbed, scrubs; /* bytes read again, and passes over the log ended; since open */
	int64_t scrub_ms;          /* Unix time of the last one's end; 0: none yet */
};
void log_get_stats(struct log *log, struct log_stats *out);

/* Segments that do not read as they should: none of their records is served. One that was restored
 * from a copy is found right again by the next pass. */
#define LOG_ROT_MAX 64
struct log_rot {
	uint64_t first; /* record of the segment */
	char problem[512];
};
size_t log_get_rot(struct log *log, struct log_rot *out, size_t max);
/* From any thread: the next pass over the sealed segments begins now. */
void log_scrub_now(struct log *log);

/* How long commits take and what they carry: written where the disk work is done, read by any
 * thread while the log is open. */
struct log_timings {
	struct tally commit; /* microseconds: frames, write and sync of one group commit */
	struct tally sync;   /* microseconds: its sync alone */
	struct tally batch;  /* records of one commit */
};
extern const struct tally_scale log_time_scale, log_batch_scale;
const struct log_timings *log_timings(const struct log *log);

/* ---- cosigned checkpoints (C2SP tlog-witness); from any thread ---- */

/* From now on readers are given the newest cosigned checkpoint while what was signed since is not
 * older than 0.8 s, and a receipt waits for one up to 4 s. */
void log_expect_cosigned(struct log *log);
/* The newest checkpoint of the log's own, cosigned or not; its note is appended. ERR_NOT_FOUND
 * before the first. */
enum err_code log_latest_checkpoint(struct log *log, struct checkpoint *head, struct buf *note,
				    struct err *err);
/* Shows that the tree of old_size has only grown to `size`, which a checkpoint covers: no hashes
 * from nothing, nor to itself. Blocks. */
enum err_code log_consistency_proof(struct log *log, uint64_t old_size, uint64_t size,
				    struct merkle_hash proof[static MERKLE_PROOF_MAX],
				    size_t *count, struct err *err);
/* A checkpoint from log_latest_checkpoint, asked for at as_of_ns, with more signature lines, all of
 * them verified by the caller. It is kept in the directory too, as checkpoint.cosigned; blocks.
 * ERR_CONFLICT if a later one was set. */
enum err_code log_set_cosigned(struct log *log, struct bytes note, uint64_t as_of_ns,
			       struct err *err);
/* What the newest cosigned checkpoint covers; 0: there is none. */
uint64_t log_cosigned_size(struct log *log);

/* ---- another key (ledger/key_rotation.h); from any thread but the log loop ---- */

/* Keeps the note that hands the log's key on, durably, in its directory; once. Blocks. */
enum err_code log_keep_rotation(struct log *log, struct bytes note, struct err *err);
/* All notes of that kind, appended. Blocks. */
enum err_code log_read_rotations(struct log *log, struct buf *out, struct err *err);
/* The next checkpoint, which is made soon, is signed with this key; borrowed until log_close. The
 * note must be kept before, or the log cannot be opened with the key. ERR_NO_MEMORY. */
enum err_code log_set_key(struct log *log, const struct ed25519_private *key, struct err *err);

/* ---- reading; blocks, from any thread, made for jobs ---- */

/* The verifier key as text, appended. */
void log_append_vkey(struct log *log, struct buf *out);
/* The last signed checkpoint, or the last cosigned one (see above), appended. ERR_NOT_FOUND before
 * the first. */
enum err_code log_read_checkpoint(struct log *log, struct buf *out, struct err *err);
/* A hash tile of `width` hashes, if the last checkpoint covers it, else ERR_NOT_FOUND. A tile that
 * is missing or damaged on the disk is made again from the records. */
enum err_code log_read_tile(struct log *log, unsigned level, uint64_t number, unsigned width,
			    struct buf *out, struct err *err);
/* An entry bundle: for each record its size as 2 bytes, big-endian, and its text. */
enum err_code log_read_entries_tile(struct log *log, uint64_t number, unsigned width,
				    struct buf *out, struct err *err);
/* The same for one reader: an entry that is not his has size 0 and no text, so that every entry keeps
 * its place (a record is never empty). */
struct log_filter {
	bool (*keeps)(void *argument, struct bytes record);
	void *argument;
};
enum err_code log_read_filtered_tile(struct log *log, uint64_t number, unsigned width,
				     const struct log_filter *filter, struct buf *out,
				     struct err *err);
/* The text of one durable record. ERR_NOT_FOUND; ERR_CORRUPT when its segment is damaged. */
enum err_code log_read_entry(struct log *log, uint64_t index, struct buf *out, struct err *err);
/* The texts of the durable records begin to end - 1 in one walk; `each` ends it by an error, which
 * is returned. */
typedef enum err_code log_each_entry(void *argument, uint64_t index, struct bytes text,
				     struct err *err);
enum err_code log_read_range(struct log *log, uint64_t begin, uint64_t end, log_each_entry *each,
			     void *argument, struct err *err);
/* A checkpoint of the log's first `size` records, durable ones, signed now and not kept: for a copy
 * of them. Blocks. */
enum err_code log_checkpoint_at(struct log *log, uint64_t size, struct buf *out, struct err *err);
/* The settle or unknown record of an admit record. ERR_NOT_FOUND while it has none (or is no admit
 * record). */
enum err_code log_find_settle(struct log *log, uint64_t admit_index, uint64_t *settle_index,
			      struct err *err);
/* The tlog-proof text of a record against the last checkpoint. ERR_TIMEOUT (retryable: one was
 * asked for) while no checkpoint covers it. */
enum err_code log_receipt(struct log *log, uint64_t index, struct buf *proof_text, struct err *err);

#endif
