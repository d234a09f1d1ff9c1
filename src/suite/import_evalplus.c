/* EvalPlus (Liu et al. 2023), HumanEval+ and MBPP+ as released: JSONL of task_id, prompt,
 * entry_point, canonical_solution, base_input, plus_input, atol and, in MBPP+, assertion.
 *
 * The expected values are what the reference returns. It runs in the test's process, which the
 * candidate cannot see. Some tasks are compared in another way (evalplus/eval/_special_oracle.py):
 * as sets, or only by whether something was returned. */
#include "suite/import_internal.h"

#include "base/json.h"

#define LINE_SIZE_MAX ((size_t)64 << 20)

static const char suite_yaml[] =
	"version: 1\n"
	"licence: Apache-2.0\n"
	"source: \"https://github.com/evalplus/evalplus\"\n"
	"kind: coding\n"
	"template: |-\n"
	"  Write the Python function that is asked for. Reply with the whole function, with the\n"
	"  imports it needs, in one ```python block and nothing else.\n"
	"\n"
	"  ```python\n"
	"  {{prompt}}{{example}}\n"
	"  ```\n"
	"settings: { max_tokens: 1024, temperature: 0 }\n"
	"samples: 1\n"
	"scorer:\n"
	"  kind: code\n"
	"  language: python\n"
	"  program: \"{{test_program}}\"\n"
	"  entry_point: \"{{entry_point}}\"\n"
	"  prompt: \"{{prompt}}\"\n"
	"  timeout_seconds: 20\n";

/* Names begin with an underscore: the candidate's function is the only other one. Inputs that the
 * reference cannot take as lists are tried as tuples (JSON has none), and those it cannot take at
 * all are left out. */
static const char test_code[] =
	"import copy as _copy, json as _json, math as _math\n"
	"_reference = {}\n"
	"exec(_json.loads(_SOURCE), _reference)\n"
	"_reference = _reference[_NAME]\n"
	"_candidate = globals()[_NAME]\n"
	"def _tuples(value):\n"
	"    return tuple(map(_tuples, value)) if isinstance(value, list) else value\n"
	"def _same(expected, got):\n"
	"    if _ORACLE == 'set':\n"
	"        expected, got = set(expected), set(got)\n"
	"    if _ORACLE == 'presence':\n"
	"        return (expected is not None and expected is not False) == (\n"
	"            got is not None and got is not False)\n"
	"    return _equal(expected, got)\n"
	"def _equal(expected, got):\n"
	"    if isinstance(expected, float) or isinstance(got, float):\n"
	"        try:\n"
	"            return expected == got or _math.isclose(\n"
	"                expected, got, rel_tol=1e-7, abs_tol=_TOLERANCE or 1e-6) or (\n"
	"                expected != expected and got != got)\n"
	"        except TypeError:\n"
	"            return False\n"
	"    if isinstance(expected, (list, tuple)) and isinstance(got, (list, tuple)):\n"
	"        return len(expected) == len(got) and all(map(_equal, expected, got))\n"
	"    return expected == got\n"
	"_used = 0\n"
	"for _arguments in _json.loads(_INPUTS):\n"
	"    for _form in (_arguments, [_tuples(_value) for _value in _arguments]):\n"
	"        try:\n"
	"            _expected = _reference(*_copy.deepcopy(_form))\n"
	"        except Exception:\n"
	"            continue\n"
	"        assert _same(_expected, _candidate(*_form)), 'a wrong value'\n"
	"        _used += 1\n"
	"        break\n"
	"assert _used, 'the reference takes none of the inputs'\n";

enum oracle { ORACLE_VALUE, ORACLE_SET, ORACLE_PRESENCE };

static enum oracle oracle_of(const char *entry_point)
{
	static const struct {
		const char *name;
		enum oracle oracle;
	} special[] = {
		{"similar_elements",       ORACLE_SET     },
		{"find_char_long",         ORACLE_SET     },
		{"common_in_nested_lists", ORACLE_SET     },
		{"extract_singly",         ORACLE_SET     },
		{"larg_nnum",              ORACLE_SET     },
		{"intersection_array",     ORACLE_SET     },
		{"find_dissimilar",        ORACLE_SET     },
		{"Diff",                   ORACLE_SET     },
		{"check_str",              ORACLE_PRESENCE},
		{"text_match_three",       ORACLE_PRESENCE},
		{"text_starta_endb",       ORACLE_PRESENCE},
		{"start_withp",            ORACLE_PRESENCE},
	};
	for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		if (strcmp(entry_point, special[i].name) == 0)
			return special[i].oracle;
	return ORACLE_VALUE;
}

