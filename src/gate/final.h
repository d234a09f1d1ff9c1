/* Release V1: of an answer the client gets the final part alone (dialect/filter.h). */
#ifndef GATE_FINAL_H
#define GATE_FINAL_H

#include "dialect/filter.h"
#include "gate/request.h"

struct gate_final {
	struct dialect_filter filter; /* of a stream */
	bool streams;
	struct buf out;         /* what of the present piece is released */
	struct sha256 upstream; /* nonce and what the provider sent */
	uint8_t digest[SHA256_SIZE];
	bool whole; /* `digest` is that of all of it */
};

/* With the head of a 200: true also where the release needs none. False when memory is out. */
bool gate_final_start(struct gate_request *request, bool stream);
/* What the provider sent, for its digest. */
void gate_final_saw(struct gate_request *request, struct bytes piece);
/* What of a piece of a stream may go on, valid until the next call. False, for good, where the
 * stream cannot be read. */
bool gate_final_feed(struct gate_request *request, struct bytes piece, struct bytes *out);
/* A plain answer in place, all of it. False where it cannot be read. */
bool gate_final_body(struct gate_request *request);
/* Why nothing of the answer goes on: it has more text (reasoning and tool arguments included) than
 * any answer of as many tokens as were asked for at most can have. NULL: it does not. */
const char *gate_final_excess(const struct gate_request *request);
/* The provider's part is over. */
void gate_final_end(struct gate_request *request);
void gate_final_release(struct gate_request *request);

#endif
