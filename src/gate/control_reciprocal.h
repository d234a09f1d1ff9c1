/* Grants in pairs: this gateway's grant to an organisation, and the one that the organisation's own
 * gateway gives back (`reciprocal_of`). The other side's signed status is asked for now and again
 * and shown; nothing is done by it. On the admin loop. */
#ifndef GATE_CONTROL_RECIPROCAL_H
#define GATE_CONTROL_RECIPROCAL_H

#include "gate/control_internal.h"

struct reciprocator;

struct reciprocator *reciprocator_new(struct control *control); /* NULL when memory is out */
void reciprocator_stop(struct reciprocator *reciprocator);      /* asks no more */
void reciprocator_free(struct reciprocator *reciprocator);      /* NULL is fine */
/* Grants changed. */
void reciprocator_wake(struct reciprocator *reciprocator);
/* Adds `reciprocal` to the view of a grant that has another side. False when memory is out. */
bool reciprocator_view(const struct reciprocator *reciprocator, json_t *view, const char *id);

#endif
