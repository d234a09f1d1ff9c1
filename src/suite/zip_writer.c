#include "suite/zip_writer.h"

#include <zlib.h>

#define LOCAL_HEADER 0x04034b50u
#define CENTRAL_HEADER 0x02014b50u
#define END 0x06054b50u
#define END64 0x06064b50u
#define END64_LOCATOR 0x07064b50u
#define END64_REST 44u /* bytes of the record behind its own length */
#define DIRECTORY_MAX ((size_t)256 << 20)
#define PACKED_MAX ((size_t)512 << 20)
#define LIMIT 0xffffffffu
#define COUNT_LIMIT 0xffffu
#define VERSION 20u
#define VERSION64 45u
#define FLAG_UTF8 0x0800u
#define METHOD_DEFLATE 8u
#define DATE_1980 0x0021u /* 1 January 1980: an archive of the same content has the same bytes */

static void put(struct buf *out, uint64_t number, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		buf_append_char(out, (char)(number >> (8 * i)));
}

static void flush(struct zip_writer *zip, struct buf *buf)
{
	if (zip->err.code == ERR_OK && buf->failed)
		ERR_SET(&zip->err, ERR_NO_MEMORY, "out of memory for a ZIP archive");
	if (zip->err.code == ERR_OK &&
	    env_file_write(zip->file, zip->offset, buf->data, buf->size, &zip->err) == ERR_OK)
		zip->offset += buf->size;
}

void zip_writer_open(struct zip_writer *zip, struct env *env, const char *path)
{
	*zip = (struct zip_writer){0};
	buf_init(&zip->directory, DIRECTORY_MAX);
	buf_init(&zip->packed, PACKED_MAX);
	if (env_file_open(env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &zip->file, &zip->err) ==
	    ERR_OK)
		env_file_truncate(zip->file, 0, &zip->err);
}

/* Raw deflate (RFC 1951) behind what `out` holds. */
static bool deflate_into(struct buf *out, struct bytes content)
{
	z_stream stream = {0};
	if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	size_t bound = deflateBound(&stream, (uLong)content.size);
	bool good = buf_reserve(out, bound);
	if (good) {
		stream.next_in = (Bytef *)(uintptr_t)content.data;
		stream.avail_in = (uInt)content.size;
		stream.next_out = (Bytef *)out->data + out->size;
		stream.avail_out = (uInt)bound;
		good = deflate(&stream, Z_FINISH) == Z_STREAM_END;
		out->size += good ? stream.total_out : 0;
	}
	deflateEnd(&stream);
	return good;
}

/* What local and central header have in common, from the version needed on. */
static void describe(struct buf *out, uint32_t crc, size_t packed, struct bytes content,
		     struct bytes name)
{
	put(out, VERSION, 2);
	put(out, FLAG_UTF8, 2);
	put(out, METHOD_DEFLATE, 2);
	put(out, 0, 2);
	put(out, DATE_1980, 2);
	put(out, crc, 4);
	put(out, packed, 4);
	put(out, content.size, 4);
	put(out, name.size, 2);
	put(out, 0, 2);
}

static void list(struct zip_writer *zip, uint32_t crc, size_t packed, struct bytes content,
		 struct bytes name)
{
	struct buf *out = &zip->directory;
	put(out, CENTRAL_HEADER, 4);
	put(out, VERSION, 2);
	describe(out, crc, packed, content, name);
	put(out, 0, 2); /* comment */
	put(out, 0, 2); /* disk */
	put(out, 0, 2); /* attributes */
	put(out, 0, 4);
	put(out, zip->offset, 4);
	buf_append_bytes(out, name);
	zip->count++;
}

void zip_writer_add(struct zip_writer *zip, struct bytes name, struct bytes content)
{
	struct buf head = BUF_INIT(65536 + 64);
	if (zip->err.code != ERR_OK)
		return;
	buf_clear(&zip->packed);
	if (name.size > 65535 || content.size >= LIMIT ||
	    zip->offset + content.size + name.size >= LIMIT - 65536) {
		ERR_SET(&zip->err, ERR_TOO_LARGE, "the archive would pass 4 GiB");
		return;
	}
	if (!deflate_into(&zip->packed, content)) {
		ERR_SET(&zip->err, ERR_NO_MEMORY, "out of memory for a ZIP archive");
		return;
	}
	uint32_t crc = (uint32_t)crc32(0, (const Bytef *)content.data,
				       content.data ? (uInt)content.size : 0);
	list(zip, crc, zip->packed.size, content, name);
	put(&head, LOCAL_HEADER, 4);
	describe(&head, crc, zip->packed.size, content, name);
	buf_append_bytes(&head, name);
	flush(zip, &head);
	flush(zip, &zip->packed);
	buf_release(&head);
}

static void write_end(struct zip_writer *zip, uint64_t start)
{
	struct buf end = BUF_INIT(256);
	uint64_t count = zip->count, size = zip->directory.size;
	bool large = count >= COUNT_LIMIT;
	if (large) {
		put(&end, END64, 4);
		put(&end, END64_REST, 8);
		put(&end, VERSION64, 2);
		put(&end, VERSION64, 2);
		put(&end, 0, 8); /* disks */
		put(&end, count, 8);
		put(&end, count, 8);
		put(&end, size, 8);
		put(&end, start, 8);
		put(&end, END64_LOCATOR, 4);
		put(&end, 0, 4);
		put(&end, start + size, 8);
		put(&end, 1, 4);
	}
	put(&end, END, 4);
	put(&end, 0, 4); /* disks */
	put(&end, large ? COUNT_LIMIT : count, 2);
	put(&end, large ? COUNT_LIMIT : count, 2);
	put(&end, size, 4);
	put(&end, start, 4);
	put(&end, 0, 2);
	flush(zip, &end);
	buf_release(&end);
}

enum err_code zip_writer_close(struct zip_writer *zip, struct err *err)
{
	uint64_t start = zip->offset;
	flush(zip, &zip->directory);
	write_end(zip, start);
	if (zip->err.code == ERR_OK)
		env_file_sync(zip->file, &zip->err);
	env_file_close(zip->file);
	buf_release(&zip->directory);
	buf_release(&zip->packed);
	if (zip->err.code != ERR_OK)
		*err = zip->err;
	return zip->err.code;
}
