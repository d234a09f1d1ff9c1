#include "base/encode.h"
#include "base/json.h"
#include "base/json_scan.h"
#include "base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static enum json_scan_refusal scan_whole(struct bytes text)
{
	struct json_scan scan;
	json_scan_start(&scan);
	json_scan_feed(&scan, text.data, text.size);
	json_scan_finish(&scan, text);
	return scan.refusal;
}

static enum json_scan_refusal scan_text(const char *text)
{
	return scan_whole(bytes_from(text));
}

/* The same from pieces that end where memory ends, so that a read beyond one is seen. */
static enum json_scan_refusal scan_pieces(struct bytes text, size_t piece, struct json_scan *scan)
{
	json_scan_start(scan);
	for (size_t at = 0; at < text.size; at += piece) {
		size_t size = text.size - at < piece ? text.size - at : piece;
		char *copy = malloc(size);
		memcpy(copy, text.data + at, size);
		json_scan_feed(scan, copy, size);
		free(copy);
	}
	json_scan_finish(scan, text);
	return scan->refusal;
}

/* ---- the grammar ---- */

static void test_accepts_every_kind_of_value(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		" \t\r\n{ } ",
		"0",
		"-0",
		"-12.5e+10",
		"1E400",
		"123456789012345678901",
		"0.0",
		"\"\"",
		"true",
		"false",
		"null",
		"[1,2,[3,{\"a\":[]}]]",
		"{\"a\":1,\"b\":{\"a\":2,\"a\":3}}",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",
		"\"\\ud83d\\ude00\"",
		"\"\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9\x7f\"",
		"\"\\u0000\"",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(scan_text(texts[i]), JSON_SCAN_OK);
}

