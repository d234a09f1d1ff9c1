#include "proto/chunked.h"

enum state {
	SIZE,      /* hexadecimal digits */
	EXTENSION, /* after ';' */
	SIZE_LF,   /* after the CR of the size line */
	DATA,
	DATA_CR, /* after the data */
	DATA_LF,
	TRAILER,       /* at the start of a line of the trailer section */
	TRAILER_NAME,  /* in a field name */
	TRAILER_VALUE, /* after its colon */
	TRAILER_LF,    /* after the CR of a trailer line */
	LAST_LF,       /* after the CR of the empty line */
	DONE,
};

void chunked_start(struct chunked *chunked)
{
	memset(chunked, 0, sizeof(*chunked));
	chunked->state = SIZE;
}

static bool refuse(struct chunked *chunked, enum http_refusal refusal)
{
	chunked->refusal = refusal;
	return false;
}

static int size_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

static bool size_byte(struct chunked *chunked, char c)
{
	int digit = size_digit(c);
	if (digit >= 0) {
		if (++chunked->digits > 8)
			return refuse(chunked, HTTP_REFUSAL_CHUNK_SIZE);
		chunked->left = chunked->left << 4 | (uint32_t)digit;
		return true;
	}
	if (chunked->digits == 0 || (c != ';' && c != '\r'))
		return refuse(chunked, HTTP_REFUSAL_CHUNK_SIZE);
	chunked->counted = 0;
	chunked->state = c == ';' ? EXTENSION : SIZE_LF;
	return true;
}

/* Extensions are skipped; quotes are refused because parsers disagree on what they hide. */
static bool extension_byte(struct chunked *chunked, char c)
{
	if (c == '\r') {
		chunked->state = SIZE_LF;
		return true;
	}
	if (++chunked->counted > CHUNK_EXTENSION_MAX || c == '"' || (c < 0x20 && c != '\t') ||
	    c == 0x7f)
		return refuse(chunked, HTTP_REFUSAL_CHUNK_EXTENSION);
	return true;
}

static bool expect_byte(struct chunked *chunked, char c, char wanted, enum state next,
			enum http_refusal otherwise)
{
	if (c != wanted)
		return refuse(chunked, otherwise);
	chunked->state = (uint8_t)next;
	return true;
}

/* Field lines of the trailer section: a token, a colon, and no control bytes. */
static bool trailer_byte(struct chunked *chunked, char c)
{
	if (++chunked->counted > CHUNK_TRAILER_MAX)
		return refuse(chunked, HTTP_REFUSAL_TRAILER);
	if (chunked->state == TRAILER_VALUE) {
		if (c == '\r')
			chunked->state = TRAILER_LF;
		else if (!http_is_field_value(bytes_of(&c, 1)))
			return refuse(chunked, HTTP_REFUSAL_TRAILER);
		return true;
	}
	if (chunked->state == TRAILER && c == '\r') {
		chunked->state = LAST_LF;
		return true;
	}
	if (chunked->state == TRAILER_NAME && c == ':') {
		chunked->state = TRAILER_VALUE;
		return true;
	}
	if (!http_is_token(bytes_of(&c, 1)))
		return refuse(chunked, HTTP_REFUSAL_TRAILER);
	chunked->state = TRAILER_NAME;
	return true;
}

static bool size_line_ends(struct chunked *chunked, char c)
{
	enum state next = chunked->left ? DATA : TRAILER;
	chunked->digits = 0;
	chunked->counted = 0;
	return expect_byte(chunked, c, '\n', next, HTTP_REFUSAL_CHUNK_END);
}

/* Any byte that is not data. */
static bool framing_byte(struct chunked *chunked, char c)
{
	switch ((enum state)chunked->state) {
	case SIZE:
		return size_byte(chunked, c);
	case EXTENSION:
		return extension_byte(chunked, c);
	case SIZE_LF:
		return size_line_ends(chunked, c);
	case DATA_CR:
		return expect_byte(chunked, c, '\r', DATA_LF, HTTP_REFUSAL_CHUNK_END);
	case DATA_LF:
		return expect_byte(chunked, c, '\n', SIZE, HTTP_REFUSAL_CHUNK_END);
	case TRAILER_LF:
		chunked->counted++;
		return expect_byte(chunked, c, '\n', TRAILER, HTTP_REFUSAL_TRAILER);
	case LAST_LF:
		return expect_byte(chunked, c, '\n', DONE, HTTP_REFUSAL_TRAILER);
	default:
		return trailer_byte(chunked, c);
	}
}

