#include "grade/program_copy.h"

#include "base/encode.h"
#include "grade/bundle_files.h"
#include "grade/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4096u
#define PIECE_SIZE ((size_t)64 << 10)
#define FOLDER "parley-program-XXXXXX"
#define FOLDER_TRIES 8u
#define LEFTOVERS_MAX 64u
#define MODE 0755 /* of files too: which of them is a program is not told apart */

/* One walk over a folder: each file is read once, digested, and written where `to` is a folder. */
struct walk {
	struct env *env;
	const char *from, *to; /* to: NULL where nothing is written */
	bool whole;            /* suite.yaml and items.jsonl are written, too */
	struct sha256 hash;
	uint64_t bytes;
	size_t files;
};

static bool is_seen(const char *path)
{
	for (const char *name = path; name; name = strchr(name, '/')) {
		name += *name == '/';
		if (*name == '.' || strncmp(name, "__pycache__/", 12) == 0)
			return false;
	}
	return true;
}

static bool is_suites(const char *path)
{
	return strcmp(path, "suite.yaml") == 0 || strcmp(path, "items.jsonl") == 0;
}

static enum err_code join(char out[static PATH_SIZE], const char *folder, const char *path,
			  struct err *err)
{
	return (size_t)snprintf(out, PATH_SIZE, "%s/%s", folder, path) < PATH_SIZE
		       ? ERR_OK
		       : ERR_SET(err, ERR_TOO_LARGE, "%s: the path is too long", folder);
}

/* The folders above `path`, under `folder`. */
static enum err_code make_parents(const char *folder, const char *path, struct err *err)
{
	char full[PATH_SIZE];

	ERR_TRY(join(full, folder, path, err));
	for (char *slash = full + strlen(folder) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		if ((mkdir(full, MODE) != 0 && errno != EEXIST) || chmod(full, MODE) != 0)
			return ERR_SYS(err, ERR_ENVIRONMENT, "cannot make the folder %s", full);
		*slash = '/';
	}
	return ERR_OK;
}

static enum err_code create(const char *folder, const char *path, int *descriptor, struct err *err)
{
	char full[PATH_SIZE];

	ERR_TRY(join(full, folder, path, err));
	ERR_TRY(make_parents(folder, path, err));
	*descriptor = open(full, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, MODE);
	if (*descriptor < 0 || fchmod(*descriptor, MODE) != 0)
		return ERR_SYS(err, ERR_ENVIRONMENT, "cannot make %s", full);
	return ERR_OK;
}

static enum err_code write_all(int descriptor, const char *data, size_t size, struct err *err)
{
	while (size > 0) {
		ssize_t done = write(descriptor, data, size);

		if (done < 0 && errno != EINTR)
			return ERR_SYS(err, ERR_ENVIRONMENT, "cannot copy the suite's program");
		data += done > 0 ? done : 0;
		size -= done > 0 ? (size_t)done : 0;
	}
	return ERR_OK;
}

/* Reads the whole of `file`, digests it, and writes it where `descriptor` is one. */
static enum err_code take_content(struct walk *walk, struct env_file *file, int descriptor,
				  uint8_t digest[static SHA256_SIZE], struct err *err)
{
	char *piece = malloc(PIECE_SIZE);
	enum err_code code = ERR_OK;
	struct sha256 hash;
	uint64_t offset = 0;
	size_t got;

	if (!piece)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the suite's program");
	sha256_start(&hash);
	do {
		got = 0;
		code = env_file_read(file, offset, piece, PIECE_SIZE, &got, err);
		offset += got;
		walk->bytes += got;
		sha256_add(&hash, piece, got);
		if (code == ERR_OK && walk->bytes > PROGRAM_COPY_BYTES_MAX)
			code = ERR_SET(
				err, ERR_TOO_LARGE,
				"%s: its scorer is a program, which is given the folder: more "
				"than %llu MiB are too many",
				walk->from, (unsigned long long)(PROGRAM_COPY_BYTES_MAX >> 20));
		if (code == ERR_OK && descriptor >= 0)
			code = write_all(descriptor, piece, got, err);
	} while (code == ERR_OK && got > 0);
	sha256_finish(&hash, digest);
	free(piece);
	return code;
}

