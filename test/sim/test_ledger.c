/* A small ledger in a simulated world: a client sends numbers, a server appends them to a log and
 * acknowledges each only when it is durable. Network, disk and clocks fail as the seed says, and
 * the server is killed or loses power again and again.
 *
 * Safety: a number that was acknowledged is in the log after every crash. Liveness: when the faults
 * stop, everything is acknowledged soon. Each seed runs twice and must leave the same trace. And
 * servers that are wrong on purpose must be caught, or this test would prove nothing. */
#include "env/env_sim.h"

#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
#define SECOND ((uint64_t)1000000000)
#define SEEDS 500
#define NUMBERS 60
#define CONNECTIONS 16
#define OUTSTANDING 5
#define PAUSE_MAX (SECOND / 2)
#define FAULTS_END (30 * SECOND)
#define END (300 * SECOND)
#define LOG "/data/log"

enum mistake {
	NO_MISTAKE,
	ACKNOWLEDGES_EARLY,    /* after the write, before the sync */
	FORGETS_THE_DIRECTORY, /* the log's name is never synced */
	TRUSTS_THE_TAIL,       /* recovery does not check what a torn write has left */
	SYNCS_AGAIN,           /* goes on after a sync that failed */
	MISTAKES,
};

struct record {
	uint32_t number, crc;
};

struct server;

struct connection {
	struct server *server;
	struct env_stream *stream;
	struct buf in, out;
};

struct request {
	uint32_t number;
	struct connection *from;
};

struct server {
	struct world *world;
	struct env_loop *loop;
	struct env_listener *listener;
	struct env_file *log;
	struct connection *connections[CONNECTIONS];
	struct request waiting[256], writing[256];
	unsigned waiting_count, writing_count;
	struct env_job job;
	struct err err;
	bool job_runs, failed;
	uint64_t log_size;
};

struct client {
	struct world *world;
	struct env_loop *loop;
	struct env_stream *stream;
	struct env_timer timer; /* no progress: start again */
	struct env_timer pause; /* before the next numbers */
	struct buf in, out;
	bool acknowledged[NUMBERS + 1];
	unsigned acknowledged_count, asked_until;
};

struct world {
	struct sim_world *sim;
	enum mistake mistake;
	struct env *server_node, *client_node;
	struct server *server;
	struct client client;
	unsigned crashes;
	const char *violation;
};

/* ---- the server ---- */

static void server_exits(void *argument)
{
	struct world *world = argument;
	sim_crash(world->server_node, SIM_KILLED);
}

/* It must not acknowledge anything any more: it ends, and is started again. */
static void server_fails(struct server *server)
{
	server->failed = true;
	sim_at(server->world->sim, sim_now(server->world->sim), server_exits, server->world);
}

static void connection_end(struct connection *connection)
{
	struct server *server = connection->server;
	for (unsigned i = 0; i < server->waiting_count; i++)
		if (server->waiting[i].from == connection)
			server->waiting[i].from = NULL;
	for (unsigned i = 0; i < server->writing_count; i++)
		if (server->writing[i].from == connection)
			server->writing[i].from = NULL;
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (server->connections[i] == connection)
			server->connections[i] = NULL;
	env_close(connection->stream, true);
	buf_release(&connection->in);
	buf_release(&connection->out);
	free(connection);
}

/* False if the connection is no more. */
static bool flush(struct connection *connection)
{
	struct buf *out = &connection->out;
	while (out->size > 0 && connection->stream->writable) {
		struct iovec part = {out->data, out->size};
		ssize_t count = env_send(connection->stream, &part, 1);
		if (count == ENV_RESET) {
			connection_end(connection);
			return false;
		}
		if (count > 0)
			buf_consume(out, (size_t)count);
	}
	return true;
}

static void acknowledge(struct server *server)
{
	for (unsigned i = 0; i < server->writing_count; i++) {
		struct connection *connection = server->writing[i].from;
		if (!connection)
			continue;
		buf_append(&connection->out, &server->writing[i].number, sizeof(uint32_t));
		flush(connection);
	}
}

