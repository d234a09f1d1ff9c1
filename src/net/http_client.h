/* HTTP/1.1 calls on one loop, with a pool of kept-alive connections per origin (LIFO). The caller
 * gives the request as finished bytes, so that a body can be spliced without copying. */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include "base/counters.h"
#include "env/env.h"
#include "net/budget.h"
#include "net/channel.h"
#include "proto/http1.h"

struct http_pool;
struct http_origin;
struct http_client_connection;

#define HTTP_CALL_OWN_PARTS 2
#define HTTP_CALL_PARTS_MAX 8

/* One request and its response. The caller owns it and keeps it until `ended`, and the memory of
 * what is sent until then or until http_call_sent. */
struct http_call {
	/* Set by the caller */
	/* Head and body, ready to send; changed while sending. */
	struct iovec parts[HTTP_CALL_OWN_PARTS];
	struct iovec *many_parts; /* instead, where there are more; NULL: `parts` */
	uint8_t part_count;
	bool head_method;       /* HEAD: the response has no body */
	bool paused;            /* private */
	uint32_t read_max;      /* bytes of the answer taken at once; 0: as many as have come */
	uint64_t first_byte_ns; /* from the start of the call to the response head; 0: no limit */
	uint64_t idle_ns;       /* between two pieces of the response; 0: no limit */
	void *user;
	/* The response head (final, never 1xx). `fields` point into head_bytes; valid during the
	 * call. */
	void (*head)(struct http_call *call, const struct http_head *head, struct bytes head_bytes);
	/* A piece of the decoded body, valid during the call. */
	void (*body)(struct http_call *call, struct bytes piece);
	/* The end, exactly once unless the call was cancelled. err->code is ERR_OK when the
	 * response is complete. */
	void (*ended)(struct http_call *call, const struct err *err);
	/* Told by the pool */
	bool head_seen;
	bool unprocessed;    /* after an error or a cancel: no byte of the request was sent, or can
			      * have been acted upon */
	bool until_close;    /* the body was framed by the end of the connection only */
	uint32_t retries;    /* connections it was taken off, unprocessed, for another one */
	uint64_t started_ns; /* when it was started */
	uint64_t head_ns;    /* when the response head was complete */
	/* private */
	struct http_client_connection *connection;
	struct http_origin *origin;
	struct http_call *next, *previous; /* waiting for a connection */
};

/* What pools have done so far: written by their loop, read by any thread. */
struct http_pool_stats {
	_Atomic int64_t open, idle;     /* connections now; idle ones are open too */
	_Atomic int64_t opened;         /* connections that were begun */
	_Atomic int64_t reused;         /* calls that went out on a kept-alive connection */
	_Atomic int64_t retried;        /* calls that were put on another connection, unprocessed */
	_Atomic int64_t received, sent; /* bytes, without what TLS adds */
};

struct http_pool_options {
	unsigned connections_max;    /* per origin; further calls wait in order */
	unsigned idle_max;           /* kept alive per origin */
	uint64_t idle_timeout_ns;    /* of a kept-alive connection */
	uint64_t connect_timeout_ns; /* name, TCP and TLS */
	struct bytes ca_pem;         /* certificates to trust */
	/* The environment's HTTPS_PROXY and NO_PROXY, for origins with TLS: they are reached by
	 * CONNECT through that proxy. NULL or "": directly. Looked at when an origin is made. */
	const char *https_proxy, *no_proxy;
	struct http_pool_stats *stats; /* outlives the pool; NULL: nobody wants to know */
	struct net_budget *budget;     /* what is sealed and not sent counts there; NULL: nowhere */
};

/* NULL when memory is out. The options are copied (the CA text too). */
struct http_pool *http_pool_new(struct env_loop *loop, const struct http_pool_options *options);
/* Every call must have ended or been cancelled. */
void http_pool_free(struct http_pool *pool);

/* "http://host[:port][/base]", "https://…" or "unix:/path/to/socket". The origin belongs to the
 * pool; the same URL gives the same origin. ERR_INVALID says what is wrong with the URL. */
enum err_code http_pool_origin(struct http_pool *pool, struct bytes url, struct http_origin **out,
			       struct err *err);
/* What is an origin's own and not the pool's. All of it is copied. */
struct http_origin_options {
	struct bytes ca_pem;           /* trusted instead of the pool's; empty: the pool's */
	struct bytes certificate, key; /* the client's own (PEM); empty: none */
	uint64_t connect_timeout_ns;   /* 0: the pool's */
};
/* As http_pool_origin; one that has anything of its own is not shared with other callers for the
 * same URL. ERR_INVALID also says what is
 * wrong with a certificate or key. */
enum err_code http_pool_origin_with(struct http_pool *pool, struct bytes url,
				    const struct http_origin_options *options,
				    struct http_origin **out, struct err *err);
/* Reads the pool's certificates of authorities now rather than before the first connection that
 * needs them: it takes some milliseconds. */
enum err_code http_pool_prepare_tls(struct http_pool *pool, struct err *err);
/* For the Host field, and the path of the URL without a slash at the end ("" where there is none).
 */
struct bytes http_origin_authority(const struct http_origin *origin);
struct bytes http_origin_base_path(const struct http_origin *origin);

/* `ended` is never called from inside it. */
void http_call_start(struct http_origin *origin, struct http_call *call);
/* Whether the whole request has been handed to the kernel: its memory is not looked at again once
 * the response has begun. */
bool http_call_sent(const struct http_call *call);
/* No callback comes after it; the connection is closed, so that the upstream sees the cancel. */
void http_call_cancel(struct http_call *call);
/* Stops and restarts reading the response. */
void http_call_pause(struct http_call *call, bool paused);

/* Appends a request head: method, target, Host, the fields, Content-Length (unless negative). */
void http_write_request_head(struct buf *out, const char *method, struct bytes target,
			     struct bytes authority, const struct bytes *names,
			     const struct bytes *values, size_t field_count,
			     int64_t content_length);

#endif
