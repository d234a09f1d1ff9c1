/* What a process gives up before it grades for others, or reads what strangers wrote. */
#ifndef GRADE_CONFINE_H
#define GRADE_CONFINE_H

#include "base/err.h"

/* Before anything else, while there is one thread: closes every descriptor above the standard ones
 * and forgets the environment, so that no key that was handed down is here. */
void confine_begin(void);

/* A process that starts what grades (graders in turn, or the sandbox): gives up every way to gain
 * privileges and can open no socket but local ones; of root's own it keeps what it takes to bind
 * the socket again, to become another user and to signal it. ERR_ENVIRONMENT: the kernel refuses.
 */
enum err_code confine_keeper(struct err *err);

/* For a grader that has the gateway's own user: in a user and mount namespace of its own, without
 * capabilities, where `directory` (that of keys and logs) is an empty one and no process outside
 * can be looked into. While there is one thread; confine_finish follows. ERR_ENVIRONMENT: the
 * kernel allows no such namespaces. */
enum err_code confine_apart(const char *directory, struct err *err);

/* After the listening socket was made and before any other thread is: becomes `user` (NULL: stays
 * who it is; else only root can), gives up every way to gain privileges, and can open no socket but
 * local ones and those that set up a network namespace, in all that it starts as well; stands in no
 * directory of anybody's.
 * ERR_INVALID: there is no such user. ERR_ENVIRONMENT: the kernel refuses. */
enum err_code confine_finish(const char *user, struct err *err);

/* From here on this process, which has one thread, can read files and write to stdout and stderr,
 * and do nothing else to the world: no socket, no file opened for writing, no program or process
 * started, no memory made executable, no signal sent but to itself. Cannot be undone. Does nothing
 * in builds with a sanitizer, whose runtime needs more. ERR_ENVIRONMENT: the kernel refuses. */
enum err_code confine_to_reading(struct err *err);

#endif
