/* Records: what a log says, as one line of RFC 8785 JSON without its newline. Written directly,
 * with the members in sorted order; no allocation. Pure. */
#ifndef LEDGER_RECORD_H
#define LEDGER_RECORD_H

#include "base/bytes.h"
#include "base/err.h"
#include "table/record_kinds.h"

#include <math.h>

#define RECORD_SIZE_MAX 16384
/* Hex digits of a record id: 12 of the index and 20 unguessable ones. */
#define RECORD_ID_SIZE 32

enum record_kind {
#define X(name, number, text) RECORD_##name = (number),
	RECORD_KIND_TABLE(X)
#undef X
};

enum record_ending {
	RECORD_ENDING_NONE,
#define X(name, text) RECORD_ENDING_##name,
	RECORD_ENDING_TABLE(X)
#undef X
};

const char *record_kind_text(enum record_kind kind);       /* "admit"; NULL if there is none */
const char *record_ending_text(enum record_ending ending); /* "finish"; NULL for NONE */

struct record_usage {
	uint64_t input; /* uncached */
	uint64_t cache_read, cache_write;
	uint64_t output; /* with reasoning */
	bool estimated;
};

/* Start with RECORD_INIT. Empty strings and NULL pointers are left out, as are leaf and sample
 * below 0, samples, count and status of 0, and a score that is not a number. Strings should be
 * UTF-8; bytes that are not become U+FFFD. Digests are 32 bytes and are written as lower-case hex.
 */
struct record {
	enum record_kind kind;
	const char *id;        /* RECORD_ID_SIZE hex digits and NUL (log_record_id) */
	int64_t time_ms;       /* Unix time */
	struct bytes act;      /* what was done: "grant.revoke" */
	struct bytes admit;    /* settle and unknown: the id of the admit record */
	struct bytes clause;   /* of the terms */
	struct bytes exposure; /* admit: first, or re-exposed */
	struct bytes detail;   /* an RFC 8785 JSON value, copied as it is */
	struct bytes grant;
	struct bytes key; /* the public id */
	struct bytes model;
	struct bytes name;   /* of a suite, with its version */
	struct bytes org;    /* the pseudonym */
	struct bytes person; /* who acted */
	struct bytes purpose;
	struct bytes reason;
	struct bytes release; /* V0 to V3 */
	struct bytes rule;
	struct bytes run;
	struct bytes safeguards;
	struct bytes served; /* the upstream's name of the model */
	struct bytes suite;
	struct bytes target; /* what was acted upon: an org, grant, key, suite or case */
	struct bytes team;
	struct bytes verdict;
	const uint8_t *answer;             /* SHA-256(nonce || canonical answer) */
	const uint8_t *document;           /* of the document an act put in force */
	const uint8_t *plan;               /* of the plan a run was opened with */
	const uint8_t *request, *response; /* SHA-256(nonce || exact body bytes) */
	const uint8_t *root;               /* of a suite */
	const uint8_t *upstream;           /* of what the provider sent, where less was let out */
	const uint8_t *words;              /* 16 bytes: of a sealed leaf, keyed by the gateway */
	int64_t leaf, sample;              /* from 0 */
	uint64_t samples;                  /* for each leaf */
	uint64_t count;                    /* refusals this record stands for */
	unsigned status;                   /* HTTP */
	enum record_ending ending;
	/* Admit: the gateway was in mode observe; rule and clause would have refused it. */
	bool observed;
	bool blind;  /* admit: of a run that counts them, asked without naming it */
	bool opened; /* settle: the sealed answer was let out for checking */
	/* Settle: nothing but the end of its connection told where the provider's answer ends. */
	bool truncated;
	double score;
	const struct record_usage *usage;
};

#define RECORD_INIT                                            \
	{                                                      \
		.leaf = -1, .sample = -1, .score = (double)NAN \
	}

/* Writes the line without a newline or NUL and returns its size; 0 if it does not fit into
 * `capacity` or RECORD_SIZE_MAX. `kind`, `id` and `time_ms` (years 1970 to 9999) must be set. */
size_t record_format(const struct record *record, char *out, size_t capacity);

/* "2026-11-01T12:00:00.123Z" (24 bytes and NUL). */
#define RECORD_TIME_SIZE 25
void record_time(int64_t unix_ms, char out[static RECORD_TIME_SIZE]);

/* The log index in a record id; false if the text is no id. */
bool record_id_index(struct bytes id, uint64_t *index);

/* The log index of the admit record that a settle or unknown record's text names (its first
 * member); false if it names none. */
bool record_admit_index(struct bytes text, uint64_t *index);

#endif
