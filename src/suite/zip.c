#include "suite/zip.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define LOCAL_HEADER 0x04034b50u
#define CENTRAL_HEADER 0x02014b50u
#define END 0x06054b50u
#define END64 0x06064b50u
#define END64_LOCATOR 0x07064b50u

#define LOCAL_SIZE 30u
#define CENTRAL_SIZE 46u
#define END_SIZE 22u
#define END64_SIZE 56u
#define LOCATOR_SIZE 20u
#define COMMENT_MAX 65535u
#define EXTRA_ZIP64 1u
#define FLAG_ENCRYPTED 1u
#define IN_EXTRA 0xffffffffu /* the 64-bit value stands in the ZIP64 extra field */

enum method {
	METHOD_STORED = 0,
	METHOD_DEFLATE = 8,
	METHOD_ZSTD = 93,
};

#define STEP ((size_t)256 * 1024)

struct zip {
	struct env_file *file;
	char *path;
	uint64_t size;
	uint64_t directory_offset, directory_size, count;
	char *directory; /* directory_size bytes */
	struct zip_entry *entries;
	unsigned char *raw; /* STEP bytes as read */
};

static uint16_t u16(const char *at)
{
	return (uint16_t)bytes_load_number(at, 2);
}

static uint32_t u32(const char *at)
{
	return (uint32_t)bytes_load_number(at, 4);
}

static uint64_t u64(const char *at)
{
	return bytes_load_number(at, 8);
}

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a ZIP archive");
}

static enum err_code damaged(const struct zip *zip, uint64_t offset, const char *problem,
			     struct err *err)
{
	return ERR_SET(err, ERR_CORRUPT, "%s: offset %llu: %s", zip->path,
		       (unsigned long long)offset, problem);
}

/* Exactly `size` bytes. */
static enum err_code read_at(const struct zip *zip, uint64_t offset, void *out, size_t size,
			     struct err *err)
{
	size_t got = 0;
	if (offset > zip->size || size > zip->size - offset)
		return damaged(zip, offset, "the archive ends too early", err);
	ERR_TRY(env_file_read(zip->file, offset, out, size, &got, err));
	return got == size ? ERR_OK : damaged(zip, offset, "the archive ends too early", err);
}

/* ---- the end of the archive ---- */

/* The record at the very end, before a comment of unknown length. */
static enum err_code find_end(const struct zip *zip, char *end, uint64_t *offset, struct err *err)
{
	size_t size =
		zip->size < END_SIZE + COMMENT_MAX ? (size_t)zip->size : END_SIZE + COMMENT_MAX;
	uint64_t start = zip->size - size;
	char *tail = malloc(size + 1);
	if (!tail)
		return out_of_memory(err);
	enum err_code code = read_at(zip, start, tail, size, err);
	bool found = false;
	for (size_t at = size < END_SIZE ? 0 : size - END_SIZE + 1;
	     code == ERR_OK && !found && at-- > 0;) {
		found = u32(tail + at) == END && at + END_SIZE + u16(tail + at + 20) == size;
		if (found) {
			memcpy(end, tail + at, END_SIZE);
			*offset = start + at;
		}
	}
	free(tail);
	if (code == ERR_OK && !found)
		code = ERR_SET(err, ERR_CORRUPT, "%s is no ZIP archive, or is cut short",
			       zip->path);
	return code;
}

/* Sizes and places that pass 32 bits stand in a second record (APPNOTE 4.3.14, 4.3.15). */
static enum err_code read_end64(struct zip *zip, uint64_t end_offset, struct err *err)
{
	char locator[LOCATOR_SIZE], end[END64_SIZE];
	if (end_offset < LOCATOR_SIZE)
		return ERR_OK;
	ERR_TRY(read_at(zip, end_offset - LOCATOR_SIZE, locator, sizeof(locator), err));
	if (u32(locator) != END64_LOCATOR)
		return ERR_OK;
	uint64_t offset = u64(locator + 8);
	ERR_TRY(read_at(zip, offset, end, sizeof(end), err));
	if (u32(end) != END64)
		return damaged(zip, offset, "no ZIP64 end of directory stands there", err);
	zip->count = u64(end + 32);
	zip->directory_size = u64(end + 40);
	zip->directory_offset = u64(end + 48);
	return ERR_OK;
}

