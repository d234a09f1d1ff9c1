/* Snapshots: what is added is found, what is wrong is refused by name, counters live on. */
#include "policy/world_builder.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const uint8_t secret[WORLD_SECRET_SIZE] = "a secret of the gateway's own";

static void digest_of(const char *text, uint8_t digest[static SHA256_SIZE])
{
	sha256_of(text, strlen(text), digest);
}

static struct world_grant_options grant_options(const char *id, const char *org)
{
	static const char *const models[] = {"north-1", "gone-1", "north-1"};
	return (struct world_grant_options){.id = id,
					    .org = org,
					    .state = GRANT_ACTIVE,
					    .from_ms = 0,
					    .until_ms = WORLD_DAY_MS,
					    .purposes = 1u << PURPOSE_CAPABILITY_BENCHMARK,
					    .classes = 1u << SUITE_CLASS_PUBLIC,
					    .max_leaves = LIMIT_NONE,
					    .release = RELEASE_V2,
					    .limits = limits_unlimited,
					    .models = models,
					    .model_count = 3};
}

static void add_base(struct world_builder *builder)
{
	struct err err = ERR_INIT;
	struct world_org_options org = {.id = "southlab", .name = "South Lab"};
	struct world_model_options model = {
		.name = "north-1", .provider = "north", .max_output = 8192};
	assert_int_equal(world_builder_add_org(builder, &org, &err), ERR_OK);
	assert_int_equal(world_builder_add_provider(builder, "north", 1, 2, &err), ERR_OK);
	assert_int_equal(world_builder_add_model(builder, &model, &err), ERR_OK);
}

static struct world *build(struct world_builder *builder)
{
	struct world *world;
	struct err err = ERR_INIT;
	assert_int_equal(world_build(builder, &world, &err), ERR_OK);
	world_builder_free(builder);
	return world;
}

static void an_empty_world_has_nothing(void **state)
{
	(void)state;
	struct world *world = build(world_builder_new(NULL, secret));
	uint8_t digest[SHA256_SIZE] = {0};
	assert_null(world_find_key(world, digest));
	assert_null(world_find_org(world, BYTES("southlab")));
	assert_null(world_find_org(world, (struct bytes){NULL, 0}));
	assert_false(world_is_public_root(world, digest));
	assert_string_equal(world_terms_version(world), "");
	assert_int_equal(world_version(world), 1);
	assert_null(world_clause_of(world, RULE_KEY_UNKNOWN, NULL));
	assert_ptr_equal(world_hold(world), world);
	world_drop(world);
	world_drop(world);
	world_drop(NULL);
}

static void what_is_added_is_found(void **state)
{
	(void)state;
	struct world_builder *builder = world_builder_new(NULL, secret);
	struct err err = ERR_INIT;
	add_base(builder);
	struct world_grant_options grant = grant_options("g", "southlab");
	struct world_key_options key = {.id = "k", .grant = "g", .expires_ms = WORLD_ALWAYS};
	digest_of("plk_1", key.digest);
	assert_int_equal(world_builder_add_grant(builder, &grant, &err), ERR_OK);
	assert_int_equal(world_builder_add_key(builder, &key, &err), ERR_OK);
	struct world *world = build(builder);
	const struct world_key *found = world_find_key(world, key.digest);
	assert_non_null(found);
	assert_string_equal(found->id, "k");
	assert_string_equal(found->grant->org->name, "South Lab");
	assert_ptr_equal(world_find_key_id(world, BYTES("k")), found);
	assert_ptr_equal(world_find_grant(world, BYTES("g")), found->grant);
	assert_null(world_find_grant(world, BYTES("gg")));
	assert_null(world_find_grant(world, BYTES("g\0")));
	assert_null(found->cells);
	/* A model that the configuration does not have is left out, one named twice is there once.
	 */
	assert_int_equal(found->grant->model_count, 1);
	assert_string_equal(found->grant->models[0]->upstream, "north-1");
	assert_int_equal(found->grant->samples_per_leaf, 1);
	world_drop(world);
}

static void wrong_documents_are_refused(void **state)
{
	(void)state;
	struct world_grant_options good = grant_options("g", "southlab"), grants[7];
	for (size_t i = 0; i < 7; i++)
		grants[i] = good;
	static const char *const clauses[] = {"D.9"};
	grants[0].org = "nobody";
	grants[1].purposes = 0;
	grants[2].purposes = 1u << PURPOSE_COUNT;
	grants[3].purposes |= 1u << PURPOSE_PRODUCT;
	grants[4].until_ms = 0;
	grants[5].samples_per_leaf = BINDING_SAMPLES_MAX + 1;
	grants[6].overrides = clauses;
	grants[6].override_count = 1;
	for (size_t i = 0; i < 7; i++) {
		struct world_builder *builder = world_builder_new(NULL, secret);
		struct err err = ERR_INIT;
		add_base(builder);
		assert_int_not_equal(world_builder_add_grant(builder, &grants[i], &err), ERR_OK);
		assert_non_null(strstr(err.message, "grant g"));
		world_builder_free(builder);
	}
}

