/* What the files of the control plane share. Private to control*.c and admin*.c.
 *
 * Documents are kept in memory as JSON by id, beside the store. Every document has the same outer
 * form: `spec` (what was written or registered), `state`, the `person`, `reason` and time
 * (`changed`) of the last act, and a `salt`, so that the digest in the record cannot be guessed
 * from the spec. */
#ifndef GATE_CONTROL_INTERNAL_H
#define GATE_CONTROL_INTERNAL_H

#include "gate/control.h"
#include "ledger/paper.h"
#include "gate/use.h"
#include "policy/decide.h"
#include "policy/world_builder.h"
#include "store/store.h"

#define CONTROL_ID_SIZE 64
#define CONTROL_TERMS_ID "terms" /* the one document of its kind */
#define CONTROL_IDLE_MS INT64_C(86400000)

/* One document that an act changes, with the record that commits it. */
struct control_change {
	struct control_operation *operation;
	enum store_kind kind;
	char *id;
	json_t *document;            /* the new one */
	json_t *previous;            /* what it replaced in memory; NULL: none */
	struct buf text;             /* of the document, canonical */
	struct buf blob;             /* leaf digests or envelopes; mostly empty */
	bool leaves_written;         /* they are in a file (control_leaves.c) */
	uint8_t digest[SHA256_SIZE]; /* of the text */
	uint8_t root[SHA256_SIZE], plan[SHA256_SIZE];
	char commit[2 * SHA256_SIZE + 1];
	/* Strings that the record borrows. */
	char *person, *reason, *detail, *name;
	struct control_record *record;
	struct control_change *leader; /* whose record commits it; NULL: it has its own */
	bool durable, failed;
};

/* An operation runs when those before it are done: `prepare` checks it and adds changes, then they
 * are staged, recorded, published and moved in, then `finish` answers. */
struct control_operation {
	struct control *control;
	struct control_operation *next;
	enum err_code (*prepare)(struct control_operation *operation, struct err *err);
	void (*finish)(struct control_operation *operation, enum err_code code,
		       const struct err *err);
	void *argument;
	enum control_log log;
	struct control_change **changes;
	size_t change_count, change_capacity;
	struct control_cut *cuts; /* ids and reasons are borrowed from changes */
	size_t cut_count;
	bool republish;  /* publish even without changes */
	bool quiet;      /* nothing that decisions rest on changes: no new world is made */
	size_t notified; /* notices that wait to be sent once this is done */
	json_t *untold;  /* organisations that should be told and left no address; NULL: none */
	enum rule rule;  /* by which prepare refused, or RULE_NONE */
	json_t *answer;  /* what prepare and finish tell the caller */
	/* Made by prepare and not in a world yet. */
	struct binding_suite *suite;
	struct binding_run *run;
	struct world *world; /* built, not published */
	struct control_publish publish;
	bool fresh_counters;     /* the world made counts for nobody else: for trying out only */
	struct world *trial;     /* kept by a dry run for what_if.h; one reference */
	int64_t what_if_span_ms; /* of the log that is to be decided again under it */
	size_t appended;         /* changes whose records are on their way or there */
	size_t waiting;          /* for so many of them */
	enum err_code code;
	struct err err;
};

/* What is kept of the use of scopes, and how far the next keeping is (control_use.c). */
struct control_use {
	struct gate_use_cut cut;
	unsigned live; /* the set that counts what lies before the cut */
	bool cutting;
	bool kept;                     /* at start: there was something */
	uint64_t places[CONTROL_LOGS]; /* of the cut, or what must be durable before the next */
	int64_t day;                   /* to which the sums were taken last */
};

struct watch;

struct control_signing {
	struct ed25519_private *private;
	struct note_key key;
	char vkey[PAPER_VKEY_SIZE];
};

