/* The Parley gateway before a model: found out by its own endpoint, told about suite and run before the
 * first request, asked for receipts while the run goes on (so that a revocation in the middle leaves
 * evidence for everything before it), and told when the run is over. A bare provider answers none of
 * this, and nothing then vouches for its answers. */
#include "bench/run.h"

#include "base/encode.h"
#include "base/json.h"
#include "bench/rest.h"
#include "bench/text.h"
#include "grade/bundle.h"
#include "ledger/proof.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define PROBES_MAX 3u
#define PROBE_PAUSE_NS 1000000000u
#define FETCHERS 4u
#define RECEIPT_DELAY_NS 1200000000u /* a checkpoint covers every record within a second */
#define RECEIPT_PATIENCE_NS 30000000000u
#define REGISTRATION_MAX ((size_t)64 << 20)

struct receipt {
	char record[RUN_RECORD_ID_MAX + 1];
	uint64_t due_ns, give_up_ns;
	bool optional; /* of the run's registration: not every gateway gives one */
};

struct fetcher {
	struct rest rest; /* first */
	struct run_model *model;
	struct receipt receipt;
};

struct gateway {
	struct rest rest; /* first; preparation and closing, one call at a time */
	struct run_model *model;
	unsigned probes, suite; /* the suite being registered or closed */
	bool evaluation[2];	/* purposes of the grant: capability_benchmark, safety_evaluation */
	bool closing, closed;
	struct env_timer timer; /* probe again, or the next receipt is due */
	/* Receipts */
	struct receipt *wanted; /* in the order in which they are due, from `first` */
	size_t first, count, capacity;
	struct fetcher fetchers[FETCHERS];
	size_t got, lost;
	bool refused; /* the key may not ask any more */
};

static void probe(struct gateway *gateway);
static void register_next(struct gateway *gateway);
static void fetch(struct gateway *gateway);

static struct gateway *gateway_of(struct rest *rest)
{
	return (struct gateway *)rest;
}

static struct bytes credential(const struct run_model *model)
{
	return buf_bytes(&model->credential);
}

static void ready(struct gateway *gateway, enum gateway_state state)
{
	gateway->model->gateway_state = state;
	fetch(gateway);
	run_wake(gateway->model->run);
}

static void give_up(struct gateway *gateway, const char *what, const char *why)
{
	struct buf reason = BUF_INIT(4096);
	buf_printf(&reason, "%s: %s", what, why);
	run_end_model(gateway->model, reason.failed ? what : reason.data, NULL);
	buf_release(&reason);
	ready(gateway, GATEWAY_NONE);
}

static void unreachable(struct gateway *gateway, const struct err *err)
{
	gateway->model->ending.unreachable = !gateway->model->ending.ended;
	give_up(gateway, "cannot be reached", err->message);
}

/* ---- probing ---- */

static void timer_fired(struct env_timer *timer)
{
	struct gateway *gateway = (struct gateway *)((char *)timer - offsetof(struct gateway, timer));
	if (gateway->model->gateway_state == GATEWAY_ASKING)
		probe(gateway);
	else
		fetch(gateway);
}

static void read_purposes(struct gateway *gateway, const json_t *self)
{
	const json_t *grant = json_object_get(self, "grant");
	const json_t *list = json_object_get(json_is_object(grant) ? grant : self, "purposes");
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct bytes purpose = bytes_from(json_string_value(json_array_get(list, i)));
		gateway->evaluation[0] |= bytes_is(purpose, "capability_benchmark");
		gateway->evaluation[1] |= bytes_is(purpose, "safety_evaluation");
	}
}

