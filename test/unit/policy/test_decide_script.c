/* The decision about words that hold answers against a second, slow and obvious implementation,
 * which compares texts where the gateway has digests of them: conversations and judges over random
 * suites, runs and answers (DESIGN.md section 5, "Suite binding", kinds `scripted` and `judge`).
 *
 * PARLEY_WORLDS=N sets the number of random worlds. */
#include "base/sanitized.h"
#include "base/prng.h"
#include "policy/decide.h"
#include "policy/world_builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Digests make these worlds slow to look into under a sanitizer. */
#if SANITIZED
#define WORLDS 200
#else
#define WORLDS 3000
#endif

enum { QUESTIONS = 60, LEAVES = 5, STEPS = 3, MODELS = 2, RUNS = 2, SAMPLES = 2, SLOTS = 2 };

static const uint8_t world_secret[WORLD_SECRET_SIZE] = "a secret of the gateway's own";

/* Few texts, so that they meet; some hold what stands in templates. */
static const char *const turns[] = {"a", "b", "x:"};
static const char *const says[] = {"", "p", "q", "pq", "p;y:q", ";y:"};
static const char *const heads[] = {"x:", "x:p", "a"};
#define COUNT(list) (sizeof(list) / sizeof(*(list)))
#define NOTHING (-1)

struct plain_leaf {
	enum script_kind kind;
	unsigned steps; /* answers asked for; before each a turn of the user */
	unsigned turn[STEPS];
	unsigned head, slot[SLOTS]; /* a judge's: HEAD slot ";y:" slot TAIL */
	bool tail;
};

struct plain_run {
	bool used[MODELS][LEAVES][STEPS][SAMPLES];
	int said[MODELS][LEAVES][STEPS][SAMPLES]; /* or NOTHING */
	unsigned verdicts[MODELS][LEAVES][STEPS][SAMPLES];
};

struct plain {
	unsigned leaves;
	struct plain_leaf leaf[LEAVES];
	struct plain_run run[RUNS];
};

/* What is asked: turns of the user with what the assistant is claimed to have said between them. */
struct question {
	unsigned model, run;
	unsigned count;
	char user[STEPS][64];
	int said[STEPS];
};

static unsigned pick(struct prng *prng, size_t count)
{
	return (unsigned)prng_below(prng, count);
}

/* ---- chance ---- */

static void random_leaf(struct prng *prng, struct plain *p, unsigned number)
{
	struct plain_leaf *leaf = &p->leaf[number];
	*leaf = (struct plain_leaf){.kind = (enum script_kind)pick(prng, 3), .steps = 1};
	if (number == 0 && leaf->kind == SCRIPT_JUDGE)
		leaf->kind = SCRIPT_EXACT;
	if (leaf->kind == SCRIPT_CONVERSATION)
		leaf->steps = 2 + pick(prng, STEPS - 1);
	for (unsigned i = 0; i < STEPS; i++)
		leaf->turn[i] = pick(prng, COUNT(turns));
	leaf->head = pick(prng, COUNT(heads));
	leaf->tail = pick(prng, 2);
	for (unsigned i = 0; i < SLOTS; i++)
		do
			leaf->slot[i] = pick(prng, number ? number : 1);
		while (p->leaf[leaf->slot[i]].kind == SCRIPT_JUDGE);
}

static void random_run(struct prng *prng, struct plain_run *run)
{
	for (unsigned m = 0; m < MODELS; m++)
		for (unsigned l = 0; l < LEAVES; l++)
			for (unsigned s = 0; s < STEPS; s++)
				for (unsigned k = 0; k < SAMPLES; k++) {
					bool there = pick(prng, 3) > 0;
					run->said[m][l][s][k] =
						there ? (int)pick(prng, COUNT(says)) : NOTHING;
					run->used[m][l][s][k] = pick(prng, 3) == 0;
					run->verdicts[m][l][s][k] = pick(prng, 3);
				}
}

static void random_plain(struct prng *prng, struct plain *p)
{
	p->leaves = 1 + pick(prng, LEAVES);
	for (unsigned i = 0; i < LEAVES; i++)
		random_leaf(prng, p, i);
	for (unsigned r = 0; r < RUNS; r++)
		random_run(prng, &p->run[r]);
}

/* Near to what a leaf asks. */
static struct question random_question(struct prng *prng, const struct plain *p)
{
	struct question q = {.model = pick(prng, MODELS), .run = pick(prng, RUNS), .count = 1};
	const struct plain_leaf *leaf = &p->leaf[pick(prng, p->leaves)];
	if (leaf->kind == SCRIPT_JUDGE) {
		snprintf(q.user[0], sizeof(q.user[0]), "%s%s;y:%s%s", heads[leaf->head],
			 says[pick(prng, COUNT(says))], says[pick(prng, COUNT(says))],
			 leaf->tail != (pick(prng, 8) == 0) ? "." : "");
		return q;
	}
	q.count = 1 + pick(prng, leaf->steps);
	for (unsigned i = 0; i < q.count; i++) {
		unsigned turn = pick(prng, 10) ? leaf->turn[i] : pick(prng, COUNT(turns));
		snprintf(q.user[i], sizeof(q.user[i]), "%s", turns[turn]);
		q.said[i] = (int)pick(prng, COUNT(says));
	}
	return q;
}

