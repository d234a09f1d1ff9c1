/* Calls over TLS against a server made of a bare connection and proto/tls.h, with an authority of
 * the test's own. */
#include "net_test.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define DAY 86400

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
	struct buf key_pem, certificate_pem;
};

static struct identity authority, localhost, elsewhere;

/* ---- certificates ---- */

static void add_extension(X509 *certificate, X509 *issuer, int id, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, id, value);
	assert_non_null(extension);
	assert_int_equal(1, X509_add_ext(certificate, extension, -1));
	X509_EXTENSION_free(extension);
}

static void read_bio(BIO *bio, struct buf *out)
{
	char *data;
	long size = BIO_get_mem_data(bio, &data);
	buf_init(out, 65536);
	buf_append(out, data, (size_t)size);
	BIO_free(bio);
}

static void identity_make(struct identity *own, struct identity *issuer, const char *names)
{
	BIO *key = BIO_new(BIO_s_mem()), *certificate = BIO_new(BIO_s_mem());
	own->key = EVP_EC_gen("P-256");
	own->certificate = X509_new();
	struct identity *by = issuer ? issuer : own;
	X509_set_version(own->certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(own->certificate), issuer ? 2 : 1);
	X509_gmtime_adj(X509_getm_notBefore(own->certificate), -DAY);
	X509_gmtime_adj(X509_getm_notAfter(own->certificate), 7 * DAY);
	X509_set_pubkey(own->certificate, own->key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(own->certificate), "CN", MBSTRING_ASC,
				   (const unsigned char *)(issuer ? "server" : "test authority"),
				   -1, -1, 0);
	X509_set_issuer_name(own->certificate, X509_get_subject_name(by->certificate));
	add_extension(own->certificate, by->certificate, NID_basic_constraints,
		      issuer ? "CA:FALSE" : "critical,CA:TRUE");
	if (names)
		add_extension(own->certificate, by->certificate, NID_subject_alt_name, names);
	assert_true(X509_sign(own->certificate, by->key, EVP_sha256()) > 0);
	assert_int_equal(1, PEM_write_bio_PrivateKey(key, own->key, NULL, NULL, 0, NULL, NULL));
	assert_int_equal(1, PEM_write_bio_X509(certificate, own->certificate));
	read_bio(key, &own->key_pem);
	read_bio(certificate, &own->certificate_pem);
}

static void identity_free(struct identity *own)
{
	EVP_PKEY_free(own->key);
	X509_free(own->certificate);
	buf_release(&own->key_pem);
	buf_release(&own->certificate_pem);
}

/* ---- a server ---- */

struct site {
	struct net *net;
	struct env_listener *listener;
	struct env_address address;
	struct tls_context *context;
	struct env_stream *stream;
	struct tls *tls;
	struct buf in;
	bool silent, over; /* it never says a word */
	struct http_pool *pool;
	struct http_origin *origin;
	/* The call */
	struct http_call call;
	struct buf body;
	unsigned status, ends, pieces;
	bool pauses;
	struct err err;
};

static void server_flush(struct site *site)
{
	while (site->stream && site->stream->writable) {
		struct bytes out = tls_output(site->tls);
		struct iovec part = {(void *)out.data, out.size};
		ssize_t sent = out.size ? env_send(site->stream, &part, 1) : 0;
		if (sent <= 0)
			return;
		tls_output_sent(site->tls, (size_t)sent);
	}
}

static void server_ready(struct env_stream *stream)
{
	struct site *site = stream->argument;
	char data[16384];
	ssize_t got = 1;
	while (stream->readable && got > 0) {
		got = env_receive(stream, data, sizeof(data));
		if (got > 0 && !site->silent)
			tls_feed(site->tls, data, (size_t)got);
		ssize_t plain = 1;
		while (plain > 0 && !site->silent) {
			plain = tls_read(site->tls, data, sizeof(data));
			if (plain > 0)
				buf_append(&site->in, data, (size_t)plain);
		}
	}
	site->over |= got == ENV_EOF || got == ENV_RESET;
	server_flush(site);
}

static void server_accepts(struct env_listener *listener, void *argument)
{
	struct site *site = argument;
	struct env_stream *stream = env_accept(site->net->loop, listener, NULL);
	if (!stream)
		return;
	site->stream = stream;
	stream->ready = server_ready;
	stream->argument = site;
	server_ready(stream);
}

static void server_says(struct site *site, struct bytes text)
{
	assert_int_equal(text.size, tls_write(site->tls, text.data, text.size));
	server_flush(site);
}

