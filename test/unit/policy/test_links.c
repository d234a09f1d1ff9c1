/* Control among organisations: known cases, and equal to a slow and obvious fixpoint on random
 * graphs with cycles, split shares and every kind of link. */
#include "base/prng.h"
#include "base/sanitized.h"
#include "policy/links.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define PERCENT (LINKS_WHOLE / 100)
#define TOWNS (SANITIZED ? 3000 : 20000)

static struct links_link owns(uint32_t from, uint32_t to, uint32_t percent)
{
	return (struct links_link){
		.from = from, .to = to, .kind = LINK_OWNS, .share = percent * PERCENT};
}

static struct links_link link_of(uint32_t from, enum link_kind kind, uint32_t to)
{
	return (struct links_link){.from = from, .to = to, .kind = kind};
}

/* Members as a bit set. */
static uint64_t walk_set(const struct links_link *links, size_t count, uint32_t orgs, uint32_t from,
			 enum links_reach reach)
{
	struct links_graph *graph = links_graph_new(links, count, orgs, LINKS_THRESHOLD_DEFAULT);
	struct links_walk walk;
	uint64_t set = 0;
	assert_non_null(graph);
	assert_true(links_walk_init(&walk, graph));
	links_walk_from(&walk, from, reach);
	for (uint32_t i = 0; i < walk.count; i++)
		set |= UINT64_C(1) << walk.members[i];
	links_walk_release(&walk);
	links_graph_free(graph);
	return set;
}

#define SET(links, orgs, from, reach) \
	walk_set((links), sizeof(links) / sizeof(*(links)), (orgs), (from), (reach))

static void shares_add_up_over_held_holders(void **state)
{
	(void)state;
	/* 0 has 30 % of 2 itself and 21 % through 1. */
	const struct links_link more[] = {owns(0, 1, 60), owns(0, 2, 30), owns(1, 2, 21)};
	assert_int_equal(SET(more, 3, 0, LINKS_CONTROL), 0x6);
	assert_int_equal(SET(more, 3, 1, LINKS_CONTROL), 0);
	/* Just half is no control, and a holder that is not held adds nothing. */
	const struct links_link half[] = {owns(0, 1, 50), owns(0, 2, 30), owns(1, 2, 60)};
	assert_int_equal(SET(half, 3, 0, LINKS_CONTROL), 0);
	assert_int_equal(SET(half, 3, 1, LINKS_CONTROL), 0x4);
}

static void kinds_mean_what_the_table_says(void **state)
{
	(void)state;
	const struct links_link links[] = {link_of(0, LINK_ACQUIRING, 1),
					   link_of(1, LINK_CONTROLS, 2),
					   link_of(3, LINK_RESELLER_OF, 0)};
	assert_int_equal(SET(links, 4, 0, LINKS_CONTROL), 0);
	assert_int_equal(SET(links, 4, 0, LINKS_AFFILIATION), 0x6);
	assert_int_equal(SET(links, 4, 1, LINKS_CONTROL), 0x4);
	assert_int_equal(SET(links, 4, 3, LINKS_AFFILIATION), 0);
}

static void circles_end(void **state)
{
	(void)state;
	const struct links_link links[] = {owns(0, 1, 100), owns(1, 2, 100), owns(2, 0, 100),
					   owns(0, 0, 100), link_of(2, LINK_CONTROLS, 3)};
	for (uint32_t from = 0; from < 3; from++)
		assert_int_equal(SET(links, 4, from, LINKS_CONTROL), 0xf & ~(1u << from));
	assert_int_equal(SET(links, 4, 3, LINKS_CONTROL), 0);
}

