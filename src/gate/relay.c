/* The steps that talk to the upstream, and what comes back.
 *
 * Order of records and bytes (DESIGN.md section 6, `strict`): nothing of an answer is sent before
 * the admit record is durable, and the end of it (the whole of a plain answer, the terminal event
 * of a stream) not before the settle record is. A stream is passed on as it comes and observed
 * beside. */
#include "gate/request.h"

#include "gate/account.h"
#include "gate/final.h"
#include "gate/served.h"
#include "gate/gateway.h"
#include "gate/request_limits.h"
#include "gate/usage.h"
#include "gate/verdict.h"

#include <assert.h>
#include <stdio.h>

#define SLICE_WAIT_NS 2000000000u
#define SLICE_RETRY_MIN_NS 10000000u
/* Longer values of the provider's fields are left out: the head of an answer is bounded. */
#define PASSED_FIELD_MAX 512
/* What may come from the terminal event of a stream on. */
#define END_MAX ((size_t)1 << 20)

/* ---- forward ---- */

/* What the client's fields of that name take when copied; with `out`, copies them too. */
static size_t copy_fields(const struct http_exchange *exchange, enum http_field_id id,
			  const char *name, char *out)
{
	const char *data = exchange->head_bytes.data;
	struct bytes wanted = bytes_from(name);
	size_t size = 0;
	if (!http_has(exchange->head, id))
		return 0;
	for (unsigned i = 0; i < exchange->head->field_count; i++) {
		const struct http_field *field = &exchange->head->fields[i];
		struct bytes found = http_bytes(data, field->name);
		struct bytes value = http_bytes(data, field->value);
		if (found.size != wanted.size || !bytes_equal_fold(found, wanted))
			continue;
		if (out) {
			char *to = stpcpy(stpcpy(out + size, name), ": ");
			memcpy(mempcpy(to, value.data, value.size), "\r\n", 2);
		}
		size += wanted.size + value.size + 4;
	}
	return size;
}

/* The head is made by us: nothing of the client's but its API version and beta names, whose values
 * the parser has checked. NULL when memory is out. */
static char *upstream_head(struct gate_request *request, const struct gate_upstream *upstream,
			   size_t body_size, size_t *size)
{
	const struct http_exchange *exchange = request->exchange;
	struct bytes base = http_origin_base_path(upstream->origin);
	struct bytes name = bytes_from(request->terms.model->upstream);
	size_t extra = DIALECT_TARGET_EXTRA;
	if (request->dialect == DIALECT_ANTHROPIC)
		extra += copy_fields(exchange, HTTP_FIELD_ANTHROPIC_VERSION, "anthropic-version",
				     NULL) +
			 copy_fields(exchange, HTTP_FIELD_ANTHROPIC_BETA, "anthropic-beta", NULL) +
			 64;
	size_t capacity = base.size + name.size + strlen(upstream->fields) + extra + 128;
	char *head = arena_alloc(&request->front->arena, capacity);
	if (!head)
		return NULL;
	char *to = stpcpy(head, "POST ");
	to = dialect_write_target(request->endpoint, base, name, to);
	to = stpcpy(to, " HTTP/1.1\r\n");
	size_t at = (size_t)(stpcpy(to, upstream->fields) - head);
	if (request->dialect == DIALECT_ANTHROPIC) {
		size_t versions = copy_fields(exchange, HTTP_FIELD_ANTHROPIC_VERSION,
					      "anthropic-version", head + at);
		if (!versions)
			versions = (size_t)(stpcpy(head + at, "anthropic-version: 2023-06-01\r\n") -
					    (head + at));
		at += versions;
		at += copy_fields(exchange, HTTP_FIELD_ANTHROPIC_BETA, "anthropic-beta", head + at);
	}
	struct buf end = buf_over(head + at, capacity - at);
	buf_append_cstr(&end, "content-length: ");
	buf_append_integer(&end, (int64_t)body_size);
	buf_append_cstr(&end, "\r\n\r\n");
	assert(!end.failed);
	*size = at + end.size;
	return head;
}

/* RFC 9110, 8.3.1: a media type is compared without case, and parameters may follow. */
static bool is_event_stream(struct bytes type)
{
	return bytes_equal_fold(bytes_trim(bytes_split(type, ';', &type)),
				BYTES("text/event-stream"));
}

static void call_head(struct http_call *call, const struct http_head *head, struct bytes bytes);
static void call_body(struct http_call *call, struct bytes piece);
static void call_ended(struct http_call *call, const struct err *err);

