/* The load generator on the stand-in, over a simulated network: what it counts is exact. */
#include "env/env_sim.h"
#include "load/load.h"
#include "standin/standin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND ((uint64_t)1000000000)

struct stage {
	struct sim_world *sim;
	struct env_loop *loop;
	struct standin *standin;
	struct load *load;
	bool done;
};

static struct load_options defaults(void)
{
	return (struct load_options){.url = "http://10.0.0.1:80",
				     .dialect = DIALECT_ANTHROPIC,
				     .model = "m",
				     .prompt_bytes = 100,
				     .max_tokens = 16,
				     .connections = 4,
				     .measure_ns = SECOND,
				     .timeout_ns = 10 * SECOND,
				     .drain_ns = SECOND};
}

static struct standin_options generator(void)
{
	return (struct standin_options){.mode = STANDIN_GENERATOR, .seed = 5, .output_tokens = 8};
}

static void on_phase(void *argument, enum load_phase phase)
{
	struct stage *stage = argument;
	if (phase == LOAD_DONE)
		stage->done = true;
}

static bool is_done(void *argument)
{
	return ((struct stage *)argument)->done;
}

static bool never(void *argument)
{
	(void)argument;
	return false;
}

static void stage_open(struct stage *stage, const struct standin_options *options)
{
	struct sim_faults none = sim_faults_none();
	memset(stage, 0, sizeof(*stage));
	stage->sim = sim_world_new(1, &none);
	struct env *node = sim_node_new(stage->sim, "node");
	struct env_address address = sim_node_address(node, 80);
	stage->loop = env_loop_new(node, "loop", false);
	stage->standin = standin_new(stage->loop, options);
	assert_int_equal(ERR_OK, standin_listen(stage->standin, &address, NULL, NULL));
	assert_int_equal(ERR_OK, env_loop_start(stage->loop, -1, NULL));
}

static const struct load_result *run(struct stage *stage, const struct load_options *options)
{
	assert_int_equal(ERR_OK, load_new(stage->loop, options, &stage->load, NULL));
	load_start(stage->load, on_phase, stage);
	assert_true(sim_run_until(stage->sim, sim_now(stage->sim) + 600 * SECOND, is_done, stage));
	return load_result(stage->load);
}

static void stage_close(struct stage *stage)
{
	load_free(stage->load);
	standin_free(stage->standin);
	env_loop_stop(stage->loop);
	sim_run_until(stage->sim, sim_now(stage->sim) + SECOND, never, NULL);
	env_loop_free(stage->loop);
	sim_world_free(stage->sim);
}

static void a_closed_loop_stops_after_so_many(void **state)
{
	struct standin_options standin = generator();
	struct load_options options = defaults();
	struct stage stage;
	(void)state;
	standin.first_token_ns = SECOND / 100;
	options.requests = 50;
	options.measure_ns = 600 * SECOND;
	stage_open(&stage, &standin);
	const struct load_result *result = run(&stage, &options);
	assert_int_equal(50, result->ended);
	assert_int_equal(0, result->failed);
	assert_int_equal(50, result->statuses[200]);
	assert_int_equal(50, result->latency.count);
	assert_true(result->latency.min >= SECOND / 100);
	/* The last answer ends the measurement with the three others under way. */
	uint64_t asked = standin_counts(stage.standin).requests;
	assert_true(asked >= 50 && asked <= 53);
	assert_int_equal(3, result->open);
	stage_close(&stage);
}

static void an_open_loop_keeps_its_schedule(void **state)
{
	struct standin_options standin = generator();
	struct load_options options = defaults();
	struct stage stage;
	(void)state;
	standin.first_token_ns = SECOND / 50;
	options.rate = 100;
	options.connections = 10;
	options.measure_ns = 3 * SECOND;
	stage_open(&stage, &standin);
	const struct load_result *result = run(&stage, &options);
	assert_true(result->ended >= 299 && result->ended <= 301);
	assert_int_equal(0, result->failed);
	assert_int_equal(3 * SECOND, result->measured_ns);
	stage_close(&stage);
}

/* The target takes 50 ms for each and gets one at a time, 40 are meant to start each second: the
 * queue grows by 20 a second, and whoever waits in it is timed from when he should have started.
 * Measured from the real start every one of them would take 50 ms. */
static void nothing_is_omitted(void **state)
{
	struct standin_options standin = generator();
	struct load_options options = defaults();
	struct stage stage;
	(void)state;
	standin.first_token_ns = SECOND / 20;
	options.rate = 40;
	options.connections = 1;
	options.measure_ns = 2 * SECOND;
	options.drain_ns = 10 * SECOND;
	stage_open(&stage, &standin);
	const struct load_result *result = run(&stage, &options);
	assert_true(result->ended >= 79 && result->ended <= 81);
	assert_true(result->latency.max > 2 * SECOND);
	assert_true(histogram_quantile(&result->latency, 0.5) > 9 * SECOND / 10);
	assert_true(result->late.max > 19 * SECOND / 10);
	stage_close(&stage);
}

/* The same with a short drain: what never started is told. */
static void what_never_started_is_told(void **state)
{
	struct standin_options standin = generator();
	struct load_options options = defaults();
	struct stage stage;
	(void)state;
	standin.first_token_ns = SECOND / 20;
	options.rate = 40;
	options.connections = 1;
	options.measure_ns = 2 * SECOND;
	options.drain_ns = SECOND / 10;
	stage_open(&stage, &standin);
	const struct load_result *result = run(&stage, &options);
	uint64_t lost = result->errors[LOAD_ERROR_UNSTARTED] + result->errors[LOAD_ERROR_LATE];
	assert_true(lost > 30);
	assert_int_equal(lost, result->failed);
	assert_true(result->ended + lost >= 79 && result->ended + lost <= 81);
	stage_close(&stage);
}

