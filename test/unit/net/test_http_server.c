/* The server against bare connections. */
#include "net_test.h"

#define EXCHANGES 64
#define BODY_MAX 5000

struct site {
	struct net *net;
	struct http_server *server;
	struct env_address address;
	struct http_exchange *open[EXCHANGES]; /* handed over and not yet answered by the test */
	unsigned opened, heads, aborted, drained, refused, stopped;
	bool answers_heads; /* in `head`: 401 */
	bool cuts_when_drained;
	int refused_status;
	char refused_method[16];
	size_t told[64]; /* sizes of the body that `progress` was given */
	unsigned told_count;
	bool told_wrong;
	unsigned requests, before_last; /* before one of /last */
	struct raw raw;
};

static struct bytes method_of(const struct http_exchange *exchange)
{
	return http_bytes(exchange->head_bytes.data, exchange->head->method);
}

static struct bytes path_of(const struct http_exchange *exchange)
{
	return http_bytes(exchange->head_bytes.data, exchange->head->path);
}

static void on_head(struct http_exchange *exchange, size_t *body_max)
{
	struct site *site = exchange->server_user;
	site->heads++;
	if (bytes_is(path_of(exchange), "/small"))
		*body_max = 10;
	if (site->answers_heads)
		http_respond(exchange, 401, NULL, 0, BYTES("who are you?"));
}

/* Bodies of these tests repeat the alphabet. */
static void on_progress(struct http_exchange *exchange)
{
	struct site *site = exchange->server_user;
	size_t size = exchange->body.size;
	site->told[site->told_count++ % COUNT(site->told)] = size;
	for (size_t i = 0; i < size; i++)
		site->told_wrong |= exchange->body.data[i] != (char)('a' + i % 26);
	site->told_wrong |= !bytes_is(path_of(exchange), "/large");
}

/* An answer with more fields than a head may hold, whole or in pieces. */
static void answer_widely(struct http_exchange *exchange, bool pieces)
{
	static const char value[5000];
	struct http_header wide[2] = {
		{"x-first",  {value, sizeof(value)}},
                {"x-second", {value, sizeof(value)}}
        };
	if (!pieces) {
		http_respond(exchange, 200, wide, 2, BYTES("must not leave"));
		return;
	}
	http_start(exchange, 200, wide, 2, -1);
	http_send(exchange, BYTES("must not leave"));
	http_finish(exchange);
}

/* /later waits for the test; everything else is answered at once with "METHOD PATH BODY". */
static void on_request(struct http_exchange *exchange)
{
	struct site *site = exchange->server_user;
	if (bytes_is(path_of(exchange), "/last"))
		site->before_last = site->requests;
	site->requests++;
	if (bytes_starts_with(path_of(exchange), BYTES("/later"))) {
		site->open[site->opened++ % EXCHANGES] = exchange;
		return;
	}
	if (bytes_starts_with(path_of(exchange), BYTES("/wide"))) {
		answer_widely(exchange, bytes_is(path_of(exchange), "/wide/pieces"));
		return;
	}
	struct buf text = BUF_INIT(1 << 20);
	buf_append_bytes(&text, method_of(exchange));
	buf_append_char(&text, ' ');
	buf_append_bytes(&text, path_of(exchange));
	buf_append_char(&text, ' ');
	buf_append_bytes(&text, exchange->body);
	buf_append_char(&text, '\n');
	http_respond(exchange, 200, NULL, 0, buf_bytes(&text));
	buf_release(&text);
}

static void on_aborted(struct http_exchange *exchange)
{
	struct site *site = exchange->server_user;
	site->aborted++;
}

static void on_drained(struct http_exchange *exchange)
{
	struct site *site = exchange->server_user;
	site->drained++;
	if (site->cuts_when_drained)
		http_cut(exchange);
}

/* Looks at what it is given, as a handler does that answers in the caller's own shape. */
static void on_refused(struct http_exchange *exchange, int status, const char *reason)
{
	struct site *site = exchange->server_user;
	struct http_header header = {"x-why", bytes_from(reason)};
	site->refused++;
	site->refused_status = status;
	if (exchange->head_bytes.size)
		snprintf(site->refused_method, sizeof(site->refused_method), "%.*s",
			 BYTES_ARG(method_of(exchange)));
	http_respond(exchange, status, &header, 1, BYTES("refused\n"));
}

static struct http_server_options usual_options(void)
{
	return (struct http_server_options){
		.head = on_head,
		.request = on_request,
		.aborted = on_aborted,
		.drained = on_drained,
		.refused = on_refused,
		.body_max = BODY_MAX,
		.head_timeout_ns = 20 * SECOND,
		.body_timeout_ns = 20 * SECOND,
		.idle_timeout_ns = 20 * SECOND,
		.write_timeout_ns = 20 * SECOND,
		.connections_max = 100,
	};
}

