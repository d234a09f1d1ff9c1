/* What a running log gives to readers: checkpoints, tiles, records and receipts. */
#include "ledger/log_internal.h"
#include "ledger/proof.h"

#include <stdio.h>
#include <stdlib.h>

static enum err_code no_memory(const struct log *log, struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", log->directory);
}

enum err_code log_read_checkpoint(struct log *log, struct buf *out, struct err *err)
{
	pthread_mutex_lock(&log->lock);
	bool cosigned = log_prefers_cosigned(log);
	buf_append_bytes(out, buf_bytes(cosigned ? &log->cosigned : &log->checkpoint));
	bool none = log->checkpoint.size == 0;
	pthread_mutex_unlock(&log->lock);
	if (none)
		return ERR_SET(err, ERR_NOT_FOUND, "%s: no checkpoint was signed yet",
			       log->directory);
	return out->failed ? no_memory(log, err) : ERR_OK;
}

static uint64_t covered(struct log *log)
{
	pthread_mutex_lock(&log->lock);
	uint64_t size = log->checkpoint_head.size;
	pthread_mutex_unlock(&log->lock);
	return size;
}

static enum err_code check_tile(struct log *log, unsigned level, uint64_t number, unsigned width,
				struct err *err)
{
	if (level >= LOG_TREE_LEVELS || width < 1 || width > TILE_WIDTH ||
	    tile_width_at(covered(log), level, number) < width)
		return ERR_SET(err, ERR_NOT_FOUND,
			       "no checkpoint covers %u hashes of tile %llu of level %u", width,
			       (unsigned long long)number, level);
	return ERR_OK;
}

enum err_code log_read_tile(struct log *log, unsigned level, uint64_t number, unsigned width,
			    struct buf *out, struct err *err)
{
	struct merkle_hash hashes[TILE_WIDTH];
	ERR_TRY(check_tile(log, level, number, width, err));
	struct log_tree_reader *reader = log_tree_reader_new(log);
	if (!reader)
		return no_memory(log, err);
	enum err_code code = log_tree_read_tile(reader, level, number, width, hashes, err);
	log_tree_reader_free(reader);
	ERR_TRY(code);
	buf_append(out, hashes, width * sizeof(hashes[0]));
	return out->failed ? no_memory(log, err) : ERR_OK;
}

struct bundle {
	struct buf *out;
	const struct log_filter *filter; /* NULL: everything */
};

static enum err_code append_bundled(void *argument, const struct frame *frame, struct err *err)
{
	(void)err;
	const struct bundle *bundle = argument;
	struct bytes text = frame->text;
	if (bundle->filter && !bundle->filter->keeps(bundle->filter->argument, text))
		text.size = 0;
	buf_append_char(bundle->out, (char)(text.size >> 8));
	buf_append_char(bundle->out, (char)(text.size & 0xff));
	buf_append_bytes(bundle->out, text);
	return ERR_OK;
}

enum err_code log_read_filtered_tile(struct log *log, uint64_t number, unsigned width,
				     const struct log_filter *filter, struct buf *out,
				     struct err *err)
{
	struct bundle bundle = {out, filter};
	struct log_walk walk = {append_bundled, &bundle};
	ERR_TRY(check_tile(log, 0, number, width, err));
	uint64_t first = number * TILE_WIDTH;
	ERR_TRY(log_walk_records(log, first, first + width, &walk, err));
	return out->failed ? no_memory(log, err) : ERR_OK;
}

enum err_code log_read_entries_tile(struct log *log, uint64_t number, unsigned width,
				    struct buf *out, struct err *err)
{
	return log_read_filtered_tile(log, number, width, NULL, out, err);
}

static enum err_code append_text(void *argument, const struct frame *frame, struct err *err)
{
	(void)err;
	buf_append_bytes(argument, frame->text);
	return ERR_OK;
}

enum err_code log_read_entry(struct log *log, uint64_t index, struct buf *out, struct err *err)
{
	struct log_walk walk = {append_text, out};
	if (index == LOG_NO_INDEX)
		return ERR_SET(err, ERR_NOT_FOUND, "%s: there is no such record", log->directory);
	ERR_TRY(log_walk_records(log, index, index + 1, &walk, err));
	return out->failed ? no_memory(log, err) : ERR_OK;
}

struct range {
	log_each_entry *each;
	void *argument;
};

static enum err_code give_text(void *argument, const struct frame *frame, struct err *err)
{
	const struct range *range = argument;
	return range->each(range->argument, frame->index, frame->text, err);
}

enum err_code log_read_range(struct log *log, uint64_t begin, uint64_t end, log_each_entry *each,
			     void *argument, struct err *err)
{
	struct range range = {each, argument};
	struct log_walk walk = {give_text, &range};
	return log_walk_records(log, begin, end, &walk, err);
}

