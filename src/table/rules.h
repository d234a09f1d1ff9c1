/* Every reason for which a request is refused: the rule's name as clients and records see it, HTTP
 * status, whether waiting can help (1: `retry-after`; 0: `x-should-retry: false`; 2: both, for a
 * wait that no client should sleep through, because the SDKs would), and the sentence a refusal
 * starts with. Names are a contract: they may be added to, never changed. */
#ifndef TABLE_RULES_H
#define TABLE_RULES_H

/* clang-format off */
#define RULE_TABLE(X) \
	/* name                id                      http retry text */ \
	X(REQUEST_SYNTAX,      "request.syntax",       400, 0, "the request cannot be read") \
	X(REQUEST_TOO_LARGE,   "request.too_large",    413, 0, "the request is too large") \
	X(REQUEST_TIMEOUT,     "request.timeout",      408, 1, "the request did not arrive in time") \
	X(KEY_MISSING,         "key.missing",          401, 0, "no key was sent") \
	X(KEY_UNKNOWN,         "key.unknown",          401, 0, "this key is not known here") \
	X(KEY_REVOKED,         "key.revoked",          401, 0, "this key was revoked") \
	X(KEY_EXPIRED,         "key.expired",          401, 0, "this key has expired") \
	X(KEY_BINDING,         "key.binding",          401, 0, "the request does not prove the sender that key or grant demand") \
	X(KEY_NETWORK,         "key.network",          401, 0, "this key may not be used from this network") \
	X(ORG_BLOCKED,         "org.blocked",          403, 0, "this organisation is blocked") \
	X(ORG_RIVAL,           "org.rival",            403, 0, "evaluation grants are this organisation's only way in") \
	X(GRANT_OFFERED,       "grant.offered",        403, 0, "this grant was offered and is not countersigned yet") \
	X(GRANT_SUSPENDED,     "grant.suspended",      403, 0, "this grant is suspended") \
	X(GRANT_REVOKED,       "grant.revoked",        403, 0, "this grant was revoked") \
	X(GRANT_DATES,         "grant.dates",          403, 0, "this grant is not valid today") \
	X(ENDPOINT_UNKNOWN,    "endpoint.unknown",     404, 0, "there is no such endpoint here") \
	X(MODEL_UNKNOWN,       "model.unknown",        404, 0, "there is no such model here") \
	X(MODEL_NOT_GRANTED,   "model.not_granted",    404, 0, "this grant does not name the model") \
	X(MODEL_DIALECT,       "model.dialect",        404, 0, "this model is not served at this endpoint") \
	X(PARAMETER_LOGPROBS,  "parameter.logprobs",   400, 0, "log-probabilities are not released under this grant") \
	X(PARAMETER_LOGIT_BIAS,"parameter.logit_bias", 400, 0, "logit_bias is not allowed under this grant") \
	X(PARAMETER_N,         "parameter.n",          400, 0, "more than one answer to a request is not allowed under this grant") \
	X(PARAMETER_UNKNOWN,   "parameter.unknown",    400, 0, "the request has a member that an evaluation grant does not know") \
	X(PARAMETER_PARTS,     "parameter.parts",      400, 0, "only text parts are allowed under an evaluation grant") \
	X(PURPOSE_NONE,        "purpose.none",         403, 0, "the grant has no purpose that this request could serve") \
	X(PURPOSE_NOT_GRANTED, "purpose.not_granted",  403, 0, "the grant does not have the suite's purpose") \
	X(PURPOSE_CAP,         "purpose.cap",          403, 0, "the request passes what its purpose allows") \
	X(SUITE_UNBOUND,       "suite.unbound",        403, 0, "these words are no leaf of a suite registered under this grant") \
	X(SUITE_CLASS,         "suite.class",          403, 0, "suites of this class are not allowed under this grant") \
	X(SUITE_SETTINGS,      "suite.settings",       403, 0, "the settings are not the suite's") \
	X(SUITE_RUN,           "suite.run",            403, 0, "no open run fits the request") \
	X(SUITE_SAMPLES,       "suite.samples",        403, 0, "the samples of this leaf are used up") \
	X(SUITE_BUDGET,        "suite.budget",         403, 0, "the registration passes the grant's budget of suites") \
	X(SUITE_SCORERS,       "suite.scorers",        403, 0, "a verdict needs a scorer of the gateway's own for every leaf") \
	X(RELEASE_VERDICT,     "release.verdict",      403, 0, "this grant releases verdicts only, and the request does not ask for one") \
	X(RELEASE_LEVEL,       "release.level",        403, 0, "this grant does not release what the request asks for") \
	X(LIMIT_RPM,           "limit.rpm",            429, 1, "too many requests a minute") \
	X(LIMIT_INPUT_TPM,     "limit.input_tpm",      429, 1, "too many input tokens a minute") \
	X(LIMIT_OUTPUT_TPM,    "limit.output_tpm",     429, 1, "too many output tokens a minute") \
	X(LIMIT_CONCURRENCY,   "limit.concurrency",    429, 1, "too many requests at once") \
	X(LIMIT_TOKENS_PER_DAY,"limit.tokens_per_day", 429, 2, "the day's tokens are used up") \
	X(LIMIT_TOKENS_PER_WEEK,"limit.tokens_per_week",429,2,"the week's tokens are used up") \
	X(LIMIT_USD_PER_MONTH, "limit.usd_per_month",  429, 2, "the month's money is used up") \
	X(LOG_UNAVAILABLE,     "log.unavailable",      503, 1, "the log cannot take another record") \
	X(STORE_UNAVAILABLE,   "store.unavailable",    503, 1, "the store cannot be written") \
	X(GRADE_UNAVAILABLE,   "grade.unavailable",    503, 1, "no grader is there to judge the answer") \
	X(GATEWAY_BUSY,        "gateway.busy",         503, 1, "the gateway is at its own limit") \
	X(GATEWAY_SHUTDOWN,    "gateway.shutdown",     503, 1, "the gateway is shutting down")
/* clang-format on */

enum rule {
	RULE_NONE,
#define X(name, id, http, retry, text) RULE_##name,
	RULE_TABLE(X)
#undef X
		RULE_COUNT
};

#endif
