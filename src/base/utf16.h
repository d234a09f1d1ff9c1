/* Surrogates of UTF-16, as JSON's escapes write characters beyond U+FFFF (RFC 8259, section 7). */
#ifndef BASE_UTF16_H
#define BASE_UTF16_H

#include <stdbool.h>

static inline bool utf16_is_high(unsigned unit)
{
	return unit >= 0xd800 && unit <= 0xdbff;
}

static inline bool utf16_is_low(unsigned unit)
{
	return unit >= 0xdc00 && unit <= 0xdfff;
}

#endif
