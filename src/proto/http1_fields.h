/* The fields of a head that decide over the message, for http1.c alone. */
#ifndef PROTO_HTTP1_FIELDS_H
#define PROTO_HTTP1_FIELDS_H

#include "proto/http1.h"

/* The id of a well-known field by its name in any case, or -1. */
int http_field_lookup(struct bytes name);

/* How a second field of that name is refused; HTTP_REFUSAL_NONE where it is allowed. */
enum http_refusal http_field_repeated(enum http_field_id id);

/* What a complete head means: body framing, keep-alive, Host, Expect. */
enum http_refusal http_request_check(struct http_head *head, const char *data);
enum http_refusal http_response_check(struct http_head *head, const char *data, bool head_only);

#endif
