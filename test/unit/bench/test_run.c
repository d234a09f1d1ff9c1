/* Whole runs over loopback against a provider that misbehaves. */
#include "bench/bench.h"

#include "base/json.h"
#include "grade/bundle.h"
#include "provider.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

struct fixture {
	struct env *env;
	struct provider provider;
	char folder[256], suite[300], writing[300], output[300];
	char model[200], loser[200], judge[200];
	const char *suites[3], *models[3], *judges[2];
	struct bench_options options;
	struct bench_outcome outcome;
	struct buf screen;
};

static const char suite_yaml[] = "name: foxes\nversion: 1\nlicence: Apache-2.0\nkind: qa\n"
				 "template: \"{{question}}\"\n"
				 "settings: { max_tokens: 64, temperature: 0 }\nsamples: 1\n"
				 "scorer: { kind: contains, target: \"{{answer}}\" }\n";

static const char writing_yaml[] = "name: tales\nversion: 1\nlicence: Apache-2.0\nkind: writing\n"
				   "template: \"{{question}}\"\n"
				   "settings: { max_tokens: 64, temperature: 1 }\nsamples: 1\n"
				   "scorer: { kind: pairwise }\n";

static void write_screen(void *argument, struct bytes text)
{
	buf_append_bytes(argument, text);
}

static void write_suite(const struct fixture *fixture, const char *directory, const char *yaml,
			const char *const *markers)
{
	struct buf items = BUF_INIT(65536);
	char command[400];
	snprintf(command, sizeof(command), "mkdir -p '%s'", directory);
	assert_int_equal(system(command), 0);
	for (unsigned i = 0; markers[i]; i++)
		buf_printf(&items,
			   "{\"id\":\"item-%u\",\"question\":\"[[%s]] What "
			   "jumps?\",\"answer\":\"fox\"}\n",
			   i, markers[i]);
	folder_write(directory, "suite.yaml", yaml);
	folder_write(directory, "items.jsonl", items.data);
	buf_release(&items);
	(void)fixture;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	fixture->env = env_os_new(4);
	folder_make(fixture->folder);
	provider_start(&fixture->provider, fixture->env);
	snprintf(fixture->suite, sizeof(fixture->suite), "%s/foxes", fixture->folder);
	snprintf(fixture->writing, sizeof(fixture->writing), "%s/tales", fixture->folder);
	snprintf(fixture->output, sizeof(fixture->output), "%s/out", fixture->folder);
	snprintf(fixture->model, sizeof(fixture->model), "winner=anthropic@%s#PARLEY_TEST_KEY",
		 fixture->provider.url);
	snprintf(fixture->loser, sizeof(fixture->loser), "loser=anthropic@%s#PARLEY_TEST_KEY",
		 fixture->provider.url);
	snprintf(fixture->judge, sizeof(fixture->judge), "judge=anthropic@%s#PARLEY_TEST_KEY",
		 fixture->provider.url);
	setenv("PARLEY_TEST_KEY", "test-key", 1);
	buf_init(&fixture->screen, (size_t)1 << 20);
	fixture->suites[0] = fixture->suite;
	fixture->models[0] = fixture->model;
	fixture->options = (struct bench_options){
		.suites = fixture->suites,
		.models = fixture->models,
		.judges = fixture->judges,
		.output = fixture->output,
		.controls = "none",
		.screen = {.write = write_screen, .argument = &fixture->screen},
	};
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	provider_stop(&fixture->provider);
	json_decref(fixture->outcome.summary);
	buf_release(&fixture->screen);
	env_os_free(fixture->env);
	folder_remove(fixture->folder);
	free(fixture);
	return 0;
}

static enum err_code run(struct fixture *fixture, struct err *err)
{
	json_decref(fixture->outcome.summary);
	*err = (struct err)ERR_INIT;
	return bench_run(fixture->env, &fixture->options, &fixture->outcome, err);
}