static bool detect(struct bytes content, const json_t *first)
{
	static const char *const members[] = {"task_id", "prompt", "entry_point",
					      "canonical_solution", NULL};
	struct bytes rest, line = bytes_split(content, '\n', &rest);
	/* Its inputs need not be JSON (below): the first line is looked at as text. */
	return (!first || import_has(first, members)) && line.size &&
	       bytes_find(line, BYTES("\"base_input\":")) &&
	       bytes_find(line, BYTES("\"entry_point\":")) &&
	       bytes_find(line, BYTES("\"plus_input\":"));
}

/* ---- inputs, as text ----
 *
 * They hold integers of any size, NaN and Infinity, as Python's json writes them: they are taken
 * out of the line before it is read as JSON, and Python reads them again. */

/* The end of a string that begins at `at`. */
static size_t skip_string(struct bytes text, size_t at)
{
	for (at++; at < text.size && text.data[at] != '"'; at++)
		at += text.data[at] == '\\';
	return at + 1;
}

/* The end of a value: of brackets, of a string, or where a literal ends. */
static size_t skip_value(struct bytes text, size_t at)
{
	size_t depth = 0;
	while (at < text.size) {
		char c = text.data[at];
		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return at;
		if (c == '"') {
			at = skip_string(text, at);
			continue;
		}
		depth += c == '[' || c == '{';
		depth -= (c == ']' || c == '}') && depth > 0;
		at++;
	}
	return at;
}

/* Moves the member's value out of `line`, an object, where null stays behind. */
static enum err_code take_member(struct buf *line, const char *key, struct buf *value,
				 struct err *err)
{
	struct bytes text = buf_bytes(line);
	struct buf rest = BUF_INIT(LINE_SIZE_MAX);
	size_t at = 0;
	while (at < text.size && text.data[at] != '{')
		at++;
	for (at++; at < text.size;) {
		while (at < text.size && strchr(" \t\r\n,", text.data[at]))
			at++;
		if (at >= text.size || text.data[at] != '"')
			break;
		size_t name = at + 1, end = skip_string(text, at);
		while (end < text.size && strchr(" \t\r\n:", text.data[end]))
			end++;
		at = skip_value(text, end);
		if (at > text.size ||
		    !bytes_starts_with(bytes_of(text.data + name, text.size - name),
				       bytes_from(key)) ||
		    text.data[name + strlen(key)] != '"')
			continue;
		buf_append(value, text.data + end, at - end);
		buf_append(&rest, text.data, end);
		buf_append_cstr(&rest, "null");
		buf_append(&rest, text.data + at, text.size - at);
		buf_release(line);
		*line = rest;
		return rest.failed || value->failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory")
						    : ERR_OK;
	}
	return ERR_SET(err, ERR_INVALID, "\"%s\" is missing", key);
}

/* `text` is what stands between the brackets of a list; false if it is none. An object (a task
 * without such inputs) counts as empty. */
static bool list_inside(struct bytes text, struct bytes *inside)
{
	text = bytes_trim(text);
	*inside = (struct bytes){0};
	if (bytes_is(text, "{}") || bytes_is(text, "null"))
		return true;
	if (text.size < 2 || text.data[0] != '[' || text.data[text.size - 1] != ']')
		return false;
	*inside = bytes_trim(bytes_of(text.data + 1, text.size - 2));
	return true;
}

static enum err_code join_inputs(const struct buf *base, const struct buf *plus, struct buf *out,
				 struct err *err)
{
	struct bytes first, second;
	if (!list_inside(buf_bytes(base), &first) || !list_inside(buf_bytes(plus), &second))
		return ERR_SET(err, ERR_INVALID, "base_input and plus_input must be lists");
	if (first.size + second.size == 0)
		return ERR_SET(err, ERR_INVALID, "there are no inputs");
	buf_append_char(out, '[');
	buf_append_bytes(out, first);
	buf_append_cstr(out, first.size && second.size ? ", " : "");
	buf_append_bytes(out, second);
	buf_append_char(out, ']');
	return ERR_OK;
}

/* ---- tasks ---- */

struct task {
	char id[257];
	const char *prompt, *entry_point, *solution, *assertion;
	double tolerance;
};

