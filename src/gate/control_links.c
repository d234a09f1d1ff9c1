#include "gate/control_links.h"

#include "gate/access.h"
#include "gate/control_notice.h"

#include <math.h>

/* Links that one operation moves on; the next does the rest. */
#define DUE_MAX 1000

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory to work on links");
}

/* ---- what a link says ---- */

bool control_link_in_force(const json_t *document)
{
	const char *state = control_state_of(document);
	return !*state || strcmp(state, "active") == 0; /* (older ones have no state) */
}

bool control_link_confirmed(const json_t *spec)
{
	return strcmp(json_text(spec, "status"), link_status_id(LINK_CONFIRMED)) == 0;
}

static enum link_kind kind_of(const json_t *spec)
{
	enum link_kind kind = LINK_OWNS;
	link_kind_find(bytes_from(json_text(spec, "kind")), &kind);
	return kind;
}

const char *control_link_concerned(const json_t *spec)
{
	return json_text(spec, link_concerns_holder(kind_of(spec)) ? "from" : "to");
}

static uint32_t share_of(const json_t *spec)
{
	double percent = json_number_value(json_object_get(spec, "share"));
	double share = percent * LINKS_WHOLE / 100;
	return share <= 0 ? 0 : share >= LINKS_WHOLE ? LINKS_WHOLE : (uint32_t)llround(share);
}

static bool day_of(const json_t *spec, const char *key, int64_t *out)
{
	return world_parse_day(bytes_from(json_text(spec, key)), out);
}

const char *control_link_state(const json_t *spec, int64_t now_ms)
{
	int64_t day;
	if (day_of(spec, "until", &day) && now_ms >= day + WORLD_DAY_MS)
		return "ended";
	if (day_of(spec, "since", &day) && now_ms < day)
		return "waiting";
	return "active";
}

/* A confirmed link that goes on, and is no control that it was not before, counts from when it did.
 */
json_t *control_link_outer(const struct control *control, const json_t *document,
			   const json_t *spec)
{
	int64_t noted = control->loop->wall_ms;
	const json_t *from = control_spec_of(document);
	if (document && control_link_in_force(document) && control_link_confirmed(from) &&
	    control_link_confirmed(spec) &&
	    (share_of(spec) <= share_of(from) ||
	     share_of(from) > control->config->control_threshold))
		noted = control_integer(document, "noted", noted);
	return json_pack("{s:I}", "noted", (json_int_t)noted);
}

static int64_t noted_of(const json_t *document)
{
	return control_integer(document, "noted", control_integer(document, "changed", 0));
}

enum err_code control_add_link(struct world_builder *builder, const json_t *document,
			       struct err *err)
{
	const json_t *spec = control_spec_of(document);
	if (!control_link_in_force(document) || !control_link_confirmed(spec))
		return ERR_OK;
	struct world_link_options options = {
		.from = json_text(spec, "from"),
		.to = json_text(spec, "to"),
		.kind = kind_of(spec),
		.share = share_of(spec),
		.open = json_is_true(json_object_get(spec, "public")),
		.noted_ms = noted_of(document),
	};
	return world_builder_add_link(builder, &options, err);
}

static int64_t lapse_ms(const json_t *document)
{
	return noted_of(document) + CONTROL_LAPSE_MS;
}

/* ---- telling ---- */

/* Who is on the other side is told where the link is public. */
static enum err_code tell(struct control_operation *operation, enum notice_event event,
			  const json_t *spec, const char *reason, const char *text, struct err *err)
{
	const char *org = control_link_concerned(spec);
	bool is_open = json_is_true(json_object_get(spec, "public"));
	const char *other = strcmp(org, json_text(spec, "to")) == 0 ? json_text(spec, "from")
								    : json_text(spec, "to");
	json_t *detail = json_pack("{s:s, s:s, s:s*}", "kind", json_text(spec, "kind"), "status",
				   json_text(spec, "status"), "other", is_open ? other : NULL);
	if (!detail)
		return no_memory(err);
	struct control_notice notice = {
		.event = event, .org = org, .text = text, .reason = reason, .detail = detail};
	enum err_code code = control_notice(operation, &notice, err);
	json_decref(detail);
	return code;
}

enum err_code control_link_notice(struct control_operation *operation, const json_t *spec,
				  const char *state, const char *reason, struct err *err)
{
	if (control_link_confirmed(spec) || strcmp(state, "active") != 0)
		return ERR_OK;
	return tell(
		operation, NOTICE_LINK_NOTED, spec, reason,
		"A tie to another organisation was noted and is not confirmed. Service goes on. "
		"Until it is settled no new grant is made and existing ones are renewed on "
		"unchanged terms; unconfirmed, it lapses after 30 days.",
		err);
}