static enum err_code resume(struct fixture *fixture, struct err *err)
{
	json_decref(fixture->outcome.summary);
	*err = (struct err)ERR_INIT;
	return bench_resume(fixture->env, &fixture->options, &fixture->outcome, err);
}

static const json_t *result_of(const struct fixture *fixture, const char *model, const char *metric)
{
	size_t index;
	json_t *result;
	json_array_foreach(json_object_get(fixture->outcome.summary, "results"), index, result)
	{
		if (strcmp(json_string_value(json_object_get(result, "model")), model) == 0 &&
		    strcmp(json_string_value(json_object_get(result, "metric")), metric) == 0)
			return result;
	}
	fail_msg("no result %s of %s", metric, model);
	return NULL;
}

static double value_of(const json_t *result, const char *key)
{
	return json_number_value(json_object_get(result, key));
}

static void assert_bundle(const struct fixture *fixture)
{
	struct bundle bundle;
	struct err err = ERR_INIT;
	char path[400];
	snprintf(path, sizeof(path), "%s/bundle", fixture->output);
	enum err_code code = bundle_open(fixture->env, path, &bundle, &err);
	if (code != ERR_OK)
		fail_msg("bundle: %s", err.message);
	bundle_release(&bundle);
}

static void assert_ok(enum err_code code, const struct err *err)
{
	if (code != ERR_OK)
		fail_msg("%s: %s", err_name(code), err->message);
}

/* ---- outcomes ---- */

static const char *const mixed[] = {"ok 1",    "ok 2",       "wrong 3",  "throttle 4",
				    "flaky 5", "garbage 6",  "poison 7", "broken 8",
				    "final 9", "control 10", NULL};

static void every_kind_of_outcome_is_counted(void **state)
{
	struct fixture *fixture = *state;
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, mixed);
	assert_ok(run(fixture, &err), &err);
	assert_true(fixture->outcome.complete);
	assert_int_equal(fixture->outcome.samples, 10);
	assert_int_equal(fixture->outcome.answered, 7);
	assert_int_equal(fixture->outcome.failed, 3);
	const json_t *result = result_of(fixture, "winner", "accuracy");
	assert_int_equal(json_integer_value(json_object_get(result, "n")), 10);
	assert_int_equal(json_integer_value(json_object_get(result, "failed")), 3);
	assert_float_equal(value_of(result, "value"), 0.6, 1e-9);
	assert_true(value_of(result, "low") < 0.6 && value_of(result, "high") > 0.6);
	assert_bundle(fixture);
}

static void retries_only_where_they_can_help(void **state)
{
	struct fixture *fixture = *state;
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, mixed);
	assert_ok(run(fixture, &err), &err);
	assert_int_equal(provider_asked(&fixture->provider, "ok 1"), 1);
	assert_int_equal(provider_asked(&fixture->provider, "throttle 4"), 2);
	assert_int_equal(provider_asked(&fixture->provider, "flaky 5"), 3);
	assert_int_equal(provider_asked(&fixture->provider, "garbage 6"), 2);
	assert_int_equal(provider_asked(&fixture->provider, "poison 7"), 1);
	assert_int_equal(provider_asked(&fixture->provider, "broken 8"), 6);
	assert_int_equal(provider_asked(&fixture->provider, "final 9"), 1);
}

static void text_of_models_cannot_escape(void **state)
{
	struct fixture *fixture = *state;
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, mixed);
	assert_ok(run(fixture, &err), &err);
	char *report = folder_read(fixture->output, "report.html");
	assert_non_null(report);
	assert_null(strchr(report, '\x1b'));
	/* The page's own script and no other. */
	const char *script = strstr(report, "<script");
	assert_non_null(script);
	assert_memory_equal(script, "<script>'use strict';", 21);
	assert_null(strstr(script + 1, "<script"));
	assert_non_null(strstr(report, "&lt;script&gt;"));
	assert_non_null(strstr(report, "default-src 'none'"));
	assert_null(memchr(fixture->screen.data, '\x1b', fixture->screen.size));
	free(report);
}

