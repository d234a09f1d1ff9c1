/* The files under a bundle's directory. Internal to bundle.c. */
#ifndef GRADE_BUNDLE_FILES_H
#define GRADE_BUNDLE_FILES_H

#include "base/sha256.h"
#include "env/env.h"

struct bundle_files {
	char **paths; /* owned; relative, sorted by bytes */
	size_t count, capacity;
};

/* Every file under `directory` but the manifest and the statement. */
enum err_code bundle_files_list(struct env *env, const char *directory, struct bundle_files *files,
				struct err *err);
/* Every file under it, of any folder. */
enum err_code bundle_files_list_all(struct env *env, const char *directory,
				    struct bundle_files *files, struct err *err);
void bundle_files_release(struct bundle_files *files);

/* Digest and size of one file, read in pieces. */
enum err_code bundle_file_digest(struct env *env, const char *directory, const char *path,
				 uint8_t digest[static SHA256_SIZE], uint64_t *size,
				 struct err *err);

/* "<directory>/<path>" appended, NUL-terminated. */
enum err_code bundle_path(const char *directory, const char *path, struct buf *out,
			  struct err *err);

#endif
