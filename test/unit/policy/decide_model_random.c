/* Random documents, questions and restrictions. What would refuse everything is drawn seldom, so
 * that most questions come far. */
#include "decide_model.h"

const unsigned model_dialects[MODELS] = {0, 1, 0};

static unsigned pick(struct prng *prng, unsigned bound)
{
	return (unsigned)prng_below(prng, bound);
}

/* True once in `times`. */
static bool seldom(struct prng *prng, unsigned times)
{
	return pick(prng, times) == 0;
}

/* ---- documents ---- */

static unsigned random_purposes(struct prng *prng)
{
	enum {
		benchmark = 1u << PURPOSE_CAPABILITY_BENCHMARK,
		safety = 1u << PURPOSE_SAFETY_EVALUATION,
		interop = 1u << PURPOSE_INTEROP_TEST,
		research = 1u << PURPOSE_INCIDENT_RESEARCH,
	};
	static const unsigned sets[] = {
		1u << PURPOSE_PRODUCT, benchmark, benchmark | safety, benchmark | safety | interop,
		safety | interop,      interop,   research,           research | benchmark,
	};
	return sets[pick(prng, sizeof(sets) / sizeof(*sets))];
}

static int random_limit(struct prng *prng, unsigned bound)
{
	return seldom(prng, 4) ? (int)pick(prng, bound) : (int)LIMIT_NONE;
}

static void random_grant(struct prng *prng, struct plain_grant *grant)
{
	*grant = (struct plain_grant){
		.org = pick(prng, ORGS),
		.purposes = random_purposes(prng),
		.classes = pick(prng, 8) | pick(prng, 8),
		.models = pick(prng, 8) | pick(prng, 8),
		.overrides = pick(prng, 1u << CLAUSES),
		.state = seldom(prng, 4) ? pick(prng, GRANT_STATE_COUNT) : GRANT_ACTIVE,
		.release = seldom(prng, 4) ? pick(prng, RELEASE_COUNT) : RELEASE_V2,
		.from = (int)pick(prng, 3),
		.rpm = random_limit(prng, 3),
		.output_tpm = random_limit(prng, 400),
		.demanded = seldom(prng, 6) ? (1 + pick(prng, 3)) * 2 : 0};
	grant->other_senders = grant->demanded && seldom(prng, 4);
	grant->until = grant->from + 1 + (int)pick(prng, 8);
}

static void random_suite(struct prng *prng, struct plain_suite *suite, int registered)
{
	*suite = (struct plain_suite){.there = !seldom(prng, 4),
				      .grant = pick(prng, GRANTS),
				      .registered = registered,
				      .leaves = 1 + pick(prng, LEAVES_MAX),
				      .purpose = seldom(prng, 2) ? PURPOSE_CAPABILITY_BENCHMARK
								 : PURPOSE_SAFETY_EVALUATION,
				      .class = seldom(prng, 4) ? SUITE_CLASS_PRIVATE
							       : SUITE_CLASS_REVIEWED,
				      .scorers = !seldom(prng, 8),
				      .public_root = seldom(prng, 4),
				      .max_output = seldom(prng, 8) ? -1 : (int)pick(prng, 300),
				      .temperature = (int)pick(prng, 3) - 1};
	for (unsigned i = 0; i < suite->leaves; i++)
		suite->words[i] = pick(prng, WORDS);
}

static void random_run(struct prng *prng, const struct documents *d, struct plain_run *run)
{
	*run = (struct plain_run){.suite = pick(prng, SUITES),
				  .samples = 1 + pick(prng, SAMPLES_MAX)};
	run->there = d->suites[run->suite].there && seldom(prng, 2);
	for (unsigned m = 0; m < MODELS; m++)
		for (unsigned i = 0; i < d->suites[run->suite].leaves; i++)
			run->used[m][i] = seldom(prng, 3) ? pick(prng, run->samples + 1) : 0;
}

/* Which ages the suites have: a random order. */
static void random_ages(struct prng *prng, int ages[static SUITES])
{
	for (int i = 0; i < SUITES; i++) {
		int other = (int)pick(prng, (unsigned)i + 1);
		ages[i] = ages[other];
		ages[other] = i;
	}
}

