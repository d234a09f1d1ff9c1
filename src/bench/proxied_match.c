/* Which item a request of the command's asks, by its words, and which sample it can be.
 *
 * A sample has one answer. Where whoever asked has left before it was there, the request is carried
 * to its end all the same (the gateway counts it, and it is billed), and the next request with the
 * same words is given it. */
#include "bench/proxy_internal.h"

#include "base/json.h"
#include "bench/text.h"
#include "policy/binding.h"

#include <stdio.h>

#define ATTEMPTS_MAX 1000u /* of one sample */

/* ---- answers that are there ---- */

/* Whoever asked has gone, and the answer is under way: this one gets it. */
static bool adopt(struct proxied *proxied, const struct cell *cell, size_t index, bool streamed)
{
	for (struct proxied *old = proxied->proxy->open; old; old = old->next) {
		struct request *request = old->request;
		if (!request || old->exchange || request->cell != cell || request->index != index ||
		    request->streamed != streamed)
			continue;
		struct buf fields = proxied->fields;
		proxied->fields = old->fields;
		old->fields = fields;
		proxied->status = old->status;
		proxied->request = request;
		request->proxied = proxied;
		proxied->proxy->delivered_again++;
		proxied_free(old);
		if (proxied_is_stream(proxied))
			proxied_start_stream(proxied);
		return true;
	}
	return false;
}

/* The answer that nobody has had, from the journal. */
static bool deliver_again(struct proxied *proxied, struct cell *cell, size_t index, unsigned step,
			  bool streamed)
{
	struct run *run = proxied->proxy->run;
	struct task *task = &cell->tasks[index];
	uint8_t *heard = proxied_turns_heard(proxied->proxy, cell, index);
	struct bytes text;
	json_t *line = NULL;
	const char *body = NULL;
	if (journal_write(&run->journal) &&
	    journal_read(&run->journal, steps_offset(cell, index, step), &run->scratch, NULL) ==
		    ERR_OK &&
	    lines_embedded(buf_bytes(&run->scratch), "answer", &text) &&
	    json_parse(text, "a line of the journal", &line, NULL) == ERR_OK &&
	    json_is_true(json_object_get(line, "stream")) == streamed) {
		const char *verdict = json_string_value(json_object_get(line, "verdict"));
		body = verdict ? verdict
			       : json_string_value(json_object_get(line, "response_body"));
	}
	if (body) {
		const char *record = json_string_value(json_object_get(line, "record"));
		const char *nonce = json_string_value(json_object_get(line, "nonce"));
		buf_printf(&proxied->fields, "content-type: %s\r\n",
			   streamed ? "text/event-stream" : "application/json");
		if (record)
			buf_printf(&proxied->fields, "parley-record: %s\r\n", record);
		if (nonce)
			buf_printf(&proxied->fields, "parley-nonce: %s\r\n", nonce);
		task->undelivered = false;
		if (heard)
			*heard = (uint8_t)(step + 1);
		proxied->proxy->delivered_again++;
		proxied_respond(proxied, 200, bytes_from(body));
	}
	json_decref(line);
	return body != NULL;
}

/* ---- which item it is ---- */

struct binding_attempt {
	const struct dialect_endpoint *endpoint;
	struct run_model *model;
	bool streamed;
	uint8_t digest[SHA256_SIZE];
	struct binding_settings settings;
	char why[256]; /* the settings of the last item that has the words */
	const char *suite, *item;
	unsigned samples;
	bool tired; /* asked in vain too often */
};

static enum err_code read_words(const struct proxied *proxied, struct binding_attempt *attempt,
				struct err *err)
{
	struct buf words = BUF_INIT(PROXIED_RESPONSE_MAX), settings = BUF_INIT(65536);
	json_t *tree = NULL;
	enum err_code code = dialect_words(attempt->model->plan->dialect, proxied->exchange->body,
					   &words, &settings, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&settings), "the settings", &tree, err);
	if (code == ERR_OK)
		code = binding_settings_from_json(tree, &attempt->settings, err);
	if (code == ERR_OK)
		leaf_words_digest(buf_bytes(&words), attempt->digest);
	json_decref(tree);
	buf_release(&words);
	buf_release(&settings);
	return code;
}

