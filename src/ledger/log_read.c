/* Reading a log's directory, for verifiers. */
#include "ledger/log_read.h"

#include "base/encode.h"
#include "ledger/seal.h"
#include "ledger/tile.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH_SIZE 1200
#define DIRECTORY_MAX 1000
#define SEGMENTS_MAX (1u << 24)

struct log_reader {
	struct env *env;
	char directory[DIRECTORY_MAX + 1];
	uint64_t *firsts; /* of the segments */
	size_t count, capacity;
	bool out_of_memory;

	size_t current; /* the segment being read */
	bool open;
	struct segment_scan scan;
	char name[SEAL_NAME_SIZE];
	uint64_t index;
	uint8_t link[LINK_SIZE];
	bool link_known;
	/* The tree of what was read from the first record on: of whole tiles, and the leaves since;
	 * put together when somebody asks. */
	struct merkle_range whole, tree;
	struct merkle_hash tile[TILE_WIDTH], tile_root; /* of the last whole one */
	unsigned width;
	uint64_t torn_bytes;
};

/* ---- opening ---- */

static void add_segment(void *argument, const struct env_directory_entry *entry)
{
	struct log_reader *reader = argument;
	uint64_t first;
	if (entry->is_directory ||
	    (!segment_name_parse(entry->name, &first) && !seal_name_parse(entry->name, &first)))
		return;
	/* Both are there for a moment while a segment is sealed. The list is in order of names. */
	if (reader->count > 0 && reader->firsts[reader->count - 1] == first)
		return;
	if (reader->count == reader->capacity) {
		size_t capacity = reader->capacity ? reader->capacity * 2 : 64;
		uint64_t *firsts = capacity > SEGMENTS_MAX
					   ? NULL
					   : realloc(reader->firsts, capacity * sizeof(*firsts));
		if (!firsts) {
			reader->out_of_memory = true;
			return;
		}
		reader->firsts = firsts;
		reader->capacity = capacity;
	}
	reader->firsts[reader->count++] = first;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;
	return *left < *right ? -1 : *left > *right;
}

static enum err_code list(struct log_reader *reader, struct err *err)
{
	char path[PATH_SIZE];
	snprintf(path, sizeof(path), "%s/segments", reader->directory);
	if (!env_file_exists(reader->env, path))
		return ERR_SET(err, ERR_NOT_FOUND,
			       "%s is no log's directory: it has no segments (" LOG_READ_WHERE ")",
			       reader->directory);
	ERR_TRY(env_list_directory(reader->env, path, add_segment, reader, err));
	if (reader->out_of_memory)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", path);
	if (reader->count == 0)
		return ERR_SET(err, ERR_NOT_FOUND, "%s: there are no segments of a log", path);
	qsort(reader->firsts, reader->count, sizeof(*reader->firsts), compare);
	if (reader->firsts[0] != 0)
		return ERR_SET(err, ERR_CORRUPT, "%s: the first segment is missing", path);
	return ERR_OK;
}

enum err_code log_reader_open(struct env *env, const char *directory, struct log_reader **out,
			      struct err *err)
{
	*out = NULL;
	if (strlen(directory) > DIRECTORY_MAX)
		return ERR_SET(err, ERR_INVALID, "the path is longer than %d bytes: %.200s…",
			       DIRECTORY_MAX, directory);
	struct log_reader *reader = calloc(1, sizeof(*reader));
	if (!reader)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	reader->env = env;
	snprintf(reader->directory, sizeof(reader->directory), "%s", directory);
	reader->link_known = true; /* zeros before the first record */
	enum err_code code = list(reader, err);
	if (code != ERR_OK) {
		log_reader_close(reader);
		return code;
	}
	*out = reader;
	return ERR_OK;
}

static void close_segment(struct log_reader *reader)
{
	if (reader->open)
		segment_scan_close(&reader->scan);
	reader->open = false;
}

void log_reader_close(struct log_reader *reader)
{
	if (!reader)
		return;
	close_segment(reader);
	free(reader->firsts);
	free(reader);
}