void random_documents(struct prng *prng, struct documents *d)
{
	static const enum rule rules[] = {RULE_SUITE_UNBOUND,     RULE_ORG_BLOCKED,
					  RULE_RELEASE_VERDICT,   RULE_SUITE_SAMPLES,
					  RULE_MODEL_NOT_GRANTED, RULE_KEY_UNKNOWN};
	int ages[SUITES] = {0};
	for (unsigned i = 0; i < ORGS; i++)
		d->orgs[i] =
			(struct plain_org){seldom(prng, 8), seldom(prng, 4), random_limit(prng, 3)};
	for (unsigned i = 0; i < GRANTS; i++)
		random_grant(prng, &d->grants[i]);
	for (unsigned i = 0; i < KEYS; i++)
		d->keys[i] = (struct plain_key){
			.grant = pick(prng, GRANTS),
			.revoked = seldom(prng, 8),
			.staff = seldom(prng, 2),
			.inside = seldom(prng, 6),
			.binding = seldom(prng, 6) ? pick(prng, SENDER_BINDING_COUNT)
						   : SENDER_BINDING_NONE,
			.expires = 3 + (int)pick(prng, 10),
			.rpm = random_limit(prng, 3)};
	random_ages(prng, ages);
	for (unsigned i = 0; i < SUITES; i++)
		random_suite(prng, &d->suites[i], ages[i]);
	for (unsigned i = 0; i < RUNS; i++)
		random_run(prng, d, &d->runs[i]);
	for (unsigned i = 0; i < CLAUSES; i++)
		d->clauses[i].rules =
			(uint64_t)1 << rules[pick(prng, 6)] | (uint64_t)1 << rules[pick(prng, 6)];
	for (unsigned i = 0; i < MODELS; i++)
		d->model_max_output[i] = 1 + (int)pick(prng, 300);
}

struct question random_question(struct prng *prng)
{
	unsigned model = seldom(prng, 8) ? MODELS : pick(prng, MODELS);
	bool own_dialect = model < MODELS && !seldom(prng, 8);
	struct question q = {
		.key = seldom(prng, 8) ? KEYS + pick(prng, 2) : pick(prng, KEYS),
		.model = model,
		.run = seldom(prng, 3) ? pick(prng, RUNS + 2) : RUNS,
		.words = pick(prng, WORDS + 1),
		.dialect = own_dialect ? model_dialects[model] : pick(prng, 2),
		.endpoint =
			seldom(prng, 4) ? pick(prng, ENDPOINT_USE_COUNT) : ENDPOINT_USE_GENERATE,
		.day = (int)pick(prng, 10),
		.max_output = seldom(prng, 8) ? -1 : (int)pick(prng, 300),
		.n = seldom(prng, 16) ? (int)pick(prng, 4) : 1,
		.temperature = seldom(prng, 2) ? -1 : (int)pick(prng, 2),
		.logprobs = seldom(prng, 16),
		.logit_bias = seldom(prng, 16),
		.unknown = seldom(prng, 16),
		.non_text = seldom(prng, 16),
		.wants_verdict = seldom(prng, 8),
		.stream = seldom(prng, 8),
		.outside = seldom(prng, 4),
		.proved = pick(prng, SENDER_BINDING_COUNT),
		.other_proof = seldom(prng, 4),
	};
	return q;
}

/* ---- restrictions ---- */

static bool set(bool *flag)
{
	bool changes = !*flag;
	*flag = true;
	return changes;
}

static bool clear_bit(unsigned *bits, unsigned bit)
{
	bool changes = *bits & bit;
	*bits &= ~bit;
	return changes;
}

/* A limit or cap that is there goes down; one that is not comes. */
static bool lower_limit(struct prng *prng, int *limit, unsigned bound)
{
	if (*limit == 0)
		return false;
	*limit = (int)pick(prng, *limit > 0 ? (unsigned)*limit : bound);
	return true;
}

static bool block_org(struct prng *prng, struct documents *d)
{
	return set(&d->orgs[pick(prng, ORGS)].blocked);
}

static bool call_rival(struct prng *prng, struct documents *d)
{
	return set(&d->orgs[pick(prng, ORGS)].rival);
}