static enum err_code read_end(struct zip *zip, struct err *err)
{
	char end[END_SIZE] = {0};
	uint64_t offset = 0;
	ERR_TRY(find_end(zip, end, &offset, err));
	if (u16(end + 4) != u16(end + 6) || u16(end + 8) != u16(end + 10))
		return ERR_SET(err, ERR_UNSUPPORTED, "%s: split archives are not read", zip->path);
	zip->count = u16(end + 10);
	zip->directory_size = u32(end + 12);
	zip->directory_offset = u32(end + 16);
	ERR_TRY(read_end64(zip, offset, err));
	if (zip->count > ZIP_ENTRIES_MAX || zip->directory_size > ZIP_DIRECTORY_MAX)
		return ERR_SET(err, ERR_TOO_LARGE,
			       "%s: its directory is larger than %u entries or %zu bytes",
			       zip->path, ZIP_ENTRIES_MAX, ZIP_DIRECTORY_MAX);
	if (zip->count > zip->directory_size / CENTRAL_SIZE)
		return damaged(zip, offset, "more entries than the directory has room for", err);
	return ERR_OK;
}

/* ---- the directory ---- */

/* The ZIP64 extra field holds, in this order, those values that did not fit. */
static bool read_extra64(struct bytes extra, struct zip_entry *entry)
{
	uint64_t *values[] = {&entry->size, &entry->packed, &entry->offset};
	while (extra.size >= 4) {
		size_t id = u16(extra.data), size = u16(extra.data + 2), at = 0;
		extra = bytes_of(extra.data + 4, extra.size - 4);
		if (size > extra.size)
			return false;
		for (size_t i = 0; id == EXTRA_ZIP64 && i < 3; i++) {
			if (*values[i] != IN_EXTRA)
				continue;
			if (at + 8 > size)
				return false;
			*values[i] = u64(extra.data + at);
			at += 8;
		}
		if (id == EXTRA_ZIP64)
			return true;
		extra = bytes_of(extra.data + size, extra.size - size);
	}
	return false;
}

static enum err_code read_entry(struct zip *zip, size_t *at, struct zip_entry *entry,
				struct err *err)
{
	const char *header = zip->directory + *at;
	size_t left = (size_t)zip->directory_size - *at;
	uint64_t offset = zip->directory_offset + *at;
	if (left < CENTRAL_SIZE || u32(header) != CENTRAL_HEADER)
		return damaged(zip, offset, "no entry of the directory stands there", err);
	size_t name = u16(header + 28), extra = u16(header + 30), comment = u16(header + 32);
	if (name + extra + comment > left - CENTRAL_SIZE)
		return damaged(zip, offset, "an entry passes the end of the directory", err);
	*entry = (struct zip_entry){.name = bytes_of(header + CENTRAL_SIZE, name),
				    .method = u16(header + 10),
				    .crc = u32(header + 16),
				    .packed = u32(header + 20),
				    .size = u32(header + 24),
				    .offset = u32(header + 42)};
	if (u16(header + 8) & FLAG_ENCRYPTED)
		return ERR_SET(err, ERR_UNSUPPORTED, "%s: encrypted entries are not read",
			       zip->path);
	if ((entry->packed == IN_EXTRA || entry->size == IN_EXTRA || entry->offset == IN_EXTRA) &&
	    !read_extra64(bytes_of(header + CENTRAL_SIZE + name, extra), entry))
		return damaged(zip, offset, "an entry's ZIP64 sizes are missing", err);
	*at += CENTRAL_SIZE + name + extra + comment;
	return ERR_OK;
}

