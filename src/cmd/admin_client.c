#include "cmd/admin_client.h"

#include "gate/config.h"
#include "net/http_client.h"
#include "proto/tls.h"

#include <stdlib.h>

#define ANSWER_MAX ((size_t)64 << 20)
#define SECOND_NS 1000000000ull

struct calling {
	struct env_loop *loop;
	struct http_call call;
	int status;
	struct buf body;
	struct err err;
};

static void call_head(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct calling *calling = call->user;
	(void)bytes;
	calling->status = head->status;
}

static void call_body(struct http_call *call, struct bytes piece)
{
	struct calling *calling = call->user;
	buf_append_bytes(&calling->body, piece);
}

static void call_ended(struct http_call *call, const struct err *err)
{
	struct calling *calling = call->user;
	calling->err = *err;
	env_loop_stop(calling->loop);
}

/* The variables of the configuration are the gateway's: a client only wants to know where the data
 * is, so that it need not have the providers' keys. */
static const char *any_variable(const char *name)
{
	const char *value = getenv(name);
	return value ? value : "unset";
}

static enum err_code socket_url(struct env *env, const char *config_file, struct buf *out,
				struct err *err)
{
	struct config *config = NULL;
	char path[1024];
	if (config_load_text(env, config_file, any_variable, &config, err) != ERR_OK)
		return err_to_usage(err);
	enum err_code code = config_data_path(config, "admin.sock", path, sizeof(path), err);
	config_free(config);
	buf_printf(out, "unix:%s", path);
	return code;
}

static enum err_code exchange(struct env *env, struct http_pool *pool, struct bytes url,
			      struct calling *calling, const char *method, const char *target,
			      struct bytes body, struct err *err)
{
	struct http_origin *origin;
	struct buf head = BUF_INIT(65536);
	const struct bytes name = BYTES("content-type"), value = BYTES("application/json");
	(void)env;
	ERR_TRY(http_pool_origin(pool, url, &origin, err));
	http_write_request_head(&head, method, bytes_from(target), http_origin_authority(origin),
				&name, &value, 1, (int64_t)body.size);
	calling->call = (struct http_call){
		.parts = {{head.data, head.size}, {(void *)body.data, body.size}},
		.part_count = body.size ? 2 : 1,
 /* An act waits for its record; what is only shown is there at once. */
		.first_byte_ns = (strcmp(method, "GET") == 0 ? 10 : 120) * SECOND_NS,
		.idle_ns = 60 * SECOND_NS,
		.user = calling,
		.head = call_head,
		.body = call_body,
		.ended = call_ended
        };
	http_call_start(origin, &calling->call);
	env_loop_run(calling->loop);
	buf_release(&head);
	if (calling->err.code == ERR_OK)
		return ERR_OK;
	bool local = bytes_starts_with(url, BYTES("unix:"));
	return ERR_SET(err, ERR_NETWORK, "no gateway answers at %.*s (%s)%s", BYTES_ARG(url),
		       calling->err.message,
		       local ? "; is `parley serve` running on this configuration?" : "");
}

/* The gateway of a configuration, or one at a URL. */
struct place {
	const char *config_file, *url;
};

static enum err_code find_place(struct env *env, const struct place *place, struct buf *out,
				struct err *err)
{
	if (!place->url)
		return socket_url(env, place->config_file, out, err);
	buf_append_cstr(out, place->url);
	return ERR_OK;
}

static enum err_code call_over(struct env *env, const struct place *place, const char *method,
			       const char *target, const json_t *body, struct admin_answer *out,
			       struct err *err)
{
	struct buf authorities = BUF_INIT((size_t)16 << 20);
	if (place->url)
		env_read_file(env, TLS_SYSTEM_AUTHORITIES, &authorities, NULL);
	struct http_pool_options options = {.connections_max = 1,
					    .idle_max = 1,
					    .connect_timeout_ns = 5 * SECOND_NS,
					    .ca_pem = buf_bytes(&authorities),
					    .https_proxy = getenv("HTTPS_PROXY"),
					    .no_proxy = getenv("NO_PROXY")};
	struct calling calling = {.loop = env_loop_new(env, "client", false),
				  .body = BUF_INIT(ANSWER_MAX)};
	struct http_pool *pool = calling.loop ? http_pool_new(calling.loop, &options) : NULL;
	struct buf url = BUF_INIT(2048);
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	enum err_code code = pool && (!body || text) ? ERR_OK : ERR_NO_MEMORY;
	if (code == ERR_OK)
		code = find_place(env, place, &url, err);
	uint64_t started = env_clock_ns(env);
	if (code == ERR_OK)
		code = exchange(env, pool, buf_bytes(&url), &calling, method, target,
				bytes_from(text), err);
	out->elapsed_us = (int64_t)((env_clock_ns(env) - started) / 1000);
	out->status = calling.status;
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&calling.body), "the gateway's answer", &out->body,
				  err);
	free(text);
	buf_release(&authorities);
	buf_release(&url);
	buf_release(&calling.body);
	http_pool_free(pool);
	env_loop_free(calling.loop);
	return code;
}

static enum err_code call_place(const struct place *place, const char *method, const char *target,
				const json_t *body, struct admin_answer *out, struct err *err)
{
	memset(out, 0, sizeof(*out));
	struct env *env = env_os_new(1);
	if (!env)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = call_over(env, place, method, target, body, out, err);
	env_os_free(env);
	return code;
}

enum err_code admin_client_call(const char *config_file, const char *method, const char *target,
				const json_t *body, struct admin_answer *out, struct err *err)
{
	struct place place = {.config_file = config_file};
	return call_place(&place, method, target, body, out, err);
}

enum err_code admin_client_call_url(const char *url, const char *method, const char *target,
				    const json_t *body, struct admin_answer *out, struct err *err)
{
	struct place place = {.url = url};
	return call_place(&place, method, target, body, out, err);
}

static enum err_code code_named(const char *name)
{
#define X(code, exit_status, http, retry, text) \
	if (name && strcmp(name, #code) == 0)   \
		return ERR_##code;
	ERROR_TABLE(X)
#undef X
	return ERR_DENIED;
}

enum err_code admin_client_check(const struct admin_answer *answer, struct err *err)
{
	if (answer->status < 400)
		return ERR_OK;
	const char *detail = json_string_value(json_object_get(answer->body, "detail"));
	const char *title = json_string_value(json_object_get(answer->body, "title"));
	const char *code = json_string_value(json_object_get(answer->body, "code"));
	return ERR_SET(err, code_named(code), "%s", detail ? detail : title ? title : "refused");
}

enum err_code admin_client_ask(const char *config_file, const char *method, const char *target,
			       const json_t *body, struct admin_answer *out, struct err *err)
{
	enum err_code code = admin_client_call(config_file, method, target, body, out, err);
	if (code == ERR_OK)
		code = admin_client_check(out, err);
	if (code != ERR_OK) {
		json_decref(out->body);
		out->body = NULL;
	}
	return code;
}
