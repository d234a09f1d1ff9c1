/* Listeners and streams. Two ends talk on one loop; each writes what it has, reads all it can, and
 * the test looks at what they saw. */
#include "contract.h"

#include <stdlib.h>

struct meeting;

/* One end of a connection, or none yet. */
struct end {
	struct env_stream *stream;
	struct meeting *meeting;
	const char *data; /* to send */
	size_t size, sent;
	struct buf received;
	size_t read_size;
	bool shut_when_sent;
	bool holds_back; /* does not receive */
	bool reads_once; /* and then holds back */
	bool shut, eof, reset, was_connected;
	bool closed;
};

struct meeting {
	struct contract *contract;
	struct env_loop *loop;
	struct env_listener *listener;
	struct env_address address;
	struct end client, server;
	bool (*over)(struct meeting *meeting);
	struct env_address peer;
	unsigned accepts, calls_after_close;
};

static void end_close(struct end *end, bool reset)
{
	if (end->stream)
		env_close(end->stream, reset);
	end->stream = NULL;
	end->closed = true;
}

static void end_send(struct end *end)
{
	while (end->sent < end->size && end->stream->writable) {
		struct iovec parts[2] = {
			{(void *)(end->data + end->sent),     1                        },
			{(void *)(end->data + end->sent + 1), end->size - end->sent - 1}
                };
		ssize_t count = env_send(end->stream, parts, end->size - end->sent > 1 ? 2 : 1);
		if (count == ENV_RESET)
			end->reset = true;
		if (count < 0) {
			assert_false(end->stream->writable);
			return;
		}
		assert_true(count > 0 && (size_t)count <= end->size - end->sent);
		assert_true((size_t)count == end->size - end->sent || !end->stream->writable);
		end->sent += (size_t)count;
	}
	if (end->sent == end->size && end->shut_when_sent && !end->shut) {
		env_shutdown(end->stream);
		end->shut = true;
	}
}

static void end_receive(struct end *end)
{
	char data[65536];
	while (end->stream->readable && !end->eof && !end->reset && !end->holds_back) {
		ssize_t count = env_receive(end->stream, data, end->read_size);
		if (count > 0)
			buf_append(&end->received, data, (size_t)count);
		end->holds_back = end->reads_once && count > 0;
		end->eof |= count == ENV_EOF;
		end->reset |= count == ENV_RESET;
		if (count == ENV_AGAIN)
			assert_false(end->stream->readable);
	}
}

static void end_ready(struct env_stream *stream)
{
	struct end *end = stream->argument;
	struct meeting *meeting = end->meeting;
	assert_false(end->closed);
	end->was_connected |= stream->connected;
	if (stream->connected)
		end_send(end);
	end_receive(end);
	if (meeting->over(meeting))
		env_loop_stop(meeting->loop);
}

static void end_begin(struct end *end, struct env_stream *stream)
{
	assert_non_null(stream);
	end->stream = stream;
	stream->ready = end_ready;
	stream->argument = end;
}

static void on_accept(struct env_listener *listener, void *argument)
{
	struct meeting *meeting = argument;
	struct env_stream *stream = env_accept(meeting->loop, listener, &meeting->peer);
	if (!stream)
		return;
	meeting->accepts++;
	assert_true(stream->connected && stream->writable);
	end_begin(&meeting->server, stream);
	end_ready(stream); /* what is there already is not announced */
}

static void meeting_init(struct meeting *meeting, struct contract *contract, const char *place,
			 bool (*over)(struct meeting *))
{
	struct err err = ERR_INIT;
	*meeting = (struct meeting){.contract = contract, .over = over};
	meeting->client = meeting->server =
		(struct end){.meeting = meeting, .received = BUF_INIT(1 << 24), .read_size = 65536};
	meeting->loop = env_loop_new(contract->env, "loop", false);
	if (place[0] == '/')
		env_address_unix(&meeting->address, place);
	else
		assert_int_equal(ERR_OK,
				 env_address_parse(bytes_from(place), &meeting->address, &err));
	if (env_listen(meeting->loop, &meeting->address, on_accept, meeting, &meeting->listener,
		       &err) != ERR_OK)
		fail_msg("%s", err.message);
	env_listener_address(meeting->loop, meeting->listener, &meeting->address);
}