static void test_refuses_with_the_reason(void **state)
{
	static const struct {
		const char *text;
		enum json_scan_refusal refusal;
	} rows[] = {
		{"",			   JSON_SCAN_INCOMPLETE    },
 /* Look-alikes: the long s and the sign for Kelvin fold to ASCII letters. */
		{"{\"me\xc5\xbf\xc5\xbf"
		 "ages\":1}", JSON_SCAN_KEY_CHARACTERS},
		{"{\"\xe2\x84\xaa"
		 "ey\":1}",   JSON_SCAN_KEY_CHARACTERS},
		{"{\"me\\u017fsages\":1}",     JSON_SCAN_KEY_CHARACTERS},
		{" ",			  JSON_SCAN_INCOMPLETE    },
		{"{\"a\":",                    JSON_SCAN_INCOMPLETE    },
		{"{\"a\"",                     JSON_SCAN_INCOMPLETE    },
		{"\"a",			JSON_SCAN_INCOMPLETE    },
		{"-",			  JSON_SCAN_INCOMPLETE    },
		{"1.",			 JSON_SCAN_INCOMPLETE    },
		{"1e",			 JSON_SCAN_INCOMPLETE    },
		{"tru",			JSON_SCAN_INCOMPLETE    },
		{"01",			 JSON_SCAN_SYNTAX        },
		{"-01",			JSON_SCAN_SYNTAX        },
		{"[1.]",                       JSON_SCAN_SYNTAX        },
		{"[.5]",                       JSON_SCAN_SYNTAX        },
		{"[+1]",                       JSON_SCAN_SYNTAX        },
		{"[1e]",                       JSON_SCAN_SYNTAX        },
		{"[1e5.2]",                    JSON_SCAN_SYNTAX        },
		{"NaN",			JSON_SCAN_SYNTAX        },
		{"Infinity",                   JSON_SCAN_SYNTAX        },
		{"nul1",                       JSON_SCAN_SYNTAX        },
		{"[1,]",                       JSON_SCAN_SYNTAX        },
		{"[,1]",                       JSON_SCAN_SYNTAX        },
		{"{\"a\":1,}",                 JSON_SCAN_SYNTAX        },
		{"{a:1}",                      JSON_SCAN_SYNTAX        },
		{"{'a':1}",                    JSON_SCAN_SYNTAX        },
		{"{\"a\" 1}",                  JSON_SCAN_SYNTAX        },
		{"[1}",			JSON_SCAN_SYNTAX        },
		{"{\"a\":1]",                  JSON_SCAN_SYNTAX        },
		{"// c\n1",                    JSON_SCAN_SYNTAX        },
		{"1 2",			JSON_SCAN_TRAILING      },
		{"{} {}",                      JSON_SCAN_TRAILING      },
		{"[]]",			JSON_SCAN_TRAILING      },
		{"\xef\xbb\xbf{}",             JSON_SCAN_UTF8          },
		{"\"\xc0\xaf\"",               JSON_SCAN_UTF8          },
		{"\"\xe0\x80\x80\"",           JSON_SCAN_UTF8          },
		{"\"\xed\xa0\x80\"",           JSON_SCAN_UTF8          },
		{"\"\xf4\x90\x80\x80\"",       JSON_SCAN_UTF8          },
		{"\"\xf8\x88\x80\x80\x80\"",   JSON_SCAN_UTF8          },
		{"\"\x80\"",                   JSON_SCAN_UTF8          },
		{"\"\xc3\"",                   JSON_SCAN_UTF8          },
		{"\"\xe2\x82\"",               JSON_SCAN_UTF8          },
		{"\"a\nb\"",                   JSON_SCAN_CONTROL       },
		{"\"\x1f\"",                   JSON_SCAN_CONTROL       },
		{"\"\\x41\"",                  JSON_SCAN_ESCAPE        },
		{"\"\\u12g4\"",                JSON_SCAN_ESCAPE        },
		{"\"\\U0041\"",                JSON_SCAN_ESCAPE        },
		{"\"\\ud800\"",                JSON_SCAN_SURROGATE     },
		{"\"\\ud800x\"",               JSON_SCAN_SURROGATE     },
		{"\"\\ud800\\n\"",             JSON_SCAN_SURROGATE     },
		{"\"\\ud800\\ud800\"",         JSON_SCAN_SURROGATE     },
		{"\"\\ude00\\ud83d\"",         JSON_SCAN_SURROGATE     },
		{"{\"a\\u0062\":1}",           JSON_SCAN_KEY_CHARACTERS},
		{"{\"\xc3\xa9\":1}",           JSON_SCAN_KEY_CHARACTERS},
		{"{\"a\":1,\"b\":2,\"a\":1}",  JSON_SCAN_KEY_DUPLICATE },
		{"{\"model\":1,\"Model\":1}",  JSON_SCAN_KEY_DUPLICATE },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum json_scan_refusal refusal = scan_text(rows[i].text);
		if (refusal != rows[i].refusal)
			fail_msg("%s: %s", rows[i].text, json_scan_problem(refusal));
	}
	assert_int_equal(scan_whole(bytes_of("[\0]", 3)), JSON_SCAN_SYNTAX);
	assert_int_equal(scan_whole(bytes_of("\"\0\"", 3)), JSON_SCAN_CONTROL);
	assert_int_equal(scan_whole(bytes_of("{}\0", 3)), JSON_SCAN_TRAILING);
}

static void test_depth_is_64(void **state)
{
	char text[130];
	(void)state;
	memset(text, '[', 64);
	memset(text + 64, ']', 64);
	assert_int_equal(scan_whole(bytes_of(text, 128)), JSON_SCAN_OK);
	memset(text, '[', 65);
	memset(text + 65, ']', 65);
	assert_int_equal(scan_whole(bytes_of(text, 130)), JSON_SCAN_DEPTH);
}

static void test_at_most_256_members_at_the_top(void **state)
{
	struct buf text = BUF_INIT(65536);
	struct json_scan scan;
	(void)state;
	for (int members = 256; members <= 257; members++) {
		buf_clear(&text);
		for (int i = 0; i < members; i++)
			buf_printf(&text, "%c\"k%d\":%d", i ? ',' : '{', i, i);
		buf_append_char(&text, '}');
		enum json_scan_refusal wanted =
			members == 256 ? JSON_SCAN_OK : JSON_SCAN_TOO_MANY_MEMBERS;
		assert_int_equal(scan_pieces(buf_bytes(&text), 7, &scan), wanted);
	}
	buf_release(&text);
}

