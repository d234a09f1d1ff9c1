/* Links between organisations and blocks by affiliation, as the control plane keeps them (DESIGN.md
 * section 5, "Links"). A link's document is `active`, `waiting` (for its first day), `ended` (its
 * last day is over), `lapsed` (never confirmed in time) or `removed`; only active ones count. What
 * time does to links and blocks is an act of the gateway's own, recorded like any other. Private to
 * control*.c and admin*.c. */
#ifndef GATE_CONTROL_LINKS_H
#define GATE_CONTROL_LINKS_H

#include "gate/control_internal.h"

#define CONTROL_LAPSE_MS (30 * WORLD_DAY_MS)
/* Where a grant agrees nothing: the notice before its org is blocked by affiliation. */
#define CONTROL_NOTICE_HOURS 72

/* ---- links (control_links.c) ---- */

bool control_link_in_force(const json_t *document);
bool control_link_confirmed(const json_t *spec);
/* The org that an unconfirmed link keeps from new grants, and that is told. */
const char *control_link_concerned(const json_t *spec);
/* Which state its days put a new or changed link in. */
const char *control_link_state(const json_t *spec, int64_t now_ms);
/* The outer members of its document after a change to `spec`: since when it counts. A new
 * reference; `document` NULL: it is new. NULL when memory is out. */
json_t *control_link_outer(const struct control *control, const json_t *document,
			   const json_t *spec);
/* Adds the change of a link's document; its record tells kind, status and state. */
enum err_code control_link_change(struct control_operation *operation, const char *id, json_t *spec,
				  const char *state, struct control_telling *telling,
				  struct err *err);
/* Tells the org concerned, if the link (of the operation's last change) is not confirmed. */
enum err_code control_link_notice(struct control_operation *operation, const json_t *spec,
				  const char *state, const char *reason, struct err *err);

/* ERR_CONFLICT where a change of the file would take back what a confirmed link does: that is an
 * act of its own. */
enum err_code control_check_link_change(const char *file, const char *id, const json_t *from,
					const json_t *to, struct err *err);
/* Adds the links in force to a world. */
enum err_code control_add_link(struct world_builder *builder, const json_t *document,
			       struct err *err);

/* `parley org link`: body {from, kind, to, status?, share?, evidence?, since?, until?, public?}. */
enum err_code control_prepare_link(struct control_operation *operation, const json_t *body,
				   const struct control_act_request *request, struct err *err);
/* `parley org unlink`: body {from, kind, to}. */
enum err_code control_prepare_unlink(struct control_operation *operation, const json_t *body,
				     const struct control_act_request *request, struct err *err);

/* What unconfirmed links stop: an object, org -> the link's id. A new reference, NULL when memory
 * is out. */
json_t *control_links_stopped(const struct control *control);
/* Whether a grant may be made, or changed from `from` (NULL: it is new), to `to`: ERR_CONFLICT
 * where an unconfirmed link stops new grants and this is no renewal on unchanged terms, or where
 * product use is granted to an org that a rival controls. `where` begins the message
 * ("access.yaml"). */
enum err_code control_check_grant_links(const struct control *control, const json_t *stopped,
					const char *where, const json_t *from, const json_t *to,
					struct err *err);

/* ---- blocks (control_blocks.c) ---- */

/* `parley org block`: body {affiliates?, now?, grants?}. */
enum err_code control_prepare_block(struct control_operation *operation, const char *org,
				    const json_t *body, const struct control_act_request *request,
				    struct err *err);
enum err_code control_prepare_unblock(struct control_operation *operation, const char *org,
				      const struct control_act_request *request, struct err *err);
/* The block's part of an org's document, for building a world; false: its affiliates are not
 * blocked with it. The caller frees out->grants; NULL: memory is out. */
bool control_block_options(const json_t *document, struct world_block_options *out);
/* Adds the acts by which notices that are over take effect and blocks by affiliation lapse. */
enum err_code control_blocks_due(struct control_operation *operation, struct err *err);

/* ---- time (control_links.c) ---- */

/* Adds the acts that are due: links that begin, end and lapse, and what control_blocks_due does. */
enum err_code control_links_due(struct control_operation *operation, struct err *err);

#endif