static bool revoke_key(struct prng *prng, struct documents *d)
{
	return set(&d->keys[pick(prng, KEYS)].revoked);
}

static bool keep_inside(struct prng *prng, struct documents *d)
{
	return set(&d->keys[pick(prng, KEYS)].inside);
}

static bool bind_key(struct prng *prng, struct documents *d)
{
	struct plain_key *key = &d->keys[pick(prng, KEYS)];
	/* Where the grant demands it, it is no prohibition. */
	if (key->binding != SENDER_BINDING_NONE || d->grants[key->grant].demanded)
		return false;
	key->binding = SENDER_BINDING_SIGNATURE + pick(prng, SENDER_BINDING_COUNT - 1);
	return true;
}

static bool demand_bound_keys(struct prng *prng, struct documents *d)
{
	struct plain_grant *grant = &d->grants[pick(prng, GRANTS)];
	if (grant->demanded)
		return set(&grant->other_senders);
	grant->demanded = (1 + pick(prng, 3)) * 2;
	return true;
}

static bool name_no_staff(struct prng *prng, struct documents *d)
{
	struct plain_key *key = &d->keys[pick(prng, KEYS)];
	bool changes = key->staff;
	key->staff = false;
	return changes;
}

static bool shorten_key(struct prng *prng, struct documents *d)
{
	d->keys[pick(prng, KEYS)].expires--;
	return true;
}

static bool take_grant(struct documents *d, struct prng *prng, enum grant_state state)
{
	struct plain_grant *grant = &d->grants[pick(prng, GRANTS)];
	bool changes = grant->state == GRANT_ACTIVE;
	grant->state = changes ? state : grant->state;
	return changes;
}

static bool suspend_grant(struct prng *prng, struct documents *d)
{
	return take_grant(d, prng, GRANT_SUSPENDED);
}

static bool revoke_grant(struct prng *prng, struct documents *d)
{
	return take_grant(d, prng, GRANT_REVOKED);
}

static bool expire_grant(struct prng *prng, struct documents *d)
{
	return take_grant(d, prng, GRANT_EXPIRED);
}

static bool unsign_grant(struct prng *prng, struct documents *d)
{
	return take_grant(d, prng, GRANT_OFFERED);
}

static bool remove_last_day(struct prng *prng, struct documents *d)
{
	struct plain_grant *grant = &d->grants[pick(prng, GRANTS)];
	bool changes = grant->until > grant->from + 1;
	grant->until -= changes;
	return changes;
}

static bool remove_first_day(struct prng *prng, struct documents *d)
{
	struct plain_grant *grant = &d->grants[pick(prng, GRANTS)];
	bool changes = grant->until > grant->from + 1;
	grant->from += changes;
	return changes;
}

static bool remove_model(struct prng *prng, struct documents *d)
{
	return clear_bit(&d->grants[pick(prng, GRANTS)].models, 1u << pick(prng, MODELS));
}

static bool remove_class(struct prng *prng, struct documents *d)
{
	return clear_bit(&d->grants[pick(prng, GRANTS)].classes,
			 1u << pick(prng, SUITE_CLASS_COUNT));
}

static bool remove_purpose(struct prng *prng, struct documents *d)
{
	struct plain_grant *grant = &d->grants[pick(prng, GRANTS)];
	unsigned purpose = 1u << pick(prng, PURPOSE_COUNT);
	/* A grant without a purpose is none. */
	return (grant->purposes & ~purpose) && clear_bit(&grant->purposes, purpose);
}

static bool lower_release(struct prng *prng, struct documents *d)
{
	struct plain_grant *grant = &d->grants[pick(prng, GRANTS)];
	bool changes = grant->release > RELEASE_V0;
	grant->release = changes ? pick(prng, grant->release) : RELEASE_V0;
	return changes;
}

static bool lower_suite_cap(struct prng *prng, struct documents *d)
{
	return lower_limit(prng, &d->suites[pick(prng, SUITES)].max_output, 300);
}

static bool lower_model_cap(struct prng *prng, struct documents *d)
{
	int *cap = &d->model_max_output[pick(prng, MODELS)];
	bool changes = *cap > 1;
	*cap = 1 + (int)pick(prng, (unsigned)*cap);
	return changes;
}

