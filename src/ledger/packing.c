#include "ledger/packing.h"

#include "base/encode.h"

#include <assert.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Shorter runs of digits stay as they are: each costs time, and most of what is to be won is in ids
 * and digests. */
#define RUN_MIN 32
/* A byte below this one is one less than the number of bytes behind it that stand for digits. */
#define CODES 32

/* Wherever a run begins, one of the blocks that follow each other is full of its digits. */
#define BLOCK 16
_Static_assert(RUN_MIN >= 2 * BLOCK - 1, "a run holds a whole block");
#define ALL_DIGITS 0xffffu

static bool is_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

#ifdef __SSE2__
typedef __m128i lowest;

static __m128i load(const void *bytes)
{
	return _mm_loadu_si128((const __m128i *)bytes);
}

/* One bit for each of sixteen bytes that is a code. */
static unsigned codes_in(__m128i bytes)
{
	const __m128i last = _mm_set1_epi8(CODES - 1);
	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(bytes, last), bytes));
}

/* One bit for each of sixteen bytes that is a digit. */
static unsigned digits_in(__m128i bytes)
{
	__m128i number = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
	__m128i letter = _mm_sub_epi8(bytes, _mm_set1_epi8('a'));
	__m128i is_number = _mm_cmpeq_epi8(_mm_min_epu8(number, _mm_set1_epi8(9)), number);
	__m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);
	return (unsigned)_mm_movemask_epi8(_mm_or_si128(is_number, is_letter));
}

static unsigned digits_at(const char *block)
{
	return digits_in(load(block));
}

static lowest lowest_init(void)
{
	return _mm_set1_epi8(-1);
}

static bool has_codes(lowest seen)
{
	return codes_in(seen) != 0;
}

/* Which of the block's bytes are digits; the lowest seen in each place is kept. */
static unsigned copy_block(const char *block, uint8_t *out, lowest *seen)
{
	__m128i bytes = load(block);
	_mm_storeu_si128((__m128i *)(void *)out, bytes);
	*seen = _mm_min_epu8(*seen, bytes);
	return digits_in(bytes);
}

/* The values of sixteen digits, each pair's in the low half of a word. */
static __m128i values(__m128i digits)
{
	__m128i letters = _mm_cmpgt_epi8(digits, _mm_set1_epi8('9'));
	__m128i halves = _mm_add_epi8(_mm_and_si128(digits, _mm_set1_epi8(15)),
				      _mm_and_si128(letters, _mm_set1_epi8(9)));
	__m128i both = _mm_or_si128(_mm_slli_epi16(halves, 4), _mm_srli_epi16(halves, 8));
	return _mm_and_si128(both, _mm_set1_epi16(255));
}

static void decode_sixteen(const char *digits, uint8_t *out)
{
	__m128i bytes = _mm_packus_epi16(values(load(digits)), values(load(digits + 16)));
	_mm_storeu_si128((__m128i *)(void *)out, bytes);
}
#else
typedef unsigned char lowest;

static unsigned digits_at(const char *block)
{
	unsigned digits = 0;
	for (unsigned i = 0; i < BLOCK; i++)
		digits |= (unsigned)is_digit(block[i]) << i;
	return digits;
}

static lowest lowest_init(void)
{
	return 255;
}

static bool has_codes(lowest seen)
{
	return seen < CODES;
}

static unsigned copy_block(const char *block, uint8_t *out, lowest *seen)
{
	memcpy(out, block, BLOCK);
	for (unsigned i = 0; i < BLOCK; i++)
		*seen = (unsigned char)block[i] < *seen ? (unsigned char)block[i] : *seen;
	return digits_at(block);
}
#endif

/* What two digits write, which are known to be some. */
static uint8_t byte_of(const char *digits)
{
	unsigned high = (unsigned char)digits[0], low = (unsigned char)digits[1];
	high = (high & 15) + 9 * (high >> 6);
	low = (low & 15) + 9 * (low >> 6);
	return (uint8_t)(high << 4 | low);
}

