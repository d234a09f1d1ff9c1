/* The admin API and Parley's own endpoints, apart from how they are carried: a request is (method,
 * target, JSON body), an answer is (status, JSON). On the admin loop only.
 *
 * admin_handle serves /admin/v1/…: whoever can reach it is the operator (the Unix socket's owner,
 * or the bearer of admin.token, which the caller has checked). admin_handle_own serves /parley/v1/…
 * on the model listener for the holder of a key. Failures are RFC 9457 problem details with the
 * members `code` (a name of table/errors.h) and, for refusals by policy, `rule`. */
#ifndef GATE_ADMIN_H
#define GATE_ADMIN_H

#include "base/buf.h"
#include "gate/control.h"

#define ADMIN_ANSWER_MAX ((size_t)64 << 20)

struct admin_request {
	struct bytes method, target, body; /* borrowed until `done` */
	const char *person;                /* who acts, for the record: "root by admin.sock" */
	const uint8_t *key_digest;         /* admin_handle_own: SHA-256 of the bearer's key */
	const struct sender_facts *sender; /* the same: what is proved of him; NULL: nothing */
	/* On the admin loop, never from inside the call (but when memory is out). The receiver owns
	 * `answer` (buf_release).
	 */
	void (*done)(struct admin_request *request);
	void *argument;
	unsigned status;
	const char *content_type; /* "application/json" or "application/problem+json" */
	struct buf answer;
};

void admin_handle(struct control *control, struct admin_request *request);
void admin_handle_own(struct control *control, struct admin_request *request);

#endif
