/* Verdicts on sealed answers as the harness keeps and the verifier reads them
 * (docs/formats/verdict.md). */
#ifndef GRADE_SEALED_H
#define GRADE_SEALED_H

#include "base/ed25519.h"
#include "base/sha256.h"
#include "grade/run_records.h"
#include "grade/verdict_note.h"
#include "ledger/note.h"

struct sealed_verdict {
	json_t *tree; /* owned; the strings below live in it */
	const char *answer, *model, *record, *run, *suite, *verdict;
	const char *served; /* NULL: not told */
	int64_t leaf, sample;
	double score;
	struct run_usage usage;
	bool opened;
	uint8_t signature[ED25519_SIGNATURE_SIZE];
};

/* ERR_INVALID naming `what` and the member where the text is no verdict: another shape, unknown
 * members, a score that is no grade or not the one its word says. `out` is overwritten; release it
 * in any case. */
enum err_code sealed_verdict_read(struct bytes text, const char *what, struct sealed_verdict *out,
				  struct err *err);
void sealed_verdict_release(struct sealed_verdict *verdict);

/* Its score as a scorer would have given it; `expect` tells whether a refusal was passed or failed.
 */
void sealed_verdict_score(const struct sealed_verdict *verdict, enum expect expect,
			  struct score *score);

/* Whether it is signed by this key. False also when memory is out. */
bool sealed_verdict_signed_by(const struct sealed_verdict *verdict,
			      const uint8_t public_key[static ED25519_KEY_SIZE]);

/* The verdict key that a note certifies, if `log` has signed it and its name is that log's. ERR_OK,
 * ERR_INVALID, ERR_MISMATCH or ERR_NOT_FOUND (another key has signed). */
enum err_code sealed_key_read(struct bytes note, const struct note_key *log, struct note_key *out,
			      struct err *err);

#endif
