/* Published bundles: what is withheld from them, and the commitments that stand in its place
 * (docs/formats/published.md). Publisher and verifier take the same things out by the functions
 * here, so that what is opened later can be held against what was published. Pure. */
#ifndef GRADE_PUBLISHED_H
#define GRADE_PUBLISHED_H

#include "base/buf.h"
#include "base/err.h"
#include "base/sha256.h"

#include <jansson.h>

#define PUBLISHED_FILE "withheld.json"
#define PUBLISHED_FORMAT "parley-withheld-1"
#define PUBLISHED_SALT_SIZE 32
#define PUBLISHED_LABEL_MAX 512u
#define PUBLISHED_VALUE_MAX ((size_t)64 << 20)
#define PUBLISHED_LINE_MAX ((size_t)128 << 20) /* of a file of salts */
#define PUBLISHED_ITEMS_MAX 1000000u

#define PUBLISHED_PLAN "plan"       /* label of the whole plan.json */
#define PUBLISHED_SUMMARY "summary" /* label of the whole summary.json */
#define PUBLISHED_GRANT "grant/"    /* label of a grant's file: with its name behind it */

/* SHA-256("parley-commitment-1" LF || salt || size of label || label || size of value || value),
 * sizes as 8 bytes, big-endian. Hides the value while the salt is secret, and binds to label and
 * value. */
void commitment_make(const uint8_t salt[static PUBLISHED_SALT_SIZE], struct bytes label,
		     struct bytes value, uint8_t out[static SHA256_SIZE]);

/* A line of a file of salts: one commitment opened. Texts are borrowed from the tree. */
struct opening {
	struct bytes label, value;
	uint8_t salt[PUBLISHED_SALT_SIZE];
	const json_t *proof, *judge_proof; /* of an item's leaves in the suite's root; NULL: none */
};
/* ERR_INVALID naming `where` for what is none. */
enum err_code opening_read(const json_t *line, const char *where, struct opening *out,
			   struct err *err);

/* Checks the shape of withheld.json, deep: formats, digests, names, counts, no unknown members. */
enum err_code published_check(const json_t *withheld, struct err *err);

/* A copy of plan.json without prices, budgets and what is the publisher's own (files, variables).
 * *withheld: there was any; else the copy is equal. NULL: out of memory. */
json_t *published_plan(const json_t *plan, bool *withheld);
/* The same of summary.json: money, appeal addresses, reasons in words. */
json_t *published_summary(const json_t *summary, bool *withheld);

/* Takes out of an attempt's line what its suite withholds, and sets `outcome`. Returns what was
 * taken (a new reference); NULL: out of memory. */
json_t *published_attempt(json_t *line);
/* Takes out of a score's line what does not go with a withheld suite. */
void published_score(json_t *line);

#endif
