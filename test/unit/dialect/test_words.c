#include "base/encode.h"
#include "base/json.h"
#include "dialect/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char vectors[] = SOURCE_ROOT "/test/vectors/canonical-words.jsonl";

static const enum dialect_id dialects[] = {DIALECT_ANTHROPIC, DIALECT_OPENAI,  DIALECT_RESPONSES,
					   DIALECT_GEMINI,    DIALECT_MISTRAL, DIALECT_XAI};
#define DIALECTS (sizeof(dialects) / sizeof(dialects[0]))

static const char *member(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

/* Calls `check` for every body of the published vectors; returns how many. */
static unsigned for_each_body(void (*check)(const json_t *row, enum dialect_id dialect,
					    struct bytes body))
{
	char line[16384];
	unsigned count = 0;
	FILE *file = fopen(vectors, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		json_t *row = NULL;
		assert_int_equal(json_parse(bytes_from(line), "a vector", &row, NULL), ERR_OK);
		for (size_t i = 0; i < DIALECTS; i++) {
			const char *body = member(row, dialect_name(dialects[i]));
			if (body)
				check(row, dialects[i], bytes_from(body));
			count += body != NULL;
		}
		json_decref(row);
	}
	fclose(file);
	return count;
}

static void expect_text(const json_t *row, const char *key, const struct buf *got)
{
	if (strcmp(member(row, key), got->data) != 0)
		fail_msg("%s: %s is\n%s instead of\n%s", member(row, "name"), key, got->data,
			 member(row, key));
}

static void check_words(const json_t *row, enum dialect_id dialect, struct bytes body)
{
	struct buf words = BUF_INIT(65536), settings = BUF_INIT(65536);
	struct err err = ERR_INIT;
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	enum err_code code = dialect_words(dialect, body, &words, &settings, &err);
	if (json_object_get(row, "refused")) {
		if (code != ERR_INVALID || strlen(err.message) < 10)
			fail_msg("%s is not refused", member(row, "name"));
	} else {
		if (code != ERR_OK)
			fail_msg("%s: %s", member(row, "name"), err.message);
		expect_text(row, "words", &words);
		expect_text(row, "settings", &settings);
		sha256_of(words.data, words.size, digest);
		hex_encode(digest, sizeof(digest), hex);
		assert_string_equal(hex, member(row, "sha256"));
	}
	buf_release(&words);
	buf_release(&settings);
}

static void test_published_vectors(void **state)
{
	(void)state;
	assert_true(for_each_body(check_words) >= 110);
}

/* Words and settings made into a request and read again are the same, in every dialect that can say
 * them. */
static void check_round_trip(const json_t *row, enum dialect_id dialect, struct bytes body)
{
	struct buf request = BUF_INIT(65536), words = BUF_INIT(65536), settings = BUF_INIT(65536);
	struct err err = ERR_INIT;
	(void)body;
	if (json_object_get(row, "refused"))
		return;
	if (dialect_build_request_text(dialect, bytes_from(member(row, "words")),
				       bytes_from(member(row, "settings")), "model-1", true,
				       &request, &err) != ERR_OK)
		fail_msg("%s: %s", member(row, "name"), err.message);
	if (dialect_words(dialect, buf_bytes(&request), &words, &settings, &err) != ERR_OK)
		fail_msg("%s: %s", member(row, "name"), err.message);
	expect_text(row, "words", &words);
	expect_text(row, "settings", &settings);
	buf_release(&request);
	buf_release(&words);
	buf_release(&settings);
}

static void test_requests_built_from_words(void **state)
{
	(void)state;
	for_each_body(check_round_trip);
}

static void test_built_request_text(void **state)
{
	static const struct {
		enum dialect_id dialect;
		bool stream;
		const char *wanted;
	} rows[] = {
		{DIALECT_ANTHROPIC, false,
		 "{\"max_tokens\":64,\"messages\":[{\"content\":\"Hi\",\"role\":\"user\"}],"
		 "\"model\":\"m-1\",\"system\":\"S\",\"temperature\":0}"},
		{DIALECT_OPENAI,    true,
		 "{\"max_completion_tokens\":64,\"messages\":[{\"content\":\"S\",\"role\":"
		 "\"system\"},{\"content\":\"Hi\",\"role\":\"user\"}],\"model\":\"m-1\","
		 "\"stream\":true,\"stream_options\":{\"include_usage\":true},"
		 "\"temperature\":0}"                                   },
	};
	struct buf out = BUF_INIT(4096);
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		buf_clear(&out);
		assert_int_equal(
			dialect_build_request_text(
				rows[i].dialect,
				BYTES("{\"system\":[{\"type\":\"text\",\"text\":\"S\"}],"
				      "\"messages\":"
				      "[{\"role\":\"user\",\"parts\":[{\"type\":\"text\",\"text\":"
				      "\"Hi\"}]}]}"),
				BYTES("{\"max_output\":64,\"temperature\":0}"), "m-1",
				rows[i].stream, &out, NULL),
			ERR_OK);
		assert_string_equal(out.data, rows[i].wanted);
	}
	buf_release(&out);
}