struct control {
	struct watch *watch; /* what keys are used like */
	struct control_use use;
	struct env *env;
	struct env_loop *loop;
	const struct config *config;
	struct control_hooks hooks;
	uint8_t secret[WORLD_SECRET_SIZE];
	struct hmac_key binding_secret;
	struct paper_signer signer;
	struct control_signing signers[CONTROL_SIGNERS];
	struct buf paper_note; /* the log's word for the key of papers, with a NUL */
	const struct ed25519_private *log_key; /* borrowed; NULL: none */
	const char *replace_reason;            /* borrowed */
	struct store *store;
	/* Objects by id. Of keys, which are many, the texts (as strings) until one is asked for. */
	json_t *documents[STORE_KINDS];
	struct world *world;
	struct exposure *exposures; /* what providers have seen; a list, one reference each */
	json_t *fresh;              /* orgs whose pseudonyms are not stored yet */
	json_t *unfinished; /* commits that could not be moved in yet: the next act waits for them
			     */
	struct deliverer *deliverer;            /* of notices */
	struct reciprocator *reciprocator;      /* of grants in pairs */
	struct control_operation *first, *last; /* the first is under way */
	struct env_message next_message;        /* starts the next operation on a fresh stack */
	bool next_posted;
	struct control_grading *gradings;      /* control_gradings.c */
	bool keeps_files;                      /* the store is one on the disk */
	uint64_t tick_positions[CONTROL_LOGS]; /* of the logs a minute ago */
	struct env_timer idle_timer;
	bool awake; /* its first tick was */
	bool timer_armed;
	size_t what_ifs; /* that read the logs in jobs (what_if.h) */
	bool what_if_cancelled;
};

/* ---- operations (control.c) ---- */

/* NULL when memory is out. */
struct control_operation *control_operation_new(struct control *control, void *argument);
void control_operation_free(struct control_operation *operation);
/* Queues it; the control plane frees it after `finish`. */
void control_submit(struct control_operation *operation);

/* Puts all changes of the operation in place in memory and builds the world they make
 * (operation->world); or neither. And takes both back. */
enum err_code control_try_changes(struct control_operation *operation, struct err *err);
void control_undo_changes(struct control_operation *operation);

/* ---- changes (control_change.c) ---- */

/* How a change is told in its record; NULL members are left out. */
struct control_telling {
	enum record_kind kind;
	const char *act;    /* static: "grant.revoke" */
	const char *person; /* copied, as are reason and name */
	const char *reason;
	const char *name;
	json_t *detail; /* borrowed */
	/* What the document keeps saying about its state, where this act does not change that. */
	const json_t *before;
	/* More members of the outer form, borrowed; null takes away what is there. A grant's
	 * `paper`, `offer` and `told` stay without being named. */
	const json_t *outer;
};

/* Adds the change of a document: `spec` and `state` (borrowed) in the outer form. The org, grant,
 * key, suite and run of the record follow from the spec. `blob` is taken over where it is not NULL.
 */
enum err_code control_change_add(struct control_operation *operation, enum store_kind kind,
				 const char *id, json_t *spec, const char *state,
				 const struct control_telling *telling, struct buf *blob,
				 struct err *err);
/* Adds a document that the record of the last change commits too: it is there exactly if that is.
 */
enum err_code control_change_ride(struct control_operation *operation, enum store_kind kind,
				  const char *id, json_t *spec, const char *state, struct err *err);
void control_change_free(struct control_change *change);
/* Adds what in-flight requests end by; id and reason are those of the change. */
enum err_code control_cut_add(struct control_operation *operation, enum control_cut_kind kind,
			      const struct control_change *change, struct err *err);
/* Puts new documents in place in memory, and takes them back. */
enum err_code control_change_install(struct control *control, struct control_change *change,
				     struct err *err);
void control_change_undo(struct control *control, struct control_change *change);

/* ---- documents (control_change.c) ---- */

const json_t *control_document(const struct control *control, enum store_kind kind,
			       const char *id); /* NULL: none */
const json_t *control_spec(const struct control *control, enum store_kind kind, const char *id);
const json_t *control_spec_of(const json_t *document);
const char *control_state_of(const json_t *document);
int64_t control_integer(const json_t *object, const char *key, int64_t fallback);
/* How records name the org; made at the first call, and stored by control_keep_pseudonyms before
 * any record is appended. "" if that failed. */
const char *control_pseudonym(struct control *control, const char *org);
enum err_code control_keep_pseudonyms(struct control *control, struct err *err);
/* "prefix" and 20 random hex digits. */
void control_random_id(struct control *control, const char *prefix,
		       char out[static CONTROL_ID_SIZE]);
/* Whether the grant's acts and requests belong in the usage log. */
enum control_log control_log_of_grant(const struct control *control, const char *grant);

/* ---- the world (control_world.c) ---- */

/* Makes a world of the documents in memory: of the present world and what `operation` has changed
 * where that is enough, else of all. Suites and runs are those of the present world, or
 * of `operation` (may be NULL), or are made from the store. */
enum err_code control_build_world(struct control *control,
				  const struct control_operation *operation, struct world **out,
				  struct err *err);

