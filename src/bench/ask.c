/* Sending requests: which task comes next, how many at once, and when a failed one is tried again.
 *
 * Each model has a window of requests that may be in flight (pace.h), at most the plan's
 * concurrency. Where the plan has a budget, each has its most set aside first (budget.h). */
#include "bench/run.h"

#include "base/encode.h"
#include "bench/budget.h"
#include "bench/cache.h"
#include "bench/proxy.h"
#include "suite/words.h"

#include <stdio.h>
#include <stdlib.h>

#define REQUEST_BODY_MAX ((size_t)40 << 20)
#define REPLAYS_PER_TURN 64u /* answers out of files, before others have their turn */
#define LEAF_FIELD_MAX 2048u
#define BUFFER_KEPT_MAX ((size_t)64 << 10)

/* ---- requests that are used again ---- */

static void release_request(struct request *request)
{
	buf_release(&request->head);
	buf_release(&request->body);
	buf_release(&request->response);
	free(request);
}

struct request *ask_take_request(struct run_model *model)
{
	struct request *request = model->free;
	if (request) {
		model->free = request->next;
	} else {
		request = calloc(1, sizeof(*request));
		if (!request)
			return NULL;
		request->model = model;
		buf_init(&request->head, 16384);
		buf_init(&request->body, REQUEST_BODY_MAX);
		buf_init(&request->response, RUN_RESPONSE_MAX);
	}
	request->next = model->in_flight;
	request->previous = NULL;
	if (model->in_flight)
		model->in_flight->previous = request;
	model->in_flight = request;
	model->in_flight_count++;
	return request;
}

static void reset_buffer(struct buf *buf)
{
	if (buf->capacity > BUFFER_KEPT_MAX)
		buf_release(buf);
	buf_clear(buf);
}

/* Back to the free list; nothing becomes possible by it. */
static void put_back(struct request *request)
{
	struct run_model *model = request->model;
	if (request->proxied)
		proxied_over(request);
	request->proxied = NULL;
	request->streamed = false;
	if (request->previous)
		request->previous->next = request->next;
	else
		model->in_flight = request->next;
	if (request->next)
		request->next->previous = request->previous;
	model->in_flight_count--;
	env_timer_disarm(model->run->loop, &request->deadline);
	budget_give_back(model->run, request);
	if (request->item_held)
		suite_item_release(&request->item);
	request->item_held = false;
	reset_buffer(&request->head);
	reset_buffer(&request->body);
	reset_buffer(&request->response);
	request->cached = false;
	request->next = model->free;
	model->free = request;
}

void ask_finish_request(struct request *request)
{
	put_back(request);
	run_wake(request->model->run);
}

void ask_release(struct run_model *model)
{
	while (model->in_flight)
		ask_finish_request(model->in_flight);
	while (model->free) {
		struct request *request = model->free;
		model->free = request->next;
		release_request(request);
	}
	while (heap_first(&model->waiting)) {
		struct heap_node *node = heap_first(&model->waiting);
		heap_remove(&model->waiting, node);
		free(node);
	}
	heap_release(&model->waiting);
	if (model->timer.fire)
		env_timer_disarm(model->run->loop, &model->timer);
}

/* ---- again, later ---- */

static void timer_fired(struct env_timer *timer)
{
	struct run_model *model =
		(struct run_model *)((char *)timer - offsetof(struct run_model, timer));
	run_wake(model->run);
}

static void arm(struct run_model *model)
{
	const struct heap_node *first = heap_first(&model->waiting);
	uint64_t at = first ? first->key : UINT64_MAX;
	uint64_t held = model->pace.hold_until_ns;
	if (at < held || (!first && held > model->run->loop->now_ns))
		at = held;
	if (at == UINT64_MAX)
		return;
	model->timer.fire = timer_fired;
	env_timer_arm(model->run->loop, &model->timer, at);
}

