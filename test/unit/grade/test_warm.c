/* Warm interpreters: the same promises as the sandbox's, and nothing of one program for the next.
 */
#include "grade/sandbox_warm.h"

#include "grade/code.h"
#include "grade/code_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct sandbox_limits limits = SANDBOX_LIMITS_DEFAULT;
static struct sandbox_warm *pool; /* of all tests: one interpreter serves them one by one */

static bool usable(void)
{
	char why[SANDBOX_WARM_NOTE_SIZE];
	struct err err = ERR_INIT;

	if (sandbox_check(&err) != ERR_OK) {
		print_message("SKIP: %s\n", err.message);
		return false;
	}
	if (sandbox_warm_is_off(pool, why)) {
		print_message("SKIP: no warm interpreter: %s\n", why);
		return false;
	}
	return true;
}

#define NEEDS_WARM()            \
	do {                    \
		if (!usable())  \
			skip(); \
	} while (0)

/* Runs a candidate's text, whose function f is called with nothing. */
static void run_within(const char *code, const struct sandbox_limits *within,
		       struct sandbox_result *result)
{
	static const char *const cold[] = {"/usr/bin/false", NULL};
	struct buf input = BUF_INIT((size_t)1 << 20);
	struct err err = ERR_INIT;

	buf_printf(&input, "cases f %zu\n%sl1:l0:", strlen(code), code);
	struct sandbox_program program = {
		.argv = cold, .input = buf_bytes(&input), .limits = *within};
	sandbox_result_init(result);
	if (sandbox_warm_run(pool, &program, result, &err) != ERR_OK)
		fail_msg("%s", err.message);
	buf_release(&input);
}

static void says(const char *code, const char *verdict)
{
	struct sandbox_result result;

	run_within(code, &limits, &result);
	if (result.ending != SANDBOX_EXITED || !bytes_is(buf_bytes(&result.verdict), verdict))
		fail_msg("%s: %s (%d), verdict %.*s", code, sandbox_ending_text(result.ending),
			 result.exit_status, (int)result.verdict.size,
			 result.verdict.size ? result.verdict.data : "");
	sandbox_result_release(&result);
}

/* The code's function returns None, or what surprised it. */
static void passes(const char *code)
{
	says(code, "l2:s1:rN");
}

static void it_starts(void **state)
{
	struct err err = ERR_INIT;
	char why[SANDBOX_WARM_NOTE_SIZE];

	(void)state;
	if (sandbox_check(&err) != ERR_OK)
		skip();
	says("def f(): return 6 * 7\n", sandbox_warm_is_off(pool, why) ? "" : "l2:s1:ri42;");
	if (sandbox_warm_is_off(pool, why))
		print_message("off: %s\n", why);
}

static void nothing_of_the_machine_is_seen(void **state)
{
	(void)state;
	NEEDS_WARM();
	passes("import os\n"
	       "def f():\n"
	       "    assert os.getuid() == 65534 and os.getgid() == 65534, os.getuid()\n"
	       "    assert sorted(os.listdir('/')) == "
	       "['bin', 'dev', 'lib', 'lib64', 'tmp', 'usr'], os.listdir('/')\n"
	       "    assert os.listdir('/tmp') == [] and os.getcwd() == '/tmp'\n"
	       "    assert not os.path.exists('/proc/self') and not os.path.exists('/etc/passwd')\n"
	       "    assert os.getpid() == 1 and os.getppid() == 0\n"
	       "    assert os.uname().nodename == 'sandbox'\n"
	       "    assert 'SECRET' not in os.environ and os.environ['HOME'] == '/tmp'\n"
	       "    fds = []\n"
	       "    for fd in range(200):\n"
	       "        try: os.fstat(fd); fds.append(fd)\n"
	       "        except OSError: pass\n"
	       "    assert fds == [0, 1, 2, 3], fds\n");
}

static void calls_are_denied(void **state)
{
	(void)state;
	NEEDS_WARM();
	passes("import ctypes\n"
	       "def f():\n"
	       "    call = ctypes.CDLL(None, use_errno=True).syscall\n"
	       "    for number, first in [(272, 0x10000000), (308, 0), (56, 0x10000011), (435, 0), "
	       "(101, 0), (165, 0), (321, 0), (298, 0), (323, 0), (425, 1), (250, 0), (310, 1), "
	       "(319, 0), (29, 0), (161, 0), (126, 0), (105, 0), (106, 0)]:\n"
	       "        result = call(number, ctypes.c_long(first), 0, 0, 0, 0)\n"
	       "        error = ctypes.get_errno()\n"
	       "        assert result == -1 and error in (1, 14, 22, 38), (number, result, error)\n"
	       "    import _socket as s\n"
	       "    for family in (s.AF_INET, s.AF_INET6, 16, 17, 40):\n"
	       "        try: s.socket(family, s.SOCK_STREAM)\n"
	       "        except OSError: continue\n"
	       "        return family\n");
}