static enum err_code tell_end(struct control_operation *operation, const json_t *spec,
			      const char *reason, struct err *err)
{
	if (control_link_confirmed(spec))
		return ERR_OK;
	return tell(operation, NOTICE_LINK_ENDED, spec, reason,
		    "A tie to another organisation that was noted and never confirmed holds no "
		    "longer. Grants are made as before.",
		    err);
}

/* ---- linking and unlinking ---- */

/* Checked by the reader of access.yaml, so that both say the same. */
static enum err_code read_spec(struct control *control, const json_t *body, json_t **out,
			       struct err *err)
{
	static const char place[] = "org link:1: links[0].";
	json_t *row = json_copy((json_t *)body);
	json_t *orgs = json_object();
	struct buf text = BUF_INIT(65536);
	struct access access = {0};
	const char *id;
	json_t *document;
	json_object_del(row, "reason");
	bool good = row && orgs;
	json_object_foreach(control->documents[STORE_ORG], id, document) good =
		good && json_object_set(orgs, id, json_object_get(document, "spec")) == 0;
	json_t *file = good ? json_pack("{s:[O]}", "links", row) : NULL;
	enum err_code code = file ? json_canonical(file, &text, err) : no_memory(err);
	struct access_context context = {.config = control->config, .orgs = orgs};
	if (code == ERR_OK)
		code = access_parse(buf_bytes(&text), "org link", &context, &access, err);
	if (code == ERR_OK) {
		void *first = json_object_iter(access.links);
		*out = json_incref(json_object_iter_value(first));
		access_release(&access);
	} else if (err && strncmp(err->message, place, sizeof(place) - 1) == 0) {
		char rest[sizeof(err->message)]; /* there is no file whose place would help */
		snprintf(rest, sizeof(rest), "%s", err->message + sizeof(place) - 1);
		snprintf(err->message, sizeof(err->message), "%s", rest);
	}
	buf_release(&text);
	json_decref(file);
	json_decref(row);
	json_decref(orgs);
	return code;
}

enum err_code control_link_change(struct control_operation *operation, const char *id, json_t *spec,
				  const char *state, struct control_telling *telling,
				  struct err *err)
{
	json_t *detail = json_pack("{s:s, s:s, s:s}", "kind", json_text(spec, "kind"), "state",
				   state, "status", json_text(spec, "status"));
	if (!detail)
		return no_memory(err);
	telling->detail = detail;
	enum err_code code =
		control_change_add(operation, STORE_LINK, id, spec, state, telling, NULL, err);
	telling->detail = NULL;
	json_decref(detail);
	return code;
}

static enum err_code answer(struct control_operation *operation, const char *id, const char *state,
			    const json_t *spec, bool changed, struct err *err)
{
	operation->answer = json_pack("{s:s, s:s, s:s, s:b}", "link", id, "state", state, "status",
				      json_text(spec, "status"), "changed", changed);
	return operation->answer ? ERR_OK : no_memory(err);
}

static enum err_code add_link(struct control_operation *operation, json_t *spec,
			      const struct control_act_request *request, struct err *err)
{
	struct control *control = operation->control;
	const char *id = json_text(spec, "id");
	const json_t *document = control_document(control, STORE_LINK, id);
	const char *state = control_link_state(spec, control->loop->wall_ms);
	/* An unconfirmed one that is noted again counts again from now. */
	if (document && control_link_confirmed(spec) &&
	    json_equal(control_spec_of(document), spec) && control_link_in_force(document))
		return answer(operation, id, state, spec, false, err);
	json_t *outer = control_link_outer(control, document, spec);
	if (!outer)
		return no_memory(err);
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = "org.link",
					  .person = request->person,
					  .reason = request->reason,
					  .outer = outer};
	enum err_code code = control_link_change(operation, id, spec, state, &telling, err);
	json_decref(outer);
	if (code == ERR_OK)
		code = control_link_notice(operation, spec, state, request->reason, err);
	return code == ERR_OK ? answer(operation, id, state, spec, true, err) : code;
}

enum err_code control_prepare_link(struct control_operation *operation, const json_t *body,
				   const struct control_act_request *request, struct err *err)
{
	json_t *spec = NULL;
	ERR_TRY(control_check_reason(request->reason, err));
	ERR_TRY(read_spec(operation->control, body, &spec, err));
	enum err_code code = add_link(operation, spec, request, err);
	json_decref(spec);
	return code;
}