void ask_later(struct run *run, struct cell *cell, size_t index, uint64_t delay_ms)
{
	struct run_model *model = &run->models[cell_asks(cell)];
	struct waiting_task *waiting = calloc(1, sizeof(*waiting));
	if (waiting) {
		waiting->cell = cell;
		waiting->index = index;
		waiting->node.key = run->loop->now_ns + delay_ms * 1000000u;
	}
	if (!waiting || !heap_push(&model->waiting, &waiting->node)) {
		free(waiting);
		cell_set(cell, index, TASK_READY); /* sooner than wished, but not lost */
		return;
	}
	cell_set(cell, index, TASK_WAITING);
	arm(model);
}

static void wake_waiting(struct run_model *model)
{
	struct heap_node *node;
	while ((node = heap_first(&model->waiting)) && node->key <= model->run->loop->now_ns) {
		struct waiting_task *waiting = (struct waiting_task *)node;
		heap_remove(&model->waiting, node);
		cell_set(waiting->cell, waiting->index, TASK_READY);
		free(waiting);
	}
}

/* ---- the words ---- */

static enum err_code build_body(struct run *run, struct request *request, struct err *err)
{
	struct cell *cell = request->cell;
	const struct suite *suite = run->suites[cell->suite].suite;
	const struct plan_model *plan = request->model->plan;
	if (!cell->judging) {
		ERR_TRY(suite_item_render(suite, cell_item(run, cell, request->index),
					  &request->item, err));
		request->item_held = true;
		cells_note_item(run, cell->suite, &request->item);
		uint8_t digest[SHA256_SIZE];
		leaf_words_digest(buf_bytes(&request->item.text), digest);
		hex_encode(digest, sizeof(digest), request->words);
		if (request->item.steps > 1)
			ERR_TRY(steps_words(run, request, err));
		if (plan->replay)
			return ERR_OK;
		return dialect_build_request(plan->dialect, request->item.words,
					     suite_settings(suite), plan->name, false,
					     &request->body, err);
	}
	return judging_request(run, request, err);
}

void ask_sign_head(const struct run_model *model, struct buf *head,
		   const struct signer_request *asked, struct bytes credential)
{
	struct signer_request signing = *asked;
	signing.authority = http_origin_authority(model->origin);
	signing.wall_ms = model->run->loop->wall_ms;
	http_write_request_head(head, signing.method, signing.target, signing.authority,
				signing.names, signing.values, signing.field_count,
				signing.has_body ? (int64_t)signing.body.size : -1);
	signer_sign(&model->signer, &signing, head);
	/* The credential's fields go before the empty line that ends the head. */
	if (!head->failed && credential.size > 0) {
		head->size -= 2;
		buf_append_bytes(head, credential);
		buf_append_cstr(head, "\r\n");
	}
}

void ask_write_head(struct request *request, struct bytes target, struct bytes *names,
		    struct bytes *values, size_t count, struct bytes credential)
{
	struct run_model *model = request->model;
	const struct run *run = model->run;
	const struct cell *cell = request->cell;
	struct buf leaf = BUF_INIT(LEAF_FIELD_MAX);
	if (voucher_names_run(run, cell) && !cells_is_blind(run, cell, request->index)) {
		names[count] = BYTES("parley-run");
		values[count++] = bytes_from(model->gateway_runs[cell->suite].run);
		if (run->suites[cell->suite].leaves) {
			voucher_leaf(model, cell->suite, &request->item, &leaf);
			names[count] = BYTES("parley-leaf");
			values[count++] = buf_bytes(&leaf);
		}
	}
	if (model->sealed && !cell->judging) {
		names[count] = BYTES("parley-accept");
		values[count++] = BYTES("verdict");
	}
	ask_sign_head(model, &request->head,
		      &(struct signer_request){.method = "POST",
					       .target = target,
					       .names = names,
					       .values = values,
					       .field_count = count,
					       .has_body = true,
					       .body = buf_bytes(&request->body)},
		      credential);
	request->head.failed |= leaf.failed;
	buf_release(&leaf);
}