/* The size line of a chunk, where all of it is here and it is nothing but a size. Returns what was
 * taken, 0 where it must be read byte by byte. */
static size_t size_line(struct chunked *chunked, const char *data, size_t size)
{
	size_t i = 0;
	uint32_t left = 0;
	int digit;
	for (; i < size && i < 8 && (digit = size_digit(data[i])) >= 0; i++)
		left = left << 4 | (uint32_t)digit;
	if (i == 0 || left == 0 || size - i < 2 || data[i] != '\r' || data[i + 1] != '\n')
		return 0;
	chunked->left = left;
	chunked->counted = 0;
	chunked->state = DATA;
	return i + 2;
}

enum http_body_event chunked_next(struct chunked *chunked, const char *data, size_t size,
				  size_t *used, struct bytes *piece)
{
	size_t i = 0;
	*used = 0;
	if (chunked->refusal != HTTP_REFUSAL_NONE)
		return HTTP_BODY_REFUSED;
	while (chunked->state != DONE && i < size) {
		if (chunked->state == DATA) {
			size_t take = size - i < chunked->left ? size - i : chunked->left;
			*piece = bytes_of(data + i, take);
			chunked->left -= (uint32_t)take;
			if (chunked->left == 0)
				chunked->state = DATA_CR;
			*used = i + take;
			return HTTP_BODY_PIECE;
		}
		/* Mostly both are here whole: the end of a chunk, and the next one's size. */
		if (chunked->state == DATA_CR && size - i >= 2 && data[i] == '\r' &&
		    data[i + 1] == '\n') {
			chunked->state = SIZE;
			i += 2;
			continue;
		}
		if (chunked->state == SIZE && chunked->digits == 0) {
			size_t taken = size_line(chunked, data + i, size - i);
			i += taken;
			if (taken)
				continue;
		}
		if (!framing_byte(chunked, data[i]))
			return HTTP_BODY_REFUSED;
		i++;
	}
	*used = i;
	return chunked->state == DONE ? HTTP_BODY_DONE : HTTP_BODY_MORE;
}

enum http_body_event chunked_decode(struct chunked *chunked, char *data, size_t size, size_t *used,
				    size_t *decoded)
{
	*used = *decoded = 0;
	for (;;) {
		size_t step;
		struct bytes piece;
		enum http_body_event event = chunked_next(chunked, size ? data + *used : data,
							  size - *used, &step, &piece);
		*used += step;
		if (event != HTTP_BODY_PIECE)
			return event;
		memmove(data + *decoded, piece.data, piece.size);
		*decoded += piece.size;
	}
}

size_t chunked_write_size(char out[static 18], size_t size)
{
	char digits[16];
	unsigned count = 0;
	do {
		digits[count++] = "0123456789abcdef"[size & 15];
		size >>= 4;
	} while (size);
	for (unsigned i = 0; i < count; i++)
		out[i] = digits[count - 1 - i];
	out[count] = '\r';
	out[count + 1] = '\n';
	return count + 2;
}

/* ---- bodies ---- */

void http_body_start(struct http_body *body, const struct http_head *head)
{
	body->kind = head->body;
	body->left = head->body == HTTP_BODY_LENGTH ? head->content_length : 0;
	chunked_start(&body->chunked);
}

static enum http_body_event take_plain(struct http_body *body, const char *data, size_t size,
				       size_t *used, struct bytes *piece)
{
	bool bounded = body->kind == HTTP_BODY_LENGTH;
	size_t take = bounded && body->left < size ? (size_t)body->left : size;
	*used = take;
	if (take == 0)
		return bounded && body->left == 0 ? HTTP_BODY_DONE : HTTP_BODY_MORE;
	if (bounded)
		body->left -= take;
	*piece = bytes_of(data, take);
	return HTTP_BODY_PIECE;
}

enum http_body_event http_body_next(struct http_body *body, const char *data, size_t size,
				    size_t *used, struct bytes *piece)
{
	switch (body->kind) {
	case HTTP_BODY_CHUNKED:
		return chunked_next(&body->chunked, data, size, used, piece);
	case HTTP_BODY_LENGTH:
	case HTTP_BODY_UNTIL_CLOSE:
		return take_plain(body, data, size, used, piece);
	default:
		*used = 0;
		return HTTP_BODY_DONE;
	}
}

bool http_body_closed(const struct http_body *body)
{
	return body->kind == HTTP_BODY_UNTIL_CLOSE || body->kind == HTTP_BODY_NONE ||
	       (body->kind == HTTP_BODY_LENGTH && body->left == 0);
}
