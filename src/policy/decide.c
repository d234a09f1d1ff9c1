#include "policy/decide_internal.h"

#include "policy/day.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

struct endpoint_row {
	bool model, binds, sample;
};

static const struct endpoint_row endpoints[ENDPOINT_USE_COUNT] = {
#define X(name, model, binds, sample) [ENDPOINT_USE_##name] = {model, binds, sample},
	ENDPOINT_TABLE(X)
#undef X
};

static const enum rule state_rules[GRANT_STATE_COUNT] = {
#define X(name, id, rule) [GRANT_##name] = RULE_##rule,
	GRANT_STATE_TABLE(X)
#undef X
};

/* ---- refusing ---- */

static void set_rule(struct verdict *verdict, enum rule rule)
{
	verdict->rule = rule;
	verdict->clause =
		verdict->world ? world_clause_of(verdict->world, rule, verdict->grant) : NULL;
	verdict->appeal = verdict->grant ? verdict->grant->appeal : "";
}

bool decision_refuse(struct decision *decision, enum rule rule, const char *format, ...)
{
	struct verdict *verdict = decision->verdict;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(verdict->detail, sizeof(verdict->detail), format, arguments);
	va_end(arguments);
	verdict->outcome = POLICY_REFUSE;
	set_rule(verdict, rule);
	return false;
}

void policy_refuse(struct verdict *verdict, enum rule rule, const char *detail)
{
	verdict->outcome = POLICY_REFUSE;
	snprintf(verdict->detail, sizeof(verdict->detail), "%s", detail ? detail : "");
	set_rule(verdict, rule);
}

void policy_refuse_limit(struct verdict *verdict, const struct limits_refusal *refusal)
{
	char detail[sizeof(verdict->detail)];
	const char *what = refusal->what ? refusal->what : "grant";
	const char *unit = limits_unit(refusal->limit);
	if (refusal->wanted < 0)
		snprintf(detail, sizeof(detail),
			 "the %s is limited to %lld %s, and the model has no price in the "
			 "configuration",
			 what, (long long)refusal->max, unit);
	else if (refusal->retry_after_ms < 0)
		snprintf(detail, sizeof(detail), "%lld at once pass the %s's limit of %lld %s",
			 (long long)refusal->wanted, what, (long long)refusal->max, unit);
	else
		snprintf(detail, sizeof(detail), "the %s has %lld left of %lld %s", what,
			 (long long)refusal->remaining, (long long)refusal->max, unit);
	policy_refuse(verdict, limits_rule(refusal->limit), detail);
}

/* ---- key, organisation, grant ---- */

static bool check_key(struct decision *decision)
{
	const struct policy_request *request = decision->request;
	if (!request->has_key)
		return decision_refuse(decision, RULE_KEY_MISSING,
				       "send it as x-api-key or authorization: Bearer");
	const struct world_key *key = world_find_key(decision->world, request->key_digest);
	if (!key)
		return decision_refuse(decision, RULE_KEY_UNKNOWN, "%s", "");
	decision->verdict->key = key;
	decision->verdict->grant = key->grant;
	if (key->state != WORLD_KEY_ACTIVE)
		return decision_refuse(decision, RULE_KEY_REVOKED, "key %s", key->id);
	if (request->wall_ms >= key->expires_ms)
		return decision_refuse(decision, RULE_KEY_EXPIRED, "key %s", key->id);
	return true;
}

/* What is public of how the two are tied, and the reason if all of it is. */
static bool refuse_affiliate(struct decision *decision)
{
	const struct world_grant *grant = decision->verdict->grant;
	const struct world_affiliation *affiliation = grant->affiliation;
	const char *path = affiliation->path[0] ? affiliation->path
						: "through an organisation that it is tied to";
	const char *reason = affiliation->open ? affiliation->blocked->block_reason : "";
	return decision_refuse(decision, RULE_ORG_BLOCKED, "%s%s; %s%s%s", grant->org->id,
			       grant->block_spares ? " but for safety_evaluation" : "", path,
			       reason[0] ? ": " : "", reason);
}

