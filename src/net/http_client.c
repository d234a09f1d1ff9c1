#include "net/http_client_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define INTERIM_MAX 8
#define REFUSED "cannot connect (refused or unreachable)"
#define TURN_BYTES_MAX ((size_t)1 << 20)

static void advance(struct http_client_connection *connection);

/* ---- lists ---- */

void http_waiting_remove(struct http_origin *origin, struct http_call *call)
{
	if (call->previous)
		call->previous->next = call->next;
	else
		origin->waiting_first = call->next;
	if (call->next)
		call->next->previous = call->previous;
	else
		origin->waiting_last = call->previous;
	call->next = call->previous = NULL;
}

static void waiting_append(struct http_origin *origin, struct http_call *call)
{
	call->next = NULL;
	call->previous = origin->waiting_last;
	if (origin->waiting_last)
		origin->waiting_last->next = call;
	else
		origin->waiting_first = call;
	origin->waiting_last = call;
}

static void idle_remove(struct http_client_connection *connection)
{
	struct http_origin *origin = connection->origin;
	if (connection->previous)
		connection->previous->next = connection->next;
	else
		origin->idle = connection->next;
	if (connection->next)
		connection->next->previous = connection->previous;
	connection->next = connection->previous = NULL;
	origin->idle_count--;
	counter_add(&origin->pool->stats->idle, -1);
}

/* ---- connections ---- */

static void set_deadline(struct http_client_connection *connection, uint64_t after_ns)
{
	struct env_loop *loop = connection->origin->pool->loop;
	connection->deadline_ns = after_ns ? loop->now_ns + after_ns : 0;
	if (connection->yields)
		return; /* fires at once, and sees to it */
	if (after_ns > 0 && env_timer_due(&connection->timer) > connection->deadline_ns)
		env_timer_arm(loop, &connection->timer, connection->deadline_ns);
}

/* What is sealed and not sent counts as memory of bodies. */
static void charge(struct http_client_connection *connection)
{
	net_budget_charge(connection->origin->pool->options.budget, &connection->charged,
			  net_budget_bytes(channel_memory(&connection->channel)));
}

static void free_connection(struct http_client_connection *connection)
{
	buf_release(&connection->pending);
	free(connection);
}

static void close_connection(struct http_client_connection *connection)
{
	struct http_origin *origin = connection->origin;
	if (connection->closed)
		return;
	connection->closed = true;
	if (connection->state == IDLE)
		idle_remove(connection);
	origin->open_count--;
	counter_add(&origin->pool->stats->open, -1);
	env_timer_disarm(origin->pool->loop, &connection->timer);
	if (channel_is_open(&connection->channel))
		channel_close(&connection->channel, false);
	charge(connection);
	if (!connection->advancing)
		free_connection(connection);
}

/* Takes the call off its connection, which is closed, and ends it. */
static void fail_call(struct http_client_connection *connection, const struct err *err,
		      bool unprocessed)
{
	struct http_call *call = connection->call;
	struct http_origin *origin = connection->origin;
	connection->call = NULL;
	close_connection(connection);
	if (call) {
		call->connection = NULL;
		call->unprocessed = unprocessed;
		call->ended(call, err);
	}
	http_serve_waiting(origin);
}

static void fail_with(struct http_client_connection *connection, enum err_code code,
		      const char *problem)
{
	struct err err = ERR_INIT;
	const char *broken = connection->channel.problem;
	ERR_SET(&err, code, "%s: %s%s", connection->origin->url, broken ? "TLS: " : "",
		broken ? broken : problem);
	fail_call(connection, &err, !connection->sent_any);
}

/* ---- calls that end without a connection ---- */

static void deliver_failed(struct env_message *message)
{
	struct pool_delivery *delivery = (struct pool_delivery *)message;
	struct http_pool *pool = delivery->pool;
	delivery->posted = false;
	if (!pool) {
		free(delivery);
		return;
	}
	pool->ending = pool->failed;
	pool->failed = NULL;
	while (pool->ending) { /* `ended` may cancel others of them */
		struct http_call *call = pool->ending;
		struct err err = call->origin->err;
		if (err.code == ERR_OK)
			ERR_SET(&err, ERR_NO_MEMORY, "out of memory");
		pool->ending = call->next;
		call->next = NULL;
		call->unprocessed = true;
		call->ended(call, &err);
	}
}

