#include "gate/account.h"

#include "gate/gateway.h"
#include "watch/watch.h"

static int64_t micros(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (int64_t)((to_ns - from_ns) / 1000) : 0;
}

/* What tells client programs apart: the user-agent, and the fields in which official SDKs name
 * language, system and version (not those that change with each request). */
static uint64_t stack_of(const struct http_exchange *exchange)
{
	static const char *const told[] = {"x-stainless-lang",
					   "x-stainless-os",
					   "x-stainless-arch",
					   "x-stainless-runtime",
					   "x-stainless-runtime-version",
					   "x-stainless-package-version"};
	const char *data = exchange->head_bytes.data;
	uint64_t stack = BYTES_HASH_START;
	for (unsigned i = 0; i < exchange->head->field_count; i++) {
		struct bytes name = http_bytes(data, exchange->head->fields[i].name);
		struct bytes value = http_bytes(data, exchange->head->fields[i].value);
		bool counts = i + 1 == exchange->head->known[HTTP_FIELD_USER_AGENT];
		bool may = name.size >= 14 && (name.data[0] | 0x20) == 'x';
		for (size_t t = 0; may && !counts && t < sizeof(told) / sizeof(told[0]); t++)
			counts = bytes_equal_fold(name, bytes_from(told[t]));
		char end = (char)name.size; /* tells one field's value from the next one's */
		if (counts)
			stack = bytes_hash(bytes_hash(stack, value), bytes_of(&end, 1));
	}
	return stack;
}

/* Networks are an IPv4 /24 or an IPv6 /48. */
static void watch_request(const struct gate_request *request)
{
	uint8_t network[7] = {request->peer_family};
	size_t size = request->peer_family == ENV_IPV4   ? 3
		      : request->peer_family == ENV_IPV6 ? 6
							 : 0;
	memcpy(network + 1, request->peer_network, size);
	watch_begin(request->terms.key->watch, bytes_of(network, 1 + size),
		    request->exchange ? stack_of(request->exchange) : 0);
}

void gate_account_admitted(struct gate_request *request)
{
	struct metrics *metrics = &request->worker->metrics;
	struct limits_traffic *traffic = &request->terms.grant->cells->traffic;
	metrics_add(&metrics->admitted, 1);
	metrics_add(&metrics->in_flight, 1);
	limits_count(&traffic->admitted, 1);
	limits_count(&traffic->live, 1);
	watch_request(request);
	if (request->terms.observed != RULE_NONE)
		gate_account_observed(request, request->terms.observed);
}

void gate_account_refused(struct gate_request *request)
{
	struct metrics *metrics = &request->worker->metrics;
	metrics_add(&metrics->refused, 1);
	metrics_add(&metrics->refused_by[request->terms.rule], 1);
	if (request->terms.grant)
		limits_count(&request->terms.grant->cells->traffic.refused, 1);
}

void gate_account_told(struct gate_request *request)
{
	if (request->worker->access.log)
		gate_account_line(request, "refused");
}

void gate_account_listed(struct gate_request *request)
{
	if (request->worker->access.log)
		gate_account_line(request, "listed");
}

void gate_account_left(struct gate_request *request)
{
	if (request->worker->access.log)
		gate_account_line(request, "left");
}

void gate_account_observed(struct gate_request *request, enum rule rule)
{
	struct metrics *metrics = &request->worker->metrics;
	metrics_add(&metrics->observed, 1);
	metrics_add(&metrics->observed_by[rule], 1);
	limits_count(&request->terms.grant->cells->traffic.observed, 1);
}

/* ---- providers ---- */

static enum upstream_error error_of_status(int status)
{
	if (status == 429 || status == 529)
		return UPSTREAM_ERROR_THROTTLED;
	if (status == 401 || status == 403)
		return UPSTREAM_ERROR_CREDENTIAL;
	return status >= 400 && status < 500 ? UPSTREAM_ERROR_CLIENT_ERROR
					     : UPSTREAM_ERROR_SERVER_ERROR;
}

static enum upstream_error error_of_failure(enum err_code code)
{
	switch ((int)code) {
	case ERR_NETWORK:
		return UPSTREAM_ERROR_CONNECT;
	case ERR_TIMEOUT:
		return UPSTREAM_ERROR_TIMEOUT;
	case ERR_UPSTREAM:
		return UPSTREAM_ERROR_RESET;
	default:
		return UPSTREAM_ERROR_PROTOCOL;
	}
}

