/* Signed notes, checkpoints and offline proofs. */
#include "check.h"

#include "base/encode.h"
#include "ledger/proof.h"

/* The example of golang.org/x/mod/sumdb/note and of C2SP signed-note. */
static const char peter_key[] =
	"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
static const char peter_note[] =
	"If you think cryptography is the answer to your problem,\n"
	"then you don't know what your problem is.\n"
	"\n"
	"\xe2\x80\x94 PeterNeumann "
	"x08go/ZJkuBS9UG/"
	"SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
	"\n";

struct keys {
	struct ed25519_private *private_key;
	struct note_key key, other;
};

static int make_keys(void **state)
{
	static struct keys keys;
	uint8_t seed[32] = {1}, public_key[32];
	struct err err = ERR_INIT;
	keys.private_key = ed25519_from_seed(seed);
	ed25519_public(keys.private_key, public_key);
	if (note_key_init(&keys.key, "north.example/parley", public_key, &err) != ERR_OK)
		return 1;
	public_key[0] ^= 1;
	*state = &keys;
	return note_key_init(&keys.other, "north.example/parley", public_key, &err) != ERR_OK;
}

static int free_keys(void **state)
{
	struct keys *keys = *state;
	ed25519_free(keys->private_key);
	return 0;
}

static void test_published_note(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct note_key key;
	struct note note;
	struct buf again = BUF_INIT(1024);
	assert_works(note_key_parse(bytes_from(peter_key), &key, &err), &err);
	assert_works(note_parse(bytes_from(peter_note), &note, &err), &err);
	assert_int_equal(note.count, 1);
	assert_works(note_verify(&note, &key, &err), &err);
	note_key_format(&key, &again);
	assert_string_equal(again.data, peter_key);
	buf_release(&again);
}

