/* Byte strings: a pointer and a size, never owned, not NUL-terminated. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const char *data;
	size_t size;
};

#define BYTES(literal) ((struct bytes){"" literal, sizeof(literal) - 1})
/* The same where a constant is wanted. */
#define BYTES_INIT(literal)                     \
	{                                       \
		"" literal, sizeof(literal) - 1 \
	}
/* For printf: "%.*s", BYTES_ARG(b) */
#define BYTES_ARG(b) (int)(b).size, (b).data

static inline struct bytes bytes_of(const void *data, size_t size)
{
	return (struct bytes){data, size};
}

static inline struct bytes bytes_from(const char *text)
{
	return (struct bytes){text, text ? strlen(text) : 0};
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool bytes_is(struct bytes a, const char *text)
{
	/* The first byte decides mostly, before the text is measured. */
	if (a.size == 0 || a.data[0] != text[0])
		return a.size == 0 && text[0] == '\0';
	return bytes_equal(a, bytes_from(text));
}

/* FNV-1a, for tables and sketches whose keys no stranger chooses. `hash` is BYTES_HASH_START, or
 * what came before. */
#define BYTES_HASH_START 0xcbf29ce484222325u
static inline uint64_t bytes_hash(uint64_t hash, struct bytes text)
{
	for (size_t i = 0; i < text.size; i++)
		hash = (hash ^ (uint8_t)text.data[i]) * 0x100000001b3u;
	return hash;
}

static inline bool bytes_starts_with(struct bytes a, struct bytes prefix)
{
	return a.size >= prefix.size &&
	       (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}

static inline bool bytes_ends_with(struct bytes a, struct bytes suffix)
{
	return a.size >= suffix.size && (suffix.size == 0 || memcmp(a.data + a.size - suffix.size,
								    suffix.data, suffix.size) == 0);
}

/* Where `part` first stands in the text; NULL: nowhere, or it is empty. */
static inline const char *bytes_find(struct bytes text, struct bytes part)
{
	return part.size && text.size >= part.size
		       ? memmem(text.data, text.size, part.data, part.size)
		       : NULL;
}

/* ASCII case folded on both sides. */
bool bytes_equal_fold(struct bytes a, struct bytes b);

/* memcmp order, shorter first among equals: -1, 0 or 1. */
int bytes_compare(struct bytes a, struct bytes b);

/* Equal in time that depends only on `size`; for digests and keys. */
bool bytes_equal_constant_time(const void *a, const void *b, size_t size);

/* The part before the first `separator` is returned and `*rest` is what follows it; without a
 * separator the whole is returned and `*rest` becomes empty with a NULL pointer. */
struct bytes bytes_split(struct bytes text, char separator, struct bytes *rest);

/* Without spaces and tabs at both ends. */
struct bytes bytes_trim(struct bytes text);

/* 1*DIGIT without sign, at most `max`; false if it is anything else. */
bool bytes_to_u64(struct bytes text, uint64_t max, uint64_t *out);

/* A NUL-terminated copy from malloc, NULL when memory is out. */
char *bytes_to_cstr(struct bytes text);

/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool bytes_is_utf8(struct bytes text);

/* The lowest `size` bytes (at most 8) of a number, the lowest first, as files of ours hold it. */
static inline void bytes_store_number(void *out, uint64_t value, unsigned size)
{
	uint8_t *byte = out;
	for (unsigned i = 0; i < size; i++)
		byte[i] = (uint8_t)(value >> (8 * i));
}
static inline uint64_t bytes_load_number(const void *data, unsigned size)
{
	const uint8_t *byte = data;
	uint64_t value = 0;
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)byte[i] << (8 * i);
	return value;
}

#endif