static void test_names_of_at_most_256_bytes_at_the_top(void **state)
{
	struct buf text = BUF_INIT(65536);
	struct json_scan scan;
	(void)state;
	for (int size = 256; size <= 257; size++) {
		buf_clear(&text);
		buf_printf(&text, "{\"a\":{\"%0*d\":1},\"%0*d\":1}", 1000, 1, size, 1);
		enum json_scan_refusal wanted = size == 256 ? JSON_SCAN_OK : JSON_SCAN_KEY_LENGTH;
		assert_int_equal(scan_pieces(buf_bytes(&text), 7, &scan), wanted);
		assert_int_equal(scan_whole(buf_bytes(&text)), wanted);
	}
	buf_release(&text);
}

/* ---- members ---- */

static const char document[] =
	" { \"model\" : \"m\\\"1\", \"n\":12,\"o\": {\"a\":[1,{\"b\":null}], \"c\":\"\xc3\xa9\"} ,"
	"\"t\":true , \"list\":[ ] ,\"last\":-1.5e3}";

static void check_members(const struct json_scan *scan)
{
	static const struct {
		const char *key, *value;
		enum json_scan_type type;
	} wanted[] = {
		{"model", "\"m\\\"1\"",                                   JSON_SCAN_STRING},
		{"n",     "12",					   JSON_SCAN_NUMBER},
		{"o",     "{\"a\":[1,{\"b\":null}], \"c\":\"\xc3\xa9\"}", JSON_SCAN_OBJECT},
		{"t",     "true",					 JSON_SCAN_TRUE  },
		{"list",  "[ ]",					  JSON_SCAN_ARRAY },
		{"last",  "-1.5e3",				       JSON_SCAN_NUMBER},
	};
	assert_int_equal(scan->root, JSON_SCAN_OBJECT);
	assert_int_equal(scan->member_count, 6);
	for (unsigned i = 0; i < 6; i++) {
		const struct json_scan_member *member = &scan->members[i];
		assert_true(bytes_is(bytes_of(document + member->key, member->key_size),
				     wanted[i].key));
		assert_true(bytes_is(bytes_of(document + member->value, member->value_size),
				     wanted[i].value));
		assert_int_equal(member->type, wanted[i].type);
		assert_int_equal(member->escaped, i == 0);
	}
}

static void test_members_are_the_same_for_every_split(void **state)
{
	struct json_scan scan;
	struct bytes text = bytes_from(document);
	(void)state;
	for (size_t piece = 1; piece <= text.size; piece++) {
		assert_int_equal(scan_pieces(text, piece, &scan), JSON_SCAN_OK);
		check_members(&scan);
	}
	assert_non_null(json_scan_member(&scan, text, BYTES("list")));
	assert_null(json_scan_member(&scan, text, BYTES("lis")));
}

/* A name may be anywhere below the top, behind an escape, and in any pieces. */
static void test_nested_names_are_never_missed(void **state)
{
	static const char *const texts[] = {
		"{\"a\":[{\"file_id\":1}]}",
		"{\"a\":{\"b\":{\"file_id\":[]},\"c\":0}}",
		"{\"a\":[[{\"x\":\"\"},{\"fil\\u0065_id\":1}]]}",
	};
	struct json_scan scan;
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (size_t piece = 1; piece <= strlen(texts[i]); piece++) {
			scan_pieces(bytes_from(texts[i]), piece, &scan);
			assert_true(json_scan_may_nest(&scan, BYTES("file_id")));
		}
}

