#include "policy/lookup.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PAGE_BITS 9
#define PAGE ((size_t)1 << PAGE_BITS) /* elements */
#define FIRST_SLOTS 128u
#define COUNT_MAX ((size_t)1 << 30)

/* ---- pages ---- */

struct lookup_page {
	_Atomic unsigned references;
	_Alignas(16) unsigned char data[];
};

struct id_slot {
	uint32_t hash;
	uint32_t place; /* in items, plus 1; 0: free */
};

struct digest_slot {
	const uint8_t *digest; /* NULL: free */
	void *item;
};

static inline void *element(const struct lookup_pages *pages, size_t index, size_t size)
{
	return pages->pages[index >> PAGE_BITS]->data + (index & (PAGE - 1)) * size;
}

static struct lookup_page *new_page(size_t size)
{
	struct lookup_page *page = calloc(1, sizeof(*page) + PAGE * size);
	if (page)
		atomic_init(&page->references, 1);
	return page;
}

static void drop_page(struct lookup_page *page)
{
	if (page && atomic_fetch_sub(&page->references, 1) == 1)
		free(page);
}

static void release(struct lookup_pages *pages)
{
	for (size_t i = 0; i < pages->count; i++)
		drop_page(pages->pages[i]);
	free(pages->pages);
	*pages = (struct lookup_pages){0};
}

static bool share(struct lookup_pages *to, const struct lookup_pages *from)
{
	*to = (struct lookup_pages){0};
	to->pages = malloc((from->count + 1) * sizeof(struct lookup_page *));
	if (!to->pages)
		return false;
	for (size_t i = 0; i < from->count; i++) {
		to->pages[i] = from->pages[i];
		atomic_fetch_add(&to->pages[i]->references, 1);
	}
	to->count = from->count;
	return true;
}

/* Room for so many elements; new ones are zeroed. */
static bool extend(struct lookup_pages *pages, size_t elements, size_t size)
{
	size_t count = (elements + PAGE - 1) >> PAGE_BITS;
	if (count <= pages->count)
		return true;
	struct lookup_page **rows = realloc(pages->pages, count * sizeof(struct lookup_page *));
	if (!rows)
		return false;
	pages->pages = rows;
	for (; pages->count < count; pages->count++) {
		rows[pages->count] = new_page(size);
		if (!rows[pages->count])
			return false;
	}
	return true;
}

/* The element, in a page that is nobody else's. A page with one reference is ours alone: others
 * would have to take theirs from it. NULL when memory is out. */
static void *own(struct lookup_pages *pages, size_t index, size_t size)
{
	struct lookup_page **page = &pages->pages[index >> PAGE_BITS];
	if (atomic_load(&(*page)->references) > 1) {
		struct lookup_page *copy = new_page(size);
		if (!copy)
			return NULL;
		memcpy(copy->data, (*page)->data, PAGE * size);
		drop_page(*page);
		*page = copy;
	}
	return element(pages, index, size);
}

/* ---- by id ---- */

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

static const struct id_slot *id_slot_at(const struct id_table *table, uint32_t index)
{
	return element(&table->slots, index, sizeof(struct id_slot));
}

void id_table_release(struct id_table *table)
{
	release(&table->items);
	release(&table->slots);
	*table = (struct id_table){0};
}

bool id_table_share(struct id_table *to, const struct id_table *from)
{
	*to = (struct id_table){.count = from->count, .mask = from->mask};
	if (share(&to->items, &from->items) && share(&to->slots, &from->slots))
		return true;
	id_table_release(to);
	return false;
}

void *id_table_at(const struct id_table *table, size_t place)
{
	return *(void *const *)element(&table->items, place, sizeof(void *));
}

static bool same_id(const char *id, struct bytes text)
{
	return strncmp(id, text.data, text.size) == 0 && id[text.size] == '\0';
}

/* Its place, plus 1; 0: there is none. */
static uint32_t place_of(const struct id_table *table, struct bytes id)
{
	if (table->mask == 0 || id.size == 0 || memchr(id.data, '\0', id.size))
		return 0;
	uint32_t hash = hash_of(id);
	for (uint32_t i = hash & table->mask;; i = (i + 1) & table->mask) {
		const struct id_slot *slot = id_slot_at(table, i);
		if (!slot->place)
			return 0;
		if (slot->hash != hash)
			continue;
		const void *item = id_table_at(table, slot->place - 1);
		if (item && same_id(id_of(item), id))
			return slot->place;
	}
}

void *id_table_find(const struct id_table *table, struct bytes id)
{
	uint32_t place = place_of(table, id);
	return place ? id_table_at(table, place - 1) : NULL;
}

static bool id_place(struct lookup_pages *slots, uint32_t mask, struct id_slot slot)
{
	uint32_t i = slot.hash & mask;
	while (((struct id_slot *)element(slots, i, sizeof(slot)))->place)
		i = (i + 1) & mask;
	struct id_slot *free_slot = own(slots, i, sizeof(slot));
	if (free_slot)
		*free_slot = slot;
	return free_slot != NULL;
}

