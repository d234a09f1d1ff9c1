#include "net/http_server.h"

#include "net/accepting.h"
#include "net/answer_head.h"
#include "proto/chunked.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_START 4096
#define BUFFER_KEPT_MAX (2 * 65536) /* a body of 64 KiB and its head */
#define SPARE_MAX 64
#define OUT_MAX ((size_t)1 << 30)
#define ARENA_BLOCK 4096
#define ARENA_MAX ((size_t)4 << 20)
#define LINGER_NS 2000000000u
#define LINGER_BYTES_MAX ((size_t)8 << 20)
#define SECOND_NS 1000000000u

enum connection_state {
	STATE_HEAD,    /* between requests, or a head is arriving */
	STATE_BODY,    /* the body is arriving */
	STATE_HANDLER, /* the handler has it, the answer may be under way */
	STATE_LINGER,  /* the answer is out; what the client still sends is thrown away */
};

struct http_connection {
	struct http_exchange exchange;
	struct http_server *server;
	struct http_connection *next, *previous;
	struct channel channel;
	struct env_timer timer;
	uint64_t deadline_ns; /* the timer is armed again lazily; 0: none */
	struct buf in;        /* head, decoded body, then bytes not looked at */
	struct buf out;       /* what the stream did not take */
	size_t body_size, body_max;
	size_t told;           /* bytes of the body that `progress` was told of */
	size_t charged;        /* to the budget, for `in` and `out` */
	size_t charged_unread; /* for `out` */
	struct chunked chunked;
	uint32_t owed;  /* unsent bytes when they were last looked at */
	uint32_t taken; /* bytes received in this turn */
	uint32_t lingered;
	uint8_t state;  /* enum connection_state */
	uint8_t begun;  /* requests in this turn */
	bool yields;    /* the timer stands for the next turn, not for the deadline */
	bool advancing; /* inside advance(): calls from handlers only set flags */
	bool closed;    /* to be freed when advance() is left */
	bool muted;     /* the head of the answer could not be told: nothing of it may leave */
	bool above_high;
};

_Static_assert(sizeof(struct http_connection) <= 408, "one for every client");

struct http_server {
	struct http_server_options options;
	struct env_loop *loop;
	struct tls_context *tls; /* one reference; NULL: plain */
	struct accepting accepting;
	struct http_connection *first;
	unsigned count;
	struct http_server_stats stats;
	bool stopping;
	void (*stopped)(void *argument);
	void *stopped_argument;
	struct buf spare[SPARE_MAX]; /* buffers of connections that fell idle */
	unsigned spare_count;
	struct http_head *spare_heads[SPARE_MAX];
	unsigned spare_head_count;
	struct http_head no_head; /* of connections that have none */
	struct answer_date date;
};

static void advance(struct http_connection *connection);

/* ---- buffers, deadlines ---- */

static bool take_head(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = &connection->exchange;
	if (exchange->head != &server->no_head)
		return true;
	struct http_head *head = server->spare_head_count > 0
					 ? server->spare_heads[--server->spare_head_count]
					 : malloc(sizeof(*head));
	if (!head)
		return false;
	http_head_start(head);
	exchange->head = head;
	return true;
}

static void give_head(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	struct http_head *head = connection->exchange.head;
	if (head == &server->no_head)
		return;
	connection->exchange.head = &server->no_head;
	if (server->spare_head_count < SPARE_MAX)
		server->spare_heads[server->spare_head_count++] = head;
	else
		free(head);
}

/* What a request needs to be received: a place for its parsed head, and a buffer that may be empty.
 * False where memory is out. */
static bool take_buffer(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	if (!take_head(connection))
		return false;
	if (connection->in.data)
		return true;
	if (server->spare_count > 0)
		connection->in = server->spare[--server->spare_count];
	connection->in.max = HTTP_HEAD_MAX + BUFFER_START;
	return true;
}

static void charge(struct http_connection *connection)
{
	struct net_budget *budget = connection->server->options.budget;
	size_t out = net_budget_bytes(connection->out.capacity) +
		     net_budget_bytes(channel_memory(&connection->channel));
	net_budget_charge(budget, &connection->charged,
			  net_budget_bytes(connection->in.capacity) + out);
	net_budget_follow(budget ? &budget->unread : NULL, &connection->charged_unread, out);
}

