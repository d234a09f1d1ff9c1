/* The store keeps what it has acknowledged, changes nothing by halves, and is never silently empty.
 */
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64];
static char path[128];

static int set_up(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/parley-store-XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/parley.db", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	char journal[160];
	snprintf(journal, sizeof(journal), "%s-journal", path);
	unlink(journal);
	unlink(path);
	return rmdir(directory);
}

static struct store *open_at(const char *where, bool create)
{
	struct store *store = NULL;
	struct err err = ERR_INIT;
	if (store_open(where, create, &store, &err) != ERR_OK)
		fail_msg("%s", err.message);
	return store;
}

static struct store_document document(enum store_kind kind, const char *id, const char *text)
{
	return (struct store_document){.kind = kind, .id = id, .document = bytes_from(text)};
}

/* "id=text[blob];…" of a kind. */
struct listing {
	char text[4096];
	size_t size;
};

static enum err_code list_one(void *argument, const struct store_document *row, struct err *err)
{
	struct listing *listing = argument;
	(void)err;
	listing->size += (size_t)snprintf(listing->text + listing->size,
					  sizeof(listing->text) - listing->size, "%s=%.*s[%.*s];",
					  row->id, BYTES_ARG(row->document), (int)row->blob.size,
					  row->blob.size ? row->blob.data : "");
	return ERR_OK;
}

static void assert_listing(struct store *store, enum store_kind kind, const char *expected)
{
	struct listing listing = {.size = 0};
	assert_int_equal(store_each(store, kind, list_one, &listing, NULL), ERR_OK);
	assert_string_equal(listing.text, expected);
}

static enum err_code list_staged(void *argument, const char *commit, int log, uint64_t position,
				 struct err *err)
{
	struct listing *listing = argument;
	(void)err;
	listing->size += (size_t)snprintf(listing->text + listing->size,
					  sizeof(listing->text) - listing->size, "%s@%d:%llu;",
					  commit, log, (unsigned long long)position);
	return ERR_OK;
}

static void assert_staged(struct store *store, const char *expected)
{
	struct listing listing = {.size = 0};
	assert_int_equal(store_each_staged(store, list_staged, &listing, NULL), ERR_OK);
	assert_string_equal(listing.text, expected);
}

static void documents_are_kept_and_replaced(void **state)
{
	(void)state;
	struct store *store = open_at(path, true);
	struct store_document rows[] = {document(STORE_ORG, "south", "{\"a\":1}"),
					document(STORE_SUITE, "s1", "{}"),
					document(STORE_ORG, "north", "{\"b\":2}")};
	rows[1].blob = BYTES("leaves");
	assert_int_equal(store_put(store, rows, 3, NULL), ERR_OK);
	struct store_document again = document(STORE_ORG, "south", "{\"a\":3}");
	assert_int_equal(store_put(store, &again, 1, NULL), ERR_OK);
	struct store_document approved = document(STORE_SUITE, "s1", "{\"x\":1}");
	assert_int_equal(store_put(store, &approved, 1, NULL), ERR_OK);
	store_close(store);
	store = open_at(path, false);
	assert_listing(store, STORE_ORG, "south={\"a\":3}[];north={\"b\":2}[];");
	/* A change of the document keeps the blob. */
	assert_listing(store, STORE_SUITE, "s1={\"x\":1}[leaves];");
	assert_listing(store, STORE_GRANT, "");
	assert_int_equal(store_erase(store, STORE_ORG, "south", NULL), ERR_OK);
	assert_int_equal(store_erase(store, STORE_ORG, "nobody", NULL), ERR_OK);
	assert_listing(store, STORE_ORG, "north={\"b\":2}[];");
	store_close(store);
}

static void one_document_is_found_by_its_id(void **state)
{
	(void)state;
	struct store *store = open_at(NULL, true);
	struct store_document rows[] = {document(STORE_ORG, "a", "{}"),
					document(STORE_ORG, "b", "[]")};
	assert_int_equal(store_put(store, rows, 2, NULL), ERR_OK);
	struct listing listing = {.size = 0};
	assert_int_equal(store_find(store, STORE_ORG, "b", list_one, &listing, NULL), ERR_OK);
	assert_string_equal(listing.text, "b=[][];");
	listing = (struct listing){.size = 0};
	assert_int_equal(store_find(store, STORE_ORG, "c", list_one, &listing, NULL), ERR_OK);
	assert_string_equal(listing.text, "");
	store_close(store);
}

