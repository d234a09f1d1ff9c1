/* Writing ZIP archives (PKWARE APPNOTE 6.3.10) from front to back: deflate, UTF-8 names, ZIP64
 * where there are more than 65,534 entries. */
#ifndef SUITE_ZIP_WRITER_H
#define SUITE_ZIP_WRITER_H

#include "env/env.h"

struct zip_writer {
	struct env_file *file;
	uint64_t offset;
	struct buf directory, packed;
	size_t count;
	struct err err; /* the first failure: nothing more is written */
};

/* Makes or empties the file. zip_writer_close is needed in every case. */
void zip_writer_open(struct zip_writer *zip, struct env *env, const char *path);
/* One entry. ERR_TOO_LARGE (told at the end) where it or the archive reaches 4 GiB. */
void zip_writer_add(struct zip_writer *zip, struct bytes name, struct bytes content);
/* Writes the directory, syncs and closes. The first failure, if there was one. */
enum err_code zip_writer_close(struct zip_writer *zip, struct err *err);

#endif
