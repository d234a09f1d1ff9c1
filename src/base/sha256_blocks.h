/* The compression function of SHA-256, for sha256.c and its tests. */
#ifndef BASE_SHA256_BLOCKS_H
#define BASE_SHA256_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes `count` blocks of 64 bytes into the state. */
void sha256_blocks(uint32_t state[static 8], const uint8_t *data, size_t count);
/* The same for two texts at once. */
void sha256_blocks_two(uint32_t a_state[static 8], const uint8_t *a, uint32_t b_state[static 8],
		       const uint8_t *b, size_t count);

/* And for as many as the lanes of AVX-512's registers: only where sha256_has_lanes(). */
#define SHA256_LANES 16
bool sha256_has_lanes(void);
void sha256_blocks_lanes(uint32_t *const state[static SHA256_LANES],
			 const uint8_t *const from[static SHA256_LANES], size_t count);

/* What the first two choose from: plain C, and the instructions of the SHA extensions where this
 * processor has them. */
void sha256_blocks_plain(uint32_t state[static 8], const uint8_t *data, size_t count);
bool sha256_has_instructions(void);
void sha256_blocks_instructions(uint32_t state[static 8], const uint8_t *data, size_t count);

#endif
