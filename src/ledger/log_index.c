/* Where records are: segments with their sparse offsets, and the links from admit records to their
 * outcomes. */
#include "ledger/log_care.h"
#include "ledger/log_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

void log_path(const struct log *log, char out[static LOG_PATH_SIZE], const char *format, ...)
{
	va_list arguments;
	int before = snprintf(out, LOG_PATH_SIZE, "%s/", log->directory);
	va_start(arguments, format);
	vsnprintf(out + before, LOG_PATH_SIZE - (size_t)before, format, arguments);
	va_end(arguments);
}

void log_folder(const struct log *log, char out[static LOG_PATH_SIZE])
{
	log_path(log, out, "segments");
}

void log_segment_path(const struct log *log, uint64_t first, char out[static LOG_PATH_SIZE])
{
	char name[SEGMENT_NAME_SIZE];
	segment_name(first, name);
	log_path(log, out, "segments/%s", name);
}

/* ---- links ---- */

static bool grow_chunk_list(struct log_links *links)
{
	size_t capacity = links->chunk_capacity ? links->chunk_capacity * 2 : 64;
	if (capacity > LINK_CHUNKS_MAX)
		return false;
	uint32_t **chunks = realloc(links->chunks, capacity * sizeof(*chunks));
	if (!chunks)
		return false;
	links->chunks = chunks;
	links->chunk_capacity = capacity;
	return true;
}

bool log_links_reserve(struct log_links *links, uint64_t more)
{
	while (links->chunk_count * LINK_CHUNK < links->count + more) {
		if (links->chunk_count == links->chunk_capacity && !grow_chunk_list(links))
			return false;
		uint32_t *chunk = calloc(LINK_CHUNK, sizeof(*chunk));
		if (!chunk)
			return false;
		links->chunks[links->chunk_count++] = chunk;
	}
	return true;
}

static uint32_t *link_at(const struct log_links *links, uint64_t index)
{
	if (index < links->base || index - links->base >= links->count)
		return NULL;
	uint64_t place = index - links->base;
	return &links->chunks[place / LINK_CHUNK][place % LINK_CHUNK];
}

uint32_t log_links_get(const struct log_links *links, uint64_t index)
{
	const uint32_t *link = link_at(links, index);
	return link ? *link : 0;
}

void log_links_append(struct log_links *links, enum record_kind kind, uint64_t admit_index)
{
	uint64_t index = links->base + links->count++;
	assert(links->count <= links->chunk_count * LINK_CHUNK);
	*link_at(links, index) = kind == RECORD_ADMIT ? LINK_OPEN : 0;
	if (kind == RECORD_SETTLE || kind == RECORD_UNKNOWN) {
		uint32_t *link = link_at(links, admit_index);
		/* The first outcome counts; one too far away is found by searching. */
		if (link && *link == LINK_OPEN && admit_index < index)
			*link = index - admit_index < LINK_OPEN ? (uint32_t)(index - admit_index)
								: 0;
	}
	while (links->oldest_open <= index && log_links_get(links, links->oldest_open) != LINK_OPEN)
		links->oldest_open++;
}

void log_links_release(struct log_links *links)
{
	for (size_t i = 0; i < links->chunk_count; i++)
		free(links->chunks[i]);
	free(links->chunks);
	memset(links, 0, sizeof(*links));
}

/* ---- segments ---- */

bool log_segments_add(struct log *log, uint64_t first)
{
	if (log->segment_count == log->segment_capacity) {
		size_t capacity = log->segment_capacity ? log->segment_capacity * 2 : 16;
		if (capacity > LOG_SEGMENTS_MAX)
			return false;
		struct log_segment *segments = realloc(log->segments, capacity * sizeof(*segments));
		if (!segments)
			return false;
		log->segments = segments;
		log->segment_capacity = capacity;
	}
	log->segments[log->segment_count++] = (struct log_segment){.first = first, .end = first};
	return true;
}

bool log_segment_note(struct log_segment *segment, uint64_t index, uint64_t offset)
{
	if ((index - segment->first) % LOG_SPARSE != 0)
		return true;
	if (segment->sparse_count != (index - segment->first) / LOG_SPARSE)
		return false; /* one is missing already */
	if (segment->sparse_count == segment->sparse_capacity) {
		size_t capacity = segment->sparse_capacity ? segment->sparse_capacity * 2 : 64;
		uint32_t *sparse = realloc(segment->sparse, capacity * sizeof(*sparse));
		if (!sparse)
			return false;
		segment->sparse = sparse;
		segment->sparse_capacity = capacity;
	}
	segment->sparse[segment->sparse_count++] = (uint32_t)offset;
	return true;
}

/* ---- walking over records ---- */

/* Where to start reading for a record. */
struct place {
	uint64_t first, end; /* of its segment */
	uint64_t index;      /* of the record at `offset`, at or before the wanted one */
	uint64_t offset;
	uint64_t noted; /* offsets of the segment that are known */
};

/* Offsets found on the way, from the first that was not known. */
struct learnt {
	uint32_t *offsets;
	size_t count, capacity;
};

