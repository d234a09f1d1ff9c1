/* Papers: what a gateway signs with its grant key for others to hold: terms, grants, their status,
 * notices, statements. A paper is a JSON object, signed as bytes in a DSSE envelope with Ed25519.
 * Every one begins with `parley` (its kind and version) and `issuer` (name and verifier key). The
 * formats are in docs/formats. Pure. */
#ifndef LEDGER_PAPER_H
#define LEDGER_PAPER_H

#include "base/json.h"
#include "base/sha256.h"
#include "ledger/dsse.h"
#include "ledger/note.h"

#define PAPER_SIZE_MAX ((size_t)8 << 20)
#define PAPER_VKEY_SIZE 512
/* The name of a key for papers: the gateway's, with this behind. */
#define PAPER_KEY_SUFFIX "/grants"
/* First line of the note by which the log's key vouches for the key of papers. */
#define PAPER_NOTE_TITLE "parley grant key v1"

/* clang-format off */
#define PAPER_TABLE(X) \
	/* name       kind              payload type */ \
	X(TERMS,      "terms/1",        "application/vnd.parley.terms+json") \
	X(GRANT,      "grant/1",        "application/vnd.parley.grant+json") \
	X(STATUS,     "grant-status/1", "application/vnd.parley.grant-status+json") \
	X(NOTICE,     "notice/1",       "application/vnd.parley.notice+json") \
	X(STATEMENT,  "statement/1",    "application/vnd.parley.statement+json")
/* clang-format on */

enum paper_kind {
#define X(name, kind, type) PAPER_##name,
	PAPER_TABLE(X)
#undef X
		PAPER_KINDS
};

/* Who signs. The name of the key is the gateway's with "/grants" behind it. */
struct paper_signer {
	const char *name;                  /* the gateway's; borrowed */
	const struct ed25519_private *key; /* borrowed */
	struct note_key verifier;
	char vkey[PAPER_VKEY_SIZE];
	char keyid[65];
	/* The log's word for the key, which goes into every envelope; borrowed. NULL: none. */
	const char *certificate;
};
enum err_code paper_signer_init(struct paper_signer *signer, const char *name,
				const struct ed25519_private *key, struct err *err);

/* The payloadType of its envelopes. */
const char *paper_type(enum paper_kind kind);
/* {"parley", "issuer"}: the beginning of a paper of this kind. NULL when memory is out. */
json_t *paper_new(const struct paper_signer *signer, enum paper_kind kind);
/* Appends the envelope; the digest is the SHA-256 of the payload (may be NULL). */
enum err_code paper_sign(const struct paper_signer *signer, enum paper_kind kind,
			 const json_t *body, struct buf *envelope, uint8_t *digest,
			 struct err *err);

/* A paper that was read and whose issuer's signature holds. */
struct paper {
	struct dsse dsse;
	json_t *body;
	uint8_t digest[SHA256_SIZE]; /* of the payload */
	struct note_key issuer;
	char *certificate; /* the envelope's, not judged; NULL: it has none */
};

/* Opens an envelope of this kind and checks the issuer's signature: by `trusted`, or, where that is
 * NULL, by the key that the paper names itself, which proves that the paper is whole and not whose
 * it is. Other members of the envelope are passed over (DSSE). ERR_INVALID, or ERR_MISMATCH where a
 * signature or key is not the right one. paper_release is needed on ERR_OK only. */
enum err_code paper_open(struct bytes envelope, const char *what, enum paper_kind kind,
			 const struct note_key *trusted, struct paper *out, struct err *err);
void paper_release(struct paper *paper);
/* Whether the log with this key vouches for the key that issued the paper: by the note in the
 * envelope. ERR_NOT_FOUND: it has none. ERR_MISMATCH: it is another log's, of another key, or
 * broken. */
enum err_code paper_check_certificate(const struct paper *paper, const struct note_key *log,
				      const char *what, struct err *err);

/* The public key of an organisation as people write it: base64 of 32 bytes (`parley keygen`) or a
 * verifier key (name+id+base64). */
bool paper_read_key(const char *text, uint8_t out[static ED25519_KEY_SIZE]);

#endif
