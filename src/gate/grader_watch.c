#include "gate/grader_watch.h"

#include <stdlib.h>

#define SECOND_NS UINT64_C(1000000000)
#define ANSWER_NS (5 * SECOND_NS)
#define HEAD_MAX ((size_t)1024)

struct grader_watch {
	struct env_loop *loop;
	struct http_pool *pool;
	struct http_origin *origin;
	struct http_call call;
	struct buf head;
	struct env_timer timer;
	bool calling;
	int status;
	enum grader_state state;
	int64_t losses;
};

enum err_code grader_origin(const struct config *config, struct http_pool *pool,
			    struct http_origin **out, struct err *err)
{
	const struct config_tls *tls = &config->grader_tls;
	struct http_origin_options own = {
		.ca_pem = tls->authorities.text,
		.certificate = tls->certificate.text,
		.key = tls->key.text,
	};
	return http_pool_origin_with(pool, bytes_from(config->grader), &own, out, err);
}

static void answered(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct grader_watch *watch = call->user;
	(void)bytes;
	watch->status = head->status;
}

static void body(struct http_call *call, struct bytes piece)
{
	(void)call;
	(void)piece;
}

static void ended(struct http_call *call, const struct err *err)
{
	struct grader_watch *watch = call->user;
	enum grader_state state = GRADER_DOWN;
	if (err->code == ERR_OK && watch->status == 200)
		state = GRADER_READY;
	else if (err->code == ERR_OK && watch->status == 503)
		state = GRADER_BUSY;
	bool was_there = watch->state == GRADER_READY || watch->state == GRADER_BUSY;
	watch->losses += was_there && state == GRADER_DOWN;
	watch->state = state;
	watch->calling = false;
	env_timer_arm(watch->loop, &watch->timer, watch->loop->now_ns + SECOND_NS);
}

static void ask(struct env_timer *timer)
{
	struct grader_watch *watch =
		(struct grader_watch *)((char *)timer - offsetof(struct grader_watch, timer));
	watch->status = 0;
	watch->calling = true;
	watch->call = (struct http_call){
		.parts = {{watch->head.data, watch->head.size}},
		.part_count = 1,
		.first_byte_ns = ANSWER_NS,
		.idle_ns = ANSWER_NS,
		.user = watch,
		.head = answered,
		.body = body,
		.ended = ended,
	};
	http_call_start(watch->origin, &watch->call);
}

static enum err_code prepare(struct grader_watch *watch, const struct config *config,
			     struct err *err)
{
	/* No connection is kept: it would be one of those that the grader has for requests. */
	struct http_pool_options options = {.connections_max = 1,
					    .connect_timeout_ns = ANSWER_NS,
					    .https_proxy = config->https_proxy,
					    .no_proxy = config->no_proxy};
	watch->pool = http_pool_new(watch->loop, &options);
	if (!watch->pool)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	ERR_TRY(grader_origin(config, watch->pool, &watch->origin, err));
	http_write_request_head(&watch->head, "GET", BYTES("/ready"),
				http_origin_authority(watch->origin), NULL, NULL, 0, 0);
	watch->timer.fire = ask;
	if (watch->head.failed || !env_timer_arm(watch->loop, &watch->timer, watch->loop->now_ns))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	return ERR_OK;
}

enum err_code grader_watch_new(struct gateway *gateway, struct grader_watch **out, struct err *err)
{
	const struct config *config = gateway_config(gateway);
	*out = NULL;
	if (!config->grader)
		return ERR_OK;
	struct grader_watch *watch = calloc(1, sizeof(*watch));
	if (!watch)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	watch->loop = gateway_admin_loop(gateway);
	buf_init(&watch->head, HEAD_MAX);
	enum err_code code = prepare(watch, config, err);
	if (code == ERR_OK)
		*out = watch;
	else
		grader_watch_free(watch);
	return code;
}

void grader_watch_free(struct grader_watch *watch)
{
	if (!watch)
		return;
	env_timer_disarm(watch->loop, &watch->timer);
	if (watch->calling)
		http_call_cancel(&watch->call);
	http_pool_free(watch->pool);
	buf_release(&watch->head);
	free(watch);
}

enum grader_state grader_watch_state(const struct grader_watch *watch)
{
	return watch->state;
}

int64_t grader_watch_losses(const struct grader_watch *watch)
{
	return watch->losses;
}
