/* Public Ed25519 keys as people hand them over, and the name that RFC 7638 gives them. */
#ifndef BASE_ED25519_PUBLIC_H
#define BASE_ED25519_PUBLIC_H

#include "base/ed25519.h"
#include "base/sha256.h"

/* From PEM (SubjectPublicKeyInfo, RFC 8410), a JWK (RFC 8037) or the base64 text that `parley
 * keygen` prints. ERR_INVALID says what it is instead; a private key is refused, and is not taken
 * in. `what` names the text in errors. */
enum err_code ed25519_public_parse(struct bytes text, const char *what,
				   uint8_t out[static ED25519_KEY_SIZE], struct err *err);

/* RFC 7638, section 3, of the key as a JWK. */
void ed25519_thumbprint(const uint8_t public_key[static ED25519_KEY_SIZE],
			uint8_t out[static SHA256_SIZE]);

/* In base64url without padding, NUL-terminated: how `keyid` names the key. */
#define ED25519_THUMBPRINT_SIZE 43
void ed25519_thumbprint_text(const uint8_t thumbprint[static SHA256_SIZE],
			     char out[static ED25519_THUMBPRINT_SIZE + 1]);

#endif
