/* The insides of a world, for world.c and world_builder.c only. */
#ifndef POLICY_WORLD_INTERNAL_H
#define POLICY_WORLD_INTERNAL_H

#include "base/arena.h"
#include "base/err.h"
#include "policy/lookup.h"
#include "policy/world.h"

struct world {
	_Atomic unsigned references;
	uint64_t version;
	struct arena arena; /* everything below that is no table */
	struct limits_table *limits;
	struct hmac_key secret;
	const char *terms_version;
	struct id_table orgs, providers, models, clauses, grants, keys, suites, runs;
	struct digest_table keys_by_digest, public_roots;
	struct links_graph *links;
};

/* An org that is blocked with its affiliates. */
struct world_block {
	struct world_org *org;
	int64_t since_ms, now_ms, applied_ms;
	const char **grants; /* named one by one */
	size_t grant_count;
};

/* world_links.c: makes the graph and settles what follows from it for orgs and grants. */
enum err_code world_settle_links(struct world *world, const struct links_link *links, size_t count,
				 uint32_t threshold, const struct world_block *blocks,
				 size_t block_count, struct err *err);

#endif
