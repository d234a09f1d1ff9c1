/* Signs what is sent to a gateway whose key is bound to it (docs/formats/request-signature.md). */
#ifndef BENCH_SIGNER_H
#define BENCH_SIGNER_H

#include "base/ed25519_public.h"
#include "env/env.h"
#include "net/http_client.h"
#include "proto/signature.h"

struct signer {
	struct env *env;
	struct ed25519_private *key;
	char key_id[ED25519_THUMBPRINT_SIZE + 1];
	bool tls; /* of the URL that is asked */
};

/* Reads the private key (PKCS#8 PEM) from the file, which errors name. */
enum err_code signer_open(struct signer *signer, struct env *env, const char *file, bool tls,
			  struct err *err);
void signer_close(struct signer *signer); /* a zeroed one too */

/* What is to be signed: the target with its query, and the fields that steer a gateway. */
struct signer_request {
	const char *method;
	struct bytes authority, target;
	const struct bytes *names, *values; /* of all fields; the parley-… ones are covered */
	size_t field_count;
	bool has_body;
	struct bytes body;
	int64_t wall_ms;
};

/* Puts the fields of a signature before the empty line that ends the head. A signer without a key
 * does nothing. The head fails where it cannot be signed. */
void signer_sign(const struct signer *signer, const struct signer_request *request,
		 struct buf *head);

#endif
