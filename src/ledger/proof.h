/* Offline proofs of inclusion (C2SP tlog-proof): index, hashes and the signed checkpoint. With the
 * record beside it this is a receipt. Pure. */
#ifndef LEDGER_PROOF_H
#define LEDGER_PROOF_H

#include "ledger/checkpoint.h"

struct proof {
	uint64_t index;
	size_t count;
	struct merkle_hash hashes[MERKLE_PROOF_MAX];
	struct bytes checkpoint; /* the signed note, verbatim */
	struct bytes extra;      /* base64 of unauthenticated data; empty: none */
};

void proof_format(const struct proof *proof, struct buf *out);
/* Borrows from `text`. ERR_INVALID if malformed. */
enum err_code proof_parse(struct bytes text, struct proof *out, struct err *err);
/* Is `record` the entry at proof->index of the log whose key this is? Fills *checkpoint (which may
 * be NULL) on success. ERR_INVALID, ERR_NOT_FOUND (not signed by this key) or ERR_MISMATCH. */
enum err_code proof_verify(const struct proof *proof, const struct note_key *key,
			   struct bytes record, struct checkpoint *checkpoint, struct err *err);

#endif
