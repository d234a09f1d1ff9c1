#include "watch/watch.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define HOUR INT64_C(470000)

static void count_closed(void *argument, struct watch_key *key)
{
	(void)key;
	++*(unsigned *)argument;
}

static unsigned roll(struct watch *watch, int64_t hour)
{
	unsigned closed = 0;
	watch_roll(watch, hour, count_closed, &closed);
	return closed;
}

/* Requests from so many networks, one after another, with so many client stacks. */
static void use(struct watch_key *key, unsigned networks, unsigned stacks)
{
	for (unsigned i = 0; i < networks || i < stacks; i++) {
		unsigned network = networks ? i % networks : 0;
		watch_begin(key, bytes_of(&network, sizeof(network)), stacks ? i % stacks : 0);
		watch_end(key);
	}
}

static void at_once(struct watch_key *key, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		watch_begin(key, BYTES("a"), 1);
	for (unsigned i = 0; i < count; i++)
		watch_end(key);
}

static int64_t saved_value(const struct watch_key *key, size_t hour, size_t column)
{
	json_t *saved = watch_save(key);
	int64_t value = json_integer_value(
		json_array_get(json_array_get(json_object_get(saved, "hours"), hour), column));
	json_decref(saved);
	return value;
}

static void sketches_count_within_their_error(void **state)
{
	static const unsigned counts[] = {1, 2, 5, 20, 100, 700, 2000, 3000, 20000};
	struct watch *watch = watch_new(7);
	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		char id[16];
		snprintf(id, sizeof(id), "key_%zu", i);
		struct watch_key *key = watch_key_of(watch, id);
		roll(watch, HOUR + (int64_t)i);
		use(key, counts[i], counts[i] / 2 + 1);
		roll(watch, HOUR + (int64_t)i);
		assert_true(roll(watch, HOUR + 1 + (int64_t)i) >= 1);
		double networks = (double)saved_value(key, 0, 2), wanted = counts[i];
		/* Four standard errors, and rounding. */
		if (networks < wanted * 0.87 - 0.5 || networks > wanted * 1.13 + 0.5)
			fail_msg("%u networks are counted as %.0f", counts[i], networks);
		assert_int_equal(saved_value(key, 0, 1), counts[i]);
		assert_int_equal(saved_value(key, 0, 4), 1);
	}
	watch_free(watch);
}

static void a_key_is_found_again_among_many(void **state)
{
	struct watch *watch = watch_new(7);
	struct watch_key *keys[5000];
	char id[16];
	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(id, sizeof(id), "key_%u", i);
		keys[i] = watch_key_of(watch, id);
		assert_non_null(keys[i]);
	}
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(id, sizeof(id), "key_%u", i);
		assert_ptr_equal(watch_key_of(watch, id), keys[i]);
		assert_string_equal(watch_key_id(keys[i]), id);
	}
	watch_begin(NULL, BYTES("a"), 1); /* not watched */
	watch_end(NULL);
	watch_free(watch);
}

/* `hours` of a past with these networks each, then an hour that is open. */
static struct watch_key *with_past(struct watch *watch, const char *id, int64_t hours,
				   unsigned networks)
{
	struct watch_key *key = watch_key_of(watch, id);
	for (int64_t hour = 0; hour < hours; hour++) {
		use(key, networks, 1);
		roll(watch, HOUR + hour);
		roll(watch, HOUR + hour + 1);
	}
	return key;
}

static void what_is_far_above_its_own_past_is_found(void **state)
{
	struct watch_finding findings[WATCH_SIGNALS];
	struct watch *watch = watch_new(7);
	struct watch_key *key = with_past(watch, "k", 30, 3);
	(void)state;
	use(key, 9, 1); /* three times its most: not more than that */
	assert_int_equal(watch_judge(key, findings), 0);
	use(key, 40, 1);
	assert_int_equal(watch_judge(key, findings), 1);
	assert_int_equal(findings[0].signal, WATCH_NETWORKS);
	assert_in_range(findings[0].value, 38, 42);
	assert_int_equal(findings[0].past_most, 3);
	assert_int_equal(findings[0].past_median, 3);
	assert_int_equal(findings[0].past_hours, 30);
	at_once(key, 20);
	use(key, 1, 12);
	assert_int_equal(watch_judge(key, findings), 3);
	assert_int_equal(findings[WATCH_CONCURRENCY].value, 20);
	/* Once it is its past, it is news no more. */
	roll(watch, HOUR + 31);
	use(key, 40, 12);
	assert_int_equal(watch_judge(key, findings), 0);
	watch_free(watch);
}

