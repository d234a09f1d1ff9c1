#include "suite/template.h"

#include "base/json.h"
#include "folder.h"

static json_t *parse(const char *text)
{
	json_t *value;
	assert_int_equal(json_parse(bytes_from(text), "test", &value, NULL), ERR_OK);
	return value;
}

static void check_text(const char *template, const char *fields_text, const char *expected)
{
	struct err err = ERR_INIT;
	struct buf out = BUF_INIT(1024);
	json_t *fields = parse(fields_text);
	if (template_render(template, fields, &out, &err) != ERR_OK)
		fail_msg("%s", err.message);
	assert_string_equal(out.data ? out.data : "", expected);
	json_decref(fields);
	buf_release(&out);
}

static void test_text(void **state)
{
	(void)state;
	const char *fields = "{\"a\":\"x\",\"b\":2,\"c\":[1.0,null],\"d e\":true,\"n\":null}";
	check_text("", fields, "");
	check_text("no fields { } }}", fields, "no fields { } }}");
	check_text("{{a}}{{b}}", fields, "x2");
	check_text("<{{ a }}|{{c}}|{{d e}}|{{n}}>", fields, "<x|[1,null]|true|null>");
	/* What a field brings in is not read again. */
	check_text("{{t}}", "{\"t\":\"{{a}}\",\"a\":\"x\"}", "{{a}}");
}

static void refuse(const char *template, const char *message)
{
	struct err err = ERR_INIT;
	struct buf out = BUF_INIT(64);
	json_t *fields = parse("{\"a\":\"x\"}");
	assert_int_equal(template_render(template, fields, &out, &err), ERR_INVALID);
	assert_string_equal(err.message, message);
	json_decref(fields);
	buf_release(&out);
}

static void test_refused(void **state)
{
	(void)state;
	refuse("{{b}}", "field \"b\" is missing");
	refuse("{{a}", "{{ without }}");
	refuse("{{a}} {{", "{{ without }}");
	refuse("{{}}", "{{}} names no field");
	refuse("{{a{{b}}", "{{a{{b}} names no field");
}

static void test_too_large(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct buf out = BUF_INIT(8);
	json_t *fields = parse("{\"a\":\"123456789\"}");
	assert_int_equal(template_render("{{a}}", fields, &out, &err), ERR_TOO_LARGE);
	json_decref(fields);
	buf_release(&out);
}

static void test_json_keeps_types(void **state)
{
	(void)state;
	json_t *fields = parse("{\"n\":3,\"l\":[{\"k\":false}],\"s\":\"t\"}");
	json_t *value = parse(
		"{\"a\":\"{{n}}\",\"b\":[\"{{l}}\",\"{{s}}\",\" {{n}}\"],\"c\":{\"d\":\"{{ n }}\","
		"\"e\":1,\"f\":null}}");
	json_t *expected =
		parse("{\"a\":3,\"b\":[[{\"k\":false}],\"t\",\" 3\"],\"c\":{\"d\":3,\"e\":1,"
		      "\"f\":null}}");
	json_t *out;
	assert_int_equal(template_render_json(value, fields, &out, NULL), ERR_OK);
	assert_true(json_equal(out, expected));
	json_decref(out);
	json_object_del(fields, "s");
	assert_int_equal(template_render_json(value, fields, &out, NULL), ERR_INVALID);
	assert_null(out);
	json_decref(fields);
	json_decref(value);
	json_decref(expected);
}

static enum err_code count_names(void *argument, struct bytes name, struct err *err)
{
	++*(int *)argument;
	return bytes_is(name, "stop") ? ERR_SET(err, ERR_DENIED, "stopped") : ERR_OK;
}

static void test_scan(void **state)
{
	(void)state;
	int names = 0;
	json_t *value = parse("[\"{{a}} {{b}}\",{\"k\":\"{{c}}\"},5]");
	assert_int_equal(template_scan_json(value, count_names, &names, NULL), ERR_OK);
	assert_int_equal(names, 3);
	assert_int_equal(template_scan("{{stop}}{{never}}", count_names, &names, NULL), ERR_DENIED);
	assert_int_equal(names, 4);
	json_decref(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),      cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_large), cmocka_unit_test(test_json_keeps_types),
		cmocka_unit_test(test_scan),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
