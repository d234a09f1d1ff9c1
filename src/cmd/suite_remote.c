/* parley suite register, and list and show with --gateway: suites of a gateway that may be far
 * away, with a key and nothing else. */
#include "bench/registration.h"
#include "cmd/cli.h"
#include "cmd/commands.h"
#include "cmd/remote.h"

#include <stdlib.h>

struct remote_suites {
	struct remote remote;
	bool sealed, json;
};

/* ---- register ---- */

static void print_registered(const struct suite *suite, const json_t *answer)
{
	struct err note = ERR_INIT;
	fprintf(stderr, "%s %s: %zu items, class ", suite_name(suite), suite_version(suite),
		suite_count(suite));
	cli_print_safe(stderr, bytes_from(json_text(answer, "class")));
	fputs(".\n", stderr);
	if (registration_usable(answer, &note) != ERR_OK)
		fprintf(stderr, "It cannot be run yet: %s.\n", note.message);
	cli_print_safe(stdout, bytes_from(json_text(answer, "suite")));
	putchar('\n');
}

static enum err_code register_folder(struct env *env, const struct remote_suites *asked,
				     const char *folder, struct err *err)
{
	struct suite *suite;
	json_t *answer;
	if (suite_load(env, folder, &suite, err) != ERR_OK)
		return err_to_usage(err);
	enum err_code code = asked->sealed ? suite_check_seed(suite, folder, err) : ERR_OK;
	if (code != ERR_OK)
		code = err_to_usage(err);
	if (code == ERR_OK)
		code = registration_register(env, &asked->remote.account, suite, asked->sealed,
					     &answer, err);
	if (code == ERR_OK && asked->json)
		cli_print_json(answer);
	else if (code == ERR_OK)
		print_registered(suite, answer);
	if (code == ERR_OK)
		json_decref(answer);
	suite_free(suite);
	return code;
}

int suite_register(int argc, char **argv)
{
	struct remote_suites asked = {0};
	const struct cli_option options[] = {
		REMOTE_OPTIONS(asked.remote),
		{"json",    0, CLI_FLAG, &asked.json, NULL, "the gateway's answer as JSON", 0, 0},
		{"sealed", 0, CLI_FLAG, &asked.sealed, NULL,
				"give it the root and the number of items only", 0, 0},
		{0    },
	};
	const struct cli_command command = {
		"suite register",
		"DIR --gateway URL#ENV [--sealed]",
		"Registers a suite with a gateway under the grant of the key in ENV, and prints "
		"its id\n"
		"there. Openly: with its items, so that any harness's requests are recognised; or\n"
		"sealed: by its root, so that each request has to prove its leaf (bench does). "
		"What\n"
		"is registered already stays as it is. `bench run` and `bench proxy` do this by\n"
		"themselves; use it to have a suite approved first, or for a harness of your own.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status < 0)
		status = remote_open(command.name, &asked.remote);
	if (status >= 0)
		return status;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = register_folder(env, &asked, arguments.positional[0], &err);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

/* ---- list and show ---- */

static const json_t *row_of(const json_t *rows, const char *id)
{
	for (size_t i = 0; i < json_array_size(rows); i++)
		if (strcmp(json_text(json_array_get(rows, i), "id"), id) == 0)
			return json_array_get(rows, i);
	return NULL;
}

/* What the key's grant has, of what `self` tells. */
static enum err_code show_suites(const struct remote_suites *asked, const json_t *self,
				 const char *id, struct err *err)
{
	const json_t *rows = json_object_get(self, "suites");
	const json_t *row = id ? row_of(rows, id) : NULL;
	if (!json_is_array(rows))
		return ERR_SET(err, ERR_PROTOCOL, "%s told of no suites",
			       asked->remote.account.url);
	if (id && !row)
		return ERR_SET(err, ERR_NOT_FOUND,
			       "the key's grant has no suite %s; `parley suite list --gateway %s` "
			       "shows those it has",
			       id, asked->remote.gateway);
	if (id)
		cli_print_json(row);
	else if (asked->json)
		cli_print_json(rows);
	else
		operate_print_list("suite list", rows);
	return ERR_OK;
}

/* `ids`: how many suites are named. */
static int run_shown(const char *name, const char *usage, const char *help, size_t ids, int argc,
		     char **argv)
{
	struct remote_suites asked = {0};
	const struct cli_option options[] = {
		REMOTE_OPTIONS(asked.remote),
		{"json",    0, CLI_FLAG, &asked.json, NULL, "the gateway's answer as JSON", 0, 0},
		{0},
	};
	const struct cli_command command = {name, usage, help, options, ids, ids};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	json_t *self;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status < 0)
		status = remote_open(name, &asked.remote);
	if (status >= 0)
		return status;
	enum err_code code = remote_get(&asked.remote, REGISTRATION_SELF_PATH, &self, &err);
	if (code == ERR_OK)
		code = show_suites(&asked, self, ids ? arguments.positional[0] : NULL, &err);
	json_decref(self);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

int suite_list_remote(int argc, char **argv)
{
	return run_shown("suite list", "--gateway URL#ENV",
			 "The suites registered under the grant of the key in ENV, "
			 "asked over HTTP.\nWithout --gateway: those of the gateway "
			 "here (see `parley suite list --help`).",
			 0, argc, argv);
}

int suite_show_remote(int argc, char **argv)
{
	return run_shown("suite show", "SUITE --gateway URL#ENV",
			 "One suite registered under the grant of the key in ENV, as "
			 "JSON, asked over HTTP.",
			 1, argc, argv);
}

bool suite_is_remote(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "-g") == 0 || strcmp(argv[i], "--gateway") == 0 ||
		    strncmp(argv[i], "--gateway=", 10) == 0)
			return true;
	return false;
}
