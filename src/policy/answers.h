/* Answers that a run was served, as digests under the gateway's key: what may stand in the later
 * turns of its conversations and in the slots of its judges. A place for each unit, sample and
 * model; kept from the settling of the answer to the end of the run. Workers write and read them
 * without a lock: a place is filled once. */
#ifndef POLICY_ANSWERS_H
#define POLICY_ANSWERS_H

#include "policy/script.h"

#include <stdatomic.h>

/* Of one run and model; a run that would have to keep more is not opened. */
#define ANSWERS_MAX (1u << 20)
/* Verdicts on one answer, by all judges and orders together, where the suite says nothing. */
#define ANSWERS_VERDICTS_DEFAULT 16u
#define ANSWERS_VERDICTS_MAX 64u

struct served {
	_Atomic uint32_t size;     /* one more than its bytes; 0: there is none */
	_Atomic uint32_t verdicts; /* that were asked for on it */
	uint8_t digest[SCRIPT_DIGEST_SIZE];
};

static inline bool served_is(const struct served *answer, const struct script_said *said)
{
	return atomic_load_explicit(&answer->size, memory_order_acquire) == said->size + 1u &&
	       memcmp(answer->digest, said->digest, SCRIPT_DIGEST_SIZE) == 0;
}

static inline void served_keep(struct served *answer, const struct script_said *said)
{
	memcpy(answer->digest, said->digest, SCRIPT_DIGEST_SIZE);
	atomic_store_explicit(&answer->size, said->size + 1u, memory_order_release);
}

#endif
