#include "ledger/seal.h"

#include "base/crc32c.h"
#include "base/sha256.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

static const char magic[8] = "PARLEYSL";
#define SEAL_VERSION 1

enum {
	AT_RECORDS = 2176, /* behind the most hashes that a segment's header can have */
	AT_BLOCKS = 2184,
	AT_TABLE_SIZE = 2192,
	AT_FILE_SIZE = 2200,
	AT_DIGEST = 2208,
};
/* A segment's bytes bound its records: each has a frame's header and a text. */
#define RECORDS_MAX (SEGMENT_SIZE_MAX / (FRAME_HEADER_SIZE + 1))

/* ---- names, places ---- */

void seal_name(uint64_t first_index, char out[static SEAL_NAME_SIZE])
{
	assert(first_index < UINT64_C(1) << 48);
	snprintf(out, SEAL_NAME_SIZE, "%012llx.seal", (unsigned long long)first_index);
}

bool seal_name_parse(const char *name, uint64_t *first_index)
{
	char open[SEGMENT_NAME_SIZE];
	if (strlen(name) != SEAL_NAME_SIZE - 1 || strcmp(name + 12, ".seal") != 0)
		return false;
	snprintf(open, sizeof(open), "%.12s.seg", name);
	return segment_name_parse(open, first_index);
}

unsigned seal_subtrees(uint64_t begin, uint64_t end, uint8_t levels[static SEAL_SUBTREES_MAX])
{
	unsigned count = 0;
	for (uint64_t at = begin; at < end; at += UINT64_C(1) << levels[count++]) {
		unsigned level = 8;
		assert(count < SEAL_SUBTREES_MAX);
		while ((at & ((1u << level) - 1)) != 0 || (UINT64_C(1) << level) > end - at)
			level--;
		levels[count] = (uint8_t)level;
	}
	return count;
}

uint64_t seal_block_end(uint64_t first, uint64_t records, uint64_t block)
{
	uint64_t end = (first / TILE_WIDTH + block + 1) * TILE_WIDTH;
	return end < first + records ? end : first + records;
}

static uint64_t block_begin(uint64_t first, uint64_t block)
{
	return block == 0 ? first : (first / TILE_WIDTH + block) * TILE_WIDTH;
}

/* ---- header and table ---- */

void seal_header_write(const struct seal_header *header, uint8_t out[static SEGMENT_HEADER_SIZE])
{
	segment_page_fields(&header->segment, out);
	bytes_store_number(out + AT_RECORDS, header->records, 8);
	bytes_store_number(out + AT_BLOCKS, header->blocks, 8);
	bytes_store_number(out + AT_TABLE_SIZE, header->table_size, 8);
	bytes_store_number(out + AT_FILE_SIZE, header->file_size, 8);
	memcpy(out + AT_DIGEST, header->digest, sizeof(header->digest));
	segment_page_finish(out, magic, SEAL_VERSION);
}

bool seal_header_parse(const uint8_t data[static SEGMENT_HEADER_SIZE], struct seal_header *out)
{
	memset(out, 0, sizeof(*out));
	if (!segment_page_check(data, magic, SEAL_VERSION) ||
	    !segment_page_parse(data, &out->segment))
		return false;
	out->records = bytes_load_number(data + AT_RECORDS, 8);
	out->blocks = bytes_load_number(data + AT_BLOCKS, 8);
	out->table_size = bytes_load_number(data + AT_TABLE_SIZE, 8);
	out->file_size = bytes_load_number(data + AT_FILE_SIZE, 8);
	memcpy(out->digest, data + AT_DIGEST, sizeof(out->digest));
	if (out->records < 1 || out->records > RECORDS_MAX)
		return false;
	uint64_t first = out->segment.first_index, last = first + out->records - 1;
	return out->blocks == last / TILE_WIDTH - first / TILE_WIDTH + 1 &&
	       out->table_size >= out->blocks * SEAL_ENTRY_SIZE &&
	       out->table_size <=
		       out->blocks * (SEAL_ENTRY_SIZE + SEAL_SUBTREES_MAX * MERKLE_HASH_SIZE) &&
	       out->file_size > SEGMENT_HEADER_SIZE + out->table_size;
}

