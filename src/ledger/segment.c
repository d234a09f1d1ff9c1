#include "ledger/segment.h"

#include "base/crc32c.h"
#include "ledger/packing.h"
#include "ledger/seal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_SIZE (256u << 10)
/* The unit that a disk writes as a whole. */
#define SECTOR_SIZE 512u

static const char header_magic[8] = "PARLEYLG";

/* ---- header ---- */

enum {
	AT_VERSION = 8,
	AT_CRC = 12,
	AT_FIRST_INDEX = 16,
	AT_OLDEST_OPEN = 24,
	AT_ORIGIN = 32,
	AT_LINK = 64,
	AT_COUNT = 76,
	AT_HASHES = 80,
};

void segment_page_fields(const struct segment_header *header,
			 uint8_t page[static SEGMENT_HEADER_SIZE])
{
	memset(page, 0, SEGMENT_HEADER_SIZE);
	bytes_store_number(page + AT_FIRST_INDEX, header->first_index, 8);
	bytes_store_number(page + AT_OLDEST_OPEN, header->oldest_open, 8);
	memcpy(page + AT_ORIGIN, header->origin, sizeof(header->origin));
	memcpy(page + AT_LINK, header->link, LINK_SIZE);
	bytes_store_number(page + AT_COUNT, header->range.count, 4);
	memcpy(page + AT_HASHES, header->range.hashes, header->range.count * MERKLE_HASH_SIZE);
}

static uint32_t page_crc(const uint8_t *page)
{
	return crc32c(0, page + AT_FIRST_INDEX, SEGMENT_HEADER_SIZE - AT_FIRST_INDEX);
}

void segment_page_finish(uint8_t page[static SEGMENT_HEADER_SIZE], const char magic[static 8],
			 unsigned version)
{
	memcpy(page, magic, 8);
	bytes_store_number(page + AT_VERSION, version, 4);
	bytes_store_number(page + AT_CRC, page_crc(page), 4);
}

bool segment_page_check(const uint8_t page[static SEGMENT_HEADER_SIZE], const char magic[static 8],
			unsigned newest)
{
	uint64_t version = bytes_load_number(page + AT_VERSION, 4);
	return memcmp(page, magic, 8) == 0 && version >= 1 && version <= newest &&
	       bytes_load_number(page + AT_CRC, 4) == page_crc(page);
}

bool segment_page_parse(const uint8_t page[static SEGMENT_HEADER_SIZE], struct segment_header *out)
{
	memset(out, 0, sizeof(*out));
	out->version = (unsigned)bytes_load_number(page + AT_VERSION, 4);
	out->first_index = bytes_load_number(page + AT_FIRST_INDEX, 8);
	out->oldest_open = bytes_load_number(page + AT_OLDEST_OPEN, 8);
	memcpy(out->origin, page + AT_ORIGIN, sizeof(out->origin));
	memcpy(out->link, page + AT_LINK, LINK_SIZE);
	out->range.size = out->first_index;
	out->range.count = (unsigned)bytes_load_number(page + AT_COUNT, 4);
	if (out->first_index >> 48 ||
	    out->range.count != (unsigned)__builtin_popcountll(out->first_index) ||
	    out->oldest_open > out->first_index)
		return false;
	memcpy(out->range.hashes, page + AT_HASHES, out->range.count * MERKLE_HASH_SIZE);
	return true;
}

void segment_header_write(const struct segment_header *header,
			  uint8_t out[static SEGMENT_HEADER_SIZE])
{
	segment_page_fields(header, out);
	segment_page_finish(out, header_magic, SEGMENT_VERSION);
}

bool segment_header_parse(const uint8_t data[static SEGMENT_HEADER_SIZE],
			  struct segment_header *out)
{
	memset(out, 0, sizeof(*out));
	return segment_page_check(data, header_magic, SEGMENT_VERSION) &&
	       segment_page_parse(data, out);
}

void segment_name(uint64_t first_index, char out[static SEGMENT_NAME_SIZE])
{
	assert(first_index < UINT64_C(1) << 48);
	snprintf(out, SEGMENT_NAME_SIZE, "%012llx.seg", (unsigned long long)first_index);
}

