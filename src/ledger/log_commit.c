/* From pending records to durable ones: frames, writes, syncs, segments and their spares, and
 * signed checkpoints. Runs as the log's job. */
#include "ledger/log_care.h"
#include "ledger/log_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- segments ---- */

/* Everything written to the current segment. When a sync fails, what it did not write counts as
 * clean and no later one tells: the log ends then, also where only room was short. */
static enum err_code sync_records(struct log *log, struct err *err)
{
	if (log->synced >= log->next_commit)
		return ERR_OK;
	if (env_file_sync(log->file, err) != ERR_OK)
		return ERR_ENVIRONMENT;
	log->synced = log->next_commit;
	return ERR_OK;
}

int64_t log_segment_room(const struct log *log)
{
	return (int64_t)(log->segment_size - SEGMENT_HEADER_SIZE - FRAME_SIZE_MAX);
}

static void spare_path(const struct log *log, unsigned number, char out[static LOG_PATH_SIZE])
{
	log_path(log, out, "segments/spare.%u", number);
}

void log_prepare_abandon(struct log *log)
{
	char path[LOG_PATH_SIZE];
	struct err ignored;
	env_file_close(log->preparing);
	log->preparing = NULL;
	spare_path(log, log->spare_number, path);
	env_unlink(log->env, path, &ignored);
}

static enum err_code prepare_start(struct log *log, struct err *err)
{
	char path[LOG_PATH_SIZE];
	spare_path(log, ++log->spare_number, path);
	log->prepared = 0;
	ERR_TRY(env_file_open(log->env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &log->preparing,
			      err));
	return env_file_truncate(log->preparing, 0, err);
}

/* Zeros are written, not just allocated: a sync after an overwrite has no lengths or extents to
 * record. */
static enum err_code prepare_write(struct log *log, uint64_t limit, struct err *err)
{
	static const uint8_t zeros[64 << 10];
	uint64_t stop = log->prepared + limit;
	if (stop > log->segment_size)
		stop = log->segment_size;
	while (log->prepared < stop) {
		uint64_t left = stop - log->prepared;
		size_t size = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);
		ERR_TRY(env_file_write(log->preparing, log->prepared, zeros, size, err));
		log->prepared += size;
	}
	return env_file_sync(log->preparing, err);
}

enum err_code log_prepare(struct log *log, uint64_t limit, bool *ready, struct err *err)
{
	*ready = false;
	assert(log->spare_count < LOG_SPARES_MAX);
	enum err_code code = log->preparing ? ERR_OK : prepare_start(log, err);
	if (code == ERR_OK)
		code = prepare_write(log, limit, err);
	if (code != ERR_OK) {
		log_prepare_abandon(log);
		return code;
	}
	if (log->prepared < log->segment_size)
		return ERR_OK;
	log->spares[log->spare_count++] = (struct log_spare){log->preparing, log->spare_number};
	log->preparing = NULL;
	*ready = true;
	return ERR_OK;
}

static enum err_code write_header(struct log *log, struct env_file *file, struct err *err)
{
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	struct segment_header header = {.first_index = log->next_commit};
	memcpy(header.origin, log->origin, sizeof(header.origin));
	memcpy(header.link, log->link, LINK_SIZE);
	header.oldest_open = log->links.oldest_open;
	log_tree_range(&log->tree, &header.range);
	assert(header.range.size == log->next_commit);
	segment_header_write(&header, bytes);
	ERR_TRY(env_file_write(file, 0, bytes, sizeof(bytes), err));
	return env_file_sync(file, err);
}

/* The spare gets its header before its name, and its name is durable before a record goes in. */
static enum err_code name_spare(struct log *log, const struct log_spare *spare, struct err *err)
{
	char from[LOG_PATH_SIZE], to[LOG_PATH_SIZE], directory[LOG_PATH_SIZE];
	spare_path(log, spare->number, from);
	log_segment_path(log, log->next_commit, to);
	log_path(log, directory, "segments");
	ERR_TRY(write_header(log, spare->file, err));
	ERR_TRY(env_rename(log->env, from, to, err));
	return env_sync_directory(log->env, directory, err);
}

