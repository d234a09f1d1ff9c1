/* The pool of connections against bare servers. */
#include "net_test.h"

#define REQUEST "GET / HTTP/1.1\r\nhost: x\r\n\r\n"

/* A call and what came of it. */
struct ask {
	struct http_call call;
	struct net *net;
	struct http_origin *origin;
	char request[64];
	int status;
	unsigned heads, ends;
	struct buf body;
	struct err err;
	bool cancels_in_head, cancels_in_body, pauses_in_body;
	struct ask *starts_next, *cancels_when_ended;
};

struct site {
	struct net *net;
	struct peer peer;
	struct http_pool *pool;
	struct http_origin *origin;
};

static void ask_start(struct ask *ask, struct site *site);

static void on_head(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct ask *ask = call->user;
	(void)bytes;
	ask->heads++;
	ask->status = head->status;
	if (ask->cancels_in_head)
		http_call_cancel(call);
}

static void on_body(struct http_call *call, struct bytes piece)
{
	struct ask *ask = call->user;
	buf_append_bytes(&ask->body, piece);
	if (ask->cancels_in_body)
		http_call_cancel(call);
	else if (ask->pauses_in_body)
		http_call_pause(call, true);
}

static void on_ended(struct http_call *call, const struct err *err)
{
	struct ask *ask = call->user;
	ask->ends++;
	ask->err = *err;
	if (ask->starts_next)
		http_call_start(ask->origin, &ask->starts_next->call);
	if (ask->cancels_when_ended)
		http_call_cancel(&ask->cancels_when_ended->call);
}

static void ask_init(struct ask *ask, struct site *site)
{
	memset(ask, 0, sizeof(*ask));
	ask->net = site->net;
	ask->origin = site->origin;
	buf_init(&ask->body, (size_t)64 << 20);
	strcpy(ask->request, REQUEST);
	ask->call = (struct http_call){
		.parts[0] = {ask->request, strlen(ask->request)},
		.part_count = 1,
		.first_byte_ns = 30 * SECOND,
		.idle_ns = 30 * SECOND,
		.user = ask,
		.head = on_head,
		.body = on_body,
		.ended = on_ended,
	};
}

static void ask_start(struct ask *ask, struct site *site)
{
	ask_init(ask, site);
	http_call_start(site->origin, &ask->call);
	assert_int_equal(0, ask->ends);
}

static bool has_ended(void *argument)
{
	return ((struct ask *)argument)->ends > 0;
}

static bool has_head(void *argument)
{
	return ((struct ask *)argument)->heads > 0;
}

static void ask_wait(struct ask *ask)
{
	net_until(ask->net, has_ended, ask);
	assert_int_equal(1, ask->ends);
}

static void ask_end(struct ask *ask)
{
	buf_release(&ask->body);
}

static void assert_answered(struct ask *ask, int status, const char *body)
{
	ask_wait(ask);
	if (ask->err.code != ERR_OK)
		fail_msg("%s", ask->err.message);
	assert_int_equal(status, ask->status);
	assert_int_equal(1, ask->heads);
	assert_int_equal(strlen(body), ask->body.size);
	assert_memory_equal(body, ask->body.data ? ask->body.data : "", ask->body.size);
}

static void site_start(struct site *site, struct net *net, unsigned connections_max)
{
	struct http_pool_options options = {
		.connections_max = connections_max,
		.idle_max = 4,
		.idle_timeout_ns = 30 * SECOND,
		.connect_timeout_ns = 10 * SECOND,
	};
	site->net = net;
	peer_start(&site->peer, net);
	site->pool = http_pool_new(net->loop, &options);
	assert_non_null(site->pool);
	assert_int_equal(ERR_OK, http_pool_origin(site->pool,
						  bytes_from(net_url("http", &site->peer.address)),
						  &site->origin, NULL));
}

static void site_stop(struct site *site)
{
	http_pool_free(site->pool);
	peer_stop(&site->peer);
}

/* ---- framing ---- */