struct json_scan;
/* Adds a stored key (control_stored_keys.c); `document` is a tree, or the text of one as a string.
 */
enum err_code control_add_key(const struct control *control, struct world_builder *builder,
			      struct json_scan *scan, const char *id, const json_t *document,
			      struct err *err);
/* `limits` of a spec. */
struct limits_values control_limits_of(const json_t *spec);

/* ---- leaves of suites (control_leaves.c) ---- */

/* Before the changes are staged: moves leaves from a change into the suite's file, durably, and
 * leaves their digest in their place. After the act: removes the files of changes that did not
 * become durable. */
enum err_code control_leaves_stage(struct control_operation *operation, struct err *err);
void control_leaves_settled(const struct control_operation *operation);
/* The leaf digests of a stored suite, within `memory`, which the caller releases in any case.
 * ERR_CORRUPT names the file that does not fit what the database says. */
size_t control_leaves_units(const json_t *spec); /* digests that stand there */
enum err_code control_leaves_read(const struct control *control, const char *suite,
				  const json_t *spec, struct buf *memory, struct bytes *leaves,
				  struct err *err);
/* At start, when the suites' documents are read and before leaves are: converts what an earlier
 * build kept in the database, and removes files of no suite. */
enum err_code control_leaves_open(struct control *control, struct err *err);

/* ---- scorers of suites under V0 (control_gradings.c) ---- */

/* What a suite is graded by here; borrowed; NULL: nothing is kept. */
struct grading_book *control_grading_find(const struct control *control, const char *suite);
/* From a registration's items, or the gradings of a sealed one, with a fresh seed. ERR_INVALID
 * names the one whose scorer cannot judge one answer by itself. */
enum err_code control_grading_make(struct control *control, const json_t *list, bool sealed,
				   struct grading_book **out, struct err *err);
/* Keeps it for the suite, durably, in place of what there was; takes over the reference.
 * ERR_CONFLICT where runs are open on other gradings. */
enum err_code control_grading_keep(struct control *control, const char *suite,
				   struct grading_book *book, struct err *err);
/* Whether the scorers go when this run closes. */
bool control_grading_ends(const struct control *control, const char *suite, const char *run);
/* After an act: erases what no open run needs any more. */
void control_grading_closed(struct control *control, const struct control_operation *operation);
/* Which answers of a run may be opened is decided by HMAC of both sides' seeds: the key of it, and
 * how many leaves there are by the grant's `openings` (percent). False: none, for nothing is
 * sealed. */
#define CONTROL_OPENINGS_DEFAULT 2
bool control_grading_openings(const struct control *control, const json_t *run,
			      uint8_t key[static SHA256_SIZE], uint32_t *count);
/* What the run's record says of it: {"openings": {evaluator, gateway, key: SHA-256 of both seeds
 * and of what they give, leaves}}; NULL where nothing is sealed or memory is out. */
json_t *control_grading_promise(const struct control *control, const json_t *run);
/* SHA-256 of the gateway's seed, by which it is bound before it sees the evaluator's. */
json_t *control_grading_commitment(const struct control *control, const char *suite);
/* What the record of its end tells: "openings" {evaluator, key}, and where no other run rests on
 * the gateway's seed, "opening_seed". Nothing where nothing was sealed; false when memory is out.
 */
bool control_grading_reveal(const struct control *control, const json_t *run, bool last,
			    json_t *out);
/* At start, once suites and runs are read: what open runs need; the rest is erased. */
enum err_code control_grading_load(struct control *control, struct err *err);
void control_grading_release(struct control *control);

/* ---- recovery (control_recover.c) ---- */

/* Settles what a crash left staged. Before the documents are read. */
enum err_code control_settle_staged(struct control *control, struct err *err);
/* Counts the samples and tokens that the logs show as used. After the first world was built. */
enum err_code control_restore_use(struct control *control, struct err *err);
/* What the store has of the scopes' use and of the places in the logs up to which it is counted;
 * then, when the rest was added from the logs, the budgets count it. */
enum err_code control_use_read(struct control *control, struct err *err);
enum err_code control_use_start(struct control *control, struct err *err);
/* Once a minute and after midnight: keeps the use, one step behind. */
enum err_code control_use_turn(struct control *control, struct err *err);
/* The use of the present day, week and month. */
void control_use_sums(const struct control *control, const struct limits_cells *cells,
		      struct limits_amounts sums[static LIMITS_PERIODS]);
