/* The tree of a running log: the right edge of every level of tiles in memory, full tiles as files,
 * which can be made again from the records. */
#ifndef LEDGER_LOG_TREE_H
#define LEDGER_LOG_TREE_H

#include "ledger/merkle.h"
#include "ledger/tile.h"

/* Levels of tiles: 256^6 leaves are all that an index of 48 bits can number. */
#define LOG_TREE_LEVELS 7

struct log;

struct log_tile {
	struct log_tile *next;
	unsigned level;
	uint64_t number;
	struct merkle_hash hashes[TILE_WIDTH];
};

struct log_tree {
	uint64_t size;
	unsigned widths[LOG_TREE_LEVELS]; /* hashes in the last, partial tile of each level */
	struct merkle_hash edges[LOG_TREE_LEVELS][TILE_WIDTH];
	struct log_tile *full;            /* newest first; not yet in files */
	unsigned full_lowest, full_above; /* of the lowest level, of those above */
};

/* A tile that is full goes to tree->full; if memory is out, or too many of the lowest level wait,
 * it is left out: it can be made again. */
void log_tree_append(struct log_tree *tree, const struct merkle_hash *leaf);
/* The tree's complete subtrees, from the edges. */
void log_tree_range(const struct log_tree *tree, struct merkle_range *out);
void log_tree_release(struct log_tree *tree);

/* Writes full tiles of level `lowest` and above to files, synced but those of level 0; failures are
 * ignored: a tile is made again when it is needed. In a job of the log. */
void log_tree_flush(struct log *log, unsigned lowest);
/* Fills the edges for a tree of size range->size from tile files, or, where they are missing or do
 * not lead to `range`, from the records. ERR_CORRUPT if the records do not lead to it either. */
enum err_code log_tree_load(struct log *log, const struct merkle_range *range, struct err *err);
/* Makes missing full tiles above the lowest level again; those of the lowest are made when read. */
enum err_code log_tree_repair(struct log *log, struct err *err);

/* Hashes on demand, for proofs: memory, tile files (each checked against the level above), records.
 * Keeps one tile of each level; for one thread. */
struct log_tree_reader;
struct log_tree_reader *log_tree_reader_new(struct log *log); /* NULL: out of memory */
void log_tree_reader_free(struct log_tree_reader *reader);
struct merkle_reader log_tree_merkle(struct log_tree_reader *reader);
/* The first `width` hashes of a tile that the tree has. */
enum err_code log_tree_read_tile(struct log_tree_reader *reader, unsigned level, uint64_t number,
				 unsigned width, struct merkle_hash *out, struct err *err);

#endif
