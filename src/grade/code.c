/* Grading programs: what goes into the sandbox, and what is made of what comes out.
 *
 * `cases`: the driver calls the candidate with each list of arguments and writes what it returned.
 * The candidate can write there too, but it doesn't know what is expected: a forged value is only
 * another answer.
 *
 * `program`: the driver forks the candidate off before it reads the test and a random token. The
 * test gets plain data from the candidate's process, so no object of the candidate's is ever
 * compared; only the driver can write the verdict, and it writes the token when the test has ended
 * well. */
#include "grade/code.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/code_values.h"
#include "grade/python_driver.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>

#define PYTHON "/usr/bin/python3"
#define INPUT_MAX ((size_t)64 << 20)
#define FLOAT_TOLERANCE 1e-9
#define TIMEOUT_DEFAULT 5
#define TIMEOUT_MAX 600
#define TOKEN_SIZE 16
#define CASES_MAX 100000u

struct code_spec {
	const char *entry_point; /* NULL: none */
	const char *program;     /* NULL: cases */
	const char *prompt;
	const json_t *cases;
	int64_t timeout_seconds;
};

/* ---- the scorer's members ---- */

static bool is_identifier(const char *name)
{
	size_t size = strlen(name);

	return size > 0 && size < 256 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") ==
		       size &&
	       !(name[0] >= '0' && name[0] <= '9');
}

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

static enum err_code read_members(const json_t *spec, const char *what, struct code_spec *out,
				  struct err *err)
{
	const char *language;
	json_t *cases;

	ERR_TRY(json_get_string_or(spec, "language", what, "python", &language, err));
	ERR_TRY(json_get_string_or(spec, "entry_point", what, NULL, &out->entry_point, err));
	ERR_TRY(json_get_string_or(spec, "program", what, NULL, &out->program, err));
	ERR_TRY(json_get_string_or(spec, "prompt", what, NULL, &out->prompt, err));
	ERR_TRY(json_get_container(spec, "cases", what, JSON_ARRAY, true, &cases, err));
	ERR_TRY(json_get_integer_or(spec, "timeout_seconds", what, 1, TIMEOUT_MAX, TIMEOUT_DEFAULT,
				    &out->timeout_seconds, err));
	out->cases = cases;
	if (strcmp(language, "python") != 0)
		return ERR_SET(err, ERR_INVALID, "%s: language: %s cannot be graded, python can",
			       what, language);
	return ERR_OK;
}

static enum err_code read_spec(const json_t *spec, const char *what, struct code_spec *out,
			       struct err *err)
{
	static const char *const keys[] = {"kind",  "language", "entry_point",     "program",
					   "cases", "prompt",   "timeout_seconds", NULL};

	if (!json_is_object(spec))
		return ERR_SET(err, ERR_INVALID, "%s: must be an object", what);
	ERR_TRY(json_only_keys(spec, keys, what, err));
	ERR_TRY(read_members(spec, what, out, err));
	if (!out->cases == !out->program)
		return ERR_SET(err, ERR_INVALID, "%s: needs either cases or program", what);
	if (out->cases && !out->entry_point)
		return ERR_SET(err, ERR_INVALID, "%s: cases need an entry_point", what);
	if (out->entry_point && !is_identifier(out->entry_point))
		return ERR_SET(err, ERR_INVALID, "%s: entry_point: '%s' is no name", what,
			       out->entry_point);
	return ERR_OK;
}

enum err_code code_check(const json_t *spec, const char *what, struct err *err)
{
	struct code_spec read = {0};

	ERR_TRY(read_spec(spec, what, &read, err));
	return read.cases ? check_cases(read.cases, what, err) : ERR_OK;
}

/* ---- comparing ---- */

