/* The kernel enforces RLIMIT_CPU by counting clock ticks, which on a busy machine run up to a fifth
 * ahead of the time that was really used. A program must not fail because its neighbours are busy:
 * the exact clocks are read here, and the kernel's limit is only the backstop. */
#include "grade/sandbox_cpu.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 300u
#define CHILDREN_SIZE 4096u

struct family {
	pid_t pids[PROCESSES_MAX];
	unsigned count;
};

static void family_add_children(struct family *family, pid_t parent)
{
	char path[64], text[CHILDREN_SIZE], *at = text, *end;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return;
	ssize_t size = read(file, text, sizeof(text) - 1);
	close(file);
	text[size > 0 ? size : 0] = '\0';
	for (;; at = end) {
		long pid = strtol(at, &end, 10);

		if (end == at || family->count == PROCESSES_MAX)
			return;
		family->pids[family->count++] = (pid_t)pid;
	}
}

static uint64_t process_cpu_ms(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000;
}

uint64_t sandbox_cpu_ms(pid_t root)
{
	struct family family = {.pids = {root}, .count = 1};
	uint64_t most = 0;

	for (unsigned i = 0; i < family.count; i++) {
		uint64_t used = process_cpu_ms(family.pids[i]);

		most = used > most ? used : most;
		family_add_children(&family, family.pids[i]);
	}
	return most;
}
