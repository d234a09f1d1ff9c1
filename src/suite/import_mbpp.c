/* MBPP (Austin et al. 2021), as a whole (JSONL: text, code, test_setup_code, test_list) and
 * sanitized (one JSON list: prompt, code, test_imports, test_list). */
#include "suite/import_internal.h"

#include "base/json.h"

#include <ctype.h>

#define PROGRAM_MAX ((size_t)16 << 20)

static const char suite_yaml[] =
	"name: mbpp\n"
	"version: 1\n"
	"licence: CC-BY-4.0\n"
	"source: \"https://github.com/google-research/google-research/tree/master/mbpp\"\n"
	"kind: coding\n"
	"template: |-\n"
	"  Write a Python program for the following task. Reply with the whole program in one "
	"```python\n"
	"  block and nothing else.\n"
	"\n"
	"  {{task}}\n"
	"\n"
	"  It must pass these tests:\n"
	"\n"
	"  ```python\n"
	"  {{tests}}\n"
	"  ```\n"
	"settings: { max_tokens: 1024, temperature: 0 }\n"
	"samples: 1\n"
	"scorer:\n"
	"  kind: code\n"
	"  language: python\n"
	"  program: \"{{test_program}}\"\n"
	"  entry_point: \"{{entry_point}}\"\n"
	"  timeout_seconds: 5\n";

static bool detect(struct bytes content, const json_t *first)
{
	static const char *const whole[] = {"task_id", "text", "code", "test_list", NULL};
	static const char *const sanitized[] = {"task_id", "prompt", "code", "test_list", NULL};
	(void)content;
	return import_has(first, whole) || import_has(first, sanitized);
}

/* The texts of a list, each on a line of its own. */
static enum err_code append_lines(const json_t *row, const char *key, bool optional,
				  struct buf *out, struct err *err)
{
	json_t *list;
	ERR_TRY(json_get_container(row, key, "the task", JSON_ARRAY, optional, &list, err));
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *line = json_array_get(list, i);
		if (!json_is_string(line))
			return ERR_SET(err, ERR_INVALID, "\"%s\" holds something else than texts",
				       key);
		buf_append(out, json_string_value(line), json_string_length(line));
		buf_append_char(out, '\n');
	}
	return ERR_OK;
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Whether `tests` call `name`. */
static bool calls(struct bytes tests, struct bytes name)
{
	size_t from = 0;
	while (from < tests.size) {
		const char *at = memmem(tests.data + from, tests.size - from, name.data, name.size);
		if (!at)
			return false;
		size_t begin = (size_t)(at - tests.data), end = begin + name.size;
		bool starts = begin == 0 || !is_name(tests.data[begin - 1]);
		struct bytes after = bytes_trim(bytes_of(tests.data + end, tests.size - end));
		if (starts && after.size && after.data[0] == '(')
			return true;
		from = begin + 1;
	}
	return false;
}

/* The function of the reference solution that the tests call: the last top-level `def` that fits.
 */
static struct bytes entry_point(struct bytes code, struct bytes tests)
{
	struct bytes found = {0};
	while (code.size > 0) {
		struct bytes line = bytes_split(code, '\n', &code);
		if (!bytes_starts_with(line, BYTES("def ")))
			continue;
		struct bytes name = bytes_trim(bytes_of(line.data + 4, line.size - 4));
		size_t size = 0;
		while (size < name.size && is_name(name.data[size]))
			size++;
		name.size = size;
		if (size && calls(tests, name))
			found = name;
	}
	return found;
}

static json_t *text_of(struct bytes text)
{
	return json_stringn(text.data ? text.data : "", text.size);
}

/* `tests`: what the prompt shows; `program`: imports and set-up code, then the same. */
static enum err_code append_tests(const json_t *row, struct buf *tests, struct buf *program,
				  struct err *err)
{
	const char *setup;
	ERR_TRY(append_lines(row, "test_list", false, tests, err));
	ERR_TRY(append_lines(row, "test_imports", true, program, err));
	ERR_TRY(json_get_string_or(row, "test_setup_code", "the task", "", &setup, err));
	if (*setup)
		buf_printf(program, "%s\n", setup);
	buf_append_bytes(program, buf_bytes(tests));
	return tests->size == 0 ? ERR_SET(err, ERR_INVALID, "\"test_list\" is empty") : ERR_OK;
}

static enum err_code add_task(struct import *import, const json_t *row, struct buf *tests,
			      struct buf *program, struct err *err)
{
	const char *task, *code;
	char id[257];
	ERR_TRY(import_id(row, "task_id", id, err));
	ERR_TRY(json_get_string(row, json_object_get(row, "text") ? "text" : "prompt", "the task",
				&task, err));
	ERR_TRY(json_get_string(row, "code", "the task", &code, err));
	ERR_TRY(append_tests(row, tests, program, err));
	struct bytes name = entry_point(bytes_from(code), buf_bytes(tests));
	if (name.size == 0)
		return ERR_SET(err, ERR_INVALID, "task %s: the tests call no function of the code",
			       id);
	struct bytes shown = bytes_of(tests->data, tests->size - 1);
	return import_add_item(import,
			       json_pack("{s:s, s:s, s:o, s:o, s:o, s:s}", "id", id, "task", task,
					 "tests", text_of(shown), "test_program",
					 text_of(buf_bytes(program)), "entry_point", text_of(name),
					 "canonical_solution", code),
			       err);
}

static enum err_code add_row(struct import *import, const json_t *row, struct err *err)
{
	struct buf tests = BUF_INIT(PROGRAM_MAX), program = BUF_INIT(PROGRAM_MAX);
	enum err_code code = add_task(import, row, &tests, &program, err);
	buf_release(&tests);
	buf_release(&program);
	return code;
}

static enum err_code run(struct import *import, struct err *err)
{
	buf_append_cstr(&import->yaml, suite_yaml);
	return import_rows(import, add_row, err);
}

const struct import_format import_mbpp = {"mbpp", detect, run};
