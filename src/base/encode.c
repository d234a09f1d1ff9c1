#include "base/encode.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#ifdef __SSE2__
/* The digits of sixteen half bytes: those above 9 lie 39 further on, at 'a'. */
static __m128i hex_of(__m128i halves)
{
	__m128i letters = _mm_cmpgt_epi8(halves, _mm_set1_epi8(9));
	__m128i digits = _mm_add_epi8(halves, _mm_set1_epi8('0'));
	return _mm_add_epi8(digits, _mm_and_si128(letters, _mm_set1_epi8(39)));
}

static void encode_sixteen(const unsigned char *in, char *out)
{
	const __m128i low_half = _mm_set1_epi8(15);
	__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)in);
	__m128i high = hex_of(_mm_and_si128(_mm_srli_epi16(bytes, 4), low_half));
	__m128i low = hex_of(_mm_and_si128(bytes, low_half));
	_mm_storeu_si128((__m128i *)(void *)out, _mm_unpacklo_epi8(high, low));
	_mm_storeu_si128((__m128i *)(void *)(out + 16), _mm_unpackhi_epi8(high, low));
}
#endif

void hex_digits_of(const void *data, size_t size, char *out)
{
	const unsigned char *in = data;
#ifdef __SSE2__
	for (; size >= 16; size -= 16, in += 16, out += 32)
		encode_sixteen(in, out);
#endif
	for (; size > 0; size--, in++) {
		*out++ = hex_digits[*in >> 4];
		*out++ = hex_digits[*in & 15];
	}
}

void hex_encode(const void *data, size_t size, char *out)
{
	hex_digits_of(data, size, out);
	out[2 * size] = '\0';
}

/* Eight digits in the order of memory, of a value below 10^8: first four digits in each half, then
 * two in each quarter (10486 / 2^20 is near enough to 1/100 for them). */
static uint64_t eight_digits(uint32_t value)
{
	uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
	uint64_t hundreds = (fours * 10486 >> 20) & UINT64_C(0x7f0000007f);
	return decimal_pairs(hundreds | (fours - 100 * hundreds) << 16);
}

/* Those without the zeros before them; the last one stays. */
static size_t put_first(uint32_t value, char *out)
{
	uint64_t digits = le64toh(eight_digits(value));
	unsigned zeros = (unsigned)__builtin_ctzll((digits ^ ASCII_ZEROS) | UINT64_C(1) << 56) / 8;
	digits = htole64(digits >> 8 * zeros);
	memcpy(out, &digits, 8);
	return 8 - zeros;
}

static void put_eight(uint32_t value, char *out)
{
	uint64_t digits = eight_digits(value);
	memcpy(out, &digits, 8);
}

size_t decimal_text(uint64_t value, char out[static DECIMAL_SIZE])
{
	const uint64_t eight = 100000000;
	if (value < 10) {
		out[0] = (char)('0' + value);
		return 1;
	}
	if (value < eight)
		return put_first((uint32_t)value, out);
	uint64_t high = value / eight;
	size_t size = high < eight ? put_first((uint32_t)high, out)
				   : put_first((uint32_t)(high / eight), out);
	if (high >= eight) {
		put_eight((uint32_t)(high % eight), out + size);
		size += 8;
	}
	put_eight((uint32_t)(value % eight), out + size);
	return size + 8;
}

