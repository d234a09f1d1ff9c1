/* The Merkle tree of RFC 9162, section 2: hashes, roots, inclusion and consistency proofs. Pure. */
#ifndef LEDGER_MERKLE_H
#define LEDGER_MERKLE_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/sha256.h"

#define MERKLE_HASH_SIZE 32
/* A tree of at most 2^62 leaves needs no longer proof, and no longer compact range. */
#define MERKLE_PROOF_MAX 64

struct merkle_hash {
	uint8_t bytes[MERKLE_HASH_SIZE];
};

/* SHA-256(0x00 || data), SHA-256(0x01 || left || right), SHA-256(""). */
struct merkle_hash merkle_leaf(const void *data, size_t size);
/* Hashes side by side, which cost less than one after the other (sha256_many). A hash is there
 * after merkle_group_finish at the latest, and its text must stay until then. Start with `count` 0.
 */
struct merkle_group {
	size_t count;
	struct sha256_task tasks[64];
};
void merkle_group_leaf(struct merkle_group *group, struct bytes text, struct merkle_hash *out);
void merkle_group_finish(struct merkle_group *group);
struct merkle_hash merkle_node(const struct merkle_hash *left, const struct merkle_hash *right);
struct merkle_hash merkle_empty(void);
static inline bool merkle_equal(const struct merkle_hash *a, const struct merkle_hash *b)
{
	return memcmp(a->bytes, b->bytes, MERKLE_HASH_SIZE) == 0;
}
/* The root of 2^k hashes that are the leaves of a complete subtree; count is a power of two, at
 * most 256. */
struct merkle_hash merkle_complete(const struct merkle_hash *hashes, size_t count);

/* A tree in progress: the roots of its complete subtrees, largest first (at most 63). Zeroed memory
 * is the empty tree. */
struct merkle_range {
	uint64_t size; /* leaves */
	unsigned count;
	struct merkle_hash hashes[MERKLE_PROOF_MAX];
};
void merkle_append(struct merkle_range *range, const struct merkle_hash *leaf);
/* Appends the root of a complete subtree of 2^level leaves; range->size must be a multiple of it.
 */
void merkle_append_subtree(struct merkle_range *range, unsigned level,
			   const struct merkle_hash *root);
struct merkle_hash merkle_root(const struct merkle_range *range);

/* The proof is hashes from the leaf upwards. False for an index outside of the tree and for a proof
 * that is too long or too short. */
bool merkle_verify_inclusion(const struct merkle_hash *leaf, uint64_t index, uint64_t size,
			     const struct merkle_hash *proof, size_t count,
			     const struct merkle_hash *root);
/* False for old_size 0, old_size > new_size, and equal sizes with a proof or different roots. An
 * empty old tree is consistent with everything and needs no proof: that is for the caller to decide
 * (C2SP tlog-witness wants an empty proof there). */
bool merkle_verify_consistency(uint64_t old_size, uint64_t new_size,
			       const struct merkle_hash *proof, size_t count,
			       const struct merkle_hash *old_root,
			       const struct merkle_hash *new_root);

/* Where stored hashes come from: the root of the complete subtree of 2^level leaves that starts at
 * leaf index << level. */
struct merkle_reader {
	enum err_code (*read)(void *argument, unsigned level, uint64_t index,
			      struct merkle_hash *out, struct err *err);
	void *argument;
};

/* Leaves begin to end - 1, as one node of a tree. */
struct merkle_span {
	uint64_t begin, end;
};
/* The nodes an inclusion proof of leaf `index` (< size) is made of, in its order; the count. For
 * those who compute a proof from a stream of leaves. */
size_t merkle_inclusion_spans(uint64_t index, uint64_t size,
			      struct merkle_span spans[static MERKLE_PROOF_MAX]);
/* The same for a consistency proof; 0 < old_size <= new_size. */
size_t merkle_consistency_spans(uint64_t old_size, uint64_t new_size,
				struct merkle_span spans[static MERKLE_PROOF_MAX]);

/* From stored hashes. Errors are the reader's; ERR_INVALID for an index or size out of range. */
enum err_code merkle_root_at(const struct merkle_reader *reader, uint64_t size,
			     struct merkle_hash *out, struct err *err);
enum err_code merkle_inclusion_proof(const struct merkle_reader *reader, uint64_t index,
				     uint64_t size,
				     struct merkle_hash proof[static MERKLE_PROOF_MAX],
				     size_t *count, struct err *err);
enum err_code merkle_consistency_proof(const struct merkle_reader *reader, uint64_t old_size,
				       uint64_t new_size,
				       struct merkle_hash proof[static MERKLE_PROOF_MAX],
				       size_t *count, struct err *err);

#endif
