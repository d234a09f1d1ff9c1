#include "gate/request.h"

#include "gate/account.h"
#include "gate/final.h"
#include "gate/gateway.h"
#include "watch/watch.h"
#include "gate/request_limits.h"
#include "gate/served.h"
#include "gate/usage.h"
#include "gate/verdict.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define SPARE_MAX 4096
#define WORDS_MAX ((size_t)64 << 20)
/* A body up to this size is read before a missing key is told, so that the connection can be kept.
 */
#define REFUSED_BODY_MAX 65536

static const struct gate_step *const first_step;

/* ---- a request's memory ---- */

static void list_add(struct gate_request *request)
{
	struct gate_worker *worker = request->worker;
	request->previous = NULL;
	request->next = worker->first;
	if (worker->first)
		worker->first->previous = request;
	worker->first = request;
	worker->live_count++;
}

static struct gate_request *new_request(struct gate_worker *worker, struct http_exchange *exchange)
{
	struct gate_request *request = worker->spare;
	struct json_scan *scan = exchange->user;
	struct gate_front *front = gate_worker_take_front(worker);
	exchange->user = NULL;
	if (!front)
		return NULL;
	if (request) {
		worker->spare = request->next;
		worker->spare_count--;
	} else {
		request = calloc(1, sizeof(*request));
		if (!request) {
			gate_worker_give_front(worker, front);
			return NULL;
		}
	}
	front->request = request;
	front->scan = scan;
	request->front = front;
	request->worker = worker;
	request->exchange = exchange;
	request->world = world_hold(worker->world);
	request->upstreams = gate_upstreams_hold(worker);
	request->step = first_step;
	request->started_ns = exchange->started_ns;
	request->received = exchange->body.size;
	request->peer_family = (uint8_t)exchange->peer.family;
	memcpy(request->peer_network, exchange->peer.ip, sizeof(request->peer_network));
	exchange->user = request;
	list_add(request);
	return request;
}

static void list_remove(struct gate_request *request)
{
	struct gate_worker *worker = request->worker;
	if (request->previous)
		request->previous->next = request->next;
	else
		worker->first = request->next;
	if (request->next)
		request->next->previous = request->previous;
	worker->live_count--;
}

struct arena *gate_request_arena(struct gate_request *request)
{
	if (request->front)
		return &request->front->arena;
	return request->exchange ? &request->exchange->arena : NULL;
}

void gate_request_free(struct gate_request *request)
{
	struct gate_worker *worker = request->worker;
	list_remove(request);
	assert(!request->calling && !request->reservation.open);
	env_timer_disarm(worker->loop, &request->slice_timer);
	if (request->observing)
		dialect_observer_release(&request->observer);
	dialect_outcome_release(&request->observer.outcome);
	if (request->admitted)
		watch_end(request->terms.key->watch);
	gate_room_return(request);
	gate_final_release(request);
	gate_sealed_release(request);
	gate_served_release(request);
	if (request->sample)
		gate_worker_give_sample(worker, request->sample);
	world_drop(request->world);
	gate_upstreams_drop(worker, request->upstreams);
	if (request->front)
		gate_worker_give_front(worker, request->front);
	net_budget_charge(gateway_budget(worker->gateway), &request->charged, 0);
	if (worker->passes == request)
		worker->passes = NULL;
	if (worker->spare_count >= SPARE_MAX) {
		free(request);
	} else {
		memset(request, 0, GATE_REQUEST_ZEROED);
		memset(&request->observer.outcome, 0, sizeof(request->observer.outcome));
		request->next = worker->spare;
		worker->spare = request;
		worker->spare_count++;
	}
	gate_worker_request_over(worker);
}

/* ---- its sample ---- */

static void release_sample(struct gate_request *request)
{
	if (request->sample)
		binding_release(&request->sample->hold);
}

static void keep_sample(struct gate_request *request)
{
	if (request->sample)
		binding_keep(&request->sample->hold);
}

/* False where there is none, or no memory for it: the verdict is a refusal then. */
static bool take_sample(struct gate_request *request)
{
	struct gate_front *front = request->front;
	struct binding_hold hold = {0};
	if (!policy_take_sample(&front->verdict, &front->facts, &hold))
		return false;
	if (!hold.run)
		return true;
	request->sample = gate_worker_take_sample(request->worker);
	if (request->sample) {
		request->sample->hold = hold;
		return true;
	}
	binding_release(&hold);
	policy_refuse(&front->verdict, RULE_GATEWAY_BUSY, "out of memory");
	return false;
}

