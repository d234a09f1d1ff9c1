/* GET /admin/v1/statement?org=O&month=M: what the logs say of an organisation's month, signed. The
 * logs are read in a job, away from the admin loop. */
#include "gate/gateway_internal.h"

#include "gate/control_internal.h"
#include "gate/statement.h"

#include <stdlib.h>

#define MARGIN_MS INT64_C(60000) /* how far records may stand out of the order of their times */
#define TEXT_MAX ((size_t)16 << 20)

struct statement_call {
	struct env_message message;
	struct env_job job;
	struct gateway *gateway;
	struct env_loop *worker;
	void (*done)(void *argument, unsigned status, json_t *answer, const struct err *err);
	void *argument;
	int64_t from_ms, until_ms;
	uint64_t counted; /* records of the log being read, up to this one */
	struct statement *statement;
	json_t *body;
	enum err_code code;
	struct err err;
};

/* ---- reading, in a job ---- */

static enum err_code time_at(struct log *log, uint64_t index, int64_t *out, struct err *err)
{
	struct buf text = BUF_INIT(RECORD_SIZE_MAX);
	enum err_code code = log_read_entry(log, index, &text, err);
	*out = code == ERR_OK ? statement_time(buf_bytes(&text)) : 0;
	buf_release(&text);
	return code;
}

/* The first record that may be of `from_ms` or later: times rise but for small steps. */
static enum err_code first_index(struct log *log, uint64_t count, int64_t from_ms, uint64_t *out,
				 struct err *err)
{
	uint64_t low = 0, high = count;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		int64_t time;
		ERR_TRY(time_at(log, middle, &time, err));
		if (time < from_ms - MARGIN_MS)
			low = middle + 1;
		else
			high = middle;
	}
	*out = low;
	return ERR_OK;
}

/* Ends the reading by an error behind the month. */
static enum err_code count_line(void *argument, uint64_t index, struct bytes text, struct err *err)
{
	struct statement_call *call = argument;
	if (statement_time(text) >= call->until_ms + MARGIN_MS)
		return ERR_SET(err, ERR_EXISTS, "enough was read");
	call->counted = index + 1;
	statement_add(call->statement, text);
	return ERR_OK;
}

static enum err_code read_log(struct statement_call *call, struct log *log, const char *origin,
			      json_t *logs, struct err *err)
{
	struct log_stats stats;
	uint64_t first = 0;
	log_get_stats(log, &stats);
	ERR_TRY(first_index(log, stats.records, call->from_ms, &first, err));
	call->counted = first;
	enum err_code code = log_read_range(log, first, stats.records, count_line, call, err);
	if (code != ERR_EXISTS)
		ERR_TRY(code);
	if (json_array_append_new(logs,
				  json_pack("{s:s, s:I, s:I}", "origin", origin, "from",
					    (json_int_t)first, "to", (json_int_t)call->counted)))
		return ERR_SET(err, ERR_NO_MEMORY, "no memory for a statement");
	return ERR_OK;
}

static void read_logs(struct env_job *job)
{
	struct statement_call *call =
		(struct statement_call *)((char *)job - offsetof(struct statement_call, job));
	json_t *logs = json_array();
	call->code = logs ? ERR_OK : ERR_NO_MEMORY;
	for (int log = 0; call->code == ERR_OK && log < CONTROL_LOGS; log++)
		call->code = read_log(call, call->gateway->logs[log], call->gateway->origins[log],
				      logs, &call->err);
	if (call->code == ERR_OK) {
		json_t *counted = statement_body(call->statement);
		if (!counted || json_object_update(call->body, counted) ||
		    json_object_set(call->body, "logs", logs))
			call->code =
				ERR_SET(&call->err, ERR_NO_MEMORY, "no memory for a statement");
		json_decref(counted);
	}
	json_decref(logs);
}

/* ---- signing, on the admin loop ---- */

static enum err_code sign(struct statement_call *call, json_t **out, struct err *err)
{
	struct control *control = call->gateway->control;
	struct buf envelope = BUF_INIT(TEXT_MAX);
	json_t *tree = NULL;
	enum err_code code =
		paper_sign(&control->signer, PAPER_STATEMENT, call->body, &envelope, NULL, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&envelope), "a statement", &tree, err);
	buf_release(&envelope);
	if (code == ERR_OK)
		*out = json_pack("{s:O, s:o}", "statement", call->body, "envelope", tree);
	return code == ERR_OK && !*out ? ERR_SET(err, ERR_NO_MEMORY, "no memory for a statement")
				       : code;
}

