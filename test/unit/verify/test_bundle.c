/* What `parley verify` says of honest bundles, and of every kind of forgery that leaves the rest of
 * the bundle consistent. */
#include "fixture.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/bundle.h"
#include "grade/sandbox.h"

#include <unistd.h>

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	assert_non_null(world);
	world_init(world);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	world_release(*state);
	free(*state);
	return 0;
}

static void publish(struct world *world)
{
	world_record(world);
	world_publish(world);
}

static bool has_note(const struct world *world, enum verify_section section, const char *words)
{
	for (size_t i = 0; i < world->report.count; i++)
		if (world->report.notes[i].section == section &&
		    strstr(world->report.notes[i].text, words))
			return true;
	return false;
}

static void assert_headline(const struct world *world, const char *words)
{
	if (!strstr(world->report.headline, words))
		fail_msg("expected \"%s\" in: %s", words, world->report.headline);
}

/* ---- honest bundles ---- */

static void test_vouched_with_both_keys(void **state)
{
	struct world *world = *state;
	publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
	assert_string_equal(
		world->report.headline,
		"VOUCHED by northlab.example/parley and southlab.example/parley; 21 of "
		"22 answers; the verdicts of judge-1 and the scores of 2 programs are the "
		"evaluator's word");
	assert_true(has_note(world, VERIFY_CHECKED, "27 attempts (25 answers, 2 failures)"));
	assert_true(has_note(world, VERIFY_CHECKED, "run run_0: plan and items of capitals"));
	assert_true(has_note(world, VERIFY_UNCHECKED, "1 samples without an answer"));
	assert_true(has_note(world, VERIFY_UNCHECKED, "4 answers come from a stored transcript"));
	assert_true(json_array_size(world->report.results) > 4);
}

static void test_self_certified_without_all_keys(void **state)
{
	struct world *world = *state;
	const char *const north[] = {world->vkeys[0], NULL};
	publish(world);
	assert_int_equal(world_verify(world, NULL), VERIFY_SELF_CERTIFIED);
	assert_headline(world, "CONSISTENT, SELF-CERTIFIED: by a log that calls itself northlab");
	assert_int_equal(world_verify(world, north), VERIFY_SELF_CERTIFIED);
	assert_headline(world, "calls itself southlab.example/parley");
}

static void test_without_a_gateway(void **state)
{
	struct world *world = *state;
	world->bare = true;
	publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_SELF_CERTIFIED);
	assert_headline(world, "no gateway vouches");
}

static void test_without_the_runs_receipts(void **state)
{
	struct world *world = *state;
	world->no_runs = true;
	publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_SELF_CERTIFIED);
	assert_headline(world, "no receipt of the run's opening");
}

static void test_missing_receipt(void **state)
{
	struct world *world = *state;
	world_shot(world, MANNERS, 0, 1)->no_receipt = true;
	publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_SELF_CERTIFIED);
	assert_headline(world, "not every answer has a receipt");
	assert_true(has_note(world, VERIFY_UNCHECKED, "suite manners, model north-1"));
}

static void test_unknown_log_key(void **state)
{
	struct world *world = *state;
	world->no_policy = true;
	publish(world);
	assert_int_equal(world_verify(world, NULL), VERIFY_SELF_CERTIFIED);
	assert_true(has_note(world, VERIFY_UNCHECKED, "its key is not known"));
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
}

static void test_order_of_results_means_nothing(void **state)
{
	struct world *world = *state;
	char path[512];
	struct buf text = BUF_INIT((size_t)1 << 20);
	json_t *summary;
	publish(world);
	world_path(world, BUNDLE_SUMMARY, path);
	file_read(path, &text);
	assert_int_equal(json_parse(buf_bytes(&text), "summary", &summary, NULL), ERR_OK);
	json_t *results = json_object_get(summary, "results");
	json_t *last = json_incref(json_array_get(results, json_array_size(results) - 1));
	json_array_remove(results, json_array_size(results) - 1);
	json_array_insert_new(results, 0, last);
	buf_clear(&text);
	assert_int_equal(json_canonical(summary, &text, NULL), ERR_OK);
	file_write(path, buf_bytes(&text));
	world_seal(world);
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
	json_decref(summary);
	buf_release(&text);
}

static void test_directory_of_a_run(void **state)
{
	struct world *world = *state;
	struct verify_options options = {0};
	struct err err = ERR_INIT;
	publish(world);
	assert_int_equal(verify_path(world->env, world->directory, &options, &world->report, &err),
			 ERR_OK);
	assert_string_equal(world->report.subject, "bundle");
	assert_int_equal(world->report.verdict, VERIFY_SELF_CERTIFIED);
}

/* ---- one byte ---- */

