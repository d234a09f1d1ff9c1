#include "proto/signature.h"

#include "base/ed25519_public.h"
#include "base/encode.h"
#include "proto/structured.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* RFC 9421, appendix B.2: the test request. */
#define TEST_REQUEST                                                                             \
	"POST /foo?param=Value&Pet=dog HTTP/1.1\r\n"                                             \
	"Host: example.com\r\n"                                                                  \
	"Date: Tue, 20 Apr 2021 02:07:55 GMT\r\n"                                                \
	"Content-Type: application/json\r\n"                                                     \
	"Content-Digest: sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu" \
	"7BNNyealdVLvRwEmTHWXvJwew==:\r\n"                                                       \
	"Content-Length: 18\r\n"                                                                 \
	"\r\n"
/* Appendix B.1.4 and B.2.6. */
#define TEST_KEY                                                                       \
	"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"JrQLj5P_89iXES9-vFgrIy29clF9CC_" \
	"oPPsw3c5D0bs\"}"
#define TEST_INPUT                                                                 \
	"sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" " \
	"\"content-length\");created=1618884473;keyid=\"test-key-ed25519\""
#define TEST_SIGNATURE                                                                  \
	"sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w" \
	"6vuQv5lIp5WPpBKRCw==:"
#define TEST_BASE                                                                \
	"\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n"                              \
	"\"@method\": POST\n"                                                    \
	"\"@path\": /foo\n"                                                      \
	"\"@authority\": example.com\n"                                          \
	"\"content-type\": application/json\n"                                   \
	"\"content-length\": 18\n"                                               \
	"\"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" " \
	"\"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\""

struct message {
	struct http_head head;
	struct signature_field fields[HTTP_FIELDS_MAX];
	struct signature_message it;
	char memory[256];
};

static void read_message(struct message *message, const char *text, const char *scheme)
{
	struct buf authority = buf_over(message->memory, sizeof(message->memory));
	http_head_start(&message->head);
	assert_int_equal(http_request_parse(&message->head, text, strlen(text)), HTTP_COMPLETE);
	signature_message_of_head(&message->head, text, message->fields, &message->it);
	message->it.scheme = bytes_from(scheme);
	assert_true(signature_authority(http_known(&message->head, text, HTTP_FIELD_HOST),
					message->it.scheme, &authority));
	message->it.authority = buf_bytes(&authority);
}

static void the_rfcs_example_verifies(void **state)
{
	struct message message;
	struct signature_input input;
	struct buf base = BUF_INIT(SIGNATURE_BASE_MAX);
	uint8_t key[ED25519_KEY_SIZE], signature[ED25519_SIGNATURE_SIZE];
	(void)state;
	read_message(&message, TEST_REQUEST, "https");
	assert_null(signature_input_find(BYTES(TEST_INPUT), NULL, &input));
	assert_null(signature_find(BYTES(TEST_SIGNATURE), input.label, signature));
	assert_null(signature_base(&input, &message.it, &base));
	assert_string_equal(base.data, TEST_BASE);
	assert_int_equal(ed25519_public_parse(BYTES(TEST_KEY), "key", key, NULL), ERR_OK);
	assert_true(ed25519_verify(key, base.data, base.size, signature));
	base.data[0] = '\'';
	assert_false(ed25519_verify(key, base.data, base.size, signature));
	assert_int_equal(input.created, 1618884473);
	assert_true(bytes_is(input.key_id, "test-key-ed25519"));
	assert_true(signature_covers(&input, "@path"));
	assert_false(signature_covers(&input, "@query"));
	buf_release(&base);
}

static void check_component(const struct message *message, const char *name, const char *value)
{
	char text[128];
	struct signature_input input;
	struct buf base = BUF_INIT(SIGNATURE_BASE_MAX), expected = BUF_INIT(SIGNATURE_BASE_MAX);
	snprintf(text, sizeof(text), "a=(\"%s\")", name);
	assert_null(signature_input_find(bytes_from(text), NULL, &input));
	assert_null(signature_base(&input, &message->it, &base));
	buf_printf(&expected, "\"%s\": %s\n\"@signature-params\": (\"%s\")", name, value, name);
	assert_string_equal(base.data, expected.data);
	buf_release(&base);
	buf_release(&expected);
}

