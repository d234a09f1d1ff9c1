/* The fields of a signed request: Signature-Input, Signature and Content-Digest, a line each, then
 * the head that was signed. */
#include "fuzz.h"

#include "proto/signature.h"

#include <stdio.h>

/* What was read is what is written: the parameters alone read back as the same. */
static void check_again(const struct signature_input *input)
{
	struct signature_input again;
	struct buf text = BUF_INIT((size_t)1 << 20);
	buf_append_cstr(&text, "x=");
	buf_append_bytes(&text, input->params);
	FUZZ_CHECK(!signature_input_find(buf_bytes(&text), NULL, &again));
	FUZZ_CHECK(bytes_equal(again.params, input->params));
	FUZZ_CHECK(again.component_count == input->component_count);
	FUZZ_CHECK(again.created == input->created && again.expires == input->expires);
	FUZZ_CHECK(bytes_equal(again.nonce, input->nonce) && bytes_equal(again.tag, input->tag));
	buf_release(&text);
}

static void check_base(const struct signature_input *input, struct bytes text)
{
	static const char start[] = "\"@signature-params\": ";
	struct http_head head;
	struct signature_field fields[HTTP_FIELDS_MAX];
	struct signature_message message;
	struct buf base = BUF_INIT(SIGNATURE_BASE_MAX);
	http_head_start(&head);
	if (http_request_parse(&head, text.data, text.size) != HTTP_COMPLETE)
		return;
	signature_message_of_head(&head, text.data, fields, &message);
	message.scheme = BYTES("https");
	message.authority = http_known(&head, text.data, HTTP_FIELD_HOST);
	if (!signature_base(input, &message, &base)) {
		/* One line for each component, and nothing that could look like another. */
		unsigned lines = 0;
		for (size_t i = 0; i < base.size; i++)
			lines += base.data[i] == '\n';
		FUZZ_CHECK(lines == input->component_count);
		FUZZ_CHECK(memmem(base.data, base.size, start, sizeof(start) - 1));
		FUZZ_CHECK(bytes_ends_with(buf_bytes(&base), input->params));
	}
	buf_release(&base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes copy = fuzz_copy(fuzz_input(data, size)), rest;
	struct signature_input input = {0};
	uint8_t signature[ED25519_SIGNATURE_SIZE], digest[SHA256_SIZE];
	struct bytes line = bytes_split(copy, '\n', &rest);
	bool found = !signature_input_find(line, "parley", &input);
	if (found) {
		FUZZ_CHECK(input.component_count <= SIGNATURE_COMPONENTS_MAX);
		FUZZ_CHECK(bytes_is(input.tag, "parley"));
		check_again(&input);
	}
	line = bytes_split(rest.data ? rest : BYTES(""), '\n', &rest);
	signature_find(line, found ? input.label : BYTES("sig"), signature);
	line = bytes_split(rest.data ? rest : BYTES(""), '\n', &rest);
	signature_content_digest(line, digest);
	if (found && rest.data)
		check_base(&input, rest);
	free((char *)copy.data);
	return 0;
}
