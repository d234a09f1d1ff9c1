/* The key of a running log handed on to another one. Notes that say so, signed by both keys, are
 * kept in the directory; the log goes over to the new key with the next checkpoint it makes. */
#include "base/encode.h"
#include "ledger/key_rotation.h"
#include "ledger/log_internal.h"

#include <stdlib.h>

/* ---- notes ---- */

enum err_code log_keep_rotation(struct log *log, struct bytes note, struct err *err)
{
	char path[LOG_PATH_SIZE];
	struct key_rotation rotation;
	struct buf text = BUF_INIT(KEY_ROTATIONS_TEXT_MAX);
	ERR_TRY(key_rotation_open(note, &rotation, err));
	log_path(log, path, KEY_ROTATIONS_FILE);
	enum err_code code = log_read_rotations(log, &text, err);
	bool known = text.size && memmem(text.data, text.size, note.data, note.size);
	buf_append_bytes(&text, note);
	if (code == ERR_OK && text.failed)
		code = ERR_SET(err, ERR_TOO_LARGE, "%s: there is no room for another rotation",
			       path);
	if (code == ERR_OK && !known)
		code = env_write_file(log->env, path, buf_bytes(&text), 0644, err);
	buf_release(&text);
	return code;
}

enum err_code log_read_rotations(struct log *log, struct buf *out, struct err *err)
{
	char path[LOG_PATH_SIZE];
	log_path(log, path, KEY_ROTATIONS_FILE);
	if (!env_file_exists(log->env, path))
		return ERR_OK;
	return env_read_file(log->env, path, out, err);
}

/* ---- the key ---- */

struct log_next_key {
	struct note_key key;
	const struct ed25519_private *private_key;
	char *vkey;
};

