/* The field `parley-leaf`. */
#include "fuzz.h"

#include "base/encode.h"
#include "policy/leaf_claim.h"

/* What was read, written again, reads the same. */
static void check_again(const struct leaf_claim *claim)
{
	struct buf text = BUF_INIT(4096);
	struct leaf_claim again;
	buf_append_bytes(&text, claim->suite);
	buf_printf(&text, ";%llu;", (unsigned long long)claim->index);
	base64_append(&text, claim->salt, sizeof(claim->salt));
	buf_append_char(&text, ';');
	base64_append(&text, claim->grading, sizeof(claim->grading));
	buf_append_char(&text, ';');
	base64_append(&text, claim->proof, (size_t)claim->proof_count * SHA256_SIZE);
	FUZZ_CHECK(!leaf_claim_parse(buf_bytes(&text), &again));
	FUZZ_CHECK(again.index == claim->index && again.proof_count == claim->proof_count);
	FUZZ_CHECK(bytes_equal(again.suite, claim->suite));
	FUZZ_CHECK(!memcmp(again.proof, claim->proof, sizeof(again.proof)));
	buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t root[SHA256_SIZE] = {1};
	struct bytes input = fuzz_input(data, size);
	unsigned leaves = fuzz_take(&input) * 37u;
	struct bytes copy = fuzz_copy(input);
	struct leaf_claim claim;
	const char *problem = leaf_claim_parse(copy, &claim);
	if (!problem) {
		FUZZ_CHECK(claim.proof_count <= LEAF_CLAIM_PROOF_MAX && claim.suite.size > 0);
		leaf_claim_set_words(&claim, copy);
		/* Nobody finds a root by chance. */
		FUZZ_CHECK(!leaf_claim_verify(&claim, leaves, root));
		check_again(&claim);
	} else {
		FUZZ_CHECK(problem[0]);
	}
	free((char *)copy.data);
	return 0;
}
