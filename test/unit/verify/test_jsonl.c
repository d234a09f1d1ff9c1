/* Files of JSON lines: every line, in any size, and what is no such file. */
#include "fixture.h"

#include "grade/jsonl.h"

#include <unistd.h>

#define PATH "/tmp/parley-jsonl-test"
#define LINE_MAX_BYTES 300000u

static struct env *env_of(void **state)
{
	return *state;
}

static int setup(void **state)
{
	*state = env_os_new(1);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	env_os_free(*state);
	unlink(PATH);
	return 0;
}

/* Reads to the end or the first error; counts lines. */
static enum err_code read_all(struct env *env, size_t *count, struct err *err)
{
	struct jsonl lines;
	struct jsonl_line line = {0};
	bool more = true;
	*count = 0;
	enum err_code code = jsonl_open(&lines, env, PATH, "x.jsonl", LINE_MAX_BYTES, err);
	while (code == ERR_OK && more) {
		code = jsonl_next(&lines, &line, &more, err);
		*count += code == ERR_OK && more;
		json_decref(line.tree);
		line.tree = NULL;
	}
	jsonl_close(&lines);
	return code;
}

static void test_lines_of_many_sizes(void **state)
{
	static const size_t sizes[] = {0, 1, 5, 65530, 65536, 65537, 131072, 200000, 3, 0};
	enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
	struct buf text = BUF_INIT((size_t)2 << 20);
	struct err err = ERR_INIT;
	uint64_t offsets[COUNT];
	for (size_t i = 0; i < COUNT; i++) {
		offsets[i] = text.size;
		buf_printf(&text, "{\"n\":%zu,\"s\":\"", i);
		for (size_t k = 0; k < sizes[i]; k++)
			buf_append_char(&text, 'x');
		buf_append_cstr(&text, "\"}\n");
	}
	file_write(PATH, buf_bytes(&text));
	struct jsonl lines;
	struct jsonl_line line;
	bool more;
	assert_int_equal(jsonl_open(&lines, env_of(state), PATH, "x.jsonl", LINE_MAX_BYTES, &err),
			 ERR_OK);
	for (size_t i = 0; i < COUNT; i++) {
		json_t *earlier = NULL;
		assert_int_equal(jsonl_next(&lines, &line, &more, &err), ERR_OK);
		assert_true(more);
		assert_int_equal(line.offset, offsets[i]);
		assert_int_equal(json_string_length(json_object_get(line.tree, "s")), sizes[i]);
		json_decref(line.tree);
		/* Looking back does not disturb reading on. */
		assert_int_equal(jsonl_at(&lines, offsets[i / 2], &earlier, &err), ERR_OK);
		assert_int_equal(json_integer_value(json_object_get(earlier, "n")), i / 2);
		json_decref(earlier);
	}
	assert_int_equal(jsonl_next(&lines, &line, &more, &err), ERR_OK);
	assert_false(more);
	jsonl_close(&lines);
	buf_release(&text);
}

static void test_what_is_refused(void **state)
{
	static const struct {
		const char *text, *words;
		size_t lines;
	} cases[] = {
		{"{}\n\n{}\n",              "x.jsonl:2: the line is empty",    1},
		{"{}\n{}",                  "x.jsonl:2: the line was cut off", 1},
		{"{}\n{\"a\":1,\"a\":2}\n", "x.jsonl:2",                       1},
		{"{}\n{} {}\n",             "x.jsonl:2",                       1},
		{"\n",                      "x.jsonl:1: the line is empty",    0},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = ERR_INIT;
		size_t count;
		file_write(PATH, bytes_from(cases[i].text));
		assert_int_equal(read_all(env_of(state), &count, &err), ERR_INVALID);
		assert_non_null(strstr(err.message, cases[i].words));
		assert_int_equal(count, cases[i].lines);
	}
}

static void test_empty_file(void **state)
{
	struct err err = ERR_INIT;
	size_t count;
	file_write(PATH, bytes_of(NULL, 0));
	assert_int_equal(read_all(env_of(state), &count, &err), ERR_OK);
	assert_int_equal(count, 0);
}

static void test_line_too_long(void **state)
{
	struct buf text = BUF_INIT((size_t)2 << 20);
	struct err err = ERR_INIT;
	size_t count;
	buf_append_cstr(&text, "{}\n\"");
	while (text.size < 2 * LINE_MAX_BYTES)
		buf_append_char(&text, 'x');
	buf_append_cstr(&text, "\"\n");
	file_write(PATH, buf_bytes(&text));
	assert_int_equal(read_all(env_of(state), &count, &err), ERR_TOO_LARGE);
	assert_int_equal(count, 1);
	buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_of_many_sizes),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_empty_file),
		cmocka_unit_test(test_line_too_long),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
