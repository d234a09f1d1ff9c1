/* Streams of every dialect: the bytes passed on and what is known of the answer are the same
 * however the stream is split and whether or not somebody collects the text, and without the usage
 * chunk to be taken out every byte is passed on, up to what may not come behind the end. */
#include "fuzz.h"

#include "dialect/dialect.h"

struct seen {
	struct buf out, text;
	struct dialect_outcome outcome;
	bool overrun;
};

static void take_flow(const struct dialect_flow *flow, struct seen *seen)
{
	for (unsigned i = 0; i < flow->now_count; i++)
		buf_append_bytes(&seen->out, flow->now[i]);
	for (unsigned i = 0; i < flow->last_count; i++)
		buf_append_bytes(&seen->out, flow->last[i]);
}

static void observe(enum dialect_id dialect, bool strip, struct bytes input, unsigned seed,
		    bool collect, struct seen *seen)
{
	struct dialect_observer observer;
	struct dialect_flow flow;
	buf_init(&seen->out, 1 << 24);
	buf_init(&seen->text, 1 << 24);
	dialect_observer_init(&observer, dialect, BYTES("nonce"), strip,
			      collect ? &seen->text : NULL);
	for (size_t at = 0; at < input.size;) {
		size_t size = seed ? fuzz_piece(&seed, input.size - at) : input.size - at;
		struct bytes copy = fuzz_copy(bytes_of(input.data + at, size));
		dialect_observer_feed(&observer, copy.data, size, &flow);
		take_flow(&flow, seen);
		free((char *)copy.data);
		at += size;
	}
	dialect_observer_end(&observer, &flow);
	take_flow(&flow, seen);
	seen->overrun = flow.overrun;
	seen->outcome = dialect_outcome_copy(&observer.outcome);
	dialect_observer_release(&observer);
}

static void check_same(const struct dialect_outcome *one, const struct dialect_outcome *other)
{
	FUZZ_CHECK(!memcmp(&one->usage, &other->usage, sizeof(one->usage)));
	FUZZ_CHECK(one->finish == other->finish && one->complete == other->complete);
	FUZZ_CHECK(one->failed == other->failed && one->malformed == other->malformed);
	FUZZ_CHECK(one->text_bytes == other->text_bytes && one->deltas == other->deltas);
	FUZZ_CHECK(one->digest_known == other->digest_known);
	FUZZ_CHECK(!one->digest_known || !memcmp(one->answer, other->answer, sizeof(one->answer)));
	FUZZ_CHECK(!strcmp(dialect_served(one), dialect_served(other)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen one, other, alone;
	struct bytes input = fuzz_input(data, size);
	unsigned choice = fuzz_take(&input);
	enum dialect_id dialect = (enum dialect_id)(1 + choice % (DIALECT_COUNT - 1));
	bool strip = choice & 64;
	unsigned seed = fuzz_take(&input);
	observe(dialect, strip, input, 0, true, &one);
	observe(dialect, strip, input, seed | 1, true, &other);
	observe(dialect, strip, input, 0, false, &alone);
	FUZZ_CHECK(bytes_equal(buf_bytes(&one.out), buf_bytes(&other.out)));
	FUZZ_CHECK(bytes_equal(buf_bytes(&one.text), buf_bytes(&other.text)));
	check_same(&one.outcome, &other.outcome);
	check_same(&one.outcome, &alone.outcome);
	bool ends = one.outcome.complete && dialect != DIALECT_GEMINI;
	if (!strip && ends)
		FUZZ_CHECK(bytes_starts_with(input, buf_bytes(&one.out)));
	else if (!strip)
		FUZZ_CHECK(bytes_equal(buf_bytes(&one.out), input));
	FUZZ_CHECK(one.overrun == other.overrun && (ends || !one.overrun));
	FUZZ_CHECK(dialect_output_estimate(&one.outcome) >= 0);
	buf_release(&one.out);
	buf_release(&one.text);
	buf_release(&other.out);
	buf_release(&other.text);
	buf_release(&alone.out);
	dialect_outcome_release(&one.outcome);
	dialect_outcome_release(&other.outcome);
	dialect_outcome_release(&alone.outcome);
	return 0;
}
