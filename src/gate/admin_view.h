/* What the admin API and Parley's own endpoints show: documents as JSON for people and programs,
 * without salts and digests of keys. Private to admin*.c. Each gives a new reference, NULL when
 * memory is out. */
#ifndef GATE_ADMIN_VIEW_H
#define GATE_ADMIN_VIEW_H

#include "gate/control_internal.h"

/* Members that a list may be narrowed by: "" shows all. */
struct admin_filter {
	const char *org, *grant;
	bool pending; /* suites that wait for approval */
};

json_t *admin_view(struct control *control, enum store_kind kind, const char *id);
json_t *admin_view_list(struct control *control, enum store_kind kind,
			const struct admin_filter *filter);
/* One org with its links, control, blocks by affiliation and teams. */
json_t *admin_view_org(struct control *control, const char *id);
/* The limits in force for a grant (and a key of it, or NULL), with what is left of them. */
json_t *admin_view_limits(struct control *control, const struct world_grant *grant,
			  const struct world_key *key);
/* What was used of a grant, or of a key that has limits of its own (else there is no `use`), in the
 * UTC day, week and month, and of each limit that a request under it has to pass. */
json_t *admin_view_usage(struct control *control, const struct world_grant *grant,
			 const struct world_key *key);
json_t *admin_view_use(struct control *control, const struct limits_cells *cells);
/* Its state now: expired by its dates, whatever the document says. */
const char *admin_grant_state(const struct control *control, const struct world_grant *grant);
json_t *admin_view_status(struct control *control);
/* Whether the key's holder may have the grant's papers: it is of his organisation and, where the
 * key is a team's, of that team. */
bool admin_is_own_grant(const struct control *control, const struct world_key *key, const char *id);
/* GET /parley/v1/grants: those grants, each with its state and form. */
json_t *admin_view_own_grants(struct control *control, const struct world_key *key);
/* GET /parley/v1/self: what this key may do, and its use so far. */
json_t *admin_view_self(struct control *control, const struct world_key *key);

#endif
