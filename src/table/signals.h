/* What is watched of a key, hour by hour: name, the least value that is worth a look, the hypothesis
 * that a case states, and what else may be behind it, each with what would tell. */
#ifndef TABLE_SIGNALS_H
#define TABLE_SIGNALS_H

/* clang-format off */
#define SIGNAL_TABLE(X) \
	/* name         id             floor what */ \
	X(NETWORKS,     "networks",    8,    "distinct networks (IPv4 /24, IPv6 /48) in an hour") \
	X(STACKS,       "stacks",      6,    "distinct client stacks (user-agent and SDK fields) in an hour") \
	X(CONCURRENCY,  "concurrency", 16,   "most requests at once in an hour")

#define SIGNAL_HYPOTHESIS_TABLE(X) \
	X(NETWORKS,     "the key is used from more places than its holder's: shared, sold or leaked") \
	X(STACKS,       "programs of several parties use the key: shared, sold or behind a relay") \
	X(CONCURRENCY,  "more work is done with the key than its holder's own")

/* Signal, a harmless explanation, and what would tell it from the hypothesis. */
#define SIGNAL_BENIGN_TABLE(X) \
	X(NETWORKS,     "carrier-grade NAT or a VPN gives one user many addresses", "the networks belong to one operator") \
	X(NETWORKS,     "serverless functions or CI jobs run wherever there is room", "the networks are a cloud's; the holder names it") \
	X(NETWORKS,     "an office moved, or people travel", "the old networks are gone, not joined") \
	X(STACKS,       "an SDK is being rolled out", "versions replace each other within days") \
	X(STACKS,       "one team uses several languages or tools", "the holder lists them") \
	X(STACKS,       "the customer's own product serves many users (which terms may allow)", "the grant's purpose is product") \
	X(CONCURRENCY,  "a batch or an evaluation was started", "a registered run explains it") \
	X(CONCURRENCY,  "retries after errors of the provider pile up", "refusals and provider errors rose in the same hour")
/* clang-format on */

#endif