static void site_start(struct site *site, struct net *net,
		       const struct http_server_options *options)
{
	struct http_server_options own = options ? *options : usual_options();
	struct env_address any;
	memset(site, 0, sizeof(*site));
	site->net = net;
	own.argument = site;
	site->server = http_server_new(net->loop, &own);
	assert_non_null(site->server);
	assert_int_equal(ERR_OK, env_address_parse(BYTES("127.0.0.1:0"), &any, NULL));
	assert_int_equal(ERR_OK, http_server_listen(site->server, &any, &site->address, NULL));
}

static void site_stop(struct site *site)
{
	raw_close(&site->raw, true);
	http_server_free(site->server);
}

static void site_connect(struct site *site)
{
	raw_connect(&site->raw, site->net, &site->address);
}

static bool has_opened_one(void *argument)
{
	return ((struct site *)argument)->opened > 0;
}

static bool has_aborted(void *argument)
{
	return ((struct site *)argument)->aborted > 0;
}

static bool has_drained(void *argument)
{
	return ((struct site *)argument)->drained > 0;
}

static bool has_no_connection(void *argument)
{
	return http_server_connections(((struct site *)argument)->server) == 0;
}

static unsigned count_of(const struct raw *raw, const char *text)
{
	unsigned count = 0;
	const char *at = raw->in.data, *end = at + raw->in.size;
	while (at && (at = memmem(at, (size_t)(end - at), text, strlen(text)))) {
		count++;
		at += strlen(text);
	}
	return count;
}

/* ---- requests in pieces ---- */

static void split_everywhere(struct net *net, const char *request, const char *answer)
{
	struct site site;
	site_start(&site, net, NULL);
	for (size_t at = 1; at < strlen(request); at++) {
		site_connect(&site);
		raw_send(&site.raw, bytes_of(request, at));
		net_sleep(net, MILLISECOND / 2);
		raw_send(&site.raw, bytes_from(request + at));
		raw_wait_text(&site.raw, answer);
		assert_int_equal(1, count_of(&site.raw, "HTTP/1.1 200 OK\r\n"));
		raw_close(&site.raw, false);
	}
	assert_int_equal(0, site.refused + site.aborted);
	site_stop(&site);
}

static void a_request_may_be_split_anywhere(void **state)
{
	split_everywhere(*state, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
			 "\r\n\r\nPOST /a hello\n");
}

static void a_chunked_request_may_be_split_anywhere(void **state)
{
	split_everywhere(*state,
			 "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
			 "2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nt: u\r\n\r\n",
			 "\r\n\r\nPOST /b hello\n");
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	struct site site;
	site_start(&site, *state, NULL);
	site_connect(&site);
	raw_send_text(
		&site.raw,
		"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
		"POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
		"chunked\r\n\r\n1\r\nA\r\n0\r\n\r\n"
		"POST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nBCGET /4 HTTP/1.1\r\nHo");
	raw_wait_text(&site.raw, "POST /3 BC\n");
	raw_send_text(&site.raw, "st: x\r\n\r\n");
	raw_wait_text(&site.raw, "GET /4 \n");
	const char *text = site.raw.in.data;
	const char *one = strstr(text, "GET /1 \n"), *two = strstr(text, "POST /2 A\n"),
		   *three = strstr(text, "POST /3 BC\n"), *four = strstr(text, "GET /4 \n");
	assert_true(one && two && three && four && one < two && two < three && three < four);
	assert_int_equal(1, http_server_connections(site.server));
	site_stop(&site);
}

static bool has_two_connections(void *argument)
{
	return http_server_connections(((struct site *)argument)->server) == 2;
}

/* `many` requests of `size` bytes each, all sent before another connection asks once. Both are
 * there when the loop looks; in a simulated world one may come late. */
