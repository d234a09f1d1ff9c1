/* The operator's side: the admin API on a Unix socket (whoever can open it is the operator) and on
 * the admin listener (bearer token, matching Host and Origin), with /metrics, /healthz and /readyz
 * open there. */
#include "gate/rotate.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX ((size_t)64 << 20)
#define SECOND_NS 1000000000ull
#define CONNECTIONS_MAX 256

struct admin_call {
	struct admin_request request;
	struct http_exchange *exchange; /* NULL once the client is gone */
	struct gateway *gateway;
	char *method, *target, *body;
};

/* ---- answers ---- */

static void respond_text(struct http_exchange *exchange, int status, const char *type,
			 struct bytes body)
{
	struct http_header headers[2] = {
		{"content-type",  bytes_from(type) },
                {"cache-control", BYTES("no-store")}
        };
	http_respond(exchange, status, headers, 2, body);
}

static void respond_problem(struct http_exchange *exchange, int status, const char *title)
{
	char body[512];
	int size =
		snprintf(body, sizeof(body), "{\"status\":%d,\"title\":\"%s\"}\n", status, title);
	respond_text(exchange, status, "application/problem+json", bytes_of(body, (size_t)size));
}

/* ---- the admin API ---- */

static void free_call(struct admin_call *call)
{
	free(call->method);
	free(call->target);
	free(call->body);
	buf_release(&call->request.answer);
	free(call);
}

static void call_done(struct admin_request *request)
{
	struct admin_call *call = request->argument;
	call->gateway->admin_calls--;
	if (call->exchange)
		respond_text(call->exchange, (int)request->status, request->content_type,
			     buf_bytes(&request->answer));
	free_call(call);
}

/* Read from what the gateway holds, not through the control plane: it may be asked every second. */
static void serve_snapshot(struct gateway *gateway, struct http_exchange *exchange)
{
	struct buf out = BUF_INIT(ADMIN_ANSWER_MAX);
	json_t *snapshot = gateway_snapshot(gateway);
	if (snapshot && json_canonical(snapshot, &out, NULL) == ERR_OK && !out.failed)
		respond_text(exchange, 200, "application/json", buf_bytes(&out));
	else
		respond_problem(exchange, 503, "out of memory");
	json_decref(snapshot);
	buf_release(&out);
}

/* ---- statements ---- */

static void answered(void *argument, unsigned status, json_t *answer, const struct err *err)
{
	struct admin_call *call = argument;
	struct buf *out = &call->request.answer;
	buf_init(out, ADMIN_ANSWER_MAX);
	if (!answer)
		answer = json_pack("{s:i, s:s, s:s, s:s}", "status", (int)status, "code",
				   err_name(err->code), "title", err_text(err->code), "detail",
				   err->message);
	else
		json_incref(answer);
	bool good = answer && json_canonical(answer, out, NULL) == ERR_OK && !out->failed;
	json_decref(answer);
	if (call->exchange && good)
		respond_text(call->exchange, (int)status,
			     err->code == ERR_OK ? "application/json" : "application/problem+json",
			     buf_bytes(out));
	else if (call->exchange)
		respond_problem(call->exchange, 503, "out of memory");
	free_call(call);
}

static char *query_value(struct bytes query, const char *name)
{
	while (query.data) {
		struct bytes value;
		struct bytes pair = bytes_split(query, '&', &query);
		if (bytes_is(bytes_split(pair, '=', &value), name))
			return bytes_to_cstr(value);
	}
	return bytes_to_cstr(BYTES(""));
}

static void serve_statement(struct gateway *gateway, struct http_exchange *exchange)
{
	struct bytes query;
	bytes_split(http_bytes(exchange->head_bytes.data, exchange->head->target), '?', &query);
	struct admin_call *call = calloc(1, sizeof(*call));
	if (call) {
		call->method = query_value(query, "org");
		call->target = query_value(query, "month");
	}
	if (!call || !call->method || !call->target) {
		if (call)
			free_call(call);
		respond_problem(exchange, 503, "out of memory");
		return;
	}
	call->exchange = exchange;
	call->gateway = gateway;
	exchange->user = call;
	gateway_statement(gateway, call->method, call->target, answered, call);
}

/* ---- the logs' key ---- */

static void serve_rotation(struct gateway *gateway, struct http_exchange *exchange,
			   const char *person)
{
	struct admin_call *call = calloc(1, sizeof(*call));
	json_t *body = NULL;
	const char *reason = "";
	if (!call) {
		respond_problem(exchange, 503, "out of memory");
		return;
	}
	if (json_parse(exchange->body, "body", &body, NULL) == ERR_OK)
		reason = json_string_value(json_object_get(body, "reason"));
	call->exchange = exchange;
	call->gateway = gateway;
	exchange->user = call;
	gateway_rotate_key(gateway, person, reason ? reason : "", answered, call);
	json_decref(body);
}

