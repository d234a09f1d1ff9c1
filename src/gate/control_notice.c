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

static bool set(json_t *object, const char *key, json_t *value)
{
	return value && json_object_set_new(object, key, value) == 0;
}

static bool set_text(json_t *object, const char *key, const char *text)
{
	return !text || !*text || set(object, key, json_string(text));
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
	bool good = spec && set_text(spec, "id", id) &&
		    set_text(spec, "event", notice_event_id(notice->event)) &&
		    set_text(spec, "org", notice->org) && set_text(spec, "grant", grant) &&
		    set_text(spec, "appeal", control_text(terms, "appeal")) &&
		    set_text(spec, "reason", notice->reason) &&
		    set_text(spec, "text", notice->text) && set_text(spec, "time", time);
	if (good && notice->detail)
		good = set(spec, "detail", json_deep_copy(notice->detail));
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
	const json_t *org = control_spec(control, STORE_ORG, notice->org);
	if (!*control_text(org, "notify"))
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
	    !set(answer, "notified", json_integer((json_int_t)operation->notified)))
		return false;
	return !operation->untold ||
	       json_object_set(answer, "not_notified", operation->untold) == 0;
}
