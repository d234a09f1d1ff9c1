/* What the files of the scorers share. */
#ifndef GRADE_SCORER_INTERNAL_H
#define GRADE_SCORER_INTERNAL_H

#include "grade/scorer.h"

/* One line of valid UTF-8, cut at a character where it is too long. */
void score_explain(struct score *score, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Without white space at both ends, line ends included. */
struct bytes scorer_trim(struct bytes text);

/* What stands in the last fenced block; empty if there is none. */
struct bytes scorer_last_block(struct bytes text);

enum err_code scorer_regex_check(const json_t *spec, const char *what, struct err *err);
enum err_code scorer_regex_grade(const json_t *spec, struct bytes answer, struct score *score,
				 struct err *err);

enum err_code scorer_json_check(const json_t *spec, const char *what, struct err *err);
enum err_code scorer_json_grade(const json_t *spec, struct bytes answer, struct score *score,
				struct err *err);

/* numeric and choice: what an answer says at its end. */
enum err_code scorer_numeric_check(const json_t *spec, const char *what, struct err *err);
enum err_code scorer_numeric_grade(const json_t *spec, struct bytes answer, struct score *score,
				   struct err *err);
enum err_code scorer_choice_check(const json_t *spec, const char *what, struct err *err);
enum err_code scorer_choice_grade(const json_t *spec, struct bytes answer, struct score *score,
				  struct err *err);

/* program (scorer_program.h): without a folder it is refused. */
enum err_code scorer_program_check(const json_t *spec, const char *what, struct err *err);
enum err_code scorer_program_refuse(const json_t *spec, struct bytes answer, struct score *score,
				    struct err *err);

#endif
