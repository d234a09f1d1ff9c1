/* `grade: spawn`: the gateway's own grading service, a child process. */
#ifndef CMD_SPAWN_GRADER_H
#define CMD_SPAWN_GRADER_H

#include "base/err.h"

/* Starts `parley grade` at the socket ("unix:PATH"), as another user where this process is root,
 * and waits until it takes connections. Before any thread is started. It ends with this process. */
enum err_code spawn_grader(const char *socket, struct err *err);

#endif
