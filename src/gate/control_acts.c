#include "gate/control_internal.h"

#include "base/encode.h"

#include <stdio.h>

#define REASON_MAX 1024
#define KEY_SECRET_SIZE 43 /* base62 digits: 256 bits */
#define KEY_PREFIX "plk_"

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

static enum err_code check_reason(const char *reason, struct err *err)
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
	const char *grant = control_text(spec, "grant");
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
		    strcmp(control_text(spec, "suite"), suite) != 0)
			continue;
		ERR_TRY(control_change_add(operation, STORE_RUN, id, spec, "closed", &telling, NULL,
					   err));
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
	ERR_TRY(check_reason(request->reason, err));
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
	bool reveals = transition->kind == STORE_RUN &&
		       control_grading_ends(control, control_text(spec, "suite"), id);
	json_t *seed =
		reveals ? control_grading_reveal(control, control_text(spec, "suite")) : NULL;
	telling.detail = seed;
	enum err_code code = control_change_add(operation, transition->kind, id, spec,
						transition->to, &telling, NULL, err);
	if (code != ERR_OK) {
		json_decref(seed);
		return code;
	}
	if (transition->cuts)
		ERR_TRY(control_cut_add(operation, transition->cut, operation->changes[0], err));
	code = answer_state(operation, transition, id, true, err);
	if (code == ERR_OK && seed && json_object_update(operation->answer, seed))
		code = ERR_SET(err, ERR_NO_MEMORY, "no memory to answer");
	json_decref(seed);
	if (code == ERR_OK && strcmp(transition->act, "suite.reject") == 0)
		code = close_runs(operation, id, request, err);
	return code;
}

/* ---- keys ---- */

/* Each digit uniform: bytes beyond the last multiple of 62 are drawn again. */
static void draw_secret(struct control *control,
			char out[static sizeof(KEY_PREFIX) + KEY_SECRET_SIZE])
{
	static const char digits[] =
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	size_t size = sizeof(KEY_PREFIX) - 1;
	memcpy(out, KEY_PREFIX, size);
	while (size < sizeof(KEY_PREFIX) - 1 + KEY_SECRET_SIZE) {
		uint8_t random[64];
		env_random(control->env, random, sizeof(random));
		for (size_t i = 0;
		     i < sizeof(random) && size < sizeof(KEY_PREFIX) - 1 + KEY_SECRET_SIZE; i++) {
			if (random[i] < 4 * 62)
				out[size++] = digits[random[i] % 62];
		}
		explicit_bzero(random, sizeof(random));
	}
	out[size] = '\0';
}

/* "2026-12-31" (to the end of the day), "2026-12-31T12:00:00Z", "30d" or "12h" from now. */
static bool parse_expiry(const char *text, int64_t now_ms, int64_t *out)
{
	struct bytes bytes = bytes_from(text);
	uint64_t number, hours, minutes, seconds;
	if (world_parse_day(bytes, out)) {
		*out += WORLD_DAY_MS;
		return true;
	}
	char unit = bytes.size ? text[bytes.size - 1] : '\0';
	if ((unit == 'd' || unit == 'h') &&
	    bytes_to_u64(bytes_of(text, bytes.size - 1), 100000, &number)) {
		*out = now_ms + (int64_t)number * (unit == 'd' ? WORLD_DAY_MS : 3600000);
		return true;
	}
	if (bytes.size != 20 || text[10] != 'T' || text[13] != ':' || text[16] != ':' ||
	    unit != 'Z' || !world_parse_day(bytes_of(text, 10), out) ||
	    !bytes_to_u64(bytes_of(text + 11, 2), 23, &hours) ||
	    !bytes_to_u64(bytes_of(text + 14, 2), 59, &minutes) ||
	    !bytes_to_u64(bytes_of(text + 17, 2), 59, &seconds))
		return false;
	*out += (int64_t)((hours * 60 + minutes) * 60 + seconds) * 1000;
	return true;
}

