/* The data path without the gateway: the same loop, the same HTTP server and client, and no key,
 * policy, limit, digest, record or check of any body. It exists to be measured beside
 * `parley serve`, so that what the loop costs and what the features cost can be told apart. A
 * program of its own, built only with -Dperf=true and never installed.
 *
 *     bare 127.0.0.1:PORT http://127.0.0.1:UPSTREAM */
#include "net/http_client.h"
#include "net/http_server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND_NS 1000000000ull
#define HEAD_MAX 4096
#define CLIENTS_MAX 9500
#define WHOLE_MAX 65536

struct bare {
	struct env_loop *loop;
	struct http_server *server;
	struct http_pool *pool;
	struct http_origin *origin;
};

/* One request on its way, in the arena of its exchange. */
struct passing {
	struct http_call call;
	struct http_exchange *exchange;
	int status;
	int64_t length; /* of the answer, -1: chunked */
	struct bytes type, whole;
	struct buf head;
	bool started;
};

static struct passing *passing_of(struct http_call *call)
{
	return (struct passing *)((char *)call - offsetof(struct passing, call));
}

/* ---- the answer ---- */

static void start(struct passing *passing)
{
	struct http_header type = {"content-type", passing->type};
	passing->started = true;
	http_start(passing->exchange, passing->status, &type, passing->type.size > 0,
		   passing->length);
}

static void on_head(struct http_call *call, const struct http_head *head, struct bytes head_bytes)
{
	struct passing *passing = passing_of(call);
	struct bytes type = http_known(head, head_bytes.data, HTTP_FIELD_CONTENT_TYPE);
	passing->status = head->status;
	passing->length = head->body == HTTP_BODY_LENGTH ? (int64_t)head->content_length
			  : head->body == HTTP_BODY_NONE ? 0
							 : -1;
	char *copy = arena_alloc(&passing->exchange->arena, type.size + 1);
	if (!copy || type.size == 0)
		return;
	memcpy(copy, type.data, type.size);
	passing->type = bytes_of(copy, type.size);
}

/* An answer that is there at once leaves in one send with its head, when its call has ended: the
 * exchange, whose arena holds the call, is over with it. */
static bool keep_whole(struct passing *passing, struct bytes piece)
{
	if (passing->started || passing->length != (int64_t)piece.size || piece.size > WHOLE_MAX)
		return false;
	char *copy = arena_alloc(&passing->exchange->arena, piece.size);
	if (!copy)
		return false;
	memcpy(copy, piece.data, piece.size);
	passing->whole = bytes_of(copy, piece.size);
	return true;
}

static void on_body(struct http_call *call, struct bytes piece)
{
	struct passing *passing = passing_of(call);
	if (keep_whole(passing, piece))
		return;
	if (!passing->started)
		start(passing);
	http_send(passing->exchange, piece);
	if (http_unsent(passing->exchange) > HTTP_SERVER_UNSENT_HIGH)
		http_call_pause(call, true);
}

static void fail(struct passing *passing)
{
	static const struct bytes text = BYTES("the upstream failed\n");
	if (passing->started)
		http_cut(passing->exchange);
	else
		http_respond(passing->exchange, 502, NULL, 0, text);
}

static void on_ended(struct http_call *call, const struct err *err)
{
	struct passing *passing = passing_of(call);
	struct http_exchange *exchange = passing->exchange;
	struct http_header type = {"content-type", passing->type};
	buf_release(&passing->head);
	exchange->user = NULL;
	if (err->code != ERR_OK)
		fail(passing);
	else if (passing->started)
		http_finish(exchange);
	else
		http_respond(exchange, passing->status, &type, passing->type.size > 0,
			     passing->whole);
}

/* ---- the request ---- */

