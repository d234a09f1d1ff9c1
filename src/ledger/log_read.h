/* Reading a log's directory without a gateway, for verifiers and commands: nothing is locked or
 * written, memory is flat, everything is checked on the way. Also of a directory in use: what lies
 * beyond the last whole record is then simply not there yet. */
#ifndef LEDGER_LOG_READ_H
#define LEDGER_LOG_READ_H

#include "env/env.h"
#include "ledger/checkpoint.h"
#include "ledger/proof.h"
#include "ledger/record.h"

struct log_reader;

struct log_read_entry {
	uint64_t index;
	enum record_kind kind;
	struct bytes text; /* until the next call */
	struct merkle_hash leaf;
	const char *segment; /* the file's name */
	uint64_t offset;     /* of the record's frame in it */
};

/* For messages about a directory that is none. */
#define LOG_READ_WHERE \
	"a gateway's logs are in log/evaluation and log/usage of its data directory"

/* ERR_NOT_FOUND if the directory holds no log. */
enum err_code log_reader_open(struct env *env, const char *directory, struct log_reader **out,
			      struct err *err);
/* The next record with its CRC, chain and sequence checked; *more is false after the last.
 * ERR_CORRUPT names segment and offset. */
enum err_code log_reader_next(struct log_reader *reader, struct log_read_entry *entry, bool *more,
			      struct err *err);
/* Starts at record `index` (at most the size of the log) with the next call. */
enum err_code log_reader_seek(struct log_reader *reader, uint64_t index, struct err *err);
/* How many records the log has; the last segment is read for it, and a seek must follow. */
enum err_code log_reader_size(struct log_reader *reader, uint64_t *size, struct err *err);
/* The tree of everything read so far from the first record on; after a seek, of nothing. */
const struct merkle_range *log_reader_tree(struct log_reader *reader);
/* Bytes after the last record that are no record: the rest of an interrupted write. */
uint64_t log_reader_torn_bytes(const struct log_reader *reader);
void log_reader_close(struct log_reader *reader);

/* DIRECTORY/checkpoint, appended. ERR_NOT_FOUND if there is none. It may be up to 0.1 s behind what
 * was signed, for good where a crash came then. */
enum err_code log_read_stored_checkpoint(struct env *env, const char *directory, struct buf *out,
					 struct err *err);

/* The newest checkpoint of it that witnesses have cosigned, appended; at most as large.
 * ERR_NOT_FOUND if there is none. */
enum err_code log_read_cosigned_checkpoint(struct env *env, const char *directory, struct buf *out,
					   struct err *err);

/* The one that was signed last, kept in ../../marks where a gateway has its logs and marks in one
 * data directory, of the log `origin`; appended. ERR_NOT_FOUND if there is none. Records were
 * durable before it was signed: what reads both reads it first. */
enum err_code log_read_marked_checkpoint(struct env *env, const char *directory, const char *origin,
					 struct buf *out, struct err *err);
/* The larger of the stored and the marked one. ERR_NOT_FOUND where no checkpoint is stored,
 * ERR_INVALID where what is stored is none. `out` is empty before. */
enum err_code log_read_newest_checkpoint(struct env *env, const char *directory, struct buf *out,
					 struct checkpoint *head, struct err *err);

/* A whole log checked: every record's CRC, place and chain; the tree recomputed; the root at the
 * size of each checkpoint; every hash tile on the disk. */
struct log_check {
	/* Who must have signed the newest one, and all that are in its name; NULL: signatures are
	 * not checked. Of before a rotation of the key there may be others. */
	const struct note_key *key;
	struct bytes newest; /* as log_read_newest_checkpoint gave it; empty: it is read */
	const struct bytes *checkpoints; /* signed notes beside the stored one; may be NULL */
	size_t checkpoint_count;         /* at most LOG_CHECK_MAX */
	/* Called for each record, for further checks; may be NULL. Its error ends the check. */
	enum err_code (*each)(void *argument, const struct log_read_entry *entry, struct err *err);
	void *argument;
};
#define LOG_CHECK_MAX 1024

struct log_check_result {
	uint64_t records;         /* read and found whole */
	uint64_t covered;         /* by the newest checkpoint */
	uint64_t tiles;           /* compared */
	uint64_t checkpoints;     /* compared */
	uint64_t torn_bytes;      /* of an interrupted write behind the last record */
	struct merkle_hash root;  /* over all records */
	struct checkpoint newest; /* size 0 and an empty origin when there is none */
};

/* ERR_CORRUPT or ERR_MISMATCH names the first thing that is wrong (segment and offset, tile,
 * checkpoint); *result then tells how far it came. */
enum err_code log_check_directory(struct env *env, const char *directory,
				  const struct log_check *check, struct log_check_result *result,
				  struct err *err);

/* Makes the receipt of a record from the directory alone: its text and the proof against the newest
 * cosigned checkpoint that covers it, else the newest one, both appended. Reads the whole log, in
 * flat memory. ERR_NOT_FOUND if the checkpoint does not cover it. */
enum err_code log_prove_directory(struct env *env, const char *directory, uint64_t index,
				  struct buf *record, struct buf *proof_text, struct err *err);

#endif