static void meeting_connect(struct meeting *meeting)
{
	struct err err = ERR_INIT;
	end_begin(&meeting->client, env_connect(meeting->loop, &meeting->address, &err));
	assert_false(meeting->client.stream->connected);
}

static void meeting_end(struct meeting *meeting)
{
	end_close(&meeting->client, true);
	end_close(&meeting->server, true);
	if (meeting->listener)
		env_listener_close(meeting->loop, meeting->listener);
	env_loop_free(meeting->loop);
	buf_release(&meeting->client.received);
	buf_release(&meeting->server.received);
}

/* ---- talking ---- */

static bool both_heard_the_end(struct meeting *meeting)
{
	return meeting->client.eof && meeting->server.eof;
}

static char *make_data(size_t size, unsigned step)
{
	char *data = malloc(size);
	assert_non_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)((i * step) >> 5);
	return data;
}

static void exchange(struct contract *contract, const char *place, size_t to_server,
		     size_t to_client, size_t read_size)
{
	struct meeting meeting;
	meeting_init(&meeting, contract, place, both_heard_the_end);
	char *questions = make_data(to_server, 37), *answers = make_data(to_client, 91);
	meeting.client.data = questions;
	meeting.client.size = to_server;
	meeting.server.data = answers;
	meeting.server.size = to_client;
	meeting.client.read_size = meeting.server.read_size = read_size;
	meeting.client.shut_when_sent = meeting.server.shut_when_sent = true;
	meeting_connect(&meeting);
	contract_run(contract, meeting.loop);
	assert_int_equal(1, meeting.accepts);
	assert_int_equal(to_server, meeting.server.received.size);
	assert_memory_equal(questions, meeting.server.received.data, to_server);
	assert_int_equal(to_client, meeting.client.received.size);
	assert_memory_equal(answers, meeting.client.received.data, to_client);
	assert_true(meeting.client.stream->hangup && meeting.server.stream->hangup);
	char again;
	assert_int_equal(ENV_EOF, env_receive(meeting.client.stream, &again, 1));
	meeting_end(&meeting);
	free(questions);
	free(answers);
}

static void a_short_exchange(void **state)
{
	exchange(*state, "127.0.0.1:0", 11, 7, 65536);
	exchange(*state, "127.0.0.1:0", 4096, 4097, 65536); /* as much as is sent as one */
}

static void both_ways_at_once_with_more_than_fits(void **state)
{
	const struct contract *contract = *state;
	size_t size = contract->sim ? 100001 : 3000001;
	exchange(*state, "127.0.0.1:0", size, size / 3 * 2, 65536);
}

static void small_reads_see_every_byte(void **state)
{
	exchange(*state, "127.0.0.1:0", 20001, 30001, 7);
}

static void ipv6_and_unix_sockets(void **state)
{
	exchange(*state, "[::1]:0", 100, 100000, 4096);
	exchange(*state, contract_path(*state, "socket"), 100000, 100, 4096);
}

static void listening_tells_the_port_and_accepting_the_peer(void **state)
{
	struct meeting meeting;
	meeting_init(&meeting, *state, "127.0.0.1:0", both_heard_the_end);
	assert_int_not_equal(0, meeting.address.port);
	meeting.client.shut_when_sent = meeting.server.shut_when_sent = true;
	meeting_connect(&meeting);
	contract_run(*state, meeting.loop);
	assert_int_equal(ENV_IPV4, meeting.peer.family);
	assert_true(env_address_is_loopback(&meeting.peer));
	assert_int_not_equal(0, meeting.peer.port);
	assert_true(meeting.client.was_connected);
	meeting_end(&meeting);
}

static void an_address_that_is_not_ours_cannot_be_listened_on(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	struct env_loop *loop = env_loop_new(contract->env, "loop", false);
	struct env_listener *listener;
	struct env_address address;
	assert_int_equal(ERR_OK, env_address_parse(BYTES("192.0.2.1:8080"), &address, &err));
	assert_int_equal(ERR_ENVIRONMENT,
			 env_listen(loop, &address, on_accept, NULL, &listener, &err));
	assert_null(listener);
	assert_non_null(strstr(err.message, "192.0.2.1:8080"));
	env_loop_free(loop);
}

/* ---- one side ends ---- */

static bool client_heard_the_end(struct meeting *meeting)
{
	return meeting->client.eof || meeting->client.reset;
}

