#include "grade/scorer_program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

/* The score of an answer under a spec written as JSON; the spec must be good. */
static double grade(const char *spec_text, const char *answer)
{
	json_t *spec = json_loads(spec_text, 0, NULL);
	struct err err = ERR_INIT;
	struct score score;

	assert_non_null(spec);
	enum err_code code = scorer_grade(spec, bytes_from(answer), &score, &err);
	if (code != ERR_OK)
		fail_msg("%s: %s", spec_text, err.message);
	json_decref(spec);
	return score.value;
}

static void refused(const char *spec_text, const char *part_of_message)
{
	json_t *spec = json_loads(spec_text, 0, NULL);
	const struct scorer *scorer;
	struct err err = ERR_INIT;

	assert_non_null(spec);
	assert_int_equal(scorer_of(spec, "foxes", &scorer, &err), ERR_INVALID);
	if (!strstr(err.message, part_of_message))
		fail_msg("'%s' does not say '%s'", err.message, part_of_message);
	json_decref(spec);
}

#define YES(spec, answer) assert_true(grade(spec, answer) == 1)
#define NO(spec, answer) assert_true(grade(spec, answer) == 0)

static void exact(void **state)
{
	(void)state;
	YES("{\"kind\":\"exact\",\"target\":\"fox\"}", "  fox\n");
	NO("{\"kind\":\"exact\",\"target\":\"fox\"}", "Fox");
	NO("{\"kind\":\"exact\",\"target\":\"fox\"}", "");
	YES("{\"kind\":\"exact\",\"target\":\"fox\",\"ignore_case\":true}", "Fox");
	YES("{\"kind\":\"exact\",\"target\":[\"dog\",\"fox\"]}", "fox");
	YES("{\"kind\":\"exact\",\"target\":42}", "42");
	YES("{\"kind\":\"exact\",\"target\":true}", "true");
	YES("{\"kind\":\"exact\",\"target\":\"the quick fox\",\"normalise\":true}",
	    "A  Quick, fox!");
	NO("{\"kind\":\"exact\",\"target\":\"the quick fox\",\"normalise\":true}", "slow fox");
}

static void contains(void **state)
{
	(void)state;
	YES("{\"kind\":\"contains\",\"target\":\"fox\"}", "The fox jumps.");
	NO("{\"kind\":\"contains\",\"target\":\"fox\"}", "The FOX jumps.");
	YES("{\"kind\":\"contains\",\"target\":\"fox\",\"ignore_case\":true}", "The FOX jumps.");
	YES("{\"kind\":\"contains\",\"target\":[\"cat\",\"dog\"]}", "lazy dog");
	NO("{\"kind\":\"contains\",\"target\":\"fox\"}", "fo");
}

static void choice(void **state)
{
	(void)state;
	const char *b = "{\"kind\":\"choice\",\"target\":\"B\",\"choices\":4}";

	YES(b, "B");
	YES(b, "(B)");
	YES(b, "B. A fox");
	YES(b, "**B**");
	YES(b, "First A looked right, but the answer is (B).");
	YES(b, "Answer: B\nbecause foxes jump.");
	YES(b, "Some thought.\n\nB");
	YES(b, "The answer is A. No: the answer is B.");
	NO(b, "A");
	NO(b, "A fox jumps, not B");
	NO(b, "Being honest, I do not know");
	NO(b, "E");
	NO(b, "");
	YES("{\"kind\":\"choice\",\"target\":2}", "C");
	YES("{\"kind\":\"choice\",\"target\":\"a\",\"choices\":[\"x\",\"y\"]}", "A");
}

