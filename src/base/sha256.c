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

/* Section 5.1.1: what is held, a one bit, zeros, and the length in bits; `out` has room for two
 * blocks. Returns how many it takes. Whole blocks are copied, as that takes no call: what of the
 * first is not held lies under the second. */
static size_t pad(const struct sha256 *hash, uint8_t out[static 2 * SHA256_BLOCK])
{
	static const uint8_t padding[SHA256_BLOCK] = {0x80};
	size_t held = hash->size % SHA256_BLOCK;
	size_t blocks = held < SHA256_BLOCK - 8 ? 1 : 2;
	size_t end = blocks * SHA256_BLOCK;
	memcpy(out, hash->block, SHA256_BLOCK);
	memcpy(out + held, padding, SHA256_BLOCK);
	put_u32(out + end - 8, (uint32_t)(hash->size >> 29));
	put_u32(out + end - 4, (uint32_t)(hash->size << 3));
	return blocks;
}

void sha256_finish(struct sha256 *hash, uint8_t digest[static SHA256_SIZE])
{
	uint8_t last[2 * SHA256_BLOCK];
	sha256_blocks(hash->state, last, pad(hash, last));
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

/* What of `text` completes the block that is held; true where the block is full now. */
static bool fill_block(struct sha256 *hash, struct bytes *text)
{
	size_t held = hash->size % SHA256_BLOCK, room = SHA256_BLOCK - held;
	if (held == 0 || text->size < room)
		return false;
	memcpy(hash->block + held, text->data, room);
	hash->size += room;
	*text = bytes_of(text->data + room, text->size - room);
	return true;
}

void sha256_add_two(struct sha256 *a, struct bytes a_text, struct sha256 *b, struct bytes b_text)
{
	bool a_full = fill_block(a, &a_text), b_full = fill_block(b, &b_text);
	if (a_full && b_full)
		sha256_blocks_two(a->state, a->block, b->state, b->block, 1);
	else if (a_full)
		sha256_blocks(a->state, a->block, 1);
	else if (b_full)
		sha256_blocks(b->state, b->block, 1);
	size_t both = a_text.size < b_text.size ? a_text.size : b_text.size;
	both = both / SHA256_BLOCK * SHA256_BLOCK;
	/* Where a block is held still, its text is shorter than one. */
	if (both > 0) {
		sha256_blocks_two(a->state, (const uint8_t *)a_text.data, b->state,
				  (const uint8_t *)b_text.data, both / SHA256_BLOCK);
		a->size += both;
		b->size += both;
		a_text = bytes_of(a_text.data + both, a_text.size - both);
		b_text = bytes_of(b_text.data + both, b_text.size - both);
	}
	sha256_add_bytes(a, a_text);
	sha256_add_bytes(b, b_text);
}

void sha256_finish_two(struct sha256 *a, uint8_t a_digest[static SHA256_SIZE], struct sha256 *b,
		       uint8_t b_digest[static SHA256_SIZE])
{
	uint8_t a_last[2 * SHA256_BLOCK], b_last[2 * SHA256_BLOCK];
	size_t a_count = pad(a, a_last), b_count = pad(b, b_last);
	size_t both = a_count < b_count ? a_count : b_count;
	sha256_blocks_two(a->state, a_last, b->state, b_last, both);
	sha256_blocks(a->state, a_last + both * SHA256_BLOCK, a_count - both);
	sha256_blocks(b->state, b_last + both * SHA256_BLOCK, b_count - both);
	put_digest(a->state, a_digest);
	put_digest(b->state, b_digest);
}

void sha256_two(const struct sha256_task *a, const struct sha256_task *b)
{
	struct sha256 x, y;
	sha256_start(&x);
	sha256_start(&y);
	sha256_add(&x, &a->before, 1);
	sha256_add(&y, &b->before, 1);
	sha256_add_two(&x, bytes_of(a->data, a->size), &y, bytes_of(b->data, b->size));
	sha256_finish_two(&x, a->digest, &y, b->digest);
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
