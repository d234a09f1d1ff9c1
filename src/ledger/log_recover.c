/* From a directory of segments to a log that can go on, or to the reason why not. Nothing is
 * changed before everything was found right. */
#include "ledger/log_recover.h"

#include "base/json.h"
#include "ledger/seal.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the directory ---- */

struct listing {
	struct log *log;
	bool failed;
};

/* Names come in order, so that both files of a segment follow each other. */
static void list_segment(void *argument, const struct env_directory_entry *entry)
{
	struct listing *listing = argument;
	struct log *log = listing->log;
	uint64_t first;
	bool open = segment_name_parse(entry->name, &first);
	if (entry->is_directory || (!open && !seal_name_parse(entry->name, &first)))
		return;
	if (log->segment_count == 0 || log->segments[log->segment_count - 1].first != first)
		listing->failed |= !log_segments_add(log, first);
	if (listing->failed)
		return;
	struct log_segment *segment = &log->segments[log->segment_count - 1];
	segment->open |= open;
	segment->sealed |= !open;
}

static int compare_segments(const void *a, const void *b)
{
	const struct log_segment *left = a, *right = b;
	return left->first < right->first ? -1 : left->first > right->first;
}

static enum err_code list_segments(struct log *log, struct err *err)
{
	char path[LOG_PATH_SIZE];
	struct listing listing = {log, false};
	log_path(log, path, "segments");
	ERR_TRY(env_list_directory(log->env, path, list_segment, &listing, err));
	if (listing.failed)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", log->directory);
	if (log->segment_count == 0)
		return ERR_OK;
	qsort(log->segments, log->segment_count, sizeof(*log->segments), compare_segments);
	for (size_t i = 0; i + 1 < log->segment_count; i++)
		log->segments[i].end = log->segments[i + 1].first;
	if (log->segments[0].first != 0)
		return ERR_SET(err, ERR_CORRUPT, "%s: the first segment is missing", path);
	return ERR_OK;
}

/* ---- the stored checkpoint: the durable mark ---- */

static enum err_code read_mark(struct log *log, struct err *err)
{
	char path[LOG_PATH_SIZE];
	log_path(log, path, "checkpoint");
	enum err_code code = env_read_file(log->env, path, &log->checkpoint, err);
	if (code == ERR_NOT_FOUND)
		return ERR_OK;
	if (code == ERR_OK)
		code = log_open_checkpoint(log, buf_bytes(&log->checkpoint), &log->checkpoint_head,
					   err);
	/* Another name or key has been told before: log_check_signer. */
	if (code == ERR_MISMATCH)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the signature of the stored checkpoint is wrong: it is damaged "
			       "or was altered; restore it from a copy",
			       path);
	if (code == ERR_INVALID)
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: the stored checkpoint is damaged; restore it from a copy",
			       path);
	return code;
}

/* ---- segments ---- */

/* What is known while the records are read from `start` on. */
struct recovery {
	struct log *log;
	uint64_t start;       /* the first record read */
	uint64_t index;       /* the next record */
	uint64_t mark_offset; /* in the last segment, of the first record no checkpoint covers */
	uint64_t end_offset;  /* in the last segment, behind the last record */
	uint64_t dirty_end;   /* behind the last byte that is not zero */
	uint64_t file_size;
	unsigned version; /* of the last segment */
};

static enum err_code open_file(struct log *log, const struct log_segment *segment, bool sealed,
			       struct segment_scan *scan, struct segment_header *header,
			       struct err *err)
{
	char path[LOG_PATH_SIZE], name[SEAL_NAME_SIZE];
	log_segment_path(log, segment->first, path);
	seal_name(segment->first, name);
	if (sealed)
		log_path(log, path, "segments/%s", name);
	return segment_scan_open(scan, log->env, path, header, err);
}

/* Both files of a segment are there where a crash came between the sealed one's name and the end of
 * the open one: the seal was whole then. Where it is not any more, the open one counts. */
static enum err_code open_segment(struct log *log, struct log_segment *segment,
				  struct segment_scan *scan, struct segment_header *header,
				  struct err *err)
{
	enum err_code code = open_file(log, segment, segment->sealed, scan, header, err);
	if (code != ERR_CORRUPT || !segment->sealed || !segment->open)
		return code;
	segment_scan_close(scan);
	segment->sealed = false;
	return open_file(log, segment, false, scan, header, err);
}

