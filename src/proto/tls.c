#include "proto/tls.h"
#include "base/buf.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX ((size_t)1 << 20)
#define OUTPUT_MAX ((size_t)64 << 20)
#define KEEP_BYTES 4096 /* an empty buffer above this gives its memory back */
#define HOST_MAX 256
/* Hosts whose newest session a client context remembers. */
#define SESSIONS_MAX 64
/* How long a ticket is good for, seconds. */
#define SESSION_SECONDS 7200

/* ECDHE and an AEAD in either version (RFC 7525, section 4.2); ours decides, so that AES-128 is
 * taken where it is offered. */
#define CIPHERS_12                                                   \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

struct kept_session {
	char *host;
	SSL_SESSION *session;
};

/* Contexts and their sessions belong to one thread: the count needs no lock. */
struct tls_context {
	SSL_CTX *ssl;
	BIO_METHOD *method;
	unsigned references;
	bool server;
	/* Clients: the newest session with each host, for the next connection to it. */
	struct kept_session sessions[SESSIONS_MAX];
	unsigned oldest; /* the place that is taken when all are in use */
};

struct tls {
	struct tls_context *context;
	SSL *ssl;
	struct buf in, out;
	size_t in_at; /* bytes of `in` that OpenSSL has read */
	bool failed;
	char host[HOST_MAX];
	char error[512];
};

/* ---- a BIO over our two buffers ---- */

static void give_back(struct buf *buf)
{
	if (buf->capacity > KEEP_BYTES)
		buf_release(buf);
	else
		buf_clear(buf);
}

static int bio_read(BIO *bio, char *out, int size)
{
	struct tls *tls = BIO_get_data(bio);
	size_t there = tls->in.size - tls->in_at;
	BIO_clear_retry_flags(bio);
	if (there == 0 || size <= 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	size_t take = (size_t)size < there ? (size_t)size : there;
	memcpy(out, tls->in.data + tls->in_at, take);
	tls->in_at += take;
	if (tls->in_at == tls->in.size) {
		give_back(&tls->in);
		tls->in_at = 0;
	}
	return (int)take;
}

static int bio_write(BIO *bio, const char *data, int size)
{
	struct tls *tls = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	if (size <= 0)
		return 0;
	buf_append(&tls->out, data, (size_t)size);
	return tls->out.failed ? -1 : size;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method_new(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "buffers");
	if (!method)
		return NULL;
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_ctrl(method, bio_control);
	return method;
}

/* ---- contexts ---- */

/* The reason of the oldest OpenSSL error, which is the one nearest to the cause. */
static const char *library_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());
	return reason ? reason : "no reason given";
}

static BIO *memory_of(struct bytes pem)
{
	return pem.size <= INT32_MAX ? BIO_new_mem_buf(pem.data, (int)pem.size) : NULL;
}

/* Calls `take`, which keeps what it needs by a reference of its own, with every certificate of the
 * PEM text; false: not wanted. ERR_INVALID where there is none, and where one cannot be used: a
 * chain or a list of authorities without it would be another one. */
static enum err_code each_certificate(SSL_CTX *ssl, struct bytes pem,
				      bool (*take)(SSL_CTX *ssl, X509 *certificate, bool first),
				      const char *what, struct err *err)
{
	BIO *bio = memory_of(pem);
	X509 *certificate;
	unsigned count = 0;
	bool good = bio != NULL;
	while (good && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		good = take(ssl, certificate, count == 0);
		count += good;
		X509_free(certificate);
	}
	BIO_free(bio);
	unsigned long last = ERR_peek_last_error();
	bool ended =
		ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
	if (good && ended && count > 0) {
		ERR_clear_error();
		return ERR_OK;
	}
	if (good && ended)
		return ERR_SET(err, ERR_INVALID, "cannot use the %s: there is none (PEM)", what);
	return ERR_SET(err, ERR_INVALID, "cannot use the %s, number %u in its file: %s", what,
		       count + 1, library_reason());
}

static bool take_authority(SSL_CTX *ssl, X509 *certificate, bool first)
{
	(void)first;
	return X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), certificate) == 1;
}

/* Clients are told, so that one with several certificates knows which to show. */
static bool take_client_authority(SSL_CTX *ssl, X509 *certificate, bool first)
{
	return take_authority(ssl, certificate, first) &&
	       SSL_CTX_add_client_CA(ssl, certificate) == 1;
}

