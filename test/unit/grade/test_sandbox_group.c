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
#include <sys/stat.h>
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

/* ---- the machine's root group ---- */

#define ROOT "cgroup.subtree_control"

/* Where cgroup2 is mounted: a descriptor of its root, which is left alone but by this test itself.
 */
static int open_root(void)
{
	char line[8192], point[4096] = "";
	FILE *mounts = fopen("/proc/self/mountinfo", "re");

	while (mounts && fgets(line, sizeof(line), mounts))
		if (strstr(line, " - cgroup2 "))
			sscanf(line, "%*s %*s %*s %*s %4095s", point);
	if (mounts)
		fclose(mounts);
	return *point ? open(point, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
}

static void read_at(int folder, const char *name, char *text, size_t size)
{
	int file = openat(folder, name, O_RDONLY | O_CLOEXEC);
	ssize_t got = file >= 0 ? read(file, text, size - 1) : 0;

	text[got > 0 ? got : 0] = '\0';
	if (file >= 0)
		close(file);
}

static bool write_at(int folder, const char *name, const char *text)
{
	int file = openat(folder, name, O_WRONLY | O_CLOEXEC);
	bool done = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);

	if (file >= 0)
		close(file);
	return done;
}

static bool in_machines_root(int root)
{
	char own[4096];

	group_of(getpid(), own);
	return root >= 0 && strcmp(own, "/") == 0 && faccessat(root, "cgroup.type", F_OK, 0) != 0;
}

static void test_the_machines_root_is_left_as_it_is(void **state)
{
	char why[SANDBOX_GROUP_NOTE_SIZE], before[4096], after[4096];
	struct sandbox_group group;
	int root = open_root();

	(void)state;
	if (!in_machines_root(root)) {
		print_message("SKIP: this process is not in the machine's root control group\n");
		close(root);
		skip();
	}
	read_at(root, ROOT, before, sizeof(before));
	assert_false(sandbox_groups_prepare_with(any, why));
	assert_non_null(strstr(why, "root control group"));
	read_at(root, ROOT, after, sizeof(after));
	assert_string_equal(before, after);
	assert_true(in_machines_root(root));
	assert_int_not_equal(faccessat(root, "parley.own", F_OK, 0), 0);
	sandbox_group_open(&group);
	assert_true(group.directory < 0);
	sandbox_group_close(&group);
	close(root);
}

/* A group of its own below the root, for the tests that follow, with the controllers there are. */
struct place {
	int root;
	char name[64], enabled[256];
};

static int enter(void **state)
{
	static struct place place;
	char on[4096], order[96];

	*state = &place;
	place.root = open_root();
	if (!in_machines_root(place.root))
		return 0;
	read_at(place.root, ROOT, on, sizeof(on));
	for (size_t i = 0; any[i]; i++) {
		snprintf(order, sizeof(order), "+%s", any[i]);
		if (!strstr(on, any[i]) && write_at(place.root, ROOT, order))
			snprintf(place.enabled + strlen(place.enabled),
				 sizeof(place.enabled) - strlen(place.enabled), "-%s ", any[i]);
	}
	snprintf(place.name, sizeof(place.name), "parley.test-%d", (int)getpid());
	if (mkdirat(place.root, place.name, 0755) != 0)
		return 0;
	snprintf(order, sizeof(order), "%s/cgroup.procs", place.name);
	write_at(place.root, order, "0");
	return 0;
}

/* Everything as it was. */
static int leave(void **state)
{
	struct place *place = *state;
	char own[4096], path[9000], order[64];

	group_of(getpid(), own);
	char *name = strrchr(own, '/');
	bool moved = place->root >= 0 && strcmp(name, "/parley.own") == 0;
	if (moved) {
		*name = '\0';
		for (size_t i = 0; any[i]; i++) {
			snprintf(path, sizeof(path), ".%s/" ROOT, own);
			snprintf(order, sizeof(order), "-%s", any[i]);
			write_at(place->root, path, order); /* or it was not on */
		}
		snprintf(path, sizeof(path), ".%s/cgroup.procs", own);
		moved = write_at(place->root, path, "0");
		snprintf(path, sizeof(path), ".%s/parley.own", own);
		if (!moved || unlinkat(place->root, path, AT_REMOVEDIR) != 0)
			return 1;
	}
	if (place->name[0]) {
		if (!write_at(place->root, "cgroup.procs", "0") ||
		    unlinkat(place->root, place->name, AT_REMOVEDIR) != 0)
			return 1;
		for (char *rest = place->enabled, *word; (word = strsep(&rest, " "));)
			if (*word)
				write_at(place->root, ROOT, word);
	}
	if (place->root >= 0)
		close(place->root);
	return 0;
}

int main(void)
{
	const struct CMUnitTest root[] = {
		cmocka_unit_test(test_the_machines_root_is_left_as_it_is),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_group_takes_in_and_ends),
		cmocka_unit_test(test_programs_leave_no_group),
		cmocka_unit_test(test_memory_of_the_whole_tree),
	};
	return cmocka_run_group_tests(root, NULL, NULL) +
	       cmocka_run_group_tests(tests, enter, leave);
}
