#include "base/ed25519.h"
#include "base/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* RFC 8032, section 7.1, tests 1 to 3. */
static const struct {
	const char *seed, *public_key, *message, *signature;
} vectors[] = {
	{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
	 "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
	 "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e"
	 "39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
	{"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
	 "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
	 "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f"
	 "3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
	{"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
	 "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
	 "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67"
	 "f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
};

static struct ed25519_private *key_of(size_t vector)
{
	uint8_t seed[32];
	assert_true(hex_decode(bytes_from(vectors[vector].seed), seed, sizeof(seed)));
	struct ed25519_private *key = ed25519_from_seed(seed);
	assert_non_null(key);
	return key;
}

static void rfc_8032_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct ed25519_private *key = key_of(i);
		uint8_t public_key[32], signature[64], message[2];
		char text[129];
		size_t size = strlen(vectors[i].message) / 2;
		assert_true(hex_decode(bytes_from(vectors[i].message), message, size));
		ed25519_public(key, public_key);
		hex_encode(public_key, sizeof(public_key), text);
		assert_string_equal(vectors[i].public_key, text);
		assert_true(ed25519_sign(key, message, size, signature));
		hex_encode(signature, sizeof(signature), text);
		assert_string_equal(vectors[i].signature, text);
		assert_true(ed25519_verify(public_key, message, size, signature));
		ed25519_free(key);
	}
}

static void anything_altered_does_not_verify(void **state)
{
	struct ed25519_private *key = key_of(0);
	uint8_t public_key[32], other_key[32], signature[64];
	(void)state;
	ed25519_public(key, public_key);
	assert_true(ed25519_sign(key, "text", 4, signature));
	assert_true(ed25519_verify(public_key, "text", 4, signature));
	assert_false(ed25519_verify(public_key, "texT", 4, signature));
	assert_false(ed25519_verify(public_key, "tex", 3, signature));
	for (size_t bit = 0; bit < 512; bit += 7) {
		signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(ed25519_verify(public_key, "text", 4, signature));
		signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	struct ed25519_private *other = key_of(1);
	ed25519_public(other, other_key);
	assert_false(ed25519_verify(other_key, "text", 4, signature));
	memset(other_key, 0xff, sizeof(other_key));
	assert_false(ed25519_verify(other_key, "text", 4, signature));
	ed25519_free(other);
	ed25519_free(key);
	ed25519_free(NULL);
}

static void a_key_survives_its_pem(void **state)
{
	struct ed25519_private *key = key_of(2), *back = NULL;
	struct buf pem = BUF_INIT(4096);
	struct err err = ERR_INIT;
	uint8_t public_key[32], again[32];
	(void)state;
	assert_int_equal(ERR_OK, ed25519_to_pem(key, &pem, &err));
	assert_true(bytes_starts_with(buf_bytes(&pem), BYTES("-----BEGIN PRIVATE KEY-----\n")));
	assert_int_equal(ERR_OK, ed25519_from_pem(buf_bytes(&pem), &back, &err));
	ed25519_public(key, public_key);
	ed25519_public(back, again);
	assert_memory_equal(public_key, again, sizeof(again));
	ed25519_free(back);
	pem.data[40] ^= 1;
	enum err_code code = ed25519_from_pem(buf_bytes(&pem), &back, &err);
	if (code == ERR_OK) { /* still some key, but not this one */
		ed25519_public(back, again);
		ed25519_free(back);
	} else {
		assert_int_equal(ERR_INVALID, code);
	}
	buf_release(&pem);
	ed25519_free(key);
}

static void other_texts_are_no_key(void **state)
{
	static const char *const texts[] = {
		"", "hello", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\n"
		"MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
		"-----END PUBLIC KEY-----\n",
		/* X25519, not Ed25519 */
		"-----BEGIN PRIVATE KEY-----\n"
		"MC4CAQAwBQYDK2VuBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq\n"
		"-----END PRIVATE KEY-----\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct ed25519_private *key = (void *)state;
		struct err err = ERR_INIT;
		assert_int_equal(ERR_INVALID, ed25519_from_pem(bytes_from(texts[i]), &key, &err));
		assert_null(key);
	}
	char *large = calloc(1, 100000);
	struct ed25519_private *key;
	assert_int_equal(ERR_INVALID, ed25519_from_pem(bytes_of(large, 100000), &key, NULL));
	free(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_8032_vectors),
		cmocka_unit_test(anything_altered_does_not_verify),
		cmocka_unit_test(a_key_survives_its_pem),
		cmocka_unit_test(other_texts_are_no_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
