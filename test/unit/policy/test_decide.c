/* The decision by examples: each rule, in its order, with clause, appeal and how close it was. */
#include "policy/decide.h"
#include "policy/world_builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const uint8_t secret[WORLD_SECRET_SIZE] = "a secret of the gateway's own";

#define ANTHROPIC 0
#define OPENAI 1
#define NOW ((int64_t)20500 * WORLD_DAY_MS + 1000)

/* What a test may change before the world is built, and what it finds afterwards. */
struct fixture {
	struct world_org_options org;
	bool scorers; /* the suite has them */
	struct world_grant_options grant;
	struct world_key_options key;
	enum suite_class class;
	bool no_suite;
	struct binding_suite_options suite_options, older_options;
	struct binding_suite *suite, *older; /* `older` is registered first if it is there */
	struct binding_run *runs[3];
	struct world *world;
	struct policy_request request;
	struct verdict verdict;
	uint8_t words[SHA256_SIZE];
};

static const char *const models[] = {"north-1", "south-1"};
static const char *const overrides[] = {"D.4a"};

static void words_of(const char *text, uint8_t digest[static SHA256_SIZE])
{
	sha256_of(text, strlen(text), digest);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->org = (struct world_org_options){.id = "southlab", .name = "South Lab"};
	f->grant = (struct world_grant_options){.id = "south-eval-1",
						.org = "southlab",
						.state = GRANT_ACTIVE,
						.from_ms = NOW - NOW % WORLD_DAY_MS,
						.until_ms = NOW - NOW % WORLD_DAY_MS + WORLD_DAY_MS,
						.purposes = 1u << PURPOSE_CAPABILITY_BENCHMARK,
						.classes = 1u << SUITE_CLASS_REVIEWED,
						.max_leaves = LIMIT_NONE,
						.release = RELEASE_V2,
						.limits = limits_unlimited,
						.appeal = "mailto:access@northlab.example",
						.models = models,
						.model_count = 2,
						.overrides = overrides,
						.override_count = 1};
	f->key = (struct world_key_options){
		.id = "key-1", .grant = "south-eval-1", .expires_ms = WORLD_ALWAYS};
	words_of("plk_right", f->key.digest);
	f->class = SUITE_CLASS_REVIEWED;
	f->suite_options = (struct binding_suite_options){.id = "suite-1",
							  .name = "foxes",
							  .version = "1",
							  .purpose = PURPOSE_CAPABILITY_BENCHMARK,
							  .settings = {.max_output = 64},
							  .samples = 1};
	f->older_options = f->suite_options;
	f->older_options.id = "suite-0";
	f->older_options.name = "older";
	words_of("leaf 1", f->words);
	f->request = (struct policy_request){.has_key = true,
					     .wall_ms = NOW,
					     .endpoint = ENDPOINT_USE_GENERATE,
					     .dialect = ANTHROPIC,
					     .model = BYTES("north-1"),
					     .max_output = 64,
					     .n = 1,
					     .words_digest = f->words};
	words_of("plk_right", f->request.key_digest);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	world_drop(f->world);
	binding_suite_drop(f->suite);
	binding_suite_drop(f->older);
	for (int i = 0; i < 3; i++)
		binding_run_drop(f->runs[i]);
	free(f);
	return 0;
}

/* Leaves "leaf 0", "leaf 1", "leaf 2". */
static struct binding_suite *make_suite(struct binding_suite_options options)
{
	struct hmac_key key;
	uint8_t digests[3][BINDING_DIGEST_SIZE], words[SHA256_SIZE];
	struct err err = ERR_INIT;
	struct binding_suite *suite;
	hmac_key_init(&key, secret, sizeof(secret));
	for (int i = 0; i < 3; i++) {
		char text[16];
		snprintf(text, sizeof(text), "leaf %d", i);
		words_of(text, words);
		binding_digest(&key, words, digests[i]);
	}
	options.leaf_count = 3;
	options.digests = digests[0];
	assert_int_equal(binding_suite_new(&options, &suite, &err), ERR_OK);
	return suite;
}

