/* The journal: what was written is there again, a torn line is cut off, damage is named. */
#include "bench/journal.h"

#include "provider.h"

#include <stdio.h>
#include <stdlib.h>

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

struct fixture {
	struct env *env;
	char folder[256], path[300];
	uint8_t plan[SHA256_SIZE];
	struct journal journal;
	unsigned lines;
	int64_t last;
	uint64_t torn;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	fixture->env = env_os_new(1);
	folder_make(fixture->folder);
	snprintf(fixture->path, sizeof(fixture->path), "%s/journal.jsonl", fixture->folder);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	env_os_free(fixture->env);
	folder_remove(fixture->folder);
	free(fixture);
	return 0;
}

static void create(struct fixture *fixture)
{
	assert_int_equal(journal_create(&fixture->journal, fixture->env, fixture->path,
					fixture->plan, 1, NULL),
			 ERR_OK);
}

static void append(struct fixture *fixture, unsigned number)
{
	buf_printf(journal_begin(&fixture->journal), "{\"event\":\"x\",\"n\":%u}", number);
	journal_end(&fixture->journal);
}

static enum err_code take(void *argument, const json_t *line, uint64_t offset, struct bytes text,
			  struct err *err)
{
	struct fixture *fixture = argument;
	(void)offset;
	(void)text;
	(void)err;
	fixture->lines++;
	fixture->last = json_integer_value(json_object_get(line, "n"));
	return ERR_OK;
}

static enum err_code reopen(struct fixture *fixture, struct err *err)
{
	fixture->lines = 0;
	return journal_open(&fixture->journal, fixture->env, fixture->path, fixture->plan, take,
			    fixture, &fixture->torn, err);
}

static void lines_come_back_in_order(void **state)
{
	struct fixture *fixture = *state;
	struct buf line = BUF_INIT(65536);
	create(fixture);
	uint64_t second = 0;
	for (unsigned i = 1; i <= 3; i++) {
		if (i == 2)
			second = journal_offset(&fixture->journal);
		append(fixture, i);
	}
	assert_int_equal(journal_sync_now(&fixture->journal, NULL), ERR_OK);
	assert_int_equal(fixture->journal.synced, journal_offset(&fixture->journal));
	assert_int_equal(journal_read(&fixture->journal, second, &line, NULL), ERR_OK);
	assert_string_equal(line.data, "{\"event\":\"x\",\"n\":2}");
	journal_close(&fixture->journal);
	assert_int_equal(reopen(fixture, NULL), ERR_OK);
	assert_int_equal(fixture->lines, 3);
	assert_int_equal(fixture->last, 3);
	assert_int_equal(fixture->torn, 0);
	journal_close(&fixture->journal);
	buf_release(&line);
}

static unsigned complete_lines(const char *text, size_t size)
{
	unsigned lines = 0;
	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	return lines;
}

/* After the cut the journal holds the complete lines, and goes on from there. */
static void every_cut_keeps_the_complete_lines(void **state)
{
	struct fixture *fixture = *state;
	create(fixture);
	for (unsigned i = 1; i <= 5; i++)
		append(fixture, i);
	assert_int_equal(journal_sync_now(&fixture->journal, NULL), ERR_OK);
	journal_close(&fixture->journal);
	char *whole = folder_read(fixture->folder, "journal.jsonl");
	size_t size = strlen(whole);
	for (size_t cut = 0; cut <= size; cut++) {
		char *part = strndup(whole, cut);
		struct err err = ERR_INIT;
		unsigned lines = complete_lines(part, cut);
		folder_write(fixture->folder, "journal.jsonl", part);
		enum err_code code = reopen(fixture, &err);
		free(part);
		if (lines == 0) {
			assert_int_equal(code, ERR_CORRUPT);
			assert_non_null(strstr(err.message, "before it began"));
			continue;
		}
		assert_int_equal(code, ERR_OK);
		assert_int_equal(fixture->lines, lines - 1);
		append(fixture, 77);
		assert_int_equal(journal_sync_now(&fixture->journal, NULL), ERR_OK);
		journal_close(&fixture->journal);
		assert_int_equal(reopen(fixture, NULL), ERR_OK);
		assert_int_equal(fixture->lines, lines);
		assert_int_equal(fixture->last, 77);
		journal_close(&fixture->journal);
	}
	free(whole);
}

static void damage_before_the_end_is_named(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;
	create(fixture);
	append(fixture, 1);
	append(fixture, 2);
	assert_int_equal(journal_sync_now(&fixture->journal, NULL), ERR_OK);
	journal_close(&fixture->journal);
	char *text = folder_read(fixture->folder, "journal.jsonl");
	*(strchr(text, '\n') + 1) = '!';
	folder_write(fixture->folder, "journal.jsonl", text);
	assert_int_equal(reopen(fixture, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.message, "line 2"));
	char *after = folder_read(fixture->folder, "journal.jsonl");
	assert_string_equal(text, after); /* nothing was cut off */
	free(text);
	free(after);
}

static void a_journal_of_another_plan_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;
	create(fixture);
	journal_close(&fixture->journal);
	fixture->plan[0] ^= 1;
	assert_int_equal(reopen(fixture, &err), ERR_MISMATCH);
}

static void two_processes_cannot_share_it(void **state)
{
	struct fixture *fixture = *state;
	struct journal second;
	struct err err = ERR_INIT;
	uint64_t torn;
	create(fixture);
	assert_int_equal(journal_open(&second, fixture->env, fixture->path, fixture->plan, take,
				      fixture, &torn, &err),
			 ERR_LOCKED);
	assert_int_equal(
		journal_create(&second, fixture->env, fixture->path, fixture->plan, 1, &err),
		ERR_EXISTS);
	journal_close(&fixture->journal);
}

static void a_missing_journal_is_not_found(void **state)
{
	struct fixture *fixture = *state;
	struct err err = ERR_INIT;
	assert_int_equal(reopen(fixture, &err), ERR_NOT_FOUND);
}

/* ---- grouped syncs ---- */

struct syncing {
	struct fixture *fixture;
	struct env_loop *loop;
	unsigned syncs;
	uint64_t target;
};

static void synced(void *argument)
{
	struct syncing *syncing = argument;
	syncing->syncs++;
	if (syncing->fixture->journal.synced == syncing->target) {
		journal_detach(&syncing->fixture->journal);
		env_loop_stop(syncing->loop);
	}
}

static void many_lines_share_a_sync(void **state)
{
	struct fixture *fixture = *state;
	struct syncing syncing = {.fixture = fixture};
	create(fixture);
	syncing.loop = env_loop_new(fixture->env, "test", false);
	journal_attach(&fixture->journal, syncing.loop, synced, &syncing);
	for (unsigned i = 0; i < 1000; i++) {
		append(fixture, i);
		journal_commit(&fixture->journal);
	}
	syncing.target = journal_offset(&fixture->journal);
	env_loop_run(syncing.loop);
	assert_in_range(syncing.syncs, 1, 4);
	assert_false(journal_is_busy(&fixture->journal));
	journal_close(&fixture->journal);
	env_loop_free(syncing.loop);
	assert_int_equal(reopen(fixture, NULL), ERR_OK);
	assert_int_equal(fixture->lines, 1000);
	journal_close(&fixture->journal);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_come_back_in_order),       TEST(every_cut_keeps_the_complete_lines),
		TEST(damage_before_the_end_is_named), TEST(a_journal_of_another_plan_is_refused),
		TEST(two_processes_cannot_share_it),  TEST(a_missing_journal_is_not_found),
		TEST(many_lines_share_a_sync),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
