/* The kinds of record in a log, and the ways a request can end. The numbers are stored in segment
 * frames: add at the end, never reorder. */
#ifndef TABLE_RECORD_KINDS_H
#define TABLE_RECORD_KINDS_H

/* clang-format off */
#define RECORD_KIND_TABLE(X) \
	/* name    number text */ \
	X(ADMIT,   1, "admit")   /* a request was admitted */ \
	X(SETTLE,  2, "settle")  /* what became of it */ \
	X(REFUSE,  3, "refuse")  /* a request, or several alike, was refused */ \
	X(UNKNOWN, 4, "unknown") /* admitted, and a crash hid what became of it */ \
	X(SUITE,   5, "suite")   /* a suite was registered or reviewed */ \
	X(RUN,     6, "run")     /* a run was opened or closed */ \
	X(ACT,     7, "act")     /* an administrative act */ \
	X(NOTICE,  8, "notice")  /* an organisation was told something */

#define RECORD_ENDING_TABLE(X) \
	X(FINISH,         "finish") \
	X(CLIENT_GONE,    "client_gone") \
	X(UPSTREAM_RESET, "upstream_reset") \
	X(UPSTREAM_ERROR, "upstream_error") \
	X(TIMEOUT,        "timeout") \
	X(LIMIT,          "limit") \
	X(REVOKED,        "revoked") \
	X(SHUTDOWN,       "shutdown")
/* clang-format on */

#endif
