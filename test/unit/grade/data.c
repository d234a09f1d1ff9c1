#include "data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SIZE_LIMIT ((size_t)64 << 20)

#ifndef PARLEY_SOURCE_ROOT
#define PARLEY_SOURCE_ROOT "."
#endif

static char *read_all(const char *path, size_t *size)
{
	const char *root = getenv("PARLEY_DATA");
	char full[4096];

	snprintf(full, sizeof(full), "%s/%s", root ? root : PARLEY_SOURCE_ROOT "/../shared/data",
		 path);
	gzFile file = gzopen(full, "rb");
	if (!file)
		return NULL;
	char *text = malloc(SIZE_LIMIT);
	assert_non_null(text);
	*size = 0;
	for (int got; (got = gzread(file, text + *size, 1 << 20)) > 0; *size += (size_t)got)
		assert_true(*size + (2 << 20) < SIZE_LIMIT);
	gzclose(file);
	return text;
}

json_t *data_load(const char *path)
{
	size_t size;
	char *text = read_all(path, &size);

	if (!text)
		return NULL;
	if (text[0] == '[') {
		json_t *whole = json_loadb(text, size, 0, NULL);
		assert_non_null(whole);
		free(text);
		return whole;
	}
	json_t *list = json_array();
	for (char *line = text, *end; line < text + size; line = end + 1) {
		end = memchr(line, '\n', (size_t)(text + size - line));
		if (!end)
			end = text + size;
		json_t *record = json_loadb(line, (size_t)(end - line), 0, NULL);
		assert_non_null(record);
		json_array_append_new(list, record);
	}
	free(text);
	return list;
}

const char *data_text(const json_t *record, const char *key)
{
	return json_string_value(json_object_get(record, key));
}
