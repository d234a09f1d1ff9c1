/* Text that nobody trusts, made fit to be shown. */
#include "bench/text.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

static void assert_line(struct bytes text, const char *expected)
{
	struct buf out = BUF_INIT(4096);
	text_append_line(&out, text, 1000);
	assert_string_equal(out.data ? out.data : "", expected);
	buf_release(&out);
}

static void assert_html(struct bytes text, const char *expected)
{
	struct buf out = BUF_INIT(4096);
	text_append_html(&out, text, 1000);
	assert_string_equal(out.data ? out.data : "", expected);
	buf_release(&out);
}

static void plain_text_stays(void **state)
{
	(void)state;
	assert_line(BYTES(""), "");
	assert_line(BYTES("naïve 数 🦊"), "naïve 数 🦊");
}

static void nothing_moves_the_cursor(void **state)
{
	(void)state;
	assert_line(BYTES("a\x1b[2Jb"), "a\\x1b[2Jb");
	assert_line(BYTES("a\nb\tc\rd"), "a\\nb\\tc\\rd");
	assert_line(BYTES("\x7f"), "\\x7f");
	assert_line(BYTES("\xc2\x9b"
			  "31m"),
		    "\\x9b31m"); /* CSI as one C1 control */
	assert_line(bytes_of("a\0b", 3), "a\\x00b");
}

static void nothing_hides_or_turns_around(void **state)
{
	(void)state;
	assert_line(BYTES("\xe2\x80\xae"
			  "x"),
		    "\\u202ex");
	assert_line(BYTES("\xe2\x80\x8b"), "\\u200b");
	assert_line(BYTES("\xef\xbb\xbf"), "\\ufeff");
}

static void broken_bytes_are_shown(void **state)
{
	(void)state;
	assert_line(BYTES("\xff\xc3("), "\\xff\\xc3(");
	assert_line(BYTES("\xf0\x9f\xa6"), "\\xf0\\x9f\\xa6");
	assert_line(BYTES("\xed\xa0\x80"), "\\xed\\xa0\\x80"); /* a surrogate */
}

static void html_cannot_be_left(void **state)
{
	(void)state;
	assert_html(BYTES("</pre><script>\"'&"), "&lt;/pre&gt;&lt;script&gt;&quot;&#39;&amp;");
	assert_html(BYTES("a\nb\x1b"), "a\nb\\x1b");
}

static void long_text_is_cut_between_characters(void **state)
{
	struct buf out = BUF_INIT(64);
	char small[6];
	(void)state;
	text_append_line(&out, BYTES("aaaé"), 4);
	assert_string_equal(out.data, "aaa…");
	buf_release(&out);
	text_line(small, sizeof(small), BYTES("aaaaé"));
	assert_string_equal(small, "aaaa");
	text_line(small, 1, BYTES("abc"));
	assert_string_equal(small, "");
}

static void clean_text_is_utf8_without_nul(void **state)
{
	struct buf out = BUF_INIT(64);
	(void)state;
	text_append_clean(&out, bytes_of("a\0\xff\x1b", 4));
	assert_string_equal(out.data, "a\xef\xbf\xbd\xef\xbf\xbd\x1b");
	buf_release(&out);
}

static void assert_duration(uint64_t milliseconds, const char *expected)
{
	struct buf out = BUF_INIT(64);
	text_append_duration(&out, milliseconds);
	assert_string_equal(out.data, expected);
	buf_release(&out);
}

static void numbers_are_readable(void **state)
{
	struct buf out = BUF_INIT(64);
	(void)state;
	text_append_count(&out, 1234567);
	buf_append_char(&out, ' ');
	text_append_count(&out, 12);
	buf_append_char(&out, ' ');
	text_append_usd(&out, 0.0042);
	assert_string_equal(out.data, "1,234,567 12 $0.0042");
	buf_release(&out);
	assert_duration(850, "850 ms");
	assert_duration(12300, "12.3 s");
	assert_duration(245000, "4 min 05 s");
	assert_duration(7620000, "2 h 07 min");
}

static void wide_characters_take_two_columns(void **state)
{
	(void)state;
	assert_int_equal(text_columns(BYTES("abc")), 3);
	assert_int_equal(text_columns(BYTES("数🦊")), 4);
	assert_int_equal(text_columns(BYTES("e\xcc\x81")), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text_stays),
		cmocka_unit_test(nothing_moves_the_cursor),
		cmocka_unit_test(nothing_hides_or_turns_around),
		cmocka_unit_test(broken_bytes_are_shown),
		cmocka_unit_test(html_cannot_be_left),
		cmocka_unit_test(long_text_is_cut_between_characters),
		cmocka_unit_test(clean_text_is_utf8_without_nul),
		cmocka_unit_test(numbers_are_readable),
		cmocka_unit_test(wide_characters_take_two_columns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
