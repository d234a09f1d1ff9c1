#include "base/ed25519.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

struct ed25519_private {
	EVP_PKEY *key;
	uint8_t public_key[ED25519_KEY_SIZE];
};

static struct ed25519_private *wrap(EVP_PKEY *pkey)
{
	struct ed25519_private *key = calloc(1, sizeof(*key));
	size_t size = sizeof(key->public_key);
	if (!key || EVP_PKEY_get_raw_public_key(pkey, key->public_key, &size) != 1) {
		free(key);
		EVP_PKEY_free(pkey);
		return NULL;
	}
	key->key = pkey;
	return key;
}

struct ed25519_private *ed25519_from_seed(const uint8_t seed[static ED25519_KEY_SIZE])
{
	EVP_PKEY *pkey =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ED25519_KEY_SIZE);
	return pkey ? wrap(pkey) : NULL;
}

void ed25519_free(struct ed25519_private *key)
{
	if (!key)
		return;
	EVP_PKEY_free(key->key);
	free(key);
}

enum err_code ed25519_from_pem(struct bytes pem, struct ed25519_private **out, struct err *err)
{
	*out = NULL;
	if (pem.size > 65536)
		return ERR_SET(err, ERR_INVALID, "a signing key of %zu bytes is too large",
			       pem.size);
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
	if (!bio)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	if (!pkey || EVP_PKEY_id(pkey) != EVP_PKEY_ED25519) {
		EVP_PKEY_free(pkey);
		return ERR_SET(
			err, ERR_INVALID,
			"not an Ed25519 private key in PKCS#8 PEM (make one with `parley keygen`)");
	}
	*out = wrap(pkey);
	return *out ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
}

enum err_code ed25519_to_pem(const struct ed25519_private *key, struct buf *out, struct err *err)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data = NULL;
	if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key->key, NULL, NULL, 0, NULL, NULL) != 1) {
		BIO_free(bio);
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	long size = BIO_get_mem_data(bio, &data);
	buf_append(out, data, (size_t)size);
	BIO_free(bio);
	return out->failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory") : ERR_OK;
}

void ed25519_public(const struct ed25519_private *key, uint8_t out[static ED25519_KEY_SIZE])
{
	memcpy(out, key->public_key, ED25519_KEY_SIZE);
}

bool ed25519_sign(const struct ed25519_private *key, const void *data, size_t size,
		  uint8_t signature[static ED25519_SIGNATURE_SIZE])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t length = ED25519_SIGNATURE_SIZE;
	bool ok = context && EVP_DigestSignInit(context, NULL, NULL, NULL, key->key) == 1 &&
		  EVP_DigestSign(context, signature, &length, data, size) == 1;
	EVP_MD_CTX_free(context);
	return ok;
}

bool ed25519_verify(const uint8_t public_key[static ED25519_KEY_SIZE], const void *data,
		    size_t size, const uint8_t signature[static ED25519_SIGNATURE_SIZE])
{
	EVP_PKEY *pkey =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, ED25519_KEY_SIZE);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool ok = pkey && context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
		  EVP_DigestVerify(context, signature, ED25519_SIGNATURE_SIZE, data, size) == 1;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(pkey);
	return ok;
}