static void nobody_is_judged_without_a_past_or_below_the_floor(void **state)
{
	struct watch_finding findings[WATCH_SIGNALS];
	struct watch *watch = watch_new(7);
	(void)state;
	struct watch_key *fresh = with_past(watch, "fresh", WATCH_PAST_MIN - 1, 1);
	use(fresh, 500, 50);
	assert_int_equal(watch_judge(fresh, findings), 0);
	struct watch_key *small = watch_key_of(watch, "small");
	for (int64_t hour = 0; hour < 40; hour++) {
		use(small, 1, 1);
		roll(watch, HOUR + 100 + hour);
	}
	use(small, 6, 4); /* and one more of each below */
	at_once(small, 15);
	assert_int_equal(watch_judge(small, findings), 0);
	watch_free(watch);
}

static void a_past_of_more_than_seven_days_counts_no_more(void **state)
{
	struct watch_finding findings[WATCH_SIGNALS];
	struct watch *watch = watch_new(7);
	struct watch_key *key = with_past(watch, "k", 30, 3);
	(void)state;
	roll(watch, HOUR + 29 + WATCH_HOURS);
	use(key, 40, 1);
	assert_int_equal(watch_judge(key, findings), 0); /* one hour of it is left */
	watch_free(watch);
}

static void what_was_saved_comes_back(void **state)
{
	struct watch_finding findings[WATCH_SIGNALS];
	struct watch *watch = watch_new(7), *later = watch_new(8);
	struct watch_key *key = with_past(watch, "k", 200, 3), *again = watch_key_of(later, "k");
	json_t *saved = watch_save(key), *back;
	(void)state;
	assert_int_equal(json_array_size(json_object_get(saved, "hours")), WATCH_HOURS);
	assert_int_equal(watch_restore(again, saved, NULL), ERR_OK);
	back = watch_save(again);
	assert_true(json_equal(saved, back));
	roll(later, HOUR + 200);
	use(again, 40, 1);
	assert_int_equal(watch_judge(again, findings), 1);
	json_decref(saved);
	json_decref(back);
	static const char *const bad[] = {
		"{\"hours\":[1]}", "{\"hours\":[[1,2,3]]}", "{\"hours\":[[1,2,3,4,-5]]}",
		"{\"hours\":[[1,2,3,4,\"5\"]]}", "{\"hours\":[[1,2,3,4,4294967296]]}"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char id[8];
		snprintf(id, sizeof(id), "b%zu", i);
		assert_int_equal(json_parse(bytes_from(bad[i]), "bad", &saved, NULL), ERR_OK);
		assert_int_equal(watch_restore(watch_key_of(later, id), saved, NULL), ERR_CORRUPT);
		json_decref(saved);
	}
	watch_free(watch);
	watch_free(later);
}

static void there_is_state_for_so_many_keys_and_no_more(void **state)
{
	struct watch *watch = watch_new(7);
	char id[24];
	(void)state;
	for (unsigned i = 0; i < WATCH_KEYS_MAX + 10; i++) {
		snprintf(id, sizeof(id), "key_%u", i);
		use(watch_key_of(watch, id), 1, 1);
	}
	assert_int_equal(watch_left_out(watch), 10);
	watch_free(watch);
}

#define THREADS 4

static void *work(void *argument)
{
	for (unsigned i = 0; i < 5000; i++) {
		unsigned network = i % 50;
		watch_begin(argument, bytes_of(&network, sizeof(network)), i % 9);
		watch_end(argument);
	}
	return NULL;
}

static void workers_count_together(void **state)
{
	struct watch *watch = watch_new(7);
	struct watch_key *key = watch_key_of(watch, "k");
	pthread_t threads[THREADS];
	(void)state;
	roll(watch, HOUR);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, key), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	roll(watch, HOUR);
	assert_int_equal(roll(watch, HOUR + 1), 1);
	assert_int_equal(saved_value(key, 0, 1), THREADS * 5000);
	assert_in_range(saved_value(key, 0, 2), 48, 52);
	assert_in_range(saved_value(key, 0, 3), 9, 9);
	assert_in_range(saved_value(key, 0, 4), 1, THREADS);
	watch_free(watch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sketches_count_within_their_error),
		cmocka_unit_test(a_key_is_found_again_among_many),
		cmocka_unit_test(what_is_far_above_its_own_past_is_found),
		cmocka_unit_test(nobody_is_judged_without_a_past_or_below_the_floor),
		cmocka_unit_test(a_past_of_more_than_seven_days_counts_no_more),
		cmocka_unit_test(what_was_saved_comes_back),
		cmocka_unit_test(there_is_state_for_so_many_keys_and_no_more),
		cmocka_unit_test(workers_count_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
