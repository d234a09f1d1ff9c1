/* The leaves of open suites: the keyed digests, in one flat file for each suite (DATA/suites/SUITE,
 * docs/formats/leaves.md). A suite's leaves never change, so its file is written once, before its
 * document is staged, and is whole and durable or not there: a crash in between leaves a file that
 * no document names, which the next start removes. The database keeps the digest of the leaves in
 * their place: a file that is missing, cut or another one than the database says stops the start.
 *
 * Where the store is in memory, as in simulations, the leaves stay in it. */
#include "gate/control_internal.h"

#include "base/encode.h"

#include <stdio.h>

#define DIRECTORY "suites"
#define PREFIX "suite_" /* of every suite's id */
#define MAGIC "parley-leaves "
#define VERSION "1"
#define PATH_SIZE 1280
#define LEAVES_MAX ((size_t)BINDING_LEAVES_MAX * BINDING_DIGEST_SIZE + SHAPE_BYTES_MAX)
#define HEADER_SIZE 256 /* at most; with NUL */
/* What the database has in place of the leaves. Not a multiple of a leaf's size, so that leaves
 * that are in the database themselves are told apart. */
#define DIGEST "sha256:"
#define DIGEST_SIZE (sizeof(DIGEST) - 1 + 2 * (size_t)SHA256_SIZE)
_Static_assert(DIGEST_SIZE % BINDING_DIGEST_SIZE != 0, "no leaves have this size");
#define RESTORE "restore the data directory from a backup, the database and " DIRECTORY "/ together"

static enum err_code path_of(const struct control *control, const char *suite, char *out,
			     struct err *err)
{
	char name[CONTROL_ID_SIZE + sizeof(DIRECTORY) + 1];
	snprintf(name, sizeof(name), DIRECTORY "%s%s", *suite ? "/" : "", suite);
	return config_data_path(control->config, name, out, PATH_SIZE, err);
}

static void digest_of(struct bytes leaves, char out[static DIGEST_SIZE + 1])
{
	uint8_t digest[SHA256_SIZE];
	sha256_of(leaves.data, leaves.size, digest);
	hex_encode(digest, sizeof(digest), stpcpy(out, DIGEST));
}

/* The file's first line. */
static size_t write_header(const json_t *spec, const char *digest, char out[static HEADER_SIZE])
{
	return (size_t)snprintf(out, HEADER_SIZE, MAGIC VERSION " %.64s %lld %s\n",
				json_text(spec, "root"),
				(long long)control_integer(spec, "leaves", 0), digest);
}

/* ---- writing ---- */

static enum err_code write_file(struct control *control, const char *suite, const json_t *spec,
				struct bytes leaves, const char *digest, struct err *err)
{
	char path[PATH_SIZE], header[HEADER_SIZE];
	struct buf file = BUF_INIT(LEAVES_MAX + HEADER_SIZE);
	ERR_TRY(path_of(control, "", path, err));
	ERR_TRY(env_make_directories(control->env, path, err));
	ERR_TRY(path_of(control, suite, path, err));
	buf_append(&file, header, write_header(spec, digest, header));
	buf_append_bytes(&file, leaves);
	enum err_code code =
		file.failed ? ERR_SET(err, ERR_NO_MEMORY,
				      "no memory to write the leaves of suite %s", suite)
			    : env_write_file(control->env, path, buf_bytes(&file), 0600, err);
	buf_release(&file);
	return code;
}

static enum err_code stage_leaves(struct control *control, struct control_change *change,
				  struct err *err)
{
	char digest[DIGEST_SIZE + 1];
	digest_of(buf_bytes(&change->blob), digest);
	ERR_TRY(write_file(control, change->id, control_spec_of(change->document),
			   buf_bytes(&change->blob), digest, err));
	change->leaves_written = true;
	buf_release(&change->blob);
	buf_append_cstr(&change->blob, digest);
	return change->blob.failed
		       ? ERR_SET(err, ERR_NO_MEMORY, "no memory to stage suite %s", change->id)
		       : ERR_OK;
}

