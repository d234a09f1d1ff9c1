#include "net/answer_head.h"

#include "base/encode.h"

#include <assert.h>

const char *answer_date_text(struct answer_date *date, int64_t wall_ms)
{
	time_t second = (time_t)(wall_ms / 1000);
	if (second != date->second) {
		struct tm parts;
		gmtime_r(&second, &parts);
		strftime(date->text, sizeof(date->text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
		date->second = second;
	}
	return date->text;
}

static inline char *put(char *to, const char *end, const void *data, size_t size)
{
	if ((size_t)(end - to) < size)
		return to;
	memcpy(to, data, size);
	return to + size;
}

/* Most texts are literals: inlined, their lengths are known. */
static inline char *put_text(char *to, const char *end, const char *text)
{
	return put(to, end, text, strlen(text));
}

static char *put_header(char *to, const char *end, const struct http_header *header)
{
	struct bytes value = header->value;
	if (!header->name && value.size < 2)
		return to;
	to = put_text(to, end, "\r\n");
	if (header->name) {
		to = put_text(to, end, header->name);
		to = put_text(to, end, ": ");
	} else {
		value.size -= 2; /* finished lines: the last end comes with what follows */
	}
	return put(to, end, value.data, value.size);
}

size_t answer_head_write(const struct answer_head *head, char out[static ANSWER_HEAD_MAX])
{
	const char *end = out + ANSWER_HEAD_MAX;
	char number[24];
	char *to = put_text(out, end, "HTTP/1.1 ");
	to = put(to, end, number, decimal_text((uint64_t)head->status, number));
	to = put_text(to, end, " ");
	to = put_text(to, end, http_reason(head->status));
	to = put_text(to, end, "\r\ndate: ");
	to = put_text(to, end, head->date);
	for (size_t i = 0; i < head->header_count; i++)
		to = put_header(to, end, &head->headers[i]);
	if (head->length >= 0 && head->status != 204 && head->status != 304) {
		to = put_text(to, end, "\r\ncontent-length: ");
		to = put(to, end, number, decimal_text((uint64_t)head->length, number));
	} else if (head->chunked) {
		to = put_text(to, end, "\r\ntransfer-encoding: chunked");
	}
	if (head->close)
		to = put_text(to, end, "\r\nconnection: close");
	to = put_text(to, end, "\r\n\r\n");
	assert(to < end); /* headers are bounded by their makers */
	return (size_t)(to - out);
}
