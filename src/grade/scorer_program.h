/* The scorer `program`: a program in the suite's own folder says what an answer is worth, over one
 * line of JSON each way (docs/formats/suite.md).
 *
 * It is the suite's author's, and its scores are no more than that author's word. So it is run by
 * the harness, for a run of the suite that its user has named, and by a verifier that was told to
 * run programs again: never by a gateway or a grader, to which a suite is a stranger's, nor by a
 * check of a suite. It is confined as programs of models are (sandbox.h), and sees the folder, or
 * the copy of it that a run is bound to (program_copy.h), read-only. */
#ifndef GRADE_SCORER_PROGRAM_H
#define GRADE_SCORER_PROGRAM_H

#include "grade/scorer.h"

/* Whether the command of a checked spec can be started from the suite's folder: ERR_ENVIRONMENT or
 * ERR_INVALID tells what is missing. */
enum err_code scorer_program_ready(const char *folder, const json_t *spec, struct err *err);

/* Runs the program for one answer; blocks. Whatever it does wrong (a crash, a limit, a line that is
 * no score) is ERR_OK with `failed` and the reason as the explanation. ERR_ENVIRONMENT: there is no
 * sandbox, or the program is gone. */
enum err_code scorer_program_grade(const char *folder, const json_t *spec, struct bytes answer,
				   struct score *score, struct err *err);

#endif
