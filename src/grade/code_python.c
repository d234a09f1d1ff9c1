/* Python: the driver in the sandbox calls the candidate (`cases`), or forks it off before it reads
 * the test and a random token (`program`). There the test gets plain data from the candidate's
 * process, so no object of the candidate's is ever compared; only the driver can write the verdict,
 * and it writes the token when the test has ended well. */
#include "grade/code_internal.h"

#include "base/encode.h"
#include "grade/code_values.h"
#include "grade/python_driver.h"
#include "grade/python_warm.h"

#include <sys/random.h>
#include <unistd.h>

#define PYTHON "/usr/bin/python3"
#define TOKEN_SIZE 16

static enum err_code run_driver(const struct code_spec *spec, const struct buf *input,
				struct sandbox_result *run, struct err *err)
{
	const char *const arguments[] = {PYTHON, "-s", "-S", "-B", "-c", python_driver, NULL};
	struct sandbox_program program = {
		.argv = arguments, .input = buf_bytes(input), .limits = code_limits(spec)};

	if (input->failed)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a program");
	return spec->warm ? sandbox_warm_run(spec->warm, &program, run, err)
			  : sandbox_run(&program, run, err);
}

struct sandbox_warm *code_warm_new(void)
{
	static const char *const arguments[] = {PYTHON, "-s", "-S", "-B", "-c", python_warm, NULL};

	return sandbox_warm_new(arguments);
}

static void append_head(struct buf *input, const struct code_spec *spec, struct bytes code)
{
	buf_printf(input, "%s %s %zu\n", spec->cases ? "cases" : "program",
		   spec->entry_point ? spec->entry_point : "", code.size);
	buf_append_bytes(input, code);
}

static enum err_code run_cases(const struct code_spec *spec, struct bytes code,
			       struct sandbox_result *run, struct err *err)
{
	struct buf input = BUF_INIT(CODE_INPUT_MAX);
	const json_t *item;
	size_t index;

	append_head(&input, spec, code);
	buf_printf(&input, "l%zu:", json_array_size(spec->cases));
	json_array_foreach((json_t *)spec->cases, index, item)
		code_value_append(&input, json_object_get(item, "args"));
	enum err_code status = run_driver(spec, &input, run, err);
	buf_release(&input);
	return status;
}

static void judge_program(const struct code_spec *spec, const char *token,
			  const struct sandbox_result *run, struct code_result *result)
{
	struct bytes reason, said = bytes_split(buf_bytes(&run->verdict), '\n', &reason);

	result->passed = run->ending == SANDBOX_EXITED && run->exit_status == 0 &&
			 said.size == 2 * TOKEN_SIZE &&
			 bytes_equal_constant_time(said.data, token, said.size);
	if (result->passed)
		code_reason(result, "passed");
	else if (!code_reason_from_ending(spec, run, result))
		code_reason(result, "%.*s", (int)(reason.size < 250 ? reason.size : 250),
			    reason.size ? reason.data : "ended without a verdict");
}

enum err_code code_grade_program(const struct code_spec *spec, struct bytes code,
				 struct sandbox_result *run, struct code_result *result,
				 struct err *err)
{
	struct buf input = BUF_INIT(CODE_INPUT_MAX);
	const char *prompt = spec->prompt ? spec->prompt : "";
	uint8_t random[TOKEN_SIZE];
	char token[2 * TOKEN_SIZE + 1];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return ERR_SET(err, ERR_ENVIRONMENT, "the system gives no random numbers");
	hex_encode(random, sizeof(random), token);
	append_head(&input, spec, code);
	buf_printf(&input, "%s\n%zu\n", token, strlen(prompt));
	buf_append_cstr(&input, prompt);
	buf_append_cstr(&input, spec->program);
	enum err_code status = run_driver(spec, &input, run, err);
	buf_release(&input);
	if (status == ERR_OK)
		judge_program(spec, token, run, result);
	return status;
}

static enum err_code ready(struct err *err)
{
	if (access(PYTHON, X_OK) == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_ENVIRONMENT, PYTHON " is missing: install the package python3");
}

/* def, class or assignment at the left margin. */
static bool defines(struct bytes line, struct bytes name)
{
	if (code_name_follows(line, "def ", name) || code_name_follows(line, "async def ", name) ||
	    code_name_follows(line, "class ", name))
		return true;
	if (!code_name_follows(line, "", name))
		return false;
	struct bytes after = bytes_trim(bytes_of(line.data + name.size, line.size - name.size));
	return after.size > 0 && (after.data[0] == '=' || after.data[0] == ':') &&
	       !bytes_starts_with(after, BYTES("=="));
}

static const char *const fences[] = {"", "python", "python3", "py", "py3", NULL};

const struct code_language code_python = {
	.name = "python",
	.fences = fences,
	.takes_program = true,
	.defines = defines,
	.ready = ready,
	.run_cases = run_cases,
};
