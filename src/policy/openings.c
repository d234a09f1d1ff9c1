#include "policy/openings.h"

#include <assert.h>
#include <stdlib.h>

void openings_key(const uint8_t gateway[static SHA256_SIZE],
		  const uint8_t evaluator[static SHA256_SIZE], uint8_t out[static SHA256_SIZE])
{
	struct hmac_key key;
	hmac_key_init(&key, gateway, SHA256_SIZE);
	hmac_of(&key, evaluator, SHA256_SIZE, out);
	explicit_bzero(&key, sizeof(key));
}

/* The leaf's own number, and in *sample which of its samples it would be. */
static uint64_t number_of(const struct openings *openings, uint32_t leaf, unsigned *sample)
{
	uint8_t text[4] = {(uint8_t)(leaf >> 24), (uint8_t)(leaf >> 16), (uint8_t)(leaf >> 8),
			   (uint8_t)leaf};
	uint8_t digest[SHA256_SIZE];
	uint64_t number = 0;
	hmac_of(&openings->key, text, sizeof(text), digest);
	for (int i = 0; i < 8; i++)
		number = number << 8 | digest[i];
	*sample = 1 + (unsigned)(digest[8] << 8 | digest[9]) % openings->samples;
	return number;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return left < right ? -1 : left > right;
}

enum err_code openings_choose(struct openings *out, const uint8_t key[static SHA256_SIZE],
			      uint32_t count, uint32_t leaves, unsigned samples, struct err *err)
{
	unsigned ignored;
	assert(samples > 0);
	*out = (struct openings){.leaves = leaves, .samples = samples};
	if (!count || !leaves)
		return ERR_OK;
	hmac_key_init(&out->key, key, SHA256_SIZE);
	uint64_t *numbers = malloc(leaves * sizeof(*numbers));
	if (!numbers)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the choice of openings");
	for (uint32_t leaf = 0; leaf < leaves; leaf++)
		numbers[leaf] = number_of(out, leaf, &ignored);
	qsort(numbers, leaves, sizeof(*numbers), compare_numbers);
	out->count = count < leaves ? count : leaves;
	out->bound = numbers[out->count - 1];
	free(numbers);
	return ERR_OK;
}

bool openings_has(const struct openings *openings, uint32_t leaf, unsigned sample)
{
	unsigned chosen;
	if (!openings->count || leaf >= openings->leaves)
		return false;
	return number_of(openings, leaf, &chosen) <= openings->bound && chosen == sample;
}
