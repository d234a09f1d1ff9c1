#include "gate/refusal_window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND ((uint64_t)1000000000)

static struct env_peer from(const char *text)
{
	struct env_address address;
	assert_int_equal(ERR_OK, env_address_parse(bytes_from(text), &address, NULL));
	return env_peer_of(&address);
}

static void one_record_a_second_stands_for_all(void **state)
{
	struct refusal_window *window = calloc(1, sizeof(*window));
	struct env_peer peer = from("192.0.2.7:1");
	(void)state;
	assert_int_equal(1, refusal_window_take(window, RULE_KEY_UNKNOWN, &peer, 5 * SECOND));
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(0, refusal_window_take(window, RULE_KEY_UNKNOWN, &peer,
							5 * SECOND + i * SECOND / 10));
	assert_int_equal(11, refusal_window_take(window, RULE_KEY_UNKNOWN, &peer, 6 * SECOND));
	assert_int_equal(0, refusal_window_take(window, RULE_KEY_UNKNOWN, &peer, 6 * SECOND + 1));
	assert_int_equal(2, refusal_window_take(window, RULE_KEY_UNKNOWN, &peer, 60 * SECOND));
	free(window);
}

/* Takes one at the same moment; true if it counts apart from 192.0.2.7 under key.unknown. */
static bool is_apart(uint64_t seed, enum rule rule, const char *peer_text)
{
	struct refusal_window *window = calloc(1, sizeof(*window));
	struct env_peer first = from("192.0.2.7:1"), peer = from(peer_text);
	window->seed = seed;
	refusal_window_take(window, RULE_KEY_UNKNOWN, &first, SECOND);
	bool apart = refusal_window_take(window, rule, &peer, SECOND) == 1;
	free(window);
	return apart;
}

static void networks_and_rules_count_apart(void **state)
{
	unsigned other_rule = 0, other_network = 0, ipv6 = 0;
	(void)state;
	for (uint64_t seed = 1; seed <= 50; seed++) {
		/* A neighbour in the same /24, and another port, are the same network. */
		assert_false(is_apart(seed, RULE_KEY_UNKNOWN, "192.0.2.200:9"));
		other_rule += is_apart(seed, RULE_KEY_MISSING, "192.0.2.7:1");
		other_network += is_apart(seed, RULE_KEY_UNKNOWN, "192.0.3.7:1");
		ipv6 += is_apart(seed, RULE_KEY_UNKNOWN, "[2001:db8::1]:1");
	}
	/* Places may be shared by chance, but not by much: 1 in 1,024. */
	assert_true(other_rule >= 45 && other_network >= 45 && ipv6 >= 45);
}

static void an_ipv6_network_is_a_48(void **state)
{
	struct refusal_window *window = calloc(1, sizeof(*window));
	struct env_peer one = from("[2001:db8:1:2::3]:1"), same = from("[2001:db8:1:ffff::]:2");
	(void)state;
	assert_int_equal(1, refusal_window_take(window, RULE_KEY_UNKNOWN, &one, SECOND));
	assert_int_equal(0, refusal_window_take(window, RULE_KEY_UNKNOWN, &same, SECOND));
	free(window);
}

static void a_stranger_cannot_make_more_records_than_there_are_places(void **state)
{
	struct refusal_window *window = calloc(1, sizeof(*window));
	uint64_t records = 0, counted = 0;
	(void)state;
	window->seed = 99;
	for (unsigned i = 0; i < 200000; i++) {
		struct env_peer peer = {
			.family = ENV_IPV4,
			.ip = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}
                };
		uint64_t stands_for =
			refusal_window_take(window, RULE_KEY_UNKNOWN, &peer, SECOND + i);
		records += stands_for > 0;
		counted += stands_for;
	}
	assert_true(records <= REFUSAL_WINDOW_PLACES);
	assert_true(counted <= 200000);
	free(window);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_record_a_second_stands_for_all),
		cmocka_unit_test(networks_and_rules_count_apart),
		cmocka_unit_test(an_ipv6_network_is_a_48),
		cmocka_unit_test(a_stranger_cannot_make_more_records_than_there_are_places),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
