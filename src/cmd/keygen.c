#include "base/ed25519.h"
#include "base/encode.h"
#include "cmd/cli.h"
#include "cmd/commands.h"

#include <stdlib.h>

/* The file is made only if it is not there: a key that is lost cannot be made again. */
static enum err_code write_key(struct env *env, const char *path, struct err *err)
{
	uint8_t seed[ED25519_KEY_SIZE], public_key[ED25519_KEY_SIZE];
	struct buf pem = BUF_INIT(4096), text = BUF_INIT(256);
	if (env_file_exists(env, path))
		return ERR_SET(err, ERR_EXISTS, "%s is there already; choose another name", path);
	env_random(env, seed, sizeof(seed));
	struct ed25519_private *key = ed25519_from_seed(seed);
	explicit_bzero(seed, sizeof(seed));
	if (!key)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = ed25519_to_pem(key, &pem, err);
	if (code == ERR_OK)
		code = env_write_file(env, path, buf_bytes(&pem), 0600, err);
	ed25519_public(key, public_key);
	base64_append(&text, public_key, sizeof(public_key));
	if (code == ERR_OK)
		printf("%.*s\n", BYTES_ARG(buf_bytes(&text)));
	if (pem.data)
		explicit_bzero(pem.data, pem.size);
	buf_release(&pem);
	buf_release(&text);
	ed25519_free(key);
	return code;
}

int cmd_keygen(int argc, char **argv)
{
	const char *path = NULL;
	const struct cli_option options[] = {
		{"output",  'o', CLI_TEXT, &path, "FILE",
		 "where the private key goes (PKCS#8 PEM, 0600)", 0, 0},
		{0},
	};
	const struct cli_command command = {
		"keygen", "-o FILE", "Makes an Ed25519 key and prints its public part in base64.",
		options,  0,         0};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (!path)
		return cli_usage("keygen", "say where the key goes: -o FILE");
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = write_key(env, path, &err);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}
