#include "gate/admin.h"

#include "gate/admin_check.h"
#include "gate/admin_view.h"
#include "gate/backup.h"
#include "gate/control_grants.h"
#include "gate/control_links.h"
#include "gate/control_notice.h"
#include "gate/what_if.h"

#include <stdlib.h>

#define ID_SIZE 256
#define DEFAULT_PERSON "operator"
#define OWN_AGREED "/parley/v1/grants/*/agreed"

/* A request on its way: which route it took, and what was in it. */
struct call {
	struct admin_request *request;
	const struct route *route;
	char id[ID_SIZE]; /* the part of the path that is a name, or "" */
	char org[ID_SIZE], grant[ID_SIZE];
	bool pending;
	json_t *body;           /* an object */
	struct verdict verdict; /* own endpoints: who asks */
	uint8_t key_digest[SHA256_SIZE];
	struct sender_facts sender;
	json_t *waiting; /* the answer, while the log is decided again */
};

struct route {
	const char *method;
	const char *path; /* "*" stands for one name */
	enum err_code (*prepare)(struct control_operation *operation, struct err *err);
	const char *act;
	enum store_kind kind;
};

/* ---- what routes do ---- */

static struct call *call_of(const struct control_operation *operation)
{
	return operation->argument;
}

static struct control_act_request act_request(const struct call *call)
{
	const char *person = call->request->person;
	const json_t *reason = json_object_get(call->body, "reason");
	return (struct control_act_request){.person = person ? person : DEFAULT_PERSON,
					    .reason = json_string_value(reason)};
}

static enum err_code answered(const struct control_operation *operation, struct err *err)
{
	return operation->answer ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory to answer");
}

static enum err_code prepare_status(struct control_operation *operation, struct err *err)
{
	operation->answer = admin_view_status(operation->control);
	return answered(operation, err);
}

static enum err_code prepare_list(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	struct admin_filter filter = {
		.org = call->org, .grant = call->grant, .pending = call->pending};
	operation->answer = admin_view_list(operation->control, call->route->kind, &filter);
	return answered(operation, err);
}

static enum err_code prepare_show(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	if (!control_document(operation->control, call->route->kind, call->id))
		return ERR_SET(err, ERR_NOT_FOUND, "there is no %s under %s", call->id,
			       store_kind_name(call->route->kind));
	operation->answer = call->route->kind == STORE_ORG
				    ? admin_view_org(operation->control, call->id)
				    : admin_view(operation->control, call->route->kind, call->id);
	return answered(operation, err);
}

static enum err_code prepare_usage(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	const struct world *world = operation->control->world;
	struct bytes id = bytes_from(call->id);
	bool of_key = call->route->kind == STORE_KEY;
	const struct world_key *key = of_key ? world_find_key_id(world, id) : NULL;
	const struct world_grant *grant =
		of_key ? (key ? key->grant : NULL) : world_find_grant(world, id);
	if (!grant)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no %s under %s", call->id,
			       store_kind_name(call->route->kind));
	operation->answer = admin_view_usage(operation->control, grant, key);
	return answered(operation, err);
}

static enum err_code prepare_act(struct control_operation *operation, struct err *err)
{
	static const char *const keys[] = {"reason", NULL};
	const struct call *call = call_of(operation);
	struct control_act_request request = act_request(call);
	ERR_TRY(json_only_keys(call->body, keys, call->route->act, err));
	return control_prepare_transition(operation, call->route->act, call->id, &request, err);
}

static enum err_code prepare_block(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	struct control_act_request request = act_request(call);
	return control_prepare_block(operation, call->id, call->body, &request, err);
}

static enum err_code prepare_unblock(struct control_operation *operation, struct err *err)
{
	static const char *const keys[] = {"reason", NULL};
	const struct call *call = call_of(operation);
	struct control_act_request request = act_request(call);
	ERR_TRY(json_only_keys(call->body, keys, "org.unblock", err));
	return control_prepare_unblock(operation, call->id, &request, err);
}

static enum err_code prepare_link(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	struct control_act_request request = act_request(call);
	return control_prepare_link(operation, call->body, &request, err);
}

static enum err_code prepare_unlink(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	struct control_act_request request = act_request(call);
	return control_prepare_unlink(operation, call->body, &request, err);
}

static enum err_code prepare_key(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	struct control_act_request request = act_request(call);
	return control_prepare_key(operation, call->body, &request, err);
}

