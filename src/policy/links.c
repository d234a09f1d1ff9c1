#include "policy/links.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

enum meaning { MEANS_NONE, MEANS_SHARE, MEANS_WHOLE, MEANS_DEAL };

static const struct {
	const char *id, *verb;
	enum meaning means;
	bool holder;
} kinds[LINK_KIND_COUNT] = {
#define X(name, id, means, holder, verb) [LINK_##name] = {id, verb, MEANS_##means, holder},
	LINK_KIND_TABLE(X)
#undef X
};

static const char *const statuses[LINK_STATUS_COUNT] = {
#define X(name, id) [LINK_##name] = (id),
	LINK_STATUS_TABLE(X)
#undef X
};

const char *link_kind_id(enum link_kind kind)
{
	return kinds[kind].id;
}

const char *link_kind_verb(enum link_kind kind)
{
	return kinds[kind].verb;
}

bool link_kind_find(struct bytes id, enum link_kind *out)
{
	for (int kind = 0; kind < LINK_KIND_COUNT; kind++) {
		if (bytes_is(id, kinds[kind].id)) {
			*out = (enum link_kind)kind;
			return true;
		}
	}
	return false;
}

bool link_concerns_holder(enum link_kind kind)
{
	return kinds[kind].holder;
}

const char *link_status_id(enum link_status status)
{
	return statuses[status];
}

bool link_status_find(struct bytes id, enum link_status *out)
{
	for (int status = 0; status < LINK_STATUS_COUNT; status++) {
		if (bytes_is(id, statuses[status])) {
			*out = (enum link_status)status;
			return true;
		}
	}
	return false;
}

/* ---- graphs ---- */

struct links_graph {
	_Atomic unsigned references;
	uint32_t org_count, threshold;
	uint32_t *firsts; /* org_count + 1: where an org's links begin in `links` */
	struct links_link links[];
};

struct links_graph *links_graph_new(const struct links_link *links, size_t count,
				    uint32_t org_count, uint32_t threshold)
{
	assert(count <= LINKS_MAX);
	struct links_graph *graph = calloc(1, sizeof(*graph) + count * sizeof(*links));
	uint32_t *firsts = calloc((size_t)org_count + 2, sizeof(*firsts));
	if (!graph || !firsts) {
		free(graph);
		free(firsts);
		return NULL;
	}
	*graph = (struct links_graph){
		.references = 1, .org_count = org_count, .threshold = threshold, .firsts = firsts};
	/* By counting: firsts[o + 2] counts o's links, then firsts[o + 1] is where o's next goes,
	 * and so at last where o + 1 begins. */
	for (size_t i = 0; i < count; i++) {
		assert(links[i].from < org_count && links[i].to < org_count);
		firsts[links[i].from + 2]++;
	}
	for (size_t org = 2; org < (size_t)org_count + 2; org++)
		firsts[org] += firsts[org - 1];
	for (size_t i = 0; i < count; i++)
		graph->links[firsts[links[i].from + 1]++] = links[i];
	return graph;
}

struct links_graph *links_graph_hold(struct links_graph *graph)
{
	atomic_fetch_add(&graph->references, 1);
	return graph;
}

void links_graph_free(struct links_graph *graph)
{
	if (!graph || atomic_fetch_sub(&graph->references, 1) != 1)
		return;
	free(graph->firsts);
	free(graph);
}

uint32_t links_graph_orgs(const struct links_graph *graph)
{
	return graph->org_count;
}

/* ---- walks ---- */

bool links_walk_init(struct links_walk *walk, const struct links_graph *graph)
{
	size_t count = (size_t)graph->org_count + 1;
	*walk = (struct links_walk){
		.graph = graph,
		.members = calloc(count, sizeof(*walk->members)),
		.stamps = calloc(count, sizeof(*walk->stamps)),
		.held = calloc(count, sizeof(*walk->held)),
		.through = calloc(count, sizeof(const struct links_link *)),
	};
	if (walk->members && walk->stamps && walk->held && walk->through)
		return true;
	links_walk_release(walk);
	return false;
}

void links_walk_release(struct links_walk *walk)
{
	free(walk->members);
	free(walk->stamps);
	free(walk->held);
	free(walk->through);
	*walk = (struct links_walk){0};
}

static void touch(struct links_walk *walk, uint32_t org)
{
	if (walk->stamps[org] == walk->stamp)
		return;
	walk->stamps[org] = walk->stamp;
	walk->held[org] = 0;
	walk->through[org] = NULL;
}

