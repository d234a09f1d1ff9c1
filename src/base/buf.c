#include "base/buf.h"

#include "base/encode.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *buf, size_t max)
{
	*buf = (struct buf)BUF_INIT(max);
}

struct buf buf_over(char *memory, size_t size)
{
	assert(size >= 2);
	memory[0] = '\0';
	return (struct buf){.data = memory, .capacity = size - 1, .max = size - 1};
}

void buf_clear(struct buf *buf)
{
	buf->size = 0;
	buf->failed = false;
	if (buf->data)
		buf->data[0] = '\0';
}

void buf_release(struct buf *buf)
{
	free(buf->data);
	buf_init(buf, buf->max);
}

bool buf_reserve(struct buf *buf, size_t more)
{
	if (buf->failed)
		return false;
	if (more <= buf->capacity - buf->size && buf->capacity)
		return true;
	if (more > buf->max - buf->size || buf->size > buf->max) {
		buf->failed = true;
		return false;
	}
	size_t wanted = buf->capacity ? buf->capacity : 256;
	while (wanted < buf->size + more)
		wanted *= 2;
	if (wanted > buf->max)
		wanted = buf->max;
	char *grown = realloc(buf->data, wanted + 1); /* one more for the NUL */
	if (!grown) {
		buf->failed = true;
		return false;
	}
	buf->data = grown;
	buf->capacity = wanted;
	return true;
}

void buf_append(struct buf *buf, const void *data, size_t size)
{
	if (!buf_reserve(buf, size))
		return;
	if (size)
		memcpy(buf->data + buf->size, data, size);
	buf->size += size;
	buf->data[buf->size] = '\0';
}

void buf_append_bytes(struct buf *buf, struct bytes bytes)
{
	buf_append(buf, bytes.data, bytes.size);
}

void buf_append_cstr(struct buf *buf, const char *text)
{
	buf_append(buf, text, strlen(text));
}

void buf_append_char(struct buf *buf, char c)
{
	buf_append(buf, &c, 1);
}

void buf_append_integer(struct buf *buf, int64_t value)
{
	char digits[1 + DECIMAL_SIZE];
	uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	size_t sign = value < 0;
	digits[0] = '-';
	buf_append(buf, digits, sign + decimal_text(magnitude, digits + sign));
}

void buf_vprintf(struct buf *buf, const char *format, va_list arguments)
{
	va_list again;
	va_copy(again, arguments);
	int length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (length < 0) {
		buf->failed = true;
		return;
	}
	if (!buf_reserve(buf, (size_t)length))
		return;
	vsnprintf(buf->data + buf->size, (size_t)length + 1, format, arguments);
	buf->size += (size_t)length;
}

void buf_printf(struct buf *buf, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	buf_vprintf(buf, format, arguments);
	va_end(arguments);
}

void buf_consume(struct buf *buf, size_t count)
{
	assert(count <= buf->size);
	if (count == 0)
		return;
	buf->size -= count;
	memmove(buf->data, buf->data + count, buf->size + 1);
}
