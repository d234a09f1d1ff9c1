#include "gate/metrics.h"

#include "policy/world.h"

#include <stddef.h>
#include <stdio.h>

#define LABELS_MAX 512

enum kind { COUNTER, GAUGE };

const struct tally_scale metric_scales[METRIC_SCALE_COUNT] = {
#define X(name, first, shift, count, unit) {first, shift, count, unit},
	METRIC_SCALE_TABLE(X)
#undef X
};

#define X(name, first, shift, count, unit) \
	_Static_assert((count) <= TALLY_BUCKETS_MAX, "buckets of " #name);
METRIC_SCALE_TABLE(X)
#undef X

static const struct {
	size_t offset;
	const char *name, *labels, *help;
	enum kind kind;
} rows[] = {
#define X(member, name, labels, kind, help) \
	{offsetof(struct metrics, member), name, labels, help, kind},
	METRIC_TABLE(X)
#undef X
};

static const struct {
	size_t offset;
	const char *name, *help;
	enum metric_scale scale;
} histograms[] = {
#define X(member, name, scale, help) \
	{offsetof(struct metrics, member), name, help, METRIC_SCALE_##scale},
	METRIC_HISTOGRAM_TABLE(X)
#undef X
};

/* ---- names ---- */

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 2166136261u; /* FNV-1a */
	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	return hash;
}

unsigned metrics_names_find(const struct metrics_names *names, const char *name)
{
	uint32_t hash = hash_of(name);
	unsigned count = atomic_load_explicit(&names->count, memory_order_acquire);
	for (unsigned i = 0; i < count; i++)
		if (names->rows[i].hash == hash && strcmp(names->rows[i].text, name) == 0)
			return i;
	return METRICS_NAMES_MAX;
}

void metrics_names_add(struct metrics_names *names, const char *name, enum dialect_id dialect)
{
	unsigned place = metrics_names_find(names, name);
	unsigned count = atomic_load_explicit(&names->count, memory_order_relaxed);
	if (place < METRICS_NAMES_MAX) {
		atomic_store_explicit(&names->rows[place].dialect, (int)dialect,
				      memory_order_relaxed);
		return;
	}
	if (count == METRICS_NAMES_MAX || strlen(name) >= sizeof(names->rows[0].text))
		return;
	names->rows[count].hash = hash_of(name);
	atomic_store_explicit(&names->rows[count].dialect, (int)dialect, memory_order_relaxed);
	strcpy(names->rows[count].text, name);
	atomic_store_explicit(&names->count, count + 1, memory_order_release);
}

static const char *name_at(const struct metrics_names *names, unsigned place)
{
	return place < METRICS_NAMES_MAX ? names->rows[place].text : "_other";
}

/* Places that can have something: those in use, and the last, for the others. */
static unsigned next_place(const struct metrics_names *names, unsigned place)
{
	unsigned count = atomic_load_explicit(&names->count, memory_order_acquire);
	return place + 1 < count || place == METRICS_NAMES_MAX ? place + 1 : METRICS_NAMES_MAX;
}

static unsigned first_place(const struct metrics_names *names)
{
	return atomic_load_explicit(&names->count, memory_order_acquire) ? 0 : METRICS_NAMES_MAX;
}

const char *metrics_otel_provider(enum dialect_id dialect)
{
	static const struct {
		const char *dialect, *provider;
	} providers[] = {
		{"gemini",  "gcp.gemini"},
                {"mistral", "mistral_ai"},
                {"xai",     "x_ai"      }
        };
	const char *name = dialect_name(dialect);
	for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++)
		if (strcmp(name, providers[i].dialect) == 0)
			return providers[i].provider;
	return name;
}

/* ---- samples ---- */

