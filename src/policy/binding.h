/* Suites registered under a grant, runs of them, and which leaf a request's words are (DESIGN.md
 * section 5, "Suite binding"). The gateway keeps no items: a leaf is the first 16 bytes of an HMAC
 * over its words' digest, under a secret of the gateway. Where some leaves are conversations or
 * judges (shape.h), what is found, asked and counted are units; else unit i is leaf i.
 *
 * Suites are immutable and runs hold atomic counters; both are counted references, shared by all
 * snapshots of the world that know them. */
#ifndef POLICY_BINDING_H
#define POLICY_BINDING_H

#include "base/err.h"
#include "base/json.h"
#include "base/sha256.h"
#include "policy/answers.h"
#include "policy/exposure.h"
#include "policy/openings.h"
#include "policy/shape.h"
#include "table/purposes.h"

#include <stdatomic.h>

#define BINDING_DIGEST_SIZE 16
#define BINDING_LEAVES_MAX 1000000u
#define BINDING_SAMPLES_MAX 64 /* samples of a leaf in one run */
#define BINDING_MODELS_MAX 128 /* models one run may ask */
#define BINDING_ID_SIZE 64     /* bytes of a suite's or run's id, with NUL */
#define BINDING_NAME_SIZE 128

/* ---- settings ---- */

#define BINDING_SETTINGS_MAX 16
#define BINDING_SETTING_NAME_SIZE 32
#define BINDING_SETTING_VALUE_SIZE 64

struct binding_setting {
	char name[BINDING_SETTING_NAME_SIZE];
	char value[BINDING_SETTING_VALUE_SIZE]; /* RFC 8785 text: `0.7`, `"low"` */
};

/* Canonical settings of a suite or a request. */
struct binding_settings {
	int64_t max_output; /* tokens; -1: not stated */
	unsigned count;
	struct binding_setting members[BINDING_SETTINGS_MAX];
};

/* From an object of canonical settings {max_output, temperature, …}; NULL and nulls: none stated.
 * ERR_INVALID on anything that is no object, too many members, or too long a name or value. */
enum err_code binding_settings_from_json(const json_t *settings, struct binding_settings *out,
					 struct err *err);

/* Whether a request's settings are the suite's: each equal or absent, max output at most the
 * suite's (absent: the gateway caps the answer at the suite's). If not, `why` tells the first that
 * differs: "max output 32000 > 64". */
bool binding_settings_match(const struct binding_settings *suite,
			    const struct binding_settings *request, char *why, size_t why_size);

/* ---- suites ---- */

/* The keyed digest of a leaf or request from SHA-256 of its canonical words. */
void binding_digest(const struct hmac_key *secret, const uint8_t words_digest[static SHA256_SIZE],
		    uint8_t out[static BINDING_DIGEST_SIZE]);

struct binding_suite_options {
	const char *id, *name, *version;
	enum purpose purpose;
	uint8_t root[SHA256_SIZE];
	struct binding_settings settings;
	unsigned samples;       /* of each leaf in a run opened without saying how many; 1 to 64 */
	uint32_t leaf_count;    /* 1 to BINDING_LEAVES_MAX */
	const uint8_t *digests; /* BINDING_DIGEST_SIZE bytes a unit, in their order; copied.
				 * NULL: sealed, known by its root alone */
	struct bytes shape;     /* as stored; empty: every leaf is an exact one */
	/* Of the leaves that are judges: settings, and verdicts on one answer (0: the default). */
	struct binding_settings judge_settings;
	unsigned verdicts;
	int64_t registered_ms;
};

/* What judges answer is a verdict and no more: tokens. */
#define BINDING_VERDICT_OUTPUT_MAX 16

struct binding_judging {
	struct binding_settings settings;
	unsigned verdicts;
};