void gate_request_abandon(struct gate_request *request)
{
	if (request->calling)
		http_call_cancel(&request->call);
	request->calling = false;
	if (request->front && request->front->opening)
		gateway_forget_opening(request->front->opening);
	if (request->front && request->front->room_waits)
		gate_room_leave(request);
	request->reserved_units = 0; /* the log may be closed */
	if (request->settle_text)
		gate_worker_give_text(request->worker, request->settle_text);
	if (request->exchange)
		request->exchange->user = NULL;
	gate_limits_cancel(request);
	release_sample(request);
	gate_request_free(request);
}

/* ---- read ---- */

/* Keeps what lasts of the verdict, as far as the decision came. */
static void keep_terms(struct gate_request *request)
{
	const struct verdict *verdict = &request->front->verdict;
	const struct policy_request *facts = &request->front->facts;
	request->terms = (struct gate_terms){
		.key = verdict->key,
		.grant = verdict->grant,
		.model = verdict->model,
		.suite = verdict->suite,
		.run = verdict->run,
		.clause = verdict->clause,
		.observed_clause = verdict->observed_clause,
		.rule = (uint8_t)verdict->rule,
		.observed = (uint8_t)verdict->observed,
		.purpose = (uint8_t)verdict->purpose,
		.release = (uint8_t)verdict->release,
		.leaf = verdict->pick.leaf,
		.unbound = verdict->unbound,
		.asked_output = facts->max_output > 0 ? (uint32_t)facts->max_output : 0,
		.answers = (uint8_t)facts->n,
	};
}

static enum gate_next refuse(struct gate_request *request)
{
	keep_terms(request);
	gate_room_return(request);
	bool recorded = gate_submit_refusal(request);
	/* What of it cannot be sent at once stays with the connection, and is nobody's answer. */
	request->exchange->user = NULL;
	gate_account_refused(request);
	gate_send_refusal(request);
	gate_account_told(request);
	request->exchange = NULL;
	if (!recorded)
		gate_request_free(request);
	return GATE_DONE;
}

/* In mode observe a refusal by policy alone is told and not made. */
static bool let_through(struct gate_request *request)
{
	struct gate_front *front = request->front;
	bool through = request->worker->observe && policy_observe(&front->facts, &front->verdict);
	if (through)
		keep_terms(request);
	return through;
}

static enum gate_next refuse_by(struct gate_request *request, enum rule rule, const char *detail)
{
	policy_refuse(&request->front->verdict, rule, detail);
	return refuse(request);
}

static struct bytes known(const struct http_exchange *exchange, enum http_field_id id)
{
	return http_known(exchange->head, exchange->head_bytes.data, id);
}

enum endpoint_use gate_endpoint_use(enum endpoint_kind kind)
{
	static const enum endpoint_use uses[] = {
		[ENDPOINT_NONE] = ENDPOINT_USE_UNKNOWN,
		[ENDPOINT_MESSAGES] = ENDPOINT_USE_GENERATE,
		[ENDPOINT_COUNT_TOKENS] = ENDPOINT_USE_COUNT_TOKENS,
		[ENDPOINT_CHAT_COMPLETIONS] = ENDPOINT_USE_GENERATE,
		[ENDPOINT_RESPONSES] = ENDPOINT_USE_GENERATE,
		[ENDPOINT_GENERATE_CONTENT] = ENDPOINT_USE_GENERATE,
		[ENDPOINT_MODELS] = ENDPOINT_USE_MODELS,
	};
	return uses[kind];
}

