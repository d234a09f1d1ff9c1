#include "gate/backup.h"

#include "gate/control_internal.h"
#include "ledger/key_rotation.h"
#include "ledger/log_copy.h"
#include "ledger/log_read.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH_SIZE 1024
#define FILE_MAX 65536
#define DEPTH_MAX 8
#define ENTRIES_MAX 100000
#define DATABASE "parley.db"
#define RESTORED_FILE "restored.json"

static const char *const log_names[CONTROL_LOGS] = {"evaluation", "usage"};

/* ---- the gateway's part ---- */

static json_t *view_cut(uint64_t size, const struct buf *checkpoint)
{
	return json_pack("{s:I, s:s%}", "size", (json_int_t)size, "checkpoint", checkpoint->data,
			 checkpoint->size);
}

enum err_code backup_cut(struct control *control, const json_t *body, json_t **answer,
			 struct err *err)
{
	static const char *const keys[] = {"directory", NULL};
	const struct control_hooks *hooks = &control->hooks;
	const char *directory;
	char path[PATH_SIZE];
	ERR_TRY(json_only_keys(body, keys, "the request", err));
	ERR_TRY(json_get_string(body, "directory", "the request", &directory, err));
	int length = snprintf(path, sizeof(path), "%s/" DATABASE, directory);
	if (*directory != '/' || length < 0 || (size_t)length >= sizeof(path))
		return ERR_SET(err, ERR_INVALID, "directory must be an absolute path");
	if (json_array_size(control->unfinished) > 0)
		return ERR_SET(err, ERR_ENVIRONMENT,
			       "the store has not taken over documents that are on record; see "
			       "/readyz");
	ERR_TRY(store_copy(control->store, path, err));
	*answer = json_object();
	for (int log = 0; *answer && log < CONTROL_LOGS; log++) {
		struct buf note = BUF_INIT(FILE_MAX);
		uint64_t size = hooks->log_position(hooks->argument, (enum control_log)log);
		enum err_code code = hooks->log_checkpoint(hooks->argument, (enum control_log)log,
							   size, &note, err);
		if (code == ERR_OK)
			json_object_set_new(*answer, log_names[log], view_cut(size, &note));
		buf_release(&note);
		ERR_TRY(code);
	}
	return *answer ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory to answer");
}

/* ---- paths ---- */

static enum err_code join(char out[static PATH_SIZE], const char *directory, const char *name,
			  struct err *err)
{
	int length = snprintf(out, PATH_SIZE, "%s/%s", directory, name);
	if (length < 0 || length >= PATH_SIZE)
		return ERR_SET(err, ERR_TOO_LARGE, "%s/%s: the path is too long", directory, name);
	return ERR_OK;
}

static bool same_file(const char *a, const char *b)
{
	char one[PATH_MAX], other[PATH_MAX];
	return a && b && realpath(a, one) && realpath(b, other) && strcmp(one, other) == 0;
}

/* ---- backup.json ---- */

static enum err_code write_marker(struct env *env, const struct config *config,
				  const char *directory, const json_t *cut, struct err *err)
{
	char path[PATH_SIZE], time[RECORD_TIME_SIZE];
	struct buf text = BUF_INIT(FILE_MAX);
	ERR_TRY(join(path, directory, BACKUP_FILE, err));
	record_time(env_wall_ms(env), time);
	json_t *tree = json_pack("{s:s, s:s, s:b}", "gateway", config->name, "time", time,
				 "finished", cut != NULL);
	if (tree && cut)
		json_object_set(tree, "logs", (json_t *)cut);
	enum err_code code = tree ? json_canonical(tree, &text, err) : ERR_NO_MEMORY;
	buf_append_char(&text, '\n');
	if (code == ERR_OK)
		code = env_write_file(env, path, buf_bytes(&text), 0600, err);
	json_decref(tree);
	buf_release(&text);
	return code;
}

static void count_entry(void *argument, const struct env_directory_entry *entry)
{
	(void)entry;
	++*(unsigned *)argument;
}

enum err_code backup_begin(struct env *env, const struct config *config, const char *directory,
			   struct err *err)
{
	unsigned entries = 0;
	ERR_TRY(env_make_directories(env, directory, err));
	ERR_TRY(env_list_directory(env, directory, count_entry, &entries, err));
	if (entries > 0)
		return ERR_SET(err, ERR_EXISTS,
			       "%s is not empty; a backup goes into a directory of its own",
			       directory);
	return write_marker(env, config, directory, NULL, err);
}