/* Both; nothing of a request may be looked at any more. */
static void give_buffer(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	give_head(connection);
	if (connection->in.data && connection->in.capacity <= BUFFER_KEPT_MAX &&
	    server->spare_count < SPARE_MAX) {
		buf_clear(&connection->in);
		server->spare[server->spare_count++] = connection->in;
		connection->in = (struct buf)BUF_INIT(0);
	} else {
		buf_release(&connection->in);
	}
}

/* Sets the deadline; the timer is touched only when it would fire too late. */
static void set_deadline(struct http_connection *connection, uint64_t after_ns)
{
	struct env_loop *loop = connection->server->loop;
	connection->deadline_ns = after_ns ? loop->now_ns + after_ns : 0;
	if (connection->yields)
		return; /* fires at once, and sees to it */
	if (after_ns > 0 && env_timer_due(&connection->timer) > connection->deadline_ns)
		env_timer_arm(loop, &connection->timer, connection->deadline_ns);
}

/* ---- closing ---- */

static void free_connection(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	give_buffer(connection);
	buf_release(&connection->out);
	charge(connection);
	arena_release(&connection->exchange.arena);
	free(connection);
	if (server->stopping && server->count == 0 && server->stopped) {
		void (*stopped)(void *) = server->stopped;
		server->stopped = NULL;
		stopped(server->stopped_argument);
	}
}

static bool has_room(void *argument)
{
	const struct http_server *server = argument;
	return !server->stopping && server->count < server->options.connections_max;
}

/* Takes the connection out of service; its memory goes when advance() is left. */
static void close_connection(struct http_connection *connection, bool reset)
{
	struct http_server *server = connection->server;
	if (connection->closed)
		return;
	connection->closed = true;
	env_timer_disarm(server->loop, &connection->timer);
	channel_close(&connection->channel, reset);
	if (connection->previous)
		connection->previous->next = connection->next;
	else
		server->first = connection->next;
	if (connection->next)
		connection->next->previous = connection->previous;
	server->count--;
	counter_add(&server->stats.open, -1);
	net_budget_leave(server->options.budget);
	if (has_room(server))
		accepting_resume(&server->accepting);
	if (!connection->advancing)
		free_connection(connection);
}

/* The client is gone while the handler has the exchange. */
static void abort_exchange(struct http_connection *connection)
{
	bool waiting = connection->state == STATE_HANDLER && !connection->exchange.finished;
	bool outer = connection->advancing;
	connection->advancing = true;
	if (waiting)
		connection->server->options.aborted(&connection->exchange);
	connection->advancing = outer;
	/* A reset would overtake the alert that says why a handshake failed. */
	close_connection(connection, waiting || !connection->channel.problem);
}

/* ---- sending ---- */

static size_t unsent(const struct http_connection *connection)
{
	return connection->out.size + channel_unsent(&connection->channel);
}

/* The deadline runs from the last progress: pieces that only queue up do not put it off. */
static void after_send(struct http_connection *connection, bool progress)
{
	struct http_server *server = connection->server;
	connection->owed = (uint32_t)unsent(connection);
	if (connection->owed > 0 && progress)
		set_deadline(connection, server->options.write_timeout_ns);
	if (connection->owed > HTTP_SERVER_UNSENT_HIGH)
		connection->above_high = true;
	charge(connection);
}

/* Sends now what it can, and keeps the rest. */
static void send_parts(struct http_connection *connection, struct iovec *parts, int count)
{
	size_t skip = 0;
	bool progress = unsent(connection) == 0;
	if (connection->closed || connection->muted)
		return;
	if (connection->out.size == 0 && connection->channel.stream->writable) {
		ssize_t sent = channel_send(&connection->channel, parts, count);
		if (sent == ENV_RESET) {
			connection->channel.stream->hangup = true; /* noticed by advance() */
			return;
		}
		skip = sent > 0 ? (size_t)sent : 0;
		counter_add(&connection->server->stats.sent, (int64_t)skip);
	}
	for (int i = 0; i < count; i++) {
		size_t dropped = skip < parts[i].iov_len ? skip : parts[i].iov_len;
		skip -= dropped;
		if (dropped == parts[i].iov_len)
			continue; /* an append of nothing would take memory, for as long as it lives
				   */
		buf_append(&connection->out, (char *)parts[i].iov_base + dropped,
			   parts[i].iov_len - dropped);
	}
	after_send(connection, progress);
}