/* What the head says. */
static void read_head(struct gate_request *request)
{
	struct http_exchange *exchange = request->exchange;
	const char *data = exchange->head_bytes.data;
	struct bytes path = http_bytes(data, exchange->head->path);
	bool versioned = http_has(exchange->head, HTTP_FIELD_ANTHROPIC_VERSION);
	request->endpoint =
		dialect_endpoint_find(http_bytes(data, exchange->head->method), path, versioned);
	if (http_has(exchange->head, HTTP_FIELD_GOOGLE_API_KEY))
		request->endpoint = dialect_gemini_list(request->endpoint);
	request->dialect = (uint8_t)(request->endpoint ? request->endpoint->dialect
						       : dialect_guess(path, versioned));
	struct policy_request *facts = &request->front->facts;
	facts->max_output = -1;
	facts->n = 1;
	facts->wall_ms = exchange->loop->wall_ms;
	facts->dialect = request->dialect;
	facts->endpoint = request->endpoint ? gate_endpoint_use(request->endpoint->kind)
					    : ENDPOINT_USE_UNKNOWN;
	request->use = (uint8_t)facts->endpoint;
	facts->wants_verdict = bytes_is(known(exchange, HTTP_FIELD_PARLEY_ACCEPT), "verdict");
	facts->run = known(exchange, HTTP_FIELD_PARLEY_RUN);
	gate_read_credential(exchange, facts);
	gate_read_peer(exchange, facts);
}

/* Whether a Content-Type names no other character set (RFC 9110, 5.6.6: parameters). */
static bool is_utf8_type(struct bytes type)
{
	bytes_split(type, ';', &type);
	while (type.size) {
		struct bytes value, parameter = bytes_split(type, ';', &type);
		struct bytes name = bytes_trim(bytes_split(parameter, '=', &value));
		value = bytes_trim(value);
		if (bytes_equal_fold(name, BYTES("charset")) &&
		    !bytes_equal_fold(value, BYTES("utf-8")) &&
		    !bytes_equal_fold(value, BYTES("\"utf-8\"")))
			return false;
	}
	return true;
}

/* Bodies in another coding or character set are not what the scanner reads. */
static const char *coding_problem(const struct http_exchange *exchange)
{
	struct bytes coding = known(exchange, HTTP_FIELD_CONTENT_ENCODING);
	struct bytes type = known(exchange, HTTP_FIELD_CONTENT_TYPE);
	if (coding.size && !bytes_equal_fold(coding, BYTES("identity")))
		return "Content-Encoding must be identity";
	return is_utf8_type(type) ? NULL : "the body must be UTF-8";
}

/* The canonical words and settings, where the grant binds them. */
static void read_words(struct gate_request *request)
{
	struct gate_front *front = request->front;
	struct buf words = BUF_INIT(WORDS_MAX), settings = BUF_INIT(WORDS_MAX);
	struct bytes body = request->exchange->body;
	json_t *tree = NULL;
	front->settings = arena_alloc_zero(&front->arena, sizeof(*front->settings));
	if (front->settings &&
	    dialect_words(request->dialect, body, &words, &settings, NULL) == ERR_OK &&
	    (tree = json_tree(buf_bytes(&settings))) &&
	    binding_settings_from_json(tree, front->settings, NULL) == ERR_OK) {
		sha256_of(words.data, words.size, front->words_digest);
		front->facts.words_digest = front->words_digest;
		front->facts.settings = front->settings;
		if (front->claim)
			leaf_claim_set_words(front->claim, buf_bytes(&words));
		front->facts.claim = front->claim;
		gate_read_script(request, buf_bytes(&words));
	}
	json_decref(tree);
	buf_release(&words);
	buf_release(&settings);
}

/* `parley-leaf`, where the request has it; false with `err` set where it cannot be read. */
static bool read_claim(struct gate_request *request, struct err *err)
{
	struct gate_front *front = request->front;
	struct bytes field = known(request->exchange, HTTP_FIELD_PARLEY_LEAF);
	if (!field.size)
		return true;
	front->claim = arena_alloc(&front->arena, sizeof(*front->claim));
	const char *problem = front->claim ? leaf_claim_parse(field, front->claim)
					   : "there is no memory to read it";
	return !problem || ERR_SET(err, ERR_INVALID, "parley-leaf: %s", problem) == ERR_OK;
}

/* The facts of the body in the dialect of its endpoint, or, once the model has told its provider,
 * in the variant of it that the provider has. */
static enum err_code read_facts(struct gate_request *request, struct err *err)
{
	struct gate_front *front = request->front;
	struct http_exchange *exchange = request->exchange;
	struct dialect_route route = {request->endpoint, request->dialect,
				      http_bytes(exchange->head_bytes.data, exchange->head->path)};
	ERR_TRY(dialect_request_read(&route, front->scan, exchange->body, &front->body, err));
	if (route.dialect != DIALECT_OPENAI)
		return ERR_OK;
	const struct world_model *model = world_find_model(request->world, front->body.model);
	if (model)
		route.dialect = dialect_variant(route.dialect, model->provider->dialect);
	if (route.dialect == request->dialect)
		return ERR_OK;
	request->dialect = (uint8_t)route.dialect;
	return dialect_request_read(&route, front->scan, exchange->body, &front->body, err);
}

