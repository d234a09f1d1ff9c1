/* A small world to publish from: two labs behind gateways with logs, a judge, four suites. A test
 * changes what it likes (an attempt before it is published, a file afterwards) and looks at what
 * the verifier says. Scores and figures are always computed from the attempts, as a careful forger
 * would. */
#ifndef TEST_VERIFY_FIXTURE_H
#define TEST_VERIFY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/ed25519.h"
#include "dialect/dialect.h"
#include "env/env.h"
#include "grade/run_records.h"
#include "ledger/merkle.h"
#include "ledger/note.h"
#include "ledger/record.h"
#include "suite/suite.h"
#include "suite/words.h"
#include "verify/verify.h"

#include <stdio.h>
#include <stdlib.h>

#define ATTEMPTS_MAX 64
#define RECORDS_MAX 256

/* A gateway's log, kept in memory. */
struct ledger {
	char origin[64];
	struct ed25519_private *key;
	struct note_key vkey;
	char vkey_text[256];
	char *records[RECORDS_MAX];
	size_t count, half; /* a checkpoint was signed at `half` records, and one at the end */
};

struct shot {
	bool dropped;    /* is not published */
	bool no_receipt; /* the receipts of its record are not published */
	unsigned model;  /* 0: north-1, 1: south-1, 2: judge-1 */
	unsigned suite;
	size_t item;
	struct run_transcript line;
	char words[65], record[33], nonce[33], digest[65], answer[256];
	char *request, *response;
	size_t settle; /* index of the settle record */
	bool recorded;
	bool observed; /* admitted by a gateway in mode observe */
};

enum { CAPITALS, MANNERS, SUMS, POEMS, SUITES };

struct world {
	struct env *env;
	char directory[64];
	struct suite *suites[SUITES];
	char yaml[SUITES][512], items[SUITES][1024];
	struct ledger ledgers[2];
	struct shot shots[ATTEMPTS_MAX];
	size_t count;
	json_t *plan;
	/* What a forger may do */
	bool no_runs; /* no receipts of runs and suites */
	bool no_policy;
	bool bare;           /* no gateway at all */
	size_t score_forged; /* number of a score line, from 1, whose score is turned round */
	const char *result;  /* of the statement; NULL: the true one */
	struct ed25519_private *evaluator; /* signs the statement; NULL: unsigned */
	/* The labs' true keys */
	char vkeys[2][256];
	bool rerun; /* verify with --rerun */
	struct verify_report report;
};

/* Answers everything: north-1 is good, south-1 less so, one attempt of it fails first, and one
 * sample of it has no answer at all. */
void world_init(struct world *world);
void world_release(struct world *world);
/* Has the labs' gateways record all attempts, with their words and bodies as they are. */
void world_record(struct world *world);
/* Writes the bundle and seals it. */
void world_publish(struct world *world);
/* Seals it again after files were changed. */
void world_seal(struct world *world);
/* The verdict with the keys given (up to three, NULL-terminated). */
enum verify_verdict world_verify(struct world *world, const char *const *keys);
/* world_verify with both labs' keys. */
enum verify_verdict world_verify_all(struct world *world);

/* The bundle is FALSE, and the headline has all these words. */
void world_expect_false(struct world *world, const char *words);

struct shot *world_shot(struct world *world, unsigned suite, unsigned model, size_t item);
/* Another answer, in the transcript's line alone. */
void shot_answer(struct shot *shot, const char *answer);
/* The response's body that says so, and its digest. */
void shot_respond(struct shot *shot, const char *answer);

void ledger_receipt(const struct ledger *ledger, size_t index, size_t size, bool embed,
		    struct buf *out);
size_t ledger_add(struct ledger *ledger, struct record *record, char id[static 33]);
void ledger_init(struct ledger *ledger, const char *origin, uint8_t seed);
void ledger_release(struct ledger *ledger);

/* A file under the bundle: "bundle/NAME". */
void world_path(const struct world *world, const char *name, char out[static 512]);
void file_read(const char *path, struct buf *out);
void file_write(const char *path, struct bytes content);
/* Replaces the first occurrence in a file of the bundle; it must be there. */
void world_replace(struct world *world, const char *name, const char *old, const char *new);

#endif