/* Endings that are the provider's doing, and what it did after a good one. */
static bool upstream_error_of(const struct gate_request *request, enum upstream_error *out)
{
	bool theirs = request->ending == RECORD_ENDING_UPSTREAM_RESET ||
		      request->ending == RECORD_ENDING_UPSTREAM_ERROR ||
		      request->ending == RECORD_ENDING_TIMEOUT;
	if (!theirs && !(request->observing && request->observer.overrun &&
			 request->ending == RECORD_ENDING_FINISH))
		return false;
	if (!theirs)
		*out = UPSTREAM_ERROR_PROTOCOL;
	else if (request->failure != ERR_OK)
		*out = error_of_failure(request->failure);
	else if (request->status != 200)
		*out = error_of_status(request->status);
	else
		*out = request->observer.outcome.failed ? UPSTREAM_ERROR_STREAM
							: UPSTREAM_ERROR_RESET;
	return true;
}

static bool may_tell_of(const struct gate_worker *worker, struct gate_upstream *upstream,
			const char *problem)
{
	uint64_t kind = bytes_hash(BYTES_HASH_START, bytes_from(problem));
	for (unsigned i = 0; i < UPSTREAM_TOLD; i++)
		if (upstream->told[i].kind == kind)
			return gate_worker_may_tell(worker, &upstream->told[i].told_ns);
	for (unsigned i = 0; i < UPSTREAM_TOLD; i++) {
		if (gate_worker_may_tell(worker, &upstream->told[i].told_ns)) {
			upstream->told[i].kind = kind;
			return true;
		}
	}
	return false;
}

void gate_account_upstream_failed(struct gate_request *request, const char *problem)
{
	const struct world_provider *provider = request->terms.model->provider;
	struct gate_upstream *upstream = &request->upstreams->rows[provider->index];
	if (!may_tell_of(request->worker, upstream, problem))
		return;
	gateway_tell(request->worker->gateway,
		     "provider %s, record %s: %s (told once a minute; "
		     "parley_upstream_errors_total counts all)",
		     provider->id, request->admit_id, problem);
}

static void count_upstream(struct gate_request *request)
{
	struct metrics *metrics = &request->worker->metrics;
	enum upstream_error error;
	if (request->call.head_seen)
		tally_add(&metrics->upstream_first_byte, &metric_scales[METRIC_SCALE_REQUEST],
			  micros(request->call.started_ns, request->call.head_ns));
	if (!upstream_error_of(request, &error))
		return;
	unsigned place = metrics_names_find(gateway_provider_names(request->worker->gateway),
					    request->terms.model->provider->id);
	metrics_add(&metrics->upstream_errors[place][error], 1);
}

/* ---- models ---- */

/* OpenTelemetry counts cached tokens as input. */
static void count_model(struct gate_request *request, const struct record_usage *usage)
{
	struct gate_worker *worker = request->worker;
	const struct tally_scale *tokens = &metric_scales[METRIC_SCALE_OTEL_TOKENS];
	if (request->use != ENDPOINT_USE_GENERATE)
		return;
	unsigned place =
		metrics_names_find(gateway_model_names(worker->gateway), request->terms.model->id);
	struct metrics_model *model = &worker->metrics.models[place];
	tally_add(&model->duration, &metric_scales[METRIC_SCALE_OTEL_SECONDS],
		  micros(request->started_ns, worker->loop->now_ns));
	if (request->status != 200)
		return;
	tally_add(&model->input, tokens,
		  (int64_t)(usage->input + usage->cache_read + usage->cache_write));
	tally_add(&model->output, tokens, (int64_t)usage->output);
}

/* ---- endings ---- */

void gate_account_recorded(struct gate_request *request)
{
	metrics_add(&request->worker->metrics.in_flight, -1);
}

void gate_account_settled(struct gate_request *request, const struct record_usage *usage)
{
	struct metrics *metrics = &request->worker->metrics;
	struct limits_traffic *traffic = &request->terms.grant->cells->traffic;
	limits_count(&traffic->live, -1);
	metrics_add(&metrics->input_tokens, (int64_t)usage->input);
	metrics_add(&metrics->cache_read_tokens, (int64_t)usage->cache_read);
	metrics_add(&metrics->cache_write_tokens, (int64_t)usage->cache_write);
	metrics_add(&metrics->output_tokens, (int64_t)usage->output);
	metrics_add(&metrics->estimated, usage->estimated);
	metrics_add(&metrics->ended_by[request->ending], 1);
	count_upstream(request);
	count_model(request, usage);
}

void gate_account_finished(struct gate_request *request)
{
	struct metrics *metrics = &request->worker->metrics;
	const struct tally_scale *scale = &metric_scales[METRIC_SCALE_REQUEST];
	uint64_t now_ns = request->worker->loop->now_ns;
	tally_add(&metrics->duration, scale, micros(request->started_ns, now_ns));
	/* An answer that is not streamed begins when it ends; a client that was gone before had
	 * none. */
	if (!request->first_byte_ns && request->answered)
		request->first_byte_ns = now_ns;
	if (request->first_byte_ns)
		tally_add(&metrics->first_byte, scale,
			  micros(request->started_ns, request->first_byte_ns));
	if (request->worker->access.log)
		gate_account_line(request, "admitted");
}
