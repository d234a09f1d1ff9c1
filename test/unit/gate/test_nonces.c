#include "gate/nonces.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW INT64_C(1700000000)

static const uint8_t secret[SHA256_SIZE] = {1}, signer[SHA256_SIZE] = {2};

static enum nonces_answer take(struct nonces *nonces, unsigned number, int64_t created)
{
	char text[32];
	int size = snprintf(text, sizeof(text), "nonce-%u", number);
	return nonces_take(nonces, signer, bytes_of(text, (size_t)size), created);
}

static void a_nonce_is_taken_once(void **state)
{
	struct nonces *nonces = nonces_new(secret, 4096);
	uint8_t other[SHA256_SIZE] = {3};
	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(take(nonces, i, NOW), NONCES_FRESH);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(take(nonces, i, NOW), NONCES_SEEN);
	assert_int_equal(nonces_take(nonces, other, BYTES("nonce-1"), NOW), NONCES_FRESH);
	nonces_free(nonces);
}

/* Whatever the clock does within the window, what was taken is known for as long as a signature
 * with it could be taken: its creation is part of what was signed. */
static void it_is_known_for_as_long_as_it_could_be_replayed(void **state)
{
	struct nonces *nonces = nonces_new(secret, 4096);
	(void)state;
	for (int64_t now = NOW; now < NOW + 2000; now += 7) {
		int64_t created = now - NONCES_WINDOW_S;
		assert_int_equal(take(nonces, (unsigned)(now - NOW), created), NONCES_FRESH);
		/* The newest that may be taken meanwhile. */
		take(nonces, 100000u + (unsigned)(now - NOW), now + NONCES_WINDOW_S);
		assert_int_equal(take(nonces, (unsigned)(now - NOW), created), NONCES_SEEN);
	}
	nonces_free(nonces);
}

static void spans_make_room_for_each_other(void **state)
{
	struct nonces *nonces = nonces_new(secret, 256);
	(void)state;
	for (int64_t span = 0; span < 50; span++)
		for (unsigned i = 0; i < 100; i++)
			assert_int_equal(take(nonces, i, NOW + span * NONCES_SPAN_S), NONCES_FRESH);
	nonces_free(nonces);
}

static void a_clock_put_back_is_told(void **state)
{
	struct nonces *nonces = nonces_new(secret, 256);
	(void)state;
	assert_int_equal(take(nonces, 1, NOW), NONCES_FRESH);
	assert_int_equal(take(nonces, 1, NOW + 10 * NONCES_SPAN_S), NONCES_FRESH);
	assert_int_equal(take(nonces, 1, NOW), NONCES_PAST);
	assert_int_equal(take(nonces, 2, NOW), NONCES_PAST);
	nonces_free(nonces);
}

/* At the real size no nonce is refused before half of the slots are taken, and a full table
 * forgets nothing. */
static void a_full_table_refuses_and_forgets_nothing(void **state)
{
	struct nonces *nonces = nonces_new(secret, NONCES_SLOTS);
	unsigned count = 0;
	(void)state;
	while (count < NONCES_SLOTS && take(nonces, count, NOW) == NONCES_FRESH)
		count++;
	print_message("full at %.1f %% of the slots\n", 100.0 * count / NONCES_SLOTS);
	assert_true(count > NONCES_SLOTS / 2 && count < NONCES_SLOTS);
	assert_int_equal(take(nonces, count, NOW), NONCES_FULL);
	for (unsigned i = 0; i < count; i += 97)
		assert_int_equal(take(nonces, i, NOW), NONCES_SEEN);
	nonces_free(nonces);
}

#define THREADS 4
#define NUMBERS 2000u

struct racer {
	struct nonces *nonces;
	unsigned fresh;
};

static void *race(void *argument)
{
	struct racer *racer = argument;
	for (unsigned i = 0; i < NUMBERS; i++)
		racer->fresh += take(racer->nonces, i, NOW) == NONCES_FRESH;
	return NULL;
}

/* However many threads are given the same nonce, it is fresh to one of them. */
static void of_many_threads_one_takes_it(void **state)
{
	struct racer racers[THREADS];
	pthread_t threads[THREADS];
	struct nonces *nonces = nonces_new(secret, 4096);
	unsigned fresh = 0;
	(void)state;
	for (int i = 0; i < THREADS; i++) {
		racers[i] = (struct racer){nonces, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		fresh += racers[i].fresh;
	}
	assert_int_equal(fresh, NUMBERS);
	nonces_free(nonces);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_nonce_is_taken_once),
		cmocka_unit_test(it_is_known_for_as_long_as_it_could_be_replayed),
		cmocka_unit_test(spans_make_room_for_each_other),
		cmocka_unit_test(a_clock_put_back_is_told),
		cmocka_unit_test(a_full_table_refuses_and_forgets_nothing),
		cmocka_unit_test(of_many_threads_one_takes_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
