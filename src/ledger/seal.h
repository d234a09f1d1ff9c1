/* Sealed segments: a segment that is full, rewritten in blocks of zstd, each of the records of one
 * entry tile, with a table of them under a digest. The layout stands in docs/formats/log.md.
 *
 * The table has the hashes that the records of each block lead to, so that the tree before the
 * next segment follows from it alone: seals are checked without unpacking anything, and no record
 * comes out of a block that does not lead to them. */
#ifndef LEDGER_SEAL_H
#define LEDGER_SEAL_H

#include "env/env.h"
#include "ledger/segment.h"
#include "ledger/tile.h"

#define SEAL_NAME_SIZE 18 /* 12 hex digits, ".seal" and NUL */
/* Of a block, unpacked: a kind, a size and a text for each record. */
#define SEAL_BLOCK_MAX (TILE_WIDTH * (RECORD_SIZE_MAX + 3u))
/* Complete subtrees that the records of a block which is no whole tile make up, at most. */
#define SEAL_SUBTREES_MAX 16
#define SEAL_TEMPORARY "sealing.tmp"

struct seal_header {
	struct segment_header segment; /* as it was of the open segment */
	uint64_t records;
	uint64_t blocks;
	uint64_t table_size;
	uint64_t file_size;
	uint8_t digest[32]; /* SHA-256 of the table */
};

void seal_name(uint64_t first_index, char out[static SEAL_NAME_SIZE]);
bool seal_name_parse(const char *name, uint64_t *first_index);

/* The complete subtrees that make up the records begin to end - 1 (of one tile), by level; the
 * count. */
unsigned seal_subtrees(uint64_t begin, uint64_t end, uint8_t levels[static SEAL_SUBTREES_MAX]);
/* Where block `block` of a segment ends, which has the records first to first + records - 1. */
uint64_t seal_block_end(uint64_t first, uint64_t records, uint64_t block);

void seal_header_write(const struct seal_header *header, uint8_t out[static SEGMENT_HEADER_SIZE]);
/* False if it is damaged or of another format. */
bool seal_header_parse(const uint8_t data[static SEGMENT_HEADER_SIZE], struct seal_header *out);

/* One entry of the table. */
#define SEAL_ENTRY_SIZE 12
struct seal_entry {
	uint32_t packed, size; /* bytes of the block, packed and unpacked */
	uint32_t crc;          /* CRC-32C of the packed ones */
};
void seal_entry_write(const struct seal_entry *entry, uint8_t out[static SEAL_ENTRY_SIZE]);

/* ---- reading ---- */

struct seal_reader;

/* Reads and checks header and table. The file and the path stay the caller's; `out` is NULL on
 * failure. ERR_CORRUPT names path and offset. */
enum err_code seal_reader_open(struct env_file *file, const char *path, struct seal_reader **out,
			       struct err *err);
void seal_reader_free(struct seal_reader *reader); /* NULL is fine */
const struct seal_header *seal_reader_header(const struct seal_reader *reader);
/* The tree behind the last record, from the header's and the table. */
void seal_reader_tree(const struct seal_reader *reader, struct merkle_range *out);
/* Of the block that the next record stands in. */
uint64_t seal_reader_offset(const struct seal_reader *reader);
/* The next record, valid until the next call, its block unpacked and checked against the table
 * first: ERR_CORRUPT if that does not hold. *found is false behind the last. */
enum err_code seal_reader_next(struct seal_reader *reader, struct frame *frame, bool *found,
			       struct err *err);
enum err_code seal_reader_seek(struct seal_reader *reader, uint64_t index, struct err *err);

/* ---- writing ---- */

struct seal_writer;

/* What the segment is to be sealed against: where it ends, from the header of the next one. */
struct seal_end {
	struct merkle_range tree;
	uint8_t link[LINK_SIZE];
};

/* Begins to seal the segment that starts with `first`, in a temporary file of the folder. */
enum err_code seal_writer_open(struct env *env, const char *folder, uint64_t first,
			       const struct seal_end *end, struct seal_writer **out,
			       struct err *err);
/* One more piece of the work, a block at most. *done: the sealed file is whole, was read back,
 * and has its name durably; the open one is still there. ERR_CORRUPT: a record of the open segment
 * is missing, damaged or another than the tree says (names segment and offset); any other error is
 * of the writing. After an error only seal_writer_free. */
enum err_code seal_writer_step(struct seal_writer *writer, bool *done, struct err *err);
/* Bytes of both, for figures; after *done. */
void seal_writer_sizes(const struct seal_writer *writer, uint64_t *open, uint64_t *sealed);
void seal_writer_free(struct seal_writer *writer); /* and its temporary file */

#endif