static void a_silent_provider_runs_into_the_time_limit(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", "silent 2", NULL};
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	fixture->options.timeout_seconds = 1;
	assert_ok(run(fixture, &err), &err);
	assert_int_equal(fixture->outcome.answered, 1);
	assert_int_equal(fixture->outcome.failed, 1);
	assert_int_equal(provider_asked(&fixture->provider, "silent 2"), 2);
}

static void a_wrong_key_ends_the_run_at_once(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"key 1", "key 2", "key 3", "key 4", "key 5", NULL};
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	fixture->options.concurrency = 1;
	assert_int_equal(run(fixture, &err), ERR_DENIED);
	assert_non_null(strstr(err.message, "invalid x-api-key"));
	assert_non_null(strstr(err.message, "resume"));
	assert_int_equal(fixture->provider.requests, 1);
	assert_int_equal(fixture->outcome.missing, 5);
	assert_bundle(fixture);
}

static void a_provider_that_is_not_there_is_named(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", NULL};
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	fixture->models[0] = "winner=anthropic@http://127.0.0.1:1";
	assert_int_equal(run(fixture, &err), ERR_NETWORK);
	assert_non_null(strstr(err.message, "127.0.0.1:1"));
}

static void a_used_folder_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", NULL};
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	assert_ok(run(fixture, &err), &err);
	char *before = folder_read(fixture->output, "journal.jsonl");
	assert_int_equal(run(fixture, &err), ERR_EXISTS);
	assert_non_null(strstr(err.message, "resume"));
	char *after = folder_read(fixture->output, "journal.jsonl");
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void a_missing_key_is_told_before_anything_is_asked(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", NULL};
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	unsetenv("PARLEY_TEST_KEY");
	assert_int_equal(run(fixture, &err), ERR_USAGE);
	assert_non_null(strstr(err.message, "PARLEY_TEST_KEY"));
	assert_int_equal(fixture->provider.requests, 0);
}

static void a_budget_stops_the_run(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", "ok 2", "ok 3", "ok 4", "ok 5", "ok 6", NULL};
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	fixture->options.concurrency = 1;
	/* An answer is billed 15 tokens; before it is asked for, its most is set aside. */
	fixture->options.budget_tokens = 40;
	assert_int_equal(run(fixture, &err), ERR_DENIED);
	assert_int_equal(fixture->provider.requests, 0);
	assert_int_equal(fixture->outcome.missing, 6);
	fixture->options.budget_tokens = 10000;
	assert_ok(resume(fixture, &err), &err);
	assert_int_equal(fixture->provider.requests, 6);
}

/* ---- resuming ---- */

static unsigned count_text(const char *text, const char *needle)
{
	unsigned count = 0;
	for (const char *at = text; (at = strstr(at, needle)); at++)
		count++;
	return count;
}

/* Cuts the journal at every line's end and in the middle of every line; what has an outcome in the
 * rest is never asked again, and the results are the same. */
static void a_cut_journal_resumes_without_asking_twice(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", "wrong 2", "poison 3", "throttle 4", NULL};
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	fixture->options.concurrency = 1;
	assert_ok(run(fixture, &err), &err);
	double value = value_of(result_of(fixture, "winner", "accuracy"), "value");
	char *whole = folder_read(fixture->output, "journal.jsonl");
	size_t size = strlen(whole), start = strcspn(whole, "\n") + 1;
	for (size_t cut = start; cut <= size; cut++) {
		bool end_of_line = whole[cut - 1] == '\n';
		bool middle = cut % 97 == 0;
		if (!end_of_line && !middle)
			continue;
		char *part = strndup(whole, cut);
		folder_write(fixture->output, "journal.jsonl", part);
		*strrchr(part, '\n') = '\0';
		unsigned outcomes = count_text(part, "\"final\":true");
		provider_forget(&fixture->provider);
		assert_ok(resume(fixture, &err), &err);
		assert_true(fixture->outcome.complete);
		unsigned answered = 0;
		for (unsigned i = 0; markers[i]; i++)
			answered += provider_answered(&fixture->provider, markers[i]) +
				    (strncmp(markers[i], "poison", 6) == 0 &&
				     provider_asked(&fixture->provider, markers[i]) > 0);
		assert_int_equal(answered, 4 - outcomes);
		assert_float_equal(value_of(result_of(fixture, "winner", "accuracy"), "value"),
				   value, 1e-12);
		assert_bundle(fixture);
		free(part);
	}
	free(whole);
}

