/* Files, directories, locks, and the whole-file helpers of files.c. */
#include "contract.h"

#include <stdlib.h>
#include <sys/stat.h>

#define WRITE (ENV_OPEN_WRITE | ENV_OPEN_CREATE)

static struct env_file *open_file(struct contract *contract, const char *name, unsigned flags)
{
	struct env_file *file = NULL;
	struct err err = ERR_INIT;
	enum err_code code =
		env_file_open(contract->env, contract_path(contract, name), flags, &file, &err);
	if (code != ERR_OK)
		fail_msg("%s", err.message);
	return file;
}

static enum err_code try_open(struct contract *contract, const char *name, unsigned flags,
			      struct err *err)
{
	struct env_file *file;
	enum err_code code =
		env_file_open(contract->env, contract_path(contract, name), flags, &file, err);
	if (code == ERR_OK)
		env_file_close(file);
	else
		assert_null(file);
	return code;
}

static void opening_tells_missing_and_existing_apart(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	assert_int_equal(ERR_NOT_FOUND, try_open(contract, "a", ENV_OPEN_READ, &err));
	assert_non_null(strstr(err.message, contract_path(contract, "a")));
	assert_int_equal(ERR_NOT_FOUND, try_open(contract, "a", ENV_OPEN_WRITE, &err));
	assert_int_equal(ERR_OK, try_open(contract, "a", WRITE | ENV_OPEN_EXCLUSIVE, &err));
	assert_int_equal(ERR_EXISTS, try_open(contract, "a", WRITE | ENV_OPEN_EXCLUSIVE, &err));
	assert_int_equal(ERR_OK, try_open(contract, "a", WRITE, &err));
	assert_int_equal(ERR_NOT_FOUND, try_open(contract, "none/a", WRITE, &err));
	assert_int_equal(ERR_ENVIRONMENT, try_open(contract, "a/b", WRITE, &err));
}

static void a_file_reads_back_what_was_written_anywhere(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	struct env_file *file = open_file(contract, "a", WRITE);
	char data[16];
	size_t got = 99;
	uint64_t size = 99;
	assert_int_equal(ERR_OK, env_file_size(file, &size, &err));
	assert_int_equal(0, size);
	assert_int_equal(ERR_OK, env_file_read(file, 0, data, sizeof(data), &got, &err));
	assert_int_equal(0, got);
	assert_int_equal(ERR_OK, env_file_write(file, 4, "world", 5, &err));
	assert_int_equal(ERR_OK, env_file_write(file, 0, "ab", 2, &err));
	assert_int_equal(ERR_OK, env_file_read(file, 0, data, sizeof(data), &got, &err));
	assert_int_equal(9, got);
	assert_memory_equal("ab\0\0world", data, 9);
	assert_int_equal(ERR_OK, env_file_read(file, 7, data, 1, &got, &err));
	assert_int_equal(1, got);
	assert_int_equal('l', data[0]);
	assert_int_equal(ERR_OK, env_file_read(file, 100, data, 5, &got, &err));
	assert_int_equal(0, got);
	assert_int_equal(ERR_OK, env_file_sync(file, &err));
	assert_int_equal(ERR_OK, env_file_sync(file, &err));
	env_file_close(file);
}

/* Two writers of one file, as after a rename beside it: each adds where the other has stopped. */
static void appending_goes_to_the_end_wherever_it_is(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	const unsigned append = ENV_OPEN_APPEND | ENV_OPEN_CREATE;
	struct env_file *one = open_file(contract, "a", append);
	struct env_file *two = open_file(contract, "a", append);
	struct buf content = BUF_INIT(100);
	assert_int_equal(ERR_OK, env_file_append(one, "one\n", 4, &err));
	assert_int_equal(ERR_OK, env_file_append(two, "two\n", 4, &err));
	assert_int_equal(ERR_OK, env_file_append(one, "more\n", 5, &err));
	assert_int_equal(
		ERR_OK, env_read_file(contract->env, contract_path(contract, "a"), &content, &err));
	assert_string_equal("one\ntwo\nmore\n", content.data);
	env_file_close(one);
	env_file_close(two);
	buf_release(&content);
}

