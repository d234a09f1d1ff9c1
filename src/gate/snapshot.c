/* One picture of the running gateway for `parley top`: counters since the start, what is under way,
 * the logs, and the grants with most traffic. The asker makes rates of two pictures. */
#include "gate/gateway_internal.h"

#include "gate/admin_view.h"
#include "gate/control_internal.h"

#include <stdlib.h>

#define GRANTS_MAX 200

/* ---- the workers ---- */

static int64_t sum_of(const struct gateway *gateway, size_t offset)
{
	int64_t sum = 0;
	for (unsigned i = 0; i < gateway->worker_count; i++) {
		const char *metrics = (const char *)&gateway->workers[i].metrics;
		sum += counter_read((const _Atomic int64_t *)(const void *)(metrics + offset));
	}
	return sum;
}

static json_t *view_counters(const struct gateway *gateway)
{
	static const struct {
		const char *name;
		size_t offset;
	} rows[] = {
#define ROW(member) {#member, offsetof(struct metrics, member)}
		ROW(requests),      ROW(admitted),           ROW(refused),
		ROW(observed),      ROW(input_tokens),       ROW(cache_read_tokens),
		ROW(output_tokens), ROW(cache_write_tokens), ROW(in_flight),
		ROW(streams),
#undef ROW
	};
	json_t *view = json_object();
	for (size_t i = 0; view && i < sizeof(rows) / sizeof(rows[0]); i++)
		json_set(view, rows[i].name, json_integer(sum_of(gateway, rows[i].offset)));
	return view;
}

static json_t *view_rules(const struct gateway *gateway, size_t offset)
{
	json_t *view = json_object();
	for (unsigned rule = 1; view && rule < RULE_COUNT; rule++) {
		int64_t count = sum_of(gateway, offset + rule * sizeof(int64_t));
		if (count > 0)
			json_set(view, rule_id((enum rule)rule), json_integer(count));
	}
	return view;
}

/* Buckets with their upper bounds, in the scale's unit; the last has none. */
static json_t *view_tally(const struct tally_total *total, const struct tally_scale *scale)
{
	json_t *bounds = json_array(), *counts = json_array();
	for (unsigned i = 0; i <= scale->count; i++) {
		if (i < scale->count)
			json_array_append_new(
				bounds, json_real((double)(scale->first << (scale->shift * i)) *
						  scale->unit));
		json_array_append_new(counts, json_integer(total->buckets[i]));
	}
	return json_pack("{s:o, s:o}", "bounds", bounds, "counts", counts);
}

static json_t *view_worker_tally(const struct gateway *gateway, size_t offset)
{
	struct tally_total total = {0};
	for (unsigned i = 0; i < gateway->worker_count; i++) {
		const char *metrics = (const char *)&gateway->workers[i].metrics;
		tally_total_add(&total, (const struct tally *)(const void *)(metrics + offset));
	}
	return view_tally(&total, &metric_scales[METRIC_SCALE_REQUEST]);
}

static json_t *view_connections(const struct gateway *gateway)
{
	int64_t clients = 0, open = 0, idle = 0, opened = 0, reused = 0;
	for (unsigned i = 0; i < gateway->worker_count; i++) {
		const struct gate_worker *worker = &gateway->workers[i];
		clients += counter_read(&http_server_stats(worker->server)->open);
		open += counter_read(&worker->upstream_stats.open);
		idle += counter_read(&worker->upstream_stats.idle);
		opened += counter_read(&worker->upstream_stats.opened);
		reused += counter_read(&worker->upstream_stats.reused);
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "clients", (json_int_t)clients,
			 "upstream_open", (json_int_t)open, "upstream_idle", (json_int_t)idle,
			 "upstream_opened", (json_int_t)opened, "upstream_reused",
			 (json_int_t)reused);
}

static json_t *view_providers(const struct gateway *gateway)
{
	static const char *const kinds[] = {
#define X(name, text) text,
		UPSTREAM_ERROR_TABLE(X)
#undef X
	};
	json_t *rows = json_array();
	unsigned count = atomic_load(&gateway->provider_names.count);
	for (unsigned place = 0; rows && place < count; place++) {
		json_t *errors = json_object();
		for (unsigned kind = 0; errors && kind < UPSTREAM_ERROR_COUNT; kind++) {
			int64_t value = sum_of(gateway, offsetof(struct metrics, upstream_errors) +
								(place * UPSTREAM_ERROR_COUNT +
								 kind) * sizeof(int64_t));
			if (value > 0)
				json_set(errors, kinds[kind], json_integer(value));
		}
		json_array_append_new(rows, json_pack("{s:s, s:o}", "name",
						      gateway->provider_names.rows[place].text,
						      "errors", errors));
	}
	return rows;
}