static void an_unknown_outcome_is_marked_and_asked_again(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", NULL};
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	assert_ok(run(fixture, &err), &err);
	char *journal = folder_read(fixture->output, "journal.jsonl");
	char *answer = strstr(journal, "{\"event\":\"answer\"");
	assert_non_null(answer);
	*answer = '\0'; /* the request stands there, its answer does not */
	folder_write(fixture->output, "journal.jsonl", journal);
	free(journal);
	assert_ok(resume(fixture, &err), &err);
	assert_int_equal(provider_asked(&fixture->provider, "ok 1"), 2);
	char *transcripts = folder_read(fixture->output, "bundle/transcripts.jsonl");
	assert_int_equal(count_text(transcripts, "unknown outcome"), 1);
	assert_int_equal(count_text(transcripts, "\n"), 2);
	assert_non_null(strstr(transcripts, "\"attempt\":1"));
	free(transcripts);
}

static const char *const many[] = {"ok 1",  "ok 2",  "ok 3",  "ok 4",  "ok 5",  "ok 6",  "ok 7",
				   "ok 8",  "ok 9",  "ok 10", "ok 11", "ok 12", "ok 13", "ok 14",
				   "ok 15", "ok 16", "ok 17", "ok 18", "ok 19", "ok 20", NULL};

static void an_interrupted_run_resumes_and_bills_nothing_twice(void **state)
{
	struct fixture *fixture = *state;
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, many);
	fixture->options.concurrency = 2;
	fixture->options.signals = true;
	fixture->provider.signal_after = 5;
	assert_int_equal(run(fixture, &err), ERR_INTERRUPTED);
	assert_non_null(strstr(err.message, "resume"));
	assert_true(fixture->outcome.missing > 0);
	assert_bundle(fixture);
	assert_ok(resume(fixture, &err), &err);
	assert_true(fixture->outcome.complete);
	for (unsigned i = 0; many[i]; i++)
		assert_int_equal(provider_answered(&fixture->provider, many[i]), 1);
}

/* The harness is killed at once, several times over. What was answered but not noted is asked
 * again: at most what was in flight at each kill. */
static void a_killed_run_resumes(void **state)
{
	struct fixture *fixture = *state;
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, many);
	fixture->options.concurrency = 2;
	for (unsigned round = 0; round < 3; round++) {
		unsigned target = fixture->provider.requests + 4;
		pid_t child = fork();
		if (child == 0) {
			struct env *env = env_os_new(4);
			struct bench_outcome outcome;
			struct err inner = ERR_INIT;
			fixture->options.screen.write = NULL;
			if (round == 0)
				bench_run(env, &fixture->options, &outcome, &inner);
			else
				bench_resume(env, &fixture->options, &outcome, &inner);
			_exit(0);
		}
		while (*(volatile unsigned *)&fixture->provider.requests < target &&
		       waitpid(child, NULL, WNOHANG) == 0)
			usleep(100);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	assert_ok(resume(fixture, &err), &err);
	assert_true(fixture->outcome.complete);
	assert_int_equal(fixture->outcome.answered, 20);
	assert_true(fixture->provider.requests <= 20 + 3 * 2);
	assert_bundle(fixture);
}

