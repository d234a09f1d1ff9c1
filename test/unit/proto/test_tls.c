#include "base/buf.h"
#include "base/sha256.h"
#include "proto/tls.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* A certificate with its key, as PEM texts. */
struct identity {
	X509 *certificate;
	EVP_PKEY *key;
	struct buf certificate_pem, key_pem;
};

static void extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static void to_pem(BIO *bio, struct buf *out)
{
	char *data;
	long size = BIO_get_mem_data(bio, &data);
	buf_init(out, 65536);
	buf_append(out, data, (size_t)size);
	BIO_free(bio);
}

/* Signed by `issuer`, or by itself as an authority when that is NULL. `days` < 0: expired. */
static void identity_make(struct identity *out, const struct identity *issuer, const char *name,
			  const char *alternatives, int days)
{
	static long serial = 1;
	out->key = EVP_EC_gen("P-256");
	out->certificate = X509_new();
	X509 *signer = issuer ? issuer->certificate : out->certificate;
	X509_set_version(out->certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(out->certificate), serial++);
	X509_gmtime_adj(X509_getm_notBefore(out->certificate), -864000);
	X509_gmtime_adj(X509_getm_notAfter(out->certificate), days * 86400L);
	X509_set_pubkey(out->certificate, out->key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(out->certificate), "CN", MBSTRING_ASC,
				   (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(out->certificate, X509_get_subject_name(signer));
	extend(out->certificate, signer, NID_basic_constraints,
	       issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
	if (alternatives)
		extend(out->certificate, signer, NID_subject_alt_name, alternatives);
	assert_true(X509_sign(out->certificate, issuer ? issuer->key : out->key, EVP_sha256()) > 0);
	BIO *bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(bio, out->certificate);
	to_pem(bio, &out->certificate_pem);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, out->key, NULL, NULL, 0, NULL, NULL);
	to_pem(bio, &out->key_pem);
}

static void identity_free(struct identity *identity)
{
	X509_free(identity->certificate);
	EVP_PKEY_free(identity->key);
	buf_release(&identity->certificate_pem);
	buf_release(&identity->key_pem);
}

static struct identity authority, stranger, server, expired, client;

static int make_identities(void **state)
{
	(void)state;
	identity_make(&authority, NULL, "test authority", NULL, 10);
	identity_make(&stranger, NULL, "another authority", NULL, 10);
	identity_make(&server, &authority, "server",
		      "DNS:api.north.example,DNS:*.wild.example,IP:127.0.0.1,IP:::1", 10);
	identity_make(&expired, &authority, "expired", "DNS:api.north.example", -1);
	identity_make(&client, &authority, "client", NULL, 10);
	return 0;
}

static int free_identities(void **state)
{
	(void)state;
	identity_free(&authority);
	identity_free(&stranger);
	identity_free(&server);
	identity_free(&expired);
	identity_free(&client);
	return 0;
}

static struct bytes pem(const struct buf *buf)
{
	return buf_bytes(buf);
}

static const struct bytes nothing = {"", 0};

/* ---- two ends and the wire between them ---- */

struct pair {
	struct tls_context *client_context, *server_context;
	struct tls *client, *server;
	size_t step; /* most bytes that cross at once */
};

static struct tls_context *client_context(const struct identity *trusted)
{
	struct tls_context *context;
	assert_int_equal(tls_client_context_new(pem(&trusted->certificate_pem), nothing, nothing,
						&context, NULL),
			 ERR_OK);
	return context;
}

static struct tls_context *server_context(const struct identity *own)
{
	struct tls_context *context;
	assert_int_equal(tls_server_context_new(pem(&own->certificate_pem), pem(&own->key_pem),
						nothing, &context, NULL),
			 ERR_OK);
	return context;
}

static void pair_open(struct pair *pair, const char *host)
{
	assert_int_equal(tls_client_new(pair->client_context, host, &pair->client, NULL), ERR_OK);
	assert_int_equal(tls_server_new(pair->server_context, &pair->server, NULL), ERR_OK);
	if (pair->step == 0)
		pair->step = SIZE_MAX;
}

static void pair_close(struct pair *pair)
{
	tls_free(pair->client);
	tls_free(pair->server);
	pair->client = pair->server = NULL;
}

static void pair_free(struct pair *pair)
{
	pair_close(pair);
	tls_context_free(pair->client_context);
	tls_context_free(pair->server_context);
}

static bool carry(struct pair *pair, struct tls *from, struct tls *to)
{
	struct bytes output = tls_output(from);
	size_t size = output.size < pair->step ? output.size : pair->step;
	if (size == 0)
		return false;
	tls_feed(to, output.data, size);
	tls_output_sent(from, size);
	return true;
}

/* Carries bytes both ways until neither end has any; reads of no data move handshakes on. */
static void exchange(struct pair *pair)
{
	for (bool moved = true; moved;) {
		char none[1];
		bool there = carry(pair, pair->client, pair->server);
		assert_int_not_equal(tls_read(pair->server, none, sizeof(none)), 1);
		bool back = carry(pair, pair->server, pair->client);
		assert_int_not_equal(tls_read(pair->client, none, sizeof(none)), 1);
		moved = there || back;
	}
}

/* Sends a large message one way and checks what arrives. */
static void send_across(struct pair *pair, struct tls *from, struct tls *to)
{
	static char message[100000], got[100000];
	size_t total = 0;
	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (char)(i * 7 + i / 251);
	assert_int_equal(tls_write(from, message, sizeof(message)), sizeof(message));
	while (carry(pair, from, to)) {
		ssize_t size;
		while ((size = tls_read(to, got + total, sizeof(got) - total)) > 0)
			total += (size_t)size;
		if (total < sizeof(got))
			assert_int_equal(size, TLS_AGAIN);
	}
	assert_int_equal(total, sizeof(message));
	assert_memory_equal(message, got, sizeof(message));
}

/* ---- tests ---- */

static void test_data_both_ways(void **state)
{
	static const size_t steps[] = {0, 1, 7, 1000};
	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct pair pair = {.client_context = client_context(&authority),
				    .server_context = server_context(&server),
				    .step = steps[i]};
		pair_open(&pair, "api.north.example");
		assert_false(tls_established(pair.client));
		assert_int_equal(tls_write(pair.client, "early", 5), TLS_AGAIN);
		exchange(&pair);
		assert_true(tls_established(pair.client) && tls_established(pair.server));
		assert_string_equal(tls_error(pair.client), "");
		send_across(&pair, pair.client, pair.server);
		send_across(&pair, pair.server, pair.client);
		tls_close(pair.client);
		char byte;
		while (carry(&pair, pair.client, pair.server))
			;
		assert_int_equal(tls_read(pair.server, &byte, 1), TLS_EOF);
		pair_free(&pair);
	}
}

static void expect_refused(const struct identity *trusted, const struct identity *shown,
			   const char *host, const char *reason)
{
	struct pair pair = {.client_context = client_context(trusted),
			    .server_context = server_context(shown)};
	pair_open(&pair, host);
	exchange(&pair);
	char byte;
	assert_false(tls_established(pair.client));
	assert_int_equal(tls_read(pair.client, &byte, 1), TLS_FAILED);
	assert_int_equal(tls_write(pair.client, "secret", 6), TLS_FAILED);
	if (!strstr(tls_error(pair.client), reason) || !strstr(tls_error(pair.client), host))
		fail_msg("%s", tls_error(pair.client));
	pair_free(&pair);
}

static void expect_accepted(const char *host)
{
	struct pair pair = {.client_context = client_context(&authority),
			    .server_context = server_context(&server)};
	pair_open(&pair, host);
	exchange(&pair);
	assert_true(tls_established(pair.client));
	pair_free(&pair);
}

static void test_servers_are_verified(void **state)
{
	(void)state;
	expect_accepted("api.north.example");
	expect_accepted("a.wild.example");
	expect_accepted("127.0.0.1");
	expect_accepted("::1");
	expect_refused(&stranger, &server, "api.north.example", "issuer");
	expect_refused(&authority, &server, "api.south.example", "ostname mismatch");
	expect_refused(&authority, &server, "a.b.wild.example", "ostname mismatch");
	expect_refused(&authority, &server, "127.0.0.2", "IP address mismatch");
	expect_refused(&authority, &expired, "api.north.example", "expired");
	expect_refused(&authority, &stranger, "another authority", "self-signed");
}

static void test_session_is_resumed_for_the_same_host(void **state)
{
	struct pair pair = {.client_context = client_context(&authority),
			    .server_context = server_context(&server)};
	(void)state;
	pair_open(&pair, "api.north.example");
	exchange(&pair);
	assert_false(tls_resumed(pair.client));
	tls_close(pair.client);
	pair_close(&pair);
	pair_open(&pair, "127.0.0.1");
	exchange(&pair);
	assert_true(tls_established(pair.client));
	assert_false(tls_resumed(pair.client));
	pair_close(&pair);
	pair_open(&pair, "127.0.0.1");
	exchange(&pair);
	assert_true(tls_established(pair.client));
	assert_true(tls_resumed(pair.client) && tls_resumed(pair.server));
	send_across(&pair, pair.client, pair.server);
	pair_free(&pair);
}

/* Sessions with other hosts do not push out the one that is asked for, until there are many. */
static void test_sessions_are_kept_for_each_host(void **state)
{
	struct pair pair = {.client_context = client_context(&authority),
			    .server_context = server_context(&server)};
	static const char *const hosts[] = {"api.north.example", "127.0.0.1", "::1"};
	char host[64];
	(void)state;
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
			pair_open(&pair, hosts[i]);
			exchange(&pair);
			assert_true(tls_established(pair.client));
			assert_int_equal(tls_resumed(pair.client), round == 1);
			pair_close(&pair);
		}
	}
	for (int i = 0; i < 100; i++) { /* more than are kept */
		snprintf(host, sizeof(host), "n%d.wild.example", i);
		pair_open(&pair, host);
		exchange(&pair);
		assert_true(tls_established(pair.client) && !tls_resumed(pair.client));
		pair_close(&pair);
	}
	pair_open(&pair, hosts[0]);
	exchange(&pair);
	assert_true(tls_established(pair.client) && !tls_resumed(pair.client));
	pair_free(&pair);
}

