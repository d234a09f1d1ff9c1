#include "base/bytes.h"

#include <stdlib.h>

static char fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool bytes_equal_fold(struct bytes a, struct bytes b)
{
	if (a.size != b.size)
		return false;
	size_t i = 0;
	for (uint64_t x, y; i + 8 <= a.size; i += 8) { /* mostly they are equal as they are */
		memcpy(&x, a.data + i, 8);
		memcpy(&y, b.data + i, 8);
		if (x != y)
			break;
	}
	for (; i < a.size; i++)
		if (fold(a.data[i]) != fold(b.data[i]))
			return false;
	return true;
}

int bytes_compare(struct bytes a, struct bytes b)
{
	size_t shared = a.size < b.size ? a.size : b.size;
	int order = shared ? memcmp(a.data, b.data, shared) : 0;
	if (order)
		return order < 0 ? -1 : 1;
	return a.size < b.size ? -1 : a.size > b.size;
}

bool bytes_equal_constant_time(const void *a, const void *b, size_t size)
{
	const unsigned char *x = a, *y = b;
	uint64_t difference = 0;
	/* Of what stands behind the barrier no compiler knows anything, so that it cannot leave
	 * early. */
	for (; size >= 8; size -= 8, x += 8, y += 8) {
		uint64_t one, other;
		memcpy(&one, x, 8);
		memcpy(&other, y, 8);
		difference |= one ^ other;
		__asm__ volatile("" : "+r"(difference));
	}
	for (; size > 0; size--) {
		difference |= (uint64_t)(*x++ ^ *y++);
		__asm__ volatile("" : "+r"(difference));
	}
	return difference == 0;
}

struct bytes bytes_split(struct bytes text, char separator, struct bytes *rest)
{
	const char *at = text.size ? memchr(text.data, separator, text.size) : NULL;
	if (!at) {
		*rest = (struct bytes){NULL, 0};
		return text;
	}
	size_t before = (size_t)(at - text.data);
	*rest = (struct bytes){at + 1, text.size - before - 1};
	return (struct bytes){text.data, before};
}

struct bytes bytes_trim(struct bytes text)
{
	while (text.size && (text.data[0] == ' ' || text.data[0] == '\t')) {
		text.data++;
		text.size--;
	}
	while (text.size && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
		text.size--;
	return text;
}

/* As many digits never overflow. */
#define DIGITS_SAFE 19

bool bytes_to_u64(struct bytes text, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;
	size_t i = 0;
	if (text.size == 0)
		return false;
	for (size_t safe = text.size < DIGITS_SAFE ? text.size : DIGITS_SAFE; i < safe; i++) {
		unsigned digit = (unsigned char)text.data[i] - '0';
		if (digit > 9)
			return false;
		value = value * 10 + digit;
	}
	for (; i < text.size; i++) {
		unsigned digit = (unsigned char)text.data[i] - '0';
		if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return false;
	}
	if (value > max)
		return false;
	*out = value;
	return true;
}

char *bytes_to_cstr(struct bytes text)
{
	char *copy = malloc(text.size + 1);
	if (!copy)
		return NULL;
	if (text.size)
		memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	return copy;
}

/* Length of the UTF-8 sequence at p (1-4), 0 if it is none. Table 3-7 of the Unicode Standard. */
static size_t sequence(const unsigned char *p, size_t left)
{
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	size_t length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (length > left)
		return 0;
	unsigned char low = 0x80, high = 0xbf;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

bool bytes_is_utf8(struct bytes text)
{
	const unsigned char *p = (const unsigned char *)text.data;
	for (size_t i = 0; i < text.size;) {
		size_t length = sequence(p + i, text.size - i);
		if (!length)
			return false;
		i += length;
	}
	return true;
}