enum gate_next gate_step_forward(struct gate_request *request)
{
	const struct world_model *model = request->terms.model;
	const struct gate_upstream *upstream = &request->upstreams->rows[model->provider->index];
	struct gate_front *front = request->front;
	struct http_call *call = &request->call;
	struct dialect_rewrite rewrite;
	size_t head_size = 0;
	assert(request->exchange);
	dialect_rewrite(&front->body, request->exchange->body, bytes_from(model->upstream),
			request->streams, &rewrite);
	request->usage_added = rewrite.usage_added;
	char *head = upstream_head(request, upstream, rewrite.size, &head_size);
	if (!head) {
		request->call.unprocessed = true;
		request->failure = ERR_NO_MEMORY;
		request->ending = RECORD_ENDING_UPSTREAM_ERROR;
		request->answer = ANSWER_OVER;
		return GATE_NEXT;
	}
	*call = (struct http_call){.many_parts = front->parts,
				   .part_count = 1,
				   .read_max = gate_limits_read_max(request),
				   .first_byte_ns = upstream->first_byte_ns,
				   .idle_ns = upstream->stall_ns,
				   .user = request,
				   .head = call_head,
				   .body = call_body,
				   .ended = call_ended};
	front->parts[0] = (struct iovec){head, head_size};
	for (unsigned i = 0; i < rewrite.count; i++)
		front->parts[call->part_count++] =
			(struct iovec){(void *)rewrite.parts[i].data, rewrite.parts[i].size};
	request->calling = true;
	http_call_start(upstream->origin, call);
	return GATE_NEXT;
}

/* ---- what the client is sent ---- */

static bool may_pass(const struct gate_request *request)
{
	return request->exchange && request->started && !request->error_sent;
}

/* The head of the answer, for a 200 or an error passed on. */
static unsigned answer_headers(struct gate_request *request, struct http_header *out, unsigned max)
{
	unsigned count = 0;
	const struct gate_front *front = request->front;
	for (unsigned i = 0; i < front->upstream_header_count && count < max; i++)
		out[count++] = front->upstream_headers[i];
	if (request->answer == ANSWER_STREAM || request->observing) {
		out[count++] = (struct http_header){"cache-control", BYTES("no-cache")};
		out[count++] = (struct http_header){"x-accel-buffering", BYTES("no")};
	}
	out[count++] = (struct http_header){"parley-record", bytes_from(request->admit_id)};
	out[count++] = (struct http_header){"parley-nonce", bytes_from(front->nonce_text)};
	return count + gate_limit_headers(request, out + count, max - count);
}

static void pass(struct gate_request *request, struct bytes piece)
{
	if (!may_pass(request))
		return;
	sha256_add_bytes(&request->response_hash, piece);
	request->has_response = true;
	request->sent += piece.size;
	request->passed_ns = request->worker->loop->now_ns;
	http_send(request->exchange, piece);
}

void gate_send_ping(struct gate_request *request)
{
	if (request->answer == ANSWER_STREAM && may_pass(request) &&
	    http_unsent(request->exchange) == 0 &&
	    dialect_observer_between_events(&request->observer))
		pass(request, BYTES(": ping\n\n"));
}

/* Bytes of a stream: sent, or held while the admit record is on its way to the disk. */
static void pass_or_hold(struct gate_request *request, struct bytes piece)
{
	struct gate_front *front = request->front;
	if (request->started) {
		pass(request, piece);
		return;
	}
	assert(front && front->waiting == front->held.size);
	buf_append_bytes(&front->held, piece);
	front->waiting = front->held.size;
}

/* What is shown only when it has ended. */
static void hold_end(struct gate_request *request, struct bytes piece)
{
	struct gate_front *front = request->front;
	if (!front)
		front = request->front = gate_worker_take_front(request->worker);
	if (!front || front->held.size - front->waiting + piece.size > END_MAX) {
		request->unheld = true;
		return;
	}
	front->request = request;
	buf_append_bytes(&front->held, piece);
	request->unheld |= front->held.failed;
}

static struct bytes end_of(const struct gate_request *request)
{
	const struct gate_front *front = request->front;
	if (!front || !request->observing || !front->held.data)
		return bytes_of("", 0);
	return bytes_of(front->held.data + front->waiting, front->held.size - front->waiting);
}

