/* Origins: a base URL taken apart, and the addresses of its host. */
#include "net/http_client_internal.h"

#include "proto/url.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND_NS UINT64_C(1000000000)
/* Addresses are asked for again when their time to live is over, within these bounds. */
#define LIFETIME_MIN_S 1
#define LIFETIME_MAX_S 300
/* Where none was told (/etc/hosts), and after a lookup that failed. */
#define LIFETIME_UNKNOWN_S 5
#define ORIGINS_MAX 1024

/* ---- addresses ---- */

static void fail_waiting(struct http_origin *origin)
{
	while (origin->waiting_first) {
		struct http_call *call = origin->waiting_first;
		http_waiting_remove(origin, call);
		http_fail_later(origin->pool, call);
	}
}

static uint64_t lifetime_of(const struct env_lookup *lookup)
{
	uint64_t seconds = lookup->ttl_s;
	if (seconds == 0 || lookup->count == 0)
		seconds = LIFETIME_UNKNOWN_S;
	if (seconds < LIFETIME_MIN_S)
		seconds = LIFETIME_MIN_S;
	return (seconds < LIFETIME_MAX_S ? seconds : LIFETIME_MAX_S) * SECOND_NS;
}

static void lookup_done(struct env_lookup *lookup)
{
	struct origin_lookup *own = (struct origin_lookup *)lookup;
	struct http_origin *origin = own->origin;
	if (!origin) {
		free(own);
		return;
	}
	origin->looking_up = NULL;
	origin->err = lookup->err;
	/* While the name servers fail, what they said last is used as long as it can be connected
	 * to: a failed connect forgets it. */
	if (lookup->count > 0) {
		origin->address_count = lookup->count;
		memcpy(origin->addresses, lookup->addresses, sizeof(lookup->addresses));
	}
	uint64_t lifetime = lifetime_of(lookup);
	free(own);
	if (origin->address_count > 0) {
		origin->stale_ns = origin->pool->loop->now_ns + lifetime;
		http_serve_waiting(origin);
		return;
	}
	fail_waiting(origin);
}

static void start_lookup(struct http_origin *origin)
{
	struct origin_lookup *own = calloc(1, sizeof(*own));
	if (!own) {
		ERR_SET(&origin->err, ERR_NO_MEMORY, "out of memory");
		fail_waiting(origin);
		return;
	}
	own->origin = origin;
	bool tunnel = origin->tunnel_request.size > 0;
	snprintf(own->lookup.host, sizeof(own->lookup.host), "%s",
		 tunnel ? origin->proxy_host : origin->host);
	own->lookup.port = tunnel ? origin->proxy_port : origin->port;
	own->lookup.done = lookup_done;
	origin->looking_up = own;
	env_lookup_start(origin->pool->loop, &own->lookup);
}

/* Whether a connection can be opened now; starts a lookup where the addresses are missing or old.
 */
bool http_have_addresses(struct http_origin *origin)
{
	struct env_loop *loop = origin->pool->loop;
	if (origin->address_count > 0 && loop->now_ns < origin->stale_ns)
		return true;
	if (!origin->looking_up)
		start_lookup(origin);
	return false;
}

/* ---- URLs ---- */

static enum err_code read_url(struct http_origin *origin, struct err *err)
{
	struct bytes text = bytes_from(origin->url);
	struct url url;
	if (bytes_starts_with(text, BYTES("unix:"))) {
		env_address_unix(&origin->addresses[0], origin->url + 5);
		origin->address_count = 1;
		origin->stale_ns = UINT64_MAX;
		origin->authority = BYTES("localhost");
		return ERR_OK;
	}
	ERR_TRY(url_parse(text, &url, err));
	if (url.query.size || url.host.size >= sizeof(origin->host))
		return ERR_SET(err, ERR_INVALID,
			       "%s: a base URL has no query and a host below 256 bytes",
			       origin->url);
	memcpy(origin->host, url.host.data, url.host.size);
	origin->port = url.port;
	origin->tls = url.tls;
	origin->authority = url.authority;
	origin->base_path = url.path;
	while (origin->base_path.size && origin->base_path.data[origin->base_path.size - 1] == '/')
		origin->base_path.size--;
	return ERR_OK;
}

