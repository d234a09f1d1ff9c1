/* A log's directory, written by the real log. */
#include "fixture.h"

#include "ledger/log.h"
#include "ledger/log_read.h"
#include "ledger/segment.h"

#include <unistd.h>

#define ORIGIN "north.example/parley"
#define RECORDS 12

struct entry {
	struct log_entry entry;
	char text[600];
};

struct case_state {
	struct env *env;
	char directory[64];
	char vkey[300];
	struct verify_report report;
	struct entry entries[2 * RECORDS + 4];
	size_t count;
	struct log *log;
	struct log_producer producer;
};

static void ignore(struct log_entry *entry)
{
	(void)entry;
}

static uint64_t submit(struct case_state *test, enum record_kind kind, uint64_t admit,
		       const char *id_override)
{
	struct entry *entry = &test->entries[test->count++];
	struct record record = RECORD_INIT;
	char id[RECORD_ID_SIZE + 1], admit_id[RECORD_ID_SIZE + 1] = "";
	uint64_t index = log_take_index(test->log);
	log_record_id(test->log, index, id);
	record.kind = kind;
	record.id = id_override ? id_override : id;
	record.time_ms = 1793534400123;
	record.grant = BYTES("south-eval-1");
	if (kind == RECORD_ACT) {
		record.act = BYTES("grant.suspend");
		record.detail = BYTES("{\"id\":\"something else\"}");
	}
	if (admit != LOG_NO_INDEX) {
		log_record_id(test->log, admit, admit_id);
		record.admit = bytes_from(admit_id);
	}
	size_t size = record_format(&record, entry->text, sizeof(entry->text));
	entry->entry = (struct log_entry){.index = index,
					  .admit_index = admit,
					  .kind = kind,
					  .units = log_units(size),
					  .text = entry->text,
					  .size = size,
					  .durable = ignore};
	for (unsigned tries = 0; !log_reserve(test->log, entry->entry.units); tries++) {
		assert_true(tries < 20000);
		usleep(500);
	}
	log_submit(&test->producer, &entry->entry);
	return index;
}

static void fatal(void *argument, const struct err *err)
{
	(void)argument;
	fail_msg("%s", err->message);
}

static void wait_until_durable(struct case_state *test)
{
	struct log_stats stats;
	for (unsigned tries = 0; tries < 20000; tries++) {
		log_producer_turn(&test->producer, true);
		log_get_stats(test->log, &stats);
		if (stats.records == test->count)
			return;
		usleep(500);
	}
	fail_msg("the log does not get on");
}

/* This thread is the producer's loop, which never sleeps. */
static void write_log(struct case_state *test, void (*fill)(struct case_state *test))
{
	uint8_t seed[ED25519_KEY_SIZE] = {5};
	struct err err = ERR_INIT;
	struct ed25519_private *key = ed25519_from_seed(seed);
	struct env_loop *log_loop = env_loop_new(test->env, "log", true);
	struct env_loop *loop = env_loop_new(test->env, "producer", false);
	struct log_options options = {.directory = test->directory,
				      .origin = ORIGIN,
				      .key = key,
				      .secret = "a secret of thirty-two bytes....",
				      .segment_size = LOG_SEGMENT_SIZE_MIN,
				      .fatal = fatal};
	if (log_open(test->env, log_loop, &options, &test->log, &err) != ERR_OK)
		fail_msg("%s", err.message);
	struct buf vkey = BUF_INIT(1024);
	log_append_vkey(test->log, &vkey);
	snprintf(test->vkey, sizeof(test->vkey), "%s", vkey.data);
	buf_release(&vkey);
	log_producer_init(&test->producer, test->log, loop);
	assert_int_equal(env_loop_start(log_loop, -1, &err), ERR_OK);
	fill(test);
	wait_until_durable(test);
	env_loop_stop(log_loop);
	env_loop_join(log_loop);
	log_producer_close(&test->producer);
	if (log_close(test->log, &err) != ERR_OK)
		fail_msg("%s", err.message);
	env_loop_free(loop);
	env_loop_free(log_loop);
	ed25519_free(key);
}

static int setup(void **state)
{
	struct case_state *test = calloc(1, sizeof(*test));
	assert_non_null(test);
	test->env = env_os_new(1);
	strcpy(test->directory, "/tmp/parley-verify-log-XXXXXX");
	assert_non_null(mkdtemp(test->directory));
	*state = test;
	return 0;
}

static int teardown(void **state)
{
	struct case_state *test = *state;
	char command[128];
	verify_report_release(&test->report);
	env_os_free(test->env);
	snprintf(command, sizeof(command), "rm -rf '%s'", test->directory);
	assert_int_equal(system(command), 0);
	free(test);
	return 0;
}

