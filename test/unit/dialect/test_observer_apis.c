/* Answers of Responses, Gemini, Mistral and xAI, streamed and plain. A stream means the same
 * wherever it is cut and whatever ends its lines. */
#include "base/json.h"
#include "base/prng.h"
#include "dialect/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const char canonical[] = "[\"Say \\\"\xe2\x82\xac\\\"!\\n\",[{\"arguments\":{\"a\":[2],"
				"\"b\":1},\"name\":\"look\"}],\"tool_calls\"]";

/* Each answer says Say "€"!\n, thinks "hm", and calls look({"a":[2],"b":1}). */
static const char responses_stream[] =
	"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":"
	"\"up-1\",\"usage\":null}}\n\n"
	"event: response.reasoning_summary_text.delta\ndata: "
	"{\"output_index\":0,\"delta\":\"hm\"}\n\n"
	"event: response.output_item.added\ndata: "
	"{\"output_index\":1,\"item\":{\"type\":\"message\","
	"\"content\":[]}}\n\n"
	"event: response.output_text.delta\ndata: {\"output_index\":1,\"delta\":\"Say "
	"\\\"\\u20ac\\\"\"}\n\n"
	"event: response.output_text.delta\ndata: {\"output_index\":1,\"delta\":\"!\\n\"}\n\n"
	"event: response.output_text.done\ndata: {\"output_index\":1,\"text\":\"Say all "
	"again\"}\n\n"
	"event: response.output_item.done\ndata: "
	"{\"output_index\":1,\"item\":{\"type\":\"message\","
	"\"content\":[{\"type\":\"output_text\",\"text\":\"Say all again\"}]}}\n\n"
	"event: response.output_item.added\ndata: {\"output_index\":2,\"item\":{\"type\":"
	"\"function_call\",\"name\":\"look\",\"arguments\":\"\"}}\n\n"
	"event: response.function_call_arguments.delta\ndata: {\"output_index\":2,\"delta\":"
	"\"{\\\"b\\\": 1, \"}\n\n"
	"event: response.function_call_arguments.delta\ndata: {\"output_index\":2,\"delta\":"
	"\"\\\"a\\\":[2]}\"}\n\n"
	"event: response.output_item.done\ndata: {\"output_index\":2,\"item\":{\"type\":"
	"\"function_call\",\"name\":\"look\",\"arguments\":\"{\\\"b\\\": 1, \\\"a\\\":[2]}\"}}\n\n";
static const char responses_end[] =
	"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":"
	"\"up-1\",\"status\":\"completed\",\"incomplete_details\":null,\"usage\":{\"input_tokens\":"
	"35,"
	"\"input_tokens_details\":{\"cached_tokens\":7},\"output_tokens\":42}}}\n\n";
static const char responses_body[] =
	"{\"model\":\"up-1\",\"status\":\"completed\",\"error\":null,\"output\":[{\"type\":"
	"\"reasoning\",\"summary\":[{\"text\":\"hm\"}]},{\"type\":\"message\",\"content\":[{"
	"\"type\":"
	"\"output_text\",\"text\":\"Say \\\"\xe2\x82\xac\\\"!\\n\"}]},{\"type\":\"function_call\","
	"\"name\":\"look\",\"arguments\":\"{\\\"a\\\":[2],\\\"b\\\":1}\"}],\"usage\":{\"input_"
	"tokens\":"
	"35,\"input_tokens_details\":{\"cached_tokens\":7},\"output_tokens\":42}}";

static const char gemini_stream[] =
	"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hm\",\"thought\":true}]},"
	"\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":30,\"cachedContentTokenCount\":7,"
	"\"toolUsePromptTokenCount\":5,\"thoughtsTokenCount\":2},\"modelVersion\":\"up-1\"}\n\n"
	"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Say "
	"\\\"\\u20ac\\\"\"},{\"text\":\"!\\n\"}]}}]}\n\n"
	"data: "
	"{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"look\",\"args\":"
	"{\"b\":1,\"a\":[2]}}}]}}]}\n\n";
