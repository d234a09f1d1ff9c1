#include "proto/http1_fields.h"

/* ---- well-known fields ---- */

static const struct {
	struct bytes name;
	bool once;
} known_fields[HTTP_FIELD_COUNT] = {
/* clang-format off */
#define X(id, text, once) [HTTP_FIELD_##id] = {BYTES_INIT(text), once},
	HTTP_FIELD_TABLE(X)
#undef X
	/* clang-format on */
};

/* By size: the ids of that many bytes, as a bit set, so that a lookup compares one or two names. */
#define SIZE_MAX_KNOWN 18
static const uint32_t ids_by_size[SIZE_MAX_KNOWN + 1] = {
#define BIT(id) (1u << HTTP_FIELD_##id)
	[4] = BIT(HOST),
	[6] = BIT(EXPECT) | BIT(ACCEPT) | BIT(ORIGIN),
	[9] = BIT(API_KEY),
	[10] = BIT(CONNECTION) | BIT(USER_AGENT) | BIT(REQUEST_ID) | BIT(PARLEY_RUN),
	[11] = BIT(RETRY_AFTER) | BIT(PARLEY_LEAF),
	[12] = BIT(CONTENT_TYPE) | BIT(X_REQUEST_ID) | BIT(PARLEY_NONCE),
	[13] = BIT(AUTHORIZATION) | BIT(PARLEY_ACCEPT) | BIT(PARLEY_RECORD),
	[14] = BIT(CONTENT_LENGTH) | BIT(RETRY_AFTER_MS) | BIT(SHOULD_RETRY) | BIT(GOOGLE_API_KEY) |
	       BIT(ANTHROPIC_BETA) | BIT(PARLEY_PURPOSE),
	[16] = BIT(CONTENT_ENCODING),
	[17] = BIT(TRANSFER_ENCODING) | BIT(ANTHROPIC_VERSION),
	[18] = BIT(PARLEY_SIMULATED),
#undef BIT
};

_Static_assert(HTTP_FIELD_COUNT <= 32, "the bit sets have 32 bits");

/* Eight bytes in lower case, if they are letters; '-' stays what it is. */
static uint64_t lower_8(const char *p)
{
	uint64_t bytes;
	memcpy(&bytes, p, sizeof(bytes));
	return bytes | 0x2020202020202020u;
}

static uint32_t lower_4(const char *p)
{
	uint32_t bytes;
	memcpy(&bytes, p, sizeof(bytes));
	return bytes | 0x20202020u;
}

/* Whether a token is the known name of the same size (4 bytes or more, of letters and '-'; no other
 * token byte becomes one of these by setting the bit 0x20). */
static bool same_name(const char *token, const char *known, size_t size)
{
	if (size < 8)
		return lower_4(token) == lower_4(known) &&
		       lower_4(token + size - 4) == lower_4(known + size - 4);
	for (size_t at = 0; at + 8 <= size; at += 8)
		if (lower_8(token + at) != lower_8(known + at))
			return false;
	return lower_8(token + size - 8) == lower_8(known + size - 8);
}

int http_field_lookup(struct bytes name)
{
	if (name.size > SIZE_MAX_KNOWN)
		return -1;
	for (uint32_t set = ids_by_size[name.size]; set; set &= set - 1) {
		int id = __builtin_ctz(set);
		if (same_name(name.data, known_fields[id].name.data, name.size))
			return id;
	}
	return -1;
}

enum http_refusal http_field_repeated(enum http_field_id id)
{
	if (!known_fields[id].once)
		return HTTP_REFUSAL_NONE;
	switch (id) {
	case HTTP_FIELD_HOST:
		return HTTP_REFUSAL_HOST;
	case HTTP_FIELD_CONTENT_LENGTH:
		return HTTP_REFUSAL_LENGTH_REPEATED;
	case HTTP_FIELD_TRANSFER_ENCODING:
		return HTTP_REFUSAL_CODING;
	case HTTP_FIELD_EXPECT:
		return HTTP_REFUSAL_EXPECT;
	case HTTP_FIELD_AUTHORIZATION:
	case HTTP_FIELD_API_KEY:
	case HTTP_FIELD_GOOGLE_API_KEY:
		return HTTP_REFUSAL_CREDENTIALS;
	default:
		return HTTP_REFUSAL_REPEATED;
	}
}

struct bytes http_field_value(const struct http_head *head, const char *data, const char *name)
{
	struct bytes wanted = bytes_from(name);
	for (unsigned i = 0; i < head->field_count; i++) {
		struct bytes found = http_bytes(data, head->fields[i].name);
		if (found.size == wanted.size && bytes_equal_fold(found, wanted))
			return http_bytes(data, head->fields[i].value);
	}
	return bytes_of(NULL, 0);
}

