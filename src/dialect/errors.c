/* How each dialect names a status, and errors read back. */
#include "dialect/ops.h"

/* ---- statuses ---- */

/* clang-format off */
static const struct status_names status_table[] = {
	{400, "invalid_request_error", "invalid_request_error", NULL,                  "INVALID_ARGUMENT"},
	{401, "authentication_error",  "invalid_request_error", "invalid_api_key",     "UNAUTHENTICATED"},
	{402, "billing_error",         "insufficient_quota",    "insufficient_quota",  "FAILED_PRECONDITION"},
	{403, "permission_error",      "permission_error",      "permission_denied",   "PERMISSION_DENIED"},
	{404, "not_found_error",       "invalid_request_error", "not_found",           "NOT_FOUND"},
	{408, "invalid_request_error", "invalid_request_error", "timeout",             "DEADLINE_EXCEEDED"},
	{409, "conflict_error",        "invalid_request_error", "conflict",            "ABORTED"},
	{413, "request_too_large",     "invalid_request_error", "request_too_large",   "INVALID_ARGUMENT"},
	{429, "rate_limit_error",      "rate_limit_error",      "rate_limit_exceeded", "RESOURCE_EXHAUSTED"},
	{500, "api_error",             "server_error",          NULL,                  "INTERNAL"},
	{502, "api_error",             "server_error",          "upstream_error",      "UNAVAILABLE"},
	{503, "overloaded_error",      "server_error",          "service_unavailable", "UNAVAILABLE"},
	{504, "timeout_error",         "server_error",          "timeout",             "DEADLINE_EXCEEDED"},
	{529, "overloaded_error",      "server_error",          "overloaded",          "UNAVAILABLE"},
};
/* clang-format on */

const struct status_names *dialect_status_names(int status)
{
	const struct status_names *fallback = NULL;
	for (size_t i = 0; i < sizeof(status_table) / sizeof(status_table[0]); i++) {
		if (status_table[i].status == status)
			return &status_table[i];
		if (status_table[i].status == (status < 500 ? 400 : 500))
			fallback = &status_table[i];
	}
	return fallback;
}

static void copy_member(struct json_value object, const char *key, char *out, size_t size)
{
	struct bytes text;
	out[0] = '\0';
	if (!json_value_plain_string(json_scan_find(object, key), &text) || text.size >= size)
		return;
	memcpy(out, text.data, text.size);
	out[text.size] = '\0';
}

static void copy_message(struct json_value message, char *out, size_t size)
{
	struct buf text = BUF_INIT((size_t)1 << 20);
	out[0] = '\0';
	if (message.type == JSON_SCAN_STRING && buf_reserve(&text, message.text.size)) {
		size_t length = json_value_decode(message, text.data);
		if (length >= size) { /* cut between characters */
			length = size - 1;
			while (length && ((unsigned char)text.data[length] & 0xc0) == 0x80)
				length--;
		}
		memcpy(out, text.data, length);
		out[length] = '\0';
	}
	buf_release(&text);
}

bool dialect_failure_read(enum dialect_id dialect, struct bytes body, struct dialect_failure *out)
{
	struct json_scan scan;
	memset(out, 0, sizeof(*out));
	if (json_scan_text(&scan, body, "the error", NULL) != ERR_OK)
		return false;
	struct json_value root = json_value_at(body);
	struct json_value error = json_scan_find(root, "error");
	if (dialect == DIALECT_MISTRAL && error.type == JSON_SCAN_NOTHING)
		error = root; /* its members stand at the top */
	if (error.type == JSON_SCAN_STRING) {
		copy_message(error, out->message, sizeof(out->message));
		return true;
	}
	if (error.type != JSON_SCAN_OBJECT)
		return false;
	bool gemini = dialect == DIALECT_GEMINI; /* its `code` is the HTTP status */
	copy_member(error, gemini ? "status" : "type", out->type, sizeof(out->type));
	copy_member(error, "code", out->code, sizeof(out->code));
	copy_message(json_scan_find(error, "message"), out->message, sizeof(out->message));
	return error.text.data != root.text.data || out->message[0];
}
