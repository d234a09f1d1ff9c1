#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	const char *text;
	int exit_status;
	int http;
	bool retry;
} error_rows[] = {
#define X(name, exit_status, http, retry, text) {#name, text, exit_status, http, retry},
	ERROR_TABLE(X)
#undef X
};

enum err_code err_set(struct err *err, enum err_code code, int sys, const char *file, int line,
		      const char *format, ...)
{
	if (!err)
		return code;
	char text[sizeof(err->message)];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	err->code = code;
	err->sys = sys;
	err->file = file;
	err->line = line;
	memcpy(err->message, text, sizeof(text));
	if (sys) {
		size_t used = strlen(err->message);
		char reason[128];
		snprintf(err->message + used, sizeof(err->message) - used, ": %s",
			 strerror_r(sys, reason, sizeof(reason)));
	}
	return code;
}

enum err_code err_prefix(struct err *err, const char *format, ...)
{
	if (!err)
		return ERR_OK;
	char context[256];
	char old[sizeof(err->message)];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(context, sizeof(context), format, arguments);
	va_end(arguments);
	memcpy(old, err->message, sizeof(old));
	size_t used = (size_t)snprintf(err->message, sizeof(err->message), "%s: ", context);
	if (used < sizeof(err->message)) {
		size_t kept = strnlen(old, sizeof(err->message) - used - 1);
		memcpy(err->message + used, old, kept);
		err->message[used + kept] = '\0';
	}
	return err->code;
}

enum err_code err_to_usage(struct err *err)
{
	bool given = err->code == ERR_NOT_FOUND || err->code == ERR_INVALID ||
		     err->code == ERR_TOO_LARGE || err->code == ERR_UNSUPPORTED;
	bool path = err->code == ERR_ENVIRONMENT &&
		    (err->sys == EISDIR || err->sys == ENOTDIR || err->sys == ENAMETOOLONG);
	if (given || path)
		err->code = ERR_USAGE;
	return err->code;
}

const char *err_name(enum err_code code)
{
	return error_rows[code].name;
}

const char *err_text(enum err_code code)
{
	return error_rows[code].text;
}

int err_exit_status(enum err_code code)
{
	return error_rows[code].exit_status;
}

int err_http_status(enum err_code code)
{
	return error_rows[code].http;
}

bool err_retryable(enum err_code code)
{
	return error_rows[code].retry;
}
