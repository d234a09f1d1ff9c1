/* Which items have these words: by the digest of their canonical text, over all suites of a run. Of
 * a conversation it is the first step's; those of later steps hold answers, and are added as these
 * come. */
#ifndef BENCH_WORDS_INDEX_H
#define BENCH_WORDS_INDEX_H

#include "base/err.h"
#include "base/sha256.h"
#include "suite/suite.h"

struct words_index;

struct words_place {
	uint8_t digest[SHA256_SIZE];
	uint32_t suite; /* as it was added */
	uint32_t item;
};

/* A later step of a conversation, asked as one sample of its item. */
struct words_turn {
	uint8_t digest[SHA256_SIZE];
	size_t index; /* of the task in its cell */
	uint32_t cell;
	uint32_t step; /* from 1 */
};

/* NULL when memory is out. */
struct words_index *words_index_new(void);
void words_index_free(struct words_index *index);
/* Renders every item. */
enum err_code words_index_add(struct words_index *index, uint32_t suite, const struct suite *items,
			      struct err *err);
/* After the last of them. */
void words_index_sort(struct words_index *index);
/* The items with that digest, in the order of suites and items; their number in *count. */
const struct words_place *words_index_find(const struct words_index *index,
					   const uint8_t digest[static SHA256_SIZE], size_t *count);

/* False when memory is out. */
bool words_index_add_turn(struct words_index *index, const struct words_turn *turn);
/* The next turn with that digest, from *cursor on, which is 0 at first; NULL after the last. */
const struct words_turn *words_index_turn(const struct words_index *index,
					  const uint8_t digest[static SHA256_SIZE], size_t *cursor);

#endif
