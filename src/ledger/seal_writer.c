/* From a full segment to a sealed one, a piece at a time. Until the sealed file has been written,
 * synced, read back and named, the open one is the truth; a crash leaves a temporary file at most,
 * which the next start removes. */
#include "ledger/seal.h"

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/sha256.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

/* The records are mostly digests: what a higher level takes off them is little beside its time. */
#define LEVEL 1
#define FOLDER_SIZE (SEGMENT_PATH_SIZE - 32)

enum phase { PACKING, READING_BACK, DONE };

struct seal_writer {
	struct env *env;
	char folder[FOLDER_SIZE];
	char temporary[SEGMENT_PATH_SIZE];
	enum phase phase;
	struct seal_end end;
	struct segment_scan scan;
	struct env_file *file;
	struct seal_reader *reader; /* of what was written */
	ZSTD_CCtx *context;
	struct seal_header header;
	uint64_t index; /* the next record */
	uint8_t link[LINK_SIZE];
	struct merkle_range tree;
	uint64_t block, offset, hash_count;
	uint8_t *table;
	struct buf texts, packed;
	/* Of the records of the block, as they come: hashes and links are those of all of it. */
	uint8_t kinds[TILE_WIDTH], sizes[2 * TILE_WIDTH], links[TILE_WIDTH][LINK_SIZE];
	uint64_t places[TILE_WIDTH]; /* in the open segment */
	struct merkle_hash leaves[TILE_WIDTH];
};

static enum err_code no_memory(const struct seal_writer *writer, struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", writer->scan.path);
}

/* ---- opening ---- */

/* The table's size follows from where the segment begins and ends. */
static enum err_code make_table(struct seal_writer *writer, struct err *err)
{
	struct seal_header *header = &writer->header;
	uint64_t first = header->segment.first_index, hashes = 0;
	uint8_t levels[SEAL_SUBTREES_MAX];
	uint64_t begin = first;
	for (uint64_t block = 0; begin < first + header->records; block++) {
		uint64_t end = seal_block_end(first, header->records, block);
		hashes += seal_subtrees(begin, end, levels);
		header->blocks = block + 1;
		begin = end;
	}
	header->table_size = header->blocks * SEAL_ENTRY_SIZE + hashes * MERKLE_HASH_SIZE;
	writer->table = calloc(1, header->table_size);
	writer->offset = SEGMENT_HEADER_SIZE + header->table_size;
	return writer->table ? ERR_OK : no_memory(writer, err);
}

static enum err_code begin(struct seal_writer *writer, uint64_t first, struct err *err)
{
	char path[SEGMENT_PATH_SIZE], name[SEGMENT_NAME_SIZE];
	struct segment_header *header = &writer->header.segment;
	segment_name(first, name);
	snprintf(path, sizeof(path), "%s/%s", writer->folder, name);
	ERR_TRY(segment_scan_open(&writer->scan, writer->env, path, header, err));
	if (header->first_index != first || writer->end.tree.size <= first)
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: offset 16: the segment starts with another "
			       "record than its name says",
			       path);
	writer->header.records = writer->end.tree.size - first;
	writer->index = first;
	writer->tree = header->range;
	memcpy(writer->link, header->link, LINK_SIZE);
	writer->context = ZSTD_createCCtx();
	if (!writer->context)
		return no_memory(writer, err);
	ERR_TRY(make_table(writer, err));
	ERR_TRY(env_unlink(writer->env, writer->temporary, err));
	return env_file_open(writer->env, writer->temporary, ENV_OPEN_WRITE | ENV_OPEN_CREATE,
			     &writer->file, err);
}

enum err_code seal_writer_open(struct env *env, const char *folder, uint64_t first,
			       const struct seal_end *end, struct seal_writer **out,
			       struct err *err)
{
	struct seal_writer *writer = calloc(1, sizeof(*writer));
	*out = NULL;
	if (!writer)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", folder);
	writer->env = env;
	writer->end = *end;
	snprintf(writer->folder, sizeof(writer->folder), "%s", folder);
	snprintf(writer->temporary, sizeof(writer->temporary), "%s/" SEAL_TEMPORARY, folder);
	buf_init(&writer->texts, SEAL_BLOCK_MAX);
	buf_init(&writer->packed, ZSTD_compressBound(SEAL_BLOCK_MAX));
	enum err_code code = begin(writer, first, err);
	if (code != ERR_OK) {
		seal_writer_free(writer);
		return code;
	}
	*out = writer;
	return ERR_OK;
}