const struct merkle_range *log_reader_tree(struct log_reader *reader)
{
	unsigned at = 0;
	reader->tree = reader->whole;
	for (unsigned level = 8; level-- > 0;) {
		if (!(reader->width & 1u << level))
			continue;
		struct merkle_hash root = merkle_complete(&reader->tile[at], (size_t)1 << level);
		merkle_append_subtree(&reader->tree, level, &root);
		at += 1u << level;
	}
	return &reader->tree;
}

/* Whether the tree is that of all records before this one: after a seek it is not. */
static bool is_tracked(const struct log_reader *reader, uint64_t index)
{
	return reader->whole.size + reader->width == index;
}

static void track(struct log_reader *reader, const struct merkle_hash *leaf)
{
	reader->tile[reader->width++] = *leaf;
	if (reader->width < TILE_WIDTH)
		return;
	reader->tile_root = merkle_complete(reader->tile, TILE_WIDTH);
	merkle_append_subtree(&reader->whole, 8, &reader->tile_root);
	reader->width = 0;
}

uint64_t log_reader_torn_bytes(const struct log_reader *reader)
{
	return reader->torn_bytes;
}

/* ---- records in order ---- */

static enum err_code check_header(struct log_reader *reader, const struct segment_header *header,
				  struct err *err)
{
	if (header->first_index != reader->firsts[reader->current])
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: offset 16: the segment starts with record %llu, which its name "
			       "does not say",
			       reader->name, (unsigned long long)header->first_index);
	bool fits = !reader->link_known || memcmp(header->link, reader->link, LINK_SIZE) == 0;
	if (fits && is_tracked(reader, header->first_index)) {
		const struct merkle_range *tree = log_reader_tree(reader);
		fits = memcmp(header->range.hashes, tree->hashes, tree->count * MERKLE_HASH_SIZE) ==
		       0;
	}
	if (!fits)
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: offset 0: the header does not fit the records before it",
			       reader->name);
	memcpy(reader->link, header->link, LINK_SIZE);
	reader->link_known = true;
	return ERR_OK;
}

static enum err_code open_segment(struct log_reader *reader, struct err *err)
{
	char path[PATH_SIZE];
	struct segment_header header;
	struct segment_scan *scan = &reader->scan;
	snprintf(path, sizeof(path), "%s/segments", reader->directory);
	reader->open = true;
	enum err_code code = segment_scan_find(scan, reader->env, path,
					       reader->firsts[reader->current], &header, err);
	snprintf(reader->name, sizeof(reader->name), "%s", scan->name);
	ERR_TRY(code);
	return check_header(reader, &header, err);
}

static enum err_code damaged(const struct log_reader *reader, struct err *err)
{
	return ERR_SET(err, ERR_CORRUPT, "%s: offset %llu: record %llu is missing or damaged",
		       reader->name, (unsigned long long)reader->scan.offset,
		       (unsigned long long)reader->index);
}

/* After the last record of the last segment. */
static enum err_code end_log(struct log_reader *reader, struct err *err)
{
	enum segment_tail tail;
	uint64_t end;
	ERR_TRY(segment_scan_tail(&reader->scan, reader->index, &tail, &end, err));
	if (tail == SEGMENT_DAMAGED)
		return damaged(reader, err);
	reader->torn_bytes = end - reader->scan.offset;
	return ERR_OK;
}

/* Goes on with the next segment, if this one has ended where that one starts. */
static enum err_code next_segment(struct log_reader *reader, struct err *err)
{
	if (reader->firsts[reader->current + 1] != reader->index)
		return damaged(reader, err);
	close_segment(reader);
	reader->current++;
	return ERR_OK;
}

static enum err_code take_frame(struct log_reader *reader, const struct frame *frame,
				uint64_t offset, struct log_read_entry *entry, struct err *err)
{
	if (frame->index != reader->index)
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: offset %llu: record %llu stands where record %llu belongs",
			       reader->name, (unsigned long long)offset,
			       (unsigned long long)frame->index, (unsigned long long)reader->index);
	if (!frame->leaf && memcmp(frame->link, reader->link, LINK_SIZE) != 0)
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: offset %llu: record %llu does not follow the record before it",
			       reader->name, (unsigned long long)offset,
			       (unsigned long long)frame->index);
	*entry = (struct log_read_entry){
		.index = frame->index,
		.kind = frame->kind,
		.text = frame->text,
		.leaf = frame->leaf ? *frame->leaf
				    : merkle_leaf(frame->text.data, frame->text.size),
		.segment = reader->name,
		.offset = offset};
	memcpy(reader->link, entry->leaf.bytes, LINK_SIZE);
	if (is_tracked(reader, reader->index))
		track(reader, &entry->leaf);
	reader->index++;
	return ERR_OK;
}

