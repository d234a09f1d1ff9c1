#include "base/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct yaml_tree *parse(const char *text)
{
	struct err err = ERR_INIT;
	struct yaml_tree *tree;
	if (yaml_parse(bytes_from(text), "f.yaml", &tree, &err) != ERR_OK)
		fail_msg("%s", err.message);
	return tree;
}

static void refuse_as(const char *text, enum err_code code, const char *message)
{
	struct err err = ERR_INIT;
	struct yaml_tree *tree;
	assert_int_equal(yaml_parse(bytes_from(text), "f.yaml", &tree, &err), code);
	assert_null(tree);
	assert_string_equal(err.message, message);
}

static void refuse(const char *text, const char *message)
{
	refuse_as(text, ERR_INVALID, message);
}

static void assert_tree(const char *text, const char *json)
{
	json_error_t error;
	struct yaml_tree *tree = parse(text);
	json_t *expected = json_loads(json, 0, &error);
	assert_non_null(expected);
	assert_true(json_equal(yaml_root(tree), expected));
	json_decref(expected);
	yaml_tree_free(tree);
}

static void test_core_schema(void **state)
{
	(void)state;
	assert_tree("a: ~\nb:\nc: null\nd: Null\ne: 'null'\nf: nUll",
		    "{\"a\":null,\"b\":null,\"c\":null,\"d\":null,\"e\":\"null\",\"f\":\"nUll\"}");
	assert_tree("a: true\nb: False\nc: yes\nd: \"true\"\ne: on",
		    "{\"a\":true,\"b\":false,\"c\":\"yes\",\"d\":\"true\",\"e\":\"on\"}");
	assert_tree("a: [0, -1, +2, 007, 0o17, 0x1F, 9223372036854775807, -9223372036854775808]",
		    "{\"a\":[0,-1,2,7,15,31,9223372036854775807,-9223372036854775808]}");
	assert_tree("a: [1.5, -.5, 1., 1e3, 2E-1, +0.0]", "{\"a\":[1.5,-0.5,1.0,1000.0,0.2,0.0]}");
	assert_tree("a: [2026-11-01, 1_000, '5', 1e, ., -, 0o8, 0x, 1.2.3, 12:30, '-', 1e+]",
		    "{\"a\":[\"2026-11-01\",\"1_000\",\"5\",\"1e\",\".\",\"-\",\"0o8\",\"0x\","
		    "\"1.2.3\",\"12:30\",\"-\",\"1e+\"]}");
	assert_tree("a: |\n  12\n  ${X}\nb: >-\n  true\n",
		    "{\"a\":\"12\\n${X}\\n\",\"b\":\"true\"}");
	assert_tree("%YAML 1.2\n---\n1: x\n\"y z\": {}\nü: \"\\u00fc\"\n...\n",
		    "{\"1\":\"x\",\"y z\":{},\"ü\":\"ü\"}");
}

static void test_refused(void **state)
{
	(void)state;
	refuse("", "f.yaml:1: the file is empty");
	refuse("# nothing\n", "f.yaml:2: the file is empty");
	refuse("- a\n", "f.yaml:1: the file must hold `key: value` lines");
	refuse("text\n", "f.yaml:1: the file must hold `key: value` lines");
	refuse("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key a stands here twice");
	refuse("a:\n  - &x 1\n", "f.yaml:2: anchors (&name) are not allowed");
	refuse("a: 1\nb: *x\n", "f.yaml:2: aliases (*name) are not allowed");
	refuse("a: !!str 1\n", "f.yaml:1: tags (!name) are not allowed");
	refuse("a: ! 1\n", "f.yaml:1: tags (!name) are not allowed");
	refuse("a: !x {b: 1}\n", "f.yaml:1: tags (!name) are not allowed");
	refuse("a:\n  <<: {b: 1}\n", "f.yaml:2: merge keys (<<) are not allowed");
	refuse("[a]: 1\n", "f.yaml:1: a key must be a plain word or a quoted text");
	refuse("\"\": 1\n", "f.yaml:1: a key must not be empty or hold NUL");
	refuse("a: 1\n---\nb: 2\n", "f.yaml:2: only one document is allowed in the file");
	refuse("%TAG ! tag:x,2026:\n---\na: 1\n", "f.yaml:1: %TAG directives are not allowed");
	refuse("a: .inf\n", "f.yaml:1: infinity and NaN are not allowed");
	refuse("a: 1e999\n", "f.yaml:1: number too large");
	refuse("a: 9223372036854775808\n",
	       "f.yaml:1: integer beyond 64 bits (put it in quotes if it is text)");
	refuse("a: \"\\0\"\n", "f.yaml:1: NUL characters are not allowed");
	refuse("a: 1\n b: 2\n", "f.yaml:2: mapping values are not allowed in this context");
}