static enum err_code stop_at_once(void *argument, const struct store_document *row, struct err *err)
{
	(*(int *)argument)++;
	(void)row;
	return ERR_SET(err, ERR_INTERRUPTED, "stop");
}

static void a_failing_reader_stops_the_walk(void **state)
{
	(void)state;
	struct store *store = open_at(NULL, true);
	struct store_document rows[] = {document(STORE_ORG, "a", "{}"),
					document(STORE_ORG, "b", "{}")};
	int calls = 0;
	assert_int_equal(store_put(store, rows, 2, NULL), ERR_OK);
	assert_int_equal(store_each(store, STORE_ORG, stop_at_once, &calls, NULL), ERR_INTERRUPTED);
	assert_int_equal(calls, 1);
	assert_listing(store, STORE_ORG, "a={}[];b={}[];");
	store_close(store);
}

static void staged_changes_wait_for_their_commit(void **state)
{
	(void)state;
	struct store *store = open_at(path, true);
	struct store_change changes[] = {
		{.to = document(STORE_GRANT, "g", "{\"n\":1}"), .commit = "c1"},
		{.to = document(STORE_KEY,   "k", "{}"),        .commit = "c2"},
		{.to = document(STORE_ORG,   "o", "{}"),        .commit = "c1"},
	};
	assert_int_equal(store_stage(store, 1, 42, changes, 3, NULL), ERR_OK);
	store_close(store);
	store = open_at(path, false);
	assert_listing(store, STORE_GRANT, "");
	assert_staged(store, "c1@1:42;c2@1:42;");
	assert_int_equal(store_finish(store, (const char *[]){"c1"}, 1, NULL), ERR_OK);
	assert_listing(store, STORE_GRANT, "g={\"n\":1}[];");
	assert_listing(store, STORE_ORG, "o={}[];");
	assert_listing(store, STORE_KEY, "");
	assert_int_equal(store_abandon(store, (const char *[]){"c2"}, 1, NULL), ERR_OK);
	assert_staged(store, "");
	assert_listing(store, STORE_KEY, "");
	/* Finishing what is not staged changes nothing. */
	assert_int_equal(store_finish(store, (const char *[]){"c2"}, 1, NULL), ERR_OK);
	assert_listing(store, STORE_KEY, "");
	store_close(store);
}

static void numbers_are_kept(void **state)
{
	(void)state;
	uint64_t value;
	struct store *store = open_at(path, true);
	assert_int_equal(store_get_number(store, "log.0.applied", 7, &value, NULL), ERR_OK);
	assert_int_equal(value, 7);
	assert_int_equal(store_put_number(store, "log.0.applied", 1, NULL), ERR_OK);
	assert_int_equal(store_put_number(store, "log.0.applied", INT64_MAX, NULL), ERR_OK);
	store_close(store);
	store = open_at(path, false);
	assert_int_equal(store_get_number(store, "log.0.applied", 7, &value, NULL), ERR_OK);
	assert_int_equal(value, INT64_MAX);
	store_close(store);
}

static void a_second_process_is_kept_out(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct store *first = open_at(path, true), *second = NULL;
	assert_int_equal(store_open(path, true, &second, &err), ERR_LOCKED);
	assert_null(second);
	assert_non_null(strstr(err.message, path));
	store_close(first);
}

static void write_file(const char *content, size_t size)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void a_lost_database_is_not_an_empty_policy(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct store *store = NULL;
	assert_int_not_equal(store_open(path, false, &store, &err), ERR_OK);
	assert_int_not_equal(access(path, F_OK), 0);
	write_file("", 0);
	assert_int_equal(store_open(path, false, &store, &err), ERR_CORRUPT);
	store_close(open_at(path, true));
	store_close(open_at(path, false));
}

static void what_is_not_ours_or_damaged_is_refused(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct store *store = NULL;
	char noise[8192];
	memset(noise, 'x', sizeof(noise));
	write_file(noise, sizeof(noise));
	assert_int_equal(store_open(path, true, &store, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.message, "backup"));
	unlink(path);
	store = open_at(path, true);
	struct store_document row = document(STORE_ORG, "a", "{}");
	assert_int_equal(store_put(store, &row, 1, NULL), ERR_OK);
	store_close(store);
	/* Every page but the first overwritten. */
	FILE *file = fopen(path, "r+b");
	assert_non_null(file);
	fseek(file, 4096, SEEK_SET);
	for (int i = 0; i < 5; i++)
		assert_int_equal(fwrite(noise, 1, 4096, file), 4096);
	assert_int_equal(fclose(file), 0);
	store = NULL;
	assert_int_equal(store_open(path, true, &store, &err), ERR_CORRUPT);
	assert_null(store);
}

