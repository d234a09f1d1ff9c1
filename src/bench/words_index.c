#include "bench/words_index.h"

#include "base/json.h"
#include "suite/conversation.h"

#include <stdlib.h>

#define WORDS_TEXT_MAX ((size_t)48 << 20)
#define SLOTS_FIRST 1024u

struct words_index {
	struct words_place *places;
	size_t count, capacity;
	/* Turns, by open addressing: a slot is free where its step is 0. At most half are taken. */
	struct words_turn *turns;
	size_t turn_count, slots;
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
	free(index->turns);
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

/* The digest of what is asked first. */
static enum err_code first_words(const struct suite_item *item, uint8_t digest[static SHA256_SIZE],
				 struct err *err)
{
	struct buf text = BUF_INIT(WORDS_TEXT_MAX);
	json_t *none, *words = NULL;
	if (item->kind == SCRIPT_EXACT) {
		leaf_words_digest(buf_bytes(&item->text), digest);
		return ERR_OK;
	}
	none = json_array();
	enum err_code code = conversation_step(item->words, none, &words, err);
	if (code == ERR_OK)
		code = json_canonical(words, &text, err);
	if (code == ERR_OK)
		leaf_words_digest(buf_bytes(&text), digest);
	json_decref(none);
	json_decref(words);
	buf_release(&text);
	return code;
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
		enum err_code code = first_words(&item, place->digest, err);
		suite_item_release(&item);
		ERR_TRY(code);
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

/* ---- turns ---- */

static size_t slot_of(const uint8_t digest[static SHA256_SIZE], size_t slots)
{
	size_t number;
	memcpy(&number, digest, sizeof(number));
	return number & (slots - 1);
}

static void put_turn(struct words_turn *turns, size_t slots, const struct words_turn *turn)
{
	size_t slot = slot_of(turn->digest, slots);
	while (turns[slot].step)
		slot = (slot + 1) & (slots - 1);
	turns[slot] = *turn;
}

static bool make_room(struct words_index *index)
{
	if (2 * (index->turn_count + 1) <= index->slots)
		return true;
	size_t slots = index->slots ? 2 * index->slots : SLOTS_FIRST;
	struct words_turn *turns = calloc(slots, sizeof(*turns));
	if (!turns)
		return false;
	for (size_t i = 0; i < index->slots; i++)
		if (index->turns[i].step)
			put_turn(turns, slots, &index->turns[i]);
	free(index->turns);
	index->turns = turns;
	index->slots = slots;
	return true;
}

bool words_index_add_turn(struct words_index *index, const struct words_turn *turn)
{
	if (!make_room(index))
		return false;
	put_turn(index->turns, index->slots, turn);
	index->turn_count++;
	return true;
}

const struct words_turn *words_index_turn(const struct words_index *index,
					  const uint8_t digest[static SHA256_SIZE], size_t *cursor)
{
	while (*cursor < index->slots) {
		size_t slot = (slot_of(digest, index->slots) + (*cursor)++) & (index->slots - 1);
		const struct words_turn *turn = &index->turns[slot];
		if (!turn->step)
			return NULL;
		if (memcmp(turn->digest, digest, SHA256_SIZE) == 0)
			return turn;
	}
	return NULL;
}
