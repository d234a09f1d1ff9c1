#include "ledger/log_copy.h"

#include "ledger/seal.h"

#include <stdio.h>
#include <stdlib.h>

#define PATH_SIZE SEGMENT_PATH_SIZE
#define STEP ((size_t)1 << 20)

struct copying {
	struct env *env;
	const struct log_copy *copy;
	char from[PATH_SIZE - 32], to[PATH_SIZE - 32]; /* the folders of segments */
	uint64_t index;                                /* the next record */
	uint8_t *buffer;                               /* of STEP bytes */
	size_t filled;
	uint64_t offset; /* of the buffer in the file being written */
};

static void tell(const struct copying *copying)
{
	if (copying->copy->progress)
		copying->copy->progress(copying->copy->argument, copying->index);
}

static enum err_code make_file(struct copying *copying, const char *name, struct env_file **out,
			       struct err *err)
{
	char path[PATH_SIZE];
	snprintf(path, sizeof(path), "%s/%s", copying->to, name);
	return env_file_open(copying->env, path,
			     ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE, out, err);
}

/* ---- sealed segments ---- */

static enum err_code copy_sealed(struct copying *copying, struct segment_scan *scan,
				 struct err *err)
{
	struct env_file *file;
	ERR_TRY(make_file(copying, scan->name, &file, err));
	enum err_code code = env_file_copy(scan->file, file, err);
	env_file_close(file);
	copying->index += seal_reader_header(scan->seal)->records;
	return code;
}

/* ---- records ---- */

static enum err_code flush(struct copying *copying, struct env_file *file, struct err *err)
{
	ERR_TRY(env_file_write(file, copying->offset, copying->buffer, copying->filled, err));
	copying->offset += copying->filled;
	copying->filled = 0;
	return ERR_OK;
}

static enum err_code copy_record(struct copying *copying, struct segment_scan *scan,
				 struct env_file *file, uint8_t link[static LINK_SIZE],
				 struct err *err)
{
	struct frame frame;
	bool found;
	ERR_TRY(segment_scan_next(scan, &frame, &found, err));
	if (!found || frame.index != copying->index ||
	    (!frame.leaf && memcmp(frame.link, link, LINK_SIZE) != 0))
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: offset %llu: record %llu is missing or damaged", scan->path,
			       (unsigned long long)scan->offset,
			       (unsigned long long)copying->index);
	struct merkle_hash leaf =
		frame.leaf ? *frame.leaf : merkle_leaf(frame.text.data, frame.text.size);
	memcpy(frame.link, link, LINK_SIZE);
	memcpy(link, leaf.bytes, LINK_SIZE);
	frame.unsynced = 0;
	if (copying->filled + FRAME_SIZE_MAX > STEP)
		ERR_TRY(flush(copying, file, err));
	copying->filled += frame_write(&frame, SEGMENT_VERSION, copying->buffer + copying->filled);
	copying->index++;
	return ERR_OK;
}

/* Up to the end of the copy, or of the segment, which the next one's name tells. */
static enum err_code copy_records(struct copying *copying, struct segment_scan *scan,
				  const struct segment_header *header, struct env_file *file,
				  uint64_t end, struct err *err)
{
	uint8_t link[LINK_SIZE];
	copying->offset = 0;
	copying->filled = SEGMENT_HEADER_SIZE;
	segment_header_write(header, copying->buffer);
	memcpy(link, header->link, LINK_SIZE);
	while (copying->index < end)
		ERR_TRY(copy_record(copying, scan, file, link, err));
	ERR_TRY(flush(copying, file, err));
	return env_file_sync(file, err);
}

static enum err_code copy_open(struct copying *copying, struct segment_scan *scan,
			       const struct segment_header *header, uint64_t end, struct err *err)
{
	char name[SEGMENT_NAME_SIZE];
	struct env_file *file;
	segment_name(header->first_index, name);
	ERR_TRY(make_file(copying, name, &file, err));
	enum err_code code = copy_records(copying, scan, header, file, end, err);
	env_file_close(file);
	return code;
}

