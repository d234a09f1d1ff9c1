#include "ledger/merkle.h"

#include <assert.h>

struct merkle_hash merkle_leaf(const void *data, size_t size)
{
	struct merkle_hash out;
	struct sha256 hash;
	sha256_start(&hash);
	sha256_add(&hash, "\0", 1);
	sha256_add(&hash, data, size);
	sha256_finish(&hash, out.bytes);
	return out;
}

void merkle_group_finish(struct merkle_group *group)
{
	sha256_many(group->tasks, group->count);
	group->count = 0;
}

static void add_to_group(struct merkle_group *group, const char *prefix, struct bytes text,
			 struct merkle_hash *out)
{
	struct sha256_task *task = &group->tasks[group->count++];
	sha256_start(&task->hash);
	sha256_add(&task->hash, prefix, 1);
	task->text = text;
	task->digest = out->bytes;
	if (group->count == sizeof(group->tasks) / sizeof(group->tasks[0]))
		merkle_group_finish(group);
}

void merkle_group_leaf(struct merkle_group *group, struct bytes text, struct merkle_hash *out)
{
	add_to_group(group, "\0", text, out);
}

struct merkle_hash merkle_node(const struct merkle_hash *left, const struct merkle_hash *right)
{
	struct merkle_hash out;
	uint8_t block[1 + 2 * MERKLE_HASH_SIZE];
	block[0] = 1;
	memcpy(block + 1, left->bytes, MERKLE_HASH_SIZE);
	memcpy(block + 1 + MERKLE_HASH_SIZE, right->bytes, MERKLE_HASH_SIZE);
	sha256_of(block, sizeof(block), out.bytes);
	return out;
}

struct merkle_hash merkle_empty(void)
{
	struct merkle_hash out;
	sha256_of("", 0, out.bytes);
	return out;
}

/* The `count` nodes above twice as many hashes, side by side; `out` may be `hashes`: what a task
 * reads lies no lower than what those before it write. */
static void parents(const struct merkle_hash *hashes, size_t count, struct merkle_hash *out)
{
	struct merkle_group group;
	group.count = 0;
	for (size_t i = 0; i < count; i++)
		add_to_group(&group, "\1",
			     bytes_of((const char *)&hashes[2 * i], 2 * MERKLE_HASH_SIZE), &out[i]);
	merkle_group_finish(&group);
}

struct merkle_hash merkle_complete(const struct merkle_hash *hashes, size_t count)
{
	struct merkle_hash level[128];
	assert(count >= 1 && count <= 256 && (count & (count - 1)) == 0);
	if (count == 1)
		return hashes[0];
	parents(hashes, count / 2, level);
	for (size_t width = count / 2; width > 1; width /= 2)
		parents(level, width / 2, level);
	return level[0];
}

/* ---- trees in progress ---- */

void merkle_append_subtree(struct merkle_range *range, unsigned level,
			   const struct merkle_hash *root)
{
	struct merkle_hash hash = *root;
	assert(level < 63 && (range->size & ((UINT64_C(1) << level) - 1)) == 0);
	/* As in binary addition: every set bit from `level` on is a subtree to merge with. */
	for (uint64_t size = range->size >> level; size & 1; size >>= 1) {
		range->count--;
		hash = merkle_node(&range->hashes[range->count], &hash);
	}
	assert(range->count < MERKLE_PROOF_MAX);
	range->hashes[range->count++] = hash;
	range->size += UINT64_C(1) << level;
}

void merkle_append(struct merkle_range *range, const struct merkle_hash *leaf)
{
	merkle_append_subtree(range, 0, leaf);
}

struct merkle_hash merkle_root(const struct merkle_range *range)
{
	if (range->count == 0)
		return merkle_empty();
	struct merkle_hash root = range->hashes[range->count - 1];
	for (unsigned i = range->count - 1; i > 0; i--)
		root = merkle_node(&range->hashes[i - 1], &root);
	return root;
}

/* ---- verifying; RFC 9162, sections 2.1.3.2 and 2.1.4.2 ---- */

bool merkle_verify_inclusion(const struct merkle_hash *leaf, uint64_t index, uint64_t size,
			     const struct merkle_hash *proof, size_t count,
			     const struct merkle_hash *root)
{
	if (index >= size)
		return false;
	uint64_t node = index, last = size - 1;
	struct merkle_hash hash = *leaf;
	for (size_t i = 0; i < count; i++) {
		if (last == 0)
			return false;
		if ((node & 1) || node == last) {
			hash = merkle_node(&proof[i], &hash);
			while (!(node & 1) && node != 0) {
				node >>= 1;
				last >>= 1;
			}
		} else {
			hash = merkle_node(&hash, &proof[i]);
		}
		node >>= 1;
		last >>= 1;
	}
	return last == 0 && merkle_equal(&hash, root);
}