static void split_everywhere(struct net *net, const char *answer, bool closes, int status,
			     const char *body)
{
	struct site site;
	struct ask ask;
	for (size_t at = 1; at < strlen(answer); at++) {
		site_start(&site, net, 4);
		ask_start(&ask, &site);
		struct raw *raw = peer_accept(&site.peer, 0);
		raw_wait_text(raw, REQUEST);
		raw_send(raw, bytes_of(answer, at));
		net_sleep(net, MILLISECOND / 2);
		raw_send(raw, bytes_from(answer + at));
		if (closes)
			env_shutdown(raw->stream);
		assert_answered(&ask, status, body);
		assert_true(ask.call.until_close == closes);
		ask_end(&ask);
		site_stop(&site);
	}
}

static void an_answer_may_be_split_anywhere(void **state)
{
	split_everywhere(*state, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", false, 200,
			 "hello");
	split_everywhere(
		*state,
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 OK\r\ntransfer-encoding: chunked"
		"\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
		false, 201, "hello");
	split_everywhere(*state, "HTTP/1.1 204 No Content\r\nx: y\r\n\r\n", false, 204, "");
}

static bool is_all_sent(void *argument)
{
	return ((struct raw *)argument)->out.size == 0;
}

static void an_answer_may_end_with_its_connection(void **state)
{
	struct site site;
	struct ask ask;
	site_start(&site, *state, 4);
	ask_start(&ask, &site);
	struct raw *raw = peer_accept(&site.peer, 0);
	raw_wait_text(raw, REQUEST);
	raw_send_text(raw, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
	net_until(*state, is_all_sent, raw);
	env_shutdown(raw->stream);
	assert_answered(&ask, 200, "until the end");
	assert_true(ask.call.until_close);
	ask_end(&ask);
	site_stop(&site);
}

static void what_is_no_answer_is_refused(void **state)
{
	static const char *const answers[] = {
		"nonsense\r\n\r\n",
		"HTTP/1.1 101 a\r\nupgrade: h2c\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: "
		"0\r\n\r\n",
		"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
		"HTTP/1.1 100 a\r\n\r\nHTTP/1.1 100 a\r\n\r\nHTTP/1.1 100 a\r\n\r\n"
		"HTTP/1.1 100 a\r\n\r\nHTTP/1.1 100 a\r\n\r\nHTTP/1.1 100 a\r\n\r\n"
		"HTTP/1.1 100 a\r\n\r\nHTTP/1.1 100 a\r\n\r\nHTTP/1.1 100 a\r\n\r\n",
	};
	for (size_t i = 0; i < COUNT(answers); i++) {
		struct site site;
		struct ask ask;
		site_start(&site, *state, 4);
		ask_start(&ask, &site);
		struct raw *raw = peer_accept(&site.peer, 0);
		raw_wait_text(raw, REQUEST);
		raw_send_text(raw, answers[i]);
		ask_wait(&ask);
		assert_int_equal(ERR_PROTOCOL, ask.err.code);
		assert_false(ask.call.unprocessed);
		raw_wait_end(raw);
		ask_end(&ask);
		site_stop(&site);
	}
}

/* ---- reuse ---- */

static void answer(struct raw *raw, const char *body)
{
	char text[128];
	raw_wait_text(raw, REQUEST);
	buf_clear(&raw->in);
	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n%s",
		 strlen(body), body);
	raw_send_text(raw, text);
}

static void a_connection_is_used_again(void **state)
{
	struct site site;
	struct ask ask;
	site_start(&site, *state, 4);
	for (unsigned i = 0; i < 4; i++) {
		ask_start(&ask, &site);
		answer(peer_accept(&site.peer, 0), "again");
		assert_answered(&ask, 200, "again");
		ask_end(&ask);
	}
	assert_int_equal(1, site.peer.accepted);
	site_stop(&site);
}

static void an_ending_may_start_the_next_call(void **state)
{
	struct site site;
	struct ask first, second;
	site_start(&site, *state, 1);
	ask_init(&second, &site);
	ask_start(&first, &site);
	first.starts_next = &second;
	answer(peer_accept(&site.peer, 0), "one");
	ask_wait(&first);
	answer(&site.peer.connections[0], "two");
	assert_answered(&second, 200, "two");
	assert_int_equal(1, site.peer.accepted);
	ask_end(&first);
	ask_end(&second);
	site_stop(&site);
}