bool http_list_has(struct bytes list, const char *element)
{
	struct bytes wanted = bytes_from(element);
	for (struct bytes rest = list; rest.data;)
		if (bytes_equal_fold(bytes_trim(bytes_split(rest, ',', &rest)), wanted))
			return true;
	return false;
}

bool http_credential(const struct http_head *head, const char *data, struct bytes *key)
{
	static const enum http_field_id fields[] = {HTTP_FIELD_API_KEY, HTTP_FIELD_GOOGLE_API_KEY};
	static const struct bytes scheme = {"bearer ", 7};
	struct bytes authorization = http_known(head, data, HTTP_FIELD_AUTHORIZATION);
	struct bytes found = bytes_of(NULL, 0);
	if (authorization.size > scheme.size &&
	    bytes_equal_fold(bytes_of(authorization.data, scheme.size), scheme))
		found = bytes_trim(bytes_of(authorization.data + scheme.size,
					    authorization.size - scheme.size));
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct bytes other = http_known(head, data, fields[i]);
		if (!other.data)
			continue;
		if ((found.data || authorization.data) && !bytes_equal(found, other))
			return false;
		found = other;
	}
	*key = found;
	return true;
}

/* ---- Host ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static const bool host_bytes[256] = {
	['-'] = true,         ['.'] = true, ['0' ... '9'] = true,
	['A' ... 'Z'] = true, ['_'] = true, ['a' ... 'z'] = true,
};

static bool is_host_byte(char c)
{
	return host_bytes[(unsigned char)c];
}

/* The size of the host part at the start of `text`, 0 if it is none. */
static size_t host_size(struct bytes text)
{
	size_t i = 0;
	if (text.size && text.data[0] == '[') {
		for (i = 1; i < text.size &&
			    (is_hex(text.data[i]) || text.data[i] == ':' || text.data[i] == '.');)
			i++;
		return i > 2 && i < text.size && text.data[i] == ']' ? i + 1 : 0;
	}
	while (i < text.size && is_host_byte(text.data[i]))
		i++;
	return i <= 255 ? i : 0;
}

bool http_is_authority(struct bytes text)
{
	size_t host = host_size(text);
	uint64_t port;
	if (host == 0)
		return false;
	if (host == text.size)
		return true;
	return text.data[host] == ':' &&
	       bytes_to_u64(bytes_of(text.data + host + 1, text.size - host - 1), 65535, &port);
}

static enum http_refusal check_host(const struct http_head *head, const char *data)
{
	if (!http_has(head, HTTP_FIELD_HOST))
		return head->minor == 0 && head->authority.size == 0 ? HTTP_REFUSAL_NONE
								     : HTTP_REFUSAL_HOST;
	struct bytes host = http_known(head, data, HTTP_FIELD_HOST);
	if (!http_is_authority(host))
		return HTTP_REFUSAL_HOST;
	if (head->authority.size && !bytes_equal_fold(host, http_bytes(data, head->authority)))
		return HTTP_REFUSAL_HOST_MISMATCH;
	return HTTP_REFUSAL_NONE;
}

/* ---- body framing (RFC 9112, section 6) ---- */

static enum http_refusal check_framing(struct http_head *head, const char *data)
{
	bool coded = http_has(head, HTTP_FIELD_TRANSFER_ENCODING);
	bool sized = http_has(head, HTTP_FIELD_CONTENT_LENGTH);
	if (coded && sized)
		return HTTP_REFUSAL_LENGTH_AND_CODING;
	if (coded) {
		if (head->minor == 0)
			return HTTP_REFUSAL_CODING_OLD;
		if (!bytes_equal_fold(http_known(head, data, HTTP_FIELD_TRANSFER_ENCODING),
				      BYTES("chunked")))
			return HTTP_REFUSAL_CODING;
		head->body = HTTP_BODY_CHUNKED;
	}
	if (sized) {
		struct bytes text = http_known(head, data, HTTP_FIELD_CONTENT_LENGTH);
		if (text.size > 10 || !bytes_to_u64(text, 9999999999, &head->content_length))
			return HTTP_REFUSAL_LENGTH;
		head->body = HTTP_BODY_LENGTH;
	}
	return HTTP_REFUSAL_NONE;
}

/* ---- Connection, Expect ---- */

static bool is_connection_field(const struct http_head *head, const char *data, unsigned i)
{
	return bytes_equal_fold(http_bytes(data, head->fields[i].name), BYTES("connection"));
}

/* Connection options name fields meant for the next hop only; these never are: what the gateway
 * goes by, and what it passes on. */
