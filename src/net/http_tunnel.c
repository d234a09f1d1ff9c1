/* A tunnel through an HTTP proxy (RFC 9110, 9.3.6), for origins with TLS: the proxy sees a host and
 * a port, and TLS from end to end after that. */
#include "net/http_client_internal.h"

#include "base/encode.h"
#include "proto/url.h"

#include <stdio.h>
#include <stdlib.h>

#define REQUEST_MAX 4096
/* Bytes of an answer that are looked at in one read; a tunnel's is a head and nothing else. */
#define PIECE 1024

/* ---- which origins ---- */

/* One entry of NO_PROXY: "*", a host, or a domain with all that is below it (with or without a dot
 * in front); each may end with ":port". */
static bool entry_matches(struct bytes entry, struct bytes host, uint16_t port)
{
	struct bytes after;
	struct bytes name = bytes_split(entry, ':', &after);
	uint64_t number;
	bool is_ipv6 = after.data && memchr(after.data, ':', after.size);
	if (is_ipv6)
		name = entry;
	else if (after.data && (!bytes_to_u64(after, 65535, &number) || number != port))
		return false;
	if (bytes_is(name, "*"))
		return true;
	if (name.size && name.data[0] == '.')
		name = bytes_of(name.data + 1, name.size - 1);
	if (name.size == 0 || name.size > host.size)
		return false;
	size_t before = host.size - name.size;
	return bytes_equal_fold(bytes_of(host.data + before, name.size), name) &&
	       (before == 0 || host.data[before - 1] == '.');
}

static bool is_excepted(const char *list, struct bytes host, uint16_t port)
{
	struct bytes rest = bytes_from(list ? list : "");
	while (rest.data) {
		struct bytes entry = bytes_trim(bytes_split(rest, ',', &rest));
		if (entry.size && entry_matches(entry, host, port))
			return true;
	}
	return false;
}

/* ---- the proxy's URL ---- */

static enum err_code read_proxy(const char *text, struct buf *plain, struct buf *credentials,
				struct url *out, struct err *err)
{
	struct bytes all = bytes_from(text);
	struct bytes scheme = BYTES("http://");
	if (!bytes_starts_with(all, scheme))
		return ERR_SET(err, ERR_INVALID,
			       "HTTPS_PROXY must be like http://[user:password@]host:port");
	struct bytes rest = bytes_of(text + scheme.size, all.size - scheme.size);
	const char *slash = memchr(rest.data, '/', rest.size);
	size_t authority = slash ? (size_t)(slash - rest.data) : rest.size;
	const char *at = memrchr(rest.data, '@', authority);
	if (at) {
		bool good = url_decode(bytes_of(rest.data, (size_t)(at - rest.data)), credentials);
		if (!good)
			return ERR_SET(err, ERR_INVALID,
				       "HTTPS_PROXY: the user or password has a broken %%XX");
		rest = bytes_of(at + 1, rest.size - (size_t)(at + 1 - rest.data));
	}
	buf_append_bytes(plain, scheme);
	buf_append_bytes(plain, rest);
	if (plain->failed)
		return ERR_SET(err, ERR_INVALID, "HTTPS_PROXY is too long");
	struct err reason = ERR_INIT; /* it may quote the text, hence not the credentials */
	if (url_parse(buf_bytes(plain), out, &reason) != ERR_OK || out->query.size ||
	    (out->path.size && !bytes_is(out->path, "/")))
		return ERR_SET(err, ERR_INVALID,
			       "HTTPS_PROXY must be like http://[user:password@]host:port");
	return ERR_OK;
}

static void write_request(struct http_origin *origin, struct bytes credentials)
{
	bool ipv6 = strchr(origin->host, ':');
	struct buf *out = &origin->tunnel_request;
	char target[sizeof(origin->host) + 16];
	snprintf(target, sizeof(target), ipv6 ? "[%s]:%u" : "%s:%u", origin->host, origin->port);
	buf_printf(out,
		   "CONNECT %s HTTP/1.1\r\nhost: %s\r\nuser-agent: parley/" PARLEY_VERSION "\r\n",
		   target, target);
	if (credentials.size) {
		buf_append_cstr(out, "proxy-authorization: Basic ");
		base64_append(out, credentials.data, credentials.size);
		buf_append_cstr(out, "\r\n");
	}
	buf_append_cstr(out, "\r\n");
}

