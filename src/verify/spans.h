/* Whether many inclusion proofs can come from one log. Every proof names the hashes of some ranges
 * of records; two proofs that give one range two hashes show two histories, i.e. a fork, even where
 * no consistency proof is at hand. Pure. */
#ifndef VERIFY_SPANS_H
#define VERIFY_SPANS_H

#include "ledger/proof.h"

#define SPANS_MAX ((size_t)1 << 20) /* further ranges are compared but not kept */

struct span_entry;

struct spans {
	struct span_entry *entries; /* owned; open addressing */
	size_t count, capacity;
};

/* Takes a proof that was verified, of the record with hash `leaf` in the log number `log` (from 0,
 * of the same numbering for all calls). ERR_MISMATCH names the range that has two hashes. */
enum err_code spans_add(struct spans *spans, unsigned log, const struct proof *proof,
			const struct merkle_hash *leaf, const struct checkpoint *head,
			struct err *err);
void spans_release(struct spans *spans);

#endif