/* What the header of the next segment must say, as far as this one tells without being read. */
struct expected {
	bool known;
	struct merkle_range tree;
	char path[SEGMENT_PATH_SIZE];
};

static bool same_tree(const struct merkle_range *a, const struct merkle_range *b)
{
	return a->size == b->size && a->count == b->count &&
	       memcmp(a->hashes, b->hashes, a->count * MERKLE_HASH_SIZE) == 0;
}

static enum err_code read_header(struct log *log, size_t number, struct segment_header *header,
				 struct expected *expected, struct err *err)
{
	struct segment_scan scan;
	struct log_segment *segment = &log->segments[number];
	enum err_code code = open_segment(log, segment, &scan, header, err);
	if (code == ERR_OK && header->first_index != segment->first)
		code = ERR_SET(err, ERR_CORRUPT,
			       "%s: offset 16: the segment starts with record %llu, which its name "
			       "does not say",
			       scan.path, (unsigned long long)header->first_index);
	if (code == ERR_OK && memcmp(header->origin, log->origin, sizeof(header->origin)) != 0)
		code = ERR_SET(err, ERR_MISMATCH, "%s: the segment is of another log than \"%s\"",
			       scan.path, log->key.name);
	if (code == ERR_OK && expected->known && !same_tree(&header->range, &expected->tree))
		code = ERR_SET(err, ERR_CORRUPT,
			       "%s: offset 0: the seal does not lead to %s, the segment after it; "
			       "restore the log from a copy",
			       expected->path, scan.name);
	expected->known = code == ERR_OK && scan.seal;
	if (expected->known) {
		seal_reader_tree(scan.seal, &expected->tree);
		memcpy(expected->path, scan.path, sizeof(expected->path));
	}
	segment_scan_close(&scan);
	return code;
}

/* Every header and seal is read; the records are from the first admit on that may lack its outcome.
 */
static enum err_code choose_start(struct recovery *recovery, size_t *segment, struct err *err)
{
	struct log *log = recovery->log;
	struct segment_header header;
	struct expected expected = {0};
	size_t start = log->segment_count - 1;
	for (size_t i = 0; i < log->segment_count; i++)
		ERR_TRY(read_header(log, i, &header, &expected, err));
	while (start > 0 &&
	       (log->segments[start].first > header.oldest_open || log->options.check_all))
		start--;
	*segment = start;
	expected.known = false;
	ERR_TRY(read_header(log, start, &header, &expected, err));
	memcpy(log->link, header.link, LINK_SIZE);
	recovery->start = recovery->index = header.first_index;
	log->links.base = log->links.oldest_open = header.first_index;
	return log_tree_load(log, &header.range, err);
}

static enum err_code check_header(struct log *log, const char *path,
				  const struct segment_header *header, struct err *err)
{
	struct merkle_range range;
	log_tree_range(&log->tree, &range);
	if (memcmp(header->link, log->link, LINK_SIZE) != 0 || !same_tree(&range, &header->range))
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: offset 0: the header does not fit the records before it", path);
	return ERR_OK;
}

static uint64_t admit_of(const struct frame *frame)
{
	uint64_t index;
	return record_admit_index(frame->text, &index) ? index : LOG_NO_INDEX;
}

static enum err_code take_record(struct recovery *recovery, struct log_segment *segment,
				 const char *path, const struct frame *frame, uint64_t offset,
				 struct err *err)
{
	struct log *log = recovery->log;
	if (frame->index != recovery->index)
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: offset %llu: record %llu stands where record %llu belongs",
			       path, (unsigned long long)offset, (unsigned long long)frame->index,
			       (unsigned long long)recovery->index);
	if (!frame->leaf && memcmp(frame->link, log->link, LINK_SIZE) != 0)
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: offset %llu: record %llu does not follow the record before it",
			       path, (unsigned long long)offset, (unsigned long long)frame->index);
	if (!log_links_reserve(&log->links, 1) ||
	    (!frame->leaf && !log_segment_note(segment, frame->index, offset)))
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", path);
	struct merkle_hash leaf =
		frame->leaf ? *frame->leaf : merkle_leaf(frame->text.data, frame->text.size);
	memcpy(log->link, leaf.bytes, LINK_SIZE);
	log_tree_append(&log->tree, &leaf);
	log_links_append(&log->links, frame->kind, admit_of(frame));
	recovery->index++;
	segment->end = recovery->index;
	return ERR_OK;
}

