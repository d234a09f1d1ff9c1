/* What follows from the links between organisations: whose limits count together, for whom
 * evaluation grants are the only way in, and which grants a block by affiliation reaches. */
#include "policy/world_internal.h"

#include "base/buf.h"

#include <stdlib.h>

/* Of a path in words; what is further is "...". */
#define PATH_LINKS_MAX 8
#define PATH_BYTES_MAX 4096

static struct world_org *org_of(const struct world *world, uint32_t number)
{
	return id_table_at(&world->orgs, number);
}

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "policy: no memory for the links between organisations");
}

/* ---- paths in words ---- */

/* "southlab owns 60 % of midco" */
static void append_link(struct buf *out, const struct world *world, const struct links_link *link)
{
	const char *from = org_of(world, link->from)->id, *to = org_of(world, link->to)->id;
	if (link->kind == LINK_OWNS)
		buf_printf(out, "%s owns %g %% of %s", from,
			   (double)link->share * 100 / LINKS_WHOLE, to);
	else
		buf_printf(out, "%s %s %s", from, link_kind_verb(link->kind), to);
}

void world_write_path(const struct world *world, const struct links_walk *walk, uint32_t org,
		      bool all, struct buf *out)
{
	const struct links_link *path[PATH_LINKS_MAX];
	size_t count = links_walk_path(walk, org, path, PATH_LINKS_MAX);
	bool hidden = false, any = false;
	for (size_t i = 0; i < count && i < PATH_LINKS_MAX; i++) {
		if (!all && !path[i]->open) {
			hidden = true;
			continue;
		}
		buf_append_cstr(out, any ? ", " : "");
		buf_append_cstr(out, hidden ? "..., " : "");
		append_link(out, world, path[i]);
		hidden = false;
		any = true;
	}
	if (any && (hidden || count > PATH_LINKS_MAX))
		buf_append_cstr(out, ", ...");
}

static bool is_open(const struct links_walk *walk, uint32_t org)
{
	for (const struct links_link *link = links_walk_through(walk, org); link;
	     link = links_walk_through(walk, link->from))
		if (!link->open)
			return false;
	return true;
}

static int64_t noted_ms(const struct links_walk *walk, uint32_t org)
{
	int64_t latest = 0;
	for (const struct links_link *link = links_walk_through(walk, org); link;
	     link = links_walk_through(walk, link->from))
		latest = link->noted_ms > latest ? link->noted_ms : latest;
	return latest;
}

static const char *open_path(struct world *world, const struct links_walk *walk, uint32_t org)
{
	struct buf text = BUF_INIT(PATH_BYTES_MAX);
	world_write_path(world, walk, org, false, &text);
	const char *copy = text.size ? arena_copy(&world->memory->arena, buf_bytes(&text)) : "";
	buf_release(&text);
	return copy;
}

/* ---- groups and rivals ---- */

static bool settle_groups(struct world *world)
{
	uint32_t count = (uint32_t)world->orgs.count;
	uint32_t *groups = calloc((size_t)count + 1, sizeof(*groups));
	uint32_t *tops = calloc((size_t)count + 1, sizeof(*tops));
	bool good = groups && tops && links_groups(world->links, groups, tops);
	for (uint32_t i = 0; good && i < count; i++) {
		struct world_org *org = org_of(world, i);
		org->group = org_of(world, groups[i]);
		org->top = tops[i] == i ? NULL : org_of(world, tops[i]);
	}
	free(groups);
	free(tops);
	return good;
}

static void settle_rivals(struct world *world, struct links_walk *walk)
{
	for (uint32_t i = 0; i < world->orgs.count; i++) {
		struct world_org *rival = org_of(world, i);
		if (!rival->rival)
			continue;
		links_walk_from(walk, i, LINKS_CONTROL);
		for (uint32_t k = 0; k < walk->count; k++) {
			struct world_org *org = org_of(world, walk->members[k]);
			if (org->rival_over)
				continue;
			org->rival_over = rival;
			org->rival_path = open_path(world, walk, org->number);
		}
	}
}

