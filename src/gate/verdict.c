#include "gate/verdict.h"

#include "base/encode.h"
#include "base/json.h"
#include "gate/gateway.h"
#include "ledger/dsse.h"
#include "grade/scorer.h"
#include "grade/service.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MAX ((size_t)64 << 20)
#define REPLY_MAX ((size_t)65536)
#define HEAD_MAX ((size_t)1024)
#define VERDICT_MAX ((size_t)128 << 20)
#define READY_NS 5000000000ull
#define GRADE_NS 300000000000ull
#define GRADES 4 /* steps between 0 and 1: five grades */

/* What a sealed request has besides. */
struct gate_sealed {
	struct http_call call;
	struct gate_request *request;
	struct buf head, ask, reply;
	int status;
	bool calling, answered; /* the call that was made last */
	bool ready;
	bool asked, judged, held; /* steps of gate_step_grade that are behind it */
	struct env_timer timer;
	struct score score;
	uint8_t nonce[LOG_NONCE_SIZE];
	struct buf text; /* of the answer */
	json_t *calls;
};

bool gate_is_sealed(const struct gate_request *request)
{
	const struct gate_terms *verdict = &request->terms;
	return verdict->release == RELEASE_V0 && !verdict->unbound &&
	       request->front->facts.wants_verdict && request->use == ENDPOINT_USE_GENERATE &&
	       verdict->suite && verdict->suite->book;
}

/* ---- memory ---- */

static void wipe(struct buf *buffer)
{
	if (buffer->data)
		explicit_bzero(buffer->data, buffer->capacity);
	buf_release(buffer);
}

static struct gate_sealed *sealed_of(struct gate_request *request)
{
	struct gate_sealed *sealed = request->sealed;
	if (sealed)
		return sealed;
	sealed = calloc(1, sizeof(*sealed));
	if (!sealed)
		return NULL;
	sealed->request = request;
	buf_init(&sealed->head, HEAD_MAX);
	buf_init(&sealed->ask, GRADE_SERVICE_BODY_MAX);
	buf_init(&sealed->reply, REPLY_MAX);
	buf_init(&sealed->text, ANSWER_MAX);
	request->sealed = sealed;
	return sealed;
}

void gate_sealed_release(struct gate_request *request)
{
	struct gate_sealed *sealed = request->sealed;
	if (!sealed)
		return;
	if (sealed->calling)
		http_call_cancel(&sealed->call);
	env_timer_disarm(request->worker->loop, &sealed->timer);
	buf_release(&sealed->head);
	wipe(&sealed->ask);
	buf_release(&sealed->reply);
	wipe(&sealed->text);
	json_decref(sealed->calls);
	explicit_bzero(sealed->nonce, sizeof(sealed->nonce));
	free(sealed);
	request->sealed = NULL;
	if (request->front && request->front->held.data)
		explicit_bzero(request->front->held.data, request->front->held.capacity);
}

struct bytes gate_sealed_nonce(const struct gate_request *request)
{
	return bytes_of((const char *)request->sealed->nonce, LOG_NONCE_SIZE);
}

struct buf *gate_sealed_text(struct gate_request *request)
{
	return &request->sealed->text;
}

json_t *gate_sealed_calls(struct gate_request *request)
{
	struct gate_sealed *sealed = request->sealed;
	if (!sealed->calls)
		sealed->calls = json_array();
	return sealed->calls;
}

/* ---- calls of the grader ---- */

static void call_head(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct gate_sealed *sealed = call->user;
	(void)bytes;
	sealed->status = head->status;
}

static void call_body(struct http_call *call, struct bytes piece)
{
	struct gate_sealed *sealed = call->user;
	buf_append_bytes(&sealed->reply, piece);
}

static void call_ended(struct http_call *call, const struct err *err)
{
	struct gate_sealed *sealed = call->user;
	sealed->calling = false;
	sealed->answered = true;
	if (err->code != ERR_OK || sealed->reply.failed)
		sealed->status = 0;
	gate_request_run(sealed->request);
}

static bool start_call(struct gate_sealed *sealed, const char *method, const char *target,
		       uint64_t limit_ns)
{
	struct http_origin *origin = sealed->request->upstreams->grader;
	struct bytes name = BYTES("content-type"), value = BYTES("application/json");
	buf_clear(&sealed->head);
	buf_clear(&sealed->reply);
	sealed->status = 0;
	sealed->answered = false;
	if (!origin)
		return false;
	http_write_request_head(&sealed->head, method, bytes_from(target),
				http_origin_authority(origin), &name, &value, 1,
				(int64_t)sealed->ask.size);
	if (sealed->head.failed || sealed->ask.failed)
		return false;
	sealed->call = (struct http_call){
		.parts = {{sealed->head.data, sealed->head.size},
			  {sealed->ask.data, sealed->ask.size}},
		.part_count = sealed->ask.size ? 2 : 1,
		.first_byte_ns = limit_ns,
		.idle_ns = READY_NS,
		.user = sealed,
		.head = call_head,
		.body = call_body,
		.ended = call_ended,
	};
	sealed->calling = true;
	http_call_start(origin, &sealed->call);
	return true;
}

