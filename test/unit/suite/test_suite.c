#include "suite/suite.h"

#include "base/encode.h"
#include "base/json.h"
#include "folder.h"

#define FOXES_ROOT "6621c95e904d78d2f70bc310b54fe5767b2cc9d68c00e9576fcf9c5e4233d64b"
#define FOXES                                                                                  \
	"name: foxes\nversion: 1\nlicence: Apache-2.0\nkind: qa\ntemplate: \"{{question}}\"\n" \
	"settings: { max_tokens: 64, temperature: 0 }\nsamples: 2\n"                           \
	"scorer: { kind: contains, target: \"{{answer}}\" }\n"
#define FOX_ITEMS                                                                            \
	"{\"id\": \"1\", \"question\": \"What jumps over the dog?\", \"answer\": \"fox\"}\n" \
	"{\"id\": \"2\", \"question\": \"What is the opposite of day?\", \"answer\": \"night\"}\n"

static struct suite *parse(const char *yaml, const char *items)
{
	struct err err = ERR_INIT;
	struct suite *suite;
	if (suite_parse(bytes_from(yaml), bytes_from(items), "d", &suite, &err) != ERR_OK)
		fail_msg("%s", err.message);
	return suite;
}

static void refuse(const char *yaml, const char *items, const char *message)
{
	struct err err = ERR_INIT;
	struct suite *suite;
	assert_int_not_equal(suite_parse(bytes_from(yaml), bytes_from(items), "d/", &suite, &err),
			     ERR_OK);
	assert_null(suite);
	assert_string_equal(err.message, message);
}

