#include "env/address.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void good_addresses_come_back_as_they_were(void **state)
{
	static const char *const texts[] = {
		"127.0.0.1:8080", "0.0.0.0:0", "255.255.255.255:65535",
		"[::1]:443",      "[::]:0",    "[2001:db8::ff00:42:8329]:1"};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct env_address address;
		struct err err = ERR_INIT;
		char text[64];
		assert_int_equal(ERR_OK, env_address_parse(bytes_from(texts[i]), &address, &err));
		env_address_format(&address, text, sizeof(text));
		assert_string_equal(texts[i], text);
	}
}

static void anything_else_is_refused_by_name(void **state)
{
	static const char *const texts[] = {"",
					    ":",
					    "8080",
					    ":8080",
					    "localhost:80",
					    "127.0.0.1",
					    "127.0.0.1:",
					    "127.0.0.1:65536",
					    "127.0.0.1:-1",
					    "127.0.0.1:+1",
					    "127.0.0.1:80 ",
					    " 127.0.0.1:80",
					    "127.0.0.1.5:80",
					    "127.1:80",
					    "256.0.0.1:80",
					    "::1:80",
					    "[::1]",
					    "[::1:80",
					    "::1]:80",
					    "[]:80",
					    "[127.0.0.1]:80",
					    "[::1%lo]:80",
					    "[::1]x:80",
					    "127.0.0.1:99999999999999999999999",
					    "/run/socket"};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct env_address address;
		struct err err = ERR_INIT;
		if (env_address_parse(bytes_from(texts[i]), &address, &err) != ERR_INVALID)
			fail_msg("\"%s\" was taken", texts[i]);
		assert_non_null(strstr(err.message, texts[i]));
	}
	struct env_address address;
	assert_int_equal(ERR_INVALID, env_address_parse(BYTES("127.0.0.1\0x:80"), &address, NULL));
	assert_int_equal(ERR_INVALID, env_address_parse((struct bytes){NULL, 0}, &address, NULL));
}

static void a_long_text_is_not_copied_whole_into_the_error(void **state)
{
	char text[5000];
	struct env_address address;
	struct err err = ERR_INIT;
	(void)state;
	memset(text, '1', sizeof(text));
	text[4000] = ':';
	assert_int_equal(ERR_INVALID,
			 env_address_parse(bytes_of(text, sizeof(text)), &address, &err));
	assert_true(strlen(err.message) < 300);
}

static void a_short_buffer_is_not_overrun(void **state)
{
	struct env_address address;
	char text[8] = "xxxxxxx";
	(void)state;
	assert_int_equal(ERR_OK, env_address_parse(BYTES("127.0.0.1:8080"), &address, NULL));
	env_address_format(&address, text, 5);
	assert_string_equal("127.", text);
	assert_memory_equal("xx", text + 5, 2);
}

static void loopback_and_wildcards_are_told_from_the_rest(void **state)
{
	static const struct {
		const char *text;
		bool loopback, wildcard;
	} cases[] = {
		{"127.0.0.1:1",       true,  false},
                {"127.255.255.254:1", true,  false},
		{"128.0.0.1:1",       false, false},
                {"0.0.0.0:1",         false, true },
		{"[::1]:1",           true,  false},
                {"[::]:1",            false, true },
		{"[7f00::1]:1",       false, false}
        };
	struct env_address address;
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(ERR_OK,
				 env_address_parse(bytes_from(cases[i].text), &address, NULL));
		assert_int_equal(cases[i].loopback, env_address_is_loopback(&address));
		assert_int_equal(cases[i].wildcard, env_address_is_wildcard(&address));
	}
	env_address_unix(&address, "/run/parley.sock");
	assert_true(env_address_is_loopback(&address));
	assert_false(env_address_is_wildcard(&address));
	char text[64];
	env_address_format(&address, text, sizeof(text));
	assert_string_equal("/run/parley.sock", text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_addresses_come_back_as_they_were),
		cmocka_unit_test(anything_else_is_refused_by_name),
		cmocka_unit_test(a_long_text_is_not_copied_whole_into_the_error),
		cmocka_unit_test(a_short_buffer_is_not_overrun),
		cmocka_unit_test(loopback_and_wildcards_are_told_from_the_rest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