static bool server_closes_when_it_has_all(struct meeting *meeting)
{
	struct end *server = &meeting->server;
	if (server->stream && server->eof && server->sent == server->size)
		end_close(server, false);
	return client_heard_the_end(meeting);
}

static void what_was_sent_before_a_close_still_arrives(void **state)
{
	struct meeting meeting;
	char *answers = make_data(50000, 13);
	meeting_init(&meeting, *state, "127.0.0.1:0", server_closes_when_it_has_all);
	meeting.client.data = "question";
	meeting.client.size = 8;
	meeting.client.shut_when_sent = true;
	meeting.server.data = answers;
	meeting.server.size = 50000;
	meeting_connect(&meeting);
	contract_run(*state, meeting.loop);
	assert_true(meeting.client.eof);
	assert_int_equal(50000, meeting.client.received.size);
	assert_memory_equal(answers, meeting.client.received.data, 50000);
	meeting_end(&meeting);
	free(answers);
}

static bool server_resets_at_once(struct meeting *meeting)
{
	if (meeting->server.stream)
		end_close(&meeting->server, true);
	return client_heard_the_end(meeting);
}

static void a_reset_is_seen_by_the_peer(void **state)
{
	struct meeting meeting;
	meeting_init(&meeting, *state, "127.0.0.1:0", server_resets_at_once);
	meeting_connect(&meeting);
	contract_run(*state, meeting.loop);
	struct env_stream *stream = meeting.client.stream;
	struct iovec part = {(void *)"x", 1};
	char byte;
	assert_true(meeting.client.reset);
	assert_true(stream->hangup);
	assert_true(env_send(stream, &part, 1) == ENV_RESET);
	assert_true(env_receive(stream, &byte, 1) <= 0);
	meeting_end(&meeting);
}

static bool server_closes_unread(struct meeting *meeting)
{
	struct end *server = &meeting->server;
	if (server->stream && server->received.size > 0)
		end_close(server, false);
	return client_heard_the_end(meeting);
}

static void a_sender_learns_that_its_peer_has_closed(void **state)
{
	struct meeting meeting;
	char *questions = make_data(4000000, 5);
	meeting_init(&meeting, *state, "127.0.0.1:0", server_closes_unread);
	meeting.client.data = questions;
	meeting.client.size = 4000000;
	meeting.server.read_size = 10;
	meeting.server.reads_once = true;
	meeting_connect(&meeting);
	contract_run(*state, meeting.loop);
	assert_true(meeting.client.reset || meeting.client.eof);
	assert_true(meeting.client.sent < meeting.client.size);
	meeting_end(&meeting);
	free(questions);
}

static bool client_failed(struct meeting *meeting)
{
	return meeting->client.reset;
}

static void a_refused_connect_ends_in_a_reset(void **state)
{
	struct contract *contract = *state;
	struct meeting meeting;
	struct err err = ERR_INIT;
	meeting_init(&meeting, contract, "127.0.0.1:0", client_failed);
	env_listener_close(meeting.loop, meeting.listener);
	meeting.listener = NULL;
	struct env_stream *stream = env_connect(meeting.loop, &meeting.address, &err);
	if (stream) {
		end_begin(&meeting.client, stream);
		contract_run(contract, meeting.loop);
		assert_true(meeting.client.reset);
		assert_false(meeting.client.was_connected);
	} else {
		assert_int_equal(ERR_NETWORK, err.code);
		assert_non_null(strstr(err.message, "127.0.0.1:"));
	}
	struct env_address nowhere;
	env_address_unix(&nowhere, contract_path(contract, "no-socket"));
	assert_null(env_connect(meeting.loop, &nowhere, &err));
	assert_int_equal(ERR_NETWORK, err.code);
	meeting_end(&meeting);
}

/* ---- no callback after close ---- */

struct closing {
	struct env_timer timer;
	struct meeting *meeting;
	int step;
};

static bool never(struct meeting *meeting)
{
	(void)meeting;
	return false;
}

/* The client is closed in the same turn in which the server's bytes for it are under way. */
static void close_and_wait(struct env_timer *timer)
{
	struct closing *closing = CONTAINER(timer, struct closing, timer);
	struct meeting *meeting = closing->meeting;
	if (closing->step++ == 0) {
		end_close(&meeting->client, false);
		if (meeting->server.stream)
			end_close(&meeting->server, false);
		env_timer_arm(meeting->loop, timer, meeting->loop->now_ns + 30 * MILLISECOND);
	} else {
		env_loop_stop(meeting->loop);
	}
}