/* As much of it as the release lets out. Where that cannot be told, nothing more is let out. */
static bool take_final(struct gate_request *request, const struct dialect_flow *flow)
{
	struct bytes piece;
	if (gate_final_excess(request))
		return false;
	for (unsigned i = 0; i < flow->now_count; i++) {
		if (!gate_final_feed(request, flow->now[i], &piece))
			return false;
		if (piece.size)
			pass_or_hold(request, piece);
	}
	for (unsigned i = 0; i < flow->last_count; i++) {
		if (!gate_final_feed(request, flow->last[i], &piece))
			return false;
		hold_end(request, piece);
	}
	return true;
}

static bool take_flow(struct gate_request *request, const struct dialect_flow *flow)
{
	if (request->final)
		return take_final(request, flow);
	for (unsigned i = 0; i < flow->now_count; i++)
		pass_or_hold(request, flow->now[i]);
	for (unsigned i = 0; i < flow->last_count; i++)
		hold_end(request, flow->last[i]);
	return true;
}

/* A stream that is under way needs nothing of its request any more, once that has been sent and the
 * log has read the text of its admit record: what it took goes back, so that many streams can be
 * held. */
static void forget_request(struct gate_request *request)
{
	struct gate_front *front = request->front;
	if (!request->admit_written || !request->exchange || !request->started ||
	    !request->calling || !http_call_sent(&request->call) || !front || front->held.size > 0)
		return;
	http_release_request(request->exchange);
	request->front = NULL;
	gate_worker_give_front(request->worker, front);
}

static void start_stream(struct gate_request *request)
{
	struct http_header headers[24];
	if (!request->exchange || request->started)
		return;
	unsigned count = answer_headers(request, headers, 24);
	request->started = true;
	request->first_byte_ns = request->worker->loop->now_ns;
	request->client_status = 200;
	http_start(request->exchange, 200, headers, count, -1);
	struct gate_front *front = request->front;
	pass(request, bytes_of(front->held.data, front->waiting));
	buf_consume(&front->held, front->waiting);
	front->waiting = 0;
	forget_request(request);
}

/* What the client is told where an answer did not end as it should. */
struct ending_text {
	int status;
	const char *code; /* OpenAI's */
	const char *text;
	bool retry;
};

/* clang-format off */
static const struct ending_text ending_texts[] = {
	[RECORD_ENDING_UPSTREAM_RESET] =
		{502, "upstream_reset", "the provider's answer broke off", true},
	[RECORD_ENDING_UPSTREAM_ERROR] =
		{502, "upstream_error", "the provider cannot be reached or its answer cannot be read", true},
	[RECORD_ENDING_TIMEOUT] =
		{504, "upstream_timeout", "the provider did not answer in time", true},
	[RECORD_ENDING_LIMIT] =
		{429, "rate_limit_exceeded", "a limit was reached", true},
	[RECORD_ENDING_REVOKED] =
		{403, "grant_revoked", "access was revoked", false},
	[RECORD_ENDING_SHUTDOWN] =
		{503, "gateway_shutdown", "the gateway is shutting down", true},
};
/* clang-format on */

static struct ending_text text_of(const struct gate_request *request)
{
	if (request->withheld)
		return ending_texts[RECORD_ENDING_REVOKED];
	if (request->terms.rule == RULE_GATEWAY_BUSY)
		return (struct ending_text){503, "gateway_busy", "the gateway is at its own limit",
					    true};
	return ending_texts[request->ending];
}

static struct bytes failure_message(struct gate_request *request)
{
	struct ending_text text = text_of(request);
	struct arena *arena = gate_request_arena(request);
	const char *message = NULL;
	if (arena && request->cut_reason)
		message = arena_printf(arena, "%s: %s", text.text, request->cut_reason);
	else if (arena)
		message = arena_printf(arena, "%s (record %s)", text.text, request->admit_id);
	return bytes_from(message ? message : text.text);
}

/* Ends a stream that is under way with the dialect's native error event. */
static void send_error_event(struct gate_request *request)
{
	struct ending_text text = text_of(request);
	struct buf event = BUF_INIT(65536);
	if (!may_pass(request))
		return;
	/* An event that broke off in the middle is ended first: its reader drops it or sees it
	 * whole. */
	if (dialect_observer_mid_event(&request->observer))
		buf_append_cstr(&event, "\n\n");
	dialect_error_event(request->dialect,
			    &(struct dialect_error){.status = text.status,
						    .code = text.code,
						    .message = failure_message(request)},
			    &event);
	pass(request, buf_bytes(&event));
	request->error_sent = true;
	buf_release(&event);
}

/* ---- slices of output ---- */

