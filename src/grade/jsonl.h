/* A file of JSON lines, read line by line in flat memory, and again at a line's offset. */
#ifndef GRADE_JSONL_H
#define GRADE_JSONL_H

#include "env/env.h"

#include <jansson.h>

struct jsonl {
	struct env_file *file; /* owned */
	const char *name;      /* for errors; borrowed */
	size_t line_max;
	uint64_t next; /* offset of the next line */
	uint64_t line; /* number of the last one, from 1 */
	uint64_t buffer_at;
	struct buf buffer, other;
};

struct jsonl_line {
	uint64_t offset;
	char where[160]; /* "scores.jsonl:12" */
	json_t *tree;    /* a new reference */
};

/* jsonl_close is needed in every case. */
enum err_code jsonl_open(struct jsonl *lines, struct env *env, const char *path, const char *name,
			 size_t line_max, struct err *err);
/* The next line, parsed; *more is false after the last. ERR_INVALID, naming the line, for blank
 * lines, a last line without newline and what is no JSON; ERR_TOO_LARGE. */
enum err_code jsonl_next(struct jsonl *lines, struct jsonl_line *out, bool *more, struct err *err);
/* The line at an offset that jsonl_next gave: a new reference in *tree. */
enum err_code jsonl_at(struct jsonl *lines, uint64_t offset, json_t **tree, struct err *err);
void jsonl_close(struct jsonl *lines);

#endif
