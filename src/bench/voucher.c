/* The Parley gateway before a model: found out by its own endpoint, told about suite and run before
 * the first request, asked for receipts while the run goes on (so that a revocation in the middle
 * leaves evidence for everything before it), and told when the run is over. A bare provider answers
 * none of this, and nothing then vouches for its answers. */
#include "bench/voucher_internal.h"

#include "base/encode.h"
#include "base/json.h"
#include "bench/proxy.h"
#include "bench/text.h"
#include "ledger/note.h"
#include "ledger/trust_policy.h"

#include <stdio.h>
#include <stdlib.h>

#define PROBES_MAX 3u
#define PROBE_PAUSE_NS 1000000000u

static void probe(struct gateway *gateway);
static void register_next(struct gateway *gateway);

static struct gateway *gateway_of(struct rest *rest)
{
	return (struct gateway *)rest;
}

/* Those that waited for this one to open their run go on. */
static void lead(struct run *run)
{
	for (unsigned i = 0; i < run->model_count; i++) {
		struct gateway *other = run->models[i].gateway;
		if (other && other->following) {
			other->following = false;
			register_next(other);
		}
	}
}

static void ready(struct gateway *gateway, enum gateway_state state)
{
	gateway->model->gateway_state = state;
	voucher_fetch(gateway);
	lead(gateway->model->run);
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
	struct gateway *gateway =
		(struct gateway *)((char *)timer - offsetof(struct gateway, timer));
	if (gateway->model->gateway_state == GATEWAY_ASKING)
		probe(gateway);
	else
		voucher_fetch(gateway);
}

/* The key that signs verdicts, as the log's key vouches for it. */
static void verdict_key_answered(struct rest *rest, const struct err *err)
{
	struct gateway *gateway = gateway_of(rest);
	struct run_model *model = gateway->model;
	struct bytes text = buf_bytes(&rest->response);
	if (err->code == ERR_OK && rest->status == 200 && text.size < sizeof(model->verdict_note) &&
	    bytes_is_utf8(text))
		snprintf(model->verdict_note, sizeof(model->verdict_note), "%.*s", BYTES_ARG(text));
	gateway->suite = 0;
	register_next(gateway);
}

static void keys_are_there(struct rest *rest)
{
	struct gateway *gateway = gateway_of(rest);
	struct run_model *model = gateway->model;
	if (model->sealed) {
		rest->done = verdict_key_answered;
		rest_start(rest, model->origin, "GET", "/log/verdict-key",
			   voucher_credential(model), bytes_of(NULL, 0));
		return;
	}
	gateway->suite = 0;
	register_next(gateway);
}

/* What was agreed: readers of the bundle see that the run stayed inside it. */
static void grant_answered(struct rest *rest, const struct err *err)
{
	struct run_model *model = gateway_of(rest)->model;
	struct bytes text = buf_bytes(&rest->response);
	json_t *tree = NULL;
	if (err->code == ERR_OK && rest->status == 200 && bytes_is_utf8(text) &&
	    json_parse(text, "grant", &tree, NULL) == ERR_OK && json_object_get(tree, "payload"))
		model->grant = arena_copy(&model->run->arena, text);
	json_decref(tree);
	keys_are_there(rest);
}

static void ask_for_grant(struct rest *rest)
{
	struct run_model *model = gateway_of(rest)->model;
	char path[300];
	if (!model->grant_id) {
		keys_are_there(rest);
		return;
	}
	snprintf(path, sizeof(path), "/parley/v1/grants/%.128s/agreed", model->grant_id);
	rest->done = grant_answered;
	rest_start(rest, model->origin, "GET", path, voucher_credential(model), bytes_of(NULL, 0));
}

/* Whom the gateway says to trust for its log: its key and its witnesses. One of an earlier version
 * does not. */
static void policy_answered(struct rest *rest, const struct err *err)
{
	struct run_model *model = gateway_of(rest)->model;
	struct trust_policy *policy = NULL;
	struct bytes text = buf_bytes(&rest->response);
	if (err->code == ERR_OK && rest->status == 200 && bytes_is_utf8(text) &&
	    trust_policy_parse(text, &policy, NULL) == ERR_OK)
		model->policy = arena_copy(&model->run->arena, text);
	free(policy);
	ask_for_grant(rest);
}

static void vkey_answered(struct rest *rest, const struct err *err)
{
	struct run_model *model = gateway_of(rest)->model;
	struct bytes text = bytes_trim(buf_bytes(&rest->response)), after;
	struct bytes line = bytes_trim(bytes_split(text, '\n', &after));
	struct note_key key;
	if (err->code == ERR_OK && rest->status == 200 &&
	    note_key_parse(line, &key, NULL) == ERR_OK && line.size < sizeof(model->vkey)) {
		snprintf(model->vkey, sizeof(model->vkey), "%.*s", BYTES_ARG(line));
		text_line(model->gateway_name, sizeof(model->gateway_name), bytes_from(key.name));
		rest->done = policy_answered;
		rest_start(rest, model->origin, "GET", "/log/policy", voucher_credential(model),
			   bytes_of(NULL, 0));
		return;
	}
	keys_are_there(rest);
}

