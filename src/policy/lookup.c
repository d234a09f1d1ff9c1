#include "policy/lookup.h"

#include <stdlib.h>

#define FIRST_CAPACITY 64u
#define COUNT_MAX ((size_t)1 << 30)

struct id_slot {
	uint32_t hash;
	uint32_t place; /* in items, plus 1; 0: free */
};

struct digest_slot {
	const uint8_t *digest; /* NULL: free */
	void *item;
};

/* FNV-1a, folded. Clients choose what is looked up, never what is in the table. */
static uint32_t hash_of(struct bytes text)
{
	uint64_t hash = bytes_hash(BYTES_HASH_START, text);
	return (uint32_t)(hash ^ hash >> 32);
}

static const char *id_of(const void *item)
{
	return *(const char *const *)item;
}

void id_table_release(struct id_table *table)
{
	free(table->items);
	free(table->slots);
	*table = (struct id_table){0};
}

static bool same_id(const char *id, struct bytes text)
{
	return strncmp(id, text.data, text.size) == 0 && id[text.size] == '\0';
}

void *id_table_find(const struct id_table *table, struct bytes id)
{
	if (table->count == 0 || id.size == 0 || memchr(id.data, '\0', id.size))
		return NULL;
	uint32_t hash = hash_of(id);
	for (uint32_t i = hash & table->mask; table->slots[i].place; i = (i + 1) & table->mask) {
		void *item = table->items[table->slots[i].place - 1];
		if (table->slots[i].hash == hash && same_id(id_of(item), id))
			return item;
	}
	return NULL;
}

static void id_place(struct id_slot *slots, uint32_t mask, struct id_slot slot)
{
	uint32_t i = slot.hash & mask;
	while (slots[i].place)
		i = (i + 1) & mask;
	slots[i] = slot;
}

/* Slots for twice as many items as there is room for. */
static bool id_grow(struct id_table *table)
{
	size_t capacity = table->capacity ? 2 * table->capacity : FIRST_CAPACITY;
	if (capacity > COUNT_MAX)
		return false;
	void **items = realloc(table->items, capacity * sizeof(*items));
	if (!items)
		return false;
	table->items = items;
	struct id_slot *slots = calloc(2 * capacity, sizeof(*slots));
	if (!slots)
		return false;
	uint32_t mask = (uint32_t)(2 * capacity - 1);
	for (uint32_t i = 0; table->slots && i <= table->mask; i++)
		if (table->slots[i].place)
			id_place(slots, mask, table->slots[i]);
	free(table->slots);
	table->slots = slots;
	table->mask = mask;
	table->capacity = capacity;
	return true;
}

bool id_table_add(struct id_table *table, void *item)
{
	if (table->count == table->capacity && !id_grow(table))
		return false;
	table->items[table->count++] = item;
	id_place(table->slots, table->mask,
		 (struct id_slot){hash_of(bytes_from(id_of(item))), (uint32_t)table->count});
	return true;
}

void digest_table_release(struct digest_table *table)
{
	free(table->slots);
	*table = (struct digest_table){0};
}

static uint32_t digest_hash(const uint8_t *digest)
{
	uint32_t hash;
	memcpy(&hash, digest, sizeof(hash));
	return hash;
}

void *digest_table_find(const struct digest_table *table,
			const uint8_t digest[static LOOKUP_DIGEST_SIZE])
{
	if (table->count == 0)
		return NULL;
	uint32_t i = digest_hash(digest) & table->mask;
	for (; table->slots[i].digest; i = (i + 1) & table->mask)
		if (bytes_equal_constant_time(table->slots[i].digest, digest, LOOKUP_DIGEST_SIZE))
			return table->slots[i].item;
	return NULL;
}

static void digest_place(struct digest_slot *slots, uint32_t mask, struct digest_slot slot)
{
	uint32_t i = digest_hash(slot.digest) & mask;
	while (slots[i].digest)
		i = (i + 1) & mask;
	slots[i] = slot;
}

static bool digest_grow(struct digest_table *table)
{
	size_t size = table->slots ? 2 * ((size_t)table->mask + 1) : FIRST_CAPACITY;
	if (size > COUNT_MAX)
		return false;
	struct digest_slot *slots = calloc(size, sizeof(*slots));
	if (!slots)
		return false;
	uint32_t mask = (uint32_t)(size - 1);
	for (uint32_t i = 0; table->slots && i <= table->mask; i++)
		if (table->slots[i].digest)
			digest_place(slots, mask, table->slots[i]);
	free(table->slots);
	table->slots = slots;
	table->mask = mask;
	return true;
}

bool digest_table_add(struct digest_table *table, const uint8_t digest[static LOOKUP_DIGEST_SIZE],
		      void *item)
{
	bool full = !table->slots || 2 * (table->count + 1) > (size_t)table->mask + 1;
	if (full && !digest_grow(table))
		return false;
	digest_place(table->slots, table->mask, (struct digest_slot){digest, item});
	table->count++;
	return true;
}
