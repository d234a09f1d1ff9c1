/* JavaScript and C: right and wrong answers, what a specification may say, and how a missing
 * toolchain is told. */
#include "grade/code_internal.h"

#include "code_expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define NEEDS(language)                                                                          \
	do {                                                                                     \
		struct err lacking = ERR_INIT;                                                   \
		if (sandbox_check(&lacking) != ERR_OK || (language).ready(&lacking) != ERR_OK) { \
			print_message("SKIP: %s\n", lacking.message);                            \
			skip();                                                                  \
		}                                                                                \
	} while (0)

/* ---- JavaScript ---- */

static const char js_addition[] =
	"{\"kind\":\"code\",\"language\":\"javascript\",\"entry_point\":\"add\","
	"\"timeout_seconds\":2,"
	"\"cases\":[{\"args\":[2,3],\"expected\":5},{\"args\":[-1,1],\"expected\":0},"
	"{\"args\":[0.1,0.2],\"expected\":0.3}]}";

static void javascript(void **state)
{
	(void)state;
	NEEDS(code_javascript);
	good(js_addition, "Sure:\n```js\nfunction add(a, b) { return a + b; }\n```\n"
			  "```js\nconsole.log(add(1, 2));\n```");
	good(js_addition, "const add = (a, b) => {\n  console.log('x'.repeat(1e6));\n"
			  "  return a + b;\n};");
	good(js_addition, "export default function add(a, b) { return a + b }");
	good(js_addition, "module.exports = { add: async (a, b) => a + b };");
	good(js_addition, "const { sum } = { sum: (a, b) => a + b };\nexport { sum };\n"
			  "exports.add = sum;");
	bad(js_addition, "function add(a, b) { return a - b; }", "case 1: wrong value");
	bad(js_addition, "function add(a, b) { return String(a + b); }", "case 1: wrong value");
	bad(js_addition, "function plus(a, b) { return a + b; }", "add is not defined");
	bad(js_addition, "function add(a, b) { return a +; }", "SyntaxError");
	bad(js_addition, "function add(a, b) { return a.b.c; }", "TypeError");
	bad(js_addition, "function add(a, b) { return new Set([a]); }", "a value of type Set");
	bad(js_addition, "function add(a, b) { return NaN; }", "the number NaN");
	bad(js_addition, "function add(a, b) { process.exit(0); }", "no result");
	bad(js_addition, "function add(a, b) { return new Promise(() => {}); }", "no result");
	bad(js_addition, "function add(a, b) { for (;;); }", "CPU time limit of 2 s");
	bad(js_addition, "I cannot write code.", "SyntaxError");
}

static void values_of_javascript(void **state)
{
	(void)state;
	NEEDS(code_javascript);
	const char *echo =
		"{\"kind\":\"code\",\"language\":\"javascript\",\"entry_point\":\"f\",\"cases\":[{"
		"\"args\":[null,true,1,-2.5e300,\"\\u00e4\\n\\\"\",[[],{}],{\"k\":[1]}],"
		"\"expected\":[null,true,1,-2.5e300,\"\\u00e4\\n\\\"\",[[],{}],{\"k\":[1]}]}]}";
	const char *count = "{\"kind\":\"code\",\"language\":\"javascript\",\"entry_point\":\"f\","
			    "\"memory_mb\":128,\"cases\":[{\"args\":[],\"expected\":{\"1\":2}}]}";

	good(echo, "function f(...args) { return args; }");
	good(count, "function f() { return new Map([[1, 2n]]); }");
	good(count, "function f() { return { 1: 2 }; }");
	bad(count, "function f() { const x = []; x.push(x); return x; }", "nested too deeply");
	bad(count, "function f() { const b = []; for (;;) b.push(Buffer.alloc(1 << 24, 1)); }", "");
	bad(count, "function f() { const b = []; for (;;) b.push({}); }", "");
}

/* ---- C ---- */

static const char c_total[] =
	"{\"kind\":\"code\",\"language\":\"c\",\"entry_point\":\"total\",\"timeout_seconds\":1,"
	"\"signature\":\"long total(const int *values, size_t count)\",\"cases\":["
	"{\"args\":[[1,2,3],3],\"expected\":6},{\"args\":[[],0],\"expected\":0},"
	"{\"args\":[[-5,2147483647],2],\"expected\":2147483642}]}";

static void c_programs(void **state)
{
	(void)state;
	NEEDS(code_c);
	good(c_total, "Here:\n```c\n#include <stdio.h>\n#include <stddef.h>\n"
		      "long total(const int *values, size_t count)\n{\n    long sum = 0;\n"
		      "    for (size_t i = 0; i < count; i++) sum += values[i];\n"
		      "    printf(\"noise\\n\");\n    return sum;\n}\n"
		      "int main(void) { return 1; }\n```\n```sh\nls\n```");
	bad(c_total, "#include <stddef.h>\nlong total(const int *v, size_t n) { return n; }",
	    "case 1: wrong value");
	bad(c_total, "long total(const int *v, size_t n) { return 0 }", "does not compile");
	bad(c_total, "long sum(const int *v, unsigned long n) { return 0; }", "does not compile");
	bad(c_total, "long total(const int *v, unsigned long n) { return *(volatile int *)0; }",
	    "ended by signal");
	bad(c_total, "long total(const int *v, unsigned long n) { for (;;); }",
	    "CPU time limit of 1 s");
}

