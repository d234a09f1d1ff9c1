#include "grade/code_internal.h"

#include "code_expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

static bool there_is_no_sandbox(void)
{
	struct err err = ERR_INIT;

	return sandbox_check(&err) == ERR_ENVIRONMENT;
}

#define NEEDS_SANDBOX()                                      \
	do {                                                 \
		if (there_is_no_sandbox()) {                 \
			print_message("SKIP: no sandbox\n"); \
			skip();                              \
		}                                            \
	} while (0)

/* ---- extraction ---- */

static void extracts(const char *answer, const char *entry_point, const char *prompt,
		     const char *expected)
{
	struct buf out = BUF_INIT(1 << 16);

	code_extract(bytes_from(answer), &code_python, entry_point, prompt, &out);
	buf_append_char(&out, '\0');
	assert_false(out.failed);
	assert_string_equal(out.data, expected);
	buf_release(&out);
}

static void code_in_answers(void **state)
{
	(void)state;
	extracts("def f(): pass", "f", NULL, "def f(): pass");
	extracts("Here:\n```python\ndef f(): pass\n```\nDone.", "f", NULL, "def f(): pass\n");
	extracts("```\ndef f(): pass\n```", "f", NULL, "def f(): pass\n");
	extracts("```Python3 title=x\nx\n```", NULL, NULL, "x\n");
	/* The last block that defines it, not the example after it. */
	extracts("```python\ndef f(): 1\n```\n```python\ndef f(): "
		 "2\n```\n```python\nprint(f())\n```",
		 "f", NULL, "def f(): 2\n");
	extracts("```python\na\n```\n```bash\nls\n```", "f", NULL, "a\n");
	extracts("```bash\nls\n```\nx = 1", "f", NULL, "```bash\nls\n```\nx = 1");
	extracts("```python\ndef f():\n    '''\n    ~~~\n    '''\n", "f", NULL,
		 "def f():\n    '''\n    ~~~\n    '''\n");
	extracts("~~~~py\nx\n~~~\ny\n~~~~", "f", NULL, "x\n~~~\ny\n");
	extracts("```python\n```", "f", NULL, "");
	extracts("```python", "f", NULL, "```python");
	extracts("", "f", NULL, "");
	extracts("```python\r\nf = lambda: 1\r\n```\r\n", "f", NULL, "f = lambda: 1\r\n");
}

static void beginnings_and_completions(void **state)
{
	(void)state;
	const char *prompt = "import math\n\ndef f(x):\n    \"\"\"doc\"\"\"\n";

	extracts("    return x\n", "f", prompt,
		 "import math\n\ndef f(x):\n    \"\"\"doc\"\"\"\n    return x\n");
	extracts(
		"def f(x):\n    return math.pi\n", "f", prompt,
		"import math\n\ndef f(x):\n    \"\"\"doc\"\"\"\n\ndef f(x):\n    return math.pi\n");
	/* The whole prompt repeated isn't doubled. */
	extracts("import math\n\ndef f(x):\n    \"\"\"doc\"\"\"\n    return 1\n", "f", prompt,
		 "import math\n\ndef f(x):\n    \"\"\"doc\"\"\"\n    return 1\n");
	extracts("```python\n    return 2\n```", "f", prompt,
		 "import math\n\ndef f(x):\n    \"\"\"doc\"\"\"\n    return 2\n");
}

/* ---- values ---- */

static bool equal(const char *expected, const char *got, double tolerance)
{
	json_t *a = json_loads(expected, JSON_DECODE_ANY, NULL);
	json_t *b = json_loads(got, JSON_DECODE_ANY, NULL);

	assert_non_null(a);
	assert_non_null(b);
	bool result = code_value_equal(a, b, tolerance);
	json_decref(a);
	json_decref(b);
	return result;
}

static void values(void **state)
{
	(void)state;
	assert_true(equal("1", "1", 0));
	assert_true(equal("1", "1.0", 0));
	assert_false(equal("1", "true", 0));
	assert_false(equal("0", "false", 0));
	assert_false(equal("9007199254740993", "9007199254740992", 0));
	assert_true(equal("0.3", "0.30000000000000004", 0));
	assert_true(equal("1e20", "1.00000000001e20", 0));
	assert_false(equal("0.3", "0.3001", 0));
	assert_true(equal("0.3", "0.3001", 0.001));
	assert_true(equal("[1,[2,{\"a\":null}]]", "[1,[2,{\"a\":null}]]", 0));
	assert_false(equal("[1,2]", "[2,1]", 0));
	assert_false(equal("[1]", "[1,1]", 0));
	assert_false(equal("{\"a\":1}", "{\"a\":1,\"b\":2}", 0));
	assert_false(equal("\"1\"", "1", 0));
	assert_false(equal("null", "0", 0));
	assert_true(equal("\"\\u00e4\"", "\"ä\"", 0));
}

