/* Heads of HTTP/1.1 messages (RFC 9112), parsed strictly in the caller's buffer: what is unclear is
 * refused, never mended. Nothing is copied; results are offsets, so that the buffer may move.
 *
 *     struct http_head head;
 *     http_head_start(&head);
 *     for (;;) { … receive into buffer …
 *             switch (http_request_parse(&head, buffer, size)) { case HTTP_MORE: continue; … } }
 *
 * A head that arrives in pieces is parsed line by line as it comes; the same buffer (perhaps moved,
 * with more bytes at its end) is given each time. */
#ifndef PROTO_HTTP1_H
#define PROTO_HTTP1_H

#include "base/bytes.h"

#define HTTP_HEAD_MAX 16384
#define HTTP_FIELDS_MAX 64
#define HTTP_TARGET_MAX 8192

enum http_parse { HTTP_MORE, HTTP_COMPLETE, HTTP_REFUSED };

/* Why a message is refused: name, status to answer with, text for the client. The connection is
 * closed after every one of them. */
/* clang-format off */
#define HTTP_REFUSAL_TABLE(X) \
	X(NONE,                 200, "") \
	X(START_LINE,           400, "the start line is not that of an HTTP/1.1 message") \
	X(METHOD,               400, "the method is not a token") \
	X(TARGET,               400, "the request target is not an absolute path or a matching URL") \
	X(TARGET_TOO_LONG,      414, "the request target is longer than 8192 bytes") \
	X(CONNECT,              405, "CONNECT, OPTIONS * and other forms without a path are not served") \
	X(VERSION,              505, "the HTTP version is neither 1.0 nor 1.1") \
	X(STATUS,               400, "the status code is not three digits from 100 to 599") \
	X(LINE_END,             400, "a line does not end with CR LF") \
	X(FOLDED,               400, "a header field is folded over several lines") \
	X(FIELD_NAME,           400, "a header field name is empty, not a token, or followed by a space") \
	X(FIELD_VALUE,          400, "a header field value has a control byte") \
	X(TOO_MANY_FIELDS,      431, "there are more than 64 header fields") \
	X(HEAD_TOO_LARGE,       431, "the head is larger than 16384 bytes") \
	X(HOST,                 400, "there is not exactly one valid Host field") \
	X(HOST_MISMATCH,        400, "the URL in the request line and the Host field differ") \
	X(LENGTH,               400, "Content-Length is not a plain number of at most 10 digits") \
	X(LENGTH_REPEATED,      400, "Content-Length is given more than once") \
	X(LENGTH_AND_CODING,    400, "Content-Length and Transfer-Encoding are both given") \
	X(CODING,               501, "Transfer-Encoding is not exactly \"chunked\"") \
	X(CODING_OLD,           400, "Transfer-Encoding stands in an HTTP/1.0 message") \
	X(CONNECTION,           400, "Connection names a field that must reach its end") \
	X(EXPECT,               417, "Expect is not \"100-continue\"") \
	X(CREDENTIALS,          400, "a credential field is given more than once") \
	X(REPEATED,             400, "a header field that may stand once is given more than once") \
	X(CHUNK_SIZE,           400, "a chunk size is not 1 to 8 hexadecimal digits") \
	X(CHUNK_EXTENSION,      400, "a chunk extension is too long or has a quote or control byte") \
	X(CHUNK_END,            400, "a chunk does not end with CR LF") \
	X(TRAILER,              400, "the trailer section is malformed or larger than 2048 bytes")
/* clang-format on */

enum http_refusal {
#define X(name, status, text) HTTP_REFUSAL_##name,
	HTTP_REFUSAL_TABLE(X)
#undef X
};

int http_refusal_status(enum http_refusal refusal);
const char *http_refusal_text(enum http_refusal refusal);

/* Fields that are looked for on every message; found by the parser as it goes. The third column:
 * more than one of it is refused. */
/* clang-format off */
#define HTTP_FIELD_TABLE(X) \
	X(HOST,                "host",                1) \
	X(CONTENT_LENGTH,      "content-length",      1) \
	X(TRANSFER_ENCODING,   "transfer-encoding",   1) \
	X(CONNECTION,          "connection",          0) \
	X(EXPECT,              "expect",              1) \
	X(CONTENT_TYPE,        "content-type",        1) \
	X(CONTENT_ENCODING,    "content-encoding",    1) \
	X(AUTHORIZATION,       "authorization",       1) \
	X(API_KEY,             "x-api-key",           1) \
	X(GOOGLE_API_KEY,      "x-goog-api-key",      1) \
	X(ANTHROPIC_VERSION,   "anthropic-version",   1) \
	X(ANTHROPIC_BETA,      "anthropic-beta",      0) \
	X(ACCEPT,              "accept",              0) \
	X(USER_AGENT,          "user-agent",          0) \
	X(RETRY_AFTER,         "retry-after",         0) \
	X(RETRY_AFTER_MS,      "retry-after-ms",      0) \
	X(SHOULD_RETRY,        "x-should-retry",      0) \
	X(REQUEST_ID,          "request-id",          0) \
	X(X_REQUEST_ID,        "x-request-id",        0) \
	X(PARLEY_RUN,          "parley-run",          1) \
	X(PARLEY_ACCEPT,       "parley-accept",       1) \
	X(PARLEY_LEAF,         "parley-leaf",         1) \
	X(PARLEY_PURPOSE,      "parley-purpose",      1) \
	X(PARLEY_RECORD,       "parley-record",       1) \
	X(PARLEY_NONCE,        "parley-nonce",        1) \
	X(PARLEY_SIMULATED,    "x-parley-simulated",  0) \
	X(ORIGIN,              "origin",              1)
