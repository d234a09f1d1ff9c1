/* Grading programs: what a scorer says, and what is made of what comes out of the sandbox. In the
 * form with `cases` the candidate can write the verdict, but it doesn't know what is expected: a
 * forged value is only another answer. */
#include "grade/code_internal.h"

#include "base/json.h"
#include "grade/code_values.h"

#include <stdarg.h>
#include <stdio.h>

#define TIMEOUT_DEFAULT 5
#define TIMEOUT_MAX 600
#define MEMORY_DEFAULT 1024
#define MEMORY_MIN 32
#define MEMORY_MAX 16384
#define CASES_MAX 100000u

/* ---- the scorer's members ---- */

static enum err_code check_case(const json_t *item, const char *what, size_t index, struct err *err)
{
	static const char *const keys[] = {"args", "expected", "tolerance", NULL};
	const json_t *tolerance = json_object_get(item, "tolerance");

	if (!json_is_array(json_object_get(item, "args")) || !json_object_get(item, "expected"))
		return ERR_SET(err, ERR_INVALID, "%s: cases[%zu]: needs args (a list) and expected",
			       what, index);
	if (tolerance && (!json_is_number(tolerance) || json_number_value(tolerance) < 0))
		return ERR_SET(err, ERR_INVALID,
			       "%s: cases[%zu]: tolerance must be a number, 0 or more", what,
			       index);
	return json_only_keys(item, keys, what, err);
}

static enum err_code check_cases(const json_t *cases, const char *what, struct err *err)
{
	const json_t *item;
	size_t index;

	if (json_array_size(cases) == 0 || json_array_size(cases) > CASES_MAX)
		return ERR_SET(err, ERR_INVALID, "%s: cases: 1 to %u are needed, not %zu", what,
			       CASES_MAX, json_array_size(cases));
	json_array_foreach((json_t *)cases, index, item)
		ERR_TRY(check_case(item, what, index, err));
	return ERR_OK;
}

static enum err_code read_language(const json_t *spec, const char *what, struct code_spec *out,
				   struct err *err)
{
	const char *language;

	ERR_TRY(json_get_string_or(spec, "language", what, "python", &language, err));
	out->language = code_language_find(language);
	if (!out->language)
		return ERR_SET(err, ERR_INVALID,
			       "%s: language: '%s' cannot be graded (python, javascript, c)", what,
			       language);
	if (out->language->needs_signature && !out->signature)
		return ERR_SET(err, ERR_INVALID,
			       "%s: signature: is missing: %s is called by the declaration of the "
			       "function",
			       what, language);
	if (!out->language->needs_signature && out->signature)
		return ERR_SET(err, ERR_INVALID, "%s: signature: is for c only", what);
	if (!out->language->takes_program && out->program)
		return ERR_SET(err, ERR_INVALID, "%s: program: is for python only; use cases",
			       what);
	return ERR_OK;
}

static enum err_code read_members(const json_t *spec, const char *what, struct code_spec *out,
				  struct err *err)
{
	json_t *cases;

	ERR_TRY(json_get_string_or(spec, "entry_point", what, NULL, &out->entry_point, err));
	ERR_TRY(json_get_string_or(spec, "program", what, NULL, &out->program, err));
	ERR_TRY(json_get_string_or(spec, "prompt", what, NULL, &out->prompt, err));
	if (!json_is_null(json_object_get(spec, "signature")))
		ERR_TRY(json_get_string_or(spec, "signature", what, NULL, &out->signature, err));
	if (out->signature && !*out->signature)
		out->signature = NULL;
	ERR_TRY(json_get_container(spec, "cases", what, JSON_ARRAY, true, &cases, err));
	ERR_TRY(json_get_integer_or(spec, "timeout_seconds", what, 1, TIMEOUT_MAX, TIMEOUT_DEFAULT,
				    &out->timeout_seconds, err));
	ERR_TRY(json_get_integer_or(spec, "memory_mb", what, MEMORY_MIN, MEMORY_MAX, MEMORY_DEFAULT,
				    &out->memory_mb, err));
	out->cases = cases;
	return read_language(spec, what, out, err);
}

static enum err_code read_spec(const json_t *spec, const char *what, struct code_spec *out,
			       struct err *err)
{
	static const char *const keys[] = {
		"kind",   "language",  "entry_point", "program",         "cases",
		"prompt", "signature", "memory_mb",   "timeout_seconds", NULL};

	if (!json_is_object(spec))
		return ERR_SET(err, ERR_INVALID, "%s: must be an object", what);
	ERR_TRY(json_only_keys(spec, keys, what, err));
	ERR_TRY(read_members(spec, what, out, err));
	if (!out->cases == !out->program)
		return ERR_SET(err, ERR_INVALID, "%s: needs either cases or program", what);
	if (out->cases && !out->entry_point)
		return ERR_SET(err, ERR_INVALID, "%s: cases need an entry_point", what);
	if (out->entry_point && !code_is_identifier(out->entry_point))
		return ERR_SET(err, ERR_INVALID, "%s: entry_point: '%s' is no name", what,
			       out->entry_point);
	return ERR_OK;
}

enum err_code code_check(const json_t *spec, const char *what, struct err *err)
{
	struct code_spec read = {0};

	ERR_TRY(read_spec(spec, what, &read, err));
	if (read.cases)
		ERR_TRY(check_cases(read.cases, what, err));
	return read.language->check ? read.language->check(&read, what, err) : ERR_OK;
}

