/* Signed notes, verifier keys, checkpoints and receipts: what strangers hand to a verifier. */
#include "fuzz.h"

#include "ledger/proof.h"

static void read_note(struct bytes text)
{
	struct note note;
	struct checkpoint checkpoint;
	struct err err = ERR_INIT;
	if (note_parse(text, &note, &err) != ERR_OK) {
		FUZZ_CHECK(err.message[0]);
		return;
	}
	FUZZ_CHECK(note.count >= 1 && note.count <= NOTE_SIGNATURES_MAX);
	FUZZ_CHECK(note.text.data[note.text.size - 1] == '\n');
	if (checkpoint_parse(note.text, &checkpoint, &err) == ERR_OK) {
		struct buf again = BUF_INIT(NOTE_SIZE_MAX);
		checkpoint_format(&checkpoint, &again);
		FUZZ_CHECK(bytes_starts_with(note.text, buf_bytes(&again)));
		buf_release(&again);
	}
}

static void read_key(struct bytes text)
{
	struct note_key key;
	struct err err = ERR_INIT;
	if (note_key_parse(text, &key, &err) == ERR_OK) {
		struct buf again = BUF_INIT(4096);
		struct note_key same;
		note_key_format(&key, &again);
		FUZZ_CHECK(
			bytes_equal_fold(text, buf_bytes(&again))); /* the id may be in capitals */
		FUZZ_CHECK(note_key_parse(buf_bytes(&again), &same, &err) == ERR_OK);
		FUZZ_CHECK(!strcmp(same.name, key.name));
		FUZZ_CHECK(!memcmp(same.public_key, key.public_key, sizeof(key.public_key)));
		buf_release(&again);
	}
}

static void read_proof(struct bytes text)
{
	struct proof proof;
	struct err err = ERR_INIT;
	if (proof_parse(text, &proof, &err) == ERR_OK) {
		struct buf again = BUF_INIT(1 << 20);
		FUZZ_CHECK(proof.count <= MERKLE_PROOF_MAX);
		proof_format(&proof, &again);
		FUZZ_CHECK(bytes_equal(text, buf_bytes(&again)));
		buf_release(&again);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(struct bytes) = {read_note, read_key, read_proof};
	struct bytes input = fuzz_input(data, size);
	unsigned choice = fuzz_take(&input) % 3;
	struct bytes copy = fuzz_copy(input);
	readers[choice](copy);
	free((char *)copy.data);
	return 0;
}
