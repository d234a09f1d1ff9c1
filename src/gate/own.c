/* Parley's own paths on the model listener: /parley/v1/… for holders of keys, /log/… for anybody.
 * Receipts and log resources are read in jobs, everything else is asked of the control plane on the
 * admin loop; the answer comes back to the worker, where the client may have gone meanwhile. */
#include "gate/cosigning.h"

#include "base/json.h"
#include "gate/request.h"
#include "ledger/key_rotation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWN_PREFIX BYTES("/parley/v1/")
#define LOG_PREFIX BYTES("/log/")
#define RECEIPT_PREFIX BYTES("/parley/v1/receipts/")
#define STATEMENT_PATH BYTES("/parley/v1/statement")
#define ANSWER_MAX ((size_t)64 << 20)

struct own_call {
	struct env_message message;
	struct env_job job;
	struct admin_request admin;
	struct http_exchange *exchange; /* NULL once the client is gone */
	struct gate_worker *worker;
	struct gateway *gateway;
	struct policy_request facts; /* of the head: key and sender */
	char reader[64];             /* of entries: how records name his organisation */
	bool is_member;              /* he is given no others */
	char grant[256];             /* of the key that asks for a receipt */
	char org[256], month[16];    /* of the statement that is asked for */
	char *method, *target, *body;
	int status;
	const char *type;
	const char *allow; /* with status 405: the methods of this path */
	struct buf answer;
};

static struct bytes path_of(const struct http_exchange *exchange)
{
	return http_bytes(exchange->head_bytes.data, exchange->head->path);
}

bool gateway_is_own_path(const struct http_exchange *exchange)
{
	if (!exchange->head_bytes.size)
		return false;
	struct bytes path = path_of(exchange);
	return bytes_starts_with(path, OWN_PREFIX) || bytes_starts_with(path, LOG_PREFIX);
}

/* ---- problems (RFC 9457) ---- */

#define PROBLEM_TYPE "application/problem+json"

static void write_problem(struct buf *out, int status, const char *title, const char *rule)
{
	buf_printf(out, "{\"status\":%d,\"title\":\"%s\"", status, title);
	if (rule)
		buf_printf(out, ",\"rule\":\"%s\"", rule);
	buf_append_cstr(out, "}");
}

static void set_problem(struct own_call *call, int status, const char *title, const char *rule)
{
	call->status = status;
	call->type = PROBLEM_TYPE;
	buf_clear(&call->answer);
	write_problem(&call->answer, status, title, rule);
}

/* RFC 9110, section 15.5.6: with it goes what is allowed. */
static void refuse_method(struct own_call *call, const char *allow)
{
	set_problem(call, 405, "only GET is served here", NULL);
	call->allow = allow;
}

void gateway_own_refuse(struct http_exchange *exchange, int status, const char *title,
			const char *rule)
{
	char text[1024];
	struct buf body = buf_over(text, sizeof(text));
	struct http_header type = {"content-type", BYTES(PROBLEM_TYPE)};
	write_problem(&body, status, title, rule);
	http_respond(exchange, status, &type, 1, buf_bytes(&body));
}

/* ---- the way back ---- */

static void free_call(struct own_call *call)
{
	struct gate_worker *worker = call->worker;
	free(call->method);
	free(call->target);
	free(call->body);
	buf_release(&call->answer);
	free(call);
	worker->own_calls--;
	gate_worker_request_over(worker);
}

static void respond(struct own_call *call)
{
	struct http_header headers[3];
	unsigned count = 0;
	if (call->exchange) {
		headers[count++] = (struct http_header){"content-type", bytes_from(call->type)};
		if (call->allow)
			headers[count++] = (struct http_header){"allow", bytes_from(call->allow)};
		if (call->status == 425 || call->status == 503)
			headers[count++] = (struct http_header){"retry-after", BYTES("1")};
		http_respond(call->exchange, call->status, headers, count,
			     buf_bytes(&call->answer));
	}
	free_call(call);
}

