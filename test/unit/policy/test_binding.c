/* Suites, settings, runs and samples. */
#include "policy/binding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct binding_settings settings_of(const char *text)
{
	struct binding_settings out;
	struct err err = ERR_INIT;
	json_t *tree;
	assert_int_equal(json_parse(bytes_from(text), "settings", &tree, &err), ERR_OK);
	assert_int_equal(binding_settings_from_json(tree, &out, &err), ERR_OK);
	json_decref(tree);
	return out;
}

static void settings_are_equal_or_absent(void **state)
{
	(void)state;
	struct binding_settings suite =
		settings_of("{\"max_output\":64,\"temperature\":0.70,\"top_p\":1.0}");
	static const struct {
		const char *request, *why; /* NULL: they match */
	} cases[] = {
		{"{}",						  NULL				   },
		{"{\"max_output\":64}",                                 NULL                                   },
		{"{\"max_output\":1,\"top_p\":1,\"temperature\":7e-1}", NULL                                   },
		{"{\"temperature\":null}",                              NULL                                   },
		{"{\"max_output\":32000}",                              "max output 32000 > 64"                },
		{"{\"temperature\":0}",                                 "temperature 0 is not 0.7"             },
		{"{\"temperature\":\"0.7\"}",                           "temperature \"0.7\" is not 0.7"       },
		{"{\"top_k\":5}",				       "top_k 5, which the suite does not set"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct binding_settings request = settings_of(cases[i].request);
		char why[96] = "";
		assert_int_equal(binding_settings_match(&suite, &request, why, sizeof(why)),
				 cases[i].why == NULL);
		assert_string_equal(why, cases[i].why ? cases[i].why : "");
	}
	struct binding_settings unbounded = settings_of("null");
	struct binding_settings request = settings_of("{\"max_output\":32000}");
	char why[96];
	assert_true(binding_settings_match(&unbounded, &request, why, sizeof(why)));
}

static void wrong_settings_are_refused(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"[]",
		"3",
		"{\"max_output\":-1}",
		"{\"max_output\":1.5}",
		"{\"a_name_of_more_than_thirty_one_bytes\":1}",
		"{\"stop\":\"a value that is longer than the sixty-three bytes for which there "
		"is room\"}",
		"{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,"
		"\"k\":1,\"l\":1,\"m\":1,\"n\":1,\"o\":1,\"p\":1,\"q\":1}",
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct binding_settings out;
		struct err err = ERR_INIT;
		json_t *tree;
		assert_int_equal(json_parse(bytes_from(wrong[i]), "settings", &tree, &err), ERR_OK);
		assert_int_equal(binding_settings_from_json(tree, &out, &err), ERR_INVALID);
		assert_non_null(strstr(err.message, "settings"));
		json_decref(tree);
	}
	struct binding_settings out;
	assert_int_equal(binding_settings_from_json(NULL, &out, NULL), ERR_OK);
	assert_int_equal(out.max_output, -1);
}

static uint8_t *digests_of(const struct hmac_key *secret, uint32_t count)
{
	uint8_t *digests = calloc(count, BINDING_DIGEST_SIZE);
	assert_non_null(digests);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t words[SHA256_SIZE];
		sha256_of(&i, sizeof(i), words);
		binding_digest(secret, words, digests + (size_t)i * BINDING_DIGEST_SIZE);
	}
	return digests;
}

static struct binding_suite *suite_of(uint32_t count, const uint8_t *digests)
{
	struct binding_suite_options options = {.id = "suite-1",
						.name = "foxes",
						.version = "1",
						.purpose = PURPOSE_CAPABILITY_BENCHMARK,
						.samples = 1,
						.leaf_count = count,
						.digests = digests};
	struct binding_suite *suite;
	struct err err = ERR_INIT;
	assert_int_equal(binding_suite_new(&options, &suite, &err), ERR_OK);
	return suite;
}