static void a_changed_suite_is_noticed(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", NULL}, *const other[] = {"ok 2", NULL};
	char inside[400];
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	assert_ok(run(fixture, &err), &err);
	snprintf(inside, sizeof(inside), "%s/bundle/suite/foxes", fixture->output);
	write_suite(fixture, inside, suite_yaml, other);
	assert_int_equal(resume(fixture, &err), ERR_MISMATCH);
}

/* ---- pairs ---- */

static void pairs_are_judged_in_both_orders(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", "ok 2", "ok 3", NULL};
	struct err err;
	write_suite(fixture, fixture->writing, writing_yaml, markers);
	fixture->suites[0] = fixture->writing;
	fixture->models[1] = fixture->loser;
	fixture->judges[0] = fixture->judge;
	assert_ok(run(fixture, &err), &err);
	assert_int_equal(provider_asked(&fixture->provider, "judge"), 6);
	assert_float_equal(value_of(result_of(fixture, "winner", "win_rate"), "value"), 1, 1e-9);
	assert_float_equal(value_of(result_of(fixture, "loser", "win_rate"), "value"), 0, 1e-9);
	assert_bundle(fixture);
	char *scores = folder_read(fixture->output, "bundle/scores.jsonl");
	assert_int_equal(count_text(scores, "\n"), 3);
	assert_int_equal(count_text(scores, "\"verdicts\":[\"A\",\"B\"]"), 3);
	free(scores);
}

/* By default, and never on more items than there are. */
static void the_null_model_is_judged(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", "ok 2", "ok 3", "ok 4", "ok 5", NULL};
	static const struct {
		const char *controls;
		unsigned judged;
	} cases[] = {
		{NULL,  5},
                {"all", 5},
                {"2",   2}
        };
	struct err err;
	write_suite(fixture, fixture->writing, writing_yaml, markers);
	fixture->suites[0] = fixture->writing;
	fixture->models[1] = fixture->loser;
	fixture->judges[0] = fixture->judge;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char output[320];
		snprintf(output, sizeof(output), "%s-%zu", fixture->output, i);
		fixture->options.output = output;
		fixture->options.controls = cases[i].controls;
		provider_forget(&fixture->provider);
		assert_ok(run(fixture, &err), &err);
		assert_int_equal(provider_asked(&fixture->provider, "judge"),
				 10 + 2 * cases[i].judged);
		char *scores = folder_read(output, "bundle/scores.jsonl");
		assert_int_equal(count_text(scores, "\"model\":\"control:null\""), cases[i].judged);
		free(scores);
		const json_t *samples = json_object_get(fixture->outcome.summary, "samples");
		assert_int_equal(json_integer_value(json_object_get(samples, "total")), 10);
	}
	fixture->options.output = fixture->output;
	fixture->options.controls = "2.5";
	assert_int_equal(run(fixture, &err), ERR_USAGE);
	assert_non_null(strstr(err.message, "none, all"));
}

static void a_missing_answer_fails_its_comparison(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", "poison 2", NULL};
	struct err err;
	write_suite(fixture, fixture->writing, writing_yaml, markers);
	fixture->suites[0] = fixture->writing;
	fixture->models[1] = fixture->loser;
	fixture->judges[0] = fixture->judge;
	assert_ok(run(fixture, &err), &err);
	assert_int_equal(provider_asked(&fixture->provider, "judge"), 2);
	const json_t *result = result_of(fixture, "winner", "win_rate");
	assert_int_equal(json_integer_value(json_object_get(result, "failed")), 1);
	assert_float_equal(value_of(result, "value"), 0.5, 1e-9);
}

