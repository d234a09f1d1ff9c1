/* Registration of suites, runs, and what a restart remembers of them. */
#include "fake_gateway.h"

#include "base/encode.h"
#include "policy/decide.h"
#include "suite/leaf.h"
#include "suite/words.h"

static struct fake_gateway gateway;
static char key_id[64];
static char *key;

static int set_up(void **state)
{
	(void)state;
	fake_start(&gateway);
	fake_apply(&gateway, fake_access(), 200);
	key = fake_key(&gateway, key_id);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(key);
	fake_stop(&gateway);
	return 0;
}

/* A suite of `count` items "<prefix> 0", …; its root as hex in `root`. */
static json_t *suite_of(const char *prefix, int count, char root[static 65])
{
	uint8_t seed[LEAF_SEED_SIZE] = {0}, salt[LEAF_SALT_SIZE], data[LEAF_DATA_SIZE];
	uint8_t digest[SHA256_SIZE];
	struct leaf_salter salter;
	struct leaf_tree *tree = leaf_tree_new();
	json_t *items = json_array();
	leaf_salter_init(&salter, seed);
	for (int i = 0; i < count; i++) {
		json_t *item = json_pack("{s:o, s:{s:s, s:{s:s}}}", "prompt",
					 json_sprintf("%s %d", prefix, i), "grading", "id", "x",
					 "scorer", "kind", "exact");
		struct buf words = BUF_INIT(65536), grading = BUF_INIT(65536);
		assert_int_equal(words_canonical(json_object_get(item, "prompt"), &words, NULL),
				 ERR_OK);
		assert_int_equal(json_canonical(json_object_get(item, "grading"), &grading, NULL),
				 ERR_OK);
		leaf_salt(&salter, (uint64_t)i, salt);
		leaf_data(salt, buf_bytes(&words), buf_bytes(&grading), data);
		assert_true(leaf_tree_add(tree, data));
		buf_release(&words);
		buf_release(&grading);
		json_array_append_new(items, item);
	}
	leaf_tree_root(tree, digest);
	hex_encode(digest, sizeof(digest), root);
	leaf_tree_free(tree);
	return json_pack("{s:s, s:s, s:s, s:s, s:{s:i, s:i}, s:i, s:o}", "name", prefix, "version",
			 "1", "purpose", "safety_evaluation", "root", root, "settings",
			 "max_output", 64, "temperature", 0, "samples", 2, "items", items);
}

static void publish_root(const char *root)
{
	char text[256];
	snprintf(text, sizeof(text), "public_suites: [ { name: s, root: \"%s\" } ]\n", root);
	fake_apply(&gateway, text, 200);
}

/* Registers; the id in `id`. */
static void register_suite(const char *prefix, int count, unsigned status, char id[static 64])
{
	char root[65];
	json_t *body = suite_of(prefix, count, root);
	publish_root(root);
	json_t *answer = fake_ask_json(&gateway, key, "POST", "/parley/v1/suites", body);
	if (gateway.status != status)
		fail_msg("%u: %s", gateway.status, json_dumps(answer, 0));
	id[0] = '\0';
	if (status == 200)
		snprintf(id, 64, "%s", fake_text(&gateway, "suite"));
}

static void open_run(const char *suite, int samples, unsigned status, char id[static 64])
{
	json_t *answer = fake_ask_json(&gateway, key, "POST", "/parley/v1/runs",
				       json_pack("{s:s, s:i}", "suite", suite, "samples", samples));
	if (gateway.status != status)
		fail_msg("%u: %s", gateway.status, json_dumps(answer, 0));
	id[0] = '\0';
	if (status == 200)
		snprintf(id, 64, "%s", fake_text(&gateway, "run"));
}

/* What policy says to a request with these words. */
static void decide(const char *prompt, const char *run, struct verdict *verdict)
{
	uint8_t digest[SHA256_SIZE];
	struct buf words = BUF_INIT(65536);
	json_t *text = json_string(prompt);
	assert_int_equal(words_canonical(text, &words, NULL), ERR_OK);
	leaf_words_digest(buf_bytes(&words), digest);
	struct policy_request request = {.has_key = true,
					 .wall_ms = env_wall_ms(gateway.env),
					 .endpoint = ENDPOINT_USE_GENERATE,
					 .dialect = DIALECT_ANTHROPIC,
					 .run = bytes_from(run),
					 .model = BYTES("north-1"),
					 .max_output = 64,
					 .n = 1,
					 .words_digest = digest};
	sha256_of(key, strlen(key), request.key_digest);
	policy_decide(gateway.world, &request, verdict);
	json_decref(text);
	buf_release(&words);
}