/* Notes where the present UTC day begins in the logs. */
enum err_code control_note_day(struct control *control, struct err *err);

/* ---- exposure and register (control_exposure.c) ---- */

/* Gives every model slot of the run that has none the cells of its provider. */
enum err_code control_expose_run(struct control *control, struct binding_run *run, struct err *err);
/* Stores what has changed, and up to where in the log that is all. */
enum err_code control_keep_exposures(struct control *control, struct err *err);
enum err_code control_exposure_position(struct control *control, uint64_t *out, struct err *err);
/* At start: an admit record after that position. */
void control_restore_exposure(struct control *control, const json_t *admit);
void control_exposures_free(struct control *control);
/* [{model, provider, run, of, answers, first, re_exposed}] of an open run, for the models it asked
 * (a new reference); NULL when memory is out. */
json_t *control_register_of(const struct control *control, const char *id);
/* {free, registered}: bytes of the words that an open run has asked, by whether answers brought
 * them in (a new reference); NULL where its suite has neither conversations nor judges. */
json_t *control_words_of(const struct control *control, const char *id);

/* ---- acts ---- */

struct control_act_request {
	const char *person;
	const char *reason; /* NULL: none */
};

enum err_code control_check_reason(const char *reason, struct err *err);
/* Acts that change a state only: "org.block", "grant.revoke", "run.close", … (control_acts.c). */
enum err_code control_prepare_transition(struct control_operation *operation, const char *act,
					 const char *id, const struct control_act_request *request,
					 struct err *err);
/* Cases (control_watch.c): takes in what was kept before the start; closes hours that are over;
 * opens one case that is due, if there is one; decides: body {decision, public_key?, limits?}. */
enum err_code control_watch_open(struct control *control, struct err *err);
void control_watch_roll(struct control *control);
enum err_code control_watch_due(struct control_operation *operation, struct err *err);
enum err_code control_prepare_decision(struct control_operation *operation, const char *id,
				       const json_t *body,
				       const struct control_act_request *request, struct err *err);
/* Adds what is shown of a case: meanings, hypotheses, harmless explanations. */
bool control_view_case(struct control *control, json_t *view);

/* Keys (control_keys.c). Issues one: body {org, grant, team?, expires?, networks?, limits?,
 * public_key? | certificate_thumbprint?}; the answer has the key itself. */
enum err_code control_prepare_key(struct control_operation *operation, const json_t *body,
				  const struct control_act_request *request, struct err *err);
/* Another one in its place: body {overlap?, expires?, public_key? | certificate_thumbprint?}. */
enum err_code control_prepare_rotate(struct control_operation *operation, const char *id,
				     const json_t *body, const struct control_act_request *request,
				     struct err *err);
/* body {public_key? | certificate_thumbprint? | none?, networks?} */
enum err_code control_prepare_bind(struct control_operation *operation, const char *id,
				   const json_t *body, const struct control_act_request *request,
				   struct err *err);
/* body {limits}: those of the key alone; {} lifts them. */
enum err_code control_prepare_limit(struct control_operation *operation, const char *id,
				    const json_t *body, const struct control_act_request *request,
				    struct err *err);
/* `memory` has room for SENDER_NETWORKS_MAX; *out points into it. */
enum err_code control_key_sender(const char *id, const json_t *spec, struct sender_network *memory,
				 struct sender_rule *out, struct err *err);
/* What a grant demands of its keys; `memory` is pointed into. */
enum err_code control_grant_demand(const char *id, const json_t *spec,
				   uint8_t memory[static SENDER_CONFIRMATIONS_MAX][SHA256_SIZE],
				   struct sender_demand *out, struct err *err);
/* "7d", "12h", "30m" in milliseconds (control_keys.c). */
bool control_parse_span(struct bytes text, int64_t *out_ms);
/* access.yaml: body {file, text, dry_run?, what_if?} (control_apply.c). */
enum err_code control_prepare_apply(struct control_operation *operation, const json_t *body,
				    const struct control_act_request *request, struct err *err);
/* The holder of a key registers a suite, opens a run (control_suites.c). */
enum err_code control_prepare_suite(struct control_operation *operation,
				    const struct world_key *key, const json_t *body,
				    struct err *err);
enum err_code control_prepare_run(struct control_operation *operation, const char *grant,
				  const char *key, const json_t *body, struct err *err);
/* "public" where the suite's root is published, else what review made of it. */
const char *control_class_of(const struct control *control, const json_t *document);

#endif