static bool names_end_to_end_field(struct bytes list)
{
	static const char *const fields[] = {"host",
					     "content-length",
					     "transfer-encoding",
					     "authorization",
					     "x-api-key",
					     "x-goog-api-key",
					     "content-type",
					     "content-encoding",
					     "expect",
					     "anthropic-version",
					     "anthropic-beta",
					     "parley-run",
					     "parley-accept",
					     "parley-leaf",
					     "parley-purpose",
					     "signature",
					     "signature-input",
					     "content-digest"};
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (http_list_has(list, fields[i]))
			return true;
	return false;
}

static enum http_refusal check_connection(struct http_head *head, const char *data)
{
	head->keep_alive = head->minor == 1;
	unsigned first = head->known[HTTP_FIELD_CONNECTION];
	if (first == 0)
		return HTTP_REFUSAL_NONE;
	bool close = false;
	for (unsigned i = first - 1; i < head->field_count; i++) {
		if (!is_connection_field(head, data, i))
			continue;
		struct bytes value = http_bytes(data, head->fields[i].value);
		if (bytes_equal_fold(value, BYTES("keep-alive"))) {
			head->keep_alive = true; /* by far the most frequent */
			continue;
		}
		if (names_end_to_end_field(value))
			return HTTP_REFUSAL_CONNECTION;
		close = close || http_list_has(value, "close");
		head->keep_alive = head->keep_alive || http_list_has(value, "keep-alive");
	}
	head->keep_alive = head->keep_alive && !close;
	return HTTP_REFUSAL_NONE;
}

static enum http_refusal check_expect(struct http_head *head, const char *data)
{
	if (!http_has(head, HTTP_FIELD_EXPECT))
		return HTTP_REFUSAL_NONE;
	if (!bytes_equal_fold(http_known(head, data, HTTP_FIELD_EXPECT), BYTES("100-continue")))
		return HTTP_REFUSAL_EXPECT;
	head->expect_continue = head->minor == 1 && head->body != HTTP_BODY_NONE;
	return HTTP_REFUSAL_NONE;
}

enum http_refusal http_request_check(struct http_head *head, const char *data)
{
	static enum http_refusal (*const checks[])(struct http_head *, const char *) = {
		check_framing, check_connection, check_expect};
	enum http_refusal refusal = check_host(head, data);
	for (size_t i = 0; i < 3 && refusal == HTTP_REFUSAL_NONE; i++)
		refusal = checks[i](head, data);
	if (head->body == HTTP_BODY_LENGTH && head->content_length == 0)
		head->body = HTTP_BODY_NONE;
	return refusal;
}

enum http_refusal http_response_check(struct http_head *head, const char *data, bool head_only)
{
	enum http_refusal refusal = check_framing(head, data);
	if (refusal == HTTP_REFUSAL_NONE)
		refusal = check_connection(head, data);
	if (refusal != HTTP_REFUSAL_NONE)
		return refusal;
	if (head_only || head->status < 200 || head->status == 204 || head->status == 304) {
		head->body = HTTP_BODY_NONE;
	} else if (head->body == HTTP_BODY_NONE) {
		head->body = HTTP_BODY_UNTIL_CLOSE;
		head->keep_alive = false;
	}
	return HTTP_REFUSAL_NONE;
}

/* ---- names of statuses ---- */

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{100, "Continue"                       },
		{200, "OK"			     },
		{201, "Created"                        },
		{202, "Accepted"                       },
		{204, "No Content"                     },
		{301, "Moved Permanently"              },
		{302, "Found"                          },
		{304, "Not Modified"                   },
		{307, "Temporary Redirect"             },
		{400, "Bad Request"                    },
		{401, "Unauthorized"                   },
		{402, "Payment Required"               },
		{403, "Forbidden"                      },
		{404, "Not Found"                      },
		{405, "Method Not Allowed"             },
		{408, "Request Timeout"                },
		{409, "Conflict"                       },
		{410, "Gone"                           },
		{411, "Length Required"                },
		{413, "Content Too Large"              },
		{414, "URI Too Long"                   },
		{415, "Unsupported Media Type"         },
		{417, "Expectation Failed"             },
		{421, "Misdirected Request"            },
		{422, "Unprocessable Content"          },
		{425, "Too Early"                      },
		{429, "Too Many Requests"              },
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"          },
		{501, "Not Implemented"                },
		{502, "Bad Gateway"                    },
		{503, "Service Unavailable"            },
		{504, "Gateway Timeout"                },
		{505, "HTTP Version Not Supported"     },
		{529, "Overloaded"                     },
	};
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "";
}