/* Two threads of one service have a context each. */
static void test_servers_with_one_ticket_key_share_sessions(void **state)
{
	static const uint8_t key[TLS_TICKET_KEY_SIZE] = {1, 2, 3}, other[TLS_TICKET_KEY_SIZE] = {4};
	struct tls_context *first = server_context(&server), *second = server_context(&server);
	struct pair pair = {.client_context = client_context(&authority), .server_context = first};
	(void)state;
	assert_int_equal(tls_server_share_tickets(first, key, NULL), ERR_OK);
	assert_int_equal(tls_server_share_tickets(second, key, NULL), ERR_OK);
	for (int i = 0; i < 3; i++) {
		pair_open(&pair, "127.0.0.1");
		exchange(&pair);
		assert_true(tls_established(pair.client));
		assert_int_equal(tls_resumed(pair.client), i > 0);
		pair_close(&pair);
		pair.server_context = second;
	}
	assert_int_equal(tls_server_share_tickets(second, other, NULL), ERR_OK);
	pair_open(&pair, "127.0.0.1");
	exchange(&pair);
	assert_true(tls_established(pair.client) && !tls_resumed(pair.client));
	pair_free(&pair);
	tls_context_free(first);
}

static void test_client_certificates(void **state)
{
	struct pair pair = {0};
	uint8_t digest[32], wanted[32];
	unsigned size;
	(void)state;
	assert_int_equal(tls_server_context_new(pem(&server.certificate_pem), pem(&server.key_pem),
						pem(&authority.certificate_pem),
						&pair.server_context, NULL),
			 ERR_OK);
	assert_int_equal(tls_client_context_new(pem(&authority.certificate_pem),
						pem(&client.certificate_pem), pem(&client.key_pem),
						&pair.client_context, NULL),
			 ERR_OK);
	pair_open(&pair, "127.0.0.1");
	exchange(&pair);
	assert_true(tls_established(pair.server));
	assert_true(tls_peer_thumbprint(pair.server, digest));
	X509_digest(client.certificate, EVP_sha256(), wanted, &size);
	assert_memory_equal(digest, wanted, 32);
	pair_close(&pair);
	tls_context_free(pair.client_context);
	pair.client_context = client_context(&authority); /* shows none */
	pair_open(&pair, "127.0.0.1");
	exchange(&pair);
	assert_false(tls_established(pair.server));
	assert_string_not_equal(tls_error(pair.server), "");
	pair_free(&pair);
}

