/* What a load has measured, as JSON. */
#include "load/load.h"

#include <stdio.h>

static const struct {
	const char *key, *text;
} errors[] = {
#define X(name, key, text) {key, text},
	LOAD_ERROR_TABLE(X)
#undef X
};

const char *load_error_key(enum load_error error)
{
	return errors[error].key;
}

const char *load_error_text(enum load_error error)
{
	return errors[error].text;
}

static json_t *times(const struct histogram *histogram)
{
	static const struct {
		const char *key;
		double quantile;
	} rows[] = {
		{"p50",  0.5  },
		{"p90",  0.9  },
		{"p99",  0.99 },
		{"p999", 0.999},
	};
	json_t *out =
		json_pack("{s:I, s:I, s:I, s:I}", "count", (json_int_t)histogram->count, "min",
			  (json_int_t)histogram->min, "mean", (json_int_t)histogram_mean(histogram),
			  "max", (json_int_t)histogram->max);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		json_object_set_new(
			out, rows[i].key,
			json_integer((json_int_t)histogram_quantile(histogram, rows[i].quantile)));
	return out;
}

static json_t *counts(const struct load_result *result)
{
	json_t *out = json_object();
	for (int i = 0; i < LOAD_ERROR_COUNT; i++)
		if (result->errors[i])
			json_object_set_new(out, load_error_key(i),
					    json_integer((json_int_t)result->errors[i]));
	return out;
}

static json_t *statuses(const struct load_result *result)
{
	json_t *out = json_object();
	for (int i = 0; i < LOAD_STATUS_MAX; i++) {
		char key[16];
		snprintf(key, sizeof(key), "%d", i);
		if (result->statuses[i])
			json_object_set_new(out, key,
					    json_integer((json_int_t)result->statuses[i]));
	}
	return out;
}

json_t *load_report(const struct load_result *result)
{
	double seconds = (double)result->measured_ns / 1e9;
	double per = seconds > 0 ? 1 / seconds : 0;
	json_t *out = json_pack(
		"{s:f, s:I, s:I, s:f, s:I, s:I, s:I, s:f, s:I, s:s}", "seconds", seconds,
		"requests", (json_int_t)result->ended, "failed", (json_int_t)result->failed,
		"requests_per_second", (double)result->ended * per, "open",
		(json_int_t)result->open, "bytes", (json_int_t)result->bytes, "events",
		(json_int_t)result->events, "events_per_second", (double)result->events * per,
		"stamped_events", (json_int_t)result->stamped, "first_failure",
		bytes_is_utf8(bytes_from(result->sample)) ? result->sample : "");
	json_object_set_new(out, "errors", counts(result));
	json_object_set_new(out, "statuses", statuses(result));
	json_object_set_new(out, "latency_ns", times(&result->latency));
	json_object_set_new(out, "head_ns", times(&result->head));
	json_object_set_new(out, "event_delay_ns", times(&result->delay));
	json_object_set_new(out, "start_delay_ns", times(&result->late));
	return out;
}