enum err_code code_ready(const json_t *spec, struct err *err)
{
	struct code_spec read = {0};

	ERR_TRY(read_spec(spec, "scorer", &read, err));
	return read.language->ready(err);
}

/* ---- reasons ---- */

void code_reason(struct code_result *result, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(result->reason, sizeof(result->reason), format, arguments);
	va_end(arguments);
	size_t size = strlen(result->reason);
	for (int i = 0; i < 4 && size && !bytes_is_utf8(bytes_of(result->reason, size)); i++)
		size--;
	if (!bytes_is_utf8(bytes_of(result->reason, size)))
		size = 0;
	result->reason[size] = '\0';
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)result->reason[i] < ' ' || result->reason[i] == 0x7f)
			result->reason[i] = ' ';
}

bool code_reason_from_ending(const struct code_spec *spec, const struct sandbox_result *run,
			     struct code_result *result)
{
	switch (run->ending) {
	case SANDBOX_CPU_LIMIT:
		result->time_limited = true;
		code_reason(result, "CPU time limit of %lld s", (long long)spec->timeout_seconds);
		return true;
	case SANDBOX_WALL_LIMIT:
		result->time_limited = true;
		code_reason(result, "wall-clock limit after %.1f s", (double)run->wall_ms / 1000);
		return true;
	case SANDBOX_OUTPUT_LIMIT:
		code_reason(result, "output limit");
		return true;
	case SANDBOX_SIGNALLED:
		code_reason(result, "ended by signal %d", run->signal);
		return true;
	case SANDBOX_EXITED:
		return false;
	}
	return false;
}

/* ---- cases ---- */

/* One case: ["r", value] or ["x", text]. Sets the reason if it is the first that failed. */
static bool judge_case(const json_t *item, struct bytes *verdict, struct code_result *result)
{
	bool there = verdict->size > 0;
	json_t *reply = code_value_take(verdict);
	const char *tag = json_string_value(json_array_get(reply, 0));
	const json_t *value = json_array_get(reply, 1);
	double tolerance = json_number_value(json_object_get(item, "tolerance"));
	bool passed = false;

	if (!tag || !value)
		code_reason(result, "case %u: %s", result->cases + 1,
			    there ? "returned what no JSON value is equal to" : "no result");
	else if (strcmp(tag, "r") != 0)
		code_reason(result, "case %u: %s", result->cases + 1,
			    json_is_string(value) ? json_string_value(value) : "error");
	else if (!(passed = code_value_equal(json_object_get(item, "expected"), value, tolerance)))
		code_reason(result, "case %u: wrong value", result->cases + 1);
	if (!reply)
		*verdict = (struct bytes){0}; /* what follows can't be found */
	json_decref(reply);
	return passed;
}

static void judge_cases(const struct code_spec *spec, const struct sandbox_result *run,
			struct code_result *result)
{
	struct bytes verdict = buf_bytes(&run->verdict);
	char first_reason[sizeof(result->reason)] = "passed";
	const json_t *item;
	size_t index;

	json_array_foreach((json_t *)spec->cases, index, item)
	{
		if (judge_case(item, &verdict, result))
			result->cases_passed++;
		else if (result->cases_passed == result->cases)
			memcpy(first_reason, result->reason, sizeof(first_reason));
		result->cases++;
	}
	memcpy(result->reason, first_reason, sizeof(first_reason));
	result->passed = result->cases_passed == result->cases;
	if (result->passed || code_reason_from_ending(spec, run, result) || run->verdict.size)
		return;
	if (run->exit_status == CODE_NOT_COMPILED) {
		struct bytes rest, line = bytes_split(buf_bytes(&run->errors), '\n', &rest);

		code_reason(result, "does not compile: %.*s",
			    (int)(line.size < 200 ? line.size : 200), line.size ? line.data : "");
	}
}

/* ---- grading ---- */

static enum err_code grade_code(const struct code_spec *spec, struct bytes answer,
				struct code_result *result, struct err *err)
{
	struct buf code = BUF_INIT(CODE_INPUT_MAX);
	struct sandbox_result run;
	enum err_code status;

	sandbox_result_init(&run);
	code_extract(answer, spec->language, spec->entry_point, spec->prompt, &code);
	if (code.failed)
		status = ERR_SET(err, ERR_NO_MEMORY, "out of memory for a program");
	else if (spec->program)
		status = code_grade_program(spec, buf_bytes(&code), &run, result, err);
	else
		status = spec->language->run_cases(spec, buf_bytes(&code), &run, err);
	if (status == ERR_OK && spec->cases)
		judge_cases(spec, &run, result);
	result->cpu_ms = run.cpu_ms;
	result->wall_ms = run.wall_ms;
	sandbox_result_release(&run);
	buf_release(&code);
	return status;
}

enum err_code code_grade(struct sandbox_warm *warm, const json_t *spec, struct bytes answer,
			 struct code_result *result, struct err *err)
{
	struct code_spec read = {0};

	memset(result, 0, sizeof(*result));
	ERR_TRY(code_check(spec, "scorer", err));
	ERR_TRY(read_spec(spec, "scorer", &read, err));
	read.warm = warm;
	if (answer.size > CODE_ANSWER_MAX ||
	    memchr(answer.data ? answer.data : "", '\0', answer.size)) {
		code_reason(result, "the answer is %s",
			    answer.size > CODE_ANSWER_MAX ? "too long" : "no text");
		return ERR_OK;
	}
	return grade_code(&read, answer, result, err);
}
