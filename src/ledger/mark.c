#include "ledger/mark.h"

#include "base/crc32c.h"
#include "ledger/note.h"

#include <assert.h>
#include <stdlib.h>

static const char magic[8] = "PARLEYMK";

enum {
	AT_CRC = 8,
	AT_SEQUENCE = 16,
	AT_SIZE = 24,
	AT_NOTE = 32,
	SLOT_SIZE = ((AT_NOTE + NOTE_SIZE_MAX) / 4096 + 1) * 4096,
};

struct mark {
	struct env_file *file;
	uint64_t sequence; /* of the newest slot */
	uint8_t slot[SLOT_SIZE];
};

static uint32_t slot_crc(const uint8_t *slot, size_t note_size)
{
	return crc32c(0, slot + AT_SEQUENCE, AT_NOTE - AT_SEQUENCE + note_size);
}

/* The note in the slot, or nothing. */
static struct bytes parse_slot(const uint8_t *slot)
{
	uint64_t size = bytes_load_number(slot + AT_SIZE, 8);
	if (memcmp(slot, magic, sizeof(magic)) != 0 || size > NOTE_SIZE_MAX ||
	    bytes_load_number(slot + AT_CRC, 4) != slot_crc(slot, (size_t)size))
		return bytes_of(NULL, 0);
	return bytes_of(slot + AT_NOTE, (size_t)size);
}

/* The first mark of all goes into slot 1. A loss of power may have cut it short before anybody saw
 * it: slot 0 is empty then, and where the note should end are zeros. */
static bool is_first_torn(const uint8_t *slot, bool other_used)
{
	uint64_t size = bytes_load_number(slot + AT_SIZE, 8);
	return !other_used &&
	       (size == 0 || (size <= NOTE_SIZE_MAX && slot[AT_NOTE + size - 1] == 0));
}

static enum err_code read_slot(struct mark *mark, unsigned number, struct checkpoint *head,
			       bool *used, struct err *err)
{
	struct note note;
	struct checkpoint found;
	size_t got;
	memset(mark->slot, 0, SLOT_SIZE);
	ERR_TRY(env_file_read(mark->file, (uint64_t)number * SLOT_SIZE, mark->slot, SLOT_SIZE, &got,
			      err));
	if (mark->slot[0] != 0 && (number == 0 || !is_first_torn(mark->slot, *used)))
		*used = true;
	struct bytes text = parse_slot(mark->slot);
	uint64_t sequence = bytes_load_number(mark->slot + AT_SEQUENCE, 8);
	if (text.size == 0 || sequence <= mark->sequence ||
	    note_parse(text, &note, NULL) != ERR_OK ||
	    checkpoint_parse(note.text, &found, NULL) != ERR_OK)
		return ERR_OK;
	mark->sequence = sequence;
	*head = found;
	return ERR_OK;
}

/* All of it is written once, so that setting it later takes no room. */
static enum err_code fill(struct mark *mark, struct err *err)
{
	uint64_t size;
	ERR_TRY(env_file_size(mark->file, &size, err));
	memset(mark->slot, 0, SLOT_SIZE);
	while (size < 2 * SLOT_SIZE) {
		size_t left = 2 * SLOT_SIZE - (size_t)size;
		size_t part = left < SLOT_SIZE ? left : SLOT_SIZE;
		ERR_TRY(env_file_write(mark->file, size, mark->slot, part, err));
		size += part;
	}
	return env_file_sync(mark->file, err);
}

enum err_code mark_open(struct env *env, const char *path, struct mark **out,
			struct checkpoint *head, struct err *err)
{
	bool used = false;
	struct mark *mark = calloc(1, sizeof(*mark));
	*out = NULL;
	memset(head, 0, sizeof(*head));
	if (!mark)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", path);
	enum err_code code =
		env_file_open(env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &mark->file, err);
	for (unsigned i = 0; code == ERR_OK && i < 2; i++)
		code = read_slot(mark, i, head, &used, err);
	if (code == ERR_OK && used && mark->sequence == 0)
		code = ERR_SET(
			err, ERR_CORRUPT,
			"%s: neither copy of the last signed checkpoint in it is whole; restore "
			"the file, or remove it if the log beside it is the newest for certain",
			path);
	if (code == ERR_OK)
		code = fill(mark, err);
	if (code == ERR_OK)
		code = env_sync_parent(env, path, err);
	if (code != ERR_OK) {
		mark_close(mark);
		return code;
	}
	*out = mark;
	return ERR_OK;
}

enum err_code mark_read(struct env *env, const char *path, struct checkpoint *head,
			struct buf *note, struct err *err)
{
	bool used = false;
	struct mark *mark = calloc(1, sizeof(*mark));
	memset(head, 0, sizeof(*head));
	if (!mark)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", path);
	enum err_code code = env_file_open(env, path, ENV_OPEN_READ, &mark->file, err);
	for (unsigned i = 0; code == ERR_OK && i < 2; i++) {
		uint64_t before = mark->sequence;
		code = read_slot(mark, i, head, &used, err);
		if (code == ERR_OK && mark->sequence > before) {
			buf_clear(note);
			buf_append_bytes(note, parse_slot(mark->slot));
		}
	}
	if (code == ERR_OK && (mark->sequence == 0 || note->failed))
		code = ERR_SET(err, ERR_NOT_FOUND, "%s holds no checkpoint", path);
	mark_close(mark);
	return code;
}

enum err_code mark_set(struct mark *mark, struct bytes note, struct err *err)
{
	uint8_t *slot = mark->slot;
	assert(note.size <= NOTE_SIZE_MAX);
	/* A page at least, so that nothing is read first. */
	size_t size = (AT_NOTE + note.size + 4095) / 4096 * 4096;
	memset(slot, 0, size);
	memcpy(slot, magic, sizeof(magic));
	/* Counted when it is there: one that failed is tried again in the same slot, never in that
	 * of the last one that is whole. */
	uint64_t sequence = mark->sequence + 1;
	bytes_store_number(slot + AT_SEQUENCE, sequence, 8);
	bytes_store_number(slot + AT_SIZE, note.size, 8);
	memcpy(slot + AT_NOTE, note.data, note.size);
	bytes_store_number(slot + AT_CRC, slot_crc(slot, note.size), 4);
	ERR_TRY(env_file_write(mark->file, sequence % 2 * SLOT_SIZE, slot, size, err));
	/* Also where only room was short: no later sync would tell what is missing. */
	if (env_file_sync(mark->file, err) != ERR_OK)
		return ERR_ENVIRONMENT;
	mark->sequence = sequence;
	return ERR_OK;
}

void mark_close(struct mark *mark)
{
	if (!mark)
		return;
	env_file_close(mark->file);
	free(mark);
}
