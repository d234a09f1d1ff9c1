/* A world made of another one and a few documents that have changed, at the price of these: tables
 * are shared page by page, and things that have not changed are the other world's own. Things point
 * at each other, so that what points at a thing that is replaced is replaced too: a changed org
 * takes its grants along, a grant its suites, runs and keys.
 *
 * What would reach further is not amended (builder->unfit): links, blocks with affiliates, terms.
 */
#include "policy/world_internal.h"

#include <assert.h>
#include <stdlib.h>

#define ARENA_BLOCK ((size_t)2048)
#define ARENA_MAX ((size_t)2 << 30)
/* Replaced things stay with the worlds that follow: then one is built whole. */
#define DEPTH_MAX 4096u
#define AMENDED_MAX ((size_t)64 << 20)

/* ---- memory ---- */

/* Bytes; of the world that was built whole nothing counts. */
static size_t amended_by(const struct world_memory *memory)
{
	return memory->depth ? memory->amended + memory->arena.total : 0;
}

struct world_memory *world_memory_new(struct world_memory *before, size_t block_size, size_t max)
{
	struct world_memory *memory = calloc(1, sizeof(*memory));
	if (!memory)
		return NULL;
	atomic_init(&memory->references, 1);
	arena_init(&memory->arena, block_size, max);
	if (!before)
		return memory;
	atomic_fetch_add(&before->references, 1);
	memory->before = before;
	memory->depth = before->depth + 1;
	memory->amended = amended_by(before);
	return memory;
}

void world_memory_drop(struct world_memory *memory)
{
	while (memory && atomic_fetch_sub(&memory->references, 1) == 1) {
		struct world_memory *before = memory->before;
		arena_release(&memory->arena);
		free(memory);
		memory = before;
	}
}

/* ---- beginning ---- */

static void hold_shared(struct world *world)
{
	for (size_t i = 0; i < world->suites.count; i++) {
		struct world_suite *suite = id_table_at(&world->suites, i);
		binding_suite_hold(suite->suite);
		grading_book_hold(suite->book);
	}
	for (size_t i = 0; i < world->runs.count; i++) {
		struct world_run *run = id_table_at(&world->runs, i);
		if (run)
			binding_run_hold(run->run);
	}
}

static bool share_tables(struct world *to, const struct world *from)
{
	bool good = id_table_share(&to->orgs, &from->orgs) &&
		    id_table_share(&to->providers, &from->providers) &&
		    id_table_share(&to->models, &from->models) &&
		    id_table_share(&to->clauses, &from->clauses) &&
		    id_table_share(&to->grants, &from->grants) &&
		    id_table_share(&to->keys, &from->keys) &&
		    digest_table_share(&to->keys_by_digest, &from->keys_by_digest) &&
		    digest_table_share(&to->public_roots, &from->public_roots);
	size_t count = from->keys.count;
	to->key_grants = malloc((count + 1) * sizeof(*to->key_grants));
	to->key_grants_capacity = count + 1;
	if (good && to->key_grants && count)
		memcpy(to->key_grants, from->key_grants, count * sizeof(*to->key_grants));
	/* Suites and runs last: with them come references. */
	if (!good || !to->key_grants || !id_table_share(&to->suites, &from->suites))
		return false;
	if (!id_table_share(&to->runs, &from->runs)) {
		id_table_release(&to->suites);
		return false;
	}
	hold_shared(to);
	return true;
}

static bool share_world(struct world_builder *builder, const struct world *previous)
{
	struct world *world = builder->world;
	builder->fresh_orgs = calloc(previous->orgs.count + 1, sizeof(bool));
	builder->fresh_grants = calloc(previous->grants.count + 1, sizeof(bool));
	builder->fresh_keys = calloc(previous->keys.count + 1, sizeof(bool));
	builder->old_orgs = previous->orgs.count;
	builder->old_grants = previous->grants.count;
	builder->old_keys = previous->keys.count;
	world->terms_version = previous->terms_version;
	world->links = links_graph_hold(previous->links);
	world->link_count = previous->link_count;
	world->has_blocks = previous->has_blocks;
	return builder->fresh_orgs && builder->fresh_grants && builder->fresh_keys &&
	       share_tables(world, previous);
}