/* ---- the second implementation ---- */

struct found {
	enum rule rule;
	int leaf; /* NOTHING: any of those that fit */
	unsigned step;
};

static bool asks_step(const struct plain_leaf *leaf, const struct question *q)
{
	if (leaf->kind == SCRIPT_JUDGE || leaf->steps < q->count)
		return false;
	for (unsigned i = 0; i < q->count; i++)
		if (strcmp(turns[leaf->turn[i]], q->user[i]) != 0)
			return false;
	return true;
}

static struct found ask_step(const struct plain_run *run, unsigned number, const struct question *q)
{
	struct found found = {RULE_SUITE_UNBOUND, (int)number, q->count - 1};
	for (unsigned k = 0; k < SAMPLES; k++) {
		bool mine = true;
		for (unsigned i = 0; i + 1 < q->count; i++)
			mine &= run->said[q->model][number][i][k] == q->said[i];
		if (!mine)
			continue;
		if (!run->used[q->model][number][found.step][k]) {
			found.rule = RULE_NONE;
			return found;
		}
		found.rule = RULE_SUITE_SAMPLES;
	}
	return found;
}

/* Whether the judge's prompt is this text with answers of the run in the slots, none of them in
 * both; *fresh: with answers that may have another verdict. */
static bool judges(const struct plain *p, const struct plain_run *run,
		   const struct plain_leaf *leaf, const char *text, bool *fresh)
{
	bool fits = false;
	unsigned a = leaf->slot[0], b = leaf->slot[1];
	unsigned last_a = p->leaf[a].steps - 1, last_b = p->leaf[b].steps - 1;
	*fresh = false;
	for (unsigned i = 0; i < MODELS * SAMPLES; i++)
		for (unsigned j = 0; j < MODELS * SAMPLES; j++) {
			char made[256];
			unsigned m = i / SAMPLES, k = i % SAMPLES, n = j / SAMPLES, l = j % SAMPLES;
			int first = run->said[m][a][last_a][k], second = run->said[n][b][last_b][l];
			if (first == NOTHING || second == NOTHING || (a == b && i == j))
				continue;
			snprintf(made, sizeof(made), "%s%s;y:%s%s", heads[leaf->head], says[first],
				 says[second], leaf->tail ? "." : "");
			if (strcmp(made, text) != 0)
				continue;
			fits = true;
			*fresh |= run->verdicts[m][a][last_a][k] < 2 &&
				  run->verdicts[n][b][last_b][l] < 2;
		}
	return fits;
}

/* Words as they stand come before words with answers, leaves that were registered first before
 * others. */
static struct found ask(const struct plain *p, const struct question *q)
{
	const struct plain_run *run = &p->run[q->run];
	for (unsigned i = 0; i < p->leaves; i++)
		if (asks_step(&p->leaf[i], q))
			return ask_step(run, i, q);
	struct found found = {RULE_SUITE_UNBOUND, NOTHING, 0};
	for (unsigned i = 0; i < p->leaves && q->count == 1; i++) {
		bool fresh;
		if (p->leaf[i].kind != SCRIPT_JUDGE ||
		    !judges(p, run, &p->leaf[i], q->user[0], &fresh))
			continue;
		/* Two templates may fit one text: either may be taken for it. */
		if (found.rule == RULE_SUITE_UNBOUND)
			found.rule = fresh ? RULE_NONE : RULE_SUITE_SAMPLES;
		else if (found.rule != (fresh ? RULE_NONE : RULE_SUITE_SAMPLES))
			found.rule = RULE_COUNT;
	}
	return found;
}

/* ---- the same as a world ---- */

static void ok(enum err_code code)
{
	assert_int_equal(code, ERR_OK);
}

static json_t *message(const char *role, const char *text)
{
	return *text ? json_pack("{s:s, s:[{s:s, s:s}]}", "role", role, "parts", "type", "text",
				 "text", text)
		     : json_pack("{s:s, s:[]}", "role", role, "parts");
}

