/* `parley grade --keep`: a process that starts the grader and starts it again when it dies. */
#ifndef CMD_KEEP_GRADER_H
#define CMD_KEEP_GRADER_H

#include "base/err.h"

#define KEEP_GRADER_CHILD (-1)

/* Confines this process (confine_keeper) and forks. In each child it returns KEEP_GRADER_CHILD: the
 * child becomes a grader. In the parent it returns the exit status once SIGTERM or SIGINT came or
 * the process that started it is gone (the child has ended then), or once the first child has ended
 * by itself right after its start: what is wrong stays wrong. Others are started again after a
 * pause, which doubles from 100 ms to 10 s and is short again after a minute without an end. While
 * there is one thread. 3, with `err`: it cannot be confined or cannot fork. */
int keep_grader(struct err *err);

#endif
