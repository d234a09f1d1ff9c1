/* The chunked coding: decoded whole, in pieces and in place, it is the same body, and what is taken
 * reads the same when Parley writes it again. */
#include "fuzz.h"

#include "proto/chunked.h"

static enum http_body_event in_place(struct bytes input, struct buf *out, size_t *used)
{
	struct chunked chunked;
	size_t decoded;
	struct bytes copy = fuzz_copy(input);
	chunked_start(&chunked);
	enum http_body_event event =
		chunked_decode(&chunked, (char *)copy.data, copy.size, used, &decoded);
	FUZZ_CHECK(decoded <= *used && *used <= input.size && event != HTTP_BODY_PIECE);
	FUZZ_CHECK((event == HTTP_BODY_REFUSED) == (chunked.refusal != HTTP_REFUSAL_NONE));
	buf_append(out, copy.data, decoded);
	free((char *)copy.data);
	return event;
}

static enum http_body_event in_pieces(struct bytes input, unsigned seed, struct buf *out,
				      size_t *used)
{
	struct chunked chunked;
	enum http_body_event event = HTTP_BODY_MORE;
	chunked_start(&chunked);
	for (*used = 0; *used < input.size && event == HTTP_BODY_MORE;) {
		size_t size = fuzz_piece(&seed, input.size - *used), step, decoded;
		struct bytes copy = fuzz_copy(bytes_of(input.data + *used, size));
		event = chunked_decode(&chunked, (char *)copy.data, size, &step, &decoded);
		buf_append(out, copy.data, decoded);
		*used += step;
		free((char *)copy.data);
	}
	return event;
}

static void write_again(struct bytes body)
{
	struct buf coded = BUF_INIT(1 << 20), read = BUF_INIT(1 << 20);
	char line[18];
	size_t used;
	if (body.size) {
		buf_append(&coded, line, chunked_write_size(line, body.size));
		buf_append_bytes(&coded, body);
		buf_append_cstr(&coded, "\r\n");
	}
	buf_append_cstr(&coded, CHUNKED_LAST);
	FUZZ_CHECK(in_place(buf_bytes(&coded), &read, &used) == HTTP_BODY_DONE);
	FUZZ_CHECK(used == coded.size && bytes_equal(buf_bytes(&read), body));
	buf_release(&coded);
	buf_release(&read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes input = fuzz_input(data, size);
	unsigned seed = fuzz_take(&input);
	struct buf one = BUF_INIT(1 << 20), other = BUF_INIT(1 << 20);
	size_t used, used_again;
	enum http_body_event event = in_place(input, &one, &used);
	FUZZ_CHECK(input.size == 0 || event == in_pieces(input, seed, &other, &used_again));
	if (input.size && event != HTTP_BODY_REFUSED) {
		FUZZ_CHECK(used == used_again);
		FUZZ_CHECK(bytes_equal(buf_bytes(&one), buf_bytes(&other)));
	}
	if (event == HTTP_BODY_DONE)
		write_again(buf_bytes(&one));
	buf_release(&one);
	buf_release(&other);
	return 0;
}