/* At most half of the slots are in use. */
static bool id_grow(struct id_table *table)
{
	size_t size = table->mask ? 2 * ((size_t)table->mask + 1) : FIRST_SLOTS;
	struct lookup_pages slots = {0};
	if (size > COUNT_MAX || !extend(&slots, size, sizeof(struct id_slot))) {
		release(&slots);
		return false;
	}
	for (uint32_t i = 0; table->mask && i <= table->mask; i++)
		if (id_slot_at(table, i)->place)
			(void)id_place(&slots, (uint32_t)(size - 1), *id_slot_at(table, i));
	release(&table->slots);
	table->slots = slots;
	table->mask = (uint32_t)(size - 1);
	return true;
}

bool id_table_add(struct id_table *table, void *item)
{
	bool full = !table->mask || 2 * (table->count + 1) > (size_t)table->mask + 1;
	if ((full && !id_grow(table)) || !extend(&table->items, table->count + 1, sizeof(void *)))
		return false;
	struct id_slot slot = {hash_of(bytes_from(id_of(item))), (uint32_t)table->count + 1};
	void **place = own(&table->items, table->count, sizeof(void *));
	if (!place || !id_place(&table->slots, table->mask, slot))
		return false;
	*place = item;
	table->count++;
	return true;
}

static bool id_put(struct id_table *table, struct bytes id, void *item)
{
	uint32_t place = place_of(table, id);
	assert(place);
	void **to = own(&table->items, place - 1, sizeof(void *));
	if (to)
		*to = item;
	return to != NULL;
}

bool id_table_replace(struct id_table *table, void *item)
{
	return id_put(table, bytes_from(id_of(item)), item);
}

bool id_table_remove(struct id_table *table, struct bytes id)
{
	return id_put(table, id, NULL);
}

/* ---- by digest ---- */

static const struct digest_slot *digest_slot_at(const struct digest_table *table, uint32_t index)
{
	return element(&table->slots, index, sizeof(struct digest_slot));
}

void digest_table_release(struct digest_table *table)
{
	release(&table->slots);
	*table = (struct digest_table){0};
}

bool digest_table_share(struct digest_table *to, const struct digest_table *from)
{
	*to = (struct digest_table){.count = from->count, .mask = from->mask};
	if (share(&to->slots, &from->slots))
		return true;
	digest_table_release(to);
	return false;
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
	if (table->mask == 0)
		return NULL;
	for (uint32_t i = digest_hash(digest) & table->mask;; i = (i + 1) & table->mask) {
		const struct digest_slot *slot = digest_slot_at(table, i);
		if (!slot->digest)
			return NULL;
		if (bytes_equal_constant_time(slot->digest, digest, LOOKUP_DIGEST_SIZE))
			return slot->item;
	}
}

static bool digest_place(struct lookup_pages *slots, uint32_t mask, struct digest_slot slot)
{
	uint32_t i = digest_hash(slot.digest) & mask;
	for (;; i = (i + 1) & mask) {
		const struct digest_slot *there = element(slots, i, sizeof(slot));
		if (!there->digest || memcmp(there->digest, slot.digest, LOOKUP_DIGEST_SIZE) == 0)
			break;
	}
	struct digest_slot *to = own(slots, i, sizeof(slot));
	if (to)
		*to = slot;
	return to != NULL;
}

static bool digest_grow(struct digest_table *table)
{
	size_t size = table->mask ? 2 * ((size_t)table->mask + 1) : FIRST_SLOTS;
	struct lookup_pages slots = {0};
	if (size > COUNT_MAX || !extend(&slots, size, sizeof(struct digest_slot))) {
		release(&slots);
		return false;
	}
	for (uint32_t i = 0; table->mask && i <= table->mask; i++)
		if (digest_slot_at(table, i)->digest)
			(void)digest_place(&slots, (uint32_t)(size - 1), *digest_slot_at(table, i));
	release(&table->slots);
	table->slots = slots;
	table->mask = (uint32_t)(size - 1);
	return true;
}

bool digest_table_add(struct digest_table *table, const uint8_t digest[static LOOKUP_DIGEST_SIZE],
		      void *item)
{
	bool full = !table->mask || 2 * (table->count + 1) > (size_t)table->mask + 1;
	if ((full && !digest_grow(table)) ||
	    !digest_place(&table->slots, table->mask, (struct digest_slot){digest, item}))
		return false;
	table->count++;
	return true;
}

bool digest_table_replace(struct digest_table *table,
			  const uint8_t digest[static LOOKUP_DIGEST_SIZE], void *item)
{
	assert(digest_table_find(table, digest));
	return digest_place(&table->slots, table->mask, (struct digest_slot){digest, item});
}
