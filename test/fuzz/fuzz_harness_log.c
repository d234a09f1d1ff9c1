/* Other harnesses' logs: the archive, and whatever JSON may stand in it. */
#include "fuzz.h"

#include "suite/zip.h"
#include "verify/harness.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void look_into(struct env *env, const char *path)
{
	struct zip *zip;
	struct err err = ERR_INIT;
	if (zip_open(env, path, &zip, &err) != ERR_OK) {
		FUZZ_CHECK(err.message[0]);
		return;
	}
	for (size_t i = 0; i < zip_count(zip) && i < 16; i++) {
		const struct zip_entry *entry = zip_at(zip, i);
		struct buf content = BUF_INIT(1 << 20);
		FUZZ_CHECK(zip_find(zip, entry->name) == entry);
		if (zip_read(zip, entry, &content, &err) == ERR_OK)
			FUZZ_CHECK(content.size == entry->size);
		buf_release(&content);
	}
	zip_close(zip);
}

static void check(struct env *env, const char *path)
{
	struct verify_report report = {.subject = "nothing"};
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT(1 << 20);
	if (check_harness_file(env, path, &report, &err) == ERR_OK) {
		FUZZ_CHECK(report.headline[0] && report.verdict != VERIFY_VOUCHED);
		verify_report_text(&report, &text);
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	buf_release(&text);
	verify_report_release(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct env *env;
	char path[64];
	int file = memfd_create("log", 0);
	if (!env)
		env = env_os_new(1);
	FUZZ_CHECK(env && file >= 0 && write(file, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	look_into(env, path);
	check(env, path);
	close(file);
	return 0;
}