/* One that cannot be removed now is removed at the next start. */
static void remove_file(const struct control *control, const char *suite)
{
	char path[PATH_SIZE];
	struct err ignored = ERR_INIT;
	if (path_of(control, suite, path, &ignored) == ERR_OK)
		env_unlink(control->env, path, &ignored);
}

enum err_code control_leaves_stage(struct control_operation *operation, struct err *err)
{
	struct control *control = operation->control;
	for (size_t i = 0; control->keeps_files && i < operation->change_count; i++) {
		struct control_change *change = operation->changes[i];
		if (change->kind == STORE_SUITE && change->blob.size > 0)
			ERR_TRY(stage_leaves(control, change, err));
	}
	return ERR_OK;
}

void control_leaves_settled(const struct control_operation *operation)
{
	for (size_t i = 0; i < operation->change_count; i++) {
		const struct control_change *change = operation->changes[i];
		if (change->leaves_written && !change->durable)
			remove_file(operation->control, change->id);
	}
}

/* ---- reading ---- */

static enum err_code unfit(const char *path, const char *what, struct err *err)
{
	return ERR_SET(err, ERR_CORRUPT, "%s: %s; " RESTORE, path, what);
}

size_t control_leaves_units(const json_t *spec)
{
	return (size_t)control_integer(spec, "units", control_integer(spec, "leaves", 0));
}

/* Digests, and behind them the shape of a suite with conversations or judges. */
static size_t stored_size(const json_t *spec)
{
	return control_leaves_units(spec) * BINDING_DIGEST_SIZE +
	       (size_t)control_integer(spec, "shape", 0);
}

/* *file becomes what follows its header. */
static enum err_code check_file(const char *path, const json_t *spec, const char *digest,
				struct bytes *file, struct err *err)
{
	char header[HEADER_SIZE], found[DIGEST_SIZE + 1];
	size_t size = write_header(spec, digest, header);
	size_t wanted = stored_size(spec);
	if (!bytes_starts_with(*file, BYTES(MAGIC)))
		return unfit(path, "this is no file of a suite's leaves", err);
	if (!bytes_starts_with(*file, BYTES(MAGIC VERSION " ")))
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: its format is of a version that this build does not know; use "
			       "the build that wrote it",
			       path);
	if (!bytes_starts_with(*file, bytes_of(header, size)))
		return unfit(path,
			     "its root, its number of leaves or their digest is not what the "
			     "database says of this suite",
			     err);
	*file = bytes_of(file->data + size, file->size - size);
	if (file->size != wanted)
		return unfit(path, "it has fewer or more leaves than it says", err);
	digest_of(*file, found);
	if (strcmp(found, digest) != 0)
		return unfit(path, "its leaves do not have the digest that it says", err);
	return ERR_OK;
}

static enum err_code read_file(const struct control *control, const char *suite, const json_t *spec,
			       const char *digest, struct buf *file, struct bytes *leaves,
			       struct err *err)
{
	char path[PATH_SIZE];
	buf_init(file, LEAVES_MAX + HEADER_SIZE);
	ERR_TRY(path_of(control, suite, path, err));
	enum err_code code = env_read_file(control->env, path, file, err);
	if (code == ERR_NOT_FOUND)
		return unfit(path, "the leaves of a registered suite are missing", err);
	if (code == ERR_TOO_LARGE)
		return unfit(path, "it is larger than any suite's leaves are", err);
	*leaves = buf_bytes(file);
	return code == ERR_OK ? check_file(path, spec, digest, leaves, err) : code;
}

static bool is_digest(struct bytes blob)
{
	return blob.size == DIGEST_SIZE && bytes_starts_with(blob, BYTES(DIGEST));
}

static enum err_code keep_blob(void *argument, const struct store_document *document,
			       struct err *err)
{
	struct buf *blob = argument;
	buf_append_bytes(blob, document->blob);
	return blob->failed
		       ? ERR_SET(err, ERR_NO_MEMORY, "no memory to read suite %s", document->id)
		       : ERR_OK;
}