static void a_registered_leaf_is_admitted(void **state)
{
	(void)state;
	char suite[64], run[64];
	struct verdict verdict;
	register_suite("fox", 3, 200, suite);
	assert_true(json_is_true(json_object_get(gateway.answer, "usable")));
	decide("fox 1", "", &verdict);
	assert_int_equal(verdict.outcome, POLICY_OPEN_RUN);
	open_run(suite, 2, 200, run);
	assert_non_null(fake_text(&gateway, "record"));
	decide("fox 1", run, &verdict);
	assert_int_equal(verdict.outcome, POLICY_ADMIT);
	assert_int_equal(verdict.pick.leaf, 1);
	assert_string_equal(verdict.run->id, run);
	decide("fox 9", run, &verdict);
	assert_int_equal(verdict.outcome, POLICY_REFUSE);
	assert_int_equal(verdict.rule, RULE_SUITE_UNBOUND);
	/* What stands in the log and the database are digests. */
	char *log = fake_log(&gateway, CONTROL_EVALUATION);
	assert_non_null(strstr(log, "\"act\":\"suite.register\""));
	assert_non_null(strstr(log, "\"act\":\"run.open\""));
	assert_null(strstr(log, "fox 2")); /* "fox 1" is name and version */
	free(log);
}

static void suites_and_runs_survive_a_restart(void **state)
{
	(void)state;
	char suite[64], run[64], other[64];
	struct verdict verdict;
	register_suite("fox", 3, 200, suite);
	open_run(suite, 1, 200, run);
	open_run(suite, 1, 200, other);
	char target[128];
	snprintf(target, sizeof(target), "/parley/v1/runs/%s/close", other);
	fake_ask(&gateway, key, "POST", target, NULL);
	assert_int_equal(gateway.status, 200);
	fake_reopen(&gateway);
	decide("fox 2", run, &verdict);
	assert_int_equal(verdict.outcome, POLICY_ADMIT);
	decide("fox 2", other, &verdict);
	assert_int_equal(verdict.rule, RULE_SUITE_RUN);
	register_suite("fox", 3, 200, other);
	assert_string_equal(other, suite);
	assert_false(json_is_true(json_object_get(gateway.answer, "created")));
}

