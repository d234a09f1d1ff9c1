/* parley suite: what can be done with suite folders without a gateway; what a gateway has is
 * operate.c's. */
#include "base/encode.h"
#include "cmd/cli.h"
#include "cmd/commands.h"
#include "suite/import.h"
#include "suite/suite.h"

/* ---- import ---- */

#define ANNOTATIONS_MAX ((size_t)512 << 20)
#define ANNOTATIONS_FORMAT "alpaca_annotations"

/* AlpacaEval annotations hold verdicts, not items: what can be had from them is the win rate. */
static enum err_code print_annotations(struct env *env, const char *path, bool json,
				       struct err *err)
{
	struct buf text = BUF_INIT(ANNOTATIONS_MAX);
	struct alpaca_win_rate rate;
	json_t *tree = NULL;
	enum err_code code = env_read_file(env, path, &text, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&text), path, &tree, err);
	if (code == ERR_OK)
		code = alpaca_win_rate(tree, &rate, err);
	if (code == ERR_OK && json)
		printf("{\"left_out\":%zu,\"n\":%zu,\"standard_error\":%.17g,\"win_rate\":%.17g}\n",
		       rate.left_out, rate.n, rate.standard_error, rate.win_rate);
	else if (code == ERR_OK)
		printf("win rate %.2f %% (standard error %.2f) over %zu annotations, %zu without a "
		       "preference left out\n",
		       100 * rate.win_rate, 100 * rate.standard_error, rate.n, rate.left_out);
	json_decref(tree);
	buf_release(&text);
	return code;
}

static int run_import(int argc, char **argv)
{
	struct suite_import_options import = {0};
	const char *output = NULL;
	bool json = false;
	const struct cli_option options[] = {
		{"format",  'f', CLI_TEXT, &import.format, "NAME",
		 "of the input (found out if not given)", 0, 0},
		{"output", 'o', CLI_TEXT, &output, "DIR", "the suite folder to make", 0, 0},
		{"prompt-field",   0, CLI_TEXT, &import.prompt_field, "NAME",
		 "of csv and jsonl: what is asked", 0, 0},
		{"target-field",        0, CLI_TEXT, &import.target_field, "NAME",
		 "of csv and jsonl: what is right", 0, 0},
		{"scorer",         0, CLI_TEXT, &import.scorer, "KIND",
		 "of csv and jsonl: contains, exact, choice, numeric, regex, refusal", 0, 0},
		{"json",      0, CLI_FLAG, &json, NULL, "the result as JSON", 0, 0},
		{0 },
	};
	const struct cli_command command = {
		"suite import",
		"FILE -o DIR [--format NAME]",
		"Makes a suite folder from another project's data set (.gz is unpacked). Formats:\n"
		"  coding       humaneval, evalplus, mbpp\n"
		"  safety       xstest (prompts as CSV), ailuminate (CSV)\n"
		"  writing      alpaca (outputs), mt_bench, arena_hard\n"
		"  questions    truthfulqa (CSV, as multiple choice)\n"
		"  harnesses    inspect (.eval, .json), lm_eval (samples), modelbench (journal), "
		"helm "
		"(scenario_state.json), "
		"promptfoo\n"
		"               (configuration); answers in them become transcript.jsonl\n"
		"  plain        csv, jsonl: every column a field\n"
		"Of alpaca_annotations, which hold verdicts and no items, it prints the win rate "
		"(mean\n"
		"preference - 1).",
		options,
		1,
		1};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	struct suite_imported imported;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	bool annotations = import.format && strcmp(import.format, ANNOTATIONS_FORMAT) == 0;
	if (!output && !annotations)
		return cli_usage("suite import", "say where the suite goes: -o DIR");
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = annotations
				     ? print_annotations(env, arguments.positional[0], json, &err)
				     : suite_import(env, &import, arguments.positional[0], output,
						    &imported, &err);
	env_os_free(env);
	if (code != ERR_OK)
		return cli_fail_given(&err);
	if (annotations)
		return 0;
	if (json)
		printf("{\"format\":\"%s\",\"items\":%zu,\"left_out\":%zu,\"transcript\":%s}\n",
		       imported.format, imported.items, imported.left_out,
		       imported.transcript ? "true" : "false");
	else
		printf("%zu items of format %s in %s%s\n", imported.items, imported.format, output,
		       imported.transcript ? ", with the stored answers in transcript.jsonl" : "");
	if (imported.left_out)
		fprintf(stderr, "%zu left out, the first because %s\n", imported.left_out,
			imported.first_left);
	return 0;
}

/* ---- digest ---- */

static enum err_code print_digest(const struct suite *suite, bool json, struct err *err)
{
	uint8_t root[SHA256_SIZE];
	char text[2 * SHA256_SIZE + 1];
	ERR_TRY(suite_root(suite, root, err));
	hex_encode(root, sizeof(root), text);
	if (json)
		printf("{\"items\":%zu,\"name\":\"%s\",\"root\":\"%s\",\"version\":\"%s\"}\n",
		       suite_count(suite), suite_name(suite), text, suite_version(suite));
	else
		printf("%s\n", text);
	return ERR_OK;
}

static int run_digest(int argc, char **argv)
{
	bool json = false;
	const struct cli_option options[] = {
		{"json",    0, CLI_FLAG, &json, NULL, "the result as JSON", 0, 0},
                {0}
        };
	const struct cli_command command = {
		"suite digest",
		"DIR",
		"Prints the root of the suite's tree of leaves, its address.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	struct suite *suite = NULL;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = suite_load(env, arguments.positional[0], &suite, &err);
	if (code == ERR_OK)
		code = print_digest(suite, json, &err);
	suite_free(suite);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail_given(&err);
}

/* ---- registered suites ---- */

static int run_list(int argc, char **argv)
{
	return suite_is_remote(argc, argv) ? suite_list_remote(argc, argv)
					   : operate_verb("suite list", argc, argv);
}

static int run_show(int argc, char **argv)
{
	return suite_is_remote(argc, argv) ? suite_show_remote(argc, argv)
					   : operate_verb("suite show", argc, argv);
}

static int run_approve(int argc, char **argv)
{
	return operate_verb("suite approve", argc, argv);
}

static int run_reject(int argc, char **argv)
{
	return operate_verb("suite reject", argc, argv);
}

int cmd_suite(int argc, char **argv)
{
	static const struct cli_verb verbs[] = {
		{"import",   run_import,         "make a suite folder from another data set"},
		{"digest",   run_digest,         "print a suite's root"                     },
		{"check",    suite_check_folder, "find what is wrong with a suite, by line" },
		{"register", suite_register,     "register a suite with a gateway, by a key"},
		{"list",     run_list,           "suites registered with the gateway"       },
		{"show",     run_show,           "one registered suite"                     },
		{"approve",  run_approve,        "make a private suite reviewed"            },
		{"reject",   run_reject,         "refuse a suite, or take an approval back" },
		{NULL,       NULL,               NULL				       },
	};
	return cli_dispatch("suite", verbs, argc, argv);
}
