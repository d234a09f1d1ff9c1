#include "base/json.h"
#include "base/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define VECTORS SOURCE_ROOT "/../shared/data/json/rfc8785.jsonl"

static json_t *parse(const char *text)
{
	json_t *value = NULL;
	struct err err = ERR_INIT;
	if (json_parse(bytes_from(text), "text", &value, &err) != ERR_OK)
		fail_msg("%s", err.message);
	return value;
}

static void assert_canonical(const char *expected, const char *text)
{
	json_t *value = parse(text);
	struct buf out = BUF_INIT(10000);
	struct err err = ERR_INIT;
	if (json_canonical(value, &out, &err) != ERR_OK)
		fail_msg("%s", err.message);
	assert_string_equal(expected, out.data);
	json_decref(value);
	buf_release(&out);
}

/* Texts of every length, plain and with one byte that is not, at every place; nothing beyond their
 * ends is read. */
static void plain_runs_end_where_they_must(void **state)
{
	static const char special[] = "\"\\\x1f\x80\xff"; /* and NUL */
	(void)state;
	for (size_t size = 0; size <= 50; size++) {
		char *text = malloc(size + !size), *copy = malloc(size + !size);
		assert_true(text && copy);
		memset(text, '~', size + !size);
		assert_int_equal(json_plain_run(bytes_of(text, size)), size);
		assert_true(json_copy_plain(bytes_of(text, size), copy));
		assert_memory_equal(copy, text, size);
		for (size_t place = 0; place < size; place++) {
			for (size_t i = 0; i < sizeof(special); i++) {
				text[place] = special[i];
				assert_int_equal(json_plain_run(bytes_of(text, size)), place);
				assert_false(json_copy_plain(bytes_of(text, size), copy));
			}
			text[place] = '!'; /* what borrows could reach behind one */
			assert_true(json_copy_plain(bytes_of(text, size), copy));
			assert_memory_equal(copy, text, size);
		}
		free(text);
		free(copy);
	}
}

static void only_strict_documents_parse(void **state)
{
	static const char *const bad[] = {
		"",        " ",    "{",     "[1,]",        "{\"a\":1,}", "{\"a\":1,\"a\":2}",
		"1 2",     "[1]x", "nul",   "'a'",         "{a:1}",      "\"\\x\"",
		"01",      "+1",   "[NaN]", "\"\\ud800\"", "\"\x80\"",   "\"a\nb\"",
		"// c\n1", "1e999"};
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *value = NULL;
		struct err err = ERR_INIT;
		if (json_parse(bytes_from(bad[i]), "the plan", &value, &err) != ERR_INVALID)
			fail_msg("%s was taken", bad[i]);
		assert_null(value);
		assert_non_null(strstr(err.message, "the plan"));
	}
	json_t *value = NULL;
	assert_int_equal(ERR_INVALID, json_parse(bytes_of("1\0", 2), "text", &value, NULL));
	assert_int_equal(ERR_INVALID, json_parse((struct bytes){NULL, 0}, "text", &value, NULL));
	json_decref(parse(" 7 "));
	json_decref(parse("\"a\""));
	json_decref(parse("null"));
}

