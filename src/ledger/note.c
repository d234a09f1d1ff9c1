#include "ledger/note.h"

#include "base/encode.h"
#include "base/sha256.h"

#include <assert.h>
#include <stdlib.h>

/* "— ", the start of a signature line. */
static const char signature_start[] = "\xe2\x80\x94 ";
#define SIGNATURE_START_SIZE (sizeof(signature_start) - 1)

static void key_id(const char *name, uint8_t key_type, const uint8_t *public_key,
		   uint8_t id[static 4])
{
	const uint8_t type[2] = {'\n', key_type};
	uint8_t digest[SHA256_SIZE];
	struct sha256 hash;
	sha256_start(&hash);
	sha256_add(&hash, name, strlen(name));
	sha256_add(&hash, type, sizeof(type));
	sha256_add(&hash, public_key, ED25519_KEY_SIZE);
	sha256_finish(&hash, digest);
	memcpy(id, digest, 4);
}

/* Unicode spaces (White_Space) in UTF-8 besides the ASCII ones. */
static bool has_wide_space(struct bytes name)
{
	static const char *const spaces[] = {
		"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
		"\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
		"\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
		"\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
		if (memmem(name.data, name.size, spaces[i], strlen(spaces[i])))
			return true;
	return false;
}

static bool name_is_valid(struct bytes name)
{
	if (name.size == 0 || name.size > NOTE_NAME_MAX || !bytes_is_utf8(name))
		return false;
	for (size_t i = 0; i < name.size; i++) {
		unsigned char c = (unsigned char)name.data[i];
		if (c <= 0x20 || c == 0x7f || c == '+')
			return false;
	}
	return !has_wide_space(name);
}

static enum err_code init(struct note_key *key, uint8_t type, const char *name,
			  const uint8_t public_key[static ED25519_KEY_SIZE], struct err *err)
{
	memset(key, 0, sizeof(*key));
	struct bytes text = bytes_from(name);
	if (!name_is_valid(text))
		return ERR_SET(err, ERR_INVALID,
			       "\"%.300s\" cannot name a key: 1 to %d bytes of UTF-8 without "
			       "spaces, control characters and \"+\"",
			       name, NOTE_NAME_MAX);
	memcpy(key->name, text.data, text.size);
	memcpy(key->public_key, public_key, ED25519_KEY_SIZE);
	key->type = type;
	key_id(key->name, type, key->public_key, key->id);
	return ERR_OK;
}

enum err_code note_key_init(struct note_key *key, const char *name,
			    const uint8_t public_key[static ED25519_KEY_SIZE], struct err *err)
{
	return init(key, NOTE_ED25519, name, public_key, err);
}

enum err_code note_cosigner_init(struct note_key *key, const char *name,
				 const uint8_t public_key[static ED25519_KEY_SIZE], struct err *err)
{
	return init(key, NOTE_COSIGNATURE, name, public_key, err);
}

/* What is wrong with the key's part of a verifier key: another type, or no key at all. */
static enum err_code wrong_type(struct bytes name, struct bytes encoded, uint8_t type,
				struct err *err)
{
	static const char *const what[] = {[NOTE_ED25519] = "an Ed25519 key of a log",
					   [NOTE_COSIGNATURE] = "an Ed25519 key of a witness"};
	struct buf other = BUF_INIT(4096);
	bool decoded = base64_decode(encoded, &other);
	bool other_type = decoded && other.size > 0 && (uint8_t)other.data[0] != type;
	buf_release(&other);
	if (other_type)
		return ERR_SET(err, ERR_UNSUPPORTED,
			       "the verifier key of \"%.*s\" is not %s (type 0x%02x)",
			       BYTES_ARG(name), what[type], type);
	return ERR_SET(err, ERR_INVALID,
		       "the verifier key of \"%.*s\" does not hold 33 bytes of base64",
		       BYTES_ARG(name));
}

static enum err_code parse(struct bytes text, uint8_t type, struct note_key *out, struct err *err)
{
	struct bytes rest, encoded;
	struct bytes name = bytes_split(text, '+', &rest);
	struct bytes hex = bytes_split(rest, '+', &encoded);
	char name_text[NOTE_NAME_MAX + 1] = "";
	uint8_t id[4], key[1 + ED25519_KEY_SIZE];
	memset(out, 0, sizeof(*out));
	if (!name_is_valid(name) || !hex_decode(hex, id, sizeof(id)) || encoded.size == 0)
		return ERR_SET(err, ERR_INVALID,
			       "not a verifier key: it reads name+8 hex digits+base64");
	if (!base64_decode_exact(encoded, key, sizeof(key)) || key[0] != type)
		return wrong_type(name, encoded, type, err);
	memcpy(name_text, name.data, name.size);
	ERR_TRY(init(out, type, name_text, key + 1, err));
	if (memcmp(out->id, id, sizeof(id)) != 0)
		return ERR_SET(err, ERR_INVALID,
			       "the verifier key of \"%s\" has an id that is not its own",
			       out->name);
	return ERR_OK;
}

enum err_code note_key_parse(struct bytes text, struct note_key *out, struct err *err)
{
	return parse(text, NOTE_ED25519, out, err);
}

enum err_code note_cosigner_parse(struct bytes text, struct note_key *out, struct err *err)
{
	return parse(text, NOTE_COSIGNATURE, out, err);
}

void note_key_format(const struct note_key *key, struct buf *out)
{
	char hex[9];
	uint8_t bytes[1 + ED25519_KEY_SIZE];
	bytes[0] = key->type;
	memcpy(bytes + 1, key->public_key, ED25519_KEY_SIZE);
	hex_encode(key->id, sizeof(key->id), hex);
	buf_printf(out, "%s+%s+", key->name, hex);
	base64_append(out, bytes, sizeof(bytes));
}

/* ---- parsing ---- */

static bool text_is_valid(struct bytes text)
{
	for (size_t i = 0; i < text.size; i++)
		if ((unsigned char)text.data[i] < 0x20 && text.data[i] != '\n')
			return false;
	return bytes_is_utf8(text);
}

/* Decodes the first four bytes and checks the rest for being base64. */
static bool parse_signature_bytes(struct bytes base64, uint8_t id[static 4])
{
	struct buf decoded = BUF_INIT(NOTE_SIZE_MAX);
	bool valid = base64_decode(base64, &decoded) && decoded.size > 4;
	if (valid)
		memcpy(id, decoded.data, 4);
	buf_release(&decoded);
	return valid;
}

bool note_parse_signature(struct bytes line, struct note_signature *out)
{
	if (!bytes_starts_with(line, bytes_of(signature_start, SIGNATURE_START_SIZE)))
		return false;
	struct bytes rest = {line.data + SIGNATURE_START_SIZE, line.size - SIGNATURE_START_SIZE};
	out->name = bytes_split(rest, ' ', &out->base64);
	return name_is_valid(out->name) && out->base64.size > 0 &&
	       parse_signature_bytes(out->base64, out->id);
}

enum err_code note_parse(struct bytes message, struct note *out, struct err *err)
{
	memset(out, 0, sizeof(*out));
	if (message.size > NOTE_SIZE_MAX)
		return ERR_SET(err, ERR_INVALID, "a signed note of %zu bytes is too large (max %d)",
			       message.size, NOTE_SIZE_MAX);
	if (!text_is_valid(message))
		return ERR_SET(err, ERR_INVALID,
			       "a signed note must be UTF-8 without control characters");
	/* The last empty line divides the text from the signatures. */
	size_t split = message.size;
	while (split >= 2 && !(message.data[split - 1] == '\n' && message.data[split - 2] == '\n'))
		split--;
	if (split < 3 || message.data[message.size - 1] != '\n')
		return ERR_SET(err, ERR_INVALID,
			       "a signed note is text, an empty line, and signature lines");
	out->text = (struct bytes){message.data, split - 1};
	struct bytes rest = {message.data + split, message.size - split};
	while (rest.size > 0) {
		struct bytes line = bytes_split(rest, '\n', &rest);
		if (out->count == NOTE_SIGNATURES_MAX)
			return ERR_SET(err, ERR_INVALID,
				       "a signed note has more than %d signatures",
				       NOTE_SIGNATURES_MAX);
		if (!note_parse_signature(line, &out->signatures[out->count]))
			return ERR_SET(err, ERR_INVALID, "signature line %u of a note is malformed",
				       out->count + 1);
		out->count++;
	}
	if (out->count == 0)
		return ERR_SET(err, ERR_INVALID, "a signed note has no signature");
	return ERR_OK;
}

/* ---- verifying and signing ---- */

static bool signature_is_right(const struct note_signature *signature, const struct note_key *key,
			       struct bytes text)
{
	uint8_t bytes[4 + ED25519_SIGNATURE_SIZE];
	return base64_decode_exact(signature->base64, bytes, sizeof(bytes)) &&
	       ed25519_verify(key->public_key, text.data, text.size, bytes + 4);
}

bool note_signature_claims(const struct note_signature *signature, const struct note_key *key)
{
	return bytes_is(signature->name, key->name) &&
	       memcmp(signature->id, key->id, sizeof(key->id)) == 0;
}

enum err_code note_verify(const struct note *note, const struct note_key *key, struct err *err)
{
	bool found = false;
	assert(key->type == NOTE_ED25519);
	for (unsigned i = 0; i < note->count; i++) {
		const struct note_signature *signature = &note->signatures[i];
		if (!note_signature_claims(signature, key))
			continue;
		if (!signature_is_right(signature, key, note->text))
			return ERR_SET(err, ERR_MISMATCH, "the signature of \"%s\" is wrong",
				       key->name);
		found = true;
	}
	if (!found)
		return ERR_SET(err, ERR_NOT_FOUND, "not signed by this key of \"%s\"", key->name);
	return ERR_OK;
}

void note_append_signature(const struct note_key *key, const void *signature, size_t size,
			   struct buf *out)
{
	struct buf bytes = BUF_INIT(4096);
	buf_append(&bytes, key->id, sizeof(key->id));
	buf_append(&bytes, signature, size);
	buf_append(out, signature_start, SIGNATURE_START_SIZE);
	buf_append_cstr(out, key->name);
	buf_append_char(out, ' ');
	base64_append(out, bytes.data, bytes.size);
	buf_append_char(out, '\n');
	out->failed |= bytes.failed;
	buf_release(&bytes);
}

enum err_code note_sign(struct bytes text, const struct note_key *key,
			const struct ed25519_private *private_key, struct buf *out, struct err *err)
{
	uint8_t signature[ED25519_SIGNATURE_SIZE];
	if (text.size < 2 || text.data[text.size - 1] != '\n' || !text_is_valid(text))
		return ERR_SET(err, ERR_INVALID,
			       "only UTF-8 text that ends with a newline can be signed as a note");
	if (!ed25519_sign(private_key, text.data, text.size, signature))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory while signing");
	buf_append_bytes(out, text);
	buf_append_char(out, '\n');
	note_append_signature(key, signature, sizeof(signature), out);
	return out->failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory while signing") : ERR_OK;
}