static void build_head(struct request *request)
{
	struct bytes names[3 + RUN_OWN_FIELDS] = {BYTES("content-type"), BYTES("accept"),
						  BYTES("user-agent")};
	struct bytes values[3 + RUN_OWN_FIELDS] = {BYTES("application/json"),
						   BYTES("application/json"),
						   BYTES("parley-bench/" PARLEY_VERSION)};
	ask_write_head(request, buf_bytes(&request->model->target), names, values, 3,
		       buf_bytes(&request->model->credential));
}

/* ---- one request ---- */

static void deadline_passed(struct env_timer *timer)
{
	struct request *request =
		(struct request *)((char *)timer - offsetof(struct request, deadline));
	answer_cut(request, ERR_TIMEOUT, "no complete answer within the time limit");
}

void ask_begin(struct request *request)
{
	struct run *run = request->model->run;
	uint64_t limit_ns = (uint64_t)run->plan.timeout_seconds * 1000000000u;
	request->status = 0;
	request->should_retry = -1;
	request->retry_after_ms = -1;
	request->too_large = false;
	request->request_id[0] = request->record[0] = request->nonce[0] = '\0';
	request->simulated[0] = '\0';
	request->started_ms = run->loop->wall_ms;
	request->started_ns = run->loop->now_ns;
	request->first_ns = 0;
	request->call = (struct http_call){
		.parts = {{request->head.data, request->head.size},
			  {request->body.data, request->body.size}},
		.part_count = 2,
		.user = request,
		.head = answer_head,
		.body = answer_body,
		.ended = answer_ended,
	};
	request->deadline.fire = deadline_passed;
	env_timer_arm(run->loop, &request->deadline, run->loop->now_ns + limit_ns);
	lines_ask(run, request);
}

static void replay(struct run *run, struct request *request)
{
	struct transcript_answer stored = {0};
	uint8_t digest[SHA256_SIZE];
	struct err err = ERR_INIT;
	uint64_t k = cell_sample(run, request->cell, request->index);
	request->started_ms = run->loop->wall_ms;
	request->started_ns = run->loop->now_ns;
	if (request->model->plan->roles & PLAN_CONTROL) {
		stored = (struct transcript_answer){.text = bytes_from(plan_control_answer)};
		answer_replay(request, &stored);
		return;
	}
	const struct transcript *transcript = request->model->transcript;
	bool known = transcript_is_run(transcript)
			     ? hex_decode(bytes_from(request->words), digest, sizeof(digest))
			     : words_match_digest(request->item.words, digest, &err) == ERR_OK;
	if (known && transcript_answer(transcript, digest, k, &stored)) {
		answer_replay(request, &stored);
		return;
	}
	if (err.code == ERR_OK)
		ERR_SET(&err, ERR_NOT_FOUND, "%s has no answer to this prompt%s",
			request->model->plan->replay,
			transcript_withheld(transcript)
				? " (it is published, and some of its answers are withheld)"
				: "");
	answer_impossible(request, &err);
}

/* Takes the task on. Returns the request if it is to be started, NULL if it is over already, or
 * with *poor where the budget has no room for it. */
static struct request *prepare(struct run *run, struct run_model *model, struct cell *cell,
			       size_t index, bool *poor)
{
	struct request *request = ask_take_request(model);
	struct err err = ERR_INIT;
	if (!request) {
		ERR_SET(&err, ERR_NO_MEMORY, "out of memory");
		run_fail(run, &err);
		return NULL;
	}
	request->cell = cell;
	request->index = index;
	request->started = false;
	request->words[0] = '\0';
	cell_set(cell, index, TASK_ASKING);
	enum err_code code = build_body(run, request, &err);
	if (code != ERR_OK) {
		answer_impossible(request, &err);
		return NULL;
	}
	if (model->plan->replay) {
		replay(run, request);
		return NULL;
	}
	if (cache_find(run, request)) {
		answer_cached(request);
		return NULL;
	}
	build_head(request);
	if (request->head.failed || request->body.failed) {
		ERR_SET(&err, ERR_TOO_LARGE, "the request is too large");
		answer_impossible(request, &err);
		return NULL;
	}
	if (!budget_take(run, request)) {
		cell_set(cell, index, TASK_READY);
		put_back(request);
		*poor = true;
		return NULL;
	}
	ask_begin(request);
	return request;
}