/* Of what both parsers take they make the same; of what one refuses the fast one makes nothing. */
static void trees_are_the_same_either_way(void **state)
{
	static const char *const texts[] = {
		"null",
		" true ",
		"false",
		"0",
		"-0",
		"-0.0",
		"9223372036854775807",
		"-9223372036854775808",
		"1.5e-7",
		"1E3",
		"123456789.25",
		"\"\"",
		"\"plain\"",
		"\"\\u0000\\n\\\"\\/\\ud83d\\ude00 \xc3\xa9\"",
		"[]",
		"{}",
		"[[],{},[null,[\"a\",1]],{\"b\":{\"c\":[true,false]}}]",
		"{\"a\":1,\"b\":{\"\\u0061\":2,\"\\n\":3,\"\":4,\"\xc3\xa9\":[5]}}",
	};
	static const char *const refused[] = {
		"",
		"{",
		"[1]x",
		"1e999",
		"9223372036854775808",
		"[-9223372036854775809]",
		"{\"a\":1,\"a\":2}",
		"[{\"a\":1,\"a\":2}]",
		"[{\"a\":1,\"\\u0061\":2}]",
		"[{\"\\u0000\":1}]",
		"[{\"a\":[1,{\"b\":1e999}]}]",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *slow = parse(texts[i]), *fast = json_tree(bytes_from(texts[i]));
		if (!json_equal(slow, fast))
			fail_msg("%s", texts[i]);
		json_decref(slow);
		json_decref(fast);
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (json_tree(bytes_from(refused[i])))
			fail_msg("%s was taken", refused[i]);
}

static void depth_is_limited(void **state)
{
	char text[20001];
	json_t *value = NULL;
	(void)state;
	memset(text, '[', 10000);
	memset(text + 10000, ']', 10000);
	text[20000] = '\0';
	assert_int_equal(ERR_INVALID, json_parse(bytes_from(text), "text", &value, NULL));
	/* What the parser takes may still be too deep to write. */
	memset(text + 300, ']', 300);
	text[600] = '\0';
	if (json_parse(bytes_from(text), "text", &value, NULL) == ERR_OK) {
		struct buf out = BUF_INIT(10000);
		assert_int_equal(ERR_INVALID, json_canonical(value, &out, NULL));
		buf_release(&out);
		json_decref(value);
	}
}

/* RFC 8785, appendix B. */
static void numbers_are_written_as_ecmascript_does(void **state)
{
	static const struct {
		uint64_t bits;
		const char *text;
	} cases[] = {
		{0x0000000000000000, "0"                        },
		{0x8000000000000000, "0"                        },
		{0x0000000000000001, "5e-324"                   },
		{0x8000000000000001, "-5e-324"                  },
		{0x7fefffffffffffff, "1.7976931348623157e+308"  },
		{0xffefffffffffffff, "-1.7976931348623157e+308" },
		{0x4340000000000000, "9007199254740992"         },
		{0xc340000000000000, "-9007199254740992"        },
		{0x4430000000000000, "295147905179352830000"    },
		{0x44b52d02c7e14af5, "9.999999999999997e+22"    },
		{0x44b52d02c7e14af6, "1e+23"                    },
		{0x44b52d02c7e14af7, "1.0000000000000001e+23"   },
		{0x444b1ae4d6e2ef4e, "999999999999999700000"    },
		{0x444b1ae4d6e2ef4f, "999999999999999900000"    },
		{0x444b1ae4d6e2ef50, "1e+21"                    },
		{0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"     },
		{0x3eb0c6f7a0b5ed8d, "0.000001"                 },
		{0x41b3de4355555553, "333333333.3333332"        },
		{0x41b3de4355555554, "333333333.33333325"       },
		{0x41b3de4355555555, "333333333.3333333"        },
		{0x41b3de4355555556, "333333333.3333334"        },
		{0x41b3de4355555557, "333333333.33333343"       },
		{0xbecbf647612f3696, "-0.0000033333333333333333"},
		{0x43143ff3c1cb0959, "1424953923781206.2"       },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		double value;
		char text[32];
		memcpy(&value, &cases[i].bits, sizeof(value));
		assert_int_equal(strlen(cases[i].text), json_number_text(value, text));
		assert_string_equal(cases[i].text, text);
	}
}

static void canonical_text(void **state)
{
	(void)state;
	assert_canonical("{}", " { } ");
	assert_canonical("[]", "[\n]");
	assert_canonical("{\"a\":[1,2.5,true,false,null],\"b\":\"x\"}",
			 "{\"b\":\"x\",\"a\":[1.0,2.50,true,false,null]}");
	assert_canonical("\"\\b\\t\\n\\f\\r\\u0001\\u001f\x7f\\\"\\\\/\"",
			 "\"\\b\\t\\n\\f\\r\\u0001\\u001F\\u007f\\\"\\\\\\/\"");
	assert_canonical("\"\xc3\xa9\xf0\x9f\x98\x80\"", "\"\\u00e9\\ud83d\\ude00\"");
	/* UTF-16 order of keys: a surrogate pair sorts below U+FB33 (section 3.2.3). */
	assert_canonical("{\"\xf0\x9f\x98\x80\":1,\"\xef\xac\xb3\":2}",
			 "{\"\xef\xac\xb3\":2,\"\xf0\x9f\x98\x80\":1}");
	assert_canonical("{\"\xe2\x82\xac\":1,\"\xf0\x9f\x98\x80\":2}",
			 "{\"\xf0\x9f\x98\x80\":2,\"\xe2\x82\xac\":1}");
	assert_canonical("{\"a\":1,\"aa\":2,\"b\":3}", "{\"b\":3,\"aa\":2,\"a\":1}");
	assert_canonical("[9007199254740992,-9007199254740992]",
			 "[9007199254740992,-9007199254740992]");
}

static void numbers_that_would_change_are_refused(void **state)
{
	static const char *const texts[] = {"9007199254740993", "-9007199254740993",
					    "9223372036854775807", "-9223372036854775808"};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *value = parse(texts[i]);
		struct buf out = BUF_INIT(100);
		struct err err = ERR_INIT;
		assert_int_equal(ERR_INVALID, json_canonical(value, &out, &err));
		assert_non_null(strstr(err.message, texts[i]));
		buf_release(&out);
		json_decref(value);
	}
}

/* Their text would be that of an integer which is refused. From 1e21 on it has an exponent. */
static void reals_that_could_not_be_read_again_are_refused(void **state)
{
	static const char *const texts[] = {"1e18", "-1e18", "999999000709551606.5",
					    "9007199254740994.0", "999999999999999900000.0"};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *value = parse(texts[i]);
		struct buf out = BUF_INIT(100);
		struct err err = ERR_INIT;
		assert_int_equal(ERR_INVALID, json_canonical(value, &out, &err));
		assert_non_null(strstr(err.message, "beyond 2^53"));
		buf_release(&out);
		json_decref(value);
	}
	assert_canonical("[9007199254740992,1e+21,-1e+21]", "[9007199254740992.0,1e21,-1e21]");
}