void gate_body_facts(const struct dialect_request *body, struct policy_request *facts)
{
	facts->model = body->model;
	facts->max_output = body->max_output;
	facts->n = body->n;
	facts->stream = body->stream;
	facts->logprobs = body->flags & DIALECT_LOGPROBS;
	facts->logit_bias = body->flags & DIALECT_LOGIT_BIAS;
	if (body->unknown_count)
		facts->unknown_member = body->unknown[0];
}

/* The facts of the body; false with `err` set where it cannot be read. */
static bool read_body(struct gate_request *request, struct err *err)
{
	struct gate_front *front = request->front;
	struct bytes body = request->exchange->body;
	struct policy_request *facts = &front->facts;
	const char *problem = coding_problem(request->exchange);
	if (problem)
		return ERR_SET(err, ERR_INVALID, "%s", problem) == ERR_OK;
	if (!front->scan) {
		front->scan = &request->worker->scan;
		json_scan_start(front->scan);
	}
	if (json_scan_rest(front->scan, body, "the body", err) != ERR_OK ||
	    read_facts(request, err) != ERR_OK)
		return false;
	gate_body_facts(&front->body, facts);
	request->streams = facts->stream;
	if (policy_needs_words(request->front->verdict.grant, facts->endpoint)) {
		struct bytes type;
		facts->non_text = dialect_request_non_text(&front->body, front->scan, body, &type);
		if (!read_claim(request, err))
			return false;
		read_words(request);
	}
	return true;
}

static void list_models(struct gate_request *request)
{
	const struct world_grant *grant = request->front->verdict.grant;
	struct buf *out = &request->front->held;
	unsigned count = 0;
	struct bytes *names =
		arena_alloc(&request->front->arena, (grant->model_count + 1) * sizeof(*names));
	for (unsigned i = 0; names && i < grant->model_count; i++) {
		/* Gemini's list says what each model can be asked for. */
		bool shown = request->dialect != DIALECT_GEMINI ||
			     grant->models[i]->provider->dialect == DIALECT_GEMINI;
		if (shown)
			names[count++] = bytes_from(grant->models[i]->id);
	}
	dialect_models(request->dialect, names, count, grant->from_ms / 1000, out);
	struct http_header type = {"content-type", BYTES("application/json")};
	request->exchange->user = NULL;
	keep_terms(request);
	request->client_status = 200;
	request->sent = out->size;
	http_respond(request->exchange, 200, &type, 1, buf_bytes(out));
	gate_account_listed(request);
}

static struct bytes query_of(const struct gate_request *request)
{
	const struct http_exchange *exchange = request->exchange;
	return http_bytes(exchange->head_bytes.data, exchange->head->query);
}

/* No credential could be read: none was sent, it stood in the query, or there are two. */
static enum gate_next refuse_keyless(struct gate_request *request)
{
	if (gate_credentials_differ(request->exchange))
		return refuse_by(request, RULE_REQUEST_SYNTAX,
				 "two credential fields do not hold one key; send one");
	if (dialect_query_has_key(query_of(request)))
		return refuse_by(request, RULE_KEY_MISSING,
				 "a key in the query is not read, for queries end up in logs: send "
				 "it as x-goog-api-key");
	return refuse(request);
}

static enum gate_next step_read(struct gate_request *request)
{
	struct err err = ERR_INIT;
	metrics_add(&request->worker->metrics.requests, 1);
	read_head(request);
	enum gate_proof extent = request->head_only ? GATE_PROOF_HEAD : GATE_PROOF_WHOLE;
	if (!gate_prove_sender(request->worker, request->exchange, &request->front->facts,
			       extent)) {
		request->front->retry_after_ms = 1000;
		return refuse_by(request, RULE_GATEWAY_BUSY, request->front->facts.sender.problem);
	}
	policy_authenticate(request->world, &request->front->facts, &request->front->verdict);
	if (!request->front->facts.has_key)
		return refuse_keyless(request);
	if (request->front->verdict.outcome != POLICY_ADMIT &&
	    !(request->worker->observe && policy_observe_head(&request->front->verdict)))
		return refuse(request);
	if (!request->endpoint)
		return refuse_by(request, RULE_ENDPOINT_UNKNOWN, NULL);
	const char *problem = dialect_query_problem(request->endpoint, query_of(request));
	if (problem)
		return refuse_by(request, RULE_REQUEST_SYNTAX, problem);
	if (request->endpoint->kind == ENDPOINT_MODELS) {
		list_models(request);
		gate_request_free(request);
		return GATE_DONE;
	}
	if (!read_body(request, &err))
		return refuse_by(request, RULE_REQUEST_SYNTAX, err.message);
	return GATE_NEXT;
}