static void write_head(struct passing *passing, const struct http_origin *origin)
{
	static const struct {
		enum http_field_id id;
		struct bytes name;
	} passed[] = {
		{HTTP_FIELD_CONTENT_TYPE,      BYTES("content-type")     },
		{HTTP_FIELD_API_KEY,           BYTES("x-api-key")        },
		{HTTP_FIELD_AUTHORIZATION,     BYTES("authorization")    },
		{HTTP_FIELD_ANTHROPIC_VERSION, BYTES("anthropic-version")},
	};
	enum { PASSED = sizeof(passed) / sizeof(passed[0]) };
	const struct http_exchange *exchange = passing->exchange;
	const char *data = exchange->head_bytes.data;
	struct bytes names[PASSED], values[PASSED];
	size_t count = 0;
	for (size_t i = 0; i < PASSED; i++) {
		struct bytes value = http_known(exchange->head, data, passed[i].id);
		if (!value.data)
			continue;
		names[count] = passed[i].name;
		values[count++] = value;
	}
	char method[16];
	snprintf(method, sizeof(method), "%.*s",
		 BYTES_ARG(http_bytes(data, exchange->head->method)));
	http_write_request_head(&passing->head, method, http_bytes(data, exchange->head->target),
				http_origin_authority(origin), names, values, count,
				(int64_t)exchange->body.size);
}

static void on_request(struct http_exchange *exchange)
{
	struct bare *bare = exchange->server_user;
	struct passing *passing = arena_alloc_zero(&exchange->arena, sizeof(*passing));
	if (!passing) {
		http_cut(exchange);
		return;
	}
	exchange->user = passing;
	passing->exchange = exchange;
	buf_init(&passing->head, HEAD_MAX);
	write_head(passing, bare->origin);
	passing->call = (struct http_call){
		.parts = {{passing->head.data, passing->head.size},
			  {(void *)exchange->body.data, exchange->body.size}},
		.part_count = exchange->body.size ? 2 : 1,
		.first_byte_ns = 60 * SECOND_NS,
		.idle_ns = 60 * SECOND_NS,
		.head = on_head,
		.body = on_body,
		.ended = on_ended,
	};
	http_call_start(bare->origin, &passing->call);
}

static void on_aborted(struct http_exchange *exchange)
{
	struct passing *passing = exchange->user;
	if (!passing)
		return;
	http_call_cancel(&passing->call);
	buf_release(&passing->head);
}

static void on_drained(struct http_exchange *exchange)
{
	struct passing *passing = exchange->user;
	if (passing)
		http_call_pause(&passing->call, false);
}

/* ---- the program ---- */

static void on_signal(void *argument, int signal_number)
{
	(void)signal_number;
	env_loop_stop(argument);
}

static enum err_code open_both(struct bare *bare, const char *listen, const char *upstream,
			       struct err *err)
{
	struct env_address address;
	struct http_server_options server = {
		.argument = bare,
		.request = on_request,
		.aborted = on_aborted,
		.drained = on_drained,
		.body_max = (size_t)32 << 20,
		.head_timeout_ns = 10 * SECOND_NS,
		.body_timeout_ns = 60 * SECOND_NS,
		.idle_timeout_ns = 300 * SECOND_NS,
		.write_timeout_ns = 60 * SECOND_NS,
		.connections_max = CLIENTS_MAX,
	};
	struct http_pool_options pool = {
		.connections_max = CLIENTS_MAX,
		.idle_max = 256,
		.idle_timeout_ns = 60 * SECOND_NS,
		.connect_timeout_ns = 3 * SECOND_NS,
	};
	ERR_TRY(env_address_parse(bytes_from(listen), &address, err));
	bare->server = http_server_new(bare->loop, &server);
	bare->pool = http_pool_new(bare->loop, &pool);
	if (!bare->server || !bare->pool)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	ERR_TRY(http_pool_origin(bare->pool, bytes_from(upstream), &bare->origin, err));
	ERR_TRY(env_on_signal(bare->loop, SIGTERM, on_signal, bare->loop, err));
	ERR_TRY(env_on_signal(bare->loop, SIGINT, on_signal, bare->loop, err));
	return http_server_listen(bare->server, &address, NULL, err);
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct bare bare = {.loop = NULL};
	if (argc != 3) {
		fprintf(stderr, "usage: bare ADDRESS:PORT UPSTREAM-URL\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	struct env *env = env_os_new(1);
	if (env)
		bare.loop = env_loop_new(env, "bare", false);
	if (!bare.loop)
		return 3;
	enum err_code code = open_both(&bare, argv[1], argv[2], &err);
	if (code == ERR_OK)
		env_loop_run(bare.loop);
	else
		fprintf(stderr, "bare: %s\n", err.message);
	http_server_free(bare.server);
	http_pool_free(bare.pool);
	env_loop_free(bare.loop);
	env_os_free(env);
	return code == ERR_OK ? 0 : 3;
}
