/* Which sealed answers of a run may be opened for checking (docs/formats/verdict.md): so many
 * leaves, those with the lowest numbers under a key that both sides' seeds make, and one sample of
 * each. The gateway admits by it, and the verifier holds its records against it. Pure. */
#ifndef POLICY_OPENINGS_H
#define POLICY_OPENINGS_H

#include "base/err.h"
#include "base/sha256.h"

struct openings {
	uint32_t count; /* leaves that may be opened; 0: none */
	uint32_t leaves;
	unsigned samples;
	uint64_t bound; /* leaves whose number is at most this */
	struct hmac_key key;
};

/* HMAC-SHA-256(gateway's seed, evaluator's seed), each of 32 bytes. */
void openings_key(const uint8_t gateway[static SHA256_SIZE],
		  const uint8_t evaluator[static SHA256_SIZE], uint8_t out[static SHA256_SIZE]);
/* `count` (at most all) of `leaves`, of each one of `samples` (at least 1). ERR_NO_MEMORY. */
enum err_code openings_choose(struct openings *out, const uint8_t key[static SHA256_SIZE],
			      uint32_t count, uint32_t leaves, unsigned samples, struct err *err);
/* Whether the answer to this sample (1-based) of the leaf may be opened. */
bool openings_has(const struct openings *openings, uint32_t leaf, unsigned sample);

#endif