static void make_run(struct fixture *f, int index, const char *id, struct binding_suite *suite)
{
	struct binding_run_options options = {
		.id = id, .grant_id = f->grant.id, .suite = suite, .samples = 1};
	assert_int_equal(binding_run_new(&options, &f->runs[index], NULL), ERR_OK);
}

static void ok(enum err_code code)
{
	assert_int_equal(code, ERR_OK);
}

static void add_documents(struct fixture *f, struct world_builder *builder, struct err *err)
{
	struct world_model_options north = {
		.name = "north-1", .provider = "north", .max_output = 8192};
	struct world_model_options south = {
		.name = "south-1", .provider = "south", .max_output = 8192};
	struct world_model_options other = {
		.name = "north-2", .provider = "north", .max_output = 8192};
	ok(world_builder_add_provider(builder, "north", ANTHROPIC, 1u << ANTHROPIC, err));
	ok(world_builder_add_provider(builder, "south", OPENAI, 1u << OPENAI, err));
	ok(world_builder_add_model(builder, &north, err));
	ok(world_builder_add_model(builder, &south, err));
	ok(world_builder_add_model(builder, &other, err));
	ok(world_builder_add_clause(builder, "D.4a", "prohibition", "No training.",
				    (uint64_t)1 << RULE_SUITE_UNBOUND, err));
	ok(world_builder_add_org(builder, &f->org, err));
	ok(world_builder_add_grant(builder, &f->grant, err));
	ok(world_builder_add_key(builder, &f->key, err));
}

static void add_scorers(struct fixture *f, struct world_builder *builder, struct err *err)
{
	struct grading_book *book;
	const uint8_t seed[GRADING_SEED_SIZE] = {1};
	ok(grading_book_new(BYTES("{\"kind\":\"exact\",\"target\":\"a\"}\n"), 1, seed, &book, err));
	ok(world_builder_set_book(builder, f->suite->id, book, err));
	grading_book_drop(book);
}

static void build(struct fixture *f)
{
	struct world_builder *builder = world_builder_new(f->world, secret);
	struct err err = ERR_INIT;
	struct world *previous = f->world;
	add_documents(f, builder, &err);
	if (!f->suite && !f->no_suite)
		f->suite = make_suite(f->suite_options);
	if (f->older)
		ok(world_builder_add_suite(builder, f->grant.id, f->older, f->class, &err));
	if (f->suite)
		ok(world_builder_add_suite(builder, f->grant.id, f->suite, f->class, &err));
	if (f->scorers)
		add_scorers(f, builder, &err);
	for (int i = 0; i < 3; i++)
		if (f->runs[i])
			ok(world_builder_add_run(builder, f->runs[i], &err));
	ok(world_build(builder, &f->world, &err));
	world_builder_free(builder);
	world_drop(previous);
}

static void build_with_run(struct fixture *f)
{
	f->suite = make_suite(f->suite_options);
	make_run(f, 0, "run-1", f->suite);
	build(f);
}

static enum policy_outcome decide(struct fixture *f)
{
	policy_decide(f->world, &f->request, &f->verdict);
	return f->verdict.outcome;
}

static void assert_refused(struct fixture *f, enum rule rule)
{
	assert_int_equal(decide(f), POLICY_REFUSE);
	assert_string_equal(rule_id(f->verdict.rule), rule_id(rule));
}

static void assert_message(struct fixture *f, const char *expected)
{
	struct buf out = BUF_INIT(4096);
	policy_message(&f->verdict, &out);
	assert_false(out.failed);
	assert_string_equal(out.data, expected);
	buf_release(&out);
}

/* Refused by the head alone, and the same by the whole decision. */
static void assert_refused_early(struct fixture *f, enum rule rule)
{
	build(f);
	policy_authenticate(f->world, &f->request, &f->verdict);
	assert_int_equal(f->verdict.outcome, POLICY_REFUSE);
	assert_int_equal(f->verdict.rule, rule);
	assert_refused(f, rule);
}

