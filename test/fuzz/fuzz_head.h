/* Heads of requests and responses: what both targets check. */
#ifndef TEST_FUZZ_FUZZ_HEAD_H
#define TEST_FUZZ_FUZZ_HEAD_H

#include "fuzz.h"

#include "proto/chunked.h"

/* Parses the input as it would arrive: growing by pieces, each time in another place. */
static inline enum http_parse
fuzz_head_in_pieces(struct http_head *head, struct bytes input, unsigned seed,
		    enum http_parse (*parse)(struct http_head *, struct bytes))
{
	http_head_start(head);
	for (size_t have = 0; have < input.size;) {
		have += fuzz_piece(&seed, input.size - have);
		struct bytes copy = fuzz_copy(bytes_of(input.data, have));
		enum http_parse result = parse(head, copy);
		free((char *)copy.data);
		if (result != HTTP_MORE)
			return result;
	}
	return HTTP_MORE;
}

/* What a complete head promises. */
static inline void fuzz_check_head(const struct http_head *head, struct bytes input)
{
	FUZZ_CHECK(head->size <= input.size && head->size <= HTTP_HEAD_MAX);
	FUZZ_CHECK(head->field_count <= HTTP_FIELDS_MAX);
	for (unsigned i = 0; i < head->field_count; i++) {
		const struct http_field *field = &head->fields[i];
		FUZZ_CHECK(field->name.at + field->name.size <= head->size);
		FUZZ_CHECK(field->value.at + field->value.size <= head->size);
		FUZZ_CHECK(http_is_token(http_bytes(input.data, field->name)));
		FUZZ_CHECK(http_is_field_value(http_bytes(input.data, field->value)));
	}
	FUZZ_CHECK(!(http_has(head, HTTP_FIELD_CONTENT_LENGTH) &&
		     http_has(head, HTTP_FIELD_TRANSFER_ENCODING)));
	FUZZ_CHECK(head->body != HTTP_BODY_CHUNKED || head->minor == 1);
	FUZZ_CHECK(!memchr(input.data, '\0', head->size));
	for (size_t i = 0; i < head->size; i++) {
		if (input.data[i] == '\n')
			FUZZ_CHECK(i > 0 && input.data[i - 1] == '\r');
		if (input.data[i] == '\r')
			FUZZ_CHECK(i + 1 < head->size && input.data[i + 1] == '\n');
	}
}

/* Two readings of the same head are one. */
static inline void fuzz_check_same_head(const struct http_head *one, const struct http_head *other)
{
	FUZZ_CHECK(one->size == other->size && one->field_count == other->field_count);
	FUZZ_CHECK(one->body == other->body && one->content_length == other->content_length);
	FUZZ_CHECK(one->keep_alive == other->keep_alive && one->status == other->status);
	FUZZ_CHECK(!memcmp(one->known, other->known, sizeof(one->known)));
	FUZZ_CHECK(!memcmp(one->fields, other->fields, one->field_count * sizeof(one->fields[0])));
}

#endif
