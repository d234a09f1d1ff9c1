/* Request heads (RFC 9112): one verdict however the bytes arrive, and what a request that is taken
 * promises. */
#include "fuzz_head.h"

static enum http_parse parse(struct http_head *head, struct bytes input)
{
	return http_request_parse(head, input.data, input.size);
}

static void check_request(const struct http_head *head, struct bytes input)
{
	struct bytes path = http_bytes(input.data, head->path), key;
	fuzz_check_head(head, input);
	FUZZ_CHECK(http_is_token(http_bytes(input.data, head->method)));
	FUZZ_CHECK(path.size > 0 && path.data[0] == '/' && !memchr(path.data, '?', path.size));
	FUZZ_CHECK(head->target.size <= HTTP_TARGET_MAX);
	FUZZ_CHECK(head->body != HTTP_BODY_UNTIL_CLOSE);
	FUZZ_CHECK(http_has(head, HTTP_FIELD_HOST) || head->minor == 0 || head->authority.size);
	http_credential(head, input.data, &key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_head whole, pieces;
	struct bytes input = fuzz_input(data, size);
	unsigned seed = fuzz_take(&input);
	struct bytes copy = fuzz_copy(input);
	http_head_start(&whole);
	enum http_parse result = input.size ? parse(&whole, copy) : HTTP_MORE;
	enum http_parse again = fuzz_head_in_pieces(&pieces, input, seed, parse);
	FUZZ_CHECK(result == again);
	FUZZ_CHECK(result != HTTP_REFUSED || (whole.refusal && whole.refusal == pieces.refusal));
	if (result == HTTP_COMPLETE) {
		check_request(&whole, copy);
		fuzz_check_same_head(&whole, &pieces);
	}
	free((char *)copy.data);
	return 0;
}
