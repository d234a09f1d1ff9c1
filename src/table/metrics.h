/* What a worker counts. Each row is one cell of the worker and one series (or label value) under
 * /metrics: member, Prometheus name with labels, kind, help. Rows of one name stand together. */
#ifndef TABLE_METRICS_H
#define TABLE_METRICS_H

/* clang-format off */
#define METRIC_TABLE(X) \
	/* member               name                               labels                   kind     help */ \
	X(requests,             "parley_requests_total",           "",                      COUNTER, "Requests for a model read completely.") \
	X(admitted,             "parley_admitted_total",           "",                      COUNTER, "Requests admitted.") \
	X(refused,              "parley_refused_total",            "",                      COUNTER, "Requests refused by a rule.") \
	X(observed,             "parley_observed_total",           "",                      COUNTER, "Requests let through in mode observe that a rule would have refused or cut.") \
	X(input_tokens,         "parley_tokens_total",             "type=\"input\"",        COUNTER, "Tokens of settled requests.") \
	X(cache_read_tokens,    "parley_tokens_total",             "type=\"cache_read\"",   COUNTER, "Tokens of settled requests.") \
	X(cache_write_tokens,   "parley_tokens_total",             "type=\"cache_write\"",  COUNTER, "Tokens of settled requests.") \
	X(output_tokens,        "parley_tokens_total",             "type=\"output\"",       COUNTER, "Tokens of settled requests.") \
	X(estimated,            "parley_usage_estimated_total",    "",                      COUNTER, "Settled requests whose usage is an estimate.") \
	X(implausible,          "parley_usage_implausible_total",  "",                      COUNTER, "Settled requests whose provider told tokens that they cannot have taken.") \
	X(in_flight,            "parley_in_flight",                "",                      GAUGE,   "Admitted requests whose settle record is not in the log yet.") \
	X(streams,              "parley_streams",                  "",                      GAUGE,   "Streamed answers being relayed.") \
	X(log_waits,            "parley_log_waits_total",          "",                      COUNTER, "Requests that had to wait for room in the log.") \
	X(log_waiting,          "parley_log_waiting",              "",                      GAUGE,   "Requests that wait for room in the log.")

/* Histograms of the worker: member, name, bounds (METRIC_SCALE_TABLE), help. */
#define METRIC_HISTOGRAM_TABLE(X) \
	X(duration,             "parley_request_duration_seconds",             REQUEST, "From the complete head of an admitted request to the end of its answer.") \
	X(first_byte,           "parley_time_to_first_byte_seconds",           REQUEST, "From the complete head of an admitted request to the first byte of its answer.") \
	X(upstream_first_byte,  "parley_upstream_time_to_first_byte_seconds",  REQUEST, "From the start of the call to the complete head of the provider's answer.")

/* Bounds of histograms: first upper bound, doublings from one to the next, how many, unit. The two
 * of OpenTelemetry are those its conventions advise. */
#define METRIC_SCALE_TABLE(X) \
	/* name           first  shift count unit */ \
	X(REQUEST,        250,   1,    22,   1e-6) /* 250 us to 524 s */ \
	X(OTEL_SECONDS,   10000, 1,    14,   1e-6) /* 0.01 to 81.92 s */ \
	X(OTEL_TOKENS,    1,     2,    14,   1)    /* 1 to 67,108,864 */

/* Why a call to a provider did not give a whole good answer. */
#define UPSTREAM_ERROR_TABLE(X) \
	X(CONNECT,      "connect")      /* no connection: name, TCP or TLS */ \
	X(TIMEOUT,      "timeout")      /* connecting, the first byte or the next one took too long */ \
	X(RESET,        "reset")        /* the connection broke, or the answer ended too early */ \
	X(PROTOCOL,     "protocol")     /* what came is not HTTP as it should be, or too large */ \
	X(STREAM,       "stream")       /* an error event in a stream that had begun well */ \
	X(THROTTLED,    "throttled")    /* status 429 or 529 */ \
	X(CREDENTIAL,   "credential")   /* status 401 or 403: the gateway's own credential */ \
	X(CLIENT_ERROR, "client_error") /* another status 4xx */ \
	X(SERVER_ERROR, "server_error") /* any other status but 200 */
/* clang-format on */

#endif
