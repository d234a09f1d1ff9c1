/* What the log is told of a request. Texts live in the request's arena and are borrowed by the log
 * until the record is durable. */
#include "gate/request.h"

#include "base/encode.h"
#include "gate/final.h"
#include "gate/gateway.h"
#include "gate/request_limits.h"
#include "gate/refusal_window.h"
#include "gate/served.h"
#include "gate/verdict.h"

#include <assert.h>

#define TEXT_MAX 4096

/* Who and what, as far as the decision came. */
static void record_begin(const struct gate_request *request, enum record_kind kind,
			 struct record *record)
{
	const struct gate_terms *verdict = &request->terms;
	*record = (struct record)RECORD_INIT;
	record->kind = kind;
	record->time_ms = request->worker->loop->wall_ms;
	if (verdict->key)
		record->key = bytes_from(verdict->key->id);
	if (verdict->grant) {
		record->grant = bytes_from(verdict->grant->id);
		record->org = bytes_from(verdict->grant->org->pseudonym);
	}
	if (verdict->model)
		record->model = bytes_from(verdict->model->id);
}

/* From here on the log loop reads the entry: nothing of it may change before it is durable. */
static void submit(struct gate_request *request, struct log_entry *entry, uint64_t index,
		   uint64_t admit_index, enum record_kind kind, const char *text, size_t size,
		   void (*durable)(struct log_entry *entry))
{
	*entry = (struct log_entry){.index = index,
				    .admit_index = admit_index,
				    .kind = kind,
				    .units = log_units(size),
				    .text = text,
				    .size = size,
				    .durable = durable};
	struct log_producer *producer = &request->worker->producers[request->log];
	log_submit(producer, entry);
	log_producer_turn(producer, false);
}

/* Of a leaf that nobody knows the words of, so that they still count once after a restart. */
static void add_words(const struct gate_request *request, struct record *record,
		      uint8_t digest[static BINDING_DIGEST_SIZE])
{
	const struct gate_terms *verdict = &request->terms;
	if (verdict->unbound || !verdict->suite || !verdict->suite->suite->sealed)
		return;
	binding_digest(world_binding_secret(request->world), request->front->words_digest, digest);
	record->words = digest;
}

static void add_binding(const struct gate_request *request, struct record *record)
{
	const struct gate_terms *verdict = &request->terms;
	if (verdict->unbound)
		return; /* what was not enforced is not recorded as if it had been */
	record->purpose = bytes_from(purpose_id(verdict->purpose));
	record->release = bytes_from(release_id(verdict->release));
	if (verdict->suite) {
		record->suite = bytes_from(verdict->suite->id);
		record->leaf = verdict->leaf;
	}
	if (verdict->run)
		record->run = bytes_from(verdict->run->id);
	const struct binding_hold *sample = request->sample ? &request->sample->hold : NULL;
	if (sample)
		record->sample = sample->sample - 1; /* counted from 0 in the log */
	record->blind = sample && binding_hold_is_blind(sample);
	if (sample && sample->noted)
		record->exposure = sample->re_exposed ? BYTES("re-exposed") : BYTES("first");
}

/* Every admission of a gateway that only observes says so: others could have come through beside
 * it. */
static void add_observed(const struct gate_request *request, struct record *record)
{
	const struct gate_terms *verdict = &request->terms;
	record->observed = request->worker->observe;
	if (verdict->observed == RULE_NONE)
		return;
	record->rule = bytes_from(rule_id(verdict->observed));
	if (verdict->observed_clause)
		record->clause = bytes_from(verdict->observed_clause->id);
}

/* ---- admit ---- */

/* A taken index must be followed by its record without delay. */
static void name_admit(struct gate_request *request, struct sha256 *hash)
{
	struct log *log = request->worker->producers[request->log].log;
	request->admit_index = log_take_index(log);
	log_record_id(log, request->admit_index, request->admit_id);
	log_nonce(log, request->admit_id, request->front->nonce);
	hex_encode(request->front->nonce, sizeof(request->front->nonce),
		   request->front->nonce_text);
	gate_draw_sealed_nonce(request, log);
	sha256_start(hash);
	sha256_add(hash, request->front->nonce, sizeof(request->front->nonce));
}