static const char gemini_end[] =
	"data: "
	"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]},\"finishReason\":\"STOP\"}],"
	"\"usageMetadata\":{\"promptTokenCount\":30,\"cachedContentTokenCount\":7,"
	"\"toolUsePromptTokenCount\":5,\"candidatesTokenCount\":32,\"thoughtsTokenCount\":10}}\n\n";
static const char gemini_body[] =
	"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hm\",\"thought\":true},{\"text\":"
	"\"Say "
	"\\\"\\u20ac\\\"!\\n\"},{\"functionCall\":{\"name\":\"look\",\"args\":{\"a\":[2],\"b\":1}}}"
	"]},"
	"\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":30,"
	"\"cachedContentTokenCount\":7,\"toolUsePromptTokenCount\":5,\"candidatesTokenCount\":32,"
	"\"thoughtsTokenCount\":10},\"modelVersion\":\"up-1\"}";

static const char mistral_stream[] =
	"data: {\"model\":\"up-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
	"\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]}]}}"
	"]}\n\n"
	"data: {\"model\":\"up-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Say "
	"\\\"\\u20ac\\\"\"}}]}\n\n"
	"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"text\",\"text\":"
	"\"!\\n\"}]}}]}\n\n"
	"data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"abc\","
	"\"function\":{\"name\":\"look\",\"arguments\":\"{\\\"b\\\":1,\\\"a\\\":[2]}\"}}]},"
	"\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":35,\"completion_tokens\":"
	"42,"
	"\"prompt_tokens_details\":{\"cached_tokens\":7}}}\n\n";
static const char mistral_end[] = "data: [DONE]\n\n";
static const char mistral_body[] =
	"{\"model\":\"up-1\",\"choices\":[{\"index\":0,\"message\":{\"content\":[{\"type\":"
	"\"thinking\",\"thinking\":[]},{\"type\":\"text\",\"text\":\"Say \\\"\\u20ac\\\"!\\n\"}],"
	"\"tool_calls\":[{\"function\":{\"name\":\"look\",\"arguments\":\"{\\\"a\\\":[2],\\\"b\\\":"
	"1}\"}}]"
	"},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":35,\"completion_"
	"tokens\":42,"
	"\"prompt_tokens_details\":{\"cached_tokens\":7}}}";

static const char xai_stream[] =
	"data: {\"model\":\"up-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
	"\"reasoning_content\":\"hm\"}}],\"usage\":null}\n\n"
	"data: {\"model\":\"up-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Say "
	"\\\"\\u20ac\\\"\"}}]}\n\n"
	": a comment\n\n"
	"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"!\\n\"}}]}\n\n"
	"data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"abc\","
	"\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":\"{\\\"b\\\":1,\"}}]}}"
	"]"
	"}\n\n"
	"data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{"
	"\"arguments\":\"\\\"a\\\":[2]}\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":null}"
	"\n\n";
/* Its client has not asked for usage: this chunk is taken out. Of the 42 tokens ten are reasoning,
 * which xAI counts in the total alone. */
static const char xai_usage[] =
	"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":35,\"completion_tokens\":32,"
	"\"total_tokens\":77,\"prompt_tokens_details\":{\"cached_tokens\":7},"
	"\"completion_tokens_details\":{\"reasoning_tokens\":10}}}\n\n";
static const char xai_end[] = "data: [DONE]\n\n";
static const char xai_body[] =
	"{\"model\":\"up-1\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
	"\"content\":\"Say \\\"\\u20ac\\\"!\\n\",\"reasoning_content\":\"hm\",\"tool_calls\":[{"
	"\"id\":\"abc\",\"function\":{\"name\":\"look\",\"arguments\":\"{\\\"a\\\":[2],\\\"b\\\":1}"
	"\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":35,"
	"\"completion_tokens\":32,\"total_tokens\":77,\"prompt_tokens_details\":{\"cached_tokens\":"
	"7},\"completion_tokens_details\":{\"reasoning_tokens\":10}}}";

