/* Programs that want a score they didn't earn (attacks_*.c): none gets one, none leaves a process
 * or a file behind, and the next honest program finds all as it was. Sanitizers, which see the
 * grader and none of the programs, are given every fourth. */
#include "attacks.h"

#include "base/sanitized.h"
#include "grade/code_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ATTACKS_MIN 40 /* in each language */
#define STRIDE (SANITIZED ? 4 : 1)
#define THREADS 3

static struct sandbox_warm *pool;

/* ---- what is left behind ---- */

/* Processes below this one, however deep: the interpreters of the pool are known. */
static unsigned count_children(long parent)
{
	char path[64], text[4096], *at = text, *end;
	unsigned count = 0;

	snprintf(path, sizeof(path), "/proc/%ld/task/%ld/children", parent, parent);
	FILE *file = fopen(path, "r");
	size_t size = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
	if (file)
		fclose(file);
	text[size] = '\0';
	for (;; at = end) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			return count;
		count += 1 + count_children(pid);
	}
}

/* The names that the attacks write to, and the sandbox's own. */
static void no_file_is_left(void)
{
	static const char *const places[] = {"/parley-attack",
					     "/usr/parley-attack",
					     "/tmp/parley-attack",
					     "/dev/shm/parley-attack",
					     "candidate.c",
					     "driver.c",
					     "program",
					     "core"};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (access(places[i], F_OK) == 0)
			fail_msg("%s is there", places[i]);
}

/* ---- grading ---- */

struct barrage {
	const struct attack *attacks;
	const char *specs[2]; /* NULL: only one form */
	size_t count, next;   /* of attacks times specs; next: atomic */
	size_t passed;        /* atomic */
	size_t errors;
};

static bool passes(const char *spec_text, const char *answer, struct code_result *result,
		   struct err *err)
{
	json_t *spec = json_loads(spec_text, 0, NULL);
	enum err_code code =
		spec ? code_grade(pool, spec, bytes_from(answer), result, err) : ERR_INVALID;

	json_decref(spec);
	return code == ERR_OK && result->passed;
}

static void *attack(void *argument)
{
	struct barrage *barrage = argument;
	unsigned forms = barrage->specs[1] ? 2 : 1;

	for (;;) {
		size_t i = __atomic_fetch_add(&barrage->next, 1, __ATOMIC_RELAXED);
		struct code_result result;
		struct err err = ERR_INIT;

		if (i >= barrage->count * forms)
			return NULL;
		if (i / forms % STRIDE)
			continue;
		const struct attack *one = &barrage->attacks[i / forms];
		if (passes(barrage->specs[i % forms], one->code, &result, &err)) {
			__atomic_fetch_add(&barrage->passed, 1, __ATOMIC_RELAXED);
			print_message("%s: passed\n", one->name);
		}
		if (err.code != ERR_OK) {
			__atomic_fetch_add(&barrage->errors, 1, __ATOMIC_RELAXED);
			print_message("%s: %s\n", one->name, err.message);
		}
	}
}

static void run_all(struct barrage *barrage)
{
	pthread_t threads[THREADS];

	while (barrage->attacks[barrage->count].name)
		barrage->count++;
	assert_true(barrage->count >= ATTACKS_MIN);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, attack, barrage), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(barrage->passed, 0);
	assert_int_equal(barrage->errors, 0);
	no_file_is_left();
	print_message("%zu attacks failed to score\n", (barrage->count + STRIDE - 1) / STRIDE);
}

static void honest(const char *spec, const char *answer)
{
	struct code_result result;
	struct err err = ERR_INIT;

	if (!passes(spec, answer, &result, &err))
		fail_msg("an honest program: %s%s", err.message, result.reason);
}

#define CASES                                                                          \
	"\"entry_point\":\"add\",\"timeout_seconds\":1,\"memory_mb\":256,"             \
	"\"cases\":[{\"args\":[2,3],\"expected\":5},{\"args\":[-1,1],\"expected\":0}," \
	"{\"args\":[20,3],\"expected\":23}]}"

static bool lacks(const struct code_language *language)
{
	struct err err = ERR_INIT;

	if (sandbox_check(&err) == ERR_OK && language->ready(&err) == ERR_OK)
		return false;
	print_message("SKIP: %s\n", err.message);
	return true;
}

static void python(void **state)
{
	(void)state;
	if (lacks(&code_python))
		skip();
	const char *cases = "{\"kind\":\"code\"," CASES;
	const char *program = "{\"kind\":\"code\",\"entry_point\":\"add\",\"timeout_seconds\":1,"
			      "\"memory_mb\":256,\"program\":"
			      "\"def check(candidate):\\n    assert candidate(2, 3) == 5\\n"
			      "    assert abs(candidate(1, 1) - 2) < 1e-6\\n\\ncheck(add)\\n\"}";
	struct barrage barrage = {
		.attacks = attacks_python, .specs = {cases, program}
        };

	run_all(&barrage);
	for (int i = 0; i < THREADS; i++)
		honest(cases, "def add(a, b): return a + b");
	honest(program, "def add(a, b): return a + b");
}

static void javascript(void **state)
{
	(void)state;
	if (lacks(&code_javascript))
		skip();
	const char *cases = "{\"kind\":\"code\",\"language\":\"javascript\"," CASES;
	struct barrage barrage = {.attacks = attacks_javascript, .specs = {cases}};

	run_all(&barrage);
	honest(cases, "const add = (a, b) => a + b;");
}

static void c(void **state)
{
	(void)state;
	if (lacks(&code_c))
		skip();
	const char *cases = "{\"kind\":\"code\",\"language\":\"c\",\"signature\":"
			    "\"int add(int a, int b)\"," CASES;
	struct barrage barrage = {.attacks = attacks_c, .specs = {cases}};

	run_all(&barrage);
	honest(cases, "int add(int a, int b) { return a + b; }");
}

/* After all of them: when the pool is gone, nothing runs any more. */
static void no_process_is_left(void **state)
{
	(void)state;
	sandbox_warm_free(pool);
	pool = NULL;
	assert_int_equal(count_children(getpid()), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(python),
		cmocka_unit_test(javascript),
		cmocka_unit_test(c),
		cmocka_unit_test(no_process_is_left),
	};

	pool = code_warm_new();
	return pool ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
