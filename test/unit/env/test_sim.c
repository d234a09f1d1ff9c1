/* What only a simulated world can show: replay, a faulty network, time, crashes. */
#include "env/env_sim.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
#define SECOND ((uint64_t)1000000000)
#define WRITE (ENV_OPEN_WRITE | ENV_OPEN_CREATE)

static struct sim_world *world_with(uint64_t seed, const struct sim_faults *faults)
{
	return sim_world_new(seed, faults);
}

static struct sim_world *quiet_world(uint64_t seed)
{
	struct sim_faults faults = sim_faults_none();
	return world_with(seed, &faults);
}

static struct env_file *open_file(struct env *env, const char *path, unsigned flags)
{
	struct env_file *file = NULL;
	struct err err = ERR_INIT;
	if (env_file_open(env, path, flags, &file, &err) != ERR_OK)
		fail_msg("%s", err.message);
	return file;
}

/* ---- a client that talks to a server, for the tests of the network ---- */

struct talk {
	struct env *client_node, *server_node;
	struct env_loop *client_loop, *server_loop;
	struct env_listener *listener;
	struct env_stream *client, *server;
	size_t wanted, sent, echoed;
	bool client_reset, server_reset, client_eof;
	size_t reads, server_bytes;
	uint8_t next_in; /* expected by the server */
};

static void talk_send(struct talk *talk)
{
	while (talk->client->writable && talk->sent < talk->wanted) {
		uint8_t data[1000];
		size_t size = talk->wanted - talk->sent;
		if (size > sizeof(data))
			size = sizeof(data);
		for (size_t i = 0; i < size; i++)
			data[i] = (uint8_t)(talk->sent + i);
		ssize_t count = env_send(talk->client, &(struct iovec){data, size}, 1);
		if (count <= 0)
			return;
		talk->sent += (size_t)count;
	}
}

static void client_ready(struct env_stream *stream)
{
	struct talk *talk = stream->argument;
	char data[100];
	if (stream->connected)
		talk_send(talk);
	while (stream->readable && !talk->client_reset && !talk->client_eof) {
		ssize_t count = env_receive(stream, data, sizeof(data));
		talk->client_reset |= count == ENV_RESET;
		talk->client_eof |= count == ENV_EOF;
	}
}

static void server_ready(struct env_stream *stream)
{
	struct talk *talk = stream->argument;
	uint8_t data[500];
	while (stream->readable && !talk->server_reset) {
		ssize_t count = env_receive(stream, data, sizeof(data));
		talk->server_reset |= count == ENV_RESET;
		if (count <= 0)
			return;
		talk->reads++;
		for (ssize_t i = 0; i < count; i++)
			assert_int_equal(talk->next_in++, data[i]);
		talk->server_bytes += (size_t)count;
	}
}

static void server_accepts(struct env_listener *listener, void *argument)
{
	struct talk *talk = argument;
	struct env_stream *stream = env_accept(talk->server_loop, listener, NULL);
	if (!stream)
		return;
	talk->server = stream;
	stream->ready = server_ready;
	stream->argument = talk;
	server_ready(stream);
}

static void start_loop(struct env *node, struct env_loop **out)
{
	struct err err = ERR_INIT;
	*out = env_loop_new(node, "loop", false);
	assert_non_null(*out);
	assert_int_equal(ERR_OK, env_loop_start(*out, -1, &err));
}

static void talk_begin(struct talk *talk, struct sim_world *world, size_t wanted)
{
	struct err err = ERR_INIT;
	struct env_address address;
	*talk = (struct talk){.wanted = wanted};
	talk->client_node = sim_node_new(world, "client");
	talk->server_node = sim_node_new(world, "server");
	start_loop(talk->client_node, &talk->client_loop);
	start_loop(talk->server_node, &talk->server_loop);
	address = sim_node_address(talk->server_node, 8080);
	assert_int_equal(ERR_OK, env_listen(talk->server_loop, &address, server_accepts, talk,
					    &talk->listener, &err));
	talk->client = env_connect(talk->client_loop, &address, &err);
	assert_non_null(talk->client);
	talk->client->ready = client_ready;
	talk->client->argument = talk;
}

/* ---- replay ---- */