static enum err_code check_key_grant(const struct control *control, const char *org,
				     const char *grant, const char *team, struct err *err)
{
	const json_t *document = control_document(control, STORE_GRANT, grant);
	if (!control_document(control, STORE_ORG, org))
		return ERR_SET(err, ERR_NOT_FOUND, "there is no org %s", org);
	if (!document)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no grant %s", grant);
	const json_t *spec = control_spec_of(document);
	if (strcmp(control_text(spec, "org"), org) != 0)
		return ERR_SET(err, ERR_CONFLICT, "grant %s is not %s's but %s's", grant, org,
			       control_text(spec, "org"));
	if (strcmp(control_state_of(document), "revoked") == 0)
		return ERR_SET(err, ERR_CONFLICT,
			       "grant %s is revoked; no key can be issued under it", grant);
	const char *granted = control_text(spec, "team");
	if (*granted && *team && strcmp(granted, team) != 0)
		return ERR_SET(err, ERR_CONFLICT, "grant %s is for team %s, not %s", grant, granted,
			       team);
	return ERR_OK;
}

static enum err_code key_expiry(const struct control *control, const json_t *body, int64_t *out,
				struct err *err)
{
	const char *expires;
	ERR_TRY(json_get_string_or(body, "expires", "key", NULL, &expires, err));
	*out = WORLD_ALWAYS;
	if (!expires)
		return ERR_OK;
	if (!parse_expiry(expires, control->loop->wall_ms, out))
		return ERR_SET(
			err, ERR_INVALID,
			"expires: %s is no time; write 2026-12-31, 2026-12-31T12:00:00Z, 30d "
			"or 12h",
			expires);
	if (*out <= control->loop->wall_ms)
		return ERR_SET(err, ERR_INVALID, "expires: %s lies in the past", expires);
	return ERR_OK;
}

static json_t *key_spec(const char *id, const char *digest, const char *org, const char *grant,
			const char *team, int64_t expires_ms)
{
	json_t *spec = json_pack("{s:s, s:s, s:s, s:s}", "id", id, "digest", digest, "org", org,
				 "grant", grant);
	bool good = spec != NULL;
	if (good && *team)
		good = json_object_set_new(spec, "team", json_string(team)) == 0;
	if (good && expires_ms != WORLD_ALWAYS)
		good = json_object_set_new(spec, "expires_ms", json_integer(expires_ms)) == 0;
	if (good)
		return spec;
	json_decref(spec);
	return NULL;
}

static enum err_code add_key(struct control_operation *operation, const char *org,
			     const char *grant, const char *team, int64_t expires_ms,
			     const struct control_act_request *request, struct err *err)
{
	struct control *control = operation->control;
	char secret[sizeof(KEY_PREFIX) + KEY_SECRET_SIZE];
	char id[CONTROL_ID_SIZE];
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	draw_secret(control, secret);
	control_random_id(control, "key_", id);
	sha256_of(secret, strlen(secret), digest);
	hex_encode(digest, sizeof(digest), hex);
	operation->log = control_log_of_grant(control, grant);
	operation->answer = json_pack("{s:s, s:s, s:s, s:s}", "id", id, "org", org, "grant", grant,
				      "key", secret);
	explicit_bzero(secret, sizeof(secret));
	json_t *spec = key_spec(id, hex, org, grant, team, expires_ms);
	if (!operation->answer || !spec) {
		json_decref(spec);
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to issue a key");
	}
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = "key.issue",
					  .person = request->person,
					  .reason = request->reason};
	enum err_code code =
		control_change_add(operation, STORE_KEY, id, spec, "active", &telling, NULL, err);
	json_decref(spec);
	return code;
}

enum err_code control_prepare_key(struct control_operation *operation, const json_t *body,
				  const struct control_act_request *request, struct err *err)
{
	static const char *const keys[] = {"org", "grant", "team", "expires", "reason", NULL};
	const char *org, *grant, *team;
	int64_t expires_ms;
	ERR_TRY(json_only_keys(body, keys, "key", err));
	ERR_TRY(check_reason(request->reason, err));
	ERR_TRY(json_get_string(body, "org", "key", &org, err));
	ERR_TRY(json_get_string(body, "grant", "key", &grant, err));
	ERR_TRY(json_get_string_or(body, "team", "key", "", &team, err));
	ERR_TRY(check_key_grant(operation->control, org, grant, team, err));
	ERR_TRY(key_expiry(operation->control, body, &expires_ms, err));
	if (!*team)
		team = control_text(control_spec(operation->control, STORE_GRANT, grant), "team");
	return add_key(operation, org, grant, team, expires_ms, request, err);
}
