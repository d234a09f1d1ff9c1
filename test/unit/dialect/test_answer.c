#include "base/json.h"
#include "dialect/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const enum dialect_id dialects[] = {DIALECT_ANTHROPIC, DIALECT_OPENAI,  DIALECT_RESPONSES,
					   DIALECT_GEMINI,    DIALECT_MISTRAL, DIALECT_XAI};
#define DIALECTS (sizeof(dialects) / sizeof(dialects[0]))

/* ---- renderings are read back ---- */

static struct dialect_rendering rendering(const char *text, enum dialect_finish finish)
{
	return (struct dialect_rendering){
		.id = "msg_1",
		.model = BYTES("north-1"),
		.text = bytes_from(text),
		.usage = {.input = 10, .cache_read = 4, .output = 20, .known = true},
		.finish = finish,
		.created = 1700000000,
		.include_usage = true,
	};
}

static void check_answer(const struct dialect_answer *answer, const char *text,
			 enum dialect_finish finish)
{
	assert_true(bytes_is(buf_bytes(&answer->text), text));
	assert_null(answer->tool_calls);
	assert_int_equal(answer->outcome.finish, finish);
	assert_int_equal(answer->outcome.usage.input, 10);
	assert_int_equal(answer->outcome.usage.cache_read, 4);
	assert_int_equal(answer->outcome.usage.output, 20);
	assert_true(answer->outcome.usage.known);
	assert_string_equal(dialect_served(&answer->outcome), "north-1");
}

/* Renders the text in pieces of at most five bytes and collects it again. */
static void stream_answer(enum dialect_id dialect, struct dialect_rendering answer,
			  struct dialect_answer *out)
{
	struct buf stream = BUF_INIT(65536);
	struct dialect_observer observer;
	struct dialect_flow flow;
	struct bytes text = answer.text;
	answer.whole = text;
	dialect_render_stream_start(dialect, &answer, &stream);
	for (size_t at = 0; at < text.size; at += 5) {
		answer.text = bytes_of(text.data + at, text.size - at < 5 ? text.size - at : 5);
		dialect_render_stream_delta(dialect, &answer, &stream);
	}
	dialect_render_stream_end(dialect, &answer, &stream);
	dialect_observer_init(&observer, dialect, BYTES(""), false, &out->text);
	dialect_observer_feed(&observer, stream.data, stream.size, &flow);
	assert_true(flow.terminal);
	dialect_observer_end(&observer, &flow);
	assert_int_equal(dialect_answer_finish(&observer, out, NULL), ERR_OK);
	dialect_observer_release(&observer);
	buf_release(&stream);
}

static void test_rendered_answers(void **state)
{
	static const struct {
		const char *text;
		enum dialect_finish finish;
	} rows[] = {
		{"A \"fox\"\n\\ \x01 jumps", DIALECT_FINISH_STOP   },
		{"",			 DIALECT_FINISH_LENGTH },
		{"No.",                      DIALECT_FINISH_REFUSAL},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t k = 0; k < DIALECTS; k++) {
			struct dialect_rendering answer = rendering(rows[i].text, rows[i].finish);
			struct dialect_answer plain, streamed;
			struct buf body = BUF_INIT(65536);
			dialect_answer_init(&plain, 4096);
			dialect_answer_init(&streamed, 4096);
			dialect_render_answer(dialects[k], &answer, &body);
			assert_int_equal(
				dialect_answer_read(dialects[k], buf_bytes(&body), &plain, NULL),
				ERR_OK);
			stream_answer(dialects[k], answer, &streamed);
			check_answer(&plain, rows[i].text, rows[i].finish);
			check_answer(&streamed, rows[i].text, rows[i].finish);
			assert_memory_equal(plain.outcome.answer, streamed.outcome.answer,
					    SHA256_SIZE);
			buf_release(&body);
			dialect_answer_release(&plain);
			dialect_answer_release(&streamed);
		}
}

