#include "base/json_writer.h"

#include "base/encode.h"
#include "base/json.h"

void json_write_u64(struct json_writer *writer, uint64_t value)
{
	char digits[DECIMAL_SIZE];
	if (!writer->failed && writer->capacity - writer->size >= DECIMAL_SIZE)
		writer->size += decimal_text(value, writer->out + writer->size);
	else
		json_write(writer, digits, decimal_text(value, digits));
}

static void put_escape(struct json_writer *writer, unsigned char c)
{
	static const char short_of[0x20] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
	static const char hex[] = "0123456789abcdef";
	if (c == '"' || c == '\\') {
		json_write(writer, (const char[]){'\\', (char)c}, 2);
	} else if (short_of[c]) {
		json_write(writer, (const char[]){'\\', short_of[c]}, 2);
	} else {
		json_write(writer, "\\u00", 4);
		json_write(writer, (const char[]){hex[c >> 4], hex[c & 15]}, 2);
	}
}

/* The bytes of the UTF-8 sequence at the start of `text`; 0 if there is none. */
static size_t sequence_size(struct bytes text)
{
	unsigned char c = (unsigned char)text.data[0];
	size_t size = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	return size <= text.size && bytes_is_utf8((struct bytes){text.data, size}) ? size : 0;
}

static void put_rest(struct json_writer *writer, struct bytes text)
{
	while (text.size > 0 && !writer->failed) {
		size_t size = json_plain_run(text);
		json_write(writer, text.data, size);
		if (size == 0 && (unsigned char)text.data[0] < 0x80) {
			put_escape(writer, (unsigned char)text.data[0]);
			size = 1;
		} else if (size == 0 && (size = sequence_size(text)) > 0) {
			json_write(writer, text.data, size);
		} else if (size == 0) {
			json_write(writer, "\xef\xbf\xbd", 3);
			size = 1;
		}
		text = (struct bytes){text.data + size, text.size - size};
	}
}

void json_write_string(struct json_writer *writer, struct bytes text)
{
	char *at = json_writer_take(writer, text.size + 2);
	if (!at)
		return;
	at[0] = '"';
	at[text.size + 1] = '"';
	if (json_copy_plain(text, at + 1)) /* as nearly all are */
		return;
	writer->size -= text.size + 1;
	put_rest(writer, text);
	json_write(writer, "\"", 1);
}
