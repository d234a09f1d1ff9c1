/* Commitments against vectors of another implementation, openings and withheld.json in every shape
 * that they must not have, and what is taken out of plans, summaries and lines. */
#include "grade/published.h"

#include "base/encode.h"
#include "base/json.h"
#include "env/env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define DIGEST "abababababababababababababababababababababababababababababababab"

static json_t *parse(const char *text)
{
	json_t *tree = NULL;
	struct err err = ERR_INIT;
	assert_int_equal(json_parse(bytes_from(text), "test", &tree, &err), ERR_OK);
	return tree;
}

static void test_vectors(void **state)
{
	struct env *env = env_os_new(1);
	struct buf text = BUF_INIT(1 << 20);
	size_t count = 0;
	(void)state;
	assert_int_equal(env_read_file(env, PARLEY_SOURCE_ROOT "/test/vectors/commitments.jsonl",
				       &text, NULL),
			 ERR_OK);
	struct bytes rest = buf_bytes(&text);
	while (rest.size) {
		json_t *line = NULL;
		struct opening opening;
		uint8_t commitment[SHA256_SIZE];
		char hex[2 * SHA256_SIZE + 1];
		struct err err = ERR_INIT;
		assert_int_equal(json_parse(bytes_split(rest, '\n', &rest), "v", &line, &err),
				 ERR_OK);
		bool opened = json_is_true(json_object_get(line, "opened"));
		json_t *expected = json_incref(json_object_get(line, "commitment"));
		json_object_del(line, "opened");
		json_object_del(line, "commitment");
		assert_int_equal(opening_read(line, "v", &opening, &err), ERR_OK);
		commitment_make(opening.salt, opening.label, opening.value, commitment);
		hex_encode(commitment, sizeof(commitment), hex);
		assert_int_equal(strcmp(hex, json_string_value(expected)) == 0, opened);
		json_decref(expected);
		json_decref(line);
		count++;
	}
	assert_int_equal(count, 12);
	buf_release(&text);
	env_os_free(env);
}

static void test_openings(void **state)
{
	static const char *const wrong[] = {
		"[]",
		"{}",
		"{\"label\":\"plan\",\"salt\":\"" DIGEST "\"}",
		"{\"label\":\"plan\",\"salt\":\"ab\",\"value\":\"\"}",
		"{\"label\":\"plan\",\"salt\":\"" DIGEST "00\",\"value\":\"\"}",
		"{\"label\":7,\"salt\":\"" DIGEST "\",\"value\":\"\"}",
		"{\"label\":\"plan\",\"salt\":\"" DIGEST "\",\"value\":{}}",
		"{\"label\":\"plan\",\"salt\":\"" DIGEST "\",\"value\":\"\",\"more\":1}",
		"{\"label\":\"plan\",\"salt\":\"" DIGEST "\",\"value\":\"\",\"proof\":7}",
		"{\"label\":\"plan\",\"salt\":\"" DIGEST "\",\"value\":\"\",\"proof\":[\"ab\"]}",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		json_t *line = parse(wrong[i]);
		struct opening opening;
		struct err err = ERR_INIT;
		assert_int_equal(opening_read(line, "FILE:7", &opening, &err), ERR_INVALID);
		assert_non_null(strstr(err.message, "FILE:7"));
		json_decref(line);
	}
}

static const char good[] =
	"{\"format\":\"parley-withheld-1\",\"grants\":{\"g\":\"" DIGEST "\"},"
	"\"plan\":{\"commitment\":\"" DIGEST "\",\"digest\":\"" DIGEST "\"},"
	"\"summary\":\"" DIGEST "\",\"suites\":[{\"items\":[{\"commitment\":\"" DIGEST "\","
	"\"cluster\":\"0\",\"expect\":\"refuse\",\"steps\":3}],\"judged\":true,\"kind\":\"safety\","
	"\"leaves\":[\"" DIGEST "\",\"" DIGEST "\"],\"licence\":\"\",\"name\":\"s\","
	"\"samples\":1,\"scorer\":\"refusal\",\"settings\":{},\"version\":\"1\"}]}";

static void test_withheld(void **state)
{
	static const struct {
		const char *from, *to; /* the first `from` is replaced */
		enum err_code code;
	} changes[] = {
		{"withheld-1",                      "withheld-2",                    ERR_UNSUPPORTED},
		{"\"g\":\"ab",                      "\"g\":\"AB",                    ERR_INVALID    },
		{"\"digest\"",                      "\"digests\"",                   ERR_INVALID    },
		{"\"summary\":\"ab",                "\"summary\":\"",                ERR_INVALID    },
		{"\"suites\":[{",                   "\"suites\":[{\"more\":1,",      ERR_INVALID    },
		{"\"suites\":",                     "\"suite\":",                    ERR_INVALID    },
		{"\"items\":[{\"commitment\":\"ab", "\"items\":[{\"commitment\":\"", ERR_INVALID    },
		{"\"cluster\":\"0\"",               "\"cluster\":0",                 ERR_INVALID    },
		{"\"expect\":\"refuse\"",           "\"expect\":\"refused\"",        ERR_INVALID    },
		{"\"steps\":3",                     "\"steps\":1",                   ERR_INVALID    },
		{"\"steps\":3",                     "\"steps\":33",                  ERR_INVALID    },
		{"\"leaves\":[\"" DIGEST "\",",     "\"leaves\":[",                  ERR_INVALID    },
		{"\"judged\":true,",                "",                              ERR_INVALID    },
		{"\"samples\":1",                   "\"samples\":0",                 ERR_INVALID    },
		{"\"settings\":{}",                 "\"settings\":[]",               ERR_INVALID    },
	};
	struct err err = ERR_INIT;
	json_t *tree = parse(good);
	(void)state;
	assert_int_equal(published_check(tree, &err), ERR_OK);
	json_decref(tree);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct buf text = BUF_INIT(4096);
		const char *at = strstr(good, changes[i].from);
		assert_non_null(at);
		buf_append(&text, good, (size_t)(at - good));
		buf_append_cstr(&text, changes[i].to);
		buf_append_cstr(&text, at + strlen(changes[i].from));
		tree = parse(text.data);
		assert_int_equal(published_check(tree, &err), changes[i].code);
		json_decref(tree);
		buf_release(&text);
	}
}