static void nothing_is_called_after_a_close(void **state)
{
	struct contract *contract = *state;
	for (uint64_t wait = 0; wait < 4; wait++) {
		struct meeting meeting;
		char *data = make_data(100000, 3);
		meeting_init(&meeting, contract, "127.0.0.1:0", never);
		meeting.server.data = meeting.client.data = data;
		meeting.server.size = meeting.client.size = 100000;
		meeting_connect(&meeting);
		struct closing closing = {.timer.fire = close_and_wait, .meeting = &meeting};
		/* end_ready asserts that its end is not closed; a late accept is welcome */
		assert_true(env_timer_arm(meeting.loop, &closing.timer,
					  env_clock_ns(contract->env) + wait * MILLISECOND));
		contract_run(contract, meeting.loop);
		meeting_end(&meeting);
		free(data);
	}
}

/* ---- backpressure ---- */

static void let_it_drain(struct env_timer *timer)
{
	struct closing *closing = CONTAINER(timer, struct closing, timer);
	struct end *server = &closing->meeting->server;
	assert_true(closing->meeting->client.sent < closing->meeting->client.size);
	server->holds_back = false;
	end_ready(server->stream);
}

static bool server_has_all(struct meeting *meeting)
{
	return meeting->server.received.size == meeting->client.size;
}

static void a_sender_waits_for_a_peer_that_does_not_read(void **state)
{
	struct contract *contract = *state;
	struct meeting meeting;
	size_t size = contract->sim ? 200000 : 12000000; /* more than fits on the way */
	char *questions = make_data(size, 7);
	meeting_init(&meeting, contract, "127.0.0.1:0", server_has_all);
	meeting.client.data = questions;
	meeting.client.size = size;
	meeting.server.holds_back = true;
	meeting_connect(&meeting);
	struct closing closing = {.timer.fire = let_it_drain, .meeting = &meeting};
	assert_true(env_timer_arm(meeting.loop, &closing.timer,
				  env_clock_ns(contract->env) + 300 * MILLISECOND));
	contract_run(contract, meeting.loop);
	assert_memory_equal(questions, meeting.server.received.data, size);
	meeting_end(&meeting);
	free(questions);
}

/* ---- pausing a listener ---- */

static void resume_listener(struct env_timer *timer)
{
	struct closing *closing = CONTAINER(timer, struct closing, timer);
	assert_int_equal(0, closing->meeting->accepts);
	closing->step = 1;
	env_listener_pause(closing->meeting->loop, closing->meeting->listener, false);
}

static void a_paused_listener_keeps_connections_waiting(void **state)
{
	struct contract *contract = *state;
	struct meeting meeting;
	meeting_init(&meeting, contract, "127.0.0.1:0", both_heard_the_end);
	meeting.client.shut_when_sent = meeting.server.shut_when_sent = true;
	env_listener_pause(meeting.loop, meeting.listener, true);
	meeting_connect(&meeting);
	struct closing closing = {.timer.fire = resume_listener, .meeting = &meeting};
	assert_true(env_timer_arm(meeting.loop, &closing.timer,
				  env_clock_ns(contract->env) + 50 * MILLISECOND));
	contract_run(contract, meeting.loop);
	assert_int_equal(1, closing.step);
	assert_int_equal(1, meeting.accepts);
	meeting_end(&meeting);
}

/* ---- many connections, listeners that share an address ---- */

#define CROWD 60

struct crowd {
	struct env_loop *loop;
	struct env_stream *clients[CROWD], *servers[CROWD];
	int connected, accepted;
};

static void crowd_ready(struct env_stream *stream)
{
	struct crowd *crowd = stream->argument;
	if (stream->argument && stream->connected) {
		stream->argument = NULL;
		if (crowd)
			crowd->connected++;
	}
	if (crowd && crowd->connected == CROWD && crowd->accepted == CROWD)
		env_loop_stop(crowd->loop);
}

static void nothing_ready(struct env_stream *stream)
{
	(void)stream;
}

/* Takes one at a time: `ready` must come again while others wait. */
static void crowd_accept(struct env_listener *listener, void *argument)
{
	struct crowd *crowd = argument;
	struct env_stream *stream = env_accept(crowd->loop, listener, NULL);
	if (!stream)
		return;
	stream->ready = nothing_ready;
	crowd->servers[crowd->accepted++] = stream;
	if (crowd->connected == CROWD && crowd->accepted == CROWD)
		env_loop_stop(crowd->loop);
}

