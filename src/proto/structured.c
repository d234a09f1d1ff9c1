#include "proto/structured.h"

#define DIGITS_MAX 15

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

bool structured_take(struct structured_reader *reader, char byte)
{
	if (structured_at_end(reader) || *reader->at != byte)
		return false;
	reader->at++;
	return true;
}

bool structured_key(struct structured_reader *reader, struct bytes *key)
{
	const char *start = reader->at;
	if (structured_at_end(reader) || !(is_lower(*start) || *start == '*'))
		return false;
	while (!structured_at_end(reader) &&
	       (is_lower(*reader->at) || is_digit(*reader->at) || strchr("_-.*", *reader->at)) &&
	       *reader->at)
		reader->at++;
	*key = bytes_of(start, (size_t)(reader->at - start));
	return true;
}

static bool read_integer(struct structured_reader *reader, struct structured_item *item)
{
	bool negative = structured_take(reader, '-');
	const char *start = reader->at;
	int64_t value = 0;
	while (!structured_at_end(reader) && is_digit(*reader->at) &&
	       reader->at - start < DIGITS_MAX)
		value = 10 * value + (*reader->at++ - '0');
	bool leading_zero = reader->at - start > 1 && *start == '0';
	bool longer = !structured_at_end(reader) && (is_digit(*reader->at) || *reader->at == '.');
	if (reader->at == start || leading_zero || longer || (negative && value == 0))
		return false;
	*item = (struct structured_item){
		STRUCTURED_INTEGER, negative ? -value : value, {NULL, 0}
        };
	return true;
}

/* From the byte behind the opening one to the closing one. */
static bool read_between(struct structured_reader *reader, char close, struct bytes *text)
{
	const char *start = reader->at;
	while (!structured_at_end(reader) && *reader->at != close) {
		if (*reader->at < 0x20 || *reader->at >= 0x7f || *reader->at == '\\')
			return false;
		reader->at++;
	}
	*text = bytes_of(start, (size_t)(reader->at - start));
	return structured_take(reader, close);
}

static bool is_token_byte(char c)
{
	return c && (is_alpha(c) || is_digit(c) || strchr("!#$%&'*+-.^_`|~:/", c));
}

static bool read_token(struct structured_reader *reader, struct structured_item *item)
{
	const char *start = reader->at;
	while (!structured_at_end(reader) && is_token_byte(*reader->at))
		reader->at++;
	*item = (struct structured_item){
		STRUCTURED_TOKEN, 0, {start, (size_t)(reader->at - start)}
        };
	return true;
}

bool structured_item(struct structured_reader *reader, struct structured_item *item)
{
	if (structured_at_end(reader))
		return false;
	char first = *reader->at;
	if (first == '-' || is_digit(first))
		return read_integer(reader, item);
	if (is_alpha(first) || first == '*')
		return read_token(reader, item);
	*item = (struct structured_item){0};
	reader->at++;
	switch (first) {
	case '"':
		item->type = STRUCTURED_STRING;
		return read_between(reader, '"', &item->text);
	case ':':
		item->type = STRUCTURED_BYTES;
		return read_between(reader, ':', &item->text);
	case '?':
		item->type = STRUCTURED_BOOLEAN;
		item->integer = structured_take(reader, '1');
		return item->integer || structured_take(reader, '0');
	default:
		return false;
	}
}

bool structured_parameter(struct structured_reader *reader, struct bytes *key,
			  struct structured_item *item, bool *over)
{
	*over = !structured_take(reader, ';');
	if (*over || !structured_key(reader, key))
		return false;
	if (structured_take(reader, '='))
		/* True is written without a value. */
		return structured_item(reader, item) &&
		       !(item->type == STRUCTURED_BOOLEAN && item->integer);
	*item = (struct structured_item){
		STRUCTURED_BOOLEAN, 1, {NULL, 0}
        };
	return true;
}

static void skip_white(struct structured_reader *reader)
{
	while (!structured_at_end(reader) && (*reader->at == ' ' || *reader->at == '\t'))
		reader->at++;
}

bool structured_comma(struct structured_reader *reader)
{
	skip_white(reader);
	if (!structured_take(reader, ','))
		return false;
	skip_white(reader);
	return !structured_at_end(reader);
}
