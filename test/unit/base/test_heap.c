#include "base/heap.h"
#include "base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NODES 300

struct model {
	struct heap heap;
	struct heap_node nodes[NODES];
	bool inside[NODES];
	size_t count;
};

/* The node that must come first, found the slow way. */
static struct heap_node *expected_first(struct model *model)
{
	struct heap_node *best = NULL;
	for (size_t i = 0; i < NODES; i++) {
		struct heap_node *node = &model->nodes[i];
		if (model->inside[i] && (!best || node->key < best->key ||
					 (node->key == best->key && node->order < best->order)))
			best = node;
	}
	return best;
}

static void toggle(struct model *model, size_t which, uint64_t key)
{
	struct heap_node *node = &model->nodes[which];
	if (model->inside[which]) {
		heap_remove(&model->heap, node);
		assert_int_equal(0, node->index);
		model->count--;
	} else {
		node->key = key;
		assert_true(heap_push(&model->heap, node));
		model->count++;
	}
	model->inside[which] = !model->inside[which];
}

static void the_first_is_always_the_least(void **state)
{
	struct prng prng = {42};
	(void)state;
	for (int round = 0; round < 20; round++) {
		struct model model;
		memset(&model, 0, sizeof(model));
		for (int step = 0; step < 2000; step++) {
			toggle(&model, (size_t)prng_below(&prng, NODES), prng_below(&prng, 40));
			assert_int_equal(model.count, model.heap.count);
			assert_ptr_equal(expected_first(&model), heap_first(&model.heap));
		}
		heap_release(&model.heap);
	}
}

static void equal_keys_come_in_the_order_pushed(void **state)
{
	struct heap heap = {0};
	struct heap_node nodes[100];
	(void)state;
	memset(nodes, 0, sizeof(nodes));
	for (size_t i = 0; i < 100; i++) {
		nodes[i].key = i / 50;
		assert_true(heap_push(&heap, &nodes[i]));
	}
	for (size_t i = 0; i < 100; i++) {
		assert_ptr_equal(&nodes[i], heap_first(&heap));
		heap_remove(&heap, &nodes[i]);
		heap_remove(&heap, &nodes[i]); /* a second time is nothing */
	}
	assert_null(heap_first(&heap));
	heap_release(&heap);
}

static void the_maximum_holds(void **state)
{
	struct heap heap = {0};
	size_t max = (size_t)1 << 20;
	struct heap_node *nodes = calloc(max + 1, sizeof(*nodes));
	(void)state;
	assert_non_null(nodes);
	for (size_t i = 0; i < max; i++) {
		nodes[i].key = max - i;
		assert_true(heap_push(&heap, &nodes[i]));
	}
	assert_false(heap_push(&heap, &nodes[max]));
	assert_int_equal(0, nodes[max].index);
	assert_ptr_equal(&nodes[max - 1], heap_first(&heap));
	heap_release(&heap);
	free(nodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_is_always_the_least),
		cmocka_unit_test(equal_keys_come_in_the_order_pushed),
		cmocka_unit_test(the_maximum_holds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
