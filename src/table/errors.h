/* Every way an operation can fail: name, exit status of a command that ends on it, HTTP status of a
 * request that ends on it, whether trying again can help, and the text a client may see. */
#ifndef TABLE_ERRORS_H
#define TABLE_ERRORS_H

/* clang-format off */
#define ERROR_TABLE(X) \
	/* name        exit http retry text */ \
	X(OK,          0,   200, 0, "") \
	X(USAGE,       2,   400, 0, "wrong use") \
	X(INVALID,     1,   400, 0, "invalid input") \
	X(TOO_LARGE,   1,   413, 0, "too large") \
	X(NOT_FOUND,   1,   404, 0, "not found") \
	X(EXISTS,      1,   409, 0, "exists already") \
	X(CONFLICT,    1,   409, 0, "conflicts with the present state") \
	X(DENIED,      1,   403, 0, "not allowed") \
	X(UNSUPPORTED, 1,   501, 0, "not supported by this build") \
	X(CORRUPT,     1,   500, 0, "stored data is damaged") \
	X(MISMATCH,    1,   400, 0, "does not verify") \
	X(PROTOCOL,    3,   502, 0, "the peer broke the protocol") \
	X(UPSTREAM,    3,   502, 1, "the upstream failed") \
	X(TIMEOUT,     3,   504, 1, "timed out") \
	X(NETWORK,     3,   502, 1, "cannot connect") \
	X(NO_MEMORY,   3,   503, 1, "out of memory") \
	X(NO_SPACE,    3,   503, 1, "no space left") \
	X(LOCKED,      3,   503, 1, "in use by another process") \
	X(ENVIRONMENT, 3,   503, 1, "the environment failed") \
	X(INTERRUPTED, 1,   503, 1, "interrupted")
/* clang-format on */

#endif
