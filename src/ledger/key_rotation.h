/* A log's key handed on to the next one: a signed note, signed by both keys, that names both (see
 * docs/formats/log.md). Whoever trusts the old key can trust the new one by it. Pure. */
#ifndef LEDGER_KEY_ROTATION_H
#define LEDGER_KEY_ROTATION_H

#include "ledger/note.h"

#define KEY_ROTATION_TITLE "parley log key rotation 1"
#define KEY_ROTATIONS_FILE "key-rotations" /* in a log's directory and in a bundle */
#define KEY_ROTATIONS_MAX 64u
#define KEY_ROTATIONS_TEXT_MAX ((size_t)256 << 10)

struct key_rotation {
	uint64_t size; /* records of the log when it was decided: the new key signs longer trees */
	struct note_key from, to; /* of one name: the log's origin */
};

/* Appends the note. ERR_INVALID where both keys are one or their names differ, ERR_NO_MEMORY. */
enum err_code key_rotation_sign(const struct key_rotation *rotation,
				const struct ed25519_private *from,
				const struct ed25519_private *to, struct buf *out, struct err *err);
/* Reads and verifies a note: by both keys that it names. Whether `from` is to be trusted is for the
 * caller to say. ERR_INVALID or ERR_MISMATCH. */
enum err_code key_rotation_open(struct bytes note, struct key_rotation *out, struct err *err);

/* The first of several notes one after another; *rest is what follows it. */
struct bytes key_rotation_next(struct bytes text, struct bytes *rest);

#endif
