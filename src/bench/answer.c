/* What becomes of a request: the answer or the failure, its line in the journal, and what follows.
 */
#include "bench/run.h"

#include "base/encode.h"
#include "bench/budget.h"
#include "bench/cache.h"
#include "bench/proxy.h"
#include "bench/text.h"
#include "grade/rating.h"
#include "grade/sealed.h"
#include "policy/told.h"
#include "suite/words.h"

#include <stdio.h>

#define TIMEOUT_COUNTS \
	3 /* a request that ran into its time limit costs as much as three failures */
#define HOPELESS_AFTER 10u

/* ---- the response arrives ---- */

static void copy_token(char *out, size_t size, struct bytes value)
{
	out[0] = '\0';
	if (value.size == 0 || value.size >= size)
		return;
	for (size_t i = 0; i < value.size; i++) {
		char c = value.data[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return;
	}
	memcpy(out, value.data, value.size);
	out[value.size] = '\0';
}

static int read_should_retry(struct bytes value)
{
	if (bytes_is(value, "true"))
		return 1;
	return bytes_is(value, "false") ? 0 : -1;
}

void answer_head(struct http_call *call, const struct http_head *head, struct bytes head_bytes)
{
	struct request *request = (struct request *)call;
	const char *data = head_bytes.data;
	struct bytes id = http_known(head, data, HTTP_FIELD_REQUEST_ID);
	if (id.size == 0)
		id = http_known(head, data, HTTP_FIELD_X_REQUEST_ID);
	request->status = head->status;
	request->should_retry = read_should_retry(http_known(head, data, HTTP_FIELD_SHOULD_RETRY));
	request->retry_after_ms = retry_after_read(
		http_known(head, data, HTTP_FIELD_RETRY_AFTER_MS),
		http_known(head, data, HTTP_FIELD_RETRY_AFTER), request->model->run->loop->wall_ms);
	text_line(request->request_id, sizeof(request->request_id), id);
	copy_token(request->record, sizeof(request->record),
		   http_known(head, data, HTTP_FIELD_PARLEY_RECORD));
	copy_token(request->nonce, sizeof(request->nonce),
		   http_known(head, data, HTTP_FIELD_PARLEY_NONCE));
	text_line(request->simulated, sizeof(request->simulated),
		  http_field_value(head, data, "x-parley-simulated"));
	if (request->proxied)
		proxied_head(request->proxied, head, head_bytes);
}

void answer_body(struct http_call *call, struct bytes piece)
{
	struct request *request = (struct request *)call;
	if (!request->first_ns)
		request->first_ns = request->model->run->loop->now_ns;
	buf_append_bytes(&request->response, piece);
	if (request->response.failed)
		answer_cut(request, ERR_TOO_LARGE, "the answer is too large");
	else if (request->proxied)
		proxied_piece(request->proxied, piece);
}

/* ---- the attempt's record ---- */

/* In place of a digest, where the words themselves could not be made. */
static const char no_words[] = "0000000000000000000000000000000000000000000000000000000000000000";

/* Texts that the transcript's strings point into. */
struct attempt {
	struct run_transcript transcript;
	char digest[2 * SHA256_SIZE + 1];
	char error[768];
	struct buf text, request_body, response_body;
};

static void digest_response(const struct request *request, char *out)
{
	struct sha256 hash;
	uint8_t nonce[16], digest[SHA256_SIZE];
	sha256_start(&hash);
	if (hex_decode(bytes_from(request->nonce), nonce, sizeof(nonce)))
		sha256_add(&hash, nonce, sizeof(nonce));
	sha256_add_bytes(&hash, buf_bytes(&request->response));
	sha256_finish(&hash, digest);
	hex_encode(digest, sizeof(digest), out);
}

static const char *keep_body(struct buf *out, const struct buf *body)
{
	struct bytes bytes = buf_bytes(body);
	if (bytes.size == 0 || bytes.size > out->max || !bytes_is_utf8(bytes) ||
	    memchr(bytes.data, '\0', bytes.size))
		return NULL;
	buf_append_bytes(out, bytes);
	return out->failed ? NULL : out->data;
}

static void describe_place(struct run *run, const struct request *request,
			   struct run_transcript *out)
{
	const struct cell *cell = request->cell;
	const struct run_suite *suite = &run->suites[cell->suite];
	out->suite = suite->name;
	out->item = suite_id(suite->suite, cell_item(run, cell, request->index));
	out->model = run->models[cell->model].plan->name;
	out->sample = cell_sample(run, cell, request->index);
	out->attempt = cell->tasks[request->index].attempts;
	out->judge_order = -1;
	out->step = cells_item(run, cell->suite, cell_item(run, cell, request->index))->steps > 1 &&
				    !cell->judging
			    ? (int)steps_done(cell, request->index)
			    : -1;
	if (cell->judging)
		out->judge_model = run->models[cell->judge].plan->name;
	if (cell->judging && !cell->rating) {
		out->judge_opponent = run->models[cell->opponent].plan->name;
		out->judge_order = (int)(request->index & 1);
	}
}

/* The exact bodies are kept where a gateway's record can be held against them. */
static void attempt_open(struct attempt *attempt, struct request *request)
{
	struct run *run = request->model->run;
	struct run_transcript *out = &attempt->transcript;
	*attempt = (struct attempt){
		.transcript.usage = {-1, -1, -1, -1, false}
        };
	buf_init(&attempt->text, 2 * RUN_RESPONSE_MAX);
	size_t kept = request->proxied ? PROXIED_BODY_KEPT_MAX : RUN_BODY_KEPT_MAX;
	buf_init(&attempt->request_body, kept);
	buf_init(&attempt->response_body, kept);
	describe_place(run, request, out);
	out->words = request->words[0] ? request->words : no_words;
	out->status = request->status;
	out->started_ms = request->started_ms;
	out->first_token_ms = -1;
	out->stream = request->streamed;
	out->cached = request->cached;
	out->blind = cells_is_blind(run, request->cell, request->index);
	if (request->streamed && request->first_ns)
		out->first_token_ms =
			(int64_t)((request->first_ns - request->started_ns) / 1000000u);
	out->elapsed_ms = (int64_t)((run->loop->now_ns - request->started_ns) / 1000000u);
	if (request->response.size > 0) {
		digest_response(request, attempt->digest);
		out->response_digest = attempt->digest;
	}
	if (!request->record[0] && !request->proxied)
		return;
	if (request->record[0])
		out->record = request->record;
	out->nonce = request->nonce[0] ? request->nonce : NULL;
	out->request_body = keep_body(&attempt->request_body, &request->body);
	out->response_body = keep_body(&attempt->response_body, &request->response);
}

static void attempt_close(struct attempt *attempt)
{
	buf_release(&attempt->text);
	buf_release(&attempt->request_body);
	buf_release(&attempt->response_body);
}

void answer_count_use(struct run *run, struct run_model *model,
		      const struct run_transcript *transcript)
{
	const struct run_usage *usage = &transcript->usage;
	const struct plan_price *price = &model->plan->price;
	double input = usage->input > 0 ? (double)usage->input : 0;
	double cache_read = usage->cache_read > 0 ? (double)usage->cache_read : 0;
	double cache_write = usage->cache_write > 0 ? (double)usage->cache_write : 0;
	double output = usage->output > 0 ? (double)usage->output : 0;
	double usd = (input * price->input + cache_read * price->cache_read +
		      cache_write * price->cache_write + output * price->output) /
		     1e6;
	model->tokens_input += (int64_t)(input + cache_read + cache_write);
	model->tokens_output += (int64_t)output;
	model->usd += usd;
	if (model->plan->replay || transcript->cached)
		return;
	run->usd += usd;
	run->tokens += (uint64_t)(input + cache_read + cache_write + output);
}

/* ---- failures ---- */

static void note_simulated(struct run *run, struct run_model *model, const char *label)
{
	bool bare = strcmp(label, "true") == 0 || strcmp(label, "1") == 0;
	if (!*label || *model->simulated)
		return;
	snprintf(model->simulated, sizeof(model->simulated), "%s",
		 bare ? "a stand-in, by its own account" : label);
	lines_simulated(run, model);
}

/* The model said that it has too much. After a 429 everything waits; after a 503 or 529 where it
 * named a time. */
static void push_back(struct run_model *model, enum retry_verdict verdict,
		      const struct retry_facts *facts, uint64_t delay_ms)
{
	bool waits = verdict == RETRY_THROTTLED || facts->retry_after_ms >= 0;
	if (verdict == RETRY_THROTTLED ||
	    (verdict == RETRY_LATER && retry_is_overload(facts->status)))
		pace_pushed_back(&model->pace, model->run->loop->now_ns,
				 waits ? delay_ms * 1000000u : 0);
}

/* What a failed attempt is charged, whose usage nobody told and which may have been billed: it was
 * sent, and no refusal came. */
static const struct budget_most *charge(struct request *request, const struct retry_facts *facts)
{
	bool sent = request->most.input > 0 && !request->call.unprocessed;
	if (!sent || facts->status >= 300)
		return NULL;
	budget_charge(request->model->run, request->model, request->most);
	return &request->most;
}

void answer_give_up(struct run *run, struct cell *cell, size_t index, const char *why)
{
	cell_set(cell, index, TASK_FAILED);
	if (cell->rating)
		rating_settle(run, cell, index, NULL, "the judge gave no verdict");
	else if (cell->judging)
		judging_settle(run, cell, index);
	else
		scoring_failed(run, cell, index, why);
	cells_done(run, cell, index);
}

/* A key, address or model name that has never worked fails sample by sample; it is stopped early,
 * while everything can still be asked again. */
static void note_hopeless(struct run_model *model, const char *why)
{
	char reason[512];
	if (++model->failed_in_a_row < HOPELESS_AFTER || model->answered > 0)
		return;
	snprintf(reason, sizeof(reason), "none of the first %u samples was answered; the last: %s",
		 HOPELESS_AFTER, why);
	run_end_model(model, reason, NULL);
}

static bool is_final(const struct task *task, enum retry_verdict verdict)
{
	return verdict == RETRY_NEVER || task->failures >= RETRY_ATTEMPTS_MAX ||
	       task->throttles >= RETRY_THROTTLES_MAX;
}

static void count_failure(struct task *task, enum retry_verdict verdict, enum err_code transport)
{
	task->attempts++;
	if (verdict == RETRY_THROTTLED)
		task->throttles++;
	else if (verdict != RETRY_END)
		task->failures =
			(uint8_t)(task->failures + (transport == ERR_TIMEOUT ? TIMEOUT_COUNTS : 1));
}

/* Whoever asked decides whether to try again; the task stays open until the command has ended. */
static void fail_proxied(struct request *request, struct attempt *attempt,
			 enum retry_verdict verdict, const char *why,
			 const struct refusal_parts *parts, const struct budget_most *charged)
{
	struct run_model *model = request->model;
	request->cell->tasks[request->index].attempts++;
	note_simulated(model->run, model, request->simulated);
	lines_attempt(model->run, request->cell, request->index, &attempt->transcript,
		      request->request_id, false, true, charged);
	if (request->record[0])
		voucher_want_receipt(model, request->record);
	if (verdict == RETRY_END && parts)
		run_note_ending(model, why, parts);
	cell_set(request->cell, request->index, TASK_READY);
	proxied_failed(request->proxied, why);
	attempt_close(attempt);
	ask_finish_request(request);
}

static void fail_request(struct request *request, const struct retry_facts *facts, const char *why,
			 const struct refusal_parts *parts)
{
	struct run_model *model = request->model;
	struct run *run = model->run;
	struct cell *cell = request->cell;
	size_t index = request->index;
	struct task *task = &cell->tasks[index];
	enum retry_verdict verdict = retry_decide(facts);
	bool interrupted = facts->transport == ERR_INTERRUPTED;
	struct attempt attempt;
	attempt_open(&attempt, request);
	attempt.transcript.error = why;
	if (interrupted)
		verdict = RETRY_END;
	const struct budget_most *charged = charge(request, facts);
	if (request->proxied) {
		fail_proxied(request, &attempt, verdict, why, parts, charged);
		return;
	}
	count_failure(task, verdict, facts->transport);
	bool final = verdict != RETRY_END && is_final(task, verdict);
	double jitter = prng_unit(&run->prng);
	uint64_t delay =
		retry_delay_ms(task->failures ? task->failures : 1, facts->retry_after_ms, jitter);
	note_simulated(run, model, request->simulated);
	lines_attempt(run, cell, index, &attempt.transcript, request->request_id, final,
		      verdict == RETRY_THROTTLED || verdict == RETRY_END, charged);
	if (request->record[0])
		voucher_want_receipt(model, request->record);
	push_back(model, verdict, facts, delay);
	if (final) {
		answer_give_up(run, cell, index, why);
		note_hopeless(model, why);
	} else if (verdict == RETRY_END) {
		cell_set(cell, index, TASK_READY);
		if (!interrupted)
			run_end_model(model, why, parts);
	} else {
		ask_later(run, cell, index, delay);
	}
	attempt_close(&attempt);
	ask_finish_request(request);
}

/* "HTTP 403 permission_error: …", made printable. */
static void describe_status(const struct request *request, const struct dialect_failure *failure,
			    char *out, size_t size)
{
	char line[1024];
	const char *kind = failure->type[0] ? failure->type : failure->code;
	snprintf(line, sizeof(line), "HTTP %d%s%s%s%s", request->status, *kind ? " " : "", kind,
		 failure->message[0] ? ": " : "", failure->message);
	text_line(out, size, bytes_from(line));
}

/* A gateway binds judges by what the suite says that they are asked. */
static void add_advice(const struct request *request, struct bytes rule, char *why, size_t size)
{
	const struct cell *cell = request->cell;
	const struct suite *suite = request->model->run->suites[cell->suite].suite;
	size_t used = strlen(why);
	if (cell->rating && bytes_is(rule, "suite.unbound"))
		snprintf(why + used, size - used,
			 "; gateways bind judges of pairs only: ask this judge elsewhere, or under "
			 "a product grant");
	else if (cell->judging && bytes_is(rule, "suite.unbound") && !suite_is_judged(suite))
		snprintf(why + used, size - used,
			 "; suite %s does not say what judges are asked: add judge: {} to its "
			 "suite.yaml, or ask the judge elsewhere",
			 suite_name(suite));
}

static void refused(struct request *request)
{
	struct dialect_failure failure = {0};
	struct refusal_parts parts = {0};
	char why[768];
	dialect_failure_read(request->model->plan->dialect, buf_bytes(&request->response),
			     &failure);
	refusal_parts_read(bytes_from(failure.message), &parts);
	describe_status(request, &failure, why, sizeof(why));
	add_advice(request, parts.rule, why, sizeof(why));
	struct retry_facts facts = {
		.status = request->status,
		.should_retry = request->should_retry,
		.retry_after_ms = request->retry_after_ms,
		.rule = parts.rule,
		.code = bytes_from(failure.code[0] ? failure.code : failure.type),
	};
	fail_request(request, &facts, why, parts.rule.size ? &parts : NULL);
}

static void broken(struct request *request, enum err_code code, const char *message)
{
	struct retry_facts facts = {.transport = code, .should_retry = -1, .retry_after_ms = -1};
	char why[768];
	text_line(why, sizeof(why), bytes_from(message));
	fail_request(request, &facts, why, NULL);
}

void answer_cut(struct request *request, enum err_code code, const char *why)
{
	if (request->started)
		http_call_cancel(&request->call);
	request->status = 0;
	broken(request, code, why);
}

void answer_impossible(struct request *request, const struct err *err)
{
	request->status = 0;
	request->started_ms = request->model->run->loop->wall_ms;
	request->started_ns = request->model->run->loop->now_ns;
	request->record[0] = request->nonce[0] = request->request_id[0] = '\0';
	request->simulated[0] = '\0';
	struct retry_facts facts = {
		.transport = ERR_INVALID, .should_retry = -1, .retry_after_ms = -1};
	char why[768];
	text_line(why, sizeof(why), bytes_from(err->message));
	fail_request(request, &facts, why, NULL);
}

/* ---- answers ---- */

/* The gateway's bounds (policy/told.h), as far as they can be known: no plan says how much a model
 * can read or make, and the largest window stands for both. */
static bool can_be(const struct request *request, const struct dialect_usage *usage)
{
	int64_t asked = budget_output(request->model->run, request->cell);
	const struct told_bounds bounds = {.context = TOLD_CONTEXT,
					   .max_output = TOLD_CONTEXT,
					   .asked = asked > 0 ? asked : 0,
					   .answers = 1};
	return !usage->absurd &&
	       usage->input + usage->cache_read + usage->cache_write <= told_input_max(&bounds) &&
	       usage->output <= told_output_max(&bounds);
}

/* Whole or not at all: what is not told here is charged at its most. */
static void take_usage(const struct request *request, const struct dialect_usage *usage,
		       struct run_usage *out)
{
	if (usage->known && usage->input_known && can_be(request, usage))
		*out = (struct run_usage){usage->input, usage->cache_read, usage->cache_write,
					  usage->output, false};
}

/* What the budget is charged for an answer whose usage nobody told. */
static const struct budget_most *charge_untold(struct request *request,
					       const struct run_transcript *transcript)
{
	if (request->most.input == 0 || transcript->cached || transcript->usage.output >= 0)
		return NULL;
	budget_charge(request->model->run, request->model, request->most);
	return &request->most;
}

/* What every whole answer does to its model. */
static void note_answered(struct request *request, struct attempt *attempt)
{
	struct run_model *model = request->model;
	struct run *run = model->run;
	struct cell *cell = request->cell;
	cell->tasks[request->index].attempts++;
	model->answered++;
	model->failed_in_a_row = 0;
	if (request->proxied && request->started_ms > model->ending.time_ms)
		model->ending = (struct run_ending){0}; /* it was not the end */
	if (!attempt->transcript.cached)
		pace_answered(&model->pace);
	note_simulated(run, model, request->simulated);
	answer_count_use(run, model, &attempt->transcript);
	lines_attempt(run, cell, request->index, &attempt->transcript, request->request_id, true,
		      false, charge_untold(request, &attempt->transcript));
	if (request->record[0])
		voucher_want_receipt(model, request->record);
}

static void take_answer(struct request *request, struct attempt *attempt)
{
	struct run *run = request->model->run;
	struct cell *cell = request->cell;
	size_t index = request->index;
	struct task *task = &cell->tasks[index];
	attempt->transcript.answer = attempt->text.data ? attempt->text.data : "";
	note_answered(request, attempt);
	if (!cell->judging && steps_take(run, cell, index, task->offset)) {
		cell_set(cell, index, TASK_READY);
		run_wake(run);
		return;
	}
	if (cell->rating) {
		struct err err = ERR_INIT;
		cell_set(cell, index, TASK_ANSWERED);
		if (rating_take(run, cell, index, buf_bytes(&attempt->text), &err) != ERR_OK)
			run_fail(run, &err);
		cells_done(run, cell, index);
	} else if (cell->judging) {
		task->verdict = (uint8_t)judge_parse(buf_bytes(&attempt->text));
		cell_set(cell, index, TASK_ANSWERED);
		judging_settle(run, cell, index);
		cells_done(run, cell, index);
	} else if (run->suites[cell->suite].pairwise) {
		task->score = (double)words_characters(buf_bytes(&attempt->text));
		cell_set(cell, index, TASK_ANSWERED);
		cells_done(run, cell, index);
	} else if (run->suites[cell->suite].judged) {
		task->refused = (int8_t)rating_rule(run->suites[cell->suite].scorer,
						    buf_bytes(&attempt->text));
		cell_set(cell, index, TASK_ANSWERED);
		cells_done(run, cell, index);
	} else {
		scoring_answer(run, cell, index, &request->item, buf_bytes(&attempt->text));
	}
}

/* A verdict on an answer that stays at the gateway: kept as it came. */
static void judged(struct request *request)
{
	struct sealed_verdict verdict;
	struct attempt attempt;
	struct err err = ERR_INIT;
	enum err_code code = sealed_verdict_read(buf_bytes(&request->response),
						 "the gateway's verdict", &verdict, &err);
	if (code == ERR_OK && strcmp(verdict.record, request->record) != 0)
		code = ERR_SET(&err, ERR_PROTOCOL, "the verdict is of another record");
	attempt_open(&attempt, request);
	if (code != ERR_OK) {
		broken(request, code, err.message);
	} else {
		struct run_transcript *out = &attempt.transcript;
		buf_append_bytes(&attempt.text, buf_bytes(&request->response));
		out->verdict = attempt.text.data;
		out->response_body = out->response_digest = NULL;
		out->usage = verdict.usage;
		out->served = verdict.served;
		note_answered(request, &attempt);
		scoring_verdict(request->model->run, request->cell, request->index,
				attempt.text.data);
		ask_finish_request(request);
	}
	attempt_close(&attempt);
	sealed_verdict_release(&verdict);
}

static void answered(struct request *request)
{
	struct run_model *model = request->model;
	struct dialect_answer answer;
	struct attempt attempt;
	struct err err = ERR_INIT;
	dialect_answer_init(&answer, RUN_RESPONSE_MAX);
	enum err_code code =
		request->streamed
			? dialect_answer_read_stream(model->plan->dialect,
						     buf_bytes(&request->response), &answer, &err)
			: dialect_answer_read(model->plan->dialect, buf_bytes(&request->response),
					      &answer, &err);
	attempt_open(&attempt, request);
	text_append_clean(&attempt.text, buf_bytes(&answer.text));
	if (code == ERR_OK && attempt.text.failed)
		code = ERR_SET(&err, ERR_NO_MEMORY, "out of memory");
	if (code != ERR_OK) {
		broken(request, code, err.message);
	} else {
		const struct dialect_outcome *outcome = &answer.outcome;
		struct run_transcript *out = &attempt.transcript;
		take_usage(request, &outcome->usage, &out->usage);
		out->finish = dialect_finish_name(outcome->finish);
		out->served = outcome->served ? dialect_served(outcome) : NULL;
		if (out->served)
			snprintf(model->served, sizeof(model->served), "%s", out->served);
		if (!request->cached)
			cache_keep(model->run, request);
		take_answer(request, &attempt);
		ask_finish_request(request);
	}
	attempt_close(&attempt);
	dialect_answer_release(&answer);
}

void answer_cached(struct request *request)
{
	request->status = 200;
	request->cached = true;
	request->should_retry = -1;
	request->retry_after_ms = -1;
	request->record[0] = request->nonce[0] = request->request_id[0] = '\0';
	request->simulated[0] = '\0';
	request->first_ns = 0;
	request->started_ms = request->model->run->loop->wall_ms;
	request->started_ns = request->model->run->loop->now_ns;
	answered(request);
}

void answer_replay(struct request *request, const struct transcript_answer *stored)
{
	struct attempt attempt;
	request->status = 0;
	request->record[0] = request->nonce[0] = request->request_id[0] = '\0';
	request->simulated[0] = '\0';
	attempt_open(&attempt, request);
	text_append_clean(&attempt.text, stored->text);
	attempt.transcript.finish = dialect_finish_name(DIALECT_FINISH_STOP);
	if (stored->input >= 0 || stored->output >= 0)
		attempt.transcript.usage =
			(struct run_usage){stored->input, stored->cache_read, stored->cache_write,
					   stored->output, false};
	take_answer(request, &attempt);
	attempt_close(&attempt);
	ask_finish_request(request);
}

void answer_ended(struct http_call *call, const struct err *err)
{
	struct request *request = (struct request *)call;
	request->started = false;
	if (err->code != ERR_OK) {
		request->status = 0;
		broken(request, err->code, err->message);
	} else if (request->status == 200 && request->model->sealed && !request->cell->judging) {
		judged(request);
	} else if (request->status == 200) {
		answered(request);
	} else {
		refused(request);
	}
}
