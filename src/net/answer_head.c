#include "net/answer_head.h"

#include "base/encode.h"

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

/* The head being written; what does not fit spoils it. */
struct writer {
	char *to;
	const char *end;
	bool spoiled;
};

static inline void put(struct writer *writer, const void *data, size_t size)
{
	if ((size_t)(writer->end - writer->to) < size) {
		writer->spoiled = true;
		return;
	}
	memcpy(writer->to, data, size);
	writer->to += size;
}

/* Most texts are literals: inlined, their lengths are known. */
static inline void put_text(struct writer *writer, const char *text)
{
	put(writer, text, strlen(text));
}

static inline void put_number(struct writer *writer, uint64_t value)
{
	char number[24];
	put(writer, number, decimal_text(value, number));
}

static void put_header(struct writer *writer, const struct http_header *header)
{
	struct bytes value = header->value;
	if (!header->name && value.size < 2)
		return;
	put_text(writer, "\r\n");
	if (header->name) {
		put_text(writer, header->name);
		put_text(writer, ": ");
	} else {
		value.size -= 2; /* finished lines: the last end comes with what follows */
	}
	put(writer, value.data, value.size);
}

size_t answer_head_write(const struct answer_head *head, char out[static ANSWER_HEAD_MAX])
{
	struct writer writer = {out, out + ANSWER_HEAD_MAX, false};
	put_text(&writer, "HTTP/1.1 ");
	put_number(&writer, (uint64_t)head->status);
	put_text(&writer, " ");
	put_text(&writer, http_reason(head->status));
	put_text(&writer, "\r\ndate: ");
	put_text(&writer, head->date);
	for (size_t i = 0; i < head->header_count; i++)
		put_header(&writer, &head->headers[i]);
	if (head->length >= 0 && head->status != 204 && head->status != 304) {
		put_text(&writer, "\r\ncontent-length: ");
		put_number(&writer, (uint64_t)head->length);
	} else if (head->chunked) {
		put_text(&writer, "\r\ntransfer-encoding: chunked");
	}
	if (head->close)
		put_text(&writer, "\r\nconnection: close");
	put_text(&writer, "\r\n\r\n");
	return writer.spoiled ? 0 : (size_t)(writer.to - out);
}