/* ---- logs ---- */

static void log_progress(void *argument, uint64_t records)
{
	struct backup *backup = argument;
	if (backup->progress)
		backup->progress(backup->argument, "records", backup->records + records, 0);
}

static enum err_code check_copy(struct env *env, const char *directory, uint64_t size,
				struct err *err)
{
	struct log_check check = {0};
	struct log_check_result result;
	ERR_TRY(log_check_directory(env, directory, &check, &result, err));
	if (result.records != size || result.covered != size)
		return ERR_SET(err, ERR_CORRUPT, "%s: the copy has %llu records, not %llu",
			       directory, (unsigned long long)result.records,
			       (unsigned long long)size);
	return ERR_OK;
}

static enum err_code copy_log(struct env *env, struct backup *backup, const char *name,
			      struct err *err)
{
	char from[PATH_SIZE], to[PATH_SIZE], folder[64];
	const json_t *cut = json_object_get(backup->cut, name);
	const json_t *note = json_object_get(cut, "checkpoint");
	if (!json_is_string(note))
		return ERR_SET(err, ERR_PROTOCOL, "the gateway tells no checkpoint of its logs");
	struct log_copy copy = {.from = from,
				.to = to,
				.size = (uint64_t)json_integer_value(json_object_get(cut, "size")),
				.checkpoint =
					bytes_of(json_string_value(note), json_string_length(note)),
				.progress = log_progress,
				.argument = backup};
	snprintf(folder, sizeof(folder), "log/%s", name);
	ERR_TRY(config_data_path(backup->config, folder, from, sizeof(from), err));
	ERR_TRY(join(to, backup->directory, folder, err));
	ERR_TRY(log_copy_directory(env, &copy, err));
	backup->records += copy.size;
	return check_copy(env, to, copy.size, err);
}

/* ---- files ---- */