static bool numbers_equal(const json_t *expected, const json_t *got, double tolerance)
{
	bool integers = json_is_integer(expected) && json_is_integer(got);

	if (integers && tolerance == 0)
		return json_integer_value(expected) == json_integer_value(got);
	double a = json_number_value(expected), b = json_number_value(got);
	if (tolerance == 0)
		tolerance = FLOAT_TOLERANCE;
	return fabs(a - b) <= tolerance || fabs(a - b) <= tolerance * fabs(a);
}

static bool arrays_equal(const json_t *expected, const json_t *got, double tolerance)
{
	if (json_array_size(expected) != json_array_size(got))
		return false;
	for (size_t i = 0; i < json_array_size(expected); i++)
		if (!code_value_equal(json_array_get(expected, i), json_array_get(got, i),
				      tolerance))
			return false;
	return true;
}

static bool objects_equal(const json_t *expected, const json_t *got, double tolerance)
{
	const char *key;
	json_t *value;

	if (json_object_size(expected) != json_object_size(got))
		return false;
	json_object_foreach((json_t *)expected, key, value)
	{
		const json_t *other = json_object_get(got, key);

		if (!other || !code_value_equal(value, other, tolerance))
			return false;
	}
	return true;
}

/* The depth is bounded by the parsers of both sides. */
bool code_value_equal(const json_t *expected, const json_t *got, double tolerance)
{
	if (json_is_number(expected) && json_is_number(got))
		return numbers_equal(expected, got, tolerance);
	if (json_typeof(expected) != json_typeof(got))
		return false;
	if (json_is_array(expected))
		return arrays_equal(expected, got, tolerance);
	if (json_is_object(expected))
		return objects_equal(expected, got, tolerance);
	return json_equal(expected, got);
}

/* ---- reasons ---- */

/* One line, valid UTF-8, cut at a character: it may have been written by the candidate. */
static void reason_set(struct code_result *result, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void reason_set(struct code_result *result, const char *format, ...)
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

/* What a program that was ended has to say for itself. False if it ended in order. */
static bool reason_from_ending(const struct sandbox_result *run, int64_t timeout_seconds,
			       struct code_result *result)
{
	switch (run->ending) {
	case SANDBOX_CPU_LIMIT:
		result->time_limited = true;
		reason_set(result, "CPU time limit of %lld s", (long long)timeout_seconds);
		return true;
	case SANDBOX_WALL_LIMIT:
		result->time_limited = true;
		reason_set(result, "wall-clock limit after %.1f s", (double)run->wall_ms / 1000);
		return true;
	case SANDBOX_OUTPUT_LIMIT:
		reason_set(result, "output limit");
		return true;
	case SANDBOX_SIGNALLED:
		reason_set(result, "ended by signal %d", run->signal);
		return true;
	case SANDBOX_EXITED:
		return false;
	}
	return false;
}

/* ---- the two forms ---- */

static enum err_code run_driver(const struct code_spec *spec, struct bytes input,
				struct sandbox_result *run, struct err *err)
{
	const char *const arguments[] = {PYTHON, "-s", "-S", "-B", "-c", python_driver, NULL};
	struct sandbox_program program = {
		.argv = arguments, .input = input, .limits = SANDBOX_LIMITS_DEFAULT};

	program.limits.cpu_seconds = (unsigned)spec->timeout_seconds;
	return sandbox_run(&program, run, err);
}

static void append_head(struct buf *input, const struct code_spec *spec, const struct buf *code)
{
	buf_printf(input, "%s %s %zu\n", spec->cases ? "cases" : "program",
		   spec->entry_point ? spec->entry_point : "", code->size);
	buf_append_bytes(input, buf_bytes(code));
}

static void append_arguments(struct buf *input, const json_t *cases)
{
	const json_t *item;
	size_t index;

	buf_printf(input, "l%zu:", json_array_size(cases));
	json_array_foreach((json_t *)cases, index, item)
		code_value_append(input, json_object_get(item, "args"));
}

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
		reason_set(result, "case %u: %s", result->cases + 1,
			   there ? "returned what no JSON value is equal to" : "no result");
	else if (strcmp(tag, "r") != 0)
		reason_set(result, "case %u: %s", result->cases + 1,
			   json_is_string(value) ? json_string_value(value) : "error");
	else if (!(passed = code_value_equal(json_object_get(item, "expected"), value, tolerance)))
		reason_set(result, "case %u: wrong value", result->cases + 1);
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
	if (!result->passed)
		reason_from_ending(run, spec->timeout_seconds, result);
}

