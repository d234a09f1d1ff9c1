/* The logs' signing key handed on to a new one, as an act on record. On the admin loop. */
#ifndef GATE_ROTATE_H
#define GATE_ROTATE_H

#include "gate/gateway_internal.h"

/* {vkey, record, rotation}, borrowed; NULL where `err` says why. */
typedef void gateway_rotated(void *argument, unsigned status, json_t *answer,
			     const struct err *err);
/* `done` is called once, maybe from inside. */
void gateway_rotate_key(struct gateway *gateway, const char *person, const char *reason,
			gateway_rotated *done, void *argument);
/* At start, when the logs are open: finishes or gives up what a crash has interrupted. */
enum err_code gateway_settle_rotation(struct gateway *gateway, struct err *err);

#endif
