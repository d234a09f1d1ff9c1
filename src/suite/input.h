/* Input files, unpacked on the way where they are gzip or Zstandard (by their first bytes, not by their name),
 * as lines or as a whole. Memory does not grow with the file. */
#ifndef SUITE_INPUT_H
#define SUITE_INPUT_H

#include "env/env.h"

struct input;

/* `line_max`: the longest line input_line gives. The caller owns *out. */
enum err_code input_open(struct env *env, const char *path, size_t line_max, struct input **out,
			 struct err *err);
void input_close(struct input *input);

/* The next line without its LF or CRLF, valid until the next call; *end after the last one.
 * ERR_TOO_LARGE for a longer line, ERR_CORRUPT for damaged ones; messages read `PATH:LINE: …`. */
enum err_code input_line(struct input *input, struct bytes *line, bool *end, struct err *err);
/* The number of the line given last, from 1. */
size_t input_line_number(const struct input *input);

/* The whole file, unpacked, appended; ERR_TOO_LARGE if it would pass out->max. */
enum err_code input_read_all(struct env *env, const char *path, struct buf *out, struct err *err);

#endif
