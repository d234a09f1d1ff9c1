/* Release V1: what is left of answers is the final answer, numbered without gaps, however the
 * stream is split. Reasoning is SECRET in these answers. */
#include "dialect/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct stream_case {
	const char *name;
	enum dialect_id dialect;
	const char *in, *out;
};

/* clang-format off */
#define EVENT(name, data) "event: " name "\ndata: " data "\n\n"
#define DATA(data) "data: " data "\n\n"

static const struct stream_case streams[] = {
	{"Messages: a thinking block goes and the text block becomes the first", DIALECT_ANTHROPIC,
	 EVENT("message_start", "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":3}}}")
	 EVENT("content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"SECRET\",\"signature\":\"\"}}")
	 EVENT("ping", "{\"type\":\"ping\"}")
	 EVENT("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"SECRET\"}}")
	 EVENT("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"SECRET\"}}")
	 EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}")
	 EVENT("content_block_start", "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"redacted_thinking\",\"data\":\"SECRET\"}}")
	 EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":1}")
	 EVENT("content_block_start", "{\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}")
	 EVENT("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"text_delta\",\"text\":\"A fox.\"}}")
	 EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":2}")
	 EVENT("content_block_start", "{\"type\":\"content_block_start\",\"index\":3,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"look\",\"input\":{}}}")
	 EVENT("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}")
	 EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":3}")
	 EVENT("new_kind", "{\"type\":\"new_kind\",\"index\":3,\"text\":\"SECRET\"}")
	 EVENT("message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"reasoning\":\"SECRET\"},\"usage\":{\"output_tokens\":9}}")
	 EVENT("message_stop", "{\"type\":\"message_stop\"}"),
	 EVENT("message_start", "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":3}}}")
	 EVENT("ping", "{\"type\":\"ping\"}")
	 EVENT("content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}")
	 EVENT("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"A fox.\"}}")
	 EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}")
	 EVENT("content_block_start", "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"look\",\"input\":{}}}")
	 EVENT("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}")
	 EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":1}")
	 EVENT("message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}")
	 EVENT("message_stop", "{\"type\":\"message_stop\"}")},

	{"Messages: an error of the provider's stays", DIALECT_ANTHROPIC,
	 EVENT("error", "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"later\"}}"),
	 EVENT("error", "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"later\"}}")},

	{"Chat: reasoning goes, and the chunks that held nothing else; so do log-probabilities", DIALECT_OPENAI,
	 DATA("{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}")
	 DATA("{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"SECRET\",\"content\":null},\"finish_reason\":null}]}")
	 DATA("{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"SECRET\"},\"finish_reason\":null}]}")
	 DATA("{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"A fox.\",\"reasoning_details\":[{\"text\":\"SECRET\"}]},\"logprobs\":{\"content\":[{\"token\":\"SECRET\"}]},\"finish_reason\":null}]}")
	 DATA("{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"obfuscation\":\"SECRET\"}")
	 DATA("{\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}")
	 DATA("[DONE]"),
	 DATA("{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}")
	 DATA("{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"A fox.\"},\"finish_reason\":null}]}")
	 DATA("{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}")
	 DATA("{\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}")
	 DATA("[DONE]")},

	{"Mistral: a content of parts keeps its texts", DIALECT_MISTRAL,
	 DATA("{\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"SECRET\"}]}]},\"finish_reason\":null}]}")
	 DATA("{\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":\"SECRET\"},{\"type\":\"text\",\"text\":\"A fox.\",\"signature\":\"SECRET\"}]},\"finish_reason\":\"stop\"}]}")
	 DATA("[DONE]"),
	 DATA("{\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"A fox.\"}]},\"finish_reason\":\"stop\"}]}")
	 DATA("[DONE]")},

	{"xAI: tool calls stay", DIALECT_XAI,
	 DATA("{\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"SECRET\",\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"look\",\"arguments\":\"{}\"}}]}}]}")
	 DATA("[DONE]"),
	 DATA("{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"look\",\"arguments\":\"{}\"}}]}}]}")
	 DATA("[DONE]")},

	{"Responses: events without names are what their types say", DIALECT_RESPONSES,
	 DATA("{\"type\":\"response.reasoning_summary_text.delta\",\"output_index\":0,\"delta\":\"SECRET\"}")
	 DATA("{\"type\":\"response.created\",\"sequence_number\":1,\"response\":{\"id\":\"r\",\"output\":[]}}")
	 DATA("{\"type\":\"response.output_item.added\",\"sequence_number\":2,\"output_index\":1,\"item\":{\"type\":\"message\",\"id\":\"y\",\"content\":[]}}")
	 DATA("{\"type\":\"response.output_text.delta\",\"sequence_number\":3,\"output_index\":1,\"content_index\":0,\"delta\":\"A fox.\"}")
	 DATA("{\"type\":\"response.completed\",\"sequence_number\":4,\"response\":{\"id\":\"r\",\"output\":[],\"status\":\"completed\"}}"),
	 DATA("{\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\",\"output\":[]}}")
	 DATA("{\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"y\",\"content\":[]}}")
	 DATA("{\"type\":\"response.output_text.delta\",\"sequence_number\":2,\"output_index\":0,\"content_index\":0,\"delta\":\"A fox.\"}")
	 DATA("{\"type\":\"response.completed\",\"sequence_number\":3,\"response\":{\"id\":\"r\",\"output\":[],\"status\":\"completed\"}}")},

	{"Responses: reasoning items go; items and events are counted anew", DIALECT_RESPONSES,
	 EVENT("response.created", "{\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\",\"output\":[]}}")
	 EVENT("response.output_item.added", "{\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":0,\"item\":{\"type\":\"reasoning\",\"id\":\"x\",\"summary\":[]}}")
	 EVENT("response.reasoning_summary_text.delta", "{\"type\":\"response.reasoning_summary_text.delta\",\"sequence_number\":2,\"output_index\":0,\"delta\":\"SECRET\"}")
	 EVENT("response.output_item.done", "{\"type\":\"response.output_item.done\",\"sequence_number\":3,\"output_index\":0,\"item\":{\"type\":\"reasoning\",\"id\":\"x\",\"summary\":[{\"text\":\"SECRET\"}],\"encrypted_content\":\"SECRET\"}}")
	 EVENT("response.output_item.added", "{\"type\":\"response.output_item.added\",\"sequence_number\":4,\"output_index\":1,\"item\":{\"type\":\"message\",\"id\":\"y\",\"content\":[]}}")
	 EVENT("response.content_part.added", "{\"type\":\"response.content_part.added\",\"sequence_number\":5,\"output_index\":1,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\",\"logprobs\":[]}}")
	 EVENT("response.output_text.delta", "{\"type\":\"response.output_text.delta\",\"sequence_number\":6,\"item_id\":\"y\",\"output_index\":1,\"content_index\":0,\"delta\":\"A fox.\",\"logprobs\":[{\"token\":\"SECRET\"}]}")
	 EVENT("response.completed", "{\"type\":\"response.completed\",\"sequence_number\":7,\"response\":{\"id\":\"r\",\"output\":[{\"type\":\"reasoning\",\"summary\":[{\"text\":\"SECRET\"}]},{\"type\":\"message\",\"id\":\"y\",\"content\":[{\"type\":\"output_text\",\"text\":\"A fox.\",\"annotations\":[],\"logprobs\":[{\"token\":\"SECRET\"}]}]}],\"status\":\"completed\"}}"),
	 EVENT("response.created", "{\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\",\"output\":[]}}")
	 EVENT("response.output_item.added", "{\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"y\",\"content\":[]}}")
	 EVENT("response.content_part.added", "{\"type\":\"response.content_part.added\",\"sequence_number\":2,\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\",\"logprobs\":[]}}")
	 EVENT("response.output_text.delta", "{\"type\":\"response.output_text.delta\",\"sequence_number\":3,\"item_id\":\"y\",\"output_index\":0,\"content_index\":0,\"delta\":\"A fox.\",\"logprobs\":[]}")
	 EVENT("response.completed", "{\"type\":\"response.completed\",\"sequence_number\":4,\"response\":{\"id\":\"r\",\"output\":[{\"type\":\"message\",\"id\":\"y\",\"content\":[{\"type\":\"output_text\",\"text\":\"A fox.\",\"annotations\":[],\"logprobs\":[]}]}],\"status\":\"completed\"}}")},

	{"Gemini: thoughts and their signatures go", DIALECT_GEMINI,
	 DATA("{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"SECRET\",\"thought\":true}]}}],\"usageMetadata\":{\"thoughtsTokenCount\":4}}")
	 DATA("{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"SECRET\",\"thought\":true},{\"text\":\"A fox.\",\"thoughtSignature\":\"SECRET\"}]},\"avgLogprobs\":-0.1,\"logprobsResult\":{\"x\":\"SECRET\"}}]}")
	 DATA("{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"candidatesTokenCount\":2}}"),
	 DATA("{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"A fox.\"}]}}]}")
	 DATA("{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"candidatesTokenCount\":2}}")},

	{"line breaks between tokens and CR LF", DIALECT_GEMINI,
	 ": hello\r\n\r\ndata: {\"candidates\": [\r\ndata: {\"content\":{\"parts\":[{\"text\":\"A fox.\"}]}, \"finishReason\": \"STOP\"}],\r\ndata: \"usageMetadata\":{\"a\":\r\ndata: 1}}\r\n\r\n",
	 DATA("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"A fox.\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"a\": 1}}")},
};

