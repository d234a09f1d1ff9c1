/* Blocks by affiliation: `affiliates` in the document of a blocked org {since, now, applied, until,
 * grants}. Which grants they reach, and when, follows from the links when a world is built
 * (policy/world_links.c); `applied` is the time up to which notices count as over. */
#include "gate/control_links.h"
#include "gate/control_notice.h"

#include <stdlib.h>

#define GRANTS_MAX 1000

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory to block affiliates");
}

static const json_t *block_of(const json_t *document)
{
	return json_object_get(document, "affiliates");
}

bool control_block_options(const json_t *document, struct world_block_options *out)
{
	const json_t *block = block_of(document), *grants = json_object_get(block, "grants");
	size_t count = json_array_size(grants);
	if (!block)
		return false;
	const char **names = calloc(count + 1, sizeof(*names));
	for (size_t i = 0; names && i < count; i++)
		names[i] = json_string_value(json_array_get(grants, i));
	*out = (struct world_block_options){
		.since_ms = control_integer(block, "since", 0),
		.now_ms = control_integer(block, "now", 0),
		.applied_ms = control_integer(block, "applied", 0),
		.grants = names,
		.grant_count = count,
	};
	return true;
}

/* ---- what a block reaches ---- */

/* Calls `each` for every grant of the org's affiliates in `world`. */
typedef enum err_code each_grant(void *argument, const struct world_grant *grant, struct err *err);

static enum err_code each_affiliate(const struct world *world, const char *id, each_grant *each,
				    void *argument, size_t *affiliates, struct err *err)
{
	const struct world_org *org = world_find_org(world, bytes_from(id));
	struct links_walk walk;
	*affiliates = 0;
	if (!org)
		return ERR_OK;
	if (!links_walk_init(&walk, world_links(world)))
		return no_memory(err);
	links_walk_from(&walk, org->number, LINKS_AFFILIATION);
	enum err_code code = ERR_OK;
	*affiliates = walk.count;
	for (size_t i = 0; code == ERR_OK && each && i < world_grant_count(world); i++) {
		const struct world_grant *grant = world_grant_at(world, i);
		if (links_walk_through(&walk, grant->org->number))
			code = each(argument, grant, err);
	}
	links_walk_release(&walk);
	return code;
}

/* One org's grants that a block reaches, for the notice. */
struct reach {
	const char *blocked;
	int64_t now_ms;
	json_t *rows; /* [{org, grant, at?, spared}] */
	json_t *orgs; /* org -> {now: bool, grants: [{grant, at}]} */
};

static bool add_to_org(struct reach *reach, const struct world_grant *grant, const char *time)
{
	json_t *entry = json_object_get(reach->orgs, grant->org->id);
	if (!entry) {
		entry = json_pack("{s:b, s:[]}", "now", 1, "grants");
		if (!entry || json_object_set_new(reach->orgs, grant->org->id, entry))
			return false;
	}
	if (grant->block_ms > reach->now_ms)
		json_object_set_new(entry, "now", json_false());
	return json_array_append_new(json_object_get(entry, "grants"),
				     json_pack("{s:s, s:s}", "grant", grant->id, "at", time)) == 0;
}

static enum err_code reach_grant(void *argument, const struct world_grant *grant, struct err *err)
{
	struct reach *reach = argument;
	bool reached =
		grant->affiliation && strcmp(grant->affiliation->blocked->id, reach->blocked) == 0;
	bool over = grant->state == GRANT_REVOKED || grant->until_ms <= reach->now_ms;
	char time[RECORD_TIME_SIZE] = "";
	if (over)
		return ERR_OK;
	if (reached)
		record_time(grant->block_ms, time);
	json_t *row =
		json_pack("{s:s, s:s, s:b, s:s*}", "org", grant->org->id, "grant", grant->id,
			  "spared", !reached || grant->block_spares, "at", reached ? time : NULL);
	if (!row || json_array_append_new(reach->rows, row) ||
	    (reached && !add_to_org(reach, grant, time)))
		return no_memory(err);
	return ERR_OK;
}

static enum err_code reach_init(struct reach *reach, const char *org, int64_t now_ms,
				struct err *err)
{
	*reach = (struct reach){
		.blocked = org, .now_ms = now_ms, .rows = json_array(), .orgs = json_object()};
	return reach->rows && reach->orgs ? ERR_OK : no_memory(err);
}

static void reach_release(struct reach *reach)
{
	json_decref(reach->rows);
	json_decref(reach->orgs);
}

/* ---- telling ---- */

