#include "cmd/cli.h"
#include "cmd/commands.h"
#include "grade/confine.h"
#include "grade/sandbox_group.h"
#include "verify/verify.h"

#include <errno.h>

#define TEXT_MAX ((size_t)4 << 20)

struct verify_command {
	struct cli_list keys;
	const char *record, *require, *policy, *salts;
	bool rerun, json, html;
};

/* A reader that closes the pipe early (head -1) has seen what it wanted. */
static int print_report(const struct verify_report *report, const char *path,
			const struct verify_command *command)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	errno = 0;
	if (command->json) {
		json_t *object = verify_report_json(report);
		if (!object)
			return 3;
		cli_print_json(object);
		json_decref(object);
	} else {
		if (command->html)
			verify_report_html(report, path, &text);
		else
			verify_report_text(report, &text);
		fwrite(text.data, 1, text.size, stdout);
	}
	bool written = !text.failed && fflush(stdout) == 0 && !ferror(stdout);
	bool closed = errno == EPIPE;
	buf_release(&text);
	if (written || closed)
		return 0;
	fprintf(stderr, "parley: the report cannot be written to stdout\n");
	return 3;
}

/* Who gives a policy asks whether it is met. */
static int exit_status(const struct verify_report *report, const struct verify_command *command)
{
	if (report->verdict == VERIFY_FALSE)
		return 1;
	return (command->require || command->policy) && report->verdict != VERIFY_VOUCHED ? 1 : 0;
}

static int run(const char *path, const struct verify_command *command)
{
	struct verify_options options = {.keys = command->keys.items,
					 .key_count = command->keys.count,
					 .policy = command->policy,
					 .record = command->record,
					 .salts = command->salts,
					 .rerun = command->rerun};
	struct verify_report report = {0};
	struct err err = ERR_INIT;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	/* Whoever wrote what is verified may want more of the reader than a look. */
	char groups[SANDBOX_GROUP_NOTE_SIZE];
	if (command->rerun) /* better bounds, where they can be had */
		sandbox_groups_prepare(groups);
	enum err_code code = command->rerun ? confine_keeper(&err) : confine_to_reading(&err);
	if (code == ERR_OK)
		code = verify_path(env, path, &options, &report, &err);
	int status;
	if (code != ERR_OK) {
		status = cli_fail(&err);
		/* What is damaged does not hold; what is too large or of a later version may. */
		if (code == ERR_TOO_LARGE || code == ERR_UNSUPPORTED)
			status = 3;
	} else {
		status = print_report(&report, path, command);
		if (status == 0)
			status = exit_status(&report, command);
	}
	verify_report_release(&report);
	env_os_free(env);
	return status;
}

int cmd_verify(int argc, char **argv)
{
	struct verify_command chosen = {0};
	const struct cli_option options[] = {
		{"key",			     'k', CLI_LIST, &chosen.keys, "KEY",
		 "a key you trust: a log's verifier key (name+id+base64), an evaluator's public "
		 "key "
		 "(base64), or a file of such lines; may be repeated", 0, 0},
		{"policy",                         0, CLI_TEXT, &chosen.policy, "FILE",
		 "logs and witnesses you trust, and how many of them it takes (C2SP tlog-policy); "
		 "exit 1 unless they vouch for it", 0, 0},
		{"require",			    0, CLI_TEXT, &chosen.require, "vouched",
		 "exit 1 unless one of your keys stands behind it", 0, 0},
		{"salts",				0, CLI_TEXT, &chosen.salts, "FILE",
		 "open what a published bundle withholds, and check it too", 0, 0},
		{"rerun",				 0, CLI_FLAG, &chosen.rerun, NULL,
		 "run generated programs again, in the sandbox", 0, 0},
		{"record",        0, CLI_TEXT, &chosen.record, "FILE",
		 "the record that a .tlog-proof without one is about", 0, 0},
		{"json",                   0, CLI_FLAG, &chosen.json, NULL, "the report as JSON", 0, 0},
		{"html", 0, CLI_FLAG, &chosen.html, NULL,
		 "the report as a page of HTML that opens offline", 0, 0},
		{0			       },
	};
	const struct cli_command command = {
		"verify",
		"PATH [--key KEY]... [--policy FILE] [--require vouched] [--salts FILE] [--rerun] "
		"[--json | "
		"--html]",
		"Checks a bundle, a log's directory, a receipt or a paper that a gateway signed "
		"(a\n"
		"grant, a statement, ...), without any network; or computes\n"
		"the figures in another harness's log again from its samples: Inspect (.eval, "
		".json),\n"
		"lm-eval (results_*.json or its directory), promptfoo (output .json), AlpacaEval\n"
		"(annotations .json, with the leaderboard.csv beside it). The first line says\n"
		"VOUCHED by NAME, CONSISTENT, SELF-CERTIFIED or FALSE: and what does not hold.\n"
		"Exit status: 0 it holds, 1 it is false (or not vouched for, with --require "
		"vouched),\n"
		"2 wrong use, 3 it could not be checked.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (chosen.require && strcmp(chosen.require, "vouched") != 0)
		return cli_usage("verify", "--require knows only \"vouched\", not \"%s\"",
				 chosen.require);
	if (chosen.json && chosen.html)
		return cli_usage("verify", "--json and --html are two forms: choose one");
	return run(arguments.positional[0], &chosen);
}
