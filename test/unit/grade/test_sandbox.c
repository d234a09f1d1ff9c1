#include "grade/sandbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct sandbox_limits limits = SANDBOX_LIMITS_DEFAULT;

/* Where there is no sandbox at all, these tests can say nothing; the last one says how it is told.
 */
static int need_sandbox(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	if (sandbox_check(&err) == ERR_OK)
		return 0;
	print_message("SKIP: %s\n", err.message);
	return 0;
}

static bool there_is_none(void)
{
	struct err err = ERR_INIT;

	return sandbox_check(&err) == ERR_ENVIRONMENT;
}

#define NEEDS_SANDBOX()              \
	do {                         \
		if (there_is_none()) \
			skip();      \
	} while (0)

/* Runs Python source with the given limits. */
static void run_python(const char *source, const struct sandbox_limits *within,
		       struct sandbox_result *result)
{
	const char *const arguments[] = {"/usr/bin/python3", "-I", "-S", "-c", source, NULL};
	struct sandbox_program program = {.argv = arguments, .limits = *within};
	struct err err = ERR_INIT;

	sandbox_result_init(result);
	if (sandbox_run(&program, result, &err) != ERR_OK)
		fail_msg("%s", err.message);
}

/* The source must exit with 0: each prints what surprised it and fails otherwise. */
static void passes(const char *source)
{
	struct sandbox_result result;

	run_python(source, &limits, &result);
	if (result.ending != SANDBOX_EXITED || result.exit_status != 0)
		fail_msg("%s: %.*s", sandbox_ending_text(result.ending), (int)result.errors.size,
			 result.errors.data);
	sandbox_result_release(&result);
}

static void streams_are_kept_apart(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	const char *const arguments[] = {"/usr/bin/python3",
					 "-I",
					 "-S",
					 "-c",
					 "import os,sys\n"
					 "os.write(3, sys.stdin.buffer.read())\n"
					 "print('out'); print('err', file=sys.stderr); sys.exit(7)",
					 NULL};
	char *large = malloc(1 << 20);
	struct sandbox_program program = {
		.argv = arguments, .input = {large, 1 << 20},
                     .limits = limits
        };
	struct sandbox_result result;
	struct err err = ERR_INIT;

	assert_non_null(large);
	memset(large, 'x', 1 << 20);
	sandbox_result_init(&result);
	assert_int_equal(sandbox_run(&program, &result, &err), ERR_OK);
	assert_int_equal(result.ending, SANDBOX_EXITED);
	assert_int_equal(result.exit_status, 7);
	assert_true(bytes_is(buf_bytes(&result.output), "out\n"));
	assert_true(bytes_is(buf_bytes(&result.errors), "err\n"));
	assert_true(bytes_equal(buf_bytes(&result.verdict), bytes_of(large, 1 << 20)));
	sandbox_result_release(&result);
	free(large);
}

static void a_program_that_does_not_read(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	const char *const arguments[] = {"/usr/bin/true", NULL};
	static char input[1 << 20];
	struct sandbox_program program = {
		.argv = arguments, .input = {input, sizeof(input)},
                     .limits = limits
        };
	struct sandbox_result result;
	struct err err = ERR_INIT;

	sandbox_result_init(&result);
	assert_int_equal(sandbox_run(&program, &result, &err), ERR_OK);
	assert_int_equal(result.exit_status, 0);
	sandbox_result_release(&result);
}

static void nothing_of_the_machine_is_seen(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	passes("import os\n"
	       "assert os.getuid() == 65534 and os.getgid() == 65534\n"
	       "assert sorted(os.listdir('/')) == "
	       "['bin', 'dev', 'lib', 'lib64', 'tmp', 'usr'], os.listdir('/')\n"
	       "assert os.listdir('/tmp') == [] and os.getcwd() == '/tmp'\n"
	       "assert not os.path.exists('/proc/self') and not os.path.exists('/etc/passwd')\n"
	       "assert os.listdir('/usr/local') == [] if os.path.exists('/usr/local') else True\n"
	       "assert os.getpid() == 1\n"
	       "assert os.uname().nodename == 'sandbox'\n"
	       "assert 'SECRET' not in os.environ and os.environ['HOME'] == '/tmp'\n"
	       "open_fds = []\n"
	       "for fd in range(200):\n"
	       "    try: os.fstat(fd); open_fds.append(fd)\n"
	       "    except OSError: pass\n"
	       "assert open_fds == [0, 1, 2, 3], open_fds\n");
}