static void append_run(struct env_job *job)
{
	struct server *server = CONTAINER(job, struct server, job);
	struct record records[256];
	size_t size = server->writing_count * sizeof(struct record);
	for (unsigned i = 0; i < server->writing_count; i++) {
		records[i].number = server->writing[i].number;
		records[i].crc = crc32c(0, &records[i].number, sizeof(uint32_t));
	}
	enum err_code code =
		env_file_write(server->log, server->log_size, records, size, &server->err);
	if (code == ERR_OK && server->world->mistake != ACKNOWLEDGES_EARLY)
		code = env_file_sync(server->log, &server->err);
	if (code != ERR_OK && server->world->mistake == SYNCS_AGAIN) {
		env_file_close(server->log);
		code = env_file_open(server->world->server_node, LOG, ENV_OPEN_WRITE, &server->log,
				     &server->err);
		if (code == ERR_OK)
			code = env_file_sync(server->log, &server->err);
	}
	server->log_size += size;
	server->err.code = code;
}

static void append_start(struct server *server)
{
	if (server->job_runs || server->waiting_count == 0 || server->failed)
		return;
	memcpy(server->writing, server->waiting, sizeof(server->waiting));
	server->writing_count = server->waiting_count;
	server->waiting_count = 0;
	server->job_runs = true;
	env_job_start(server->loop, &server->job);
}

static void append_done(struct env_job *job)
{
	struct server *server = CONTAINER(job, struct server, job);
	server->job_runs = false;
	if (server->err.code != ERR_OK) {
		server_fails(server);
		return;
	}
	acknowledge(server);
	server->writing_count = 0;
	append_start(server);
}

static void take_numbers(struct connection *connection)
{
	struct server *server = connection->server;
	while (connection->in.size >= sizeof(uint32_t) && server->waiting_count < 256) {
		struct request *request = &server->waiting[server->waiting_count++];
		memcpy(&request->number, connection->in.data, sizeof(uint32_t));
		request->from = connection;
		buf_consume(&connection->in, sizeof(uint32_t));
	}
	append_start(server);
}

static void connection_ready(struct env_stream *stream)
{
	struct connection *connection = stream->argument;
	char data[64];
	if (connection->server->failed || !flush(connection))
		return;
	while (stream->readable) {
		ssize_t count = env_receive(stream, data, sizeof(data));
		if (count == ENV_EOF || count == ENV_RESET) {
			connection_end(connection);
			return;
		}
		if (count > 0)
			buf_append(&connection->in, data, (size_t)count);
	}
	take_numbers(connection);
}

static void server_accepts(struct env_listener *listener, void *argument)
{
	struct server *server = argument;
	unsigned slot = 0;
	struct env_stream *stream = env_accept(server->loop, listener, NULL);
	if (!stream)
		return;
	while (slot < CONNECTIONS && server->connections[slot])
		slot++;
	if (slot == CONNECTIONS) { /* half-open ones fill the table: make room */
		slot = 0;
		connection_end(server->connections[0]);
	}
	struct connection *connection = calloc(1, sizeof(*connection));
	assert_non_null(connection);
	*connection = (struct connection){
		.server = server, .stream = stream, .in = BUF_INIT(4096), .out = BUF_INIT(4096)};
	server->connections[slot] = connection;
	stream->ready = connection_ready;
	stream->argument = connection;
	connection_ready(stream);
}

/* Bytes of whole records at the start of the log. */
static size_t valid_size(const struct buf *log, bool trusting)
{
	size_t size = 0;
	struct record record;
	if (trusting)
		return log->size;
	for (; size + sizeof(record) <= log->size; size += sizeof(record)) {
		memcpy(&record, log->data + size, sizeof(record));
		if (record.crc != crc32c(0, &record.number, sizeof(record.number)))
			break;
	}
	return size;
}

/* The log may show bytes that a failed sync has left behind in memory only: all of it is written
 * again and made durable before anything is built on it. */
