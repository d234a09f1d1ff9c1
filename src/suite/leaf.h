/* Leaves: what a suite commits to, item by item (docs/formats/leaves.md, DESIGN.md section 5).
 *
 *     salt(i)   = first 16 bytes of HMAC-SHA-256(seed, decimal i)
 *     data(i)   = SHA-256(salt || words) || SHA-256(salt || grading)
 *     grading   = RFC 8785 text of {id, scorer, target, cluster}, absent members left out
 *     root      = RFC 9162 tree head over data(0) … data(n-1)
 *
 * Pure: no clock, no file. */
#ifndef SUITE_LEAF_H
#define SUITE_LEAF_H

#include "base/buf.h"
#include "base/err.h"
#include "base/sha256.h"
#include "ledger/merkle.h"

#include <jansson.h>

#define LEAF_SEED_SIZE 32
#define LEAF_SALT_SIZE 16
#define LEAF_DATA_SIZE 64
#define LEAF_COUNT_MAX 1000000u

/* The seed made ready for many salts. All zeros where a suite names none. */
struct leaf_salter {
	struct hmac_key key;
};
void leaf_salter_init(struct leaf_salter *salter, const uint8_t seed[static LEAF_SEED_SIZE]);
void leaf_salt(const struct leaf_salter *salter, uint64_t index,
	       uint8_t salt[static LEAF_SALT_SIZE]);

/* SHA-256(salt || text): one half of the leaf data, of the words or of the grading. */
void leaf_half(const uint8_t salt[static LEAF_SALT_SIZE], struct bytes text,
	       uint8_t digest[static SHA256_SIZE]);
void leaf_data(const uint8_t salt[static LEAF_SALT_SIZE], struct bytes words, struct bytes grading,
	       uint8_t data[static LEAF_DATA_SIZE]);

/* The words' digest without salt: SHA-256 of the canonical text. A gateway keeps it only keyed. */
void leaf_words_digest(struct bytes words, uint8_t digest[static SHA256_SIZE]);

/* Appends the grading text. `scorer` is the item's scorer with every field filled in; its member
 * `target` stands beside it as `target`. `cluster` may be NULL. */
enum err_code leaf_grading(const char *id, const json_t *scorer, const char *cluster,
			   struct buf *out, struct err *err);
/* The same as a tree {id, scorer, target, cluster}, as open registration uploads it (new
 * reference). NULL when memory is out. */
json_t *leaf_grading_json(const char *id, const json_t *scorer, const char *cluster);

/* The tree over a suite's leaves: all complete nodes are kept (64 bytes a leaf), so that a proof
 * costs O(log n). */
struct leaf_tree;

/* NULL when memory is out. */
struct leaf_tree *leaf_tree_new(void);
void leaf_tree_free(struct leaf_tree *tree);
/* False when memory is out or the tree holds LEAF_COUNT_MAX leaves. */
bool leaf_tree_add(struct leaf_tree *tree, const uint8_t data[static LEAF_DATA_SIZE]);
uint64_t leaf_tree_count(const struct leaf_tree *tree);
/* SHA-256 of nothing for an empty tree (RFC 9162, section 2.1.1). */
void leaf_tree_root(const struct leaf_tree *tree, uint8_t root[static SHA256_SIZE]);
/* The inclusion proof of leaf `index` < count, lowest first; returns how many hashes it has. */
size_t leaf_tree_prove(const struct leaf_tree *tree, uint64_t index,
		       struct merkle_hash proof[static MERKLE_PROOF_MAX]);
/* Whether the proof leads from the data of leaf `index` of `count` to `root`. */
bool leaf_verify(const uint8_t data[static LEAF_DATA_SIZE], uint64_t index, uint64_t count,
		 const struct merkle_hash *proof, size_t proof_count,
		 const uint8_t root[static SHA256_SIZE]);

#endif
