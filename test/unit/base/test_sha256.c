#include "base/sha256.h"
#include "base/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_digest(const char *expected, const uint8_t digest[SHA256_SIZE])
{
	char text[2 * SHA256_SIZE + 1];
	hex_encode(digest, SHA256_SIZE, text);
	assert_string_equal(expected, text);
}

/* FIPS 180-4 examples. */
static void sha256_vectors(void **state)
{
	uint8_t digest[SHA256_SIZE];
	(void)state;
	sha256_of(NULL, 0, digest);
	assert_digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", digest);
	sha256_of("abc", 3, digest);
	assert_digest("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", digest);
	struct bytes two = BYTES("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq");
	sha256_of(two.data, two.size, digest);
	assert_digest("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", digest);
}

static void a_million_bytes_in_uneven_parts(void **state)
{
	uint8_t digest[SHA256_SIZE];
	struct sha256 hash;
	char part[997];
	(void)state;
	memset(part, 'a', sizeof(part));
	sha256_start(&hash);
	size_t left = 1000000;
	while (left > 0) {
		size_t size = left < sizeof(part) ? left : sizeof(part);
		sha256_add_bytes(&hash, bytes_of(part, size));
		left -= size;
	}
	sha256_finish(&hash, digest);
	assert_digest("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", digest);
}

/* RFC 4231, test cases 1, 2, 3 and 6. */
static void hmac_vectors(void **state)
{
	struct hmac_key key;
	uint8_t digest[SHA256_SIZE];
	char secret[131], data[50];
	(void)state;
	memset(secret, 0x0b, 20);
	hmac_key_init(&key, secret, 20);
	hmac_of(&key, "Hi There", 8, digest);
	assert_digest("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", digest);
	hmac_key_init(&key, "Jefe", 4);
	hmac_of(&key, "what do ya want for nothing?", 28, digest);
	assert_digest("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", digest);
	memset(secret, 0xaa, sizeof(secret));
	memset(data, 0xdd, sizeof(data));
	hmac_key_init(&key, secret, 20);
	hmac_of(&key, data, sizeof(data), digest);
	assert_digest("773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe", digest);
	struct bytes text = BYTES("Test Using Larger Than Block-Size Key - Hash Key First");
	hmac_key_init(&key, secret, 131);
	hmac_of(&key, text.data, text.size, digest);
	assert_digest("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", digest);
	hmac_of(&key, text.data, text.size, digest); /* the key is not used up */
	assert_digest("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_vectors),
		cmocka_unit_test(a_million_bytes_in_uneven_parts),
		cmocka_unit_test(hmac_vectors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