/* Looks now, as the clock does each minute. */
static enum err_code prepare_look(struct control_operation *operation, struct err *err)
{
	control_watch_roll(operation->control);
	ERR_TRY(control_watch_due(operation, err));
	operation->answer = json_pack("{s:b}", "opened", operation->change_count > 0);
	return answered(operation, err);
}

static enum err_code prepare_decision(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	struct control_act_request request = act_request(call);
	return control_prepare_decision(operation, call->id, call->body, &request, err);
}

static enum err_code prepare_key_act(struct control_operation *operation, struct err *err)
{
	static const struct {
		const char *act;
		enum err_code (*prepare)(struct control_operation *operation, const char *id,
					 const json_t *body,
					 const struct control_act_request *request,
					 struct err *err);
	} acts[] = {
		{"key.rotate", control_prepare_rotate},
		{"key.bind",   control_prepare_bind  },
		{"key.limit",  control_prepare_limit }
        };
	const struct call *call = call_of(operation);
	struct control_act_request request = act_request(call);
	size_t i = 0;
	while (strcmp(acts[i].act, call->route->act) != 0)
		i++;
	return acts[i].prepare(operation, call->id, call->body, &request, err);
}

static enum err_code prepare_apply(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	struct control_act_request request = act_request(call);
	return control_prepare_apply(operation, call->body, &request, err);
}

/* ---- papers of grants ---- */

static enum err_code prepare_envelope(struct control_operation *operation, struct err *err)
{
	return control_grant_envelope(operation->control, call_of(operation)->id, false,
				      &operation->answer, err);
}

static enum err_code prepare_offer(struct control_operation *operation, struct err *err)
{
	static const char *const keys[] = {"reason", NULL};
	const struct call *call = call_of(operation);
	struct control_act_request request = act_request(call);
	ERR_TRY(json_only_keys(call->body, keys, "grant.offer", err));
	return control_prepare_offer(operation, call->id, &request, err);
}

/* The body is the envelope alone. */
static enum err_code prepare_countersign(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	struct control_act_request request = {.person = act_request(call).person};
	return control_prepare_countersign(operation, call->id, call->body, &request, err);
}

static enum err_code prepare_check(struct control_operation *operation, struct err *err)
{
	return admin_check(operation->control, call_of(operation)->body, &operation->answer, err);
}

/* ---- copies and files ---- */

static enum err_code prepare_backup(struct control_operation *operation, struct err *err)
{
	return backup_cut(operation->control, call_of(operation)->body, &operation->answer, err);
}

static enum err_code prepare_logs(struct control_operation *operation, struct err *err)
{
	const struct control_hooks *hooks = &operation->control->hooks;
	bool scrub = call_of(operation)->route->act != NULL;
	operation->answer =
		json_pack("{s:o, s:o}", "evaluation",
			  hooks->log_state(hooks->argument, CONTROL_EVALUATION, scrub), "usage",
			  hooks->log_state(hooks->argument, CONTROL_USAGE, scrub));
	return answered(operation, err);
}

