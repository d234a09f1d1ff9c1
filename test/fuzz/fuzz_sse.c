/* Server-sent events: the same events, with the same places in the stream, however it is split. */
#include "fuzz.h"

#include "proto/sse.h"

#define EVENT_MAX 4096

/* Every event as text, one after another. */
static void read_events(struct bytes input, unsigned seed, struct buf *out)
{
	struct sse sse;
	struct sse_event event;
	uint64_t end = 0;
	sse_init(&sse, EVENT_MAX);
	for (size_t at = 0; at < input.size;) {
		size_t size = seed ? fuzz_piece(&seed, input.size - at) : input.size - at;
		struct bytes copy = fuzz_copy(bytes_of(input.data + at, size));
		size_t done = 0, used;
		while (sse_next(&sse, copy.data + done, size - done, &used, &event)) {
			done += used;
			FUZZ_CHECK(event.data.size <= EVENT_MAX);
			FUZZ_CHECK(event.begin >= end && event.end > event.begin);
			FUZZ_CHECK(event.end <= at + size);
			end = event.end;
			buf_printf(out, "%zu %.*s %d %d ", event.data.size, BYTES_ARG(event.name),
				   event.oversized, event.has_data);
			buf_append_bytes(out, event.data);
			FUZZ_CHECK(sse_at_boundary(&sse));
		}
		FUZZ_CHECK(done + used == size);
		at += size;
		free((char *)copy.data);
	}
	buf_append_cstr(out, sse_at_boundary(&sse) ? "between" : "inside");
	sse_release(&sse);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes input = fuzz_input(data, size);
	unsigned seed = fuzz_take(&input);
	struct buf one = BUF_INIT(1 << 22), other = BUF_INIT(1 << 22);
	read_events(input, 0, &one);
	read_events(input, seed | 1, &other);
	FUZZ_CHECK(bytes_equal(buf_bytes(&one), buf_bytes(&other)));
	buf_release(&one);
	buf_release(&other);
	return 0;
}