enum err_code log_set_key(struct log *log, const struct ed25519_private *key, struct err *err)
{
	struct log_next_key *next = calloc(1, sizeof(*next));
	struct buf text = BUF_INIT(1024);
	uint8_t public_key[ED25519_KEY_SIZE];
	enum err_code code = next ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	ed25519_public(key, public_key);
	if (code == ERR_OK)
		code = note_key_init(&next->key, log->key.name, public_key, err);
	if (code == ERR_OK) {
		note_key_format(&next->key, &text);
		if (text.failed)
			code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	if (code != ERR_OK) {
		free(next);
		buf_release(&text);
		return code;
	}
	next->private_key = key;
	next->vkey = text.data;
	pthread_mutex_lock(&log->lock);
	struct log_next_key *old = log->next_key;
	log->next_key = next;
	pthread_mutex_unlock(&log->lock);
	log_next_key_free(old);
	log_checkpoint_now(log);
	return ERR_OK;
}

void log_next_key_free(struct log_next_key *next)
{
	if (!next)
		return;
	free(next->vkey);
	free(next);
}

bool log_has_next_key(struct log *log)
{
	pthread_mutex_lock(&log->lock);
	bool there = log->next_key != NULL;
	pthread_mutex_unlock(&log->lock);
	return there;
}

void log_take_next_key(struct log *log)
{
	pthread_mutex_lock(&log->lock);
	struct log_next_key *next = log->next_key;
	log->next_key = NULL;
	if (next) {
		char *old = log->vkey;
		log->key = next->key;
		log->options.key = next->private_key;
		log->vkey = next->vkey;
		next->vkey = old;
	}
	pthread_mutex_unlock(&log->lock);
	if (next)
		log_forget_cosigned(log);
	log_next_key_free(next);
}

void log_copy_key(struct log *log, struct note_key *out)
{
	pthread_mutex_lock(&log->lock);
	*out = log->key;
	pthread_mutex_unlock(&log->lock);
}

void log_append_vkey(struct log *log, struct buf *out)
{
	pthread_mutex_lock(&log->lock);
	buf_append_cstr(out, log->next_key ? log->next_key->vkey : log->vkey);
	pthread_mutex_unlock(&log->lock);
}

/* ---- checkpoints of before ---- */

/* The one that handed on to `key`, of those at hand. */
static bool find_from(struct bytes notes, const struct note_key *key, struct note_key *from)
{
	for (unsigned i = 0; i < KEY_ROTATIONS_MAX && notes.size > 0; i++) {
		struct key_rotation rotation;
		if (key_rotation_open(key_rotation_next(notes, &notes), &rotation, NULL) ==
			    ERR_OK &&
		    memcmp(&rotation.to, key, sizeof(*key)) == 0) {
			*from = rotation.from;
			return true;
		}
	}
	return false;
}

enum err_code log_open_checkpoint(struct log *log, struct bytes note, struct checkpoint *head,
				  struct err *err)
{
	struct buf notes = BUF_INIT(KEY_ROTATIONS_TEXT_MAX);
	struct note_key key = log->key;
	enum err_code code = checkpoint_open(note, &key, head, err);
	if (code != ERR_NOT_FOUND || log_read_rotations(log, &notes, NULL) != ERR_OK) {
		buf_release(&notes);
		return code;
	}
	for (unsigned i = 0; i < KEY_ROTATIONS_MAX && code == ERR_NOT_FOUND; i++) {
		if (!find_from(buf_bytes(&notes), &key, &key))
			break;
		code = checkpoint_open(note, &key, head, err);
		log->signed_before |= code == ERR_OK;
	}
	buf_release(&notes);
	return code;
}

/* ---- a log that is started with another key ---- */

/* Whether notes at hand lead from the key with this id to a key with the other one. */
static bool leads_to(struct bytes notes, const uint8_t from[4], const uint8_t to[4])
{
	uint8_t at[4];
	memcpy(at, from, sizeof(at));
	for (unsigned i = 0; i < KEY_ROTATIONS_MAX && notes.size > 0; i++) {
		struct key_rotation rotation; /* in the order in which it was handed on */
		if (key_rotation_open(key_rotation_next(notes, &notes), &rotation, NULL) !=
			    ERR_OK ||
		    memcmp(rotation.from.id, at, sizeof(at)) != 0)
			continue;
		memcpy(at, rotation.to.id, sizeof(at));
		if (memcmp(at, to, sizeof(at)) == 0)
			return true;
	}
	return false;
}

static enum err_code wrong_key(struct log *log, const struct note *note,
			       const struct checkpoint *head, struct err *err)
{
	char signer[9], ours[9];
	const uint8_t *id = note->signatures[0].id;
	struct buf notes = BUF_INIT(KEY_ROTATIONS_TEXT_MAX);
	bool older = log_read_rotations(log, &notes, NULL) == ERR_OK &&
		     leads_to(buf_bytes(&notes), log->key.id, id);
	buf_release(&notes);
	hex_encode(id, 4, signer);
	hex_encode(log->key.id, 4, ours);
	if (older)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the log is signed with the key %s, to which yours (%s) was "
			       "handed on: it signs no more; put the newest signing.key in place",
			       log->directory, signer, ours);
	if (log->mark_head.size > head->size)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: this is an old copy of the log, of %llu records and of before "
			       "its key %s was followed by yours (%s): %llu were signed since, "
			       "says %s; restore the newest copy",
			       log->directory, (unsigned long long)head->size, signer, ours,
			       (unsigned long long)log->mark_head.size, log->options.mark);
	return ERR_SET(
		err, ERR_MISMATCH,
		"%s: the log is signed with the key %s, and yours is %s: put the signing.key "
		"in place that this log was made with; if its key was handed on to yours "
		"since (parley log rotate-key), this is an old copy: restore the newest",
		log->directory, signer, ours);
}

enum err_code log_check_signer(struct log *log, struct err *err)
{
	char path[LOG_PATH_SIZE];
	struct note note;
	struct checkpoint head;
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	log_path(log, path, "checkpoint");
	bool there = env_read_file(log->env, path, &text, NULL) == ERR_OK &&
		     note_parse(buf_bytes(&text), &note, NULL) == ERR_OK &&
		     checkpoint_parse(note.text, &head, NULL) == ERR_OK;
	enum err_code code = ERR_OK;
	if (there && strcmp(head.origin, log->key.name) != 0)
		code = ERR_SET(
			err, ERR_MISMATCH,
			"%s: this is the log %s, and the name in parley.yaml makes it %s: put "
			"the name back; another name takes another data directory",
			log->directory, head.origin, log->key.name);
	else if (there && log_open_checkpoint(log, buf_bytes(&text), &head, NULL) == ERR_NOT_FOUND)
		code = wrong_key(log, &note, &head, err);
	log->signed_before = false; /* recovery finds that out */
	buf_release(&text);
	return code;
}