static void test_bad_keys(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum err_code code;
	} bad[] = {
		{"",								    ERR_INVALID},
		{"PeterNeumann",							ERR_INVALID},
		{"PeterNeumann+c74f20a3",					       ERR_INVALID},
		{"PeterNeumann+c74f20a3+",					      ERR_INVALID},
		{"+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",              ERR_INVALID},
		{"Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		 ERR_INVALID								       },
		{"PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  ERR_INVALID},
		{"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10T",   ERR_INVALID},
		{"PeterNeumann+c74f20a3+AhpcQcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWX",
		 ERR_UNSUPPORTED								   },
		{"QeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  ERR_INVALID},
	};
	struct note_key key;
	struct err err = ERR_INIT;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (note_key_parse(bytes_from(bad[i].text), &key, &err) != bad[i].code)
			fail_msg("%s: %s", bad[i].text, err.message);
	uint8_t public_key[32] = {0};
	assert_int_equal(note_key_init(&key, "a+b", public_key, &err), ERR_INVALID);
	assert_int_equal(note_key_init(&key, "a\xc2\xa0z", public_key, &err), ERR_INVALID);
	assert_int_equal(note_key_init(&key, "a\xff", public_key, &err), ERR_INVALID);
}

static void test_malformed_notes(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"\n",
		"\n\n",
		"text\n",
		"text\n\n",
		"text\n\n\xe2\x80\x94 name AAAAAAA=",
		"text\n\n\xe2\x80\x94 name AAAA\n",
		"text\n\n\xe2\x80\x94 name AAAAAAA\n",
		"text\n\n\xe2\x80\x94  AAAAAAA=\n",
		"text\n\n\xe2\x80\x94 name\n",
		"text\n\n- name AAAAAAA=\n",
		"text\n\n\xe2\x80\x94 na+me AAAAAAA=\n",
		"te\txt\n\n\xe2\x80\x94 name AAAAAAA=\n",
		"te\xffxt\n\n\xe2\x80\x94 name AAAAAAA=\n",
		"text\n\xe2\x80\x94 name AAAAAAA=\n",
	};
	struct note note;
	struct err err = ERR_INIT;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (note_parse(bytes_from(bad[i]), &note, &err) != ERR_INVALID)
			fail_msg("accepted: %s", bad[i]);
	assert_works(note_parse(BYTES("text\n\n\xe2\x80\x94 name AAAAAAA=\n"), &note, &err), &err);
	assert_works(note_parse(BYTES("a\n\nb\n\n\xe2\x80\x94 name AAAAAAA=\n"), &note, &err),
		     &err);
	assert_int_equal(note.text.size, 5);
}

static void test_who_signed(void **state)
{
	struct keys *keys = *state;
	struct err err = ERR_INIT;
	struct buf signed_note = BUF_INIT(4096);
	struct note note;
	assert_works(note_sign(BYTES("hello\n"), &keys->key, keys->private_key, &signed_note, &err),
		     &err);
	assert_works(note_parse(buf_bytes(&signed_note), &note, &err), &err);
	assert_works(note_verify(&note, &keys->key, &err), &err);
	assert_int_equal(note_verify(&note, &keys->other, &err), ERR_NOT_FOUND);

	/* An unknown signature beside it does no harm, a wrong one of a known key does. */
	size_t good = signed_note.size;
	buf_append_cstr(&signed_note, "\xe2\x80\x94 someone AAAAAAA=\n");
	assert_works(note_parse(buf_bytes(&signed_note), &note, &err), &err);
	assert_works(note_verify(&note, &keys->key, &err), &err);
	uint8_t forged[4 + ED25519_SIGNATURE_SIZE] = {0};
	memcpy(forged, keys->key.id, 4);
	signed_note.size = good;
	buf_append_cstr(&signed_note, "\xe2\x80\x94 north.example/parley ");
	base64_append(&signed_note, forged, sizeof(forged));
	buf_append_char(&signed_note, '\n');
	assert_works(note_parse(buf_bytes(&signed_note), &note, &err), &err);
	assert_int_equal(note_verify(&note, &keys->key, &err), ERR_MISMATCH);
	buf_release(&signed_note);
	assert_int_equal(
		note_sign(BYTES("no newline"), &keys->key, keys->private_key, &signed_note, &err),
		ERR_INVALID);
	buf_release(&signed_note);
}

static void test_every_bit_of_a_checkpoint_counts(void **state)
{
	struct keys *keys = *state;
	struct err err = ERR_INIT;
	struct buf message = BUF_INIT(4096);
	struct checkpoint head = {
		.origin = "north.example/parley", .size = 7, .root = merkle_leaf("x", 1)};
	struct checkpoint again;
	assert_works(checkpoint_sign(&head, &keys->key, keys->private_key, &message, &err), &err);
	assert_works(checkpoint_open(buf_bytes(&message), &keys->key, &again, &err), &err);
	assert_int_equal(again.size, 7);
	assert_true(merkle_equal(&again.root, &head.root));
	for (size_t bit = 0; bit < message.size * 8; bit++) {
		message.data[bit / 8] ^= (char)(1 << bit % 8);
		assert_int_not_equal(checkpoint_open(buf_bytes(&message), &keys->key, &again, &err),
				     ERR_OK);
		message.data[bit / 8] ^= (char)(1 << bit % 8);
	}
	for (size_t size = 0; size < message.size; size++)
		assert_int_not_equal(
			checkpoint_open(bytes_of(message.data, size), &keys->key, &again, &err),
			ERR_OK);
	buf_release(&message);
}

static void test_checkpoint_text(void **state)
{
	(void)state;
	static const char root[] = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
	static const char *const formats[] = {
		"origin\n01\n%s\n", "origin\n-1\n%s\n", "origin\n\n%s\n",
		"\n1\n%s\n",        "origin\n1\n%s",    "origin\n1\n=%s\n",
		"origin\n1 \n%s\n", "origin\n1\n",      "origin\n18446744073709551616\n%s\n"};
	struct err err = ERR_INIT;
	struct checkpoint head;
	char text[256];
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct buf made = BUF_INIT(256);
		const char *at = strstr(formats[i], "%s");
		buf_append(&made, formats[i], at ? (size_t)(at - formats[i]) : strlen(formats[i]));
		if (at) {
			buf_append_cstr(&made, root);
			buf_append_cstr(&made, at + 2);
		}
		if (checkpoint_parse(buf_bytes(&made), &head, &err) != ERR_INVALID)
			fail_msg("accepted: %s", made.data);
		buf_release(&made);
	}
	snprintf(text, sizeof(text), "origin\n0\n%s\nan extension\n", root);
	assert_works(checkpoint_parse(bytes_from(text), &head, &err), &err);
	struct merkle_hash empty = merkle_empty();
	assert_true(merkle_equal(&head.root, &empty));
}

