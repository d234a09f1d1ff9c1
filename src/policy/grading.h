/* What the leaves of a suite are graded by, kept by a gateway that releases verdicts only (V0) from
 * the suite's registration until its last run closes. Immutable and counted: shared by all
 * snapshots of the world that know it, and by requests on their way. Pure. */
#ifndef POLICY_GRADING_H
#define POLICY_GRADING_H

#include "base/buf.h"
#include "base/err.h"
#include "base/sha256.h"

#include <stdatomic.h>

#define GRADING_SEED_SIZE 32
#define GRADING_TEXT_MAX ((size_t)1 << 30) /* bytes of all scorers of a suite */

struct grading_book {
	_Atomic unsigned references;
	/* The gateway's half of the choice of what may be opened; told when the book is erased. */
	uint8_t seed[GRADING_SEED_SIZE];
	uint32_t count;
	size_t *ends; /* of each leaf's text */
	/* In leaf order the RFC 8785 text of each leaf's scorer {kind, target, …}; of a sealed
	 * suite a tab and the text of the leaf's grading after it. */
	char *text;
	size_t size;
};

/* From the leaves' lines, each with a newline at its end, `count` of them. One reference, the
 * caller's. ERR_INVALID: not so many lines; ERR_TOO_LARGE; ERR_NO_MEMORY. */
enum err_code grading_book_new(struct bytes lines, uint32_t count,
			       const uint8_t seed[static GRADING_SEED_SIZE],
			       struct grading_book **out, struct err *err);
struct grading_book *grading_book_hold(struct grading_book *book); /* NULL gives NULL */
/* The last reference overwrites the texts. NULL is fine. */
void grading_book_drop(struct grading_book *book);

/* The scorer of a leaf; empty where there is no such leaf. Valid while the book is held. */
struct bytes grading_book_scorer(const struct grading_book *book, uint32_t leaf);
/* Whether the leaf's grading, salted, has this hash: the second half of a leaf's data. False also
 * where none was uploaded. */
bool grading_book_shows(const struct grading_book *book, uint32_t leaf, struct bytes salt,
			const uint8_t hash[static SHA256_SIZE]);
/* SHA-256 of the seed: what binds the gateway to it. */
void grading_book_commitment(const struct grading_book *book, uint8_t out[static SHA256_SIZE]);

#endif
