/* The model's documents as a world, and its questions as requests. */
#include "decide_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t secret[WORLD_SECRET_SIZE] = "a secret of the gateway's own";

#define THINGS_MAX 8

static void ok(enum err_code code)
{
	assert_int_equal(code, ERR_OK);
}

/* "g1" and the like. */
struct name {
	char text[4];
};

static struct name name_of(char kind, unsigned number)
{
	return (struct name){
		{kind, (char)('0' + number), '\0'}
        };
}

int model_number(const char *id)
{
	return id ? id[1] - '0' : NOT_THERE;
}

/* Different for different names, and as random: nobody asks of what it is the hash. */
static void digest_of(struct name name, uint8_t digest[static SHA256_SIZE])
{
	struct prng prng = {.state = (uint64_t)name.text[0] << 8 | (uint8_t)name.text[1]};
	for (size_t at = 0; at < SHA256_SIZE; at += sizeof(uint64_t)) {
		uint64_t word = prng_next(&prng);
		memcpy(digest + at, &word, sizeof(word));
	}
}

/* The order in which things of a kind are added. */
struct order {
	unsigned at[THINGS_MAX];
};

static struct order order_of(struct prng *shuffle, unsigned count)
{
	struct order order;
	for (unsigned i = 0; i < count; i++) {
		unsigned other = shuffle ? (unsigned)prng_below(shuffle, i + 1) : i;
		order.at[i] = order.at[other];
		order.at[other] = i;
	}
	return order;
}

/* ---- documents ---- */

static void add_clauses(struct world_builder *builder, const struct documents *d,
			struct prng *shuffle)
{
	struct order order = order_of(shuffle, CLAUSES);
	for (unsigned i = 0; i < CLAUSES; i++)
		ok(world_builder_add_clause(builder, name_of('c', order.at[i]).text, "prohibition",
					    "t", d->clauses[order.at[i]].rules, NULL));
}

static void add_models(struct world_builder *builder, const struct documents *d,
		       struct prng *shuffle)
{
	struct order order = order_of(shuffle, MODELS);
	ok(world_builder_add_provider(builder, "p0", 0, 1, NULL));
	ok(world_builder_add_provider(builder, "p1", 1, 2, NULL));
	for (unsigned i = 0; i < MODELS; i++) {
		unsigned m = order.at[i];
		struct name name = name_of('m', m);
		struct world_model_options options = {.name = name.text,
						      .provider = model_dialects[m] ? "p1" : "p0",
						      .max_output = d->model_max_output[m]};
		ok(world_builder_add_model(builder, &options, NULL));
	}
}

static void add_orgs(struct world_builder *builder, const struct documents *d, struct prng *shuffle)
{
	struct order order = order_of(shuffle, ORGS);
	for (unsigned i = 0; i < ORGS; i++) {
		const struct plain_org *org = &d->orgs[order.at[i]];
		struct name name = name_of('o', order.at[i]);
		struct limits_values limits = limits_unlimited;
		limits.max[LIMIT_RPM] = org->rpm;
		struct world_org_options options = {.id = name.text,
						    .name = "",
						    .blocked = org->blocked,
						    .rival = org->rival,
						    .limits = &limits};
		ok(world_builder_add_org(builder, &options, NULL));
	}
}

static const struct sender_network inside = {.family = SENDER_IPV4, .bits = 8, .ip = {10}};

static size_t names_of_set(char kind, unsigned set, unsigned count, struct prng *shuffle,
			   struct name *names, const char **texts)
{
	struct order order = order_of(shuffle, count);
	size_t found = 0;
	for (unsigned i = 0; i < count; i++) {
		if (!(set & 1u << order.at[i]))
			continue;
		names[found] = name_of(kind, order.at[i]);
		texts[found] = names[found].text;
		found++;
	}
	return found;
}