static void vkey_answered(struct rest *rest, const struct err *err)
{
	struct gateway *gateway = gateway_of(rest);
	struct run_model *model = gateway->model;
	struct bytes text = bytes_trim(buf_bytes(&rest->response)), after;
	struct bytes line = bytes_trim(bytes_split(text, '\n', &after));
	struct note_key key;
	if (err->code == ERR_OK && rest->status == 200 &&
	    note_key_parse(line, &key, NULL) == ERR_OK && line.size < sizeof(model->vkey)) {
		snprintf(model->vkey, sizeof(model->vkey), "%.*s", BYTES_ARG(line));
		text_line(model->gateway_name, sizeof(model->gateway_name), bytes_from(key.name));
	}
	gateway->suite = 0;
	register_next(gateway);
}

/* A provider that is no gateway answers anything but Parley's own 200 or problem details. */
static void probe_answered(struct rest *rest, const struct err *err)
{
	struct gateway *gateway = gateway_of(rest);
	struct run_model *model = gateway->model;
	json_t *self = NULL;
	char why[400];
	if (err->code != ERR_OK && err->code != ERR_PROTOCOL) {
		if (gateway->probes < PROBES_MAX)
			env_timer_arm(model->run->loop, &gateway->timer,
				      model->run->loop->now_ns + PROBE_PAUSE_NS);
		else
			unreachable(gateway, err);
		return;
	}
	bool found = rest->status == 200 &&
		     json_parse(buf_bytes(&rest->response), "self", &self, NULL) == ERR_OK &&
		     json_is_object(self);
	if (found) {
		read_purposes(gateway, self);
		rest->done = vkey_answered;
		rest_start(rest, model->origin, "GET", "/log/vkey", credential(model),
			   bytes_of(NULL, 0));
	} else if (rest->problem && (rest->status == 401 || rest->status == 403)) {
		rest_describe(rest, why, sizeof(why));
		give_up(gateway, "the gateway refused the key", why);
	} else {
		ready(gateway, GATEWAY_NONE);
	}
	json_decref(self);
}

static void probe(struct gateway *gateway)
{
	struct run_model *model = gateway->model;
	gateway->probes++;
	gateway->rest.done = probe_answered;
	rest_start(&gateway->rest, model->origin, "GET", "/parley/v1/self", credential(model),
		   bytes_of(NULL, 0));
}

/* ---- registering ---- */

static const char *choose_purpose(const struct gateway *gateway, enum suite_kind kind)
{
	bool safety = kind == SUITE_SAFETY;
	if (gateway->evaluation[safety])
		return safety ? "safety_evaluation" : "capability_benchmark";
	return safety ? "capability_benchmark" : "safety_evaluation";
}

static bool needs_run(struct run *run, const struct run_model *model, unsigned suite)
{
	return cells_answering(run, suite, model->number) && !model->gateway_runs[suite].open;
}

static void registration_failed(struct gateway *gateway, const char *what, const struct err *err)
{
	const struct run_suite *suite = &gateway->model->run->suites[gateway->suite];
	char title[256], why[400];
	snprintf(title, sizeof(title), "the gateway did not take the %s of %s", what, suite->name);
	if (err->code == ERR_OK)
		rest_describe(&gateway->rest, why, sizeof(why));
	else
		text_line(why, sizeof(why), bytes_from(err->message));
	give_up(gateway, title, why);
}

/* Reads texts of the response; false if one is missing or too long. */
static bool read_texts(const struct rest *rest, const char *const *keys, char *const *out,
		       const size_t *sizes)
{
	json_t *tree = NULL;
	bool fine = json_parse(buf_bytes(&rest->response), "the response", &tree, NULL) == ERR_OK;
	for (size_t i = 0; fine && keys[i]; i++) {
		const char *text = json_string_value(json_object_get(tree, keys[i]));
		fine = text && strlen(text) < sizes[i] && bytes_is_utf8(bytes_from(text));
		if (fine)
			snprintf(out[i], sizes[i], "%s", text);
	}
	json_decref(tree);
	return fine;
}

static bool is_plain_id(const char *text)
{
	for (const char *c = text; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
		      (*c >= '0' && *c <= '9') || *c == '-' || *c == '_' || *c == '.'))
			return false;
	return *text && *text != '.';
}