static uint64_t trace_of(uint64_t seed, bool with_errors)
{
	struct sim_faults faults = sim_faults_draw(seed, with_errors);
	struct sim_world *world = world_with(seed, &faults);
	struct talk talk;
	struct err err = ERR_INIT;
	talk_begin(&talk, world, 5000);
	for (int i = 0; i < 10; i++)
		env_write_file(talk.server_node, "/file", BYTES("content"), 0600, &err);
	sim_crash_after(talk.server_node, 5, SIM_POWER_LOST);
	sim_run(world, 20 * SECOND);
	uint64_t trace = sim_trace(world);
	sim_world_free(world);
	return trace;
}

static void a_seed_replays_and_another_differs(void **state)
{
	uint64_t last = 0;
	(void)state;
	for (uint64_t seed = 1; seed <= 100; seed++) {
		uint64_t trace = trace_of(seed, seed % 2);
		assert_true(trace == trace_of(seed, seed % 2));
		assert_true(trace != last);
		last = trace;
	}
}

static void drawn_worlds_differ_and_disk_errors_are_asked_for(void **state)
{
	unsigned resets = 0, sync_errors = 0, quiet = 0;
	(void)state;
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct sim_faults faults = sim_faults_draw(seed, false);
		assert_int_equal(0, faults.sync_error + faults.write_error + faults.full);
		resets += faults.reset > 0;
		quiet += faults.reset == 0;
		sync_errors += sim_faults_draw(seed, true).sync_error > 0;
	}
	assert_in_range(resets, 60, 140);
	assert_in_range(quiet, 60, 140);
	assert_in_range(sync_errors, 60, 140);
}

/* ---- the network ---- */

static void every_cut_keeps_the_order_of_bytes(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct sim_faults faults = sim_faults_none();
		struct talk talk;
		faults.one_byte = 900000;
		faults.window = 50;
		struct sim_world *world = world_with(seed, &faults);
		talk_begin(&talk, world, 2000);
		assert_true(sim_run_until_idle(world, 1000 * SECOND));
		assert_int_equal(2000, talk.server_bytes);
		assert_true(talk.reads > 300);
		sim_world_free(world);
	}
}

static void certain_refusal_and_certain_reset(void **state)
{
	struct sim_faults faults = sim_faults_none();
	struct talk talk;
	(void)state;
	faults.refuse = SIM_CERTAIN;
	struct sim_world *world = world_with(1, &faults);
	talk_begin(&talk, world, 10);
	assert_true(sim_run_until_idle(world, 10 * SECOND));
	assert_true(talk.client_reset);
	assert_false(talk.client->connected);
	assert_null(talk.server);
	sim_world_free(world);

	faults = sim_faults_none();
	faults.reset = SIM_CERTAIN;
	world = world_with(1, &faults);
	talk_begin(&talk, world, 10);
	assert_true(sim_run_until_idle(world, 10 * SECOND));
	assert_true(talk.client_reset && talk.server_reset);
	sim_world_free(world);
}

static void a_half_open_connection_is_silent(void **state)
{
	struct sim_faults faults = sim_faults_none();
	struct talk talk;
	(void)state;
	faults.half_open = SIM_CERTAIN;
	struct sim_world *world = world_with(1, &faults);
	talk_begin(&talk, world, 10);
	assert_true(sim_run_until_idle(world, 1000 * SECOND));
	assert_true(talk.client->connected);
	assert_int_equal(10, talk.sent);
	assert_int_equal(0, talk.server_bytes);
	assert_false(talk.client_reset || talk.server_reset);
	sim_world_free(world);
}

static void a_partition_delays_what_was_sent(void **state)
{
	struct sim_world *world = quiet_world(3);
	struct talk talk;
	(void)state;
	talk_begin(&talk, world, 1000);
	sim_run(world, 2 * SECOND);
	assert_int_equal(1000, talk.server_bytes);
	sim_partition(world, talk.client_node, talk.server_node, true);
	talk.wanted = 2000;
	talk_send(&talk);
	sim_run(world, 10 * SECOND);
	assert_int_equal(1000, talk.server_bytes);
	sim_partition(world, talk.client_node, talk.server_node, false);
	sim_run(world, 60 * SECOND);
	assert_int_equal(2000, talk.server_bytes);
	sim_world_free(world);
}