/* Whether what was seen of the stream is covered by the reservation. */
static bool take_slices(struct gate_request *request, struct limits_refusal *refusal)
{
	int64_t seen = gate_usage_seen(request);
	if (!request->reservation.open || request->slices_waived)
		return true; /* in mode observe, a limit stood in its way already */
	for (;;) {
		int64_t reserved = limits_reserved_output(&request->reservation);
		if (reserved > seen)
			return true;
		int64_t cap = request->most_output;
		if (reserved >= cap)
			return true;
		int64_t slice =
			cap - reserved < LIMITS_OUTPUT_SLICE ? cap - reserved : LIMITS_OUTPUT_SLICE;
		if (gate_limits_slice(request, slice, refusal))
			continue;
		if (!request->worker->observe)
			return false;
		gate_account_observed(request, limits_rule(refusal->limit));
		request->slices_waived = true;
		return true;
	}
}

static void wait_for_slice(struct gate_request *request, const struct limits_refusal *refusal)
{
	struct env_loop *loop = request->worker->loop;
	uint64_t wait = refusal->retry_after_ms > 0 ? (uint64_t)refusal->retry_after_ms * 1000000u
						    : SLICE_RETRY_MIN_NS;
	if (!request->slice_deadline_ns)
		request->slice_deadline_ns = loop->now_ns + SLICE_WAIT_NS;
	uint64_t at = loop->now_ns + (wait < SLICE_RETRY_MIN_NS ? SLICE_RETRY_MIN_NS : wait);
	if (at > request->slice_deadline_ns)
		at = request->slice_deadline_ns;
	http_call_pause(&request->call, true);
	if (!env_timer_arm(loop, &request->slice_timer, at))
		gate_request_cut(request, RECORD_ENDING_LIMIT, "out of memory");
}

/* Reading goes on where nothing stands in the way any more: the admit record, a slice, memory, or a
 * client that reads too slowly. */
static void read_on(struct gate_request *request)
{
	bool client_lags =
		request->exchange && http_unsent(request->exchange) > HTTP_SERVER_UNSENT_HIGH;
	if (request->calling && !request->slice_deadline_ns && !client_lags &&
	    (request->admit_durable || !request->observing))
		http_call_pause(&request->call, false);
}

static void cut_by_limit(struct gate_request *request, const struct limits_refusal *refusal)
{
	struct arena *arena = gate_request_arena(request);
	struct buf text = BUF_INIT(4096);
	struct verdict verdict = {.world = request->world, .grant = request->terms.grant};
	policy_refuse_limit(&verdict, refusal);
	policy_message(&verdict, &text);
	request->terms.rule = (uint8_t)verdict.rule;
	request->terms.clause = verdict.clause;
	const char *copy = arena ? arena_copy(arena, buf_bytes(&text)) : NULL;
	buf_release(&text);
	gate_request_cut(request, RECORD_ENDING_LIMIT, copy);
}

/* An answer that goes on after its end is over there: what comes then is neither metered nor passed
 * on, and nobody waits for more of it. */
static bool end_where_it_ended(struct gate_request *request)
{
	if (!request->observer.overrun)
		return false;
	gate_account_upstream_failed(
		request, "its stream goes on after its end; what came then was not passed on");
	http_call_cancel(&request->call);
	request->calling = false;
	request->ending = RECORD_ENDING_FINISH;
	request->answer = ANSWER_OVER;
	gate_request_run(request);
	return true;
}

static void slice_timer_fired(struct env_timer *timer)
{
	struct gate_request *request =
		(struct gate_request *)((char *)timer - offsetof(struct gate_request, slice_timer));
	struct limits_refusal refusal;
	if (!request->calling || request->told)
		return;
	if (take_slices(request, &refusal)) {
		request->slice_deadline_ns = 0;
		if (!end_where_it_ended(request))
			read_on(request);
	} else if (request->worker->loop->now_ns >= request->slice_deadline_ns) {
		cut_by_limit(request, &refusal);
	} else {
		wait_for_slice(request, &refusal);
	}
}

/* ---- memory of plain answers ---- */

static struct net_budget *budget_of(const struct gate_request *request)
{
	return gateway_budget(request->worker->gateway);
}

static void cut_for_memory(struct gate_request *request)
{
	request->terms.rule = RULE_GATEWAY_BUSY; /* its memory for bodies and answers is used up */
	request->terms.clause = NULL;
	gate_request_cut(request, RECORD_ENDING_LIMIT, NULL);
}

