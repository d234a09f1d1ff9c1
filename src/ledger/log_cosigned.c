/* Checkpoints of a running log that witnesses have cosigned. Asking witnesses takes longer than
 * signing: what is cosigned lags behind what is signed. Readers are given the cosigned checkpoint
 * while it is not older than a checkpoint may be, and receipts wait a little for it. */
#include "ledger/log_internal.h"

/* How long what was signed since may be kept back from readers of the checkpoint (that all of it is
 * covered within a second is promised), and from receipts. */
#define PREFER_NS UINT64_C(800000000)
#define AWAIT_NS UINT64_C(4000000000)

static const char file_name[] = "checkpoint.cosigned";

/* Under the lock. */
static bool is_fresh(const struct log *log, uint64_t bound_ns)
{
	return log->outdated_ns == 0 || env_clock_ns(log->env) < log->outdated_ns + bound_ns;
}

void log_expect_cosigned(struct log *log)
{
	pthread_mutex_lock(&log->lock);
	log->cosigning = true;
	if (log->cosigned_head.size < log->checkpoint_head.size && log->outdated_ns == 0)
		log->outdated_ns = env_clock_ns(log->env);
	pthread_mutex_unlock(&log->lock);
}

bool log_prefers_cosigned(const struct log *log)
{
	return log->cosigned.size > 0 &&
	       (log->cosigned_head.size == log->checkpoint_head.size || is_fresh(log, PREFER_NS));
}

bool log_awaits_cosigned(const struct log *log, uint64_t index)
{
	return log->cosigning && log->cosigned_head.size <= index && is_fresh(log, AWAIT_NS);
}

void log_outdate_cosigned(struct log *log)
{
	if (log->outdated_ns == 0 && log->cosigned_head.size < log->checkpoint_head.size)
		log->outdated_ns = env_clock_ns(log->env);
}

enum err_code log_latest_checkpoint(struct log *log, struct checkpoint *head, struct buf *note,
				    struct err *err)
{
	pthread_mutex_lock(&log->lock);
	*head = log->checkpoint_head;
	buf_append_bytes(note, buf_bytes(&log->checkpoint));
	bool none = log->checkpoint.size == 0;
	pthread_mutex_unlock(&log->lock);
	if (none)
		return ERR_SET(err, ERR_NOT_FOUND, "%s: no checkpoint was signed yet",
			       log->directory);
	return note->failed ? ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", log->directory)
			    : ERR_OK;
}

uint64_t log_cosigned_size(struct log *log)
{
	pthread_mutex_lock(&log->lock);
	uint64_t size = log->cosigned_head.size;
	pthread_mutex_unlock(&log->lock);
	return size;
}

static enum err_code proof_to(struct log *log, uint64_t old_size, uint64_t size,
			      struct merkle_hash proof[static MERKLE_PROOF_MAX], size_t *count,
			      struct err *err)
{
	struct log_tree_reader *reader = log_tree_reader_new(log);
	if (!reader)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", log->directory);
	struct merkle_reader hashes = log_tree_merkle(reader);
	enum err_code code = merkle_consistency_proof(&hashes, old_size, size, proof, count, err);
	log_tree_reader_free(reader);
	return code;
}

enum err_code log_consistency_proof(struct log *log, uint64_t old_size, uint64_t size,
				    struct merkle_hash proof[static MERKLE_PROOF_MAX],
				    size_t *count, struct err *err)
{
	pthread_mutex_lock(&log->lock);
	uint64_t covered = log->checkpoint_head.size;
	pthread_mutex_unlock(&log->lock);
	*count = 0;
	if (old_size > size || size > covered)
		return ERR_SET(err, ERR_INVALID, "there is no proof from size %llu to %llu",
			       (unsigned long long)old_size, (unsigned long long)size);
	if (old_size == 0 || old_size == size)
		return ERR_OK;
	return proof_to(log, old_size, size, proof, count, err);
}

/* ---- taking in ---- */

enum err_code log_set_cosigned(struct log *log, struct bytes note, uint64_t as_of_ns,
			       struct err *err)
{
	char path[LOG_PATH_SIZE];
	struct checkpoint head;
	struct buf copy = BUF_INIT(NOTE_SIZE_MAX);
	struct note_key key;
	log_copy_key(log, &key);
	ERR_TRY(checkpoint_open(note, &key, &head, err));
	buf_append_bytes(&copy, note);
	if (copy.failed)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", log->directory);
	pthread_mutex_lock(&log->lock);
	bool newer = head.size >= log->cosigned_head.size && head.size <= log->checkpoint_head.size;
	if (newer) {
		struct buf old = log->cosigned;
		log->cosigned = copy;
		log->cosigned_head = head;
		log->outdated_ns = head.size < log->checkpoint_head.size ? as_of_ns : 0;
		copy = old;
	}
	pthread_mutex_unlock(&log->lock);
	buf_release(&copy);
	if (!newer)
		return ERR_SET(err, ERR_CONFLICT,
			       "%s: a checkpoint of size %llu is not the latest one",
			       log->directory, (unsigned long long)head.size);
	log_path(log, path, "%s", file_name);
	return env_write_file(log->env, path, note, 0644, err);
}

void log_forget_cosigned(struct log *log)
{
	char path[LOG_PATH_SIZE];
	struct err ignored = ERR_INIT;
	log_path(log, path, "%s", file_name);
	env_unlink(log->env, path, &ignored);
}

/* What an earlier run kept counts if it is of this tree: its key signed it and its root is ours. It
 * is a convenience: anything else is taken away, and comes anew. */
void log_load_cosigned(struct log *log)
{
	char path[LOG_PATH_SIZE];
	struct checkpoint head;
	struct merkle_hash root;
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	struct err ignored = ERR_INIT;
	log_path(log, path, "%s", file_name);
	struct log_tree_reader *reader = log_tree_reader_new(log);
	struct merkle_reader hashes = log_tree_merkle(reader);
	bool good = reader && env_file_exists(log->env, path) &&
		    env_read_file(log->env, path, &text, &ignored) == ERR_OK &&
		    checkpoint_open(buf_bytes(&text), &log->key, &head, &ignored) == ERR_OK &&
		    head.size <= log->next_commit &&
		    merkle_root_at(&hashes, head.size, &root, &ignored) == ERR_OK &&
		    merkle_equal(&root, &head.root);
	log_tree_reader_free(reader);
	if (good) {
		log->cosigned = text;
		log->cosigned_head = head;
	} else {
		buf_release(&text);
		log_forget_cosigned(log);
	}
}
