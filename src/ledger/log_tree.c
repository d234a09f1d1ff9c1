#include "ledger/log_tree.h"

#include "ledger/log_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define TILE_BYTES (TILE_WIDTH * MERKLE_HASH_SIZE)
/* Tiles of the lowest level that wait for a quiet moment. Further ones are not kept: they can be
 * made again from 256 records each. */
#define WAITING_MAX 64

/* ---- in memory ---- */

static void keep_full(struct log_tree *tree, unsigned level, uint64_t number)
{
	if (level == 0 && tree->full_lowest >= WAITING_MAX)
		return;
	struct log_tile *tile = malloc(sizeof(*tile));
	if (!tile)
		return;
	tile->level = level;
	tile->number = number;
	memcpy(tile->hashes, tree->edges[level], sizeof(tile->hashes));
	tile->next = tree->full;
	tree->full = tile;
	if (level == 0)
		tree->full_lowest++;
	else
		tree->full_above++;
}

void log_tree_append(struct log_tree *tree, const struct merkle_hash *leaf)
{
	struct merkle_hash hash = *leaf;
	uint64_t number = tree->size / TILE_WIDTH;
	tree->size++;
	for (unsigned level = 0; level < LOG_TREE_LEVELS; level++) {
		tree->edges[level][tree->widths[level]++] = hash;
		if (tree->widths[level] < TILE_WIDTH)
			return;
		keep_full(tree, level, number);
		hash = merkle_complete(tree->edges[level], TILE_WIDTH);
		tree->widths[level] = 0;
		number /= TILE_WIDTH;
	}
}

void log_tree_range(const struct log_tree *tree, struct merkle_range *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned level = LOG_TREE_LEVELS; level-- > 0;) {
		unsigned at = 0;
		for (unsigned bit = 8; bit-- > 0;) {
			if (!(tree->widths[level] & 1u << bit))
				continue;
			struct merkle_hash hash =
				merkle_complete(&tree->edges[level][at], (size_t)1 << bit);
			merkle_append_subtree(out, level * 8 + bit, &hash);
			at += 1u << bit;
		}
	}
}

static void free_tiles(struct log_tile *tile)
{
	while (tile) {
		struct log_tile *next = tile->next;
		free(tile);
		tile = next;
	}
}

void log_tree_release(struct log_tree *tree)
{
	free_tiles(tree->full);
	tree->full = NULL;
	tree->full_lowest = tree->full_above = 0;
}

/* ---- files ---- */

static void tile_file(const struct log *log, unsigned level, uint64_t number,
		      char out[static LOG_PATH_SIZE])
{
	char path[TILE_PATH_SIZE];
	struct tile tile = {.level = level, .number = number, .width = TILE_WIDTH};
	tile_path(&tile, path);
	log_path(log, out, "%s", path);
}

static void make_parent(const struct log *log, const char *path)
{
	char parent[LOG_PATH_SIZE];
	snprintf(parent, sizeof(parent), "%s", path);
	*strrchr(parent, '/') = 0;
	struct err ignored;
	env_make_directories(log->env, parent, &ignored);
}

/* One that a crash leaves torn does not lead to the hash above it and is made again: of the lowest
 * level from 256 records, and so those are not synced; of the next from 65,536. */
static void write_tile(const struct log *log, unsigned level, uint64_t number,
		       const struct merkle_hash *hashes)
{
	char path[LOG_PATH_SIZE];
	struct env_file *file;
	struct err ignored;
	tile_file(log, level, number, path);
	enum err_code code =
		env_file_open(log->env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file, &ignored);
	if (code == ERR_NOT_FOUND) {
		make_parent(log, path);
		code = env_file_open(log->env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file,
				     &ignored);
	}
	if (code != ERR_OK)
		return;
	code = env_file_write(file, 0, hashes, TILE_BYTES, &ignored);
	if (code == ERR_OK && level > 0)
		(void)env_file_sync(file, &ignored);
	env_file_close(file);
}

/* False if it is not there whole. */
static bool read_tile(const struct log *log, unsigned level, uint64_t number,
		      struct merkle_hash *out)
{
	char path[LOG_PATH_SIZE];
	struct env_file *file;
	struct err ignored;
	uint64_t size = 0;
	size_t got = 0;
	tile_file(log, level, number, path);
	if (env_file_open(log->env, path, ENV_OPEN_READ, &file, &ignored) != ERR_OK)
		return false;
	bool whole = env_file_size(file, &size, &ignored) == ERR_OK && size == TILE_BYTES &&
		     env_file_read(file, 0, out, TILE_BYTES, &got, &ignored) == ERR_OK &&
		     got == TILE_BYTES;
	env_file_close(file);
	return whole;
}

static bool tile_is_there(const struct log *log, unsigned level, uint64_t number)
{
	char path[LOG_PATH_SIZE];
	struct env_file *file;
	struct err ignored;
	uint64_t size = 0;
	tile_file(log, level, number, path);
	if (env_file_open(log->env, path, ENV_OPEN_READ, &file, &ignored) != ERR_OK)
		return false;
	bool there = env_file_size(file, &size, &ignored) == ERR_OK && size == TILE_BYTES;
	env_file_close(file);
	return there;
}

