/* /healthz and /readyz that tell the truth. Each asks every loop for a sign of life by a message
 * there and back, and answers when all are back or PATIENCE_NS is over: a loop that is stuck is
 * found by asking it, and costs nothing while nobody asks.
 *
 * Alive: the workers' loops turn (the admin loop does: it answers). Ready: they do, the log's too,
 * requests are taken, and both logs can take records and the store documents. */
#include "gate/gateway_internal.h"

#include "base/json.h"
#include "gate/control_internal.h"
#include "gate/cosigning.h"
#include "ledger/seal.h"

#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_NS 2000000000u
#define WAITING_MAX 64

struct probe_part {
	struct env_message message;
	struct env_loop *there;
	struct gateway_probe *probe;
	bool out; /* on its way; the loop has not answered yet */
};

/* Outlives its gateway while a question is under way. */
struct gateway_probe {
	struct gateway *gateway; /* NULL: it is no more */
	struct env_loop *loop;   /* the admin loop */
	struct env_timer timer;
	bool armed;
	struct waiting {
		struct http_exchange *exchange;
		uint64_t since_ns;
		bool ready; /* /readyz; else /healthz */
	} waiting[WAITING_MAX];
	unsigned waiting_count;
	unsigned count;
	struct probe_part parts[]; /* the workers', then the log's */
};

/* ---- what is wrong ---- */

static void add(struct buf *out, const char *name, unsigned number, const char *problem)
{
	buf_append_cstr(out, out->size ? "," : "");
	if (number)
		buf_printf(out, "{\"part\":\"%s %u\",\"problem\":\"%s\"}", name, number, problem);
	else
		buf_printf(out, "{\"part\":\"%s\",\"problem\":\"%s\"}", name, problem);
}

static void find_stuck(const struct gateway_probe *probe, bool ready, struct buf *out)
{
	for (unsigned i = 0; i < probe->count; i++) {
		bool log = i + 1 == probe->count;
		if (!probe->parts[i].out)
			continue;
		if (!log)
			add(out, "worker", i + 1, "its loop does not turn");
		else if (ready)
			add(out, "log", 0, "its loop does not turn: the disk may be stuck");
	}
}

static void find_unready(struct gateway *gateway, struct buf *out)
{
	static const char *const names[CONTROL_LOGS] = {"log evaluation", "log usage"};
	if (!gateway->started)
		add(out, "gateway", 0, "starting");
	if (gateway->stopping)
		add(out, "gateway", 0, "shutting down");
	for (int log = 0; log < CONTROL_LOGS; log++) {
		struct log_stats stats;
		log_get_stats(gateway->logs[log], &stats);
		if (stats.failed)
			add(out, names[log], 0, "a write or sync has failed");
		else if (stats.no_space)
			add(out, names[log], 0, "no space is left on the disk");
		else if (stats.room <= 0)
			add(out, names[log], 0, "no room is prepared for records");
	}
	if (json_array_size(gateway->control->unfinished) > 0)
		add(out, "store", 0, "it cannot take over documents that are on record");
}

/* What is in the way of no request, but of proofs: told, and no reason to be sent no traffic. */
static void find_rot(struct gateway *gateway, struct buf *out)
{
	static const char *const names[CONTROL_LOGS] = {"log evaluation", "log usage"};
	for (int log = 0; log < CONTROL_LOGS; log++) {
		struct log_rot rot;
		char name[SEAL_NAME_SIZE], problem[96];
		if (log_get_rot(gateway->logs[log], &rot, 1) == 0)
			continue;
		seal_name(rot.first, name);
		snprintf(problem, sizeof(problem),
			 "segment %.12s does not read as it should: restore it from a copy", name);
		add(out, names[log], 0, problem);
	}
}

/* What takes something away and leaves the rest: a gateway without its grader serves every grant
 * but those of verdicts. */
static void find_grader(const struct gateway *gateway, struct buf *out)
{
	static const char *const problems[] = {
		[GRADER_NOT_ASKED] = "it was not asked yet",
		[GRADER_BUSY] = "its queue is full: verdicts are refused",
		[GRADER_DOWN] = "it does not answer: verdicts are refused",
	};
	if (!gateway->grader)
		return;
	const char *problem = problems[grader_watch_state(gateway->grader)];
	if (problem)
		add(out, "grader", 0, problem);
}

/* A reader's text, as JSON. */
static void add_witness(void *argument, const char *name, const char *problem)
{
	struct buf *out = argument;
	char text[600];
	snprintf(text, sizeof(text), "%.255s does not cosign: %.300s", name, problem);
	buf_append_cstr(out, out->size ? "," : "");
	buf_append_cstr(out, "{\"part\":\"witness\",\"problem\":");
	json_append_string(out, bytes_from(text));
	buf_append_char(out, '}');
}

