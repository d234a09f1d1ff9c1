/* Signed notes and their verifier keys (C2SP signed-note) with Ed25519. Pure. */
#ifndef LEDGER_NOTE_H
#define LEDGER_NOTE_H

#include "base/buf.h"
#include "base/ed25519.h"
#include "base/err.h"

#define NOTE_NAME_MAX 255
#define NOTE_SIGNATURES_MAX 64
#define NOTE_SIZE_MAX 65536
#define NOTE_ED25519 0x01
#define NOTE_COSIGNATURE 0x04 /* an Ed25519 key of a witness: cosignature.h */

/* Who may sign: a name and a public key. */
struct note_key {
	char name[NOTE_NAME_MAX + 1];
	uint8_t type;  /* NOTE_ED25519 or NOTE_COSIGNATURE */
	uint8_t id[4]; /* SHA-256(name || LF || type || public key)[:4] */
	uint8_t public_key[ED25519_KEY_SIZE];
};

/* ERR_INVALID unless the name is non-empty UTF-8 of at most NOTE_NAME_MAX bytes without spaces,
 * control characters and "+". */
enum err_code note_key_init(struct note_key *key, const char *name,
			    const uint8_t public_key[static ED25519_KEY_SIZE], struct err *err);
/* `name+hex id+base64(type || key)`. ERR_INVALID if malformed or the id does not match,
 * ERR_UNSUPPORTED for another kind of key than Ed25519. */
enum err_code note_key_parse(struct bytes text, struct note_key *out, struct err *err);
/* The same for keys of witnesses (NOTE_COSIGNATURE). */
enum err_code note_cosigner_init(struct note_key *key, const char *name,
				 const uint8_t public_key[static ED25519_KEY_SIZE],
				 struct err *err);
enum err_code note_cosigner_parse(struct bytes text, struct note_key *out, struct err *err);
void note_key_format(const struct note_key *key, struct buf *out);

struct note_signature {
	struct bytes name; /* points into the note */
	uint8_t id[4];
	struct bytes base64; /* of id || signature; points into the note */
};

struct note {
	struct bytes text; /* with its last newline; points into the note */
	unsigned count;    /* >= 1 */
	struct note_signature signatures[NOTE_SIGNATURES_MAX];
};

/* One signature line, without its newline. False if it is malformed. */
bool note_parse_signature(struct bytes line, struct note_signature *out);
/* ERR_INVALID, saying why, on anything but a well-formed note. Nothing is verified yet. */
enum err_code note_parse(struct bytes message, struct note *out, struct err *err);
/* Whether a signature line bears name and id of the key; it may be wrong. */
bool note_signature_claims(const struct note_signature *signature, const struct note_key *key);
/* ERR_OK if a signature of `key` (NOTE_ED25519) is there and every one of its signatures is right.
 * ERR_NOT_FOUND if the key has not signed, ERR_MISMATCH if a signature of it is wrong. */
enum err_code note_verify(const struct note *note, const struct note_key *key, struct err *err);
/* Appends text, an empty line and one signature line. The text ends with a newline. ERR_INVALID or
 * ERR_NO_MEMORY. */
enum err_code note_sign(struct bytes text, const struct note_key *key,
			const struct ed25519_private *private_key, struct buf *out,
			struct err *err);
/* Appends one signature line: `size` bytes of signature under the key's name and id. */
void note_append_signature(const struct note_key *key, const void *signature, size_t size,
			   struct buf *out);

#endif
