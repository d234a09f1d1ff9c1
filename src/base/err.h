/* Operating errors as values: a code from table/errors.h, where it was noticed, and a message that
 * names what went wrong, where, and what to do. Caller-owned and allocation-free, so that it works
 * when memory is out. A programmer's error asserts instead. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "table/errors.h"

#include <stdbool.h>

enum err_code {
#define X(name, exit_status, http, retry, text) ERR_##name,
	ERROR_TABLE(X)
#undef X
};

struct err {
	enum err_code code;
	int sys; /* errno at the failing call, or 0 */
	int line;
	const char *file;
	char message[512];
};

#define ERR_INIT               \
	{                      \
		.code = ERR_OK \
	}

/* Fills `err` (which may be NULL) and returns `code`, so that a function can
 * `return ERR_SET(err, ERR_INVALID, "…")`. The text carries no trailing full stop or newline.
 * ERR_SYS adds ": " and the text of errno and keeps errno. */
#define ERR_SET(err, code, ...) err_set((err), (code), 0, __FILE__, __LINE__, __VA_ARGS__)
#define ERR_SYS(err, code, ...) err_set((err), (code), errno, __FILE__, __LINE__, __VA_ARGS__)

/* Returns early with the code of a failed call. */
#define ERR_TRY(call)                             \
	do {                                      \
		enum err_code try_code_ = (call); \
		if (try_code_ != ERR_OK)          \
			return try_code_;         \
	} while (0)

enum err_code err_set(struct err *err, enum err_code code, int sys, const char *file, int line,
		      const char *format, ...) __attribute__((format(printf, 6, 7)));

/* Puts context in front of the message: "<context>: <message>". Returns err's code. */
enum err_code err_prefix(struct err *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* For what a command was given (a file, a folder, a plan) and cannot use: an error that says that
 * it is not there, not what it should be or too large becomes ERR_USAGE, whose exit status is 2.
 * Others stay: what exists already, what does not verify, and whatever the environment could not
 * do. Returns err's code. */
enum err_code err_to_usage(struct err *err);

const char *err_name(enum err_code code); /* "INVALID" */
const char *err_text(enum err_code code); /* the text a client may see */
int err_exit_status(enum err_code code);  /* 0, 1, 2 or 3 (DESIGN.md section 3) */
int err_http_status(enum err_code code);
bool err_retryable(enum err_code code);

#endif
