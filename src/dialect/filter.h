/* Release V1: the final answer alone. Reasoning and log-probabilities are taken out of bodies and
 * streams, and what is left is what the provider's own clients can read: blocks and items are
 * numbered without gaps, events come in their order, whole. What is kept is listed
 * (filter_tables.c); whatever a provider adds later is left out until it is listed.
 *
 * Pure. A stream's filter holds no more than one event. */
#ifndef DIALECT_FILTER_H
#define DIALECT_FILTER_H

#include "dialect/dialect.h"

#define DIALECT_FILTER_BLOCKS_MAX 1024 /* blocks or items of one answer; a longer one fails */

struct dialect_filter {
	enum dialect_id dialect;
	struct sse sse;
	struct buf pruned;
	uint64_t dropped;  /* events: numbers of those that follow are lower by it */
	uint16_t next;     /* number of the next block that is kept */
	uint16_t *numbers; /* of each block: its new number + 1, or 0: left out or not seen */
	bool began;        /* an event was passed on */
	bool failed;
};

void dialect_filter_init(struct dialect_filter *filter, enum dialect_id dialect);
void dialect_filter_release(struct dialect_filter *filter);

/* The next piece of a stream, split anywhere; events that are complete by it are appended to `out`,
 * as far as they are released. False, for good, where one cannot be read (too large, no JSON, too
 * many blocks, no memory): nothing more may be passed on then. */
bool dialect_filter_feed(struct dialect_filter *filter, struct bytes piece, struct buf *out);

/* A plain answer. False where it is no JSON object or memory is out. */
bool dialect_filter_body(enum dialect_id dialect, struct bytes body, struct buf *out);

#endif