bool merkle_verify_consistency(uint64_t old_size, uint64_t new_size,
			       const struct merkle_hash *proof, size_t count,
			       const struct merkle_hash *old_root,
			       const struct merkle_hash *new_root)
{
	if (old_size == 0 || old_size > new_size)
		return false;
	if (old_size == new_size)
		return count == 0 && merkle_equal(old_root, new_root);
	/* An old tree that is a complete subtree of the new one is its own first hash. */
	bool complete = (old_size & (old_size - 1)) == 0;
	if (!complete && count == 0)
		return false;
	struct merkle_hash old_hash = complete ? *old_root : proof[0];
	struct merkle_hash new_hash = old_hash;
	uint64_t node = old_size - 1, last = new_size - 1;
	while (node & 1) {
		node >>= 1;
		last >>= 1;
	}
	for (size_t i = complete ? 0 : 1; i < count; i++) {
		if (last == 0)
			return false;
		if ((node & 1) || node == last) {
			old_hash = merkle_node(&proof[i], &old_hash);
			new_hash = merkle_node(&proof[i], &new_hash);
			while (!(node & 1) && node != 0) {
				node >>= 1;
				last >>= 1;
			}
		} else {
			new_hash = merkle_node(&new_hash, &proof[i]);
		}
		node >>= 1;
		last >>= 1;
	}
	return last == 0 && merkle_equal(&old_hash, old_root) && merkle_equal(&new_hash, new_root);
}

/* ---- making proofs; sections 2.1.3.1 and 2.1.4.1 ---- */

/* The largest power of two smaller than `size` (>= 2). */
static uint64_t split_point(uint64_t size)
{
	return UINT64_C(1) << (63 - __builtin_clzll(size - 1));
}

static void reverse_spans(struct merkle_span *spans, size_t count)
{
	for (size_t i = 0; i < count / 2; i++) {
		struct merkle_span span = spans[i];
		spans[i] = spans[count - 1 - i];
		spans[count - 1 - i] = span;
	}
}

size_t merkle_inclusion_spans(uint64_t index, uint64_t size,
			      struct merkle_span spans[static MERKLE_PROOF_MAX])
{
	size_t count = 0;
	uint64_t begin = 0, end = size;
	assert(index < size && size <= UINT64_C(1) << 63);
	while (end - begin > 1) {
		uint64_t middle = begin + split_point(end - begin);
		if (index < middle) {
			spans[count++] = (struct merkle_span){middle, end};
			end = middle;
		} else {
			spans[count++] = (struct merkle_span){begin, middle};
			begin = middle;
		}
	}
	reverse_spans(spans, count);
	return count;
}

size_t merkle_consistency_spans(uint64_t old_size, uint64_t new_size,
				struct merkle_span spans[static MERKLE_PROOF_MAX])
{
	size_t count = 0;
	uint64_t begin = 0, end = new_size;
	assert(old_size > 0 && old_size <= new_size && new_size <= UINT64_C(1) << 63);
	while (end != old_size) {
		uint64_t middle = begin + split_point(end - begin);
		if (old_size <= middle) {
			spans[count++] = (struct merkle_span){middle, end};
			end = middle;
		} else {
			spans[count++] = (struct merkle_span){begin, middle};
			begin = middle;
		}
	}
	/* The verifier knows the whole old tree; any other last node has to be told. */
	if (begin != 0)
		spans[count++] = (struct merkle_span){begin, end};
	reverse_spans(spans, count);
	return count;
}

static enum err_code span_root(const struct merkle_reader *reader, struct merkle_span span,
			       struct merkle_hash *out, struct err *err)
{
	struct merkle_range range = {0};
	uint64_t size = span.end - span.begin;
	while (range.size < size) {
		unsigned level = 63 - (unsigned)__builtin_clzll(size - range.size);
		struct merkle_hash hash;
		ERR_TRY(reader->read(reader->argument, level, (span.begin + range.size) >> level,
				     &hash, err));
		merkle_append_subtree(&range, level, &hash);
	}
	*out = merkle_root(&range);
	return ERR_OK;
}

enum err_code merkle_root_at(const struct merkle_reader *reader, uint64_t size,
			     struct merkle_hash *out, struct err *err)
{
	return span_root(reader, (struct merkle_span){0, size}, out, err);
}

static enum err_code read_proof(const struct merkle_reader *reader, const struct merkle_span *spans,
				size_t count, struct merkle_hash *proof, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		ERR_TRY(span_root(reader, spans[i], &proof[i], err));
	return ERR_OK;
}

enum err_code merkle_inclusion_proof(const struct merkle_reader *reader, uint64_t index,
				     uint64_t size,
				     struct merkle_hash proof[static MERKLE_PROOF_MAX],
				     size_t *count, struct err *err)
{
	struct merkle_span spans[MERKLE_PROOF_MAX];
	if (index >= size || size > UINT64_C(1) << 62)
		return ERR_SET(err, ERR_INVALID, "index %llu is outside of a tree of %llu leaves",
			       (unsigned long long)index, (unsigned long long)size);
	*count = merkle_inclusion_spans(index, size, spans);
	return read_proof(reader, spans, *count, proof, err);
}

enum err_code merkle_consistency_proof(const struct merkle_reader *reader, uint64_t old_size,
				       uint64_t new_size,
				       struct merkle_hash proof[static MERKLE_PROOF_MAX],
				       size_t *count, struct err *err)
{
	struct merkle_span spans[MERKLE_PROOF_MAX];
	if (old_size == 0 || old_size > new_size || new_size > UINT64_C(1) << 62)
		return ERR_SET(
			err, ERR_INVALID,
			"no consistency proof leads from a tree of %llu leaves to one of %llu",
			(unsigned long long)old_size, (unsigned long long)new_size);
	*count = merkle_consistency_spans(old_size, new_size, spans);
	return read_proof(reader, spans, *count, proof, err);
}