static void only_its_tmp_is_writable(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	passes("import os\n"
	       "open('/tmp/x', 'w').write('y')\n"
	       "for place in ['/x', '/usr/x', '/usr/bin/x', '/usr/local/x', '/dev/x', "
	       "'/dev/shm/x', '/bin/x']:\n"
	       "    try: open(place, 'w')\n"
	       "    except OSError: continue\n"
	       "    raise SystemExit('wrote ' + place)\n"
	       "try:\n"
	       "    for i in range(100):\n"
	       "        open('/tmp/f%d' % i, 'wb').write(bytes(8 << 20))\n"
	       "    raise SystemExit('no end of /tmp')\n"
	       "except OSError: pass\n");
	/* And the next program finds it empty. */
	passes("import os\nassert os.listdir('/tmp') == []");
}

static void there_is_no_network(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	passes("import _socket as s\n"
	       "for family in (s.AF_INET, s.AF_INET6, 16, 17, 40):\n"
	       "    try: s.socket(family, s.SOCK_STREAM)\n"
	       "    except OSError: continue\n"
	       "    raise SystemExit('socket of family %d' % family)\n");
}

static void dangerous_calls_are_denied(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	/* unshare, setns, clone with CLONE_NEWUSER, clone3, ptrace, mount, bpf, perf_event_open,
	 * userfaultfd, io_uring_setup, keyctl, process_vm_readv, memfd_create, shmget, chroot */
	passes("import sys\n"
	       "sys.path[:] = [p for p in sys.path if p]\n"
	       "import ctypes\n"
	       "call = ctypes.CDLL(None, use_errno=True).syscall\n"
	       "for number, first in [(272, 0x10000000), (308, 0), (56, 0x10000011), (435, 0), "
	       "(101, 0), (165, 0), (321, 0), (298, 0), (323, 0), (425, 1), (250, 0), (310, 1), "
	       "(319, 0), (29, 0), (161, 0)]:\n"
	       "    result = call(number, ctypes.c_long(first), 0, 0, 0, 0)\n"
	       "    if result != -1 or ctypes.get_errno() not in (1, 38):\n"
	       "        raise SystemExit('%d gave %d, %d' % "
	       "(number, result, ctypes.get_errno()))\n");
}

static void cpu_time_ends_it(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	struct sandbox_limits short_time = limits;
	struct sandbox_result result;

	short_time.cpu_seconds = 1;
	run_python("import signal\nsignal.signal(24, signal.SIG_IGN)\nwhile True: pass",
		   &short_time, &result);
	assert_int_equal(result.ending, SANDBOX_CPU_LIMIT);
	assert_in_range(result.cpu_ms, 950, 2500);
	sandbox_result_release(&result);
}

static void sleeping_ends_at_the_wall(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	struct sandbox_limits short_time = limits;
	struct sandbox_result result;

	short_time.wall_ms = 300;
	run_python("import time\ntime.sleep(100)", &short_time, &result);
	assert_int_equal(result.ending, SANDBOX_WALL_LIMIT);
	assert_true(result.wall_ms >= 300);
	sandbox_result_release(&result);
}

static void memory_processes_and_output_are_bounded(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	struct sandbox_limits small = limits;
	struct sandbox_result result;

	small.memory_bytes = (uint64_t)200 << 20;
	run_python("try: b = bytes(400 << 20)\nexcept MemoryError: raise SystemExit(9)", &small,
		   &result);
	assert_int_equal(result.exit_status, 9);
	sandbox_result_release(&result);

	passes("import os, time\n"
	       "children = 0\n"
	       "try:\n"
	       "    while children < 100:\n"
	       "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
	       "        children += 1\n"
	       "except OSError: pass\n"
	       "assert 10 <= children <= 15, children\n");

	run_python("import os\nwhile True: os.write(1, b'x' * 4096)", &limits, &result);
	assert_int_equal(result.ending, SANDBOX_OUTPUT_LIMIT);
	assert_int_equal(result.output.size, limits.output_bytes);
	sandbox_result_release(&result);
}