static void test_garbage_and_altered_bytes_fail(void **state)
{
	struct pair pair = {.client_context = client_context(&authority),
			    .server_context = server_context(&server)};
	char byte, altered[4096];
	(void)state;
	pair_open(&pair, "127.0.0.1");
	tls_feed(pair.server, "GET / HTTP/1.1\r\n\r\n", 18);
	assert_int_equal(tls_read(pair.server, &byte, 1), TLS_FAILED);
	assert_int_equal(tls_read(pair.server, &byte, 1), TLS_FAILED);
	assert_string_not_equal(tls_error(pair.server), "");
	pair_close(&pair);
	pair_open(&pair, "127.0.0.1");
	exchange(&pair);
	assert_int_equal(tls_write(pair.client, "hello", 5), 5);
	struct bytes output = tls_output(pair.client);
	memcpy(altered, output.data, output.size);
	altered[output.size - 1] ^= 1;
	tls_feed(pair.server, altered, output.size);
	assert_int_equal(tls_read(pair.server, &byte, 1), TLS_FAILED);
	pair_free(&pair);
}

static void test_contexts_may_go_before_sessions(void **state)
{
	struct pair pair = {.client_context = client_context(&authority),
			    .server_context = server_context(&server)};
	(void)state;
	pair_open(&pair, "127.0.0.1");
	tls_context_free(pair.client_context);
	tls_context_free(pair.server_context);
	exchange(&pair);
	send_across(&pair, pair.server, pair.client);
	pair.client_context = pair.server_context = NULL;
	pair_free(&pair);
}