/* ---- blocks ---- */

static bool is_named(const struct world_block *block, const struct world_grant *grant)
{
	for (size_t i = 0; i < block->grant_count; i++)
		if (strcmp(block->grants[i], grant->id) == 0)
			return true;
	return false;
}

static int64_t begins_ms(const struct world_block *block, const struct world_grant *grant,
			 const struct world_affiliation *affiliation)
{
	int64_t noted = affiliation->noted_ms;
	if (noted <= block->now_ms)
		return block->now_ms;
	return (noted > block->since_ms ? noted : block->since_ms) + grant->notice_ms;
}

/* Of several blocks in force the one that spares nothing counts, of several to come the earliest.
 */
static void settle_grant(struct world_grant *grant, const struct world_block *block,
			 const struct world_affiliation *affiliation)
{
	unsigned safety = 1u << PURPOSE_SAFETY_EVALUATION;
	bool spares = (grant->purposes & safety) && !is_named(block, grant);
	int64_t begins = begins_ms(block, grant, affiliation);
	bool blocked = begins <= block->applied_ms;
	if (spares && grant->purposes == safety)
		return;
	if (!blocked && begins < block->org->block_due_ms)
		block->org->block_due_ms = begins;
	bool stronger = !grant->affiliation ||
			(blocked ? !grant->blocked || (grant->block_spares && !spares)
				 : !grant->blocked && begins < grant->block_ms);
	if (!stronger)
		return;
	grant->affiliation = affiliation;
	grant->block_ms = begins;
	grant->blocked = blocked;
	grant->block_spares = spares;
}

static enum err_code settle_block(struct world *world, struct links_walk *walk,
				  const struct world_block *block,
				  struct world_affiliation **affiliations, struct err *err)
{
	links_walk_from(walk, block->org->number, LINKS_AFFILIATION);
	for (uint32_t i = 0; i < walk->count; i++) {
		uint32_t org = walk->members[i];
		struct world_affiliation *affiliation =
			arena_alloc_zero(&world->memory->arena, sizeof(*affiliation));
		if (!affiliation)
			return no_memory(err);
		*affiliation = (struct world_affiliation){.blocked = block->org,
							  .path = open_path(world, walk, org),
							  .open = is_open(walk, org),
							  .noted_ms = noted_ms(walk, org)};
		affiliations[org] = affiliation;
	}
	for (size_t i = 0; i < world->grants.count; i++) {
		struct world_grant *grant = id_table_at(&world->grants, i);
		if (links_walk_through(walk, grant->org->number))
			settle_grant(grant, block, affiliations[grant->org->number]);
	}
	return ERR_OK;
}

static enum err_code settle_all(struct world *world, struct links_walk *walk,
				const struct world_block *blocks, size_t block_count,
				struct err *err)
{
	struct world_affiliation **affiliations =
		calloc(world->orgs.count + 1, sizeof(struct world_affiliation *));
	enum err_code code = affiliations ? ERR_OK : no_memory(err);
	if (code == ERR_OK)
		settle_rivals(world, walk);
	for (size_t i = 0; code == ERR_OK && i < block_count; i++)
		code = settle_block(world, walk, &blocks[i], affiliations, err);
	free(affiliations);
	return code;
}

enum err_code world_settle_links(struct world *world, const struct links_link *links, size_t count,
				 uint32_t threshold, const struct world_block *blocks,
				 size_t block_count, struct err *err)
{
	struct links_walk walk;
	world->links = links_graph_new(links, count, (uint32_t)world->orgs.count, threshold);
	if (!world->links)
		return no_memory(err);
	if (count == 0) /* and so no affiliates */
		return ERR_OK;
	if (!settle_groups(world) || !links_walk_init(&walk, world->links))
		return no_memory(err);
	enum err_code code = settle_all(world, &walk, blocks, block_count, err);
	links_walk_release(&walk);
	return code;
}