/* ---- all ---- */

/* `next`: where the segment after this one begins, or LLONG_MAX. */
static enum err_code copy_segment(struct copying *copying, uint64_t next, struct err *err)
{
	struct segment_scan scan;
	struct segment_header header;
	uint64_t size = copying->copy->size, end = next < size ? next : size;
	enum err_code code =
		segment_scan_find(&scan, copying->env, copying->from, copying->index, &header, err);
	if (code == ERR_OK && header.first_index != copying->index)
		code = ERR_SET(err, ERR_CORRUPT,
			       "%s: offset 16: the segment starts with another record than its "
			       "name says",
			       scan.path);
	if (code == ERR_OK && scan.seal &&
	    copying->index + seal_reader_header(scan.seal)->records <= size)
		code = copy_sealed(copying, &scan, err);
	else if (code == ERR_OK)
		code = copy_open(copying, &scan, &header, end, err);
	segment_scan_close(&scan);
	tell(copying);
	return code;
}

struct firsts {
	uint64_t *items;
	size_t count, capacity;
	bool failed;
};

static void add_first(void *argument, const struct env_directory_entry *entry)
{
	struct firsts *firsts = argument;
	uint64_t first;
	if (!segment_name_parse(entry->name, &first) && !seal_name_parse(entry->name, &first))
		return;
	if (firsts->count > 0 && firsts->items[firsts->count - 1] == first)
		return;
	if (firsts->count == firsts->capacity) {
		size_t capacity = firsts->capacity ? 2 * firsts->capacity : 64;
		uint64_t *items = realloc(firsts->items, capacity * sizeof(*items));
		firsts->failed |= !items;
		if (!items)
			return;
		firsts->items = items;
		firsts->capacity = capacity;
	}
	firsts->items[firsts->count++] = first;
}

static enum err_code copy_all(struct copying *copying, struct firsts *firsts, struct err *err)
{
	ERR_TRY(env_list_directory(copying->env, copying->from, add_first, firsts, err));
	copying->buffer = malloc(STEP);
	if (firsts->failed || !copying->buffer)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", copying->from);
	for (size_t i = 0; i < firsts->count; i++) {
		uint64_t next = i + 1 < firsts->count ? firsts->items[i + 1] : UINT64_MAX;
		if (firsts->items[i] > copying->copy->size ||
		    (i > 0 && firsts->items[i] == copying->copy->size))
			break;
		if (firsts->items[i] != copying->index)
			return ERR_SET(err, ERR_CORRUPT,
				       "%s: the segment of record %llu is missing", copying->from,
				       (unsigned long long)copying->index);
		ERR_TRY(copy_segment(copying, next, err));
	}
	if (copying->index != copying->copy->size)
		return ERR_SET(err, ERR_CORRUPT, "%s: there are only %llu of %llu records",
			       copying->from, (unsigned long long)copying->index,
			       (unsigned long long)copying->copy->size);
	return env_sync_directory(copying->env, copying->to, err);
}

enum err_code log_copy_directory(struct env *env, const struct log_copy *copy, struct err *err)
{
	char path[PATH_SIZE];
	struct firsts firsts = {0};
	struct copying copying = {.env = env, .copy = copy};
	if (strlen(copy->from) + 32 > sizeof(copying.from) ||
	    strlen(copy->to) + 32 > sizeof(copying.to))
		return ERR_SET(err, ERR_INVALID, "the path is too long: %.100s…", copy->to);
	snprintf(copying.from, sizeof(copying.from), "%s/segments", copy->from);
	snprintf(copying.to, sizeof(copying.to), "%s/segments", copy->to);
	ERR_TRY(env_make_directories(env, copying.to, err));
	enum err_code code = copy_all(&copying, &firsts, err);
	free(firsts.items);
	free(copying.buffer);
	ERR_TRY(code);
	snprintf(path, sizeof(path), "%s/checkpoint", copy->to);
	return env_write_file(env, path, copy->checkpoint, 0644, err);
}