/* Whether the link, with all that were followed before it, makes its `to` one of the held. */
static bool decides(struct links_walk *walk, const struct links_link *link)
{
	switch (kinds[link->kind].means) {
	case MEANS_SHARE:
		walk->held[link->to] += link->share;
		return walk->held[link->to] > walk->graph->threshold;
	case MEANS_WHOLE:
		return true;
	case MEANS_DEAL:
		return walk->reach == LINKS_AFFILIATION;
	case MEANS_NONE:
		break;
	}
	return false;
}

static void follow(struct links_walk *walk, uint32_t holder)
{
	const struct links_graph *graph = walk->graph;
	for (uint32_t i = graph->firsts[holder]; i < graph->firsts[holder + 1]; i++) {
		const struct links_link *link = &graph->links[i];
		touch(walk, link->to);
		bool held = decides(walk, link);
		if (!held || link->to == walk->from || walk->through[link->to])
			continue;
		walk->through[link->to] = link;
		walk->members[walk->count++] = link->to;
	}
}

void links_walk_from(struct links_walk *walk, uint32_t from, enum links_reach reach)
{
	assert(from < walk->graph->org_count);
	if (++walk->stamp == 0) { /* after 2^32 walks */
		memset(walk->stamps, 0, walk->graph->org_count * sizeof(*walk->stamps));
		walk->stamp = 1;
	}
	walk->from = from;
	walk->reach = reach;
	walk->count = 0;
	follow(walk, from);
	for (uint32_t i = 0; i < walk->count; i++)
		follow(walk, walk->members[i]);
}

const struct links_link *links_walk_through(const struct links_walk *walk, uint32_t org)
{
	return walk->stamps[org] == walk->stamp ? walk->through[org] : NULL;
}

uint64_t links_walk_held(const struct links_walk *walk, uint32_t org)
{
	return walk->stamps[org] == walk->stamp ? walk->held[org] : 0;
}

size_t links_walk_path(const struct links_walk *walk, uint32_t org, const struct links_link **out,
		       size_t max)
{
	size_t count = 0, place;
	const struct links_link *link;
	for (uint32_t at = org; at != walk->from; at = link->from) {
		link = links_walk_through(walk, at);
		if (!link)
			return 0;
		count++;
	}
	place = count;
	for (uint32_t at = org; at != walk->from; at = link->from) {
		link = links_walk_through(walk, at);
		if (--place < max)
			out[place] = link;
	}
	return count;
}

/* ---- groups ---- */

static uint32_t root_of(uint32_t *parents, uint32_t org)
{
	while (parents[org] != org) {
		parents[org] = parents[parents[org]];
		org = parents[org];
	}
	return org;
}

/* The lesser number becomes the root. */
static void join(uint32_t *parents, uint32_t a, uint32_t b)
{
	a = root_of(parents, a);
	b = root_of(parents, b);
	if (a < b)
		parents[b] = a;
	else
		parents[a] = b;
}

/* What a held org holds, its holder holds too: only orgs that no walk before came to are walked
 * from, and of these the last that comes to another is above it. `top[org]` is org where it may
 * still be one. */
static void find_tops(struct links_walk *walk, uint32_t *group, uint32_t *top)
{
	uint32_t count = walk->graph->org_count;
	for (uint32_t org = 0; org < count; org++)
		group[org] = top[org] = org;
	for (uint32_t org = 0; org < count; org++) {
		if (top[org] != org)
			continue;
		links_walk_from(walk, org, LINKS_CONTROL);
		for (uint32_t i = 0; i < walk->count; i++) {
			top[walk->members[i]] = org;
			join(group, org, walk->members[i]);
		}
	}
}

bool links_groups(const struct links_graph *graph, uint32_t *group, uint32_t *top)
{
	struct links_walk walk;
	if (!links_walk_init(&walk, graph))
		return false;
	find_tops(&walk, group, top);
	/* From the greatest down, so that the least of an org's tops is written last. */
	for (uint32_t org = graph->org_count; org-- > 0;) {
		if (top[org] != org)
			continue;
		links_walk_from(&walk, org, LINKS_CONTROL);
		for (uint32_t i = 0; i < walk.count; i++)
			top[walk.members[i]] = org;
	}
	for (uint32_t org = 0; org < graph->org_count; org++)
		group[org] = root_of(group, org);
	links_walk_release(&walk);
	return true;
}
