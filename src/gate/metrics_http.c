/* /metrics: what the workers have counted, and what is looked up when asked for: the logs, the
 * connections and the process. Base units: seconds and bytes. */
#include "gate/cosigning.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void gateway_name_metrics(struct gateway *gateway, const struct config *config)
{
	for (size_t i = 0; i < config->provider_count; i++)
		metrics_names_add(&gateway->provider_names, config->providers[i].name,
				  config->providers[i].dialect);
	for (size_t i = 0; i < config->model_count; i++)
		metrics_names_add(&gateway->model_names, config->models[i].name,
				  config->providers[config->models[i].provider].dialect);
}

const struct metrics_names *gateway_provider_names(const struct gateway *gateway)
{
	return &gateway->provider_names;
}

const struct metrics_names *gateway_model_names(const struct gateway *gateway)
{
	return &gateway->model_names;
}

/* ---- the workers ---- */

static void write_workers(struct gateway *gateway, struct buf *out)
{
	const struct metrics **sets = calloc(gateway->worker_count + 1, sizeof(*sets));
	struct metrics_view view = {
		.sets = sets,
		.count = gateway->worker_count,
		.providers = &gateway->provider_names,
		.models = &gateway->model_names,
	};
	for (unsigned i = 0; sets && i < gateway->worker_count; i++)
		sets[i] = &gateway->workers[i].metrics;
	if (sets)
		metrics_write(&view, out);
	else
		out->failed = true;
	free(sets);
}

/* ---- connections ---- */

static void write_value(struct buf *out, const char *name, const char *kind, const char *help,
			int64_t value)
{
	metrics_write_header(out, name, kind, help);
	metrics_write_sample(out, name, "", value);
}

/* Counters that every worker has: of its server's connections, or of its pool of upstream ones. */
struct connection_series {
	const char *name, *kind, *help;
	bool upstream;
	size_t offset; /* in struct http_pool_stats or struct http_server_stats */
};

#define OF_CLIENTS(member) false, offsetof(struct http_server_stats, member)
#define OF_UPSTREAMS(member) true, offsetof(struct http_pool_stats, member)
/* clang-format off */
static const struct connection_series connection_series[] = {
	{"parley_client_connections", "gauge",
	 "Connections of clients on the model listeners.", OF_CLIENTS(open)},
	{"parley_client_connections_opened_total", "counter",
	 "Connections of clients that were taken.", OF_CLIENTS(accepted)},
	{"parley_client_received_bytes_total", "counter",
	 "Bytes received from clients, without what TLS adds.", OF_CLIENTS(received)},
	{"parley_client_sent_bytes_total", "counter",
	 "Bytes sent to clients, without what TLS adds.", OF_CLIENTS(sent)},
	{"parley_upstream_connections", "gauge",
	 "Connections to providers, idle ones included.", OF_UPSTREAMS(open)},
	{"parley_upstream_connections_idle", "gauge",
	 "Kept-alive connections to providers that carry nothing now.", OF_UPSTREAMS(idle)},
	{"parley_upstream_connections_opened_total", "counter",
	 "Connections to providers that were begun.", OF_UPSTREAMS(opened)},
	{"parley_upstream_connections_reused_total", "counter",
	 "Calls that went out on a kept-alive connection.", OF_UPSTREAMS(reused)},
	{"parley_upstream_retries_total", "counter",
	 "Calls put on another connection because the first had taken nothing of them.",
	 OF_UPSTREAMS(retried)},
	{"parley_upstream_received_bytes_total", "counter",
	 "Bytes received from providers, without what TLS adds.", OF_UPSTREAMS(received)},
	{"parley_upstream_sent_bytes_total", "counter",
	 "Bytes sent to providers, without what TLS adds.", OF_UPSTREAMS(sent)},
};
/* clang-format on */

static void write_connections(struct gateway *gateway, struct buf *out)
{
	for (size_t i = 0; i < sizeof(connection_series) / sizeof(connection_series[0]); i++) {
		const struct connection_series *series = &connection_series[i];
		int64_t sum = 0;
		for (unsigned k = 0; k < gateway->worker_count; k++) {
			struct gate_worker *worker = &gateway->workers[k];
			const char *stats =
				series->upstream ? (const char *)&worker->upstream_stats
						 : (const char *)http_server_stats(worker->server);
			sum += counter_read(
				(const _Atomic int64_t *)(const void *)(stats + series->offset));
		}
		write_value(out, series->name, series->kind, series->help, sum);
	}
}

static void write_bounds(struct gateway *gateway, struct buf *out)
{
	struct net_budget *budget = &gateway->budget;
	write_value(out, "parley_client_connections_max", "gauge",
		    "Clients that may be connected at once; 0: no bound.", budget->clients_max);
	write_value(out, "parley_accept_pauses_total", "counter",
		    "How often a worker stopped accepting for want of a place.",
		    (int64_t)atomic_load_explicit(&budget->pauses, memory_order_relaxed));
	write_value(out, "parley_buffered_bytes", "gauge", "Memory of large bodies and answers.",
		    (int64_t)atomic_load_explicit(&budget->memory, memory_order_relaxed));
	write_value(out, "parley_buffered_bytes_max", "gauge", "Most of it (memory_max).",
		    (int64_t)budget->memory_max);
}

