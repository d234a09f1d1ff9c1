/* Other projects' data sets, and the suites that come of them.
 *
 * The first byte: the format to read the rest as (found out where there are not so many), or, from
 * 128 on, the rest is suite.yaml, a NUL byte and items.jsonl. */
#include "fuzz_folder.h"

#include "suite/import.h"
#include "suite/suite.h"

#include <sys/mman.h>

#define ITEMS 8 /* as many are rendered */

static void empty_folder(const char *folder)
{
	static const char *const names[] = {"suite.yaml", "items.jsonl", "transcript.jsonl"};
	char path[FUZZ_FOLDER_SIZE + 32];
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
}

/* Every item of a suite that loads can be asked, and its leaf counted. */
static void use(const struct suite *suite)
{
	struct err err = ERR_INIT;
	uint8_t root[SHA256_SIZE];
	FUZZ_CHECK(suite_count(suite) > 0);
	for (size_t i = 0; i < suite_count(suite) && i < ITEMS; i++) {
		struct suite_item item;
		if (suite_item_render(suite, i, &item, &err) == ERR_OK) {
			FUZZ_CHECK(item.words && item.scorer);
			suite_item_release(&item);
		} else {
			FUZZ_CHECK(err.message[0]);
		}
	}
	if (suite_root(suite, root, &err) != ERR_OK)
		FUZZ_CHECK(err.message[0]);
}

static void import(struct env *env, const char *folder, struct bytes content, const char *format)
{
	struct suite_import_options options = {
		.format = format, .prompt_field = "prompt", .target_field = "target"};
	struct suite_imported imported = {0};
	struct suite *suite = NULL;
	struct err err = ERR_INIT;
	char path[64];
	int file = memfd_create("input", 0);
	FUZZ_CHECK(file >= 0 && write(file, content.data, content.size) == (ssize_t)content.size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	empty_folder(folder);
	if (suite_import(env, &options, path, folder, &imported, &err) != ERR_OK) {
		FUZZ_CHECK(err.message[0]);
	} else {
		FUZZ_CHECK(imported.items > 0 && imported.format);
		if (suite_load(env, folder, &suite, &err) == ERR_OK)
			use(suite);
		else
			FUZZ_CHECK(err.message[0]);
	}
	suite_free(suite);
	close(file);
}

static void parse(struct bytes text)
{
	struct bytes items, yaml = bytes_split(text, '\0', &items);
	struct suite *suite = NULL;
	struct err err = ERR_INIT;
	if (suite_parse(yaml, items, "suite", &suite, &err) == ERR_OK)
		use(suite);
	else
		FUZZ_CHECK(!suite && err.message[0]);
	suite_free(suite);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct env *env;
	static const char *folder;
	struct bytes input = fuzz_input(data, size);
	unsigned choice = fuzz_take(&input), formats = 0;
	if (!env) {
		folder = fuzz_folder("import");
		env = env_os_new(1);
		FUZZ_CHECK(env);
	}
	while (suite_import_format(formats))
		formats++;
	struct bytes copy = fuzz_copy(input);
	if (choice >= 128)
		parse(copy);
	else
		import(env, folder, copy, choice < formats ? suite_import_format(choice) : NULL);
	free((char *)copy.data);
	return 0;
}
