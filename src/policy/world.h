/* The world: one immutable snapshot of everything that decisions rest on: organisations, terms,
 * grants, keys, models, suites and runs. Built by one thread (world_builder.h), published to all by
 * a pointer swap, freed with the last reference. Lookups take no lock, allocate nothing and cost
 * O(1). Pointers into a world are valid while a reference to it is held; limit cells and runs
 * live on from one world to the next. */
#ifndef POLICY_WORLD_H
#define POLICY_WORLD_H

#include "base/buf.h"
#include "policy/binding.h"
#include "policy/grading.h"
#include "policy/limits.h"
#include "policy/links.h"
#include "policy/sender.h"
#include "policy/tables.h"

#define WORLD_CLAUSES_MAX 256
#define WORLD_ALWAYS INT64_MAX /* no end */

struct world_org;

/* An org that is blocked with its affiliates, seen from one of them. */
struct world_affiliation {
	const struct world_org *blocked;
	const char
		*path; /* the public part of the links between them, in words; "" where none is */
	bool open;     /* all of them are public: who and why may be told */
	int64_t noted_ms; /* since when they are all on record */
};

struct world_org {
	const char *id; /* first member of every thing that is found by id */
	const char *name;
	const char *pseudonym; /* how records name it; "" where none was given */
	bool blocked;
	const char *block_reason; /* as the person gave it; "" where there is none */
	bool rival;               /* evaluation grants are the only way in */
	struct limits_values limits;
	struct limits_cells *cells;
	/* From the links (DESIGN.md section 2): */
	uint32_t number;               /* its place: world_org_at */
	const struct world_org *group; /* the same for all that control ties together */
	const struct world_org *top;   /* controls it, and its limits count both; NULL: none does */
	const struct world_org *rival_over; /* a rival that controls it; NULL: none does */
	const char *rival_path;             /* as a struct world_affiliation's; "" */
	/* Blocked with its affiliates: when the next notice of theirs is over; WORLD_ALWAYS: none
	 * is running. */
	int64_t block_due_ms;
};

struct world_clause {
	const char *id;
	const char *kind; /* permission, prohibition, duty */
	const char *text;
	uint64_t rules; /* bit r: enforced by rule r */
};
_Static_assert(RULE_COUNT <= 64, "rules of a clause are a set of 64 bits");

struct world_provider {
	const char *id;   /* its name in the configuration */
	unsigned index;   /* order of adding: the data path's own table of upstreams */
	unsigned dialect; /* as dialect/ counts them; compared, never interpreted here */
	unsigned serves;  /* bit d: requests of dialect d may be for it */
};

struct world_model {
	const char *id; /* public name */
	const struct world_provider *provider;
	const char *upstream;
	int64_t max_output; /* tokens */
	int64_t context;    /* tokens; 0: not stated */
	struct limits_price price;
	struct limits_values limits;
	struct limits_cells *cells;
};

struct world_run {
	const char *id;
	struct binding_run *run; /* open when the world was built; run->closed tells later */
	struct world_suite *suite;
	unsigned *slots;        /* for each of the grant's models, in its order */
	struct world_run *next; /* of the same suite, older first */
};

/* A suite under a grant. */
struct world_suite {
	const char *id;
	struct binding_suite *suite;
	enum suite_class class;
	struct world_grant *grant;
	struct world_run *runs;
	struct world_suite *next;  /* of the same grant, older first */
	struct grading_book *book; /* its scorers, for verdicts; NULL: they are not kept here */
};

struct world_grant {
	const char *id;
	struct world_org *org;
	const char *team; /* "" where the grant is for the whole org */
	enum grant_state state;
	int64_t from_ms, until_ms; /* valid from <= now < until */
	unsigned purposes;         /* bit set of 1 << PURPOSE_… */
	unsigned classes;          /* bit set of 1 << SUITE_CLASS_… */
	int64_t max_leaves;        /* of all its suites together; LIMIT_NONE: no bound */
	unsigned samples_per_leaf; /* a run may have at most; 1 to BINDING_SAMPLES_MAX */
	enum release release;
	struct limits_values limits;
	struct limits_cells *cells;
	/* Machine limits of interop_test, for requests of that purpose only. */
	struct limits_values interop_limits;
	struct limits_cells *interop_cells;
	const char *appeal;               /* "" where there is none */
	int64_t notice_ms;                /* agreed notice */
	struct sender_demand key_binding; /* of its keys */
	/* Its org is an affiliate of one that is blocked with its affiliates: from block_ms on, and
	 * `blocked` once that has been put in force. NULL: it is not, or the grant is spared. */
	const struct world_affiliation *affiliation;
	int64_t block_ms;
	bool blocked;
	bool block_spares; /* safety_evaluation goes on */
	unsigned model_count;
	const struct world_model **models;
	uint64_t overrides[WORLD_CLAUSES_MAX / 64]; /* bit c: clause number c */
	struct world_suite *suites;                 /* older first */
	uint32_t number;                            /* its place: world_grant_at */
	unsigned run_count;                         /* open runs of all its suites */
};

