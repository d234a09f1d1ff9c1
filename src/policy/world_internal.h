/* The insides of a world, for world*.c only. */
#ifndef POLICY_WORLD_INTERNAL_H
#define POLICY_WORLD_INTERNAL_H

#include "base/arena.h"
#include "base/err.h"
#include "policy/lookup.h"
#include "policy/world_builder.h"

/* Things of a world that are no tables. A world that was amended goes on using those before. */
struct world_memory {
	_Atomic unsigned references;
	struct world_memory *before; /* one reference; NULL: its world was built whole */
	unsigned depth;              /* of those before */
	size_t amended;              /* bytes of those before that were amendments */
	struct arena arena;
};
/* NULL when memory is out. */
struct world_memory *world_memory_new(struct world_memory *before, size_t block_size, size_t max);
void world_memory_drop(struct world_memory *memory); /* NULL is fine; any thread */

struct world {
	_Atomic unsigned references;
	uint64_t version;
	struct world_memory *memory;
	struct limits_table *limits;
	struct hmac_key secret;
	const char *terms_version;
	struct id_table orgs, providers, models, clauses, grants, keys, suites, runs;
	struct digest_table keys_by_digest, public_roots;
	struct links_graph *links;
	size_t link_count;
	bool has_blocks;      /* with affiliates */
	uint32_t *key_grants; /* by a key's place: the number of its grant */
	size_t key_grants_capacity;
};

/* An org that is blocked with its affiliates. */
struct world_block {
	struct world_org *org;
	int64_t since_ms, now_ms, applied_ms;
	const char **grants; /* named one by one */
	size_t grant_count;
};

struct world_builder {
	struct world *world;
	struct links_link *links;
	size_t link_count, link_capacity;
	struct world_block *blocks;
	size_t block_count;
	uint32_t threshold;
	/* Of an amendment (world_amend.c). By place, for things of the world before: whether this
	 * world has another one there. */
	bool amends, unfit, orgs_changed;
	bool *fresh_orgs, *fresh_grants, *fresh_keys;
	size_t old_orgs, old_grants, old_keys;
};

/* world_amend.c. The grant as this world's own, to be changed, with its suites and runs. */
enum err_code world_amend_own_grant(struct world_builder *builder, const struct world_grant *grant,
				    struct world_grant **out, struct err *err);
enum err_code world_amend_move_suites(struct world_builder *builder, const struct world_grant *from,
				      struct world_grant *to, struct err *err);
/* Replaces what points at something that was replaced. */
enum err_code world_amend_settle(struct world_builder *builder, struct err *err);
/* world_builder.c: counters for each of the grant's models. */
enum err_code world_run_slots(struct world *world, struct world_run *entry,
			      const struct world_grant *grant, struct err *err);

/* world_links.c: makes the graph and settles what follows from it for orgs and grants. */
enum err_code world_settle_links(struct world *world, const struct links_link *links, size_t count,
				 uint32_t threshold, const struct world_block *blocks,
				 size_t block_count, struct err *err);

#endif