static void test_stream_without_usage(void **state)
{
	struct dialect_rendering answer = rendering("hello", DIALECT_FINISH_STOP);
	struct dialect_answer out;
	(void)state;
	answer.include_usage = false;
	dialect_answer_init(&out, 4096);
	stream_answer(DIALECT_OPENAI, answer, &out);
	assert_false(out.outcome.usage.known);
	assert_int_equal(dialect_output_estimate(&out.outcome), 2);
	dialect_answer_release(&out);
}

static void test_bad_answers(void **state)
{
	static const char *const bodies[] = {
		"",
		"[]",
		"{}",
		"not JSON",
		"{\"choices\":[]}",
		"{\"error\":{\"message\":\"m\"}}",
		"{\"content\":\"text\"}",
		"{\"output\":{}}",
		"{\"candidates\":[]}",
		"{\"choices\":[{\"message\":{\"content\":\"x\"}}]",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		for (size_t k = 0; k < DIALECTS; k++) {
			struct dialect_answer answer;
			struct err err = ERR_INIT;
			dialect_answer_init(&answer, 4096);
			assert_int_equal(dialect_answer_read(dialects[k], bytes_from(bodies[i]),
							     &answer, &err),
					 ERR_PROTOCOL);
			assert_true(strlen(err.message) > 10);
			dialect_answer_release(&answer);
		}
}

static void test_answer_longer_than_allowed(void **state)
{
	struct dialect_rendering answer = rendering("123456789", DIALECT_FINISH_STOP);
	struct dialect_answer out;
	struct buf body = BUF_INIT(4096);
	(void)state;
	dialect_render_answer(DIALECT_OPENAI, &answer, &body);
	dialect_answer_init(&out, 8);
	assert_int_equal(dialect_answer_read(DIALECT_OPENAI, buf_bytes(&body), &out, NULL),
			 ERR_TOO_LARGE);
	dialect_answer_release(&out);
	buf_release(&body);
}

static void test_refusal_member_is_a_refusal(void **state)
{
	struct dialect_answer answer;
	(void)state;
	dialect_answer_init(&answer, 4096);
	assert_int_equal(dialect_answer_read(
				 DIALECT_OPENAI,
				 BYTES("{\"choices\":[{\"message\":{\"content\":null,\"refusal\":"
				       "\"I cannot.\"},\"finish_reason\":\"stop\"}]}"),
				 &answer, NULL),
			 ERR_OK);
	assert_true(bytes_is(buf_bytes(&answer.text), "I cannot."));
	assert_int_equal(answer.outcome.finish, DIALECT_FINISH_REFUSAL);
	dialect_answer_release(&answer);
}

static void test_only_the_first_of_several_answers_is_taken(void **state)
{
	struct dialect_answer answer;
	(void)state;
	dialect_answer_init(&answer, 4096);
	assert_int_equal(
		dialect_answer_read(
			DIALECT_OPENAI,
			BYTES("{\"choices\":[{\"index\":1,\"message\":{\"content\":\"second\"},"
			      "\"finish_reason\":\"length\"},{\"index\":0,\"message\":{\"content\":"
			      "\"first\"},\"finish_reason\":\"stop\"}]}"),
			&answer, NULL),
		ERR_OK);
	assert_true(bytes_is(buf_bytes(&answer.text), "first"));
	assert_int_equal(answer.outcome.finish, DIALECT_FINISH_STOP);
	assert_int_equal(answer.outcome.text_bytes, strlen("firstsecond"));
	dialect_answer_release(&answer);
}

/* ---- errors ---- */

static void test_error_bodies(void **state)
{
	static const struct {
		enum dialect_id dialect;
		struct dialect_error error;
		const char *wanted;
	} rows[] = {
		{DIALECT_ANTHROPIC,
		 {429, NULL, {"too \"many\"", 10}, {"req_1", 5}, 0},
		 "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":"
		 "\"too \\\"many\\\"\"},\"request_id\":\"req_1\"}"                          },
		{DIALECT_ANTHROPIC,
		 {403, "grant_revoked", {"m", 1}, {NULL, 0}, 0},
		 "{\"type\":\"error\",\"error\":{\"type\":\"permission_error\",\"message\":\"m\"}"
		 "}"									},
		{DIALECT_OPENAI,
		 {403, "grant_revoked", {"m", 1}, {NULL, 0}, 0},
		 "{\"error\":{\"message\":\"m\",\"type\":\"permission_error\",\"param\":null,"
		 "\"code\":\"grant_revoked\"}}"                                             },
		{DIALECT_OPENAI,
		 {401, NULL, {"m", 1}, {NULL, 0}, 0},
		 "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\",\"param\":null,"
		 "\"code\":\"invalid_api_key\"}}"                                           },
		{DIALECT_OPENAI,
		 {400, NULL, {"m", 1}, {NULL, 0}, 0},
		 "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\",\"param\":null,"
		 "\"code\":null}}"							  },
		{DIALECT_ANTHROPIC,
		 {418, NULL, {"m", 1}, {NULL, 0}, 0},
		 "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
		 "\"m\"}}"								  },
		{DIALECT_ANTHROPIC,
		 {599, NULL, {"m", 1}, {NULL, 0}, 0},
		 "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"m\"}}"},
	};
	static const struct {
		enum dialect_id dialect;
		const char *wanted;
	} events[] = {
		{DIALECT_MISTRAL,   "data: {\"object\":\"error\",\"message\":\"m\",\"type\":"
				  "\"permission_error\",\"param\":null,\"code\":"
				  "\"grant_revoked\"}\n\n"                 },
		{DIALECT_XAI,       "data: {\"error\":{\"message\":\"m\",\"type\":\"permission_error\","
			      "\"param\":null,\"code\":\"grant_revoked\"}}\n\n"},
		{DIALECT_RESPONSES,
		 "event: error\ndata: {\"type\":\"error\",\"code\":\"grant_revoked\","
		 "\"message\":\"m\",\"param\":null,\"error\":{\"message\":\"m\",\"type\":"
		 "\"permission_error\",\"param\":null,\"code\":\"grant_revoked\"}}\n\n"                     },
		{DIALECT_GEMINI,    "data: {\"error\":{\"code\":403,\"message\":\"m\",\"status\":"
				 "\"PERMISSION_DENIED\"}}\n\n"              },
	};
	static const struct dialect_error late = {
		.status = 429, .message = {"m", 1},
                     .retry_after_ms = 2001
        };
	static const struct dialect_error revoked = {
		.status = 403, .code = "grant_revoked", .message = {"m", 1}
        };
	struct buf out = BUF_INIT(4096);
	(void)state;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		buf_clear(&out);
		dialect_error_event(events[i].dialect, &revoked, &out);
		assert_string_equal(out.data, events[i].wanted);
	}
	buf_clear(&out);
	dialect_error_body(DIALECT_GEMINI, &late, &out);
	assert_string_equal(
		out.data, "{\"error\":{\"code\":429,\"message\":\"m\",\"status\":"
			  "\"RESOURCE_EXHAUSTED\",\"details\":[{\"@type\":"
			  "\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"3s\"}]}}");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_clear(&out);
		dialect_error_body(rows[i].dialect, &rows[i].error, &out);
		assert_string_equal(out.data, rows[i].wanted);
	}
	buf_release(&out);
}