static bool check_rival(struct decision *decision)
{
	const struct world_grant *grant = decision->verdict->grant;
	const struct world_org *org = grant->org;
	if (!(grant->purposes & 1u << PURPOSE_PRODUCT))
		return true;
	if (org->rival)
		return decision_refuse(decision, RULE_ORG_RIVAL, "grant %s is for product use",
				       grant->id);
	if (org->rival_over)
		return decision_refuse(
			decision, RULE_ORG_RIVAL, "grant %s is for product use; %s", grant->id,
			org->rival_path[0] ? org->rival_path : "a rival controls the organisation");
	return true;
}

bool policy_sender_passes(const struct world_key *key, const struct policy_request *request,
			  enum rule *rule, const char **detail)
{
	const struct sender_facts *sender = &request->sender;
	static const char *const advice[SENDER_BINDING_COUNT] = {
		[SENDER_BINDING_SIGNATURE] = "sign the request as RFC 9421 says",
		[SENDER_BINDING_CERTIFICATE] = "show the client certificate that it is bound to",
	};
	if (!sender_is_in_networks(&key->sender, sender)) {
		*rule = RULE_KEY_NETWORK;
		*detail = "";
		return false;
	}
	if (sender_is_proved(&key->sender, sender))
		return true;
	*rule = RULE_KEY_BINDING;
	*detail = sender->problem ? sender->problem : advice[key->sender.binding];
	return false;
}

/* The sender has proved all that the key asks for, and the grant asks for more. */
static bool refuse_unbound_key(struct decision *decision)
{
	const struct world_key *key = decision->verdict->key;
	const struct sender_demand *demand = &key->grant->key_binding;
	const char *wanted = sender_demand_text(demand->kinds);
	if (demand->kinds >> key->sender.binding & 1)
		return decision_refuse(
			decision, RULE_KEY_BINDING,
			"grant %s names what its keys may be bound to, and key %s is bound "
			"to something else",
			key->grant->id, key->id);
	return decision_refuse(decision, RULE_KEY_BINDING,
			       "grant %s takes only keys that are bound to %s, and key %s is not",
			       key->grant->id, wanted, key->id);
}

static bool check_sender(struct decision *decision)
{
	const struct world_key *key = decision->verdict->key;
	const char *detail;
	enum rule rule;
	if (policy_sender_passes(key, decision->request, &rule, &detail))
		return !key->falls_short || refuse_unbound_key(decision);
	return decision_refuse(decision, rule, "key %s%s%s", key->id, *detail ? ": " : "", detail);
}

static bool check_org(struct decision *decision)
{
	const struct world_grant *grant = decision->verdict->grant;
	const struct world_org *org = grant->org;
	if (org->blocked)
		return decision_refuse(decision, RULE_ORG_BLOCKED, "%s%s%s", org->id,
				       org->block_reason[0] ? ": " : "", org->block_reason);
	if (grant->blocked && !grant->block_spares)
		return refuse_affiliate(decision);
	return check_rival(decision);
}

static bool check_grant(struct decision *decision)
{
	const struct world_grant *grant = decision->verdict->grant;
	int64_t now = decision->request->wall_ms;
	if (state_rules[grant->state] != RULE_NONE)
		return decision_refuse(decision, state_rules[grant->state], "grant %s", grant->id);
	if (now >= grant->from_ms && now < grant->until_ms)
		return true;
	char from[11], until[11], today[11];
	world_format_day(grant->from_ms, from);
	world_format_day(grant->until_ms - 1, until);
	world_format_day(now, today);
	return decision_refuse(decision, RULE_GRANT_DATES,
			       "grant %s is valid from %s to %s (UTC), today is %s", grant->id,
			       from, until, today);
}

/* ---- endpoint, model, parameters ---- */