/* Of the data directory: what is copied otherwise, or belongs to the process that runs. */
static bool is_left_out(const struct backup *backup, const char *path, const char *name,
			unsigned depth)
{
	static const char *const names[] = {
		"log", "marks", DATABASE, DATABASE "-journal", BACKUP_FILE, RESTORED_FILE, NULL};
	size_t size = strlen(name);
	for (size_t i = 0; depth == 0 && names[i]; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return (size > 5 && strcmp(name + size - 5, ".sock") == 0) ||
	       (size > 4 && strcmp(name + size - 4, ".tmp") == 0) ||
	       same_file(path, backup->directory) || same_file(path, backup->config->access_log) ||
	       same_file(path, backup->config->log.marks);
}

static enum err_code copy_file(struct env *env, struct backup *backup, const char *from,
			       const char *to, struct err *err)
{
	struct env_file *in = NULL, *out = NULL;
	enum err_code code = env_file_open(env, from, ENV_OPEN_READ, &in, err);
	if (code == ERR_OK)
		code = env_file_open(env, to, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE,
				     &out, err);
	if (code == ERR_OK)
		code = env_file_copy(in, out, err);
	env_file_close(in);
	env_file_close(out);
	backup->files++;
	if (backup->progress)
		backup->progress(backup->argument, "files", backup->files, 0);
	return code == ERR_NOT_FOUND ? ERR_OK : code; /* it was removed meanwhile */
}

struct entries {
	char **names;
	size_t count, capacity;
	bool failed;
};

/* Directories end in a slash. */
static void keep_entry(void *argument, const struct env_directory_entry *entry)
{
	struct entries *entries = argument;
	if (entries->count == entries->capacity) {
		size_t capacity = entries->capacity ? 2 * entries->capacity : 64;
		char **names = capacity > ENTRIES_MAX
				       ? NULL
				       : realloc(entries->names, capacity * sizeof(*names));
		entries->failed |= !names;
		if (!names)
			return;
		entries->names = names;
		entries->capacity = capacity;
	}
	char *name = NULL;
	if (asprintf(&name, "%s%s", entry->name, entry->is_directory ? "/" : "") < 0)
		entries->failed = true;
	else
		entries->names[entries->count++] = name;
}

static enum err_code copy_folder(struct env *env, struct backup *backup, const char *from,
				 const char *to, unsigned depth, struct err *err);

static enum err_code copy_entry(struct env *env, struct backup *backup, const char *from,
				const char *to, const char *entry, unsigned depth, struct err *err)
{
	char source[PATH_SIZE], target[PATH_SIZE], name[300];
	size_t size = strlen(entry);
	bool directory = size > 0 && entry[size - 1] == '/';
	snprintf(name, sizeof(name), "%.*s", (int)(size - directory), entry);
	ERR_TRY(join(source, from, name, err));
	ERR_TRY(join(target, to, name, err));
	if (is_left_out(backup, source, name, depth))
		return ERR_OK;
	if (!directory)
		return copy_file(env, backup, source, target, err);
	if (depth + 1 >= DEPTH_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "%s: the folders are nested too deep", source);
	ERR_TRY(env_make_directory(env, target, err));
	return copy_folder(env, backup, source, target, depth + 1, err);
}

/* Recursion as deep as DEPTH_MAX. */
static enum err_code copy_folder(struct env *env, struct backup *backup, const char *from,
				 const char *to, unsigned depth, struct err *err)
{
	struct entries entries = {0};
	enum err_code code = env_list_directory(env, from, keep_entry, &entries, err);
	if (code == ERR_OK && entries.failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", from);
	for (size_t i = 0; i < entries.count; i++) {
		if (code == ERR_OK)
			code = copy_entry(env, backup, from, to, entries.names[i], depth, err);
		free(entries.names[i]);
	}
	free(entries.names);
	return code == ERR_OK ? env_sync_directory(env, to, err) : code;
}

/* The notes by which the logs' key was handed on. After the key's own file: whichever key was
 * copied, the way to it from the one that signed the copied checkpoint is there. */
static enum err_code copy_rotations(struct env *env, struct backup *backup, const char *name,
				    struct err *err)
{
	char from[PATH_SIZE], to[PATH_SIZE], file[80];
	snprintf(file, sizeof(file), "log/%s/" KEY_ROTATIONS_FILE, name);
	ERR_TRY(config_data_path(backup->config, file, from, sizeof(from), err));
	ERR_TRY(join(to, backup->directory, file, err));
	if (!env_file_exists(env, from))
		return ERR_OK;
	return copy_file(env, backup, from, to, err);
}

enum err_code backup_copy(struct env *env, struct backup *backup, struct err *err)
{
	backup->records = backup->files = 0;
	for (int log = 0; log < CONTROL_LOGS; log++)
		ERR_TRY(copy_log(env, backup, log_names[log], err));
	ERR_TRY(copy_folder(env, backup, backup->config->data, backup->directory, 0, err));
	for (int log = 0; log < CONTROL_LOGS; log++)
		ERR_TRY(copy_rotations(env, backup, log_names[log], err));
	return write_marker(env, backup->config, backup->directory, backup->cut, err);
}

/* ---- starting on one ---- */

static enum err_code refuse(const json_t *tree, const char *path, bool restored, struct err *err)
{
	const char *name = json_string_value(json_object_get(tree, "gateway"));
	const char *time = json_string_value(json_object_get(tree, "time"));
	if (!json_is_true(json_object_get(tree, "finished")))
		return ERR_SET(err, ERR_CONFLICT,
			       "%s: this is a backup that was not finished; make another", path);
	if (restored)
		return ERR_OK;
	return ERR_SET(
		err, ERR_CONFLICT,
		"%s: this is a backup of %s of %s. Two gateways that sign under one name fork "
		"its logs, and what the other has signed since cannot be signed otherwise. If it "
		"is gone for good, with everything newer, start with --restored; a copy to try "
		"things needs another name and new logs",
		path, name ? name : "a gateway", time ? time : "an unknown time");
}

enum err_code backup_check_start(struct env *env, const struct config *config, bool restored,
				 struct err *err)
{
	char path[PATH_SIZE], renamed[PATH_SIZE];
	struct buf text = BUF_INIT(FILE_MAX);
	json_t *tree = NULL;
	ERR_TRY(config_data_path(config, BACKUP_FILE, path, sizeof(path), err));
	ERR_TRY(config_data_path(config, RESTORED_FILE, renamed, sizeof(renamed), err));
	enum err_code code = env_read_file(env, path, &text, err);
	if (code == ERR_NOT_FOUND) {
		buf_release(&text);
		return ERR_OK;
	}
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&text), path, &tree, err);
	if (code == ERR_OK)
		code = refuse(tree, path, restored, err);
	if (code == ERR_OK)
		code = env_rename(env, path, renamed, err);
	if (code == ERR_OK)
		code = env_sync_directory(env, config->data, err);
	json_decref(tree);
	buf_release(&text);
	return code;
}
