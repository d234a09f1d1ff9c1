#include "ledger/proof.h"

#include "base/encode.h"

static const char first_line[] = "c2sp.org/tlog-proof@v1";

void proof_format(const struct proof *proof, struct buf *out)
{
	buf_printf(out, "%s\n", first_line);
	if (proof->extra.size > 0)
		buf_printf(out, "extra %.*s\n", BYTES_ARG(proof->extra));
	buf_printf(out, "index %llu\n", (unsigned long long)proof->index);
	for (size_t i = 0; i < proof->count; i++) {
		base64_append(out, proof->hashes[i].bytes, MERKLE_HASH_SIZE);
		buf_append_char(out, '\n');
	}
	buf_append_char(out, '\n');
	buf_append_bytes(out, proof->checkpoint);
}

static bool take_prefix(struct bytes *text, const char *prefix)
{
	struct bytes start = bytes_from(prefix);
	if (!bytes_starts_with(*text, start))
		return false;
	*text = (struct bytes){text->data + start.size, text->size - start.size};
	return true;
}

static bool is_base64(struct bytes text)
{
	struct buf decoded = BUF_INIT(NOTE_SIZE_MAX);
	bool valid = base64_decode(text, &decoded);
	buf_release(&decoded);
	return valid;
}

static bool parse_index(struct bytes line, uint64_t *out)
{
	return take_prefix(&line, "index ") &&
	       (line.size == 1 || (line.size > 1 && line.data[0] != '0')) &&
	       bytes_to_u64(line, INT64_MAX, out);
}

enum err_code proof_parse(struct bytes text, struct proof *out, struct err *err)
{
	struct bytes rest;
	memset(out, 0, sizeof(*out));
	if (!bytes_is(bytes_split(text, '\n', &rest), first_line))
		return ERR_SET(err, ERR_INVALID, "a proof starts with the line %s", first_line);
	struct bytes line = bytes_split(rest, '\n', &rest);
	if (take_prefix(&line, "extra ")) {
		if (line.size == 0 || !is_base64(line))
			return ERR_SET(err, ERR_INVALID, "the extra line of a proof is not base64");
		out->extra = line;
		line = bytes_split(rest, '\n', &rest);
	}
	if (!parse_index(line, &out->index))
		return ERR_SET(err, ERR_INVALID,
			       "the index line of a proof is missing or malformed");
	while (rest.size > 0) {
		line = bytes_split(rest, '\n', &rest);
		if (line.size == 0)
			break;
		if (out->count == MERKLE_PROOF_MAX - 1)
			return ERR_SET(err, ERR_INVALID, "a proof has more than %d hashes",
				       MERKLE_PROOF_MAX - 1);
		if (!base64_decode_exact(line, out->hashes[out->count].bytes, MERKLE_HASH_SIZE))
			return ERR_SET(err, ERR_INVALID, "hash %zu of a proof is malformed",
				       out->count + 1);
		out->count++;
	}
	if (rest.size == 0)
		return ERR_SET(err, ERR_INVALID, "a proof ends with a signed checkpoint");
	out->checkpoint = rest;
	return ERR_OK;
}

enum err_code proof_verify(const struct proof *proof, const struct note_key *key,
			   struct bytes record, struct checkpoint *checkpoint, struct err *err)
{
	struct checkpoint head;
	ERR_TRY(checkpoint_open(proof->checkpoint, key, &head, err));
	struct merkle_hash leaf = merkle_leaf(record.data, record.size);
	if (!merkle_verify_inclusion(&leaf, proof->index, head.size, proof->hashes, proof->count,
				     &head.root))
		return ERR_SET(err, ERR_MISMATCH,
			       "the record is not entry %llu of the log \"%s\" of size %llu",
			       (unsigned long long)proof->index, head.origin,
			       (unsigned long long)head.size);
	if (checkpoint)
		*checkpoint = head;
	return ERR_OK;
}