enum err_code http_tunnel_choose(struct http_origin *origin, struct err *err)
{
	const struct http_pool_options *options = &origin->pool->options;
	struct buf plain = BUF_INIT(REQUEST_MAX), credentials = BUF_INIT(REQUEST_MAX);
	struct url url;
	buf_init(&origin->tunnel_request, REQUEST_MAX);
	if (!origin->tls || !options->https_proxy || !options->https_proxy[0] ||
	    is_excepted(options->no_proxy, bytes_from(origin->host), origin->port))
		return ERR_OK;
	enum err_code code = read_proxy(options->https_proxy, &plain, &credentials, &url, err);
	if (code == ERR_OK && url.host.size >= sizeof(origin->proxy_host))
		code = ERR_SET(err, ERR_INVALID, "HTTPS_PROXY: the host has 256 bytes or more");
	if (code == ERR_OK) {
		memcpy(origin->proxy_host, url.host.data, url.host.size);
		origin->proxy_port = url.port;
		write_request(origin, buf_bytes(&credentials));
		if (origin->tunnel_request.failed)
			code = ERR_SET(err, ERR_INVALID, "HTTPS_PROXY is too long");
	}
	if (credentials.data)
		explicit_bzero(credentials.data, credentials.size);
	buf_release(&credentials);
	buf_release(&plain);
	return code;
}

/* ---- one tunnel ---- */

void http_tunnel_start(struct http_client_connection *connection)
{
	connection->asked = 0;
	connection->in_tunnel = connection->origin->tunnel_request.size == 0;
	buf_clear(&connection->pending);
}

static bool ask(struct http_client_connection *connection)
{
	struct bytes request = buf_bytes(&connection->origin->tunnel_request);
	while (connection->asked < request.size && connection->channel.stream->writable) {
		struct iovec part = {(char *)request.data + connection->asked,
				     request.size - connection->asked};
		ssize_t sent = channel_send(&connection->channel, &part, 1);
		if (sent == ENV_RESET)
			return false;
		if (sent <= 0)
			return true;
		connection->asked += (uint32_t)sent;
	}
	return true;
}

/* The answer as far as it has come; HTTP_REFUSED with `problem` where there will be no tunnel. */
static enum http_parse read_answer(struct http_client_connection *connection, char *problem,
				   size_t problem_size)
{
	struct http_head *head = &connection->origin->pool->head;
	struct buf *in = &connection->pending;
	http_head_start(head);
	enum http_parse parsed =
		http_response_parse(head, in->data ? in->data : "", in->size, true);
	if (parsed == HTTP_MORE)
		return in->failed ? HTTP_REFUSED : HTTP_MORE;
	if (parsed == HTTP_REFUSED)
		snprintf(problem, problem_size, "the proxy's answer cannot be read: %s",
			 http_refusal_text(head->refusal));
	else if (head->status < 200 || head->status > 299)
		snprintf(problem, problem_size, "the proxy refused the tunnel with %d%s",
			 head->status,
			 head->status == 407 ? " (user and password belong into HTTPS_PROXY)" : "");
	else if (in->size > head->size)
		snprintf(problem, problem_size, "the proxy sent more than its answer");
	else
		return HTTP_COMPLETE;
	return HTTP_REFUSED;
}

enum http_parse http_tunnel_advance(struct http_client_connection *connection, char *problem,
				    size_t problem_size)
{
	char piece[PIECE];
	snprintf(problem, problem_size, "the proxy closed the connection");
	if (!ask(connection))
		return HTTP_REFUSED;
	while (channel_readable(&connection->channel)) {
		ssize_t got = channel_receive(&connection->channel, piece, sizeof(piece));
		if (got == ENV_AGAIN)
			break;
		if (got <= 0)
			return HTTP_REFUSED;
		buf_append(&connection->pending, piece, (size_t)got);
		enum http_parse parsed = read_answer(connection, problem, problem_size);
		if (parsed != HTTP_MORE)
			return parsed;
	}
	return HTTP_MORE;
}
