#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* RFC 3720, appendix B.4. */
static void rfc_3720_vectors(void **state)
{
	unsigned char data[32] = {0};
	(void)state;
	assert_int_equal(0x8a9136aa, crc32c(0, data, 32));
	for (int i = 0; i < 32; i++)
		data[i] = 0xff;
	assert_int_equal(0x62a8ab43, crc32c(0, data, 32));
	for (int i = 0; i < 32; i++)
		data[i] = (unsigned char)i;
	assert_int_equal(0x46dd794e, crc32c(0, data, 32));
	for (int i = 0; i < 32; i++)
		data[i] = (unsigned char)(31 - i);
	assert_int_equal(0x113fdb5c, crc32c(0, data, 32));
	assert_int_equal(0xe3069283, crc32c(0, "123456789", 9));
	assert_int_equal(0, crc32c(0, "", 0));
}

static void parts_give_the_same_as_the_whole(void **state)
{
	unsigned char data[300];
	(void)state;
	for (int i = 0; i < 300; i++)
		data[i] = (unsigned char)(i * 7 + 1);
	uint32_t whole = crc32c(0, data, sizeof(data));
	for (size_t cut = 0; cut <= sizeof(data); cut++)
		assert_int_equal(whole,
				 crc32c(crc32c(0, data, cut), data + cut, sizeof(data) - cut));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_3720_vectors),
		cmocka_unit_test(parts_give_the_same_as_the_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