static void end(struct statement_call *call, enum err_code code)
{
	json_t *answer = NULL;
	if (code == ERR_OK)
		code = sign(call, &answer, &call->err);
	call->done(call->argument, code == ERR_OK ? 200 : (unsigned)err_http_status(code), answer,
		   &call->err);
	json_decref(answer);
	json_decref(call->body);
	statement_free(call->statement);
	free(call);
}

static void end_at_admin(struct env_message *message)
{
	struct statement_call *call = (struct statement_call *)message;
	call->gateway->admin_calls--;
	end(call, call->code);
}

static void job_done(struct env_job *job)
{
	struct statement_call *call =
		(struct statement_call *)((char *)job - offsetof(struct statement_call, job));
	call->message.run = end_at_admin;
	env_post(call->gateway->admin_loop, &call->message);
}

static void start_at_worker(struct env_message *message)
{
	struct statement_call *call = (struct statement_call *)message;
	call->job = (struct env_job){.run = read_logs, .done = job_done};
	env_job_start(call->worker, &call->job);
}

/* ---- what the documents say ---- */

static json_t *grants_of(struct control *control, const char *org)
{
	static const char *const members[] = {"id", "purposes", "release", "valid", "team", NULL};
	json_t *list = json_array();
	const char *id;
	json_t *document;
	json_object_foreach(control->documents[STORE_GRANT], id, document)
	{
		const json_t *spec = control_spec_of(document);
		if (strcmp(json_text(spec, "org"), org) != 0)
			continue;
		json_t *row = json_object();
		for (const char *const *key = members; *key; key++) {
			json_t *value = json_object_get(spec, *key);
			if (value)
				json_object_set(row, *key, value);
		}
		json_object_set_new(row, "state", json_string(control_state_of(document)));
		const char *digest = json_text(json_object_get(document, "paper"), "sha256");
		if (*digest)
			json_object_set_new(row, "sha256", json_string(digest));
		json_array_append_new(list, row);
	}
	return list;
}

static enum err_code begin_body(struct statement_call *call, const char *org, const char *month,
				struct err *err)
{
	struct control *control = call->gateway->control;
	const json_t *spec = control_spec(control, STORE_ORG, org);
	const json_t *pseudonym = json_object_get(control->documents[STORE_PSEUDONYM], org);
	char made[RECORD_TIME_SIZE];
	if (!statement_month(month, &call->from_ms, &call->until_ms))
		return ERR_SET(err, ERR_INVALID, "month: %s is none; write it as 2026-11", month);
	if (!spec)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no org %s", org);
	int64_t now = control->loop->wall_ms;
	if (call->from_ms > now)
		return ERR_SET(err, ERR_INVALID, "month: %s has not begun", month);
	record_time(now, made);
	const char *name = json_text(spec, "name");
	call->body = paper_new(&control->signer, PAPER_STATEMENT);
	call->statement =
		statement_new(json_text(pseudonym, "pseudonym"), call->from_ms, call->until_ms);
	json_t *rest = json_pack(
		"{s:s, s:b, s:s, s:{s:s, s:s, s:s}, s:o}", "month", month, "complete",
		now >= call->until_ms, "made", made, "org", "id", org, "name", *name ? name : org,
		"pseudonym", json_text(pseudonym, "pseudonym"), "granted", grants_of(control, org));
	bool good =
		call->body && call->statement && rest && json_object_update(call->body, rest) == 0;
	json_decref(rest);
	return good ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory for a statement");
}

void gateway_statement(struct gateway *gateway, const char *org, const char *month,
		       void (*done)(void *argument, unsigned status, json_t *answer,
				    const struct err *err),
		       void *argument)
{
	struct statement_call *call = calloc(1, sizeof(*call));
	struct err err = ERR_INIT;
	if (!call) {
		ERR_SET(&err, ERR_NO_MEMORY, "no memory for a statement");
		done(argument, 503, NULL, &err);
		return;
	}
	*call = (struct statement_call){
		.gateway = gateway, .done = done, .argument = argument, .err = ERR_INIT};
	enum err_code code = begin_body(call, org, month, &call->err);
	if (code == ERR_OK && gateway->stopping)
		code = ERR_SET(&call->err, ERR_INTERRUPTED, "the gateway is shutting down");
	if (code != ERR_OK) {
		end(call, code);
		return;
	}
	gateway->admin_calls++;
	call->worker = gateway->workers[0].loop;
	call->message.run = start_at_worker;
	env_post(call->worker, &call->message);
}