enum err_code control_prepare_unlink(struct control_operation *operation, const json_t *body,
				     const struct control_act_request *request, struct err *err)
{
	static const char *const keys[] = {"from", "kind", "to", "reason", NULL};
	const char *from, *kind, *to;
	char id[3 * CONTROL_ID_SIZE + 64];
	ERR_TRY(control_check_reason(request->reason, err));
	ERR_TRY(json_only_keys(body, keys, "org unlink", err));
	ERR_TRY(json_get_string(body, "from", "org unlink", &from, err));
	ERR_TRY(json_get_string(body, "kind", "org unlink", &kind, err));
	ERR_TRY(json_get_string(body, "to", "org unlink", &to, err));
	snprintf(id, sizeof(id), "%s %s %s", from, kind, to);
	const json_t *document = control_document(operation->control, STORE_LINK, id);
	if (!document)
		return ERR_SET(err, ERR_NOT_FOUND,
			       "there is no link \"%s\"; `parley org show %s` "
			       "tells which there are",
			       id, from);
	json_t *spec = json_object_get(document, "spec");
	if (strcmp(control_state_of(document), "removed") == 0)
		return answer(operation, id, "removed", spec, false, err);
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = "org.unlink",
					  .person = request->person,
					  .reason = request->reason};
	bool counted = control_link_in_force(document);
	ERR_TRY(control_link_change(operation, id, spec, "removed", &telling, err));
	if (counted)
		ERR_TRY(tell_end(operation, spec, request->reason, err));
	return answer(operation, id, "removed", spec, true, err);
}

/* ---- what apply may not do ---- */

static bool ends_later(const json_t *from, const json_t *to)
{
	int64_t before, after;
	if (!day_of(to, "until", &after))
		return true;
	return day_of(from, "until", &before) && after >= before;
}

static bool begins_earlier(const json_t *from, const json_t *to)
{
	int64_t before = 0, after;
	if (!day_of(to, "since", &after))
		return true;
	day_of(from, "since", &before);
	return after <= before;
}

enum err_code control_check_link_change(const char *file, const char *id, const json_t *from,
					const json_t *to, struct err *err)
{
	if (!control_link_confirmed(from) ||
	    (control_link_confirmed(to) && share_of(to) >= share_of(from) && ends_later(from, to) &&
	     begins_earlier(from, to)))
		return ERR_OK;
	return ERR_SET(err, ERR_CONFLICT,
		       "%s: link \"%s\" is confirmed, and apply gives nothing back: weaken it with "
		       "`parley org link`, or take it back with `parley org unlink`",
		       file, id);
}

/* ---- what unconfirmed links stop ---- */

static bool stop(const struct control *control, struct links_walk *walk, json_t *stopped,
		 const char *id, const char *concerned)
{
	const struct world_org *org = world_find_org(control->world, bytes_from(concerned));
	bool good = json_object_set_new(stopped, concerned, json_string(id)) == 0;
	if (!org)
		return good;
	links_walk_from(walk, org->number, LINKS_CONTROL);
	for (uint32_t i = 0; good && i < walk->count; i++)
		good = json_object_set_new(stopped,
					   world_org_at(control->world, walk->members[i])->id,
					   json_string(id)) == 0;
	return good;
}

json_t *control_links_stopped(const struct control *control)
{
	struct links_walk walk;
	const char *id;
	json_t *document, *stopped = json_object();
	if (!stopped || !links_walk_init(&walk, world_links(control->world))) {
		json_decref(stopped);
		return NULL;
	}
	bool good = true;
	json_object_foreach(control->documents[STORE_LINK], id, document)
	{
		const json_t *spec = control_spec_of(document);
		if (control_link_in_force(document) && !control_link_confirmed(spec) &&
		    control->loop->wall_ms < lapse_ms(document))
			good = good &&
			       stop(control, &walk, stopped, id, control_link_concerned(spec));
	}
	links_walk_release(&walk);
	if (good)
		return stopped;
	json_decref(stopped);
	return NULL;
}

/* Nothing but its name and its days differ. */
static bool same_terms(const json_t *a, const json_t *b)
{
	static const char *const free_members[] = {"id", "valid", NULL};
	json_t *one = json_copy((json_t *)a), *two = json_copy((json_t *)b);
	for (const char *const *key = free_members; one && two && *key; key++) {
		json_object_del(one, *key);
		json_object_del(two, *key);
	}
	bool same = one && two && json_equal(one, two);
	json_decref(one);
	json_decref(two);
	return same;
}

