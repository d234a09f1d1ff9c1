#include "base/encode.h"
#include "base/prng.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void hexadecimal(void **state)
{
	char text[9];
	uint8_t data[4];
	(void)state;
	hex_encode("\x00\x7f\x80\xff", 4, text);
	assert_string_equal("007f80ff", text);
	assert_true(hex_decode(BYTES("007F80fF"), data, 4));
	assert_memory_equal("\x00\x7f\x80\xff", data, 4);
	assert_false(hex_decode(BYTES("007f80f"), data, 4));
	assert_false(hex_decode(BYTES("007f80fff"), data, 4));
	assert_false(hex_decode(BYTES("007f80fg"), data, 4));
	assert_false(hex_decode(BYTES("007f80 f"), data, 4));
	assert_true(hex_decode(BYTES(""), data, 0));
	hex_encode("", 0, text);
	assert_string_equal("", text);
}

/* Around every power of ten, and what the C library makes of any. */
static void decimals(void **state)
{
	char expected[32], text[DECIMAL_SIZE];
	struct prng prng = {.state = 3};
	uint64_t values[61 + 20000];
	size_t count = 0;
	(void)state;
	for (uint64_t power = 1; count < 60; power *= 10) {
		values[count++] = power - 1;
		values[count++] = power;
		values[count++] = power + 1;
	}
	values[count++] = UINT64_MAX;
	while (count < sizeof(values) / sizeof(values[0])) {
		values[count] = prng_next(&prng) >> count % 64;
		count++;
	}
	for (size_t i = 0; i < count; i++) {
		int size = snprintf(expected, sizeof(expected), "%" PRIu64, values[i]);
		assert_int_equal(decimal_text(values[i], text), size);
		assert_memory_equal(text, expected, size);
	}
}

/* RFC 4648, section 10. */
static void base64_vectors(void **state)
{
	static const char *const pairs[][2] = {
		{"",         ""        },
		{"f",        "Zg=="    },
		{"fo",       "Zm8="    },
		{"foo",      "Zm9v"    },
		{"foob",     "Zm9vYg=="},
		{"fooba",    "Zm9vYmE="},
		{"foobar",   "Zm9vYmFy"},
		{"\xfb\xff", "+/8="    }
        };
	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct buf text = BUF_INIT(100), back = BUF_INIT(100);
		base64_append(&text, pairs[i][0], strlen(pairs[i][0]));
		assert_int_equal(base64_size(strlen(pairs[i][0])), text.size);
		assert_true(bytes_is(buf_bytes(&text), pairs[i][1]));
		assert_true(base64_decode(bytes_from(pairs[i][1]), &back));
		assert_true(bytes_is(buf_bytes(&back), pairs[i][0]));
		buf_release(&text);
		buf_release(&back);
	}
}

static void base64_takes_only_the_canonical_form(void **state)
{
	static const char *const bad[] = {"Z",    "Zg",   "Zg=",   "Zg===",    "=",         "====",
					  "Z===", "Zh==", "Zm9=",  "Zg==Zg==", "Zm9v\n",    "Zm 9v",
					  "Zm-_", "Z=g=", "Zm9v=", "=Zm9",     "\xc3\xa9zz"};
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf out = BUF_INIT(100);
		if (base64_decode(bytes_from(bad[i]), &out))
			fail_msg("%s was taken", bad[i]);
		buf_release(&out);
	}
	uint8_t exact[3];
	assert_true(base64_decode_exact(BYTES("Zm9v"), exact, 3));
	assert_memory_equal("foo", exact, 3);
	assert_false(base64_decode_exact(BYTES("Zm9v"), exact, 2));
	assert_false(base64_decode_exact(BYTES("Zm8="), exact, 3));
	assert_false(base64_decode_exact(BYTES("Zh=="), exact, 1));
	struct buf small = BUF_INIT(2);
	assert_false(base64_decode(BYTES("Zm9v"), &small));
	buf_release(&small);
}

static void base64url_is_the_other_alphabet_without_padding(void **state)
{
	uint8_t back[4];
	struct buf text = BUF_INIT(100);
	(void)state;
	base64url_append(&text, "\xfb\xff\xfe\xff", 4);
	assert_true(bytes_is(buf_bytes(&text), "-__-_w"));
	assert_true(base64url_decode_exact(buf_bytes(&text), back, 4));
	assert_memory_equal(back, "\xfb\xff\xfe\xff", 4);
	assert_false(base64url_decode_exact(BYTES("+//+/w"), back, 4));
	assert_false(base64url_decode_exact(BYTES("-__-_w=="), back, 4));
	assert_false(base64url_decode_exact(BYTES("-__-_x"), back, 4)); /* unused bits */
	assert_false(base64url_decode_exact(BYTES("-__-_w"), back, 3));
	buf_release(&text);
}

static void any_bytes_come_back(void **state)
{
	struct prng prng = {1};
	(void)state;
	for (size_t size = 0; size < 200; size++) {
		uint8_t data[200], back[200];
		char hex[401];
		struct buf text = BUF_INIT(1000);
		for (size_t i = 0; i < size; i++)
			data[i] = (uint8_t)prng_next(&prng);
		base64_append(&text, data, size);
		assert_true(base64_decode_exact(buf_bytes(&text), back, size));
		assert_memory_equal(data, back, size);
		if (size <= BASE64URL_EXACT_MAX) {
			buf_clear(&text);
			base64url_append(&text, data, size);
			assert_true(base64url_decode_exact(buf_bytes(&text), back, size));
			assert_memory_equal(data, back, size);
		}
		hex_encode(data, size, hex);
		assert_true(hex_decode(bytes_from(hex), back, size));
		assert_memory_equal(data, back, size);
		buf_release(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hexadecimal),
		cmocka_unit_test(decimals),
		cmocka_unit_test(base64_vectors),
		cmocka_unit_test(base64_takes_only_the_canonical_form),
		cmocka_unit_test(base64url_is_the_other_alphabet_without_padding),
		cmocka_unit_test(any_bytes_come_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
