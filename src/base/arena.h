/* A region of memory that is reset as a whole, never freed piecemeal: one for each request and
 * connection. It has a declared maximum; running out is sticky and is checked once at the end. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/bytes.h"

struct arena_block;

struct arena {
	struct arena_block *first, *current;
	size_t used;       /* in the current block */
	size_t total, max; /* bytes of all blocks, and their limit */
	uint32_t block_size;
	bool failed;
};

/* No memory is taken before the first allocation. `block_size` is 256 to 2^31. */
void arena_init(struct arena *arena, size_t block_size, size_t max);
/* Everything handed out becomes invalid; the first block is kept for the next use. */
void arena_reset(struct arena *arena);
void arena_release(struct arena *arena);

/* Aligned to 16, not zeroed; NULL (and sticky failure) beyond the maximum or when memory is out. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_alloc_zero(struct arena *arena, size_t size);
/* Gives back all but the first `size` bytes of the last thing that was handed out. */
void arena_trim(struct arena *arena, const void *memory, size_t size);
/* NUL-terminated copies. */
char *arena_copy(struct arena *arena, struct bytes bytes);
char *arena_printf(struct arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