enum gate_ready gate_grader_ready(struct gate_request *request)
{
	struct gate_sealed *sealed = sealed_of(request);
	if (!sealed)
		return GATE_READY_NO;
	if (sealed->ready)
		return GATE_READY_YES;
	if (sealed->calling)
		return GATE_READY_WAIT;
	if (!sealed->answered)
		return start_call(sealed, "GET", "/ready", READY_NS) ? GATE_READY_WAIT
								     : GATE_READY_NO;
	sealed->ready = sealed->status == 200;
	return sealed->ready ? GATE_READY_YES : GATE_READY_NO;
}

/* ---- judging ---- */

/* Graders take no NUL: it becomes the replacement character, as everywhere in Parley. */
static void replace_nul(struct buf *text)
{
	struct buf clean = BUF_INIT(3 * ANSWER_MAX);
	if (!text->size || !memchr(text->data, '\0', text->size))
		return;
	for (size_t i = 0; i < text->size; i++) {
		if (text->data[i])
			buf_append_char(&clean, text->data[i]);
		else
			buf_append_cstr(&clean, "\xef\xbf\xbd");
	}
	clean.failed |= text->failed;
	wipe(text);
	*text = clean;
}

static bool ask(struct gate_request *request)
{
	struct gate_sealed *sealed = request->sealed;
	const struct gate_terms *verdict = &request->terms;
	replace_nul(&sealed->text);
	if (sealed->text.failed)
		return false;
	grade_ask_write(grading_book_scorer(verdict->suite->book, verdict->leaf),
			buf_bytes(&sealed->text), &sealed->ask);
	return start_call(sealed, "POST", "/grade", GRADE_NS);
}

static bool is_over(const struct gate_request *request)
{
	return request->sealed && request->status == 200 && request->ending == RECORD_ENDING_FINISH;
}

/* Whether there is a whole answer to judge. */
static bool has_answer(const struct gate_request *request)
{
	return is_over(request) && request->observer.outcome.digest_known;
}

static void timer_fired(struct env_timer *timer)
{
	struct gate_sealed *sealed =
		(struct gate_sealed *)((char *)timer - offsetof(struct gate_sealed, timer));
	sealed->held = true;
	gate_request_run(sealed->request);
}

/* Until the next whole step of time. */
static enum gate_next hold(struct gate_request *request)
{
	struct gate_sealed *sealed = request->sealed;
	struct env_loop *loop = request->worker->loop;
	uint64_t passed = loop->now_ns - request->started_ns;
	uint64_t steps = passed / VERDICT_TIME_STEP_NS + 1;
	sealed->timer.fire = timer_fired;
	if (!sealed->held &&
	    env_timer_arm(loop, &sealed->timer, request->started_ns + steps * VERDICT_TIME_STEP_NS))
		return GATE_WAIT;
	return GATE_NEXT;
}

enum gate_next gate_step_grade(struct gate_request *request)
{
	struct gate_sealed *sealed = request->sealed;
	struct err ignored = ERR_INIT;
	if (!sealed)
		return GATE_NEXT;
	if (!sealed->asked) {
		sealed->asked = true;
		if (has_answer(request) && !ask(request))
			sealed->status = 0;
	}
	if (sealed->calling)
		return GATE_WAIT;
	if (has_answer(request) && !sealed->judged && sealed->answered && sealed->status == 200)
		sealed->judged = grade_reply_read(buf_bytes(&sealed->reply), &sealed->score,
						  &ignored) == ERR_OK;
	return hold(request);
}

bool gate_verdict_of(const struct gate_request *request, struct bytes *verdict, double *score)
{
	const struct gate_sealed *sealed = request->sealed;
	if (!is_over(request))
		return false;
	*verdict = BYTES("ungraded");
	if (!sealed->judged)
		return false;
	/* Downwards: only what is wholly right is told as such. */
	*score = floor(sealed->score.value * GRADES) / GRADES;
	*verdict = *score >= 1 ? BYTES("pass") : *score > 0 ? BYTES("partial") : BYTES("fail");
	return true;
}

bool gate_is_ungraded(const struct gate_request *request)
{
	return is_over(request) && !request->sealed->judged;
}

/* ---- usage ---- */

static uint64_t rounded(uint64_t tokens)
{
	return (tokens + VERDICT_USAGE_STEP - 1) / VERDICT_USAGE_STEP * VERDICT_USAGE_STEP;
}

void gate_round_usage(struct record_usage *usage)
{
	usage->input = rounded(usage->input);
	usage->cache_read = rounded(usage->cache_read);
	usage->cache_write = rounded(usage->cache_write);
	usage->output = rounded(usage->output);
}

void gate_draw_sealed_nonce(struct gate_request *request, const struct log *log)
{
	char text[RECORD_ID_SIZE + 8];
	if (!request->sealed)
		return;
	snprintf(text, sizeof(text), "sealed %s", request->admit_id);
	log_nonce(log, text, request->sealed->nonce);
}