/* Whether the answer to that step is there and nobody has had it. */
static bool is_unheard(const struct proxied *proxied, const struct cell *cell, size_t index,
		       unsigned step)
{
	const uint8_t *heard = proxied_turns_heard(proxied->proxy, cell, index);
	return heard ? step >= *heard && step < proxied_turns_answered(cell, index)
		     : cell->tasks[index].undelivered;
}

/* An answer to that step of the task that nobody has had, or that is under way for nobody. */
static bool take_unheard(struct proxied *proxied, const struct binding_attempt *attempt,
			 struct cell *cell, size_t index, unsigned step)
{
	if (is_unheard(proxied, cell, index, step) &&
	    deliver_again(proxied, cell, index, step, attempt->streamed))
		return true;
	return cell->tasks[index].state == TASK_ASKING && steps_done(cell, index) == step &&
	       adopt(proxied, cell, index, attempt->streamed);
}

/* The task is to be asked that step. */
static bool take_ready(struct proxied *proxied, struct binding_attempt *attempt, struct cell *cell,
		       size_t index, unsigned step)
{
	const struct task *task = &cell->tasks[index];
	if (task->state != TASK_READY || steps_done(cell, index) != step)
		return false;
	if (task->attempts >= ATTEMPTS_MAX) {
		attempt->tired = true;
		return false;
	}
	proxied_send_on(proxied, attempt->endpoint, attempt->model, cell, index, attempt->digest,
			attempt->streamed);
	return true;
}

/* One of the item's samples that can be had: an answer first that nobody has had. */
static bool bind_to_item(struct proxied *proxied, struct binding_attempt *attempt,
			 struct cell *cell, size_t item)
{
	unsigned samples = proxied->proxy->run->suites[cell->suite].samples;
	size_t first = item * samples;
	for (unsigned k = 0; k < samples; k++)
		if (take_unheard(proxied, attempt, cell, first + k, 0))
			return true;
	for (unsigned k = 0; k < samples; k++)
		if (take_ready(proxied, attempt, cell, first + k, 0))
			return true;
	return false;
}

static bool has_settings(const struct run_suite *suite, struct binding_attempt *attempt)
{
	struct binding_settings agreed;
	struct err err = ERR_INIT;
	if (binding_settings_from_json(suite_settings(suite->suite), &agreed, &err) == ERR_OK)
		return binding_settings_match(&agreed, &attempt->settings, attempt->why,
					      sizeof(attempt->why));
	snprintf(attempt->why, sizeof(attempt->why), "%.255s", err.message);
	return false;
}

static void refuse_unbound(struct proxied *proxied, const struct binding_attempt *attempt)
{
	const struct proxy *proxy = proxied->proxy;
	if (proxy->options->pass_others)
		proxied_pass_on(proxied, attempt->endpoint, attempt->model);
	else
		proxied_refuse(
			proxied, PROXY_REFUSED_UNBOUND, 403,
			"these words are no item of %s%s: see what `parley bench proxy --record` "
			"makes of the command's requests, or let other requests through with "
			"--pass-others",
			proxy->run->suites[0].name,
			proxy->run->suite_count > 1 ? " or another suite of the run" : "");
}

/* A conversation's later step, that an answer of this run leads to. */
static bool bind_to_turn(struct proxied *proxied, struct binding_attempt *attempt)
{
	struct run *run = proxied->proxy->run;
	const struct words_turn *turn;
	for (int ready = 0; ready < 2; ready++) {
		size_t cursor = 0;
		while ((turn = words_index_turn(proxied->proxy->index, attempt->digest, &cursor))) {
			struct cell *cell = &run->cells[turn->cell];
			const struct run_suite *suite = &run->suites[cell->suite];
			if (cell->model != attempt->model->number)
				continue;
			attempt->suite = suite->name;
			attempt->item = suite_id(suite->suite, cell_item(run, cell, turn->index));
			attempt->samples = suite->samples;
			if (!has_settings(suite, attempt))
				continue;
			if (ready ? take_ready(proxied, attempt, cell, turn->index, turn->step)
				  : take_unheard(proxied, attempt, cell, turn->index, turn->step))
				return true;
		}
	}
	return false;
}

