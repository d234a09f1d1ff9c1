#include "base/ed25519_public.h"

#include "base/encode.h"
#include "base/json.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#define TEXT_MAX 65536
#define ADVICE "give the public part: openssl pkey -in KEY -pubout"

static enum err_code from_pem(struct bytes text, const char *what, uint8_t *out, struct err *err)
{
	BIO *bio = BIO_new_mem_buf(text.data, (int)text.size);
	if (!bio)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	EVP_PKEY *pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	size_t size = ED25519_KEY_SIZE;
	bool good = pkey && EVP_PKEY_id(pkey) == EVP_PKEY_ED25519 &&
		    EVP_PKEY_get_raw_public_key(pkey, out, &size) == 1 && size == ED25519_KEY_SIZE;
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	return good ? ERR_OK
		    : ERR_SET(err, ERR_INVALID, "%s: not an Ed25519 public key in PEM; " ADVICE,
			      what);
}

static enum err_code from_jwk(struct bytes text, const char *what, uint8_t *out, struct err *err)
{
	json_t *jwk;
	ERR_TRY(json_parse(text, what, &jwk, err));
	struct bytes type = bytes_from(json_string_value(json_object_get(jwk, "kty")));
	struct bytes curve = bytes_from(json_string_value(json_object_get(jwk, "crv")));
	struct bytes x = bytes_from(json_string_value(json_object_get(jwk, "x")));
	enum err_code code = ERR_OK;
	if (json_object_get(jwk, "d"))
		code = ERR_SET(err, ERR_INVALID,
			       "%s: the JWK has the private part; leave its member \"d\" out",
			       what);
	else if (!bytes_is(type, "OKP") || !bytes_is(curve, "Ed25519") ||
		 !base64url_decode_exact(x, out, ED25519_KEY_SIZE))
		code = ERR_SET(err, ERR_INVALID,
			       "%s: not a JWK with kty OKP, crv Ed25519 and a member x of 32 bytes",
			       what);
	json_decref(jwk);
	return code;
}

enum err_code ed25519_public_parse(struct bytes text, const char *what,
				   uint8_t out[static ED25519_KEY_SIZE], struct err *err)
{
	while (text.size && strchr("\r\n\t ", text.data[text.size - 1]))
		text.size--;
	while (text.size && strchr("\r\n\t ", text.data[0]))
		text = bytes_of(text.data + 1, text.size - 1);
	if (text.size > TEXT_MAX)
		return ERR_SET(err, ERR_INVALID, "%s: too large for a public key", what);
	if (bytes_find(text, BYTES("PRIVATE KEY-----")))
		return ERR_SET(err, ERR_INVALID, "%s: this is a private key; " ADVICE, what);
	if (bytes_starts_with(text, BYTES("-----BEGIN ")))
		return from_pem(text, what, out, err);
	if (bytes_starts_with(text, BYTES("{")))
		return from_jwk(text, what, out, err);
	if (base64_decode_exact(text, out, ED25519_KEY_SIZE))
		return ERR_OK;
	return ERR_SET(err, ERR_INVALID,
		       "%s: no Ed25519 public key; write PEM, a JWK, or base64 of its 32 bytes",
		       what);
}

void ed25519_thumbprint(const uint8_t public_key[static ED25519_KEY_SIZE],
			uint8_t out[static SHA256_SIZE])
{
	char x[ED25519_THUMBPRINT_SIZE + 1]; /* the key is as long as its digest */
	struct sha256 hash;
	ed25519_thumbprint_text(public_key, x);
	sha256_start(&hash);
	sha256_add_bytes(&hash, BYTES("{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\""));
	sha256_add(&hash, x, ED25519_THUMBPRINT_SIZE);
	sha256_add_bytes(&hash, BYTES("\"}"));
	sha256_finish(&hash, out);
}

void ed25519_thumbprint_text(const uint8_t thumbprint[static SHA256_SIZE],
			     char out[static ED25519_THUMBPRINT_SIZE + 1])
{
	struct buf text = buf_over(out, ED25519_THUMBPRINT_SIZE + 1);
	base64url_append(&text, thumbprint, SHA256_SIZE);
	out[ED25519_THUMBPRINT_SIZE] = '\0';
}
