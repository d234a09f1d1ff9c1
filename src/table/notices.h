/* What an organisation is told (docs/formats/notice.md): the event's name as the body of a webhook
 * has it, and the subject, in which %s is the grant, or the organisation where there is none. Names
 * are a contract: they may be added to, never changed. */
#ifndef TABLE_NOTICES_H
#define TABLE_NOTICES_H

/* clang-format off */
#define NOTICE_TABLE(X) \
	/* name             id                   subject */ \
	X(GRANT_OFFERED,    "grant.offered",     "grant %s is offered and waits for your signature") \
	X(GRANT_ACTIVE,     "grant.active",      "grant %s is countersigned and in force") \
	X(GRANT_SUSPENDED,  "grant.suspended",   "grant %s is suspended") \
	X(GRANT_RESTORED,   "grant.restored",    "grant %s is in force again") \
	X(GRANT_REVOKED,    "grant.revoked",     "grant %s is revoked") \
	X(GRANT_EXPIRING,   "grant.expiring",    "grant %s ends soon") \
	X(ORG_BLOCKED,      "org.blocked",       "%s is blocked") \
	X(ORG_BLOCKING,     "org.blocking",      "%s is going to be blocked") \
	X(ORG_UNBLOCKED,    "org.unblocked",     "%s is no longer blocked") \
	X(LINK_NOTED,       "link.noted",        "a link of %s to another organisation was noted") \
	X(LINK_ENDED,       "link.ended",        "a link of %s to another organisation ended or lapsed") \
	X(KEY_QUESTION,     "key.question",      "a question about the use of a key under grant %s")
/* clang-format on */

enum notice_event {
#define X(name, id, subject) NOTICE_##name,
	NOTICE_TABLE(X)
#undef X
		NOTICE_EVENTS
};

#endif
