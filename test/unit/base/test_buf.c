#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void it_grows_to_its_maximum_and_no_further(void **state)
{
	struct buf buf = BUF_INIT(1000);
	(void)state;
	for (int i = 0; i < 1000; i++)
		buf_append_char(&buf, (char)('a' + i % 26));
	assert_false(buf.failed);
	assert_int_equal(1000, buf.size);
	for (int i = 0; i < 1000; i++)
		assert_int_equal('a' + i % 26, buf.data[i]);
	buf_append_char(&buf, 'x');
	assert_true(buf.failed);
	assert_int_equal(1000, buf.size);
	buf_release(&buf);
}

static void failure_is_sticky_until_cleared(void **state)
{
	struct buf buf = BUF_INIT(4);
	(void)state;
	buf_append_cstr(&buf, "abcde");
	buf_append_cstr(&buf, "a");
	assert_true(buf.failed);
	assert_int_equal(0, buf.size);
	buf_clear(&buf);
	buf_append_cstr(&buf, "abcd");
	assert_false(buf.failed);
	assert_string_equal("abcd", buf.data);
	buf_release(&buf);
}

static void reserving_more_than_can_be_counted_fails(void **state)
{
	struct buf buf = BUF_INIT(SIZE_MAX / 4);
	(void)state;
	buf_append_cstr(&buf, "abc");
	assert_false(buf_reserve(&buf, SIZE_MAX));
	assert_true(buf.failed);
	assert_string_equal("abc", buf.data);
	buf_release(&buf);
}

static void printing_fits_exactly_or_fails_whole(void **state)
{
	struct buf buf = BUF_INIT(8);
	(void)state;
	buf_printf(&buf, "%s-%d", "abc", 1234);
	assert_false(buf.failed);
	assert_string_equal("abc-1234", buf.data);
	buf_printf(&buf, "%s", "");
	assert_false(buf.failed);
	buf_clear(&buf);
	buf_printf(&buf, "%09d", 1);
	assert_true(buf.failed);
	assert_int_equal(0, buf.size);
	buf_release(&buf);
}

static void consuming_drops_from_the_front(void **state)
{
	struct buf buf = BUF_INIT(100);
	(void)state;
	buf_consume(&buf, 0);
	buf_append(&buf, "ab\0cd", 5);
	buf_consume(&buf, 2);
	assert_int_equal(3, buf.size);
	assert_memory_equal("\0cd", buf.data, 4);
	buf_consume(&buf, 3);
	assert_int_equal(0, buf.size);
	assert_int_equal('\0', buf.data[0]);
	buf_append(&buf, NULL, 0);
	buf_append_bytes(&buf, BYTES("z"));
	assert_true(bytes_is(buf_bytes(&buf), "z"));
	buf_release(&buf);
	assert_int_equal(100, buf.max);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_grows_to_its_maximum_and_no_further),
		cmocka_unit_test(failure_is_sticky_until_cleared),
		cmocka_unit_test(reserving_more_than_can_be_counted_fails),
		cmocka_unit_test(printing_fits_exactly_or_fails_whole),
		cmocka_unit_test(consuming_drops_from_the_front),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