void seal_writer_free(struct seal_writer *writer)
{
	struct err ignored;
	if (!writer)
		return;
	seal_reader_free(writer->reader);
	if (writer->file)
		env_file_close(writer->file);
	if (writer->file && writer->phase != DONE)
		env_unlink(writer->env, writer->temporary, &ignored);
	segment_scan_close(&writer->scan);
	ZSTD_freeCCtx(writer->context);
	buf_release(&writer->texts);
	buf_release(&writer->packed);
	free(writer->table);
	free(writer);
}

void seal_writer_sizes(const struct seal_writer *writer, uint64_t *open, uint64_t *sealed)
{
	*open = writer->scan.file_size;
	*sealed = writer->header.file_size;
}

/* ---- one block ---- */

/* The record `at` of the block that begins with `start`. */
static enum err_code damaged(const struct seal_writer *writer, uint64_t start, size_t at,
			     struct err *err)
{
	return ERR_SET(err, ERR_CORRUPT,
		       "%s: offset %llu: record %llu is missing or damaged; restore this file from "
		       "a copy",
		       writer->scan.path, (unsigned long long)writer->places[at],
		       (unsigned long long)(start + at));
}

static enum err_code take_record(struct seal_writer *writer, uint64_t start, struct err *err)
{
	struct frame frame;
	bool found;
	size_t at = (size_t)(writer->index - start);
	writer->places[at] = writer->scan.offset;
	ERR_TRY(segment_scan_next(&writer->scan, &frame, &found, err));
	if (!found || frame.index != writer->index)
		return damaged(writer, start, at, err);
	writer->kinds[at] = (uint8_t)frame.kind;
	writer->sizes[2 * at] = (uint8_t)frame.text.size;
	writer->sizes[2 * at + 1] = (uint8_t)(frame.text.size >> 8);
	memcpy(writer->links[at], frame.link, LINK_SIZE);
	buf_append_bytes(&writer->texts, frame.text);
	writer->index++;
	return writer->texts.failed ? no_memory(writer, err) : ERR_OK;
}

/* The texts side by side, which stay where they are from here on. */
static void hash_texts(struct seal_writer *writer, size_t count)
{
	struct merkle_group group;
	const char *text = writer->texts.data;
	group.count = 0;
	for (size_t i = 0; i < count; i++) {
		size_t size = writer->sizes[2 * i] | (size_t)writer->sizes[2 * i + 1] << 8;
		merkle_group_leaf(&group, bytes_of(text, size), &writer->leaves[i]);
		text += size;
	}
	merkle_group_finish(&group);
}

/* Each record names the one before it. */
static enum err_code check_links(struct seal_writer *writer, uint64_t start, struct err *err)
{
	for (size_t i = 0; i < writer->index - start; i++) {
		if (memcmp(writer->links[i], writer->link, LINK_SIZE) != 0)
			return damaged(writer, start, i, err);
		memcpy(writer->link, writer->leaves[i].bytes, LINK_SIZE);
	}
	return ERR_OK;
}

static void note_hashes(struct seal_writer *writer, uint64_t begin)
{
	uint8_t levels[SEAL_SUBTREES_MAX];
	unsigned count = seal_subtrees(begin, writer->index, levels);
	uint8_t *hashes = writer->table + writer->header.blocks * SEAL_ENTRY_SIZE;
	size_t place = 0;
	for (unsigned i = 0; i < count; i++) {
		struct merkle_hash hash =
			merkle_complete(&writer->leaves[place], (size_t)1 << levels[i]);
		memcpy(hashes + writer->hash_count++ * MERKLE_HASH_SIZE, hash.bytes,
		       MERKLE_HASH_SIZE);
		merkle_append_subtree(&writer->tree, levels[i], &hash);
		place += (size_t)1 << levels[i];
	}
}

