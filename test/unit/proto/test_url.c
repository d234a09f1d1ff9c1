#include "proto/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void test_good_urls(void **state)
{
	static const struct {
		const char *text, *host, *authority, *path, *query;
		unsigned port;
		bool tls;
	} rows[] = {
		{"https://api.north.example", "api.north.example", "api.north.example", "",     "",      443,
		 true											       },
		{"HTTP://A:8080/v1/",         "A",                 "A:8080",            "/v1/", "",      8080, false},
		{"http://[::1]:81/x?y=1?2",   "::1",               "[::1]:81",          "/x",   "y=1?2", 81,   false},
		{"http://127.0.0.1?q",        "127.0.0.1",         "127.0.0.1",         "",     "q",     80,   false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct url url;
		assert_int_equal(url_parse(bytes_from(rows[i].text), &url, NULL), ERR_OK);
		assert_true(bytes_is(url.host, rows[i].host));
		assert_true(bytes_is(url.authority, rows[i].authority));
		assert_true(bytes_is(url.path, rows[i].path));
		assert_true(bytes_is(url.query, rows[i].query));
		assert_int_equal(url.port, rows[i].port);
		assert_int_equal(url.tls, rows[i].tls);
	}
}

static void test_bad_urls(void **state)
{
	static const char *const texts[] = {
		"",
		"api.example",
		"ftp://a/",
		"http://",
		"http:///x",
		"http://a:0",
		"http://a:65536",
		"http://a b/",
		"http://a/#f",
		"http://a/\xc3\xa9",
		"https://",
		"http://u:p@a/",
		"http://[::1/",
		"http://a/\r\n",
		"http://a/{x}",
	};
	struct err err;
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct url url;
		err.message[0] = '\0';
		assert_int_equal(url_parse(bytes_from(texts[i]), &url, &err), ERR_INVALID);
		assert_string_not_equal(err.message, "");
	}
}

static void test_password_is_not_repeated_in_the_error(void **state)
{
	struct url url;
	struct err err = ERR_INIT;
	(void)state;
	assert_int_equal(url_parse(BYTES("https://u:secret@a/"), &url, &err), ERR_INVALID);
	assert_null(strstr(err.message, "secret"));
}

static void test_paths_are_joined(void **state)
{
	static const struct {
		const char *base, *joined;
	} rows[] = {
		{"http://a",       "/v1/messages"    },
                {"http://a/",      "/v1/messages"    },
		{"http://a/v1",    "/v1/messages"    },
                {"http://a/v1/",   "/v1/messages"    },
		{"http://a/x/v1",  "/x/v1/messages"  },
                {"http://a/api//", "/api/v1/messages"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct url url;
		struct buf out = BUF_INIT(256);
		assert_int_equal(url_parse(bytes_from(rows[i].base), &url, NULL), ERR_OK);
		url_join_path(&url, "/v1/messages", &out);
		assert_true(bytes_is(buf_bytes(&out), rows[i].joined));
		buf_release(&out);
	}
}

static void test_decoding(void **state)
{
	struct buf out = BUF_INIT(64);
	(void)state;
	assert_true(url_decode(BYTES("a%2Fb+%c3%A9%41"), &out));
	assert_true(bytes_is(buf_bytes(&out), "a/b+\xc3\xa9"
					      "A"));
	assert_false(url_decode(BYTES("%"), &out));
	assert_false(url_decode(BYTES("%4"), &out));
	assert_false(url_decode(BYTES("%4g"), &out));
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_urls),
		cmocka_unit_test(test_bad_urls),
		cmocka_unit_test(test_password_is_not_repeated_in_the_error),
		cmocka_unit_test(test_paths_are_joined),
		cmocka_unit_test(test_decoding),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