static void every_leaf_is_found(void **state)
{
	(void)state;
	struct hmac_key secret, other;
	hmac_key_init(&secret, "one", 3);
	hmac_key_init(&other, "two", 3);
	static const uint32_t counts[] = {1, 2, 3, 4, 5, 1000, 100000};
	for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
		uint8_t *digests = digests_of(&secret, counts[c]);
		struct binding_suite *suite = suite_of(counts[c], digests);
		assert_int_equal(suite->distinct_leaves, counts[c]);
		uint32_t leaf;
		for (uint32_t i = 0; i < counts[c]; i++) {
			assert_true(binding_suite_find(
				suite, digests + (size_t)i * BINDING_DIGEST_SIZE, &leaf));
			assert_int_equal(leaf, i);
		}
		uint8_t words[SHA256_SIZE], digest[BINDING_DIGEST_SIZE];
		uint32_t zero = 0;
		sha256_of(&zero, sizeof(zero), words);
		binding_digest(&other, words, digest);
		assert_false(binding_suite_find(suite, digest, &leaf));
		binding_suite_drop(suite);
		free(digests);
	}
}

static void equal_words_are_one_leaf(void **state)
{
	(void)state;
	uint8_t digests[5][BINDING_DIGEST_SIZE] = {{1}, {2}, {1}, {3}, {2}};
	struct binding_suite *suite = suite_of(5, digests[0]);
	uint32_t leaf;
	assert_true(binding_suite_find(suite, digests[2], &leaf));
	assert_int_equal(leaf, 0);
	assert_true(binding_suite_find(suite, digests[4], &leaf));
	assert_int_equal(leaf, 1);
	assert_int_equal(suite->distinct_leaves, 3);
	assert_ptr_equal(binding_suite_hold(suite), suite);
	binding_suite_drop(suite);
	binding_suite_drop(suite);
	binding_suite_drop(NULL);
}

static void wrong_suites_are_refused(void **state)
{
	(void)state;
	uint8_t digest[BINDING_DIGEST_SIZE] = {0};
	char long_text[200];
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	struct binding_suite_options good = {.id = "s",
					     .name = "n",
					     .version = "1",
					     .samples = 1,
					     .leaf_count = 1,
					     .digests = digest};
	struct binding_suite_options wrong[8];
	for (size_t i = 0; i < 8; i++)
		wrong[i] = good;
	wrong[0].id = "";
	wrong[1].id = long_text;
	wrong[2].name = long_text;
	wrong[3].version = long_text;
	wrong[4].leaf_count = 0;
	wrong[5].leaf_count = BINDING_LEAVES_MAX + 1;
	wrong[6].samples = 0;
	wrong[7].samples = BINDING_SAMPLES_MAX + 1;
	for (size_t i = 0; i < 8; i++) {
		struct binding_suite *suite = (void *)&good;
		struct err err = ERR_INIT;
		assert_int_not_equal(binding_suite_new(&wrong[i], &suite, &err), ERR_OK);
		assert_null(suite);
		assert_true(err.message[0]);
	}
}

static struct binding_run *run_of(struct binding_suite *suite, unsigned samples)
{
	struct binding_run_options options = {.id = "run-1",
					      .grant_id = "g",
					      .suite = suite,
					      .samples = samples,
					      .opened_ms = 100};
	struct binding_run *run;
	struct err err = ERR_INIT;
	assert_int_equal(binding_run_new(&options, &run, &err), ERR_OK);
	return run;
}

static bool take(struct binding_run *run, unsigned slot, uint32_t leaf, int64_t wall_ms,
		 struct binding_hold *hold)
{
	struct binding_pick pick = binding_pick_leaf(leaf);
	return binding_take(run, slot, &pick, wall_ms, hold);
}

static bool take_unnamed(struct binding_run *run, unsigned slot, uint32_t leaf,
			 struct binding_hold *hold)
{
	struct binding_pick pick = binding_pick_leaf(leaf);
	pick.unnamed = true;
	return binding_take(run, slot, &pick, 100, hold);
}