struct world_builder *world_builder_amend(struct world *previous,
					  const uint8_t secret[static WORLD_SECRET_SIZE])
{
	if (previous->memory->depth >= DEPTH_MAX || amended_by(previous->memory) > AMENDED_MAX)
		return NULL;
	struct world_builder *builder = world_builder_new(previous, secret);
	struct world_memory *more = world_memory_new(previous->memory, ARENA_BLOCK, ARENA_MAX);
	if (!builder || !more) {
		world_memory_drop(more);
		world_builder_free(builder);
		return NULL;
	}
	world_memory_drop(builder->world->memory);
	builder->world->memory = more;
	builder->amends = true;
	if (share_world(builder, previous))
		return builder;
	world_builder_free(builder);
	return NULL;
}

bool world_builder_fits(const struct world_builder *builder)
{
	return !builder->unfit;
}

/* ---- replacing ---- */

/* Whether the thing in this place is new in this world. */
static bool is_fresh(const bool *fresh, size_t old, size_t place)
{
	return place >= old || fresh[place];
}

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory to amend the policy");
}

static void *copy_of(struct world *world, const void *thing, size_t size)
{
	void *copy = arena_alloc(&world->memory->arena, size);
	return copy ? memcpy(copy, thing, size) : NULL;
}

static enum err_code move_runs(struct world_builder *builder, const struct world_suite *from,
			       struct world_suite *to, struct err *err)
{
	struct world *world = builder->world;
	struct world_run **last = &to->runs;
	*last = NULL;
	for (const struct world_run *run = from->runs; run; run = run->next) {
		struct world_run *copy = copy_of(world, run, sizeof(*run));
		if (!copy || !id_table_replace(&world->runs, copy))
			return no_memory(err);
		copy->suite = to;
		copy->next = NULL;
		ERR_TRY(world_run_slots(world, copy, to->grant, err));
		*last = copy;
		last = &copy->next;
	}
	return ERR_OK;
}

enum err_code world_amend_move_suites(struct world_builder *builder, const struct world_grant *from,
				      struct world_grant *to, struct err *err)
{
	struct world *world = builder->world;
	struct world_suite **last = &to->suites;
	*last = NULL;
	to->run_count = from->run_count;
	for (const struct world_suite *suite = from->suites; suite; suite = suite->next) {
		struct world_suite *copy = copy_of(world, suite, sizeof(*suite));
		if (!copy || !id_table_replace(&world->suites, copy))
			return no_memory(err);
		copy->grant = to;
		copy->next = NULL;
		ERR_TRY(move_runs(builder, suite, copy, err));
		*last = copy;
		last = &copy->next;
	}
	return ERR_OK;
}

enum err_code world_amend_own_grant(struct world_builder *builder, const struct world_grant *grant,
				    struct world_grant **out, struct err *err)
{
	struct world *world = builder->world;
	uint32_t number = grant->number;
	*out = id_table_at(&world->grants, number);
	if (!builder->amends || is_fresh(builder->fresh_grants, builder->old_grants, number))
		return ERR_OK;
	struct world_grant *copy = copy_of(world, *out, sizeof(*copy));
	if (!copy)
		return no_memory(err);
	ERR_TRY(world_amend_move_suites(builder, *out, copy, err));
	if (!id_table_replace(&world->grants, copy))
		return no_memory(err);
	builder->fresh_grants[number] = true;
	*out = copy;
	return ERR_OK;
}

/* ---- what points at something that was replaced ---- */

static struct world_org *org_now(const struct world *world, const struct world_org *org)
{
	return org ? id_table_at(&world->orgs, org->number) : NULL;
}

static bool org_is_stale(const struct world *world, const struct world_org *org)
{
	return org_now(world, org->group) != org->group || org_now(world, org->top) != org->top ||
	       org_now(world, org->rival_over) != org->rival_over;
}

