/* Tile coordinates and paths (C2SP tlog-tiles). Pure. */
#ifndef LEDGER_TILE_H
#define LEDGER_TILE_H

#include "base/bytes.h"

#define TILE_WIDTH 256
#define TILE_LEVEL_MAX 63
#define TILE_PATH_SIZE 64

struct tile {
	bool entries;   /* an entry bundle; `level` is 0 */
	unsigned level; /* 0 to 63 */
	uint64_t number;
	unsigned width; /* 1 to 256; 256: full */
};

/* "tile/0/x001/x234/067", "tile/entries/000.p/8"; the length. */
size_t tile_path(const struct tile *tile, char out[static TILE_PATH_SIZE]);
/* The same back, strictly; false on anything else. */
bool tile_parse(struct bytes path, struct tile *out);
/* How many hashes the tile has in a tree of `size` leaves: 0 (it is not there) to 256. */
unsigned tile_width_at(uint64_t size, unsigned level, uint64_t number);

#endif
