#include "base/buf.h"
#include "proto/chunked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static enum http_body_event decode(const char *text, size_t size, size_t step, struct buf *out,
				   struct chunked *chunked)
{
	enum http_body_event event = HTTP_BODY_MORE;
	chunked_start(chunked);
	buf_clear(out);
	for (size_t at = 0; at < size && event == HTTP_BODY_MORE; at += step) {
		size_t take = size - at < step ? size - at : step, used, decoded;
		char *copy = malloc(take);
		memcpy(copy, text + at, take);
		event = chunked_decode(chunked, copy, take, &used, &decoded);
		buf_append(out, copy, decoded);
		free(copy);
	}
	return event;
}

static void test_good_bodies_for_every_split(void **state)
{
	static const struct {
		const char *coded, *plain;
	} rows[] = {
		{"0\r\n\r\n",							    ""                    },
		{"5\r\nhello\r\n0\r\n\r\n",					      "hello"               },
		{"00000003\r\nabc\r\n1;x=y\r\nd\r\n0;z\r\nTrailer: v\r\nOther:\r\n\r\n", "abcd"                },
		{"A\r\n0123456789\r\na\r\nabcdefghij\r\n000\r\n\r\n",                    "0123456789abcdefghij"},
		{"4\r\n\r\n\r\n\r\n0\r\n\r\n",                                           "\r\n\r\n"            },
	};
	struct buf out = BUF_INIT(4096);
	struct chunked chunked;
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t step = 1; step <= strlen(rows[i].coded); step++) {
			assert_int_equal(
				decode(rows[i].coded, strlen(rows[i].coded), step, &out, &chunked),
				HTTP_BODY_DONE);
			assert_true(bytes_is(buf_bytes(&out), rows[i].plain));
		}
	buf_release(&out);
}

static void test_bad_bodies(void **state)
{
	static const struct {
		const char *coded;
		enum http_refusal refusal;
	} rows[] = {
		{"\r\n",								    HTTP_REFUSAL_CHUNK_SIZE     },
		{"g\r\n",								   HTTP_REFUSAL_CHUNK_SIZE     },
		{" 5\r\nhello\r\n",							 HTTP_REFUSAL_CHUNK_SIZE     },
		{"5 \r\nhello\r\n",							 HTTP_REFUSAL_CHUNK_SIZE     },
		{"0x5\r\nhello\r\n",							HTTP_REFUSAL_CHUNK_SIZE     },
		{"-5\r\nhello\r\n",							 HTTP_REFUSAL_CHUNK_SIZE     },
		{"000000005\r\nhello\r\n",						  HTTP_REFUSAL_CHUNK_SIZE     },
		{"5\nhello\r\n",							    HTTP_REFUSAL_CHUNK_SIZE     },
		{"5\rhello",								HTTP_REFUSAL_CHUNK_END      },
		{"5\r\nhello0\r\n\r\n",						     HTTP_REFUSAL_CHUNK_END      },
		{"5\r\nhello\n0\r\n\r\n",						   HTTP_REFUSAL_CHUNK_END      },
		{"5\r\nhello\r0\r\n\r\n",						   HTTP_REFUSAL_CHUNK_END      },
		{"5;a=\"b\"\r\nhello",						      HTTP_REFUSAL_CHUNK_EXTENSION},
		{"5;a\nhello",							      HTTP_REFUSAL_CHUNK_EXTENSION},
		{"5;01234567890123456789012345678901234567890123456789012345678901234\r\n",
		 HTTP_REFUSAL_CHUNK_EXTENSION									   },
		{"0\r\nbad name: x\r\n\r\n",						HTTP_REFUSAL_TRAILER        },
		{"0\r\n folded\r\n\r\n",						    HTTP_REFUSAL_TRAILER        },
		{"0\r\n: x\r\n\r\n",							HTTP_REFUSAL_TRAILER        },
		{"0\r\nnocolon\r\n\r\n",						    HTTP_REFUSAL_TRAILER        },
		{"0\r\na: b\n\r\n",							 HTTP_REFUSAL_TRAILER        },
		{"0\r\na: b\rc",							    HTTP_REFUSAL_TRAILER        },
		{"0\r\n\rx",								HTTP_REFUSAL_TRAILER        },
	};
	struct buf out = BUF_INIT(4096);
	struct chunked chunked;
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(decode(rows[i].coded, strlen(rows[i].coded), 3, &out, &chunked),
				 HTTP_BODY_REFUSED);
		if (chunked.refusal != rows[i].refusal)
			fail_msg("%s: %s", rows[i].coded, http_refusal_text(chunked.refusal));
	}
	buf_release(&out);
}

