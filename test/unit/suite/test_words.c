#include "suite/words.h"

#include "base/encode.h"
#include "base/json.h"
#include "folder.h"

#define VECTORS SOURCE_ROOT "/test/vectors/canonical-words.jsonl"

static void check(const char *prompt_text, const char *expected)
{
	struct err err = ERR_INIT;
	struct buf out = BUF_INIT(4096);
	json_t *prompt;
	assert_int_equal(json_parse(bytes_from(prompt_text), "prompt", &prompt, NULL), ERR_OK);
	if (words_canonical(prompt, &out, &err) != ERR_OK)
		fail_msg("%s", err.message);
	assert_string_equal(out.data, expected);
	json_decref(prompt);
	buf_release(&out);
}

#define HELLO \
	"{\"messages\":[{\"parts\":[{\"text\":\"Hello\",\"type\":\"text\"}],\"role\":\"user\"}]}"

static void test_equal_forms(void **state)
{
	(void)state;
	check("\"Hello\"", HELLO);
	check("{\"messages\":[{\"role\":\"user\",\"text\":\"Hello\"}]}", HELLO);
	check("{\"messages\":[{\"parts\":\"Hello\",\"role\":\"user\"}],\"system\":\"\",\"tools\":[]"
	      ","
	      "\"format\":null}",
	      HELLO);
	check("{\"system\":null,\"messages\":[{\"parts\":[{\"type\":\"text\",\"text\":\"Hello\"}],"
	      "\"role\":\"user\"}]}",
	      HELLO);
	check("{\"messages\":[{\"role\":\"assistant\",\"text\":\"\"}]}",
	      "{\"messages\":[{\"parts\":[],\"role\":\"assistant\"}]}");
	check("{\"system\":\"S\",\"messages\":[{\"role\":\"user\",\"text\":\"Hello\"}]}",
	      "{\"messages\":[{\"parts\":[{\"text\":\"Hello\",\"type\":\"text\"}],\"role\":"
	      "\"user\"}],"
	      "\"system\":[{\"text\":\"S\",\"type\":\"text\"}]}");
}

static void refuse(const char *prompt_text)
{
	struct err err = ERR_INIT;
	json_t *prompt, *words;
	assert_int_equal(json_parse(bytes_from(prompt_text), "prompt", &prompt, NULL), ERR_OK);
	assert_int_equal(words_normalise(prompt, &words, &err), ERR_INVALID);
	assert_null(words);
	assert_true(strlen(err.message) > 10);
	json_decref(prompt);
}

static void test_refused(void **state)
{
	(void)state;
	refuse("5");
	refuse("\"a\\u0000b\"");
	refuse("[]");
	refuse("{}");
	refuse("{\"messages\":[]}");
	refuse("{\"messages\":\"Hello\"}");
	refuse("{\"messages\":[\"Hello\"]}");
	refuse("{\"messages\":[{\"role\":\"user\"}]}");
	refuse("{\"messages\":[{\"text\":\"Hello\"}]}");
	refuse("{\"messages\":[{\"role\":\"user\",\"text\":\"a\",\"parts\":[]}]}");
	refuse("{\"messages\":[{\"role\":\"user\",\"text\":5}]}");
	refuse("{\"messages\":[{\"role\":\"user\",\"parts\":[{\"type\":\"text\"}]}]}");
	refuse("{\"messages\":[{\"role\":\"user\",\"parts\":[{\"type\":\"text\",\"text\":\"a\","
	       "\"x\":1}]}]}");
	refuse("{\"messages\":[{\"role\":\"user\",\"text\":\"a\"}],\"stream\":true}");
	refuse("{\"messages\":[{\"role\":\"user\",\"text\":\"a\"}],\"tools\":{}}");
}

static void test_match_digest_ignores_tools(void **state)
{
	(void)state;
	uint8_t plain[SHA256_SIZE], with_tools[SHA256_SIZE], expected[SHA256_SIZE],
		other[SHA256_SIZE];
	assert_int_equal(words_text_match_digest(BYTES(HELLO), plain, NULL), ERR_OK);
	sha256_of(HELLO, strlen(HELLO), expected);
	assert_memory_equal(plain, expected, sizeof(plain));
	assert_int_equal(
		words_text_match_digest(
			BYTES("{\"format\":{\"a\":1},\"messages\":[{\"parts\":[{\"text\":\"Hello\","
			      "\"type\":\"text\"}],\"role\":\"user\"}],\"tools\":[{}]}"),
			with_tools, NULL),
		ERR_OK);
	assert_memory_equal(plain, with_tools, sizeof(plain));
	assert_int_equal(
		words_text_match_digest(BYTES("{\"messages\":[],\"system\":[]}"), other, NULL),
		ERR_OK);
	assert_memory_not_equal(plain, other, sizeof(plain));
	assert_int_equal(words_text_match_digest(BYTES("{"), other, NULL), ERR_INVALID);
}

/* The published words of every vector are in normal form already. */
static void check_vector(struct bytes row)
{
	struct buf out = BUF_INIT(1 << 20);
	struct err err = ERR_INIT;
	json_t *vector, *words;
	assert_int_equal(json_parse(row, "vector", &vector, NULL), ERR_OK);
	const json_t *text = json_object_get(vector, "words");
	if (json_is_string(text)) {
		struct bytes bytes = bytes_of(json_string_value(text), json_string_length(text));
		assert_int_equal(json_parse(bytes, "words", &words, NULL), ERR_OK);
		if (words_canonical(words, &out, &err) != ERR_OK)
			fail_msg("%s: %.*s", err.message, BYTES_ARG(bytes));
		assert_true(bytes_equal(buf_bytes(&out), bytes));
		json_decref(words);
	}
	json_decref(vector);
	buf_release(&out);
}

static void test_published_vectors(void **state)
{
	const struct folder *folder = *state;
	struct buf text = BUF_INIT(1 << 24);
	if (!env_file_exists(folder->env, VECTORS))
		skip();
	assert_int_equal(env_read_file(folder->env, VECTORS, &text, NULL), ERR_OK);
	struct bytes rest = buf_bytes(&text);
	while (rest.size) {
		struct bytes row = bytes_split(rest, '\n', &rest);
		if (row.size)
			check_vector(row);
	}
	buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_forms),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_match_digest_ignores_tools),
		cmocka_unit_test_setup_teardown(test_published_vectors, folder_setup,
						folder_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