unsigned decision_purposes(const struct world_grant *grant)
{
	static const unsigned binding = 0
#define X(name, id, binds, ...) | (unsigned)(binds) << PURPOSE_##name
		PURPOSE_TABLE(X)
#undef X
		;
	return binding & grant->purposes;
}

static bool check_endpoint(struct decision *decision)
{
	enum endpoint_use use = decision->request->endpoint;
	if (use <= ENDPOINT_USE_UNKNOWN || use >= ENDPOINT_USE_COUNT)
		return decision_refuse(decision, RULE_ENDPOINT_UNKNOWN, "%s", "");
	return true;
}

static bool check_model(struct decision *decision)
{
	const struct policy_request *request = decision->request;
	struct verdict *verdict = decision->verdict;
	if (!endpoints[request->endpoint].model)
		return true;
	int shown = request->model.size > 64 ? 64 : (int)request->model.size;
	const char *name = request->model.data ? request->model.data : "";
	const struct world_model *model = world_find_model(decision->world, request->model);
	if (!model)
		return decision_refuse(decision, RULE_MODEL_UNKNOWN, "%.*s", shown, name);
	if (world_grant_model(verdict->grant, model) < 0)
		return decision_refuse(decision, RULE_MODEL_NOT_GRANTED, "%s", model->id);
	if (!(model->provider->serves >> request->dialect & 1))
		return decision_refuse(
			decision, RULE_MODEL_DIALECT,
			"%s is asked through the endpoints of its own provider's API", model->id);
	verdict->model = model;
	return true;
}

/* Beyond product use, V3 is for the staff that the grant names; others have V2. */
static enum release granted_release(const struct verdict *verdict)
{
	const struct world_grant *grant = verdict->grant;
	bool named = verdict->key->staff || grant->purposes == 1u << PURPOSE_PRODUCT;
	return grant->release > RELEASE_V2 && !named ? RELEASE_V2 : grant->release;
}

static bool check_parameters(struct decision *decision)
{
	const struct policy_request *request = decision->request;
	if (request->endpoint != ENDPOINT_USE_GENERATE ||
	    granted_release(decision->verdict) >= RELEASE_V3)
		return true;
	if (request->logprobs)
		return decision_refuse(decision, RULE_PARAMETER_LOGPROBS, "leave logprobs out");
	if (request->logit_bias)
		return decision_refuse(decision, RULE_PARAMETER_LOGIT_BIAS, "leave logit_bias out");
	if (request->n != 1)
		return decision_refuse(decision, RULE_PARAMETER_N, "n is %lld",
				       (long long)request->n);
	return true;
}

/* ---- purpose and suite binding ---- */

bool decision_samples(const struct decision *decision)
{
	return endpoints[decision->request->endpoint].sample && !decision->request->recorded;
}

bool policy_needs_words(const struct world_grant *grant, enum endpoint_use endpoint)
{
	return endpoint < ENDPOINT_USE_COUNT && endpoints[endpoint].binds &&
	       decision_purposes(grant) != 0;
}

bool policy_needs_script(const struct world_grant *grant)
{
	for (const struct world_suite *suite = grant->suites; suite; suite = suite->next)
		if (suite->suite->shape)
			return true;
	return false;
}

static int64_t lower_cap(int64_t cap, int64_t other)
{
	return other >= 0 && other < cap ? other : cap;
}

void decision_set_purpose(struct verdict *verdict, const struct policy_request *request,
			  enum purpose purpose)
{
	struct purpose_bounds bounds = purpose_bounds(purpose);
	enum release granted = granted_release(verdict);
	verdict->purpose = purpose;
	verdict->release = granted < bounds.release ? granted : bounds.release;
	if (!verdict->model)
		return;
	verdict->output_cap = lower_cap(verdict->model->max_output, request->max_output);
	verdict->output_cap = lower_cap(verdict->output_cap, bounds.max_output);
	if (verdict->suite)
		verdict->output_cap =
			lower_cap(verdict->output_cap,
				  binding_suite_settings(verdict->suite->suite, verdict->pick.leaf)
					  ->max_output);
}