static void it_holds_no_capability(void **state)
{
	(void)state;
	NEEDS_WARM();
	passes("import ctypes\n"
	       "def f():\n"
	       "    c = ctypes.CDLL(None, use_errno=True)\n"
	       "    head = (ctypes.c_uint32 * 2)(0x20080522, 0)\n"
	       "    sets = (ctypes.c_uint32 * 6)(*[1] * 6)\n"
	       "    assert c.capget(head, sets) == 0 and list(sets) == [0] * 6, list(sets)\n"
	       "    assert c.prctl(39, 0, 0, 0, 0) == 1 and c.prctl(21, 0, 0, 0, 0) == 2\n"
	       "    assert c.mount(b'x', b'/tmp', b'tmpfs', 0, None) < 0\n"
	       "    assert c.umount2(b'/tmp', 2) < 0\n");
}

static void the_limits_hold(void **state)
{
	(void)state;
	NEEDS_WARM();
	struct sandbox_limits tight = limits;
	struct sandbox_result result;

	passes("import os, time\n"
	       "def f():\n"
	       "    children = 0\n"
	       "    try:\n"
	       "        while children < 100:\n"
	       "            if os.fork() == 0: time.sleep(60); os._exit(0)\n"
	       "            children += 1\n"
	       "    except OSError: pass\n"
	       "    assert 10 <= children <= 15, children\n");
	tight.cpu_seconds = 1;
	run_within("import signal\nsignal.signal(24, signal.SIG_IGN)\nwhile True: pass\n", &tight,
		   &result);
	assert_int_equal(result.ending, SANDBOX_CPU_LIMIT);
	assert_in_range(result.cpu_ms, 950, 2500);
	sandbox_result_release(&result);
	tight.wall_ms = 300;
	run_within("import time\ntime.sleep(100)\n", &tight, &result);
	assert_int_equal(result.ending, SANDBOX_WALL_LIMIT);
	sandbox_result_release(&result);
	passes("def f():\n    try: x = bytes(2 << 30)\n    except MemoryError: return\n"
	       "    return 1\n");
	passes("def f():\n"
	       "    for place in ['/x', '/usr/x', '/usr/bin/x', '/dev/x', '/dev/shm/x', "
	       "'/bin/x']:\n"
	       "        try: open(place, 'w')\n"
	       "        except OSError: continue\n"
	       "        return place\n"
	       "    try:\n"
	       "        for i in range(100): open('/tmp/f%d' % i, 'wb').write(bytes(8 << 20))\n"
	       "    except OSError: return\n"
	       "    return 1\n");
	run_within("import os\nwhile True: os.write(3, b'x' * 4096)\n", &limits, &result);
	assert_int_equal(result.ending, SANDBOX_OUTPUT_LIMIT);
	sandbox_result_release(&result);
}

/* What a program could leave behind: in the interpreter, in files, in memory that is shared, in
 * processes, in the socket's address space of names. */
static void nothing_is_left_for_the_next(void **state)
{
	(void)state;
	NEEDS_WARM();
	for (int i = 0; i < 3; i++)
		passes("import builtins, gc, os, sys, socket, math, random, threading, time, "
		       "ctypes\n"
		       "def f():\n"
		       "    assert not hasattr(builtins, 'left') and abs(-1) == 1\n"
		       "    assert 'left' not in sys.modules and 'LEFT' not in os.environ\n"
		       "    assert math.pi > 3 and os.listdir('/tmp') == [] and os.getcwd() == "
		       "'/tmp'\n"
		       "    assert sys.getrecursionlimit() == 1000 and gc.isenabled()\n"
		       "    assert 'encode' in sys.modules['__main__'].__dict__\n"
		       "    assert os.umask(0o77) == 0o22 or True\n"
		       "    s = socket.socket(socket.AF_UNIX)\n"
		       "    s.bind(b'\\0left')\n"
		       "    s.listen()\n"
		       "    if os.fork() == 0:\n"
		       "        os.setsid()\n"
		       "        if os.fork() == 0: time.sleep(100)\n"
		       "        os._exit(0)\n"
		       "    builtins.left = builtins.abs = None\n"
		       "    sys.modules['left'] = sys.modules['math'] = None\n"
		       "    math.pi = 0\n"
		       "    os.environ['LEFT'] = os.environ['HOME'] = 'x'\n"
		       "    open('/tmp/left', 'w').write('x')\n"
		       "    os.mkdir('/tmp/d'); os.chdir('/tmp/d')\n"
		       "    sys.setrecursionlimit(50); gc.disable()\n"
		       "    m = sys.modules['__main__']\n"
		       "    for name in ('libc', 'start', 'serve', 'become_program', 'finish'):\n"
		       "        setattr(m, name, None)\n"
		       "    threading.Thread(target=time.sleep, args=(50,), "
		       "daemon=True).start()\n");
}