static void respond_at_worker(struct env_message *message)
{
	respond((struct own_call *)message);
}

/* ---- control plane ---- */

static void admin_done(struct admin_request *admin)
{
	struct own_call *call = admin->argument;
	call->status = (int)admin->status;
	call->type = admin->content_type;
	call->answer = admin->answer;
	call->gateway->admin_calls--;
	call->message.run = respond_at_worker;
	env_post(call->worker->loop, &call->message);
}

static void ask_at_admin(struct env_message *message)
{
	struct own_call *call = (struct own_call *)message;
	call->gateway->admin_calls++;
	admin_handle_own(call->gateway->control, &call->admin);
}

static void ask_control(struct own_call *call)
{
	const struct http_exchange *exchange = call->exchange;
	const char *data = exchange->head_bytes.data;
	call->method = bytes_to_cstr(http_bytes(data, exchange->head->method));
	call->target = bytes_to_cstr(http_bytes(data, exchange->head->target));
	call->body = bytes_to_cstr(exchange->body);
	if (!call->method || !call->target || !call->body) {
		set_problem(call, 503, "out of memory", NULL);
		respond(call);
		return;
	}
	call->admin = (struct admin_request){
		.method = bytes_from(call->method),
		.target = bytes_from(call->target),
		.body = bytes_of(call->body, exchange->body.size),
		.person = "",
		.key_digest = call->facts.key_digest,
		.sender = &call->facts.sender,
		.done = admin_done,
		.argument = call,
	};
	call->message.run = ask_at_admin;
	env_post(call->gateway->admin_loop, &call->message);
}

/* ---- receipts ---- */

/* The log that made this id, or NULL: ids carry a keyed digest of their index. */
static struct log *log_of_id(struct gateway *gateway, struct bytes id, uint64_t *index)
{
	char expected[RECORD_ID_SIZE + 1];
	if (!record_id_index(id, index))
		return NULL;
	for (int log = 0; log < CONTROL_LOGS; log++) {
		log_record_id(gateway->logs[log], *index, expected);
		if (bytes_equal_constant_time(expected, id.data, RECORD_ID_SIZE))
			return gateway->logs[log];
	}
	return NULL;
}

/* What a key's holder may have a receipt of: requests, and the registrations that a result rests
 * on. */
static bool has_receipt(const char *kind)
{
	return strcmp(kind, "admit") == 0 || strcmp(kind, "suite") == 0 || strcmp(kind, "run") == 0;
}

/* Whether the record is the grant's and has a receipt; if so, whether an outcome belongs to it. */
static bool belongs_to(struct bytes record, const char *grant, bool *is_request)
{
	json_t *tree = NULL;
	bool good = false;
	if (json_parse(record, "record", &tree, NULL) == ERR_OK) {
		const char *owner = json_string_value(json_object_get(tree, "grant"));
		const char *kind = json_string_value(json_object_get(tree, "kind"));
		good = owner && kind && strcmp(owner, grant) == 0 && has_receipt(kind);
		*is_request = good && strcmp(kind, "admit") == 0;
	}
	json_decref(tree);
	return good;
}

/* Appends {"proof":…,"record":…} for one record. */
static enum err_code append_receipt(struct log *log, uint64_t index, struct buf *out)
{
	struct buf record = BUF_INIT(RECORD_SIZE_MAX), proof = BUF_INIT(65536);
	enum err_code code = log_read_entry(log, index, &record, NULL);
	if (code == ERR_OK)
		code = log_receipt(log, index, &proof, NULL);
	if (code == ERR_OK) {
		buf_append_cstr(out, "{\"proof\":");
		json_append_string(out, buf_bytes(&proof));
		buf_append_cstr(out, ",\"record\":");
		json_append_string(out, buf_bytes(&record));
		buf_append_char(out, '}');
	}
	buf_release(&record);
	buf_release(&proof);
	return code;
}

