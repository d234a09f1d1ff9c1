/* Whole files over the disk calls of env.h: the same on the machine and in a simulation. */
#include "env/env.h"

#include "base/encode.h"

#include <stdio.h>
#include <stdlib.h>

#define PATH_SIZE 4096
#define READ_STEP ((size_t)256 * 1024)
#define READ_FIRST ((size_t)4096)
#define COPY_STEP ((size_t)1 << 20)

static enum err_code too_long(const char *path, struct err *err)
{
	return ERR_SET(err, ERR_INVALID, "path %.60s… is longer than %d bytes", path,
		       PATH_SIZE - 1);
}

/* Reads on from `offset` into `out` until the end of the file. At the buffer's limit one byte more
 * is asked for, to tell a file that just fits from one that does not. */
static enum err_code read_all(struct env_file *file, const char *path, struct buf *out,
			      struct err *err)
{
	uint64_t offset = 0;
	size_t step = READ_FIRST;
	for (;;) {
		char beyond;
		size_t got = 0;
		size_t room = out->max - out->size;
		size_t wanted = room < step ? room : step;
		if (wanted == 0) {
			ERR_TRY(env_file_read(file, offset, &beyond, 1, &got, err));
			if (got)
				return ERR_SET(err, ERR_TOO_LARGE, "%s is larger than %zu bytes",
					       path, out->max);
			return ERR_OK;
		}
		if (!buf_reserve(out, wanted))
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory reading %s", path);
		ERR_TRY(env_file_read(file, offset, out->data + out->size, wanted, &got, err));
		out->size += got;
		out->data[out->size] = '\0';
		offset += got;
		if (got < wanted)
			return ERR_OK;
		step = READ_STEP;
	}
}

enum err_code env_read_file(struct env *env, const char *path, struct buf *out, struct err *err)
{
	struct env_file *file;
	ERR_TRY(env_file_open(env, path, ENV_OPEN_READ, &file, err));
	enum err_code code = read_all(file, path, out, err);
	env_file_close(file);
	return code;
}

/* A new file with the content, durable in itself but not yet by its name. */
static enum err_code write_new(struct env *env, const char *path, struct bytes content,
			       struct err *err)
{
	struct env_file *file;
	ERR_TRY(env_file_open(env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE,
			      &file, err));
	enum err_code code = ERR_OK;
	if (content.size)
		code = env_file_write(file, 0, content.data, content.size, err);
	if (code == ERR_OK)
		code = env_file_sync(file, err);
	env_file_close(file);
	return code;
}

/* The directory that holds `path`, into `out` of PATH_SIZE bytes. */
static void parent_of(const char *path, char *out)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		memcpy(out, ".", 2);
	else if (slash == path)
		memcpy(out, "/", 2);
	else
		snprintf(out, PATH_SIZE, "%.*s", (int)(slash - path), path);
}

enum err_code env_sync_parent(struct env *env, const char *path, struct err *err)
{
	char parent[PATH_SIZE];
	parent_of(path, parent);
	return env_sync_directory(env, parent, err);
}

enum err_code env_file_copy(struct env_file *from, struct env_file *to, struct err *err)
{
	uint8_t *buffer = malloc(COPY_STEP);
	size_t got = COPY_STEP;
	enum err_code code =
		buffer ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory to copy a file");
	for (uint64_t at = 0; code == ERR_OK && got == COPY_STEP; at += got) {
		code = env_file_read(from, at, buffer, COPY_STEP, &got, err);
		if (code == ERR_OK)
			code = env_file_write(to, at, buffer, got, err);
	}
	free(buffer);
	return code == ERR_OK ? env_file_sync(to, err) : code;
}

enum err_code env_write_file(struct env *env, const char *path, struct bytes content, unsigned mode,
			     struct err *err)
{
	char temporary[PATH_SIZE], suffix[17];
	uint8_t chance[8];

	env_random(env, chance, sizeof(chance));
	hex_encode(chance, sizeof(chance), suffix);
	int length = snprintf(temporary, sizeof(temporary), "%s.%s.tmp", path, suffix);
	if (length < 0 || (size_t)length >= sizeof(temporary))
		return too_long(path, err);

	/* Nobody else may read it before `mode` says so: it is made 0600 and opened up last. */
	enum err_code code = write_new(env, temporary, content, err);
	if (code == ERR_OK)
		code = env->ops->chmod(env, temporary, mode, err);
	if (code == ERR_OK)
		code = env_rename(env, temporary, path, err);
	if (code != ERR_OK) {
		env_unlink(env, temporary, NULL);
		return code;
	}
	return env_sync_parent(env, path, err);
}

/* Its name is made durable, too, or everything in it would go with it. One that was there before
 * may stand in a directory that is not ours to read. */
static enum err_code make_durably(struct env *env, const char *path, struct err *err)
{
	struct err ignored;
	bool was_there = env_file_exists(env, path);
	ERR_TRY(env_make_directory(env, path, err));
	enum err_code code = env_sync_parent(env, path, was_there ? &ignored : err);
	return was_there ? ERR_OK : code;
}

enum err_code env_make_directories(struct env *env, const char *path, struct err *err)
{
	char prefix[PATH_SIZE];
	size_t size = strlen(path);
	if (size >= sizeof(prefix))
		return too_long(path, err);
	for (size_t i = 1; i < size; i++) {
		if (path[i] != '/' || path[i - 1] == '/')
			continue;
		memcpy(prefix, path, i);
		prefix[i] = '\0';
		ERR_TRY(make_durably(env, prefix, err));
	}
	return size ? make_durably(env, path, err) : ERR_OK;
}

bool env_file_exists(struct env *env, const char *path)
{
	struct env_file *file;
	enum err_code code = env_file_open(env, path, ENV_OPEN_READ, &file, NULL);
	if (code == ERR_OK)
		env_file_close(file);
	return code != ERR_NOT_FOUND;
}
