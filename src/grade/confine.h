/* What a process gives up before it grades for others. */
#ifndef GRADE_CONFINE_H
#define GRADE_CONFINE_H

#include "base/err.h"

/* Before anything else, while there is one thread: closes every descriptor above the standard ones
 * and forgets the environment, so that no key that was handed down is here. */
void confine_begin(void);

/* A process that only starts graders, in turn: gives up every way to gain privileges and can open
 * no socket but local ones; of root's own it keeps what it takes to bind the socket again, to
 * become another user and to signal it. ERR_ENVIRONMENT: the kernel refuses. */
enum err_code confine_keeper(struct err *err);

/* After the listening socket was made and before any other thread is: becomes `user` (NULL: stays
 * who it is; else only root can), gives up every way to gain privileges, and can open no socket but
 * local ones and those that set up a network namespace, in all that it starts as well; stands in no
 * directory of anybody's.
 * ERR_INVALID: there is no such user. ERR_ENVIRONMENT: the kernel refuses. */
enum err_code confine_finish(const char *user, struct err *err);

#endif
