/* Suite binding: which leaf of which suite a request's words are, and which run counts it
 * (DESIGN.md section 5, "Suite binding"). */
#include "policy/decide_internal.h"

#include <assert.h>
#include <stdio.h>

/* How close a suite came to admitting the request; a higher step is closer. */
enum match_step {
	MATCH_NONE,
	MATCH_CLASS,
	MATCH_PURPOSE,
	MATCH_SETTINGS,
	MATCH_RUN,
	MATCH_SAMPLES,
	MATCH_OPENS, /* no run is open over it: one may be */
	MATCH_ADMITS,
};

static const enum rule match_rules[] = {
	[MATCH_NONE] = RULE_SUITE_UNBOUND,
	[MATCH_CLASS] = RULE_SUITE_CLASS,
	[MATCH_PURPOSE] = RULE_PURPOSE_NOT_GRANTED,
	[MATCH_SETTINGS] = RULE_SUITE_SETTINGS,
	[MATCH_RUN] = RULE_SUITE_RUN,
	[MATCH_SAMPLES] = RULE_SUITE_SAMPLES,
	[MATCH_OPENS] = RULE_SUITE_RUN,
};

struct match {
	enum match_step step;
	const struct world_suite *suite;
	const struct world_run *run;
	struct binding_pick pick;
	unsigned slot;
	char detail[256];
};

static bool run_is_open(const struct world_run *run)
{
	return !atomic_load_explicit(&run->run->closed, memory_order_relaxed);
}

/* The suite's only open run; *count tells how many there are. */
static const struct world_run *only_run(const struct world_suite *suite, unsigned *count)
{
	const struct world_run *found = NULL;
	*count = 0;
	for (const struct world_run *run = suite->runs; run; run = run->next) {
		if (run_is_open(run)) {
			found = run;
			++*count;
		}
	}
	return *count == 1 ? found : NULL;
}

static unsigned model_slot(const struct decision *decision, const struct world_run *run)
{
	int model = world_grant_model(decision->verdict->grant, decision->verdict->model);
	assert(model >= 0);
	return run->slots[model];
}

/* Whether the run has a sample left of what was matched, and the answers a verdict. */
static enum match_step match_samples(struct match *match)
{
	const struct binding_run *run = match->run->run;
	const struct binding_pick *pick = &match->pick;
	const char *suite = match->suite->suite->name;
	for (unsigned i = 0; i < pick->judged_count; i++) {
		const struct binding_judged *judged = &pick->judged[i];
		unsigned step, most = run->suite->judging->verdicts;
		const struct served *answer =
			binding_run_answer(run, judged->slot, judged->unit, judged->sample);
		if (atomic_load(&answer->verdicts) < most)
			continue;
		snprintf(match->detail, sizeof(match->detail),
			 "leaf %u of suite %.64s: the answer to leaf %u in slot %u has had its %u "
			 "verdicts",
			 pick->leaf, suite, shape_leaf(run->suite->shape, judged->unit, &step),
			 i + 1, most);
		return MATCH_SAMPLES;
	}
	if (binding_run_is_free(run, match->slot, pick))
		return MATCH_ADMITS;
	char step[24] = "";
	if (pick->step)
		snprintf(step, sizeof(step), " step %u", pick->step);
	snprintf(match->detail, sizeof(match->detail),
		 "leaf %u%s of suite %.80s: %u of %u samples in run %.80s", pick->leaf, step, suite,
		 binding_run_used(run, match->slot, pick->unit),
		 binding_run_samples(run, pick->leaf), match->run->id);
	return MATCH_SAMPLES;
}