static const struct {
	enum dialect_id dialect;
	const char *stream, *end, *body;
	const char *taken_out; /* between stream and end; NULL: nothing */
} apis[] = {
	{DIALECT_RESPONSES, responses_stream, responses_end, responses_body, NULL     },
	{DIALECT_GEMINI,    gemini_stream,    gemini_end,    gemini_body,    NULL     },
	{DIALECT_MISTRAL,   mistral_stream,   mistral_end,   mistral_body,   NULL     },
	{DIALECT_XAI,       xai_stream,       xai_end,       xai_body,       xai_usage},
};
#define APIS (sizeof(apis) / sizeof(apis[0]))

struct seen {
	struct buf now, last;
	struct dialect_outcome outcome;
};

static void seen_release(struct seen *seen)
{
	buf_release(&seen->now);
	buf_release(&seen->last);
	dialect_outcome_release(&seen->outcome);
}

/* A piece in memory of its own, so that nothing is read beyond it. */
static void feed(struct dialect_observer *observer, struct bytes piece, struct seen *seen)
{
	struct dialect_flow flow;
	char *copy = malloc(piece.size + 1);
	assert_non_null(copy);
	memcpy(copy, piece.data, piece.size);
	if (piece.size > 0)
		dialect_observer_feed(observer, copy, piece.size, &flow);
	else
		dialect_observer_end(observer, &flow);
	for (unsigned i = 0; i < flow.now_count; i++)
		buf_append_bytes(&seen->now, flow.now[i]);
	for (unsigned i = 0; i < flow.last_count; i++)
		buf_append_bytes(&seen->last, flow.last[i]);
	free(copy);
}

/* Feeds a first piece, then pieces of one size, and ends the stream. */
static void observe_cut(enum dialect_id dialect, struct bytes stream, size_t first, size_t step,
			struct seen *seen)
{
	struct dialect_observer observer;
	buf_init(&seen->now, 1 << 20);
	buf_init(&seen->last, 1 << 20);
	dialect_observer_init(&observer, dialect, BYTES("nonce"), true, NULL);
	for (size_t at = 0, size = first; at < stream.size; at += size, size = step) {
		if (size > stream.size - at)
			size = stream.size - at;
		if (size > 0)
			feed(&observer, bytes_of(stream.data + at, size), seen);
	}
	feed(&observer, bytes_of(stream.data, 0), seen);
	seen->outcome = dialect_outcome_copy(&observer.outcome);
	dialect_observer_release(&observer);
}

static void observe(enum dialect_id dialect, struct bytes stream, size_t step, struct seen *seen)
{
	observe_cut(dialect, stream, step, step, seen);
}

static void expect_digest(const struct dialect_outcome *outcome, const char *text)
{
	uint8_t wanted[SHA256_SIZE];
	struct buf whole = BUF_INIT(4096);
	buf_printf(&whole, "nonce%s", text);
	sha256_of(whole.data, whole.size, wanted);
	assert_true(outcome->digest_known);
	assert_memory_equal(outcome->answer, wanted, SHA256_SIZE);
	buf_release(&whole);
}

static void check_outcome(const struct dialect_outcome *outcome)
{
	assert_true(outcome->complete);
	assert_false(outcome->failed || outcome->malformed);
	assert_true(outcome->usage.known && outcome->usage.input_known);
	assert_int_equal(outcome->usage.input, 28);
	assert_int_equal(outcome->usage.cache_read, 7);
	assert_int_equal(outcome->usage.output, 42);
	assert_int_equal(outcome->finish, DIALECT_FINISH_TOOL_CALLS);
	assert_string_equal(dialect_served(outcome), "up-1");
	expect_digest(outcome, canonical);
}

/* Text with other line ends; NULL: nothing. */
static void append_with(struct buf *out, const char *text, const char *line_end)
{
	for (; text && *text; text++) {
		if (*text == '\n')
			buf_append_cstr(out, line_end);
		else
			buf_append_char(out, *text);
	}
}

struct variant {
	struct buf stream, now, last; /* what comes, what goes on at once, what waits for the end */
};