/* A link would bring files of this machine into the copy and the bundle. */
static enum err_code check_plain(const struct walk *walk, const char *path, struct err *err)
{
	char full[PATH_SIZE];
	struct stat facts;

	ERR_TRY(join(full, walk->from, path, err));
	for (char *end = full + strlen(walk->from) + 1; end; end = strchr(end, '/')) {
		end += *end == '/';
		char *slash = strchr(end, '/');

		if (slash)
			*slash = '\0';
		if (lstat(full, &facts) != 0)
			return ERR_SYS(err, ERR_ENVIRONMENT, "%s", full);
		if (slash ? !S_ISDIR(facts.st_mode) : !S_ISREG(facts.st_mode))
			return ERR_SET(
				err, ERR_INVALID,
				"%s: its scorer is a program, which is given the folder: %s is "
				"a link or no plain file; put the file itself there",
				walk->from, path);
		if (slash)
			*slash = '/';
	}
	return ERR_OK;
}

static enum err_code take_file(struct walk *walk, const char *path, struct err *err)
{
	char full[PATH_SIZE], hex[2 * SHA256_SIZE + 1];
	uint8_t digest[SHA256_SIZE];
	struct env_file *file = NULL;
	int descriptor = -1;

	ERR_TRY(check_plain(walk, path, err));
	ERR_TRY(join(full, walk->from, path, err));
	ERR_TRY(env_file_open(walk->env, full, ENV_OPEN_READ, &file, err));
	enum err_code code = ERR_OK;
	if (walk->to && (walk->whole || !is_suites(path)))
		code = create(walk->to, path, &descriptor, err);
	if (code == ERR_OK)
		code = take_content(walk, file, descriptor, digest, err);
	if (code == ERR_OK && descriptor >= 0 && !walk->whole && fsync(descriptor) != 0)
		code = ERR_SYS(err, ERR_ENVIRONMENT, "cannot make %s durable", path);
	if (descriptor >= 0 && close(descriptor) != 0 && code == ERR_OK)
		code = ERR_SYS(err, ERR_ENVIRONMENT, "cannot copy %s", full);
	env_file_close(file);
	ERR_TRY(code);
	hex_encode(digest, sizeof(digest), hex);
	sha256_add(&walk->hash, hex, 2 * SHA256_SIZE);
	sha256_add(&walk->hash, "  ", 2);
	sha256_add(&walk->hash, path, strlen(path));
	sha256_add(&walk->hash, "\n", 1);
	walk->files += !is_suites(path);
	return ERR_OK;
}

static enum err_code check_bounds(const char *folder, const struct bundle_files *files,
				  struct err *err)
{
	size_t seen = 0;

	for (size_t i = 0; i < files->count; i++) {
		unsigned depth = 0;

		if (!is_seen(files->paths[i]))
			continue;
		for (const char *c = files->paths[i]; *c; c++)
			depth += *c == '/';
		seen++;
		if (depth > PROGRAM_COPY_DEPTH_MAX || seen > PROGRAM_COPY_FILES_MAX)
			return ERR_SET(err, ERR_TOO_LARGE,
				       "%s: its scorer is a program, which is given the folder: at "
				       "most %u files, %u folders deep",
				       folder, PROGRAM_COPY_FILES_MAX, PROGRAM_COPY_DEPTH_MAX);
	}
	return ERR_OK;
}

static enum err_code walk_run(struct walk *walk, struct program_copy *out, struct err *err)
{
	struct bundle_files files;

	sha256_start(&walk->hash);
	enum err_code code = bundle_files_list_all(walk->env, walk->from, &files, err);
	if (code == ERR_OK)
		code = check_bounds(walk->from, &files, err);
	for (size_t i = 0; code == ERR_OK && i < files.count; i++)
		if (is_seen(files.paths[i]))
			code = take_file(walk, files.paths[i], err);
	bundle_files_release(&files);
	sha256_finish(&walk->hash, out->digest);
	out->files = walk->files;
	return code;
}

enum err_code program_copy_digest(struct env *env, const char *folder, struct program_copy *out,
				  struct err *err)
{
	struct walk walk = {.env = env, .from = folder};

	*out = (struct program_copy){0};
	return walk_run(&walk, out, err);
}

/* ---- the end of a copy ---- */