void seal_entry_write(const struct seal_entry *entry, uint8_t out[static SEAL_ENTRY_SIZE])
{
	bytes_store_number(out, entry->packed, 4);
	bytes_store_number(out + 4, entry->size, 4);
	bytes_store_number(out + 8, entry->crc, 4);
}

/* ---- reading ---- */

struct block {
	uint64_t offset;
	struct seal_entry entry;
	uint64_t hashes; /* of its subtrees: how many stand before them */
};

struct seal_reader {
	struct env_file *file;
	const char *path;
	struct seal_header header;
	uint8_t *table;
	const uint8_t *hashes; /* in it */
	struct block *blocks;
	ZSTD_DCtx *context;

	uint64_t index;  /* of the next record */
	uint64_t loaded; /* the block unpacked; header.blocks: none */
	uint64_t begin, end;
	uint8_t *packed, *data;
	size_t packed_capacity, data_capacity;
	size_t offsets[TILE_WIDTH + 1]; /* of the texts in `data` */
	struct merkle_hash leaves[TILE_WIDTH];
};

static enum err_code damaged_table(const struct seal_reader *reader, const char *what,
				   struct err *err)
{
	return ERR_SET(err, ERR_CORRUPT,
		       "%s: offset 0: the seal is damaged: %s; restore this file "
		       "from a copy",
		       reader->path, what);
}

static enum err_code read_exactly(const struct seal_reader *reader, uint64_t offset, void *out,
				  size_t size, struct err *err)
{
	size_t got;
	ERR_TRY(env_file_read(reader->file, offset, out, size, &got, err));
	return got == size ? ERR_OK : damaged_table(reader, "the file is too short", err);
}

/* Where each block lies, and its hashes. */
static enum err_code place_blocks(struct seal_reader *reader, struct err *err)
{
	const struct seal_header *header = &reader->header;
	uint64_t offset = SEGMENT_HEADER_SIZE + header->table_size, hashes = 0;
	uint64_t first = header->segment.first_index;
	uint8_t levels[SEAL_SUBTREES_MAX];
	for (uint64_t i = 0; i < header->blocks; i++) {
		const uint8_t *entry = reader->table + i * SEAL_ENTRY_SIZE;
		struct block *block = &reader->blocks[i];
		*block = (struct block){
			.offset = offset,
			.entry = {.packed = (uint32_t)bytes_load_number(entry, 4),
				  .size = (uint32_t)bytes_load_number(entry + 4, 4),
				  .crc = (uint32_t)bytes_load_number(entry + 8, 4)},
			.hashes = hashes
                };
		if (block->entry.size > SEAL_BLOCK_MAX ||
		    block->entry.packed > ZSTD_compressBound(SEAL_BLOCK_MAX))
			return damaged_table(reader, "a block is too large", err);
		offset += block->entry.packed;
		hashes += seal_subtrees(block_begin(first, i),
					seal_block_end(first, header->records, i), levels);
	}
	if (offset != header->file_size ||
	    hashes * MERKLE_HASH_SIZE + header->blocks * SEAL_ENTRY_SIZE != header->table_size)
		return damaged_table(reader, "its table does not fit the file", err);
	return ERR_OK;
}

