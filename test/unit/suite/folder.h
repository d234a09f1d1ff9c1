/* What the tests of this folder share: the machine's env, a temporary folder and files in it. */
#ifndef TEST_SUITE_FOLDER_H
#define TEST_SUITE_FOLDER_H

#include "env/env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct folder {
	struct env *env;
	char path[64];
};

static inline int folder_setup(void **state)
{
	struct folder *folder = calloc(1, sizeof(*folder));
	assert_non_null(folder);
	folder->env = env_os_new(1);
	assert_non_null(folder->env);
	strcpy(folder->path, "/tmp/parley-suite-XXXXXX");
	assert_non_null(mkdtemp(folder->path));
	*state = folder;
	return 0;
}

static inline int folder_teardown(void **state)
{
	struct folder *folder = *state;
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder->path);
	assert_int_equal(system(command), 0);
	env_os_free(folder->env);
	free(folder);
	return 0;
}

/* "FOLDER/name" in a buffer of the caller. */
static inline const char *folder_path(const struct folder *folder, const char *name, char path[256])
{
	snprintf(path, 256, "%s/%s", folder->path, name);
	return path;
}

static inline void folder_write(const struct folder *folder, const char *name, const void *data,
				size_t size)
{
	char path[256];
	FILE *file = fopen(folder_path(folder, name, path), "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static inline void folder_write_text(const struct folder *folder, const char *name,
				     const char *text)
{
	folder_write(folder, name, text, strlen(text));
}

/* The path of a published data set, from PARLEY_DATA or beside the source tree; skips the test
 * where it is missing. */
static inline const char *data_path(const char *name, char path[512])
{
	const char *root = getenv("PARLEY_DATA");
	snprintf(path, 512, "%s/%s", root ? root : SOURCE_ROOT "/../shared/data", name);
	if (access(path, R_OK) != 0) {
		print_message("SKIP: %s is missing\n", path);
		skip();
	}
	return path;
}

#endif
