#include "base/buf.h"
#include "proto/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char typical[] = "POST /v1/messages?beta=true HTTP/1.1\r\n"
			      "Host: api.north.example:8080\r\n"
			      "X-Api-Key: plk_secret\r\n"
			      "anthropic-version: 2023-06-01\r\n"
			      "Content-Type:application/json\r\n"
			      "Accept: \t text/event-stream \t \r\n"
			      "Empty:\r\n"
			      "Content-Length: 12\r\n"
			      "\r\n";

static enum http_parse request(struct http_head *head, const char *text)
{
	http_head_start(head);
	return http_request_parse(head, text, strlen(text));
}

/* A request with these lines between the request line and Host. */
static enum http_refusal refusal_of(const char *lines)
{
	char text[4096];
	struct http_head head;
	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
	enum http_parse result = request(&head, text);
	assert_int_not_equal(result, HTTP_MORE);
	return head.refusal;
}

static void check_typical(const struct http_head *head, const char *data)
{
	assert_int_equal(head->size, sizeof(typical) - 1);
	assert_int_equal(head->field_count, 7);
	assert_int_equal(head->minor, 1);
	assert_true(head->keep_alive);
	assert_false(head->expect_continue);
	assert_int_equal(head->body, HTTP_BODY_LENGTH);
	assert_int_equal(head->content_length, 12);
	assert_true(bytes_is(http_bytes(data, head->method), "POST"));
	assert_true(bytes_is(http_bytes(data, head->path), "/v1/messages"));
	assert_true(bytes_is(http_bytes(data, head->query), "beta=true"));
	assert_true(bytes_is(http_bytes(data, head->target), "/v1/messages?beta=true"));
	assert_true(bytes_is(http_known(head, data, HTTP_FIELD_API_KEY), "plk_secret"));
	assert_true(bytes_is(http_known(head, data, HTTP_FIELD_ACCEPT), "text/event-stream"));
	assert_true(bytes_is(http_field_value(head, data, "EMPTY"), ""));
	assert_non_null(http_field_value(head, data, "empty").data);
	assert_null(http_field_value(head, data, "other").data);
	assert_null(http_known(head, data, HTTP_FIELD_EXPECT).data);
}

static void test_typical_request(void **state)
{
	struct http_head head;
	(void)state;
	assert_int_equal(request(&head, typical), HTTP_COMPLETE);
	check_typical(&head, typical);
}

/* One more byte each time, in memory that moves and ends where the bytes end. */
static void test_head_in_pieces(void **state)
{
	struct http_head head;
	size_t whole = sizeof(typical) - 1;
	(void)state;
	for (size_t step = 1; step < 40; step += 3) {
		http_head_start(&head);
		enum http_parse result = HTTP_MORE;
		char *copy = NULL;
		for (size_t size = step; result == HTTP_MORE; size += step) {
			size_t take = size < whole ? size : whole;
			free(copy);
			copy = malloc(take);
			memcpy(copy, typical, take);
			result = http_request_parse(&head, copy, take);
			assert_int_equal(result == HTTP_COMPLETE, take == whole);
		}
		assert_int_equal(result, HTTP_COMPLETE);
		check_typical(&head, copy);
		free(copy);
	}
}

static void test_every_well_known_name_is_found(void **state)
{
	static const char *const names[] = {
#define X(id, text, once) [HTTP_FIELD_##id] = text,
		HTTP_FIELD_TABLE(X)
#undef X
	};
	(void)state;
	for (unsigned id = 0; id < HTTP_FIELD_COUNT; id++) {
		char text[256];
		struct http_head head;
		snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%s: 7\r\n\r\n", names[id]);
		text[17] &= (char)~0x20; /* in any case */
		http_head_start(&head);
		http_response_parse(&head, text, strlen(text), false);
		assert_true(bytes_is(http_known(&head, text, id), "7"));
	}
}

static void test_bytes_after_the_head_are_left(void **state)
{
	struct http_head head;
	(void)state;
	static const char two[] = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n";
	assert_int_equal(request(&head, two), HTTP_COMPLETE);
	assert_int_equal(head.size, 29);
	assert_int_equal(head.body, HTTP_BODY_NONE);
}