static void test_unusable_files_are_refused(void **state)
{
	struct tls_context *context;
	struct err err = ERR_INIT;
	(void)state;
	assert_int_equal(tls_client_context_new(BYTES("no PEM"), nothing, nothing, &context, &err),
			 ERR_INVALID);
	assert_non_null(strstr(err.message, "authority"));
	assert_int_equal(tls_client_context_new(nothing, nothing, nothing, &context, &err),
			 ERR_INVALID);
	assert_int_equal(
		tls_server_context_new(BYTES("x"), pem(&server.key_pem), nothing, &context, &err),
		ERR_INVALID);
	assert_non_null(strstr(err.message, "certificate"));
	assert_int_equal(tls_server_context_new(pem(&server.certificate_pem), pem(&client.key_pem),
						nothing, &context, &err),
			 ERR_INVALID);
	assert_non_null(strstr(err.message, "key"));
	assert_null(context);
	struct tls_context *good = client_context(&authority);
	struct tls *session;
	assert_int_equal(tls_client_new(good, "", &session, &err), ERR_INVALID);
	tls_context_free(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data_both_ways),
		cmocka_unit_test(test_servers_are_verified),
		cmocka_unit_test(test_session_is_resumed_for_the_same_host),
		cmocka_unit_test(test_sessions_are_kept_for_each_host),
		cmocka_unit_test(test_servers_with_one_ticket_key_share_sessions),
		cmocka_unit_test(test_client_certificates),
		cmocka_unit_test(test_garbage_and_altered_bytes_fail),
		cmocka_unit_test(test_contexts_may_go_before_sessions),
		cmocka_unit_test(test_unusable_files_are_refused),
	};
	return cmocka_run_group_tests(tests, make_identities, free_identities);
}