static void a_full_buffer_is_an_error(void **state)
{
	json_t *value = parse("[1,2,3,4]");
	struct buf out = BUF_INIT(5);
	(void)state;
	assert_int_equal(ERR_NO_MEMORY, json_canonical(value, &out, NULL));
	buf_release(&out);
	json_decref(value);
}

static json_t *decoded(const json_t *row, const char *key, struct buf *out)
{
	const char *text = json_string_value(json_object_get(row, key));
	assert_non_null(text);
	assert_true(base64_decode(bytes_from(text), out));
	json_t *value = NULL;
	assert_int_equal(ERR_OK, json_parse(buf_bytes(out), "vector", &value, NULL));
	return value;
}

/* The vectors of the RFC's authors, where the shared data folder is there. */
static void published_vectors(void **state)
{
	char line[65536];
	unsigned rows = 0;
	FILE *file = fopen(VECTORS, "r");
	(void)state;
	if (!file) {
		print_message("SKIP: %s is missing\n", VECTORS);
		skip();
	}
	while (fgets(line, sizeof(line), file)) {
		struct buf input = BUF_INIT(65536), expected = BUF_INIT(65536);
		struct buf out = BUF_INIT(65536);
		json_t *row = parse(line);
		json_t *value = decoded(row, "input_base64", &input);
		json_t *same = decoded(row, "output_base64", &expected);
		assert_int_equal(ERR_OK, json_canonical(value, &out, NULL));
		assert_true(bytes_equal(buf_bytes(&expected), buf_bytes(&out)));
		buf_clear(&out);
		assert_int_equal(ERR_OK, json_canonical(same, &out, NULL));
		assert_true(bytes_equal(buf_bytes(&expected), buf_bytes(&out)));
		json_decref(row);
		json_decref(value);
		json_decref(same);
		buf_release(&input);
		buf_release(&expected);
		buf_release(&out);
		rows++;
	}
	fclose(file);
	assert_true(rows >= 5);
}