bool segment_name_parse(const char *name, uint64_t *first_index)
{
	char again[SEGMENT_NAME_SIZE];
	if (strlen(name) != SEGMENT_NAME_SIZE - 1 || strcmp(name + 12, ".seg") != 0)
		return false;
	*first_index = 0;
	for (size_t i = 0; i < 12; i++) {
		unsigned char c = (unsigned char)name[i];
		unsigned digit = c - (c <= '9' ? '0' : 'a' - 10u);
		if (digit > 15)
			return false;
		*first_index = *first_index << 4 | digit;
	}
	segment_name(*first_index, again);
	return strcmp(name, again) == 0;
}

/* ---- frames ---- */

enum {
	AT_FRAME_VERSION = 2,
	AT_FRAME_KIND = 3,
	AT_FRAME_CRC = 4,
	AT_FRAME_INDEX = 8,
	AT_FRAME_SIZE = 14,
	AT_FRAME_UNSYNCED = 16,
	AT_FRAME_LINK = 20,
};

/* Over everything but itself. */
static uint32_t frame_crc(const uint8_t *frame, size_t text_size)
{
	uint32_t crc = crc32c(0, frame, AT_FRAME_CRC);
	return crc32c(crc, frame + AT_FRAME_INDEX, frame_size(text_size) - AT_FRAME_INDEX);
}

/* Packed where that is shorter; the version tells which. */
static size_t write_text(const struct frame *frame, unsigned version, uint8_t *out)
{
	struct bytes text = frame->text;
	size_t size = version > 1 ? packing_pack(text, out + FRAME_HEADER_SIZE) : 0;
	bool packed = size > 0 && size < text.size;
	out[AT_FRAME_VERSION] = packed ? 2 : 1;
	if (packed)
		return size;
	memcpy(out + FRAME_HEADER_SIZE, text.data, text.size);
	return text.size;
}

size_t frame_write(const struct frame *frame, unsigned version, uint8_t *out)
{
	assert(frame->text.size >= 1 && frame->text.size <= RECORD_SIZE_MAX);
	size_t size = write_text(frame, version, out);
	out[0] = 'P';
	out[1] = 'R';
	out[AT_FRAME_KIND] = (uint8_t)frame->kind;
	bytes_store_number(out + AT_FRAME_INDEX, frame->index, 6);
	bytes_store_number(out + AT_FRAME_SIZE, size, 2);
	bytes_store_number(out + AT_FRAME_UNSYNCED, frame->unsynced, 4);
	memcpy(out + AT_FRAME_LINK, frame->link, LINK_SIZE);
	bytes_store_number(out + AT_FRAME_CRC, frame_crc(out, size), 4);
	return frame_size(size);
}

static bool read_text(const uint8_t *data, size_t size, char *room, struct frame *out)
{
	out->text = bytes_of(data + FRAME_HEADER_SIZE, size);
	if (data[AT_FRAME_VERSION] == 2)
		out->text = bytes_of(room, packing_unpack(out->text, room));
	return out->text.size > 0;
}

bool frame_parse(const uint8_t *data, size_t size, char *room, struct frame *out)
{
	if (size < FRAME_HEADER_SIZE || data[0] != 'P' || data[1] != 'R' ||
	    data[AT_FRAME_VERSION] < 1 || data[AT_FRAME_VERSION] > SEGMENT_VERSION)
		return false;
	size_t text_size = (size_t)bytes_load_number(data + AT_FRAME_SIZE, 2);
	if (text_size < 1 || text_size > RECORD_SIZE_MAX || frame_size(text_size) > size ||
	    bytes_load_number(data + AT_FRAME_CRC, 4) != frame_crc(data, text_size))
		return false;
	out->kind = (enum record_kind)data[AT_FRAME_KIND];
	out->index = bytes_load_number(data + AT_FRAME_INDEX, 6);
	out->unsynced = (uint32_t)bytes_load_number(data + AT_FRAME_UNSYNCED, 4);
	memcpy(out->link, data + AT_FRAME_LINK, LINK_SIZE);
	out->stored = frame_size(text_size);
	out->leaf = NULL;
	return record_kind_text(out->kind) != NULL && out->unsynced <= out->index &&
	       read_text(data, text_size, room, out);
}

/* ---- scanning ---- */