static void a_leaf_is_admitted(void **state)
{
	struct fixture *f = *state;
	build_with_run(f);
	policy_authenticate(f->world, &f->request, &f->verdict);
	assert_int_equal(f->verdict.outcome, POLICY_ADMIT);
	assert_int_equal(decide(f), POLICY_ADMIT);
	const struct verdict *v = &f->verdict;
	assert_int_equal(v->rule, RULE_NONE);
	assert_null(v->clause);
	assert_string_equal(v->key->id, "key-1");
	assert_string_equal(v->grant->id, "south-eval-1");
	assert_string_equal(v->model->id, "north-1");
	assert_string_equal(v->suite->id, "suite-1");
	assert_string_equal(v->run->id, "run-1");
	assert_int_equal(v->pick.leaf, 1);
	assert_int_equal(v->purpose, PURPOSE_CAPABILITY_BENCHMARK);
	assert_int_equal(v->release, RELEASE_V2);
	assert_int_equal(v->output_cap, 64);
	assert_string_equal(v->detail, "");
}

static void no_key(void **state)
{
	struct fixture *f = *state;
	f->request.has_key = false;
	assert_refused_early(f, RULE_KEY_MISSING);
	assert_string_equal(f->verdict.appeal, "");
}

static void a_wrong_key(void **state)
{
	struct fixture *f = *state;
	f->request.key_digest[0] ^= 1;
	assert_refused_early(f, RULE_KEY_UNKNOWN);
	assert_null(f->verdict.grant);
	assert_message(f, "this key is not known here (rule key.unknown)");
}

static void a_revoked_key(void **state)
{
	struct fixture *f = *state;
	f->key.state = WORLD_KEY_REVOKED;
	f->org.blocked = true;
	assert_refused_early(f, RULE_KEY_REVOKED);
	assert_message(f, "this key was revoked: key key-1 (rule key.revoked; appeal "
			  "mailto:access@northlab.example)");
}

static void an_expired_key(void **state)
{
	struct fixture *f = *state;
	f->key.expires_ms = NOW + 1;
	build(f);
	policy_authenticate(f->world, &f->request, &f->verdict);
	assert_int_equal(f->verdict.outcome, POLICY_ADMIT);
	f->request.wall_ms = NOW + 1;
	assert_refused(f, RULE_KEY_EXPIRED);
}

static void a_blocked_org(void **state)
{
	struct fixture *f = *state;
	f->org.blocked = true;
	f->org.block_reason = "confirmed resale";
	f->grant.state = GRANT_REVOKED;
	assert_refused_early(f, RULE_ORG_BLOCKED);
	assert_string_equal(f->verdict.detail, "southlab: confirmed resale");
}

static void a_rival_has_no_product_grant(void **state)
{
	struct fixture *f = *state;
	f->org.rival = true;
	f->grant.purposes = 1u << PURPOSE_PRODUCT;
	assert_refused_early(f, RULE_ORG_RIVAL);
}

static void states_of_a_grant(void **state)
{
	struct fixture *f = *state;
	static const struct {
		enum grant_state state;
		enum rule rule;
	} cases[] = {
		{GRANT_OFFERED,   RULE_GRANT_OFFERED  },
		{GRANT_SUSPENDED, RULE_GRANT_SUSPENDED},
		{GRANT_REVOKED,   RULE_GRANT_REVOKED  },
		{GRANT_EXPIRED,   RULE_GRANT_DATES    }
        };
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		f->grant.state = cases[i].state;
		assert_refused_early(f, cases[i].rule);
	}
}

static void dates_of_a_grant(void **state)
{
	struct fixture *f = *state;
	build_with_run(f);
	f->request.wall_ms = f->grant.from_ms;
	assert_int_equal(decide(f), POLICY_ADMIT);
	f->request.wall_ms = f->grant.until_ms - 1;
	assert_int_equal(decide(f), POLICY_ADMIT);
	f->request.wall_ms = f->grant.from_ms - 1;
	assert_refused(f, RULE_GRANT_DATES);
	f->request.wall_ms = f->grant.until_ms;
	assert_refused(f, RULE_GRANT_DATES);
	assert_string_equal(f->verdict.detail,
			    "grant south-eval-1 is valid from 2026-02-16 to 2026-02-16 (UTC), "
			    "today is 2026-02-17");
}

