/* Cases: what of a key's use is far above its own past, shown to a person, who decides. The gateway
 * opens cases and does nothing else of its own accord: asking, binding and throttling are acts of a
 * person, with a reason, through the acts that there are for keys. */
#include "gate/control_internal.h"

#include "gate/control_notice.h"
#include "watch/watch.h"

#include <stdio.h>

#define HOUR_MS INT64_C(3600000)
#define CASE_PAUSE_MS INT64_C(86400000) /* between two cases of one key */
#define GATEWAY "gateway"

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory to look at what keys are used like");
}

static int64_t hour_of(const struct control *control)
{
	return control->loop->wall_ms / HOUR_MS;
}

/* ---- what is kept over a restart ---- */

enum err_code control_watch_open(struct control *control, struct err *err)
{
	json_t *kept = control->documents[STORE_WATCH];
	const char *id;
	json_t *saved;
	json_object_foreach(kept, id, saved)
	{
		/* Of keys that are no more nothing is needed. */
		if (!world_find_key_id(control->world, bytes_from(id)))
			continue;
		struct watch_key *key = watch_key_of(control->watch, id);
		if (!key)
			return no_memory(err);
		ERR_TRY(watch_restore(key, saved, err));
	}
	json_object_clear(kept);
	return ERR_OK;
}

/* An hour that cannot be written is missing after the next restart, and nothing else. */
static void save(void *argument, struct watch_key *key)
{
	struct control *control = argument;
	struct buf text = BUF_INIT((size_t)1 << 20);
	json_t *saved = watch_save(key);
	if (saved && json_canonical(saved, &text, NULL) == ERR_OK && !text.failed) {
		struct store_document row = {
			.kind = STORE_WATCH, .id = watch_key_id(key), .document = buf_bytes(&text)};
		store_put(control->store, &row, 1, NULL);
	}
	json_decref(saved);
	buf_release(&text);
}

void control_watch_roll(struct control *control)
{
	watch_roll(control->watch, hour_of(control), save, control);
}

/* ---- opening cases ---- */

static const char *const hypotheses[WATCH_SIGNALS] = {
#define X(name, text) [WATCH_##name] = text,
	SIGNAL_HYPOTHESIS_TABLE(X)
#undef X
};

static const char *const meanings[WATCH_SIGNALS] = {
#define X(name, id, floor, what) [WATCH_##name] = what,
	SIGNAL_TABLE(X)
#undef X
};

static json_t *finding_json(const struct watch_finding *finding)
{
	char hour[RECORD_TIME_SIZE];
	record_time(finding->hour * HOUR_MS, hour);
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "signal",
			 watch_signal_id(finding->signal), "hour", hour, "value",
			 (json_int_t)finding->value, "past_most", (json_int_t)finding->past_most,
			 "past_median", (json_int_t)finding->past_median, "past_hours",
			 (json_int_t)finding->past_hours);
}