/* Where no record is any more. */
static enum err_code take_end(struct recovery *recovery, struct segment_scan *scan,
			      const char *path, bool last, uint64_t expected_end, struct err *err)
{
	enum segment_tail tail;
	uint64_t mark = recovery->log->checkpoint_head.size;
	if (!last && recovery->index == expected_end)
		return ERR_OK;
	if (last) {
		ERR_TRY(segment_scan_tail(scan, recovery->index, &tail, &recovery->dirty_end, err));
		recovery->end_offset = scan->offset;
		recovery->file_size = scan->file_size;
		if (recovery->index >= mark && tail != SEGMENT_DAMAGED)
			return ERR_OK;
	}
	return ERR_SET(err, ERR_CORRUPT,
		       "%s: offset %llu: record %llu is missing or damaged, and it was durable; "
		       "restore the log from a copy",
		       path, (unsigned long long)scan->offset, (unsigned long long)recovery->index);
}

static enum err_code read_segment(struct recovery *recovery, size_t number, struct err *err)
{
	struct log *log = recovery->log;
	bool last = number + 1 == log->segment_count;
	struct log_segment *segment = &log->segments[number];
	uint64_t expected_end = segment->end, mark = log->checkpoint_head.size;
	struct segment_scan scan;
	struct segment_header header;
	struct frame frame;
	bool found = true;
	enum err_code code = open_segment(log, segment, &scan, &header, err);
	const char *path = scan.path;
	if (code == ERR_OK)
		code = check_header(log, path, &header, err);
	recovery->version = header.version;
	while (code == ERR_OK && found && (last || recovery->index < expected_end)) {
		uint64_t offset = scan.offset;
		if (recovery->index <= mark)
			recovery->mark_offset = offset;
		code = segment_scan_next(&scan, &frame, &found, err);
		if (code == ERR_OK && found)
			code = take_record(recovery, segment, path, &frame, offset, err);
	}
	if (code == ERR_OK)
		code = take_end(recovery, &scan, path, last, expected_end, err);
	segment_scan_close(&scan);
	return code;
}

/* ---- against checkpoints ---- */

static enum err_code check_against(struct log *log, const struct checkpoint *head, const char *what,
				   struct err *err)
{
	struct merkle_hash root;
	if (head->size > log->tree.size)
		return ERR_SET(
			err, ERR_CORRUPT,
			"%s: %s covers %llu records and the log has only %llu: it is an old "
			"copy, or records were lost; restore the newest copy. What was signed "
			"cannot be signed otherwise: if that copy is gone for good, go on "
			"under another name in another data directory",
			log->directory, what, (unsigned long long)head->size,
			(unsigned long long)log->tree.size);
	struct log_tree_reader *reader = log_tree_reader_new(log);
	if (!reader)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", log->directory);
	struct merkle_reader hashes = log_tree_merkle(reader);
	enum err_code code = merkle_root_at(&hashes, head->size, &root, err);
	log_tree_reader_free(reader);
	ERR_TRY(code);
	if (!merkle_equal(&root, &head->root))
		return ERR_SET(
			err, ERR_CORRUPT,
			"%s: the first %llu records are not those of %s: the log was altered "
			"or is a fork; restore the right copy",
			log->directory, (unsigned long long)head->size, what);
	return ERR_OK;
}

static enum err_code check_mark(struct log *log, struct err *err)
{
	char what[LOG_PATH_SIZE + 64];
	if (!*log->mark_head.origin)
		return ERR_OK;
	if (strcmp(log->mark_head.origin, log->key.name) != 0)
		return ERR_SET(
			err, ERR_MISMATCH,
			"%s is of the log %s, not of %s: give each gateway a folder of marks "
			"of its own (log.marks in parley.yaml)",
			log->options.mark, log->mark_head.origin, log->key.name);
	snprintf(what, sizeof(what), "the checkpoint last signed, kept in %s,", log->options.mark);
	return check_against(log, &log->mark_head, what, err);
}

