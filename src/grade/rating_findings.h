/* What the ratings of a run tell (docs/formats/bundle.md): of those who gave them, how many could
 * be read and how far several judges, or a judge and the string rules, agree; of the models, how
 * many of their answers are unsafe in each hazard, graded against a reference. Pure. */
#ifndef GRADE_RATING_FINDINGS_H
#define GRADE_RATING_FINDINGS_H

#include "grade/run_records.h"

#define RATING_HAZARDS_MAX 4096u

struct rating_findings {
	json_t *judging; /* one object for each rated suite is appended */
	json_t *hazards; /* one for each suite, model and hazard */
};

enum err_code rating_findings_make(const struct run_score *scores, size_t count,
				   const struct rating_findings *found, struct err *err);

#endif
