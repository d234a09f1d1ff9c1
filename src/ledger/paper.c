#include "ledger/paper.h"

#include "base/encode.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *kind, *type;
} kinds[PAPER_KINDS] = {
#define X(name, kind, type) [PAPER_##name] = {kind, type},
	PAPER_TABLE(X)
#undef X
};

const char *paper_type(enum paper_kind kind)
{
	return kinds[kind].type;
}

/* ---- signing ---- */

enum err_code paper_signer_init(struct paper_signer *signer, const char *name,
				const struct ed25519_private *key, struct err *err)
{
	char key_name[NOTE_NAME_MAX + 1];
	uint8_t public_key[ED25519_KEY_SIZE];
	struct buf text = BUF_INIT(PAPER_VKEY_SIZE);
	*signer = (struct paper_signer){.name = name, .key = key};
	if (snprintf(key_name, sizeof(key_name), "%s" PAPER_KEY_SUFFIX, name) >=
	    (int)sizeof(key_name))
		return ERR_SET(err, ERR_TOO_LARGE, "name: %s is too long to name a key", name);
	ed25519_public(key, public_key);
	ERR_TRY(note_key_init(&signer->verifier, key_name, public_key, err));
	dsse_keyid(public_key, signer->keyid);
	note_key_format(&signer->verifier, &text);
	bool good = !text.failed && text.size < sizeof(signer->vkey);
	if (good)
		memcpy(signer->vkey, text.data, text.size);
	buf_release(&text);
	return good ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory for a verifier key");
}

json_t *paper_new(const struct paper_signer *signer, enum paper_kind kind)
{
	return json_pack("{s:s, s:{s:s, s:s}}", "parley", kinds[kind].kind, "issuer", "name",
			 signer->name, "key", signer->vkey);
}

/* The envelope, whose first member is the certificate where there is one. */
static enum err_code wrap(const struct paper_signer *signer, struct bytes payload, const char *type,
			  struct buf *envelope, struct err *err)
{
	struct buf text = BUF_INIT(2 * PAPER_SIZE_MAX);
	if (!signer->certificate)
		return dsse_wrap(payload, type, signer->key, envelope, err);
	enum err_code code = dsse_wrap(payload, type, signer->key, &text, err);
	if (code == ERR_OK) {
		buf_append_cstr(envelope, "{\"certificate\":");
		json_append_string(envelope, bytes_from(signer->certificate));
		buf_append_char(envelope, ',');
		buf_append(envelope, text.data + 1, text.size - 1); /* behind its brace */
		if (envelope->failed)
			code = ERR_SET(err, ERR_NO_MEMORY, "no memory for an envelope");
	}
	buf_release(&text);
	return code;
}

enum err_code paper_sign(const struct paper_signer *signer, enum paper_kind kind,
			 const json_t *body, struct buf *envelope, uint8_t *digest, struct err *err)
{
	struct buf payload = BUF_INIT(PAPER_SIZE_MAX);
	enum err_code code = json_canonical(body, &payload, err);
	if (code == ERR_OK && payload.failed)
		code = ERR_SET(err, ERR_TOO_LARGE, "the document has more than %zu bytes",
			       PAPER_SIZE_MAX);
	if (code == ERR_OK && digest)
		sha256_of(payload.data, payload.size, digest);
	if (code == ERR_OK)
		code = wrap(signer, buf_bytes(&payload), kinds[kind].type, envelope, err);
	buf_release(&payload);
	return code;
}

/* ---- reading ---- */

static enum err_code read_issuer(struct paper *paper, const char *what,
				 const struct note_key *trusted, struct err *err)
{
	const char *text =
		json_string_value(json_object_get(json_object_get(paper->body, "issuer"), "key"));
	if (!text)
		return ERR_SET(err, ERR_INVALID, "%s: issuer.key is missing", what);
	enum err_code code = note_key_parse(bytes_from(text), &paper->issuer, err);
	if (code != ERR_OK) {
		err_prefix(err, "%s: issuer.key", what);
		return code;
	}
	if (trusted && memcmp(trusted->public_key, paper->issuer.public_key, ED25519_KEY_SIZE) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: it is issued under the key %s, not under the expected one of "
			       "%s",
			       what, text, trusted->name);
	if (!dsse_signed_by(&paper->dsse, paper->issuer.public_key))
		return ERR_SET(err, ERR_MISMATCH, "%s: the issuer's signature does not hold", what);
	return ERR_OK;
}

