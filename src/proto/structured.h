/* What HTTP message signatures need of structured fields (RFC 9651, before it RFC 8941): reading,
 * strictly, in the one form in which RFC 9651, section 4.1, writes them. What could be written
 * otherwise (spaces behind `;`, a sign before zero) is refused, so that the text that was read is
 * the text that was signed. Nothing is copied. */
#ifndef PROTO_STRUCTURED_H
#define PROTO_STRUCTURED_H

#include "base/bytes.h"

struct structured_reader {
	const char *at, *end;
};

enum structured_type {
	STRUCTURED_INTEGER, /* at most 15 digits */
	STRUCTURED_STRING,  /* text: what stands between the quotes; none with a backslash */
	STRUCTURED_TOKEN,
	STRUCTURED_BYTES,   /* text: base64 between the colons, not decoded */
	STRUCTURED_BOOLEAN, /* integer: 0 or 1 */
};

struct structured_item {
	enum structured_type type;
	int64_t integer;
	struct bytes text;
};

static inline struct structured_reader structured_read(struct bytes field)
{
	return (struct structured_reader){field.data,
					  field.size ? field.data + field.size : field.data};
}

static inline bool structured_at_end(const struct structured_reader *reader)
{
	return reader->at == reader->end;
}

/* Takes the byte if it is next. */
bool structured_take(struct structured_reader *reader, char byte);
/* lcalpha or "*", then lcalpha, DIGIT, "_", "-", "." or "*" (section 3.1.2). */
bool structured_key(struct structured_reader *reader, struct bytes *key);
bool structured_item(struct structured_reader *reader, struct structured_item *item);
/* The next of the parameters, from `;` on; false with *over where there is none. A parameter
 * without a value is true. */
bool structured_parameter(struct structured_reader *reader, struct bytes *key,
			  struct structured_item *item, bool *over);
/* Between two members of a list or dictionary: a comma, with optional white space around it. False
 * where something else follows, or nothing behind the comma. */
bool structured_comma(struct structured_reader *reader);

#endif