static void ids_and_references_are_checked(void **state)
{
	(void)state;
	struct world_builder *builder = world_builder_new(NULL, secret);
	struct err err = ERR_INIT;
	add_base(builder);
	struct world_org_options org = {.id = "southlab", .name = ""};
	assert_int_equal(world_builder_add_org(builder, &org, &err), ERR_EXISTS);
	org.id = "";
	assert_int_equal(world_builder_add_org(builder, &org, &err), ERR_INVALID);
	struct world_model_options model = {.name = "m", .provider = "nowhere", .max_output = 1};
	assert_int_equal(world_builder_add_model(builder, &model, &err), ERR_NOT_FOUND);
	model = (struct world_model_options){.name = "m", .provider = "north"};
	assert_int_equal(world_builder_add_model(builder, &model, &err), ERR_INVALID);
	struct world_key_options key = {.id = "k", .grant = "g"};
	assert_int_equal(world_builder_add_key(builder, &key, &err), ERR_NOT_FOUND);
	struct world_grant_options grant = grant_options("g", "southlab");
	assert_int_equal(world_builder_add_grant(builder, &grant, &err), ERR_OK);
	assert_int_equal(world_builder_add_key(builder, &key, &err), ERR_OK);
	key.id = "k2"; /* with the same secret */
	assert_int_equal(world_builder_add_key(builder, &key, &err), ERR_EXISTS);
	assert_int_equal(world_builder_set_terms(builder, "2026-11", &err), ERR_OK);
	assert_int_equal(world_builder_set_terms(builder, "2026-12", &err), ERR_EXISTS);
	for (int i = 0; i < WORLD_CLAUSES_MAX; i++) {
		char id[16];
		snprintf(id, sizeof(id), "D.%d", i);
		assert_int_equal(world_builder_add_clause(builder, id, "duty", "t", 0, &err),
				 ERR_OK);
	}
	assert_int_equal(world_builder_add_clause(builder, "D.x", "duty", "t", 0, &err),
			 ERR_TOO_LARGE);
	world_builder_free(builder);
	world_builder_free(NULL);
}

static void a_refusal_names_its_clause(void **state)
{
	(void)state;
	struct world_builder *builder = world_builder_new(NULL, secret);
	struct err err = ERR_INIT;
	uint64_t unbound = (uint64_t)1 << RULE_SUITE_UNBOUND, rpm = (uint64_t)1 << RULE_LIMIT_RPM;
	add_base(builder);
	assert_int_equal(
		world_builder_add_clause(builder, "D.4a", "prohibition", "t", unbound | 1, &err),
		ERR_OK);
	assert_int_equal(
		world_builder_add_clause(builder, "D.5", "prohibition", "t", unbound | rpm, &err),
		ERR_OK);
	static const char *const overrides[] = {"D.4a", "D.5"};
	struct world_grant_options one = grant_options("one", "southlab");
	struct world_grant_options both = grant_options("both", "southlab");
	one.overrides = both.overrides = overrides;
	one.override_count = 1;
	both.override_count = 2;
	assert_int_equal(world_builder_add_grant(builder, &one, &err), ERR_OK);
	assert_int_equal(world_builder_add_grant(builder, &both, &err), ERR_OK);
	struct world *world = build(builder);
	const struct world_grant *grant_one = world_find_grant(world, BYTES("one"));
	const struct world_grant *grant_both = world_find_grant(world, BYTES("both"));
	assert_string_equal(world_clause_of(world, RULE_SUITE_UNBOUND, NULL)->id, "D.4a");
	assert_string_equal(world_clause_of(world, RULE_SUITE_UNBOUND, grant_one)->id, "D.5");
	assert_string_equal(world_clause_of(world, RULE_SUITE_UNBOUND, grant_both)->id, "D.4a");
	assert_string_equal(world_clause_of(world, RULE_LIMIT_RPM, grant_both)->id, "D.5");
	assert_null(world_clause_of(world, RULE_ORG_BLOCKED, NULL));
	assert_null(world_clause_of(world, RULE_NONE, NULL));
	world_drop(world);
}

