/* Cosignatures of witnesses, and the request that asks for one. */
#include "check.h"

#include "base/encode.h"
#include "ledger/add_checkpoint.h"
#include "ledger/cosignature.h"

#include <string.h>

/* The example of C2SP signed-note: text with empty lines and a name that is no ASCII address. */
static const char quasimodo[] = "Ognuno sta solo sul cuor della terra\n"
				"trafitto da un raggio di sole:\n"
				"\n"
				"ed \xc3\xa8 subito sera.\n"
				"\n"
				"\xe2\x80\x94 quasimodo.example/salvatore "
				"NnugSzTjtVAewIS+Z/iJhUPeFDkO/"
				"5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

/* The example of C2SP tlog-cosignature. */
static const char cosigned[] = "example.com/behind-the-sofa\n"
			       "20852163\n"
			       "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
			       "\n"
			       "\xe2\x80\x94 example.com/behind-the-sofa "
			       "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/"
			       "Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
			       "\xe2\x80\x94 witness.example.com/w1 "
			       "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/"
			       "zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBI"
			       "fZ+qnA==\n";

struct keys {
	struct ed25519_private *log_private, *witness_private;
	struct note_key log, witness;
};

static int make_keys(void **state)
{
	static struct keys keys;
	uint8_t seed[32] = {1}, public_key[32];
	struct err err = ERR_INIT;
	keys.log_private = ed25519_from_seed(seed);
	ed25519_public(keys.log_private, public_key);
	if (note_key_init(&keys.log, "north.example/parley", public_key, &err) != ERR_OK)
		return 1;
	seed[0] = 2;
	keys.witness_private = ed25519_from_seed(seed);
	ed25519_public(keys.witness_private, public_key);
	*state = &keys;
	return note_cosigner_init(&keys.witness, "south.example/witness", public_key, &err) !=
	       ERR_OK;
}

static int free_keys(void **state)
{
	struct keys *keys = *state;
	ed25519_free(keys->log_private);
	ed25519_free(keys->witness_private);
	return 0;
}

static void test_published_examples(void **state)
{
	(void)state;
	struct note note;
	struct checkpoint head;
	struct err err = ERR_INIT;
	assert_works(note_parse(bytes_from(quasimodo), &note, &err), &err);
	assert_int_equal(note.count, 1);
	assert_true(bytes_is(note.signatures[0].name, "quasimodo.example/salvatore"));
	assert_true(bytes_ends_with(note.text, BYTES("subito sera.\n")));
	assert_works(note_parse(bytes_from(cosigned), &note, &err), &err);
	assert_int_equal(note.count, 2);
	assert_works(checkpoint_parse(note.text, &head, &err), &err);
	assert_int_equal(head.size, 20852163);
	/* 1679315147, as the specification's message has it, stands behind the key's id. */
	uint8_t bytes[4 + COSIGNATURE_SIZE];
	assert_true(base64_decode_exact(note.signatures[1].base64, bytes, sizeof(bytes)));
	static const uint8_t time[8] = {0, 0, 0, 0, 0x64, 0x18, 0x50, 0xcb};
	assert_memory_equal(bytes + 4, time, 8);
}

static void test_keys_of_two_kinds(void **state)
{
	struct keys *keys = *state;
	struct note_key same;
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT(1024);
	note_key_format(&keys->witness, &text);
	assert_works(note_cosigner_parse(buf_bytes(&text), &same, &err), &err);
	assert_memory_equal(&same, &keys->witness, sizeof(same));
	assert_int_equal(note_key_parse(buf_bytes(&text), &same, &err), ERR_UNSUPPORTED);
	buf_clear(&text);
	note_key_format(&keys->log, &text);
	assert_int_equal(note_cosigner_parse(buf_bytes(&text), &same, &err), ERR_UNSUPPORTED);
	buf_release(&text);
}

/* A signed checkpoint of size 7 with one cosignature of that time. */
static void make_note(const struct keys *keys, uint64_t time_s, struct buf *out)
{
	struct err err = ERR_INIT;
	struct note note;
	struct checkpoint head = {.origin = "north.example/parley", .size = 7};
	assert_works(checkpoint_sign(&head, &keys->log, keys->log_private, out, &err), &err);
	assert_works(note_parse(buf_bytes(out), &note, &err), &err);
	struct buf body = BUF_INIT(4096);
	buf_append_bytes(&body, note.text);
	assert_works(cosignature_sign(buf_bytes(&body), &keys->witness, keys->witness_private,
				      time_s, out, &err),
		     &err);
	buf_release(&body);
}

