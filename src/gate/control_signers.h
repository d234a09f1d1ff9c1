/* The keys that sign what others hold: papers (grant.key) and verdicts (verdict.key). The first
 * start makes the files; an act records their public parts in the evaluation log, and a later start
 * refuses when a file is missing or holds another key than the recorded one, so that a lost key is
 * never silently replaced. A person replaces one with `parley serve --replace-key`, which is on
 * record too. Keys that were replaced stay known, so that what they signed can still be vouched
 * for: by a note with the log's signature. */
#ifndef GATE_CONTROL_SIGNERS_H
#define GATE_CONTROL_SIGNERS_H

#include "gate/control_internal.h"

/* Reads or makes the keys and holds them against the recorded ones. After the documents were read.
 */
enum err_code control_signers_open(struct control *control, const struct control_options *options,
				   struct err *err);
void control_signers_close(struct control *control);
/* Adds the act that records the keys, where they are not on record as they are. */
enum err_code control_signers_due(struct control_operation *operation, struct err *err);

/* The log's word for the key of a paper, by its keyid; appends nothing where it is not known here.
 */
enum err_code control_signers_vouch(const struct control *control, const char *keyid,
				    struct buf *out, struct err *err);

#endif
