/* Builds a world from documents. Everything is added afresh, in any order that names things before
 * they are referred to (orgs, providers, models, terms, clauses, public roots; then grants; then
 * keys and suites; then runs); `previous` lends the counters only: limit cells by grant, org, model
 * and key id, so that nothing counted is forgotten when a document changes. Strings are copied.
 *
 * Each call returns ERR_OK, ERR_EXISTS (the id is there already), ERR_NOT_FOUND (it refers to
 * something that is not), ERR_INVALID, ERR_TOO_LARGE or ERR_NO_MEMORY, and `err` names the thing;
 * after a failure the builder must be freed. */
#ifndef POLICY_WORLD_BUILDER_H
#define POLICY_WORLD_BUILDER_H

#include "policy/day.h"
#include "policy/world.h"

struct world_builder;

#define WORLD_SECRET_SIZE 32

/* `secret`: the gateway's key for suites' digests. `previous` may be NULL; a reference is taken.
 * NULL when memory is out. */
struct world_builder *world_builder_new(struct world *previous,
					const uint8_t secret[static WORLD_SECRET_SIZE]);
void world_builder_free(struct world_builder *builder); /* NULL is fine */

/* One that has everything of `previous` already, and takes what has changed since: a thing that is
 * added takes the place of that with the same id. Links, terms, clauses, public roots, providers
 * and models are not to be added. NULL when memory is out, or so much of `previous` is amended that
 * a world must be built whole again. */
struct world_builder *world_builder_amend(struct world *previous,
					  const uint8_t secret[static WORLD_SECRET_SIZE]);
/* False once something was added whose consequences reach further than an amendment does (blocks
 * with affiliates, rivals, organisations that come to be among linked ones): a world must be built
 * whole. */
bool world_builder_fits(const struct world_builder *builder);
/* The run is not open any more. One that is not there is no error. */
enum err_code world_builder_end_run(struct world_builder *builder, const char *id, struct err *err);

/* A block with all affiliates: each of their grants is blocked from when its notice is over,
 * counted from the block or from when the affiliation was noted, whichever is later, and once that
 * moment lies before `applied_ms`. Those that were affiliates before `now_ms` have no notice (0:
 * all have). */
struct world_block_options {
	int64_t since_ms, now_ms, applied_ms;
	const char *const *grants; /* for safety_evaluation, blocked all the same */
	size_t grant_count;
};

struct world_org_options {
	const char *id, *name;
	const char *pseudonym; /* how records name it; may be NULL */
	bool blocked, rival;
	const char *block_reason;                     /* may be NULL */
	const struct world_block_options *affiliates; /* NULL: they are not blocked with it */
	const struct limits_values *limits;           /* NULL: none */
};
enum err_code world_builder_add_org(struct world_builder *builder,
				    const struct world_org_options *options, struct err *err);

struct world_link_options {
	const char *from, *to; /* orgs */
	enum link_kind kind;
	uint32_t share; /* of `owns`: billionths, at most LINKS_WHOLE */
	bool open;      /* public */
	int64_t noted_ms;
};
/* A confirmed link that is in force. */
enum err_code world_builder_add_link(struct world_builder *builder,
				     const struct world_link_options *options, struct err *err);
/* Control needs more than this share; LINKS_THRESHOLD_DEFAULT where it is not called. */
void world_builder_set_threshold(struct world_builder *builder, uint32_t threshold);

/* `serves`: bit d for each dialect d whose endpoints it can be asked through. */
enum err_code world_builder_add_provider(struct world_builder *builder, const char *name,
					 unsigned dialect, unsigned serves, struct err *err);

struct world_model_options {
	const char *name, *provider;
	const char *upstream; /* NULL: the name */
	int64_t max_output;   /* > 0 */
	int64_t context;
	struct limits_price price;
	const struct limits_values *limits; /* NULL: none */
};
enum err_code world_builder_add_model(struct world_builder *builder,
				      const struct world_model_options *options, struct err *err);

/* The version of the terms in force; once. */
enum err_code world_builder_set_terms(struct world_builder *builder, const char *version,
				      struct err *err);
/* `rules`: bit r for each rule that enforces it (rule_find). */
enum err_code world_builder_add_clause(struct world_builder *builder, const char *id,
				       const char *kind, const char *text, uint64_t rules,
				       struct err *err);

/* A suite with this root is public. The same root twice is no error. */
enum err_code world_builder_add_public_root(struct world_builder *builder,
					    const uint8_t root[static SHA256_SIZE],
					    struct err *err);

struct world_grant_options {
	const char *id, *org;
	const char *team; /* may be NULL */
	enum grant_state state;
	int64_t from_ms, until_ms; /* from <= now < until; `until` is the day after the last */
	unsigned purposes;         /* not 0 */
	unsigned classes;
	int64_t max_leaves;        /* LIMIT_NONE: no bound */
	unsigned samples_per_leaf; /* 0: 1 */
	enum release release;
	struct limits_values limits;
	const char *appeal; /* may be NULL */
	int64_t notice_ms;
	struct sender_demand key_binding; /* thumbprints are copied */
	/* A model that is not in the configuration (any more) is left out: it cannot be asked. */
	const char *const *models;
	size_t model_count;
	const char *const *overrides; /* clause ids; unknown ones ERR_NOT_FOUND */
	size_t override_count;
};
enum err_code world_builder_add_grant(struct world_builder *builder,
				      const struct world_grant_options *options, struct err *err);

struct world_key_options {
	const char *id, *grant;
	uint8_t digest[SHA256_SIZE]; /* of the secret */
	enum world_key_state state;
	int64_t expires_ms; /* WORLD_ALWAYS: never */
	bool staff;
	struct watch_key *watch;   /* may be NULL */
	struct sender_rule sender; /* the networks are copied, at most SENDER_NETWORKS_MAX */
	const struct limits_values *limits; /* NULL: none of its own */
	/* The first of the keys that follow each other by rotation, with which it shares the
	 * counters of its limits; NULL: itself. */
	const char *counters;
};
enum err_code world_builder_add_key(struct world_builder *builder,
				    const struct world_key_options *options, struct err *err);

/* Registered under the grant, in any order: the world lists them by age. It takes references.
 * `class` is what review made of it (reviewed or private); a public root makes it public whatever
 * is said here. */
enum err_code world_builder_add_suite(struct world_builder *builder, const char *grant,
				      struct binding_suite *suite, enum suite_class class,
				      struct err *err);
/* What was added, or was there before; NULL: there is none. */
const struct world_grant *world_builder_find_grant(const struct world_builder *builder,
						   struct bytes id);
const struct world_suite *world_builder_find_suite(const struct world_builder *builder,
						   struct bytes id);
/* What the suite's leaves are graded by, for a grant that releases verdicts; a reference is taken.
 */
enum err_code world_builder_set_book(struct world_builder *builder, const char *suite,
				     struct grading_book *book, struct err *err);

/* Open runs only; its suite must be added under its grant. */
enum err_code world_builder_add_run(struct world_builder *builder, struct binding_run *run,
				    struct err *err);

/* The world with one reference, the caller's; the builder is empty afterwards and is only to be
 * freed. */
enum err_code world_build(struct world_builder *builder, struct world **out, struct err *err);

#endif