static void listeners_share_an_address_and_none_is_lost(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	struct crowd crowd = {.loop = env_loop_new(contract->env, "loop", false)};
	struct env_listener *listeners[2];
	struct env_address address;
	assert_int_equal(ERR_OK, env_address_parse(BYTES("127.0.0.1:0"), &address, &err));
	for (size_t i = 0; i < COUNT(listeners); i++) {
		assert_int_equal(ERR_OK, env_listen(crowd.loop, &address, crowd_accept, &crowd,
						    &listeners[i], &err));
		env_listener_address(crowd.loop, listeners[i], &address);
	}
	for (int i = 0; i < CROWD; i++) {
		crowd.clients[i] = env_connect(crowd.loop, &address, &err);
		assert_non_null(crowd.clients[i]);
		crowd.clients[i]->ready = crowd_ready;
		crowd.clients[i]->argument = &crowd;
	}
	contract_run(contract, crowd.loop);
	for (int i = 0; i < CROWD; i++) {
		env_close(crowd.clients[i], false);
		env_close(crowd.servers[i], false);
	}
	for (size_t i = 0; i < COUNT(listeners); i++)
		env_listener_close(crowd.loop, listeners[i]);
	env_loop_free(crowd.loop);
}

/* ---- names ---- */

struct asking {
	struct env_lookup lookup;
	struct env_loop *loop;
	bool starting, done;
};

static void answered(struct env_lookup *lookup)
{
	struct asking *asking = CONTAINER(lookup, struct asking, lookup);
	assert_false(asking->starting);
	asking->done = true;
	env_loop_stop(asking->loop);
}

static void look_up(struct contract *contract, struct asking *asking, const char *host)
{
	*asking = (struct asking){.starting = true};
	asking->loop = env_loop_new(contract->env, "loop", false);
	asking->lookup.port = 443;
	asking->lookup.done = answered;
	snprintf(asking->lookup.host, sizeof(asking->lookup.host), "%s", host);
	env_lookup_start(asking->loop, &asking->lookup);
	asking->starting = false;
	contract_run(contract, asking->loop);
	assert_true(asking->done);
	env_loop_free(asking->loop);
}

static void names_and_numeric_addresses_are_looked_up(void **state)
{
	struct asking asking;
	char text[64];
	look_up(*state, &asking, "192.0.2.7");
	assert_int_equal(1, asking.lookup.count);
	env_address_format(&asking.lookup.addresses[0], text, sizeof(text));
	assert_string_equal("192.0.2.7:443", text);
	look_up(*state, &asking, "2001:db8::1");
	env_address_format(&asking.lookup.addresses[0], text, sizeof(text));
	assert_string_equal("[2001:db8::1]:443", text);
	look_up(*state, &asking, "localhost");
	assert_true(asking.lookup.count >= 1);
	assert_true(env_address_is_loopback(&asking.lookup.addresses[0]));
	assert_int_equal(443, asking.lookup.addresses[0].port);
}

const struct CMUnitTest contract_network_tests[] = {
	cmocka_unit_test(a_short_exchange),
	cmocka_unit_test(both_ways_at_once_with_more_than_fits),
	cmocka_unit_test(small_reads_see_every_byte),
	cmocka_unit_test(ipv6_and_unix_sockets),
	cmocka_unit_test(listening_tells_the_port_and_accepting_the_peer),
	cmocka_unit_test(an_address_that_is_not_ours_cannot_be_listened_on),
	cmocka_unit_test(what_was_sent_before_a_close_still_arrives),
	cmocka_unit_test(a_reset_is_seen_by_the_peer),
	cmocka_unit_test(a_sender_learns_that_its_peer_has_closed),
	cmocka_unit_test(a_refused_connect_ends_in_a_reset),
	cmocka_unit_test(nothing_is_called_after_a_close),
	cmocka_unit_test(a_sender_waits_for_a_peer_that_does_not_read),
	cmocka_unit_test(a_paused_listener_keeps_connections_waiting),
	cmocka_unit_test(listeners_share_an_address_and_none_is_lost),
	cmocka_unit_test(names_and_numeric_addresses_are_looked_up),
};
const size_t contract_network_count = COUNT(contract_network_tests);