static void add_grant(struct world_builder *builder, const struct documents *d, unsigned number,
		      struct prng *shuffle)
{
	const struct plain_grant *g = &d->grants[number];
	struct name model_names[MODELS], clause_names[CLAUSES];
	const char *models[MODELS], *overrides[CLAUSES];
	struct name name = name_of('g', number), org = name_of('o', g->org);
	struct world_grant_options options = {.id = name.text,
					      .org = org.text,
					      .state = g->state,
					      .from_ms = g->from * WORLD_DAY_MS,
					      .until_ms = g->until * WORLD_DAY_MS,
					      .purposes = g->purposes,
					      .classes = g->classes,
					      .max_leaves = LIMIT_NONE,
					      .release = g->release,
					      .limits = limits_unlimited,
					      .models = models,
					      .overrides = overrides};
	static const uint8_t nobody[1][SHA256_SIZE] = {{9}};
	options.key_binding = (struct sender_demand){
		.kinds = g->demanded, .thumbprint_count = g->other_senders, .thumbprints = nobody};
	options.limits.max[LIMIT_RPM] = g->rpm;
	options.limits.max[LIMIT_OUTPUT_TPM] = g->output_tpm;
	options.model_count = names_of_set('m', g->models, MODELS, shuffle, model_names, models);
	options.override_count =
		names_of_set('c', g->overrides, CLAUSES, shuffle, clause_names, overrides);
	ok(world_builder_add_grant(builder, &options, NULL));
}

static void add_key(struct world_builder *builder, const struct documents *d, unsigned number)
{
	const struct plain_key *key = &d->keys[number];
	struct name name = name_of('k', number), grant = name_of('g', key->grant);
	struct limits_values limits = limits_unlimited;
	limits.max[LIMIT_RPM] = key->rpm;
	struct world_key_options options = {
		.id = name.text,
		.grant = grant.text,
		.state = key->revoked ? WORLD_KEY_REVOKED : WORLD_KEY_ACTIVE,
		.expires_ms = key->expires * WORLD_DAY_MS,
		.staff = key->staff,
		.sender = {.networks = &inside,
			   .network_count = key->inside,
			   .binding = key->binding},
		.limits = &limits
        };
	digest_of(name, options.digest);
	ok(world_builder_add_key(builder, &options, NULL));
}

/* ---- suites and runs ---- */

static void words_digest(unsigned words, uint8_t digest[static SHA256_SIZE])
{
	digest_of(name_of('w', words), digest);
}

static struct binding_suite *make_suite(const struct plain_suite *plain, unsigned number)
{
	struct hmac_key key;
	uint8_t digests[LEAVES_MAX][BINDING_DIGEST_SIZE], words[SHA256_SIZE];
	struct name name = name_of('s', number);
	struct binding_suite_options options = {.id = name.text,
						.name = "s",
						.version = "1",
						.purpose = plain->purpose,
						.settings = {.max_output = plain->max_output},
						.samples = 1,
						.leaf_count = plain->leaves,
						.digests = digests[0],
						.registered_ms = plain->registered};
	hmac_key_init(&key, secret, sizeof(secret));
	for (unsigned i = 0; i < plain->leaves; i++) {
		words_digest(plain->words[i], words);
		binding_digest(&key, words, digests[i]);
	}
	if (plain->public_root)
		options.root[0] = 1;
	if (plain->temperature >= 0) {
		options.settings.members[0] = (struct binding_setting){"temperature", "0"};
		options.settings.members[0].value[0] = (char)('0' + plain->temperature);
		options.settings.count = 1;
	}
	struct binding_suite *suite;
	ok(binding_suite_new(&options, &suite, NULL));
	return suite;
}

static void add_run(struct world_builder *builder, const struct documents *d, unsigned number,
		    struct binding_suite *suite)
{
	const struct plain_run *plain = &d->runs[number];
	struct name name = name_of('r', number);
	struct name grant = name_of('g', d->suites[plain->suite].grant);
	struct binding_run_options options = {.id = name.text,
					      .grant_id = grant.text,
					      .suite = suite,
					      .samples = plain->samples,
					      .opened_ms = number};
	struct binding_run *run;
	ok(binding_run_new(&options, &run, NULL));
	for (unsigned m = 0; m < MODELS; m++) {
		unsigned slot;
		ok(binding_run_add_model(run, name_of('m', m).text, &slot, NULL));
		for (unsigned i = 0; i < d->suites[plain->suite].leaves; i++)
			for (unsigned sample = 1; sample <= plain->used[m][i]; sample++)
				assert_true(binding_run_restore(run, slot, i, sample));
	}
	ok(world_builder_add_run(builder, run, NULL));
	binding_run_drop(run);
}

static void add_scorers(struct world_builder *builder, const struct binding_suite *suite)
{
	static const uint8_t seed[GRADING_SEED_SIZE] = {7};
	struct grading_book *book;
	ok(grading_book_new(BYTES(""), 0, seed, &book, NULL));
	ok(world_builder_set_book(builder, suite->id, book, NULL));
	grading_book_drop(book);
}

