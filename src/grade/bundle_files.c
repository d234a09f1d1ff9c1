#include "grade/bundle_files.h"

#include "grade/bundle.h"

#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES 4096u
#define PIECE_SIZE ((size_t)64 << 10)

enum err_code bundle_path(const char *directory, const char *path, struct buf *out, struct err *err)
{
	buf_append_cstr(out, directory);
	if (*path) {
		buf_append_char(out, '/');
		buf_append_cstr(out, path);
	}
	return out->failed ? ERR_SET(err, ERR_TOO_LARGE, "the path of a bundle's file is too long")
			   : ERR_OK;
}

void bundle_files_release(struct bundle_files *files)
{
	for (size_t i = 0; i < files->count; i++)
		free(files->paths[i]);
	free(files->paths);
	*files = (struct bundle_files){0};
}

/* ---- listing ---- */

struct listing {
	struct env *env;
	const char *directory;
	bool all; /* of these two kept as well: manifest and statement */
	struct bundle_files *files;
	struct bundle_files folders; /* found and not looked into yet */
	const char *parent;          /* relative path of the folder being read, "" for the top */
	struct err *err;
	enum err_code code; /* of the callbacks */
};

static bool paths_add(struct bundle_files *files, const char *path)
{
	if (files->count == files->capacity) {
		size_t capacity = files->capacity ? 2 * files->capacity : 64;
		char **paths = realloc(files->paths, capacity * sizeof(*paths));

		if (!paths)
			return false;
		files->paths = paths;
		files->capacity = capacity;
	}
	files->paths[files->count] = strdup(path);
	if (!files->paths[files->count])
		return false;
	files->count++;
	return true;
}

static bool is_plain_name(const char *name)
{
	for (const char *c = name; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return false;
	return bytes_is_utf8(bytes_from(name));
}

static unsigned depth_of(const char *path)
{
	unsigned depth = 0;

	for (; *path; path++)
		depth += *path == '/';
	return depth;
}

static enum err_code entry_add(struct listing *listing, const char *path, bool is_directory)
{
	struct bundle_files *files = is_directory ? &listing->folders : listing->files;

	if (!is_directory && !listing->all &&
	    (strcmp(path, BUNDLE_MANIFEST) == 0 || strcmp(path, BUNDLE_STATEMENT) == 0))
		return ERR_OK;
	if (depth_of(path) > BUNDLE_DEPTH_MAX || files->count == BUNDLE_FILES_MAX)
		return ERR_SET(listing->err, ERR_TOO_LARGE,
			       "%s: a bundle has at most %u files, %u folders deep",
			       listing->directory, BUNDLE_FILES_MAX, BUNDLE_DEPTH_MAX);
	if (!paths_add(files, path))
		return ERR_SET(listing->err, ERR_NO_MEMORY, "out of memory for a bundle's files");
	return ERR_OK;
}

static void each_entry(void *argument, const struct env_directory_entry *entry)
{
	struct listing *listing = argument;
	struct buf path = BUF_INIT(BUNDLE_PATH_MAX);

	if (listing->code != ERR_OK)
		return;
	buf_printf(&path, "%s%s%s", listing->parent, *listing->parent ? "/" : "", entry->name);
	if (path.failed || !is_plain_name(entry->name))
		listing->code = ERR_SET(listing->err, ERR_MISMATCH,
					"%s: a file's name is too long or not plain UTF-8 text",
					listing->directory);
	else
		listing->code = entry_add(listing, path.data, entry->is_directory);
	buf_release(&path);
}

static enum err_code list_folder(struct listing *listing, const char *folder)
{
	struct buf path = BUF_INIT(PATH_MAX_BYTES);
	enum err_code code = bundle_path(listing->directory, folder, &path, listing->err);

	listing->parent = folder;
	if (code == ERR_OK)
		code = env_list_directory(listing->env, path.data, each_entry, listing,
					  listing->err);
	buf_release(&path);
	return code != ERR_OK ? code : listing->code;
}

static int compare_paths(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static enum err_code list_files(struct env *env, const char *directory, bool all,
				struct bundle_files *files, struct err *err)
{
	struct listing listing = {.env = env,
				  .directory = directory,
				  .all = all,
				  .files = files,
				  .err = err,
				  .code = ERR_OK};
	enum err_code code;

	*files = (struct bundle_files){0};
	code = list_folder(&listing, "");
	for (size_t i = 0; code == ERR_OK && i < listing.folders.count; i++)
		code = list_folder(&listing, listing.folders.paths[i]);
	bundle_files_release(&listing.folders);
	if (code != ERR_OK)
		bundle_files_release(files);
	else if (files->count)
		qsort(files->paths, files->count, sizeof(*files->paths), compare_paths);
	return code;
}

enum err_code bundle_files_list(struct env *env, const char *directory, struct bundle_files *files,
				struct err *err)
{
	return list_files(env, directory, false, files, err);
}

enum err_code bundle_files_list_all(struct env *env, const char *directory,
				    struct bundle_files *files, struct err *err)
{
	return list_files(env, directory, true, files, err);
}

/* ---- digests ---- */

static enum err_code digest_file(struct env_file *file, uint8_t digest[static SHA256_SIZE],
				 uint64_t *size, struct err *err)
{
	char *piece = malloc(PIECE_SIZE);
	enum err_code code = ERR_OK;
	struct sha256 hash;
	size_t got = 0;

	if (!piece)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a file's digest");
	sha256_start(&hash);
	*size = 0;
	do {
		code = env_file_read(file, *size, piece, PIECE_SIZE, &got, err);
		if (code == ERR_OK)
			sha256_add(&hash, piece, got);
		*size += got;
	} while (code == ERR_OK && got == PIECE_SIZE);
	sha256_finish(&hash, digest);
	free(piece);
	return code;
}

enum err_code bundle_file_digest(struct env *env, const char *directory, const char *path,
				 uint8_t digest[static SHA256_SIZE], uint64_t *size,
				 struct err *err)
{
	struct buf full = BUF_INIT(PATH_MAX_BYTES);
	struct env_file *file = NULL;
	enum err_code code = bundle_path(directory, path, &full, err);

	if (code == ERR_OK)
		code = env_file_open(env, full.data, ENV_OPEN_READ, &file, err);
	buf_release(&full);
	if (code != ERR_OK)
		return code;
	code = digest_file(file, digest, size, err);
	env_file_close(file);
	return code;
}
