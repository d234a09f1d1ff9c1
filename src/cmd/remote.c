#include "cmd/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int remote_open(const char *command, struct remote *remote)
{
	struct gateway_account *account = &remote->account;
	if (!remote->gateway)
		return cli_usage(command, "say which gateway: --gateway URL#VARIABLE");
	if (!account->client_certificate != !account->client_key)
		return cli_usage(command, "--client-cert and --client-key belong together");
	if (snprintf(remote->text, sizeof(remote->text), "%s", remote->gateway) >= REMOTE_TEXT_MAX)
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

enum err_code remote_get(const struct remote *remote, const char *path, json_t **out,
			 struct err *err)
{
	struct env *env = env_os_new(1);
	*out = NULL;
	if (!env)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code =
		registration_call(env, &remote->account, "GET", path, bytes_of(NULL, 0), out, err);
	env_os_free(env);
	return code;
}
