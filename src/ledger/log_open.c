/* Opening and closing a log. */
#include "ledger/log_care.h"
#include "ledger/log_recover.h"

#include <stdio.h>
#include <stdlib.h>

static enum err_code check_options(const struct log_options *options, struct err *err)
{
	if (strlen(options->directory) > LOG_DIRECTORY_MAX)
		return ERR_SET(err, ERR_INVALID,
			       "the log directory's path is longer than %d bytes: %.200s…",
			       LOG_DIRECTORY_MAX, options->directory);
	if (options->segment_size != 0 && (options->segment_size < LOG_SEGMENT_SIZE_MIN ||
					   options->segment_size > SEGMENT_SIZE_MAX))
		return ERR_SET(err, ERR_INVALID, "a segment has %u to %llu bytes, not %llu",
			       LOG_SEGMENT_SIZE_MIN, (unsigned long long)SEGMENT_SIZE_MAX,
			       (unsigned long long)options->segment_size);
	return ERR_OK;
}

static enum err_code name_key(struct log *log, struct err *err)
{
	uint8_t public_key[ED25519_KEY_SIZE];
	struct buf text = BUF_INIT(1024);
	ed25519_public(log->options.key, public_key);
	ERR_TRY(note_key_init(&log->key, log->options.origin, public_key, err));
	note_key_format(&log->key, &text);
	if (text.failed)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	log->vkey = text.data;
	log->options.origin = log->key.name;
	log->checkpoint_key = log->key;
	return ERR_OK;
}

static enum err_code new_log(struct env *env, struct env_loop *loop,
			     const struct log_options *options, struct log **out, struct err *err)
{
	struct log *log = calloc(1, sizeof(*log));
	if (!log)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	*out = log;
	pthread_mutex_init(&log->lock, NULL);
	log->env = env;
	log->loop = loop;
	log->options = *options;
	snprintf(log->directory, sizeof(log->directory), "%s", options->directory);
	log->options.directory = log->directory;
	log->segment_size =
		options->segment_size ? options->segment_size : LOG_SEGMENT_SIZE_DEFAULT;
	hmac_key_init(&log->secret, options->secret, LOG_SECRET_SIZE);
	sha256_of(options->origin, strlen(options->origin), log->origin);
	buf_init(&log->checkpoint, NOTE_SIZE_MAX);
	buf_init(&log->checkpoint_next, NOTE_SIZE_MAX);
	buf_init(&log->cosigned, NOTE_SIZE_MAX);
	log->commit.bytes = malloc(LOG_COMMIT_BYTES);
	log->commit.records = calloc(LOG_COMMIT_RECORDS, sizeof(*log->commit.records));
	if (!log->commit.bytes || !log->commit.records || !log_work_init(log))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	return name_key(log, err);
}

static void free_log(struct log *log)
{
	if (!log)
		return;
	log_care_free(log->care);
	env_timer_disarm(log->loop, &log->checkpoint_timer);
	env_timer_disarm(log->loop, &log->space_timer);
	env_timer_disarm(log->loop, &log->hold_timer);
	log_work_release(log);
	if (log->preparing)
		log_prepare_abandon(log);
	for (unsigned i = 0; i < log->spare_count; i++)
		env_file_close(log->spares[i].file);
	for (size_t i = 0; i < log->segment_count; i++)
		free(log->segments[i].sparse);
	free(log->segments);
	log_links_release(&log->links);
	log_tree_release(&log->tree);
	log_next_key_free(log->next_key);
	env_file_close(log->file);
	env_file_close(log->lock_file);
	mark_close(log->mark);
	buf_release(&log->checkpoint);
	buf_release(&log->checkpoint_next);
	buf_release(&log->cosigned);
	free(log->commit.bytes);
	free(log->commit.records);
	free(log->vkey);
	pthread_mutex_destroy(&log->lock);
	free(log);
}

static enum err_code lock_directory(struct log *log, struct err *err)
{
	char path[LOG_PATH_SIZE];
	log_path(log, path, "segments");
	ERR_TRY(env_make_directories(log->env, path, err));
	log_path(log, path, "lock");
	ERR_TRY(env_file_open(log->env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &log->lock_file,
			      err));
	enum err_code code = env_file_lock(log->lock_file, err);
	if (code == ERR_LOCKED)
		ERR_SET(err, ERR_LOCKED,
			"%s: the log is in use by another process; stop that gateway first",
			log->directory);
	return code;
}

/* The directory's own entries must be durable before what is in them counts. */
static enum err_code sync_directories(struct log *log, struct err *err)
{
	char path[LOG_PATH_SIZE];
	char *slash;
	log_path(log, path, "segments");
	ERR_TRY(env_sync_directory(log->env, path, err));
	ERR_TRY(env_sync_directory(log->env, log->directory, err));
	snprintf(path, sizeof(path), "%s", log->directory);
	slash = strrchr(path, '/');
	if (slash == path)
		slash[1] = 0;
	else if (slash)
		*slash = 0;
	else
		snprintf(path, sizeof(path), ".");
	return env_sync_directory(log->env, path, err);
}