static enum err_code read_task(const json_t *row, struct task *task, struct err *err)
{
	const json_t *tolerance = json_object_get(row, "atol");
	ERR_TRY(import_id(row, "task_id", task->id, err));
	ERR_TRY(json_get_string(row, "prompt", "the task", &task->prompt, err));
	ERR_TRY(json_get_string(row, "entry_point", "the task", &task->entry_point, err));
	ERR_TRY(json_get_string(row, "canonical_solution", "the task", &task->solution, err));
	ERR_TRY(json_get_string_or(row, "assertion", "the task", "", &task->assertion, err));
	task->tolerance = json_number_value(tolerance);
	return !tolerance || (json_is_number(tolerance) && task->tolerance >= 0)
		       ? ERR_OK
		       : ERR_SET(err, ERR_INVALID, "\"atol\" must be a number, 0 or more");
}

/* A JSON string is a Python string too. */
static void append_literal(struct buf *out, const char *name, struct bytes text)
{
	buf_printf(out, "%s = ", name);
	json_append_string(out, text);
	buf_append_char(out, '\n');
}

static void append_program(struct buf *out, const struct task *task, struct bytes inputs)
{
	static const char *const oracles[] = {"value", "set", "presence"};
	struct buf source = BUF_INIT(LINE_SIZE_MAX), quoted = BUF_INIT(LINE_SIZE_MAX);
	char tolerance[32];
	buf_printf(&source, "%s%s", task->prompt, task->solution);
	json_append_string(&quoted, buf_bytes(&source));
	append_literal(out, "_SOURCE", buf_bytes(&quoted));
	append_literal(out, "_NAME", bytes_from(task->entry_point));
	append_literal(out, "_ORACLE", bytes_from(oracles[oracle_of(task->entry_point)]));
	append_literal(out, "_INPUTS", inputs);
	size_t size = json_number_text(task->tolerance, tolerance);
	buf_printf(out, "_TOLERANCE = %.*s\n%s%s", (int)size, tolerance, task->assertion,
		   *task->assertion ? "\n" : "");
	buf_append_cstr(out, test_code);
	if (source.failed || quoted.failed)
		out->failed = true;
	buf_release(&source);
	buf_release(&quoted);
}

/* MBPP+ shows the first of the assertions, as the prompt does not name the function. */
static struct bytes example_of(const struct task *task)
{
	struct bytes text = bytes_from(task->assertion), rest;
	while (text.size) {
		struct bytes line = bytes_trim(bytes_split(text, '\n', &rest));
		text = rest;
		if (bytes_starts_with(line, BYTES("assert ")))
			return line;
	}
	return BYTES("");
}

static enum err_code add_task(struct import *import, const struct task *task, struct bytes inputs,
			      struct err *err)
{
	struct buf program = BUF_INIT(LINE_SIZE_MAX);
	struct bytes example = example_of(task);
	append_program(&program, task, inputs);
	json_t *item =
		program.failed
			? NULL
			: json_pack("{s:s, s:s, s:s%, s:s, s:s%, s:s}", "id", task->id, "prompt",
				    task->prompt, "example", example.data, example.size,
				    "entry_point", task->entry_point, "test_program", program.data,
				    program.size, "canonical_solution", task->solution);
	buf_release(&program);
	return import_add_item(import, item, err);
}

static enum err_code add_line(struct import *import, struct bytes text, struct err *err)
{
	struct buf line = BUF_INIT(LINE_SIZE_MAX), base = BUF_INIT(LINE_SIZE_MAX),
		   plus = BUF_INIT(LINE_SIZE_MAX), inputs = BUF_INIT(LINE_SIZE_MAX);
	json_t *row = NULL;
	struct task task;
	buf_append_bytes(&line, text);
	enum err_code code = take_member(&line, "base_input", &base, err);
	if (code == ERR_OK)
		code = take_member(&line, "plus_input", &plus, err);
	if (code == ERR_OK)
		code = join_inputs(&base, &plus, &inputs, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&line), "the line", &row, err);
	if (code == ERR_OK)
		code = read_task(row, &task, err);
	if (code == ERR_OK)
		code = add_task(import, &task, buf_bytes(&inputs), err);
	json_decref(row);
	buf_release(&line);
	buf_release(&base);
	buf_release(&plus);
	buf_release(&inputs);
	return code;
}

static enum err_code run(struct import *import, struct err *err)
{
	struct bytes rest = import->content;
	bool mbpp = bytes_find(rest, BYTES("\"Mbpp/")) != NULL;
	buf_printf(&import->yaml, "name: %s\n%s", mbpp ? "mbpp-plus" : "humaneval-plus",
		   suite_yaml);
	for (size_t number = 1; rest.size > 0; number++) {
		struct bytes line = bytes_trim(bytes_split(rest, '\n', &rest));
		if (line.size && add_line(import, line, err) != ERR_OK)
			return err_prefix(err, "%s:%zu", import->input, number);
	}
	return ERR_OK;
}

const struct import_format import_evalplus = {"evalplus", detect, run};
