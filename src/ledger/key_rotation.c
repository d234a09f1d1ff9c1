#include "ledger/key_rotation.h"

static void format(const struct key_rotation *rotation, struct buf *out)
{
	buf_printf(out, KEY_ROTATION_TITLE "\n%s\n%llu\n", rotation->from.name,
		   (unsigned long long)rotation->size);
	note_key_format(&rotation->from, out);
	buf_append_char(out, '\n');
	note_key_format(&rotation->to, out);
	buf_append_char(out, '\n');
}

static bool are_two_of_one_log(const struct key_rotation *rotation)
{
	return strcmp(rotation->from.name, rotation->to.name) == 0 &&
	       memcmp(rotation->from.public_key, rotation->to.public_key, ED25519_KEY_SIZE) != 0;
}

enum err_code key_rotation_sign(const struct key_rotation *rotation,
				const struct ed25519_private *from,
				const struct ed25519_private *to, struct buf *out, struct err *err)
{
	uint8_t signature[ED25519_SIGNATURE_SIZE];
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	if (!are_two_of_one_log(rotation))
		return ERR_SET(err, ERR_INVALID, "a rotation is from one key of a log to another");
	format(rotation, &text);
	enum err_code code = text.failed
				     ? ERR_SET(err, ERR_NO_MEMORY, "out of memory")
				     : note_sign(buf_bytes(&text), &rotation->from, from, out, err);
	if (code == ERR_OK && !ed25519_sign(to, text.data, text.size, signature))
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (code == ERR_OK)
		note_append_signature(&rotation->to, signature, sizeof(signature), out);
	buf_release(&text);
	return code == ERR_OK && out->failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory") : code;
}

static enum err_code parse(struct bytes text, struct key_rotation *out, struct err *err)
{
	struct bytes rest;
	if (!bytes_is(bytes_split(text, '\n', &rest), KEY_ROTATION_TITLE))
		return ERR_SET(err, ERR_INVALID,
			       "it does not begin with \"" KEY_ROTATION_TITLE "\"");
	struct bytes origin = bytes_split(rest, '\n', &rest);
	struct bytes size = bytes_split(rest, '\n', &rest);
	if (size.size == 0 || (size.size > 1 && size.data[0] == '0') ||
	    !bytes_to_u64(size, INT64_MAX, &out->size))
		return ERR_SET(err, ERR_INVALID, "line 3 is no size of a log");
	ERR_TRY(note_key_parse(bytes_split(rest, '\n', &rest), &out->from, err));
	ERR_TRY(note_key_parse(bytes_split(rest, '\n', &rest), &out->to, err));
	if (rest.size > 0 || !bytes_is(origin, out->from.name) || !are_two_of_one_log(out))
		return ERR_SET(err, ERR_INVALID, "it does not name two keys of one log");
	return ERR_OK;
}

enum err_code key_rotation_open(struct bytes text, struct key_rotation *out, struct err *err)
{
	struct note note;
	memset(out, 0, sizeof(*out));
	enum err_code code = note_parse(text, &note, err);
	if (code == ERR_OK)
		code = parse(note.text, out, err);
	if (code == ERR_OK)
		code = note_verify(&note, &out->from, err);
	if (code == ERR_OK)
		code = note_verify(&note, &out->to, err);
	if (code == ERR_NOT_FOUND)
		code = ERR_SET(err, ERR_MISMATCH, "it is not signed by both of its keys");
	return code == ERR_OK ? ERR_OK : err_prefix(err, "a rotation of a log's key");
}

struct bytes key_rotation_next(struct bytes text, struct bytes *rest)
{
	static const char title[] = "\n" KEY_ROTATION_TITLE "\n";
	const char *next =
		text.size ? memmem(text.data, text.size, title, sizeof(title) - 1) : NULL;
	size_t size = next ? (size_t)(next - text.data) + 1 : text.size;
	*rest = bytes_of(text.data + size, text.size - size);
	return bytes_of(text.data, size);
}