struct binding_suite {
	_Atomic unsigned references;
	char id[BINDING_ID_SIZE], name[BINDING_NAME_SIZE], version[BINDING_NAME_SIZE];
	enum purpose purpose;
	uint8_t root[SHA256_SIZE];
	struct binding_settings settings;
	unsigned samples;
	uint32_t leaf_count, unit_count;
	uint32_t distinct_leaves;        /* units with equal words count once */
	struct shape *shape;             /* NULL: units are leaves */
	struct binding_judging *judging; /* beside a shape */
	int64_t registered_ms;
	bool sealed;
	uint8_t (*digests)[BINDING_DIGEST_SIZE];
	uint32_t *slots; /* open addressing: unit + 1, or 0 */
	uint32_t slot_mask;
	/* Sealed: what words its leaves have turned out to have, open addressing: 44 bits of their
	 * digest and the leaf's index in 20, or 0. */
	_Atomic uint64_t *claims;
};

/* One reference, the caller's. ERR_INVALID, ERR_TOO_LARGE or ERR_NO_MEMORY. At most 32 bytes a
 * leaf. */
enum err_code binding_suite_new(const struct binding_suite_options *options,
				struct binding_suite **out, struct err *err);
struct binding_suite *binding_suite_hold(struct binding_suite *suite);
void binding_suite_drop(struct binding_suite *suite); /* NULL is fine */

/* The unit with these words; of several equal ones the first (where the suite is sealed: the first
 * that was claimed; those that were not yet are not found). False if there is none. */
bool binding_suite_find(const struct binding_suite *suite,
			const uint8_t digest[static BINDING_DIGEST_SIZE], uint32_t *unit);
/* What the leaf is asked with: the suite's settings, or those of its judges. */
const struct binding_settings *binding_suite_settings(const struct binding_suite *suite,
						      uint32_t leaf);

/* A leaf of a sealed suite was proved to have these words: from now on they are found. Returns the
 * leaf that counts for them, which is another one where another had the same words before. From any
 * thread. */
uint32_t binding_suite_claim(struct binding_suite *suite,
			     const uint8_t digest[static BINDING_DIGEST_SIZE], uint32_t leaf);

/* ---- runs ---- */

struct binding_run_options {
	const char *id, *grant_id;
	struct binding_suite *suite; /* a reference is taken */
	unsigned samples;            /* of each leaf and model; 1 to BINDING_SAMPLES_MAX */
	uint8_t plan_digest[SHA256_SIZE];
	int64_t opened_ms;
	/* Requests have to name the run, but for so many samples over all leaves and models. */
	bool named;
	int64_t blind_max;
	/* Sealed answers: so many leaves, chosen by HMAC under the key (SHA256_SIZE bytes), may be
	 * opened for checking, one sample of each. 0: none. */
	const uint8_t *opening_key;
	uint32_t openings;
};

/* The samples of a leaf are counted for each model on its own. */
struct binding_run {
	_Atomic unsigned references;
	char id[BINDING_ID_SIZE], grant_id[BINDING_ID_SIZE];
	struct binding_suite *suite;
	unsigned samples;
	uint8_t plan_digest[SHA256_SIZE];
	int64_t opened_ms;
	bool named; /* those that do not name it are counted: at most blind_max */
	int64_t blind_max;
	_Atomic int64_t blind_used;
	_Atomic int64_t last_use_ms; /* opened_ms, or the last binding_take */
	_Atomic bool closed;         /* nothing is taken any more */
	_Atomic int64_t in_flight;   /* samples held and neither kept nor released */
	unsigned model_count;
	char *models[BINDING_MODELS_MAX];
	_Atomic uint64_t *used[BINDING_MODELS_MAX]; /* a bit for each sample of each unit */
	/* What was answered: unit after unit, sample after sample; NULL: nothing asks for it. */
	struct served *answers[BINDING_MODELS_MAX];
	/* Of the words that were asked: what is registered, and what answers brought in. Counted
	 * where the suite has a shape. */
	_Atomic uint64_t registered_bytes, free_bytes;
	/* What the model's provider has seen; set by the thread that builds worlds, before a world
	 * knows the slot. NULL: it is not kept. */
	struct exposure *exposed[BINDING_MODELS_MAX];
	struct openings openings;
};

enum err_code binding_run_new(const struct binding_run_options *options, struct binding_run **out,
			      struct err *err);
