/* Cosignatures of witnesses on checkpoints (C2SP tlog-cosignature, version 1: Ed25519, type 0x04):
 * who signed has seen that this tree only grew until then. Pure. */
#ifndef LEDGER_COSIGNATURE_H
#define LEDGER_COSIGNATURE_H

#include "ledger/note.h"

#define COSIGNATURE_SIZE (8 + ED25519_SIGNATURE_SIZE)

/* Appends the signature line of `key` (of type NOTE_COSIGNATURE) on a checkpoint's body, which ends
 * with a newline. `time_s`: Unix seconds. ERR_NO_MEMORY. */
enum err_code cosignature_sign(struct bytes body, const struct note_key *key,
			       const struct ed25519_private *private_key, uint64_t time_s,
			       struct buf *out, struct err *err);
/* ERR_OK if a cosignature of `key` is there and every one of its is right; *time_s (may be NULL) is
 * the latest one's. ERR_NOT_FOUND if the key has not signed, ERR_MISMATCH if one of its is wrong.
 */
enum err_code cosignature_verify(const struct note *note, const struct note_key *key,
				 uint64_t *time_s, struct err *err);

#endif
