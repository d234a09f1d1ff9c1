/* HTTP/1.1 server connections on one loop (RFC 9112). One exchange at a time per connection: what a
 * client pipelines waits its turn. The whole request body is collected before the handler sees it,
 * because nothing may be decided on a part of it.
 *
 * Memory: an idle connection holds neither a buffer nor a parsed head. Head and body share one
 * buffer from the server's pool; an answer goes out as it is given, and only what the socket does
 * not take is copied. */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include "base/arena.h"
#include "base/counters.h"
#include "env/env.h"
#include "net/budget.h"
#include "net/channel.h"
#include "proto/http1.h"

struct http_server;
struct http_connection;

/* One request and its answer. The connection owns it; `arena`, `head` and `body` are valid until
 * the answer is finished or `aborted` was called. */
struct http_exchange {
	struct http_connection *connection;
	struct env_loop *loop;
	struct arena arena;
	struct http_head *head;  /* never NULL: an empty one where there is none */
	struct bytes head_bytes; /* what the offsets of `head` point into */
	struct bytes body;
	struct env_peer peer;
	uint64_t started_ns; /* when the head was complete */
	void *user;          /* the handler's own; NULL at first */
	void *server_user;   /* http_server_options.argument */
	/* private */
	bool started, finished, chunked, close_after;
};

/* One field of an answer; name and value must be free of CR and LF. With a NULL name `value` is
 * finished lines instead, each ended by CR LF. */
struct http_header {
	const char *name;
	struct bytes value;
};

struct http_server_options {
	void *argument; /* becomes exchange->server_user */
	/* The head is complete. May answer at once (the body is then not read); else it sets
	 * *body_max for this request (it starts at the default below). May be NULL. */
	void (*head)(struct http_exchange *exchange, size_t *body_max);
	/* The body is not complete, and HTTP_SERVER_SLICE bytes or more of it (exchange->body is
	 * all that came, which may move until `request`) have come since the last call: a handler
	 * that reads along has little left to do at the end. May not answer. May be NULL. */
	void (*progress)(struct http_exchange *exchange);
	/* The request is complete: answer now or later. */
	void (*request)(struct http_exchange *exchange);
	/* The client is gone, or its connection broke, before the answer was finished. The exchange
	 * must not be used afterwards. */
	void (*aborted)(struct http_exchange *exchange);
	/* What was unsent has gone below http_server's low mark after being above the high one. May
	 * be NULL. */
	void (*drained)(struct http_exchange *exchange);
	/* An answer was finished and has not gone out whole: the last word about it. May be NULL.
	 */
	void (*unsent)(struct http_exchange *exchange);
	/* Writes an error answer for a request refused below the handler (400, 408, 413, 431, 501,
	 * 505). NULL: plain text. It calls http_respond. */
	void (*refused)(struct http_exchange *exchange, int status, const char *reason);
	size_t body_max; /* default for requests, bytes */
	uint64_t head_timeout_ns;
	uint64_t body_timeout_ns;  /* for a body in all; with a rate, what it has before that counts
				    */
	uint64_t body_rate_min;    /* bytes a second a body must come at on the whole; 0: none */
	uint64_t idle_timeout_ns;  /* between requests */
	uint64_t write_timeout_ns; /* without any progress of an answer */
	unsigned connections_max;  /* accept pauses above it */
	/* Shared with other servers; NULL: none. Accept pauses where it has no place left; a body
	 * for which it has no memory left is refused with 503. Outlives the server. */
	struct net_budget *budget;
};

/* So much is received at a time; a body that has more waiting lets other connections go first. */
#define HTTP_SERVER_SLICE 65536
/* So many requests that were sent ahead are begun before other connections have their turn. */
#define HTTP_SERVER_REQUESTS 32
#define HTTP_SERVER_UNSENT_HIGH 65536
#define HTTP_SERVER_UNSENT_LOW 16384

/* NULL when memory is out. The options are copied. */
struct http_server *http_server_new(struct env_loop *loop,
				    const struct http_server_options *options);
/* Takes connections at the address until http_server_stop. May be called for several addresses (at
 * most 8). *bound, if not NULL, is the address with its real port. */
enum err_code http_server_listen(struct http_server *server, const struct env_address *address,
				 struct env_address *bound, struct err *err);
/* From now on every new connection speaks TLS by this context (held by the server; NULL: none any
 * more). Connections that are there keep what they began with. The handshake must be over within
 * head_timeout_ns. */
void http_server_set_tls(struct http_server *server, struct tls_context *context);
/* No new connections; idle ones are closed; busy ones end with their present exchange. `done` is
 * called on the loop when none is left (at once if there is none). */
void http_server_stop(struct http_server *server, void (*done)(void *argument), void *argument);
/* Closes every connection that no handler is answering. */
void http_server_close_all(struct http_server *server);
/* Resets connections whose answer is finished but has not gone out whole, where `which` says so. */
void http_server_cut_unsent(struct http_server *server,
			    bool (*which)(const struct http_exchange *exchange, void *argument),
			    void *argument);
/* Ends what is left (each open exchange gets `aborted`) and frees the server. */
void http_server_free(struct http_server *server);
unsigned http_server_connections(const struct http_server *server);

/* What a server has done so far: written by its loop, read by any thread. */
struct http_server_stats {
	_Atomic int64_t open;           /* connections now */
	_Atomic int64_t accepted;       /* connections */
	_Atomic int64_t received, sent; /* bytes, without what TLS adds */
};
const struct http_server_stats *http_server_stats(const struct http_server *server);

/* A whole answer with Content-Length. For HEAD requests the body is left out. */
void http_respond(struct http_exchange *exchange, int status, const struct http_header *headers,
		  size_t header_count, struct bytes body);
/* An answer in pieces: head, then http_send, then http_finish. content_length -1: chunked (or until
 * close for an HTTP/1.0 client). */
void http_start(struct http_exchange *exchange, int status, const struct http_header *headers,
		size_t header_count, int64_t content_length);
void http_send(struct http_exchange *exchange, struct bytes piece);
void http_finish(struct http_exchange *exchange);
/* The handler needs head and body of the request no more: what they took is given back while the
 * answer goes on. For answers that take long; does nothing while a further request is waiting. */
void http_release_request(struct http_exchange *exchange);
/* The answer cannot be completed: resets the connection. No `aborted` follows. */
void http_cut(struct http_exchange *exchange);
/* Bytes accepted but not yet handed to the kernel, as they are or encrypted. */
size_t http_unsent(const struct http_exchange *exchange);
bool http_has_started(const struct http_exchange *exchange);
/* The session of a connection that speaks TLS with this server itself; NULL: it is plain. */
const struct tls *http_tls(const struct http_exchange *exchange);

#endif
