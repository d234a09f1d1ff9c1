/* parley load: options for the load generator, one loop, the result as text or JSON. */
#include "cmd/cli.h"
#include "cmd/commands.h"
#include "load/load.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define BODIES_MAX ((size_t)512 << 20)
#define CLOSED_CONNECTIONS 64
#define OPEN_CONNECTIONS 1024
#define RAMP_PER_SECOND 2000.0 /* connections; a listener's backlog is often 511 or less */

struct load_settings {
	const char *target, *dialect, *path, *model, *key_env, *bodies, *ca;
	struct cli_list headers;
	bool stream, poisson, json, marks;
	int64_t streams, connections, bytes, max_tokens, requests, seed;
	double rate, warmup, seconds, ramp, timeout, drain;
};

struct loading {
	struct env_loop *loop;
	struct load *load;
	bool marks, interrupted;
	double cpu_begin, cpu; /* seconds of this process, in the measurement */
};

/* ---- the result ---- */

static double own_cpu(void)
{
	struct rusage usage;
	if (getrusage(RUSAGE_SELF, &usage) != 0)
		return 0;
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void print_times(const char *name, const struct histogram *histogram)
{
	if (histogram->count == 0)
		return;
	printf("%-12s p50 %.1f us, p90 %.1f us, p99 %.1f us, p99.9 %.1f us, max %.1f us\n", name,
	       (double)histogram_quantile(histogram, 0.5) / 1e3,
	       (double)histogram_quantile(histogram, 0.9) / 1e3,
	       (double)histogram_quantile(histogram, 0.99) / 1e3,
	       (double)histogram_quantile(histogram, 0.999) / 1e3, (double)histogram->max / 1e3);
}

static void print_failures(const struct load_result *result)
{
	for (int i = 0; i < LOAD_ERROR_COUNT; i++)
		if (result->errors[i])
			printf("%-12s %llu  %s\n", load_error_key(i),
			       (unsigned long long)result->errors[i], load_error_text(i));
	for (int i = 0; i < LOAD_STATUS_MAX; i++)
		if (result->statuses[i] && i != 200)
			printf("status %d   %llu\n", i, (unsigned long long)result->statuses[i]);
	if (result->sample[0]) {
		printf("%-12s ", "the first");
		cli_print_safe(stdout, bytes_from(result->sample));
		putchar('\n');
	}
}

static void print_text(const struct loading *loading, const struct load_result *result)
{
	double seconds = (double)result->measured_ns / 1e9;
	double per = seconds > 0 ? 1 / seconds : 0;
	if (loading->interrupted)
		printf("interrupted: what was measured until then\n");
	printf("%-12s %llu in %.2f s, %.1f a second; %llu failed; %u under way at the end\n",
	       "requests", (unsigned long long)result->ended, seconds, (double)result->ended * per,
	       (unsigned long long)result->failed, result->open);
	print_times("latency", &result->latency);
	print_times("to the head", &result->head);
	if (result->events)
		printf("%-12s %llu, %.1f a second\n", "events", (unsigned long long)result->events,
		       (double)result->events * per);
	print_times("event delay", &result->delay);
	print_times("late starts", &result->late);
	printf("%-12s %llu bytes, %.1f MB a second\n", "received",
	       (unsigned long long)result->bytes, (double)result->bytes * per / 1e6);
	print_failures(result);
	printf("%-12s %.1f %% of a processor\n", "generator", loading->cpu * per * 100);
}

static enum err_code print_json(const struct loading *loading, const struct load_result *result,
				struct err *err)
{
	json_t *report = load_report(result);
	if (!report)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	json_object_set_new(report, "interrupted", json_boolean(loading->interrupted));
	json_object_set_new(report, "generator_cpu_seconds", json_real(loading->cpu));
	cli_print_json(report);
	json_decref(report);
	return ERR_OK;
}

/* The run has failed where nothing was measured. */
static enum err_code conclude(const struct load_result *result, struct err *err)
{
	if (result->ended > 0 || result->events > 0)
		return ERR_OK;
	if (result->errors[LOAD_ERROR_CONNECT] &&
	    result->errors[LOAD_ERROR_CONNECT] == result->failed)
		return ERR_SET(err, ERR_NETWORK, "no request could be sent: %s", result->sample);
	return ERR_SET(err, ERR_INVALID,
		       "no request ended well; try a longer --seconds, or see "
		       "what the target says");
}

/* ---- running ---- */

static void mark(const struct loading *loading, const char *word)
{
	if (!loading->marks)
		return;
	puts(word);
	fflush(stdout);
}

static void on_phase(void *argument, enum load_phase phase)
{
	struct loading *loading = argument;
	if (phase == LOAD_MEASURE) {
		mark(loading, "begin");
		loading->cpu_begin = own_cpu();
	} else if (phase == LOAD_DRAIN) {
		loading->cpu = own_cpu() - loading->cpu_begin;
		mark(loading, "end");
	} else if (phase == LOAD_DONE) {
		env_loop_stop(loading->loop);
	}
}

static void on_signal(void *argument, int signal_number)
{
	struct loading *loading = argument;
	(void)signal_number;
	loading->interrupted = true;
	load_stop(loading->load);
}

static enum err_code run(struct env *env, const struct load_options *options,
			 const struct load_settings *settings, struct err *err)
{
	struct loading loading = {.loop = env_loop_new(env, "load", false),
				  .marks = settings->marks};
	if (!loading.loop)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	loading.loop->precise = true;
	prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul); /* ns; a wish, not a need */
	enum err_code code = load_new(loading.loop, options, &loading.load, err);
	if (code == ERR_OK)
		code = env_on_signal(loading.loop, SIGINT, on_signal, &loading, err);
	if (code == ERR_OK)
		code = env_on_signal(loading.loop, SIGTERM, on_signal, &loading, err);
	if (code == ERR_OK) {
		load_start(loading.load, on_phase, &loading);
		env_loop_run(loading.loop);
		const struct load_result *result = load_result(loading.load);
		if (settings->json)
			code = print_json(&loading, result, err);
		else
			print_text(&loading, result);
		if (code == ERR_OK)
			code = conclude(result, err);
	}
	load_free(loading.load);
	env_loop_free(loading.loop);
	return code;
}

