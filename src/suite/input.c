#include "suite/input.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define STEP ((size_t)256 * 1024)
#define GZIP_WINDOW (15 + 16) /* the largest window, gzip framing (zlib.h) */

struct input {
	struct env_file *file;
	char *path;
	uint64_t offset;        /* read from the file so far */
	bool packed, zstandard; /* gzip, or Zstandard */
	bool file_ended, ended; /* nothing more in the file; nothing more after unpacking */
	bool in_member;         /* inside of a gzip member or a Zstandard frame */
	z_stream stream;
	bool stream_ready;
	ZSTD_DStream *frames;
	unsigned char *raw; /* STEP bytes as read */
	struct buf pending; /* unpacked, not given yet */
	size_t given;       /* bytes of `pending` that were given */
	size_t line_number, line_max;
};

/* Reads the next piece of the file into input->raw. */
static enum err_code read_raw(struct input *input, size_t *got, struct err *err)
{
	*got = 0;
	if (input->file_ended)
		return ERR_OK;
	ERR_TRY(env_file_read(input->file, input->offset, input->raw, STEP, got, err));
	input->offset += *got;
	input->file_ended = *got < STEP;
	return ERR_OK;
}

static enum err_code damaged(const struct input *input, const char *problem, struct err *err)
{
	return ERR_SET(err, ERR_CORRUPT, "%s:%zu: damaged %s: %s", input->path,
		       input->line_number + 1, input->zstandard ? "Zstandard" : "gzip", problem);
}

static enum err_code line_too_long(const struct input *input, struct err *err)
{
	return ERR_SET(err, ERR_TOO_LARGE, "%s:%zu: a line longer than %zu bytes", input->path,
		       input->line_number + 1, input->line_max);
}

/* One call of inflate into `pending`; there is input in the stream. */
static enum err_code inflate_some(struct input *input, struct err *err)
{
	z_stream *stream = &input->stream;
	if (!input->in_member && inflateReset(stream) != Z_OK)
		return damaged(input, "cannot start", err);
	input->in_member = true;
	if (!buf_reserve(&input->pending, STEP))
		return line_too_long(input, err);
	stream->next_out = (unsigned char *)input->pending.data + input->pending.size;
	stream->avail_out = (unsigned)STEP;
	int result = inflate(stream, Z_NO_FLUSH);
	if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
		return damaged(input, stream->msg ? stream->msg : "not deflate data", err);
	input->pending.size += STEP - stream->avail_out;
	input->pending.data[input->pending.size] = '\0';
	if (result == Z_STREAM_END)
		input->in_member = false;
	return ERR_OK;
}

/* The same of Zstandard; the rest of the input is kept where gzip keeps it. */
static enum err_code unpack_frames(struct input *input, struct err *err)
{
	z_stream *stream = &input->stream;
	if (!buf_reserve(&input->pending, STEP))
		return line_too_long(input, err);
	ZSTD_inBuffer in = {stream->next_in, stream->avail_in, 0};
	ZSTD_outBuffer out = {input->pending.data + input->pending.size, STEP, 0};
	size_t result = ZSTD_decompressStream(input->frames, &out, &in);
	if (ZSTD_isError(result))
		return damaged(input, ZSTD_getErrorName(result), err);
	stream->next_in += in.pos;
	stream->avail_in -= (unsigned)in.pos;
	input->in_member = result != 0;
	input->pending.size += out.pos;
	input->pending.data[input->pending.size] = '\0';
	return ERR_OK;
}

/* Gives one more piece of unpacked data to `pending`, or sets `ended`. */
static enum err_code fill_packed(struct input *input, struct err *err)
{
	size_t before = input->pending.size;
	while (input->pending.size == before && !input->ended) {
		if (input->stream.avail_in == 0 && !input->file_ended) {
			size_t got;
			ERR_TRY(read_raw(input, &got, err));
			input->stream.next_in = input->raw;
			input->stream.avail_in = (unsigned)got;
		}
		if (input->stream.avail_in > 0)
			ERR_TRY(input->zstandard ? unpack_frames(input, err)
						 : inflate_some(input, err));
		else if (input->in_member)
			return damaged(input, "it ends too early", err);
		else
			input->ended = true;
	}
	return ERR_OK;
}