static bool take_chain(SSL_CTX *ssl, X509 *certificate, bool first)
{
	return first ? SSL_CTX_use_certificate(ssl, certificate) == 1
		     : SSL_CTX_add1_chain_cert(ssl, certificate) == 1;
}

static enum err_code use_certificate(SSL_CTX *ssl, struct bytes pem, struct err *err)
{
	return each_certificate(ssl, pem, take_chain, "TLS certificate", err);
}

static enum err_code use_key(SSL_CTX *ssl, struct bytes pem, struct err *err)
{
	char no_passphrase[] = "";
	BIO *bio = memory_of(pem);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, no_passphrase) : NULL;
	bool good = key && SSL_CTX_use_PrivateKey(ssl, key) == 1;
	EVP_PKEY_free(key);
	BIO_free(bio);
	if (!good)
		return ERR_SET(err, ERR_INVALID,
			       "cannot use the TLS private key (it must be PEM, without "
			       "passphrase, and fit the certificate): %s",
			       library_reason());
	return ERR_OK;
}

/* Only HTTP/1.1 is spoken; a client that offers protocols without it is refused. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size,
			   const unsigned char *offered, unsigned offered_size, void *argument)
{
	static const unsigned char http1[] = "\x08http/1.1";
	unsigned char *chosen;
	(void)ssl;
	(void)argument;
	if (SSL_select_next_proto(&chosen, out_size, http1, sizeof(http1) - 1, offered,
				  offered_size) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static struct kept_session *find_session(struct tls_context *context, const char *host)
{
	for (unsigned i = 0; i < SESSIONS_MAX && context->sessions[i].host; i++)
		if (strcmp(context->sessions[i].host, host) == 0)
			return &context->sessions[i];
	return NULL;
}

static void forget_session(struct kept_session *kept)
{
	SSL_SESSION_free(kept->session);
	free(kept->host);
	*kept = (struct kept_session){0};
}

/* A ticket has come: kept for the next connection to that host. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls *tls = SSL_get_app_data(ssl);
	struct tls_context *context = tls->context;
	if (!SSL_SESSION_is_resumable(session))
		return 0;
	struct kept_session *kept = find_session(context, tls->host);
	char *host = strdup(tls->host);
	if (!host)
		return 0;
	if (!kept) {
		kept = &context->sessions[context->oldest];
		context->oldest = (context->oldest + 1) % SESSIONS_MAX;
	}
	forget_session(kept);
	*kept = (struct kept_session){host, session};
	return 1; /* the reference is ours now */
}

static enum err_code context_new(const SSL_METHOD *method, struct tls_context **out,
				 struct err *err)
{
	struct tls_context *context = calloc(1, sizeof(*context));
	if (context) {
		context->references = 1;
		context->ssl = SSL_CTX_new(method);
		context->method = bio_method_new();
	}
	if (!context || !context->ssl || !context->method) {
		tls_context_free(context);
		return ERR_SET(err, ERR_NO_MEMORY, "no memory for a TLS context");
	}
	if (SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(context->ssl, CIPHERS_12) != 1 ||
	    SSL_CTX_set_ciphersuites(context->ssl, CIPHERS_13) != 1 ||
	    SSL_CTX_set1_groups_list(context->ssl, GROUPS) != 1) {
		tls_context_free(context);
		return ERR_SET(err, ERR_ENVIRONMENT, "this OpenSSL cannot do what Parley needs: %s",
			       library_reason());
	}
	SSL_CTX_set_options(context->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
						  SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(context->ssl,
			 SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	*out = context;
	return ERR_OK;
}

static enum err_code set_up_client(struct tls_context *context, struct bytes authorities,
				   struct bytes certificate, struct bytes key, struct err *err)
{
	static const unsigned char http1[] = "\x08http/1.1";
	SSL_CTX *ssl = context->ssl;
	ERR_TRY(each_certificate(ssl, authorities, take_authority,
				 "certificate of an authority to trust", err));
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(ssl,
				       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
	SSL_CTX_sess_set_new_cb(ssl, keep_session);
	if (SSL_CTX_set_alpn_protos(ssl, http1, sizeof(http1) - 1) != 0)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory for a TLS context");
	if (certificate.size == 0)
		return ERR_OK;
	ERR_TRY(use_certificate(ssl, certificate, err));
	return use_key(ssl, key, err);
}

enum err_code tls_client_context_new(struct bytes authorities, struct bytes certificate,
				     struct bytes key, struct tls_context **out, struct err *err)
{
	*out = NULL;
	ERR_clear_error();
	struct tls_context *context = NULL;
	ERR_TRY(context_new(TLS_client_method(), &context, err));
	enum err_code code = set_up_client(context, authorities, certificate, key, err);
	if (code == ERR_OK)
		*out = context;
	else
		tls_context_free(context);
	return code;
}

static enum err_code set_up_server(struct tls_context *context, struct bytes certificate,
				   struct bytes key, struct bytes client_authorities,
				   struct err *err)
{
	SSL_CTX *ssl = context->ssl;
	context->server = true;
	ERR_TRY(use_certificate(ssl, certificate, err));
	ERR_TRY(use_key(ssl, key, err));
	SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, NULL);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF); /* tickets only */
	SSL_CTX_set_num_tickets(ssl, 1);
	SSL_CTX_set_timeout(ssl, SESSION_SECONDS);
	SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"parley", 6);
	if (client_authorities.size == 0)
		return ERR_OK;
	ERR_TRY(each_certificate(ssl, client_authorities, take_client_authority,
				 "certificate of an authority for clients", err));
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return ERR_OK;
}

