#include "suite/leaf.h"

#include "base/encode.h"
#include "base/json.h"
#include "folder.h"

static json_t *load_vectors(size_t line)
{
	struct folder *folder;
	struct buf text = BUF_INIT(1 << 20);
	void *state;
	folder_setup(&state);
	folder = state;
	assert_int_equal(
		env_read_file(folder->env, SOURCE_ROOT "/test/vectors/leaves.jsonl", &text, NULL),
		ERR_OK);
	folder_teardown(&state);
	struct bytes row = {0}, rest = buf_bytes(&text);
	for (size_t i = 0; i <= line; i++)
		row = bytes_split(rest, '\n', &rest);
	json_t *vector = NULL;
	if (row.size)
		assert_int_equal(json_parse(row, "vector", &vector, NULL), ERR_OK);
	buf_release(&text);
	return vector;
}

static void decode(const json_t *hex, void *out, size_t size)
{
	assert_true(hex_decode(bytes_from(json_string_value(hex)), out, size));
}

static struct bytes text_of(const json_t *leaf, const char *key)
{
	const json_t *text = json_object_get(leaf, key);
	assert_true(json_is_string(text));
	return bytes_of(json_string_value(text), json_string_length(text));
}

static void check_leaf(const struct leaf_salter *salter, size_t index, const json_t *leaf,
		       uint8_t data[LEAF_DATA_SIZE])
{
	uint8_t salt[LEAF_SALT_SIZE], expected_salt[LEAF_SALT_SIZE], expected[LEAF_DATA_SIZE];
	decode(json_object_get(leaf, "salt"), expected_salt, sizeof(expected_salt));
	decode(json_object_get(leaf, "data"), expected, sizeof(expected));
	leaf_salt(salter, index, salt);
	assert_memory_equal(salt, expected_salt, sizeof(salt));
	leaf_data(salt, text_of(leaf, "words"), text_of(leaf, "grading"), data);
	assert_memory_equal(data, expected, LEAF_DATA_SIZE);
}

static void check_proof(const struct leaf_tree *tree, size_t index, const uint8_t *data,
			const json_t *expected, const uint8_t *root)
{
	struct merkle_hash proof[MERKLE_PROOF_MAX];
	size_t count = leaf_tree_prove(tree, index, proof);
	uint64_t leaves = leaf_tree_count(tree);
	assert_int_equal(count, json_array_size(expected));
	for (size_t i = 0; i < count; i++) {
		struct merkle_hash hash;
		decode(json_array_get(expected, i), hash.bytes, sizeof(hash.bytes));
		assert_memory_equal(&hash, &proof[i], sizeof(hash));
	}
	assert_true(leaf_verify(data, index, leaves, proof, count, root));
	assert_false(leaf_verify(data, index + 1, leaves, proof, count, root));
	uint8_t changed[LEAF_DATA_SIZE];
	memcpy(changed, data, sizeof(changed));
	changed[63] ^= 1;
	assert_false(leaf_verify(changed, index, leaves, proof, count, root));
	if (count) {
		proof[0].bytes[0] ^= 1;
		assert_false(leaf_verify(data, index, leaves, proof, count, root));
	}
}

static void check_vector(const json_t *vector)
{
	uint8_t seed[LEAF_SEED_SIZE], root[SHA256_SIZE], expected[SHA256_SIZE];
	uint8_t data[16][LEAF_DATA_SIZE];
	struct leaf_salter salter;
	const json_t *leaves = json_object_get(vector, "leaves");
	struct leaf_tree *tree = leaf_tree_new();
	decode(json_object_get(vector, "seed"), seed, sizeof(seed));
	decode(json_object_get(vector, "root"), expected, sizeof(expected));
	leaf_salter_init(&salter, seed);
	for (size_t i = 0; i < json_array_size(leaves); i++) {
		check_leaf(&salter, i, json_array_get(leaves, i), data[i]);
		assert_true(leaf_tree_add(tree, data[i]));
	}
	leaf_tree_root(tree, root);
	assert_memory_equal(root, expected, sizeof(root));
	for (size_t i = 0; i < json_array_size(leaves); i++)
		check_proof(tree, i, data[i], json_array_get(json_object_get(vector, "proofs"), i),
			    root);
	leaf_tree_free(tree);
}

static void test_vectors(void **state)
{
	(void)state;
	size_t count = 0;
	for (json_t *vector; (vector = load_vectors(count)); count++) {
		check_vector(vector);
		json_decref(vector);
	}
	assert_int_equal(count, 6);
}

static void test_empty_tree(void **state)
{
	(void)state;
	uint8_t root[SHA256_SIZE], nothing[SHA256_SIZE];
	struct leaf_tree *tree = leaf_tree_new();
	leaf_tree_root(tree, root);
	sha256_of("", 0, nothing);
	assert_memory_equal(root, nothing, sizeof(root));
	leaf_tree_free(tree);
}

/* Every proof of every tree up to 70 leaves leads to its root. */
static void test_all_small_trees(void **state)
{
	(void)state;
	uint8_t data[70][LEAF_DATA_SIZE], root[SHA256_SIZE];
	struct merkle_hash proof[MERKLE_PROOF_MAX];
	struct leaf_tree *tree = leaf_tree_new();
	for (size_t count = 1; count <= 70; count++) {
		memset(data[count - 1], (int)count, LEAF_DATA_SIZE);
		assert_true(leaf_tree_add(tree, data[count - 1]));
		leaf_tree_root(tree, root);
		for (size_t i = 0; i < count; i++) {
			size_t hashes = leaf_tree_prove(tree, i, proof);
			assert_true(leaf_verify(data[i], i, count, proof, hashes, root));
			assert_false(leaf_verify(data[i], i, count, proof, hashes + 1, root));
		}
	}
	leaf_tree_free(tree);
}

static void test_grading_moves_target_out(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(1024);
	json_t *scorer = json_pack("{s:s, s:i}", "kind", "exact", "target", 4);
	assert_int_equal(leaf_grading("7", scorer, "book", &text, NULL), ERR_OK);
	assert_string_equal(
		text.data,
		"{\"cluster\":\"book\",\"id\":\"7\",\"scorer\":{\"kind\":\"exact\"},\"target\":4}");
	assert_int_equal(json_integer_value(json_object_get(scorer, "target")), 4);
	json_object_del(scorer, "target");
	buf_clear(&text);
	assert_int_equal(leaf_grading("7", scorer, NULL, &text, NULL), ERR_OK);
	assert_string_equal(text.data, "{\"id\":\"7\",\"scorer\":{\"kind\":\"exact\"}}");
	json_decref(scorer);
	buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_empty_tree),
		cmocka_unit_test(test_all_small_trees),
		cmocka_unit_test(test_grading_moves_target_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