/* Some of what was owed has gone to the kernel. */
static void after_progress(struct http_connection *connection)
{
	if (connection->owed > 0)
		set_deadline(connection, connection->server->options.write_timeout_ns);
	else if (connection->state == STATE_HANDLER)
		set_deadline(connection, 0);
	if (connection->above_high && connection->owed < HTTP_SERVER_UNSENT_LOW) {
		connection->above_high = false;
		if (connection->state == STATE_HANDLER && !connection->exchange.finished &&
		    connection->server->options.drained)
			connection->server->options.drained(&connection->exchange);
	}
}

/* False when the stream broke. */
static bool flush_out(struct http_connection *connection)
{
	if (connection->owed == 0)
		return true;
	if (connection->out.size > 0 && connection->channel.stream->writable) {
		struct iovec part = {connection->out.data, connection->out.size};
		ssize_t sent = channel_send(&connection->channel, &part, 1);
		if (sent == ENV_RESET)
			return false;
		if (sent > 0) {
			counter_add(&connection->server->stats.sent, sent);
			buf_consume(&connection->out, (size_t)sent);
		}
		if (connection->out.size == 0)
			buf_release(&connection->out);
	}
	size_t before = connection->owed;
	connection->owed = (uint32_t)unsent(connection);
	charge(connection); /* also where plain bytes have only become sealed ones */
	if (connection->owed < before)
		after_progress(connection);
	return true;
}

static void prepare_start(struct http_exchange *exchange, int64_t length)
{
	assert(!exchange->started);
	exchange->started = true;
	if (exchange->connection->server->stopping || !exchange->head->keep_alive ||
	    exchange->connection->state != STATE_HANDLER)
		exchange->close_after = true;
	if (length < 0) {
		exchange->chunked = exchange->head->minor >= 1;
		if (!exchange->chunked)
			exchange->close_after = true;
	}
}

static bool is_head_request(const struct http_exchange *exchange)
{
	return exchange->head_bytes.size > 0 &&
	       bytes_is(http_bytes(exchange->head_bytes.data, exchange->head->method), "HEAD");
}

static void finish(struct http_exchange *exchange)
{
	struct http_connection *connection = exchange->connection;
	exchange->finished = true;
	if (connection->server->options.unsent && unsent(connection) > 0)
		connection->server->options.unsent(exchange);
	if (!connection->advancing)
		advance(connection);
}

static size_t head_of(struct http_exchange *exchange, int status, const struct http_header *headers,
		      size_t count, int64_t length, char out[static ANSWER_HEAD_MAX])
{
	struct http_server *server = exchange->connection->server;
	struct answer_head head = {
		.status = status,
		.headers = headers,
		.header_count = count,
		.date = answer_date_text(&server->date, server->loop->wall_ms),
		.length = length,
		.chunked = exchange->chunked,
		.close = exchange->close_after,
	};
	return answer_head_write(&head, out);
}

/* An answer whose head does not fit is none: the client is told 500, and nothing of what was to
 * follow leaves. */
static void answer_unheaded(struct http_exchange *exchange)
{
	char head[ANSWER_HEAD_MAX];
	exchange->close_after = true;
	exchange->chunked = false;
	struct iovec part = {head, head_of(exchange, 500, NULL, 0, 0, head)};
	send_parts(exchange->connection, &part, 1);
	exchange->connection->muted = true;
}

void http_respond(struct http_exchange *exchange, int status, const struct http_header *headers,
		  size_t header_count, struct bytes body)
{
	char head[ANSWER_HEAD_MAX];
	prepare_start(exchange, (int64_t)body.size);
	size_t size = head_of(exchange, status, headers, header_count, (int64_t)body.size, head);
	if (size == 0) {
		answer_unheaded(exchange);
		finish(exchange);
		return;
	}
	struct iovec parts[2] = {
		{head,              size     },
                {(void *)body.data, body.size}
        };
	bool bodiless = body.size == 0 || is_head_request(exchange);
	send_parts(exchange->connection, parts, bodiless ? 1 : 2);
	finish(exchange);
}

