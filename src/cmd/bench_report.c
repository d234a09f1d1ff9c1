/* parley bench report: what of a run goes out of the house. */
#include "bench/publish.h"
#include "cmd/cli.h"
#include "cmd/commands.h"

#define PATH_SIZE 4200

struct report_settings {
	struct cli_list withhold, show, items;
	const char *output, *salts, *key;
	bool publish, json;
};

static void print_published(const struct publish_outcome *outcome,
			    const struct report_settings *settings, const char *salts)
{
	if (settings->json) {
		json_t *object = json_pack(
			"{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "bundle", settings->output,
			"salts", salts, "suites_withheld", (json_int_t)outcome->suites_withheld,
			"suites_shown", (json_int_t)outcome->suites_shown, "items_withheld",
			(json_int_t)outcome->items, "attempts_withheld",
			(json_int_t)outcome->attempts, "grants_withheld",
			(json_int_t)outcome->grants, "plan_withheld", (int)outcome->plan,
			"summary_withheld", (int)outcome->summary);
		cli_print_json(object);
		json_decref(object);
		return;
	}
	printf("%s: %zu suites shown, %zu withheld (%zu items, %zu attempts)", settings->output,
	       outcome->suites_shown, outcome->suites_withheld, outcome->items, outcome->attempts);
	if (outcome->grants > 0)
		printf("; %zu grants withheld", outcome->grants);
	if (outcome->plan)
		printf("; prices and budgets of the plan withheld");
	printf(".\nIt can be given to anybody: parley verify %s --key KEY\n"
	       "What opens it is in %s: keep that to yourself. An auditor runs\n"
	       "    parley verify %s --salts %s\n",
	       settings->output, salts, settings->output, salts);
	if (*outcome->seedless)
		printf("Without a seed: %s. The root of such a suite is the same for everybody, so "
		       "that who\nguesses all of its items can tell. Give it a `seed` in "
		       "suite.yaml before it is run again.\n",
		       outcome->seedless);
}

static int publish(const char *run, const struct report_settings *settings)
{
	char beside[PATH_SIZE];
	struct err err = ERR_INIT;
	struct publish_outcome outcome;
	size_t size = strlen(settings->output);
	while (size > 1 && settings->output[size - 1] == '/')
		size--;
	snprintf(beside, sizeof(beside), "%.*s.salts", (int)(size < 4000 ? size : 4000),
		 settings->output);
	struct publish_options options = {.run = run,
					  .output = settings->output,
					  .salts = settings->salts ? settings->salts : beside,
					  .key = settings->key,
					  .withhold = settings->withhold.items,
					  .show = settings->show.items};
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = bench_publish(env, &options, &outcome, &err);
	if (code == ERR_OK)
		print_published(&outcome, settings, options.salts);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail_given(&err);
}

static int cut(const struct report_settings *settings)
{
	struct err err = ERR_INIT;
	struct publish_cut cut = {.salts = settings->salts,
				  .items = settings->items.items,
				  .output = settings->output};
	size_t count = 0;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = bench_cut_salts(env, &cut, &count, &err);
	if (code == ERR_OK && settings->json) {
		json_t *object = json_pack("{s:s, s:I}", "salts", settings->output, "openings",
					   (json_int_t)count);
		cli_print_json(object);
		json_decref(object);
	} else if (code == ERR_OK) {
		printf("%s: opens %zu items and what was answered to them, %zu commitments, and "
		       "nothing else.\n",
		       settings->output, settings->items.count, count);
	}
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail_given(&err);
}

/* A suite named by both --show and --withhold; NULL: there is none. */
static const char *find_contradiction(const struct report_settings *settings)
{
	for (size_t i = 0; i < settings->show.count; i++)
		for (size_t k = 0; k < settings->withhold.count; k++)
			if (strcmp(settings->show.items[i], settings->withhold.items[k]) == 0)
				return settings->show.items[i];
	return NULL;
}

static int check(const struct report_settings *settings, size_t runs)
{
	bool cutting = settings->items.count > 0;
	const char *both = find_contradiction(settings);
	if (both)
		return cli_usage("bench report",
				 "--show %s and --withhold %s contradict each other: leave one "
				 "out (a suite's name counts for more than \"all\")",
				 both, both);
	if (!settings->output)
		return cli_usage("bench report", "say where it goes: -o OUT");
	if (cutting && (settings->show.count || settings->withhold.count || settings->key))
		return cli_usage("bench report", "--item cuts a file of salts and publishes "
						 "nothing: leave out --show, --withhold and --key");
	if (cutting && (runs || settings->publish || !settings->salts))
		return cli_usage("bench report", "--item cuts a file of salts: --salts FILE --item "
						 "SUITE/NUMBER … -o PART, and no DIR");
	if (!cutting && (!settings->publish || !runs))
		return cli_usage("bench report",
				 "say --publish and the run: DIR --publish -o OUT (the run's own "
				 "report is DIR/report.html, written by run and resume)");
	return -1;
}

int bench_report(int argc, char **argv)
{
	struct report_settings settings = {0};
	const struct cli_option options[] = {
		{"publish",         0, CLI_FLAG, &settings.publish, NULL,
		 "make a bundle for everybody, in OUT", 0, 0},
		{"output",         'o', CLI_TEXT, &settings.output, "OUT", "where it goes", 0, 0},
		{"withhold",             0, CLI_LIST, &settings.withhold, "SUITE",
		 "keep this suite's items and answers back, or \"all\" (repeatable; safety suites "
		 "are unless shown)", 0, 0},
		{"show",                0, CLI_LIST, &settings.show, "SUITE",
		 "publish this suite with its answers, or \"all\" (repeatable)", 0, 0},
		{"salts",                 0, CLI_TEXT, &settings.salts, "FILE",
		 "where the salts and texts go that open it (OUT.salts, 0600)", 0, 0},
		{"item",      0, CLI_LIST, &settings.items, "SUITE/NUMBER",
		 "cut a file of salts to what opens this item, by its place from 0 (repeatable)", 0,
		 0},
		{"key", 0, CLI_TEXT, &settings.key, "FILE", "sign the bundle with this Ed25519 key",
		 0, 0},
		{"json",  0, CLI_FLAG, &settings.json, NULL, "what was done, as JSON", 0, 0},
		{0               },
	};
	const struct cli_command command = {
		"bench report",
		"DIR --publish -o OUT | --salts FILE --item SUITE/NUMBER … -o PART",
		"Makes a bundle that can be given to anybody of the run in DIR: prompts and "
		"answers\n"
		"of safety suites (and of those named with --withhold), prices, limits and "
		"contacts\n"
		"stand in it as salted commitments. Results, scores, receipts and signatures stay\n"
		"checkable by `parley verify OUT`; with the file of salts a named auditor checks "
		"the\n"
		"rest. With --item only that item is opened.",
		options,
		0,
		1};
	struct cli_arguments arguments;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	status = check(&settings, arguments.count);
	if (status >= 0)
		return status;
	return settings.items.count ? cut(&settings) : publish(arguments.positional[0], &settings);
}
