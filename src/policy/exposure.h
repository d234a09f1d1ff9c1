/* The exposure ledger's cells: which leaves of a suite a provider has seen, and when first. One for
 * every root and provider, shared by all runs over suites with that root; a counted reference. */
#ifndef POLICY_EXPOSURE_H
#define POLICY_EXPOSURE_H

#include "base/sha256.h"

#include <stdatomic.h>
#include <stdbool.h>

#define EXPOSURE_PROVIDER_SIZE 128

struct exposure {
	_Atomic unsigned references;
	struct exposure *next; /* the owner's list */
	uint8_t root[SHA256_SIZE];
	char provider[EXPOSURE_PROVIDER_SIZE];
	uint32_t leaf_count;
	_Atomic bool changed;       /* since the owner last looked */
	_Atomic int64_t first_ms[]; /* of each leaf, Unix time; 0: never */
};

/* One reference, the caller's. NULL when memory is out or the name is too long. */
struct exposure *exposure_new(const uint8_t root[static SHA256_SIZE], const char *provider,
			      uint32_t leaf_count);
struct exposure *exposure_hold(struct exposure *exposure);
void exposure_drop(struct exposure *exposure); /* NULL is fine */

/* The leaf goes to the provider now; from any thread. Whether it had been seen before `since_ms`,
 * when the run was opened. */
bool exposure_note(struct exposure *exposure, uint32_t leaf, int64_t now_ms, int64_t since_ms);
/* Whether the provider had seen the leaf before `since_ms`. */
bool exposure_before(const struct exposure *exposure, uint32_t leaf, int64_t since_ms);
/* At start: the leaf was seen at that time, or earlier. */
void exposure_restore(struct exposure *exposure, uint32_t leaf, int64_t first_ms);

#endif
