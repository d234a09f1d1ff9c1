#include "base/json.h"
#include "dialect/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* What came out of a stream fed in pieces of one size. */
struct seen {
	struct buf now, last, text;
	struct dialect_outcome outcome;
	bool terminal, overrun;
};

static void seen_init(struct seen *seen)
{
	memset(seen, 0, sizeof(*seen));
	buf_init(&seen->now, 1 << 20);
	buf_init(&seen->last, 1 << 20);
	buf_init(&seen->text, 1 << 20);
}

static void seen_release(struct seen *seen)
{
	buf_release(&seen->now);
	buf_release(&seen->last);
	buf_release(&seen->text);
	dialect_outcome_release(&seen->outcome);
}

static void take(struct seen *seen, const struct dialect_flow *flow)
{
	assert_true(flow->now_count <= 3 && flow->last_count <= 2);
	for (unsigned i = 0; i < flow->now_count; i++) {
		assert_int_equal(seen->last.size, 0); /* nothing overtakes the end */
		assert_true(flow->now[i].size > 0);
		buf_append_bytes(&seen->now, flow->now[i]);
	}
	for (unsigned i = 0; i < flow->last_count; i++)
		buf_append_bytes(&seen->last, flow->last[i]);
	assert_int_equal(flow->terminal, seen->last.size > 0);
	seen->terminal = flow->terminal;
	assert_true(flow->overrun || !seen->overrun);
	seen->overrun = flow->overrun;
}

/* In a first piece, then in pieces of one size. */
static void observe_cut(enum dialect_id dialect, struct bytes stream, size_t first, size_t step,
			bool strip, struct seen *seen)
{
	struct dialect_observer observer;
	struct dialect_flow flow;
	seen_release(seen);
	seen_init(seen);
	dialect_observer_init(&observer, dialect, BYTES("nonce"), strip, &seen->text);
	for (size_t at = 0, size = first ? first : step; at < stream.size;
	     at += size, size = step) {
		if (size > stream.size - at)
			size = stream.size - at;
		char *copy = malloc(size);
		memcpy(copy, stream.data + at, size);
		dialect_observer_feed(&observer, copy, size, &flow);
		take(seen, &flow);
		free(copy);
	}
	dialect_observer_end(&observer, &flow);
	take(seen, &flow);
	seen->outcome = dialect_outcome_copy(&observer.outcome);
	dialect_observer_release(&observer);
}

static void observe(enum dialect_id dialect, struct bytes stream, size_t step, bool strip,
		    struct seen *seen)
{
	observe_cut(dialect, stream, step, step, strip, seen);
}

/* The cuts that every stream is tried with: in two pieces at every byte, then pieces of one size.
 */
struct cut {
	size_t first, step;
};

static struct cut cut_of(size_t number, size_t size)
{
	if (number < size)
		return (struct cut){number, size};
	size_t step = number - size + 1;
	step = step <= 80 ? step : 80 + (step - 80) * 37;
	return (struct cut){step, step};
}

static void expect_digest(const struct dialect_outcome *outcome, const char *canonical)
{
	uint8_t wanted[SHA256_SIZE];
	struct sha256 hash;
	sha256_start(&hash);
	sha256_add(&hash, "nonce", 5);
	sha256_add(&hash, canonical, strlen(canonical));
	sha256_finish(&hash, wanted);
	assert_true(outcome->digest_known);
	assert_memory_equal(outcome->answer, wanted, SHA256_SIZE);
}

/* ---- streams as providers send them ---- */

static const char anthropic_head[] =
	"event: message_start\n"
	"data: "
	"{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"north-1-2026\","
	"\"content\":[],\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":3,"
	"\"cache_read_input_tokens\":7,\"output_tokens\":1}}}\n\n"
	"event: content_block_start\n"
	"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\","
	"\"text\":\"\"}}\n\n"
	"event: ping\ndata: {\"type\": \"ping\"}\n\n"
	"event: content_block_delta\n"
	"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
	"\"text\":\"Say \\\"\\u20ac\\\"\"}}\n\n"
	"event: content_block_delta\n"
	"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
	"\"text\":\"!\\n\"}}\n\n"
	"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
static const char anthropic_tool[] =
	"event: content_block_start\n"
	"data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":"
	"\"tool_use\",\"id\":\"toolu_1\",\"name\":\"look\",\"input\":{}}}\n\n"
	"event: content_block_delta\n"
	"data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":"
	"\"input_json_delta\",\"partial_json\":\"{\\\"b\\\": 1, \"}}\n\n"
	"event: content_block_delta\n"
	"data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":"
	"\"input_json_delta\",\"partial_json\":\"\\\"a\\\": [2]}\"}}\n\n";