void metrics_write_header(struct buf *out, const char *name, const char *kind, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

void metrics_write_sample(struct buf *out, const char *name, const char *labels, int64_t value)
{
	if (labels[0])
		buf_printf(out, "%s{%s} %lld\n", name, labels, (long long)value);
	else
		buf_printf(out, "%s %lld\n", name, (long long)value);
}

void metrics_write_number(struct buf *out, const char *name, const char *labels, double value)
{
	if (labels[0])
		buf_printf(out, "%s{%s} %.15g\n", name, labels, value);
	else
		buf_printf(out, "%s %.15g\n", name, value);
}

void metrics_write_histogram(struct buf *out, const char *name, const char *labels,
			     const struct tally_total *total, const struct tally_scale *scale)
{
	int64_t seen = 0;
	const char *comma = labels[0] ? "," : "";
	for (unsigned i = 0; i < scale->count; i++) {
		double bound = (double)(scale->first << (scale->shift * i)) * scale->unit;
		seen += total->buckets[i];
		buf_printf(out, "%s_bucket{%s%sle=\"%.10g\"} %lld\n", name, labels, comma, bound,
			   (long long)seen);
	}
	buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %lld\n", name, labels, comma,
		   (long long)total->count);
	const char *open = labels[0] ? "{" : "", *close = labels[0] ? "}" : "";
	buf_printf(out, "%s_sum%s%s%s %.15g\n", name, open, labels, close,
		   (double)total->sum * scale->unit);
	buf_printf(out, "%s_count%s%s%s %lld\n", name, open, labels, close,
		   (long long)total->count);
}

/* ---- the workers' sets ---- */

static const void *at(const struct metrics *set, size_t offset)
{
	return (const char *)set + offset;
}

static int64_t sum_at(const struct metrics_view *view, size_t offset)
{
	int64_t sum = 0;
	for (size_t i = 0; i < view->count; i++)
		sum += counter_read(at(view->sets[i], offset));
	return sum;
}

static struct tally_total total_at(const struct metrics_view *view, size_t offset)
{
	struct tally_total total = {0};
	for (size_t i = 0; i < view->count; i++)
		tally_total_add(&total, at(view->sets[i], offset));
	return total;
}

static void write_rows(const struct metrics_view *view, struct buf *out)
{
	const char *previous = "";
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(previous, rows[i].name) != 0)
			metrics_write_header(out, rows[i].name,
					     rows[i].kind == COUNTER ? "counter" : "gauge",
					     rows[i].help);
		previous = rows[i].name;
		metrics_write_sample(out, rows[i].name, rows[i].labels,
				     sum_at(view, rows[i].offset));
	}
	for (size_t i = 0; i < sizeof(histograms) / sizeof(histograms[0]); i++) {
		struct tally_total total = total_at(view, histograms[i].offset);
		metrics_write_header(out, histograms[i].name, "histogram", histograms[i].help);
		metrics_write_histogram(out, histograms[i].name, "", &total,
					&metric_scales[histograms[i].scale]);
	}
}

static void write_rules(const struct metrics_view *view, size_t offset, const char *name,
			const char *help, struct buf *out)
{
	metrics_write_header(out, name, "counter", help);
	for (unsigned rule = 1; rule < RULE_COUNT; rule++) {
		char labels[96];
		snprintf(labels, sizeof(labels), "rule=\"%s\"", rule_id((enum rule)rule));
		metrics_write_sample(out, name, labels,
				     sum_at(view, offset + rule * sizeof(int64_t)));
	}
}

static void write_endings(const struct metrics_view *view, struct buf *out)
{
	static const char name[] = "parley_settled_total";
	metrics_write_header(out, name, "counter", "Admitted requests settled, by how they ended.");
	for (unsigned ending = 1; ending < METRICS_ENDINGS; ending++) {
		const char *text = record_ending_text((enum record_ending)ending);
		char labels[96];
		if (!text)
			break;
		snprintf(labels, sizeof(labels), "ending=\"%s\"", text);
		metrics_write_sample(out, name, labels,
				     sum_at(view, offsetof(struct metrics, ended_by) +
							  ending * sizeof(int64_t)));
	}
}