/* Which run of the matched suite counts the sample, and whether it has one left. */
static enum match_step match_run(const struct decision *decision, const struct world_run *named,
				 struct match *match)
{
	const char *suite = match->suite->suite->name;
	unsigned open = 1;
	match->run = named ? named : only_run(match->suite, &open);
	if (open == 0) {
		snprintf(match->detail, sizeof(match->detail), "no run over suite %.80s is open",
			 suite);
		return MATCH_OPENS;
	}
	if (!match->run) {
		snprintf(match->detail, sizeof(match->detail),
			 "%u runs over suite %.80s are open: name one with parley-run", open,
			 suite);
		return MATCH_RUN;
	}
	match->slot = model_slot(decision, match->run);
	match->pick.unnamed = !named && !decision->request->recorded;
	if (match->pick.unnamed && !binding_run_takes_blind(match->run->run)) {
		snprintf(
			match->detail, sizeof(match->detail),
			"run %.80s counts requests that do not name it, and has had its %lld: name "
			"it with parley-run",
			match->run->id, (long long)match->run->run->blind_max);
		return MATCH_RUN;
	}
	return match_samples(match);
}

static bool match_settings(const struct decision *decision, struct match *match)
{
	const struct policy_request *request = decision->request;
	struct binding_settings only_output = {.max_output = request->max_output};
	const struct binding_settings *asked = request->settings ? request->settings : &only_output;
	const struct binding_settings *agreed =
		binding_suite_settings(match->suite->suite, match->pick.leaf);
	char why[96];
	only_output.count = 0;
	if (!binding_settings_match(agreed, asked, why, sizeof(why)) ||
	    !binding_settings_match(agreed, &only_output, why, sizeof(why))) {
		snprintf(match->detail, sizeof(match->detail), "leaf %u, but %s", match->pick.leaf,
			 why);
		return false;
	}
	return true;
}

/* How far the request comes with one suite that has its words. */
static enum match_step match_suite(const struct decision *decision, const struct world_run *named,
				   struct match *match)
{
	const struct world_grant *grant = decision->verdict->grant;
	const struct world_suite *suite = match->suite;
	if (!(grant->classes >> suite->class & 1) ||
	    (suite->class == SUITE_CLASS_PRIVATE && grant->release > RELEASE_V0)) {
		snprintf(match->detail, sizeof(match->detail),
			 "leaf %u of suite %.80s, which is %s", match->pick.leaf,
			 suite->suite->name, suite_class_id(suite->class));
		return MATCH_CLASS;
	}
	if (!(decision_purposes(grant) >> suite->suite->purpose & 1)) {
		snprintf(match->detail, sizeof(match->detail), "leaf %u of suite %.80s, for %s",
			 match->pick.leaf, suite->suite->name, purpose_id(suite->suite->purpose));
		return MATCH_PURPOSE;
	}
	if (!decision_samples(decision))
		return MATCH_ADMITS;
	if (!match_settings(decision, match))
		return MATCH_SETTINGS;
	return match_run(decision, named, match);
}

/* What `parley-leaf` shows: a leaf of a sealed suite of the grant. */
struct proved {
	const struct world_suite *suite; /* that it names; NULL: none of the grant */
	bool holds;                      /* the proof leads to its root */
};

static struct proved prove(const struct decision *decision)
{
	const struct leaf_claim *claim = decision->request->claim;
	struct proved proved = {0};
	if (!claim)
		return proved;
	const struct world_suite *suite = world_find_suite(decision->world, claim->suite);
	if (!suite || suite->grant != decision->verdict->grant || !suite->suite->sealed)
		return proved;
	proved.suite = suite;
	proved.holds = leaf_claim_verify(claim, suite->suite->leaf_count, suite->suite->root);
	return proved;
}

/* The unit of the suite that counts for the words as they stand. Of a sealed suite only what is
 * proved, there or in another one: words count once, wherever they stand. */
