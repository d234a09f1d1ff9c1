/* FIPS 180-4, section 6.2.2: in plain C, and with the SHA extensions of x86-64. */
#include "base/sha256_blocks.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define HAVE_INSTRUCTIONS 1
#else
#define HAVE_INSTRUCTIONS 0
#endif

/* Section 4.2.2. */
static const uint32_t constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

/* ---- plain C ---- */

static uint32_t rotated(uint32_t word, unsigned count)
{
	return word >> count | word << (32 - count);
}

static uint32_t big_endian(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void schedule(uint32_t words[static 64], const uint8_t *block)
{
	for (unsigned t = 0; t < 16; t++)
		words[t] = big_endian(block + 4 * (size_t)t);
	for (unsigned t = 16; t < 64; t++) {
		uint32_t x = words[t - 15], y = words[t - 2];
		uint32_t s0 = rotated(x, 7) ^ rotated(x, 18) ^ x >> 3;
		uint32_t s1 = rotated(y, 17) ^ rotated(y, 19) ^ y >> 10;
		words[t] = words[t - 16] + s0 + words[t - 7] + s1;
	}
}

static void block_plain(uint32_t state[static 8], const uint8_t *block)
{
	uint32_t words[64], v[8];
	schedule(words, block);
	memcpy(v, state, sizeof(v));
	for (unsigned t = 0; t < 64; t++) {
		uint32_t s1 = rotated(v[4], 6) ^ rotated(v[4], 11) ^ rotated(v[4], 25);
		uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
		uint32_t first = v[7] + s1 + choice + constants[t] + words[t];
		uint32_t s0 = rotated(v[0], 2) ^ rotated(v[0], 13) ^ rotated(v[0], 22);
		uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += first;
		v[0] = first + s0 + majority;
	}
	for (unsigned i = 0; i < 8; i++)
		state[i] += v[i];
}

void sha256_blocks_plain(uint32_t state[static 8], const uint8_t *data, size_t count)
{
	for (; count > 0; count--, data += 64)
		block_plain(state, data);
}

/* ---- with instructions ---- */

bool sha256_has_instructions(void)
{
#if HAVE_INSTRUCTIONS && defined(__GNUC__) && !defined(__clang__)
	return __builtin_cpu_supports("sha") && __builtin_cpu_supports("sse4.1");
#else
	return false; /* clang 14 cannot ask for "sha" */
#endif
}

#if HAVE_INSTRUCTIONS
#define WITH_SHA __attribute__((target("sha,sse4.1")))

/* The two halves of the state as the instructions want them: A B E F and C D G H, highest word
 * first. */
struct halves {
	__m128i abef, cdgh;
};

WITH_SHA static inline struct halves load_state(const uint32_t *state)
{
	__m128i abcd = _mm_loadu_si128((const __m128i *)(const void *)state);
	__m128i efgh = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
	abcd = _mm_shuffle_epi32(abcd, 0xb1);
	efgh = _mm_shuffle_epi32(efgh, 0x1b);
	return (struct halves){_mm_alignr_epi8(abcd, efgh, 8), _mm_blend_epi16(efgh, abcd, 0xf0)};
}

WITH_SHA static inline void store_state(uint32_t *state, struct halves halves)
{
	__m128i feba = _mm_shuffle_epi32(halves.abef, 0x1b);
	__m128i dchg = _mm_shuffle_epi32(halves.cdgh, 0xb1);
	_mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

WITH_SHA static inline void load_words(__m128i words[static 4], const uint8_t *block)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	for (unsigned i = 0; i < 4; i++)
		words[i] = _mm_shuffle_epi8(
			_mm_loadu_si128((const __m128i *)(const void *)(block + 16 * (size_t)i)),
			swap);
}

/* Four rounds. */
WITH_SHA static inline void rounds(struct halves *h, __m128i words, unsigned group)
{
	__m128i sum = _mm_add_epi32(
		words, _mm_loadu_si128((const __m128i *)(const void *)(constants + 4 * group)));
	h->cdgh = _mm_sha256rnds2_epu32(h->cdgh, h->abef, sum);
	h->abef = _mm_sha256rnds2_epu32(h->abef, h->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

/* The words sixteen rounds later, in place of those of `group`. */
WITH_SHA static inline void expand(__m128i words[static 4], unsigned group)
{
	__m128i last = words[(group + 3) & 3];
	__m128i seventh = _mm_alignr_epi8(last, words[(group + 2) & 3], 4);
	__m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(words[group & 3], words[(group + 1) & 3]),
				    seventh);
	words[group & 3] = _mm_sha256msg2_epu32(sum, last);
}

WITH_SHA static inline void add_halves(struct halves *h, struct halves before)
{
	h->abef = _mm_add_epi32(h->abef, before.abef);
	h->cdgh = _mm_add_epi32(h->cdgh, before.cdgh);
}

WITH_SHA void sha256_blocks_instructions(uint32_t state[static 8], const uint8_t *data,
					 size_t count)
{
	struct halves h = load_state(state);
	for (; count > 0; count--, data += 64) {
		struct halves before = h;
		__m128i words[4];
		load_words(words, data);
#pragma GCC unroll 16
		for (unsigned group = 0; group < 16; group++) {
			rounds(&h, words[group & 3], group);
			if (group < 12)
				expand(words, group);
		}
		add_halves(&h, before);
	}
	store_state(state, h);
}

WITH_SHA static void two_with_instructions(uint32_t *a_state, const uint8_t *a, uint32_t *b_state,
					   const uint8_t *b, size_t count)
{
	struct halves ha = load_state(a_state), hb = load_state(b_state);
	for (; count > 0; count--, a += 64, b += 64) {
		struct halves before_a = ha, before_b = hb;
		__m128i words_a[4], words_b[4];
		load_words(words_a, a);
		load_words(words_b, b);
#pragma GCC unroll 16
		for (unsigned group = 0; group < 16; group++) {
			rounds(&ha, words_a[group & 3], group);
			rounds(&hb, words_b[group & 3], group);
			if (group >= 12)
				continue;
			expand(words_a, group);
			expand(words_b, group);
		}
		add_halves(&ha, before_a);
		add_halves(&hb, before_b);
	}
	store_state(a_state, ha);
	store_state(b_state, hb);
}

#else

void sha256_blocks_instructions(uint32_t state[static 8], const uint8_t *data, size_t count)
{
	sha256_blocks_plain(state, data, count);
}

static void two_with_instructions(uint32_t *a_state, const uint8_t *a, uint32_t *b_state,
				  const uint8_t *b, size_t count)
{
	sha256_blocks_plain(a_state, a, count);
	sha256_blocks_plain(b_state, b, count);
}

#endif

/* ---- the choice ---- */

void sha256_blocks(uint32_t state[static 8], const uint8_t *data, size_t count)
{
	if (sha256_has_instructions())
		sha256_blocks_instructions(state, data, count);
	else
		sha256_blocks_plain(state, data, count);
}

void sha256_blocks_two(uint32_t a_state[static 8], const uint8_t *a, uint32_t b_state[static 8],
		       const uint8_t *b, size_t count)
{
	if (sha256_has_instructions()) {
		two_with_instructions(a_state, a, b_state, b, count);
	} else {
		sha256_blocks_plain(a_state, a, count);
		sha256_blocks_plain(b_state, b, count);
	}
}
