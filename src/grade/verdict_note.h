/* How a gateway's verdicts on sealed answers are signed and by whom (docs/formats/verdict.md):
 * shared by the gateway, the harness and the verifier. */
#ifndef GRADE_VERDICT_NOTE_H
#define GRADE_VERDICT_NOTE_H

/* The name of a verdict key: the gateway's, with this behind. */
#define VERDICT_KEY_SUFFIX "/verdict"
/* First line of the note by which the log's key vouches for the verdict key. */
#define VERDICT_NOTE_TITLE "parley verdict key v1"
/* The type in the pre-authentication encoding that is signed, and of the answer. */
#define VERDICT_TYPE "application/vnd.parley.verdict+json"

#endif
