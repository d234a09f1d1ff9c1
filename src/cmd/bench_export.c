/* parley bench export: a run in other tools' formats. */
#include "bench/export.h"
#include "cmd/cli.h"
#include "cmd/commands.h"

static int write_export(const struct export_options *options, bool json)
{
	struct err err = ERR_INIT;
	struct export_outcome outcome;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = bench_export(env, options, &outcome, &err);
	env_os_free(env);
	if (code != ERR_OK)
		return cli_fail_given(&err);
	if (json) {
		json_t *object = json_pack("{s:s, s:s, s:I}", "format", options->format, "output",
					   options->output, "samples", (json_int_t)outcome.samples);
		cli_print_json(object);
		json_decref(object);
	} else if (outcome.samples > 0) {
		printf("%s: %zu samples as %s.\n", options->output, outcome.samples,
		       options->format);
	} else {
		printf("%s: the statement as %s.\n", options->output, options->format);
	}
	return 0;
}

int bench_export_command(int argc, char **argv)
{
	struct export_options settings = {0};
	bool json = false;
	const struct cli_option options[] = {
		{"format",          'f', CLI_TEXT, &settings.format, "FORMAT",
		 "inspect, lm-eval, csv or in-toto", 0, 0},
		{"output",         'o', CLI_TEXT, &settings.output, "FILE",
		 "where it goes; with lm-eval a folder", 0, 0},
		{"suite",         's', CLI_TEXT, &settings.suite, "NAME", "this suite of the run", 0, 0},
		{"model",                'm', CLI_TEXT, &settings.model, "NAME", "this model of the run", 0, 0},
		{"key",                 0, CLI_TEXT, &settings.key, "FILE",
		 "in-toto: sign with this Ed25519 key too", 0, 0},
		{"json",      0, CLI_FLAG, &json, NULL, "say what was written as JSON", 0, 0},
		{0},
	};
	const struct cli_command command = {
		"bench export",
		"DIR --format FORMAT -o FILE [--suite S] [--model M]",
		"Writes the samples of a run for another tool: `inspect` is one .eval archive of "
		"one "
		"suite\nand model, `lm-eval` results_DATE.json with samples_SUITE_DATE.jsonl "
		"beside "
		"it, `csv` a\nrow for each sample, `in-toto` the bundle's statement in a DSSE "
		"envelope. `parley verify`\nreads the first two back. The bundle is held against "
		"its manifest first.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (!settings.format || !settings.output)
		return cli_usage("bench export", "say which format and where: --format inspect|"
						 "lm-eval|csv|in-toto -o FILE");
	if (settings.key && strcmp(settings.format, "in-toto") != 0)
		return cli_usage("bench export", "--key signs in-toto statements only");
	settings.run = arguments.positional[0];
	return write_export(&settings, json);
}