static void the_path_is_told_in_order(void **state)
{
	(void)state;
	const struct links_link links[] = {owns(1, 2, 51), link_of(0, LINK_CONTROLS, 1),
					   owns(2, 3, 99)};
	struct links_graph *graph = links_graph_new(links, 3, 5, LINKS_THRESHOLD_DEFAULT);
	struct links_walk walk;
	const struct links_link *path[2];
	assert_true(links_walk_init(&walk, graph));
	links_walk_from(&walk, 0, LINKS_CONTROL);
	assert_int_equal(links_walk_path(&walk, 3, path, 2), 3);
	assert_int_equal(path[0]->from, 0);
	assert_int_equal(path[1]->from, 1);
	assert_int_equal(links_walk_path(&walk, 4, path, 2), 0);
	assert_int_equal(links_walk_path(&walk, 0, path, 2), 0);
	assert_int_equal(links_walk_held(&walk, 3), 99 * PERCENT);
	links_walk_release(&walk);
	links_graph_free(graph);
}

/* ---- the obvious way ---- */

#define ORGS 9
#define LINKS 24

struct town {
	struct links_link links[LINKS];
	size_t count;
	uint32_t orgs, threshold;
};

static uint64_t obvious(const struct town *town, uint32_t from, enum links_reach reach)
{
	uint64_t held = 0;
	bool grown = true;
	while (grown) {
		grown = false;
		for (uint32_t org = 0; org < town->orgs; org++) {
			uint64_t shares = 0, holders = held | UINT64_C(1) << from;
			bool whole = false;
			if (org == from || held >> org & 1)
				continue;
			for (size_t i = 0; i < town->count; i++) {
				const struct links_link *link = &town->links[i];
				if (link->to != org || !(holders >> link->from & 1))
					continue;
				if (link->kind == LINK_OWNS)
					shares += link->share;
				if (link->kind == LINK_CONTROLS ||
				    (link->kind == LINK_ACQUIRING && reach == LINKS_AFFILIATION))
					whole = true;
			}
			if (whole || shares > town->threshold) {
				held |= UINT64_C(1) << org;
				grown = true;
			}
		}
	}
	return held;
}

static void draw_town(struct prng *prng, struct town *town)
{
	static const uint32_t shares[] = {0, 10, 25, 26, 49, 50, 51, 100};
	town->orgs = 1 + (uint32_t)prng_below(prng, ORGS);
	town->count = prng_below(prng, LINKS + 1);
	town->threshold = prng_below(prng, 4) ? LINKS_THRESHOLD_DEFAULT : 25 * PERCENT;
	for (size_t i = 0; i < town->count; i++)
		town->links[i] = (struct links_link){
			.from = (uint32_t)prng_below(prng, town->orgs),
			.to = (uint32_t)prng_below(prng, town->orgs),
			.kind = prng_below(prng, 3)
					? LINK_OWNS
					: (enum link_kind)prng_below(prng, LINK_KIND_COUNT),
			.share = shares[prng_below(prng, 8)] * PERCENT};
}

static void check_walk(const struct town *town, struct links_walk *walk, uint32_t from,
		       enum links_reach reach)
{
	uint64_t set = 0;
	links_walk_from(walk, from, reach);
	for (uint32_t i = 0; i < walk->count; i++) {
		const struct links_link *path[ORGS];
		uint32_t at = from;
		size_t count = links_walk_path(walk, walk->members[i], path, ORGS);
		assert_in_range(count, 1, ORGS);
		for (size_t k = 0; k < count; k++) {
			assert_int_equal(path[k]->from, at);
			at = path[k]->to;
		}
		assert_int_equal(at, walk->members[i]);
		assert_false(set >> at & 1);
		set |= UINT64_C(1) << at;
	}
	assert_int_equal(set, obvious(town, from, reach));
}