static void note_grant(struct run_model *model, const char *id)
{
	if (strlen(id) <= 128 && voucher_is_plain_id(id))
		model->grant_id = arena_copy(&model->run->arena, bytes_from(id));
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
		registration_read_purposes(self, &gateway->purposes);
		const char *release = json_string_value(
			json_object_get(json_object_get(self, "grant"), "release"));
		model->sealed = release && strcmp(release, "V0") == 0;
		note_grant(model, json_text(json_object_get(self, "grant"), "id"));
		model->blind_share = json_number_value(
			json_object_get(json_object_get(self, "grant"), "blind_share_max"));
		rest->done = vkey_answered;
		rest_start(rest, model->origin, "GET", "/log/vkey", voucher_credential(model),
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
	rest_start(&gateway->rest, model->origin, "GET", REGISTRATION_SELF_PATH,
		   voucher_credential(model), bytes_of(NULL, 0));
}

/* ---- registering ---- */

static void registration_failed(struct gateway *gateway, const char *what, const struct err *err)
{
	const struct run_suite *suite = &gateway->model->run->suites[gateway->suite];
	char title[256], why[400];
	snprintf(title, sizeof(title), "the gateway did not take the %s of %s", what, suite->name);
	if (err->code == ERR_OK)
		rest_describe(&gateway->rest, why, sizeof(why));
	else
		text_line(why, sizeof(why), bytes_from(err->message));
	if (gateway->model->run->plan.suites[gateway->suite].decoys) {
		decoys_leave_out(gateway->model, why);
		gateway->suite++;
		register_next(gateway);
		return;
	}
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

bool voucher_is_plain_id(const char *text)
{
	for (const char *c = text; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
		      (*c >= '0' && *c <= '9') || *c == '-' || *c == '_' || *c == '.'))
			return false;
	return *text && *text != '.';
}

/* What may be opened is chosen by two seeds: the gateway's is the one that it was bound to before
 * it saw ours, and ours is the one that we sent. */
static bool keeps_commitments(const struct rest *rest, const struct gateway_run *registered,
			      struct err *err)
{
	json_t *tree = NULL;
	uint8_t seed[SHA256_SIZE], digest[SHA256_SIZE];
	char ours[2 * SHA256_SIZE + 1];
	if (!hex_decode(bytes_from(registered->seed), seed, sizeof(seed)) ||
	    !*registered->commitment ||
	    json_parse(buf_bytes(&rest->response), "the response", &tree, NULL) != ERR_OK)
		return true;
	const json_t *openings = json_object_get(tree, "openings");
	const char *gateway = json_string_value(json_object_get(openings, "gateway"));
	const char *evaluator = json_string_value(json_object_get(openings, "evaluator"));
	sha256_of(seed, sizeof(seed), digest);
	hex_encode(digest, sizeof(digest), ours);
	bool kept = gateway && evaluator && strcmp(gateway, registered->commitment) == 0 &&
		    strcmp(evaluator, ours) == 0;
	if (!kept)
		ERR_SET(err, ERR_MISMATCH,
			"the run's openings do not rest on the seeds that were committed to");
	json_decref(tree);
	return kept;
}

static void run_answered(struct rest *rest, const struct err *err)
{
	struct err broken = ERR_INIT;
	struct gateway *gateway = gateway_of(rest);
	struct run_model *model = gateway->model;
	struct gateway_run *registered = &model->gateway_runs[gateway->suite];
	const char *const keys[] = {"run", "record", NULL};
	char *const out[] = {registered->run, registered->record};
	const size_t sizes[] = {sizeof(registered->run), sizeof(registered->record)};
	if (err->code != ERR_OK || rest->status / 100 != 2 || !read_texts(rest, keys, out, sizes) ||
	    !voucher_is_plain_id(registered->run) || !voucher_is_plain_id(registered->record)) {
		registration_failed(gateway, "run", err);
		return;
	}
	if (!keeps_commitments(rest, registered, &broken)) {
		registration_failed(gateway, "run", &broken);
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
	buf_printf(&body, ",\"samples\":%u,\"plan_digest\":\"%s\"",
		   run->suites[gateway->suite].samples, digest);
	/* What the grant does not agree to is not asked for. */
	const struct conduct_suite *suite = &run->conduct.suites[gateway->suite];
	if (suite->blind_count > 0 && run->plan.blind <= model->blind_share + 1e-9 &&
	    voucher_is_alone(model, gateway->suite)) {
		model->gateway_runs[gateway->suite].blind = true;
		buf_printf(&body, ",\"blind\":%zu", suite->blind_count);
	}
	/* Drawn after the gateway was bound to its own. */
	if (model->sealed) {
		uint8_t seed[SHA256_SIZE];
		char *hex = model->gateway_runs[gateway->suite].seed;
		env_random(run->env, seed, sizeof(seed));
		hex_encode(seed, sizeof(seed), hex);
		buf_printf(&body, ",\"opening_seed\":\"%s\"", hex);
	}
	buf_append_char(&body, '}');
	gateway->rest.done = run_answered;
	rest_start(&gateway->rest, model->origin, "POST", "/parley/v1/runs",
		   voucher_credential(model), buf_bytes(&body));
	buf_release(&body);
}

/* The record of the suite's registration, where the gateway names it. */
static void note_suite_record(struct gateway *gateway)
{
	struct gateway_run *registered = &gateway->model->gateway_runs[gateway->suite];
	const char *const keys[] = {"record", NULL};
	char *const out[] = {registered->suite_record};
	const size_t sizes[] = {sizeof(registered->suite_record)};
	if (!read_texts(&gateway->rest, keys, out, sizes) ||
	    !voucher_is_plain_id(registered->suite_record))
		registered->suite_record[0] = '\0';
	else
		voucher_want_receipt(gateway->model, registered->suite_record);
}

/* What binds the gateway to its seed. */
static void note_commitment(struct gateway *gateway)
{
	struct gateway_run *registered = &gateway->model->gateway_runs[gateway->suite];
	const char *const keys[] = {"opening_commitment", NULL};
	char *const out[] = {registered->commitment};
	const size_t sizes[] = {sizeof(registered->commitment)};
	if (!read_texts(&gateway->rest, keys, out, sizes))
		registered->commitment[0] = '\0';
}

/* A suite may be registered that the grant does not let anybody use; the gateway says why. */
static bool is_usable(const struct rest *rest, struct err *err)
{
	json_t *tree = NULL;
	if (json_parse(buf_bytes(&rest->response), "the response", &tree, NULL) != ERR_OK)
		return true;
	bool usable = registration_usable(tree, err) == ERR_OK;
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
	if (err->code != ERR_OK || rest->status / 100 != 2 || !read_texts(rest, keys, out, sizes)) {
		registration_failed(gateway, "items", err);
	} else if (!is_usable(rest, &refusal)) {
		registration_failed(gateway, "items", &refusal);
	} else {
		note_suite_record(gateway);
		note_commitment(gateway);
		open_run(gateway);
	}
}

static void register_suite(struct gateway *gateway)
{
	struct run_model *model = gateway->model;
	const struct run_suite *suite = &model->run->suites[gateway->suite];
	struct buf body = BUF_INIT(REGISTRATION_MAX);
	struct err err = ERR_INIT;
	const char *purpose = registration_purpose(&gateway->purposes, suite_kind(suite->suite));
	enum suite_upload upload = !model->run->plan.sealed ? SUITE_ITEMS
				   : model->sealed          ? SUITE_GRADINGS
							    : SUITE_SEALED;
	if (suite_registration(suite->suite, purpose, upload, &body, &err) != ERR_OK) {
		registration_failed(gateway, "items", &err);
	} else {
		gateway->rest.done = suite_answered;
		rest_start(&gateway->rest, model->origin, "POST", "/parley/v1/suites",
			   voucher_credential(model), buf_bytes(&body));
	}
	buf_release(&body);
}

/* A grant without an evaluation purpose binds to no suite: nothing is registered. */
static void register_next(struct gateway *gateway)
{
	struct run_model *model = gateway->model;
	struct run *run = model->run;
	bool evaluation = gateway->purposes.capability || gateway->purposes.safety;
	while (gateway->suite < run->suite_count && !voucher_needs_run(model, gateway->suite))
		gateway->suite++;
	if (gateway->suite < run->suite_count && evaluation) {
		const struct run_model *leader = voucher_leader(model, gateway->suite);
		if (leader == model) {
			register_suite(gateway);
			return;
		}
		bool followed = voucher_follow(model, gateway->suite);
		gateway->following = !followed && leader->gateway_state < GATEWAY_NONE;
		if (gateway->following)
			return;
		gateway->suite++;
		register_next(gateway);
		return;
	}
	ready(gateway, GATEWAY_READY);
}

void voucher_leaf(const struct run_model *model, unsigned suite, const struct suite_item *item,
		  struct buf *out)
{
	const struct run_suite *sealed = &model->run->suites[suite];
	struct merkle_hash proof[MERKLE_PROOF_MAX];
	struct leaf_salter salter;
	uint8_t salt[LEAF_SALT_SIZE], grading[SHA256_SIZE];
	leaf_salter_init(&salter, suite_seed(sealed->suite));
	leaf_salt(&salter, item->index, salt);
	leaf_half(salt, buf_bytes(&item->grading), grading);
	size_t count = leaf_tree_prove(sealed->leaves, item->index, proof);
	buf_printf(out, "%s;%zu;", model->gateway_runs[suite].suite, item->index);
	base64_append(out, salt, sizeof(salt));
	buf_append_char(out, ';');
	base64_append(out, grading, sizeof(grading));
	buf_append_char(out, ';');
	base64_append(out, proof, count * sizeof(*proof));
}

/* ---- closing ---- */

static bool suite_is_done(struct run *run, unsigned suite, unsigned model)
{
	const struct cell *cell = cells_answering(run, suite, model);
	if (suite_is_judged(run->suites[suite].suite))
		return voucher_suite_is_over(run, suite);
	if (cell && proxy_asks(run, cell) && !run->interrupted)
		return true; /* its command has ended, and asks no more */
	return cell && cell->done == cell->count;
}

static void close_next(struct gateway *gateway);

/* What the gateway's register says of the run that has ended. */
static void note_register(struct gateway *gateway, struct run_model *model)
{
	struct gateway_run *run = &model->gateway_runs[gateway->suite];
	const char *const keys[] = {"record", NULL};
	char *const out[] = {run->closing};
	const size_t sizes[] = {sizeof(run->closing)};
	json_t *tree = NULL, *row;
	size_t i;
	if (!read_texts(&gateway->rest, keys, out, sizes) || !voucher_is_plain_id(run->closing))
		run->closing[0] = '\0';
	else
		voucher_want_receipt(model, run->closing);
	if (json_parse(buf_bytes(&gateway->rest.response), "the response", &tree, NULL) != ERR_OK)
		return;
	const json_t *words = json_object_get(tree, "words");
	run->registered_bytes = json_integer_value(json_object_get(words, "registered"));
	run->free_bytes = json_integer_value(json_object_get(words, "free"));
	json_array_foreach(json_object_get(tree, "register"), i, row)
	{
		const char *name = json_string_value(json_object_get(row, "model"));
		if (!name || strcmp(name, model->plan->name) != 0)
			continue;
		run->place = json_integer_value(json_object_get(row, "run"));
		run->of = json_integer_value(json_object_get(row, "of"));
		run->first = json_integer_value(json_object_get(row, "first"));
		run->re_exposed = json_integer_value(json_object_get(row, "re_exposed"));
	}
	json_decref(tree);
}

/* For everybody whose run it was. */
static void note_end(struct gateway *gateway)
{
	struct run_model *model = gateway->model;
	struct run *run = model->run;
	const struct gateway_run *ended = &model->gateway_runs[gateway->suite];
	for (unsigned i = 0; i < run->model_count; i++) {
		struct run_model *other = &run->models[i];
		struct gateway_run *theirs = &other->gateway_runs[gateway->suite];
		if (!theirs->open || voucher_leader(other, gateway->suite) != model ||
		    strcmp(theirs->run, ended->run) != 0)
			continue;
		theirs->closed = true;
		note_register(gateway, other);
		lines_gateway(run, other, gateway->suite);
	}
}

static void close_answered(struct rest *rest, const struct err *err)
{
	struct gateway *gateway = gateway_of(rest);
	if (err->code == ERR_OK && rest->status / 100 == 2)
		note_end(gateway);
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
		    voucher_leader(model, gateway->suite) != model ||
		    !suite_is_done(run, gateway->suite, model->number))
			continue;
		snprintf(path, sizeof(path), "/parley/v1/runs/%s/close", registered->run);
		gateway->rest.done = close_answered;
		rest_start(&gateway->rest, model->origin, "POST", path, voucher_credential(model),
			   BYTES("{}"));
		return;
	}
	gateway->closed = true;
	run_wake(run);
}

/* ---- all models ---- */

struct gateway *voucher_new(struct run_model *model)
{
	struct gateway *gateway = calloc(1, sizeof(*gateway));
	if (!gateway)
		return NULL;
	gateway->model = model;
	gateway->timer.fire = timer_fired;
	rest_init(&gateway->rest, model->run->loop);
	gateway->rest.signer = &model->signer;
	for (unsigned i = 0; i < FETCHERS; i++) {
		rest_init(&gateway->fetchers[i].rest, model->run->loop);
		gateway->fetchers[i].rest.signer = &model->signer;
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
			model->gateway = voucher_new(model);
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
		if (!model->gateway->closed || !voucher_receipts_done(model->gateway))
			return false;
	}
	return true;
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
