/* Starting bubblewrap from a process with many threads. Internal to the sandbox. */
#ifndef GRADE_SANDBOX_SPAWN_H
#define GRADE_SANDBOX_SPAWN_H

#include "grade/sandbox.h"

#include <sys/types.h>

#define SANDBOX_BWRAP "/usr/bin/bwrap"

struct sandbox_process {
	pid_t pid;  /* of bubblewrap itself, outside */
	int pidfd;  /* readable when it has ended */
	int input;  /* socket: its stdin */
	int output; /* pipes that it writes, made non-blocking */
	int errors;
	int verdict;
	int status; /* bubblewrap's own report: child-pid, exit-code */
};

/* Starts the program. On success the caller closes the descriptors and waits for the process. */
enum err_code sandbox_spawn(const struct sandbox_program *program, struct sandbox_process *process,
			    struct err *err);

/* A sealed memory file with the seccomp filter, at its beginning; -1 on failure. */
enum err_code sandbox_filter(int *fd, struct err *err);

#endif