static void endpoints_and_models(void **state)
{
	struct fixture *f = *state;
	build_with_run(f);
	f->request.endpoint = ENDPOINT_USE_UNKNOWN;
	assert_refused(f, RULE_ENDPOINT_UNKNOWN);
	f->request.endpoint = ENDPOINT_USE_COUNT;
	assert_refused(f, RULE_ENDPOINT_UNKNOWN);
	f->request.endpoint = ENDPOINT_USE_GENERATE;
	f->request.model = (struct bytes){NULL, 0};
	assert_refused(f, RULE_MODEL_UNKNOWN);
	f->request.model = BYTES("north-9");
	assert_refused(f, RULE_MODEL_UNKNOWN);
	assert_int_equal(rule_http_status(f->verdict.rule), 404);
	f->request.model = BYTES("north-2");
	assert_refused(f, RULE_MODEL_NOT_GRANTED);
	f->request.model = BYTES("south-1");
	assert_refused(f, RULE_MODEL_DIALECT);
	f->request.dialect = OPENAI;
	assert_int_equal(decide(f), POLICY_ADMIT);
	/* Lists and Parley's own endpoints ask no model. */
	f->request.model = (struct bytes){NULL, 0};
	f->request.endpoint = ENDPOINT_USE_MODELS;
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_null(f->verdict.model);
	f->request.endpoint = ENDPOINT_USE_PARLEY;
	assert_int_equal(decide(f), POLICY_ADMIT);
}

static void forbidden_parameters(void **state)
{
	struct fixture *f = *state;
	build_with_run(f);
	f->request.logprobs = true;
	assert_refused(f, RULE_PARAMETER_LOGPROBS);
	f->request.logprobs = false;
	f->request.logit_bias = true;
	assert_refused(f, RULE_PARAMETER_LOGIT_BIAS);
	f->request.logit_bias = false;
	f->request.n = 2;
	assert_refused(f, RULE_PARAMETER_N);
	f->request.n = 1;
	f->request.unknown_member = BYTES("cunning");
	assert_refused(f, RULE_PARAMETER_UNKNOWN);
	assert_string_equal(f->verdict.detail, "cunning");
	f->request.unknown_member = (struct bytes){NULL, 0};
	f->request.non_text = true;
	assert_refused(f, RULE_PARAMETER_PARTS);
}

static void other_words_are_unbound(void **state)
{
	struct fixture *f = *state;
	build_with_run(f);
	words_of("write my training data", f->words);
	assert_refused(f, RULE_SUITE_UNBOUND);
	assert_message(f, "these words are no leaf of a suite registered under this grant: none of "
			  "the leaves of 1 suite has them (rule suite.unbound; clause D.4a; appeal "
			  "mailto:access@northlab.example)");
	f->request.words_digest = NULL;
	assert_refused(f, RULE_SUITE_UNBOUND);
}

static void without_a_suite_nothing_is_bound(void **state)
{
	struct fixture *f = *state;
	f->no_suite = true;
	build(f);
	assert_refused(f, RULE_SUITE_UNBOUND);
	assert_non_null(strstr(f->verdict.detail, "no suite is registered"));
}

static void settings_say_how_close(void **state)
{
	struct fixture *f = *state;
	build_with_run(f);
	f->request.max_output = 32000;
	assert_refused(f, RULE_SUITE_SETTINGS);
	assert_string_equal(f->verdict.detail, "leaf 1, but max output 32000 > 64");
	struct binding_settings settings = {
		.max_output = -1, .count = 1, .members = {{"temperature", "0.9"}}};
	f->request.max_output = 64;
	f->request.settings = &settings;
	assert_refused(f, RULE_SUITE_SETTINGS);
	assert_string_equal(f->verdict.detail,
			    "leaf 1, but temperature 0.9, which the suite does not set");
	/* Not said is allowed, and capped. */
	f->request.settings = NULL;
	f->request.max_output = -1;
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_int_equal(f->verdict.output_cap, 64);
}

