/* Bodies of HTTP/1.1 messages: the chunked coding (RFC 9112, 7.1), decoded strictly and without
 * copying, and the framing of a body by whichever rule its head gave. */
#ifndef PROTO_CHUNKED_H
#define PROTO_CHUNKED_H

#include "proto/http1.h"

#define CHUNK_EXTENSION_MAX 64
#define CHUNK_TRAILER_MAX 2048

struct chunked {
	enum http_refusal refusal;
	uint8_t state;    /* private from here */
	uint8_t digits;   /* of the size */
	uint16_t counted; /* bytes of extension or trailer */
	uint32_t left;    /* data bytes of this chunk to come */
};

enum http_body_event {
	HTTP_BODY_MORE,    /* all of the input is used and the body goes on */
	HTTP_BODY_PIECE,   /* *piece is data */
	HTTP_BODY_DONE,    /* the body ended at *used */
	HTTP_BODY_REFUSED, /* malformed */
};

void chunked_start(struct chunked *chunked);

/* Takes bytes from `data` and says what they were: *used of them are done with, and with
 * HTTP_BODY_PIECE *piece (inside `data`, never empty) is body data. Call it again with the rest
 * until it says anything but HTTP_BODY_PIECE. The trailer section is checked and thrown away. */
enum http_body_event chunked_next(struct chunked *chunked, const char *data, size_t size,
				  size_t *used, struct bytes *piece);

/* Decodes in place: the body data moves to the front of `data` (*decoded bytes), *used says how
 * many bytes of the input were taken (less than `size` only when the body is done). Never
 * HTTP_BODY_PIECE. */
enum http_body_event chunked_decode(struct chunked *chunked, char *data, size_t size, size_t *used,
				    size_t *decoded);

/* The size line that stands before a chunk of `size` > 0 bytes; at most 18 bytes, the length is
 * returned. The data and "\r\n" follow it; CHUNKED_LAST ends the body. */
size_t chunked_write_size(char out[static 18], size_t size);
#define CHUNKED_LAST "0\r\n\r\n"

/* A body by the rule of its head. */
struct http_body {
	uint64_t left; /* HTTP_BODY_LENGTH */
	struct chunked chunked;
	enum http_body_kind kind;
};

void http_body_start(struct http_body *body, const struct http_head *head);

/* As chunked_next, for any kind. A body of kind NONE (or of length 0) is done at once, with nothing
 * used. A body until close is never done here. */
enum http_body_event http_body_next(struct http_body *body, const char *data, size_t size,
				    size_t *used, struct bytes *piece);

/* The peer has closed: true if the body was complete. Call it only when http_body_next has not said
 * HTTP_BODY_DONE. */
bool http_body_closed(const struct http_body *body);

/* The refusal of a chunked body that was refused. */
static inline enum http_refusal http_body_refusal(const struct http_body *body)
{
	return body->chunked.refusal;
}

#endif