static void expect(struct case_state *test, const char *key, enum verify_verdict verdict,
		   const char *words)
{
	struct err err = ERR_INIT;
	struct verify_options options = {.keys = &key, .key_count = key != NULL};
	verify_report_release(&test->report);
	if (verify_path(test->env, test->directory, &options, &test->report, &err) != ERR_OK)
		fail_msg("%s", err.message);
	if (test->report.verdict != verdict || !strstr(test->report.headline, words))
		fail_msg("expected \"%s\", got: %s", words, test->report.headline);
	assert_string_equal(test->report.subject, "log");
}

static void fill_honest(struct case_state *test)
{
	for (unsigned i = 0; i < RECORDS; i++) {
		uint64_t admit = submit(test, RECORD_ADMIT, LOG_NO_INDEX, NULL);
		if (i > 0)
			submit(test, RECORD_SETTLE, admit, NULL);
	}
	submit(test, RECORD_ACT, LOG_NO_INDEX, NULL);
}

static bool has_note(const struct case_state *test, const char *words)
{
	for (size_t i = 0; i < test->report.count; i++)
		if (strstr(test->report.notes[i].text, words))
			return true;
	return false;
}

static void test_honest_log(void **state)
{
	struct case_state *test = *state;
	char path[128];
	write_log(test, fill_honest);
	expect(test, test->vkey, VERIFY_VOUCHED, "VOUCHED by " ORIGIN "; 24 records");
	assert_true(has_note(test, "12 admit, 11 settle, 1 act"));
	assert_true(has_note(test, "1 admitted requests have no outcome yet"));
	expect(test, NULL, VERIFY_SELF_CERTIFIED, "24 records of a log that calls itself " ORIGIN);
	assert_true(has_note(test, "the checkpoint's signature: no key"));
	/* A key that lies beside is enough for the signature, and vouches for nothing. */
	snprintf(path, sizeof(path), "%s/vkey", test->directory);
	file_write(path, bytes_from(test->vkey));
	expect(test, NULL, VERIFY_SELF_CERTIFIED, "calls itself");
	assert_false(has_note(test, "the checkpoint's signature: no key"));
}

static void test_home_made_log(void **state)
{
	struct case_state *test = *state;
	struct ledger real = {0};
	write_log(test, fill_honest);
	ledger_init(&real, ORIGIN, 77);
	expect(test, real.vkey_text, VERIFY_FALSE, "FALSE: checkpoint: it is not signed");
	ledger_release(&real);
}

static void fill_foreign_id(struct case_state *test)
{
	submit(test, RECORD_ADMIT, LOG_NO_INDEX, NULL);
	submit(test, RECORD_ADMIT, LOG_NO_INDEX, "00000000000000000000000000000007");
}

static void test_id_of_another_place(void **state)
{
	struct case_state *test = *state;
	write_log(test, fill_foreign_id);
	expect(test, test->vkey, VERIFY_FALSE, "record 1 has an id of another place");
}

static void fill_two_outcomes(struct case_state *test)
{
	uint64_t admit = submit(test, RECORD_ADMIT, LOG_NO_INDEX, NULL);
	submit(test, RECORD_SETTLE, admit, NULL);
	submit(test, RECORD_UNKNOWN, admit, NULL);
}

static void test_two_outcomes(void **state)
{
	struct case_state *test = *state;
	write_log(test, fill_two_outcomes);
	expect(test, test->vkey, VERIFY_FALSE,
	       "record 2 is the outcome of no open admission before it");
}

static void test_altered_record(void **state)
{
	struct case_state *test = *state;
	char name[SEGMENT_NAME_SIZE], path[128];
	struct buf text = BUF_INIT((size_t)1 << 20);
	write_log(test, fill_honest);
	segment_name(0, name);
	snprintf(path, sizeof(path), "%s/segments/%s", test->directory, name);
	file_read(path, &text);
	char *at = memmem(text.data, text.size, "south-eval-1", 12);
	assert_non_null(at);
	*at = 'n';
	file_write(path, buf_bytes(&text));
	expect(test, test->vkey, VERIFY_FALSE, name);
	buf_release(&text);
}

static void test_altered_checkpoint(void **state)
{
	struct case_state *test = *state;
	char path[128];
	struct buf text = BUF_INIT(65536);
	write_log(test, fill_honest);
	snprintf(path, sizeof(path), "%s/checkpoint", test->directory);
	file_read(path, &text);
	char *size = strstr(text.data, "\n24\n");
	assert_non_null(size);
	size[2] = '3';
	file_write(path, buf_bytes(&text));
	expect(test, test->vkey, VERIFY_FALSE, "checkpoint");
	buf_release(&text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_honest_log),   CASE(test_home_made_log),  CASE(test_id_of_another_place),
		CASE(test_two_outcomes), CASE(test_altered_record), CASE(test_altered_checkpoint),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