void http_start(struct http_exchange *exchange, int status, const struct http_header *headers,
		size_t header_count, int64_t content_length)
{
	char head[ANSWER_HEAD_MAX];
	prepare_start(exchange, content_length);
	size_t size = head_of(exchange, status, headers, header_count, content_length, head);
	struct iovec part = {head, size};
	if (size > 0)
		send_parts(exchange->connection, &part, 1);
	else
		answer_unheaded(exchange);
}

void http_send(struct http_exchange *exchange, struct bytes piece)
{
	char line[20];
	assert(exchange->started && !exchange->finished);
	if (piece.size == 0)
		return;
	if (!exchange->chunked) {
		struct iovec whole = {(void *)piece.data, piece.size};
		send_parts(exchange->connection, &whole, 1);
		return;
	}
	struct iovec parts[3] = {
		{line, chunked_write_size(line, piece.size)},
		{(void *)piece.data,    piece.size         },
		{(void *)"\r\n",    2    }
        };
	send_parts(exchange->connection, parts, 3);
}

void http_finish(struct http_exchange *exchange)
{
	assert(exchange->started && !exchange->finished);
	if (exchange->chunked) {
		struct iovec part = {(void *)CHUNKED_LAST, sizeof(CHUNKED_LAST) - 1};
		send_parts(exchange->connection, &part, 1);
	}
	finish(exchange);
}

void http_release_request(struct http_exchange *exchange)
{
	struct http_connection *connection = exchange->connection;
	if (connection->in.size != exchange->head->size + connection->body_size)
		return;
	exchange->head_bytes = exchange->body = (struct bytes){NULL, 0};
	connection->body_size = 0;
	give_buffer(connection);
	charge(connection);
}

void http_cut(struct http_exchange *exchange)
{
	exchange->finished = true;
	close_connection(exchange->connection, true);
}

size_t http_unsent(const struct http_exchange *exchange)
{
	return unsent(exchange->connection);
}

const struct tls *http_tls(const struct http_exchange *exchange)
{
	return exchange->connection->channel.tls;
}

bool http_has_started(const struct http_exchange *exchange)
{
	return exchange->started;
}

/* ---- receiving ---- */

/* The buffer may have moved since the head was complete, and may have no complete head at all. */
static void refuse(struct http_connection *connection, int status, const char *reason)
{
	struct http_exchange *exchange = &connection->exchange;
	exchange->close_after = true;
	exchange->head_bytes = bytes_of(connection->in.data, exchange->head->size);
	exchange->body = (struct bytes){NULL, 0};
	if (connection->server->options.refused) {
		connection->server->options.refused(exchange, status, reason);
		return;
	}
	struct http_header type = {"content-type", BYTES("text/plain; charset=utf-8")};
	char text[256];
	int size = snprintf(text, sizeof(text), "%s\n", reason);
	http_respond(exchange, status, &type, 1, bytes_of(text, (size_t)size));
}

/* Receives what is there. False when there is nothing more to do now. */
static bool fill(struct http_connection *connection, size_t want)
{
	if (!channel_readable(&connection->channel))
		return false;
	if (!take_buffer(connection)) {
		refuse(connection, 503, "out of memory");
		return true;
	}
	struct buf *in = &connection->in;
	if (in->max < in->size + want)
		in->max = in->size + want;
	if (connection->state == STATE_BODY && in->capacity - in->size < want &&
	    net_budget_bytes(in->size + want) &&
	    net_budget_is_full(connection->server->options.budget)) {
		refuse(connection, 503, "its memory for bodies and answers is used up");
		return true;
	}
	if (!buf_reserve(in, want)) {
		refuse(connection, 503, "out of memory");
		return true;
	}
	charge(connection);
	size_t room = in->capacity - in->size;
	ssize_t got = channel_receive(&connection->channel, in->data + in->size,
				      room < HTTP_SERVER_SLICE ? room : HTTP_SERVER_SLICE);
	if (got > 0) {
		counter_add(&connection->server->stats.received, got);
		in->size += (size_t)got;
		connection->taken += (uint32_t)got;
		return true;
	}
	if (got != ENV_AGAIN)
		close_connection(connection, got == ENV_RESET && !connection->channel.problem);
	else if (in->size == 0)
		give_buffer(connection); /* a handshake under way */
	return false;
}

