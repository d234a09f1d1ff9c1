#include "bench/text.h"

#include <stdio.h>

/* The character at the beginning of `text` (not empty): its size in bytes and its code point; size
 * 1 and UINT32_MAX for a byte that begins no valid one. */
static size_t next_character(struct bytes text, uint32_t *point)
{
	unsigned char first = (unsigned char)text.data[0];
	size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	if (size > text.size || !bytes_is_utf8(bytes_of(text.data, size))) {
		*point = UINT32_MAX;
		return 1;
	}
	uint32_t value = size == 1 ? first : first & (0x7fu >> size);
	for (size_t i = 1; i < size; i++)
		value = value << 6 | ((unsigned char)text.data[i] & 0x3fu);
	*point = value;
	return size;
}

/* Controls (C0, DEL, C1) and characters that change the direction or are invisible on purpose. */
static bool is_hidden(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0) ||
	       (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
	       (point >= 0x2060 && point <= 0x206f) || point == 0xfeff ||
	       (point >= 0xe0000 && point <= 0xe007f);
}

static void append_escape(struct buf *out, uint32_t point, char byte)
{
	if (point == '\n')
		buf_append_cstr(out, "\\n");
	else if (point == '\t')
		buf_append_cstr(out, "\\t");
	else if (point == '\r')
		buf_append_cstr(out, "\\r");
	else if (point == UINT32_MAX || point < 0x100)
		buf_printf(out, "\\x%02x", (unsigned char)byte);
	else
		buf_printf(out, "\\u%04x", point);
}

void text_append_line(struct buf *out, struct bytes text, size_t limit)
{
	size_t taken = 0;
	while (taken < text.size) {
		struct bytes rest = bytes_of(text.data + taken, text.size - taken);
		uint32_t point;
		size_t size = next_character(rest, &point);
		if (taken + size > limit) {
			buf_append_cstr(out, "…");
			return;
		}
		/* C1 controls are two bytes long in UTF-8. */
		if (point >= 0x80 && point < 0xa0)
			buf_printf(out, "\\x%02x", point);
		else if (is_hidden(point) || point == UINT32_MAX)
			append_escape(out, point, rest.data[0]);
		else
			buf_append(out, rest.data, size);
		taken += size;
	}
}

void text_line(char *out, size_t size, struct bytes text)
{
	struct buf line = BUF_INIT(8 * size + 64);
	text_append_line(&line, text, size);
	size_t used = line.failed ? 0 : line.size;
	if (used >= size) {
		used = size - 1;
		while (used > 0 && ((unsigned char)line.data[used] & 0xc0) == 0x80)
			used--;
	}
	if (used > 0)
		memcpy(out, line.data, used);
	out[used] = '\0';
	buf_release(&line);
}

static const char *entity(uint32_t point)
{
	switch (point) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

void text_append_html(struct buf *out, struct bytes text, size_t limit)
{
	size_t taken = 0;
	while (taken < text.size) {
		struct bytes rest = bytes_of(text.data + taken, text.size - taken);
		uint32_t point;
		size_t size = next_character(rest, &point);
		if (taken + size > limit) {
			buf_append_cstr(out, "…");
			return;
		}
		const char *named = entity(point);
		if (named)
			buf_append_cstr(out, named);
		else if (point == '\n' || point == '\t')
			buf_append_char(out, (char)point);
		else if (point >= 0x80 && point < 0xa0)
			buf_printf(out, "\\x%02x", point);
		else if (is_hidden(point) || point == UINT32_MAX)
			append_escape(out, point, rest.data[0]);
		else
			buf_append(out, rest.data, size);
		taken += size;
	}
}

void text_append_clean(struct buf *out, struct bytes text)
{
	if (bytes_is_utf8(text) && !memchr(text.data ? text.data : "", '\0', text.size)) {
		buf_append_bytes(out, text);
		return;
	}
	size_t taken = 0;
	while (taken < text.size) {
		struct bytes rest = bytes_of(text.data + taken, text.size - taken);
		uint32_t point;
		size_t size = next_character(rest, &point);
		if (point == UINT32_MAX || point == 0)
			buf_append_cstr(out, "\xef\xbf\xbd");
		else
			buf_append(out, rest.data, size);
		taken += size;
	}
}

void text_append_count(struct buf *out, uint64_t count)
{
	char digits[24];
	int size = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
	for (int i = 0; i < size; i++) {
		if (i > 0 && (size - i) % 3 == 0)
			buf_append_char(out, ',');
		buf_append_char(out, digits[i]);
	}
}

void text_append_duration(struct buf *out, uint64_t milliseconds)
{
	uint64_t seconds = milliseconds / 1000;
	if (milliseconds < 1000)
		buf_printf(out, "%llu ms", (unsigned long long)milliseconds);
	else if (seconds < 60)
		buf_printf(out, "%.1f s", (double)milliseconds / 1000);
	else if (seconds < 3600)
		buf_printf(out, "%llu min %02llu s", (unsigned long long)(seconds / 60),
			   (unsigned long long)(seconds % 60));
	else
		buf_printf(out, "%llu h %02llu min", (unsigned long long)(seconds / 3600),
			   (unsigned long long)(seconds / 60 % 60));
}

void text_append_usd(struct buf *out, double usd)
{
	buf_printf(out, usd != 0 && usd < 1 ? "$%.4f" : "$%.2f", usd);
}

static bool is_wide(uint32_t point)
{
	return (point >= 0x1100 && point <= 0x115f) || (point >= 0x2e80 && point <= 0xa4cf) ||
	       (point >= 0xac00 && point <= 0xd7a3) || (point >= 0xf900 && point <= 0xfaff) ||
	       (point >= 0xfe30 && point <= 0xfe6f) || (point >= 0xff00 && point <= 0xff60) ||
	       (point >= 0x1f300 && point <= 0x1faff) || (point >= 0x20000 && point <= 0x3fffd);
}

size_t text_columns(struct bytes text)
{
	size_t columns = 0;
	while (text.size > 0) {
		uint32_t point;
		size_t size = next_character(text, &point);
		bool combining = point >= 0x300 && point <= 0x36f;
		columns += combining ? 0 : is_wide(point) ? 2 : 1;
		text = bytes_of(text.data + size, text.size - size);
	}
	return columns;
}
