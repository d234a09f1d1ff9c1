/* Programs of the machine: apart, with nothing of ours, and attached, as the user's own. */
#include "contract.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct running {
	struct env_process process; /* first */
	struct env_loop *loop;
	struct env_timer timer;
	bool late;
};

static void ended(struct env_process *process)
{
	env_loop_stop(((struct running *)process)->loop);
}

static void out_of_patience(struct env_timer *timer)
{
	struct running *running = CONTAINER(timer, struct running, timer);
	running->late = true;
	env_loop_stop(running->loop);
}

static void setup(struct running *running, struct env *env, const char *const *argv)
{
	*running = (struct running){
		.loop = env_loop_new(env, "processes", false),
		.process = {.argv = argv,      .done = ended, .attached = true},
		.timer = {.fire = out_of_patience},
	};
	assert_non_null(running->loop);
	assert_true(env_timer_arm(running->loop, &running->timer,
				  env_clock_ns(env) + 60000 * MILLISECOND));
}

static void finish(struct running *running)
{
	assert_false(running->late);
	env_timer_disarm(running->loop, &running->timer);
	env_loop_free(running->loop);
}

static void an_attached_program_has_the_environment_it_is_given(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c",
				    "test \"$A\" = b && test -z \"$HOME\" && exit 7", NULL};
	const char *const environment[] = {"A=b", "PATH=/usr/bin:/bin", NULL};
	struct env *env = env_os_new(1);
	struct running running;
	(void)state;
	setup(&running, env, argv);
	running.process.environment = environment;
	assert_int_equal(env_process_start(running.loop, &running.process, NULL), ERR_OK);
	env_loop_run(running.loop);
	assert_int_equal(running.process.status, 7);
	assert_int_equal(running.process.signal, 0);
	finish(&running);
	env_os_free(env);
}

/* The whole process group hears it: the shell and what it waits for. */
static void a_signal_ends_it_and_what_it_started(void **state)
{
	char folder[] = "/tmp/parley-process-XXXXXX", script[256], ready[64];
	const char *const argv[] = {"/bin/sh", "-c", script, NULL};
	const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
	struct env *env = env_os_new(1);
	struct running running;
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(ready, sizeof(ready), "%s/ready", folder);
	snprintf(script, sizeof(script), "sleep 300 & touch %s; wait", ready);
	setup(&running, env, argv);
	running.process.environment = environment;
	assert_int_equal(env_process_start(running.loop, &running.process, NULL), ERR_OK);
	for (int i = 0; i < 6000 && access(ready, F_OK) != 0; i++)
		usleep(10000);
	env_process_signal(running.loop, &running.process, SIGTERM);
	env_loop_run(running.loop);
	assert_int_equal(running.process.status, -1);
	assert_int_equal(running.process.signal, SIGTERM);
	/* One that has ended is left alone. */
	env_process_signal(running.loop, &running.process, SIGTERM);
	env_process_cancel(running.loop, &running.process);
	finish(&running);
	env_os_free(env);
	unlink(ready);
	rmdir(folder);
}

static void what_cannot_be_started_says_so(void **state)
{
	const char *const argv[] = {"/nowhere/program", NULL};
	const char *const environment[] = {NULL};
	struct env *env = env_os_new(1);
	struct running running;
	struct err err = ERR_INIT;
	(void)state;
	setup(&running, env, argv);
	running.process.environment = environment;
	assert_int_equal(env_process_start(running.loop, &running.process, &err), ERR_ENVIRONMENT);
	assert_non_null(strstr(err.message, "/nowhere/program: No such file"));
	finish(&running);
	env_os_free(env);
}

static void a_program_apart_has_nothing_of_ours_and_what_it_says_is_kept(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "cat; env | grep -c SECRET; exit 3", NULL};
	struct env *env = env_os_new(1);
	struct running running;
	(void)state;
	setenv("SECRET", "x", 1);
	setup(&running, env, argv);
	running.process.attached = false;
	running.process.input = BYTES("given\n");
	running.process.deadline_ns = env_clock_ns(env) + 60000 * MILLISECOND;
	assert_int_equal(env_process_start(running.loop, &running.process, NULL), ERR_OK);
	env_loop_run(running.loop);
	assert_int_equal(running.process.status, 3);
	assert_string_equal(running.process.output, "given\n0\n");
	finish(&running);
	env_os_free(env);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_attached_program_has_the_environment_it_is_given),
		cmocka_unit_test(a_signal_ends_it_and_what_it_started),
		cmocka_unit_test(what_cannot_be_started_says_so),
		cmocka_unit_test(a_program_apart_has_nothing_of_ours_and_what_it_says_is_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
