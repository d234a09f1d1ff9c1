/* SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104). The state is embedded in the caller: OpenSSL's
 * low-level interface, because the EVP one allocates and costs twice as much on short inputs. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include "base/bytes.h"

#include <openssl/sha.h>

#define SHA256_SIZE 32

struct sha256 {
	SHA256_CTX context;
};

void sha256_start(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *data, size_t size);
void sha256_add_bytes(struct sha256 *hash, struct bytes bytes);
void sha256_finish(struct sha256 *hash, uint8_t digest[static SHA256_SIZE]);

/* All at once. */
void sha256_of(const void *data, size_t size, uint8_t digest[static SHA256_SIZE]);

/* HMAC with the two padded key blocks hashed beforehand, for keys that are used often. */
struct hmac_key {
	struct sha256 inner, outer;
};
void hmac_key_init(struct hmac_key *key, const void *secret, size_t size);
void hmac_of(const struct hmac_key *key, const void *data, size_t size,
	     uint8_t digest[static SHA256_SIZE]);

#endif