static enum err_code read_table(struct seal_reader *reader, struct err *err)
{
	struct seal_header *header = &reader->header;
	uint8_t page[SEGMENT_HEADER_SIZE], digest[SHA256_SIZE];
	uint64_t size;
	ERR_TRY(read_exactly(reader, 0, page, sizeof(page), err));
	if (!seal_header_parse(page, header))
		return damaged_table(reader, "its header", err);
	ERR_TRY(env_file_size(reader->file, &size, err));
	if (size != header->file_size)
		return damaged_table(reader, "the file has another size", err);
	reader->table = malloc(header->table_size);
	reader->blocks = calloc(header->blocks, sizeof(*reader->blocks));
	reader->context = ZSTD_createDCtx();
	if (!reader->table || !reader->blocks || !reader->context)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", reader->path);
	ERR_TRY(read_exactly(reader, SEGMENT_HEADER_SIZE, reader->table, header->table_size, err));
	sha256_of(reader->table, header->table_size, digest);
	if (memcmp(digest, header->digest, sizeof(digest)) != 0)
		return damaged_table(reader, "its table", err);
	reader->hashes = reader->table + header->blocks * SEAL_ENTRY_SIZE;
	reader->index = header->segment.first_index;
	reader->loaded = header->blocks;
	return place_blocks(reader, err);
}

enum err_code seal_reader_open(struct env_file *file, const char *path, struct seal_reader **out,
			       struct err *err)
{
	struct seal_reader *reader = calloc(1, sizeof(*reader));
	*out = NULL;
	if (!reader)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", path);
	reader->file = file;
	reader->path = path;
	enum err_code code = read_table(reader, err);
	if (code != ERR_OK) {
		seal_reader_free(reader);
		return code;
	}
	*out = reader;
	return ERR_OK;
}

void seal_reader_free(struct seal_reader *reader)
{
	if (!reader)
		return;
	ZSTD_freeDCtx(reader->context);
	free(reader->table);
	free(reader->blocks);
	free(reader->packed);
	free(reader->data);
	free(reader);
}

const struct seal_header *seal_reader_header(const struct seal_reader *reader)
{
	return &reader->header;
}

static struct merkle_hash table_hash(const struct seal_reader *reader, uint64_t number)
{
	struct merkle_hash hash;
	memcpy(hash.bytes, reader->hashes + number * MERKLE_HASH_SIZE, MERKLE_HASH_SIZE);
	return hash;
}

void seal_reader_tree(const struct seal_reader *reader, struct merkle_range *out)
{
	const struct seal_header *header = &reader->header;
	uint64_t first = header->segment.first_index, number = 0;
	uint8_t levels[SEAL_SUBTREES_MAX];
	*out = header->segment.range;
	for (uint64_t i = 0; i < header->blocks; i++) {
		unsigned count = seal_subtrees(block_begin(first, i),
					       seal_block_end(first, header->records, i), levels);
		for (unsigned j = 0; j < count; j++) {
			struct merkle_hash hash = table_hash(reader, number++);
			merkle_append_subtree(out, levels[j], &hash);
		}
	}
}

static uint64_t block_of(const struct seal_reader *reader, uint64_t index)
{
	return index / TILE_WIDTH - reader->header.segment.first_index / TILE_WIDTH;
}

uint64_t seal_reader_offset(const struct seal_reader *reader)
{
	uint64_t block = block_of(reader, reader->index);
	return block < reader->header.blocks ? reader->blocks[block].offset
					     : reader->header.file_size;
}

/* ---- blocks ---- */

static enum err_code damaged_block(const struct seal_reader *reader, uint64_t number,
				   struct err *err)
{
	uint64_t first = reader->header.segment.first_index;
	return ERR_SET(err, ERR_CORRUPT,
		       "%s: offset %llu: the sealed records %llu to %llu are damaged; restore this "
		       "file from a copy",
		       reader->path, (unsigned long long)reader->blocks[number].offset,
		       (unsigned long long)block_begin(first, number),
		       (unsigned long long)seal_block_end(first, reader->header.records, number) -
			       1);
}

static bool reserve(uint8_t **data, size_t *capacity, size_t size)
{
	if (size <= *capacity)
		return true;
	uint8_t *grown = realloc(*data, size);
	if (!grown)
		return false;
	*data = grown;
	*capacity = size;
	return true;
}