/* Takes the full tiles from `lowest` up out of the list; under the lock. */
static struct log_tile *take_full(struct log_tree *tree, unsigned lowest)
{
	struct log_tile *taken = NULL, **at = &tree->full;
	while (*at) {
		struct log_tile *tile = *at;
		if (tile->level < lowest) {
			at = &tile->next;
			continue;
		}
		*at = tile->next;
		tile->next = taken;
		taken = tile;
	}
	tree->full_above = 0;
	tree->full_lowest = lowest > 0 ? tree->full_lowest : 0;
	return taken;
}

void log_tree_flush(struct log *log, unsigned lowest)
{
	/* Nothing is added while this job runs, and readers find them in memory until they are in
	 * files. */
	for (struct log_tile *tile = log->tree.full; tile; tile = tile->next)
		if (tile->level >= lowest)
			write_tile(log, tile->level, tile->number, tile->hashes);
	pthread_mutex_lock(&log->lock);
	struct log_tile *written = take_full(&log->tree, lowest);
	pthread_mutex_unlock(&log->lock);
	free_tiles(written);
}

/* ---- making tiles from what is below them ---- */

struct leaves {
	struct merkle_hash *out;
	size_t count;
};

static enum err_code add_leaf(void *argument, const struct frame *frame, struct err *err)
{
	(void)err;
	struct leaves *leaves = argument;
	leaves->out[leaves->count++] = merkle_leaf(frame->text.data, frame->text.size);
	return ERR_OK;
}

static enum err_code leaves_of(struct log *log, uint64_t begin, uint64_t end,
			       struct merkle_hash *out, struct err *err)
{
	struct leaves leaves = {out, 0};
	struct log_walk walk = {add_leaf, &leaves};
	return log_walk_records(log, begin, end, &walk, err);
}

/* Whose files are believed: those of this level and above. First all, then those that are synced,
 * then none. */
static const unsigned trusts[] = {0, 1, LOG_TREE_LEVELS};
#define TRUSTS (sizeof(trusts) / sizeof(trusts[0]))

static enum err_code compute_tile(struct log *log, unsigned level, uint64_t number, unsigned width,
				  unsigned trusted, struct merkle_hash *out, struct err *err);

/* The root of a full tile, from its file where that is to be trusted, else from below. */
static enum err_code tile_root(struct log *log, unsigned level, uint64_t number, unsigned trusted,
			       struct merkle_hash *out, struct err *err)
{
	struct merkle_hash hashes[TILE_WIDTH];
	if (level < trusted || !read_tile(log, level, number, hashes)) {
		ERR_TRY(compute_tile(log, level, number, TILE_WIDTH, trusted, hashes, err));
		write_tile(log, level, number, hashes);
	}
	*out = merkle_complete(hashes, TILE_WIDTH);
	return ERR_OK;
}

/* Recursion as deep as there are levels. */
static enum err_code compute_tile(struct log *log, unsigned level, uint64_t number, unsigned width,
				  unsigned trusted, struct merkle_hash *out, struct err *err)
{
	uint64_t first = number * TILE_WIDTH;
	if (level == 0)
		return leaves_of(log, first, first + width, out, err);
	for (unsigned i = 0; i < width; i++)
		ERR_TRY(tile_root(log, level - 1, first + i, trusted, &out[i], err));
	return ERR_OK;
}

static bool range_equal(const struct merkle_range *a, const struct merkle_range *b)
{
	return a->size == b->size && a->count == b->count &&
	       memcmp(a->hashes, b->hashes, a->count * MERKLE_HASH_SIZE) == 0;
}

static enum err_code load_edges(struct log *log, uint64_t size, unsigned trusted, struct err *err)
{
	struct log_tree *tree = &log->tree;
	tree->size = size;
	for (unsigned level = 0; level < LOG_TREE_LEVELS; level++) {
		uint64_t hashes = size >> (8 * level);
		tree->widths[level] = (unsigned)(hashes % TILE_WIDTH);
		ERR_TRY(compute_tile(log, level, hashes / TILE_WIDTH, tree->widths[level], trusted,
				     tree->edges[level], err));
	}
	return ERR_OK;
}

enum err_code log_tree_load(struct log *log, const struct merkle_range *range, struct err *err)
{
	struct merkle_range loaded;
	for (size_t i = 0; i < TRUSTS; i++) {
		ERR_TRY(load_edges(log, range->size, trusts[i], err));
		log_tree_range(&log->tree, &loaded);
		if (range_equal(&loaded, range))
			return ERR_OK;
	}
	return ERR_SET(err, ERR_CORRUPT,
		       "%s: the first %llu records do not lead to the tree that segment "
		       "%012llx.seg was started with; restore the log from a copy",
		       log->directory, (unsigned long long)range->size,
		       (unsigned long long)range->size);
}

enum err_code log_tree_repair(struct log *log, struct err *err)
{
	struct merkle_hash root;
	for (unsigned level = 1; level < LOG_TREE_LEVELS; level++) {
		uint64_t full = log->tree.size >> (8 * (level + 1));
		for (uint64_t number = 0; number < full; number++)
			if (!tile_is_there(log, level, number))
				ERR_TRY(tile_root(log, level, number, 0, &root, err));
	}
	return ERR_OK;
}