static void flip_byte(const char *path, size_t offset)
{
	struct buf text = BUF_INIT((size_t)1 << 20);
	file_read(path, &text);
	assert_true(offset < text.size);
	text.data[offset] ^= 1;
	file_write(path, buf_bytes(&text));
	buf_release(&text);
}

static void test_one_byte_of_every_file(void **state)
{
	struct world *world = *state;
	char path[512];
	struct buf text = BUF_INIT((size_t)1 << 20);
	json_t *manifest, *entry;
	size_t i;
	publish(world);
	world_path(world, BUNDLE_MANIFEST, path);
	file_read(path, &text);
	assert_int_equal(json_parse(buf_bytes(&text), "manifest", &manifest, NULL), ERR_OK);
	json_array_foreach(json_object_get(manifest, "files"), i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "path"));
		size_t size = (size_t)json_integer_value(json_object_get(entry, "size"));
		world_path(world, name, path);
		flip_byte(path, size / 2);
		world_expect_false(world, name);
		flip_byte(path, size / 2);
	}
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
	world_path(world, BUNDLE_MANIFEST, path);
	flip_byte(path, text.size / 2);
	world_expect_false(world, BUNDLE_MANIFEST);
	flip_byte(path, text.size / 2);
	world_path(world, BUNDLE_STATEMENT, path);
	flip_byte(path, 40);
	world_expect_false(world, BUNDLE_STATEMENT);
	json_decref(manifest);
	buf_release(&text);
}

static void test_unlisted_and_missing_file(void **state)
{
	struct world *world = *state;
	char path[512];
	publish(world);
	world_path(world, "notes.txt", path);
	file_write(path, BYTES("hello"));
	world_expect_false(world, "notes.txt");
	assert_int_equal(unlink(path), 0);
	world_path(world, BUNDLE_POLICY, path);
	assert_int_equal(unlink(path), 0);
	world_expect_false(world, "policy: the file is missing");
}

/* ---- answers ---- */

static void test_answer_changed_digests_left(void **state)
{
	struct world *world = *state;
	world_record(world);
	shot_answer(world_shot(world, CAPITALS, 0, 2), "Kyoto!");
	world_publish(world);
	world_expect_false(world,
			   "item jp, sample 0 (suite capitals, model north-1): "
			   "transcripts.jsonl:5: the answer is not the text of the response");
}

static void test_answer_and_body_changed(void **state)
{
	struct world *world = *state;
	char digest[65];
	world_record(world);
	struct shot *shot = world_shot(world, CAPITALS, 1, 0);
	memcpy(digest, shot->digest, sizeof(digest));
	shot_answer(shot, "Nice");
	shot_respond(shot, "Nice");
	memcpy(shot->digest, digest, sizeof(digest));
	world_publish(world);
	world_expect_false(world, "the response's body has another digest than response_digest");
}

static void test_answer_body_and_digest_changed(void **state)
{
	struct world *world = *state;
	world_record(world);
	struct shot *shot = world_shot(world, CAPITALS, 1, 0);
	shot_answer(shot, "Nice");
	shot_respond(shot, "Nice");
	world_publish(world);
	world_expect_false(world, "item fr");
	assert_headline(world, "the gateway's record");
}

static void test_answer_changed_without_bodies(void **state)
{
	struct world *world = *state;
	world_record(world);
	struct shot *shot = world_shot(world, MANNERS, 0, 0);
	shot->line.response_body = shot->line.response_digest = NULL;
	world_publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
	shot_answer(shot, "Leave it.");
	world_publish(world);
	world_expect_false(world, "the answer is not the one in the gateway's record");
}

/* Without bodies and receipts nothing is left that ties the answer: it is not vouched for. */
static void test_evidence_taken_away(void **state)
{
	struct world *world = *state;
	world_record(world);
	struct shot *shot = world_shot(world, MANNERS, 0, 0);
	shot->line.response_body = shot->line.response_digest = NULL;
	shot->line.record = shot->line.nonce = NULL;
	shot->no_receipt = true;
	shot_answer(shot, "Leave it.");
	world_publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_SELF_CERTIFIED);
}

static void test_request_of_other_words(void **state)
{
	struct world *world = *state;
	struct shot *shot = world_shot(world, CAPITALS, 0, 0);
	char *old = shot->request;
	/* Both the gateway and the transcript have the request, and it is not the item's. */
	shot->request = strdup("{\"model\":\"north-1\",\"max_tokens\":64,\"temperature\":0,"
			       "\"messages\":[{\"role\":\"user\",\"content\":\"Say Paris.\"}]}");
	shot->line.request_body = shot->request;
	publish(world);
	world_expect_false(world, "the request's body has other words than the item");
	free(old);
}