static enum err_code read_header(struct segment_scan *scan, struct segment_header *header,
				 struct err *err)
{
	size_t got;
	ERR_TRY(env_file_size(scan->file, &scan->file_size, err));
	scan->buffer = malloc(BUFFER_SIZE + PACKING_ROOM);
	if (!scan->buffer)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", scan->path);
	scan->room = (char *)scan->buffer + BUFFER_SIZE;
	ERR_TRY(env_file_read(scan->file, 0, scan->buffer, SEGMENT_HEADER_SIZE, &got, err));
	if (got < SEGMENT_HEADER_SIZE || !segment_header_parse(scan->buffer, header))
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: offset 0: the segment header is damaged, or written by a later "
			       "version of parley",
			       scan->path);
	scan->offset = SEGMENT_HEADER_SIZE;
	return ERR_OK;
}

static enum err_code open_sealed(struct segment_scan *scan, struct segment_header *header,
				 struct err *err)
{
	ERR_TRY(env_file_size(scan->file, &scan->file_size, err));
	ERR_TRY(seal_reader_open(scan->file, scan->path, &scan->seal, err));
	*header = seal_reader_header(scan->seal)->segment;
	scan->offset = seal_reader_offset(scan->seal);
	return ERR_OK;
}

static void name_scan(struct segment_scan *scan, const char *path)
{
	const char *slash;
	memset(scan, 0, sizeof(*scan));
	snprintf(scan->path, sizeof(scan->path), "%s", path);
	slash = strrchr(scan->path, '/');
	scan->name = slash ? slash + 1 : scan->path;
}

static enum err_code open_named(struct segment_scan *scan, struct env *env,
				struct segment_header *header, struct err *err)
{
	uint64_t first;
	bool sealed = seal_name_parse(scan->name, &first);
	ERR_TRY(env_file_open(env, scan->path, ENV_OPEN_READ, &scan->file, err));
	return sealed ? open_sealed(scan, header, err) : read_header(scan, header, err);
}

enum err_code segment_scan_open(struct segment_scan *scan, struct env *env, const char *path,
				struct segment_header *header, struct err *err)
{
	name_scan(scan, path);
	return open_named(scan, env, header, err);
}

/* The seal counts where both are there: it was whole before it got its name. Between two looks an
 * open segment may have become a sealed one. */
enum err_code segment_scan_find(struct segment_scan *scan, struct env *env, const char *folder,
				uint64_t first, struct segment_header *header, struct err *err)
{
	char path[SEGMENT_PATH_SIZE], name[SEAL_NAME_SIZE];
	enum err_code code = ERR_NOT_FOUND;
	for (unsigned look = 0; look < 3 && code == ERR_NOT_FOUND; look++) {
		if (look == 1)
			segment_name(first, name);
		else
			seal_name(first, name);
		snprintf(path, sizeof(path), "%s/%s", folder, name);
		name_scan(scan, path);
		code = open_named(scan, env, header, err);
	}
	return code;
}

void segment_scan_close(struct segment_scan *scan)
{
	seal_reader_free(scan->seal);
	env_file_close(scan->file);
	free(scan->buffer);
	memset(scan, 0, sizeof(*scan));
}

enum err_code segment_scan_seek(struct segment_scan *scan, uint64_t index, struct err *err)
{
	assert(scan->seal);
	return seal_reader_seek(scan->seal, index, err);
}

/* Up to `want` bytes from `offset` on, fewer only at the end of the file. */
static enum err_code look(struct segment_scan *scan, uint64_t offset, size_t want,
			  const uint8_t **data, size_t *size, struct err *err)
{
	assert(want <= BUFFER_SIZE);
	uint64_t end = scan->buffer_at + scan->buffer_size;
	if (offset < scan->buffer_at || (offset + want > end && end < scan->file_size)) {
		size_t got;
		ERR_TRY(env_file_read(scan->file, offset, scan->buffer, BUFFER_SIZE, &got, err));
		scan->buffer_at = offset;
		scan->buffer_size = got;
	}
	size_t skip = (size_t)(offset - scan->buffer_at);
	size_t left = scan->buffer_size > skip ? scan->buffer_size - skip : 0;
	*data = scan->buffer + skip;
	*size = left < want ? left : want;
	return ERR_OK;
}