static void test_what_a_dialect_cannot_say(void **state)
{
	static const struct {
		enum dialect_id dialect;
		const char *words, *settings, *reason;
	} rows[] = {
		{DIALECT_ANTHROPIC, "{\"messages\":[{\"role\":\"system\",\"parts\":[]}]}", "{}",
		 "system"											     },
		{DIALECT_ANTHROPIC,
		 "{\"messages\":[{\"role\":\"user\",\"parts\":[]}],\"format\":{\"type\":"
		 "\"json_object\"}}",						      "{}", "format"             },
		{DIALECT_ANTHROPIC, "{\"messages\":[{\"role\":\"user\",\"parts\":[]}]}",
		 "{\"frequency_penalty\":1}",						    "frequency_penalty"  },
		{DIALECT_OPENAI,    "{\"messages\":[{\"role\":\"user\",\"parts\":[]}]}",
		 "{\"top_k\":1}",								"top_k"              },
		{DIALECT_OPENAI,    "{\"messages\":[{\"parts\":[]}]}",                     "{}", "role"               },
		{DIALECT_OPENAI,
		 "{\"messages\":[{\"role\":\"user\",\"parts\":[{\"type\":\"x\"}]}]}",      "{}", "part"               },
		{DIALECT_RESPONSES, "{\"messages\":[{\"role\":\"user\",\"parts\":[]}]}",
		 "{\"frequency_penalty\":1}",						    "frequency_penalty"  },
		{DIALECT_RESPONSES,
		 "{\"messages\":[{\"role\":\"assistant\",\"parts\":[]},{\"role\":\"assistant\","
		 "\"parts\":[{\"type\":\"tool_call\",\"call\":0,\"name\":\"f\",\"arguments\":{}}]}]"
		 "}",								      "{}", "message before"     },
		{DIALECT_GEMINI,    "{\"messages\":[{\"role\":\"system\",\"parts\":[]}]}", "{}",
		 "system"											     },
		{DIALECT_GEMINI,
		 "{\"messages\":[{\"role\":\"user\",\"parts\":[{\"type\":\"tool_result\",\"call\":"
		 "0,"
		 "\"parts\":[]}]}]}",						      "{}", "answer a call"      },
		{DIALECT_GEMINI,
		 "{\"messages\":[{\"role\":\"user\",\"parts\":[]}],\"tools\":[{\"name\":\"f\","
		 "\"strict\":true}]}",						     "{}", "strict"             },
		{DIALECT_GEMINI,    "{\"messages\":[{\"role\":\"user\",\"parts\":[]}]}",
		 "{\"parallel_tool_calls\":false}",                                              "parallel_tool_calls"},
		{DIALECT_MISTRAL,   "{\"messages\":[{\"role\":\"user\",\"parts\":[]}]}",
		 "{\"verbosity\":\"low\"}",						      "verbosity"          },
		{DIALECT_OPENAI,    "not JSON",                                            "{}", "words"              },
	};
	struct buf out = BUF_INIT(4096);
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err err = ERR_INIT;
		buf_clear(&out);
		assert_int_equal(dialect_build_request_text(
					 rows[i].dialect, bytes_from(rows[i].words),
					 bytes_from(rows[i].settings), "m", false, &out, &err),
				 ERR_INVALID);
		if (!strstr(err.message, rows[i].reason))
			fail_msg("%s", err.message);
	}
	buf_release(&out);
}

