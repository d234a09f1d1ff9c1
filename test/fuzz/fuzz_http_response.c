/* Response heads and the body by their framing, as the pool of upstream connections reads them. */
#include "fuzz_head.h"

static enum http_parse parse_any(struct http_head *head, struct bytes input)
{
	return http_response_parse(head, input.data, input.size, false);
}

static enum http_parse parse_head_only(struct http_head *head, struct bytes input)
{
	return http_response_parse(head, input.data, input.size, true);
}

/* The body in pieces of the input: how much of it there is, and how it ends. */
static enum http_body_event read_body(const struct http_head *head, struct bytes input,
				      unsigned seed, struct buf *out, size_t *used)
{
	struct http_body body;
	enum http_body_event event = HTTP_BODY_MORE;
	http_body_start(&body, head);
	for (*used = 0; *used < input.size || event == HTTP_BODY_MORE;) {
		size_t size = seed ? fuzz_piece(&seed, input.size - *used) : input.size - *used;
		size_t end = *used + size;
		do {
			size_t step = 0;
			struct bytes piece;
			event = http_body_next(&body, input.data + *used, end - *used, &step,
					       &piece);
			FUZZ_CHECK(step <= end - *used);
			*used += step;
			if (event == HTTP_BODY_PIECE) {
				FUZZ_CHECK(piece.size > 0);
				buf_append_bytes(out, piece);
			}
		} while (event == HTTP_BODY_PIECE);
		if (event != HTTP_BODY_MORE)
			return event;
		FUZZ_CHECK(*used == end);
		if (*used == input.size)
			return http_body_closed(&body) ? HTTP_BODY_DONE : HTTP_BODY_MORE;
	}
	return event;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_head whole, pieces;
	struct bytes input = fuzz_input(data, size);
	unsigned seed = fuzz_take(&input);
	enum http_parse (*parse)(struct http_head *, struct bytes) =
		seed & 1 ? parse_head_only : parse_any;
	struct bytes copy = fuzz_copy(input);
	http_head_start(&whole);
	enum http_parse result = input.size ? parse(&whole, copy) : HTTP_MORE;
	FUZZ_CHECK(result == fuzz_head_in_pieces(&pieces, input, seed, parse));
	FUZZ_CHECK(result != HTTP_REFUSED || (whole.refusal && whole.refusal == pieces.refusal));
	if (result == HTTP_COMPLETE) {
		struct buf one = BUF_INIT(1 << 20), other = BUF_INIT(1 << 20);
		struct bytes rest = bytes_of(copy.data + whole.size, copy.size - whole.size);
		size_t used, used_again;
		fuzz_check_head(&whole, copy);
		fuzz_check_same_head(&whole, &pieces);
		FUZZ_CHECK(whole.status >= 100 && whole.status <= 599);
		FUZZ_CHECK(read_body(&whole, rest, 0, &one, &used) ==
			   read_body(&whole, rest, seed | 2, &other, &used_again));
		FUZZ_CHECK(bytes_equal(buf_bytes(&one), buf_bytes(&other)));
		buf_release(&one);
		buf_release(&other);
	}
	free((char *)copy.data);
	return 0;
}