/* ---- who is next ---- */

static struct cell *next_cell(struct run *run, const struct run_model *model, size_t *index)
{
	for (unsigned i = 0; i < run->cell_count; i++) {
		struct cell *cell = &run->cells[i];
		if (cell_asks(cell) != model->number || cell->ungraded >= RUN_UNGRADED_MAX ||
		    proxy_asks(run, cell))
			continue;
		if (cell_next(cell, TASK_READY, index))
			return cell;
	}
	return NULL;
}

/* The same, or a decoy. */
static struct cell *next_mixed(struct run *run, const struct run_model *model, size_t *index)
{
	struct cell *decoy = decoys_next(run, model, index);
	return decoy ? decoy : next_cell(run, model, index);
}

static bool may_ask(const struct run *run, const struct run_model *model)
{
	return run->phase == RUN_ASKING && run->fatal.code == ERR_OK && !run->interrupted &&
	       !run->over_budget && !model->ending.ended &&
	       model->pace.hold_until_ns <= run->loop->now_ns &&
	       model->in_flight_count < pace_allows(&model->pace);
}

/* Requests that were prepared are written to the journal together, then sent. */
static void pump_model(struct run *run, struct run_model *model)
{
	struct request *starting = NULL, *request;
	unsigned turns = 0;
	struct cell *cell;
	size_t index;
	wake_waiting(model);
	while (may_ask(run, model) && (cell = next_mixed(run, model, &index))) {
		if (turns >= REPLAYS_PER_TURN) {
			run_wake(run);
			break;
		}
		bool poor = false;
		request = prepare(run, model, cell, index, &poor);
		if (poor) {
			/* What is under way gives back what it does not use. */
			if (run->reservations == 0)
				ask_over_budget(run);
			break;
		}
		if (!request) {
			turns++;
			continue;
		}
		request->call.user = starting;
		starting = request;
	}
	arm(model);
	if (starting && !journal_write(&run->journal))
		run_fail(run, &run->journal.err);
	while (starting) {
		request = starting;
		starting = request->call.user;
		request->call.user = request;
		if (run->fatal.code != ERR_OK) {
			ask_finish_request(request);
			continue;
		}
		request->started = true;
		http_call_start(model->origin, &request->call);
	}
}

void ask_over_budget(struct run *run)
{
	if (run->over_budget)
		return;
	run->over_budget = true;
	lines_note(run, "budget", "the next request might pass the plan's budget");
	run_wake(run);
}

void ask_pump(struct run *run)
{
	for (unsigned i = 0; i < run->model_count; i++)
		pump_model(run, &run->models[i]);
	journal_commit(&run->journal);
}

/* ---- the end ---- */

static bool model_is_idle(const struct run *run, struct run_model *model)
{
	size_t index;
	if (model->in_flight_count > 0)
		return false;
	if (run->interrupted || run->over_budget || model->ending.ended ||
	    run->fatal.code != ERR_OK)
		return true;
	return !heap_first(&model->waiting) && !next_cell((struct run *)run, model, &index);
}

bool ask_is_idle(const struct run *run)
{
	for (unsigned i = 0; i < run->model_count; i++)
		if (!model_is_idle(run, &run->models[i]))
			return false;
	return true;
}

void ask_cancel_all(struct run *run, const char *why)
{
	for (unsigned i = 0; i < run->model_count; i++)
		while (run->models[i].in_flight)
			answer_cut(run->models[i].in_flight, ERR_INTERRUPTED, why);
}