static void begin_exchange(struct http_connection *connection)
{
	struct http_exchange *exchange = &connection->exchange;
	if (exchange->head != &connection->server->no_head)
		http_head_start(exchange->head);
	exchange->head_bytes = exchange->body = (struct bytes){NULL, 0};
	exchange->user = NULL;
	exchange->started = exchange->finished = exchange->chunked = exchange->close_after = false;
	connection->state = STATE_HEAD;
	connection->begun++;
	connection->body_size = connection->told = 0;
}

/* The whole request is here. */
static void hand_over(struct http_connection *connection)
{
	struct http_exchange *exchange = &connection->exchange;
	connection->state = STATE_HANDLER;
	exchange->head_bytes = bytes_of(connection->in.data, exchange->head->size);
	exchange->body =
		bytes_of(connection->in.data + exchange->head->size, connection->body_size);
	set_deadline(connection, 0);
	connection->server->options.request(exchange);
}

static void start_body(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = &connection->exchange;
	struct http_head *head = exchange->head;
	connection->body_max = server->options.body_max;
	exchange->head_bytes = bytes_of(connection->in.data, head->size);
	exchange->started_ns = server->loop->now_ns;
	if (server->options.head)
		server->options.head(exchange, &connection->body_max);
	if (exchange->started || connection->closed)
		return;
	if (head->body == HTTP_BODY_LENGTH && head->content_length > connection->body_max) {
		char reason[96];
		snprintf(reason, sizeof(reason), "the body is larger than %zu bytes",
			 connection->body_max);
		refuse(connection, 413, reason);
		return;
	}
	if (head->expect_continue && connection->in.size == head->size) {
		static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
		struct iovec part = {(void *)go_on, sizeof(go_on) - 1};
		send_parts(connection, &part, 1);
	}
	connection->state = STATE_BODY;
	chunked_start(&connection->chunked);
	set_deadline(connection, server->options.body_timeout_ns);
}

/* The timer stands for the next turn; false where there is no memory for it. */
static bool yield_turn(struct http_connection *connection)
{
	struct env_loop *loop = connection->server->loop;
	connection->yields = env_timer_arm(loop, &connection->timer, loop->now_ns + 1);
	return connection->yields;
}

/* Whether the head is complete, or none. */
static bool parse_head(struct http_connection *connection)
{
	struct http_head *head = connection->exchange.head;
	enum http_parse parsed = http_request_parse(head, connection->in.data, connection->in.size);
	if (parsed == HTTP_COMPLETE)
		start_body(connection);
	else if (parsed == HTTP_REFUSED)
		refuse(connection, http_refusal_status(head->refusal),
		       http_refusal_text(head->refusal));
	return parsed != HTTP_MORE;
}

/* Each step says whether another may follow at once. */
static bool step_head(struct http_connection *connection)
{
	bool fresh = connection->in.size == 0;
	bool ahead = !fresh || channel_readable(&connection->channel);
	/* Without memory for a timer it goes on, which is unfair to others and leaves nobody. */
	if (ahead && connection->begun >= HTTP_SERVER_REQUESTS && yield_turn(connection))
		return false;
	/* Bytes of a pipelined request may be here already. */
	if (!fresh && !connection->exchange.head->parsed && parse_head(connection))
		return true;
	size_t room = connection->in.capacity - connection->in.size;
	if (!fill(connection, room > 1024 ? 1 : BUFFER_START))
		return false;
	if (connection->exchange.finished)
		return true;
	if (fresh)
		set_deadline(connection, connection->server->options.head_timeout_ns);
	parse_head(connection);
	return true;
}

/* Whether the connection has had its share of this turn. What is left in the stream will not be
 * announced again, so its timer wakes it (*armed is false where that failed). */
