/* Starting bubblewrap from a process with many threads. Internal to the sandbox. */
#ifndef GRADE_SANDBOX_SPAWN_H
#define GRADE_SANDBOX_SPAWN_H

#include "grade/sandbox_group.h"

#include <sys/types.h>

#define SANDBOX_BWRAP "/usr/bin/bwrap"

struct sandbox_process {
	pid_t pid;  /* of bubblewrap itself, outside */
	int pidfd;  /* readable when it has ended */
	int input;  /* socket: its stdin */
	int output; /* pipes that it writes, made non-blocking */
	int errors;
	int verdict;
	int status;  /* bubblewrap's own report: child-pid, exit-code; -1 when warm */
	int control; /* of a warm interpreter: its socket, not the program's; else -1 */
	struct sandbox_group group; /* around bubblewrap and all in it; or none */
};

/* Starts the program. On success the caller closes the descriptors, waits for the process
 * and closes its group. */
enum err_code sandbox_spawn(const struct sandbox_program *program, struct sandbox_process *process,
			    struct err *err);

/* Starts a warm interpreter: `control` and `errors` are set, and it may make namespaces. */
enum err_code sandbox_spawn_warm(const char *const *argv, struct sandbox_process *process,
				 struct err *err);

/* New input, output, errors and verdict of a process, and the program's ends of these four. */
enum err_code sandbox_channels(struct sandbox_process *process, int theirs[static 4],
			       struct err *err);

/* Watches a program to its end and closes what is its own. `served` is false where a warm
 * interpreter was lost, and then nothing is known of the program. */
enum err_code sandbox_watch(const struct sandbox_program *program,
			    const struct sandbox_process *process, struct sandbox_result *result,
			    bool *served, struct err *err);

/* A sealed memory file with the seccomp filter, at its beginning; -1 on failure. */
enum err_code sandbox_filter(int *fd, struct err *err);

#endif