static void what_may_not_be_used_again_is_closed(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx",
		"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx",
		"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx and more than was announced",
	};
	for (size_t i = 0; i < COUNT(answers); i++) {
		struct site site;
		struct ask ask;
		site_start(&site, *state, 4);
		ask_start(&ask, &site);
		struct raw *raw = peer_accept(&site.peer, 0);
		raw_wait_text(raw, REQUEST);
		raw_send_text(raw, answers[i]);
		assert_answered(&ask, 200, "x");
		raw_wait_end(raw);
		ask_end(&ask);
		ask_start(&ask, &site);
		answer(peer_accept(&site.peer, 1), "fresh");
		assert_answered(&ask, 200, "fresh");
		ask_end(&ask);
		site_stop(&site);
	}
}

static void a_connection_closed_while_idle_is_replaced(void **state)
{
	struct site site;
	struct ask ask;
	site_start(&site, *state, 4);
	ask_start(&ask, &site);
	answer(peer_accept(&site.peer, 0), "one");
	assert_answered(&ask, 200, "one");
	ask_end(&ask);
	raw_close(&site.peer.connections[0], false);
	net_sleep(*state, 100 * MILLISECOND);
	ask_start(&ask, &site);
	answer(peer_accept(&site.peer, 1), "two");
	assert_answered(&ask, 200, "two");
	ask_end(&ask);
	site_stop(&site);
}

/* The upstream may have acted on it: whoever called decides. */
static void a_request_that_was_sent_is_not_sent_twice(void **state)
{
	struct site site;
	struct ask ask;
	site_start(&site, *state, 4);
	ask_start(&ask, &site);
	answer(peer_accept(&site.peer, 0), "one");
	assert_answered(&ask, 200, "one");
	ask_end(&ask);
	ask_start(&ask, &site);
	raw_wait_text(&site.peer.connections[0], REQUEST);
	raw_close(&site.peer.connections[0], false);
	ask_wait(&ask);
	assert_int_equal(ERR_UPSTREAM, ask.err.code);
	assert_false(ask.call.unprocessed);
	assert_int_equal(1, site.peer.accepted);
	ask_end(&ask);
	site_stop(&site);
}

static void idle_connections_are_closed_in_time(void **state)
{
	struct site site;
	struct ask ask;
	struct http_pool_options options = {.connections_max = 4,
					    .idle_max = 4,
					    .idle_timeout_ns = 50 * MILLISECOND,
					    .connect_timeout_ns = 10 * SECOND};
	site_start(&site, *state, 4);
	http_pool_free(site.pool);
	site.pool = http_pool_new(site.net->loop, &options);
	assert_int_equal(ERR_OK, http_pool_origin(site.pool,
						  bytes_from(net_url("http", &site.peer.address)),
						  &site.origin, NULL));
	ask_start(&ask, &site);
	answer(peer_accept(&site.peer, 0), "one");
	assert_answered(&ask, 200, "one");
	raw_wait_end(&site.peer.connections[0]);
	ask_end(&ask);
	site_stop(&site);
}

/* ---- limits ---- */

static void beyond_the_limit_calls_wait_in_order(void **state)
{
	struct site site;
	struct ask asks[4];
	static const char *const bodies[] = {"0", "1", "2", "3"};
	site_start(&site, *state, 1);
	for (unsigned i = 0; i < 4; i++)
		ask_start(&asks[i], &site);
	for (unsigned i = 0; i < 4; i++) {
		answer(peer_accept(&site.peer, 0), bodies[i]);
		assert_answered(&asks[i], 200, bodies[i]);
		for (unsigned j = i + 1; j < 4; j++)
			assert_int_equal(0, asks[j].ends);
		ask_end(&asks[i]);
	}
	assert_int_equal(1, site.peer.accepted);
	site_stop(&site);
}

static void a_cancelled_call_gives_its_place_to_the_next(void **state)
{
	struct site site;
	struct ask first, second;
	site_start(&site, *state, 1);
	ask_start(&first, &site);
	ask_start(&second, &site);
	raw_wait_text(peer_accept(&site.peer, 0), REQUEST);
	http_call_cancel(&first.call);
	answer(peer_accept(&site.peer, 1), "mine");
	assert_answered(&second, 200, "mine");
	assert_int_equal(0, first.ends);
	ask_end(&first);
	ask_end(&second);
	site_stop(&site);
}

/* ---- cancelling ---- */

