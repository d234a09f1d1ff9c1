/* Release V1: what is let out of a stream is the same however it is split; what was filtered stays
 * as it is when it is filtered again; and of a stream that has no fault the canonical answer is the
 * same before and after. */
#include "fuzz.h"

#include "dialect/filter.h"

static bool filter(enum dialect_id dialect, struct bytes input, unsigned seed, struct buf *out)
{
	struct dialect_filter filter;
	bool good = true;
	buf_init(out, 1 << 24);
	dialect_filter_init(&filter, dialect);
	for (size_t at = 0; good && at < input.size;) {
		size_t size = seed ? fuzz_piece(&seed, input.size - at) : input.size - at;
		struct bytes copy = fuzz_copy(bytes_of(input.data + at, size));
		good = dialect_filter_feed(&filter, copy, out);
		free((char *)copy.data);
		at += size;
	}
	dialect_filter_release(&filter);
	return good;
}

static struct dialect_outcome observe(enum dialect_id dialect, struct bytes input)
{
	struct dialect_observer observer;
	struct dialect_flow flow;
	dialect_observer_init(&observer, dialect, BYTES("nonce"), false, NULL);
	dialect_observer_feed(&observer, input.data, input.size, &flow);
	dialect_observer_end(&observer, &flow);
	struct dialect_outcome outcome = observer.outcome;
	dialect_observer_release(&observer);
	return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf one, other, again;
	struct bytes input = fuzz_input(data, size);
	unsigned choice = fuzz_take(&input);
	enum dialect_id dialect = (enum dialect_id)(1 + choice % (DIALECT_COUNT - 1));
	bool good = filter(dialect, input, 0, &one);
	FUZZ_CHECK(filter(dialect, input, 1 + choice, &other) == good);
	FUZZ_CHECK(bytes_equal(buf_bytes(&one), buf_bytes(&other)));
	if (good && one.size) {
		FUZZ_CHECK(filter(dialect, buf_bytes(&one), 0, &again));
		FUZZ_CHECK(bytes_equal(buf_bytes(&one), buf_bytes(&again)));
		buf_release(&again);
	}
	buf_release(&other);
	buf_init(&other, 1 << 24);
	if (dialect_filter_body(dialect, input, &other)) {
		buf_init(&again, 1 << 24);
		FUZZ_CHECK(dialect_filter_body(dialect, buf_bytes(&other), &again));
		FUZZ_CHECK(bytes_equal(buf_bytes(&other), buf_bytes(&again)));
		buf_release(&again);
	}
	(void)observe(dialect, buf_bytes(&one));
	buf_release(&one);
	buf_release(&other);
	return 0;
}