/* ---- the client's answer ---- */

bool gate_is_opened(const struct gate_request *request)
{
	const struct gate_terms *verdict = &request->terms;
	return request->sealed && request->sealed->judged && verdict->run &&
	       binding_run_opens(verdict->run->run, verdict->leaf, request->sample->hold.sample);
}

static json_t *opened_of(struct gate_request *request)
{
	struct gate_sealed *sealed = request->sealed;
	char nonce[2 * LOG_NONCE_SIZE + 1];
	hex_encode(sealed->nonce, LOG_NONCE_SIZE, nonce);
	return json_pack("{s:s%, s:O, s:s, s:s}", "text",
			 sealed->text.size ? sealed->text.data : "", sealed->text.size,
			 "tool_calls", gate_sealed_calls(request), "finish",
			 dialect_finish_name(request->observer.outcome.finish), "nonce", nonce);
}

static json_t *verdict_json(struct gate_request *request)
{
	const struct gate_terms *verdict = &request->terms;
	const struct record_usage *usage = &request->settle_text->usage;
	char answer[2 * SHA256_SIZE + 1];
	struct bytes word;
	double score = 0;
	gate_verdict_of(request, &word, &score);
	hex_encode(request->observer.outcome.answer, SHA256_SIZE, answer);
	json_t *out = json_pack(
		"{s:s, s:i, s:s, s:s, s:s, s:i, s:f, s:s, s:s%, s:{s:I, s:I, s:I, s:I}}", "answer",
		answer, "leaf", (int)verdict->leaf, "model", verdict->model->id, "record",
		request->admit_id, "run", verdict->run->id, "sample",
		(int)request->sample->hold.sample - 1, "score", score, "suite", verdict->suite->id,
		"verdict", word.data, word.size, "usage", "cache_read",
		(json_int_t)usage->cache_read, "cache_write", (json_int_t)usage->cache_write,
		"input", (json_int_t)usage->input, "output", (json_int_t)usage->output);
	const char *served = dialect_served(&request->observer.outcome);
	bool good = out != NULL;
	if (good && *served)
		good = json_object_set_new(out, "served", json_string(served)) == 0;
	if (good && gate_is_opened(request))
		good = json_object_set_new(out, "opened", opened_of(request)) == 0;
	if (good)
		return out;
	json_decref(out);
	return NULL;
}

/* Appends the verdict with its signature: over the text without that member, in DSSE's
 * pre-authentication encoding. */
static bool sign(struct gate_request *request, json_t *verdict, struct buf *out)
{
	struct buf payload = BUF_INIT(VERDICT_MAX), encoded = BUF_INIT(VERDICT_MAX);
	uint8_t signature[ED25519_SIGNATURE_SIZE];
	struct buf text = BUF_INIT(1024);
	bool good = json_canonical(verdict, &payload, NULL) == ERR_OK && !payload.failed;
	if (good)
		dsse_pae(&encoded, BYTES(VERDICT_TYPE), buf_bytes(&payload));
	good = good && !encoded.failed &&
	       gateway_sign_verdict(request->worker->gateway, buf_bytes(&encoded), signature);
	if (good) {
		base64_append(&text, signature, sizeof(signature));
		good = !text.failed &&
		       json_object_set_new(verdict, "signature",
					   json_stringn(text.data, text.size)) == 0 &&
		       json_canonical(verdict, out, NULL) == ERR_OK && !out->failed;
	}
	wipe(&payload);
	wipe(&encoded);
	buf_release(&text);
	return good;
}

void gate_send_verdict(struct gate_request *request)
{
	struct http_header headers[8];
	struct buf body = BUF_INIT(VERDICT_MAX);
	unsigned count = 0;
	json_t *verdict = request->sealed->judged ? verdict_json(request) : NULL;
	if (!verdict || !sign(request, verdict, &body)) {
		gate_send_error(
			request, rule_http_status(RULE_GRADE_UNAVAILABLE), "grade_unavailable",
			BYTES("the answer could not be judged, and stays sealed; its sample "
			      "was given back (rule grade.unavailable)"),
			true);
	} else {
		headers[count++] = (struct http_header){"content-type", BYTES(VERDICT_TYPE)};
		headers[count++] =
			(struct http_header){"parley-record", bytes_from(request->admit_id)};
		headers[count++] = (struct http_header){"parley-nonce",
							bytes_from(request->front->nonce_text)};
		for (unsigned i = 0; i < request->front->upstream_header_count; i++)
			if (strcmp(request->front->upstream_headers[i].name,
				   "x-parley-simulated") == 0)
				headers[count++] = request->front->upstream_headers[i];
		count += gate_limit_headers(request, headers + count, 8 - count);
		request->sent = body.size;
		request->client_status = 200;
		http_respond(request->exchange, 200, headers, count, buf_bytes(&body));
	}
	json_decref(verdict);
	wipe(&body);
}
