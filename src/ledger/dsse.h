/* DSSE envelopes (secure-systems-lab/dsse, v1.0.2) around JSON documents, signed with Ed25519.
 * Pure. */
#ifndef LEDGER_DSSE_H
#define LEDGER_DSSE_H

#include "base/ed25519.h"

#include <jansson.h>

#define DSSE_IN_TOTO "application/vnd.in-toto+json"

/* Pre-authentication encoding: "DSSEv1" SP len(type) SP type SP len(body) SP body. */
void dsse_pae(struct buf *out, struct bytes type, struct bytes payload);

/* Hex SHA-256 of the raw public key: the keyid of our signatures. */
void dsse_keyid(const uint8_t public_key[static ED25519_KEY_SIZE], char out[static 65]);

/* The envelope {payload, payloadType, signatures}, appended as JSON. Without a key `signatures` is
 * an empty list: the statement is unsigned. */
enum err_code dsse_wrap(struct bytes payload, const char *type, const struct ed25519_private *key,
			struct buf *out, struct err *err);

struct dsse_signature {
	char keyid[65]; /* "" if there is none */
	uint8_t signature[ED25519_SIGNATURE_SIZE];
};
#define DSSE_SIGNATURES_MAX 16

struct dsse {
	char type[128];
	struct buf payload; /* owned */
	struct dsse_signature signatures[DSSE_SIGNATURES_MAX];
	unsigned count;
};

/* Opens an envelope without judging its signatures. `dsse` is overwritten; release it in any case.
 */
enum err_code dsse_open(struct bytes envelope, const char *what, struct dsse *dsse,
			struct err *err);
void dsse_release(struct dsse *dsse);
/* Whether one of the signatures is by this key. A keyid is a hint only. */
bool dsse_signed_by(const struct dsse *dsse, const uint8_t public_key[static ED25519_KEY_SIZE]);

/* The place of this key's signature among them, or -1. */
int dsse_find_signature(const struct dsse *dsse, const uint8_t public_key[static ED25519_KEY_SIZE]);
/* Adds a signature by this key. ERR_TOO_LARGE where there is no room, or ERR_NO_MEMORY. */
enum err_code dsse_add_signature(struct dsse *dsse, const struct ed25519_private *key,
				 struct err *err);
/* Appends the envelope as dsse_wrap does, with the signatures it has. */
enum err_code dsse_write(const struct dsse *dsse, struct buf *out, struct err *err);

#endif