static const char anthropic_end[] =
	"event: message_delta\n"
	"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\","
	"\"stop_sequence\":null},\"usage\":{\"output_tokens\":42}}\n\n";
static const char anthropic_stop[] = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
static const char anthropic_body[] =
	"{\"id\":\"msg_1\",\"type\":\"message\",\"model\":\"north-1-2026\",\"content\":["
	"{\"type\":\"text\",\"text\":\"Say \\\"\xe2\x82\xac\\\"!\\n\"},"
	"{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"look\",\"input\":{\"b\":1,\"a\":[2]}}"
	"],"
	"\"stop_reason\":\"tool_use\",\"usage\":{\"input_tokens\":25,"
	"\"cache_creation_input_tokens\":3,\"cache_read_input_tokens\":7,\"output_tokens\":42}}";

static const char openai_head[] =
	"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":"
	"\"north-1-2026\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":"
	"\"\"},\"finish_reason\":null}],\"usage\":null}\n\n"
	"data: {\"model\":\"north-1-2026\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
	"\"Say \\\"\xe2\x82\xac\\\"\"},\"finish_reason\":null}],\"usage\":null}\n\n"
	"data: {\"model\":\"north-1-2026\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
	"\"!\\n\"},\"finish_reason\":null}],\"usage\":null}\n\n"
	"data: "
	"{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\","
	"\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":\"\"}}]}}]}\n\n"
	"data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{"
	"\"arguments\":\"{\\\"b\\\":1,\"}}]}}]}\n\n"
	"data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{"
	"\"arguments\":\"\\\"a\\\":[2]}\"}}]}}]}\n\n"
	"data: "
	"{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}],\"usage\":"
	"null}\n\n";
static const char openai_usage[] =
	"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":35,\"completion_tokens\":42,"
	"\"total_tokens\":77,\"prompt_tokens_details\":{\"cached_tokens\":7}}}\n\n";
static const char openai_done[] = "data: [DONE]\n\n";
static const char openai_body[] =
	"{\"id\":\"chatcmpl-1\",\"model\":\"north-1-2026\",\"choices\":[{\"index\":0,\"message\":{"
	"\"role\":\"assistant\",\"content\":\"Say \\\"\\u20ac\\\"!\\n\",\"tool_calls\":[{\"id\":"
	"\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":"
	"\"{ \\\"a\\\": [2], \\\"b\\\":1 }\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{"
	"\"prompt_tokens\":35,\"completion_tokens\":42,\"prompt_tokens_details\":{\"cached_"
	"tokens\":"
	"7}}}";

static const char canonical[] = "[\"Say \\\"\xe2\x82\xac\\\"!\\n\",[{\"arguments\":{\"a\":[2],"
				"\"b\":1},\"name\":\"look\"}],\"tool_calls\"]";

static void join(struct buf *out, const char *a, const char *b, const char *c, const char *d)
{
	const char *const parts[] = {a, b, c, d};
	buf_clear(out);
	for (size_t i = 0; i < 4; i++)
		buf_append_cstr(out, parts[i]);
}

/* The same events with other line ends. */
static void with_line_ends(const struct buf *from, const char *line_end, struct buf *out)
{
	buf_clear(out);
	for (size_t i = 0; i < from->size; i++)
		if (from->data[i] == '\n')
			buf_append_cstr(out, line_end);
		else
			buf_append_char(out, from->data[i]);
}

static void check_outcome(const struct dialect_outcome *outcome, int64_t cache_write)
{
	assert_true(outcome->usage.known && outcome->usage.input_known);
	assert_int_equal(outcome->usage.input, cache_write ? 25 : 28);
	assert_int_equal(outcome->usage.cache_read, 7);
	assert_int_equal(outcome->usage.cache_write, cache_write);
	assert_int_equal(outcome->usage.output, 42);
	assert_int_equal(outcome->finish, DIALECT_FINISH_TOOL_CALLS);
	assert_string_equal(dialect_served(outcome), "north-1-2026");
	assert_true(outcome->complete);
	assert_false(outcome->failed || outcome->malformed);
	expect_digest(outcome, canonical);
	assert_int_equal(dialect_output_estimate(outcome), 42);
}

