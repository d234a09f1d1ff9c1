/* Members of an event are found where the scan has noted them, and nowhere else than a full walk
 * over the event finds them: over events as the APIs send them, and over many thousand spoilt ones.
 */
#include "dialect/ops.h"

#include "base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SPOILT 4000 /* of each event */
#define TEXT_MAX 1024
#define NAMES 12

static const char *const events[] = {
	"{\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\","
	"\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}],"
	"\"usage\":null}",
	"{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,"
	"\"prompt_tokens_details\":{\"cached_tokens\":2}},\"model\":\"m\"}",
	"{\"error\":{\"message\":\"no \\\"way\\\"\",\"code\":500}}",
	"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
	"\"text\":\"a \\u00e9 \\ud83d\\ude00 {\\\"index\\\":9}\"}}",
	" \n{ \"type\" : \"message_start\" , \"message\" : { \"model\" : \"m\" , \"usage\" : { "
	"\"input_tokens\" : 3 } } }\r\n ",
	"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},"
	"\"usage\":{\"output_tokens\":64}}",
	"{\"type\":\"response.output_text.delta\",\"output_index\":1,\"delta\":\"x\","
	"\"response\":{\"model\":\"m\",\"delta\":\"inner\"},\"item\":{\"type\":\"function_call\"}}",
	"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"t\"}]},\"finishReason\":\"STOP\"}],"
	"\"usageMetadata\":{\"promptTokenCount\":-1.5e3},\"modelVersion\":\"m\",\"index\":true}",
	"[{\"delta\":1},{\"index\":2}]",
	"\"choices\"",
	"{}",
};

static const struct bytes names[NAMES] = {
	{"choices",       7 },
        {"usage",         5 },
        {"model",         5 },
        {"error",         5 },
	{"index",         5 },
        {"delta",         5 },
        {"message",       7 },
        {"type",          4 },
	{"usageMetadata", 13},
        {"candidates",    10},
        {"response",      8 },
        {"x",             1 },
};

/* True where the text was accepted. */
static bool check(struct bytes text)
{
	struct dialect_observer observer;
	struct json_scan scan;
	struct json_value root, whole = json_value_at(text), found[NAMES], walked[NAMES];
	dialect_observer_init(&observer, DIALECT_OPENAI, BYTES(""), false, NULL);
	bool accepted = observer_scan(&observer, text, &scan, &root);
	assert_int_equal(observer.outcome.malformed, !accepted);
	json_value_members(root, names, found, NAMES);
	json_value_members(whole, names, walked, NAMES);
	assert_int_equal(root.type, whole.type);
	for (unsigned i = 0; i < NAMES; i++) {
		struct json_value one = json_scan_find(root, names[i].data);
		struct json_value nested = json_scan_find(root, "delta.text");
		struct json_value deep = json_scan_find(whole, "delta.text");
		assert_int_equal(found[i].type, walked[i].type);
		assert_int_equal(one.type, walked[i].type);
		assert_ptr_equal(found[i].text.data, walked[i].text.data);
		assert_int_equal(found[i].text.size, walked[i].text.size);
		assert_ptr_equal(nested.text.data, deep.text.data);
		assert_int_equal(nested.text.size, deep.text.size);
	}
	return accepted;
}

static void events_as_they_are_sent(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		assert_true(check(bytes_from(events[i])));
}

/* Bytes changed, doubled, taken out; members given again, under the same name or behind an escape.
 */
static size_t spoil(struct prng *prng, char *text, size_t size)
{
	static const char *const pieces[] = {
		"\"usage\":1,",          "\"index\":{},", ",",  "}",   "\\",
		"\"\\u0064elta\":null,", "\"Delta\":[],", "\"", "{\"", " "};
	size_t at = (size_t)prng_below(prng, size + 1);
	const char *piece = pieces[prng_below(prng, sizeof(pieces) / sizeof(pieces[0]))];
	size_t length = strlen(piece);
	if (prng_below(prng, 2) == 0 && size + length < TEXT_MAX) {
		const char *brace = memchr(text, '{', size);
		if (brace && prng_below(prng, 2) == 0)
			at = (size_t)(brace - text) + 1;
		memmove(text + at + length, text + at, size - at);
		memcpy(text + at, piece, length);
		return size + length;
	}
	if (at == size)
		return size;
	if (prng_below(prng, 2) == 0) {
		text[at] = (char)prng_below(prng, 256);
		return size;
	}
	memmove(text + at, text + at + 1, size - at - 1);
	return size - 1;
}

static void spoilt_events(void **state)
{
	(void)state;
	struct prng prng = {5};
	unsigned accepted = 0, refused = 0;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		for (unsigned k = 0; k < SPOILT; k++) {
			char text[TEXT_MAX];
			size_t size = strlen(events[i]);
			memcpy(text, events[i], size);
			for (uint64_t n = 1 + prng_below(&prng, 3); n > 0; n--)
				size = spoil(&prng, text, size);
			if (check(bytes_of(text, size)))
				accepted++;
			else
				refused++;
		}
	}
	print_message("%u accepted, %u refused\n", accepted, refused);
	assert_true(accepted > 2000);
	assert_true(refused > 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_as_they_are_sent),
		cmocka_unit_test(spoilt_events),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