/* What became of matching_check is forgotten. */
static void forget_refusal(struct verdict *verdict)
{
	verdict->rule = RULE_NONE;
	verdict->clause = NULL;
	verdict->appeal = "";
	verdict->detail[0] = '\0';
	verdict->suite = NULL;
	verdict->run = NULL;
	verdict->pick = (struct binding_pick){0};
}

static bool check_interop(struct decision *decision)
{
	int64_t cap = purpose_bounds(PURPOSE_INTEROP_TEST).max_output;
	forget_refusal(decision->verdict);
	decision_set_purpose(decision->verdict, decision->request, PURPOSE_INTEROP_TEST);
	if (decision->request->max_output > cap)
		return decision_refuse(decision, RULE_PURPOSE_CAP,
				       "interop_test: max output %lld > %lld",
				       (long long)decision->request->max_output, (long long)cap);
	return true;
}

static bool check_purpose(struct decision *decision)
{
	struct verdict *verdict = decision->verdict;
	const struct policy_request *request = decision->request;
	unsigned purposes = verdict->grant->purposes;
	if (!endpoints[request->endpoint].binds) {
		decision_set_purpose(verdict, request, (enum purpose)__builtin_ctz(purposes));
		return true;
	}
	bool interop = purposes & 1u << PURPOSE_INTEROP_TEST;
	/* No grant has it beside a purpose that binds (access_grant.c). */
	bool incident = purposes & 1u << PURPOSE_INCIDENT_RESEARCH;
	bool binds = decision_purposes(verdict->grant) != 0;
	if (!binds && request->run.size)
		return decision_refuse(
			decision, RULE_PURPOSE_NONE,
			"a run is named, and grant %s has no purpose that runs serve",
			verdict->grant->id);
	if (purposes == 1u << PURPOSE_PRODUCT) {
		decision_set_purpose(verdict, request, PURPOSE_PRODUCT);
		return true;
	}
	if (binds) {
		if (matching_check(decision))
			return true;
		if ((!interop && !incident) || request->run.size)
			return false;
	}
	if (incident) {
		forget_refusal(verdict);
		decision_set_purpose(verdict, request, PURPOSE_INCIDENT_RESEARCH);
		return true;
	}
	if (interop)
		return check_interop(decision);
	return decision_refuse(decision, RULE_PURPOSE_NONE, "grant %s", verdict->grant->id);
}

/* A block by affiliation that spares safety_evaluation; only now is the purpose known. */
static bool check_spared(struct decision *decision)
{
	const struct verdict *verdict = decision->verdict;
	if (!endpoints[decision->request->endpoint].model ||
	    !policy_blocks_affiliate(verdict->grant, verdict->purpose))
		return true;
	return refuse_affiliate(decision);
}

bool policy_blocks_affiliate(const struct world_grant *grant, enum purpose purpose)
{
	return grant->blocked && !(grant->block_spares && purpose == PURPOSE_SAFETY_EVALUATION);
}

void policy_refuse_affiliate(struct verdict *verdict)
{
	struct decision decision = {verdict->world, NULL, verdict};
	refuse_affiliate(&decision);
}

/* ---- release ---- */

/* Whether what a sealed answer would be graded by is what its leaf commits to. Of an open suite the
 * registration was checked; of a sealed one the request shows the leaf's grading hash. */