static void write_upstream_errors(const struct metrics_view *view, struct buf *out)
{
	static const char name[] = "parley_upstream_errors_total";
	static const char *const kinds[] = {
#define X(name, text) text,
		UPSTREAM_ERROR_TABLE(X)
#undef X
	};
	metrics_write_header(
		out, name, "counter",
		"Calls to a provider without a whole good answer, by what went wrong.");
	for (unsigned place = first_place(view->providers); place <= METRICS_NAMES_MAX;
	     place = next_place(view->providers, place)) {
		for (unsigned kind = 0; kind < UPSTREAM_ERROR_COUNT; kind++) {
			char labels[LABELS_MAX];
			size_t offset = offsetof(struct metrics, upstream_errors) +
					(place * UPSTREAM_ERROR_COUNT + kind) * sizeof(int64_t);
			int64_t value = sum_at(view, offset);
			if (place == METRICS_NAMES_MAX && value == 0)
				continue;
			snprintf(labels, sizeof(labels), "provider=\"%s\",kind=\"%s\"",
				 name_at(view->providers, place), kinds[kind]);
			metrics_write_sample(out, name, labels, value);
		}
	}
}

/* ---- OpenTelemetry's names ---- */

static const struct {
	const char *name, *help, *labels;
	size_t offset;
	enum metric_scale scale;
} otel[] = {
	{"gen_ai_client_operation_duration_seconds",
	 "OpenTelemetry gen_ai.client.operation.duration: admitted requests for an answer.", "",
	 offsetof(struct metrics_model,														      duration), METRIC_SCALE_OTEL_SECONDS},
	{"gen_ai_client_token_usage",
	 "OpenTelemetry gen_ai.client.token.usage: tokens of settled requests.",	     ",gen_ai_token_type=\"input\"",  offsetof(struct metrics_model, input),
	 METRIC_SCALE_OTEL_TOKENS																				},
	{"gen_ai_client_token_usage",
	 "OpenTelemetry gen_ai.client.token.usage: tokens of settled requests.",	     ",gen_ai_token_type=\"output\"", offsetof(struct metrics_model, output),
	 METRIC_SCALE_OTEL_TOKENS																				},
};

static void write_model(const struct metrics_view *view, unsigned place, size_t row,
			struct buf *out)
{
	char labels[LABELS_MAX];
	size_t offset = offsetof(struct metrics, models) + place * sizeof(struct metrics_model) +
			otel[row].offset;
	struct tally_total total = total_at(view, offset);
	enum dialect_id dialect = DIALECT_NONE;
	if (total.count == 0)
		return; /* nobody has asked for it: no series */
	if (place < METRICS_NAMES_MAX)
		dialect = (enum dialect_id)atomic_load_explicit(&view->models->rows[place].dialect,
								memory_order_relaxed);
	snprintf(labels, sizeof(labels),
		 "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"%s\","
		 "gen_ai_request_model=\"%s\"%s",
		 place < METRICS_NAMES_MAX ? metrics_otel_provider(dialect) : "_OTHER",
		 name_at(view->models, place), otel[row].labels);
	metrics_write_histogram(out, otel[row].name, labels, &total,
				&metric_scales[otel[row].scale]);
}

static void write_otel(const struct metrics_view *view, struct buf *out)
{
	const char *previous = "";
	for (size_t row = 0; row < sizeof(otel) / sizeof(otel[0]); row++) {
		if (strcmp(previous, otel[row].name) != 0)
			metrics_write_header(out, otel[row].name, "histogram", otel[row].help);
		previous = otel[row].name;
		for (unsigned place = first_place(view->models); place <= METRICS_NAMES_MAX;
		     place = next_place(view->models, place))
			write_model(view, place, row, out);
	}
}

void metrics_write(const struct metrics_view *view, struct buf *out)
{
	write_rows(view, out);
	write_rules(view, offsetof(struct metrics, refused_by), "parley_refused_by_rule_total",
		    "Requests refused, by rule.", out);
	write_rules(view, offsetof(struct metrics, observed_by), "parley_observed_by_rule_total",
		    "Requests that the rule would have refused or cut, in mode observe.", out);
	write_endings(view, out);
	write_upstream_errors(view, out);
	write_otel(view, out);
}
