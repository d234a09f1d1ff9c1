#include "policy/world_internal.h"

#include <stdlib.h>

struct world *world_hold(struct world *world)
{
	atomic_fetch_add(&world->references, 1);
	return world;
}

static void drop_shared(struct world *world)
{
	for (size_t i = 0; i < world->suites.count; i++) {
		struct world_suite *suite = id_table_at(&world->suites, i);
		binding_suite_drop(suite->suite);
		grading_book_drop(suite->book);
	}
	for (size_t i = 0; i < world->runs.count; i++) {
		struct world_run *run = id_table_at(&world->runs, i);
		if (run)
			binding_run_drop(run->run);
	}
	limits_table_drop(world->limits);
}

void world_drop(struct world *world)
{
	if (!world || atomic_fetch_sub(&world->references, 1) != 1)
		return;
	drop_shared(world);
	struct id_table *tables[] = {&world->orgs,    &world->providers, &world->models,
				     &world->clauses, &world->grants,    &world->keys,
				     &world->suites,  &world->runs};
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		id_table_release(tables[i]);
	digest_table_release(&world->keys_by_digest);
	digest_table_release(&world->public_roots);
	links_graph_free(world->links);
	free(world->key_grants);
	world_memory_drop(world->memory);
	free(world);
}

uint64_t world_version(const struct world *world)
{
	return world->version;
}

const struct links_graph *world_links(const struct world *world)
{
	return world->links;
}

struct limits_table *world_limits(const struct world *world)
{
	return world->limits;
}

const char *world_terms_version(const struct world *world)
{
	return world->terms_version;
}

const struct hmac_key *world_binding_secret(const struct world *world)
{
	return &world->secret;
}

const struct world_key *world_find_key(const struct world *world,
				       const uint8_t digest[static SHA256_SIZE])
{
	return digest_table_find(&world->keys_by_digest, digest);
}

const struct world_key *world_find_key_id(const struct world *world, struct bytes id)
{
	return id_table_find(&world->keys, id);
}

const struct world_org *world_find_org(const struct world *world, struct bytes id)
{
	return id_table_find(&world->orgs, id);
}

const struct world_grant *world_find_grant(const struct world *world, struct bytes id)
{
	return id_table_find(&world->grants, id);
}

const struct world_model *world_find_model(const struct world *world, struct bytes name)
{
	return id_table_find(&world->models, name);
}

const struct world_provider *world_find_provider(const struct world *world, struct bytes name)
{
	return id_table_find(&world->providers, name);
}

const struct world_run *world_find_run(const struct world *world, struct bytes id)
{
	return id_table_find(&world->runs, id);
}

const struct world_suite *world_find_suite(const struct world *world, struct bytes id)
{
	return id_table_find(&world->suites, id);
}

bool world_is_public_root(const struct world *world, const uint8_t root[static SHA256_SIZE])
{
	return digest_table_find(&world->public_roots, root) != NULL;
}

int world_grant_model(const struct world_grant *grant, const struct world_model *model)
{
	for (unsigned i = 0; i < grant->model_count; i++)
		if (grant->models[i] == model)
			return (int)i;
	return -1;
}

const struct world_clause *world_clause_of(const struct world *world, enum rule rule,
					   const struct world_grant *grant)
{
	const struct world_clause *overridden = NULL;
	for (size_t i = 0; i < world->clauses.count; i++) {
		const struct world_clause *clause = id_table_at(&world->clauses, i);
		if (!(clause->rules >> rule & 1))
			continue;
		if (!grant || !(grant->overrides[i / 64] >> i % 64 & 1))
			return clause;
		if (!overridden)
			overridden = clause;
	}
	return overridden;
}

size_t world_org_count(const struct world *world)
{
	return world->orgs.count;
}

const struct world_org *world_org_at(const struct world *world, size_t index)
{
	return id_table_at(&world->orgs, index);
}

size_t world_grant_count(const struct world *world)
{
	return world->grants.count;
}

const struct world_grant *world_grant_at(const struct world *world, size_t index)
{
	return id_table_at(&world->grants, index);
}

size_t world_key_count(const struct world *world)
{
	return world->keys.count;
}

const struct world_key *world_key_at(const struct world *world, size_t index)
{
	return id_table_at(&world->keys, index);
}

size_t world_model_count(const struct world *world)
{
	return world->models.count;
}

const struct world_model *world_model_at(const struct world *world, size_t index)
{
	return id_table_at(&world->models, index);
}

size_t world_clause_count(const struct world *world)
{
	return world->clauses.count;
}

const struct world_clause *world_clause_at(const struct world *world, size_t index)
{
	return id_table_at(&world->clauses, index);
}