static bool is_renewal(const struct control *control, const json_t *to)
{
	const char *id;
	json_t *document;
	json_object_foreach(control->documents[STORE_GRANT], id, document)
	{
		const json_t *spec = control_spec_of(document);
		/* What was never agreed is nothing to renew. */
		if (strcmp(json_text(spec, "org"), json_text(to, "org")) == 0 &&
		    strcmp(control_state_of(document), "revoked") != 0 &&
		    strcmp(control_state_of(document), "offered") != 0 && same_terms(spec, to))
			return true;
	}
	return false;
}

static bool is_product(const json_t *spec)
{
	const char *first = json_string_value(json_array_get(json_object_get(spec, "purposes"), 0));
	return first && strcmp(first, purpose_id(PURPOSE_PRODUCT)) == 0;
}

enum err_code control_check_grant_links(const struct control *control, const json_t *stopped,
					const char *where, const json_t *from, const json_t *to,
					struct err *err)
{
	const char *id = json_text(to, "id"), *name = json_text(to, "org");
	const struct world_org *org = world_find_org(control->world, bytes_from(name));
	if (org && org->rival_over && is_product(to))
		return ERR_SET(err, ERR_CONFLICT,
			       "%s: grant %s: %s is controlled by %s, a rival: evaluation grants "
			       "are its only way in, so product cannot be granted",
			       where, id, name, org->rival_over->id);
	const char *link = json_string_value(json_object_get(stopped, name));
	if (!link || (from ? same_terms(from, to) : is_renewal(control, to)))
		return ERR_OK;
	const json_t *document = control_document(control, STORE_LINK, link);
	char lapse[RECORD_TIME_SIZE];
	record_time(lapse_ms(document), lapse);
	return ERR_SET(
		err, ERR_CONFLICT,
		"%s: grant %s: while the link \"%s\" is %s, %s has no new grants and existing "
		"ones are renewed on unchanged terms only; confirm it (`parley org link`), "
		"take it back (`parley org unlink`), or wait until it lapses on %.10s",
		where, id, link, json_text(control_spec_of(document), "status"), name, lapse);
}

/* ---- time ---- */

struct due {
	const char *act, *state, *reason;
};

/* What is to become of the link now; false: nothing. */
static bool is_due(const json_t *document, int64_t now_ms, struct due *out)
{
	const json_t *spec = control_spec_of(document);
	bool active = control_link_in_force(document);
	if (!active && strcmp(control_state_of(document), "waiting") != 0)
		return false;
	const char *state = control_link_state(spec, now_ms);
	if (strcmp(state, "ended") == 0)
		*out = (struct due){"link.end", state, "its last day is over"};
	else if (!active && strcmp(state, "active") == 0)
		*out = (struct due){"link.begin", state, "its first day has come"};
	else if (active && !control_link_confirmed(spec) && now_ms >= lapse_ms(document))
		*out = (struct due){"link.lapse", "lapsed", "not confirmed within 30 days"};
	else
		return false;
	return true;
}

static enum err_code move_on(struct control_operation *operation, const char *id,
			     const json_t *document, const struct due *due, struct err *err)
{
	json_t *spec = json_object_get(document, "spec");
	bool begins = strcmp(due->state, "active") == 0;
	json_t *outer = begins ? control_link_outer(operation->control, NULL, spec) : json_object();
	if (!outer)
		return no_memory(err);
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = due->act,
					  .person = "gateway",
					  .reason = due->reason,
					  .outer = outer};
	enum err_code code = control_link_change(operation, id, spec, due->state, &telling, err);
	json_decref(outer);
	if (code == ERR_OK && begins)
		return control_link_notice(operation, spec, due->state, NULL, err);
	return code == ERR_OK ? tell_end(operation, spec, due->reason, err) : code;
}

enum err_code control_links_due(struct control_operation *operation, struct err *err)
{
	struct control *control = operation->control;
	size_t count = 0;
	const char *id;
	json_t *document;
	json_object_foreach(control->documents[STORE_LINK], id, document)
	{
		struct due due;
		if (!is_due(document, control->loop->wall_ms, &due))
			continue;
		ERR_TRY(move_on(operation, id, document, &due, err));
		if (++count == DUE_MAX)
			break;
	}
	return count ? ERR_OK : control_blocks_due(operation, err);
}