static bool find_exact(const struct decision *decision, const struct world_suite *suite,
		       const struct proved *proved, const uint8_t *digest,
		       struct binding_pick *pick)
{
	const struct script_request *script = decision->request->script;
	uint32_t unit;
	if (suite->suite->sealed && !proved->holds)
		return false;
	if (!binding_suite_find(suite->suite, digest, &unit)) {
		if (!proved->holds || proved->suite != suite)
			return false;
		unit = (uint32_t)decision->request->claim->index;
	}
	*pick = binding_pick_leaf(unit);
	pick->leaf = shape_leaf(suite->suite->shape, unit, &pick->step);
	pick->registered_bytes = script ? (uint32_t)script->words_size : 0;
	return true;
}

/* The words as a conversation or a judge's prompt of the suite: with answers of the run that is to
 * count them. *near tells how close they came. */
static bool find_script(const struct decision *decision, const struct world_run *named,
			const struct world_suite *suite, struct binding_pick *pick,
			struct match *near)
{
	struct matching_script found;
	unsigned open;
	const struct world_run *run = named ? named : only_run(suite, &open);
	if (!suite->suite->shape || !decision->request->script)
		return false;
	matching_read_script(decision, suite->suite, run ? run->run : NULL,
			     run ? model_slot(decision, run) : 0, &found);
	if (found.near[0] && near->step == MATCH_NONE)
		snprintf(near->detail, sizeof(near->detail), "suite %.64s: %s", suite->suite->name,
			 found.near);
	*pick = found.pick;
	return found.matches;
}

static void find_match(const struct decision *decision, const struct world_run *named,
		       const struct proved *proved, struct match *best)
{
	uint8_t digest[BINDING_DIGEST_SIZE];
	binding_digest(world_binding_secret(decision->world), decision->request->words_digest,
		       digest);
	const struct world_suite *suite = decision->verdict->grant->suites;
	for (; suite && best->step < MATCH_ADMITS; suite = suite->next) {
		struct match match = {.suite = suite};
		if ((named && named->suite != suite) ||
		    (!find_exact(decision, suite, proved, digest, &match.pick) &&
		     !find_script(decision, named, suite, &match.pick, best)))
			continue;
		match.step = match_suite(decision, named, &match);
		if (match.step > best->step)
			*best = match;
	}
}

/* The suite that a request of the log was of; one that is none of the grant's any more is unbound.
 */
static void find_recorded(const struct decision *decision, struct match *best)
{
	const struct policy_recorded *recorded = decision->request->recorded;
	const struct world_suite *suite = decision->verdict->grant->suites;
	while (suite && !bytes_is(recorded->suite, suite->id))
		suite = suite->next;
	if (!suite)
		return;
	*best = (struct match){.suite = suite, .pick = binding_pick_leaf(recorded->leaf)};
	best->step = match_suite(decision, NULL, best);
}

static unsigned suite_count(const struct world_grant *grant)
{
	unsigned count = 0;
	for (const struct world_suite *suite = grant->suites; suite; suite = suite->next)
		count++;
	return count;
}

static unsigned sealed_count(const struct world_grant *grant)
{
	unsigned count = 0;
	for (const struct world_suite *suite = grant->suites; suite; suite = suite->next)
		count += suite->suite->sealed;
	return count;
}

/* How close a claim came. */
static bool refuse_claim(struct decision *decision, const struct proved *proved)
{
	const struct leaf_claim *claim = decision->request->claim;
	if (!proved->suite)
		return decision_refuse(
			decision, RULE_SUITE_UNBOUND,
			"parley-leaf names %.*s, which is no sealed suite under grant %s",
			(int)claim->suite.size, claim->suite.data, decision->verdict->grant->id);
	const struct binding_suite *suite = proved->suite->suite;
	if (claim->index >= suite->leaf_count)
		return decision_refuse(decision, RULE_SUITE_UNBOUND,
				       "parley-leaf names leaf %llu, and suite %.64s has %u",
				       (unsigned long long)claim->index, suite->name,
				       suite->leaf_count);
	return decision_refuse(
		decision, RULE_SUITE_UNBOUND,
		"parley-leaf: leaf %llu, but words, salt, grading and proof do not lead to "
		"the root of suite %.64s",
		(unsigned long long)claim->index, suite->name);
}