static enum err_code tell_all(struct control_operation *operation, const struct reach *reach,
			      enum notice_event event, const char *text, struct err *err)
{
	const char *org;
	json_t *detail;
	json_object_foreach(reach->orgs, org, detail)
	{
		bool now = json_is_true(json_object_get(detail, "now"));
		struct control_notice notice = {
			.event = event == NOTICE_ORG_BLOCKING && now ? NOTICE_ORG_BLOCKED : event,
			.org = org,
			.text = text,
			.detail = detail};
		ERR_TRY(control_notice(operation, &notice, err));
	}
	return ERR_OK;
}

static const char text_blocking[] =
	"The organisation is tied, by confirmed links, to one that was blocked, and is blocked "
	"with "
	"it: each grant named here from the time beside it. Grants for safety_evaluation that are "
	"not named go on. The block lapses after 30 days unless it is renewed.";
static const char text_blocked[] = "The notice is over: the grants named here are blocked, because "
				   "the organisation is tied to "
				   "one that is.";
static const char text_lifted[] =
	"The block of an organisation that this one is tied to holds for it no longer: the grants "
	"named here are as they were.";

/* ---- the act ---- */

struct blocking {
	struct control_operation *operation;
	const char *org;
	const json_t *document;
	const struct control_act_request *request;
	bool now;
	json_t *grants; /* named one by one, with those named before */
};

/* What stands against it where no confirmed link is there. */
static enum err_code no_affiliate(const struct control *control, const char *org, struct err *err)
{
	const char *id;
	json_t *document;
	json_object_foreach(control->documents[STORE_LINK], id, document)
	{
		const json_t *spec = control_spec_of(document);
		if (control_link_in_force(document) && !control_link_confirmed(spec) &&
		    strcmp(json_text(spec, "from"), org) == 0)
			return ERR_SET(err, ERR_CONFLICT,
				       "a block by affiliation needs a confirmed link, and \"%s\" "
				       "is %s: confirm it with `parley org link`",
				       id, json_text(spec, "status"));
	}
	return ERR_SET(err, ERR_CONFLICT,
		       "%s controls no organisation by confirmed links and is acquiring none; "
		       "`parley org show %s` tells its links",
		       org, org);
}

static bool has_text(const json_t *array, const char *text)
{
	size_t index;
	json_t *value;
	json_array_foreach(array, index, value)
	{
		if (strcmp(json_string_value(value), text) == 0)
			return true;
	}
	return false;
}

static enum err_code add_named(struct blocking *blocking, const json_t *body, struct err *err)
{
	struct control *control = blocking->operation->control;
	const json_t *before = json_object_get(block_of(blocking->document), "grants");
	json_t *named, *name;
	size_t index;
	ERR_TRY(json_get_container(body, "grants", "org.block", JSON_ARRAY, true, &named, err));
	blocking->grants = before ? json_copy((json_t *)before) : json_array();
	if (!blocking->grants)
		return no_memory(err);
	json_array_foreach(named, index, name)
	{
		const char *id = json_string_value(name);
		if (!id)
			return ERR_SET(err, ERR_INVALID,
				       "org.block: grants: must be ids of grants");
		if (!control_document(control, STORE_GRANT, id))
			return ERR_SET(err, ERR_NOT_FOUND, "there is no grant %s", id);
		if (!has_text(blocking->grants, id) && json_array_append(blocking->grants, name))
			return no_memory(err);
	}
	if (json_array_size(blocking->grants) > GRANTS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "more than %d grants are named", GRANTS_MAX);
	return ERR_OK;
}

/* A renewal goes on with the notices that run. */
static json_t *make_block(const struct blocking *blocking)
{
	int64_t now = blocking->operation->control->loop->wall_ms;
	const json_t *before = block_of(blocking->document);
	int64_t since = control_integer(before, "since", now);
	int64_t at_once = blocking->now ? now : control_integer(before, "now", 0);
	return json_pack("{s:{s:I, s:I, s:I, s:I, s:O}}", "affiliates", "since", (json_int_t)since,
			 "now", (json_int_t)at_once, "applied", (json_int_t)now, "until",
			 (json_int_t)(now + CONTROL_LAPSE_MS), "grants", blocking->grants);
}

static enum err_code add_block(struct blocking *blocking, size_t affiliates, struct err *err)
{
	struct control_operation *operation = blocking->operation;
	json_t *outer = make_block(blocking);
	json_t *detail = json_pack("{s:I, s:b, s:O}", "affiliates", (json_int_t)affiliates, "now",
				   blocking->now, "grants", blocking->grants);
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = "org.block",
					  .person = blocking->request->person,
					  .reason = blocking->request->reason,
					  .detail = detail,
					  .outer = outer};
	enum err_code code = ERR_OK;
	if (!outer || !detail)
		code = no_memory(err);
	if (code == ERR_OK)
		code = control_change_add(operation, STORE_ORG, blocking->org,
					  json_object_get(blocking->document, "spec"), "blocked",
					  &telling, NULL, err);
	json_decref(outer);
	json_decref(detail);
	if (code == ERR_OK)
		code = control_cut_add(operation, CONTROL_CUT_ORG, operation->changes[0], err);
	return code == ERR_OK ? control_cut_add(operation, CONTROL_CUT_AFFILIATES,
						operation->changes[0], err)
			      : code;
}