static void who_sends_to_nobody_gives_up_in_the_end(void **state)
{
	struct sim_world *world = quiet_world(4);
	struct talk talk;
	(void)state;
	talk_begin(&talk, world, 10);
	sim_run(world, 2 * SECOND);
	sim_crash(talk.server_node, SIM_POWER_LOST);
	sim_run(world, 100 * SECOND);
	assert_false(talk.client_reset); /* it has said nothing, so it hears nothing */
	talk.wanted = 20;
	talk_send(&talk);
	assert_true(sim_run_until_idle(world, 10000 * SECOND));
	assert_true(talk.client_reset);
	sim_world_free(world);
}

static void a_killed_process_is_heard_of_at_once(void **state)
{
	struct sim_world *world = quiet_world(5);
	struct talk talk;
	(void)state;
	talk_begin(&talk, world, 10);
	sim_run(world, 2 * SECOND);
	sim_crash(talk.server_node, SIM_KILLED);
	sim_run(world, 3 * SECOND);
	assert_true(talk.client_eof || talk.client_reset);
	sim_world_free(world);
}

static void a_restarted_node_resets_old_connections(void **state)
{
	struct sim_world *world = quiet_world(6);
	struct talk talk;
	(void)state;
	talk_begin(&talk, world, 10);
	sim_run(world, 2 * SECOND);
	sim_crash(talk.server_node, SIM_POWER_LOST);
	talk.wanted = 20;
	talk_send(&talk);
	sim_run(world, 3 * SECOND);
	assert_false(talk.client_reset);
	sim_restart(talk.server_node);
	sim_run(world, 20 * SECOND);
	assert_true(talk.client_reset);
	sim_world_free(world);
}

static void a_stopped_process_goes_on_where_it_was(void **state)
{
	struct sim_world *world = quiet_world(7);
	struct talk talk;
	(void)state;
	talk_begin(&talk, world, 1000);
	sim_pause(talk.server_node, true);
	sim_run(world, 5 * SECOND);
	assert_null(talk.server);
	sim_pause(talk.server_node, false);
	sim_run(world, 6 * SECOND);
	assert_int_equal(1000, talk.server_bytes);
	sim_world_free(world);
}

static void loopback_belongs_to_one_node(void **state)
{
	struct sim_world *world = quiet_world(8);
	struct talk talk;
	struct err err = ERR_INIT;
	struct env_address own, other;
	(void)state;
	talk_begin(&talk, world, 10);
	sim_run(world, 2 * SECOND);
	/* The server listens on its outside address only. */
	assert_int_equal(ERR_OK, env_address_parse(BYTES("127.0.0.1:8080"), &own, &err));
	other = sim_node_address(talk.client_node, 8080);
	assert_int_equal(ERR_ENVIRONMENT, env_listen(talk.server_loop, &other, server_accepts,
						     &talk, &talk.listener, &err));
	struct env_stream *stream = env_connect(talk.client_loop, &own, &err);
	if (stream) {
		struct talk second = {.client = stream};
		stream->ready = client_ready;
		stream->argument = &second;
		sim_run(world, 3 * SECOND);
		assert_true(second.client_reset);
	}
	sim_world_free(world);
}

struct asking {
	struct env_lookup lookup;
	bool done;
};

static void answered(struct env_lookup *lookup)
{
	CONTAINER(lookup, struct asking, lookup)->done = true;
}

static void look_up(struct sim_world *world, struct env_loop *loop, struct asking *asking,
		    const char *host)
{
	*asking = (struct asking){
		.lookup = {.port = 9, .done = answered}
        };
	snprintf(asking->lookup.host, sizeof(asking->lookup.host), "%s", host);
	env_lookup_start(loop, &asking->lookup);
	assert_true(sim_run_until_idle(world, sim_now(world) + 10 * SECOND));
	assert_true(asking->done);
}