/* Who trusts an earlier key of the log can follow it to the one that signed. */
static enum err_code append_rotations(struct log *log, struct buf *out)
{
	struct buf notes = BUF_INIT(KEY_ROTATIONS_TEXT_MAX);
	enum err_code code = log_read_rotations(log, &notes, NULL);
	if (code == ERR_OK && notes.size > 0) {
		buf_append_cstr(out, ",\"rotations\":");
		json_append_string(out, buf_bytes(&notes));
	}
	buf_release(&notes);
	return code;
}

static enum err_code read_receipts(struct own_call *call, struct bytes id)
{
	struct buf record = BUF_INIT(RECORD_SIZE_MAX);
	uint64_t index, settle;
	bool is_request = false;
	struct log *log = log_of_id(call->gateway, id, &index);
	if (!log)
		return ERR_NOT_FOUND;
	enum err_code code = log_read_entry(log, index, &record, NULL);
	if (code == ERR_OK && !belongs_to(buf_bytes(&record), call->grant, &is_request))
		code = ERR_NOT_FOUND;
	buf_release(&record);
	ERR_TRY(code);
	/* Without an outcome yet there is nothing to vouch for: ask again. */
	if (is_request && log_find_settle(log, index, &settle, NULL) != ERR_OK)
		return ERR_TIMEOUT;
	buf_append_cstr(&call->answer, "{\"receipts\":[");
	ERR_TRY(append_receipt(log, index, &call->answer));
	if (is_request) {
		buf_append_char(&call->answer, ',');
		ERR_TRY(append_receipt(log, settle, &call->answer));
	}
	buf_append_char(&call->answer, ']');
	ERR_TRY(append_rotations(log, &call->answer));
	buf_append_char(&call->answer, '}');
	return ERR_OK;
}

static void receipts_run(struct env_job *job)
{
	struct own_call *call = (struct own_call *)((char *)job - offsetof(struct own_call, job));
	struct bytes id = bytes_from(call->target);
	call->status = 200;
	call->type = "application/json";
	switch (read_receipts(call, id)) {
	case ERR_OK:
		break;
	case ERR_TIMEOUT:
		set_problem(call, 425, "not covered by a checkpoint yet", NULL);
		break;
	case ERR_NOT_FOUND:
		set_problem(call, 404, "no such record under this key's grant", NULL);
		break;
	default:
		set_problem(call, 503, "the log cannot be read", "log.unavailable");
		break;
	}
}

static void job_done(struct env_job *job)
{
	respond((struct own_call *)((char *)job - offsetof(struct own_call, job)));
}

static void start_receipts(struct own_call *call)
{
	const struct policy_request *facts = &call->facts;
	enum rule rule;
	const char *detail;
	struct bytes id = path_of(call->exchange);
	id.data += RECEIPT_PREFIX.size;
	id.size -= RECEIPT_PREFIX.size;
	/* A revoked or expired key may still fetch the receipts of what it was given. */
	const struct world_key *key =
		facts->has_key ? world_find_key(call->worker->world, facts->key_digest) : NULL;
	if (!key) {
		set_problem(call, 401, "this key is not known here", "key.unknown");
		respond(call);
		return;
	}
	if (!policy_sender_passes(key, facts, &rule, &detail)) {
		set_problem(call, rule_http_status(rule), rule_text(rule), rule_id(rule));
		respond(call);
		return;
	}
	snprintf(call->grant, sizeof(call->grant), "%s", key->grant->id);
	call->target = bytes_to_cstr(id);
	if (!call->target) {
		set_problem(call, 503, "out of memory", NULL);
		respond(call);
		return;
	}
	call->job.run = receipts_run;
	call->job.done = job_done;
	env_job_start(call->worker->loop, &call->job);
}

/* ---- statements ---- */

