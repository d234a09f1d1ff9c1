/* parley suite check: what is wrong with a suite folder, by file and line. */
#include "cmd/cli.h"
#include "cmd/commands.h"
#include "grade/suite_check.h"

#include <stdio.h>

struct checking {
	const char *directory;
	const struct suite *suite;
	struct suite_findings findings;
	struct suite_trial trial;
	json_t *found; /* with --json: a list */
};

static void print_finding(void *argument, const struct suite_finding *finding)
{
	const struct checking *checking = argument;
	const char *check = suite_check_name(finding->check);
	if (checking->found) {
		json_array_append_new(checking->found,
				      json_pack("{s:s, s:s, s:I, s:s}", "check", check, "file",
						finding->file, "line", (json_int_t)finding->line,
						"message", finding->message));
		return;
	}
	cli_print_safe(stdout, bytes_from(checking->directory));
	printf("/%s:%zu: %s: ", finding->file, finding->line, check);
	cli_print_safe(stdout, bytes_from(finding->message));
	putchar('\n');
}

/* "duplicate", or the names there are. */
static bool read_skip(const struct cli_list *names, unsigned *skip, const char **unknown)
{
	for (size_t i = 0; i < names->count; i++) {
		unsigned check = 0;
		while (check < SUITE_CHECK_COUNT &&
		       strcmp(suite_check_name(check), names->items[i]) != 0)
			check++;
		*unknown = names->items[i];
		if (check == SUITE_CHECK_COUNT)
			return false;
		*skip |= 1u << check;
	}
	return true;
}

static void print_summary(const struct checking *checking)
{
	const struct suite *suite = checking->suite;
	const struct suite_trial *trial = &checking->trial;
	char steps[64] = "";
	if (suite_steps(suite) > 1)
		snprintf(steps, sizeof(steps), ", conversations of up to %u answers",
			 suite_steps(suite));
	printf("%s: %zu items%s%s", suite_name(suite), suite_count(suite), steps,
	       suite_is_judged(suite) ? ", each with what judges are asked" : "");
	if (trial->references)
		printf(", the references and wrong answers of %zu of %zu tried", trial->tried,
		       trial->references);
	printf("; %zu finding%s\n", checking->findings.count,
	       checking->findings.count == 1 ? "" : "s");
}

static void print_json(const struct checking *checking)
{
	const struct suite *suite = checking->suite;
	json_t *told =
		json_pack("{s:s, s:I, s:b, s:s, s:I, s:I, s:I, s:O}", "name", suite_name(suite),
			  "items", (json_int_t)suite_count(suite), "judges", suite_is_judged(suite),
			  "licence", suite_licence(suite), "steps", (json_int_t)suite_steps(suite),
			  "references", (json_int_t)checking->trial.references, "tried",
			  (json_int_t)checking->trial.tried, "findings", checking->found);
	cli_print_json(told);
	json_decref(told);
}

/* What is wrong in suite.yaml and items.jsonl is what was to be found; without them there is
 * nothing to check. */
static enum err_code find_folder(struct env *env, const char *directory, struct err *err)
{
	char path[4200];
	snprintf(path, sizeof(path), "%.4100s/suite.yaml", directory);
	return env_file_exists(env, path)
		       ? ERR_OK
		       : ERR_SET(err, ERR_USAGE, "%s is no suite: there is no %s", directory, path);
}

static enum err_code check_folder(struct env *env, struct checking *checking, struct err *err)
{
	struct suite *suite;
	ERR_TRY(find_folder(env, checking->directory, err));
	ERR_TRY(suite_load(env, checking->directory, &suite, err));
	checking->suite = suite;
	enum err_code code = suite_check(suite, &checking->findings, err);
	if (code == ERR_OK)
		code = suite_check_answers(suite, &checking->trial, &checking->findings, err);
	if (code == ERR_OK && checking->found)
		print_json(checking);
	else if (code == ERR_OK)
		print_summary(checking);
	suite_free(suite);
	return code;
}

static int run(struct checking *checking, bool json)
{
	struct err err = ERR_INIT;
	struct env *env = env_os_new(1);
	checking->found = json ? json_array() : NULL;
	if (!env || (json && !checking->found)) {
		env_os_free(env);
		json_decref(checking->found);
		return 3;
	}
	checking->findings.found = print_finding;
	checking->findings.argument = checking;
	enum err_code code = check_folder(env, checking, &err);
	json_decref(checking->found);
	env_os_free(env);
	if (code == ERR_ENVIRONMENT)
		err_to_usage(&err); /* a path that leads to no folder */
	if (code != ERR_OK)
		return cli_fail(&err);
	return checking->findings.count > 0;
}

int suite_check_folder(int argc, char **argv)
{
	bool json = false, no_run = false;
	int64_t every = 1;
	struct cli_list skip = {.count = 0};
	const struct cli_option options[] = {
		{"skip",    0, CLI_LIST, &skip, "CHECK", "leave a check out (several times)", 0, 0},
		{"no-run", 0, CLI_FLAG, &no_run, NULL, "do not try references and wrong answers", 0,
		 0},
		{"every",  0, CLI_INTEGER, &every, "N", "try those of each Nth item only (1)", 1,
		 1000000},
		{"json",        0, CLI_FLAG, &json, NULL, "the findings as JSON", 0, 0},
		{0        },
	};
	const struct cli_command command = {
		"suite check",
		"DIR [--skip CHECK] [--no-run | --every N] [--json]",
		"Reads and renders every item and says what is wrong, by file and line; exit 1 if "
		"anything is.\nAn item's `reference` must be scored 1 and each of its `wrong` "
		"answers less: programs run in\nthe sandbox. Checks:\n\n"
#define X(name, text, help) "  " text ": " help "\n"
		SUITE_CHECKS(X)
#undef X
			,
		options,
		1,
		1};
	struct cli_arguments arguments;
	struct checking checking = {.directory = NULL};
	const char *unknown = NULL;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (no_run && every > 1)
		return cli_usage("suite check", "--no-run tries no answers: leave --every out");
	if (!read_skip(&skip, &checking.findings.skip, &unknown))
		return cli_usage("suite check", "--skip %s: there is no such check", unknown);
	checking.directory = arguments.positional[0];
	checking.trial.every = no_run ? 0 : (size_t)every;
	return run(&checking, json);
}