static enum err_code grade_cases(const struct code_spec *spec, struct buf *input,
				 struct sandbox_result *run, struct code_result *result,
				 struct err *err)
{
	append_arguments(input, spec->cases);
	if (input->failed)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a program's cases");
	ERR_TRY(run_driver(spec, buf_bytes(input), run, err));
	judge_cases(spec, run, result);
	return ERR_OK;
}

static void judge_program(const struct code_spec *spec, const char *token,
			  const struct sandbox_result *run, struct code_result *result)
{
	struct bytes reason, said = bytes_split(buf_bytes(&run->verdict), '\n', &reason);

	result->passed = run->ending == SANDBOX_EXITED && run->exit_status == 0 &&
			 said.size == 2 * TOKEN_SIZE &&
			 bytes_equal_constant_time(said.data, token, said.size);
	if (result->passed)
		reason_set(result, "passed");
	else if (!reason_from_ending(run, spec->timeout_seconds, result))
		reason_set(result, "%.*s", (int)(reason.size < 250 ? reason.size : 250),
			   reason.size ? reason.data : "ended without a verdict");
}

static enum err_code grade_program(const struct code_spec *spec, struct buf *input,
				   struct sandbox_result *run, struct code_result *result,
				   struct err *err)
{
	const char *prompt = spec->prompt ? spec->prompt : "";
	uint8_t random[TOKEN_SIZE];
	char token[2 * TOKEN_SIZE + 1];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return ERR_SET(err, ERR_ENVIRONMENT, "the system gives no random numbers");
	hex_encode(random, sizeof(random), token);
	buf_printf(input, "%s\n%zu\n", token, strlen(prompt));
	buf_append_cstr(input, prompt);
	buf_append_cstr(input, spec->program);
	if (input->failed)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a program's test");
	ERR_TRY(run_driver(spec, buf_bytes(input), run, err));
	judge_program(spec, token, run, result);
	return ERR_OK;
}

static enum err_code grade_code(const struct code_spec *spec, struct bytes answer,
				struct code_result *result, struct err *err)
{
	struct buf code = BUF_INIT(INPUT_MAX), input = BUF_INIT(INPUT_MAX);
	struct sandbox_result run;
	enum err_code status;

	sandbox_result_init(&run);
	code_extract(answer, spec->entry_point, spec->prompt, &code);
	append_head(&input, spec, &code);
	if (code.failed || input.failed)
		status = ERR_SET(err, ERR_NO_MEMORY, "out of memory for a program");
	else if (spec->cases)
		status = grade_cases(spec, &input, &run, result, err);
	else
		status = grade_program(spec, &input, &run, result, err);
	result->cpu_ms = run.cpu_ms;
	result->wall_ms = run.wall_ms;
	sandbox_result_release(&run);
	buf_release(&code);
	buf_release(&input);
	return status;
}

enum err_code code_grade(const json_t *spec, struct bytes answer, struct code_result *result,
			 struct err *err)
{
	struct code_spec read = {0};

	memset(result, 0, sizeof(*result));
	ERR_TRY(code_check(spec, "scorer", err));
	ERR_TRY(read_spec(spec, "scorer", &read, err));
	if (answer.size > CODE_ANSWER_MAX ||
	    memchr(answer.data ? answer.data : "", '\0', answer.size)) {
		reason_set(result, "the answer is %s",
			   answer.size > CODE_ANSWER_MAX ? "too long" : "no text");
		return ERR_OK;
	}
	return grade_code(&read, answer, result, err);
}