/* The segment that has the record, by bisection. */
static struct log_segment *find_segment(struct log *log, uint64_t index)
{
	size_t low = 0, high = log->segment_count;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (log->segments[middle].first <= index)
			low = middle;
		else
			high = middle;
	}
	struct log_segment *segment = low < log->segment_count ? &log->segments[low] : NULL;
	return segment && index >= segment->first && index < segment->end ? segment : NULL;
}

static bool find_place(struct log *log, uint64_t index, struct place *place)
{
	pthread_mutex_lock(&log->lock);
	const struct log_segment *segment = find_segment(log, index);
	if (segment) {
		*place = (struct place){segment->first, segment->end, segment->first,
					SEGMENT_HEADER_SIZE, segment->sparse_count};
		size_t entry = (size_t)((index - segment->first) / LOG_SPARSE);
		if (entry >= segment->sparse_count)
			entry = segment->sparse_count ? segment->sparse_count - 1 : 0;
		if (entry < segment->sparse_count) {
			place->index = segment->first + entry * LOG_SPARSE;
			place->offset = segment->sparse[entry];
		}
	}
	pthread_mutex_unlock(&log->lock);
	return segment != NULL;
}

/* Without memory for it, reading starts from an earlier offset next time. */
static void learn(struct learnt *learnt, const struct place *place, uint64_t index, uint64_t offset)
{
	uint64_t within = index - place->first;
	if (within % LOG_SPARSE != 0 || within / LOG_SPARSE != place->noted + learnt->count)
		return;
	if (learnt->count == learnt->capacity) {
		size_t capacity = learnt->capacity ? 2 * learnt->capacity : 64;
		uint32_t *offsets = realloc(learnt->offsets, capacity * sizeof(*offsets));
		if (!offsets)
			return;
		learnt->offsets = offsets;
		learnt->capacity = capacity;
	}
	learnt->offsets[learnt->count++] = (uint32_t)offset;
}

/* They follow those that were known when the reading began, unless another has been first. */
static void keep_offsets(struct log *log, const struct place *place, struct learnt *learnt)
{
	pthread_mutex_lock(&log->lock);
	struct log_segment *segment = learnt->count ? find_segment(log, place->first) : NULL;
	bool good = segment && !segment->sealed && segment->sparse_count == place->noted;
	for (size_t i = 0; good && i < learnt->count; i++)
		good = log_segment_note(segment, place->first + (place->noted + i) * LOG_SPARSE,
					learnt->offsets[i]);
	pthread_mutex_unlock(&log->lock);
	free(learnt->offsets);
}

static enum err_code damaged(const char *path, uint64_t offset, uint64_t index, struct err *err)
{
	return ERR_SET(err, ERR_CORRUPT, "%s: offset %llu: record %llu is missing or damaged", path,
		       (unsigned long long)offset, (unsigned long long)index);
}

/* Where the record `begin` or one before it stands. */
static enum err_code walk_from(struct segment_scan *scan, struct place *place, uint64_t begin,
			       struct err *err)
{
	if (scan->seal) {
		place->index = begin;
		return segment_scan_seek(scan, begin, err);
	}
	scan->offset = place->offset;
	return ERR_OK;
}

/* The records begin to end - 1, all in one segment. */
static enum err_code walk_segment(struct log *log, struct place *place, uint64_t begin,
				  uint64_t end, const struct log_walk *walk, struct err *err)
{
	char folder[LOG_PATH_SIZE];
	struct segment_scan scan;
	struct segment_header header;
	struct learnt learnt = {0};
	log_folder(log, folder);
	enum err_code code = segment_scan_find(&scan, log->env, folder, place->first, &header, err);
	if (code == ERR_OK)
		code = walk_from(&scan, place, begin, err);
	for (uint64_t index = place->index; code == ERR_OK && index < end; index++) {
		struct frame frame;
		bool found = false;
		uint64_t offset = scan.offset;
		code = segment_scan_next(&scan, &frame, &found, err);
		if (code == ERR_OK && (!found || frame.index != index))
			code = damaged(scan.path, offset, index, err);
		if (code == ERR_OK && !scan.seal)
			learn(&learnt, place, index, offset);
		if (code == ERR_OK && index >= begin)
			code = walk->each(walk->argument, &frame, err);
	}
	segment_scan_close(&scan);
	keep_offsets(log, place, &learnt);
	return code;
}

enum err_code log_walk_records(struct log *log, uint64_t begin, uint64_t end,
			       const struct log_walk *walk, struct err *err)
{
	while (begin < end) {
		struct place place;
		if (!find_place(log, begin, &place))
			return ERR_SET(err, ERR_NOT_FOUND, "%s: there is no record %llu",
				       log->directory, (unsigned long long)begin);
		uint64_t stop = end < place.end ? end : place.end;
		enum err_code code = walk_segment(log, &place, begin, stop, walk, err);
		if (code == ERR_CORRUPT && err)
			log_note_rot(log, place.first, err);
		ERR_TRY(code);
		begin = stop;
	}
	return ERR_OK;
}