/* ---- the call ---- */

static void on_head(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct site *site = call->user;
	(void)bytes;
	site->status = head->status;
}

static void on_body(struct http_call *call, struct bytes piece)
{
	struct site *site = call->user;
	site->pieces++;
	buf_append_bytes(&site->body, piece);
	if (site->pauses)
		http_call_pause(call, true);
}

static void on_ended(struct http_call *call, const struct err *err)
{
	struct site *site = call->user;
	site->ends++;
	site->err = *err;
}

static void site_start(struct site *site, struct net *net, struct identity *identity)
{
	struct http_pool_options options = {.connections_max = 2,
					    .idle_max = 2,
					    .idle_timeout_ns = 10 * SECOND,
					    .connect_timeout_ns = 5 * SECOND,
					    .ca_pem = buf_bytes(&authority.certificate_pem)};
	memset(site, 0, sizeof(*site));
	site->net = net;
	buf_init(&site->in, (size_t)64 << 20);
	buf_init(&site->body, (size_t)64 << 20);
	assert_int_equal(ERR_OK, env_address_parse(BYTES("127.0.0.1:0"), &site->address, NULL));
	assert_int_equal(ERR_OK, env_listen(net->loop, &site->address, server_accepts, site,
					    &site->listener, NULL));
	env_listener_address(net->loop, site->listener, &site->address);
	assert_int_equal(ERR_OK, tls_server_context_new(buf_bytes(&identity->certificate_pem),
							buf_bytes(&identity->key_pem), BYTES(""),
							&site->context, NULL));
	assert_int_equal(ERR_OK, tls_server_new(site->context, &site->tls, NULL));
	site->pool = http_pool_new(net->loop, &options);
	assert_int_equal(ERR_OK,
			 http_pool_origin(site->pool, bytes_from(net_url("https", &site->address)),
					  &site->origin, NULL));
}

static void call(struct site *site, struct bytes body)
{
	static char head[] = "POST / HTTP/1.1\r\nhost: x\r\n\r\n";
	site->call = (struct http_call){
		.parts = {{head, sizeof(head) - 1}, {(void *)body.data, body.size}},
		.part_count = body.size ? 2 : 1,
		.first_byte_ns = 20 * SECOND,
		.idle_ns = 5 * SECOND,
		.user = site,
		.head = on_head,
		.body = on_body,
		.ended = on_ended,
	};
	http_call_start(site->origin, &site->call);
}

static void site_stop(struct site *site)
{
	http_pool_free(site->pool);
	env_close(site->stream, true);
	env_listener_close(site->net->loop, site->listener);
	tls_free(site->tls);
	tls_context_free(site->context);
	buf_release(&site->in);
	buf_release(&site->body);
}

static bool has_ended(void *argument)
{
	return ((struct site *)argument)->ends > 0;
}

static bool has_request(void *argument)
{
	return ((struct site *)argument)->in.size >= 28;
}

static bool has_whole_request(void *argument)
{
	return ((struct site *)argument)->in.size >= 3000028;
}

static bool has_piece(void *argument)
{
	return ((struct site *)argument)->pieces > 0;
}

/* ---- tests ---- */

static void a_call_over_tls(void **state)
{
	struct site site;
	site_start(&site, *state, &localhost);
	for (unsigned i = 0; i < 3; i++) {
		site.ends = 0;
		buf_clear(&site.in);
		buf_clear(&site.body);
		call(&site, BYTES(""));
		net_until(*state, has_request, &site);
		server_says(&site, BYTES("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"));
		net_until(*state, has_ended, &site);
		if (site.err.code != ERR_OK)
			fail_msg("%s", site.err.message);
		assert_int_equal(5, site.body.size);
	}
	site_stop(&site);
}

static void another_name_is_refused(void **state)
{
	struct site site;
	site_start(&site, *state, &elsewhere);
	call(&site, BYTES(""));
	net_until(*state, has_ended, &site);
	assert_int_equal(ERR_NETWORK, site.err.code);
	assert_true(site.call.unprocessed);
	assert_non_null(strstr(site.err.message, "TLS"));
	assert_int_equal(0, site.in.size);
	site_stop(&site);
}

static void another_authority_is_refused(void **state)
{
	struct identity stranger = {0};
	struct site site;
	identity_make(&stranger, NULL, "IP:127.0.0.1");
	site_start(&site, *state, &stranger);
	call(&site, BYTES(""));
	net_until(*state, has_ended, &site);
	assert_int_equal(ERR_NETWORK, site.err.code);
	assert_int_equal(0, site.in.size);
	site_stop(&site);
	identity_free(&stranger);
}

