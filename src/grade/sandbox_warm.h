/* Warm interpreters: each is started once, in a sandbox of its own, and forks every program it is
 * given off into new pid, mount, ipc, net and user namespaces, with the limits and the filter that
 * sandbox_run gives it. A program finds nothing of those before it, and all it started is gone when
 * the call returns; what is saved is the interpreter's start. */
#ifndef GRADE_SANDBOX_WARM_H
#define GRADE_SANDBOX_WARM_H

#include "grade/sandbox.h"

struct sandbox_warm;

/* A pool of interpreters, started as they are needed: `argv` as in sandbox_program, kept, not
 * copied. NULL when memory is out. */
struct sandbox_warm *sandbox_warm_new(const char *const *argv);
/* No call may be running. NULL is allowed. */
void sandbox_warm_free(struct sandbox_warm *warm);

/* As sandbox_run, which it falls back to (with the program's own argv) where there is no
 * interpreter to be had. Several threads may call it at once: each has an interpreter to itself
 * meanwhile. */
enum err_code sandbox_warm_run(struct sandbox_warm *warm, const struct sandbox_program *program,
			       struct sandbox_result *result, struct err *err);

#define SANDBOX_WARM_NOTE_SIZE 256u

/* Whether programs are started the slow way, and why: on a machine that forbids what is needed. */
bool sandbox_warm_is_off(struct sandbox_warm *warm, char why[static SANDBOX_WARM_NOTE_SIZE]);

#endif
