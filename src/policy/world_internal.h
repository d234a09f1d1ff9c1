/* The insides of a world, for world.c and world_builder.c only. */
#ifndef POLICY_WORLD_INTERNAL_H
#define POLICY_WORLD_INTERNAL_H

#include "base/arena.h"
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
};

#endif