static void answer(struct gateway_probe *probe, const struct waiting *waiting)
{
	struct buf problems = BUF_INIT(65536), body = BUF_INIT(90000), warnings = BUF_INIT(16384);
	struct http_header headers[2] = {
		{"content-type",  BYTES("application/json")},
                {"cache-control", BYTES("no-store")        }
        };
	find_stuck(probe, waiting->ready, &problems);
	if (waiting->ready)
		find_unready(probe->gateway, &problems);
	if (waiting->ready) {
		find_rot(probe->gateway, &warnings);
		find_grader(probe->gateway, &warnings);
		cosigning_failing(probe->gateway->cosigning, add_witness, &warnings);
	}
	const char *good = waiting->ready ? "ready" : "alive";
	const char *bad = waiting->ready ? "not ready" : "stuck";
	buf_printf(&body, "{\"status\":\"%s\",\"problems\":[%s]", problems.size ? bad : good,
		   problems.size ? problems.data : "");
	if (warnings.size)
		buf_printf(&body, ",\"warnings\":[%s]", warnings.data);
	buf_append_cstr(&body, "}\n");
	http_respond(waiting->exchange, problems.size ? 503 : 200, headers, 2, buf_bytes(&body));
	buf_release(&problems);
	buf_release(&warnings);
	buf_release(&body);
}

/* ---- asking ---- */

static bool all_are_back(const struct gateway_probe *probe)
{
	for (unsigned i = 0; i < probe->count; i++)
		if (probe->parts[i].out)
			return false;
	return true;
}

/* Answers those whose patience is over, or all when every loop has answered. */
static void answer_due(struct gateway_probe *probe)
{
	struct env_loop *loop = probe->gateway->admin_loop;
	bool all = all_are_back(probe);
	unsigned kept = 0;
	struct waiting due[WAITING_MAX];
	unsigned due_count = 0;
	for (unsigned i = 0; i < probe->waiting_count; i++) {
		struct waiting *one = &probe->waiting[i];
		if (all || loop->now_ns - one->since_ns >= PATIENCE_NS)
			due[due_count++] = *one;
		else
			probe->waiting[kept++] = *one;
	}
	probe->waiting_count = kept;
	for (unsigned i = 0; i < due_count; i++)
		answer(probe, &due[i]);
	if (kept > 0 && !probe->armed)
		probe->armed = env_timer_arm(loop, &probe->timer,
					     probe->waiting[0].since_ns + PATIENCE_NS);
}

static void patience_is_over(struct env_timer *timer)
{
	struct gateway_probe *probe =
		(struct gateway_probe *)((char *)timer - offsetof(struct gateway_probe, timer));
	probe->armed = false;
	answer_due(probe);
}

static void part_is_back(struct env_message *message)
{
	struct probe_part *part = (struct probe_part *)message;
	part->out = false;
	if (!all_are_back(part->probe))
		return;
	if (part->probe->gateway)
		answer_due(part->probe);
	else
		free(part->probe);
}

static void part_is_there(struct env_message *message)
{
	struct probe_part *part = (struct probe_part *)message;
	message->run = part_is_back;
	env_post(part->probe->loop, message);
}

static struct gateway_probe *probe_of(struct gateway *gateway)
{
	unsigned count = gateway->worker_count + 1;
	struct gateway_probe *probe = gateway->probe;
	if (probe)
		return probe;
	probe = calloc(1, sizeof(*probe) + count * sizeof(probe->parts[0]));
	if (!probe)
		return NULL;
	probe->gateway = gateway;
	probe->loop = gateway->admin_loop;
	probe->timer.fire = patience_is_over;
	probe->count = count;
	for (unsigned i = 0; i < count; i++) {
		probe->parts[i].probe = probe;
		probe->parts[i].there =
			i < gateway->worker_count ? gateway->workers[i].loop : gateway->log_loop;
	}
	return gateway->probe = probe;
}

static void serve(struct gateway *gateway, struct http_exchange *exchange, bool ready)
{
	struct gateway_probe *probe = probe_of(gateway);
	struct waiting waiting = {exchange, gateway->admin_loop->now_ns, ready};
	if (!probe || probe->waiting_count == WAITING_MAX) {
		http_respond(exchange, 503, NULL, 0, BYTES("too many ask at once\n"));
		return;
	}
	/* Before and after its life the loops are not asked: they do not turn yet, or no more. */
	if (!gateway->started || gateway->stopping) {
		answer(probe, &waiting);
		return;
	}
	probe->waiting[probe->waiting_count++] = waiting;
	for (unsigned i = 0; i < probe->count; i++) {
		struct probe_part *part = &probe->parts[i];
		if (part->out)
			continue; /* the question of before is still open */
		part->out = true;
		part->message.run = part_is_there;
		env_post(part->there, &part->message);
	}
	if (!probe->armed)
		probe->armed = env_timer_arm(gateway->admin_loop, &probe->timer,
					     waiting.since_ns + PATIENCE_NS);
}

void gateway_serve_health(struct gateway *gateway, struct http_exchange *exchange)
{
	serve(gateway, exchange, false);
}

void gateway_serve_ready(struct gateway *gateway, struct http_exchange *exchange)
{
	serve(gateway, exchange, true);
}

void gateway_health_forget(struct gateway *gateway, const struct http_exchange *exchange)
{
	struct gateway_probe *probe = gateway->probe;
	unsigned kept = 0;
	for (unsigned i = 0; probe && i < probe->waiting_count; i++)
		if (probe->waiting[i].exchange != exchange)
			probe->waiting[kept++] = probe->waiting[i];
	if (probe)
		probe->waiting_count = kept;
}

void gateway_health_close(struct gateway *gateway)
{
	struct gateway_probe *probe = gateway->probe;
	gateway->probe = NULL;
	if (!probe)
		return;
	env_timer_disarm(probe->loop, &probe->timer);
	probe->waiting_count = 0;
	probe->gateway = NULL;
	if (all_are_back(probe))
		free(probe);
}
