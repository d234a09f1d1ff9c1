/* Canonical words: what comes out is canonical, says the same when it is built into a request of
 * the dialect and read again, and its digest is therefore one for one prompt. */
#include "fuzz.h"

#include "base/json.h"
#include "dialect/dialect.h"

static void check_canonical(struct bytes text)
{
	struct buf again = BUF_INIT(1 << 24);
	json_t *tree = NULL;
	struct err err = ERR_INIT;
	FUZZ_CHECK(json_parse(text, "the words", &tree, &err) == ERR_OK);
	FUZZ_CHECK(json_canonical(tree, &again, &err) == ERR_OK);
	FUZZ_CHECK(bytes_equal(buf_bytes(&again), text));
	json_decref(tree);
	buf_release(&again);
}

/* A request made of the words means the words. */
static void check_round(enum dialect_id dialect, struct bytes words, struct bytes settings)
{
	struct buf body = BUF_INIT(1 << 24), again = BUF_INIT(1 << 24), same = BUF_INIT(1 << 24);
	struct err err = ERR_INIT;
	if (dialect_build_request_text(dialect, words, settings, "m", false, &body, &err) ==
		    ERR_OK &&
	    dialect_words(dialect, buf_bytes(&body), &again, &same, &err) == ERR_OK)
		FUZZ_CHECK(bytes_equal(buf_bytes(&again), words));
	buf_release(&body);
	buf_release(&again);
	buf_release(&same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes input = fuzz_input(data, size);
	enum dialect_id dialect = (enum dialect_id)(1 + fuzz_take(&input) % (DIALECT_COUNT - 1));
	struct buf words = BUF_INIT(1 << 24), settings = BUF_INIT(1 << 24);
	struct err err = ERR_INIT;
	struct bytes body = fuzz_copy(input);
	if (dialect_words(dialect, body, &words, &settings, &err) == ERR_OK) {
		check_canonical(buf_bytes(&words));
		check_canonical(buf_bytes(&settings));
		check_round(dialect, buf_bytes(&words), buf_bytes(&settings));
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	free((char *)body.data);
	buf_release(&words);
	buf_release(&settings);
	return 0;
}