static void events_and_their_delay(void **state)
{
	struct standin_options standin = generator();
	struct load_options options = defaults();
	struct stage stage;
	(void)state;
	standin.pulse = (struct pulse_options){
		.per_second = 10, .events = 100000, .text_bytes = 40, .stamp = true};
	options.stream = true;
	options.connections = 20;
	options.ramp_ns = SECOND;
	options.warmup_ns = SECOND;
	options.measure_ns = 5 * SECOND;
	stage_open(&stage, &standin);
	const struct load_result *result = run(&stage, &options);
	/* 20 streams, 10 a second each, for 5 s; one more or less at the edges. */
	assert_true(result->stamped >= 980 && result->stamped <= 1020);
	assert_int_equal(result->stamped, result->events);
	assert_int_equal(result->stamped, result->delay.count);
	assert_int_equal(20, result->open);
	assert_int_equal(0, result->failed);
	assert_true(result->delay.max < SECOND / 100);
	stage_close(&stage);
}

static void short_streams_end_well_in_both_dialects(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		struct standin_options standin = generator();
		struct load_options options = defaults();
		struct stage stage;
		options.dialect = round ? DIALECT_OPENAI : DIALECT_ANTHROPIC;
		options.stream = true;
		options.requests = 10;
		stage_open(&stage, &standin);
		const struct load_result *result = run(&stage, &options);
		assert_int_equal(10, result->ended);
		assert_int_equal(0, result->failed);
		assert_true(result->events >= 60); /* those of the first four may come before */
		stage_close(&stage);
	}
}

static void failures_are_told_by_kind(void **state)
{
	struct standin_options standin = generator();
	struct load_options options = defaults();
	struct stage stage;
	(void)state;
	standin.error_rate = standin.cut_rate = 0.3;
	options.requests = 200;
	options.measure_ns = 600 * SECOND;
	stage_open(&stage, &standin);
	const struct load_result *result = run(&stage, &options);
	assert_int_equal(200, result->ended + result->failed);
	assert_int_equal(result->failed,
			 result->errors[LOAD_ERROR_STATUS] + result->errors[LOAD_ERROR_RESET]);
	assert_true(result->errors[LOAD_ERROR_STATUS] > 20);
	assert_true(result->errors[LOAD_ERROR_RESET] > 20);
	assert_int_equal(result->errors[LOAD_ERROR_STATUS], result->statuses[529]);
	assert_true(result->sample[0]);
	stage_close(&stage);
}

static void a_dead_target(void **state)
{
	struct standin_options standin = generator();
	struct load_options options = defaults();
	struct stage stage;
	(void)state;
	options.url = "http://10.0.0.1:81";
	stage_open(&stage, &standin);
	const struct load_result *result = run(&stage, &options);
	assert_int_equal(0, result->ended);
	assert_true(result->failed > 0 && result->failed < 200); /* it rests in between */
	assert_int_equal(result->failed, result->errors[LOAD_ERROR_CONNECT]);
	stage_close(&stage);
}

static void it_can_be_stopped_at_any_time(void **state)
{
	(void)state;
	for (uint64_t after = SECOND / 10; after < 4 * SECOND; after += SECOND / 2) {
		struct standin_options standin = generator();
		struct load_options options = defaults();
		struct stage stage;
		standin.first_token_ns = SECOND / 100;
		options.ramp_ns = options.warmup_ns = options.measure_ns = SECOND;
		options.rate = after > SECOND ? 0 : 50;
		stage_open(&stage, &standin);
		assert_int_equal(ERR_OK, load_new(stage.loop, &options, &stage.load, NULL));
		load_start(stage.load, on_phase, &stage);
		sim_run_until(stage.sim, sim_now(stage.sim) + after, never, NULL);
		load_stop(stage.load);
		assert_true(stage.done);
		assert_true(load_result(stage.load)->measured_ns <= SECOND + SECOND / 100);
		stage_close(&stage);
	}
}

static void lines_are_sent_in_turn_and_headers_are_checked(void **state)
{
	static const char *const wrong[] = {"no colon"};
	struct standin_options standin = generator();
	struct load_options options = defaults();
	struct err err = ERR_INIT;
	struct load *load;
	struct stage stage;
	(void)state;
	options.requests = 20;
	options.bodies = BYTES("{\"model\":\"m\",\"max_tokens\":4,\"messages\":[{\"role\":\"user\","
			       "\"content\":\"hi\"}]}\n{\"model\":\n");
	stage_open(&stage, &standin);
	options.headers = wrong;
	options.header_count = 1;
	assert_int_equal(ERR_INVALID, load_new(stage.loop, &options, &load, &err));
	assert_non_null(strstr(err.message, "no colon"));
	options.header_count = 0;
	const struct load_result *result = run(&stage, &options);
	assert_int_equal(20, result->ended + result->failed);
	assert_true(result->statuses[200] >= 5 && result->statuses[400] >= 5);
	stage_close(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_closed_loop_stops_after_so_many),
		cmocka_unit_test(an_open_loop_keeps_its_schedule),
		cmocka_unit_test(nothing_is_omitted),
		cmocka_unit_test(what_never_started_is_told),
		cmocka_unit_test(events_and_their_delay),
		cmocka_unit_test(short_streams_end_well_in_both_dialects),
		cmocka_unit_test(failures_are_told_by_kind),
		cmocka_unit_test(a_dead_target),
		cmocka_unit_test(it_can_be_stopped_at_any_time),
		cmocka_unit_test(lines_are_sent_in_turn_and_headers_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
