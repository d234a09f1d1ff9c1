/* Cells and samples under threads: run it under the thread sanitizer too. Whatever the threads do,
 * no limit is passed, no sample is given twice, and after quiet everything is back. */
#include "base/prng.h"
#include "policy/binding.h"
#include "policy/limits.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define THREADS 4
#define ROUNDS 20000
#define SECOND ((uint64_t)1000000000)
#define START (1000 * SECOND)

struct shared {
	struct limits_scope scopes[2];
	_Atomic uint64_t now_ns;
	_Atomic int64_t tokens;    /* that settled requests used */
	_Atomic bool passed_limit; /* more slots were taken than there are */
};

struct worker {
	struct shared *shared;
	uint64_t seed;
};

static struct limits_clock clock_of(struct shared *shared, struct prng *prng)
{
	uint64_t step = prng_below(prng, 40000000);
	uint64_t now = atomic_fetch_add(&shared->now_ns, step) + step;
	return (struct limits_clock){now, (int64_t)(now / 1000000)};
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct shared *shared = worker->shared;
	struct prng prng = {.state = worker->seed};
	struct limits_reservation r = {0};
	struct limits_refusal refusal;
	for (int i = 0; i < ROUNDS; i++) {
		struct limits_clock clock = clock_of(shared, &prng);
		if (!r.open) {
			struct limits_wants wants = {(int64_t)prng_below(&prng, 50),
						     (int64_t)prng_below(&prng, 100),
						     (int64_t)prng_below(&prng, 100000)};
			limits_reserve(shared->scopes, 2, &clock, wants, &r, &refusal);
			if (atomic_load(&shared->scopes[0].cells->in_flight) > 3)
				atomic_store(&shared->passed_limit, true);
		} else if (prng_below(&prng, 3) == 0) {
			limits_take_output_slice(&r, shared->scopes, &clock,
						 (struct limits_wants){.output = 64}, &refusal);
		} else {
			int64_t used = (int64_t)prng_below(&prng, (uint64_t)r.output + 1);
			atomic_fetch_add(&shared->tokens, used);
			limits_settle(&r, shared->scopes, &clock,
				      (struct limits_usage){.input = r.input, .output = used});
			limits_observe_output(shared->scopes[0].cells, used);
		}
	}
	struct limits_clock clock = clock_of(shared, &prng);
	atomic_fetch_add(&shared->tokens, r.open ? r.output : 0);
	limits_settle(&r, shared->scopes, &clock,
		      (struct limits_usage){.input = r.input, .output = r.output});
	return NULL;
}

static void run_threads(void *(*function)(void *), void *arguments, size_t size)
{
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, function,
						(char *)arguments + size * (size_t)i),
				 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void limits_hold_under_threads(void **state)
{
	(void)state;
	struct limits_table *table = limits_table_new();
	assert_non_null(table);
	struct limits_values values[2] = {
		{{6000, 100000, 20000, 3, LIMIT_MAX, LIMIT_MAX, LIMIT_MAX}},
		{{LIMIT_NONE, LIMIT_NONE, 30000, 4, LIMIT_NONE, LIMIT_NONE, LIMIT_NONE}}};
	struct shared shared = {
		.scopes = {{limits_table_cells(table, "grant", "g"), &values[0], "grant"},
			   {limits_table_cells(table, "org", "o"), &values[1], "org"}},
		.now_ns = START
        };
	struct worker workers[THREADS];
	for (int i = 0; i < THREADS; i++)
		workers[i] = (struct worker){&shared, (uint64_t)i + 1};
	run_threads(work, workers, sizeof(*workers));
	assert_false(atomic_load(&shared.passed_limit));
	double minutes = (double)(atomic_load(&shared.now_ns) - START) / 60e9;
	assert_true((double)atomic_load(&shared.tokens) <= 20000 * (1 + minutes) + 1);
	assert_true(atomic_load(&shared.tokens) > 0);
	uint64_t quiet = atomic_load(&shared.now_ns) + 32 * 86400 * SECOND;
	struct limits_clock clock = {quiet, (int64_t)(quiet / 1000000)};
	for (int i = 0; i < 2; i++) {
		for (enum limit limit = 0; limit < LIMIT_COUNT; limit++) {
			struct limits_state seen = limits_peek(&shared.scopes[i], &clock, limit);
			assert_int_equal(seen.remaining, seen.max == LIMIT_NONE ? 0 : seen.max);
		}
		assert_int_equal(atomic_load(&shared.scopes[i].cells->in_flight), 0);
		struct limits_cells *cells = shared.scopes[i].cells;
		assert_int_equal(atomic_load(&cells->output.returning_ns),
				 atomic_load(&cells->output.returned_ns));
	}
	limits_table_drop(table);
}

#define LEAVES 50
#define SAMPLES 8

struct taker {
	struct binding_run *run;
	_Atomic unsigned *given; /* LEAVES * SAMPLES: times kept */
	uint64_t seed;
};

static void *take_samples(void *argument)
{
	struct taker *taker = argument;
	struct prng prng = {.state = taker->seed};
	for (int i = 0; i < ROUNDS; i++) {
		struct binding_hold hold;
		uint32_t leaf = (uint32_t)prng_below(&prng, LEAVES);
		struct binding_pick pick = binding_pick_leaf(leaf);
		if (!binding_take(taker->run, 0, &pick, i, &hold))
			continue;
		if (prng_below(&prng, 4)) {
			binding_release(&hold);
			continue;
		}
		atomic_fetch_add(&taker->given[leaf * SAMPLES + hold.sample - 1], 1);
		binding_keep(&hold);
	}
	return NULL;
}

static void no_sample_is_given_twice(void **state)
{
	(void)state;
	static uint8_t digests[LEAVES][BINDING_DIGEST_SIZE];
	for (uint32_t i = 0; i < LEAVES; i++)
		memcpy(digests[i], &i, sizeof(i));
	struct binding_suite_options suite_options = {.id = "s",
						      .name = "s",
						      .version = "1",
						      .samples = 1,
						      .leaf_count = LEAVES,
						      .digests = digests[0]};
	struct binding_suite *suite;
	struct binding_run *run;
	unsigned slot;
	assert_int_equal(binding_suite_new(&suite_options, &suite, NULL), ERR_OK);
	struct binding_run_options run_options = {
		.id = "r", .grant_id = "g", .suite = suite, .samples = SAMPLES};
	assert_int_equal(binding_run_new(&run_options, &run, NULL), ERR_OK);
	assert_int_equal(binding_run_add_model(run, "m", &slot, NULL), ERR_OK);
	static _Atomic unsigned given[LEAVES * SAMPLES];
	struct taker takers[THREADS];
	for (int i = 0; i < THREADS; i++)
		takers[i] = (struct taker){run, given, (uint64_t)i + 1};
	run_threads(take_samples, takers, sizeof(*takers));
	unsigned total = 0;
	for (size_t i = 0; i < LEAVES * SAMPLES; i++) {
		assert_true(atomic_load(&given[i]) <= 1);
		total += atomic_load(&given[i]);
	}
	assert_int_equal(total, LEAVES * SAMPLES);
	assert_int_equal(binding_run_total(run), total);
	assert_int_equal(atomic_load(&run->in_flight), 0);
	assert_int_equal(atomic_load(&run->references), 1);
	binding_run_drop(run);
	binding_suite_drop(suite);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_hold_under_threads),
		cmocka_unit_test(no_sample_is_given_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
