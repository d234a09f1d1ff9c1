#include "check.h"

#include "base/encode.h"
#include "base/json.h"
#include "base/prng.h"
#include "base/sanitized.h"
#include "ledger/merkle.h"

#include <stdlib.h>

#define LEAVES 300
#define SIZES (SANITIZED ? 35 : 70) /* over 32, and over 64: another level of the tree */

static struct merkle_hash leaves[LEAVES];

static int make_leaves(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LEAVES; i++)
		leaves[i] = merkle_leaf(&i, sizeof(i));
	return 0;
}

/* RFC 9162, section 2.1.1, word for word. */
static struct merkle_hash tree_hash(size_t begin, size_t end)
{
	size_t split = 1;
	if (begin == end)
		return merkle_empty();
	if (end - begin == 1)
		return leaves[begin];
	while (split * 2 < end - begin)
		split *= 2;
	struct merkle_hash left = tree_hash(begin, begin + split);
	struct merkle_hash right = tree_hash(begin + split, end);
	return merkle_node(&left, &right);
}

static enum err_code read_leaves(void *argument, unsigned level, uint64_t index,
				 struct merkle_hash *out, struct err *err)
{
	uint64_t *limit = argument;
	uint64_t end = (index + 1) << level;
	if (end > *limit)
		return ERR_SET(err, ERR_NOT_FOUND, "outside of the tree");
	*out = tree_hash((size_t)(index << level), (size_t)end);
	return ERR_OK;
}

static void expect_hex(struct merkle_hash hash, const char *start, const char *end)
{
	char hex[65];
	hex_encode(hash.bytes, 32, hex);
	assert_memory_equal(hex, start, strlen(start));
	assert_string_equal(hex + 64 - strlen(end), end);
}

static void test_known_hashes(void **state)
{
	(void)state;
	expect_hex(merkle_leaf("", 0), "6e340b9c", "afa01d");
	expect_hex(merkle_leaf("L123456", 7), "395aa064", "2b4d56");
	expect_hex(merkle_empty(), "e3b0c442", "7852b855");
}

static void test_roots_follow_the_definition(void **state)
{
	(void)state;
	struct merkle_range range = {0};
	for (size_t size = 0; size <= LEAVES; size++) {
		struct merkle_hash root = merkle_root(&range), expected = tree_hash(0, size);
		assert_true(merkle_equal(&root, &expected));
		assert_int_equal(range.count, __builtin_popcountll(range.size));
		if (size < LEAVES)
			merkle_append(&range, &leaves[size]);
	}
}

static void test_complete_subtrees(void **state)
{
	(void)state;
	for (size_t count = 1; count <= 256; count *= 2) {
		struct merkle_hash root = merkle_complete(leaves, count);
		struct merkle_hash expected = tree_hash(0, count);
		assert_true(merkle_equal(&root, &expected));
	}
}

/* A proof that verifies, and stops doing so with anything in it changed. */
static void check_inclusion(uint64_t index, uint64_t size)
{
	struct merkle_hash proof[MERKLE_PROOF_MAX], root = tree_hash(0, size);
	struct merkle_reader reader = {read_leaves, &size};
	struct err err = ERR_INIT;
	size_t count;
	assert_works(merkle_inclusion_proof(&reader, index, size, proof, &count, &err), &err);
	const struct merkle_hash *leaf = &leaves[index];
	assert_true(merkle_verify_inclusion(leaf, index, size, proof, count, &root));
	assert_false(merkle_verify_inclusion(leaf, index + 1, size, proof, count, &root));
	assert_false(merkle_verify_inclusion(leaf, index, size, proof, count + 1, &root));
	assert_false(merkle_verify_inclusion(&root, index, size, proof, count, &proof[0]));
	for (size_t i = 0; i < count; i++) {
		proof[i].bytes[i % 32] ^= 1;
		assert_false(merkle_verify_inclusion(leaf, index, size, proof, count, &root));
		proof[i].bytes[i % 32] ^= 1;
		assert_false(merkle_verify_inclusion(leaf, index, size, proof, i, &root));
	}
}

static void test_inclusion(void **state)
{
	(void)state;
	for (uint64_t size = 1; size <= SIZES; size++)
		for (uint64_t index = 0; index < size; index++)
			check_inclusion(index, size);
	check_inclusion(0, 256);
	check_inclusion(255, 256);
	check_inclusion(256, 257);
	check_inclusion(299, 300);
}

static void check_consistency(uint64_t old_size, uint64_t new_size)
{
	struct merkle_hash proof[MERKLE_PROOF_MAX];
	struct merkle_hash old_root = tree_hash(0, old_size), new_root = tree_hash(0, new_size);
	struct merkle_reader reader = {read_leaves, &new_size};
	struct err err = ERR_INIT;
	size_t count;
	assert_works(merkle_consistency_proof(&reader, old_size, new_size, proof, &count, &err),
		     &err);
	assert_true(
		merkle_verify_consistency(old_size, new_size, proof, count, &old_root, &new_root));
	assert_false(merkle_verify_consistency(old_size, new_size, proof, count, &new_root,
					       &leaves[LEAVES - 1]));
	assert_false(merkle_verify_consistency(old_size, new_size, proof, count + 1, &old_root,
					       &new_root));
	if (old_size != new_size)
		assert_false(merkle_verify_consistency(old_size, new_size, proof, count, &new_root,
						       &new_root));
	for (size_t i = 0; i < count; i++) {
		proof[i].bytes[31] ^= 0x80;
		assert_false(merkle_verify_consistency(old_size, new_size, proof, count, &old_root,
						       &new_root));
		proof[i].bytes[31] ^= 0x80;
		assert_false(merkle_verify_consistency(old_size, new_size, proof, i, &old_root,
						       &new_root));
	}
}