static void test_signing(void **state)
{
	struct keys *keys = *state;
	struct buf text = BUF_INIT(4096);
	struct err err = ERR_INIT;
	struct note note;
	uint64_t time_s = 0;
	make_note(keys, 1790000000, &text);
	assert_works(note_parse(buf_bytes(&text), &note, &err), &err);
	assert_int_equal(note.count, 2);
	assert_works(note_verify(&note, &keys->log, &err), &err);
	assert_works(cosignature_verify(&note, &keys->witness, &time_s, &err), &err);
	assert_int_equal(time_s, 1790000000);
	struct note_key other = keys->witness;
	other.id[0] ^= 1;
	assert_int_equal(cosignature_verify(&note, &other, NULL, &err), ERR_NOT_FOUND);
	other = keys->witness;
	other.public_key[3] ^= 1;
	assert_int_equal(cosignature_verify(&note, &other, NULL, &err), ERR_MISMATCH);
	buf_release(&text);
}

/* Each bit of the body, the time and the signature counts. */
static void test_changed_cosignatures(void **state)
{
	struct keys *keys = *state;
	struct buf text = BUF_INIT(4096);
	struct err err = ERR_INIT;
	make_note(keys, 1790000000, &text);
	struct note whole;
	assert_works(note_parse(buf_bytes(&text), &whole, &err), &err);
	size_t own_begin = whole.text.size;
	size_t own_end = (size_t)(whole.signatures[1].name.data - text.data) - 4;
	unsigned refused = 0;
	for (size_t i = 0; i < text.size; i++) {
		struct note note;
		char kept = text.data[i];
		text.data[i] = kept == 'A' ? 'B' : 'A';
		enum err_code code = note_parse(buf_bytes(&text), &note, &err);
		if (code == ERR_OK)
			code = cosignature_verify(&note, &keys->witness, NULL, &err);
		text.data[i] = kept;
		/* Of the log's own signature the witness says nothing. */
		bool own = i > own_begin && i < own_end;
		assert_true(code != ERR_OK || own);
		refused += code != ERR_OK;
	}
	assert_true(refused >= text.size - (own_end - own_begin));
	buf_release(&text);
}

/* ---- add-checkpoint ---- */

static void test_request(void **state)
{
	(void)state;
	struct add_checkpoint request = {
		.old_size = 5, .count = 2, .checkpoint = bytes_from(cosigned)};
	struct add_checkpoint again;
	struct buf text = BUF_INIT(4096);
	struct err err = ERR_INIT;
	request.proof[1].bytes[7] = 9;
	add_checkpoint_format(&request, &text);
	assert_true(bytes_starts_with(buf_bytes(&text), BYTES("old 5\nAAAA")));
	assert_works(add_checkpoint_parse(buf_bytes(&text), &again, &err), &err);
	assert_int_equal(again.old_size, 5);
	assert_int_equal(again.count, 2);
	assert_memory_equal(again.proof, request.proof, 2 * MERKLE_HASH_SIZE);
	assert_true(bytes_equal(again.checkpoint, request.checkpoint));
	buf_release(&text);
}

#define HASH "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

static void test_bad_requests(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"\n",
		"old\n\nx\n",
		"old 00\n\nx\n",
		"old 01\n\nx\n",
		"old -1\n\nx\n",
		"old 1 \n\nx\n",
		"Old 1\n\nx\n",
		"old 9223372036854775808\n\nx\n",
		"old 1\n",
		"old 1\n" HASH,
		"old 1\n" HASH "\n",
		"old 1\nAAAA\n\nx\n",
		"old 1\r\n\r\nx\n",
		"new 1\n\nx\n",
	};
	struct add_checkpoint request;
	struct buf many = BUF_INIT(8192);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;
		if (add_checkpoint_parse(bytes_from(bad[i]), &request, &err) != ERR_INVALID)
			fail_msg("taken: %s", bad[i]);
		assert_true(err.message[0]);
	}
	buf_append_cstr(&many, "old 1\n");
	for (int i = 0; i < 63; i++)
		buf_append_cstr(&many, HASH);
	size_t size = many.size;
	buf_append_cstr(&many, "\nx\n");
	assert_int_equal(add_checkpoint_parse(buf_bytes(&many), &request, NULL), ERR_OK);
	many.size = size;
	buf_append_cstr(&many, HASH "\nx\n");
	assert_int_equal(add_checkpoint_parse(buf_bytes(&many), &request, NULL), ERR_INVALID);
	buf_release(&many);
}