/* Memory for a plain answer that grows: below the bound, or past it for one at a time. */
static bool has_memory(struct gate_request *request)
{
	struct gate_worker *worker = request->worker;
	struct net_budget *budget = budget_of(request);
	if (worker->passes == request || !net_budget_is_full(budget))
		return true;
	if (worker->passes || net_budget_is_unread(budget))
		return false;
	worker->passes = request;
	return true;
}

/* For as long as a client that reads nothing may keep what it has been given. */
static void wait_for_memory(struct gate_request *request)
{
	const struct config_timeouts *timeouts =
		&gateway_config(request->worker->gateway)->timeouts;
	struct env_loop *loop = request->worker->loop;
	if (!request->slice_deadline_ns)
		request->slice_deadline_ns = loop->now_ns + timeouts->write_ns;
	http_call_pause(&request->call, true);
	if (!env_timer_arm(loop, &request->slice_timer, loop->now_ns + SLICE_RETRY_MIN_NS))
		cut_for_memory(request);
}

static void memory_timer_fired(struct env_timer *timer)
{
	struct gate_request *request =
		(struct gate_request *)((char *)timer - offsetof(struct gate_request, slice_timer));
	if (!request->calling)
		return;
	if (has_memory(request)) {
		request->slice_deadline_ns = 0;
		read_on(request);
	} else if (request->worker->loop->now_ns >= request->slice_deadline_ns) {
		cut_for_memory(request);
	} else {
		wait_for_memory(request);
	}
}

static void take_plain(struct gate_request *request, struct bytes piece)
{
	struct buf *held = &request->front->held;
	buf_append_bytes(held, piece);
	if (held->failed) {
		request->failure = ERR_TOO_LARGE;
		gate_request_cut(request, RECORD_ENDING_UPSTREAM_ERROR, NULL);
		return;
	}
	net_budget_charge(budget_of(request), &request->charged, net_budget_bytes(held->capacity));
	if (request->charged && !has_memory(request))
		wait_for_memory(request);
}

/* ---- the upstream's answer ---- */

/* Fields of the provider's answer that the client gets; all else is ours or nobody's. */
static const char *const passed_fields[] = {"content-type",      "request-id",     "x-request-id",
					    "retry-after",       "retry-after-ms", "x-should-retry",
					    "x-parley-simulated"};

static void keep_fields(struct gate_request *request, const struct http_head *head,
			struct bytes bytes)
{
	struct gate_front *front = request->front;
	front->upstream_headers =
		arena_alloc(&front->arena, sizeof(passed_fields) / sizeof(passed_fields[0]) *
						   sizeof(*front->upstream_headers));
	if (!front->upstream_headers)
		return;
	for (size_t i = 0; i < sizeof(passed_fields) / sizeof(passed_fields[0]); i++) {
		struct bytes value = http_field_value(head, bytes.data, passed_fields[i]);
		bool sane = value.data && value.size <= PASSED_FIELD_MAX;
		char *copy = sane ? arena_copy(&front->arena, value) : NULL;
		if (copy)
			front->upstream_headers[front->upstream_header_count++] =
				(struct http_header){
					passed_fields[i], {copy, value.size}
                        };
	}
}

/* Its refusal of our credential is none of the client's doing and must not look like one. */
static bool refuses_credential(int status)
{
	return status == 401 || status == 403;
}

/* What the digests of the answer are made with. */
static struct bytes answer_nonce(const struct gate_request *request)
{
	return request->sealed ? gate_sealed_nonce(request)
			       : bytes_of((const char *)request->front->nonce,
					  sizeof(request->front->nonce));
}