static void a_call_can_be_cancelled_at_any_time(void **state)
{
	struct net *net = *state;
	struct site site;
	struct ask ask;
	for (unsigned when = 0; when < 6; when++) {
		site_start(&site, net, 4);
		ask_start(&ask, &site);
		ask.cancels_in_head = when == 4;
		ask.cancels_in_body = when == 5;
		if (when == 0) { /* before anything happened */
			http_call_cancel(&ask.call);
			assert_true(ask.call.unprocessed);
		}
		if (when >= 1)
			raw_wait_text(peer_accept(&site.peer, 0), REQUEST);
		if (when == 1) {
			http_call_cancel(&ask.call);
			assert_false(ask.call.unprocessed);
		}
		if (when >= 2)
			raw_send_text(&site.peer.connections[0],
				      "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
		if (when >= 2)
			net_until(net, has_head, &ask);
		if (when == 2)
			http_call_cancel(&ask.call);
		if (when == 3) {
			http_call_pause(&ask.call, true);
			net_sleep(net, MILLISECOND);
			http_call_cancel(&ask.call);
		}
		size_t size = ask.body.size;
		if (when >= 1)
			raw_wait_end(&site.peer.connections[0]);
		net_sleep(net, 20 * MILLISECOND);
		assert_int_equal(0, ask.ends);
		assert_true(when == 5 || ask.body.size == size);
		ask_end(&ask);
		site_stop(&site);
	}
}

static void calls_that_fail_together_may_cancel_each_other(void **state)
{
	struct net *net = *state;
	struct site site;
	struct ask asks[3];
	struct env_address nobody;
	env_address_unix(&nobody, "/nowhere/at/all");
	site_start(&site, net, 4);
	assert_int_equal(ERR_OK, http_pool_origin(site.pool, BYTES("unix:/nowhere/at/all"),
						  &site.origin, NULL));
	for (unsigned i = 0; i < 3; i++)
		ask_start(&asks[i], &site);
	/* Whichever ends first cancels its neighbours. */
	for (unsigned i = 0; i < 3; i++)
		asks[i].cancels_when_ended = i == 1 ? NULL : &asks[1];
	net_sleep(net, 200 * MILLISECOND);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(asks[i].ends <= 1);
		ask_end(&asks[i]);
	}
	assert_true(asks[0].ends == 1 && asks[2].ends == 1 && asks[1].ends == 0);
	site_stop(&site);
}

/* ---- pausing, and much at once ---- */

static void a_paused_call_is_given_nothing(void **state)
{
	struct net *net = *state;
	struct site site;
	struct ask ask;
	site_start(&site, net, 4);
	ask_start(&ask, &site);
	ask.pauses_in_body = true;
	raw_wait_text(peer_accept(&site.peer, 0), REQUEST);
	raw_send_text(&site.peer.connections[0],
		      "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nfirst ");
	net_until(net, has_head, &ask);
	net_sleep(net, 100 * MILLISECOND);
	size_t before = ask.body.size;
	raw_send_text(&site.peer.connections[0], "second");
	net_sleep(net, 100 * MILLISECOND);
	assert_int_equal(before, ask.body.size);
	assert_int_equal(0, ask.ends);
	ask.pauses_in_body = false;
	http_call_pause(&ask.call, false);
	assert_answered(&ask, 200, "first second");
	ask_end(&ask);
	site_stop(&site);
}

/* More than is read in one turn, and all of it there already when reading begins. */
static void nothing_is_left_behind_of_a_large_answer(void **state)
{
	struct net *net = *state;
	struct site site;
	struct ask ask;
	size_t size = 5000000;
	char *body = malloc(size);
	for (size_t i = 0; i < size; i++)
		body[i] = (char)(i * 11 >> 5);
	if (net->world->faults.one_byte)
		size = 100000; /* byte by byte, it would take long */
	site_start(&site, net, 4);
	ask_start(&ask, &site);
	ask.call.idle_ns = 5 * SECOND;
	raw_wait_text(peer_accept(&site.peer, 0), REQUEST);
	char head[64];
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", size);
	raw_send_text(&site.peer.connections[0], head);
	net_until(net, has_head, &ask);
	http_call_pause(&ask.call, true);
	raw_send(&site.peer.connections[0], bytes_of(body, size));
	net_sleep(net, 300 * MILLISECOND);
	http_call_pause(&ask.call, false);
	ask_wait(&ask);
	assert_int_equal(ERR_OK, ask.err.code);
	assert_int_equal(size, ask.body.size);
	assert_memory_equal(body, ask.body.data, size);
	ask_end(&ask);
	site_stop(&site);
	free(body);
}

