/* Scorers of a suite under V0, and which answers may be opened. */
#include "policy/binding.h"
#include "policy/grading.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t seed[GRADING_SEED_SIZE] = {1, 2, 3};

static void each_leaf_has_its_scorer(void **state)
{
	(void)state;
	struct grading_book *book;
	struct err err = ERR_INIT;
	uint8_t commitment[SHA256_SIZE], expected[SHA256_SIZE];
	assert_int_equal(
		grading_book_new(BYTES("{\"a\":1}\n{}\n{\"b\":2}\n"), 3, seed, &book, &err),
		ERR_OK);
	assert_true(bytes_is(grading_book_scorer(book, 0), "{\"a\":1}"));
	assert_true(bytes_is(grading_book_scorer(book, 1), "{}"));
	assert_true(bytes_is(grading_book_scorer(book, 2), "{\"b\":2}"));
	assert_int_equal(grading_book_scorer(book, 3).size, 0);
	grading_book_commitment(book, commitment);
	sha256_of(seed, sizeof(seed), expected);
	assert_memory_equal(commitment, expected, SHA256_SIZE);
	assert_ptr_equal(grading_book_hold(book), book);
	grading_book_drop(book);
	grading_book_drop(book);
	grading_book_drop(NULL);
}

static void a_sealed_leaf_shows_what_it_commits_to(void **state)
{
	(void)state;
	struct grading_book *book;
	uint8_t hash[SHA256_SIZE];
	sha256_of("salt{\"id\":\"1\"}", 14, hash);
	assert_int_equal(
		grading_book_new(BYTES("{\"a\":1}\t{\"id\":\"1\"}\n{}\n"), 2, seed, &book, NULL),
		ERR_OK);
	assert_true(bytes_is(grading_book_scorer(book, 0), "{\"a\":1}"));
	assert_true(grading_book_shows(book, 0, BYTES("salt"), hash));
	assert_false(grading_book_shows(book, 0, BYTES("sale"), hash));
	/* Nothing was uploaded for the second, and there is no third. */
	assert_false(grading_book_shows(book, 1, BYTES("salt"), hash));
	assert_false(grading_book_shows(book, 2, BYTES("salt"), hash));
	hash[0] ^= 1;
	assert_false(grading_book_shows(book, 0, BYTES("salt"), hash));
	grading_book_drop(book);
}

static void as_many_lines_as_leaves(void **state)
{
	(void)state;
	struct grading_book *book;
	struct err err = ERR_INIT;
	assert_int_equal(grading_book_new(BYTES("{}\n"), 2, seed, &book, &err), ERR_INVALID);
	assert_int_equal(grading_book_new(BYTES("{}\n{}\n"), 1, seed, &book, &err), ERR_INVALID);
	assert_int_equal(grading_book_new(BYTES("{}"), 1, seed, &book, &err), ERR_INVALID);
}

#define LEAVES 1000

static struct binding_run *new_run(unsigned samples, uint32_t openings, uint8_t first)
{
	uint8_t digests[LEAVES][BINDING_DIGEST_SIZE] = {{0}};
	uint8_t key[SHA256_SIZE] = {first};
	struct binding_suite *suite;
	struct binding_run *run;
	struct err err = ERR_INIT;
	for (unsigned i = 0; i < LEAVES; i++)
		memcpy(digests[i], &i, sizeof(i));
	struct binding_suite_options options = {.id = "s",
						.name = "s",
						.version = "1",
						.samples = samples,
						.settings.max_output = 64,
						.leaf_count = LEAVES,
						.digests = digests[0]};
	assert_int_equal(binding_suite_new(&options, &suite, &err), ERR_OK);
	struct binding_run_options of_run = {.id = "r",
					     .grant_id = "g",
					     .suite = suite,
					     .samples = samples,
					     .opening_key = key,
					     .openings = openings};
	assert_int_equal(binding_run_new(&of_run, &run, &err), ERR_OK);
	binding_suite_drop(suite);
	return run;
}

static unsigned count(const struct binding_run *run, bool seen[LEAVES])
{
	unsigned total = 0;
	for (uint32_t leaf = 0; leaf < LEAVES; leaf++) {
		unsigned of_leaf = 0;
		for (unsigned sample = 1; sample <= run->samples; sample++)
			of_leaf += binding_run_opens(run, leaf, sample);
		assert_true(of_leaf <= 1);
		seen[leaf] = of_leaf;
		total += of_leaf;
	}
	return total;
}

/* Exactly so many leaves, one sample of each, and others under another key. */
static void so_many_answers_may_be_opened_and_no_more(void **state)
{
	(void)state;
	static const uint32_t wanted[] = {0, 1, 20, LEAVES, LEAVES + 5};
	bool seen[LEAVES], other[LEAVES];
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct binding_run *run = new_run(3, wanted[i], 9);
		unsigned found = count(run, seen);
		assert_int_equal(found, wanted[i] < LEAVES ? wanted[i] : LEAVES);
		assert_false(binding_run_opens(run, LEAVES, 1));
		binding_run_drop(run);
	}
	struct binding_run *one = new_run(1, 20, 1), *two = new_run(1, 20, 2);
	count(one, seen);
	count(two, other);
	assert_memory_not_equal(seen, other, sizeof(seen));
	binding_run_drop(one);
	binding_run_drop(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_leaf_has_its_scorer),
		cmocka_unit_test(a_sealed_leaf_shows_what_it_commits_to),
		cmocka_unit_test(as_many_lines_as_leaves),
		cmocka_unit_test(so_many_answers_may_be_opened_and_no_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