/* So that a request need not stay for a log that it does not wait for. False where it is too long,
 * or there is no memory for it. */
static bool submit_copy(struct gate_request *request, const char *text, size_t size)
{
	struct gate_worker *worker = request->worker;
	struct gate_text *copy = size <= sizeof(copy->text) ? gate_worker_take_text(worker) : NULL;
	if (!copy)
		return false;
	memcpy(copy->text, text, size);
	gate_worker_lend_text(worker, copy);
	request->admit_written = true;
	submit(request, &copy->entry, request->admit_index, LOG_NO_INDEX, RECORD_ADMIT, copy->text,
	       size, gate_request_settle_durable);
	return true;
}

static void write_admit(struct gate_request *request, const uint8_t *digest)
{
	struct record record;
	record_begin(request, RECORD_ADMIT, &record);
	uint8_t words[BINDING_DIGEST_SIZE];
	struct gate_front *front = request->front;
	char *text = front->admit_text, detail[GATE_DETAIL_MAX];
	record.id = request->admit_id;
	record.detail = gate_served_admit_detail(request, detail);
	record.request = digest;
	add_binding(request, &record);
	add_words(request, &record, words);
	add_observed(request, &record);
	size_t size = record_format(&record, text, TEXT_MAX);
	assert(size > 0); /* every member is bounded where it enters */
	arena_trim(&front->arena, text, size);
	request->admit_submitted = true;
	request->admit_durable = request->worker->relaxed;
	request->admit_units = (uint16_t)log_units(size);
	if (!request->worker->relaxed || !submit_copy(request, text, size))
		submit(request, &front->admit, request->admit_index, LOG_NO_INDEX, RECORD_ADMIT,
		       text, size, gate_request_admit_durable);
}

/* Their bodies are hashed side by side, which costs less than one after the other. */
static void submit_all(struct gate_request *const *requests, unsigned count)
{
	struct sha256_task tasks[SHA256_TASKS];
	uint8_t digests[SHA256_TASKS][SHA256_SIZE];
	for (unsigned i = 0; i < count; i++) {
		name_admit(requests[i], &tasks[i].hash);
		tasks[i].text = requests[i]->exchange->body;
		tasks[i].digest = digests[i];
	}
	sha256_many(tasks, count);
	for (unsigned i = 0; i < count; i++)
		write_admit(requests[i], digests[i]);
}

void gate_submit_waiting(struct gate_worker *worker)
{
	struct gate_request *requests[SHA256_TASKS];
	unsigned count = worker->unsubmitted_count;
	memcpy(requests, worker->unsubmitted, count * sizeof(requests[0]));
	worker->unsubmitted_count = 0;
	worker->unsubmitted_bytes = 0;
	submit_all(requests, count);
	/* One that is over before its turn is retired, not freed: it may be run all the same. */
	for (unsigned i = 0; i < count; i++)
		gate_request_run(requests[i]);
}

/* Everything that can fail happens here. */
bool gate_submit_admit(struct gate_request *request)
{
	struct gate_worker *worker = request->worker;
	request->front->admit_text = arena_alloc(&request->front->arena, TEXT_MAX);
	if (!request->front->admit_text)
		return false;
	request->admitted = true;
	if (worker->unsubmitted_count == 0) {
		worker->unsubmitted_since_ns = worker->loop->now_ns;
		worker->loop->idle_wanted = true;
	}
	worker->unsubmitted[worker->unsubmitted_count++] = request;
	worker->unsubmitted_bytes += request->exchange->body.size;
	if (worker->unsubmitted_count >= sha256_tasks_wanted() ||
	    worker->unsubmitted_bytes >= GATE_UNSUBMITTED_BYTES)
		gate_submit_waiting(worker);
	return true;
}

/* ---- settle ---- */