static void statement_told(struct own_call *call, unsigned status, const json_t *answer,
			   const struct err *err)
{
	json_t *problem = NULL;
	if (!answer)
		problem = json_pack("{s:s, s:i, s:s, s:s, s:s}", "type", "about:blank", "status",
				    (int)status, "code", err_name(err->code), "title",
				    err_text(err->code), "detail", err->message);
	call->status = (int)status;
	call->type = answer ? "application/json" : PROBLEM_TYPE;
	buf_clear(&call->answer);
	if (json_canonical(answer ? answer : problem, &call->answer, NULL) != ERR_OK ||
	    call->answer.failed)
		set_problem(call, 503, "out of memory", NULL);
	json_decref(problem);
}

static void statement_done(void *argument, unsigned status, json_t *answer, const struct err *err)
{
	struct own_call *call = argument;
	statement_told(call, status, answer, err);
	call->gateway->own_statement = false;
	call->gateway->admin_calls--;
	call->message.run = respond_at_worker;
	env_post(call->worker->loop, &call->message);
}

/* A month's records are read for each: one at a time for all who hold keys. */
static void statement_at_admin(struct env_message *message)
{
	struct own_call *call = (struct own_call *)message;
	call->gateway->admin_calls++;
	if (call->gateway->own_statement) {
		struct err err = ERR_INIT;
		ERR_SET(&err, ERR_LOCKED, "another statement is being counted; ask again");
		statement_told(call, 503, NULL, &err);
		call->gateway->admin_calls--;
		call->message.run = respond_at_worker;
		env_post(call->worker->loop, &call->message);
		return;
	}
	call->gateway->own_statement = true;
	gateway_statement(call->gateway, call->org, call->month, statement_done, call);
}

/* month=2026-11 of the query; anything else is none. */
static bool read_month(const struct own_call *call, char *out, size_t size)
{
	struct bytes query;
	bytes_split(http_bytes(call->exchange->head_bytes.data, call->exchange->head->target), '?',
		    &query);
	while (query.data) {
		struct bytes value, pair = bytes_split(query, '&', &query);
		if (!bytes_is(bytes_split(pair, '=', &value), "month"))
			continue;
		snprintf(out, size, "%.*s", (int)(value.size < size ? value.size : size - 1),
			 value.data ? value.data : "");
		return true;
	}
	return false;
}

static void start_statement(struct own_call *call)
{
	struct verdict verdict;
	struct bytes method =
		http_bytes(call->exchange->head_bytes.data, call->exchange->head->method);
	policy_authenticate(call->worker->world, &call->facts, &verdict);
	if (!policy_identifies(&verdict))
		set_problem(call, rule_http_status(verdict.rule), rule_text(verdict.rule),
			    rule_id(verdict.rule));
	else if (!bytes_is(method, "GET"))
		refuse_method(call, "GET");
	else if (!read_month(call, call->month, sizeof(call->month)))
		set_problem(call, 400, "say which month: ?month=2026-11", NULL);
	if (call->status) {
		respond(call);
		return;
	}
	snprintf(call->org, sizeof(call->org), "%s", verdict.grant->org->id);
	call->message.run = statement_at_admin;
	env_post(call->gateway->admin_loop, &call->message);
}

/* ---- the log ---- */

static void log_run(struct env_job *job)
{
	struct own_call *call = (struct own_call *)((char *)job - offsetof(struct own_call, job));
	call->status = gateway_log_resource(
		call->gateway->logs[CONTROL_EVALUATION], bytes_from(call->target),
		call->is_member ? call->reader : NULL, &call->answer, &call->type);
	if (call->status != 200)
		set_problem(call, call->status, "no such part of the log", NULL);
}

/* Entries that are not public are for the organisation of the key, its own ones alone; a key that
 * was revoked or has expired reads on, as with receipts. False: it was answered. */