static void bind_request(struct proxied *proxied, struct binding_attempt *attempt)
{
	struct proxy *proxy = proxied->proxy;
	struct run *run = proxy->run;
	size_t count;
	const struct words_place *places = words_index_find(proxy->index, attempt->digest, &count);
	for (size_t i = 0; i < count; i++) {
		const struct run_suite *suite = &run->suites[places[i].suite];
		struct cell *cell = cells_answering(run, places[i].suite, attempt->model->number);
		if (!cell || !proxy_asks(run, cell))
			continue;
		attempt->suite = suite->name;
		attempt->item = suite_id(suite->suite, places[i].item);
		attempt->samples = suite->samples;
		if (has_settings(suite, attempt) &&
		    bind_to_item(proxied, attempt, cell, places[i].item))
			return;
	}
	if (bind_to_turn(proxied, attempt))
		return;
	if (!attempt->item)
		refuse_unbound(proxied, attempt);
	else if (attempt->why[0])
		proxied_refuse(proxied, PROXY_REFUSED_SETTINGS, 403, "item %.100s of %s, but %s",
			       attempt->item, attempt->suite, attempt->why);
	else if (attempt->tired)
		proxied_refuse(proxied, PROXY_REFUSED_SAMPLES, 403,
			       "item %.100s of %s was asked %u times in vain", attempt->item,
			       attempt->suite, ATTEMPTS_MAX);
	else
		proxied_refuse(
			proxied, PROXY_REFUSED_SAMPLES, 403,
			"item %.100s of %s: its %u sample%s answered already or under way: a run "
			"for more has --samples",
			attempt->item, attempt->suite, attempt->samples,
			attempt->samples == 1 ? " is" : "s are");
}

/* ---- a request comes ---- */

static bool has_key(const struct proxied *proxied)
{
	const struct http_exchange *exchange = proxied->exchange;
	const struct proxy *proxy = proxied->proxy;
	struct bytes key;
	if (!http_credential(exchange->head, exchange->head_bytes.data, &key) || key.size == 0)
		return false; /* any page in a browser can send that */
	return proxy->options->any_key ||
	       (key.size == strlen(proxy->key) &&
		bytes_equal_constant_time(key.data, proxy->key, key.size));
}

/* Whom the command's requests may go to. */
static bool is_asked(const struct run_model *model)
{
	return !model->plan->replay && (model->plan->roles & PLAN_CONTESTANT);
}

static struct run_model *model_named(struct run *run, struct bytes name)
{
	for (unsigned i = 0; i < run->model_count; i++)
		if (is_asked(&run->models[i]) && bytes_is(name, run->models[i].plan->name))
			return &run->models[i];
	return NULL;
}

static struct run_model *model_speaking(struct run *run, enum dialect_id dialect)
{
	for (unsigned i = 0; i < run->model_count; i++) {
		enum dialect_id spoken = run->models[i].plan->dialect;
		if (is_asked(&run->models[i]) && (dialect_served_by(spoken) >> dialect & 1))
			return &run->models[i];
	}
	return NULL;
}

static void refuse_model(struct proxied *proxied, struct bytes name)
{
	const struct run *run = proxied->proxy->run;
	struct buf names = BUF_INIT(4096);
	for (unsigned i = 0; i < run->model_count; i++)
		if (is_asked(&run->models[i]))
			buf_printf(&names, "%s%s", names.size ? ", " : "",
				   run->models[i].plan->name);
	proxied_refuse(proxied, PROXY_REFUSED_MODEL, 404,
		       "the run has no model \"%.*s\": the command may ask %s", (int)name.size,
		       name.data ? name.data : "", names.failed ? "others" : names.data);
	buf_release(&names);
}

static struct dialect_route route_of(const struct proxied *proxied,
				     const struct dialect_endpoint *endpoint)
{
	const struct http_exchange *exchange = proxied->exchange;
	return (struct dialect_route){endpoint, endpoint->dialect,
				      http_bytes(exchange->head_bytes.data, exchange->head->path)};
}

static enum err_code read_request(struct proxied *proxied, const struct dialect_route *route,
				  struct dialect_request *facts, struct err *err)
{
	struct bytes body = proxied->exchange->body;
	ERR_TRY(json_scan_text(proxied->proxy->scan, body, "the body", err));
	return dialect_request_read(route, proxied->proxy->scan, body, facts, err);
}

