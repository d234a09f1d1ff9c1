/* The second implementation. It reads plain documents in the order of DESIGN.md section 5, knows no
 * table, keeps no state and asks nothing twice cleverly; each paragraph is one sentence there. */
#include "decide_model.h"

#define SET(purpose) (1u << PURPOSE_##purpose)
/* Purposes with suite binding. */
#define BINDING (SET(CAPABILITY_BENCHMARK) | SET(SAFETY_EVALUATION))

/* ---- what a refusal names ---- */

/* The clause that enforces the rule: the first that the grant does not override, else the first. */
static int clause_of(const struct documents *d, enum rule rule, unsigned overrides)
{
	for (int c = 0; c < CLAUSES; c++)
		if ((d->clauses[c].rules & (uint64_t)1 << rule) && !(overrides & 1u << c))
			return c;
	for (int c = 0; c < CLAUSES; c++)
		if (d->clauses[c].rules & (uint64_t)1 << rule)
			return c;
	return NOT_THERE;
}

/* ---- key, organisation, grant ---- */

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
	if (key->inside && q->outside)
		return RULE_KEY_NETWORK;
	if (key->binding != SENDER_BINDING_NONE && (q->proved != key->binding || q->other_proof))
		return RULE_KEY_BINDING;
	/* The grant may demand that its keys are bound, and name to what. */
	if (grant->demanded && (!(grant->demanded & 1u << key->binding) || grant->other_senders))
		return RULE_KEY_BINDING;

	if (d->orgs[grant->org].blocked)
		return RULE_ORG_BLOCKED;
	/* For a rival, evaluation grants are the only way in. */
	if (d->orgs[grant->org].rival && grant->purposes == SET(PRODUCT))
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

/* ---- endpoint, model, forbidden parameters ---- */

static bool asks_model(const struct question *q)
{
	return q->endpoint == ENDPOINT_USE_GENERATE || q->endpoint == ENDPOINT_USE_COUNT_TOKENS;
}

/* Beyond product use, V3 is for named staff. */
static enum release granted_release(const struct documents *d, const struct question *q)
{
	const struct plain_key *key = &d->keys[q->key];
	const struct plain_grant *grant = &d->grants[key->grant];
	if (grant->release == RELEASE_V3 && !key->staff && grant->purposes != SET(PRODUCT))
		return RELEASE_V2;
	return grant->release;
}

static enum rule ask_request(const struct documents *d, const struct question *q, unsigned g)
{
	const struct plain_grant *grant = &d->grants[g];
	if (q->endpoint == ENDPOINT_USE_UNKNOWN)
		return RULE_ENDPOINT_UNKNOWN;
	if (asks_model(q)) {
		if (q->model == MODELS)
			return RULE_MODEL_UNKNOWN;
		if (!(grant->models & 1u << q->model))
			return RULE_MODEL_NOT_GRANTED;
		if (model_dialects[q->model] != q->dialect)
			return RULE_MODEL_DIALECT;
	}
	/* Refused below V3. */
	if (q->endpoint == ENDPOINT_USE_GENERATE && granted_release(d, q) != RELEASE_V3) {
		if (q->logprobs)
			return RULE_PARAMETER_LOGPROBS;
		if (q->logit_bias)
			return RULE_PARAMETER_LOGIT_BIAS;
		if (q->n != 1)
			return RULE_PARAMETER_N;
	}
	return RULE_NONE;
}

/* ---- suite binding ---- */

/* What is found out about one suite or all: RULE_NONE admits. */
struct finding {
	enum rule rule;
	bool opens; /* rule is suite.run, and opening a run would mend it */
	int suite, leaf, run;
};

/* Of equal words in a suite the first leaf counts. */
static int leaf_with(const struct plain_suite *suite, unsigned words)
{
	for (unsigned i = 0; i < suite->leaves; i++)
		if (suite->words[i] == words)
			return (int)i;
	return NOT_THERE;
}

/* Settings are the suite's: equal or absent, max output an upper bound. */
static bool settings_fit(const struct plain_suite *suite, const struct question *q)
{
	if (suite->max_output >= 0 && q->max_output > suite->max_output)
		return false;
	return q->temperature == -1 || q->temperature == suite->temperature;
}

static enum suite_class class_of(const struct plain_suite *suite)
{
	return suite->public_root ? SUITE_CLASS_PUBLIC : suite->class;
}