void http_fail_later(struct http_pool *pool, struct http_call *call)
{
	call->next = pool->failed;
	pool->failed = call;
	if (pool->delivery->posted)
		return;
	pool->delivery->posted = true;
	env_post(pool->loop, &pool->delivery->message);
}

/* ---- sending ---- */

static struct iovec *parts_of(struct http_call *call)
{
	return call->many_parts ? call->many_parts : call->parts;
}

static bool send_parts(struct http_client_connection *connection)
{
	struct http_call *call = connection->call;
	while (connection->part < call->part_count && connection->channel.stream->writable) {
		struct iovec *parts = parts_of(call) + connection->part;
		ssize_t sent = channel_send(&connection->channel, parts,
					    call->part_count - connection->part);
		if (sent == ENV_RESET)
			return false;
		if (sent <= 0)
			return true;
		connection->sent_any = true;
		counter_add(&connection->origin->pool->stats->sent, sent);
		size_t left = (size_t)sent;
		while (connection->part < call->part_count && left >= parts->iov_len) {
			left -= parts->iov_len;
			parts++;
			connection->part++;
		}
		if (left > 0) {
			parts->iov_base = (char *)parts->iov_base + left;
			parts->iov_len -= left;
		}
	}
	return true;
}

/* False when the connection broke. */
static bool send_call(struct http_client_connection *connection)
{
	bool holds = send_parts(connection);
	charge(connection);
	return holds;
}

static void assign(struct http_client_connection *connection, struct http_call *call)
{
	connection->call = call;
	call->connection = connection;
	connection->part = 0;
	connection->sent_any = false;
	connection->interim = 0;
	buf_clear(&connection->pending);
}

static void begin_call(struct http_client_connection *connection)
{
	connection->state = ACTIVE;
	set_deadline(connection, connection->call->first_byte_ns);
}

/* ---- the response ---- */

static void finish_call(struct http_client_connection *connection, bool reusable)
{
	struct http_call *call = connection->call;
	struct http_origin *origin = connection->origin;
	struct http_pool *pool = origin->pool;
	static const struct err none = ERR_INIT;
	connection->call = NULL;
	call->connection = NULL;
	if (reusable && connection->keep_alive && connection->part == call->part_count &&
	    !connection->channel.stream->hangup && origin->idle_count < pool->options.idle_max) {
		connection->state = IDLE;
		connection->reused = true;
		connection->previous = NULL;
		connection->next = origin->idle;
		if (origin->idle)
			origin->idle->previous = connection;
		origin->idle = connection;
		origin->idle_count++;
		counter_add(&pool->stats->idle, 1);
		buf_release(&connection->pending);
		set_deadline(connection, pool->options.idle_timeout_ns);
	} else {
		close_connection(connection);
	}
	call->ended(call, &none);
	http_serve_waiting(origin);
}

/* Decoded pieces to the caller, who may cancel in between. Returns false when the call is over. */
static bool take_body(struct http_client_connection *connection, const char *data, size_t size)
{
	struct http_call *call = connection->call;
	while (true) {
		size_t used = 0;
		struct bytes piece;
		enum http_body_event event =
			http_body_next(&connection->body, data, size, &used, &piece);
		data += used;
		size -= used;
		switch (event) {
		case HTTP_BODY_PIECE:
			call->body(call, piece);
			if (connection->closed || connection->call != call)
				return false;
			break;
		case HTTP_BODY_MORE:
			return true;
		case HTTP_BODY_DONE:
			finish_call(connection, size == 0);
			return false;
		case HTTP_BODY_REFUSED:
			fail_with(connection, ERR_PROTOCOL,
				  http_refusal_text(http_body_refusal(&connection->body)));
			return false;
		}
	}
}