/* Tries the changes out: the world they make tells which grants are reached, and when. */
static enum err_code try_reach(struct control_operation *operation, struct reach *reach,
			       struct err *err)
{
	size_t affiliates;
	ERR_TRY(control_try_changes(operation, err));
	enum err_code code = each_affiliate(operation->world, reach->blocked, reach_grant, reach,
					    &affiliates, err);
	control_undo_changes(operation);
	return code;
}

static enum err_code check_named(const struct blocking *blocking, const struct reach *reach,
				 struct err *err)
{
	size_t index, place;
	json_t *name, *row;
	json_array_foreach(blocking->grants, index, name)
	{
		bool found = false;
		json_array_foreach(reach->rows, place, row) found =
			found || json_equal(json_object_get(row, "grant"), name);
		if (!found)
			return ERR_SET(err, ERR_CONFLICT,
				       "grant %s is no affiliate's of %s that is still running",
				       json_string_value(name), blocking->org);
	}
	return ERR_OK;
}

static enum err_code answer_block(struct blocking *blocking, const struct reach *reach,
				  struct err *err)
{
	struct control_operation *operation = blocking->operation;
	char until[RECORD_TIME_SIZE];
	record_time(reach->now_ms + CONTROL_LAPSE_MS, until);
	operation->answer =
		json_pack("{s:s, s:s, s:b, s:s, s:O}", "org", blocking->org, "state", "blocked",
			  "changed", 1, "until", until, "affiliates", reach->rows);
	return operation->answer ? ERR_OK : no_memory(err);
}

static enum err_code block_affiliates(struct blocking *blocking, const json_t *body,
				      struct err *err)
{
	struct control_operation *operation = blocking->operation;
	struct control *control = operation->control;
	size_t affiliates;
	struct reach reach;
	if (blocking->now && (!blocking->request->reason || !*blocking->request->reason))
		return ERR_SET(
			err, ERR_INVALID,
			"to block affiliates without notice is for emergencies: say why with "
			"--reason");
	ERR_TRY(each_affiliate(control->world, blocking->org, NULL, NULL, &affiliates, err));
	if (affiliates == 0)
		return no_affiliate(control, blocking->org, err);
	ERR_TRY(add_named(blocking, body, err));
	ERR_TRY(add_block(blocking, affiliates, err));
	enum err_code code = reach_init(&reach, blocking->org, control->loop->wall_ms, err);
	if (code == ERR_OK)
		code = try_reach(operation, &reach, err);
	if (code == ERR_OK)
		code = check_named(blocking, &reach, err);
	if (code == ERR_OK)
		code = tell_all(operation, &reach, NOTICE_ORG_BLOCKING, text_blocking, err);
	if (code == ERR_OK)
		code = answer_block(blocking, &reach, err);
	reach_release(&reach);
	return code;
}

enum err_code control_prepare_block(struct control_operation *operation, const char *org,
				    const json_t *body, const struct control_act_request *request,
				    struct err *err)
{
	static const char *const keys[] = {"reason", "affiliates", "now", "grants", NULL};
	bool affiliates;
	struct blocking blocking = {.operation = operation,
				    .org = org,
				    .document =
					    control_document(operation->control, STORE_ORG, org),
				    .request = request};
	ERR_TRY(json_only_keys(body, keys, "org.block", err));
	ERR_TRY(json_get_bool_or(body, "affiliates", "org.block", false, &affiliates, err));
	ERR_TRY(json_get_bool_or(body, "now", "org.block", false, &blocking.now, err));
	if (!affiliates && json_object_get(body, "grants"))
		return ERR_SET(err, ERR_INVALID,
			       "grants are named with --affiliates only: an org that is blocked by "
			       "name is blocked with all of them");
	if (!affiliates)
		return control_prepare_transition(operation, "org.block", org, request, err);
	if (!blocking.document)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no org %s", org);
	ERR_TRY(control_check_reason(request->reason, err));
	enum err_code code = block_affiliates(&blocking, body, err);
	json_decref(blocking.grants);
	return code;
}

