/* What a refused client is told: the caller's own error shape, the rule, the clause it enforces and
 * where to appeal, and whether waiting helps. */
#include "gate/request.h"

#include "gate/gateway.h"

#include <stdio.h>

#define MESSAGE_MAX 4096
#define BODY_MAX 32768

bool gate_read_credential(const struct http_exchange *exchange, struct policy_request *facts)
{
	struct bytes key;
	facts->has_key =
		http_credential(exchange->head, exchange->head_bytes.data, &key) && key.size > 0;
	if (facts->has_key)
		sha256_of(key.data, key.size, facts->key_digest);
	return facts->has_key;
}

void gate_read_peer(const struct http_exchange *exchange, struct policy_request *facts)
{
	_Static_assert((int)SENDER_IPV4 == (int)ENV_IPV4 && (int)SENDER_IPV6 == (int)ENV_IPV6,
		       "one numbering of families");
	enum env_family family = exchange->peer.family;
	bool has_address = family == ENV_IPV4 || family == ENV_IPV6;
	facts->sender.family = has_address ? (uint8_t)family : (uint8_t)SENDER_NO_ADDRESS;
	memcpy(facts->sender.ip, exchange->peer.ip, sizeof(facts->sender.ip));
}

bool gate_credentials_differ(const struct http_exchange *exchange)
{
	struct bytes key;
	return !http_credential(exchange->head, exchange->head_bytes.data, &key);
}

/* Whether the client may try again, and when: the official SDKs obey both fields, and sleep as long
 * as `retry-after` says. */
struct retry_advice {
	bool retry;
	int64_t after_ms; /* 0: not known */
};

/* Under this name the official SDKs show the id of an answer in their errors. */
static const char *request_id_field(enum dialect_id dialect)
{
	return dialect == DIALECT_ANTHROPIC ? "request-id" : "x-request-id";
}

static void send_error_with(struct gate_request *request, const struct dialect_error *error,
			    const struct retry_advice *advice)
{
	struct http_header headers[8];
	unsigned count = 0;
	char seconds[24];
	struct buf body = BUF_INIT(BODY_MAX);
	struct bytes record = bytes_from(request->admit_id);
	dialect_error_body(request->dialect, error, &body);
	headers[count++] = (struct http_header){"content-type", BYTES("application/json")};
	if (record.size > 0) {
		headers[count++] = (struct http_header){"parley-record", record};
		headers[count++] = (struct http_header){request_id_field(request->dialect), record};
	}
	if (advice->after_ms > 0) {
		snprintf(seconds, sizeof(seconds), "%lld",
			 (long long)((advice->after_ms + 999) / 1000));
		headers[count++] = (struct http_header){"retry-after", bytes_from(seconds)};
	}
	if (!advice->retry)
		headers[count++] = (struct http_header){"x-should-retry", BYTES("false")};
	count += gate_limit_headers(request, headers + count, 8 - count);
	request->sent += body.size;
	request->client_status = error->status;
	http_respond(request->exchange, error->status, headers, count, buf_bytes(&body));
	buf_release(&body);
}

void gate_send_refusal(struct gate_request *request)
{
	const struct verdict *verdict = &request->front->verdict;
	struct buf message = BUF_INIT(MESSAGE_MAX);
	int status = request->status ? request->status : rule_http_status(verdict->rule);
	bool waiting_helps = rule_retryable(verdict->rule) && request->front->retry_after_ms >= 0;
	struct retry_advice advice = {waiting_helps && !rule_waits_long(verdict->rule),
				      waiting_helps ? request->front->retry_after_ms : 0};
	policy_message(verdict, &message);
	struct dialect_error error = {.status = status,
				      .message = buf_bytes(&message),
				      .retry_after_ms = advice.after_ms};
	if (request->admit_id[0])
		error.request_id = bytes_from(request->admit_id);
	send_error_with(request, &error, &advice);
	buf_release(&message);
}

void gate_send_error(struct gate_request *request, int status, const char *code,
		     struct bytes message, bool retry)
{
	struct dialect_error error = {.status = status, .code = code, .message = message};
	send_error_with(request, &error, &(struct retry_advice){.retry = retry});
}
