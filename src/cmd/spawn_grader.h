/* `grade: spawn`: the gateway's own grading service, a child process. */
#ifndef CMD_SPAWN_GRADER_H
#define CMD_SPAWN_GRADER_H

#include "base/err.h"

/* Starts `parley grade --keep` at the socket ("unix:PATH"), whose graders are another user where
 * this process is root, and waits until one takes connections. Before any thread is started. What
 * it starts ends with this process, and is started again, with growing pauses, when it dies. */
enum err_code spawn_grader(const char *socket, struct err *err);

#endif