static enum err_code check_checkpoints(struct log *log, struct err *err)
{
	struct checkpoint known;
	ERR_TRY(check_mark(log, err));
	if (log->checkpoint.size > 0)
		ERR_TRY(check_against(log, &log->checkpoint_head, "its checkpoint", err));
	if (!log->options.known_checkpoint)
		return ERR_OK;
	enum err_code code =
		log_open_checkpoint(log, bytes_from(log->options.known_checkpoint), &known, err);
	if (code != ERR_OK) {
		err_prefix(err, "the checkpoint kept beside %s", log->directory);
		return code;
	}
	return check_against(log, &known, "the checkpoint kept beside it", err);
}

/* ---- the tail ---- */

/* What no checkpoint covers may stand in the page cache only, after a sync that failed: it is
 * written anew, and the rest is filled with zeros. */
static enum err_code rewrite_tail(const struct recovery *recovery, struct env_file *file,
				  uint8_t *buffer, size_t capacity, struct err *err)
{
	uint64_t end = recovery->dirty_end > recovery->log->segment_size
			       ? recovery->dirty_end
			       : recovery->log->segment_size;
	uint64_t clean = recovery->file_size >= end ? recovery->dirty_end : end;
	for (uint64_t at = recovery->mark_offset; at < recovery->end_offset;) {
		uint64_t left = recovery->end_offset - at;
		size_t got, want = left < capacity ? (size_t)left : capacity;
		ERR_TRY(env_file_read(file, at, buffer, want, &got, err));
		if (got != want)
			return ERR_SET(err, ERR_ENVIRONMENT, "%s: a segment became shorter",
				       recovery->log->directory);
		ERR_TRY(env_file_write(file, at, buffer, got, err));
		at += got;
	}
	memset(buffer, 0, capacity);
	for (uint64_t at = recovery->end_offset; at < clean;) {
		uint64_t left = clean - at;
		size_t size = left < capacity ? (size_t)left : capacity;
		ERR_TRY(env_file_write(file, at, buffer, size, err));
		at += size;
	}
	return env_file_sync(file, err);
}

static enum err_code adopt_last(struct recovery *recovery, struct err *err)
{
	struct log *log = recovery->log;
	char path[LOG_PATH_SIZE];
	const size_t capacity = 256u << 10;
	if (log->segments[log->segment_count - 1].sealed) {
		log->next_commit = log->synced = recovery->index;
		return log_rotate(log, err);
	}
	log_segment_path(log, log->segments[log->segment_count - 1].first, path);
	ERR_TRY(env_file_open(log->env, path, ENV_OPEN_WRITE, &log->file, err));
	uint8_t *buffer = malloc(capacity);
	if (!buffer)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", path);
	enum err_code code = rewrite_tail(recovery, log->file, buffer, capacity, err);
	free(buffer);
	ERR_TRY(code);
	log->offset = recovery->end_offset;
	log->version = recovery->version;
	log->next_commit = log->synced = recovery->index;
	int64_t room = log_segment_room(log) - (int64_t)(log->offset - SEGMENT_HEADER_SIZE);
	atomic_store(&log->room, room);
	return ERR_OK;
}

/* Of a segment with both files, the one that counts stays; and what a crash left of a sealing goes.
 */
static enum err_code remove_leftovers(struct log *log, struct err *err)
{
	char path[LOG_PATH_SIZE], name[SEAL_NAME_SIZE];
	for (size_t i = 0; i < log->segment_count; i++) {
		struct log_segment *segment = &log->segments[i];
		if (!segment->open)
			continue;
		seal_name(segment->first, name);
		log_path(log, path, "segments/%s", name);
		if (segment->sealed)
			log_segment_path(log, segment->first, path);
		ERR_TRY(env_unlink(log->env, path, err));
		segment->open = !segment->sealed;
	}
	log_path(log, path, "segments/" SEAL_TEMPORARY);
	return env_unlink(log->env, path, err);
}

/* ---- outcomes that a crash hid ---- */

