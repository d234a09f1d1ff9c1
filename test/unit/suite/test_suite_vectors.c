/* The published vectors of docs/formats/suite.md: what a folder becomes, and what is refused by
 * file and line. */
#include "suite/suite.h"

#include "base/encode.h"
#include "base/json.h"
#include "folder.h"

#define VECTORS SOURCE_ROOT "/test/vectors/suites.jsonl"

static const char *text_of(const json_t *vector, const char *key)
{
	const char *text = json_string_value(json_object_get(vector, key));
	assert_non_null(text);
	return text;
}

static void check_leaf(const struct suite *suite, size_t index, const json_t *leaf)
{
	struct leaf_salter salter;
	uint8_t salt[LEAF_SALT_SIZE], data[LEAF_DATA_SIZE];
	char hex[2 * LEAF_DATA_SIZE + 1];
	struct suite_item item;
	struct err err = ERR_INIT;
	if (suite_item_render(suite, index, &item, &err) != ERR_OK)
		fail_msg("%s", err.message);
	assert_string_equal(item.id, text_of(leaf, "id"));
	assert_true(bytes_is(buf_bytes(&item.text), text_of(leaf, "words")));
	assert_true(bytes_is(buf_bytes(&item.grading), text_of(leaf, "grading")));
	leaf_salter_init(&salter, suite_seed(suite));
	leaf_salt(&salter, index, salt);
	leaf_data(salt, buf_bytes(&item.text), buf_bytes(&item.grading), data);
	hex_encode(data, sizeof(data), hex);
	assert_string_equal(hex, text_of(leaf, "data"));
	suite_item_release(&item);
}

static void check_good(const struct suite *suite, const json_t *vector)
{
	const json_t *leaves = json_object_get(vector, "leaves");
	uint8_t root[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	struct buf settings = BUF_INIT(1024);
	assert_int_equal(suite_count(suite), json_array_size(leaves));
	for (size_t i = 0; i < suite_count(suite); i++)
		check_leaf(suite, i, json_array_get(leaves, i));
	assert_int_equal(suite_root(suite, root, NULL), ERR_OK);
	hex_encode(root, sizeof(root), hex);
	assert_string_equal(hex, text_of(vector, "root"));
	assert_int_equal(json_canonical(suite_settings(suite), &settings, NULL), ERR_OK);
	assert_true(bytes_is(buf_bytes(&settings), text_of(vector, "settings")));
	assert_int_equal(suite_samples(suite),
			 json_integer_value(json_object_get(vector, "samples")));
	assert_string_equal(suite_canary(suite), text_of(vector, "canary"));
	buf_release(&settings);
}

/* "d/suite.yaml:4: …" with what it is about; line 0: the file as a whole. */
static void check_error(const struct err *err, const json_t *error)
{
	char place[64];
	long long line = json_integer_value(json_object_get(error, "line"));
	int length = snprintf(place, sizeof(place), "d/%s:", text_of(error, "file"));
	if (line)
		snprintf(place + length, sizeof(place) - (size_t)length, "%lld:", line);
	if (!bytes_starts_with(bytes_from(err->message), bytes_from(place)) ||
	    !strstr(err->message, text_of(error, "says")))
		fail_msg("\"%s\" where %s … %s was to be said", err->message, place,
			 text_of(error, "says"));
}

static void check_vector(const json_t *vector)
{
	const json_t *error = json_object_get(vector, "error");
	struct err err = ERR_INIT;
	struct suite *suite;
	uint8_t root[SHA256_SIZE];
	enum err_code code = suite_parse(bytes_from(text_of(vector, "yaml")),
					 bytes_from(text_of(vector, "items")), "d", &suite, &err);
	print_message("%s\n", text_of(vector, "name"));
	if (code == ERR_OK && error)
		code = suite_root(suite, root, &err);
	if (code == ERR_OK && error)
		fail_msg("read, but must be refused");
	if (code != ERR_OK && !error)
		fail_msg("%s", err.message);
	if (error)
		check_error(&err, error);
	else
		check_good(suite, vector);
	suite_free(suite);
}

static void published_vectors(void **state)
{
	const struct folder *folder = *state;
	struct buf text = BUF_INIT((size_t)1 << 20);
	size_t count = 0;
	assert_int_equal(env_read_file(folder->env, VECTORS, &text, NULL), ERR_OK);
	for (struct bytes rest = buf_bytes(&text); rest.size; count++) {
		json_t *vector;
		struct bytes line = bytes_split(rest, '\n', &rest);
		assert_int_equal(json_parse(line, VECTORS, &vector, NULL), ERR_OK);
		check_vector(vector);
		json_decref(vector);
	}
	assert_int_equal(count, 41);
	buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(published_vectors, folder_setup, folder_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