enum err_code log_rotate(struct log *log, struct err *err)
{
	if (log->file)
		ERR_TRY(sync_records(log, err));
	while (log->spare_count == 0) {
		bool ready;
		ERR_TRY(log_prepare(log, log->segment_size, &ready, err));
		if (ready)
			atomic_fetch_add(&log->room, log_segment_room(log));
	}
	struct log_spare spare = log->spares[0];
	ERR_TRY(name_spare(log, &spare, err));
	memmove(&log->spares[0], &log->spares[1], --log->spare_count * sizeof(spare));
	/* The old segment may have taken more than its share of the room was. */
	if (log->file)
		atomic_fetch_add(&log->room, (int64_t)(log->offset - SEGMENT_HEADER_SIZE) -
						     log_segment_room(log));
	env_file_close(log->file);
	log->file = spare.file;
	log->version = SEGMENT_VERSION;
	log->offset = SEGMENT_HEADER_SIZE;
	pthread_mutex_lock(&log->lock);
	bool added = log_segments_add(log, log->next_commit);
	if (added)
		log->segments[log->segment_count - 1].open = true;
	pthread_mutex_unlock(&log->lock);
	log_care_wake(log->care);
	return added ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", log->directory);
}

/* ---- commits ---- */

static void note_producer(struct log *log, struct log_producer *producer)
{
	if (!producer || producer->batch == log->batch)
		return;
	producer->batch = log->batch;
	producer->batch_next = log->commit.producers;
	log->commit.producers = producer;
}

static bool has_next(const struct log *log)
{
	return log->pending && log->pending->index == log->next_commit + log->commit.count;
}

/* The records of the next commit: what is pending, in order, up to its limits. It lies in one
 * segment. */
static void choose_records(struct log *log)
{
	struct log_commit *commit = &log->commit;
	uint64_t size = 0;
	while (has_next(log) && commit->count < LOG_COMMIT_RECORDS) {
		struct log_entry *entry = log->pending;
		size += frame_size(entry->size);
		if (size > LOG_COMMIT_BYTES || log->offset + size > log->segment_size)
			return;
		log->pending = entry->next;
		commit->records[commit->count++] = (struct log_committed){
			.entry = entry, .admit_index = entry->admit_index, .kind = entry->kind};
	}
}

static struct bytes text_of(const struct log_committed *record)
{
	return bytes_of(record->entry->text, record->entry->size);
}

static void hash_records(struct log_commit *commit)
{
	struct merkle_group group;
	group.count = 0;
	for (size_t i = 0; i < commit->count; i++)
		merkle_group_leaf(&group, text_of(&commit->records[i]), &commit->records[i].leaf);
	merkle_group_finish(&group);
}

static void frame_record(struct log *log, struct log_committed *record)
{
	struct log_commit *commit = &log->commit;
	const struct log_entry *entry = record->entry;
	struct frame frame = {
		.index = entry->index,
		.kind = entry->kind,
		.unsynced = (uint32_t)(entry->index - log->synced),
		.text = text_of(record),
	};
	memcpy(frame.link, log->link, LINK_SIZE);
	size_t size = frame_write(&frame, log->version, commit->bytes + commit->size);
	record->offset = (uint32_t)(log->offset + commit->size);
	memcpy(log->link, record->leaf.bytes, LINK_SIZE);
	commit->size += size;
	commit->units += entry->units;
	note_producer(log, entry->producer);
}

static void fill_commit(struct log *log)
{
	choose_records(log);
	hash_records(&log->commit);
	for (size_t i = 0; i < log->commit.count; i++)
		frame_record(log, &log->commit.records[i]);
}

static int64_t micros_since(const struct log *log, uint64_t began_ns)
{
	return (int64_t)((env_clock_ns(log->env) - began_ns) / 1000);
}

