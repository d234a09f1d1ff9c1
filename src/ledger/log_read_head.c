/* The checkpoints that a log's directory keeps, and the mark that a gateway keeps beside it. */
#include "ledger/log_read.h"
#include "ledger/mark.h"

#include <stdio.h>

#define PATH_SIZE 1200

static enum err_code read_file(struct env *env, const char *directory, const char *name,
			       struct buf *out, struct err *err)
{
	char path[PATH_SIZE];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return env_read_file(env, path, out, err);
}

enum err_code log_read_stored_checkpoint(struct env *env, const char *directory, struct buf *out,
					 struct err *err)
{
	return read_file(env, directory, "checkpoint", out, err);
}

enum err_code log_read_cosigned_checkpoint(struct env *env, const char *directory, struct buf *out,
					   struct err *err)
{
	return read_file(env, directory, "checkpoint.cosigned", out, err);
}

/* The origin tells which of the two is this log's. */
enum err_code log_read_marked_checkpoint(struct env *env, const char *directory, const char *origin,
					 struct buf *out, struct err *err)
{
	static const char *const names[] = {"evaluation", "usage"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[PATH_SIZE];
		struct checkpoint head;
		struct buf note = BUF_INIT(NOTE_SIZE_MAX);
		snprintf(path, sizeof(path), "%s/../../marks/%s.mark", directory, names[i]);
		bool found = mark_read(env, path, &head, &note, NULL) == ERR_OK &&
			     strcmp(head.origin, origin) == 0;
		if (found)
			buf_append_bytes(out, buf_bytes(&note));
		buf_release(&note);
		if (found)
			return out->failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory") : ERR_OK;
	}
	return ERR_SET(err, ERR_NOT_FOUND, "%s: no mark of the log is kept beside it", directory);
}

static enum err_code parse(const struct buf *text, struct checkpoint *head, struct err *err)
{
	struct note note;
	ERR_TRY(note_parse(buf_bytes(text), &note, err));
	return checkpoint_parse(note.text, head, err);
}

enum err_code log_read_newest_checkpoint(struct env *env, const char *directory, struct buf *out,
					 struct checkpoint *head, struct err *err)
{
	struct checkpoint marked;
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	enum err_code code = log_read_stored_checkpoint(env, directory, out, err);
	if (code == ERR_NOT_FOUND)
		ERR_SET(err, code, "%s holds no checkpoint of a log (" LOG_READ_WHERE ")",
			directory);
	ERR_TRY(code);
	ERR_TRY(parse(out, head, err));
	if (log_read_marked_checkpoint(env, directory, head->origin, &note, NULL) == ERR_OK &&
	    parse(&note, &marked, NULL) == ERR_OK && marked.size > head->size) {
		struct buf older = *out;
		*out = note;
		note = older;
		*head = marked;
	}
	buf_release(&note);
	return ERR_OK;
}