static void test_errors_are_read_back(void **state)
{
	struct dialect_error error = {.status = 403,
				      .code = "grant_revoked",
				      .message = BYTES("ended (rule grant.state) \xe2\x82\xac\n")};
	struct dialect_failure failure;
	struct buf out = BUF_INIT(4096);
	(void)state;
	for (size_t k = 0; k < DIALECTS; k++) {
		buf_clear(&out);
		dialect_error_body(dialects[k], &error, &out);
		assert_true(dialect_failure_read(dialects[k], buf_bytes(&out), &failure));
		bool gemini = dialects[k] == DIALECT_GEMINI, coded = k > 0 && !gemini;
		assert_string_equal(failure.type,
				    gemini ? "PERMISSION_DENIED" : "permission_error");
		assert_string_equal(failure.code, coded ? "grant_revoked" : "");
		assert_string_equal(failure.message, "ended (rule grant.state) \xe2\x82\xac\n");
	}
	assert_true(dialect_failure_read(DIALECT_OPENAI, BYTES("{\"error\":\"plain\"}"), &failure));
	assert_string_equal(failure.message, "plain");
	assert_false(dialect_failure_read(DIALECT_OPENAI, BYTES("<html>"), &failure));
	assert_false(dialect_failure_read(DIALECT_OPENAI, BYTES("{}"), &failure));
	buf_release(&out);
}