static void truncating_cuts_and_grows_with_zeros(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	struct env_file *file = open_file(contract, "a", WRITE);
	char data[8];
	size_t got;
	uint64_t size;
	assert_int_equal(ERR_OK, env_file_write(file, 0, "abcdef", 6, &err));
	assert_int_equal(ERR_OK, env_file_truncate(file, 2, &err));
	assert_int_equal(ERR_OK, env_file_truncate(file, 5, &err));
	assert_int_equal(ERR_OK, env_file_size(file, &size, &err));
	assert_int_equal(5, size);
	assert_int_equal(ERR_OK, env_file_read(file, 0, data, sizeof(data), &got, &err));
	assert_int_equal(5, got);
	assert_memory_equal("ab\0\0\0", data, 5);
	env_file_close(file);
}

static void a_file_opened_for_reading_is_not_written(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	env_file_close(open_file(contract, "a", WRITE));
	struct env_file *file = open_file(contract, "a", ENV_OPEN_READ);
	assert_int_equal(ERR_ENVIRONMENT, env_file_write(file, 0, "x", 1, &err));
	assert_int_equal(ERR_ENVIRONMENT, env_file_truncate(file, 0, &err));
	env_file_close(file);
}

static void a_lock_is_held_until_its_file_is_closed(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	struct env_file *first = open_file(contract, "lock", WRITE);
	struct env_file *second = open_file(contract, "lock", WRITE);
	assert_int_equal(ERR_OK, env_file_lock(first, &err));
	assert_int_equal(ERR_OK, env_file_lock(first, &err));
	assert_int_equal(ERR_LOCKED, env_file_lock(second, &err));
	assert_non_null(strstr(err.message, contract_path(contract, "lock")));
	env_file_close(first);
	assert_int_equal(ERR_OK, env_file_lock(second, &err));
	env_file_close(second);
}

static void assert_content(struct contract *contract, const char *name, const char *expected)
{
	struct buf content = BUF_INIT(1000);
	struct err err = ERR_INIT;
	assert_int_equal(ERR_OK, env_read_file(contract->env, contract_path(contract, name),
					       &content, &err));
	assert_int_equal(strlen(expected), content.size);
	assert_memory_equal(expected, content.data, content.size);
	buf_release(&content);
}

static void put(struct contract *contract, const char *name, const char *text)
{
	struct err err = ERR_INIT;
	assert_int_equal(ERR_OK, env_write_file(contract->env, contract_path(contract, name),
						bytes_from(text), 0600, &err));
}

static void renaming_replaces_and_keeps_open_files(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	char data[8];
	size_t got;
	put(contract, "a", "old");
	put(contract, "b", "new");
	struct env_file *file = open_file(contract, "a", ENV_OPEN_READ);
	assert_int_equal(ERR_OK, env_rename(contract->env, contract_path(contract, "b"),
					    contract_path(contract, "a"), &err));
	assert_content(contract, "a", "new");
	assert_false(env_file_exists(contract->env, contract_path(contract, "b")));
	assert_int_equal(ERR_OK, env_file_read(file, 0, data, sizeof(data), &got, &err));
	assert_int_equal(3, got);
	assert_memory_equal("old", data, 3);
	env_file_close(file);
	assert_int_equal(ERR_NOT_FOUND, env_rename(contract->env, contract_path(contract, "b"),
						   contract_path(contract, "c"), &err));
}

