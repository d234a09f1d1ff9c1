/* CPU time of the processes in a sandbox, read from outside. Internal to the sandbox. */
#ifndef GRADE_SANDBOX_CPU_H
#define GRADE_SANDBOX_CPU_H

#include <stdint.h>
#include <sys/types.h>

/* The most that one process among `root` and its descendants has used, in milliseconds. Descendants
 * are found by /proc; without it only `root` is looked at. */
uint64_t sandbox_cpu_ms(pid_t root);

#endif
