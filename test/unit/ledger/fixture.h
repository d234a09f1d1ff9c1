/* A log in a temporary directory, with a producer, and files that can be made to fail. */
#ifndef TEST_LEDGER_FIXTURE_H
#define TEST_LEDGER_FIXTURE_H

#include "check.h"

#include "base/buf.h"
#include "ledger/log.h"
#include "ledger/log_read.h"
#include "ledger/proof.h"

#define FIXTURE_ORIGIN "north.example/parley"

/* Faults of the disk; zeroed: none. Counts are of calls since fixture_no_faults. Tests set them
 * while a log runs. */
struct fixture_faults {
	_Atomic unsigned fail_sync_at;  /* the n-th sync fails, and all after it */
	_Atomic unsigned fail_write_at; /* the n-th write fails, and all after it */
	_Atomic int64_t space; /* bytes that may still be written to new files; < 0: no limit */
	_Atomic bool limited;
	_Atomic unsigned syncs, writes;
};
extern struct fixture_faults fixture_faults;
void fixture_no_faults(void);

struct fixture {
	struct env *env;
	struct env_loop *log_loop, *loop; /* loop: the producer's */
	bool seals;                       /* with a loop that seals and scrubs */
	struct env_loop *care_loop;
	struct ed25519_private *key;
	struct log_options options;
	struct log *log;
	struct log_producer producer;
	char directory[512];
	char vkey[1024];
	atomic_uint fatal;
	struct err fatal_err, rot_err, err;
	atomic_uint rots;
	bool running;        /* both loops */
	atomic_uint waiting; /* records not yet durable */
};

void fixture_init(struct fixture *fixture);
void fixture_release(struct fixture *fixture); /* closes, and removes the directory */

enum err_code fixture_open(struct fixture *fixture);
/* Opens, fails the test if that does not work, and starts the loops. */
void fixture_start(struct fixture *fixture);
/* Stops the loops. */
void fixture_halt(struct fixture *fixture);
/* Stops the loops and closes the log as a clean end does. */
void fixture_stop(struct fixture *fixture);

/* Appends so many admit records, each followed by its settle record where `settle`, and waits until
 * all are durable. */
void fixture_append(struct fixture *fixture, unsigned count, bool settle);
/* One record, submitted on the producer's loop; that it is durable is not waited for. Its memory
 * comes from malloc and is freed when it is. */
uint64_t fixture_submit(struct fixture *fixture, enum record_kind kind, uint64_t admit_index);
void fixture_wait(struct fixture *fixture); /* until all are durable, or the log has failed */

/* The log's verifier key; in memory that stays until the next call. */
const char *fixture_vkey(struct fixture *fixture);
/* A checkpoint that covers all, waited for. */
void fixture_checkpoint(struct fixture *fixture, struct buf *note, struct checkpoint *head);

/* The whole of a file; into a file. */
void fixture_read(const char *path, struct buf *out);
void fixture_write(const char *path, const void *data, size_t size);
void fixture_path(const struct fixture *fixture, const char *name, char out[static 1024]);
#endif