static bool check_grading(struct decision *decision)
{
	const struct verdict *verdict = decision->verdict;
	const struct leaf_claim *claim = decision->request->claim;
	if (!verdict->suite || !verdict->suite->book)
		return decision_refuse(decision, RULE_SUITE_SCORERS,
				       "none are kept here; register the suite again");
	if (!verdict->suite->suite->sealed || decision->request->recorded)
		return true;
	if (!claim || claim->index > UINT32_MAX)
		return decision_refuse(decision, RULE_SUITE_SCORERS, "show its leaf: parley-leaf");
	const struct grading_book *book = verdict->suite->book;
	uint32_t shown = (uint32_t)claim->index, leaf = verdict->pick.leaf;
	/* Another leaf's words, which count for both: they are judged alike, or the other is shown.
	 */
	if (shown != leaf &&
	    !bytes_equal(grading_book_scorer(book, shown), grading_book_scorer(book, leaf)))
		return decision_refuse(decision, RULE_SUITE_SCORERS,
				       "leaf %u has the words of leaf %u, which counts for both, "
				       "and another scorer: show leaf %u",
				       shown, leaf, leaf);
	struct bytes salt = bytes_of((const char *)claim->salt, sizeof(claim->salt));
	if (!grading_book_shows(book, shown, salt, claim->grading))
		return decision_refuse(
			decision, RULE_SUITE_SCORERS,
			"the grading that was uploaded for leaf %u is not the one that the "
			"leaf commits to; close the run and register the suite's own",
			shown);
	return true;
}

static bool check_release(struct decision *decision)
{
	struct verdict *verdict = decision->verdict;
	if (decision->request->endpoint != ENDPOINT_USE_GENERATE)
		return true;
	bool wants_verdict = decision->request->wants_verdict;
	if (verdict->release == RELEASE_V0 && !wants_verdict)
		return decision_refuse(decision, RULE_RELEASE_VERDICT,
				       "send parley-accept: verdict");
	if (verdict->release == RELEASE_V0 && decision->request->stream)
		return decision_refuse(decision, RULE_RELEASE_LEVEL,
				       "a verdict is no stream: ask for a plain answer");
	if (verdict->release == RELEASE_V0)
		return check_grading(decision);
	if (wants_verdict)
		return decision_refuse(
			decision, RULE_RELEASE_LEVEL,
			"grant %s releases %s and grades nothing: leave parley-accept out",
			verdict->grant->id, release_id(verdict->release));
	if (verdict->release == RELEASE_V1 && decision->request->max_output < 0)
		return decision_refuse(
			decision, RULE_RELEASE_LEVEL,
			"under V1 a request says how long its answer may be: at most %lld "
			"tokens",
			(long long)verdict->output_cap);
	return true;
}

/* ---- the order of decisions ---- */

struct check {
	const char *name;
	bool (*passes)(struct decision *decision); /* false: the verdict is a refusal */
};

static const struct check head_checks[] = {
	{"key",     check_key   },
	{"binding", check_sender},
	{"org",     check_org   },
	{"grant",   check_grant },
};

static const struct check body_checks[] = {
	{"endpoint",   check_endpoint  },
        {"model",      check_model     },
        {"parameters", check_parameters},
	{"purpose",    check_purpose   },
        {"spared",     check_spared    },
        {"release",    check_release   },
};

static bool run_checks(struct decision *decision, const struct check *checks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!checks[i].passes(decision))
			return false;
	return true;
}

#define RUN_CHECKS(decision, checks) \
	run_checks((decision), (checks), sizeof(checks) / sizeof(*(checks)))

static void start(const struct world *world, struct verdict *verdict)
{
	memset(verdict, 0, VERDICT_ZEROED);
	verdict->outcome = POLICY_REFUSE;
	verdict->world = world;
	verdict->appeal = "";
}

void policy_authenticate(const struct world *world, const struct policy_request *request,
			 struct verdict *verdict)
{
	struct decision decision = {world, request, verdict};
	start(world, verdict);
	if (RUN_CHECKS(&decision, head_checks))
		verdict->outcome = POLICY_ADMIT;
}

bool policy_identifies(const struct verdict *verdict)
{
	return verdict->outcome == POLICY_ADMIT ||
	       (verdict->rule >= RULE_ORG_BLOCKED && verdict->rule <= RULE_GRANT_DATES);
}