static json_t *words_of(const struct plain_leaf *leaf)
{
	json_t *messages = json_array();
	if (leaf->kind == SCRIPT_JUDGE) {
		json_t *pieces = json_pack("[s, {s:i}, s, {s:i}]", heads[leaf->head], "leaf",
					   (int)leaf->slot[0], ";y:", "leaf", (int)leaf->slot[1]);
		if (leaf->tail)
			json_array_append_new(pieces, json_string("."));
		json_array_append_new(messages,
				      json_pack("{s:s, s:[{s:s, s:o}]}", "role", "user", "parts",
						"type", "template", "pieces", pieces));
	}
	for (unsigned i = 0; leaf->kind != SCRIPT_JUDGE && i < leaf->steps; i++) {
		if (i)
			json_array_append_new(messages,
					      json_pack("{s:s, s:[{s:s}]}", "role", "assistant",
							"parts", "type", "answer"));
		json_array_append_new(messages, message("user", turns[leaf->turn[i]]));
	}
	return json_pack("{s:o}", "messages", messages);
}

static struct binding_suite *make_suite(const struct plain *p, const struct hmac_key *secret)
{
	struct shape_builder builder;
	struct buf digests = BUF_INIT(65536), shape = BUF_INIT(65536);
	struct binding_suite *suite;
	shape_builder_init(&builder);
	for (unsigned i = 0; i < p->leaves; i++) {
		struct script_item item;
		struct err err = ERR_INIT;
		json_t *words = words_of(&p->leaf[i]);
		if (script_item_read(words, &item, &err) != ERR_OK)
			fail_msg("%s", err.message);
		for (unsigned step = 0; step < item.steps; step++) {
			uint8_t digest[BINDING_DIGEST_SIZE];
			binding_digest(secret, item.digests[step], digest);
			buf_append(&digests, digest, sizeof(digest));
		}
		assert_true(shape_builder_add(&builder, secret, &item));
		json_decref(words);
	}
	builder.needed = true;
	shape_builder_encode(&builder, &shape);
	struct binding_suite_options options = {.id = "s",
						.name = "s",
						.version = "1",
						.purpose = PURPOSE_CAPABILITY_BENCHMARK,
						.settings = {.max_output = 64},
						.samples = SAMPLES,
						.leaf_count = p->leaves,
						.digests = (const uint8_t *)digests.data,
						.shape = buf_bytes(&shape),
						.judge_settings = {.max_output = 16},
						.verdicts = 2};
	ok(binding_suite_new(&options, &suite, NULL));
	shape_builder_release(&builder);
	buf_release(&digests);
	buf_release(&shape);
	return suite;
}

static void fill_place(const struct hmac_key *secret, struct binding_run *run, unsigned slot,
		       uint32_t unit, unsigned sample, int text, unsigned verdicts)
{
	struct script_said said;
	struct served *place = binding_run_answer(run, slot, unit, sample);
	assert_true(script_said_of(secret, bytes_from(says[text]), NULL, &said));
	served_keep(place, &said);
	atomic_store(&place->verdicts, verdicts);
}

static void add_run(struct world_builder *builder, const struct plain *p, unsigned number,
		    struct binding_suite *suite, const struct hmac_key *secret)
{
	const struct plain_run *plain = &p->run[number];
	struct binding_run_options options = {
		.id = number ? "r1" : "r0", .grant_id = "g", .suite = suite, .samples = SAMPLES};
	struct binding_run *run;
	ok(binding_run_new(&options, &run, NULL));
	for (unsigned m = 0; m < MODELS; m++) {
		unsigned slot;
		ok(binding_run_add_model(run, m ? "m1" : "m0", &slot, NULL));
		for (unsigned l = 0; l < p->leaves; l++)
			for (unsigned s = 0; s < p->leaf[l].steps; s++)
				for (unsigned k = 0; k < SAMPLES; k++) {
					uint32_t unit = shape_unit(suite->shape, l, s);
					if (p->leaf[l].kind != SCRIPT_JUDGE &&
					    plain->used[m][l][s][k])
						binding_run_restore(run, slot, unit, k + 1);
					if (p->leaf[l].kind != SCRIPT_JUDGE &&
					    plain->said[m][l][s][k] != NOTHING)
						fill_place(secret, run, slot, unit, k + 1,
							   plain->said[m][l][s][k],
							   plain->verdicts[m][l][s][k]);
				}
	}
	ok(world_builder_add_run(builder, run, NULL));
	binding_run_drop(run);
}