/* A log in use may have been written to between two reads: what seems to be missing is looked at
 * once more. */
static enum err_code next_frame(struct log_reader *reader, struct frame *frame, bool *found,
				struct err *err)
{
	ERR_TRY(segment_scan_next(&reader->scan, frame, found, err));
	if (*found || reader->scan.seal)
		return ERR_OK;
	reader->scan.buffer_size = 0;
	return segment_scan_next(&reader->scan, frame, found, err);
}

enum err_code log_reader_next(struct log_reader *reader, struct log_read_entry *entry, bool *more,
			      struct err *err)
{
	*more = true;
	for (;;) {
		struct frame frame;
		bool found;
		if (!reader->open)
			ERR_TRY(open_segment(reader, err));
		uint64_t offset = reader->scan.offset;
		ERR_TRY(next_frame(reader, &frame, &found, err));
		if (found)
			return take_frame(reader, &frame, offset, entry, err);
		*more = reader->current + 1 < reader->count;
		if (!*more)
			return end_log(reader, err);
		ERR_TRY(next_segment(reader, err));
	}
}

static bool ends_behind(const struct segment_scan *scan, uint64_t index)
{
	const struct seal_header *header = seal_reader_header(scan->seal);
	return index < header->segment.first_index + header->records;
}

enum err_code log_reader_seek(struct log_reader *reader, uint64_t index, struct err *err)
{
	struct log_read_entry entry;
	bool more = true;
	close_segment(reader);
	reader->current = reader->count - 1;
	while (reader->firsts[reader->current] > index)
		reader->current--;
	reader->index = reader->firsts[reader->current];
	reader->link_known = reader->current == 0;
	memset(reader->link, 0, LINK_SIZE);
	memset(&reader->whole, 0, sizeof(reader->whole));
	reader->width = 0;
	reader->torn_bytes = 0;
	if (reader->index < index)
		ERR_TRY(open_segment(reader, err));
	if (reader->index < index && reader->scan.seal && ends_behind(&reader->scan, index)) {
		reader->index = index;
		return segment_scan_seek(&reader->scan, index, err);
	}
	while (reader->index < index) {
		ERR_TRY(log_reader_next(reader, &entry, &more, err));
		if (!more)
			return ERR_SET(err, ERR_NOT_FOUND, "the log ends before record %llu",
				       (unsigned long long)index);
	}
	return ERR_OK;
}

enum err_code log_reader_size(struct log_reader *reader, uint64_t *size, struct err *err)
{
	struct log_read_entry entry;
	bool more = true;
	*size = reader->firsts[reader->count - 1];
	ERR_TRY(log_reader_seek(reader, *size, err));
	while (more) {
		ERR_TRY(log_reader_next(reader, &entry, &more, err));
		*size += more;
	}
	return ERR_OK;
}

/* ---- checking a whole log ---- */

struct expected_root {
	struct checkpoint head;
	const char *what;
};

/* Tiles are compared as they fill up: the hashes of the last one of each level are kept. */
#define TILE_LEVELS 7
struct check {
	struct env *env;
	const char *directory;
	const struct log_check *wanted;
	struct log_check_result *result;
	struct expected_root *roots; /* by size */
	size_t root_count, root_next;
	unsigned widths[TILE_LEVELS];
	struct merkle_hash hashes[TILE_LEVELS][TILE_WIDTH];
};

/* Whose signature it is counts for the newest one; what that covers is vouched for by it, and an
 * older one may be of before the key was handed on: its root must be the tree's all the same. */
static enum err_code open_checkpoint(const struct check *check, struct bytes message, bool newest,
				     struct checkpoint *out, struct err *err)
{
	struct note note;
	if (check->wanted->key) {
		enum err_code code = checkpoint_open(message, check->wanted->key, out, err);
		if (code != ERR_NOT_FOUND || newest)
			return code;
	}
	ERR_TRY(note_parse(message, &note, err));
	return checkpoint_parse(note.text, out, err);
}