static bool take_head(struct http_client_connection *connection, const struct http_head *head,
		      const char *data, size_t size)
{
	struct http_call *call = connection->call;
	call->head_seen = true;
	call->head_ns = connection->origin->pool->loop->now_ns;
	set_deadline(connection, call->idle_ns);
	size_t head_size = head->size;
	connection->keep_alive = head->keep_alive;
	http_body_start(&connection->body, head);
	call->until_close = head->body == HTTP_BODY_UNTIL_CLOSE;
	call->head(call, head, bytes_of(data, head_size));
	if (connection->closed || connection->call != call)
		return false;
	return take_body(connection, data + head_size, size - head_size);
}

/* Bytes before the end of the response head: `data` holds all of them so far. */
static bool take_before_head(struct http_client_connection *connection, const char *data,
			     size_t size)
{
	struct http_head *head = &connection->origin->pool->head;
	for (;;) {
		http_head_start(head);
		enum http_parse parsed =
			http_response_parse(head, data, size, connection->call->head_method);
		if (parsed == HTTP_REFUSED) {
			fail_with(connection, ERR_PROTOCOL, http_refusal_text(head->refusal));
			return false;
		}
		if (parsed == HTTP_MORE) {
			if (connection->pending.data != data || connection->pending.size != size) {
				struct buf kept = BUF_INIT(HTTP_HEAD_MAX + SCRATCH_SIZE);
				buf_append(&kept, data, size);
				buf_release(&connection->pending);
				connection->pending = kept;
			}
			if (connection->pending.failed)
				fail_with(connection, ERR_NO_MEMORY, "out of memory");
			return !connection->closed;
		}
		if (head->status >= 200)
			return take_head(connection, head, data, size);
		/* Nobody asked for another protocol (RFC 9110, 15.2.2): what follows is none of
		 * ours. */
		if (head->status == 101) {
			fail_with(connection, ERR_PROTOCOL, "it switches protocols unasked");
			return false;
		}
		if (++connection->interim > INTERIM_MAX) {
			fail_with(connection, ERR_PROTOCOL, "too many interim responses");
			return false;
		}
		data += head->size;
		size -= head->size;
	}
}

static bool take_bytes(struct http_client_connection *connection, const char *data, size_t size)
{
	if (connection->call->head_seen) {
		set_deadline(connection, connection->call->idle_ns);
		return take_body(connection, data, size);
	}
	if (connection->pending.size == 0)
		return take_before_head(connection, data, size);
	buf_append(&connection->pending, data, size);
	return take_before_head(connection, connection->pending.data, connection->pending.size);
}

static void stream_ended(struct http_client_connection *connection, bool reset)
{
	if (connection->call->head_seen && !reset && http_body_closed(&connection->body)) {
		finish_call(connection, false);
		return;
	}
	fail_with(connection, ERR_UPSTREAM,
		  connection->call->head_seen
			  ? "the connection closed in the middle of the response"
			  : "the connection closed before the response");
}

/* What is left in the stream will not be announced again. */
static void read_later(struct http_client_connection *connection)
{
	struct env_loop *loop = connection->origin->pool->loop;
	connection->yields = env_timer_arm(loop, &connection->timer, loop->now_ns + 1);
	if (!connection->yields)
		fail_with(connection, ERR_NO_MEMORY, "out of memory");
}

/* Reads until nothing is left, bounded in one turn so that one fast peer does not starve others. */
static void receive_response(struct http_client_connection *connection)
{
	struct http_pool *pool = connection->origin->pool;
	size_t turn = 0;
	while (!connection->closed && connection->call && !connection->call->paused &&
	       channel_readable(&connection->channel)) {
		if (turn >= TURN_BYTES_MAX) {
			read_later(connection);
			return;
		}
		size_t most = connection->call->read_max;
		most = most && most < sizeof(pool->scratch) ? most : sizeof(pool->scratch);
		ssize_t got = channel_receive(&connection->channel, pool->scratch, most);
		if (got == ENV_AGAIN)
			return;
		if (got <= 0) {
			stream_ended(connection, got == ENV_RESET);
			return;
		}
		turn += (size_t)got;
		counter_add(&pool->stats->received, got);
		if (!take_bytes(connection, pool->scratch, (size_t)got))
			return;
	}
}

/* ---- opening ---- */

static void stream_ready(struct env_stream *stream);
static void deadline_passed(struct env_timer *timer);