static void test_start_lines(void **state)
{
	static const struct {
		const char *text;
		enum http_refusal refusal;
	} rows[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n",               HTTP_REFUSAL_NONE         },
		{"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",      HTTP_REFUSAL_NONE         },
		{"GET HTTPS://A:1/x HTTP/1.1\r\nHost: a:1\r\n\r\n", HTTP_REFUSAL_NONE         },
		{"GET / HTTP/1.0\r\n\r\n",                          HTTP_REFUSAL_NONE         },
		{"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",      HTTP_REFUSAL_HOST_MISMATCH},
		{"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",     HTTP_REFUSAL_TARGET       },
		{"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",        HTTP_REFUSAL_TARGET       },
		{"GET x HTTP/1.1\r\nHost: a\r\n\r\n",               HTTP_REFUSAL_TARGET       },
		{"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",            HTTP_REFUSAL_TARGET       },
		{"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",       HTTP_REFUSAL_TARGET       },
		{"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",           HTTP_REFUSAL_TARGET       },
		{"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",         HTTP_REFUSAL_CONNECT      },
		{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",           HTTP_REFUSAL_CONNECT      },
		{"GET  / HTTP/1.1\r\n\r\n",                         HTTP_REFUSAL_START_LINE   },
		{"GET /  HTTP/1.1\r\n\r\n",                         HTTP_REFUSAL_START_LINE   },
		{"GET / HTTP/1.1 \r\n\r\n",                         HTTP_REFUSAL_START_LINE   },
		{"GET /\r\n\r\n",				   HTTP_REFUSAL_START_LINE   },
		{" GET / HTTP/1.1\r\n\r\n",                         HTTP_REFUSAL_METHOD       },
		{"G@T / HTTP/1.1\r\n\r\n",                          HTTP_REFUSAL_METHOD       },
		{"\x16\x03\x01\x02",                                HTTP_REFUSAL_METHOD       },
		{"GET / HTTP/2.0\r\n\r\n",                          HTTP_REFUSAL_VERSION      },
		{"GET / HTTP/1.2\r\n\r\n",                          HTTP_REFUSAL_VERSION      },
		{"GET / http/1.1\r\n\r\n",                          HTTP_REFUSAL_START_LINE   },
		{"GET / HTTP/1.1\n\n",                              HTTP_REFUSAL_LINE_END     },
		{"GET / HTTP/1.1\rX\r\n\r\n",                       HTTP_REFUSAL_LINE_END     },
		{"\nGET / HTTP/1.1\r\n\r\n",                        HTTP_REFUSAL_LINE_END     },
		{"\r\n\r\nGET / HTTP/1.1\r\n\r\n",                  HTTP_REFUSAL_METHOD       },
	};
	struct http_head head;
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum http_parse result = request(&head, rows[i].text);
		bool good = rows[i].refusal == HTTP_REFUSAL_NONE;
		if (head.refusal != rows[i].refusal ||
		    result != (good ? HTTP_COMPLETE : HTTP_REFUSED))
			fail_msg("%s: %s", rows[i].text, http_refusal_text(head.refusal));
	}
}