static void a_directory_is_renamed_with_what_is_in_it(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	assert_int_equal(ERR_OK,
			 env_make_directories(contract->env, contract_path(contract, "x/y"), &err));
	put(contract, "x/y/a", "text");
	assert_int_equal(ERR_OK, env_rename(contract->env, contract_path(contract, "x"),
					    contract_path(contract, "z"), &err));
	assert_content(contract, "z/y/a", "text");
	assert_false(env_file_exists(contract->env, contract_path(contract, "x")));
	assert_int_equal(ERR_ENVIRONMENT, env_rename(contract->env, contract_path(contract, "z"),
						     contract_path(contract, "z/y/w"), &err));
}

static void removing_a_missing_file_is_no_error(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	put(contract, "a", "text");
	const char *path = contract_path(contract, "a");
	assert_int_equal(ERR_OK, env_unlink(contract->env, path, &err));
	assert_int_equal(ERR_OK, env_unlink(contract->env, path, &err));
	assert_false(env_file_exists(contract->env, path));
	assert_int_equal(ERR_ENVIRONMENT, env_unlink(contract->env, contract->directory, &err));
}

struct listing {
	char text[256];
};

static void list_one(void *argument, const struct env_directory_entry *entry)
{
	struct listing *listing = argument;
	size_t used = strlen(listing->text);
	snprintf(listing->text + used, sizeof(listing->text) - used, "%s%s ", entry->name,
		 entry->is_directory ? "/" : "");
}

static void a_directory_lists_in_the_order_of_names(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	struct listing listing = {""};
	put(contract, "b", "");
	put(contract, "a.2", "");
	put(contract, "B", "");
	put(contract, "a10", "");
	assert_int_equal(ERR_OK,
			 env_make_directory(contract->env, contract_path(contract, "d"), &err));
	assert_int_equal(ERR_OK, env_list_directory(contract->env, contract->directory, list_one,
						    &listing, &err));
	assert_string_equal("B a.2 a10 b d/ ", listing.text);
	assert_int_equal(ERR_NOT_FOUND,
			 env_list_directory(contract->env, contract_path(contract, "none"),
					    list_one, &listing, &err));
}

static void making_a_directory_again_is_no_error(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	const char *path = contract_path(contract, "d");
	assert_int_equal(ERR_OK, env_make_directory(contract->env, path, &err));
	assert_int_equal(ERR_OK, env_make_directory(contract->env, path, &err));
	put(contract, "f", "");
	assert_int_equal(ERR_EXISTS,
			 env_make_directory(contract->env, contract_path(contract, "f"), &err));
	assert_int_equal(ERR_NOT_FOUND,
			 env_make_directory(contract->env, contract_path(contract, "x/y"), &err));
	assert_int_equal(ERR_OK, env_sync_directory(contract->env, path, &err));
	assert_int_equal(ERR_NOT_FOUND,
			 env_sync_directory(contract->env, contract_path(contract, "x"), &err));
}

static void making_directories_makes_the_missing_parents(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	const char *path = contract_path(contract, "p//q/r/");
	assert_int_equal(ERR_OK, env_make_directories(contract->env, path, &err));
	assert_int_equal(ERR_OK, env_make_directories(contract->env, path, &err));
	put(contract, "p/q/r/a", "text");
	assert_content(contract, "p/q/r/a", "text");
	assert_int_not_equal(
		ERR_OK,
		env_make_directories(contract->env, contract_path(contract, "p/q/r/a/b"), &err));
}

static unsigned mode_of(struct contract *contract, const char *name)
{
	struct stat status;
	if (contract->sim)
		return sim_disk_mode(contract->env, contract_path(contract, name));
	assert_int_equal(0, stat(contract_path(contract, name), &status));
	return status.st_mode & 07777;
}