static enum err_code add_root(struct check *check, struct bytes message, const char *what,
			      bool newest, struct err *err)
{
	struct expected_root *root = &check->roots[check->root_count];
	enum err_code code = open_checkpoint(check, message, newest, &root->head, err);
	if (code != ERR_OK) {
		err_prefix(err, "%s", what);
		return code;
	}
	root->what = what;
	check->root_count++;
	return ERR_OK;
}

static int compare_roots(const void *a, const void *b)
{
	const struct expected_root *left = a, *right = b;
	return left->head.size < right->head.size ? -1 : left->head.size > right->head.size;
}

/* There is none where none was signed yet. */
static enum err_code add_newest(struct check *check, struct err *err)
{
	struct checkpoint head;
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	struct bytes newest = check->wanted->newest;
	if (newest.size == 0) {
		enum err_code code =
			log_read_newest_checkpoint(check->env, check->directory, &text, &head, err);
		newest = buf_bytes(&text);
		if (code != ERR_OK) {
			buf_release(&text);
			return code == ERR_NOT_FOUND ? ERR_OK : code;
		}
	}
	enum err_code code = add_root(check, newest, "the newest checkpoint", true, err);
	if (code == ERR_OK) {
		check->result->newest = check->roots[0].head;
		check->result->covered = check->roots[0].head.size;
	}
	buf_release(&text);
	return code;
}

/* The stored one, unless it is the newest. */
static void drop_twin(struct check *check)
{
	const struct checkpoint *newest = &check->roots[0].head, *stored = &check->roots[1].head;
	if (check->root_count == 2 && newest->size == stored->size &&
	    merkle_equal(&newest->root, &stored->root))
		check->root_count = 1;
}

typedef enum err_code read_checkpoint(struct env *env, const char *directory, struct buf *out,
				      struct err *err);

/* One that is kept besides, if it is there. */
static enum err_code add_kept(struct check *check, read_checkpoint *read, const char *what,
			      struct err *err)
{
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	enum err_code code = read(check->env, check->directory, &text, err);
	if (code == ERR_OK)
		code = add_root(check, buf_bytes(&text), what, false, err);
	buf_release(&text);
	return code == ERR_NOT_FOUND ? ERR_OK : code;
}

static enum err_code gather_roots(struct check *check, struct err *err)
{
	const struct log_check *wanted = check->wanted;
	assert(wanted->checkpoint_count <= LOG_CHECK_MAX);
	/* The newest, the stored, the cosigned one, and those that were given. */
	check->roots = calloc(wanted->checkpoint_count + 3, sizeof(*check->roots));
	if (!check->roots)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = add_newest(check, err);
	if (code == ERR_OK)
		code = add_kept(check, log_read_stored_checkpoint, "the stored checkpoint", err);
	drop_twin(check);
	if (code == ERR_OK)
		code = add_kept(check, log_read_cosigned_checkpoint, "the cosigned checkpoint",
				err);
	for (size_t i = 0; code == ERR_OK && i < wanted->checkpoint_count; i++)
		code = add_root(check, wanted->checkpoints[i], "a given checkpoint", true, err);
	qsort(check->roots, check->root_count, sizeof(*check->roots), compare_roots);
	return code;
}

/* The checkpoints whose size the tree has reached. */
static enum err_code check_roots(struct check *check, struct log_reader *reader, struct err *err)
{
	uint64_t size = reader->index;
	if (check->root_next == check->root_count ||
	    check->roots[check->root_next].head.size != size)
		return ERR_OK;
	struct merkle_hash root = merkle_root(log_reader_tree(reader));
	while (check->root_next < check->root_count &&
	       check->roots[check->root_next].head.size == size) {
		const struct expected_root *expected = &check->roots[check->root_next++];
		if (!merkle_equal(&root, &expected->head.root))
			return ERR_SET(err, ERR_MISMATCH,
				       "%s of size %llu has another root than the records",
				       expected->what, (unsigned long long)size);
		check->result->checkpoints++;
	}
	return ERR_OK;
}

/* What a loss of power leaves of a tile, which is not synced: of each sector all, a part, or none,
 * and zeros. */