/* ---- failures ---- */

static void nobody_there_is_told_later(void **state)
{
	struct site site;
	struct ask ask;
	struct env_address nobody = net_nobody(*state);
	site_start(&site, *state, 4);
	assert_int_equal(ERR_OK, http_pool_origin(site.pool, bytes_from(net_url("http", &nobody)),
						  &site.origin, NULL));
	ask_start(&ask, &site);
	ask_wait(&ask);
	assert_int_equal(ERR_NETWORK, ask.err.code);
	assert_true(ask.call.unprocessed);
	assert_non_null(strstr(ask.err.message, "127.0.0.1"));
	ask_end(&ask);
	site_stop(&site);
}

static void an_answer_that_breaks_off_is_an_error(void **state)
{
	static const char *const answers[] = {
		"",
		"HTTP/1.1 200 OK\r\ncontent-le",
		"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
	};
	for (size_t i = 0; i < COUNT(answers); i++) {
		struct site site;
		struct ask ask;
		site_start(&site, *state, 4);
		ask_start(&ask, &site);
		struct raw *raw = peer_accept(&site.peer, 0);
		raw_wait_text(raw, REQUEST);
		raw_send_text(raw, answers[i]);
		net_until(*state, is_all_sent, raw);
		env_shutdown(raw->stream);
		ask_wait(&ask);
		assert_int_equal(ERR_UPSTREAM, ask.err.code);
		assert_false(ask.call.unprocessed);
		assert_true(ask.call.head_seen == (i >= 2));
		ask_end(&ask);
		site_stop(&site);
	}
}

