/* When asking again can help. */
#include "bench/retry.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

static enum retry_verdict decide(int status, int should_retry, int64_t after_ms, const char *rule,
				 const char *code)
{
	struct retry_facts facts = {.status = status,
				    .should_retry = should_retry,
				    .retry_after_ms = after_ms,
				    .rule = bytes_from(rule),
				    .code = bytes_from(code)};
	return retry_decide(&facts);
}

static void deterministic_refusals_are_not_repeated(void **state)
{
	(void)state;
	assert_int_equal(decide(400, -1, -1, "", ""), RETRY_NEVER);
	assert_int_equal(decide(403, -1, -1, "", ""), RETRY_NEVER);
	assert_int_equal(decide(413, -1, -1, "", ""), RETRY_NEVER);
	assert_int_equal(decide(422, -1, -1, "", ""), RETRY_NEVER);
	assert_int_equal(decide(500, 0, -1, "", ""), RETRY_NEVER);
}

static void passing_trouble_is_tried_again(void **state)
{
	static const int statuses[] = {408, 409, 425, 500, 502, 503, 504, 529};
	(void)state;
	for (unsigned i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		assert_int_equal(decide(statuses[i], -1, -1, "", ""), RETRY_LATER);
	assert_int_equal(decide(400, 1, -1, "", ""), RETRY_LATER);
	assert_int_equal(decide(429, -1, 2000, "", ""), RETRY_THROTTLED);
	assert_int_equal(decide(429, -1, -1, "limit.rpm", ""), RETRY_THROTTLED);
}

static void what_nothing_can_escape_ends_the_model(void **state)
{
	(void)state;
	assert_int_equal(decide(401, -1, -1, "", ""), RETRY_END);
	assert_int_equal(decide(402, -1, -1, "", ""), RETRY_END);
	assert_int_equal(decide(404, -1, -1, "", ""), RETRY_END);
	assert_int_equal(decide(429, -1, 5, "", "insufficient_quota"), RETRY_END);
	assert_int_equal(decide(429, 0, -1, "", ""), RETRY_END);
	assert_int_equal(decide(429, -1, 3600000, "limit.tokens_per_day", ""), RETRY_END);
	assert_int_equal(decide(403, 0, -1, "grant.revoked", ""), RETRY_END);
	assert_int_equal(decide(403, 0, -1, "org.blocked", ""), RETRY_END);
}

static void one_unbound_prompt_fails_alone(void **state)
{
	(void)state;
	assert_int_equal(decide(403, 0, -1, "suite.unbound", ""), RETRY_NEVER);
	assert_int_equal(decide(403, 0, -1, "suite.samples", ""), RETRY_NEVER);
	assert_int_equal(decide(400, 0, -1, "parameter.unknown", ""), RETRY_NEVER);
}

static void broken_connections_are_tried_again_but_own_faults_are_not(void **state)
{
	struct retry_facts facts = {.should_retry = -1, .retry_after_ms = -1};
	(void)state;
	facts.transport = ERR_NETWORK;
	assert_int_equal(retry_decide(&facts), RETRY_LATER);
	facts.transport = ERR_UPSTREAM;
	assert_int_equal(retry_decide(&facts), RETRY_LATER);
	facts.transport = ERR_TIMEOUT;
	assert_int_equal(retry_decide(&facts), RETRY_LATER);
	facts.transport = ERR_TOO_LARGE;
	assert_int_equal(retry_decide(&facts), RETRY_NEVER);
	facts.transport = ERR_INVALID;
	assert_int_equal(retry_decide(&facts), RETRY_NEVER);
}

static void delays_grow_and_are_bounded(void **state)
{
	(void)state;
	assert_int_equal(retry_delay_ms(1, -1, 0), RETRY_BASE_MS);
	assert_int_equal(retry_delay_ms(2, -1, 0), 2 * RETRY_BASE_MS);
	assert_int_equal(retry_delay_ms(4, -1, 0), 8 * RETRY_BASE_MS);
	assert_int_equal(retry_delay_ms(200, -1, 0), RETRY_CEILING_MS);
	assert_true(retry_delay_ms(3, -1, 0.999) >= 3 * RETRY_BASE_MS);
	assert_int_equal(retry_delay_ms(3, 7000, 0), 7000);
	assert_int_equal(retry_delay_ms(3, 0, 0), 0);
}

static void the_time_to_wait_is_read_in_all_its_forms(void **state)
{
	const int64_t now = 1793491200000; /* Sun, 01 Nov 2026 00:00:00 GMT */
	const struct bytes none = {NULL, 0};
	(void)state;
	assert_int_equal(retry_after_read(BYTES("250"), BYTES("9"), now), 250);
	assert_int_equal(retry_after_read(none, BYTES("9"), now), 9000);
	assert_int_equal(retry_after_read(none, BYTES("1.5"), now), 2000);
	assert_int_equal(retry_after_read(none, BYTES("Sun, 01 Nov 2026 00:00:30 GMT"), now),
			 30000);
	assert_int_equal(retry_after_read(none, BYTES("Sat, 31 Oct 2026 00:00:30 GMT"), now), 0);
	assert_int_equal(retry_after_read(none, none, now), -1);
	assert_int_equal(retry_after_read(none, BYTES("soon"), now), -1);
	assert_int_equal(retry_after_read(none, BYTES("-5"), now), -1);
	assert_int_equal(retry_after_read(none, BYTES("99999999999999999999"), now), -1);
}

static void a_refusal_tells_rule_clause_and_appeal(void **state)
{
	struct refusal_parts parts;
	(void)state;
	assert_true(refusal_parts_read(BYTES("no (really) (rule grant.revoked; clause D.4a; appeal "
					     "mailto:a@b.example)"),
				       &parts));
	assert_true(bytes_is(parts.rule, "grant.revoked"));
	assert_true(bytes_is(parts.clause, "D.4a"));
	assert_true(bytes_is(parts.appeal, "mailto:a@b.example"));
	assert_true(refusal_parts_read(BYTES("(rule key.unknown)"), &parts));
	assert_true(bytes_is(parts.rule, "key.unknown"));
	assert_int_equal(parts.clause.size, 0);
}

static void other_messages_have_no_rule(void **state)
{
	struct refusal_parts parts;
	(void)state;
	assert_false(refusal_parts_read(BYTES(""), &parts));
	assert_false(refusal_parts_read(BYTES(")"), &parts));
	assert_false(refusal_parts_read(BYTES("(rule )"), &parts));
	assert_false(refusal_parts_read(BYTES("overloaded (see docs)"), &parts));
	assert_false(refusal_parts_read(BYTES("(rule key.unknown) and more"), &parts));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deterministic_refusals_are_not_repeated),
		cmocka_unit_test(passing_trouble_is_tried_again),
		cmocka_unit_test(what_nothing_can_escape_ends_the_model),
		cmocka_unit_test(one_unbound_prompt_fails_alone),
		cmocka_unit_test(broken_connections_are_tried_again_but_own_faults_are_not),
		cmocka_unit_test(delays_grow_and_are_bounded),
		cmocka_unit_test(the_time_to_wait_is_read_in_all_its_forms),
		cmocka_unit_test(a_refusal_tells_rule_clause_and_appeal),
		cmocka_unit_test(other_messages_have_no_rule),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