static void test_request_with_other_settings(void **state)
{
	struct world *world = *state;
	struct shot *shot = world_shot(world, CAPITALS, 0, 0);
	char *old = shot->request;
	shot->request = strdup("{\"model\":\"north-1\",\"max_tokens\":64,\"temperature\":1,"
			       "\"messages\":[{\"role\":\"user\",\"content\":\"France?\"}]}");
	shot->line.request_body = shot->request;
	publish(world);
	world_expect_false(world, "other settings than the suite");
	free(old);
}

static void test_words_digest_changed(void **state)
{
	struct world *world = *state;
	publish(world);
	char *words = world_shot(world, CAPITALS, 0, 1)->words;
	words[5] = words[5] == '0' ? '1' : '0';
	world_publish(world);
	world_expect_false(world, "item it");
	assert_headline(world, "it was asked other words");
}

static void test_usage_changed(void **state)
{
	struct world *world = *state;
	world_record(world);
	world_shot(world, CAPITALS, 0, 1)->line.usage.output = 3;
	world_publish(world);
	world_expect_false(world, "usage.output is 3, in the gateway's record");
}

/* ---- what was left out ---- */

static void test_item_dropped_from_lines(void **state)
{
	struct world *world = *state;
	char path[512];
	struct buf text = BUF_INIT((size_t)1 << 20), kept = BUF_INIT((size_t)1 << 20);
	world_record(world);
	for (size_t i = 0; i < world->count; i++)
		if (world->shots[i].suite == MANNERS && world->shots[i].item == 1)
			world->shots[i].dropped = world->shots[i].no_receipt = true;
	world_publish(world);
	world_path(world, BUNDLE_SCORES, path);
	file_read(path, &text);
	struct bytes rest = buf_bytes(&text);
	while (rest.size > 0) {
		struct bytes line = bytes_split(rest, '\n', &rest);
		if (memmem(line.data, line.size, "\"manners\"", 9) &&
		    memmem(line.data, line.size, "\"item\":\"2\"", 10))
			continue;
		buf_append_bytes(&kept, line);
		buf_append_char(&kept, '\n');
	}
	file_write(path, buf_bytes(&kept));
	world_seal(world);
	world_expect_false(world,
			   "item 2 (suite manners, model north-1): scores.jsonl has no line");
	buf_release(&text);
	buf_release(&kept);
}

/* From suite, plan, transcripts, scores and summary: only the log knows better. */
static void drop_last_item(struct world *world, unsigned suite)
{
	struct err err = ERR_INIT;
	uint8_t root[SHA256_SIZE];
	char root_text[65];
	char *items = world->items[suite];
	size_t last = suite_count(world->suites[suite]) - 1;
	char *end = items + strlen(items) - 1;
	while (end > items && end[-1] != '\n')
		end--;
	*end = '\0';
	suite_free(world->suites[suite]);
	assert_int_equal(suite_parse(bytes_from(world->yaml[suite]), bytes_from(items), "suite",
				     &world->suites[suite], &err),
			 ERR_OK);
	assert_int_equal(suite_root(world->suites[suite], root, &err), ERR_OK);
	hex_encode(root, sizeof(root), root_text);
	json_object_set_new(json_array_get(json_object_get(world->plan, "suites"), suite), "root",
			    json_string(root_text));
	for (size_t i = 0; i < world->count; i++) {
		struct shot *shot = &world->shots[i];
		if (shot->suite != suite)
			continue;
		shot->line.suite = suite_name(world->suites[suite]);
		if (shot->item == last)
			shot->dropped = shot->no_receipt = true;
		else
			shot->line.item = suite_id(world->suites[suite], shot->item);
	}
}

static void test_item_dropped_everywhere(void **state)
{
	struct world *world = *state;
	world_record(world);
	drop_last_item(world, MANNERS);
	world_publish(world);
	world_expect_false(world, "plan.json: it is not the plan that was committed to");
}

static void test_item_dropped_from_suite_alone(void **state)
{
	struct world *world = *state;
	world_record(world);
	json_t *plan = json_deep_copy(world->plan);
	drop_last_item(world, MANNERS);
	json_decref(world->plan);
	world->plan = plan;
	world_publish(world);
	world_expect_false(world, "suite/manners: its items give another root");
}

/* The second samples are left out of everything, and the suite says that there was one of each:
 * neither root nor plan tells, the run's opening does. */
