/* What the libFuzzer targets share. A target is one parser that strangers feed; it checks more than
 * that nothing crashes: the same verdict however the input is split, the same reading as another
 * parser, output that reads back. An input's first byte usually chooses among a few ways to call.
 */
#ifndef TEST_FUZZ_FUZZ_H
#define TEST_FUZZ_FUZZ_H

#include "base/buf.h"
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken promise is a crash, which is kept with its input. */
#define FUZZ_CHECK(condition)                                                              \
	do {                                                                               \
		if (!(condition)) {                                                        \
			fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, \
				#condition);                                               \
			abort();                                                           \
		}                                                                          \
	} while (0)

/* Takes the first byte of the input; 0 where there is none. */
static inline unsigned fuzz_take(struct bytes *input)
{
	if (input->size == 0)
		return 0;
	unsigned byte = (unsigned char)input->data[0];
	*input = bytes_of(input->data + 1, input->size - 1);
	return byte;
}

static inline struct bytes fuzz_input(const uint8_t *data, size_t size)
{
	return bytes_of((const char *)data, size);
}

/* A copy in memory of exactly its size, so that a read beyond it is seen; a null pointer for
 * nothing, as a buffer that never held anything has it. Free the data. */
static inline struct bytes fuzz_copy(struct bytes input)
{
	char *copy = input.size ? malloc(input.size) : NULL;
	FUZZ_CHECK(copy || input.size == 0);
	if (copy)
		memcpy(copy, input.data, input.size);
	return bytes_of(copy, input.size);
}

/* Sizes of pieces to feed an input in, the same for the same seed: small ones mostly. */
static inline size_t fuzz_piece(unsigned *seed, size_t left)
{
	*seed = *seed * 1103515245u + 12345u;
	unsigned choice = *seed >> 16 & 0xff;
	size_t piece = choice < 100 ? 1 : choice < 200 ? 1 + choice % 7 : 1 + choice * 3;
	return piece < left ? piece : left;
}

#endif