static void test_trailers_are_bounded(void **state)
{
	struct buf coded = BUF_INIT(65536), out = BUF_INIT(64);
	struct chunked chunked;
	(void)state;
	buf_append_cstr(&coded, "0\r\n");
	for (unsigned i = 0; i < 1000; i++)
		buf_append_cstr(&coded, "a: b\r\n");
	buf_append_cstr(&coded, "\r\n");
	assert_int_equal(decode(coded.data, coded.size, 100, &out, &chunked), HTTP_BODY_REFUSED);
	assert_int_equal(chunked.refusal, HTTP_REFUSAL_TRAILER);
	buf_release(&coded);
	buf_release(&out);
}

static void test_stops_at_the_end(void **state)
{
	static const char text[] = "1\r\nx\r\n0\r\n\r\nHTTP/1.1 200 OK";
	char copy[sizeof(text)];
	struct chunked chunked;
	size_t used, decoded;
	(void)state;
	memcpy(copy, text, sizeof(text));
	chunked_start(&chunked);
	assert_int_equal(chunked_decode(&chunked, copy, sizeof(text) - 1, &used, &decoded),
			 HTTP_BODY_DONE);
	assert_int_equal(used, 11);
	assert_int_equal(decoded, 1);
}

static void test_written_sizes_are_read_back(void **state)
{
	static const size_t sizes[] = {1, 15, 16, 255, 65536, 0x7fffffff};
	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char line[18], wanted[32];
		size_t length = chunked_write_size(line, sizes[i]);
		snprintf(wanted, sizeof(wanted), "%zx\r\n", sizes[i]);
		assert_true(bytes_is(bytes_of(line, length), wanted));
	}
}

/* ---- bodies ---- */

static struct http_body body_of(enum http_body_kind kind, uint64_t length)
{
	struct http_head head;
	struct http_body body;
	http_head_start(&head);
	head.body = kind;
	head.content_length = length;
	http_body_start(&body, &head);
	return body;
}

static void test_body_by_length(void **state)
{
	struct http_body body = body_of(HTTP_BODY_LENGTH, 5);
	struct bytes piece;
	size_t used;
	(void)state;
	assert_int_equal(http_body_next(&body, "abc", 3, &used, &piece), HTTP_BODY_PIECE);
	assert_int_equal(used, 3);
	assert_int_equal(http_body_next(&body, "", 0, &used, &piece), HTTP_BODY_MORE);
	assert_false(http_body_closed(&body));
	assert_int_equal(http_body_next(&body, "deXX", 4, &used, &piece), HTTP_BODY_PIECE);
	assert_int_equal(used, 2);
	assert_true(bytes_is(piece, "de"));
	assert_int_equal(http_body_next(&body, "XX", 2, &used, &piece), HTTP_BODY_DONE);
	assert_int_equal(used, 0);
}

static void test_other_bodies(void **state)
{
	struct bytes piece;
	size_t used;
	(void)state;
	struct http_body none = body_of(HTTP_BODY_NONE, 0);
	assert_int_equal(http_body_next(&none, "x", 1, &used, &piece), HTTP_BODY_DONE);
	assert_int_equal(used, 0);
	struct http_body open = body_of(HTTP_BODY_UNTIL_CLOSE, 0);
	assert_int_equal(http_body_next(&open, "xy", 2, &used, &piece), HTTP_BODY_PIECE);
	assert_int_equal(http_body_next(&open, "", 0, &used, &piece), HTTP_BODY_MORE);
	assert_true(http_body_closed(&open));
	struct http_body chunks = body_of(HTTP_BODY_CHUNKED, 0);
	assert_int_equal(http_body_next(&chunks, "2\r\nab", 5, &used, &piece), HTTP_BODY_PIECE);
	assert_true(bytes_is(piece, "ab"));
	assert_int_equal(http_body_next(&chunks, "\r\n", 2, &used, &piece), HTTP_BODY_MORE);
	assert_false(http_body_closed(&chunks));
	assert_int_equal(http_body_next(&chunks, "x", 1, &used, &piece), HTTP_BODY_REFUSED);
	assert_int_equal(http_body_refusal(&chunks), HTTP_REFUSAL_CHUNK_SIZE);
	assert_int_equal(http_body_next(&chunks, "0", 1, &used, &piece), HTTP_BODY_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_bodies_for_every_split),
		cmocka_unit_test(test_bad_bodies),
		cmocka_unit_test(test_trailers_are_bounded),
		cmocka_unit_test(test_stops_at_the_end),
		cmocka_unit_test(test_written_sizes_are_read_back),
		cmocka_unit_test(test_body_by_length),
		cmocka_unit_test(test_other_bodies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
