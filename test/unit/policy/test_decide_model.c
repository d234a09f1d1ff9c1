/* The decision against a second implementation (decide_model.h) on random worlds, and its promises:
 * every refusal names a rule that exists, a prohibition more or a permission less never admits
 * more, and the order in which documents stand is irrelevant to the verdict.
 *
 * PARLEY_WORLDS=N sets the number of random worlds, of which the second implementation sees all
 * and the other promises, which make each world twice, a part. */
#include "base/sanitized.h"
#include "decide_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define WORLDS (SANITIZED ? 5000 : 1000000)
#define PART 40
#define QUESTIONS 8 /* asked in each world */

static int world_count(void)
{
	const char *text = getenv("PARLEY_WORLDS");
	int count = text ? atoi(text) : 0;
	return count > 0 ? count : WORLDS;
}

/* Rules that policy_decide knows and the random worlds do not reach: they need something that the
 * model has not, or are no rule of a decision about one request. */
static bool unreached(enum rule rule)
{
	return rule == RULE_SUITE_BUDGET;
}

static void print_question(const struct question *q)
{
	print_error("question: key %u model %u run %u words %u dialect %u endpoint %d day %d "
		    "max_output %d n %d temperature %d logprobs %d logit_bias %d unknown %d "
		    "non_text %d wants_verdict %d stream %d\n",
		    q->key, q->model, q->run, q->words, q->dialect, (int)q->endpoint, q->day,
		    q->max_output, q->n, q->temperature, q->logprobs, q->logit_bias, q->unknown,
		    q->non_text, q->wants_verdict, q->stream);
}

static void print_answer(const char *who, const struct answer *a)
{
	print_error("%s: outcome %d rule '%s' clause %d purpose %d release %d cap %d suite %d "
		    "leaf %d run %d\n",
		    who, (int)a->outcome, rule_id(a->rule), a->clause, (int)a->purpose,
		    (int)a->release, a->cap, a->suite, a->leaf, a->run);
}

static bool same_answer(const struct answer *a, const struct answer *b)
{
	return a->outcome == b->outcome && a->rule == b->rule && a->clause == b->clause &&
	       a->purpose == b->purpose && a->release == b->release && a->cap == b->cap &&
	       a->suite == b->suite && a->leaf == b->leaf && a->run == b->run;
}

static void assert_same(int world, const struct question *q, const char *who,
			const struct answer *expected, const struct answer *given)
{
	if (same_answer(expected, given))
		return;
	print_error("world %d\n", world);
	print_question(q);
	print_answer(who, expected);
	print_answer("policy_decide", given);
	fail();
}

/* What is true of every verdict, whatever was asked. */
static void check_verdict(const struct verdict *verdict)
{
	enum rule rule = verdict->rule, named = RULE_NONE;
	if (verdict->outcome == POLICY_ADMIT) {
		assert_int_equal(rule, RULE_NONE);
		assert_string_equal(verdict->detail, "");
		return;
	}
	assert_true(rule > RULE_NONE && rule < RULE_COUNT);
	assert_true(rule_find(bytes_from(rule_id(rule)), &named));
	assert_int_equal(named, rule);
	assert_true(rule_text(rule)[0]);
	assert_in_range(rule_http_status(rule), 400, 599);
	if (verdict->clause)
		assert_true(verdict->clause->rules >> rule & 1);
}

/* The head alone says the same as the whole: a refusal, or nothing that stands against it. */
static void check_head(const struct world *world, const struct question *q,
		       const struct verdict *whole)
{
	struct verdict head;
	model_authenticate(world, q, &head);
	if (head.outcome == POLICY_REFUSE)
		assert_int_equal(whole->rule, head.rule);
	else
		assert_true(whole->rule == RULE_NONE || whole->rule > RULE_GRANT_DATES);
}

static void equals_the_second_implementation(void **state)
{
	(void)state;
	struct prng prng = {.state = 1};
	unsigned seen[RULE_COUNT] = {0}, opened = 0;
	struct documents documents;
	for (int w = world_count(); w > 0; w--) {
		random_documents(&prng, &documents);
		struct world *world = make_world(&documents, NULL);
		for (int i = 0; i < QUESTIONS; i++) {
			struct question question = random_question(&prng);
			struct answer expected = answer(&documents, &question);
			struct verdict verdict;
			model_decide(world, &question, &verdict);
			struct answer given = model_answer(&verdict);
			assert_same(w, &question, "second implementation", &expected, &given);
			check_verdict(&verdict);
			check_head(world, &question, &verdict);
			seen[expected.rule]++;
			opened += expected.outcome == POLICY_OPEN_RUN;
		}
		world_drop(world);
	}
	assert_true(opened > 0 && seen[RULE_NONE] > 100);
	/* The random worlds reach every rule that a decision can end on, where there are enough. */
	for (enum rule rule = RULE_KEY_MISSING; rule < RULE_LIMIT_RPM && world_count() >= 100000;
	     rule++)
		if (!unreached(rule) && seen[rule] == 0)
			fail_msg("no random world ends on rule %s", rule_id(rule));
}

/* ---- order ---- */

static void order_is_irrelevant(void **state)
{
	(void)state;
	struct prng prng = {.state = 2}, shuffle = {.state = 3};
	struct documents documents;
	for (int w = world_count() / PART; w > 0; w--) {
		random_documents(&prng, &documents);
		struct world *world = make_world(&documents, NULL);
		struct world *shuffled = make_world(&documents, &shuffle);
		for (int i = 0; i < QUESTIONS; i++) {
			struct question question = random_question(&prng);
			struct verdict one, other;
			model_decide(world, &question, &one);
			model_decide(shuffled, &question, &other);
			struct answer in_order = model_answer(&one);
			struct answer in_another = model_answer(&other);
			/* Of several clauses that enforce the rule the first is named. */
			assert_int_equal(in_order.clause == NOT_THERE,
					 in_another.clause == NOT_THERE);
			in_another.clause = in_order.clause;
			assert_same(w, &question, "in another order", &in_another, &in_order);
		}
		world_drop(world);
		world_drop(shuffled);
	}
}

