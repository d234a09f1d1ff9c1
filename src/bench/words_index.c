#include "bench/words_index.h"

#include <stdlib.h>

struct words_index {
	struct words_place *places;
	size_t count, capacity;
};

struct words_index *words_index_new(void)
{
	return calloc(1, sizeof(struct words_index));
}

void words_index_free(struct words_index *index)
{
	if (!index)
		return;
	free(index->places);
	free(index);
}

static bool reserve(struct words_index *index, size_t more)
{
	if (more <= index->capacity - index->count)
		return true;
	size_t capacity = index->count + more;
	struct words_place *grown = reallocarray(index->places, capacity, sizeof(*grown));
	if (!grown)
		return false;
	index->places = grown;
	index->capacity = capacity;
	return true;
}

enum err_code words_index_add(struct words_index *index, uint32_t suite, const struct suite *items,
			      struct err *err)
{
	size_t count = suite_count(items);
	if (!reserve(index, count))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the words of %s",
			       suite_name(items));
	for (size_t i = 0; i < count; i++) {
		struct words_place *place = &index->places[index->count];
		struct suite_item item;
		ERR_TRY(suite_item_render(items, i, &item, err));
		bool exact = item.kind == SCRIPT_EXACT;
		leaf_words_digest(buf_bytes(&item.text), place->digest);
		suite_item_release(&item);
		if (!exact)
			return ERR_SET(err, ERR_UNSUPPORTED,
				       "suite %s: item %s is a conversation or a judge's template: "
				       "another harness's turns are not recognised, so that `bench "
				       "proxy` has single prompts only",
				       suite_name(items), suite_id(items, i));
		place->suite = suite;
		place->item = (uint32_t)i;
		index->count++;
	}
	return ERR_OK;
}

static int compare(const void *left, const void *right)
{
	const struct words_place *a = left, *b = right;
	int order = memcmp(a->digest, b->digest, SHA256_SIZE);
	if (order != 0)
		return order;
	if (a->suite != b->suite)
		return a->suite < b->suite ? -1 : 1;
	return a->item < b->item ? -1 : a->item > b->item;
}

void words_index_sort(struct words_index *index)
{
	if (index->count > 0)
		qsort(index->places, index->count, sizeof(*index->places), compare);
}

const struct words_place *words_index_find(const struct words_index *index,
					   const uint8_t digest[static SHA256_SIZE], size_t *count)
{
	size_t low = 0, high = index->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (memcmp(index->places[middle].digest, digest, SHA256_SIZE) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (*count = 0; low + *count < index->count; ++*count)
		if (memcmp(index->places[low + *count].digest, digest, SHA256_SIZE) != 0)
			break;
	return *count > 0 ? index->places + low : NULL;
}