static enum err_code copy_stale_orgs(struct world_builder *builder, bool *any, struct err *err)
{
	struct world *world = builder->world;
	*any = false;
	for (size_t i = 0; i < builder->old_orgs; i++) {
		struct world_org *org = id_table_at(&world->orgs, i);
		if (builder->fresh_orgs[i] || !org_is_stale(world, org))
			continue;
		struct world_org *copy = copy_of(world, org, sizeof(*org));
		if (!copy || !id_table_replace(&world->orgs, copy))
			return no_memory(err);
		builder->fresh_orgs[i] = *any = true;
	}
	return ERR_OK;
}

static enum err_code settle_orgs(struct world_builder *builder, struct err *err)
{
	struct world *world = builder->world;
	for (bool any = true; any;)
		ERR_TRY(copy_stale_orgs(builder, &any, err));
	for (size_t i = 0; i < world->orgs.count; i++) {
		struct world_org *org = id_table_at(&world->orgs, i);
		if (!is_fresh(builder->fresh_orgs, builder->old_orgs, i))
			continue;
		org->group = org_now(world, org->group);
		org->top = org_now(world, org->top);
		org->rival_over = org_now(world, org->rival_over);
	}
	if (world->orgs.count == builder->old_orgs)
		return ERR_OK;
	assert(world->link_count == 0);
	struct links_graph *links =
		links_graph_new(NULL, 0, (uint32_t)world->orgs.count, builder->threshold);
	if (!links)
		return no_memory(err);
	links_graph_free(world->links);
	world->links = links;
	return ERR_OK;
}

static enum err_code settle_grants(struct world_builder *builder, struct err *err)
{
	struct world *world = builder->world;
	for (size_t i = 0; i < world->grants.count; i++) {
		struct world_grant *grant = id_table_at(&world->grants, i);
		struct world_org *org = org_now(world, grant->org);
		if (grant->org == org)
			continue;
		ERR_TRY(world_amend_own_grant(builder, grant, &grant, err));
		grant->org = org;
	}
	return ERR_OK;
}

static enum err_code settle_key(struct world_builder *builder, size_t place, struct err *err)
{
	struct world *world = builder->world;
	struct world_key *key = id_table_at(&world->keys, place);
	if (!is_fresh(builder->fresh_keys, builder->old_keys, place)) {
		key = copy_of(world, key, sizeof(*key));
		if (!key || !id_table_replace(&world->keys, key) ||
		    !digest_table_replace(&world->keys_by_digest, key->digest, key))
			return no_memory(err);
	}
	key->grant = id_table_at(&world->grants, world->key_grants[place]);
	key->falls_short = !sender_meets(&key->grant->key_binding, &key->sender);
	return ERR_OK;
}

/* The scan reads one number a key. */
static enum err_code settle_keys(struct world_builder *builder, struct err *err)
{
	const struct world *world = builder->world;
	for (size_t i = 0; i < world->keys.count; i++)
		if (is_fresh(builder->fresh_grants, builder->old_grants, world->key_grants[i]))
			ERR_TRY(settle_key(builder, i, err));
	return ERR_OK;
}

enum err_code world_amend_settle(struct world_builder *builder, struct err *err)
{
	if (builder->orgs_changed) {
		ERR_TRY(settle_orgs(builder, err));
		ERR_TRY(settle_grants(builder, err));
	}
	return settle_keys(builder, err);
}

enum err_code world_builder_end_run(struct world_builder *builder, const char *id, struct err *err)
{
	struct world *world = builder->world;
	struct world_run *run = id_table_find(&world->runs, bytes_from(id));
	struct world_grant *grant;
	if (!run)
		return ERR_OK;
	ERR_TRY(world_amend_own_grant(builder, run->suite->grant, &grant, err));
	run = id_table_find(&world->runs, bytes_from(id));
	struct world_run **place = &run->suite->runs;
	while (*place != run)
		place = &(*place)->next;
	if (!id_table_remove(&world->runs, bytes_from(id)))
		return no_memory(err);
	*place = run->next;
	grant->run_count--;
	binding_run_drop(run->run);
	return ERR_OK;
}
