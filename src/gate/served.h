/* What was answered to a leaf that conversations or judges go on from: kept with its run as a
 * digest, and told in the log under a mask, so that a restart knows it again. The text itself is in
 * memory for as long as the answer comes. */
#ifndef GATE_SERVED_H
#define GATE_SERVED_H

#include "gate/request.h"

#define GATE_DETAIL_MAX 2048

/* The words (canonical text) taken apart for the decision, where a suite of the grant has
 * conversations or judges; in the request's arena. Where memory is out they hold no answers. */
void gate_read_script(struct gate_request *request, struct bytes words);

/* With the head of a 200: true also where nothing asks for the answer. False when memory is out. */
bool gate_served_start(struct gate_request *request);
/* Where the observer puts the text, and the tool calls of a plain answer; NULL: nowhere. */
struct buf *gate_served_text(struct gate_request *request);
json_t *gate_served_calls(struct gate_request *request);
/* The whole answer was observed: its tool calls, if it was a stream, are in the observer. */
void gate_served_seen(struct gate_request *request);
/* Keeps it with its run: before the sample is kept. */
void gate_served_keep(struct gate_request *request);
void gate_served_release(struct gate_request *request);

/* The member `detail` of the admit record (step, what is judged, bytes) and of the settle record
 * (the masked digest): RFC 8785 JSON in `out` (GATE_DETAIL_MAX bytes); empty where there is none.
 */
struct bytes gate_served_admit_detail(const struct gate_request *request, char *out);
struct bytes gate_served_settle_detail(const struct gate_request *request, char *out);

/* The mask of an answer's digest: under the gateway's secret and the admit record's id. */
void gate_served_mask(const struct hmac_key *secret, const char *admit_id,
		      uint8_t digest[static SCRIPT_DIGEST_SIZE]);

#endif
