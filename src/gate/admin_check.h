/* POST /admin/v1/check, `parley grant check`: what the gateway would say to a request, without
 * sending it anywhere and without using anything up. Private to admin*.c. */
#ifndef GATE_ADMIN_CHECK_H
#define GATE_ADMIN_CHECK_H

#include "gate/control_internal.h"

/* `body`: {path, method?, headers?, body?} and whose it is: the key in the headers, or else `key`
 * (public id), or else `grant`, of which the first key that is in force is taken. `body.body` is
 * the exact text, or a value that is written as JSON.
 *
 * *answer: {outcome: admitted | refused, status, rule?, clause?, appeal?, message?, opens_run?, …,
 * reserves: {input, output, usd}, limits: […]}. ERR_INVALID or ERR_NOT_FOUND where the question
 * cannot be understood; a request that cannot be read is an answer (rule request.syntax). */
enum err_code admin_check(struct control *control, const json_t *body, json_t **answer,
			  struct err *err);

#endif
