/* parley suite register, and list and show with --gateway: suites of a gateway that may be far
 * away, with a key and nothing else. */
#include "bench/registration.h"
#include "cmd/cli.h"
#include "cmd/commands.h"

#include <stdlib.h>

#define WHERE_MAX 2048

struct remote {
	const char *gateway; /* URL#ENV, or URL#ENV#KEY_FILE */
	struct gateway_account account;
	char text[WHERE_MAX]; /* what the account's texts point into */
	bool sealed, json;
};

/* clang-format off */
#define REMOTE_OPTIONS(r) \
	{"gateway", 'g', CLI_TEXT, &(r).gateway, "URL#ENV", \
	 "the gateway and the variable that holds the key; #KEY_FILE behind it signs", 0, 0}, \
	{"ca", 0, CLI_TEXT, &(r).account.authorities, "FILE", \
	 "certificates to trust instead of the system's", 0, 0}, \
	{"client-cert", 0, CLI_TEXT, &(r).account.client_certificate, "FILE", \
	 "certificate (PEM) to show where the key is bound to one", 0, 0}, \
	{"client-key", 0, CLI_TEXT, &(r).account.client_key, "FILE", "its private key (PEM)", 0, 0}, \
	{"json", 0, CLI_FLAG, &(r).json, NULL, "the gateway's answer as JSON", 0, 0}
/* clang-format on */

/* Splits URL#ENV#KEY_FILE and reads the key. Returns -1 to go on, or the status to exit with. */
static int open_account(const char *command, struct remote *remote)
{
	struct gateway_account *account = &remote->account;
	if (!remote->gateway)
		return cli_usage(command, "say which gateway: --gateway URL#VARIABLE");
	if (!account->client_certificate != !account->client_key)
		return cli_usage(command, "--client-cert and --client-key belong together");
	if (snprintf(remote->text, sizeof(remote->text), "%s", remote->gateway) >= WHERE_MAX)
		return cli_usage(command, "--gateway is too long");
	char *variable = strchr(remote->text, '#');
	if (!variable)
		return cli_usage(command,
				 "--gateway %s names no key: write URL#VARIABLE, where VARIABLE is "
				 "the environment variable that holds it",
				 remote->gateway);
	*variable++ = '\0';
	char *file = strchr(variable, '#');
	if (file)
		*file++ = '\0';
	account->url = remote->text;
	account->signing_key = file && *file ? file : NULL;
	account->key = getenv(variable);
	if (!account->key || !*account->key)
		return cli_usage(command,
				 "the environment variable %s is not set; it must hold the key",
				 variable);
	for (const char *c = account->key; *c; c++)
		if (*c <= ' ' || *c > '~')
			return cli_usage(command,
					 "the variable %s holds no key: it has a space or "
					 "a control character",
					 variable);
	return -1;
}

/* ---- register ---- */

static const char *text_of(const json_t *answer, const char *key)
{
	const char *text = json_string_value(json_object_get(answer, key));
	return text ? text : "";
}

static void print_registered(const struct suite *suite, const json_t *answer)
{
	struct err note = ERR_INIT;
	fprintf(stderr, "%s %s: %zu items, class ", suite_name(suite), suite_version(suite),
		suite_count(suite));
	cli_print_safe(stderr, bytes_from(text_of(answer, "class")));
	fputs(".\n", stderr);
	if (registration_usable(answer, &note) != ERR_OK)
		fprintf(stderr, "It cannot be run yet: %s.\n", note.message);
	cli_print_safe(stdout, bytes_from(text_of(answer, "suite")));
	putchar('\n');
}

static enum err_code register_folder(struct env *env, const struct remote *remote,
				     const char *folder, struct err *err)
{
	struct suite *suite;
	json_t *answer;
	ERR_TRY(suite_load(env, folder, &suite, err));
	enum err_code code = remote->sealed ? suite_check_seed(suite, folder, err) : ERR_OK;
	if (code == ERR_OK)
		code = registration_register(env, &remote->account, suite, remote->sealed, &answer,
					     err);
	if (code == ERR_OK && remote->json)
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
	struct remote remote = {0};
	const struct cli_option options[] = {
		REMOTE_OPTIONS(remote),
		{"sealed",  0, CLI_FLAG, &remote.sealed, NULL,
			  "give it the root and the number of items only", 0, 0},
		{0},
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
		status = open_account(command.name, &remote);
	if (status >= 0)
		return status;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = register_folder(env, &remote, arguments.positional[0], &err);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

/* ---- list and show ---- */

static const json_t *row_of(const json_t *rows, const char *id)
{
	for (size_t i = 0; i < json_array_size(rows); i++)
		if (strcmp(text_of(json_array_get(rows, i), "id"), id) == 0)
			return json_array_get(rows, i);
	return NULL;
}

/* What the key's grant has, of what `self` tells. */
static enum err_code show_suites(const struct remote *remote, const json_t *self, const char *id,
				 struct err *err)
{
	const json_t *rows = json_object_get(self, "suites");
	const json_t *row = id ? row_of(rows, id) : NULL;
	if (!json_is_array(rows))
		return ERR_SET(err, ERR_PROTOCOL, "%s told of no suites", remote->account.url);
	if (id && !row)
		return ERR_SET(err, ERR_NOT_FOUND,
			       "the key's grant has no suite %s; `parley suite list --gateway %s` "
			       "shows those it has",
			       id, remote->gateway);
	if (id)
		cli_print_json(row);
	else if (remote->json)
		cli_print_json(rows);
	else
		operate_print_list("suite list", rows);
	return ERR_OK;
}

static int run_shown(const struct cli_command *command, struct remote *remote, int argc,
		     char **argv)
{
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	json_t *self;
	int status = cli_parse(command, argc, argv, &arguments);
	if (status < 0)
		status = open_account(command->name, remote);
	if (status >= 0)
		return status;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = registration_call(env, &remote->account, "GET", "/parley/v1/self",
					       bytes_of(NULL, 0), &self, &err);
	env_os_free(env);
	if (code == ERR_OK)
		code = show_suites(remote, self, arguments.count ? arguments.positional[0] : NULL,
				   &err);
	json_decref(self);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

int suite_list_remote(int argc, char **argv)
{
	struct remote remote = {0};
	const struct cli_option options[] = {REMOTE_OPTIONS(remote), {0}};
	const struct cli_command command = {
		"suite list",
		"--gateway URL#ENV",
		"The suites registered under the grant of the key in ENV, "
		"asked over HTTP.\nWithout --gateway: those of the gateway "
		"here (see `parley suite list --help`).",
		options,
		0,
		0};
	return run_shown(&command, &remote, argc, argv);
}

int suite_show_remote(int argc, char **argv)
{
	struct remote remote = {0};
	const struct cli_option options[] = {REMOTE_OPTIONS(remote), {0}};
	const struct cli_command command = {
		"suite show",
		"SUITE --gateway URL#ENV",
		"One suite registered under the grant of the key in ENV, as "
		"JSON, asked over HTTP.",
		options,
		1,
		1};
	return run_shown(&command, &remote, argc, argv);
}

bool suite_is_remote(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "-g") == 0 || strcmp(argv[i], "--gateway") == 0 ||
		    strncmp(argv[i], "--gateway=", 10) == 0)
			return true;
	return false;
}
