#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void memory_is_aligned_apart_and_kept(void **state)
{
	struct arena arena;
	unsigned char *pieces[200];
	(void)state;
	arena_init(&arena, 256, 1 << 20);
	for (size_t i = 0; i < 200; i++) {
		pieces[i] = arena_alloc(&arena, i + 1);
		assert_non_null(pieces[i]);
		assert_int_equal(0, (uintptr_t)pieces[i] % 16);
		memset(pieces[i], (int)i, i + 1);
	}
	for (size_t i = 0; i < 200; i++)
		for (size_t k = 0; k <= i; k++)
			assert_int_equal(i, pieces[i][k]);
	assert_false(arena.failed);
	arena_release(&arena);
}

static void the_maximum_holds_and_failure_is_sticky(void **state)
{
	struct arena arena;
	(void)state;
	arena_init(&arena, 256, 1000);
	assert_null(arena_alloc(&arena, 1001));
	assert_true(arena.failed);
	assert_null(arena_alloc(&arena, 1));
	arena_reset(&arena);
	assert_false(arena.failed);
	size_t count = 0;
	while (arena_alloc(&arena, 16))
		count++;
	assert_in_range(count, 48,
			62); /* three blocks of 256, the last 232 bytes too few for one */
	assert_true(arena.total <= 1000);
	arena_release(&arena);
}

static void sizes_near_the_largest_do_not_wrap(void **state)
{
	struct arena arena;
	(void)state;
	arena_init(&arena, 256, 1 << 20);
	assert_null(arena_alloc(&arena, SIZE_MAX));
	arena_reset(&arena);
	assert_null(arena_alloc(&arena, SIZE_MAX - 14));
	arena_release(&arena);
}

static void a_reset_reuses_the_first_block(void **state)
{
	struct arena arena;
	(void)state;
	arena_init(&arena, 4096, 1 << 20);
	void *first = arena_alloc(&arena, 100);
	for (int i = 0; i < 100; i++)
		assert_non_null(arena_alloc(&arena, 1000));
	arena_reset(&arena);
	assert_int_equal(4096, arena.total);
	assert_ptr_equal(first, arena_alloc(&arena, 100));
	arena_release(&arena);
	assert_int_equal(0, arena.total);
	assert_non_null(arena_alloc(&arena, 10)); /* usable again */
	arena_release(&arena);
}

static void copies_end_in_nul_and_zeroed_memory_is_zero(void **state)
{
	struct arena arena;
	(void)state;
	arena_init(&arena, 256, 1 << 16);
	memset(arena_alloc(&arena, 200), 0xff, 200);
	arena_reset(&arena);
	unsigned char *zero = arena_alloc_zero(&arena, 200);
	for (int i = 0; i < 200; i++)
		assert_int_equal(0, zero[i]);
	assert_string_equal("abc", arena_copy(&arena, BYTES("abc")));
	assert_string_equal("", arena_copy(&arena, (struct bytes){NULL, 0}));
	assert_string_equal("7-x", arena_printf(&arena, "%d-%s", 7, "x"));
	assert_int_equal(1000, strlen(arena_printf(&arena, "%1000d", 1)));
	assert_null(arena_printf(&arena, "%70000d", 1));
	arena_release(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_aligned_apart_and_kept),
		cmocka_unit_test(the_maximum_holds_and_failure_is_sticky),
		cmocka_unit_test(sizes_near_the_largest_do_not_wrap),
		cmocka_unit_test(a_reset_reuses_the_first_block),
		cmocka_unit_test(copies_end_in_nul_and_zeroed_memory_is_zero),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
