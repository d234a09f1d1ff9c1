/* The decision against a slow, obvious second implementation on random worlds, and its promises:
 * every refusal names a rule, a prohibition more or a permission less never admits more, and the
 * order in which clauses stand is irrelevant to what is admitted. */
#include "base/prng.h"
#include "policy/decide.h"
#include "policy/world_builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const uint8_t secret[WORLD_SECRET_SIZE] = "a secret of the gateway's own";

enum { ORGS = 2, GRANTS = 3, KEYS = 4, MODELS = 3, SUITES = 4, RUNS = 5, WORDS = 4 };

/* The documents, plain. Times are days. */
struct plain_org {
	bool blocked, rival;
};
struct plain_grant {
	unsigned org, purposes, classes, models;
	enum grant_state state;
	enum release release;
	int from, until; /* from <= day < until */
};
struct plain_key {
	unsigned grant;
	bool revoked;
	int expires;
	bool staff;
};
struct plain_suite {
	unsigned grant, leaves; /* bit w: has words w */
	enum purpose purpose;
	enum suite_class class; /* reviewed or private */
	int max_output;
	bool there;
};
struct plain_run {
	unsigned suite, used[MODELS]; /* bit w: the one sample of words w is used */
	bool there;
};
struct documents {
	struct plain_org orgs[ORGS];
	struct plain_grant grants[GRANTS];
	struct plain_key keys[KEYS];
	struct plain_suite suites[SUITES];
	struct plain_run runs[RUNS];
	bool clause_order; /* which of two clauses stands first */
};
struct question {
	unsigned key;   /* KEYS: an unknown one; KEYS + 1: none */
	unsigned model; /* MODELS: an unknown one */
	unsigned run;   /* RUNS: none; RUNS + 1: an unknown one */
	unsigned words; /* WORDS: words of no suite */
	unsigned dialect;
	enum endpoint_use endpoint;
	int day, max_output, n;
	bool logprobs, logit_bias, unknown, non_text, wants_verdict;
};

static const unsigned model_dialects[MODELS] = {0, 1, 0};

/* ---- the second implementation ---- */

#define EVALUATION (1u << PURPOSE_CAPABILITY_BENCHMARK | 1u << PURPOSE_SAFETY_EVALUATION)
#define RESEARCH (1u << PURPOSE_INCIDENT_RESEARCH)

static unsigned runs_over(const struct documents *d, unsigned suite, unsigned *last)
{
	unsigned count = 0;
	for (unsigned r = 0; r < RUNS; r++) {
		if (d->runs[r].there && d->runs[r].suite == suite) {
			*last = r;
			count++;
		}
	}
	return count;
}

/* What one suite says: RULE_NONE admits; *opens: if a run were open. */
static enum rule ask_suite(const struct documents *d, const struct question *q, unsigned s,
			   bool *opens)
{
	const struct plain_suite *suite = &d->suites[s];
	const struct plain_grant *grant = &d->grants[suite->grant];
	unsigned run = q->run;
	if (!(grant->classes & 1u << suite->class))
		return RULE_SUITE_CLASS;
	if (suite->class == SUITE_CLASS_PRIVATE && grant->release != RELEASE_V0)
		return RULE_SUITE_CLASS;
	if (!(grant->purposes & 1u << suite->purpose))
		return RULE_PURPOSE_NOT_GRANTED;
	if (q->endpoint == ENDPOINT_USE_COUNT_TOKENS)
		return RULE_NONE;
	if (q->max_output > suite->max_output)
		return RULE_SUITE_SETTINGS;
	if (q->run == RUNS) {
		unsigned count = runs_over(d, s, &run);
		*opens = count == 0;
		if (count != 1)
			return RULE_SUITE_RUN;
	}
	return d->runs[run].used[q->model] & 1u << q->words ? RULE_SUITE_SAMPLES : RULE_NONE;
}

/* A later one in this list is nearer to being admitted. */
static int nearness(enum rule rule, bool opens)
{
	static const enum rule order[] = {RULE_SUITE_UNBOUND,       RULE_SUITE_CLASS,
					  RULE_PURPOSE_NOT_GRANTED, RULE_SUITE_SETTINGS,
					  RULE_SUITE_RUN,           RULE_SUITE_SAMPLES};
	if (rule == RULE_NONE)
		return 100;
	if (opens)
		return 50;
	for (int i = 0; i < 6; i++)
		if (order[i] == rule)
			return i;
	return -1;
}

