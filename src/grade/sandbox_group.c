#include "grade/sandbox_group.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 4096u
#define TEXT_SIZE 16384u
#define OWN "parley.own"
/* Of bubblewrap, a warm interpreter and the kernel's own for them. */
#define MEMORY_BESIDE ((uint64_t)96 << 20)
#define PROCESSES_BESIDE 8u
/* A killed group is empty within milliseconds. */
#define REMOVE_TRIES 200
#define REMOVE_WAIT_NS 2000000

static const char *const controllers[] = {"memory", "pids", "cpu", NULL};

/* ---- small files ---- */

static bool read_at(int directory, const char *name, char *text, size_t size)
{
	int file = openat(directory, name, O_RDONLY | O_CLOEXEC);
	size_t filled = 0;
	ssize_t got = file >= 0 ? 1 : -1;

	while (got > 0 && filled < size - 1) {
		got = read(file, text + filled, size - 1 - filled);
		filled += got > 0 ? (size_t)got : 0;
	}
	text[filled] = '\0';
	if (file >= 0)
		close(file);
	return got >= 0;
}

static bool write_at(int directory, const char *name, const char *text)
{
	int file = openat(directory, name, O_WRONLY | O_CLOEXEC);
	size_t size = strlen(text);
	bool good = file >= 0 && write(file, text, size) == (ssize_t)size;

	if (file >= 0)
		close(file);
	return good;
}

static bool has_word(const char *text, const char *word)
{
	size_t size = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += size)
		if ((at == text || at[-1] == ' ') && strchr(" \n", at[size]))
			return true;
	return false;
}

/* ---- where this process is ---- */

/* Where cgroup2 is mounted, and which group is seen there as its root. */
static bool find_mount(char point[static PATH_SIZE], char root[static PATH_SIZE])
{
	char line[2 * PATH_SIZE];
	bool found = false;
	FILE *mounts = fopen("/proc/self/mountinfo", "re");

	while (mounts && !found && fgets(line, sizeof(line), mounts))
		found = strstr(line, " - cgroup2 ") &&
			sscanf(line, "%*s %*s %*s %4095s %4095s", root, point) == 2;
	if (mounts)
		fclose(mounts);
	return found;
}

/* This process's group, as a path in the file system. */
static bool find_own(char out[static PATH_SIZE])
{
	char point[PATH_SIZE], root[PATH_SIZE], text[TEXT_SIZE];

	if (!find_mount(point, root) || !read_at(AT_FDCWD, "/proc/self/cgroup", text, sizeof(text)))
		return false;
	char *path = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
	if (!path)
		return false;
	path += *path == '\n' ? 4 : 3;
	path[strcspn(path, "\n")] = '\0';
	size_t above = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(path, root, above) != 0 || strncmp(path, "/..", 3) == 0)
		return false;
	path += above;
	return (size_t)snprintf(out, PATH_SIZE, "%s%s", point, strcmp(path, "/") == 0 ? "" : path) <
	       PATH_SIZE;
}