/* Records a, b, c; the proof is of b. */
static void make_proof(struct keys *keys, struct buf *text)
{
	struct err err = ERR_INIT;
	struct merkle_hash a = merkle_leaf("a", 1), b = merkle_leaf("b", 1),
			   c = merkle_leaf("c", 1);
	struct merkle_range range = {0};
	merkle_append(&range, &a);
	merkle_append(&range, &b);
	merkle_append(&range, &c);
	struct checkpoint head = {
		.origin = "north.example/parley", .size = 3, .root = merkle_root(&range)};
	struct buf message = BUF_INIT(4096);
	assert_works(checkpoint_sign(&head, &keys->key, keys->private_key, &message, &err), &err);
	struct proof proof = {
		.index = 1, .count = 2, .hashes = {a, c},
                        .checkpoint = buf_bytes(&message)
        };
	proof_format(&proof, text);
	buf_release(&message);
}

static void test_proofs(void **state)
{
	struct keys *keys = *state;
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT(4096);
	struct proof proof;
	struct checkpoint head;
	make_proof(keys, &text);
	assert_works(proof_parse(buf_bytes(&text), &proof, &err), &err);
	assert_works(proof_verify(&proof, &keys->key, BYTES("b"), &head, &err), &err);
	assert_int_equal(head.size, 3);
	assert_int_equal(proof_verify(&proof, &keys->key, BYTES("a"), NULL, &err), ERR_MISMATCH);
	assert_int_equal(proof_verify(&proof, &keys->other, BYTES("b"), NULL, &err), ERR_NOT_FOUND);
	for (size_t bit = 0; bit < text.size * 8; bit++) {
		text.data[bit / 8] ^= (char)(1 << bit % 8);
		bool accepted = proof_parse(buf_bytes(&text), &proof, &err) == ERR_OK &&
				proof_verify(&proof, &keys->key, BYTES("b"), NULL, &err) == ERR_OK;
		assert_false(accepted);
		text.data[bit / 8] ^= (char)(1 << bit % 8);
	}
	buf_release(&text);
}

static void test_extra_data_in_a_proof(void **state)
{
	struct keys *keys = *state;
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT(4096), with = BUF_INIT(8192);
	struct proof proof;
	make_proof(keys, &text);
	size_t first = (size_t)(strchr(text.data, '\n') - text.data) + 1;
	buf_append(&with, text.data, first);
	buf_append_cstr(&with, "extra aGVsbG8=\n");
	buf_append(&with, text.data + first, text.size - first);
	assert_works(proof_parse(buf_bytes(&with), &proof, &err), &err);
	assert_true(bytes_is(proof.extra, "aGVsbG8="));
	assert_works(proof_verify(&proof, &keys->key, BYTES("b"), NULL, &err), &err);
	buf_clear(&text);
	proof_format(&proof, &text);
	assert_string_equal(text.data, with.data);
	buf_release(&text);
	buf_release(&with);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_note),
		cmocka_unit_test(test_bad_keys),
		cmocka_unit_test(test_malformed_notes),
		cmocka_unit_test(test_who_signed),
		cmocka_unit_test(test_every_bit_of_a_checkpoint_counts),
		cmocka_unit_test(test_checkpoint_text),
		cmocka_unit_test(test_proofs),
		cmocka_unit_test(test_extra_data_in_a_proof),
	};
	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
