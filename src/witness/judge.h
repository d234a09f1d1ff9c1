/* What a witness answers to add-checkpoint (C2SP tlog-witness): a function of the request, the keys
 * it follows and what it cosigned last. Pure. */
#ifndef WITNESS_JUDGE_H
#define WITNESS_JUDGE_H

#include "ledger/add_checkpoint.h"

/* The latest checkpoint that was cosigned of a log. */
struct witness_head {
	char origin[NOTE_NAME_MAX + 1];
	uint64_t size;
	struct merkle_hash root;
};

struct witness_request {
	struct add_checkpoint add;
	struct note note;
	struct checkpoint head;
};

/* Reads and authenticates: 200, or 400 (malformed), 404 (no key of this origin is followed), 403
 * (none of its keys has signed, or one of them wrongly). `out` borrows from `body`. `err` says why.
 */
int witness_read(const struct note_key *keys, size_t count, struct bytes body,
		 struct witness_request *out, struct err *err);
/* Against what was cosigned last (NULL: nothing yet): 200 where it may be cosigned, 400 (the old
 * size is above the new one), 409 (the old size is not the last one's), 422 (the proof does not
 * hold, or the tree of that size was another one: then the log has forked). */
int witness_judge(const struct witness_request *request, const struct witness_head *last,
		  struct err *err);

#endif
