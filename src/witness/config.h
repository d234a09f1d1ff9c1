/* witness.yaml: who the witness is, which logs it follows, where it listens. */
#ifndef WITNESS_CONFIG_H
#define WITNESS_CONFIG_H

#include "env/env.h"
#include "witness/state.h"

#define WITNESS_KEYS_MAX WITNESS_LOGS_MAX

struct witness_config {
	struct note_key key; /* of cosignatures */
	struct ed25519_private *private_key;
	struct env_address listen;
	char state[4096];      /* a directory */
	struct note_key *logs; /* owned: the keys that are followed, several of one origin too */
	size_t log_count;
	struct buf certificate, certificate_key; /* PEM; empty: no TLS */
};

/* ERR_INVALID names file, line and key. Paths are relative to the file. `out` is overwritten;
 * release it in any case. */
enum err_code witness_config_load(struct env *env, const char *path, struct witness_config *out,
				  struct err *err);
void witness_config_release(struct witness_config *config);

#endif