static bool admit_reader(struct own_call *call)
{
	const struct policy_request *facts = &call->facts;
	enum rule rule = RULE_KEY_UNKNOWN;
	const char *detail;
	const struct world_key *key =
		facts->has_key ? world_find_key(call->worker->world, facts->key_digest) : NULL;
	call->is_member = true;
	if (!key)
		set_problem(call, 401,
			    "entries of this log are for the organisations they concern: send a "
			    "key",
			    rule_id(rule));
	else if (!gate_prove_sender(call->worker, call->exchange, &call->facts, GATE_PROOF_WHOLE))
		set_problem(call, rule_http_status(RULE_GATEWAY_BUSY), facts->sender.problem,
			    rule_id(RULE_GATEWAY_BUSY));
	else if (!policy_sender_passes(key, facts, &rule, &detail))
		set_problem(call, rule_http_status(rule), rule_text(rule), rule_id(rule));
	else {
		snprintf(call->reader, sizeof(call->reader), "%s", key->grant->org->pseudonym);
		return true;
	}
	respond(call);
	return false;
}

static void append_verdict_note(struct own_call *call)
{
	pthread_mutex_lock(&call->gateway->note_lock);
	buf_append_bytes(&call->answer, buf_bytes(&call->gateway->verdict_note));
	pthread_mutex_unlock(&call->gateway->note_lock);
}

static void start_log(struct own_call *call)
{
	struct bytes path = path_of(call->exchange);
	struct bytes method =
		http_bytes(call->exchange->head_bytes.data, call->exchange->head->method);
	path.data += LOG_PREFIX.size;
	path.size -= LOG_PREFIX.size;
	bool policy = bytes_is(path, "policy");
	if ((policy || bytes_is(path, "verdict-key")) && bytes_is(method, "GET")) {
		call->status = 200;
		call->type = "text/plain; charset=utf-8";
		if (policy)
			cosigning_write_policy(call->gateway, &call->answer);
		else
			append_verdict_note(call);
		respond(call);
		return;
	}
	call->target = bytes_to_cstr(path);
	if (!call->target)
		set_problem(call, 503, "out of memory", NULL);
	else if (!bytes_is(method, "GET") && !bytes_is(method, "HEAD"))
		refuse_method(call, "GET, HEAD");
	if (call->status) {
		respond(call);
		return;
	}
	if (gateway_log_is_entries(path) && !call->gateway->config->log.entries_public &&
	    !admit_reader(call))
		return;
	call->job.run = log_run;
	call->job.done = job_done;
	env_job_start(call->worker->loop, &call->job);
}

/* ---- the server's handlers ---- */

static void refuse_busy(struct own_call *call)
{
	set_problem(call, rule_http_status(RULE_GATEWAY_BUSY), call->facts.sender.problem,
		    rule_id(RULE_GATEWAY_BUSY));
	respond(call);
}

void gateway_own_arrived(struct gate_worker *worker, struct http_exchange *exchange)
{
	struct own_call *call = calloc(1, sizeof(*call));
	if (!call) {
		http_respond(exchange, 503, NULL, 0, BYTES("out of memory\n"));
		return;
	}
	*call = (struct own_call){
		.exchange = exchange, .worker = worker, .gateway = worker->gateway};
	buf_init(&call->answer, ANSWER_MAX);
	worker->own_calls++;
	exchange->user = call;
	call->facts.wall_ms = worker->loop->wall_ms;
	gate_read_credential(exchange, &call->facts);
	gate_read_peer(exchange, &call->facts);
	if (bytes_starts_with(path_of(exchange), LOG_PREFIX))
		start_log(call);
	else if (!gate_prove_sender(worker, exchange, &call->facts, GATE_PROOF_WHOLE))
		refuse_busy(call);
	else if (bytes_starts_with(path_of(exchange), RECEIPT_PREFIX))
		start_receipts(call);
	else if (bytes_equal(path_of(exchange), STATEMENT_PATH))
		start_statement(call);
	else
		ask_control(call);
}

void gateway_own_aborted(struct http_exchange *exchange)
{
	struct own_call *call = exchange->user;
	if (call)
		call->exchange = NULL;
}