static void variant_make(struct variant *variant, size_t api, const char *line_end)
{
	buf_init(&variant->stream, 65536);
	buf_init(&variant->now, 65536);
	buf_init(&variant->last, 65536);
	append_with(&variant->now, apis[api].stream, line_end);
	append_with(&variant->last, apis[api].end, line_end);
	buf_append_bytes(&variant->stream, buf_bytes(&variant->now));
	append_with(&variant->stream, apis[api].taken_out, line_end);
	buf_append_bytes(&variant->stream, buf_bytes(&variant->last));
}

static void variant_release(struct variant *variant)
{
	buf_release(&variant->stream);
	buf_release(&variant->now);
	buf_release(&variant->last);
}

static void check_cut(size_t api, const struct variant *variant, size_t first, size_t step)
{
	struct seen seen;
	observe_cut(apis[api].dialect, buf_bytes(&variant->stream), first, step, &seen);
	check_outcome(&seen.outcome);
	assert_int_equal(seen.now.size, variant->now.size);
	assert_memory_equal(seen.now.data, variant->now.data, seen.now.size);
	assert_int_equal(seen.last.size, variant->last.size);
	assert_memory_equal(seen.last.data, variant->last.data, seen.last.size);
	seen_release(&seen);
}

static const char *const line_ends[] = {"\n", "\r\n", "\r"};
#define LINE_ENDS 3

/* Cut in two at every byte, and in pieces of every size. */
static void test_streams_for_every_split(void **state)
{
	(void)state;
	for (size_t api = 0; api < APIS; api++)
		for (size_t end = 0; end < LINE_ENDS; end++) {
			struct variant variant;
			variant_make(&variant, api, line_ends[end]);
			size_t size = variant.stream.size;
			for (size_t at = 0; at <= size; at++)
				check_cut(api, &variant, at, size);
			for (size_t step = 1; step <= size; step += step < 60 ? 1 : 41)
				check_cut(api, &variant, step, step);
			variant_release(&variant);
		}
}

/* Lines that do not all end alike: only a CR before an LF would be another thing. */
static void test_streams_with_mixed_line_ends(void **state)
{
	struct prng prng = {31};
	(void)state;
	for (unsigned round = 0; round < 4000; round++) {
		size_t api = round % APIS;
		struct buf stream = BUF_INIT(65536);
		const char *const parts[] = {apis[api].stream, apis[api].taken_out, apis[api].end};
		struct seen seen;
		for (size_t i = 0; i < 3; i++)
			for (const char *c = parts[i]; c && *c; c++) {
				char one[2] = {*c, '\0'};
				bool after_cr = stream.size && stream.data[stream.size - 1] == '\r';
				size_t which = prng_below(&prng, LINE_ENDS);
				append_with(&stream, one,
					    line_ends[after_cr ? 1 + which % 2 : which]);
			}
		observe_cut(apis[api].dialect, buf_bytes(&stream),
			    prng_below(&prng, stream.size + 1), 1 + prng_below(&prng, 100), &seen);
		check_outcome(&seen.outcome);
		seen_release(&seen);
		buf_release(&stream);
	}
}

static void test_plain_answers_have_the_same_digest(void **state)
{
	struct dialect_outcome outcome;
	(void)state;
	for (size_t i = 0; i < APIS; i++) {
		dialect_observe_body(apis[i].dialect, bytes_from(apis[i].body), BYTES("nonce"),
				     &outcome, NULL, NULL, NULL, NULL);
		check_outcome(&outcome);
		dialect_outcome_release(&outcome);
	}
}

static void test_cut_streams(void **state)
{
	(void)state;
	for (size_t i = 0; i < APIS; i++) {
		struct seen seen;
		observe(apis[i].dialect, bytes_from(apis[i].stream), 30, &seen);
		assert_false(seen.outcome.complete || seen.outcome.failed);
		assert_int_equal(seen.last.size, 0);
		assert_string_equal(seen.now.data, apis[i].stream);
		assert_true(seen.outcome.text_bytes > 20 && seen.outcome.deltas > 2);
		assert_true(dialect_output_estimate(&seen.outcome) > 6);
		seen_release(&seen);
	}
}