static void refuse_any(const char *text)
{
	struct err err = ERR_INIT;
	struct yaml_tree *tree;
	assert_int_equal(yaml_parse(bytes_from(text), "f.yaml", &tree, &err), ERR_INVALID);
	assert_null(tree);
	assert_int_equal(strncmp(err.message, "f.yaml:", 7), 0);
}

static void test_malformed(void **state)
{
	(void)state;
	refuse_any("a: [1, 2");
	refuse_any("a: {b: 1");
	refuse_any("a: \"open");
	refuse_any("a: b: c\n");
	refuse_any("\ta: 1\n");
	refuse_any("a: \"\\ud800\"\n");
	refuse_any("a: \xff\n");
	refuse_any("a: \x01\n");
	refuse_any("\xfe\xff\0a\0:\0 \0 1");
}

static void test_every_prefix_is_handled(void **state)
{
	(void)state;
	static const char text[] =
		"a: [1, {b: \"x\\n\", c: 'y'}]\nd:\n  - e: |\n      t\n  - f\ng: ~\n";
	for (size_t size = 0; size < sizeof(text); size++) {
		struct yaml_tree *tree;
		enum err_code code = yaml_parse(bytes_of(text, size), "f", &tree, NULL);
		assert_true((code == ERR_OK) == (tree != NULL));
		yaml_tree_free(tree);
	}
}

static void nested(char *text, int depth)
{
	strcpy(text, "a: ");
	for (int i = 0; i < depth; i++)
		strcat(text, "[");
	for (int i = 0; i < depth; i++)
		strcat(text, "]");
}

static void test_depth(void **state)
{
	(void)state;
	char text[256];
	nested(text, YAML_DEPTH_MAX - 1);
	yaml_tree_free(parse(text));
	nested(text, YAML_DEPTH_MAX);
	refuse(text, "f.yaml:1: nested too deeply (at most 32)");
}

static void test_too_large(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct yaml_tree *tree;
	char *text = calloc(1, YAML_TEXT_MAX + 1);
	assert_int_equal(yaml_parse(bytes_of(text, YAML_TEXT_MAX + 1), "f", &tree, &err),
			 ERR_TOO_LARGE);
	memset(text, ',', 2 * YAML_NODES_MAX + 8);
	for (size_t i = 4; i < 2 * YAML_NODES_MAX + 4; i += 2)
		text[i] = '1';
	memcpy(text, "a: [", 4);
	assert_int_equal(yaml_parse(bytes_of(text, 2 * YAML_NODES_MAX + 4), "f", &tree, &err),
			 ERR_TOO_LARGE);
	assert_string_equal(err.message, "f:1: more than 1000000 values");
	free(text);
}

static const char example[] = "name: x\n"
			      "limits:\n"
			      "  rpm: 600\n"
			      "  on: true\n"
			      "list:\n"
			      "  - { a: 1 }\n"
			      "  - a: text\n"
			      "    b: null\n"
			      "words: [ one,\n"
			      "  2 ]\n";

static void test_lines(void **state)
{
	(void)state;
	struct yaml_tree *tree = parse(example);
	json_t *root = yaml_root(tree), *list = json_object_get(root, "list");
	json_t *limits = json_object_get(root, "limits");
	assert_string_equal(yaml_file(tree), "f.yaml");
	assert_int_equal(yaml_line(tree, root), 1);
	assert_int_equal(yaml_line(tree, limits), 3);
	assert_int_equal(yaml_line_of(tree, root, "limits"), 2);
	assert_int_equal(yaml_line_of(tree, limits, "on"), 4);
	assert_int_equal(yaml_line_of(tree, limits, "absent"), 3);
	assert_int_equal(yaml_line(tree, json_object_get(limits, "rpm")), 3);
	assert_int_equal(yaml_line(tree, json_object_get(limits, "on")), 0);
	assert_int_equal(yaml_line_at(tree, list, 1), 7);
	assert_int_equal(yaml_line_at(tree, json_object_get(root, "words"), 1), 10);
	assert_int_equal(yaml_line_at(tree, list, 5), yaml_line(tree, list));
	/* A replaced value keeps its place. */
	json_object_set_new(limits, "rpm", json_string("changed"));
	assert_int_equal(yaml_line_of(tree, limits, "rpm"), 3);
	yaml_tree_free(tree);
}

static void test_fail(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct yaml_tree *tree = parse(example);
	json_t *root = yaml_root(tree), *list = json_object_get(root, "list");
	assert_int_equal(
		yaml_fail(tree, json_array_get(list, 1), "b", &err, ERR_DENIED, "no %d", 5),
		ERR_DENIED);
	assert_string_equal(err.message, "f.yaml:8: list[1].b: no 5");
	yaml_fail(tree, root, NULL, &err, ERR_INVALID, "bad");
	assert_string_equal(err.message, "f.yaml:1: bad");
	yaml_fail(tree, json_array_get(list, 0), NULL, &err, ERR_INVALID, "bad");
	assert_string_equal(err.message, "f.yaml:6: list[0]: bad");
	yaml_fail_at(tree, json_object_get(root, "words"), 1, &err, ERR_INVALID, "bad");
	assert_string_equal(err.message, "f.yaml:10: words[1]: bad");
	assert_int_equal(yaml_fail(tree, root, "name", NULL, ERR_INVALID, "bad"), ERR_INVALID);
	yaml_tree_free(tree);
}