static void a_silent_upstream_is_not_waited_for(void **state)
{
	struct site site;
	struct ask ask;
	for (unsigned with_head = 0; with_head < 2; with_head++) {
		site_start(&site, *state, 4);
		ask_init(&ask, &site);
		ask.call.first_byte_ns = with_head ? 20 * SECOND : 100 * MILLISECOND;
		ask.call.idle_ns = 100 * MILLISECOND;
		http_call_start(site.origin, &ask.call);
		struct raw *raw = peer_accept(&site.peer, 0);
		raw_wait_text(raw, REQUEST);
		if (with_head)
			raw_send_text(raw, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel");
		ask_wait(&ask);
		assert_int_equal(ERR_TIMEOUT, ask.err.code);
		assert_true(ask.call.head_seen == (with_head == 1));
		raw_wait_end(raw);
		ask_end(&ask);
		site_stop(&site);
	}
}

static void an_early_answer_ends_the_request(void **state)
{
	struct site site;
	struct ask ask;
	size_t size = 20000000;
	char *body = calloc(1, size);
	site_start(&site, *state, 4);
	site.peer.holds_back = true;
	ask_init(&ask, &site);
	ask.call.parts[1] = (struct iovec){body, size};
	ask.call.part_count = 2;
	http_call_start(site.origin, &ask.call);
	struct raw *raw = peer_accept(&site.peer, 0);
	raw_send_text(raw, "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
	assert_answered(&ask, 413, "no");
	ask_end(&ask);
	ask_start(&ask, &site); /* not on the connection that still has a request in it */
	raw_go_on(peer_accept(&site.peer, 1));
	answer(&site.peer.connections[1], "yes");
	assert_answered(&ask, 200, "yes");
	ask_end(&ask);
	site_stop(&site);
	free(body);
}

static void names_are_looked_up(void **state)
{
	struct net *net = *state;
	struct site site;
	struct ask ask;
	char url[64];
	if (!net->sim)
		return; /* what names there are is not ours to say */
	site_start(&site, net, 4);
	struct env_address address = site.peer.address;
	sim_name_add(net->sim, "api.example", &address);
	snprintf(url, sizeof(url), "http://api.example:%u", site.peer.address.port);
	assert_int_equal(ERR_OK, http_pool_origin(site.pool, bytes_from(url), &site.origin, NULL));
	ask_start(&ask, &site);
	answer(peer_accept(&site.peer, 0), "found");
	assert_answered(&ask, 200, "found");
	ask_end(&ask);
	assert_int_equal(ERR_OK, http_pool_origin(site.pool, BYTES("http://nobody.example"),
						  &site.origin, NULL));
	ask_start(&ask, &site);
	ask_wait(&ask);
	assert_int_equal(ERR_NETWORK, ask.err.code);
	assert_true(ask.call.unprocessed);
	assert_non_null(strstr(ask.err.message, "nobody.example"));
	ask_end(&ask);
	site_stop(&site);
}

/* So that the next call needs a new connection. */
static void answer_and_close(struct raw *raw, const char *body)
{
	char text[256];
	snprintf(text, sizeof(text),
		 "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %zu\r\n\r\n%s",
		 strlen(body), body);
	raw_wait_text(raw, "\r\n\r\n");
	raw_send_text(raw, text);
}

/* The site's origin is this name from now on, at the peer's port. */
static void name_site(struct site *site, const char *host)
{
	char url[64];
	snprintf(url, sizeof(url), "http://%s:%u", host, site->peer.address.port);
	assert_int_equal(ERR_OK,
			 http_pool_origin(site->pool, bytes_from(url), &site->origin, NULL));
}

/* Asks, and the peer answers on its connection `number`. */
static void ask_and_hear(struct site *site, unsigned number, const char *text)
{
	struct ask ask;
	ask_start(&ask, site);
	answer_and_close(peer_accept(&site->peer, number), text);
	assert_answered(&ask, 200, text);
	ask_end(&ask);
}

static void further_addresses_are_tried(void **state)
{
	struct net *net = *state;
	struct site site;
	if (!net->sim)
		return; /* it takes a network that loses what is sent */
	site_start(&site, net, 4);
	struct env *far = sim_node_new(net->sim, "far");
	struct env_address silent = sim_node_address(far, 0), good = site.peer.address;
	sim_name_add(net->sim, "api.example", &silent);
	sim_name_add(net->sim, "api.example", &good);
	name_site(&site, "api.example");
	for (unsigned i = 0; i < 2; i++) { /* refused; then not answered at all */
		sim_partition(net->sim, net->env, far, i == 1);
		uint64_t start_ns = net->loop->now_ns;
		ask_and_hear(&site, i, "found");
		assert_true(net->loop->now_ns - start_ns < 10 * SECOND);
	}
	site_stop(&site);
}

static void a_host_that_never_answers_is_given_up(void **state)
{
	struct net *net = *state;
	struct site site;
	struct ask ask;
	if (!net->sim)
		return;
	site_start(&site, net, 4);
	struct env *far = sim_node_new(net->sim, "far");
	sim_partition(net->sim, net->env, far, true);
	assert_int_equal(ERR_OK,
			 http_pool_origin(site.pool, BYTES("http://far:80"), &site.origin, NULL));
	ask_start(&ask, &site);
	ask_wait(&ask);
	assert_int_equal(ERR_TIMEOUT, ask.err.code);
	assert_true(ask.call.unprocessed);
	ask_end(&ask);
	site_stop(&site);
}

/* An address outlives the name servers, as long as it can be connected to. */
static void old_addresses_are_used_while_names_cannot_be_looked_up(void **state)
{
	struct net *net = *state;
	struct site site;
	if (!net->sim)
		return;
	site_start(&site, net, 4);
	struct env_address address = site.peer.address;
	sim_name_add(net->sim, "api.example", &address);
	name_site(&site, "api.example");
	ask_and_hear(&site, 0, "found");
	struct sim_faults faults = net->world->faults;
	faults.lookup_failure = 1000000;
	sim_set_faults(net->sim, &faults);
	net_sleep(net, 400 * SECOND);
	ask_and_hear(&site, 1, "still");
	site_stop(&site);
}

/* A name that moves is followed once its addresses are old, not before. */
static void names_are_looked_up_again(void **state)
{
	struct net *net = *state;
	struct site site;
	struct ask ask;
	if (!net->sim)
		return;
	site_start(&site, net, 4);
	struct env *far = sim_node_new(net->sim, "far"); /* where nobody listens */
	struct env_address here = site.peer.address, there = sim_node_address(far, here.port);
	sim_name_add(net->sim, "api.example", &here);
	name_site(&site, "api.example");
	for (unsigned i = 0; i < 2; i++) {
		ask_and_hear(&site, i, "here");
		sim_name_move(net->sim, "api.example", &there);
	}
	net_sleep(net, 400 * SECOND);
	ask_start(&ask, &site);
	ask_wait(&ask);
	assert_int_not_equal(ERR_OK, ask.err.code);
	assert_true(ask.call.unprocessed);
	ask_end(&ask);
	sim_name_move(net->sim, "api.example", &here);
	net_sleep(net, 400 * SECOND);
	ask_and_hear(&site, 2, "back");
	site_stop(&site);
}

/* Whatever is still under way when the pool goes must not come back to it. */
static void a_pool_may_go_while_a_name_is_looked_up(void **state)
{
	struct site site;
	struct ask ask;
	site_start(&site, *state, 4);
	assert_int_equal(ERR_OK, http_pool_origin(site.pool, BYTES("http://localhost:9"),
						  &site.origin, NULL));
	ask_start(&ask, &site);
	http_call_cancel(&ask.call);
	ask_end(&ask);
	assert_int_equal(ERR_OK, http_pool_origin(site.pool, BYTES("unix:/nowhere/at/all"),
						  &site.origin, NULL));
	ask_start(&ask, &site);
	http_call_cancel(&ask.call);
	site_stop(&site);
	net_sleep(*state, 100 * MILLISECOND);
	assert_int_equal(0, ask.ends);
	ask_end(&ask);
}

static void origins_are_told_apart_by_their_url(void **state)
{
	struct site site;
	struct http_origin *one, *same, *other;
	struct err err;
	site_start(&site, *state, 4);
	assert_int_equal(ERR_OK,
			 http_pool_origin(site.pool, BYTES("http://a.example/base/"), &one, NULL));
	assert_int_equal(ERR_OK,
			 http_pool_origin(site.pool, BYTES("http://a.example/base/"), &same, NULL));
	assert_int_equal(ERR_OK,
			 http_pool_origin(site.pool, BYTES("http://a.example"), &other, NULL));
	assert_ptr_equal(one, same);
	assert_ptr_not_equal(one, other);
	assert_true(bytes_is(http_origin_base_path(one), "/base"));
	assert_true(bytes_is(http_origin_base_path(other), ""));
	assert_true(bytes_is(http_origin_authority(one), "a.example"));
	static const char *const wrong[] = {"", "ftp://a", "http://", "http://a/?q=1",
					    "http://u@a/"};
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_int_equal(ERR_INVALID,
				 http_pool_origin(site.pool, bytes_from(wrong[i]), &one, &err));
	site_stop(&site);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_may_be_split_anywhere),
		cmocka_unit_test(an_answer_may_end_with_its_connection),
		cmocka_unit_test(what_is_no_answer_is_refused),
		cmocka_unit_test(a_connection_is_used_again),
		cmocka_unit_test(an_ending_may_start_the_next_call),
		cmocka_unit_test(what_may_not_be_used_again_is_closed),
		cmocka_unit_test(a_connection_closed_while_idle_is_replaced),
		cmocka_unit_test(a_request_that_was_sent_is_not_sent_twice),
		cmocka_unit_test(idle_connections_are_closed_in_time),
		cmocka_unit_test(beyond_the_limit_calls_wait_in_order),
		cmocka_unit_test(a_cancelled_call_gives_its_place_to_the_next),
		cmocka_unit_test(a_call_can_be_cancelled_at_any_time),
		cmocka_unit_test(calls_that_fail_together_may_cancel_each_other),
		cmocka_unit_test(a_paused_call_is_given_nothing),
		cmocka_unit_test(nothing_is_left_behind_of_a_large_answer),
		cmocka_unit_test(nobody_there_is_told_later),
		cmocka_unit_test(an_answer_that_breaks_off_is_an_error),
		cmocka_unit_test(a_silent_upstream_is_not_waited_for),
		cmocka_unit_test(an_early_answer_ends_the_request),
		cmocka_unit_test(names_are_looked_up),
		cmocka_unit_test(further_addresses_are_tried),
		cmocka_unit_test(a_host_that_never_answers_is_given_up),
		cmocka_unit_test(old_addresses_are_used_while_names_cannot_be_looked_up),
		cmocka_unit_test(names_are_looked_up_again),
		cmocka_unit_test(a_pool_may_go_while_a_name_is_looked_up),
		cmocka_unit_test(origins_are_told_apart_by_their_url),
	};
	return net_main(tests, COUNT(tests));
}
