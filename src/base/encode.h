/* Decimal, hexadecimal and base64 (RFC 4648) texts, strict on decoding. */
#ifndef BASE_ENCODE_H
#define BASE_ENCODE_H

#include "base/buf.h"

#include <endian.h>

/* Decimal digits of the value into `out`, without NUL; returns how many. */
#define DECIMAL_SIZE 20
size_t decimal_text(uint64_t value, char out[static DECIMAL_SIZE]);

/* Four numbers below 100, the first in the lowest sixteen bits, as eight digits in the order of
 * memory: all together (103 / 1024 is near enough to 1/10 for them). */
#define ASCII_ZEROS UINT64_C(0x3030303030303030)
static inline uint64_t decimal_pairs(uint64_t numbers)
{
	uint64_t tens = (numbers * 103 >> 10) & UINT64_C(0x000f000f000f000f);
	return htole64(ASCII_ZEROS + tens + ((numbers - 10 * tens) << 8));
}

/* Lower case; `out` holds 2 * size bytes. */
void hex_digits_of(const void *data, size_t size, char *out);
/* The same, and a NUL. */
void hex_encode(const void *data, size_t size, char *out);
/* 0 to 15 for a digit of either case, else -1. */
int hex_digit_value(char digit);
/* Exactly 2 * size digits of either case; false otherwise. */
bool hex_decode(struct bytes text, void *out, size_t size);

/* The standard alphabet with padding. */
void base64_append(struct buf *out, const void *data, size_t size);
/* Appends the decoded bytes; false on anything but canonical padded base64. */
bool base64_decode(struct bytes text, struct buf *out);
/* Exactly `size` bytes into `out`; false otherwise. */
bool base64_decode_exact(struct bytes text, void *out, size_t size);
/* The URL-safe alphabet without padding (RFC 4648, section 5), as JOSE has it. */
void base64url_append(struct buf *out, const void *data, size_t size);
/* Exactly `size` bytes, at most BASE64URL_EXACT_MAX, into `out`; false otherwise. */
#define BASE64URL_EXACT_MAX 96
bool base64url_decode_exact(struct bytes text, void *out, size_t size);
/* Bytes that base64 of `size` bytes takes, without NUL. */
static inline size_t base64_size(size_t size)
{
	return (size + 2) / 3 * 4;
}

#endif