enum err_code tls_server_context_new(struct bytes certificate, struct bytes key,
				     struct bytes client_authorities, struct tls_context **out,
				     struct err *err)
{
	*out = NULL;
	ERR_clear_error();
	struct tls_context *context = NULL;
	ERR_TRY(context_new(TLS_server_method(), &context, err));
	enum err_code code = set_up_server(context, certificate, key, client_authorities, err);
	if (code == ERR_OK)
		*out = context;
	else
		tls_context_free(context);
	return code;
}

enum err_code tls_server_share_tickets(struct tls_context *context,
				       const uint8_t key[static TLS_TICKET_KEY_SIZE],
				       struct err *err)
{
	uint8_t copy[TLS_TICKET_KEY_SIZE];
	memcpy(copy, key, sizeof(copy));
	bool good = SSL_CTX_set_tlsext_ticket_keys(context->ssl, copy, sizeof(copy)) == 1;
	explicit_bzero(copy, sizeof(copy));
	return good ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory for a TLS context");
}

struct tls_context *tls_context_hold(struct tls_context *context)
{
	context->references++;
	return context;
}

void tls_context_free(struct tls_context *context)
{
	if (!context || --context->references > 0)
		return;
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		forget_session(&context->sessions[i]);
	SSL_CTX_free(context->ssl);
	BIO_meth_free(context->method);
	free(context);
}

/* ---- sessions ---- */

static enum err_code session_new(struct tls_context *context, struct tls **out, struct err *err)
{
	struct tls *tls = calloc(1, sizeof(*tls));
	BIO *bio = NULL;
	if (tls) {
		context->references++;
		tls->context = context;
		buf_init(&tls->in, INPUT_MAX);
		buf_init(&tls->out, OUTPUT_MAX);
		tls->ssl = SSL_new(context->ssl);
		bio = BIO_new(context->method);
	}
	if (!tls || !tls->ssl || !bio) {
		BIO_free(bio);
		tls_free(tls);
		return ERR_SET(err, ERR_NO_MEMORY, "no memory for a TLS session");
	}
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_app_data(tls->ssl, tls);
	*out = tls;
	return ERR_OK;
}

/* The certificate must carry this very name or address. */
static bool require_host(struct tls *tls, const char *host)
{
	X509_VERIFY_PARAM *parameters = SSL_get0_param(tls->ssl);
	ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
	ASN1_OCTET_STRING_free(address);
	if (address)
		return X509_VERIFY_PARAM_set1_ip_asc(parameters, host) == 1;
	X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return X509_VERIFY_PARAM_set1_host(parameters, host, 0) == 1 &&
	       SSL_set_tlsext_host_name(tls->ssl, host) == 1;
}

static void fail(struct tls *tls, const char *text)
{
	long verified = SSL_get_verify_result(tls->ssl);
	tls->failed = true;
	if (verified != X509_V_OK)
		snprintf(tls->error, sizeof(tls->error), "certificate of %s: %s",
			 tls->host[0] ? tls->host : "the client",
			 X509_verify_cert_error_string(verified));
	else
		snprintf(tls->error, sizeof(tls->error), "%s", text);
}