enum err_code segment_scan_next(struct segment_scan *scan, struct frame *frame, bool *found,
				struct err *err)
{
	const uint8_t *data;
	size_t size;
	*found = false;
	if (scan->seal) {
		enum err_code code = seal_reader_next(scan->seal, frame, found, err);
		scan->offset = seal_reader_offset(scan->seal);
		return code;
	}
	ERR_TRY(look(scan, scan->offset, FRAME_HEADER_SIZE, &data, &size, err));
	if (size < FRAME_HEADER_SIZE || data[0] != 'P')
		return ERR_OK;
	size_t whole = frame_size((size_t)bytes_load_number(data + AT_FRAME_SIZE, 2));
	if (whole > FRAME_SIZE_MAX)
		return ERR_OK;
	ERR_TRY(look(scan, scan->offset, whole, &data, &size, err));
	*found = frame_parse(data, size, scan->room, frame);
	if (*found)
		scan->offset += whole;
	return ERR_OK;
}

static bool is_zero(const uint8_t *data, size_t size)
{
	return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* The offset behind the last byte at or after `from` that is not zero; `from` if there is none. */
static enum err_code find_end(struct segment_scan *scan, uint64_t from, uint64_t *end,
			      struct err *err)
{
	*end = from;
	for (uint64_t at = from;;) {
		const uint8_t *data;
		size_t size;
		ERR_TRY(look(scan, at, BUFFER_SIZE, &data, &size, err));
		if (size == 0)
			return ERR_OK;
		if (!is_zero(data, size)) {
			size_t last = size;
			while (data[last - 1] == 0)
				last--;
			*end = at + last;
		}
		at += size;
	}
}

/* The first valid frame at or after *at and before `end`. */
static enum err_code find_frame(struct segment_scan *scan, uint64_t *at, uint64_t end,
				struct frame *frame, bool *found, struct err *err)
{
	for (*found = false; *at < end; (*at)++) {
		const uint8_t *data;
		size_t size;
		ERR_TRY(look(scan, *at, FRAME_SIZE_MAX, &data, &size, err));
		*found = size > 0 && data[0] == 'P' && frame_parse(data, size, scan->room, frame);
		if (*found)
			return ERR_OK;
	}
	return ERR_OK;
}

/* Is a whole sector, as far as it lies between `begin` and `end`, still as it was before the write:
 * zeros? A record that was written whole has no such place: neither its frame's start nor its text
 * holds a sector's worth, or a boundary's rest, of zeros. */
static enum err_code has_unwritten_sector(struct segment_scan *scan, uint64_t begin, uint64_t end,
					  bool *out, struct err *err)
{
	*out = false;
	for (uint64_t at = begin; at < end && !*out;) {
		const uint8_t *data;
		size_t size;
		uint64_t next = (at / SECTOR_SIZE + 1) * SECTOR_SIZE;
		size_t want = (size_t)((next < end ? next : end) - at);
		ERR_TRY(look(scan, at, want, &data, &size, err));
		*out = is_zero(data, size);
		at = next;
	}
	return ERR_OK;
}

enum err_code segment_scan_tail(struct segment_scan *scan, uint64_t index, enum segment_tail *tail,
				uint64_t *end, struct err *err)
{
	struct frame frame;
	bool found = false, unwritten = false;
	if (scan->seal) {
		*tail = SEGMENT_CLEAN;
		*end = scan->offset;
		return ERR_OK;
	}
	ERR_TRY(find_end(scan, scan->offset, end, err));
	*tail = *end == scan->offset ? SEGMENT_CLEAN : SEGMENT_TORN;
	if (*tail == SEGMENT_CLEAN)
		return ERR_OK;
	uint64_t at = scan->offset;
	ERR_TRY(find_frame(scan, &at, *end, &frame, &found, err));
	if (!found)
		return ERR_OK;
	/* Something valid stands behind a hole. Every record tells how many before it were not yet
	 * durable when it was written: if `index` was, it has been damaged since. */
	ERR_TRY(has_unwritten_sector(scan, scan->offset, at, &unwritten, err));
	if (!unwritten)
		*tail = SEGMENT_DAMAGED;
	while (found && *tail == SEGMENT_TORN) {
		if (frame.index <= index || frame.index - frame.unsynced > index)
			*tail = SEGMENT_DAMAGED;
		at += frame.stored;
		ERR_TRY(find_frame(scan, &at, *end, &frame, &found, err));
	}
	return ERR_OK;
}