static void write_access_log(struct gateway *gateway, struct buf *out)
{
	int64_t lines = 0, dropped = access_log_lost(gateway->access_log);
	for (unsigned i = 0; i < gateway->worker_count; i++) {
		lines += counter_read(&gateway->workers[i].access.lines);
		dropped += counter_read(&gateway->workers[i].access.dropped);
	}
	write_value(out, "parley_access_log_lines_total", "counter",
		    "Lines given to the access log.", lines);
	write_value(
		out, "parley_access_log_dropped_total", "counter",
		"Lines that are not in the access log: its writer could not keep up, or failed.",
		dropped);
	write_value(out, "parley_access_log_errors_total", "counter",
		    "Writes of the access log that failed.",
		    access_log_errors(gateway->access_log));
}

/* ---- logs ---- */

static const char *const log_labels[CONTROL_LOGS] = {"log=\"evaluation\"", "log=\"usage\""};

static void write_log_values(struct gateway *gateway, struct buf *out)
{
	enum { VALUES = 14 };
	static const struct {
		const char *name, *kind, *help;
	} series[VALUES] = {
		{"parley_log_records",                "gauge",   "Durable records."                        },
		{"parley_log_checkpoint",             "gauge",   "Records that the last checkpoint covers."},
		{"parley_log_checkpoint_lag_records", "gauge",
		 "Durable records that no checkpoint covers yet."                                          },
		{"parley_log_queue_records",          "gauge",   "Records on their way to the disk."       },
		{"parley_log_commits_total",          "counter", "Group commits since start."              },
		{"parley_log_checkpoints_total",      "counter", "Checkpoints signed since start."         },
		{"parley_log_written_bytes_total",    "counter",
		 "Bytes of committed records since start."                                                 },
		{"parley_log_room_bytes",             "gauge",   "Prepared room that is not reserved."     },
		{"parley_log_segments",               "gauge",   "Segments, sealed ones and the open one." },
		{"parley_log_sealed_segments",        "gauge",   "Segments that are sealed."               },
		{"parley_log_seal_failures_total",    "counter",
		 "Times that sealing was given up, to be tried again."                                     },
		{"parley_log_rotten_segments",        "gauge",
		 "Segments that do not read as they should."                                               },
		{"parley_log_scrubbed_bytes_total",   "counter",
		 "Bytes of sealed segments read again since start."                                        },
		{"parley_log_scrubs_total",           "counter",
		 "Passes over all sealed segments since start."                                            },
	};
	int64_t values[CONTROL_LOGS][VALUES];
	for (int log = 0; log < CONTROL_LOGS; log++) {
		struct log_stats stats;
		log_get_stats(gateway->logs[log], &stats);
		int64_t lag = (int64_t)(stats.records - stats.checkpoint);
		int64_t all[VALUES] = {(int64_t)stats.records,
				       (int64_t)stats.checkpoint,
				       lag < 0 ? 0 : lag,
				       (int64_t)stats.waiting,
				       (int64_t)stats.commits,
				       (int64_t)stats.checkpoints,
				       (int64_t)stats.bytes,
				       stats.room,
				       (int64_t)stats.segments,
				       (int64_t)stats.sealed,
				       (int64_t)stats.seal_failures,
				       (int64_t)stats.rotten,
				       (int64_t)stats.scrubbed,
				       (int64_t)stats.scrubs};
		memcpy(values[log], all, sizeof(all));
	}
	for (int i = 0; i < VALUES; i++) {
		metrics_write_header(out, series[i].name, series[i].kind, series[i].help);
		for (int log = 0; log < CONTROL_LOGS; log++)
			metrics_write_sample(out, series[i].name, log_labels[log], values[log][i]);
	}
}

static void write_log_timings(struct gateway *gateway, struct buf *out)
{
	static const struct {
		const char *name, *help;
		size_t offset;
		const struct tally_scale *scale;
	} series[] = {
		{"parley_log_commit_duration_seconds", "One group commit: frames, write and sync.",
		 offsetof(struct log_timings, commit), &log_time_scale },
		{"parley_log_sync_duration_seconds",   "The fdatasync of a group commit.",
		 offsetof(struct log_timings, sync),   &log_time_scale },
		{"parley_log_commit_records",          "Records of one group commit.",
		 offsetof(struct log_timings, batch),  &log_batch_scale},
	};
	for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++) {
		metrics_write_header(out, series[i].name, "histogram", series[i].help);
		for (int log = 0; log < CONTROL_LOGS; log++) {
			struct tally_total total = {0};
			const char *timings = (const char *)log_timings(gateway->logs[log]);
			tally_total_add(
				&total,
				(const struct tally *)(const void *)(timings + series[i].offset));
			metrics_write_histogram(out, series[i].name, log_labels[log], &total,
						series[i].scale);
		}
	}
}

