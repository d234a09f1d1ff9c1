/* How far the judges of a panel agree, as a member of a summary. */
#ifndef GRADE_PANEL_H
#define GRADE_PANEL_H

#include "grade/agreement.h"

#include <jansson.h>

struct panel_ratings {
	const char *const *judges;
	size_t judge_count;
	const int *ratings; /* lines x judges, as agreement.h has them */
	size_t lines;
	unsigned categories;
	enum agreement_distance distance;
};

/* {`of`: lines, fleiss, alpha, pairs: [ {a, b, observed, cohen} ]}; kappas are null where ratings
 * are measured by how far they lie apart. NULL where memory is out. */
json_t *panel_agreement(const struct panel_ratings *panel, const char *of);

#endif
