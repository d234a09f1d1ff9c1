/* What a log does with segments that are full, on a loop of its own: it seals them, and reads
 * sealed ones again and again, so that rot is found while there is a copy to restore from. For the
 * log*.c files alone. */
#ifndef LEDGER_LOG_CARE_H
#define LEDGER_LOG_CARE_H

#include "ledger/log.h"

struct log_care;

/* Begins, once the loop (made with may_block) runs. ERR_NO_MEMORY. */
enum err_code log_care_new(struct log *log, struct env_loop *loop, struct log_care **out,
			   struct err *err);
/* After its loop was joined. NULL is fine. */
void log_care_free(struct log_care *care);
/* From any thread: a segment is full. NULL is fine. */
void log_care_wake(struct log_care *care);

/* From any thread: a segment does not read as it should. */
void log_note_rot(struct log *log, uint64_t first, const struct err *err);

#endif