enum world_key_state { WORLD_KEY_ACTIVE, WORLD_KEY_REVOKED };

struct watch_key;

struct world_key {
	const char *id; /* public id */
	uint8_t digest[SHA256_SIZE];
	struct world_grant *grant;
	enum world_key_state state;
	int64_t expires_ms; /* WORLD_ALWAYS: never */
	bool staff;         /* the grant names it, or its team, for what is beyond V2 */
	struct sender_rule sender;
	bool falls_short;        /* it is not bound as its grant demands */
	struct watch_key *watch; /* what is noted of its use; NULL: nothing. Opaque here. */
	struct limits_values limits;
	struct limits_cells *cells; /* NULL where the key has no limits of its own */
	uint32_t number;            /* its place: world_key_at */
};

struct world;

struct world *world_hold(struct world *world);
void world_drop(struct world *world); /* NULL is fine; any thread */

/* Counts up with every world built on a previous one; 1 for the first. */
uint64_t world_version(const struct world *world);
struct limits_table *world_limits(const struct world *world);
/* "" where no terms are in force. */
const char *world_terms_version(const struct world *world);
/* The key for suites' digests. */
const struct hmac_key *world_binding_secret(const struct world *world);

/* NULL where there is none. The digest is SHA-256 of the whole secret, `plk_` included. The table
 * is looked at where the first bytes of the digest say, and what stands there is compared in
 * constant time. The time thus tells how many digests of keys share a bucket with that of the
 * secret sent; whoever learns from it the first bits of a digest knows nothing of a secret, which
 * is 256 random bits behind a one-way function. */
const struct world_key *world_find_key(const struct world *world,
				       const uint8_t digest[static SHA256_SIZE]);
const struct world_key *world_find_key_id(const struct world *world, struct bytes id);
const struct world_org *world_find_org(const struct world *world, struct bytes id);
const struct world_grant *world_find_grant(const struct world *world, struct bytes id);
const struct world_model *world_find_model(const struct world *world, struct bytes name);
const struct world_provider *world_find_provider(const struct world *world, struct bytes name);
const struct world_run *world_find_run(const struct world *world, struct bytes id);
const struct world_suite *world_find_suite(const struct world *world, struct bytes id);
bool world_is_public_root(const struct world *world, const uint8_t root[static SHA256_SIZE]);

/* The links in force. Walks over it need scratch memory of their own. */
const struct links_graph *world_links(const struct world *world);
/* "southlab owns 60 % of midco, midco controls surfboard": the links of the walk's path to `org`,
 * all of them or the public ones; "..." stands for others between. Nothing where none is shown. */
void world_write_path(const struct world *world, const struct links_walk *walk, uint32_t org,
		      bool all, struct buf *out);

/* Place of the model among the grant's models, or -1. */
int world_grant_model(const struct world_grant *grant, const struct world_model *model);

/* The clause that a refusal under `rule` enforces: the first that names the rule and that `grant`
 * (may be NULL) does not override; else the first overridden one, for what a grant overrides holds
 * within its bounds only; NULL where no clause names the rule. */
const struct world_clause *world_clause_of(const struct world *world, enum rule rule,
					   const struct world_grant *grant);

/* All of a kind, in the order of adding, for lists and checks. */
size_t world_org_count(const struct world *world);
const struct world_org *world_org_at(const struct world *world, size_t index);
size_t world_grant_count(const struct world *world);
const struct world_grant *world_grant_at(const struct world *world, size_t index);
size_t world_key_count(const struct world *world);
const struct world_key *world_key_at(const struct world *world, size_t index);
size_t world_model_count(const struct world *world);
const struct world_model *world_model_at(const struct world *world, size_t index);
size_t world_clause_count(const struct world *world);
const struct world_clause *world_clause_at(const struct world *world, size_t index);

#endif
