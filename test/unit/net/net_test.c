#include "net_test.h"

#define GIVE_UP_NS (60 * SECOND)

/* ---- taking turns ---- */

static void tick(struct env_timer *timer)
{
	struct net *net = (struct net *)((char *)timer - offsetof(struct net, tick));
	sem_post(&net->to_test);
	sem_wait(&net->to_loop);
	if (net->over)
		env_loop_stop(net->loop);
}

static void *run_loop(void *argument)
{
	struct net *net = argument;
	env_loop_run(net->loop);
	sem_post(&net->to_test);
	return NULL;
}

void net_sleep(struct net *net, uint64_t ns)
{
	assert_true(env_timer_arm(net->loop, &net->tick, net->loop->now_ns + ns));
	sem_post(&net->to_loop);
	sem_wait(&net->to_test);
}

void net_until(struct net *net, bool (*is_so)(void *argument), void *argument)
{
	uint64_t start = net->loop->now_ns, step = MILLISECOND / 10;
	while (!is_so(argument)) {
		if (net->loop->now_ns - start > GIVE_UP_NS)
			fail_msg("waited for a minute in vain");
		net_sleep(net, step);
		if (step < 5 * MILLISECOND)
			step += step / 4;
	}
}

/* ---- worlds ---- */

int net_set_up(void **state)
{
	struct net *net = calloc(1, sizeof(*net));
	assert_non_null(net);
	net->world = *state;
	if (net->world->machine) {
		net->env = env_os_new(2);
	} else {
		net->sim = sim_world_new(net->world->seed, &net->world->faults);
		net->env = sim_node_new(net->sim, "node");
	}
	net->loop = env_loop_new(net->env, "test", false);
	net->tick.fire = tick;
	sem_init(&net->to_test, 0, 0);
	sem_init(&net->to_loop, 0, 0);
	assert_true(env_timer_arm(net->loop, &net->tick, net->loop->now_ns));
	assert_int_equal(0, pthread_create(&net->thread, NULL, run_loop, net));
	sem_wait(&net->to_test);
	*state = net;
	return 0;
}

int net_tear_down(void **state)
{
	struct net *net = *state;
	net->over = true;
	sem_post(&net->to_loop);
	sem_wait(&net->to_test);
	pthread_join(net->thread, NULL);
	struct sim_usage usage = {0};
	if (net->sim)
		usage = sim_node_usage(net->env);
	bool clean = usage.streams + usage.listeners + usage.timers == 0;
	if (clean) /* else a test has failed, and streams still point to it */
		env_loop_free(net->loop);
	if (net->sim)
		sim_world_free(net->sim);
	else
		env_os_free(net->env);
	sem_destroy(&net->to_test);
	sem_destroy(&net->to_loop);
	free(net);
	return clean ? 0 : -1;
}

/* Everything that env.h leaves open, and nothing that breaks a connection. */
static struct sim_faults rough(uint64_t seed)
{
	struct sim_faults faults = sim_faults_none();
	faults.cut = 300000;
	faults.one_byte = 50000;
	faults.stall = 10000;
	faults.window = seed % 3 == 0 ? 1000 : 65536;
	return faults;
}

static int run_world(const struct net_world *world, const struct CMUnitTest *tests, size_t count)
{
	struct CMUnitTest *copy = calloc(count, sizeof(*copy));
	for (size_t i = 0; i < count; i++) {
		copy[i] = tests[i];
		copy[i].setup_func = net_set_up;
		copy[i].teardown_func = net_tear_down;
		copy[i].initial_state = (void *)world;
	}
	int failed = _cmocka_run_group_tests(world->name, copy, count, NULL, NULL);
	free(copy);
	return failed;
}

int net_main(const struct CMUnitTest *tests, size_t count)
{
	struct net_world machine = {.name = "machine", .machine = true};
	int failed = run_world(&machine, tests, count);
	for (uint64_t seed = 1; seed <= 6; seed++) {
		char name[32];
		snprintf(name, sizeof(name), "quiet world %d", (int)seed);
		struct net_world quiet = {.name = name, .seed = seed, .faults = sim_faults_none()};
		failed += run_world(&quiet, tests, count);
		snprintf(name, sizeof(name), "rough world %d", (int)seed);
		struct net_world harsh = {.name = name, .seed = seed, .faults = rough(seed)};
		failed += run_world(&harsh, tests, count);
	}
	return failed != 0;
}

static void never(struct env_listener *listener, void *argument)
{
	(void)listener;
	(void)argument;
}

struct env_address net_nobody(struct net *net)
{
	struct env_address address;
	struct env_listener *listener;
	assert_int_equal(ERR_OK, env_address_parse(BYTES("127.0.0.1:0"), &address, NULL));
	assert_int_equal(ERR_OK, env_listen(net->loop, &address, never, NULL, &listener, NULL));
	env_listener_address(net->loop, listener, &address);
	env_listener_close(net->loop, listener);
	return address;
}

const char *net_url(const char *scheme, const struct env_address *address)
{
	static char text[600];
	snprintf(text, sizeof(text), "%s://127.0.0.1:%u", scheme, address->port);
	return text;
}