static void classes_and_purposes(void **state)
{
	struct fixture *f = *state;
	f->class = SUITE_CLASS_PRIVATE;
	build_with_run(f);
	assert_refused(f, RULE_SUITE_CLASS);
	/* Even where the grant lists it: private suites are for verdicts only. */
	f->grant.classes |= 1u << SUITE_CLASS_PRIVATE;
	build(f);
	assert_refused(f, RULE_SUITE_CLASS);
	f->class = SUITE_CLASS_REVIEWED;
	f->grant.purposes = 1u << PURPOSE_SAFETY_EVALUATION;
	build(f);
	assert_refused(f, RULE_PURPOSE_NOT_GRANTED);
	assert_string_equal(f->verdict.detail, "leaf 1 of suite foxes, for capability_benchmark");
}

static void a_run_is_asked_for(void **state)
{
	struct fixture *f = *state;
	build(f);
	assert_int_equal(decide(f), POLICY_OPEN_RUN);
	assert_string_equal(f->verdict.suite->id, "suite-1");
	assert_int_equal(f->verdict.rule, RULE_SUITE_RUN);
	assert_null(f->verdict.run);
	/* Once it is open, the same request is admitted. */
	make_run(f, 0, "run-1", f->suite);
	build(f);
	assert_int_equal(decide(f), POLICY_ADMIT);
	/* Closed in the world that knew it as open: one is asked for again. */
	binding_run_close(f->runs[0]);
	assert_int_equal(decide(f), POLICY_OPEN_RUN);
}

static void a_run_is_named(void **state)
{
	struct fixture *f = *state;
	f->older = make_suite(f->older_options);
	f->suite = make_suite(f->suite_options);
	make_run(f, 0, "run-1", f->suite);
	make_run(f, 1, "run-2", f->suite);
	make_run(f, 2, "run-0", f->older);
	build(f);
	f->request.run = BYTES("run-2");
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_string_equal(f->verdict.run->id, "run-2");
	f->request.run = BYTES("run-9");
	assert_refused(f, RULE_SUITE_RUN);
	/* Unnamed, the older suite's only run counts, as long as it has samples. */
	f->request.run = (struct bytes){NULL, 0};
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_string_equal(f->verdict.run->id, "run-0");
	struct binding_hold hold;
	assert_true(policy_take_sample(&f->verdict, &f->request, &hold));
	assert_refused(f, RULE_SUITE_SAMPLES);
	binding_run_close(f->runs[0]);
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_string_equal(f->verdict.run->id, "run-2");
	binding_keep(&hold);
}

static void samples_are_used_up(void **state)
{
	struct fixture *f = *state;
	build_with_run(f);
	struct binding_hold hold, second;
	assert_int_equal(decide(f), POLICY_ADMIT);
	struct verdict late = f->verdict;
	assert_true(policy_take_sample(&f->verdict, &f->request, &hold));
	assert_int_equal(hold.sample, 1);
	/* Decided before, taken after. */
	assert_false(policy_take_sample(&late, &f->request, &second));
	assert_int_equal(late.outcome, POLICY_REFUSE);
	assert_int_equal(late.rule, RULE_SUITE_SAMPLES);
	assert_refused(f, RULE_SUITE_SAMPLES);
	assert_string_equal(f->verdict.detail,
			    "leaf 1 of suite foxes: 1 of 1 samples in run run-1");
	/* Another model has samples of its own. */
	f->request.model = BYTES("south-1");
	f->request.dialect = OPENAI;
	assert_int_equal(decide(f), POLICY_ADMIT);
	f->request.model = BYTES("north-1");
	f->request.dialect = ANTHROPIC;
	binding_release(&hold);
	assert_int_equal(decide(f), POLICY_ADMIT);
}

