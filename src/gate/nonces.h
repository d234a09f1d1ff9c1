/* The nonces of signed requests that were taken, so that none is taken twice: one table for all
 * workers, without a lock.
 *
 * A signature is taken within NONCES_WINDOW_S of its time of creation, so that a nonce has to be
 * known for twice as long. Time is cut into spans of NONCES_SPAN_S, longer than that; a nonce goes
 * by its creation into the table of its span, of which two at most are open at once and three
 * exist. A slot carries its span's number: what is left of an older span is free. Within a span
 * nothing is ever removed, so that whoever looks along the same places finds what another entered.
 *
 * The bound: NONCES_SLOTS in a span. A signature whose places are all taken is refused (never
 * admitted unseen): that happens first when six tenths of the slots are taken, by some 5,000 signed
 * requests a second for 128 seconds on end. Only requests whose signature was good
 * are entered: a stranger fills nothing.
 *
 * Nothing is kept over a restart. Signatures created at or before it are refused; those of clients
 * whose clock is ahead can be replayed for as long as it is ahead (docs/threat-model.md). */
#ifndef GATE_NONCES_H
#define GATE_NONCES_H

#include "base/sha256.h"

#define NONCES_WINDOW_S 60
#define NONCES_SPAN_S 128
#define NONCES_SLOTS (1u << 20)

enum nonces_answer {
	NONCES_FRESH,
	NONCES_SEEN,
	NONCES_FULL,
	NONCES_PAST, /* of a span that is over: the clock was put back */
};

struct nonces;

/* `secret` keys the places; `slots` is a power of two of at least 256. NULL when memory is out. */
struct nonces *nonces_new(const uint8_t secret[static SHA256_SIZE], uint32_t slots);
void nonces_free(struct nonces *nonces); /* NULL is fine */

/* Any thread. `created` in Unix seconds, not negative; the caller has compared it with the clock.
 * `signer` is the thumbprint of the key whose nonce it is. */
enum nonces_answer nonces_take(struct nonces *nonces, const uint8_t signer[static SHA256_SIZE],
			       struct bytes nonce, int64_t created);

#endif
