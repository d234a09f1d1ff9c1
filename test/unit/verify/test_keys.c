/* Which texts are keys, and what is said of those that are none. */
#include "fixture.h"

#include "base/encode.h"
#include "verify/keys.h"

#include <unistd.h>

struct keyring {
	struct ledger ledger;
	struct verify_keys keys;
	struct env *env;
	char public_text[64], path[64];
};

static int setup(void **state)
{
	struct keyring *ring = calloc(1, sizeof(*ring));
	uint8_t public_key[ED25519_KEY_SIZE];
	struct buf text = BUF_INIT(64);
	assert_non_null(ring);
	ring->env = env_os_new(1);
	ledger_init(&ring->ledger, "north.example/parley", 3);
	ed25519_public(ring->ledger.key, public_key);
	base64_append(&text, public_key, sizeof(public_key));
	snprintf(ring->public_text, sizeof(ring->public_text), "%s", text.data);
	buf_release(&text);
	strcpy(ring->path, "/tmp/parley-keys-XXXXXX");
	int file = mkstemp(ring->path);
	assert_true(file >= 0);
	close(file);
	*state = ring;
	return 0;
}

static int teardown(void **state)
{
	struct keyring *ring = *state;
	verify_keys_release(&ring->keys);
	ledger_release(&ring->ledger);
	env_os_free(ring->env);
	unlink(ring->path);
	free(ring);
	return 0;
}

static enum err_code read_keys(struct keyring *ring, const char *a, const char *b, struct err *err)
{
	const char *const texts[] = {a, b};
	return verify_keys_read(ring->env, texts, b ? 2 : 1, &ring->keys, err);
}

static void test_both_kinds(void **state)
{
	struct keyring *ring = *state;
	struct err err = ERR_INIT;
	size_t at = 0;
	assert_int_equal(read_keys(ring, ring->ledger.vkey_text, ring->public_text, &err), ERR_OK);
	assert_int_equal(ring->keys.log_count, 1);
	assert_int_equal(ring->keys.evaluator_count, 1);
	assert_ptr_equal(verify_keys_next(&ring->keys, "north.example/parley", &at),
			 &ring->keys.logs[0]);
	assert_null(verify_keys_next(&ring->keys, "north.example/parley", &at));
	at = 0;
	assert_null(verify_keys_next(&ring->keys, "north.example", &at));
}

static void test_file_of_keys(void **state)
{
	struct keyring *ring = *state;
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT(4096);
	buf_printf(&text, "# our keys\r\n\n  log %s  \r\nlab\t%s", ring->ledger.vkey_text,
		   ring->public_text);
	file_write(ring->path, buf_bytes(&text));
	assert_int_equal(read_keys(ring, ring->path, NULL, &err), ERR_OK);
	assert_int_equal(ring->keys.log_count, 1);
	assert_int_equal(ring->keys.evaluator_count, 1);
	buf_release(&text);
}

static void test_no_keys(void **state)
{
	struct keyring *ring = *state;
	char text[512];
	snprintf(text, sizeof(text), "%s", ring->ledger.vkey_text);
	text[strlen(text) - 2] ^= 1; /* the id no longer fits the key */
	const char *const bad[] = {"", "hello", "a+b+c", text, "/nowhere/key.pub", "AAAA"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;
		assert_int_equal(read_keys(ring, bad[i], NULL, &err), ERR_USAGE);
		assert_non_null(strstr(err.message, "--key: "));
		verify_keys_release(&ring->keys);
	}
}

static void test_bad_line_in_file(void **state)
{
	struct keyring *ring = *state;
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT(4096);
	char place[128];
	buf_printf(&text, "%s\n-----BEGIN PUBLIC KEY-----\n", ring->ledger.vkey_text);
	file_write(ring->path, buf_bytes(&text));
	assert_int_equal(read_keys(ring, ring->path, NULL, &err), ERR_USAGE);
	snprintf(place, sizeof(place), "%s:2", ring->path);
	assert_non_null(strstr(err.message, place));
	buf_release(&text);
}

static void test_too_many(void **state)
{
	struct keyring *ring = *state;
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT((size_t)1 << 20);
	for (unsigned i = 0; i < VERIFY_KEYS_MAX; i++)
		buf_printf(&text, "%s\n", ring->public_text);
	assert_int_equal(verify_keys_parse(buf_bytes(&text), "keys", &ring->keys, &err), ERR_OK);
	assert_int_equal(
		verify_keys_parse(bytes_from(ring->public_text), "keys", &ring->keys, &err),
		ERR_TOO_LARGE);
	buf_release(&text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_both_kinds),       CASE(test_file_of_keys), CASE(test_no_keys),
		CASE(test_bad_line_in_file), CASE(test_too_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
