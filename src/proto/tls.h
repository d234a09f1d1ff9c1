/* TLS 1.2 and 1.3 over buffers (OpenSSL): bytes of the network in, bytes of the application out,
 * and the reverse. No socket, no file, no clock of its own. A context belongs to one thread with
 * all its sessions. */
#ifndef PROTO_TLS_H
#define PROTO_TLS_H

#include "base/bytes.h"
#include "base/err.h"

#include <sys/types.h>

struct tls_context;
struct tls;

/* Where Debian keeps the certificates of the public authorities; its content is what a client
 * context is given when no other was configured. */
#define TLS_SYSTEM_AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"

/* Results of tls_read and tls_write besides a byte count. */
enum tls_io {
	TLS_EOF = 0,    /* read only: the peer closed the session in order */
	TLS_AGAIN = -1, /* feed more bytes from the network first */
	TLS_FAILED =
		-2, /* broken for ever; tls_error tells why. Send what tls_output gives, close. */
};

/* For clients: only servers whose chain ends at one of `authorities` (PEM text of one or more
 * certificates, required) and whose certificate carries the host name are talked to; nothing turns
 * this off. `certificate` and `key` (PEM, may be empty) are the client's own. */
enum err_code tls_client_context_new(struct bytes authorities, struct bytes certificate,
				     struct bytes key, struct tls_context **out, struct err *err);

/* For servers. `certificate` is a PEM chain, leaf first. With `client_authorities` every client
 * must show a certificate that ends there; without, none is asked for. */
enum err_code tls_server_context_new(struct bytes certificate, struct bytes key,
				     struct bytes client_authorities, struct tls_context **out,
				     struct err *err);

/* Servers with the same key take each other's session tickets: several threads of one service. Who
 * may come in, or as whom, is part of a session: with other certificates or authorities the key
 * must be another one too. */
#define TLS_TICKET_KEY_SIZE 80
enum err_code tls_server_share_tickets(struct tls_context *context,
				       const uint8_t key[static TLS_TICKET_KEY_SIZE],
				       struct err *err);

/* Sessions hold a reference: a context may be freed before them (a reload). */
void tls_context_free(struct tls_context *context);
/* One more reference, given back by tls_context_free. */
struct tls_context *tls_context_hold(struct tls_context *context);

/* `host` is a DNS name or an IP address: sent as server name (names only) and checked against the
 * certificate. The first flight stands in tls_output at once. */
enum err_code tls_client_new(struct tls_context *context, const char *host, struct tls **out,
			     struct err *err);
enum err_code tls_server_new(struct tls_context *context, struct tls **out, struct err *err);
void tls_free(struct tls *tls);

/* Bytes that came from the network; all are taken. False when memory is out or 1 MiB wait to be
 * read: the session is broken. Follow with tls_read (which also moves the handshake on). */
bool tls_feed(struct tls *tls, const void *data, size_t size);

/* Bytes for the network, valid until the next call on `tls`; tls_output_sent drops the first
 * `count` of them. Look after every other call. */
struct bytes tls_output(const struct tls *tls);
void tls_output_sent(struct tls *tls, size_t count);
/* What the buffer of that output takes now. */
size_t tls_output_memory(const struct tls *tls);

/* Application data. > 0 bytes, or an enum tls_io. Works during the handshake (TLS_AGAIN until it is
 * done); with size 0 it moves the handshake on and nothing else. */
ssize_t tls_read(struct tls *tls, void *out, size_t size);
/* Takes all of it (size > 0) and returns size, or an enum tls_io. The caller bounds what it writes
 * by looking at tls_output's size. */
ssize_t tls_write(struct tls *tls, const void *data, size_t size);

/* The handshake is done and, for a client, the server verified. */
bool tls_established(const struct tls *tls);
/* A session was resumed rather than made anew. */
bool tls_resumed(const struct tls *tls);
/* Puts close_notify into the output. */
void tls_close(struct tls *tls);
/* Why it failed: "certificate of api.north.example: self-signed certificate"; "" if it has not. */
const char *tls_error(const struct tls *tls);
/* SHA-256 of the peer's certificate (DER); false if it has shown none. */
bool tls_peer_thumbprint(const struct tls *tls, uint8_t digest[static 32]);

#endif
