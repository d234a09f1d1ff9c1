/* SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104). The state is embedded in the caller and nothing
 * allocates. Own code, because a request hashes a dozen short texts, where a library spends more on
 * the call than on the blocks, and because the log and the gateway hash several texts at once. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include "base/bytes.h"

#define SHA256_SIZE 32
#define SHA256_BLOCK 64

struct sha256 {
	uint32_t state[8];
	uint64_t size; /* bytes added so far */
	uint8_t block[SHA256_BLOCK];
};

void sha256_start(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *data, size_t size);
void sha256_add_bytes(struct sha256 *hash, struct bytes bytes);
/* The hash must be started again before it is used for another text. */
void sha256_finish(struct sha256 *hash, uint8_t digest[static SHA256_SIZE]);

/* All at once. */
void sha256_of(const void *data, size_t size, uint8_t digest[static SHA256_SIZE]);

/* Two hashes side by side: the processor's instructions wait for their own results, so that two
 * cost little more than one. */
void sha256_add_two(struct sha256 *a, struct bytes a_text, struct sha256 *b, struct bytes b_text);

/* Any number of hashes side by side. Each text is added to its hash, which is then finished. */
struct sha256_task {
	struct sha256 hash; /* started, and perhaps added to */
	struct bytes text;
	uint8_t *digest; /* SHA256_SIZE bytes */
};
void sha256_many(struct sha256_task *tasks, size_t count);
/* With how many at once a hash is cheapest on this processor: at most SHA256_TASKS. */
#define SHA256_TASKS 16
size_t sha256_tasks_wanted(void);

/* HMAC with the two padded key blocks hashed beforehand, for keys that are used often. */
struct hmac_key {
	struct sha256 inner, outer;
};
void hmac_key_init(struct hmac_key *key, const void *secret, size_t size);
void hmac_of(const struct hmac_key *key, const void *data, size_t size,
	     uint8_t digest[static SHA256_SIZE]);

#endif