/* One more than each digit's value: 0 for what is none. */
static const unsigned char hex_values[256] = {
	['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,
	['6'] = 7,  ['7'] = 8,  ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
	['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16, ['A'] = 11, ['B'] = 12,
	['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

int hex_digit_value(char digit)
{
	return hex_values[(unsigned char)digit] - 1;
}

#ifdef __SSE2__
/* The values of sixteen digits of either case; false if one is none. */
static bool decode_digits(const char *text, __m128i *out)
{
	__m128i digits = _mm_loadu_si128((const __m128i *)(const void *)text);
	__m128i number = _mm_sub_epi8(digits, _mm_set1_epi8('0'));
	__m128i letter = _mm_sub_epi8(_mm_or_si128(digits, _mm_set1_epi8(32)), _mm_set1_epi8('a'));
	__m128i is_number = _mm_cmpeq_epi8(_mm_min_epu8(number, _mm_set1_epi8(9)), number);
	__m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);
	__m128i value = _mm_add_epi8(letter, _mm_set1_epi8(10));
	*out = _mm_or_si128(_mm_and_si128(is_number, number), _mm_andnot_si128(is_number, value));
	return _mm_movemask_epi8(_mm_or_si128(is_number, is_letter)) == 0xffff;
}

/* 32 digits: the even ones of each half are the high halves of its bytes. */
static bool decode_sixteen(const char *text, unsigned char *out)
{
	__m128i halves[2];
	if (!decode_digits(text, &halves[0]) || !decode_digits(text + 16, &halves[1]))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		__m128i both =
			_mm_or_si128(_mm_slli_epi16(halves[i], 4), _mm_srli_epi16(halves[i], 8));
		halves[i] = _mm_and_si128(both, _mm_set1_epi16(255));
	}
	_mm_storeu_si128((__m128i *)(void *)out, _mm_packus_epi16(halves[0], halves[1]));
	return true;
}
#endif

bool hex_decode(struct bytes text, void *out, size_t size)
{
	unsigned char *to = out;
	size_t i = 0;
	if (text.size != 2 * size)
		return false;
#ifdef __SSE2__
	for (; i + 16 <= size; i += 16)
		if (!decode_sixteen(text.data + 2 * i, to + i))
			return false;
#endif
	for (; i < size; i++) {
		int high = hex_digit_value(text.data[2 * i]);
		int low = hex_digit_value(text.data[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		to[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

void base64_append(struct buf *out, const void *data, size_t size)
{
	const unsigned char *in = data;
	if (!buf_reserve(out, base64_size(size)))
		return;
	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		unsigned value = (unsigned)in[i] << 16;
		if (left > 1)
			value |= (unsigned)in[i + 1] << 8;
		if (left > 2)
			value |= in[i + 2];
		char group[4] = {base64_digits[value >> 18], base64_digits[value >> 12 & 63],
				 left > 1 ? base64_digits[value >> 6 & 63] : '=',
				 left > 2 ? base64_digits[value & 63] : '='};
		buf_append(out, group, 4);
	}
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	if (c == '/')
		return 63;
	return -1;
}

/* One group of four; `last` allows padding. Returns the bytes decoded, 0 if it is malformed. */
static size_t decode_group(const char *in, bool last, unsigned char out[3])
{
	size_t count = 3;
	if (last && in[3] == '=')
		count = in[2] == '=' ? 1 : 2;
	unsigned value = 0;
	for (size_t i = 0; i < 4; i++) {
		int digit = i <= count ? base64_value(in[i]) : 0;
		if (digit < 0)
			return 0;
		value = value << 6 | (unsigned)digit;
	}
	/* Unused bits must be zero, so that every byte string has one encoding (RFC 4648, 3.5). */
	if ((count == 1 && (value & 0xffff)) || (count == 2 && (value & 0xff)))
		return 0;
	out[0] = (unsigned char)(value >> 16);
	out[1] = (unsigned char)(value >> 8);
	out[2] = (unsigned char)value;
	return count;
}

bool base64_decode(struct bytes text, struct buf *out)
{
	if (text.size % 4)
		return false;
	for (size_t i = 0; i < text.size; i += 4) {
		unsigned char group[3];
		size_t count = decode_group(text.data + i, i + 4 == text.size, group);
		if (!count)
			return false;
		buf_append(out, group, count);
	}
	return !out->failed;
}

bool base64_decode_exact(struct bytes text, void *out, size_t size)
{
	unsigned char *to = out;
	size_t done = 0;
	if (text.size != base64_size(size))
		return false;
	for (size_t i = 0; i < text.size; i += 4) {
		unsigned char group[3];
		size_t count = decode_group(text.data + i, i + 4 == text.size, group);
		if (!count || done + count > size)
			return false;
		memcpy(to + done, group, count);
		done += count;
	}
	return done == size;
}

static void swap_alphabet(char *text, size_t size, const char from[2], const char to[2])
{
	for (size_t i = 0; i < size; i++)
		text[i] = text[i] == from[0] ? to[0] : text[i] == from[1] ? to[1] : text[i];
}

void base64url_append(struct buf *out, const void *data, size_t size)
{
	const unsigned char *in = data;
	/* Groups of three at a time, so that a buffer without room for the padding is enough. */
	for (size_t at = 0; at < size; at += 3) {
		char group[5];
		size_t count = size - at < 3 ? size - at : 3;
		struct buf text = buf_over(group, sizeof(group));
		base64_append(&text, in + at, count);
		swap_alphabet(group, 4, "+/", "-_");
		buf_append(out, group, count + 1);
	}
}

bool base64url_decode_exact(struct bytes text, void *out, size_t size)
{
	char padded[(BASE64URL_EXACT_MAX + 2) / 3 * 4];
	size_t padding = (3 - size % 3) % 3;
	if (size > BASE64URL_EXACT_MAX || text.size + padding != base64_size(size) ||
	    memchr(text.data, '+', text.size) || memchr(text.data, '/', text.size))
		return false;
	memcpy(padded, text.data, text.size);
	memset(padded + text.size, '=', padding);
	swap_alphabet(padded, text.size, "-_", "+/");
	return base64_decode_exact(bytes_of(padded, text.size + padding), out, size);
}