static void test_samples_dropped_everywhere(void **state)
{
	struct world *world = *state;
	struct err err = ERR_INIT;
	world_record(world);
	char *samples = strstr(world->yaml[CAPITALS], "samples: 2");
	assert_non_null(samples);
	samples[9] = '1';
	struct suite *changed;
	assert_int_equal(suite_parse(bytes_from(world->yaml[CAPITALS]),
				     bytes_from(world->items[CAPITALS]), "suite", &changed, &err),
			 ERR_OK);
	for (size_t i = 0; i < world->count; i++) {
		struct shot *shot = &world->shots[i];
		if (shot->suite != CAPITALS)
			continue;
		shot->line.suite = suite_name(changed);
		shot->line.item = suite_id(changed, shot->item);
		shot->dropped = shot->no_receipt = shot->line.sample > 0;
	}
	suite_free(world->suites[CAPITALS]);
	world->suites[CAPITALS] = changed;
	world_publish(world);
	world_expect_false(world, "run run_0 of north-1 was opened for 2 samples of each item, the "
				  "bundle has 1");
}

static void test_suite_changed_beside_its_items(void **state)
{
	static const struct {
		const char *file, *old, *new, *words;
	} cases[] = {
		{"suite/manners/suite.yaml", "version: 1", "version: 2",
		 "suite/manners: it is another suite than the plan's"                                          },
		{"suite/poems/suite.yaml",   "scorer:",    "settings: { max_tokens: 9 }\nscorer:",
		 "the request's body has other settings than the suite"                                        },
		{"suite/sums/suite.yaml",    "name: sums", "name: summs",                          "suite/sums"},
	};
	struct world *world = *state;
	publish(world);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		world_publish(world);
		world_replace(world, cases[i].file, cases[i].old, cases[i].new);
		world_seal(world);
		world_expect_false(world, cases[i].words);
	}
}

/* Without the bodies of the requests it is the registration that knows the settings. */
static void test_settings_changed_without_bodies(void **state)
{
	struct world *world = *state;
	world_record(world);
	for (size_t i = 0; i < world->count; i++)
		world->shots[i].line.request_body = NULL;
	world_publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
	world_replace(world, "suite/capitals/suite.yaml", "temperature: 0", "temperature: 1");
	world_seal(world);
	world_expect_false(world,
			   "suite/capitals: its settings are not those that were registered");
}

static void test_answer_hidden_as_failure(void **state)
{
	struct world *world = *state;
	world_record(world);
	struct shot *shot = world_shot(world, MANNERS, 1, 1);
	shot->dropped = true;
	world_publish(world);
	world_expect_false(world, "item 2 (suite manners, model south-1): receipts/");
	assert_headline(world, "no attempt in transcripts.jsonl names this admitted request");
}

static void test_retry_hidden(void **state)
{
	struct world *world = *state;
	world_record(world);
	for (size_t i = 0; i < world->count; i++)
		if (world->shots[i].line.error && world->shots[i].item == 1)
			world->shots[i].dropped = world->shots[i].no_receipt = true;
	world_publish(world);
	world_expect_false(world, "attempt 1 stands where attempt 0 is due");
}

static void test_failure_told_over_an_answer(void **state)
{
	struct world *world = *state;
	world_record(world);
	struct shot *shot = world_shot(world, MANNERS, 1, 1);
	shot->line.answer = shot->line.finish = NULL;
	shot->line.error = "timed out";
	shot->line.status = 0;
	shot->line.response_body = shot->line.response_digest = NULL;
	world_publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
	assert_true(has_note(world, VERIFY_UNCHECKED,
			     "1 attempts are shown as failed, and the gateway recorded a whole "
			     "answer; the first is item 2"));
}

static void test_best_of_two(void **state)
{
	struct world *world = *state;
	/* The item was asked twice; the gateway counted, the transcript shows the better one. */
	world_shot(world, MANNERS, 0, 1)->line.sample = 1;
	world_record(world);
	world_shot(world, MANNERS, 0, 1)->line.sample = 0;
	world_publish(world);
	world_expect_false(world,
			   "item 2 (suite manners, model north-1): the gateway answered it 2 "
			   "times or more");
}

static void test_answered_twice(void **state)
{
	struct world *world = *state;
	world_record(world);
	struct shot *second = &world->shots[world->count++];
	*second = *world_shot(world, MANNERS, 0, 0);
	second->line.attempt = 1;
	second->recorded = false;
	second->request = second->response = NULL;
	world_publish(world);
	world_expect_false(world, "it was asked again although an answer was there");
}

/* ---- scores and figures ---- */

static void test_score_changed_with_summary(void **state)
{
	struct world *world = *state;
	world_record(world);
	world->score_forged = 6; /* north-1's second answer about Japan, which is wrong */
	world_publish(world);
	world_expect_false(world, "item jp, sample 1 (suite capitals, model north-1): "
				  "scores.jsonl:6: the score is 1, the answer gives 0");
}