/* clang-format off */
static const struct route admin_routes[] = {
	{"POST", "/admin/v1/backup",            prepare_backup, NULL, 0},
	{"GET",  "/admin/v1/logs",              prepare_logs,   NULL, 0},
	{"POST", "/admin/v1/logs/scrub",        prepare_logs,   "scrub", 0},
	{"GET",  "/admin/v1/status",            prepare_status, NULL, 0},
	{"POST", "/admin/v1/apply",             prepare_apply,  NULL, 0},
	{"POST", "/admin/v1/check",             prepare_check,  NULL, 0},
	{"GET",  "/admin/v1/orgs",              prepare_list,   NULL, STORE_ORG},
	{"GET",  "/admin/v1/orgs/*",            prepare_show,   NULL, STORE_ORG},
	{"POST", "/admin/v1/orgs/*/block",      prepare_block,  NULL, STORE_ORG},
	{"POST", "/admin/v1/orgs/*/unblock",    prepare_unblock, NULL, STORE_ORG},
	{"GET",  "/admin/v1/links",             prepare_list,   NULL, STORE_LINK},
	{"POST", "/admin/v1/links",             prepare_link,   NULL, STORE_LINK},
	{"POST", "/admin/v1/links/remove",      prepare_unlink, NULL, STORE_LINK},
	{"GET",  "/admin/v1/terms",             prepare_list,   NULL, STORE_TERMS},
	{"GET",  "/admin/v1/public_suites",     prepare_list,   NULL, STORE_PUBLIC_SUITE},
	{"GET",  "/admin/v1/grants",            prepare_list,   NULL, STORE_GRANT},
	{"GET",  "/admin/v1/grants/*",          prepare_show,   NULL, STORE_GRANT},
	{"GET",  "/admin/v1/grants/*/usage",    prepare_usage,  NULL, STORE_GRANT},
	{"GET",  "/admin/v1/keys/*/usage",      prepare_usage,  NULL, STORE_KEY},
	{"POST", "/admin/v1/grants/*/suspend",  prepare_act,    "grant.suspend", STORE_GRANT},
	{"POST", "/admin/v1/grants/*/restore",  prepare_act,    "grant.restore", STORE_GRANT},
	{"POST", "/admin/v1/grants/*/revoke",   prepare_act,    "grant.revoke", STORE_GRANT},
	{"GET",  "/admin/v1/grants/*/offer",    prepare_envelope, NULL, STORE_GRANT},
	{"POST", "/admin/v1/grants/*/offer",    prepare_offer,  NULL, STORE_GRANT},
	{"POST", "/admin/v1/grants/*/countersign", prepare_countersign, NULL, STORE_GRANT},
	{"GET",  "/admin/v1/keys",              prepare_list,   NULL, STORE_KEY},
	{"POST", "/admin/v1/keys",              prepare_key,    NULL, STORE_KEY},
	{"GET",  "/admin/v1/keys/*",            prepare_show,   NULL, STORE_KEY},
	{"POST", "/admin/v1/keys/*/revoke",     prepare_act,    "key.revoke", STORE_KEY},
	{"POST", "/admin/v1/keys/*/rotate",     prepare_key_act, "key.rotate", STORE_KEY},
	{"POST", "/admin/v1/keys/*/bind",       prepare_key_act, "key.bind", STORE_KEY},
	{"POST", "/admin/v1/keys/*/limit",      prepare_key_act, "key.limit", STORE_KEY},
	{"GET",  "/admin/v1/notices",           prepare_list,   NULL, STORE_NOTICE},
	{"GET",  "/admin/v1/cases",             prepare_list,   NULL, STORE_CASE},
	{"POST", "/admin/v1/cases/look",        prepare_look,   NULL, STORE_CASE},
	{"GET",  "/admin/v1/cases/*",           prepare_show,   NULL, STORE_CASE},
	{"POST", "/admin/v1/cases/*/decide",    prepare_decision, NULL, STORE_CASE},
	{"GET",  "/admin/v1/suites",            prepare_list,   NULL, STORE_SUITE},
	{"GET",  "/admin/v1/suites/*",          prepare_show,   NULL, STORE_SUITE},
	{"POST", "/admin/v1/suites/*/approve",  prepare_act,    "suite.approve", STORE_SUITE},
	{"POST", "/admin/v1/suites/*/reject",   prepare_act,    "suite.reject", STORE_SUITE},
	{"GET",  "/admin/v1/runs",              prepare_list,   NULL, STORE_RUN},
	{"GET",  "/admin/v1/runs/*",            prepare_show,   NULL, STORE_RUN},
	{"POST", "/admin/v1/runs/*/close",      prepare_act,    "run.close", STORE_RUN},
};
/* clang-format on */

/* ---- Parley's own endpoints ---- */

/* The key as the present world knows it: an act may have come between. */
static enum err_code authenticate(struct control_operation *operation, struct err *err)
{
	struct call *call = call_of(operation);
	struct policy_request facts = {.has_key = true,
				       .wall_ms = operation->control->loop->wall_ms,
				       .endpoint = ENDPOINT_USE_PARLEY};
	memcpy(facts.key_digest, call->key_digest, SHA256_SIZE);
	facts.sender = call->sender;
	policy_authenticate(operation->control->world, &facts, &call->verdict);
	if (call->verdict.outcome == POLICY_ADMIT)
		return ERR_OK;
	operation->rule = call->verdict.rule;
	return ERR_SET(err, ERR_DENIED, "%s", call->verdict.detail);
}

/* Organisation and grant may stand against every request: the holder is told that here, too, and
 * has what was agreed with him. */