static int compare_names(struct bytes a, struct bytes b)
{
	size_t shorter = a.size < b.size ? a.size : b.size;
	int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
	return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_entries(const void *left, const void *right)
{
	return compare_names(((const struct zip_entry *)left)->name,
			     ((const struct zip_entry *)right)->name);
}

static enum err_code read_directory(struct zip *zip, struct err *err)
{
	size_t at = 0;
	zip->directory = malloc((size_t)zip->directory_size + 1);
	zip->entries = calloc((size_t)zip->count + 1, sizeof(*zip->entries));
	if (!zip->directory || !zip->entries)
		return out_of_memory(err);
	ERR_TRY(read_at(zip, zip->directory_offset, zip->directory, (size_t)zip->directory_size,
			err));
	for (size_t i = 0; i < zip->count; i++)
		ERR_TRY(read_entry(zip, &at, &zip->entries[i], err));
	qsort(zip->entries, (size_t)zip->count, sizeof(*zip->entries), compare_entries);
	for (size_t i = 1; i < zip->count; i++)
		if (compare_entries(&zip->entries[i - 1], &zip->entries[i]) == 0)
			return ERR_SET(err, ERR_CORRUPT, "%s: two entries are named %.*s",
				       zip->path, BYTES_ARG(zip->entries[i].name));
	return ERR_OK;
}

enum err_code zip_open(struct env *env, const char *path, struct zip **out, struct err *err)
{
	*out = NULL;
	struct zip *zip = calloc(1, sizeof(*zip));
	if (!zip)
		return out_of_memory(err);
	zip->path = strdup(path);
	zip->raw = malloc(STEP);
	enum err_code code = zip->path && zip->raw
				     ? env_file_open(env, path, ENV_OPEN_READ, &zip->file, err)
				     : out_of_memory(err);
	if (code == ERR_OK)
		code = env_file_size(zip->file, &zip->size, err);
	if (code == ERR_OK)
		code = read_end(zip, err);
	if (code == ERR_OK)
		code = read_directory(zip, err);
	if (code != ERR_OK)
		zip_close(zip);
	else
		*out = zip;
	return code;
}

void zip_close(struct zip *zip)
{
	if (!zip)
		return;
	env_file_close(zip->file);
	free(zip->directory);
	free(zip->entries);
	free(zip->raw);
	free(zip->path);
	free(zip);
}

size_t zip_count(const struct zip *zip)
{
	return (size_t)zip->count;
}

const struct zip_entry *zip_at(const struct zip *zip, size_t index)
{
	return &zip->entries[index];
}

const struct zip_entry *zip_find(const struct zip *zip, struct bytes name)
{
	size_t low = 0, high = (size_t)zip->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_names(zip->entries[middle].name, name);
		if (order == 0)
			return &zip->entries[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ---- an entry's content ---- */

/* One way of packing. `step` takes what it can of `raw` and fills `out`; false: damaged. Nothing
 * may be left to take once the packed bytes are over. */
struct unpacker {
	const unsigned char *next;
	size_t available;
	unsigned char *out;
	size_t room;
	z_stream inflate;
	ZSTD_DStream *zstd;
	bool whole; /* stands between two frames, or behind the last block */
};

static bool copy_step(struct unpacker *unpacker)
{
	size_t size = unpacker->available < unpacker->room ? unpacker->available : unpacker->room;
	memcpy(unpacker->out, unpacker->next, size);
	unpacker->next += size;
	unpacker->available -= size;
	unpacker->out += size;
	unpacker->room -= size;
	unpacker->whole = true;
	return size > 0 || unpacker->available == 0;
}

static bool inflate_step(struct unpacker *unpacker)
{
	z_stream *stream = &unpacker->inflate;
	stream->next_in = (unsigned char *)unpacker->next;
	stream->avail_in = (unsigned)unpacker->available;
	stream->next_out = unpacker->out;
	stream->avail_out = unpacker->room > STEP ? (unsigned)STEP : (unsigned)unpacker->room;
	unsigned room = stream->avail_out;
	if (unpacker->whole)
		return unpacker->available == 0; /* bytes behind the last block */
	int result = inflate(stream, Z_NO_FLUSH);
	bool moved = stream->avail_in < unpacker->available || stream->avail_out < room;
	unpacker->whole = result == Z_STREAM_END;
	unpacker->next = stream->next_in;
	unpacker->available = stream->avail_in;
	unpacker->out = stream->next_out;
	unpacker->room -= room - stream->avail_out;
	return result == Z_STREAM_END || (result == Z_OK && moved);
}

static bool zstd_step(struct unpacker *unpacker)
{
	ZSTD_inBuffer in = {unpacker->next, unpacker->available, 0};
	ZSTD_outBuffer out = {unpacker->out, unpacker->room, 0};
	size_t result = ZSTD_decompressStream(unpacker->zstd, &out, &in);
	unpacker->next += in.pos;
	unpacker->available -= in.pos;
	unpacker->out += out.pos;
	unpacker->room -= out.pos;
	unpacker->whole = result == 0;
	return !ZSTD_isError(result) && (in.pos > 0 || out.pos > 0);
}

static const struct {
	enum method method;
	bool (*step)(struct unpacker *unpacker);
} methods[] = {
	{METHOD_STORED,  copy_step   },
	{METHOD_DEFLATE, inflate_step},
	{METHOD_ZSTD,    zstd_step   },
};

static enum err_code entry_damaged(const struct zip *zip, const struct zip_entry *entry,
				   const char *problem, struct err *err)
{
	return ERR_SET(err, ERR_CORRUPT, "%s: %.*s: %s", zip->path, BYTES_ARG(entry->name),
		       problem);
}

/* Where the content begins: the local header repeats the name and has an extra field of its own. */
static enum err_code find_content(const struct zip *zip, const struct zip_entry *entry,
				  uint64_t *offset, struct err *err)
{
	char header[LOCAL_SIZE];
	ERR_TRY(read_at(zip, entry->offset, header, sizeof(header), err));
	if (u32(header) != LOCAL_HEADER || u16(header + 26) != entry->name.size)
		return entry_damaged(zip, entry, "its header is not where the directory says", err);
	*offset = entry->offset + LOCAL_SIZE + u16(header + 26) + u16(header + 28);
	if (*offset > zip->size || entry->packed > zip->size - *offset)
		return entry_damaged(zip, entry, "it passes the end of the archive", err);
	return ERR_OK;
}

static enum err_code unpack(struct zip *zip, const struct zip_entry *entry, uint64_t offset,
			    bool (*step)(struct unpacker *), struct unpacker *unpacker,
			    struct err *err)
{
	uint64_t end = offset + entry->packed;
	while (offset < end || unpacker->available > 0) {
		if (unpacker->available == 0) {
			size_t size = end - offset < STEP ? (size_t)(end - offset) : STEP;
			ERR_TRY(read_at(zip, offset, zip->raw, size, err));
			offset += size;
			unpacker->next = zip->raw;
			unpacker->available = size;
		}
		if (!step(unpacker))
			return entry_damaged(zip, entry, "its packed content is damaged", err);
	}
	/* What is still inside of the unpacker. */
	while (!unpacker->whole && unpacker->room > 0 && step(unpacker))
		;
	return unpacker->whole && unpacker->room == 0
		       ? ERR_OK
		       : entry_damaged(zip, entry, "its content has not the directory's size", err);
}

static enum err_code start(struct unpacker *unpacker, uint16_t method, struct err *err)
{
	bool ready = true;
	if (method == METHOD_DEFLATE)
		ready = inflateInit2(&unpacker->inflate, -MAX_WBITS) == Z_OK;
	if (method == METHOD_ZSTD)
		ready = (unpacker->zstd = ZSTD_createDStream()) != NULL;
	return ready ? ERR_OK : out_of_memory(err);
}

static void stop(struct unpacker *unpacker, uint16_t method)
{
	if (method == METHOD_DEFLATE)
		inflateEnd(&unpacker->inflate);
	ZSTD_freeDStream(unpacker->zstd);
}

enum err_code zip_read(struct zip *zip, const struct zip_entry *entry, struct buf *out,
		       struct err *err)
{
	uint64_t offset = 0;
	size_t before = out->size, kind = 0;
	const size_t kinds = sizeof(methods) / sizeof(methods[0]);
	while (kind < kinds && methods[kind].method != entry->method)
		kind++;
	if (kind == kinds)
		return ERR_SET(err, ERR_UNSUPPORTED, "%s: %.*s is packed by method %u", zip->path,
			       BYTES_ARG(entry->name), entry->method);
	ERR_TRY(find_content(zip, entry, &offset, err));
	if (entry->size > out->max - before || !buf_reserve(out, (size_t)entry->size))
		return ERR_SET(err, ERR_TOO_LARGE, "%s: %.*s is larger than %zu bytes", zip->path,
			       BYTES_ARG(entry->name), out->max - before);
	struct unpacker unpacker = {.next = zip->raw,
				    .out = (unsigned char *)out->data + before,
				    .room = (size_t)entry->size,
				    .whole = entry->method == METHOD_STORED};
	enum err_code code = start(&unpacker, entry->method, err);
	if (code == ERR_OK)
		code = unpack(zip, entry, offset, methods[kind].step, &unpacker, err);
	stop(&unpacker, entry->method);
	if (code != ERR_OK)
		return code;
	uint32_t crc = (uint32_t)crc32_z(0, (unsigned char *)out->data + before, entry->size);
	if (crc != entry->crc)
		return entry_damaged(zip, entry, "its content has not the directory's CRC-32", err);
	out->size += (size_t)entry->size;
	out->data[out->size] = '\0';
	return ERR_OK;
}
