/* What may not be, row by row: each message is refused for the reason of its row, whether its bytes
 * come at once or one by one. */
#include "proto/chunked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct row {
	const char *name;
	const char *text; /* may hold NUL bytes: see size */
	size_t size;
	enum http_refusal refusal; /* NONE: taken */
};

#define ROW(name, text, refusal)                                     \
	{                                                            \
		name, text, sizeof(text) - 1, HTTP_REFUSAL_##refusal \
	}
#define POST(name, fields, refusal) \
	ROW(name, "POST /v1/messages HTTP/1.1\r\nHost: a\r\n" fields "\r\n", refusal)
#define GET(name, line, fields, refusal) ROW(name, line "\r\n" fields "\r\n", refusal)
#define ANSWER(name, fields, refusal) ROW(name, "HTTP/1.1 200 OK\r\n" fields "\r\n", refusal)

static const struct row requests[] = {
	POST("length and coding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
	     LENGTH_AND_CODING),
	POST("coding and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
	     LENGTH_AND_CODING),
	POST("two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n", LENGTH_REPEATED),
	POST("two lengths in one field", "Content-Length: 5, 5\r\n", LENGTH),
	POST("signed length", "Content-Length: +5\r\n", LENGTH),
	POST("hexadecimal length", "Content-Length: 0x5\r\n", LENGTH),
	POST("length with an underscore", "Content-Length: 1_0\r\n", LENGTH),
	POST("empty length", "Content-Length:\r\n", LENGTH),
	POST("length of eleven digits", "Content-Length: 00000000005\r\n", LENGTH),
	POST("length with a vertical tab", "Content-Length: \v5\r\n", FIELD_VALUE),
	POST("other coding", "Transfer-Encoding: gzip\r\n", CODING),
	POST("two codings", "Transfer-Encoding: gzip, chunked\r\n", CODING),
	POST("coding with a parameter", "Transfer-Encoding: chunked;q=1\r\n", CODING),
	POST("two coding fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
	     CODING),
	POST("identity", "Transfer-Encoding: identity\r\n", CODING),
	POST("coding in quotes", "Transfer-Encoding: \"chunked\"\r\n", CODING),
	POST("empty coding", "Transfer-Encoding:\r\n", CODING),
	GET("coding in HTTP/1.0", "POST / HTTP/1.0", "Host: a\r\nTransfer-Encoding: chunked\r\n",
	    CODING_OLD),
	ROW("bare LF after the line", "GET / HTTP/1.1\nHost: a\r\n\r\n", LINE_END),
	POST("bare LF in a field", "A: b\nC: d\r\n", LINE_END),
	POST("bare CR in a field", "A: b\rC: d\r\n", LINE_END),
	POST("CR CR LF", "A: b\r\r\n", LINE_END),
	POST("NUL in a value", "A: b\0c\r\n", FIELD_VALUE),
	POST("control byte in a value", "A: b\x01\r\n", FIELD_VALUE),
	POST("DEL in a value", "A: b\x7f\r\n", FIELD_VALUE),
	POST("NUL in a name", "A\0b: c\r\n", FIELD_NAME),
	POST("fold by a space", "A: b\r\n c\r\n", FOLDED),
	POST("fold by a tab", "A: b\r\n\tc\r\n", FOLDED),
	GET("space before the first field", "GET / HTTP/1.1", " Host: a\r\n", FOLDED),
	POST("space before the colon", "Content-Length : 5\r\n", FIELD_NAME),
	POST("tab before the colon", "Content-Length\t: 5\r\n", FIELD_NAME),
	POST("empty name", ": b\r\n", FIELD_NAME),
	POST("name with a parenthesis", "A(b: c\r\n", FIELD_NAME),
	POST("name beyond ASCII", "\xc3\x84: b\r\n", FIELD_NAME),
	POST("no colon", "Abc\r\n", LINE_END),
	GET("two spaces", "GET  / HTTP/1.1", "Host: a\r\n", START_LINE),
	GET("tab for a space", "GET\t/ HTTP/1.1", "Host: a\r\n", METHOD),
	GET("target beyond ASCII", "GET /\xc3\xa4 HTTP/1.1", "Host: a\r\n", TARGET),
	GET("fragment", "GET /a#b HTTP/1.1", "Host: a\r\n", TARGET),
	GET("HTTP/0.9", "GET /", "Host: a\r\n", START_LINE),
	GET("HTTP/2.0", "GET / HTTP/2.0", "Host: a\r\n", VERSION),
	GET("HTTP/1.1 and more", "GET / HTTP/1.10", "Host: a\r\n", START_LINE),
	GET("lower-case version", "GET / http/1.1", "Host: a\r\n", START_LINE),
	GET("no host", "GET / HTTP/1.1", "A: b\r\n", HOST),
	GET("two hosts", "GET / HTTP/1.1", "Host: a\r\nHost: a\r\n", HOST),
	GET("empty host", "GET / HTTP/1.1", "Host:\r\n", HOST),
	GET("host with a path", "GET / HTTP/1.1", "Host: a/b\r\n", HOST),
	GET("host with a user", "GET / HTTP/1.1", "Host: u@a\r\n", HOST),
	GET("host list", "GET / HTTP/1.1", "Host: a, b\r\n", HOST),
	GET("other host in the URL", "GET http://b/ HTTP/1.1", "Host: a\r\n", HOST_MISMATCH),
	GET("authority form", "GET a:80 HTTP/1.1", "Host: a\r\n", TARGET),
	GET("CONNECT", "CONNECT a:80 HTTP/1.1", "Host: a\r\n", CONNECT),
	GET("asterisk", "OPTIONS * HTTP/1.1", "Host: a\r\n", CONNECT),
	POST("unknown expectation", "Expect: 200-ok\r\n", EXPECT),
	POST("two expectations", "Expect: 100-continue\r\nExpect: 100-continue\r\n", EXPECT),
	POST("Connection names Host", "Connection: Host\r\n", CONNECTION),
	POST("Connection names the length", "Connection: close, content-length\r\n", CONNECTION),
	POST("Connection names a credential", "Connection: authorization\r\n", CONNECTION),
	POST("Connection names what is passed on", "Connection: close, Anthropic-Beta\r\n",
	     CONNECTION),
	POST("Connection names the run", "Connection: parley-run\r\n", CONNECTION),
	POST("a second Connection does", "Connection: close\r\nConnection: x-api-key\r\n",
	     CONNECTION),
	POST("two Authorization", "Authorization: Bearer a\r\nAuthorization: Bearer a\r\n",
	     CREDENTIALS),
	POST("two x-api-key", "X-Api-Key: a\r\nx-api-key: b\r\n", CREDENTIALS),
	POST("two x-goog-api-key", "x-goog-api-key: a\r\nx-goog-api-key: a\r\n", CREDENTIALS),
	/* Ignored, never forwarded. */
	POST("Upgrade is ignored", "Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\n", NONE),
	POST("TE is ignored", "TE: trailers\r\nConnection: te\r\n", NONE),
	POST("Proxy fields are ignored", "Proxy-Connection: keep-alive\r\n", NONE),
	POST("100-continue", "Expect: 100-Continue\r\nContent-Length: 5\r\n", NONE),
};

