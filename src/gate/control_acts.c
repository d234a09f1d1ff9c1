#include "gate/control_notice.h"

#define REASON_MAX 1024

/* ---- acts that change a state only ---- */

#define FROM_MAX 4

struct transition {
	const char *act;
	enum store_kind kind;
	enum record_kind record;
	const char *noun;
	const char *from[FROM_MAX]; /* states it may start in, up to the first NULL */
	const char *to;
	bool cuts;
	enum control_cut_kind cut;
	const char *advice; /* where the state is none of these */
};

/* clang-format off */
static const struct transition transitions[] = {
	{"org.block", STORE_ORG, RECORD_ACT, "org", {"open"}, "blocked", true, CONTROL_CUT_ORG, ""},
	{"org.unblock", STORE_ORG, RECORD_ACT, "org", {"blocked"}, "open", false, 0, ""},
	{"grant.suspend", STORE_GRANT, RECORD_ACT, "grant", {"active"}, "suspended", true,
	 CONTROL_CUT_GRANT, "only an active grant can be suspended"},
	{"grant.restore", STORE_GRANT, RECORD_ACT, "grant", {"suspended"}, "active", false, 0,
	 "only a suspended grant can be restored; a revoked one needs a new id"},
	{"grant.revoke", STORE_GRANT, RECORD_ACT, "grant", {"offered", "active", "suspended"}, "revoked",
	 true, CONTROL_CUT_GRANT, ""},
	{"key.revoke", STORE_KEY, RECORD_ACT, "key", {"active"}, "revoked", true, CONTROL_CUT_KEY, ""},
	{"suite.approve", STORE_SUITE, RECORD_SUITE, "suite", {"private", "rejected"}, "reviewed",
	 false, 0, "only a private suite waits for approval"},
	{"suite.reject", STORE_SUITE, RECORD_SUITE, "suite", {"private", "reviewed"}, "rejected", false,
	 0, ""},
	{"run.close", STORE_RUN, RECORD_RUN, "run", {"open"}, "closed", false, 0, ""},
};
/* clang-format on */

static const struct transition *find_transition(const char *act)
{
	for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++) {
		if (strcmp(transitions[i].act, act) == 0)
			return &transitions[i];
	}
	return NULL;
}

static bool may_start(const struct transition *transition, const char *state)
{
	for (int i = 0; i < FROM_MAX && transition->from[i]; i++) {
		if (strcmp(transition->from[i], state) == 0)
			return true;
	}
	return false;
}

enum err_code control_check_reason(const char *reason, struct err *err)
{
	if (reason && strlen(reason) > REASON_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "the reason has more than %d bytes", REASON_MAX);
	return ERR_OK;
}

static enum control_log log_of(const struct control *control, enum store_kind kind, const char *id,
			       const json_t *spec)
{
	if (kind == STORE_GRANT)
		return control_log_of_grant(control, id);
	const char *grant = json_text(spec, "grant");
	return *grant ? control_log_of_grant(control, grant) : CONTROL_EVALUATION;
}

static enum err_code answer_state(struct control_operation *operation,
				  const struct transition *transition, const char *id, bool changed,
				  struct err *err)
{
	operation->answer = json_pack("{s:s, s:s, s:b}", transition->noun, id, "state",
				      transition->to, "changed", changed);
	return operation->answer ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory to answer");
}

/* The end of a run goes on record with its place in the register, what its openings were chosen by
 * and, where it is the `last` over its suite, the gateway's seed. *told (a new reference) is what
 * the record says beside. */
