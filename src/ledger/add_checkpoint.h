/* The request of C2SP tlog-witness: an old size, a proof that the tree only grew since, and the
 * signed checkpoint to be cosigned. Pure; for the witness and for the log that asks it. */
#ifndef LEDGER_ADD_CHECKPOINT_H
#define LEDGER_ADD_CHECKPOINT_H

#include "ledger/checkpoint.h"

#define ADD_CHECKPOINT_PATH "/add-checkpoint"
#define ADD_CHECKPOINT_SIZE_TYPE "text/x.tlog.size" /* of the body of a 409 */
#define ADD_CHECKPOINT_PROOF_MAX 63
#define ADD_CHECKPOINT_BODY_MAX ((size_t)NOTE_SIZE_MAX + 64 * 64)

struct add_checkpoint {
	uint64_t old_size;
	size_t count;
	struct merkle_hash proof[MERKLE_PROOF_MAX]; /* at most ADD_CHECKPOINT_PROOF_MAX */
	struct bytes checkpoint;                    /* the signed note */
};

void add_checkpoint_format(const struct add_checkpoint *request, struct buf *out);
/* Borrows from `text`. ERR_INVALID says what is malformed; the checkpoint is not looked into. */
enum err_code add_checkpoint_parse(struct bytes text, struct add_checkpoint *out, struct err *err);

/* Whether a tree of old_size with old_root has only grown into *head. A tree of nothing needs, and
 * may have, no proof (RFC 9162 knows no proof from there: merkle_verify_consistency refuses it). */
bool add_checkpoint_is_consistent(const struct add_checkpoint *request,
				  const struct merkle_hash *old_root,
				  const struct checkpoint *head);

/* The answer to a checkpoint with this body: signature lines, of which those of `witness` are
 * appended to `out`; those of others are passed over. ERR_NOT_FOUND where there is none of its,
 * ERR_MISMATCH where one is wrong, ERR_INVALID for what is no list of signatures. */
enum err_code add_checkpoint_take(struct bytes body, struct bytes answer,
				  const struct note_key *witness, struct buf *out, struct err *err);
/* The body of a 409: a size and a newline. */
bool add_checkpoint_size(struct bytes body, uint64_t *size);

#endif
