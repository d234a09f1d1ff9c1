#include "base/sha256.h"

#include "base/sha256_blocks.h"

/* FIPS 180-4, section 5.3.3. */
static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
				    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

void sha256_start(struct sha256 *hash)
{
	memcpy(hash->state, initial, sizeof(hash->state));
	hash->size = 0;
}

void sha256_add(struct sha256 *hash, const void *data, size_t size)
{
	const uint8_t *from = data;
	size_t held = hash->size % SHA256_BLOCK;
	if (size == 0)
		return;
	hash->size += size;
	if (held > 0) {
		size_t room = SHA256_BLOCK - held;
		if (size < room) {
			memcpy(hash->block + held, from, size);
			return;
		}
		memcpy(hash->block + held, from, room);
		sha256_blocks(hash->state, hash->block, 1);
		from += room;
		size -= room;
	}
	if (size >= SHA256_BLOCK)
		sha256_blocks(hash->state, from, size / SHA256_BLOCK);
	memcpy(hash->block, from + size / SHA256_BLOCK * SHA256_BLOCK, size % SHA256_BLOCK);
}

void sha256_add_bytes(struct sha256 *hash, struct bytes bytes)
{
	sha256_add(hash, bytes.data, bytes.size);
}

static void put_u32(uint8_t *out, uint32_t value)
{
	value = __builtin_bswap32(value);
	memcpy(out, &value, sizeof(value));
}

static void put_digest(const uint32_t *state, uint8_t *digest)
{
	for (unsigned i = 0; i < 8; i++)
		put_u32(digest + 4 * (size_t)i, state[i]);
}

/* Section 5.1.1: a one bit, zeros, and the length in bits; `out` has room for two blocks. Returns
 * how many it takes after `held` bytes of text. */
static size_t pad(uint8_t *out, size_t held, uint64_t size)
{
	size_t blocks = held < SHA256_BLOCK - 8 ? 1 : 2;
	size_t end = blocks * SHA256_BLOCK;
	out[held] = 0x80;
	memset(out + held + 1, 0, end - 8 - held - 1);
	put_u32(out + end - 8, (uint32_t)(size >> 29));
	put_u32(out + end - 4, (uint32_t)(size << 3));
	return blocks;
}

void sha256_finish(struct sha256 *hash, uint8_t digest[static SHA256_SIZE])
{
	uint8_t last[2 * SHA256_BLOCK];
	size_t held = hash->size % SHA256_BLOCK;
	memcpy(last, hash->block, held);
	sha256_blocks(hash->state, last, pad(last, held, hash->size));
	put_digest(hash->state, digest);
}

void sha256_of(const void *data, size_t size, uint8_t digest[static SHA256_SIZE])
{
	struct sha256 hash;
	sha256_start(&hash);
	sha256_add(&hash, data, size);
	sha256_finish(&hash, digest);
}

/* ---- two at once ---- */

/* A text cut into what is hashed where it lies and the blocks at either end. */
struct cut {
	uint32_t state[8];
	uint8_t first[SHA256_BLOCK], last[2 * SHA256_BLOCK];
	const uint8_t *middle;
	size_t middle_count, last_count;
};

static void cut_up(struct cut *cut, const struct sha256_task *task)
{
	const uint8_t *data = task->data;
	size_t in_first = SHA256_BLOCK - 1, size = task->size;
	uint64_t total = (uint64_t)size + 1;
	memcpy(cut->state, initial, sizeof(cut->state));
	cut->first[0] = task->before;
	memcpy(cut->first + 1, data, in_first);
	cut->middle = data + in_first;
	size -= in_first;
	cut->middle_count = size / SHA256_BLOCK;
	memcpy(cut->last, cut->middle + cut->middle_count * SHA256_BLOCK, size % SHA256_BLOCK);
	cut->last_count = pad(cut->last, size % SHA256_BLOCK, total);
}

static void one(const struct sha256_task *task)
{
	struct sha256 hash;
	sha256_start(&hash);
	sha256_add(&hash, &task->before, 1);
	sha256_add(&hash, task->data, task->size);
	sha256_finish(&hash, task->digest);
}

void sha256_two(const struct sha256_task *a, const struct sha256_task *b)
{
	struct cut x, y;
	if (a->size < SHA256_BLOCK || b->size < SHA256_BLOCK) {
		one(a);
		one(b);
		return;
	}
	cut_up(&x, a);
	cut_up(&y, b);
	sha256_blocks_two(x.state, x.first, y.state, y.first, 1);
	size_t both = x.middle_count < y.middle_count ? x.middle_count : y.middle_count;
	sha256_blocks_two(x.state, x.middle, y.state, y.middle, both);
	sha256_blocks(x.state, x.middle + both * SHA256_BLOCK, x.middle_count - both);
	sha256_blocks(y.state, y.middle + both * SHA256_BLOCK, y.middle_count - both);
	both = x.last_count < y.last_count ? x.last_count : y.last_count;
	sha256_blocks_two(x.state, x.last, y.state, y.last, both);
	sha256_blocks(x.state, x.last + both * SHA256_BLOCK, x.last_count - both);
	sha256_blocks(y.state, y.last + both * SHA256_BLOCK, y.last_count - both);
	put_digest(x.state, a->digest);
	put_digest(y.state, b->digest);
}

/* ---- HMAC ---- */

void hmac_key_init(struct hmac_key *key, const void *secret, size_t size)
{
	uint8_t block[SHA256_BLOCK] = {0};
	uint8_t pad[SHA256_BLOCK];
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