/* Runs come in the order of their numbers where nothing is shuffled. */
static void add_suites(struct world_builder *builder, const struct documents *d,
		       struct prng *shuffle)
{
	struct order order = order_of(shuffle, SUITES), runs = order_of(shuffle, RUNS);
	for (unsigned i = 0; i < SUITES; i++) {
		unsigned s = order.at[i];
		if (!d->suites[s].there)
			continue;
		struct binding_suite *suite = make_suite(&d->suites[s], s);
		ok(world_builder_add_suite(builder, name_of('g', d->suites[s].grant).text, suite,
					   d->suites[s].class, NULL));
		if (d->suites[s].scorers)
			add_scorers(builder, suite);
		for (unsigned k = 0; k < RUNS; k++)
			if (d->runs[runs.at[k]].there && d->runs[runs.at[k]].suite == s)
				add_run(builder, d, runs.at[k], suite);
		binding_suite_drop(suite);
	}
}

struct world *make_world(const struct documents *d, struct prng *shuffle)
{
	static const uint8_t public_root[SHA256_SIZE] = {1};
	struct world_builder *builder = world_builder_new(NULL, secret);
	struct world *world;
	assert_non_null(builder);
	add_models(builder, d, shuffle);
	add_orgs(builder, d, shuffle);
	add_clauses(builder, d, shuffle);
	ok(world_builder_add_public_root(builder, public_root, NULL));
	struct order grants = order_of(shuffle, GRANTS), keys = order_of(shuffle, KEYS);
	for (unsigned i = 0; i < GRANTS; i++)
		add_grant(builder, d, grants.at[i], shuffle);
	for (unsigned i = 0; i < KEYS; i++)
		add_key(builder, d, keys.at[i]);
	add_suites(builder, d, shuffle);
	ok(world_build(builder, &world, NULL));
	world_builder_free(builder);
	return world;
}

/* ---- questions ---- */

typedef void decide_function(const struct world *, const struct policy_request *, struct verdict *);

static void decide_with(decide_function *decide, const struct world *world,
			const struct question *q, struct verdict *verdict)
{
	uint8_t words[SHA256_SIZE];
	struct name run = name_of('r', q->run), model = name_of('m', q->model);
	struct binding_settings settings = {.max_output = q->max_output};
	struct policy_request request = {
		.has_key = q->key <= KEYS,
		.wall_ms = q->day * WORLD_DAY_MS,
		.endpoint = q->endpoint,
		.dialect = q->dialect,
		.wants_verdict = q->wants_verdict,
		.stream = q->stream,
		.run = bytes_from(q->run == RUNS ? "" : run.text),
		.model = bytes_from(model.text),
		.max_output = q->max_output,
		.n = q->n,
		.logprobs = q->logprobs,
		.logit_bias = q->logit_bias,
		.non_text = q->non_text,
		.unknown_member = bytes_from(q->unknown ? "x" : ""),
		.words_digest = words,
		.settings = &settings,
		.sender = {.family = SENDER_IPV4,
			   .ip = {q->outside ? 11 : 10, 1, 2, 3},
			   .proved = q->proved,
			   .thumbprint = {q->other_proof}}
        };
	if (q->temperature >= 0) {
		settings.members[0] = (struct binding_setting){"temperature", "0"};
		settings.members[0].value[0] = (char)('0' + q->temperature);
		settings.count = 1;
	}
	words_digest(q->words, words);
	if (request.has_key)
		digest_of(name_of('k', q->key), request.key_digest);
	decide(world, &request, verdict);
}

void model_decide(const struct world *world, const struct question *question,
		  struct verdict *verdict)
{
	decide_with(policy_decide, world, question, verdict);
}

void model_authenticate(const struct world *world, const struct question *question,
			struct verdict *verdict)
{
	decide_with(policy_authenticate, world, question, verdict);
}

struct answer model_answer(const struct verdict *verdict)
{
	struct answer a = {verdict->outcome, verdict->rule, NOT_THERE, 0,        0,
			   NOT_THERE,        NOT_THERE,     NOT_THERE, NOT_THERE};
	a.clause = model_number(verdict->clause ? verdict->clause->id : NULL);
	if (verdict->outcome == POLICY_REFUSE)
		return a;
	a.purpose = verdict->purpose;
	a.release = verdict->release;
	a.cap = verdict->model ? (int)verdict->output_cap : NOT_THERE;
	a.suite = model_number(verdict->suite ? verdict->suite->id : NULL);
	a.leaf = verdict->suite ? (int)verdict->pick.leaf : NOT_THERE;
	a.run = model_number(verdict->run ? verdict->run->id : NULL);
	return a;
}