void gate_submit_settle(struct gate_request *request, const struct record_usage *usage)
{
	struct log *log = request->worker->producers[request->log].log;
	char id[RECORD_ID_SIZE + 1], detail[GATE_DETAIL_MAX];
	struct gate_text *settle = request->settle_text;
	char *text = settle->text;
	uint8_t response[SHA256_SIZE];
	assert(request->admit_submitted);
	uint64_t index = log_take_index(log);
	gate_limits_count(request, usage, index);
	log_record_id(log, index, id);
	struct record record;
	record_begin(request, RECORD_SETTLE, &record);
	record.id = id;
	record.admit = bytes_from(request->admit_id);
	record.ending = request->ending;
	record.status = request->status > 0 ? (unsigned)request->status : 0;
	record.usage = usage;
	record.served = bytes_from(dialect_served(&request->observer.outcome));
	if (request->has_response) {
		sha256_finish(&request->response_hash, response);
		record.response = response;
	}
	/* Of a whole answer only: a digest of half of one could be taken for it. */
	if (request->observer.outcome.digest_known && request->ending == RECORD_ENDING_FINISH)
		record.answer = request->observer.outcome.answer;
	if (request->terms.run)
		record.run = bytes_from(request->terms.run->id);
	if (request->final && request->final->whole)
		record.upstream = request->final->digest;
	if (request->sealed)
		gate_verdict_of(request, &record.verdict, &record.score);
	record.opened = record.answer && gate_is_opened(request);
	record.truncated = request->call.until_close;
	record.detail = gate_served_settle_detail(request, detail);
	size_t size = record_format(&record, text, GATE_SETTLE_TEXT_MAX);
	assert(size > 0); /* every member is bounded where it enters */
	settle->request = request;
	submit(request, &settle->entry, index, request->admit_index, RECORD_SETTLE, text, size,
	       gate_request_settle_durable);
	unsigned used = request->admit_units + settle->entry.units;
	if (used < request->reserved_units)
		log_unreserve(log, request->reserved_units - used);
}

/* ---- refusals ---- */

static void refusal_durable(struct log_entry *entry)
{
	struct gate_request *request =
		((struct gate_front *)((char *)entry - offsetof(struct gate_front, admit)))
			->request;
	gate_request_free(request);
}

bool gate_submit_refusal(struct gate_request *request)
{
	struct gate_worker *worker = request->worker;
	const struct gate_terms *verdict = &request->terms;
	uint64_t count = 0;
	/* What has no known key concerns no evaluation, and a stranger can make any number of it.
	 */
	if (!verdict->key) {
		request->log = CONTROL_USAGE;
		count = refusal_window_take(worker->refusals, verdict->rule,
					    &request->exchange->peer, worker->loop->now_ns);
		if (count == 0)
			return false;
	} else {
		bool product = verdict->grant && verdict->grant->purposes == 1u << PURPOSE_PRODUCT;
		request->log = product ? CONTROL_USAGE : CONTROL_EVALUATION;
	}
	struct log *log = worker->producers[request->log].log;
	struct record record;
	record_begin(request, RECORD_REFUSE, &record);
	record.rule = bytes_from(rule_id(verdict->rule));
	record.count = count > 1 ? count : 0;
	if (verdict->clause)
		record.clause = bytes_from(verdict->clause->id);
	record.status =
		(unsigned)(request->status ? request->status : rule_http_status(verdict->rule));
	struct gate_front *front = request->front;
	char *text = arena_alloc(&front->arena, TEXT_MAX);
	if (!text || (!log_reserve(log, 2) && !log_reserve_refusal(log, 2)))
		return false;
	uint64_t index = log_take_index(log);
	log_record_id(log, index, request->admit_id);
	record.id = request->admit_id;
	size_t size = record_format(&record, text, TEXT_MAX);
	assert(size > 0); /* every member is bounded where it enters */
	submit(request, &front->admit, index, LOG_NO_INDEX, RECORD_REFUSE, text, size,
	       refusal_durable);
	if (front->admit.units < 2)
		log_unreserve(log, 2 - front->admit.units);
	return true;
}