static void members_are_typed_and_named_in_errors(void **state)
{
	json_t *object = parse("{\"s\":\"x\",\"n\":5,\"b\":true,\"l\":[],\"z\":\"a\\u0000b\"}");
	struct err err = ERR_INIT;
	const char *text;
	int64_t number;
	bool flag;
	json_t *list;
	(void)state;
	assert_int_equal(ERR_OK, json_get_string(object, "s", "plan", &text, &err));
	assert_string_equal("x", text);
	assert_int_equal(ERR_INVALID, json_get_string(object, "missing", "plan", &text, &err));
	assert_non_null(strstr(err.message, "plan"));
	assert_non_null(strstr(err.message, "missing"));
	assert_int_equal(ERR_INVALID, json_get_string(object, "n", "plan", &text, &err));
	assert_int_equal(ERR_INVALID, json_get_string(object, "z", "plan", &text, &err));
	assert_int_equal(ERR_OK, json_get_string_or(object, "none", "plan", "d", &text, &err));
	assert_string_equal("d", text);
	assert_int_equal(ERR_OK, json_get_integer(object, "n", "plan", 5, 5, &number, &err));
	assert_int_equal(5, number);
	assert_int_equal(ERR_INVALID, json_get_integer(object, "n", "plan", 6, 9, &number, &err));
	assert_non_null(strstr(err.message, "6 to 9"));
	assert_int_equal(ERR_INVALID, json_get_integer(object, "s", "plan", 0, 9, &number, &err));
	assert_int_equal(ERR_OK,
			 json_get_integer_or(object, "none", "plan", 0, 9, 3, &number, &err));
	assert_int_equal(3, number);
	assert_int_equal(ERR_OK, json_get_bool_or(object, "b", "plan", false, &flag, &err));
	assert_true(flag);
	assert_int_equal(ERR_INVALID, json_get_bool_or(object, "n", "plan", false, &flag, &err));
	assert_int_equal(ERR_OK,
			 json_get_container(object, "l", "plan", JSON_ARRAY, false, &list, &err));
	assert_int_equal(ERR_INVALID,
			 json_get_container(object, "l", "plan", JSON_OBJECT, false, &list, &err));
	assert_int_equal(
		ERR_OK, json_get_container(object, "none", "plan", JSON_OBJECT, true, &list, &err));
	assert_null(list);
	static const char *const all[] = {"s", "n", "b", "l", "z", NULL};
	static const char *const some[] = {"s", "n", "b", "l", NULL};
	assert_int_equal(ERR_OK, json_only_keys(object, all, "plan", &err));
	assert_int_equal(ERR_INVALID, json_only_keys(object, some, "plan", &err));
	assert_non_null(strstr(err.message, "\"z\""));
	json_decref(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_runs_end_where_they_must),
		cmocka_unit_test(only_strict_documents_parse),
		cmocka_unit_test(trees_are_the_same_either_way),
		cmocka_unit_test(depth_is_limited),
		cmocka_unit_test(numbers_are_written_as_ecmascript_does),
		cmocka_unit_test(canonical_text),
		cmocka_unit_test(numbers_that_would_change_are_refused),
		cmocka_unit_test(reals_that_could_not_be_read_again_are_refused),
		cmocka_unit_test(a_full_buffer_is_an_error),
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(members_are_typed_and_named_in_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
