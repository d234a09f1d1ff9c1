/* What the witnesses of a policy say of checkpoints, and how the report tells it. */
#ifndef VERIFY_WITNESSES_H
#define VERIFY_WITNESSES_H

#include "verify/keys.h"
#include "verify/report.h"

/* By the reader's policy where he gave one, else by the bundle's own (`own` may be NULL), else
 * nothing. ERR_MISMATCH where a cosignature of a witness that is named is wrong. */
enum err_code witnesses_look(const struct verify_keys *reader, const struct verify_keys *own,
			     const struct note *note, struct trust_finding *out, struct err *err);
/* Of two checkpoints: what holds for both. */
void witnesses_join(struct trust_finding *all, const struct trust_finding *one);
/* " and one witness (NAME)", " and 3 witnesses (…)", or "" where none cosigned all, or they are not
 * enough. Only what the reader's own policy names vouches for anything. */
void witnesses_phrase(const struct verify_keys *reader, const struct trust_finding *finding,
		      char *out, size_t size);
/* Whom the verdict rests on: a line for each of them; and keys that were handed on. */
void witnesses_note(const struct verify_keys *reader, const struct trust_finding *finding,
		    struct verify_report *report);
/* Whether the reader gave a policy whose quorum is not met; why, for the report. */
bool witnesses_lack(const struct verify_keys *reader, const struct trust_finding *finding,
		    const char *origin, char *why, size_t size);

#endif
