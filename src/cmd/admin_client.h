/* Calls the admin API of the running gateway over its Unix socket. */
#ifndef CMD_ADMIN_CLIENT_H
#define CMD_ADMIN_CLIENT_H

#include "cmd/cli.h"

struct admin_answer {
	int status;
	json_t *body;       /* owned by the caller */
	int64_t elapsed_us; /* from sending to the complete answer */
};

/* `config_file` names the gateway (its data directory has the socket). `body` may be NULL; it is
 * borrowed. ERR_NETWORK says how to start the gateway if it does not answer. */
enum err_code admin_client_call(const char *config_file, const char *method, const char *target,
				const json_t *body, struct admin_answer *out, struct err *err);

/* The same over a URL (http, https): Parley's own endpoints of a gateway that may be far away. */
enum err_code admin_client_call_url(const char *url, const char *method, const char *target,
				    const json_t *body, struct admin_answer *out, struct err *err);

/* admin_client_call, and an answer of 400 or above is the error that it tells: then out->body is
 * NULL. */
enum err_code admin_client_ask(const char *config_file, const char *method, const char *target,
			       const json_t *body, struct admin_answer *out, struct err *err);

/* The problem an answer of 400 or above tells, as an error; ERR_OK for others. */
enum err_code admin_client_check(const struct admin_answer *answer, struct err *err);

#endif