static enum rule ask_suites(const struct documents *d, const struct question *q, unsigned grant,
			    bool *opens)
{
	if (q->unknown)
		return RULE_PARAMETER_UNKNOWN;
	if (q->non_text)
		return RULE_PARAMETER_PARTS;
	if (q->n != 1)
		return RULE_PARAMETER_N;
	if (q->run == RUNS + 1 ||
	    (q->run < RUNS &&
	     (!d->runs[q->run].there || d->suites[d->runs[q->run].suite].grant != grant)))
		return RULE_SUITE_RUN;
	enum rule best = RULE_SUITE_UNBOUND;
	bool best_opens = false;
	for (unsigned s = 0; s < SUITES; s++) {
		bool suite_opens = false;
		if (!d->suites[s].there || d->suites[s].grant != grant ||
		    !(d->suites[s].leaves & 1u << q->words))
			continue;
		if (q->run < RUNS && d->runs[q->run].suite != s)
			continue;
		enum rule rule = ask_suite(d, q, s, &suite_opens);
		if (nearness(rule, suite_opens) > nearness(best, best_opens)) {
			best = rule;
			best_opens = suite_opens;
		}
	}
	*opens = best_opens;
	return best;
}

static enum rule ask_purpose(const struct documents *d, const struct question *q, unsigned g,
			     bool *opens)
{
	unsigned purposes = d->grants[g].purposes;
	if (q->endpoint == ENDPOINT_USE_MODELS || q->endpoint == ENDPOINT_USE_PARLEY)
		return RULE_NONE;
	if (!(purposes & EVALUATION) && q->run != RUNS)
		return RULE_SUITE_RUN;
	if (purposes == 1u << PURPOSE_PRODUCT)
		return RULE_NONE;
	if (purposes & EVALUATION) {
		enum rule rule = ask_suites(d, q, g, opens);
		if (rule == RULE_NONE || *opens || q->run != RUNS ||
		    !(purposes & (1u << PURPOSE_INTEROP_TEST | RESEARCH)))
			return rule;
	}
	if (purposes & RESEARCH)
		return RULE_NONE;
	if (!(purposes & 1u << PURPOSE_INTEROP_TEST))
		return RULE_PURPOSE_NONE;
	return q->max_output > 256 ? RULE_PURPOSE_CAP : RULE_NONE;
}

static enum rule ask_head(const struct documents *d, const struct question *q)
{
	if (q->key == KEYS + 1)
		return RULE_KEY_MISSING;
	if (q->key == KEYS)
		return RULE_KEY_UNKNOWN;
	const struct plain_key *key = &d->keys[q->key];
	const struct plain_grant *grant = &d->grants[key->grant];
	if (key->revoked)
		return RULE_KEY_REVOKED;
	if (q->day >= key->expires)
		return RULE_KEY_EXPIRED;
	if (d->orgs[grant->org].blocked)
		return RULE_ORG_BLOCKED;
	if (d->orgs[grant->org].rival && grant->purposes == 1u << PURPOSE_PRODUCT)
		return RULE_ORG_RIVAL;
	if (grant->state == GRANT_OFFERED)
		return RULE_GRANT_OFFERED;
	if (grant->state == GRANT_SUSPENDED)
		return RULE_GRANT_SUSPENDED;
	if (grant->state == GRANT_REVOKED)
		return RULE_GRANT_REVOKED;
	if (grant->state == GRANT_EXPIRED || q->day < grant->from || q->day >= grant->until)
		return RULE_GRANT_DATES;
	return RULE_NONE;
}