static void test_long_error_message_is_cut_between_characters(void **state)
{
	struct dialect_error error = {.status = 400};
	struct dialect_failure failure;
	struct buf message = BUF_INIT(4096), out = BUF_INIT(8192);
	(void)state;
	for (unsigned i = 0; i < 400; i++)
		buf_append_cstr(&message, "\xc3\xa9");
	error.message = buf_bytes(&message);
	dialect_error_body(DIALECT_OPENAI, &error, &out);
	assert_true(dialect_failure_read(DIALECT_OPENAI, buf_bytes(&out), &failure));
	assert_int_equal(strlen(failure.message), 510);
	assert_true(bytes_is_utf8(bytes_from(failure.message)));
	buf_release(&message);
	buf_release(&out);
}

static void test_error_events_fail_a_stream(void **state)
{
	struct dialect_error error = {.status = 403, .message = BYTES("revoked")};
	struct buf out = BUF_INIT(4096);
	(void)state;
	for (size_t k = 0; k < DIALECTS; k++) {
		struct dialect_observer observer;
		struct dialect_flow flow;
		buf_clear(&out);
		dialect_error_event(dialects[k], &error, &out);
		assert_true(bytes_ends_with(buf_bytes(&out), BYTES("\n\n")));
		dialect_observer_init(&observer, dialects[k], BYTES(""), false, NULL);
		dialect_observer_feed(&observer, out.data, out.size, &flow);
		dialect_observer_end(&observer, &flow);
		assert_true(observer.outcome.failed);
		dialect_observer_release(&observer);
	}
	buf_release(&out);
}

/* ---- headers and lists ---- */

static void test_limit_fields(void **state)
{
	static const struct dialect_limits limits = {
		.requests = {60,   59, 1000  },
		.input = {-1,   0,  0     },
		.output = {8000, -5, 363250},
		.budget = {-1,   0,  0     }
        };
	struct buf out = BUF_INIT(4096);
	(void)state;
	dialect_limit_fields(DIALECT_ANTHROPIC, &limits, 1700000000250, &out);
	assert_string_equal(out.data,
			    "anthropic-ratelimit-requests-limit: 60\r\n"
			    "anthropic-ratelimit-requests-remaining: 59\r\n"
			    "anthropic-ratelimit-requests-reset: 2023-11-14T22:13:22Z\r\n"
			    "anthropic-ratelimit-output-tokens-limit: 8000\r\n"
			    "anthropic-ratelimit-output-tokens-remaining: 0\r\n"
			    "anthropic-ratelimit-output-tokens-reset: 2023-11-14T22:19:24Z\r\n"
			    "anthropic-ratelimit-tokens-limit: 8000\r\n"
			    "anthropic-ratelimit-tokens-remaining: 0\r\n"
			    "anthropic-ratelimit-tokens-reset: 2023-11-14T22:19:24Z\r\n");
	buf_clear(&out);
	dialect_limit_fields(DIALECT_OPENAI, &limits, 0, &out);
	assert_string_equal(out.data, "x-ratelimit-limit-requests: 60\r\n"
				      "x-ratelimit-remaining-requests: 59\r\n"
				      "x-ratelimit-reset-requests: 1s\r\n"
				      "x-ratelimit-limit-tokens: 8000\r\n"
				      "x-ratelimit-remaining-tokens: 0\r\n"
				      "x-ratelimit-reset-tokens: 6m3.25s\r\n");
	buf_release(&out);
}

