#include "suite/zip_writer.h"

#include <stdlib.h>
#include <zlib.h>

#define LOCAL_HEADER 0x04034b50u
#define CENTRAL_HEADER 0x02014b50u
#define END 0x06054b50u
#define END64 0x06064b50u
#define END64_LOCATOR 0x07064b50u
#define END64_REST 44u    /* bytes of the record behind its own length */
#define LOCAL_SIZE 30u    /* bytes of a local header before its name */
#define LOCAL_NUMBERS 14u /* where checksum and sizes stand in it */
#define CENTRAL_SIZE 46u  /* the same of a central header */
#define CENTRAL_NUMBERS 16u
#define STEP 65536u
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

static void out_of_memory(struct zip_writer *zip)
{
	if (zip->err.code == ERR_OK)
		ERR_SET(&zip->err, ERR_NO_MEMORY, "out of memory for a ZIP archive");
}

void zip_writer_open(struct zip_writer *zip, struct env *env, const char *path)
{
	*zip = (struct zip_writer){.stream = calloc(1, sizeof(*zip->stream))};
	buf_init(&zip->directory, DIRECTORY_MAX);
	buf_init(&zip->packed, PACKED_MAX);
	if (zip->stream && deflateInit2(zip->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS,
					8, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(zip->stream);
		zip->stream = NULL;
	}
	if (!zip->stream)
		out_of_memory(zip);
	else if (env_file_open(env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &zip->file,
			       &zip->err) == ERR_OK)
		env_file_truncate(zip->file, 0, &zip->err);
}

/* ---- headers ---- */

struct entry {
	struct bytes name;
	uint64_t start, size, packed;
	uint32_t crc;
};

/* What local and central header have in common, from the version needed on. */
static void describe(struct buf *out, const struct entry *entry)
{
	put(out, VERSION, 2);
	put(out, FLAG_UTF8, 2);
	put(out, METHOD_DEFLATE, 2);
	put(out, 0, 2);
	put(out, DATE_1980, 2);
	put(out, entry->crc, 4);
	put(out, entry->packed, 4);
	put(out, entry->size, 4);
	put(out, entry->name.size, 2);
	put(out, 0, 2);
}

static void list(struct zip_writer *zip, const struct entry *entry)
{
	struct buf *out = &zip->directory;
	put(out, CENTRAL_HEADER, 4);
	put(out, VERSION, 2);
	describe(out, entry);
	put(out, 0, 2); /* comment */
	put(out, 0, 2); /* disk */
	put(out, 0, 2); /* attributes */
	put(out, 0, 4);
	put(out, entry->start, 4);
	buf_append_bytes(out, entry->name);
	zip->count++;
}

static void write_head(struct zip_writer *zip, const struct entry *entry)
{
	struct buf head = BUF_INIT(65536 + 64);
	put(&head, LOCAL_HEADER, 4);
	describe(&head, entry);
	buf_append_bytes(&head, entry->name);
	flush(zip, &head);
	buf_release(&head);
}

/* Whether so much more still fits; deflate's worst case adds less than a thousandth. */
static bool has_room(struct zip_writer *zip, struct bytes name, uint64_t size)
{
	if (zip->err.code == ERR_OK &&
	    (name.size > 65535 || size >= LIMIT ||
	     zip->offset + size + size / 1000 + name.size >= LIMIT - 65536))
		ERR_SET(&zip->err, ERR_TOO_LARGE, "the archive would pass 4 GiB");
	return zip->err.code == ERR_OK;
}

/* ---- entries ---- */

/* Raw deflate (RFC 1951) of the content, behind what `packed` holds. */
static void deflate_on(struct zip_writer *zip, struct bytes content, int how)
{
	z_stream *stream = zip->stream;
	int got;
	stream->next_in = (Bytef *)(uintptr_t)content.data;
	stream->avail_in = (uInt)content.size;
	do {
		if (!buf_reserve(&zip->packed, STEP)) {
			out_of_memory(zip);
			return;
		}
		stream->next_out = (Bytef *)zip->packed.data + zip->packed.size;
		stream->avail_out = STEP;
		got = deflate(stream, how);
		zip->packed.size += STEP - stream->avail_out;
	} while (got == Z_OK && (stream->avail_in > 0 || stream->avail_out == 0));
}

static uint32_t checksum(uint32_t crc, struct bytes content)
{
	return content.size ? (uint32_t)crc32(crc, (const Bytef *)content.data, (uInt)content.size)
			    : crc;
}

void zip_writer_add(struct zip_writer *zip, struct bytes name, struct bytes content)
{
	if (!has_room(zip, name, content.size))
		return;
	buf_clear(&zip->packed);
	deflateReset(zip->stream);
	deflate_on(zip, content, Z_FINISH);
	struct entry entry = {name, zip->offset, content.size, zip->packed.size,
			      checksum(0, content)};
	list(zip, &entry);
	write_head(zip, &entry);
	flush(zip, &zip->packed);
}

/* Its header stands there without sizes until zip_writer_end. */
void zip_writer_begin(struct zip_writer *zip, struct bytes name)
{
	struct entry entry = {.name = name, .start = zip->offset};
	if (!has_room(zip, name, 0))
		return;
	buf_clear(&zip->packed);
	deflateReset(zip->stream);
	zip->open.start = zip->offset;
	zip->open.size = zip->open.packed = zip->open.crc = 0;
	zip->open.name_size = name.size;
	list(zip, &entry);
	write_head(zip, &entry);
}

static void take(struct zip_writer *zip, struct bytes content, int how)
{
	if (!has_room(zip, (struct bytes){0}, content.size))
		return;
	deflate_on(zip, content, how);
	zip->open.crc = checksum(zip->open.crc, content);
	zip->open.size += content.size;
	if (zip->packed.size < STEP && how != Z_FINISH)
		return;
	zip->open.packed += zip->packed.size;
	flush(zip, &zip->packed);
	buf_clear(&zip->packed);
}

void zip_writer_piece(struct zip_writer *zip, struct bytes content)
{
	take(zip, content, Z_NO_FLUSH);
}

/* Checksum and sizes into a header that stands there, from its `at`. */
static void amend(struct zip_writer *zip, char *at)
{
	struct buf numbers = BUF_INIT(12);
	put(&numbers, zip->open.crc, 4);
	put(&numbers, zip->open.packed, 4);
	put(&numbers, zip->open.size, 4);
	if (numbers.failed)
		out_of_memory(zip);
	else if (at)
		memcpy(at, numbers.data, numbers.size);
	else
		env_file_write(zip->file, zip->open.start + LOCAL_NUMBERS, numbers.data,
			       numbers.size, &zip->err);
	buf_release(&numbers);
}

void zip_writer_end(struct zip_writer *zip)
{
	take(zip, (struct bytes){0}, Z_FINISH);
	if (zip->err.code == ERR_OK && zip->open.size >= LIMIT)
		ERR_SET(&zip->err, ERR_TOO_LARGE, "an entry of the archive would pass 4 GiB");
	if (zip->err.code != ERR_OK)
		return;
	amend(zip, zip->directory.data + zip->directory.size - zip->open.name_size - CENTRAL_SIZE +
			   CENTRAL_NUMBERS);
	amend(zip, NULL);
}

void zip_writer_repeat(struct zip_writer *zip, struct bytes name)
{
	uint64_t from = zip->open.start + LOCAL_SIZE + zip->open.name_size;
	struct entry entry = {name, zip->offset, zip->open.size, zip->open.packed, zip->open.crc};
	if (!has_room(zip, name, zip->open.packed))
		return;
	list(zip, &entry);
	write_head(zip, &entry);
	for (uint64_t done = 0; zip->err.code == ERR_OK && done < zip->open.packed;) {
		uint64_t left = zip->open.packed - done;
		size_t got = 0;
		buf_clear(&zip->packed);
		if (!buf_reserve(&zip->packed, STEP)) {
			out_of_memory(zip);
			return;
		}
		if (env_file_read(zip->file, from + done, zip->packed.data,
				  left < STEP ? (size_t)left : STEP, &got, &zip->err) == ERR_OK &&
		    got == 0)
			ERR_SET(&zip->err, ERR_ENVIRONMENT,
				"the archive became shorter while it was written");
		zip->packed.size = got;
		flush(zip, &zip->packed);
		done += got;
	}
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
	if (zip->stream)
		deflateEnd(zip->stream);
	free(zip->stream);
	if (zip->err.code != ERR_OK)
		*err = zip->err;
	return zip->err.code;
}