static void test_anthropic_stream_for_every_split(void **state)
{
	static const char *const line_ends[] = {"\n", "\r\n", "\r"};
	struct buf plain = BUF_INIT(65536), stream = BUF_INIT(65536), stop = BUF_INIT(1024);
	struct buf stop_plain = BUF_INIT(1024);
	struct seen seen;
	(void)state;
	seen_init(&seen);
	join(&plain, anthropic_head, anthropic_tool, anthropic_end, anthropic_stop);
	buf_append_cstr(&stop_plain, anthropic_stop);
	for (size_t i = 0; i < 3; i++) {
		with_line_ends(&plain, line_ends[i], &stream);
		with_line_ends(&stop_plain, line_ends[i], &stop);
		struct cut cut;
		for (size_t n = 0; (cut = cut_of(n, stream.size)).first <= stream.size; n++) {
			observe_cut(DIALECT_ANTHROPIC, buf_bytes(&stream), cut.first, cut.step,
				    false, &seen);
			check_outcome(&seen.outcome, 3);
			assert_true(seen.terminal);
			assert_string_equal(seen.text.data, "Say \"\xe2\x82\xac\"!\n");
			assert_int_equal(seen.now.size + seen.last.size, stream.size);
			assert_memory_equal(seen.now.data, stream.data, seen.now.size);
			assert_string_equal(seen.last.data, stop.data);
		}
	}
	seen_release(&seen);
	buf_release(&plain);
	buf_release(&stream);
	buf_release(&stop);
	buf_release(&stop_plain);
}

static void check_openai(struct bytes stream, const struct buf *wanted, const struct buf *done,
			 bool strip, struct seen *seen)
{
	struct cut cut;
	for (size_t n = 0; (cut = cut_of(n, stream.size)).first <= stream.size; n++) {
		observe_cut(DIALECT_OPENAI, stream, cut.first, cut.step, strip, seen);
		check_outcome(&seen->outcome, 0);
		assert_string_equal(seen->now.data, wanted->data);
		assert_string_equal(seen->last.data, done->data);
	}
}

static void test_openai_stream_for_every_split(void **state)
{
	static const char *const line_ends[] = {"\n", "\r\n", "\r"};
	struct buf plain = BUF_INIT(65536), stream = BUF_INIT(65536), done_plain = BUF_INIT(64);
	struct buf done = BUF_INIT(64), kept_plain = BUF_INIT(65536), kept = BUF_INIT(65536);
	struct seen seen;
	(void)state;
	seen_init(&seen);
	buf_append_cstr(&done_plain, openai_done);
	for (unsigned strip = 0; strip < 2; strip++)
		for (size_t i = 0; i < 3; i++) {
			join(&plain, openai_head, openai_usage, openai_done, "");
			join(&kept_plain, openai_head, strip ? "" : openai_usage, "", "");
			with_line_ends(&plain, line_ends[i], &stream);
			with_line_ends(&kept_plain, line_ends[i], &kept);
			with_line_ends(&done_plain, line_ends[i], &done);
			check_openai(buf_bytes(&stream), &kept, &done, strip, &seen);
		}
	seen_release(&seen);
	buf_release(&plain);
	buf_release(&stream);
	buf_release(&done_plain);
	buf_release(&done);
	buf_release(&kept_plain);
	buf_release(&kept);
}

/* A provider may send usage as often as it likes; each is taken out, whatever else one read holds.
 */
static void test_usage_is_stripped_many_times(void **state)
{
	struct buf stream = BUF_INIT(65536), kept = BUF_INIT(65536), done = BUF_INIT(64);
	struct seen seen;
	(void)state;
	seen_init(&seen);
	buf_append_cstr(&done, openai_done);
	for (unsigned i = 0; i < 9; i++) {
		const char *comment = i % 2 ? ": still here\n\n" : "";
		buf_append_cstr(&stream, comment);
		buf_append_cstr(&kept, comment);
		buf_append_cstr(&stream, openai_usage);
	}
	buf_append_cstr(&stream, openai_head);
	buf_append_cstr(&kept, openai_head);
	for (unsigned i = 0; i < 9; i++)
		buf_append_cstr(&stream, openai_usage);
	buf_append_cstr(&stream, openai_done);
	check_openai(buf_bytes(&stream), &kept, &done, true, &seen);
	seen_release(&seen);
	buf_release(&stream);
	buf_release(&kept);
	buf_release(&done);
}

/* What was asked for by the gateway alone is taken out by its shape, whatever it says. */
static void test_usage_that_cannot_be_read_is_stripped(void **state)
{
	static const char *const chunks[] = {
		"data: "
		"{\"choices\":[],\"usage\":{\"prompt_tokens\":1.0,\"completion_tokens\":1}}\n\n",
		"data: "
		"{\"choices\":[],\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1}}\n\n",
		"data: {\"choices\":[],\"usage\":{}}\n\n",
		"data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1e15}}\n\n",
	};
	struct seen seen;
	(void)state;
	seen_init(&seen);
	for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
		struct buf stream = BUF_INIT(65536), kept = BUF_INIT(65536), done = BUF_INIT(64);
		join(&stream, openai_head, chunks[i], openai_usage, openai_done);
		join(&kept, openai_head, "", "", "");
		buf_append_cstr(&done, openai_done);
		check_openai(buf_bytes(&stream), &kept, &done, true, &seen);
		buf_release(&stream);
		buf_release(&kept);
		buf_release(&done);
	}
	seen_release(&seen);
}