static enum err_code read_payload(struct paper *paper, const char *what, enum paper_kind kind,
				  struct err *err)
{
	struct bytes payload = buf_bytes(&paper->dsse.payload);
	const char *name;
	if (strcmp(paper->dsse.type, kinds[kind].type) != 0)
		return ERR_SET(err, ERR_INVALID, "%s: payloadType is %s, not %s", what,
			       paper->dsse.type, kinds[kind].type);
	ERR_TRY(json_parse(payload, what, &paper->body, err));
	if (!json_is_object(paper->body))
		return ERR_SET(err, ERR_INVALID, "%s: the payload must be an object", what);
	ERR_TRY(json_get_string(paper->body, "parley", what, &name, err));
	if (strcmp(name, kinds[kind].kind) != 0)
		return ERR_SET(err, ERR_UNSUPPORTED, "%s: it is a %s, not a %s", what, name,
			       kinds[kind].kind);
	sha256_of(payload.data, payload.size, paper->digest);
	return ERR_OK;
}

static enum err_code read_certificate(struct paper *paper, struct bytes envelope, const char *what,
				      struct err *err)
{
	json_t *tree;
	ERR_TRY(json_parse(envelope, what, &tree, err));
	const char *text = json_string_value(json_object_get(tree, "certificate"));
	paper->certificate = text ? bytes_to_cstr(bytes_from(text)) : NULL;
	bool good = !text || paper->certificate;
	json_decref(tree);
	return good ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory to read %s", what);
}

enum err_code paper_open(struct bytes envelope, const char *what, enum paper_kind kind,
			 const struct note_key *trusted, struct paper *out, struct err *err)
{
	*out = (struct paper){0};
	enum err_code code = dsse_open(envelope, what, &out->dsse, err);
	if (code == ERR_OK)
		code = read_payload(out, what, kind, err);
	if (code == ERR_OK)
		code = read_issuer(out, what, trusted, err);
	if (code == ERR_OK)
		code = read_certificate(out, envelope, what, err);
	if (code != ERR_OK)
		paper_release(out);
	return code;
}

void paper_release(struct paper *paper)
{
	dsse_release(&paper->dsse);
	json_decref(paper->body);
	paper->body = NULL;
	free(paper->certificate);
	paper->certificate = NULL;
}

/* The key that the note is about. */
static enum err_code read_vouched(struct bytes text, const struct note_key *log,
				  struct note_key *out, struct err *err)
{
	struct note note;
	struct bytes rest;
	char name[NOTE_NAME_MAX + sizeof(PAPER_KEY_SUFFIX)];
	ERR_TRY(note_parse(text, &note, err));
	ERR_TRY(note_verify(&note, log, err));
	struct bytes title = bytes_split(note.text, '\n', &rest);
	struct bytes key = bytes_split(rest, '\n', &rest);
	if (!bytes_is(title, PAPER_NOTE_TITLE) || rest.size)
		return ERR_SET(err, ERR_MISMATCH, "it is no note of a key for papers");
	ERR_TRY(note_key_parse(key, out, err));
	snprintf(name, sizeof(name), "%s" PAPER_KEY_SUFFIX, log->name);
	if (strcmp(out->name, name) != 0)
		return ERR_SET(err, ERR_MISMATCH, "it is about the key of %.200s", out->name);
	return ERR_OK;
}

enum err_code paper_check_certificate(const struct paper *paper, const struct note_key *log,
				      const char *what, struct err *err)
{
	struct note_key vouched;
	struct err why = ERR_INIT;
	if (!paper->certificate)
		return ERR_SET(err, ERR_NOT_FOUND,
			       "%s has no certificate, so that nothing tells whether the log's key "
			       "%s vouches for its issuer; ask for a fresh copy",
			       what, log->name);
	if (read_vouched(bytes_from(paper->certificate), log, &vouched, &why) != ERR_OK)
		return ERR_SET(err, ERR_MISMATCH, "%s: certificate: %s", what, why.message);
	if (memcmp(vouched.public_key, paper->issuer.public_key, ED25519_KEY_SIZE) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the log vouches for another key than the one that issued it",
			       what);
	return ERR_OK;
}

bool paper_read_key(const char *text, uint8_t out[static ED25519_KEY_SIZE])
{
	struct note_key key;
	if (base64_decode_exact(bytes_from(text), out, ED25519_KEY_SIZE))
		return true;
	if (note_key_parse(bytes_from(text), &key, NULL) != ERR_OK)
		return false;
	memcpy(out, key.public_key, ED25519_KEY_SIZE);
	return true;
}