static enum err_code identify(struct control_operation *operation, struct err *err)
{
	enum err_code code = authenticate(operation, err);
	if (code != ERR_OK && !policy_identifies(&call_of(operation)->verdict))
		return code;
	operation->rule = RULE_NONE;
	return ERR_OK;
}

static enum err_code own_self(struct control_operation *operation, struct err *err)
{
	ERR_TRY(identify(operation, err));
	operation->answer = admin_view_self(operation->control, call_of(operation)->verdict.key);
	return answered(operation, err);
}

static enum err_code own_grants(struct control_operation *operation, struct err *err)
{
	ERR_TRY(identify(operation, err));
	operation->answer =
		admin_view_own_grants(operation->control, call_of(operation)->verdict.key);
	return answered(operation, err);
}

/* The signed paper of a grant that the holder may see: the newest version, which may wait for a
 * signature, or the one in force. */
static enum err_code own_paper(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	ERR_TRY(identify(operation, err));
	if (!admin_is_own_grant(operation->control, call->verdict.key, call->id))
		return ERR_SET(err, ERR_NOT_FOUND, "there is no grant %s of yours", call->id);
	bool agreed = strcmp(call->route->path, OWN_AGREED) == 0;
	return control_grant_envelope(operation->control, call->id, agreed, &operation->answer,
				      err);
}

static enum err_code own_suite(struct control_operation *operation, struct err *err)
{
	ERR_TRY(authenticate(operation, err));
	const struct call *call = call_of(operation);
	return control_prepare_suite(operation, call->verdict.key, call->body, err);
}

static enum err_code own_run(struct control_operation *operation, struct err *err)
{
	ERR_TRY(authenticate(operation, err));
	const struct call *call = call_of(operation);
	const struct world_key *key = call->verdict.key;
	return control_prepare_run(operation, key->grant->id, key->id, call->body, err);
}

/* Whether the thing is the asker's: what is another grant's is not there. */
static enum err_code check_own(struct control_operation *operation, struct err *err)
{
	ERR_TRY(authenticate(operation, err));
	const struct call *call = call_of(operation);
	const json_t *spec = control_spec(operation->control, call->route->kind, call->id);
	if (spec && strcmp(json_text(spec, "grant"), call->verdict.key->grant->id) == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_NOT_FOUND, "there is no %s under %s", call->id,
		       store_kind_name(call->route->kind));
}

static enum err_code own_close(struct control_operation *operation, struct err *err)
{
	struct control_act_request request = {0};
	ERR_TRY(check_own(operation, err));
	return control_prepare_transition(operation, "run.close", call_of(operation)->id, &request,
					  err);
}

static enum err_code own_list(struct control_operation *operation, struct err *err)
{
	ERR_TRY(authenticate(operation, err));
	const struct call *call = call_of(operation);
	struct admin_filter filter = {.org = "", .grant = call->verdict.key->grant->id};
	operation->answer = admin_view_list(operation->control, call->route->kind, &filter);
	return answered(operation, err);
}

static enum err_code own_show(struct control_operation *operation, struct err *err)
{
	ERR_TRY(check_own(operation, err));
	return prepare_show(operation, err);
}

/* Open to anyone: the signature of the organisation's key says who it is from. */
static enum err_code own_countersign(struct control_operation *operation, struct err *err)
{
	const struct call *call = call_of(operation);
	struct control_act_request request = {.person = "by the organisation's signature"};
	return control_prepare_countersign(operation, call->id, call->body, &request, err);
}

/* Open to anyone, for grants that name the other side's. */
static enum err_code own_status(struct control_operation *operation, struct err *err)
{
	return control_grant_status(operation->control, call_of(operation)->id, &operation->answer,
				    err);
}

static enum err_code own_keys(struct control_operation *operation, struct err *err)
{
	const struct control *control = operation->control;
	operation->answer =
		json_pack("{s:s, s:s, s:s*}", "gateway", control->config->name, "grants",
			  control->signer.vkey, "certificate", control->signer.certificate);
	return answered(operation, err);
}

