#include "ledger/add_checkpoint.h"

#include "base/encode.h"
#include "ledger/cosignature.h"

void add_checkpoint_format(const struct add_checkpoint *request, struct buf *out)
{
	buf_printf(out, "old %llu\n", (unsigned long long)request->old_size);
	for (size_t i = 0; i < request->count; i++) {
		base64_append(out, request->proof[i].bytes, MERKLE_HASH_SIZE);
		buf_append_char(out, '\n');
	}
	buf_append_char(out, '\n');
	buf_append_bytes(out, request->checkpoint);
}

/* Decimal without leading zeros. */
static bool parse_size(struct bytes text, uint64_t *out)
{
	return text.size > 0 && (text.size == 1 || text.data[0] != '0') &&
	       bytes_to_u64(text, INT64_MAX, out);
}

static bool parse_old(struct bytes line, uint64_t *out)
{
	struct bytes start = BYTES("old ");
	return bytes_starts_with(line, start) &&
	       parse_size(bytes_of(line.data + start.size, line.size - start.size), out);
}

enum err_code add_checkpoint_parse(struct bytes text, struct add_checkpoint *out, struct err *err)
{
	struct bytes rest;
	memset(out, 0, sizeof(*out));
	if (!parse_old(bytes_split(text, '\n', &rest), &out->old_size))
		return ERR_SET(err, ERR_INVALID, "the first line does not read \"old SIZE\"");
	while (rest.size > 0) {
		struct bytes line = bytes_split(rest, '\n', &rest);
		if (line.size == 0) {
			out->checkpoint = rest;
			break;
		}
		if (out->count == ADD_CHECKPOINT_PROOF_MAX)
			return ERR_SET(err, ERR_INVALID, "there are more than %d lines of proof",
				       ADD_CHECKPOINT_PROOF_MAX);
		if (!base64_decode_exact(line, out->proof[out->count].bytes, MERKLE_HASH_SIZE))
			return ERR_SET(err, ERR_INVALID, "line %zu of the proof is no hash",
				       out->count + 1);
		out->count++;
	}
	if (out->checkpoint.size == 0)
		return ERR_SET(err, ERR_INVALID,
			       "there is no empty line with a checkpoint behind it");
	return ERR_OK;
}

bool add_checkpoint_is_consistent(const struct add_checkpoint *request,
				  const struct merkle_hash *old_root, const struct checkpoint *head)
{
	if (request->old_size == 0)
		return request->count == 0;
	return merkle_verify_consistency(request->old_size, head->size, request->proof,
					 request->count, old_root, &head->root);
}

/* Gathers the lines of `witness` into note and `out`. */
static enum err_code gather(struct bytes answer, const struct note_key *witness, struct note *note,
			    struct buf *out, struct err *err)
{
	if (answer.size == 0 || answer.data[answer.size - 1] != '\n')
		return ERR_SET(err, ERR_INVALID, "the answer does not end with a newline");
	while (answer.size > 0) {
		struct note_signature *next = &note->signatures[note->count];
		struct bytes line = bytes_split(answer, '\n', &answer);
		if (note->count + 1 == NOTE_SIGNATURES_MAX || !note_parse_signature(line, next))
			return ERR_SET(err, ERR_INVALID, "the answer is no list of signatures");
		if (!note_signature_claims(next, witness))
			continue;
		note->count++;
		buf_append_bytes(out, line);
		buf_append_char(out, '\n');
	}
	return ERR_OK;
}

enum err_code add_checkpoint_take(struct bytes body, struct bytes answer,
				  const struct note_key *witness, struct buf *out, struct err *err)
{
	struct note note = {.text = body};
	size_t start = out->size;
	enum err_code code = gather(answer, witness, &note, out, err);
	if (code == ERR_OK)
		code = cosignature_verify(&note, witness, NULL, err);
	if (code == ERR_OK && out->failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for cosignatures");
	/* Nothing of an answer that is not right as a whole. */
	if (code != ERR_OK && !out->failed)
		out->size = start;
	return code;
}

bool add_checkpoint_size(struct bytes body, uint64_t *size)
{
	return body.size > 1 && body.data[body.size - 1] == '\n' &&
	       parse_size(bytes_of(body.data, body.size - 1), size);
}