/* Kinds, sizes and texts, each together: alike stands beside alike. */
static enum err_code pack(struct seal_writer *writer, size_t count, struct err *err)
{
	struct buf whole = BUF_INIT(SEAL_BLOCK_MAX);
	struct seal_entry entry;
	buf_append(&whole, writer->kinds, count);
	buf_append(&whole, writer->sizes, 2 * count);
	buf_append_bytes(&whole, buf_bytes(&writer->texts));
	buf_clear(&writer->packed);
	size_t bound = ZSTD_compressBound(whole.size), size = 0;
	bool room = !whole.failed && buf_reserve(&writer->packed, bound);
	if (room)
		size = ZSTD_compressCCtx(writer->context, writer->packed.data, bound, whole.data,
					 whole.size, LEVEL);
	entry = (struct seal_entry){.size = (uint32_t)whole.size, .packed = (uint32_t)size};
	buf_release(&whole);
	if (!room || ZSTD_isError(size))
		return no_memory(writer, err);
	entry.crc = crc32c(0, writer->packed.data, size);
	seal_entry_write(&entry, writer->table + writer->block * SEAL_ENTRY_SIZE);
	ERR_TRY(env_file_write(writer->file, writer->offset, writer->packed.data, size, err));
	writer->offset += size;
	return ERR_OK;
}

static enum err_code seal_block(struct seal_writer *writer, struct err *err)
{
	uint64_t first = writer->header.segment.first_index, start = writer->index;
	uint64_t end = seal_block_end(first, writer->header.records, writer->block);
	buf_clear(&writer->texts);
	while (writer->index < end)
		ERR_TRY(take_record(writer, start, err));
	hash_texts(writer, (size_t)(end - start));
	ERR_TRY(check_links(writer, start, err));
	note_hashes(writer, start);
	ERR_TRY(pack(writer, (size_t)(end - start), err));
	writer->block++;
	return ERR_OK;
}

/* ---- the end ---- */

static bool reaches_end(const struct seal_writer *writer)
{
	const struct merkle_range *want = &writer->end.tree, *have = &writer->tree;
	return memcmp(writer->link, writer->end.link, LINK_SIZE) == 0 && have->size == want->size &&
	       have->count == want->count &&
	       memcmp(have->hashes, want->hashes, have->count * MERKLE_HASH_SIZE) == 0;
}

static enum err_code write_table(struct seal_writer *writer, struct err *err)
{
	uint8_t page[SEGMENT_HEADER_SIZE];
	struct seal_header *header = &writer->header;
	if (!reaches_end(writer))
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: its records do not lead to the tree that the next segment was "
			       "started with; restore this file from a copy",
			       writer->scan.path);
	header->file_size = writer->offset;
	sha256_of(writer->table, header->table_size, header->digest);
	seal_header_write(header, page);
	ERR_TRY(env_file_write(writer->file, SEGMENT_HEADER_SIZE, writer->table, header->table_size,
			       err));
	ERR_TRY(env_file_write(writer->file, 0, page, sizeof(page), err));
	ERR_TRY(env_file_sync(writer->file, err));
	ERR_TRY(seal_reader_open(writer->file, writer->temporary, &writer->reader, err));
	writer->phase = READING_BACK;
	return ERR_OK;
}

static enum err_code name_it(struct seal_writer *writer, struct err *err)
{
	char path[SEGMENT_PATH_SIZE], name[SEAL_NAME_SIZE];
	seal_name(writer->header.segment.first_index, name);
	snprintf(path, sizeof(path), "%s/%s", writer->folder, name);
	ERR_TRY(env_rename(writer->env, writer->temporary, path, err));
	writer->phase = DONE;
	return env_sync_directory(writer->env, writer->folder, err);
}

/* One block; what does not read as it was written is an error of the writing, not of the log. */
static enum err_code read_back(struct seal_writer *writer, bool *more, struct err *err)
{
	struct frame frame;
	*more = true;
	for (unsigned i = 0; i < TILE_WIDTH && *more; i++) {
		enum err_code code = seal_reader_next(writer->reader, &frame, more, err);
		if (code == ERR_CORRUPT)
			return ERR_SET(err, ERR_ENVIRONMENT,
				       "%s: what was written reads back as something else",
				       writer->temporary);
		ERR_TRY(code);
	}
	return ERR_OK;
}

enum err_code seal_writer_step(struct seal_writer *writer, bool *done, struct err *err)
{
	bool more;
	*done = false;
	if (writer->phase == PACKING && writer->block < writer->header.blocks)
		return seal_block(writer, err);
	if (writer->phase == PACKING)
		return write_table(writer, err);
	assert(writer->phase == READING_BACK);
	ERR_TRY(read_back(writer, &more, err));
	if (more)
		return ERR_OK;
	ERR_TRY(name_it(writer, err));
	*done = true;
	return ERR_OK;
}
