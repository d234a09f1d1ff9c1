/* The closed list of purposes (DESIGN.md section 2): name, whether requests must match a registered
 * suite, highest release level (that of purposes which bind is for named staff beyond V2), longest validity in days (0: any), the machine limits a request
 * under it never passes (-1: none), and whether this build enforces it. */
#ifndef TABLE_PURPOSES_H
#define TABLE_PURPOSES_H

/* clang-format off */
#define PURPOSE_TABLE(X) \
	/* name                 id                       binds release days rpm output tokens_per_day built */ \
	X(PRODUCT,              "product",               0,    3,      0,   -1, -1,    -1,            1) \
	X(CAPABILITY_BENCHMARK, "capability_benchmark",  1,    3,      90,  -1, -1,    -1,            1) \
	X(SAFETY_EVALUATION,    "safety_evaluation",     1,    3,      90,  -1, -1,    -1,            1) \
	X(INTEROP_TEST,         "interop_test",          0,    2,      90,  60, 256,   100000,        1) \
	X(INCIDENT_RESEARCH,    "incident_research",     0,    2,      30,  -1, -1,    -1,            1)

/* What leaves the gateway, by rising order: name, whether this build enforces it. */
#define RELEASE_TABLE(X) \
	X(V0, 1) \
	X(V1, 1) \
	X(V2, 1) \
	X(V3, 1)

/* Classes of suites. */
#define SUITE_CLASS_TABLE(X) \
	X(PUBLIC,   "public") \
	X(REVIEWED, "reviewed") \
	X(PRIVATE,  "private")

/* States of a grant; `expired` follows from its dates. */
#define GRANT_STATE_TABLE(X) \
	X(OFFERED,   "offered",   GRANT_OFFERED) \
	X(ACTIVE,    "active",    NONE) \
	X(SUSPENDED, "suspended", GRANT_SUSPENDED) \
	X(REVOKED,   "revoked",   GRANT_REVOKED) \
	X(EXPIRED,   "expired",   GRANT_DATES)

/* What an endpoint is for, seen from policy: whether it names a model, whether an evaluation
 * purpose binds its words to a suite, whether an answer uses up a sample. */
#define ENDPOINT_TABLE(X) \
	/* name         model binds sample */ \
	X(UNKNOWN,      0,    0,    0) \
	X(GENERATE,     1,    1,    1) \
	X(COUNT_TOKENS, 1,    1,    0) \
	X(MODELS,       0,    0,    0) \
	X(PARLEY,       0,    0,    0)
/* clang-format on */

enum purpose {
#define X(name, id, binds, release, days, rpm, output, day, built) PURPOSE_##name,
	PURPOSE_TABLE(X)
#undef X
		PURPOSE_COUNT
};

enum release {
#define X(name, built) RELEASE_##name,
	RELEASE_TABLE(X)
#undef X
		RELEASE_COUNT
};

enum suite_class {
#define X(name, id) SUITE_CLASS_##name,
	SUITE_CLASS_TABLE(X)
#undef X
		SUITE_CLASS_COUNT
};

enum grant_state {
#define X(name, id, rule) GRANT_##name,
	GRANT_STATE_TABLE(X)
#undef X
		GRANT_STATE_COUNT
};

enum endpoint_use {
#define X(name, model, binds, sample) ENDPOINT_USE_##name,
	ENDPOINT_TABLE(X)
#undef X
		ENDPOINT_USE_COUNT /* (ENDPOINT_… alone are dialect's kinds of endpoint) */
};

#endif