static enum err_code fill(struct input *input, struct err *err)
{
	buf_consume(&input->pending, input->given);
	input->given = 0;
	if (input->packed)
		return fill_packed(input, err);
	size_t got;
	ERR_TRY(read_raw(input, &got, err));
	buf_append(&input->pending, input->raw, got);
	if (input->pending.failed)
		return line_too_long(input, err);
	input->ended = input->file_ended;
	return ERR_OK;
}

/* Looks at the first bytes of the file. */
static enum err_code detect_packing(struct input *input, struct err *err)
{
	size_t got;
	ERR_TRY(read_raw(input, &got, err));
	input->zstandard = got >= 4 && memcmp(input->raw, "\x28\xb5\x2f\xfd", 4) == 0;
	input->packed =
		input->zstandard || (got >= 2 && input->raw[0] == 0x1f && input->raw[1] == 0x8b);
	if (!input->packed) {
		buf_append(&input->pending, input->raw, got);
		input->ended = input->file_ended;
		return input->pending.failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory")
					     : ERR_OK;
	}
	input->stream.next_in = input->raw;
	input->stream.avail_in = (unsigned)got;
	if (input->zstandard)
		input->frames = ZSTD_createDStream();
	else
		input->stream_ready = inflateInit2(&input->stream, GZIP_WINDOW) == Z_OK;
	return input->stream_ready || input->frames ? ERR_OK
						    : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
}

enum err_code input_open(struct env *env, const char *path, size_t line_max, struct input **out,
			 struct err *err)
{
	*out = NULL;
	struct input *input = calloc(1, sizeof(*input));
	if (!input)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	/* More than a line, because data comes in steps. */
	buf_init(&input->pending, line_max + 3 * STEP);
	input->line_max = line_max;
	input->path = strdup(path);
	input->raw = malloc(STEP);
	enum err_code code = input->path && input->raw && buf_reserve(&input->pending, STEP)
				     ? env_file_open(env, path, ENV_OPEN_READ, &input->file, err)
				     : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (code == ERR_OK)
		code = detect_packing(input, err);
	if (code != ERR_OK)
		input_close(input);
	else
		*out = input;
	return code;
}

void input_close(struct input *input)
{
	if (!input)
		return;
	env_file_close(input->file);
	if (input->stream_ready)
		inflateEnd(&input->stream);
	ZSTD_freeDStream(input->frames);
	buf_release(&input->pending);
	free(input->raw);
	free(input->path);
	free(input);
}

enum err_code input_line(struct input *input, struct bytes *line, bool *end, struct err *err)
{
	size_t searched = 0;
	const char *newline;
	for (;;) {
		struct bytes left = bytes_of(input->pending.data + input->given,
					     input->pending.size - input->given);
		newline = left.size > searched
				  ? memchr(left.data + searched, '\n', left.size - searched)
				  : NULL;
		*line = newline ? bytes_of(left.data, (size_t)(newline - left.data)) : left;
		if (newline || input->ended)
			break;
		searched = left.size;
		ERR_TRY(fill(input, err));
	}
	*end = !newline && line->size == 0;
	if (*end)
		return ERR_OK;
	if (line->size > input->line_max)
		return line_too_long(input, err);
	input->given += line->size + (newline ? 1 : 0);
	input->line_number++;
	if (bytes_ends_with(*line, BYTES("\r")))
		line->size--;
	return ERR_OK;
}

size_t input_line_number(const struct input *input)
{
	return input->line_number;
}

static enum err_code append_all(struct input *input, struct buf *out, struct err *err)
{
	for (;;) {
		buf_append_bytes(out, buf_bytes(&input->pending));
		input->given = input->pending.size;
		if (out->failed)
			return ERR_SET(err, ERR_TOO_LARGE, "%s is larger than %zu bytes",
				       input->path, out->max);
		if (input->ended)
			return ERR_OK;
		ERR_TRY(fill(input, err));
	}
}

enum err_code input_read_all(struct env *env, const char *path, struct buf *out, struct err *err)
{
	struct input *input;
	ERR_TRY(input_open(env, path, STEP, &input, err));
	enum err_code code = append_all(input, out, err);
	input_close(input);
	return code;
}
