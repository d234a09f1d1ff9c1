/* What `parley verify` says of a bundle's evidence: programs run again, receipts, the evaluator's
 * signature, and texts made to harm their reader. */
#include "bundle_case.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/bundle.h"
#include "grade/sandbox.h"

#include <unistd.h>

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

/* One answer from a gateway that kept nothing out: its records are right, and no word for the rest.
 */
static void test_mode_observe_is_not_vouched_for(void **state)
{
	struct world *world = *state;
	world_shot(world, CAPITALS, 0, 1)->observed = true;
	publish(world);
	assert_int_equal(world_verify_all(world), VERIFY_SELF_CERTIFIED);
	assert_headline(world, "CONSISTENT, SELF-CERTIFIED: the gateway was in mode observe");
	assert_true(has_note(world, VERIFY_UNCHECKED,
			     "suite capitals, model north-1: the gateway was in mode observe"));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
		CASE(test_mode_observe_is_not_vouched_for),
		CASE(test_json_report),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