void policy_decide(const struct world *world, const struct policy_request *request,
		   struct verdict *verdict)
{
	policy_authenticate(world, request, verdict);
	if (verdict->outcome == POLICY_ADMIT)
		policy_decide_rest(request, verdict);
}

void policy_decide_rest(const struct policy_request *request, struct verdict *verdict)
{
	struct decision decision = {verdict->world, request, verdict};
	verdict->outcome = POLICY_REFUSE;
	if (!RUN_CHECKS(&decision, body_checks))
		return;
	/* A run has to be opened first: matching_check has said so. */
	if (verdict->outcome != POLICY_OPEN_RUN)
		verdict->outcome = POLICY_ADMIT;
}

/* ---- mode observe ---- */

/* Rules of policy alone. Whatever is not named here is enforced in every mode. */
static const uint64_t observable =
#define BIT(rule) ((uint64_t)1 << RULE_##rule)
	BIT(ORG_BLOCKED) | BIT(ORG_RIVAL) | BIT(GRANT_OFFERED) | BIT(GRANT_SUSPENDED) |
	BIT(GRANT_REVOKED) | BIT(GRANT_DATES) | BIT(MODEL_NOT_GRANTED) | BIT(PARAMETER_LOGPROBS) |
	BIT(PARAMETER_LOGIT_BIAS) | BIT(PARAMETER_N) | BIT(PARAMETER_UNKNOWN) |
	BIT(PARAMETER_PARTS) | BIT(PURPOSE_NONE) | BIT(PURPOSE_NOT_GRANTED) | BIT(PURPOSE_CAP) |
	BIT(SUITE_UNBOUND) | BIT(SUITE_CLASS) | BIT(SUITE_SETTINGS) | BIT(SUITE_RUN) |
	BIT(SUITE_SAMPLES) | BIT(SUITE_BUDGET) | BIT(SUITE_SCORERS) | BIT(RELEASE_VERDICT) |
	BIT(RELEASE_LEVEL) | BIT(LIMIT_RPM) | BIT(LIMIT_INPUT_TPM) | BIT(LIMIT_OUTPUT_TPM) |
	BIT(LIMIT_CONCURRENCY) | BIT(LIMIT_TOKENS_PER_DAY) | BIT(LIMIT_TOKENS_PER_WEEK) |
	BIT(LIMIT_USD_PER_MONTH);
#undef BIT

bool policy_observe_head(struct verdict *verdict)
{
	if (verdict->outcome == POLICY_ADMIT || !(observable >> verdict->rule & 1))
		return false;
	verdict->outcome = POLICY_ADMIT;
	if (verdict->observed == RULE_NONE) {
		verdict->observed = verdict->rule;
		verdict->observed_clause = verdict->clause;
	}
	verdict->rule = RULE_NONE;
	return true;
}

/* Where it goes: all that a request needs besides a key. */
static bool find_route(struct decision *decision)
{
	const struct policy_request *request = decision->request;
	struct verdict *verdict = decision->verdict;
	if (!check_endpoint(decision))
		return false;
	if (!endpoints[request->endpoint].model)
		return true;
	verdict->model = world_find_model(decision->world, request->model);
	if (verdict->model && (verdict->model->provider->serves >> request->dialect & 1))
		return true;
	/* Says by which rule. A model that the grant does not name passes only if it is there. */
	if (!verdict->model)
		return decision_refuse(decision, RULE_MODEL_UNKNOWN, "%.*s",
				       request->model.size > 64 ? 64 : (int)request->model.size,
				       request->model.data ? request->model.data : "");
	return decision_refuse(decision, RULE_MODEL_DIALECT,
			       "%s is asked through the endpoints of its own provider's API",
			       verdict->model->id);
}

