/* Items whose words hold answers, by the published vectors: what is asked at a step, the same in
 * every dialect, and what the gateway takes it for. */
#include "suite/conversation.h"

#include "base/encode.h"
#include "base/json.h"
#include "dialect/dialect.h"
#include "policy/binding.h"
#include "policy/shape.h"
#include "suite/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define VECTORS SOURCE_ROOT "/test/vectors/conversations.jsonl"

static struct hmac_key secret;

static const char *text_of(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

static json_t *parse(const char *text)
{
	json_t *tree;
	struct err err = ERR_INIT;
	if (json_parse(bytes_from(text), "a vector", &tree, &err) != ERR_OK)
		fail_msg("%s", err.message);
	return tree;
}

static void keyed(const uint8_t digest[static SHA256_SIZE], uint8_t out[static SCRIPT_DIGEST_SIZE])
{
	binding_digest(&secret, digest, out);
}

/* The turns that are answers are taken for those that were given, and the words for the step. */
static void check_step(const json_t *row, const json_t *words, size_t size)
{
	struct script_item item;
	struct script_request request;
	struct script_said said;
	struct err err = ERR_INIT;
	uint8_t digest[SCRIPT_DIGEST_SIZE];
	json_t *tree = parse(text_of(row, "item"));
	const json_t *answers = json_object_get(row, "answers");
	unsigned step = (unsigned)json_integer_value(json_object_get(row, "step"));
	assert_int_equal(script_item_read(tree, &item, &err), ERR_OK);
	assert_int_equal(item.kind, SCRIPT_CONVERSATION);
	assert_true(item.steps > step);
	assert_true(script_request_read(&secret, words, size, &request));
	if (step == 0) { /* found as it stands */
		uint8_t whole[SHA256_SIZE];
		assert_int_equal(json_canonical_digest(words, whole, &err), ERR_OK);
		assert_memory_equal(whole, item.digests[0], SHA256_SIZE);
	} else {
		keyed(item.digests[step], digest);
		assert_memory_equal(request.skeletons[step], digest, SCRIPT_DIGEST_SIZE);
	}
	assert_true(request.turn_count >= step);
	for (unsigned i = 0; i < step; i++) {
		const json_t *answer = json_array_get(answers, i);
		assert_true(script_said_of(&secret, bytes_from(text_of(answer, "text")),
					   json_object_get(answer, "tool_calls"), &said));
		const struct script_said *turn = &request.turns[request.turn_count - step + i];
		assert_int_equal(turn->size, said.size);
		assert_memory_equal(turn->digest, said.digest, SCRIPT_DIGEST_SIZE);
	}
	json_decref(tree);
}

static void check_judge(const json_t *row, const json_t *words, size_t size)
{
	struct script_item item;
	struct script_request request;
	struct err err = ERR_INIT;
	uint8_t frame[SCRIPT_DIGEST_SIZE];
	json_t *tree = parse(text_of(row, "item"));
	assert_int_equal(script_item_read(tree, &item, &err), ERR_OK);
	assert_int_equal(item.kind, SCRIPT_JUDGE);
	assert_int_equal(item.slot_count, json_array_size(json_object_get(row, "slots")));
	assert_true(script_request_read(&secret, words, size, &request));
	keyed(item.frame, frame);
	assert_memory_equal(request.frame, frame, SCRIPT_DIGEST_SIZE);
	assert_true(bytes_starts_with(request.text, item.literals[0]));
	json_decref(tree);
}

static void check_body(const json_t *row, const char *dialect, const char *body)
{
	struct buf words = BUF_INIT(65536);
	struct err err = ERR_INIT;
	if (dialect_words(dialect_from_name(bytes_from(dialect)), bytes_from(body), &words, NULL,
			  &err) != ERR_OK)
		fail_msg("%s, %s: %s", text_of(row, "name"), dialect, err.message);
	if (strcmp(words.data, text_of(row, "asked")) != 0)
		fail_msg("%s, %s: %s", text_of(row, "name"), dialect, words.data);
	json_t *tree = parse(words.data);
	if (json_object_get(row, "slots"))
		check_judge(row, tree, words.size);
	else
		check_step(row, tree, words.size);
	json_decref(tree);
	buf_release(&words);
}

/* What the harness makes of item and answers; it goes on from texts alone, in one part. */
static void check_built(const json_t *row)
{
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT(65536);
	json_t *item = parse(text_of(row, "item")), *words, *texts = json_array(), *answer;
	const json_t *slots = json_object_get(row, "slots");
	size_t i;
	json_array_foreach(json_object_get(row, "answers"), i, answer)
	{
		if (json_array_size(json_object_get(answer, "tool_calls")) ||
		    strstr(text_of(row, "name"), "two parts")) {
			json_decref(texts);
			json_decref(item);
			return;
		}
		json_array_append(texts, json_object_get(answer, "text"));
	}
	enum err_code code = slots ? conversation_judged(item, slots, &words, &err)
				   : conversation_step(item, texts, &words, &err);
	if (code != ERR_OK)
		fail_msg("%s: %s", text_of(row, "name"), err.message);
	assert_int_equal(json_canonical(words, &text, &err), ERR_OK);
	assert_string_equal(text.data, text_of(row, "asked"));
	json_decref(words);
	json_decref(texts);
	json_decref(item);
	buf_release(&text);
}

static void published_vectors(void **state)
{
	(void)state;
	char line[16384];
	unsigned count = 0;
	FILE *file = fopen(VECTORS, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		json_t *row = parse(line), *body;
		const char *dialect;
		json_object_foreach(json_object_get(row, "bodies"), dialect, body)
		{
			check_body(row, dialect, json_string_value(body));
			count++;
		}
		check_built(row);
		json_decref(row);
	}
	fclose(file);
	assert_true(count >= 54);
}

static void steps_that_are_not_there(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	json_t *out,
		*item = parse("{\"messages\":[{\"role\":\"user\",\"parts\":[{\"type\":\"text\","
			      "\"text\":\"A\"}]}]}");
	json_t *answers = json_pack("[s]", "x");
	assert_int_equal(conversation_step(item, answers, &out, &err), ERR_INVALID);
	assert_null(out);
	assert_int_equal(conversation_judged(item, answers, &out, &err), ERR_INVALID);
	assert_null(out);
	json_decref(answers);
	json_decref(item);
}

/* What is stored of a suite's shape is read again, and nothing else is. */
static void a_shape_is_stored_and_read(void **state)
{
	(void)state;
	static const char *const items[] = {
		"{\"messages\":[{\"role\":\"user\",\"text\":\"A\"}]}",
		"{\"messages\":[{\"role\":\"user\",\"text\":\"A\"},{\"role\":\"assistant\","
		"\"answer\":true},{\"role\":\"user\",\"text\":\"B\"}]}",
		"{\"messages\":[{\"role\":\"user\",\"parts\":[{\"type\":\"template\",\"pieces\":"
		"[\"Is it? \",{\"leaf\":1}]}]}]}",
	};
	struct shape_builder builder;
	struct buf stored = BUF_INIT(4096);
	struct shape *shape;
	struct err err = ERR_INIT;
	uint32_t judge, leaf;
	unsigned step;
	shape_builder_init(&builder);
	for (size_t i = 0; i < 3; i++) {
		struct script_item item;
		json_t *raw = parse(items[i]), *words;
		assert_int_equal(words_normalise(raw, &words, &err), ERR_OK);
		assert_int_equal(script_item_read(words, &item, &err), ERR_OK);
		assert_int_equal(script_kind_of(words), item.kind);
		assert_true(shape_builder_add(&builder, &secret, &item));
		json_decref(words);
		json_decref(raw);
	}
	assert_false(shape_builder_wrong_slot(&builder, &judge, &leaf));
	shape_builder_encode(&builder, &stored);
	shape_builder_release(&builder);
	assert_int_equal(shape_decode(buf_bytes(&stored), 3, &shape, &err), ERR_OK);
	assert_int_equal(shape->unit_count, 4);
	assert_int_equal(shape_unit(shape, 1, 1), 2);
	assert_int_equal(shape_leaf(shape, 2, &step), 1);
	assert_int_equal(step, 1);
	assert_int_equal(shape_leaf(shape, 3, &step), 2);
	assert_int_equal(step, 0);
	assert_null(shape_judge_of(shape, 1));
	assert_int_equal(shape_judge_of(shape, 2)->slot_leaf[0], 1);
	shape_free(shape);
	for (size_t size = 1; size < stored.size; size++) {
		enum err_code code = shape_decode(bytes_of(stored.data, size), 3, &shape, &err);
		assert_int_equal(code, size == 3 ? ERR_OK : ERR_CORRUPT);
		shape_free(shape);
	}
	for (size_t at = 0; at < 11; at++) { /* steps, the judge's leaf and its number of slots */
		struct buf bent = BUF_INIT(4096);
		buf_append_bytes(&bent, buf_bytes(&stored));
		bent.data[at] = 77;
		assert_int_equal(shape_decode(buf_bytes(&bent), 3, &shape, &err), ERR_CORRUPT);
		assert_null(shape);
		buf_release(&bent);
	}
	buf_release(&stored);
}

static int set_up(void **state)
{
	(void)state;
	hmac_key_init(&secret, "a secret", 8);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(steps_that_are_not_there),
		cmocka_unit_test(a_shape_is_stored_and_read),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
