#include "ledger/packing.h"

#include "base/encode.h"

#include <assert.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Shorter runs of digits stay as they are. */
#define RUN_MIN 16
/* A byte below this one is one less than the number of bytes behind it that stand for digits. */
#define CODES 32

/* The most words of sixty-four bits, one for each byte of a record, and one that holds none. */
#define WORDS_MAX (RECORD_SIZE_MAX / 64 + 1)

_Static_assert(RECORD_SIZE_MAX % 64 == 0, "words are whole");

#ifdef __SSE2__
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
static uint64_t digits_in(__m128i bytes)
{
	__m128i number = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
	__m128i letter = _mm_sub_epi8(bytes, _mm_set1_epi8('a'));
	__m128i is_number = _mm_cmpeq_epi8(_mm_min_epu8(number, _mm_set1_epi8(9)), number);
	__m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);
	return (uint64_t)_mm_movemask_epi8(_mm_or_si128(is_number, is_letter));
}

/* One bit for each of sixty-four bytes that is a digit. */
static uint64_t look(const char *text, bool *codes)
{
	__m128i a = load(text), b = load(text + 16), c = load(text + 32), d = load(text + 48);
	*codes |= codes_in(_mm_min_epu8(_mm_min_epu8(a, b), _mm_min_epu8(c, d))) != 0;
	return digits_in(a) | digits_in(b) << 16 | digits_in(c) << 32 | digits_in(d) << 48;
}
#else
static bool is_digit(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static uint64_t look(const char *text, bool *codes)
{
	uint64_t digits = 0;
	for (unsigned i = 0; i < 64; i++) {
		digits |= (uint64_t)is_digit((unsigned char)text[i]) << i;
		*codes |= (unsigned char)text[i] < CODES;
	}
	return digits;
}
#endif

/* Returns how many words the text takes, behind which one without a bit stands; 0 if there are
 * codes in it. */
static size_t look_at_all(struct bytes text, uint64_t words[static WORDS_MAX])
{
	size_t count = text.size / 64, rest = text.size % 64;
	bool codes = false;
	for (size_t i = 0; i < count; i++)
		words[i] = look(text.data + 64 * i, &codes);
	if (rest > 0) {
		char last[64];
		memset(last, ' ', sizeof(last));
		memcpy(last, text.data + 64 * count, rest);
		words[count++] = look(last, &codes);
	}
	words[count] = 0;
	return codes ? 0 : count;
}

/* One bit where RUN_MIN digits or more begin. */
static uint64_t run_starts(uint64_t word, uint64_t next)
{
	for (unsigned shift = 1; shift < RUN_MIN; shift *= 2) {
		word &= word >> shift | next << (64 - shift);
		next &= next >> shift;
	}
	return word;
}

static size_t run_end(const uint64_t *words, size_t begin)
{
	size_t i = begin / 64;
	uint64_t others = ~words[i] >> begin % 64;
	if (others)
		return begin + (unsigned)__builtin_ctzll(others);
	do
		i++;
	while (words[i] == ~(uint64_t)0);
	return 64 * i + (unsigned)__builtin_ctzll(~words[i]);
}

/* What two digits write, which are known to be some. */
static uint8_t byte_of(const char *digits)
{
	unsigned high = (unsigned char)digits[0], low = (unsigned char)digits[1];
	high = (high & 15) + 9 * (high >> 6);
	low = (low & 15) + 9 * (low >> 6);
	return (uint8_t)(high << 4 | low);
}

#ifdef __SSE2__
static void decode_eight(const char *digits, uint8_t *out)
{
	__m128i text = load(digits);
	__m128i letters = _mm_cmpgt_epi8(text, _mm_set1_epi8('9'));
	__m128i halves = _mm_add_epi8(_mm_and_si128(text, _mm_set1_epi8(15)),
				      _mm_and_si128(letters, _mm_set1_epi8(9)));
	__m128i both = _mm_or_si128(_mm_slli_epi16(halves, 4), _mm_srli_epi16(halves, 8));
	both = _mm_and_si128(both, _mm_set1_epi16(255));
	_mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(both, both));
}
#endif

/* The last eight bytes of many are decoded together, whether or not some have been already. */
static void decode(const char *digits, size_t count, uint8_t *out)
{
#ifdef __SSE2__
	for (size_t i = 0; i + 8 < count; i += 8)
		decode_eight(digits + 2 * i, out + i);
	if (count >= 8) {
		decode_eight(digits + 2 * (count - 8), out + count - 8);
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
	memcpy(out + size, digits, count);
	return size + count;
}

/* The runs are found in the words alone; the text is touched again only to be copied. */
size_t packing_pack(struct bytes text, uint8_t *out)
{
	uint64_t words[WORDS_MAX];
	size_t at = 0, size = 0;
	assert(text.size <= RECORD_SIZE_MAX);
	size_t count = look_at_all(text, words);
	for (size_t i = 0; i < count; i++) {
		uint64_t starts = run_starts(words[i], words[i + 1]);
		while (starts && at < 64 * (i + 1)) {
			size_t begin = 64 * i + (unsigned)__builtin_ctzll(starts);
			starts &= starts - 1;
			if (begin < at)
				continue;
			size_t end = run_end(words, begin);
			memcpy(out + size, text.data + at, begin - at);
			size += begin - at;
			size += pack_run(text.data + begin, end - begin, out + size);
			at = end;
			starts &= end < 64 * (i + 1) ? ~(uint64_t)0 << end % 64 : 0;
		}
	}
	if (count == 0)
		return 0;
	memcpy(out + size, text.data + at, text.size - at);
	return size + text.size - at;
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