static void call_head(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct gate_request *request = call->user;
	struct bytes type = http_known(head, bytes.data, HTTP_FIELD_CONTENT_TYPE);
	struct bytes coding = http_known(head, bytes.data, HTTP_FIELD_CONTENT_ENCODING);
	request->status = head->status;
	sha256_start(&request->response_hash);
	sha256_add_bytes(&request->response_hash, answer_nonce(request));
	/* We have asked for none, and could neither read nor bound what is in it: an error's body,
	 * too, would be missing. */
	if (coding.size && !bytes_equal_fold(coding, BYTES("identity"))) {
		if (!refuses_credential(head->status)) {
			request->failure = ERR_PROTOCOL;
			gate_account_upstream_failed(request, "its answer is compressed, unasked");
		}
		gate_request_cut(request, RECORD_ENDING_UPSTREAM_ERROR, "its answer is compressed");
		return;
	}
	/* No API answers with another; passed on, it would be neither metered nor cut to what the
	 * release lets out. */
	if (head->status < 400 && head->status != 200) {
		static const char why[] = "its status is neither 200 nor that of an error";
		request->failure = ERR_PROTOCOL;
		gate_account_upstream_failed(request, why);
		gate_request_cut(request, RECORD_ENDING_UPSTREAM_ERROR, why);
		return;
	}
	keep_fields(request, head, bytes);
	bool streams = head->status == 200 && request->streams && is_event_stream(type);
	if (head->status == 200 &&
	    (!gate_final_start(request, streams) || !gate_served_start(request))) {
		gate_request_cut(request, RECORD_ENDING_UPSTREAM_ERROR, "out of memory");
		return;
	}
	if (!streams) {
		request->answer = ANSWER_PLAIN;
		request->slice_timer.fire = memory_timer_fired;
		return;
	}
	request->answer = ANSWER_STREAM;
	request->observing = true;
	dialect_observer_init(&request->observer, request->dialect,
			      bytes_of(request->front->nonce, sizeof(request->front->nonce)),
			      request->usage_added, gate_served_text(request));
	dialect_observer_lend(&request->observer, &request->worker->workspace);
	metrics_add(&request->worker->metrics.streams, 1);
	request->slice_timer.fire = slice_timer_fired;
	if (request->admit_durable)
		start_stream(request);
	else
		http_call_pause(call, true);
}

static void call_body(struct http_call *call, struct bytes piece)
{
	struct gate_request *request = call->user;
	struct limits_refusal refusal;
	struct dialect_flow flow;
	gate_worker_turn(request->worker);
	if (request->told)
		return; /* nobody is given it any more */
	if (request->answer == ANSWER_PLAIN) {
		take_plain(request, piece);
		return;
	}
	gate_final_saw(request, piece);
	dialect_observer_feed(&request->observer, piece.data, piece.size, &flow);
	bool taken = take_flow(request, &flow);
	bool held = !request->unheld && !(request->front && request->front->held.failed);
	if (!taken || !held || flow.endless) {
		gate_request_cut(request, RECORD_ENDING_UPSTREAM_ERROR, gate_final_excess(request));
		return;
	}
	if (!take_slices(request, &refusal))
		wait_for_slice(request, &refusal);
	else if (end_where_it_ended(request))
		return;
	else if (request->exchange && http_unsent(request->exchange) > HTTP_SERVER_UNSENT_HIGH)
		http_call_pause(call, true);
}

static enum record_ending ending_of(const struct gate_request *request, const struct err *err)
{
	if (err->code == ERR_TIMEOUT)
		return RECORD_ENDING_TIMEOUT;
	if (err->code != ERR_OK)
		return request->status ? RECORD_ENDING_UPSTREAM_RESET
				       : RECORD_ENDING_UPSTREAM_ERROR;
	return request->status == 200 ? RECORD_ENDING_FINISH : RECORD_ENDING_UPSTREAM_ERROR;
}

static void call_ended(struct http_call *call, const struct err *err)
{
	struct gate_request *request = call->user;
	request->calling = false;
	if (request->told)
		return; /* its end is known already */
	if (err->code != ERR_OK)
		gate_account_upstream_failed(request, err->message);
	request->failure = err->code;
	request->ending = (uint8_t)ending_of(request, err);
	request->answer = ANSWER_OVER;
	gate_request_run(request);
}

void gate_request_cut(struct gate_request *request, enum record_ending ending, const char *reason)
{
	if (request->answer == ANSWER_OVER) {
		/* The end waits for its record, and will not be shown any more. */
		if (ending == RECORD_ENDING_REVOKED) {
			request->withheld = true;
			request->cut_reason = reason;
		}
		return;
	}
	if (request->calling)
		http_call_cancel(&request->call);
	request->calling = false;
	request->ending = (uint8_t)ending;
	request->cut_reason = reason;
	request->answer = ANSWER_OVER;
	if (request->exchange && request->started && ending == RECORD_ENDING_REVOKED &&
	    http_unsent(request->exchange) > 0) {
		http_cut(request->exchange); /* it does not read: what it has not got it never will
					      */
		request->exchange = NULL;
	}
	gate_request_run(request);
}

/* ---- revocation of many at once ---- */

#define EVENT_END "\n\n"

void gate_revoked_event(enum dialect_id dialect, const char *reason, struct buf *out)
{
	const struct ending_text *text = &ending_texts[RECORD_ENDING_REVOKED];
	struct buf message = BUF_INIT(out->max);
	buf_printf(&message, "%s: %s", text->text, reason);
	buf_append_cstr(out, EVENT_END);
	dialect_error_event(dialect,
			    &(struct dialect_error){.status = text->status,
						    .code = text->code,
						    .message = buf_bytes(&message)},
			    out);
	out->failed |= message.failed;
	buf_release(&message);
}

