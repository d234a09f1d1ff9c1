/* Plain answers and errors of providers: the gateway's reading and the harness' agree. Where the
 * first byte is 128 or more, whole streams, as a verifier finds them in somebody's bundle. */
#include "fuzz.h"

#include "dialect/dialect.h"

static void read_stream(enum dialect_id dialect, struct bytes input)
{
	struct bytes body = fuzz_copy(input);
	struct dialect_answer answer;
	struct err err = ERR_INIT;
	dialect_answer_init(&answer, 1 << 24);
	if (dialect_answer_read_stream(dialect, body, &answer, &err) != ERR_OK)
		FUZZ_CHECK(err.message[0]);
	dialect_answer_release(&answer);
	free((char *)body.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes input = fuzz_input(data, size);
	unsigned choice = fuzz_take(&input);
	enum dialect_id dialect = (enum dialect_id)(1 + choice % 128 % (DIALECT_COUNT - 1));
	if (choice >= 128) {
		read_stream(dialect, input);
		return 0;
	}
	struct dialect_outcome outcome;
	struct dialect_answer answer;
	struct dialect_failure failure;
	struct buf text = BUF_INIT(1 << 24);
	struct err err = ERR_INIT;
	struct bytes body = fuzz_copy(input);
	json_t *calls = json_array();
	dialect_observe_body(dialect, body, BYTES("nonce"), &outcome, &text, calls, NULL, NULL);
	FUZZ_CHECK(dialect_output_estimate(&outcome) >= 0);
	FUZZ_CHECK(outcome.usage.input >= 0 && outcome.usage.output >= 0);
	dialect_answer_init(&answer, 1 << 24);
	if (dialect_answer_read(dialect, body, &answer, &err) == ERR_OK) {
		FUZZ_CHECK(outcome.digest_known && !outcome.failed);
		FUZZ_CHECK(bytes_equal(buf_bytes(&text), buf_bytes(&answer.text)));
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	dialect_failure_read(dialect, body, &failure);
	dialect_answer_release(&answer);
	dialect_outcome_release(&outcome);
	json_decref(calls);
	buf_release(&text);
	free((char *)body.data);
	return 0;
}