enum err_code log_checkpoint_at(struct log *log, uint64_t size, struct buf *out, struct err *err)
{
	struct checkpoint head = {.size = size};
	struct log_tree_reader *reader = log_tree_reader_new(log);
	if (!reader)
		return no_memory(log, err);
	struct merkle_reader hashes = log_tree_merkle(reader);
	pthread_mutex_lock(&log->lock);
	struct note_key key = log->key;
	const struct ed25519_private *private_key = log->options.key;
	pthread_mutex_unlock(&log->lock);
	snprintf(head.origin, sizeof(head.origin), "%s", key.name);
	enum err_code code = merkle_root_at(&hashes, size, &head.root, err);
	log_tree_reader_free(reader);
	ERR_TRY(code);
	return checkpoint_sign(&head, &key, private_key, out, err);
}

/* ---- outcomes ---- */

struct search {
	uint64_t admit, outcome;
	bool found;
};

/* Ends the walk by an error once it has found the outcome. */
static enum err_code look_for_outcome(void *argument, const struct frame *frame, struct err *err)
{
	struct search *search = argument;
	uint64_t admit;
	if ((frame->kind != RECORD_SETTLE && frame->kind != RECORD_UNKNOWN) ||
	    !record_admit_index(frame->text, &admit) || admit != search->admit)
		return ERR_OK;
	search->found = true;
	search->outcome = frame->index;
	return ERR_SET(err, ERR_EXISTS, "found");
}

enum err_code log_find_settle(struct log *log, uint64_t admit_index, uint64_t *settle_index,
			      struct err *err)
{
	struct search search = {.admit = admit_index};
	struct log_walk walk = {look_for_outcome, &search};
	pthread_mutex_lock(&log->lock);
	uint32_t link = log_links_get(&log->links, admit_index);
	uint64_t base = log->links.base, size = log->tree.size;
	pthread_mutex_unlock(&log->lock);
	*settle_index = admit_index + link;
	if (link != 0 && link != LINK_OPEN)
		return ERR_OK;
	/* Older than what is kept in memory: it has an outcome, further on. */
	if (admit_index < base && admit_index < size) {
		enum err_code code = log_walk_records(log, admit_index + 1, size, &walk, err);
		*settle_index = search.outcome;
		if (search.found)
			return ERR_OK;
		ERR_TRY(code);
	}
	return ERR_SET(err, ERR_NOT_FOUND, "record %llu has no outcome",
		       (unsigned long long)admit_index);
}

/* ---- receipts ---- */

static enum err_code make_proof(struct log *log, struct proof *proof, const struct checkpoint *head,
				struct err *err)
{
	struct log_tree_reader *reader = log_tree_reader_new(log);
	if (!reader)
		return no_memory(log, err);
	struct merkle_reader hashes = log_tree_merkle(reader);
	enum err_code code = merkle_inclusion_proof(&hashes, proof->index, head->size,
						    proof->hashes, &proof->count, err);
	log_tree_reader_free(reader);
	return code;
}

/* No receipt leaves that does not verify. */
static enum err_code check_proof(struct log *log, const struct note_key *key,
				 const struct proof *proof, struct err *err)
{
	struct buf text = BUF_INIT(RECORD_SIZE_MAX + 1);
	enum err_code code = log_read_entry(log, proof->index, &text, err);
	if (code == ERR_OK)
		code = proof_verify(proof, key, buf_bytes(&text), NULL, err);
	buf_release(&text);
	return code == ERR_MISMATCH ? ERR_SET(err, ERR_CORRUPT,
					      "%s: record %llu does not lead to the checkpoint",
					      log->directory, (unsigned long long)proof->index)
				    : code;
}

enum err_code log_receipt(struct log *log, uint64_t index, struct buf *proof_text, struct err *err)
{
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	struct proof proof = {.index = index};
	pthread_mutex_lock(&log->lock);
	struct note_key key = log->checkpoint_key;
	bool cosigned = log->cosigned_head.size > index;
	bool await = log_awaits_cosigned(log, index);
	struct checkpoint head = cosigned ? log->cosigned_head : log->checkpoint_head;
	buf_append_bytes(&note, buf_bytes(cosigned ? &log->cosigned : &log->checkpoint));
	pthread_mutex_unlock(&log->lock);
	enum err_code code = ERR_OK;
	if (note.failed) {
		code = no_memory(log, err);
	} else if (index >= atomic_load(&log->next_index)) {
		code = ERR_SET(err, ERR_NOT_FOUND, "there is no record %llu",
			       (unsigned long long)index);
	} else if (index >= head.size || await) {
		if (index >= head.size)
			log_checkpoint_now(log);
		code = ERR_SET(err, ERR_TIMEOUT, "no %scheckpoint covers record %llu yet",
			       await ? "cosigned " : "", (unsigned long long)index);
	}
	proof.checkpoint = buf_bytes(&note);
	if (code == ERR_OK)
		code = make_proof(log, &proof, &head, err);
	if (code == ERR_OK)
		code = check_proof(log, &key, &proof, err);
	if (code == ERR_OK) {
		proof_format(&proof, proof_text);
		if (proof_text->failed)
			code = no_memory(log, err);
	}
	buf_release(&note);
	return code;
}