/* RULE_NONE: admitted, or it would be if a run were opened (*opens). */
static enum rule ask(const struct documents *d, const struct question *q, bool *opens)
{
	*opens = false;
	enum rule rule = ask_head(d, q);
	if (rule != RULE_NONE)
		return rule;
	unsigned g = d->keys[q->key].grant;
	const struct plain_grant *grant = &d->grants[g];
	if (q->endpoint == ENDPOINT_USE_UNKNOWN)
		return RULE_ENDPOINT_UNKNOWN;
	if (q->endpoint == ENDPOINT_USE_GENERATE || q->endpoint == ENDPOINT_USE_COUNT_TOKENS) {
		if (q->model == MODELS)
			return RULE_MODEL_UNKNOWN;
		if (!(grant->models & 1u << q->model))
			return RULE_MODEL_NOT_GRANTED;
		if (model_dialects[q->model] != q->dialect)
			return RULE_MODEL_DIALECT;
	}
	bool beyond = grant->release == RELEASE_V3 &&
		      (d->keys[q->key].staff || grant->purposes == 1u << PURPOSE_PRODUCT);
	if (q->endpoint == ENDPOINT_USE_GENERATE && !beyond) {
		if (q->logprobs)
			return RULE_PARAMETER_LOGPROBS;
		if (q->logit_bias)
			return RULE_PARAMETER_LOGIT_BIAS;
		if (q->n != 1)
			return RULE_PARAMETER_N;
	}
	rule = ask_purpose(d, q, g, opens);
	if ((rule != RULE_NONE && !*opens) || q->endpoint != ENDPOINT_USE_GENERATE)
		return rule;
	if (grant->release == RELEASE_V0 && !q->wants_verdict)
		return *opens = false, RULE_RELEASE_VERDICT;
	if (grant->release != RELEASE_V0 && q->wants_verdict)
		return *opens = false, RULE_RELEASE_LEVEL;
	return rule;
}

/* ---- random documents and questions ---- */

static unsigned pick(struct prng *prng, unsigned bound)
{
	return (unsigned)prng_below(prng, bound);
}

/* True once in `times`. */
static bool seldom(struct prng *prng, unsigned times)
{
	return pick(prng, times) == 0;
}

static unsigned random_purposes(struct prng *prng)
{
	static const unsigned sets[] = {
		1u << PURPOSE_PRODUCT,
		1u << PURPOSE_CAPABILITY_BENCHMARK,
		EVALUATION,
		EVALUATION | 1u << PURPOSE_INTEROP_TEST,
		1u << PURPOSE_SAFETY_EVALUATION | 1u << PURPOSE_INTEROP_TEST,
		1u << PURPOSE_INTEROP_TEST,
		RESEARCH,
		RESEARCH | 1u << PURPOSE_CAPABILITY_BENCHMARK,
	};
	return sets[pick(prng, sizeof(sets) / sizeof(*sets))];
}

static void random_documents(struct prng *prng, struct documents *d)
{
	*d = (struct documents){.clause_order = seldom(prng, 2)};
	for (unsigned i = 0; i < ORGS; i++)
		d->orgs[i] = (struct plain_org){seldom(prng, 8), seldom(prng, 4)};
	for (unsigned i = 0; i < GRANTS; i++) {
		int from = (int)pick(prng, 3);
		enum release release = seldom(prng, 4) ? pick(prng, RELEASE_COUNT) : RELEASE_V2;
		d->grants[i] = (struct plain_grant){pick(prng, ORGS),
						    random_purposes(prng),
						    pick(prng, 8) | pick(prng, 8),
						    pick(prng, 8) | pick(prng, 8),
						    seldom(prng, 4) ? pick(prng, GRANT_STATE_COUNT)
								    : GRANT_ACTIVE,
						    release,
						    from,
						    from + 1 + (int)pick(prng, 8)};
	}
	for (unsigned i = 0; i < KEYS; i++)
		d->keys[i] = (struct plain_key){pick(prng, GRANTS), seldom(prng, 8),
						3 + (int)pick(prng, 10), seldom(prng, 2)};
	for (unsigned i = 0; i < SUITES; i++)
		d->suites[i] = (struct plain_suite){
			pick(prng, GRANTS),
			1 + pick(prng, 15),
			seldom(prng, 2) ? PURPOSE_CAPABILITY_BENCHMARK : PURPOSE_SAFETY_EVALUATION,
			seldom(prng, 4) ? SUITE_CLASS_PRIVATE : SUITE_CLASS_REVIEWED,
			(int)pick(prng, 300),
			!seldom(prng, 4)};
	for (unsigned i = 0; i < RUNS; i++) {
		struct plain_run *run = &d->runs[i];
		run->suite = pick(prng, SUITES);
		run->there = d->suites[run->suite].there && seldom(prng, 2);
		for (unsigned m = 0; m < MODELS; m++)
			run->used[m] =
				pick(prng, 16) & pick(prng, 16) & d->suites[run->suite].leaves;
	}
}

