/* A binary min-heap of intrusive nodes ordered by a 64-bit key, ties by insertion. Each node knows
 * its place, so that any node can be removed in O(log n). Holds at most 2^20 nodes. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
	uint64_t key;
	uint64_t order; /* filled by the heap */
	size_t index;   /* 1-based place; 0: in no heap. Start it at 0. */
};

struct heap {
	struct heap_node **nodes;
	size_t count, capacity;
	uint64_t next_order;
};

void heap_release(struct heap *heap);
/* The node must be in no heap. False when memory is out or the heap is full. */
bool heap_push(struct heap *heap, struct heap_node *node);
void heap_remove(struct heap *heap, struct heap_node *node); /* no-op when it is in none */
static inline struct heap_node *heap_first(const struct heap *heap)
{
	return heap->count ? heap->nodes[0] : NULL;
}

#endif