static const struct stream_case bodies[] = {
	{"Messages", DIALECT_ANTHROPIC,
	 "{\"id\":\"m\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"SECRET\"},{\"type\":\"text\",\"text\":\"A fox.\"},{\"type\":\"redacted_thinking\",\"data\":\"SECRET\"}],\"usage\":{\"output_tokens\":3}}",
	 "{\"id\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\"A fox.\"}],\"usage\":{\"output_tokens\":3}}"},
	{"Chat", DIALECT_OPENAI,
	 "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"A fox.\",\"reasoning_content\":\"SECRET\"},\"logprobs\":{\"content\":[\"SECRET\"]},\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":3}}",
	 "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"A fox.\"},\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":3}}"},
	{"Responses", DIALECT_RESPONSES,
	 "{\"id\":\"r\",\"output\":[{\"type\":\"reasoning\",\"encrypted_content\":\"SECRET\"},{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"A fox.\"},{\"type\":\"reasoning_text\",\"text\":\"SECRET\"}]}]}",
	 "{\"id\":\"r\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"A fox.\"}]}]}"},
	{"Gemini", DIALECT_GEMINI,
	 "{\"candidates\":[{\"content\":{\"parts\":[{\"thought\":true,\"text\":\"SECRET\"},{\"text\":\"A fox.\"}]},\"finishReason\":\"STOP\"}],\"unheard_of\":\"SECRET\"}",
	 "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"A fox.\"}]},\"finishReason\":\"STOP\"}]}"},
	{"a content of another type is none", DIALECT_OPENAI,
	 "{\"choices\":[{\"message\":{\"content\":{\"text\":\"SECRET\"}}}]}",
	 "{\"choices\":[{\"message\":{\"content\":null}}]}"},
	{"a name with escapes is not a known one", DIALECT_OPENAI,
	 "{\"choices\":[{\"message\":{\"c\\u006fntent\":\"SECRET\",\"content\":\"A fox.\"}}]}",
	 "{\"choices\":[{\"message\":{\"content\":\"A fox.\"}}]}"},
};
/* clang-format on */

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void assert_text(const struct buf *got, const char *expected)
{
	assert_false(got->failed);
	assert_int_equal(got->size, strlen(expected));
	assert_memory_equal(got->data ? got->data : "", expected, strlen(expected));
}

