#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>

#define HEAP_MAX ((size_t)1 << 20)

static bool before(const struct heap_node *a, const struct heap_node *b)
{
	return a->key < b->key || (a->key == b->key && a->order < b->order);
}

static void place(struct heap *heap, struct heap_node *node, size_t at)
{
	heap->nodes[at] = node;
	node->index = at + 1;
}

static void sift_up(struct heap *heap, struct heap_node *node, size_t at)
{
	while (at > 0) {
		size_t parent = (at - 1) / 2;
		if (!before(node, heap->nodes[parent]))
			break;
		place(heap, heap->nodes[parent], at);
		at = parent;
	}
	place(heap, node, at);
}

static void sift_down(struct heap *heap, struct heap_node *node, size_t at)
{
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= heap->count)
			break;
		if (child + 1 < heap->count && before(heap->nodes[child + 1], heap->nodes[child]))
			child++;
		if (!before(heap->nodes[child], node))
			break;
		place(heap, heap->nodes[child], at);
		at = child;
	}
	place(heap, node, at);
}

void heap_release(struct heap *heap)
{
	free(heap->nodes);
	*heap = (struct heap){0};
}

bool heap_push(struct heap *heap, struct heap_node *node)
{
	assert(node->index == 0);
	if (heap->count == heap->capacity) {
		size_t wanted = heap->capacity ? heap->capacity * 2 : 64;
		if (wanted > HEAP_MAX)
			return false;
		struct heap_node **grown =
			realloc(heap->nodes, wanted * sizeof(struct heap_node *));
		if (!grown)
			return false;
		heap->nodes = grown;
		heap->capacity = wanted;
	}
	node->order = heap->next_order++;
	heap->count++;
	sift_up(heap, node, heap->count - 1);
	return true;
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
	if (node->index == 0)
		return;
	size_t at = node->index - 1;
	struct heap_node *last = heap->nodes[--heap->count];
	node->index = 0;
	if (last == node)
		return;
	if (at > 0 && before(last, heap->nodes[(at - 1) / 2]))
		sift_up(heap, last, at);
	else
		sift_down(heap, last, at);
}