/* ---- options ---- */

static uint64_t nanoseconds(double seconds)
{
	return (uint64_t)(seconds * 1e9);
}

static enum err_code read_key(const struct load_settings *settings, struct load_options *options,
			      struct err *err)
{
	if (!settings->key_env)
		return ERR_OK;
	options->key = getenv(settings->key_env);
	if (!options->key || !options->key[0])
		return ERR_SET(err, ERR_USAGE, "--key-env: the environment has no %s",
			       settings->key_env);
	return ERR_OK;
}

static enum err_code start(struct env *env, const struct load_settings *settings,
			   struct load_options *options, struct err *err)
{
	struct buf bodies = BUF_INIT(BODIES_MAX), ca = BUF_INIT((size_t)16 << 20);
	enum err_code code = read_key(settings, options, err);
	if (code == ERR_OK && settings->bodies)
		code = env_read_file(env, settings->bodies, &bodies, err);
	if (code == ERR_OK && settings->ca)
		code = env_read_file(env, settings->ca, &ca, err);
	options->bodies = buf_bytes(&bodies);
	options->ca_pem = buf_bytes(&ca);
	if (code == ERR_OK)
		code = run(env, options, settings, err);
	buf_release(&bodies);
	buf_release(&ca);
	return code;
}

/* What was not given follows from what was. */
static struct load_options make_options(const struct load_settings *settings)
{
	bool open = settings->rate > 0;
	int64_t connections = settings->streams ? settings->streams : settings->connections;
	if (connections == 0)
		connections = open ? OPEN_CONNECTIONS : CLOSED_CONNECTIONS;
	double ramp = settings->ramp;
	if (ramp < 0)
		ramp = open ? 0 : (double)connections / RAMP_PER_SECOND;
	double seconds = settings->seconds;
	if (seconds == 0)
		seconds = settings->requests ? 3600 : 10;
	return (struct load_options){
		.url = settings->target,
		.dialect = dialect_from_name(bytes_from(settings->dialect)),
		.path = settings->path,
		.model = settings->model,
		.headers = settings->headers.items,
		.header_count = settings->headers.count,
		.prompt_bytes = (size_t)settings->bytes,
		.max_tokens = settings->max_tokens,
		.stream = settings->stream || settings->streams,
		.connections = (unsigned)connections,
		.rate = settings->rate,
		.poisson = settings->poisson,
		.seed = (uint64_t)settings->seed,
		.ramp_ns = nanoseconds(ramp),
		.warmup_ns = nanoseconds(settings->warmup),
		.measure_ns = nanoseconds(seconds),
		.requests = (uint64_t)settings->requests,
		.timeout_ns = nanoseconds(settings->timeout),
		.drain_ns = nanoseconds(settings->drain),
	};
}

static int check_settings(const struct load_settings *settings)
{
	if (dialect_from_name(bytes_from(settings->dialect)) == DIALECT_NONE)
		return cli_usage("load", "--dialect: anthropic, openai, responses, gemini, mistral or xai, not \"%s\"",
				 settings->dialect);
	if (settings->streams && (settings->rate > 0 || settings->connections))
		return cli_usage("load", "--streams holds that many open: it excludes --rate and "
					 "--connections");
	if (settings->poisson && settings->rate == 0)
		return cli_usage("load", "--poisson needs --rate");
	if (settings->path && settings->path[0] != '/')
		return cli_usage("load", "--path starts with a slash");
	return -1;
}

