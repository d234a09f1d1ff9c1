/* A growable buffer with a declared maximum. Failure (out of memory, or the maximum passed) is
 * sticky: later appends do nothing, and `failed` is checked once at the end. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/bytes.h"

#include <stdarg.h>

struct buf {
	char *data; /* owned; NUL-terminated after every append that worked */
	size_t size;
	size_t capacity;
	size_t max; /* most bytes it may hold */
	bool failed;
};

#define BUF_INIT(max_bytes)        \
	{                          \
		.max = (max_bytes) \
	}

void buf_init(struct buf *buf, size_t max);
/* A buffer in memory of the caller's, `size` >= 2 bytes, which it never outgrows. Not released. */
struct buf buf_over(char *memory, size_t size);
void buf_clear(struct buf *buf);   /* empties it and forgets a failure, keeps the memory */
void buf_release(struct buf *buf); /* frees the memory; usable again */

/* Room for `more` further bytes; false (and sticky failure) where there is none. */
bool buf_reserve(struct buf *buf, size_t more);

void buf_append(struct buf *buf, const void *data, size_t size);
void buf_append_bytes(struct buf *buf, struct bytes bytes);
void buf_append_cstr(struct buf *buf, const char *text);
void buf_append_char(struct buf *buf, char c);
/* Decimal, without printf: for hot paths. */
void buf_append_integer(struct buf *buf, int64_t value);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *format, va_list arguments)
	__attribute__((format(printf, 2, 0)));

/* Drops the first `count` bytes. */
void buf_consume(struct buf *buf, size_t count);

static inline struct bytes buf_bytes(const struct buf *buf)
{
	return (struct bytes){buf->data, buf->size};
}

#endif
