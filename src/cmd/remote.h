/* Gateways that may be far away, as commands are told of them: URL#ENV, where ENV is the
 * environment variable that holds the key. */
#ifndef CMD_REMOTE_H
#define CMD_REMOTE_H

#include "bench/registration.h"
#include "cmd/cli.h"

#define REMOTE_TEXT_MAX 2048

struct remote {
	const char *gateway; /* URL#ENV, or URL#ENV#KEY_FILE */
	struct gateway_account account;
	char text[REMOTE_TEXT_MAX]; /* what the account's texts point into */
};

/* clang-format off */
#define REMOTE_OPTIONS(r) \
	{"gateway", 'g', CLI_TEXT, &(r).gateway, "URL#ENV", \
	 "the gateway and the variable that holds the key; #KEY_FILE behind it signs", 0, 0}, \
	{"ca", 0, CLI_TEXT, &(r).account.authorities, "FILE", \
	 "certificates to trust instead of the system's", 0, 0}, \
	{"client-cert", 0, CLI_TEXT, &(r).account.client_certificate, "FILE", \
	 "certificate (PEM) to show where the key is bound to one", 0, 0}, \
	{"client-key", 0, CLI_TEXT, &(r).account.client_key, "FILE", "its private key (PEM)", 0, 0}
/* clang-format on */

/* Splits URL#ENV#KEY_FILE and reads the key. Returns -1 to go on, or the status to exit with. */
int remote_open(const char *command, struct remote *remote);
/* One call of it, without a body. *out is the caller's. */
enum err_code remote_get(const struct remote *remote, const char *path, json_t **out,
			 struct err *err);

#endif