static void serve_api(struct gateway *gateway, struct http_exchange *exchange, const char *person)
{
	const char *data = exchange->head_bytes.data;
	struct bytes path = http_bytes(data, exchange->head->path);
	if (bytes_is(path, "/admin/v1/top") &&
	    bytes_is(http_bytes(data, exchange->head->method), "GET")) {
		serve_snapshot(gateway, exchange);
		return;
	}
	if (bytes_is(path, "/admin/v1/statement") &&
	    bytes_is(http_bytes(data, exchange->head->method), "GET")) {
		serve_statement(gateway, exchange);
		return;
	}
	if (bytes_is(path, "/admin/v1/log/rotate-key") &&
	    bytes_is(http_bytes(data, exchange->head->method), "POST")) {
		serve_rotation(gateway, exchange, person);
		return;
	}
	struct admin_call *call = gateway->over ? NULL : calloc(1, sizeof(*call));
	if (!call) {
		respond_problem(exchange, 503,
				gateway->over ? "the gateway is shutting down" : "out of memory");
		return;
	}
	call->method = bytes_to_cstr(http_bytes(data, exchange->head->method));
	call->target = bytes_to_cstr(http_bytes(data, exchange->head->target));
	call->body = bytes_to_cstr(exchange->body);
	if (!call->method || !call->target || !call->body) {
		free_call(call);
		respond_problem(exchange, 503, "out of memory");
		return;
	}
	call->exchange = exchange;
	call->gateway = gateway;
	exchange->user = call;
	call->request = (struct admin_request){.method = bytes_from(call->method),
					       .target = bytes_from(call->target),
					       .body = bytes_of(call->body, exchange->body.size),
					       .person = person,
					       .done = call_done,
					       .argument = call};
	gateway->admin_calls++;
	admin_handle(gateway->control, &call->request);
}

static void call_aborted(struct http_exchange *exchange)
{
	struct admin_call *call = exchange->user;
	if (call)
		call->exchange = NULL;
	else
		gateway_health_forget(exchange->server_user, exchange);
}

static void socket_request(struct http_exchange *exchange)
{
	serve_api(exchange->server_user, exchange, "operator by admin.sock");
}

/* ---- metrics and health ---- */

static void serve_metrics(struct gateway *gateway, struct http_exchange *exchange)
{
	struct buf out = BUF_INIT((size_t)16 << 20);
	gateway_write_metrics(gateway, &out);
	respond_text(exchange, out.failed ? 503 : 200, "text/plain; version=0.0.4; charset=utf-8",
		     buf_bytes(&out));
	buf_release(&out);
}

static void serve_log(struct gateway *gateway, struct http_exchange *exchange, struct bytes path)
{
	static const struct {
		const char *prefix;
		enum control_log log;
	} logs[] = {
		{"/log/evaluation/", CONTROL_EVALUATION},
                {"/log/usage/",      CONTROL_USAGE     }
        };
	struct buf out = BUF_INIT((size_t)32 << 20);
	const char *type = "text/plain";
	int status = 404;
	for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
		struct bytes prefix = bytes_from(logs[i].prefix);
		if (!bytes_starts_with(path, prefix))
			continue;
		struct bytes rest = {path.data + prefix.size, path.size - prefix.size};
		status = gateway_log_resource(gateway->logs[logs[i].log], rest, NULL, &out, &type);
	}
	if (status == 200)
		respond_text(exchange, 200, type, buf_bytes(&out));
	else
		respond_problem(exchange, status, "no such part of a log");
	buf_release(&out);
}

/* ---- the admin listener ---- */

static bool has_token(const struct gateway *gateway, const struct http_exchange *exchange)
{
	struct bytes value =
		http_known(exchange->head, exchange->head_bytes.data, HTTP_FIELD_AUTHORIZATION);
	if (!bytes_starts_with(value, BYTES("Bearer ")) || value.size != 7 + GATEWAY_TOKEN_SIZE)
		return false;
	return bytes_equal_constant_time(value.data + 7, gateway->token, GATEWAY_TOKEN_SIZE);
}

/* A page of another site cannot make a browser send what it must not: the Host must be this
 * listener's own address or localhost (against DNS rebinding), and an Origin must agree with it. */
static bool same_site(const struct gateway *gateway, const struct http_exchange *exchange)
{
	char own[600], local[64];
	const char *data = exchange->head_bytes.data;
	struct bytes host = http_known(exchange->head, data, HTTP_FIELD_HOST);
	struct bytes origin = http_known(exchange->head, data, HTTP_FIELD_ORIGIN);
	env_address_format(&gateway->admin_address, own, sizeof(own));
	snprintf(local, sizeof(local), "localhost:%u", gateway->admin_address.port);
	if (!bytes_is(host, own) && !bytes_is(host, local))
		return false;
	if (!origin.data)
		return true;
	return bytes_starts_with(origin, BYTES("http://")) &&
	       bytes_equal(bytes_of(origin.data + 7, origin.size - 7), host);
}

