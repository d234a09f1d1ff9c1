/* The signed statement of a bundle. */
#include "fuzz.h"

#include "ledger/dsse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[ED25519_KEY_SIZE] = {1};
	struct bytes text = fuzz_copy(fuzz_input(data, size));
	struct dsse dsse;
	struct err err = ERR_INIT;
	if (dsse_open(text, "statement.dsse.json", &dsse, &err) == ERR_OK) {
		FUZZ_CHECK(dsse.count <= DSSE_SIGNATURES_MAX);
		FUZZ_CHECK(!dsse_signed_by(&dsse, key));
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	dsse_release(&dsse);
	free((char *)text.data);
	return 0;
}