/* Pieces of `step` bytes, or two with the cut at `at`. */
static void filter_in_pieces(const struct stream_case *row, size_t at, size_t step, struct buf *out)
{
	struct dialect_filter filter;
	struct bytes rest = bytes_from(row->in);
	dialect_filter_init(&filter, row->dialect);
	while (rest.size) {
		size_t size = step ? step : at;
		if (size == 0 || size > rest.size)
			size = rest.size;
		char *copy = malloc(size); /* so that the sanitizer sees reads beyond it */
		assert_non_null(copy);
		memcpy(copy, rest.data, size);
		assert_true(dialect_filter_feed(&filter, bytes_of(copy, size), out));
		free(copy);
		rest = bytes_of(rest.data + size, rest.size - size);
		at = 0;
	}
	dialect_filter_release(&filter);
}

static void streams_keep_the_final_answer_however_they_are_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(streams); i++) {
		const struct stream_case *row = &streams[i];
		struct buf out = BUF_INIT(1 << 20);
		for (size_t at = 0; at <= strlen(row->in); at++) {
			buf_clear(&out);
			filter_in_pieces(row, at, 0, &out);
			assert_text(&out, row->out);
		}
		buf_clear(&out);
		filter_in_pieces(row, 0, 1, &out);
		assert_text(&out, row->out);
		assert_null(memmem(out.data, out.size, "SECRET", 6));
		buf_release(&out);
	}
}