/* The model that a body or path names, asked through its own API. NULL: the request is answered. */
static struct run_model *find_model(struct proxied *proxied,
				    const struct dialect_endpoint *endpoint,
				    struct dialect_request *facts)
{
	struct proxy *proxy = proxied->proxy;
	struct http_exchange *exchange = proxied->exchange;
	struct dialect_route route = route_of(proxied, endpoint);
	struct err err = ERR_INIT;
	if (read_request(proxied, &route, facts, &err) != ERR_OK) {
		proxied_refuse(proxied, PROXY_REFUSED_BODY, 400, "%s", err.message);
		return NULL;
	}
	struct run_model *model = model_named(proxy->run, facts->model);
	if (!model) {
		refuse_model(proxied, facts->model);
		return NULL;
	}
	route.dialect = dialect_variant(endpoint->dialect, model->plan->dialect);
	if (route.dialect != model->plan->dialect) {
		proxied_refuse(
			proxied, PROXY_REFUSED_MODEL, 404,
			"model %s is asked through the API %s, and the run names it as %s: write "
			"--model %s=%s@…",
			model->plan->name, dialect_name(route.dialect),
			dialect_name(model->plan->dialect), model->plan->name,
			dialect_name(route.dialect));
		return NULL;
	}
	if (route.dialect != endpoint->dialect &&
	    dialect_request_read(&route, proxy->scan, exchange->body, facts, &err) != ERR_OK) {
		proxied_refuse(proxied, PROXY_REFUSED_BODY, 400, "%s", err.message);
		return NULL;
	}
	proxied->dialect = route.dialect;
	return model;
}

/* ---- recording ---- */

/* Nobody is asked: the model is whatever the request names. */
static bool read_facts(struct proxied *proxied, const struct dialect_endpoint *endpoint,
		       struct dialect_request *facts)
{
	struct dialect_route route = route_of(proxied, endpoint);
	struct err err = ERR_INIT;
	if (read_request(proxied, &route, facts, &err) == ERR_OK)
		return true;
	recording_leave_out(proxied->proxy->recording, err.message);
	proxied_refuse(proxied, PROXY_REFUSED_BODY, 400, "%s", err.message);
	return false;
}

/* What the request asks becomes an item. */
static enum err_code record_words(struct proxied *proxied, struct err *err)
{
	struct buf words = BUF_INIT(PROXIED_RESPONSE_MAX), settings = BUF_INIT(65536);
	struct recording *recording = proxied->proxy->recording;
	enum err_code code =
		dialect_words(proxied->dialect, proxied->exchange->body, &words, &settings, err);
	if (code == ERR_OK)
		code = recording_add(recording, buf_bytes(&words), buf_bytes(&settings),
				     &proxied->recorded, err);
	else
		recording_leave_out(recording, err->message);
	buf_release(&words);
	buf_release(&settings);
	return code;
}

static void refuse_recorded(struct proxied *proxied, const struct dialect_request *facts,
			    const struct err *err)
{
	struct recording *recording = proxied->proxy->recording;
	char model[DIALECT_SERVED_MAX];
	snprintf(model, sizeof(model), "%.*s", BYTES_ARG(facts->model));
	if (err->code != ERR_OK) {
		proxied_refuse(proxied, PROXY_REFUSED_BODY, 400, "it can be no item: %s",
			       err->message);
		return;
	}
	recording_count(recording, proxied->recorded, model);
	if (proxied->recorded)
		proxied_refuse(proxied, PROXY_REFUSED_RECORDED, 403,
			       "recorded as item %zu; nobody is asked while recording without "
			       "--model",
			       proxied->recorded);
	else
		proxied_refuse(proxied, PROXY_REFUSED_RECORDED, 403,
			       "left out of the recording; the first that was: %s",
			       recording_counts(recording).first_left);
}

static void take_recorded(struct proxied *proxied, const struct dialect_endpoint *endpoint)
{
	struct dialect_request facts;
	struct run_model *model = NULL;
	struct err err = ERR_INIT;
	bool asks = proxied->proxy->run->model_count > 0;
	if (asks)
		model = find_model(proxied, endpoint, &facts);
	if (asks ? !model : !read_facts(proxied, endpoint, &facts))
		return;
	if (endpoint->kind != ENDPOINT_COUNT_TOKENS)
		record_words(proxied, &err);
	if (asks)
		proxied_pass_on(proxied, endpoint, model);
	else
		refuse_recorded(proxied, &facts, &err);
}

/* ---- where it goes ---- */