static void *run_some(void *argument)
{
	int *good = argument;

	for (int i = 0; i < 8; i++) {
		struct sandbox_result result;
		char code[64], expected[64];

		snprintf(code, sizeof(code), "def f(): return %d\n", i);
		snprintf(expected, sizeof(expected), "l2:s1:ri%d;", i);
		run_within(code, &limits, &result);
		*good += bytes_is(buf_bytes(&result.verdict), expected);
		sandbox_result_release(&result);
	}
	return NULL;
}

static void several_at_once(void **state)
{
	(void)state;
	NEEDS_WARM();
	pthread_t threads[4];
	int good[4] = {0};

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_some, &good[i]), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(good[i], 8);
	}
}

static void descriptors_are_not_leaked(void **state)
{
	(void)state;
	NEEDS_WARM();
	passes("def f(): pass\n");
	int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(before);
	for (int i = 0; i < 3; i++)
		passes("def f(): pass\n");
	int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(after);
	assert_int_equal(after, before);
}

/* Whether any process of the machine has this text in its command line. */
static bool process_runs(const char *marker)
{
	char command[256];

	snprintf(command, sizeof(command), "grep -aqs '[%c]%s' /proc/[0-9]*/cmdline", marker[0],
		 marker + 1);
	return system(command) == 0;
}

static void no_process_outlives_the_pool(void **state)
{
	(void)state;
	NEEDS_WARM();
	char marker[64];
	snprintf(marker, sizeof(marker), "parley-warm-test-%d", (int)getpid());
	const char *const argv[] = {"/usr/bin/python3",
				    "-s",
				    "-S",
				    "-B",
				    "-c",
				    "import sys, posix\n"
				    "posix.write(0, b'R')\n"
				    "posix.read(0, 1)\n",
				    marker,
				    NULL};
	struct sandbox_warm *other = sandbox_warm_new(argv);
	const char *const cold[] = {"/usr/bin/true", NULL};
	struct sandbox_program program = {.argv = cold, .limits = limits};
	struct sandbox_result result;
	struct err err = ERR_INIT;

	assert_non_null(other);
	sandbox_result_init(&result);
	/* This one serves nothing and ends: the program is run the slow way. */
	assert_int_equal(sandbox_warm_run(other, &program, &result, &err), ERR_OK);
	assert_int_equal(result.ending, SANDBOX_EXITED);
	assert_int_equal(result.exit_status, 0);
	sandbox_result_release(&result);
	sandbox_warm_free(other);
	assert_false(process_runs(marker));
}

static void where_it_cannot_start_the_slow_way_is_taken(void **state)
{
	(void)state;
	NEEDS_WARM();
	const char *const argv[] = {"/usr/bin/python3", "-c", "raise SystemExit('no such luck')",
				    NULL};
	const char *const cold[] = {"/usr/bin/true", NULL};
	struct sandbox_warm *other = sandbox_warm_new(argv);
	struct sandbox_program program = {.argv = cold, .limits = limits};
	struct sandbox_result result;
	char why[SANDBOX_WARM_NOTE_SIZE];
	struct err err = ERR_INIT;

	assert_non_null(other);
	sandbox_result_init(&result);
	assert_int_equal(sandbox_warm_run(other, &program, &result, &err), ERR_OK);
	assert_int_equal(result.exit_status, 0);
	assert_true(sandbox_warm_is_off(other, why));
	assert_non_null(strstr(why, "no such luck"));
	sandbox_result_release(&result);
	sandbox_warm_free(other);
}

static int open_pool(void **state)
{
	(void)state;
	pool = code_warm_new();
	return pool ? 0 : -1;
}

static int close_pool(void **state)
{
	(void)state;
	sandbox_warm_free(pool);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_starts),
		cmocka_unit_test(nothing_of_the_machine_is_seen),
		cmocka_unit_test(calls_are_denied),
		cmocka_unit_test(it_holds_no_capability),
		cmocka_unit_test(the_limits_hold),
		cmocka_unit_test(nothing_is_left_for_the_next),
		cmocka_unit_test(several_at_once),
		cmocka_unit_test(descriptors_are_not_leaked),
		cmocka_unit_test(no_process_outlives_the_pool),
		cmocka_unit_test(where_it_cannot_start_the_slow_way_is_taken),
	};

	setenv("SECRET", "must not be seen", 1);
	return cmocka_run_group_tests(tests, open_pool, close_pool);
}
