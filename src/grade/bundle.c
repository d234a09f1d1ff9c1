#include "grade/bundle.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/bundle_files.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define PREDICATE_TYPE "https://in-toto.io/attestation/test-result/v0.1"
#define MANIFEST_MAX ((size_t)1 << 30)
#define STATEMENT_MAX ((size_t)32 << 20)
#define PATH_MAX_BYTES 4096u
#define FILE_MODE 0644u

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a bundle");
}

static enum err_code write_file(struct env *env, const char *directory, const char *name,
				struct bytes content, struct err *err)
{
	struct buf path = BUF_INIT(PATH_MAX_BYTES);
	enum err_code code = bundle_path(directory, name, &path, err);

	if (code == ERR_OK)
		code = env_write_file(env, path.data, content, FILE_MODE, err);
	buf_release(&path);
	return code;
}

static enum err_code read_file(struct env *env, const char *directory, const char *name,
			       struct buf *out, struct err *err)
{
	struct buf path = BUF_INIT(PATH_MAX_BYTES);
	enum err_code code = bundle_path(directory, name, &path, err);

	if (code == ERR_OK)
		code = env_read_file(env, path.data, out, err);
	buf_release(&path);
	return code;
}

/* ---- sealing ---- */

static enum err_code manifest_entry(struct env *env, const char *directory, const char *path,
				    json_t *list, struct err *err)
{
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	uint64_t size;

	ERR_TRY(bundle_file_digest(env, directory, path, digest, &size, err));
	hex_encode(digest, sizeof(digest), hex);
	if (json_array_append_new(list, json_pack("{sssssI}", "path", path, "sha256", hex, "size",
						  (json_int_t)size)) != 0)
		return out_of_memory(err);
	return ERR_OK;
}

static const char *format_name(bool published)
{
	return published ? BUNDLE_FORMAT_PUBLISHED : BUNDLE_FORMAT;
}

static enum err_code manifest_make(struct env *env, const char *directory, bool published,
				   json_t **out, struct err *err)
{
	struct bundle_files files;
	json_t *list = json_array();
	enum err_code code = ERR_OK;

	if (!list)
		return out_of_memory(err);
	code = bundle_files_list(env, directory, &files, err);
	for (size_t i = 0; code == ERR_OK && i < files.count; i++)
		code = manifest_entry(env, directory, files.paths[i], list, err);
	bundle_files_release(&files);
	if (code != ERR_OK) {
		json_decref(list);
		return code;
	}
	*out = json_pack("{sssI so}", "format", format_name(published), "count",
			 (json_int_t)json_array_size(list), "files", list);
	return *out ? ERR_OK : out_of_memory(err);
}

/* A ResourceDescriptor (in-toto) of a file in the manifest, a new reference; NULL if it isn't
 * there. */
static json_t *descriptor(const json_t *manifest, const char *path)
{
	const json_t *files = json_object_get(manifest, "files"), *entry;
	size_t index;

	json_array_foreach(
		(json_t *)files, index,
		entry) if (strcmp(json_string_value(json_object_get(entry, "path")), path) ==
			   0) return json_pack("{ss s{sO}}", "name", path, "digest", "sha256",
					       json_object_get(entry, "sha256"));
	return NULL;
}

static json_t *predicate_make(const struct bundle_statement *statement, const json_t *manifest)
{
	const json_t *results = json_object_get(statement->summary, "results");
	json_t *plan = descriptor(manifest, BUNDLE_PLAN);
	json_t *configuration = plan ? json_pack("[o]", plan) : json_array();

	return json_pack("{ss so s{ss sO*}}", "result", statement->result, "configuration",
			 configuration, "parley", "format", format_name(statement->published),
			 "results", results);
}

static enum err_code statement_text(const struct bundle_statement *statement,
				    const json_t *manifest, struct bytes manifest_text,
				    struct buf *out, struct err *err)
{
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];

	sha256_of(manifest_text.data, manifest_text.size, digest);
	hex_encode(digest, sizeof(digest), hex);
	json_t *object =
		json_pack("{ss s[{ss s{ss}}] ss so}", "_type", STATEMENT_TYPE, "subject", "name",
			  BUNDLE_MANIFEST, "digest", "sha256", hex, "predicateType", PREDICATE_TYPE,
			  "predicate", predicate_make(statement, manifest));
	if (!object)
		return out_of_memory(err);
	enum err_code code = json_canonical(object, out, err);
	json_decref(object);
	return code;
}

static enum err_code seal_manifest(struct env *env, const char *directory, const json_t *manifest,
				   const struct bundle_statement *statement,
				   const struct ed25519_private *key, struct err *err)
{
	struct buf text = BUF_INIT(MANIFEST_MAX), payload = BUF_INIT(STATEMENT_MAX);
	struct buf envelope = BUF_INIT(2 * STATEMENT_MAX);
	enum err_code code = json_canonical(manifest, &text, err);

	buf_append_char(&text, '\n');
	if (code == ERR_OK && text.failed)
		code = out_of_memory(err);
	if (code == ERR_OK)
		code = statement_text(statement, manifest, buf_bytes(&text), &payload, err);
	if (code == ERR_OK)
		code = dsse_wrap(buf_bytes(&payload), DSSE_IN_TOTO, key, &envelope, err);
	if (code == ERR_OK)
		code = write_file(env, directory, BUNDLE_MANIFEST, buf_bytes(&text), err);
	if (code == ERR_OK)
		code = write_file(env, directory, BUNDLE_STATEMENT, buf_bytes(&envelope), err);
	buf_release(&text);
	buf_release(&payload);
	buf_release(&envelope);
	return code;
}