static bool lets_others_go_first(struct http_connection *connection, bool *armed)
{
	*armed = true;
	if (connection->taken < HTTP_SERVER_SLICE || !channel_readable(&connection->channel))
		return false;
	*armed = yield_turn(connection);
	return true;
}

/* More of a body is wanted. */
static bool fill_body(struct http_connection *connection, size_t want)
{
	struct http_exchange *exchange = &connection->exchange;
	if (connection->server->options.progress &&
	    connection->body_size - connection->told >= HTTP_SERVER_SLICE) {
		connection->told = connection->body_size;
		exchange->head_bytes = bytes_of(connection->in.data, exchange->head->size);
		exchange->body =
			bytes_of(connection->in.data + exchange->head->size, connection->body_size);
		connection->server->options.progress(exchange);
	}
	bool armed;
	if (!lets_others_go_first(connection, &armed))
		return fill(connection, want);
	if (!armed)
		refuse(connection, 503, "out of memory");
	return !armed;
}

static bool step_length_body(struct http_connection *connection)
{
	const struct http_head *head = connection->exchange.head;
	size_t length = head->body == HTTP_BODY_LENGTH ? (size_t)head->content_length : 0;
	size_t have = connection->in.size - head->size;
	if (have >= length) {
		connection->body_size = length;
		hand_over(connection);
		return true;
	}
	/* Memory follows what has arrived, so that an announced length alone reserves nothing. */
	size_t missing = length - have;
	size_t step = connection->in.size > BUFFER_START ? connection->in.size : BUFFER_START;
	connection->body_size = have;
	return fill_body(connection, missing < step ? missing : step);
}

static bool step_chunked_body(struct http_connection *connection)
{
	struct http_exchange *exchange = &connection->exchange;
	struct buf *in = &connection->in;
	size_t body_end = exchange->head->size + connection->body_size;
	size_t used = 0, decoded = 0;
	if (in->size == body_end)
		return fill_body(connection, BUFFER_START);
	size_t raw = in->size - body_end;
	enum http_body_event event =
		chunked_decode(&connection->chunked, in->data + body_end, raw, &used, &decoded);
	if (event == HTTP_BODY_REFUSED) {
		refuse(connection, http_refusal_status(connection->chunked.refusal),
		       http_refusal_text(connection->chunked.refusal));
		return true;
	}
	connection->body_size += decoded;
	memmove(in->data + body_end + decoded, in->data + body_end + used, raw - used);
	in->size = body_end + decoded + (raw - used);
	if (connection->body_size > connection->body_max) {
		char reason[96];
		snprintf(reason, sizeof(reason), "the body is larger than %zu bytes",
			 connection->body_max);
		refuse(connection, 413, reason);
		return true;
	}
	if (event == HTTP_BODY_DONE)
		hand_over(connection);
	return true;
}

static void start_linger(struct http_connection *connection)
{
	struct http_exchange *exchange = &connection->exchange;
	connection->state = STATE_LINGER;
	connection->lingered = 0;
	exchange->head_bytes = exchange->body = (struct bytes){NULL, 0};
	exchange->user = NULL;
	give_buffer(connection);
	charge(connection);
	channel_shutdown(&connection->channel);
	set_deadline(connection, LINGER_NS);
}

/* The answer is out: the next request, or the end of the connection. */
static bool step_finished(struct http_connection *connection)
{
	struct http_exchange *exchange = &connection->exchange;
	if (unsent(connection) > 0)
		return false;
	bool whole = connection->state == STATE_HANDLER;
	if (exchange->close_after) {
		if (whole && !connection->channel.stream->readable)
			close_connection(connection, false);
		else
			start_linger(connection);
		return !connection->closed;
	}
	size_t used = exchange->head->size + connection->body_size;
	arena_reset(&exchange->arena);
	buf_consume(&connection->in, used);
	if (connection->in.size == 0)
		give_buffer(connection);
	charge(connection);
	begin_exchange(connection);
	bool pipelined = connection->in.size > 0;
	set_deadline(connection, pipelined ? connection->server->options.head_timeout_ns
					   : connection->server->options.idle_timeout_ns);
	return true;
}

