#include "contract.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define TESTS_MAX 64

struct guard {
	struct env_timer timer;
	struct env_loop *loop;
	bool expired;
};

static void guard_fires(struct env_timer *timer)
{
	struct guard *guard = CONTAINER(timer, struct guard, timer);
	guard->expired = true;
	env_loop_stop(guard->loop);
}

void contract_run(struct contract *contract, struct env_loop *loop)
{
	struct guard guard = {.timer = {.fire = guard_fires}, .loop = loop};
	uint64_t end = env_clock_ns(contract->env) + 10000 * MILLISECOND;
	assert_true(env_timer_arm(loop, &guard.timer, end));
	env_loop_run(loop);
	env_timer_disarm(loop, &guard.timer);
	assert_false(guard.expired);
}

const char *contract_path(struct contract *contract, const char *name)
{
	static char ring[8][256];
	static unsigned next;
	char *out = ring[next++ % COUNT(ring)];
	snprintf(out, sizeof(ring[0]), "%s/%s", contract->directory, name);
	return out;
}

void contract_raise(struct contract *contract, int signal_number)
{
	if (contract->sim)
		sim_signal(contract->env, signal_number);
	else
		kill(getpid(), signal_number);
}

static int set_up(void **state)
{
	struct contract *contract = calloc(1, sizeof(*contract));
	struct err err = ERR_INIT;
	assert_non_null(contract);
	contract->world = *state;
	if (contract->world->machine) {
		contract->env = env_os_new(3);
		snprintf(contract->directory, sizeof(contract->directory),
			 "/tmp/parley-env-XXXXXX");
		assert_non_null(mkdtemp(contract->directory));
	} else {
		contract->sim = sim_world_new(contract->world->seed, &contract->world->faults);
		contract->env = sim_node_new(contract->sim, "node");
		snprintf(contract->directory, sizeof(contract->directory), "/test");
		assert_int_equal(ERR_OK,
				 env_make_directory(contract->env, contract->directory, &err));
	}
	assert_non_null(contract->env);
	*state = contract;
	return 0;
}

static void remove_tree(const char *path)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(0, system(command));
}

static int tear_down(void **state)
{
	struct contract *contract = *state;
	if (contract->sim) {
		struct sim_usage usage = sim_node_usage(contract->env);
		assert_int_equal(0, usage.loops + usage.streams + usage.listeners + usage.files);
		sim_world_free(contract->sim);
	} else {
		env_os_free(contract->env);
		remove_tree(contract->directory);
	}
	free(contract);
	return 0;
}

static size_t add_tests(struct CMUnitTest *out, size_t count, const struct CMUnitTest *tests,
			size_t more, const struct contract_world *world)
{
	for (size_t i = 0; i < more; i++) {
		assert_true(count < TESTS_MAX);
		out[count] = tests[i];
		out[count].setup_func = set_up;
		out[count].teardown_func = tear_down;
		out[count++].initial_state = (void *)world;
	}
	return count;
}

static int run_world(const struct contract_world *world)
{
	struct CMUnitTest tests[TESTS_MAX];
	size_t count = 0;
	count = add_tests(tests, count, contract_loop_tests, contract_loop_count, world);
	count = add_tests(tests, count, contract_network_tests, contract_network_count, world);
	count = add_tests(tests, count, contract_disk_tests, contract_disk_count, world);
	return _cmocka_run_group_tests(world->name, tests, count, NULL, NULL);
}

/* Everything the contract leaves open, and nothing that it promises will not happen by itself. */
static struct sim_faults rough(uint64_t seed)
{
	struct sim_faults faults = sim_faults_none();
	faults.cut = 300000;
	faults.one_byte = 100000;
	faults.stall = 20000;
	faults.pause = 5000;
	faults.wall_jump = 5000;
	faults.window = seed % 3 == 0 ? 1000 : 65536;
	return faults;
}

int main(void)
{
	struct contract_world machine = {.name = "machine", .machine = true};
	int failed = run_world(&machine);
	for (uint64_t seed = 1; seed <= 10; seed++) {
		char name[32];
		snprintf(name, sizeof(name), "quiet world %d", (int)seed);
		struct contract_world quiet = {
			.name = name, .seed = seed, .faults = sim_faults_none()};
		failed += run_world(&quiet);
		snprintf(name, sizeof(name), "rough world %d", (int)seed);
		struct contract_world harsh = {.name = name, .seed = seed, .faults = rough(seed)};
		failed += run_world(&harsh);
	}
	return failed != 0;
}