/* RFC 9162 and the published vectors refuse a proof from the empty tree; tlog-witness wants an
 * empty one. */
static void test_growth_from_nothing(void **state)
{
	(void)state;
	struct merkle_hash leaf = merkle_leaf("a", 1), nothing = merkle_empty();
	struct checkpoint head = {.size = 1, .root = leaf};
	struct add_checkpoint request = {.old_size = 0};
	assert_true(add_checkpoint_is_consistent(&request, NULL, &head));
	assert_true(add_checkpoint_is_consistent(&request, &nothing, &head));
	request.count = 1;
	request.proof[0] = leaf;
	assert_false(add_checkpoint_is_consistent(&request, NULL, &head));
	assert_false(merkle_verify_consistency(0, 1, NULL, 0, &nothing, &leaf));
	request = (struct add_checkpoint){.old_size = 1};
	assert_true(add_checkpoint_is_consistent(&request, &leaf, &head));
	assert_false(add_checkpoint_is_consistent(&request, &nothing, &head));
}

static void test_answers(void **state)
{
	struct keys *keys = *state;
	struct buf text = BUF_INIT(4096), out = BUF_INIT(4096), answer = BUF_INIT(4096);
	struct err err = ERR_INIT;
	struct note note;
	make_note(keys, 1790000000, &text);
	assert_works(note_parse(buf_bytes(&text), &note, &err), &err);
	const char *line = note.signatures[1].name.data - strlen("\xe2\x80\x94 ");
	struct bytes good = bytes_of(line, (size_t)(text.data + text.size - line));
	const char *own = note.signatures[0].name.data - strlen("\xe2\x80\x94 ");
	struct bytes others = bytes_of(own, (size_t)(line - own));
	/* Lines of others stand before and behind it. */
	buf_append_bytes(&answer, others);
	buf_append_bytes(&answer, good);
	buf_append_bytes(&answer, others);
	assert_works(add_checkpoint_take(note.text, buf_bytes(&answer), &keys->witness, &out, &err),
		     &err);
	assert_true(bytes_equal(buf_bytes(&out), good));
	buf_clear(&out);
	assert_int_equal(add_checkpoint_take(note.text, others, &keys->witness, &out, &err),
			 ERR_NOT_FOUND);
	assert_int_equal(add_checkpoint_take(note.text, BYTES(""), &keys->witness, &out, &err),
			 ERR_INVALID);
	assert_int_equal(add_checkpoint_take(note.text, bytes_of(good.data, good.size - 1),
					     &keys->witness, &out, &err),
			 ERR_INVALID);
	assert_int_equal(add_checkpoint_take(note.text, BYTES("\n\n"), &keys->witness, &out, &err),
			 ERR_INVALID);
	/* A good line before a bad one is not taken either. */
	buf_clear(&answer);
	buf_append_bytes(&answer, good);
	buf_append_cstr(&answer, "nonsense\n");
	assert_int_equal(
		add_checkpoint_take(note.text, buf_bytes(&answer), &keys->witness, &out, &err),
		ERR_INVALID);
	assert_int_equal(out.size, 0);
	/* On another body it is wrong. */
	assert_int_equal(add_checkpoint_take(BYTES("x\n"), good, &keys->witness, &out, &err),
			 ERR_MISMATCH);
	assert_int_equal(out.size, 0);
	buf_release(&text);
	buf_release(&out);
	buf_release(&answer);
}

static void test_sizes_of_conflicts(void **state)
{
	(void)state;
	uint64_t size = 7;
	assert_true(add_checkpoint_size(BYTES("0\n"), &size));
	assert_int_equal(size, 0);
	assert_true(add_checkpoint_size(BYTES("20852014\n"), &size));
	assert_int_equal(size, 20852014);
	static const char *const bad[] = {"", "\n", "7", "07\n", "7\n\n", "-7\n", "7 \n", "x\n"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(add_checkpoint_size(bytes_from(bad[i]), &size));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_examples),
		cmocka_unit_test(test_keys_of_two_kinds),
		cmocka_unit_test(test_signing),
		cmocka_unit_test(test_changed_cosignatures),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_growth_from_nothing),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_sizes_of_conflicts),
	};
	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