/* ---- decide ---- */

/* After waiting, the decision is made again in the present world. False: the client is gone. */
static bool decides_again(struct gate_request *request)
{
	request->waits_for_run = request->waits_for_grader = false;
	request->front->room_since_ns = 0;
	if (!request->exchange) {
		gate_account_left(request);
		gate_request_free(request);
		return false;
	}
	world_drop(request->world);
	request->world = world_hold(request->worker->world);
	gate_upstreams_drop(request->worker, request->upstreams);
	request->upstreams = gate_upstreams_hold(request->worker);
	return true;
}

/* What is admitted and sealed goes on only where somebody is there to judge it. */
static enum gate_next find_grader(struct gate_request *request)
{
	if (!gate_is_sealed(request))
		return GATE_NEXT;
	switch (gate_grader_ready(request)) {
	case GATE_READY_YES:
		return GATE_NEXT;
	case GATE_READY_WAIT:
		request->waits_for_grader = true;
		return GATE_WAIT;
	case GATE_READY_NO:
		break;
	}
	request->front->retry_after_ms = 1000;
	return refuse_by(request, RULE_GRADE_UNAVAILABLE,
			 "the operator has to run parley grade; nothing was sent upstream");
}

/* The last thing to decide: what is admitted must find room for its records. */
static enum gate_next find_room(struct gate_request *request)
{
	switch (gate_room_take(request)) {
	case GATE_PLACE_TAKEN:
		return GATE_NEXT;
	case GATE_PLACE_WAITS:
		return GATE_WAIT;
	case GATE_PLACE_NONE:
		break;
	}
	request->front->retry_after_ms = 1000;
	return refuse_by(request, RULE_LOG_UNAVAILABLE, NULL);
}

static enum gate_next step_decide(struct gate_request *request)
{
	bool waits = request->waits_for_run || request->waits_for_grader ||
		     request->front->room_since_ns;
	enum gate_next next;
	if (request->front->room_waits)
		return GATE_WAIT;
	if (request->waits_for_run && !request->run_opened)
		return GATE_WAIT;
	if (request->waits_for_grader && gate_grader_ready(request) == GATE_READY_WAIT)
		return GATE_WAIT;
	if (waits && !decides_again(request))
		return GATE_DONE;
	struct verdict *verdict = &request->front->verdict;
	if (!waits && verdict->outcome == POLICY_ADMIT && verdict->observed == RULE_NONE)
		policy_decide_rest(&request->front->facts, verdict);
	else
		policy_decide(request->world, &request->front->facts, verdict);
	keep_terms(request);
	switch (verdict->outcome) {
	case POLICY_ADMIT:
		next = find_grader(request);
		return next == GATE_NEXT ? find_room(request) : next;
	case POLICY_OPEN_RUN:
		if (!request->run_opened && gateway_open_run(request)) {
			request->waits_for_run = true;
			return GATE_WAIT;
		}
		break;
	case POLICY_REFUSE:
		break;
	}
	return let_through(request) ? find_room(request) : refuse(request);
}

void gate_request_run_opened(struct gate_request *request, enum err_code code,
			     const struct err *err)
{
	(void)code; /* where it failed, deciding again refuses and says what is missing */
	(void)err;
	request->front->opening = NULL;
	request->run_opened = true;
	gate_request_run(request);
}

/* ---- reserve ---- */

static enum gate_next step_reserve(struct gate_request *request)
{
	struct limits_refusal refusal;
	request->prompt_bytes = request->front->body.prompt_bytes;
	request->most_output =
		gate_limits_most_output(&request->front->facts, &request->front->verdict);
	if (!take_sample(request) && !let_through(request))
		return refuse(request);
	if (!gate_limits_reserve(request, &refusal)) {
		/* Let through, it takes nothing: the limits stand as if it had been refused. */
		policy_refuse_limit(&request->front->verdict, &refusal);
		if (!let_through(request)) {
			release_sample(request);
			request->front->retry_after_ms = refusal.retry_after_ms;
			return refuse(request);
		}
	}
	return GATE_NEXT;
}