static void a_cut_judging_resumes(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", NULL};
	struct err err;
	write_suite(fixture, fixture->writing, writing_yaml, markers);
	fixture->suites[0] = fixture->writing;
	fixture->models[1] = fixture->loser;
	fixture->judges[0] = fixture->judge;
	fixture->options.concurrency = 1;
	fixture->options.controls = NULL;
	assert_ok(run(fixture, &err), &err);
	char *whole = folder_read(fixture->output, "journal.jsonl");
	for (char *at = strchr(whole, '\n'); at; at = strchr(at + 1, '\n')) {
		char *part = strndup(whole, (size_t)(at - whole) + 1);
		unsigned verdicts = count_text(part, "\"judge_order\":");
		folder_write(fixture->output, "journal.jsonl", part);
		provider_forget(&fixture->provider);
		assert_ok(resume(fixture, &err), &err);
		assert_int_equal(provider_answered(&fixture->provider, "judge"), 4 - verdicts);
		assert_float_equal(value_of(result_of(fixture, "winner", "win_rate"), "value"), 1,
				   1e-9);
		free(part);
	}
	free(whole);
}

static void writing_needs_an_opponent_and_a_judge(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", NULL};
	struct err err;
	write_suite(fixture, fixture->writing, writing_yaml, markers);
	fixture->suites[0] = fixture->writing;
	assert_int_equal(run(fixture, &err), ERR_USAGE);
	assert_non_null(strstr(err.message, "--judge"));
	fixture->judges[0] = fixture->judge;
	assert_int_equal(run(fixture, &err), ERR_USAGE);
	assert_non_null(strstr(err.message, "--baseline"));
	fixture->models[1] = fixture->loser;
	fixture->judges[0] = "winner";
	assert_int_equal(run(fixture, &err), ERR_USAGE);
	assert_non_null(strstr(err.message, "--allow-self-judging"));
	assert_int_equal(fixture->provider.requests, 0);
}

static void stored_answers_are_replayed(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", "ok 2", NULL};
	char replay[400];
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	folder_write(fixture->folder, "stored.jsonl",
		     "{\"note\":\"Recorded\"}\n"
		     "{\"prompt\":\"[[ok 1]] What jumps?\",\"answers\":[\"a fox\"]}\n");
	snprintf(replay, sizeof(replay), "old=replay@%s/stored.jsonl", fixture->folder);
	fixture->models[0] = replay;
	assert_ok(run(fixture, &err), &err);
	assert_int_equal(fixture->outcome.answered, 1);
	assert_int_equal(fixture->outcome.failed, 1);
	char *report = folder_read(fixture->output, "report.html");
	assert_non_null(strstr(report, "stored answers: Recorded"));
	free(report);
}

/* ---- gateways ---- */

static void a_gateway_is_told_first_and_asked_for_receipts(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", "ok 2", "ok 3", NULL};
	struct provider *gateway = &fixture->provider;
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	gateway->gateway = true;
	assert_ok(run(fixture, &err), &err);
	assert_int_equal(gateway->suites, 1);
	assert_int_equal(gateway->runs, 1);
	assert_int_equal(gateway->closed, 1);
	assert_int_equal(gateway->requests_before_run, 0);
	assert_int_equal(gateway->without_run, 0);
	assert_int_equal(gateway->receipts, 4); /* three answers and the run's registration */
	assert_int_equal(strlen(gateway->plan_digest), 64);
	char *receipt = folder_read(fixture->output, "bundle/receipts/rec1.tlog-proof");
	assert_non_null(receipt);
	assert_non_null(strstr(receipt, "\nextra "));
	free(receipt);
	char *policy = folder_read(fixture->output, "bundle/policy");
	assert_non_null(policy);
	assert_non_null(strstr(policy, "test.example/log+"));
	free(policy);
	char *transcripts = folder_read(fixture->output, "bundle/transcripts.jsonl");
	assert_non_null(strstr(transcripts, "\"nonce\":\"00112233445566778899aabbccddeeff\""));
	assert_non_null(strstr(transcripts, "\"request_body\""));
	free(transcripts);
	assert_string_equal(
		json_string_value(json_object_get(fixture->outcome.summary, "vouched_by")),
		"gateways");
	assert_bundle(fixture);
}