static void test_plain_answers_have_the_same_digest(void **state)
{
	struct dialect_outcome outcome;
	struct buf text = BUF_INIT(1024);
	json_t *calls = json_array();
	(void)state;
	dialect_observe_body(DIALECT_ANTHROPIC, bytes_from(anthropic_body), BYTES("nonce"),
			     &outcome, &text, calls, NULL, NULL);
	check_outcome(&outcome, 3);
	dialect_outcome_release(&outcome);
	assert_string_equal(text.data, "Say \"\xe2\x82\xac\"!\n");
	assert_int_equal(json_array_size(calls), 1);
	dialect_observe_body(DIALECT_OPENAI, bytes_from(openai_body), BYTES("nonce"), &outcome,
			     NULL, NULL, NULL, NULL);
	check_outcome(&outcome, 0);
	dialect_outcome_release(&outcome);
	struct buf whole = BUF_INIT(1024);
	dialect_canonical_answer(buf_bytes(&text), calls, DIALECT_FINISH_TOOL_CALLS, &whole);
	assert_string_equal(whole.data, canonical);
	buf_release(&whole);
	buf_release(&text);
	json_decref(calls);
}

/* ---- endings that are not good ---- */

static void test_cut_stream_estimates(void **state)
{
	struct seen seen;
	(void)state;
	seen_init(&seen);
	observe(DIALECT_ANTHROPIC, bytes_from(anthropic_head), 50, false, &seen);
	assert_false(seen.outcome.complete || seen.terminal);
	assert_true(seen.outcome.usage.input_known);
	assert_false(seen.outcome.usage.known);
	assert_int_equal(seen.outcome.usage.input, 25);
	assert_int_equal(seen.outcome.text_bytes, strlen("Say \"\xe2\x82\xac\"!\n"));
	assert_int_equal(seen.outcome.deltas, 2);
	assert_int_equal(dialect_output_estimate(&seen.outcome), 4);
	assert_int_equal(seen.outcome.finish, DIALECT_FINISH_NONE);
	expect_digest(&seen.outcome, "[\"Say \\\"\xe2\x82\xac\\\"!\\n\",[],\"none\"]");
	observe(DIALECT_OPENAI, bytes_from(openai_head), 50, true, &seen);
	assert_false(seen.outcome.complete || seen.outcome.usage.known);
	assert_string_equal(seen.now.data, openai_head);
	seen_release(&seen);
}

/* A comment wherever the observer says that one may stand: the stream means the same. */
static unsigned with_pings(enum dialect_id dialect, struct bytes stream, size_t step, bool strip,
			   struct buf *out)
{
	struct dialect_observer observer;
	struct dialect_flow flow;
	unsigned pings = 0;
	buf_clear(out);
	dialect_observer_init(&observer, dialect, BYTES("nonce"), strip, NULL);
	for (size_t at = 0; at < stream.size; at += step) {
		size_t size = stream.size - at < step ? stream.size - at : step;
		dialect_observer_feed(&observer, stream.data + at, size, &flow);
		for (unsigned i = 0; i < flow.now_count; i++)
			buf_append_bytes(out, flow.now[i]);
		for (unsigned i = 0; i < flow.last_count; i++)
			buf_append_bytes(out, flow.last[i]);
		if (dialect_observer_between_events(&observer)) {
			assert_false(flow.terminal);
			buf_append_cstr(out, ": ping\n\n");
			pings++;
		}
	}
	dialect_observer_release(&observer);
	return pings;
}

static void test_comments_between_events_change_nothing(void **state)
{
	static const char *const line_ends[] = {"\n", "\r\n", "\r"};
	struct buf plain = BUF_INIT(65536), stream = BUF_INIT(65536), pinged = BUF_INIT(1 << 20);
	struct seen seen;
	(void)state;
	seen_init(&seen);
	for (size_t i = 0; i < 6; i++) {
		bool openai = i >= 3;
		enum dialect_id dialect = openai ? DIALECT_OPENAI : DIALECT_ANTHROPIC;
		if (openai)
			join(&plain, openai_head, openai_usage, openai_done, "");
		else
			join(&plain, anthropic_head, anthropic_tool, anthropic_end, anthropic_stop);
		with_line_ends(&plain, line_ends[i % 3], &stream);
		for (size_t step = 1; step <= stream.size; step += step < 80 ? 1 : 37) {
			unsigned pings =
				with_pings(dialect, buf_bytes(&stream), step, false, &pinged);
			assert_true(pings > 0 || step > stream.size / 2);
			assert_int_equal(pinged.size, stream.size + 8 * pings);
			observe(dialect, buf_bytes(&pinged), 50, false, &seen);
			check_outcome(&seen.outcome, openai ? 0 : 3);
			assert_string_equal(seen.text.data, "Say \"\xe2\x82\xac\"!\n");
		}
	}
	seen_release(&seen);
	buf_release(&plain);
	buf_release(&stream);
	buf_release(&pinged);
}