/* The last sixteen bytes of many are decoded together, whether or not some have been already. */
static void decode(const char *digits, size_t count, uint8_t *out)
{
#ifdef __SSE2__
	for (size_t i = 0; i + 16 < count; i += 16)
		decode_sixteen(digits + 2 * i, out + i);
	if (count >= 16) {
		decode_sixteen(digits + 2 * (count - 16), out + count - 16);
		return;
	}
#endif
	for (size_t i = 0; i < count; i++)
		out[i] = byte_of(digits + 2 * i);
}

/* A run of digits; the last of an odd number stays. */
static size_t pack_run(const char *digits, size_t count, uint8_t *out)
{
	size_t size = 0;
	while (count >= 4) {
		size_t bytes = count / 2 < CODES ? count / 2 : CODES;
		out[size] = (uint8_t)(bytes - 1);
		decode(digits, bytes, out + size + 1);
		size += 1 + bytes;
		digits += 2 * bytes;
		count -= 2 * bytes;
	}
	for (; count > 0; count--)
		out[size++] = (uint8_t)*digits++;
	return size;
}

static const char *run_end(const char *at, const char *end)
{
	while (end - at >= BLOCK) {
		unsigned others = ~digits_at(at) & ALL_DIGITS;
		if (others)
			return at + __builtin_ctz(others);
		at += BLOCK;
	}
	while (at < end && is_digit(*at))
		at++;
	return at;
}

/* Copies block after block; one full of digits belongs to a run, which is packed over what of it
 * has been copied. What is written never lies further on than what is read. */
size_t packing_pack(struct bytes text, uint8_t *out)
{
	const char *in = text.data, *end = text.size ? in + text.size : in;
	/* Which of the bytes of the block before `in` are digits of no run yet. */
	unsigned before = 0;
	lowest seen = lowest_init();
	uint8_t *to = out;
	assert(text.size <= RECORD_SIZE_MAX);
	while (end - in >= BLOCK) {
		unsigned digits = copy_block(in, to, &seen);
		if (digits == ALL_DIGITS) {
			unsigned back = (unsigned)__builtin_clz(~(before << 16));
			const char *stop = run_end(in + BLOCK, end);
			size_t count = (size_t)(stop - in) + back;
			if (count >= RUN_MIN) {
				to -= back;
				to += pack_run(in - back, count, to);
				in = stop;
				before = 0;
				continue;
			}
		}
		before = digits;
		in += BLOCK;
		to += BLOCK;
	}
	bool codes = has_codes(seen);
	for (; in < end; in++) {
		codes = codes || (unsigned char)*in < CODES;
		*to++ = (uint8_t)*in;
	}
	return codes ? 0 : (size_t)(to - out);
}

size_t packing_unpack(struct bytes packed, char out[static PACKING_ROOM])
{
	const unsigned char *in = (const unsigned char *)packed.data;
	const unsigned char *end = packed.size ? in + packed.size : in;
	size_t size = 0;
	while (in < end) {
#ifdef __SSE2__
		if (end - in >= 16 && RECORD_SIZE_MAX - size >= 16) {
			__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)in);
			_mm_storeu_si128((__m128i *)(void *)(out + size), bytes);
			unsigned codes = codes_in(bytes);
			unsigned plain = codes ? (unsigned)__builtin_ctz(codes) : 16;
			in += plain;
			size += plain;
			if (!codes)
				continue;
		}
#endif
		if (*in >= CODES) {
			if (size == RECORD_SIZE_MAX)
				return 0;
			out[size++] = (char)*in++;
			continue;
		}
		size_t bytes = (size_t)*in++ + 1;
		if (bytes < 2 || (size_t)(end - in) < bytes || RECORD_SIZE_MAX - size < 2 * bytes)
			return 0;
		hex_encode(in, bytes, out + size);
		in += bytes;
		size += 2 * bytes;
	}
	return size;
}
