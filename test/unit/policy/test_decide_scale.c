/* A decision in a large world takes nothing from the heap, and a leaf takes at most 100 bytes. What
 * it costs in time is measured in perf/policy. */
#include "base/sanitized.h"
#include "scale_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static atomic_size_t allocations, bytes_asked;

/* Whatever is asked of the heap is counted. A sanitizer has its own heap: there it is not. */
#if SANITIZED
enum { ORGS = 200, KEYS = 2000, LEAVES = 10000 };
static const bool counted = false;
#else
enum { ORGS = 10000, KEYS = 100000, LEAVES = 1000000 };
static const bool counted = true;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static void count(size_t size)
{
	atomic_fetch_add(&allocations, 1);
	atomic_fetch_add(&bytes_asked, size);
}

void *malloc(size_t size)
{
	count(size);
	return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
	count(number * size);
	return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size)
{
	count(size);
	return __libc_realloc(old, size);
}
#endif

static int set_up(void **state)
{
	static struct scale scale = {.orgs = ORGS, .keys = KEYS, .leaves = LEAVES};
	*state = &scale;
	return scale_make_suite(&scale) && scale_make_world(&scale) ? 0 : -1;
}

static int tear_down(void **state)
{
	scale_release(*state);
	return 0;
}

static enum rule decide(const struct scale *scale, unsigned key, uint32_t leaf)
{
	struct verdict verdict;
	uint8_t words[SHA256_SIZE];
	scale_words(leaf, words);
	struct policy_request request = scale_request(key, words);
	policy_decide(scale->world, &request, &verdict);
	if (verdict.outcome == POLICY_ADMIT)
		assert_int_equal(verdict.pick.leaf, leaf);
	return verdict.outcome == POLICY_ADMIT ? RULE_NONE : verdict.rule;
}

static void a_decision_takes_nothing_from_the_heap(void **state)
{
	const struct scale *scale = *state;
	/* What libc needs for its first conversion is not the decision's. */
	decide(scale, 1, LEAVES);
	size_t before = allocations;
	for (uint32_t i = 0; i < 10000; i++) {
		assert_int_equal(decide(scale, 0, i * 97 % LEAVES), RULE_NONE);
		assert_int_equal(decide(scale, ORGS, i), RULE_NONE);
		assert_int_equal(decide(scale, 0, LEAVES + i), RULE_SUITE_UNBOUND);
		assert_int_equal(decide(scale, i % (KEYS - 1) % (ORGS - 1) + 1, i),
				 RULE_SUITE_UNBOUND);
		assert_int_equal(decide(scale, KEYS + i, i), RULE_KEY_UNKNOWN);
	}
	assert_int_equal(allocations, before);
}

/* The suite itself, a run over it, and the counters of a model. */
static void a_leaf_takes_at_most_a_hundred_bytes(void **state)
{
	(void)state;
	struct scale other = {.leaves = LEAVES};
	unsigned slot;
	size_t before = bytes_asked;
	assert_true(scale_make_suite(&other));
	assert_int_equal(binding_run_add_model(other.run, "north-1", &slot, NULL), ERR_OK);
	size_t taken = bytes_asked - before;
	scale_release(&other);
	if (!counted)
		skip();
	assert_true(taken >= (size_t)LEAVES * BINDING_DIGEST_SIZE);
	assert_in_range(taken, 1, (size_t)LEAVES * 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_decision_takes_nothing_from_the_heap),
		cmocka_unit_test(a_leaf_takes_at_most_a_hundred_bytes),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
