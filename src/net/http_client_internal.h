/* What http_client.c (calls and their connections) and http_origin.c (URLs and addresses) share. */
#ifndef NET_HTTP_CLIENT_INTERNAL_H
#define NET_HTTP_CLIENT_INTERNAL_H

#include "net/http_client.h"
#include "proto/chunked.h"

#define SCRATCH_SIZE 65536

enum connection_state { CONNECTING, ACTIVE, IDLE };

struct http_client_connection {
	struct http_origin *origin;
	struct http_call *call;
	struct http_client_connection *next, *previous; /* among the origin's idle, newest first */
	struct channel channel;
	struct env_timer timer;
	uint64_t deadline_ns; /* the timer is armed again lazily; 0: none */
	uint64_t
		connect_by_ns; /* when connecting must be over, whichever address it is; 0: never */
	struct http_body body;
	struct buf pending; /* of a head that did not come in one piece */
	size_t charged;     /* to the budget, for what is sealed and not sent */
	uint32_t asked;     /* bytes of the tunnel's request that were sent */
	uint8_t state;      /* enum connection_state */
	uint8_t address_index, interim;
	uint8_t part;    /* the first of call->parts that is not wholly sent */
	bool in_tunnel;  /* it stands, or there is none */
	bool keep_alive; /* as the head of the response says */
	bool reused, sent_any, advancing, closed;
	bool yields; /* the timer stands for the next turn, not for the deadline */
};

_Static_assert(sizeof(struct http_client_connection) <= 200, "one for every stream");

/* Outlives its origin where the pool is freed while the name is still being asked for. */
struct origin_lookup {
	struct env_lookup lookup;
	struct http_origin *origin; /* NULL: nobody waits any more */
};

struct http_origin {
	struct http_origin *next;
	struct http_pool *pool;
	char *url;
	struct bytes authority, base_path;
	char host[256];
	uint16_t port;
	char proxy_host[256]; /* whose addresses are looked up where there is a tunnel */
	uint16_t proxy_port;
	struct buf tunnel_request; /* what opens it; empty: none */
	bool tls;
	bool is_own;                     /* made by http_pool_origin_with */
	struct tls_context *tls_context; /* its own; NULL: the pool's */
	uint64_t connect_timeout_ns;     /* name, TCP and TLS */
	struct env_address addresses[8];
	unsigned address_count;
	uint64_t stale_ns; /* when to ask again; 0: never asked; UINT64_MAX: needs no lookup */
	struct origin_lookup *looking_up;
	struct err err; /* why the last connection could not be tried */
	struct http_client_connection *idle;
	unsigned idle_count, open_count;
	struct http_call *waiting_first, *waiting_last;
};

/* Outlives its pool where that is freed while the message is under way. */
struct pool_delivery {
	struct env_message message;
	struct http_pool *pool; /* NULL: it is no more */
	bool posted;
};

struct http_pool {
	struct http_pool_options options;
	struct env_loop *loop;
	struct http_origin *origins;
	struct buf ca_pem;
	struct tls_context *tls;
	struct http_call *failed; /* calls to be ended outside of http_call_start */
	struct http_call *ending; /* of these, those that are being ended now */
	struct pool_delivery *delivery;
	struct http_pool_stats *stats, own_stats;
	struct http_head head; /* scratch: a head that came in part is read again from its start */
	char scratch[SCRATCH_SIZE];
};

/* http_client.c */

void http_waiting_remove(struct http_origin *origin, struct http_call *call);
/* Ends the call with origin->err, outside of the function that calls this. */
void http_fail_later(struct http_pool *pool, struct http_call *call);
/* Gives connections to waiting calls, as far as there are some to be had. */
void http_serve_waiting(struct http_origin *origin);

/* http_origin.c */

/* Whether a connection can be opened now; starts a lookup where the addresses are missing or old,
 * after which http_serve_waiting is called. */
bool http_have_addresses(struct http_origin *origin);

void http_origin_free(struct http_origin *origin);

/* http_tunnel.c */

/* Whether the origin is reached through the pool's proxy. ERR_INVALID names HTTPS_PROXY, without
 * what it says. */
enum err_code http_tunnel_choose(struct http_origin *origin, struct err *err);
/* At a new stream, to the proxy or, where there is none, the origin. */
void http_tunnel_start(struct http_client_connection *connection);
/* The stream is connected: HTTP_COMPLETE when the tunnel stands, HTTP_REFUSED and a problem when it
 * will not. */
enum http_parse http_tunnel_advance(struct http_client_connection *connection, char *problem,
				    size_t problem_size);

#endif
