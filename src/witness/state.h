/* What a witness remembers: of each log the last checkpoint it cosigned, in one file of a directory
 * that one process at a time may have. The file is replaced whole and durably (temporary file,
 * sync, rename, sync of the directory) before anything is cosigned. */
#ifndef WITNESS_STATE_H
#define WITNESS_STATE_H

#include "env/env.h"
#include "witness/judge.h"

#define WITNESS_LOGS_MAX 1024u
#define WITNESS_STATE_FILE "cosigned"

struct witness_state;

/* Makes the directory where it is missing and locks it (ERR_LOCKED). ERR_CORRUPT names file and
 * line of what is damaged: it is never passed over, since a witness that forgets can be rolled
 * back. */
enum err_code witness_state_open(struct env *env, const char *directory, struct witness_state **out,
				 struct err *err);
void witness_state_close(struct witness_state *state);
/* NULL: nothing was cosigned of that log yet. Valid until the next update. */
const struct witness_head *witness_state_find(const struct witness_state *state,
					      const char *origin);
/* Durable when it returns ERR_OK; unchanged for witness_state_find on any error. Blocks. */
enum err_code witness_state_update(struct witness_state *state, const struct checkpoint *head,
				   struct err *err);

/* The file's text: for tests and fuzzing. At most `max` heads into `out`. */
enum err_code witness_state_parse(struct bytes text, const char *file, struct witness_head *out,
				  size_t max, size_t *count, struct err *err);

#endif
