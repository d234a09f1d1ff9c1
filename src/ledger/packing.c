#include "ledger/packing.h"

#include "base/encode.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Shorter runs of digits stay as they are. */
#define RUN_MIN 16
/* A byte below this one is one less than the number of bytes behind it that stand for digits. */
#define CODES 32

static bool is_digit(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

#ifdef __SSE2__
/* One bit for each of sixteen bytes that is a code. */
static unsigned codes_in(__m128i bytes)
{
	const __m128i last = _mm_set1_epi8(CODES - 1);
	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(bytes, last), bytes));
}
#endif

static bool has_codes(struct bytes text)
{
	size_t i = 0;
#ifdef __SSE2__
	for (; i + 16 <= text.size; i += 16)
		if (codes_in(_mm_loadu_si128((const __m128i *)(const void *)(text.data + i))))
			return true;
#endif
	for (; i < text.size; i++)
		if ((unsigned char)text.data[i] < CODES)
			return true;
	return false;
}

/* A run of digits; the last of an odd number stays. */
static size_t pack_run(const char *digits, size_t count, uint8_t *out)
{
	size_t size = 0;
	while (count >= 4) {
		size_t bytes = count / 2 < CODES ? count / 2 : CODES;
		out[size] = (uint8_t)(bytes - 1);
		(void)hex_decode(bytes_of(digits, 2 * bytes), out + size + 1, bytes);
		size += 1 + bytes;
		digits += 2 * bytes;
		count -= 2 * bytes;
	}
	memcpy(out + size, digits, count);
	return size + count;
}

/* Looks at every sixteenth byte only, until it meets a digit: no run that counts lies between. */
size_t packing_pack(struct bytes text, uint8_t *out)
{
	const unsigned char *in = (const unsigned char *)text.data;
	size_t at = 0, size = 0, probe = RUN_MIN - 1;
	if (has_codes(text))
		return 0;
	while (probe < text.size) {
		if (!is_digit(in[probe])) {
			probe += RUN_MIN;
			continue;
		}
		size_t begin = probe, end = probe + 1;
		while (begin > at && is_digit(in[begin - 1]))
			begin--;
		while (end < text.size && is_digit(in[end]))
			end++;
		if (end - begin >= RUN_MIN) {
			memcpy(out + size, in + at, begin - at);
			size += begin - at;
			size += pack_run(text.data + begin, end - begin, out + size);
			at = end;
		}
		probe = end + RUN_MIN;
	}
	memcpy(out + size, in + at, text.size - at);
	return size + text.size - at;
}

size_t packing_unpack(struct bytes packed, char out[static PACKING_ROOM])
{
	const unsigned char *in = (const unsigned char *)packed.data, *end = in + packed.size;
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