static void test_consistency(void **state)
{
	(void)state;
	for (uint64_t new_size = 1; new_size <= SIZES; new_size++)
		for (uint64_t old_size = 1; old_size <= new_size; old_size++)
			check_consistency(old_size, new_size);
	check_consistency(255, 256);
	check_consistency(256, 300);
}

/* An empty tree is a prefix of every tree, but that is not for this function to say. */
static void test_consistency_from_nothing_is_refused(void **state)
{
	(void)state;
	struct merkle_hash empty = merkle_empty();
	struct err err = ERR_INIT;
	struct merkle_hash proof[MERKLE_PROOF_MAX];
	uint64_t limit = LEAVES;
	struct merkle_reader reader = {read_leaves, &limit};
	size_t count;
	assert_false(merkle_verify_consistency(0, 1, NULL, 0, &empty, &leaves[0]));
	assert_false(merkle_verify_consistency(0, 0, NULL, 0, &empty, &empty));
	assert_int_equal(merkle_consistency_proof(&reader, 0, 5, proof, &count, &err), ERR_INVALID);
	assert_int_equal(merkle_consistency_proof(&reader, 6, 5, proof, &count, &err), ERR_INVALID);
	assert_int_equal(merkle_inclusion_proof(&reader, 5, 5, proof, &count, &err), ERR_INVALID);
}

static void test_huge_sizes_end(void **state)
{
	(void)state;
	struct merkle_span spans[MERKLE_PROOF_MAX];
	uint64_t huge = UINT64_C(1) << 62;
	assert_int_equal(merkle_inclusion_spans(huge - 1, huge, spans), 62);
	assert_true(merkle_inclusion_spans(huge - 2, huge - 1, spans) <= MERKLE_PROOF_MAX);
	assert_false(merkle_verify_inclusion(&leaves[0], UINT64_MAX, UINT64_MAX, leaves, 64,
					     &leaves[1]));
	assert_false(merkle_verify_inclusion(&leaves[0], UINT64_MAX - 1, UINT64_MAX, leaves, 64,
					     &leaves[1]));
	assert_false(merkle_verify_consistency(UINT64_MAX - 1, UINT64_MAX, leaves, 64, &leaves[0],
					       &leaves[1]));
}

/* ---- published vectors ---- */

static struct merkle_hash hash_member(const json_t *object, const char *name, bool *valid)
{
	struct merkle_hash hash = {{0}};
	const char *text = json_string_value(json_object_get(object, name));
	*valid &= base64_decode_exact(bytes_from(text ? text : ""), hash.bytes, 32);
	return hash;
}

static uint64_t size_member(const json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);
	/* Sizes beyond 2^63 come as reals. */
	return json_is_real(value) ? UINT64_MAX : (uint64_t)json_integer_value(value);
}

static bool vector_holds(const json_t *vector)
{
	struct merkle_hash proof[MERKLE_PROOF_MAX];
	const json_t *hashes = json_object_get(vector, "proof");
	size_t count = json_array_size(hashes);
	bool valid = count <= MERKLE_PROOF_MAX;
	for (size_t i = 0; i < count && valid; i++) {
		const char *text = json_string_value(json_array_get(hashes, i));
		valid = base64_decode_exact(bytes_from(text), proof[i].bytes, 32);
	}
	if (strcmp(json_string_value(json_object_get(vector, "kind")), "inclusion") == 0) {
		struct merkle_hash leaf = hash_member(vector, "leafHash", &valid);
		struct merkle_hash root = hash_member(vector, "root", &valid);
		return valid && merkle_verify_inclusion(&leaf, size_member(vector, "leafIdx"),
							size_member(vector, "treeSize"), proof,
							count, &root);
	}
	struct merkle_hash old_root = hash_member(vector, "root1", &valid);
	struct merkle_hash new_root = hash_member(vector, "root2", &valid);
	return valid &&
	       merkle_verify_consistency(size_member(vector, "size1"), size_member(vector, "size2"),
					 proof, count, &old_root, &new_root);
}

static void test_published_vectors(void **state)
{
	(void)state;
	FILE *file = fopen(SHARED_DATA "/merkle/proofs.jsonl", "r");
	if (!file) {
		print_message("SKIP: no " SHARED_DATA "/merkle\n");
		skip();
	}
	char *line = NULL;
	size_t capacity = 0, count = 0;
	while (getline(&line, &capacity, file) > 0) {
		json_t *vector = json_loads(line, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
		json_t *exact = json_loads(line, JSON_DECODE_ANY, NULL);
		if (exact) {
			json_decref(vector);
			vector = exact;
		}
		assert_non_null(vector);
		bool refuse = json_is_true(json_object_get(vector, "wantErr"));
		if (vector_holds(vector) == refuse)
			fail_msg("%s", line);
		json_decref(vector);
		count++;
	}
	free(line);
	fclose(file);
	assert_int_equal(count, 147);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_hashes),
		cmocka_unit_test(test_roots_follow_the_definition),
		cmocka_unit_test(test_complete_subtrees),
		cmocka_unit_test(test_inclusion),
		cmocka_unit_test(test_consistency),
		cmocka_unit_test(test_consistency_from_nothing_is_refused),
		cmocka_unit_test(test_huge_sizes_end),
		cmocka_unit_test(test_published_vectors),
	};
	return cmocka_run_group_tests(tests, make_leaves, NULL);
}
