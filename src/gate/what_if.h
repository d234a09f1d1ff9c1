/* `parley apply --what-if 7d`: the log's requests of the last days, decided again under the file.
 * Read in jobs of a few thousand records each, beside the acts, and in the order of time over both
 * logs. Private to control*.c and admin.c; on the admin loop. */
#ifndef GATE_WHAT_IF_H
#define GATE_WHAT_IF_H

#include "gate/control_internal.h"

#define WHAT_IF_MAX_MS (INT64_C(366) * WORLD_DAY_MS)

/* Decides again under `trial` (a reference is taken), whose counters nobody else may have, and
 * tells the present world's refusals apart. Adds `what_if` to `answer` (a reference is taken) and
 * lines to its `text`:
 *
 *   {from, to, admitted, settled, refused, rows: [{org, grant, rule, clause?, requests, first,
 *    last}], anyway, cannot_tell: […]}
 *
 * `done` is called on the admin loop, never from inside; `code` is ERR_INTERRUPTED after
 * what_if_cancel. */
typedef void what_if_done(void *argument, enum err_code code, const struct err *err);
enum err_code what_if_start(struct control *control, struct world *trial, int64_t span_ms,
			    json_t *answer, what_if_done *done, void *argument, struct err *err);

#endif