static bool make_tls(struct http_origin *origin, struct tls **out, struct err *err)
{
	struct tls_context *context = origin->tls_context;
	*out = NULL;
	if (!origin->tls)
		return true;
	if (!context && http_pool_prepare_tls(origin->pool, err) != ERR_OK)
		return false;
	return tls_client_new(context ? context : origin->pool->tls, origin->host, out, err) ==
	       ERR_OK;
}

/* The time that is left is shared by the addresses that are left, so that a silent one does not
 * take the turn of the others. */
static void set_connect_deadline(struct http_client_connection *connection)
{
	struct http_origin *origin = connection->origin;
	uint64_t now_ns = origin->pool->loop->now_ns;
	uint64_t left = connection->connect_by_ns > now_ns ? connection->connect_by_ns - now_ns : 1;
	unsigned others = origin->address_count > connection->address_index
				  ? origin->address_count - connection->address_index
				  : 0;
	if (!connection->connect_by_ns)
		return;
	set_deadline(connection, left / (1 + others) + 1);
}

/* Tries the addresses in turn, from connection->address_index on. */
static bool dial(struct http_client_connection *connection, struct err *err)
{
	struct http_origin *origin = connection->origin;
	for (; connection->address_index < origin->address_count; connection->address_index++) {
		struct env_stream *stream = env_connect(
			origin->pool->loop, &origin->addresses[connection->address_index], err);
		if (!stream)
			continue;
		struct tls *tls = NULL;
		http_tunnel_start(connection);
		if (connection->in_tunnel && !make_tls(origin, &tls, err)) {
			env_close(stream, false);
			return false;
		}
		stream->ready = stream_ready;
		stream->argument = connection;
		channel_init(&connection->channel, stream, tls);
		connection->address_index++;
		set_connect_deadline(connection);
		return true;
	}
	return false;
}

static void open_connection(struct http_origin *origin, struct http_call *call)
{
	struct http_pool *pool = origin->pool;
	struct http_client_connection *connection = calloc(1, sizeof(*connection));
	if (!connection) {
		http_fail_later(pool, call);
		return;
	}
	connection->origin = origin;
	connection->timer.fire = deadline_passed;
	buf_init(&connection->pending, HTTP_HEAD_MAX + SCRATCH_SIZE);
	assign(connection, call);
	origin->open_count++;
	if (origin->connect_timeout_ns)
		connection->connect_by_ns = pool->loop->now_ns + origin->connect_timeout_ns;
	counter_add(&pool->stats->open, 1);
	counter_add(&pool->stats->opened, 1);
	if (!dial(connection, &origin->err)) {
		call->connection = NULL;
		connection->call = NULL;
		close_connection(connection);
		http_fail_later(pool, call);
		return;
	}
	connection->state = CONNECTING;
}

/* A kept-alive connection on which nothing has arrived: one with bytes or an end waiting is dead.
 */
static struct http_client_connection *take_idle(struct http_origin *origin)
{
	while (origin->idle) {
		struct http_client_connection *connection = origin->idle;
		if (connection->channel.stream->hangup || connection->channel.stream->readable) {
			close_connection(connection);
			continue;
		}
		idle_remove(connection);
		counter_add(&origin->pool->stats->reused, 1);
		return connection;
	}
	return NULL;
}

void http_serve_waiting(struct http_origin *origin)
{
	while (origin->waiting_first) {
		struct http_client_connection *connection = take_idle(origin);
		struct http_call *call = origin->waiting_first;
		if (connection) {
			http_waiting_remove(origin, call);
			assign(connection, call);
			begin_call(connection);
			advance(connection);
			continue;
		}
		if (origin->open_count >= origin->pool->options.connections_max ||
		    !http_have_addresses(origin))
			return;
		http_waiting_remove(origin, call);
		open_connection(origin, call);
	}
}

/* ---- moving on ---- */

static void connect_failed(struct http_client_connection *connection, enum err_code code,
			   const char *problem)
{
	struct err err = ERR_INIT;
	struct http_origin *origin = connection->origin;
	if (connection->channel.problem) {
		fail_with(connection, ERR_NETWORK, "TLS failed");
		return;
	}
	channel_close(&connection->channel, false);
	if (dial(connection, &err))
		return;
	if (origin->stale_ns != UINT64_MAX)
		origin->stale_ns = origin->address_count = 0; /* ask again next time */
	fail_with(connection, code, problem);
}

