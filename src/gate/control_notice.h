/* Notices: what an organisation is told of an act, at the address it left (`notify`).
 *
 * A notice is a document of its own in the store, staged with the change that it tells of and
 * committed by that change's record: it is there exactly if the act is. From there it is sent until
 * the other side has taken it or its time is over, and the outcome is a record of kind `notice`. A
 * crash loses none; one whose delivery was not recorded yet is sent again with the same id. */
#ifndef GATE_CONTROL_NOTICE_H
#define GATE_CONTROL_NOTICE_H

#include "gate/control_internal.h"
#include "table/notices.h"

struct control_notice {
	enum notice_event event;
	const char *org; /* who is told */
	/* Its spec, where the act under way changes it; NULL: as it is. Borrowed. */
	const json_t *org_spec;
	const char *grant;    /* NULL: none */
	const char *text;     /* what happened, in sentences for people */
	const char *reason;   /* as the person gave it; NULL: none */
	const json_t *detail; /* more for machines, an object; NULL: none; borrowed */
};

/* Adds a notice to an operation that has a change already: it goes with the last one. Everything is
 * copied. Where the organisation left no address nobody is told, which is no failure: the
 * operation's answer names it under `not_notified`. */
enum err_code control_notice(struct control_operation *operation,
			     const struct control_notice *notice, struct err *err);

/* The notice of an act that changes a grant's state ("grant.suspend", …); other acts have none. */
enum err_code control_notice_of_grant(struct control_operation *operation, const char *act,
				      const char *id, const char *reason, struct err *err);

/* Adds the notice of one grant that ends within its notice_hours and whose organisation, which left
 * an address, has not been told; nothing where there is none. */
enum err_code control_notice_expiring(struct control_operation *operation, struct err *err);

const char *notice_event_id(enum notice_event event); /* "grant.offered" */
bool notice_event_find(const char *id, enum notice_event *out);
const char *notice_event_subject(enum notice_event event); /* with one %s */

/* Adds `notified` (how many notices wait) and `not_notified` (organisations without an address) to
 * the operation's answer, where there are any. False when memory is out. */
bool control_notice_answer(struct control_operation *operation);

#endif
