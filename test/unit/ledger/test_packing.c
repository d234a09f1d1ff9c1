/* Packed records are the same records. */
#include "check.h"

#include "base/prng.h"
#include "ledger/packing.h"

#include <stdlib.h>

/* Exactly as large as it must be, so that a sanitizer sees what reads or writes beyond. */
static size_t round_trip(const char *text, size_t size)
{
	char *in = malloc(size + (size == 0)), *out = malloc(PACKING_ROOM);
	uint8_t *packed = malloc(size + (size == 0));
	memcpy(in, text, size);
	size_t packed_size = packing_pack(bytes_of(in, size), packed);
	assert_true(packed_size > 0 && packed_size <= size);
	uint8_t *exact = malloc(packed_size);
	memcpy(exact, packed, packed_size);
	assert_int_equal(packing_unpack(bytes_of(exact, packed_size), out), size);
	assert_memory_equal(out, text, size);
	free(in);
	free(out);
	free(packed);
	free(exact);
	return packed_size;
}

/* As docs/formats/log.md tells: n stands before n + 1 bytes. */
static void test_known(void **state)
{
	(void)state;
	static const char text[] = "{\"admit\":\"00ff0000000102030405060708090a01\","
				   "\"org\":\"0123456789abcdef0123456789abcde\"}";
	static const char want[] =
		"{\"admit\":\"\x0f\x00\xff\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07"
		"\x08\x09\x0a\x01\",\"org\":\"0123456789abcdef0123456789abcde\"}";
	uint8_t packed[sizeof(text)];
	assert_int_equal(packing_pack(bytes_from(text), packed), sizeof(want) - 1);
	assert_memory_equal(packed, want, sizeof(want) - 1);
}

/* Runs of every length, at every place beside others. */
static void test_runs(void **state)
{
	(void)state;
	char text[600];
	for (unsigned length = 0; length < 200; length++) {
		for (unsigned before = 1; before < 40; before++) {
			memset(text, 'x', sizeof(text));
			memset(text + before, 'a', length);
			memset(text + before + length + 1, '0', 64);
			size_t packed = round_trip(text, before + length + 1 + 64 + before % 3);
			size_t saved = length < 32 ? 0 : length - length % 2;
			for (unsigned left = (unsigned)saved; left >= 4;
			     left -= left < 64 ? left : 64)
				saved -= left < 64 ? left / 2 + 1 : 33;
			if (length >= 32 && length % 64 < 4)
				saved -= length % 64 - length % 2;
			assert_int_equal(packed, before + length + 1 + 33 + before % 3 - saved);
		}
	}
}

static void test_random(void **state)
{
	(void)state;
	static const char alphabet[] = "0123456789abcdefABCDEF\"_x \xc3\xa9";
	static char text[RECORD_SIZE_MAX];
	struct prng prng = {.state = 7};
	for (unsigned round = 0; round < 3000; round++) {
		size_t size = 1 + prng_next(&prng) % (round % 100 ? 300 : RECORD_SIZE_MAX);
		unsigned range = round % 2 ? 16 : sizeof(alphabet) - 1;
		for (size_t i = 0; i < size; i++)
			text[i] = alphabet[prng_next(&prng) % (prng_next(&prng) % 40 ? range : 28)];
		round_trip(text, size);
	}
	memset(text, '0', sizeof(text));
	round_trip(text, sizeof(text));
}

/* What is no text of a record stays as it is, and what is no packed one is not read. */
static void test_refused(void **state)
{
	(void)state;
	static char room[PACKING_ROOM];
	uint8_t packed[RECORD_SIZE_MAX + 64];
	for (unsigned place = 0; place < 40; place++) {
		char text[40];
		memset(text, 'a', sizeof(text));
		text[place] = (char)(place % 32);
		assert_int_equal(packing_pack(bytes_of(text, sizeof(text)), packed), 0);
	}
	assert_int_equal(packing_unpack(BYTES(""), room), 0);
	assert_int_equal(packing_unpack(bytes_of("a\0b", 3), room), 0); /* 0 stands for nothing */
	assert_int_equal(packing_unpack(bytes_of("a\1b", 3), room), 0); /* two bytes are missing */
	assert_int_equal(packing_unpack(bytes_of("a\1bc", 4), room), 5);
	memset(packed, 31, sizeof(packed)); /* 64 digits from each 33 */
	assert_int_equal(packing_unpack(bytes_of(packed, 256 * 33), room), RECORD_SIZE_MAX);
	assert_int_equal(packing_unpack(bytes_of(packed, 257 * 33), room), 0);
	memset(packed, 'a', sizeof(packed));
	assert_int_equal(packing_unpack(bytes_of(packed, RECORD_SIZE_MAX + 1), room), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
