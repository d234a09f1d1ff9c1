/* JSON written directly into a fixed space, without a tree and without allocation. Running out of
 * room is sticky: look at `failed` at the end. Names are literals: inlined, their lengths are
 * known. Pure. */
#ifndef BASE_JSON_WRITER_H
#define BASE_JSON_WRITER_H

#include "base/bytes.h"

#include <string.h>

struct json_writer {
	char *out;
	size_t size, capacity;
	bool failed;
};

/* Room for `size` bytes, which are counted as written; NULL where there is none. */
static inline char *json_writer_take(struct json_writer *writer, size_t size)
{
	if (writer->failed || writer->capacity - writer->size < size) {
		writer->failed = true;
		return NULL;
	}
	char *at = writer->out + writer->size;
	writer->size += size;
	return at;
}

/* Bytes as they are. */
static inline void json_write(struct json_writer *writer, const char *text, size_t size)
{
	char *at = json_writer_take(writer, size);
	if (at && size)
		memcpy(at, text, size);
}

void json_write_u64(struct json_writer *writer, uint64_t value);
/* A string in quotes, with the escapes of RFC 8785; a byte that is no UTF-8 becomes U+FFFD. */
void json_write_string(struct json_writer *writer, struct bytes text);

/* `"name":`, after a comma unless it is the first member of the outermost object, and room for
 * `size` bytes behind it, which are counted as written. */
static inline char *json_write_name_of(struct json_writer *writer, const char *name, size_t size)
{
	size_t named = strlen(name) + 4;
	char *at = json_writer_take(writer, named + size);
	if (!at)
		return NULL;
	if (writer->size - (named + size) > 1)
		*at++ = ',';
	else
		writer->size--;
	*at++ = '"';
	memcpy(at, name, named - 4);
	memcpy(at + named - 4, "\":", 2);
	return at + named - 2;
}

static inline void json_write_name(struct json_writer *writer, const char *name)
{
	(void)json_write_name_of(writer, name, 0);
}

/* A member whose value is a string of `size` bytes that need no escape, which the caller writes to
 * what is returned; NULL where there is no room. */
static inline char *json_write_plain(struct json_writer *writer, const char *name, size_t size)
{
	char *at = json_write_name_of(writer, name, size + 2);
	if (!at)
		return NULL;
	at[0] = '"';
	at[size + 1] = '"';
	return at + 1;
}

/* A member whose value is a string, or is JSON already; empty ones are left out. */
static inline void json_write_member(struct json_writer *writer, const char *name,
				     struct bytes text)
{
	if (text.size == 0)
		return;
	json_write_name(writer, name);
	json_write_string(writer, text);
}

static inline void json_write_raw(struct json_writer *writer, const char *name, struct bytes json)
{
	if (json.size == 0)
		return;
	json_write_name(writer, name);
	json_write(writer, json.data, json.size);
}

#endif