static void append_log(const char *text)
{
	char path[96];
	snprintf(path, sizeof(path), "%s/log.0", gateway.directory);
	FILE *file = fopen(path, "ab");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* As the data path writes them; only what counts here. */
static void append_exchange(const char *id, const char *run, int leaf, int sample, int status)
{
	char text[1024], day[11];
	world_format_day(env_wall_ms(gateway.env), day);
	snprintf(text, sizeof(text),
		 "{\"grant\":\"south-eval-1\",\"id\":\"%s\",\"key\":\"%s\",\"kind\":\"admit\","
		 "\"leaf\":%d,\"model\":\"north-1\",\"run\":\"%s\",\"sample\":%d,"
		 "\"time\":\"%sT00:00:00.000Z\"}\n"
		 "{\"admit\":\"%s\",\"id\":\"s%s\",\"kind\":\"settle\",\"status\":%d,"
		 "\"time\":\"%sT00:00:00.000Z\",\"usage\":{\"cache_read\":50,\"cache_write\":2,"
		 "\"input\":10,\"output\":30}}\n",
		 id, key_id, leaf, run, sample, day, id, id, status, day);
	append_log(text);
}

static void samples_and_tokens_survive_a_restart(void **state)
{
	(void)state;
	char suite[64], run[64];
	struct verdict verdict;
	register_suite("fox", 3, 200, suite);
	open_run(suite, 2, 200, run);
	append_exchange("a1", run, 1, 0, 200);
	append_exchange("a2", run, 1, 1, 200);
	append_exchange("a3", run, 2, 0, 500); /* no answer: not used up */
	append_exchange("a4", "run_gone", 0, 0, 200);
	append_log("{\"admit\":\"never\",\"kind\":\"settle\",\"status\":200}\n");
	append_log("no JSON\n");
	fake_reopen(&gateway);
	decide("fox 1", run, &verdict);
	assert_int_equal(verdict.rule, RULE_SUITE_SAMPLES);
	decide("fox 2", run, &verdict);
	assert_int_equal(verdict.outcome, POLICY_ADMIT);
	const struct world_run *found = world_find_run(gateway.world, bytes_from(run));
	assert_int_equal(binding_run_total(found->run), 2);
	struct limits_clock clock = {env_clock_ns(gateway.env), env_wall_ms(gateway.env)};
	const struct world_grant *grant = found->suite->grant;
	struct limits_scope scope = {grant->cells, &grant->limits, "grant"};
	struct limits_state left = limits_peek(&scope, &clock, LIMIT_TOKENS_PER_DAY);
	assert_int_equal(left.remaining, 20000000 - 4 * (10 + 2 + 30));
	/* And once more: counted from the log, not on top of what was counted. */
	fake_reopen(&gateway);
	found = world_find_run(gateway.world, bytes_from(run));
	assert_int_equal(binding_run_total(found->run), 2);
}

static void an_unpublished_suite_waits_for_approval(void **state)
{
	(void)state;
	char root[65], target[128];
	struct verdict verdict;
	fake_ask_json(&gateway, key, "POST", "/parley/v1/suites", suite_of("owl", 2, root));
	assert_int_equal(gateway.status, 200);
	assert_string_equal(fake_text(&gateway, "class"), "private");
	assert_false(json_is_true(json_object_get(gateway.answer, "usable")));
	char *suite = strdup(fake_text(&gateway, "suite"));
	decide("owl 0", "", &verdict);
	assert_int_equal(verdict.rule, RULE_SUITE_CLASS);
	char run[64];
	open_run(suite, 1, 403, run);
	assert_string_equal(fake_text(&gateway, "rule"), "suite.class");
	fake_ask(&gateway, NULL, "GET", "/admin/v1/suites?pending", NULL);
	assert_int_equal(json_array_size(json_object_get(gateway.answer, "suites")), 1);
	snprintf(target, sizeof(target), "/admin/v1/suites/%s/approve", suite);
	fake_ask(&gateway, NULL, "POST", target, "{}");
	assert_int_equal(gateway.status, 200);
	decide("owl 0", "", &verdict);
	assert_int_equal(verdict.outcome, POLICY_OPEN_RUN);
	fake_ask(&gateway, NULL, "GET", "/admin/v1/suites?pending", NULL);
	assert_int_equal(json_array_size(json_object_get(gateway.answer, "suites")), 0);
	free(suite);
}

static void registrations_with_faults_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *member;
		const char *value; /* NULL: taken out */
		unsigned status;
	} rows[] = {
		{"name",     "\"\"",								 400},
		{"name",     NULL,								   400},
		{"purpose",  "\"product\"",							  400},
		{"purpose",  "\"interop_test\"",						     400},
		{"purpose",  "\"nonsense\"",							 400},
		{"root",     "\"00\"",							       400},
		{"root",     "\"0000000000000000000000000000000000000000000000000000000000000000\"",
		 400										    },
		{"settings", "{}",								   400},
		{"settings", "{\"max_output\":0}",						   400},
		{"settings", "[]",								   400},
		{"samples",  "0",								    400},
		{"samples",  "65",								   400},
		{"items",    NULL,								   400},
		{"items",    "[]",								   400},
		{"items",    "[1]",								  400},
		{"items",    "[{\"prompt\":\"x\"}]",                                                 400},
		{"items",    "[{\"prompt\":\"x\",\"grading\":{},\"more\":1}]",                       400},
		{"extra",    "1",								    400},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char root[65];
		json_t *body = suite_of("fox", 2, root);
		json_object_del(body, rows[i].member);
		if (rows[i].value)
			json_object_set_new(body, rows[i].member,
					    json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
		json_t *answer = fake_ask_json(&gateway, key, "POST", "/parley/v1/suites", body);
		if (gateway.status != rows[i].status)
			fail_msg("%s %s: %u %s", rows[i].member, rows[i].value, gateway.status,
				 json_dumps(answer, 0));
	}
	fake_ask(&gateway, key, "GET", "/parley/v1/suites", NULL);
	assert_int_equal(json_array_size(json_object_get(gateway.answer, "suites")), 0);
}

