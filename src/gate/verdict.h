/* Sealed answers (release V0): the answer is judged by `parley grade`, and the client gets a signed
 * verdict. The answer stays in the request's memory, is overwritten there, and is let out only
 * where both sides' seeds have chosen it for checking. */
#ifndef GATE_VERDICT_H
#define GATE_VERDICT_H

#include "gate/request.h"
#include "grade/verdict_note.h"

/* Usage under V0 is told, recorded and counted in steps of so many tokens. */
#define VERDICT_USAGE_STEP 64u
/* Verdicts leave, and are recorded, at whole steps of this since the request was complete: how long
 * an answer took tells no more than that of its length. */
#define VERDICT_TIME_STEP_NS 250000000ull

/* Whether the request's answer is sealed. */
bool gate_is_sealed(const struct gate_request *request);

enum gate_ready {
	GATE_READY_YES,
	GATE_READY_WAIT, /* the grader is being asked; the request runs again when it has answered
			  */
	GATE_READY_NO,   /* there is none, or it does not answer, or its queue is full */
};
/* Whether a grader is there to judge it: asked before anything is reserved or sent upstream. */
enum gate_ready gate_grader_ready(struct gate_request *request);

/* What the digests of the sealed answer are made with: told only with an opened answer, for a short
 * answer could be guessed from its digest. Drawn from the log's secret when the request is
 * admitted.
 */
void gate_draw_sealed_nonce(struct gate_request *request, const struct log *log);
struct bytes gate_sealed_nonce(const struct gate_request *request);
/* Where the answer's text is collected, and its tool calls (an array). */
struct buf *gate_sealed_text(struct gate_request *request);
json_t *gate_sealed_calls(struct gate_request *request);

/* The step between relay and settle: has the answer judged; does nothing for others. */
enum gate_next gate_step_grade(struct gate_request *request);
/* Rounds what is told, recorded and counted. */
void gate_round_usage(struct record_usage *usage);
/* Verdict and score for the settle record; false, without a score, where the answer could not be
 * judged, and without a verdict where there is none. */
bool gate_verdict_of(const struct gate_request *request, struct bytes *verdict, double *score);
/* Whether it was to be judged and could not be: the sample is given back. */
bool gate_is_ungraded(const struct gate_request *request);
/* Whether the answer itself goes out with its verdict: both sides' seeds had chosen it. */
bool gate_is_opened(const struct gate_request *request);
/* The client's answer, once the settle record is durable. */
void gate_send_verdict(struct gate_request *request);
/* Ends what is under way and overwrites the answer. NULL of a request without. */
void gate_sealed_release(struct gate_request *request);

#endif
