/* Control groups around programs, in the real hierarchy of this machine. What needs a controller
 * that cannot be had here is skipped, and says so. */
#include "grade/sandbox_group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const any[] = {"memory", "pids",    "cpu",  "io",   "cpuset",
				  "rdma",   "hugetlb", "misc", "dmem", NULL};

static void read_text(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t got = file ? fread(text, 1, size - 1, file) : 0;

	text[got] = '\0';
	if (file)
		fclose(file);
}

/* In which group of v2 the process is: "/…". */
static void group_of(pid_t pid, char out[static 4096])
{
	char path[64], text[8192];

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	read_text(path, text, sizeof(text));
	char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
	assert_non_null(line);
	line += *line == '\n' ? 4 : 3;
	line[strcspn(line, "\n")] = '\0';
	snprintf(out, 4096, "%s", line);
}

static unsigned groups_left(int base)
{
	unsigned left = 0;
	int folder = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fdopendir(folder);

	assert_non_null(list);
	for (struct dirent *entry; (entry = readdir(list));)
		left += strncmp(entry->d_name, "parley.program-", 15) == 0;
	closedir(list);
	return left;
}

static void need_groups(const char *const *wanted)
{
	char why[SANDBOX_GROUP_NOTE_SIZE];

	if (sandbox_groups_prepare_with(wanted, why))
		return;
	print_message("SKIP: %s\n", why);
	skip();
}

static void test_a_group_takes_in_and_ends(void **state)
{
	struct sandbox_group group;
	char own[4096], its[4096];
	int status, door, ready[2];

	(void)state;
	need_groups(any);
	group_of(getpid(), own);
	assert_string_equal(strrchr(own, '/'), "/parley.own");
	sandbox_group_open(&group);
	assert_true(group.directory >= 0);
	door = sandbox_group_door(&group);
	assert_true(door >= 0);
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		bool in = write(door, "0", 1) == 1 && write(ready[1], "x", 1) == 1;
		fork(); /* both are in it */
		while (in)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], its, 1), 1);
	group_of(child, its);
	assert_string_equal(strrchr(its, '/') + 1, group.name);
	int base = dup(group.base);
	assert_int_equal(groups_left(base), 1);
	sandbox_group_close(&group);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(groups_left(base), 0);
	close(base);
	close(door);
	close(ready[0]);
	close(ready[1]);
}

static void run_python(const char *source, const struct sandbox_limits *limits,
		       struct sandbox_result *result)
{
	const char *const arguments[] = {"/usr/bin/python3", "-I", "-S", "-c", source, NULL};
	struct sandbox_program program = {.argv = arguments, .limits = *limits};
	struct err err = ERR_INIT;

	sandbox_result_init(result);
	if (sandbox_run(&program, result, &err) != ERR_OK)
		fail_msg("%s", err.message);
}

static void need_sandbox(void)
{
	struct err err = ERR_INIT;

	if (sandbox_check(&err) == ERR_OK)
		return;
	print_message("SKIP: %s\n", err.message);
	skip();
}

static void test_programs_leave_no_group(void **state)
{
	struct sandbox_limits limits = SANDBOX_LIMITS_DEFAULT;
	struct sandbox_result result;
	struct sandbox_group group;

	(void)state;
	need_groups(any);
	need_sandbox();
	run_python("print('there')", &limits, &result);
	assert_int_equal(result.ending, SANDBOX_EXITED);
	assert_int_equal(result.exit_status, 0);
	sandbox_result_release(&result);
	sandbox_group_open(&group);
	assert_int_equal(groups_left(group.base), 1); /* its own */
	sandbox_group_close(&group);
}

/* Each process within its own limit, all together far above it. */
static void test_memory_of_the_whole_tree(void **state)
{
	static const char *const memory[] = {"memory", NULL};
	struct sandbox_limits limits = SANDBOX_LIMITS_DEFAULT;
	struct sandbox_result result;

	(void)state;
	need_groups(memory);
	need_sandbox();
	limits.memory_bytes = (uint64_t)256 << 20;
	run_python("import os, time\n"
		   "for _ in range(7):\n"
		   "    if os.fork() == 0: break\n"
		   "held = bytearray(b'x') * (150 << 20)\n"
		   "time.sleep(2)\n"
		   "print('all of it')",
		   &limits, &result);
	assert_true(result.ending == SANDBOX_SIGNALLED && result.signal == SIGKILL);
	assert_int_equal(result.output.size, 0);
	sandbox_result_release(&result);
}

/* Everything as it was. */
static int leave(void **state)
{
	char own[4096], text[8192], point[4096] = "", path[9000];
	FILE *mounts = fopen("/proc/self/mountinfo", "re");

	(void)state;
	while (mounts && fgets(text, sizeof(text), mounts))
		if (strstr(text, " - cgroup2 "))
			sscanf(text, "%*s %*s %*s %*s %4095s", point);
	if (mounts)
		fclose(mounts);
	group_of(getpid(), own);
	char *name = strrchr(own, '/');
	if (!*point || strcmp(name, "/parley.own") != 0)
		return 0;
	*name = '\0';
	for (size_t i = 0; any[i]; i++) {
		snprintf(path, sizeof(path), "%.4000s%s/cgroup.subtree_control", point, own);
		int file = open(path, O_WRONLY | O_CLOEXEC);
		snprintf(text, sizeof(text), "-%s", any[i]);
		if (file >= 0 && write(file, text, strlen(text)) < 0)
			text[0] = '\0'; /* was not on */
		close(file);
	}
	snprintf(path, sizeof(path), "%.4000s%s/cgroup.procs", point, own);
	int file = open(path, O_WRONLY | O_CLOEXEC);
	bool moved = file >= 0 && write(file, "0", 1) == 1;
	close(file);
	snprintf(path, sizeof(path), "%.4000s%s/parley.own", point, own);
	return moved && rmdir(path) != 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_group_takes_in_and_ends),
		cmocka_unit_test(test_programs_leave_no_group),
		cmocka_unit_test(test_memory_of_the_whole_tree),
	};
	return cmocka_run_group_tests(tests, NULL, leave);
}