static void take_generation(struct proxied *proxied, const struct dialect_endpoint *endpoint)
{
	struct dialect_request facts;
	struct err err = ERR_INIT;
	struct run_model *model = find_model(proxied, endpoint, &facts);
	struct binding_attempt attempt = {
		.endpoint = endpoint, .model = model, .streamed = facts.stream};
	if (!model)
		return;
	if (endpoint->kind == ENDPOINT_COUNT_TOKENS)
		proxied_pass_on(proxied, endpoint, model);
	else if (read_words(proxied, &attempt, &err) == ERR_OK)
		bind_request(proxied, &attempt);
	else if (proxied->proxy->options->pass_others)
		proxied_pass_on(proxied, endpoint, model);
	else
		proxied_refuse(proxied, PROXY_REFUSED_BODY, 400, "it can be no item: %s",
			       err.message);
}

static void take_list(struct proxied *proxied, const struct dialect_endpoint *endpoint)
{
	struct run_model *model = model_speaking(proxied->proxy->run, endpoint->dialect);
	if (model)
		proxied_pass_on(proxied, endpoint, model);
	else
		proxied_refuse(proxied, PROXY_REFUSED_MODEL, 404,
			       "the run has no model with this API (%s)",
			       dialect_name(endpoint->dialect));
}

static const char *problem_of(const struct http_exchange *exchange,
			      const struct dialect_endpoint *endpoint)
{
	const char *data = exchange->head_bytes.data;
	struct bytes coding = http_known(exchange->head, data, HTTP_FIELD_CONTENT_ENCODING);
	if (coding.size && !bytes_equal_fold(coding, BYTES("identity")))
		return "Content-Encoding must be identity";
	return dialect_query_problem(endpoint, http_bytes(data, exchange->head->query));
}

static const struct dialect_endpoint *read_endpoint(struct proxied *proxied)
{
	const struct http_exchange *exchange = proxied->exchange;
	const struct http_head *head = exchange->head;
	const char *data = exchange->head_bytes.data;
	struct bytes path = http_bytes(data, head->path);
	bool versioned = http_has(head, HTTP_FIELD_ANTHROPIC_VERSION);
	const struct dialect_endpoint *endpoint =
		dialect_endpoint_find(http_bytes(data, head->method), path, versioned);
	if (http_has(head, HTTP_FIELD_GOOGLE_API_KEY))
		endpoint = dialect_gemini_list(endpoint);
	proxied->dialect = endpoint ? endpoint->dialect : dialect_guess(path, versioned);
	return endpoint;
}

/* Whether requests are answered at all now. */
static const char *closed(struct run *run)
{
	if (run->over_budget)
		return "the plan's budget is used up";
	if (run->interrupted)
		return "the run was interrupted";
	return run->phase == RUN_ASKING && run->fatal.code == ERR_OK && run->proxy->started
		       ? NULL
		       : "the run does not ask now";
}

void proxied_arrived(struct http_exchange *exchange)
{
	struct proxy *proxy = exchange->server_user;
	struct proxied *proxied = proxied_new(proxy, exchange);
	if (!proxied) {
		http_respond(exchange, 503, NULL, 0, BYTES("out of memory\n"));
		return;
	}
	proxy->requests++;
	const struct dialect_endpoint *endpoint = read_endpoint(proxied);
	const char *shut = closed(proxy->run);
	const char *problem = endpoint ? problem_of(exchange, endpoint) : NULL;
	struct bytes path = http_bytes(exchange->head_bytes.data, exchange->head->path);
	if (!has_key(proxied))
		proxied_refuse(
			proxied, PROXY_REFUSED_KEY, 401,
			"the key is not the one that the command was given (in ANTHROPIC_API_KEY, "
			"OPENAI_API_KEY and the like, and PARLEY_PROXY_KEY); --any-key takes any");
	else if (shut)
		proxied_refuse(proxied, PROXY_REFUSED_OVER, 403, "%s", shut);
	else if (!endpoint)
		proxied_refuse(proxied, PROXY_REFUSED_ENDPOINT, 404,
			       "%.*s is no endpoint for prompts, or was asked with another method",
			       (int)(path.size < 200 ? path.size : 200), path.data);
	else if (problem)
		proxied_refuse(proxied, PROXY_REFUSED_BODY, 400, "%s", problem);
	else if (endpoint->kind == ENDPOINT_MODELS)
		take_list(proxied, endpoint);
	else if (proxy->recording)
		take_recorded(proxied, endpoint);
	else
		take_generation(proxied, endpoint);
}
