#include "suite/leaf.h"

#include "base/json.h"

#include <assert.h>
#include <stdlib.h>

#define LEVELS_MAX 21 /* 2^20 > LEAF_COUNT_MAX */

/* ---- leaf data ---- */

void leaf_salter_init(struct leaf_salter *salter, const uint8_t seed[static LEAF_SEED_SIZE])
{
	hmac_key_init(&salter->key, seed, LEAF_SEED_SIZE);
}

void leaf_salt(const struct leaf_salter *salter, uint64_t index,
	       uint8_t salt[static LEAF_SALT_SIZE])
{
	char decimal[20];
	size_t at = sizeof(decimal);
	uint8_t digest[SHA256_SIZE];
	do {
		decimal[--at] = (char)('0' + index % 10);
		index /= 10;
	} while (index);
	hmac_of(&salter->key, decimal + at, sizeof(decimal) - at, digest);
	memcpy(salt, digest, LEAF_SALT_SIZE);
}

void leaf_half(const uint8_t salt[static LEAF_SALT_SIZE], struct bytes text,
	       uint8_t digest[static SHA256_SIZE])
{
	struct sha256 hash;
	sha256_start(&hash);
	sha256_add(&hash, salt, LEAF_SALT_SIZE);
	sha256_add_bytes(&hash, text);
	sha256_finish(&hash, digest);
}

void leaf_data(const uint8_t salt[static LEAF_SALT_SIZE], struct bytes words, struct bytes grading,
	       uint8_t data[static LEAF_DATA_SIZE])
{
	leaf_half(salt, words, data);
	leaf_half(salt, grading, data + SHA256_SIZE);
}

void leaf_words_digest(struct bytes words, uint8_t digest[static SHA256_SIZE])
{
	sha256_of(words.data, words.size, digest);
}

/* ---- grading ---- */

/* The scorer without its target: a new reference. */
static json_t *scorer_alone(const json_t *scorer)
{
	json_t *alone = json_copy((json_t *)scorer);
	if (alone)
		json_object_del(alone, "target");
	return alone;
}

json_t *leaf_grading_json(const char *id, const json_t *scorer, const char *cluster)
{
	assert(json_is_object(scorer));
	return json_pack("{s:s, s:o, s:O*, s:s*}", "id", id, "scorer", scorer_alone(scorer),
			 "target", json_object_get(scorer, "target"), "cluster", cluster);
}

enum err_code leaf_grading(const char *id, const json_t *scorer, const char *cluster,
			   struct buf *out, struct err *err)
{
	json_t *grading = leaf_grading_json(id, scorer, cluster);
	if (!grading)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = json_canonical(grading, out, err);
	json_decref(grading);
	return code;
}

/* ---- the tree ---- */

struct level {
	struct merkle_hash *hashes; /* complete subtrees only */
	size_t count, capacity;
};

struct leaf_tree {
	struct level levels[LEVELS_MAX];
};

struct leaf_tree *leaf_tree_new(void)
{
	return calloc(1, sizeof(struct leaf_tree));
}

void leaf_tree_free(struct leaf_tree *tree)
{
	for (unsigned i = 0; tree && i < LEVELS_MAX; i++)
		free(tree->levels[i].hashes);
	free(tree);
}

uint64_t leaf_tree_count(const struct leaf_tree *tree)
{
	return tree->levels[0].count;
}

static bool level_reserve(struct level *level)
{
	if (level->count < level->capacity)
		return true;
	size_t capacity = level->capacity ? level->capacity * 2 : 16;
	struct merkle_hash *hashes = realloc(level->hashes, capacity * sizeof(*hashes));
	if (!hashes)
		return false;
	level->hashes = hashes;
	level->capacity = capacity;
	return true;
}

bool leaf_tree_add(struct leaf_tree *tree, const uint8_t data[static LEAF_DATA_SIZE])
{
	size_t index = tree->levels[0].count;
	if (index >= LEAF_COUNT_MAX)
		return false;
	unsigned completed = (unsigned)__builtin_ctzll(~(unsigned long long)index);
	for (unsigned i = 0; i <= completed; i++)
		if (!level_reserve(&tree->levels[i]))
			return false;
	struct merkle_hash hash = merkle_leaf(data, LEAF_DATA_SIZE);
	for (unsigned i = 0;; i++) {
		struct level *level = &tree->levels[i];
		level->hashes[level->count++] = hash;
		if (i == completed)
			return true;
		hash = merkle_node(&level->hashes[level->count - 2], &hash);
	}
}

static enum err_code read_hash(void *argument, unsigned level, uint64_t index,
			       struct merkle_hash *out, struct err *err)
{
	const struct leaf_tree *tree = argument;
	if (level >= LEVELS_MAX || index >= tree->levels[level].count)
		return ERR_SET(err, ERR_NOT_FOUND, "no complete subtree %u/%llu", level,
			       (unsigned long long)index);
	*out = tree->levels[level].hashes[index];
	return ERR_OK;
}

static struct merkle_reader reader_of(const struct leaf_tree *tree)
{
	return (struct merkle_reader){.read = read_hash, .argument = (void *)tree};
}

void leaf_tree_root(const struct leaf_tree *tree, uint8_t root[static SHA256_SIZE])
{
	struct merkle_hash hash = merkle_empty();
	struct merkle_reader reader = reader_of(tree);
	if (leaf_tree_count(tree) > 0) {
		enum err_code code = merkle_root_at(&reader, leaf_tree_count(tree), &hash, NULL);
		assert(code == ERR_OK);
	}
	memcpy(root, hash.bytes, SHA256_SIZE);
}

size_t leaf_tree_prove(const struct leaf_tree *tree, uint64_t index,
		       struct merkle_hash proof[static MERKLE_PROOF_MAX])
{
	size_t count;
	struct merkle_reader reader = reader_of(tree);
	enum err_code code =
		merkle_inclusion_proof(&reader, index, leaf_tree_count(tree), proof, &count, NULL);
	assert(code == ERR_OK);
	return count;
}

bool leaf_verify(const uint8_t data[static LEAF_DATA_SIZE], uint64_t index, uint64_t count,
		 const struct merkle_hash *proof, size_t proof_count,
		 const uint8_t root[static SHA256_SIZE])
{
	struct merkle_hash leaf = merkle_leaf(data, LEAF_DATA_SIZE), expected;
	memcpy(expected.bytes, root, SHA256_SIZE);
	return merkle_verify_inclusion(&leaf, index, count, proof, proof_count, &expected);
}