static void run_answered(struct rest *rest, const struct err *err)
{
	struct gateway *gateway = gateway_of(rest);
	struct run_model *model = gateway->model;
	struct gateway_run *registered = &model->gateway_runs[gateway->suite];
	const char *const keys[] = {"run", "record", NULL};
	char *const out[] = {registered->run, registered->record};
	const size_t sizes[] = {sizeof(registered->run), sizeof(registered->record)};
	if (err->code != ERR_OK || rest->status / 100 != 2 ||
	    !read_texts(rest, keys, out, sizes) || !is_plain_id(registered->run) ||
	    !is_plain_id(registered->record)) {
		registration_failed(gateway, "run", err);
		return;
	}
	registered->open = true;
	lines_gateway(model->run, model, gateway->suite);
	journal_commit(&model->run->journal);
	voucher_want_receipt(model, registered->record);
	gateway->suite++;
	register_next(gateway);
}

static void open_run(struct gateway *gateway)
{
	struct run_model *model = gateway->model;
	struct run *run = model->run;
	char digest[2 * SHA256_SIZE + 1];
	struct buf body = BUF_INIT(4096);
	hex_encode(run->plan_digest, SHA256_SIZE, digest);
	buf_append_cstr(&body, "{\"suite\":");
	json_append_string(&body, bytes_from(model->gateway_runs[gateway->suite].suite));
	buf_printf(&body, ",\"samples\":%u,\"plan_digest\":\"%s\"}",
		   run->suites[gateway->suite].samples, digest);
	gateway->rest.done = run_answered;
	rest_start(&gateway->rest, model->origin, "POST", "/parley/v1/runs", credential(model),
		   buf_bytes(&body));
	buf_release(&body);
}

/* A suite may be registered that the grant does not let anybody use; the gateway says why. */
static bool is_usable(const struct rest *rest, struct err *err)
{
	json_t *tree = NULL;
	char note[400];
	if (json_parse(buf_bytes(&rest->response), "the response", &tree, NULL) != ERR_OK)
		return true;
	bool usable = !json_is_false(json_object_get(tree, "usable"));
	const char *text = json_string_value(json_object_get(tree, "note"));
	text_line(note, sizeof(note), bytes_from(text ? text : "its class is not granted"));
	if (!usable)
		ERR_SET(err, ERR_DENIED, "%s", note);
	json_decref(tree);
	return usable;
}

static void suite_answered(struct rest *rest, const struct err *err)
{
	struct gateway *gateway = gateway_of(rest);
	struct err refusal = ERR_INIT;
	struct gateway_run *registered = &gateway->model->gateway_runs[gateway->suite];
	const char *const keys[] = {"suite", NULL};
	char *const out[] = {registered->suite};
	const size_t sizes[] = {sizeof(registered->suite)};
	if (err->code != ERR_OK || rest->status / 100 != 2 || !read_texts(rest, keys, out, sizes))
		registration_failed(gateway, "items", err);
	else if (!is_usable(rest, &refusal))
		registration_failed(gateway, "items", &refusal);
	else
		open_run(gateway);
}

static void register_suite(struct gateway *gateway)
{
	struct run_model *model = gateway->model;
	const struct run_suite *suite = &model->run->suites[gateway->suite];
	struct buf body = BUF_INIT(REGISTRATION_MAX);
	struct err err = ERR_INIT;
	const char *purpose = choose_purpose(gateway, suite_kind(suite->suite));
	if (suite_registration(suite->suite, purpose, false, &body, &err) != ERR_OK) {
		registration_failed(gateway, "items", &err);
	} else {
		gateway->rest.done = suite_answered;
		rest_start(&gateway->rest, model->origin, "POST", "/parley/v1/suites",
			   credential(model), buf_bytes(&body));
	}
	buf_release(&body);
}

