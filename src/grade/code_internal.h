/* What the files that grade programs share. */
#ifndef GRADE_CODE_INTERNAL_H
#define GRADE_CODE_INTERNAL_H

#include "grade/code.h"

#define CODE_INPUT_MAX ((size_t)64 << 20)

struct code_spec {
	const struct code_language *language;
	const char *entry_point; /* NULL: none */
	const char *program;     /* NULL: cases */
	const char *prompt;
	const char *signature; /* C: of the entry point */
	const json_t *cases;
	int64_t timeout_seconds, memory_mb;
	struct sandbox_warm *warm; /* NULL: each program starts an interpreter of its own */
};

/* A language that can be graded. */
struct code_language {
	const char *name;
	const char *const *fences; /* info strings of its blocks, NULL-terminated */
	bool needs_signature, takes_program;
	/* Whether the line defines `name` where others can call it. */
	bool (*defines)(struct bytes line, struct bytes name);
	/* What only this language asks of a spec; may be NULL. */
	enum err_code (*check)(const struct code_spec *spec, const char *what, struct err *err);
	/* ERR_ENVIRONMENT naming what to install. */
	enum err_code (*ready)(struct err *err);
	/* Calls the entry point with every case's args: the verdict is one value for each,
	 * ["r", value] or ["x", text], as far as the program came. */
	enum err_code (*run_cases)(const struct code_spec *spec, struct bytes code,
				   struct sandbox_result *run, struct err *err);
};

/* NULL where there is none of that name. */
const struct code_language *code_language_find(const char *name);
extern const struct code_language code_python, code_javascript, code_c;

/* The exit status of a program that couldn't be compiled. */
#define CODE_NOT_COMPILED 97

/* The limits of a spec's programs. */
struct sandbox_limits code_limits(const struct code_spec *spec);

/* One line of valid UTF-8, cut at a character: it may have been written by the candidate. */
void code_reason(struct code_result *result, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* What a program that was ended has to say for itself. False if it ended in order. */
bool code_reason_from_ending(const struct code_spec *spec, const struct sandbox_result *run,
			     struct code_result *result);

/* The form with `program`: Python only. */
enum err_code code_grade_program(const struct code_spec *spec, struct bytes code,
				 struct sandbox_result *run, struct code_result *result,
				 struct err *err);

bool code_is_identifier(const char *name);
bool code_name_follows(struct bytes line, const char *keyword, struct bytes name);

#endif