static enum err_code recover(struct server *server, struct env *env)
{
	struct world *world = server->world;
	struct buf log = BUF_INIT(1 << 20);
	bool forgetful = world->mistake == FORGETS_THE_DIRECTORY;
	struct err *err = &server->err;
	enum err_code code = env_make_directories(env, "/data", err);
	if (code == ERR_OK)
		code = env_sync_directory(env, "/", err);
	if (code == ERR_OK)
		code = env_read_file(env, LOG, &log, err);
	if (code == ERR_NOT_FOUND)
		code = ERR_OK;
	size_t size = valid_size(&log, world->mistake == TRUSTS_THE_TAIL);
	bool rewrite = !forgetful && world->mistake != TRUSTS_THE_TAIL;
	if (code == ERR_OK && rewrite)
		code = env_write_file(env, LOG, bytes_of(log.data, size), 0600, err);
	if (code == ERR_OK)
		code = env_file_open(env, LOG, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &server->log, err);
	if (code == ERR_OK && !rewrite)
		code = env_file_truncate(server->log, size, err);
	if (code == ERR_OK && !rewrite && !forgetful)
		code = env_sync_directory(env, "/data", err);
	server->log_size = size;
	buf_release(&log);
	return code;
}

static enum err_code server_start(struct world *world)
{
	struct server *server = calloc(1, sizeof(*server));
	struct env_address address = sim_node_address(world->server_node, 7000);
	assert_non_null(server);
	world->server = server;
	server->world = world;
	server->job.run = append_run;
	server->job.done = append_done;
	server->loop = env_loop_new(world->server_node, "server", false);
	if (!server->loop)
		return ERR_NO_MEMORY;
	ERR_TRY(recover(server, world->server_node));
	ERR_TRY(env_listen(server->loop, &address, server_accepts, server, &server->listener,
			   &server->err));
	return env_loop_start(server->loop, -1, &server->err);
}

static void server_free(struct world *world)
{
	struct server *server = world->server;
	if (!server)
		return;
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (server->connections[i])
			connection_end(server->connections[i]);
	if (server->listener)
		env_listener_close(server->loop, server->listener);
	env_file_close(server->log);
	env_loop_free(server->loop);
	free(server);
	world->server = NULL;
}

/* ---- the client ---- */

static void client_connect(struct client *client);

static void client_again(struct client *client, uint64_t after_ns)
{
	env_close(client->stream, true);
	client->stream = NULL;
	env_timer_arm(client->loop, &client->timer, client->loop->now_ns + after_ns);
}

static void client_timer(struct env_timer *timer)
{
	struct client *client = CONTAINER(timer, struct client, timer);
	env_close(client->stream, true);
	client->stream = NULL;
	client_connect(client);
}

static void ask(struct client *client)
{
	unsigned asked = 0;
	buf_clear(&client->out);
	client->asked_until = client->acknowledged_count;
	for (uint32_t i = 1; i <= NUMBERS && asked < OUTSTANDING; i++) {
		if (!client->acknowledged[i]) {
			buf_append(&client->out, &i, sizeof(i));
			asked++;
			client->asked_until++;
		}
	}
}

static void hear(struct client *client)
{
	uint32_t number;
	while (client->in.size >= sizeof(number)) {
		memcpy(&number, client->in.data, sizeof(number));
		buf_consume(&client->in, sizeof(number));
		if (number < 1 || number > NUMBERS) {
			client->world->violation = "an acknowledgement of what was never sent";
			return;
		}
		client->acknowledged_count += !client->acknowledged[number];
		client->acknowledged[number] = true;
		sim_note(client->world->sim, &number, sizeof(number));
		env_timer_arm(client->loop, &client->timer, client->loop->now_ns + 2 * SECOND);
	}
}

static bool client_sends(struct client *client)
{
	while (client->out.size > 0 && client->stream->writable) {
		struct iovec part = {client->out.data, client->out.size};
		ssize_t count = env_send(client->stream, &part, 1);
		if (count == ENV_RESET)
			return false;
		if (count > 0)
			buf_consume(&client->out, (size_t)count);
	}
	return true;
}