/* ---- admit ---- */

static enum gate_next step_admit(struct gate_request *request)
{
	if (request->admitted)
		return request->admit_submitted ? GATE_NEXT : GATE_WAIT;
	if (!gate_submit_admit(request)) {
		release_sample(request);
		gate_limits_cancel(request);
		return refuse_by(request, RULE_GATEWAY_BUSY, "out of memory");
	}
	gate_account_admitted(request);
	return request->admit_submitted ? GATE_NEXT : GATE_WAIT;
}

/* ---- settle ---- */

static void settle_limits(struct gate_request *request, const struct record_usage *usage)
{
	gate_limits_settle(request, usage);
	if (request->ending == RECORD_ENDING_FINISH && usage->output > 0)
		limits_observe_output(request->terms.grant->cells, (int64_t)usage->output);
	if (request->status == 200 && !gate_is_ungraded(request)) {
		gate_served_keep(request);
		keep_sample(request);
	} else {
		release_sample(request);
	}
}

/* Settling cannot fail, but where memory is out it waits until another has settled. */
static bool take_text(struct gate_request *request)
{
	struct gate_worker *worker = request->worker;
	if (request->waits_for_text)
		return false;
	request->settle_text = gate_worker_take_text(worker);
	if (request->settle_text)
		return true;
	request->waits_for_text = true;
	request->next_text = worker->text_waiting;
	worker->text_waiting = request;
	return false;
}

static enum gate_next step_settle(struct gate_request *request)
{
	if (!request->settle_submitted) {
		if (!take_text(request))
			return GATE_WAIT;
		struct record_usage *usage = &request->settle_text->usage;
		*usage = gate_usage(request);
		request->settle_submitted = true;
		settle_limits(request, usage);
		gate_account_settled(request, usage);
		gate_submit_settle(request, usage);
	}
	return request->settle_durable || request->worker->relaxed ? GATE_NEXT : GATE_WAIT;
}

/* ---- retire ---- */

/* The log borrows texts of the request until both records are written. With `relaxed` nobody waits
 * for that: the admit record's was a copy, and the settle record's is left with the log. */
static enum gate_next step_retire(struct gate_request *request)
{
	struct gate_worker *worker = request->worker;
	struct gate_text *text = request->settle_text;
	if (request->retiring)
		return GATE_WAIT;
	if (request->settle_durable) {
		request->settle_text = NULL;
		gate_worker_give_text(worker, text);
		gate_request_free(request);
		return GATE_DONE;
	}
	if (worker->relaxed && request->admit_written) {
		request->settle_text = NULL;
		gate_worker_lend_text(worker, text);
		gate_account_recorded(request);
		gate_worker_retire(worker, request);
	}
	return GATE_WAIT;
}

/* So many keep their memory at most while the worker is busy. */
#define RETIRING_MANY 32

static void retire_now(struct env_message *message)
{
	struct gate_worker *worker =
		(struct gate_worker *)((char *)message -
				       offsetof(struct gate_worker, retire_message));
	worker->retire_posted = false;
	gate_worker_free_retiring(worker);
}

void gate_worker_retire(struct gate_worker *worker, struct gate_request *request)
{
	request->retiring = true;
	request->next_text = worker->retiring;
	worker->retiring = request;
	worker->loop->idle_wanted = true;
	if (++worker->retiring_count < RETIRING_MANY || worker->retire_posted)
		return;
	worker->retire_posted = true;
	worker->retire_message.run = retire_now;
	env_post(worker->loop, &worker->retire_message);
}

void gate_worker_free_retiring(struct gate_worker *worker)
{
	while (worker->retiring) {
		struct gate_request *request = worker->retiring;
		worker->retiring = request->next_text;
		gate_request_free(request);
	}
	worker->retiring_count = 0;
}

/* ---- the dispatcher ---- */

static const struct gate_step steps[] = {
	{"read",    step_read        },
        {"decide",  step_decide      },
        {"reserve", step_reserve     },
	{"admit",   step_admit       },
        {"forward", gate_step_forward},
        {"relay",   gate_step_relay  },
	{"grade",   gate_step_grade  },
        {"settle",  step_settle      },
        {"finish",  gate_step_finish },
	{"retire",  step_retire      },
};

