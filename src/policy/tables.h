/* The names and bounds of table/rules.h and table/purposes.h at run time. */
#ifndef POLICY_TABLES_H
#define POLICY_TABLES_H

#include "base/bytes.h"
#include "table/purposes.h"
#include "table/rules.h"

/* Names of the tables, and back (false: no such name). */
const char *rule_id(enum rule rule); /* "" for RULE_NONE */
const char *rule_text(enum rule rule);
int rule_http_status(enum rule rule);
bool rule_retryable(enum rule rule);  /* waiting can help */
bool rule_waits_long(enum rule rule); /* but longer than a client should sleep */
bool rule_find(struct bytes id, enum rule *out);
const char *purpose_id(enum purpose purpose);
bool purpose_find(struct bytes id, enum purpose *out);
bool purpose_binds(enum purpose purpose);
const char *release_id(enum release release);
bool release_find(struct bytes id, enum release *out);
const char *suite_class_id(enum suite_class class);
bool suite_class_find(struct bytes id, enum suite_class *out);
const char *grant_state_id(enum grant_state state);
bool grant_state_find(struct bytes id, enum grant_state *out);

/* What purposes and release levels are bounded by (table/purposes.h). */
struct purpose_bounds {
	bool binds;                              /* requests must match a registered suite */
	enum release release;                    /* highest */
	int days;                                /* longest validity; 0: any */
	int64_t rpm, max_output, tokens_per_day; /* LIMIT_NONE: none */
	bool built;                              /* this build enforces it */
};
struct purpose_bounds purpose_bounds(enum purpose purpose);
bool release_built(enum release release);

#endif
