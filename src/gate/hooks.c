/* What the gateway lends to its control plane: records, and the publication of worlds. */
#include "gate/gateway_internal.h"

#include "gate/request.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BLANK_ID "00000000000000000000000000000000"

/* ---- records of acts ---- */

struct failed_act {
	struct env_message message;
	struct control_record *record;
	enum err_code code;
};

static void act_failed(struct env_message *message)
{
	struct failed_act *failed = (struct failed_act *)message;
	struct control_record *record = failed->record;
	enum err_code code = failed->code;
	free(failed);
	record->done(record, code);
}

static void fail_act(struct gateway *gateway, struct control_record *record, enum err_code code)
{
	struct failed_act *failed = calloc(1, sizeof(*failed));
	assert(failed); /* nothing to answer with; acts are rare and this is small */
	*failed = (struct failed_act){.record = record, .code = code};
	failed->message.run = act_failed;
	env_post(gateway->admin_loop, &failed->message);
}

static void act_durable(struct log_entry *entry)
{
	struct control_record *record =
		(struct control_record *)((char *)entry - offsetof(struct control_record, entry));
	record->done(record, ERR_OK);
}

void gateway_hook_record(void *argument, struct control_record *record)
{
	static const char blank_id[RECORD_ID_SIZE + 1] = "00000000000000000000000000000000";
	struct gateway *gateway = argument;
	struct log *log = gateway->logs[record->log];
	/* Once with a blank id, to know the size and that it fits, before an index is taken. */
	record->record.id = blank_id;
	record->record.time_ms = gateway->admin_loop->wall_ms;
	size_t size = record_format(&record->record, record->text, record->capacity);
	unsigned units = log_units(size);
	if (size == 0) {
		fail_act(gateway, record, ERR_TOO_LARGE);
		return;
	}
	if (!log_reserve(log, units) && !log_reserve_refusal(log, units)) {
		fail_act(gateway, record, ERR_NO_SPACE);
		return;
	}
	uint64_t index = log_take_index(log);
	log_record_id(log, index, record->id);
	record->record.id = record->id;
	size = record_format(&record->record, record->text, record->capacity);
	record->entry = (struct log_entry){.index = index,
					   .admit_index = LOG_NO_INDEX,
					   .kind = record->record.kind,
					   .units = units,
					   .text = record->text,
					   .size = size,
					   .durable = act_durable};
	log_submit(&gateway->producers[record->log], &record->entry);
	log_producer_turn(&gateway->producers[record->log], true);
}

uint64_t gateway_hook_position(void *argument, enum control_log log)
{
	struct gateway *gateway = argument;
	struct log_stats stats;
	/* Durable records all have an index; one appended later stands behind them. */
	log_get_stats(gateway->logs[log], &stats);
	return stats.records;
}

uint64_t gateway_hook_next(void *argument, enum control_log log)
{
	return log_next_index(((struct gateway *)argument)->logs[log]);
}

struct scanning {
	control_scan_function *each;
	void *argument;
	bool stopped;
};

static enum err_code scan_entry(void *argument, uint64_t index, struct bytes text, struct err *err)
{
	struct scanning *scanning = argument;
	(void)index;
	scanning->each(scanning->argument, text, &scanning->stopped);
	return scanning->stopped ? ERR_SET(err, ERR_EXISTS, "enough was read") : ERR_OK;
}

enum err_code gateway_hook_scan(void *argument, enum control_log log, uint64_t from,
				control_scan_function *each, void *each_argument, struct err *err)
{
	struct gateway *gateway = argument;
	struct scanning scanning = {each, each_argument, false};
	struct log_stats stats;
	log_get_stats(gateway->logs[log], &stats);
	enum err_code code =
		log_read_range(gateway->logs[log], from, stats.records, scan_entry, &scanning, err);
	return scanning.stopped ? ERR_OK : code;
}

/* ---- publication ---- */

struct publication;

struct publication_part {
	struct env_message message;
	struct publication *publication;
	struct gate_worker *worker;
	struct gate_settings *settings; /* of a reload; NULL: this is none */
};

/* Goes to each worker and back; the last one back ends it. */
struct publication {
	struct gateway *gateway;
	struct control_publish *publish;
	unsigned pending;
	struct publication_part parts[];
};

static void part_is_back(struct env_message *message)
{
	struct publication *publication = ((struct publication_part *)message)->publication;
	if (--publication->pending > 0)
		return;
	struct control_publish *publish = publication->publish;
	world_drop(publish->world);
	free(publication);
	publish->done(publish);
}

static void part_at_worker(struct env_message *message)
{
	struct publication_part *part = (struct publication_part *)message;
	const struct control_publish *publish = part->publication->publish;
	if (part->settings)
		gate_worker_configure(part->worker, part->settings);
	gate_worker_publish(part->worker, world_hold(publish->world), publish->cuts,
			    publish->cut_count);
	part->message.run = part_is_back;
	env_post(part->publication->gateway->admin_loop, &part->message);
}