bool policy_observe(const struct policy_request *request, struct verdict *verdict)
{
	struct decision decision = {verdict->world, request, verdict};
	/* A limit stood in the way of what was decided already: that holds. */
	bool decided = verdict->outcome == POLICY_REFUSE && limits_rule_is(verdict->rule);
	if (!policy_observe_head(verdict) || decided)
		return verdict->outcome == POLICY_ADMIT;
	if (!find_route(&decision))
		return false;
	verdict->unbound = true;
	verdict->suite = NULL;
	verdict->run = NULL;
	verdict->pick = (struct binding_pick){0};
	verdict->purpose = (enum purpose)__builtin_ctz(verdict->grant->purposes);
	verdict->release = verdict->grant->release;
	if (verdict->model)
		verdict->output_cap = lower_cap(verdict->model->max_output, request->max_output);
	return true;
}

/* ---- after the decision ---- */

#define TAKE_TRIES 8

/* Words of a sealed suite are known from their first use. False: another leaf that was used before
 * has the same. */
static bool claim_leaf(const struct verdict *verdict, const struct policy_request *request)
{
	uint8_t digest[BINDING_DIGEST_SIZE];
	if (!verdict->suite || !verdict->suite->suite->sealed)
		return true;
	binding_digest(world_binding_secret(verdict->world), request->words_digest, digest);
	uint32_t leaf = verdict->pick.leaf;
	return binding_suite_claim(verdict->suite->suite, digest, leaf) == leaf;
}

bool policy_take_sample(struct verdict *verdict, const struct policy_request *request,
			struct binding_hold *hold)
{
	assert(verdict->outcome == POLICY_ADMIT);
	*hold = (struct binding_hold){0};
	for (int i = 0; i < TAKE_TRIES && verdict->outcome == POLICY_ADMIT; i++) {
		if (!verdict->run || (claim_leaf(verdict, request) &&
				      binding_take(verdict->run->run, verdict->model_slot,
						   &verdict->pick, request->wall_ms, hold)))
			return true;
		policy_decide(verdict->world, request, verdict);
	}
	if (verdict->outcome == POLICY_ADMIT)
		policy_refuse(verdict, RULE_SUITE_SAMPLES, "others were faster");
	return false;
}

static void add_scope(struct limits_scope *scopes, unsigned *count, const char *what,
		      const struct limits_values *values, struct limits_cells *cells)
{
	if (cells && limits_any(values))
		scopes[(*count)++] = (struct limits_scope){cells, values, what};
}

unsigned policy_scopes_under(const struct world_key *key, const struct world_grant *grant,
			     const struct world_model *model, enum purpose purpose,
			     struct limits_scope scopes[static LIMITS_SCOPES_MAX])
{
	const struct world_org *org = grant->org;
	unsigned count = 1;
	scopes[0] = (struct limits_scope){grant->cells, &grant->limits, "grant"};
	if (purpose == PURPOSE_INTEROP_TEST)
		add_scope(scopes, &count, "purpose", &grant->interop_limits, grant->interop_cells);
	add_scope(scopes, &count, "key", &key->limits, key->cells);
	add_scope(scopes, &count, "org", &org->limits, org->cells);
	if (org->top)
		add_scope(scopes, &count, "org's group", &org->top->limits, org->top->cells);
	if (model)
		add_scope(scopes, &count, "model", &model->limits, model->cells);
	return count;
}

unsigned policy_scopes(const struct verdict *verdict,
		       struct limits_scope scopes[static LIMITS_SCOPES_MAX])
{
	return policy_scopes_under(verdict->key, verdict->grant, verdict->model, verdict->purpose,
				   scopes);
}

void policy_message(const struct verdict *verdict, struct buf *out)
{
	buf_append_cstr(out, rule_text(verdict->rule));
	if (verdict->detail[0])
		buf_printf(out, ": %s", verdict->detail);
	buf_printf(out, " (rule %s", rule_id(verdict->rule));
	if (verdict->clause)
		buf_printf(out, "; clause %s", verdict->clause->id);
	if (verdict->appeal && verdict->appeal[0])
		buf_printf(out, "; appeal %s", verdict->appeal);
	buf_append_cstr(out, ")");
}
