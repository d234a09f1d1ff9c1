#include "bench/rest.h"

#include "base/json.h"
#include "bench/retry.h"
#include "bench/text.h"

#include <assert.h>
#include <stdio.h>

#define REQUEST_MAX ((size_t)64 << 20)
#define FIRST_BYTE_NS 60000000000u
#define IDLE_NS 30000000000u

void rest_init(struct rest *rest, struct env_loop *loop)
{
	*rest = (struct rest){.loop = loop, .retry_after_ms = -1};
	buf_init(&rest->head, 16384);
	buf_init(&rest->body, REQUEST_MAX);
	buf_init(&rest->response, REST_RESPONSE_MAX);
}

void rest_release(struct rest *rest)
{
	if (rest->busy)
		http_call_cancel(&rest->call);
	rest->busy = false;
	buf_release(&rest->head);
	buf_release(&rest->body);
	buf_release(&rest->response);
}

static void take_head(struct http_call *call, const struct http_head *head, struct bytes head_bytes)
{
	struct rest *rest = (struct rest *)call;
	struct bytes type = http_known(head, head_bytes.data, HTTP_FIELD_CONTENT_TYPE);
	rest->status = head->status;
	rest->problem = bytes_starts_with(type, BYTES("application/problem+json"));
	rest->retry_after_ms = retry_after_read(
		http_known(head, head_bytes.data, HTTP_FIELD_RETRY_AFTER_MS),
		http_known(head, head_bytes.data, HTTP_FIELD_RETRY_AFTER), rest->loop->wall_ms);
}

static void take_body(struct http_call *call, struct bytes piece)
{
	struct rest *rest = (struct rest *)call;
	buf_append_bytes(&rest->response, piece);
}

static void take_end(struct http_call *call, const struct err *err)
{
	struct rest *rest = (struct rest *)call;
	struct err own = *err;
	rest->busy = false;
	if (own.code == ERR_OK && rest->response.failed)
		ERR_SET(&own, ERR_TOO_LARGE, "the response is larger than %zu bytes",
			REST_RESPONSE_MAX);
	rest->done(rest, &own);
}

static void append_path(struct buf *out, const struct http_origin *origin, const char *path)
{
	struct bytes base = http_origin_base_path(origin);
	if (bytes_ends_with(base, BYTES("/v1")))
		base.size -= 3;
	buf_append_bytes(out, base);
	buf_append_cstr(out, path);
}

void rest_start(struct rest *rest, struct http_origin *origin, const char *method, const char *path,
		struct bytes credential, struct bytes body)
{
	const struct bytes names[] = {BYTES("content-type"), BYTES("user-agent")};
	const struct bytes values[] = {BYTES("application/json"),
				       BYTES("parley-bench/" PARLEY_VERSION)};
	struct buf target = BUF_INIT(HTTP_TARGET_MAX);
	bool get = strcmp(method, "GET") == 0;
	assert(!rest->busy);
	rest->busy = true;
	rest->status = 0;
	rest->retry_after_ms = -1;
	rest->problem = false;
	buf_clear(&rest->head);
	buf_clear(&rest->body);
	buf_clear(&rest->response);
	buf_append_bytes(&rest->body, body);
	append_path(&target, origin, path);
	http_write_request_head(&rest->head, method, buf_bytes(&target),
				http_origin_authority(origin), get ? names + 1 : names,
				get ? values + 1 : values, get ? 1 : 2,
				get ? -1 : (int64_t)rest->body.size);
	struct signer_request signing = {.method = method,
					 .authority = http_origin_authority(origin),
					 .target = buf_bytes(&target),
					 .has_body = rest->body.size > 0,
					 .body = buf_bytes(&rest->body),
					 .wall_ms = rest->loop->wall_ms};
	if (rest->signer)
		signer_sign(rest->signer, &signing, &rest->head);
	buf_release(&target);
	if (rest->head.size >= 2) {
		rest->head.size -= 2;
		buf_append_bytes(&rest->head, credential);
		buf_append_cstr(&rest->head, "\r\n");
	}
	rest->call = (struct http_call){
		.parts = {{rest->head.data, rest->head.size}, {rest->body.data, rest->body.size}},
		.part_count = rest->body.size > 0 ? 2 : 1,
		.first_byte_ns = FIRST_BYTE_NS,
		.idle_ns = IDLE_NS,
		.head = take_head,
		.body = take_body,
		.ended = take_end,
	};
	http_call_start(origin, &rest->call);
}

void rest_describe(const struct rest *rest, char *out, size_t size)
{
	json_t *tree = NULL;
	char line[1024];
	const char *detail = NULL;
	if (json_parse(buf_bytes(&rest->response), "the response", &tree, NULL) == ERR_OK) {
		detail = json_string_value(json_object_get(tree, "detail"));
		if (!detail)
			detail = json_string_value(json_object_get(tree, "title"));
		if (!detail)
			detail = json_string_value(
				json_object_get(json_object_get(tree, "error"), "message"));
	}
	snprintf(line, sizeof(line), "HTTP %d%s%s", rest->status, detail ? ": " : "",
		 detail ? detail : "");
	text_line(out, size, bytes_from(line));
	json_decref(tree);
}