/* ---- less permission ---- */

/* What the whole says, limits included: they are asked of fresh counters, for a request that wants
 * more than the lowest limits have. */
static struct answer answer_with_limits(const struct world *world, const struct question *q)
{
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	struct limits_reservation reservation = {0};
	struct limits_refusal refusal;
	struct limits_clock clock = {.now_ns = 1000000000, .wall_ms = q->day * WORLD_DAY_MS};
	struct verdict verdict;
	model_decide(world, q, &verdict);
	if (verdict.outcome != POLICY_REFUSE) {
		unsigned count = policy_scopes(&verdict, scopes);
		struct limits_wants wants = {.input = 10, .output = 100};
		if (limits_reserve(scopes, count, &clock, wants, &reservation, &refusal))
			limits_cancel(&reservation, scopes, &clock);
		else
			policy_refuse_limit(&verdict, &refusal);
	}
	check_verdict(&verdict);
	return model_answer(&verdict);
}

/* Nothing is admitted that was not, and no more leaves. Of a request that asks for a verdict only,
 * a lower release level may admit what a higher one refuses: nothing of the answer leaves. */
static bool admits_more(const struct question *q, const struct answer *before,
			const struct answer *after)
{
	if (after->outcome == POLICY_REFUSE)
		return false;
	if (after->release == RELEASE_V0 && q->wants_verdict && before->outcome == POLICY_REFUSE)
		return before->rule != RULE_RELEASE_LEVEL && before->rule != RULE_SUITE_CLASS;
	return before->outcome == POLICY_REFUSE || after->release > before->release;
}

/* Every second question is, if a few tries find one, what the unrestricted documents admit. */
static struct question worth_asking(struct prng *prng, const struct documents *documents, int i)
{
	struct question question = random_question(prng);
	for (int tries = 0; i % 2 && tries < 32; tries++) {
		if (answer(documents, &question).outcome != POLICY_REFUSE)
			break;
		question = random_question(prng);
	}
	return question;
}

static unsigned compare_restricted(int w, const char *name, struct prng *prng,
				   const struct documents *documents,
				   const struct documents *restricted)
{
	unsigned lost = 0;
	struct world *world = make_world(documents, NULL);
	struct world *less = make_world(restricted, prng);
	for (int i = 0; i < QUESTIONS; i++) {
		struct question question = worth_asking(prng, documents, i);
		struct answer before = answer_with_limits(world, &question);
		struct answer after = answer_with_limits(less, &question);
		if (admits_more(&question, &before, &after)) {
			print_error("world %d: %s\n", w, name);
			print_question(&question);
			print_answer("before", &before);
			print_answer("after", &after);
			fail();
		}
		lost += before.outcome != POLICY_REFUSE &&
			(after.outcome == POLICY_REFUSE || after.release < before.release ||
			 after.cap < before.cap);
	}
	world_drop(world);
	world_drop(less);
	return lost;
}

static void less_permission_never_admits_more(void **state)
{
	(void)state;
	struct prng prng = {.state = 4};
	unsigned lost[64] = {0};
	struct documents documents, restricted;
	assert_true(restriction_count <= 64);
	/* Each kind needs many. */
	for (int w = world_count() / 10; w > 0; w--) {
		size_t kind = prng_below(&prng, restriction_count);
		random_documents(&prng, &documents);
		restricted = documents;
		if (restrictions[kind].apply(&prng, &restricted))
			lost[kind] += compare_restricted(w, restrictions[kind].name, &prng,
							 &documents, &restricted);
	}
	/* Each kind took something away somewhere, where there were worlds enough. */
	for (size_t kind = 0; kind < restriction_count && world_count() >= 1000000; kind++)
		if (lost[kind] == 0)
			fail_msg("to %s changed no answer", restrictions[kind].name);
}

/* Only what names the run notices that it was closed, and is refused. (What names none may have
 * another one opened.) */
static void closing_a_run(void **state)
{
	(void)state;
	struct prng prng = {.state = 5};
	struct documents documents;
	unsigned lost = 0;
	for (int w = world_count() / PART; w > 0; w--) {
		unsigned closed = (unsigned)prng_below(&prng, RUNS);
		random_documents(&prng, &documents);
		struct world *world = make_world(&documents, NULL);
		documents.runs[closed].there = false;
		struct world *less = make_world(&documents, NULL);
		for (int i = 0; i < QUESTIONS; i++) {
			struct question question = random_question(&prng);
			question.run = (unsigned)prng_below(&prng, RUNS);
			struct answer before = answer_with_limits(world, &question);
			struct answer after = answer_with_limits(less, &question);
			bool admitted = before.outcome != POLICY_REFUSE;
			if (question.run != closed)
				assert_same(w, &question, "before", &before, &after);
			else
				assert_true(admitted || after.outcome == POLICY_REFUSE);
			lost += admitted && after.outcome == POLICY_REFUSE;
		}
		world_drop(world);
		world_drop(less);
	}
	assert_true(lost > 0 || world_count() < 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equals_the_second_implementation),
		cmocka_unit_test(order_is_irrelevant),
		cmocka_unit_test(less_permission_never_admits_more),
		cmocka_unit_test(closing_a_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
