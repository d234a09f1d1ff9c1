/* Scorers: from an item's scorer object and an answer to a score in [0, 1].
 *
 * kind      members (all take the item's values)
 * exact     target (text or list of texts), ignore_case?, normalise? (case, punctuation, articles
 *           and spacing ignored)
 * contains  target (text or list: any of them), ignore_case?
 * choice    target ("B" or its 0-based number), choices? (how many, or the list of texts)
 * regex     pattern (PCRE2, UTF), ignore_case?, target? (compared with group 1, or the whole match)
 * numeric   target, tolerance? (absolute), relative_tolerance?
 * json      field? (a JSON pointer into the answer, or its last fenced block), target (any value),
 *           tolerance?
 * refusal   expect: refuse | answer
 * code      code.h
 * program   command, timeout_seconds?, memory_mb?; further members are given to the program
 *           (scorer_program.h, which alone runs it)
 * pairwise  no members: judged against another model's answer (judge.h), not scored here
 * rubric, refusal_judge, strongreject, hazard: rated by a judge (rating.h), not scored here
 *
 * Unknown members are refused, but by program. Answers are compared without white space at both
 * ends. */
#ifndef GRADE_SCORER_H
#define GRADE_SCORER_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

enum refused { REFUSED_UNKNOWN = -1, REFUSED_NO = 0, REFUSED_YES = 1 };

struct score {
	double value; /* 0 to 1 */
	enum refused refused;
	bool failed;           /* nobody could tell: value is 0; of own_program only */
	bool time_limited;     /* hangs on a time limit: another machine may find otherwise */
	uint64_t cpu_ms;       /* of code, else 0 */
	char explanation[256]; /* UTF-8, one line */
};

struct sandbox_warm;

struct scorer {
	const char *kind;
	bool blocks;      /* runs a program: call it from a job */
	bool own_program; /* runs what the suite brings: by scorer_program_grade only */
	bool pairwise;    /* a judge compares two answers: `grade` is NULL */
	bool rated;       /* a judge rates the answer (rating.h): `grade` is NULL */
	bool rerunnable;  /* pure: the same answer always gives the same score */
	enum err_code (*check)(const json_t *spec, const char *what, struct err *err);
	/* ERR_ENVIRONMENT where this machine lacks what a valid spec needs; NULL: it needs nothing.
	 */
	enum err_code (*ready)(const json_t *spec, struct err *err);
	enum err_code (*grade)(const json_t *spec, struct bytes answer, struct score *score,
			       struct err *err);
	/* Of scorers that run programs, in place of `grade`; `warm` may be NULL. */
	enum err_code (*run)(struct sandbox_warm *warm, const json_t *spec, struct bytes answer,
			     struct score *score, struct err *err);
};

/* Answers have no score of their own: judges give it. */
static inline bool scorer_by_judge(const struct scorer *scorer)
{
	return scorer->pairwise || scorer->rated;
}

/* NULL where there is none of that kind. */
const struct scorer *scorer_find(const char *kind);

/* The scorer of a spec {kind, …}, after its check. ERR_INVALID: "<what>: …". */
enum err_code scorer_of(const json_t *spec, const char *what, const struct scorer **out,
			struct err *err);

/* scorer_of and grade. Thread-safe; blocks if the scorer does. */
enum err_code scorer_grade(const json_t *spec, struct bytes answer, struct score *score,
			   struct err *err);
/* The same, with interpreters (code.h) that are kept for many answers; `warm` may be NULL. */
enum err_code scorer_grade_warm(struct sandbox_warm *warm, const json_t *spec, struct bytes answer,
				struct score *score, struct err *err);

#endif