#define SECTOR_SIZE 512
static bool is_torn(const char *stored, const struct merkle_hash *hashes)
{
	static const char zeros[SECTOR_SIZE];
	const char *want = (const char *)hashes;
	for (size_t at = 0; at < TILE_WIDTH * MERKLE_HASH_SIZE; at += SECTOR_SIZE) {
		size_t same = 0;
		while (same < SECTOR_SIZE && stored[at + same] == want[at + same])
			same++;
		if (memcmp(stored + at + same, zeros, SECTOR_SIZE - same) != 0)
			return false;
	}
	return true;
}

/* A tile that is not there, or not whole, is no lie: it can be made again, and is when somebody
 * asks the gateway for it. */
static enum err_code check_tile(struct check *check, unsigned level, uint64_t number,
				struct err *err)
{
	char path[PATH_SIZE], name[TILE_PATH_SIZE];
	struct merkle_hash stored[TILE_WIDTH];
	struct tile tile = {.level = level, .number = number, .width = TILE_WIDTH};
	struct buf content = BUF_INIT(sizeof(stored) + 1);
	struct err ignored;
	tile_path(&tile, name);
	snprintf(path, sizeof(path), "%s/%s", check->directory, name);
	enum err_code code = env_read_file(check->env, path, &content, &ignored);
	bool whole = code == ERR_OK && content.size == sizeof(stored);
	bool same = whole && memcmp(content.data, check->hashes[level], sizeof(stored)) == 0;
	bool torn = whole && !same && is_torn(content.data, check->hashes[level]);
	buf_release(&content);
	if (whole && !same && !torn)
		return ERR_SET(err, ERR_MISMATCH, "%s has other hashes than the records", name);
	check->result->tiles += same;
	return ERR_OK;
}

static enum err_code add_to_tiles(struct check *check, const struct log_reader *reader,
				  const struct log_read_entry *entry, struct err *err)
{
	struct merkle_hash hash = entry->leaf;
	uint64_t number = entry->index / TILE_WIDTH;
	for (unsigned level = 0; level < TILE_LEVELS; level++) {
		check->hashes[level][check->widths[level]++] = hash;
		if (check->widths[level] < TILE_WIDTH)
			return ERR_OK;
		ERR_TRY(check_tile(check, level, number, err));
		hash = level == 0 ? reader->tile_root
				  : merkle_complete(check->hashes[level], TILE_WIDTH);
		check->widths[level] = 0;
		number /= TILE_WIDTH;
	}
	return ERR_OK;
}

static enum err_code check_records(struct check *check, struct log_reader *reader, struct err *err)
{
	struct log_read_entry entry;
	bool more = true;
	ERR_TRY(check_roots(check, reader, err));
	for (;;) {
		ERR_TRY(log_reader_next(reader, &entry, &more, err));
		if (!more)
			break;
		ERR_TRY(add_to_tiles(check, reader, &entry, err));
		ERR_TRY(check_roots(check, reader, err));
		if (check->wanted->each)
			ERR_TRY(check->wanted->each(check->wanted->argument, &entry, err));
		check->result->records++;
	}
	check->result->torn_bytes = log_reader_torn_bytes(reader);
	check->result->root = merkle_root(log_reader_tree(reader));
	if (check->root_next < check->root_count) {
		const struct expected_root *expected = &check->roots[check->root_next];
		return ERR_SET(
			err, ERR_CORRUPT,
			"%s covers %llu records and the log has only %llu: offset %llu of %s",
			expected->what, (unsigned long long)expected->head.size,
			(unsigned long long)reader->index, (unsigned long long)reader->scan.offset,
			reader->name);
	}
	return ERR_OK;
}

enum err_code log_check_directory(struct env *env, const char *directory,
				  const struct log_check *wanted, struct log_check_result *result,
				  struct err *err)
{
	struct log_reader *reader = NULL;
	memset(result, 0, sizeof(*result));
	struct check *check = calloc(1, sizeof(*check));
	if (!check)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	check->env = env;
	check->directory = directory;
	check->wanted = wanted;
	check->result = result;
	/* The checkpoint first: in a log in use, records come before the checkpoint over them. */
	enum err_code code = gather_roots(check, err);
	if (code == ERR_OK)
		code = log_reader_open(env, directory, &reader, err);
	if (code == ERR_OK)
		code = check_records(check, reader, err);
	log_reader_close(reader);
	free(check->roots);
	free(check);
	return code;
}