static void signals_are_told_from_exits(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	struct sandbox_result result;

	run_python("import sys\nsys.path[:] = [p for p in sys.path if p]\n"
		   "import ctypes\nctypes.string_at(0)",
		   &limits, &result);
	assert_int_equal(result.ending, SANDBOX_SIGNALLED);
	assert_int_equal(result.signal, SIGSEGV);
	sandbox_result_release(&result);
}

/* A marker in an argument, looked for among all processes of the machine afterwards. */
static bool process_runs(const char *marker)
{
	char command[256];

	snprintf(command, sizeof(command), "grep -aqs '[%c]%s' /proc/[0-9]*/cmdline", marker[0],
		 marker + 1);
	return system(command) == 0;
}

static void no_process_is_left(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	struct sandbox_limits short_time = limits;
	struct sandbox_result result;
	char source[512];

	snprintf(source, sizeof(source),
		 "marker = 'parley-test-%d-end'\nimport os, time\n"
		 "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(100)\n"
		 "    os._exit(0)\n",
		 (int)getpid());
	char marker[64];
	snprintf(marker, sizeof(marker), "parley-test-%d-end", (int)getpid());
	FILE *control = popen("read word # parley-test-control", "w");
	assert_non_null(control);
	assert_true(process_runs("parley-test-control")); /* the search finds what is there */
	pclose(control);
	run_python(source, &limits, &result);
	assert_int_equal(result.ending, SANDBOX_EXITED);
	sandbox_result_release(&result);
	assert_false(process_runs(marker));

	short_time.wall_ms = 300;
	snprintf(source + strlen(source), sizeof(source) - strlen(source), "time.sleep(100)\n");
	run_python(source, &short_time, &result);
	assert_int_equal(result.ending, SANDBOX_WALL_LIMIT);
	sandbox_result_release(&result);
	assert_false(process_runs(marker));
}

static void *run_some(void *argument)
{
	int *good = argument;

	for (int i = 0; i < 10; i++) {
		const char *const arguments[] = {"/usr/bin/cat", NULL};
		char text[64];
		snprintf(text, sizeof(text), "%p %d", argument, i);
		struct sandbox_program program = {
			.argv = arguments, .input = bytes_from(text), .limits = limits};
		struct sandbox_result result;

		sandbox_result_init(&result);
		if (sandbox_run(&program, &result, NULL) == ERR_OK &&
		    bytes_is(buf_bytes(&result.output), text))
			(*good)++;
		sandbox_result_release(&result);
	}
	return NULL;
}

static void several_at_once(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	pthread_t threads[6];
	int good[6] = {0};

	for (int i = 0; i < 6; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_some, &good[i]), 0);
	for (int i = 0; i < 6; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(good[i], 10);
	}
}

static void descriptors_are_not_leaked(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(before);
	passes("pass");
	int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(after);
	assert_int_equal(after, before);
}

static void a_missing_program_is_named(void **state)
{
	(void)state;
	const char *const arguments[] = {"/usr/bin/no-such-program", NULL};
	struct sandbox_program program = {.argv = arguments, .limits = limits};
	struct sandbox_result result;
	struct err err = ERR_INIT;

	sandbox_result_init(&result);
	assert_int_equal(sandbox_run(&program, &result, &err), ERR_ENVIRONMENT);
	assert_non_null(strstr(err.message, access("/usr/bin/bwrap", X_OK) == 0
						    ? "no-such-program"
						    : "package bubblewrap"));
	sandbox_result_release(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_are_kept_apart),
		cmocka_unit_test(a_program_that_does_not_read),
		cmocka_unit_test(nothing_of_the_machine_is_seen),
		cmocka_unit_test(only_its_tmp_is_writable),
		cmocka_unit_test(there_is_no_network),
		cmocka_unit_test(dangerous_calls_are_denied),
		cmocka_unit_test(cpu_time_ends_it),
		cmocka_unit_test(sleeping_ends_at_the_wall),
		cmocka_unit_test(memory_processes_and_output_are_bounded),
		cmocka_unit_test(signals_are_told_from_exits),
		cmocka_unit_test(no_process_is_left),
		cmocka_unit_test(several_at_once),
		cmocka_unit_test(descriptors_are_not_leaked),
		cmocka_unit_test(a_missing_program_is_named),
	};

	setenv("SECRET", "must not be seen", 1);
	return cmocka_run_group_tests(tests, need_sandbox, NULL);
}