struct binding_run *binding_run_hold(struct binding_run *run);
void binding_run_drop(struct binding_run *run); /* NULL is fine */
/* From any thread; samples in flight may still be kept or released. */
void binding_run_close(struct binding_run *run);

/* Makes counters for a model if there are none. Only the thread that builds worlds calls it (and
 * world_build does for every model of the run's grant); *slot is what the calls below take. */
enum err_code binding_run_add_model(struct binding_run *run, const char *model, unsigned *slot,
				    struct err *err);
/* At start: sample (1-based) of the unit was used, as the log shows. False where there is no such
 * unit or sample. */
bool binding_run_restore(struct binding_run *run, unsigned slot, uint32_t unit, unsigned sample);
/* At start: one was asked without naming the run. */
void binding_run_restore_blind(struct binding_run *run);
/* Whether one more may be. */
bool binding_run_takes_blind(const struct binding_run *run);
/* Samples of the unit that are used or in flight. */
unsigned binding_run_used(const struct binding_run *run, unsigned slot, uint32_t unit);
/* How many there may be: of a judge, whatever the run says. */
unsigned binding_run_samples(const struct binding_run *run, uint32_t leaf);
/* Whether the answer to this sample (1-based) of the leaf may be opened. Fixed when the run opens:
 * at most `openings` leaves, one sample of each. */
bool binding_run_opens(const struct binding_run *run, uint32_t leaf, unsigned sample);
/* Those of all units for one model. */
uint64_t binding_run_slot_total(const struct binding_run *run, unsigned slot);
/* How many samples of all units and models are used or in flight. */
uint64_t binding_run_total(const struct binding_run *run);

/* The place of an answer; NULL where there is no such unit or sample (1-based), or none is kept. */
struct served *binding_run_answer(const struct binding_run *run, unsigned slot, uint32_t unit,
				  unsigned sample);
/* The samples of the unit that were answered so: a bit each. */
uint64_t binding_run_said(const struct binding_run *run, unsigned slot, uint32_t unit,
			  const struct script_said *said);

/* An answer of the run in a judge's slot. */
struct binding_judged {
	unsigned slot; /* of its model */
	uint32_t unit;
	unsigned sample;
};

/* What of a run a request is to use up. */
struct binding_pick {
	uint32_t leaf, unit;
	unsigned step;  /* of a conversation, from 0 */
	uint64_t among; /* the samples it can be, a bit each */
	bool unnamed;   /* the request does not name the run */
	unsigned judged_count;
	struct binding_judged judged[SCRIPT_SLOTS_MAX];
	uint32_t free_bytes, registered_bytes; /* of its words; 0 where they are not counted */
};
/* Any sample of an exact leaf. */
struct binding_pick binding_pick_leaf(uint32_t leaf);

/* A sample in flight: taken when a request is admitted, kept by a 200, released by anything else.
 * Holds a reference to the run. */
struct binding_hold {
	struct binding_run *run; /* NULL: holds nothing */
	struct binding_pick pick;
	unsigned slot;
	unsigned sample; /* 1-based */
	bool noted;      /* what the provider has seen is kept */
	bool re_exposed; /* and it had seen the leaf before the run was opened */
};

/* Whether one of the samples is free. */
bool binding_run_is_free(const struct binding_run *run, unsigned slot,
			 const struct binding_pick *pick);
/* The lowest free of the samples; false where all are taken, an answer has had all the verdicts
 * there may be, or the run is closed. */
bool binding_take(struct binding_run *run, unsigned slot, const struct binding_pick *pick,
		  int64_t wall_ms, struct binding_hold *hold);
/* Both end the hold; on one that holds nothing they do nothing. */
void binding_keep(struct binding_hold *hold);
void binding_release(struct binding_hold *hold);
/* Whether it is a sample of the run's blind share. */
bool binding_hold_is_blind(const struct binding_hold *hold);
/* Where what is answered has to be kept; NULL: nothing will ask for it. While it is held. */
struct served *binding_hold_answer(const struct binding_hold *hold);
/* At start: an answer was judged, words were counted. */
void binding_run_count(struct binding_run *run, const struct binding_pick *pick);

#endif