/* ---- the process: the names that Prometheus' own client libraries use ---- */

/* Field `number` (from 1) of /proc/self/stat, proc(5); the name in field 2 may hold blanks. */
static long long stat_field(struct bytes stat, unsigned number)
{
	const char *at = stat.data ? strrchr(stat.data, ')') : NULL;
	for (unsigned i = 2; at && i < number; i++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	return at ? strtoll(at, NULL, 10) : 0;
}

static bool read_proc(struct gateway *gateway, const char *path, struct buf *out)
{
	struct err ignored = ERR_INIT;
	return env_read_file(gateway->env, path, out, &ignored) == ERR_OK && out->data;
}

static void write_cpu_and_memory(struct gateway *gateway, struct buf *out)
{
	struct buf stat = BUF_INIT(65536), system = BUF_INIT((size_t)1 << 20);
	long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
	if (read_proc(gateway, "/proc/self/stat", &stat) && ticks > 0) {
		struct bytes text = buf_bytes(&stat);
		double seconds =
			(double)(stat_field(text, 14) + stat_field(text, 15)) / (double)ticks;
		metrics_write_header(out, "process_cpu_seconds_total", "counter",
				     "User and system CPU time, in seconds.");
		metrics_write_number(out, "process_cpu_seconds_total", "", seconds);
		write_value(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
			    stat_field(text, 24) * page);
		write_value(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.",
			    stat_field(text, 23));
		write_value(out, "process_threads", "gauge", "Threads of the process.",
			    stat_field(text, 20));
		if (read_proc(gateway, "/proc/stat", &system)) {
			const char *boot = strstr(system.data, "\nbtime ");
			double started = boot ? (double)strtoll(boot + 7, NULL, 10) : 0;
			started += (double)stat_field(text, 22) / (double)ticks;
			metrics_write_header(out, "process_start_time_seconds", "gauge",
					     "When the process started, seconds since 1970.");
			metrics_write_number(out, "process_start_time_seconds", "", started);
		}
	}
	buf_release(&stat);
	buf_release(&system);
}

static void count_entry(void *argument, const struct env_directory_entry *entry)
{
	(void)entry;
	++*(int64_t *)argument;
}

static void write_descriptors(struct gateway *gateway, struct buf *out)
{
	struct err ignored = ERR_INIT;
	struct buf limits = BUF_INIT(65536);
	int64_t open = -1; /* the listing has one open itself */
	if (env_list_directory(gateway->env, "/proc/self/fd", count_entry, &open, &ignored) ==
		    ERR_OK &&
	    open >= 0)
		write_value(out, "process_open_fds", "gauge", "Open file descriptors.", open);
	if (read_proc(gateway, "/proc/self/limits", &limits)) {
		const char *line = strstr(limits.data, "Max open files");
		if (line)
			write_value(out, "process_max_fds", "gauge",
				    "How many file descriptors may be open (soft limit).",
				    strtoll(line + 14, NULL, 10));
	}
	buf_release(&limits);
}

/* ---- the whole ---- */

static void write_build(struct gateway *gateway, struct buf *out)
{
	metrics_write_header(out, "parley_build_info", "gauge",
			     "1, with the version and how it is configured as labels.");
	char labels[256];
	snprintf(labels, sizeof(labels),
		 "version=\"%s\",mode=\"%s\",durability=\"%s\",compiler=\"%s\"", PARLEY_VERSION,
		 gateway->config->mode == CONFIG_OBSERVE ? "observe" : "enforce",
		 gateway->config->strict ? "strict" : "relaxed",
#ifdef __clang__
		 "clang " __clang_version__
#else
		 "gcc " __VERSION__
#endif
	);
	metrics_write_sample(out, "parley_build_info", labels, 1);
	write_value(out, "parley_workers", "gauge", "Worker threads.", gateway->worker_count);
	struct world *world = control_world(gateway->control);
	write_value(out, "parley_world_version", "gauge",
		    "Versions of organisations, grants and keys published since start.",
		    (int64_t)world_version(world));
	world_drop(world);
}

static void write_grader(struct gateway *gateway, struct buf *out)
{
	if (!gateway->grader)
		return;
	enum grader_state state = grader_watch_state(gateway->grader);
	write_value(out, "parley_grader_up", "gauge",
		    "1 where the grader answered when it was asked last, within a second or so.",
		    state == GRADER_READY || state == GRADER_BUSY);
	write_value(out, "parley_grader_lost_total", "counter",
		    "Times that the grader was there and then did not answer any more.",
		    grader_watch_losses(gateway->grader));
}

void gateway_write_metrics(struct gateway *gateway, struct buf *out)
{
	write_build(gateway, out);
	write_workers(gateway, out);
	write_connections(gateway, out);
	write_bounds(gateway, out);
	write_access_log(gateway, out);
	write_grader(gateway, out);
	write_log_values(gateway, out);
	write_log_timings(gateway, out);
	cosigning_write_metrics(gateway->cosigning, out);
	write_cpu_and_memory(gateway, out);
	write_descriptors(gateway, out);
}