static void test_damaged_bodies_are_refused(void **state)
{
	static const char *const bodies[] = {
		"",
		"[]",
		"null",
		"{\"messages\":1}",
		"{\"messages\":[1]}",
		"{\"messages\":[{}]}",
		"{\"messages\":[{\"role\":1,\"content\":\"x\"}]}",
		"{\"messages\":[{\"role\":\"user\",\"content\":1}]}",
		"{\"messages\":[{\"role\":\"user\",\"content\":[1]}]}",
		"{\"messages\":[{\"role\":\"user\",\"content\":[{}]}]}",
		"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
		"{\"messages\":[{\"role\":\"user\",\"content\":\"a\\u0000b\"}]}",
		"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":{}}",
		"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":[1]}",
		"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tool_choice\":\"x\"}",
		"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"temperature\":\"0\"}",
		"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"max_tokens\":0}",
		"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"max_tokens\":1.5}",
		"{\"input\":1}",
		"{\"input\":[1]}",
		"{\"input\":[{}]}",
		"{\"input\":[{\"role\":\"user\",\"content\":[1]}]}",
		"{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\"}]}]}",
		"{\"input\":[{\"type\":1}]}",
		"{\"input\":\"a\\u0000b\"}",
		"{\"input\":\"a\",\"instructions\":1}",
		"{\"input\":\"a\",\"tools\":{}}",
		"{\"input\":\"a\",\"tools\":[1]}",
		"{\"input\":\"a\",\"tool_choice\":1}",
		"{\"input\":\"a\",\"text\":1}",
		"{\"input\":\"a\",\"text\":{\"format\":1}}",
		"{\"input\":\"a\",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\"}}}",
		"{\"input\":\"a\",\"reasoning\":1}",
		"{\"input\":\"a\",\"include\":1}",
		"{\"input\":\"a\",\"max_output_tokens\":0}",
		"{\"contents\":1}",
		"{\"contents\":[1]}",
		"{\"contents\":[{\"parts\":1}]}",
		"{\"contents\":[{\"parts\":[1]}]}",
		"{\"contents\":[{\"parts\":[{}]}]}",
		"{\"contents\":[{\"parts\":[{\"text\":1}]}]}",
		"{\"contents\":[{\"role\":\"model\",\"parts\":[{\"functionCall\":1}]}]}",
		"{\"contents\":[{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\","
		"\"args\":"
		"1}}]}]}",
		"{\"contents\":[{\"parts\":[{\"text\":\"a\"}]}],\"systemInstruction\":1}",
		"{\"contents\":[{\"parts\":[{\"text\":\"a\"}]}],\"systemInstruction\":{\"parts\":1}"
		"}",
		"{\"contents\":[{\"parts\":[{\"text\":\"a\"}]}],\"tools\":[{"
		"\"functionDeclarations\":1}]}",
		"{\"contents\":[{\"parts\":[{\"text\":\"a\"}]}],\"generationConfig\":1}",
		"{\"contents\":[{\"parts\":[{\"text\":\"a\"}]}],\"toolConfig\":{"
		"\"functionCallingConfig\":{\"mode\":1}}}",
	};
	struct buf words = BUF_INIT(4096);
	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		for (size_t k = 0; k < DIALECTS; k++) {
			struct err err = ERR_INIT;
			if (dialect_words(dialects[k], bytes_from(bodies[i]), &words, NULL, &err) !=
			    ERR_INVALID)
				fail_msg("%s: accepted", bodies[i]);
			assert_true(strlen(err.message) > 10);
		}
	buf_release(&words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_vectors),
		cmocka_unit_test(test_requests_built_from_words),
		cmocka_unit_test(test_built_request_text),
		cmocka_unit_test(test_what_a_dialect_cannot_say),
		cmocka_unit_test(test_damaged_bodies_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