/* ---- bare connections ---- */

static void raw_flush(struct raw *raw)
{
	while (raw->out.size > 0 && raw->stream->connected && raw->stream->writable) {
		struct iovec part = {raw->out.data, raw->out.size};
		ssize_t sent = env_send(raw->stream, &part, 1);
		if (sent == ENV_RESET) {
			buf_clear(&raw->out);
			return;
		}
		if (sent > 0)
			buf_consume(&raw->out, (size_t)sent);
	}
}

static void raw_receive(struct raw *raw)
{
	char data[16384];
	while (raw->stream->readable && !raw->holds_back && !raw->eof && !raw->reset) {
		ssize_t got = env_receive(raw->stream, data, sizeof(data));
		if (got > 0)
			buf_append(&raw->in, data, (size_t)got);
		raw->eof |= got == ENV_EOF;
		raw->reset |= got == ENV_RESET;
	}
}

static void raw_ready(struct env_stream *stream)
{
	struct raw *raw = stream->argument;
	raw->connected |= stream->connected;
	raw->reset |= stream->hangup && !stream->connected;
	raw_flush(raw);
	raw_receive(raw);
}

void raw_init(struct raw *raw, struct net *net, struct env_stream *stream)
{
	*raw = (struct raw){.net = net, .stream = stream};
	buf_init(&raw->in, (size_t)64 << 20);
	buf_init(&raw->out, (size_t)64 << 20);
	stream->ready = raw_ready;
	stream->argument = raw;
}

void raw_connect(struct raw *raw, struct net *net, const struct env_address *address)
{
	struct env_stream *stream = env_connect(net->loop, address, NULL);
	if (stream)
		raw_init(raw, net, stream);
	else
		*raw = (struct raw){.net = net, .reset = true};
}

void raw_send(struct raw *raw, struct bytes data)
{
	buf_append_bytes(&raw->out, data);
	assert_false(raw->out.failed);
	if (raw->stream)
		raw_flush(raw);
}

void raw_send_text(struct raw *raw, const char *text)
{
	raw_send(raw, bytes_from(text));
}

void raw_go_on(struct raw *raw)
{
	raw->holds_back = false;
	raw_receive(raw);
}

bool raw_has(const struct raw *raw, const char *text)
{
	return raw->in.data && memmem(raw->in.data, raw->in.size, text, strlen(text));
}

struct expectation {
	struct raw *raw;
	size_t size;
	const char *text;
};

static bool has_come(void *argument)
{
	const struct expectation *wanted = argument;
	return wanted->text ? raw_has(wanted->raw, wanted->text)
			    : wanted->raw->in.size >= wanted->size;
}

void raw_wait(struct raw *raw, size_t size)
{
	struct expectation wanted = {raw, size, NULL};
	net_until(raw->net, has_come, &wanted);
}

void raw_wait_text(struct raw *raw, const char *text)
{
	struct expectation wanted = {raw, 0, text};
	net_until(raw->net, has_come, &wanted);
}

static bool has_ended(void *argument)
{
	const struct raw *raw = argument;
	return raw->eof || raw->reset;
}

void raw_wait_end(struct raw *raw)
{
	net_until(raw->net, has_ended, raw);
}

void raw_close(struct raw *raw, bool reset)
{
	if (raw->stream)
		env_close(raw->stream, reset);
	raw->stream = NULL;
	buf_release(&raw->in);
	buf_release(&raw->out);
}

/* ---- bare servers ---- */

static void peer_ready(struct env_listener *listener, void *argument)
{
	struct peer *peer = argument;
	struct env_stream *stream;
	while (peer->accepted < PEER_CONNECTIONS &&
	       (stream = env_accept(peer->net->loop, listener, NULL))) {
		struct raw *raw = &peer->connections[peer->accepted++];
		raw_init(raw, peer->net, stream);
		raw->holds_back = peer->holds_back;
		raw_ready(stream);
	}
}

void peer_start(struct peer *peer, struct net *net)
{
	memset(peer, 0, sizeof(*peer));
	peer->net = net;
	assert_int_equal(ERR_OK, env_address_parse(BYTES("127.0.0.1:0"), &peer->address, NULL));
	assert_int_equal(ERR_OK, env_listen(net->loop, &peer->address, peer_ready, peer,
					    &peer->listener, NULL));
	env_listener_address(net->loop, peer->listener, &peer->address);
}

struct awaited {
	struct peer *peer;
	unsigned number;
};

static bool is_accepted(void *argument)
{
	const struct awaited *awaited = argument;
	return awaited->peer->accepted > awaited->number;
}

struct raw *peer_accept(struct peer *peer, unsigned number)
{
	struct awaited awaited = {peer, number};
	net_until(peer->net, is_accepted, &awaited);
	return &peer->connections[number];
}

void peer_stop(struct peer *peer)
{
	for (unsigned i = 0; i < peer->accepted; i++)
		raw_close(&peer->connections[i], true);
	env_listener_close(peer->net->loop, peer->listener);
}