void gateway_hook_publish(void *argument, struct control_publish *publish)
{
	struct gateway *gateway = argument;
	unsigned count = gateway->worker_count;
	struct publication *publication =
		calloc(1, sizeof(*publication) + count * sizeof(publication->parts[0]));
	assert(publication); /* a revocation must not be lost: better to end here */
	*publication = (struct publication){gateway, publish, count};
	for (unsigned i = 0; i < count; i++) {
		publication->parts[i] = (struct publication_part){.publication = publication,
								  .worker = &gateway->workers[i]};
		publication->parts[i].message.run = part_at_worker;
		if (gateway->reload && publish->config == gateway->reload->config)
			publication->parts[i].settings = &gateway->reload->settings[i];
		env_post(gateway->workers[i].loop, &publication->parts[i].message);
	}
}

/* ---- a run opened by a request ---- */

struct run_opening {
	struct env_message message;
	struct control_open_run call;
	struct gate_request *request; /* NULL: abandoned */
	struct gateway *gateway;
	struct env_loop *worker_loop;
	enum err_code code;
	struct err err;
	char grant[256], suite[256];
};

static void opening_at_worker(struct env_message *message)
{
	struct run_opening *opening = (struct run_opening *)message;
	if (opening->request)
		gate_request_run_opened(opening->request, opening->code, &opening->err);
	free(opening);
}

static void opening_done(struct control_open_run *call, enum err_code code, const struct err *err)
{
	struct run_opening *opening = call->argument;
	opening->code = code;
	if (err)
		opening->err = *err;
	opening->message.run = opening_at_worker;
	env_post(opening->worker_loop, &opening->message);
}

static void opening_at_admin(struct env_message *message)
{
	struct run_opening *opening = (struct run_opening *)message;
	control_open_run(opening->gateway->control, &opening->call);
}

bool gateway_open_run(struct gate_request *request)
{
	struct gateway *gateway = request->worker->gateway;
	const char *grant = request->front->verdict.grant->id;
	const char *suite = request->front->verdict.suite->id;
	struct run_opening *opening = calloc(1, sizeof(*opening));
	if (!opening || strlen(grant) >= sizeof(opening->grant) ||
	    strlen(suite) >= sizeof(opening->suite)) {
		free(opening);
		return false;
	}
	strcpy(opening->grant, grant);
	strcpy(opening->suite, suite);
	opening->request = request;
	opening->gateway = gateway;
	opening->worker_loop = request->worker->loop;
	opening->call = (struct control_open_run){.grant = opening->grant,
						  .suite = opening->suite,
						  .done = opening_done,
						  .argument = opening};
	request->front->opening = opening;
	opening->message.run = opening_at_admin;
	env_post(gateway->admin_loop, &opening->message);
	return true;
}

void gateway_forget_opening(struct run_opening *opening)
{
	opening->request = NULL;
}

/* ---- the log's files ---- */

enum err_code gateway_hook_checkpoint(void *argument, enum control_log log, uint64_t size,
				      struct buf *out, struct err *err)
{
	return log_checkpoint_at(((struct gateway *)argument)->logs[log], size, out, err);
}

json_t *gateway_hook_log_state(void *argument, enum control_log which, bool scrub)
{
	struct gateway *gateway = argument;
	struct log *log = gateway->logs[which];
	struct log_stats stats;
	struct log_rot rot[LOG_ROT_MAX];
	json_t *rows = json_array();
	if (scrub)
		log_scrub_now(log);
	log_get_stats(log, &stats);
	size_t count = log_get_rot(log, rot, LOG_ROT_MAX);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(rows,
				      json_pack("{s:I, s:s}", "first", (json_int_t)rot[i].first,
						"problem", rot[i].problem));
	return json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "origin", gateway->origins[which],
		"records", (json_int_t)stats.records, "checkpoint", (json_int_t)stats.checkpoint,
		"segments", (json_int_t)stats.segments, "sealed", (json_int_t)stats.sealed,
		"scrubbed_bytes", (json_int_t)stats.scrubbed, "scrubs", (json_int_t)stats.scrubs,
		"scrub_ms", (json_int_t)stats.scrub_ms, "rot", rows);
}

/* ---- what the operator should know ---- */

struct told {
	struct env_message message;
	void (*notify)(void *argument, const char *text);
	void *argument;
	char text[800];
};

static void tell_now(struct env_message *message)
{
	struct told *told = (struct told *)message;
	told->notify(told->argument, told->text);
	free(told);
}

void gateway_tell(struct gateway *gateway, const char *format, ...)
{
	struct told *told = gateway->options.notify ? calloc(1, sizeof(*told)) : NULL;
	va_list arguments;
	if (!told)
		return;
	told->message.run = tell_now;
	told->notify = gateway->options.notify;
	told->argument = gateway->options.argument;
	va_start(arguments, format);
	vsnprintf(told->text, sizeof(told->text), format, arguments);
	va_end(arguments);
	env_post(gateway->admin_loop, &told->message);
}

/* Without memory for it, /readyz and /metrics tell. */
void gateway_hook_rot(void *argument, const struct err *err)
{
	gateway_tell(argument,
		     "%s. Nothing of it is served; the file can be put back while the gateway runs",
		     err->message);
}
