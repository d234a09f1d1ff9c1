#include "ledger/checkpoint.h"

#include "base/encode.h"

void checkpoint_format(const struct checkpoint *checkpoint, struct buf *out)
{
	buf_printf(out, "%s\n%llu\n", checkpoint->origin, (unsigned long long)checkpoint->size);
	base64_append(out, checkpoint->root.bytes, MERKLE_HASH_SIZE);
	buf_append_char(out, '\n');
}

/* A decimal number without leading zeros. */
static bool parse_size(struct bytes text, uint64_t *out)
{
	return (text.size == 1 || (text.size > 1 && text.data[0] != '0')) &&
	       bytes_to_u64(text, INT64_MAX, out);
}

enum err_code checkpoint_parse(struct bytes text, struct checkpoint *out, struct err *err)
{
	struct bytes rest;
	struct bytes origin = bytes_split(text, '\n', &rest);
	struct bytes size = bytes_split(rest, '\n', &rest);
	struct bytes root = bytes_split(rest, '\n', &rest);
	memset(out, 0, sizeof(*out));
	if (text.size == 0 || text.data[text.size - 1] != '\n' || !rest.data)
		return ERR_SET(err, ERR_INVALID, "a checkpoint has at least three lines");
	if (origin.size == 0 || origin.size > NOTE_NAME_MAX || memchr(origin.data, 0, origin.size))
		return ERR_SET(err, ERR_INVALID,
			       "line 1 of a checkpoint, the origin, must have 1 to %d bytes",
			       NOTE_NAME_MAX);
	if (!parse_size(size, &out->size))
		return ERR_SET(err, ERR_INVALID, "line 2 of a checkpoint is no tree size");
	if (!base64_decode_exact(root, out->root.bytes, MERKLE_HASH_SIZE))
		return ERR_SET(err, ERR_INVALID, "line 3 of a checkpoint is no root hash");
	memcpy(out->origin, origin.data, origin.size);
	return ERR_OK;
}

enum err_code checkpoint_sign(const struct checkpoint *checkpoint, const struct note_key *key,
			      const struct ed25519_private *private_key, struct buf *out,
			      struct err *err)
{
	struct buf text = BUF_INIT(1024);
	checkpoint_format(checkpoint, &text);
	enum err_code code = text.failed
				     ? ERR_SET(err, ERR_NO_MEMORY, "out of memory while signing")
				     : note_sign(buf_bytes(&text), key, private_key, out, err);
	buf_release(&text);
	return code;
}

enum err_code checkpoint_open(struct bytes message, const struct note_key *key,
			      struct checkpoint *out, struct err *err)
{
	struct note note;
	ERR_TRY(note_parse(message, &note, err));
	ERR_TRY(checkpoint_parse(note.text, out, err));
	if (strcmp(out->origin, key->name) != 0)
		return ERR_SET(err, ERR_NOT_FOUND,
			       "the checkpoint is of the log \"%s\", the key of \"%s\"",
			       out->origin, key->name);
	return note_verify(&note, key, err);
}