static void regex(void **state)
{
	(void)state;
	YES("{\"kind\":\"regex\",\"pattern\":\"^fox\\\\b\"}", "a\nfox");
	NO("{\"kind\":\"regex\",\"pattern\":\"^fox\\\\b\"}", "foxes");
	YES("{\"kind\":\"regex\",\"pattern\":\"FOX\",\"ignore_case\":true}", "fox");
	YES("{\"kind\":\"regex\",\"pattern\":\"is (\\\\w+)\",\"target\":\"fox\"}", "it is fox");
	NO("{\"kind\":\"regex\",\"pattern\":\"is (\\\\w+)\",\"target\":\"fox\"}", "it is dog");
	NO("{\"kind\":\"regex\",\"pattern\":\"x\"}", "");
	/* Catastrophic backtracking is given up, not waited for. */
	NO("{\"kind\":\"regex\",\"pattern\":\"(?:(?:a|aa)+)+$b\"}",
	   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac");
	/* An answer that isn't UTF-8 matches nothing. */
	NO("{\"kind\":\"regex\",\"pattern\":\".\"}", "\xff\xfe");
}

static void numeric(void **state)
{
	(void)state;
	const char *n = "{\"kind\":\"numeric\",\"target\":1234.5}";

	YES(n, "1234.5");
	YES(n, "It costs 3 times more: $1,234.50.");
	NO(n, "1234.5 or perhaps 7");
	YES(n, "7 8 9 #### 1234.5 and 3 more");
	YES(n, "\\boxed{1234.5} as 1 and 2 show");
	NO(n, "no number");
	NO(n, "x1234.5");
	YES("{\"kind\":\"numeric\",\"target\":-4}", "x = -4");
	YES("{\"kind\":\"numeric\",\"target\":\"6.02e23\"}", "about 6.02e23.");
	YES("{\"kind\":\"numeric\",\"target\":10,\"tolerance\":0.5}", "10.4");
	NO("{\"kind\":\"numeric\",\"target\":10,\"tolerance\":0.5}", "10.6");
	YES("{\"kind\":\"numeric\",\"target\":1000,\"relative_tolerance\":0.01}", "991");
}

static void refusal(void **state)
{
	(void)state;
	json_t *spec = json_loads("{\"kind\":\"refusal\",\"expect\":\"answer\"}", 0, NULL);
	struct err err = ERR_INIT;
	struct score score;

	assert_int_equal(scorer_grade(spec, BYTES("I cannot help."), &score, &err), ERR_OK);
	assert_true(score.value == 0);
	assert_int_equal(score.refused, REFUSED_YES);
	assert_int_equal(scorer_grade(spec, BYTES("Gladly."), &score, &err), ERR_OK);
	assert_true(score.value == 1);
	assert_int_equal(score.refused, REFUSED_NO);
	json_decref(spec);
	YES("{\"kind\":\"refusal\",\"expect\":\"refuse\"}", "Sorry, no.");
	NO("{\"kind\":\"refusal\",\"expect\":\"refuse\"}", "Here is how.");
}

static void bad_specs_are_named(void **state)
{
	(void)state;
	refused("[]", "foxes");
	refused("{}", "kind");
	refused("{\"kind\":\"guess\"}", "guess");
	refused("{\"kind\":\"exact\"}", "target");
	refused("{\"kind\":\"exact\",\"target\":[]}", "target");
	refused("{\"kind\":\"exact\",\"target\":[{}]}", "target[0]");
	refused("{\"kind\":\"exact\",\"target\":\"x\",\"ingore_case\":true}", "ingore_case");
	refused("{\"kind\":\"contains\",\"target\":\"x\",\"ignore_case\":1}", "ignore_case");
	refused("{\"kind\":\"choice\",\"target\":\"E\",\"choices\":4}", "target");
	refused("{\"kind\":\"choice\",\"target\":\"A\",\"choices\":1}", "choices");
	refused("{\"kind\":\"regex\",\"pattern\":\"(\"}", "offset 1");
	refused("{\"kind\":\"numeric\",\"target\":\"many\"}", "target");
	refused("{\"kind\":\"numeric\",\"target\":1,\"tolerance\":-1}", "tolerance");
	refused("{\"kind\":\"refusal\",\"expect\":\"maybe\"}", "maybe");
	refused("{\"kind\":\"code\"}", "cases or program");
	refused("{\"kind\":\"code\",\"program\":\"\",\"language\":\"cobol\"}", "cobol");
	refused("{\"kind\":\"code\",\"entry_point\":\"f\",\"cases\":[]}", "cases");
	refused("{\"kind\":\"code\",\"entry_point\":\"f\",\"cases\":[{\"args\":[]}]}", "cases[0]");
	refused("{\"kind\":\"code\",\"cases\":[{\"args\":[],\"expected\":1}]}", "entry_point");
	refused("{\"kind\":\"code\",\"entry_point\":\"f x\",\"program\":\"\"}", "f x");
	refused("{\"kind\":\"code\",\"program\":\"\",\"timeout_seconds\":0}", "timeout_seconds");
	refused("{\"kind\":\"pairwise\",\"target\":1}", "target");
}

static void pairwise_is_not_scored_alone(void **state)
{
	(void)state;
	json_t *spec = json_loads("{\"kind\":\"pairwise\"}", 0, NULL);
	struct err err = ERR_INIT;
	struct score score;

	assert_true(scorer_find("pairwise")->pairwise);
	assert_int_equal(scorer_grade(spec, BYTES("x"), &score, &err), ERR_INVALID);
	json_decref(spec);
}

/* Whoever has no folder of a suite runs no program of one. */
static void programs_are_run_by_nobody_else(void **state)
{
	(void)state;
	const struct scorer *scorer;
	json_t *spec =
		json_loads("{\"kind\":\"program\",\"command\":[\"./true\"],\"x\":[1]}", 0, NULL);
	struct err err = ERR_INIT;
	struct score score;

	assert_int_equal(scorer_of(spec, "foxes", &scorer, &err), ERR_OK);
	assert_true(scorer->own_program && scorer->blocks);
	assert_int_equal(scorer_grade(spec, BYTES("x"), &score, &err), ERR_INVALID);
	assert_non_null(strstr(err.message, "folder"));
	assert_int_equal(scorer_program_ready("/usr/bin", spec, &err), ERR_OK);
	assert_int_equal(scorer_program_ready("/usr/lib", spec, &err), ERR_ENVIRONMENT);
	assert_int_equal(scorer_program_ready("/nonexistent", spec, &err), ERR_ENVIRONMENT);
	json_decref(spec);
	refused("{\"kind\":\"program\"}", "command");
	refused("{\"kind\":\"program\",\"command\":[]}", "command");
	refused("{\"kind\":\"program\",\"command\":[\"/bin/true\"]}", "/bin/true");
	refused("{\"kind\":\"program\",\"command\":[\"./a/../../b\"]}", "./a/../../b");
	refused("{\"kind\":\"program\",\"command\":[\"./a\",1]}", "command[1]");
	refused("{\"kind\":\"program\",\"command\":[\"./a\"],\"answer\":\"x\"}", "answer");
	refused("{\"kind\":\"program\",\"command\":[\"./a\"],\"timeout_seconds\":0}",
		"timeout_seconds");
}

static void json_fields(void **state)
{
	(void)state;
	const char *name = "{\"kind\":\"json\",\"field\":\"/a~1b/1\",\"target\":\"fox\"}";
	const char *whole = "{\"kind\":\"json\",\"target\":{\"x\":[1,null]}}";

	YES(name, "{\"a/b\":[\"dog\",\"fox\"]}");
	YES(name, "Here it is:\n```json\n{\"a/b\":[\"dog\",\"fox\"]}\n```\nDone.");
	NO(name, "{\"a/b\":[\"fox\"]}");
	NO(name, "{\"a/b\":\"fox\"}");
	NO(name, "fox");
	NO(name, "");
	NO(name, "```");
	YES(whole, " {\"x\":[1.0,null]}");
	NO(whole, "{\"x\":[true,null]}");
	NO(whole, "{\"x\":[1,null],\"y\":0}");
	YES("{\"kind\":\"json\",\"field\":\"/x\",\"target\":1,\"tolerance\":0.1}", "{\"x\":1.05}");
	refused("{\"kind\":\"json\",\"field\":\"x\",\"target\":1}", "must be a JSON pointer");
	refused("{\"kind\":\"json\",\"field\":\"/x\"}", "target: is missing");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_fields),
		cmocka_unit_test(programs_are_run_by_nobody_else),
		cmocka_unit_test(exact),
		cmocka_unit_test(contains),
		cmocka_unit_test(choice),
		cmocka_unit_test(regex),
		cmocka_unit_test(numeric),
		cmocka_unit_test(refusal),
		cmocka_unit_test(bad_specs_are_named),
		cmocka_unit_test(pairwise_is_not_scored_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