static const struct gate_step *const first_step = steps;

void gate_request_run(struct gate_request *request)
{
	if (request->running || request->told)
		return; /* the step that is running, or is to be, will see what happened */
	request->running = true;
	for (;;) {
		assert(request->step < steps + sizeof(steps) / sizeof(steps[0]));
		enum gate_next next = request->step->run(request);
		if (next == GATE_DONE)
			return;
		if (next == GATE_WAIT)
			break;
		request->step++;
	}
	request->running = false;
}

/* ---- the server's handlers ---- */

/* A large body is scanned as it comes, so that its end costs no more than that of a small one.
 * Until the request is complete, the exchange's `user` is the scan. */
void gate_request_progress(struct http_exchange *exchange)
{
	struct json_scan *scan = exchange->user;
	if (gateway_is_own_path(exchange))
		return;
	if (!scan) {
		scan = arena_alloc(&exchange->arena, sizeof(*scan));
		if (!scan)
			return; /* it is scanned at the end */
		json_scan_start(scan);
		exchange->user = scan;
	}
	if (scan->refusal == JSON_SCAN_OK)
		json_scan_feed(scan, exchange->body.data + scan->size,
			       exchange->body.size - scan->size);
}

/* `head_only`: what the head says is enough to refuse it. */
static void arrive(struct http_exchange *exchange, bool head_only)
{
	struct gate_worker *worker = exchange->server_user;
	struct gate_request *request = new_request(worker, exchange);
	if (!request) {
		http_respond(exchange, 503, NULL, 0, BYTES("out of memory\n"));
		return;
	}
	request->head_only = head_only;
	gate_request_run(request);
}

void gate_request_arrived(struct http_exchange *exchange)
{
	if (gateway_is_own_path(exchange))
		gateway_own_arrived(exchange->server_user, exchange);
	else
		arrive(exchange, false);
}

/* A chunked body may become as large as is allowed; it is checked again as it grows. */
static bool has_memory(struct gate_worker *worker, const struct http_head *head, size_t body_max)
{
	struct net_budget *budget = gateway_budget(worker->gateway);
	bool longer = head->body == HTTP_BODY_LENGTH && head->content_length > body_max;
	size_t announced = head->body == HTTP_BODY_LENGTH ? (size_t)head->content_length : 0;
	return longer || net_budget_has_room(budget, announced);
}

/* Limits that have nothing left for the least that a request to the endpoint can want. In mode
 * observe no limit stands in the way. */
static bool limits_pass(struct gate_worker *worker, const struct dialect_endpoint *endpoint,
			struct verdict *verdict, int64_t *retry_after_ms)
{
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	struct limits_clock clock = {worker->loop->now_ns, worker->loop->wall_ms};
	bool generates = gate_endpoint_use(endpoint->kind) == ENDPOINT_USE_GENERATE;
	struct limits_wants least = {generates, generates, 0};
	struct limits_refusal refusal;
	if (worker->observe)
		return true;
	verdict->purpose = (enum purpose)__builtin_ctz(verdict->grant->purposes);
	unsigned count = policy_scopes(verdict, scopes);
	if (limits_may_reserve(scopes, count, &clock, least, &refusal))
		return true;
	policy_refuse_limit(verdict, &refusal);
	*retry_after_ms = refusal.retry_after_ms;
	return false;
}

static void refuse_early(struct http_exchange *exchange, const struct verdict *verdict,
			 int64_t retry_after_ms)
{
	struct gate_request *request = new_request(exchange->server_user, exchange);
	if (!request) {
		http_respond(exchange, 503, NULL, 0, BYTES("out of memory\n"));
		return;
	}
	metrics_add(&request->worker->metrics.requests, 1);
	read_head(request);
	request->front->verdict = *verdict;
	request->front->retry_after_ms = retry_after_ms;
	refuse(request);
}

/* A client that asks before it sends is told to go on only if nothing that is known already stands
 * against its request (RFC 9110, section 10.1.1). A length that is too long is refused by the
 * server, whatever its limits. */
