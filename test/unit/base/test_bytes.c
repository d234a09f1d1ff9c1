#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void comparing(void **state)
{
	(void)state;
	assert_true(bytes_equal((struct bytes){NULL, 0}, BYTES("")));
	assert_false(bytes_equal(BYTES("ab"), BYTES("abc")));
	assert_true(bytes_equal_fold(BYTES("Content-LENGTH"), BYTES("content-length")));
	assert_false(bytes_equal_fold(BYTES("a["), BYTES("a{"))); /* only letters fold */
	assert_false(bytes_equal_fold(BYTES("\xc4"), BYTES("\xe4")));
	assert_int_equal(0, bytes_compare(BYTES("a"), BYTES("a")));
	assert_int_equal(-1, bytes_compare(BYTES("a"), BYTES("ab")));
	assert_int_equal(1, bytes_compare(BYTES("b"), BYTES("ab")));
	assert_int_equal(1, bytes_compare(BYTES("\xff"), BYTES("a")));
	assert_int_equal(-1, bytes_compare((struct bytes){NULL, 0}, BYTES("a")));
	assert_true(bytes_starts_with(BYTES("abc"), BYTES("ab")));
	assert_false(bytes_starts_with(BYTES("a"), BYTES("ab")));
	assert_true(bytes_ends_with(BYTES("abc"), BYTES("bc")));
	assert_false(bytes_ends_with(BYTES("c"), BYTES("bc")));
	assert_true(bytes_equal_constant_time("abc", "abc", 3));
	assert_false(bytes_equal_constant_time("abc", "abd", 3));
	assert_true(bytes_equal_constant_time("a", "b", 0));
	/* Every bit counts, in whole words and behind them; so does the case of every letter. */
	for (size_t size = 1; size <= 35; size++) {
		char a[35], b[35];
		memset(a, 'k', sizeof(a));
		memset(b, 'k', sizeof(b));
		assert_true(bytes_equal_constant_time(a, b, size));
		for (size_t i = 0; i < 8 * size; i++) {
			b[i / 8] = (char)(b[i / 8] ^ 1 << i % 8);
			assert_false(bytes_equal_constant_time(a, b, size));
			assert_int_equal(bytes_equal_fold(bytes_of(a, size), bytes_of(b, size)),
					 i % 8 == 5);
			b[i / 8] = 'k';
		}
	}
}

static void splitting_gives_every_part(void **state)
{
	struct bytes rest, part;
	(void)state;
	part = bytes_split(BYTES("a,,b"), ',', &rest);
	assert_true(bytes_is(part, "a") && bytes_is(rest, ",b"));
	part = bytes_split(rest, ',', &rest);
	assert_true(bytes_is(part, "") && bytes_is(rest, "b"));
	part = bytes_split(rest, ',', &rest);
	assert_true(bytes_is(part, "b"));
	assert_null(rest.data);
	part = bytes_split(BYTES("a,"), ',', &rest);
	assert_true(bytes_is(part, "a"));
	assert_non_null(rest.data); /* an empty last part is still a part */
	part = bytes_split((struct bytes){NULL, 0}, ',', &rest);
	assert_int_equal(0, part.size);
	assert_true(bytes_is(bytes_trim(BYTES(" \t a b\t ")), "a b"));
	assert_true(bytes_is(bytes_trim(BYTES(" \t ")), ""));
	assert_true(bytes_is(bytes_trim(BYTES("\n")), "\n"));
}

static void numbers_are_digits_within_their_maximum(void **state)
{
	static const char *const bad[] = {"",
					  "-1",
					  "+1",
					  " 1",
					  "1 ",
					  "1a",
					  "0x1",
					  "1.0",
					  "18446744073709551616",
					  "99999999999999999999999"};
	uint64_t number = 7;
	(void)state;
	assert_true(bytes_to_u64(BYTES("18446744073709551615"), UINT64_MAX, &number));
	assert_true(number == UINT64_MAX);
	assert_true(bytes_to_u64(BYTES("000"), 0, &number));
	assert_int_equal(0, number);
	assert_true(bytes_to_u64(BYTES("65535"), 65535, &number));
	number = 7;
	assert_false(bytes_to_u64(BYTES("65536"), 65535, &number));
	assert_false(bytes_to_u64(BYTES("9"), 8, &number));
	assert_false(bytes_to_u64(BYTES("11"), 9, &number));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(bytes_to_u64(bytes_from(bad[i]), UINT64_MAX, &number));
	assert_int_equal(7, number);
}

static void only_shortest_utf8_of_characters_is_valid(void **state)
{
	static const char *const good[] = {"",
					   "abc",
					   "\x7f",
					   "\xc2\x80",
					   "\xdf\xbf",
					   "\xe0\xa0\x80",
					   "\xed\x9f\xbf",
					   "\xee\x80\x80",
					   "\xef\xbf\xbf",
					   "\xf0\x90\x80\x80",
					   "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80",
					  "\xbf",
					  "\xc0\x80",
					  "\xc1\xbf",
					  "\xc2",
					  "\xc2z",
					  "\xe0\x9f\xbf",
					  "\xed\xa0\x80",
					  "\xed\xbf\xbf",
					  "\xe2\x82",
					  "\xe2\x82z",
					  "\xf0\x8f\xbf\xbf",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xf0\x90\x80",
					  "\xff",
					  "\xfe",
					  "a\xc2"};
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(bytes_is_utf8(bytes_from(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		/* A copy without NUL behind it, so that reading past the end is seen. */
		size_t size = strlen(bad[i]);
		char *copy = malloc(size);
		assert_non_null(copy);
		memcpy(copy, bad[i], size);
		assert_false(bytes_is_utf8(bytes_of(copy, size)));
		free(copy);
	}
	assert_true(bytes_is_utf8(bytes_of("a\0b", 3)));
	char *text = bytes_to_cstr(bytes_of("ab\0", 2));
	assert_string_equal("ab", text);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comparing),
		cmocka_unit_test(splitting_gives_every_part),
		cmocka_unit_test(numbers_are_digits_within_their_maximum),
		cmocka_unit_test(only_shortest_utf8_of_characters_is_valid),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
