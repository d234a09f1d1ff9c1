/* Who controls whom (DESIGN.md section 2): the least fixpoint over confirmed links. An org holds
 * another if it controls it outright, or if the shares of it and of all that it holds pass a
 * threshold together. Pure.
 *
 * Orgs are numbers from 0; a graph never changes; a walk is scratch memory for one thread. */
#ifndef POLICY_LINKS_H
#define POLICY_LINKS_H

#include "base/bytes.h"
#include "table/links.h"

/* Names of the tables, and back (false: no such name). */
const char *link_kind_id(enum link_kind kind);
const char *link_kind_verb(enum link_kind kind); /* "is acquiring" */
bool link_kind_find(struct bytes id, enum link_kind *out);
bool link_concerns_holder(enum link_kind kind); /* its `from`, not its `to` */
const char *link_status_id(enum link_status status);
bool link_status_find(struct bytes id, enum link_status *out);

/* Shares are billionths of the whole. */
#define LINKS_WHOLE UINT32_C(1000000000)
#define LINKS_THRESHOLD_DEFAULT (LINKS_WHOLE / 2)
#define LINKS_MAX 1000000u

/* A confirmed link in force. */
struct links_link {
	uint32_t from, to;
	enum link_kind kind;
	uint32_t share;   /* of `owns`; at most LINKS_WHOLE */
	bool open;        /* public */
	int64_t noted_ms; /* since when it is on record */
};

struct links_graph;

/* `links` are copied; their orgs are below `org_count`. Control needs more than `threshold`. NULL
 * when memory is out. */
struct links_graph *links_graph_new(const struct links_link *links, size_t count,
				    uint32_t org_count, uint32_t threshold);
struct links_graph *links_graph_hold(struct links_graph *graph);
/* Drops a reference, of which a new graph has one; from any thread. NULL is fine. */
void links_graph_free(struct links_graph *graph);
uint32_t links_graph_orgs(const struct links_graph *graph);

enum links_reach {
	LINKS_CONTROL,     /* what an org controls */
	LINKS_AFFILIATION, /* and what it is acquiring, with all that that controls */
};

struct links_walk {
	const struct links_graph *graph;
	enum links_reach reach;
	uint32_t from;
	uint32_t *members; /* in the order in which they were found; without `from` */
	uint32_t count;
	/* By org, valid where `stamps` is `stamp`. */
	uint32_t *stamps;
	uint64_t *held;
	const struct links_link **through; /* NULL: not held */
	uint32_t stamp;
};

/* False when memory is out. The graph must outlive it. */
bool links_walk_init(struct links_walk *walk, const struct links_graph *graph);
void links_walk_release(struct links_walk *walk);

/* All that `from` holds, into members. O(their links). */
void links_walk_from(struct links_walk *walk, uint32_t from, enum links_reach reach);
/* Of the last walk: whether it came to `org`, and the link that decided it (its `from` is the
 * walk's or a member). NULL: it did not. */
const struct links_link *links_walk_through(const struct links_walk *walk, uint32_t org);
/* The share that the walk's org and all it holds have in `org`. */
uint64_t links_walk_held(const struct links_walk *walk, uint32_t org);
/* The links from the walk's org to `org`, in order; how many there are (at most `max` are
 * written). */
size_t links_walk_path(const struct links_walk *walk, uint32_t org, const struct links_link **out,
		       size_t max);

/* For every org: `group`, equal for orgs of which one controls the other and for all between that
 * are so tied (the least number in it), and `top`, the least of those that control it and that
 * nobody outside of their own circle controls: itself where none does. Both have org_count rows.
 * False when memory is out. */
bool links_groups(const struct links_graph *graph, uint32_t *group, uint32_t *top);

#endif