static bool client_receives(struct client *client)
{
	char data[64];
	while (client->stream->readable) {
		ssize_t count = env_receive(client->stream, data, sizeof(data));
		if (count == ENV_EOF || count == ENV_RESET)
			return false;
		if (count > 0)
			buf_append(&client->in, data, (size_t)count);
	}
	return true;
}

static void client_ready(struct env_stream *stream)
{
	struct client *client = stream->argument;
	if (!client_receives(client) || (stream->connected && !client_sends(client))) {
		hear(client);
		client_again(client, SECOND / 10);
		return;
	}
	hear(client);
	if (client->acknowledged_count == NUMBERS)
		env_timer_disarm(client->loop, &client->timer);
	else if (client->out.size == 0 && client->acknowledged_count >= client->asked_until)
		env_timer_arm(client->loop, &client->pause,
			      client->loop->now_ns +
				      prng_below(sim_workload(client->world->sim), PAUSE_MAX));
}

static void pause_is_over(struct env_timer *timer)
{
	struct client *client = CONTAINER(timer, struct client, pause);
	if (!client->stream)
		return; /* it is about to connect again, and asks then */
	ask(client);
	if (!client_sends(client))
		client_again(client, SECOND / 10);
}

static void client_connect(struct client *client)
{
	struct env_address address = sim_node_address(client->world->server_node, 7000);
	buf_clear(&client->in);
	ask(client);
	env_timer_disarm(client->loop, &client->pause);
	env_timer_arm(client->loop, &client->timer, client->loop->now_ns + 2 * SECOND);
	client->stream = env_connect(client->loop, &address, NULL);
	if (!client->stream)
		return;
	client->stream->ready = client_ready;
	client->stream->argument = client;
}

static void client_start(struct world *world)
{
	struct client *client = &world->client;
	client->world = world;
	client->in = client->out = (struct buf)BUF_INIT(4096);
	client->timer.fire = client_timer;
	client->pause.fire = pause_is_over;
	client->loop = env_loop_new(world->client_node, "client", false);
	assert_int_equal(ERR_OK, env_loop_start(client->loop, -1, NULL));
	client_connect(client);
}

/* ---- the world and its oracle ---- */

static void check_log(struct world *world)
{
	struct buf log = BUF_INIT(1 << 20);
	bool there[NUMBERS + 1] = {false};
	struct record record;
	enum err_code code = env_read_file(world->server_node, LOG, &log, NULL);
	if (code != ERR_OK && code != ERR_NOT_FOUND) {
		buf_release(&log);
		return; /* the disk would not say: another time */
	}
	for (size_t at = 0; at + sizeof(record) <= log.size; at += sizeof(record)) {
		memcpy(&record, log.data + at, sizeof(record));
		if (record.crc != crc32c(0, &record.number, sizeof(record.number)))
			break;
		there[record.number <= NUMBERS ? record.number : 0] = true;
	}
	for (uint32_t i = 1; i <= NUMBERS; i++)
		if (world->client.acknowledged[i] && !there[i])
			world->violation = "an acknowledged number is not in the log";
	buf_release(&log);
}

static void restart(void *argument)
{
	struct world *world = argument;
	sim_restart(world->server_node);
	check_log(world);
	if (server_start(world) != ERR_OK)
		sim_at(world->sim, sim_now(world->sim), server_exits, world);
}

static void crashed(void *argument)
{
	struct world *world = argument;
	struct prng *draw = sim_workload(world->sim);
	world->crashes++;
	server_free(world);
	sim_at(world->sim, sim_now(world->sim) + prng_below(draw, SECOND) + 1, restart, world);
}

static void crash(void *argument)
{
	struct world *world = argument;
	struct prng *draw = sim_workload(world->sim);
	enum sim_crash_kind kind = prng_below(draw, 4) ? SIM_POWER_LOST : SIM_KILLED;
	if (sim_is_down(world->server_node))
		return;
	if (prng_below(draw, 2))
		sim_crash(world->server_node, kind);
	else
		sim_crash_after(world->server_node, 1 + prng_below(draw, 10), kind);
}