/* Throws away what a refused client still sends, so that it can read the answer: closing with
 * unread bytes would reset the connection under it (RFC 9112, 9.6). */
static bool step_linger(struct http_connection *connection)
{
	char waste[16384];
	bool armed;
	if (!channel_readable(&connection->channel))
		return false;
	if (lets_others_go_first(connection, &armed)) {
		if (!armed)
			close_connection(connection, false);
		return false;
	}
	ssize_t got = channel_receive(&connection->channel, waste, sizeof(waste));
	if (got == ENV_AGAIN)
		return false;
	if (got > 0) {
		connection->lingered += (uint32_t)got;
		connection->taken += (uint32_t)got;
	}
	if (got <= 0 || connection->lingered > LINGER_BYTES_MAX) {
		close_connection(connection, got == ENV_RESET);
		return false;
	}
	return true;
}

static bool step(struct http_connection *connection)
{
	if (connection->exchange.finished && connection->state != STATE_LINGER)
		return step_finished(connection);
	switch (connection->state) {
	case STATE_HEAD:
		return step_head(connection);
	case STATE_BODY:
		return connection->exchange.head->body == HTTP_BODY_CHUNKED
			       ? step_chunked_body(connection)
			       : step_length_body(connection);
	case STATE_HANDLER:
		if (connection->channel.stream->hangup && !connection->closed)
			abort_exchange(connection);
		return false;
	case STATE_LINGER:
		return step_linger(connection);
	}
	return false;
}

/* Moves the connection as far as it goes. Handlers called on the way only set flags. */
static void advance(struct http_connection *connection)
{
	connection->advancing = true;
	bool more = true;
	while (more && !connection->closed) {
		if (!flush_out(connection) || connection->out.failed)
			abort_exchange(connection);
		else if (!connection->closed) /* `drained` may have cut it */
			more = step(connection);
	}
	connection->advancing = false;
	if (connection->closed)
		free_connection(connection);
}

static void stream_ready(struct env_stream *stream)
{
	struct http_connection *connection = stream->argument;
	if (!channel_progress(&connection->channel)) {
		abort_exchange(connection);
		return;
	}
	connection->taken = connection->begun = 0;
	advance(connection);
}

/* How long a body may still take at the least rate; 0: it is too slow. */
static uint64_t body_time_left(const struct http_connection *connection)
{
	const struct http_server_options *options = &connection->server->options;
	uint64_t now_ns = connection->server->loop->now_ns;
	if (connection->state != STATE_BODY || options->body_rate_min == 0)
		return 0;
	double earned = (double)connection->body_size * 1e9 / (double)options->body_rate_min;
	uint64_t until_ns =
		connection->exchange.started_ns + options->body_timeout_ns + (uint64_t)earned;
	return until_ns > now_ns ? until_ns - now_ns : 0;
}

static void deadline_passed(struct env_timer *timer)
{
	struct http_connection *connection =
		(struct http_connection *)((char *)timer - offsetof(struct http_connection, timer));
	struct env_loop *loop = connection->server->loop;
	if (connection->yields) {
		connection->yields = false;
		connection->taken = connection->begun = 0;
		if (connection->deadline_ns == 0 || connection->deadline_ns > loop->now_ns) {
			if (connection->deadline_ns)
				set_deadline(connection, connection->deadline_ns - loop->now_ns);
			advance(connection);
			return;
		}
	}
	if (connection->deadline_ns == 0)
		return;
	if (connection->deadline_ns > loop->now_ns) {
		set_deadline(connection, connection->deadline_ns - loop->now_ns);
		return;
	}
	uint64_t left_ns = body_time_left(connection);
	if (left_ns > 0) {
		set_deadline(connection, left_ns);
		return;
	}
	bool part = connection->state == STATE_BODY ||
		    (connection->state == STATE_HEAD && connection->in.size > 0);
	if (connection->state == STATE_HEAD && connection->in.size == 0) {
		close_connection(connection, false); /* idle: nothing is lost */
		return;
	}
	if (!part || connection->exchange.finished) {
		abort_exchange(connection);
		return;
	}
	connection->advancing = true;
	refuse(connection, 408,
	       connection->state == STATE_BODY ? "its body comes too slowly"
					       : "its head was not complete");
	connection->advancing = false;
	advance(connection);
}