static void counting_tokens_is_bound_but_uses_no_sample(void **state)
{
	struct fixture *f = *state;
	build(f);
	f->request.endpoint = ENDPOINT_USE_COUNT_TOKENS;
	f->request.max_output = -1;
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_null(f->verdict.run);
	struct binding_hold hold;
	assert_true(policy_take_sample(&f->verdict, &f->request, &hold));
	assert_null(hold.run);
	words_of("anything", f->words);
	assert_refused(f, RULE_SUITE_UNBOUND);
}

static void product_binds_nothing(void **state)
{
	struct fixture *f = *state;
	f->grant.purposes = 1u << PURPOSE_PRODUCT;
	build(f);
	const struct world_grant *grant = world_grant_at(f->world, 0);
	assert_false(policy_needs_words(grant, ENDPOINT_USE_GENERATE));
	f->request.words_digest = NULL;
	f->request.max_output = -1;
	f->request.unknown_member = BYTES("new_feature");
	f->request.non_text = true;
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_int_equal(f->verdict.purpose, PURPOSE_PRODUCT);
	assert_int_equal(f->verdict.output_cap, 8192);
	f->request.logprobs = true;
	assert_refused(f, RULE_PARAMETER_LOGPROBS);
}

static void interop_is_capped(void **state)
{
	struct fixture *f = *state;
	f->grant.purposes |= 1u << PURPOSE_INTEROP_TEST;
	build_with_run(f);
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	assert_true(policy_needs_words(world_grant_at(f->world, 0), ENDPOINT_USE_GENERATE));
	/* A leaf is the suite's; anything else is a small test of the plumbing. */
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_int_equal(f->verdict.purpose, PURPOSE_CAPABILITY_BENCHMARK);
	assert_int_equal(policy_scopes(&f->verdict, scopes), 1);
	words_of("hello", f->words);
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_int_equal(f->verdict.purpose, PURPOSE_INTEROP_TEST);
	assert_null(f->verdict.suite);
	assert_int_equal(policy_scopes(&f->verdict, scopes), 2);
	assert_string_equal(scopes[1].what, "purpose");
	assert_int_equal(scopes[1].values->max[LIMIT_RPM], 60);
	f->request.max_output = 257;
	assert_refused(f, RULE_PURPOSE_CAP);
	f->request.max_output = -1;
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_int_equal(f->verdict.output_cap, 256);
	/* Who names a run wants it counted there. */
	f->request.run = BYTES("run-1");
	assert_refused(f, RULE_SUITE_UNBOUND);
}

static void release_levels(void **state)
{
	struct fixture *f = *state;
	build_with_run(f);
	f->request.wants_verdict = true;
	assert_refused(f, RULE_RELEASE_LEVEL);
	f->grant.release = RELEASE_V0;
	build(f);
	assert_refused(f, RULE_SUITE_SCORERS);
	f->scorers = true;
	build(f);
	assert_int_equal(decide(f), POLICY_ADMIT);
	f->request.stream = true;
	assert_refused(f, RULE_RELEASE_LEVEL);
	f->request.stream = false;
	f->request.wants_verdict = false;
	assert_refused(f, RULE_RELEASE_VERDICT);
	/* Beyond V2 it is for the staff that the grant names. */
	f->grant.release = RELEASE_V3;
	build(f);
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_int_equal(f->verdict.release, RELEASE_V2);
	f->request.logprobs = true;
	assert_refused(f, RULE_PARAMETER_LOGPROBS);
	f->key.staff = true;
	build(f);
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_int_equal(f->verdict.release, RELEASE_V3);
	/* n > 1 would be several samples at once. */
	f->request.n = 2;
	assert_refused(f, RULE_PARAMETER_N);
}

