/* Writing ZIP archives (PKWARE APPNOTE 6.3.10) from front to back: deflate, UTF-8 names, ZIP64
 * where there are more than 65,534 entries. */
#ifndef SUITE_ZIP_WRITER_H
#define SUITE_ZIP_WRITER_H

#include "env/env.h"

struct zip_writer {
	struct env_file *file;
	uint64_t offset;
	struct buf directory, packed;
	struct z_stream_s *stream; /* owned; used again for every entry */
	size_t count;
	/* The entry that is being written in pieces, and afterwards the last one of these. */
	struct {
		uint64_t start; /* of its local header */
		uint64_t size, packed;
		uint32_t crc;
		size_t name_size;
	} open;
	struct err err; /* the first failure: nothing more is written */
};

/* Makes or empties the file. zip_writer_close is needed in every case. */
void zip_writer_open(struct zip_writer *zip, struct env *env, const char *path);
/* One entry. ERR_TOO_LARGE (told at the end) where it or the archive reaches 4 GiB. */
void zip_writer_add(struct zip_writer *zip, struct bytes name, struct bytes content);
/* An entry whose content comes in pieces and is nowhere held whole. Between begin and end nothing
 * else may be added. */
void zip_writer_begin(struct zip_writer *zip, struct bytes name);
void zip_writer_piece(struct zip_writer *zip, struct bytes content);
void zip_writer_end(struct zip_writer *zip);
/* The content of the last entry written in pieces once more, under another name. */
void zip_writer_repeat(struct zip_writer *zip, struct bytes name);
/* Writes the directory, syncs and closes. The first failure, if there was one. */
enum err_code zip_writer_close(struct zip_writer *zip, struct err *err);

#endif