/* Its words are no leaf of the suite any more; the order of the others stays. */
static bool remove_leaf(struct prng *prng, struct documents *d)
{
	unsigned s = pick(prng, SUITES), leaf = pick(prng, LEAVES_MAX);
	struct plain_suite *suite = &d->suites[s];
	if (suite->leaves == 1 || leaf >= suite->leaves)
		return false;
	for (unsigned i = 0; i < suite->leaves; i++)
		if (suite->words[i] == suite->words[leaf] && i != leaf)
			return false;
	suite->leaves--;
	for (unsigned i = leaf; i < suite->leaves; i++) {
		suite->words[i] = suite->words[i + 1];
		for (unsigned r = 0; r < RUNS; r++)
			for (unsigned m = 0; m < MODELS && d->runs[r].suite == s; m++)
				d->runs[r].used[m][i] = d->runs[r].used[m][i + 1];
	}
	return true;
}

static bool remove_suite(struct prng *prng, struct documents *d)
{
	unsigned s = pick(prng, SUITES);
	bool changes = d->suites[s].there;
	d->suites[s].there = false;
	for (unsigned r = 0; r < RUNS; r++)
		if (d->runs[r].suite == s)
			d->runs[r].there = false;
	return changes;
}

static bool use_samples(struct prng *prng, struct documents *d)
{
	unsigned first = pick(prng, RUNS), next = 0;
	while (next < RUNS && !d->runs[(first + next) % RUNS].there)
		next++;
	struct plain_run *run = &d->runs[(first + next) % RUNS];
	unsigned *used = &run->used[pick(prng, MODELS)][pick(prng, d->suites[run->suite].leaves)];
	bool changes = run->there && *used < run->samples;
	*used = changes ? run->samples : *used;
	return changes;
}

static bool lower_grant_rpm(struct prng *prng, struct documents *d)
{
	return lower_limit(prng, &d->grants[pick(prng, GRANTS)].rpm, 3);
}

static bool lower_grant_output(struct prng *prng, struct documents *d)
{
	return lower_limit(prng, &d->grants[pick(prng, GRANTS)].output_tpm, 400);
}

static bool lower_org_rpm(struct prng *prng, struct documents *d)
{
	return lower_limit(prng, &d->orgs[pick(prng, ORGS)].rpm, 3);
}

static bool lower_key_rpm(struct prng *prng, struct documents *d)
{
	return lower_limit(prng, &d->keys[pick(prng, KEYS)].rpm, 3);
}

/* The end of a run stands apart (closing_a_run in test_decide_model.c): it is no permission that is
 * taken away, for the next request may open another. */
const struct restriction restrictions[] = {
	{"block an org",             block_org         },
	{"call an org a rival",      call_rival        },
	{"revoke a key",             revoke_key        },
	{"name a key no staff",      name_no_staff     },
	{"tie a key to a network",   keep_inside       },
	{"bind a key to a sender",   bind_key          },
	{"demand bound keys",        demand_bound_keys },
	{"a key expires earlier",    shorten_key       },
	{"suspend a grant",          suspend_grant     },
	{"revoke a grant",           revoke_grant      },
	{"a grant expires",          expire_grant      },
	{"a grant is not signed",    unsign_grant      },
	{"remove the last day",      remove_last_day   },
	{"remove the first day",     remove_first_day  },
	{"remove a model",           remove_model      },
	{"remove a class of suites", remove_class      },
	{"remove a purpose",         remove_purpose    },
	{"lower the release level",  lower_release     },
	{"lower a suite's cap",      lower_suite_cap   },
	{"lower a model's cap",      lower_model_cap   },
	{"remove a leaf",            remove_leaf       },
	{"remove a suite",           remove_suite      },
	{"use up samples",           use_samples       },
	{"lower a grant's rpm",      lower_grant_rpm   },
	{"lower a grant's output",   lower_grant_output},
	{"lower an org's rpm",       lower_org_rpm     },
	{"lower a key's rpm",        lower_key_rpm     },
};
const size_t restriction_count = sizeof(restrictions) / sizeof(*restrictions);
