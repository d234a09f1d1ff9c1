#include "base/sha256.h"
#include "base/encode.h"
#include "base/prng.h"
#include "base/sha256_blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <openssl/sha.h>

static void draw(struct prng *prng, uint8_t *out, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)prng_next(prng);
}

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

/* Every length around the block's, in two parts cut anywhere, against another implementation. */
static void agrees_with_openssl(void **state)
{
	uint8_t data[400], expected[SHA256_SIZE], digest[SHA256_SIZE];
	struct prng prng;
	(void)state;
	prng.state = 7;
	draw(&prng, data, sizeof(data));
	for (size_t size = 0; size <= sizeof(data); size++) {
		struct sha256 hash;
		size_t cut = size ? prng_next(&prng) % size : 0;
		SHA256(data, size, expected);
		sha256_of(data, size, digest);
		assert_memory_equal(expected, digest, SHA256_SIZE);
		sha256_start(&hash);
		sha256_add(&hash, data, cut);
		sha256_add(&hash, data + cut, size - cut);
		sha256_finish(&hash, digest);
		assert_memory_equal(expected, digest, SHA256_SIZE);
	}
}

static void two_at_once_are_as_one_after_the_other(void **state)
{
	uint8_t data[600], digest[SHA256_SIZE], expected[SHA256_SIZE];
	struct prng prng;
	(void)state;
	prng.state = 8;
	draw(&prng, data, sizeof(data));
	for (unsigned round = 0; round < 5000; round++) {
		size_t before = prng_next(&prng) % 100, size[2];
		struct sha256 hash[2];
		for (unsigned i = 0; i < 2; i++) {
			size[i] = prng_next(&prng) % 500;
			sha256_start(&hash[i]);
			sha256_add(&hash[i], data, before);
		}
		sha256_add_two(&hash[0], bytes_of((char *)data + before, size[0]), &hash[1],
			       bytes_of((char *)data + before, size[1]));
		for (unsigned i = 0; i < 2; i++) {
			SHA256(data, before + size[i], expected);
			sha256_finish(&hash[i], digest);
			assert_memory_equal(expected, digest, SHA256_SIZE);
		}
	}
}

/* Of every number up to some more than two groups of lanes, with lengths as they come, short and
 * long ones side by side, and with what was added before. */
static void many_at_once_are_as_one_after_the_other(void **state)
{
	enum { MOST = 40, TEXT = 5000 };
	static struct sha256_task tasks[MOST];
	static uint8_t digests[MOST][SHA256_SIZE], data[TEXT + MOST];
	size_t begin[MOST], before[MOST], size[MOST];
	uint8_t expected[SHA256_SIZE];
	struct prng prng;
	(void)state;
	prng.state = 10;
	draw(&prng, data, sizeof(data));
	for (unsigned round = 0; round < 600; round++) {
		size_t count = round % (MOST + 1), longest = round % 3 ? 300 : TEXT;
		for (size_t i = 0; i < count; i++) {
			begin[i] = prng_next(&prng) % MOST;
			size[i] = prng_next(&prng) % (longest + 1);
			before[i] = prng_next(&prng) % (size[i] + 1) % 200;
			sha256_start(&tasks[i].hash);
			sha256_add(&tasks[i].hash, data + begin[i], before[i]);
			tasks[i].text =
				bytes_of((char *)data + begin[i] + before[i], size[i] - before[i]);
			tasks[i].digest = digests[i];
		}
		sha256_many(tasks, count);
		for (size_t i = 0; i < count; i++) {
			SHA256(data + begin[i], size[i], expected);
			assert_memory_equal(expected, digests[i], SHA256_SIZE);
		}
	}
}

static void a_text_that_is_nowhere_is_empty(void **state)
{
	uint8_t a[SHA256_SIZE], b[SHA256_SIZE], expected[SHA256_SIZE];
	struct sha256_task tasks[2] = {
		{.text = bytes_of(NULL, 0), .digest = a},
		{.text = BYTES("text"),                     .digest = b  },
	};
	struct sha256 x, y;
	(void)state;
	sha256_start(&x);
	sha256_start(&y);
	sha256_add_two(&x, bytes_of(NULL, 0), &y, BYTES("text"));
	sha256_finish(&x, a);
	sha256_finish(&y, b);
	SHA256((const uint8_t *)"", 0, expected);
	assert_memory_equal(expected, a, SHA256_SIZE);
	SHA256((const uint8_t *)"text", 4, expected);
	assert_memory_equal(expected, b, SHA256_SIZE);
	sha256_start(&tasks[0].hash);
	sha256_start(&tasks[1].hash);
	sha256_many(tasks, 2);
	assert_memory_equal(expected, b, SHA256_SIZE);
	SHA256((const uint8_t *)"", 0, expected);
	assert_memory_equal(expected, a, SHA256_SIZE);
}

static void plain_code_and_instructions_agree(void **state)
{
	uint8_t data[64 * 9];
	struct prng prng;
	(void)state;
	if (!sha256_has_instructions())
		skip();
	prng.state = 9;
	for (size_t count = 0; count <= 9; count++) {
		uint32_t plain[8], fast[8];
		draw(&prng, data, sizeof(data));
		for (size_t i = 0; i < 8; i++)
			plain[i] = fast[i] = (uint32_t)prng_next(&prng);
		sha256_blocks_plain(plain, data, count);
		sha256_blocks_instructions(fast, data, count);
		assert_memory_equal(plain, fast, sizeof(plain));
	}
}

static void plain_code_and_lanes_agree(void **state)
{
	static uint8_t data[SHA256_LANES][64 * 5 + 1];
	struct prng prng;
	(void)state;
	if (!sha256_has_lanes())
		skip();
	prng.state = 11;
	for (size_t count = 0; count <= 5; count++) {
		uint32_t plain[SHA256_LANES][8], fast[SHA256_LANES][8], *states[SHA256_LANES];
		const uint8_t *from[SHA256_LANES];
		for (size_t lane = 0; lane < SHA256_LANES; lane++) {
			draw(&prng, data[lane], sizeof(data[lane]));
			for (size_t i = 0; i < 8; i++)
				plain[lane][i] = fast[lane][i] = (uint32_t)prng_next(&prng);
			states[lane] = fast[lane];
			from[lane] = data[lane] + lane % 2;
			sha256_blocks_plain(plain[lane], from[lane], count);
		}
		sha256_blocks_lanes(states, from, count);
		assert_memory_equal(plain, fast, sizeof(plain));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_vectors),
		cmocka_unit_test(a_million_bytes_in_uneven_parts),
		cmocka_unit_test(hmac_vectors),
		cmocka_unit_test(agrees_with_openssl),
		cmocka_unit_test(two_at_once_are_as_one_after_the_other),
		cmocka_unit_test(many_at_once_are_as_one_after_the_other),
		cmocka_unit_test(a_text_that_is_nowhere_is_empty),
		cmocka_unit_test(plain_code_and_instructions_agree),
		cmocka_unit_test(plain_code_and_lanes_agree),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