static void a_server_that_never_shakes_hands_is_given_up(void **state)
{
	struct site site;
	site_start(&site, *state, &localhost);
	site.silent = true;
	call(&site, BYTES(""));
	net_until(*state, has_ended, &site);
	assert_int_equal(ERR_TIMEOUT, site.err.code);
	assert_true(site.call.unprocessed);
	site_stop(&site);
}

/* One part that is larger than what is encrypted ahead. */
static void a_large_request_goes_out_whole(void **state)
{
	struct site site;
	struct net *net = *state;
	size_t size = 3000000;
	if (net->world->faults.one_byte)
		return; /* it would take long, and the quiet worlds tell */
	char *body = malloc(size);
	for (size_t i = 0; i < size; i++)
		body[i] = (char)(i * 13 >> 7);
	site_start(&site, net, &localhost);
	call(&site, bytes_of(body, size));
	net_until(net, has_whole_request, &site);
	assert_memory_equal(body, site.in.data + 28, size);
	server_says(&site, BYTES("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
	net_until(net, has_ended, &site);
	assert_int_equal(ERR_OK, site.err.code);
	site_stop(&site);
	free(body);
}

/* Many records in one piece of the network: what is decrypted must not wait for the next. */
static void small_records_do_not_wait_for_each_other(void **state)
{
	struct site site;
	site_start(&site, *state, &localhost);
	call(&site, BYTES(""));
	net_until(*state, has_request, &site);
	tls_write(site.tls, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", 39);
	for (unsigned i = 0; i < 10; i++)
		tls_write(site.tls, "x", 1);
	server_flush(&site);
	net_until(*state, has_ended, &site);
	assert_int_equal(ERR_OK, site.err.code);
	assert_int_equal(10, site.body.size);
	site_stop(&site);
}

static void a_paused_call_goes_on_with_what_is_decrypted(void **state)
{
	struct site site;
	site_start(&site, *state, &localhost);
	site.pauses = true;
	call(&site, BYTES(""));
	net_until(*state, has_request, &site);
	tls_write(site.tls, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", 38);
	for (unsigned i = 0; i < 4; i++)
		tls_write(site.tls, "y", 1);
	server_flush(&site);
	net_until(*state, has_piece, &site);
	net_sleep(*state, 100 * MILLISECOND);
	assert_int_equal(1, site.pieces);
	site.pauses = false;
	http_call_pause(&site.call, false);
	net_until(*state, has_ended, &site);
	assert_int_equal(ERR_OK, site.err.code);
	assert_int_equal(4, site.body.size);
	site_stop(&site);
}

/* RFC 8446, 6.1: an end without close_notify may be an attacker's. */
static void an_end_without_goodbye_is_no_end(void **state)
{
	struct site site;
	for (unsigned polite = 0; polite < 2; polite++) {
		site_start(&site, *state, &localhost);
		call(&site, BYTES(""));
		net_until(*state, has_request, &site);
		server_says(&site, BYTES("HTTP/1.1 200 OK\r\n\r\nuntil the end"));
		net_until(*state, has_piece, &site);
		if (polite)
			tls_close(site.tls);
		server_flush(&site);
		net_sleep(*state, 100 * MILLISECOND);
		env_shutdown(site.stream);
		net_until(*state, has_ended, &site);
		assert_int_equal(polite ? ERR_OK : ERR_UPSTREAM, site.err.code);
		site_stop(&site);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_over_tls),
		cmocka_unit_test(another_name_is_refused),
		cmocka_unit_test(another_authority_is_refused),
		cmocka_unit_test(a_server_that_never_shakes_hands_is_given_up),
		cmocka_unit_test(a_large_request_goes_out_whole),
		cmocka_unit_test(small_records_do_not_wait_for_each_other),
		cmocka_unit_test(a_paused_call_goes_on_with_what_is_decrypted),
		cmocka_unit_test(an_end_without_goodbye_is_no_end),
	};
	identity_make(&authority, NULL, NULL);
	identity_make(&localhost, &authority, "IP:127.0.0.1");
	identity_make(&elsewhere, &authority, "DNS:elsewhere.example,IP:192.0.2.1");
	int status = net_main(tests, COUNT(tests));
	identity_free(&authority);
	identity_free(&localhost);
	identity_free(&elsewhere);
	return status;
}