static json_t *findings_json(const struct watch_finding *findings, unsigned count)
{
	json_t *list = json_array();
	for (unsigned i = 0; list && i < count; i++) {
		if (json_array_append_new(list, finding_json(&findings[i]))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

/* An open case, or one of the last day: the hour that a person has just looked at is not news. */
static bool has_recent_case(const struct control *control, const char *key)
{
	const char *id;
	json_t *document;
	json_object_foreach(control->documents[STORE_CASE], id, document)
	{
		const json_t *spec = control_spec_of(document);
		bool open = strcmp(control_state_of(document), "open") == 0 ||
			    strcmp(control_state_of(document), "asked") == 0;
		if (strcmp(json_text(spec, "key"), key) == 0 &&
		    (open || control->loop->wall_ms - control_integer(spec, "opened_ms", 0) <
				     CASE_PAUSE_MS))
			return true;
	}
	return false;
}

static enum err_code open_case(struct control_operation *operation, const char *key,
			       const struct watch_finding *findings, unsigned count,
			       struct err *err)
{
	struct control *control = operation->control;
	const json_t *spec = control_spec(control, STORE_KEY, key);
	const char *grant = json_text(spec, "grant");
	char id[CONTROL_ID_SIZE];
	control_random_id(control, "case_", id);
	json_t *evidence = findings_json(findings, count);
	json_t *detail = evidence ? json_pack("{s:O}", "evidence", evidence) : NULL;
	json_t *document =
		detail ? json_pack("{s:s, s:s, s:s, s:s, s:I, s:O}", "id", id, "key", key, "grant",
				   grant, "org", json_text(spec, "org"), "opened_ms",
				   (json_int_t)control->loop->wall_ms, "evidence", evidence)
		       : NULL;
	enum err_code code = document ? ERR_OK : no_memory(err);
	operation->log = control_log_of_grant(control, grant);
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = "case.open",
					  .person = GATEWAY,
					  .name = id,
					  .detail = detail};
	if (code == ERR_OK)
		code = control_change_add(operation, STORE_CASE, id, document, "open", &telling,
					  NULL, err);
	json_decref(document);
	json_decref(detail);
	json_decref(evidence);
	return code;
}

/* The key's own state and grant stand in the way of nothing: what is revoked is not used. */
enum err_code control_watch_due(struct control_operation *operation, struct err *err)
{
	struct control *control = operation->control;
	for (size_t i = 0; i < world_key_count(control->world); i++) {
		struct watch_finding findings[WATCH_SIGNALS];
		const struct world_key *key = world_key_at(control->world, i);
		unsigned count = key->watch ? watch_judge(key->watch, findings) : 0;
		if (count > 0 && !has_recent_case(control, key->id))
			return open_case(operation, key->id, findings, count, err);
	}
	return ERR_OK;
}

/* ---- deciding ---- */

#define FROM_MAX 4

/* The ladder: ask, bind the key, throttle it. Each leaves the next open; a dismissed case is over.
 */
static const struct {
	const char *decision, *act, *to;
	const char *from[FROM_MAX];
} decisions[] = {
	{"ask",      "case.ask",      "asked",     {"open"}                  },
	{"bind",     "case.bind",     "bound",     {"open", "asked"}         },
	{"throttle", "case.throttle", "throttled", {"open", "asked", "bound"}},
	{"dismiss",  "case.dismiss",  "dismissed", {"open", "asked"}         },
};
#define DECISIONS (sizeof(decisions) / sizeof(decisions[0]))

static enum err_code find_decision(const char *name, const char *id, const char *state, size_t *out,
				   struct err *err)
{
	size_t i = 0;
	while (i < DECISIONS && strcmp(decisions[i].decision, name) != 0)
		i++;
	if (i == DECISIONS)
		return ERR_SET(err, ERR_INVALID,
			       "decision: %s is none; it is ask, bind, throttle or dismiss", name);
	for (int from = 0; from < FROM_MAX && decisions[i].from[from]; from++) {
		if (strcmp(decisions[i].from[from], state) == 0) {
			*out = i;
			return ERR_OK;
		}
	}
	return ERR_SET(err, ERR_CONFLICT, "case %s is %s: %s is not to be decided any more", id,
		       state, name);
}

/* One member of the body under its own name, for the act on the key. */
static enum err_code act_on_key(struct control_operation *operation, const char *key,
				const json_t *body, const char *member,
				const struct control_act_request *request, struct err *err)
{
	bool binds = strcmp(member, "public_key") == 0;
	json_t *value = json_object_get(body, member);
	if (!value || (json_is_object(value) && json_object_size(value) == 0))
		return ERR_SET(err, ERR_INVALID, "%s",
			       binds ? "to bind the key, give the holder's public_key: ask for it "
				       "first"
				     : "say which limits: {\"rpm\": 60}");
	json_t *own = json_pack("{s:O}", member, value);
	enum err_code code = own ? ERR_OK : no_memory(err);
	if (code == ERR_OK && binds)
		code = control_prepare_bind(operation, key, own, request, err);
	else if (code == ERR_OK)
		code = control_prepare_limit(operation, key, own, request, err);
	json_decref(own);
	return code;
}

static enum err_code ask_holder(struct control_operation *operation, const char *id,
				const json_t *spec, const char *reason, struct err *err)
{
	const json_t *evidence = json_object_get(spec, "evidence"), *row;
	struct buf text = BUF_INIT(8192);
	size_t index;
	buf_printf(&text,
		   "Key %s under grant %s of %s is used unlike before. This is a question, not a "
		   "finding: nothing has been changed, and a person decides what follows.",
		   json_text(spec, "key"), json_text(spec, "grant"),
		   operation->control->config->name);
	json_array_foreach(evidence, index, row)
		buf_printf(&text,
			   " In the hour from %s: %s %lld; the most in %lld hours before "
			   "was %lld.",
			   json_text(row, "hour"), json_text(row, "signal"),
			   (long long)control_integer(row, "value", 0),
			   (long long)control_integer(row, "past_hours", 0),
			   (long long)control_integer(row, "past_most", 0));
	buf_printf(&text,
		   " Please tell us what it is, naming case %s. If the key is used where you "
		   "do not expect it, rotate it, or give us a public key to bind it to.",
		   id);
	struct control_notice notice = {.event = NOTICE_KEY_QUESTION,
					.org = json_text(spec, "org"),
					.grant = json_text(spec, "grant"),
					.text = text.failed ? "" : text.data,
					.reason = reason,
					.detail = spec};
	enum err_code code = text.failed ? no_memory(err) : control_notice(operation, &notice, err);
	buf_release(&text);
	return code;
}

static enum err_code decide(struct control_operation *operation, const char *id, json_t *spec,
			    size_t decision, const json_t *body,
			    const struct control_act_request *request, struct err *err)
{
	const char *name = decisions[decision].decision, *key = json_text(spec, "key");
	if (strcmp(name, "bind") == 0)
		ERR_TRY(act_on_key(operation, key, body, "public_key", request, err));
	if (strcmp(name, "throttle") == 0)
		ERR_TRY(act_on_key(operation, key, body, "limits", request, err));
	json_decref(operation->answer);
	operation->answer = json_pack("{s:s, s:s, s:s}", "case", id, "key_id", key, "state",
				      decisions[decision].to);
	operation->log = control_log_of_grant(operation->control, json_text(spec, "grant"));
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = decisions[decision].act,
					  .person = request->person,
					  .reason = request->reason,
					  .name = id};
	if (!operation->answer)
		return no_memory(err);
	ERR_TRY(control_change_add(operation, STORE_CASE, id, spec, decisions[decision].to,
				   &telling, NULL, err));
	return strcmp(name, "ask") == 0 ? ask_holder(operation, id, spec, request->reason, err)
					: ERR_OK;
}

enum err_code control_prepare_decision(struct control_operation *operation, const char *id,
				       const json_t *body,
				       const struct control_act_request *request, struct err *err)
{
	static const char *const keys[] = {"decision", "public_key", "limits", "reason", NULL};
	const json_t *document = control_document(operation->control, STORE_CASE, id);
	const char *name;
	size_t decision = 0;
	ERR_TRY(json_only_keys(body, keys, "case", err));
	ERR_TRY(control_check_reason(request->reason, err));
	ERR_TRY(json_get_string(body, "decision", "case", &name, err));
	if (!document)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no case %s", id);
	if (!request->reason || !*request->reason)
		return ERR_SET(err, ERR_INVALID, "a decision needs a reason: it goes on record");
	ERR_TRY(find_decision(name, id, control_state_of(document), &decision, err));
	return decide(operation, id, json_object_get(document, "spec"), decision, body, request,
		      err);
}

/* ---- showing ---- */

static json_t *benign_of(const char *signal)
{
	static const struct {
		enum watch_signal signal;
		const char *text, *told_by;
	} rows[] = {
#define X(name, text, told_by) {WATCH_##name, text, told_by},
		SIGNAL_BENIGN_TABLE(X)
#undef X
	};
	json_t *list = json_array();
	for (size_t i = 0; list && i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(watch_signal_id(rows[i].signal), signal) != 0)
			continue;
		json_t *row = json_pack("{s:s, s:s}", "explanation", rows[i].text, "told_by",
					rows[i].told_by);
		if (json_array_append_new(list, row)) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

bool control_view_case(struct control *control, json_t *view)
{
	char time[RECORD_TIME_SIZE];
	json_t *evidence = json_deep_copy(json_object_get(view, "evidence")), *row;
	json_t *names = json_array();
	size_t index;
	bool good = evidence && names;
	(void)control;
	json_array_foreach(evidence, index, row)
	{
		const char *signal = json_text(row, "signal");
		good = good && json_array_append_new(names, json_string(signal)) == 0;
		for (int known = 0; good && known < WATCH_SIGNALS; known++) {
			if (strcmp(watch_signal_id((enum watch_signal)known), signal) != 0)
				continue;
			good = json_set(row, "meaning", json_string(meanings[known])) &&
			       json_set(row, "hypothesis", json_string(hypotheses[known])) &&
			       json_set(row, "benign", benign_of(signal));
		}
	}
	record_time(control_integer(view, "opened_ms", 0), time);
	json_object_del(view, "opened_ms");
	if (!good) {
		json_decref(evidence);
		json_decref(names);
		return false;
	}
	/* Each is taken over, whatever becomes of the others. */
	bool told = json_set(view, "evidence", evidence);
	told = json_set(view, "signals", names) && told;
	return json_set(view, "opened", json_string(time)) && told;
}