/* clang-format off */
static const struct route own_routes[] = {
	{"GET",  "/parley/v1/self",         own_self,  NULL, 0},
	{"GET",  "/parley/v1/keys",         own_keys,  NULL, 0},
	{"GET",  "/parley/v1/grants",       own_grants, NULL, STORE_GRANT},
	{"GET",  "/parley/v1/grants/*/offer", own_paper, NULL, STORE_GRANT},
	{"GET",  OWN_AGREED,                own_paper, NULL, STORE_GRANT},
	{"GET",  "/parley/v1/grants/*/status", own_status, NULL, STORE_GRANT},
	{"POST", "/parley/v1/grants/*/countersign", own_countersign, NULL, STORE_GRANT},
	{"GET",  "/parley/v1/suites",       own_list,  NULL, STORE_SUITE},
	{"POST", "/parley/v1/suites",       own_suite, NULL, STORE_SUITE},
	{"GET",  "/parley/v1/suites/*",     own_show,  NULL, STORE_SUITE},
	{"GET",  "/parley/v1/runs",         own_list,  NULL, STORE_RUN},
	{"POST", "/parley/v1/runs",         own_run,   NULL, STORE_RUN},
	{"GET",  "/parley/v1/runs/*",       own_show,  NULL, STORE_RUN},
	{"POST", "/parley/v1/runs/*/close", own_close, NULL, STORE_RUN},
};
/* clang-format on */

/* ---- answers ---- */

static json_t *problem_of(const struct control_operation *operation, enum err_code code,
			  const struct err *err, unsigned status)
{
	const struct call *call = call_of(operation);
	enum rule rule = operation->rule;
	json_t *problem = json_pack("{s:s, s:i, s:s}", "type", "about:blank", "status", (int)status,
				    "code", err_name(code));
	bool good = problem &&
		    json_set_text(problem, "title",
				  rule == RULE_NONE ? err_text(code) : rule_text(rule)) &&
		    json_set_text(problem, "detail", err->message) &&
		    json_set_text(problem, "rule", rule == RULE_NONE ? "" : rule_id(rule));
	if (good && rule != RULE_NONE) {
		const struct world_grant *grant = call->verdict.grant;
		const struct world_clause *clause =
			world_clause_of(operation->control->world, rule, grant);
		good = json_set_text(problem, "clause", clause ? clause->id : "") &&
		       json_set_text(problem, "appeal", grant ? grant->appeal : "");
	}
	if (good)
		return problem;
	json_decref(problem);
	return NULL;
}

static void give(struct admin_request *request, unsigned status, const json_t *body, bool problem)
{
	buf_init(&request->answer, ADMIN_ANSWER_MAX);
	request->status = status;
	request->content_type = problem ? "application/problem+json" : "application/json";
	if (!body || json_canonical(body, &request->answer, NULL) != ERR_OK ||
	    request->answer.failed) {
		buf_release(&request->answer);
		buf_init(&request->answer, ADMIN_ANSWER_MAX);
		request->status = 503;
		request->content_type = "application/problem+json";
		buf_append_cstr(&request->answer,
				"{\"code\":\"NO_MEMORY\",\"status\":503,\"type\":\"about:blank\"}");
	}
}

static void call_free(struct call *call)
{
	if (call) {
		json_decref(call->body);
		json_decref(call->waiting);
	}
	free(call);
}

static void finish_answer(struct call *call)
{
	struct admin_request *request = call->request;
	call_free(call);
	request->done(request);
}

/* The log was decided again: an answer, or why there is none. */
static void what_if_told(void *argument, enum err_code code, const struct err *err)
{
	struct call *call = argument;
	if (code == ERR_OK) {
		give(call->request, 200, call->waiting, false);
	} else {
		json_t *problem = json_pack("{s:s, s:i, s:s, s:s, s:s}", "type", "about:blank",
					    "status", err_http_status(code), "code", err_name(code),
					    "title", err_text(code), "detail", err->message);
		give(call->request, (unsigned)err_http_status(code), problem, true);
		json_decref(problem);
	}
	finish_answer(call);
}

static void finish(struct control_operation *operation, enum err_code code, const struct err *err)
{
	struct call *call = call_of(operation);
	struct admin_request *request = call->request;
	struct err failure = *err;
	if (code == ERR_OK && operation->trial) {
		call->waiting = json_incref(operation->answer);
		code = what_if_start(operation->control, operation->trial,
				     operation->what_if_span_ms, call->waiting, what_if_told, call,
				     &failure);
		if (code == ERR_OK)
			return;
	}
	if (code == ERR_OK) {
		if (operation->change_count > 0 && operation->answer)
			json_set_text(operation->answer, "record",
				      operation->changes[0]->record->id);
		control_notice_answer(operation);
		give(request, 200, operation->answer, false);
	} else {
		unsigned status = (unsigned)(operation->rule == RULE_NONE
						     ? err_http_status(code)
						     : rule_http_status(operation->rule));
		json_t *problem = problem_of(operation, code, &failure, status);
		give(request, status, problem, true);
		json_decref(problem);
	}
	finish_answer(call);
}

