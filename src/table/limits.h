/* The limits a grant, org, model or key may carry: name (as in access.yaml and the rule
 * `limit.<name>`), how it is counted, and the window in which a spent limit is full again.
 *
 *   RATE   GCRA: refills continuously, burst equal to the limit
 *   SLOTS  held from reservation to settlement
 *   DAY, WEEK, MONTH   a budget of the UTC day, week (from Monday) or calendar month: of tokens, or
 *                      of money where the unit is USD
 */
#ifndef TABLE_LIMITS_H
#define TABLE_LIMITS_H

/* clang-format off */
#define LIMIT_TABLE(X) \
	/* name           id                kind   unit */ \
	X(RPM,            "rpm",            RATE,  "requests a minute") \
	X(INPUT_TPM,      "input_tpm",      RATE,  "input tokens a minute") \
	X(OUTPUT_TPM,     "output_tpm",     RATE,  "output tokens a minute") \
	X(CONCURRENCY,    "concurrency",    SLOTS, "requests at once") \
	X(TOKENS_PER_DAY, "tokens_per_day", DAY,   "tokens a day") \
	X(TOKENS_PER_WEEK,"tokens_per_week",WEEK,  "tokens a week") \
	X(USD_PER_MONTH,  "usd_per_month",  MONTH, "USD a month")
/* clang-format on */

enum limit {
#define X(name, id, kind, unit) LIMIT_##name,
	LIMIT_TABLE(X)
#undef X
		LIMIT_COUNT
};

/* A limit's value: 0 admits nothing. */
#define LIMIT_MAX ((int64_t)1000000000000)
#define LIMIT_NONE ((int64_t)-1)

#endif