static void others_go_first(struct net *net, unsigned many, size_t size)
{
	struct site site;
	struct raw other;
	struct buf sent = BUF_INIT(1 << 20);
	site_start(&site, net, NULL);
	site_connect(&site);
	raw_connect(&other, net, &site.address);
	net_until(net, has_two_connections, &site);
	for (unsigned i = 0; i < many; i++) {
		buf_append_cstr(&sent, "GET /many HTTP/1.1\r\nHost: x\r\nX: ");
		while (sent.size + 4 < (i + 1) * size)
			buf_append_cstr(&sent, "x");
		buf_append_cstr(&sent, "\r\n\r\n");
	}
	buf_append_cstr(&sent, "GET /end HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_send(&site.raw, buf_bytes(&sent));
	raw_send_text(&other, "GET /last HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_wait_text(&other, "GET /last \n");
	if (!net->sim)
		assert_in_range(site.before_last, 0, HTTP_SERVER_REQUESTS);
	raw_wait_text(&site.raw, "GET /end \n");
	assert_int_equal(many, count_of(&site.raw, "GET /many \n"));
	assert_int_equal(many + 2, site.requests);
	raw_close(&other, true);
	buf_release(&sent);
	site_stop(&site);
}

static void many_pipelined_requests_let_others_go_first(void **state)
{
	others_go_first(*state, 10 * HTTP_SERVER_REQUESTS, 64);
}

/* After each of them nothing is left in the buffer, and more in the stream. */
static void so_do_requests_that_fill_a_receive_each(void **state)
{
	others_go_first(*state, 4 * HTTP_SERVER_REQUESTS, 4096);
}

static void what_is_pipelined_waits_for_the_answer_under_way(void **state)
{
	struct site site;
	struct net *net = *state;
	site_start(&site, net, NULL);
	site_connect(&site);
	raw_send_text(&site.raw,
		      "GET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
	net_until(net, has_opened_one, &site);
	net_sleep(net, 20 * MILLISECOND);
	assert_int_equal(0, site.raw.in.size);
	http_respond(site.open[0], 200, NULL, 0, BYTES("first\n"));
	raw_wait_text(&site.raw, "GET /2 \n");
	assert_true(strstr(site.raw.in.data, "first\n") < strstr(site.raw.in.data, "GET /2 \n"));
	site_stop(&site);
}

static void a_connection_serves_many_requests_and_closes_when_asked(void **state)
{
	struct site site;
	site_start(&site, *state, NULL);
	site_connect(&site);
	for (unsigned i = 0; i < 5; i++) {
		raw_send_text(&site.raw, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n");
		raw_wait_text(&site.raw, "GET /x \n");
		buf_clear(&site.raw.in);
	}
	assert_false(site.raw.eof);
	raw_send_text(&site.raw, "GET /y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	raw_wait_end(&site.raw);
	assert_true(site.raw.eof && raw_has(&site.raw, "connection: close\r\n"));
	assert_true(raw_has(&site.raw, "GET /y \n"));
	net_until(*state, has_no_connection, &site);
	site_stop(&site);
}

static void http_1_0_is_closed_after_its_answer(void **state)
{
	struct site site;
	struct net *net = *state;
	site_start(&site, net, NULL);
	site_connect(&site);
	raw_send_text(&site.raw, "GET /later HTTP/1.0\r\n\r\n");
	net_until(net, has_opened_one, &site);
	http_start(site.open[0], 200, NULL, 0, -1);
	http_send(site.open[0], BYTES("in "));
	http_send(site.open[0], BYTES("pieces"));
	http_finish(site.open[0]);
	raw_wait_end(&site.raw);
	assert_true(site.raw.eof && raw_has(&site.raw, "\r\n\r\nin pieces"));
	assert_false(raw_has(&site.raw, "chunked"));
	site_stop(&site);
}

static void head_requests_get_no_body(void **state)
{
	struct site site;
	site_start(&site, *state, NULL);
	site_connect(&site);
	raw_send_text(&site.raw,
		      "HEAD /h HTTP/1.1\r\nHost: x\r\n\r\nGET /g HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_wait_text(&site.raw, "GET /g \n");
	assert_false(raw_has(&site.raw, "HEAD /h"));
	assert_true(raw_has(&site.raw, "content-length: 9\r\n"));
	site_stop(&site);
}

static void an_answer_in_pieces_is_chunked(void **state)
{
	struct site site;
	struct net *net = *state;
	struct http_header headers[2] = {
		{"x-a", BYTES("b")                   },
                {NULL,  BYTES("x-c: d\r\nx-e: f\r\n")}
        };
	site_start(&site, net, NULL);
	site_connect(&site);
	raw_send_text(&site.raw, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	net_until(net, has_opened_one, &site);
	http_start(site.open[0], 200, headers, 2, -1);
	assert_true(http_has_started(site.open[0]));
	http_send(site.open[0], BYTES("hello"));
	http_send(site.open[0], BYTES(""));
	raw_wait_text(&site.raw, "\r\n\r\n5\r\nhello\r\n");
	assert_true(raw_has(&site.raw, "\r\nx-a: b\r\nx-c: d\r\nx-e: f\r\n"));
	http_finish(site.open[0]);
	raw_wait_text(&site.raw, "hello\r\n0\r\n\r\n");
	raw_send_text(&site.raw, "GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_wait_text(&site.raw, "GET /next \n");
	site_stop(&site);
}

/* ---- 100-continue ---- */

static void a_client_that_asks_is_told_to_go_on(void **state)
{
	struct site site;
	site_start(&site, *state, NULL);
	site_connect(&site);
	raw_send_text(&site.raw, "POST /c HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
				 "Content-Length: 3\r\n\r\n");
	raw_wait_text(&site.raw, "HTTP/1.1 100 Continue\r\n\r\n");
	raw_send_text(&site.raw, "abc");
	raw_wait_text(&site.raw, "POST /c abc\n");
	site_stop(&site);
}

static void an_expectant_client_is_refused_before_its_body(void **state)
{
	struct site site;
	site_start(&site, *state, NULL);
	site_connect(&site);
	raw_send_text(&site.raw, "POST /c HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
				 "Content-Length: 5001\r\n\r\n");
	raw_wait_end(&site.raw);
	assert_true(raw_has(&site.raw, "HTTP/1.1 413 "));
	assert_false(raw_has(&site.raw, "100 Continue"));
	site_stop(&site);
}

/* ---- limits and malformed requests ---- */

static void refused_with(struct net *net, const char *request, size_t padding, const char *rest,
			 int status, const char *method)
{
	struct site site;
	struct buf text = BUF_INIT(1 << 20);
	char line[32];
	buf_append_cstr(&text, request);
	for (size_t i = 0; i < padding; i++)
		buf_append_char(&text, 'p');
	buf_append_cstr(&text, rest);
	snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
	site_start(&site, net, NULL);
	site_connect(&site);
	raw_send(&site.raw, buf_bytes(&text));
	raw_wait_end(&site.raw);
	if (!raw_has(&site.raw, line))
		fail_msg("not %s: %.*s", line, (int)site.raw.in.size, site.raw.in.data);
	assert_int_equal(1, site.refused);
	assert_int_equal(status, site.refused_status);
	if (method)
		assert_string_equal(method, site.refused_method);
	assert_true(raw_has(&site.raw, "connection: close\r\n"));
	assert_int_equal(0, site.opened + site.aborted);
	raw_close(&site.raw, false);
	net_until(net, has_no_connection, &site);
	site_stop(&site);
	buf_release(&text);
}

static void malformed_heads_are_refused(void **state)
{
	static const struct {
		const char *request;
		int status;
	} heads[] = {
		{"nonsense\r\n\r\n",							      400},
		{"GET / HTTP/2.0\r\nHost: x\r\n\r\n",                                             505},
		{"POST / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",                              400},
		{"HEAD / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",                              400},
		{"GET / HTTP/1.1\r\n\r\n",							400},
		{"GET / HTTP/1.1\nHost: x\n\n",						   400},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
		 400										 },
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: "
		 "chunked\r\n\r\n",					      400},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",        501},
		{"POST / HTTP/1.1\r\nHost: x\r\nExpect: money\r\n\r\n",                           417},
	};
	for (size_t i = 0; i < COUNT(heads); i++)
		refused_with(*state, heads[i].request, 0, "", heads[i].status, NULL);
}

static void heads_and_bodies_have_a_limit(void **state)
{
	refused_with(*state, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", 20000, "\r\n\r\n", 431, "");
	refused_with(*state, "GET /", 9000, " HTTP/1.1\r\nHost: x\r\n\r\n", 414, "");
	refused_with(*state, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5001\r\n\r\n", 5001, "",
		     413, "POST");
	refused_with(*state, "PUT /small HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", 11, "",
		     413, "PUT");
	/* The buffer has grown and moved since the head was complete. */
	refused_with(*state,
		     "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9000\r\n",
		     0x9000, "\r\n0\r\n\r\n", 413, "POST");
	refused_with(*state,
		     "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n",
		     4096, "\r\nzz\r\n", 400, "POST");
}

static void plain_text_where_nobody_says_how_to_refuse(void **state)
{
	struct site site;
	struct http_server_options options = usual_options();
	options.refused = NULL;
	site_start(&site, *state, &options);
	site_connect(&site);
	raw_send_text(&site.raw, "POST / HTTP/1.1\r\nbad header\r\n\r\n");
	raw_wait_end(&site.raw);
	assert_true(raw_has(&site.raw, "HTTP/1.1 400 Bad Request\r\n"));
	assert_true(raw_has(&site.raw, "a header field name is"));
	site_stop(&site);
}

/* The answer arrives although the client goes on sending what nobody wants. */
/* Nothing of it is left out in silence: a field that is missing could be the one that ends it. */
static void an_answer_whose_head_does_not_fit_is_an_error(void **state)
{
	static const char *const paths[] = {"/wide", "/wide/pieces"};
	struct site site;
	struct net *net = *state;
	for (size_t i = 0; i < COUNT(paths); i++) {
		char request[80];
		site_start(&site, net, NULL);
		site_connect(&site);
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
		raw_send_text(&site.raw, request);
		raw_wait_end(&site.raw);
		assert_true(raw_has(&site.raw, "HTTP/1.1 500 "));
		assert_true(raw_has(&site.raw, "content-length: 0\r\n"));
		assert_true(raw_has(&site.raw, "connection: close\r\n"));
		assert_false(raw_has(&site.raw, "must not leave"));
		assert_false(raw_has(&site.raw, "x-first"));
		assert_false(raw_has(&site.raw, "chunked"));
		raw_close(&site.raw, false);
		net_until(net, has_no_connection, &site);
		site_stop(&site);
	}
}

static void an_early_answer_reaches_a_client_that_still_sends(void **state)
{
	struct site site;
	struct net *net = *state;
	char *body = calloc(1, 300000);
	site_start(&site, net, NULL);
	site.answers_heads = true;
	site_connect(&site);
	raw_send_text(&site.raw, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n");
	raw_send(&site.raw, bytes_of(body, 300000));
	raw_wait_end(&site.raw);
	assert_true(raw_has(&site.raw, "HTTP/1.1 401 "));
	assert_true(raw_has(&site.raw, "who are you?"));
	assert_int_equal(1, site.heads);
	assert_int_equal(0, site.opened + site.refused + site.aborted);
	raw_close(&site.raw, false);
	net_until(net, has_no_connection, &site);
	site_stop(&site);
	free(body);
}

/* ---- time ---- */

static void silence_is_not_waited_for(void **state)
{
	struct site site;
	struct http_server_options options = usual_options();
	options.head_timeout_ns = options.body_timeout_ns = 80 * MILLISECOND;
	options.idle_timeout_ns = 200 * MILLISECOND;
	site_start(&site, *state, &options);
	site_connect(&site); /* nothing at all */
	raw_wait_end(&site.raw);
	assert_int_equal(0, site.raw.in.size);
	raw_close(&site.raw, false);
	site_connect(&site); /* half a head */
	raw_send_text(&site.raw, "POST / HTTP/1.1\r\nHo");
	raw_wait_text(&site.raw, "HTTP/1.1 408 ");
	raw_wait_end(&site.raw);
	raw_close(&site.raw, false);
	site_connect(&site); /* half a body */
	raw_send_text(&site.raw, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
	raw_wait_text(&site.raw, "HTTP/1.1 408 ");
	raw_wait_end(&site.raw);
	assert_string_equal("POST", site.refused_method);
	raw_close(&site.raw, false);
	assert_int_equal(2, site.refused);
	site_connect(&site); /* nothing more after an answer */
	raw_send_text(&site.raw, "GET /idle HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_wait_end(&site.raw);
	assert_true(raw_has(&site.raw, "GET /idle \n"));
	assert_int_equal(1, count_of(&site.raw, "HTTP/1.1"));
	assert_int_equal(0, http_server_connections(site.server));
	site_stop(&site);
}

static void a_large_body_is_shown_as_it_comes(void **state)
{
	struct site site;
	struct http_server_options options = usual_options();
	struct buf request = BUF_INIT(1 << 21);
	size_t size = 700000;
	options.body_max = size;
	options.progress = on_progress;
	for (int chunked = 0; chunked < 2; chunked++) {
		site_start(&site, *state, &options);
		site_connect(&site);
		buf_clear(&request);
		buf_append_cstr(&request,
				"POST /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
		buf_printf(&request,
			   chunked ? "Transfer-Encoding: chunked\r\n\r\n%zx\r\n"
				   : "Content-Length: %zu\r\n\r\n",
			   size);
		size_t at = request.size;
		for (size_t i = 0; i < size; i++)
			buf_append_char(&request, (char)('a' + i % 26));
		if (chunked)
			buf_append_cstr(&request, "\r\n0\r\n\r\n");
		raw_send(&site.raw, buf_bytes(&request));
		raw_wait_end(&site.raw);
		assert_true(raw_has(&site.raw, "HTTP/1.1 200 "));
		assert_memory_equal(site.raw.in.data + site.raw.in.size - 1 - size,
				    request.data + at, size);
		assert_false(site.told_wrong);
		assert_in_range(site.told_count, 5, size / HTTP_SERVER_SLICE);
		for (unsigned i = 0; i < site.told_count; i++) {
			size_t before = i ? site.told[i - 1] : 0;
			assert_true(site.told[i] >= before + HTTP_SERVER_SLICE);
			assert_true(site.told[i] <= before + 2 * HTTP_SERVER_SLICE);
		}
		site_stop(&site);
	}
	buf_release(&request);
}

static void a_body_must_come_at_a_rate(void **state)
{
	struct site site;
	struct http_server_options options = usual_options();
	options.body_timeout_ns = 80 * MILLISECOND;
	options.body_rate_min = 1; /* every byte earns a second */
	site_start(&site, *state, &options);
	site_connect(&site);
	raw_send_text(&site.raw,
		      "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n0123456789");
	for (unsigned i = 0; i < 2; i++) {
		net_sleep(*state, 200 * MILLISECOND);
		raw_send_text(&site.raw, "0123456789");
	}
	raw_wait_text(&site.raw, "POST /slow 012345678901234567890123456789\n");
	site_stop(&site);
	options.body_rate_min = 1000000; /* a byte earns nothing to speak of */
	site_start(&site, *state, &options);
	site_connect(&site);
	raw_send_text(&site.raw, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n");
	for (unsigned i = 0; i < 10 && !raw_has(&site.raw, "HTTP/1.1"); i++) {
		raw_send_text(&site.raw, "x");
		net_sleep(*state, 30 * MILLISECOND);
	}
	raw_wait_text(&site.raw, "HTTP/1.1 408 ");
	raw_wait_end(&site.raw);
	site_stop(&site);
}

static void a_handler_may_take_as_long_as_it_likes(void **state)
{
	struct site site;
	struct net *net = *state;
	struct http_server_options options = usual_options();
	options.head_timeout_ns = options.body_timeout_ns = options.idle_timeout_ns =
		options.write_timeout_ns = 100 * MILLISECOND;
	site_start(&site, net, &options);
	site_connect(&site);
	raw_send_text(&site.raw, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	net_until(net, has_opened_one, &site);
	net_sleep(net, 400 * MILLISECOND);
	assert_int_equal(0, site.aborted);
	http_respond(site.open[0], 200, NULL, 0, BYTES("at last"));
	raw_wait_text(&site.raw, "at last");
	site_stop(&site);
}

/* Pieces that keep queueing up are no progress. */
static void a_client_that_does_not_read_is_given_up(void **state)
{
	struct site site;
	struct net *net = *state;
	static char piece[60000];
	struct http_server_options options = usual_options();
	options.write_timeout_ns = 500 * MILLISECOND;
	site_start(&site, net, &options);
	site_connect(&site);
	site.raw.holds_back = true;
	raw_send_text(&site.raw, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	net_until(net, has_opened_one, &site);
	http_start(site.open[0], 200, NULL, 0, -1);
	while (http_unsent(site.open[0]) < 30000000 / (net->sim ? 100 : 1))
		http_send(site.open[0], bytes_of(piece, sizeof(piece)));
	uint64_t start = net->loop->now_ns;
	while (!site.aborted && net->loop->now_ns - start < 20 * SECOND) {
		http_send(site.open[0], BYTES("more"));
		net_sleep(net, 20 * MILLISECOND);
	}
	assert_int_equal(1, site.aborted);
	assert_int_equal(0, http_server_connections(site.server));
	site_stop(&site);
}

/* ---- slow readers ---- */

static void a_slow_reader_gets_every_byte(void **state)
{
	struct site site;
	struct net *net = *state;
	size_t size = net->sim ? 400000 : 30000000;
	char *body = malloc(size);
	for (size_t i = 0; i < size; i++)
		body[i] = (char)(i * 7 >> 6);
	site_start(&site, net, NULL);
	site_connect(&site);
	site.raw.holds_back = true;
	raw_send_text(&site.raw, "GET /later HTTP/1.0\r\n\r\n");
	net_until(net, has_opened_one, &site);
	http_start(site.open[0], 200, NULL, 0, -1);
	http_send(site.open[0], bytes_of(body, size));
	assert_true(http_unsent(site.open[0]) > HTTP_SERVER_UNSENT_HIGH);
	net_sleep(net, 10 * MILLISECOND);
	assert_int_equal(0, site.drained);
	raw_go_on(&site.raw);
	net_until(net, has_drained, &site);
	assert_true(http_unsent(site.open[0]) < HTTP_SERVER_UNSENT_LOW);
	http_finish(site.open[0]);
	raw_wait_end(&site.raw);
	const char *start = strstr(site.raw.in.data, "\r\n\r\n") + 4;
	assert_int_equal(size, site.raw.in.size - (size_t)(start - site.raw.in.data));
	assert_memory_equal(body, start, size);
	assert_int_equal(1, site.drained);
	site_stop(&site);
	free(body);
}

static void a_handler_may_cut_when_it_is_drained(void **state)
{
	struct site site;
	struct net *net = *state;
	size_t size = net->sim ? 400000 : 30000000;
	char *body = calloc(1, size);
	site_start(&site, net, NULL);
	site.cuts_when_drained = true;
	site_connect(&site);
	site.raw.holds_back = true;
	raw_send_text(&site.raw, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	net_until(net, has_opened_one, &site);
	http_start(site.open[0], 200, NULL, 0, -1);
	http_send(site.open[0], bytes_of(body, size));
	raw_go_on(&site.raw);
	net_until(net, has_no_connection, &site);
	assert_int_equal(0, site.aborted);
	raw_wait_end(&site.raw);
	site_stop(&site);
	free(body);
}

static bool is_mine(const struct http_exchange *exchange, void *argument)
{
	return exchange->user == argument;
}

static void a_finished_answer_can_be_cut_while_it_goes_out(void **state)
{
	struct site site;
	struct net *net = *state;
	size_t size = net->sim ? 400000 : 30000000;
	char *body = calloc(1, size);
	int mine, other;
	site_start(&site, net, NULL);
	site_connect(&site);
	site.raw.holds_back = true;
	raw_send_text(&site.raw, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	net_until(net, has_opened_one, &site);
	site.open[0]->user = &mine;
	http_respond(site.open[0], 200, NULL, 0, bytes_of(body, size));
	http_server_cut_unsent(site.server, is_mine, &other);
	assert_int_equal(1, http_server_connections(site.server));
	http_server_cut_unsent(site.server, is_mine, &mine);
	assert_int_equal(0, http_server_connections(site.server));
	assert_int_equal(0, site.aborted);
	raw_go_on(&site.raw);
	raw_wait_end(&site.raw);
	assert_true(site.raw.in.size < size);
	site_stop(&site);
	free(body);
}

/* ---- endings ---- */

static void a_client_that_goes_aborts_its_exchange(void **state)
{
	struct site site;
	struct net *net = *state;
	for (unsigned reset = 0; reset < 2; reset++) {
		site_start(&site, net, NULL);
		site_connect(&site);
		raw_send_text(&site.raw, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
		net_until(net, has_opened_one, &site);
		raw_close(&site.raw, reset);
		net_until(net, has_aborted, &site);
		assert_int_equal(1, site.aborted);
		assert_int_equal(0, http_server_connections(site.server));
		site_stop(&site);
	}
}

static void a_cut_answer_ends_in_a_reset(void **state)
{
	struct site site;
	struct net *net = *state;
	site_start(&site, net, NULL);
	site_connect(&site);
	raw_send_text(&site.raw, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	net_until(net, has_opened_one, &site);
	http_start(site.open[0], 200, NULL, 0, 100);
	http_send(site.open[0], BYTES("part"));
	raw_wait_text(&site.raw, "part");
	http_cut(site.open[0]);
	raw_wait_end(&site.raw);
	assert_true(site.raw.reset);
	assert_int_equal(0, site.aborted);
	assert_int_equal(0, http_server_connections(site.server));
	site_stop(&site);
}

static void on_stopped(void *argument)
{
	((struct site *)argument)->stopped++;
}

static void stopping_lets_busy_connections_finish(void **state)
{
	struct site site;
	struct net *net = *state;
	struct raw idle;
	site_start(&site, net, NULL);
	raw_connect(&idle, net, &site.address);
	raw_send_text(&idle, "GET /i HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_wait_text(&idle, "GET /i \n");
	site_connect(&site);
	raw_send_text(&site.raw, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	net_until(net, has_opened_one, &site);
	http_server_stop(site.server, on_stopped, &site);
	raw_wait_end(&idle);
	assert_true(idle.eof);
	http_server_close_all(site.server); /* not the one that is being answered */
	assert_int_equal(1, http_server_connections(site.server));
	assert_int_equal(0, site.stopped);
	http_respond(site.open[0], 200, NULL, 0, BYTES("the last"));
	raw_wait_end(&site.raw);
	assert_true(raw_has(&site.raw, "connection: close\r\n") && raw_has(&site.raw, "the last"));
	net_until(net, has_no_connection, &site);
	assert_int_equal(1, site.stopped);
	raw_close(&idle, true);
	site_stop(&site);
}

static void stopping_an_idle_server_is_done_at_once(void **state)
{
	struct site site;
	struct raw late;
	site_start(&site, *state, NULL);
	http_server_stop(site.server, on_stopped, &site);
	assert_int_equal(1, site.stopped);
	raw_connect(&late, *state, &site.address);
	raw_wait_end(&late);
	assert_false(late.connected);
	raw_close(&late, true);
	site_stop(&site);
}

static void close_all_ends_connections_that_hang(void **state)
{
	struct site site;
	struct net *net = *state;
	site_start(&site, net, NULL);
	site_connect(&site);
	raw_send_text(&site.raw, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf");
	net_sleep(net, 20 * MILLISECOND);
	http_server_stop(site.server, on_stopped, &site);
	assert_int_equal(0, site.stopped);
	http_server_close_all(site.server);
	assert_int_equal(1, site.stopped);
	raw_wait_end(&site.raw);
	site_stop(&site);
}

static void freeing_aborts_what_is_open(void **state)
{
	struct site site;
	struct net *net = *state;
	site_start(&site, net, NULL);
	site_connect(&site);
	raw_send_text(&site.raw, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	net_until(net, has_opened_one, &site);
	site_stop(&site);
	assert_int_equal(1, site.aborted);
}

static void beyond_the_limit_connections_wait(void **state)
{
	struct site site;
	struct net *net = *state;
	struct http_server_options options = usual_options();
	struct raw first, second;
	options.connections_max = 2;
	site_start(&site, net, &options);
	raw_connect(&first, net, &site.address);
	raw_connect(&second, net, &site.address);
	raw_send_text(&first, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_send_text(&second, "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_wait_text(&first, "GET /1 \n");
	raw_wait_text(&second, "GET /2 \n");
	site_connect(&site);
	raw_send_text(&site.raw, "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n");
	net_sleep(net, 50 * MILLISECOND);
	assert_int_equal(0, site.raw.in.size);
	assert_int_equal(2, http_server_connections(site.server));
	raw_close(&first, false);
	raw_wait_text(&site.raw, "GET /3 \n");
	raw_close(&second, false);
	site_stop(&site);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_may_be_split_anywhere),
		cmocka_unit_test(a_chunked_request_may_be_split_anywhere),
		cmocka_unit_test(pipelined_requests_are_answered_in_order),
		cmocka_unit_test(many_pipelined_requests_let_others_go_first),
		cmocka_unit_test(so_do_requests_that_fill_a_receive_each),
		cmocka_unit_test(what_is_pipelined_waits_for_the_answer_under_way),
		cmocka_unit_test(a_connection_serves_many_requests_and_closes_when_asked),
		cmocka_unit_test(http_1_0_is_closed_after_its_answer),
		cmocka_unit_test(head_requests_get_no_body),
		cmocka_unit_test(an_answer_in_pieces_is_chunked),
		cmocka_unit_test(a_client_that_asks_is_told_to_go_on),
		cmocka_unit_test(an_expectant_client_is_refused_before_its_body),
		cmocka_unit_test(malformed_heads_are_refused),
		cmocka_unit_test(heads_and_bodies_have_a_limit),
		cmocka_unit_test(plain_text_where_nobody_says_how_to_refuse),
		cmocka_unit_test(an_answer_whose_head_does_not_fit_is_an_error),
		cmocka_unit_test(an_early_answer_reaches_a_client_that_still_sends),
		cmocka_unit_test(silence_is_not_waited_for),
		cmocka_unit_test(a_large_body_is_shown_as_it_comes),
		cmocka_unit_test(a_body_must_come_at_a_rate),
		cmocka_unit_test(a_handler_may_take_as_long_as_it_likes),
		cmocka_unit_test(a_client_that_does_not_read_is_given_up),
		cmocka_unit_test(a_slow_reader_gets_every_byte),
		cmocka_unit_test(a_handler_may_cut_when_it_is_drained),
		cmocka_unit_test(a_finished_answer_can_be_cut_while_it_goes_out),
		cmocka_unit_test(a_client_that_goes_aborts_its_exchange),
		cmocka_unit_test(a_cut_answer_ends_in_a_reset),
		cmocka_unit_test(stopping_lets_busy_connections_finish),
		cmocka_unit_test(stopping_an_idle_server_is_done_at_once),
		cmocka_unit_test(close_all_ends_connections_that_hang),
		cmocka_unit_test(freeing_aborts_what_is_open),
		cmocka_unit_test(beyond_the_limit_connections_wait),
	};
	return net_main(tests, COUNT(tests));
}
