/* What `parley org show` tells beside an organisation's own document: its links, who controls it
 * and whom it controls, what it is blocked with, and the grants of its teams. */
#include "gate/admin_view.h"
#include "gate/control_links.h"

#define SHOWN_MAX 1000
#define PATH_BYTES_MAX 4096

static bool concerns(const json_t *spec, const char *id)
{
	return strcmp(json_text(spec, "from"), id) == 0 || strcmp(json_text(spec, "to"), id) == 0;
}

static json_t *view_links(struct control *control, const char *org)
{
	json_t *rows = json_array();
	const char *id;
	json_t *document;
	bool good = rows != NULL;
	json_object_foreach(control->documents[STORE_LINK], id, document)
	{
		if (good && concerns(control_spec_of(document), org))
			good = json_array_append_new(rows, admin_view(control, STORE_LINK, id)) ==
			       0;
	}
	if (good)
		return rows;
	json_decref(rows);
	return NULL;
}

/* ---- control ---- */

static json_t *path_text(const struct world *world, const struct links_walk *walk, uint32_t org,
			 bool all)
{
	struct buf text = BUF_INIT(PATH_BYTES_MAX);
	world_write_path(world, walk, org, all, &text);
	json_t *value = text.failed ? NULL : json_stringn(text.size ? text.data : "", text.size);
	buf_release(&text);
	return value;
}

static bool add_tie(json_t *rows, const struct world *world, const struct links_walk *walk,
		    uint32_t end, uint32_t shown)
{
	const struct world_org *org = world_org_at(world, shown);
	json_t *row = json_pack("{s:s, s:o, s:o}", "org", org->id, "path",
				path_text(world, walk, end, true), "public_path",
				path_text(world, walk, end, false));
	return row && json_array_append_new(rows, row) == 0;
}

/* Those that control it, and those that it controls. */
static bool fill_control(const struct world *world, const struct world_org *org,
			 struct links_walk *walk, json_t *by, json_t *of)
{
	bool good = true;
	links_walk_from(walk, org->number, LINKS_CONTROL);
	for (uint32_t i = 0; good && i < walk->count && json_array_size(of) < SHOWN_MAX; i++)
		good = add_tie(of, world, walk, walk->members[i], walk->members[i]);
	for (uint32_t i = 0; good && i < world_org_count(world); i++) {
		const struct world_org *other = world_org_at(world, i);
		if (other == org || other->group != org->group || json_array_size(by) == SHOWN_MAX)
			continue;
		links_walk_from(walk, i, LINKS_CONTROL);
		if (links_walk_through(walk, org->number))
			good = add_tie(by, world, walk, org->number, i);
	}
	return good;
}

static bool add_control(const struct world *world, json_t *view, const struct world_org *org)
{
	struct links_walk walk;
	json_t *by = json_array(), *of = json_array();
	bool good = by && of && links_walk_init(&walk, world_links(world));
	if (good) {
		good = fill_control(world, org, &walk, by, of);
		links_walk_release(&walk);
	}
	good = good && json_object_set(view, "controlled_by", by) == 0 &&
	       json_object_set(view, "controls", of) == 0;
	json_decref(by);
	json_decref(of);
	return good;
}

/* ---- blocks and teams ---- */

static json_t *view_affiliation(const struct world_grant *grant)
{
	char time[RECORD_TIME_SIZE];
	record_time(grant->block_ms, time);
	return json_pack("{s:s, s:s, s:s, s:b, s:b, s:s}", "grant", grant->id, "with",
			 grant->affiliation->blocked->id, "public_path", grant->affiliation->path,
			 "in_force", grant->blocked, "spares_safety_evaluation",
			 grant->block_spares, "from", time);
}

static bool add_grants(const struct world *world, json_t *view, const struct world_org *org)
{
	json_t *blocks = json_array(), *teams = json_object();
	bool good = blocks && teams;
	for (size_t i = 0; good && i < world_grant_count(world); i++) {
		const struct world_grant *grant = world_grant_at(world, i);
		if (grant->org != org)
			continue;
		if (grant->affiliation)
			good = json_array_append_new(blocks, view_affiliation(grant)) == 0;
		if (!json_object_get(teams, grant->team))
			good = good && json_set(teams, grant->team, json_array());
		good = good && json_array_append_new(json_object_get(teams, grant->team),
						     json_string(grant->id)) == 0;
	}
	if (good && json_array_size(blocks))
		good = json_object_set(view, "blocked_with", blocks) == 0;
	/* The grants of the whole org are under "". */
	good = good && json_object_set(view, "teams", teams) == 0;
	json_decref(blocks);
	json_decref(teams);
	return good;
}

json_t *admin_view_org(struct control *control, const char *id)
{
	const struct world *world = control->world;
	const struct world_org *org = world_find_org(world, bytes_from(id));
	json_t *view = admin_view(control, STORE_ORG, id);
	bool good = view && json_set(view, "links", view_links(control, id));
	if (good && org) {
		good = add_control(world, view, org) && add_grants(world, view, org);
		if (good && org->top)
			good = json_set(view, "limits_with", json_string(org->top->id));
		if (good && org->rival_over)
			good = json_set(view, "rival_over", json_string(org->rival_over->id));
	}
	if (good)
		return view;
	json_decref(view);
	return NULL;
}
