#include "base/sha256.h"

void sha256_start(struct sha256 *hash)
{
	SHA256_Init(&hash->context);
}

void sha256_add(struct sha256 *hash, const void *data, size_t size)
{
	SHA256_Update(&hash->context, data, size);
}

void sha256_add_bytes(struct sha256 *hash, struct bytes bytes)
{
	SHA256_Update(&hash->context, bytes.data, bytes.size);
}

void sha256_finish(struct sha256 *hash, uint8_t digest[static SHA256_SIZE])
{
	SHA256_Final(digest, &hash->context);
}

void sha256_of(const void *data, size_t size, uint8_t digest[static SHA256_SIZE])
{
	struct sha256 hash;
	sha256_start(&hash);
	sha256_add(&hash, data, size);
	sha256_finish(&hash, digest);
}

void hmac_key_init(struct hmac_key *key, const void *secret, size_t size)
{
	uint8_t block[64] = {0};
	uint8_t pad[64];
	if (size > sizeof(block))
		sha256_of(secret, size, block);
	else if (size)
		memcpy(block, secret, size);
	for (size_t i = 0; i < sizeof(block); i++)
		pad[i] = block[i] ^ 0x36;
	sha256_start(&key->inner);
	sha256_add(&key->inner, pad, sizeof(pad));
	for (size_t i = 0; i < sizeof(block); i++)
		pad[i] = block[i] ^ 0x5c;
	sha256_start(&key->outer);
	sha256_add(&key->outer, pad, sizeof(pad));
}

void hmac_of(const struct hmac_key *key, const void *data, size_t size,
	     uint8_t digest[static SHA256_SIZE])
{
	struct sha256 hash = key->inner;
	sha256_add(&hash, data, size);
	sha256_finish(&hash, digest);
	hash = key->outer;
	sha256_add(&hash, digest, SHA256_SIZE);
	sha256_finish(&hash, digest);
}
