/* Runs one program that nobody trusts, by bubblewrap: namespaces of its own (user, pid, mount, net,
 * ipc, uts), no network, /usr read-only and nothing else of the machine, an empty /tmp of its own
 * as working directory, no /proc, a fixed environment, an unprivileged uid, resource limits and a
 * seccomp filter. The caller's descriptors are closed in it and its whole process tree is gone when
 * the call returns. */
#ifndef GRADE_SANDBOX_H
#define GRADE_SANDBOX_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

/* The descriptor on which the program writes its verdict, kept apart from stdout and stderr. */
#define SANDBOX_VERDICT_FD 3

struct sandbox_limits {
	unsigned cpu_seconds; /* of one process; 1 to 600 */
	/* Backstop for programs that sleep; 0: 6 x cpu_seconds + 2 s. Up to four times as long
	 * while they work. */
	unsigned wall_ms;
	uint64_t memory_bytes; /* address space of one process */
	/* Of runtimes that reserve address space without filling it: that much more of it, and
	 * memory_bytes of private memory. 0 for others. */
	uint64_t reserved_bytes;
	uint64_t file_bytes; /* one file; /tmp as a whole holds four times as much */
	unsigned processes;  /* processes and threads at once, 1 to 256 */
	size_t output_bytes; /* stdout and stderr, each */
	size_t verdict_bytes;
};

/* 5 s CPU, 1 GiB, 16 MiB files, 16 processes, 64 KiB output, 4 MiB verdict. */
#define SANDBOX_LIMITS_DEFAULT                                                     \
	{                                                                          \
		.cpu_seconds = 5, .memory_bytes = (uint64_t)1 << 30,               \
		.file_bytes = (uint64_t)16 << 20, .processes = 16,                 \
		.output_bytes = (size_t)64 << 10, .verdict_bytes = (size_t)4 << 20 \
	}

struct sandbox_program {
	const char *const *argv; /* NULL-terminated; argv[0] is absolute, and if it isn't
				  * Debian's, that file alone is seen inside, in /opt */
	/* NULL, or an absolute path: seen read-only as /suite, the working directory, in place of
	 * /tmp. */
	const char *folder;
	struct bytes input; /* its stdin; a program that doesn't read it is no error */
	struct sandbox_limits limits;
};

enum sandbox_ending {
	SANDBOX_EXITED,       /* exit_status */
	SANDBOX_SIGNALLED,    /* signal */
	SANDBOX_CPU_LIMIT,    /* a process used up its CPU seconds */
	SANDBOX_WALL_LIMIT,   /* ended at wall_ms */
	SANDBOX_OUTPUT_LIMIT, /* stdout, stderr or verdict grew past its limit */
};

struct sandbox_result {
	enum sandbox_ending ending;
	int exit_status, signal;
	uint64_t cpu_ms, wall_ms;   /* cpu_ms: user and system time of the whole tree */
	uint64_t memory_peak_bytes; /* resident, of the largest process */
	struct buf output, errors, verdict;
};

void sandbox_result_init(struct sandbox_result *result);
void sandbox_result_release(struct sandbox_result *result);

/* Runs the program to its end. Blocks: for jobs (env_job), not for loops; several threads may call
 * it at once. `result` was initialised and is overwritten. Whatever the program does is ERR_OK with
 * an ending. ERR_ENVIRONMENT when there is no sandbox to run it in (bubblewrap or the program is
 * not installed, user namespaces are off): the message says what to install or enable.
 * ERR_NO_MEMORY. */
enum err_code sandbox_run(const struct sandbox_program *program, struct sandbox_result *result,
			  struct err *err);

/* Lets programs of the sandbox read the folder, a new one of this process's, and no other user of
 * the machine. */
enum err_code sandbox_let_in(const char *folder, struct err *err);

/* Runs /usr/bin/true in the sandbox: tells early whether code can be graded here. */
enum err_code sandbox_check(struct err *err);

const char *sandbox_ending_text(enum sandbox_ending ending); /* "CPU time limit" */

#endif