static void a_missing_directory_says_so(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct store *store = NULL;
	assert_int_equal(store_open("/nonexistent/parley.db", true, &store, &err), ERR_ENVIRONMENT);
	assert_non_null(strstr(err.message, "/nonexistent/parley.db"));
}

static void ids_may_hold_any_text(void **state)
{
	(void)state;
	struct store *store = open_at(NULL, true);
	const char *id = "a b'; DROP TABLE orgs; --\"";
	struct store_document row = document(STORE_ORG, id, "{}");
	assert_int_equal(store_put(store, &row, 1, NULL), ERR_OK);
	struct listing listing = {.size = 0};
	assert_int_equal(store_find(store, STORE_ORG, id, list_one, &listing, NULL), ERR_OK);
	assert_int_not_equal(listing.size, 0);
	store_close(store);
}

/* Something can be revoked on a full disk also after a restore, which brings no journal. */
static void a_journal_that_is_lost_gets_its_room_again(void **state)
{
	char journal[160];
	struct stat status;
	(void)state;
	snprintf(journal, sizeof(journal), "%s-journal", path);
	store_close(open_at(path, true));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(unlink(journal), 0);
		store_close(open_at(path, false));
		assert_int_equal(stat(journal, &status), 0);
		assert_true(status.st_size >= 65536);
		assert_int_equal(stat(path, &status), 0);
		assert_int_equal(status.st_size, 256 << 10); /* the room is used again */
	}
	struct timespec before = status.st_mtim;
	store_close(open_at(path, false)); /* nothing is written where there is room */
	assert_int_equal(stat(path, &status), 0);
	assert_memory_equal(&status.st_mtim, &before, sizeof(before));
}

#define ERASED "a name that nobody shall read again"

static bool holds(const char *file, const char *text)
{
	static char data[2 << 20];
	FILE *stream = fopen(file, "rb");
	assert_non_null(stream);
	size_t size = fread(data, 1, sizeof(data), stream);
	fclose(stream);
	return memmem(data, size, text, strlen(text)) != NULL;
}

/* The journal has a page as it was before it was changed, and keeps its room. */
static void what_is_erased_is_nowhere(void **state)
{
	char journal[160];
	struct stat before, after;
	(void)state;
	snprintf(journal, sizeof(journal), "%s-journal", path);
	struct store *store = open_at(path, true);
	struct store_document rows[] = {
		document(STORE_PSEUDONYM, "south", "{\"p\":\"" ERASED "\"}"),
		document(STORE_PSEUDONYM, "north", "{\"p\":\"kept\"}")};
	assert_int_equal(store_put(store, rows, 2, NULL), ERR_OK);
	assert_true(holds(path, ERASED));
	assert_int_equal(stat(journal, &before), 0);
	assert_int_equal(store_erase(store, STORE_PSEUDONYM, "south", NULL), ERR_OK);
	assert_false(holds(path, ERASED) || holds(journal, ERASED));
	assert_true(holds(path, "kept"));
	assert_int_equal(stat(journal, &after), 0);
	assert_true(after.st_size >= before.st_size && after.st_size >= 65536);
	store_close(store);
	/* Also where the machine stopped between the two. */
	FILE *stream = fopen(journal, "r+b");
	assert_non_null(stream);
	fseek(stream, 5000, SEEK_SET);
	fputs(ERASED, stream);
	fclose(stream);
	store = open_at(path, false);
	assert_false(holds(journal, ERASED));
	rows[0] = document(STORE_ORG, "south", "{}");
	assert_int_equal(store_put(store, rows, 1, NULL), ERR_OK);
	store_close(store);
	assert_int_equal(stat(journal, &before), 0);
	assert_int_equal(before.st_size, after.st_size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(documents_are_kept_and_replaced, set_up, tear_down),
		cmocka_unit_test(one_document_is_found_by_its_id),
		cmocka_unit_test(a_failing_reader_stops_the_walk),
		cmocka_unit_test_setup_teardown(staged_changes_wait_for_their_commit, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(numbers_are_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_second_process_is_kept_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lost_database_is_not_an_empty_policy, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_ours_or_damaged_is_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_journal_that_is_lost_gets_its_room_again, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_is_erased_is_nowhere, set_up, tear_down),
		cmocka_unit_test(a_missing_directory_says_so),
		cmocka_unit_test(ids_may_hold_any_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