static void test_failure_scored(void **state)
{
	struct world *world = *state;
	world_record(world);
	world->score_forged = 12; /* south-1 gave no answer there */
	world_publish(world);
	world_expect_false(world, "published as scored, the transcripts show no answer");
}

static void test_comparison_changed(void **state)
{
	struct world *world = *state;
	world_record(world);
	world->score_forged = 19;
	world_publish(world);
	world_expect_false(world, "item sea (suite poems, north-1 against south-1)");
}

static void test_verdict_changed(void **state)
{
	struct world *world = *state;
	publish(world);
	world_replace(world, BUNDLE_SCORES, "[\"A\",\"B\"]", "[\"B\",\"A\"]");
	world_seal(world);
	world_expect_false(world, "verdicts is another than the transcripts");
}

static void test_judge_saw_other_answers(void **state)
{
	struct world *world = *state;
	for (size_t i = 0; i < world->count; i++)
		if (world->shots[i].line.judge_model && world->shots[i].item == 0)
			memset(world->shots[i].words, 'a', 64);
	publish(world);
	world_expect_false(world, "it was asked other words than the two answers give");
}

static void test_cluster_and_refused_changed(void **state)
{
	struct world *world = *state;
	publish(world);
	world_replace(world, BUNDLE_SCORES, "\"cluster\":\"Asia\"", "\"cluster\":\"Europe\"");
	world_seal(world);
	world_expect_false(world, "cluster is another");
	world_publish(world);
	world_replace(world, BUNDLE_SCORES, "\"refused\":false", "\"refused\":true");
	world_seal(world);
	world_expect_false(world, "refused is another");
}

static void test_score_listed_twice(void **state)
{
	struct world *world = *state;
	char path[512];
	struct buf text = BUF_INIT((size_t)1 << 20);
	publish(world);
	world_path(world, BUNDLE_SCORES, path);
	file_read(path, &text);
	buf_append(&text, text.data, (size_t)(strchr(text.data, '\n') - text.data) + 1);
	file_write(path, buf_bytes(&text));
	world_seal(world);
	world_expect_false(world, "item fr, sample 0 (suite capitals, model north-1): "
				  "scores.jsonl:21: it stands there twice");
	buf_release(&text);
}

static void test_figures_changed(void **state)
{
	struct world *world = *state;
	publish(world);
	world_replace(world, BUNDLE_SUMMARY,
		      "\"metric\":\"accuracy\",\"model\":\"north-1\",\"n\":6",
		      "\"metric\":\"accuracy\",\"model\":\"north-1\",\"n\":7");
	world_seal(world);
	world_expect_false(world, "summary.json: accuracy of north-1 in suite capitals");
	world_publish(world);
	world_replace(world, BUNDLE_SUMMARY, "\"value\":0.83333", "\"value\":0.93333");
	world_seal(world);
	world_expect_false(world, "published is 0.93333");
	world_publish(world);
	world_replace(world, BUNDLE_SUMMARY, "\"answered\":21", "\"answered\":22");
	world_seal(world);
	world_expect_false(world, "samples.answered is 22, the transcripts show 21");
}

static void test_statement_says_more(void **state)
{
	struct world *world = *state;
	world->result = "PASSED";
	publish(world);
	world_expect_false(world, "it says PASSED, and 1 of 22 samples have no answer");
}

/* ---- programs ---- */

static void need_sandbox(void)
{
	struct err err = ERR_INIT;
	if (sandbox_check(&err) == ERR_OK)
		return;
	print_message("SKIP: %s\n", err.message);
	skip();
}

static void test_programs_run_again(void **state)
{
	struct world *world = *state;
	need_sandbox();
	world->rerun = true;
	publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
	assert_null(strstr(world->report.headline, "programs"));
	assert_true(has_note(world, VERIFY_CHECKED, "2 programs run again"));
}

/* Nobody can tell without running it: the headline says whose word it is, --rerun finds out. */
static void test_program_score_changed(void **state)
{
	struct world *world = *state;
	world_record(world);
	world->score_forged = 18; /* south-1's program subtracts */
	world_publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
	assert_headline(world, "the scores of 2 programs are the evaluator's word");
	need_sandbox();
	world->rerun = true;
	world_expect_false(world,
			   "item add (suite sums, model south-1): scores.jsonl:18: the score "
			   "is 1, run again the program does not pass");
}

/* A failure by the time limit there that passes here hangs on the limit; a pass that does not is no
 * matter of time, whatever the line says. */