static bool refuse_unbound(struct decision *decision, const struct world_run *named,
			   const struct proved *proved, const char *near)
{
	const struct world_grant *grant = decision->verdict->grant;
	unsigned count = suite_count(grant), sealed = sealed_count(grant);
	if (decision->request->claim && !proved->holds)
		return refuse_claim(decision, proved);
	if (near[0])
		return decision_refuse(decision, RULE_SUITE_UNBOUND, "%s", near);
	if (count == 0)
		return decision_refuse(decision, RULE_SUITE_UNBOUND,
				       "no suite is registered under grant %s yet", grant->id);
	if (named)
		return decision_refuse(decision, RULE_SUITE_UNBOUND,
				       "no leaf of suite %s, which run %s is over, has them",
				       named->suite->suite->name, named->id);
	if (sealed && !decision->request->claim)
		return decision_refuse(
			decision, RULE_SUITE_UNBOUND,
			"none of the leaves of %u suite%s has them; %u %s sealed, and the "
			"request shows no parley-leaf",
			count, count == 1 ? "" : "s", sealed, sealed == 1 ? "is" : "are");
	return decision_refuse(decision, RULE_SUITE_UNBOUND,
			       "none of the leaves of %u suite%s has them", count,
			       count == 1 ? "" : "s");
}

/* The run that the request names; false (refused) if it is no open run of the grant. */
static bool named_run(struct decision *decision, const struct world_run **out)
{
	struct bytes name = decision->request->run;
	*out = NULL;
	if (name.size == 0)
		return true;
	const struct world_run *run = world_find_run(decision->world, name);
	if (!run || run->suite->grant != decision->verdict->grant || !run_is_open(run))
		return decision_refuse(decision, RULE_SUITE_RUN,
				       "%.*s is no open run under grant %s",
				       name.size > 64 ? 64 : (int)name.size, name.data,
				       decision->verdict->grant->id);
	*out = run;
	return true;
}

static bool check_words(struct decision *decision)
{
	const struct policy_request *request = decision->request;
	if (request->unknown_member.size)
		return decision_refuse(
			decision, RULE_PARAMETER_UNKNOWN, "%.*s",
			request->unknown_member.size > 64 ? 64 : (int)request->unknown_member.size,
			request->unknown_member.data);
	if (request->non_text)
		return decision_refuse(decision, RULE_PARAMETER_PARTS, "%s", "");
	if (request->n != 1)
		return decision_refuse(decision, RULE_PARAMETER_N, "n is %lld",
				       (long long)request->n);
	return true;
}

/* Admitted as a leaf of a suite, or refused; true also where a run has to be opened first. */
bool matching_check(struct decision *decision)
{
	struct verdict *verdict = decision->verdict;
	const struct world_run *named;
	struct match match = {.step = MATCH_NONE};
	if (!check_words(decision) || !named_run(decision, &named))
		return false;
	struct proved proved = prove(decision);
	if (decision->request->recorded)
		find_recorded(decision, &match);
	else if (decision->request->words_digest)
		find_match(decision, named, &proved, &match);
	if (match.step == MATCH_NONE)
		return refuse_unbound(decision, named, &proved, match.detail);
	verdict->suite = match.suite;
	verdict->pick = match.pick;
	decision_set_purpose(verdict, decision->request, match.suite->suite->purpose);
	if (match.step < MATCH_OPENS)
		return decision_refuse(decision, match_rules[match.step], "%s", match.detail);
	if (match.step == MATCH_OPENS) {
		decision_refuse(decision, match_rules[match.step], "%s", match.detail);
		verdict->outcome = POLICY_OPEN_RUN;
		return true;
	}
	verdict->run = match.run;
	verdict->model_slot = match.slot;
	return true;
}
