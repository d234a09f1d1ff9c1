/* Grading of generated programs, in the sandbox. A scorer is
 *
 *     {kind: code, language, entry_point, cases: [{args: […], expected, tolerance?}], …}
 *     {kind: code, language: python, entry_point?, program: TEXT, prompt?: TEXT, …}
 *
 * with language python (the default), javascript or c, timeout_seconds (CPU of one process, default
 * 5) and memory_mb (default 1024); C needs `signature`, the function's declaration. For `cases` the
 * candidate runs alone and only data leaves the sandbox: expected values never enter it and are
 * compared here. For `program` the test runs in a process of its own that talks to the candidate's
 * process by plain data, so that the candidate sees neither the tests nor the token that proves
 * them passed (code_python.c). docs/formats/suite.md has all of it. */
#ifndef GRADE_CODE_H
#define GRADE_CODE_H

#include "grade/sandbox_warm.h"

#include <jansson.h>

#define CODE_ANSWER_MAX ((size_t)1 << 20) /* longer answers fail */

struct code_result {
	bool passed;
	unsigned cases, cases_passed; /* for `cases` */
	uint64_t cpu_ms, wall_ms;
	bool time_limited; /* failed by the time limit: another machine may find otherwise */
	char reason[256];  /* UTF-8, one line: "passed", or what went wrong */
};

/* ERR_INVALID naming `what` and the member that is wrong. */
enum err_code code_check(const json_t *spec, const char *what, struct err *err);

/* A pool of warm Python interpreters; NULL when memory is out. */
struct sandbox_warm *code_warm_new(void);

/* Grades the answer's code; `warm` may be NULL. A bad answer is ERR_OK and not passed. Errors: the
 * spec is bad (ERR_INVALID), there is no sandbox (ERR_ENVIRONMENT), memory. Blocks; thread-safe. */
enum err_code code_grade(struct sandbox_warm *warm, const json_t *spec, struct bytes answer,
			 struct code_result *result, struct err *err);

/* ERR_ENVIRONMENT naming what to install where this machine can't run the spec's language. The
 * sandbox itself is sandbox_check's. */
enum err_code code_ready(const json_t *spec, struct err *err);

/* The program in an answer, appended: the last fenced block (bare or of the language) that defines
 * `entry_point` (any name if NULL), else the last such block, else the whole text. With `prompt` (a
 * HumanEval-style beginning) and no definition of the entry point at the left margin, prompt and
 * text are joined. */
struct code_language;
void code_extract(struct bytes answer, const struct code_language *language,
		  const char *entry_point, const char *prompt, struct buf *out);

/* Whether `got` equals `expected`: numbers by value (true and false are no numbers), floats within
 * `tolerance` (absolute or relative to expected; integers on both sides exactly if it is 0; the
 * default for floats is 1e-9), arrays and objects member by member. */
bool code_value_equal(const json_t *expected, const json_t *got, double tolerance);

#endif