static void a_blind_share_is_counted_and_given_back(void **state)
{
	(void)state;
	uint8_t digests[3][BINDING_DIGEST_SIZE] = {{1}, {2}, {3}};
	struct binding_suite *suite = suite_of(3, digests[0]);
	struct binding_run_options options = {.id = "r",
					      .grant_id = "g",
					      .suite = suite,
					      .samples = 1,
					      .named = true,
					      .blind_max = 1};
	struct binding_run *run;
	struct binding_hold first, second;
	unsigned a;
	assert_int_equal(binding_run_new(&options, &run, NULL), ERR_OK);
	binding_suite_drop(suite);
	assert_int_equal(binding_run_add_model(run, "a", &a, NULL), ERR_OK);
	assert_true(take(run, a, 0, 100, &first)); /* named: not counted */
	assert_false(binding_hold_is_blind(&first));
	binding_keep(&first);
	assert_true(binding_run_takes_blind(run));
	assert_true(take_unnamed(run, a, 1, &first));
	assert_true(binding_hold_is_blind(&first));
	assert_false(binding_run_takes_blind(run));
	assert_false(take_unnamed(run, a, 2, &second));
	assert_null(second.run);
	assert_int_equal(binding_run_used(run, a, 2), 0);
	binding_release(&first); /* it failed */
	assert_true(binding_run_takes_blind(run));
	assert_true(take_unnamed(run, a, 2, &second));
	binding_keep(&second);
	/* A leaf without samples takes nothing of the share; nor does a share that is used up a
	 * leaf. */
	assert_false(take_unnamed(run, a, 1, &first));
	assert_int_equal(binding_run_used(run, a, 1), 0);
	binding_run_restore_blind(run);
	assert_int_equal(atomic_load(&run->blind_used), 2);
	assert_int_equal(atomic_load(&run->in_flight), 0);
	binding_run_drop(run);
}

static void samples_are_counted_by_leaf_and_model(void **state)
{
	(void)state;
	uint8_t digests[2][BINDING_DIGEST_SIZE] = {{1}, {2}};
	struct binding_suite *suite = suite_of(2, digests[0]);
	struct binding_run *run = run_of(suite, 2);
	binding_suite_drop(suite); /* the run keeps it */
	unsigned a, b, again;
	assert_int_equal(binding_run_add_model(run, "a", &a, NULL), ERR_OK);
	assert_int_equal(binding_run_add_model(run, "b", &b, NULL), ERR_OK);
	assert_int_equal(binding_run_add_model(run, "a", &again, NULL), ERR_OK);
	assert_int_equal(a, again);
	assert_int_not_equal(a, b);
	struct binding_hold first, second, third;
	assert_true(take(run, a, 1, 500, &first));
	assert_int_equal(first.sample, 1);
	assert_int_equal(atomic_load(&run->last_use_ms), 500);
	assert_true(take(run, a, 1, 501, &second));
	assert_int_equal(second.sample, 2);
	assert_false(take(run, a, 1, 502, &third));
	assert_null(third.run);
	/* A sample that failed is free again, under its own number. */
	binding_release(&first);
	assert_true(take(run, a, 1, 503, &first));
	assert_int_equal(first.sample, 1);
	binding_keep(&first);
	binding_keep(&first);
	binding_release(&first);
	assert_int_equal(binding_run_used(run, a, 1), 2);
	binding_keep(&second);
	assert_false(take(run, a, 1, 504, &third));
	/* Another leaf and another model are counted on their own. */
	assert_int_equal(binding_run_used(run, a, 0), 0);
	assert_true(take(run, b, 1, 505, &third));
	assert_int_equal(third.sample, 1);
	assert_int_equal(binding_run_total(run), 3);
	assert_int_equal(atomic_load(&run->in_flight), 1);
	/* What is in flight outlives the run's owner. */
	binding_run_close(run);
	binding_run_drop(run);
	binding_release(&third);
}

