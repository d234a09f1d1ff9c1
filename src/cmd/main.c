/* parley: one binary, git-style. The table of subcommands is table/commands.h. */
#include "cmd/cli.h"
#include "cmd/commands.h"

#include <signal.h>

static const struct cli_verb commands[] = {
#define X(name, help) {#name, cmd_##name, help},
	COMMAND_TABLE(X)
#undef X
		{NULL, NULL, NULL},
};

static int print_overview(FILE *out)
{
	fprintf(out, "usage: parley COMMAND …\n\n"
		     "Who may test what, and how: enforced and provable.\n\n");
	for (const struct cli_verb *command = commands; command->name; command++)
		fprintf(out, "  %-12s%s\n", command->name, command->help);
	fprintf(out, "\n`parley COMMAND --help` tells more. Exit status: 0 done, 1 the check or run "
		     "failed,\n2 wrong use, 3 the environment failed.\n");
	return out == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write */
	if (argc < 2)
		return print_overview(stderr);
	if (strcmp(argv[1], "--version") == 0) {
		puts("parley " PARLEY_VERSION);
		return 0;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0)
		return print_overview(stdout);
	for (const struct cli_verb *command = commands; command->name; command++)
		if (strcmp(command->name, argv[1]) == 0)
			return command->run(argc - 2, argv + 2);
	fprintf(stderr, "parley: unknown command \"%s\"\n", argv[1]);
	return print_overview(stderr);
}