#define UNKNOWN_BATCH 256
#define UNKNOWN_SIZE 2048

struct unknown {
	struct log_entry entry;
	char text[UNKNOWN_SIZE];
};

static enum err_code format_unknown(struct log *log, uint64_t admit, uint64_t index,
				    struct unknown *out, struct err *err)
{
	struct buf text = BUF_INIT(RECORD_SIZE_MAX + 1);
	json_t *tree = NULL;
	const char *org = NULL, *run = NULL, *grant = NULL;
	char id[RECORD_ID_SIZE + 1], admit_id[RECORD_ID_SIZE + 1];
	enum err_code code = log_read_entry(log, admit, &text, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&text), "an admit record", &tree, err);
	if (code == ERR_OK) {
		org = json_string_value(json_object_get(tree, "org"));
		run = json_string_value(json_object_get(tree, "run"));
		grant = json_string_value(json_object_get(tree, "grant"));
		log_record_id(log, index, id);
		log_record_id(log, admit, admit_id);
		struct record record = RECORD_INIT;
		record.kind = RECORD_UNKNOWN;
		record.id = id;
		record.time_ms = env_wall_ms(log->env);
		record.admit = bytes_from(admit_id);
		record.grant = bytes_from(grant);
		record.org = bytes_from(org);
		record.run = bytes_from(run);
		size_t size = record_format(&record, out->text, sizeof(out->text));
		if (size == 0)
			code = ERR_SET(err, ERR_TOO_LARGE,
				       "the names in record %llu are too long to repeat",
				       (unsigned long long)admit);
		out->entry = (struct log_entry){.index = index,
						.admit_index = admit,
						.kind = RECORD_UNKNOWN,
						.text = out->text,
						.size = size};
	}
	json_decref(tree);
	buf_release(&text);
	return code;
}

static enum err_code commit_unknown(struct log *log, struct unknown *unknown, size_t count,
				    struct err *err)
{
	for (size_t i = count; i-- > 0;) {
		unknown[i].entry.next = log->pending;
		log->pending = &unknown[i].entry;
	}
	while (log->pending) {
		ERR_TRY(log_commit_write(log, err));
		log_commit_integrate(log);
	}
	return ERR_OK;
}

/* One batch; *more says whether there may be others. */
static enum err_code append_unknown(struct log *log, struct unknown *unknown, bool *more,
				    struct err *err)
{
	size_t count = 0;
	uint64_t end = log->next_commit;
	for (uint64_t admit = log->links.oldest_open; admit < end && count < UNKNOWN_BATCH;
	     admit++) {
		if (log_links_get(&log->links, admit) != LINK_OPEN)
			continue;
		ERR_TRY(format_unknown(log, admit, end + count, &unknown[count], err));
		count++;
	}
	*more = count == UNKNOWN_BATCH;
	return commit_unknown(log, unknown, count, err);
}

enum err_code log_recover_outcomes(struct log *log, struct err *err)
{
	if (log->links.oldest_open == log->next_commit)
		return ERR_OK;
	struct unknown *unknown = calloc(UNKNOWN_BATCH, sizeof(*unknown));
	if (!unknown)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", log->directory);
	bool more = true;
	enum err_code code = ERR_OK;
	while (code == ERR_OK && more)
		code = append_unknown(log, unknown, &more, err);
	log->pending = NULL;
	free(unknown);
	return code;
}

/* ---- all together ---- */

enum err_code log_recover(struct log *log, struct err *err)
{
	struct recovery recovery = {.log = log};
	size_t segment;
	ERR_TRY(read_mark(log, err));
	ERR_TRY(list_segments(log, err));
	if (log->segment_count == 0) {
		ERR_TRY(check_checkpoints(log, err));
		return log_rotate(log, err);
	}
	ERR_TRY(choose_start(&recovery, &segment, err));
	for (; segment < log->segment_count; segment++) {
		recovery.mark_offset = SEGMENT_HEADER_SIZE;
		ERR_TRY(read_segment(&recovery, segment, err));
	}
	ERR_TRY(check_checkpoints(log, err));
	ERR_TRY(remove_leftovers(log, err));
	return adopt_last(&recovery, err);
}