static enum err_code close_run(struct control_operation *operation, const char *id,
			       const json_t *spec, bool last, const struct control_telling *telling,
			       json_t **told, struct err *err)
{
	struct control *control = operation->control;
	json_t *rows = control_register_of(control, id);
	json_t *closed = json_copy((json_t *)spec);
	json_t *detail = json_object();
	json_t *words = control_words_of(control, id);
	bool good = rows && closed && detail && json_object_set(closed, "register", rows) == 0;
	if (words)
		good = good && json_object_set(closed, "words", words) == 0 &&
		       json_object_set(detail, "words", words) == 0;
	good = good && control_grading_reveal(control, spec, last, detail) &&
	       json_object_set(detail, "register", rows) == 0;
	enum err_code code =
		good ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory to close run %s", id);
	struct control_telling full = *telling;
	full.detail = detail;
	if (code == ERR_OK)
		code = control_change_add(operation, STORE_RUN, id, closed, "closed", &full, NULL,
					  err);
	json_decref(rows);
	json_decref(closed);
	json_decref(words);
	*told = code == ERR_OK ? detail : NULL;
	if (code != ERR_OK)
		json_decref(detail);
	return code;
}

/* A suite that was rejected runs no more: its open runs are closed in the same act. What is under
 * way was admitted before and goes on. */
static enum err_code close_runs(struct control_operation *operation, const char *suite,
				const struct control_act_request *request, struct err *err)
{
	const char *id;
	json_t *document;
	json_int_t closed = 0;
	struct control_telling telling = {.kind = RECORD_RUN,
					  .act = "run.close",
					  .person = request->person,
					  .reason = request->reason ? request->reason
								    : "its suite was rejected"};
	json_object_foreach(operation->control->documents[STORE_RUN], id, document)
	{
		json_t *spec = json_object_get(document, "spec");
		if (strcmp(control_state_of(document), "open") != 0 ||
		    strcmp(json_text(spec, "suite"), suite) != 0)
			continue;
		json_t *told;
		/* None is left over: each may tell the seed. */
		ERR_TRY(close_run(operation, id, spec, true, &telling, &told, err));
		json_decref(told);
		closed++;
	}
	return json_object_set_new(operation->answer, "runs_closed", json_integer(closed))
		       ? ERR_SET(err, ERR_NO_MEMORY, "no memory to answer")
		       : ERR_OK;
}

enum err_code control_prepare_transition(struct control_operation *operation, const char *act,
					 const char *id, const struct control_act_request *request,
					 struct err *err)
{
	const struct transition *transition = find_transition(act);
	if (!transition)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no act %s", act);
	struct control *control = operation->control;
	const json_t *document = control_document(control, transition->kind, id);
	if (!document)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no %s %s", transition->noun, id);
	ERR_TRY(control_check_reason(request->reason, err));
	const char *state = control_state_of(document);
	if (strcmp(state, transition->to) == 0)
		return answer_state(operation, transition, id, false, err);
	if (!may_start(transition, state))
		return ERR_SET(err, ERR_CONFLICT, "%s %s is %s: %s", transition->noun, id, state,
			       transition->advice);
	json_t *spec = json_object_get(document, "spec");
	operation->log = log_of(control, transition->kind, id, spec);
	struct control_telling telling = {.kind = transition->record,
					  .act = transition->act,
					  .person = request->person,
					  .reason = request->reason};
	json_t *told = NULL;
	enum err_code code;
	if (transition->kind == STORE_RUN)
		code = close_run(operation, id, spec,
				 control_grading_ends(control, json_text(spec, "suite"), id),
				 &telling, &told, err);
	else
		code = control_change_add(operation, transition->kind, id, spec, transition->to,
					  &telling, NULL, err);
	if (code == ERR_OK && transition->kind == STORE_GRANT)
		code = control_notice_of_grant(operation, act, id, request->reason, err);
	if (code == ERR_OK && transition->cuts)
		code = control_cut_add(operation, transition->cut, operation->changes[0], err);
	if (code == ERR_OK)
		code = answer_state(operation, transition, id, true, err);
	if (code == ERR_OK && told && json_object_update(operation->answer, told))
		code = ERR_SET(err, ERR_NO_MEMORY, "no memory to answer");
	json_decref(told);
	if (code == ERR_OK && strcmp(transition->act, "suite.reject") == 0)
		code = close_runs(operation, id, request, err);
	return code;
}
