#include "gate/control_notice.h"

#include <stdio.h>

static const struct {
	const char *id, *subject;
} events[NOTICE_EVENTS] = {
#define X(name, id, subject) [NOTICE_##name] = {id, subject},
	NOTICE_TABLE(X)
#undef X
};

const char *notice_event_id(enum notice_event event)
{
	return events[event].id;
}

const char *notice_event_subject(enum notice_event event)
{
	return events[event].subject;
}

bool notice_event_find(const char *id, enum notice_event *out)
{
	for (int event = 0; event < NOTICE_EVENTS; event++) {
		if (strcmp(events[event].id, id) == 0) {
			*out = (enum notice_event)event;
			return true;
		}
	}
	return false;
}

/* What is sent, but for the names of the sender: its text does not change between attempts. */
static json_t *make_spec(const struct control *control, const struct control_notice *notice,
			 const char *id)
{
	char time[RECORD_TIME_SIZE];
	const char *grant = notice->grant ? notice->grant : "";
	const json_t *terms = control_spec(control, STORE_GRANT, grant);
	record_time(control->loop->wall_ms, time);
	json_t *spec = json_object();
	bool good = spec && json_set_text(spec, "id", id) &&
		    json_set_text(spec, "event", notice_event_id(notice->event)) &&
		    json_set_text(spec, "org", notice->org) &&
		    json_set_text(spec, "grant", grant) &&
		    json_set_text(spec, "appeal", json_text(terms, "appeal")) &&
		    json_set_text(spec, "reason", notice->reason) &&
		    json_set_text(spec, "text", notice->text) && json_set_text(spec, "time", time);
	if (good && notice->detail)
		good = json_set(spec, "detail", json_deep_copy(notice->detail));
	if (good)
		return spec;
	json_decref(spec);
	return NULL;
}

static enum err_code note_untold(struct control_operation *operation, const char *org,
				 struct err *err)
{
	if (!operation->untold)
		operation->untold = json_array();
	if (!operation->untold || json_array_append_new(operation->untold, json_string(org)))
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to prepare a notice");
	return ERR_OK;
}

enum err_code control_notice(struct control_operation *operation,
			     const struct control_notice *notice, struct err *err)
{
	struct control *control = operation->control;
	const json_t *org =
		notice->org_spec ? notice->org_spec : control_spec(control, STORE_ORG, notice->org);
	if (!*json_text(org, "notify"))
		return note_untold(operation, notice->org, err);
	char id[CONTROL_ID_SIZE];
	control_random_id(control, "ntc_", id);
	json_t *spec = make_spec(control, notice, id);
	if (!spec)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to prepare a notice");
	enum err_code code = control_change_ride(operation, STORE_NOTICE, id, spec, "pending", err);
	json_decref(spec);
	operation->notified += code == ERR_OK;
	return code;
}

bool control_notice_answer(struct control_operation *operation)
{
	json_t *answer = operation->answer;
	if (operation->notified &&
	    !json_set(answer, "notified", json_integer((json_int_t)operation->notified)))
		return false;
	return !operation->untold ||
	       json_object_set(answer, "not_notified", operation->untold) == 0;
}

enum err_code control_notice_of_grant(struct control_operation *operation, const char *act,
				      const char *id, const char *reason, struct err *err)
{
	static const struct {
		const char *act;
		enum notice_event event;
		const char *text;
	} rows[] = {
		{"grant.suspend", NOTICE_GRANT_SUSPENDED,
		 "is suspended: requests under it are refused and answers under way have ended. It "
		 "can be restored."					   },
		{"grant.restore", NOTICE_GRANT_RESTORED,  "is in force again."},
		{"grant.revoke",  NOTICE_GRANT_REVOKED,
		 "is revoked: requests under it are refused and answers under way have ended. A "
		 "new grant is needed to go on."                              },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[512];
		if (strcmp(rows[i].act, act) != 0)
			continue;
		snprintf(text, sizeof(text), "Grant %s of %s %s", id,
			 operation->control->config->name, rows[i].text);
		struct control_notice notice = {
			.event = rows[i].event,
			.org = json_text(control_spec(operation->control, STORE_GRANT, id), "org"),
			.grant = id,
			.text = text,
			.reason = reason};
		return control_notice(operation, &notice, err);
	}
	return ERR_OK;
}

/* ---- grants that end soon ---- */

#define HOUR_MS INT64_C(3600000)

static bool ends_soon(const struct control *control, const json_t *document)
{
	const json_t *spec = control_spec_of(document);
	const char *to = json_text(json_object_get(spec, "valid"), "to");
	int64_t hours = control_integer(spec, "notice_hours", 0), last = 0;
	if (hours == 0 || strcmp(control_state_of(document), "active") != 0 ||
	    strcmp(json_text(document, "told"), to) == 0 || !world_parse_day(bytes_from(to), &last))
		return false;
	int64_t left = last + WORLD_DAY_MS - control->loop->wall_ms;
	return left > 0 && left <= hours * HOUR_MS &&
	       *json_text(control_spec(control, STORE_ORG, json_text(spec, "org")), "notify");
}

static enum err_code tell_end(struct control_operation *operation, const char *id,
			      const json_t *document, struct err *err)
{
	json_t *spec = json_object_get(document, "spec");
	const char *to = json_text(json_object_get(spec, "valid"), "to");
	char text[512];
	json_t *outer = json_pack("{s:s}", "told", to);
	struct control_telling telling = {.kind = RECORD_NOTICE,
					  .act = "grant.expiring",
					  .person = "gateway",
					  .before = document,
					  .outer = outer};
	snprintf(text, sizeof(text), "Grant %s of %s ends with %s (UTC).", id,
		 operation->control->config->name, to);
	struct control_notice notice = {.event = NOTICE_GRANT_EXPIRING,
					.org = json_text(spec, "org"),
					.grant = id,
					.text = text};
	operation->quiet = true;
	operation->log = control_log_of_grant(operation->control, id);
	enum err_code code =
		outer ? control_change_add(operation, STORE_GRANT, id, spec,
					   control_state_of(document), &telling, NULL, err)
		      : ERR_SET(err, ERR_NO_MEMORY, "no memory to prepare a notice");
	json_decref(outer);
	return code == ERR_OK ? control_notice(operation, &notice, err) : code;
}

enum err_code control_notice_expiring(struct control_operation *operation, struct err *err)
{
	struct control *control = operation->control;
	int64_t now_ms = control->loop->wall_ms;
	/* Once a minute, of all grants: a document is looked at only where the days fit. */
	for (size_t i = 0; i < world_grant_count(control->world); i++) {
		const struct world_grant *grant = world_grant_at(control->world, i);
		if (grant->state != GRANT_ACTIVE || grant->until_ms <= now_ms ||
		    grant->until_ms - now_ms > grant->notice_ms)
			continue;
		const json_t *document = control_document(control, STORE_GRANT, grant->id);
		if (ends_soon(control, document))
			return tell_end(operation, grant->id, document, err);
	}
	return ERR_OK;
}
