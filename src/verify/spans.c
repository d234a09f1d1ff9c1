#include "verify/spans.h"

#include <stdlib.h>

struct span_entry {
	uint64_t begin, end; /* end 0: unused */
	unsigned log;
	struct merkle_hash hash;
};

void spans_release(struct spans *spans)
{
	free(spans->entries);
	*spans = (struct spans){0};
}

static size_t slot_of(const struct spans *spans, const struct span_entry *entry)
{
	uint64_t hash = entry->begin * UINT64_C(0x9e3779b97f4a7c15);
	hash ^= (entry->end + entry->log) * UINT64_C(0xc2b2ae3d27d4eb4f);
	hash ^= hash >> 29;
	return (size_t)hash & (spans->capacity - 1);
}

/* The place of that range, used or free. */
static struct span_entry *find(const struct spans *spans, const struct span_entry *entry)
{
	for (size_t at = slot_of(spans, entry);; at = (at + 1) & (spans->capacity - 1)) {
		struct span_entry *found = &spans->entries[at];
		if (found->end == 0 || (found->begin == entry->begin && found->end == entry->end &&
					found->log == entry->log))
			return found;
	}
}

static bool grow(struct spans *spans)
{
	struct spans bigger = {.capacity = spans->capacity ? 2 * spans->capacity : 1024};
	bigger.entries = calloc(bigger.capacity, sizeof(*bigger.entries));
	if (!bigger.entries)
		return false;
	for (size_t i = 0; i < spans->capacity; i++)
		if (spans->entries[i].end != 0)
			*find(&bigger, &spans->entries[i]) = spans->entries[i];
	bigger.count = spans->count;
	free(spans->entries);
	*spans = bigger;
	return true;
}

static enum err_code add(struct spans *spans, const struct span_entry *entry,
			 const struct checkpoint *head, struct err *err)
{
	if (2 * (spans->count + 1) > spans->capacity && !grow(spans))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for proofs");
	struct span_entry *found = find(spans, entry);
	if (found->end != 0 && !merkle_equal(&found->hash, &entry->hash))
		return ERR_SET(
			err, ERR_MISMATCH,
			"the checkpoint of size %llu is of another history of the log %s than "
			"an earlier one: they differ in records %llu to %llu",
			(unsigned long long)head->size, head->origin,
			(unsigned long long)entry->begin, (unsigned long long)entry->end - 1);
	if (found->end == 0 && spans->count < SPANS_MAX) {
		*found = *entry;
		spans->count++;
	}
	return ERR_OK;
}

/* The record itself, each node beside its path, and each node on the path up to the root. */
enum err_code spans_add(struct spans *spans, unsigned log, const struct proof *proof,
			const struct merkle_hash *leaf, const struct checkpoint *head,
			struct err *err)
{
	struct merkle_span siblings[MERKLE_PROOF_MAX];
	struct span_entry path = {proof->index, proof->index + 1, log, *leaf};
	size_t count = merkle_inclusion_spans(proof->index, head->size, siblings);
	ERR_TRY(add(spans, &path, head, err));
	for (size_t i = 0; i < count && i < proof->count; i++) {
		struct span_entry beside = {siblings[i].begin, siblings[i].end, log,
					    proof->hashes[i]};
		ERR_TRY(add(spans, &beside, head, err));
		if (beside.end == path.begin) {
			path.hash = merkle_node(&beside.hash, &path.hash);
			path.begin = beside.begin;
		} else {
			path.hash = merkle_node(&path.hash, &beside.hash);
			path.end = beside.end;
		}
		ERR_TRY(add(spans, &path, head, err));
	}
	return ERR_OK;
}
