#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct arena_block {
	struct arena_block *next;
	size_t size;
	_Alignas(16) char data[];
};

void arena_init(struct arena *arena, size_t block_size, size_t max)
{
	assert(block_size >= 256 && block_size <= 1u << 31);
	*arena = (struct arena){.block_size = (uint32_t)block_size, .max = max};
}

void arena_reset(struct arena *arena)
{
	struct arena_block *block = arena->first ? arena->first->next : NULL;
	while (block) {
		struct arena_block *next = block->next;
		free(block);
		block = next;
	}
	if (arena->first)
		arena->first->next = NULL;
	arena->current = arena->first;
	arena->total = arena->first ? arena->first->size : 0;
	arena->used = 0;
	arena->failed = false;
}

void arena_release(struct arena *arena)
{
	arena_reset(arena);
	free(arena->first);
	arena_init(arena, arena->block_size, arena->max);
}

static bool add_block(struct arena *arena, size_t size)
{
	size_t wanted = size > arena->block_size ? size : arena->block_size;
	if (wanted > arena->max - arena->total)
		return false;
	struct arena_block *block = malloc(sizeof(*block) + wanted);
	if (!block)
		return false;
	block->next = NULL;
	block->size = wanted;
	if (arena->current)
		arena->current->next = block;
	else
		arena->first = block;
	arena->current = block;
	arena->total += wanted;
	arena->used = 0;
	return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	if (arena->failed || size > arena->max) {
		arena->failed = true;
		return NULL;
	}
	size = (size + 15) & ~(size_t)15;
	if (!arena->current || size > arena->current->size - arena->used) {
		if (!add_block(arena, size)) {
			arena->failed = true;
			return NULL;
		}
	}
	void *memory = arena->current->data + arena->used;
	arena->used += size;
	return memory;
}

void *arena_alloc_zero(struct arena *arena, size_t size)
{
	void *memory = arena_alloc(arena, size);
	if (memory)
		memset(memory, 0, size);
	return memory;
}

void arena_trim(struct arena *arena, const void *memory, size_t size)
{
	size_t at = (size_t)((const char *)memory - arena->current->data);
	size = (size + 15) & ~(size_t)15;
	assert(at + size <= arena->used);
	arena->used = at + size;
}

char *arena_copy(struct arena *arena, struct bytes bytes)
{
	char *copy = arena_alloc(arena, bytes.size + 1);
	if (!copy)
		return NULL;
	if (bytes.size)
		memcpy(copy, bytes.data, bytes.size);
	copy[bytes.size] = '\0';
	return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list arguments, again;
	va_start(arguments, format);
	va_copy(again, arguments);
	int length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	char *text = length < 0 ? NULL : arena_alloc(arena, (size_t)length + 1);
	if (text)
		vsnprintf(text, (size_t)length + 1, format, again);
	va_end(again);
	return text;
}