bool gate_request_tell_revoked(struct gate_request *request, struct bytes event)
{
	if (request->answer != ANSWER_STREAM || !request->started || !request->exchange)
		return false;
	size_t skip = dialect_observer_mid_event(&request->observer) ? 0 : strlen(EVENT_END);
	request->answer = ANSWER_OVER;
	request->ending = RECORD_ENDING_REVOKED;
	request->told = true;
	if (http_unsent(request->exchange) > 0) {
		http_cut(request->exchange); /* as in gate_request_cut */
		request->exchange = NULL;
	} else if (!request->observer.outcome.failed) {
		pass(request, bytes_of(event.data + skip, event.size - skip));
		request->error_sent = true;
	}
	return true;
}

/* ---- relay ---- */

static void end_stream(struct gate_request *request)
{
	struct dialect_flow flow;
	dialect_observer_end(&request->observer, &flow);
	/* An event that broke off is no part of the answer: an error takes its place. */
	if (request->ending == RECORD_ENDING_FINISH && request->observer.outcome.complete &&
	    !take_flow(request, &flow))
		request->ending = RECORD_ENDING_UPSTREAM_ERROR;
	gate_final_end(request);
	metrics_add(&request->worker->metrics.streams, -1);
	if (request->ending != RECORD_ENDING_FINISH)
		return;
	if (request->observer.outcome.failed)
		request->ending = RECORD_ENDING_UPSTREAM_ERROR;
	else if (!request->observer.outcome.complete)
		request->ending = RECORD_ENDING_UPSTREAM_RESET;
}

/* Whether a plain answer of the provider's, good or bad, has come to its end. */
static bool is_whole(const struct gate_request *request)
{
	return request->failure == ERR_OK && request->status != 0 &&
	       (request->ending == RECORD_ENDING_FINISH ||
		request->ending == RECORD_ENDING_UPSTREAM_ERROR);
}

static void end_plain(struct gate_request *request)
{
	struct bytes body = buf_bytes(&request->front->held);
	if (!is_whole(request)) {
		/* What had come was made and will be billed: an upper bound for its tokens. */
		if (request->status == 200)
			request->observer.outcome.text_bytes = body.size;
		return;
	}
	struct buf *text = request->sealed ? gate_sealed_text(request) : gate_served_text(request);
	json_t *calls = request->sealed ? gate_sealed_calls(request) : gate_served_calls(request);
	/* What is released is digested: the body itself, but for what is taken out of it. */
	struct sha256 *released = request->final ? NULL : &request->response_hash;
	if (request->status == 200 && request->use == ENDPOINT_USE_GENERATE)
		dialect_observe_body(request->dialect, body, answer_nonce(request),
				     &request->observer.outcome, text, calls, released,
				     &request->worker->workspace);
	else if (released)
		sha256_add_bytes(released, body);
	/* A 200 that holds no answer, or half of one: it is not passed on as if it were whole. */
	if (request->observer.outcome.unreadable) {
		request->ending = RECORD_ENDING_UPSTREAM_ERROR;
		request->failure = ERR_PROTOCOL;
		request->observer.outcome.text_bytes = body.size;
		return;
	}
	if (request->observer.outcome.failed)
		request->ending = RECORD_ENDING_UPSTREAM_ERROR;
	if (request->final) {
		gate_final_saw(request, body);
		gate_final_end(request);
		request->cut_reason = gate_final_excess(request);
		if (request->cut_reason || !gate_final_body(request)) {
			request->ending = RECORD_ENDING_UPSTREAM_ERROR;
			request->failure = ERR_PROTOCOL;
			return;
		}
		sha256_add_bytes(&request->response_hash, buf_bytes(&request->front->held));
	}
	request->has_response = true;
}

enum gate_next gate_step_relay(struct gate_request *request)
{
	if (request->answer != ANSWER_OVER)
		return GATE_WAIT;
	/* A stream that was over before its admit record was durable has not begun for the client.
	 */
	if (request->observing && !request->admit_durable)
		return GATE_WAIT;
	env_timer_disarm(request->worker->loop, &request->slice_timer);
	if (request->observing) {
		end_stream(request);
		/* An error event of the provider's own has gone through; else ours ends the stream.
		 */
		if (request->ending != RECORD_ENDING_FINISH && !request->observer.outcome.failed)
			send_error_event(request);
		else if (request->started)
			sha256_add_bytes(&request->response_hash, end_of(request));
	} else {
		end_plain(request);
	}
	gate_served_seen(request);
	return GATE_NEXT;
}