static void values_of_c(void **state)
{
	(void)state;
	NEEDS(code_c);
#define C_ITEM(signature, arguments, expected)                                                   \
	"{\"kind\":\"code\",\"language\":\"c\",\"entry_point\":\"f\",\"signature\":\"" signature \
	"\",\"cases\":[{\"args\":" arguments ",\"expected\":" expected "}]}"
	good(C_ITEM("void f(int *v, size_t n)", "[[3,1,2],3]", "[2,1,3]"),
	     "#include <stddef.h>\nvoid f(int *v, size_t n) { int x = v[0]; v[0] = v[2]; v[2] = x; "
	     "}");
	good(C_ITEM("size_t f(char *s, double *d)", "[\"abc\",[0.5]]", "[3,\"Abc\",[1.5]]"),
	     "#include <string.h>\nsize_t f(char *s, double *d) { s[0] = 'A'; *d += 1; return "
	     "strlen(s); }");
	good(C_ITEM("const char *f(const char *const *names, unsigned long n, bool last)",
		    "[[\"a\",\"\\u00e4\\\"\"],2,true]", "\"\\u00e4\\\"\""),
	     "#include <stdbool.h>\n"
	     "const char *f(const char *const *names, unsigned long n, bool last) { return names[n "
	     "- 1]; }");
	good(C_ITEM("bool f(int64_t x, uint64_t y, char c, float z)",
		    "[-9223372036854775808,7,\"x\",-0.5]", "true"),
	     "#include <stdint.h>\n#include <stdbool.h>\nbool f(int64_t x, uint64_t y, char c, "
	     "float z) { return x == INT64_MIN && y == 7 && c == 'x' && z == -0.5f; }");
	good(C_ITEM("char *f(void)", "[]", "null"), "char *f(void) { return 0; }");
	bad(C_ITEM("double f(void)", "[]", "1"), "double f(void) { return 0.0 / 0.0; }",
	    "no JSON value");
}

static void refuses(const char *spec_text, const char *reason)
{
	json_t *spec = json_loads(spec_text, 0, NULL);
	struct err err = ERR_INIT;

	assert_non_null(spec);
	assert_int_equal(code_check(spec, "item", &err), ERR_INVALID);
	if (!strstr(err.message, reason))
		fail_msg("'%s' does not say '%s'", err.message, reason);
	json_decref(spec);
}

static void specifications(void **state)
{
	(void)state;
	refuses("{\"kind\":\"code\",\"language\":\"rust\",\"entry_point\":\"f\",\"cases\":[]}",
		"item: language: 'rust' cannot be graded (python, javascript, c)");
	refuses("{\"kind\":\"code\",\"language\":\"javascript\",\"program\":\"x\"}",
		"program: is for python only");
	refuses("{\"kind\":\"code\",\"entry_point\":\"f\",\"signature\":\"int f(void)\","
		"\"cases\":[{\"args\":[],\"expected\":1}]}",
		"signature: is for c only");
	refuses("{\"kind\":\"code\",\"language\":\"c\",\"entry_point\":\"f\",\"cases\":["
		"{\"args\":[],\"expected\":1}]}",
		"signature: is missing");
	refuses(C_ITEM("int g(void)", "[]", "1"), "signature: f( must follow the first type");
	refuses(C_ITEM("int *f(void)", "[]", "1"), "must begin with a type that can be returned");
	refuses(C_ITEM("int f(struct x *p)", "[1]", "1"), "parameter 1 has no type");
	refuses(C_ITEM("int f(int x", "[1]", "1"), "'' where , or ) is needed");
	refuses(C_ITEM("int f(int x) { return 1; }", "[1]", "1"), "'{' after its end");
	refuses(C_ITEM("int f(int x, char *s)", "[1]", "1"),
		"cases[0]: args: 1 where the signature has 2 parameters");
	refuses(C_ITEM("int f(const int *x)", "[[1,\"2\"]]", "1"),
		"cases[0]: args[0]: this value cannot be passed as int *");
	refuses(C_ITEM("int f(unsigned x)", "[-1]", "1"), "cannot be passed as unsigned");
	refuses("{\"kind\":\"code\",\"entry_point\":\"f\",\"memory_mb\":1,"
		"\"cases\":[{\"args\":[],\"expected\":1}]}",
		"memory_mb");
}

static void a_missing_toolchain_is_named(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	if (code_javascript.ready(&err) == ERR_OK)
		return;
	assert_int_equal(err.code, ERR_ENVIRONMENT);
	assert_non_null(strstr(err.message, "install the package nodejs"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(javascript),     cmocka_unit_test(values_of_javascript),
		cmocka_unit_test(c_programs),     cmocka_unit_test(values_of_c),
		cmocka_unit_test(specifications), cmocka_unit_test(a_missing_toolchain_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
