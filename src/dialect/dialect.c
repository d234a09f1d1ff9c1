#include "dialect/ops.h"

static const struct dialect_ops *const all_ops[] = {&dialect_anthropic, &dialect_openai};
#define OPS_COUNT (sizeof(all_ops) / sizeof(all_ops[0]))

const struct dialect_ops *dialect_ops_of(enum dialect_id dialect)
{
	for (size_t i = 0; i < OPS_COUNT; i++)
		if (all_ops[i]->id == dialect)
			return all_ops[i];
	return NULL;
}

enum dialect_id dialect_from_name(struct bytes name)
{
	for (size_t i = 0; i < OPS_COUNT; i++)
		if (bytes_is(name, all_ops[i]->name))
			return all_ops[i]->id;
	return DIALECT_NONE;
}

const char *dialect_name(enum dialect_id dialect)
{
	const struct dialect_ops *ops = dialect_ops_of(dialect);
	return ops ? ops->name : "none";
}

const char *dialect_path(enum dialect_id dialect)
{
	const struct dialect_ops *ops = dialect_ops_of(dialect);
	return ops ? ops->path : "";
}

void dialect_credential_fields(enum dialect_id dialect, const char *key, struct buf *out)
{
	const struct dialect_ops *ops = dialect_ops_of(dialect);
	buf_append_cstr(out, ops->credential_name);
	buf_append_cstr(out, key);
	buf_append_cstr(out, ops->credential_end);
}

/* ---- endpoints ---- */

static const struct dialect_endpoint endpoints[] = {
	{"POST", "/v1/messages",              DIALECT_ANTHROPIC, ENDPOINT_MESSAGES        },
	{"POST", "/v1/messages/count_tokens", DIALECT_ANTHROPIC, ENDPOINT_COUNT_TOKENS    },
	{"POST", "/v1/chat/completions",      DIALECT_OPENAI,    ENDPOINT_CHAT_COMPLETIONS},
 /* The last two differ by a header alone. */
	{"GET",  "/v1/models",                DIALECT_OPENAI,    ENDPOINT_MODELS          },
	{"GET",  "/v1/models",                DIALECT_ANTHROPIC, ENDPOINT_MODELS          },
};

const struct dialect_endpoint *dialect_endpoint_find(struct bytes method, struct bytes path,
						     bool anthropic_version)
{
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
		const struct dialect_endpoint *row = &endpoints[i];
		if (!bytes_is(path, row->path) || !bytes_is(method, row->method))
			continue;
		if (row->kind == ENDPOINT_MODELS)
			return row + (anthropic_version ? 1 : 0);
		return row;
	}
	return NULL;
}

enum dialect_id dialect_guess(struct bytes path, bool anthropic_version)
{
	if (anthropic_version || bytes_starts_with(path, BYTES("/v1/messages")))
		return DIALECT_ANTHROPIC;
	return DIALECT_OPENAI;
}

/* ---- by the ops table ---- */

void dialect_error_body(enum dialect_id dialect, const struct dialect_error *error, struct buf *out)
{
	dialect_ops_of(dialect)->error(error, out);
}

void dialect_error_event(enum dialect_id dialect, const struct dialect_error *error,
			 struct buf *out)
{
	dialect_ops_of(dialect)->error_event(error, out);
}

void dialect_limit_fields(enum dialect_id dialect, const struct dialect_limits *limits,
			  int64_t wall_ms, struct buf *out)
{
	dialect_ops_of(dialect)->limits(limits, wall_ms, out);
}

void dialect_models(enum dialect_id dialect, const struct bytes *names, size_t count,
		    int64_t created, struct buf *out)
{
	dialect_ops_of(dialect)->models(names, count, created, out);
}

void dialect_count_answer(int64_t tokens, struct buf *out)
{
	buf_printf(out, "{\"input_tokens\":%lld}", (long long)tokens);
}

void dialect_render_answer(enum dialect_id dialect, const struct dialect_rendering *answer,
			   struct buf *out)
{
	dialect_ops_of(dialect)->render_answer(answer, out);
}

void dialect_render_stream_start(enum dialect_id dialect, const struct dialect_rendering *answer,
				 struct buf *out)
{
	dialect_ops_of(dialect)->render_start(answer, out);
}

void dialect_render_stream_delta(enum dialect_id dialect, const struct dialect_rendering *answer,
				 struct buf *out)
{
	dialect_ops_of(dialect)->render_delta(answer, out);
}

void dialect_render_stream_end(enum dialect_id dialect, const struct dialect_rendering *answer,
			       struct buf *out)
{
	dialect_ops_of(dialect)->render_end(answer, out);
}

/* ---- statuses ---- */

static const struct status_names status_table[] = {
	{400, "invalid_request_error", "invalid_request_error", NULL                 },
	{401, "authentication_error",  "invalid_request_error", "invalid_api_key"    },
	{402, "billing_error",         "insufficient_quota",    "insufficient_quota" },
	{403, "permission_error",      "permission_error",      "permission_denied"  },
	{404, "not_found_error",       "invalid_request_error", "not_found"          },
	{409, "conflict_error",        "invalid_request_error", "conflict"           },
	{413, "request_too_large",     "invalid_request_error", "request_too_large"  },
	{429, "rate_limit_error",      "rate_limit_error",      "rate_limit_exceeded"},
	{500, "api_error",             "server_error",          NULL                 },
	{502, "api_error",             "server_error",          "upstream_error"     },
	{503, "overloaded_error",      "server_error",          "service_unavailable"},
	{504, "timeout_error",         "server_error",          "timeout"            },
	{529, "overloaded_error",      "server_error",          "overloaded"         },
};

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
	(void)dialect; /* both put {type, code?, message} below `error` */
	memset(out, 0, sizeof(*out));
	if (json_scan_text(&scan, body, "the error", NULL) != ERR_OK)
		return false;
	struct json_value error = json_scan_find(json_value_at(body), "error");
	if (error.type == JSON_SCAN_STRING) {
		copy_message(error, out->message, sizeof(out->message));
		return true;
	}
	if (error.type != JSON_SCAN_OBJECT)
		return false;
	copy_member(error, "type", out->type, sizeof(out->type));
	copy_member(error, "code", out->code, sizeof(out->code));
	copy_message(json_scan_find(error, "message"), out->message, sizeof(out->message));
	return true;
}