static struct question random_question(struct prng *prng)
{
	unsigned model = seldom(prng, 8) ? MODELS : pick(prng, MODELS);
	return (struct question){
		.key = seldom(prng, 8) ? KEYS + pick(prng, 2) : pick(prng, KEYS),
		.model = model,
		.run = seldom(prng, 3) ? pick(prng, RUNS + 2) : RUNS,
		.words = pick(prng, WORDS + 1),
		.dialect =
			seldom(prng, 8) || model == MODELS ? pick(prng, 2) : model_dialects[model],
		.endpoint =
			seldom(prng, 4) ? pick(prng, ENDPOINT_USE_COUNT) : ENDPOINT_USE_GENERATE,
		.day = (int)pick(prng, 10),
		.max_output = (int)pick(prng, 400) - 20 < 0 ? -1 : (int)pick(prng, 300),
		.n = seldom(prng, 16) ? (int)pick(prng, 4) : 1,
		.logprobs = seldom(prng, 16),
		.logit_bias = seldom(prng, 16),
		.unknown = seldom(prng, 16),
		.non_text = seldom(prng, 16),
		.wants_verdict = seldom(prng, 8),
	};
}

/* ---- the same as a world ---- */

static const char *name_of(char kind, unsigned number)
{
	static const char *const names[3][6] = {
		{"g0", "g1", "g2", "g3", "g4", "g5"},
		{"s0", "s1", "s2", "s3", "s4", "s5"},
		{"r0", "r1", "r2", "r3", "r4", "r5"}
        };
	return names[kind == 'g' ? 0 : kind == 's' ? 1 : 2][number];
}

static const char *const org_names[ORGS] = {"o0", "o1"};
static const char *const model_names[MODELS] = {"m0", "m1", "m2"};
static const char *const key_names[KEYS + 1] = {"k0", "k1", "k2", "k3", "k4"};

static void ok(enum err_code code)
{
	assert_int_equal(code, ERR_OK);
}

static void words_digest(unsigned words, uint8_t digest[static SHA256_SIZE])
{
	sha256_of(&words, sizeof(words), digest);
}

static void add_clauses(struct world_builder *builder, bool order)
{
	static const enum rule rules[2] = {RULE_SUITE_UNBOUND, RULE_ORG_BLOCKED};
	static const char *const names[2] = {"A", "B"};
	for (int i = 0; i < 2; i++)
		ok(world_builder_add_clause(builder, names[i ^ order], "prohibition", "t",
					    (uint64_t)1 << rules[i ^ order], NULL));
}

static void add_grants(struct world_builder *builder, const struct documents *d)
{
	for (unsigned i = 0; i < GRANTS; i++) {
		const struct plain_grant *g = &d->grants[i];
		const char *models[MODELS];
		size_t count = 0;
		for (unsigned m = 0; m < MODELS; m++)
			if (g->models & 1u << m)
				models[count++] = model_names[m];
		struct world_grant_options options = {.id = name_of('g', i),
						      .org = org_names[g->org],
						      .state = g->state,
						      .from_ms = g->from * WORLD_DAY_MS,
						      .until_ms = g->until * WORLD_DAY_MS,
						      .purposes = g->purposes,
						      .classes = g->classes,
						      .max_leaves = LIMIT_NONE,
						      .release = g->release,
						      .limits = limits_unlimited,
						      .models = models,
						      .model_count = count};
		ok(world_builder_add_grant(builder, &options, NULL));
	}
}

static void add_keys(struct world_builder *builder, const struct documents *d)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct world_key_options options = {.id = key_names[i],
						    .grant = name_of('g', d->keys[i].grant),
						    .state = d->keys[i].revoked ? WORLD_KEY_REVOKED
										: WORLD_KEY_ACTIVE,
						    .expires_ms = d->keys[i].expires * WORLD_DAY_MS,
						    .staff = d->keys[i].staff};
		sha256_of(key_names[i], 2, options.digest);
		ok(world_builder_add_key(builder, &options, NULL));
	}
}

static struct binding_suite *make_suite(const struct plain_suite *plain, unsigned number)
{
	struct hmac_key key;
	uint8_t digests[WORDS][BINDING_DIGEST_SIZE], words[SHA256_SIZE];
	uint32_t count = 0;
	hmac_key_init(&key, secret, sizeof(secret));
	for (unsigned w = 0; w < WORDS; w++) {
		if (!(plain->leaves & 1u << w))
			continue;
		words_digest(w, words);
		binding_digest(&key, words, digests[count++]);
	}
	struct binding_suite_options options = {.id = name_of('s', number),
						.name = "s",
						.version = "1",
						.purpose = plain->purpose,
						.settings = {.max_output = plain->max_output},
						.samples = 1,
						.leaf_count = count,
						.digests = digests[0]};
	struct binding_suite *suite;
	ok(binding_suite_new(&options, &suite, NULL));
	return suite;
}