/* ---- the logs ---- */

static json_t *view_log(struct log *log)
{
	struct log_stats stats;
	struct tally_total commit = {0};
	log_get_stats(log, &stats);
	tally_total_add(&commit, &log_timings(log)->commit);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "records",
			 (json_int_t)stats.records, "waiting", (json_int_t)stats.waiting,
			 "checkpoint", (json_int_t)stats.checkpoint, "commits",
			 (json_int_t)stats.commits, "room", (json_int_t)stats.room, "no_space",
			 stats.no_space, "commit", view_tally(&commit, &log_time_scale));
}

/* ---- grants ---- */

static int64_t traffic_of(const struct world_grant *grant)
{
	const struct limits_traffic *traffic = &grant->cells->traffic;
	return counter_read(&traffic->admitted) + counter_read(&traffic->refused);
}

static int by_traffic(const void *a, const void *b)
{
	const struct world_grant *one = *(const struct world_grant *const *)a;
	const struct world_grant *two = *(const struct world_grant *const *)b;
	int64_t first = traffic_of(one), second = traffic_of(two);
	return first != second ? (first < second ? 1 : -1) : strcmp(one->id, two->id);
}

static json_t *view_grant(struct control *control, const struct world_grant *grant)
{
	const struct limits_traffic *traffic = &grant->cells->traffic;
	const struct limits_use *use = &grant->cells->use;
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "id", grant->id,
			 "org", grant->org->id, "state",
			 grant->org->blocked ? "blocked" : admin_grant_state(control, grant),
			 "admitted", (json_int_t)counter_read(&traffic->admitted), "refused",
			 (json_int_t)counter_read(&traffic->refused), "observed",
			 (json_int_t)counter_read(&traffic->observed), "live",
			 (json_int_t)counter_read(&traffic->live), "input",
			 (json_int_t)(limits_use_total(use, LIMITS_INPUT) +
				      limits_use_total(use, LIMITS_CACHE_READ) +
				      limits_use_total(use, LIMITS_CACHE_WRITE)),
			 "output", (json_int_t)limits_use_total(use, LIMITS_OUTPUT), "use",
			 admin_view_limits(control, grant, NULL));
}

static json_t *view_grants(struct control *control)
{
	size_t count = world_grant_count(control->world);
	const struct world_grant **grants = calloc(count + 1, sizeof(const struct world_grant *));
	json_t *rows = json_array();
	for (size_t i = 0; grants && i < count; i++)
		grants[i] = world_grant_at(control->world, i);
	if (grants)
		qsort(grants, count, sizeof(const struct world_grant *), by_traffic);
	for (size_t i = 0; grants && rows && i < count && i < GRANTS_MAX; i++)
		json_array_append_new(rows, view_grant(control, grants[i]));
	free(grants);
	return rows;
}

json_t *gateway_snapshot(struct gateway *gateway)
{
	const struct config *config = gateway->config;
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
		"s:{s:o, s:o}, s:o}",
		"name", config->name, "version", PARLEY_VERSION, "mode",
		config->mode == CONFIG_OBSERVE ? "observe" : "enforce", "durability",
		config->strict ? "strict" : "relaxed", "workers", (int)gateway->worker_count,
		"time_ms", (json_int_t)gateway->admin_loop->wall_ms, "clock_ns",
		(json_int_t)gateway->admin_loop->now_ns, "grant_count",
		(json_int_t)world_grant_count(gateway->control->world), "counters",
		view_counters(gateway), "refused_by",
		view_rules(gateway, offsetof(struct metrics, refused_by)), "observed_by",
		view_rules(gateway, offsetof(struct metrics, observed_by)), "duration",
		view_worker_tally(gateway, offsetof(struct metrics, duration)), "first_byte",
		view_worker_tally(gateway, offsetof(struct metrics, first_byte)), "connections",
		view_connections(gateway), "providers", view_providers(gateway), "logs",
		"evaluation", view_log(gateway->logs[CONTROL_EVALUATION]), "usage",
		view_log(gateway->logs[CONTROL_USAGE]), "grants", view_grants(gateway->control));
}