/* RFC 9421, section 2.2. */
static void components_are_derived_as_the_rfc_says(void **state)
{
	struct message message;
	(void)state;
	read_message(&message, TEST_REQUEST, "https");
	check_component(&message, "@method", "POST");
	check_component(&message, "@target-uri", "https://example.com/foo?param=Value&Pet=dog");
	check_component(&message, "@authority", "example.com");
	check_component(&message, "@scheme", "https");
	check_component(&message, "@request-target", "/foo?param=Value&Pet=dog");
	check_component(&message, "@path", "/foo");
	check_component(&message, "@query", "?param=Value&Pet=dog");
	read_message(&message, "GET / HTTP/1.1\r\nHost: EXAMPLE.com:80\r\nA:  b \r\na: c\r\n\r\n",
		     "http");
	check_component(&message, "@target-uri", "http://example.com/");
	check_component(&message, "@query", "?");
	check_component(&message, "a", "b, c");
	read_message(&message, "GET /x? HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "http");
	check_component(&message, "@target-uri", "http://[::1]:8080/x?");
	message.it.authority = BYTES("eval.example");
	message.it.prefix = BYTES("/models");
	check_component(&message, "@target-uri", "http://eval.example/models/x?");
}

static void unreadable_inputs_are_told(void **state)
{
	static const struct {
		const char *text, *told;
	} bad[] = {
		{"",					     "no dictionary"                              },
		{"sig",					  "no dictionary"                              },
		{"Sig=()",				       "no dictionary"                              },
		{"sig=\"@method\"",                              "no list of components"                      },
		{"sig=(",					"no string"                                  },
		{"sig=(\"a\"  \"b\")",                           "no string"                                  },
		{"sig=(\"a\"\"b\")",                             "parted by one space"                        },
		{"sig=( \"a\")",				 "no string"                                  },
		{"sig=(a)",				      "no string"                                  },
		{"sig=(\"a\\\"\")",                              "no string"                                  },
		{"sig=(\"a\";sf)",                               "with parameters"                            },
		{"sig=(\"a\" \"a\")",                            "named twice"                                },
		{"sig=();created=1;created=2",                   "parameter is not known here, or given twice"},
		{"sig=();created=\"1\"",                         "of the wrong type"                          },
		{"sig=();nonce=1",                               "of the wrong type"                          },
		{"sig=();other=1",                               "not known here"                             },
		{"sig=();created=01",                            "cannot be read"                             },
		{"sig=();created=-0",                            "cannot be read"                             },
		{"sig=();created=1.5",                           "cannot be read"                             },
		{"sig=();created=1234567890123456",              "cannot be read"                             },
		{"sig=(); created=1",                            "cannot be read"                             },
		{"sig=();created=?1",                            "cannot be read"                             },
		{"sig=() x",				     "no dictionary"                              },
		{"sig=(),",				      "no dictionary"                              },
		{"sig=(), sig=()",                               "a label stands twice"                       },
		{"sig=();tag=\"a\"",                             "no signature has the tag"                   },
		{"a=();tag=\"parley\", b=();tag=\"parley\"",     "several signatures"                         },
		{"a=(),b=(),c=(),d=(),e=(),f=(),g=(),h=(),i=()", "more than 8"                                },
		{"s=(\"1\" \"2\" \"3\" \"4\" \"5\" \"6\" \"7\" \"8\" \"9\" \"10\" \"11\" \"12\" "
		 "\"13\" \"14\" \"15\" \"16\" \"17\" \"18\" \"19\" \"20\" \"21\" \"22\" \"23\" "
		 "\"24\" \"25\")",              "more than 24"			       },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct signature_input input;
		const char *problem =
			signature_input_find(bytes_from(bad[i].text), "parley", &input);
		if (!problem || !strstr(problem, bad[i].told))
			fail_msg("%s: %s", bad[i].text, problem ? problem : "was taken");
	}
}

static void the_tag_chooses_among_signatures(void **state)
{
	struct signature_input input;
	(void)state;
	assert_null(signature_input_find(
		BYTES("a=(\"@path\");tag=\"other\" ,\tb=(\"@method\");tag=\"parley\";expires=7"),
		"parley", &input));
	assert_true(bytes_is(input.label, "b"));
	assert_true(bytes_is(input.params, "(\"@method\");tag=\"parley\";expires=7"));
	assert_true(input.has_expires && input.expires == 7 && !input.has_created);
}

static void what_cannot_be_a_signature_is_told(void **state)
{
	uint8_t out[64];
	(void)state;
	assert_non_null(signature_find((struct bytes){0}, BYTES("sig"), out));
	assert_non_null(signature_find(BYTES("sig=abc"), BYTES("sig"), out));
	assert_non_null(signature_find(BYTES("sig=:AAAA:"), BYTES("sig"), out));
	assert_non_null(signature_find(BYTES("sig=:AAAA"), BYTES("sig"), out));
	assert_non_null(signature_find(BYTES(TEST_SIGNATURE), BYTES("sig"), out));
	assert_non_null(
		signature_find(BYTES(TEST_SIGNATURE ", " TEST_SIGNATURE), BYTES("sig-b26"), out));
	assert_null(signature_find(BYTES("x=:AA==:, " TEST_SIGNATURE), BYTES("sig-b26"), out));
}

/* RFC 9530, appendix D and B.1 (sha-256 of {"hello": "world"} and a line feed). */
static void digests_of_bodies(void **state)
{
	uint8_t told[SHA256_SIZE], own[SHA256_SIZE];
	(void)state;
	sha256_of("{\"hello\": \"world\"}\n", 19, own);
	assert_null(signature_content_digest(
		BYTES("sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"), told));
	assert_memory_equal(told, own, SHA256_SIZE);
	assert_null(signature_content_digest(
		BYTES("sha-512=:AA==:, sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"),
		told));
	assert_non_null(signature_content_digest(BYTES("sha-512=:AA==:"), told));
	assert_non_null(signature_content_digest(BYTES("sha-256=:AA==:"), told));
	assert_non_null(signature_content_digest(BYTES("sha-256=AA"), told));
	assert_non_null(signature_content_digest(
		BYTES("sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:, sha-256=:AA==:"),
		told));
	assert_non_null(signature_content_digest((struct bytes){0}, told));
}

/* The value of a field line of `text`. */
static struct bytes line_of(const struct buf *text, const char *name)
{
	char start[64];
	snprintf(start, sizeof(start), "%s: ", name);
	const char *at = strstr(text->data, start);
	assert_non_null(at);
	at += strlen(start);
	return bytes_of(at, (size_t)(strchr(at, '\r') - at));
}

static void what_is_signed_verifies(void **state)
{
	uint8_t seed[ED25519_KEY_SIZE] = {7}, public_key[ED25519_KEY_SIZE];
	uint8_t signature[ED25519_SIGNATURE_SIZE];
	struct ed25519_private *key = ed25519_from_seed(seed);
	struct signature_field fields[2] = {
		{BYTES("Parley-Run"), BYTES("run_1")}
        };
	struct signature_message message = {.method = BYTES("POST"),
					    .scheme = BYTES("https"),
					    .authority = BYTES("gateway.example"),
					    .path = BYTES("/v1/messages"),
					    .fields = fields,
					    .field_count = 1};
	struct signature_signing signing = {.key = key,
					    .key_id = "k",
					    .tag = "parley",
					    .nonce = "0123456789abcdef",
					    .created = 1700000000,
					    .has_body = true,
					    .body = BYTES("{}")};
	struct buf lines = BUF_INIT(4096), base = BUF_INIT(SIGNATURE_BASE_MAX);
	struct signature_input input;
	(void)state;
	ed25519_public(key, public_key);
	assert_true(signature_sign(&signing, &message, &lines));
	fields[1] = (struct signature_field){BYTES("content-digest"),
					     line_of(&lines, "content-digest")};
	message.field_count = 2;
	assert_null(signature_input_find(line_of(&lines, "signature-input"), "parley", &input));
	assert_true(signature_covers(&input, "parley-run"));
	assert_true(signature_covers(&input, "content-digest"));
	assert_null(signature_find(line_of(&lines, "\r\nsignature"), input.label, signature));
	assert_null(signature_base(&input, &message, &base));
	assert_true(ed25519_verify(public_key, base.data, base.size, signature));
	/* Any other run, target or digest is not what was signed. */
	fields[0].value = BYTES("run_2");
	buf_clear(&base);
	assert_null(signature_base(&input, &message, &base));
	assert_false(ed25519_verify(public_key, base.data, base.size, signature));
	buf_release(&lines);
	buf_release(&base);
	ed25519_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rfcs_example_verifies),
		cmocka_unit_test(components_are_derived_as_the_rfc_says),
		cmocka_unit_test(unreadable_inputs_are_told),
		cmocka_unit_test(the_tag_chooses_among_signatures),
		cmocka_unit_test(what_cannot_be_a_signature_is_told),
		cmocka_unit_test(digests_of_bodies),
		cmocka_unit_test(what_is_signed_verifies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