static void advance_active(struct http_client_connection *connection)
{
	if (!send_call(connection)) {
		/* A kept-alive connection that was closed under us before it took a byte: nothing
		 * of the request can have been acted upon, so another one is tried. */
		struct http_call *call = connection->call;
		struct http_origin *origin = connection->origin;
		if (connection->reused && !connection->sent_any) {
			connection->call = NULL;
			call->connection = NULL;
			close_connection(connection);
			counter_add(&origin->pool->stats->retried, 1);
			call->retries++;
			waiting_append(origin, call);
			http_serve_waiting(origin);
			return;
		}
		/* An answer may have been sent before the reset: read it. */
		if (!channel_readable(&connection->channel)) {
			fail_with(connection, ERR_UPSTREAM, "the connection was reset");
			return;
		}
	}
	receive_response(connection);
}

/* Whether the tunnel stands now; TLS has begun in it then. */
static bool dig(struct http_client_connection *connection)
{
	char problem[160];
	struct err err = ERR_INIT;
	struct tls *tls = NULL;
	if (!connection->channel.stream->connected)
		return false;
	enum http_parse parsed = http_tunnel_advance(connection, problem, sizeof(problem));
	if (parsed == HTTP_MORE)
		return false;
	if (parsed == HTTP_REFUSED) {
		fail_with(connection, ERR_NETWORK, problem);
		return false;
	}
	if (!make_tls(connection->origin, &tls, &err)) {
		fail_with(connection, err.code, err.message);
		return false;
	}
	connection->in_tunnel = true;
	buf_clear(&connection->pending);
	channel_start_tls(&connection->channel, tls);
	if (channel_progress(&connection->channel))
		return true;
	fail_with(connection, ERR_NETWORK, "the proxy closed the connection");
	return false;
}

static void advance(struct http_client_connection *connection)
{
	bool outer = connection->advancing;
	connection->advancing = true;
	if (!channel_progress(&connection->channel)) {
		if (connection->state == CONNECTING)
			connect_failed(connection, ERR_NETWORK, REFUSED);
		else if (connection->call)
			stream_ended(connection, true);
		else
			close_connection(connection);
	} else if (connection->state == CONNECTING) {
		if (connection->channel.stream->hangup && !connection->channel.stream->connected) {
			connect_failed(connection, ERR_NETWORK, REFUSED);
		} else if (connection->in_tunnel || dig(connection)) {
			if (channel_established(&connection->channel)) {
				begin_call(connection);
				advance_active(connection);
			}
		}
	} else if (connection->state == IDLE) {
		close_connection(connection); /* closed by the peer, or bytes nobody asked for */
	} else {
		advance_active(connection);
	}
	connection->advancing = outer;
	if (connection->closed && !outer)
		free_connection(connection);
}

static void stream_ready(struct env_stream *stream)
{
	struct http_client_connection *connection = stream->argument;
	/* Writable again is no news for an idle connection. */
	if (connection->state == IDLE && !stream->hangup && !stream->readable)
		return;
	advance(connection);
}

static void deadline_passed(struct env_timer *timer)
{
	struct http_client_connection *connection =
		(struct http_client_connection *)((char *)timer -
						  offsetof(struct http_client_connection, timer));
	struct env_loop *loop = connection->origin->pool->loop;
	bool yields = connection->yields;
	connection->yields = false;
	if (connection->deadline_ns > loop->now_ns)
		set_deadline(connection, connection->deadline_ns - loop->now_ns);
	if (yields && connection->state == ACTIVE) {
		/* What is left was to be read, whatever the time. */
		if (connection->deadline_ns > 0 && connection->deadline_ns <= loop->now_ns)
			set_deadline(connection, 1);
		advance(connection);
		return;
	}
	if (connection->deadline_ns == 0 || connection->deadline_ns > loop->now_ns)
		return;
	if (connection->state == IDLE)
		close_connection(connection);
	else if (connection->call && connection->call->paused)
		set_deadline(connection, connection->call->idle_ns); /* the caller holds it up */
	else if (connection->state == CONNECTING)
		connect_failed(connection, ERR_TIMEOUT, "connecting took too long");
	else
		fail_with(connection, ERR_TIMEOUT,
			  connection->call->head_seen ? "the response stopped arriving"
						      : "no response in time");
}