/* False if kinds, sizes and texts are not those of `count` records. */
static bool find_texts(struct seal_reader *reader, size_t count, size_t size)
{
	size_t at = 3 * count;
	for (size_t i = 0; i < count; i++) {
		size_t text = (size_t)bytes_load_number(reader->data + count + 2 * i, 2);
		if (text < 1 || text > RECORD_SIZE_MAX ||
		    !record_kind_text((enum record_kind)reader->data[i]))
			return false;
		reader->offsets[i] = at;
		at += text;
		if (at > size)
			return false;
	}
	reader->offsets[count] = at;
	return at == size;
}

static struct bytes text_at(const struct seal_reader *reader, size_t place)
{
	return bytes_of(reader->data + reader->offsets[place],
			reader->offsets[place + 1] - reader->offsets[place]);
}

static bool leads_to_seal(struct seal_reader *reader, uint64_t number, size_t count)
{
	uint8_t levels[SEAL_SUBTREES_MAX];
	struct merkle_group group;
	group.count = 0;
	for (size_t i = 0; i < count; i++)
		merkle_group_leaf(&group, text_at(reader, i), &reader->leaves[i]);
	merkle_group_finish(&group);
	unsigned subtrees = seal_subtrees(reader->begin, reader->end, levels);
	size_t place = 0;
	for (unsigned i = 0; i < subtrees; i++) {
		struct merkle_hash want = table_hash(reader, reader->blocks[number].hashes + i);
		struct merkle_hash have =
			merkle_complete(&reader->leaves[place], (size_t)1 << levels[i]);
		if (!merkle_equal(&want, &have))
			return false;
		place += (size_t)1 << levels[i];
	}
	return true;
}

static enum err_code load_block(struct seal_reader *reader, uint64_t number, struct err *err)
{
	const struct seal_header *header = &reader->header;
	const struct block *block = &reader->blocks[number];
	const struct seal_entry *entry = &block->entry;
	size_t got;
	reader->loaded = header->blocks;
	if (!reserve(&reader->packed, &reader->packed_capacity, entry->packed) ||
	    !reserve(&reader->data, &reader->data_capacity, entry->size))
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", reader->path);
	ERR_TRY(env_file_read(reader->file, block->offset, reader->packed, entry->packed, &got,
			      err));
	reader->begin = block_begin(header->segment.first_index, number);
	reader->end = seal_block_end(header->segment.first_index, header->records, number);
	size_t count = (size_t)(reader->end - reader->begin);
	if (got != entry->packed || crc32c(0, reader->packed, got) != entry->crc ||
	    entry->size < 3 * count ||
	    ZSTD_decompressDCtx(reader->context, reader->data, entry->size, reader->packed, got) !=
		    entry->size ||
	    !find_texts(reader, count, entry->size) || !leads_to_seal(reader, number, count))
		return damaged_block(reader, number, err);
	reader->loaded = number;
	return ERR_OK;
}

enum err_code seal_reader_next(struct seal_reader *reader, struct frame *frame, bool *found,
			       struct err *err)
{
	const struct seal_header *header = &reader->header;
	*found = false;
	if (reader->index >= header->segment.first_index + header->records)
		return ERR_OK;
	uint64_t number = block_of(reader, reader->index);
	if (reader->loaded != number)
		ERR_TRY(load_block(reader, number, err));
	size_t place = (size_t)(reader->index - reader->begin);
	*frame = (struct frame){.index = reader->index++,
				.kind = (enum record_kind)reader->data[place],
				.text = text_at(reader, place),
				.leaf = &reader->leaves[place]};
	*found = true;
	return ERR_OK;
}

enum err_code seal_reader_seek(struct seal_reader *reader, uint64_t index, struct err *err)
{
	const struct seal_header *header = &reader->header;
	uint64_t first = header->segment.first_index;
	if (index < first || index >= first + header->records)
		return ERR_SET(err, ERR_NOT_FOUND, "%s: record %llu is not in this segment",
			       reader->path, (unsigned long long)index);
	reader->index = index;
	return ERR_OK;
}