/* A comment before an event goes on with its line end, whatever becomes of the event behind it. */
static void test_comments_go_on_at_once(void **state)
{
	static const char *const line_ends[] = {"\n", "\r\n", "\r"};
	struct buf long_one = BUF_INIT(1 << 20);
	(void)state;
	buf_append_char(&long_one, ':');
	for (unsigned i = 0; i < 100000; i++)
		buf_append_char(&long_one, 'x');
	const char *const comments[] = {": ping", ":", long_one.data};
	for (size_t i = 0; i < 9; i++) {
		const char *comment = comments[i % 3], *end = line_ends[i / 3];
		struct dialect_observer observer;
		struct dialect_flow flow;
		struct buf stream = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
		buf_printf(&stream, "%s%s", comment, end);
		size_t size = stream.size;
		buf_append_cstr(&stream, openai_usage);
		dialect_observer_init(&observer, DIALECT_OPENAI, BYTES("nonce"), true, NULL);
		for (size_t at = 0; at < stream.size; at++) {
			dialect_observer_feed(&observer, stream.data + at, 1, &flow);
			assert_false(flow.endless);
			for (unsigned k = 0; k < flow.now_count; k++)
				buf_append_bytes(&out, flow.now[k]);
			if (at + 1 == size)
				assert_int_equal(out.size, size);
		}
		/* The usage is taken out all the same. */
		assert_int_equal(out.size, size);
		assert_memory_equal(out.data, stream.data, size);
		assert_true(observer.outcome.usage.known);
		dialect_observer_release(&observer);
		/* And where both come at once. */
		dialect_observer_init(&observer, DIALECT_OPENAI, BYTES("nonce"), true, NULL);
		dialect_observer_feed(&observer, stream.data, 3, &flow);
		buf_clear(&out);
		for (unsigned k = 0; k < flow.now_count; k++)
			buf_append_bytes(&out, flow.now[k]);
		dialect_observer_feed(&observer, stream.data + 3, stream.size - 3, &flow);
		for (unsigned k = 0; k < flow.now_count; k++)
			buf_append_bytes(&out, flow.now[k]);
		assert_int_equal(out.size, size);
		assert_memory_equal(out.data, stream.data, size);
		dialect_observer_release(&observer);
		buf_release(&stream);
		buf_release(&out);
	}
	buf_release(&long_one);
}

static void test_unfinished_event_is_not_passed_on(void **state)
{
	static const char part[] = "data: {\"choices\":[{\"index\":0,\"del";
	struct dialect_observer observer;
	struct dialect_flow flow;
	(void)state;
	dialect_observer_init(&observer, DIALECT_OPENAI, BYTES(""), false, NULL);
	dialect_observer_feed(&observer, part, sizeof(part) - 1, &flow);
	assert_int_equal(flow.now_count + flow.last_count, 0);
	assert_false(dialect_observer_mid_event(&observer));
	dialect_observer_end(&observer, &flow);
	assert_int_equal(flow.now_count, 1);
	assert_true(bytes_is(flow.now[0], part));
	dialect_observer_release(&observer);
}

static void test_long_events_flow(void **state)
{
	struct buf stream = BUF_INIT(1 << 20);
	struct seen seen;
	(void)state;
	seen_init(&seen);
	buf_append_cstr(&stream, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"");
	for (unsigned i = 0; i < 200000; i++)
		buf_append_char(&stream, 'x');
	buf_append_cstr(&stream, "\"}}]}\n\n");
	buf_append_cstr(&stream, openai_usage);
	buf_append_cstr(&stream, openai_done);
	for (unsigned strip = 0; strip < 2; strip++) {
		observe(DIALECT_OPENAI, buf_bytes(&stream), 9973, strip, &seen);
		assert_int_equal(seen.text.size, 200000);
		assert_string_equal(seen.last.data, openai_done);
		assert_int_equal(stream.size - seen.now.size - seen.last.size,
				 strip ? strlen(openai_usage) : 0);
		assert_true(seen.outcome.digest_known && seen.outcome.usage.known);
	}
	seen_release(&seen);
	buf_release(&stream);
}

