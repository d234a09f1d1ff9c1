/* Receipts that stand alone, in their three forms. */
#include "fixture.h"

#include "base/json.h"

#define ORIGIN "north.example/parley"

struct case_state {
	struct env *env;
	struct ledger ledger;
	char directory[64], path[128], record_path[128];
	struct verify_report report;
};

static int setup(void **state)
{
	struct case_state *test = calloc(1, sizeof(*test));
	char id[33];
	assert_non_null(test);
	test->env = env_os_new(1);
	strcpy(test->directory, "/tmp/parley-receipt-XXXXXX");
	assert_non_null(mkdtemp(test->directory));
	snprintf(test->path, sizeof(test->path), "%s/a.tlog-proof", test->directory);
	snprintf(test->record_path, sizeof(test->record_path), "%s/record", test->directory);
	ledger_init(&test->ledger, ORIGIN, 5);
	for (unsigned i = 0; i < 7; i++) {
		struct record record = RECORD_INIT;
		record.kind = i % 2 ? RECORD_SETTLE : RECORD_ADMIT;
		record.grant = BYTES("south-eval-1");
		ledger_add(&test->ledger, &record, id);
	}
	*state = test;
	return 0;
}

static int teardown(void **state)
{
	struct case_state *test = *state;
	char command[128];
	verify_report_release(&test->report);
	ledger_release(&test->ledger);
	env_os_free(test->env);
	snprintf(command, sizeof(command), "rm -rf '%s'", test->directory);
	assert_int_equal(system(command), 0);
	free(test);
	return 0;
}

static void write_receipt(struct case_state *test, size_t index, bool embed)
{
	struct buf text = BUF_INIT(65536);
	ledger_receipt(&test->ledger, index, test->ledger.count, embed, &text);
	file_write(test->path, buf_bytes(&text));
	buf_release(&text);
}

static enum err_code run(struct case_state *test, const char *key, const char *record,
			 struct err *err)
{
	struct verify_options options = {.keys = &key, .key_count = key != NULL, .record = record};
	verify_report_release(&test->report);
	return verify_path(test->env, test->path, &options, &test->report, err);
}

static void expect(struct case_state *test, const char *key, const char *record,
		   enum verify_verdict verdict, const char *words)
{
	struct err err = ERR_INIT;
	if (run(test, key, record, &err) != ERR_OK)
		fail_msg("%s", err.message);
	if (test->report.verdict != verdict || !strstr(test->report.headline, words))
		fail_msg("expected \"%s\", got: %s", words, test->report.headline);
	assert_string_equal(test->report.subject, "receipt");
}

static void test_with_its_record(void **state)
{
	struct case_state *test = *state;
	for (size_t i = 0; i < test->ledger.count; i++) {
		write_receipt(test, i, true);
		expect(test, test->ledger.vkey_text, NULL, VERIFY_VOUCHED,
		       "VOUCHED by " ORIGIN "; 1 record");
		expect(test, NULL, NULL, VERIFY_SELF_CERTIFIED, "calls itself " ORIGIN);
	}
}

static void test_record_beside(void **state)
{
	struct case_state *test = *state;
	struct err err = ERR_INIT;
	write_receipt(test, 3, false);
	assert_int_equal(run(test, NULL, NULL, &err), ERR_USAGE);
	assert_non_null(strstr(err.message, "--record"));
	file_write(test->record_path, bytes_from(test->ledger.records[3]));
	expect(test, test->ledger.vkey_text, test->record_path, VERIFY_VOUCHED, ORIGIN);
	struct buf text = BUF_INIT(65536);
	buf_printf(&text, "%s\n", test->ledger.records[3]);
	file_write(test->record_path, buf_bytes(&text));
	expect(test, test->ledger.vkey_text, test->record_path, VERIFY_VOUCHED, ORIGIN);
	file_write(test->record_path, bytes_from(test->ledger.records[4]));
	expect(test, test->ledger.vkey_text, test->record_path, VERIFY_FALSE,
	       "FALSE: the record is not entry 3");
	buf_release(&text);
}