static void assert_root(const struct suite *suite, const char *expected)
{
	uint8_t root[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	assert_int_equal(suite_root(suite, root, NULL), ERR_OK);
	hex_encode(root, sizeof(root), hex);
	assert_string_equal(hex, expected);
}

static void test_example(void **state)
{
	const struct folder *folder = *state;
	struct suite *suite;
	struct suite_item item;
	size_t index;
	folder_write_text(folder, "suite.yaml", FOXES);
	folder_write_text(folder, "items.jsonl", FOX_ITEMS);
	assert_int_equal(suite_load(folder->env, folder->path, &suite, NULL), ERR_OK);
	assert_string_equal(suite_name(suite), "foxes");
	assert_string_equal(suite_version(suite), "1");
	assert_string_equal(suite_licence(suite), "Apache-2.0");
	assert_string_equal(suite_kind_name(suite_kind(suite)), "qa");
	assert_string_equal(suite_scorer_kind(suite), "contains");
	assert_int_equal(suite_samples(suite), 2);
	assert_int_equal(suite_count(suite), 2);
	assert_true(suite_find(suite, BYTES("2"), &index));
	assert_int_equal(index, 1);
	assert_false(suite_find(suite, BYTES("3"), &index));
	assert_true(bytes_equal(suite_items_text(suite), BYTES(FOX_ITEMS)));
	assert_true(bytes_equal(suite_yaml_text(suite), BYTES(FOXES)));
	assert_int_equal(suite_item_render(suite, 0, &item, NULL), ERR_OK);
	assert_string_equal(item.id, "1");
	assert_null(item.cluster);
	assert_string_equal(item.text.data,
			    "{\"messages\":[{\"parts\":[{\"text\":\"What jumps over the dog?\","
			    "\"type\":\"text\"}],\"role\":\"user\"}]}");
	assert_string_equal(item.grading.data,
			    "{\"id\":\"1\",\"scorer\":{\"kind\":\"contains\"},\"target\":\"fox\"}");
	suite_item_release(&item);
	/* The first of test/vectors/leaves.jsonl. */
	assert_root(suite, FOXES_ROOT);
	suite_free(suite);
}

/* Whatever does not bind (samples, further fields, layout) leaves the root alone; the seed does
 * not. */
static void test_root_binds_words_and_grading(void **state)
{
	(void)state;
	struct suite *suite =
		parse("name: other\nversion: 2\nkind: writing\ntemplate: \"{{ q }}\"\n"
		      "scorer: { target: \"{{a}}\", kind: contains }\n",
		      "{\"a\":\"fox\",\"q\":\"What jumps over the dog?\",\"id\":1,\"x\":[]}\r\n"
		      "{\"id\":2,\"a\":\"night\",\"q\":\"What is the opposite of day?\"}");
	assert_root(suite, FOXES_ROOT);
	suite_free(suite);
	uint8_t root[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	suite = parse(FOXES
		      "seed: \"0000000000000000000000000000000000000000000000000000000000000001\"",
		      FOX_ITEMS);
	assert_int_equal(suite_root(suite, root, NULL), ERR_OK);
	hex_encode(root, sizeof(root), hex);
	assert_string_not_equal(hex, FOXES_ROOT);
	suite_free(suite);
}

static void test_messages_and_typed_scorer(void **state)
{
	(void)state;
	struct suite_item item;
	struct suite *suite =
		parse("name: m\nversion: \"1.2\"\nkind: coding\n"
		      "messages:\n"
		      "  - { role: system, text: \"You know {{topic}}.\" }\n"
		      "  - { role: user, text: \"Hello\" }\n"
		      "  - { role: assistant, text: \"Hi\" }\n"
		      "  - { role: user, text: \"n={{n}} l={{l}} {{n}}\" }\n"
		      "settings: { max_tokens: 10, temperature: 0.5, top_p: 1, top_k: 3 }\n"
		      "scorer: { kind: code, language: python, cases: \"{{l}}\", again: [ "
		      "\"{{n}}\", \"<{{n}}>\" ] }\n"
		      "cluster: n\n",
		      "{\"id\":\"a\",\"topic\":\"C\",\"n\":1.50,\"l\":[{\"b\":1,\"a\":true}]}\n");
	struct buf settings = BUF_INIT(1024);
	assert_int_equal(json_canonical(suite_settings(suite), &settings, NULL), ERR_OK);
	assert_string_equal(settings.data,
			    "{\"max_output\":10,\"temperature\":0.5,\"top_k\":3,\"top_p\":1}");
	buf_release(&settings);
	assert_int_equal(suite_item_render(suite, 0, &item, NULL), ERR_OK);
	assert_string_equal(
		item.text.data,
		"{\"messages\":["
		"{\"parts\":[{\"text\":\"Hello\",\"type\":\"text\"}],\"role\":\"user\"},"
		"{\"parts\":[{\"text\":\"Hi\",\"type\":\"text\"}],\"role\":\"assistant\"},"
		"{\"parts\":[{\"text\":\"n=1.5 l=[{\\\"a\\\":true,\\\"b\\\":1}] "
		"1.5\",\"type\":\"text\"}],"
		"\"role\":\"user\"}],"
		"\"system\":[{\"text\":\"You know C.\",\"type\":\"text\"}]}");
	assert_string_equal(
		item.grading.data,
		"{\"cluster\":\"1.5\",\"id\":\"a\",\"scorer\":{\"again\":[1.5,\"<1.5>\"],"
		"\"cases\":[{\"a\":true,\"b\":1}],\"kind\":\"code\",\"language\":\"python\"}}");
	assert_string_equal(item.cluster, "1.5");
	suite_item_release(&item);
	suite_free(suite);
}

static void test_words_field(void **state)
{
	(void)state;
	struct suite_item item;
	struct suite *suite =
		parse("name: w\nversion: 1\nkind: qa\nwords: prompt\nscorer: { kind: exact }\n",
		      "{\"id\":\"a\",\"prompt\":{\"system\":\"S\",\"messages\":[{\"role\":\"user\","
		      "\"text\":"
		      "\"Q\"}],\"tools\":[]}}\n"
		      "{\"id\":\"b\",\"prompt\":\"Q\"}\n"
		      "{\"id\":\"c\",\"prompt\":{\"messages\":[]}}\n");
	assert_int_equal(suite_item_render(suite, 0, &item, NULL), ERR_OK);
	assert_string_equal(item.text.data,
			    "{\"messages\":[{\"parts\":[{\"text\":\"Q\",\"type\":\"text\"}],"
			    "\"role\":\"user\"}],\"system\":[{\"text\":\"S\",\"type\":\"text\"}]}");
	suite_item_release(&item);
	assert_int_equal(suite_item_render(suite, 1, &item, NULL), ERR_OK);
	assert_string_equal(item.text.data, "{\"messages\":[{\"parts\":[{\"text\":\"Q\",\"type\":"
					    "\"text\"}],\"role\":\"user\"}]}");
	suite_item_release(&item);
	struct err err = ERR_INIT;
	assert_int_equal(suite_item_render(suite, 2, &item, &err), ERR_INVALID);
	assert_string_equal(err.message,
			    "d/items.jsonl:3: item c: \"messages\" is not a list with a "
			    "message in it");
	suite_free(suite);
}

#define HEAD "name: x\nversion: 1\nkind: qa\n"
#define TAIL "template: \"{{q}}\"\nscorer: { kind: exact }\n"
#define ITEM "{\"id\":\"1\",\"q\":\"Q\"}\n"

static void test_refused_yaml(void **state)
{
	(void)state;
	refuse("", ITEM, "d/suite.yaml:1: the file is empty");
	refuse("- a\n", ITEM, "d/suite.yaml:1: the file must hold `key: value` lines");
	refuse(HEAD TAIL "colour: red\n", ITEM, "d/suite.yaml:6: colour: unknown key");
	refuse("version: 1\nkind: qa\n" TAIL, ITEM, "d/suite.yaml:1: name: missing (a text)");
	refuse("name: a b\nversion: 1\nkind: qa\n" TAIL, ITEM,
	       "d/suite.yaml:1: name: must be 1 to 64 letters, digits, dots, dashes and "
	       "underscores, a letter or digit first");
	refuse("name: x\nversion: 1.5\nkind: qa\n" TAIL, ITEM,
	       "d/suite.yaml:2: version: must be a whole number or a text of at most 31 bytes");
	refuse("name: x\nversion: 1\nkind: quiz\n" TAIL, ITEM,
	       "d/suite.yaml:3: kind: quiz is not one of qa, coding, writing, safety");
	refuse(HEAD "scorer: { kind: exact }\n", ITEM,
	       "d/suite.yaml:1: needs one of template, messages and words (a field's name)");
	refuse(HEAD TAIL "words: q\n", ITEM,
	       "d/suite.yaml:1: needs one of template, messages and words (a field's name)");
	refuse(HEAD "template: \"{{q\"\nscorer: { kind: exact }\n", ITEM,
	       "d/suite.yaml:4: template: {{ without }}");
	refuse(HEAD "template: \"{{ }}\"\nscorer: { kind: exact }\n", ITEM,
	       "d/suite.yaml:4: template: {{ }} names no field");
	refuse(HEAD "template: Q\n", ITEM, "d/suite.yaml:1: scorer: missing (a mapping)");
	refuse(HEAD TAIL "settings:\n  max_tokens: 0\n", ITEM,
	       "d/suite.yaml:7: settings.max_tokens: 0 is outside 1 to 1e+06");
	refuse(HEAD TAIL "settings:\n  max_tokens: 1.5\n", ITEM,
	       "d/suite.yaml:7: settings.max_tokens: must be a whole number");
	refuse(HEAD TAIL "settings:\n  temperature: hot\n", ITEM,
	       "d/suite.yaml:7: settings.temperature: must be a number");
	refuse(HEAD TAIL "settings:\n  heat: 1\n", ITEM,
	       "d/suite.yaml:7: settings.heat: unknown key");
	refuse(HEAD TAIL "samples: 0\n", ITEM, "d/suite.yaml:6: samples: 0 is outside 1 to 1000");
	refuse(HEAD TAIL "seed: \"00\"\n", ITEM,
	       "d/suite.yaml:6: seed: must be 64 hexadecimal digits in quotes");
	refuse(HEAD "scorer: { kind: exact }\nmessages:\n  - { role: user, text: a }\n"
		    "  - { role: system, text: b }\n",
	       ITEM, "d/suite.yaml:7: messages[1].role: system messages come before all others");
	refuse(HEAD "scorer: { kind: exact }\nmessages:\n  - { role: assistant, text: a }\n", ITEM,
	       "d/suite.yaml:5: messages: must end with a message of the user");
	refuse(HEAD "scorer: { kind: exact }\nmessages: []\n", ITEM,
	       "d/suite.yaml:5: messages: must end with a message of the user");
	refuse(HEAD "scorer: { kind: exact }\nmessages: [ text ]\n", ITEM,
	       "d/suite.yaml:5: messages[0]: must be { role: …, text: … }");
}

static void test_refused_items(void **state)
{
	(void)state;
	refuse(HEAD TAIL, "", "d/items.jsonl: no items");
	refuse(HEAD TAIL, ITEM "\n", "d/items.jsonl:2: the line is empty");
	refuse(HEAD TAIL, ITEM "[1]\n", "d/items.jsonl:2: the line is not a JSON object");
	refuse(HEAD TAIL, ITEM ITEM, "d/items.jsonl:2: item 1 stands in line 1 already");
	refuse(HEAD TAIL, "{\"q\":\"Q\"}",
	       "d/items.jsonl:1: \"id\" must be a text of 1 to 256 bytes or a whole number");
	refuse(HEAD TAIL, "{\"id\":\"a\\u0000b\",\"q\":\"Q\"}",
	       "d/items.jsonl:1: \"id\" must be a text of 1 to 256 bytes or a whole number");
	refuse(HEAD TAIL, "{\"id\":\"a\\nb\",\"q\":\"Q\"}",
	       "d/items.jsonl:1: \"id\" has a control character");
	refuse(HEAD TAIL, ITEM "{\"id\":\"2\"}",
	       "d/items.jsonl:2: item 2: field \"q\" is missing (suite.yaml names it)");
	struct err err = ERR_INIT;
	struct suite *suite;
	assert_int_equal(
		suite_parse(BYTES(HEAD TAIL), BYTES(ITEM "{\"id\": 1, }"), "d", &suite, &err),
		ERR_INVALID);
	assert_true(bytes_starts_with(bytes_from(err.message),
				      BYTES("d/items.jsonl:2: line 1, column ")));
}

static void test_unreadable_folder(void **state)
{
	const struct folder *folder = *state;
	struct err err = ERR_INIT;
	struct suite *suite;
	char path[256];
	assert_int_equal(suite_load(folder->env, folder_path(folder, "absent", path), &suite, &err),
			 ERR_NOT_FOUND);
	assert_non_null(strstr(err.message, "absent/suite.yaml"));
}

static void test_empty_prompt(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct suite_item item;
	struct suite *suite = parse(HEAD TAIL, "{\"id\":\"e\",\"q\":\"\"}");
	assert_int_equal(suite_item_render(suite, 0, &item, &err), ERR_INVALID);
	assert_string_equal(err.message,
			    "d/items.jsonl:1: item e: the text of the user message is empty");
	suite_free(suite);
}

/* No request could ever match it. */
static void test_nul_in_prompt(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct suite_item item;
	struct suite *suite = parse(HEAD TAIL, "{\"id\":\"e\",\"q\":\"a\\u0000b\"}");
	assert_int_equal(suite_item_render(suite, 0, &item, &err), ERR_INVALID);
	assert_string_equal(err.message, "d/items.jsonl:1: item e: the prompt has a NUL character");
	suite_free(suite);
}

struct pairs {
	size_t count;
	size_t seen[8][2];
};

static void note_pair(void *argument, size_t first, size_t duplicate)
{
	struct pairs *pairs = argument;
	pairs->seen[pairs->count][0] = first;
	pairs->seen[pairs->count++][1] = duplicate;
}

static void test_duplicates(void **state)
{
	(void)state;
	struct pairs pairs = {0};
	size_t count;
	struct suite *suite =
		parse(HEAD TAIL, "{\"id\":\"a\",\"q\":\"X\"}\n{\"id\":\"b\",\"q\":\"Y\"}\n"
				 "{\"id\":\"c\",\"q\":\"X\"}\n{\"id\":\"d\",\"q\":\"Y\"}\n"
				 "{\"id\":\"e\",\"q\":\"X\"}\n{\"id\":\"f\",\"q\":\"Z\"}\n");
	assert_int_equal(suite_duplicates(suite, note_pair, &pairs, &count, NULL), ERR_OK);
	assert_int_equal(count, 3);
	assert_int_equal(pairs.count, 3);
	static const size_t expected[3][2] = {
		{0, 2},
                {1, 3},
                {0, 4}
        };
	assert_memory_equal(pairs.seen, expected, sizeof(expected));
	suite_free(suite);
}

/* The uploaded items lead to the uploaded root, as a gateway recomputes it. */
static void check_uploaded_root(const json_t *body, const uint8_t seed[LEAF_SEED_SIZE])
{
	struct leaf_salter salter;
	struct leaf_tree *tree = leaf_tree_new();
	const json_t *items = json_object_get(body, "items");
	leaf_salter_init(&salter, seed);
	for (size_t i = 0; i < json_array_size(items); i++) {
		struct buf words = BUF_INIT(4096), grading = BUF_INIT(4096);
		uint8_t salt[LEAF_SALT_SIZE], data[LEAF_DATA_SIZE];
		const json_t *item = json_array_get(items, i);
		json_canonical(json_object_get(item, "prompt"), &words, NULL);
		json_canonical(json_object_get(item, "grading"), &grading, NULL);
		leaf_salt(&salter, i, salt);
		leaf_data(salt, buf_bytes(&words), buf_bytes(&grading), data);
		assert_true(leaf_tree_add(tree, data));
		buf_release(&words);
		buf_release(&grading);
	}
	uint8_t root[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	leaf_tree_root(tree, root);
	hex_encode(root, sizeof(root), hex);
	assert_string_equal(hex, json_string_value(json_object_get(body, "root")));
	leaf_tree_free(tree);
}

static void test_registration(void **state)
{
	(void)state;
	static const uint8_t seed[LEAF_SEED_SIZE] = {1};
	struct buf text = BUF_INIT(1 << 16);
	json_t *body;
	struct suite *suite = parse(
		FOXES "seed: \"0100000000000000000000000000000000000000000000000000000000000000\"",
		FOX_ITEMS);
	assert_int_equal(
		suite_registration(suite, "capability_benchmark", SUITE_ITEMS, &text, NULL),
		ERR_OK);
	assert_int_equal(json_parse(buf_bytes(&text), "body", &body, NULL), ERR_OK);
	assert_int_equal(json_array_size(json_object_get(body, "items")), 2);
	assert_non_null(json_object_get(body, "seed"));
	check_uploaded_root(body, seed);
	json_decref(body);
	buf_clear(&text);
	assert_int_equal(
		suite_registration(suite, "capability_benchmark", SUITE_SEALED, &text, NULL),
		ERR_OK);
	assert_int_equal(json_parse(buf_bytes(&text), "body", &body, NULL), ERR_OK);
	assert_null(json_object_get(body, "items"));
	assert_null(json_object_get(body, "seed"));
	assert_int_equal(json_integer_value(json_object_get(body, "leaves")), 2);
	assert_string_equal(json_string_value(json_object_get(body, "purpose")),
			    "capability_benchmark");
	assert_null(json_object_get(body, "gradings"));
	json_decref(body);
	buf_clear(&text);
	assert_int_equal(
		suite_registration(suite, "capability_benchmark", SUITE_GRADINGS, &text, NULL),
		ERR_OK);
	assert_int_equal(json_parse(buf_bytes(&text), "body", &body, NULL), ERR_OK);
	assert_null(json_object_get(body, "items"));
	assert_null(json_object_get(body, "seed"));
	assert_int_equal(json_array_size(json_object_get(body, "gradings")), 2);
	json_decref(body);
	buf_release(&text);
	suite_free(suite);
}

static void test_many_items(void **state)
{
	(void)state;
	struct buf items = BUF_INIT(1 << 24);
	size_t index;
	for (int i = 0; i < 20000; i++)
		buf_printf(&items, "{\"id\":%d,\"q\":\"Question %d\"}\n", i, i);
	struct suite *suite = parse(HEAD TAIL, items.data);
	assert_int_equal(suite_count(suite), 20000);
	for (int i = 0; i < 20000; i += 777) {
		char id[16];
		snprintf(id, sizeof(id), "%d", i);
		assert_true(suite_find(suite, bytes_from(id), &index));
		assert_int_equal(index, i);
	}
	suite_free(suite);
	buf_release(&items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_example, folder_setup, folder_teardown),
		cmocka_unit_test(test_root_binds_words_and_grading),
		cmocka_unit_test(test_messages_and_typed_scorer),
		cmocka_unit_test(test_words_field),
		cmocka_unit_test(test_refused_yaml),
		cmocka_unit_test(test_refused_items),
		cmocka_unit_test_setup_teardown(test_unreadable_folder, folder_setup,
						folder_teardown),
		cmocka_unit_test(test_empty_prompt),
		cmocka_unit_test(test_nul_in_prompt),
		cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_registration),
		cmocka_unit_test(test_many_items),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
