/* What a client can see of a provider that does not serve what it says: another model id in the
 * middle of a run, answers billed more tokens than they have bytes, the same words counted
 * differently. Signs, not proofs: each has innocent causes, and a provider that serves evaluations
 * better than everybody else shows none. */
#ifndef VERIFY_SIGNS_H
#define VERIFY_SIGNS_H

#include "grade/run_records.h"

#define SIGNS_NAME_MAX 128u

/* Of one model. */
struct signs {
	char served[SIGNS_NAME_MAX], other[SIGNS_NAME_MAX]; /* "": none was named */
	size_t answers;         /* that were asked for, and are seen in the bundle */
	size_t dense;           /* of them: more output tokens than bytes */
	size_t repeats, uneven; /* answers to words that were asked before; counted differently */
};

struct audit;
struct audit_cell;

/* An answer; hidden: its text is withheld. ERR_NO_MEMORY. */
enum err_code signs_take(struct audit *audit, struct audit_cell *cell, size_t item,
			 const struct run_transcript *line, bool hidden, struct err *err);
/* Tells them, and what they do not show. */
void signs_note(struct audit *audit);

#endif
