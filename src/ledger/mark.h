/* A second copy of the last signed checkpoint, in a file that is kept apart from the log: a log
 * that was put back from an older copy is known by it, and signs nothing that contradicts what was
 * signed before. Two slots are written in turn, each under a CRC, so that a crash leaves one. */
#ifndef LEDGER_MARK_H
#define LEDGER_MARK_H

#include "env/env.h"
#include "ledger/checkpoint.h"

struct mark;

/* Opens or makes the file and reads what it holds: head->size is 0 and head->origin empty where it
 * holds nothing yet. ERR_CORRUPT if it holds something and neither slot is whole. */
enum err_code mark_open(struct env *env, const char *path, struct mark **out,
			struct checkpoint *head, struct err *err);
/* What the file holds, without locking or writing anything: the note is appended. ERR_NOT_FOUND
 * where there is no file or it holds nothing whole. */
enum err_code mark_read(struct env *env, const char *path, struct checkpoint *head,
			struct buf *note, struct err *err);
/* Durably. The note is of at most NOTE_SIZE_MAX bytes. On an error the last one is still whole;
 * ERR_NO_SPACE, alone, may be tried again. */
enum err_code mark_set(struct mark *mark, struct bytes note, struct err *err);
void mark_close(struct mark *mark); /* NULL is fine */

#endif