/* A grant without an evaluation purpose binds to no suite: nothing is registered. */
static void register_next(struct gateway *gateway)
{
	struct run_model *model = gateway->model;
	struct run *run = model->run;
	bool evaluation = gateway->evaluation[0] || gateway->evaluation[1];
	while (gateway->suite < run->suite_count && !needs_run(run, model, gateway->suite))
		gateway->suite++;
	if (gateway->suite < run->suite_count && evaluation)
		register_suite(gateway);
	else
		ready(gateway, GATEWAY_READY);
}

/* ---- receipts ---- */

static bool reserve(struct gateway *gateway)
{
	if (gateway->first == gateway->count)
		gateway->first = gateway->count = 0;
	if (gateway->count < gateway->capacity)
		return true;
	if (gateway->first > gateway->capacity / 2) {
		memmove(gateway->wanted, gateway->wanted + gateway->first,
			(gateway->count - gateway->first) * sizeof(*gateway->wanted));
		gateway->count -= gateway->first;
		gateway->first = 0;
		return true;
	}
	size_t capacity = gateway->capacity ? 2 * gateway->capacity : 64;
	struct receipt *grown = reallocarray(gateway->wanted, capacity, sizeof(*grown));
	if (!grown)
		return false;
	gateway->wanted = grown;
	gateway->capacity = capacity;
	return true;
}

static void want(struct gateway *gateway, const struct receipt *receipt)
{
	if (!reserve(gateway)) {
		gateway->lost++;
		return;
	}
	gateway->wanted[gateway->count++] = *receipt;
	fetch(gateway);
}

static bool is_registration(const struct run_model *model, const char *record)
{
	for (unsigned i = 0; i < model->run->suite_count; i++)
		if (strcmp(model->gateway_runs[i].record, record) == 0)
			return true;
	return false;
}

static void receipt_path(const struct run *run, const char *record, char *out, size_t size)
{
	snprintf(out, size, "%s/bundle/%s/%s.tlog-proof", run->directory, BUNDLE_RECEIPTS, record);
}

static struct gateway *gateway_new(struct run_model *model);

void voucher_want_receipt(struct run_model *model, const char *record)
{
	struct run *run = model->run;
	char path[4200];
	struct receipt receipt = {.due_ns = run->loop->now_ns + RECEIPT_DELAY_NS,
				  .give_up_ns = run->loop->now_ns + RECEIPT_PATIENCE_NS};
	if (!is_plain_id(record) || strlen(record) > RUN_RECORD_ID_MAX)
		return;
	receipt_path(run, record, path, sizeof(path));
	if (run->resumed && env_file_exists(run->env, path))
		return;
	if (!model->gateway)
		model->gateway = gateway_new(model);
	snprintf(receipt.record, sizeof(receipt.record), "%s", record);
	receipt.optional = is_registration(model, record);
	if (model->gateway)
		want(model->gateway, &receipt);
}

/* A receipt stands by itself: the record is put into the proof's extra line. No sync for each: they can
 * be fetched again, and the bundle's manifest is written after them. */
static enum err_code write_receipt(struct run *run, const char *record_line, const char *proof_text,
				   struct err *err)
{
	json_t *record = NULL;
	const char *id;
	char path[4200];
	struct proof proof;
	struct buf extra = BUF_INIT(65536), text = BUF_INIT((size_t)1 << 20);
	struct env_file *file = NULL;
	enum err_code code = json_parse(bytes_from(record_line), "a receipt", &record, err);
	if (code == ERR_OK)
		code = json_get_string(record, "id", "a receipt", &id, err);
	if (code == ERR_OK && !is_plain_id(id))
		code = ERR_SET(err, ERR_PROTOCOL, "a receipt's record id is malformed");
	if (code == ERR_OK)
		code = proof_parse(bytes_from(proof_text), &proof, err);
	if (code == ERR_OK) {
		base64_append(&extra, record_line, strlen(record_line));
		proof.extra = buf_bytes(&extra);
		proof_format(&proof, &text);
		receipt_path(run, id, path, sizeof(path));
		code = env_file_open(run->env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file, err);
	}
	if (code == ERR_OK)
		code = env_file_truncate(file, 0, err);
	if (code == ERR_OK)
		code = env_file_write(file, 0, text.data, text.size, err);
	env_file_close(file);
	buf_release(&extra);
	buf_release(&text);
	json_decref(record);
	return code;
}

