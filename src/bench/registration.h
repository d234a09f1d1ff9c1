/* Registering a suite with a gateway: what runs (voucher.c) and `parley suite register` share, and
 * calls of Parley's own endpoints with a key, for commands that make one after another. */
#ifndef BENCH_REGISTRATION_H
#define BENCH_REGISTRATION_H

#include "env/env.h"
#include "suite/suite.h"

#include <jansson.h>

#define REGISTRATION_MAX ((size_t)64 << 20)
/* What a key may do at a gateway. */
#define REGISTRATION_SELF_PATH "/parley/v1/self"

/* The purposes of a grant that bind words, from what `self` says: capability_benchmark and
 * safety_evaluation. */
struct registration_purposes {
	bool capability, safety;
};
void registration_read_purposes(const json_t *self, struct registration_purposes *out);
/* The purpose under which a suite of this kind is registered: its own where the grant has it. */
const char *registration_purpose(const struct registration_purposes *purposes,
				 enum suite_kind kind);
/* A gateway may take a suite that the grant does not let anybody use: ERR_DENIED with its reason.
 */
enum err_code registration_usable(const json_t *response, struct err *err);

/* A gateway and how to be known there. */
struct gateway_account {
	const char *url;
	const char *key;                             /* sent as a bearer token */
	const char *signing_key;                     /* file (PEM); NULL: nothing is signed */
	const char *authorities;                     /* file (PEM); NULL: the system's */
	const char *client_certificate, *client_key; /* files (PEM); NULL: none is shown */
};

/* One call; blocks. *out, owned by the caller, is the answer's JSON. An answer of 400 or above is
 * ERR_DENIED with what it says; ERR_NETWORK where nobody answers. */
enum err_code registration_call(struct env *env, const struct gateway_account *account,
				const char *method, const char *path, struct bytes body,
				json_t **out, struct err *err);

/* Registers the suite as the grant behind the key wants it and returns the gateway's answer. */
enum err_code registration_register(struct env *env, const struct gateway_account *account,
				    const struct suite *suite, bool sealed, json_t **out,
				    struct err *err);

#endif