/* ---- routing ---- */

static bool copy_name(struct bytes name, char out[static ID_SIZE])
{
	if (name.size == 0 || name.size >= ID_SIZE || memchr(name.data, '\0', name.size) ||
	    !bytes_is_utf8(name))
		return false;
	memcpy(out, name.data, name.size);
	out[name.size] = '\0';
	return true;
}

static bool matches(const char *pattern, struct bytes path, char id[static ID_SIZE])
{
	struct bytes wanted = bytes_from(pattern);
	while (wanted.data && path.data) {
		struct bytes part = bytes_split(wanted, '/', &wanted);
		struct bytes given = bytes_split(path, '/', &path);
		if (bytes_is(part, "*") ? !copy_name(given, id) : !bytes_equal(part, given))
			return false;
	}
	return !wanted.data && !path.data;
}

static void read_query(struct call *call, struct bytes query)
{
	while (query.data) {
		struct bytes value;
		struct bytes pair = bytes_split(query, '&', &query);
		struct bytes key = bytes_split(pair, '=', &value);
		if (bytes_is(key, "org"))
			copy_name(value, call->org);
		else if (bytes_is(key, "grant"))
			copy_name(value, call->grant);
		else if (bytes_is(key, "pending"))
			call->pending = true;
	}
}

static const struct route *find_route(const struct route *routes, size_t count,
				      const struct admin_request *request, struct bytes path,
				      char id[static ID_SIZE], bool *other_method)
{
	*other_method = false;
	for (size_t i = 0; i < count; i++) {
		if (!matches(routes[i].path, path, id))
			continue;
		if (bytes_is(request->method, routes[i].method))
			return &routes[i];
		*other_method = true;
	}
	return NULL;
}

/* An operation that only tells what was wrong with the request. */
static enum err_code prepare_failed(struct control_operation *operation, struct err *err)
{
	(void)err;
	return operation->err.code;
}

static enum err_code read_call(struct call *call, const struct route *routes, size_t count,
			       struct err *err)
{
	const struct admin_request *request = call->request;
	struct bytes query;
	struct bytes path = bytes_split(request->target, '?', &query);
	bool other_method;
	call->route = find_route(routes, count, request, path, call->id, &other_method);
	if (!call->route)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no %.*s %.*s%s",
			       BYTES_ARG(request->method), (int)(path.size < 200 ? path.size : 200),
			       path.data, other_method ? "; another method is" : "");
	read_query(call, query);
	if (request->body.size == 0) {
		call->body = json_object();
		return call->body ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory to read");
	}
	ERR_TRY(json_parse(request->body, "the request", &call->body, err));
	if (!json_is_object(call->body))
		return ERR_SET(err, ERR_INVALID, "the request must be a JSON object");
	const char *reason;
	return json_get_string_or(call->body, "reason", "the request", NULL, &reason, err);
}

static void start(struct control *control, struct admin_request *request,
		  const struct route *routes, size_t count)
{
	struct call *call = calloc(1, sizeof(*call));
	struct control_operation *operation = call ? control_operation_new(control, call) : NULL;
	if (!operation) {
		free(call);
		give(request, 503, NULL, true);
		request->done(request);
		return;
	}
	call->request = request;
	if (request->key_digest)
		memcpy(call->key_digest, request->key_digest, SHA256_SIZE);
	if (request->sender)
		call->sender = *request->sender;
	operation->finish = finish;
	operation->err.code = read_call(call, routes, count, &operation->err);
	operation->prepare = operation->err.code == ERR_OK ? call->route->prepare : prepare_failed;
	control_submit(operation);
}

void admin_handle(struct control *control, struct admin_request *request)
{
	start(control, request, admin_routes, sizeof(admin_routes) / sizeof(admin_routes[0]));
}

void admin_handle_own(struct control *control, struct admin_request *request)
{
	start(control, request, own_routes, sizeof(own_routes) / sizeof(own_routes[0]));
}