static void test_program_and_time_limit(void **state)
{
#define SUMS_END ",\"scorer\":\"code\",\"suite\":\"sums\""
#define LIMITED ",\"time_limited\":true"
	static const char failed[] = "\"score\":0" SUMS_END, passed[] = "\"score\":1" SUMS_END;
	struct world *world = *state;
	need_sandbox();
	world->rerun = true;
	world_record(world);
	world->score_forged = 17; /* north-1's program adds, and is published as failed */
	world_publish(world);
	world_expect_false(world, "the score is 0, run again the program passes");
	world_replace(world, BUNDLE_SCORES, failed, "\"score\":0" SUMS_END LIMITED);
	world_seal(world);
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
	assert_true(has_note(world, VERIFY_UNCHECKED, "1 programs depend on the time limit"));
	world->score_forged =
		18; /* south-1's subtracts: of the two lines that pass it is the second */
	world_publish(world);
	world_replace(world, BUNDLE_SCORES, passed, "\"score\": 1" SUMS_END);
	world_replace(world, BUNDLE_SCORES, passed, "\"score\":1" SUMS_END LIMITED);
	world_seal(world);
	world_expect_false(world, "model south-1): scores.jsonl:18: the score is 1");
}

/* ---- receipts ---- */

static void receipt_name(const struct shot *shot, char out[static 128])
{
	snprintf(out, 128, "receipts/%s.tlog-proof", shot->record);
}

static void test_receipts_swapped(void **state)
{
	struct world *world = *state;
	char first[128], second[128], a[512], b[512], middle[512];
	publish(world);
	receipt_name(world_shot(world, CAPITALS, 0, 0), first);
	receipt_name(world_shot(world, CAPITALS, 0, 1), second);
	world_path(world, first, a);
	world_path(world, second, b);
	snprintf(middle, sizeof(middle), "%s/swap", world->directory);
	assert_int_equal(rename(a, middle) | rename(b, a) | rename(middle, b), 0);
	world_seal(world);
	world_expect_false(world, "it holds the record");
}

static void test_records_swapped_in_transcripts(void **state)
{
	struct world *world = *state;
	char kept[33];
	world_record(world);
	struct shot *one = world_shot(world, CAPITALS, 0, 0),
		    *two = world_shot(world, CAPITALS, 0, 1);
	memcpy(kept, one->record, sizeof(kept));
	memcpy(one->record, two->record, sizeof(kept));
	memcpy(two->record, kept, sizeof(kept));
	world_publish(world);
	world_expect_false(world, "item fr, sample 0 (suite capitals, model north-1): "
				  "transcripts.jsonl:1: the body of the request is not the one");
}

static void test_record_named_twice(void **state)
{
	struct world *world = *state;
	world_record(world);
	struct shot *one = world_shot(world, CAPITALS, 0, 0);
	struct shot *two = one + 1; /* the second sample, with the same answer */
	two->line.record = one->record;
	two->line.nonce = one->nonce;
	two->line.response_body = one->response;
	two->line.response_digest = one->digest;
	two->no_receipt = true;
	world_publish(world);
	world_expect_false(world, "another attempt names the gateway's record");
}

static void test_home_made_gateway(void **state)
{
	struct world *world = *state;
	ledger_release(&world->ledgers[0]);
	ledger_init(&world->ledgers[0], "northlab.example/parley", 66);
	publish(world);
	assert_int_equal(world_verify(world, NULL), VERIFY_SELF_CERTIFIED);
	world_expect_false(world,
			   "northlab.example/parley is not signed with the key that you gave");
}

static void test_policy_with_another_key(void **state)
{
	struct world *world = *state;
	struct ledger other = {0};
	publish(world);
	ledger_init(&other, "northlab.example/parley", 66);
	world_replace(world, BUNDLE_POLICY, world->vkeys[0], other.vkey_text);
	world_seal(world);
	assert_int_equal(world_verify(world, NULL), VERIFY_FALSE);
	assert_headline(world, "is not signed with the key in policy");
	ledger_release(&other);
}

static void test_forked_log(void **state)
{
	struct world *world = *state;
	char *text;
	publish(world);
	/* Another history for those who get the later checkpoint: record 1 was something else. */
	text = strchr(world->ledgers[0].records[1], 'r');
	*text = 'R';
	char path[512];
	struct buf receipt = BUF_INIT(65536);
	struct shot *late = world_shot(world, POEMS, 0, 1);
	char name[128];
	receipt_name(late, name);
	world_path(world, name, path);
	uint64_t index;
	assert_true(record_id_index(bytes_from(late->record), &index));
	ledger_receipt(&world->ledgers[0], (size_t)index, world->ledgers[0].count, true, &receipt);
	file_write(path, buf_bytes(&receipt));
	world_seal(world);
	world_expect_false(world, "another history of the log northlab.example/parley");
	buf_release(&receipt);
}