/* An org that is not blocked itself, but with another. */
static enum err_code check_blocked_itself(const struct control *control, const char *org,
					  struct err *err)
{
	for (size_t i = 0; i < world_grant_count(control->world); i++) {
		const struct world_grant *grant = world_grant_at(control->world, i);
		if (grant->affiliation && strcmp(grant->org->id, org) == 0)
			return ERR_SET(err, ERR_CONFLICT,
				       "%s is not blocked itself but as an affiliate of %s: "
				       "`parley org unblock %s` lifts that for all, `parley org "
				       "unlink` ends the tie",
				       org, grant->affiliation->blocked->id,
				       grant->affiliation->blocked->id);
	}
	return ERR_OK;
}

/* Everybody whom the block reached. */
static enum err_code tell_lifted(struct control_operation *operation, const char *org,
				 struct err *err)
{
	struct control *control = operation->control;
	struct reach reach;
	size_t affiliates;
	enum err_code code = reach_init(&reach, org, control->loop->wall_ms, err);
	if (code == ERR_OK)
		code = each_affiliate(control->world, org, reach_grant, &reach, &affiliates, err);
	if (code == ERR_OK)
		code = tell_all(operation, &reach, NOTICE_ORG_UNBLOCKED, text_lifted, err);
	reach_release(&reach);
	return code;
}

enum err_code control_prepare_unblock(struct control_operation *operation, const char *org,
				      const struct control_act_request *request, struct err *err)
{
	struct control *control = operation->control;
	const json_t *document = control_document(control, STORE_ORG, org);
	if (document && strcmp(control_state_of(document), "blocked") != 0)
		ERR_TRY(check_blocked_itself(control, org, err));
	ERR_TRY(control_prepare_transition(operation, "org.unblock", org, request, err));
	if (operation->change_count == 0 || !block_of(document))
		return ERR_OK;
	return tell_lifted(operation, org, err);
}

/* ---- time ---- */

/* An act of the gateway's own on a blocked org; the block's person and reason stay. */
static enum err_code add_timed(struct control_operation *operation, const char *org,
			       const json_t *document, const char *act, const char *reason,
			       json_t *outer, struct err *err)
{
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = act,
					  .person = "gateway",
					  .reason = reason,
					  .before = document,
					  .outer = outer};
	enum err_code code = ERR_OK;
	if (!outer)
		code = no_memory(err);
	if (code == ERR_OK)
		code = control_change_add(operation, STORE_ORG, org,
					  json_object_get(document, "spec"), "blocked", &telling,
					  NULL, err);
	json_decref(outer);
	return code;
}

static enum err_code lapse(struct control_operation *operation, const char *org,
			   const json_t *document, struct err *err)
{
	ERR_TRY(add_timed(operation, org, document, "org.affiliates_lapse",
			  "not renewed within 30 days", json_pack("{s:n}", "affiliates"), err));
	return tell_lifted(operation, org, err);
}

/* Leaves the grants whose notice is just over. */
static enum err_code reach_due(void *argument, const struct world_grant *grant, struct err *err)
{
	const struct reach *reach = argument;
	if (grant->blocked || grant->block_ms > reach->now_ms)
		return ERR_OK;
	return reach_grant(argument, grant, err);
}

static enum err_code put_in_force(struct control_operation *operation, const char *org,
				  const json_t *document, struct err *err)
{
	struct control *control = operation->control;
	int64_t now = control->loop->wall_ms;
	struct reach reach;
	size_t affiliates;
	json_t *outer = json_pack("{s:o}", "affiliates", json_copy((json_t *)block_of(document)));
	json_object_set_new(json_object_get(outer, "affiliates"), "applied", json_integer(now));
	ERR_TRY(add_timed(operation, org, document, "org.affiliates_due", "the notice is over",
			  outer, err));
	ERR_TRY(control_cut_add(operation, CONTROL_CUT_AFFILIATES, operation->changes[0], err));
	enum err_code code = reach_init(&reach, org, now, err);
	if (code == ERR_OK)
		code = each_affiliate(control->world, org, reach_due, &reach, &affiliates, err);
	if (code == ERR_OK)
		code = tell_all(operation, &reach, NOTICE_ORG_BLOCKED, text_blocked, err);
	reach_release(&reach);
	return code;
}

enum err_code control_blocks_due(struct control_operation *operation, struct err *err)
{
	struct control *control = operation->control;
	int64_t now = control->loop->wall_ms;
	const char *id;
	json_t *document;
	json_object_foreach(control->documents[STORE_ORG], id, document)
	{
		const json_t *block = block_of(document);
		const struct world_org *org =
			block ? world_find_org(control->world, bytes_from(id)) : NULL;
		if (!org)
			continue;
		if (control_integer(block, "until", INT64_MAX) <= now)
			return lapse(operation, id, document, err);
		if (org->block_due_ms <= now)
			return put_in_force(operation, id, document, err);
	}
	return ERR_OK;
}