/* The deepest last. */
static void remove_folders(const char *top, char *path)
{
	for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
		char full[PATH_SIZE];

		*slash = '\0';
		if (join(full, top, path, NULL) == ERR_OK)
			rmdir(full); /* fails where others still stand in it */
	}
}

static void remove_all(struct env *env, const char *path)
{
	struct bundle_files files;
	char full[PATH_SIZE];

	if (bundle_files_list_all(env, path, &files, NULL) == ERR_OK) {
		for (size_t i = 0; i < files.count; i++)
			if (join(full, path, files.paths[i], NULL) == ERR_OK)
				unlink(full);
		for (size_t i = 0; i < files.count; i++)
			remove_folders(path, files.paths[i]);
		bundle_files_release(&files);
	}
	rmdir(path);
}

void program_copy_remove(struct env *env, struct program_copy *copy)
{
	if (!copy->path)
		return;
	remove_all(env, copy->path);
	close(copy->lock);
	free(copy->path);
	copy->path = NULL;
}

/* ---- leftovers ---- */

/* A copy is locked while its process lives; kill -9 leaves one that nobody holds. */
static int lock_folder(const char *path)
{
	struct stat facts;
	int lock = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0 && fstat(lock, &facts) == 0 &&
	    facts.st_uid == geteuid() && facts.st_nlink > 0)
		return lock;
	if (lock >= 0)
		close(lock);
	return -1;
}

struct leftovers {
	char names[LEFTOVERS_MAX][sizeof(FOLDER)];
	size_t count;
};

static void note_leftover(void *argument, const struct env_directory_entry *entry)
{
	struct leftovers *leftovers = argument;

	if (entry->is_directory && leftovers->count < LEFTOVERS_MAX &&
	    strlen(entry->name) == strlen(FOLDER) &&
	    strncmp(entry->name, FOLDER, strlen(FOLDER) - 6) == 0)
		snprintf(leftovers->names[leftovers->count++], sizeof(FOLDER), "%s", entry->name);
}

static void remove_leftovers(struct env *env, const char *parent)
{
	struct leftovers leftovers = {.count = 0};
	char path[PATH_SIZE];

	if (env_list_directory(env, parent, note_leftover, &leftovers, NULL) != ERR_OK)
		return;
	for (size_t i = 0; i < leftovers.count; i++) {
		int lock = -1;

		if (join(path, parent, leftovers.names[i], NULL) == ERR_OK)
			lock = lock_folder(path);
		if (lock >= 0) {
			remove_all(env, path);
			close(lock);
		}
	}
}

/* ---- making one ---- */

/* Between the two calls another process may take the new folder for a leftover. */
static enum err_code make_folder(const char *parent, char path[static PATH_SIZE], int *lock,
				 struct err *err)
{
	for (unsigned i = 0; i < FOLDER_TRIES; i++) {
		ERR_TRY(join(path, parent, FOLDER, err));
		if (!mkdtemp(path))
			return ERR_SYS(err, ERR_ENVIRONMENT, "cannot make a folder %s", path);
		*lock = lock_folder(path);
		if (*lock >= 0)
			return ERR_OK;
		rmdir(path);
	}
	return ERR_SET(err, ERR_ENVIRONMENT, "cannot lock a folder in %s", parent);
}

enum err_code program_copy_make(struct env *env, const char *folder, struct program_copy *out,
				struct err *err)
{
	const char *parent = getenv("TMPDIR");
	struct walk walk = {.env = env, .from = folder, .whole = true};
	char path[PATH_SIZE];
	int lock = -1;

	*out = (struct program_copy){0};
	if (!parent || *parent != '/')
		parent = "/tmp";
	remove_leftovers(env, parent);
	ERR_TRY(make_folder(parent, path, &lock, err));
	out->path = strdup(path);
	if (!out->path) {
		rmdir(path);
		close(lock);
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the suite's program");
	}
	out->lock = lock;
	ERR_TRY(sandbox_let_in(path, err)); /* answers to items lie in it */
	walk.to = out->path;
	return walk_run(&walk, out, err);
}

enum err_code program_copy_into(struct env *env, const struct program_copy *copy,
				const char *folder, struct err *err)
{
	struct walk walk = {.env = env, .from = copy->path, .to = folder};
	struct program_copy again = {0};

	return walk_run(&walk, &again, err);
}