static struct world *make_world(const struct plain *p)
{
	struct hmac_key secret;
	struct world *world;
	struct world_builder *builder = world_builder_new(NULL, world_secret);
	static const char *const models[] = {"m0", "m1"};
	struct world_org_options org = {.id = "o", .name = ""};
	struct world_grant_options grant = {.id = "g",
					    .org = "o",
					    .state = GRANT_ACTIVE,
					    .until_ms = WORLD_DAY_MS,
					    .purposes = 1u << PURPOSE_CAPABILITY_BENCHMARK,
					    .classes = 1u << SUITE_CLASS_REVIEWED,
					    .max_leaves = LIMIT_NONE,
					    .release = RELEASE_V2,
					    .limits = limits_unlimited,
					    .models = models,
					    .model_count = MODELS};
	struct world_key_options key = {.id = "k", .grant = "g", .expires_ms = WORLD_ALWAYS};
	hmac_key_init(&secret, world_secret, sizeof(world_secret));
	assert_non_null(builder);
	ok(world_builder_add_provider(builder, "p", 0, 1, NULL));
	for (unsigned m = 0; m < MODELS; m++) {
		struct world_model_options model = {
			.name = models[m], .provider = "p", .max_output = 8192};
		ok(world_builder_add_model(builder, &model, NULL));
	}
	ok(world_builder_add_org(builder, &org, NULL));
	ok(world_builder_add_grant(builder, &grant, NULL));
	ok(world_builder_add_key(builder, &key, NULL));
	struct binding_suite *suite = make_suite(p, &secret);
	ok(world_builder_add_suite(builder, "g", suite, SUITE_CLASS_REVIEWED, NULL));
	for (unsigned r = 0; r < RUNS; r++)
		add_run(builder, p, r, suite, &secret);
	binding_suite_drop(suite);
	ok(world_build(builder, &world, NULL));
	world_builder_free(builder);
	return world;
}

static void decide(const struct world *world, const struct question *q, struct verdict *verdict)
{
	uint8_t digest[SHA256_SIZE];
	struct script_request script;
	json_t *messages = json_array();
	for (unsigned i = 0; i < q->count; i++) {
		json_array_append_new(messages, message("user", q->user[i]));
		if (i + 1 < q->count)
			json_array_append_new(messages, message("assistant", says[q->said[i]]));
	}
	json_t *words = json_pack("{s:o}", "messages", messages);
	struct policy_request request = {.has_key = true,
					 .endpoint = ENDPOINT_USE_GENERATE,
					 .run = bytes_from(q->run ? "r1" : "r0"),
					 .model = bytes_from(q->model ? "m1" : "m0"),
					 .max_output = 16,
					 .n = 1,
					 .words_digest = digest};
	ok(json_canonical_digest(words, digest, NULL));
	if (script_request_read(world_binding_secret(world), words, 100, &script))
		request.script = &script;
	policy_decide(world, &request, verdict);
	json_decref(words);
}

/* What is admitted can be taken, is held, and given back is as it was. */
static void take_and_give_back(struct verdict *verdict)
{
	struct binding_hold hold;
	struct policy_request request = {.n = 1};
	assert_true(policy_take_sample(verdict, &request, &hold));
	assert_true(hold.run && verdict->pick.among >> (hold.sample - 1) & 1);
	assert_false(binding_hold_answer(&hold) && verdict->pick.judged_count);
	binding_release(&hold);
}

static void compare(struct prng *prng, unsigned seen[static RULE_COUNT])
{
	struct plain p;
	random_plain(prng, &p);
	struct world *world = make_world(&p);
	for (int i = 0; i < QUESTIONS; i++) {
		struct question q = random_question(prng, &p);
		struct found expected = ask(&p, &q);
		struct verdict verdict;
		decide(world, &q, &verdict);
		seen[verdict.rule] += 1;
		if (expected.rule == RULE_COUNT ? verdict.rule == RULE_SUITE_UNBOUND
						: verdict.rule != expected.rule)
			fail_msg("'%s' (%s) instead of '%s': model %u run %u, %u turns, first "
				 "\"%s\"",
				 rule_id(verdict.rule), verdict.detail,
				 expected.rule == RULE_COUNT ? "two" : rule_id(expected.rule),
				 q.model, q.run, q.count, q.user[0]);
		if (verdict.outcome != POLICY_ADMIT)
			continue;
		if (expected.leaf == NOTHING)
			assert_int_equal(p.leaf[verdict.pick.leaf].kind, SCRIPT_JUDGE);
		else
			assert_int_equal(verdict.pick.leaf, expected.leaf);
		assert_int_equal(verdict.pick.step, expected.step);
		assert_int_equal(verdict.output_cap, 16);
		take_and_give_back(&verdict);
	}
	world_drop(world);
}

static void equals_the_second_implementation(void **state)
{
	(void)state;
	const char *text = getenv("PARLEY_WORLDS");
	struct prng prng = {.state = 1};
	unsigned seen[RULE_COUNT] = {0};
	for (int worlds = text ? atoi(text) : WORLDS; worlds > 0; worlds--)
		compare(&prng, seen);
	/* Every kind of answer came up, often. */
	assert_true(seen[RULE_NONE] > WORLDS / 3 && seen[RULE_SUITE_UNBOUND] > WORLDS / 3 &&
		    seen[RULE_SUITE_SAMPLES] > WORLDS / 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(equals_the_second_implementation)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