/* ---- records ---- */

void gate_request_admit_durable(struct log_entry *entry)
{
	struct gate_request *request =
		((struct gate_front *)((char *)entry - offsetof(struct gate_front, admit)))
			->request;
	bool revoked = request->withheld || request->ending == RECORD_ENDING_REVOKED;
	request->admit_written = true;
	if (request->admit_durable) { /* nobody waited for it, but perhaps for its text */
		forget_request(request);
		if (request->settle_submitted)
			gate_request_run(request);
		return;
	}
	request->admit_durable = true;
	if (!request->observing)
		return;
	if (!revoked) /* else nothing that is held may leave, and the client gets a plain error */
		start_stream(request);
	if (request->calling)
		read_on(request);
	else if (request->answer == ANSWER_OVER)
		gate_request_run(request);
}

void gate_request_drained(struct http_exchange *exchange)
{
	struct gate_request *request = exchange->user;
	if (request)
		read_on(request);
}

void gate_request_settle_durable(struct log_entry *entry)
{
	struct gate_text *text =
		(struct gate_text *)((char *)entry - offsetof(struct gate_text, entry));
	struct gate_request *request = text->request;
	if (!request) {
		gate_worker_lent_durable(text);
		return;
	}
	request->settle_durable = true;
	gate_account_recorded(request);
	gate_request_run(request);
}

/* ---- finish ---- */

static void finish_with_error(struct gate_request *request)
{
	struct ending_text text = text_of(request);
	gate_send_error(request, text.status, text.code, failure_message(request), text.retry);
}

/* The provider has answered with an error of its own. */
static void pass_plain(struct gate_request *request)
{
	struct http_header headers[24];
	bool ours = refuses_credential(request->status);
	if (request->sealed && request->status == 200 && request->ending == RECORD_ENDING_FINISH) {
		gate_send_verdict(request);
		return;
	}
	/* Nothing that the provider said of a sealed answer is repeated. */
	if (request->sealed && !ours) {
		bool theirs = request->status >= 400;
		gate_send_error(request, theirs ? request->status : 502, "upstream_error",
				failure_message(request),
				request->status == 429 || request->status >= 500);
		return;
	}
	if (ours) {
		gate_account_upstream_failed(request,
					     request->status == 401
						     ? "it refused the gateway's own key with 401; "
						       "look at `key` in `providers`"
						     : "it refused the gateway's own key with 403; "
						       "look at `key` in `providers`");
		gate_send_error(request, 502, "upstream_credential",
				BYTES("the provider refused the gateway's own credential"), false);
		return;
	}
	unsigned count = answer_headers(request, headers, 24);
	request->sent = request->front->held.size;
	request->client_status = request->status;
	http_respond(request->exchange, request->status, headers, count,
		     buf_bytes(&request->front->held));
}

/* What the kernel has not taken when the request is over can still be cut by a revocation. */
void gate_request_unsent(struct http_exchange *exchange)
{
	struct gate_request *request = exchange->user;
	struct arena *arena = &exchange->arena;
	if (!request || gateway_is_own_path(exchange) || !request->terms.key)
		return;
	const struct gate_terms *verdict = &request->terms;
	struct gate_answered *answered = arena_alloc(arena, sizeof(*answered));
	if (answered)
		*answered = (struct gate_answered){
			arena_copy(arena, bytes_from(verdict->key->id)),
			arena_copy(arena, bytes_from(verdict->grant->id)),
			arena_copy(arena, bytes_from(verdict->grant->org->id)),
			verdict->purpose,
		};
	exchange->user = arena->failed ? NULL : answered;
}

static void finish_stream(struct gate_request *request)
{
	if (request->withheld) {
		send_error_event(request);
	} else if (!request->error_sent) {
		struct bytes end = end_of(request);
		request->sent += end.size;
		http_send(request->exchange, end);
	}
	http_finish(request->exchange);
}

enum gate_next gate_step_finish(struct gate_request *request)
{
	bool plain = is_whole(request) && !request->observing && !request->withheld;
	request->answered = request->exchange != NULL;
	if (request->exchange && request->started)
		finish_stream(request);
	else if (request->exchange && plain)
		pass_plain(request);
	else if (request->exchange)
		finish_with_error(request);
	request->exchange = NULL; /* it may serve the next request already */
	gate_account_finished(request);
	return GATE_NEXT;
}