/* ---- calls ---- */

void http_call_start(struct http_origin *origin, struct http_call *call)
{
	assert(call->part_count > 0 &&
	       call->part_count <= (call->many_parts ? HTTP_CALL_PARTS_MAX : HTTP_CALL_OWN_PARTS));
	call->origin = origin;
	call->connection = NULL;
	call->next = call->previous = NULL;
	call->head_seen = call->unprocessed = call->until_close = call->paused = false;
	call->retries = 0;
	call->started_ns = origin->pool->loop->now_ns;
	struct http_client_connection *idle = origin->waiting_first ? NULL : take_idle(origin);
	if (!idle) {
		waiting_append(origin, call);
		http_serve_waiting(origin);
		return;
	}
	assign(idle, call);
	begin_call(idle);
	/* Only sends: the response is read when the loop says so, hence never inside this call. */
	if (send_call(idle))
		return;
	if (!idle->sent_any) {
		idle->call = NULL;
		call->connection = NULL;
		close_connection(idle);
		counter_add(&origin->pool->stats->retried, 1);
		call->retries++;
		waiting_append(origin, call);
		http_serve_waiting(origin);
	} else {
		idle->channel.stream->hangup = true; /* its event follows */
	}
}

static bool remove_from(struct http_call **list, struct http_call *call)
{
	for (struct http_call **at = list; *at; at = &(*at)->next) {
		if (*at != call)
			continue;
		*at = call->next;
		call->next = NULL;
		return true;
	}
	return false;
}

bool http_call_sent(const struct http_call *call)
{
	return call->head_seen && call->connection && call->connection->part == call->part_count;
}

void http_call_cancel(struct http_call *call)
{
	struct http_origin *origin = call->origin;
	struct http_client_connection *connection = call->connection;
	call->unprocessed = !connection || !connection->sent_any;
	if (connection) {
		connection->call = NULL;
		call->connection = NULL;
		close_connection(connection);
		http_serve_waiting(origin); /* another may have the place */
		return;
	}
	if (!remove_from(&origin->pool->failed, call) && !remove_from(&origin->pool->ending, call))
		http_waiting_remove(origin, call);
}

void http_call_pause(struct http_call *call, bool paused)
{
	bool resumed = call->paused && !paused;
	call->paused = paused;
	if (!resumed || !call->connection)
		return;
	set_deadline(call->connection, call->idle_ns);
	if (!call->connection->advancing)
		advance(call->connection);
}

/* ---- pools and origins ---- */

struct http_pool *http_pool_new(struct env_loop *loop, const struct http_pool_options *options)
{
	struct http_pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pool->loop = loop;
	pool->options = *options;
	pool->stats = options->stats ? options->stats : &pool->own_stats;
	pool->delivery = calloc(1, sizeof(*pool->delivery));
	buf_init(&pool->ca_pem, (size_t)16 << 20);
	buf_append_bytes(&pool->ca_pem, options->ca_pem);
	if (pool->ca_pem.failed || !pool->delivery) {
		buf_release(&pool->ca_pem);
		free(pool->delivery);
		free(pool);
		return NULL;
	}
	pool->delivery->pool = pool;
	pool->delivery->message.run = deliver_failed;
	return pool;
}

void http_pool_free(struct http_pool *pool)
{
	if (!pool)
		return;
	while (pool->origins) {
		struct http_origin *origin = pool->origins;
		pool->origins = origin->next;
		assert(!origin->waiting_first);
		while (origin->idle)
			close_connection(origin->idle);
		assert(origin->open_count == 0);
		if (origin->looking_up)
			origin->looking_up->origin = NULL;
		http_origin_free(origin);
	}
	buf_release(&pool->ca_pem);
	tls_context_free(pool->tls);
	pool->delivery->pool = NULL;
	if (!pool->delivery->posted)
		free(pool->delivery);
	free(pool);
}