/* Nor found in what prompts are made of: looking for them costs a pass over the text. */
static void test_usual_names_are_told_from_those_looked_for(void **state)
{
	static const char text[] =
		"{\"file_id\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
		"\"text\":\"file_id, audio\",\"cache_control\":{\"type\":\"ephemeral\"}},"
		"{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"b\",\"input\":{}},"
		"{\"type\":\"tool_result\",\"tool_use_id\":\"a\"},{\"image_url\":{\"url\":\"\"}},"
		"{\"tool_calls\":[{\"function\":{\"arguments\":\"\"}}],\"tool_call_id\":\"\"},"
		"{\"source\":{\"media_type\":\"\",\"data\":\"\"},\"thinking\":\"\",\"signature\":"
		"\"\"},"
		"{\"parts\":[{\"inlineData\":{\"mimeType\":\"\"}}]}]}]}";
	static const char *const names[] = {"file_id", "audio", "fileData", "file_data"};
	struct json_scan scan;
	(void)state;
	assert_int_equal(scan_pieces(bytes_from(text), sizeof(text), &scan), JSON_SCAN_OK);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_false(json_scan_may_nest(&scan, bytes_from(names[i])));
	assert_true(json_scan_may_nest(&scan, BYTES("signature")));
}

static void test_error_names_text_offset_and_problem(void **state)
{
	struct json_scan scan;
	struct err err = ERR_INIT;
	(void)state;
	assert_int_equal(json_scan_text(&scan, BYTES("{\"a\":01}"), "the body", &err), ERR_INVALID);
	assert_string_equal(err.message, "the body is not acceptable JSON: a byte that JSON does "
					 "not allow there, at byte 6");
}

/* ---- values ---- */

static void test_find_and_walk(void **state)
{
	struct json_value root = json_value_at(bytes_from(document));
	struct json_walk walk = json_walk_start(root);
	unsigned count = 0;
	(void)state;
	while (json_walk_next(&walk))
		count++;
	assert_int_equal(count, 6);
	assert_true(bytes_is(json_scan_find(root, "o.c").text, "\"\xc3\xa9\""));
	assert_int_equal(json_scan_find(root, "o.x").type, JSON_SCAN_NOTHING);
	assert_int_equal(json_scan_find(root, "n.x").type, JSON_SCAN_NOTHING);
	assert_int_equal(json_scan_find(root, "o.a").type, JSON_SCAN_ARRAY);
	walk = json_walk_start(json_scan_find(root, "list"));
	assert_false(json_walk_next(&walk));
	walk = json_walk_start(json_value_at(BYTES("[ 1 , \"a,]\" ,{} ]")));
	assert_true(json_walk_next(&walk) && bytes_is(walk.value.text, "1"));
	assert_true(json_walk_next(&walk) && bytes_is(walk.value.text, "\"a,]\""));
	assert_true(json_walk_next(&walk) && bytes_is(walk.value.text, "{}"));
	assert_false(json_walk_next(&walk));
}

/* By the scanner's table and by reading the text again: the same members. */
static void check_root(struct bytes text)
{
	static struct json_scan scan;
	assert_int_equal(json_scan_text(&scan, text, "text", NULL), ERR_OK);
	struct json_value root = json_scan_root(&scan, text), again = json_value_at(text);
	struct json_walk a = json_walk_start(root), b = json_walk_start(again);
	assert_int_equal(root.type, again.type);
	while (json_walk_next(&b)) {
		assert_true(json_walk_next(&a));
		assert_true(!a.object || bytes_equal(a.key, b.key));
		assert_int_equal(a.value.type, b.value.type);
		assert_ptr_equal(a.value.text.data, b.value.text.data);
		assert_int_equal(a.value.text.size, b.value.text.size);
	}
	assert_false(json_walk_next(&a));
}