static void test_oversized_event_is_malformed_but_passes(void **state)
{
	struct buf stream = BUF_INIT(2 << 20);
	struct dialect_observer observer;
	struct dialect_flow flow;
	size_t passed = 0;
	(void)state;
	buf_append_cstr(&stream, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"");
	while (stream.size < DIALECT_EVENT_MAX + 100)
		buf_append_char(&stream, 'x');
	buf_append_cstr(&stream, "\"}}]}\n\ndata: [DONE]\n\n");
	dialect_observer_init(&observer, DIALECT_OPENAI, BYTES(""), false, NULL);
	for (size_t at = 0; at < stream.size; at += 65536) {
		size_t size = stream.size - at < 65536 ? stream.size - at : 65536;
		dialect_observer_feed(&observer, stream.data + at, size, &flow);
		for (unsigned i = 0; i < flow.now_count; i++)
			passed += flow.now[i].size;
		for (unsigned i = 0; i < flow.last_count; i++)
			passed += flow.last[i].size;
	}
	dialect_observer_end(&observer, &flow);
	assert_int_equal(passed, stream.size);
	assert_true(observer.outcome.malformed && observer.outcome.complete);
	assert_false(observer.outcome.digest_known);
	dialect_observer_release(&observer);
	buf_release(&stream);
}

static void test_errors_after_a_200(void **state)
{
	static const struct {
		enum dialect_id dialect;
		const char *event;
	} rows[] = {
		{DIALECT_ANTHROPIC, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
				    "\"overloaded_error\",\"message\":\"m\"}}\n\n"},
		{DIALECT_OPENAI,
		 "data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\"}}\n\n"                               },
		{DIALECT_OPENAI,    "event: error\ndata: {\"message\":\"m\"}\n\n"                                    },
 /* Beside a usage that would be taken out. */
		{DIALECT_OPENAI,    "data: {\"choices\":[],\"error\":{\"message\":\"m\"},\"usage\":"
				 "{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n"},
	};
	struct seen seen;
	(void)state;
	seen_init(&seen);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		observe(rows[i].dialect, bytes_from(rows[i].event), 5, true, &seen);
		assert_true(seen.outcome.failed);
		assert_false(seen.outcome.complete);
		assert_string_equal(seen.now.data, rows[i].event);
	}
	seen_release(&seen);
}

static void test_damaged_events_are_noticed_and_pass(void **state)
{
	static const struct {
		enum dialect_id dialect;
		const char *stream;
	} rows[] = {
		{DIALECT_OPENAI,    "data: {broken\n\n"                                },
		{DIALECT_OPENAI,
		 "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\ud800\"}}"
		 "]}\n\n"							      },
		{DIALECT_ANTHROPIC, "event: content_block_delta\ndata: {\"delta\":\n\n"},
		{DIALECT_ANTHROPIC,
		 "event: content_block_delta\ndata: {\"delta\":{\"partial_json\":"
		 "\"{}\"}}\n\n"							},
		{DIALECT_ANTHROPIC, "event: content_block_start\ndata: []\n\n"         },
	};
	struct seen seen;
	(void)state;
	seen_init(&seen);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		observe(rows[i].dialect, bytes_from(rows[i].stream), 3, false, &seen);
		assert_true(seen.outcome.malformed);
		assert_false(seen.outcome.digest_known);
		assert_string_equal(seen.now.data, rows[i].stream);
	}
	seen_release(&seen);
}

static void test_words_of_the_protocol_in_the_text(void **state)
{
	static const char stream[] =
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"data: [DONE]\\n\\n"
		"\\\"usage\\\":{\\\"prompt_tokens\\\":1}\"}}],\"usage\":null}\n\n"
		"data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n";
	struct seen seen;
	(void)state;
	seen_init(&seen);
	observe(DIALECT_OPENAI, bytes_from(stream), 11, true, &seen);
	assert_false(seen.terminal || seen.outcome.usage.known);
	assert_string_equal(seen.now.data, stream);
	assert_string_equal(seen.text.data, "data: [DONE]\n\n\"usage\":{\"prompt_tokens\":1}");
	seen_release(&seen);
}

/* What comes behind a stream's end: `passed` of it goes on, to those who asked for usage. */
struct behind {
	enum dialect_id dialect;
	const char *text, *passed;
	bool usage, overrun; /* it tells the usage; it is an answer that goes on */
};

#define LATE_CHUNK "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"more\"}}]}\n\n"
#define LATE_CALL                                                                     \
	"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":9,\"function\":{" \
	"\"name\":\"go\"}}]}}]}\n\n"
