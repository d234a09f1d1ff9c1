#include "gate/nonces.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define TABLES 3u
#define PROBES 64u
#define SPAN_BITS 24
#define SPAN_MASK ((UINT64_C(1) << SPAN_BITS) - 1)

/* A slot: 40 bits of the nonce's digest, and the span's number plus one, which is never 0. */
struct nonces {
	struct hmac_key key;
	uint32_t mask;
	_Atomic uint64_t newest; /* span that a nonce was entered for */
	_Atomic uint64_t *tables[TABLES];
};

struct nonces *nonces_new(const uint8_t secret[static SHA256_SIZE], uint32_t slots)
{
	struct nonces *nonces = calloc(1, sizeof(*nonces));
	assert(slots >= 256 && (slots & (slots - 1)) == 0);
	if (!nonces)
		return NULL;
	hmac_key_init(&nonces->key, secret, SHA256_SIZE);
	nonces->mask = slots - 1;
	for (unsigned i = 0; i < TABLES; i++) {
		/* Pages of it come into being when they are written to. */
		nonces->tables[i] = calloc(slots, sizeof(*nonces->tables[i]));
		if (!nonces->tables[i]) {
			nonces_free(nonces);
			return NULL;
		}
	}
	return nonces;
}

void nonces_free(struct nonces *nonces)
{
	if (!nonces)
		return;
	for (unsigned i = 0; i < TABLES; i++)
		free(nonces->tables[i]);
	explicit_bzero(&nonces->key, sizeof(nonces->key));
	free(nonces);
}

/* A place and a tag that nobody outside can choose. */
static void place_of(const struct nonces *nonces, const uint8_t *signer, struct bytes nonce,
		     uint32_t *place, uint64_t *tag)
{
	uint8_t text[2 * SHA256_SIZE], digest[SHA256_SIZE];
	memcpy(text, signer, SHA256_SIZE);
	sha256_of(nonce.data, nonce.size, text + SHA256_SIZE);
	hmac_of(&nonces->key, text, sizeof(text), digest);
	memcpy(place, digest, sizeof(*place));
	memcpy(tag, digest + 8, sizeof(*tag));
}

/* Raises `newest`; false where the span is over. */
static bool is_open(struct nonces *nonces, uint64_t span)
{
	uint64_t newest = atomic_load(&nonces->newest);
	while (span > newest)
		if (atomic_compare_exchange_weak(&nonces->newest, &newest, span))
			return true;
	return span + 1 >= newest;
}

enum nonces_answer nonces_take(struct nonces *nonces, const uint8_t signer[static SHA256_SIZE],
			       struct bytes nonce, int64_t created)
{
	uint64_t span = (uint64_t)created / NONCES_SPAN_S + 1, tag;
	uint32_t place;
	place_of(nonces, signer, nonce, &place, &tag);
	uint64_t mine = tag << SPAN_BITS | (span & SPAN_MASK);
	_Atomic uint64_t *table = nonces->tables[span % TABLES];
	if (!is_open(nonces, span))
		return NONCES_PAST;
	for (unsigned probe = 0; probe < PROBES; probe++) {
		_Atomic uint64_t *slot = &table[(place + probe) & nonces->mask];
		uint64_t there = atomic_load(slot);
		for (;;) {
			uint64_t its_span = there & SPAN_MASK;
			if (there == mine)
				return NONCES_SEEN;
			if (its_span == (span & SPAN_MASK))
				break; /* another's: look further */
			if (its_span > (span & SPAN_MASK))
				return NONCES_PAST; /* the table has been given to a later span */
			if (atomic_compare_exchange_weak(slot, &there, mine))
				return NONCES_FRESH;
		}
	}
	return NONCES_FULL;
}