static void test_root_by_the_table(void **state)
{
	static const char *const texts[] = {"{}",   " { } ",    "[1,{\"a\":2}]",
					    "true", "\"text\"", "{\"a\":{\"b\":[]},\"c\":null}"};
	static struct json_scan scan;
	(void)state;
	check_root(bytes_from(document));
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check_root(bytes_from(texts[i]));
	struct bytes text = BYTES("\n{ \"o\" : {\"a\": [{\"]\":\"}\"}], \"b\":7} , \"n\": 1 }\n");
	assert_int_equal(json_scan_text(&scan, text, "text", NULL), ERR_OK);
	struct json_value root = json_scan_root(&scan, text);
	assert_true(bytes_is(json_scan_find(root, "o.b").text, "7"));
	assert_true(bytes_is(json_scan_find(root, "o.a").text, "[{\"]\":\"}\"}]"));
	assert_true(bytes_is(json_scan_find(root, "n").text, "1"));
	assert_int_equal(json_scan_find(root, "b").type, JSON_SCAN_NOTHING);
}

static void test_members_in_one_walk(void **state)
{
	static const struct bytes names[] = {BYTES_INIT("n"), BYTES_INIT("missing"),
					     BYTES_INIT("t")};
	struct json_value values[3];
	(void)state;
	json_value_members(json_value_at(bytes_from(document)), names, values, 3);
	assert_true(bytes_is(values[0].text, "12"));
	assert_int_equal(values[1].type, JSON_SCAN_NOTHING);
	assert_int_equal(values[2].type, JSON_SCAN_TRUE);
}

static void test_reading_never_leaves_the_text(void **state)
{
	static const char *const broken[] = {"{",      "{\"",     "{\"a",
					     "{\"a\"", "{\"a\":", "{\"a\":[",
					     "[\"\\",  "[1,",     "{\"a\":\"\\u12",
					     "[tru"};
	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		size_t size = strlen(broken[i]);
		char *copy = malloc(size), out[64];
		memcpy(copy, broken[i], size);
		struct json_walk walk = json_walk_start(json_value_at(bytes_of(copy, size)));
		for (unsigned steps = 0; json_walk_next(&walk); steps++) {
			assert_true(steps < 8);
			json_value_decode(walk.value, out);
		}
		free(copy);
	}
}

static void test_integers_are_plain(void **state)
{
	static const char *const bad[] = {"1.0",   "1e2",  "-0", "9223372036854775808",
					  "\"1\"", "true", "-5", "101"};
	int64_t number = 0;
	(void)state;
	assert_true(json_value_integer(json_value_at(BYTES("42")), 0, 100, &number));
	assert_int_equal(number, 42);
	assert_true(json_value_integer(json_value_at(BYTES("-7")), -10, 0, &number));
	assert_int_equal(number, -7);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(
			json_value_integer(json_value_at(bytes_from(bad[i])), 0, 100, &number));
}

static void test_strings_are_decoded(void **state)
{
	static const struct {
		const char *text, *wanted;
	} rows[] = {
		{"\"\"",				     ""                },
		{"\"plain\"",				"plain"           },
		{"\"a\\n\\t\\\\\\\"\\/\\b\\f\\r\"",          "a\n\t\\\"/\b\f\r"},
		{"\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00!\"",
		 "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!"                      },
	};
	char out[64];
	struct bytes plain;
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct json_value value = json_value_at(bytes_from(rows[i].text));
		size_t size = json_value_decode(value, out);
		assert_int_equal(size, strlen(rows[i].wanted));
		assert_memory_equal(out, rows[i].wanted, size);
		assert_int_equal(json_value_plain_string(value, &plain), i < 2);
	}
	assert_int_equal(json_value_decode(json_value_at(BYTES("12")), out), 0);
}

/* ---- against others ---- */

static void check_vector(const json_t *row)
{
	const char *expect = json_string_value(json_object_get(row, "expect"));
	struct buf text = BUF_INIT(1 << 20);
	struct json_scan scan;
	assert_true(base64_decode(bytes_from(json_string_value(json_object_get(row, "base64"))),
				  &text));
	enum json_scan_refusal refusal = scan_whole(buf_bytes(&text));
	/* Stricter on purpose: names at the top stand once. */
	bool stricter = refusal == JSON_SCAN_KEY_DUPLICATE || refusal == JSON_SCAN_KEY_CHARACTERS ||
			refusal == JSON_SCAN_DEPTH;
	if (strcmp(expect, "either") != 0 && !stricter &&
	    (refusal == JSON_SCAN_OK) != (strcmp(expect, "accept") == 0))
		fail_msg("%s: %s", json_string_value(json_object_get(row, "name")),
			 json_scan_problem(refusal));
	for (size_t piece = 1; piece < 9; piece++)
		assert_int_equal(scan_pieces(buf_bytes(&text), piece, &scan), refusal);
	buf_release(&text);
}

