#include "proto/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Every event as "name|data|" with its bytes in the stream checked, for pieces of one size. */
static void read_all(struct bytes text, size_t step, size_t max, struct buf *out)
{
	struct sse sse;
	struct sse_event event;
	uint64_t last_end = 0;
	sse_init(&sse, max);
	buf_clear(out);
	for (size_t at = 0; at < text.size; at += step) {
		size_t size = text.size - at < step ? text.size - at : step, done = 0, used;
		char *copy = malloc(size);
		memcpy(copy, text.data + at, size);
		while (sse_next(&sse, copy + done, size - done, &used, &event)) {
			done += used;
			assert_int_equal(event.end, at + done);
			assert_true(event.begin >= last_end && event.begin < event.end);
			last_end = event.end;
			buf_printf(out, "%.*s|", BYTES_ARG(event.name));
			buf_append_bytes(out, event.data);
			buf_append_cstr(out, event.oversized ? "!|" : event.has_data ? "|" : "-|");
		}
		assert_int_equal(done + used, size);
		free(copy);
	}
	sse_release(&sse);
}

static const struct {
	const char *stream, *events;
} rows[] = {
	{"data: a\n\n",						   "|a|"                        },
	{"data:a\n\ndata:  b\n\n",					"|a|| b|"                    },
	{"event: x\ndata: 1\n\n",					 "x|1|"                       },
	{"data: 1\nevent: x\n\ndata: 2\n\n",                              "x|1||2|"                    },
	{"event: x\nevent: y\ndata: 1\n\n",                               "y|1|"                       },
	{"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n",                     "|a\nb||c|"                  },
	{"data: a\rdata: b\r\rdata: c\r\r",                               "|a\nb||c|"                  },
	{"data: a\r\n\ndata: b\n\r\n",                                    "|a||b|"                     },
	{"\xef\xbb\xbf"
	 "data: a\n\n",					  "|a|"			},
	{"\xef\xbb"
	 "data: a\n\ndata: b\n\n",			       "|-||b|"		     },
	{"data: \xef\xbb\xbf\n\n",					"|\xef\xbb\xbf|"             },
	{": ping\n\ndata: a\n\n",					 "|a|"                        },
	{": ping\ndata: a\n: ping\n\n:\r:\r\n:\n\n",                      "|a|"                        },
	{": ping\nevent: x\n: ping\ndata: a\n\n",                         "x|a|"                       },
	{": ping\n: cut off",					     ""                           },
	{"event: ping\n\n",					       "ping|-|"                    },
	{"data\n\n",						      "||"			 },
	{"data:\n\n",						     "||"                         },
	{"data\ndata\n\n",						"|\n|"                       },
	{"data:\ndata: x\ndata:\n\n",                                     "|\nx\n|"                    },
	{"id: 1\nretry: 5\ndatum: no\ndata: yes\nlong-field-name: v\n\n", "|yes|"                      },
	{"DATA: no\n\n",						  "|-|"                        },
	{"data : no\n\n",						 "|-|"                        },
	{"\n\n\ndata: a\n\n\n\n",					 "|a|"                        },
	{"data: cut off",						 ""                           },
	{"data: cut off\n",					       ""                           },
	{"data: {\"a\":\"data: b\\n\\n\"}\n\n",                           "|{\"a\":\"data: b\\n\\n\"}|"},
};

static void test_streams_for_every_split(void **state)
{
	struct buf out = BUF_INIT(4096);
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes text = bytes_from(rows[i].stream);
		for (size_t step = 1; step <= text.size; step++) {
			read_all(text, step, 1024, &out);
			if (!bytes_is(buf_bytes(&out), rows[i].events))
				fail_msg("row %zu in pieces of %zu: %s", i, step, out.data);
		}
	}
	buf_release(&out);
}

static void test_large_events_are_reported_without_data(void **state)
{
	struct buf out = BUF_INIT(4096);
	(void)state;
	for (size_t step = 1; step < 40; step++) {
		read_all(BYTES("data: 123456789\n\ndata: 12345678\n\ndata: 1234\ndata: 567\n\n"
			       "data: 1234\ndata: 5678\n\n"),
			 step, 8, &out);
		assert_true(bytes_is(buf_bytes(&out), "|!||12345678||1234\n567||!|"));
	}
	buf_release(&out);
}

static void test_name_is_cut(void **state)
{
	struct buf text = BUF_INIT(4096), out = BUF_INIT(4096);
	(void)state;
	buf_append_cstr(&text, "event: ");
	for (unsigned i = 0; i < 300; i++)
		buf_append_char(&text, 'x');
	buf_append_cstr(&text, "\ndata: 1\n\n");
	read_all(buf_bytes(&text), 11, 64, &out);
	assert_int_equal(out.size, SSE_NAME_MAX + strlen("|1|"));
	buf_release(&text);
	buf_release(&out);
}

static void test_whole_event_is_not_copied(void **state)
{
	static const char text[] = "data: in place\n\n";
	struct sse sse;
	struct sse_event event;
	size_t used;
	(void)state;
	sse_init(&sse, 64);
	assert_true(sse_next(&sse, text, sizeof(text) - 1, &used, &event));
	assert_ptr_equal(event.data.data, text + 6);
	assert_null(sse.data.data);
	assert_true(sse_at_boundary(&sse));
	assert_false(sse_next(&sse, "data", 4, &used, &event));
	assert_false(sse_at_boundary(&sse));
	sse_release(&sse);
}

/* A comment is over with its line, and no part of the event behind it. */
static void test_comments_stand_between_events(void **state)
{
	static const char *const ends[] = {"\n", "\r\n", "\r"};
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char text[64];
		struct sse sse;
		struct sse_event event;
		size_t used;
		sse_init(&sse, 64);
		int comment = snprintf(text, sizeof(text), ": ping%s", ends[i]);
		for (int at = 0; at < comment; at++) {
			assert_false(sse_next(&sse, text + at, 1, &used, &event));
			if (at >= 6)
				assert_true(sse_at_boundary(&sse));
			else
				assert_false(sse_at_boundary(&sse));
		}
		int size = snprintf(text, sizeof(text), "data: a%s: ping%s%s", ends[i], ends[i],
				    ends[i]);
		assert_true(sse_next(&sse, text, (size_t)size, &used, &event));
		assert_int_equal(event.begin, comment);
		assert_int_equal(event.end, comment + size);
		sse_release(&sse);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams_for_every_split),
		cmocka_unit_test(test_large_events_are_reported_without_data),
		cmocka_unit_test(test_name_is_cut),
		cmocka_unit_test(test_comments_stand_between_events),
		cmocka_unit_test(test_whole_event_is_not_copied),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