/* What a return value of OpenSSL that is not success means. */
static ssize_t outcome_of(struct tls *tls, int result)
{
	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return TLS_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_EOF;
	default:
		fail(tls, library_reason());
		return TLS_FAILED;
	}
}

enum err_code tls_client_new(struct tls_context *context, const char *host, struct tls **out,
			     struct err *err)
{
	*out = NULL;
	if (host[0] == '\0' || strlen(host) >= HOST_MAX)
		return ERR_SET(err, ERR_INVALID, "\"%.300s\" is not a host name", host);
	struct tls *tls = NULL;
	ERR_TRY(session_new(context, &tls, err));
	snprintf(tls->host, sizeof(tls->host), "%s", host);
	ERR_clear_error();
	if (!require_host(tls, host)) {
		tls_free(tls);
		return ERR_SET(err, ERR_INVALID, "\"%s\" cannot be a name in a certificate", host);
	}
	const struct kept_session *kept = find_session(context, host);
	if (kept)
		SSL_set_session(tls->ssl, kept->session);
	SSL_set_connect_state(tls->ssl);
	ERR_clear_error();
	outcome_of(tls, SSL_do_handshake(tls->ssl));
	*out = tls;
	return ERR_OK;
}

enum err_code tls_server_new(struct tls_context *context, struct tls **out, struct err *err)
{
	*out = NULL;
	ERR_TRY(session_new(context, out, err));
	SSL_set_accept_state((*out)->ssl);
	return ERR_OK;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	/* Without this OpenSSL would forget the session for later connections, because it sees no
	 * close_notify; whether all data came is judged by HTTP's framing. */
	if (tls->ssl && tls_established(tls))
		SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(tls->ssl);
	buf_release(&tls->in);
	buf_release(&tls->out);
	tls_context_free(tls->context);
	free(tls);
}

bool tls_feed(struct tls *tls, const void *data, size_t size)
{
	if (tls->in_at) {
		buf_consume(&tls->in, tls->in_at);
		tls->in_at = 0;
	}
	buf_append(&tls->in, data, size);
	if (tls->in.failed && !tls->failed)
		fail(tls, "too much unread input, or out of memory");
	return !tls->failed;
}

struct bytes tls_output(const struct tls *tls)
{
	return buf_bytes(&tls->out);
}

size_t tls_output_memory(const struct tls *tls)
{
	return tls->out.capacity;
}

void tls_output_sent(struct tls *tls, size_t count)
{
	if (count >= tls->out.size)
		give_back(&tls->out);
	else
		buf_consume(&tls->out, count);
}

ssize_t tls_read(struct tls *tls, void *out, size_t size)
{
	if (tls->failed)
		return TLS_FAILED;
	ERR_clear_error();
	if (size == 0) { /* SSL_read would take it for an error */
		int result = SSL_do_handshake(tls->ssl);
		return result == 1 ? TLS_AGAIN : outcome_of(tls, result);
	}
	int want = size < INT32_MAX ? (int)size : INT32_MAX;
	int got = SSL_read(tls->ssl, out, want);
	return got > 0 ? got : outcome_of(tls, got);
}

ssize_t tls_write(struct tls *tls, const void *data, size_t size)
{
	size_t written = 0;
	if (tls->failed)
		return TLS_FAILED;
	ERR_clear_error();
	int result = SSL_write_ex(tls->ssl, data, size, &written);
	if (result == 1)
		return (ssize_t)written;
	ssize_t outcome = outcome_of(tls, result);
	if (outcome != TLS_EOF)
		return outcome;
	fail(tls, "the peer has closed the session");
	return TLS_FAILED;
}

bool tls_established(const struct tls *tls)
{
	return !tls->failed && SSL_is_init_finished(tls->ssl) == 1;
}

bool tls_resumed(const struct tls *tls)
{
	return SSL_session_reused(tls->ssl) == 1;
}

void tls_close(struct tls *tls)
{
	if (tls->failed || !tls_established(tls))
		return;
	ERR_clear_error();
	SSL_shutdown(tls->ssl);
	ERR_clear_error();
}

const char *tls_error(const struct tls *tls)
{
	return tls->error;
}

bool tls_peer_thumbprint(const struct tls *tls, uint8_t digest[static 32])
{
	unsigned size = 0;
	X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
	return certificate && X509_digest(certificate, EVP_sha256(), digest, &size) == 1 &&
	       size == 32;
}