static void check_stripped(json_t *(*strip)(const json_t *, bool *), const char *from,
			   const char *to)
{
	json_t *tree = parse(from), *expected = parse(to);
	bool withheld;
	json_t *stripped = strip(tree, &withheld);
	assert_true(json_equal(stripped, expected));
	assert_int_equal(withheld, strcmp(from, to) != 0);
	json_decref(tree);
	json_decref(expected);
	json_decref(stripped);
}

static void test_plan(void **state)
{
	(void)state;
	check_stripped(
		published_plan,
		"{\"budget\":{\"tokens\":0,\"usd\":0.0},\"id\":\"ab\",\"models\":[{\"name\":\"m\","
		"\"replay\":\"x.jsonl\"}]}",
		"{\"budget\":{\"tokens\":0,\"usd\":0.0},\"id\":\"ab\",\"models\":[{\"name\":\"m\","
		"\"replay\":\"x.jsonl\"}]}");
	/* With the id a price could be guessed from the digest. */
	check_stripped(
		published_plan,
		"{\"budget\":{\"tokens\":0,\"usd\":2.5},\"id\":\"ab\",\"models\":[{\"name\":\"m\","
		"\"price\":{\"input\":3},\"replay\":\"files/x.jsonl\",\"signing_key\":\"k\"}]}",
		"{\"budget\":{\"tokens\":0,\"usd\":0.0},\"id\":\"00000000000000000000000000000000\""
		",\"models\":[{\"name\":\"m\",\"replay\":\"withheld\"}]}");
}

static void test_summary(void **state)
{
	(void)state;
	check_stripped(published_summary, "{\"ending\":\"complete\",\"models\":[{\"name\":\"m\"}]}",
		       "{\"ending\":\"complete\",\"models\":[{\"name\":\"m\"}]}");
	check_stripped(published_summary,
		       "{\"ending\":\"ended by the gateway of m: revoked (appeal "
		       "mailto:a@b)\",\"models\":[{"
		       "\"ended\":{\"appeal\":\"mailto:a@b\",\"by\":\"gateway\",\"reason\":\"r\"},"
		       "\"usd\":1.5}],\"proxy\":{\"first_refusal\":\"POST x\",\"requests\":1}}",
		       "{\"ending\":\"ended by the gateway of "
		       "m\",\"models\":[{\"ended\":{\"by\":\"gateway\"}}],"
		       "\"proxy\":{\"requests\":1}}");
}

static void check_attempt(const char *from, const char *shown, const char *withheld)
{
	json_t *line = parse(from), *left = parse(shown), *expected = parse(withheld);
	json_t *taken = published_attempt(line);
	assert_true(json_equal(line, left));
	assert_true(json_equal(taken, expected));
	json_decref(line);
	json_decref(left);
	json_decref(expected);
	json_decref(taken);
}

static void test_attempts(void **state)
{
	(void)state;
	check_attempt(
		"{\"answer\":\"a\",\"nonce\":\"n\",\"request_body\":\"q\",\"response_body\":\"r\","
		"\"response_digest\":\"d\",\"status\":200,\"words\":\"w\"}",
		"{\"outcome\":\"answer\",\"response_digest\":\"d\",\"status\":200}",
		"{\"answer\":\"a\",\"nonce\":\"n\",\"request_body\":\"q\",\"response_body\":\"r\","
		"\"words\":\"w\"}");
	/* A digest without a salt can be guessed at. */
	check_attempt("{\"answer\":\"a\",\"response_digest\":\"d\",\"words\":\"w\"}",
		      "{\"outcome\":\"answer\"}",
		      "{\"answer\":\"a\",\"response_digest\":\"d\",\"words\":\"w\"}");
	check_attempt("{\"error\":\"no prompt x\",\"words\":\"w\"}", "{\"outcome\":\"error\"}",
		      "{\"error\":\"no prompt x\",\"words\":\"w\"}");
	check_attempt("{\"nonce\":\"n\",\"verdict\":\"{\\\"score\\\":1}\",\"words\":\"w\"}",
		      "{\"outcome\":\"verdict\",\"verdict\":\"{\\\"score\\\":1}\"}",
		      "{\"nonce\":\"n\",\"words\":\"w\"}");
	check_attempt("{\"nonce\":\"n\",\"verdict\":\"{\\\"opened\\\":{}}\",\"words\":\"w\"}",
		      "{\"outcome\":\"verdict\"}",
		      "{\"nonce\":\"n\",\"verdict\":\"{\\\"opened\\\":{}}\",\"words\":\"w\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),  cmocka_unit_test(test_openings),
		cmocka_unit_test(test_withheld), cmocka_unit_test(test_plan),
		cmocka_unit_test(test_summary),  cmocka_unit_test(test_attempts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