static void names_are_those_of_the_world(void **state)
{
	struct sim_faults faults = sim_faults_none();
	struct sim_world *world = world_with(9, &faults);
	struct env *node = sim_node_new(world, "gateway");
	struct env_loop *loop;
	struct asking asking;
	struct env_address first = {
		.family = ENV_IPV4, .ip = {192, 0, 2, 1}
        };
	struct env_address second = {
		.family = ENV_IPV4, .ip = {192, 0, 2, 2}
        };
	(void)state;
	start_loop(node, &loop);
	sim_name_add(world, "api.north.example", &first);
	sim_name_add(world, "api.north.example", &second);
	look_up(world, loop, &asking, "api.north.example");
	assert_int_equal(2, asking.lookup.count);
	assert_memory_equal(second.ip, asking.lookup.addresses[1].ip, 4);
	assert_int_equal(9, asking.lookup.addresses[1].port);
	look_up(world, loop, &asking, "gateway");
	assert_int_equal(1, asking.lookup.count);
	assert_int_equal(1, asking.lookup.addresses[0].ip[3]);
	look_up(world, loop, &asking, "nowhere.example");
	assert_int_equal(0, asking.lookup.count);
	assert_int_equal(ERR_NETWORK, asking.lookup.err.code);
	assert_non_null(strstr(asking.lookup.err.message, "nowhere.example"));
	faults.lookup_failure = SIM_CERTAIN;
	sim_set_faults(world, &faults);
	look_up(world, loop, &asking, "gateway");
	assert_int_equal(0, asking.lookup.count);
	sim_world_free(world);
}

/* ---- time, signals, crashes ---- */

static void count_call(void *argument)
{
	++*(int *)argument;
}

static void virtual_time_costs_nothing(void **state)
{
	struct sim_world *world = quiet_world(14);
	struct env *node = sim_node_new(world, "node");
	int calls = 0;
	(void)state;
	uint64_t year = 365 * 86400 * SECOND;
	int64_t wall = env_wall_ms(node);
	sim_at(world, sim_now(world) + year, count_call, &calls);
	assert_false(sim_run_until_idle(world, sim_now(world) + year - 1));
	assert_int_equal(0, calls);
	assert_true(sim_run_until_idle(world, SIM_NEVER));
	assert_int_equal(1, calls);
	assert_int_equal(365 * (int64_t)86400000, env_wall_ms(node) - wall);
	sim_wall_jump(node, -5000);
	assert_int_equal(365 * (int64_t)86400000 - 5000, env_wall_ms(node) - wall);
	sim_world_free(world);
}

struct slow {
	struct env_job job;
	uint64_t before, after;
	bool done;
};

static void slow_run(struct env_job *job)
{
	struct slow *slow = CONTAINER(job, struct slow, job);
	struct env *env = job->loop->env;
	slow->before = env_clock_ns(env);
	env_write_file(env, "/a", BYTES("x"), 0600, NULL);
	slow->after = env_clock_ns(env);
}

static void slow_done(struct env_job *job)
{
	struct slow *slow = CONTAINER(job, struct slow, job);
	assert_true(job->loop->now_ns >= slow->after);
	slow->done = true;
}

static void disk_calls_take_their_time(void **state)
{
	struct sim_faults faults = sim_faults_none();
	(void)state;
	faults.disk_min_ns = faults.disk_max_ns = 1000000;
	struct sim_world *world = world_with(15, &faults);
	struct env *node = sim_node_new(world, "node");
	struct env_loop *loop;
	struct slow slow = {
		.job = {.run = slow_run, .done = slow_done}
        };
	start_loop(node, &loop);
	env_job_start(loop, &slow.job);
	assert_true(sim_run_until_idle(world, 10 * SECOND));
	assert_true(slow.done);
	assert_int_equal(6 * 1000000, slow.after - slow.before);
	sim_world_free(world);
}

struct program {
	struct env *node;
	struct env_loop *loop;
	struct env_timer timer;
	struct env_stream *stream;
	struct env_file *file;
	struct env_listener *listener;
	int ticks, crashes;
};

static void program_tick(struct env_timer *timer)
{
	struct program *program = CONTAINER(timer, struct program, timer);
	program->ticks++;
	env_timer_arm(program->loop, timer, program->loop->now_ns + SECOND);
}

static void program_ready(struct env_stream *stream)
{
	(void)stream;
}

static void program_accept(struct env_listener *listener, void *argument)
{
	struct program *program = argument;
	struct env_stream *stream = env_accept(program->loop, listener, NULL);
	if (stream)
		env_close(stream, true);
}

static void program_start(struct program *program)
{
	struct env_address address = sim_node_address(program->node, 80);
	start_loop(program->node, &program->loop);
	program->timer = (struct env_timer){.fire = program_tick};
	assert_true(env_timer_arm(program->loop, &program->timer, 0));
	assert_int_equal(ERR_OK, env_listen(program->loop, &address, program_accept, program,
					    &program->listener, NULL));
	program->stream = env_connect(program->loop, &address, NULL);
	program->stream->ready = program_ready;
	program->file = open_file(program->node, "/state", WRITE);
}

