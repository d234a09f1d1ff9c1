/* Ed25519 signatures (RFC 8032) by OpenSSL, and keys as PKCS#8 PEM. */
#ifndef BASE_ED25519_H
#define BASE_ED25519_H

#include "base/buf.h"
#include "base/err.h"

#define ED25519_KEY_SIZE 32
#define ED25519_SIGNATURE_SIZE 64

struct ed25519_private; /* opaque; owned by the caller, freed with ed25519_free */

/* From a 32-byte seed (RFC 8032, section 5.1.5). NULL when memory is out. */
struct ed25519_private *ed25519_from_seed(const uint8_t seed[static ED25519_KEY_SIZE]);
void ed25519_free(struct ed25519_private *key);

/* ERR_INVALID if the text is no unencrypted PKCS#8 Ed25519 key. */
enum err_code ed25519_from_pem(struct bytes pem, struct ed25519_private **out, struct err *err);
enum err_code ed25519_to_pem(const struct ed25519_private *key, struct buf *out, struct err *err);

void ed25519_public(const struct ed25519_private *key, uint8_t out[static ED25519_KEY_SIZE]);

/* False only when memory is out. */
bool ed25519_sign(const struct ed25519_private *key, const void *data, size_t size,
		  uint8_t signature[static ED25519_SIGNATURE_SIZE]);
bool ed25519_verify(const uint8_t public_key[static ED25519_KEY_SIZE], const void *data,
		    size_t size, const uint8_t signature[static ED25519_SIGNATURE_SIZE]);

#endif
