/* FIPS 180-4, section 6.2.2: in plain C, with the SHA extensions of x86-64, and for many texts at
 * once in the lanes of AVX-512. */
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

/* ---- in lanes ---- */

bool sha256_has_lanes(void)
{
#if HAVE_INSTRUCTIONS
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
#else
	return false;
#endif
}

#if HAVE_INSTRUCTIONS
#define WITH_LANES __attribute__((target("avx512f,avx512bw")))

WITH_LANES static inline __m512i exclusive_or(__m512i a, __m512i b, __m512i c)
{
	return _mm512_ternarylogic_epi32(a, b, c, 0x96);
}

/* Word t of every text in words[t]: a transposed matrix of sixteen rows. */
WITH_LANES static inline void load_lanes(__m512i words[static 16],
					 const uint8_t *const from[static SHA256_LANES], size_t at)
{
	const __m512i swap =
		_mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
	__m512i rows[16], pairs[16];
	for (unsigned i = 0; i < 16; i++)
		rows[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(from[i] + at), swap);
	for (unsigned i = 0; i < 16; i += 2) {
		pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
		pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
	}
	for (unsigned i = 0; i < 16; i += 4) {
		rows[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
		rows[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
		rows[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
		rows[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
	}
	for (unsigned i = 0; i < 4; i++) {
		__m512i low = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
		__m512i low_odd = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
		__m512i high = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
		__m512i high_odd = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
		words[i] = _mm512_shuffle_i32x4(low, high, 0x88);
		words[i + 4] = _mm512_shuffle_i32x4(low_odd, high_odd, 0x88);
		words[i + 8] = _mm512_shuffle_i32x4(low, high, 0xdd);
		words[i + 12] = _mm512_shuffle_i32x4(low_odd, high_odd, 0xdd);
	}
}

/* The word of round t, in place of that of sixteen rounds before. */
WITH_LANES static inline void expand_lanes(__m512i words[static 16], unsigned t)
{
	__m512i x = words[(t + 1) & 15], y = words[(t + 14) & 15];
	__m512i s0 = exclusive_or(_mm512_ror_epi32(x, 7), _mm512_ror_epi32(x, 18),
				  _mm512_srli_epi32(x, 3));
	__m512i s1 = exclusive_or(_mm512_ror_epi32(y, 17), _mm512_ror_epi32(y, 19),
				  _mm512_srli_epi32(y, 10));
	__m512i sum = _mm512_add_epi32(words[(t + 9) & 15], s1);
	words[t & 15] = _mm512_add_epi32(_mm512_add_epi32(words[t & 15], s0), sum);
}

/* One round; the caller turns the variables instead of moving them. */
WITH_LANES static inline void round_lanes(__m512i v[static 8], unsigned t, __m512i word)
{
	__m512i a = v[-t & 7], b = v[(1 - t) & 7], c = v[(2 - t) & 7];
	__m512i e = v[(4 - t) & 7], f = v[(5 - t) & 7], g = v[(6 - t) & 7];
	__m512i *d = &v[(3 - t) & 7], *h = &v[(7 - t) & 7];
	__m512i s1 = exclusive_or(_mm512_ror_epi32(e, 6), _mm512_ror_epi32(e, 11),
				  _mm512_ror_epi32(e, 25));
	__m512i s0 = exclusive_or(_mm512_ror_epi32(a, 2), _mm512_ror_epi32(a, 13),
				  _mm512_ror_epi32(a, 22));
	__m512i choice = _mm512_ternarylogic_epi32(e, f, g, 0xca);
	__m512i majority = _mm512_ternarylogic_epi32(a, b, c, 0xe8);
	__m512i sum = _mm512_add_epi32(word, _mm512_set1_epi32((int)constants[t]));
	__m512i first = _mm512_add_epi32(_mm512_add_epi32(*h, sum), _mm512_add_epi32(s1, choice));
	*d = _mm512_add_epi32(*d, first);
	*h = _mm512_add_epi32(first, _mm512_add_epi32(s0, majority));
}

WITH_LANES void sha256_blocks_lanes(uint32_t *const state[static SHA256_LANES],
				    const uint8_t *const from[static SHA256_LANES], size_t count)
{
	uint32_t turned[8][SHA256_LANES];
	__m512i sums[8];
	for (unsigned lane = 0; lane < SHA256_LANES; lane++)
		for (unsigned i = 0; i < 8; i++)
			turned[i][lane] = state[lane][i];
	for (unsigned i = 0; i < 8; i++)
		sums[i] = _mm512_loadu_si512(turned[i]);
	for (size_t at = 0; at < 64 * count; at += 64) {
		__m512i words[16], v[8];
		load_lanes(words, from, at);
		memcpy(v, sums, sizeof(v));
#pragma GCC unroll 64
		for (unsigned t = 0; t < 64; t++) {
			if (t >= 16)
				expand_lanes(words, t);
			round_lanes(v, t, words[t & 15]);
		}
		for (unsigned i = 0; i < 8; i++)
			sums[i] = _mm512_add_epi32(sums[i], v[i]);
	}
	for (unsigned i = 0; i < 8; i++)
		_mm512_storeu_si512(turned[i], sums[i]);
	for (unsigned lane = 0; lane < SHA256_LANES; lane++)
		for (unsigned i = 0; i < 8; i++)
			state[lane][i] = turned[i][lane];
}

#else

void sha256_blocks_lanes(uint32_t *const state[static SHA256_LANES],
			 const uint8_t *const from[static SHA256_LANES], size_t count)
{
	for (unsigned lane = 0; lane < SHA256_LANES; lane++)
		sha256_blocks_plain(state[lane], from[lane], count);
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
