#include "ledger/cosignature.h"

#include "base/encode.h"

#include <assert.h>

/* What is signed: two lines and the checkpoint's body. */
static bool message(struct bytes body, uint64_t time_s, struct buf *out)
{
	buf_printf(out, "cosignature/v1\ntime %llu\n", (unsigned long long)time_s);
	buf_append_bytes(out, body);
	return !out->failed;
}

static void put_time(uint64_t time_s, uint8_t out[static 8])
{
	for (unsigned i = 0; i < 8; i++)
		out[i] = (uint8_t)(time_s >> (56 - 8 * i));
}

static uint64_t get_time(const uint8_t bytes[static 8])
{
	uint64_t time_s = 0;
	for (unsigned i = 0; i < 8; i++)
		time_s = time_s << 8 | bytes[i];
	return time_s;
}

enum err_code cosignature_sign(struct bytes body, const struct note_key *key,
			       const struct ed25519_private *private_key, uint64_t time_s,
			       struct buf *out, struct err *err)
{
	uint8_t signature[COSIGNATURE_SIZE];
	struct buf text = BUF_INIT(NOTE_SIZE_MAX + 64);
	assert(key->type == NOTE_COSIGNATURE);
	put_time(time_s, signature);
	bool good = message(body, time_s, &text) &&
		    ed25519_sign(private_key, text.data, text.size, signature + 8);
	buf_release(&text);
	if (good)
		note_append_signature(key, signature, sizeof(signature), out);
	return good && !out->failed ? ERR_OK
				    : ERR_SET(err, ERR_NO_MEMORY, "out of memory while cosigning");
}

/* The time that is signed has no more than 63 bits. */
static bool is_right(const struct note_signature *signature, const struct note_key *key,
		     struct bytes body, uint64_t *time_s)
{
	uint8_t bytes[4 + COSIGNATURE_SIZE];
	struct buf text = BUF_INIT(NOTE_SIZE_MAX + 64);
	if (!base64_decode_exact(signature->base64, bytes, sizeof(bytes)))
		return false;
	*time_s = get_time(bytes + 4);
	bool right = *time_s <= INT64_MAX && message(body, *time_s, &text) &&
		     ed25519_verify(key->public_key, text.data, text.size, bytes + 12);
	buf_release(&text);
	return right;
}

enum err_code cosignature_verify(const struct note *note, const struct note_key *key,
				 uint64_t *time_s, struct err *err)
{
	bool found = false;
	uint64_t latest = 0, time;
	assert(key->type == NOTE_COSIGNATURE);
	for (unsigned i = 0; i < note->count; i++) {
		if (!note_signature_claims(&note->signatures[i], key))
			continue;
		if (!is_right(&note->signatures[i], key, note->text, &time))
			return ERR_SET(err, ERR_MISMATCH, "the cosignature of \"%s\" is wrong",
				       key->name);
		found = true;
		latest = time > latest ? time : latest;
	}
	if (!found)
		return ERR_SET(err, ERR_NOT_FOUND, "not cosigned by this key of \"%s\"", key->name);
	if (time_s)
		*time_s = latest;
	return ERR_OK;
}