/* clang-format on */

enum http_field_id {
#define X(name, text, once) HTTP_FIELD_##name,
	HTTP_FIELD_TABLE(X)
#undef X
		HTTP_FIELD_COUNT
};

struct http_span {
	uint16_t at, size;
};

struct http_field {
	struct http_span name;  /* as sent */
	struct http_span value; /* without white space at both ends */
};

enum http_body_kind {
	HTTP_BODY_NONE,
	HTTP_BODY_LENGTH,
	HTTP_BODY_CHUNKED,
	HTTP_BODY_UNTIL_CLOSE, /* responses only */
};

struct http_head {
	enum http_refusal refusal;
	uint16_t size; /* of the whole head with its empty line, once complete */
	uint16_t field_count;
	uint8_t minor;   /* HTTP/1.minor */
	bool keep_alive; /* the peer lets the connection be used again */
	bool expect_continue;
	enum http_body_kind body;
	uint64_t content_length; /* with HTTP_BODY_LENGTH (0 is HTTP_BODY_NONE in requests) */
	/* Requests. */
	struct http_span method;
	struct http_span path;   /* from the first '/' to '?', never empty */
	struct http_span query;  /* after '?', perhaps empty */
	struct http_span target; /* path and query: what an upstream would be asked */
	/* Responses. */
	uint16_t status;
	struct http_span reason;

	uint8_t known[HTTP_FIELD_COUNT]; /* index into fields plus one; 0: absent. The first one. */
	/* Private. */
	uint16_t parsed;            /* lines before this offset are done */
	bool started;               /* the start line is done */
	struct http_span authority; /* of a URL in the request line */

	struct http_field fields[HTTP_FIELDS_MAX];
};

/* Before the first byte of a message. */
void http_head_start(struct http_head *head);

/* HTTP_COMPLETE: `head->size` bytes were the head, the body starts after them. HTTP_REFUSED:
 * head->refusal says why. One empty line before a request is skipped (RFC 9112, 2.2). */
enum http_parse http_request_parse(struct http_head *head, const char *data, size_t size);

/* The same for a response. A 1xx head is complete like any other and has no body. `head_only`: the
 * answer to a HEAD request, which has no body whatever its fields say. */
enum http_parse http_response_parse(struct http_head *head, const char *data, size_t size,
				    bool head_only);

static inline struct bytes http_bytes(const char *data, struct http_span span)
{
	return bytes_of(data + span.at, span.size);
}

static inline bool http_has(const struct http_head *head, enum http_field_id id)
{
	return head->known[id] != 0;
}

/* The (first) value of a well-known field; empty with a NULL pointer when it is absent. */
static inline struct bytes http_known(const struct http_head *head, const char *data,
				      enum http_field_id id)
{
	if (head->known[id] == 0)
		return bytes_of(NULL, 0);
	return http_bytes(data, head->fields[head->known[id] - 1].value);
}

/* Any field by its name in any case; empty with a NULL pointer when it is absent. */
struct bytes http_field_value(const struct http_head *head, const char *data, const char *name);

/* Whether a comma-separated list has the element (any case), e.g. Connection and "close". */
bool http_list_has(struct bytes list, const char *element);

/* The credential of a request: x-api-key, Authorization: Bearer, or x-goog-api-key, whichever is
 * given; empty with a NULL pointer when there is none; false when two of them are given and do not
 * hold one key: they differ, or Authorization holds something else. */
bool http_credential(const struct http_head *head, const char *data, struct bytes *key);

/* RFC 9110, 5.6.2: a non-empty token. */
bool http_is_token(struct bytes text);
/* Safe as a field value: no control bytes but tab. */
bool http_is_field_value(struct bytes text);
/* host[:port] as in RFC 9110, 7.2 (registered names, IPv4, bracketed IPv6). */
bool http_is_authority(struct bytes text);

/* "Not Found" and the like; "" for a status without a name. */
const char *http_reason(int status);

#endif