static void nothing_vouches_for_a_bare_provider(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", NULL};
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	assert_ok(run(fixture, &err), &err);
	assert_string_equal(
		json_string_value(json_object_get(fixture->outcome.summary, "vouched_by")),
		"nobody");
	assert_null(folder_read(fixture->output, "bundle/policy"));
	char *report = folder_read(fixture->output, "report.html");
	assert_non_null(strstr(report, "nothing vouches"));
	free(report);
}

static void a_revocation_ends_the_run_with_bounds(void **state)
{
	struct fixture *fixture = *state;
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, many);
	fixture->provider.gateway = true;
	fixture->provider.revoke_after = 7;
	fixture->options.concurrency = 2;
	assert_int_equal(run(fixture, &err), ERR_DENIED);
	assert_int_equal(fixture->outcome.answered, 7);
	assert_int_equal(fixture->outcome.missing, 13);
	assert_true(fixture->provider.requests <= 9);
	const json_t *summary = fixture->outcome.summary;
	const json_t *model = json_array_get(json_object_get(summary, "models"), 0);
	const json_t *ended = json_object_get(model, "ended");
	assert_string_equal(json_string_value(json_object_get(ended, "rule")), "grant.revoked");
	assert_string_equal(json_string_value(json_object_get(ended, "clause")), "D.4a");
	assert_string_equal(json_string_value(json_object_get(ended, "by")), "gateway");
	const json_t *bounds = json_array_get(json_object_get(summary, "bounds"), 0);
	assert_float_equal(value_of(bounds, "if_failed"), 0.35, 1e-9);
	assert_float_equal(value_of(bounds, "if_passed"), 1, 1e-9);
	assert_bundle(fixture);
	fixture->provider.revoke_after = 0;
	assert_ok(resume(fixture, &err), &err);
	assert_int_equal(fixture->provider.runs, 1);
	for (unsigned i = 0; many[i]; i++)
		assert_int_equal(provider_answered(&fixture->provider, many[i]), 1);
	assert_bundle(fixture);
}

static void an_unusable_suite_is_told_before_anything_is_asked(void **state)
{
	struct fixture *fixture = *state;
	static const char *const markers[] = {"ok 1", NULL};
	struct err err;
	write_suite(fixture, fixture->suite, suite_yaml, markers);
	fixture->provider.gateway = true;
	fixture->provider.unusable = true;
	assert_int_equal(run(fixture, &err), ERR_DENIED);
	assert_non_null(strstr(err.message, "not public"));
	assert_int_equal(fixture->provider.requests, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	sigset_t set;
	const struct CMUnitTest tests[] = {
		TEST(every_kind_of_outcome_is_counted),
		TEST(retries_only_where_they_can_help),
		TEST(text_of_models_cannot_escape),
		TEST(a_silent_provider_runs_into_the_time_limit),
		TEST(a_wrong_key_ends_the_run_at_once),
		TEST(a_provider_that_is_not_there_is_named),
		TEST(a_used_folder_is_left_alone),
		TEST(a_missing_key_is_told_before_anything_is_asked),
		TEST(a_budget_stops_the_run),
		TEST(a_cut_journal_resumes_without_asking_twice),
		TEST(an_unknown_outcome_is_marked_and_asked_again),
		TEST(an_interrupted_run_resumes_and_bills_nothing_twice),
		TEST(a_killed_run_resumes),
		TEST(a_changed_suite_is_noticed),
		TEST(pairs_are_judged_in_both_orders),
		TEST(the_null_model_is_judged),
		TEST(a_missing_answer_fails_its_comparison),
		TEST(a_cut_judging_resumes),
		TEST(writing_needs_an_opponent_and_a_judge),
		TEST(stored_answers_are_replayed),
		TEST(a_gateway_is_told_first_and_asked_for_receipts),
		TEST(nothing_vouches_for_a_bare_provider),
		TEST(a_revocation_ends_the_run_with_bounds),
		TEST(an_unusable_suite_is_told_before_anything_is_asked),
	};
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL); /* for every thread that follows */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
