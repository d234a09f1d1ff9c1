/* Reading ZIP archives (PKWARE APPNOTE 6.3.10), as evaluation harnesses pack their logs: stored,
 * deflate and zstd (method 93), ZIP64. Nothing is written anywhere, names are only names. Memory
 * grows with the directory and with one entry at a time. */
#ifndef SUITE_ZIP_H
#define SUITE_ZIP_H

#include "env/env.h"

#define ZIP_ENTRIES_MAX 1000000u
#define ZIP_DIRECTORY_MAX ((size_t)256 << 20)

struct zip_entry {
	struct bytes name; /* in the archive's memory */
	uint64_t offset;   /* of its local header */
	uint64_t packed, size;
	uint32_t crc;
	uint16_t method;
};

struct zip;

/* Reads the directory. ERR_CORRUPT with the offset where it is damaged, two entries share a name or
 * it is no ZIP archive; ERR_UNSUPPORTED for encrypted, split and otherwise packed ones;
 * ERR_TOO_LARGE beyond the bounds above. The caller owns *out. */
enum err_code zip_open(struct env *env, const char *path, struct zip **out, struct err *err);
void zip_close(struct zip *zip);

/* In the order of their names (bytes); valid until zip_close. */
size_t zip_count(const struct zip *zip);
const struct zip_entry *zip_at(const struct zip *zip, size_t index);
/* NULL: there is none. */
const struct zip_entry *zip_find(const struct zip *zip, struct bytes name);

/* Appends the entry's content, whose size and CRC-32 must be the directory's. ERR_TOO_LARGE where
 * it would pass out->max, before anything is unpacked. */
enum err_code zip_read(struct zip *zip, const struct zip_entry *entry, struct buf *out,
		       struct err *err);

#endif
