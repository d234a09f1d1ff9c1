#include "grade/run_records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void transcripts_come_back(void **state)
{
	(void)state;
	struct run_transcript in = {
		.suite = "s",
		.item = "i",
		.model = "m",
		.sample = 2,
		.attempt = 1,
		.words = "00ff",
		.answer = "a\n\"ä\"",
		.finish = "stop",
		.usage = {10, -1, 0, 5, true},
		.status = 200,
		.started_ms = 1790000000123,
		.first_token_ms = -1,
		.elapsed_ms = 42,
		.record = "r",
		.judge_order = -1,
		.step = 2
        };
	struct run_transcript out;
	struct err err = ERR_INIT;
	json_t *line = run_transcript_encode(&in);

	assert_non_null(line);
	assert_null(json_object_get(line, "nonce"));
	assert_int_equal(run_transcript_decode(line, "t:1", &out, &err), ERR_OK);
	assert_string_equal(out.answer, in.answer);
	assert_int_equal(out.sample, 2);
	assert_int_equal(out.attempt, 1);
	assert_int_equal(out.usage.cache_read, -1);
	assert_int_equal(out.usage.cache_write, 0);
	assert_int_equal(out.usage.output, 5);
	assert_true(out.usage.estimated);
	assert_true(out.started_ms == in.started_ms);
	assert_int_equal(out.first_token_ms, -1);
	assert_int_equal(out.judge_order, -1);
	assert_int_equal(out.step, 2);
	assert_null(out.error);
	assert_null(out.nonce);
	json_decref(line);
	in.answer = "\xff"; /* not UTF-8: said, not written wrong */
	assert_null(run_transcript_encode(&in));
}

static void scores_come_back(void **state)
{
	(void)state;
	struct run_score in = {
		.suite = "s",
		.item = "i",
		.model = "m",
		.opponent = "o",
		.judge = "j",
		.scorer = "pairwise",
		.score = 0.5,
		.refused = REFUSED_NO,
		.expect = EXPECT_REFUSE,
		.verdicts = {"A", "A"},
		.flipped = true,
		.cpu_ms = 7
        };
	struct run_score out;
	struct err err = ERR_INIT;
	json_t *line = run_score_encode(&in);

	assert_int_equal(run_score_decode(line, "t:1", &out, &err), ERR_OK);
	assert_true(out.score == 0.5 && out.flipped && !out.failed && !out.time_limited);
	assert_int_equal(out.refused, REFUSED_NO);
	assert_int_equal(out.expect, EXPECT_REFUSE);
	assert_string_equal(out.verdicts[1], "A");
	assert_string_equal(out.opponent, "o");
	assert_int_equal(out.cpu_ms, 7);
	assert_null(out.cluster);
	json_decref(line);
}

static void refused(const char *text, const char *part)
{
	json_t *line = json_loads(text, 0, NULL);
	struct run_score out;
	struct err err = ERR_INIT;

	assert_non_null(line);
	assert_int_equal(run_score_decode(line, "scores.jsonl:3", &out, &err), ERR_INVALID);
	if (!strstr(err.message, part) || !strstr(err.message, "scores.jsonl:3"))
		fail_msg("'%s' does not say '%s'", err.message, part);
	json_decref(line);
}

#define HEAD "{\"suite\":\"s\",\"item\":\"i\",\"model\":\"m\",\"scorer\":\"exact\",\"sample\":0,"

static void malformed_scores(void **state)
{
	(void)state;
	refused("[]", "object");
	refused("{\"suite\":\"s\"}", "item");
	refused(HEAD "\"score\":1.5}", "score");
	refused(HEAD "\"score\":\"1\"}", "score");
	refused(HEAD "\"score\":1,\"colour\":2}", "colour");
	refused(HEAD "\"score\":1,\"failed\":true}", "failed");
	refused(HEAD "\"score\":1,\"expect\":\"maybe\"}", "expect");
	refused(HEAD "\"score\":1,\"refused\":1}", "refused");
	refused(HEAD "\"score\":1,\"verdicts\":[\"A\"]}", "verdicts");
	refused(HEAD "\"score\":1,\"cpu_ms\":-1}", "cpu_ms");
}

static enum err_code count_lines(void *argument, const json_t *line, const char *where,
				 struct err *err)
{
	(void)where;
	(*(int *)argument)++;
	return json_object_get(line, "stop") ? ERR_SET(err, ERR_DENIED, "stopped") : ERR_OK;
}

static enum err_code read_lines(const char *text, int *count, struct err *err)
{
	*count = 0;
	return run_lines_read(bytes_from(text), "t.jsonl", count_lines, count, err);
}

static void files_of_lines(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	int count;

	assert_int_equal(read_lines("", &count, &err), ERR_OK);
	assert_int_equal(read_lines("{}\n{}\n", &count, &err), ERR_OK);
	assert_int_equal(count, 2);
	assert_int_equal(read_lines("{}\n{}", &count, &err), ERR_INVALID);
	assert_non_null(strstr(err.message, "cut"));
	assert_int_equal(read_lines("{}\n\n{}\n", &count, &err), ERR_INVALID);
	assert_non_null(strstr(err.message, "t.jsonl:2"));
	assert_int_equal(read_lines("{}\n{\"a\":1,\"a\":2}\n", &count, &err), ERR_INVALID);
	assert_non_null(strstr(err.message, "t.jsonl:2"));
	assert_int_equal(read_lines("{}\n{\"stop\":1}\n{}\n", &count, &err), ERR_DENIED);
	assert_int_equal(count, 2);
}

static void lines_are_canonical(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(1000);
	struct err err = ERR_INIT;

	assert_int_equal(run_line_append(&out, json_pack("{sisi}", "b", 1, "a", 2), &err), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "{\"a\":2,\"b\":1}\n"));
	assert_int_equal(run_line_append(&out, NULL, &err), ERR_NO_MEMORY);
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transcripts_come_back), cmocka_unit_test(scores_come_back),
		cmocka_unit_test(malformed_scores),      cmocka_unit_test(files_of_lines),
		cmocka_unit_test(lines_are_canonical),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
