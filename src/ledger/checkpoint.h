/* Signed tree heads (C2SP tlog-checkpoint): origin, size and root in a signed note. Pure. */
#ifndef LEDGER_CHECKPOINT_H
#define LEDGER_CHECKPOINT_H

#include "ledger/merkle.h"
#include "ledger/note.h"

struct checkpoint {
	char origin[NOTE_NAME_MAX + 1];
	uint64_t size;
	struct merkle_hash root;
};

/* Appends the body: three lines. */
void checkpoint_format(const struct checkpoint *checkpoint, struct buf *out);
/* The body of a checkpoint: three lines and, ignored, extension lines. ERR_INVALID if malformed. */
enum err_code checkpoint_parse(struct bytes text, struct checkpoint *out, struct err *err);

/* Appends the signed note. */
enum err_code checkpoint_sign(const struct checkpoint *checkpoint, const struct note_key *key,
			      const struct ed25519_private *private_key, struct buf *out,
			      struct err *err);
/* Parses a signed checkpoint and verifies `key`'s signature; the origin must be the key's name.
 * ERR_INVALID (malformed), ERR_NOT_FOUND (not signed by key) or ERR_MISMATCH. */
enum err_code checkpoint_open(struct bytes message, const struct note_key *key,
			      struct checkpoint *out, struct err *err);

#endif