static void test_how_answers_end(void **state)
{
	static const struct {
		enum dialect_id dialect;
		const char *body;
		enum dialect_finish finish;
	} rows[] = {
		{DIALECT_RESPONSES, "{\"output\":[],\"status\":\"completed\"}",
		 DIALECT_FINISH_STOP									      },
		{DIALECT_RESPONSES,
		 "{\"output\":[],\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":"
		 "\"max_output_tokens\"}}",						 DIALECT_FINISH_LENGTH },
		{DIALECT_RESPONSES,
		 "{\"output\":[],\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":"
		 "\"content_filter\"}}",						    DIALECT_FINISH_REFUSAL},
		{DIALECT_RESPONSES,
		 "{\"output\":[],\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":"
		 "\"new\"}}",							       DIALECT_FINISH_OTHER  },
		{DIALECT_RESPONSES,
		 "{\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"refusal\","
		 "\"refusal\":"
		 "\"No.\"}]}],\"status\":\"completed\"}",				   DIALECT_FINISH_REFUSAL},
		{DIALECT_GEMINI,    "{\"candidates\":[{\"finishReason\":\"STOP\"}]}",
		 DIALECT_FINISH_STOP									      },
		{DIALECT_GEMINI,    "{\"candidates\":[{\"finishReason\":\"MAX_TOKENS\"}]}",
		 DIALECT_FINISH_LENGTH									    },
		{DIALECT_GEMINI,    "{\"candidates\":[{\"finishReason\":\"SAFETY\"}]}",
		 DIALECT_FINISH_REFUSAL									   },
		{DIALECT_GEMINI,    "{\"candidates\":[{\"finishReason\":\"NEW\"}]}",
		 DIALECT_FINISH_OTHER									     },
		{DIALECT_GEMINI,    "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}",
		 DIALECT_FINISH_REFUSAL									   },
		{DIALECT_GEMINI,
		 "{\"candidates\":[{\"index\":1,\"finishReason\":\"MAX_TOKENS\"},{\"index\":0,"
		 "\"finishReason\":\"STOP\"}]}",					    DIALECT_FINISH_STOP   },
	};
	struct dialect_outcome outcome;
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		dialect_observe_body(rows[i].dialect, bytes_from(rows[i].body), BYTES(""), &outcome,
				     NULL, NULL, NULL, NULL);
		assert_true(outcome.complete);
		if (outcome.finish != rows[i].finish)
			fail_msg("%s: %s", rows[i].body, dialect_finish_name(outcome.finish));
		dialect_outcome_release(&outcome);
	}
	dialect_observe_body(DIALECT_RESPONSES,
			     BYTES("{\"output\":[],\"status\":\"failed\",\"error\":{}}"), BYTES(""),
			     &outcome, NULL, NULL, NULL, NULL);
	assert_true(outcome.failed && !outcome.complete);
	dialect_outcome_release(&outcome);
}

/* Of several candidates none ends the stream alone, and only the first makes the answer. */
static void test_several_candidates(void **state)
{
	static const char first[] =
		"data: {\"candidates\":[{\"index\":1,\"content\":{\"parts\":[{\"text\":\"x\"}]},"
		"\"finishReason\":\"STOP\"},{\"index\":0,\"content\":{\"parts\":[{\"text\":\"a\"}]}"
		"}]}\n\n";
	static const char second[] =
		"data: {\"candidates\":[{\"index\":0,\"content\":{\"parts\":[{\"text\":\"b\"}]},"
		"\"finishReason\":\"STOP\"}]}\n\n";
	struct buf stream = BUF_INIT(4096);
	struct seen seen;
	(void)state;
	buf_append_cstr(&stream, first);
	buf_append_cstr(&stream, second);
	observe(DIALECT_GEMINI, buf_bytes(&stream), 10, &seen);
	assert_string_equal(seen.now.data, first);
	assert_string_equal(seen.last.data, second);
	assert_int_equal(seen.outcome.text_bytes, 3);
	expect_digest(&seen.outcome, "[\"ab\",[],\"stop\"]");
	seen_release(&seen);
	buf_release(&stream);
}