void http_origin_free(struct http_origin *origin)
{
	tls_context_free(origin->tls_context);
	if (origin->tunnel_request.data)
		explicit_bzero(origin->tunnel_request.data, origin->tunnel_request.size);
	buf_release(&origin->tunnel_request);
	free(origin->url);
	free(origin);
}

static enum err_code new_origin(struct http_pool *pool, struct bytes url, struct http_origin **out,
				struct err *err)
{
	struct http_origin *origin = calloc(1, sizeof(*origin));
	if (origin)
		origin->url = bytes_to_cstr(url);
	if (!origin || !origin->url) {
		free(origin);
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	origin->pool = pool;
	origin->connect_timeout_ns = pool->options.connect_timeout_ns;
	enum err_code code = read_url(origin, err);
	if (code == ERR_OK)
		code = http_tunnel_choose(origin, err);
	if (code != ERR_OK) {
		http_origin_free(origin);
		return code;
	}
	origin->next = pool->origins;
	pool->origins = origin;
	*out = origin;
	return ERR_OK;
}

enum err_code http_pool_origin(struct http_pool *pool, struct bytes url, struct http_origin **out,
			       struct err *err)
{
	unsigned count = 0;
	for (*out = pool->origins; *out; *out = (*out)->next, count++)
		if (!(*out)->is_own && bytes_is(url, (*out)->url))
			return ERR_OK;
	if (count >= ORIGINS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "more than %d origins", ORIGINS_MAX);
	return new_origin(pool, url, out, err);
}

enum err_code http_pool_origin_with(struct http_pool *pool, struct bytes url,
				    const struct http_origin_options *options,
				    struct http_origin **out, struct err *err)
{
	struct tls_context *context = NULL;
	struct bytes authorities =
		options->ca_pem.size ? options->ca_pem : buf_bytes(&pool->ca_pem);
	bool own_tls = options->ca_pem.size || options->certificate.size;
	bool own_time = options->connect_timeout_ns &&
			options->connect_timeout_ns != pool->options.connect_timeout_ns;
	*out = NULL;
	if (!own_tls && !own_time)
		return http_pool_origin(pool, url, out, err);
	if (own_tls)
		ERR_TRY(tls_client_context_new(authorities, options->certificate, options->key,
					       &context, err));
	enum err_code code = new_origin(pool, url, out, err);
	if (code != ERR_OK) {
		tls_context_free(context);
		return code;
	}
	(*out)->is_own = true;
	(*out)->tls_context = context;
	if (options->connect_timeout_ns)
		(*out)->connect_timeout_ns = options->connect_timeout_ns;
	return ERR_OK;
}

enum err_code http_pool_prepare_tls(struct http_pool *pool, struct err *err)
{
	static const struct bytes none;
	if (pool->tls)
		return ERR_OK;
	return tls_client_context_new(buf_bytes(&pool->ca_pem), none, none, &pool->tls, err);
}

struct bytes http_origin_authority(const struct http_origin *origin)
{
	return origin->authority;
}

struct bytes http_origin_base_path(const struct http_origin *origin)
{
	return origin->base_path;
}

void http_write_request_head(struct buf *out, const char *method, struct bytes target,
			     struct bytes authority, const struct bytes *names,
			     const struct bytes *values, size_t field_count, int64_t content_length)
{
	buf_append_cstr(out, method);
	buf_append_char(out, ' ');
	buf_append_bytes(out, target);
	buf_append_cstr(out, " HTTP/1.1\r\nhost: ");
	buf_append_bytes(out, authority);
	for (size_t i = 0; i < field_count; i++) {
		buf_append_cstr(out, "\r\n");
		buf_append_bytes(out, names[i]);
		buf_append_cstr(out, ": ");
		buf_append_bytes(out, values[i]);
	}
	if (content_length >= 0)
		buf_printf(out, "\r\ncontent-length: %lld", (long long)content_length);
	buf_append_cstr(out, "\r\n\r\n");
}
