/* What the tests of the code grader expect of answers. */
#ifndef TEST_GRADE_CODE_EXPECT_H
#define TEST_GRADE_CODE_EXPECT_H

#include "grade/code.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

static inline void grade(const char *spec_text, const char *answer, struct code_result *result)
{
	json_error_t where;
	json_t *spec = json_loads(spec_text, 0, &where);
	struct err err = ERR_INIT;

	if (!spec)
		fail_msg("%s: %s", spec_text, where.text);
	if (code_grade(NULL, spec, bytes_from(answer), result, &err) != ERR_OK)
		fail_msg("%s", err.message);
	json_decref(spec);
}

static inline void good(const char *spec, const char *answer)
{
	struct code_result result;

	grade(spec, answer, &result);
	if (!result.passed)
		fail_msg("%s: %s", answer, result.reason);
	assert_string_equal(result.reason, "passed");
}

/* `reason` NULL: whatever it is. */
static inline void bad(const char *spec, const char *answer, const char *reason)
{
	struct code_result result;

	grade(spec, answer, &result);
	if (result.passed)
		fail_msg("passed: %s", answer);
	if (reason && !strstr(result.reason, reason))
		fail_msg("'%s' does not say '%s'", result.reason, reason);
}

#endif