/* Counts so far are not the end's. */
static void test_usage_of_a_cut_gemini_stream(void **state)
{
	struct seen seen;
	(void)state;
	observe(DIALECT_GEMINI, bytes_from(gemini_stream), 50, &seen);
	assert_true(seen.outcome.usage.input_known);
	assert_false(seen.outcome.usage.known);
	assert_int_equal(seen.outcome.usage.input, 28);
	seen_release(&seen);
}

/* It may go on after a finish reason, and is metered like the rest. */
static void test_gemini_goes_on_after_its_end(void **state)
{
	static const char more[] = "data: {\"candidates\":[{\"index\":0,\"content\":{\"parts\":["
				   "{\"text\":\"and more\"}]}}]%s}\n\n";
	static const char *const counts[] = {
		"", ",\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":50}"};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct buf stream = BUF_INIT(65536);
		struct seen seen;
		buf_printf(&stream, "%s%s", gemini_stream, gemini_end);
		observe(DIALECT_GEMINI, buf_bytes(&stream), 100, &seen);
		assert_true(seen.outcome.usage.known);
		uint64_t before = seen.outcome.text_bytes;
		seen_release(&seen);
		buf_printf(&stream, more, counts[i]);
		observe(DIALECT_GEMINI, buf_bytes(&stream), 100, &seen);
		assert_int_equal(seen.outcome.text_bytes, before + 8);
		assert_int_equal(seen.outcome.usage.known, i);
		if (i)
			assert_int_equal(seen.outcome.usage.output, 50);
		seen_release(&seen);
		buf_release(&stream);
	}
}

/* The end of an answer that repeats a long one is the end, though its counts cannot be read. */
static void test_an_oversized_end_is_the_end(void **state)
{
	struct buf stream = BUF_INIT(4 << 20);
	struct seen seen;
	(void)state;
	buf_append_cstr(&stream, "event: response.completed\ndata: {\"response\":{\"x\":\"");
	for (unsigned i = 0; i < 300000; i++)
		buf_append_cstr(&stream, "long");
	buf_append_cstr(&stream, "\"}}\n\n");
	observe(DIALECT_RESPONSES, buf_bytes(&stream), 65536, &seen);
	assert_true(seen.outcome.complete && seen.outcome.malformed);
	assert_false(seen.outcome.usage.known || seen.outcome.digest_known);
	seen_release(&seen);
	buf_release(&stream);
}

/* Without names, with the one that an event without a name has, or with one of the provider's own,
 * their types tell. */
static void test_responses_by_the_types_of_events(void **state)
{
	static const char *const lines[] = {"", "event: message\n", "event: chunk\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct buf stream = BUF_INIT(4096);
		struct seen seen;
		buf_printf(&stream,
			   "%sdata: {\"type\":\"response.output_text.delta\",\"output_index\":0,"
			   "\"delta\":\"hi\"}\n\n"
			   "%sdata: {\"type\":\"response.completed\",\"response\":{\"status\":"
			   "\"completed\",\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}\n\n",
			   lines[i], lines[i]);
		observe(DIALECT_RESPONSES, buf_bytes(&stream), 7, &seen);
		assert_true(seen.outcome.complete && seen.outcome.usage.known);
		assert_int_equal(seen.outcome.usage.output, 2);
		expect_digest(&seen.outcome, "[\"hi\",[],\"stop\"]");
		seen_release(&seen);
		buf_release(&stream);
	}
}

