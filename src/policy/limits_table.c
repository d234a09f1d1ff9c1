/* All cells of a gateway by kind and id. */
#include "policy/limits.h"

#include "policy/lookup.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct cells_entry {
	const char *id; /* "grant/south-eval-1"; in the same allocation, behind the cells */
	struct limits_cells cells;
};

struct limits_table {
	_Atomic unsigned references;
	struct id_table entries;
};

struct limits_table *limits_table_new(void)
{
	struct limits_table *table = calloc(1, sizeof(*table));
	if (table)
		atomic_init(&table->references, 1);
	return table;
}

struct limits_table *limits_table_hold(struct limits_table *table)
{
	atomic_fetch_add(&table->references, 1);
	return table;
}

void limits_table_drop(struct limits_table *table)
{
	if (!table || atomic_fetch_sub(&table->references, 1) != 1)
		return;
	for (size_t i = 0; i < table->entries.count; i++)
		free(id_table_at(&table->entries, i));
	id_table_release(&table->entries);
	free(table);
}

static struct cells_entry *entry_new(const char *name, size_t name_size)
{
	size_t alignment = _Alignof(struct cells_entry);
	size_t size = (sizeof(struct cells_entry) + name_size + alignment) & ~(alignment - 1);
	struct cells_entry *entry = aligned_alloc(alignment, size);
	if (!entry)
		return NULL;
	memset(entry, 0, size);
	char *copy = (char *)(entry + 1);
	memcpy(copy, name, name_size);
	entry->id = copy;
	return entry;
}

struct limits_cells *limits_table_cells(struct limits_table *table, const char *kind,
					const char *id)
{
	char name[512];
	int size = snprintf(name, sizeof(name), "%s/%s", kind, id);
	if (size < 0 || (size_t)size >= sizeof(name))
		return NULL;
	struct cells_entry *entry = id_table_find(&table->entries, bytes_of(name, (size_t)size));
	if (entry)
		return &entry->cells;
	entry = entry_new(name, (size_t)size);
	if (!entry)
		return NULL;
	if (!id_table_add(&table->entries, entry)) {
		free(entry);
		return NULL;
	}
	return &entry->cells;
}

size_t limits_table_count(const struct limits_table *table)
{
	return table->entries.count;
}

struct limits_cells *limits_table_at(const struct limits_table *table, size_t index,
				     const char **name)
{
	struct cells_entry *entry = id_table_at(&table->entries, index);
	*name = entry->id;
	return &entry->cells;
}

struct limits_cells *limits_table_find(const struct limits_table *table, struct bytes name)
{
	struct cells_entry *entry = id_table_find(&table->entries, name);
	return entry ? &entry->cells : NULL;
}