int cmd_load(int argc, char **argv)
{
	struct load_settings settings = {
		.target = "http://127.0.0.1:8080",
		.dialect = "anthropic",
		.model = "north-1",
		.bytes = 1024,
		.max_tokens = 64,
		.seed = 1,
		.warmup = 1,
		.ramp = -1,
		.timeout = 60,
		.drain = 5,
	};
	const struct cli_option options[] = {
		{"target",                          't', CLI_TEXT, &settings.target, "URL",
		 "what to load (http://127.0.0.1:8080)", 0, 0},
		{"dialect",                         'd', CLI_TEXT, &settings.dialect, "NAME",
		 "anthropic, openai, responses, gemini, mistral or xai (anthropic)", 0, 0},
		{"path",			    0, CLI_TEXT, &settings.path, "PATH", "another path than the dialect's", 0,
		 0},
		{"model",				'm', CLI_TEXT, &settings.model, "NAME", "the model to ask for (north-1)",
		 0, 0},
		{"key-env",				 'k', CLI_TEXT, &settings.key_env, "ENV",
		 "the environment variable that holds the key", 0, 0},
		{"header",      'H', CLI_LIST, &settings.headers, "FIELD",
		 "one more, \"name: value\" (repeatable)", 0, 0},
		{"ca",                0, CLI_TEXT, &settings.ca, "FILE",
		 "certificates to trust instead of the system's (PEM)", 0, 0},
		{"connections", 'n', CLI_INTEGER, &settings.connections, "N",
		 "most requests under way (64; with --rate 1024)", 1, 19000},
		{"rate",				'r', CLI_NUMBER, &settings.rate, "R",
		 "open loop: so many requests a second, timed from their intended start", 0.001,
		 10000000},
		{"poisson",			    0, CLI_FLAG, &settings.poisson, NULL,
		 "independent arrivals instead of even spacing", 0, 0},
		{"stream",                         0, CLI_FLAG, &settings.stream, NULL,
		 "ask for streams, count their events", 0, 0},
		{"streams",                           's', CLI_INTEGER, &settings.streams, "N", "hold so many streams open",
		 1, 19000},
		{"bytes",				'b', CLI_INTEGER, &settings.bytes, "N", "of prompt in a request (1024)",
		 1, 67108864},
		{"max-tokens",				 0, CLI_INTEGER, &settings.max_tokens, "N", "asked for (64)", 1,
		 2147483647},
		{"bodies",0, CLI_TEXT, &settings.bodies, "FILE",
		 "send these bodies in turn instead, one a line", 0, 0},
		{"warmup",                  'w', CLI_NUMBER, &settings.warmup, "S",
		 "seconds before the measurement (1)", 0, 86400},
		{"seconds", 'S', CLI_NUMBER, &settings.seconds, "S", "of measurement (10)", 0.001,
		 86400},
		{"requests",				'N', CLI_INTEGER, &settings.requests, "N",
		 "end the measurement after so many", 1, 1e12},
		{"ramp",			 0, CLI_NUMBER, &settings.ramp, "S",
		 "seconds over which connections are opened (1 for each 2000)", 0, 3600},
		{"timeout",                         0, CLI_NUMBER, &settings.timeout, "S", "to wait for an answer (60)",
		 0.001, 86400},
		{"drain",			    0, CLI_NUMBER, &settings.drain, "S",
		 "with --rate: wait so long for what was started (5)", 0, 86400},
		{"seed",				0, CLI_INTEGER, &settings.seed, "N", "of --poisson (1)", 0,
		 9007199254740992.0},
		{"json",				 0, CLI_FLAG, &settings.json, NULL, "the result as JSON", 0, 0},
		{"marks",                         0, CLI_FLAG, &settings.marks, NULL,
		 "print \"begin\" and \"end\" as the measurement begins and ends", 0, 0},
		{0               },
	};
	const struct cli_command command = {
		"load",
		"[--target URL] [--connections N | --rate R | --streams N] [options]",
		"Measures a model API, or a gateway before it. Without --rate the loop is closed: "
		"so "
		"many\nrequests are always under way. With --rate it is open: a late answer delays "
		"no "
		"request, and\nlatency counts from the intended start. Ctrl-C prints what was "
		"measured.",
		options,
		0,
		0};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status < 0)
		status = check_settings(&settings);
	if (status >= 0)
		return status;
	struct load_options load = make_options(&settings);
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = start(env, &settings, &load, &err);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}