/* ---- grading ---- */

static const char addition[] =
	"{\"kind\":\"code\",\"language\":\"python\",\"entry_point\":\"add\",\"timeout_seconds\":1,"
	"\"cases\":[{\"args\":[2,3],\"expected\":5},{\"args\":[-1,1],\"expected\":0},"
	"{\"args\":[0.1,0.2],\"expected\":0.3}]}";

static const char addition_program[] =
	"{\"kind\":\"code\",\"entry_point\":\"add\",\"timeout_seconds\":1,\"program\":"
	"\"def check(candidate):\\n    assert candidate(2, 3) == 5\\n"
	"    assert abs(candidate(1, 1) - 2) < 1e-6\\n\\ncheck(add)\\n\"}";

static void right_and_wrong_answers(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	const char *right = "Sure:\n```python\ndef add(a, b):\n    return a + b\n```";

	good(addition, right);
	good(addition_program, right);
	good(addition, "def add(a, b):\n    print('noise' * 100000)\n    return a + b");
	bad(addition, "def add(a, b): return a - b", "case 1: wrong value");
	bad(addition, "def add(a, b): return abs(a) + b", "case 2: wrong value");
	bad(addition, "def plus(a, b): return a + b", "add is not defined");
	bad(addition, "def add(a, b) return", "SyntaxError");
	bad(addition, "def add(a, b): return 1 / 0", "ZeroDivisionError");
	bad(addition, "def add(a, b): return {a, b}", "no JSON value");
	bad(addition, "I cannot write code.", "SyntaxError");
	bad(addition, "", "add is not defined");
	bad(addition_program, "def add(a, b): return a - b", "test line 2: AssertionError");
	bad(addition_program, "def add(a, b): return 1 / 0", "ZeroDivisionError");
	bad(addition_program, "def add(a, b) return", "SyntaxError");
	bad(addition_program, "def plus(a, b): return a + b", "NameError");
}

static void counts_and_times(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	struct code_result result;

	grade(addition, "def add(a, b): return abs(a) + b", &result);
	assert_int_equal(result.cases, 3);
	assert_int_equal(result.cases_passed, 2);
	assert_false(result.time_limited);
	grade(addition, "def add(a, b):\n    while True: pass", &result);
	assert_true(result.time_limited);
	assert_string_equal(result.reason, "CPU time limit of 1 s");
	assert_true(result.cpu_ms >= 950);
	grade(addition_program, "def add(a, b):\n    while True: pass", &result);
	assert_true(result.time_limited);
	assert_true(result.cpu_ms >= 950);
	/* The candidate's time is counted where it passes, too. */
	grade(addition_program,
	      "import time\ndef add(a, b):\n    while time.process_time() < 0.3: pass\n"
	      "    return a + b",
	      &result);
	assert_true(result.passed);
	assert_true(result.cpu_ms >= 300);
	/* What was computed before the limit still counts as computed. */
	grade(addition, "def add(a, b):\n    while a == -1: pass\n    return a + b", &result);
	assert_false(result.passed);
	assert_int_equal(result.cases_passed, 1);
}

static void values_cross_in_full(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	const char *echo =
		"{\"kind\":\"code\",\"entry_point\":\"f\",\"cases\":[{\"args\":[null,true,1,-2."
		"5e300,"
		"\"\\u00e4\\n\\\"\",[[],{}],{\"k\":[1]}],\"expected\":[null,true,1,-2.5e300,"
		"\"\\u00e4\\n\\\"\",[[],{}],{\"k\":[1]}]}]}";
	const char *big = "{\"kind\":\"code\",\"entry_point\":\"f\",\"cases\":"
			  "[{\"args\":[],\"expected\":1e40}]}";

	good(echo, "def f(*args): return args");
	good(echo, "def f(*args): return list(args)");
	good(big, "def f(): return 10 ** 40");
	bad(big, "def f(): return float('inf')", "no JSON value");
	bad(big, "def f(): return float('nan')", "no JSON value");
	bad(big, "def f(): return 10 ** 5000", "no JSON value");
	bad(big, "def f():\n    x = []\n    x.append(x)\n    return x", "nested too deeply");
	bad(big, "def f(): return object()", "a value of type object");
}