static struct finding ask_suite(const struct documents *d, const struct question *q, unsigned s)
{
	const struct plain_suite *suite = &d->suites[s];
	const struct plain_grant *grant = &d->grants[suite->grant];
	struct finding found = {RULE_NONE, false, (int)s, leaf_with(suite, q->words), NOT_THERE};
	/* A private suite is for V0 only. */
	if (!(grant->classes & 1u << class_of(suite)) ||
	    (class_of(suite) == SUITE_CLASS_PRIVATE && grant->release != RELEASE_V0)) {
		found.rule = RULE_SUITE_CLASS;
		return found;
	}
	if (!(grant->purposes & 1u << suite->purpose)) {
		found.rule = RULE_PURPOSE_NOT_GRANTED;
		return found;
	}
	/* Counting tokens uses up no sample. */
	if (q->endpoint == ENDPOINT_USE_COUNT_TOKENS)
		return found;
	if (!settings_fit(suite, q)) {
		found.rule = RULE_SUITE_SETTINGS;
		return found;
	}
	/* `parley-run` names the run, else the only open one, else one is opened. */
	unsigned open = 0;
	for (unsigned r = 0; r < RUNS; r++) {
		if (!d->runs[r].there || d->runs[r].suite != s)
			continue;
		open++;
		if (q->run == RUNS || q->run == r)
			found.run = (int)r;
	}
	if (q->run == RUNS && open != 1) {
		found.rule = RULE_SUITE_RUN;
		found.opens = open == 0;
		found.run = NOT_THERE;
		return found;
	}
	const struct plain_run *run = &d->runs[found.run];
	if (run->used[q->model][found.leaf] >= run->samples)
		found.rule = RULE_SUITE_SAMPLES;
	return found;
}

/* The refusal says how close the request came: a later one in this list is closer. */
static int closeness(const struct finding *finding)
{
	static const enum rule order[] = {RULE_SUITE_UNBOUND,       RULE_SUITE_CLASS,
					  RULE_PURPOSE_NOT_GRANTED, RULE_SUITE_SETTINGS,
					  RULE_SUITE_RUN,           RULE_SUITE_SAMPLES};
	if (finding->rule == RULE_NONE)
		return 100;
	if (finding->opens)
		return 50;
	for (int i = 0; i < 6; i++)
		if (order[i] == finding->rule)
			return i;
	return -1;
}

static bool run_is_of(const struct documents *d, unsigned run, unsigned grant)
{
	return run < RUNS && d->runs[run].there && d->suites[d->runs[run].suite].grant == grant;
}

/* The suites of the grant with these words, older ones first; the closest, of equals the oldest. */
static struct finding ask_suites(const struct documents *d, const struct question *q, unsigned g)
{
	struct finding best = {RULE_SUITE_UNBOUND, false, NOT_THERE, NOT_THERE, NOT_THERE};
	for (int age = 0; age < SUITES; age++) {
		for (unsigned s = 0; s < SUITES; s++) {
			const struct plain_suite *suite = &d->suites[s];
			if (!suite->there || suite->grant != g || suite->registered != age ||
			    leaf_with(suite, q->words) == NOT_THERE)
				continue;
			if (q->run != RUNS && d->runs[q->run].suite != s)
				continue;
			struct finding found = ask_suite(d, q, s);
			if (closeness(&found) > closeness(&best))
				best = found;
		}
	}
	return best;
}

static struct finding ask_bound(const struct documents *d, const struct question *q, unsigned g)
{
	struct finding found = {RULE_NONE, false, NOT_THERE, NOT_THERE, NOT_THERE};
	/* n > 1, unknown members and non-text parts are refused. */
	if (q->unknown)
		found.rule = RULE_PARAMETER_UNKNOWN;
	else if (q->non_text)
		found.rule = RULE_PARAMETER_PARTS;
	else if (q->n != 1)
		found.rule = RULE_PARAMETER_N;
	else if (q->run != RUNS && !run_is_of(d, q->run, g))
		found.rule = RULE_SUITE_RUN;
	else
		found = ask_suites(d, q, g);
	return found;
}

/* ---- the whole ---- */

static int lower(int cap, int other)
{
	return other >= 0 && other < cap ? other : cap;
}

/* Admitted under a purpose, so far: what leaves, and how much at most. */
static void serve(struct answer *a, const struct documents *d, const struct question *q,
		  enum purpose purpose)
{
	bool interop = purpose == PURPOSE_INTEROP_TEST;
	bool at_most_v2 = interop || purpose == PURPOSE_INCIDENT_RESEARCH;
	a->rule = RULE_NONE;
	a->purpose = purpose;
	a->release = granted_release(d, q);
	if (at_most_v2 && a->release > RELEASE_V2)
		a->release = RELEASE_V2;
	if (!asks_model(q))
		return;
	a->cap = lower(d->model_max_output[q->model], q->max_output);
	if (interop)
		a->cap = lower(a->cap, 256);
	if (a->suite != NOT_THERE)
		a->cap = lower(a->cap, d->suites[a->suite].max_output);
}

