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
	X(input_tokens,         "parley_tokens_total",             "type=\"input\"",        COUNTER, "Tokens of settled requests.") \
	X(cache_read_tokens,    "parley_tokens_total",             "type=\"cache_read\"",   COUNTER, "Tokens of settled requests.") \
	X(cache_write_tokens,   "parley_tokens_total",             "type=\"cache_write\"",  COUNTER, "Tokens of settled requests.") \
	X(output_tokens,        "parley_tokens_total",             "type=\"output\"",       COUNTER, "Tokens of settled requests.") \
	X(estimated,            "parley_usage_estimated_total",    "",                      COUNTER, "Settled requests whose usage is an estimate.") \
	X(duration_us,          "parley_request_microseconds_total", "",                    COUNTER, "Time from complete head to settlement, summed over admitted requests.") \
	X(in_flight,            "parley_in_flight",                "",                      GAUGE,   "Admitted requests that are not settled yet.") \
	X(streams,              "parley_streams",                  "",                      GAUGE,   "Streamed answers being relayed.")
/* clang-format on */

#endif