#define LATE_USAGE                                                               \
	"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":35,"                 \
	"\"completion_tokens\":42,\"prompt_tokens_details\":{\"cached_tokens\":" \
	"7}}}\n\n"
#define LATE_TEXT                                                                        \
	"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":" \
	"0,\"delta\":{\"type\":\"text_delta\",\"text\":\"more\"}}\n\n"
#define DONE "data: [DONE]\n\n"

static const struct behind behinds[] = {
	{DIALECT_OPENAI,    "\n: note\n\n\n: no",          "\n: note\n\n\n",            false, false},
	{DIALECT_OPENAI,    ": note\n" DONE "id: 7\n\n",   ": note\n" DONE "id: 7\n\n", false, false},
	{DIALECT_OPENAI,    "data: more\n\n: and\n\n",     "",                          false, false},
	{DIALECT_OPENAI,    ": a\ndata: {}\n\n" DONE,      ": a\n",                     false, false},
	{DIALECT_OPENAI,    LATE_CHUNK,                    "",                          false, true },
	{DIALECT_OPENAI,    DONE "data: {}\n\n" LATE_CALL, DONE,                        false, true },
	{DIALECT_MISTRAL,   DONE LATE_CHUNK DONE,          DONE,                        false, true },
	{DIALECT_OPENAI,    LATE_USAGE ": a\n",            LATE_USAGE ": a\n",          true,  false},
	{DIALECT_XAI,       LATE_USAGE LATE_CHUNK,         LATE_USAGE,                  true,  true },
	{DIALECT_ANTHROPIC, DONE ": a\n",                  DONE ": a\n",                true,  false},
	{DIALECT_ANTHROPIC, "\n" LATE_TEXT DONE,           "\n",                        true,  true },
	{DIALECT_ANTHROPIC, LATE_CHUNK,                    "",                          true,  false},
};

static const char *unless_empty(struct bytes text)
{
	return text.size ? text.data : "";
}

static void check_behind(const struct behind *behind, struct bytes stream, size_t end, bool strip,
			 struct cut cut, struct seen *seen)
{
	observe_cut(behind->dialect, stream, cut.first, cut.step, strip, seen);
	assert_true(seen->terminal && seen->outcome.complete && !seen->outcome.malformed);
	assert_int_equal(behind->overrun, seen->overrun);
	assert_int_equal(behind->usage, seen->outcome.usage.known);
	expect_digest(&seen->outcome, canonical);
	assert_string_equal(seen->text.data, "Say \"\xe2\x82\xac\"!\n");
	/* Usage that was not asked for is no more passed on here than elsewhere. */
	size_t passed = strip && behind->usage && behind->dialect != DIALECT_ANTHROPIC
				? 0
				: strlen(behind->passed);
	assert_int_equal(seen->now.size + seen->last.size, end + passed);
	assert_memory_equal(seen->now.data, stream.data, seen->now.size);
	assert_memory_equal(seen->last.data, stream.data + seen->now.size,
			    seen->last.size - passed);
	assert_string_equal(unless_empty(buf_bytes(&seen->last)) + seen->last.size - passed,
			    passed ? behind->passed : "");
}

static void test_what_comes_behind_the_end(void **state)
{
	struct buf stream = BUF_INIT(65536);
	struct seen seen;
	(void)state;
	seen_init(&seen);
	for (size_t i = 0; i < 2 * sizeof(behinds) / sizeof(behinds[0]); i++) {
		const struct behind *behind = &behinds[i / 2];
		if (behind->dialect == DIALECT_ANTHROPIC)
			join(&stream, anthropic_head, anthropic_tool, anthropic_end,
			     anthropic_stop);
		else
			join(&stream, openai_head, openai_done, "", "");
		size_t end = stream.size;
		buf_append_cstr(&stream, behind->text);
		struct cut cut;
		for (size_t n = 0; (cut = cut_of(n, stream.size)).first <= stream.size; n++)
			check_behind(behind, buf_bytes(&stream), end, i % 2, cut, &seen);
	}
	seen_release(&seen);
	buf_release(&stream);
}

/* Neither an event without an end nor comments without end. */
static void test_little_may_come_behind_the_end(void **state)
{
	static const char *const endless[] = {"data: ", ": a comment\n", ":"};
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct buf stream = BUF_INIT(1 << 20);
		struct seen seen;
		seen_init(&seen);
		buf_append_cstr(&stream, openai_done);
		while (stream.size < 65536)
			buf_append_cstr(&stream, endless[i]);
		observe(DIALECT_OPENAI, bytes_of(stream.data, 65536), 1000, false, &seen);
		assert_false(seen.overrun);
		while (stream.size < 100000)
			buf_append_cstr(&stream, endless[i]);
		observe(DIALECT_OPENAI, buf_bytes(&stream), 1000, false, &seen);
		assert_true(seen.overrun && seen.outcome.complete);
		assert_true(seen.last.size <= 65536 + sizeof(openai_done));
		seen_release(&seen);
		buf_release(&stream);
	}
}