static void answer_expectation(struct http_exchange *exchange, struct verdict *verdict)
{
	struct gate_worker *worker = exchange->server_user;
	const struct http_head *head = exchange->head;
	const char *data = exchange->head_bytes.data;
	bool versioned = http_has(head, HTTP_FIELD_ANTHROPIC_VERSION);
	const struct dialect_endpoint *endpoint = dialect_endpoint_find(
		http_bytes(data, head->method), http_bytes(data, head->path), versioned);
	int64_t retry_after_ms = 0;
	if (!endpoint || dialect_query_problem(endpoint, http_bytes(data, head->query)) ||
	    coding_problem(exchange))
		gate_request_arrived(exchange); /* finds the same, and tells it */
	else if (!limits_pass(worker, endpoint, verdict, &retry_after_ms) &&
		 !(head->body == HTTP_BODY_LENGTH && head->content_length > worker->max_body))
		refuse_early(exchange, verdict, retry_after_ms);
}

/* With a large body to come, or a client that asks first, a missing or unknown key is told before
 * anything is read. */
void gate_request_head(struct http_exchange *exchange, size_t *body_max)
{
	struct gate_worker *worker = exchange->server_user;
	struct http_head *head = exchange->head;
	bool small = head->body != HTTP_BODY_CHUNKED && head->content_length <= REFUSED_BODY_MAX;
	*body_max = worker->max_body;
	if (!has_memory(worker, head, *body_max)) {
		gate_request_refused_below(exchange, 503,
					   "its memory for bodies and answers is used up");
		return;
	}
	if (small && !head->expect_continue)
		return;
	bool own = gateway_is_own_path(exchange);
	struct policy_request facts = {
		.wall_ms = exchange->loop->wall_ms, .max_output = -1, .n = 1};
	struct verdict verdict;
	gate_read_credential(exchange, &facts);
	gate_read_peer(exchange, &facts);
	gate_prove_sender(worker, exchange, &facts, GATE_PROOF_HEAD);
	policy_authenticate(worker->world, &facts, &verdict);
	if (verdict.outcome == POLICY_ADMIT || (worker->observe && policy_observe_head(&verdict))) {
		if (head->expect_continue && !own)
			answer_expectation(exchange, &verdict);
		return;
	}
	if (!own) {
		arrive(exchange, true);
		return;
	}
	/* Parley's own paths answer later, when the whole request is here: it must not be long, and
	 * who has no key is not asked for it. */
	if (*body_max > REFUSED_BODY_MAX)
		*body_max = REFUSED_BODY_MAX;
	if (head->expect_continue && rule_http_status(verdict.rule) == 401)
		gateway_own_refuse(exchange, 401, rule_text(verdict.rule), rule_id(verdict.rule));
}

/* Its client is gone. */
static void leave_room(struct gate_request *request)
{
	gate_room_leave(request);
	gate_account_left(request);
	gate_request_free(request);
}

void gate_request_aborted(struct http_exchange *exchange)
{
	if (gateway_is_own_path(exchange)) {
		gateway_own_aborted(exchange);
		return;
	}
	struct gate_request *request = exchange->user;
	if (!request)
		return; /* it was abandoned */
	if (request->admitted && !request->admit_submitted)
		gate_submit_waiting(request->worker); /* which reads its body */
	request->exchange = NULL;
	if (!request->admitted) {
		if (request->front->room_waits)
			leave_room(request);
		return; /* else it waits for a run or a grader, which ends it */
	}
	if (request->answer != ANSWER_OVER)
		gate_request_cut(request, RECORD_ENDING_CLIENT_GONE, NULL);
}

void gate_request_refused_below(struct http_exchange *exchange, int status, const char *reason)
{
	struct gate_worker *worker = exchange->server_user;
	enum rule rule = status == 413   ? RULE_REQUEST_TOO_LARGE
			 : status == 408 ? RULE_REQUEST_TIMEOUT
			 : status == 503 ? RULE_GATEWAY_BUSY
					 : RULE_REQUEST_SYNTAX;
	struct gate_request *request = new_request(worker, exchange);
	if (!request) {
		http_respond(exchange, 503, NULL, 0, BYTES("out of memory\n"));
		return;
	}
	if (exchange->head_bytes.size) /* the head was complete */
		read_head(request);
	else
		request->dialect = DIALECT_OPENAI;
	request->status = status;
	request->front->retry_after_ms = rule == RULE_GATEWAY_BUSY ? 1000 : 0;
	refuse_by(request, rule, reason);
}
