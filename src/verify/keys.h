/* The keys that a reader trusts, and those that a bundle names for itself. */
#ifndef VERIFY_KEYS_H
#define VERIFY_KEYS_H

#include "env/env.h"
#include "ledger/key_rotation.h"
#include "ledger/note.h"
#include "ledger/trust_policy.h"

#define VERIFY_KEYS_MAX 256u
#define VERIFY_KEY_FILE_MAX ((size_t)1 << 20)

struct verify_keys {
	struct note_key *logs; /* owned */
	size_t log_count;
	uint8_t (*evaluators)[ED25519_KEY_SIZE]; /* owned */
	size_t evaluator_count;
	struct trust_policy *policy; /* owned: witnesses and quorum; NULL: none */
	size_t rotated;              /* logs' keys that came by rotation */
	struct buf notes;            /* of rotations, that the reader gave */
	struct key_rotation *handed; /* owned: the rotations of which notes were read */
	size_t handed_count;
};

/* From the texts of --key: keys, and files of keys, behind which notes may stand by which logs'
 * keys were handed on: they are followed. ERR_USAGE tells which is neither a key nor a file of
 * keys. `keys` is overwritten; release it in any case. */
enum err_code verify_keys_read(struct env *env, const char *const *texts, size_t count,
			       struct verify_keys *keys, struct err *err);
/* From a text with one key a line, the last word of it; empty lines and those that begin with # are
 * passed over. ERR_INVALID names `what` and the line. Added to `keys`. */
enum err_code verify_keys_parse(struct bytes text, const char *what, struct verify_keys *keys,
				struct err *err);
/* The file of --policy (C2SP tlog-policy): its logs' keys are added, and its witnesses kept.
 * ERR_USAGE names file and line of what is wrong. */
enum err_code verify_keys_policy(struct env *env, const char *path, struct verify_keys *keys,
				 struct err *err);
/* The text of a bundle's policy: a tlog-policy, or a list as for verify_keys_parse. ERR_INVALID. */
enum err_code verify_keys_own(struct bytes text, const char *what, struct verify_keys *keys,
			      struct err *err);
/* Notes by which logs' keys were handed on: where `keys` has the old one the new one is added.
 * ERR_MISMATCH or ERR_INVALID for one that is not signed by both of its keys. */
enum err_code verify_keys_follow(struct bytes notes, const char *what, struct verify_keys *keys,
				 struct err *err);
/* Reads the notes at `path`, if there are any. */
enum err_code verify_keys_follow_file(struct env *env, const char *path, const char *what,
				      struct verify_keys *keys, struct err *err);
/* Why a note about the log `origin` is signed by none of `keys`, of which some have its name, in
 * words: which key signed it, which there are, and what may be done. `whose` is where they are
 * from: "that you gave for it". */
void verify_keys_differ(const struct verify_keys *keys, const struct note *note, const char *origin,
			const char *whose, char *out, size_t size);
void verify_keys_release(struct verify_keys *keys);

/* The next key of that log from *at on (start with 0); NULL after the last. */
const struct note_key *verify_keys_next(const struct verify_keys *keys, const char *name,
					size_t *at);

#endif
