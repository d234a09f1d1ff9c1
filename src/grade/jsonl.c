#include "grade/jsonl.h"

#include "base/json.h"

#include <stdio.h>

#define PIECE_SIZE ((size_t)64 << 10)

enum err_code jsonl_open(struct jsonl *lines, struct env *env, const char *path, const char *name,
			 size_t line_max, struct err *err)
{
	*lines = (struct jsonl){.name = name, .line_max = line_max};
	buf_init(&lines->buffer, line_max + 2 * PIECE_SIZE);
	buf_init(&lines->other, line_max + 2 * PIECE_SIZE);
	return env_file_open(env, path, ENV_OPEN_READ, &lines->file, err);
}

void jsonl_close(struct jsonl *lines)
{
	env_file_close(lines->file);
	buf_release(&lines->buffer);
	buf_release(&lines->other);
	lines->file = NULL;
}

/* Appends a piece of the file; *got is 0 at its end. */
static enum err_code read_piece(struct jsonl *lines, struct buf *buffer, uint64_t offset,
				size_t *got, struct err *err)
{
	if (!buf_reserve(buffer, PIECE_SIZE))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory reading %s", lines->name);
	ERR_TRY(env_file_read(lines->file, offset, buffer->data + buffer->size, PIECE_SIZE, got,
			      err));
	buffer->size += *got;
	buffer->data[buffer->size] = '\0';
	return ERR_OK;
}

/* The line that begins at `start` of the buffer, which holds the file from buffer_at on, read as
 * far as it takes. Without its newline; *found is false at the end of the file. */
static enum err_code find_line(struct jsonl *lines, struct buf *buffer, uint64_t buffer_at,
			       size_t start, const char *where, struct bytes *out, bool *found,
			       struct err *err)
{
	size_t searched = start;
	for (;;) {
		size_t got, left = buffer->size - searched;
		char *end = left ? memchr(buffer->data + searched, '\n', left) : NULL;
		if (end) {
			*out = bytes_of(buffer->data + start, (size_t)(end - buffer->data) - start);
			*found = true;
			return ERR_OK;
		}
		searched = buffer->size;
		if (searched - start > lines->line_max)
			return ERR_SET(err, ERR_TOO_LARGE, "%s: the line has more than %zu bytes",
				       where, lines->line_max);
		ERR_TRY(read_piece(lines, buffer, buffer_at + searched, &got, err));
		if (got > 0)
			continue;
		*found = false;
		return searched == start
			       ? ERR_OK
			       : ERR_SET(err, ERR_INVALID, "%s: the line was cut off", where);
	}
}

/* Drops what was read, where that makes much room. */
static void compact(struct jsonl *lines)
{
	size_t done = (size_t)(lines->next - lines->buffer_at);
	if (done < lines->buffer.size && done < PIECE_SIZE)
		return;
	buf_consume(&lines->buffer, done);
	lines->buffer_at = lines->next;
}

enum err_code jsonl_next(struct jsonl *lines, struct jsonl_line *out, bool *more, struct err *err)
{
	struct bytes text;
	compact(lines);
	out->tree = NULL;
	out->offset = lines->next;
	snprintf(out->where, sizeof(out->where), "%.100s:%llu", lines->name,
		 (unsigned long long)++lines->line);
	ERR_TRY(find_line(lines, &lines->buffer, lines->buffer_at,
			  (size_t)(lines->next - lines->buffer_at), out->where, &text, more, err));
	if (!*more)
		return ERR_OK;
	lines->next += text.size + 1;
	if (text.size == 0)
		return ERR_SET(err, ERR_INVALID, "%s: the line is empty", out->where);
	return json_parse(text, out->where, &out->tree, err);
}

enum err_code jsonl_at(struct jsonl *lines, uint64_t offset, json_t **tree, struct err *err)
{
	struct bytes text;
	bool found;
	buf_clear(&lines->other);
	ERR_TRY(find_line(lines, &lines->other, offset, 0, lines->name, &text, &found, err));
	if (!found)
		return ERR_SET(err, ERR_INVALID, "%s: it changed while it was read", lines->name);
	return json_parse(text, lines->name, tree, err);
}
