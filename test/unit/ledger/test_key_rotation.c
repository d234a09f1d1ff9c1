/* Notes that hand a log's key on: signed by both keys, and by nothing less. */
#include "check.h"

#include "ledger/key_rotation.h"

#include <string.h>

static struct ed25519_private *make(uint8_t number, const char *name, struct note_key *key)
{
	uint8_t seed[32] = {number}, public_key[32];
	struct ed25519_private *private_key = ed25519_from_seed(seed);
	ed25519_public(private_key, public_key);
	assert_int_equal(note_key_init(key, name, public_key, NULL), ERR_OK);
	return private_key;
}

static void sign(uint8_t from, uint8_t to, struct buf *out)
{
	struct key_rotation rotation = {.size = 77};
	struct err err = ERR_INIT;
	struct ed25519_private *old = make(from, "north.example", &rotation.from);
	struct ed25519_private *new = make(to, "north.example", &rotation.to);
	assert_works(key_rotation_sign(&rotation, old, new, out, &err), &err);
	ed25519_free(old);
	ed25519_free(new);
}

static void test_round_trip(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(8192);
	struct key_rotation rotation;
	struct note_key first, second;
	struct err err = ERR_INIT;
	sign(1, 2, &text);
	sign(2, 3, &text);
	ed25519_free(make(2, "north.example", &first));
	ed25519_free(make(3, "north.example", &second));
	struct bytes rest;
	struct bytes note = key_rotation_next(buf_bytes(&text), &rest);
	assert_works(key_rotation_open(note, &rotation, &err), &err);
	assert_int_equal(rotation.size, 77);
	assert_memory_equal(&rotation.to, &first, sizeof(first));
	note = key_rotation_next(rest, &rest);
	assert_works(key_rotation_open(note, &rotation, &err), &err);
	assert_memory_equal(&rotation.from, &first, sizeof(first));
	assert_memory_equal(&rotation.to, &second, sizeof(second));
	assert_int_equal(rest.size, 0);
	buf_release(&text);
}

/* Whatever byte is another one, it is no rotation any more. */
static void test_every_byte_counts(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(8192);
	struct key_rotation rotation;
	sign(1, 2, &text);
	for (size_t i = 0; i < text.size; i++) {
		struct err err = ERR_INIT;
		char kept = text.data[i];
		text.data[i] = kept == 'b' ? 'c' : 'b';
		if (key_rotation_open(buf_bytes(&text), &rotation, &err) == ERR_OK)
			fail_msg("byte %zu may be another one", i);
		text.data[i] = kept;
	}
	buf_release(&text);
}

static void test_one_signature_is_none(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(8192), cut = BUF_INIT(8192);
	struct key_rotation rotation;
	struct note note;
	struct err err = ERR_INIT;
	sign(1, 2, &text);
	assert_works(note_parse(buf_bytes(&text), &note, &err), &err);
	const char *second = note.signatures[1].name.data - 4;
	struct bytes only_first = bytes_of(text.data, (size_t)(second - text.data));
	assert_int_equal(key_rotation_open(only_first, &rotation, &err), ERR_MISMATCH);
	const char *first = note.signatures[0].name.data - 4;
	buf_append(&cut, text.data, (size_t)(first - text.data));
	buf_append_cstr(&cut, second);
	assert_int_equal(key_rotation_open(buf_bytes(&cut), &rotation, &err), ERR_MISMATCH);
	buf_release(&text);
	buf_release(&cut);
}

static void test_two_keys_of_one_log(void **state)
{
	(void)state;
	struct key_rotation rotation = {.size = 1};
	struct buf text = BUF_INIT(8192);
	struct ed25519_private *one = make(1, "north.example", &rotation.from);
	struct ed25519_private *same = make(1, "north.example", &rotation.to);
	assert_int_equal(key_rotation_sign(&rotation, one, same, &text, NULL), ERR_INVALID);
	ed25519_free(same);
	struct ed25519_private *other = make(2, "south.example", &rotation.to);
	assert_int_equal(key_rotation_sign(&rotation, one, other, &text, NULL), ERR_INVALID);
	assert_int_equal(text.size, 0);
	ed25519_free(one);
	ed25519_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_byte_counts),
		cmocka_unit_test(test_one_signature_is_none),
		cmocka_unit_test(test_two_keys_of_one_log),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