static void counters_live_on(void **state)
{
	(void)state;
	struct world *worlds[2] = {0};
	struct world_grant_options grant = grant_options("g", "southlab");
	grant.limits.max[LIMIT_RPM] = 10;
	struct limits_reservation reservation = {0};
	struct limits_refusal refusal;
	struct limits_clock clock = {1000, 1000};
	for (int i = 0; i < 2; i++) {
		struct world_builder *builder = world_builder_new(i ? worlds[0] : NULL, secret);
		struct err err = ERR_INIT;
		add_base(builder);
		assert_int_equal(world_builder_add_grant(builder, &grant, &err), ERR_OK);
		worlds[i] = build(builder);
		if (i == 0) {
			const struct world_grant *g = world_grant_at(worlds[0], 0);
			struct limits_scope scope = {g->cells, &g->limits, "grant"};
			assert_true(limits_reserve(&scope, 1, &clock, (struct limits_wants){0},
						   &reservation, &refusal));
		}
		grant.limits.max[LIMIT_RPM] = 20;
	}
	world_drop(worlds[0]);
	const struct world_grant *g = world_grant_at(worlds[1], 0);
	struct limits_scope scope = {g->cells, &g->limits, "grant"};
	assert_int_equal(world_version(worlds[1]), 2);
	assert_int_equal(limits_peek(&scope, &clock, LIMIT_RPM).max, 20);
	/* A tenth of a minute is gone, whatever the limit is now. */
	assert_int_equal(limits_peek(&scope, &clock, LIMIT_RPM).remaining, 18);
	assert_true(limits_settle(&reservation, &scope, &clock, (struct limits_usage){0}));
	world_drop(worlds[1]);
}

static void suites_and_runs(void **state)
{
	(void)state;
	struct world_builder *builder = world_builder_new(NULL, secret);
	struct err err = ERR_INIT;
	uint8_t digest[BINDING_DIGEST_SIZE] = {1};
	struct binding_suite_options options = {.id = "s1",
						.name = "foxes",
						.version = "1",
						.purpose = PURPOSE_CAPABILITY_BENCHMARK,
						.samples = 1,
						.leaf_count = 1,
						.digests = digest};
	struct binding_suite *suites[2];
	struct binding_run *run, *stray;
	assert_int_equal(binding_suite_new(&options, &suites[0], &err), ERR_OK);
	options.id = "s2";
	options.root[0] = 9;
	assert_int_equal(binding_suite_new(&options, &suites[1], &err), ERR_OK);
	struct binding_run_options run_options = {
		.id = "r1", .grant_id = "g", .suite = suites[1], .samples = 1};
	assert_int_equal(binding_run_new(&run_options, &run, &err), ERR_OK);
	run_options.grant_id = "other";
	run_options.id = "r2";
	assert_int_equal(binding_run_new(&run_options, &stray, &err), ERR_OK);
	add_base(builder);
	struct world_grant_options grant = grant_options("g", "southlab");
	assert_int_equal(world_builder_add_public_root(builder, options.root, &err), ERR_OK);
	assert_int_equal(world_builder_add_public_root(builder, options.root, &err), ERR_OK);
	assert_int_equal(world_builder_add_grant(builder, &grant, &err), ERR_OK);
	assert_int_equal(world_builder_add_suite(builder, "g", suites[0], SUITE_CLASS_PUBLIC, &err),
			 ERR_OK);
	assert_int_equal(
		world_builder_add_suite(builder, "g", suites[1], SUITE_CLASS_PRIVATE, &err),
		ERR_OK);
	assert_int_equal(
		world_builder_add_suite(builder, "x", suites[0], SUITE_CLASS_PRIVATE, &err),
		ERR_EXISTS);
	assert_int_equal(world_builder_add_run(builder, run, &err), ERR_OK);
	assert_int_equal(world_builder_add_run(builder, run, &err), ERR_EXISTS);
	assert_int_equal(world_builder_add_run(builder, stray, &err), ERR_NOT_FOUND);
	struct world *world = build(builder);
	binding_suite_drop(suites[0]);
	binding_suite_drop(suites[1]);
	binding_run_drop(run);
	binding_run_drop(stray);
	const struct world_grant *g = world_find_grant(world, BYTES("g"));
	assert_string_equal(g->suites->id, "s1");
	assert_string_equal(g->suites->next->id, "s2");
	/* Public is what has a public root, and nothing else. */
	assert_int_equal(g->suites->class, SUITE_CLASS_PRIVATE);
	assert_int_equal(g->suites->next->class, SUITE_CLASS_PUBLIC);
	const struct world_run *found = world_find_run(world, BYTES("r1"));
	assert_ptr_equal(found->suite, g->suites->next);
	assert_ptr_equal(found->suite->runs, found);
	assert_int_equal(binding_run_used(found->run, found->slots[0], 0), 0);
	assert_int_equal(g->run_count, 1);
	world_drop(world);
}

#define ORGS 10000
#define KEYS 100000

