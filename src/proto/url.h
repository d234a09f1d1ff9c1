/* http and https URLs (RFC 3986) as they stand in configurations and plans. */
#ifndef PROTO_URL_H
#define PROTO_URL_H

#include "base/buf.h"
#include "base/err.h"

struct url {
	bool tls;               /* https */
	struct bytes host;      /* lower or upper case as given; IPv6 without brackets */
	uint16_t port;          /* 80 or 443 where none was given */
	struct bytes authority; /* host[:port] as given: the value of a Host field */
	struct bytes path;      /* "" or from '/'; without query */
	struct bytes query;     /* after '?', or empty */
};

/* All parts point into `text`. No user information, no fragment, no control bytes or spaces; host
 * as in RFC 9110. ERR_INVALID names the text and the problem. */
enum err_code url_parse(struct bytes text, struct url *out, struct err *err);

/* Appends the path of `base` joined with `path` ("/v1/messages"): "https://x/api/" gives
 * "/api/v1/messages"; a base path that ends with "/v1" is not doubled. */
void url_join_path(const struct url *base, const char *path, struct buf *out);

/* %XX decoded, '+' kept; false on a malformed escape. */
bool url_decode(struct bytes text, struct buf *out);

#endif