static void test_as_served(void **state)
{
	struct case_state *test = *state;
	struct buf text = BUF_INIT((size_t)1 << 20), proof = BUF_INIT(65536);
	buf_append_cstr(&text, "{\"receipts\":[");
	for (size_t i = 2; i < 4; i++) {
		buf_clear(&proof);
		ledger_receipt(&test->ledger, i, 4 + i, false, &proof);
		buf_append_cstr(&text, i > 2 ? ",{\"record\":" : "{\"record\":");
		json_append_string(&text, bytes_from(test->ledger.records[i]));
		buf_append_cstr(&text, ",\"proof\":");
		json_append_string(&text, buf_bytes(&proof));
		buf_append_cstr(&text, "}");
	}
	buf_append_cstr(&text, "]}");
	file_write(test->path, buf_bytes(&text));
	expect(test, test->ledger.vkey_text, NULL, VERIFY_VOUCHED, "2 records");
	file_write(test->path, BYTES("{\"receipts\":[]}"));
	expect(test, test->ledger.vkey_text, NULL, VERIFY_FALSE, "there is none");
	file_write(test->path, BYTES("{\"receipts\":[{}]}"));
	expect(test, test->ledger.vkey_text, NULL, VERIFY_FALSE, "receipts[0]");
	buf_release(&text);
	buf_release(&proof);
}

static void test_home_made_key(void **state)
{
	struct case_state *test = *state;
	struct ledger other = {0};
	ledger_init(&other, ORIGIN, 6);
	write_receipt(test, 1, true);
	expect(test, other.vkey_text, NULL, VERIFY_FALSE, "not signed with the key that you gave");
	ledger_release(&other);
	ledger_init(&other, "south.example/parley", 6);
	expect(test, other.vkey_text, NULL, VERIFY_SELF_CERTIFIED, "calls itself " ORIGIN);
	ledger_release(&other);
}

/* Every byte of a receipt matters: whichever is changed, it is not vouched for as it was. */
static void test_every_byte(void **state)
{
	struct case_state *test = *state;
	struct buf text = BUF_INIT(65536);
	struct err err = ERR_INIT;
	ledger_receipt(&test->ledger, 2, 7, true, &text);
	for (size_t i = 0; i < text.size; i++) {
		text.data[i] ^= 2;
		file_write(test->path, buf_bytes(&text));
		enum err_code code = run(test, test->ledger.vkey_text, NULL, &err);
		if (code == ERR_OK && test->report.verdict == VERIFY_VOUCHED)
			fail_msg("byte %zu (%c) does not matter", i, text.data[i]);
		text.data[i] ^= 2;
	}
	buf_release(&text);
}

static void test_id_of_another_place(void **state)
{
	struct case_state *test = *state;
	char *kept = test->ledger.records[4];
	test->ledger.records[4] = strdup(test->ledger.records[2]);
	write_receipt(test, 4, true);
	expect(test, test->ledger.vkey_text, NULL, VERIFY_FALSE, "is not entry 4 by its id");
	free(kept);
}

static void test_neither_file_nor_receipt(void **state)
{
	struct case_state *test = *state;
	struct err err = ERR_INIT;
	struct verify_options options = {0};
	verify_report_release(&test->report);
	assert_int_equal(verify_path(test->env, "/nowhere/at/all", &options, &test->report, &err),
			 ERR_USAGE);
	assert_int_equal(verify_path(test->env, test->directory, &options, &test->report, &err),
			 ERR_USAGE);
	file_write(test->path, BYTES("hello"));
	expect(test, NULL, NULL, VERIFY_FALSE, "a proof starts with the line");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_with_its_record),
		CASE(test_record_beside),
		CASE(test_as_served),
		CASE(test_home_made_key),
		CASE(test_every_byte),
		CASE(test_id_of_another_place),
		CASE(test_neither_file_nor_receipt),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