static void calm(void *argument)
{
	struct world *world = argument;
	struct sim_faults none = sim_faults_none();
	sim_set_faults(world->sim, &none);
	sim_crash_after(world->server_node, 0, SIM_KILLED);
}

static bool is_over(void *argument)
{
	struct world *world = argument;
	return world->violation || world->client.acknowledged_count == NUMBERS;
}

static void final_check(struct world *world)
{
	struct sim_faults none = sim_faults_none();
	sim_set_faults(world->sim, &none);
	sim_on_crash(world->server_node, NULL, NULL);
	sim_crash(world->server_node, SIM_POWER_LOST);
	server_free(world);
	sim_restart(world->server_node);
	check_log(world);
}

static void plan_crashes(struct world *world)
{
	struct prng *draw = sim_workload(world->sim);
	uint64_t count = prng_below(draw, 12);
	for (uint64_t i = 0; i < count; i++) {
		/* Most come early, while there is work. */
		uint64_t range = prng_below(draw, 2) ? 2 * SECOND : FAULTS_END - 2 * SECOND;
		sim_at(world->sim, SECOND + prng_below(draw, range), crash, world);
	}
	sim_at(world->sim, FAULTS_END, calm, world);
}

struct outcome {
	uint64_t trace;
	const char *violation;
	unsigned crashes;
};

static struct outcome simulate(uint64_t seed, enum mistake mistake)
{
	struct sim_faults faults = sim_faults_draw(seed, seed % 2 == 0);
	struct world world = {.mistake = mistake, .sim = sim_world_new(seed, &faults)};
	world.server_node = sim_node_new(world.sim, "server");
	world.client_node = sim_node_new(world.sim, "client");
	sim_on_crash(world.server_node, crashed, &world);
	plan_crashes(&world);
	if (server_start(&world) != ERR_OK)
		sim_at(world.sim, sim_now(world.sim), server_exits, &world);
	client_start(&world);
	if (!sim_run_until(world.sim, END, is_over, &world))
		world.violation = "the client still waits long after the faults have stopped";
	if (!world.violation)
		final_check(&world);
	sim_on_crash(world.server_node, NULL, NULL);
	sim_crash(world.server_node, SIM_KILLED);
	server_free(&world);
	struct outcome outcome = {sim_trace(world.sim), world.violation, world.crashes};
	buf_release(&world.client.in);
	buf_release(&world.client.out);
	sim_world_free(world.sim);
	return outcome;
}

static void every_seed_is_safe_and_replays(void **state)
{
	unsigned crashes = 0;
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct outcome first = simulate(seed, NO_MISTAKE);
		struct outcome second = simulate(seed, NO_MISTAKE);
		if (first.violation)
			fail_msg("seed %llu: %s", (unsigned long long)seed, first.violation);
		if (first.trace != second.trace)
			fail_msg("seed %llu does not replay", (unsigned long long)seed);
		crashes += first.crashes;
	}
	assert_true(crashes > SEEDS);
}

static void every_mistake_is_found(void **state)
{
	(void)state;
	for (enum mistake mistake = NO_MISTAKE + 1; mistake < MISTAKES; mistake++) {
		uint64_t seed = 1;
		struct outcome outcome = simulate(seed, mistake);
		while (!outcome.violation && seed < SEEDS)
			outcome = simulate(++seed, mistake);
		if (!outcome.violation)
			fail_msg("mistake %d was never found", (int)mistake);
		print_message("mistake %d: seed %llu: %s\n", (int)mistake, (unsigned long long)seed,
			      outcome.violation);
		struct outcome again = simulate(seed, mistake);
		assert_string_equal(outcome.violation, again.violation);
		assert_true(outcome.trace == again.trace);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_seed_is_safe_and_replays),
		cmocka_unit_test(every_mistake_is_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