static void what_was_filtered_stays_as_it_is(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(streams); i++) {
		struct stream_case again = streams[i];
		struct buf out = BUF_INIT(1 << 20);
		again.in = again.out;
		filter_in_pieces(&again, 0, 7, &out);
		assert_text(&out, again.out);
		buf_release(&out);
	}
}

/* The canonical answer has no reasoning in it: it is the same before and after. */
static void the_canonical_answer_is_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(streams); i++) {
		uint8_t digests[2][SHA256_SIZE];
		bool known[2];
		for (int side = 0; side < 2; side++) {
			const char *text = side ? streams[i].out : streams[i].in;
			struct dialect_observer observer;
			struct dialect_flow flow;
			dialect_observer_init(&observer, streams[i].dialect, BYTES("n"), false,
					      NULL);
			dialect_observer_feed(&observer, text, strlen(text), &flow);
			dialect_observer_end(&observer, &flow);
			known[side] = observer.outcome.digest_known;
			memcpy(digests[side], observer.outcome.answer, SHA256_SIZE);
			dialect_observer_release(&observer);
		}
		assert_int_equal(known[0], known[1]);
		if (known[0])
			assert_memory_equal(digests[0], digests[1], SHA256_SIZE);
	}
}

static void bodies_keep_the_final_answer(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bodies); i++) {
		struct buf out = BUF_INIT(1 << 20);
		assert_true(dialect_filter_body(bodies[i].dialect, bytes_from(bodies[i].in), &out));
		assert_text(&out, bodies[i].out);
		buf_release(&out);
	}
}

static void what_cannot_be_read_is_not_released(void **state)
{
	(void)state;
	static const struct stream_case rows[] = {
		{"no JSON",   DIALECT_OPENAI,    "data: SECRET\n\n", ""},
		{"no object", DIALECT_GEMINI,    "data: [1]\n\n",    ""},
		{"too many",  DIALECT_ANTHROPIC,
		 "event: content_block_start\ndata: {\"index\":1024,\"content_block\":{\"type\":"
		 "\"text\"}}\n\n",				   ""},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct dialect_filter filter;
		struct buf out = BUF_INIT(1 << 20);
		dialect_filter_init(&filter, rows[i].dialect);
		assert_false(dialect_filter_feed(&filter, bytes_from(rows[i].in), &out));
		assert_false(dialect_filter_feed(&filter, BYTES("data: {}\n\n"), &out));
		assert_int_equal(out.size, 0);
		dialect_filter_release(&filter);
		buf_release(&out);
	}
	struct buf out = BUF_INIT(1 << 20);
	assert_false(dialect_filter_body(DIALECT_OPENAI, BYTES("[]"), &out));
	assert_false(dialect_filter_body(DIALECT_OPENAI, BYTES("{\"choices\":"), &out));
	buf_release(&out);
}

static void an_event_above_the_bound_ends_the_stream(void **state)
{
	(void)state;
	struct dialect_filter filter;
	struct buf out = BUF_INIT(1 << 20), event = BUF_INIT(4 << 20);
	buf_append_cstr(&event, "data: {\"choices\":[{\"delta\":{\"content\":\"");
	for (size_t i = 0; i <= DIALECT_EVENT_MAX; i++)
		buf_append_char(&event, 'a');
	buf_append_cstr(&event, "\"}}]}\n\n");
	dialect_filter_init(&filter, DIALECT_OPENAI);
	assert_false(dialect_filter_feed(&filter, buf_bytes(&event), &out));
	assert_int_equal(out.size, 0);
	dialect_filter_release(&filter);
	buf_release(&out);
	buf_release(&event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_keep_the_final_answer_however_they_are_split),
		cmocka_unit_test(what_was_filtered_stays_as_it_is),
		cmocka_unit_test(the_canonical_answer_is_the_same),
		cmocka_unit_test(bodies_keep_the_final_answer),
		cmocka_unit_test(what_cannot_be_read_is_not_released),
		cmocka_unit_test(an_event_above_the_bound_ends_the_stream),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