#define ASSERT_REFUSED(call, text)                      \
	do {                                            \
		struct err err = ERR_INIT;              \
		assert_int_equal((call), ERR_INVALID);  \
		assert_string_equal(err.message, text); \
	} while (0)

static void test_typed_members(void **state)
{
	(void)state;
	struct yaml_tree *tree =
		parse("s: x\ni: 5\nf: 1.5\nb: false\nn: ~\nl: [a, b]\nm: [a, 1]\no: {}\n");
	const json_t *root = yaml_root(tree);
	const char *text;
	int64_t integer;
	double number;
	bool flag;
	json_t *container;
	unsigned choice;
	static const char *const words[] = {"w", "x", NULL};
	assert_int_equal(yaml_get_string(tree, root, "s", &text, NULL), ERR_OK);
	assert_string_equal(text, "x");
	assert_int_equal(yaml_get_string_or(tree, root, "n", "default", &text, NULL), ERR_OK);
	assert_string_equal(text, "default");
	assert_int_equal(yaml_get_integer(tree, root, "i", 5, 5, &integer, NULL), ERR_OK);
	assert_int_equal(integer, 5);
	assert_int_equal(yaml_get_integer_or(tree, root, "z", 0, 1, 7, &integer, NULL), ERR_OK);
	assert_int_equal(integer, 7);
	assert_int_equal(yaml_get_number_or(tree, root, "i", 0, 9, 0, &number, NULL), ERR_OK);
	assert_true(number == 5);
	assert_int_equal(yaml_get_bool_or(tree, root, "b", true, &flag, NULL), ERR_OK);
	assert_false(flag);
	assert_int_equal(yaml_get_container(tree, root, "o", JSON_OBJECT, false, &container, NULL),
			 ERR_OK);
	assert_true(json_is_object(container));
	assert_int_equal(yaml_get_container(tree, root, "n", JSON_ARRAY, true, &container, NULL),
			 ERR_OK);
	assert_null(container);
	assert_int_equal(yaml_get_strings(tree, root, "l", false, &container, NULL), ERR_OK);
	assert_int_equal(json_array_size(container), 2);
	assert_int_equal(yaml_get_choice(tree, root, "s", words, &choice, NULL), ERR_OK);
	assert_int_equal(choice, 1);
	ASSERT_REFUSED(yaml_get_string(tree, root, "z", &text, &err),
		       "f.yaml:1: z: missing (a text)");
	ASSERT_REFUSED(yaml_get_string(tree, root, "i", &text, &err),
		       "f.yaml:2: i: must be a text (put it in quotes)");
	ASSERT_REFUSED(yaml_get_integer(tree, root, "f", 0, 9, &integer, &err),
		       "f.yaml:3: f: must be a whole number");
	ASSERT_REFUSED(yaml_get_integer(tree, root, "i", 6, 9, &integer, &err),
		       "f.yaml:2: i: 5 is outside 6 to 9");
	ASSERT_REFUSED(yaml_get_integer(tree, root, "n", 6, 9, &integer, &err),
		       "f.yaml:5: n: missing (a whole number)");
	ASSERT_REFUSED(yaml_get_number_or(tree, root, "f", 2, 3, 2, &number, &err),
		       "f.yaml:3: f: 1.5 is outside 2 to 3");
	ASSERT_REFUSED(yaml_get_bool_or(tree, root, "s", true, &flag, &err),
		       "f.yaml:1: s: must be true or false");
	ASSERT_REFUSED(yaml_get_container(tree, root, "o", JSON_ARRAY, true, &container, &err),
		       "f.yaml:8: o: must be a list");
	ASSERT_REFUSED(yaml_get_strings(tree, root, "m", false, &container, &err),
		       "f.yaml:7: m[1]: must be a text (put it in quotes)");
	ASSERT_REFUSED(yaml_get_choice(tree, root, "s", words + 2, &choice, &err),
		       "f.yaml:1: s: x is not one of the known words");
	yaml_tree_free(tree);
}

static void test_only_keys(void **state)
{
	(void)state;
	static const char *const allowed[] = {"limits", "list", NULL};
	static const char *const all[] = {"words", "list", "limits", "name", NULL};
	struct yaml_tree *tree = parse(example);
	assert_int_equal(yaml_only_keys(tree, yaml_root(tree), all, NULL), ERR_OK);
	ASSERT_REFUSED(yaml_only_keys(tree, yaml_root(tree), allowed, &err),
		       "f.yaml:1: name: unknown key");
	yaml_tree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_core_schema),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_every_prefix_is_handled),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_fail),
		cmocka_unit_test(test_typed_members),
		cmocka_unit_test(test_only_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