static void add_run(struct world_builder *builder, const struct documents *d, unsigned number,
		    struct binding_suite *suite)
{
	const struct plain_run *plain = &d->runs[number];
	struct binding_run_options options = {.id = name_of('r', number),
					      .grant_id =
						      name_of('g', d->suites[plain->suite].grant),
					      .suite = suite,
					      .samples = 1};
	struct binding_run *run;
	ok(binding_run_new(&options, &run, NULL));
	for (unsigned m = 0; m < MODELS; m++) {
		unsigned slot;
		uint32_t leaf = 0;
		ok(binding_run_add_model(run, model_names[m], &slot, NULL));
		for (unsigned w = 0; w < WORDS; w++) {
			if (plain->used[m] & 1u << w)
				assert_true(binding_run_restore(run, slot, leaf, 1));
			leaf += d->suites[plain->suite].leaves >> w & 1;
		}
	}
	ok(world_builder_add_run(builder, run, NULL));
	binding_run_drop(run);
}

static struct world *make_world(const struct documents *d)
{
	struct world_builder *builder = world_builder_new(NULL, secret);
	assert_non_null(builder);
	ok(world_builder_add_provider(builder, "p0", 0, 1, NULL));
	ok(world_builder_add_provider(builder, "p1", 1, 2, NULL));
	for (unsigned i = 0; i < MODELS; i++) {
		struct world_model_options options = {.name = model_names[i],
						      .provider = model_dialects[i] ? "p1" : "p0",
						      .max_output = 200};
		ok(world_builder_add_model(builder, &options, NULL));
	}
	for (unsigned i = 0; i < ORGS; i++) {
		struct world_org_options options = {.id = org_names[i],
						    .name = "",
						    .blocked = d->orgs[i].blocked,
						    .rival = d->orgs[i].rival};
		ok(world_builder_add_org(builder, &options, NULL));
	}
	add_clauses(builder, d->clause_order);
	add_grants(builder, d);
	add_keys(builder, d);
	for (unsigned s = 0; s < SUITES; s++) {
		if (!d->suites[s].there)
			continue;
		struct binding_suite *suite = make_suite(&d->suites[s], s);
		ok(world_builder_add_suite(builder, name_of('g', d->suites[s].grant), suite,
					   d->suites[s].class, NULL));
		for (unsigned r = 0; r < RUNS; r++)
			if (d->runs[r].there && d->runs[r].suite == s)
				add_run(builder, d, r, suite);
		binding_suite_drop(suite);
	}
	struct world *world;
	ok(world_build(builder, &world, NULL));
	world_builder_free(builder);
	return world;
}

static void decide(const struct world *world, const struct question *q, struct verdict *verdict)
{
	uint8_t words[SHA256_SIZE];
	words_digest(q->words, words);
	struct policy_request request = {
		.has_key = q->key <= KEYS,
		.wall_ms = q->day * WORLD_DAY_MS,
		.endpoint = q->endpoint,
		.dialect = q->dialect,
		.wants_verdict = q->wants_verdict,
		.run = q->run == RUNS ? (struct bytes){NULL, 0}
				      : bytes_from(q->run > RUNS ? "rx" : name_of('r', q->run)),
		.model = bytes_from(q->model < MODELS ? model_names[q->model] : "mx"),
		.max_output = q->max_output,
		.n = q->n,
		.logprobs = q->logprobs,
		.logit_bias = q->logit_bias,
		.non_text = q->non_text,
		.unknown_member = bytes_from(q->unknown ? "x" : ""),
		.words_digest = words
        };
	if (request.has_key)
		sha256_of(key_names[q->key], 2, request.key_digest);
	policy_decide(world, &request, verdict);
}

static bool admits(const struct world *world, const struct question *q)
{
	struct verdict verdict;
	decide(world, q, &verdict);
	return verdict.outcome != POLICY_REFUSE;
}

/* ---- the tests ---- */

#define WORLDS 4000
#define QUESTIONS 40

