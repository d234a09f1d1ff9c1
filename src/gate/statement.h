/* What both sides hold of a month: requests, tokens, suites, runs and refusals of one organisation,
 * counted from the lines of the logs. Pure. */
#ifndef GATE_STATEMENT_H
#define GATE_STATEMENT_H

#include "base/json.h"

#define STATEMENT_ACTS_MAX 500
#define STATEMENT_ROWS_MAX 10000 /* runs, suites, rules, grants: of each */

struct statement;

/* `org` is the pseudonym by which records name it; records of from <= time < until count. NULL when
 * memory is out. */
struct statement *statement_new(const char *org, int64_t from_ms, int64_t until_ms);
void statement_free(struct statement *statement); /* NULL is fine */
/* A record of the log with this origin, in order. */
void statement_add(struct statement *statement, struct bytes line);
/* {totals, explained, grants, runs, suites, refusals, endings, acts}: a new reference; NULL when
 * memory was out at any time. */
json_t *statement_body(struct statement *statement);

/* "2026-11": its first millisecond, and that of the next month; false if it is no month. */
bool statement_month(const char *text, int64_t *from_ms, int64_t *until_ms);
/* The time of a record, from its text; -1 if it has none. */
int64_t statement_time(struct bytes line);

#endif