static void test_admitted_before_the_run(void **state)
{
	struct world *world = *state;
	/* Runs are opened after the fact: the log has them, but too late. */
	struct ledger *ledger = &world->ledgers[0];
	world_record(world);
	char *early = ledger->records[1];
	struct record record = RECORD_INIT;
	char id[33], run[33];
	uint8_t plan[32];
	assert_int_equal(json_canonical_digest(world->plan, plan, NULL), ERR_OK);
	record.kind = RECORD_RUN;
	record.act = BYTES("run.open");
	record.suite = BYTES("suite_0");
	snprintf(run, sizeof(run), "run_0");
	record.run = bytes_from(run);
	record.plan = plan;
	record.samples = 2;
	size_t late = ledger_add(ledger, &record, id);
	ledger->records[1] =
		strdup("{\"id\":\"000000000001000000000001ef00006e\",\"kind\":\"notice\"}");
	world_publish(world);
	struct buf text = BUF_INIT(65536);
	char path[512], name[128];
	ledger_receipt(ledger, late, ledger->count, true, &text);
	snprintf(name, sizeof(name), "receipts/%s.tlog-proof", id);
	world_path(world, name, path);
	file_write(path, buf_bytes(&text));
	world_seal(world);
	world_expect_false(world, "before its run was opened");
	free(early);
	buf_release(&text);
}

/* ---- the evaluator's signature ---- */

static void public_text(const struct ed25519_private *key, struct buf *out)
{
	uint8_t public_key[ED25519_KEY_SIZE];
	ed25519_public(key, public_key);
	buf_clear(out);
	base64_append(out, public_key, sizeof(public_key));
}

static void test_evaluators_signature(void **state)
{
	struct world *world = *state;
	uint8_t seed[ED25519_KEY_SIZE] = {9}, other_seed[ED25519_KEY_SIZE] = {10};
	struct ed25519_private *other = ed25519_from_seed(other_seed);
	struct buf mine = BUF_INIT(256), theirs = BUF_INIT(256);
	world->evaluator = ed25519_from_seed(seed);
	public_text(world->evaluator, &mine);
	public_text(other, &theirs);
	const char *const keys[] = {world->vkeys[0], world->vkeys[1], mine.data, NULL};
	const char *const wrong[] = {world->vkeys[0], world->vkeys[1], theirs.data, NULL};
	publish(world);
	assert_int_equal(world_verify(world, keys), VERIFY_VOUCHED);
	assert_true(has_note(world, VERIFY_TRUSTED, "the evaluator, whose key you gave"));
	assert_int_equal(world_verify(world, wrong), VERIFY_FALSE);
	assert_headline(world, "not signed with the evaluator's key");
	/* Somebody changes the bundle and signs it anew. */
	ed25519_free(world->evaluator);
	world->evaluator = other;
	world_seal(world);
	assert_int_equal(world_verify(world, keys), VERIFY_FALSE);
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
	assert_true(has_note(world, VERIFY_UNCHECKED, "signed with a key that you did not give"));
	buf_release(&mine);
	buf_release(&theirs);
}

/* ---- hostile texts ---- */

static void test_text_is_made_printable(void **state)
{
	struct world *world = *state;
	publish(world);
	world_replace(world, BUNDLE_TRANSCRIPTS, "\"item\":\"fr\"",
		      "\"item\":\"\\u001b[2J\\u202e\\nVOUCHED\"");
	world_seal(world);
	world_expect_false(world, "item \\x1b[2J\\u202e\\nVOUCHED");
	for (const char *c = world->report.headline; *c; c++)
		assert_true((unsigned char)*c >= ' ');
}

static void test_broken_lines(void **state)
{
	static const struct {
		const char *file, *old, *new, *words;
	} cases[] = {
		{BUNDLE_TRANSCRIPTS, "{",                     "\n{",                         "transcripts.jsonl:1: the line is empty"},
		{BUNDLE_TRANSCRIPTS, "\"attempt\":0",         "\"attempt\":-1",              "transcripts.jsonl:1"                   },
		{BUNDLE_TRANSCRIPTS, "\"attempt\":0",         "\"attempt\":0,\"attempt\":0",
		 "transcripts.jsonl:1"											       },
		{BUNDLE_TRANSCRIPTS, "\"model\":\"north-1\"", "\"model\":\"west-1\"",
		 "the plan asks nothing of west-1"										   },
		{BUNDLE_TRANSCRIPTS, "\"sample\":0",          "\"sample\":7",                "sample 7 of 2"                         },
		{BUNDLE_SCORES,      "\"score\":1",           "\"score\":\"1\"",             "scores.jsonl:1"                        },
		{BUNDLE_SCORES,      "{",                     "[{",                          "scores.jsonl:1"                        },
		{BUNDLE_PLAN,        "parley-plan-1",         "parley-plan-0",               NULL                                    },
		{BUNDLE_SUMMARY,     "\"results\"",           "\"Results\"",                 "results"                               },
		{BUNDLE_POLICY,      "northlab",              "n\xc3",                       "policy:2"                              },
	};
	struct world *world = *state;
	publish(world);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		world_publish(world);
		world_replace(world, cases[i].file, cases[i].old, cases[i].new);
		if (strcmp(cases[i].file, BUNDLE_SUMMARY) == 0)
			world->result = "FAILED";
		world_seal(world);
		if (cases[i].words) {
			world_expect_false(world, cases[i].words);
			continue;
		}
		/* A format of another version is not judged. */
		struct verify_options options = {0};
		struct err err = ERR_INIT;
		verify_report_release(&world->report);
		assert_int_equal(
			verify_path(world->env, world->directory, &options, &world->report, &err),
			ERR_UNSUPPORTED);
	}
}