static enum err_code take_receipts(struct run *run, struct bytes response, struct err *err)
{
	json_t *tree, *list;
	ERR_TRY(json_parse(response, "the receipts", &tree, err));
	enum err_code code = json_get_container(tree, "receipts", "the receipts", JSON_ARRAY, false,
						&list, err);
	for (size_t i = 0; code == ERR_OK && i < json_array_size(list); i++) {
		const char *record, *proof;
		const json_t *entry = json_array_get(list, i);
		code = json_get_string(entry, "record", "a receipt", &record, err);
		if (code == ERR_OK)
			code = json_get_string(entry, "proof", "a receipt", &proof, err);
		if (code == ERR_OK)
			code = write_receipt(run, record, proof, err);
	}
	json_decref(tree);
	return code;
}

static void receipt_answered(struct rest *rest, const struct err *err)
{
	struct fetcher *fetcher = (struct fetcher *)rest;
	struct run_model *model = fetcher->model;
	struct gateway *gateway = model->gateway;
	struct run *run = model->run;
	struct receipt receipt = fetcher->receipt;
	struct err inner = ERR_INIT;
	uint64_t now = run->loop->now_ns;
	int64_t pause = rest->retry_after_ms >= 0 ? rest->retry_after_ms : 1000;
	bool later = err->code != ERR_OK || rest->status == 425 || rest->status == 429 ||
		     rest->status >= 500;
	if (!later && rest->status == 200) {
		if (take_receipts(run, buf_bytes(&rest->response), &inner) == ERR_OK)
			gateway->got++;
		else
			gateway->lost++;
	} else if (!later || now + (uint64_t)pause * 1000000u > receipt.give_up_ns) {
		gateway->lost += !(receipt.optional && rest->status == 404);
		gateway->refused |= rest->status == 401;
	} else {
		receipt.due_ns = now + (uint64_t)pause * 1000000u;
		want(gateway, &receipt);
	}
	fetch(gateway);
	run_wake(run);
}

static struct fetcher *idle_fetcher(struct gateway *gateway)
{
	for (unsigned i = 0; i < FETCHERS; i++)
		if (!gateway->fetchers[i].rest.busy)
			return &gateway->fetchers[i];
	return NULL;
}

static void fetch(struct gateway *gateway)
{
	struct run_model *model = gateway->model;
	struct fetcher *fetcher;
	if (model->gateway_state != GATEWAY_READY)
		return;
	if (gateway->refused) {
		gateway->lost += gateway->count - gateway->first;
		gateway->first = gateway->count = 0;
	}
	while (gateway->first < gateway->count && (fetcher = idle_fetcher(gateway))) {
		const struct receipt *next = &gateway->wanted[gateway->first];
		char path[128];
		if (next->due_ns > model->run->loop->now_ns) {
			env_timer_arm(model->run->loop, &gateway->timer, next->due_ns);
			return;
		}
		fetcher->receipt = *next;
		gateway->first++;
		snprintf(path, sizeof(path), "/parley/v1/receipts/%s", fetcher->receipt.record);
		fetcher->rest.done = receipt_answered;
		rest_start(&fetcher->rest, model->origin, "GET", path, credential(model),
			   bytes_of(NULL, 0));
	}
}

static bool receipts_done(const struct gateway *gateway)
{
	for (unsigned i = 0; i < FETCHERS; i++)
		if (gateway->fetchers[i].rest.busy)
			return false;
	return gateway->first == gateway->count;
}

/* ---- closing ---- */

static bool suite_is_done(struct run *run, unsigned suite, unsigned model)
{
	const struct cell *cell = cells_answering(run, suite, model);
	return cell && cell->done == cell->count;
}

static void close_next(struct gateway *gateway);