static void check_verdict(const struct verdict *verdict, enum rule expected, bool opens)
{
	enum policy_outcome outcome = expected == RULE_NONE ? POLICY_ADMIT
				      : opens               ? POLICY_OPEN_RUN
							    : POLICY_REFUSE;
	enum rule named;
	assert_string_equal(rule_id(verdict->rule), rule_id(expected));
	assert_int_equal(verdict->outcome, outcome);
	if (outcome != POLICY_ADMIT)
		assert_true(rule_find(bytes_from(rule_id(verdict->rule)), &named));
	if (expected == RULE_SUITE_UNBOUND)
		assert_string_equal(verdict->clause->id, "A");
	if (expected == RULE_ORG_BLOCKED)
		assert_string_equal(verdict->clause->id, "B");
}

static void equals_the_second_implementation(void **state)
{
	(void)state;
	struct prng prng = {.state = 1};
	unsigned seen[RULE_COUNT] = {0}, opened = 0;
	for (int w = 0; w < WORLDS; w++) {
		struct documents documents;
		random_documents(&prng, &documents);
		struct world *world = make_world(&documents);
		for (int i = 0; i < QUESTIONS; i++) {
			struct question question = random_question(&prng);
			struct verdict verdict;
			bool opens;
			enum rule expected = ask(&documents, &question, &opens);
			decide(world, &question, &verdict);
			check_verdict(&verdict, expected, opens);
			seen[expected]++;
			opened += opens;
		}
		world_drop(world);
	}
	/* The random worlds reach every rule that a decision can end on; every purpose that there
	 * is serves some request. */
	for (enum rule rule = RULE_KEY_MISSING; rule <= RULE_RELEASE_LEVEL; rule++)
		if (rule != RULE_KEY_BINDING && rule != RULE_SUITE_BUDGET &&
		    rule != RULE_PURPOSE_NONE)
			assert_true(seen[rule] > 0);
	assert_true(seen[RULE_NONE] > 1000);
	assert_true(opened > 100); /* runs asked for */
}

/* One prohibition more, or one permission less. */
static void restrict_documents(struct prng *prng, struct documents *d)
{
	struct plain_grant *grant = &d->grants[pick(prng, GRANTS)];
	struct plain_suite *suite = &d->suites[pick(prng, SUITES)];
	unsigned purpose = 1u << pick(prng, PURPOSE_COUNT);
	switch (pick(prng, 11)) {
	case 0:
		d->orgs[pick(prng, ORGS)].blocked = true;
		break;
	case 1:
		d->orgs[pick(prng, ORGS)].rival = true;
		break;
	case 2:
		d->keys[pick(prng, KEYS)].revoked = true;
		break;
	case 3:
		d->keys[pick(prng, KEYS)].expires--;
		break;
	case 4:
		grant->state = GRANT_SUSPENDED + pick(prng, 3);
		break;
	case 5:
		grant->models &= ~(1u << pick(prng, MODELS));
		break;
	case 6:
		grant->classes &= ~(1u << pick(prng, SUITE_CLASS_COUNT));
		break;
	case 7:
		grant->purposes =
			grant->purposes & ~purpose ? grant->purposes & ~purpose : grant->purposes;
		break;
	case 8:
		d->keys[pick(prng, KEYS)].staff = false;
		break;
	case 9:
		suite->max_output = suite->max_output / 2;
		break;
	default:
		grant->until = grant->until > grant->from + 1 ? grant->until - 1 : grant->until;
		break;
	}
}

static void less_permission_never_admits_more(void **state)
{
	(void)state;
	struct prng prng = {.state = 2};
	unsigned lost = 0;
	for (int w = 0; w < WORLDS; w++) {
		struct documents documents, restricted;
		random_documents(&prng, &documents);
		restricted = documents;
		restrict_documents(&prng, &restricted);
		restricted.clause_order = !documents.clause_order;
		struct world *before = make_world(&documents);
		struct world *after = make_world(&restricted);
		for (int i = 0; i < QUESTIONS; i++) {
			struct question question = random_question(&prng);
			bool admitted = admits(before, &question);
			bool still = admits(after, &question);
			assert_true(admitted || !still);
			lost += admitted && !still;
		}
		world_drop(before);
		world_drop(after);
	}
	assert_true(lost > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equals_the_second_implementation),
		cmocka_unit_test(less_permission_never_admits_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