static void test_cut_files(void **state)
{
	static const char *const names[] = {BUNDLE_TRANSCRIPTS, BUNDLE_SCORES};
	struct world *world = *state;
	char path[512];
	struct buf text = BUF_INIT((size_t)1 << 20);
	publish(world);
	for (size_t i = 0; i < 2; i++) {
		world_publish(world);
		world_path(world, names[i], path);
		buf_clear(&text);
		file_read(path, &text);
		file_write(path, bytes_of(text.data, text.size - 1));
		world_seal(world);
		world_expect_false(world, "the line was cut off");
		file_write(path, bytes_of(NULL, 0));
		world_seal(world);
		world_expect_false(world, i ? "scores.jsonl has no line"
					    : "no attempt in transcripts.jsonl names");
	}
	buf_release(&text);
}

static void test_json_report(void **state)
{
	struct world *world = *state;
	struct buf text = BUF_INIT(65536);
	publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_VOUCHED);
	json_t *report = verify_report_json(&world->report);
	assert_string_equal(json_string_value(json_object_get(report, "verdict")), "vouched");
	assert_string_equal(json_string_value(json_object_get(report, "headline")),
			    world->report.headline);
	assert_true(json_array_size(json_object_get(report, "checked")) > 5);
	assert_int_equal(json_array_size(json_object_get(report, "results")),
			 json_array_size(world->report.results));
	verify_report_text(&world->report, &text);
	assert_true(bytes_starts_with(buf_bytes(&text), BYTES("VOUCHED by northlab")));
	json_decref(report);
	buf_release(&text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_vouched_with_both_keys),
		CASE(test_self_certified_without_all_keys),
		CASE(test_without_a_gateway),
		CASE(test_without_the_runs_receipts),
		CASE(test_missing_receipt),
		CASE(test_unknown_log_key),
		CASE(test_order_of_results_means_nothing),
		CASE(test_directory_of_a_run),
		CASE(test_one_byte_of_every_file),
		CASE(test_unlisted_and_missing_file),
		CASE(test_answer_changed_digests_left),
		CASE(test_answer_and_body_changed),
		CASE(test_answer_body_and_digest_changed),
		CASE(test_answer_changed_without_bodies),
		CASE(test_evidence_taken_away),
		CASE(test_request_of_other_words),
		CASE(test_request_with_other_settings),
		CASE(test_words_digest_changed),
		CASE(test_usage_changed),
		CASE(test_item_dropped_from_lines),
		CASE(test_item_dropped_everywhere),
		CASE(test_item_dropped_from_suite_alone),
		CASE(test_samples_dropped_everywhere),
		CASE(test_suite_changed_beside_its_items),
		CASE(test_settings_changed_without_bodies),
		CASE(test_answer_hidden_as_failure),
		CASE(test_retry_hidden),
		CASE(test_failure_told_over_an_answer),
		CASE(test_best_of_two),
		CASE(test_answered_twice),
		CASE(test_score_changed_with_summary),
		CASE(test_failure_scored),
		CASE(test_comparison_changed),
		CASE(test_verdict_changed),
		CASE(test_judge_saw_other_answers),
		CASE(test_cluster_and_refused_changed),
		CASE(test_score_listed_twice),
		CASE(test_figures_changed),
		CASE(test_statement_says_more),
		CASE(test_programs_run_again),
		CASE(test_program_score_changed),
		CASE(test_program_and_time_limit),
		CASE(test_receipts_swapped),
		CASE(test_records_swapped_in_transcripts),
		CASE(test_record_named_twice),
		CASE(test_home_made_gateway),
		CASE(test_policy_with_another_key),
		CASE(test_forked_log),
		CASE(test_admitted_before_the_run),
		CASE(test_evaluators_signature),
		CASE(test_text_is_made_printable),
		CASE(test_broken_lines),
		CASE(test_cut_files),
		CASE(test_json_report),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
