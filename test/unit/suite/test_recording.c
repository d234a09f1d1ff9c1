#include "suite/recording.h"

#include "base/json.h"
#include "folder.h"
#include "suite/suite.h"

#define WORDS(text)                                                                                \
	"{\"messages\":[{\"parts\":[{\"text\":\"" text "\",\"type\":\"text\"}],\"role\":\"user\"}" \
	"]}"

static size_t add(struct recording *recording, const char *words, const char *settings)
{
	size_t number = 99;
	struct err err = ERR_INIT;
	assert_int_equal(
		recording_add(recording, bytes_from(words), bytes_from(settings), &number, &err),
		ERR_OK);
	return number;
}

static void equal_words_are_one_item(void **state)
{
	struct recording *recording = recording_new();
	(void)state;
	assert_int_equal(add(recording, WORDS("a"), "{}"), 1);
	assert_int_equal(add(recording, WORDS("b"), "{}"), 2);
	assert_int_equal(add(recording, WORDS("a"), "{}"), 1);
	recording_count(recording, 1, "m");
	recording_count(recording, 1, "n");
	recording_count(recording, 2, "m");
	recording_count(recording, 2, "m");
	struct recording_counts counts = recording_counts(recording);
	assert_int_equal(counts.items, 2);
	assert_int_equal(counts.samples, 2); /* by one model */
	assert_int_equal(counts.left_out, 0);
	recording_free(recording);
}

static void settings_add_up_and_may_not_contradict(void **state)
{
	struct folder *folder = *state;
	struct recording *recording = recording_new();
	char path[256];
	struct suite *suite;
	assert_int_equal(add(recording, WORDS("a"), "{\"max_output\":16}"), 1);
	assert_int_equal(add(recording, WORDS("b"), "{\"max_output\":64,\"temperature\":0}"), 2);
	assert_int_equal(add(recording, WORDS("c"), "{\"temperature\":0.5}"), 0);
	assert_int_equal(add(recording, WORDS("d"), "{\"tool_choice\":\"auto\"}"), 0);
	assert_int_equal(add(recording, WORDS("e"), "{\"top_p\":0.9}"), 3);
	struct recording_counts counts = recording_counts(recording);
	assert_int_equal(counts.left_out, 2);
	assert_string_equal(counts.first_left, "temperature 0.5, where requests before it had 0");
	folder_path(folder, "made.of-it", path);
	assert_int_equal(recording_write(recording, folder->env, path, true, NULL), ERR_OK);
	assert_int_equal(suite_load(folder->env, path, &suite, NULL), ERR_OK);
	assert_string_equal(suite_name(suite), "made.of-it");
	assert_int_equal(suite_count(suite), 3);
	struct buf text = BUF_INIT(4096);
	assert_int_equal(json_canonical(suite_settings(suite), &text, NULL), ERR_OK);
	assert_string_equal(text.data, "{\"max_output\":64,\"temperature\":0,\"top_p\":0.9}");
	assert_int_equal(suite_check_seed(suite, path, NULL), ERR_OK);
	buf_release(&text);
	suite_free(suite);
	recording_free(recording);
}

static void words_that_no_item_can_say_are_left_out(void **state)
{
	struct recording *recording = recording_new();
	(void)state;
	/* Not written as canonical words are. */
	assert_int_equal(
		add(recording, "{\"messages\":[{\"parts\":\"a\",\"role\":\"user\"}]}", "{}"), 0);
	recording_leave_out(recording, "another reason");
	struct recording_counts counts = recording_counts(recording);
	assert_int_equal(counts.items, 0);
	assert_int_equal(counts.left_out, 2);
	assert_true(counts.first_left[0] != '\0');
	recording_free(recording);
}

static void many_items_are_found_again(void **state)
{
	struct recording *recording = recording_new();
	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 2000; i++) {
			char words[256];
			snprintf(words, sizeof(words),
				 "{\"messages\":[{\"parts\":[{\"text\":\"q%d\",\"type\":\"text\"}],"
				 "\"role\":\"user\"}]}",
				 i);
			assert_int_equal(add(recording, words, "{}"), i + 1);
		}
	}
	assert_int_equal(recording_counts(recording).items, 2000);
	recording_free(recording);
}

static void a_folder_that_holds_a_suite_is_left_alone(void **state)
{
	struct folder *folder = *state;
	struct recording *recording = recording_new();
	char path[256], out[512];
	struct err err = ERR_INIT;
	folder_path(folder, "new", path);
	assert_int_equal(recording_folder(folder->env, path, out, sizeof(out), &err), ERR_OK);
	assert_string_equal(out, path);
	assert_int_equal(recording_write(recording, folder->env, path, false, &err), ERR_NOT_FOUND);
	assert_false(env_file_exists(folder->env, path));
	add(recording, WORDS("a"), "{}");
	assert_int_equal(recording_write(recording, folder->env, path, false, &err), ERR_OK);
	assert_int_equal(recording_folder(folder->env, path, out, sizeof(out), &err), ERR_EXISTS);
	assert_non_null(strstr(err.message, "holds a suite already"));
	recording_free(recording);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_words_are_one_item),
		cmocka_unit_test_setup_teardown(settings_add_up_and_may_not_contradict,
						folder_setup, folder_teardown),
		cmocka_unit_test(words_that_no_item_can_say_are_left_out),
		cmocka_unit_test(many_items_are_found_again),
		cmocka_unit_test_setup_teardown(a_folder_that_holds_a_suite_is_left_alone,
						folder_setup, folder_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