static void add_crowd(struct world_builder *builder)
{
	struct err err = ERR_INIT;
	add_base(builder);
	for (int i = 0; i < ORGS; i++) {
		char org_id[32], grant_id[32];
		snprintf(org_id, sizeof(org_id), "org-%d", i);
		snprintf(grant_id, sizeof(grant_id), "grant-%d", i);
		struct world_org_options org = {.id = org_id, .name = org_id};
		struct world_grant_options grant = grant_options(grant_id, org_id);
		assert_int_equal(world_builder_add_org(builder, &org, &err), ERR_OK);
		assert_int_equal(world_builder_add_grant(builder, &grant, &err), ERR_OK);
	}
	for (int i = 0; i < KEYS; i++) {
		char id[32], grant_id[32];
		snprintf(id, sizeof(id), "key-%d", i);
		snprintf(grant_id, sizeof(grant_id), "grant-%d", i % ORGS);
		struct world_key_options key = {
			.id = id, .grant = grant_id, .expires_ms = WORLD_ALWAYS};
		digest_of(id, key.digest);
		assert_int_equal(world_builder_add_key(builder, &key, &err), ERR_OK);
	}
}

static void many_keys_are_found(void **state)
{
	(void)state;
	struct world_builder *builder = world_builder_new(NULL, secret);
	add_crowd(builder);
	struct world *world = build(builder);
	assert_int_equal(world_key_count(world), KEYS);
	for (int i = 0; i < KEYS; i++) {
		char id[32];
		uint8_t digest[SHA256_SIZE];
		snprintf(id, sizeof(id), "key-%d", i);
		digest_of(id, digest);
		const struct world_key *key = world_find_key(world, digest);
		assert_non_null(key);
		assert_string_equal(key->id, id);
		assert_ptr_equal(world_find_key_id(world, bytes_from(id)), key);
		digest[31] ^= 1;
		assert_null(world_find_key(world, digest));
	}
	world_drop(world);
}

static void *hold_and_drop(void *argument)
{
	for (int i = 0; i < 10000; i++)
		world_drop(world_hold(argument));
	world_drop(argument);
	return NULL;
}

static void references_are_counted_by_threads(void **state)
{
	(void)state;
	struct world *world = build(world_builder_new(NULL, secret));
	pthread_t threads[4];
	for (int i = 0; i < 4; i++) {
		world_hold(world);
		assert_int_equal(pthread_create(&threads[i], NULL, hold_and_drop, world), 0);
	}
	world_drop(world);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void tables_are_complete(void **state)
{
	(void)state;
	for (enum rule rule = RULE_NONE + 1; rule < RULE_COUNT; rule++) {
		enum rule found;
		assert_true(rule_find(bytes_from(rule_id(rule)), &found));
		assert_int_equal(found, rule);
		assert_true(rule_text(rule)[0]);
		assert_in_range(rule_http_status(rule), 400, 503);
		/* Waiting is only ever asked for where the status says so too. */
		int status = rule_http_status(rule);
		assert_int_equal(rule_retryable(rule),
				 status == 429 || status == 503 || status == 408);
		assert_int_equal(rule_waits_long(rule),
				 rule == RULE_LIMIT_TOKENS_PER_DAY ||
					 rule == RULE_LIMIT_TOKENS_PER_WEEK ||
					 rule == RULE_LIMIT_USD_PER_MONTH);
	}
	enum rule rule;
	enum purpose purpose;
	enum release release;
	enum suite_class class;
	enum grant_state grant_state;
	assert_false(rule_find(BYTES(""), &rule));
	for (enum purpose p = 0; p < PURPOSE_COUNT; p++)
		assert_true(purpose_find(bytes_from(purpose_id(p)), &purpose) && purpose == p);
	for (enum release r = 0; r < RELEASE_COUNT; r++)
		assert_true(release_find(bytes_from(release_id(r)), &release) && release == r);
	for (enum suite_class c = 0; c < SUITE_CLASS_COUNT; c++)
		assert_true(suite_class_find(bytes_from(suite_class_id(c)), &class) && class == c);
	for (enum grant_state s = 0; s < GRANT_STATE_COUNT; s++)
		assert_true(grant_state_find(bytes_from(grant_state_id(s)), &grant_state) &&
			    grant_state == s);
	assert_false(purpose_find(BYTES("training"), &purpose));
	assert_false(release_find(BYTES("V4"), &release));
	assert_int_equal(purpose_bounds(PURPOSE_INTEROP_TEST).max_output, 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_world_has_nothing),
		cmocka_unit_test(what_is_added_is_found),
		cmocka_unit_test(wrong_documents_are_refused),
		cmocka_unit_test(ids_and_references_are_checked),
		cmocka_unit_test(a_refusal_names_its_clause),
		cmocka_unit_test(counters_live_on),
		cmocka_unit_test(suites_and_runs),
		cmocka_unit_test(many_keys_are_found),
		cmocka_unit_test(references_are_counted_by_threads),
		cmocka_unit_test(tables_are_complete),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