static void a_closed_run_gives_nothing(void **state)
{
	(void)state;
	uint8_t digest[BINDING_DIGEST_SIZE] = {1};
	struct binding_suite *suite = suite_of(1, digest);
	struct binding_run *run = run_of(suite, BINDING_SAMPLES_MAX);
	unsigned slot;
	struct binding_hold hold;
	assert_int_equal(binding_run_add_model(run, "m", &slot, NULL), ERR_OK);
	for (unsigned i = 0; i < BINDING_SAMPLES_MAX - 1; i++) {
		assert_true(take(run, slot, 0, 1, &hold));
		assert_int_equal(hold.sample, i + 1);
		binding_keep(&hold);
	}
	binding_run_close(run);
	assert_false(take(run, slot, 0, 1, &hold));
	assert_int_equal(atomic_load(&run->in_flight), 0);
	binding_run_drop(run);
	binding_suite_drop(suite);
}

static void a_run_is_restored_from_the_log(void **state)
{
	(void)state;
	uint8_t digest[BINDING_DIGEST_SIZE] = {1};
	struct binding_suite *suite = suite_of(1, digest);
	struct binding_run *run = run_of(suite, 3);
	unsigned slot;
	struct binding_hold hold;
	assert_int_equal(binding_run_add_model(run, "m", &slot, NULL), ERR_OK);
	assert_true(binding_run_restore(run, slot, 0, 2));
	assert_true(binding_run_restore(run, slot, 0, 2));
	assert_false(binding_run_restore(run, slot, 0, 0));
	assert_false(binding_run_restore(run, slot, 0, 65));
	assert_false(binding_run_restore(run, slot, 1, 1));
	assert_false(binding_run_restore(run, slot + 1, 0, 1));
	assert_true(take(run, slot, 0, 1, &hold));
	assert_int_equal(hold.sample, 1);
	binding_keep(&hold);
	assert_true(take(run, slot, 0, 1, &hold));
	assert_int_equal(hold.sample, 3);
	binding_keep(&hold);
	assert_false(take(run, slot, 0, 1, &hold));
	binding_run_drop(run);
	binding_suite_drop(suite);
}

static void wrong_runs_are_refused(void **state)
{
	(void)state;
	uint8_t digest[BINDING_DIGEST_SIZE] = {1};
	struct binding_suite *suite = suite_of(1, digest);
	struct binding_run_options good = {
		.id = "r", .grant_id = "g", .suite = suite, .samples = 1};
	struct binding_run_options wrong[3] = {good, good, good};
	wrong[0].id = "";
	wrong[1].samples = 0;
	wrong[2].samples = BINDING_SAMPLES_MAX + 1;
	for (size_t i = 0; i < 3; i++) {
		struct binding_run *run;
		struct err err = ERR_INIT;
		assert_int_equal(binding_run_new(&wrong[i], &run, &err), ERR_INVALID);
		assert_null(run);
	}
	struct binding_run *run;
	assert_int_equal(binding_run_new(&good, &run, NULL), ERR_OK);
	for (unsigned i = 0; i <= BINDING_MODELS_MAX; i++) {
		char name[16];
		unsigned slot;
		snprintf(name, sizeof(name), "m%u", i);
		assert_int_equal(binding_run_add_model(run, name, &slot, NULL),
				 i < BINDING_MODELS_MAX ? ERR_OK : ERR_TOO_LARGE);
	}
	binding_run_drop(run);
	binding_suite_drop(suite);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_are_equal_or_absent),
		cmocka_unit_test(wrong_settings_are_refused),
		cmocka_unit_test(every_leaf_is_found),
		cmocka_unit_test(equal_words_are_one_leaf),
		cmocka_unit_test(wrong_suites_are_refused),
		cmocka_unit_test(samples_are_counted_by_leaf_and_model),
		cmocka_unit_test(a_closed_run_gives_nothing),
		cmocka_unit_test(a_run_is_restored_from_the_log),
		cmocka_unit_test(a_blind_share_is_counted_and_given_back),
		cmocka_unit_test(wrong_runs_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