/* Files that an earlier run left behind, by how their names begin and end. */
struct leftovers {
	const char *begin, *end;
	unsigned count;
	char names[64][64];
};

static void list_leftover(void *argument, const struct env_directory_entry *entry)
{
	struct leftovers *left = argument;
	size_t size = strlen(entry->name), begin = strlen(left->begin), end = strlen(left->end);
	if (left->count < 64 && size < sizeof(left->names[0]) && size >= begin + end &&
	    memcmp(entry->name, left->begin, begin) == 0 &&
	    memcmp(entry->name + size - end, left->end, end) == 0)
		memcpy(left->names[left->count++], entry->name, size + 1);
}

static enum err_code remove_leftovers(struct log *log, const char *folder, const char *begin,
				      const char *end, struct err *err)
{
	char path[LOG_PATH_SIZE];
	struct leftovers left = {.begin = begin, .end = end};
	ERR_TRY(env_list_directory(log->env, folder, list_leftover, &left, err));
	for (unsigned i = 0; i < left.count; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, left.names[i]);
		ERR_TRY(env_unlink(log->env, path, err));
	}
	return ERR_OK;
}

/* Spares are made anew: one of them may have a header already. A checkpoint that was being written
 * under another name is of no use. */
static enum err_code clear_away(struct log *log, struct err *err)
{
	char segments[LOG_PATH_SIZE];
	log_path(log, segments, "segments");
	ERR_TRY(remove_leftovers(log, segments, "spare.", "", err));
	return remove_leftovers(log, log->directory, "checkpoint.", ".tmp", err);
}

static enum err_code first_checkpoint(struct log *log, struct err *err)
{
	bool signed_now = log->checkpoint.size > 0 &&
			  log->checkpoint_head.size == log->next_commit && !log->signed_before &&
			  !log->next_key;
	if (!signed_now) {
		ERR_TRY(log_checkpoint_make(log, err));
		log_checkpoint_publish(log);
		log->signed_before = false;
	}
	if (!log->unstored)
		return ERR_OK;
	ERR_TRY(log_checkpoint_store(log, err));
	log->unstored = false;
	return ERR_OK;
}

/* A log of before marks were kept, or a mark that a crash left one step ahead. */
static enum err_code renew_mark(struct log *log, struct err *err)
{
	if (!log->mark || log->mark_head.size == log->checkpoint_head.size)
		return ERR_OK;
	return mark_set(log->mark, buf_bytes(&log->checkpoint), err);
}

static enum err_code start(struct log *log, struct err *err)
{
	ERR_TRY(lock_directory(log, err));
	if (log->options.mark)
		ERR_TRY(mark_open(log->env, log->options.mark, &log->mark, &log->mark_head, err));
	ERR_TRY(clear_away(log, err));
	ERR_TRY(sync_directories(log, err));
	ERR_TRY(log_check_signer(log, err));
	ERR_TRY(log_recover(log, err));
	log->options.known_checkpoint = NULL;
	ERR_TRY(log_recover_outcomes(log, err));
	log_tree_flush(log, 0);
	ERR_TRY(log_tree_repair(log, err));
	ERR_TRY(first_checkpoint(log, err));
	ERR_TRY(renew_mark(log, err));
	log->options.mark = NULL; /* the caller's */
	log_load_cosigned(log);
	atomic_store(&log->next_index, log->next_commit);
	atomic_store(&log->durable, log->next_commit);
	log->signed_ns = log->stored_ns = env_clock_ns(log->env);
	for (size_t i = 0; i < log->segment_count; i++)
		log->sealed += log->segments[i].sealed;
	if (log->options.care_loop)
		ERR_TRY(log_care_new(log, log->options.care_loop, &log->care, err));
	log_care_wake(log->care);
	log_wake(log);
	return ERR_OK;
}

enum err_code log_open(struct env *env, struct env_loop *log_loop,
		       const struct log_options *options, struct log **out, struct err *err)
{
	struct log *log = NULL;
	*out = NULL;
	ERR_TRY(check_options(options, err));
	enum err_code code = new_log(env, log_loop, options, &log, err);
	if (code == ERR_OK)
		code = start(log, err);
	if (code != ERR_OK) {
		free_log(log);
		return code;
	}
	*out = log;
	return ERR_OK;
}

/* The loop has ended, perhaps between a job and what follows it. */
static enum err_code finish(struct log *log, struct err *err)
{
	if (atomic_load(&log->failed))
		return ERR_SET(err, ERR_ENVIRONMENT, "%s: the log could not be written any more",
			       log->directory);
	if (log->busy && log->job_ran && log->work == LOG_WORK_COMMIT) {
		if (log->code != ERR_OK) {
			if (err)
				*err = log->err;
			return log->code;
		}
		log_commit_integrate(log);
	}
	log_gather(log);
	while (log->pending && log->pending->index == log->next_commit) {
		ERR_TRY(log_commit_write(log, err));
		log_commit_integrate(log);
	}
	log_tree_flush(log, 0);
	return first_checkpoint(log, err);
}

enum err_code log_close(struct log *log, struct err *err)
{
	if (!log)
		return ERR_OK;
	enum err_code code = finish(log, err);
	free_log(log);
	return code;
}