/* The group that holds the programs' groups, of a process that was prepared; -1 of others. */
static int open_base(void)
{
	char path[PATH_SIZE];

	if (!find_own(path))
		return -1;
	char *name = strrchr(path, '/');
	if (!name || strcmp(name + 1, OWN) != 0)
		return -1;
	*name = '\0';
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* ---- preparing ---- */

/* The root of all groups has no type. Whoever is root there could enable controllers for every
 * group of the machine, and nobody asked for that. */
static bool is_machines_root(int base)
{
	struct stat facts;

	return fstatat(base, "cgroup.type", &facts, 0) != 0;
}

static bool is_alone(int base)
{
	char text[TEXT_SIZE], *end;

	if (!read_at(base, "cgroup.procs", text, sizeof(text)))
		return false;
	long first = strtol(text, &end, 10);
	return first == (long)getpid() && end[strspn(end, "\n")] == '\0';
}

static bool move_below(int base)
{
	char number[24];

	if (mkdirat(base, OWN, 0755) != 0 && errno != EEXIST)
		return false;
	snprintf(number, sizeof(number), "%ld", (long)getpid());
	return write_at(base, OWN "/cgroup.procs", number);
}

static bool enable(int base, const char *const *wanted, char why[static SANDBOX_GROUP_NOTE_SIZE])
{
	char text[TEXT_SIZE], order[64];
	size_t size = 0;

	for (size_t i = 0; wanted[i]; i++) {
		snprintf(order, sizeof(order), "+%.60s", wanted[i]);
		write_at(base, "cgroup.subtree_control", order);
	}
	if (!read_at(base, "cgroup.subtree_control", text, sizeof(text)))
		text[0] = '\0';
	why[0] = '\0';
	for (size_t i = 0; wanted[i]; i++)
		if (has_word(text, wanted[i]) && size < SANDBOX_GROUP_NOTE_SIZE)
			size += (size_t)snprintf(why + size, SANDBOX_GROUP_NOTE_SIZE - size, "%s%s",
						 size ? ", " : "", wanted[i]);
	return size > 0;
}

/* Whether any of the controllers could be had in `base`. */
static bool offers(int base, const char *const *wanted)
{
	char text[TEXT_SIZE];

	if (!read_at(base, "cgroup.controllers", text, sizeof(text)))
		return false;
	for (size_t i = 0; wanted[i]; i++)
		if (has_word(text, wanted[i]))
			return true;
	return false;
}

bool sandbox_groups_prepare_with(const char *const *wanted,
				 char why[static SANDBOX_GROUP_NOTE_SIZE])
{
	char path[PATH_SIZE];
	int base = open_base();
	bool done = base >= 0, good = false;

	if (!done && find_own(path))
		base = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		snprintf(why, SANDBOX_GROUP_NOTE_SIZE, "there is no cgroup v2 here");
	else if (is_machines_root(base))
		snprintf(why, SANDBOX_GROUP_NOTE_SIZE,
			 "this process is in the machine's root control group, which is left as it "
			 "is (systemd-run --scope -p Delegate=yes gives it one of its own)");
	else if (!offers(base, wanted))
		snprintf(why, SANDBOX_GROUP_NOTE_SIZE,
			 "this process's control group has no controllers (Delegate=yes gives it "
			 "them)");
	else if (!done && !is_alone(base))
		snprintf(why, SANDBOX_GROUP_NOTE_SIZE,
			 "other processes are in this process's control group (systemd-run --user "
			 "--scope -p Delegate=yes gives it one of its own)");
	else if (!done && !move_below(base))
		snprintf(why, SANDBOX_GROUP_NOTE_SIZE, "no control group can be made here: %s",
			 strerror(errno));
	else if (!enable(base, wanted, why))
		snprintf(why, SANDBOX_GROUP_NOTE_SIZE,
			 "no controller can be enabled in this process's control group");
	else
		good = true;
	if (base >= 0)
		close(base);
	return good;
}

bool sandbox_groups_prepare(char why[static SANDBOX_GROUP_NOTE_SIZE])
{
	return sandbox_groups_prepare_with(controllers, why);
}

/* ---- one group ---- */

void sandbox_group_open(struct sandbox_group *group)
{
	uint64_t number;

	*group = (struct sandbox_group)SANDBOX_GROUP_NONE;
	group->base = open_base();
	if (group->base < 0 || getrandom(&number, sizeof(number), 0) != sizeof(number))
		return;
	snprintf(group->name, sizeof(group->name), "parley.program-%016llx",
		 (unsigned long long)number);
	if (mkdirat(group->base, group->name, 0755) == 0)
		group->directory =
			openat(group->base, group->name, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void sandbox_group_limit(const struct sandbox_group *group, const struct sandbox_limits *limits)
{
	/* /tmp is memory, and holds four times as much as a file. */
	uint64_t memory = limits->memory_bytes + 4 * limits->file_bytes + MEMORY_BESIDE;
	char text[32];

	if (group->directory < 0)
		return;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)memory);
	write_at(group->directory, "memory.max", text);
	write_at(group->directory, "memory.swap.max", "0");
	write_at(group->directory, "memory.oom.group", "1");
	snprintf(text, sizeof(text), "%u", limits->processes + PROCESSES_BESIDE);
	write_at(group->directory, "pids.max", text);
	write_at(group->directory, "cpu.max", "100000 100000");
}

int sandbox_group_door(const struct sandbox_group *group)
{
	return group->directory < 0
		       ? -1
		       : openat(group->directory, "cgroup.procs", O_WRONLY | O_CLOEXEC);
}

void sandbox_group_close(struct sandbox_group *group)
{
	const struct timespec wait = {.tv_nsec = REMOVE_WAIT_NS};

	if (group->directory >= 0) {
		int tries = 0;

		write_at(group->directory, "cgroup.kill", "1");
		while (unlinkat(group->base, group->name, AT_REMOVEDIR) != 0 && errno == EBUSY &&
		       tries++ < REMOVE_TRIES)
			nanosleep(&wait, NULL);
		close(group->directory);
	}
	if (group->base >= 0)
		close(group->base);
	*group = (struct sandbox_group)SANDBOX_GROUP_NONE;
}
