/* The one function that decides (DESIGN.md section 5): pure, total, default deny, prohibition beats
 * permission. The order of decisions:
 *
 *   key -> key binding -> org -> grant state and dates -> endpoint, model, forbidden parameters
 *       -> purpose and suite binding -> release level
 *
 * Limits come after it (limits.h), with the scopes of policy_scopes. */
#ifndef POLICY_DECIDE_H
#define POLICY_DECIDE_H

#include "base/buf.h"
#include "policy/leaf_claim.h"
#include "policy/world.h"

/* A request of the log, of which there are no words and no parameters any more: the leaf it was.
 * Settings, run and samples are taken to fit, as they did then. */
struct policy_recorded {
	struct bytes suite; /* id; empty: bound to none */
	uint32_t leaf;
};

/* A request as parsed facts. Zeroed is the emptiest request; set max_output to -1 and n to 1 where
 * the body does not name them. */
struct policy_request {
	/* From the head: all that policy_authenticate looks at. */
	bool has_key;
	uint8_t key_digest[SHA256_SIZE]; /* SHA-256 of the secret as sent */
	int64_t wall_ms;
	struct sender_facts sender;
	/* From the head, for policy_decide. */
	enum endpoint_use endpoint;
	unsigned dialect;   /* of the path, a bit of world_provider.serves */
	bool wants_verdict; /* `parley-accept: verdict` */
	struct bytes run;   /* `parley-run`; empty: none */
	/* From the body. */
	struct bytes model;
	int64_t max_output; /* tokens asked for; -1: not said */
	int64_t n;          /* answers asked for */
	bool stream;
	bool logprobs, logit_bias;
	bool non_text;               /* has parts other than text */
	struct bytes unknown_member; /* name of the first unknown member; empty: none */
	/* Only looked at where policy_needs_words says so; NULL: not computed, and so unbound. */
	const uint8_t *words_digest; /* SHA-256 of the canonical words, SHA256_SIZE bytes */
	const struct binding_settings *settings; /* NULL: none stated but max_output above */
	const struct leaf_claim *claim;          /* `parley-leaf`, with its words; NULL: none */
	/* The words taken apart, where policy_needs_script says so; NULL: they hold no answers. */
	const struct script_request *script;
	/* NULL for a request that is there; else instead of words and settings. */
	const struct policy_recorded *recorded;
};

enum policy_outcome {
	POLICY_REFUSE,
	POLICY_ADMIT,
	/* Would be admitted if a run over verdict.suite were open and the request named none: have
	 * one opened, then decide again in the new world. To a caller that cannot, it is a refusal
	 * under rule `suite.run`, and rule, clause and detail say so. */
	POLICY_OPEN_RUN,
};

struct verdict {
	enum policy_outcome outcome;
	enum rule rule;                    /* RULE_NONE where admitted */
	const struct world_clause *clause; /* that the rule enforces; NULL: none */
	const char *appeal;                /* "" where there is none */
	/* Where it was let through (policy_observe): by which rule it would have been refused, and
	 * the clause; RULE_NONE: by none. */
	enum rule observed;
	const struct world_clause *observed_clause;
	/* Let through before purpose, suite and release were found: none of them is known. */
	bool unbound;
	/* As far as the decision came; NULL where it did not. */
	const struct world *world;
	const struct world_key *key;
	const struct world_grant *grant;
	const struct world_model *model;
	/* Where admitted (purpose and release also where the suite is known): */
	enum purpose purpose;
	enum release release;
	int64_t output_cap; /* tokens that may come at most: asked, leaf's and model's, the least */
	const struct world_suite *suite; /* NULL: the purpose does not bind */
	const struct world_run *run;     /* NULL where none is used */
	struct binding_pick pick;        /* the leaf, and what of the run it uses up */
	unsigned model_slot;             /* in run->run */
	char detail[192];                /* "leaf 17, but max output 32000 > 64", or "" */
};

