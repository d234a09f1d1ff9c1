#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

static enum err_code fails(struct err *err)
{
	return ERR_SET(err, ERR_NO_SPACE, "file %s", "a");
}

static enum err_code passes_on(struct err *err)
{
	ERR_TRY(fails(err));
	return ERR_OK;
}

static void an_error_tells_what_and_where(void **state)
{
	struct err err = ERR_INIT;
	(void)state;
	assert_int_equal(ERR_NO_SPACE, passes_on(&err));
	assert_int_equal(ERR_NO_SPACE, err.code);
	assert_string_equal("file a", err.message);
	assert_non_null(strstr(err.file, "test_err.c"));
	assert_true(err.line > 0);
	assert_int_equal(0, err.sys);
	assert_int_equal(ERR_NO_SPACE, err_prefix(&err, "log %d", 7));
	assert_string_equal("log 7: file a", err.message);
	assert_int_equal(ERR_NO_SPACE, fails(NULL));
	errno = ENOENT;
	assert_int_equal(ERR_NOT_FOUND, ERR_SYS(&err, ERR_NOT_FOUND, "cannot open %s", "x"));
	assert_string_equal("cannot open x: No such file or directory", err.message);
	assert_int_equal(ENOENT, err.sys);
}

static void long_messages_are_cut_not_overrun(void **state)
{
	struct err err = ERR_INIT;
	char text[2000];
	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ERR_SET(&err, ERR_INVALID, "%s", text);
	assert_int_equal(sizeof(err.message) - 1, strlen(err.message));
	err_prefix(&err, "%s", text);
	assert_true(strlen(err.message) < sizeof(err.message));
	errno = EIO;
	ERR_SYS(&err, ERR_ENVIRONMENT, "%s", text);
	assert_true(strlen(err.message) < sizeof(err.message));
	/* The message may be built from the one it replaces. */
	ERR_SET(&err, ERR_INVALID, "short");
	ERR_SET(&err, ERR_INVALID, "again: %s", err.message);
	assert_string_equal("again: short", err.message);
}

static void every_code_has_a_row(void **state)
{
	(void)state;
	assert_string_equal("INVALID", err_name(ERR_INVALID));
	assert_int_equal(0, err_exit_status(ERR_OK));
	for (enum err_code code = ERR_OK + 1; code <= ERR_INTERRUPTED; code++) {
		assert_in_range(err_exit_status(code), 1, 3);
		assert_in_range(err_http_status(code), 400, 504);
		assert_true(strlen(err_text(code)) > 0);
		/* What may be tried again is never the caller's mistake. */
		if (err_retryable(code))
			assert_true(err_http_status(code) >= 500);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_tells_what_and_where),
		cmocka_unit_test(long_messages_are_cut_not_overrun),
		cmocka_unit_test(every_code_has_a_row),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
