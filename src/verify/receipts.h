/* The receipts of a bundle: receipts/ID.tlog-proof, each a proof with its record in the extra line
 * (docs/formats/bundle.md). Opening verifies every one of them; what they say is looked up by id
 * afterwards, read again from its file, so that memory stays small. */
#ifndef VERIFY_RECEIPTS_H
#define VERIFY_RECEIPTS_H

#include "ledger/record.h"
#include "verify/keys.h"
#include "verify/openings.h"
#include "verify/spans.h"

#include <jansson.h>

#define RECEIPT_TEXT_MAX ((size_t)256 << 10)
#define RECEIPT_LOGS_MAX 64u
#define RECEIPT_RUNS_MAX 10000u
#define RECEIPT_ID_TEXT 129 /* an id of a run or suite, with its NUL */

/* Who signed the checkpoint of a receipt. */
enum signer {
	SIGNER_NONE,   /* nobody whose key is known */
	SIGNER_BUNDLE, /* a key that only the bundle names */
	SIGNER_READER, /* a key that the reader gave */
};

struct receipt {
	json_t *record; /* owned */
	const char *kind, *id;
	uint64_t index;
	unsigned log; /* number of its log: receipts.logs */
	enum signer signer;
};

/* A run or suite that a log knows: what was committed to before the first request. */
struct registered {
	bool is_suite;
	char id[RECEIPT_ID_TEXT];
	char suite[RECEIPT_ID_TEXT]; /* of a run */
	char record[RECORD_ID_SIZE + 1];
	char name[128]; /* of a suite, with its version; "" where it is not told */
	uint8_t plan[32], root[32];
	uint8_t settings[32]; /* digest of their RFC 8785 text */
	bool has_plan, has_root, has_settings;
	int64_t samples;
	uint64_t index;
	unsigned log;
	enum signer signer;
};

/* What the gateway's register says at the end of a run, of one model. */
struct closing {
	char run[RECEIPT_ID_TEXT];
	char model[128];
	int64_t place, of, first, re_exposed;
	int64_t free_bytes, registered_bytes; /* of the run's words; 0: not told */
	unsigned log;
};

/* One name and one key. */
struct receipt_log {
	char origin[NOTE_NAME_MAX + 1];
	uint8_t key[4]; /* id of the key that signed */
	enum signer signer;
	size_t receipts;
	uint64_t size;                /* of the largest checkpoint */
	struct trust_finding finding; /* what the witnesses of the reader's policy (else of the
					 bundle's) say of every one of its checkpoints */
};

struct receipt_ref;
struct known_head;

struct receipts {
	struct env *env;
	const char *directory;            /* of the bundle */
	const struct verify_keys *reader; /* keys that were given */
	const struct verify_keys *own;    /* keys that the bundle names */
	struct receipt_log logs[RECEIPT_LOGS_MAX];
	unsigned log_count;
	struct registered *registered; /* owned */
	size_t registered_count;
	struct closing *closings; /* owned */
	size_t closing_count;
	struct opening_book openings;
	size_t count; /* receipts that verify */
	/* private */
	struct receipt_ref *admits, *outcomes; /* owned, sorted */
	size_t admit_count, outcome_count, admit_capacity, outcome_capacity;
	struct known_head *heads; /* owned */
	struct spans spans;
};

/* `files` is the manifest's list. Errors name the receipt: ERR_MISMATCH (a proof, signature or id
 * that is wrong, a fork) or ERR_INVALID. `receipts` is overwritten; release it in any case. */
enum err_code receipts_open(struct receipts *receipts, struct env *env, const char *directory,
			    const json_t *files, const struct verify_keys *reader,
			    const struct verify_keys *own, struct err *err);
void receipts_release(struct receipts *receipts);

/* The admit record with this id. *found is false where there is no receipt of it. */
enum err_code receipts_admit(struct receipts *receipts, const char *id, struct receipt *out,
			     bool *found, struct err *err);
/* Marks it as named by an attempt: false if it was before. */
bool receipts_use(struct receipts *receipts, const char *id);
/* The settle or unknown record of that admit record. */
enum err_code receipts_outcome(struct receipts *receipts, const char *admit, struct receipt *out,
			       bool *found, struct err *err);
void receipt_release(struct receipt *receipt);

/* An admit record that no attempt names: the attempt was left out. False if there is none. */
bool receipts_unused(const struct receipts *receipts, char id[static RECORD_ID_SIZE + 1]);
/* ERR_MISMATCH naming an outcome whose admission has no receipt. */
enum err_code receipts_check_outcomes(const struct receipts *receipts, struct err *err);

/* NULL if no receipt shows that run or suite of that log. */
const struct registered *receipts_registered(const struct receipts *receipts, bool is_suite,
					     unsigned log, const char *id);

/* The register's row of that run and model; NULL if no receipt has it. */
const struct closing *receipts_closing(const struct receipts *receipts, unsigned log,
				       const char *run, const char *model);

/* One receipt that stands alone: proof text and record. Verified with whichever key fits; *head is
 * its checkpoint, *finding what the witnesses of the reader's policy say of it. Errors as in
 * receipts_open. */
enum err_code receipt_check(const struct verify_keys *reader, const struct verify_keys *own,
			    struct bytes proof_text, struct bytes record, struct checkpoint *head,
			    enum signer *signer, struct trust_finding *finding, struct err *err);

#endif
