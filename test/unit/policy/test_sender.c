#include "policy/sender.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct sender_facts from(const char *address)
{
	struct sender_facts facts = {.family = SENDER_IPV4};
	if (inet_pton(AF_INET, address, facts.ip) == 1)
		return facts;
	facts.family = SENDER_IPV6;
	assert_int_equal(inet_pton(AF_INET6, address, facts.ip), 1);
	return facts;
}

static bool is_in(const char *network, const char *address)
{
	struct sender_network parsed;
	struct err err = ERR_INIT;
	if (sender_network_parse(bytes_from(network), &parsed, &err) != ERR_OK)
		fail_msg("%s: %s", network, err.message);
	struct sender_rule rule = {.networks = &parsed, .network_count = 1};
	struct sender_facts facts = from(address);
	return sender_is_in_networks(&rule, &facts);
}

static void networks_hold_their_addresses(void **state)
{
	(void)state;
	assert_true(is_in("10.0.0.0/8", "10.255.1.2"));
	assert_false(is_in("10.0.0.0/8", "11.0.0.0"));
	assert_true(is_in("192.0.2.128/25", "192.0.2.129"));
	assert_false(is_in("192.0.2.128/25", "192.0.2.127"));
	assert_true(is_in("192.0.2.7", "192.0.2.7"));
	assert_false(is_in("192.0.2.7", "192.0.2.6"));
	assert_true(is_in("0.0.0.0/0", "203.0.113.9"));
	assert_false(is_in("0.0.0.0/0", "2001:db8::1"));
	assert_true(is_in("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(is_in("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(is_in("::/0", "2001:db8::1"));
	assert_false(is_in("::/0", "192.0.2.1"));
	/* As a socket for both families tells an IPv4 address. */
	assert_true(is_in("192.0.2.0/24", "::ffff:192.0.2.9"));
	assert_false(is_in("::/0", "::ffff:192.0.2.9"));
}

static void what_is_no_network_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.1/8",
		"10.0.0.0/08x", "10.0.0", "010.0.0.0/8 ", "2001:db8::/129", "2001:db8::1/32",
		"::ffff:10.0.0.0/104", "localhost",
		/* longer than any address */
		"11111111111111111111111111111111111111111111111111111111111111/8"};
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sender_network network;
		struct err err = ERR_INIT;
		if (sender_network_parse(bytes_from(bad[i]), &network, &err) != ERR_INVALID)
			fail_msg("%s was taken", bad[i]);
		assert_true(err.message[0]);
	}
}

static void without_networks_any_address_will_do(void **state)
{
	struct sender_rule rule = {0};
	struct sender_facts nowhere = {0}, here = from("192.0.2.1");
	(void)state;
	assert_true(sender_is_in_networks(&rule, &nowhere));
	assert_true(sender_is_in_networks(&rule, &here));
}

static void an_unknown_address_is_in_no_network(void **state)
{
	struct sender_network any;
	struct sender_facts nowhere = {0};
	(void)state;
	assert_int_equal(sender_network_parse(BYTES("0.0.0.0/0"), &any, NULL), ERR_OK);
	struct sender_rule rule = {.networks = &any, .network_count = 1};
	assert_false(sender_is_in_networks(&rule, &nowhere));
}

static void a_binding_asks_for_its_own_proof(void **state)
{
	struct sender_rule rule = {.binding = SENDER_BINDING_SIGNATURE, .thumbprint = {1}};
	struct sender_facts facts = {0};
	(void)state;
	assert_false(sender_is_proved(&rule, &facts));
	memcpy(facts.thumbprint, rule.thumbprint, SHA256_SIZE);
	assert_false(sender_is_proved(&rule, &facts)); /* named, not proved */
	facts.proved = SENDER_BINDING_CERTIFICATE;
	assert_false(sender_is_proved(&rule, &facts)); /* of another kind */
	facts.proved = SENDER_BINDING_SIGNATURE;
	assert_true(sender_is_proved(&rule, &facts));
	facts.thumbprint[31] = 1;
	assert_false(sender_is_proved(&rule, &facts)); /* somebody else's */
	rule.binding = SENDER_BINDING_NONE;
	assert_true(sender_is_proved(&rule, &facts));
}

static void a_demand_is_met_by_what_it_names(void **state)
{
	static const uint8_t named[2][SHA256_SIZE] = {{1}, {2}};
	struct sender_rule unbound = {0}, signing = {.binding = SENDER_BINDING_SIGNATURE},
			   showing = {.binding = SENDER_BINDING_CERTIFICATE, .thumbprint = {2}};
	struct sender_demand demand = {0};
	(void)state;
	assert_true(sender_meets(&demand, &unbound));
	assert_int_equal(sender_demand_kinds("none"), 0);
	demand.kinds = sender_demand_kinds("signature");
	assert_false(sender_meets(&demand, &unbound));
	assert_true(sender_meets(&demand, &signing));
	assert_false(sender_meets(&demand, &showing));
	demand.kinds = sender_demand_kinds("any");
	assert_false(sender_meets(&demand, &unbound));
	assert_true(sender_meets(&demand, &showing));
	demand.thumbprints = named;
	demand.thumbprint_count = 2;
	assert_true(sender_meets(&demand, &showing));
	assert_false(sender_meets(&demand, &signing)); /* bound, and to nobody that is named */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_hold_their_addresses),
		cmocka_unit_test(what_is_no_network_is_refused),
		cmocka_unit_test(without_networks_any_address_will_do),
		cmocka_unit_test(an_unknown_address_is_in_no_network),
		cmocka_unit_test(a_binding_asks_for_its_own_proof),
		cmocka_unit_test(a_demand_is_met_by_what_it_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