/* What any program does at its end, run after its node has died. */
static void program_free(struct program *program)
{
	env_timer_disarm(program->loop, &program->timer);
	env_close(program->stream, false);
	env_listener_close(program->loop, program->listener);
	env_file_close(program->file);
	env_loop_stop(program->loop);
	env_loop_join(program->loop);
	env_loop_free(program->loop);
}

static void program_crashed(void *argument)
{
	struct program *program = argument;
	program->crashes++;
	program_free(program);
}

static void a_crashed_program_can_be_torn_down_and_started_again(void **state)
{
	struct sim_world *world = quiet_world(16);
	struct program program = {.node = sim_node_new(world, "node")};
	(void)state;
	sim_on_crash(program.node, program_crashed, &program);
	for (int round = 1; round <= 3; round++) {
		program_start(&program);
		sim_run(world, sim_now(world) + 5 * SECOND);
		int ticks = program.ticks;
		assert_true(ticks >= 4 * round);
		sim_crash(program.node, round % 2 ? SIM_KILLED : SIM_POWER_LOST);
		assert_int_equal(round, program.crashes);
		assert_true(sim_is_down(program.node));
		assert_null(env_loop_new(program.node, "loop", false));
		sim_run(world, sim_now(world) + 5 * SECOND);
		assert_int_equal(ticks, program.ticks);
		sim_restart(program.node);
		struct sim_usage usage = sim_node_usage(program.node);
		assert_int_equal(0, usage.loops + usage.streams + usage.listeners + usage.files +
					    usage.timers + usage.jobs);
	}
	sim_world_free(world);
}

static void a_crash_amid_a_disk_call_undoes_the_rest_of_the_callback(void **state)
{
	(void)state;
	for (uint64_t point = 1; point <= 6; point++) {
		struct sim_world *world = quiet_world(point);
		struct env *node = sim_node_new(world, "node");
		struct env_loop *loop;
		struct slow slow = {
			.job = {.run = slow_run, .done = slow_done}
                };
		start_loop(node, &loop);
		sim_crash_after(node, point, SIM_KILLED);
		env_job_start(loop, &slow.job);
		assert_true(sim_run_until_idle(world, 10 * SECOND));
		assert_false(slow.done);
		assert_true(sim_is_down(node));
		assert_int_equal(point - 1, sim_disk_operations(node));
		sim_world_free(world);
	}
}

static void a_loop_that_nobody_stops_is_given_up(void **state)
{
	struct sim_world *world = quiet_world(17);
	struct program program = {.node = sim_node_new(world, "node")};
	(void)state;
	struct env_loop *loop = env_loop_new(program.node, "main", false);
	env_loop_run(loop); /* nothing will ever happen */
	assert_true(sim_gave_up(world));
	program_start(&program);
	sim_limit(world, 100 * SECOND);
	assert_false(sim_gave_up(world));
	env_loop_join(program.loop);
	assert_true(sim_gave_up(world));
	assert_true(program.ticks > 90);
	sim_world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_seed_replays_and_another_differs),
		cmocka_unit_test(drawn_worlds_differ_and_disk_errors_are_asked_for),
		cmocka_unit_test(every_cut_keeps_the_order_of_bytes),
		cmocka_unit_test(certain_refusal_and_certain_reset),
		cmocka_unit_test(a_half_open_connection_is_silent),
		cmocka_unit_test(a_partition_delays_what_was_sent),
		cmocka_unit_test(who_sends_to_nobody_gives_up_in_the_end),
		cmocka_unit_test(a_killed_process_is_heard_of_at_once),
		cmocka_unit_test(a_restarted_node_resets_old_connections),
		cmocka_unit_test(a_stopped_process_goes_on_where_it_was),
		cmocka_unit_test(loopback_belongs_to_one_node),
		cmocka_unit_test(names_are_those_of_the_world),
		cmocka_unit_test(virtual_time_costs_nothing),
		cmocka_unit_test(disk_calls_take_their_time),
		cmocka_unit_test(a_crashed_program_can_be_torn_down_and_started_again),
		cmocka_unit_test(a_crash_amid_a_disk_call_undoes_the_rest_of_the_callback),
		cmocka_unit_test(a_loop_that_nobody_stops_is_given_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
