#include "cmd/cli.h"
#include "cmd/commands.h"
#include "gate/config.h"

int cmd_init(int argc, char **argv)
{
	const char *name = NULL;
	const struct cli_option options[] = {
		{"name",    0, CLI_TEXT, &name, "ORIGIN",
		 "log origin and name of the signing key "
		 "(northlab.example/parley)", 0, 0},
		{0},
	};
	const struct cli_command command = {"init",
					    "DIR [--name ORIGIN]",
					    "Makes DIR with parley.yaml, access.yaml, "
					    "signing.key and grant.key (0600). `parley\n"
					    "serve` runs on them at once.",
					    options,
					    1,
					    1};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = config_init(env, arguments.positional[0], name, &err);
	env_os_free(env);
	if (code != ERR_OK)
		return cli_fail(&err);
	const char *dir = arguments.positional[0];
	printf("Made %s/parley.yaml, %s/access.yaml, %s/signing.key and %s/grant.key.\n"
	       "Next: set your providers in parley.yaml, then\n"
	       "  parley serve -c %s/parley.yaml\n",
	       dir, dir, dir, dir, dir);
	return 0;
}