static void test_durations(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {
		{0,        "0s"         },
                {-3,       "0s"         },
                {20,       "20ms"       },
		{999,      "999ms"      },
                {1000,     "1s"         },
                {8640,     "8.64s"      },
		{1001,     "1.001s"     },
                {60000,    "1m0s"       },
                {360000,   "6m0s"       },
		{3600000,  "1h0m0s"     },
                {3723000,  "1h2m3s"     },
                {90061001, "25h1m1.001s"},
	};
	struct buf out = BUF_INIT(4096);
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dialect_limits limits = {
			.requests = {1,  1, rows[i].ms},
			.input = {-1, 0, 0         },
			.output = {-1, 0, 0         },
			.budget = {-1, 0, 0         }
                };
		char wanted[64] = "x-ratelimit-reset-requests: ";
		buf_clear(&out);
		dialect_limit_fields(DIALECT_OPENAI, &limits, 0, &out);
		strcat(strcat(wanted, rows[i].text), "\r\n");
		assert_non_null(strstr(out.data, wanted));
	}
	buf_release(&out);
}

static void test_tokens_are_the_tighter_limit(void **state)
{
	struct dialect_limits limits = {
		.requests = {-1,   0,   0},
		.input = {1000, 900, 0},
		.output = {100,  50,  0},
		.budget = {-1,   0,   0}
        };
	struct buf out = BUF_INIT(4096);
	(void)state;
	dialect_limit_fields(DIALECT_OPENAI, &limits, 0, &out);
	assert_non_null(strstr(out.data, "x-ratelimit-remaining-tokens: 50\r\n"));
	limits.input.remaining = 100;
	buf_clear(&out);
	dialect_limit_fields(DIALECT_OPENAI, &limits, 0, &out);
	assert_non_null(strstr(out.data, "x-ratelimit-remaining-tokens: 100\r\n"));
	assert_null(strstr(out.data, "requests"));
	/* A budget counts once it has less left than a minute gives. */
	limits.budget = (struct dialect_limit){20000, 101, 1000};
	buf_clear(&out);
	dialect_limit_fields(DIALECT_OPENAI, &limits, 0, &out);
	assert_non_null(strstr(out.data, "x-ratelimit-remaining-tokens: 100\r\n"));
	limits.budget.remaining = 99;
	buf_clear(&out);
	dialect_limit_fields(DIALECT_OPENAI, &limits, 0, &out);
	assert_non_null(strstr(out.data, "x-ratelimit-limit-tokens: 20000\r\n"
					 "x-ratelimit-remaining-tokens: 99\r\n"
					 "x-ratelimit-reset-tokens: 1s\r\n"));
	limits.input.limit = limits.output.limit = -1;
	buf_clear(&out);
	dialect_limit_fields(DIALECT_ANTHROPIC, &limits, 0, &out);
	assert_non_null(strstr(out.data, "anthropic-ratelimit-tokens-remaining: 99\r\n"));
	assert_null(strstr(out.data, "output-tokens"));
	buf_release(&out);
}

