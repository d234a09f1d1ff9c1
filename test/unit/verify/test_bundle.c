/* What `parley verify` says of honest bundles, and of forged answers, omissions and figures that
 * leave the rest of the bundle consistent. */
#include "bundle_case.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/bundle.h"
#include "grade/sandbox.h"

#include <unistd.h>

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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