/* What is no number is no count, nor is none of text that was made. */
static void test_gemini_counts_that_are_none(void **state)
{
	static const struct {
		const char *text, *counts;
		bool known;
	} rows[] = {
		{"hi", "\"candidatesTokenCount\":2",                                true },
		{"hi", "\"candidatesTokenCount\":0",                                true },
		{"",   "\"thoughtsTokenCount\":0",                                  true },
		{"hi", "\"thoughtsTokenCount\":4",                                  true },
		{"",   "\"candidatesTokenCount\":null",                             true },
		{"hi", "\"candidatesTokenCount\":null",                             false},
		{"hi", "\"totalTokenCount\":9",                                     false},
		{"hi", "\"candidatesTokenCount\":\"2\"",                            false},
		{"hi", "\"candidatesTokenCount\":[2]",                              false},
		{"hi", "\"candidatesTokenCount\":2,\"thoughtsTokenCount\":\"900\"", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dialect_outcome outcome;
		struct buf body = BUF_INIT(4096);
		buf_printf(&body,
			   "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"%s\"}]},"
			   "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":7,"
			   "%s}}",
			   rows[i].text, rows[i].counts);
		dialect_observe_body(DIALECT_GEMINI, buf_bytes(&body), BYTES(""), &outcome, NULL,
				     NULL, NULL, NULL);
		assert_true(outcome.complete && outcome.usage.input_known);
		if (outcome.usage.known != rows[i].known)
			fail_msg("%s: %d", rows[i].counts, outcome.usage.known);
		dialect_outcome_release(&outcome);
		buf_release(&body);
	}
}

/* A call of the older form is a call, streamed or plain; those of other choices count. */
static void test_calls_of_chat_completions(void **state)
{
	static const char stream[] =
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"function_call\":{\"name\":\"look\","
		"\"arguments\":\"\"}}}]}\n\n"
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"function_call\":{\"arguments\":"
		"\"{\\\"a\\\":\"}}}]}\n\n"
		"data: {\"choices\":[{\"index\":1,\"delta\":{\"tool_calls\":[{\"index\":0,"
		"\"function\":{\"name\":\"f\",\"arguments\":\"123456789\"}}]}}]}\n\n"
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"function_call\":{\"arguments\":"
		"\"1}\"}},\"finish_reason\":\"function_call\"}]}\n\ndata: [DONE]\n\n";
	static const char body[] =
		"{\"choices\":[{\"index\":0,\"finish_reason\":\"function_call\",\"message\":{"
		"\"content\":null,\"function_call\":{\"name\":\"look\",\"arguments\":"
		"\"{\\\"a\\\":1}\"}}}]}";
	static const char wanted[] =
		"[\"\",[{\"arguments\":{\"a\":1},\"name\":\"look\"}],\"tool_calls\"]";
	struct dialect_outcome outcome;
	struct seen seen;
	(void)state;
	observe(DIALECT_OPENAI, bytes_from(stream), 11, &seen);
	expect_digest(&seen.outcome, wanted);
	assert_int_equal(seen.outcome.text_bytes, 7 + 9);
	seen_release(&seen);
	dialect_observe_body(DIALECT_OPENAI, bytes_from(body), BYTES("nonce"), &outcome, NULL, NULL,
			     NULL, NULL);
	expect_digest(&outcome, wanted);
	dialect_outcome_release(&outcome);
}

/* Tools that the provider runs by itself are no calls of the answer, streamed or plain. */
static void test_tools_of_the_provider(void **state)
{
	static const char stream[] =
		"event: content_block_start\ndata: {\"index\":0,\"content_block\":{\"type\":"
		"\"server_tool_use\",\"name\":\"web_search\",\"input\":{}}}\n\n"
		"event: content_block_delta\ndata: {\"index\":0,\"delta\":{\"type\":"
		"\"input_json_delta\",\"partial_json\":\"{\\\"query\\\":1}\"}}\n\n"
		"event: content_block_delta\ndata: {\"index\":1,\"delta\":{\"type\":\"text_delta\","
		"\"text\":\"hi\"}}\n\n"
		"event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n"
		"event: message_stop\ndata: {}\n\n";
	static const char body[] =
		"{\"content\":[{\"type\":\"server_tool_use\",\"name\":\"web_search\",\"input\":"
		"{\"query\":1}},{\"type\":\"text\",\"text\":\"hi\"}],\"stop_reason\":\"end_turn\"}";
	struct dialect_outcome outcome;
	struct seen seen;
	(void)state;
	observe(DIALECT_ANTHROPIC, bytes_from(stream), 9, &seen);
	expect_digest(&seen.outcome, "[\"hi\",[],\"stop\"]");
	assert_true(seen.outcome.text_bytes > 12);
	seen_release(&seen);
	dialect_observe_body(DIALECT_ANTHROPIC, bytes_from(body), BYTES("nonce"), &outcome, NULL,
			     NULL, NULL, NULL);
	expect_digest(&outcome, "[\"hi\",[],\"stop\"]");
	dialect_outcome_release(&outcome);
}

/* A later count that cannot be takes the certainty from an earlier one. */
static void test_an_earlier_count_is_not_the_ends(void **state)
{
	static const struct {
		enum dialect_id dialect;
		const char *stream;
		bool absurd;
	} rows[] = {
		{DIALECT_OPENAI,
		 "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":{"
		 "\"prompt_tokens\":7,\"completion_tokens\":1}}\n\ndata: "
		 "{\"choices\":[],\"usage\":{"
		 "\"prompt_tokens\":7,\"completion_tokens\":-5}}\n\ndata: [DONE]\n\n",    true },
		{DIALECT_OPENAI,
		 "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":{"
		 "\"prompt_tokens\":7,\"completion_tokens\":1}}\n\ndata: "
		 "{\"choices\":[],\"usage\":{"
		 "\"prompt_tokens\":7,\"completion_tokens\":\"9\"}}\n\ndata: [DONE]\n\n", false},
		{DIALECT_ANTHROPIC,
		 "event: message_delta\ndata: {\"usage\":{\"output_tokens\":1}}\n\n"
		 "event: message_delta\ndata: {\"usage\":{\"output_tokens\":\"2\"}}\n\n"
		 "event: message_stop\ndata: {}\n\n",				     false},
		{DIALECT_ANTHROPIC,
		 "event: message_delta\ndata: {\"usage\":{\"output_tokens\":1}}\n\n"
		 "event: message_delta\ndata: {\"usage\":{\"output_tokens\":1.5}}\n\n"
		 "event: message_stop\ndata: {}\n\n",				     true },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct seen seen;
		observe(rows[i].dialect, bytes_from(rows[i].stream), 50, &seen);
		assert_true(seen.outcome.complete);
		assert_int_equal(seen.outcome.usage.absurd, rows[i].absurd);
		assert_false(seen.outcome.usage.known);
		assert_int_equal(seen.outcome.usage.output, 1);
		seen_release(&seen);
	}
}

static void test_an_error_for_an_answer_of_mistrals(void **state)
{
	struct dialect_outcome outcome;
	(void)state;
	dialect_observe_body(DIALECT_MISTRAL,
			     BYTES("{\"object\":\"error\",\"message\":\"m\",\"type\":\"t\"}"),
			     BYTES(""), &outcome, NULL, NULL, NULL, NULL);
	assert_true(outcome.failed && !outcome.complete && !outcome.malformed);
	dialect_outcome_release(&outcome);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams_for_every_split),
		cmocka_unit_test(test_streams_with_mixed_line_ends),
		cmocka_unit_test(test_plain_answers_have_the_same_digest),
		cmocka_unit_test(test_cut_streams),
		cmocka_unit_test(test_how_answers_end),
		cmocka_unit_test(test_several_candidates),
		cmocka_unit_test(test_usage_of_a_cut_gemini_stream),
		cmocka_unit_test(test_gemini_goes_on_after_its_end),
		cmocka_unit_test(test_an_oversized_end_is_the_end),
		cmocka_unit_test(test_responses_by_the_types_of_events),
		cmocka_unit_test(test_gemini_counts_that_are_none),
		cmocka_unit_test(test_calls_of_chat_completions),
		cmocka_unit_test(test_tools_of_the_provider),
		cmocka_unit_test(test_an_earlier_count_is_not_the_ends),
		cmocka_unit_test(test_an_error_for_an_answer_of_mistrals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