enum err_code bundle_seal(struct env *env, const char *directory,
			  const struct bundle_statement *statement,
			  const struct ed25519_private *key, struct err *err)
{
	json_t *manifest;

	ERR_TRY(manifest_make(env, directory, statement->published, &manifest, err));
	enum err_code code = seal_manifest(env, directory, manifest, statement, key, err);
	json_decref(manifest);
	return code;
}

/* ---- opening ---- */

struct listed {
	const char *path, *sha256;
	int64_t size;
};

static enum err_code read_listed(const json_t *entry, const char *what, struct listed *out,
				 struct err *err)
{
	static const char *const keys[] = {"path", "sha256", "size", NULL};

	if (!json_is_object(entry))
		return ERR_SET(err, ERR_INVALID, "%s: a file's entry must be an object", what);
	ERR_TRY(json_only_keys(entry, keys, what, err));
	ERR_TRY(json_get_string(entry, "path", what, &out->path, err));
	ERR_TRY(json_get_string(entry, "sha256", what, &out->sha256, err));
	return json_get_integer(entry, "size", what, 0, INT64_MAX, &out->size, err);
}

static enum err_code check_file(struct env *env, const char *directory, const struct listed *listed,
				struct err *err)
{
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	uint64_t size;

	ERR_TRY(bundle_file_digest(env, directory, listed->path, digest, &size, err));
	hex_encode(digest, sizeof(digest), hex);
	if (size != (uint64_t)listed->size || strcmp(hex, listed->sha256) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the file was altered: its SHA-256 is not the manifest's",
			       listed->path);
	return ERR_OK;
}

/* Both lists are sorted: what stands in one only is missing or not listed. */
static enum err_code check_pair(struct env *env, const char *directory, const char *found,
				const struct listed *listed, struct err *err)
{
	int order = !found ? 1 : !listed ? -1 : strcmp(found, listed->path);

	if (order < 0)
		return ERR_SET(err, ERR_MISMATCH, "%s: the file is not listed in %s", found,
			       BUNDLE_MANIFEST);
	if (order > 0)
		return ERR_SET(err, ERR_MISMATCH, "%.200s: the file is missing", listed->path);
	return check_file(env, directory, listed, err);
}

static enum err_code check_sorted(const json_t *list, struct err *err)
{
	const char *previous = "";
	const json_t *entry;
	struct listed listed;
	size_t index;

	json_array_foreach((json_t *)list, index, entry)
	{
		ERR_TRY(read_listed(entry, BUNDLE_MANIFEST, &listed, err));
		if (strcmp(previous, listed.path) >= 0)
			return ERR_SET(err, ERR_INVALID, "%s: the files are not sorted at %.200s",
				       BUNDLE_MANIFEST, listed.path);
		previous = listed.path;
	}
	return ERR_OK;
}

static enum err_code check_listing(struct env *env, const char *directory, const json_t *list,
				   const struct bundle_files *files, struct err *err)
{
	size_t listed_count = json_array_size(list);
	struct listed listed;

	ERR_TRY(check_sorted(list, err));
	for (size_t i = 0; i < files->count || i < listed_count; i++) {
		bool there = i < listed_count;

		if (there)
			ERR_TRY(read_listed(json_array_get(list, i), BUNDLE_MANIFEST, &listed,
					    err));
		ERR_TRY(check_pair(env, directory, i < files->count ? files->paths[i] : NULL,
				   there ? &listed : NULL, err));
	}
	return ERR_OK;
}

static enum err_code open_manifest(struct env *env, const char *directory, struct bundle *bundle,
				   uint8_t digest[static SHA256_SIZE], struct err *err)
{
	static const char *const keys[] = {"format", "count", "files", NULL};
	struct buf text = BUF_INIT(MANIFEST_MAX);
	const char *format;
	json_t *files;
	int64_t count;

	enum err_code code = read_file(env, directory, BUNDLE_MANIFEST, &text, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&text), BUNDLE_MANIFEST, &bundle->manifest, err);
	sha256_of(text.data, text.size, digest);
	buf_release(&text);
	ERR_TRY(code);
	if (!json_is_object(bundle->manifest))
		return ERR_SET(err, ERR_INVALID, "%s: must be an object", BUNDLE_MANIFEST);
	ERR_TRY(json_only_keys(bundle->manifest, keys, BUNDLE_MANIFEST, err));
	ERR_TRY(json_get_string(bundle->manifest, "format", BUNDLE_MANIFEST, &format, err));
	ERR_TRY(json_get_container(bundle->manifest, "files", BUNDLE_MANIFEST, JSON_ARRAY, false,
				   &files, err));
	ERR_TRY(json_get_integer(bundle->manifest, "count", BUNDLE_MANIFEST, 0, BUNDLE_FILES_MAX,
				 &count, err));
	bundle->published = strcmp(format, BUNDLE_FORMAT_PUBLISHED) == 0;
	if (!bundle->published && strcmp(format, BUNDLE_FORMAT) != 0)
		return ERR_SET(err, ERR_UNSUPPORTED, "%s: format '%.40s' is not %s",
			       BUNDLE_MANIFEST, format, BUNDLE_FORMAT);
	if ((size_t)count != json_array_size(files))
		return ERR_SET(err, ERR_INVALID, "%s: count is %lld, %zu files are listed",
			       BUNDLE_MANIFEST, (long long)count, json_array_size(files));
	return ERR_OK;
}

