/* The field `parley-leaf: suite;index;salt;grading hash;proof` with which a request shows that its
 * words are a leaf of a sealed suite (docs/formats/leaves.md): verified against the suite's root
 * alone, by an inclusion proof of RFC 9162, section 2.1.3. Pure; the cost is bounded by the proof
 * of the largest tree there may be. */
#ifndef POLICY_LEAF_CLAIM_H
#define POLICY_LEAF_CLAIM_H

#include "base/bytes.h"
#include "base/sha256.h"

#define LEAF_CLAIM_SALT_SIZE 16
#define LEAF_CLAIM_PROOF_MAX 20 /* 2^20 leaves are more than a suite may have */

struct leaf_claim {
	struct bytes suite; /* its id; borrowed from the field */
	uint64_t index;
	uint8_t salt[LEAF_CLAIM_SALT_SIZE];
	uint8_t grading[SHA256_SIZE]; /* SHA-256(salt || grading) */
	uint8_t words[SHA256_SIZE];   /* SHA-256(salt || words): leaf_claim_set_words */
	unsigned proof_count;
	uint8_t proof[LEAF_CLAIM_PROOF_MAX][SHA256_SIZE]; /* from the leaf upwards */
};

/* Salt, grading hash and proof (its hashes one after the other, empty for a tree of one leaf) are
 * canonical base64. NULL, or what is wrong. */
const char *leaf_claim_parse(struct bytes field, struct leaf_claim *out);

/* The words that the request really has, as canonical text. */
void leaf_claim_set_words(struct leaf_claim *claim, struct bytes words);

/* Whether these words and this grading are leaf `index` of the tree of `leaf_count` leaves with
 * this root. */
bool leaf_claim_verify(const struct leaf_claim *claim, uint64_t leaf_count,
		       const uint8_t root[static SHA256_SIZE]);

#endif
