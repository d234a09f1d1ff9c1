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

/* Section 5.1.1: `last` holds the text's last size % 64 bytes, and gets a one bit, zeros, and the
 * length in bits. Returns how many blocks it has. A whole block is copied, as that takes no call.
 */
static size_t pad(uint64_t size, uint8_t last[static 2 * SHA256_BLOCK])
{
	static const uint8_t padding[SHA256_BLOCK] = {0x80};
	size_t held = size % SHA256_BLOCK;
	size_t blocks = held < SHA256_BLOCK - 8 ? 1 : 2;
	size_t end = blocks * SHA256_BLOCK;
	memcpy(last + held, padding, SHA256_BLOCK);
	put_u32(last + end - 8, (uint32_t)(size >> 29));
	put_u32(last + end - 4, (uint32_t)(size << 3));
	return blocks;
}

void sha256_finish(struct sha256 *hash, uint8_t digest[static SHA256_SIZE])
{
	uint8_t last[2 * SHA256_BLOCK];
	memcpy(last, hash->block, SHA256_BLOCK); /* what of it is not held lies under the padding */
	sha256_blocks(hash->state, last, pad(hash->size, last));
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

/* ---- many at once ---- */

/* With fewer than this, pairs are faster: all lanes cost the same, however many are used. */
#define LANES_MIN 10

/* A task on its way: what is left of it, as runs of whole blocks. */
struct lane {
	struct sha256_task *task;
	const uint8_t *from[3]; /* the block that was held, whole ones of the text, the last */
	size_t blocks[3];
	unsigned run, runs;
	uint8_t last[2 * SHA256_BLOCK];
};

static void add_run(struct lane *lane, const uint8_t *from, size_t blocks)
{
	if (blocks == 0)
		return;
	lane->from[lane->runs] = from;
	lane->blocks[lane->runs++] = blocks;
}

static void start_lane(struct lane *lane, struct sha256_task *task)
{
	struct sha256 *hash = &task->hash;
	struct bytes text = task->text;
	lane->task = task;
	lane->run = lane->runs = 0;
	if (fill_block(hash, &text))
		add_run(lane, hash->block, 1);
	size_t held = hash->size % SHA256_BLOCK; /* then the text does not complete the block */
	size_t whole = held > 0 ? 0 : text.size / SHA256_BLOCK;
	size_t rest = text.size - whole * SHA256_BLOCK;
	add_run(lane, (const uint8_t *)text.data, whole);
	memcpy(lane->last, hash->block, held);
	if (rest > 0)
		memcpy(lane->last + held, text.data + whole * SHA256_BLOCK, rest);
	hash->size += text.size;
	add_run(lane, lane->last, pad(hash->size, lane->last));
}

/* Takes the next `blocks` of every one of the `count` lanes. */
static void run_lanes(struct lane *const *lanes, size_t count, size_t blocks)
{
	uint32_t *state[SHA256_TASKS], unused[8] = {0};
	const uint8_t *from[SHA256_TASKS];
	for (size_t i = 0; i < count; i++) {
		state[i] = lanes[i]->task->hash.state;
		from[i] = lanes[i]->from[lanes[i]->run];
	}
	if (count == 1) {
		sha256_blocks(state[0], from[0], blocks);
	} else if (count == 2) {
		sha256_blocks_two(state[0], from[0], state[1], from[1], blocks);
	} else {
		for (size_t i = count; i < SHA256_TASKS; i++) {
			state[i] = unused;
			from[i] = from[0];
		}
		sha256_blocks_lanes(state, from, blocks);
	}
}

/* False where that was the last of it: the digest is there. */
static bool advance_lane(struct lane *lane, size_t blocks)
{
	lane->from[lane->run] += blocks * SHA256_BLOCK;
	lane->blocks[lane->run] -= blocks;
	if (lane->blocks[lane->run] == 0)
		lane->run++;
	if (lane->run < lane->runs)
		return true;
	put_digest(lane->task->hash.state, lane->task->digest);
	return false;
}

size_t sha256_tasks_wanted(void)
{
	return sha256_has_lanes() ? SHA256_TASKS : 2;
}

void sha256_many(struct sha256_task *tasks, size_t count)
{
	struct lane memory[SHA256_TASKS], *lanes[SHA256_TASKS];
	size_t most = sha256_tasks_wanted(), active = 0, next = 0;
	for (size_t i = 0; i < most; i++)
		lanes[i] = &memory[i];
	for (;;) {
		while (active < most && next < count)
			start_lane(lanes[active++], &tasks[next++]);
		if (active == 0)
			return;
		size_t width = active >= LANES_MIN || active == 1 ? active : 2;
		size_t blocks = SIZE_MAX;
		for (size_t i = 0; i < width; i++)
			if (lanes[i]->blocks[lanes[i]->run] < blocks)
				blocks = lanes[i]->blocks[lanes[i]->run];
		run_lanes(lanes, width, blocks);
		for (size_t i = width; i-- > 0;) {
			struct lane *lane = lanes[i];
			if (advance_lane(lane, blocks))
				continue;
			lanes[i] = lanes[--active];
			lanes[active] = lane;
		}
	}
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