/* So much of a verdict is to be zeroed at first: of what follows only a refusal is read. */
#define VERDICT_ZEROED (offsetof(struct verdict, detail) + 1)

/* Network and binding of the key alone: for what even a revoked or expired key may still do. False:
 * by *rule, and *detail (static, or the facts' problem) says what was wrong. */
bool policy_sender_passes(const struct world_key *key, const struct policy_request *request,
			  enum rule *rule, const char **detail);

/* key, key binding, org, grant: what can be told before the body is read. Admitted means so far; a
 * refusal is final. The same call tells, after a new world was published, whether a live stream may
 * go on: request facts of the head are enough. */
void policy_authenticate(const struct world *world, const struct policy_request *request,
			 struct verdict *verdict);
/* Whether the head was admitted, or refused for what organisation and grant are only: then it is
 * known all the same whose key it is. */
bool policy_identifies(const struct verdict *verdict);

/* Whether the request's grant binds words, so that policy_decide needs words_digest and settings.
 * True does not mean that an answer depends on them: it saves computing them where it is false. */
bool policy_needs_words(const struct world_grant *grant, enum endpoint_use endpoint);

/* Whether a suite of the grant has conversations or judges, so that words are to be taken apart. */
bool policy_needs_script(const struct world_grant *grant);

/* The whole decision. Reads counters of samples, changes nothing. */
void policy_decide(const struct world *world, const struct policy_request *request,
		   struct verdict *verdict);

/* The rest of it, where the head's part has just been admitted: `verdict` is as policy_authenticate
 * left it, for the same request. */
void policy_decide_rest(const struct policy_request *request, struct verdict *verdict);

/* `mode: observe`: makes a refusal an admission that tells what would have refused it (`observed`,
 * with its clause; detail and appeal stay), where policy alone stands against it: organisation,
 * grant, purpose and suite, release, parameters, limits. False, and it stays a refusal (perhaps by
 * another rule), where the request cannot be read, authenticated or routed, or the gateway itself
 * cannot carry it. policy_observe_head is for what policy_authenticate said: the rest is to be
 * decided still. */
bool policy_observe(const struct policy_request *request, struct verdict *verdict);
bool policy_observe_head(struct verdict *verdict);

/* Takes the sample that an admitted request uses up, if it uses one (`hold` is empty if not).
 * False: another request was faster, and the verdict has become a refusal. */
bool policy_take_sample(struct verdict *verdict, const struct policy_request *request,
			struct binding_hold *hold);

/* The sets of limits an admitted request has to pass; returns how many (<= LIMITS_SCOPES_MAX). The
 * grant's comes first. */
unsigned policy_scopes(const struct verdict *verdict,
		       struct limits_scope scopes[static LIMITS_SCOPES_MAX]);

/* The same of what such a verdict names; `model` may be NULL. */
unsigned policy_scopes_under(const struct world_key *key, const struct world_grant *grant,
			     const struct world_model *model, enum purpose purpose,
			     struct limits_scope scopes[static LIMITS_SCOPES_MAX]);

/* Makes a verdict a refusal: by a limit, or by any other rule that the data path finds (`detail`
 * may be NULL). `verdict` must have been filled by one of the calls above or be zeroed. */
void policy_refuse_limit(struct verdict *verdict, const struct limits_refusal *refusal);
void policy_refuse(struct verdict *verdict, enum rule rule, const char *detail);

/* Whether a block by affiliation that is in force refuses requests of this purpose. */
bool policy_blocks_affiliate(const struct world_grant *grant, enum purpose purpose);
/* Makes a verdict that knows its grant the refusal by that block. */
void policy_refuse_affiliate(struct verdict *verdict);

/* "<rule's text>: <detail> (rule R; clause C; appeal A)", parts without content left out. */
void policy_message(const struct verdict *verdict, struct buf *out);

#endif
