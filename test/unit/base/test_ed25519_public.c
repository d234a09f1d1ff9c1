#include "base/ed25519_public.h"

#include "base/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* RFC 8037, appendix A.2 and A.3. */
#define X "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define THUMBPRINT "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
/* The same key as openssl pkey -pubout prints it. */
#define PEM                                                              \
	"-----BEGIN PUBLIC KEY-----\n"                                   \
	"MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n" \
	"-----END PUBLIC KEY-----\n"

static void every_form_is_the_same_key(void **state)
{
	static const char *const forms[] = {
		PEM, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" X "\"}",
		" {\"crv\":\"Ed25519\",\"kid\":\"a\",\"kty\":\"OKP\",\"x\":\"" X "\"}\n",
		"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"};
	uint8_t key[ED25519_KEY_SIZE], thumbprint[SHA256_SIZE];
	char text[ED25519_THUMBPRINT_SIZE + 1];
	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct err err = ERR_INIT;
		if (ed25519_public_parse(bytes_from(forms[i]), "FILE", key, &err) != ERR_OK)
			fail_msg("%s", err.message);
		ed25519_thumbprint(key, thumbprint);
		ed25519_thumbprint_text(thumbprint, text);
		assert_string_equal(text, THUMBPRINT);
	}
}

static void anything_else_is_told(void **state)
{
	static const struct {
		const char *text, *told;
	} bad[] = {
		{"",								      "no Ed25519 public key" },
		{"11qYAYKxCrfVS",							 "no Ed25519 public key" },
		{"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\"}",                    "not a JWK with kty OKP"},
		{"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}",                    "not a JWK with kty OKP"},
		{"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" X "\",\"d\":\"" X "\"}",
		 "has the private part"									   },
		{"{",								     "FILE"                  },
		{"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		 "this is a private key"									  },
		{"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		 "not an Ed25519 public key"								      },
	};
	uint8_t key[ED25519_KEY_SIZE];
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = ERR_INIT;
		assert_int_not_equal(
			ed25519_public_parse(bytes_from(bad[i].text), "FILE", key, &err), ERR_OK);
		if (!strstr(err.message, bad[i].told))
			fail_msg("%s: %s", bad[i].text, err.message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_is_the_same_key),
		cmocka_unit_test(anything_else_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