static void test_model_lists(void **state)
{
	static const struct bytes names[] = {
		{"north-1", 7},
                {"north-2", 7}
        };
	struct buf out = BUF_INIT(4096);
	(void)state;
	dialect_models(DIALECT_OPENAI, names, 2, 1700000000, &out);
	assert_string_equal(out.data,
			    "{\"object\":\"list\",\"data\":["
			    "{\"id\":\"north-1\",\"object\":\"model\",\"created\":1700000000,"
			    "\"owned_by\":\"parley\"},"
			    "{\"id\":\"north-2\",\"object\":\"model\",\"created\":1700000000,"
			    "\"owned_by\":\"parley\"}]}");
	buf_clear(&out);
	dialect_models(DIALECT_ANTHROPIC, names, 1, 1700000000, &out);
	assert_string_equal(out.data,
			    "{\"data\":[{\"type\":\"model\",\"id\":\"north-1\",\"display_name\":"
			    "\"north-1\",\"created_at\":\"2023-11-14T22:13:20Z\"}],"
			    "\"has_more\":false,\"first_id\":\"north-1\",\"last_id\":\"north-1\"}");
	buf_clear(&out);
	dialect_models(DIALECT_ANTHROPIC, names, 0, 0, &out);
	assert_string_equal(out.data,
			    "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}");
	buf_clear(&out);
	dialect_count_answer(DIALECT_ANTHROPIC, 123, &out);
	assert_string_equal(out.data, "{\"input_tokens\":123}");
	buf_clear(&out);
	dialect_count_answer(DIALECT_GEMINI, 123, &out);
	assert_string_equal(out.data, "{\"totalTokens\":123}");
	buf_clear(&out);
	dialect_models(DIALECT_GEMINI, names, 2, 0, &out);
	assert_string_equal(
		out.data,
		"{\"models\":[{\"name\":\"models/north-1\",\"displayName\":\"north-1\","
		"\"supportedGenerationMethods\":[\"generateContent\",\"countTokens\"]},"
		"{\"name\":\"models/north-2\",\"displayName\":\"north-2\","
		"\"supportedGenerationMethods\":[\"generateContent\",\"countTokens\"]}]}");
	buf_release(&out);
}

/* A text's digest is the same whether it is hashed as it stands in the body, where nobody collects
 * it, or decoded and escaped again: every escape of two or four places, alone and among others. */
static void check_escape(const char *escape)
{
	struct dialect_outcome collected, alone;
	struct buf body = BUF_INIT(4096), text = BUF_INIT(4096);
	buf_printf(&body,
		   "{\"model\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\"a%s\\n\"},"
		   "{\"type\":\"text\",\"text\":\"%s\xe2\x82\xac\\\"\"}],"
		   "\"stop_reason\":\"end_turn\"}",
		   escape, escape);
	dialect_observe_body(DIALECT_ANTHROPIC, buf_bytes(&body), BYTES("nonce"), &collected, &text,
			     NULL, NULL, NULL);
	dialect_observe_body(DIALECT_ANTHROPIC, buf_bytes(&body), BYTES("nonce"), &alone, NULL,
			     NULL, NULL, NULL);
	assert_int_equal(collected.malformed, alone.malformed);
	assert_int_equal(collected.digest_known, alone.digest_known);
	assert_int_equal(collected.text_bytes, alone.text_bytes);
	if (alone.digest_known) {
		assert_memory_equal(collected.answer, alone.answer, sizeof(alone.answer));
		assert_int_equal(alone.text_bytes, text.size);
	}
	dialect_outcome_release(&collected);
	dialect_outcome_release(&alone);
	buf_release(&body);
	buf_release(&text);
}

static void digests_whether_or_not_text_is_collected(void **state)
{
	char escape[16];
	(void)state;
	for (int c = 1; c < 128; c++) {
		snprintf(escape, sizeof(escape), "\\%c", c);
		check_escape(escape);
	}
	for (unsigned unit = 0; unit < 0x120; unit++) {
		snprintf(escape, sizeof(escape), "\\u%04x", unit);
		check_escape(escape);
		snprintf(escape, sizeof(escape), "\\u%04X", unit);
		check_escape(escape);
	}
	check_escape("\\ud83d\\ude00");
	check_escape("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rendered_answers),
		cmocka_unit_test(test_stream_without_usage),
		cmocka_unit_test(test_bad_answers),
		cmocka_unit_test(test_answer_longer_than_allowed),
		cmocka_unit_test(test_refusal_member_is_a_refusal),
		cmocka_unit_test(test_only_the_first_of_several_answers_is_taken),
		cmocka_unit_test(test_error_bodies),
		cmocka_unit_test(test_errors_are_read_back),
		cmocka_unit_test(test_long_error_message_is_cut_between_characters),
		cmocka_unit_test(test_error_events_fail_a_stream),
		cmocka_unit_test(test_limit_fields),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_tokens_are_the_tighter_limit),
		cmocka_unit_test(test_model_lists),
		cmocka_unit_test(digests_whether_or_not_text_is_collected),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
