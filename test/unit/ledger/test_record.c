#include "check.h"

#include "base/json.h"
#include "ledger/record.h"

#define ID "00000000002a0102030405060708090a"

/* The line is what RFC 8785 makes of its own content. */
static void expect_canonical(const char *line, size_t size)
{
	struct err err = ERR_INIT;
	struct buf canonical = BUF_INIT(1 << 20);
	json_t *tree;
	assert_works(json_parse(bytes_of(line, size), "record", &tree, &err), &err);
	assert_works(json_canonical(tree, &canonical, &err), &err);
	assert_int_equal(canonical.size, size);
	assert_memory_equal(canonical.data, line, size);
	json_decref(tree);
	buf_release(&canonical);
}

static struct record small_record(void)
{
	struct record record = RECORD_INIT;
	record.kind = RECORD_ADMIT;
	record.id = ID;
	record.time_ms = 1793534400123;
	return record;
}

static void test_smallest(void **state)
{
	(void)state;
	char line[256];
	struct record record = small_record();
	size_t size = record_format(&record, line, sizeof(line));
	static const char expected[] = "{\"id\":\"" ID "\",\"kind\":\"admit\","
				       "\"time\":\"2026-11-01T12:00:00.123Z\"}";
	assert_int_equal(size, strlen(expected));
	assert_memory_equal(line, expected, size);
}

static void test_all_members_in_order(void **state)
{
	(void)state;
	char line[RECORD_SIZE_MAX];
	uint8_t digest[32] = {0xab, 1, 2};
	struct record_usage usage = {1, 2, 3, 4, true};
	struct record record = small_record();
	struct bytes *const strings[] = {
		&record.act,    &record.admit,   &record.clause, &record.grant,  &record.key,
		&record.model,  &record.name,    &record.org,    &record.person, &record.purpose,
		&record.reason, &record.release, &record.rule,   &record.run,    &record.safeguards,
		&record.served, &record.suite,   &record.target, &record.team,   &record.verdict};
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		*strings[i] = BYTES("text");
	record.detail = BYTES("{\"a\":[1,2]}");
	record.answer = record.document = record.plan = digest;
	record.request = record.response = record.root = digest;
	record.leaf = record.sample = 0;
	record.samples = 5;
	record.count = 12;
	record.status = 200;
	record.ending = RECORD_ENDING_CLIENT_GONE;
	record.score = 0.25;
	record.usage = &usage;
	record.truncated = true;
	size_t size = record_format(&record, line, sizeof(line));
	assert_true(size > 0);
	expect_canonical(line, size);
	json_t *tree = json_loadb(line, size, 0, NULL);
	assert_int_equal(json_object_size(tree), 20 + 3 + 1 + 6 + 2 + 3 + 1 + 1 + 1 + 1);
	assert_string_equal(json_string_value(json_object_get(tree, "truncated")), "possible");
	assert_string_equal(json_string_value(json_object_get(tree, "ending")), "client_gone");
	json_t *used = json_object_get(tree, "usage");
	assert_int_equal(json_integer_value(json_object_get(used, "input")), 1);
	assert_int_equal(json_integer_value(json_object_get(used, "output")), 4);
	assert_true(json_is_true(json_object_get(used, "estimated")));
	json_decref(tree);

	/* No capacity that is too small is written beyond. */
	for (size_t capacity = 0; capacity < size; capacity++) {
		line[capacity] = 0x7f;
		assert_int_equal(record_format(&record, line, capacity), 0);
		assert_int_equal(line[capacity], 0x7f);
	}
	assert_int_equal(record_format(&record, line, size), size);
}

static void test_awkward_strings(void **state)
{
	(void)state;
	char line[RECORD_SIZE_MAX], all[128];
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	struct record record = small_record();
	record.reason = bytes_of(all + 1, sizeof(all) - 1);
	record.served = BYTES("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
	size_t size = record_format(&record, line, sizeof(line));
	expect_canonical(line, size);
	record.served = bytes_of(all, 1);
	assert_true(record_format(&record, line, sizeof(line)) > 0);

	/* What is no UTF-8 becomes U+FFFD, byte by byte. */
	record.reason = BYTES("");
	record.served = BYTES("a\xff\xc3(\xed\xa0\x80\xe2\x82");
	size = record_format(&record, line, sizeof(line));
	json_t *tree = json_loadb(line, size, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(tree, "served")),
			    "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
			    "\xef\xbf\xbd\xef\xbf\xbd");
	json_decref(tree);
}

static void test_too_long(void **state)
{
	(void)state;
	static char long_text[RECORD_SIZE_MAX], line[2 * RECORD_SIZE_MAX];
	memset(long_text, 'x', sizeof(long_text));
	struct record record = small_record();
	record.reason = bytes_of(long_text, sizeof(long_text));
	assert_int_equal(record_format(&record, line, sizeof(line)), 0);
	record.reason.size -= 200;
	assert_true(record_format(&record, line, sizeof(line)) > 0);
}

static void test_times(void **state)
{
	(void)state;
	static const struct {
		int64_t ms;
		const char *text;
	} times[] = {
		{0,               "1970-01-01T00:00:00.000Z"},
		{-5,              "1970-01-01T00:00:00.000Z"},
		{951782399999,    "2000-02-28T23:59:59.999Z"},
		{951782400000,    "2000-02-29T00:00:00.000Z"},
		{1709251199001,   "2024-02-29T23:59:59.001Z"},
		{1735689599999,   "2024-12-31T23:59:59.999Z"},
		{4107542400000,   "2100-03-01T00:00:00.000Z"},
		{253402300799999, "9999-12-31T23:59:59.999Z"},
		{INT64_MAX,       "9999-12-31T23:59:59.999Z"},
	};
	char text[RECORD_TIME_SIZE];
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		record_time(times[i].ms, text);
		assert_string_equal(text, times[i].text);
	}
}

static void test_ids(void **state)
{
	(void)state;
	uint64_t index;
	assert_true(record_id_index(BYTES(ID), &index));
	assert_int_equal(index, 42);
	assert_false(record_id_index(BYTES("00000000002a"), &index));
	assert_false(record_id_index(BYTES("00000000002a0102030405060708090g"), &index));
	assert_true(record_admit_index(BYTES("{\"admit\":\"" ID "\",\"id\":\"x\"}"), &index));
	assert_int_equal(index, 42);
	assert_false(record_admit_index(BYTES("{\"admit\":\"0000\"}"), &index));
	assert_false(record_admit_index(BYTES("{\"id\":\"" ID "\"}"), &index));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_smallest),        cmocka_unit_test(test_all_members_in_order),
		cmocka_unit_test(test_awkward_strings), cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_times),           cmocka_unit_test(test_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