static void close_answered(struct rest *rest, const struct err *err)
{
	struct gateway *gateway = gateway_of(rest);
	struct run_model *model = gateway->model;
	if (err->code == ERR_OK && rest->status / 100 == 2) {
		model->gateway_runs[gateway->suite].closed = true;
		lines_gateway(model->run, model, gateway->suite);
	}
	gateway->suite++;
	close_next(gateway);
}

static void close_next(struct gateway *gateway)
{
	struct run_model *model = gateway->model;
	struct run *run = model->run;
	for (; gateway->suite < run->suite_count; gateway->suite++) {
		const struct gateway_run *registered = &model->gateway_runs[gateway->suite];
		char path[256];
		if (!registered->open || registered->closed ||
		    !suite_is_done(run, gateway->suite, model->number))
			continue;
		snprintf(path, sizeof(path), "/parley/v1/runs/%s/close", registered->run);
		gateway->rest.done = close_answered;
		rest_start(&gateway->rest, model->origin, "POST", path, credential(model),
			   BYTES("{}"));
		return;
	}
	gateway->closed = true;
	run_wake(run);
}

/* ---- all models ---- */

static struct gateway *gateway_new(struct run_model *model)
{
	struct gateway *gateway = calloc(1, sizeof(*gateway));
	if (!gateway)
		return NULL;
	gateway->model = model;
	gateway->timer.fire = timer_fired;
	rest_init(&gateway->rest, model->run->loop);
	for (unsigned i = 0; i < FETCHERS; i++) {
		rest_init(&gateway->fetchers[i].rest, model->run->loop);
		gateway->fetchers[i].model = model;
	}
	return gateway;
}

void voucher_prepare(struct run *run)
{
	for (unsigned i = 0; i < run->model_count; i++) {
		struct run_model *model = &run->models[i];
		if (model->plan->replay) {
			model->gateway_state = GATEWAY_NONE;
			continue;
		}
		if (!model->gateway)
			model->gateway = gateway_new(model);
		if (!model->gateway) {
			struct err err = ERR_INIT;
			ERR_SET(&err, ERR_NO_MEMORY, "out of memory");
			run_fail(run, &err);
			return;
		}
		model->gateway_state = GATEWAY_ASKING;
		probe(model->gateway);
	}
	run_wake(run);
}

bool voucher_is_ready(const struct run *run)
{
	for (unsigned i = 0; i < run->model_count; i++)
		if (run->models[i].gateway_state < GATEWAY_NONE)
			return false;
	return true;
}

void voucher_close(struct run *run)
{
	for (unsigned i = 0; i < run->model_count; i++) {
		struct gateway *gateway = run->models[i].gateway;
		if (!gateway || gateway->closing)
			continue;
		gateway->closing = true;
		gateway->suite = 0;
		if (run->models[i].gateway_state == GATEWAY_READY)
			close_next(gateway);
		else
			gateway->closed = true;
	}
	run_wake(run);
}

bool voucher_is_closed(const struct run *run)
{
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_model *model = &run->models[i];
		if (!model->gateway || model->gateway_state != GATEWAY_READY)
			continue;
		if (!model->gateway->closed || !receipts_done(model->gateway))
			return false;
	}
	return true;
}

void voucher_receipts(const struct run_model *model, size_t *got, size_t *lost)
{
	const struct gateway *gateway = model->gateway;
	*got = gateway ? gateway->got : 0;
	*lost = gateway ? gateway->lost + gateway->count - gateway->first : 0;
}

void voucher_stop(struct run *run)
{
	for (unsigned i = 0; i < run->model_count; i++) {
		struct gateway *gateway = run->models[i].gateway;
		if (!gateway)
			continue;
		env_timer_disarm(run->loop, &gateway->timer);
		rest_release(&gateway->rest);
		for (unsigned k = 0; k < FETCHERS; k++)
			rest_release(&gateway->fetchers[k].rest);
		free(gateway->wanted);
		free(gateway);
		run->models[i].gateway = NULL;
	}
}