enum err_code control_leaves_read(const struct control *control, const char *suite,
				  const json_t *spec, struct buf *memory, struct bytes *leaves,
				  struct err *err)
{
	char digest[DIGEST_SIZE + 1] = {0};
	int64_t count = control_integer(spec, "leaves", 0);
	buf_init(memory, LEAVES_MAX);
	ERR_TRY(store_find(control->store, STORE_SUITE, suite, keep_blob, memory, err));
	*leaves = buf_bytes(memory);
	if (is_digest(*leaves)) {
		memcpy(digest, leaves->data, DIGEST_SIZE);
		buf_release(memory);
		return read_file(control, suite, spec, digest, memory, leaves, err);
	}
	if (count < 1 || leaves->size != stored_size(spec))
		return ERR_SET(err, ERR_CORRUPT,
			       "the stored suite %s has lost leaves; restore the database from a "
			       "backup",
			       suite);
	return ERR_OK;
}

/* ---- at start ---- */

static enum err_code note_unconverted(void *argument, const struct store_document *document,
				      struct err *err)
{
	json_t *names = argument;
	if (document->blob.size == 0 || is_digest(document->blob))
		return ERR_OK;
	return json_array_append_new(names, json_string(document->id)) == 0
		       ? ERR_OK
		       : ERR_SET(err, ERR_NO_MEMORY, "no memory to look at suites");
}

/* A store of an earlier build has the leaves beside the document. First the file, then the digest
 * in their place: after a crash in between it is done again. */
static enum err_code convert(struct control *control, const char *suite, struct err *err)
{
	struct buf memory, text = BUF_INIT((size_t)4 << 20);
	struct bytes leaves;
	char digest[DIGEST_SIZE + 1];
	const json_t *document = control_document(control, STORE_SUITE, suite);
	const json_t *spec = control_spec_of(document);
	enum err_code code = control_leaves_read(control, suite, spec, &memory, &leaves, err);
	if (code == ERR_OK)
		digest_of(leaves, digest);
	if (code == ERR_OK)
		code = write_file(control, suite, spec, leaves, digest, err);
	if (code == ERR_OK)
		code = json_canonical(document, &text, err);
	if (code == ERR_OK && text.failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	struct store_document row = {.kind = STORE_SUITE,
				     .id = suite,
				     .document = buf_bytes(&text),
				     .blob = bytes_of(digest, DIGEST_SIZE)};
	if (code == ERR_OK)
		code = store_put(control->store, &row, 1, err);
	if (code != ERR_OK)
		err_prefix(err, "moving the leaves of suite %s into a file of their own", suite);
	buf_release(&memory);
	buf_release(&text);
	return code;
}

struct listing {
	const struct control *control;
	json_t *orphans;
};

/* Temporary files of a write that was cut short are no suite's either. */
static void note_orphan(void *argument, const struct env_directory_entry *entry)
{
	struct listing *listing = argument;
	if (strncmp(entry->name, PREFIX, strlen(PREFIX)) == 0 &&
	    !control_document(listing->control, STORE_SUITE, entry->name))
		json_array_append_new(listing->orphans, json_string(entry->name));
}

static enum err_code remove_orphans(struct control *control, struct err *err)
{
	char path[PATH_SIZE];
	struct listing listing = {control, json_array()};
	size_t index;
	json_t *name;
	enum err_code code = path_of(control, "", path, err);
	if (code == ERR_OK && listing.orphans && env_file_exists(control->env, path))
		code = env_list_directory(control->env, path, note_orphan, &listing, err);
	json_array_foreach(listing.orphans, index, name)
		remove_file(control, json_string_value(name));
	json_decref(listing.orphans);
	return code;
}

enum err_code control_leaves_open(struct control *control, struct err *err)
{
	json_t *names = json_array();
	size_t index;
	json_t *name;
	if (!control->keeps_files || !names) {
		json_decref(names);
		return ERR_OK; /* what is not converted is read where it is */
	}
	enum err_code code = store_each(control->store, STORE_SUITE, note_unconverted, names, err);
	json_array_foreach(names, index, name)
	{
		if (code == ERR_OK)
			code = convert(control, json_string_value(name), err);
	}
	json_decref(names);
	return code == ERR_OK ? remove_orphans(control, err) : code;
}
