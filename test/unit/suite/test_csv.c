#include "suite/csv.h"

#include "folder.h"

static void open_text(struct csv *csv, const char *text)
{
	struct err err = ERR_INIT;
	if (csv_open(csv, bytes_from(text), "t.csv", &err) != ERR_OK)
		fail_msg("%s", err.message);
}

static bool next(struct csv *csv)
{
	struct err err = ERR_INIT;
	bool end;
	if (csv_next(csv, &end, &err) != ERR_OK)
		fail_msg("%s", err.message);
	return !end;
}

static void assert_field(const struct csv *csv, const char *column, const char *expected)
{
	int i = csv_column(csv, column);
	assert_true(i >= 0);
	assert_int_equal(csv->fields[i].size, strlen(expected));
	assert_memory_equal(csv->fields[i].data, expected, strlen(expected));
}

static void test_quotes_commas_newlines(void **state)
{
	(void)state;
	struct csv csv;
	open_text(&csv, "\xef\xbb\xbfid,text\r\n1,\"a, \"\"b\"\"\r\nc\"\r\n\r\n2,\n3,\"\"");
	assert_true(next(&csv));
	assert_field(&csv, "id", "1");
	assert_field(&csv, "text", "a, \"b\"\r\nc");
	assert_int_equal(csv.row_line, 2);
	assert_true(next(&csv));
	assert_field(&csv, "id", "2");
	assert_field(&csv, "text", "");
	assert_int_equal(csv.row_line, 5);
	assert_true(next(&csv));
	assert_field(&csv, "id", "3");
	assert_field(&csv, "text", "");
	assert_false(next(&csv));
	assert_int_equal(csv_column(&csv, "absent"), -1);
	csv_close(&csv);
}

static void refuse(const char *text, const char *message)
{
	struct err err = ERR_INIT;
	struct csv csv;
	bool end = false;
	enum err_code code = csv_open(&csv, bytes_from(text), "t.csv", &err);
	if (code == ERR_OK) {
		while (code == ERR_OK && !end)
			code = csv_next(&csv, &end, &err);
		csv_close(&csv);
	}
	assert_int_equal(code, ERR_INVALID);
	assert_string_equal(err.message, message);
}

static void test_refused(void **state)
{
	(void)state;
	refuse("", "t.csv:1: the file is empty");
	refuse("a,b\n1\n", "t.csv:2: 1 fields where the header has 2");
	refuse("a,b\n1,2,3\n", "t.csv:2: 3 fields where the header has 2");
	refuse("a,b\n\n1,\"2\n", "t.csv:3: a quoted field is not closed");
	refuse("a,b\n1,x\"y\"\n", "t.csv:2: a quote in a field without quotes");
	refuse("a,b\n1,\"x\"y\n", "t.csv:2: something follows the closing quote of a field");
	refuse("a,a\n1,2\n", "t.csv:1: two columns have one name");
	refuse("a,,b\n", "t.csv:1: a column without a name");
}

static void test_too_many_fields(void **state)
{
	(void)state;
	char text[600];
	memset(text, ',', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	refuse(text, "t.csv:1: more than 256 fields in a row");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quotes_commas_newlines),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_many_fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