/* ---- accepting ---- */

static void new_connection(void *argument, struct env_stream *stream,
			   const struct env_address *peer)
{
	struct http_server *server = argument;
	struct http_connection *connection = calloc(1, sizeof(*connection));
	struct tls *tls = NULL;
	struct err ignored = ERR_INIT;
	if (!connection || (server->tls && tls_server_new(server->tls, &tls, &ignored) != ERR_OK)) {
		free(connection);
		env_close(stream, true);
		net_budget_leave(server->options.budget);
		return;
	}
	struct http_exchange *exchange = &connection->exchange;
	*exchange = (struct http_exchange){.connection = connection,
					   .head = &server->no_head,
					   .loop = server->loop,
					   .peer = env_peer_of(peer),
					   .server_user = server->options.argument};
	arena_init(&exchange->arena, ARENA_BLOCK, ARENA_MAX);
	connection->server = server;
	connection->timer.fire = deadline_passed;
	buf_init(&connection->out, OUT_MAX);
	channel_init(&connection->channel, stream, tls);
	stream->ready = stream_ready;
	stream->argument = connection;
	connection->next = server->first;
	if (server->first)
		server->first->previous = connection;
	server->first = connection;
	server->count++;
	counter_add(&server->stats.open, 1);
	counter_add(&server->stats.accepted, 1);
	begin_exchange(connection);
	set_deadline(connection, server->options.head_timeout_ns);
	advance(connection);
}

struct http_server *http_server_new(struct env_loop *loop,
				    const struct http_server_options *options)
{
	struct http_server *server = calloc(1, sizeof(*server));
	if (!server)
		return NULL;
	server->options = *options;
	server->loop = loop;
	server->accepting = (struct accepting){.loop = loop,
					       .budget = options->budget,
					       .argument = server,
					       .has_room = has_room,
					       .take = new_connection};
	server->date.second = -1;
	http_head_start(&server->no_head);
	return server;
}

enum err_code http_server_listen(struct http_server *server, const struct env_address *address,
				 struct env_address *bound, struct err *err)
{
	return accepting_listen(&server->accepting, address, bound, err);
}

void http_server_set_tls(struct http_server *server, struct tls_context *context)
{
	tls_context_free(server->tls);
	server->tls = context ? tls_context_hold(context) : NULL;
}

void http_server_stop(struct http_server *server, void (*done)(void *argument), void *argument)
{
	accepting_close(&server->accepting);
	server->stopping = true;
	for (struct http_connection *one = server->first, *next; one; one = next) {
		next = one->next;
		if (one->state == STATE_HEAD && one->in.size == 0 && one->out.size == 0)
			close_connection(one, false);
		else
			one->exchange.close_after = true;
	}
	if (server->count == 0) {
		done(argument);
		return;
	}
	server->stopped = done;
	server->stopped_argument = argument;
}

void http_server_close_all(struct http_server *server)
{
	for (struct http_connection *one = server->first, *next; one; one = next) {
		next = one->next;
		if (one->state != STATE_HANDLER || one->exchange.finished)
			close_connection(one, false);
	}
}

void http_server_cut_unsent(struct http_server *server,
			    bool (*which)(const struct http_exchange *exchange, void *argument),
			    void *argument)
{
	for (struct http_connection *one = server->first, *next; one; one = next) {
		next = one->next;
		if (one->exchange.finished && unsent(one) > 0 && which(&one->exchange, argument))
			close_connection(one, true);
	}
}

void http_server_free(struct http_server *server)
{
	if (!server)
		return;
	server->stopped = NULL;
	accepting_close(&server->accepting);
	server->stopping = true;
	while (server->first)
		abort_exchange(server->first);
	while (server->spare_count > 0)
		buf_release(&server->spare[--server->spare_count]);
	while (server->spare_head_count > 0)
		free(server->spare_heads[--server->spare_head_count]);
	tls_context_free(server->tls);
	free(server);
}

unsigned http_server_connections(const struct http_server *server)
{
	return server->count;
}

const struct http_server_stats *http_server_stats(const struct http_server *server)
{
	return &server->stats;
}
