#include "gate/metrics.h"

#include "policy/world.h"

#include <stddef.h>
#include <stdio.h>

enum kind { COUNTER, GAUGE };

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

static int64_t sum_at(const struct metrics *const *sets, size_t count, size_t offset)
{
	int64_t sum = 0;
	for (size_t i = 0; i < count; i++) {
		const _Atomic int64_t *cell =
			(const _Atomic int64_t *)((const char *)sets[i] + offset);
		sum += atomic_load_explicit(cell, memory_order_relaxed);
	}
	return sum;
}

static void write_header(struct buf *out, const char *name, const char *kind, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void write_sample(struct buf *out, const char *name, const char *labels, int64_t value)
{
	if (labels[0])
		buf_printf(out, "%s{%s} %lld\n", name, labels, (long long)value);
	else
		buf_printf(out, "%s %lld\n", name, (long long)value);
}

void metrics_write_value(struct buf *out, const char *name, const char *labels, const char *kind,
			 const char *help, int64_t value)
{
	write_header(out, name, kind, help);
	write_sample(out, name, labels, value);
}

static void write_rules(const struct metrics *const *sets, size_t count, struct buf *out)
{
	static const char name[] = "parley_refused_by_rule_total";
	write_header(out, name, "counter", "Requests refused, by rule.");
	for (unsigned rule = 1; rule < RULE_COUNT; rule++) {
		char labels[96];
		size_t offset = offsetof(struct metrics, refused_by) + rule * sizeof(int64_t);
		snprintf(labels, sizeof(labels), "rule=\"%s\"", rule_id((enum rule)rule));
		write_sample(out, name, labels, sum_at(sets, count, offset));
	}
}

static void write_endings(const struct metrics *const *sets, size_t count, struct buf *out)
{
	static const char name[] = "parley_settled_total";
	write_header(out, name, "counter", "Admitted requests settled, by how they ended.");
	for (unsigned ending = 1; ending < METRICS_ENDINGS; ending++) {
		const char *text = record_ending_text((enum record_ending)ending);
		char labels[96];
		size_t offset = offsetof(struct metrics, ended_by) + ending * sizeof(int64_t);
		if (!text)
			break;
		snprintf(labels, sizeof(labels), "ending=\"%s\"", text);
		write_sample(out, name, labels, sum_at(sets, count, offset));
	}
}

void metrics_write(const struct metrics *const *sets, size_t count, struct buf *out)
{
	const char *previous = "";
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(previous, rows[i].name) != 0)
			write_header(out, rows[i].name,
				     rows[i].kind == COUNTER ? "counter" : "gauge", rows[i].help);
		previous = rows[i].name;
		write_sample(out, rows[i].name, rows[i].labels,
			     sum_at(sets, count, rows[i].offset));
	}
	write_rules(sets, count, out);
	write_endings(sets, count, out);
}
