#include "ledger/dsse.h"

#include "base/encode.h"
#include "base/json.h"
#include "base/sha256.h"

#include <stdio.h>
#include <string.h>

#define PAYLOAD_MAX ((size_t)16 << 20)

void dsse_pae(struct buf *out, struct bytes type, struct bytes payload)
{
	buf_printf(out, "DSSEv1 %zu ", type.size);
	buf_append_bytes(out, type);
	buf_printf(out, " %zu ", payload.size);
	buf_append_bytes(out, payload);
}

void dsse_keyid(const uint8_t public_key[static ED25519_KEY_SIZE], char out[static 65])
{
	uint8_t digest[SHA256_SIZE];

	sha256_of(public_key, ED25519_KEY_SIZE, digest);
	hex_encode(digest, sizeof(digest), out);
}

/* ---- writing ---- */

static enum err_code sign(struct bytes payload, const char *type, const struct ed25519_private *key,
			  struct dsse_signature *out, struct err *err)
{
	struct buf message = BUF_INIT(PAYLOAD_MAX + 256);
	uint8_t public_key[ED25519_KEY_SIZE];

	dsse_pae(&message, bytes_from(type), payload);
	bool done =
		!message.failed && ed25519_sign(key, message.data, message.size, out->signature);
	buf_release(&message);
	if (!done)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a signature");
	ed25519_public(key, public_key);
	dsse_keyid(public_key, out->keyid);
	return ERR_OK;
}

static enum err_code write_envelope(struct bytes payload, const char *type,
				    const struct dsse_signature *signatures, unsigned count,
				    struct buf *out, struct err *err)
{
	if (payload.size > PAYLOAD_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "a statement of %zu bytes is too large",
			       payload.size);
	buf_append_cstr(out, "{\"payload\":\"");
	base64_append(out, payload.data, payload.size);
	buf_append_cstr(out, "\",\"payloadType\":");
	json_append_string(out, bytes_from(type));
	buf_append_cstr(out, ",\"signatures\":[");
	for (unsigned i = 0; i < count; i++) {
		buf_append_cstr(out, i ? ",{" : "{");
		buf_append_cstr(out, "\"keyid\":");
		json_append_string(out, bytes_from(signatures[i].keyid));
		buf_append_cstr(out, ",\"sig\":\"");
		base64_append(out, signatures[i].signature, ED25519_SIGNATURE_SIZE);
		buf_append_cstr(out, "\"}");
	}
	buf_append_cstr(out, "]}\n");
	return out->failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory for a statement") : ERR_OK;
}

enum err_code dsse_wrap(struct bytes payload, const char *type, const struct ed25519_private *key,
			struct buf *out, struct err *err)
{
	struct dsse_signature signature;

	if (key)
		ERR_TRY(sign(payload, type, key, &signature, err));
	return write_envelope(payload, type, &signature, key ? 1 : 0, out, err);
}

enum err_code dsse_add_signature(struct dsse *dsse, const struct ed25519_private *key,
				 struct err *err)
{
	if (dsse->count == DSSE_SIGNATURES_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "there are %d signatures already", dsse->count);
	ERR_TRY(sign(buf_bytes(&dsse->payload), dsse->type, key, &dsse->signatures[dsse->count],
		     err));
	dsse->count++;
	return ERR_OK;
}

enum err_code dsse_write(const struct dsse *dsse, struct buf *out, struct err *err)
{
	return write_envelope(buf_bytes(&dsse->payload), dsse->type, dsse->signatures, dsse->count,
			      out, err);
}

/* ---- reading ---- */

static enum err_code read_signature(const json_t *object, const char *what,
				    struct dsse_signature *out, struct err *err)
{
	const char *keyid, *signature;

	if (!json_is_object(object))
		return ERR_SET(err, ERR_INVALID, "%s: a signature must be an object", what);
	ERR_TRY(json_get_string_or(object, "keyid", what, "", &keyid, err));
	ERR_TRY(json_get_string(object, "sig", what, &signature, err));
	if (strlen(keyid) >= sizeof(out->keyid) ||
	    !base64_decode_exact(bytes_from(signature), out->signature, sizeof(out->signature)))
		return ERR_SET(err, ERR_INVALID, "%s: a signature is not one of Ed25519", what);
	snprintf(out->keyid, sizeof(out->keyid), "%s", keyid);
	return ERR_OK;
}

static enum err_code read_signatures(const json_t *list, const char *what, struct dsse *dsse,
				     struct err *err)
{
	if (json_array_size(list) > DSSE_SIGNATURES_MAX)
		return ERR_SET(err, ERR_INVALID, "%s: more than %d signatures", what,
			       DSSE_SIGNATURES_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		ERR_TRY(read_signature(json_array_get(list, i), what, &dsse->signatures[i], err));
		dsse->count++;
	}
	return ERR_OK;
}

static enum err_code read_envelope(const json_t *envelope, const char *what, struct dsse *dsse,
				   struct err *err)
{
	const char *payload, *type;
	json_t *signatures;

	if (!json_is_object(envelope))
		return ERR_SET(err, ERR_INVALID, "%s: must be an object", what);
	ERR_TRY(json_get_string(envelope, "payload", what, &payload, err));
	ERR_TRY(json_get_string(envelope, "payloadType", what, &type, err));
	ERR_TRY(json_get_container(envelope, "signatures", what, JSON_ARRAY, false, &signatures,
				   err));
	if (strlen(type) >= sizeof(dsse->type))
		return ERR_SET(err, ERR_INVALID, "%s: payloadType is too long", what);
	snprintf(dsse->type, sizeof(dsse->type), "%s", type);
	if (!base64_decode(bytes_from(payload), &dsse->payload))
		return ERR_SET(err, ERR_INVALID, "%s: payload is not base64", what);
	return read_signatures(signatures, what, dsse, err);
}

enum err_code dsse_open(struct bytes text, const char *what, struct dsse *dsse, struct err *err)
{
	json_t *envelope;

	memset(dsse, 0, sizeof(*dsse));
	buf_init(&dsse->payload, PAYLOAD_MAX);
	ERR_TRY(json_parse(text, what, &envelope, err));
	enum err_code code = read_envelope(envelope, what, dsse, err);
	json_decref(envelope);
	return code;
}

void dsse_release(struct dsse *dsse)
{
	buf_release(&dsse->payload);
	dsse->count = 0;
}

int dsse_find_signature(const struct dsse *dsse, const uint8_t public_key[static ED25519_KEY_SIZE])
{
	struct buf message = BUF_INIT(PAYLOAD_MAX + 256);
	int found = -1;

	dsse_pae(&message, bytes_from(dsse->type), buf_bytes(&dsse->payload));
	for (unsigned i = 0; i < dsse->count && found < 0 && !message.failed; i++)
		if (ed25519_verify(public_key, message.data, message.size,
				   dsse->signatures[i].signature))
			found = (int)i;
	buf_release(&message);
	return found;
}

bool dsse_signed_by(const struct dsse *dsse, const uint8_t public_key[static ED25519_KEY_SIZE])
{
	return dsse_find_signature(dsse, public_key) >= 0;
}
