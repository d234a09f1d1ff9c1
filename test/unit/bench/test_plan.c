/* Plans: from a file, from the command line, and back from plan.json. */
#include "bench/plan.h"

#include "provider.h"

#include <stdio.h>
#include <stdlib.h>

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

struct fixture {
	struct env *env;
	struct plan plan;
	char folder[256];
	const char *paths[2];
	struct err err;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char directory[300];
	fixture->env = env_os_new(1);
	folder_make(fixture->folder);
	snprintf(directory, sizeof(directory), "%s/foxes", fixture->folder);
	env_make_directory(fixture->env, directory, NULL);
	folder_write(directory, "suite.yaml", "name: foxes\n");
	fixture->paths[0] = fixture->folder;
	plan_init(&fixture->plan);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	plan_release(&fixture->plan);
	env_os_free(fixture->env);
	folder_remove(fixture->folder);
	free(fixture);
	return 0;
}

static enum err_code parse(struct fixture *fixture, const char *text)
{
	fixture->err = (struct err)ERR_INIT;
	return plan_parse(&fixture->plan, fixture->env, bytes_from(text), "plan.yaml",
			  fixture->paths, &fixture->err);
}

static void assert_refused(struct fixture *fixture, const char *text, const char *line,
			   const char *part)
{
	plan_release(&fixture->plan);
	plan_init(&fixture->plan);
	assert_int_not_equal(parse(fixture, text), ERR_OK);
	if (!strstr(fixture->err.message, line) || !strstr(fixture->err.message, part))
		fail_msg("\"%s\" has neither %s nor %s", fixture->err.message, line, part);
}

static enum err_code add(struct fixture *fixture, const char *text, enum plan_role role)
{
	fixture->err = (struct err)ERR_INIT;
	return plan_add_model(&fixture->plan, text, role, &fixture->err);
}

static void a_plan_file_is_read(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(
		parse(fixture,
		      "suites: [ foxes ]\n"
		      "models:\n"
		      "  - { name: north-1, dialect: anthropic, url: "
		      "\"https://api.north.example\", "
		      "key_env: NORTH_KEY, price: { input: 3, output: 15 } }\n"
		      "  - { name: south-1, dialect: openai, url: \"https://south.example/v1\" }\n"
		      "judges: [ \"third=anthropic@http://127.0.0.1:1#K\" ]\n"
		      "baseline: south-1\n"
		      "concurrency: 20\nsamples: 3\ntimeout_seconds: 30\n"
		      "budget: { usd: 1.5, tokens: 1000 }\n"),
		ERR_OK);
	const struct plan *plan = &fixture->plan;
	assert_int_equal(plan->suite_count, 1);
	assert_int_equal(plan->model_count, 3);
	assert_string_equal(plan->models[0].name, "north-1");
	assert_int_equal(plan->models[0].dialect, DIALECT_ANTHROPIC);
	assert_string_equal(plan->models[0].key_env, "NORTH_KEY");
	assert_float_equal(plan->models[0].price.output, 15, 0);
	assert_int_equal(plan->models[1].roles, PLAN_CONTESTANT | PLAN_BASELINE);
	assert_null(plan->models[1].key_env);
	assert_int_equal(plan->models[2].roles, PLAN_JUDGE);
	assert_int_equal(plan->concurrency, 20);
	assert_int_equal(plan->samples, 3);
	assert_int_equal(plan->budget_tokens, 1000);
	assert_float_equal(plan->budget_usd, 1.5, 0);
}

static void mistakes_are_told_by_line(void **state)
{
	struct fixture *fixture = *state;
	static const char good[] = "suites: [ foxes ]\n";
	char text[512];
	assert_refused(fixture, "models: []\n", "plan.yaml:1", "suites");
	assert_refused(fixture, "suites: [ foxes ]\nmodels: []\nspeed: 1\n", "plan.yaml:3",
		       "speed");
	assert_refused(fixture, "suites:\n  - nothing\nmodels: []\n", "plan.yaml:2", "nothing");
	snprintf(text, sizeof(text),
		 "%smodels:\n  - { name: a, dialect: klingon, url: \"http://a\" }\n", good);
	assert_refused(fixture, text, "plan.yaml:3", "klingon");
	snprintf(text, sizeof(text), "%smodels:\n  - { name: a, dialect: openai }\n", good);
	assert_refused(fixture, text, "plan.yaml:3", "url");
	snprintf(text, sizeof(text),
		 "%smodels:\n  - { name: a, dialect: openai, url: \"ftp://a\" }\n", good);
	assert_refused(fixture, text, "plan.yaml:3", "ftp://a");
	snprintf(text, sizeof(text), "%smodels: [ \"a=replay@f\", \"a=replay@g\" ]\n", good);
	assert_refused(fixture, text, "plan.yaml:2", "two models");
	snprintf(text, sizeof(text), "%smodels: []\nconcurrency: 5001\n", good);
	assert_refused(fixture, text, "plan.yaml:3", "concurrency");
	snprintf(text, sizeof(text), "%smodels: []\nbudget: { euro: 1 }\n", good);
	assert_refused(fixture, text, "plan.yaml:3", "euro");
	snprintf(text, sizeof(text), "%smodels: []\nbaseline: ghost\n", good);
	assert_refused(fixture, text, "plan.yaml:3", "ghost");
}

static void a_key_never_stands_in_a_plan(void **state)
{
	struct fixture *fixture = *state;
	assert_refused(
		fixture,
		"suites: [ foxes ]\nmodels:\n  - { name: a, dialect: openai, url: \"http://a\", "
		"key: sk-secret }\n",
		"plan.yaml:3", "key");
}