/* What tests of other data sets do with the candidate's functions and objects. */
static void programs_of_all_kinds(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	const char *spec = "{\"kind\":\"code\",\"program\":\""
			   "n = Node(1)\\nn.next = Node(2)\\nassert n.next.value == 2\\n"
			   "assert total(n) == 3\\n"
			   "assert list(up_to(3)) == [0, 1, 2]\\n"
			   "x = [3, 1, 2]\\nsort_it(x)\\nassert x == [1, 2, 3]\\n"
			   "assert math.isclose(pi(), 3.14159, rel_tol=0.01)\\n"
			   "try:\\n    fails()\\n    assert False\\nexcept ValueError as e:\\n"
			   "    assert 'so' in str(e)\\n"
			   "assert isinstance(pair(), tuple) and pair() == (1, {2})\\n"
			   "assert text() == 'a\\\\ud800b'\\n\"}";

	good(spec, "class Node:\n"
		   "    def __init__(self, value): self.value, self.next = value, None\n"
		   "def total(n): return 0 if n is None else n.value + total(n.next)\n"
		   "def up_to(n): yield from range(n)\n"
		   "def sort_it(x): x.sort()\n"
		   "def pi(): return 3.1416\n"
		   "def fails(): raise ValueError('so it is')\n"
		   "def pair(): return 1, {2}\n"
		   "def text(): return 'a\\ud800b'\n");
	/* The function under test may bear a built-in's name. */
	good("{\"kind\":\"code\",\"program\":\"assert sum(10, 15) == 6\"}",
	     "def sum(a, b): return 6");
}

/* The test's text is in another process's memory, read after the fork. */
static void tests_cannot_be_read(void **state)
{
	(void)state;
	NEEDS_SANDBOX();
	const char *spec = "{\"kind\":\"code\",\"entry_point\":\"f\",\"program\":"
			   "\"assert f() == 'xyzzy-%d' % 42\"}";
	const char *cases = "{\"kind\":\"code\",\"entry_point\":\"f\",\"cases\":"
			    "[{\"args\":[],\"expected\":\"xyzzy-expected\"}]}";
	const char *reader =
		"import sys, os, gc\n"
		"found = []\n"
		"def look(o, depth=0):\n"
		"    if isinstance(o, (str, bytes)):\n"
		"        t = o if isinstance(o, str) else o.decode('latin1')\n"
		"        i = t.find('xyz' + 'zy-')\n"
		"        if i >= 0: found.append(t[i:i + 14])\n"
		"    elif depth < 4 and isinstance(o, (list, tuple)):\n"
		"        for x in o: look(x, depth + 1)\n"
		"    elif depth < 4 and isinstance(o, dict):\n"
		"        for x in list(o.values()): look(x, depth + 1)\n"
		"def f():\n"
		"    frame = sys._getframe()\n"
		"    while frame:\n"
		"        look(frame.f_locals); look(frame.f_globals); frame = frame.f_back\n"
		"    for o in gc.get_objects(): look(o)\n"
		"    for fd in range(0, 64):\n"
		"        try:\n"
		"            os.set_blocking(fd, False)\n"
		"            os.lseek(fd, 0, 0)\n"
		"            look(os.read(fd, 1 << 20))\n"
		"        except OSError: pass\n"
		"    return found[0] if found else 'nothing'\n";

	bad(spec, reader, NULL);
	bad(cases, reader, NULL);
}

static void answers_that_are_no_text(void **state)
{
	(void)state;
	json_t *spec = json_loads(addition, 0, NULL);
	struct code_result result;
	struct err err = ERR_INIT;

	assert_int_equal(code_grade(NULL, spec, bytes_of("a\0b", 3), &result, &err), ERR_OK);
	assert_false(result.passed);
	assert_string_equal(result.reason, "the answer is no text");
	json_decref(spec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(code_in_answers),
		cmocka_unit_test(beginnings_and_completions),
		cmocka_unit_test(values),
		cmocka_unit_test(right_and_wrong_answers),
		cmocka_unit_test(counts_and_times),
		cmocka_unit_test(values_cross_in_full),
		cmocka_unit_test(programs_of_all_kinds),
		cmocka_unit_test(tests_cannot_be_read),
		cmocka_unit_test(answers_that_are_no_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