/* ---- reading ---- */

struct log_tree_reader {
	struct log *log;
	struct {
		uint64_t number;
		unsigned width; /* 0: nothing kept */
		struct merkle_hash hashes[TILE_WIDTH];
	} tiles[LOG_TREE_LEVELS];
};

struct log_tree_reader *log_tree_reader_new(struct log *log)
{
	struct log_tree_reader *reader = calloc(1, sizeof(*reader));
	if (!reader)
		return NULL;
	reader->log = log;
	return reader;
}

void log_tree_reader_free(struct log_tree_reader *reader)
{
	free(reader);
}

/* The part of a tile that memory has: its width, or 0. */
static unsigned tile_in_memory(struct log *log, unsigned level, uint64_t number,
			       struct merkle_hash *out)
{
	unsigned width = 0;
	pthread_mutex_lock(&log->lock);
	const struct log_tree *tree = &log->tree;
	if (number == tree->size >> (8 * (level + 1))) {
		width = tree->widths[level];
		memcpy(out, tree->edges[level], width * MERKLE_HASH_SIZE);
	}
	for (struct log_tile *tile = tree->full; tile && width == 0; tile = tile->next) {
		if (tile->level != level || tile->number != number)
			continue;
		width = TILE_WIDTH;
		memcpy(out, tile->hashes, sizeof(tile->hashes));
	}
	pthread_mutex_unlock(&log->lock);
	return width;
}

static enum err_code load_tile(struct log_tree_reader *reader, unsigned level, uint64_t number,
			       unsigned width, struct err *err);

/* A full tile that is no longer in memory: its file if that leads to the hash above it, else made
 * again, if need be from the records alone. */
static enum err_code load_full_tile(struct log_tree_reader *reader, unsigned level, uint64_t number,
				    struct merkle_hash *out, struct err *err)
{
	struct log *log = reader->log;
	assert(level + 1 < LOG_TREE_LEVELS);
	unsigned place = (unsigned)(number % TILE_WIDTH);
	ERR_TRY(load_tile(reader, level + 1, number / TILE_WIDTH, place + 1, err));
	struct merkle_hash expected = reader->tiles[level + 1].hashes[place];
	struct merkle_hash root;
	if (read_tile(log, level, number, out)) {
		root = merkle_complete(out, TILE_WIDTH);
		if (merkle_equal(&root, &expected))
			return ERR_OK;
	}
	for (size_t i = 0; i < TRUSTS; i++) {
		ERR_TRY(compute_tile(log, level, number, TILE_WIDTH, trusts[i], out, err));
		root = merkle_complete(out, TILE_WIDTH);
		if (merkle_equal(&root, &expected)) {
			write_tile(log, level, number, out);
			return ERR_OK;
		}
	}
	return ERR_SET(err, ERR_CORRUPT,
		       "%s: hash tile %llu of level %u cannot be made again: the records do not "
		       "lead to the hash above it",
		       log->directory, (unsigned long long)number, level);
}

/* Keeps at least the first `width` hashes of a tile that the tree has. A tile that was partial a
 * moment ago may be full and in a file by now. */
static enum err_code load_tile(struct log_tree_reader *reader, unsigned level, uint64_t number,
			       unsigned width, struct err *err)
{
	assert(level < LOG_TREE_LEVELS && width <= TILE_WIDTH);
	if (reader->tiles[level].number == number && reader->tiles[level].width >= width)
		return ERR_OK;
	struct merkle_hash *hashes = reader->tiles[level].hashes;
	reader->tiles[level].width = 0;
	unsigned found = tile_in_memory(reader->log, level, number, hashes);
	if (found < width) {
		ERR_TRY(load_full_tile(reader, level, number, hashes, err));
		found = TILE_WIDTH;
	}
	reader->tiles[level].number = number;
	reader->tiles[level].width = found;
	return ERR_OK;
}

static enum err_code read_hash(void *argument, unsigned level, uint64_t index,
			       struct merkle_hash *out, struct err *err)
{
	struct log_tree_reader *reader = argument;
	unsigned within = level % 8;
	uint64_t first = index << within;
	unsigned place = (unsigned)(first % TILE_WIDTH);
	unsigned count = 1u << within;
	ERR_TRY(load_tile(reader, level / 8, first / TILE_WIDTH, place + count, err));
	*out = merkle_complete(&reader->tiles[level / 8].hashes[place], count);
	return ERR_OK;
}

struct merkle_reader log_tree_merkle(struct log_tree_reader *reader)
{
	return (struct merkle_reader){read_hash, reader};
}

enum err_code log_tree_read_tile(struct log_tree_reader *reader, unsigned level, uint64_t number,
				 unsigned width, struct merkle_hash *out, struct err *err)
{
	ERR_TRY(load_tile(reader, level, number, width, err));
	memcpy(out, reader->tiles[level].hashes, width * MERKLE_HASH_SIZE);
	return ERR_OK;
}