static void test_fields(void **state)
{
	static const struct {
		const char *lines;
		enum http_refusal refusal;
	} rows[] = {
		{"A: b\r\n",						     HTTP_REFUSAL_NONE           },
		{"A:\xc3\xa9\t\xff\r\n",					 HTTP_REFUSAL_NONE           },
		{"A: b\n",						       HTTP_REFUSAL_LINE_END       },
		{"A: b\rc\r\n",						  HTTP_REFUSAL_LINE_END       },
		{"A: b\r\r\n",						   HTTP_REFUSAL_LINE_END       },
		{"A\r\n",							HTTP_REFUSAL_LINE_END       },
		{"A: b\r\n c\r\n",					       HTTP_REFUSAL_FOLDED         },
		{" A: b\r\n",						    HTTP_REFUSAL_FOLDED         },
		{"A : b\r\n",						    HTTP_REFUSAL_FIELD_NAME     },
		{": b\r\n",						      HTTP_REFUSAL_FIELD_NAME     },
		{"A(: b\r\n",						    HTTP_REFUSAL_FIELD_NAME     },
		{"A\xc3: b\r\n",						 HTTP_REFUSAL_FIELD_NAME     },
		{"A: 0123456789abcdef\x01\r\n",                                  HTTP_REFUSAL_FIELD_VALUE    },
		{"A: \x7f\r\n",						  HTTP_REFUSAL_FIELD_VALUE    },
		{"Host: a\r\n",						  HTTP_REFUSAL_HOST           },
		{"Content-Length: 5\r\n",                                        HTTP_REFUSAL_NONE           },
		{"Content-Length: 5\r\nContent-Length: 5\r\n",                   HTTP_REFUSAL_LENGTH_REPEATED},
		{"Content-Length: 5, 5\r\n",                                     HTTP_REFUSAL_LENGTH         },
		{"Content-Length: +5\r\n",                                       HTTP_REFUSAL_LENGTH         },
		{"Content-Length: -0\r\n",                                       HTTP_REFUSAL_LENGTH         },
		{"Content-Length: 0x5\r\n",                                      HTTP_REFUSAL_LENGTH         },
		{"Content-Length: 5 5\r\n",                                      HTTP_REFUSAL_LENGTH         },
		{"Content-Length:\r\n",					  HTTP_REFUSAL_LENGTH         },
		{"Content-Length: 12345678901\r\n",                              HTTP_REFUSAL_LENGTH         },
		{"Content-Length: 00000000005\r\n",                              HTTP_REFUSAL_LENGTH         },
		{"Transfer-Encoding: chunked\r\n",                               HTTP_REFUSAL_NONE           },
		{"Transfer-Encoding: Chunked\r\n",                               HTTP_REFUSAL_NONE           },
		{"Transfer-Encoding: gzip, chunked\r\n",                         HTTP_REFUSAL_CODING         },
		{"Transfer-Encoding: chunked, chunked\r\n",                      HTTP_REFUSAL_CODING         },
		{"Transfer-Encoding: chunked;a=b\r\n",                           HTTP_REFUSAL_CODING         },
		{"Transfer-Encoding: identity\r\n",                              HTTP_REFUSAL_CODING         },
		{"Transfer-Encoding:\r\n",                                       HTTP_REFUSAL_CODING         },
		{"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		 HTTP_REFUSAL_CODING									 },
		{"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
		 HTTP_REFUSAL_LENGTH_AND_CODING							      },
		{"Expect: 100-continue\r\nContent-Length: 1\r\n",                HTTP_REFUSAL_NONE           },
		{"Expect: 100-Continue, x\r\n",                                  HTTP_REFUSAL_EXPECT         },
		{"Expect: else\r\n",					     HTTP_REFUSAL_EXPECT         },
		{"Authorization: a\r\nAuthorization: a\r\n",                     HTTP_REFUSAL_CREDENTIALS    },
		{"x-api-key: a\r\nX-Api-Key: b\r\n",                             HTTP_REFUSAL_CREDENTIALS    },
		{"Content-Type: a\r\nContent-Type: b\r\n",                       HTTP_REFUSAL_REPEATED       },
		{"Connection: close, host\r\n",                                  HTTP_REFUSAL_CONNECTION     },
		{"Connection: keep-alive\r\nConnection: Content-Length\r\n",
		 HTTP_REFUSAL_CONNECTION								     },
		{"Connection: upgrade, te\r\n",                                  HTTP_REFUSAL_NONE           },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum http_refusal refusal = refusal_of(rows[i].lines);
		if (refusal != rows[i].refusal)
			fail_msg("%s: %s", rows[i].lines, http_refusal_text(refusal));
	}
}

static void test_nul_in_a_value(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n";
	struct http_head head;
	(void)state;
	http_head_start(&head);
	assert_int_equal(http_request_parse(&head, text, sizeof(text) - 1), HTTP_REFUSED);
	assert_int_equal(head.refusal, HTTP_REFUSAL_FIELD_VALUE);
}

static void test_host(void **state)
{
	static const char *const good[] = {"a",     "a.b-c_d:80", "127.0.0.1:1",
					   "[::1]", "[::1]:8080", "a:65535"};
	static const char *const bad[] = {"",    "a b",  "a/b", "a:",    "a:x", "a:65536",
					  "u@a", "[::1", "[]",  "[::g]", "a,b", "a:1:2"};
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(http_is_authority(bytes_from(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(http_is_authority(bytes_from(bad[i])));
	struct http_head head;
	assert_int_equal(request(&head, "GET / HTTP/1.1\r\n\r\n"), HTTP_REFUSED);
	assert_int_equal(head.refusal, HTTP_REFUSAL_HOST);
}

static void test_keep_alive_and_expect(void **state)
{
	static const struct {
		const char *text;
		bool keep_alive, expect;
	} rows[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n",                                                true,  false},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",                        false, false},
		{"GET / HTTP/1.0\r\nHost: a\r\n\r\n",                                                false, false},
		{"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",                      true,  false},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
		 false,										     false},
		{"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n",
		 true,										      true },
		{"PUT / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
		 false,										     false},
	};
	struct http_head head;
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(request(&head, rows[i].text), HTTP_COMPLETE);
		assert_int_equal(head.keep_alive, rows[i].keep_alive);
		assert_int_equal(head.expect_continue, rows[i].expect);
	}
	assert_int_equal(request(&head, "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
			 HTTP_REFUSED);
	assert_int_equal(head.refusal, HTTP_REFUSAL_CODING_OLD);
}

static void test_limits(void **state)
{
	struct http_head head;
	struct buf text = BUF_INIT(1 << 20);
	(void)state;
	for (unsigned fields = 63; fields <= 64; fields++) { /* beside Host */
		buf_clear(&text);
		buf_append_cstr(&text, "GET / HTTP/1.1\r\nHost: a\r\n");
		for (unsigned i = 0; i < fields; i++)
			buf_append_cstr(&text, "X: y\r\n");
		buf_append_cstr(&text, "\r\n");
		assert_int_equal(request(&head, text.data),
				 fields == 63 ? HTTP_COMPLETE : HTTP_REFUSED);
	}
	assert_int_equal(head.refusal, HTTP_REFUSAL_TOO_MANY_FIELDS);
	buf_clear(&text);
	buf_append_cstr(&text, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
	while (text.size < HTTP_HEAD_MAX - 1)
		buf_append_char(&text, 'y');
	assert_int_equal(request(&head, text.data), HTTP_MORE);
	buf_append_char(&text, 'y');
	assert_int_equal(request(&head, text.data), HTTP_REFUSED);
	assert_int_equal(head.refusal, HTTP_REFUSAL_HEAD_TOO_LARGE);
	buf_clear(&text);
	buf_append_cstr(&text, "GET /");
	while (text.size < HTTP_TARGET_MAX + 5)
		buf_append_char(&text, 'y');
	assert_int_equal(request(&head, text.data), HTTP_REFUSED);
	assert_int_equal(head.refusal, HTTP_REFUSAL_TARGET_TOO_LONG);
	assert_int_equal(http_refusal_status(head.refusal), 414);
	buf_release(&text);
}

static void test_responses(void **state)
{
	static const struct {
		const char *text;
		bool head_only;
		enum http_body_kind body;
		bool keep_alive;
	} rows[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",           false, HTTP_BODY_LENGTH,      true },
		{"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n",     false, HTTP_BODY_CHUNKED,
		 true											 },
		{"HTTP/1.1 200 \r\n\r\n",                                  false, HTTP_BODY_UNTIL_CLOSE, false},
		{"HTTP/1.0 200 OK\r\n\r\n",                                false, HTTP_BODY_UNTIL_CLOSE, false},
		{"HTTP/1.1 204 No Content\r\n\r\n",                        false, HTTP_BODY_NONE,        true },
		{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, HTTP_BODY_NONE,
		 true											 },
		{"HTTP/1.1 100 Continue\r\n\r\n",                          false, HTTP_BODY_NONE,        true },
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",           true,  HTTP_BODY_NONE,        true },
		{"HTTP/1.1 429 Too\tMany \xc3\xa9\r\nContent-Length: 5\r\nConnection: "
		 "close\r\n\r\n",			 false, HTTP_BODY_LENGTH,      false},
	};
	struct http_head head;
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		http_head_start(&head);
		assert_int_equal(http_response_parse(&head, rows[i].text, strlen(rows[i].text),
						     rows[i].head_only),
				 HTTP_COMPLETE);
		assert_int_equal(head.body, rows[i].body);
		assert_int_equal(head.keep_alive, rows[i].keep_alive);
	}
	assert_int_equal(head.status, 429);
}

static void test_bad_responses(void **state)
{
	static const struct {
		const char *text;
		enum http_refusal refusal;
	} rows[] = {
		{"HTTP/1.1 \r\nA: b\r\n\r\n",						  HTTP_REFUSAL_STATUS    },
		{"HTTP/1.1 20 OK\r\n\r\n",						     HTTP_REFUSAL_STATUS    },
		{"HTTP/1.1 099 OK\r\n\r\n",						    HTTP_REFUSAL_STATUS    },
		{"HTTP/1.1 600 OK\r\n\r\n",						    HTTP_REFUSAL_STATUS    },
		{"HTTP/1.1 2000 OK\r\n\r\n",						   HTTP_REFUSAL_STATUS    },
		{"HTTP/1.1  200 OK\r\n\r\n",						   HTTP_REFUSAL_STATUS    },
		{"HTTP/1.1\r\n\r\n",							   HTTP_REFUSAL_START_LINE},
		{"ICY 200 OK\r\n\r\n",							 HTTP_REFUSAL_START_LINE},
		{"\r\nHTTP/1.1 200 OK\r\n\r\n",						HTTP_REFUSAL_START_LINE},
		{"HTTP/2 200\r\n\r\n",							 HTTP_REFUSAL_VERSION   },
		{"HTTP/1.1 200 OK\n\n",							HTTP_REFUSAL_LINE_END  },
		{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		 HTTP_REFUSAL_LENGTH_AND_CODING								       },
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",                         HTTP_REFUSAL_CODING    },
	};
	struct http_head head;
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		http_head_start(&head);
		assert_int_equal(
			http_response_parse(&head, rows[i].text, strlen(rows[i].text), false),
			HTTP_REFUSED);
		if (head.refusal != rows[i].refusal)
			fail_msg("%s: %s", rows[i].text, http_refusal_text(head.refusal));
		/* The same where it comes byte by byte. */
		http_head_start(&head);
		size_t size = 1;
		while (http_response_parse(&head, rows[i].text, size, false) == HTTP_MORE)
			assert_true(++size <= strlen(rows[i].text));
		assert_int_equal(head.refusal, rows[i].refusal);
	}
}

static void test_credentials(void **state)
{
	static const struct {
		const char *lines, *key; /* NULL: none */
		bool good;
	} rows[] = {
		{"X-Api-Key: k\r\n",                                "k",  true },
		{"Authorization: bearer  k\r\n",                    "k",  true },
		{"x-goog-api-key: k\r\n",                           "k",  true },
		{"Authorization: Basic abc\r\n",                    NULL, true },
		{"Authorization: Bearer k\r\nx-api-key: k\r\n",     "k",  true },
		{"Authorization: Bearer k\r\nx-api-key: other\r\n", NULL, false},
		{"x-goog-api-key: k\r\nx-api-key: k\r\n",           "k",  true },
		{"x-goog-api-key: k\r\nx-api-key: K\r\n",           NULL, false},
		{"Authorization: Basic k\r\nx-api-key: k\r\n",      NULL, false},
		{"Authorization: k\r\nx-goog-api-key: k\r\n",       NULL, false},
		{"Authorization: Bearer\r\nx-api-key: k\r\n",       NULL, false},
		{"Authorization:\r\nx-api-key: k\r\n",              NULL, false},
		{"Authorization: Bearer k\r\nx-api-key:\r\n",       NULL, false},
		{"Accept: */*\r\n",                                 NULL, true },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[512];
		struct http_head head;
		struct bytes key = {0};
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", rows[i].lines);
		assert_int_equal(request(&head, text), HTTP_COMPLETE);
		assert_int_equal(http_credential(&head, text, &key), rows[i].good);
		if (rows[i].key)
			assert_true(bytes_is(key, rows[i].key));
		else
			assert_true(!rows[i].good || key.data == NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_typical_request),
		cmocka_unit_test(test_head_in_pieces),
		cmocka_unit_test(test_every_well_known_name_is_found),
		cmocka_unit_test(test_bytes_after_the_head_are_left),
		cmocka_unit_test(test_start_lines),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_nul_in_a_value),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_keep_alive_and_expect),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_bad_responses),
		cmocka_unit_test(test_credentials),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
