/* Sends notices: one at a time for each organisation, in order, until it has taken them or two days
 * are over, with growing pauses between attempts; then the outcome becomes a record of kind
 * `notice`. On the admin loop. */
#ifndef GATE_CONTROL_DELIVER_H
#define GATE_CONTROL_DELIVER_H

#include "gate/control_internal.h"

struct deliverer;

/* Forgets what was delivered and not yet removed when a crash came. NULL when memory is out. */
struct deliverer *deliverer_new(struct control *control);
/* Sends nothing more and ends what is under way, which is sent again after the next start. */
void deliverer_stop(struct deliverer *deliverer);
/* NULL is fine. After the loop, or after deliverer_stop and a turn of it. */
void deliverer_free(struct deliverer *deliverer);
/* Looks for notices that came. */
void deliverer_wake(struct deliverer *deliverer);
/* Adds to the view of a notice how often it was tried, and what went wrong last. */
bool deliverer_view(const struct deliverer *deliverer, json_t *view, const char *id);

#endif
