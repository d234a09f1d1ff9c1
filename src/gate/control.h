/* The control plane: documents, administrative acts, and the snapshot of policy that workers read.
 *
 * One object, used from the admin loop only. It checks an act, stages the new documents in the
 * store, has the record appended to the log, and, when that is durable, publishes a new world and
 * moves the documents in. The record is the commit: what a crash leaves staged is settled at the
 * next start by looking for the record. Acts run one after another, in the order in which they were
 * asked for. */
#ifndef GATE_CONTROL_H
#define GATE_CONTROL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "env/env.h"
#include "gate/config.h"
#include "ledger/log.h"
#include "table/rules.h"

struct control;
struct ed25519_private;
struct world;

enum control_log { CONTROL_EVALUATION, CONTROL_USAGE, CONTROL_LOGS };

/* A record to append. `record` has everything but `id` and `time_ms`: whoever appends it takes an
 * index, fills in those two, formats and submits it. Strings and digests are borrowed until `done`.
 * Its `document` digest is how the record is known again by control_open. */
struct control_record {
	enum control_log log;
	struct record record;
	char id[RECORD_ID_SIZE + 1]; /* to be filled by whoever appends it, before `done` */
	/* On the admin loop, never from inside the hook: ERR_OK once it is durable; anything else
	 * if it was not appended and never will be (no room on the disk). */
	void (*done)(struct control_record *record, enum err_code code);
	void *argument;
	/* For whoever appends it: the entry, and room enough for the line. */
	struct log_entry entry;
	char *text;
	size_t capacity;
};

/* What in-flight requests must end because of: all of this org, grant or key, or all that the new
 * world refuses because this org is blocked with its affiliates. */
enum control_cut_kind {
	CONTROL_CUT_KEY,
	CONTROL_CUT_GRANT,
	CONTROL_CUT_ORG,
	CONTROL_CUT_AFFILIATES
};
struct control_cut {
	enum control_cut_kind kind;
	const char *id; /* the key's public id, the grant's or the org's */
	const char *reason;
};

/* A snapshot to give to every worker. */
struct control_publish {
	struct world *world;         /* one reference, which the receiver takes over */
	const struct config *config; /* by which its providers are numbered */
	const struct control_cut *cuts;
	size_t cut_count;
	/* On the admin loop, never from inside the hook: no worker admits by an older world any
	 * more, and none relays another answer byte of what was cut. */
	void (*done)(struct control_publish *publish);
	void *argument;
};

/* One line of a log; sets *stop to end the scan. */
typedef void control_scan_function(void *argument, struct bytes line, bool *stop);

/* What the gateway lends to its control plane. */
struct control_hooks {
	void *argument;
	void (*record)(void *argument, struct control_record *record);
	void (*publish)(void *argument, struct control_publish *publish);
	/* The number of durable entries; no record appended later stands before it. */
	uint64_t (*log_position)(void *argument, enum control_log log);
	/* The index that the next record to be made will have. */
	uint64_t (*log_next)(void *argument, enum control_log log);
	/* Reads the durable entries from `from` on, in order. At start-up only; may block. From
	 * them come the acts that a crash left staged, the samples used in open runs and the tokens
	 * used today: admit records with org, grant, key, run, model, leaf and sample (from 0),
	 * settle records with admit, status and usage. */
	enum err_code (*log_scan)(void *argument, enum control_log log, uint64_t from,
				  control_scan_function *each, void *each_argument,
				  struct err *err);
	/* A checkpoint of the first `size` entries, durable ones, for a copy of them. */
	enum err_code (*log_checkpoint)(void *argument, enum control_log log, uint64_t size,
					struct buf *out, struct err *err);
	/* What the log is made of, and what of it does not read as it should; `scrub`: all sealed
	 * segments are read again from now on. NULL: out of memory. */
	json_t *(*log_state)(void *argument, enum control_log log, bool scrub);
};

/* The keys of this gateway's own besides the log's (control_signers.h). */
enum control_signer { CONTROL_SIGN_GRANTS, CONTROL_SIGN_VERDICTS, CONTROL_SIGNERS };
/* "grants", "verdicts"; CONTROL_SIGNERS for another name. */
enum control_signer control_signer_find(const char *name);

struct control_options {
	struct env *env;
	struct env_loop *loop;       /* the admin loop */
	const struct config *config; /* borrowed until the next control_reconfigure or close */
	const char *store_path;      /* NULL: in memory */
	const uint8_t *secret;       /* 32 bytes that key the digests of leaves; copied */
	/* Vouches for the keys that sign papers and verdicts; borrowed. NULL: nothing does. */
	const struct ed25519_private *log_key;
	unsigned replace_keys; /* bit set of 1 << CONTROL_SIGN_…: on record is another, and this one
				* is to take its place */
	const char *replace_reason; /* borrowed; NULL: none */
	struct control_hooks hooks;
};

/* Opens the store, settles what a crash left, and builds the first world (control_world). Blocking;
 * before the loops run. A missing or empty database beside a log that has entries is ERR_CORRUPT.
 */
enum err_code control_open(const struct control_options *options, struct control **out,
			   struct err *err);
/* Acts under way (control_busy) are forgotten, as in a crash: nobody is told of them. */
void control_close(struct control *control);
bool control_busy(const struct control *control);
/* The gateway stops: what reads the logs for an answer ends soon, without it. */
void control_end_reading(struct control *control);
/* Nothing is begun any more that nobody asked for: notices are sent again after the next start. */
void control_stop(struct control *control);

/* Borrowed while the control plane is there; from any thread. */
const struct ed25519_private *control_signing_key(const struct control *control,
						  enum control_signer which);
/* Appends the note by which the log's key vouches for it. */
enum err_code control_certify(const struct control *control, enum control_signer which,
			      struct buf *out, struct err *err);

/* The log's key is another one now: it vouches. On the admin loop; borrowed. */
enum err_code control_set_log_key(struct control *control, const struct ed25519_private *key,
				  struct err *err);

/* The present world with one more reference, for the caller. Never NULL. */
struct world *control_world(struct control *control);

struct gate_use_cut;
/* Where use is divided now; for the workers (use.h). */
const struct gate_use_cut *control_use_cut(const struct control *control);

/* Takes over another configuration (providers and models) and publishes a world by it. In `done`,
 * `unused` is the configuration that is needed no longer: the one before, or, on failure, the new
 * one. */
struct control_reconfigure {
	const struct config *config;
	const struct config *unused;
	void (*done)(struct control_reconfigure *call, enum err_code code, const struct err *err);
	void *argument;
};
void control_reconfigure(struct control *control, struct control_reconfigure *call);

/* Opens a run over the whole suite with one sample for each leaf up to what the suite asks for, as
 * a request does that names none (DESIGN.md section 5). If such a run is there already, that is it.
 * The strings are borrowed until `done`, which is called on the admin loop, after publication. */
struct control_open_run {
	const char *grant;
	const char *suite;
	enum rule rule; /* in `done`: by which it was refused (ERR_DENIED), or RULE_NONE */
	void (*done)(struct control_open_run *call, enum err_code code, const struct err *err);
	void *argument;
};
void control_open_run(struct control *control, struct control_open_run *call);

#endif
