/* parley bench: options for the harness, and the screen it writes to. */
#include "bench/bench.h"
#include "cmd/bench_compare.h"
#include "cmd/cli.h"
#include "cmd/commands.h"
#include "grade/run_records.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

struct bench_settings {
	struct cli_list suites, models, judges, paths, same, tags;
	int64_t decoy_count, concurrency, samples, timeout_seconds, graders, budget_tokens;
	double budget_usd, blind;
	const char *decoys, *baseline, *output, *key, *authorities, *client_certificate,
		*client_key, *cache;
	const char *controls, *anchors;
	bool self_judging, sealed, json;
	const struct bench_proxy *proxy;
};

static void write_screen(void *argument, struct bytes text)
{
	(void)argument;
	fwrite(text.data, 1, text.size, stdout);
	fflush(stdout);
}

static struct winsize terminal_size(void)
{
	struct winsize size = {0};
	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	return size;
}

/* The standard output is the command's. */
static void write_beside(void *argument, struct bytes text)
{
	(void)argument;
	fwrite(text.data, 1, text.size, stderr);
}

static struct bench_screen screen_of(const struct bench_settings *settings)
{
	if (settings->proxy)
		return (struct bench_screen){.write = settings->json ? NULL : write_beside,
					     .silent = !isatty(STDERR_FILENO)};
	struct winsize size = terminal_size();
	return (struct bench_screen){.write = settings->json ? NULL : write_screen,
				     .terminal = !settings->json && cli_is_terminal(),
				     .columns = size.ws_col,
				     .rows = size.ws_row};
}

static unsigned processors(void)
{
	cpu_set_t set;
	int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	return count < 1 ? 1 : count > 32 ? 32 : (unsigned)count;
}