static void test_cumulative_usage_takes_the_last(void **state)
{
	static const char stream[] =
		"event: message_delta\ndata: {\"usage\":{\"output_tokens\":10}}\n\n"
		"event: message_delta\ndata: "
		"{\"usage\":{\"output_tokens\":null,\"input_tokens\":5}}\n\n"
		"event: message_delta\ndata: {\"usage\":{\"output_tokens\":30}}\n\n"
		"event: message_delta\ndata: {\"usage\":null}\n\n";
	struct seen seen;
	(void)state;
	seen_init(&seen);
	observe(DIALECT_ANTHROPIC, bytes_from(stream), 1000, false, &seen);
	assert_int_equal(seen.outcome.usage.output, 30);
	assert_int_equal(seen.outcome.usage.input, 5);
	seen_release(&seen);
}

/* An observer that a workspace was lent, of a stream that names a model. */
static void observe_name(struct dialect_workspace *workspace, const char *name,
			 struct dialect_observer *observer)
{
	struct buf event = BUF_INIT(1024);
	struct dialect_flow flow;
	buf_printf(&event, "data: {\"model\":\"%s\",\"choices\":[]}\n\n", name);
	dialect_observer_init(observer, DIALECT_OPENAI, BYTES(""), false, NULL);
	dialect_observer_lend(observer, workspace);
	dialect_observer_feed(observer, event.data, event.size, &flow);
	assert_string_equal(name, dialect_served(&observer->outcome));
	buf_release(&event);
}

static void test_names_are_shared(void **state)
{
	struct dialect_workspace workspace = {0};
	struct dialect_observer observers[60];
	struct dialect_outcome body, kept;
	char name[32];
	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "north-%u", i < 30 ? i % 3 : i);
		observe_name(&workspace, name, &observers[i]);
	}
	for (unsigned i = 0; i < 27; i++)
		assert_ptr_equal(observers[i].outcome.served, observers[i + 3].outcome.served);
	assert_ptr_not_equal(observers[0].outcome.served, observers[1].outcome.served);
	dialect_observe_body(DIALECT_OPENAI, BYTES("{\"model\":\"north-59\",\"choices\":[]}"),
			     BYTES(""), &body, NULL, NULL, NULL, &workspace);
	assert_ptr_equal(observers[59].outcome.served, body.served);
	for (unsigned i = 0; i < 60; i++)
		dialect_observer_release(&observers[i]);
	assert_string_equal("north-59", dialect_served(&body));
	kept = dialect_outcome_copy(&body);
	dialect_outcome_release(&body);
	assert_string_equal("", dialect_served(&body));
	assert_string_equal("north-59", dialect_served(&kept));
	/* What is in use no more serves the next one. */
	struct dialect_name *spare = workspace.spare_names;
	observe_name(&workspace, "north-1", &observers[0]);
	assert_ptr_equal(spare, observers[0].outcome.served);
	dialect_observer_release(&observers[0]);
	dialect_outcome_release(&kept);
	dialect_workspace_release(&workspace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_anthropic_stream_for_every_split),
		cmocka_unit_test(test_openai_stream_for_every_split),
		cmocka_unit_test(test_usage_is_stripped_many_times),
		cmocka_unit_test(test_usage_that_cannot_be_read_is_stripped),
		cmocka_unit_test(test_plain_answers_have_the_same_digest),
		cmocka_unit_test(test_cut_stream_estimates),
		cmocka_unit_test(test_comments_between_events_change_nothing),
		cmocka_unit_test(test_comments_go_on_at_once),
		cmocka_unit_test(test_unfinished_event_is_not_passed_on),
		cmocka_unit_test(test_long_events_flow),
		cmocka_unit_test(test_oversized_event_is_malformed_but_passes),
		cmocka_unit_test(test_errors_after_a_200),
		cmocka_unit_test(test_damaged_events_are_noticed_and_pass),
		cmocka_unit_test(test_words_of_the_protocol_in_the_text),
		cmocka_unit_test(test_what_comes_behind_the_end),
		cmocka_unit_test(test_little_may_come_behind_the_end),
		cmocka_unit_test(test_cumulative_usage_takes_the_last),
		cmocka_unit_test(test_names_are_shared),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
