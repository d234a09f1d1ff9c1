/* Files that hold a private key. */
#ifndef ENV_KEY_FILE_H
#define ENV_KEY_FILE_H

#include "base/ed25519.h"
#include "env/env.h"

/* Reads a private Ed25519 key (PKCS#8 PEM); errors name the file. The text is wiped from memory.
 * The caller owns *out (ed25519_free), which is NULL on failure. */
enum err_code key_file_read(struct env *env, const char *path, struct ed25519_private **out,
			    struct err *err);

#endif
