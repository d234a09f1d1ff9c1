/* The machine may write less than it was given: the rest follows, and a log is what it would be. */
#include "fixture.h"

#include <limits.h>
#include <sys/types.h>

static atomic_uint writes, short_at, short_writes;

ssize_t __real_pwrite64(int file, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int file, const void *data, size_t size, off_t offset);

/* short_at 0: each of them. */
ssize_t __wrap_pwrite64(int file, const void *data, size_t size, off_t offset)
{
	unsigned now = atomic_fetch_add(&writes, 1) + 1;
	if (size < 2 || (short_at != 0 && now != short_at))
		return __real_pwrite64(file, data, size, offset);
	atomic_fetch_add(&short_writes, 1);
	return __real_pwrite64(file, data, short_at ? size / 2 : (size + 2) / 3, offset);
}

/* Each write in turn takes half of what it was given, and then all of them a third of what is left:
 * nobody notices. */
static void test_short_writes_are_carried_on_with(void **state)
{
	struct fixture fixture;
	struct log_check check = {0};
	struct log_check_result result;
	uint64_t records = 0;
	char mark[1024];
	(void)state;
	fixture_init(&fixture);
	fixture_path(&fixture, "signed.mark", mark);
	fixture.options.mark = mark;
	unsigned at = 1, calls = 1;
	for (; calls > 0; at = calls < at ? 0 : at + 1) {
		writes = 0;
		short_at = at;
		fixture_start(&fixture);
		fixture_append(&fixture, 40, true);
		fixture_stop(&fixture);
		calls = at == 0 ? 0 : writes;
		records += 80;
		short_at = UINT_MAX;
		assert_int_equal(fixture.fatal, 0);
		assert_works(log_check_directory(fixture.env, fixture.directory, &check, &result,
						 &fixture.err),
			     &fixture.err);
		assert_int_equal(result.records, records);
		assert_int_equal(result.covered, records);
	}
	assert_true(short_writes > 20);
	print_message("%u short writes\n", short_writes);
	fixture_release(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short_writes_are_carried_on_with),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
