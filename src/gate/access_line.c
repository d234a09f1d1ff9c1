/* One line of the access log (docs/operator-guide.md): who asked for what under which grant, what
 * became of it, and how long it took. Never a prompt, an answer, a key, or the path as it was sent:
 * that may hold a key. */
#include "gate/account.h"

#include "base/json_writer.h"
#include "gate/gateway.h"

#include <stdio.h>

/* ---- members ---- */

static void text_member(struct json_writer *to, const char *name, const char *text)
{
	json_write_member(to, name, bytes_from(text));
}

static void number_member(struct json_writer *to, const char *name, uint64_t value)
{
	json_write_name(to, name);
	json_write_u64(to, value);
}

static void true_member(struct json_writer *to, const char *name, bool value)
{
	if (value)
		json_write_raw(to, name, BYTES("true"));
}

/* Seconds with microseconds. */
static void seconds_member(struct json_writer *to, const char *name, uint64_t from_ns,
			   uint64_t to_ns)
{
	char text[40];
	uint64_t micros = to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;
	int size = snprintf(text, sizeof(text), "%llu.%06u", (unsigned long long)(micros / 1000000),
			    (unsigned)(micros % 1000000));
	json_write_raw(to, name, bytes_of(text, (size_t)size));
}

/* The network of the client, as in the window of refusals: /24 of IPv4, /48 of IPv6. */
static void network_member(struct json_writer *to, const struct gate_request *request)
{
	const uint8_t *ip = request->peer_network;
	char text[48] = "unix";
	if (request->peer_family == ENV_IPV4)
		snprintf(text, sizeof(text), "%u.%u.%u.0/24", ip[0], ip[1], ip[2]);
	else if (request->peer_family == ENV_IPV6)
		snprintf(text, sizeof(text), "%x:%x:%x::/48", ip[0] << 8 | ip[1],
			 ip[2] << 8 | ip[3], ip[4] << 8 | ip[5]);
	text_member(to, "network", text);
}

/* ---- groups ---- */

static void write_who(struct json_writer *to, const struct gate_terms *verdict)
{
	if (verdict->grant) {
		text_member(to, "org", verdict->grant->org->id);
		text_member(to, "grant", verdict->grant->id);
	}
	if (verdict->key)
		text_member(to, "key", verdict->key->id);
}

/* The endpoint's path: never as it was sent, and without the model that Gemini's names. */
static void path_member(struct json_writer *to, const struct dialect_endpoint *endpoint)
{
	char text[96];
	snprintf(text, sizeof(text), "%s%s%s", endpoint->path, endpoint->verb ? "{model}" : "",
		 endpoint->verb ? endpoint->verb : "");
	text_member(to, "path", text);
}

static void write_what(struct json_writer *to, const struct gate_request *request)
{
	const struct gate_terms *verdict = &request->terms;
	text_member(to, "dialect", dialect_name(request->dialect));
	if (request->endpoint) {
		text_member(to, "method", request->endpoint->method);
		path_member(to, request->endpoint);
	}
	if (verdict->model) {
		text_member(to, "model", verdict->model->id);
		text_member(to, "provider", verdict->model->provider->id);
	}
	true_member(to, "stream", request->streams);
}

static void write_usage(struct json_writer *to, const struct record_usage *usage)
{
	char text[160];
	int size = snprintf(
		text, sizeof(text),
		"{\"cache_read\":%llu,\"cache_write\":%llu,%s\"input\":%llu,\"output\":%llu}",
		(unsigned long long)usage->cache_read, (unsigned long long)usage->cache_write,
		usage->estimated ? "\"estimated\":true," : "", (unsigned long long)usage->input,
		(unsigned long long)usage->output);
	json_write_raw(to, "usage", bytes_of(text, (size_t)size));
}

static void write_outcome(struct json_writer *to, const struct gate_request *request)
{
	const struct gate_terms *verdict = &request->terms;
	enum rule rule = verdict->rule != RULE_NONE ? verdict->rule : verdict->observed;
	const struct world_clause *clause =
		verdict->rule != RULE_NONE ? verdict->clause : verdict->observed_clause;
	if (request->client_status)
		number_member(to, "status", (uint64_t)request->client_status);
	if (rule != RULE_NONE)
		text_member(to, "rule", rule_id(rule));
	if (rule != RULE_NONE && clause)
		text_member(to, "clause", clause->id);
	true_member(to, "observed", request->admitted && request->worker->observe);
	if (!request->admitted)
		return;
	text_member(to, "ending", record_ending_text(request->ending));
	if (request->status)
		number_member(to, "upstream_status", (uint64_t)request->status);
	number_member(to, "retries", request->call.retries);
	if (!verdict->unbound)
		text_member(to, "purpose", purpose_id(verdict->purpose));
	if (verdict->run)
		text_member(to, "run", verdict->run->id);
	write_usage(to, &request->settle_text->usage);
}

static void write_measures(struct json_writer *to, const struct gate_request *request)
{
	uint64_t now_ns = request->worker->loop->now_ns;
	if (request->first_byte_ns)
		seconds_member(to, "ttfb_seconds", request->started_ns, request->first_byte_ns);
	seconds_member(to, "duration_seconds", request->started_ns, now_ns);
	number_member(to, "received_bytes", request->received);
	number_member(to, "sent_bytes", request->sent);
	network_member(to, request);
}

/* What OpenTelemetry's conventions have a name for; its input counts what came from a cache. */
static void write_otel(struct json_writer *to, const struct gate_request *request)
{
	const struct gate_terms *verdict = &request->terms;
	if (request->use == ENDPOINT_USE_GENERATE)
		text_member(to, "gen_ai.operation.name", "chat");
	if (verdict->model) {
		text_member(
			to, "gen_ai.provider.name",
			metrics_otel_provider((enum dialect_id)verdict->model->provider->dialect));
		text_member(to, "gen_ai.request.model", verdict->model->id);
	}
	text_member(to, "gen_ai.response.model", dialect_served(&request->observer.outcome));
	if (!request->admitted || request->status != 200)
		return;
	const struct record_usage *usage = &request->settle_text->usage;
	number_member(to, "gen_ai.usage.cache_read.input_tokens", usage->cache_read);
	number_member(to, "gen_ai.usage.cache_creation.input_tokens", usage->cache_write);
	number_member(to, "gen_ai.usage.input_tokens",
		      usage->input + usage->cache_read + usage->cache_write);
	number_member(to, "gen_ai.usage.output_tokens", usage->output);
}

void gate_account_line(struct gate_request *request, const char *outcome)
{
	struct access_log_writer *writer = &request->worker->access;
	char *line = access_log_line(writer), time[RECORD_TIME_SIZE];
	if (!line)
		return;
	struct json_writer to = {.out = line, .capacity = ACCESS_LINE_MAX};
	record_time(request->worker->loop->wall_ms, time);
	json_write(&to, "{", 1);
	text_member(&to, "time", time);
	text_member(&to, "id", request->admit_id);
	text_member(&to, "outcome", outcome);
	write_who(&to, &request->terms);
	write_what(&to, request);
	write_outcome(&to, request);
	write_measures(&to, request);
	write_otel(&to, request);
	json_write(&to, "}\n", 2);
	access_log_added(writer, to.failed ? 0 : to.size);
}