static void test_json_test_suite(void **state)
{
	char path[512], line[65536];
	const char *root = getenv("PARLEY_DATA");
	unsigned count = 0;
	(void)state;
	snprintf(path, sizeof(path), "%s/json/JSONTestSuite.jsonl",
		 root ? root : SOURCE_ROOT "/../shared/data");
	FILE *file = fopen(path, "r");
	if (!file) {
		print_message("SKIP %s is not there\n", path);
		skip();
	}
	while (fgets(line, sizeof(line), file)) {
		json_t *row = NULL;
		assert_int_equal(json_parse(bytes_from(line), path, &row, NULL), ERR_OK);
		check_vector(row);
		json_decref(row);
		count++;
	}
	fclose(file);
	assert_int_equal(count, 193);
}

/* What jansson takes, the scanner takes, and the reverse, but for what each refuses by policy. */
static void compare_with_jansson(struct bytes text)
{
	json_error_t error;
	json_t *tree = json_loadb(text.data, text.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	enum json_scan_refusal refusal = scan_whole(text);
	bool by_policy = refusal == JSON_SCAN_KEY_DUPLICATE ||
			 refusal == JSON_SCAN_KEY_CHARACTERS || refusal == JSON_SCAN_DEPTH;
	bool out_of_range = !tree && json_error_code(&error) == json_error_numeric_overflow;
	if (!by_policy && !out_of_range && (tree != NULL) != (refusal == JSON_SCAN_OK))
		fail_msg("%.*s: jansson says %s, the scanner \"%s\"", BYTES_ARG(text),
			 tree ? "yes" : error.text, json_scan_problem(refusal));
	json_decref(tree);
}

static void test_agrees_with_jansson_on_damaged_texts(void **state)
{
	static const char alphabet[] = "{}[]\",:\\u019.eE+-tfn \n\x01\x80\xc3\xa9\xed\xf0";
	struct prng prng = {7};
	char text[sizeof(document)];
	(void)state;
	for (unsigned round = 0; round < 200000; round++) {
		struct bytes copy = bytes_of(text, sizeof(document) - 1);
		memcpy(text, document, sizeof(document));
		for (unsigned k = 0; k <= round % 3; k++)
			text[prng_below(&prng, copy.size)] =
				alphabet[prng_below(&prng, sizeof(alphabet) - 1)];
		if (round % 5 == 0)
			copy.size = prng_below(&prng, copy.size);
		compare_with_jansson(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepts_every_kind_of_value),
		cmocka_unit_test(test_refuses_with_the_reason),
		cmocka_unit_test(test_depth_is_64),
		cmocka_unit_test(test_at_most_256_members_at_the_top),
		cmocka_unit_test(test_names_of_at_most_256_bytes_at_the_top),
		cmocka_unit_test(test_members_are_the_same_for_every_split),
		cmocka_unit_test(test_nested_names_are_never_missed),
		cmocka_unit_test(test_usual_names_are_told_from_those_looked_for),
		cmocka_unit_test(test_error_names_text_offset_and_problem),
		cmocka_unit_test(test_find_and_walk),
		cmocka_unit_test(test_root_by_the_table),
		cmocka_unit_test(test_members_in_one_walk),
		cmocka_unit_test(test_reading_never_leaves_the_text),
		cmocka_unit_test(test_integers_are_plain),
		cmocka_unit_test(test_strings_are_decoded),
		cmocka_unit_test(test_json_test_suite),
		cmocka_unit_test(test_agrees_with_jansson_on_damaged_texts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