static void writing_a_file_replaces_it_and_leaves_nothing_else(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	struct listing listing = {""};
	put(contract, "a", "the first, longer text");
	assert_int_equal(0600, mode_of(contract, "a"));
	assert_int_equal(ERR_OK, env_write_file(contract->env, contract_path(contract, "a"),
						bytes_from("second"), 0640, &err));
	assert_int_equal(0640, mode_of(contract, "a"));
	assert_content(contract, "a", "second");
	put(contract, "a", "");
	assert_content(contract, "a", "");
	/* A directory stands in the way: an error, and no temporary file stays. */
	assert_int_equal(ERR_OK,
			 env_make_directory(contract->env, contract_path(contract, "d"), &err));
	assert_int_not_equal(ERR_OK, env_write_file(contract->env, contract_path(contract, "d"),
						    bytes_from("text"), 0600, &err));
	assert_int_equal(ERR_OK, env_list_directory(contract->env, contract->directory, list_one,
						    &listing, &err));
	assert_string_equal("a d/ ", listing.text);
	assert_int_equal(ERR_NOT_FOUND,
			 env_write_file(contract->env, contract_path(contract, "x/a"),
					bytes_from("text"), 0600, &err));
}

static void reading_a_file_keeps_to_the_limit_of_the_buffer(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	struct buf exact = BUF_INIT(10), small = BUF_INIT(9), more = BUF_INIT(12);
	const char *path = contract_path(contract, "a");
	put(contract, "a", "0123456789");
	assert_int_equal(ERR_OK, env_read_file(contract->env, path, &exact, &err));
	assert_string_equal("0123456789", exact.data);
	assert_int_equal(ERR_TOO_LARGE, env_read_file(contract->env, path, &small, &err));
	assert_non_null(strstr(err.message, path));
	buf_append_cstr(&more, "ab");
	assert_int_equal(ERR_OK, env_read_file(contract->env, path, &more, &err));
	assert_string_equal("ab0123456789", more.data);
	assert_int_equal(ERR_TOO_LARGE, env_read_file(contract->env, path, &more, &err));
	assert_int_equal(ERR_NOT_FOUND,
			 env_read_file(contract->env, contract_path(contract, "b"), &exact, &err));
	buf_release(&exact);
	buf_release(&small);
	buf_release(&more);
}

static void a_large_file_reads_back_whole(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	size_t size = 1000003;
	char *data = malloc(size);
	assert_non_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i * 31 >> 3);
	struct buf content = BUF_INIT(2000000);
	assert_int_equal(ERR_OK, env_write_file(contract->env, contract_path(contract, "a"),
						bytes_of(data, size), 0600, &err));
	assert_int_equal(
		ERR_OK, env_read_file(contract->env, contract_path(contract, "a"), &content, &err));
	assert_int_equal(size, content.size);
	assert_memory_equal(data, content.data, size);
	buf_release(&content);
	free(data);
}

const struct CMUnitTest contract_disk_tests[] = {
	cmocka_unit_test(opening_tells_missing_and_existing_apart),
	cmocka_unit_test(a_file_reads_back_what_was_written_anywhere),
	cmocka_unit_test(appending_goes_to_the_end_wherever_it_is),
	cmocka_unit_test(truncating_cuts_and_grows_with_zeros),
	cmocka_unit_test(a_file_opened_for_reading_is_not_written),
	cmocka_unit_test(a_lock_is_held_until_its_file_is_closed),
	cmocka_unit_test(renaming_replaces_and_keeps_open_files),
	cmocka_unit_test(a_directory_is_renamed_with_what_is_in_it),
	cmocka_unit_test(removing_a_missing_file_is_no_error),
	cmocka_unit_test(a_directory_lists_in_the_order_of_names),
	cmocka_unit_test(making_a_directory_again_is_no_error),
	cmocka_unit_test(making_directories_makes_the_missing_parents),
	cmocka_unit_test(writing_a_file_replaces_it_and_leaves_nothing_else),
	cmocka_unit_test(reading_a_file_keeps_to_the_limit_of_the_buffer),
	cmocka_unit_test(a_large_file_reads_back_whole),
};
const size_t contract_disk_count = COUNT(contract_disk_tests);