static void check_groups(const struct town *town, const struct links_graph *graph)
{
	uint32_t group[ORGS], top[ORGS], count = town->orgs;
	uint64_t holds[ORGS], tied[ORGS];
	assert_true(links_groups(graph, group, top));
	for (uint32_t a = 0; a < count; a++)
		holds[a] = obvious(town, a, LINKS_CONTROL);
	for (uint32_t a = 0; a < count; a++) {
		tied[a] = UINT64_C(1) << a | holds[a];
		for (uint32_t b = 0; b < count; b++)
			tied[a] |= (holds[b] >> a & 1) << b;
	}
	for (uint32_t round = 0; round < count; round++)
		for (uint32_t a = 0; a < count; a++)
			for (uint32_t b = 0; b < count; b++)
				if (tied[a] >> b & 1)
					tied[a] |= tied[b];
	for (uint32_t a = 0; a < count; a++) {
		uint32_t least = a;
		assert_int_equal(group[a], (uint32_t)__builtin_ctzll(tied[a]));
		/* A holder that all its own holders are held by, the least of a circle. */
		for (uint32_t b = count; b-- > 0;) {
			bool is_top = true;
			for (uint32_t c = 0; c < count; c++)
				if ((holds[c] >> b & 1) && (!(holds[b] >> c & 1) || c < b))
					is_top = false;
			if (is_top && (holds[b] >> a & 1))
				least = b;
			if (is_top && b == a) {
				least = a;
				break;
			}
		}
		assert_int_equal(top[a], least);
	}
}

static void equal_to_the_obvious_fixpoint(void **state)
{
	(void)state;
	struct prng prng = {20261101};
	uint64_t held = 0;
	for (int round = 0; round < TOWNS; round++) {
		struct town town;
		struct links_walk walk;
		draw_town(&prng, &town);
		struct links_graph *graph =
			links_graph_new(town.links, town.count, town.orgs, town.threshold);
		assert_non_null(graph);
		assert_true(links_walk_init(&walk, graph));
		for (uint32_t from = 0; from < town.orgs; from++) {
			check_walk(&town, &walk, from, LINKS_CONTROL);
			held += walk.count;
			check_walk(&town, &walk, from, LINKS_AFFILIATION);
		}
		check_groups(&town, graph);
		links_walk_release(&walk);
		links_graph_free(graph);
	}
	print_message("%llu orgs held in %d towns\n", (unsigned long long)held, TOWNS);
	assert_true(held > TOWNS);
}

#define MANY (SANITIZED ? 2000 : 10000)

/* A chain of all, each holding the next by two halves, numbered against its direction. */
static void thousands_in_a_chain(void **state)
{
	(void)state;
	struct links_link *links = calloc(2 * MANY, sizeof(*links));
	uint32_t *group = calloc(MANY, sizeof(*group)), *top = calloc(MANY, sizeof(*top));
	size_t count = 0;
	for (uint32_t org = MANY - 1; org > 0; org--) {
		links[count++] = owns(org, org - 1, 30);
		links[count++] = owns(org, org - 1, 21);
	}
	struct links_graph *graph = links_graph_new(links, count, MANY, LINKS_THRESHOLD_DEFAULT);
	struct links_walk walk;
	assert_true(links_walk_init(&walk, graph));
	links_walk_from(&walk, MANY - 1, LINKS_CONTROL);
	assert_int_equal(walk.count, MANY - 1);
	assert_true(links_groups(graph, group, top));
	for (uint32_t org = 0; org < MANY; org++) {
		assert_int_equal(group[org], 0);
		assert_int_equal(top[org], MANY - 1);
	}
	links_walk_release(&walk);
	links_graph_free(graph);
	free(links);
	free(group);
	free(top);
}

static void names_are_found(void **state)
{
	(void)state;
	enum link_kind kind;
	enum link_status status;
	assert_true(link_kind_find(BYTES("acquiring"), &kind));
	assert_string_equal(link_kind_id(kind), "acquiring");
	assert_false(link_kind_find(BYTES("employs"), &kind));
	assert_true(link_status_find(BYTES("rumoured"), &status));
	assert_string_equal(link_status_id(status), "rumoured");
	assert_false(link_status_find(BYTES(""), &status));
	assert_true(link_concerns_holder(LINK_RESELLER_OF));
	assert_false(link_concerns_holder(LINK_OWNS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_add_up_over_held_holders),
		cmocka_unit_test(kinds_mean_what_the_table_says),
		cmocka_unit_test(circles_end),
		cmocka_unit_test(the_path_is_told_in_order),
		cmocka_unit_test(equal_to_the_obvious_fixpoint),
		cmocka_unit_test(thousands_in_a_chain),
		cmocka_unit_test(names_are_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
