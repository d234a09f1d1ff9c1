#include "check.h"

#include "ledger/tile.h"

static void expect_path(bool entries, unsigned level, uint64_t number, unsigned width,
			const char *expected)
{
	char path[TILE_PATH_SIZE];
	struct tile tile = {entries, level, number, width}, again;
	assert_int_equal(tile_path(&tile, path), strlen(expected));
	assert_string_equal(path, expected);
	assert_true(tile_parse(bytes_from(path), &again));
	assert_int_equal(again.entries, entries);
	assert_int_equal(again.level, level);
	assert_int_equal(again.number, number);
	assert_int_equal(again.width, width);
}

static void test_paths(void **state)
{
	(void)state;
	expect_path(false, 0, 0, 256, "tile/0/000");
	expect_path(false, 0, 1234067, 256, "tile/0/x001/x234/067");
	expect_path(false, 1, 1000, 255, "tile/1/x001/000.p/255");
	expect_path(true, 0, 999, 1, "tile/entries/999.p/1");
	expect_path(false, 63, UINT64_C(1) << 40, 256, "tile/63/x001/x099/x511/x627/776");
}

static void test_other_paths_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"tile",
		"tile/",
		"tile/0",
		"tile/0/",
		"tile/0/0",
		"tile/0/0000",
		"tile/00/000",
		"tile/64/000",
		"tile/-1/000",
		"tile/0/x000/000",
		"tile/0/x001",
		"tile/0/x001/",
		"tile/0/001/000",
		"tile/0/x01/000",
		"tile/0/000.p/0",
		"tile/0/000.p/256",
		"tile/0/000.p/01",
		"tile/0/000.p/",
		"tile/0/000.p",
		"tile/0/000.p/1/",
		"tile/entries/",
		"tile/entries/00a",
		"tile/data/000",
		"/tile/0/000",
		"tile/0/000/",
		"tile/0/ 00",
		"tile/0/+00",
		"tile/0/x001/x001/x001/x001/x001/x001/x001/x001",
	};
	struct tile tile;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (tile_parse(bytes_from(bad[i]), &tile))
			fail_msg("accepted: %s", bad[i]);
}

static void test_widths(void **state)
{
	(void)state;
	assert_int_equal(tile_width_at(0, 0, 0), 0);
	assert_int_equal(tile_width_at(1, 0, 0), 1);
	assert_int_equal(tile_width_at(255, 1, 0), 0);
	assert_int_equal(tile_width_at(256, 0, 0), 256);
	assert_int_equal(tile_width_at(256, 0, 1), 0);
	assert_int_equal(tile_width_at(256, 1, 0), 1);
	assert_int_equal(tile_width_at(70000, 0, 273), 112);
	assert_int_equal(tile_width_at(70000, 1, 0), 256);
	assert_int_equal(tile_width_at(70000, 1, 1), 17);
	assert_int_equal(tile_width_at(70000, 2, 0), 1);
	assert_int_equal(tile_width_at(UINT64_MAX, 0, UINT64_MAX), 0);
	assert_int_equal(tile_width_at(UINT64_MAX, 63, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_other_paths_are_refused),
		cmocka_unit_test(test_widths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