static void budgets_of_leaves_hold(void **state)
{
	(void)state;
	char first[64], second[64], run[64];
	register_suite("fox", 6, 200, first);
	/* 9 of at most 10 leaves, but 9 new ones in a week of at most 8. */
	register_suite("owl", 3, 403, second);
	assert_string_equal(fake_text(&gateway, "rule"), "suite.budget");
	assert_string_equal(fake_text(&gateway, "appeal"), "mailto:access@northlab.example");
	register_suite("owl", 5, 403, second); /* 11 leaves */
	register_suite("owl", 2, 200, second);
	open_run(first, 3, 403, run); /* 3 samples of at most 2 */
	assert_string_equal(fake_text(&gateway, "rule"), "suite.budget");
	open_run("suite_none", 1, 404, run);
}

static void others_see_nothing_of_it(void **state)
{
	(void)state;
	char suite[64], run[64], target[128], other_id[64];
	register_suite("fox", 2, 200, suite);
	open_run(suite, 1, 200, run);
	char *text = strdup(fake_access());
	memcpy(strstr(text, "south-eval-1"), "south-eval-2", 12);
	fake_apply(&gateway, text, 200);
	free(text);
	fake_ask(&gateway, NULL, "POST", "/admin/v1/keys",
		 "{\"org\":\"southlab\",\"grant\":\"south-eval-2\"}");
	snprintf(other_id, sizeof(other_id), "%s", fake_text(&gateway, "id"));
	char *other = strdup(fake_text(&gateway, "key"));
	static const char *const rows[][2] = {
		{"GET",  "/parley/v1/suites/%s"    },
		{"GET",  "/parley/v1/runs/%s"      },
		{"POST", "/parley/v1/runs/%s/close"}
        };
	for (size_t i = 0; i < 3; i++) {
		snprintf(target, sizeof(target),
			 i == 0   ? "/parley/v1/suites/%s"
			 : i == 1 ? "/parley/v1/runs/%s"
				  : "/parley/v1/runs/%s/close",
			 i == 0 ? suite : run);
		fake_ask(&gateway, other, rows[i][0], target, NULL);
		assert_int_equal(gateway.status, 404);
	}
	fake_ask(&gateway, other, "GET", "/parley/v1/self", NULL);
	assert_int_equal(json_array_size(json_object_get(gateway.answer, "suites")), 0);
	fake_ask(&gateway, key, "GET", "/parley/v1/self", NULL);
	assert_int_equal(json_array_size(json_object_get(gateway.answer, "suites")), 1);
	assert_int_equal(json_array_size(json_object_get(gateway.answer, "runs")), 1);
	assert_int_equal(json_array_size(json_object_get(gateway.answer, "models")), 1);
	assert_non_null(json_object_get(gateway.answer, "limits"));
	free(other);
}

/* ---- runs that requests open by themselves ---- */

static unsigned opened_count;
static enum err_code opened_code;

static void run_opened(struct control_open_run *call, enum err_code code, const struct err *err)
{
	(void)call;
	(void)err;
	opened_code = code;
	if (++opened_count == 2)
		fake_done(&gateway);
}

static void open_two(void *argument)
{
	struct control_open_run *calls = argument;
	control_open_run(gateway.control, &calls[0]);
	control_open_run(gateway.control, &calls[1]);
}

static void requests_open_one_run_together(void **state)
{
	(void)state;
	char suite[64];
	struct verdict verdict;
	register_suite("fox", 3, 200, suite);
	struct control_open_run calls[2];
	for (int i = 0; i < 2; i++)
		calls[i] = (struct control_open_run){
			.grant = "south-eval-1", .suite = suite, .done = run_opened};
	opened_count = 0;
	fake_call(&gateway, open_two, calls);
	assert_int_equal(opened_code, ERR_OK);
	decide("fox 0", "", &verdict);
	assert_int_equal(verdict.outcome, POLICY_ADMIT);
	assert_int_equal(verdict.run->run->samples, 2);
	fake_ask(&gateway, NULL, "GET", "/admin/v1/runs", NULL);
	assert_int_equal(json_array_size(json_object_get(gateway.answer, "runs")), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_registered_leaf_is_admitted),
		TEST(suites_and_runs_survive_a_restart),
		TEST(samples_and_tokens_survive_a_restart),
		TEST(an_unpublished_suite_waits_for_approval),
		TEST(registrations_with_faults_are_refused),
		TEST(budgets_of_leaves_hold),
		TEST(others_see_nothing_of_it),
		TEST(requests_open_one_run_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