static void limits_refuse_with_their_rule(void **state)
{
	struct fixture *f = *state;
	struct limits_values org_limits = limits_unlimited;
	org_limits.max[LIMIT_RPM] = 600;
	f->org.limits = &org_limits;
	f->key.limits = &org_limits;
	build_with_run(f);
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	assert_int_equal(decide(f), POLICY_ADMIT);
	assert_int_equal(policy_scopes(&f->verdict, scopes), 3);
	assert_string_equal(scopes[0].what, "grant");
	assert_string_equal(scopes[1].what, "key");
	assert_string_equal(scopes[2].what, "org");
	struct limits_refusal refusal = {.limit = LIMIT_OUTPUT_TPM,
					 .what = "org",
					 .max = 80000,
					 .wanted = 1024,
					 .remaining = 12,
					 .retry_after_ms = 700};
	policy_refuse_limit(&f->verdict, &refusal);
	assert_message(f, "too many output tokens a minute: the org has 12 left of 80000 output "
			  "tokens a minute (rule limit.output_tpm; appeal "
			  "mailto:access@northlab.example)");
	refusal.retry_after_ms = -1;
	refusal.wanted = 90000;
	policy_refuse_limit(&f->verdict, &refusal);
	assert_string_equal(f->verdict.detail, "90000 at once pass the org's limit of 80000 output "
					       "tokens a minute");
	struct verdict nothing = {0};
	policy_refuse(&nothing, RULE_REQUEST_TOO_LARGE, "33554433 bytes");
	f->verdict = nothing;
	assert_message(f, "the request is too large: 33554433 bytes (rule request.too_large)");
}

static void long_names_are_cut(void **state)
{
	struct fixture *f = *state;
	static char name[100000];
	memset(name, 'm', sizeof(name));
	build_with_run(f);
	f->request.run = bytes_of(name, sizeof(name));
	assert_refused(f, RULE_SUITE_RUN);
	f->request.model = bytes_of(name, sizeof(name));
	assert_refused(f, RULE_MODEL_UNKNOWN);
	assert_int_equal(strlen(f->verdict.detail), 64);
}

/* ---- mode observe ---- */

/* Decided as in enforce, then let through: what stood in the way stays to be told. */
static void assert_observed(struct fixture *f, enum rule rule)
{
	assert_int_equal(decide(f), POLICY_REFUSE);
	assert_true(policy_observe(&f->request, &f->verdict));
	assert_int_equal(f->verdict.outcome, POLICY_ADMIT);
	assert_int_equal(f->verdict.rule, RULE_NONE);
	assert_string_equal(rule_id(f->verdict.observed), rule_id(rule));
}

static void what_policy_forbids_is_observed(void **state)
{
	struct fixture *f = *state;
	build_with_run(f);
	words_of("other words", f->words);
	assert_observed(f, RULE_SUITE_UNBOUND);
	assert_string_equal(f->verdict.observed_clause->id, "D.4a");
	assert_true(f->verdict.unbound);
	assert_null(f->verdict.suite);
	assert_null(f->verdict.run);
	assert_string_equal(f->verdict.model->id, "north-1");
	assert_int_equal(f->verdict.output_cap, 64);
	words_of("leaf 1", f->words);
	f->request.max_output = 100000; /* not the suite's settings */
	assert_observed(f, RULE_SUITE_SETTINGS);
	assert_null(f->verdict.suite);
	assert_int_equal(f->verdict.output_cap, 8192);
	f->request.model = BYTES("north-2"); /* there, and not granted */
	assert_observed(f, RULE_MODEL_NOT_GRANTED);
	assert_string_equal(f->verdict.model->id, "north-2");
	f->request.model = BYTES("north-1");
	f->request.logprobs = true;
	assert_observed(f, RULE_PARAMETER_LOGPROBS);
}

static void a_blocked_org_is_observed_from_the_head_on(void **state)
{
	struct fixture *f = *state;
	f->org.blocked = true;
	build_with_run(f);
	policy_authenticate(f->world, &f->request, &f->verdict);
	assert_int_equal(f->verdict.outcome, POLICY_REFUSE);
	assert_true(policy_observe_head(&f->verdict));
	assert_int_equal(f->verdict.outcome, POLICY_ADMIT);
	assert_int_equal(f->verdict.observed, RULE_ORG_BLOCKED);
	assert_observed(f, RULE_ORG_BLOCKED);
}