static void models_on_the_command_line(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(add(fixture, "m=openai@http://h:1/v1#KEY", PLAN_CONTESTANT), ERR_OK);
	assert_string_equal(fixture->plan.models[0].url, "http://h:1/v1");
	assert_string_equal(fixture->plan.models[0].key_env, "KEY");
	assert_int_equal(add(fixture, "old=replay@a/b@c.jsonl", PLAN_BASELINE), ERR_OK);
	assert_string_equal(fixture->plan.models[1].replay, "a/b@c.jsonl");
	assert_int_equal(add(fixture, "m", PLAN_JUDGE), ERR_OK);
	assert_int_equal(fixture->plan.models[0].roles, PLAN_CONTESTANT | PLAN_JUDGE);
}

static void malformed_models_are_refused(void **state)
{
	static const char *const texts[] = {"",
					    "m",
					    "m=",
					    "m=openai",
					    "m=openai@",
					    "=openai@http://h",
					    "m=x@http://h",
					    "m=openai@h",
					    "m=openai@http://u:p@h",
					    "m n=openai@http://h",
					    "m=openai@http://h?q=1",
					    "m\x1b=replay@f"};
	struct fixture *fixture = *state;
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (add(fixture, texts[i], PLAN_CONTESTANT) == ERR_OK)
			fail_msg("\"%s\" was taken", texts[i]);
	assert_int_equal(fixture->plan.model_count, 0);
}

static void keys_come_from_the_environment(void **state)
{
	struct fixture *fixture = *state;
	const char *key;
	assert_int_equal(add(fixture, "m=openai@http://h#PARLEY_TEST_PLAN_KEY", PLAN_CONTESTANT),
			 ERR_OK);
	const struct plan_model *model = &fixture->plan.models[0];
	unsetenv("PARLEY_TEST_PLAN_KEY");
	assert_int_equal(plan_key(model, &key, &fixture->err), ERR_INVALID);
	assert_non_null(strstr(fixture->err.message, "PARLEY_TEST_PLAN_KEY"));
	setenv("PARLEY_TEST_PLAN_KEY", "", 1);
	assert_int_equal(plan_key(model, &key, &fixture->err), ERR_INVALID);
	setenv("PARLEY_TEST_PLAN_KEY", "secret\r\nx: y", 1);
	assert_int_equal(plan_key(model, &key, &fixture->err), ERR_INVALID);
	assert_null(strstr(fixture->err.message, "secret"));
	setenv("PARLEY_TEST_PLAN_KEY", "sk-1", 1);
	assert_int_equal(plan_key(model, &key, &fixture->err), ERR_OK);
	assert_string_equal(key, "sk-1");
}

static void encode(struct plan *plan, struct buf *out)
{
	plan->suites[0].name = "foxes";
	plan->suites[0].version = "1";
	plan->suites[0].loaded = true;
	assert_int_equal(plan_encode(plan, out, NULL), ERR_OK);
}

static void a_plan_survives_its_file(void **state)
{
	struct fixture *fixture = *state;
	struct plan again;
	struct buf first = BUF_INIT(65536), second = BUF_INIT(65536);
	assert_int_equal(parse(fixture, "suites: [ foxes ]\nmodels:\n"
					"  - { name: a, dialect: openai, url: \"http://a\", "
					"key_env: K, price: { input: 1, output: 2 } }\n"
					"  - { name: b, replay: answers.jsonl }\n"
					"judges: [ b ]\nself_judging: true\nsamples: 2\n"),
			 ERR_OK);
	memcpy(fixture->plan.id, "0123456789abcdef0123456789abcdef", 33);
	encode(&fixture->plan, &first);
	plan_init(&again);
	assert_int_equal(
		plan_decode(&again, buf_bytes(&first), "plan.json", "out/suite", &fixture->err),
		ERR_OK);
	assert_string_equal(again.suites[0].directory, "out/suite/foxes");
	assert_int_equal(again.models[1].roles, PLAN_CONTESTANT | PLAN_JUDGE);
	encode(&again, &second);
	assert_string_equal(first.data, second.data);
	plan_release(&again);
	buf_release(&first);
	buf_release(&second);
}

static void a_plan_file_that_was_changed_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"{}",
		"[]",
		"{\"format\":\"parley-plan-9\"}",
		"{\"format\":\"parley-plan-1\",\"suites\":[{\"name\":\"../x\",\"version\":\"1\","
		"\"root\":\"0000000000000000000000000000000000000000000000000000000000000000\"}],"
		"\"models\":[]}",
		"{\"format\":\"parley-plan-1\",\"suites\":[],\"models\":[{\"name\":\"a\"}]}"};
	struct fixture *fixture = *state;
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct plan plan;
		plan_init(&plan);
		assert_int_not_equal(
			plan_decode(&plan, bytes_from(texts[i]), "plan.json", "s", &fixture->err),
			ERR_OK);
		plan_release(&plan);
	}
}

static void a_budget_in_money_needs_prices(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(add(fixture, "m=openai@http://h", PLAN_CONTESTANT), ERR_OK);
	fixture->plan.budget_usd = 5;
	assert_int_equal(plan_check(&fixture->plan, false, false, &fixture->err), ERR_INVALID);
	assert_non_null(strstr(fixture->err.message, "price"));
	fixture->plan.models[0].price.output = 1;
	assert_int_equal(plan_check(&fixture->plan, false, false, &fixture->err), ERR_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_plan_file_is_read),
		TEST(mistakes_are_told_by_line),
		TEST(a_key_never_stands_in_a_plan),
		TEST(models_on_the_command_line),
		TEST(malformed_models_are_refused),
		TEST(keys_come_from_the_environment),
		TEST(a_plan_survives_its_file),
		TEST(a_plan_file_that_was_changed_is_refused),
		TEST(a_budget_in_money_needs_prices),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