/* True: the question is answered as a leaf of a suite, or refused for good. */
static bool serve_bound(struct answer *a, const struct documents *d, const struct question *q,
			unsigned g)
{
	struct finding found = ask_bound(d, q, g);
	bool served = found.rule == RULE_NONE || found.opens;
	a->rule = found.rule;
	/* What is no evaluation may still serve a purpose that does not bind, if it names no run.
	 */
	if (!served)
		return q->run != RUNS ||
		       !(d->grants[g].purposes & (SET(INTEROP_TEST) | SET(INCIDENT_RESEARCH)));
	a->suite = found.suite;
	a->leaf = found.leaf;
	a->run = found.run;
	serve(a, d, q, d->suites[found.suite].purpose);
	a->rule = found.rule;
	if (found.opens)
		a->outcome = POLICY_OPEN_RUN;
	return true;
}

static void ask_purpose(struct answer *a, const struct documents *d, const struct question *q,
			unsigned g)
{
	unsigned purposes = d->grants[g].purposes;
	if (!asks_model(q)) {
		/* Lists and Parley's own endpoints serve any purpose: they are counted to the
		 * grant's first. */
		enum purpose purpose = 0;
		while (!(purposes & 1u << purpose))
			purpose++;
		serve(a, d, q, purpose);
		return;
	}
	if (!(purposes & BINDING) && q->run != RUNS) {
		a->rule = RULE_PURPOSE_NONE;
		return;
	}
	if (purposes == SET(PRODUCT)) {
		serve(a, d, q, PURPOSE_PRODUCT);
		return;
	}
	if ((purposes & BINDING) && serve_bound(a, d, q, g))
		return;
	if (purposes & SET(INCIDENT_RESEARCH))
		serve(a, d, q, PURPOSE_INCIDENT_RESEARCH);
	else if (!(purposes & SET(INTEROP_TEST)))
		a->rule = RULE_PURPOSE_NONE;
	else if (q->max_output > 256)
		a->rule = RULE_PURPOSE_CAP;
	else
		serve(a, d, q, PURPOSE_INTEROP_TEST);
}

static enum rule ask_release(const struct answer *a, const struct documents *d,
			     const struct question *q)
{
	if (q->endpoint != ENDPOINT_USE_GENERATE)
		return RULE_NONE;
	if (a->release == RELEASE_V0 && !q->wants_verdict)
		return RULE_RELEASE_VERDICT;
	if (a->release == RELEASE_V0 && q->stream)
		return RULE_RELEASE_LEVEL;
	if (a->release == RELEASE_V0 && (a->suite == NOT_THERE || !d->suites[a->suite].scorers))
		return RULE_SUITE_SCORERS;
	if (a->release != RELEASE_V0 && q->wants_verdict)
		return RULE_RELEASE_LEVEL;
	if (a->release == RELEASE_V1 && q->max_output < 0)
		return RULE_RELEASE_LEVEL;
	return RULE_NONE;
}

struct answer answer(const struct documents *d, const struct question *q)
{
	struct answer a = {POLICY_REFUSE, RULE_NONE, NOT_THERE, 0,        0,
			   NOT_THERE,     NOT_THERE, NOT_THERE, NOT_THERE};
	bool known = q->key < KEYS;
	unsigned g = known ? d->keys[q->key].grant : 0;
	a.rule = ask_head(d, q);
	if (a.rule == RULE_NONE)
		a.rule = ask_request(d, q, g);
	if (a.rule == RULE_NONE) {
		ask_purpose(&a, d, q, g);
		bool opens = a.outcome == POLICY_OPEN_RUN;
		enum rule release =
			a.rule == RULE_NONE || opens ? ask_release(&a, d, q) : RULE_NONE;
		if (release != RULE_NONE) {
			a.rule = release;
			a.outcome = POLICY_REFUSE;
		} else if (a.rule == RULE_NONE) {
			a.outcome = POLICY_ADMIT;
		}
	}
	/* A refusal tells nothing but why. */
	if (a.outcome == POLICY_REFUSE)
		a = (struct answer){POLICY_REFUSE, a.rule,    NOT_THERE, 0,        0,
				    NOT_THERE,     NOT_THERE, NOT_THERE, NOT_THERE};
	if (a.rule != RULE_NONE)
		a.clause = clause_of(d, a.rule, known ? d->grants[g].overrides : 0);
	return a;
}
