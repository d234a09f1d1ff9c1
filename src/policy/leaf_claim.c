#include "policy/leaf_claim.h"

#include "base/encode.h"

#include <string.h>

#define SUITE_ID_MAX 63

static bool decode_proof(struct bytes text, struct leaf_claim *out)
{
	for (unsigned count = 0; count <= LEAF_CLAIM_PROOF_MAX; count++) {
		size_t size = (size_t)count * SHA256_SIZE;
		if (text.size != base64_size(size))
			continue;
		out->proof_count = count;
		return size == 0 || base64_decode_exact(text, out->proof, size);
	}
	return false;
}

const char *leaf_claim_parse(struct bytes field, struct leaf_claim *out)
{
	struct bytes index, salt, grading, proof;
	*out = (struct leaf_claim){0};
	out->suite = bytes_trim(bytes_split(field, ';', &field));
	index = bytes_trim(bytes_split(field, ';', &field));
	salt = bytes_trim(bytes_split(field, ';', &field));
	grading = bytes_trim(bytes_split(field, ';', &field));
	if (!field.data)
		return "it must be suite;index;salt;grading hash;proof";
	proof = bytes_trim(field);
	if (out->suite.size == 0 || out->suite.size > SUITE_ID_MAX)
		return "the suite's id is missing or too long";
	if (!bytes_to_u64(index, UINT32_MAX, &out->index))
		return "the index is no whole number";
	if (!base64_decode_exact(salt, out->salt, sizeof(out->salt)))
		return "the salt is not base64 of 16 bytes";
	if (!base64_decode_exact(grading, out->grading, sizeof(out->grading)))
		return "the grading hash is not base64 of 32 bytes";
	if (!decode_proof(proof, out))
		return "the proof is not base64 of at most 20 hashes of 32 bytes";
	return NULL;
}

void leaf_claim_set_words(struct leaf_claim *claim, struct bytes words)
{
	struct sha256 hash;
	sha256_start(&hash);
	sha256_add(&hash, claim->salt, sizeof(claim->salt));
	sha256_add_bytes(&hash, words);
	sha256_finish(&hash, claim->words);
}

static void hash_node(const uint8_t *left, const uint8_t *right, uint8_t out[static SHA256_SIZE])
{
	uint8_t data[1 + 2 * SHA256_SIZE] = {1};
	memcpy(data + 1, left, SHA256_SIZE);
	memcpy(data + 1 + SHA256_SIZE, right, SHA256_SIZE);
	sha256_of(data, sizeof(data), out);
}

/* RFC 9162, section 2.1.3.2. */
bool leaf_claim_verify(const struct leaf_claim *claim, uint64_t leaf_count,
		       const uint8_t root[static SHA256_SIZE])
{
	uint8_t data[1 + 2 * SHA256_SIZE] = {0}, hash[SHA256_SIZE];
	uint64_t node = claim->index, last = leaf_count - 1;
	if (leaf_count == 0 || claim->index >= leaf_count)
		return false;
	memcpy(data + 1, claim->words, SHA256_SIZE);
	memcpy(data + 1 + SHA256_SIZE, claim->grading, SHA256_SIZE);
	sha256_of(data, sizeof(data), hash);
	for (unsigned i = 0; i < claim->proof_count; i++) {
		if (last == 0)
			return false;
		if ((node & 1) || node == last) {
			hash_node(claim->proof[i], hash, hash);
			for (; !(node & 1) && node; node >>= 1)
				last >>= 1;
		} else {
			hash_node(hash, claim->proof[i], hash);
		}
		node >>= 1;
		last >>= 1;
	}
	return last == 0 && memcmp(hash, root, SHA256_SIZE) == 0;
}
