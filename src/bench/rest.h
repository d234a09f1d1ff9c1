/* One JSON call after another to a gateway's own endpoints. */
#ifndef BENCH_REST_H
#define BENCH_REST_H

#include "bench/signer.h"
#include "net/http_client.h"

#define REST_RESPONSE_MAX ((size_t)16 << 20)

struct rest {
	struct http_call call; /* first */
	struct env_loop *loop;
	struct buf head, body, response;
	int status;
	int64_t retry_after_ms; /* -1: absent */
	bool problem;           /* the response is application/problem+json */
	bool busy;
	/* The end of a call; another may be started from it. err->code is ERR_OK when a whole
	 * response came, whatever its status. */
	void (*done)(struct rest *rest, const struct err *err);
	void *user;
	const struct signer *signer; /* NULL: nothing is signed; set after rest_init */
};

void rest_init(struct rest *rest, struct env_loop *loop);
void rest_release(struct rest *rest); /* cancels a call under way */

/* `path` from the root of the origin's base path (a "/v1" at its end is dropped). `credential`:
 * whole fields, each with CR LF. `body` is copied; an empty one with method GET sends none. */
void rest_start(struct rest *rest, struct http_origin *origin, const char *method, const char *path,
		struct bytes credential, struct bytes body);

/* "HTTP 403: <detail>" of the response at hand, one printable line. */
void rest_describe(const struct rest *rest, char *out, size_t size);

#endif