/* A limit comes after the decision, which holds: the request is still the leaf that it is. */
static void a_limit_is_observed_with_its_binding(void **state)
{
	struct fixture *f = *state;
	struct limits_refusal refusal = {.limit = LIMIT_RPM, .max = 1, .wanted = 1};
	build_with_run(f);
	assert_int_equal(decide(f), POLICY_ADMIT);
	policy_refuse_limit(&f->verdict, &refusal);
	assert_true(policy_observe(&f->request, &f->verdict));
	assert_int_equal(f->verdict.observed, RULE_LIMIT_RPM);
	assert_false(f->verdict.unbound);
	assert_string_equal(f->verdict.run->id, "run-1");
	/* The first rule is the one that would have refused. */
	words_of("other words", f->words);
	assert_observed(f, RULE_SUITE_UNBOUND);
	policy_refuse_limit(&f->verdict, &refusal);
	assert_true(policy_observe(&f->request, &f->verdict));
	assert_int_equal(f->verdict.observed, RULE_SUITE_UNBOUND);
	assert_true(f->verdict.unbound);
}

static void assert_enforced(struct fixture *f, enum rule rule)
{
	decide(f);
	assert_false(policy_observe(&f->request, &f->verdict));
	assert_int_equal(f->verdict.outcome, POLICY_REFUSE);
	assert_string_equal(rule_id(f->verdict.rule), rule_id(rule));
}

static void what_cannot_be_carried_is_refused_in_every_mode(void **state)
{
	struct fixture *f = *state;
	build_with_run(f);
	f->request.model = BYTES("nobody's");
	assert_enforced(f, RULE_MODEL_UNKNOWN);
	f->request.model = BYTES("south-1");
	assert_enforced(f, RULE_MODEL_DIALECT);
	f->request.endpoint = ENDPOINT_USE_UNKNOWN;
	assert_enforced(f, RULE_ENDPOINT_UNKNOWN);
	f->request.endpoint = ENDPOINT_USE_GENERATE;
	f->org.blocked = true; /* an earlier rule does not hide that there is no such model */
	build(f);
	f->request.model = BYTES("nobody's");
	assert_enforced(f, RULE_MODEL_UNKNOWN);
	words_of("plk_wrong", f->request.key_digest);
	assert_enforced(f, RULE_KEY_UNKNOWN);
	f->request.has_key = false;
	assert_enforced(f, RULE_KEY_MISSING);
	policy_refuse(&f->verdict, RULE_LOG_UNAVAILABLE, NULL);
	assert_false(policy_observe_head(&f->verdict));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(a_leaf_is_admitted),
		TEST(no_key),
		TEST(a_wrong_key),
		TEST(a_revoked_key),
		TEST(an_expired_key),
		TEST(a_blocked_org),
		TEST(a_rival_has_no_product_grant),
		TEST(states_of_a_grant),
		TEST(dates_of_a_grant),
		TEST(endpoints_and_models),
		TEST(forbidden_parameters),
		TEST(other_words_are_unbound),
		TEST(without_a_suite_nothing_is_bound),
		TEST(settings_say_how_close),
		TEST(classes_and_purposes),
		TEST(a_run_is_asked_for),
		TEST(a_run_is_named),
		TEST(samples_are_used_up),
		TEST(counting_tokens_is_bound_but_uses_no_sample),
		TEST(product_binds_nothing),
		TEST(interop_is_capped),
		TEST(release_levels),
		TEST(limits_refuse_with_their_rule),
		TEST(long_names_are_cut),
		TEST(what_policy_forbids_is_observed),
		TEST(a_blocked_org_is_observed_from_the_head_on),
		TEST(a_limit_is_observed_with_its_binding),
		TEST(what_cannot_be_carried_is_refused_in_every_mode),
#undef TEST
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