enum err_code log_commit_write(struct log *log, struct err *err)
{
	struct log_commit *commit = &log->commit;
	commit->size = commit->count = 0;
	commit->units = 0;
	commit->producers = NULL;
	log->batch++;
	if (!has_next(log))
		return ERR_OK;
	if (log->offset + frame_size(log->pending->size) > log->segment_size)
		ERR_TRY(log_rotate(log, err));
	pthread_mutex_lock(&log->lock);
	bool room = log_links_reserve(&log->links, LOG_COMMIT_RECORDS);
	pthread_mutex_unlock(&log->lock);
	if (!room)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", log->directory);
	uint64_t started = env_clock_ns(log->env);
	fill_commit(log);
	ERR_TRY(env_file_write(log->file, log->offset, commit->bytes, commit->size, err));
	uint64_t written = env_clock_ns(log->env);
	if (!log->options.relaxed) {
		ERR_TRY(env_file_sync(log->file, err));
		log->synced = log->next_commit + commit->count;
		tally_add(&log->timings.sync, &log_time_scale, micros_since(log, written));
	}
	tally_add(&log->timings.commit, &log_time_scale, micros_since(log, started));
	tally_add(&log->timings.batch, &log_batch_scale, (int64_t)commit->count);
	return ERR_OK;
}

void log_commit_integrate(struct log *log)
{
	struct log_commit *commit = &log->commit;
	pthread_mutex_lock(&log->lock);
	struct log_segment *segment = &log->segments[log->segment_count - 1];
	for (size_t i = 0; i < commit->count; i++) {
		const struct log_committed *record = &commit->records[i];
		log_tree_append(&log->tree, &record->leaf);
		log_links_append(&log->links, record->kind, record->admit_index);
		/* Without memory for it, reading starts from an earlier offset. */
		(void)log_segment_note(segment, log->next_commit + i, record->offset);
	}
	log->next_commit += commit->count;
	segment->end = log->next_commit;
	log->commits++;
	log->bytes += commit->size;
	pthread_mutex_unlock(&log->lock);
	log->offset += commit->size;
	atomic_fetch_add(&log->room, (int64_t)commit->units * LOG_UNIT - (int64_t)commit->size);
}

/* ---- checkpoints ---- */

static enum err_code store(struct log *log, const struct buf *note, struct err *err)
{
	char path[LOG_PATH_SIZE];
	log_path(log, path, "checkpoint");
	return env_write_file(log->env, path, buf_bytes(note), 0644, err);
}

/* A new file under an old name takes two syncs of the whole file system; a mark takes one of a page
 * that was there before. */
enum err_code log_checkpoint_store(struct log *log, struct err *err)
{
	return store(log, &log->checkpoint, err);
}

enum err_code log_checkpoint_make(struct log *log, struct err *err)
{
	struct merkle_range range;
	ERR_TRY(sync_records(log, err));
	log_take_next_key(log);
	log_tree_range(&log->tree, &range);
	struct checkpoint *head = &log->checkpoint_next_head;
	snprintf(head->origin, sizeof(head->origin), "%s", log->key.name);
	head->size = range.size;
	head->root = merkle_root(&range);
	assert(head->size >= log->checkpoint_head.size);
	buf_clear(&log->checkpoint_next);
	log->signed_ns = env_clock_ns(log->env);
	ERR_TRY(checkpoint_sign(head, &log->key, log->options.key, &log->checkpoint_next, err));
	/* Before anybody can see it: what was signed once is known also where the log is put back.
	 */
	return log->mark ? mark_set(log->mark, buf_bytes(&log->checkpoint_next), err)
			 : store(log, &log->checkpoint_next, err);
}

void log_checkpoint_publish(struct log *log)
{
	log->unstored = log->mark != NULL;
	pthread_mutex_lock(&log->lock);
	struct buf old = log->checkpoint;
	log->checkpoint = log->checkpoint_next;
	log->checkpoint_next = old;
	log->checkpoint_head = log->checkpoint_next_head;
	log->checkpoints++;
	/* What witnesses cosigned of the last key's is not what readers ask for now. */
	if (memcmp(&log->checkpoint_key, &log->key, sizeof(log->key)) != 0) {
		log->checkpoint_key = log->key;
		buf_clear(&log->cosigned);
		log->cosigned_head = (struct checkpoint){0};
	}
	log_outdate_cosigned(log);
	pthread_mutex_unlock(&log->lock);
}