static const struct row responses[] = {
	ANSWER("length and coding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
	       LENGTH_AND_CODING),
	ANSWER("two lengths", "Content-Length: 5\r\nContent-Length: 5\r\n", LENGTH_REPEATED),
	ANSWER("length list", "Content-Length: 5, 5\r\n", LENGTH),
	ANSWER("signed length", "Content-Length: -5\r\n", LENGTH),
	ANSWER("other coding", "Transfer-Encoding: gzip, chunked\r\n", CODING),
	ROW("coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	    CODING_OLD),
	ROW("bare LF", "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n", LINE_END),
	ANSWER("fold", "A: b\r\n c\r\n", FOLDED),
	ANSWER("space before the colon", "Content-Length : 5\r\n", FIELD_NAME),
	ANSWER("NUL", "A: b\0\r\n", FIELD_VALUE),
	ROW("NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n", START_LINE),
	ROW("status of two digits", "HTTP/1.1 20 OK\r\n\r\n", STATUS),
	ROW("status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", STATUS),
	ROW("status 600", "HTTP/1.1 600 OK\r\n\r\n", STATUS),
	ROW("status 000", "HTTP/1.1 000 OK\r\n\r\n", STATUS),
	ROW("HTTP/2", "HTTP/2 200 OK\r\n\r\n", VERSION),
	ROW("empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", START_LINE),
};

/* Bodies after a head that says "chunked", the same on both sides. */
static const struct row bodies[] = {
	ROW("0x size", "0x5\r\nhello\r\n", CHUNK_SIZE),
	ROW("signed size", "+5\r\nhello\r\n", CHUNK_SIZE),
	ROW("size with an underscore", "1_0\r\nhello\r\n", CHUNK_SIZE),
	ROW("no size", "\r\nhello\r\n", CHUNK_SIZE),
	ROW("size of nine digits", "000000005\r\nhello\r\n", CHUNK_SIZE),
	ROW("space after the size", "5 \r\nhello\r\n", CHUNK_SIZE),
	ROW("bare LF after the size", "5\nhello\r\n", CHUNK_SIZE),
	ROW("bare CR after the size", "5\rhello\r\n", CHUNK_END),
	ROW("no CR LF after the data", "5\r\nhello0\r\n\r\n", CHUNK_END),
	ROW("LF after the data", "5\r\nhello\n0\r\n\r\n", CHUNK_END),
	ROW("quoted extension", "5;a=\"b\"\r\nhello\r\n", CHUNK_EXTENSION),
	ROW("LF in an extension", "5;a\nhello\r\n", CHUNK_EXTENSION),
	ROW("endless extension",
	    "5;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
	    CHUNK_EXTENSION),
	ROW("trailer with a space before the colon", "0\r\nA : b\r\n\r\n", TRAILER),
	ROW("folded trailer", "0\r\nA: b\r\n c\r\n\r\n", TRAILER),
	ROW("NUL in a trailer", "0\r\nA: \0\r\n\r\n", TRAILER),
	ROW("LF after a trailer", "0\r\nA: b\n\r\n", TRAILER),
	ROW("trailer without a name", "0\r\n: b\r\n\r\n", TRAILER),
	ROW("extension and trailer", "5;a=b\r\nhello\r\n0;c\r\nA: b\r\n\r\n", NONE),
};

static enum http_refusal parse(const struct row *row, bool request, size_t step)
{
	struct http_head head;
	http_head_start(&head);
	for (size_t size = step; size <= row->size; size += step) {
		enum http_parse result =
			request ? http_request_parse(&head, row->text, size)
				: http_response_parse(&head, row->text, size, false);
		if (result == HTTP_REFUSED)
			return head.refusal;
		if (result == HTTP_COMPLETE) {
			assert_int_equal(head.size, row->size);
			return HTTP_REFUSAL_NONE;
		}
	}
	fail_msg("%s: not decided at its end", row->name);
	return HTTP_REFUSAL_NONE;
}

static void check(const struct row *row, enum http_refusal refusal)
{
	if (refusal != row->refusal)
		fail_msg("%s: \"%s\" instead of \"%s\"", row->name, http_refusal_text(refusal),
			 http_refusal_text(row->refusal));
	if (refusal != HTTP_REFUSAL_NONE)
		assert_in_range(http_refusal_status(refusal), 400, 505);
}

static void every_row_of_a_request(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(requests); i++) {
		check(&requests[i], parse(&requests[i], true, requests[i].size));
		check(&requests[i], parse(&requests[i], true, 1));
	}
}

static void every_row_of_a_response(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(responses); i++) {
		check(&responses[i], parse(&responses[i], false, responses[i].size));
		check(&responses[i], parse(&responses[i], false, 1));
	}
}

static enum http_refusal decode(const struct row *row, size_t step)
{
	struct chunked chunked;
	enum http_body_event event = HTTP_BODY_MORE;
	chunked_start(&chunked);
	for (size_t at = 0; at < row->size && event == HTTP_BODY_MORE; at += step) {
		char piece[256];
		size_t used, decoded;
		memcpy(piece, row->text + at, step);
		event = chunked_decode(&chunked, piece, step, &used, &decoded);
	}
	assert_int_not_equal(event, HTTP_BODY_MORE);
	return chunked.refusal;
}

static void every_row_of_a_body(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bodies); i++) {
		check(&bodies[i], decode(&bodies[i], bodies[i].size));
		check(&bodies[i], decode(&bodies[i], 1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_of_a_request),
		cmocka_unit_test(every_row_of_a_response),
		cmocka_unit_test(every_row_of_a_body),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