static enum err_code open_statement(struct env *env, const char *directory, struct bundle *bundle,
				    struct err *err)
{
	struct buf text = BUF_INIT(2 * STATEMENT_MAX);
	enum err_code code = read_file(env, directory, BUNDLE_STATEMENT, &text, err);

	if (code == ERR_OK)
		code = dsse_open(buf_bytes(&text), BUNDLE_STATEMENT, &bundle->envelope, err);
	buf_release(&text);
	ERR_TRY(code);
	if (strcmp(bundle->envelope.type, DSSE_IN_TOTO) != 0)
		return ERR_SET(err, ERR_INVALID, "%s: payloadType '%s' is not %s", BUNDLE_STATEMENT,
			       bundle->envelope.type, DSSE_IN_TOTO);
	return json_parse(buf_bytes(&bundle->envelope.payload), BUNDLE_STATEMENT,
			  &bundle->statement, err);
}

static enum err_code check_statement(const json_t *statement,
				     const uint8_t manifest_digest[static SHA256_SIZE],
				     struct err *err)
{
	const json_t *subjects = json_object_get(statement, "subject");
	const json_t *subject = json_array_get(subjects, 0);
	const char *type = json_string_value(json_object_get(statement, "_type"));
	const char *predicate = json_string_value(json_object_get(statement, "predicateType"));
	const char *name = json_string_value(json_object_get(subject, "name"));
	const char *digest =
		json_string_value(json_object_get(json_object_get(subject, "digest"), "sha256"));
	char hex[2 * SHA256_SIZE + 1];

	hex_encode(manifest_digest, SHA256_SIZE, hex);
	if (!type || strcmp(type, STATEMENT_TYPE) != 0 || !predicate ||
	    strcmp(predicate, PREDICATE_TYPE) != 0)
		return ERR_SET(err, ERR_INVALID, "%s: is no in-toto v1 test result",
			       BUNDLE_STATEMENT);
	if (json_array_size(subjects) != 1 || !name || strcmp(name, BUNDLE_MANIFEST) != 0 ||
	    !digest || strcmp(digest, hex) != 0)
		return ERR_SET(err, ERR_MISMATCH, "%s: it is about another manifest than %s",
			       BUNDLE_STATEMENT, BUNDLE_MANIFEST);
	return ERR_OK;
}

enum err_code bundle_open(struct env *env, const char *directory, struct bundle *bundle,
			  struct err *err)
{
	uint8_t digest[SHA256_SIZE];
	struct bundle_files files;

	memset(bundle, 0, sizeof(*bundle));
	ERR_TRY(open_manifest(env, directory, bundle, digest, err));
	ERR_TRY(open_statement(env, directory, bundle, err));
	ERR_TRY(check_statement(bundle->statement, digest, err));
	ERR_TRY(bundle_files_list(env, directory, &files, err));
	enum err_code code = check_listing(env, directory,
					   json_object_get(bundle->manifest, "files"), &files, err);
	bundle->files = files.count;
	bundle_files_release(&files);
	return code;
}

enum err_code bundle_find(struct env *env, const char *run, char *directory, size_t size,
			  struct bundle *bundle, struct err *err)
{
	static const char *const places[] = {"/bundle", ""};
	char path[PATH_MAX];

	memset(bundle, 0, sizeof(*bundle));
	for (size_t i = 0; i < 2; i++) {
		int length = snprintf(directory, size, "%s%s", run, places[i]);
		int whole = snprintf(path, sizeof(path), "%s%s/" BUNDLE_MANIFEST, run, places[i]);
		if ((size_t)length < size && (size_t)whole < sizeof(path) &&
		    env_file_exists(env, path))
			return bundle_open(env, directory, bundle, err);
	}
	return ERR_SET(
		err, ERR_USAGE,
		"%s holds no bundle: give the directory of a run that was written out, or of "
		"its bundle",
		run);
}

void bundle_release(struct bundle *bundle)
{
	json_decref(bundle->manifest);
	json_decref(bundle->statement);
	dsse_release(&bundle->envelope);
	bundle->manifest = bundle->statement = NULL;
}