/* Thousands of requests at once need as many descriptors. */
static void raise_descriptors(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static struct bench_options options_of(const struct bench_settings *settings, const char *plan)
{
	return (struct bench_options){
		.plan = plan,
		.suites = settings->suites.items,
		.models = settings->models.items,
		.judges = settings->judges.items,
		.baseline = settings->baseline,
		.same = settings->same.items,
		.decoys = settings->decoys,
		.blind = settings->blind,
		.decoy_count = (unsigned)settings->decoy_count,
		.concurrency = (unsigned)settings->concurrency,
		.samples = (unsigned)settings->samples,
		.timeout_seconds = (unsigned)settings->timeout_seconds,
		.graders = settings->graders ? (unsigned)settings->graders : processors(),
		.budget_tokens = (uint64_t)settings->budget_tokens,
		.budget_usd = settings->budget_usd,
		.cache = settings->cache,
		.self_judging = settings->self_judging,
		.controls = settings->controls,
		.anchors = settings->anchors,
		.tags = settings->tags.items,
		.sealed = settings->sealed,
		.suite_paths = settings->paths.count ? settings->paths.items : NULL,
		.output = settings->output,
		.key = settings->key,
		.authorities = settings->authorities,
		.client_certificate = settings->client_certificate,
		.client_key = settings->client_key,
		.signals = true,
		.proxy = settings->proxy,
		.screen = screen_of(settings),
	};
}

static int run(const struct bench_settings *settings, const char *plan, bool resume)
{
	struct err err = ERR_INIT;
	struct bench_outcome outcome;
	struct bench_options options = options_of(settings, plan);
	raise_descriptors();
	struct env *env = env_os_new(options.graders + 2);
	if (!env)
		return 3;
	enum err_code code = resume ? bench_resume(env, &options, &outcome, &err)
				    : bench_run(env, &options, &outcome, &err);
	if (settings->json && outcome.summary)
		cli_print_json(outcome.summary);
	json_decref(outcome.summary);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

#define SHARED_OPTIONS(s)                                                                            \
	{                                                                                            \
		"concurrency",                                                                       \
		0,                                                                                   \
		CLI_INTEGER,                                                                         \
		&(s).concurrency,                                                                    \
		"N",                                                                                 \
		"requests at once for each model",                                                   \
		1,                                                                                   \
		5000},                                                                               \
		{"timeout",   0,                                                                     \
		 CLI_INTEGER, &(s).timeout_seconds,                                                  \
		 "S",         "seconds for one request (600)",                                       \
		 1,           86400},                                                                \
		{"graders",   0,                                                                     \
		 CLI_INTEGER, &(s).graders,                                                          \
		 "N",         "programs graded at once (one for each processor)",                    \
		 1,           32},                                                                   \
		{"budget-tokens",                                                                    \
		 0,                                                                                  \
		 CLI_INTEGER,                                                                        \
		 &(s).budget_tokens,                                                                 \
		 "N",                                                                                \
		 "never use more tokens than this",                                                  \
		 1,                                                                                  \
		 1e15},                                                                              \
		{"budget-usd",                                                                       \
		 0,                                                                                  \
		 CLI_NUMBER,                                                                         \
		 &(s).budget_usd,                                                                    \
		 "X",                                                                                \
		 "the same in money (needs prices in the plan)",                                     \
		 0,                                                                                  \
		 1e9},                                                                               \
		{"key", 0, CLI_TEXT, &(s).key, "FILE", "sign the bundle with this Ed25519 key",      \
		 0,     0},                                                                          \
		{"ca",     0,                                                                        \
		 CLI_TEXT, &(s).authorities,                                                         \
		 "FILE",   "certificates to trust instead of the system's",                          \
		 0,        0},                                                                       \
		{"client-cert",                                                                      \
		 0,                                                                                  \
		 CLI_TEXT,                                                                           \
		 &(s).client_certificate,                                                            \
		 "FILE",                                                                             \
		 "certificate (PEM) to show where a key is bound to one",                            \
		 0,                                                                                  \
		 0},                                                                                 \
		{"client-key", 0, CLI_TEXT, &(s).client_key, "FILE", "its private key (PEM)", 0, 0}, \
	{                                                                                            \
		"json", 0, CLI_FLAG, &(s).json, NULL, "no progress; the summary as JSON", 0, 0       \
	}

/* clang-format off */
/* What is asked of whom; help for the models and the judges differs. */
#define SELECTION_OPTIONS(s, model_help, judge_help) \
	{"suite", 's', CLI_LIST, &(s).suites, "NAME|DIR", "a suite (repeatable)", 0, 0}, \
	{"model", 'm', CLI_LIST, &(s).models, "MODEL", model_help, 0, 0}, \
	{"judge", 'j', CLI_LIST, &(s).judges, "MODEL", judge_help, 0, 0}, \
	{"baseline", 'b', CLI_TEXT, &(s).baseline, "MODEL", "what writing is compared with", 0, 0}, \
	{"output", 'o', CLI_TEXT, &(s).output, "DIR", "where everything goes", 0, 0}

#define CACHE_OPTION(s) \
	{"cache", 0, CLI_TEXT, &(s).cache, "DIR", \
		"keep bare providers' responses here and use them again", 0, 0}

#define ANCHORS_OPTION(s) \
	{"anchors", 0, CLI_TEXT, &(s).anchors, "FILE", \
		"what people said of the answers (JSONL), to hold judges against", 0, 0}

#define EXTENT_OPTIONS(s) \
	{"samples", 0, CLI_INTEGER, &(s).samples, "N", "answers for each item", 1, 1000}, \
	{"controls", 0, CLI_TEXT, &(s).controls, "N|all|none", \
		"on how many items judges see an answer that says nothing (20)", 0, 0}, \
	{"suites", 0, CLI_LIST, &(s).paths, "DIR", "where suites are found by name (./suites)", 0, 0}, \
	{"tag", 0, CLI_LIST, &(s).tags, "TAG", "only items with one of these tags (repeatable)", 0, 0}

/* What is done with it, beyond what is asked of whom. */
#define PLAN_OPTIONS(s) \
	{"blind", 0, CLI_NUMBER, &(s).blind, "SHARE", \
		"ask this share of samples without naming the run, where the grant agrees", 0, 1}, \
	{"decoys", 0, CLI_TEXT, &(s).decoys, "SUITE", \
		"mix in items of this suite that count in no result", 0, 0}, \
	{"decoy-count", 0, CLI_INTEGER, &(s).decoy_count, "N", \
		"so many of them, drawn by the plan's id (all)", 1, 1000000}, \
	{"same", 0, CLI_LIST, &(s).same, "A=B", \
		"two models that are said to be one: times and lengths are compared", 0, 0}, \
	{"allow-self-judging", 0, CLI_FLAG, &(s).self_judging, NULL, \
		"let a contestant judge itself", 0, 0}, \
	{"sealed", 0, CLI_FLAG, &(s).sealed, NULL, \
		"give gateways the roots of suites and not their items", 0, 0}
/* clang-format on */

/* A plan, or suites and models. Returns -1 to go on, or the status to exit with. */
static int check_selection(const char *command, const struct bench_settings *settings, bool plan)
{
	if (plan && (settings->suites.count || settings->models.count))
		return cli_usage(command, "give a plan, or --suite and --model, not both");
	if (plan && (settings->judges.count || settings->baseline))
		return cli_usage(command, "with a plan file, judges and the baseline stand in it: "
					  "judges: [ … ], baseline: …");
	if (!plan && (!settings->suites.count || !settings->models.count))
		return cli_usage(command, "give a plan, or at least one --suite and one --model");
	return -1;
}

/* Reads the command line of whoever takes a plan, or suites and models: *plan is its file or NULL.
 * Returns -1 to go on, or the status to exit with. */
static int read_selection(const struct cli_command *command, int argc, char **argv,
			  const struct bench_settings *settings, bool writes, const char **plan)
{
	struct cli_arguments arguments;
	int status = cli_parse(command, argc, argv, &arguments);
	*plan = NULL;
	if (status >= 0)
		return status;
	if (writes && !settings->output)
		return cli_usage(command->name, "say where the results go: -o DIR");
	if (!writes && settings->output)
		return cli_usage(command->name, "nothing is written: leave out -o");
	if (arguments.count > 0)
		*plan = arguments.positional[0];
	return check_selection(command->name, settings, *plan != NULL);
}

static int run_run(int argc, char **argv)
{
	struct bench_settings settings = {0};
	const struct cli_option options[] = {
		SELECTION_OPTIONS(
			settings,
			"NAME=DIALECT@URL#ENV, with #KEY_FILE where requests are signed, or "
			"NAME=replay@FILE (repeatable)",
			"who judges answers, in pairs or alone: a MODEL, or the name of one"),
		EXTENT_OPTIONS(settings),
		PLAN_OPTIONS(settings),
		ANCHORS_OPTION(settings),
		CACHE_OPTION(settings),
		SHARED_OPTIONS(settings),
		{0},
	};
	const struct cli_command command = {
		"bench run",
		"PLAN.yaml -o DIR | --suite S --model M … -o DIR",
		"Asks models the items of suites, grades the answers, and writes summary.json, "
		"report.html\n"
		"and a bundle that `parley verify` checks. DIALECT is anthropic, openai, "
		"responses, "
		"gemini,\n"
		"mistral or xai; the key comes from the environment variable ENV. Against a Parley "
		"gateway it registers suite "
		"and run,\n"
		"stays inside the grant and collects receipts. Ctrl-C leaves a directory that\n"
		"`parley bench resume` goes on with.",
		options,
		0,
		1};
	const char *plan;
	int status = read_selection(&command, argc, argv, &settings, true, &plan);
	return status >= 0 ? status : run(&settings, plan, false);
}

static void print_estimate(struct bytes line, const json_t *found)
{
	const json_t *model;
	size_t i;
	fwrite(line.data, 1, line.size, stdout);
	putchar('\n');
	json_array_foreach(json_object_get(found, "models"), i, model)
	{
		const json_t *output = json_object_get(model, "output_tokens");
		const json_t *usd = json_object_get(model, "usd");
		if (run_is_control(json_text(model, "name")))
			continue; /* only its judges cost something */
		printf("  %s: %lld requests, about %lld input and %lld output tokens",
		       json_text(model, "name"),
		       (long long)json_integer_value(json_object_get(model, "requests")),
		       (long long)json_integer_value(
			       json_object_get(json_object_get(model, "input_tokens"), "mid")),
		       (long long)json_integer_value(json_object_get(output, "mid")));
		if (json_is_object(usd))
			printf(", $%.4g", json_number_value(json_object_get(usd, "mid")));
		putchar('\n');
	}
	if (!json_is_true(json_object_get(found, "measured")))
		printf("How long answers are is assumed; --from DIR takes it from a run.\n");
}

static int estimate(const struct bench_settings *settings, const char *plan, const char *from)
{
	struct err err = ERR_INIT;
	struct buf line = BUF_INIT(8192);
	json_t *found;
	struct bench_options options = options_of(settings, plan);
	options.output = ".";
	struct env *env = env_os_new(2);
	if (!env)
		return 3;
	enum err_code code = bench_estimate(env, &options, from, &line, &found, &err);
	int status = code == ERR_OK ? 0 : cli_fail(&err);
	if (code == ERR_OK && settings->json)
		cli_print_json(found);
	else if (code == ERR_OK)
		print_estimate(buf_bytes(&line), found);
	if (code == ERR_OK && strcmp(json_text(found, "budget"), "will be reached") == 0)
		status = 1;
	json_decref(found);
	buf_release(&line);
	env_os_free(env);
	return status;
}

static int run_estimate(int argc, char **argv)
{
	struct bench_settings settings = {0};
	const char *from = NULL;
	const struct cli_option options[] = {
		SELECTION_OPTIONS(settings, "NAME=DIALECT@URL, as in bench run (repeatable)",
				  "who judges answers, in pairs or alone"),
		EXTENT_OPTIONS(settings),
		PLAN_OPTIONS(settings),
		{"from",    0, CLI_TEXT, &from, "DIR",
			    "an earlier run: answers are taken to be as long as there", 0, 0},
		SHARED_OPTIONS(settings),
		{0},
	};
	const struct cli_command command = {
		"bench estimate",
		"PLAN.yaml | --suite S --model M … [--from DIR]",
		"Says what a run would take: requests, tokens, money (where the plan has prices) "
		"and\n"
		"time, each with a band. Nobody is asked and no key is needed. Exit 1 where the "
		"plan's\nbudget will be reached before the end even if every answer is short.",
		options,
		0,
		1};
	const char *plan;
	int status = read_selection(&command, argc, argv, &settings, false, &plan);
	return status >= 0 ? status : estimate(&settings, plan, from);
}

static int run_resume(int argc, char **argv)
{
	struct bench_settings settings = {0};
	const struct cli_option options[] = {
		ANCHORS_OPTION(settings), CACHE_OPTION(settings), SHARED_OPTIONS(settings), {0}};
	const struct cli_command command = {
		"bench resume",
		"DIR [options]",
		"Goes on with a run that was interrupted. What has an outcome is not asked again.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	settings.output = arguments.positional[0];
	return run(&settings, NULL, true);
}

static void print_recorded(const struct bench_recorded *recorded, bool json)
{
	if (json) {
		json_t *object = json_pack(
			"{s:s, s:I, s:I, s:I, s:O?}", "suite", recorded->folder, "items",
			(json_int_t)recorded->items, "samples", (json_int_t)recorded->samples,
			"left_out", (json_int_t)recorded->left_out, "proxy", recorded->proxy);
		cli_print_json(object);
		json_decref(object);
		return;
	}
	fprintf(stderr, "%zu items in %s, with %u sample%s of each.\n", recorded->items,
		recorded->folder, recorded->samples, recorded->samples == 1 ? "" : "s");
	if (recorded->left_out)
		fprintf(stderr, "%zu requests are no items; the first: %s.\n", recorded->left_out,
			recorded->first_left);
	fprintf(stderr,
		"Its scorer passes any answer: name a real one in %s/suite.yaml, then see\n"
		"`parley suite check %s`.\n",
		recorded->folder, recorded->folder);
}

static int record(const struct bench_settings *settings)
{
	struct err err = ERR_INIT;
	struct bench_recorded recorded;
	struct bench_options options = options_of(settings, NULL);
	raise_descriptors();
	struct env *env = env_os_new(options.graders + 2);
	if (!env)
		return 3;
	enum err_code code = bench_record(env, &options, &recorded, &err);
	if (recorded.items)
		print_recorded(&recorded, settings->json);
	json_decref(recorded.proxy);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

static int start_proxy(struct bench_settings *settings, struct bench_proxy *proxy,
		       const struct cli_arguments *arguments, bool resume)
{
	bool lists = settings->suites.count || settings->models.count;
	if (!arguments->rest_count)
		return cli_usage("bench proxy", "say what to run: -- COMMAND and its arguments");
	if (proxy->record &&
	    (settings->suites.count || settings->output || resume || arguments->count))
		return cli_usage("bench proxy", "--record makes a suite, and no run: leave out -o, "
						"--suite, --resume and the plan");
	if (!settings->output && !proxy->record)
		return cli_usage("bench proxy", "say where the results go: -o DIR");
	if (resume && (lists || arguments->count || settings->samples || settings->sealed))
		return cli_usage("bench proxy", "--resume goes on with the plan of DIR: leave out "
						"suites, models, samples and sealed");
	int status = resume || proxy->record
			     ? -1
			     : check_selection("bench proxy", settings, arguments->count > 0);
	if (status >= 0)
		return status;
	for (const char *const *at = proxy->variables; *at; at++)
		if (**at == '=' || !strchr(*at, '='))
			return cli_usage(
				"bench proxy",
				"--env %s: write NAME=TEXT, with {url} and {key} where they "
				"belong",
				*at);
	proxy->command = arguments->rest;
	proxy->apart = !isatty(STDIN_FILENO);
	proxy->output_to_error = settings->json;
	settings->proxy = proxy;
	if (proxy->record)
		return record(settings);
	return run(settings, arguments->count ? arguments->positional[0] : NULL, resume);
}

static int run_proxy(int argc, char **argv)
{
	struct bench_settings settings = {0};
	struct bench_proxy proxy = {0};
	struct cli_list variables = {0};
	int64_t port = 0;
	bool resume = false;
	const struct cli_option options[] = {
		SELECTION_OPTIONS(settings,
				  "NAME=DIALECT@URL#ENV, with #KEY_FILE where requests are signed "
				  "(repeatable)",
				  "who judges answers, in pairs or alone: asked by the run itself"),
		{"resume",					0, CLI_FLAG, &resume, NULL,
		   "go on with the run in DIR: what has an answer is given it again, unasked", 0, 0},
		{"record",				       0, CLI_TEXT, &proxy.record, "NAME|DIR",
		   "no run: make a suite of what the command asks", 0, 0},
		{"env",					   'e', CLI_LIST, &variables, "NAME=TEXT",
		   "another variable for the command; {url} and {key} are filled in (repeatable)", 0,
		   0},
		{"port",					      0, CLI_INTEGER, &port, "PORT", "of 127.0.0.1 (a free one)", 1, 65535},
		{"any-key",					       0, CLI_FLAG, &proxy.any_key, NULL,
		   "take requests with any key, not only the one made up for the command", 0, 0},
		{"pass-others",        0, CLI_FLAG, &proxy.pass_others, NULL,
		   "send on what is no item too (it counts for nothing)", 0, 0},
		{"verdicts",				  0, CLI_FLAG, &proxy.verdicts, NULL,
		   "under release V0: give the command the gateway's verdicts", 0, 0},
		EXTENT_OPTIONS(settings),
		{"sealed", 0, CLI_FLAG, &settings.sealed, NULL,
		   "give gateways the roots of suites and not their items", 0, 0},
		SHARED_OPTIONS(settings),
		{0					     },
	};
	const struct cli_command command = {
		"bench proxy",
		"PLAN.yaml -o DIR -- COMMAND … | --suite S --model M … -o DIR -- COMMAND … |\n"
		"       --record NAME|DIR [--model M …] -- COMMAND …",
		"Runs another harness behind a port of 127.0.0.1 and makes its run one that\n"
		"`parley verify` checks: requests that ask an item of the suites are sent on byte "
		"for\n"
		"byte, with leaf proofs and signatures where the gateway wants them; answers are\n"
		"passed on as they come, kept and graded; suite and run are registered, receipts\n"
		"fetched. The command is told where to ask by ANTHROPIC_BASE_URL, "
		"OPENAI_BASE_URL,\n"
		"GOOGLE_GEMINI_BASE_URL, MISTRAL_API_BASE_URL, XAI_API_BASE_URL and relatives,\n"
		"PARLEY_PROXY_URL, and has a made-up key in …_API_KEY; the real keys are kept from "
		"it.\n"
		"What is no item is refused, and counted. Exit 0 when every sample has an outcome "
		"and\n"
		"the command ended with 0. Ctrl-C ends the command; what was answered is written "
		"out.\n"
		"With --record there is no run: what the command asks becomes a suite. Without "
		"--model\n"
		"nobody is asked then, and each request is refused once it is recorded.",
		options,
		0,
		1};
	struct cli_arguments arguments;
	int status = cli_parse_with_rest(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	proxy.variables = variables.items;
	proxy.port = (unsigned)port;
	return start_proxy(&settings, &proxy, &arguments, resume);
}

int cmd_bench(int argc, char **argv)
{
	static const struct cli_verb verbs[] = {
		{"run",      run_run,              "ask models the items of suites, grade, report"          },
		{"resume",   run_resume,           "go on with a run that was interrupted"                  },
		{"proxy",    run_proxy,            "run another harness behind a port and keep what it asks"},
		{"estimate", run_estimate,         "what a run would take, before anything is spent"        },
		{"compare",  run_bench_compare,    "hold the models of runs against each other"             },
		{"power",    run_bench_power,      "how many items it takes to see a difference"            },
		{"report",   bench_report,         "publish a run with its prompts and answers withheld"    },
		{"export",   bench_export_command, "a run in other tools' formats"                          },
		{NULL,       NULL,                 NULL						     },
	};
	return cli_dispatch("bench", verbs, argc, argv);
}