/* ---- a receipt from the directory alone ---- */

struct proving {
	uint64_t index, size;
	size_t count;
	struct merkle_span spans[MERKLE_PROOF_MAX];
	struct merkle_range nodes[MERKLE_PROOF_MAX];
	struct buf *record;
};

static void prove_with(struct proving *proving, const struct log_read_entry *entry)
{
	if (entry->index == proving->index)
		buf_append_bytes(proving->record, entry->text);
	for (size_t i = 0; i < proving->count; i++)
		if (entry->index >= proving->spans[i].begin && entry->index < proving->spans[i].end)
			merkle_append(&proving->nodes[i], &entry->leaf);
}

static enum err_code prove_from(struct proving *proving, struct log_reader *reader, struct err *err)
{
	struct log_read_entry entry;
	bool more = true;
	while (reader->index < proving->size) {
		ERR_TRY(log_reader_next(reader, &entry, &more, err));
		if (!more)
			return ERR_SET(
				err, ERR_CORRUPT,
				"the checkpoint covers %llu records and the log has only %llu",
				(unsigned long long)proving->size,
				(unsigned long long)reader->index);
		prove_with(proving, &entry);
	}
	return ERR_OK;
}

static enum err_code prove(struct env *env, const char *directory, uint64_t index,
			   const struct checkpoint *head, struct proof *proof, struct buf *record,
			   struct err *err)
{
	struct log_reader *reader;
	struct proving *proving = calloc(1, sizeof(*proving));
	if (!proving)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	proving->index = proof->index = index;
	proving->size = head->size;
	proving->record = record;
	proving->count = merkle_inclusion_spans(index, head->size, proving->spans);
	enum err_code code = log_reader_open(env, directory, &reader, err);
	if (code == ERR_OK)
		code = prove_from(proving, reader, err);
	proof->count = proving->count;
	for (size_t i = 0; code == ERR_OK && i < proof->count; i++)
		proof->hashes[i] = merkle_root(&proving->nodes[i]);
	if (code == ERR_OK) {
		struct merkle_hash root = merkle_root(log_reader_tree(reader));
		if (!merkle_equal(&root, &head->root))
			code = ERR_SET(err, ERR_MISMATCH,
				       "the newest checkpoint has another root than the records");
	}
	log_reader_close(reader);
	free(proving);
	return code;
}

/* The checkpoint that a receipt rests on: one with cosignatures where it covers the record. */
static enum err_code choose_checkpoint(struct env *env, const char *directory, uint64_t index,
				       struct buf *text, struct checkpoint *head, struct err *err)
{
	struct note note;
	if (log_read_cosigned_checkpoint(env, directory, text, NULL) == ERR_OK &&
	    note_parse(buf_bytes(text), &note, NULL) == ERR_OK &&
	    checkpoint_parse(note.text, head, NULL) == ERR_OK && index < head->size)
		return ERR_OK;
	buf_clear(text);
	ERR_TRY(log_read_newest_checkpoint(env, directory, text, head, err));
	if (index < head->size)
		return ERR_OK;
	return ERR_SET(err, ERR_NOT_FOUND,
		       "the newest checkpoint covers %llu records, not record %llu",
		       (unsigned long long)head->size, (unsigned long long)index);
}

enum err_code log_prove_directory(struct env *env, const char *directory, uint64_t index,
				  struct buf *record, struct buf *proof_text, struct err *err)
{
	struct buf stored = BUF_INIT(NOTE_SIZE_MAX);
	struct proof proof = {0};
	struct checkpoint head;
	enum err_code code = choose_checkpoint(env, directory, index, &stored, &head, err);
	if (code == ERR_OK)
		code = prove(env, directory, index, &head, &proof, record, err);
	if (code == ERR_OK) {
		proof.checkpoint = buf_bytes(&stored);
		proof_format(&proof, proof_text);
		if (record->failed || proof_text->failed)
			code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	buf_release(&stored);
	return code;
}