static const struct {
	const char *path;
	void (*serve)(struct gateway *gateway, struct http_exchange *exchange);
} open_paths[] = {
	{"/metrics", serve_metrics       },
	{"/healthz", gateway_serve_health},
	{"/readyz",  gateway_serve_ready }
};
#define OPEN_PATHS (sizeof(open_paths) / sizeof(open_paths[0]))

static size_t find_open_path(struct bytes path)
{
	size_t i = 0;
	while (i < OPEN_PATHS && !bytes_is(path, open_paths[i].path))
		i++;
	return i;
}

static bool refuses_stranger(struct gateway *gateway, struct http_exchange *exchange)
{
	if (!same_site(gateway, exchange))
		respond_problem(exchange, 403, "Host or Origin is not this listener's");
	else if (!has_token(gateway, exchange))
		respond_problem(exchange, 401, "send the token of admin.token as a bearer token");
	else
		return false;
	return true;
}

/* A stranger's body is not read, and not asked for. */
static void tcp_head(struct http_exchange *exchange, size_t *body_max)
{
	struct bytes path = http_bytes(exchange->head_bytes.data, exchange->head->path);
	if (exchange->head->body == HTTP_BODY_NONE)
		return;
	if (find_open_path(path) < OPEN_PATHS)
		*body_max = 0;
	else
		refuses_stranger(exchange->server_user, exchange);
}

static void tcp_request(struct http_exchange *exchange)
{
	struct gateway *gateway = exchange->server_user;
	struct bytes path = http_bytes(exchange->head_bytes.data, exchange->head->path);
	size_t open = find_open_path(path);
	if (open < OPEN_PATHS)
		open_paths[open].serve(gateway, exchange);
	else if (refuses_stranger(gateway, exchange))
		return;
	else if (bytes_starts_with(path, BYTES("/log/")))
		serve_log(gateway, exchange, path);
	else
		serve_api(gateway, exchange, "operator by admin.token");
}

/* ---- opening and closing ---- */

static struct http_server *
new_server(struct gateway *gateway, void (*head)(struct http_exchange *exchange, size_t *body_max),
	   void (*request)(struct http_exchange *exchange))
{
	struct http_server_options options = {
		.argument = gateway,
		.head = head,
		.request = request,
		.aborted = call_aborted,
		.body_max = BODY_MAX,
		.head_timeout_ns = 10 * SECOND_NS,
		.body_timeout_ns = 60 * SECOND_NS,
		.idle_timeout_ns = 60 * SECOND_NS,
		.write_timeout_ns = 60 * SECOND_NS,
		.connections_max = CONNECTIONS_MAX,
	};
	return http_server_new(gateway->admin_loop, &options);
}

enum err_code gateway_admin_open(struct gateway *gateway, struct err *err)
{
	struct env_address socket = {0};
	char path[1024];
	gateway->admin_socket = new_server(gateway, NULL, socket_request);
	gateway->admin_tcp = new_server(gateway, tcp_head, tcp_request);
	if (!gateway->admin_socket || !gateway->admin_tcp)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	ERR_TRY(grader_watch_new(gateway, &gateway->grader, err));
	ERR_TRY(config_data_path(gateway->config, "admin.sock", path, sizeof(path), err));
	if (strlen(path) >= sizeof(socket.path))
		return ERR_SET(err, ERR_TOO_LARGE, "the path of %s is too long", path);
	env_address_unix(&socket, path);
	ERR_TRY(http_server_listen(gateway->admin_socket, &socket, NULL, err));
	if (!gateway->config->has_admin)
		return ERR_OK;
	ERR_TRY(http_server_listen(gateway->admin_tcp, &gateway->config->admin,
				   &gateway->admin_address, err));
	gateway->has_admin_address = true;
	return ERR_OK;
}

void gateway_admin_close(struct gateway *gateway)
{
	char path[1024];
	struct err ignored = ERR_INIT;
	if (!gateway->admin_socket)
		return;
	gateway_health_close(gateway);
	grader_watch_free(gateway->grader);
	gateway->grader = NULL;
	http_server_free(gateway->admin_socket);
	http_server_free(gateway->admin_tcp);
	gateway->admin_socket = gateway->admin_tcp = NULL;
	if (config_data_path(gateway->config, "admin.sock", path, sizeof(path), &ignored) == ERR_OK)
		env_unlink(gateway->env, path, &ignored);
}
